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
#ifndef itkExplanationQualityFilter_h
#define itkExplanationQualityFilter_h

#include "itkGliomaGradingCompat.h"
#include "itkImage.h"
#include "itkImageSink.h"
#include "itkSimpleDataObjectDecorator.h"

#include <ostream>
#include <vector>

namespace itk
{
/** \class ExplanationQualityFilterEnums
 * \brief Enumerations of ExplanationQualityFilter.
 * \ingroup GliomaGrading
 */
class ExplanationQualityFilterEnums
{
public:
  /** \class Energy
   * \ingroup GliomaGrading
   * What a voxel of a map counts: the sum of its components' magnitudes, or of their positive parts. */
  enum class Energy : uint8_t
  {
    Absolute,
    Positive
  };

  /** \class Flag
   * \ingroup GliomaGrading
   * Bits of the flags. */
  enum class Flag : uint8_t
  {
    EmptyMap = 1,
    TumourMissed = 2,
    BorderDominated = 4,
    SupportMissesTumour = 8
  };
};

inline std::ostream &
operator<<(std::ostream & out, const ExplanationQualityFilterEnums::Energy value)
{
  return out << (value == ExplanationQualityFilterEnums::Energy::Absolute ? "Absolute" : "Positive");
}

/** \class ExplanationQualityFilter
 * \brief Does an explanation look at the tumour? Shares of a map's energy, beside what chance would give.
 *
 * With the energy \f$e_i \ge 0\f$ of voxel \f$i\f$, the map's support \f$S\f$ and the tumour \f$T\f$:
 * \f[ \mathrm{share} = \frac{\sum_{S \cap T} e_i}{\sum_S e_i}, \qquad \mathrm{chance} = \frac{|S \cap T|}{|S|}, \qquad
 *     \mathrm{ratio} = \mathrm{share} / \mathrm{chance} \f]
 * (energy in the mask: Wang et al., CVPR workshops 2020; the chance level makes it comparable between tumours of
 * different sizes). The same for the border of the brain, a shell of BorderWidth mm on both sides of the brain mask's
 * outermost voxels, where networks look that were trained on standardized backgrounds (Pereira et al. 2018). The
 * pointing game (Zhang et al., IJCV 2018) asks whether the largest energy lies in the tumour.
 *
 * All inputs lie on one grid; without a support the map speaks for all voxels. Sums are kept a slice and merged in
 * order, so that the numbers depend on neither threads nor pieces; map, support and tumour mask are read in
 * NumberOfStreamDivisions pieces, the brain mask at once.
 * \sa GradCAMImageFilter, GuidedBackpropagationImageFilter
 * \ingroup GliomaGrading
 */
template <typename TMapImage = Image<float, 3>, typename TMaskImage = Image<unsigned char, 3>>
class ITK_TEMPLATE_EXPORT ExplanationQualityFilter : public ImageSink<TMapImage>
{
public:
  ITK_DISALLOW_COPY_AND_MOVE(ExplanationQualityFilter);

  using Self = ExplanationQualityFilter;
  using Superclass = ImageSink<TMapImage>;
  using Pointer = SmartPointer<Self>;
  using ConstPointer = SmartPointer<const Self>;

  itkNewMacro(Self);
  itkOverrideGetNameOfClassMacro(ExplanationQualityFilter);

  static constexpr unsigned int ImageDimension = TMapImage::ImageDimension;
  static_assert(ImageDimension == 3, "Explanations are three-dimensional");

  using MapImageType = TMapImage;
  using MaskImageType = TMaskImage;
  using SupportImageType = Image<unsigned char, 3>;
  using RegionType = typename TMapImage::RegionType;
  using Energy = ExplanationQualityFilterEnums::Energy;
  using Flag = ExplanationQualityFilterEnums::Flag;

  /** Where the map says something (not 0). Default: everywhere. */
  itkSetInputMacro(Support, SupportImageType);
  itkGetInputMacro(Support, SupportImageType);

  /** The tumour (not 0). Required. */
  itkSetInputMacro(TumourMask, MaskImageType);
  itkGetInputMacro(TumourMask, MaskImageType);

