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
#ifndef itkN4BiasCorrectionChainFilter_h
#define itkN4BiasCorrectionChainFilter_h

#include "itkImageToImageFilter.h"
#include "itkImage.h"
#include "itkSimpleDataObjectDecorator.h"
#include "itkTensorProductN4.h"

#include <ostream>
#include <string>

namespace itk
{
/** \class N4BiasCorrectionChainFilterEnums
 * \brief Enumerations of N4BiasCorrectionChainFilter.
 * \ingroup GliomaGrading
 */
class N4BiasCorrectionChainFilterEnums
{
public:
  /** \class Rescaling
   * \ingroup GliomaGrading
   * What happens to the scale of the corrected intensities, which N4 leaves open: nothing; one factor that keeps the
   * mean inside the mask; or the linear map that keeps the lowest and the highest intensity inside the mask. */
  enum class Rescaling : uint8_t
  {
    None,
    Mean,
    Range
  };
};

/** Prints the name of a rescaling. */
inline std::ostream &
operator<<(std::ostream & out, const N4BiasCorrectionChainFilterEnums::Rescaling value)
{
  using Rescaling = N4BiasCorrectionChainFilterEnums::Rescaling;
  return out << (value == Rescaling::None ? "none" : value == Rescaling::Mean ? "mean" : "range");
}

/** \class N4BiasCorrectionChainFilter
 * \brief Shrinks, fits N4's bias field, evaluates it at full resolution and divides the image by it.
 *
 * What users of N4 otherwise write by hand: every n-th voxel is taken along each axis (n: ShrinkFactors; those that
 * itk::ShrinkImageFilter takes of an image that starts at index 0), TensorProductN4 fits the log field \f$b\f$ on them,
 * and \f[ output(x) = input(x) / \exp(b(x)) . \f]
 * \f$b\f$ is evaluated where each voxel of the image truly lies between the voxels that were taken; beyond the first
 * and the last of them it keeps their value. (Stretching the lattice over the full grid, as SimpleITK's
 * GetLogBiasFieldAsImage and ANTs do, shifts the field by up to half the shrink factor.) The log field has no unit.
 *
 * The mask says where the image counts for the fit: non-zero voxels, or those of MaskLabel with UseMaskLabel. Without a
 * mask it is the voxels above Otsu's threshold (200 bins) of those taken. Voxels where the confidence is not positive
 * are left out, elsewhere it weighs them. So are voxels that are 0 or negative, which have no logarithm (ITK's filter
 * takes them as if they were logarithms); NumberOfNonPositiveVoxels tells how many, and they are divided like the
 * others.
 *
 * N4 leaves the mean of the field open, so that intensities drift. As in ITK's filter nothing is done about it unless
 * Rescaling asks for it: Mean multiplies all voxels by one factor, so that the mean inside the mask stays what it was
 * (0 stays 0, contrasts stay); Range maps the voxels inside the mask linearly, so that their lowest and highest value
 * stay what they were, as ANTs can, and leaves the others as they are. Both look at the positive voxels of the mask at
 * full resolution (without a mask: those above Otsu's threshold), which costs one more pass over the input. The log
 * field is not changed by it.
 *
 * An image that is constant inside the mask gets a field of zeros, and Status says so. NaN or infinite voxels inside
 * the mask (without a mask: anywhere) and a mask without a voxel on the fit's grid are refused. The grids of mask and
 * confidence may differ from the image's by `CoordinateTolerance` (of a voxel) and `DirectionTolerance`, both 1e-3 by
 * default.
 *
 * The fit is made in GenerateOutputInformation, which pulls its slices one by one through the pipeline, and once for a
 * change of the inputs or parameters. The division streams. Progress goes to 0.9 with the fit and to 1 with the
 * division; each iteration is an IterationEvent. Both images keep the meta-data dictionary of the input.
 *
 * \sa TensorProductN4
 * \ingroup GliomaGrading
 */
template <typename TInputImage,
          typename TMaskImage = Image<unsigned char, TInputImage::ImageDimension>,
          typename TOutputImage = TInputImage>
class ITK_TEMPLATE_EXPORT N4BiasCorrectionChainFilter : public ImageToImageFilter<TInputImage, TOutputImage>
{
public:
  ITK_DISALLOW_COPY_AND_MOVE(N4BiasCorrectionChainFilter);

