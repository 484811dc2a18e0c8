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
#include "HealthyHalf.h"

#include "itkBinaryBallStructuringElement.h"
#include "itkBinaryDilateImageFilter.h"
#include "itkCastImageFilter.h"
#include "itkSmoothingRecursiveGaussianImageFilter.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <vector>

namespace glioma
{
namespace
{
constexpr double reach = 4.0;    // mm around the tumour
constexpr double softness = 1.5; // mm, of the blend
constexpr double largestFilledShare = 0.3;

using Index = std::array<itk::IndexValueType, 3>;

/** A mirror in index space: along Axis, index i of a row becomes round(Sum + Slope . others) - i. */
struct Mirror
{
  unsigned int          Axis{ 0 };
  double                Sum{ 0.0 };
  std::array<double, 3> Slope{ { 0.0, 0.0, 0.0 } };
  std::array<double, 3> Middle{ { 0.0, 0.0, 0.0 } };

  Index
  Of(Index at) const
  {
    double sum = Sum;
    for (unsigned int a = 0; a < 3; ++a)
    {
      sum += Slope[a] * (static_cast<double>(at[a]) - Middle[a]);
    }
    at[Axis] = static_cast<itk::IndexValueType>(std::lround(sum)) - at[Axis];
    return at;
  }
};

/** The grid, and what is brain and what tumour on it. */
struct Head
{
  Index                     Size;
  std::vector<bool>         Brain;
  std::vector<bool>         Near; // the tumour, or close to it
  const SequenceImageType * First{ nullptr };

