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
#ifndef itkMaskedIntensityStatisticsFilter_h
#define itkMaskedIntensityStatisticsFilter_h

#include "itkArray.h"
#include "itkGliomaGradingCompat.h"
#include "itkImageSink.h"
#include "itkMaskLineRuns.h"
#include "itkSimpleDataObjectDecorator.h"

#include <mutex>
#include <vector>

namespace itk
{
/** \class MaskedIntensityStatisticsFilter
 * \brief Mean, standard deviation (1/n) and count of each component of an image inside a mask.
 *
 * Without a mask the whole image counts. With `LowerQuantile` above 0 or `UpperQuantile` below 1 the values are clipped
 * first to these quantiles, each found in a histogram of 65536 bins between the smallest and the largest value inside
 * the mask, linearly within its bin. The upstream pipeline then runs three times instead of once.
 *
 * The input is read in `NumberOfStreamDivisions` pieces. Every line of voxels gives a count, a mean and the sum of
 * squared differences from it in double; these are merged in the order of the lines (Chan, Golub and LeVeque 1979), so
 * that the result has the same bits for every number of pieces and threads, and loses no digits to a mean that is large
 * beside the deviation. Only the lines of one piece are kept.
 *
 * An empty mask is an exception, and so is a value inside the mask that is not finite.
 *
 * \sa MaskedStandardizeFilter
 * \ingroup GliomaGrading
 */
template <typename TInputImage, typename TMaskImage>
class ITK_TEMPLATE_EXPORT MaskedIntensityStatisticsFilter : public ImageSink<TInputImage>
{
public:
  ITK_DISALLOW_COPY_AND_MOVE(MaskedIntensityStatisticsFilter);

  using Self = MaskedIntensityStatisticsFilter;
  using Superclass = ImageSink<TInputImage>;
  using Pointer = SmartPointer<Self>;
  using ConstPointer = SmartPointer<const Self>;

  itkNewMacro(Self);
  itkOverrideGetNameOfClassMacro(MaskedIntensityStatisticsFilter);

  static constexpr unsigned int ImageDimension = TInputImage::ImageDimension;
  static_assert(ImageDimension >= 2 && TMaskImage::ImageDimension == ImageDimension,
                "Image and mask have the same dimension, two or more.");

  using InputImageType = TInputImage;
  using MaskImageType = TMaskImage;
  using MaskPixelType = typename TMaskImage::PixelType;
  using ValueType = typename TInputImage::InternalPixelType;
  using RegionType = typename TInputImage::RegionType;
  using IndexType = typename TInputImage::IndexType;
  using RealArrayType = Array<double>;

  /** Number of bins between the smallest and the largest value. */
  static constexpr unsigned int NumberOfBins = 65536;

  /** \brief The mask, on the grid of the image; every value but 0 is inside, or MaskLabel alone with UseMaskLabel.
   * Default none: the whole image. */
  itkSetInputMacro(MaskImage, MaskImageType);
  itkGetInputMacro(MaskImage, MaskImageType);
  /** Image and mask as first and second input, so that Python's filter(image, mask) sets them. */
  void
  SetInput1(const TInputImage * image)
  {
    this->SetInput(image);
  }
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

  /** \brief Values below this quantile are raised to it. Default 0: off. */
  itkSetMacro(LowerQuantile, double);
  itkGetConstMacro(LowerQuantile, double);

  /** \brief Values above this quantile are lowered to it. Default 1: off. */
  itkSetMacro(UpperQuantile, double);
  itkGetConstMacro(UpperQuantile, double);

  /** \brief Pieces in which the input is read. Default 1. */
  using Superclass::GetNumberOfStreamDivisions;
  using Superclass::SetNumberOfStreamDivisions;

  /** \brief Mean of each component. */
  itkGetDecoratedOutputMacro(Mean, RealArrayType);

  /** \brief Standard deviation (1/n) of each component; exactly 0 if all its values are the same. */
  itkGetDecoratedOutputMacro(StandardDeviation, RealArrayType);

  /** \brief Voxels of each component. */
  itkGetDecoratedOutputMacro(Count, RealArrayType);

  /** \brief Smallest value of each component, after clipping. */
  itkGetDecoratedOutputMacro(LowerBound, RealArrayType);

