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
#include "EvaluationPlots.h"

#include "SlicePainting.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

namespace glioma
{
namespace
{
/** Told apart by the colour-blind too (Okabe and Ito 2008). */
const std::array<ColourType, 6> rowColours{ { { { 86, 180, 233 } },
                                              { { 230, 159, 0 } },
                                              { { 0, 190, 140 } },
                                              { { 204, 121, 167 } },
                                              { { 240, 228, 66 } },
                                              { { 235, 235, 235 } } } };
const ColourType                gridColour{ { 60, 60, 68 } };

/** A square from (0, 0) below left to (1, 1), with room for words around it and a line below it for each row. */
class UnitPlot
{
public:
  UnitPlot(const std::vector<std::string> & legends,
           const std::vector<std::string> & notes,
           const std::string &              title,
           const std::string &              across,
           const std::string &              up)
    : UnitPlot(legends, LinesOf(notes, WidthFor(legends)))
  {
    for (int tick = 0; tick <= 10; tick += 2)
    {
      const double at = tick / 10.0;
      this->Line(at, 0.0, at, 1.0, gridColour, 1.0);
      this->Line(0.0, at, 1.0, at, gridColour, 1.0);
      char text[8];
      std::snprintf(text, sizeof(text), "%.1f", at);
      m_Canvas.Text(X(at) - 9, top + side + 8, text, greyColour, 1);
      m_Canvas.Text(left - 26, Y(at) - 3, text, greyColour, 1);
    }
    this->Line(0.0, 0.0, 1.0, 1.0, greyColour, 1.0);
    m_Canvas.Text(left, 14, title, whiteColour, 2);
    m_Canvas.Text(left, top - 14, up, greyColour, 1);
    m_Canvas.Text(left + side - 6 * static_cast<int>(across.size()), top + side + 24, across, greyColour, 1);
  }

  void
  Line(double x0, double y0, double x1, double y1, const ColourType & colour, double width)
  {
    // Dots near the segment, fading at its edge.
    const double ax = ToX(x0);
    const double ay = ToY(y0);
    const double dx = ToX(x1) - ax;
    const double dy = ToY(y1) - ay;
    const double length = std::max(1e-9, dx * dx + dy * dy);
    const int    reach = static_cast<int>(width) + 2;
    for (int y = static_cast<int>(std::min(ay, ay + dy)) - reach; y <= std::max(ay, ay + dy) + reach; ++y)
    {
      for (int x = static_cast<int>(std::min(ax, ax + dx)) - reach; x <= std::max(ax, ax + dx) + reach; ++x)
      {
        const double along = std::clamp(((x - ax) * dx + (y - ay) * dy) / length, 0.0, 1.0);
        const double apart = std::hypot(x - ax - along * dx, y - ay - along * dy);
        m_Canvas.Dot(x, y, colour, std::clamp(0.5 + 0.5 * width - apart, 0.0, 1.0));
      }
    }
  }

  void
  Disc(double atX, double atY, double radius, const ColourType & colour)
  {
    const double cx = ToX(atX);
    const double cy = ToY(atY);
    const int    reach = static_cast<int>(radius) + 2;
    for (int y = static_cast<int>(cy) - reach; y <= cy + reach; ++y)
    {
      for (int x = static_cast<int>(cx) - reach; x <= cx + reach; ++x)
      {
        m_Canvas.Dot(x, y, colour, 0.85 * std::clamp(radius + 0.5 - std::hypot(x - cx, y - cy), 0.0, 1.0));
      }
    }
  }

  static const ColourType &
  ColourOf(std::size_t row)
  {
    return rowColours[row % rowColours.size()];
  }

  void
  Write(const std::string & path) const
  {
    m_Canvas.Write(path);
  }

private:
  static constexpr int left = 50;
  static constexpr int top = 60;
  static constexpr int side = 480;

  UnitPlot(const std::vector<std::string> & legends, const std::vector<std::string> & lines)
    : m_Canvas(WidthFor(legends),
               top + side + 64 + static_cast<int>(legends.size()) * 20 + static_cast<int>(lines.size()) * 14)
  {
    for (std::size_t row = 0; row < legends.size(); ++row)
    {
      this->Legend(row, legends[row]);
    }
    int y = top + side + 52 + static_cast<int>(legends.size()) * 20;
    for (const std::string & line : lines)
    {
      m_Canvas.Text(left, y, line, greyColour);
      y += 14;
    }
  }

