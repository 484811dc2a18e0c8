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
#ifndef itkTorchModelTrainer_h
#define itkTorchModelTrainer_h

#include "GliomaGradingExport.h"
#include "itkGliomaGradingCompat.h"
#include "itkObject.h"
#include "itkObjectFactory.h"
#include "itkValidationScore.h"

#include <atomic>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

namespace itk
{
/** \class TorchModelTrainerEnums
 * \brief Enumerations of TorchModelTrainer.
 * \ingroup GliomaGrading
 */
class TorchModelTrainerEnums
{
public:
  /** \class Task
   * \ingroup GliomaGrading
   * The network that is trained. */
  enum class Task : uint8_t
  {
    Segmentation,
    Grading
  };
  /** \class Loss
   * \ingroup GliomaGrading
   * Cross-entropy in the brain, or with one minus the soft Dice added (segmentation only). */
  enum class Loss : uint8_t
  {
    CrossEntropy,
    CrossEntropyAndDice
  };
  /** \class Optimizer
   * \ingroup GliomaGrading
   * Adam adds the weight decay to the gradient (L2), AdamW takes it off the weights. */
  enum class Optimizer : uint8_t
  {
    Adam,
    AdamW
  };
  /** \class Schedule
   * \ingroup GliomaGrading
   * The learning rate over the steps or the minutes, whichever ends first. */
  enum class Schedule : uint8_t
  {
    Constant,
    Cosine
  };
  /** \class Precision
   * \ingroup GliomaGrading
   * Arithmetic of the convolutions; weights, their updates and the loss are always float32. */
  enum class Precision : uint8_t
  {
    Float32,
    BFloat16
  };
};

/** \class TorchModelTrainer
 * \brief Trains one of the two networks of Pereira et al. 2018 on a cohort and writes it as a bundle.
 *
 * The cohort is one or more CSV files with the columns case,t1,t1c,t2,flair,seg (labels above 0 are tumour), for
 * grading grade (LGG or HGG), and optionally brain_mask, site and set (training, validation, test: only training cases
 * train). Train() first lists everything that is wrong with settings and cohort in one exception. Each case is prepared
 * once as the filters prepare it for inference (bias correction, Standardization, the model's spacing) and
 * kept in CacheFolder.
 *
 * SetTask() sets every option to what the paper says (Adam, learning rate 5e-5 for segmentation and 1e-4 for grading,
 * weight decay 1e-6 and 1e-4, cross-entropy, spatial dropout 0.05, dropout 0.4, a constant rate; augmentation for
 * grading only), and where it is silent to the choice written with the option. UseDemonstrationRecipe() sets a
 * small network for few cases instead.
 *
 * Segmentation learns on patches, grading on cubes around the expert's mask, or the
 * brain's box, as BoundingBoxROIFilter cuts them. Loss of
 * segmentation: \f$-\sum_i b_i [t_i \log p_i + (1 - t_i) \log(1 - p_i)] / \sum_i b_i\f$ over the brain b with the
 * tumour's share t of a voxel, plus \f$1 - (2 \sum p t + 1) / (\sum p + \sum t + 1)\f$ where Dice is asked.
 *
 * Every step's samples and dropout depend only on Seed and the step's number. At each checkpoint the bundle (whole or
 * not at all) and OUTPUT.checkpoint/state.safetensors are written, under other names first, so that a kill or a full
 * disk costs what was learned since the checkpoint before; weights that are not finite replace nothing. Resume goes on
 * from there, on one thread bit for bit as if it had not stopped (with the cosine schedule where the same MaximumSteps
 * end it: MaximumMinutes makes the rate a matter of the clock). It wants the same cases: what their files hold, grade
 * and cohort. OUTPUT.csv logs step, seconds, loss, rate and validation score; a file of that name which is no such log
 * is refused. While it runs no other training of this machine may write the same output. All prepared cases are held in
 * memory: 18 bytes a voxel at Spacing within the brain's box, 10 for most graders.
 *
 * On a processor the steps between the convolutions run in fewer passes over memory than torch's operators
 * (TrainingOperators). The next samples are made on threads of their own.
 *
 * IterationEvent follows each step, ProgressEvent each change of GetStatus(), one of which is a checkpoint. Stop() may
 * be called from a signal handler or another thread: Train() then writes its checkpoint and returns.
 * \sa TorchModel TorchSegmentationFilter GradeClassifierFilter
 * \ingroup GliomaGrading
 */
class GliomaGrading_EXPORT TorchModelTrainer : public Object
{
public:
  ITK_DISALLOW_COPY_AND_MOVE(TorchModelTrainer);

