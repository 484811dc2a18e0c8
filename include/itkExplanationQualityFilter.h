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

#include "itkArray.h"
#include "itkGliomaGradingCompat.h"
#include "itkImage.h"
#include "itkImageSink.h"
#include "itkSimpleDataObjectDecorator.h"

#include <array>
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
  return out << [value] {
    switch (value)
    {
      case ExplanationQualityFilterEnums::Energy::Absolute:
        return "Absolute";
      case ExplanationQualityFilterEnums::Energy::Positive:
        return "Positive";
      default:
        return "INVALID VALUE FOR itk::ExplanationQualityFilterEnums::Energy";
    }
  }();
}

inline std::ostream &
operator<<(std::ostream & out, const ExplanationQualityFilterEnums::Flag value)
{
  return out << [value] {
    switch (value)
    {
      case ExplanationQualityFilterEnums::Flag::EmptyMap:
        return "EmptyMap";
      case ExplanationQualityFilterEnums::Flag::TumourMissed:
        return "TumourMissed";
      case ExplanationQualityFilterEnums::Flag::BorderDominated:
        return "BorderDominated";
      case ExplanationQualityFilterEnums::Flag::SupportMissesTumour:
        return "SupportMissesTumour";
      default:
        return "INVALID VALUE FOR itk::ExplanationQualityFilterEnums::Flag";
    }
  }();
}