  using Self = N4BiasCorrectionChainFilter;
  using Superclass = ImageToImageFilter<TInputImage, TOutputImage>;
  using Pointer = SmartPointer<Self>;
  using ConstPointer = SmartPointer<const Self>;

  itkNewMacro(Self);
  itkOverrideGetNameOfClassMacro(N4BiasCorrectionChainFilter);

  static constexpr unsigned int ImageDimension = TInputImage::ImageDimension;
  static_assert(ImageDimension == 2 || ImageDimension == 3, "N4BiasCorrectionChainFilter takes images of 2 or 3 axes.");

  using InputImageType = TInputImage;
  using MaskImageType = TMaskImage;
  using OutputImageType = TOutputImage;
  using MaskPixelType = typename TMaskImage::PixelType;
  using RealImageType = Image<float, ImageDimension>;
  using RegionType = typename TOutputImage::RegionType;
  using ControlPointsType = FixedArray<unsigned int, ImageDimension>;
  using ShrinkFactorsType = FixedArray<unsigned int, ImageDimension>;
  using LevelsType = FixedArray<unsigned int, ImageDimension>;
  using RescalingEnum = N4BiasCorrectionChainFilterEnums::Rescaling;
  using IterationsType = Array<unsigned int>;
  using MeasuresType = Array<double>;
  using DataObjectIdentifierType = typename Superclass::DataObjectIdentifierType;
  using DataObjectPointerArraySizeType = typename Superclass::DataObjectPointerArraySizeType;

  /** \brief Where the image counts for the fit, on the input's grid. Default: none (Otsu's threshold). */
  itkSetInputMacro(MaskImage, MaskImageType);
  itkGetInputMacro(MaskImage, MaskImageType);
  /** The mask as the second input, so that Python's filter(image, mask) sets it. */
  void
  SetInput2(const MaskImageType * mask)
  {
    this->SetMaskImage(mask);
  }

  /** \brief Weight of each voxel, on the input's grid. Default: none. */
  itkSetInputMacro(ConfidenceImage, RealImageType);
  itkGetInputMacro(ConfidenceImage, RealImageType);
  /** The weights as the third input, as of itk::N4BiasFieldCorrectionImageFilter. */
  void
  SetInput3(const RealImageType * confidence)
  {
    this->SetConfidenceImage(confidence);
  }

  /** \brief Takes every n-th voxel along each axis for the fit. Default: 4 along each.
   * Fewer gain little (test/benchmark/README.md); an axis of thick slices wants a smaller one than the others. */
  itkSetMacro(ShrinkFactors, ShrinkFactorsType);
  itkGetConstReferenceMacro(ShrinkFactors, ShrinkFactorsType);
  /** \brief One factor for all axes. */
  void
  SetShrinkFactor(unsigned int factor);

  /** \brief Only voxels of MaskLabel count. Default: off (all that are not 0). */
  itkSetMacro(UseMaskLabel, bool);
  itkGetConstMacro(UseMaskLabel, bool);
  itkBooleanMacro(UseMaskLabel);

  /** \brief Label that counts with UseMaskLabel. Default: 1. */
  itkSetMacro(MaskLabel, MaskPixelType);
  itkGetConstMacro(MaskLabel, MaskPixelType);

