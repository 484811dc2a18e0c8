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
#include "TrainCommand.h"

#include "OptionChecks.h"
#include "TerminalText.h"
#include "TrainingCurve.h"

#include "itkCommand.h"
#include "itkTorchModelTrainer.h"

#include <unistd.h>
#ifdef __GLIBC__
#  include <malloc.h>
#endif

#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <iostream>
#include <limits>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

namespace glioma
{
namespace
{
namespace fs = std::filesystem;
using Trainer = itk::TorchModelTrainer;

/** For the signal handler alone. */
Trainer *                  runningTrainer = nullptr;
volatile std::sig_atomic_t stopSignal = 0;

void
StopTraining(int signal)
{
  stopSignal = signal;
  if (runningTrainer != nullptr)
  {
    runningTrainer->Stop();
  }
  // The second time ends at once.
  std::signal(signal, SIG_DFL);
}

/** What may be given on the command line; an option that is not given keeps the recipe's value. */
struct TrainOptions
{
  std::vector<std::string> Cohorts;
  std::vector<double>      Mix;
  std::vector<std::string> LeftCases;
  std::vector<std::string> LeftSites;
  std::vector<std::string> ValidationCases;
  std::vector<std::string> Augmentations;
  std::string              Recipe{ "paper" };
  std::string              Split;
  std::string              Output;
  std::string              Cache;
  std::string              Initial;
  bool                     Resume{ false };
};

/** Adds an option whose value goes to a setter of the trainer, after the recipe. */
class OptionTable
{
public:
  explicit OptionTable(CLI::App & command)
    : m_Command(command)
  {}

  template <typename TValue, typename TSet>
  CLI::Option *
  Add(const std::string & name, const std::string & help, TSet set)
  {
    auto          value = std::make_shared<TValue>();
    CLI::Option * option = m_Command.add_option(name, *value, help);
    if constexpr (std::is_unsigned<TValue>::value && !std::is_same<TValue, bool>::value)
    {
      option->check(WholeNumberUpTo(std::numeric_limits<TValue>::max()));
    }
    m_Setters.push_back([option, value, set](Trainer & trainer) {
      if (option->count() > 0)
      {
        set(trainer, *value);
      }
    });
    return option;
  }

