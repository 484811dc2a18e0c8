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
#ifndef itkModelSpaceFilter_hxx
#define itkModelSpaceFilter_hxx

#include "itkModelSpaceFilter.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace itk
{
template <typename TInputImage, typename TOutputImage>
ModelSpaceFilter<TInputImage, TOutputImage>::ModelSpaceFilter()
{
  m_OutputSpacing.Fill(0.0);
  m_Anchor.Fill(0.0);
}

template <typename TInputImage, typename TOutputImage>
void
ModelSpaceFilter<TInputImage, TOutputImage>::SetAnchor(const AnchorType & anchor)
{
  if (m_Anchor != anchor || !m_UseAnchor)
  {
    m_Anchor = anchor;
    m_UseAnchor = true;
    this->Modified();
  }
}

template <typename TInputImage, typename TOutputImage>
void
ModelSpaceFilter<TInputImage, TOutputImage>::VerifyPreconditions() const
{
  Superclass::VerifyPreconditions();
  if (!m_OutputOrientation.empty())
  {
    unsigned int seen[3] = { 0, 0, 0 };
    for (const char letter : m_OutputOrientation)
    {
      seen[0] += letter == 'L' || letter == 'R';
      seen[1] += letter == 'P' || letter == 'A';
      seen[2] += letter == 'S' || letter == 'I';
    }
    if (m_OutputOrientation.size() != 3 || seen[0] != 1 || seen[1] != 1 || seen[2] != 1)
    {
      itkExceptionMacro("OutputOrientation is \"" << m_OutputOrientation
                                                  << "\"; give three letters, one each of L or R, P or A, S or I, such "
                                                     "as \"LPS\", or nothing to keep the image's axes.");
    }
  }
  for (unsigned int a = 0; a < 3; ++a)
  {
    if (!(std::isfinite(m_OutputSpacing[a]) && m_OutputSpacing[a] >= 0.0))
    {
      itkExceptionMacro("OutputSpacing of axis " << a << " is " << m_OutputSpacing[a]
                                                 << " mm; set a positive number, or 0 to keep the image's spacing.");
    }
  }
  if (m_AnchorMultiple < 1 || m_AnchorMultiple > 1024)
  {
    itkExceptionMacro("AnchorMultiple is " << m_AnchorMultiple << "; set a number from 1 to 1024.");
  }
}

template <typename TInputImage, typename TOutputImage>
void
ModelSpaceFilter<TInputImage, TOutputImage>::GenerateOutputInformation()
{
  Superclass::GenerateOutputInformation();
  const TInputImage * input = this->GetInput();
  TOutputImage *      output = this->GetOutput();
  const RegionType    inputRegion = input->GetLargestPossibleRegion();

  MappingType         mapping;
  std::array<bool, 3> flip{ { false, false, false } };
  if (!m_OutputOrientation.empty())
  {
    const auto & direction = input->GetDirection();
    const auto   nearest = NearestImageAxes(direction);
    for (unsigned int a = 0; a < 3; ++a)
    {
      const char         letter = m_OutputOrientation[a];
      const unsigned int row = letter == 'L' || letter == 'R' ? 0 : (letter == 'P' || letter == 'A' ? 1 : 2);
      const double       sign = letter == 'L' || letter == 'P' || letter == 'S' ? 1.0 : -1.0;
      mapping.Axis[a] = nearest[row];
      flip[a] = direction[row][nearest[row]] * sign < 0.0;
    }
  }

  typename Superclass::WidthsType widths{ { 0.0, 0.0, 0.0 } };
  SpacingType                     spacing;
  RegionType                      region;
  for (unsigned int a = 0; a < 3; ++a)
  {
    const unsigned int d = mapping.Axis[a];
    const double       from = input->GetSpacing()[d];
    const bool         keep = m_OutputSpacing[a] == 0.0 || std::abs(m_OutputSpacing[a] / from - 1.0) <= 1e-6;
    const double       ratio = keep ? 1.0 : m_OutputSpacing[a] / from;
    const auto         inputSize = static_cast<double>(inputRegion.GetSize(d));
    double             size = std::max(1.0, std::ceil(inputSize / ratio - 1e-6));
    double             inputPlace = static_cast<double>(inputRegion.GetIndex(d)) + 0.5 * (inputSize - 1.0);
    double             outputPlace = 0.5 * (size - 1.0);
    if (m_UseAnchor)
    {
      const double start = static_cast<double>(inputRegion.GetIndex(d));
      if (!(m_Anchor[d] >= start - 0.5 && m_Anchor[d] <= start + inputSize - 0.5))
      {
        itkExceptionMacro("Anchor of axis " << d << " is " << m_Anchor[d] << ", but the image's indices go from "
                                            << start << " to " << start + inputSize - 1.0
                                            << "; set a place inside the image.");
      }
      inputPlace = keep ? std::min(std::round(m_Anchor[d]), start + inputSize - 1.0) : m_Anchor[d];
      // How many voxels it takes on either side to reach the input's edges.
      const double multiple = m_AnchorMultiple;
      const double first = (inputPlace - start + 0.5) / ratio - 0.5 - 1e-6;
      const double last = (start + inputSize - 0.5 - inputPlace) / ratio - 0.5 - 1e-6;
      outputPlace = multiple * std::max(0.0, std::ceil((flip[a] ? last : first) / multiple));
      size = outputPlace + 1.0 + std::max(0.0, std::ceil(flip[a] ? first : last));
    }
    if (size > 65536.0)
    {
      itkExceptionMacro("OutputSpacing of axis " << a << " is " << m_OutputSpacing[a] << " mm: " << size
                                                 << " voxels. Set a spacing in mm that is nearer to the image's, "
                                                 << from << " mm.");
    }
    spacing[a] = keep ? from : m_OutputSpacing[a];
    widths[d] = keep ? 0.0 : Superclass::SmoothingWidth(from, m_OutputSpacing[a]);
    mapping.Scale[a] = flip[a] ? -ratio : ratio;
    mapping.Offset[a] = inputPlace - mapping.Scale[a] * outputPlace;
    region.SetIndex(a, 0);
    region.SetSize(a, static_cast<SizeValueType>(size));
  }
  mapping.ApplyGeometry(*input, *output);
  output->SetSpacing(spacing);
  this->SetOutputRegion(region);
  this->SetSampling(mapping, widths);
}

template <typename TInputImage, typename TOutputImage>
void
ModelSpaceFilter<TInputImage, TOutputImage>::PrintSelf(std::ostream & os, Indent indent) const
{
  Superclass::PrintSelf(os, indent);
  os << indent << "OutputOrientation: " << m_OutputOrientation << std::endl;
  os << indent << "OutputSpacing: " << m_OutputSpacing << std::endl;
  os << indent << "Anchor: " << m_Anchor << std::endl;
  os << indent << "UseAnchor: " << (m_UseAnchor ? "On" : "Off") << std::endl;
  os << indent << "AnchorMultiple: " << m_AnchorMultiple << std::endl;
}
} // namespace itk

#endif // itkModelSpaceFilter_hxx
