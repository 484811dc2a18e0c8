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
#ifndef itkAxisAlignedResampleImageFilter_h
#define itkAxisAlignedResampleImageFilter_h

#include "itkArray.h"
#include "itkAxisAlignedLinearSampler.h"
#include "itkGliomaGradingCompat.h"
#include "itkImageToImageFilter.h"

namespace itk
{
/** \class AxisAlignedResampleImageFilter
 * \brief Base of the filters that resample an image along its own axes, in index space.
 *
 * A derived filter computes the mapping and the output's geometry in GenerateOutputInformation() and hands them to
 * SetSampling() and SetOutputRegion(). This class asks the input for the voxels that a region of the output needs, and
 * samples them with AxisAlignedLinearSampler. Voxels outside the input get `OutsideValue`. The images are
 * three-dimensional, scalar or `itk::VectorImage`. Of the other inputs the geometry alone is used, unless a derived
 * filter asks for their voxels.
 *
 * \sa AxisAlignedLinearSampler ModelSpaceFilter FromModelSpaceFilter BoundingBoxROIFilter
 * \ingroup GliomaGrading
 */
template <typename TInputImage, typename TOutputImage = TInputImage>
class ITK_TEMPLATE_EXPORT AxisAlignedResampleImageFilter : public ImageToImageFilter<TInputImage, TOutputImage>
{
public:
  ITK_DISALLOW_COPY_AND_MOVE(AxisAlignedResampleImageFilter);

  using Self = AxisAlignedResampleImageFilter;
  using Superclass = ImageToImageFilter<TInputImage, TOutputImage>;
  using Pointer = SmartPointer<Self>;
  using ConstPointer = SmartPointer<const Self>;

  itkOverrideGetNameOfClassMacro(AxisAlignedResampleImageFilter);

  static constexpr unsigned int ImageDimension = TInputImage::ImageDimension;
  static_assert(ImageDimension == 3 && TOutputImage::ImageDimension == 3, "Images are three-dimensional.");

  using InputImageType = TInputImage;
  using OutputImageType = TOutputImage;
  using RegionType = typename TOutputImage::RegionType;
  using SpacingType = typename TOutputImage::SpacingType;
  using MappingType = AxisAlignedMapping;
  using InterpolationEnum = AxisAlignedLinearSamplerEnums::Interpolation;
  using BorderEnum = AxisAlignedLinearSamplerEnums::Border;
  using OutsideValueType = Array<double>;

  /** \brief How a value between voxels is found; NearestNeighbor for labels. Default Linear. */
  itkSetMacro(Interpolation, InterpolationEnum);
  itkGetConstMacro(Interpolation, InterpolationEnum);

  /** \brief What linear interpolation makes of the half voxel beyond the outermost centres: their value (as ITK's own
   * interpolator), or the line through the two outermost. Default Repeat. */
  itkSetMacro(Border, BorderEnum);
  itkGetConstMacro(Border, BorderEnum);

  /** \brief Value of voxels outside the input: one number, or one for each component. An output of integers gets it
   * rounded and limited to what its type holds. Default empty: 0. */
  virtual void
  SetOutsideValue(const OutsideValueType & value)
  {
    if (m_OutsideValue != value)
    {
      m_OutsideValue = value;
      this->Modified();
    }
  }
  itkGetConstReferenceMacro(OutsideValue, OutsideValueType);
  void
  SetOutsideValue(double value)
  {
    OutsideValueType values(1);
    values.Fill(value);
    this->SetOutsideValue(values);
  }

  /** \brief How output indices lie on the input's grid. Valid after UpdateOutputInformation(). */
  const MappingType &
  GetMapping() const
  {
    return m_Mapping;
  }

protected:
  using WidthsType = AxisAlignedLinearSampler::WidthsType;

  AxisAlignedResampleImageFilter() = default;
  ~AxisAlignedResampleImageFilter() override = default;

  void
  PrintSelf(std::ostream & os, Indent indent) const override;

  void
  VerifyPreconditions() const override;

  void
  VerifyInputInformation() const override;

  /** The geometry of the output is the derived filter's; components and dictionary are copied from the input here. */
  void
  GenerateOutputInformation() override;

  void
  GenerateInputRequestedRegion() override;

  void
  DynamicThreadedGenerateData(const RegionType & outputRegion) override;

  /** The checks of the primary input alone. */
  void
  VerifyPrimaryInput() const;

  /** For derived classes: the output's largest possible region. */
  void
  SetOutputRegion(const RegionType & region);

  /** For derived classes: mapping and the widths of the Gaussian, in voxels of each input axis. */
  void
  SetSampling(const MappingType & mapping, const WidthsType & widths);

  /** For derived classes: continuous indices of the input at which a sample counts as inside. */
  void
  SetInside(const WidthsType & lower, const WidthsType & upper);

  /** For derived classes: the voxels of the input that count. */
  void
  SetValid(const RegionType & valid);

  /** FWHM in voxels of the Gaussian that takes `from` to `to` mm: sqrt(to^2 - from^2), 0 if `to` is not coarser. */
  static double
  SmoothingWidth(double from, double to);

private:
  AxisAlignedLinearSampler
  MakeSampler() const;

  InterpolationEnum m_Interpolation{ InterpolationEnum::Linear };
  BorderEnum        m_Border{ BorderEnum::Repeat };
  OutsideValueType  m_OutsideValue{};

  // Computed in GenerateOutputInformation.
  MappingType m_Mapping{};
  WidthsType  m_Widths{ { 0.0, 0.0, 0.0 } };
  bool        m_HasInside{ false };
  WidthsType  m_InsideLower{ { 0.0, 0.0, 0.0 } };
  WidthsType  m_InsideUpper{ { 0.0, 0.0, 0.0 } };
  bool        m_HasValid{ false };
  RegionType  m_Valid{};
  RegionType  m_RegionBefore{};
};
} // namespace itk

#ifndef ITK_MANUAL_INSTANTIATION
#  include "itkAxisAlignedResampleImageFilter.hxx"
#endif

#endif // itkAxisAlignedResampleImageFilter_h
