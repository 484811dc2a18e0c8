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
#ifndef SmoothNoise_h
#define SmoothNoise_h

#include "CounterRandom.h"

#include <vector>

namespace glioma
{

/** A position in the brain's own frame, mm: x to the left, y to the front, z up. */
using Position = std::array<double, 3>;

/** \class SmoothNoise
 * \brief A smooth random field: a cubic B-spline over a lattice of normal numbers, mean 0, variance about 1.
 *
 * Zero crossings along a line are about 2.7 knot spacings apart. Defined within 120 mm of the frame's origin, constant
 * beyond.
 */
class SmoothNoise
{
public:
  SmoothNoise(const CounterRandom & random, double knotSpacing);

  double
  Value(const Position & position) const;

  /** The value, and the gradient a mm. */
  double
  Value(const Position & position, Position & gradient) const;

private:
  double             m_Scale;
  int                m_Size;
  std::vector<float> m_Knots;
};

} // namespace glioma

#endif // SmoothNoise_h
