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
#include "itkTorchModelTrainer.h"

#include "AugmentationPipeline.h"
#include "BFloat16Autocast.h"
#include "BatchLoader.h"
#include "BundleManifest.h"
#include "BundleWriter.h"
#include "CohortCache.h"
#include "CuDNNBenchmark.h"
#include "DeepSupervision.h"
#include "DiskFlush.h"
#include "FileLock.h"
#include "Float32Convolutions.h"
#include "FusedAdam.h"
#include "FusedSegmentation.h"
#include "PereiraNetworks.h"
#include "Safetensors.h"
#include "TorchModes.h"
#include "TorchThreads.h"

#include "itkMultiThreaderBase.h"
#include "itkTorchModel.h"

#include <ATen/CPUGeneratorImpl.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <deque>
#include <exception>
#include <filesystem>
#include <fstream>
#include <future>
#include <iomanip>
#include <limits>
#include <locale>
#include <map>
#include <set>
#include <sstream>

namespace itk
{
namespace
{
namespace fs = std::filesystem;

/** Stream of the random numbers that initialize the network and drive dropout; samples use the step's number. */
constexpr std::uint64_t initializationStream = ~std::uint64_t{ 0 };
constexpr std::uint64_t dropoutItem = ~std::uint64_t{ 0 };

// torch's global random numbers are the caller's again afterwards.
class GeneratorGuard
{
public:
  GeneratorGuard()
    : m_State(at::detail::getDefaultCPUGenerator().get_state())
  {}
  GeneratorGuard(const GeneratorGuard &) = delete;
  GeneratorGuard &
  operator=(const GeneratorGuard &) = delete;
  ~GeneratorGuard()
  {
    auto generator = at::detail::getDefaultCPUGenerator();
    generator.set_state(m_State);
  }

private:
  at::Tensor m_State;
};

/** The samples of a step, as the step takes them. */
struct TrainingBatch
{
  torch::Tensor      Input;         // channels-last, in the step's precision
  torch::Tensor      Tumour, Brain; // segmentation: of the voxels that have logits
  std::vector<float> HighGrade;     // grading: 0, 1 or undecided, 0.5
};

std::string
WithoutTrailingSlash(std::string path)
{
  while (path.size() > 1 && path.back() == '/')
  {
    path.pop_back();
  }
  return path;
}

std::vector<TorchModelManifest::TrainingCase>
ReadAttributions(const std::string & path)
{
  std::ifstream file(path);
  if (!file)
  {
    itkGenericExceptionMacro("The attribution file '" << path << "' cannot be read");
  }
  std::vector<TorchModelManifest::TrainingCase> rows;
  if (fs::path(path).extension() == ".json")
  {
    const nlohmann::json list = nlohmann::json::parse(file, nullptr, false);
    if (!list.is_array())
    {
      itkGenericExceptionMacro("The attribution file '"
                               << path << "' is not a JSON list of objects with case, licence and attribution");
    }
    for (const auto & entry : list)
    {
      if (!entry.is_object() || !entry.contains("case") || !entry["case"].is_string())
      {
        itkGenericExceptionMacro("An entry of the attribution file '" << path << "' has no case");
      }
      const auto text = [&](const char * key) {
        return entry.contains(key) && entry[key].is_string() ? entry[key].get<std::string>() : std::string();
      };
      rows.push_back({ text("case"), text("licence"), text("attribution") });
    }
    return rows;
  }
  std::string line;
  std::getline(file, line);
  const std::vector<std::string> header = CohortReader::SplitLine(line);
  const auto                     columnOf = [&](const std::string & name) {
    const auto found = std::find(header.begin(), header.end(), name);
    if (found == header.end())
    {
      itkGenericExceptionMacro("The attribution file '" << path << "' has no column '" << name
                                                        << "'; it needs case, licence and attribution");
    }
    return static_cast<std::size_t>(found - header.begin());
  };
  const std::size_t name = columnOf("case");
  const std::size_t licence = columnOf("licence");
  const std::size_t attribution = columnOf("attribution");
  while (std::getline(file, line))
  {
    std::vector<std::string> fields = CohortReader::SplitLine(line);
    fields.resize(std::max(fields.size(), header.size()));
    if (!fields[name].empty())
    {
      rows.push_back({ fields[name], fields[licence], fields[attribution] });
    }
  }
  return rows;
}

/** The row of a case. A row of all cases is of this training's own, not of those that its start has seen. */
const TorchModelManifest::TrainingCase *
AttributionOf(const std::vector<TorchModelManifest::TrainingCase> & rows, const std::string & name, bool isOwn)
{
  const TorchModelManifest::TrainingCase * pattern = nullptr;
  for (const auto & row : rows)
  {
    if (row.Case == name)
    {
      return &row;
    }
    if (!row.Case.empty() && row.Case.back() == '*' && (isOwn || row.Case != "*") &&
        name.compare(0, row.Case.size() - 1, row.Case, 0, row.Case.size() - 1) == 0)
    {
      pattern = &row;
    }
  }
  return pattern;
}

/** The cohort's cases, sorted by what they are for. */
struct CohortPlan
{
  std::vector<CohortCase>                       Training;
  std::vector<CohortCase>                       Validation;
  TorchModelManifest                            Initial; // of the bundle to start from
  std::vector<TorchModelManifest::TrainingCase> Attributions;
  std::vector<std::string>                      Problems;
};

/** Puts the patch with its background into a batch [N, C, z, y, x] in channels-last. */
void
PutSample(const PreparedCase &                prepared,
          const AugmentationPipeline::Patch & patch,
          const torch::Tensor &               input,
          std::int64_t                        sample)
{
  const std::int64_t start = sample * input.stride(0);
  if (input.scalar_type() == torch::kBFloat16)
  {
    AugmentationPipeline::Interleave(
      patch, prepared.Background, static_cast<std::uint16_t *>(input.mutable_data_ptr()) + start);
  }
  else
  {
    AugmentationPipeline::Interleave(patch, prepared.Background, input.mutable_data_ptr<float>() + start);
  }
}

/** A new batch for PutSample(). */
torch::Tensor
EmptyInput(std::int64_t samples, std::int64_t side, const torch::TensorOptions & options)
{
  return torch::empty({ samples, AugmentationPipeline::Channels, side, side, side },
                      options.memory_format(torch::MemoryFormat::ChannelsLast3d));
}

// Of the names in a checkpoint.
constexpr char networkPrefix[] = "network.";
constexpr char deepSupervisionPrefix[] = "deep-supervision.";

constexpr char logColumns[] = "step,seconds,loss,rate,validation";

/** True also where a crash has left it empty. */
bool
IsTrainingLogOrNone(const std::string & path)
{
  std::error_code ignored;
  if (!fs::exists(path, ignored))
  {
    return true;
  }
  std::ifstream file(path);
  std::string   line;
  return fs::is_regular_file(path, ignored) && file && (!std::getline(file, line) || line == logColumns);
}

bool
Contains(const std::vector<std::string> & list, const std::string & value)
{
  return std::find(list.begin(), list.end(), value) != list.end();
}
} // namespace

/** Everything that lives for one Train(). */
struct TorchModelTrainer::Session
{
  explicit Session(TorchModelTrainer & trainer)
    : m_Trainer(trainer)
    , m_Segmentation(trainer.m_Task == TaskEnum::Segmentation)
    , m_Output(WithoutTrailingSlash(trainer.m_Output))
    , m_Checkpoint(m_Output + ".checkpoint/state.safetensors")
    , m_NewBundle(m_Output + ".checkpoint/bundle.new")
    , m_OldBundle(m_Output + ".checkpoint/bundle.old")
    , m_Device(TorchModel::ResolveDevice(trainer.m_Device))
  {}

  static CohortPlan
  Plan(const TorchModelTrainer & trainer);

  unsigned int
  Threads() const
  {
    return m_Trainer.m_NumberOfThreads > 0 ? m_Trainer.m_NumberOfThreads
                                           : MultiThreaderBase::GetGlobalDefaultNumberOfThreads();
  }
  /** Of the threads, those that prepare cases and batches. */
  unsigned int
  Helpers() const
  {
    return std::max(1U, this->Threads() / 4);
  }
  /** Keeps other trainings out, and throws where the output could not be written, before hours of preparation. */
  void
  ReserveOutput();
  void
  PrepareCases(const CohortPlan & plan);
  void
  MakeNetwork();
  void
  MakeOptimizer();
  void
  LoadInitialWeights();
  /** All of a case that a training depends on. */
  std::string
  KeyOf(const PreparedCase & prepared) const;
  std::string
  OptionsText() const;
  /** What a checkpoint holds; throws where that is not finite. */
  std::map<std::string, torch::Tensor>
  CheckpointState();
  void
  LoadCheckpoint();
  void
  OpenLog();
  void
  RemoveLeftovers(const std::string & cacheFolder) const;
  /** A whole bundle beside the checkpoint; PublishBundle() puts it into its place. */
  void
  WriteBundle();
  void
  PublishBundle();
  [[noreturn]] void
  RefuseToGoOn(const std::string & what) const;
  TrainingBatch
  MakeBatch(std::uint64_t step) const;
  double
  RateOfStep(std::uint64_t step) const;
  bool
  IsDone() const;
  /** Validation: better than all before? Keeps the weights. */
  void
  NoteScore(double score);
  double
  TrainStep(const TrainingBatch & batch, double rate);
  void
  Score();
  void
  Run();

  static void
  CutCube(const PreparedCase &            prepared,
          std::array<double, 3>           low,
          std::array<double, 3>           high,
          double                          margin,
          bool                            stretch,
          std::int64_t                    size,
          AugmentationPipeline::Placement placement,
          const std::array<double, 3> &   shift,
          AugmentationPipeline::Patch &   patch);
  static void
  PlaceCube(const std::array<double, 3> &     low,
            const std::array<double, 3> &     high,
            double                            margin,
            bool                              stretch,
            std::int64_t                      size,
            const std::array<double, 3> &     shift,
            AugmentationPipeline::Placement & placement);
  /** A cube as large as that around the box, with healthy tissue of the other half in the tumour's place. */
  void
  CutHealthyCube(const PreparedCase &            prepared,
                 const std::array<double, 3> &   low,
                 const std::array<double, 3> &   high,
                 CounterRandom &                 random,
                 AugmentationPipeline::Placement placement,
                 AugmentationPipeline::Patch &   patch) const;
  static std::int64_t
  BrainVoxel(CounterRandom & random, const AugmentationPipeline::Volume & volume);
  static std::array<double, 3>
  CentreOf(const AugmentationPipeline::Volume & volume, std::int64_t voxel);
  /** Grading: samples that need more of the head than the cube around the tumour. */
  bool
  NeedsWholeHeads() const
  {
    return !m_Segmentation &&
           (m_Augmentation.Strength("tumour-free") > 0.0 || m_Augmentation.Strength("transplant") > 0.0);
  }

  torch::Tensor
  Forward(const torch::Tensor & x, const ForwardContext & context = {})
  {
    return m_Segmentation ? m_SegmentationNetwork->forward(x, context) : m_GradingNetwork->forward(x, context);
  }
  torch::nn::Module &
  Network()
  {
    if (m_Segmentation)
    {
      return *m_SegmentationNetwork;
    }
    return *m_GradingNetwork;
  }
  /** What learns: the network, and heads that no bundle has. */
  torch::OrderedDict<std::string, torch::Tensor>
  Parameters()
  {
    auto parameters = this->Network().named_parameters();
    if (m_DeepSupervision)
    {
      for (const auto & item : m_DeepSupervision->named_parameters())
      {
        parameters.insert(deepSupervisionPrefix + item.key(), item.value());
      }
    }
    return parameters;
  }
  /** The loss of logits [N, 2, z, y, x] in the brain; both others [N, 1, z, y, x]. */
  torch::Tensor
  SegmentationLoss(const torch::Tensor & logits, const torch::Tensor & target, const torch::Tensor & brain) const;

