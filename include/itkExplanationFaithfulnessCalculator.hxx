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
#ifndef itkExplanationFaithfulnessCalculator_hxx
#define itkExplanationFaithfulnessCalculator_hxx

#include "itkCalibratedProbabilities.h"
#include "itkImageRegionConstIteratorWithIndex.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>

namespace itk
{
template <typename TMapImage>
std::vector<double>
ExplanationFaithfulnessCalculator<TMapImage>::EnergyOfBlocks(std::vector<std::uint32_t> & blockOfVoxel) const
{
  const auto                 region = m_RegionImage->GetLargestPossibleRegion();
  const auto                 components = static_cast<std::size_t>(m_MapImage->GetNumberOfComponentsPerPixel());
  std::array<std::size_t, 3> blocks;
  for (unsigned int axis = 0; axis < 3; ++axis)
  {
    blocks[axis] = (region.GetSize(axis) + m_BlockSize - 1) / m_BlockSize;
  }
  std::vector<double> sums(blocks[0] * blocks[1] * blocks[2], 0.0);
  std::vector<double> voxels(sums.size(), 0.0);
  std::vector<double> reached(sums.size(), 0.0);
  blockOfVoxel.clear();
  for (ImageRegionConstIteratorWithIndex<RegionImageType> it(m_RegionImage, region); !it.IsAtEnd(); ++it)
  {
    const auto                 index = it.GetIndex();
    std::array<std::size_t, 3> at;
    for (unsigned int axis = 0; axis < 3; ++axis)
    {
      at[axis] = static_cast<std::size_t>(index[axis] - region.GetIndex(axis)) / m_BlockSize;
    }
    const std::size_t block = (at[2] * blocks[1] + at[1]) * blocks[0] + at[0];
    blockOfVoxel.push_back(static_cast<std::uint32_t>(block));
    voxels[block] += 1.0;

    typename RegionImageType::PointType point;
    typename MapImageType::IndexType    place;
    m_RegionImage->TransformIndexToPhysicalPoint(index, point);
    if (!m_MapImage->TransformPhysicalPointToIndex(point, place))
    {
      continue;
    }
    const auto * value = m_MapImage->GetBufferPointer() + m_MapImage->ComputeOffset(place) * components;
    reached[block] += 1.0;
    for (std::size_t c = 0; c < components; ++c)
    {
      sums[block] += std::abs(static_cast<double>(value[c]));
    }
  }
  for (std::size_t block = 0; block < sums.size(); ++block)
  {
    sums[block] = reached[block] > 0.0 ? sums[block] / reached[block] : -1.0;
  }
  return sums;
}

template <typename TMapImage>
void
ExplanationFaithfulnessCalculator<TMapImage>::Follow(const std::vector<std::uint32_t> & rankOfVoxel,
                                                     std::size_t                        ranks,
                                                     bool                               deletes,
                                                     ArrayType &                        curve) const
{
  const auto         components = static_cast<std::size_t>(m_RegionImage->GetNumberOfComponentsPerPixel());
  const float *      whole = m_RegionImage->GetBufferPointer();
  std::vector<float> changed(rankOfVoxel.size() * components);
  TorchVolumeView    view;
  view.Buffer = changed.data();
  view.Components = static_cast<unsigned int>(components);
  view.RegionSize = m_RegionImage->GetLargestPossibleRegion().GetSize();

  curve.SetSize(m_NumberOfSteps + 1);
  for (unsigned int step = 0; step <= m_NumberOfSteps; ++step)
  {
    const auto first = static_cast<std::size_t>(std::lround(static_cast<double>(ranks) * step / m_NumberOfSteps));
    for (std::size_t voxel = 0; voxel < rankOfVoxel.size(); ++voxel)
    {
      const bool isTaken = rankOfVoxel[voxel] < first;
      for (std::size_t c = 0; c < components; ++c)
      {
        const float nothing = m_Baseline.Size() ? static_cast<float>(m_Baseline[static_cast<unsigned int>(c)]) : 0.0F;
        changed[voxel * components + c] = isTaken == deletes ? nothing : whole[voxel * components + c];
      }
    }
    const auto between = [this] { this->InvokeEvent(ProgressEvent()); };
    between();
    const std::vector<double> logits = m_Model->ComputeLogits(view, 0, between);
    curve[step] = CalibratedProbabilities(logits, m_Model->GetManifest().Temperature)
                    .at(static_cast<std::size_t>(m_ClassToExplain));
  }
}

template <typename TMapImage>
double
ExplanationFaithfulnessCalculator<TMapImage>::Area(const ArrayType & curve)
{
  double sum = 0.5 * (curve[0] + curve[curve.Size() - 1]);
  for (unsigned int i = 1; i + 1 < curve.Size(); ++i)
  {
    sum += curve[i];
  }
  return sum / static_cast<double>(curve.Size() - 1);
}

template <typename TMapImage>
void
ExplanationFaithfulnessCalculator<TMapImage>::Compute()
{
  if (!m_Model || !m_Model->IsLoaded() || !m_RegionImage || !m_MapImage)
  {
    itkExceptionMacro("A loaded model, the region and a map are needed; "
                      << (!m_Model || !m_Model->IsLoaded() ? "the model"
                          : !m_RegionImage                 ? "the region"
                                                           : "the map")
                      << " is missing");
  }
  const std::array<const ImageBase<3> *, 2> images{ { m_RegionImage.GetPointer(), m_MapImage.GetPointer() } };
  for (const ImageBase<3> * const image : images)
  {
    if (image->GetBufferedRegion() != image->GetLargestPossibleRegion())
    {
      itkExceptionMacro("The " << (image == images[0] ? "region" : "map") << " holds "
                               << image->GetBufferedRegion().GetSize() << " of its "
                               << image->GetLargestPossibleRegion().GetSize()
                               << " voxels: update what makes it, as a whole, before Compute()");
    }
  }
  const unsigned int components = m_RegionImage->GetNumberOfComponentsPerPixel();
  if (m_Baseline.Size() != 0 && m_Baseline.Size() != components)
  {
    itkExceptionMacro("Baseline has " << m_Baseline.Size() << " components, the region has " << components);
  }
  if (m_ClassToExplain >= m_Model->GetManifest().ClassNames.size())
  {
    itkExceptionMacro("ClassToExplain is " << m_ClassToExplain << "; the model has "
                                           << m_Model->GetManifest().ClassNames.size() << " classes, counted from 0");
  }
  if (m_NumberOfSteps == 0 || m_BlockSize == 0)
  {
    itkExceptionMacro("NumberOfSteps is " << m_NumberOfSteps << " and BlockSize " << m_BlockSize
                                          << "; both must be 1 or more");
  }
  std::vector<std::uint32_t> blockOfVoxel;
  const std::vector<double>  energy = this->EnergyOfBlocks(blockOfVoxel);
  std::vector<std::size_t>   order(energy.size());
  const auto                 follow = [&](ArrayType & deletion, ArrayType & insertion) {
    std::vector<std::uint32_t> rankOfBlock(order.size());
    for (std::size_t rank = 0; rank < order.size(); ++rank)
    {
      rankOfBlock[order[rank]] = static_cast<std::uint32_t>(rank);
    }
    std::vector<std::uint32_t> rankOfVoxel(blockOfVoxel.size());
    std::transform(
      blockOfVoxel.begin(), blockOfVoxel.end(), rankOfVoxel.begin(), [&](std::uint32_t b) { return rankOfBlock[b]; });
    this->Follow(rankOfVoxel, order.size(), true, deletion);
    this->Follow(rankOfVoxel, order.size(), false, insertion);
  };
  std::iota(order.begin(), order.end(), std::size_t{ 0 });
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return energy[a] > energy[b]; });
  follow(m_DeletionCurve, m_InsertionCurve);
  m_DeletionArea = Area(m_DeletionCurve);
  m_InsertionArea = Area(m_InsertionCurve);

  m_ChanceDeletionArea = m_ChanceInsertionArea =
    m_NumberOfChanceOrders == 0 ? std::numeric_limits<double>::quiet_NaN() : 0.0;
  std::uint64_t state = m_Seed; // SplitMix64: the same order everywhere
  const auto    draw = [&state] {
    std::uint64_t z = state += 0x9E3779B97F4A7C15ULL;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31);
  };
  for (unsigned int repeat = 0; repeat < m_NumberOfChanceOrders; ++repeat)
  {
    std::iota(order.begin(), order.end(), std::size_t{ 0 });
    for (std::size_t i = order.size(); i > 1; --i)
    {
      std::swap(order[i - 1], order[static_cast<std::size_t>(draw() % i)]);
    }
    ArrayType deletion;
    ArrayType insertion;
    follow(deletion, insertion);
    m_ChanceDeletionArea += Area(deletion) / m_NumberOfChanceOrders;
    m_ChanceInsertionArea += Area(insertion) / m_NumberOfChanceOrders;
  }
}

