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
#include "SlicePainting.h"

#include "BitmapFont.h"
#include "itkImageRegionConstIteratorWithIndex.h"
#include "itk_zlib.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <stdexcept>
#include <system_error>
#include <vector>

namespace glioma
{
namespace
{
using IndexType = itk::Index<3>;

const ColourType rimColour{ { 0, 0, 0 } };
constexpr double leastSeen = 0.05; // of the scale: darker colours are lost in the grey

IndexType
Nearest(const itk::ContinuousIndex<double, 3> & at, const SlicePlane & plane)
{
  IndexType index;
  for (unsigned int d = 0; d < 3; ++d)
  {
    index[d] = std::clamp<itk::IndexValueType>(std::lround(at[d]), plane.Lower[d], plane.Upper[d]);
  }
  return index;
}

template <typename TRead>
double
Linear(const itk::ContinuousIndex<double, 3> & at, const SlicePlane & plane, const TRead & read)
{
  const unsigned int a = plane.ColumnAxis;
  const unsigned int b = plane.RowAxis;
  double             sum = 0.0;
  for (int corner = 0; corner < 4; ++corner)
  {
    IndexType    index = Nearest(at, plane);
    const double fa = at[a] - std::floor(at[a]);
    const double fb = at[b] - std::floor(at[b]);
    index[a] = static_cast<itk::IndexValueType>(std::floor(at[a])) + (corner & 1);
    index[b] = static_cast<itk::IndexValueType>(std::floor(at[b])) + (corner >> 1);
    index[a] = std::clamp(index[a], plane.Lower[a], plane.Upper[a]);
    index[b] = std::clamp(index[b], plane.Lower[b], plane.Upper[b]);
    sum += ((corner & 1) ? fa : 1.0 - fa) * ((corner >> 1) ? fb : 1.0 - fb) * read(index);
  }
  return sum;
}

double
Quantile(std::vector<float> & values, double quantile)
{
  if (values.empty())
  {
    return 0.0;
  }
  const auto nth = values.begin() + static_cast<std::ptrdiff_t>(quantile * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), nth, values.end());
  return *nth;
}

/** Image axes nearest to the patient's x, y and z. */
std::array<unsigned int, 3>
AxesOf(const itk::ImageBase<3> & grid)
{
  std::array<unsigned int, 3> order{ { 0, 1, 2 } };
  std::array<unsigned int, 3> best = order;
  double                      bestSum = -1.0;
  do
  {
    double sum = 0.0;
    for (unsigned int row = 0; row < 3; ++row)
    {
      sum += std::abs(grid.GetDirection()[row][order[row]]);
    }
    if (sum > bestSum + 1e-9)
    {
      bestSum = sum;
      best = order;
    }
  } while (std::next_permutation(order.begin(), order.end()));
  return best;
}
} // namespace

Canvas::Canvas(int width, int height)
  : m_Width(width)
  , m_Height(height)
  , m_Image(ImageType::New())
{
  m_Image->SetRegions(
    ImageType::SizeType{ { static_cast<itk::SizeValueType>(width), static_cast<itk::SizeValueType>(height) } });
  m_Image->Allocate();
  ImageType::PixelType background;
  background.Set(18, 18, 22);
  m_Image->FillBuffer(background);
}

void
Canvas::Dot(int x, int y, const ColourType & colour, double opacity)
{
  if (x < 0 || y < 0 || x >= m_Width || y >= m_Height || opacity <= 0.0)
  {
    return;
  }
  ImageType::PixelType & pixel = m_Image->GetPixel({ { x, y } });
  for (unsigned int c = 0; c < 3; ++c)
  {
    pixel[c] =
      static_cast<unsigned char>(std::lround(std::clamp(pixel[c] * (1.0 - opacity) + colour[c] * opacity, 0.0, 255.0)));
  }
}

