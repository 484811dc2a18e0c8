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
#ifndef itkExplanationQualityFilter_hxx
#define itkExplanationQualityFilter_hxx

#include "itkGridDifference.h"
#include "itkImageRegionConstIterator.h"
#include "itkImageRegionConstIteratorWithIndex.h"
#include "itkImageRegionIterator.h"
#include "itkNumericTraits.h"
#include "itkProgressTransformer.h"
#include "itkSignedMaurerDistanceMapImageFilter.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>
#include <string>

namespace itk
{
template <typename TMapImage, typename TMaskImage>
ExplanationQualityFilter<TMapImage, TMaskImage>::ExplanationQualityFilter()
{
  this->AddRequiredInputName("TumourMask");
  for (const char * name : { "TotalEnergy",
                             "TumourShare",
                             "TumourChance",
                             "TumourRatio",
                             "TumourCoverage",
                             "PeakInTumour",
                             "TumourRankAccuracy",
                             "BorderShare",
                             "BorderChance",
                             "BorderRatio",
                             "OutsideShare",
                             "Gini",
                             "SequenceShares",
                             "SequenceTumourShares",
                             "SequenceTumourRatios",
                             "SequencePeaksInTumour",
                             "SequenceTumourRankAccuracies",
                             "SequenceBorderShares",
                             "SequenceBorderRatios",
                             "SequenceOutsideShares",
                             "SequenceGinis",
                             "Labels",
                             "LabelShares",
                             "LabelChances",
                             "LabelRatios",
                             "Flags" })
  {
    this->ProcessObject::SetOutput(name, Self::MakeOutput(DataObject::DataObjectIdentifierType(name)));
  }
}

template <typename TMapImage, typename TMaskImage>
DataObject::Pointer
ExplanationQualityFilter<TMapImage, TMaskImage>::MakeOutput(const DataObject::DataObjectIdentifierType & name)
{
  const auto starts = [&name](const char * with) { return name.rfind(with, 0) == 0; };
  if (name == "Flags")
  {
    const auto decorator = SimpleDataObjectDecorator<unsigned long>::New();
    decorator->Set(0);
    return decorator.GetPointer();
  }
  if (starts("Sequence") || starts("Label"))
  {
    const auto decorator = SimpleDataObjectDecorator<ArrayType>::New();
    decorator->Set(ArrayType());
    return decorator.GetPointer();
  }
  if (name == "TotalEnergy" || name == "OutsideShare" || name == "Gini" || starts("Tumour") || starts("Peak") ||
      starts("Border"))
  {
    const auto decorator = SimpleDataObjectDecorator<double>::New();
    decorator->Set(0.0);
    return decorator.GetPointer();
  }
  return Superclass::MakeOutput(name);
}

template <typename TMapImage, typename TMaskImage>
void
ExplanationQualityFilter<TMapImage, TMaskImage>::VerifyPreconditions() const
{
  Superclass::VerifyPreconditions();
  if (!(m_BorderWidth > 0.0) || !std::isfinite(m_BorderWidth))
  {
    itkExceptionMacro("BorderWidth is " << m_BorderWidth
                                        << " mm; it must be above 0 (MeasureBorder off leaves the border out)");
  }
}

template <typename TMapImage, typename TMaskImage>
bool
ExplanationQualityFilter<TMapImage, TMaskImage>::IsOnGridOfMap(const ImageBase<3> * image) const
{
  return GridDifference<3>(this->GetInput(), image)
    .IsWithin(this->GetCoordinateTolerance(), this->GetDirectionTolerance());
}

template <typename TMapImage, typename TMaskImage>
void
ExplanationQualityFilter<TMapImage, TMaskImage>::VerifyInputInformation() const
{
  if (const auto * support = this->GetSupport())
  {
    const std::string what = GridDifference<3>(this->GetInput(), support)
                               .Describe(this->GetCoordinateTolerance(), this->GetDirectionTolerance());
    if (!what.empty())
    {
      itkExceptionMacro("The grids of the map and its support differ in "
                        << what << ": a support lies on its map's grid, give it there");
    }
  }
}

template <typename TMapImage, typename TMaskImage>
void
ExplanationQualityFilter<TMapImage, TMaskImage>::UpdateOutputData(DataObject * output)
{
  try
  {
    Superclass::UpdateOutputData(output);
  }
  catch (...)
  {
    // What is thrown before the first piece or after the last would leave a sink that never runs again.
    this->ResetPipeline();
    throw;
  }
}

template <typename TMapImage, typename TMaskImage>
unsigned int
ExplanationQualityFilter<TMapImage, TMaskImage>::GetNumberOfInputRequestedRegions()
{
  // Slices are never divided.
  return this->GetInput()->GetLargestPossibleRegion().GetSize(2) == 1 ? 1
                                                                      : Superclass::GetNumberOfInputRequestedRegions();
}

template <typename TMapImage, typename TMaskImage>
void
ExplanationQualityFilter<TMapImage, TMaskImage>::GenerateNthInputRequestedRegion(
  unsigned int inputRequestedRegionNumber)
{
  Superclass::GenerateNthInputRequestedRegion(inputRequestedRegionNumber);
  for (const char * name : { "TumourMask", "BrainMask", "BorderMask", "RegionLabels" })
  {
    if (auto * mask = this->ProcessObject::GetInput(name))
    {
      mask->SetRequestedRegionToLargestPossibleRegion();
    }
  }
}

template <typename TMapImage, typename TMaskImage>
auto
ExplanationQualityFilter<TMapImage, TMaskImage>::MakeSampler(const MaskImageType * mask) const -> Sampler
{
  Sampler sampler;
  sampler.Mask = mask;
  for (auto & row : sampler.Matrix)
  {
    row = { { 0.0, 0.0, 0.0 } };
  }
  sampler.Translation = { { 0.0, 0.0, 0.0 } };
  if (mask == nullptr)
  {
    return sampler;
  }
  const bool   isSame = this->IsOnGridOfMap(mask);
  const auto * map = this->GetInput();
  for (unsigned int row = 0; row < 3; ++row)
  {
    sampler.Matrix[row][row] = isSame ? 1.0 : 0.0;
    for (unsigned int k = 0; k < 3 && !isSame; ++k)
    {
      const double inverse = mask->GetInverseDirection()[row][k] / mask->GetSpacing()[row];
      sampler.Translation[row] += inverse * (map->GetOrigin()[k] - mask->GetOrigin()[k]);
      for (unsigned int column = 0; column < 3; ++column)
      {
        sampler.Matrix[row][column] += inverse * map->GetDirection()[k][column] * map->GetSpacing()[column];
      }
    }
  }

  std::array<unsigned int, 3> rowOf{ { 3, 3, 3 } };
  for (unsigned int row = 0; row < 3; ++row)
  {
    for (unsigned int column = 0; column < 3; ++column)
    {
      if (sampler.Matrix[row][column] != 0.0)
      {
        if (rowOf[column] != 3 || std::count(rowOf.begin(), rowOf.end(), row) != 0)
        {
          return sampler; // the grids are turned
        }
        rowOf[column] = row;
      }
    }
  }
  if (std::count(rowOf.begin(), rowOf.end(), 3U) != 0)
  {
    return sampler;
  }
  const auto & region = mask->GetBufferedRegion();
  const auto & whole = map->GetLargestPossibleRegion();
  for (unsigned int axis = 0; axis < 3; ++axis)
  {
    const unsigned int row = rowOf[axis];
    for (SizeValueType n = 0; n < whole.GetSize(axis) * m_Points[axis]; ++n)
    {
      const double point = this->PointAlong(axis,
                                            whole.GetIndex(axis) + static_cast<IndexValueType>(n / m_Points[axis]),
                                            static_cast<unsigned int>(n % m_Points[axis]));
      const auto   index =
        static_cast<IndexValueType>(std::floor(sampler.Matrix[row][axis] * point + sampler.Translation[row] + 0.5));
      const IndexValueType from = index - region.GetIndex(row);
      sampler.Offsets[axis].push_back(
        from < 0 || from >= static_cast<IndexValueType>(region.GetSize(row)) ? -1 : from * mask->GetOffsetTable()[row]);
    }
  }
  return sampler;
}

template <typename TMapImage, typename TMaskImage>
double
ExplanationQualityFilter<TMapImage, TMaskImage>::PointAlong(unsigned int   axis,
                                                            IndexValueType index,
                                                            unsigned int   number) const
{
  return static_cast<double>(index) + (number + 0.5) / m_Points[axis] - 0.5;
}

template <typename TMapImage, typename TMaskImage>
OffsetValueType
ExplanationQualityFilter<TMapImage, TMaskImage>::Sampler::Find(const std::array<double, 3> & point) const
{
  const auto &                      region = Mask->GetBufferedRegion();
  typename MaskImageType::IndexType index;
  for (unsigned int row = 0; row < 3; ++row)
  {
    const double position =
      Matrix[row][0] * point[0] + Matrix[row][1] * point[1] + Matrix[row][2] * point[2] + Translation[row];
    index[row] = static_cast<IndexValueType>(std::floor(position + 0.5));
    const IndexValueType start = region.GetIndex(row);
    if (index[row] < start || index[row] >= start + static_cast<IndexValueType>(region.GetSize(row)))
    {
      return -1;
    }
  }
  return Mask->ComputeOffset(index);
}

template <typename TMapImage, typename TMaskImage>
typename TMaskImage::Pointer
ExplanationQualityFilter<TMapImage, TMaskImage>::MakeBorder(const MaskImageType * brain) const
{
  const auto region = brain->GetLargestPossibleRegion();
  const auto border = MaskImageType::New();
  border->CopyInformation(brain);
  border->SetRegions(region);
  border->Allocate();
  border->FillBuffer(NumericTraits<typename MaskImageType::PixelType>::ZeroValue());

  // The distances are needed in the brain's box alone.
  using DistanceImageType = Image<float, 3>;
  const auto    zero = NumericTraits<typename MaskImageType::PixelType>::ZeroValue();
  auto          lower = region.GetUpperIndex();
  auto          upper = region.GetIndex();
  SizeValueType inside = 0;
  for (ImageRegionConstIteratorWithIndex<MaskImageType> it(brain, region); !it.IsAtEnd(); ++it)
  {
    if (it.Get() != zero)
    {
      ++inside;
      for (unsigned int axis = 0; axis < 3; ++axis)
      {
        lower[axis] = std::min(lower[axis], it.GetIndex()[axis]);
        upper[axis] = std::max(upper[axis], it.GetIndex()[axis]);
      }
    }
  }
  if (inside == 0 || inside == region.GetNumberOfPixels())
  {
    return nullptr; // no border in sight
  }
  RegionType box;
  box.SetIndex(lower);
  box.SetUpperIndex(upper);
  box.PadByRadius(1);
  box.Crop(region);

  const auto part = SupportImageType::New();
  part->CopyInformation(brain);
  part->SetRegions(box);
  part->Allocate();
  ImageRegionConstIterator<MaskImageType> from(brain, box);
  for (ImageRegionIterator<SupportImageType> to(part, box); !to.IsAtEnd(); ++to, ++from)
  {
    to.Set(from.Get() != zero ? 1 : 0);
  }
  using DistanceType = SignedMaurerDistanceMapImageFilter<SupportImageType, DistanceImageType>;
  const auto distance = DistanceType::New();
  distance->SetInput(part);
  distance->SetUseImageSpacing(true);
  distance->SetSquaredDistance(false);
  distance->SetNumberOfWorkUnits(this->GetNumberOfWorkUnits());
  distance->Update();
  ImageRegionConstIterator<DistanceImageType> depth(distance->GetOutput(), box);
  ImageRegionConstIterator<SupportImageType>  isBrain(part, box);
  for (ImageRegionIterator<MaskImageType> to(border, box); !to.IsAtEnd(); ++to, ++depth, ++isBrain)
  {
    if (isBrain.Get() != 0 && std::abs(static_cast<double>(depth.Get())) < m_BorderWidth * (1.0 - 1e-6))
    {
      to.Set(NumericTraits<typename MaskImageType::PixelType>::OneValue());
    }
  }
  return border;
}

template <typename TMapImage, typename TMaskImage>
void
ExplanationQualityFilter<TMapImage, TMaskImage>::BeforeStreamedGenerateData()
{
  Superclass::BeforeStreamedGenerateData();
  m_Slices.assign(this->GetInput()->GetLargestPossibleRegion().GetSize(2), Slice());
  m_Points = { { 1, 1, 1 } };
  for (const char * name : { "TumourMask", "BrainMask", "BorderMask", "RegionLabels" })
  {
    auto * mask = dynamic_cast<MaskImageType *>(this->ProcessObject::GetInput(name));
    if (mask == nullptr)
    {
      continue;
    }
    mask->SetRequestedRegionToLargestPossibleRegion();
    mask->Update();
    if (!this->IsOnGridOfMap(mask))
    {
      const auto & spacing = mask->GetSpacing();
      const double finest = std::min(spacing[0], std::min(spacing[1], spacing[2]));
      for (unsigned int axis = 0; axis < 3; ++axis)
      {
        const double points = std::ceil(2.0 * this->GetInput()->GetSpacing()[axis] / finest - 1e-3);
        m_Points[axis] = std::max(m_Points[axis], static_cast<unsigned int>(std::min(32.0, std::max(2.0, points))));
      }
    }
  }
  m_Border = nullptr;
  if (m_MeasureBorder && this->GetBrainMask() != nullptr)
  {
    if (this->GetBorderMask() != nullptr)
    {
      m_Border = this->GetBorderMask();
    }
    else
    {
      m_Border = this->MakeBorder(this->GetBrainMask());
    }
  }
  m_LabelValues.clear();
  if (const MaskImageType * labels = this->GetRegionLabels())
  {
    std::set<double>                        values;
    ImageRegionConstIterator<MaskImageType> it(labels, labels->GetLargestPossibleRegion());
    for (; !it.IsAtEnd() && values.size() <= 256; ++it)
    {
      values.insert(static_cast<double>(it.Get()));
    }
    values.erase(0.0);
    if (values.size() > 255)
    {
      itkExceptionMacro("RegionLabels holds more than 255 values: give an image of labels, not of intensities");
    }
    m_LabelValues.assign(values.begin(), values.end());
  }
  m_TumourSampler = this->MakeSampler(this->GetTumourMask());
  m_BrainSampler = this->MakeSampler(this->GetBrainMask());
  m_LabelSampler = this->MakeSampler(this->GetRegionLabels());
  m_BorderSampler = this->MakeSampler(m_Border);
}

template <typename TMapImage, typename TMaskImage>
void
ExplanationQualityFilter<TMapImage, TMaskImage>::StreamedGenerateData(unsigned int piece)
{
  const unsigned int  pieces = this->GetNumberOfInputRequestedRegions();
  ProgressTransformer progress(static_cast<float>(piece) / static_cast<float>(pieces),
                               static_cast<float>(piece + 1) / static_cast<float>(pieces),
                               this);
  RegionType          region = this->GetInput()->GetLargestPossibleRegion();
  this->GetRegionSplitter()->GetSplit(piece, pieces, region);
  this->GetMultiThreader()->SetNumberOfWorkUnits(this->GetNumberOfWorkUnits());
  this->GetMultiThreader()->ParallelizeArray(
    0,
    region.GetSize(2),
    [&](SizeValueType z) {
      RegionType slice = region;
      slice.SetIndex(2, region.GetIndex(2) + static_cast<IndexValueType>(z));
      slice.SetSize(2, 1);
      this->ThreadedStreamedGenerateData(slice);
    },
    progress.GetProcessObject());

  // Thrown after the loop: not every ITK's threads hand a message on, and the first is the same for any threads.
  SizeValueType badValues = 0;
  const Slice * first = nullptr;
  for (const Slice & slice : m_Slices)
  {
    first = first == nullptr && slice.BadValues > 0 ? &slice : first;
    badValues += slice.BadValues;
  }
  if (first != nullptr)
  {
    itkExceptionMacro("The map is " << first->FirstBadValue << " at " << first->FirstBad << " (one of " << badValues
                                    << " such values): every voxel must be a finite number");
  }
}

template <typename TMapImage, typename TMaskImage>
void
ExplanationQualityFilter<TMapImage, TMaskImage>::ThreadedStreamedGenerateData(const RegionType & region)
{
  const auto * map = this->GetInput();
  const auto * support = this->GetSupport();
  const auto   components = static_cast<std::size_t>(map->GetNumberOfComponentsPerPixel());
  const auto   zero = NumericTraits<typename MaskImageType::PixelType>::ZeroValue();
  const auto   labels = m_LabelValues.size();
  Slice &      slice = m_Slices[region.GetIndex(2) - map->GetLargestPossibleRegion().GetIndex(2)];

  // The energy of all sequences first, then of each where there are several.
  const std::size_t energies = components == 1 ? 1 : components + 1;
  slice.Labels.assign(labels, 0.0);
  slice.Energies.assign(energies, Sums());
  for (Sums & sums : slice.Energies)
  {
    sums.Labels.assign(labels, 0.0);
  }
  slice.Values.assign(energies, std::vector<float>());

  const double                 weightOfPoint = 1.0 / static_cast<double>(m_Points[0] * m_Points[1] * m_Points[2]);
  std::array<double, 3>        point;
  std::array<SizeValueType, 3> at; // its number along each axis
  const auto                   first = map->GetLargestPossibleRegion().GetIndex();
  const auto                   isIn = [&](const Sampler & sampler) {
    const OffsetValueType offset = sampler.Find(at, point);
    return offset >= 0 && sampler.Mask->GetBufferPointer()[offset] != zero;
  };
  std::vector<double> energy(energies);
  std::vector<double> inLabels(labels);
  auto                index = region.GetIndex();
  for (SizeValueType y = 0; y < region.GetSize(1); ++y)
  {
    index[1] = region.GetIndex(1) + static_cast<IndexValueType>(y);
    for (SizeValueType x = 0; x < region.GetSize(0); ++x)
    {
      index[0] = region.GetIndex(0) + static_cast<IndexValueType>(x);
      if (support != nullptr && support->GetPixel(index) == 0)
      {
        continue;
      }
      const auto * voxel = map->GetBufferPointer() + map->ComputeOffset(index) * components;
      energy[0] = 0.0;
      for (std::size_t component = 0; component < components; ++component)
      {
        const auto value = static_cast<double>(voxel[component]);
        if (!std::isfinite(value) && slice.BadValues++ == 0)
        {
          slice.FirstBad = index;
          slice.FirstBadValue = value;
        }
        const double magnitude = m_EnergyMode == Energy::Absolute ? std::abs(value) : std::max(value, 0.0);
        energy[0] += magnitude;
        if (energies > 1)
        {
          energy[component + 1] = magnitude;
        }
      }

      // Fractions of the voxel.
      double brain = 0.0;
      double tumour = 0.0;
      double anyTumour = 0.0;
      double border = 0.0;
      std::fill(inLabels.begin(), inLabels.end(), 0.0);
      for (unsigned int k = 0; k < m_Points[2]; ++k)
      {
        point[2] = this->PointAlong(2, index[2], k);
        at[2] = static_cast<SizeValueType>(index[2] - first[2]) * m_Points[2] + k;
        for (unsigned int j = 0; j < m_Points[1]; ++j)
        {
          point[1] = this->PointAlong(1, index[1], j);
          at[1] = static_cast<SizeValueType>(index[1] - first[1]) * m_Points[1] + j;
          for (unsigned int i = 0; i < m_Points[0]; ++i)
          {
            point[0] = this->PointAlong(0, index[0], i);
            at[0] = static_cast<SizeValueType>(index[0] - first[0]) * m_Points[0] + i;
            const bool isTumour = isIn(m_TumourSampler);
            anyTumour += isTumour ? weightOfPoint : 0.0;
            if (m_BrainSampler.Mask != nullptr && !isIn(m_BrainSampler))
            {
              continue;
            }
            brain += weightOfPoint;
            tumour += isTumour ? weightOfPoint : 0.0;
            if (m_BorderSampler.Mask != nullptr && isIn(m_BorderSampler))
            {
              border += weightOfPoint;
            }
            if (m_LabelSampler.Mask != nullptr)
            {
              const OffsetValueType offset = m_LabelSampler.Find(at, point);
              const double          value =
                offset < 0 ? 0.0 : static_cast<double>(m_LabelSampler.Mask->GetBufferPointer()[offset]);
              const auto found = std::lower_bound(m_LabelValues.begin(), m_LabelValues.end(), value);
              if (found != m_LabelValues.end() && *found == value)
              {
                inLabels[static_cast<std::size_t>(found - m_LabelValues.begin())] += weightOfPoint;
              }
            }
          }
        }
      }

      slice.CoveredTumour += anyTumour;
      slice.Brain += brain;
      slice.Tumour += tumour;
      slice.Border += border;
      for (std::size_t label = 0; label < labels; ++label)
      {
        slice.Labels[label] += inLabels[label];
      }
      for (std::size_t e = 0; e < energies; ++e)
      {
        Sums & sums = slice.Energies[e];
        sums.Energy += energy[e] * brain;
        sums.Outside += energy[e] * std::max(0.0, 1.0 - brain);
        sums.Tumour += energy[e] * tumour;
        sums.Border += energy[e] * border;
        for (std::size_t label = 0; label < labels; ++label)
        {
          sums.Labels[label] += energy[e] * inLabels[label];
        }
        if (brain > 0.0 && energy[e] > 0.0 && energy[e] >= sums.Peak)
        {
          const bool isHit = tumour >= 0.5 * brain;
          sums.PeakInTumour = isHit || (energy[e] == sums.Peak && sums.PeakInTumour);
          sums.Peak = energy[e];
        }
        if (brain > 0.0)
        {
          slice.Values[e].push_back(static_cast<float>(energy[e]));
        }
      }
      if (brain > 0.0)
      {
        slice.Weights.push_back(static_cast<float>(brain));
        slice.Tumours.push_back(static_cast<float>(tumour));
      }
    }
  }
}

template <typename TMapImage, typename TMaskImage>
void
ExplanationQualityFilter<TMapImage, TMaskImage>::RankEnergies(const std::vector<Slice> & slices,
                                                              std::size_t                energy,
                                                              double                     tumour,
                                                              Numbers &                  numbers)
{
  struct Voxel
  {
    float Value;
    float Weight;
    float Tumour;
  };
  std::vector<Voxel> voxels;
  voxels.reserve(
    std::accumulate(slices.begin(), slices.end(), std::size_t{ 0 }, [](std::size_t n, const Slice & slice) {
      return n + slice.Weights.size();
    }));
  for (const Slice & slice : slices)
  {
    for (std::size_t i = 0; i < slice.Weights.size(); ++i)
    {
      voxels.push_back({ slice.Values[energy][i], slice.Weights[i], slice.Tumours[i] });
    }
  }
  std::stable_sort(voxels.begin(), voxels.end(), [](const Voxel & a, const Voxel & b) { return a.Value > b.Value; });

  double left = tumour; // voxels that still have a rank among the first
  double hits = 0.0;
  double sum = 0.0;
  double weights = 0.0;
  double lorenz = 0.0; // twice the area above the Lorenz curve, from the high end
  for (std::size_t i = 0; i < voxels.size();)
  {
    double      weight = 0.0;
    double      inTumour = 0.0;
    std::size_t next = i;
    for (; next < voxels.size() && voxels[next].Value == voxels[i].Value; ++next)
    {
      weight += voxels[next].Weight;
      inTumour += voxels[next].Tumour;
    }
    const double taken = std::min(left, weight);
    hits += weight > 0.0 ? inTumour * taken / weight : 0.0;
    left -= taken;
    const double energyOfGroup = weight * static_cast<double>(voxels[i].Value);
    lorenz += weight * (2.0 * sum + energyOfGroup);
    sum += energyOfGroup;
    weights += weight;
    i = next;
  }
  numbers.RankAccuracy = tumour > 0.0 && sum > 0.0 ? hits / tumour : std::numeric_limits<double>::quiet_NaN();
  numbers.Gini = sum > 0.0 ? lorenz / (weights * sum) - 1.0 : std::numeric_limits<double>::quiet_NaN();
}

template <typename TMapImage, typename TMaskImage>
void
ExplanationQualityFilter<TMapImage, TMaskImage>::AfterStreamedGenerateData()
{
  Superclass::AfterStreamedGenerateData();
  const auto components = static_cast<std::size_t>(this->GetInput()->GetNumberOfComponentsPerPixel());
  const auto labels = m_LabelValues.size();
  Slice      all;
  all.Labels.assign(labels, 0.0);
  all.Energies.assign(components == 1 ? 1 : components + 1, Sums());
  for (Sums & sums : all.Energies)
  {
    sums.Labels.assign(labels, 0.0);
  }
  for (const Slice & slice : m_Slices)
  {
    all.Brain += slice.Brain;
    all.Tumour += slice.Tumour;
    all.CoveredTumour += slice.CoveredTumour;
    all.Border += slice.Border;
    for (std::size_t label = 0; label < labels; ++label)
    {
      all.Labels[label] += slice.Labels[label];
    }
    for (std::size_t e = 0; e < all.Energies.size(); ++e)
    {
      Sums &       to = all.Energies[e];
      const Sums & from = slice.Energies[e];
      to.Energy += from.Energy;
      to.Outside += from.Outside;
      to.Tumour += from.Tumour;
      to.Border += from.Border;
      for (std::size_t label = 0; label < labels; ++label)
      {
        to.Labels[label] += from.Labels[label];
      }
      if (from.Peak >= to.Peak && from.Peak > 0.0)
      {
        to.PeakInTumour = from.PeakInTumour || (from.Peak == to.Peak && to.PeakInTumour);
        to.Peak = from.Peak;
      }
    }
  }
  if (!(all.Brain > 0.0))
  {
    itkExceptionMacro("The brain mask and the map's support share no voxel: check that they belong to one patient, and "
                      "their origins and directions");
  }

  const double undefined = std::numeric_limits<double>::quiet_NaN();
  const auto   divide = [undefined](double part, double whole) { return whole > 0.0 ? part / whole : undefined; };
  // A share of a region that the support misses does not exist.
  const auto share = [&](double part, double size, double whole) {
    return size > 0.0 ? divide(part, whole) : undefined;
  };
  const bool hasBrain = this->GetBrainMask() != nullptr;

  std::vector<Numbers> numbers(all.Energies.size());
  for (std::size_t e = 0; e < numbers.size(); ++e)
  {
    const Sums & sums = all.Energies[e];
    Numbers &    number = numbers[e];
    number.Total = sums.Energy;
    number.TumourShare = share(sums.Tumour, all.Tumour, sums.Energy);
    number.TumourRatio = divide(number.TumourShare * all.Brain, all.Tumour);
    number.Peak = all.Tumour > 0.0 && sums.Peak > 0.0 ? (sums.PeakInTumour ? 1.0 : 0.0) : undefined;
    number.BorderShare = share(sums.Border, all.Border, sums.Energy);
    number.BorderRatio = divide(number.BorderShare * all.Brain, all.Border);
    number.OutsideShare = hasBrain ? divide(sums.Outside, sums.Outside + sums.Energy) : undefined;
  }
  this->GetMultiThreader()->SetNumberOfWorkUnits(this->GetNumberOfWorkUnits());
  this->GetMultiThreader()->ParallelizeArray(
    0, numbers.size(), [&](SizeValueType e) { Self::RankEnergies(m_Slices, e, all.Tumour, numbers[e]); }, nullptr);
  m_Slices.clear();

  const auto *  tumourMask = this->GetTumourMask();
  SizeValueType tumourVoxels = 0;
  for (ImageRegionConstIterator<MaskImageType> it(tumourMask, tumourMask->GetLargestPossibleRegion()); !it.IsAtEnd();
       ++it)
  {
    tumourVoxels += it.Get() != NumericTraits<typename MaskImageType::PixelType>::ZeroValue() ? 1 : 0;
  }
  double volumeRatio = 1.0; // of a voxel of the map
  for (unsigned int axis = 0; axis < 3; ++axis)
  {
    volumeRatio *= this->GetInput()->GetSpacing()[axis] / tumourMask->GetSpacing()[axis];
  }
  const double coverage = divide(all.CoveredTumour * volumeRatio, static_cast<double>(tumourVoxels));

  const Numbers & total = numbers[0];
  unsigned long   flags = 0;
  const auto      raise = [&flags](bool when, Flag flag) { flags |= when ? static_cast<unsigned long>(flag) : 0UL; };
  raise(!(total.Total > 0.0), Flag::EmptyMap);
  raise(!(all.Tumour > 0.0), Flag::SupportMissesTumour);
  raise(total.TumourRatio < 1.0, Flag::TumourMissed);
  raise(total.BorderRatio > 1.0 && !(total.BorderRatio <= total.TumourRatio), Flag::BorderDominated);

  this->SetTotalEnergy(total.Total);
  this->SetTumourShare(total.TumourShare);
  this->SetTumourChance(all.Tumour > 0.0 ? all.Tumour / all.Brain : undefined);
  this->SetTumourRatio(total.TumourRatio);
  // Counted points may exceed the mask's voxels by a little.
  this->SetTumourCoverage(std::isnan(coverage) ? coverage : std::min(1.0, coverage));
  this->SetPeakInTumour(total.Peak);
  this->SetTumourRankAccuracy(total.RankAccuracy);
  this->SetBorderShare(total.BorderShare);
  this->SetBorderChance(all.Border > 0.0 ? all.Border / all.Brain : undefined);
  this->SetBorderRatio(total.BorderRatio);
  this->SetOutsideShare(total.OutsideShare);
  this->SetGini(total.Gini);
  this->SetFlags(flags);

  const auto ofSequences = [&](const auto & number) {
    const std::size_t first = numbers.size() > 1 ? 1 : 0;
    ArrayType         values(static_cast<unsigned int>(components));
    for (std::size_t c = 0; c < components; ++c)
    {
      values[static_cast<unsigned int>(c)] = number(numbers[first + c]);
    }
    return values;
  };
  this->SetSequenceShares(ofSequences([&](const Numbers & n) { return divide(n.Total, total.Total); }));
  this->SetSequenceTumourShares(ofSequences([](const Numbers & n) { return n.TumourShare; }));
  this->SetSequenceTumourRatios(ofSequences([](const Numbers & n) { return n.TumourRatio; }));
  this->SetSequencePeaksInTumour(ofSequences([](const Numbers & n) { return n.Peak; }));
  this->SetSequenceTumourRankAccuracies(ofSequences([](const Numbers & n) { return n.RankAccuracy; }));
  this->SetSequenceBorderShares(ofSequences([](const Numbers & n) { return n.BorderShare; }));
  this->SetSequenceBorderRatios(ofSequences([](const Numbers & n) { return n.BorderRatio; }));
  this->SetSequenceOutsideShares(ofSequences([](const Numbers & n) { return n.OutsideShare; }));
  this->SetSequenceGinis(ofSequences([](const Numbers & n) { return n.Gini; }));

  const auto ofLabels = [&](const auto & number) {
    ArrayType values(static_cast<unsigned int>(labels));
    for (std::size_t label = 0; label < labels; ++label)
    {
      values[static_cast<unsigned int>(label)] = number(label);
    }
    return values;
  };
  const auto shareOfLabel = [&](std::size_t label) {
    return share(all.Energies[0].Labels[label], all.Labels[label], total.Total);
  };
  const auto chanceOfLabel = [&](std::size_t label) {
    return all.Labels[label] > 0.0 ? all.Labels[label] / all.Brain : undefined;
  };
  this->SetLabels(ofLabels([&](std::size_t label) { return m_LabelValues[label]; }));
  this->SetLabelShares(ofLabels(shareOfLabel));
  this->SetLabelChances(ofLabels(chanceOfLabel));
  this->SetLabelRatios(ofLabels([&](std::size_t label) { return shareOfLabel(label) / chanceOfLabel(label); }));
}

template <typename TMapImage, typename TMaskImage>
void
ExplanationQualityFilter<TMapImage, TMaskImage>::PrintSelf(std::ostream & os, Indent indent) const
{
  Superclass::PrintSelf(os, indent);
  os << indent << "EnergyMode: " << m_EnergyMode << std::endl;
  os << indent << "BorderWidth: " << m_BorderWidth << std::endl;
  os << indent << "MeasureBorder: " << (m_MeasureBorder ? "On" : "Off") << std::endl;
  os << indent << "Border: " << m_Border.GetPointer() << std::endl;
  os << indent << "LabelValues: " << m_LabelValues.size() << std::endl;
}
} // namespace itk

#endif // itkExplanationQualityFilter_hxx
