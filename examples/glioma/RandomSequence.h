/*=========================================================================
 *
 *  Copyright NumFOCUS
 *
 *  Licensed under the Apache License, Version 2.0 (the "License");
 *  you may not use this file except in compliance with the License.
 *  You may obtain a copy of the License at
 *
 *         https://www.apache.org/licenses/LICENSE-2.0.txt
 *
 *  Unless required by applicable law or agreed to in writing, software
 *  distributed under the License is distributed on an "AS IS" BASIS,
 *  WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
 *  See the License for the specific language governing permissions and
 *  limitations under the License.
 *
 *=========================================================================*/
#ifndef RandomSequence_h
#define RandomSequence_h

#include "CounterRandom.h"

namespace glioma
{

/** \class RandomSequence
 * \brief Draws one number after the other from a stream of CounterRandom. */
class RandomSequence
{
public:
  RandomSequence(std::uint64_t seed, std::uint64_t stream)
    : m_Random(seed, stream)
  {}

  /** Uniform in (low, high). */
  double
  Uniform(double low, double high)
  {
    return low + (high - low) * m_Random.Uniform(m_Next++);
  }

  double
  Normal(double mean, double deviation)
  {
    return mean + deviation * m_Random.NormalPair(m_Next++)[0];
  }

  bool
  Chance(double probability)
  {
    return m_Random.Uniform(m_Next++) < probability;
  }

private:
  CounterRandom m_Random;
  std::uint64_t m_Next{ 0 };
};

} // namespace glioma

#endif // RandomSequence_h