  /** \brief Largest value of each component, after clipping. */
  itkGetDecoratedOutputMacro(UpperBound, RealArrayType);

  using DataObjectIdentifierType = ProcessObject::DataObjectIdentifierType;
  using Superclass::MakeOutput;
  DataObject::Pointer
  MakeOutput(const DataObjectIdentifierType & name) override;

protected:
  MaskedIntensityStatisticsFilter();
  ~MaskedIntensityStatisticsFilter() override = default;

  itkSetDecoratedOutputMacro(Mean, RealArrayType);
  itkSetDecoratedOutputMacro(StandardDeviation, RealArrayType);
  itkSetDecoratedOutputMacro(Count, RealArrayType);
  itkSetDecoratedOutputMacro(LowerBound, RealArrayType);
  itkSetDecoratedOutputMacro(UpperBound, RealArrayType);

  void
  PrintSelf(std::ostream & os, Indent indent) const override;

  void
  VerifyPreconditions() const override;

  void
  VerifyInputInformation() const override;

  // The input is gone through once for each pass, in the same pieces.
  unsigned int
  GetNumberOfInputRequestedRegions() override;

  void
  GenerateNthInputRequestedRegion(unsigned int number) override;

  void
  BeforeStreamedGenerateData() override;

  void
  StreamedGenerateData(unsigned int number) override;

  void
  ThreadedStreamedGenerateData(const RegionType & region) override;

private:
  enum class Pass
  {
    Range,
    Histogram,
    Moments
  };

  // Count, mean and sum of squared differences of one component in a line, or in all lines so far.
  struct Moments
  {
    SizeValueType count{ 0 };
    double        mean{ 0.0 };
    double        squares{ 0.0 };

    void
    Merge(const Moments & other);
  };

  struct Range
  {
    double minimum{ NumericTraits<double>::max() };
    double maximum{ NumericTraits<double>::NonpositiveMin() };
  };

  bool
  IsClipping() const
  {
    return m_LowerQuantile > 0.0 || m_UpperQuantile < 1.0;
  }

  unsigned int
  GetNumberOfPieces() const;

  double
  Quantile(unsigned int component, double share) const;

  // What a component's values inside the mask along a line add up to; the values are contiguous.
  struct LineSum
  {
    double    sum{ 0.0 };
    ValueType minimum{ NumericTraits<ValueType>::max() };
    ValueType maximum{ NumericTraits<ValueType>::NonpositiveMin() };
  };

  template <typename TClip>
  static LineSum
  SumValues(const ValueType * values, SizeValueType number, const TClip & clip);

  template <typename TClip>
  static double
  SumSquares(const ValueType * values, SizeValueType number, double mean, const TClip & clip);

  // The result does not depend on which thread comes first: the first bad value in the buffer's order is kept.
  void
  KeepBadValue(const ValueType * line, const MaskLineRuns & runs, unsigned int component, const IndexType & index);

  void
  MergeLines();

  void
  FinishPass();

  bool          m_UseMaskLabel{ false };
  MaskPixelType m_MaskLabel{ NumericTraits<MaskPixelType>::OneValue() };
  double        m_LowerQuantile{ 0.0 };
  double        m_UpperQuantile{ 1.0 };

  // The state of a run.
  Pass                       m_Pass{ Pass::Moments };
  RegionType                 m_Piece;
  std::mutex                 m_Mutex;
  SizeValueType              m_NumberInside{ 0 };
  bool                       m_HasBadValue{ false };
  OffsetValueType            m_BadOffset{ 0 };
  IndexType                  m_BadIndex{};
  unsigned int               m_BadComponent{ 0 };
  double                     m_BadValue{ 0.0 };
  std::vector<Range>         m_Ranges; // of the values, then of the clipped values
  std::vector<double>        m_Lower;  // what the values are clipped to
  std::vector<double>        m_Upper;
  std::vector<SizeValueType> m_Histograms; // component after component
  std::vector<Moments>       m_Lines;      // of the piece: line after line, components inside
  std::vector<Moments>       m_Moments;    // of the pieces so far
};
} // namespace itk

#ifndef ITK_MANUAL_INSTANTIATION
#  include "itkMaskedIntensityStatisticsFilter.hxx"
#endif

#endif // itkMaskedIntensityStatisticsFilter_h