void
Canvas::Text(int x, int y, const std::string & text, const ColourType & colour, int scale)
{
  for (const char character : text)
  {
    const Glyph & glyph = GlyphOf(character);
    for (int row = 0; row < 7; ++row)
    {
      for (int column = 0; column < 5; ++column)
      {
        if ((glyph[static_cast<std::size_t>(row)] >> (4 - column)) & 1)
        {
          for (int dot = 0; dot < scale * scale; ++dot)
          {
            this->Dot(x + column * scale + dot % scale, y + row * scale + dot / scale, colour);
          }
        }
      }
    }
    x += 6 * scale;
  }
}

std::vector<std::string>
WrappedText(const std::string & text, std::size_t characters)
{
  std::vector<std::string> lines;
  std::string              rest = text;
  while (rest.size() > characters)
  {
    const auto space = rest.rfind(' ', characters);
    const bool isWord = space == std::string::npos || space == 0; // one that is longer than a line
    lines.push_back(rest.substr(0, isWord ? characters : space));
    rest.erase(0, isWord ? characters : space + 1);
  }
  lines.push_back(rest);
  return lines;
}

namespace
{
std::string
BigEndian(std::uint32_t value)
{
  std::string bytes;
  for (int shift = 24; shift >= 0; shift -= 8)
  {
    bytes += static_cast<char>(value >> shift & 255u);
  }
  return bytes;
}

/** A chunk of a PNG file: its length, kind, content and check sum. */
std::string
Chunk(const std::string & kind, const std::string & content)
{
  const std::string checked = kind + content;
  const uLong       sum = crc32(0, reinterpret_cast<const Bytef *>(checked.data()), static_cast<uInt>(checked.size()));
  return BigEndian(static_cast<std::uint32_t>(content.size())) + checked + BigEndian(static_cast<std::uint32_t>(sum));
}

/** What PNG's filter (0 to 4) expects of a byte, from those to the left, above, and above to the left. */
int
Expected(int filter, int left, int above, int corner)
{
  if (filter < 4)
  {
    return filter == 0 ? 0 : filter == 1 ? left : filter == 2 ? above : (left + above) / 2;
  }
  // Paeth: the nearest to their sum less the corner.
  const int toLeft = std::abs(above - corner);
  const int toAbove = std::abs(left - corner);
  const int toCorner = std::abs(left + above - 2 * corner);
  return toLeft <= toAbove && toLeft <= toCorner ? left : toAbove <= toCorner ? above : corner;
}

/** The rows of RGB, each by the filter that leaves the least, as the specification of PNG advises. */
std::string
Filtered(const unsigned char * dots, std::size_t width, std::size_t height)
{
  const std::size_t bytes = 3 * width;
  std::string       rows;
  for (std::size_t y = 0; y < height; ++y)
  {
    const unsigned char * const row = dots + y * bytes;
    const auto                  at = [&](bool above, std::size_t x, bool left) {
      return (above && y == 0) || (left && x < 3) ? 0 : static_cast<int>((above ? row - bytes : row)[left ? x - 3 : x]);
    };
    std::string best;
    long        least = -1;
    for (int filter = 0; filter < 5; ++filter)
    {
      std::string line(1, static_cast<char>(filter));
      long        sum = 0;
      for (std::size_t x = 0; x < bytes; ++x)
      {
        const int rest = (row[x] - Expected(filter, at(false, x, true), at(true, x, false), at(true, x, true))) & 255;
        line += static_cast<char>(rest);
        sum += std::min(rest, 256 - rest);
      }
      if (least < 0 || sum < least)
      {
        least = sum;
        best = line;
      }
    }
    rows += best;
  }
  return rows;
}
} // namespace

