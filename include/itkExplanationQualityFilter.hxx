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

#include "itkImageRegionConstIteratorWithIndex.h"
#include "itkImageRegionIterator.h"
#include "itkNumericTraits.h"
#include "itkProgressTransformer.h"
#include "itkSignedMaurerDistanceMapImageFilter.h"

#include <algorithm>
#include <atomic>
#include <cmath>

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
                             "BorderShare",
                             "BorderChance",
                             "BorderRatio",
                             "Flags" })
  {
    this->ProcessObject::SetOutput(name, Self::MakeOutput(DataObject::DataObjectIdentifierType(name)));
  }
}

template <typename TMapImage, typename TMaskImage>
DataObject::Pointer
ExplanationQualityFilter<TMapImage, TMaskImage>::MakeOutput(const DataObject::DataObjectIdentifierType & name)
{
  if (name == "Flags")
  {
    const auto decorator = SimpleDataObjectDecorator<unsigned long>::New();
    decorator->Set(0);
    return decorator.GetPointer();
  }
  if (name == "PeakInTumour")
  {
    const auto decorator = SimpleDataObjectDecorator<bool>::New();
    decorator->Set(false);
    return decorator.GetPointer();
  }
  if (name == "TotalEnergy" || name.compare(0, 6, "Tumour") == 0 || name.compare(0, 6, "Border") == 0)
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
  if (!(m_BorderWidth >= 0.0) || !std::isfinite(m_BorderWidth))
  {
    itkExceptionMacro("BorderWidth is " << m_BorderWidth << " mm; it must be 0 or more");
  }
}

template <typename TMapImage, typename TMaskImage>
void
ExplanationQualityFilter<TMapImage, TMaskImage>::VerifyInputInformation() const
{
  Superclass::VerifyInputInformation();
  const auto region = this->GetInput()->GetLargestPossibleRegion();
  for (const auto & name : this->GetInputNames())
  {
    const auto * image = dynamic_cast<const ImageBase<3> *>(this->ProcessObject::GetInput(name));
    if (image != nullptr && image->GetLargestPossibleRegion() != region)
    {
      itkExceptionMacro("The input " << name << " has the region " << image->GetLargestPossibleRegion()
                                     << " and the map " << region
                                     << ": give the filter that made the map a reference image");
    }
  }
}

template <typename TMapImage, typename TMaskImage>
void
ExplanationQualityFilter<TMapImage, TMaskImage>::BeforeStreamedGenerateData()
{
  Superclass::BeforeStreamedGenerateData();
  m_Slices.assign(this->GetInput()->GetLargestPossibleRegion().GetSize(2), Sums());
  m_Border = nullptr;
  auto * brain = const_cast<MaskImageType *>(this->GetBrainMask());
  if (brain == nullptr)
  {
    return;
  }
  brain->SetRequestedRegionToLargestPossibleRegion();
  brain->Update();

  const auto region = brain->GetLargestPossibleRegion();
  m_Border = SupportImageType::New();
  m_Border->CopyInformation(brain);
  m_Border->SetRegions(region);
  m_Border->Allocate();
  SizeValueType                           inside = 0;
  ImageRegionConstIterator<MaskImageType> from(brain, region);
  ImageRegionIterator<SupportImageType>   to(m_Border, region);
  const auto                              zero = NumericTraits<typename MaskImageType::PixelType>::ZeroValue();
  for (; !to.IsAtEnd(); ++to, ++from)
  {
    const bool isBrain = from.Get() != zero;
    inside += isBrain ? 1 : 0;
    to.Set(isBrain ? 1 : 0);
  }
  if (inside == 0 || inside == region.GetNumberOfPixels())
  {
    m_Border->FillBuffer(0); // no border in sight
    return;
  }
  using DistanceType = SignedMaurerDistanceMapImageFilter<SupportImageType, Image<float, 3>>;
  const auto distance = DistanceType::New();
  distance->SetInput(m_Border);
  distance->SetUseImageSpacing(true);
  distance->SetSquaredDistance(false);
  distance->SetNumberOfWorkUnits(this->GetNumberOfWorkUnits());
  distance->Update();
  ImageRegionConstIterator<Image<float, 3>> depth(distance->GetOutput(), region);
  for (to.GoToBegin(); !to.IsAtEnd(); ++to, ++depth)
  {
    to.Set(std::abs(static_cast<double>(depth.Get())) <= m_BorderWidth * (1.0 + 1e-6) ? 1 : 0);
  }
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
}