  using Self = TorchModelTrainer;
  using Superclass = Object;
  using Pointer = SmartPointer<Self>;
  using ConstPointer = SmartPointer<const Self>;
  using TaskEnum = TorchModelTrainerEnums::Task;
  using LossEnum = TorchModelTrainerEnums::Loss;
  using OptimizerEnum = TorchModelTrainerEnums::Optimizer;
  using ScheduleEnum = TorchModelTrainerEnums::Schedule;
  using PrecisionEnum = TorchModelTrainerEnums::Precision;

  itkNewMacro(Self);
  itkOverrideGetNameOfClassMacro(TorchModelTrainer);

  /** Sets the task and every option below it to the paper's recipe. Default: Segmentation. */
  void
  SetTask(TaskEnum task);
  itkGetEnumMacro(Task, TaskEnum);

  /** A start for few cases, on a processor: width 8; AdamW at 3e-3 (segmentation) or 1e-3 (grading) with weight decay
   * 1e-2, cosine schedule, 30 steps to warm up, gradients clipped at 5; intensity quantiles 0.005 and 0.995;
   * augmentations of place and intensity. Segmentation: three levels, 2 mm, patches of 92, cross-entropy and Dice.
   * Grading: 1 mm, cubes of 96, both grades drawn as often, labels smoothed by 0.1. Options that are set afterwards
   * replace these; the bundles that come along do so (examples/glioma/models/rebuild.sh). Call after SetTask(). */
  void
  UseDemonstrationRecipe();

  /** A COHORT.csv, or a folder in BRATS 2017's layout (CohortReader), and how often it is drawn beside the others (0:
   * by its number of cases). Where some of its cases have a set, all have one but those that are left out or validated
   * below. */
  void
  AddCohort(const std::string & file, double weight = 0.0);
  void
  ClearCohorts();
  /** Which set a case is in, as CohortReader reads it. Default empty: the column set says it. */
  itkSetStringMacro(SplitFile);
  itkGetStringMacro(SplitFile);
  /** Cases that are neither trained on nor validated. */
  void
  AddLeftOutCase(const std::string & name);
  void
  ClearLeftOutCases();
  /** Sites (column site) that are neither trained on nor validated. */
  void
  AddLeftOutSite(const std::string & site);
  void
  ClearLeftOutSites();
  /** Cases that are not trained on but scored: Dice on the model's grid, or P(HGG). A case of the set training may be
   * named, one of the set test may not: scores choose the weights (KeepBest, Patience). */
  void
  AddValidationCase(const std::string & name);
  void
  ClearValidationCases();

  /** Folder of the bundle that is written. */
  itkSetStringMacro(Output);
  itkGetStringMacro(Output);
  /** Folder of the prepared cases. Default empty: cohort-cache beside Output. */
  itkSetStringMacro(CacheFolder);
  itkGetStringMacro(CacheFolder);
  /** Bundle of the same network to start from. Its training and validation cases are named in the manifest behind those
   * of this training, each once: an evaluation must know all that the weights have seen. A patient that it was trained
   * on must not validate. Default: none. */
  itkSetStringMacro(InitialBundle);
  itkGetStringMacro(InitialBundle);
  /** Goes on from OUTPUT.checkpoint. Default: false, and an existing checkpoint is refused. */
  itkSetMacro(Resume, bool);
  itkGetConstMacro(Resume, bool);
  itkBooleanMacro(Resume);

  /** Channels of the first block. Default: 16 (the paper is silent). */
  itkSetMacro(Width, unsigned int);
  itkGetConstMacro(Width, unsigned int);
  /** Poolings + 1 of the segmentation network. Default: 4. */
  itkSetMacro(Levels, unsigned int);
  itkGetConstMacro(Levels, unsigned int);
  /** Padded convolutions. Default: false. */
  itkSetMacro(Padded, bool);
  itkGetConstMacro(Padded, bool);
  itkBooleanMacro(Padded);
  /** Dropout of the grading network. Default: 0.4. */
  itkSetMacro(Dropout, double);
  itkGetConstMacro(Dropout, double);
  /** Spatial dropout of the residual blocks. Default: 0.05 for segmentation, 0 for grading. */
  itkSetMacro(SpatialDropout, double);
  itkGetConstMacro(SpatialDropout, double);