  /** The brain (not 0). Default: none, and nothing is said of its border. */
  itkSetInputMacro(BrainMask, MaskImageType);
  itkGetInputMacro(BrainMask, MaskImageType);

  /** Default: Absolute. */
  itkSetEnumMacro(EnergyMode, Energy);
  itkGetEnumMacro(EnergyMode, Energy);

  /** Width of the shell at the brain's border on each side, in mm. Default: 3. */
  itkSetMacro(BorderWidth, double);
  itkGetConstMacro(BorderWidth, double);

  using Superclass::GetNumberOfStreamDivisions;
  using Superclass::SetNumberOfStreamDivisions;

  /** Sum of the energy on the support. */
  itkGetDecoratedOutputMacro(TotalEnergy, double);
  /** Share of the energy in the tumour, 0 to 1. */
  itkGetDecoratedOutputMacro(TumourShare, double);
  /** Share of the support that is tumour: what a map without knowledge would give. */
  itkGetDecoratedOutputMacro(TumourChance, double);
  /** TumourShare / TumourChance; 0 where the chance is 0. */
  itkGetDecoratedOutputMacro(TumourRatio, double);
  /** Share of the tumour that the support covers. */
  itkGetDecoratedOutputMacro(TumourCoverage, double);
  /** The pointing game. */
  itkGetDecoratedOutputMacro(PeakInTumour, bool);
  /** The same numbers for the brain's border; 0 without a brain mask. */
  itkGetDecoratedOutputMacro(BorderShare, double);
  itkGetDecoratedOutputMacro(BorderChance, double);
  itkGetDecoratedOutputMacro(BorderRatio, double);
  /** Bits: 1 the map is empty on its support; 2 the tumour is missed (ratio below 1); 4 the border dominates (its ratio
   * is above 1 and above the tumour's); 8 no voxel of the tumour lies on the support. */
  itkGetDecoratedOutputMacro(Flags, unsigned long);

  using Superclass::MakeOutput;
  DataObject::Pointer
  MakeOutput(const DataObject::DataObjectIdentifierType & name) override;

protected:
  ExplanationQualityFilter();
  ~ExplanationQualityFilter() override = default;
  void
  PrintSelf(std::ostream & os, Indent indent) const override;

  itkSetDecoratedOutputMacro(TotalEnergy, double);
  itkSetDecoratedOutputMacro(TumourShare, double);
  itkSetDecoratedOutputMacro(TumourChance, double);
  itkSetDecoratedOutputMacro(TumourRatio, double);
  itkSetDecoratedOutputMacro(TumourCoverage, double);
  itkSetDecoratedOutputMacro(PeakInTumour, bool);
  itkSetDecoratedOutputMacro(BorderShare, double);
  itkSetDecoratedOutputMacro(BorderChance, double);
  itkSetDecoratedOutputMacro(BorderRatio, double);
  itkSetDecoratedOutputMacro(Flags, unsigned long);

  void
  VerifyPreconditions() const override;
  void
  VerifyInputInformation() const override;
  void
  BeforeStreamedGenerateData() override;
  void
  StreamedGenerateData(unsigned int piece) override;
  void
  ThreadedStreamedGenerateData(const RegionType & slice) override;
  void
  AfterStreamedGenerateData() override;

private:
  /** Sums over one slice. */
  struct Sums
  {
    double        Energy{ 0.0 };
    double        TumourEnergy{ 0.0 };
    double        BorderEnergy{ 0.0 };
    double        Peak{ 0.0 };
    bool          PeakInTumour{ false };
    SizeValueType Support{ 0 };
    SizeValueType Tumour{ 0 };
    SizeValueType SupportedTumour{ 0 };
    SizeValueType SupportedBorder{ 0 };
  };

  Energy                             m_EnergyMode{ Energy::Absolute };
  double                             m_BorderWidth{ 3.0 };
  std::vector<Sums>                  m_Slices;
  typename SupportImageType::Pointer m_Border;
};
} // namespace itk

#ifndef ITK_MANUAL_INSTANTIATION
#  include "itkExplanationQualityFilter.hxx"
#endif

#endif // itkExplanationQualityFilter_h
