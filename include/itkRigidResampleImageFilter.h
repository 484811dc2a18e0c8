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
#ifndef itkRigidResampleImageFilter_h
#define itkRigidResampleImageFilter_h

#include "itkGliomaGradingCompat.h"
#include "itkImage.h"
#include "itkImageToImageFilter.h"
#include "itkTransform.h"

namespace itk
{
/** \class RigidResampleImageFilter
 * \brief Brings an image onto another grid through a rigid transform, without aliasing and without a dark rim.
 *
 * The transform takes physical points of the output to physical points of the input (mm), as ITK's registration gives
 * it. An axis of the input that is finer than the output's spacing along it is smoothed before with a Gaussian of FWHM
 * \f$\sqrt{to^2 - from^2}\f$ mm (Cardoso et al. 2015), as ModelSpaceFilter does. The interpolation is linear.
 *
 * With IgnoreZeros, voxels that are exactly 0 are the outside of a skull-stripped image and say nothing: with \f$w\f$
 * the weights of smoothing and interpolation and \f$m\f$ 1 where the image is not 0, the output is
 * \f$\sum w v / \sum w m\f$ where \f$\sum w m \ge 0.5\f$, and 0 elsewhere. The brain then keeps its size and its values
 * up to its border, whatever the thickness of the slices. Voxels of the output outside the input are 0.
 *
 * The output has the geometry of the reference image, whose voxels are not looked at, and the dictionary of the input.
 * An output of integers gets the values rounded and limited to what its type holds. The filter needs the whole input
 * and makes the whole output.
 * \sa RigidRegistrationFilter
 * \ingroup GliomaGrading
 */
template <typename TInputImage = Image<float, 3>, typename TOutputImage = Image<float, 3>>
class ITK_TEMPLATE_EXPORT RigidResampleImageFilter : public ImageToImageFilter<TInputImage, TOutputImage>
{
public:
  ITK_DISALLOW_COPY_AND_MOVE(RigidResampleImageFilter);

  using Self = RigidResampleImageFilter;
  using InputImageType = TInputImage;
  using OutputImageType = TOutputImage;
  using Superclass = ImageToImageFilter<InputImageType, OutputImageType>;
  using Pointer = SmartPointer<Self>;
  using ConstPointer = SmartPointer<const Self>;

  itkNewMacro(Self);
  itkOverrideGetNameOfClassMacro(RigidResampleImageFilter);

  static constexpr unsigned int ImageDimension = TInputImage::ImageDimension;
  static_assert(ImageDimension == 3 && TOutputImage::ImageDimension == 3, "Images are three-dimensional.");

  using ReferenceImageType = ImageBase<3>;
  using TransformType = Transform<double, 3, 3>;

  /** \brief Image whose grid the output gets; its voxels are not looked at. Required. */
  itkSetInputMacro(ReferenceImage, ReferenceImageType);
  itkGetInputMacro(ReferenceImage, ReferenceImageType);

  /** \brief From physical points of the output to those of the input. Default: none, the identity. */
  itkSetConstObjectMacro(Transform, TransformType);
  itkGetConstObjectMacro(Transform, TransformType);

  /** \brief Whether voxels that are 0 lie outside the image's object. Default: off. */
  itkSetMacro(IgnoreZeros, bool);
  itkGetConstMacro(IgnoreZeros, bool);
  itkBooleanMacro(IgnoreZeros);

  ModifiedTimeType
  GetMTime() const override;

protected:
  RigidResampleImageFilter();
  ~RigidResampleImageFilter() override = default;

  void
  PrintSelf(std::ostream & os, Indent indent) const override;
  void
  VerifyPreconditions() const override;
  void
  VerifyInputInformation() const override;
  void
  GenerateOutputInformation() override;
  void
  GenerateInputRequestedRegion() override;
  void
  EnlargeOutputRequestedRegion(DataObject * output) override;
  void
  GenerateData() override;

private:
  using RealImageType = Image<float, 3>;

  void
  Smooth(RealImageType * image) const;

  typename TransformType::ConstPointer m_Transform{};
  bool                                 m_IgnoreZeros{ false };
};
} // namespace itk

#ifndef ITK_MANUAL_INSTANTIATION
#  include "itkRigidResampleImageFilter.hxx"
#endif

#endif // itkRigidResampleImageFilter_h