template <typename TMapImage, typename TMaskImage>
void
ExplanationQualityFilter<TMapImage, TMaskImage>::ThreadedStreamedGenerateData(const RegionType & slice)
{
  const auto * map = this->GetInput();
  const auto * support = this->GetSupport();
  const auto * tumour = this->GetTumourMask();
  const auto   components = static_cast<std::size_t>(map->GetNumberOfComponentsPerPixel());
  const auto   zero = NumericTraits<typename MaskImageType::PixelType>::ZeroValue();
  Sums &       sums = m_Slices[slice.GetIndex(2) - map->GetLargestPossibleRegion().GetIndex(2)];

  ImageRegionConstIteratorWithIndex<MaskImageType> it(tumour, slice);
  for (; !it.IsAtEnd(); ++it)
  {
    const auto index = it.GetIndex();
    const bool isTumour = it.Get() != zero;
    sums.Tumour += isTumour ? 1 : 0;
    if (support != nullptr && support->GetPixel(index) == 0)
    {
      continue;
    }
    const auto * voxel = map->GetBufferPointer() + map->ComputeOffset(index) * components;
    double       energy = 0.0;
    for (std::size_t component = 0; component < components; ++component)
    {
      const auto value = static_cast<double>(voxel[component]);
      if (!std::isfinite(value))
      {
        itkExceptionMacro("The map is " << value << " at " << index << ": every voxel must be a finite number");
      }
      energy += m_EnergyMode == Energy::Absolute ? std::abs(value) : std::max(value, 0.0);
    }
    const bool isBorder = m_Border && m_Border->GetPixel(index) != 0;
    ++sums.Support;
    sums.SupportedTumour += isTumour ? 1 : 0;
    sums.SupportedBorder += isBorder ? 1 : 0;
    sums.Energy += energy;
    sums.TumourEnergy += isTumour ? energy : 0.0;
    sums.BorderEnergy += isBorder ? energy : 0.0;
    if (energy > sums.Peak)
    {
      sums.Peak = energy;
      sums.PeakInTumour = isTumour;
    }
  }
}

template <typename TMapImage, typename TMaskImage>
void
ExplanationQualityFilter<TMapImage, TMaskImage>::AfterStreamedGenerateData()
{
  Superclass::AfterStreamedGenerateData();
  Sums all;
  for (const Sums & slice : m_Slices)
  {
    all.Energy += slice.Energy;
    all.TumourEnergy += slice.TumourEnergy;
    all.BorderEnergy += slice.BorderEnergy;
    all.Support += slice.Support;
    all.Tumour += slice.Tumour;
    all.SupportedTumour += slice.SupportedTumour;
    all.SupportedBorder += slice.SupportedBorder;
    if (slice.Peak > all.Peak)
    {
      all.Peak = slice.Peak;
      all.PeakInTumour = slice.PeakInTumour;
    }
  }
  m_Slices.clear();
  m_Border = nullptr;

  const auto   share = [](double part, double whole) { return whole > 0.0 ? part / whole : 0.0; };
  const double tumourShare = share(all.TumourEnergy, all.Energy);
  const double tumourChance = share(static_cast<double>(all.SupportedTumour), static_cast<double>(all.Support));
  const double tumourRatio = share(tumourShare, tumourChance);
  const double borderShare = share(all.BorderEnergy, all.Energy);
  const double borderChance = share(static_cast<double>(all.SupportedBorder), static_cast<double>(all.Support));
  const double borderRatio = share(borderShare, borderChance);

  unsigned long flags = 0;
  const auto    raise = [&flags](bool when, Flag flag) { flags |= when ? static_cast<unsigned long>(flag) : 0UL; };
  const bool    isEmpty = !(all.Energy > 0.0);
  raise(isEmpty, Flag::EmptyMap);
  raise(all.SupportedTumour == 0, Flag::SupportMissesTumour);
  raise(!isEmpty && all.SupportedTumour > 0 && tumourRatio < 1.0, Flag::TumourMissed);
  raise(!isEmpty && borderRatio > 1.0 && borderRatio > tumourRatio, Flag::BorderDominated);

  this->SetTotalEnergy(all.Energy);
  this->SetTumourShare(tumourShare);
  this->SetTumourChance(tumourChance);
  this->SetTumourRatio(tumourRatio);
  this->SetTumourCoverage(share(static_cast<double>(all.SupportedTumour), static_cast<double>(all.Tumour)));
  this->SetPeakInTumour(all.PeakInTumour);
  this->SetBorderShare(borderShare);
  this->SetBorderChance(borderChance);
  this->SetBorderRatio(borderRatio);
  this->SetFlags(flags);
}

template <typename TMapImage, typename TMaskImage>
void
ExplanationQualityFilter<TMapImage, TMaskImage>::PrintSelf(std::ostream & os, Indent indent) const
{
  Superclass::PrintSelf(os, indent);
  os << indent << "EnergyMode: " << m_EnergyMode << std::endl;
  os << indent << "BorderWidth: " << m_BorderWidth << std::endl;
}
} // namespace itk

#endif // itkExplanationQualityFilter_hxx
