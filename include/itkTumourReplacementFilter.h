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
#ifndef itkTumourReplacementFilter_h
#define itkTumourReplacementFilter_h

#include "itkGliomaGradingCompat.h"
#include "itkImageToImageFilter.h"
#include "itkVectorImage.h"

#include <array>
#include <cmath>
#include <vector>

namespace itk
{
/** \class TumourReplacementFilter
 * \brief Puts healthy tissue of the brain's other half in the tumour's place.
 *
 * What a grader says of the result is a negative control: without its tumour a head has no grade, so that a grader
 * that is as sure as before has looked at something else, such as the scanner.
 *
 * For each component \f$ y = x + w\,(x_{mirror} - x) \f$, where the weight \f$w\f$ is 1 in the tumour and within
 * `Reach` mm of it, and falls to 0 over the next `Softness` mm as \f$ (1 + \cos)/2 \f$. What has a weight is not
 * healthy: where the mirrored voxel has one too, or is no brain, the mean of the healthy brain is taken;
 * GetFilledShare() says for how much of the tumour. Voxels outside the brain do not change.
 *
 * The mirror is a plane near the middle of the image's axis that runs from right to left: moved by up to 10 mm and
 * turned by up to 6 degrees about each other axis, it is the one with the highest correlation of the first component
 * with its mirror image, where both are healthy brain, times the share of the healthy brain for which there is one.
 *
 * The sequences come composed to one image, on the grid of both masks; the grids may differ by `CoordinateTolerance`
 * (of a voxel) and `DirectionTolerance`, both 1e-3 by default. The output streams: the mirror is found once for each
 * change upstream, and a piece is computed alone. Geometry and dictionary are the input's.
 *
 * An exception says that a mask is empty, that no voxel of the tumour lies in the brain, or that the brain has a value
 * that is not finite. Integers are rounded.
 *
 * \sa GliomaGradingFilter
 * \ingroup GliomaGrading
 */
template <typename TInputImage = VectorImage<float, 3>, typename TMaskImage = Image<unsigned char, 3>>
class ITK_TEMPLATE_EXPORT TumourReplacementFilter : public ImageToImageFilter<TInputImage, TInputImage>
{
public:
  ITK_DISALLOW_COPY_AND_MOVE(TumourReplacementFilter);

  using Self = TumourReplacementFilter;
  using Superclass = ImageToImageFilter<TInputImage, TInputImage>;
  using Pointer = SmartPointer<Self>;
  using ConstPointer = SmartPointer<const Self>;

  itkNewMacro(Self);
  itkOverrideGetNameOfClassMacro(TumourReplacementFilter);

  static_assert(TInputImage::ImageDimension == 3, "Images are three-dimensional.");

  using InputImageType = TInputImage;
  using MaskImageType = TMaskImage;
  using RegionType = typename TInputImage::RegionType;
  using IndexType = typename TInputImage::IndexType;

  /** \brief The tumour, not 0 inside. Required. */
  itkSetInputMacro(TumourMaskImage, MaskImageType);
  itkGetInputMacro(TumourMaskImage, MaskImageType);

  /** \brief The brain, not 0 inside. Required. */
  itkSetInputMacro(BrainMaskImage, MaskImageType);
  itkGetInputMacro(BrainMaskImage, MaskImageType);

  /** The masks as further inputs, so that Python's filter(image, tumour, brain) sets them. */
  void
  SetInput2(const MaskImageType * tumour)
  {
    this->SetTumourMaskImage(tumour);
  }
  void
  SetInput3(const MaskImageType * brain)
  {
    this->SetBrainMaskImage(brain);
  }

  /** \brief What lies so close to the tumour is replaced like it, mm. Default: 3. */
  itkSetMacro(Reach, double);
  itkGetConstMacro(Reach, double);

  /** \brief Over so many mm beyond the image's own voxels come back. Default: 3. */
  itkSetMacro(Softness, double);
  itkGetConstMacro(Softness, double);

  /** \brief Share of the tumour for which the other half has no healthy tissue, 0 to 1. Valid after Update(). */
  itkGetConstMacro(FilledShare, double);

protected:
  TumourReplacementFilter();
  ~TumourReplacementFilter() override = default;

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
  BeforeThreadedGenerateData() override;

  void
  DynamicThreadedGenerateData(const RegionType & region) override;

private:
  using MaskPixelType = typename MaskImageType::PixelType;
  using WeightImageType = Image<float, 3>;

  /** Along Axis, index i of a row becomes round(Sum + Slope . (others - Middle)) - i. */
  struct Mirror
  {
    unsigned int          Axis{ 0 };
    double                Sum{ 0.0 };
    std::array<double, 3> Slope{ { 0.0, 0.0, 0.0 } };
    std::array<double, 3> Middle{ { 0.0, 0.0, 0.0 } };

    IndexType
    Of(IndexType at) const
    {
      double sum = Sum;
      for (unsigned int a = 0; a < 3; ++a)
      {
        sum += Slope[a] * (static_cast<double>(at[a]) - Middle[a]);
      }
      at[Axis] = static_cast<IndexValueType>(std::lround(sum)) - at[Axis];
      return at;
    }
  };

  bool
  IsNear(const IndexType & at) const;
  bool
  IsHealthy(const IndexType & at) const;
  void
  FindWeights();
  void
  FindMirror();
  double
  LikenessOf(const Mirror & mirror, const std::vector<IndexType> & points) const;
  void
  FindMeans();

  double m_Reach{ 3.0 };
  double m_Softness{ 3.0 };
  double m_FilledShare{ 0.0 };

  // What is known of the inputs at m_Time: it holds for every piece.
  ModifiedTimeType                  m_Time{ 0 };
  typename WeightImageType::Pointer m_Weights; // in a box around the tumour
  Mirror                            m_Mirror;
  std::vector<double>               m_Means; // of the healthy brain, a component each
};
} // namespace itk

#ifndef ITK_MANUAL_INSTANTIATION
#  include "itkTumourReplacementFilter.hxx"
#endif

#endif // itkTumourReplacementFilter_h
