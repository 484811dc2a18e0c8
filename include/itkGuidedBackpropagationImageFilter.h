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
#ifndef itkGuidedBackpropagationImageFilter_h
#define itkGuidedBackpropagationImageFilter_h

#include "itkTorchExplanationImageFilter.h"
#include "itkVectorImage.h"

namespace itk
{
/** \class GuidedBackpropagationImageFilter
 * \brief Guided backpropagation of a class through a grading model: a signed map, one component a sequence.
 *
 * The gradient of the class's logit to the input, in which every ReLU passes
 * \f[ R_\mathrm{in} = R_\mathrm{out} \cdot [y > 0] \cdot [R_\mathrm{out} > 0] \f]
 * (Springenberg et al., ICLR workshop 2015). Refused unless every ReLU that ran followed that rule, and where the model
 * has other activations (AllowOtherActivations), which have no guided backpropagation. The map lies on the region's
 * voxels, or on the reference image's.
 * \sa TorchExplanationImageFilter, GradCAMImageFilter, ExplanationQualityFilter
 * \ingroup GliomaGrading
 */
template <typename TInputImage = VectorImage<float, 3>, typename TOutputImage = VectorImage<float, 3>>
class ITK_TEMPLATE_EXPORT GuidedBackpropagationImageFilter
  : public TorchExplanationImageFilter<TInputImage, TOutputImage>
{
public:
  ITK_DISALLOW_COPY_AND_MOVE(GuidedBackpropagationImageFilter);

  using Self = GuidedBackpropagationImageFilter;
  using Superclass = TorchExplanationImageFilter<TInputImage, TOutputImage>;
  using Pointer = SmartPointer<Self>;
  using ConstPointer = SmartPointer<const Self>;

  itkNewMacro(Self);
  itkOverrideGetNameOfClassMacro(GuidedBackpropagationImageFilter);

  /** Let other activations than ReLU pass their own gradient; GetOtherActivations() names them. Default: off, such a
   * model is refused. */
  itkSetMacro(AllowOtherActivations, bool);
  itkGetConstMacro(AllowOtherActivations, bool);
  itkBooleanMacro(AllowOtherActivations);

  /** The activations that passed their own gradient; empty before an update. */
  std::vector<std::string>
  GetOtherActivations() const
  {
    const auto explanation = this->GetExplanation();
    return explanation ? explanation->OtherActivations : std::vector<std::string>();
  }

protected:
  GuidedBackpropagationImageFilter();
  ~GuidedBackpropagationImageFilter() override = default;
  void
  PrintSelf(std::ostream & os, Indent indent) const override;

  TorchExplanationRequest
  MakeRequest() const override;
  std::vector<typename Superclass::MapOnCells>
  FindMaps(const TorchExplanation & explanation, unsigned int label) const override;

private:
  bool m_AllowOtherActivations{ false };
};
} // namespace itk

#ifndef ITK_MANUAL_INSTANTIATION
#  include "itkGuidedBackpropagationImageFilter.hxx"
#endif

#endif // itkGuidedBackpropagationImageFilter_h