  /** \brief Fitting levels along each axis; each has twice the spans of the one before. Default: 4.
   * There are as many as the largest says; an axis with fewer keeps its spans at the later ones. (ITK 5.2's filter goes
   * on refining such an axis for three levels more, and then mixes its control points up.) */
  itkSetMacro(NumberOfFittingLevels, LevelsType);
  itkGetConstReferenceMacro(NumberOfFittingLevels, LevelsType);
  /** \brief One number for all axes. */
  void
  SetNumberOfFittingLevels(unsigned int levels);

  /** \brief Iterations at most, one entry a fitting level. Default: 50, 50, 50, 50. */
  virtual void
  SetMaximumNumberOfIterations(const IterationsType & value)
  {
    if (m_MaximumNumberOfIterations != value)
    {
      m_MaximumNumberOfIterations = value;
      this->Modified();
    }
  }
  itkGetConstReferenceMacro(MaximumNumberOfIterations, IterationsType);

  /** \brief A level ends when the coefficient of variation of exp(field change) is not above it. Default: 0.001. */
  itkSetMacro(ConvergenceThreshold, double);
  itkGetConstMacro(ConvergenceThreshold, double);

  /** \brief FWHM of the Gaussian that models the field's histogram, in log units. Default: 0.15. */
  itkSetMacro(BiasFieldFullWidthAtHalfMaximum, double);
  itkGetConstMacro(BiasFieldFullWidthAtHalfMaximum, double);

  /** \brief Noise term of the Wiener filter. Default: 0.01. */
  itkSetMacro(WienerFilterNoise, double);
  itkGetConstMacro(WienerFilterNoise, double);

  /** \brief Histogram bins. Default: 200. */
  itkSetMacro(NumberOfHistogramBins, unsigned int);
  itkGetConstMacro(NumberOfHistogramBins, unsigned int);

  /** \brief Control points of the first level along each axis; more than SplineOrder. Default: 4. */
  itkSetMacro(NumberOfControlPoints, ControlPointsType);
  itkGetConstReferenceMacro(NumberOfControlPoints, ControlPointsType);

  /** \brief Order of the B-splines, 1 to 15. Default: 3. */
  itkSetMacro(SplineOrder, unsigned int);
  itkGetConstMacro(SplineOrder, unsigned int);

  /** \brief The fit ends after the iteration in which so many seconds have passed, and Status says so; 0: no limit.
   * Default: 0. */
  itkSetMacro(MaximumSeconds, double);
  itkGetConstMacro(MaximumSeconds, double);

  /** \brief What keeps the scale of the intensities. Default: None. */
  itkSetEnumMacro(Rescaling, RescalingEnum);
  itkGetEnumMacro(Rescaling, RescalingEnum);

  /** \brief Device of the fit in torch's words: "cpu", "cuda", "cuda:1". Default: "cpu". */
  itkSetStringMacro(Device);
  itkGetStringMacro(Device);

  /** The log bias field on the input's grid: output 1. */
  RealImageType *
  GetLogBiasField();
  const RealImageType *
  GetLogBiasField() const;

  /** Iterations done at each level. */
  itkGetDecoratedOutputMacro(IterationsPerLevel, MeasuresType);
  /** Last coefficient of variation of each level. */
  itkGetDecoratedOutputMacro(ConvergencePerLevel, MeasuresType);
  /** Lowest and highest log field at the voxels that were fitted. */
  itkGetDecoratedOutputMacro(LogFieldMinimum, double);
  itkGetDecoratedOutputMacro(LogFieldMaximum, double);
  /** Seconds that the fit took, without reading the image. */
  itkGetDecoratedOutputMacro(FitSeconds, double);
  /** Voxels of the mask on the fit's grid that do not count because they are 0 or negative. */
  itkGetDecoratedOutputMacro(NumberOfNonPositiveVoxels, unsigned long);
  /** Rescaling's map, output = Scale * input / exp(b) + Shift: 1 and 0 without it. */
  itkGetDecoratedOutputMacro(Scale, double);
  itkGetDecoratedOutputMacro(Shift, double);
  /** "converged", "stopped at the maximum number of iterations", "stopped after MaximumSeconds", or "constant inside
   * the mask: no field". */
  itkGetDecoratedOutputMacro(Status, std::string);