  /** Voxel size in mm of the model's grid. Default: 1. */
  itkSetMacro(Spacing, double);
  itkGetConstMacro(Spacing, double);
  /** "n4" (default) or "none". */
  itkSetStringMacro(BiasCorrection);
  itkGetStringMacro(BiasCorrection);
  /** "brain" (default) or "image". */
  itkSetStringMacro(Standardization);
  itkGetStringMacro(Standardization);
  /** Quantiles of the brain at which intensities are clipped. Default: 0 and 1, off. */
  itkSetMacro(LowerQuantile, double);
  itkGetConstMacro(LowerQuantile, double);
  itkSetMacro(UpperQuantile, double);
  itkGetConstMacro(UpperQuantile, double);
  /** Voxels around the tumour on each side of its longest extent (grading). Default: 10. */
  itkSetMacro(Margin, unsigned int);
  itkGetConstMacro(Margin, unsigned int);
  /** Parts of a tumour smaller than this share of the largest are left out of a predicted mask (segmentation: of no
   * matter to training, which has drawn masks), or do not stretch the region (grading: that of training too). Written
   * to the manifest. Default: 0.05. */
  itkSetMacro(MinimumComponentShare, double);
  itkGetConstMacro(MinimumComponentShare, double);
  /** Input voxels a side: of a patch (default 136), or of the tumour's cube (default 96). */
  itkSetMacro(PatchSize, unsigned int);
  itkGetConstMacro(PatchSize, unsigned int);
  /** Grading: "tumour" (default) or "brain", the brain's box stretched to PatchSize without a margin; then no tumour
   * mask is needed. SetRegion() sets Margin to 10 or 0. */
  void
  SetRegion(const std::string & region);
  itkGetConstMacro(Region, std::string);
  /** Weights of the classes in the cross-entropy: "none" (default, as the paper writes it) or "inverse-frequency", so
   * that LGG and HGG, or tumour and the rest of the brain, count the same in all; not together with Balance. */
  itkSetStringMacro(ClassWeights);
  itkGetStringMacro(ClassWeights);
  /** Samples of a step. Default: 2 for segmentation, 4 for grading (the paper is silent). */
  itkSetMacro(BatchSize, unsigned int);
  itkGetConstMacro(BatchSize, unsigned int);
  /** Share of the patches that are centred on tumour, the others on brain. Default: 0.5. */
  itkSetMacro(TumourShare, double);
  itkGetConstMacro(TumourShare, double);
  /** Grades take turns in a batch (grading). Default: false. */
  itkSetMacro(Balance, bool);
  itkGetConstMacro(Balance, bool);
  itkBooleanMacro(Balance);

  /** Default: CrossEntropy. */
  itkSetEnumMacro(Loss, LossEnum);
  itkGetEnumMacro(Loss, LossEnum);
  /** Share of the target given to both classes equally (grading). Default: 0. */
  itkSetMacro(LabelSmoothing, double);
  itkGetConstMacro(LabelSmoothing, double);
  /** Default: Adam. */
  itkSetEnumMacro(Optimizer, OptimizerEnum);
  itkGetEnumMacro(Optimizer, OptimizerEnum);
  /** Default: 5e-5 for segmentation, 1e-4 for grading. */
  itkSetMacro(LearningRate, double);
  itkGetConstMacro(LearningRate, double);
  /** Default: 1e-6 for segmentation, 1e-4 for grading. */
  itkSetMacro(WeightDecay, double);
  itkGetConstMacro(WeightDecay, double);
  /** Weight decay on convolution kernels alone. Default: true for segmentation, false for grading. */
  itkSetMacro(DecayKernelsOnly, bool);
  itkGetConstMacro(DecayKernelsOnly, bool);
  itkBooleanMacro(DecayKernelsOnly);
  /** Default: Constant. */
  itkSetEnumMacro(Schedule, ScheduleEnum);
  itkGetEnumMacro(Schedule, ScheduleEnum);
  /** Steps over which the rate rises from 0. Default: 0. */
  itkSetMacro(WarmUpSteps, unsigned int);
  itkGetConstMacro(WarmUpSteps, unsigned int);
  /** After so many steps the batch normalizations keep their running statistics and use them while training too, so
   * that the network learns what it will meet: with two samples a step, the statistics of a step hide how much contrast
   * differs between patients. Default: 0 (never). */
  itkSetMacro(NormalizationSteps, unsigned int);
  itkGetConstMacro(NormalizationSteps, unsigned int);
  /** Segmentation with padding: so many of the decoder's coarser maps (of 1/2, 1/4, ... of the resolution) have a head
   * of their own while training, whose loss counts 1/2, 1/4, ... (Lee et al. 2015, arXiv 1409.5185). At most Levels
   * less 2; the bundle has none of them. Default: 0. */
  itkSetMacro(DeepSupervision, unsigned int);
  itkGetConstMacro(DeepSupervision, unsigned int);
  /** Norm to which gradients are clipped; 0 (default): not. */
  itkSetMacro(GradientClipping, double);
  itkGetConstMacro(GradientClipping, double);
  /** Augmentation by name, optionally NAME=STRENGTH; GetAugmentationHelp() lists them. Default: none for segmentation;
   * sagittal-flip, rotation, quarter-turns and gamma for grading. */
  void
  AddAugmentation(const std::string & nameAndStrength);
  void
  ClearAugmentations();
  const std::vector<std::string> &
  GetAugmentations() const
  {
    return m_Augmentations;
  }
  /** One line for each augmentation: name, strength, meaning. */
  static std::string
  GetAugmentationHelp();