std::string
Canvas::ToPng() const
{
  static_assert(sizeof(ImageType::PixelType) == 3, "The dots lie one after the other.");
  const auto        width = static_cast<std::size_t>(m_Width);
  const auto        height = static_cast<std::size_t>(m_Height);
  const std::string rows =
    Filtered(reinterpret_cast<const unsigned char *>(m_Image->GetBufferPointer()), width, height);
  uLongf      length = compressBound(static_cast<uLong>(rows.size()));
  std::string packed(length, '\0');
  if (compress2(reinterpret_cast<Bytef *>(packed.data()),
                &length,
                reinterpret_cast<const Bytef *>(rows.data()),
                static_cast<uLong>(rows.size()),
                6) != Z_OK)
  {
    throw std::runtime_error("zlib could not compress a picture.");
  }
  packed.resize(length);
  // 8 bits, RGB; the methods of compression, filters and interlacing are the first.
  const std::string header = BigEndian(static_cast<std::uint32_t>(m_Width)) +
                             BigEndian(static_cast<std::uint32_t>(m_Height)) + std::string("\x08\x02\0\0\0", 5);
  return "\x89PNG\r\n\x1a\n" + Chunk("IHDR", header) + Chunk("IDAT", packed) + Chunk("IEND", "");
}

void
Canvas::Write(const std::string & path) const
{
  const std::string png = this->ToPng();
  std::ofstream     file(path, std::ios::binary);
  file.write(png.data(), static_cast<std::streamsize>(png.size()));
  file.close();
  if (!file)
  {
    throw std::runtime_error(path.substr(path.find_last_of('/') + 1) +
                             " cannot be written: " + std::generic_category().message(errno));
  }
}

itk::ContinuousIndex<double, 3>
SlicePlane::At(int column, int row) const
{
  itk::ContinuousIndex<double, 3> at;
  const double                    u = (column + 0.5) / DotsPerMm / ColumnSpacing - 0.5;
  const double                    v = (row + 0.5) / DotsPerMm / RowSpacing - 0.5;
  at[ColumnAxis] = FlipColumn ? Upper[ColumnAxis] - u : Lower[ColumnAxis] + u;
  at[RowAxis] = FlipRow ? Upper[RowAxis] - v : Lower[RowAxis] + v;
  at[SliceAxis] = Lower[SliceAxis];
  return at;
}