  bool
  Holds(const Index & at) const
  {
    return at[0] >= 0 && at[1] >= 0 && at[2] >= 0 && at[0] < Size[0] && at[1] < Size[1] && at[2] < Size[2];
  }
  std::size_t
  Offset(const Index & at) const
  {
    return static_cast<std::size_t>((at[2] * Size[1] + at[1]) * Size[0] + at[0]);
  }
};

/** Correlation of the first sequence with its mirror image, where both are brain and neither is tumour. */
double
Likeness(const Head & head, const Mirror & mirror)
{
  constexpr itk::IndexValueType stride = 3;
  const float * const           values = head.First->GetBufferPointer();
  double                        n = 0.0;
  double                        x = 0.0;
  double                        y = 0.0;
  double                        xx = 0.0;
  double                        yy = 0.0;
  double                        xy = 0.0;
  double                        brain = 0.0;
  for (Index at{ { 0, 0, 0 } }; at[2] < head.Size[2]; at[2] += stride)
  {
    for (at[1] = 0; at[1] < head.Size[1]; at[1] += stride)
    {
      for (at[0] = 0; at[0] < head.Size[0]; at[0] += stride)
      {
        const std::size_t here = head.Offset(at);
        if (!head.Brain[here] || head.Near[here])
        {
          continue;
        }
        brain += 1.0;
        const Index other = mirror.Of(at);
        if (!head.Holds(other))
        {
          continue;
        }
        const std::size_t there = head.Offset(other);
        if (head.Brain[there] && !head.Near[there])
        {
          n += 1.0;
          x += values[here];
          y += values[there];
          xx += static_cast<double>(values[here]) * values[here];
          yy += static_cast<double>(values[there]) * values[there];
          xy += static_cast<double>(values[here]) * values[there];
        }
      }
    }
  }
  const double variance = (xx - x * x / n) * (yy - y * y / n);
  // A mirror that takes the brain off itself is none.
  return n > 0.0 && variance > 0.0 ? (xy - x * y / n) / std::sqrt(variance) * (n / brain) : -1.0;
}

Mirror
FindMirror(const Head & head)
{
  Mirror     mirror;
  const auto direction = head.First->GetDirection();
  for (unsigned int a = 1; a < 3; ++a)
  {
    mirror.Axis = std::abs(direction[0][a]) > std::abs(direction[0][mirror.Axis]) ? a : mirror.Axis;
  }
  double count = 0.0;
  for (Index at{ { 0, 0, 0 } }; at[2] < head.Size[2]; ++at[2])
  {
    for (at[1] = 0; at[1] < head.Size[1]; ++at[1])
    {
      for (at[0] = 0; at[0] < head.Size[0]; ++at[0])
      {
        if (head.Brain[head.Offset(at)])
        {
          ++count;
          for (unsigned int a = 0; a < 3; ++a)
          {
            mirror.Middle[a] += static_cast<double>(at[a]);
          }
        }
      }
    }
  }
  for (double & each : mirror.Middle)
  {
    each /= std::max(count, 1.0);
  }
  mirror.Sum = 2.0 * mirror.Middle[mirror.Axis];
  const double voxel = head.First->GetSpacing()[mirror.Axis];
  double       best = Likeness(head, mirror);
  // Moved by up to 10 mm, then turned by up to 6 degrees about each other axis, twice, each time more finely.
  double width = 20.0 / voxel;
  double tilt = 0.2;
  for (unsigned int round = 0; round < 2; ++round)
  {
    const auto search = [&](double & value, double range) {
      const double middle = value;
      double       chosen = value;
      for (int step = -10; step <= 10; ++step)
      {
        value = middle + range * step / 10.0;
        const double likeness = Likeness(head, mirror);
        if (likeness > best)
        {
          best = likeness;
          chosen = value;
        }
      }
      value = chosen;
    };
    search(mirror.Sum, width);
    for (unsigned int a = 0; a < 3; ++a)
    {
      if (a != mirror.Axis)
      {
        search(mirror.Slope[a], tilt * head.First->GetSpacing()[a] / voxel);
      }
    }
    width /= 5.0;
    tilt /= 5.0;
  }
  return mirror;
}
} // namespace

HealthyHalf
ReplaceTumour(const std::array<SequenceImageType::Pointer, 4> & sequences, const MaskImageType * tumour)
{
  HealthyHalf       result;
  const auto        region = sequences[0]->GetBufferedRegion();
  const std::size_t voxels = region.GetNumberOfPixels();
  for (const auto & sequence : sequences)
  {
    if (sequence->GetBufferedRegion().GetSize() != tumour->GetBufferedRegion().GetSize())
    {
      itkGenericExceptionMacro("The tumour mask has "
                               << tumour->GetBufferedRegion().GetSize() << " voxels, a sequence has "
                               << sequence->GetBufferedRegion().GetSize() << ": the control wants them on one grid");
    }
  }

  using BallType = itk::BinaryBallStructuringElement<unsigned char, 3>;
  BallType           ball;
  BallType::SizeType radius;
  for (unsigned int a = 0; a < 3; ++a)
  {
    radius[a] = static_cast<itk::SizeValueType>(std::max(1.0, std::round(reach / sequences[0]->GetSpacing()[a])));
  }
  ball.SetRadius(radius);
  ball.CreateStructuringElement();
  const auto dilate = itk::BinaryDilateImageFilter<MaskImageType, MaskImageType, BallType>::New();
  dilate->SetInput(tumour);
  dilate->SetKernel(ball);
  dilate->SetDilateValue(1);
  const auto cast = itk::CastImageFilter<MaskImageType, SequenceImageType>::New();
  cast->SetInput(dilate->GetOutput());
  const auto smooth = itk::SmoothingRecursiveGaussianImageFilter<SequenceImageType, SequenceImageType>::New();
  smooth->SetInput(cast->GetOutput());
  smooth->SetSigma(softness);
  smooth->Update();

  Head head;
  for (unsigned int a = 0; a < 3; ++a)
  {
    head.Size[a] = static_cast<itk::IndexValueType>(region.GetSize(a));
  }
  head.First = sequences[0];
  head.Brain.resize(voxels);
  head.Near.resize(voxels);
  const unsigned char * const near = dilate->GetOutput()->GetBufferPointer();
  const unsigned char * const inside = tumour->GetBufferPointer();
  for (std::size_t i = 0; i < voxels; ++i)
  {
    head.Near[i] = near[i] != 0;
    head.Brain[i] = std::any_of(
      sequences.begin(), sequences.end(), [i](const auto & image) { return image->GetBufferPointer()[i] != 0.0F; });
  }
  const Mirror mirror = FindMirror(head);

  std::array<double, 4> mean{ { 0.0, 0.0, 0.0, 0.0 } };
  double                healthy = 0.0;
  for (std::size_t i = 0; i < voxels; ++i)
  {
    if (head.Brain[i] && !head.Near[i])
    {
      ++healthy;
      for (unsigned int c = 0; c < 4; ++c)
      {
        mean[c] += sequences[c]->GetBufferPointer()[i];
      }
    }
  }
  for (unsigned int c = 0; c < 4; ++c)
  {
    mean[c] /= std::max(healthy, 1.0);
    result.Sequences[c] = SequenceImageType::New();
    result.Sequences[c]->CopyInformation(sequences[c]);
    result.Sequences[c]->SetRegions(region);
    result.Sequences[c]->Allocate();
    std::copy_n(sequences[c]->GetBufferPointer(), voxels, result.Sequences[c]->GetBufferPointer());
  }

  const float * const share = smooth->GetOutput()->GetBufferPointer();
  double              all = 0.0;
  double              filled = 0.0;
  for (Index at{ { 0, 0, 0 } }; at[2] < head.Size[2]; ++at[2])
  {
    for (at[1] = 0; at[1] < head.Size[1]; ++at[1])
    {
      for (at[0] = 0; at[0] < head.Size[0]; ++at[0])
      {
        const std::size_t here = head.Offset(at);
        if (!head.Brain[here] || share[here] < 1e-3F)
        {
          continue;
        }
        const Index other = mirror.Of(at);
        const bool  found = head.Holds(other) && head.Brain[head.Offset(other)] && !head.Near[head.Offset(other)];
        if (inside[here] != 0)
        {
          ++all;
          filled += found ? 0.0 : 1.0;
        }
        const float weight = std::min(1.0F, share[here]);
        for (unsigned int c = 0; c < 4; ++c)
        {
          const auto tissue =
            found ? sequences[c]->GetBufferPointer()[head.Offset(other)] : static_cast<float>(mean[c]);
          float & value = result.Sequences[c]->GetBufferPointer()[here];
          value += weight * (tissue - value);
        }
      }
    }
  }
  if (all == 0.0)
  {
    result.Undefined = "no tumour was found";
    return result;
  }
  result.FilledShare = filled / all;
  if (result.FilledShare > largestFilledShare)
  {
    char text[128];
    std::snprintf(
      text, sizeof(text), "for %.0f %% of the tumour the other half has no healthy tissue", 100.0 * result.FilledShare);
    result.Undefined = text;
  }
  return result;
}
} // namespace glioma