  /** Ends after so many steps (0: no limit) or minutes of training (0: no limit), whichever comes first. One of them
   * must be set. Default: 0. */
  itkSetMacro(MaximumSteps, std::uint64_t);
  itkGetConstMacro(MaximumSteps, std::uint64_t);
  itkSetMacro(MaximumMinutes, double);
  itkGetConstMacro(MaximumMinutes, double);
  /** Minutes between checkpoints; 0: after each step. Default: 5. */
  itkSetMacro(CheckpointMinutes, double);
  itkGetConstMacro(CheckpointMinutes, double);
  /** Scores the validation cases every so many steps; 0 (default): at the end. */
  itkSetMacro(ValidationSteps, std::uint64_t);
  itkGetConstMacro(ValidationSteps, std::uint64_t);
  /** Default: 1. */
  itkSetMacro(Seed, std::uint64_t);
  itkGetConstMacro(Seed, std::uint64_t);
  /** Default: Float32. */
  itkSetEnumMacro(Precision, PrecisionEnum);
  itkGetEnumMacro(Precision, PrecisionEnum);
  /** Threads of torch, and of them those that prepare cases and batches: a quarter, or with a GPU for batches all. They
   * do not change what is drawn. 0 (default): those of itk::MultiThreaderBase. */
  itkSetMacro(NumberOfThreads, unsigned int);
  itkGetConstMacro(NumberOfThreads, unsigned int);
  /** Ends after so many validations in a row without a better mean score (needs ValidationSteps). Default: 0, off. */
  itkSetMacro(Patience, unsigned int);
  itkGetConstMacro(Patience, unsigned int);
  /** The bundle holds the weights that scored best on the validation cases, where these are scored between (needs
   * ValidationSteps); the last ones otherwise. Default: true. */
  itkSetMacro(KeepBest, bool);
  itkGetConstMacro(KeepBest, bool);
  itkBooleanMacro(KeepBest);
  /** "auto" (default: CUDA where torch finds a GPU, else the processor), "cpu", "cuda" or "cuda:N". */
  itkSetStringMacro(Device);
  itkGetStringMacro(Device);

  /** What the bundle's manifest says of itself. */
  itkSetStringMacro(Name);
  itkGetStringMacro(Name);
  itkSetStringMacro(TrainingData);
  itkGetStringMacro(TrainingData);
  itkSetStringMacro(IntendedUse);
  itkGetStringMacro(IntendedUse);
  itkSetStringMacro(Licence);
  itkGetStringMacro(Licence);
  itkSetMacro(Demonstration, bool);
  itkGetConstMacro(Demonstration, bool);
  itkBooleanMacro(Demonstration);
  /** CSV with the columns case,licence,attribution (a trailing * in case stands for any ending) or the same as a JSON
   * list; every training case must be in it, those of InitialBundle where that has no licence for them, and by more
   * than a row of * alone. Default: none. */
  itkSetStringMacro(AttributionFile);
  itkGetStringMacro(AttributionFile);

  /** Checks, prepares, trains, writes the bundle and scores the validation cases. */
  void
  Train();

  /** Asks Train() to write its checkpoint and return, after the validation of the running step where one is due; safe
   * in a signal handler. */
  void
  Stop()
  {
    m_Stop.store(true);
  }

  /** Everything that is wrong with the settings and the cohort, without reading an image. */
  std::vector<std::string>
  FindProblems() const;

  itkGetConstMacro(Step, std::uint64_t);
  itkGetConstMacro(LastLoss, double);
  /** Mean score of the last validation, for grading that of the true grade's probability; NaN before the first. */
  itkGetConstMacro(LastScore, double);
  /** Step of the best validation so far, 0 before the first. */
  itkGetConstMacro(BestStep, std::uint64_t);
  /** Seconds of training, those before a resume included. */
  itkGetConstMacro(Seconds, double);
  /** One sentence on what happens now. */
  itkGetStringMacro(Status);

