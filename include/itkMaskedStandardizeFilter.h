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
#ifndef itkMaskedStandardizeFilter_h
#define itkMaskedStandardizeFilter_h

#include "itkImageToImageFilter.h"
#include "itkMaskedIntensityStatisticsFilter.h"
#include "itkVectorImage.h"

#include <cstdint>

namespace itk
{
/** \class MaskedStandardizeFilterEnums
 * \brief Enumerations of MaskedStandardizeFilter.
 * \ingroup GliomaGrading
 */
class MaskedStandardizeFilterEnums
{
public:
  /** \class Mode
   * \brief Which voxels give the statistics.
   * \ingroup GliomaGrading
   */
  enum class Mode : uint8_t
  {
    InsideMask = 0,
    WholeImage = 1
  };
};

inline std::ostream &
operator<<(std::ostream & os, MaskedStandardizeFilterEnums::Mode value)
{
  return os << [value] {
    switch (value)
    {
      case MaskedStandardizeFilterEnums::Mode::InsideMask:
        return "InsideMask";
      case MaskedStandardizeFilterEnums::Mode::WholeImage:
        return "WholeImage";
      default:
        return "INVALID VALUE FOR itk::MaskedStandardizeFilterEnums::Mode";
    }
  }();
}

/** \class MaskedStandardizeFilter
 * \brief Gives each component of an image zero mean and unit variance, with the statistics of a mask.
 *
 * \f$y = (\min(\max(x, q_l), q_u) - \mu) / \sigma\f$ for each component, with the mean \f$\mu\f$ and the standard
 * deviation \f$\sigma\f$ (1/n) of the clipped values. The quantiles \f$q_l\f$ and \f$q_u\f$ come from a histogram of
 * 65536 bins and are off by default.
 *
 * - `InsideMask`: the statistics are those of the mask's voxels; voxels outside get `OutsideValue`.
 * - `WholeImage`: the statistics are those of all voxels, a mask is neither used nor checked, and the background
 *   becomes \f$-\mu/\sigma\f$ (the comparison of Pereira et al. 2018).
 *
 * What follows needs the background's value where it looks beyond the image: give GetBackgroundValue() to
 * BoundingBoxROIFilter::SetOutsideValue(), ModelSpaceFilter::SetOutsideValue() and
 * TorchSegmentationFilter::SetOutsideValues().
 *
 * GenerateOutputInformation() computes the statistics with MaskedIntensityStatisticsFilter on the real upstream
 * pipeline, in `NumberOfStatisticsDivisions` pieces, once for each change upstream and not for each piece of the
 * output. The output streams; its bits depend neither on the pieces nor on the threads, and the memory of a streamed
 * run does not grow with the image.
 *
 * Progress goes to 0.5 with the statistics and to 1 with the output; an abort is heeded in both, within a piece.
 *
 * An empty mask, a value inside the mask that is not finite, and a component whose values are all the same are
 * exceptions. The mask's grid may differ from the image's by `CoordinateTolerance` (of a voxel) and
 * `DirectionTolerance`, both 1e-3 by default.
 *
 * \ingroup GliomaGrading
 */
template <typename TInputImage = VectorImage<float, 3>,
          typename TMaskImage = Image<unsigned char, TInputImage::ImageDimension>,
          typename TOutputImage = TInputImage>
class ITK_TEMPLATE_EXPORT MaskedStandardizeFilter : public ImageToImageFilter<TInputImage, TOutputImage>
{
public:
  ITK_DISALLOW_COPY_AND_MOVE(MaskedStandardizeFilter);

  using Self = MaskedStandardizeFilter;
  using Superclass = ImageToImageFilter<TInputImage, TOutputImage>;
  using Pointer = SmartPointer<Self>;
  using ConstPointer = SmartPointer<const Self>;

  itkNewMacro(Self);
  itkOverrideGetNameOfClassMacro(MaskedStandardizeFilter);

  using InputImageType = TInputImage;
  using MaskImageType = TMaskImage;
  using MaskPixelType = typename TMaskImage::PixelType;
  using OutputImageType = TOutputImage;
  using RegionType = typename TOutputImage::RegionType;
  using StatisticsType = MaskedIntensityStatisticsFilter<TInputImage, TMaskImage>;
  using RealArrayType = Array<double>;
  using ModeEnum = MaskedStandardizeFilterEnums::Mode;

  /** \brief The mask, on the grid of the image; every value but 0 is inside, or MaskLabel alone with UseMaskLabel.
   * Needed unless Mode is WholeImage. */
  itkSetInputMacro(MaskImage, MaskImageType);
  itkGetInputMacro(MaskImage, MaskImageType);
  /** The mask as the second input, so that Python's filter(image, mask) sets it. */
  void
  SetInput2(const MaskImageType * mask)
  {
    this->SetMaskImage(mask);
  }