SlicePlane
FindSlicePlane(Plane                     kind,
               const itk::ImageBase<3> & grid,
               const SliceMaskType *     brain,
               const SliceMaskType *     tumour,
               int                       side)
{
  SlicePlane                        plane;
  const std::array<unsigned int, 3> axes = AxesOf(grid);
  // Patient axes (LPS) of the columns, rows and slices.
  const std::array<unsigned int, 3> shown = kind == Plane::Axial     ? std::array<unsigned int, 3>{ { 0, 1, 2 } }
                                            : kind == Plane::Coronal ? std::array<unsigned int, 3>{ { 0, 2, 1 } }
                                                                     : std::array<unsigned int, 3>{ { 1, 2, 0 } };
  plane.Kind = kind;
  plane.ColumnAxis = axes[shown[0]];
  plane.RowAxis = axes[shown[1]];
  plane.SliceAxis = axes[shown[2]];
  // Left and posterior are drawn on the right; posterior below anterior, feet below head.
  plane.FlipColumn = grid.GetDirection()[shown[0]][plane.ColumnAxis] < 0.0;
  plane.FlipRow = (grid.GetDirection()[shown[1]][plane.RowAxis] < 0.0) != (shown[1] == 2);
  plane.ColumnSpacing = grid.GetSpacing()[plane.ColumnAxis];
  plane.RowSpacing = grid.GetSpacing()[plane.RowAxis];

  const itk::ImageRegion<3> region = grid.GetLargestPossibleRegion();
  IndexType                 lower = region.GetUpperIndex();
  IndexType                 upper = region.GetIndex();
  std::vector<std::size_t>  area(region.GetSize(plane.SliceAxis), 0);
  std::vector<std::size_t>  brainArea = area;
  const auto                count = [&](const SliceMaskType * mask, std::vector<std::size_t> & areas, bool box) {
    const unsigned char * voxel = mask->GetBufferPointer();
    IndexType             index;
    const IndexType       first = region.GetIndex();
    const IndexType       last = region.GetUpperIndex();
    for (index[2] = first[2]; index[2] <= last[2]; ++index[2])
    {
      for (index[1] = first[1]; index[1] <= last[1]; ++index[1])
      {
        for (index[0] = first[0]; index[0] <= last[0]; ++index[0], ++voxel)
        {
          if (*voxel)
          {
            ++areas[static_cast<std::size_t>(index[plane.SliceAxis] - first[plane.SliceAxis])];
            for (unsigned int d = 0; box && d < 3; ++d)
            {
              lower[d] = std::min(lower[d], index[d]);
              upper[d] = std::max(upper[d], index[d]);
            }
          }
        }
      }
    }
  };
  count(brain, brainArea, true);
  if (tumour)
  {
    count(tumour, area, false);
  }
  if (*std::max_element(area.begin(), area.end()) == 0)
  {
    area = brainArea;
  }
  const auto slice = std::max_element(area.begin(), area.end()) - area.begin();
  for (unsigned int d = 0; d < 3; ++d)
  {
    const auto margin = static_cast<itk::IndexValueType>(std::ceil(6.0 / grid.GetSpacing()[d]));
    plane.Lower[d] = std::max(region.GetIndex(d), lower[d] - margin);
    plane.Upper[d] = std::min(region.GetUpperIndex()[d], upper[d] + margin);
    if (plane.Lower[d] > plane.Upper[d])
    {
      plane.Lower[d] = region.GetIndex(d);
      plane.Upper[d] = region.GetUpperIndex()[d];
    }
  }
  plane.Lower[plane.SliceAxis] = plane.Upper[plane.SliceAxis] = region.GetIndex(plane.SliceAxis) + slice;

  const double width =
    plane.ColumnSpacing * static_cast<double>(plane.Upper[plane.ColumnAxis] - plane.Lower[plane.ColumnAxis] + 1);
  const double height =
    plane.RowSpacing * static_cast<double>(plane.Upper[plane.RowAxis] - plane.Lower[plane.RowAxis] + 1);
  plane.DotsPerMm = side / std::max(width, height);
  plane.Width = std::max(1, static_cast<int>(std::lround(width * plane.DotsPerMm)));
  plane.Height = std::max(1, static_cast<int>(std::lround(height * plane.DotsPerMm)));
  return plane;
}


GreyWindow
FindGreyWindow(const SliceImageType * image, const SliceMaskType * brain, double lower, double upper)
{
  const itk::SizeValueType voxels = image->GetLargestPossibleRegion().GetNumberOfPixels();
  std::vector<float>       inside;
  for (itk::SizeValueType i = 0; i < voxels; ++i)
  {
    if (brain->GetBufferPointer()[i])
    {
      inside.push_back(image->GetBufferPointer()[i]);
    }
  }
  GreyWindow window;
  window.Low = Quantile(inside, lower);
  window.High = Quantile(inside, upper);
  return window;
}

double
LargestValue(const SliceImageType * map)
{
  const float * const begin = map->GetBufferPointer();
  return *std::max_element(begin, begin + map->GetLargestPossibleRegion().GetNumberOfPixels());
}

double
GuidedScale(const SliceVectorImageType * map)
{
  std::vector<float>  magnitudes;
  const float * const begin = map->GetBufferPointer();
  const auto end = begin + map->GetLargestPossibleRegion().GetNumberOfPixels() * map->GetNumberOfComponentsPerPixel();
  for (const float * value = begin; value != end; ++value)
  {
    if (*value != 0.0f)
    {
      magnitudes.push_back(std::abs(*value));
    }
  }
  return Quantile(magnitudes, 0.995);
}

