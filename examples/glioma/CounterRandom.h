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
#ifndef CounterRandom_h
#define CounterRandom_h

#include <array>
#include <cmath>
#include <cstdint>

namespace glioma
{

/** \class CounterRandom
 * \brief Random numbers by counter: Philox4x32-10.
 *
 * Number i of a stream is a function of (seed, stream, i) alone, so that neither the order of the calls nor the number
 * of threads changes a bit of what is drawn.
 *
 * Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
 */
class CounterRandom
{
public:
  using BlockType = std::array<std::uint32_t, 4>;

  CounterRandom(std::uint64_t seed, std::uint64_t stream)
    : m_Seed(seed)
    , m_Stream(stream)
  {}

  /** The ten rounds of Philox4x32 on one counter and one key. */
  static BlockType
  Philox(BlockType counter, std::array<std::uint32_t, 2> key)
  {
    for (int round = 0; round < 10; ++round)
    {
      const std::uint64_t a = std::uint64_t{ 0xD2511F53u } * counter[0];
      const std::uint64_t b = std::uint64_t{ 0xCD9E8D57u } * counter[2];
      counter = { static_cast<std::uint32_t>(b >> 32) ^ counter[1] ^ key[0],
                  static_cast<std::uint32_t>(b),
                  static_cast<std::uint32_t>(a >> 32) ^ counter[3] ^ key[1],
                  static_cast<std::uint32_t>(a) };
      key[0] += 0x9E3779B9u;
      key[1] += 0xBB67AE85u;
    }
    return counter;
  }

  BlockType
  Block(std::uint64_t index) const
  {
    return Philox({ static_cast<std::uint32_t>(index),
                    static_cast<std::uint32_t>(index >> 32),
                    static_cast<std::uint32_t>(m_Stream),
                    static_cast<std::uint32_t>(m_Stream >> 32) },
                  { static_cast<std::uint32_t>(m_Seed), static_cast<std::uint32_t>(m_Seed >> 32) });
  }

  /** Uniform in (0, 1). */
  double
  Uniform(std::uint64_t index) const
  {
    return ToUniform(this->Block(index)[0]);
  }

  /** Two independent standard normal numbers (Box and Muller). */
  std::array<float, 2>
  NormalPair(std::uint64_t index) const
  {
    const BlockType block = this->Block(index);
    const double    radius = std::sqrt(-2.0 * std::log(ToUniform(block[0])));
    const double    angle = 6.283185307179586 * ToUniform(block[1]);
    return { static_cast<float>(radius * std::cos(angle)), static_cast<float>(radius * std::sin(angle)) };
  }

private:
  static double
  ToUniform(std::uint32_t bits)
  {
    return (bits + 0.5) * (1.0 / 4294967296.0);
  }

  std::uint64_t m_Seed;
  std::uint64_t m_Stream;
};

} // namespace glioma

#endif // CounterRandom_h