  /** \brief Only voxels of MaskLabel are inside. Default: off (all that are not 0). */
  itkSetMacro(UseMaskLabel, bool);
  itkGetConstMacro(UseMaskLabel, bool);
  itkBooleanMacro(UseMaskLabel);

  /** \brief Label that is inside with UseMaskLabel. Default: 1. */
  itkSetMacro(MaskLabel, MaskPixelType);
  itkGetConstMacro(MaskLabel, MaskPixelType);

  /** \brief Which voxels give the statistics. Default InsideMask. */
  itkSetMacro(Mode, ModeEnum);
  itkGetConstMacro(Mode, ModeEnum);

  /** \brief Value of every component outside the mask. Default 0. */
  itkSetMacro(OutsideValue, double);
  itkGetConstMacro(OutsideValue, double);

  /** \brief Values below this quantile are raised to it first. Default 0: off. */
  itkSetMacro(LowerQuantile, double);
  itkGetConstMacro(LowerQuantile, double);

  /** \brief Values above this quantile are lowered to it first. Default 1: off. */
  itkSetMacro(UpperQuantile, double);
  itkGetConstMacro(UpperQuantile, double);

  /** \brief Pieces in which the statistics read the upstream pipeline. Default 0: as many as keep each, image and
   * mask, below 32 MiB. */
  itkSetMacro(NumberOfStatisticsDivisions, unsigned int);
  itkGetConstMacro(NumberOfStatisticsDivisions, unsigned int);

  /** \brief Mean of each component. As all these outputs, valid after UpdateOutputInformation(). */
  itkGetDecoratedOutputMacro(Mean, RealArrayType);

  /** \brief Standard deviation (1/n) of each component. */
  itkGetDecoratedOutputMacro(StandardDeviation, RealArrayType);

  /** \brief Number of voxels that gave each component's statistics. */
  itkGetDecoratedOutputMacro(Count, RealArrayType);

  /** \brief Smallest value of each component that the statistics saw; values below it are raised to it when clipping.
   */
  itkGetDecoratedOutputMacro(LowerBound, RealArrayType);

  /** \brief Largest value of each component that the statistics saw. */
  itkGetDecoratedOutputMacro(UpperBound, RealArrayType);

  /** \brief What an intensity of 0 has become in each component: OutsideValue, or with WholeImage
   * \f$-\mu/\sigma\f$ (of the clipped 0). */
  itkGetDecoratedOutputMacro(BackgroundValue, RealArrayType);

  using DataObjectIdentifierType = ProcessObject::DataObjectIdentifierType;
  using Superclass::MakeOutput;
  DataObject::Pointer
  MakeOutput(const DataObjectIdentifierType & name) override;

protected:
  MaskedStandardizeFilter();
  ~MaskedStandardizeFilter() override = default;

  itkSetDecoratedOutputMacro(Mean, RealArrayType);
  itkSetDecoratedOutputMacro(StandardDeviation, RealArrayType);
  itkSetDecoratedOutputMacro(Count, RealArrayType);
  itkSetDecoratedOutputMacro(LowerBound, RealArrayType);
  itkSetDecoratedOutputMacro(UpperBound, RealArrayType);
  itkSetDecoratedOutputMacro(BackgroundValue, RealArrayType);

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
  GenerateData() override;

  void
  DynamicThreadedGenerateData(const RegionType & region) override;

private:
  void
  UpdateStatistics();

  void
  HandOnProgress();

  unsigned int
  GetNumberOfPieces() const;

  ModeEnum      m_Mode{ ModeEnum::InsideMask };
  bool          m_UseMaskLabel{ false };
  MaskPixelType m_MaskLabel{ NumericTraits<MaskPixelType>::OneValue() };
  double        m_OutsideValue{ 0.0 };
  double        m_LowerQuantile{ 0.0 };
  double        m_UpperQuantile{ 1.0 };
  unsigned int  m_NumberOfStatisticsDivisions{ 0 };

  typename StatisticsType::Pointer m_Statistics;
  // What the statistics were made from.
  bool               m_HasStatistics{ false };
  bool               m_StatisticsAreNew{ false };
  const DataObject * m_StatisticsInput{ nullptr };
  const DataObject * m_StatisticsMask{ nullptr };
  ModifiedTimeType   m_StatisticsTime{ 0 };
  bool               m_StatisticsUseMaskLabel{ false };
  MaskPixelType      m_StatisticsMaskLabel{};
  double             m_StatisticsLowerQuantile{ 0.0 };
  double             m_StatisticsUpperQuantile{ 1.0 };
};
} // namespace itk

#ifndef ITK_MANUAL_INSTANTIATION
#  include "itkMaskedStandardizeFilter.hxx"
#endif

#endif // itkMaskedStandardizeFilter_h