  static std::vector<std::string>
  LinesOf(const std::vector<std::string> & notes, int width)
  {
    return WrappedText(NoteOfPictures(notes), static_cast<std::size_t>(width - left - 10) / 6);
  }

  /** Long names of rows make the picture wider. */
  static int
  WidthFor(const std::vector<std::string> & legends)
  {
    std::size_t longest = 0;
    for (const std::string & legend : legends)
    {
      longest = std::max(longest, legend.size());
    }
    return left + 30 + std::max(side, 6 * static_cast<int>(longest) + 10);
  }

  void
  Legend(std::size_t row, const std::string & text)
  {
    const int y = top + side + 48 + static_cast<int>(row) * 20;
    for (int dot = 0; dot < 22 * 4; ++dot)
    {
      m_Canvas.Dot(left + dot % 22, y + 2 + dot / 22, ColourOf(row));
    }
    m_Canvas.Text(left + 30, y, text, whiteColour, 1);
  }

  static double
  ToX(double value)
  {
    return left + value * side;
  }
  static double
  ToY(double value)
  {
    return top + (1.0 - value) * side;
  }
  static int
  X(double value)
  {
    return static_cast<int>(std::lround(ToX(value)));
  }
  static int
  Y(double value)
  {
    return static_cast<int>(std::lround(ToY(value)));
  }

  Canvas m_Canvas;
};

std::string
Interval(const Estimate & estimate)
{
  if (!estimate.Undefined.empty())
  {
    return "undefined: " + estimate.Undefined;
  }
  char text[64];
  int  used = std::snprintf(text, sizeof(text), "%.3f", estimate.Value);
  if (std::isfinite(estimate.Low))
  {
    std::snprintf(text + used, sizeof(text) - used, " (95 %% %.2f to %.2f)", estimate.Low, estimate.High);
  }
  return text;
}
} // namespace

void
DrawReceiverCurves(const std::vector<EvaluationRow> & rows,
                   const std::string &                path,
                   const std::vector<std::string> &   notes)
{
  std::vector<std::string> legends;
  for (const EvaluationRow & row : rows)
  {
    legends.push_back(row.Name + ": AUC " + Interval(AreaUnderCurve(row.GetGrades())));
  }
  UnitPlot plot(
    legends, notes, "ROC: HGG from LGG", "1 - specificity (LGG called HGG)", "sensitivity (HGG called HGG)");
  for (std::size_t r = 0; r < rows.size(); ++r)
  {
    const auto curve = ReceiverCurve(rows[r].GetGrades());
    for (std::size_t i = 1; i < curve.size(); ++i)
    {
      plot.Line(curve[i - 1][0], curve[i - 1][1], curve[i][0], curve[i][1], UnitPlot::ColourOf(r), 2.0);
    }
  }
  plot.Write(path);
}

void
DrawReliability(const std::vector<EvaluationRow> & rows,
                const std::string &                path,
                const std::vector<std::string> &   notes)
{
  std::vector<std::string> legends;
  for (const EvaluationRow & row : rows)
  {
    legends.push_back(row.Name + ": calibration error " + Interval(CalibrationError(row.GetGrades())));
  }
  UnitPlot plot(legends,
                notes,
                "Reliability",
                "mean P(HGG) of the bin (width 0.1)",
                "share of HGG; area of a disc: number of cases");
  for (std::size_t r = 0; r < rows.size(); ++r)
  {
    const auto             bins = ReliabilityBins(rows[r].GetGrades());
    const auto             total = static_cast<double>(std::max<std::size_t>(1, rows[r].Cases.size()));
    const ReliabilityBin * before = nullptr;
    for (const ReliabilityBin & bin : bins)
    {
      if (bin.Cases == 0)
      {
        continue;
      }
      if (before != nullptr)
      {
        plot.Line(
          before->MeanProbability, before->ShareHGG, bin.MeanProbability, bin.ShareHGG, UnitPlot::ColourOf(r), 1.0);
      }
      plot.Disc(bin.MeanProbability,
                bin.ShareHGG,
                3.0 + 14.0 * std::sqrt(static_cast<double>(bin.Cases) / total),
                UnitPlot::ColourOf(r));
      before = &bin;
    }
  }
  plot.Write(path);
}
} // namespace glioma
