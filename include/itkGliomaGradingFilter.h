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
#ifndef itkGliomaGradingFilter_h
#define itkGliomaGradingFilter_h

#include "itkArray.h"
#include "itkAxisAlignedMapping.h"
#include "itkGradedRegionReport.h"
#include "itkReviewFindings.h"
#include "itkSequencePreparationFilter.h"
#include "itkTorchModel.h"
#include "itkUprightGridCalculator.h"

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace itk
{
/** \class GliomaGradingFilterEnums
 * \brief Enumerations of GliomaGradingFilter.
 * \ingroup GliomaGrading
 */
class GliomaGradingFilterEnums
{
public:
  /** \class Explain
   * \ingroup GliomaGrading
   * Which maps explain the grade. */
  enum class Explain : uint8_t
  {
    None,
    GradCAM,
    GuidedBackpropagation,
    All
  };
};

/** Prints the name of an explanation. */
inline std::ostream &
operator<<(std::ostream & out, const GliomaGradingFilterEnums::Explain value)
{
  return out << [value] {
    switch (value)
    {
      case GliomaGradingFilterEnums::Explain::None:
        return "none";
      case GliomaGradingFilterEnums::Explain::GradCAM:
        return "gradcam";
      case GliomaGradingFilterEnums::Explain::GuidedBackpropagation:
        return "guided-backprop";
      case GliomaGradingFilterEnums::Explain::All:
        return "all";
      default:
        return "INVALID VALUE FOR itk::GliomaGradingFilterEnums::Explain";
    }
  }();
}

/** \class GliomaGradingFilter
 * \brief From four sequences of a brain to its tumour, the tumour's grade, and the maps that explain the grade.
 *
 * T1, T1c, T2 and FLAIR on one grid are prepared as each model's manifest says (SequencePreparationFilter), brought to
 * the segmentation model's orientation and spacing, and segmented inside the brain's box. The probabilities come back
 * to the input's grid, where the label is decided: 1 where the probability of a tumour is above 0.5 inside the brain,
 * without components smaller than the model's share of the largest (TorchModelManifest::MinimumComponentShare, 5 %
 * where it says none). The tumour's cube on the grading model's grid is graded and explained by one forward, and the
 * maps come back to the input's grid. All resampling is along the image's own axes, in index space: a copy with another
 * origin or an oblique direction gives the same bits. The models' grids hang on the brain's centroid, so that a copy
 * that is cropped or shifted by a part of a voxel gets the same answer.
 *
 * The one exception is a head that stands askew on its grid while its header says how to straighten it (see
 * UprightGridCalculator; TurnUpright): models know upright heads. Then everything above happens on an upright grid, and
 * labels, probability and maps come back to the input's linearly.
 *
 * Where no tumour is found there is no grade, and the verdict is "review": the model of the tumour's region never sees
 * another one.
 *
 * The primary output is the label image (1: whole tumour), on the input's grid with its meta-data dictionary; all other
 * results have getters of their own. An image that was not asked for or does not exist is null. Changing what is
 * explained re-runs the explanation alone, even where a source upstream has to make its released data again.
 *
 * Research use only. Method: Pereira et al. 2018 (arXiv 1809.09468).
 * \sa SequencePreparationFilter TorchSegmentationFilter BoundingBoxROIFilter ExplanationQualityFilter
 * \ingroup GliomaGrading
 */
template <typename TInputImage = Image<float, 3>, typename TMaskImage = Image<unsigned char, 3>>
class ITK_TEMPLATE_EXPORT GliomaGradingFilter : public ImageToImageFilter<TInputImage, TMaskImage>
{
public:
  ITK_DISALLOW_COPY_AND_MOVE(GliomaGradingFilter);

  using Self = GliomaGradingFilter;
  using InputImageType = TInputImage;
  using MaskImageType = TMaskImage;
  using Superclass = ImageToImageFilter<InputImageType, MaskImageType>;
  using Pointer = SmartPointer<Self>;
  using ConstPointer = SmartPointer<const Self>;
  using RealImageType = Image<float, 3>;
  using VectorImageType = VectorImage<float, 3>;
  using ExplainEnum = GliomaGradingFilterEnums::Explain;
  using PreparationType = SequencePreparationFilter<InputImageType, MaskImageType>;

  itkNewMacro(Self);
  itkOverrideGetNameOfClassMacro(GliomaGradingFilter);

  static constexpr unsigned int ImageDimension = TInputImage::ImageDimension;

  /** The image of "T1", "T1c", "T2" or "FLAIR". */
  void
  SetSequence(const std::string & name, const InputImageType * image);
  const InputImageType *
  GetSequence(const std::string & name) const;
  static const std::vector<std::string> &
  GetSequenceNames();

  /** Optional brain: everything where it is 0 is ignored. */
  itkSetInputMacro(BrainMaskImage, MaskImageType);
  itkGetInputMacro(BrainMaskImage, MaskImageType);

  /** Optional tumour: is taken instead of a segmentation; not 0 inside. */
  itkSetInputMacro(TumourMaskImage, MaskImageType);
  itkGetInputMacro(TumourMaskImage, MaskImageType);

  /** Optional regions by their values (0: none), such as ventricles and oedema, on any grid: GetQuality() then says how
   * much of each map lies in each, "gradcam-res3-label-2-share". */
  itkSetInputMacro(RegionLabelsImage, MaskImageType);
  itkGetInputMacro(RegionLabelsImage, MaskImageType);

  /** Loaded model that finds the tumour. Not needed with a tumour mask. */
  itkSetConstObjectMacro(SegmentationModel, TorchModel);
  itkGetConstObjectMacro(SegmentationModel, TorchModel);

  /** Loaded model that grades the tumour's region, or the brain's box where its manifest says the region brain. */
  itkSetConstObjectMacro(GradingModel, TorchModel);
  itkGetConstObjectMacro(GradingModel, TorchModel);

  /** Optional second grader, of the whole brain: the verdict says where the two disagree. Default: none. */
  itkSetConstObjectMacro(BrainGradingModel, TorchModel);
  itkGetConstObjectMacro(BrainGradingModel, TorchModel);

  /** Default: All. */
  itkSetEnumMacro(Explain, ExplainEnum);
  itkGetEnumMacro(Explain, ExplainEnum);

  /** Class to explain, or -1: the predicted one. Default: -1. */
  itkSetMacro(ClassToExplain, int);
  itkGetConstMacro(ClassToExplain, int);

  /** Explain the probability instead of the logit. Default: off. */
  itkSetMacro(ExplainProbability, bool);
  itkGetConstMacro(ExplainProbability, bool);
  itkBooleanMacro(ExplainProbability);

  /** Straighten a head that is askew on its grid, see UprightGridCalculator. Default: on. */
  itkSetMacro(TurnUpright, bool);
  itkGetConstMacro(TurnUpright, bool);
  itkBooleanMacro(TurnUpright);
  /** True where the head was straightened. */
  bool
  GetWasTurnedUpright() const
  {
    return m_Upright.IsNotNull();
  }

  /** Test the maps by running the grading model again and again: deletion and insertion of what they point at
   * (ExplanationFaithfulnessCalculator), and for the module's own network random weights (ExplanationSanityCalculator).
   * What is deleted becomes the brain's mean: 0, or with the standardization of the whole image the mean of the
   * region's voxels that are not background, a channel each. Adds numbers to GetQuality(), and no reason for a review.
   * Default: off. */
  itkSetMacro(TestExplanation, bool);
  itkGetConstMacro(TestExplanation, bool);
  itkBooleanMacro(TestExplanation);

  /** Grade a second time, with healthy tissue in the tumour's place (TumourReplacementFilter): a grader of tumours is
   * then undecided. The verdict says where nothing changes. Default: on. */
  itkSetMacro(GradeWithoutTumour, bool);
  itkGetConstMacro(GradeWithoutTumour, bool);
  itkBooleanMacro(GradeWithoutTumour);

  /** Keep the prepared volumes (GetPrepared()) and the region (GetRegionImage()). Default: off, they are freed. */
  itkSetMacro(KeepIntermediates, bool);
  itkGetConstMacro(KeepIntermediates, bool);
  itkBooleanMacro(KeepIntermediates);

  /** Latest time of this filter and its models. */
  ModifiedTimeType
  GetMTime() const override;

  /** Probability of a tumour on the input's grid; null with a tumour mask. */
  const RealImageType *
  GetTumourProbability() const
  {
    return m_Probability;
  }
  /** The brain that was used: 1 inside. */
  const MaskImageType *
  GetBrainMask() const
  {
    return m_BrainOfInput ? m_BrainOfInput : m_Brain; // the second while it runs
  }

  /** Layers to explain by GradCAM. Default: none named, which means res3 and res4 where the grading model has them,
   * else all that its manifest lists. */
  void
  AddGradCAMLayer(const std::string & layer);
  void
  ClearGradCAMLayers();
  /** The layers that GradCAM explains: those added, or the default of the grading model. */
  std::vector<std::string>
  GetGradCAMLayers() const;
  /** GradCAM of a layer on the input's grid, raw magnitudes; null where the layer was not explained. */
  const RealImageType *
  GetGradCAM(const std::string & layer) const;
  /** 1 where the layer's cells reach: elsewhere its map says nothing. */
  const MaskImageType *
  GetGradCAMSupport(const std::string & layer) const;
  /** False where no cell of the layer is above 0. */
  bool
  GetGradCAMHasPositiveCell(const std::string & layer) const;
  /** Guided backpropagation on the input's grid, one component a sequence. */
  const VectorImageType *
  GetGuidedBackpropagation() const
  {
    return m_Guided;
  }

  /** The same maps of the whole brain's grader; null without one. */
  std::vector<std::string>
  GetBrainGradCAMLayers() const;
  const RealImageType *
  GetBrainGradCAM(const std::string & layer) const;
  const MaskImageType *
  GetBrainGradCAMSupport(const std::string & layer) const;
  bool
  GetBrainGradCAMHasPositiveCell(const std::string & layer) const;
  const VectorImageType *
  GetBrainGuidedBackpropagation() const
  {
    return m_OfBrain.Guided;
  }

  /** With KeepIntermediates: the standardized sequences that the region was cut from, and the region. */
  const VectorImageType *
  GetPrepared() const
  {
    if (m_Upright)
    {
      return m_Upright->GetPrepared();
    }
    return m_KeepIntermediates ? m_Prepared.GetPointer() : nullptr;
  }
  const VectorImageType *
  GetRegionImage() const
  {
    if (m_Upright)
    {
      return m_Upright->GetRegionImage();
    }
    return m_KeepIntermediates ? m_Region.GetPointer() : nullptr;
  }

  /** Name of the grade, such as "HGG"; empty where no tumour was found. */
  itkGetStringMacro(Grade);
  /** Names of the classes of the grading model. */
  std::vector<std::string>
  GetClassNames() const;
  /** Probability of each class; empty where no tumour was found. */
  const std::vector<double> &
  GetProbabilities() const
  {
    return m_Probabilities;
  }
  const std::vector<double> &
  GetLogits() const
  {
    return m_Logits;
  }
  /** Class that the maps explain. */
  itkGetConstMacro(ExplainedClass, unsigned int);

  /** Probability of each class with healthy tissue in the tumour's place; empty where it was not asked for, no tumour
   * was found, or the other half has no healthy tissue for more of it than ReviewThresholds::LargestFilledShare. */
  const std::vector<double> &
  GetProbabilitiesWithoutTumour() const
  {
    return m_ProbabilitiesWithoutTumour;
  }
  /** Share of the tumour for which the other half has no healthy tissue; NaN where it was not asked for, or no tumour
   * was found. */
  itkGetConstMacro(FilledShare, double);

  /** What the whole brain's grader says; empty without one, or where no tumour was found. */
  const std::string &
  GetBrainGrade() const
  {
    return m_OfBrain.Grade;
  }
  const std::vector<double> &
  GetBrainProbabilities() const
  {
    return m_OfBrain.Probabilities;
  }
  /** Class that its maps explain. */
  unsigned int
  GetBrainExplainedClass() const
  {
    return m_OfBrain.ExplainedClass;
  }
  /** Spacing in mm of the voxels that it saw, along its own axes. */
  const Vector<double, 3> &
  GetBrainRegionSpacing() const
  {
    return m_OfBrain.Spacing;
  }

  itkGetConstMacro(TumourFound, bool);
  /** Volume of the label image's tumour, ml. */
  itkGetConstMacro(TumourVolume, double);
  /** Volume of the brain, ml. */
  itkGetConstMacro(BrainVolume, double);
  itkGetConstMacro(BrainMaskWasGiven, bool);

  /** Where the graded region lies. */
  using RegionReport = GradedRegionReport;
  const RegionReport &
  GetRegionReport() const
  {
    return m_RegionReport;
  }

  /** Numbers of SequenceOrderCalculator and ExplanationQualityFilter by name, such as "gradcam-res3-tumour-share"; NaN:
   * undefined. Maps are judged on their own grids, the border by guided backpropagation and the maps of a whole brain's
   * grader. Those of BrainGradingModel begin with "brain-". */
  const std::vector<std::pair<std::string, double>> &
  GetQuality() const
  {
    return m_Quality;
  }

  /** When a case is sent to a person. Default: those of ReviewThresholds, which says what they were set beside. */
  void
  SetReviewThresholds(const ReviewThresholds & thresholds);
  const ReviewThresholds &
  GetReviewThresholds() const
  {
    return m_ReviewThresholds;
  }

  /** Reasons for a look by a person; none: the verdict is "no-flags". Neither is a clinical acceptance. */
  const std::vector<std::string> &
  GetReviewReasons() const
  {
    return m_ReviewReasons;
  }

  /** What was done to the sequences for the grading model. */
  const std::vector<typename PreparationType::SequenceReport> &
  GetSequenceReports() const
  {
    return m_SequenceReports;
  }

  /** Wall-clock seconds of the stages of the last update, in their order. */
  const std::vector<std::pair<std::string, double>> &
  GetStageSeconds() const
  {
    return m_StageSeconds;
  }
  /** Stage that runs now, for an observer of ProgressEvent; empty: none. */
  itkGetStringMacro(CurrentStage);

protected:
  GliomaGradingFilter();
  ~GliomaGradingFilter() override = default;

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
  using RegionType = ImageRegion<3>;
  using MaskPixelType = typename MaskImageType::PixelType;
  using CorrectedType = std::map<std::string, typename RealImageType::ConstPointer>;
  using SequenceReportsType = std::vector<typename PreparationType::SequenceReport>;

  void
  CheckModel(const TorchModel * model, const std::string & role, const std::string & task) const;
  std::vector<std::uintptr_t>
  SignatureOfInputs() const;
  template <typename TPreparation, typename TSequenceOf>
  void
  Prepare(TPreparation *             preparation,
          const TSequenceOf &        sequenceOf,
          const TorchModelManifest & manifest,
          bool                       isCorrected,
          float                      progressStart,
          float                      progressWeight);
  void
  FindBrainCentre();
  void
  MakeUpright();
  typename RealImageType::Pointer
  TurnSequence(const InputImageType * sequence, const MaskImageType * mask) const;
  void
  TurnLabelsBack();
  void
  GradeUpright();
  void
  MeasureTumour();
  template <typename TImage>
  typename TImage::Pointer
  ResampleTo(const ImageBase<3> * grid, const TImage * image) const;
  void
  PrepareAndFindTumour();
  void
  CutRegionOfPrepared();
  void
  ReleasePrepared();
  /** The same voxels without what made them, so that nothing runs upstream. */
  template <typename TImage>
  static typename TImage::Pointer
  ViewOf(const TImage * image)
  {
    auto view = TImage::New();
    view->Graft(image);
    return view;
  }
  static bool
  PreparesAlike(const TorchModelManifest & a, const TorchModelManifest & b);
  bool
  TakesPrepared(const TorchModelManifest & manifest) const;
  void
  TakeFromOwner();
  void
  FindTumour(const VectorImageType * prepared);
  void
  TakeTumourMask();
  void
  MeasureTumourMask();
  void
  KeepLargeComponents(MaskImageType * labels) const;
  void
  CutRegion(const VectorImageType * prepared);
  void
  GradeReplaced(const VectorImageType * region, double filledShare);
  TorchExplanation
  ExplainRegion(const VectorImageType * region, const TorchExplanationRequest & request) const;
  void
  GradeAndExplain();
  void
  BringMapsBack(const TorchExplanation & explanation);
  void
  GradeWholeBrain();
  void
  JudgeExplanation();
  Array<double>
  FindBaseline() const;
  void
  RunExplanationTests();
  void
  CheckSequences();
  template <typename TMapImage>
  void
  Judge(const TMapImage * map, const std::string & name, bool isGuided);
  void
  Reset();
  template <typename TFilter>
  void
  Run(TFilter * filter, float progressStart, float progressWeight);
  void
  BeginStage(const std::string & name, float progress);
  void
  StopIfAborted(float progress);
  void
  EndStage();

  TorchModel::ConstPointer m_SegmentationModel;
  TorchModel::ConstPointer m_GradingModel;
  TorchModel::ConstPointer m_BrainGradingModel;
  ExplainEnum              m_Explain{ ExplainEnum::All };
  int                      m_ClassToExplain{ -1 };
  bool                     m_ExplainProbability{ false };
  bool                     m_TurnUpright{ true };
  bool                     m_TestExplanation{ false };
  bool                     m_GradeWithoutTumour{ true };
  bool                     m_KeepIntermediates{ false };
  std::vector<std::string> m_GradCAMLayers;

  // What lives as long as the inputs do not change.
  std::vector<std::uintptr_t>          m_Signature;
  typename MaskImageType::Pointer      m_Labels;
  typename MaskImageType::Pointer      m_Brain;
  typename MaskImageType::Pointer      m_BrainOfInput; // the same voxels, with the input's direction
  typename RealImageType::Pointer      m_Probability;
  typename VectorImageType::Pointer    m_Prepared;
  CorrectedType                        m_Corrected;  // for the whole brain's grader, until it has run
  typename MaskImageType::ConstPointer m_Border;     // the brain's shell; null: not known
  Array<double>                        m_Background; // what lies beyond m_Prepared, a component each
  typename VectorImageType::Pointer    m_Region;
  AxisAlignedMapping                   m_RegionMapping; // region's voxels to the input's indices
  RegionReport                         m_RegionReport;
  std::vector<double>                  m_ProbabilitiesWithoutTumour;
  double                               m_FilledShare{ ReviewFindings::Unknown };
  bool                                 m_TumourFound{ false };
  double                               m_TumourVolume{ 0.0 };
  double                               m_BrainVolume{ 0.0 };
  ContinuousIndex<double, 3>           m_BrainCentre; // its centroid: the models' grids hang on it
  bool                                 m_BrainMaskWasGiven{ false };
  ReviewFindings                       m_CaseFindings; // of the images and the tumour
  SequenceReportsType                  m_SequenceReports;

  // Does everything on the upright grid; null where the head stands upright.
  using UprightFilterType = GliomaGradingFilter<RealImageType, MaskImageType>;
  typename UprightFilterType::Pointer m_Upright;

  // What an explanation gave.
  struct LayerMaps
  {
    typename RealImageType::Pointer Map;
    typename RealImageType::Pointer Cells; // the same, where it was computed
    typename MaskImageType::Pointer Support;
    bool                            HasPositiveCell{ false };
  };
  /** The same from the whole brain. */
  struct OfBrain
  {
    std::string                       Grade;
    std::vector<double>               Probabilities;
    unsigned int                      ExplainedClass{ 0 };
    Vector<double, 3>                 Spacing{ 0.0 };
    std::map<std::string, LayerMaps>  GradCAM;
    typename VectorImageType::Pointer Guided;
  };
  /** Null: there are none of this layer. */
  static const LayerMaps *
  FindLayer(const std::map<std::string, LayerMaps> & maps, const std::string & layer)
  {
    const auto found = maps.find(layer);
    return found == maps.end() ? nullptr : &found->second;
  }
  /** What the filter that owns this one as its whole brain's grader knows already. */
  struct FromOwner
  {
    bool                                 IsOwned{ false };
    typename VectorImageType::Pointer    Prepared; // null: in another way
    Array<double>                        Background;
    CorrectedType                        Corrected;
    typename MaskImageType::ConstPointer Border;
  };
  FromOwner                                   m_FromOwner;
  OfBrain                                     m_OfBrain;
  Pointer                                     m_WholeBrain; // grades with the second model
  std::map<std::string, LayerMaps>            m_GradCAM;
  typename VectorImageType::Pointer           m_Guided;
  typename VectorImageType::Pointer           m_GuidedRegion; // the same, on the region's grid
  std::string                                 m_Grade;
  std::vector<double>                         m_Probabilities;
  std::vector<double>                         m_Logits;
  unsigned int                                m_ExplainedClass{ 0 };
  std::vector<std::pair<std::string, double>> m_SequenceNumbers;
  std::vector<std::pair<std::string, double>> m_Quality;
  ReviewThresholds                            m_ReviewThresholds;
  ReviewFindings                              m_Findings; // of the whole case
  std::vector<std::string>                    m_ReviewReasons;

  std::vector<std::pair<std::string, double>> m_StageSeconds;
  std::string                                 m_CurrentStage;
  double                                      m_StageStart{ 0.0 };
};
} // namespace itk

#ifndef ITK_MANUAL_INSTANTIATION
#  include "itkGliomaGradingFilter.hxx"
#endif

#endif // itkGliomaGradingFilter_h