  TorchModelTrainer &                  m_Trainer;
  bool                                 m_Segmentation;
  std::string                          m_Output;
  std::string                          m_Checkpoint;
  std::string                          m_NewBundle; // in the checkpoint's folder, which is the training's own
  std::string                          m_OldBundle;
  std::unique_ptr<FileLock>            m_Lock;
  torch::Device                        m_Device;
  std::vector<PreparedCase>            m_Training;
  std::vector<PreparedCase>            m_Validation;
  std::vector<double>                  m_CohortWeights;
  CohortPlan                           m_Plan;
  AugmentationPipeline                 m_Augmentation;
  PereiraSegmentationNetwork           m_SegmentationNetwork{ nullptr };
  PereiraGradingNetwork                m_GradingNetwork{ nullptr };
  DeepSupervision                      m_DeepSupervision{ nullptr };
  std::unique_ptr<FusedAdam>           m_Optimizer;
  std::ofstream                        m_Log;
  std::vector<float>                   m_ClassWeights; // empty: all 1
  std::map<std::string, torch::Tensor> m_Best;         // the best validated state; empty: none yet
  double                               m_BestScore{ 0.0 };
  std::uint64_t                        m_Stale{ 0 };     // validations since
  std::uint64_t                        m_SavedStep{ 0 }; // of the checkpoint; 0: none yet
};

CohortPlan
TorchModelTrainer::Session::Plan(const TorchModelTrainer & trainer)
{
  CohortPlan plan;
  auto &     problems = plan.Problems;
  const bool grading = trainer.m_Task == TaskEnum::Grading;
  const auto check = [&](bool good, const std::string & text) {
    if (!good)
    {
      problems.push_back(text);
    }
  };
  const auto number = [](double value) {
    std::ostringstream text;
    text << value;
    return text.str();
  };
  check(!trainer.m_Output.empty(), "Output is not set: name the folder of the bundle");
  check(trainer.m_Width >= 1, "Width is 0; it is at least 1");
  check(grading || (trainer.m_Levels >= 2 && trainer.m_Levels <= 6),
        "Levels is " + std::to_string(trainer.m_Levels) + "; it is 2 to 6");
  check(trainer.m_Dropout >= 0.0 && trainer.m_Dropout < 1.0,
        "Dropout is " + number(trainer.m_Dropout) + "; it is in [0, 1)");
  check(trainer.m_SpatialDropout >= 0.0 && trainer.m_SpatialDropout < 1.0,
        "SpatialDropout is " + number(trainer.m_SpatialDropout) + "; it is in [0, 1)");
  check(trainer.m_Spacing > 0.0 && trainer.m_Spacing <= 10.0,
        "Spacing is " + number(trainer.m_Spacing) + " mm; it is in (0, 10]");
  check(trainer.m_BiasCorrection == "n4" || trainer.m_BiasCorrection == "none",
        "BiasCorrection is '" + trainer.m_BiasCorrection + "'; it is n4 or none");
  check(trainer.m_Standardization == "brain" || trainer.m_Standardization == "image",
        "Standardization is '" + trainer.m_Standardization + "'; it is brain or image");
  check(trainer.m_LowerQuantile >= 0.0 && trainer.m_LowerQuantile < trainer.m_UpperQuantile &&
          trainer.m_UpperQuantile <= 1.0,
        "The quantiles are " + number(trainer.m_LowerQuantile) + " and " + number(trainer.m_UpperQuantile) +
          "; they rise within [0, 1]");
  check(trainer.m_BatchSize >= 1, "BatchSize is 0; it is at least 1");
  check(trainer.m_MinimumComponentShare >= 0.0 && trainer.m_MinimumComponentShare <= 1.0,
        "MinimumComponentShare is " + number(trainer.m_MinimumComponentShare) + "; it is in [0, 1]");
  check(trainer.m_TumourShare >= 0.0 && trainer.m_TumourShare <= 1.0,
        "TumourShare is " + number(trainer.m_TumourShare) + "; it is in [0, 1]");
  check(trainer.m_LabelSmoothing >= 0.0 && trainer.m_LabelSmoothing < 1.0,
        "LabelSmoothing is " + number(trainer.m_LabelSmoothing) + "; it is in [0, 1)");
  check(std::isfinite(trainer.m_LearningRate) && trainer.m_LearningRate > 0.0,
        "LearningRate is " + number(trainer.m_LearningRate) + "; it is a number above 0");
  const auto checkNotNegative = [&](const std::string & name, double value) {
    check(std::isfinite(value) && value >= 0.0, name + " is " + number(value) + "; it is a number from 0 on");
  };
  checkNotNegative("WeightDecay", trainer.m_WeightDecay);
  checkNotNegative("GradientClipping", trainer.m_GradientClipping);
  checkNotNegative("MaximumMinutes", trainer.m_MaximumMinutes);
  checkNotNegative("CheckpointMinutes", trainer.m_CheckpointMinutes);
  check(trainer.m_MaximumSteps > 0 || trainer.m_MaximumMinutes > 0.0,
        "Neither MaximumSteps (--steps) nor MaximumMinutes (--minutes) is set: training would not end");
  check(trainer.m_ClassWeights == "none" || trainer.m_ClassWeights == "inverse-frequency",
        "ClassWeights is '" + trainer.m_ClassWeights + "'; it is none or inverse-frequency");
  check(trainer.m_Region == "tumour" || (grading && trainer.m_Region == "brain"),
        "Region is '" + trainer.m_Region + "'; it is tumour, or for grading brain");
  check(trainer.m_Patience == 0 || trainer.m_ValidationSteps > 0,
        "Patience is " + std::to_string(trainer.m_Patience) + ", but ValidationSteps is 0: nothing would be validated");
  check(!grading || trainer.m_Loss == LossEnum::CrossEntropy,
        "The Dice loss is for segmentation; grading uses cross-entropy");
  check(grading || trainer.m_LabelSmoothing == 0.0, "LabelSmoothing is for grading; segmentation has soft labels");
  check(grading || !trainer.m_Balance, "Balance is for grading");
  const std::int64_t coarseHeads = trainer.m_DeepSupervision;
  if (coarseHeads > 0)
  {
    SegmentationNetworkOptions options;
    options.Levels = trainer.m_Levels;
    const std::int64_t most = std::max<std::int64_t>(0, DeepSupervisionImpl::MostLevels(options));
    check(!grading, "DeepSupervision is for segmentation");
    check(grading || trainer.m_Padded, "DeepSupervision needs a padded network (--padded true)");
    check(grading || coarseHeads <= most,
          "DeepSupervision is " + std::to_string(coarseHeads) + "; a network of " + std::to_string(trainer.m_Levels) +
            " levels takes 0 to " + std::to_string(most));
  }
  check(!grading || !trainer.m_Balance || trainer.m_ClassWeights != "inverse-frequency",
        "Balance and ClassWeights inverse-frequency together level the grades twice, so that the rarer one counts for "
        "more: set Balance to false (--balance false) or ClassWeights to none (--class-weights none)");
  for (const std::string & augmentation : trainer.m_Augmentations)
  {
    const std::string name = augmentation.substr(0, augmentation.find('='));
    check(name != "tumour-free" || grading, "The augmentation tumour-free is for grading");
    const bool takesTumourAway = grading && (name == "tumour-free" || name == "transplant");
    check(!takesTumourAway || trainer.m_Region == "tumour",
          "The augmentation " + name + " needs Region tumour: a grader of the whole brain has no tumour masks");
  }
  try
  {
    const torch::Device device(TorchModel::ResolveDevice(trainer.m_Device));
    check(!device.is_cuda() || torch::cuda::is_available(),
          "Device is '" + trainer.m_Device + "', but this torch finds no GPU; use cpu");
    check(device.is_cpu() || device.is_cuda(), "Device is '" + trainer.m_Device + "'; it is auto, cpu, cuda or cuda:N");
  }
  catch (const c10::Error &)
  {
    problems.push_back("Device is '" + trainer.m_Device + "'; it is auto, cpu, cuda or cuda:N");
  }
  const auto checkDeepest = [&](std::int64_t patchOfOneVoxel) {
    check(
      trainer.m_BatchSize != 1 || trainer.m_PatchSize != patchOfOneVoxel,
      "PatchSize is " + std::to_string(trainer.m_PatchSize) +
        " and BatchSize 1: the deepest maps have one voxel, from which a batch norm learns nothing; raise one of them");
  };
  if (grading)
  {
    const unsigned int smallest = trainer.m_Padded ? 8u : 72u;
    check(trainer.m_PatchSize % 8 == 0 && trainer.m_PatchSize >= smallest,
          "PatchSize is " + std::to_string(trainer.m_PatchSize) +
            "; the grading network takes multiples of 8, without padding from 72 on");
    checkDeepest(smallest);
  }
  else if (trainer.m_Levels >= 2 && trainer.m_Levels <= 6 && trainer.m_Width >= 1)
  {
    SegmentationNetworkOptions options;
    options.Width = 1;
    options.Levels = trainer.m_Levels;
    options.Padded = trainer.m_Padded;
    const PereiraSegmentationNetwork geometry(options);
    check(trainer.m_PatchSize % geometry->Step() == 0 && trainer.m_PatchSize > 2 * geometry->Halo(),
          "PatchSize is " + std::to_string(trainer.m_PatchSize) + "; with " + std::to_string(trainer.m_Levels) +
            " levels it is a multiple of " + std::to_string(geometry->Step()) + " above " +
            std::to_string(2 * geometry->Halo()));
    if (trainer.m_Padded)
    {
      checkDeepest(geometry->Step());
    }
  }
  const std::string output = WithoutTrailingSlash(trainer.m_Output);
  const std::string checkpoint = output + ".checkpoint/state.safetensors";
  if (!output.empty())
  {
    if (trainer.m_Resume)
    {
      check(fs::exists(checkpoint), "There is nothing to resume: " + checkpoint + " does not exist");
    }
    else
    {
      check(!fs::exists(checkpoint),
            "There is an unfinished or finished training in " + output +
              ".checkpoint: resume it, or delete that folder");
      check(!fs::exists(output), "The output " + output + " exists: delete it or name another");
    }
    check(IsTrainingLogOrNone(output + ".csv"),
          output + ".csv exists and is not the log of a training, which would take its place: name another output");
  }
  if (!trainer.m_InitialBundle.empty())
  {
    try
    {
      plan.Initial = ReadBundleManifest(trainer.m_InitialBundle);
      const TorchModelManifest & manifest = plan.Initial;
      const std::string          wanted = grading ? "PereiraGradingNetwork" : "PereiraSegmentationNetwork";
      const auto describe = [](const std::string & network, unsigned width, bool padded, unsigned levels) {
        return network + " of width " + std::to_string(width) + (padded ? ", padded" : ", not padded") +
               (levels > 0 ? ", with " + std::to_string(levels) + " levels" : "");
      };
      check(manifest.Network == wanted && manifest.Width == trainer.m_Width && manifest.Padded == trainer.m_Padded &&
              (grading || manifest.Levels == trainer.m_Levels),
            "The initial bundle " + trainer.m_InitialBundle + " holds a " +
              describe(manifest.Network, manifest.Width, manifest.Padded, manifest.Levels) + "; a " +
              describe(wanted, trainer.m_Width, trainer.m_Padded, grading ? 0 : trainer.m_Levels) + " is trained");
      check(manifest.Groups == 1,
            "The initial bundle " + trainer.m_InitialBundle + " is " + std::to_string(manifest.Groups) +
              " networks beside each other (network.groups): start from one that is trained");
      check(std::abs(manifest.Spacing[0] - trainer.m_Spacing) <= 0.01 * trainer.m_Spacing,
            "The initial bundle " + trainer.m_InitialBundle + " works at " + number(manifest.Spacing[0]) +
              " mm, the training at " + number(trainer.m_Spacing) + " mm");
    }
    catch (const ExceptionObject & error)
    {
      problems.push_back("The initial bundle '" + trainer.m_InitialBundle + "': " + error.GetDescription());
    }
  }

  check(!trainer.m_Cohorts.empty(), "No cohort is given");
  std::vector<CohortCase> all;
  for (std::size_t i = 0; i < trainer.m_Cohorts.size(); ++i)
  {
    checkNotNegative("The weight of " + trainer.m_Cohorts[i].first, trainer.m_Cohorts[i].second);
    const auto reader = CohortReader::New();
    reader->SetPath(trainer.m_Cohorts[i].first);
    reader->SetSplitFile(trainer.m_SplitFile);
    reader->SetLeftOut(trainer.m_LeftOutCases, trainer.m_LeftOutSites);
    reader->Read();
    problems.insert(problems.end(), reader->GetProblems().begin(), reader->GetProblems().end());
    for (CohortCase c : reader->GetCases())
    {
      c.Cohort = i;
      all.push_back(std::move(c));
    }
  }
  for (const std::string & problem : CohortReader::FindRepetitions(all))
  {
    // Within one cohort its reader has told it.
    check(Contains(problems, problem), problem);
  }
  std::set<std::string>           names;
  std::set<std::string>           sites;
  std::map<std::string, unsigned> withSet; // cases of a cohort that have one
  for (const CohortCase & c : all)
  {
    names.insert(c.Name);
    sites.insert(c.Site);
    withSet[c.File] += c.Set.empty() ? 0 : 1;
  }
  for (const auto * list : { &trainer.m_LeftOutCases, &trainer.m_ValidationCases })
  {
    for (const std::string & name : *list)
    {
      check(all.empty() || names.count(name) > 0,
            "The case " + name + " that is left out or validated is in no cohort");
    }
  }
  for (const std::string & site : trainer.m_LeftOutSites)
  {
    check(all.empty() || sites.count(site) > 0, "The site " + site + " that is left out is in no cohort");
  }
  std::error_code ignored;
  std::size_t     grades[2] = { 0, 0 };
  for (const CohortCase & c : all)
  {
    const bool asked = Contains(trainer.m_ValidationCases, c.Name);
    const bool isLeftOut = Contains(trainer.m_LeftOutCases, c.Name);
    check(!asked || !isLeftOut, "The case " + c.Name + " is left out and validated; choose one");
    if (isLeftOut || (!c.Site.empty() && Contains(trainer.m_LeftOutSites, c.Site)))
    {
      continue;
    }
    check(!asked || c.Set != "test",
          "The case " + c.Name +
            " is in the set test: the training would look at what it is tested with; validate another");
    if (c.Set == "test")
    {
      continue;
    }
    check(asked || !c.Set.empty() || withSet[c.File] == 0,
          "The case " + c.Name + " has no set, where others of " + c.File +
            " have one: give it training, validation or test, or leave it out");
    for (const std::string & file :
         { c.Sequences[0], c.Sequences[1], c.Sequences[2], c.Sequences[3], c.BrainMask, c.Tumour })
    {
      check(!fs::is_directory(file, ignored),
            c.File + ": the case " + c.Name + ": " + file +
              " is a folder; training takes files: convert a DICOM series to NIfTI first");
    }
    const bool validates = asked || c.Set == "validation";
    check(!c.Tumour.empty() || trainer.m_Region == "brain",
          c.File + ": the case " + c.Name + " has no tumour mask (column seg)");
    if (grading)
    {
      check(!c.Grade.empty(), c.File + ": the case " + c.Name + " has no grade");
      if (!validates && !c.Grade.empty())
      {
        ++grades[c.Grade == "HGG" ? 1 : 0];
      }
    }
    auto & list = validates ? plan.Validation : plan.Training;
    list.push_back(c);
    if (trainer.m_Region == "brain")
    {
      list.back().Tumour.clear(); // not looked at
    }
  }
  std::map<std::string, std::string> seen; // names of the initial bundle's cases by patient
  for (const auto & entry : plan.Initial.TrainingCases)
  {
    seen.emplace(CohortReader::PatientOf(entry.Case), entry.Case);
  }
  for (const CohortCase & c : plan.Validation)
  {
    const auto found = seen.find(CohortReader::PatientOf(c.Name));
    if (found != seen.end())
    {
      problems.push_back("The case " + c.Name + " validates, but the initial bundle '" + trainer.m_InitialBundle +
                         "' was trained on " + (found->second == c.Name ? "it" : found->second) +
                         ": its score would be too good and choose the weights; leave it out, validate another, or "
                         "start from another bundle");
    }
  }
  check(all.empty() || !plan.Training.empty(), "No case is left to train on");
  check(all.empty() || trainer.m_Patience == 0 || !plan.Validation.empty(),
        "Patience is " + std::to_string(trainer.m_Patience) +
          ", but no case validates: name some, or give them the "
          "set validation");
  if (grading && grades[0] + grades[1] > 0)
  {
    check(grades[0] > 0 && grades[1] > 0,
          "All " + std::to_string(grades[0] + grades[1]) + " training cases are " + (grades[0] > 0 ? "LGG" : "HGG") +
            ": grading needs both grades");
  }
  if (!trainer.m_AttributionFile.empty())
  {
    try
    {
      plan.Attributions = ReadAttributions(trainer.m_AttributionFile);
      for (const CohortCase & c : plan.Training)
      {
        check(AttributionOf(plan.Attributions, c.Name, true) != nullptr,
              "The training case " + c.Name + " is not in " + trainer.m_AttributionFile);
      }
      for (const auto & entry : plan.Initial.TrainingCases)
      {
        check(!entry.Licence.empty() || AttributionOf(plan.Attributions, entry.Case, false) != nullptr,
              "The training case " + entry.Case + " of the initial bundle has no licence there and is not in " +
                trainer.m_AttributionFile);
      }
    }
    catch (const ExceptionObject & error)
    {
      problems.push_back(error.GetDescription());
    }
  }
  return plan;
}

void
TorchModelTrainer::Session::ReserveOutput()
{
  const fs::path folder = fs::path(m_Checkpoint).parent_path();
  fs::create_directories(folder);
  m_Lock = std::make_unique<FileLock>((folder / "lock").string());
  if (m_Lock->IsRefused())
  {
    itkGenericExceptionMacro("Another training is writing " << m_Output
                                                            << " just now: wait for its end, or name another output");
  }
  const std::string trial = m_Output + ".csv.part";
  if (!std::ofstream(trial))
  {
    itkGenericExceptionMacro("The log " << m_Output << ".csv cannot be written: may its folder be written into?");
  }
  fs::remove(trial);
}

void
TorchModelTrainer::Session::PrepareCases(const CohortPlan & plan)
{
  m_Plan = plan;
  for (const std::string & augmentation : m_Trainer.m_Augmentations)
  {
    m_Augmentation.Add(augmentation);
  }
  CohortCache::Parameters parameters;
  parameters.Spacing = m_Trainer.m_Spacing;
  parameters.BiasCorrection = m_Trainer.m_BiasCorrection;
  parameters.LowerQuantile = m_Trainer.m_LowerQuantile;
  parameters.UpperQuantile = m_Trainer.m_UpperQuantile;
  parameters.Standardization = m_Trainer.m_Standardization;
  parameters.BrainBox = m_Trainer.m_Region == "brain";
  parameters.AroundTumour = !m_Segmentation && !parameters.BrainBox && !this->NeedsWholeHeads();
  parameters.Margin = m_Trainer.m_Margin;
  if (!m_Segmentation)
  {
    // The box of inference. Segmentation cuts none.
    parameters.MinimumComponentShare = m_Trainer.m_MinimumComponentShare;
  }
  if (parameters.AroundTumour)
  {
    parameters.Reach = m_Augmentation.ReachOfCube();
  }
  // Half the memory for the large crops; above an image's background the rounding would be larger.
  parameters.BFloat16 = !m_Segmentation && m_Trainer.m_Standardization == "brain";
  std::string folder = m_Trainer.m_CacheFolder;
  if (folder.empty())
  {
    folder = (fs::absolute(m_Output).parent_path() / "cohort-cache").string();
  }
  this->RemoveLeftovers(folder);
  const CohortCache        cache(folder, parameters);
  std::vector<std::string> problems;
  std::size_t              number = 0;
  const std::size_t        total = plan.Training.size() + plan.Validation.size();
  const auto               refuse = [&problems] {
    if (!problems.empty())
    {
      std::string text = std::to_string(problems.size()) + " problems of the cohort's cases:";
      for (const std::string & problem : problems)
      {
        text += "\n  " + problem;
      }
      itkGenericExceptionMacro(<< text);
    }
  };
  const auto endWhereStopped = [&] {
    if (m_Trainer.m_Stop)
    {
      ProcessAborted stopped(__FILE__, __LINE__);
      stopped.SetDescription("Stopped while the cases were prepared; those that were done are kept in " + folder);
      throw stopped;
    }
  };
  // All that can be told without the preparation, which takes minutes a case.
  m_Trainer.Report("Looking at " + std::to_string(total) + " cases");
  for (const auto * list : { &plan.Training, &plan.Validation })
  {
    for (const CohortCase & c : *list)
    {
      endWhereStopped();
      if (!cache.Holds(c))
      {
        const std::vector<std::string> found = CohortReader::FindImageProblems(c);
        problems.insert(problems.end(), found.begin(), found.end());
      }
    }
  }
  refuse();
  // Several at once where there are threads for it: reading and much of the rest take one.
  struct Preparing
  {
    const CohortCase *        Case;
    bool                      Trains;
    std::future<PreparedCase> Result;
  };
  std::deque<Preparing> preparing;
  const auto            takeFirst = [&] {
    const CohortCase & c = *preparing.front().Case;
    try
    {
      (preparing.front().Trains ? m_Training : m_Validation).push_back(preparing.front().Result.get());
    }
    catch (const CohortCache::NotStored &)
    {
      throw; // no problem of this case: it would be that of all others
    }
    catch (const ExceptionObject & error)
    {
      problems.push_back("case " + c.Name + ": " + error.GetDescription());
    }
    catch (const c10::Error & error)
    {
      problems.push_back("case " + c.Name + ": torch: " + error.what_without_backtrace());
    }
    preparing.pop_front();
  };
  for (const auto * list : { &plan.Training, &plan.Validation })
  {
    for (const CohortCase & c : *list)
    {
      ++number;
      endWhereStopped();
      m_Trainer.Report((cache.Holds(c) ? "Reading case " : "Preparing case ") + std::to_string(number) + " of " +
                       std::to_string(total) + ": " + c.Name);
      preparing.push_back({ &c, list == &plan.Training, std::async(std::launch::async, [this, &cache, &c] {
                             const TorchThreads threads(this->Threads() / this->Helpers());
                             return cache.Get(c);
                           }) });
      if (preparing.size() >= this->Helpers())
      {
        takeFirst();
      }
    }
  }
  while (!preparing.empty())
  {
    endWhereStopped();
    takeFirst();
  }
  endWhereStopped();
  refuse();
  m_CohortWeights.clear();
  for (std::size_t i = 0; i < m_Trainer.m_Cohorts.size(); ++i)
  {
    const double given = m_Trainer.m_Cohorts[i].second;
    const auto   cases =
      std::count_if(m_Training.begin(), m_Training.end(), [i](const PreparedCase & c) { return c.Cohort == i; });
    m_CohortWeights.push_back(given > 0.0 ? given : static_cast<double>(cases));
  }
  m_ClassWeights.clear();
  if (m_Trainer.m_ClassWeights == "inverse-frequency")
  {
    // Of two classes: what half of everything over the class's share is.
    double second = 0.0;
    for (const PreparedCase & c : m_Training)
    {
      const double brain = c.Brain.sum().item<double>();
      second += m_Segmentation ? c.Tumour.sum().item<double>() / brain : c.Grade;
    }
    second /= static_cast<double>(m_Training.size());
    m_ClassWeights = { static_cast<float>(0.5 / (1.0 - second)), static_cast<float>(0.5 / second) };
  }
}

void
TorchModelTrainer::Session::MakeNetwork()
{
  const std::uint64_t seed = CounterRandom(m_Trainer.m_Seed, initializationStream).Bits();
  auto                generator = at::make_generator<at::CPUGeneratorImpl>(seed);
  if (m_Segmentation)
  {
    SegmentationNetworkOptions options;
    options.Width = m_Trainer.m_Width;
    options.Levels = m_Trainer.m_Levels;
    options.Padded = m_Trainer.m_Padded;
    options.SpatialDropout = m_Trainer.m_SpatialDropout;
    m_SegmentationNetwork = PereiraSegmentationNetwork(options);
  }
  else
  {
    GradingNetworkOptions options;
    options.Width = m_Trainer.m_Width;
    options.Padded = m_Trainer.m_Padded;
    options.Dropout = m_Trainer.m_Dropout;
    options.SpatialDropout = m_Trainer.m_SpatialDropout;
    m_GradingNetwork = PereiraGradingNetwork(options);
  }
  InitializeHeNormal(this->Network(), generator);
  if (m_Trainer.m_DeepSupervision > 0)
  {
    m_DeepSupervision =
      DeepSupervision(m_SegmentationNetwork->Options, static_cast<std::int64_t>(m_Trainer.m_DeepSupervision));
    InitializeHeNormal(*m_DeepSupervision, generator);
    m_DeepSupervision->to(m_Device);
  }
  this->LoadInitialWeights();
  this->Network().to(m_Device);
  for (torch::Tensor & parameter : this->Network().parameters())
  {
    if (parameter.dim() == 5)
    {
      parameter.set_data(parameter.detach().contiguous(torch::MemoryFormat::ChannelsLast3d));
    }
  }
}

void
TorchModelTrainer::Session::LoadInitialWeights()
{
  const std::string & bundle = m_Trainer.m_InitialBundle;
  if (bundle.empty() || m_Trainer.m_Resume)
  {
    return;
  }
  const std::string weights = VerifyBundleWeights(bundle, m_Plan.Initial);
  LoadStateIntoModule(this->Network(), ReadSafetensors(weights), weights);
}

void
TorchModelTrainer::Session::MakeOptimizer()
{
  m_Optimizer = std::make_unique<FusedAdam>(this->Parameters(),
                                            m_Trainer.m_Optimizer == OptimizerEnum::AdamW,
                                            m_Trainer.m_WeightDecay,
                                            m_Trainer.m_DecayKernelsOnly);
}

std::string
TorchModelTrainer::Session::KeyOf(const PreparedCase & prepared) const
{
  std::string key = prepared.Name + ' ' + prepared.Key;
  if (!m_Segmentation)
  {
    key += prepared.Grade == 1 ? " HGG" : " LGG";
  }
  if (m_Trainer.m_Cohorts.size() > 1)
  {
    key += " cohort " + std::to_string(prepared.Cohort + 1);
  }
  return key;
}

std::string
TorchModelTrainer::Session::OptionsText() const
{
  std::ostringstream text;
  text.imbue(std::locale::classic());
  text.precision(17);
  const TorchModelTrainer & t = m_Trainer;
  text << "task " << t.m_Task << "\nwidth " << t.m_Width << "\nlevels " << t.m_Levels << "\npadded " << t.m_Padded
       << "\ndropout " << t.m_Dropout << "\nspatial-dropout " << t.m_SpatialDropout << "\nspacing " << t.m_Spacing
       << "\nmargin " << t.m_Margin << "\npatch " << t.m_PatchSize << "\nbatch " << t.m_BatchSize << "\ntumour-share "
       << t.m_TumourShare << "\nbalance " << t.m_Balance << "\nloss " << t.m_Loss << "\nlabel-smoothing "
       << t.m_LabelSmoothing << "\noptimizer " << t.m_Optimizer << "\nrate " << t.m_LearningRate << "\nweight-decay "
       << t.m_WeightDecay << "\ndecay-kernels-only " << t.m_DecayKernelsOnly << "\nschedule " << t.m_Schedule
       << "\nwarm-up " << t.m_WarmUpSteps << "\nnormalization-steps " << t.m_NormalizationSteps
       << "\ngradient-clipping " << t.m_GradientClipping << "\nprecision " << t.m_Precision << "\nseed " << t.m_Seed
       << "\ninitial " << t.m_InitialBundle << '\n';
  if (!t.m_InitialBundle.empty())
  {
    // Another bundle in its place would lend its cases to weights that have not seen them.
    text << "initial-sha256 " << m_Plan.Initial.WeightsSha256 << '\n';
  }
  if (t.m_ClassWeights != "none")
  {
    text << "class-weights " << t.m_ClassWeights << '\n';
  }
  if (t.m_Region != "tumour")
  {
    text << "region " << t.m_Region << '\n';
  }
  if (t.m_DeepSupervision > 0)
  {
    text << "deep-supervision " << t.m_DeepSupervision << '\n';
  }
  if (t.m_ValidationSteps > 0 && !m_Validation.empty())
  {
    text << "validation-steps " << t.m_ValidationSteps << "\npatience " << t.m_Patience << "\nkeep-best "
         << t.m_KeepBest << '\n';
    for (const PreparedCase & c : m_Validation)
    {
      text << "validation " << this->KeyOf(c) << '\n';
    }
  }
  for (const std::string & augmentation : t.m_Augmentations)
  {
    text << "augmentation " << augmentation << '\n';
  }
  for (const double weight : m_CohortWeights)
  {
    text << "weight " << weight << '\n';
  }
  for (const PreparedCase & c : m_Training)
  {
    text << "case " << this->KeyOf(c) << '\n';
  }
  return text.str();
}

std::map<std::string, torch::Tensor>
TorchModelTrainer::Session::CheckpointState()
{
  std::map<std::string, torch::Tensor> tensors;
  for (const auto & [name, tensor] : StateOfModule(this->Network()))
  {
    tensors[networkPrefix + name] = tensor.detach().cpu().contiguous();
  }
  if (m_DeepSupervision)
  {
    for (const auto & [name, tensor] : StateOfModule(*m_DeepSupervision))
    {
      tensors[deepSupervisionPrefix + name] = tensor.detach().cpu().contiguous();
    }
  }
  if (m_Trainer.m_Step > 0)
  {
    for (const FusedAdam::Parameter & parameter : m_Optimizer->GetParameters())
    {
      tensors["exp_avg." + parameter.Name] = parameter.FirstMoment.cpu().contiguous();
      tensors["exp_avg_sq." + parameter.Name] = parameter.SecondMoment.cpu().contiguous();
    }
  }
  const std::string text = this->OptionsText();
  tensors["options"] =
    torch::from_blob(const_cast<char *>(text.data()), { static_cast<std::int64_t>(text.size()) }, torch::kUInt8)
      .clone();
  tensors["step"] = torch::tensor({ static_cast<std::int64_t>(m_Trainer.m_Step) }, torch::kInt64);
  tensors["seconds"] = torch::tensor({ m_Trainer.m_Seconds }, torch::kFloat64);
  for (const auto & [name, tensor] : m_Best)
  {
    tensors["best." + name] = tensor;
  }
  for (const auto & [name, tensor] : tensors)
  {
    if (tensor.is_floating_point() && !torch::isfinite(tensor).all().item<bool>())
    {
      this->RefuseToGoOn("after step " + std::to_string(m_Trainer.m_Step) + " '" + name + "' is not finite");
    }
  }
  tensors["best-score"] = torch::tensor({ m_BestScore }, torch::kFloat64);
  tensors["best-step"] = torch::tensor({ static_cast<std::int64_t>(m_Trainer.m_BestStep) }, torch::kInt64);
  tensors["stale"] = torch::tensor({ static_cast<std::int64_t>(m_Stale) }, torch::kInt64);
  return tensors;
}

void
TorchModelTrainer::Session::LoadCheckpoint()
{
  const std::map<std::string, torch::Tensor> tensors = ReadSafetensors(m_Checkpoint);
  const auto                                 get = [&](const std::string & name) -> const torch::Tensor & {
    const auto found = tensors.find(name);
    if (found == tensors.end())
    {
      itkGenericExceptionMacro("The checkpoint " << m_Checkpoint << " lacks '" << name << "'");
    }
    return found->second;
  };
  const torch::Tensor & bytes = get("options");
  const std::string text(static_cast<const char *>(bytes.const_data_ptr()), static_cast<std::size_t>(bytes.numel()));
  const std::string own = this->OptionsText();
  if (text != own)
  {
    std::istringstream theirs(text);
    std::istringstream ours(own);
    std::string        a;
    std::string        b;
    do
    {
      a.clear();
      b.clear();
      std::getline(theirs, a);
      std::getline(ours, b);
    } while (a == b && (theirs || ours));
    itkGenericExceptionMacro("The checkpoint " << m_Checkpoint << " belongs to another training: it has '" << a
                                               << "' where this one has '" << b
                                               << "'; resume with its options, or train into another output from "
                                                  "InitialBundle (--initial "
                                               << m_Output << ')');
  }
  const auto load = [&](torch::nn::Module & module, const std::string & prefix) {
    std::map<std::string, torch::Tensor> state;
    for (const auto & [name, tensor] : tensors)
    {
      if (name.compare(0, prefix.size(), prefix) == 0)
      {
        state[name.substr(prefix.size())] = tensor;
      }
    }
    LoadStateIntoModule(module, state, m_Checkpoint);
  };
  load(this->Network(), networkPrefix);
  if (m_DeepSupervision)
  {
    load(*m_DeepSupervision, deepSupervisionPrefix);
  }
  m_Trainer.m_Step = static_cast<std::uint64_t>(get("step").item<std::int64_t>());
  m_SavedStep = m_Trainer.m_Step;
  m_Trainer.m_Seconds = get("seconds").item<double>();
  m_BestScore = get("best-score").item<double>();
  m_Trainer.m_BestStep = static_cast<std::uint64_t>(get("best-step").item<std::int64_t>());
  m_Stale = static_cast<std::uint64_t>(get("stale").item<std::int64_t>());
  m_Best.clear();
  for (const auto & [name, tensor] : tensors)
  {
    if (name.compare(0, 5, "best.") == 0)
    {
      m_Best[name.substr(5)] = tensor;
    }
  }
  if (m_Trainer.m_Step == 0)
  {
    return;
  }
  const auto loadMoment = [&](const std::string & name, torch::Tensor & moment) {
    const torch::Tensor & stored = get(name);
    if (stored.sizes() != moment.sizes())
    {
      itkGenericExceptionMacro("The checkpoint " << m_Checkpoint << " has a wrong shape for '" << name << "'");
    }
    moment.copy_(stored);
  };
  for (FusedAdam::Parameter & parameter : m_Optimizer->GetParameters())
  {
    loadMoment("exp_avg." + parameter.Name, parameter.FirstMoment);
    loadMoment("exp_avg_sq." + parameter.Name, parameter.SecondMoment);
  }
}

void
TorchModelTrainer::Session::RemoveLeftovers(const std::string & cacheFolder) const
{
  std::error_code ignored;
  fs::remove_all(m_NewBundle, ignored);
  if (fs::exists(m_OldBundle) && !fs::exists(m_Output))
  {
    fs::rename(m_OldBundle, m_Output); // killed between the two steps of PublishBundle()
  }
  fs::remove_all(m_OldBundle, ignored);
  const auto removeParts = [&ignored](const fs::path & folder, std::chrono::hours age) {
    for (const fs::directory_entry & entry : fs::directory_iterator(folder, ignored))
    {
      // As WriteSafetensors() names them: a cache may be a folder that others use too.
      if (entry.path().extension() == ".part" && entry.path().stem().stem().extension() == ".safetensors" &&
          entry.is_regular_file(ignored) && fs::file_time_type::clock::now() - entry.last_write_time(ignored) >= age)
      {
        fs::remove(entry.path(), ignored);
      }
    }
  };
  removeParts(fs::path(m_Checkpoint).parent_path(), std::chrono::hours(0));
  // Another training may be writing into the same cache.
  removeParts(cacheFolder, std::chrono::hours(24));
}

void
TorchModelTrainer::Session::OpenLog()
{
  const std::string        path = m_Output + ".csv";
  std::vector<std::string> kept;
  if (m_Trainer.m_Resume)
  {
    // Rows after the checkpoint are made again; what a crash left of others is not kept.
    std::ifstream old(path);
    std::string   line;
    std::uint64_t before = 0;
    std::getline(old, line);
    while (std::getline(old, line) && !old.eof())
    {
      char *              end = nullptr;
      const std::uint64_t step = std::strtoull(line.c_str(), &end, 10);
      if (*end == ',' && std::count(line.begin(), line.end(), ',') == 4 && step > before && step <= m_Trainer.m_Step)
      {
        kept.push_back(line);
        before = step;
      }
    }
  }
  // Complete under another name first: a full disk costs no rows.
  const std::string fresh = path + ".part";
  m_Log.open(fresh, std::ios::trunc);
  if (!m_Log)
  {
    itkGenericExceptionMacro("The log " << path << " cannot be written");
  }
  m_Log << logColumns << '\n';
  for (const std::string & line : kept)
  {
    m_Log << line << '\n';
  }
  m_Log.close();
  if (!m_Log)
  {
    itkGenericExceptionMacro("The log " << path << " cannot be written; is the disk full?");
  }
  fs::rename(fresh, path);
  m_Log.open(path, std::ios::app);
}

void
TorchModelTrainer::Session::WriteBundle()
{
  TorchModelManifest manifest;
  manifest.Name = m_Trainer.m_Name.empty() ? fs::path(m_Output).filename().string() : m_Trainer.m_Name;
  manifest.Version = "0.1.0";
  manifest.Task = m_Segmentation ? "segmentation" : "grading";
  manifest.Network = m_Segmentation ? "PereiraSegmentationNetwork" : "PereiraGradingNetwork";
  manifest.Width = m_Trainer.m_Width;
  manifest.Levels = m_Segmentation ? m_Trainer.m_Levels : 0;
  manifest.Padded = m_Trainer.m_Padded;
  manifest.ChannelNames.assign(CohortCase::SequenceNames.begin(), CohortCase::SequenceNames.end());
  manifest.ClassNames =
    m_Segmentation ? std::vector<std::string>{ "background", "tumour" } : std::vector<std::string>{ "LGG", "HGG" };
  manifest.OutputActivation = "logits";
  manifest.AxisOrder = "zyx";
  manifest.Orientation = "LPS";
  manifest.Spacing.fill(m_Trainer.m_Spacing);
  manifest.BiasCorrection = m_Trainer.m_BiasCorrection;
  manifest.LowerQuantile = m_Trainer.m_LowerQuantile;
  manifest.UpperQuantile = m_Trainer.m_UpperQuantile;
  manifest.Standardization = m_Trainer.m_Standardization;
  manifest.OutsideValue = 0.0;
  if (!m_Segmentation)
  {
    manifest.Region = m_Trainer.m_Region;
    manifest.FitMode = m_Trainer.m_Region == "brain" ? "stretch" : "cube";
    manifest.Margin = m_Trainer.m_Margin;
    manifest.OutputSize = m_Trainer.m_PatchSize;
  }
  manifest.MinimumComponentShare = m_Trainer.m_MinimumComponentShare;
  // The cases of this training, then those that only its start has seen; what was trained on is not named as validated.
  using Entry = TorchModelManifest::TrainingCase;
  const TorchModelManifest &           initial = m_Plan.Initial;
  std::map<std::string, const Entry *> before;
  for (const auto * list : { &initial.TrainingCases, &initial.ValidationCases })
  {
    for (const Entry & entry : *list)
    {
      if (!entry.Licence.empty())
      {
        before.emplace(entry.Case, &entry);
      }
    }
  }
  std::set<std::string> named;
  const auto            put = [&](const std::string & name, bool isOwn, std::vector<Entry> & cases) {
    if (named.insert(name).second)
    {
      const auto    known = before.find(name);
      const Entry * there = known == before.end() ? nullptr : known->second;
      const Entry * here = AttributionOf(m_Plan.Attributions, name, isOwn);
      const Entry * said = here && (isOwn || !there) ? here : there;
      cases.push_back({ name, said ? said->Licence : "", said ? said->Attribution : "" });
    }
  };
  const auto putAll = [&put](const auto & own, const auto & ofInitial, std::vector<Entry> & cases) {
    for (const CohortCase & c : own)
    {
      put(c.Name, true, cases);
    }
    for (const Entry & entry : ofInitial)
    {
      put(entry.Case, false, cases);
    }
  };
  putAll(m_Plan.Training, initial.TrainingCases, manifest.TrainingCases);
  putAll(m_Plan.Validation, initial.ValidationCases, manifest.ValidationCases);
  manifest.TrainingData = m_Trainer.m_TrainingData;
  manifest.IntendedUse = m_Trainer.m_IntendedUse;
  manifest.Licence = m_Trainer.m_Licence;
  manifest.Demonstration = m_Trainer.m_Demonstration;

  fs::remove_all(m_NewBundle);
  std::map<std::string, torch::Tensor> current;
  if (!m_Best.empty())
  {
    for (const auto & [name, tensor] : StateOfModule(this->Network()))
    {
      current[name] = tensor.detach().clone();
    }
    LoadStateIntoModule(this->Network(), m_Best, "the best weights");
  }
  try
  {
    WriteNativeBundle(m_NewBundle, manifest, this->Network());
  }
  catch (const std::exception & error)
  {
    std::error_code ignored;
    fs::remove_all(m_NewBundle, ignored);
    if (std::string(error.what()).find("NaN or infinity") != std::string::npos)
    {
      this->RefuseToGoOn("after step " + std::to_string(m_Trainer.m_Step) + " the network answers NaN or infinity");
    }
    throw;
  }
  if (!current.empty())
  {
    LoadStateIntoModule(this->Network(), current, "the current weights");
  }
}

void
TorchModelTrainer::Session::PublishBundle()
{
  // A complete folder takes the other's place: between the two steps there is none, and a resume puts the old one back.
  fs::remove_all(m_OldBundle);
  if (fs::exists(m_Output))
  {
    fs::rename(m_Output, m_OldBundle);
  }
  fs::rename(m_NewBundle, m_Output);
  FlushToDisk(fs::absolute(m_Output).parent_path().string());
  fs::remove_all(m_OldBundle);
}

void
TorchModelTrainer::Session::CutCube(const PreparedCase &            prepared,
                                    std::array<double, 3>           low,
                                    std::array<double, 3>           high,
                                    double                          margin,
                                    bool                            stretch,
                                    std::int64_t                    size,
                                    AugmentationPipeline::Placement placement,
                                    const std::array<double, 3> &   shift,
                                    AugmentationPipeline::Patch &   patch)
{
  PlaceCube(low, high, margin, stretch, size, shift, placement);
  AugmentationPipeline::Resample(prepared.View(), placement, size, patch);
}

void
TorchModelTrainer::Session::PlaceCube(const std::array<double, 3> &     low,
                                      const std::array<double, 3> &     high,
                                      double                            margin,
                                      bool                              stretch,
                                      std::int64_t                      size,
                                      const std::array<double, 3> &     shift,
                                      AugmentationPipeline::Placement & placement)
{
  std::array<double, 3> sides;
  for (unsigned int a = 0; a < 3; ++a)
  {
    sides[a] = high[a] - low[a] + 1.0 + 2.0 * margin;
  }
  if (!stretch)
  {
    sides.fill(*std::max_element(sides.begin(), sides.end()));
  }
  for (unsigned int a = 0; a < 3; ++a)
  {
    placement.Centre[a] = 0.5 * (low[a] + high[a]) + shift[a] * sides[a];
    for (unsigned int b = 0; b < 3; ++b)
    {
      placement.Matrix[a][b] *= sides[a] / static_cast<double>(size);
    }
  }
}

void
TorchModelTrainer::Session::CutHealthyCube(const PreparedCase &            prepared,
                                           const std::array<double, 3> &   low,
                                           const std::array<double, 3> &   high,
                                           CounterRandom &                 random,
                                           AugmentationPipeline::Placement placement,
                                           AugmentationPipeline::Patch &   patch) const
{
  const auto                         size = static_cast<std::int64_t>(m_Trainer.m_PatchSize);
  const AugmentationPipeline::Volume volume = prepared.View();
  PlaceCube(low, high, m_Trainer.m_Margin, false, size, { { 0, 0, 0 } }, placement);
  // Where its own tumour was, or anywhere in the brain.
  if (random.Chance(0.5))
  {
    for (unsigned int a = 0; a < 3; ++a)
    {
      placement.Centre[a] = 0.5 * (prepared.BoxLow[a] + prepared.BoxHigh[a]);
    }
  }
  else
  {
    placement.Centre = CentreOf(volume, BrainVoxel(random, volume));
  }
  AugmentationPipeline::Resample(volume, placement, size, patch);
  if (std::all_of(patch.Tumour.begin(), patch.Tumour.end(), [](float share) { return share == 0.0F; }))
  {
    return;
  }
  // The case is cut to its brain: the mirror is in the middle of x. A tumour that reaches beyond it is its own mirror
  // image there; then another place has more to give.
  AugmentationPipeline::Placement mirror = placement;
  mirror.Centre[0] = static_cast<double>(volume.Size[0] - 1) - placement.Centre[0];
  for (double & each : mirror.Matrix[0])
  {
    each = -each;
  }
  AugmentationPipeline::Patch best;
  AugmentationPipeline::Patch other;
  double                      bestShare = -1.0;
  constexpr unsigned int      places = 8;
  for (unsigned int place = 0; place < places && bestShare < 0.95; ++place)
  {
    AugmentationPipeline::Resample(volume, mirror, size, other);
    const double share = AugmentationPipeline::HealthyShare(other, patch);
    if (share > bestShare)
    {
      bestShare = share;
      std::swap(best, other);
    }
    mirror.Centre = CentreOf(volume, BrainVoxel(random, volume));
  }
  AugmentationPipeline::ReplaceTumour(best, patch);
}

std::int64_t
TorchModelTrainer::Session::BrainVoxel(CounterRandom & random, const AugmentationPipeline::Volume & volume)
{
  std::int64_t       voxel = 0;
  const std::int64_t voxels = volume.Size[0] * volume.Size[1] * volume.Size[2];
  for (int attempt = 0; attempt < 10000; ++attempt)
  {
    voxel = random.Below(voxels);
    if (volume.Brain[voxel] > 127)
    {
      break;
    }
  }
  return voxel;
}

std::array<double, 3>
TorchModelTrainer::Session::CentreOf(const AugmentationPipeline::Volume & volume, std::int64_t voxel)
{
  return { { static_cast<double>(voxel % volume.Size[0]),
             static_cast<double>(voxel / volume.Size[0] % volume.Size[1]),
             static_cast<double>(voxel / (volume.Size[0] * volume.Size[1])) } };
}

TrainingBatch
TorchModelTrainer::Session::MakeBatch(std::uint64_t step) const
{
  const auto         samples = static_cast<std::int64_t>(m_Trainer.m_BatchSize);
  const auto         size = static_cast<std::int64_t>(m_Trainer.m_PatchSize);
  const std::int64_t halo = m_Segmentation ? m_SegmentationNetwork->Halo() : 0;
  const double       shift = m_Augmentation.Strength("shift");
  TrainingBatch      batch;
  // Its memory serves the thread's next sample.
  thread_local AugmentationPipeline::Patch patch;
  const auto options = torch::TensorOptions().dtype(torch::kFloat32).pinned_memory(m_Device.is_cuda());
  // Convolutions round their input to bfloat16 first: done here, it is half the memory.
  batch.Input =
    EmptyInput(samples,
               size,
               options.dtype(m_Trainer.m_Precision == PrecisionEnum::BFloat16 ? torch::kBFloat16 : torch::kFloat32));
  if (m_Segmentation)
  {
    const std::int64_t side = size - 2 * halo;
    batch.Tumour = torch::empty({ samples, 1, side, side, side }, options);
    batch.Brain = torch::empty({ samples, 1, side, side, side }, options);
  }
  for (unsigned int item = 0; item < m_Trainer.m_BatchSize; ++item)
  {
    CounterRandom random(m_Trainer.m_Seed, step, item);
    const int     wantedGrade = m_Trainer.m_Balance ? static_cast<int>((step * m_Trainer.m_BatchSize + item) % 2) : -1;
    // The cohort by its weight, then a case of it.
    std::vector<std::vector<std::size_t>> candidates(m_CohortWeights.size());
    for (std::size_t i = 0; i < m_Training.size(); ++i)
    {
      if (wantedGrade < 0 || m_Training[i].Grade == wantedGrade)
      {
        candidates[m_Training[i].Cohort].push_back(i);
      }
    }
    double total = 0.0;
    for (std::size_t i = 0; i < candidates.size(); ++i)
    {
      total += candidates[i].empty() ? 0.0 : m_CohortWeights[i];
    }
    double      drawn = random.Uniform() * total;
    std::size_t cohort = 0;
    for (std::size_t i = 0; i < candidates.size(); ++i)
    {
      if (candidates[i].empty())
      {
        continue;
      }
      cohort = i;
      drawn -= m_CohortWeights[i];
      if (drawn < 0.0)
      {
        break;
      }
    }
    const auto &                    list = candidates[cohort];
    const PreparedCase &            prepared = m_Training[list[random.Below(static_cast<std::int64_t>(list.size()))]];
    AugmentationPipeline::Placement placement;
    std::array<double, 3>           moved{ { 0, 0, 0 } };
    const PreparedCase *            head = &prepared;
    float                           highGrade = 0.0F;
    if (m_Segmentation)
    {
      const AugmentationPipeline::Volume volume = prepared.View();
      std::int64_t                       voxel = 0;
      if (random.Chance(m_Trainer.m_TumourShare))
      {
        voxel = prepared.TumourVoxels[random.Below(static_cast<std::int64_t>(prepared.TumourVoxels.size()))];
      }
      else
      {
        voxel = BrainVoxel(random, volume);
      }
      const std::array<double, 3> at = CentreOf(volume, voxel);
      const double                outputSide = static_cast<double>(size - 2 * halo);
      for (unsigned int a = 0; a < 3; ++a)
      {
        // The middle of an even patch lies between two voxels: an unturned patch is then cut without interpolation.
        placement.Centre[a] =
          at[a] + (size % 2 == 0 ? 0.5 : 0.0) + std::round(shift * outputSide * random.Uniform(-0.5, 0.5));
      }
      m_Augmentation.Turn(random, placement);
      AugmentationPipeline::Resample(volume, placement, size, patch);
      if (random.Chance(m_Augmentation.Strength("transplant")))
      {
        const auto &         donors = candidates[random.Below(static_cast<std::int64_t>(candidates.size()))];
        const auto &         chosen = donors.empty() ? list : donors;
        const PreparedCase & donor = m_Training[chosen[random.Below(static_cast<std::int64_t>(chosen.size()))]];
        AugmentationPipeline::Placement there;
        for (unsigned int a = 0; a < 3; ++a)
        {
          there.Centre[a] = 0.5 * (donor.BoxLow[a] + donor.BoxHigh[a]) + outputSide * random.Uniform(-0.25, 0.25);
        }
        m_Augmentation.Turn(random, there);
        AugmentationPipeline::Patch given;
        AugmentationPipeline::Resample(donor.View(), there, size, given);
        AugmentationPipeline::AddTumour(given, patch);
      }
    }
    else
    {
      std::array<double, 3> low = prepared.BoxLow;
      std::array<double, 3> high = prepared.BoxHigh;
      m_Augmentation.JitterBox(random, low, high);
      for (double & each : moved)
      {
        each = shift * random.Uniform(-0.5, 0.5);
      }
      m_Augmentation.Turn(random, placement);
      highGrade = static_cast<float>(prepared.Grade);
      if (random.Chance(m_Augmentation.Strength("tumour-free")))
      {
        highGrade = 0.5F;
        this->CutHealthyCube(prepared, low, high, random, placement, patch);
      }
      else
      {
        CutCube(prepared, low, high, m_Trainer.m_Margin, m_Trainer.m_Region == "brain", size, placement, moved, patch);
        if (random.Chance(m_Augmentation.Strength("transplant")))
        {
          // Of any grade, so that the head says nothing of the tumour's.
          do
          {
            head = &m_Training[random.Below(static_cast<std::int64_t>(m_Training.size()))];
          } while (head->Cohort != prepared.Cohort);
          AugmentationPipeline::Placement there;
          m_Augmentation.Turn(random, there);
          AugmentationPipeline::Patch healthy;
          this->CutHealthyCube(*head, low, high, random, there, healthy);
          AugmentationPipeline::AddTumour(patch, healthy);
          std::swap(patch, healthy);
        }
      }
    }
    m_Augmentation.ChangeScanner(random, patch);
    PutSample(*head, patch, batch.Input, item);
    if (m_Segmentation)
    {
      const std::int64_t inner = size - 2 * halo;
      float *            tumour = batch.Tumour.mutable_data_ptr<float>() + item * inner * inner * inner;
      float *            brain = batch.Brain.mutable_data_ptr<float>() + item * inner * inner * inner;
      for (std::int64_t z = halo; z < size - halo; ++z)
      {
        for (std::int64_t y = halo; y < size - halo; ++y)
        {
          const std::int64_t line = (z * size + y) * size + halo;
          for (std::int64_t x = line; x < line + inner; ++x)
          {
            const float inside = patch.Brain[x] > 0.5F ? 1.0F : 0.0F;
            *brain++ = inside;
            *tumour++ = inside * patch.Tumour[x];
          }
        }
      }
    }
    else
    {
      batch.HighGrade.push_back(highGrade);
    }
  }
  return batch;
}

double
TorchModelTrainer::Session::RateOfStep(std::uint64_t step) const
{
  double rate = m_Trainer.m_LearningRate;
  if (m_Trainer.m_WarmUpSteps > 0)
  {
    rate *= std::min(1.0, static_cast<double>(step + 1) / m_Trainer.m_WarmUpSteps);
  }
  if (m_Trainer.m_Schedule == ScheduleEnum::Cosine)
  {
    double done = 0.0;
    if (m_Trainer.m_MaximumSteps > 0)
    {
      done = static_cast<double>(step) / static_cast<double>(m_Trainer.m_MaximumSteps);
    }
    if (m_Trainer.m_MaximumMinutes > 0.0)
    {
      done = std::max(done, m_Trainer.m_Seconds / 60.0 / m_Trainer.m_MaximumMinutes);
    }
    // Ends at a hundredth of the rate.
    rate *= 0.01 + 0.99 * (0.5 + 0.5 * std::cos(std::acos(-1.0) * std::min(1.0, done)));
  }
  return rate;
}

bool
TorchModelTrainer::Session::IsDone() const
{
  return (m_Trainer.m_Patience > 0 && m_Stale >= m_Trainer.m_Patience) ||
         (m_Trainer.m_MaximumSteps > 0 && m_Trainer.m_Step >= m_Trainer.m_MaximumSteps) ||
         (m_Trainer.m_MaximumMinutes > 0.0 && m_Trainer.m_Seconds >= 60.0 * m_Trainer.m_MaximumMinutes);
}

torch::Tensor
TorchModelTrainer::Session::SegmentationLoss(const torch::Tensor & logits,
                                             const torch::Tensor & target,
                                             const torch::Tensor & brain) const
{
  const torch::Tensor logarithm = torch::log_softmax(logits.to(torch::kFloat32), 1);
  const torch::Tensor tumourLog = logarithm.narrow(1, 1, 1);
  const double        restWeight = m_ClassWeights.empty() ? 1.0 : m_ClassWeights[0];
  const double        tumourWeight = m_ClassWeights.empty() ? 1.0 : m_ClassWeights[1];
  const torch::Tensor entropy =
    -(tumourWeight * tumourLog * target + restWeight * logarithm.narrow(1, 0, 1) * (1.0 - target));
  const torch::Tensor loss = (entropy * brain).sum() / brain.sum().clamp_min(1.0);
  if (m_Trainer.m_Loss != LossEnum::CrossEntropyAndDice)
  {
    return loss;
  }
  const torch::Tensor p = tumourLog.exp() * brain;
  return loss + 1.0 - (2.0 * (p * target).sum() + 1.0) / (p.sum() + target.sum() + 1.0);
}

double
TorchModelTrainer::Session::TrainStep(const TrainingBatch & batch, double rate)
{
  const CuDNNBenchmark benchmark;
  // Without waiting, from memory that the device reads by itself.
  const torch::Tensor x = batch.Input.to(m_Device, true);

  // By the step, so that a resumed run does the same.
  if (m_Trainer.m_NormalizationSteps > 0 && m_Trainer.m_Step >= m_Trainer.m_NormalizationSteps)
  {
    auto modules = this->Network().modules();
    if (m_DeepSupervision)
    {
      const auto heads = m_DeepSupervision->modules();
      modules.insert(modules.end(), heads.begin(), heads.end());
    }
    for (const auto & module : modules)
    {
      if (auto * normalization = module->as<torch::nn::BatchNorm3dImpl>())
      {
        normalization->eval();
      }
    }
  }

  // Dropout depends on seed and step alone.
  torch::manual_seed(CounterRandom(m_Trainer.m_Seed, m_Trainer.m_Step, dropoutItem).Bits());
  torch::Tensor              logits;
  std::vector<torch::Tensor> coarseLogits;
  {
    const BFloat16Autocast     autocast(m_Device, m_Trainer.m_Precision == PrecisionEnum::BFloat16);
    std::vector<torch::Tensor> decoded;
    ForwardContext             context;
    context.Decoded = m_DeepSupervision ? &decoded : nullptr;
    logits = this->Forward(x, context);
    if (m_DeepSupervision)
    {
      coarseLogits = m_DeepSupervision->Logits(decoded);
    }
  }

  torch::Tensor loss;
  if (m_Segmentation)
  {
    const torch::Tensor target = batch.Tumour.to(m_Device, true);
    const torch::Tensor brain = batch.Brain.to(m_Device, true);
    loss = this->SegmentationLoss(logits, target, brain);
    for (std::size_t i = 0; i < coarseLogits.size(); ++i)
    {
      // Shares of the voxels: their mean over a coarse voxel.
      const auto coarse = [size = coarseLogits[i].sizes().slice(2)](const torch::Tensor & share) {
        return torch::adaptive_avg_pool3d(share, size);
      };
      loss = loss + DeepSupervisionImpl::Weight(static_cast<std::int64_t>(i) + 1) *
                      this->SegmentationLoss(coarseLogits[i], coarse(target), coarse(brain));
    }
  }
  else
  {
    torch::nn::functional::CrossEntropyFuncOptions options;
    options.label_smoothing(m_Trainer.m_LabelSmoothing);
    if (!m_ClassWeights.empty())
    {
      options.weight(torch::tensor(m_ClassWeights, torch::kFloat32).to(m_Device));
    }
    const torch::Tensor high = torch::tensor(batch.HighGrade, torch::kFloat32);
    // Probabilities only where there are undecided samples: class weights then do not change what the mean is of.
    loss = torch::nn::functional::cross_entropy(
      logits.to(torch::kFloat32),
      (m_Augmentation.Strength("tumour-free") > 0.0 ? torch::stack({ 1.0F - high, high }, 1) : high.to(torch::kInt64))
        .to(m_Device),
      options);
  }
  m_Optimizer->ForgetGradients();
  loss.backward();
  const std::vector<torch::Tensor> gradients = m_Optimizer->Gradients();
  const torch::Tensor              normOfAll = torch::stack(at::_foreach_norm(gradients)).norm();
  // Together, so that a device is waited for once.
  const torch::Tensor both = torch::stack({ loss.detach(), normOfAll }).cpu();
  const double        value = both[0].item<double>();
  const double        norm = both[1].item<double>();
  if (!std::isfinite(value) || !std::isfinite(norm))
  {
    std::ostringstream what;
    what << "the loss of step " << m_Trainer.m_Step + 1 << " is " << value << " and its gradient's norm " << norm;
    this->RefuseToGoOn(what.str());
  }
  if (m_Trainer.m_GradientClipping > 0.0 && norm > m_Trainer.m_GradientClipping)
  {
    at::_foreach_mul_(gradients, m_Trainer.m_GradientClipping / (norm + 1e-6));
  }
  m_Optimizer->Step(m_Trainer.m_Step + 1, rate);
  return value;
}

void
TorchModelTrainer::Session::RefuseToGoOn(const std::string & what) const
{
  std::ostringstream text;
  text << "The training has gone wrong: " << what << ". ";
  if (fs::exists(m_Checkpoint))
  {
    text << "The bundle and the checkpoint of step " << m_SavedStep
         << " are kept, but to resume would end here again: train into another output, from InitialBundle (--initial "
         << m_Output << "), with";
  }
  else
  {
    text << "Nothing was kept; train again with";
  }
  text << " a LearningRate (--rate) lower than " << m_Trainer.m_LearningRate
       << " or a GradientClipping (--clip-gradient) ";
  if (m_Trainer.m_GradientClipping > 0.0)
  {
    text << "lower than " << m_Trainer.m_GradientClipping;
  }
  else
  {
    text << "such as 5";
  }
  itkGenericExceptionMacro(<< text.str());
}

void
TorchModelTrainer::Session::Score()
{
  const torch::NoGradGuard noGradient;
  this->Network().eval();
  // As inference computes it: in float32, whatever the training's precision, and with less memory for a whole head.
  std::unique_ptr<const FusedSegmentation> fused;
  if (m_Segmentation && m_Device.is_cpu() && FusedSegmentation::IsAvailable())
  {
    fused = std::make_unique<FusedSegmentation>(*m_SegmentationNetwork, false);
  }
  m_Trainer.m_Scores.clear();
  for (std::size_t i = 0; i < m_Validation.size(); ++i)
  {
    const PreparedCase &     c = m_Validation[i];
    TorchModelTrainer::Score score;
    score.Case = c.Name;
    score.Grade = m_Plan.Validation[i].Grade;
    if (m_Segmentation)
    {
      const std::int64_t        halo = m_SegmentationNetwork->Halo();
      const std::int64_t        step = m_SegmentationNetwork->Step();
      torch::Tensor             x = c.Intensities.to(torch::kFloat32).permute({ 3, 0, 1, 2 }).unsqueeze(0);
      std::vector<std::int64_t> padding;
      for (int axis = 4; axis >= 2; --axis)
      {
        const std::int64_t whole = x.size(axis) + 2 * halo;
        padding.push_back(halo);
        padding.push_back(halo + (step - whole % step) % step);
      }
      x = torch::constant_pad_nd(x, padding, 0.0);
      x = (x + torch::tensor(std::vector<float>(c.Background.begin(), c.Background.end()), torch::kFloat32)
                 .view({ 1, 4, 1, 1, 1 }))
            .contiguous(torch::MemoryFormat::ChannelsLast3d);
      const torch::Tensor logits = fused ? fused->Forward(x) : this->Forward(x.to(m_Device)).cpu();
      const torch::Tensor p = torch::softmax(logits, 1)[0][1]
                                .narrow(0, 0, c.Brain.size(0))
                                .narrow(1, 0, c.Brain.size(1))
                                .narrow(2, 0, c.Brain.size(2));
      const torch::Tensor hit = (p > 0.5) & (c.Brain > 127);
      const torch::Tensor truth = c.Tumour > 127;
      const double        both = (hit & truth).sum().item<double>();
      const double        either = hit.sum().item<double>() + truth.sum().item<double>();
      score.Value = either > 0.0 ? 2.0 * both / either : 1.0;
    }
    else
    {
      const auto                  n = static_cast<std::int64_t>(m_Trainer.m_PatchSize);
      AugmentationPipeline::Patch patch;
      CutCube(c, c.BoxLow, c.BoxHigh, m_Trainer.m_Margin, m_Trainer.m_Region == "brain", n, {}, { { 0, 0, 0 } }, patch);
      const torch::Tensor x = EmptyInput(1, n, torch::kFloat32);
      PutSample(c, patch, x, 0);
      score.Value = torch::softmax(this->Forward(x.to(m_Device)).cpu(), 1)[0][1].item<double>();
    }
    m_Trainer.m_Scores.push_back(score);
  }
  this->Network().train();
}

void
TorchModelTrainer::Session::NoteScore(double score)
{
  // Nothing is better than NaN, and NaN than nothing.
  if (std::isnan(score) || (m_Trainer.m_BestStep != 0 && score <= m_BestScore))
  {
    ++m_Stale;
    return;
  }
  m_Stale = 0;
  m_BestScore = score;
  m_Trainer.m_BestStep = m_Trainer.m_Step;
  if (m_Trainer.m_KeepBest && m_Trainer.m_ValidationSteps > 0)
  {
    for (const auto & [name, tensor] : StateOfModule(this->Network()))
    {
      m_Best[name] = tensor.detach().cpu().clone();
    }
  }
}

void
TorchModelTrainer::Session::Run()
{
  this->MakeNetwork();
  this->MakeOptimizer();
  m_Trainer.m_Step = 0;
  m_Trainer.m_BestStep = 0;
  m_Trainer.m_Seconds = 0.0;
  m_Trainer.m_LastScore = std::numeric_limits<double>::quiet_NaN();
  if (m_Trainer.m_Resume)
  {
    this->LoadCheckpoint();
  }
  this->OpenLog();
  this->Network().train();

  const Float32Convolutions float32(m_Device, m_Trainer.m_Precision == PrecisionEnum::Float32);
  using Clock = std::chrono::steady_clock;
  const double before = m_Trainer.m_Seconds;
  const auto   start = Clock::now();
  auto         saved = start;
  const auto   secondsSince = [](Clock::time_point from) {
    return std::chrono::duration<double>(Clock::now() - from).count();
  };
  double     scoring = 0.0;
  const auto meanScore = [&] {
    double sum = 0.0;
    for (const auto & score : m_Trainer.m_Scores)
    {
      // For grading the probability of the true grade.
      sum += m_Segmentation || score.Grade == "HGG" ? score.Value : 1.0 - score.Value;
    }
    return sum / static_cast<double>(m_Trainer.m_Scores.size());
  };
  const auto save = [&] {
    // The log first: a resumed training keeps its rows up to the checkpoint.
    m_Log.flush();
    FlushToDisk(m_Output + ".csv");
    // Nothing is replaced before all is known to be finite.
    const auto state = this->CheckpointState();
    this->WriteBundle();
    fs::create_directories(fs::path(m_Checkpoint).parent_path());
    try
    {
      WriteSafetensors(m_Checkpoint, state);
    }
    catch (...)
    {
      std::error_code ignored;
      fs::remove_all(m_NewBundle, ignored); // on a disk that may be full
      throw;
    }
    this->PublishBundle();
    m_SavedStep = m_Trainer.m_Step;
    saved = Clock::now();
  };
  std::size_t bytes = 0;
  for (const auto * list : { &m_Training, &m_Validation })
  {
    for (const PreparedCase & c : *list)
    {
      bytes += c.Intensities.nbytes() + c.Brain.nbytes() + c.Tumour.nbytes();
    }
  }
  std::ostringstream gigabytes;
  gigabytes << std::fixed << std::setprecision(1) << 1e-9 * static_cast<double>(bytes);
  m_Trainer.Report("Training on " + std::to_string(m_Training.size()) + " cases; all take " + gigabytes.str() +
                   " GB of memory");
  if (!this->IsDone())
  {
    // Where a GPU computes, all threads are free to load for it.
    BatchLoader<TrainingBatch> loader(m_Trainer.m_Step,
                                      m_Device.is_cpu() ? this->Helpers() : this->Threads(),
                                      [this](std::uint64_t step) { return this->MakeBatch(step); });
    while (!this->IsDone() && !m_Trainer.m_Stop)
    {
      const double rate = this->RateOfStep(m_Trainer.m_Step);
      m_Trainer.m_LastLoss = this->TrainStep(loader.Next(), rate);
      ++m_Trainer.m_Step;
      m_Trainer.m_Seconds = before + secondsSince(start) - scoring;
      std::ostringstream row;
      row.imbue(std::locale::classic());
      row << std::setprecision(9) << m_Trainer.m_Step << ',' << std::fixed << std::setprecision(2)
          << m_Trainer.m_Seconds << ',' << std::defaultfloat << std::setprecision(9) << m_Trainer.m_LastLoss << ','
          << rate << ',';
      const bool last = this->IsDone();
      // Also of a step within which it was stopped: who resumes begins with the next.
      if (!m_Validation.empty() &&
          (last || (m_Trainer.m_ValidationSteps > 0 && m_Trainer.m_Step % m_Trainer.m_ValidationSteps == 0)))
      {
        const auto from = Clock::now();
        m_Trainer.Report("Scoring " + std::to_string(m_Validation.size()) + " cases");
        this->Score();
        m_Trainer.m_LastScore = meanScore();
        this->NoteScore(m_Trainer.m_LastScore);
        row << m_Trainer.m_LastScore;
        scoring += secondsSince(from);
      }
      m_Log << row.str() << '\n';
      m_Trainer.InvokeEvent(IterationEvent());
      if (secondsSince(saved) > 60.0 * m_Trainer.m_CheckpointMinutes)
      {
        save();
        m_Trainer.Report("Step " + std::to_string(m_Trainer.m_Step) + " is kept");
      }
    }
  }
  else if (!m_Validation.empty())
  {
    this->Score();
    m_Trainer.m_LastScore = meanScore();
    // It may be the end only now, of fewer steps or minutes.
    if (m_Trainer.m_BestStep == 0 || m_Trainer.m_LastScore > m_BestScore)
    {
      this->NoteScore(m_Trainer.m_LastScore);
    }
  }
  save();
  if (this->IsDone() && !m_Best.empty() && m_Trainer.m_BestStep != m_Trainer.m_Step)
  {
    // The scores are those of the bundle. The checkpoint above has the last weights.
    LoadStateIntoModule(this->Network(), m_Best, "the best weights");
    this->Score();
    m_Trainer.Report("The bundle holds the weights of step " + std::to_string(m_Trainer.m_BestStep) +
                     ", the best on the validation cases");
  }
  if (!m_Log)
  {
    itkGenericExceptionMacro("The log " << m_Output << ".csv could not be written; is the disk full?");
  }
  m_Trainer.Report((m_Trainer.m_Stop ? "Stopped after step " : "Done: step ") + std::to_string(m_Trainer.m_Step));
}

TorchModelTrainer::TorchModelTrainer()
{
  this->SetTask(TaskEnum::Segmentation);
}

void
TorchModelTrainer::SetTask(TaskEnum task)
{
  // What follows is the paper's; where it is silent, see the header.
  const bool grading = task == TaskEnum::Grading;
  m_Task = task;
  m_Width = 16;
  m_Levels = 4;
  m_Padded = false;
  m_Dropout = 0.4;
  m_SpatialDropout = grading ? 0.0 : 0.05;
  m_Spacing = 1.0;
  m_BiasCorrection = "n4";
  m_Standardization = "brain";
  m_LowerQuantile = 0.0;
  m_UpperQuantile = 1.0;
  m_Margin = 10;
  m_MinimumComponentShare = 0.05;
  m_PatchSize = grading ? 96 : 136;
  m_BatchSize = grading ? 4 : 2;
  m_TumourShare = 0.5;
  m_Balance = false;
  m_ClassWeights = "none";
  m_Region = "tumour";
  m_Loss = LossEnum::CrossEntropy;
  m_LabelSmoothing = 0.0;
  m_Optimizer = OptimizerEnum::Adam;
  m_LearningRate = grading ? 1e-4 : 5e-5;
  m_WeightDecay = grading ? 1e-4 : 1e-6;
  m_DecayKernelsOnly = !grading;
  m_Schedule = ScheduleEnum::Constant;
  m_WarmUpSteps = 0;
  m_NormalizationSteps = 0;
  m_DeepSupervision = 0;
  m_GradientClipping = 0.0;
  m_Augmentations.clear();
  if (grading)
  {
    m_Augmentations = { "sagittal-flip", "rotation", "quarter-turns", "gamma" };
  }
  this->Modified();
}

void
TorchModelTrainer::SetRegion(const std::string & region)
{
  m_Region = region;
  m_Margin = region == "brain" ? 0 : 10;
  this->Modified();
}

void
TorchModelTrainer::UseDemonstrationRecipe()
{
  const bool grading = m_Task == TaskEnum::Grading;
  m_Width = 8;
  m_Levels = 3;
  m_Spacing = grading ? 1.0 : 2.0; // a 2 mm network learned as well with a quarter of the computing
  m_LowerQuantile = 0.005;
  m_UpperQuantile = 0.995;
  m_PatchSize = grading ? 96 : 92;
  m_MinimumComponentShare = 0.5; // islands beside the tumour are the commonest error of a weak segmentation
  m_TumourShare = 0.6;
  m_Balance = grading;
  m_Loss = grading ? LossEnum::CrossEntropy : LossEnum::CrossEntropyAndDice;
  m_LabelSmoothing = grading ? 0.1 : 0.0;
  m_Optimizer = OptimizerEnum::AdamW;
  m_LearningRate = grading ? 1e-3 : 3e-3;
  m_WeightDecay = 1e-2;
  m_DecayKernelsOnly = false;
  m_Schedule = ScheduleEnum::Cosine;
  m_WarmUpSteps = 30;
  m_GradientClipping = 5.0;
  m_Demonstration = true;
  if (grading)
  {
    m_Augmentations = { "rotation-3d=20", "zoom=0.15", "mirror=0.5",          "quarter-turns=0.5", "shift=0.1",
                        "box-jitter=0.1", "gain=0.2",  "intensity-curve=0.4", "offset=0.4",        "thick-slices=0.3",
                        "sharpness=0.43", "noise=0.3", "lost-sequence=0.25",  "bias-field=0.2" };
  }
  else
  {
    m_Augmentations = {
      "rotation-3d=20",      "zoom=0.2",           "sagittal-flip=0.5",   "shift=0.5",        "gain=0.9",
      "intensity-curve=0.7", "offset=0.4",         "lesion-contrast=0.8", "thick-slices=0.3", "sharpness=0.43",
      "noise=0.3",           "lost-sequence=0.25", "bias-field=0.2"
    };
  }
  this->Modified();
}

void
TorchModelTrainer::AddCohort(const std::string & file, double weight)
{
  m_Cohorts.emplace_back(file, weight);
  this->Modified();
}

void
TorchModelTrainer::ClearCohorts()
{
  m_Cohorts.clear();
  this->Modified();
}

void
TorchModelTrainer::AddLeftOutCase(const std::string & name)
{
  m_LeftOutCases.push_back(name);
  this->Modified();
}

void
TorchModelTrainer::ClearLeftOutCases()
{
  m_LeftOutCases.clear();
  this->Modified();
}

void
TorchModelTrainer::AddLeftOutSite(const std::string & site)
{
  m_LeftOutSites.push_back(site);
  this->Modified();
}

void
TorchModelTrainer::ClearLeftOutSites()
{
  m_LeftOutSites.clear();
  this->Modified();
}

void
TorchModelTrainer::AddValidationCase(const std::string & name)
{
  m_ValidationCases.push_back(name);
  this->Modified();
}

void
TorchModelTrainer::ClearValidationCases()
{
  m_ValidationCases.clear();
  this->Modified();
}

void
TorchModelTrainer::AddAugmentation(const std::string & nameAndStrength)
{
  AugmentationPipeline().Add(nameAndStrength); // throws where it is not known
  m_Augmentations.push_back(nameAndStrength);
  this->Modified();
}

void
TorchModelTrainer::ClearAugmentations()
{
  m_Augmentations.clear();
  this->Modified();
}

std::string
TorchModelTrainer::GetAugmentationHelp()
{
  std::ostringstream text;
  for (const auto & description : AugmentationPipeline::Names())
  {
    text << description.Name << '=' << description.Strength << ": " << description.Meaning << " (at most "
         << description.Maximum << ")\n";
  }
  return text.str();
}

std::vector<std::string>
TorchModelTrainer::FindProblems() const
{
  return Session::Plan(*this).Problems;
}

void
TorchModelTrainer::Train()
{
  m_Stop = false;
  m_Scores.clear();
  const CohortPlan plan = Session::Plan(*this);
  if (!plan.Problems.empty())
  {
    // What is wrong with the images is told in the same message.
    std::string text = "The training cannot start:";
    for (const std::string & problem : plan.Problems)
    {
      text += "\n  " + problem;
    }
    for (const auto * list : { &plan.Training, &plan.Validation })
    {
      for (const CohortCase & c : *list)
      {
        for (const std::string & problem : CohortReader::FindImageProblems(c))
        {
          text += "\n  " + problem;
        }
      }
    }
    itkExceptionMacro(<< text);
  }
  Session              session(*this);
  const TorchThreads   threads(session.Threads());
  const TorchModes     modes{ torch::Device(TorchModel::ResolveDevice(m_Device)) };
  const GeneratorGuard generator;
  try
  {
    session.ReserveOutput();
    session.PrepareCases(plan);
    session.Run();
  }
  catch (const c10::Error & error)
  {
    itkExceptionMacro("torch: " << error.what_without_backtrace());
  }
  catch (const fs::filesystem_error & error)
  {
    itkExceptionMacro(<< error.what());
  }
}

void
TorchModelTrainer::Report(const std::string & status)
{
  m_Status = status;
  this->InvokeEvent(ProgressEvent());
}

void
TorchModelTrainer::PrintSelf(std::ostream & os, Indent indent) const
{
  Superclass::PrintSelf(os, indent);
  const auto list = [&](const char * name, const std::vector<std::string> & values) {
    os << indent << name << ':';
    for (const std::string & value : values)
    {
      os << ' ' << value;
    }
    os << std::endl;
  };
  os << indent << "Task: " << m_Task << std::endl;
  os << indent << "Cohorts:";
  for (const auto & cohort : m_Cohorts)
  {
    os << ' ' << cohort.first << " (weight " << cohort.second << ')';
  }
  os << std::endl;
  list("LeftOutCases", m_LeftOutCases);
  list("LeftOutSites", m_LeftOutSites);
  list("ValidationCases", m_ValidationCases);
  os << indent << "Output: " << m_Output << std::endl;
  os << indent << "CacheFolder: " << m_CacheFolder << std::endl;
  os << indent << "SplitFile: " << m_SplitFile << std::endl;
  os << indent << "InitialBundle: " << m_InitialBundle << std::endl;
  os << indent << "Resume: " << m_Resume << std::endl;
  os << indent << "Width: " << m_Width << std::endl;
  os << indent << "Levels: " << m_Levels << std::endl;
  os << indent << "Padded: " << m_Padded << std::endl;
  os << indent << "Dropout: " << m_Dropout << std::endl;
  os << indent << "SpatialDropout: " << m_SpatialDropout << std::endl;
  os << indent << "Spacing: " << m_Spacing << std::endl;
  os << indent << "BiasCorrection: " << m_BiasCorrection << std::endl;
  os << indent << "Standardization: " << m_Standardization << std::endl;
  os << indent << "LowerQuantile: " << m_LowerQuantile << std::endl;
  os << indent << "UpperQuantile: " << m_UpperQuantile << std::endl;
  os << indent << "Margin: " << m_Margin << std::endl;
  os << indent << "MinimumComponentShare: " << m_MinimumComponentShare << std::endl;
  os << indent << "PatchSize: " << m_PatchSize << std::endl;
  os << indent << "BatchSize: " << m_BatchSize << std::endl;
  os << indent << "TumourShare: " << m_TumourShare << std::endl;
  os << indent << "Balance: " << m_Balance << std::endl;
  os << indent << "ClassWeights: " << m_ClassWeights << std::endl;
  os << indent << "Region: " << m_Region << std::endl;
  os << indent << "Loss: " << m_Loss << std::endl;
  os << indent << "LabelSmoothing: " << m_LabelSmoothing << std::endl;
  os << indent << "Optimizer: " << m_Optimizer << std::endl;
  os << indent << "LearningRate: " << m_LearningRate << std::endl;
  os << indent << "WeightDecay: " << m_WeightDecay << std::endl;
  os << indent << "DecayKernelsOnly: " << m_DecayKernelsOnly << std::endl;
  os << indent << "Schedule: " << m_Schedule << std::endl;
  os << indent << "WarmUpSteps: " << m_WarmUpSteps << std::endl;
  os << indent << "NormalizationSteps: " << m_NormalizationSteps << std::endl;
  os << indent << "DeepSupervision: " << m_DeepSupervision << std::endl;
  os << indent << "GradientClipping: " << m_GradientClipping << std::endl;
  list("Augmentations", m_Augmentations);
  os << indent << "MaximumSteps: " << m_MaximumSteps << std::endl;
  os << indent << "MaximumMinutes: " << m_MaximumMinutes << std::endl;
  os << indent << "CheckpointMinutes: " << m_CheckpointMinutes << std::endl;
  os << indent << "ValidationSteps: " << m_ValidationSteps << std::endl;
  os << indent << "Patience: " << m_Patience << std::endl;
  os << indent << "KeepBest: " << m_KeepBest << std::endl;
  os << indent << "Seed: " << m_Seed << std::endl;
  os << indent << "Precision: " << m_Precision << std::endl;
  os << indent << "NumberOfThreads: " << m_NumberOfThreads << std::endl;
  os << indent << "Device: " << m_Device << std::endl;
  os << indent << "Name: " << m_Name << std::endl;
  os << indent << "TrainingData: " << m_TrainingData << std::endl;
  os << indent << "IntendedUse: " << m_IntendedUse << std::endl;
  os << indent << "Licence: " << m_Licence << std::endl;
  os << indent << "Demonstration: " << m_Demonstration << std::endl;
  os << indent << "AttributionFile: " << m_AttributionFile << std::endl;
  os << indent << "Stop: " << m_Stop.load() << std::endl;
  os << indent << "Step: " << m_Step << std::endl;
  os << indent << "BestStep: " << m_BestStep << std::endl;
  os << indent << "LastLoss: " << m_LastLoss << std::endl;
  os << indent << "LastScore: " << m_LastScore << std::endl;
  os << indent << "Seconds: " << m_Seconds << std::endl;
  os << indent << "Status: " << m_Status << std::endl;
  os << indent << "Scores:";
  for (const Score & score : m_Scores)
  {
    os << ' ' << score.Case << '=' << score.Value;
  }
  os << std::endl;
}

std::ostream &
operator<<(std::ostream & out, const TorchModelTrainerEnums::Task value)
{
  return out << (value == TorchModelTrainerEnums::Task::Grading ? "grading" : "segmentation");
}

std::ostream &
operator<<(std::ostream & out, const TorchModelTrainerEnums::Loss value)
{
  return out << (value == TorchModelTrainerEnums::Loss::CrossEntropy ? "cross-entropy" : "cross-entropy+dice");
}

std::ostream &
operator<<(std::ostream & out, const TorchModelTrainerEnums::Optimizer value)
{
  return out << (value == TorchModelTrainerEnums::Optimizer::Adam ? "adam" : "adamw");
}

std::ostream &
operator<<(std::ostream & out, const TorchModelTrainerEnums::Schedule value)
{
  return out << (value == TorchModelTrainerEnums::Schedule::Constant ? "constant" : "cosine");
}

std::ostream &
operator<<(std::ostream & out, const TorchModelTrainerEnums::Precision value)
{
  return out << (value == TorchModelTrainerEnums::Precision::Float32 ? "float32" : "bfloat16");
}
} // namespace itk