template <typename TMapImage>
void
ExplanationFaithfulnessCalculator<TMapImage>::PrintSelf(std::ostream & os, Indent indent) const
{
  Superclass::PrintSelf(os, indent);
  itkPrintSelfObjectMacro(Model);
  itkPrintSelfObjectMacro(RegionImage);
  itkPrintSelfObjectMacro(MapImage);
  os << indent << "ClassToExplain: " << m_ClassToExplain << std::endl;
  os << indent << "Baseline: " << m_Baseline << std::endl;
  os << indent << "BlockSize: " << m_BlockSize << std::endl;
  os << indent << "NumberOfSteps: " << m_NumberOfSteps << std::endl;
  os << indent << "NumberOfChanceOrders: " << m_NumberOfChanceOrders << std::endl;
  os << indent << "Seed: " << m_Seed << std::endl;
  os << indent << "DeletionCurve: " << m_DeletionCurve << std::endl;
  os << indent << "InsertionCurve: " << m_InsertionCurve << std::endl;
  os << indent << "DeletionArea: " << m_DeletionArea << ", by chance " << m_ChanceDeletionArea << std::endl;
  os << indent << "InsertionArea: " << m_InsertionArea << ", by chance " << m_ChanceInsertionArea << std::endl;
}
} // namespace itk

#endif // itkExplanationFaithfulnessCalculator_hxx