  using Score = ValidationScore;
  /** Of the last validation, a case each. */
  const std::vector<Score> &
  GetScores() const
  {
    return m_Scores;
  }

protected:
  TorchModelTrainer();
  ~TorchModelTrainer() override = default;
  void
  PrintSelf(std::ostream & os, Indent indent) const override;

private:
  struct Session;
  friend struct Session;

  void
  Report(const std::string & status);

  TaskEnum                                    m_Task{ TaskEnum::Segmentation };
  std::vector<std::pair<std::string, double>> m_Cohorts;
  std::vector<std::string>                    m_LeftOutCases;
  std::vector<std::string>                    m_LeftOutSites;
  std::vector<std::string>                    m_ValidationCases;
  std::string                                 m_SplitFile;
  std::string                                 m_Output;
  std::string                                 m_CacheFolder;
  std::string                                 m_InitialBundle;
  bool                                        m_Resume{ false };

  unsigned int  m_Width{ 16 };
  unsigned int  m_Levels{ 4 };
  bool          m_Padded{ false };
  double        m_Dropout{ 0.4 };
  double        m_SpatialDropout{ 0.05 };
  double        m_Spacing{ 1.0 };
  std::string   m_BiasCorrection{ "n4" };
  std::string   m_Standardization{ "brain" };
  double        m_LowerQuantile{ 0.0 };
  double        m_UpperQuantile{ 1.0 };
  unsigned int  m_Margin{ 10 };
  double        m_MinimumComponentShare{ 0.05 };
  unsigned int  m_PatchSize{ 136 };
  unsigned int  m_BatchSize{ 2 };
  double        m_TumourShare{ 0.5 };
  bool          m_Balance{ false };
  std::string   m_ClassWeights{ "none" };
  std::string   m_Region{ "tumour" };
  LossEnum      m_Loss{ LossEnum::CrossEntropy };
  double        m_LabelSmoothing{ 0.0 };
  OptimizerEnum m_Optimizer{ OptimizerEnum::Adam };
  double        m_LearningRate{ 5e-5 };
  double        m_WeightDecay{ 1e-6 };
  bool          m_DecayKernelsOnly{ true };
  ScheduleEnum  m_Schedule{ ScheduleEnum::Constant };
  unsigned int  m_WarmUpSteps{ 0 };
  unsigned int  m_NormalizationSteps{ 0 };
  unsigned int  m_DeepSupervision{ 0 };
  double        m_GradientClipping{ 0.0 };

  std::vector<std::string> m_Augmentations;

  std::uint64_t m_MaximumSteps{ 0 };
  double        m_MaximumMinutes{ 0.0 };
  double        m_CheckpointMinutes{ 5.0 };
  std::uint64_t m_ValidationSteps{ 0 };
  unsigned int  m_Patience{ 0 };
  bool          m_KeepBest{ true };
  std::uint64_t m_Seed{ 1 };
  PrecisionEnum m_Precision{ PrecisionEnum::Float32 };
  unsigned int  m_NumberOfThreads{ 0 };
  std::string   m_Device{ "auto" };

  std::string m_Name;
  std::string m_TrainingData;
  std::string m_IntendedUse{ "Research use only." };
  std::string m_Licence;
  bool        m_Demonstration{ false };
  std::string m_AttributionFile;

  std::atomic<bool>  m_Stop{ false };
  std::uint64_t      m_Step{ 0 };
  double             m_LastLoss{ 0.0 };
  double             m_LastScore{ std::numeric_limits<double>::quiet_NaN() };
  std::uint64_t      m_BestStep{ 0 };
  double             m_Seconds{ 0.0 };
  std::string        m_Status;
  std::vector<Score> m_Scores;
};

/** Print the names. */
extern GliomaGrading_EXPORT std::ostream &
                            operator<<(std::ostream & out, const TorchModelTrainerEnums::Task value);
extern GliomaGrading_EXPORT std::ostream &
                            operator<<(std::ostream & out, const TorchModelTrainerEnums::Loss value);
extern GliomaGrading_EXPORT std::ostream &
                            operator<<(std::ostream & out, const TorchModelTrainerEnums::Optimizer value);
extern GliomaGrading_EXPORT std::ostream &
                            operator<<(std::ostream & out, const TorchModelTrainerEnums::Schedule value);
extern GliomaGrading_EXPORT std::ostream &
                            operator<<(std::ostream & out, const TorchModelTrainerEnums::Precision value);
} // namespace itk

#endif // itkTorchModelTrainer_h
