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
#include "OverviewPicture.h"

#include "BitmapFont.h"
#include "itkImageFileWriter.h"
#include "itkPNGImageIO.h"
#include "itkRGBPixel.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <limits>
#include <stdexcept>

namespace glioma
{
namespace
{
using ColourType = std::array<double, 3>;
using IndexType = itk::Index<3>;

constexpr int cellSide = 272; // dots of the longer side of a slice
constexpr int gap = 8;        // dots between cells
constexpr int titleHeight = 14;
constexpr int lineHeight = 20;

const ColourType white{ { 235, 235, 235 } };
const ColourType grey{ { 150, 150, 150 } };
const ColourType warning{ { 255, 190, 60 } };
const ColourType outlineColour{ { 60, 255, 120 } };

class Canvas
{
public:
  using ImageType = itk::Image<itk::RGBPixel<unsigned char>, 2>;

  Canvas(int width, int height)
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
  Dot(int x, int y, const ColourType & colour, double opacity = 1.0)
  {
    if (x < 0 || y < 0 || x >= m_Width || y >= m_Height || opacity <= 0.0)
    {
      return;
    }
    ImageType::PixelType & pixel = m_Image->GetPixel({ { x, y } });
    for (unsigned int c = 0; c < 3; ++c)
    {
      pixel[c] = static_cast<unsigned char>(
        std::lround(std::clamp(pixel[c] * (1.0 - opacity) + colour[c] * opacity, 0.0, 255.0)));
    }
  }

  void
  Text(int x, int y, const std::string & text, const ColourType & colour, int scale = 1)
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

  void
  Write(const std::string & path)
  {
    auto writer = itk::ImageFileWriter<ImageType>::New();
    writer->SetImageIO(itk::PNGImageIO::New());
    writer->SetFileName(path);
    writer->SetInput(m_Image);
    writer->Update();
  }

private:
  int                m_Width;
  int                m_Height;
  ImageType::Pointer m_Image;
};

/** Takes dots of a cell to indices of the volume. */
struct SlicePlane
{
  unsigned int ColumnAxis{ 0 };
  unsigned int RowAxis{ 1 };
  unsigned int SliceAxis{ 2 };
  bool         FlipColumn{ false };
  bool         FlipRow{ false };
  IndexType    Lower;
  IndexType    Upper; // inclusive
  double       DotsPerMm{ 1.0 };
  double       ColumnSpacing{ 1.0 };
  double       RowSpacing{ 1.0 };
  int          Width{ 1 };
  int          Height{ 1 };

