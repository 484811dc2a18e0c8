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
#ifndef itkGradCAMImageFilter_h
#define itkGradCAMImageFilter_h

#include "itkTorchExplanationImageFilter.h"
#include "itkVectorImage.h"

#include <string>
#include <vector>

namespace itk
{
/** \class GradCAMImageFilter
 * \brief Gradient-weighted class activation maps of a grading model: one image a layer, and its support.
 *
 * \f[ E_c = \max\Bigl(\sum_l \alpha_l^c F^l, 0\Bigr), \qquad
 *     \alpha_l^c = \frac{1}{N} \sum_i \frac{\partial z_c}{\partial F_i^l} \f]
 * with the feature maps \f$F^l\f$ of a layer, its \f$N\f$ cells \f$i\f$ and the class's logit \f$z_c\f$ (Selvaraju et
 * al., ICCV 2017). Output i is the map of the i-th layer, GetSupport(i) its support. Without a reference image a map
 * has the true origin and spacing of its layer's cells: it is not stretched over the region. Raw magnitudes, without
 * scaling.
 * \sa TorchExplanationImageFilter, GuidedBackpropagationImageFilter, ExplanationQualityFilter
 * \ingroup GliomaGrading
 */
template <typename TInputImage = VectorImage<float, 3>, typename TOutputImage = Image<float, 3>>
class ITK_TEMPLATE_EXPORT GradCAMImageFilter : public TorchExplanationImageFilter<TInputImage, TOutputImage>
{
public:
  ITK_DISALLOW_COPY_AND_MOVE(GradCAMImageFilter);

  using Self = GradCAMImageFilter;
  using Superclass = TorchExplanationImageFilter<TInputImage, TOutputImage>;
  using Pointer = SmartPointer<Self>;
  using ConstPointer = SmartPointer<const Self>;
  using typename Superclass::ArrayType;

  itkNewMacro(Self);
  itkOverrideGetNameOfClassMacro(GradCAMImageFilter);

  /** Layers to explain, by the names of TorchModel::GetLayerNames(). Default: none. */
  void
  AddLayerName(const std::string & layer);
  void
  ClearLayerNames();
  void
  SetLayerNames(const std::vector<std::string> & layers);
  const std::vector<std::string> &
  GetLayerNames() const
  {
    return m_LayerNames;
  }

  /** Map of a layer that was added; throws where it was not. */
  TOutputImage *
  GetMap(const std::string & layer);
  const TOutputImage *
  GetMap(const std::string & layer) const;

  /** For each layer 1 where its map has a cell above zero, 0 where it is empty and must not be drawn. */
  itkGetDecoratedOutputMacro(HasPositiveCell, ArrayType);

  using Superclass::MakeOutput;
  DataObject::Pointer
  MakeOutput(const DataObject::DataObjectIdentifierType & name) override;

protected:
  GradCAMImageFilter();
  ~GradCAMImageFilter() override = default;
  void
  PrintSelf(std::ostream & os, Indent indent) const override;

  itkSetDecoratedOutputMacro(HasPositiveCell, ArrayType);

  void
  VerifyPreconditions() const override;
  void
  GenerateData() override;
  TorchExplanationRequest
  MakeRequest() const override;
  std::vector<typename Superclass::MapOnCells>
  FindMaps(const TorchExplanation & explanation, unsigned int label) const override;

private:
  unsigned int
  NumberOfMap(const std::string & layer) const;

  std::vector<std::string> m_LayerNames;
};
} // namespace itk

#ifndef ITK_MANUAL_INSTANTIATION
#  include "itkGradCAMImageFilter.hxx"
#endif

#endif // itkGradCAMImageFilter_h
