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
#include "NetworkFreeBaselines.h"

#include "CaseReader.h"
#include "GradeStatistics.h"
#include "GridComparison.h"
#include "MaskComparison.h"

#include "itkConnectedComponentImageFilter.h"
#include "itkRelabelComponentImageFilter.h"

#include <array>
#include <cmath>
#include <stdexcept>
#include <vector>

namespace glioma
{
namespace
{
/** Median, and 1.4826 times the median absolute deviation, of a sequence inside the brain. */
std::array<double, 2>
RobustScale(const SequenceImageType * image, const std::vector<bool> & brain)
{
  std::vector<double> values;
  for (std::size_t i = 0; i < brain.size(); ++i)
  {
    if (brain[i])
    {
      values.push_back(image->GetBufferPointer()[i]);
    }
  }
  const double median = QuantileOf(values, 0.5);
  for (double & value : values)
  {
    value = std::abs(value - median);
  }
  return { { median, 1.4826 * QuantileOf(values, 0.5) + 1e-6 } };
}

std::array<double, 2>
MeanAndDeviation(const SequenceImageType * image, const std::vector<bool> & brain)
{
  double sum = 0.0;
  double squares = 0.0;
  double count = 0.0;
  for (std::size_t i = 0; i < brain.size(); ++i)
  {
    if (brain[i])
    {
      const double value = image->GetBufferPointer()[i];
      sum += value;
      squares += value * value;
      ++count;
    }
  }
  const double mean = sum / count;
  return { { mean, std::sqrt(std::max(squares / count - mean * mean, 1e-12)) } };
}
} // namespace

NetworkFreeBaselines
FindNetworkFreeBaselines(const itk::CohortCase & cohortCase, const std::string & predicted)
{
  std::array<SequenceImageType::Pointer, 4> sequences;
  constexpr auto &                          roles = itk::CohortCase::SequenceNames;
  for (unsigned int i = 0; i < 4; ++i)
  {
    sequences[i] = ReadStripped(cohortCase.Sequences[i], roles[i], cohortCase.BrainMask);
    // The cohort's check reads the headers of files alone: folders of DICOM pass it.
    if (!IsOnGridOf(sequences[i], sequences[0], gridTolerance))
    {
      throw std::runtime_error(
        "case " + cohortCase.Name + ": its sequences lie on different grids (T1: " + DescribeGrid(sequences[0]) + "; " +
        roles[i] + ": " + DescribeGrid(sequences[i]) +
        "), which the rules without a network cannot compare; bring them onto one grid first, or "
        "leave --baselines out");
    }
  }
  const std::size_t voxels = sequences[0]->GetBufferedRegion().GetNumberOfPixels();
  std::vector<bool> brain(voxels);
  for (std::size_t i = 0; i < voxels; ++i)
  {
    for (const auto & sequence : sequences)
    {
      brain[i] = brain[i] || sequence->GetBufferPointer()[i] != 0.0F;
    }
  }
  NetworkFreeBaselines baselines;
  if (!cohortCase.Tumour.empty())
  {
    const auto bright = MaskImageType::New();
    bright->CopyInformation(sequences[0]);
    bright->SetRegions(sequences[0]->GetBufferedRegion());
    bright->Allocate(true);
    const auto t2 = RobustScale(sequences[2], brain);
    const auto flair = RobustScale(sequences[3], brain);
    for (std::size_t i = 0; i < voxels; ++i)
    {
      bright->GetBufferPointer()[i] = brain[i] && sequences[2]->GetBufferPointer()[i] > t2[0] + 1.5 * t2[1] &&
                                          sequences[3]->GetBufferPointer()[i] > flair[0] + 1.5 * flair[1]
                                        ? 1
                                        : 0;
    }
    using LabelImage = itk::Image<unsigned int, 3>;
    const auto components = itk::ConnectedComponentImageFilter<MaskImageType, LabelImage>::New();
    components->SetInput(bright);
    components->FullyConnectedOn();
    const auto ordered = itk::RelabelComponentImageFilter<LabelImage, LabelImage>::New();
    ordered->SetInput(components->GetOutput());
    ordered->Update();
    for (std::size_t i = 0; i < voxels; ++i)
    {
      bright->GetBufferPointer()[i] = ordered->GetOutput()->GetBufferPointer()[i] == 1 ? 1 : 0;
    }
    baselines.ThresholdDice = CompareMasks(bright, ReadMask(cohortCase.Tumour, "seg")).Dice;
  }
  if (predicted.empty())
  {
    baselines.EnhancingShareUndefined = "there is no tumour image beside result.json";
  }
  else
  {
    const auto mask = ReadMask(predicted, "the predicted tumour");
    if (!IsOnGridOf(mask, sequences[0], gridTolerance))
    {
      throw std::runtime_error("case " + cohortCase.Name + ": " + predicted + " (" + DescribeGrid(mask) +
                               ") is not on the grid of its sequences (" + DescribeGrid(sequences[0]) +
                               "); grade the case without --register, or leave --baselines out");
    }
    const auto  t1 = MeanAndDeviation(sequences[0], brain);
    const auto  t1c = MeanAndDeviation(sequences[1], brain);
    std::size_t inside = 0;
    std::size_t enhancing = 0;
    for (std::size_t i = 0; i < voxels; ++i)
    {
      if (mask->GetBufferPointer()[i])
      {
        ++inside;
        enhancing += (sequences[1]->GetBufferPointer()[i] - t1c[0]) / t1c[1] -
                       (sequences[0]->GetBufferPointer()[i] - t1[0]) / t1[1] >
                     1.0;
      }
    }
    if (inside == 0)
    {
      baselines.EnhancingShareUndefined = "the predicted mask is empty";
    }
    else
    {
      baselines.EnhancingShare = static_cast<double>(enhancing) / static_cast<double>(inside);
    }
  }
  return baselines;
}
} // namespace glioma
