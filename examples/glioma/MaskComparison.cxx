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
#include "MaskComparison.h"

#include "GradeStatistics.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <sstream>
#include <stdexcept>
#include <vector>

namespace glioma
{
namespace
{
using MaskType = itk::Image<unsigned char, 3>;
using Triple = std::array<std::ptrdiff_t, 3>;

void
RefuseOtherGrid(const MaskType * predicted, const MaskType * truth, double tolerance)
{
  bool same = predicted->GetLargestPossibleRegion().GetSize() == truth->GetLargestPossibleRegion().GetSize();
  for (unsigned int i = 0; i < 3; ++i)
  {
    const double voxel = truth->GetSpacing()[i];
    same = same && std::abs(predicted->GetSpacing()[i] - voxel) <= tolerance * voxel &&
           std::abs(predicted->GetOrigin()[i] - truth->GetOrigin()[i]) <= tolerance * voxel;
    for (unsigned int j = 0; j < 3; ++j)
    {
      same = same && std::abs(predicted->GetDirection()[i][j] - truth->GetDirection()[i][j]) <= tolerance;
    }
  }
  if (!same)
  {
    std::ostringstream text;
    text << "the predicted tumour (" << predicted->GetLargestPossibleRegion().GetSize() << " voxels of "
         << predicted->GetSpacing() << " mm at " << predicted->GetOrigin() << ") is not on the grid of the true one ("
         << truth->GetLargestPossibleRegion().GetSize() << " of " << truth->GetSpacing() << " at " << truth->GetOrigin()
         << ")";
    throw std::runtime_error(text.str());
  }
}

/** A box of a volume of bytes. */
class Block
{
public:
  Block(const Triple & size)
    : m_Size(size)
    , m_Values(static_cast<std::size_t>(size[0] * size[1] * size[2]), 0)
  {}
  unsigned char &
  At(const Triple & i)
  {
    return m_Values[static_cast<std::size_t>((i[2] * m_Size[1] + i[1]) * m_Size[0] + i[0])];
  }
  const std::vector<unsigned char> &
  GetValues() const
  {
    return m_Values;
  }

private:
  Triple                     m_Size;
  std::vector<unsigned char> m_Values;
};

/** Squared distances along a line from those across it: lower envelope of parabolas (Felzenszwalb and Huttenlocher
 * 2012). */
void
SweepLine(double * values, std::ptrdiff_t count, std::ptrdiff_t step, double spacing, std::vector<double> & scratch)
{
  std::vector<std::ptrdiff_t> sites;
  std::vector<double>         from;
  scratch.resize(static_cast<std::size_t>(count));
  const auto value = [&](std::ptrdiff_t i) { return values[i * step]; };
  for (std::ptrdiff_t q = 0; q < count; ++q)
  {
    scratch[static_cast<std::size_t>(q)] = value(q);
    if (!std::isfinite(value(q)))
    {
      continue;
    }
    const double at = spacing * static_cast<double>(q);
    double       meet = -std::numeric_limits<double>::infinity();
    while (!sites.empty())
    {
      const double other = spacing * static_cast<double>(sites.back());
      meet = ((value(q) + at * at) - (value(sites.back()) + other * other)) / (2.0 * (at - other));
      if (meet > from.back())
      {
        break;
      }
      sites.pop_back();
      from.pop_back();
      meet = -std::numeric_limits<double>::infinity();
    }
    sites.push_back(q);
    from.push_back(meet);
  }
  if (sites.empty())
  {
    return;
  }
  std::size_t k = 0;
  for (std::ptrdiff_t q = 0; q < count; ++q)
  {
    const double at = spacing * static_cast<double>(q);
    while (k + 1 < sites.size() && from[k + 1] < at)
    {
      ++k;
    }
    const double apart = at - spacing * static_cast<double>(sites[k]);
    values[q * step] = apart * apart + scratch[static_cast<std::size_t>(sites[k])];
  }
}

/** Distance in mm of every voxel of a box to the nearest that is not 0. */
std::vector<double>
DistanceTo(const Block & surface, const Triple & size, const MaskType::SpacingType & spacing)
{
  std::vector<double> distance(surface.GetValues().size());
  std::transform(surface.GetValues().begin(), surface.GetValues().end(), distance.begin(), [](unsigned char v) {
    return v ? 0.0 : std::numeric_limits<double>::infinity();
  });
  const Triple        steps{ { 1, size[0], size[0] * size[1] } };
  std::vector<double> scratch;
  for (unsigned int axis = 0; axis < 3; ++axis)
  {
    const unsigned int a = (axis + 1) % 3;
    const unsigned int b = (axis + 2) % 3;
    for (std::ptrdiff_t i = 0; i < size[a]; ++i)
    {
      for (std::ptrdiff_t j = 0; j < size[b]; ++j)
      {
        SweepLine(distance.data() + i * steps[a] + j * steps[b], size[axis], steps[axis], spacing[axis], scratch);
      }
    }
  }
  for (double & value : distance)
  {
    value = std::sqrt(value);
  }
  return distance;
}

double
Percentile95(const Block & from, const std::vector<double> & distance)
{
  std::vector<double> values;
  for (std::size_t i = 0; i < distance.size(); ++i)
  {
    if (from.GetValues()[i])
    {
      values.push_back(distance[i]);
    }
  }
  return QuantileOf(std::move(values), 0.95);
}
} // namespace

MaskComparison
CompareMasks(const MaskType * predicted, const MaskType * truth, double tolerance)
{
  RefuseOtherGrid(predicted, truth, tolerance);
  const auto size = truth->GetLargestPossibleRegion().GetSize();
  Triple     whole;
  Triple     low;
  Triple     high;
  for (unsigned int a = 0; a < 3; ++a)
  {
    whole[a] = static_cast<std::ptrdiff_t>(size[a]);
    low[a] = whole[a];
    high[a] = -1;
  }
  const std::array<const unsigned char *, 2> buffers{ { predicted->GetBufferPointer(), truth->GetBufferPointer() } };
  std::array<std::size_t, 2>                 counts{ { 0, 0 } };
  std::size_t                                common = 0;
  std::size_t                                at = 0;
  Triple                                     i;
  for (i[2] = 0; i[2] < whole[2]; ++i[2])
  {
    for (i[1] = 0; i[1] < whole[1]; ++i[1])
    {
      for (i[0] = 0; i[0] < whole[0]; ++i[0], ++at)
      {
        const bool a = buffers[0][at] != 0;
        const bool b = buffers[1][at] != 0;
        if (a || b)
        {
          counts[0] += a;
          counts[1] += b;
          common += a && b;
          for (unsigned int d = 0; d < 3; ++d)
          {
            low[d] = std::min(low[d], i[d]);
            high[d] = std::max(high[d], i[d]);
          }
        }
      }
    }
  }
  const auto   spacing = truth->GetSpacing();
  const double voxel = spacing[0] * spacing[1] * spacing[2] / 1000.0;

  MaskComparison comparison;
  comparison.PredictedVolume = voxel * static_cast<double>(counts[0]);
  comparison.TrueVolume = voxel * static_cast<double>(counts[1]);
  if (counts[0] == 0 && counts[1] == 0)
  {
    comparison.DiceUndefined = comparison.Hausdorff95Undefined = "both masks are empty";
    return comparison;
  }
  comparison.Dice = 2.0 * static_cast<double>(common) / static_cast<double>(counts[0] + counts[1]);
  if (counts[0] == 0 || counts[1] == 0)
  {
    comparison.Hausdorff95Undefined = counts[0] == 0 ? "the predicted mask is empty" : "the true mask is empty";
    return comparison;
  }

  Triple box;
  for (unsigned int a = 0; a < 3; ++a)
  {
    box[a] = high[a] - low[a] + 1;
  }
  std::array<Block, 2> surfaces{ { Block(box), Block(box) } };
  const Triple         steps{ { 1, whole[0], whole[0] * whole[1] } };
  for (unsigned int m = 0; m < 2; ++m)
  {
    for (i[2] = low[2]; i[2] <= high[2]; ++i[2])
    {
      for (i[1] = low[1]; i[1] <= high[1]; ++i[1])
      {
        for (i[0] = low[0]; i[0] <= high[0]; ++i[0])
        {
          const unsigned char * const centre = buffers[m] + i[0] + i[1] * steps[1] + i[2] * steps[2];
          bool                        border = false;
          for (unsigned int a = 0; *centre && a < 3; ++a)
          {
            border = border || i[a] == 0 || i[a] + 1 == whole[a] || !centre[-steps[a]] || !centre[steps[a]];
          }
          surfaces[m].At({ { i[0] - low[0], i[1] - low[1], i[2] - low[2] } }) = border ? 1 : 0;
        }
      }
    }
  }
  comparison.Hausdorff95 = std::max(Percentile95(surfaces[0], DistanceTo(surfaces[1], box, spacing)),
                                    Percentile95(surfaces[1], DistanceTo(surfaces[0], box, spacing)));
  return comparison;
}
} // namespace glioma