  void
  Apply(Trainer & trainer) const
  {
    for (const auto & setter : m_Setters)
    {
      setter(trainer);
    }
  }

private:
  CLI::App &                                  m_Command;
  std::vector<std::function<void(Trainer &)>> m_Setters;
};

void
ShowProgress(const Trainer & trainer)
{
  using Clock = std::chrono::steady_clock;
  static Clock::time_point last{};
  static double            sum = 0.0;
  static unsigned int      steps = 0;
  const bool               terminal = ::isatty(STDERR_FILENO) != 0;
  sum += trainer.GetLastLoss();
  ++steps;
  const double wait = terminal ? 1.0 : 30.0;
  if (std::chrono::duration<double>(Clock::now() - last).count() < wait)
  {
    return;
  }
  last = Clock::now();
  char validation[64] = "";
  if (std::isfinite(trainer.GetLastScore()))
  {
    std::snprintf(validation,
                  sizeof(validation),
                  ", validation %.4f (best: step %llu)",
                  trainer.GetLastScore(),
                  static_cast<unsigned long long>(trainer.GetBestStep()));
  }
  std::fprintf(stderr,
               "%sstep %llu, %.0f s, loss %.4f%s%s",
               terminal ? "\r\033[K" : "",
               static_cast<unsigned long long>(trainer.GetStep()),
               trainer.GetSeconds(),
               sum / steps,
               validation,
               terminal ? "" : "\n");
  std::fflush(stderr);
  sum = 0.0;
  steps = 0;
}

int
Train(Trainer::TaskEnum task, const TrainOptions & options, const OptionTable & table)
{
  auto trainer = Trainer::New();
  trainer->SetTask(task);
  if (options.Recipe == "demonstration")
  {
    trainer->UseDemonstrationRecipe();
  }
  if (!options.Mix.empty() && options.Mix.size() != options.Cohorts.size())
  {
    std::cerr << "glioma train: --mix gives " << options.Mix.size() << " weights for " << options.Cohorts.size()
              << " cohorts\n";
    return 2;
  }
  for (const double weight : options.Mix)
  {
    if (!std::isfinite(weight) || weight <= 0.0)
    {
      std::cerr << "glioma train: --mix is " << weight
                << "; give each cohort a number above 0, or leave --mix out to draw by the numbers of cases\n";
      return 2;
    }
  }
  for (std::size_t i = 0; i < options.Cohorts.size(); ++i)
  {
    trainer->AddCohort(options.Cohorts[i], options.Mix.empty() ? 0.0 : options.Mix[i]);
  }
  for (const std::string & name : options.LeftCases)
  {
    trainer->AddLeftOutCase(name);
  }
  for (const std::string & site : options.LeftSites)
  {
    trainer->AddLeftOutSite(site);
  }
  for (const std::string & name : options.ValidationCases)
  {
    trainer->AddValidationCase(name);
  }
  trainer->SetSplitFile(options.Split);
  trainer->SetOutput(options.Output);
  trainer->SetCacheFolder(options.Cache);
  trainer->SetInitialBundle(options.Initial);
  trainer->SetResume(options.Resume);
  table.Apply(*trainer);
  if (!options.Augmentations.empty())
  {
    trainer->ClearAugmentations();
    for (const std::string & augmentation : options.Augmentations)
    {
      if (augmentation != "none")
      {
        trainer->AddAugmentation(augmentation);
      }
    }
  }

  const auto observe = [&](const itk::EventObject & event, std::function<void()> action) {
    trainer->AddObserver(event, [action](const itk::EventObject &) { action(); });
  };
  if (const std::string problem = FindCurveProblem(options.Output); !problem.empty())
  {
    std::cerr << "glioma train: " << problem << '\n';
    return 1;
  }
  const auto drawCurve = [&] {
    try
    {
      DrawTrainingCurve(options.Output);
    }
    catch (const std::exception & error)
    {
      std::cerr << "glioma train: " << OneLine(error) << std::endl; // the training goes on without it
    }
  };
  observe(itk::ProgressEvent(), [&] {
    std::cerr << (::isatty(STDERR_FILENO) != 0 ? "\r\033[K" : "") << trainer->GetStatus() << std::endl;
    if (trainer->GetStep() > 1 && fs::exists(options.Output))
    {
      drawCurve(); // to be looked at while it runs
    }
  });
  observe(itk::IterationEvent(), [&] { ShowProgress(*trainer); });

#ifdef __GLIBC__
  // Each step's maps are freed and wanted again: kept in the heap they save a tenth of the time.
  ::mallopt(M_MMAP_MAX, 0);
  ::mallopt(M_TRIM_THRESHOLD, std::numeric_limits<int>::max());
  ::mallopt(M_TOP_PAD, 256 << 20);
  // torch then asks for large pages: some hundredths more. Read when its first tensor is made.
  ::setenv("THP_MEM_ALLOC_ENABLE", "1", 0);
#endif
  runningTrainer = trainer.GetPointer();
  std::signal(SIGINT, StopTraining);
  std::signal(SIGTERM, StopTraining);
  trainer->Train();
  drawCurve();
  std::signal(SIGINT, SIG_DFL);
  std::signal(SIGTERM, SIG_DFL);
  runningTrainer = nullptr;

  const std::uint64_t wanted = trainer->GetMaximumSteps(); // 0: the time alone ends it
  if (stopSignal != 0 && (wanted == 0 || trainer->GetStep() < wanted))
  {
    std::cerr << "Stopped after step " << trainer->GetStep() << "; " << options.Output
              << " holds what was learned so far. The same command with --resume goes on." << std::endl;
    return 128 + stopSignal; // as of a program that the signal has ended: a script must not take it for finished
  }

  if (!trainer->GetScores().empty())
  {
    std::cout << (task == Trainer::TaskEnum::Segmentation ? "case,dice\n" : "case,grade,p_hgg\n");
    for (const auto & score : trainer->GetScores())
    {
      std::cout << score.Case << ',';
      if (task == Trainer::TaskEnum::Grading)
      {
        std::cout << score.Grade << ',';
      }
      std::cout << score.Value << '\n';
    }
  }
  std::cerr << "Wrote " << options.Output << ". Research use only.\n";
  return 0;
}

void
AddTask(CLI::App & train, const std::string & name, Trainer::TaskEnum task, int & exitCode)
{
  const bool grading = task == Trainer::TaskEnum::Grading;
  CLI::App * command =
    train.add_subcommand(name, grading ? "Train the grading network" : "Train the whole-tumour segmentation network");
  auto options = std::make_shared<TrainOptions>();
  auto table = std::make_shared<OptionTable>(*command);

  command->add_option("--cohort", options->Cohorts, "COHORT.csv or a folder in BRATS 2017's layout, one or more")
    ->required();
  command->add_option("--split", options->Split, "File that says each case's set, as brats2017_subjects_sets.py does");
  command->add_option(
    "--mix", options->Mix, "How often each cohort is drawn, a number above 0 each (default: by its number of cases)");
  command->add_option("--output", options->Output, "Folder of the bundle")->required();
  command->add_option("--leave", options->LeftCases, "Cases that are neither trained on nor validated");
  command->add_option("--leave-site", options->LeftSites, "Sites that are neither trained on nor validated");
  command->add_option(
    "--validate",
    options->ValidationCases,
    "Cases that are not trained on but scored; of the set test none, since scores choose the weights");
  command
    ->add_option(
      "--recipe",
      options->Recipe,
      "Values of the options that are not given: paper, whose values stand in brackets, or demonstration, for "
      "few patients (those of TorchModelTrainer::UseDemonstrationRecipe)")
    ->check(CLI::IsMember({ "paper", "demonstration" }))
    ->capture_default_str();
  command->add_option("--cache", options->Cache, "Folder of prepared cases (default: cohort-cache beside the output)");
  command->add_option("--initial", options->Initial, "Bundle to start from; what it was trained on must not validate");
  command->add_flag("--resume", options->Resume, "Go on from OUTPUT.checkpoint, with the same options");
  command->add_option(
    "--augment",
    options->Augmentations,
    "Augmentations NAME or NAME=STRENGTH, or none; in place of the recipe's. Below, the strength where "
    "NAME stands alone:\n" +
      Trainer::GetAugmentationHelp());

  OptionTable & t = *table;
  t.Add<std::uint64_t>("--steps",
                       "Ends after so many steps; this or --minutes is required",
                       [](Trainer & x, std::uint64_t v) { x.SetMaximumSteps(v); });
  t.Add<double>("--minutes", "Ends after so many minutes; this or --steps is required", [](Trainer & x, double v) {
    x.SetMaximumMinutes(v);
  });
  t.Add<double>("--checkpoint-minutes", "Minutes between checkpoints (5)", [](Trainer & x, double v) {
    x.SetCheckpointMinutes(v);
  });
  t.Add<std::uint64_t>("--validate-steps",
                       "Scores the validation cases every so many steps (at the end)",
                       [](Trainer & x, std::uint64_t v) { x.SetValidationSteps(v); });
  t.Add<unsigned int>("--patience",
                      "Ends after so many validations without a better score (0: off)",
                      [](Trainer & x, unsigned int v) { x.SetPatience(v); });
  t.Add<bool>("--keep-best",
              "true: the bundle holds the weights that validated best, with --validate-steps (true)",
              [](Trainer & x, bool v) { x.SetKeepBest(v); });
  t.Add<std::string>("--class-weights",
                     "none, or inverse-frequency: each class counts the same in all (none)",
                     [](Trainer & x, const std::string & v) { x.SetClassWeights(v); })
    ->check(CLI::IsMember({ "none", "inverse-frequency" }));
  t.Add<unsigned int>(
    "--width", "Channels of the first block (16)", [](Trainer & x, unsigned int v) { x.SetWidth(v); });
  if (!grading)
  {
    t.Add<unsigned int>("--levels", "Poolings + 1 (4)", [](Trainer & x, unsigned int v) { x.SetLevels(v); });
    t.Add<unsigned int>("--deep-supervision",
                        "Coarser maps of the decoder with a head of their own while training (0)",
                        [](Trainer & x, unsigned int v) { x.SetDeepSupervision(v); });
    t.Add<double>(
      "--tumour-share", "Share of patches centred on tumour (0.5)", [](Trainer & x, double v) { x.SetTumourShare(v); });
    t.Add<std::string>("--loss",
                       "cross-entropy or cross-entropy+dice (cross-entropy)",
                       [](Trainer & x, const std::string & v) {
                         x.SetLoss(v == "cross-entropy" ? Trainer::LossEnum::CrossEntropy
                                                        : Trainer::LossEnum::CrossEntropyAndDice);
                       })
      ->check(CLI::IsMember({ "cross-entropy", "cross-entropy+dice" }));
  }
  else
  {
    t.Add<std::string>(
       "--loss", "cross-entropy", [](Trainer & x, const std::string &) { x.SetLoss(Trainer::LossEnum::CrossEntropy); })
      ->check(CLI::IsMember({ "cross-entropy" }));
    t.Add<std::string>("--region,--roi",
                       "tumour, or brain: its box stretched, for a whole-brain grader (tumour)",
                       [](Trainer & x, const std::string & v) { x.SetRegion(v); })
      ->check(CLI::IsMember({ "tumour", "brain" }));
    t.Add<double>("--dropout", "Dropout (0.4)", [](Trainer & x, double v) { x.SetDropout(v); });
    t.Add<unsigned int>("--margin",
                        "Voxels around the tumour (10), or around the brain (0)",
                        [](Trainer & x, unsigned int v) { x.SetMargin(v); });
    t.Add<double>("--label-smoothing", "Share of the target given to both grades (0)", [](Trainer & x, double v) {
      x.SetLabelSmoothing(v);
    });
    t.Add<bool>("--balance", "true: grades take turns (false)", [](Trainer & x, bool v) { x.SetBalance(v); });
  }
  t.Add<double>("--spatial-dropout",
                grading ? "Spatial dropout (0)" : "Spatial dropout (0.05)",
                [](Trainer & x, double v) { x.SetSpatialDropout(v); });
  t.Add<bool>("--padded", "true: padded convolutions (false)", [](Trainer & x, bool v) { x.SetPadded(v); });
  t.Add<double>("--minimum-component-share",
                grading ? "Parts of a tumour below this share of the largest do not stretch the region (0.05)"
                        : "Parts of a predicted tumour below this share of the largest are left out (0.05)",
                [](Trainer & x, double v) { x.SetMinimumComponentShare(v); });
  t.Add<double>("--spacing", "Voxel size in mm (1)", [](Trainer & x, double v) { x.SetSpacing(v); });
  t.Add<unsigned int>("--patch",
                      grading ? "Voxels a side of the tumour's cube (96)" : "Input voxels a side of a patch (136)",
                      [](Trainer & x, unsigned int v) { x.SetPatchSize(v); });
  t.Add<unsigned int>("--batch",
                      grading ? "Samples of a step (4)" : "Samples of a step (2)",
                      [](Trainer & x, unsigned int v) { x.SetBatchSize(v); });
  t.Add<std::string>(
     "--bias-correction", "n4 or none (n4)", [](Trainer & x, const std::string & v) { x.SetBiasCorrection(v); })
    ->check(CLI::IsMember({ "n4", "none" }));
  t.Add<std::string>(
     "--standardize", "brain or image (brain)", [](Trainer & x, const std::string & v) { x.SetStandardization(v); })
    ->check(CLI::IsMember({ "brain", "image" }));
  t.Add<double>("--lower-quantile", "Clips below this quantile of the brain (0: off)", [](Trainer & x, double v) {
    x.SetLowerQuantile(v);
  });
  t.Add<double>("--upper-quantile", "Clips above this quantile of the brain (1: off)", [](Trainer & x, double v) {
    x.SetUpperQuantile(v);
  });
  t.Add<std::string>("--optimizer",
                     "adam (L2 weight decay) or adamw (adam)",
                     [](Trainer & x, const std::string & v) {
                       x.SetOptimizer(v == "adam" ? Trainer::OptimizerEnum::Adam : Trainer::OptimizerEnum::AdamW);
                     })
    ->check(CLI::IsMember({ "adam", "adamw" }));
  t.Add<double>("--rate", grading ? "Learning rate (1e-4)" : "Learning rate (5e-5)", [](Trainer & x, double v) {
    x.SetLearningRate(v);
  });
  t.Add<double>("--weight-decay", grading ? "Weight decay (1e-4)" : "Weight decay (1e-6)", [](Trainer & x, double v) {
    x.SetWeightDecay(v);
  });
  t.Add<bool>("--decay-kernels-only",
              grading ? "true: no decay of biases and norms (false)" : "true: no decay of biases and norms (true)",
              [](Trainer & x, bool v) { x.SetDecayKernelsOnly(v); });
  t.Add<std::string>("--schedule",
                     "constant or cosine (constant)",
                     [](Trainer & x, const std::string & v) {
                       x.SetSchedule(v == "cosine" ? Trainer::ScheduleEnum::Cosine : Trainer::ScheduleEnum::Constant);
                     })
    ->check(CLI::IsMember({ "constant", "cosine" }));
  t.Add<unsigned int>(
    "--warmup", "Steps over which the rate rises (0)", [](Trainer & x, unsigned int v) { x.SetWarmUpSteps(v); });
  t.Add<unsigned int>("--normalization-steps",
                      "After so many steps batch norms keep and use their running statistics (0: never)",
                      [](Trainer & x, unsigned int v) { x.SetNormalizationSteps(v); });
  t.Add<double>("--clip-gradient", "Norm to which gradients are clipped (0: not)", [](Trainer & x, double v) {
    x.SetGradientClipping(v);
  });
  t.Add<std::uint64_t>("--seed", "Seed (1)", [](Trainer & x, std::uint64_t v) { x.SetSeed(v); });
  t.Add<std::string>("--precision",
                     "float32, or bfloat16 where the processor has it (float32)",
                     [](Trainer & x, const std::string & v) {
                       x.SetPrecision(v == "bfloat16" ? Trainer::PrecisionEnum::BFloat16
                                                      : Trainer::PrecisionEnum::Float32);
                     })
    ->check(CLI::IsMember({ "float32", "bfloat16" }));
  t.Add<unsigned int>("--threads", "Threads (all)", [](Trainer & x, unsigned int v) { x.SetNumberOfThreads(v); });
  t.Add<std::string>("--device",
                     "auto (CUDA where there is a GPU), cpu, cuda or cuda:N (auto)",
                     [](Trainer & x, const std::string & v) { x.SetDevice(v); })
    ->check(DeviceName());
  t.Add<std::string>("--name", "Name of the model", [](Trainer & x, const std::string & v) { x.SetName(v); });
  t.Add<std::string>("--training-data", "A sentence on what it was trained on", [](Trainer & x, const std::string & v) {
    x.SetTrainingData(v);
  });
  t.Add<std::string>(
    "--intended-use", "A sentence on its use", [](Trainer & x, const std::string & v) { x.SetIntendedUse(v); });
  t.Add<std::string>(
    "--licence", "Licence of the weights", [](Trainer & x, const std::string & v) { x.SetLicence(v); });
  t.Add<bool>("--demonstration",
              "true: the bundle says that it is a demonstration (recipe demonstration: true)",
              [](Trainer & x, bool v) { x.SetDemonstration(v); });
  t.Add<std::string>("--attribution",
                     "CSV or JSON: case, licence, attribution of every training case",
                     [](Trainer & x, const std::string & v) { x.SetAttributionFile(v); });

  command->callback([task, options, table, &exitCode] {
    try
    {
      exitCode = Train(task, *options, *table);
    }
    catch (const itk::ProcessAborted & error)
    {
      std::cerr << "glioma train: " << WithItsList(error) << '\n';
      exitCode = 128 + stopSignal;
    }
    catch (const std::exception & error)
    {
      std::cerr << "glioma train: " << WithItsList(error) << '\n';
      exitCode = 1;
    }
    runningTrainer = nullptr;
  });
}
} // namespace

void
AddTrainCommand(CLI::App & application, int & exitCode)
{
  CLI::App * train = application.add_subcommand("train", "Train a network on a cohort and write it as a bundle");
  train->require_subcommand(1);
  AddTask(*train, "segmentation", Trainer::TaskEnum::Segmentation, exitCode);
  AddTask(*train, "grading", Trainer::TaskEnum::Grading, exitCode);
}

} // namespace glioma
