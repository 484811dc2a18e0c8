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
#ifndef itkGuidedBackpropagationImageFilter_hxx
#define itkGuidedBackpropagationImageFilter_hxx

#include <algorithm>

namespace itk
{
template <typename TInputImage, typename TOutputImage>
GuidedBackpropagationImageFilter<TInputImage, TOutputImage>::GuidedBackpropagationImageFilter()
{
  this->SetNumberOfMaps(1);
}

template <typename TInputImage, typename TOutputImage>
TorchExplanationRequest
GuidedBackpropagationImageFilter<TInputImage, TOutputImage>::MakeRequest() const
{
  TorchExplanationRequest request;
  request.GuidedBackpropagation = true;
  request.AllowOtherActivations = m_AllowOtherActivations;
  return request;
}

template <typename TInputImage, typename TOutputImage>
auto
GuidedBackpropagationImageFilter<TInputImage, TOutputImage>::FindMaps(const TorchExplanation & explanation,
                                                                      unsigned int             label) const
  -> std::vector<typename Superclass::MapOnCells>
{
  const auto found = std::find_if(explanation.Guided.begin(),
                                  explanation.Guided.end(),
                                  [&](const TorchGuidedMap & map) { return map.Class == label; });
  if (found == explanation.Guided.end())
  {
    itkExceptionMacro("The explanation has no guided backpropagation for class " << label);
  }
  TorchLayerGeometry voxels; // the input's own
  voxels.Layer = "input";
  if (found->Map.RegionSize != this->GetInput()->GetLargestPossibleRegion().GetSize())
  {
    itkExceptionMacro("The explanation has " << found->Map.RegionSize << " voxels, the region "
                                             << this->GetInput()->GetLargestPossibleRegion().GetSize()
                                             << ": it explains another region");
  }
  return { { &found->Map, voxels } };
}

template <typename TInputImage, typename TOutputImage>
void
GuidedBackpropagationImageFilter<TInputImage, TOutputImage>::PrintSelf(std::ostream & os, Indent indent) const
{
  Superclass::PrintSelf(os, indent);
  os << indent << "AllowOtherActivations: " << (m_AllowOtherActivations ? "On" : "Off") << std::endl;
}
} // namespace itk

#endif // itkGuidedBackpropagationImageFilter_hxx