SlicePlane
Through(SlicePlane plane, const itk::Index<3> & place)
{
  plane.Lower[plane.SliceAxis] = plane.Upper[plane.SliceAxis] = place[plane.SliceAxis];
  return plane;
}

itk::ImageRegion<3>
RegionOfFrames(const SlicePlane & axial, const SlicePlane & coronal)
{
  itk::ImageRegion<3> region;
  for (unsigned int d = 0; d < 3; ++d)
  {
    const SlicePlane & across = d == axial.SliceAxis ? coronal : axial;
    region.SetIndex(d, across.Lower[d]);
    region.SetSize(d, static_cast<itk::SizeValueType>(across.Upper[d] - across.Lower[d] + 1));
  }
  return region;
}

namespace
{
template <typename TImage, typename TMagnitude>
IndexType
PeakOf(const TImage * map, const itk::ImageRegion<3> & region, const TMagnitude & magnitude)
{
  IndexType peak = region.GetIndex();
  double    largest = 0.0;
  for (itk::ImageRegionConstIteratorWithIndex<TImage> it(map, region); !it.IsAtEnd(); ++it)
  {
    const double value = magnitude(it.Get());
    if (value > largest)
    {
      largest = value;
      peak = it.GetIndex();
    }
  }
  return peak;
}
} // namespace

itk::Index<3>
FindPeak(const SliceImageType * map, const itk::ImageRegion<3> & region)
{
  return PeakOf(map, region, [](float value) { return value; });
}

itk::Index<3>
FindPeak(const SliceVectorImageType * map, const itk::ImageRegion<3> & region)
{
  return PeakOf(map, region, [](const SliceVectorImageType::PixelType & values) {
    float largest = 0.0F;
    for (unsigned int c = 0; c < values.GetSize(); ++c)
    {
      largest = std::max(largest, std::abs(values[c]));
    }
    return largest;
  });
}

namespace
{
template <typename TRead>
double
LargestOn(const SlicePlane & plane, const TRead & read)
{
  double    largest = 0.0;
  IndexType index;
  for (index[2] = plane.Lower[2]; index[2] <= plane.Upper[2]; ++index[2])
  {
    for (index[1] = plane.Lower[1]; index[1] <= plane.Upper[1]; ++index[1])
    {
      for (index[0] = plane.Lower[0]; index[0] <= plane.Upper[0]; ++index[0])
      {
        largest = std::max(largest, std::abs(static_cast<double>(read(index))));
      }
    }
  }
  return largest;
}
} // namespace

bool
IsSeenOn(const SlicePlane & plane, const SliceImageType * map, double scale)
{
  return LargestOn(plane, [map](const IndexType & index) { return map->GetPixel(index); }) > leastSeen * scale;
}

bool
IsSeenOn(const SlicePlane & plane, const SliceVectorImageType * map, unsigned int component, double scale)
{
  return LargestOn(plane, [&](const IndexType & index) { return map->GetPixel(index)[component]; }) > leastSeen * scale;
}

ColourType
HeatColour(double value)
{
  static const std::array<ColourType, 5> anchors{
    { { { 20, 8, 50 } }, { { 120, 28, 110 } }, { { 220, 60, 60 } }, { { 252, 150, 30 } }, { { 252, 252, 165 } } }
  };
  const double at = std::clamp(value, 0.0, 1.0) * 4.0;
  const auto   i = std::min<std::size_t>(3, static_cast<std::size_t>(at));
  ColourType   colour;
  for (unsigned int c = 0; c < 3; ++c)
  {
    colour[c] = anchors[i][c] + (at - static_cast<double>(i)) * (anchors[i + 1][c] - anchors[i][c]);
  }
  return colour;
}

