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
#ifndef itkGradeClassifierFilter_h
#define itkGradeClassifierFilter_h

#include "itkArray.h"
#include "itkProcessObject.h"
#include "itkSimpleDataObjectDecorator.h"
#include "itkTorchModel.h"
#include "itkVectorImage.h"

namespace itk
{
/** \class GradeClassifierFilter
 * \brief Grade of a region of interest: logits \f$z\f$ of a classifier and probabilities
 * \f$p_c = e^{z_c / T} / \sum_k e^{z_k / T}\f$.
 *
 * \f$T\f$ is the temperature of the model's manifest (TorchModelManifest::Temperature, 1 where it says none), which
 * calibrates the probabilities and changes neither logits nor grade (Guo et al., ICML 2017).
 *
 * The input is the region as BoundingBoxROIFilter cuts it from the standardized sequences; one component a sequence, in
 * the order of the model's manifest. Channels, size and what else the manifest says are enforced; every voxel must be
 * finite. All results are decorated outputs, without units. The whole region is read: this filter does not stream.
 *
 * The method is that of Pereira et al., MICCAI workshops 2018 (arXiv 1809.09468). Research use only.
 * \sa BoundingBoxROIFilter, GradCAMImageFilter, GuidedBackpropagationImageFilter
 * \ingroup GliomaGrading
 */
template <typename TInputImage = VectorImage<float, 3>>
class ITK_TEMPLATE_EXPORT GradeClassifierFilter : public ProcessObject
{
public:
  ITK_DISALLOW_COPY_AND_MOVE(GradeClassifierFilter);

  using Self = GradeClassifierFilter;
  using Superclass = ProcessObject;
  using Pointer = SmartPointer<Self>;
  using ConstPointer = SmartPointer<const Self>;

  itkNewMacro(Self);
  itkOverrideGetNameOfClassMacro(GradeClassifierFilter);

  using InputImageType = TInputImage;
  static constexpr unsigned int ImageDimension = TInputImage::ImageDimension;
  using ArrayType = Array<double>;

  /** The region of interest. */
  using Superclass::SetInput;
  void
  SetInput(const InputImageType * image);
  const InputImageType *
  GetInput() const;

  /** A loaded grading model. Default: none. */
  itkSetConstObjectMacro(Model, TorchModel);
  itkGetConstObjectMacro(Model, TorchModel);

  /** Probability of each class, calibrated by the manifest's temperature; they add up to 1. */
  itkGetDecoratedOutputMacro(Probabilities, ArrayType);
  /** What the network gave before the softmax, not divided by the temperature. */
  itkGetDecoratedOutputMacro(Logits, ArrayType);
  /** Number of the class with the largest probability. */
  itkGetDecoratedOutputMacro(Grade, unsigned long);
  /** Its name in the manifest, such as "LGG" or "HGG". */
  itkGetDecoratedOutputMacro(GradeName, std::string);

  using Superclass::MakeOutput;
  DataObject::Pointer
  MakeOutput(const DataObjectIdentifierType & name) override;

  /** Includes the model's. */
  ModifiedTimeType
  GetMTime() const override;

protected:
  GradeClassifierFilter();
  ~GradeClassifierFilter() override = default;
  void
  PrintSelf(std::ostream & os, Indent indent) const override;

  itkSetDecoratedOutputMacro(Probabilities, ArrayType);
  itkSetDecoratedOutputMacro(Logits, ArrayType);
  itkSetDecoratedOutputMacro(Grade, unsigned long);
  itkSetDecoratedOutputMacro(GradeName, std::string);

  void
  VerifyPreconditions() const override;
  void
  VerifyInputInformation() const override;
  void
  GenerateData() override;

private:
  TorchModel::ConstPointer m_Model;
};
} // namespace itk

#ifndef ITK_MANUAL_INSTANTIATION
#  include "itkGradeClassifierFilter.hxx"
#endif

#endif // itkGradeClassifierFilter_h
