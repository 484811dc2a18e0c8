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
#include "NiftiFileCheck.h"

#include "itk_zlib.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <stdexcept>

namespace glioma
{
namespace
{
constexpr std::size_t  headerSize = 348;
constexpr std::int16_t typeFloat = 16;
constexpr std::int16_t typeDouble = 64;

template <typename TValue>
TValue
ValueAt(const unsigned char * bytes, bool swapped)
{
  std::array<unsigned char, sizeof(TValue)> copy;
  std::copy(bytes, bytes + sizeof(TValue), copy.begin());
  if (swapped)
  {
    std::reverse(copy.begin(), copy.end());
  }
  TValue value;
  std::memcpy(&value, copy.data(), sizeof(TValue));
  return value;
}
} // namespace

std::vector<std::pair<std::size_t, float>>
FindNonFiniteNiftiVoxels(const std::string & path)
{
  std::vector<std::pair<std::size_t, float>> found;
  // Reads plain files too.
  const std::unique_ptr<gzFile_s, int (*)(gzFile)> file(gzopen(path.c_str(), "rb"), gzclose);
  std::array<unsigned char, headerSize>            header;
  if (!file || gzread(file.get(), header.data(), headerSize) != static_cast<int>(headerSize) ||
      std::memcmp(&header[344], "n+1", 4) != 0)
  {
    return found;
  }
  const bool   swapped = ValueAt<std::int32_t>(header.data(), false) != static_cast<std::int32_t>(headerSize);
  const auto   dimensions = ValueAt<std::int16_t>(&header[40], swapped);
  const auto   type = ValueAt<std::int16_t>(&header[70], swapped);
  const auto   bytesOfVoxel = static_cast<std::size_t>(ValueAt<std::int16_t>(&header[72], swapped) / 8);
  const double offset = ValueAt<float>(&header[108], swapped);
  std::size_t  voxels = 1;
  for (std::int16_t d = 1; d <= std::min<std::int16_t>(dimensions, 7); ++d)
  {
    voxels *= static_cast<std::size_t>(std::max<std::int16_t>(1, ValueAt<std::int16_t>(&header[40 + 2 * d], swapped)));
  }
  const auto refuse = [&]() { throw std::runtime_error("the file is cut off or damaged"); };
  if (!(offset >= headerSize) || gzseek(file.get(), static_cast<z_off_t>(offset), SEEK_SET) < 0)
  {
    refuse();
  }
  constexpr std::size_t      portion = std::size_t{ 1 } << 16; // voxels
  std::vector<unsigned char> bytes(portion * std::max<std::size_t>(1, bytesOfVoxel));
  for (std::size_t first = 0; first < voxels; first += portion)
  {
    const std::size_t number = std::min(portion, voxels - first);
    if (gzread(file.get(), bytes.data(), static_cast<unsigned int>(number * bytesOfVoxel)) !=
        static_cast<int>(number * bytesOfVoxel))
    {
      refuse();
    }
    for (std::size_t i = 0; i < number && (type == typeFloat || type == typeDouble); ++i)
    {
      const double value = type == typeFloat ? ValueAt<float>(&bytes[i * bytesOfVoxel], swapped)
                                             : ValueAt<double>(&bytes[i * bytesOfVoxel], swapped);
      if (!std::isfinite(value))
      {
        found.emplace_back(first + i, static_cast<float>(value));
      }
    }
  }
  // The sum that follows the last voxel of a compressed file is checked at its end.
  while (const int rest = gzread(file.get(), bytes.data(), static_cast<unsigned int>(bytes.size())))
  {
    if (rest < 0)
    {
      refuse();
    }
  }
  return found;
}
} // namespace glioma
