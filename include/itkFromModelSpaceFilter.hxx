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
#ifndef itkFromModelSpaceFilter_hxx
#define itkFromModelSpaceFilter_hxx

#include "itkFromModelSpaceFilter.h"

#include <algorithm>
#include <cmath>

namespace itk
{
template <typename TInputImage, typename TOutputImage>
FromModelSpaceFilter<TInputImage, TOutputImage>::FromModelSpaceFilter()
{
  this->AddRequiredInputName("ReferenceImage", 1);
  this->SetDirectionTolerance(std::max(1e-3, this->GetDirectionTolerance()));
}

template <typename TInputImage, typename TOutputImage>
void
FromModelSpaceFilter<TInputImage, TOutputImage>::SetModelMapping(const MappingType & mapping)
{
  if (!m_HasModelMapping || mapping.Axis != m_ModelMapping.Axis || mapping.Scale != m_ModelMapping.Scale ||
      mapping.Offset != m_ModelMapping.Offset)
  {
    m_HasModelMapping = true;
    m_ModelMapping = mapping;
    this->Modified();
  }
}

template <typename TInputImage, typename TOutputImage>
void
FromModelSpaceFilter<TInputImage, TOutputImage>::ClearModelMapping()
{
  if (m_HasModelMapping)
  {
    m_HasModelMapping = false;
    m_ModelMapping = MappingType{};
    this->Modified();
  }
}

template <typename TInputImage, typename TOutputImage>
void
FromModelSpaceFilter<TInputImage, TOutputImage>::VerifyPreconditions() const
{
  Superclass::VerifyPreconditions();
  bool used[3] = { false, false, false };
  for (unsigned int a = 0; a < 3; ++a)
  {
    if (m_ModelMapping.Axis[a] > 2 || used[m_ModelMapping.Axis[a]] || !std::isfinite(m_ModelMapping.Offset[a]) ||
        !std::isfinite(m_ModelMapping.Scale[a]) || m_ModelMapping.Scale[a] == 0.0)
    {
      itkExceptionMacro("ModelMapping is no permutation with finite offsets and scales other than 0: "
                        << m_ModelMapping << ". Take it from ModelSpaceFilter::GetMapping().");
    }
    used[m_ModelMapping.Axis[a]] = true;
  }
}

template <typename TInputImage, typename TOutputImage>
void
FromModelSpaceFilter<TInputImage, TOutputImage>::VerifyInputInformation() const
{
  // The map and the reference have different grids by purpose.
  this->VerifyPrimaryInput();
  const RegionType & whole = this->GetInput()->GetLargestPossibleRegion();
  if (m_ValidRegion.GetNumberOfPixels() > 0 && !whole.IsInside(m_ValidRegion))
  {
    itkExceptionMacro("ValidRegion has index " << m_ValidRegion.GetIndex() << " and size " << m_ValidRegion.GetSize()
                                               << " but the map has index " << whole.GetIndex() << " and size "
                                               << whole.GetSize() << ". Take it from the filter that cut the map.");
  }
}

template <typename TInputImage, typename TOutputImage>
typename FromModelSpaceFilter<TInputImage, TOutputImage>::MappingType
FromModelSpaceFilter<TInputImage, TOutputImage>::MappingFromHeaders() const
{
  const TInputImage *        map = this->GetInput();
  const ReferenceImageType * reference = this->GetReferenceImage();
  MappingType                mapping;
  // origin of the map on the reference's grid
  const auto corner = reference->template TransformPhysicalPointToContinuousIndex<double>(map->GetOrigin());
  for (unsigned int a = 0; a < 3; ++a)
  {
    double cosines[3] = { 0.0, 0.0, 0.0 };
    for (unsigned int d = 0; d < 3; ++d)
    {
      for (unsigned int row = 0; row < 3; ++row)
      {
        cosines[d] += reference->GetDirection()[row][d] * map->GetDirection()[row][a];
      }
      if (std::abs(cosines[d]) > std::abs(cosines[mapping.Axis[a]]))
      {
        mapping.Axis[a] = d;
      }
    }
    for (unsigned int d = 0; d < 3; ++d)
    {
      if (d != mapping.Axis[a] && std::abs(cosines[d]) > this->GetDirectionTolerance())
      {
        itkExceptionMacro("The map's axis "
                          << a << " is not parallel to an axis of the reference: the cosine with axis " << d << " is "
                          << cosines[d] << ", more than DirectionTolerance " << this->GetDirectionTolerance()
                          << ". Give the image that the model space was made from.");
      }
    }
    const unsigned int axis = mapping.Axis[a];
    const double       ratio = map->GetSpacing()[a] / reference->GetSpacing()[axis];
    constexpr double   steps = 1048576.0;
    mapping.Scale[a] = cosines[axis] < 0.0 ? -ratio : ratio;
    mapping.Offset[a] = std::floor(corner[axis] * steps + 0.5) / steps;
  }
  return mapping;
}

template <typename TInputImage, typename TOutputImage>
void
FromModelSpaceFilter<TInputImage, TOutputImage>::GenerateOutputInformation()
{
  Superclass::GenerateOutputInformation();
  const ReferenceImageType * reference = this->GetReferenceImage();
  TOutputImage *             output = this->GetOutput();
  const MappingType          mapping = m_HasModelMapping ? m_ModelMapping : this->MappingFromHeaders();
  output->SetOrigin(reference->GetOrigin());
  output->SetSpacing(reference->GetSpacing());
  output->SetDirection(reference->GetDirection());
  this->SetOutputRegion(reference->GetLargestPossibleRegion());
  this->SetSampling(mapping.Inverse(), { { 0.0, 0.0, 0.0 } });
  if (m_ValidRegion.GetNumberOfPixels() > 0)
  {
    this->SetValid(m_ValidRegion);
  }
}

template <typename TInputImage, typename TOutputImage>
void
FromModelSpaceFilter<TInputImage, TOutputImage>::PrintSelf(std::ostream & os, Indent indent) const
{
  Superclass::PrintSelf(os, indent);
  os << indent << "HasModelMapping: " << (m_HasModelMapping ? "On" : "Off") << std::endl;
  os << indent << "ModelMapping: " << m_ModelMapping << std::endl;
  os << indent << "ValidRegion: " << m_ValidRegion << std::endl;
}
} // namespace itk

#endif // itkFromModelSpaceFilter_hxx