/** \class ExplanationQualityFilter
 * \brief Does an explanation look at the tumour? Numbers for a map, beside what chance would give.
 *
 * \f$e_i \ge 0\f$ is the energy of the map's voxel \f$i\f$ (EnergyMode), in the map's unit: score per unit of the input
 * for guided backpropagation, score for GradCAM. \f$b_i\f$, \f$t_i\f$, \f$s_i\f$ are the fractions of the voxel, 0 to
 * 1, that lie in the brain, in brain and tumour, and in the brain's border shell; without a brain mask \f$b_i = 1\f$.
 * All sums go over the support; masks may lie on any grid, and their fractions are counted at points inside each voxel
 * (at the voxel's centre on the map's own grid).
 *
 * - TotalEnergy: \f$E = \sum e_i b_i\f$, 0 and more.
 * - TumourShare: \f$\sum e_i t_i / E\f$, 0 to 1, high is better (energy in the mask: Wang et al., CVPR workshops 2020;
 *   relevance mass accuracy: Arras et al., Inf. Fusion 2022).
 * - TumourChance: \f$\sum t_i / \sum b_i\f$, the share of a map without knowledge, 0 to 1.
 * - TumourRatio: TumourShare / TumourChance, 0 and more, chance is 1, high is better.
 * - TumourCoverage: share of the tumour that the support reaches, 0 to 1.
 * - PeakInTumour: 1 where a voxel of the largest energy is at least half tumour, else 0 (pointing game: Zhang et al.,
 *   IJCV 2018).
 * - TumourRankAccuracy: of the \f$K = \sum t_i\f$ voxels of highest energy, the share in the tumour; equal energies
 *   count evenly. 0 to 1, chance is TumourChance, high is better (Arras et al. 2022).
 * - BorderShare: \f$\sum e_i s_i / E\f$, 0 to 1, low is better (the finding of Pereira et al. 2018 as a number).
 * - BorderChance, BorderRatio: as for the tumour, of the shell; low is better.
 * - OutsideShare: \f$\sum e_i (1 - b_i) / \sum e_i\f$, energy outside the brain, 0 to 1, low is better.
 * - Gini: concentration, \f$1 - \sum_k w_k (S_k + S_{k-1}) / (W E)\f$ with energies ascending, \f$w = b\f$,
 *   \f$W = \sum b\f$ and \f$S\f$ the cumulated \f$w e\f$; 0 (even) to 1 (one voxel) (Hurley and Rickard 2009;
 *   Chalasani et al., ICML 2020).
 * - LabelShares, LabelChances, LabelRatios: as for the tumour, of each value of RegionLabels.
 *
 * The shell are the brain's voxels whose centre lies less than BorderWidth mm from that of an outermost voxel of the
 * brain (one of whose 26 neighbours is outside): three layers at 3 mm and 1 mm voxels. Networks that were trained on
 * standardized backgrounds look there. MeasureBorder turns these numbers off where they say nothing: for GradCAM of a
 * tumour's region, whose cells are wider than the shell.
 *
 * A number that does not exist is NaN: those of a region that the support misses, of a brain that is not given or has
 * no border in the image, shares of a map without energy. Of a map of several sequences the Sequence... outputs hold
 * the same numbers for each, and SequenceShares the parts of the energy.
 *
 * Sums are kept a slice and merged in order, so that the numbers depend on neither threads nor pieces; map and support
 * are read in NumberOfStreamDivisions pieces, masks at once.
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
  using ArrayType = Array<double>;

  /** Where the map says something (not 0), on the map's grid. Default: everywhere. */
  itkSetInputMacro(Support, SupportImageType);
  itkGetInputMacro(Support, SupportImageType);

  /** The tumour (not 0), on any grid. Required. */
  itkSetInputMacro(TumourMask, MaskImageType);
  itkGetInputMacro(TumourMask, MaskImageType);

  /** The brain (not 0), on any grid. Default: none, everything counts as brain and nothing is said of its border. */
  itkSetInputMacro(BrainMask, MaskImageType);
  itkGetInputMacro(BrainMask, MaskImageType);

  /** The brain's border shell (not 0), where it is known already, on any grid: that of another map's GetBorderShell().
   * BorderWidth says nothing then. Without a BrainMask
   * it is not used. Default: none, it is made of the brain mask. */
  itkSetInputMacro(BorderMask, MaskImageType);
  itkGetInputMacro(BorderMask, MaskImageType);

  /** Regions to compare, such as ventricles and oedema, by their values (0: none), on any grid. Default: none. */
  itkSetInputMacro(RegionLabels, MaskImageType);
  itkGetInputMacro(RegionLabels, MaskImageType);

  /** Default: Absolute. */
  itkSetEnumMacro(EnergyMode, Energy);
  itkGetEnumMacro(EnergyMode, Energy);

  /** Width of the shell at the brain's border, in mm. Default: 3. */
  itkSetMacro(BorderWidth, double);
  itkGetConstMacro(BorderWidth, double);

  /** Measure the brain's border shell. Default: on. */
  itkSetMacro(MeasureBorder, bool);
  itkGetConstMacro(MeasureBorder, bool);
  itkBooleanMacro(MeasureBorder);

  /** The border shell of the last update, 1 inside, on the grid of the brain mask (or the border mask); null: none was
   * measured. */
  const MaskImageType *
  GetBorderShell() const
  {
    return m_Border;
  }

  using Superclass::GetNumberOfStreamDivisions;
  using Superclass::SetNumberOfStreamDivisions;

  /** The numbers of the class's table; NaN: undefined. */
  itkGetDecoratedOutputMacro(TotalEnergy, double);
  itkGetDecoratedOutputMacro(TumourShare, double);
  itkGetDecoratedOutputMacro(TumourChance, double);
  itkGetDecoratedOutputMacro(TumourRatio, double);
  itkGetDecoratedOutputMacro(TumourCoverage, double);
  itkGetDecoratedOutputMacro(PeakInTumour, double);
  itkGetDecoratedOutputMacro(TumourRankAccuracy, double);
  itkGetDecoratedOutputMacro(BorderShare, double);
  itkGetDecoratedOutputMacro(BorderChance, double);
  itkGetDecoratedOutputMacro(BorderRatio, double);
  itkGetDecoratedOutputMacro(OutsideShare, double);
  itkGetDecoratedOutputMacro(Gini, double);
  /** Of each component of the map. */
  itkGetDecoratedOutputMacro(SequenceShares, ArrayType);
  itkGetDecoratedOutputMacro(SequenceTumourShares, ArrayType);
  itkGetDecoratedOutputMacro(SequenceTumourRatios, ArrayType);
  itkGetDecoratedOutputMacro(SequencePeaksInTumour, ArrayType);
  itkGetDecoratedOutputMacro(SequenceTumourRankAccuracies, ArrayType);
  itkGetDecoratedOutputMacro(SequenceBorderShares, ArrayType);
  itkGetDecoratedOutputMacro(SequenceBorderRatios, ArrayType);
  itkGetDecoratedOutputMacro(SequenceOutsideShares, ArrayType);
  itkGetDecoratedOutputMacro(SequenceGinis, ArrayType);
  /** Values of RegionLabels in ascending order, and the numbers of each. */
  itkGetDecoratedOutputMacro(Labels, ArrayType);
  itkGetDecoratedOutputMacro(LabelShares, ArrayType);
  itkGetDecoratedOutputMacro(LabelChances, ArrayType);
  itkGetDecoratedOutputMacro(LabelRatios, ArrayType);
  /** Bits: 1 the map is empty on its support; 2 the tumour is missed (ratio below 1); 4 the border dominates (its ratio
   * is above 1 and above the tumour's); 8 no voxel of the tumour lies on the support. */
  itkGetDecoratedOutputMacro(Flags, unsigned long);

  using Superclass::MakeOutput;
  DataObject::Pointer
  MakeOutput(const DataObject::DataObjectIdentifierType & name) override;

  void
  UpdateOutputData(DataObject * output) override;

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
  itkSetDecoratedOutputMacro(PeakInTumour, double);
  itkSetDecoratedOutputMacro(TumourRankAccuracy, double);
  itkSetDecoratedOutputMacro(BorderShare, double);
  itkSetDecoratedOutputMacro(BorderChance, double);
  itkSetDecoratedOutputMacro(BorderRatio, double);
  itkSetDecoratedOutputMacro(OutsideShare, double);
  itkSetDecoratedOutputMacro(Gini, double);
  itkSetDecoratedOutputMacro(SequenceShares, ArrayType);
  itkSetDecoratedOutputMacro(SequenceTumourShares, ArrayType);
  itkSetDecoratedOutputMacro(SequenceTumourRatios, ArrayType);
  itkSetDecoratedOutputMacro(SequencePeaksInTumour, ArrayType);
  itkSetDecoratedOutputMacro(SequenceTumourRankAccuracies, ArrayType);
  itkSetDecoratedOutputMacro(SequenceBorderShares, ArrayType);
  itkSetDecoratedOutputMacro(SequenceBorderRatios, ArrayType);
  itkSetDecoratedOutputMacro(SequenceOutsideShares, ArrayType);
  itkSetDecoratedOutputMacro(SequenceGinis, ArrayType);
  itkSetDecoratedOutputMacro(Labels, ArrayType);
  itkSetDecoratedOutputMacro(LabelShares, ArrayType);
  itkSetDecoratedOutputMacro(LabelChances, ArrayType);
  itkSetDecoratedOutputMacro(LabelRatios, ArrayType);
  itkSetDecoratedOutputMacro(Flags, unsigned long);

  void
  VerifyPreconditions() const override;
  void
  VerifyInputInformation() const override;
  unsigned int
  GetNumberOfInputRequestedRegions() override;
  void
  GenerateNthInputRequestedRegion(unsigned int inputRequestedRegionNumber) override;
  void
  BeforeStreamedGenerateData() override;
  void
  StreamedGenerateData(unsigned int piece) override;
  void
  ThreadedStreamedGenerateData(const RegionType & slice) override;
  void
  AfterStreamedGenerateData() override;