void
DrawSequence(Canvas &               canvas,
             int                    left,
             int                    top,
             const SlicePlane &     plane,
             const SliceImageType * image,
             const SliceMaskType *  brain,
             const GreyWindow &     window)
{
  // The brain's darkest voxels stay above the background.
  const auto greyLevel = [&](const IndexType & index) {
    return brain->GetPixel(index)
             ? 12.0 +
                 243.0 * std::clamp(
                           (image->GetPixel(index) - window.Low) / std::max(window.High - window.Low, 1e-12), 0.0, 1.0)
             : 0.0;
  };
  for (int y = 0; y < plane.Height; ++y)
  {
    for (int x = 0; x < plane.Width; ++x)
    {
      const double level = Linear(plane.At(x, y), plane, greyLevel);
      canvas.Dot(left + x, top + y, { { level, level, level } });
    }
  }
}

void
DrawHeat(Canvas & canvas, int left, int top, const SlicePlane & plane, const SliceImageType * map, double largest)
{
  for (int y = 0; y < plane.Height && largest > 0.0; ++y)
  {
    for (int x = 0; x < plane.Width; ++x)
    {
      const double value =
        Linear(plane.At(x, y), plane, [&](const IndexType & index) { return map->GetPixel(index); }) / largest;
      canvas.Dot(left + x, top + y, HeatColour(value), value <= 0.0 ? 0.0 : 0.15 + 0.6 * std::sqrt(value));
    }
  }
}

void
DrawSigned(Canvas &                     canvas,
           int                          left,
           int                          top,
           const SlicePlane &           plane,
           const SliceVectorImageType * map,
           unsigned int                 component,
           double                       scale)
{
  for (int y = 0; y < plane.Height && scale > 0.0; ++y)
  {
    for (int x = 0; x < plane.Width; ++x)
    {
      const double value =
        Linear(plane.At(x, y), plane, [&](const IndexType & index) { return map->GetPixel(index)[component]; }) / scale;
      const ColourType colour = value > 0.0 ? ColourType{ { 255, 70, 40 } } : ColourType{ { 50, 130, 255 } };
      canvas.Dot(left + x, top + y, colour, std::min(1.0, std::abs(value)));
    }
  }
}

// A dot is on the outline where its neighbour to the right or below is on the other side.
void
DrawOutline(Canvas &              canvas,
            int                   left,
            int                   top,
            const SlicePlane &    plane,
            const SliceMaskType * mask,
            const ColourType &    colour,
            bool                  dotted)
{
  const auto inside = [&](int column, int row) {
    return column >= 0 && row >= 0 && column < plane.Width && row < plane.Height &&
           mask->GetPixel(Nearest(plane.At(column, row), plane)) != 0;
  };
  for (int row = -1; row < plane.Height; ++row)
  {
    for (int column = -1; column < plane.Width; ++column)
    {
      const bool here = inside(column, row);
      if ((here != inside(column + 1, row) || here != inside(column, row + 1)) && (!dotted || (column + row) % 4 < 2))
      {
        canvas.Dot(left + column, top + row, colour, dotted ? 0.7 : 1.0);
      }
    }
  }
}

void
DrawSides(Canvas & canvas, int left, int top, const SlicePlane & plane)
{
  const bool isSagittal = plane.Kind == Plane::Sagittal;
  const bool isAxial = plane.Kind == Plane::Axial;
  const auto write = [&canvas](int x, int y, const char * letter) {
    // A dark rim: the brain may be white there.
    for (int dy = -1; dy <= 1; ++dy)
    {
      for (int dx = -1; dx <= 1; ++dx)
      {
        canvas.Text(x + dx, y + dy, letter, rimColour);
      }
    }
    canvas.Text(x, y, letter, whiteColour);
  };
  write(left + 2, top + plane.Height / 2 - 3, isSagittal ? "A" : "R");
  write(left + plane.Width - 8, top + plane.Height / 2 - 3, isSagittal ? "P" : "L");
  write(left + plane.Width / 2 - 2, top + 2, isAxial ? "A" : "S");
  write(left + plane.Width / 2 - 2, top + plane.Height - 9, isAxial ? "P" : "I");
}
} // namespace glioma
