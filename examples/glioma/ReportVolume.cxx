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
#include "ReportVolume.h"

#include "itk_zlib.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <vector>

namespace glioma
{
namespace
{
using BytesType = std::vector<unsigned char>;

std::string
Gzip(const std::string & bytes)
{
  z_stream stream{};
  // 16: with the header of gzip, which zlib writes without a time.
  if (deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
  {
    throw std::runtime_error("zlib cannot compress the volumes of the report.");
  }
  std::string packed(deflateBound(&stream, static_cast<uLong>(bytes.size())), '\0');
  stream.next_in = reinterpret_cast<Bytef *>(const_cast<char *>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef *>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  const int status = deflate(&stream, Z_FINISH);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  if (status != Z_STREAM_END)
  {
    throw std::runtime_error("zlib could not compress the volumes of the report.");
  }
  return packed;
}

/** A file of NIfTI-1 in the byte order of this machine, which its readers notice. */
class NiftiHeader
{
public:
  template <typename TValue>
  void
  Put(std::size_t at, TValue value)
  {
    std::memcpy(m_Bytes.data() + at, &value, sizeof(value));
  }

  NiftiHeader(const itk::ImageBase<3> & image, const ReportGrid & grid, double slope, double intercept)
    : m_Bytes(352, '\0')
  {
    this->Put<std::int32_t>(0, 348);
    this->Put<std::int16_t>(40, 3);
    this->Put<float>(76, 1.0f);
    for (unsigned int d = 0; d < 3; ++d)
    {
      this->Put(42 + 2 * d, static_cast<std::int16_t>(grid.SizeOf(d)));
      this->Put(80 + 4 * d, static_cast<float>(image.GetSpacing()[d] * grid.Block[d]));
    }
    for (unsigned int d = 4; d < 8; ++d)
    {
      this->Put<std::int16_t>(40 + 2 * d, 1);
    }
    this->Put<std::int16_t>(70, 2); // unsigned bytes
    this->Put<std::int16_t>(72, 8);
    this->Put<float>(108, 352.0f);
    this->Put(112, static_cast<float>(slope));
    this->Put(116, static_cast<float>(intercept));
    this->Put<char>(123, 2);         // mm
    this->Put<std::int16_t>(254, 1); // the sform alone tells the place
    itk::ContinuousIndex<double, 3> first;
    for (unsigned int d = 0; d < 3; ++d)
    {
      first[d] = static_cast<double>(grid.Box.GetIndex(d)) + 0.5 * (grid.Block[d] - 1.0);
    }
    itk::Point<double, 3> origin;
    image.TransformContinuousIndexToPhysicalPoint(first, origin);
    for (unsigned int row = 0; row < 3; ++row)
    {
      // NIfTI's axes point to the right and to anterior, ITK's to the left and to posterior.
      const double sign = row < 2 ? -1.0 : 1.0;
      for (unsigned int column = 0; column < 3; ++column)
      {
        this->Put(280 + 16 * row + 4 * column,
                  static_cast<float>(sign * image.GetDirection()[row][column] * image.GetSpacing()[column] *
                                     grid.Block[column]));
      }
      this->Put(280 + 16 * row + 12, static_cast<float>(sign * origin[row]));
    }
    std::memcpy(m_Bytes.data() + 344, "n+1", 4);
  }

  const std::string &
  GetBytes() const
  {
    return m_Bytes;
  }

private:
  std::string m_Bytes;
};

std::string
Pack(const itk::ImageBase<3> & image, const ReportGrid & grid, const BytesType & voxels, double slope, double intercept)
{
  std::string file = NiftiHeader(image, grid, slope, intercept).GetBytes();
  file.append(reinterpret_cast<const char *>(voxels.data()), voxels.size());
  return ToBase64(Gzip(file));
}

/** Means over the blocks: \a read gives the value of an offset into the image's buffer, \a store takes the mean. */
template <typename TRead, typename TStore>
void
ForEachBlock(const itk::ImageBase<3> & image, const ReportGrid & grid, const TRead & read, const TStore & store)
{
  const auto         lower = grid.Box.GetIndex();
  const auto         upper = grid.Box.GetUpperIndex();
  const auto * const steps = image.GetOffsetTable();
  itk::Index<3>      first;
  for (first[2] = lower[2]; first[2] <= upper[2]; first[2] += grid.Block[2])
  {
    for (first[1] = lower[1]; first[1] <= upper[1]; first[1] += grid.Block[1])
    {
      for (first[0] = lower[0]; first[0] <= upper[0]; first[0] += grid.Block[0])
      {
        itk::Index<3> last;
        for (unsigned int d = 0; d < 3; ++d)
        {
          last[d] = std::min<itk::IndexValueType>(upper[d], first[d] + grid.Block[d] - 1);
        }
        double        sum = 0.0;
        std::size_t   count = 0;
        itk::Index<3> at;
        for (at[2] = first[2]; at[2] <= last[2]; ++at[2])
        {
          for (at[1] = first[1]; at[1] <= last[1]; ++at[1])
          {
            auto offset = image.ComputeOffset({ { first[0], at[1], at[2] } });
            for (at[0] = first[0]; at[0] <= last[0]; ++at[0], offset += steps[0], ++count)
            {
              sum += read(static_cast<std::size_t>(offset));
            }
          }
        }
        store(sum / static_cast<double>(count));
      }
    }
  }
}

unsigned char
ToByte(double value, double lowest)
{
  return static_cast<unsigned char>(std::lround(std::clamp(value, lowest, 255.0)));
}
} // namespace

itk::ImageRegion<3>
BoxOf(const ReportMaskType * mask, double margin)
{
  const auto            region = mask->GetBufferedRegion();
  itk::Index<3>         lower = region.GetUpperIndex();
  itk::Index<3>         upper = region.GetIndex();
  const unsigned char * voxel = mask->GetBufferPointer();
  itk::Index<3>         at;
  bool                  isEmpty = true;
  for (at[2] = region.GetIndex(2); at[2] <= region.GetUpperIndex()[2]; ++at[2])
  {
    for (at[1] = region.GetIndex(1); at[1] <= region.GetUpperIndex()[1]; ++at[1])
    {
      for (at[0] = region.GetIndex(0); at[0] <= region.GetUpperIndex()[0]; ++at[0], ++voxel)
      {
        for (unsigned int d = 0; *voxel && d < 3; ++d)
        {
          lower[d] = std::min(lower[d], at[d]);
          upper[d] = std::max(upper[d], at[d]);
          isEmpty = false;
        }
      }
    }
  }
  itk::ImageRegion<3> box;
  if (isEmpty)
  {
    return box;
  }
  for (unsigned int d = 0; d < 3; ++d)
  {
    const auto voxels = static_cast<itk::IndexValueType>(std::ceil(margin / mask->GetSpacing()[d]));
    lower[d] = std::max(region.GetIndex(d), lower[d] - voxels);
    upper[d] = std::min(region.GetUpperIndex()[d], upper[d] + voxels);
    box.SetIndex(d, lower[d]);
    box.SetSize(d, static_cast<itk::SizeValueType>(upper[d] - lower[d] + 1));
  }
  return box;
}

void
Coarsen(ReportGrid & grid, const itk::ImageBase<3> & image, itk::SizeValueType voxels)
{
  while (grid.NumberOfVoxels() > voxels)
  {
    unsigned int finest = 0;
    for (unsigned int d = 1; d < 3; ++d)
    {
      if (image.GetSpacing()[d] * grid.Block[d] < image.GetSpacing()[finest] * grid.Block[finest] - 1e-6)
      {
        finest = d;
      }
    }
    ++grid.Block[finest];
  }
}

std::string
PackSequence(const ReportImageType * image,
             const ReportMaskType *  brain,
             const ReportGrid &      grid,
             double                  low,
             double                  high)
{
  const double                slope = std::max(high - low, 1e-12) / 254.0;
  const float * const         values = image->GetBufferPointer();
  const unsigned char * const inside = brain->GetBufferPointer();
  BytesType                   levels;
  BytesType                   isBrain;
  levels.reserve(grid.NumberOfVoxels());
  ForEachBlock(
    *image,
    grid,
    [&](std::size_t i) { return inside[i] ? 1.0 + (values[i] - low) / slope : 0.0; },
    [&](double mean) { levels.push_back(ToByte(mean, 0.0)); });
  ForEachBlock(
    *image,
    grid,
    [&](std::size_t i) { return inside[i] ? 1.0 : 0.0; },
    [&](double mean) { isBrain.push_back(mean > 0.0); });
  for (std::size_t i = 0; i < levels.size(); ++i)
  {
    // The brain's darkest voxels stay above the background.
    levels[i] = isBrain[i] ? std::max<unsigned char>(1, levels[i]) : 0;
  }
  return Pack(*image, grid, levels, slope, low - slope);
}

std::string
PackMap(const ReportImageType * map, const ReportGrid & grid, double largest)
{
  const double        slope = std::max(largest, 1e-30) / 255.0;
  const float * const values = map->GetBufferPointer();
  BytesType           levels;
  levels.reserve(grid.NumberOfVoxels());
  ForEachBlock(
    *map,
    grid,
    [&](std::size_t i) { return values[i] / slope; },
    [&](double mean) { levels.push_back(ToByte(mean, 0.0)); });
  return Pack(*map, grid, levels, slope, 0.0);
}

std::string
PackSignedMap(const ReportMapsType * maps, unsigned int component, const ReportGrid & grid, double scale)
{
  const double        slope = std::max(scale, 1e-30) / 127.0;
  const float * const values = maps->GetBufferPointer();
  const std::size_t   components = maps->GetNumberOfComponentsPerPixel();
  BytesType           levels;
  levels.reserve(grid.NumberOfVoxels());
  ForEachBlock(
    *maps,
    grid,
    [&](std::size_t i) { return values[i * components + component] / slope; },
    [&](double mean) { levels.push_back(ToByte(128.0 + mean, 1.0)); });
  return Pack(*maps, grid, levels, slope, -128.0 * slope);
}

std::string
PackMask(const ReportMaskType * mask, const ReportGrid & grid, bool isOutline)
{
  const unsigned char * const values = mask->GetBufferPointer();
  BytesType                   inside;
  inside.reserve(grid.NumberOfVoxels());
  ForEachBlock(
    *mask,
    grid,
    [&](std::size_t i) { return values[i] ? 1.0 : 0.0; },
    [&](double mean) { inside.push_back(mean >= 0.5); });
  if (isOutline)
  {
    const BytesType                     whole = inside;
    const std::array<std::ptrdiff_t, 3> size{ { static_cast<std::ptrdiff_t>(grid.SizeOf(0)),
                                                static_cast<std::ptrdiff_t>(grid.SizeOf(1)),
                                                static_cast<std::ptrdiff_t>(grid.SizeOf(2)) } };
    const std::array<std::ptrdiff_t, 3> steps{ { 1, size[0], size[0] * size[1] } };
    std::array<std::ptrdiff_t, 3>       at;
    std::size_t                         i = 0;
    for (at[2] = 0; at[2] < size[2]; ++at[2])
    {
      for (at[1] = 0; at[1] < size[1]; ++at[1])
      {
        for (at[0] = 0; at[0] < size[0]; ++at[0], ++i)
        {
          bool isSurrounded = whole[i] != 0;
          for (unsigned int d = 0; isSurrounded && d < 3; ++d)
          {
            isSurrounded = at[d] > 0 && at[d] < size[d] - 1 && whole[i - static_cast<std::size_t>(steps[d])] &&
                           whole[i + static_cast<std::size_t>(steps[d])];
          }
          inside[i] = whole[i] && !isSurrounded;
        }
      }
    }
  }
  return Pack(*mask, grid, inside, 1.0, 0.0);
}

std::string
ToBase64(const std::string & bytes)
{
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string       text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3)
  {
    std::uint32_t three = 0;
    for (std::size_t k = 0; k < 3; ++k)
    {
      three = three << 8 | (i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0u);
    }
    for (std::size_t k = 0; k < 4; ++k)
    {
      text += i + k <= bytes.size() ? digits[three >> (18 - 6 * k) & 63u] : '=';
    }
  }
  return text;
}
} // namespace glioma
