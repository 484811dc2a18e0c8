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
#ifndef itkSequencePreparationFilter_h
#define itkSequencePreparationFilter_h

#include "itkArray.h"
#include "itkGliomaGradingCompat.h"
#include "itkImage.h"
#include "itkImageToImageFilter.h"
#include "itkSequencePreparationReport.h"
#include "itkVectorImage.h"

#include <array>
#include <string>
#include <utility>
#include <vector>

namespace itk
{
/** \class SequencePreparationFilterEnums
 * \brief Enumerations of SequencePreparationFilter.
 * \ingroup GliomaGrading
 */
class SequencePreparationFilterEnums
{
public:
  /** \class BiasCorrection
   * \ingroup GliomaGrading
   * Correction of the coil's smooth gain: N4, or none. */
  enum class BiasCorrection : uint8_t
  {
    N4,
    None
  };
  /** \class Standardization
   * \ingroup GliomaGrading
   * Voxels whose mean and standard deviation are taken: the brain, or the whole image. */
  enum class Standardization : uint8_t
  {
    Brain,
    Image
  };
};

/** Prints the name of a bias correction. */
inline std::ostream &
operator<<(std::ostream & out, const SequencePreparationFilterEnums::BiasCorrection value)
{
  return out << (value == SequencePreparationFilterEnums::BiasCorrection::N4 ? "n4" : "none");
}

/** Prints the name of a standardization. */
inline std::ostream &
operator<<(std::ostream & out, const SequencePreparationFilterEnums::Standardization value)
{
  return out << (value == SequencePreparationFilterEnums::Standardization::Brain ? "brain" : "image");
}

/** \class SequencePreparationFilter
 * \brief Takes the sequences of one head to one standardized vector image: brain mask, N4, composition,
 * standardization.
 *
 * The sequences (T1, T1c, T2 and FLAIR by default) are scalar images on one grid, in any unit. Grids may differ by
 * CoordinateTolerance voxels in origin and spacing and by DirectionTolerance in a direction cosine (GridDifference;
 * 1e-3 each: ITK's own 1e-6 refuses real data); what is within is taken from the first sequence, and told by a warning.
 * A direction within the tolerance of an orthonormal one is made orthonormal.
 *
 * The brain is where any sequence is not 0 (BrainMaskFilter), or where the given mask is not 0: then everything outside
 * the mask is ignored, and a head that is not skull-stripped will do.
 *
 * Each sequence \f$v\f$ becomes \f$(v / b - \mu) / \sigma\f$ with \f$b\f$ N4's bias field and \f$\mu, \sigma\f$ the
 * mean and the standard deviation (1/n) of the clipped, corrected voxels of the brain (no unit). Outside the brain the
 * voxels are OutsideValue.
 *
 * The output has the geometry and the meta-data dictionary of the first sequence.
 * \sa BrainMaskFilter N4BiasCorrectionChainFilter MaskedStandardizeFilter
 * \ingroup GliomaGrading
 */
template <typename TInputImage = Image<float, 3>, typename TMaskImage = Image<unsigned char, 3>>
class ITK_TEMPLATE_EXPORT SequencePreparationFilter
  : public ImageToImageFilter<TInputImage, VectorImage<float, TInputImage::ImageDimension>>
{
public:
  ITK_DISALLOW_COPY_AND_MOVE(SequencePreparationFilter);

  using Self = SequencePreparationFilter;
  using InputImageType = TInputImage;
  using MaskImageType = TMaskImage;
  using OutputImageType = VectorImage<float, TInputImage::ImageDimension>;
  using RealImageType = Image<float, TInputImage::ImageDimension>;
  using Superclass = ImageToImageFilter<InputImageType, OutputImageType>;
  using Pointer = SmartPointer<Self>;
  using ConstPointer = SmartPointer<const Self>;
  using BiasCorrectionEnum = SequencePreparationFilterEnums::BiasCorrection;
  using StandardizationEnum = SequencePreparationFilterEnums::Standardization;

  itkNewMacro(Self);
  itkOverrideGetNameOfClassMacro(SequencePreparationFilter);

  static constexpr unsigned int ImageDimension = TInputImage::ImageDimension;

  /** Names of the sequences, in the order of the output's components. Default: T1, T1c, T2, FLAIR. */
  void
  ClearSequenceNames();
  void
  AddSequenceName(const std::string & name);
  const std::vector<std::string> &
  GetSequenceNames() const
  {
    return m_SequenceNames;
  }

  /** The image of a named sequence. */
  void
  SetSequence(const std::string & name, const InputImageType * image);
  const InputImageType *
  GetSequence(const std::string & name) const;

  /** Optional brain: everything where it is 0 is ignored. */
  itkSetInputMacro(BrainMaskImage, MaskImageType);
  itkGetInputMacro(BrainMaskImage, MaskImageType);

  /** Throws where the sequences and the brain mask do not lie on one grid within the tolerances (see GridDifference),
   * where an axis has less than 8 voxels, and where the first direction is no orthonormal one, as an update does. All
   * inputs must be set and their information up to date. */
  void
  VerifyGrids() const;

  /** Default: N4. */
  itkSetEnumMacro(BiasCorrection, BiasCorrectionEnum);
  itkGetEnumMacro(BiasCorrection, BiasCorrectionEnum);

  /** Factor by which N4 shrinks the image before its fit. Default: 4. */
  itkSetClampMacro(ShrinkFactor, unsigned int, 1, NumericTraits<unsigned int>::max());
  itkGetConstMacro(ShrinkFactor, unsigned int);

  /** Default: Brain. */
  itkSetEnumMacro(Standardization, StandardizationEnum);
  itkGetEnumMacro(Standardization, StandardizationEnum);

  /** Quantiles of the brain at which a sequence is clipped before its mean is taken. Default: 0 and 1 (off). */
  itkSetClampMacro(LowerQuantile, double, 0.0, 1.0);
  itkGetConstMacro(LowerQuantile, double);
  itkSetClampMacro(UpperQuantile, double, 0.0, 1.0);
  itkGetConstMacro(UpperQuantile, double);

  /** Value of the voxels outside the brain. Default: 0. Used with Standardization Brain alone. */
  itkSetMacro(OutsideValue, float);
  itkGetConstMacro(OutsideValue, float);

  /** Keep the corrected sequences after the update, for another preparation that differs only in what follows.
   * Default: off. */
  itkSetMacro(KeepCorrected, bool);
  itkGetConstMacro(KeepCorrected, bool);
  itkBooleanMacro(KeepCorrected);
  /** With KeepCorrected: a sequence after its bias correction; else null. */
  const RealImageType *
  GetCorrected(const std::string & name) const;

  /** The brain that was used: 1 inside. */
  const MaskImageType *
  GetBrainMask() const;

  /** True where the mask was given and not found. */
  itkGetConstMacro(BrainMaskWasGiven, bool);
  /** Volume of the brain in ml. */
  itkGetConstMacro(BrainVolume, double);
  /** True where the non-zero voxels of the sequences overlap badly (see BrainMaskFilter). */
  itkGetConstMacro(SequencesDisagree, bool);

  using SequenceReport = SequencePreparationReport;
  const std::vector<SequenceReport> &
  GetSequenceReports() const
  {
    return m_SequenceReports;
  }

  /** Wall-clock seconds of the stages, in their order: check, brain-mask, bias-correction, standardize. */
  const std::vector<std::pair<std::string, double>> &
  GetStageSeconds() const
  {
    return m_StageSeconds;
  }
  /** Stage that runs now; empty: none. */
  itkGetStringMacro(CurrentStage);

  using DataObjectIdentifierType = ProcessObject::DataObjectIdentifierType;
  using Superclass::MakeOutput;
  DataObject::Pointer
  MakeOutput(const DataObjectIdentifierType & name) override;

protected:
  SequencePreparationFilter();
  ~SequencePreparationFilter() override = default;

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
  void
  PrintSelf(std::ostream & os, Indent indent) const override;

private:
  using RegionType = typename InputImageType::RegionType;
  using DirectionType = typename InputImageType::DirectionType;

  using RealImagePointer = typename RealImageType::Pointer;

  std::vector<std::pair<const ImageBase<ImageDimension> *, std::string>>
  GetOtherGrids() const;
  std::vector<RealImagePointer>
  CopySequences();
  void
  TakeGivenMask(std::vector<RealImagePointer> & sequences);
  void
  CheckVoxels(const std::vector<RealImagePointer> & sequences) const;
  typename OutputImageType::Pointer
  Compose(const std::vector<RealImagePointer> & sequences) const;
  void
  FindBrain(const OutputImageType * composed);
  void
  CorrectBias(std::vector<RealImagePointer> & sequences, float progressStart, float progressWeight);
  void
  Standardize(const OutputImageType * composed);
  void
  StopIfAborted(float progress);
  template <typename TFilter>
  void
  Run(TFilter * filter, float progressStart, float progressWeight);
  void
  BeginStage(const std::string & name);
  void
  EndStage();

  std::vector<std::string>    m_SequenceNames{ "T1", "T1c", "T2", "FLAIR" };
  BiasCorrectionEnum          m_BiasCorrection{ BiasCorrectionEnum::N4 };
  unsigned int                m_ShrinkFactor{ 4 };
  StandardizationEnum         m_Standardization{ StandardizationEnum::Brain };
  double                      m_LowerQuantile{ 0.0 };
  double                      m_UpperQuantile{ 1.0 };
  float                       m_OutsideValue{ 0.0f };
  bool                        m_KeepCorrected{ false };
  bool                        m_BrainMaskWasGiven{ false };
  double                      m_BrainVolume{ 0.0 };
  bool                        m_SequencesDisagree{ false };
  std::vector<SequenceReport> m_SequenceReports;

  std::vector<RealImagePointer> m_Corrected;

  std::vector<std::pair<std::string, double>> m_StageSeconds;
  std::string                                 m_CurrentStage;
  double                                      m_StageStart{ 0.0 };
};
} // namespace itk

#ifndef ITK_MANUAL_INSTANTIATION
#  include "itkSequencePreparationFilter.hxx"
#endif

#endif // itkSequencePreparationFilter_h
