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
#ifndef StoredValues_h
#define StoredValues_h

#include <cstdint>
#include <cstring>

// A loop marked CLONES is compiled once for each instruction set; the processor's is chosen when the library is loaded.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && defined(__gnu_linux__)
#  define GLIOMAGRADING_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#  define GLIOMAGRADING_INLINE __attribute__((always_inline)) inline
// What a loop writes, it reads nowhere else: too many pointers for the compiler to check.
#  define GLIOMAGRADING_INDEPENDENT _Pragma("GCC ivdep")
#else
#  define GLIOMAGRADING_CLONES
#  define GLIOMAGRADING_INLINE inline
#  define GLIOMAGRADING_INDEPENDENT
#endif

namespace itk
{
/** The number that a float, or a bfloat16 as its bits, stands for. */
GLIOMAGRADING_INLINE float
Loaded(float value)
{
  return value;
}

GLIOMAGRADING_INLINE float
Loaded(std::uint16_t value)
{
  const std::uint32_t bits = static_cast<std::uint32_t>(value) << 16;
  float               loaded;
  std::memcpy(&loaded, &bits, sizeof(loaded));
  return loaded;
}

GLIOMAGRADING_INLINE void
Store(float & to, float value)
{
  to = value;
}

/** Rounds to the nearest bfloat16, to even where two are. */
GLIOMAGRADING_INLINE void
Store(std::uint16_t & to, float value)
{
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  to = static_cast<std::uint16_t>((bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16);
}
} // namespace itk

#endif // StoredValues_h
