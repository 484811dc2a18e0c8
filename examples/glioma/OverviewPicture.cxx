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

#include "SlicePainting.h"

#include <algorithm>
#include <cstdio>
#include <stdexcept>

namespace glioma
{
namespace
{
constexpr int cellSide = 272; // dots of the longer side of a slice
constexpr int gap = 8;        // dots between cells
constexpr int smallLine = 12;
constexpr int titleHeight = 2 * smallLine + 2; // what it is, and the range of its colours
constexpr int lineHeight = 20;

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
  const SlicePlane          plane = FindSlicePlane(Plane::Axial, grid, m_BrainMask, m_Tumour, cellSide);

  const int rows = 1 + static_cast<int>(m_GradCAM.size()) + (m_Guided ? 1 : 0);
  const int columns = static_cast<int>(m_Sequences.size());
  const int cellHeight = plane.Height + titleHeight;
  const int header = 10 + lineHeight * static_cast<int>(m_Lines.size()) + 6;
  int       width = gap + columns * (plane.Width + gap);
  for (const Line & line : m_Lines)
  {
    width = std::max(width, 2 * gap + 12 * static_cast<int>(line.Text.size()));
  }
  Canvas canvas(width, header + rows * (cellHeight + gap) + 2 * smallLine + gap);
  for (std::size_t i = 0; i < m_Lines.size(); ++i)
  {
    canvas.Text(gap,
                10 + lineHeight * static_cast<int>(i),
                m_Lines[i].Text,
                m_Lines[i].IsWarning ? warningColour : whiteColour,
                2);
  }

  // The colour scale of a map is that of the whole volume.
  std::vector<double> largest;
  for (const Overlay & overlay : m_GradCAM)
  {
    largest.push_back(LargestValue(overlay.Map));
  }
  const double guidedScale = m_Guided ? GuidedScale(m_Guided) : 0.0;

  for (int column = 0; column < columns; ++column)
  {
    const Sequence & sequence = m_Sequences[static_cast<std::size_t>(column)];
    const GreyWindow window = FindGreyWindow(sequence.Image, m_BrainMask);
    const int        left = gap + column * (plane.Width + gap);
    for (int row = 0; row < rows; ++row)
    {
      const int             top = header + row * (cellHeight + gap) + titleHeight;
      const int             cam = row >= 1 && row <= static_cast<int>(m_GradCAM.size()) ? row - 1 : -1;
      const bool            guided = row > static_cast<int>(m_GradCAM.size());
      const Overlay * const overlay = cam >= 0 ? &m_GradCAM[static_cast<std::size_t>(cam)] : nullptr;

      std::string title = sequence.Name;
      std::string range;
      if (overlay)
      {
        title = overlay->Title + " on " + sequence.Name;
        const double peak = largest[static_cast<std::size_t>(cam)];
        range = peak > 0.0 ? "0 to " + Short(peak) : "nothing above 0";
        range += peak > 0.0 && !IsSeenOn(plane, overlay->Map, peak) ? "; little on this slice" : "";
      }
      else if (guided)
      {
        title = m_GuidedTitle + " of " + sequence.Name;
        range = "-" + Short(guidedScale) + " to " + Short(guidedScale);
        range += guidedScale > 0.0 && !IsSeenOn(plane, m_Guided, static_cast<unsigned int>(column), guidedScale)
                   ? "; little here"
                   : "";
      }
      const auto fitting = static_cast<std::size_t>((plane.Width + gap) / 6);
      const int  firstLine = top - (range.empty() ? 1 : 2) * smallLine;
      canvas.Text(left, firstLine, title.substr(0, fitting), greyColour);
      canvas.Text(left, firstLine + smallLine, range.substr(0, fitting), greyColour);

      DrawSequence(canvas, left, top, plane, sequence.Image, m_BrainMask, window);
      if (overlay)
      {
        DrawHeat(canvas, left, top, plane, overlay->Map, largest[static_cast<std::size_t>(cam)]);
      }
      else if (guided)
      {
        DrawSigned(canvas, left, top, plane, m_Guided, static_cast<unsigned int>(column), guidedScale);
      }
      if (overlay && overlay->Support)
      {
        DrawOutline(canvas, left, top, plane, overlay->Support, whiteColour, true);
      }
      if (m_Tumour)
      {
        DrawOutline(canvas, left, top, plane, m_Tumour, outlineColour, false);
      }
      DrawSides(canvas, left, top, plane);
    }
  }
  // Files may be on other grids than these images: the place finds the slice in all of them.
  itk::ContinuousIndex<double, 3> middle;
  for (unsigned int d = 0; d < 3; ++d)
  {
    middle[d] = 0.5 * static_cast<double>(plane.Lower[d] + plane.Upper[d]);
  }
  itk::Point<double, 3> place;
  grid.TransformContinuousIndexToPhysicalPoint(middle, place);
  char through[96];
  std::snprintf(
    through, sizeof(through), "Axial slice through (%.1f, %.1f, %.1f) mm LPS", place[0], place[1], place[2]);
  const std::string number =
    " (" + std::to_string(plane.Lower[plane.SliceAxis]) + " of image axis " + std::to_string(plane.SliceAxis) + ")";
  const int legend = header + rows * (cellHeight + gap) + 2;
  canvas.Text(gap,
              legend,
              through + (m_IsOnGridOfFiles ? number : "") +
                ", from the feet. Green: tumour. Dotted: where the layer's cells reach.",
              greyColour);
  canvas.Text(gap,
              legend + smallLine,
              "GradCAM: dark to yellow, from 0 to the volume's largest value. Guided backpropagation: red +, blue -.",
              greyColour);
  canvas.Write(path);
}
} // namespace glioma