private:
  /** Indices of the map's voxels to continuous indices of a mask. */
  struct Sampler
  {
    const MaskImageType *                Mask{ nullptr };
    std::array<std::array<double, 3>, 3> Matrix;
    std::array<double, 3>                Translation;
    /** Where each axis of the mask follows one of the map's: what each point along the map's axes adds to the offset,
     * or -1 outside; else empty. */
    std::array<std::vector<OffsetValueType>, 3> Offsets;

    /** Offset of the voxel that holds a point, or -1: the point lies outside the mask's image. */
    OffsetValueType
    Find(const std::array<double, 3> & point) const;
    /** The same of the point with these numbers along the map's axes. */
    OffsetValueType
    Find(const std::array<SizeValueType, 3> & at, const std::array<double, 3> & point) const
    {
      if (Offsets[0].empty())
      {
        return this->Find(point);
      }
      const OffsetValueType x = Offsets[0][at[0]];
      const OffsetValueType y = Offsets[1][at[1]];
      const OffsetValueType z = Offsets[2][at[2]];
      return x < 0 || y < 0 || z < 0 ? -1 : x + y + z;
    }
  };

  /** Sums of one slice over the energy of one sequence, or of all. */
  struct Sums
  {
    double              Energy{ 0.0 }; // in the brain
    double              Outside{ 0.0 };
    double              Tumour{ 0.0 };
    double              Border{ 0.0 };
    double              Peak{ 0.0 };
    bool                PeakInTumour{ false };
    std::vector<double> Labels;
  };
  /** What one slice gave. */
  struct Slice
  {
    double                          Brain{ 0.0 };         // voxels of the support in the brain
    double                          Tumour{ 0.0 };        // and in the tumour
    double                          CoveredTumour{ 0.0 }; // voxels of the support in the tumour, brain or not
    double                          Border{ 0.0 };
    std::vector<double>             Labels;
    std::vector<Sums>               Energies;
    std::vector<float>              Weights;        // of voxels in the brain: fraction in the brain
    std::vector<float>              Tumours;        // and in brain and tumour
    std::vector<std::vector<float>> Values;         // and each energy
    SizeValueType                   BadValues{ 0 }; // of the map: not finite
    typename TMapImage::IndexType   FirstBad{};
    double                          FirstBadValue{ 0.0 };
  };
  /** Numbers of one energy. */
  struct Numbers
  {
    double Total;
    double TumourShare;
    double TumourRatio;
    double Peak;
    double RankAccuracy;
    double BorderShare;
    double BorderRatio;
    double OutsideShare;
    double Gini;
  };

  bool
  IsOnGridOfMap(const ImageBase<3> * image) const;
  Sampler
  MakeSampler(const MaskImageType * mask) const;
  double
  PointAlong(unsigned int axis, IndexValueType index, unsigned int number) const;
  typename MaskImageType::Pointer
  MakeBorder(const MaskImageType * brain) const;
  static void
  RankEnergies(const std::vector<Slice> & slices, std::size_t energy, double tumour, Numbers & numbers);

  Energy                               m_EnergyMode{ Energy::Absolute };
  double                               m_BorderWidth{ 3.0 };
  bool                                 m_MeasureBorder{ true };
  std::vector<Slice>                   m_Slices;
  std::array<unsigned int, 3>          m_Points; // inside a voxel, along each axis
  Sampler                              m_TumourSampler;
  Sampler                              m_BrainSampler;
  Sampler                              m_LabelSampler;
  Sampler                              m_BorderSampler;
  typename MaskImageType::ConstPointer m_Border;
  std::vector<double>                  m_LabelValues;
};
} // namespace itk

#ifndef ITK_MANUAL_INSTANTIATION
#  include "itkExplanationQualityFilter.hxx"
#endif

#endif // itkExplanationQualityFilter_h