  /** Continuous index of a dot's centre. */
  itk::ContinuousIndex<double, 3>
  At(int column, int row) const
  {
    itk::ContinuousIndex<double, 3> at;
    const double                    u = (column + 0.5) / DotsPerMm / ColumnSpacing - 0.5;
    const double                    v = (row + 0.5) / DotsPerMm / RowSpacing - 0.5;
    at[ColumnAxis] = FlipColumn ? Upper[ColumnAxis] - u : Lower[ColumnAxis] + u;
    at[RowAxis] = FlipRow ? Upper[RowAxis] - v : Lower[RowAxis] + v;
    at[SliceAxis] = Lower[SliceAxis];
    return at;
  }
};

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

// Black through purple and orange to pale yellow: rising brightness, also for the colour-blind.
ColourType
Heat(double value)
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

float
Quantile(std::vector<float> & values, double quantile)
{
  if (values.empty())
  {
    return 0.0f;
  }
  const auto nth = values.begin() + static_cast<std::ptrdiff_t>(quantile * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), nth, values.end());
  return *nth;
}

SlicePlane
FindPlane(const itk::ImageBase<3> &              grid,
          const OverviewPicture::MaskImageType * brain,
          const OverviewPicture::MaskImageType * tumour)
{
  SlicePlane                  plane;
  std::array<unsigned int, 3> order{ { 0, 1, 2 } }; // image axis nearest to the patient's x, y, z
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
  plane.ColumnAxis = best[0];
  plane.RowAxis = best[1];
  plane.SliceAxis = best[2];
  // x grows to the patient's left, which is drawn on the right; y grows to posterior, which is drawn below.
  plane.FlipColumn = grid.GetDirection()[0][best[0]] < 0.0;
  plane.FlipRow = grid.GetDirection()[1][best[1]] < 0.0;
  plane.ColumnSpacing = grid.GetSpacing()[best[0]];
  plane.RowSpacing = grid.GetSpacing()[best[1]];

  const itk::ImageRegion<3> region = grid.GetLargestPossibleRegion();
  IndexType                 lower = region.GetUpperIndex();
  IndexType                 upper = region.GetIndex();
  std::vector<std::size_t>  area(region.GetSize(plane.SliceAxis), 0);
  std::vector<std::size_t>  brainArea = area;
  const auto count = [&](const OverviewPicture::MaskImageType * mask, std::vector<std::size_t> & areas, bool box) {
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
  plane.DotsPerMm = cellSide / std::max(width, height);
  plane.Width = std::max(1, static_cast<int>(std::lround(width * plane.DotsPerMm)));
  plane.Height = std::max(1, static_cast<int>(std::lround(height * plane.DotsPerMm)));
  return plane;
}

// A dot is on the outline where its neighbour to the right or below is on the other side.
void
DrawOutline(Canvas &                               canvas,
            int                                    left,
            int                                    top,
            const SlicePlane &                     plane,
            const OverviewPicture::MaskImageType * mask,
            const ColourType &                     colour,
            bool                                   dotted)
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

std::string
Short(double value)
{
  char text[32];
  std::snprintf(text, sizeof(text), "%.3g", value);
  return text;
}
} // namespace

void
OverviewPicture::AddSequence(const std::string & name, const SequenceImageType * image)
{
  m_Sequences.push_back({ name, image });
}

void
OverviewPicture::AddGradCAM(const std::string & title, const SequenceImageType * map, const MaskImageType * support)
{
  m_GradCAM.push_back({ title, map, support });
}

void
OverviewPicture::Write(const std::string & path) const
{
  if (m_Sequences.empty() || m_BrainMask.IsNull())
  {
    throw std::runtime_error("The overview needs the sequences and the brain mask.");
  }
  const itk::ImageBase<3> & grid = *m_Sequences.front().Image;
  const SlicePlane          plane = FindPlane(grid, m_BrainMask, m_Tumour);
  const itk::SizeValueType  voxels = grid.GetLargestPossibleRegion().GetNumberOfPixels();

  const int rows = 1 + static_cast<int>(m_GradCAM.size()) + (m_Guided ? 1 : 0);
  const int columns = static_cast<int>(m_Sequences.size());
  const int cellHeight = plane.Height + titleHeight;
  const int header = 10 + lineHeight * static_cast<int>(m_Lines.size()) + 6;
  int       width = gap + columns * (plane.Width + gap);
  for (const Line & line : m_Lines)
  {
    width = std::max(width, 2 * gap + 12 * static_cast<int>(line.Text.size()));
  }
  Canvas canvas(width, header + rows * (cellHeight + gap) + 2 * titleHeight + gap);
  for (std::size_t i = 0; i < m_Lines.size(); ++i)
  {
    canvas.Text(gap, 10 + lineHeight * static_cast<int>(i), m_Lines[i].Text, m_Lines[i].IsWarning ? warning : white, 2);
  }

  // The colour scale of a map is that of the whole volume.
  std::vector<double> largest;
  for (const Overlay & overlay : m_GradCAM)
  {
    const float * const begin = overlay.Map->GetBufferPointer();
    largest.push_back(*std::max_element(begin, begin + voxels));
  }
  double guidedScale = 0.0;
  if (m_Guided)
  {
    std::vector<float>  magnitudes;
    const float * const begin = m_Guided->GetBufferPointer();
    for (const float * value = begin; value != begin + voxels * m_Guided->GetNumberOfComponentsPerPixel(); ++value)
    {
      if (*value != 0.0f)
      {
        magnitudes.push_back(std::abs(*value));
      }
    }
    guidedScale = Quantile(magnitudes, 0.995);
  }

  for (int column = 0; column < columns; ++column)
  {
    const Sequence &          sequence = m_Sequences[static_cast<std::size_t>(column)];
    const SequenceImageType * image = sequence.Image;
    std::vector<float>        inside;
    for (itk::SizeValueType i = 0; i < voxels; ++i)
    {
      if (m_BrainMask->GetBufferPointer()[i])
      {
        inside.push_back(image->GetBufferPointer()[i]);
      }
    }
    const double low = Quantile(inside, 0.01);
    const double high = Quantile(inside, 0.995);
    // The brain's darkest voxels stay above the background.
    const auto greyLevel = [&](const IndexType & index) {
      return m_BrainMask->GetPixel(index)
               ? 12.0 + 243.0 * std::clamp((image->GetPixel(index) - low) / std::max(high - low, 1e-12), 0.0, 1.0)
               : 0.0;
    };
    const int left = gap + column * (plane.Width + gap);
    for (int row = 0; row < rows; ++row)
    {
      const int             top = header + row * (cellHeight + gap) + titleHeight;
      const int             cam = row >= 1 && row <= static_cast<int>(m_GradCAM.size()) ? row - 1 : -1;
      const bool            guided = row > static_cast<int>(m_GradCAM.size());
      const Overlay * const overlay = cam >= 0 ? &m_GradCAM[static_cast<std::size_t>(cam)] : nullptr;

      std::string title = sequence.Name;
      if (overlay)
      {
        title = overlay->Title + " on " + sequence.Name;
        const double peak = largest[static_cast<std::size_t>(cam)];
        title += peak > 0.0 ? ", 0 to " + Short(peak) : ": nothing above 0";
      }
      else if (guided)
      {
        title = m_GuidedTitle + " of " + sequence.Name + ", +-" + Short(guidedScale);
      }
      canvas.Text(left, top - titleHeight + 2, title.substr(0, static_cast<std::size_t>(plane.Width / 6)), grey);

      for (int y = 0; y < plane.Height; ++y)
      {
        for (int x = 0; x < plane.Width; ++x)
        {
          const itk::ContinuousIndex<double, 3> at = plane.At(x, y);
          const double                          level = Linear(at, plane, greyLevel);
          canvas.Dot(left + x, top + y, { { level, level, level } });
          if (overlay && largest[static_cast<std::size_t>(cam)] > 0.0)
          {
            const double value =
              Linear(at, plane, [&](const IndexType & index) { return overlay->Map->GetPixel(index); }) /
              largest[static_cast<std::size_t>(cam)];
            canvas.Dot(left + x, top + y, Heat(value), value <= 0.0 ? 0.0 : 0.15 + 0.6 * std::sqrt(value));
          }
          else if (guided && guidedScale > 0.0)
          {
            const auto   component = static_cast<unsigned int>(column);
            const double value =
              Linear(at, plane, [&](const IndexType & index) { return m_Guided->GetPixel(index)[component]; }) /
              guidedScale;
            const ColourType colour = value > 0.0 ? ColourType{ { 255, 70, 40 } } : ColourType{ { 50, 130, 255 } };
            canvas.Dot(left + x, top + y, colour, std::min(1.0, std::abs(value)));
          }
        }
      }
      if (overlay && overlay->Support)
      {
        DrawOutline(canvas, left, top, plane, overlay->Support, white, true);
      }
      if (m_Tumour)
      {
        DrawOutline(canvas, left, top, plane, m_Tumour, outlineColour, false);
      }
      canvas.Text(left + 2, top + plane.Height / 2 - 3, "R", white);
      canvas.Text(left + plane.Width - 8, top + plane.Height / 2 - 3, "L", white);
      canvas.Text(left + plane.Width / 2 - 2, top + 2, "A", white);
      canvas.Text(left + plane.Width / 2 - 2, top + plane.Height - 9, "P", white);
    }
  }
  const int legend = header + rows * (cellHeight + gap) + 2;
  canvas.Text(gap,
              legend,
              "Axial slice " + std::to_string(plane.Lower[plane.SliceAxis]) + " of image axis " +
                std::to_string(plane.SliceAxis) +
                ", seen from the feet. Green: tumour. Dotted: where the layer's cells reach.",
              grey);
  canvas.Text(gap,
              legend + titleHeight,
              "GradCAM: dark to yellow, from 0 to the volume's largest value. Guided backpropagation: red +, blue -.",
              grey);
  canvas.Write(path);
}
} // namespace glioma