  /** Where the running fit is, for an observer of IterationEvent. */
  unsigned int
  GetCurrentLevel() const;
  unsigned int
  GetElapsedIterations() const;
  double
  GetCurrentConvergenceMeasurement() const;

  using Superclass::MakeOutput;
  DataObject::Pointer
  MakeOutput(DataObjectPointerArraySizeType index) override;
  DataObject::Pointer
  MakeOutput(const DataObjectIdentifierType & name) override;

protected:
  N4BiasCorrectionChainFilter();
  ~N4BiasCorrectionChainFilter() override = default;
  void
  PrintSelf(std::ostream & os, Indent indent) const override;

  void
  VerifyPreconditions() const override;
  void
  VerifyInputInformation() const override;
  void
  GenerateOutputInformation() override;
  void
  GenerateData() override;

  itkSetDecoratedOutputMacro(IterationsPerLevel, MeasuresType);
  itkSetDecoratedOutputMacro(ConvergencePerLevel, MeasuresType);
  itkSetDecoratedOutputMacro(LogFieldMinimum, double);
  itkSetDecoratedOutputMacro(LogFieldMaximum, double);
  itkSetDecoratedOutputMacro(FitSeconds, double);
  itkSetDecoratedOutputMacro(NumberOfNonPositiveVoxels, unsigned long);
  itkSetDecoratedOutputMacro(Scale, double);
  itkSetDecoratedOutputMacro(Shift, double);
  itkSetDecoratedOutputMacro(Status, std::string);

private:
  /** Every ShrinkFactors-th sample of one axis, in the middle of the axis. */
  struct SamplesType
  {
    IndexValueType first{ 0 };
    SizeValueType  count{ 1 };
  };

  TensorProductN4::Pointer
  MakeFit() const;
  SamplesType
  SamplesOfAxis(unsigned int axis) const;
  ModifiedTimeType
  GetTimeOfInputs() const;
  template <typename TImage>
  RegionType
  UpdateSlice(const TImage * image, IndexValueType slice) const;
  template <typename TImage, typename TStore>
  void
  TakeSlice(const TImage * image, IndexValueType slice, const TStore & store) const;
  bool
  IsInMask(MaskPixelType value) const;
  void
  Fit();
  void
  FindScale();

  ShrinkFactorsType m_ShrinkFactors;
  bool              m_UseMaskLabel{ false };
  MaskPixelType     m_MaskLabel{ NumericTraits<MaskPixelType>::OneValue() };
  LevelsType        m_NumberOfFittingLevels;
  IterationsType    m_MaximumNumberOfIterations;
  double            m_ConvergenceThreshold{ 0.001 };
  double            m_BiasFieldFullWidthAtHalfMaximum{ 0.15 };
  double            m_WienerFilterNoise{ 0.01 };
  unsigned int      m_NumberOfHistogramBins{ 200 };
  ControlPointsType m_NumberOfControlPoints;
  unsigned int      m_SplineOrder{ 3 };
  double            m_MaximumSeconds{ 0.0 };
  RescalingEnum     m_Rescaling{ RescalingEnum::None };
  std::string       m_Device{ "cpu" };

  TensorProductN4::Pointer                 m_Fit;
  FixedArray<TensorProductN4::AxisType, 3> m_Axes;
  float                                    m_OtsuThreshold{ 0.0F };
  TimeStamp                                m_FitTime;
  bool                                     m_Fitted{ false };
  bool                                     m_FitIsNew{ false };
};
} // namespace itk

#ifndef ITK_MANUAL_INSTANTIATION
#  include "itkN4BiasCorrectionChainFilter.hxx"
#endif

#endif // itkN4BiasCorrectionChainFilter_h
