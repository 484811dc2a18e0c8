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
#include "TrainingCurve.h"

#include "SlicePainting.h"

#include "itkMacro.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <vector>

namespace glioma
{
namespace
{
// Told apart by the colour-blind too (Okabe and Ito 2008).
const ColourType stepColour{ { 60, 90, 110 } };
const ColourType meanColour{ { 86, 180, 233 } };
const ColourType scoreColour{ { 230, 159, 0 } };
const ColourType gridColour{ { 60, 60, 68 } };

constexpr int left = 60;
constexpr int top = 56;
constexpr int width = 720;
constexpr int height = 360;

using Point = std::array<double, 2>; // 0 to 1 from the left and from below

void
Line(Canvas & canvas, const Point & from, const Point & to, const ColourType & colour, double thickness)
{
  const double ax = left + from[0] * width;
  const double ay = top + (1.0 - from[1]) * height;
  const double dx = (to[0] - from[0]) * width;
  const double dy = (from[1] - to[1]) * height;
  const double squared = std::max(1e-9, dx * dx + dy * dy);
  const int    reach = static_cast<int>(thickness) + 2;
  for (int y = static_cast<int>(std::min(ay, ay + dy)) - reach; y <= std::max(ay, ay + dy) + reach; ++y)
  {
    for (int x = static_cast<int>(std::min(ax, ax + dx)) - reach; x <= std::max(ax, ax + dx) + reach; ++x)
    {
      const double along = std::clamp(((x - ax) * dx + (y - ay) * dy) / squared, 0.0, 1.0);
      const double apart = std::hypot(x - ax - along * dx, y - ay - along * dy);
      canvas.Dot(x, y, colour, std::clamp(0.5 + 0.5 * thickness - apart, 0.0, 1.0));
    }
  }
}

/** A number of one digit that is not below the value, at its own power of ten. */
double
RoundUp(double value)
{
  const double power = std::pow(10.0, std::floor(std::log10(std::max(value, 1e-12))));
  return std::ceil(value / power - 1e-9) * power;
}

std::string
WithoutTrailingSlash(std::string path)
{
  while (path.size() > 1 && path.back() == '/')
  {
    path.pop_back();
  }
  return path;
}
} // namespace

void
DrawTrainingCurve(const std::string & output)
{
  const std::string name = WithoutTrailingSlash(output);
  std::ifstream     log(name + ".csv");
  std::string       line;
  if (!log || !std::getline(log, line))
  {
    itkGenericExceptionMacro("The training's log " << name << ".csv cannot be read");
  }
  std::vector<Point> losses; // step and value
  std::vector<Point> scores;
  while (std::getline(log, line))
  {
    std::istringstream         fields(line);
    std::array<std::string, 5> field;
    for (std::string & each : field)
    {
      std::getline(fields, each, ',');
    }
    const double step = std::strtod(field[0].c_str(), nullptr);
    losses.push_back({ { step, std::strtod(field[2].c_str(), nullptr) } });
    if (!field[4].empty())
    {
      scores.push_back({ { step, std::strtod(field[4].c_str(), nullptr) } });
    }
  }
  if (losses.size() < 2)
  {
    return;
  }
  double highest = 0.0;
  for (const Point & each : losses)
  {
    highest = std::max(highest, each[1]);
  }
  highest = RoundUp(highest);
  const double last = losses.back()[0];
  Canvas       canvas(left + width + 50, top + height + 60);
  char         text[80];
  for (int tick = 0; tick <= 10; tick += 2)
  {
    const double at = tick / 10.0;
    Line(canvas, { { 0.0, at } }, { { 1.0, at } }, gridColour, 1.0);
    Line(canvas, { { at, 0.0 } }, { { at, 1.0 } }, gridColour, 1.0);
    const int y = static_cast<int>(top + (1.0 - at) * height) - 3;
    std::snprintf(text, sizeof(text), "%8.3g", at * highest);
    canvas.Text(left - 54, y, text, meanColour);
    if (!scores.empty())
    {
      std::snprintf(text, sizeof(text), "%.1f", at);
      canvas.Text(left + width + 8, y, text, scoreColour);
    }
    std::snprintf(text, sizeof(text), "%.0f", at * last);
    canvas.Text(static_cast<int>(left + at * width) - 9, top + height + 8, text, greyColour);
  }
  canvas.Text(left, 14, "Training: " + std::filesystem::path(name).filename().string(), whiteColour, 2);
  // The mean runs over a fiftieth of the steps; of few steps it would be the loss itself.
  const double window = std::max(1.0, std::round(static_cast<double>(losses.size()) / 50.0));
  std::snprintf(text, sizeof(text), "%.0f", window);
  canvas.Text(left,
              top - 14,
              window > 1.0 ? "loss: thin, of each step; thick, running mean of " + std::string(text) + " steps"
                           : "loss of each step",
              meanColour);
  if (!scores.empty())
  {
    // As TorchModelTrainer scores segmentation and grading.
    const std::string score = "validation: mean Dice, or mean P(true grade)";
    canvas.Text(left + width - 6 * static_cast<int>(score.size()), top - 14, score, scoreColour);
  }
  canvas.Text(left + width - 6 * 4, top + height + 26, "step", greyColour);

  const auto draw = [&](const std::vector<Point> & points, double top1, const ColourType & colour, double thickness) {
    for (std::size_t i = 1; i < points.size(); ++i)
    {
      Line(canvas,
           { { points[i - 1][0] / last, points[i - 1][1] / top1 } },
           { { points[i][0] / last, points[i][1] / top1 } },
           colour,
           thickness);
    }
  };
  draw(losses, highest, stepColour, 1.0);
  std::vector<Point> means = losses;
  for (std::size_t i = 1; i < means.size(); ++i)
  {
    means[i][1] = means[i - 1][1] + (means[i][1] - means[i - 1][1]) / window;
  }
  draw(means, highest, meanColour, 2.0);
  draw(scores, 1.0, scoreColour, 2.0);
  // Whoever looks at it meanwhile sees the former one.
  canvas.Write(name + ".png.part");
  std::filesystem::rename(name + ".png.part", name + ".png");
}

std::string
FindCurveProblem(const std::string & output)
{
  const std::string name = WithoutTrailingSlash(output);
  return std::filesystem::exists(name + ".png") && !std::filesystem::exists(name + ".csv")
           ? name + ".png exists without the log of a training beside it, and the curve would take its place: move it "
                    "away or name another output"
           : "";
}
} // namespace glioma
