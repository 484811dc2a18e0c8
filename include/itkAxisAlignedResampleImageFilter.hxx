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
#ifndef itkAxisAlignedResampleImageFilter_hxx
#define itkAxisAlignedResampleImageFilter_hxx

#include "itkAxisAlignedResampleImageFilter.h"
#include "itkRequestGeometry.h"

#include <cmath>
#include <vector>

namespace itk
{
template <typename TInputImage, typename TOutputImage>
void
AxisAlignedResampleImageFilter<TInputImage, TOutputImage>::VerifyPreconditions() const
{
  Superclass::VerifyPreconditions();
  for (unsigned int c = 0; c < m_OutsideValue.Size(); ++c)
  {
    if (!std::isfinite(m_OutsideValue[c]))
    {
      itkExceptionMacro("OutsideValue of component " << c << " is " << m_OutsideValue[c] << "; set a finite number.");
    }
  }
  if (m_Interpolation > InterpolationEnum::NearestNeighbor)
  {
    itkExceptionMacro("Interpolation is " << static_cast<int>(m_Interpolation)
                                          << "; set Linear (0) or NearestNeighbor (1).");
  }
  if (m_Border > BorderEnum::Extrapolate)
  {
    itkExceptionMacro("Border is " << static_cast<int>(m_Border) << "; set Repeat (0) or Extrapolate (1).");
  }
}

template <typename TInputImage, typename TOutputImage>
void
AxisAlignedResampleImageFilter<TInputImage, TOutputImage>::VerifyInputInformation() const
{
  Superclass::VerifyInputInformation();
  this->VerifyPrimaryInput();
}

template <typename TInputImage, typename TOutputImage>
void
AxisAlignedResampleImageFilter<TInputImage, TOutputImage>::VerifyPrimaryInput() const
{
  const TInputImage * input = this->GetInput();
  if (input->GetLargestPossibleRegion().GetNumberOfPixels() == 0)
  {
    itkExceptionMacro("The input has no voxels: its size is " << input->GetLargestPossibleRegion().GetSize()
                                                              << ". Check the reader before this filter.");
  }
  const unsigned int components = input->GetNumberOfComponentsPerPixel();
  if (m_OutsideValue.Size() > 1 && m_OutsideValue.Size() != components)
  {
    itkExceptionMacro("OutsideValue has " << m_OutsideValue.Size() << " numbers but the image has " << components
                                          << " components; set one number, or one for each component.");
  }
}

template <typename TInputImage, typename TOutputImage>
void
AxisAlignedResampleImageFilter<TInputImage, TOutputImage>::GenerateOutputInformation()
{
  const TInputImage * input = this->GetInput();
  TOutputImage *      output = this->GetOutput();
  m_RegionBefore = output->GetLargestPossibleRegion();
  Superclass::GenerateOutputInformation();
  output->SetNumberOfComponentsPerPixel(input->GetNumberOfComponentsPerPixel());
  output->SetMetaDataDictionary(input->GetMetaDataDictionary());
  m_HasInside = false;
  m_HasValid = false;
}

template <typename TInputImage, typename TOutputImage>
void
AxisAlignedResampleImageFilter<TInputImage, TOutputImage>::SetOutputRegion(const RegionType & region)
{
  TOutputImage * output = this->GetOutput();
  output->SetLargestPossibleRegion(region);
  // What was asked for of the region before may be no part of this one, or no longer the whole.
  if (output->GetRequestedRegion() == m_RegionBefore || !region.IsInside(output->GetRequestedRegion()))
  {
    output->SetRequestedRegionToLargestPossibleRegion();
  }
}

template <typename TInputImage, typename TOutputImage>
void
AxisAlignedResampleImageFilter<TInputImage, TOutputImage>::SetSampling(const MappingType & mapping,
                                                                       const WidthsType &  widths)
{
  m_Mapping = mapping;
  m_Widths = widths;
}

template <typename TInputImage, typename TOutputImage>
void
AxisAlignedResampleImageFilter<TInputImage, TOutputImage>::SetInside(const WidthsType & lower, const WidthsType & upper)
{
  m_HasInside = true;
  m_InsideLower = lower;
  m_InsideUpper = upper;
}

template <typename TInputImage, typename TOutputImage>
void
AxisAlignedResampleImageFilter<TInputImage, TOutputImage>::SetValid(const RegionType & valid)
{
  m_HasValid = true;
  m_Valid = valid;
}

template <typename TInputImage, typename TOutputImage>
double
AxisAlignedResampleImageFilter<TInputImage, TOutputImage>::SmoothingWidth(double from, double to)
{
  return to > from ? std::sqrt(to * to - from * from) / from : 0.0;
}

template <typename TInputImage, typename TOutputImage>
AxisAlignedLinearSampler
AxisAlignedResampleImageFilter<TInputImage, TOutputImage>::MakeSampler() const
{
  AxisAlignedLinearSampler sampler(m_Mapping, this->GetInput()->GetLargestPossibleRegion(), m_Interpolation);
  sampler.SetFullWidthAtHalfMaximum(m_Widths);
  sampler.SetBorder(m_Border);
  if (m_HasInside)
  {
    sampler.SetInside(m_InsideLower, m_InsideUpper);
  }
  if (m_HasValid)
  {
    sampler.SetValid(m_Valid);
  }
  return sampler;
}

template <typename TInputImage, typename TOutputImage>
void
AxisAlignedResampleImageFilter<TInputImage, TOutputImage>::GenerateInputRequestedRegion()
{
  auto * input = const_cast<TInputImage *>(this->GetInput());
  for (const auto & name : this->GetInputNames())
  {
    RequestGeometry(dynamic_cast<const ImageBase<3> *>(this->ProcessObject::GetInput(name)));
  }
  input->SetRequestedRegion(this->MakeSampler().ComputeInputRegion(this->GetOutput()->GetRequestedRegion()));
}

template <typename TInputImage, typename TOutputImage>
void
AxisAlignedResampleImageFilter<TInputImage, TOutputImage>::DynamicThreadedGenerateData(const RegionType & outputRegion)
{
  using OutputValueType = typename TOutputImage::InternalPixelType;
  const TInputImage * input = this->GetInput();
  TOutputImage *      output = this->GetOutput();
  const unsigned int  components = input->GetNumberOfComponentsPerPixel();

  std::vector<OutputValueType> outside(components, OutputValueType{});
  for (unsigned int c = 0; c < components && m_OutsideValue.Size() > 0; ++c)
  {
    outside[c] = AxisAlignedLinearSampler::ToPixel<OutputValueType>(m_OutsideValue[m_OutsideValue.Size() == 1 ? 0 : c]);
  }
  this->MakeSampler().Sample(input->GetBufferPointer(),
                             input->GetBufferedRegion(),
                             components,
                             output->GetBufferPointer(),
                             output->GetBufferedRegion(),
                             outputRegion,
                             outside.data());
}

template <typename TInputImage, typename TOutputImage>
void
AxisAlignedResampleImageFilter<TInputImage, TOutputImage>::PrintSelf(std::ostream & os, Indent indent) const
{
  Superclass::PrintSelf(os, indent);
  os << indent << "Interpolation: " << m_Interpolation << std::endl;
  os << indent << "Border: " << m_Border << std::endl;
  os << indent << "OutsideValue: " << m_OutsideValue << std::endl;
  os << indent << "Mapping: " << m_Mapping << std::endl;
  os << indent << "Widths: " << m_Widths[0] << ", " << m_Widths[1] << ", " << m_Widths[2] << std::endl;
  os << indent << "HasInside: " << (m_HasInside ? "On" : "Off") << std::endl;
  os << indent << "InsideLower: " << m_InsideLower[0] << ", " << m_InsideLower[1] << ", " << m_InsideLower[2]
     << std::endl;
  os << indent << "InsideUpper: " << m_InsideUpper[0] << ", " << m_InsideUpper[1] << ", " << m_InsideUpper[2]
     << std::endl;
  os << indent << "RegionBefore: " << m_RegionBefore << std::endl;
  os << indent << "HasValid: " << (m_HasValid ? "On" : "Off") << std::endl;
  os << indent << "Valid: " << m_Valid << std::endl;
}
} // namespace itk

#endif // itkAxisAlignedResampleImageFilter_hxx
