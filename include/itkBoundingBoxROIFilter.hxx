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
#ifndef itkBoundingBoxROIFilter_hxx
#define itkBoundingBoxROIFilter_hxx

#include "itkBoundingBoxROIFilter.h"
#include "itkConnectedRuns.h"
#include "itkUpstreamModifiedTime.h"

#include <algorithm>
#include <cmath>

namespace itk
{
template <typename TInputImage, typename TMaskImage>
BoundingBoxROIFilter<TInputImage, TMaskImage>::BoundingBoxROIFilter()
{
  this->AddRequiredInputName("MaskImage", 1);
  this->SetCoordinateTolerance(std::max(1e-3, this->GetCoordinateTolerance()));
  this->SetDirectionTolerance(std::max(1e-3, this->GetDirectionTolerance()));
  for (const char * name : { "Box", "Region", "Status", "NumberOfComponents", "NumberOfVoxels" })
  {
    this->ProcessObject::SetOutput(name, this->MakeOutput(name));
  }
  RealArrayType zeros(6);
  zeros.Fill(0.0);
  this->SetBox(zeros);
  this->SetRegion(zeros);
  this->SetStatus(0);
  this->SetNumberOfComponents(0);
  this->SetNumberOfVoxels(0);
}

template <typename TInputImage, typename TMaskImage>
DataObject::Pointer
BoundingBoxROIFilter<TInputImage, TMaskImage>::MakeOutput(const DataObjectIdentifierType & name)
{
  if (name == "Box" || name == "Region")
  {
    return SimpleDataObjectDecorator<RealArrayType>::New().GetPointer();
  }
  if (name == "Status" || name == "NumberOfComponents" || name == "NumberOfVoxels")
  {
    return SimpleDataObjectDecorator<unsigned long>::New().GetPointer();
  }
  return Superclass::MakeOutput(name);
}

template <typename TInputImage, typename TMaskImage>
void
BoundingBoxROIFilter<TInputImage, TMaskImage>::VerifyPreconditions() const
{
  Superclass::VerifyPreconditions();
  if (m_Mode > ModeEnum::Letterbox)
  {
    itkExceptionMacro("Mode is " << static_cast<int>(m_Mode) << "; set Cube (0), Stretch (1) or Letterbox (2).");
  }
  if (m_MarginUnit > MarginUnitEnum::Millimetres)
  {
    itkExceptionMacro("MarginUnit is " << static_cast<int>(m_MarginUnit) << "; set Voxels (0) or Millimetres (1).");
  }
  if (m_EmptyMaskPolicy > EmptyMaskPolicyEnum::WholeImage)
  {
    itkExceptionMacro("EmptyMaskPolicy is " << static_cast<int>(m_EmptyMaskPolicy)
                                            << "; set Exception (0) or WholeImage (1).");
  }
  if (!(m_MinimumComponentFraction >= 0.0 && m_MinimumComponentFraction <= 1.0))
  {
    itkExceptionMacro("MinimumComponentFraction is " << m_MinimumComponentFraction
                                                     << "; set a share of the largest component from 0 to 1.");
  }
  if (m_OutputSize > 4096)
  {
    itkExceptionMacro("OutputSize is " << m_OutputSize << " voxels a side; set 4096 at most.");
  }
  if (!(m_Margin >= 0.0 && m_Margin <= 65536.0))
  {
    itkExceptionMacro("Margin is " << m_Margin << (m_MarginUnit == MarginUnitEnum::Voxels ? " voxels" : " mm")
                                   << "; set a number from 0 to 65536.");
  }
}

template <typename TInputImage, typename TMaskImage>
void
BoundingBoxROIFilter<TInputImage, TMaskImage>::VerifyInputInformation() const
{
  Superclass::VerifyInputInformation();
  const RegionType & image = this->GetInput()->GetLargestPossibleRegion();
  const auto &       mask = this->GetMaskImage()->GetLargestPossibleRegion();
  if (image.GetIndex() != mask.GetIndex() || image.GetSize() != mask.GetSize())
  {
    itkExceptionMacro("The mask has index " << mask.GetIndex() << " and size " << mask.GetSize()
                                            << " but the image has index " << image.GetIndex() << " and size "
                                            << image.GetSize() << ". Give a mask on the image's grid.");
  }
}

template <typename TInputImage, typename TMaskImage>
void
BoundingBoxROIFilter<TInputImage, TMaskImage>::FindBox()
{
  auto * mask = const_cast<TMaskImage *>(this->GetMaskImage());
  if (m_BoxMask == mask && m_BoxTime == UpstreamModifiedTime::Of(mask) && m_BoxFraction == m_MinimumComponentFraction &&
      m_BoxLargestOnly == m_LargestComponentOnly)
  {
    return;
  }
  m_BoxMask = nullptr;
  mask->SetRequestedRegionToLargestPossibleRegion();
  mask->Update();
  const RegionType region = mask->GetLargestPossibleRegion();
  if (mask->GetBufferedRegion() != region)
  {
    itkExceptionMacro("The mask holds only " << mask->GetBufferedRegion().GetSize() << " of its " << region.GetSize()
                                             << " voxels; give the whole mask.");
  }

  const ConnectedRuns runs(mask->GetBufferPointer(), region.GetSize(), true);
  const auto &        components = runs.GetComponents();
  unsigned long       count = 0;
  unsigned long       voxels = 0;
  RegionType          box = region;
  if (!components.empty())
  {
    const SizeValueType          largest = runs.GetLargest();
    const auto                   most = static_cast<double>(components[largest].voxels);
    std::array<SizeValueType, 3> lower = components[largest].lower;
    std::array<SizeValueType, 3> upper = components[largest].upper;
    for (SizeValueType k = 0; k < components.size(); ++k)
    {
      if (k != largest && static_cast<double>(components[k].voxels) < m_MinimumComponentFraction * most)
      {
        continue;
      }
      ++count;
      if (m_LargestComponentOnly && k != largest)
      {
        continue;
      }
      voxels += components[k].voxels;
      for (unsigned int d = 0; d < 3; ++d)
      {
        lower[d] = std::min(lower[d], components[k].lower[d]);
        upper[d] = std::max(upper[d], components[k].upper[d]);
      }
    }
    for (unsigned int d = 0; d < 3; ++d)
    {
      box.SetIndex(d, region.GetIndex(d) + static_cast<IndexValueType>(lower[d]));
      box.SetSize(d, upper[d] - lower[d] + 1);
    }
  }
  m_BoxRegion = box;
  this->SetNumberOfComponents(count);
  this->SetNumberOfVoxels(voxels);
  m_BoxMask = mask;
  m_BoxTime = UpstreamModifiedTime::Of(mask);
  m_BoxFraction = m_MinimumComponentFraction;
  m_BoxLargestOnly = m_LargestComponentOnly;
}

template <typename TInputImage, typename TMaskImage>
void
BoundingBoxROIFilter<TInputImage, TMaskImage>::GenerateOutputInformation()
{
  const TInputImage * input = this->GetInput();
  TInputImage *       output = this->GetOutput();
  Superclass::GenerateOutputInformation();
  this->FindBox();

  const RegionType image = input->GetLargestPossibleRegion();
  const bool       empty = this->GetNumberOfVoxels() == 0;
  if (empty && m_EmptyMaskPolicy == EmptyMaskPolicyEnum::Exception)
  {
    itkExceptionMacro("The mask is empty: none of its " << image.GetNumberOfPixels()
                                                        << " voxels differs from 0. Give another mask, or set "
                                                           "EmptyMaskPolicy to WholeImage.");
  }

  // The box with its margin, and the region, in continuous indices.
  const bool isotropic = m_Mode == ModeEnum::Cube || (m_Mode == ModeEnum::Letterbox && m_OutputSize > 0);
  WidthsType centre;
  WidthsType boxLower;
  WidthsType boxUpper;
  double     side = 0.0;
  for (unsigned int d = 0; d < 3; ++d)
  {
    const auto   size = static_cast<double>(m_BoxRegion.GetSize(d));
    const double unit = m_MarginUnit == MarginUnitEnum::Voxels ? 1.0 : input->GetSpacing()[d];
    const double margin = empty ? 0.0 : m_Margin / unit;
    centre[d] = static_cast<double>(m_BoxRegion.GetIndex(d)) + 0.5 * (size - 1.0);
    boxLower[d] = centre[d] - 0.5 * size - margin;
    boxUpper[d] = centre[d] + 0.5 * size + margin;
    side = std::max(side, (size + 2.0 * margin) * input->GetSpacing()[d]);
  }
  RealArrayType box(6);
  RealArrayType extent(6);
  bool          touchesBorder = false;
  bool          leavesImage = false;
  for (unsigned int d = 0; d < 3; ++d)
  {
    const double width = isotropic ? side / input->GetSpacing()[d] : boxUpper[d] - boxLower[d];
    box[d] = static_cast<double>(m_BoxRegion.GetIndex(d));
    box[d + 3] = static_cast<double>(m_BoxRegion.GetSize(d));
    extent[d] = centre[d] - 0.5 * width;
    extent[d + 3] = width;
    const double imageLower = static_cast<double>(image.GetIndex(d)) - 0.5;
    const double imageUpper = imageLower + static_cast<double>(image.GetSize(d));
    touchesBorder = touchesBorder || m_BoxRegion.GetIndex(d) == image.GetIndex(d) ||
                    m_BoxRegion.GetUpperIndex()[d] == image.GetUpperIndex()[d];
    leavesImage = leavesImage || extent[d] < imageLower - 1e-6 || extent[d] + width > imageUpper + 1e-6;
  }

  MappingType mapping;
  WidthsType  widths{ { 0.0, 0.0, 0.0 } };
  RegionType  region;
  auto        spacing = input->GetSpacing();
  for (unsigned int d = 0; d < 3; ++d)
  {
    if (m_OutputSize == 0)
    {
      const auto           first = static_cast<IndexValueType>(std::ceil(extent[d] - 1e-6));
      const auto           last = static_cast<IndexValueType>(std::floor(extent[d] + extent[d + 3] + 1e-6));
      const IndexValueType begin = std::max(first, image.GetIndex(d));
      region.SetIndex(d, begin);
      region.SetSize(d, std::min(last, image.GetUpperIndex()[d]) - begin + 1);
      continue;
    }
    const auto size = static_cast<double>(m_OutputSize);
    mapping.Scale[d] = extent[d + 3] / size;
    mapping.Offset[d] = centre[d] - mapping.Scale[d] * 0.5 * (size - 1.0);
    spacing[d] = isotropic ? side / size : mapping.Scale[d] * input->GetSpacing()[d];
    widths[d] = m_Smoothing ? Superclass::SmoothingWidth(input->GetSpacing()[d], spacing[d]) : 0.0;
    region.SetIndex(d, 0);
    region.SetSize(d, m_OutputSize);
  }
  mapping.ApplyGeometry(*input, *output);
  output->SetSpacing(spacing);
  this->SetOutputRegion(region);
  m_ValidRegion = region;
  for (unsigned int d = 0; d < 3 && m_OutputSize > 0; ++d)
  {
    const double imageLower = static_cast<double>(image.GetIndex(d)) - 0.5;
    const double imageUpper = imageLower + static_cast<double>(image.GetSize(d));
    const bool   isCut = m_Mode == ModeEnum::Letterbox;
    const double lower = (isCut ? std::max(imageLower, boxLower[d]) : imageLower) - 1e-6;
    const double upper = (isCut ? std::min(imageUpper, boxUpper[d]) : imageUpper) + 1e-6;
    unsigned int first = m_OutputSize;
    unsigned int number = 0;
    for (unsigned int i = 0; i < m_OutputSize; ++i)
    {
      const double position = mapping.Offset[d] + mapping.Scale[d] * static_cast<double>(i);
      const bool   isInside = position >= lower && position <= upper;
      first = isInside && number == 0 ? i : first;
      number += isInside ? 1 : 0;
    }
    if (number > 0)
    {
      m_ValidRegion.SetIndex(d, first);
      m_ValidRegion.SetSize(d, number);
    }
  }
  this->SetSampling(mapping, widths);
  if (m_Mode == ModeEnum::Letterbox)
  {
    this->SetInside(boxLower, boxUpper);
  }

  unsigned long status = static_cast<unsigned long>(empty ? StatusFlagEnum::Empty : StatusFlagEnum::Found);
  const auto    add = [&status](bool condition, StatusFlagEnum flag) {
    status |= condition ? static_cast<unsigned long>(flag) : 0UL;
  };
  add(!empty && this->GetNumberOfVoxels() < m_TinyNumberOfVoxels, StatusFlagEnum::Tiny);
  add(!empty && touchesBorder, StatusFlagEnum::TouchesBorder);
  add(this->GetNumberOfComponents() > 1, StatusFlagEnum::SeveralFoci);
  add(leavesImage, StatusFlagEnum::LeavesImage);
  this->SetBox(box);
  this->SetRegion(extent);
  this->SetStatus(status);
}

template <typename TInputImage, typename TMaskImage>
void
BoundingBoxROIFilter<TInputImage, TMaskImage>::GenerateInputRequestedRegion()
{
  Superclass::GenerateInputRequestedRegion();
  auto * mask = const_cast<TMaskImage *>(this->GetMaskImage());
  mask->SetRequestedRegionToLargestPossibleRegion();
}

template <typename TInputImage, typename TMaskImage>
void
BoundingBoxROIFilter<TInputImage, TMaskImage>::PrintSelf(std::ostream & os, Indent indent) const
{
  Superclass::PrintSelf(os, indent);
  os << indent << "Mode: " << m_Mode << std::endl;
  os << indent << "Margin: " << m_Margin << std::endl;
  os << indent << "MarginUnit: " << m_MarginUnit << std::endl;
  os << indent << "OutputSize: " << m_OutputSize << std::endl;
  os << indent << "MinimumComponentFraction: " << m_MinimumComponentFraction << std::endl;
  os << indent << "LargestComponentOnly: " << (m_LargestComponentOnly ? "On" : "Off") << std::endl;
  os << indent << "TinyNumberOfVoxels: " << m_TinyNumberOfVoxels << std::endl;
  os << indent << "Smoothing: " << (m_Smoothing ? "On" : "Off") << std::endl;
  os << indent << "EmptyMaskPolicy: " << m_EmptyMaskPolicy << std::endl;
  os << indent << "Box: " << this->GetBox() << std::endl;
  os << indent << "Region: " << this->GetRegion() << std::endl;
  os << indent << "Status: " << this->GetStatus() << std::endl;
  os << indent << "NumberOfComponents: " << this->GetNumberOfComponents() << std::endl;
  os << indent << "NumberOfVoxels: " << this->GetNumberOfVoxels() << std::endl;
  os << indent << "ValidRegion: " << m_ValidRegion << std::endl;
  os << indent << "BoxRegion: " << m_BoxRegion << std::endl;
  os << indent << "BoxMask: " << m_BoxMask << std::endl;
  os << indent << "BoxTime: " << m_BoxTime << std::endl;
  os << indent << "BoxFraction: " << m_BoxFraction << std::endl;
  os << indent << "BoxLargestOnly: " << (m_BoxLargestOnly ? "On" : "Off") << std::endl;
}
} // namespace itk

#endif // itkBoundingBoxROIFilter_hxx
