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

#include "../src/AugmentationPipeline.h"
#include "../src/BatchLoader.h"
#include "SeededBundles.h"

#include "itkBoundingBoxROIFilter.h"
#include "itkCastImageFilter.h"
#include "itkCommand.h"
#include "itkImage.h"
#include "itkImageFileReader.h"
#include "itkImageFileWriter.h"
#include "itkImageRegionIteratorWithIndex.h"
#include "itkModelSpaceFilter.h"
#include "itkSequencePreparationFilter.h"
#include "itkTorchModel.h"
#include "itkTorchSegmentationFilter.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <limits>
#include <locale>
#include <map>
#include <mutex>
#include <regex>
#include <set>
#include <sstream>
#include <stdexcept>
#include <thread>
#include <tuple>

#ifdef __unix__
#  include <sys/resource.h>
#endif

namespace
{
namespace fs = std::filesystem;

using Trainer = itk::TorchModelTrainer;
using ImageType = itk::Image<float, 3>;
using Pipeline = itk::AugmentationPipeline;

constexpr int side = 30;

const std::string columns = "case,t1,t1c,t2,flair,seg,grade";

// A folder of its own for each test, gone afterwards.
class TorchModelTrainer : public testing::Test
{
public:
  void
  SetUp() override
  {
    m_Folder = fs::temp_directory_path() /
               (std::string("glioma-trainer-") + testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(m_Folder);
    fs::create_directories(m_Folder);
  }
  void
  TearDown() override
  {
    fs::remove_all(m_Folder);
  }

  ImageType::Pointer
  ReadImage(const std::string & file)
  {
    auto reader = itk::ImageFileReader<ImageType>::New();
    reader->SetFileName((m_Folder / file).string());
    reader->Update();
    return reader->GetOutput();
  }

  void
  WriteImage(const ImageType * image, const std::string & file)
  {
    auto writer = itk::ImageFileWriter<ImageType>::New();
    writer->SetFileName((m_Folder / file).string());
    writer->SetInput(image);
    writer->Update();
  }

  /** Four sequences of 4 mm voxels, in which a ball is bright on T2 and FLAIR and, for HGG, on T1c; and its mask. The
   * case's row ends with \a more. */
  void
  WriteCase(const std::string & name, int number, bool hgg, const std::string & more = "")
  {
    const char * const files[5] = { "t1", "t1c", "t2", "flair", "seg" };
    const double       centre[3] = { 10.0 + number % 3 * 4, 11.0 + number / 2 % 3 * 3, 13.0 + number % 2 * 4 };
    itk::CounterRandom random(7, static_cast<std::uint64_t>(number));
    for (unsigned int f = 0; f < 5; ++f)
    {
      ImageType::Pointer    image = ImageType::New();
      ImageType::SizeType   size{ { side, side + 2, side } };
      ImageType::RegionType region(size);
      image->SetRegions(region);
      ImageType::SpacingType spacing;
      spacing.Fill(4.0);
      image->SetSpacing(spacing);
      image->Allocate(true);
      for (itk::ImageRegionIteratorWithIndex<ImageType> it(image, region); !it.IsAtEnd(); ++it)
      {
        const auto index = it.GetIndex();
        double     far = 0.0;
        bool       border = false;
        for (unsigned int a = 0; a < 3; ++a)
        {
          far += (index[a] - centre[a]) * (index[a] - centre[a]);
          border = border || index[a] < 2 || index[a] >= static_cast<long>(size[a]) - 2;
        }
        if (border)
        {
          continue;
        }
        const bool tumour = far <= 25.0;
        const bool bright = tumour && (f >= 2 || (f == 1 && hgg));
        it.Set(f == 4 ? (tumour ? 2.0F : 0.0F)
                      : static_cast<float>(100.0 + 5.0 * random.Normal() + (bright ? 60.0 : 0.0)));
      }
      this->WriteImage(image, name + '-' + files[f] + ".nrrd");
    }
    m_Rows += name;
    for (const char * const file : files)
    {
      m_Rows += ',' + name + '-' + file + ".nrrd";
    }
    m_Rows += (hgg ? ",HGG" : ",LGG") + more + '\n';
  }

  std::string
  WriteCohort(int cases)
  {
    for (int i = 0; i < cases; ++i)
    {
      this->WriteCase("case-" + std::to_string(i), i, i % 2 == 1);
    }
    return this->WriteText("COHORT.csv", columns + '\n' + m_Rows);
  }

  std::string
  WriteText(const std::string & name, const std::string & text)
  {
    std::ofstream(m_Folder / name) << text;
    return (m_Folder / name).string();
  }

  Trainer::Pointer
  SmallTrainer(Trainer::TaskEnum   task,
               const std::string & cohort,
               const std::string & output,
               bool                papersRecipe = false)
  {
    auto trainer = Trainer::New();
    trainer->SetTask(task);
    if (!papersRecipe)
    {
      trainer->UseDemonstrationRecipe();
      trainer->SetWarmUpSteps(3);
    }
    trainer->AddCohort(cohort);
    trainer->SetOutput((m_Folder / output).string());
    trainer->SetWidth(4);
    trainer->SetLevels(2);
    trainer->SetSpacing(4.0);
    trainer->SetBiasCorrection("none");
    trainer->SetPatchSize(task == Trainer::TaskEnum::Grading ? 72 : 36);
    trainer->SetMargin(4);
    trainer->SetNumberOfThreads(1);
    trainer->SetDevice("cpu");
    return trainer;
  }

  /** The paper's recipe without augmentations on a padded network of few voxels: a step takes some milliseconds. */
  Trainer::Pointer
  TinyTrainer(Trainer::TaskEnum task, const std::string & cohort, const std::string & output)
  {
    auto trainer = this->SmallTrainer(task, cohort, output, true);
    trainer->PaddedOn();
    trainer->SetPatchSize(task == Trainer::TaskEnum::Grading ? 16 : 8);
    trainer->SetBatchSize(2);
    trainer->ClearAugmentations();
    return trainer;
  }

  static void
  StopAfter(Trainer & trainer, std::uint64_t step)
  {
    trainer.AddObserver(itk::IterationEvent(), [&trainer, step](const itk::EventObject &) {
      if (trainer.GetStep() == step)
      {
        trainer.Stop();
      }
    });
  }

  /** What a training that fails says. */
  static std::string
  FailureOf(Trainer & trainer)
  {
    try
    {
      trainer.Train();
    }
    catch (const itk::ExceptionObject & error)
    {
      return error.GetDescription();
    }
    ADD_FAILURE() << "the training did not fail";
    return "";
  }

  /** One line each. */
  static std::string
  AllProblems(const Trainer & trainer)
  {
    std::string text;
    for (const std::string & problem : trainer.FindProblems())
    {
      text += problem + '\n';
    }
    return text;
  }

  /** Of the log: 2 loss, 3 rate, 4 validation score; NaN where there is none. */
  std::vector<double>
  Column(const std::string & output, std::size_t column)
  {
    std::ifstream       log(m_Folder / (output + ".csv"));
    std::string         line;
    std::vector<double> values;
    std::getline(log, line);
    EXPECT_EQ(line, "step,seconds,loss,rate,validation");
    while (std::getline(log, line))
    {
      std::istringstream       text(line);
      std::vector<std::string> fields(5);
      for (std::string & field : fields)
      {
        std::getline(text, field, ',');
      }
      values.push_back(fields[column].empty() ? std::numeric_limits<double>::quiet_NaN() : std::stod(fields[column]));
      EXPECT_EQ(std::stoul(fields[0]), values.size());
    }
    return values;
  }

  std::vector<double>
  Losses(const std::string & output)
  {
    return this->Column(output, 2);
  }

  std::string
  Bytes(const std::string & file)
  {
    std::ifstream stream(m_Folder / file, std::ios::binary);
    EXPECT_TRUE(stream.good()) << file;
    return { std::istreambuf_iterator<char>(stream), {} };
  }

  /** Where each float32 tensor of a safetensors file lies: first byte and number of bytes. */
  static std::map<std::string, std::pair<std::size_t, std::size_t>>
  PlacesOfTensors(const std::string & bytes)
  {
    std::uint64_t size = 0;
    std::memcpy(&size, bytes.data(), sizeof(size));
    const std::string header = bytes.substr(8, size);
    const std::regex  entry("\"([^\"]+)\":\\{\"data_offsets\":\\[(\\d+),(\\d+)\\],\"dtype\":\"F32\"");
    std::map<std::string, std::pair<std::size_t, std::size_t>> places;
    for (std::sregex_iterator it(header.begin(), header.end(), entry), end; it != end; ++it)
    {
      const std::size_t from = std::stoul((*it)[2]);
      places[(*it)[1]] = { 8 + size + from, std::stoul((*it)[3]) - from };
    }
    EXPECT_FALSE(places.empty());
    return places;
  }

  std::map<std::string, std::vector<float>>
  Tensors(const std::string & file)
  {
    const std::string                         bytes = this->Bytes(file);
    std::map<std::string, std::vector<float>> tensors;
    for (const auto & [name, place] : PlacesOfTensors(bytes))
    {
      tensors[name].resize(place.second / sizeof(float));
      std::memcpy(tensors[name].data(), bytes.data() + place.first, place.second);
    }
    return tensors;
  }

  std::map<std::string, std::vector<float>>
  Weights(const std::string & output)
  {
    return this->Tensors(output + "/models/model.safetensors");
  }

  /** Changes a tensor of the network in a checkpoint; the last value repeats. */
  void
  SetInCheckpoint(const std::string & output,
                  const std::string & name,
                  std::vector<float>  values,
                  const std::string & module = "network")
  {
    const std::string file = output + ".checkpoint/state.safetensors";
    std::string       bytes = this->Bytes(file);
    const auto [from, length] = PlacesOfTensors(bytes).at(module + '.' + name);
    values.resize(length / sizeof(float), values.back());
    std::memcpy(&bytes[from], values.data(), length);
    std::ofstream(m_Folder / file, std::ios::binary) << bytes;
  }

  /** The losses of so many steps in which the network says log(1/(1+e)) and log(e/(1+e)) whatever it is shown, so that
   * a loss tells what the samples were. */
  std::vector<double>
  LossesOfAConstant(Trainer & trainer, const std::string & output, unsigned int steps)
  {
    const std::string layer = trainer.GetTask() == Trainer::TaskEnum::Grading ? "fc3" : "head";
    trainer.SetLearningRate(1e-30);
    trainer.SetWeightDecay(0.0);
    trainer.SetMaximumSteps(1);
    trainer.Train();
    this->SetInCheckpoint(output, layer + ".weight", { 0.0F });
    this->SetInCheckpoint(output, layer + ".bias", { 0.0F, 1.0F });
    trainer.ResumeOn();
    trainer.SetMaximumSteps(steps + 1);
    trainer.Train();
    std::vector<double> losses = this->Losses(output);
    losses.erase(losses.begin());
    return losses;
  }

  /** Of the manifest. */
  std::vector<std::string>
  TrainingCases(const std::string & output)
  {
    return this->NamesOf(output, &itk::TorchModelManifest::TrainingCases);
  }
  std::vector<std::string>
  ValidationCases(const std::string & output)
  {
    return this->NamesOf(output, &itk::TorchModelManifest::ValidationCases);
  }
  std::vector<std::string>
  NamesOf(const std::string &                                output,
          std::vector<itk::TorchModelManifest::TrainingCase> itk::TorchModelManifest::* list)
  {
    auto model = itk::TorchModel::New();
    model->SetPath((m_Folder / output).string());
    model->ReadManifest();
    std::vector<std::string> names;
    for (const auto & entry : model->GetManifest().*list)
    {
      names.push_back(entry.Case);
    }
    return names;
  }

  fs::path    m_Folder;
  std::string m_Rows;
};

/** Five standard deviations of the share of draws that hit. */
double
FiveDeviations(double probability, std::size_t draws)
{
  return 5.0 * std::sqrt(probability * (1.0 - probability) / static_cast<double>(draws));
}

double
Mean(const std::vector<double> & values, std::size_t from, std::size_t to)
{
  double sum = 0.0;
  for (std::size_t i = from; i < to; ++i)
  {
    sum += values[i];
  }
  return sum / static_cast<double>(to - from);
}
} // namespace

TEST_F(TorchModelTrainer, DefaultsAreThePapers)
{
  // The paper is silent on width, levels, patch, batch and tumour share.
  auto trainer = Trainer::New();
  EXPECT_EQ(trainer->GetTask(), Trainer::TaskEnum::Segmentation);
  EXPECT_EQ(trainer->GetOptimizer(), Trainer::OptimizerEnum::Adam);
  EXPECT_EQ(trainer->GetLoss(), Trainer::LossEnum::CrossEntropy);
  EXPECT_EQ(trainer->GetSchedule(), Trainer::ScheduleEnum::Constant);
  EXPECT_EQ(trainer->GetLearningRate(), 5e-5);
  EXPECT_EQ(trainer->GetWeightDecay(), 1e-6);
  EXPECT_TRUE(trainer->GetDecayKernelsOnly());
  EXPECT_EQ(trainer->GetSpatialDropout(), 0.05);
  EXPECT_EQ(trainer->GetSpacing(), 1.0);
  EXPECT_EQ(trainer->GetWidth(), 16u);
  EXPECT_EQ(trainer->GetLevels(), 4u);
  EXPECT_EQ(trainer->GetPatchSize(), 136u);
  EXPECT_EQ(trainer->GetBatchSize(), 2u);
  EXPECT_EQ(trainer->GetTumourShare(), 0.5);
  EXPECT_EQ(trainer->GetWarmUpSteps(), 0u);
  EXPECT_EQ(trainer->GetNormalizationSteps(), 0u);
  EXPECT_EQ(trainer->GetDeepSupervision(), 0u);
  EXPECT_EQ(trainer->GetGradientClipping(), 0.0);
  EXPECT_EQ(trainer->GetPrecision(), Trainer::PrecisionEnum::Float32);
  EXPECT_TRUE(trainer->GetAugmentations().empty());

  trainer->UseDemonstrationRecipe();
  EXPECT_NE(trainer->GetLearningRate(), 5e-5);
  trainer->SetTask(Trainer::TaskEnum::Grading);
  EXPECT_EQ(trainer->GetOptimizer(), Trainer::OptimizerEnum::Adam);
  EXPECT_EQ(trainer->GetLearningRate(), 1e-4);
  EXPECT_EQ(trainer->GetWeightDecay(), 1e-4);
  EXPECT_FALSE(trainer->GetDecayKernelsOnly());
  EXPECT_EQ(trainer->GetDropout(), 0.4);
  EXPECT_EQ(trainer->GetSpatialDropout(), 0.0);
  EXPECT_EQ(trainer->GetWidth(), 16u);
  EXPECT_EQ(trainer->GetPatchSize(), 96u);
  EXPECT_EQ(trainer->GetBatchSize(), 4u);
  EXPECT_EQ(trainer->GetMargin(), 10u);
  EXPECT_EQ(trainer->GetLabelSmoothing(), 0.0);
  EXPECT_FALSE(trainer->GetBalance());
  EXPECT_EQ(trainer->GetAugmentations(),
            (std::vector<std::string>{ "sagittal-flip", "rotation", "quarter-turns", "gamma" }));
  Pipeline augmentation;
  for (const std::string & name : trainer->GetAugmentations())
  {
    augmentation.Add(name);
  }
  EXPECT_EQ(augmentation.Strength("rotation"), 20.0);
  EXPECT_EQ(augmentation.Strength("gamma"), 0.15);

  std::ostringstream text;
  trainer->Print(text);
  EXPECT_NE(text.str().find("LearningRate: 0.0001"), std::string::npos);
}

TEST_F(TorchModelTrainer, ListsEveryProblemAtOnce)
{
  this->WriteCase("good", 0, false);
  // An image of another grid, and a mask without tumour, are told beside the table's errors.
  this->WriteCase("other", 1, false);
  for (const char * const file : { "other-t2.nrrd", "other-seg.nrrd" })
  {
    auto image = ImageType::New();
    image->SetRegions(ImageType::SizeType{ { side, side, side } });
    image->Allocate(true);
    this->WriteImage(image, file);
  }
  const std::string cohort =
    this->WriteText("COHORT.csv",
                    columns + '\n' + m_Rows +
                      "bad name,good-t1.nrrd,good-t1c.nrrd,good-t2.nrrd,good-flair.nrrd,good-seg.nrrd,LGG\n"
                      "lost,good-t1.nrrd,nowhere.nrrd,good-t2.nrrd,good-flair.nrrd,good-seg.nrrd,LGG\n"
                      "twice,good-t1.nrrd,good-t1.nrrd,good-t2.nrrd,good-flair.nrrd,good-seg.nrrd,LGG\n"
                      "graded,good-t1.nrrd,good-t1c.nrrd,good-t2.nrrd,good-flair.nrrd,good-seg.nrrd,IV\n"
                      "unmasked,good-t1.nrrd,good-t1c.nrrd,good-t2.nrrd,good-flair.nrrd,,LGG\n"
                      "good,good-t1.nrrd,good-t1c.nrrd,good-t2.nrrd,good-flair.nrrd,good-seg.nrrd,LGG\n");
  auto trainer = this->SmallTrainer(Trainer::TaskEnum::Grading, cohort, "bundle");
  trainer->SetPatchSize(95);
  trainer->AddLeftOutCase("stranger");
  trainer->AddLeftOutSite("nowhere");
  try
  {
    trainer->Train();
    FAIL() << "nothing was refused";
  }
  catch (const itk::ExceptionObject & error)
  {
    const std::string text = error.GetDescription();
    for (const char * const part : { "'bad name'",
                                     "nowhere.nrrd",
                                     "t1 and t1c name the same file",
                                     "'IV' is neither LGG nor HGG",
                                     "unmasked has no tumour mask",
                                     "good occurs twice",
                                     "95",
                                     "stranger",
                                     "site nowhere",
                                     "MaximumMinutes",
                                     "both grades",
                                     "the grid of other-t2.nrrd",
                                     "the grid of other-seg.nrrd",
                                     "other-seg.nrrd has no tumour" })
    {
      EXPECT_NE(text.find(part), std::string::npos) << part << " is not in:\n" << text;
    }
  }
  EXPECT_FALSE(fs::exists(m_Folder / "bundle"));
  EXPECT_THROW(trainer->AddAugmentation("wobble"), itk::ExceptionObject);
  EXPECT_THROW(trainer->AddAugmentation("zoom=-1"), itk::ExceptionObject);
  EXPECT_THROW(trainer->AddAugmentation("elastic=1.01"), itk::ExceptionObject);
}

TEST_F(TorchModelTrainer, NamesBatchesFromWhichABatchNormLearnsNothing)
{
  const std::string cohort = this->WriteCohort(2);
  const auto        problems = [&](Trainer::TaskEnum task, bool padded, unsigned int patch, unsigned int batch) {
    auto trainer = this->SmallTrainer(task, cohort, "bundle");
    trainer->SetMaximumSteps(1);
    trainer->SetPadded(padded);
    trainer->SetPatchSize(patch);
    trainer->SetBatchSize(batch);
    return AllProblems(*trainer);
  };
  EXPECT_NE(problems(Trainer::TaskEnum::Grading, false, 72, 1).find("72 and BatchSize 1"), std::string::npos);
  EXPECT_NE(problems(Trainer::TaskEnum::Grading, true, 8, 1).find("8 and BatchSize 1"), std::string::npos);
  EXPECT_EQ(problems(Trainer::TaskEnum::Grading, false, 72, 2), "");
  EXPECT_EQ(problems(Trainer::TaskEnum::Grading, false, 80, 1), "");
  auto               trainer = this->SmallTrainer(Trainer::TaskEnum::Segmentation, cohort, "bundle");
  const unsigned int deepest = 1U << (trainer->GetLevels() - 1);
  EXPECT_NE(problems(Trainer::TaskEnum::Segmentation, true, deepest, 1).find("BatchSize 1"), std::string::npos);
  EXPECT_EQ(problems(Trainer::TaskEnum::Segmentation, true, deepest, 2), "");
  EXPECT_EQ(problems(Trainer::TaskEnum::Segmentation, true, 2 * deepest, 1), "");
}

namespace
{
/** How many cells a voxel is moved that lies so many cells from the cube's first corner: every control point with the
 * cubic B-spline of its distance, in closed form. */
std::array<double, 3>
Bend(const std::vector<double> & controlPoints, const std::array<double, 3> & at)
{
  const auto spline = [](double t) {
    t = std::abs(t);
    return t < 1.0 ? 2.0 / 3.0 - t * t + 0.5 * t * t * t : t < 2.0 ? std::pow(2.0 - t, 3) / 6.0 : 0.0;
  };
  constexpr std::int64_t points = Pipeline::ControlPoints;
  std::array<double, 3>  sum{ { 0, 0, 0 } };
  for (std::size_t i = 0; i < controlPoints.size(); ++i)
  {
    const auto   point = static_cast<std::int64_t>(i);
    const double weight = spline(at[0] + 1.0 - static_cast<double>(point % points)) *
                          spline(at[1] + 1.0 - static_cast<double>(point / points % points)) *
                          spline(at[2] + 1.0 - static_cast<double>(point / (points * points) % points));
    sum[point / (points * points * points)] += weight * controlPoints[i];
  }
  return sum;
}
} // namespace

TEST(AugmentationPipeline, ElasticDeformationNeverFolds)
{
  // The truth is the Jacobian's determinant by central differences.
  Pipeline pipeline;
  pipeline.Add("elastic=1");
  double least = 1.0;
  double most = 1.0;
  double farthest = 0.0;
  for (std::uint64_t draw = 0; draw < 20; ++draw)
  {
    itk::CounterRandom  random(7, draw);
    Pipeline::Placement placement;
    pipeline.Turn(random, placement);
    ASSERT_EQ(placement.Matrix, Pipeline::Placement().Matrix);
    for (int sample = 0; sample < 500; ++sample)
    {
      constexpr double      step = 1e-4;
      std::array<double, 3> at;
      for (double & each : at)
      {
        each = random.Uniform(step, static_cast<double>(Pipeline::Cells) - step);
      }
      double j[3][3];
      for (unsigned int b = 0; b < 3; ++b)
      {
        std::array<double, 3> behind = at;
        std::array<double, 3> before = at;
        behind[b] -= step;
        before[b] += step;
        const auto low = Bend(placement.Bend, behind);
        const auto high = Bend(placement.Bend, before);
        for (unsigned int a = 0; a < 3; ++a)
        {
          j[a][b] = (a == b ? 1.0 : 0.0) + (high[a] - low[a]) / (2.0 * step);
          farthest = std::max(farthest, std::abs(low[a]));
        }
      }
      const double determinant = j[0][0] * (j[1][1] * j[2][2] - j[1][2] * j[2][1]) -
                                 j[0][1] * (j[1][0] * j[2][2] - j[1][2] * j[2][0]) +
                                 j[0][2] * (j[1][0] * j[2][1] - j[1][1] * j[2][0]);
      least = std::min(least, determinant);
      most = std::max(most, determinant);
    }
  }
  EXPECT_GT(least, 0.0);
  EXPECT_LT(least, 0.7); // it does bend
  EXPECT_GT(most, 1.3);
  EXPECT_GT(farthest, 0.1);
  EXPECT_LE(farthest, Pipeline::LargestBend);
}

TEST(AugmentationPipeline, ACubeStaysWithinItsReach)
{
  const double longest = 31.0;
  const double margin = 7.0;
  for (const std::vector<std::string> & augmentations :
       { std::vector<std::string>{},
         { "rotation=20", "quarter-turns=0.5" },
         { "rotation=20", "elastic=1" },
         { "rotation-3d=20", "zoom=0.25", "mirror=0.5", "shift=0.2", "box-jitter=0.3" } })
  {
    Pipeline pipeline;
    for (const std::string & each : augmentations)
    {
      pipeline.Add(each);
    }
    const auto   reach = pipeline.ReachOfCube();
    const double limit = reach[0] * longest + reach[1] * margin;
    const double shift = pipeline.Strength("shift");
    double       farthest = 0.0;
    for (std::uint64_t draw = 0; draw < 20000; ++draw)
    {
      itk::CounterRandom    random(11, draw);
      std::array<double, 3> low = { { 0.0, 5.0, 9.0 } };
      std::array<double, 3> high = { { longest - 1.0, 19.0, 25.0 } };
      std::array<double, 3> middle;
      for (unsigned int a = 0; a < 3; ++a)
      {
        middle[a] = 0.5 * (low[a] + high[a]);
      }
      pipeline.JitterBox(random, low, high);
      double cubeSide = 0.0;
      for (unsigned int a = 0; a < 3; ++a)
      {
        cubeSide = std::max(cubeSide, high[a] - low[a] + 1.0 + 2.0 * margin);
      }
      Pipeline::Placement placement;
      for (double & each : middle)
      {
        each = -each + shift * cubeSide * random.Uniform(-0.5, 0.5);
      }
      pipeline.Turn(random, placement);
      for (unsigned int corner = 0; corner < 8; ++corner)
      {
        constexpr auto        cells = static_cast<double>(Pipeline::Cells);
        std::array<double, 3> upper;
        for (unsigned int a = 0; a < 3; ++a)
        {
          upper[a] = (corner >> a & 1U) != 0 ? 1.0 : 0.0;
        }
        const auto bend = Bend(placement.Bend, { { cells * upper[0], cells * upper[1], cells * upper[2] } });
        for (unsigned int a = 0; a < 3; ++a)
        {
          double at = 0.5 * (low[a] + high[a]) + middle[a];
          for (unsigned int b = 0; b < 3; ++b)
          {
            at += placement.Matrix[a][b] * cubeSide * (upper[b] - 0.5 + bend[b] / cells);
          }
          farthest = std::max(farthest, std::abs(at));
        }
      }
    }
    EXPECT_LE(farthest, limit * (1.0 + 1e-12));
    EXPECT_GE(farthest, 0.65 * limit); // not more memory than it needs
  }
}

TEST(AugmentationPipeline, RotationTurnsAboutTheLongAxis)
{
  // The truth is the definition of a turn about z, inferior to superior in the bundle's LPS, and for its share the
  // binomial distribution.
  Pipeline pipeline;
  pipeline.Add("rotation");
  constexpr std::size_t draws = 1000;
  std::size_t           unturned = 0;
  double                least = 0.0;
  double                most = 0.0;
  for (std::uint64_t draw = 0; draw < draws; ++draw)
  {
    itk::CounterRandom  random(5, draw);
    Pipeline::Placement placement;
    pipeline.Turn(random, placement);
    const auto & m = placement.Matrix;
    const double degrees = std::atan2(m[1][0], m[0][0]) * 180.0 / std::acos(-1.0);
    ASSERT_NEAR(m[0][0] * m[0][0] + m[1][0] * m[1][0], 1.0, 1e-12);
    ASSERT_EQ(m[1][1], m[0][0]);
    ASSERT_EQ(m[0][1], -m[1][0]);
    for (unsigned int a = 0; a < 2; ++a)
    {
      ASSERT_EQ(m[a][2], 0.0);
      ASSERT_EQ(m[2][a], 0.0);
    }
    ASSERT_EQ(m[2][2], 1.0);
    ASSERT_LE(std::abs(degrees), 20.0);
    unturned += degrees == 0.0 ? 1 : 0;
    least = std::min(least, degrees);
    most = std::max(most, degrees);
  }
  EXPECT_GT(most, 18.0);
  EXPECT_LT(least, -18.0);
  EXPECT_NEAR(static_cast<double>(unturned) / draws, 0.5, FiveDeviations(0.5, draws));
}

TEST(AugmentationPipeline, QuarterTurnsMoveVoxelsOntoVoxels)
{
  // The truth is the group of the four turns about z.
  Pipeline pipeline;
  pipeline.Add("quarter-turns=1");
  constexpr std::size_t                      draws = 1000;
  std::map<std::pair<int, int>, std::size_t> counts;
  for (std::uint64_t draw = 0; draw < draws; ++draw)
  {
    itk::CounterRandom  random(6, draw);
    Pipeline::Placement placement;
    pipeline.Turn(random, placement);
    const auto & m = placement.Matrix;
    for (const auto & row : m)
    {
      for (const double each : row)
      {
        ASSERT_TRUE(each == -1.0 || each == 0.0 || each == 1.0) << each;
      }
    }
    const double cosine = m[0][0];
    const double sine = m[1][0];
    ASSERT_EQ(cosine * cosine + sine * sine, 1.0);
    ASSERT_EQ(m[1][1], cosine);
    ASSERT_EQ(m[0][1], -sine);
    ASSERT_EQ(m[2][2], 1.0);
    ASSERT_EQ(std::abs(m[0][2]) + std::abs(m[1][2]) + std::abs(m[2][0]) + std::abs(m[2][1]), 0.0);
    ++counts[{ static_cast<int>(cosine), static_cast<int>(sine) }];
  }
  EXPECT_EQ(counts.size(), 4u);
  for (const auto & [turn, count] : counts)
  {
    EXPECT_NEAR(static_cast<double>(count) / draws, 0.25, FiveDeviations(0.25, draws)) << turn.first << turn.second;
  }
}

TEST_F(TorchModelTrainer, NamesCasesWithoutTumourOnTheirGrid)
{
  const std::string  cohort = this->WriteCohort(2);
  ImageType::Pointer empty = ImageType::New();
  empty->SetRegions(ImageType::SizeType{ { side, side + 2, side } });
  ImageType::SpacingType spacing;
  spacing.Fill(4.0);
  empty->SetSpacing(spacing);
  empty->Allocate(true);
  for (const int number : { 0, 1 })
  {
    this->WriteImage(empty, "case-" + std::to_string(number) + "-seg.nrrd");
  }
  auto trainer = this->SmallTrainer(Trainer::TaskEnum::Segmentation, cohort, "bundle");
  trainer->SetMaximumSteps(1);
  try
  {
    trainer->Train();
    FAIL() << "an empty mask was accepted";
  }
  catch (const itk::ExceptionObject & error)
  {
    const std::string text = error.GetDescription();
    EXPECT_NE(text.find("case-0"), std::string::npos) << text;
    EXPECT_NE(text.find("case-1"), std::string::npos) << text;
    EXPECT_NE(text.find("no tumour"), std::string::npos) << text;
  }
}

TEST_F(TorchModelTrainer, LearnsToSegment)
{
  auto trainer = this->SmallTrainer(Trainer::TaskEnum::Segmentation, this->WriteCohort(4), "bundle");
  trainer->SetLearningRate(1e-2);
  trainer->SetMaximumSteps(60);
  trainer->AddValidationCase("case-3");
  trainer->ClearAugmentations();
  // Every turn and flip: were the label not on its voxels, nothing could be learned.
  for (const char * const name : { "rotation-3d", "zoom", "mirror", "quarter-turns", "shift", "gain=0.2", "noise" })
  {
    trainer->AddAugmentation(name);
  }
  trainer->Train();
  const std::vector<double> losses = this->Losses("bundle");
  ASSERT_EQ(losses.size(), 60u);
  EXPECT_LT(Mean(losses, 50, 60), 0.4 * Mean(losses, 0, 5));
  ASSERT_EQ(trainer->GetScores().size(), 1u);
  EXPECT_EQ(trainer->GetScores()[0].Case, "case-3");
  EXPECT_GT(trainer->GetScores()[0].Value, 0.8);

  auto model = itk::TorchModel::New();
  model->SetPath((m_Folder / "bundle").string());
  model->Load();
  EXPECT_TRUE(model->VerifyGoldenPair());
  EXPECT_EQ(model->GetManifest().Spacing[2], 4.0);
  EXPECT_EQ(model->GetManifest().Halo, 10u);
  EXPECT_EQ(model->GetManifest().LowerQuantile, 0.005);
  EXPECT_EQ(model->GetManifest().BiasCorrection, "none");
  EXPECT_TRUE(model->GetManifest().Demonstration);
  EXPECT_EQ(model->GetManifest().TrainingCases.size(), 3u);
}

TEST_F(TorchModelTrainer, LearnsToGrade)
{
  const std::string cohort = this->WriteCohort(6);
  auto              trainer = this->SmallTrainer(Trainer::TaskEnum::Grading, cohort, "bundle");
  trainer->SetMaximumSteps(16);
  trainer->SetBatchSize(2);
  trainer->SetLearningRate(3e-3);
  trainer->SetDropout(0.0);
  trainer->SetLabelSmoothing(0.0);
  trainer->ClearAugmentations();
  for (const char * const name : { "mirror", "rotation-3d", "box-jitter" })
  {
    trainer->AddAugmentation(name);
  }
  trainer->AddValidationCase("case-4");
  trainer->AddValidationCase("case-5");
  trainer->SetAttributionFile(
    this->WriteText("attribution.csv", "case,licence,attribution\ncase-*,CC0,\"A, B\"\ncase-1,CC BY 4.0,C\n"));
  trainer->Train();
  const std::vector<double> losses = this->Losses("bundle");
  EXPECT_LT(Mean(losses, 12, 16), Mean(losses, 0, 4));
  ASSERT_EQ(trainer->GetScores().size(), 2u);
  EXPECT_GT(trainer->GetScores()[1].Value, trainer->GetScores()[0].Value);
  auto model = itk::TorchModel::New();
  model->SetPath((m_Folder / "bundle").string());
  model->ReadManifest();
  EXPECT_EQ(model->GetManifest().OutputSize, 72u);
  EXPECT_EQ(model->GetManifest().Margin, 4.0);
  EXPECT_EQ(model->GetManifest().FitMode, "cube");
  ASSERT_EQ(model->GetManifest().TrainingCases.size(), 4u);
  EXPECT_EQ(model->GetManifest().TrainingCases[0].Attribution, "A, B");
  EXPECT_EQ(model->GetManifest().TrainingCases[1].Licence, "CC BY 4.0");
}

TEST_F(TorchModelTrainer, AHeadWithoutItsTumourHasNoGrade)
{
  const std::string cohort = this->WriteCohort(4);
  const auto        make = [&](const std::string & output, const std::string & augmentation) {
    auto trainer = this->SmallTrainer(Trainer::TaskEnum::Grading, cohort, output);
    trainer->SetMaximumSteps(12);
    trainer->SetBatchSize(2);
    trainer->SetLearningRate(3e-3);
    trainer->SetDropout(0.0);
    trainer->SetLabelSmoothing(0.0);
    trainer->ClearAugmentations();
    trainer->AddAugmentation(augmentation);
    return trainer;
  };
  auto undecided = make("undecided", "tumour-free=1");
  undecided->Train();
  const std::vector<double> losses = this->Losses("undecided");
  for (const double loss : losses)
  {
    EXPECT_GT(loss, std::log(2.0) - 1e-6); // the entropy of one half and one half
  }
  EXPECT_LT(Mean(losses, 9, 12), Mean(losses, 0, 3));

  // The tumour alone says which grade it is, whatever head it lies in.
  auto transplanted = make("transplanted", "transplant=1");
  transplanted->SetMaximumSteps(16);
  transplanted->AddValidationCase("case-2");
  transplanted->AddValidationCase("case-3");
  transplanted->Train();
  const std::vector<double> learnt = this->Losses("transplanted");
  EXPECT_LT(Mean(learnt, 12, 16), Mean(learnt, 0, 4));
  ASSERT_EQ(transplanted->GetScores().size(), 2u);
  EXPECT_GT(transplanted->GetScores()[1].Value, transplanted->GetScores()[0].Value);

  const auto problem = [&](Trainer::TaskEnum task, const char * region, const char * augmentation) {
    auto trainer = this->SmallTrainer(task, cohort, "refused");
    trainer->SetMaximumSteps(1);
    trainer->SetRegion(region);
    trainer->AddAugmentation(augmentation);
    return AllProblems(*trainer);
  };
  EXPECT_NE(problem(Trainer::TaskEnum::Segmentation, "tumour", "tumour-free").find("is for grading"),
            std::string::npos);
  EXPECT_NE(problem(Trainer::TaskEnum::Grading, "brain", "tumour-free=0.2").find("needs Region tumour"),
            std::string::npos);
  EXPECT_NE(problem(Trainer::TaskEnum::Grading, "brain", "transplant").find("needs Region tumour"), std::string::npos);
  EXPECT_EQ(problem(Trainer::TaskEnum::Grading, "tumour", "transplant"), "");
  EXPECT_EQ(problem(Trainer::TaskEnum::Segmentation, "tumour", "transplant"), "");
}

TEST_F(TorchModelTrainer, KeepsTheStatisticsOfTheNormalizationSteps)
{
  const std::string cohort = this->WriteCohort(2);
  const auto        train = [&](const std::string & output, unsigned int steps, unsigned int normalizationSteps) {
    auto trainer = this->SmallTrainer(Trainer::TaskEnum::Segmentation, cohort, output);
    trainer->SetSchedule(Trainer::ScheduleEnum::Constant);
    trainer->SetNormalizationSteps(normalizationSteps);
    trainer->SetMaximumSteps(steps);
    trainer->Train();
  };
  const auto tensor = [&](const std::string & output, const std::string & name) {
    return this->Weights(output).at(name);
  };
  train("two", 2, 0);
  train("kept", 5, 2);
  train("moving", 5, 0);
  for (const char * const name : { "stem.bn.running_mean", "enc1.bn2.running_var", "bn.running_mean" })
  {
    EXPECT_EQ(tensor("kept", name), tensor("two", name)) << name;
    EXPECT_NE(tensor("moving", name), tensor("two", name)) << name;
  }
  // What is learned goes on.
  EXPECT_NE(tensor("kept", "stem.bn.weight"), tensor("two", "stem.bn.weight"));
  EXPECT_NE(tensor("kept", "stem.conv1.weight"), tensor("moving", "stem.conv1.weight"));
}

TEST_F(TorchModelTrainer, ResumesBitForBit)
{
  const std::string cohort = this->WriteCohort(3);
  for (const bool adamW : { true, false })
  {
    const std::string name = adamW ? "adamw" : "adam";
    const auto        make = [&](const std::string & output) {
      auto trainer = this->SmallTrainer(Trainer::TaskEnum::Segmentation, cohort, output);
      trainer->SetOptimizer(adamW ? Trainer::OptimizerEnum::AdamW : Trainer::OptimizerEnum::Adam);
      trainer->SetSpatialDropout(0.3);
      trainer->SetNormalizationSteps(5);
      trainer->SetMaximumSteps(7);
      return trainer;
    };
    auto whole = make(name + "-whole");
    whole->Train();

    auto first = make(name + "-parts");
    StopAfter(*first, 3);
    first->Train();
    EXPECT_EQ(first->GetStep(), 3u);
    EXPECT_NE(this->Bytes(name + "-whole/models/model.safetensors"),
              this->Bytes(name + "-parts/models/model.safetensors"));

    auto again = make(name + "-parts");
    EXPECT_THROW(again->Train(), itk::ExceptionObject) << "a checkpoint was overwritten";
    again->ResumeOn();
    again->SetBatchSize(3);
    EXPECT_NE(FailureOf(*again).find("--initial"), std::string::npos) << "another training was resumed";
    again->SetBatchSize(whole->GetBatchSize());
    again->Train();
    EXPECT_EQ(again->GetStep(), 7u);
    EXPECT_EQ(this->Bytes(name + "-whole/models/model.safetensors"),
              this->Bytes(name + "-parts/models/model.safetensors"));
    EXPECT_EQ(this->Losses(name + "-whole"), this->Losses(name + "-parts"));
  }
}

TEST_F(TorchModelTrainer, DeepSupervisionCountsLessWithEachLevel)
{
  const std::string cohort = this->WriteCohort(2);
  const auto        losses = [&](const std::string & output, unsigned int levels, float high) {
    auto trainer = this->TinyTrainer(Trainer::TaskEnum::Segmentation, cohort, output);
    trainer->SetLevels(4);
    trainer->SetDeepSupervision(levels);
    trainer->SetLearningRate(1e-30);
    trainer->SetWeightDecay(0.0);
    trainer->SetMaximumSteps(1);
    trainer->Train();
    this->SetInCheckpoint(output, "head.weight", { 0.0F });
    this->SetInCheckpoint(output, "head.bias", { 0.0F, 1.0F });
    for (unsigned int level = 1; level <= levels; ++level)
    {
      const std::string head = "head" + std::to_string(level);
      this->SetInCheckpoint(output, head + ".weight", { 0.0F }, "deep-supervision");
      this->SetInCheckpoint(output, head + ".bias", { 0.0F, high }, "deep-supervision");
    }
    trainer->ResumeOn();
    trainer->SetMaximumSteps(7);
    trainer->Train();
    return this->Losses(output);
  };
  const auto alone = losses("alone", 0, 0.0F);
  const auto one = losses("one", 1, 0.0F);
  const auto two = losses("two", 2, 0.0F);
  const auto same = losses("same", 2, 1.0F);
  ASSERT_EQ(alone.size(), 7u);
  EXPECT_GT(std::set<double>(alone.begin() + 1, alone.end()).size(), 2u) << "every patch is like the next";
  for (std::size_t i = 1; i < alone.size(); ++i)
  {
    // Heads that say nothing have the logarithm of two, whatever the patch holds.
    EXPECT_NEAR(one[i], alone[i] + 0.5 * std::log(2.0), 1e-5) << i;
    EXPECT_NEAR(two[i], alone[i] + 0.75 * std::log(2.0), 1e-5) << i;
    // Heads that say what the network's does have its loss: the mean of a share is that of its means.
    EXPECT_NEAR(same[i], 1.75 * alone[i], 1e-5) << i;
  }
}

TEST_F(TorchModelTrainer, DeepSupervisionTrainsTheNetworkAndResumes)
{
  const std::string cohort = this->WriteCohort(2);
  const auto        make = [&](const std::string & output, unsigned int levels) {
    auto trainer = this->SmallTrainer(Trainer::TaskEnum::Segmentation, cohort, output);
    trainer->PaddedOn();
    trainer->SetLevels(3);
    trainer->SetPatchSize(16);
    trainer->SetDeepSupervision(levels);
    trainer->SetNormalizationSteps(4);
    trainer->SetMaximumSteps(6);
    return trainer;
  };
  make("without", 0)->Train();
  make("whole", 1)->Train();
  // The bundle is a network as all others; what it learnt is not the same.
  const auto without = this->Weights("without");
  const auto with = this->Weights("whole");
  ASSERT_EQ(with.size(), without.size());
  for (const auto & [name, values] : without)
  {
    ASSERT_EQ(with.count(name), 1u) << name;
  }
  EXPECT_NE(with.at("enc2.conv1.weight"), without.at("enc2.conv1.weight"));
  // Its heads change nothing of the start.
  EXPECT_GT(this->Losses("whole")[0], this->Losses("without")[0]);

  auto first = make("parts", 1);
  StopAfter(*first, 3);
  first->Train();
  auto other = make("parts", 0);
  other->ResumeOn();
  EXPECT_NE(FailureOf(*other).find("deep-supervision 1"), std::string::npos);
  auto again = make("parts", 1);
  again->ResumeOn();
  again->Train();
  EXPECT_EQ(this->Bytes("whole/models/model.safetensors"), this->Bytes("parts/models/model.safetensors"));
  EXPECT_EQ(this->Bytes("whole.checkpoint/state.safetensors").size(),
            this->Bytes("parts.checkpoint/state.safetensors").size());
  EXPECT_EQ(this->Losses("whole"), this->Losses("parts"));
}

TEST_F(TorchModelTrainer, DeepSupervisionNeedsDecodersOfAPaddedNetwork)
{
  const std::string cohort = this->WriteCohort(2);
  const auto        problems = [&](Trainer::TaskEnum task, unsigned int levels, bool padded) {
    auto trainer = this->TinyTrainer(task, cohort, "bundle");
    trainer->SetLevels(3);
    trainer->SetPadded(padded);
    trainer->SetPatchSize(task == Trainer::TaskEnum::Grading ? 72 : 48);
    trainer->SetMaximumSteps(1);
    trainer->SetDeepSupervision(levels);
    return trainer->FindProblems();
  };
  EXPECT_TRUE(problems(Trainer::TaskEnum::Segmentation, 1, true).empty());
  EXPECT_TRUE(problems(Trainer::TaskEnum::Segmentation, 0, false).empty());
  const auto only = [&](Trainer::TaskEnum task, unsigned int levels, bool padded) {
    const auto list = problems(task, levels, padded);
    return list.size() == 1 ? list[0] : std::to_string(list.size()) + " problems";
  };
  EXPECT_EQ(only(Trainer::TaskEnum::Grading, 1, true), "DeepSupervision is for segmentation");
  EXPECT_EQ(only(Trainer::TaskEnum::Segmentation, 1, false), "DeepSupervision needs a padded network (--padded true)");
  EXPECT_EQ(only(Trainer::TaskEnum::Segmentation, 2, true), "DeepSupervision is 2; a network of 3 levels takes 0 to 1");
}

TEST_F(TorchModelTrainer, ResumesOnACopyOfItsCases)
{
  // A copy has other times, and so has a folder that is mounted again: what the files hold decides.
  const std::string cohort = this->WriteCohort(2);
  const auto        make = [&](const std::string & output) {
    auto trainer = this->SmallTrainer(Trainer::TaskEnum::Segmentation, cohort, output);
    trainer->SetMaximumSteps(4);
    return trainer;
  };
  make("whole")->Train();
  auto first = make("parts");
  StopAfter(*first, 2);
  first->Train();

  std::vector<fs::path> images;
  for (const auto & entry : fs::recursive_directory_iterator(m_Folder))
  {
    if (entry.path().filename().string().find(".nrrd") != std::string::npos)
    {
      images.push_back(entry.path());
      fs::last_write_time(images.back(), fs::last_write_time(images.back()) + std::chrono::hours(1));
    }
  }
  ASSERT_EQ(images.size(), 10u);
  auto again = make("parts");
  again->ResumeOn();
  again->Train();
  EXPECT_EQ(again->GetStep(), 4u);
  EXPECT_EQ(this->Bytes("whole/models/model.safetensors"), this->Bytes("parts/models/model.safetensors"));

  // The grade is no part of a segmentation, but the place of the tumour is.
  std::sort(images.begin(), images.end());
  std::string bytes = this->Bytes(fs::relative(images.front(), m_Folder).string());
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 1);
  std::ofstream(images.front(), std::ios::binary) << bytes;
  auto changed = make("parts");
  changed->ResumeOn();
  changed->SetMaximumSteps(5);
  EXPECT_NE(FailureOf(*changed).find("belongs to another training: it has 'case "), std::string::npos);
}

TEST_F(TorchModelTrainer, DoesNotResumeWithOtherGrades)
{
  const std::string cohort = this->WriteCohort(4);
  const auto        make = [&](const std::string & validated) {
    auto trainer = this->TinyTrainer(Trainer::TaskEnum::Grading, cohort, "bundle");
    trainer->AddValidationCase(validated);
    trainer->SetValidationSteps(1);
    trainer->SetMaximumSteps(2);
    return trainer;
  };
  make("case-3")->Train();
  const std::string table = this->Bytes("COHORT.csv");
  const auto        refusal = [&](const std::string & wrong, const std::string & right) {
    std::string changed = table;
    changed.replace(changed.find(wrong), wrong.size(), right);
    this->WriteText("COHORT.csv", changed);
    auto again = make("case-3");
    again->ResumeOn();
    again->SetMaximumSteps(4);
    return FailureOf(*again);
  };
  EXPECT_NE(refusal("case-2-seg.nrrd,LGG", "case-2-seg.nrrd,HGG").find("it has 'case case-2 "), std::string::npos);
  EXPECT_NE(refusal("case-3-seg.nrrd,HGG", "case-3-seg.nrrd,LGG").find("it has 'validation case-3 "),
            std::string::npos);
  this->WriteText("COHORT.csv", table);
  auto again = make("case-3");
  again->ResumeOn();
  again->SetMaximumSteps(4);
  again->Train();
  EXPECT_EQ(again->GetStep(), 4u);
}

TEST_F(TorchModelTrainer, NeverReplacesWhatIsNotItsOwn)
{
  const std::string cohort = this->WriteCohort(2);
  const std::string table = this->Bytes("COHORT.csv");
  auto              asTheTable = this->TinyTrainer(Trainer::TaskEnum::Segmentation, cohort, "COHORT");
  asTheTable->SetMaximumSteps(1);
  EXPECT_NE(FailureOf(*asTheTable).find("COHORT.csv exists and is not the log of a training"), std::string::npos);
  EXPECT_EQ(this->Bytes("COHORT.csv"), table);
  EXPECT_FALSE(fs::exists(m_Folder / "COHORT"));

  const auto make = [&](unsigned int steps) {
    auto trainer = this->TinyTrainer(Trainer::TaskEnum::Segmentation, cohort, "bundle");
    trainer->SetCheckpointMinutes(0.0);
    trainer->SetMaximumSteps(steps);
    return trainer;
  };
  // A former model put aside, and the log of a training that kept nothing.
  for (const char * const folder : { "bundle.old", "bundle.new" })
  {
    fs::create_directory(m_Folder / folder);
    this->WriteText(std::string(folder) + "/mine", "weights");
  }
  this->WriteText("bundle.csv", "step,seconds,loss,rate,validation\n1,0.1,0.7,0.1,\n");
  make(3)->Train();
  EXPECT_EQ(this->Losses("bundle").size(), 3u);
  EXPECT_EQ(this->Bytes("bundle.old/mine"), "weights");
  EXPECT_EQ(this->Bytes("bundle.new/mine"), "weights");

  this->WriteText("bundle.csv", "my,notes\n");
  auto resumed = make(4);
  resumed->ResumeOn();
  EXPECT_NE(FailureOf(*resumed).find("is not the log of a training"), std::string::npos);
  EXPECT_EQ(this->Bytes("bundle.csv"), "my,notes\n");
}

TEST_F(TorchModelTrainer, OneTrainingWritesAnOutput)
{
  const std::string cohort = this->WriteCohort(2);
  const auto        make = [&](const std::string & output) {
    auto trainer = this->TinyTrainer(Trainer::TaskEnum::Segmentation, cohort, output);
    trainer->SetMaximumSteps(2);
    return trainer;
  };
  auto        first = make("bundle");
  std::string said;
  first->AddObserver(itk::IterationEvent(), [&](const itk::EventObject &) {
    if (first->GetStep() == 1)
    {
      said = FailureOf(*make("bundle"));
      make("other")->Train();
    }
  });
  first->Train();
  EXPECT_NE(said.find("Another training is writing"), std::string::npos) << said;
  EXPECT_EQ(this->Losses("bundle").size(), 2u);
  auto again = make("bundle");
  again->ResumeOn();
  again->SetMaximumSteps(3);
  again->Train();
  EXPECT_EQ(again->GetStep(), 3u);
}

TEST_F(TorchModelTrainer, RefusesATumourOutsideTheBrain)
{
  // The brain mask of another case: the tumour lies around x = 10, the mask from 20 on.
  this->WriteCase("case-0", 0, false, ",");
  this->WriteCase("case-1", 1, true, ",");
  const ImageType::Pointer brain = this->ReadImage("case-0-seg.nrrd");
  for (itk::ImageRegionIteratorWithIndex<ImageType> it(brain, brain->GetBufferedRegion()); !it.IsAtEnd(); ++it)
  {
    it.Set(it.GetIndex()[0] >= 20 ? 1.0F : 0.0F);
  }
  this->WriteImage(brain, "brain.nrrd");
  m_Rows.insert(m_Rows.find(",LGG,") + 5, "brain.nrrd");
  const std::string cohort = this->WriteText("COHORT.csv", columns + ",brain_mask\n" + m_Rows);
  for (const auto task : { Trainer::TaskEnum::Segmentation, Trainer::TaskEnum::Grading })
  {
    for (const bool wholeHeads : { false, true })
    {
      auto trainer = this->TinyTrainer(task, cohort, "bundle");
      trainer->SetMaximumSteps(4);
      if (wholeHeads && task == Trainer::TaskEnum::Grading)
      {
        trainer->AddAugmentation("tumour-free=0.5");
      }
      const std::string said = FailureOf(*trainer);
      EXPECT_NE(said.find("case case-0: "), std::string::npos) << said;
      EXPECT_NE(said.find("lies in the brain of "), std::string::npos) << said;
      EXPECT_EQ(said.find("case-1"), std::string::npos) << said;
    }
  }
}

TEST_F(TorchModelTrainer, TellsOfAnotherNetworkBeforeTheCasesArePrepared)
{
  const std::string cohort = this->WriteCohort(2);
  auto              first = this->TinyTrainer(Trainer::TaskEnum::Grading, cohort, "start");
  first->SetMaximumSteps(1);
  first->SetCacheFolder((m_Folder / "first").string());
  first->Train();
  auto trainer = this->TinyTrainer(Trainer::TaskEnum::Grading, cohort, "bundle");
  trainer->SetInitialBundle((m_Folder / "start").string());
  trainer->SetMaximumSteps(1);
  EXPECT_EQ(AllProblems(*trainer), "");
  trainer->SetWidth(5);
  trainer->SetSpacing(3.0);
  trainer->SetLearningRate(0.0);
  const std::string said = AllProblems(*trainer);
  EXPECT_NE(said.find("LearningRate is 0"), std::string::npos) << said;
  EXPECT_NE(said.find("of width 4, padded; a PereiraGradingNetwork of width 5, padded is trained"), std::string::npos)
    << said;
  EXPECT_NE(said.find("works at 4 mm, the training at 3 mm"), std::string::npos) << said;
  EXPECT_THROW(trainer->Train(), itk::ExceptionObject);
  EXPECT_FALSE(fs::exists(m_Folder / "cohort-cache"));
  // The mean of several trainings.
  const fs::path    manifest = m_Folder / "start/configs/metadata.json";
  std::stringstream text;
  text << std::ifstream(manifest).rdbuf();
  std::string       mean = text.str();
  const std::size_t width = mean.find("\"width\": 4");
  ASSERT_NE(width, std::string::npos);
  std::ofstream(manifest) << mean.insert(width, "\"groups\": 2, ");
  EXPECT_NE(AllProblems(*trainer).find("is 2 networks beside each other"), std::string::npos);
  // A folder that is not there yet is made.
  auto deep = this->TinyTrainer(Trainer::TaskEnum::Grading, cohort, "new/folder/bundle");
  deep->SetCacheFolder((m_Folder / "first").string());
  deep->SetMaximumSteps(1);
  deep->Train();
  EXPECT_TRUE(fs::exists(m_Folder / "new/folder/bundle/models/model.safetensors"));
}

TEST_F(TorchModelTrainer, AGraderResumesBitForBit)
{
  // The truth is the training that was not stopped; every draw of a sample and of dropout must come again.
  const std::string cohort = this->WriteCohort(4);
  const auto        make = [&](const std::string & output) {
    auto trainer = this->SmallTrainer(Trainer::TaskEnum::Grading, cohort, output, true);
    EXPECT_EQ(trainer->GetDropout(), 0.4);
    EXPECT_EQ(trainer->GetAugmentations().size(), 4u); // the paper's
    trainer->AddAugmentation("tumour-free=0.4");
    trainer->AddAugmentation("transplant=0.5");
    trainer->SetClassWeights("inverse-frequency");
    trainer->SetBatchSize(2);
    trainer->SetLearningRate(1e-3);
    trainer->SetMaximumSteps(4);
    return trainer;
  };
  make("whole")->Train();
  auto first = make("parts");
  StopAfter(*first, 2);
  first->Train();
  EXPECT_EQ(first->GetStep(), 2u);
  EXPECT_NE(this->Bytes("whole/models/model.safetensors"), this->Bytes("parts/models/model.safetensors"));
  auto again = make("parts");
  again->ResumeOn();
  again->Train();
  EXPECT_EQ(again->GetStep(), 4u);
  EXPECT_EQ(this->Bytes("whole/models/model.safetensors"), this->Bytes("parts/models/model.safetensors"));
  EXPECT_EQ(this->Losses("whole"), this->Losses("parts"));
}

TEST_F(TorchModelTrainer, ALeftOutCaseMayLackItsFiles)
{
  for (int i = 0; i < 3; ++i)
  {
    this->WriteCase("case-" + std::to_string(i), i, i % 2 == 1, i == 2 ? ",B" : ",A");
  }
  fs::remove(m_Folder / "case-2-t2.nrrd");
  m_Rows.replace(m_Rows.rfind("LGG"), 3, "low");
  const std::string cohort = this->WriteText("COHORT.csv", columns + ",site\n" + m_Rows);
  auto              trainer = this->TinyTrainer(Trainer::TaskEnum::Segmentation, cohort, "bundle");
  trainer->SetMaximumSteps(1);
  const std::string said = AllProblems(*trainer);
  EXPECT_NE(said.find("case-2-t2.nrrd"), std::string::npos) << said;
  EXPECT_NE(said.find("'LOW' is neither LGG nor HGG"), std::string::npos) << said;
  trainer->AddLeftOutCase("case-2");
  EXPECT_EQ(AllProblems(*trainer), "");
  trainer->ClearLeftOutCases();
  trainer->AddLeftOutSite("B");
  EXPECT_EQ(AllProblems(*trainer), "");
  trainer->Train();
  EXPECT_EQ(this->TrainingCases("bundle"), (std::vector<std::string>{ "case-0", "case-1" }));
}

TEST_F(TorchModelTrainer, HeldOutCasesDoNotTrain)
{
  // The truth is the list that a reader of the table makes by hand.
  const char * const sites[] = { "A", "B", "B", "C", "A", "" };
  const char * const sets[] = { "training", "training", "training", "test", "validation", "training" };
  for (int i = 0; i < 6; ++i)
  {
    this->WriteCase("case-" + std::to_string(i), i, i % 2 == 1, std::string(",") + sites[i] + ',' + sets[i]);
  }
  const std::string cohort = this->WriteText("COHORT.csv", columns + ",site,set\n" + m_Rows);
  const std::string withoutSets = this->WriteText("plain.csv", columns + ",site,remark\n" + m_Rows);
  using Names = std::vector<std::string>;
  const auto expect = [&](const std::string &                    output,
                          const std::string &                    table,
                          const std::function<void(Trainer &)> & change,
                          const Names &                          training,
                          const Names &                          scored) {
    auto trainer = this->TinyTrainer(Trainer::TaskEnum::Segmentation, table, output);
    trainer->SetMaximumSteps(1);
    change(*trainer);
    trainer->Train();
    EXPECT_EQ(this->TrainingCases(output), training) << output;
    Names names;
    for (const Trainer::Score & score : trainer->GetScores())
    {
      names.push_back(score.Case);
    }
    EXPECT_EQ(names, scored) << output;
    EXPECT_EQ(this->ValidationCases(output), scored) << output;
  };
  const auto nothing = [](Trainer &) {};
  expect("all", withoutSets, nothing, { "case-0", "case-1", "case-2", "case-3", "case-4", "case-5" }, {});
  expect("sets", cohort, nothing, { "case-0", "case-1", "case-2", "case-5" }, { "case-4" });
  expect("cases",
         cohort,
         [](Trainer & t) {
           t.AddLeftOutCase("case-1");
           t.AddLeftOutCase("case-5");
         },
         { "case-0", "case-2" },
         { "case-4" });
  // What is left out is not validated either.
  expect("site-a", cohort, [](Trainer & t) { t.AddLeftOutSite("A"); }, { "case-1", "case-2", "case-5" }, {});
  expect("validation-left",
         cohort,
         [](Trainer & t) {
           t.AddValidationCase("case-2");
           t.AddLeftOutCase("case-4");
           t.AddLeftOutSite("B");
         },
         { "case-0", "case-5" },
         {});
  expect(
    "site-b", withoutSets, [](Trainer & t) { t.AddLeftOutSite("B"); }, { "case-0", "case-3", "case-4", "case-5" }, {});
  expect("validated",
         cohort,
         [](Trainer & t) { t.AddValidationCase("case-2"); },
         { "case-0", "case-1", "case-5" },
         { "case-2", "case-4" });
  auto tested = this->TinyTrainer(Trainer::TaskEnum::Segmentation, cohort, "tested");
  tested->SetMaximumSteps(1);
  tested->AddValidationCase("case-3");
  EXPECT_NE(AllProblems(*tested).find("The case case-3 is in the set test"), std::string::npos) << AllProblems(*tested);
  tested->AddLeftOutCase("case-3");
  EXPECT_NE(AllProblems(*tested).find("The case case-3 is left out and validated"), std::string::npos);
  const std::string split = this->WriteText("split.py",
                                            "{'training': {'HGG': ['case-5', 'case-3'], 'LGG': ['case-0']},\n"
                                            " 'validation': {'HGG': ['case-1']},\n"
                                            " 'test': {'LGG': ['case-2', 'case-4']}}\n");
  expect(
    "split", withoutSets, [&](Trainer & t) { t.SetSplitFile(split); }, { "case-0", "case-3", "case-5" }, { "case-1" });
}

TEST_F(TorchModelTrainer, ACaseWithoutASetIsNotTrainedByMistake)
{
  const char * const sets[] = { "training", "training", "", "", "", "test" };
  for (int i = 0; i < 6; ++i)
  {
    this->WriteCase("case-" + std::to_string(i), i, i % 2 == 1, std::string(i == 3 ? ",B," : ",A,") + sets[i]);
  }
  const std::string cohort = this->WriteText("COHORT.csv", columns + ",site,set\n" + m_Rows);
  auto              trainer = this->TinyTrainer(Trainer::TaskEnum::Segmentation, cohort, "bundle");
  trainer->SetMaximumSteps(1);
  const std::string text = AllProblems(*trainer);
  for (const char * const name : { "case-2", "case-3", "case-4" })
  {
    EXPECT_NE(text.find(std::string("The case ") + name + " has no set"), std::string::npos) << text;
  }
  EXPECT_EQ(text.find("case-0"), std::string::npos) << text;
  trainer->AddValidationCase("case-2");
  trainer->AddLeftOutSite("B");
  trainer->AddLeftOutCase("case-4");
  EXPECT_EQ(AllProblems(*trainer), "");
}

TEST_F(TorchModelTrainer, APatientIsInOneCohort)
{
  this->WriteCase("Brats17_TCIA_1_1", 0, false);
  const std::string first = this->WriteText("first.csv", columns + '\n' + m_Rows);
  m_Rows.clear();
  this->WriteCase("Brats18_TCIA_1_1", 1, true);
  this->WriteCase("other", 2, true);
  fs::remove(m_Folder / "other-t1.nrrd");
  fs::create_symlink(m_Folder / "Brats17_TCIA_1_1-t1.nrrd", m_Folder / "other-t1.nrrd");
  const std::string second = this->WriteText("second.csv", columns + '\n' + m_Rows);
  auto              trainer = this->TinyTrainer(Trainer::TaskEnum::Grading, first, "bundle");
  trainer->AddCohort(second);
  trainer->SetMaximumSteps(1);
  const std::string text = AllProblems(*trainer);
  EXPECT_NE(text.find("Brats17_TCIA_1_1 in " + first + " and Brats18_TCIA_1_1 in " + second + " are one patient"),
            std::string::npos)
    << text;
  EXPECT_NE(text.find("Brats17_TCIA_1_1 in " + first + " and other in " + second + " have the same T1"),
            std::string::npos)
    << text;
}

TEST_F(TorchModelTrainer, AFolderAsASequenceIsAProblemAmongOthers)
{
  const std::string cohort = this->WriteCohort(2);
  fs::remove(m_Folder / "case-0-t1.nrrd");
  fs::create_directory(m_Folder / "case-0-t1.nrrd");
  auto trainer = this->TinyTrainer(Trainer::TaskEnum::Segmentation, cohort, "bundle");
  trainer->SetMaximumSteps(1);
  trainer->AddLeftOutCase("stranger");
  const std::string text = FailureOf(*trainer);
  EXPECT_NE(text.find("case-0-t1.nrrd is a folder"), std::string::npos) << text;
  EXPECT_NE(text.find("stranger"), std::string::npos) << text;
}

TEST_F(TorchModelTrainer, NumbersThatAreNoneAreProblems)
{
  const double      nan = std::numeric_limits<double>::quiet_NaN();
  const double      infinity = std::numeric_limits<double>::infinity();
  const std::string cohort = this->WriteCohort(2);
  const auto        expect = [&](const std::string & what, const std::function<void(Trainer &)> & change) {
    auto trainer = this->TinyTrainer(Trainer::TaskEnum::Grading, cohort, "bundle");
    trainer->SetMaximumSteps(1);
    EXPECT_EQ(AllProblems(*trainer), "");
    change(*trainer);
    EXPECT_NE(AllProblems(*trainer).find(what), std::string::npos) << AllProblems(*trainer);
  };
  for (const double each : { nan, infinity, -1.0 })
  {
    expect("LearningRate", [each](Trainer & t) { t.SetLearningRate(each); });
    expect("WeightDecay", [each](Trainer & t) { t.SetWeightDecay(each); });
    expect("GradientClipping", [each](Trainer & t) { t.SetGradientClipping(each); });
    expect("MaximumMinutes", [each](Trainer & t) { t.SetMaximumMinutes(each); });
    expect("CheckpointMinutes", [each](Trainer & t) { t.SetCheckpointMinutes(each); });
    expect("weight of", [&, each](Trainer & t) {
      t.ClearCohorts();
      t.AddCohort(cohort, each);
    });
  }
  // The classes would be levelled twice.
  expect("Balance", [](Trainer & t) {
    t.BalanceOn();
    t.SetClassWeights("inverse-frequency");
  });
}

TEST_F(TorchModelTrainer, RuinedWeightsNeverReplaceACheckpoint)
{
  const std::string cohort = this->WriteCohort(4);
  const auto        make = [&](const std::string & output) {
    auto trainer = this->TinyTrainer(Trainer::TaskEnum::Grading, cohort, output);
    trainer->SetDropout(0.0);
    trainer->SetCheckpointMinutes(0.0);
    trainer->SetMaximumSteps(2);
    return trainer;
  };
  // All of the first step is finite, but nothing that the network says then.
  auto fast = make("fast");
  fast->SetLearningRate(1e30);
  std::string text = FailureOf(*fast);
  EXPECT_NE(text.find("lower than 1e+30"), std::string::npos) << text;
  EXPECT_FALSE(fs::exists(m_Folder / "fast"));
  EXPECT_FALSE(fs::exists(m_Folder / "fast.checkpoint/bundle.new"));
  EXPECT_FALSE(fs::exists(m_Folder / "fast.checkpoint/state.safetensors"));

  make("bundle")->Train();
  const std::string weights = this->Bytes("bundle/models/model.safetensors");
  const std::string good = this->Bytes("bundle.checkpoint/state.safetensors");
  const auto        expectKept = [&](const std::string & tensor, const std::vector<float> & values) {
    SCOPED_TRACE(tensor);
    std::ofstream(m_Folder / "bundle.checkpoint/state.safetensors", std::ios::binary) << good;
    this->SetInCheckpoint("bundle", tensor, values);
    const std::string before = this->Bytes("bundle.checkpoint/state.safetensors");
    auto              trainer = make("bundle");
    trainer->ResumeOn();
    trainer->SetMaximumSteps(4);
    const std::string said = FailureOf(*trainer);
    EXPECT_NE(said.find("step 3"), std::string::npos) << said;
    EXPECT_NE(said.find("--initial " + (m_Folder / "bundle").string()), std::string::npos) << said;
    EXPECT_EQ(this->Bytes("bundle.checkpoint/state.safetensors"), before);
    EXPECT_EQ(this->Bytes("bundle/models/model.safetensors"), weights);
    EXPECT_FALSE(fs::exists(m_Folder / "bundle.checkpoint/bundle.new"));
  };
  // A finite loss with a gradient beyond all numbers.
  std::vector<float> rows(this->Weights("bundle").at("fc3.weight").size() / 2, 1e25F);
  rows.push_back(0.0F);
  expectKept("fc3.weight", rows);
  // Loss and gradient are finite; the running variance is not.
  expectKept("stem.conv1.weight", { 1e25F, -1e25F, 0.0F });

  // What the message advises works.
  auto anew = make("anew");
  anew->SetInitialBundle((m_Folder / "bundle").string());
  anew->SetLearningRate(1e-6);
  anew->Train();
  EXPECT_EQ(anew->GetStep(), 2u);
}

TEST_F(TorchModelTrainer, AStopCostsNoValidation)
{
  // The truth is the training that was not stopped.
  const std::string cohort = this->WriteCohort(4);
  const auto        make = [&](const std::string & output) {
    auto trainer = this->TinyTrainer(Trainer::TaskEnum::Grading, cohort, output);
    trainer->AddValidationCase("case-2");
    trainer->AddValidationCase("case-3");
    trainer->SetPatchSize(40); // a step that is long enough to be stopped within
    trainer->SetBatchSize(8);
    trainer->SetDropout(0.0);
    trainer->SetLearningRate(1e-2);
    trainer->SetMaximumSteps(8);
    trainer->SetValidationSteps(1);
    return trainer;
  };
  auto whole = make("whole");
  whole->Train();
  const std::uint64_t best = whole->GetBestStep();
  ASSERT_GT(best, 1u); // a step that is stopped within
  std::string output;
  bool        within = false;
  for (int attempt = 0; attempt < 50 && !within; ++attempt)
  {
    output = "stopped-" + std::to_string(attempt);
    auto             stopped = make(output);
    std::atomic<int> stops{ 0 };
    std::thread      other;
    stopped->AddObserver(itk::IterationEvent(), [&](const itk::EventObject &) {
      if (stopped->GetStep() == best - 1)
      {
        other = std::thread([&] {
          std::this_thread::sleep_for(std::chrono::milliseconds(1));
          stopped->Stop();
          stops = 1;
        });
      }
      within = within || (stopped->GetStep() == best && stops == 1);
    });
    stopped->Train();
    other.join();
  }
  ASSERT_TRUE(within);
  auto resumed = make(output);
  resumed->ResumeOn();
  resumed->Train();
  EXPECT_EQ(resumed->GetBestStep(), best);
  EXPECT_EQ(this->Bytes(output + "/models/model.safetensors"), this->Bytes("whole/models/model.safetensors"));
  EXPECT_EQ(this->Column(output, 4), this->Column("whole", 4));
}

TEST_F(TorchModelTrainer, ATornRowOfTheLogIsMadeAgain)
{
  const std::string cohort = this->WriteCohort(2);
  const auto        make = [&](unsigned int steps) {
    auto trainer = this->TinyTrainer(Trainer::TaskEnum::Segmentation, cohort, "bundle");
    trainer->SetMaximumSteps(steps);
    return trainer;
  };
  make(3)->Train();
  std::string log = this->Bytes("bundle.csv");
  // As a crash of the machine may leave it: rows that are told twice, torn, or glued to the next.
  const std::size_t last = log.rfind('\n', log.size() - 2) + 1;
  this->WriteText("bundle.csv",
                  log.substr(0, last) + "2,0.1,0.5,1e-05,\n" + log.substr(last, 4) + log.substr(last) + "3,0.2");
  auto again = make(4);
  again->ResumeOn();
  again->Train();
  std::istringstream       rows(this->Bytes("bundle.csv"));
  std::vector<std::string> firsts;
  for (std::string line; std::getline(rows, line);)
  {
    EXPECT_EQ(std::count(line.begin(), line.end(), ','), 4) << line;
    firsts.push_back(line.substr(0, line.find(',')));
  }
  EXPECT_EQ(firsts, (std::vector<std::string>{ "step", "1", "2", "4" }));
}

TEST_F(TorchModelTrainer, ItsFilesDoNotDependOnTheProgramsLocale)
{
  struct Commas : std::numpunct<char>
  {
    char
    do_decimal_point() const override
    {
      return ',';
    }
    char
    do_thousands_sep() const override
    {
      return '.';
    }
    std::string
    do_grouping() const override
    {
      return "\1";
    }
  };
  const std::string cohort = this->WriteCohort(2);
  const auto        train = [&](unsigned int steps) {
    auto trainer = this->TinyTrainer(Trainer::TaskEnum::Segmentation, cohort, "bundle");
    trainer->SetMaximumSteps(steps);
    trainer->AddAugmentation("zoom=0.25");
    trainer->SetResume(steps > 11);
    trainer->Train();
  };
  const auto rows = [&] {
    std::ifstream            file(m_Folder / "bundle.csv");
    std::vector<std::string> lines;
    for (std::string line; std::getline(file, line);)
    {
      lines.push_back(line);
      EXPECT_EQ(std::count(line.begin(), line.end(), ','), 4) << line;
    }
    return lines.size();
  };
  const std::locale before = std::locale::global(std::locale(std::locale::classic(), new Commas));
  std::string       message;
  try
  {
    train(11);
  }
  catch (const itk::ExceptionObject & error)
  {
    message = error.GetDescription();
  }
  std::locale::global(before);
  EXPECT_EQ(message, "");
  EXPECT_EQ(rows(), 12u);
  train(12); // with the same cases and options
  EXPECT_EQ(rows(), 13u);
  EXPECT_EQ(std::distance(fs::directory_iterator(m_Folder / "cohort-cache"), fs::directory_iterator()), 2);
}

TEST_F(TorchModelTrainer, TakesAwayWhatAKilledTrainingLeft)
{
  const std::string cohort = this->WriteCohort(2);
  const auto        make = [&](unsigned int steps) {
    auto trainer = this->TinyTrainer(Trainer::TaskEnum::Segmentation, cohort, "bundle");
    trainer->SetMaximumSteps(steps);
    return trainer;
  };
  make(1)->Train();
  fs::create_directory(m_Folder / "bundle.checkpoint/bundle.new");
  for (const char * const file : { "bundle.checkpoint/bundle.new/half",
                                   "bundle.checkpoint/state.safetensors.17.part",
                                   "cohort-cache/case-0-0123.safetensors.17.part",
                                   "cohort-cache/case-1-0123.safetensors.18.part",
                                   "bundle.checkpoint/notes" })
  {
    this->WriteText(file, "half");
  }
  // In the cache another training may be writing.
  fs::last_write_time(m_Folder / "cohort-cache/case-0-0123.safetensors.17.part",
                      fs::file_time_type::clock::now() - std::chrono::hours(25));
  auto again = make(2);
  again->ResumeOn();
  bool isClean = false;
  again->AddObserver(itk::IterationEvent(), [&](const itk::EventObject &) {
    isClean = !fs::exists(m_Folder / "bundle.checkpoint/bundle.new");
  });
  again->Train();
  EXPECT_TRUE(isClean);
  // Killed when the new bundle had not yet taken the old one's place.
  fs::rename(m_Folder / "bundle", m_Folder / "bundle.checkpoint/bundle.old");
  auto third = make(3);
  third->ResumeOn();
  bool isBack = false;
  third->AddObserver(itk::IterationEvent(), [&](const itk::EventObject &) {
    isBack = fs::exists(m_Folder / "bundle/models/model.safetensors");
  });
  third->Train();
  EXPECT_TRUE(isBack);
  EXPECT_FALSE(fs::exists(m_Folder / "bundle.checkpoint/bundle.old"));
  EXPECT_FALSE(fs::exists(m_Folder / "bundle.checkpoint/state.safetensors.17.part"));
  EXPECT_TRUE(fs::exists(m_Folder / "bundle.checkpoint/notes"));
  EXPECT_FALSE(fs::exists(m_Folder / "cohort-cache/case-0-0123.safetensors.17.part"));
  EXPECT_TRUE(fs::exists(m_Folder / "cohort-cache/case-1-0123.safetensors.18.part"));
}

TEST_F(TorchModelTrainer, TheFirstStepIsAdams)
{
  // The truth is Kingma and Ba's first step in closed form, -r g / (|g| + 1e-8), with the gradient g that the
  // checkpoint keeps (its first moment is g / 10).
  const std::string       cohort = this->WriteCohort(2);
  itk::TorchModelManifest manifest = TinySegmentationManifest(4, 2, true);
  manifest.Spacing.fill(4.0);
  itk::TorchModel::WriteSeededBundle((m_Folder / "start").string(), manifest, 3);
  const auto   before = this->Weights("start");
  const double rate = 1e-2;
  const auto   train = [&](const std::string & output, double decay, const std::function<void(Trainer &)> & change) {
    auto trainer = this->TinyTrainer(Trainer::TaskEnum::Segmentation, cohort, output);
    trainer->SetInitialBundle((m_Folder / "start").string());
    trainer->SetLearningRate(rate);
    trainer->SetWeightDecay(decay);
    trainer->SetMaximumSteps(1);
    change(*trainer);
    trainer->Train();
    return this->Weights(output);
  };
  const auto plain = train("plain", 0.0, [](Trainer &) {});
  const auto kept = this->Tensors("plain.checkpoint/state.safetensors");
  const auto warm = train("warm", 0.0, [](Trainer & t) { t.SetWarmUpSteps(4); });
  const auto kernels = train("kernels", 1e6, [](Trainer & t) { t.DecayKernelsOnlyOn(); });
  const auto everything = train("everything", 1e6, [](Trainer & t) { t.DecayKernelsOnlyOff(); });
  const auto decoupled = [&](const std::string & output, bool kernelsOnly) {
    return train(output, 0.5, [&](Trainer & t) {
      t.SetOptimizer(Trainer::OptimizerEnum::AdamW);
      t.SetDecayKernelsOnly(kernelsOnly);
    });
  };
  // Clipped, the gradients of all weights together have the norm that was asked for.
  double squares = 0.0;
  for (const auto & [key, moment] : kept)
  {
    for (std::size_t i = 0; key.compare(0, 8, "exp_avg.") == 0 && i < moment.size(); ++i)
    {
      squares += 100.0 * moment[i] * moment[i];
    }
  }
  const double norm = std::sqrt(squares);
  ASSERT_GT(norm, 0.01);
  for (const double part : { 0.5, 2.0 })
  {
    const std::string output = part < 1.0 ? "clipped" : "not-clipped";
    train(output, 0.0, [&](Trainer & t) { t.SetGradientClipping(part * norm); });
    for (const auto & [key, moment] : this->Tensors(output + ".checkpoint/state.safetensors"))
    {
      for (std::size_t i = 0; key.compare(0, 8, "exp_avg.") == 0 && i < moment.size(); ++i)
      {
        ASSERT_NEAR(moment[i], std::min(part, 1.0) * kept.at(key)[i], 1e-6 * norm) << key;
      }
    }
  }
  const auto   decoupledKernels = decoupled("decoupled-kernels", true);
  const auto   decoupledEverything = decoupled("decoupled-everything", false);
  const double tolerance = 1e-4 * rate; // float32 weights near 1
  std::size_t  moved = 0;
  std::size_t  whole = 0;
  std::size_t  normalizations = 0;
  std::size_t  upwards = 0;
  std::size_t  parameters = 0;
  for (const auto & [key, moment] : kept)
  {
    if (key.compare(0, 8, "exp_avg.") != 0)
    {
      continue;
    }
    ++parameters;
    const std::string name = key.substr(8);
    const bool        normalization = name.find("bn") != std::string::npos;
    const bool        kernel = !normalization && name.find("weight") != std::string::npos;
    for (std::size_t i = 0; i < moment.size(); ++i)
    {
      const double w = before.at(name)[i];
      const double g = 10.0 * moment[i];
      const double step = g / (std::abs(g) + 1e-8);
      const double delta = plain.at(name)[i] - w;
      ASSERT_LE(std::abs(delta), rate + tolerance) << name;
      ASSERT_NEAR(delta, -rate * step, tolerance) << name;
      ASSERT_NEAR(warm.at(name)[i] - w, -0.25 * rate * step, tolerance) << name;
      const double shrunk = w * (1.0 - 0.5 * rate);
      ASSERT_NEAR(decoupledEverything.at(name)[i], shrunk - rate * step, tolerance) << name;
      ASSERT_NEAR(decoupledKernels.at(name)[i], (kernel ? shrunk : w) - rate * step, tolerance) << name;
      moved += g != 0.0 ? 1 : 0;
      whole += std::abs(std::abs(delta) - rate) < 0.01 * rate ? 1 : 0;
      // The decay is added to the gradient, and drowns it.
      if (kernel && std::abs(w) > 1e-3)
      {
        ASSERT_NEAR(kernels.at(name)[i] - w, w > 0.0 ? -rate : rate, tolerance) << name;
        ASSERT_NEAR(everything.at(name)[i] - w, w > 0.0 ? -rate : rate, tolerance) << name;
      }
      if (normalization && name.find("weight") != std::string::npos)
      {
        ++normalizations;
        upwards += delta > 0.5 * rate ? 1 : 0;
        ASSERT_NEAR(everything.at(name)[i], 1.0 - rate, tolerance) << name;
      }
    }
    if (!kernel)
    {
      EXPECT_EQ(kernels.at(name), plain.at(name)) << name;
    }
  }
  EXPECT_EQ(parameters, 28u);
  EXPECT_GT(moved, 1000u);
  EXPECT_GT(static_cast<double>(whole), 0.9 * static_cast<double>(moved));
  EXPECT_GT(normalizations, 20u);
  EXPECT_GT(upwards, 0u); // decay alone would never do that
}

TEST_F(TorchModelTrainer, TheLogHasTheRatesOfTheSchedule)
{
  // The truth is written out: cosines of 0, 30, ... 150 degrees between the rate and its hundredth.
  const std::string         cohort = this->WriteCohort(2);
  const double              root = std::sqrt(0.75);
  const std::vector<double> cosine = { 1.0, 0.505 + 0.495 * root, 0.7525, 0.505, 0.2575, 0.505 - 0.495 * root };
  std::vector<double>       both = cosine;
  both[0] *= 0.5;
  const auto expect = [&](const std::string &         output,
                          Trainer::ScheduleEnum       schedule,
                          unsigned int                warmUp,
                          const std::vector<double> & shares) {
    auto trainer = this->TinyTrainer(Trainer::TaskEnum::Segmentation, cohort, output);
    trainer->SetLearningRate(2e-3);
    trainer->SetSchedule(schedule);
    trainer->SetWarmUpSteps(warmUp);
    trainer->SetMaximumSteps(6);
    trainer->Train();
    const std::vector<double> rates = this->Column(output, 3);
    ASSERT_EQ(rates.size(), 6u);
    for (std::size_t i = 0; i < 6; ++i)
    {
      EXPECT_NEAR(rates[i], 2e-3 * shares[i], 2e-11) << output << " step " << i + 1; // nine digits
    }
  };
  expect("constant", Trainer::ScheduleEnum::Constant, 0, std::vector<double>(6, 1.0));
  expect("warm-up", Trainer::ScheduleEnum::Constant, 4, { 0.25, 0.5, 0.75, 1.0, 1.0, 1.0 });
  expect("cosine", Trainer::ScheduleEnum::Cosine, 0, cosine);
  expect("both", Trainer::ScheduleEnum::Cosine, 2, both);
}

TEST_F(TorchModelTrainer, TheBundleHoldsTheBestWeights)
{
  // The truth is a training that ends at the step which the log says was best.
  const std::string cohort = this->WriteCohort(4);
  const auto        make = [&](const std::string & output, std::uint64_t steps, std::uint64_t validationSteps) {
    auto trainer = this->TinyTrainer(Trainer::TaskEnum::Grading, cohort, output);
    trainer->AddValidationCase("case-2");
    trainer->AddValidationCase("case-3");
    trainer->SetDropout(0.0);
    trainer->SetLearningRate(1e-2); // too high: the score rises, then falls
    trainer->SetMaximumSteps(steps);
    trainer->SetValidationSteps(validationSteps);
    return trainer;
  };
  const auto meanScore = [](const Trainer & trainer) {
    double sum = 0.0;
    for (const Trainer::Score & score : trainer.GetScores())
    {
      sum += score.Grade == "HGG" ? score.Value : 1.0 - score.Value;
    }
    return sum / static_cast<double>(trainer.GetScores().size());
  };
  constexpr std::uint64_t steps = 8;
  auto                    trainer = make("kept", steps, 1);
  trainer->Train();
  const std::vector<double> scores = this->Column("kept", 4);
  ASSERT_EQ(scores.size(), steps);
  const auto          highest = std::max_element(scores.begin(), scores.end());
  const std::uint64_t best = static_cast<std::uint64_t>(highest - scores.begin()) + 1;
  ASSERT_GT(best, 1u);
  ASSERT_LT(best, steps - 1); // so that a stop after it is before the end
  EXPECT_GT(*highest, scores.back() + 0.01);
  EXPECT_EQ(trainer->GetBestStep(), best);
  EXPECT_EQ(trainer->GetStep(), steps);
  EXPECT_NEAR(meanScore(*trainer), *highest, 1e-8); // nine digits
  EXPECT_NEAR(trainer->GetLastScore(), scores.back(), 1e-8);

  auto shorter = make("shorter", best, 0);
  shorter->Train();
  const std::string weights = this->Bytes("shorter/models/model.safetensors");
  EXPECT_EQ(this->Bytes("kept/models/model.safetensors"), weights);

  auto stopped = make("stopped", steps, 1);
  StopAfter(*stopped, best + 1);
  stopped->Train();
  EXPECT_EQ(stopped->GetStep(), best + 1);
  EXPECT_EQ(this->Bytes("stopped/models/model.safetensors"), weights);
  auto resumed = make("stopped", steps, 1);
  resumed->ResumeOn();
  resumed->Train();
  EXPECT_EQ(resumed->GetBestStep(), best);
  EXPECT_EQ(this->Bytes("stopped/models/model.safetensors"), weights);
  EXPECT_NEAR(meanScore(*resumed), *highest, 1e-8);

  auto last = make("last", steps, 1);
  last->KeepBestOff();
  last->Train();
  EXPECT_NE(this->Bytes("last/models/model.safetensors"), weights);
  EXPECT_NEAR(meanScore(*last), scores.back(), 1e-8);
}

TEST_F(TorchModelTrainer, NotANumberIsNeverTheBestScore)
{
  // The truth is the bundle before the network went wrong: a mean beyond all numbers, which only scoring uses.
  const std::string cohort = this->WriteCohort(4);
  auto              trainer = this->TinyTrainer(Trainer::TaskEnum::Grading, cohort, "bundle");
  trainer->AddValidationCase("case-2");
  trainer->AddValidationCase("case-3");
  trainer->SetValidationSteps(1);
  trainer->SetMaximumSteps(1);
  trainer->Train();
  const std::string weights = this->Bytes("bundle/models/model.safetensors");
  ASSERT_EQ(trainer->GetBestStep(), 1u);
  this->SetInCheckpoint("bundle", "bn.running_mean", { -3e38F });
  this->SetInCheckpoint("bundle", "bn.running_var", { 0.0F });
  trainer->ResumeOn();
  trainer->SetMaximumSteps(3);
  trainer->Train();
  EXPECT_EQ(trainer->GetStep(), 3u);
  EXPECT_TRUE(std::isnan(trainer->GetLastScore()));
  EXPECT_EQ(trainer->GetBestStep(), 1u);
  EXPECT_EQ(this->Bytes("bundle/models/model.safetensors"), weights);
  for (const Trainer::Score & score : trainer->GetScores())
  {
    EXPECT_TRUE(std::isfinite(score.Value)) << score.Case;
  }
}

TEST_F(TorchModelTrainer, DropoutActsWhileTraining)
{
  // The truth is the loss of the same first step without it: weights and samples depend on the seed alone.
  const std::string cohort = this->WriteCohort(2);
  const auto        firstLoss = [&](Trainer::TaskEnum task, double dropout, double spatialDropout) {
    static unsigned int number = 0;
    const std::string   output = "bundle-" + std::to_string(number++);
    auto                trainer = this->TinyTrainer(task, cohort, output);
    trainer->SetDropout(dropout);
    trainer->SetSpatialDropout(spatialDropout);
    trainer->SetMaximumSteps(1);
    trainer->Train();
    return this->Losses(output).at(0);
  };
  const std::tuple<Trainer::TaskEnum, double, double> rows[] = { { Trainer::TaskEnum::Grading, 0.4, 0.0 },
                                                                 { Trainer::TaskEnum::Grading, 0.0, 0.3 },
                                                                 { Trainer::TaskEnum::Segmentation, 0.0, 0.3 } };
  for (const auto & [task, dropout, spatialDropout] : rows)
  {
    const double without = firstLoss(task, 0.0, 0.0);
    const double with = firstLoss(task, dropout, spatialDropout);
    EXPECT_GT(std::abs(with - without), 1e-4) << task << ' ' << dropout << ' ' << spatialDropout;
    EXPECT_EQ(firstLoss(task, 0.0, 0.0), without);
    EXPECT_EQ(firstLoss(task, dropout, spatialDropout), with);
  }
}

TEST_F(TorchModelTrainer, PreparedCasesAreReadAgain)
{
  // The truth is what the trainer says it does, and the cache's files with their times.
  const std::string cohort = this->WriteCohort(3);
  for (const auto task : { Trainer::TaskEnum::Segmentation, Trainer::TaskEnum::Grading })
  {
    std::ostringstream prefix;
    prefix << task << '-';
    const fs::path cache = m_Folder / (prefix.str() + "cache");
    // The names of the cases that were prepared.
    const auto train = [&](const std::string & output, const std::string & standardization, double share = 0.05) {
      auto trainer = this->TinyTrainer(task, cohort, prefix.str() + output);
      trainer->SetCacheFolder(cache.string());
      trainer->SetMinimumComponentShare(share);
      trainer->SetStandardization(standardization);
      trainer->SetMaximumSteps(2);
      std::string names;
      trainer->AddObserver(itk::ProgressEvent(), [&](const itk::EventObject &) {
        const std::string status = trainer->GetStatus();
        if (status.compare(0, 9, "Preparing") == 0)
        {
          names += status.substr(status.find_last_of(' '));
        }
      });
      trainer->Train();
      return names;
    };
    const auto files = [&] {
      std::map<std::string, fs::file_time_type> times;
      for (const auto & entry : fs::directory_iterator(cache))
      {
        times[entry.path().filename().string()] = entry.last_write_time();
      }
      return times;
    };
    const auto weights = [&](const std::string & output) {
      return this->Bytes(prefix.str() + output + "/models/model.safetensors");
    };
    EXPECT_EQ(train("first", "brain"), " case-0 case-1 case-2");
    const auto prepared = files();
    EXPECT_EQ(prepared.size(), 3u);
    EXPECT_EQ(train("second", "brain"), "");
    EXPECT_EQ(files(), prepared);
    EXPECT_EQ(weights("second"), weights("first"));

    // Other content in a file of the same size.
    const std::string                            t2 = "case-1-t2.nrrd";
    const auto                                   size = fs::file_size(m_Folder / t2);
    const auto                                   time = fs::last_write_time(m_Folder / t2);
    ImageType::Pointer                           image = this->ReadImage(t2);
    itk::ImageRegionIteratorWithIndex<ImageType> it(image, image->GetLargestPossibleRegion());
    for (; !it.IsAtEnd(); ++it)
    {
      it.Set(it.Get() > 0.0F ? 300.0F - it.Get() : 0.0F);
    }
    image->SetMetaDataDictionary(itk::MetaDataDictionary()); // a reader's notes would be written
    this->WriteImage(image, t2);
    ASSERT_EQ(fs::file_size(m_Folder / t2), size);
    fs::last_write_time(m_Folder / t2, time + std::chrono::seconds(2));
    EXPECT_EQ(train("third", "brain"), " case-1");
    EXPECT_EQ(files().size(), 4u);
    EXPECT_NE(weights("third"), weights("first"));

    EXPECT_EQ(train("fourth", "image"), " case-0 case-1 case-2");
    EXPECT_EQ(files().size(), 7u);
    EXPECT_EQ(train("fifth", "image"), "");
    // It changes the boxes of grading; nothing of what segmentation learns on.
    EXPECT_EQ(train("sixth", "image", 0.5), task == Trainer::TaskEnum::Grading ? " case-0 case-1 case-2" : "");
  }
}

TEST_F(TorchModelTrainer, SamplesAreDrawnAsAsked)
{
  // The truth is the binomial distribution: how many of the samples are HGG is read off the loss of a constant network,
  // log(1 + e) of an LGG and one less of an HGG.
  this->WriteCase("high", 0, true);
  const std::string high = this->WriteText("high.csv", columns + '\n' + m_Rows);
  m_Rows.clear();
  for (int i = 1; i < 4; ++i)
  {
    this->WriteCase("low-" + std::to_string(i), i, false);
  }
  const std::string      low = this->WriteText("low.csv", columns + '\n' + m_Rows);
  constexpr unsigned int batch = 50;
  constexpr unsigned int steps = 20;
  const auto highGrades = [&](const std::string & output, double weightOfHigh, double weightOfLow, bool balance) {
    auto trainer = this->TinyTrainer(Trainer::TaskEnum::Grading, high, output);
    trainer->ClearCohorts();
    trainer->AddCohort(high, weightOfHigh);
    trainer->AddCohort(low, weightOfLow);
    trainer->SetPatchSize(8);
    trainer->SetBatchSize(batch);
    trainer->SetBalance(balance);
    std::vector<double> counts;
    for (const double loss : this->LossesOfAConstant(*trainer, output, steps))
    {
      const double count = batch * (std::log(1.0 + std::exp(1.0)) - loss);
      EXPECT_NEAR(count, std::round(count), 1e-3); // losses of a batch of 50 in float32
      counts.push_back(std::round(count));
    }
    return counts;
  };
  const auto share = [](const std::vector<double> & counts) {
    return Mean(counts, 0, counts.size()) / static_cast<double>(batch);
  };
  const double bound = FiveDeviations(0.25, batch * steps);
  EXPECT_NEAR(share(highGrades("by-cases", 0.0, 0.0, false)), 0.25, bound);
  EXPECT_NEAR(share(highGrades("by-weight", 3.0, 1.0, false)), 0.75, bound);
  EXPECT_EQ(highGrades("balanced", 0.0, 0.0, true), std::vector<double>(steps, batch / 2));
}

TEST_F(TorchModelTrainer, ThreadsDoNotChangeWhatIsDrawn)
{
  // The truth is the training of one thread. Of sixteen, four prepare cases and batches.
  const std::string cohort = this->WriteCohort(6);
  for (const auto task : { Trainer::TaskEnum::Segmentation, Trainer::TaskEnum::Grading })
  {
    std::ostringstream prefix;
    prefix << task << '-';
    std::vector<std::vector<double>> losses;
    for (const unsigned int threads : { 1, 16 })
    {
      const std::string output = prefix.str() + std::to_string(threads);
      auto              trainer = this->TinyTrainer(task, cohort, output);
      trainer->SetCacheFolder((m_Folder / (output + "-cache")).string());
      trainer->SetNumberOfThreads(threads);
      trainer->AddAugmentation("rotation-3d=20");
      losses.push_back(this->LossesOfAConstant(*trainer, output, 30));
    }
    ASSERT_EQ(losses[0].size(), 30u);
    EXPECT_GT(std::set<double>(losses[0].begin(), losses[0].end()).size(), 2u) << "every batch is like the next";
    for (std::size_t i = 0; i < losses[0].size(); ++i)
    {
      EXPECT_NEAR(losses[1][i], losses[0][i], 1e-5) << task << ", step " << i;
    }
  }
}

TEST_F(TorchModelTrainer, LearnsTheSameOnCuda)
{
  const std::string cohort = this->WriteCohort(4);
  for (const auto task : { Trainer::TaskEnum::Segmentation, Trainer::TaskEnum::Grading })
  {
    std::ostringstream prefix;
    prefix << task << '-';
    const auto train = [&](const std::string & device, Trainer::PrecisionEnum precision) {
      std::ostringstream output;
      output << prefix.str() << device << '-' << precision;
      auto trainer = this->SmallTrainer(task, cohort, output.str());
      // Steps so small that Adam, which follows a gradient's sign, does not make much of a rounding.
      trainer->SetLearningRate(1e-4);
      // Each device draws its own dropout.
      trainer->SetDropout(0.0);
      trainer->SetSpatialDropout(0.0);
      trainer->SetPrecision(precision);
      trainer->SetDevice(device);
      trainer->SetNumberOfThreads(4);
      trainer->SetMaximumSteps(4);
      const auto problems = trainer->FindProblems();
      if (!problems.empty())
      {
        EXPECT_NE(problems[0].find("this torch finds no GPU"), std::string::npos) << problems[0];
        return std::vector<double>();
      }
      StopAfter(*trainer, 2);
      trainer->Train();
      trainer->ResumeOn();
      trainer->RemoveAllObservers();
      trainer->Train();
      return this->Losses(output.str());
    };
    const auto truth = train("cpu", Trainer::PrecisionEnum::Float32);
    const auto exact = train("cuda", Trainer::PrecisionEnum::Float32);
    if (exact.empty())
    {
      GTEST_SKIP() << "No CUDA device is here";
    }
    const auto rounded = train("cuda", Trainer::PrecisionEnum::BFloat16);
    const auto chosen = train("auto", Trainer::PrecisionEnum::Float32);
    ASSERT_EQ(truth.size(), 4u);
    ASSERT_EQ(exact.size(), 4u);
    ASSERT_EQ(rounded.size(), 4u);
    ASSERT_EQ(chosen.size(), 4u);
    EXPECT_NE(chosen, truth) << task << ": the processor, which repeats its bits, has computed";
    for (std::size_t i = 0; i < truth.size(); ++i)
    {
      EXPECT_NEAR(exact[i], truth[i], 2e-3) << task << ", step " << i;
      EXPECT_NEAR(chosen[i], exact[i], 2e-3) << task << ", step " << i;
      EXPECT_NEAR(rounded[i], truth[i], 0.1) << task << ", step " << i;
    }
  }
}

TEST_F(TorchModelTrainer, TumourShareOfThePatches)
{
  // The truth is the binomial distribution: a patch with tumour lowers the loss of a constant network below log(1 + e).
  // A patch of four voxels a side around a tumour's voxel always has some, around one of the brain as often as the ball
  // of WriteCase() lies within its reach.
  const std::string                            cohort = this->WriteCohort(1);
  const auto                                   tumour = this->ReadImage("case-0-seg.nrrd");
  const auto                                   brain = this->ReadImage("case-0-t1.nrrd");
  std::size_t                                  voxels = 0;
  std::size_t                                  near = 0;
  itk::ImageRegionIteratorWithIndex<ImageType> it(brain, brain->GetLargestPossibleRegion());
  for (; !it.IsAtEnd(); ++it)
  {
    if (it.Get() <= 0.0F)
    {
      continue;
    }
    bool found = false;
    for (unsigned int corner = 0; corner < 64; ++corner)
    {
      auto index = it.GetIndex(); // two voxels of border are not brain
      index[0] += static_cast<int>(corner % 4) - 1;
      index[1] += static_cast<int>(corner / 4 % 4) - 1;
      index[2] += static_cast<int>(corner / 16) - 1;
      found = found || tumour->GetPixel(index) > 0.0F;
    }
    ++voxels;
    near += found ? 1 : 0;
  }
  ASSERT_EQ(voxels, 18928u);
  const double byChance = static_cast<double>(near) / static_cast<double>(voxels);
  ASSERT_LT(byChance, 0.1);
  constexpr unsigned int steps = 300;
  for (const double share : { 0.0, 0.3, 1.0 })
  {
    const std::string output = "share-" + std::to_string(share);
    auto              trainer = this->TinyTrainer(Trainer::TaskEnum::Segmentation, cohort, output);
    trainer->SetPatchSize(4);
    trainer->SetBatchSize(1);
    trainer->SetTumourShare(share);
    const std::vector<double> losses = this->LossesOfAConstant(*trainer, output, steps);
    ASSERT_EQ(losses.size(), steps);
    const auto   hits = std::count_if(losses.begin(), losses.end(), [](double loss) {
      return loss < std::log(1.0 + std::exp(1.0)) - 1e-3; // one voxel of 64 takes off 1/64
    });
    const double expected = share + (1.0 - share) * byChance;
    EXPECT_NEAR(static_cast<double>(hits) / steps, expected, FiveDeviations(expected, steps)) << share;
  }
}

TEST_F(TorchModelTrainer, KilledTrainingCostsOneInterval)
{
  const std::string cohort = this->WriteCohort(3);
  const auto        make = [&](const std::string & output) {
    auto trainer = this->SmallTrainer(Trainer::TaskEnum::Segmentation, cohort, output);
    trainer->SetCheckpointMinutes(0.0); // after each step
    trainer->SetMaximumSteps(5);
    return trainer;
  };
  make("whole")->Train();
  // As if it had been killed within step 4, while a checkpoint was written.
  auto killed = make("killed");
  killed->AddObserver(itk::IterationEvent(), [&](const itk::EventObject &) {
    if (killed->GetStep() == 4)
    {
      throw std::runtime_error("killed");
    }
  });
  EXPECT_THROW(killed->Train(), std::runtime_error);
  this->WriteText("killed.checkpoint/state.safetensors.part", "half a checkpoint");
  auto again = make("killed");
  again->ResumeOn();
  unsigned int first = 0;
  again->AddObserver(itk::IterationEvent(), [&](const itk::EventObject &) {
    first = first == 0 ? static_cast<unsigned int>(again->GetStep()) : first;
  });
  again->Train();
  EXPECT_EQ(first, 4u);
  EXPECT_EQ(this->Bytes("whole/models/model.safetensors"), this->Bytes("killed/models/model.safetensors"));
  EXPECT_EQ(this->Losses("whole"), this->Losses("killed"));
}

#ifdef __unix__
TEST_F(TorchModelTrainer, FullDiskCostsOneInterval)
{
  const std::string cohort = this->WriteCohort(3);
  const auto        make = [&](const std::string & output, unsigned int steps) {
    auto trainer = this->SmallTrainer(Trainer::TaskEnum::Segmentation, cohort, output);
    trainer->SetSchedule(Trainer::ScheduleEnum::Constant);
    trainer->SetCheckpointMinutes(0.0);
    trainer->SetMaximumSteps(steps);
    return trainer;
  };
  make("whole", 4)->Train();
  make("full", 2)->Train();
  fs::remove_all(m_Folder / "uncached-cache");
  auto uncached = make("uncached", 2);
  uncached->SetCacheFolder((m_Folder / "uncached-cache").string());
  const std::string checkpoint = this->Bytes("full.checkpoint/state.safetensors");
  const std::string weights = this->Bytes("full/models/model.safetensors");
  const auto        losses = this->Losses("full");
  // No file may grow beyond some bytes: what a full disk says to a write.
  struct rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  struct rlimit limit = before;
  limit.rlim_cur = 400;
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
  std::string message;
  try
  {
    auto full = make("full", 4);
    full->ResumeOn();
    full->Train();
  }
  catch (const itk::ExceptionObject & error)
  {
    message = error.GetDescription();
  }
  // The cache has no room: no problem of this case or another.
  const std::string ofCache = FailureOf(*uncached);
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_NE(ofCache.find("The prepared case case-0 cannot be kept in"), std::string::npos) << ofCache;
  EXPECT_EQ(ofCache.find("problems"), std::string::npos) << ofCache;
  EXPECT_NE(message.find(".safetensors"), std::string::npos) << message;
  EXPECT_FALSE(fs::exists(m_Folder / "full.checkpoint/bundle.new"));
  EXPECT_EQ(this->Bytes("full.checkpoint/state.safetensors"), checkpoint);
  EXPECT_EQ(this->Bytes("full/models/model.safetensors"), weights);
  EXPECT_EQ(Mean(this->Losses("full"), 0, 2), Mean(losses, 0, 2));
  auto again = make("full", 4);
  again->ResumeOn();
  again->Train();
  EXPECT_EQ(this->Bytes("whole/models/model.safetensors"), this->Bytes("full/models/model.safetensors"));
  EXPECT_EQ(this->Losses("whole"), this->Losses("full"));
}
#endif

TEST_F(TorchModelTrainer, StopsEarly)
{
  const std::string cohort = this->WriteCohort(4);
  const auto        make = [&](const std::string & output, unsigned int steps) {
    auto trainer = this->SmallTrainer(Trainer::TaskEnum::Segmentation, cohort, output);
    trainer->SetSchedule(Trainer::ScheduleEnum::Constant);
    trainer->SetWarmUpSteps(0);
    trainer->SetMaximumSteps(steps);
    trainer->AddValidationCase("case-3");
    trainer->SetValidationSteps(2);
    return trainer;
  };
  // Nothing is learned, so that no score beats the first: the third validation is the second without a better one.
  auto still = make("still", 50);
  still->SetNormalizationSteps(1);
  still->SetLearningRate(1e-30);
  still->SetWeightDecay(0.0);
  still->SetPatience(2);
  still->Train();
  EXPECT_EQ(still->GetStep(), 6u);
  EXPECT_EQ(still->GetBestStep(), 2u);

  auto wrong = make("wrong", 2);
  wrong->SetValidationSteps(0);
  wrong->SetPatience(1);
  EXPECT_THROW(wrong->Train(), itk::ExceptionObject);
}

TEST_F(TorchModelTrainer, ClassWeightsLevelTheClasses)
{
  const std::string      cohort = this->WriteCohort(3); // LGG, HGG, LGG
  constexpr unsigned int batch = 6;
  const auto             losses = [&](const std::string & weights) {
    auto trainer = this->TinyTrainer(Trainer::TaskEnum::Grading, cohort, weights + "-grading");
    trainer->SetClassWeights(weights);
    trainer->SetBatchSize(batch);
    return this->LossesOfAConstant(*trainer, weights + "-grading", 5);
  };
  // The rarer grade has twice the weight: of a constant network's loss of an LGG, 1 is taken off for each HGG.
  const std::vector<double> plain = losses("none");
  const std::vector<double> level = losses("inverse-frequency");
  const double              lossOfLow = std::log(1.0 + std::exp(1.0));
  double                    allHigh = 0.0;
  for (std::size_t i = 0; i < plain.size(); ++i)
  {
    const double high = batch * (lossOfLow - plain[i]);
    EXPECT_NEAR(level[i], lossOfLow - 2.0 * high / (batch + high), 1e-5) << high;
    allHigh += high;
  }
  EXPECT_GT(allHigh, 0.5);
  const auto lossesOfVoxels = [&](const std::string & weights) {
    const std::string output = weights + "-segmentation";
    auto              trainer = this->TinyTrainer(Trainer::TaskEnum::Segmentation, cohort, output);
    trainer->SetClassWeights(weights);
    return this->LossesOfAConstant(*trainer, output, 5);
  };
  // A ball of radius 5 in 26x28x26 voxels of brain: 515 of 18928. A constant network's loss tells how much of a batch
  // is tumour, of which each voxel then has one weight and every other the other.
  const double              share = 515.0 / 18928.0;
  const std::vector<double> plainVoxels = lossesOfVoxels("none");
  const std::vector<double> levelVoxels = lossesOfVoxels("inverse-frequency");
  double                    tumourOfAll = 0.0;
  for (std::size_t i = 0; i < plainVoxels.size(); ++i)
  {
    const double tumourOfBatch = lossOfLow - plainVoxels[i];
    const double expected =
      0.5 / share * tumourOfBatch * (lossOfLow - 1.0) + 0.5 / (1.0 - share) * (1.0 - tumourOfBatch) * lossOfLow;
    EXPECT_NEAR(levelVoxels[i], expected, 0.01 * expected) << tumourOfBatch;
    tumourOfAll += tumourOfBatch;
  }
  EXPECT_GT(tumourOfAll, 0.05);
  auto wrong = this->SmallTrainer(Trainer::TaskEnum::Grading, cohort, "wrong");
  wrong->SetClassWeights("some");
  wrong->SetMaximumSteps(1);
  EXPECT_THROW(wrong->Train(), itk::ExceptionObject);
}

TEST_F(TorchModelTrainer, BFloat16KeepsWeightsInFloat32)
{
  const std::string cohort = this->WriteCohort(2);
  for (const auto precision : { Trainer::PrecisionEnum::Float32, Trainer::PrecisionEnum::BFloat16 })
  {
    auto trainer = this->SmallTrainer(
      Trainer::TaskEnum::Segmentation, cohort, precision == Trainer::PrecisionEnum::Float32 ? "float32" : "bfloat16");
    trainer->SetPrecision(precision);
    trainer->SetMaximumSteps(2);
    trainer->Train();
  }
  const auto exact = this->Losses("float32");
  const auto rounded = this->Losses("bfloat16");
  EXPECT_NE(exact, rounded);
  EXPECT_NEAR(exact[0], rounded[0], 0.03 * exact[0]);
  for (const char * const file : { "bfloat16/models/model.safetensors", "bfloat16.checkpoint/state.safetensors" })
  {
    const std::string bytes = this->Bytes(file);
    std::uint64_t     header = 0;
    std::memcpy(&header, bytes.data(), sizeof(header));
    EXPECT_EQ(bytes.substr(8, header).find("BF16"), std::string::npos);
    // Half of each float32 is lost in bfloat16.
    std::size_t fine = 0;
    for (std::size_t at = 8 + header; at + 4 <= bytes.size(); at += 4)
    {
      fine += bytes[at] != 0 || bytes[at + 1] != 0 ? 1 : 0;
    }
    EXPECT_GT(fine, (bytes.size() - header) / 8) << file;
  }
}

TEST_F(TorchModelTrainer, StartsFromABundle)
{
  const std::string cohort = this->WriteCohort(3);
  auto              first = this->SmallTrainer(Trainer::TaskEnum::Segmentation, cohort, "first");
  first->SetMaximumSteps(2);
  first->Train();
  auto second = this->SmallTrainer(Trainer::TaskEnum::Segmentation, cohort, "second");
  second->SetInitialBundle((m_Folder / "first").string());
  second->SetMaximumSteps(1);
  second->SetLearningRate(1e-12);
  second->SetWeightDecay(0.0);
  second->Train();
  // At a rate of nothing the second's golden output differs by its moving averages alone; a fresh one's is far off.
  const auto golden = [&](const std::string & name) {
    auto model = itk::TorchModel::New();
    model->SetPath((m_Folder / name).string());
    model->ReadManifest();
    return model->GetManifest().GoldenOutput;
  };
  auto other = this->SmallTrainer(Trainer::TaskEnum::Segmentation, cohort, "other");
  other->SetMaximumSteps(1);
  other->SetSeed(5);
  other->Train();
  const std::string weights = this->Bytes("first/models/model.safetensors");
  EXPECT_EQ(weights.size(), this->Bytes("second/models/model.safetensors").size());
  const std::vector<double> a = golden("first");
  const std::vector<double> b = golden("second");
  const std::vector<double> c = golden("other");
  double                    near = 0.0;
  double                    far = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i)
  {
    near = std::max(near, std::abs(a[i] - b[i]));
    far = std::max(far, std::abs(a[i] - c[i]));
  }
  EXPECT_LT(near, far);
  second = this->SmallTrainer(Trainer::TaskEnum::Segmentation, cohort, "third");
  second->SetInitialBundle((m_Folder / "first").string());
  second->SetMaximumSteps(1);
  second->SetWidth(6);
  EXPECT_THROW(second->Train(), itk::ExceptionObject);
}

TEST_F(TorchModelTrainer, ABundleNamesTheCasesOfItsStart)
{
  // The truth is the list that a reader of the tables makes by hand.
  using Names = std::vector<std::string>;
  const auto writeCohort = [this](const std::string & file, const Names & names) {
    m_Rows.clear();
    for (std::size_t i = 0; i < names.size(); ++i)
    {
      this->WriteCase(names[i], static_cast<int>(i), i % 2 == 1);
    }
    return this->WriteText(file, columns + '\n' + m_Rows);
  };
  const auto casesOf = [this](const std::string & output) {
    auto model = itk::TorchModel::New();
    model->SetPath((m_Folder / output).string());
    model->ReadManifest();
    std::map<std::string, std::string> licences;
    for (const auto & entry : model->GetManifest().TrainingCases)
    {
      licences[entry.Case] = entry.Licence + ", " + entry.Attribution;
    }
    return licences;
  };
  const std::string start = (m_Folder / "start").string();
  auto              first = this->TinyTrainer(Trainer::TaskEnum::Segmentation,
                                 writeCohort("first.csv", { "Brats17_A_1", "Brats17_A_2", "valid-1", "valid-2" }),
                                 "start");
  first->SetMaximumSteps(1);
  first->AddValidationCase("valid-1");
  first->AddValidationCase("valid-2");
  first->SetAttributionFile(this->WriteText("first-data.csv", "case,licence,attribution\nBrats17_*,CC0,A\n"));
  first->Train();

  // One case again, a validated one that trains now, and others.
  const std::string second = writeCohort("second.csv", { "new-1", "Brats17_A_2", "valid-1", "new-2" });
  const auto        trainerFrom = [&](const std::string & output) {
    auto trainer = this->TinyTrainer(Trainer::TaskEnum::Segmentation, second, output);
    trainer->SetInitialBundle(start);
    trainer->AddValidationCase("new-2");
    trainer->SetAttributionFile(
      this->WriteText("data.csv", "case,licence,attribution\nBrats17*,MIT,B\nnew-1,MIT,C\nvalid-1,MIT,D\n"));
    trainer->SetMaximumSteps(1);
    return trainer;
  };
  const Names training{ "new-1", "Brats17_A_2", "valid-1", "Brats17_A_1" };
  const Names validation{ "new-2", "valid-2" };
  auto        trainer = trainerFrom("tuned");
  trainer->Train();
  EXPECT_EQ(this->TrainingCases("tuned"), training);
  EXPECT_EQ(this->ValidationCases("tuned"), validation);
  EXPECT_EQ(
    casesOf("tuned"),
    (std::map<std::string, std::string>{
      { "Brats17_A_1", "CC0, A" }, { "Brats17_A_2", "MIT, B" }, { "new-1", "MIT, C" }, { "valid-1", "MIT, D" } }));
  trainer = trainerFrom("tuned");
  trainer->ResumeOn();
  trainer->SetMaximumSteps(2);
  trainer->Train();
  EXPECT_EQ(this->TrainingCases("tuned"), training);
  EXPECT_EQ(this->ValidationCases("tuned"), validation);

  // Without a list of its own it keeps what the start says of a case, which then is a start of more.
  auto third =
    this->TinyTrainer(Trainer::TaskEnum::Segmentation, writeCohort("third.csv", { "Brats17_A_1", "other" }), "again");
  third->SetInitialBundle((m_Folder / "tuned").string());
  third->SetMaximumSteps(1);
  third->Train();
  EXPECT_EQ(this->TrainingCases("again"), (Names{ "Brats17_A_1", "other", "new-1", "Brats17_A_2", "valid-1" }));
  EXPECT_EQ(casesOf("again").at("Brats17_A_1"), "CC0, A");
  EXPECT_EQ(this->ValidationCases("again"), validation);
}

TEST_F(TorchModelTrainer, NoCaseValidatesThatItsStartHasSeen)
{
  auto first = this->TinyTrainer(Trainer::TaskEnum::Segmentation, this->WriteCohort(2), "start");
  this->WriteCase("Brats17_TCIA_1_1", 2, false);
  this->WriteText("COHORT.csv", columns + '\n' + m_Rows);
  first->SetMaximumSteps(1);
  first->AddValidationCase("case-1");
  first->Train();

  this->WriteCase("Brats18_TCIA_1_1", 3, true);
  this->WriteCase("new", 4, true);
  m_Rows.erase(m_Rows.find("Brats17"), m_Rows.find("Brats18") - m_Rows.find("Brats17"));
  auto second =
    this->TinyTrainer(Trainer::TaskEnum::Segmentation, this->WriteText("second.csv", columns + '\n' + m_Rows), "tuned");
  second->SetInitialBundle((m_Folder / "start").string());
  second->SetMaximumSteps(1);
  second->AddValidationCase("case-1"); // which chose weights before, but taught none
  EXPECT_EQ(AllProblems(*second), "");
  second->AddValidationCase("case-0");
  second->AddValidationCase("Brats18_TCIA_1_1");
  const std::string text = FailureOf(*second);
  EXPECT_NE(text.find("The case case-0 validates, but the initial bundle"), std::string::npos) << text;
  EXPECT_NE(text.find("The case Brats18_TCIA_1_1 validates, but the initial bundle"), std::string::npos) << text;
  EXPECT_NE(text.find("was trained on Brats17_TCIA_1_1"), std::string::npos) << text;
  EXPECT_EQ(text.find("case-1 validates"), std::string::npos) << text;

  second->ClearValidationCases();
  second->SetAttributionFile(
    this->WriteText("data.csv", "case,licence,attribution\ncase-*,CC0,A\nnew,CC0,A\nBrats18*,CC0,A\n"));
  EXPECT_EQ(AllProblems(*second),
            "The training case Brats17_TCIA_1_1 of the initial bundle has no licence there and is not in " +
              (m_Folder / "data.csv").string() + '\n');
  // A row of all cases was written for the new ones.
  this->WriteText("data.csv", "case,licence,attribution\n*,CC0,A\ncase-0,CC0,A\n");
  EXPECT_EQ(AllProblems(*second),
            "The training case Brats17_TCIA_1_1 of the initial bundle has no licence there and is not in " +
              (m_Folder / "data.csv").string() + '\n');
  fs::remove_all(m_Folder / "start" / "configs");
  EXPECT_NE(AllProblems(*second).find((m_Folder / "start").string()), std::string::npos) << AllProblems(*second);
}

namespace
{
/** A volume of 24x20x16 with one marked voxel in the second sequence and in the tumour. */
struct MarkedVolume
{
  MarkedVolume()
    : Intensities(static_cast<std::size_t>(Size[0] * Size[1] * Size[2] * 4), 0.0F)
    , Brain(Intensities.size() / 4, 255)
    , Tumour(Brain.size(), 0)
  {
    const std::size_t voxel = static_cast<std::size_t>((Marker[2] * Size[1] + Marker[1]) * Size[0] + Marker[0]);
    Intensities[voxel * 4 + 1] = 1.0F;
    Tumour[voxel] = 255;
  }
  Pipeline::Volume
  View() const
  {
    Pipeline::Volume view;
    view.Size = Size;
    view.Intensities = Intensities.data();
    view.Brain = Brain.data();
    view.Tumour = Tumour.data();
    return view;
  }
  std::array<std::int64_t, 3> Size{ { 24, 20, 16 } };
  std::array<std::int64_t, 3> Marker{ { 15, 8, 6 } };
  std::vector<float>          Intensities;
  std::vector<std::uint8_t>   Brain;
  std::vector<std::uint8_t>   Tumour;
};

std::array<double, 3>
CentreOfMass(const float * values, std::int64_t n)
{
  std::array<double, 3> sum{ { 0, 0, 0 } };
  double                mass = 0.0;
  for (std::int64_t i = 0; i < n * n * n; ++i)
  {
    const std::int64_t at[3] = { i % n, i / n % n, i / (n * n) };
    for (unsigned int a = 0; a < 3; ++a)
    {
      sum[a] += values[i] * static_cast<double>(at[a]);
    }
    mass += values[i];
  }
  for (double & each : sum)
  {
    each /= mass;
  }
  return sum;
}
} // namespace

TEST_F(TorchModelTrainer, AugmentationKeepsTheLabelOnItsVoxels)
{
  const MarkedVolume volume;
  Pipeline           pipeline;
  for (const char * const name : { "sagittal-flip", "rotation", "quarter-turns=1", "rotation-3d", "zoom", "mirror" })
  {
    pipeline.Add(name);
  }
  for (std::uint64_t trial = 0; trial < 40; ++trial)
  {
    itk::CounterRandom  random(3, trial);
    Pipeline::Placement placement;
    placement.Centre = { { 13.0, 9.0, 7.0 } };
    pipeline.Turn(random, placement);
    Pipeline::Patch patch;
    Pipeline::Resample(volume.View(), placement, 17, patch);
    // The tumour lies where the placement's inverse puts the marker, and the sequence's mark with it.
    const std::array<double, 3> label = CentreOfMass(patch.Tumour.data(), 17);
    const std::array<double, 3> mark = CentreOfMass(patch.Intensities.data() + 17 * 17 * 17, 17);
    for (unsigned int a = 0; a < 3; ++a)
    {
      double back = placement.Centre[a];
      for (unsigned int b = 0; b < 3; ++b)
      {
        back += placement.Matrix[a][b] * (label[b] - 8.0);
      }
      EXPECT_NEAR(back, static_cast<double>(volume.Marker[a]), 0.6) << "trial " << trial << " axis " << a;
      EXPECT_NEAR(label[a], mark[a], 1e-3);
    }
  }
}

TEST_F(TorchModelTrainer, SagittalFlipMirrorsLeftAndRightAlone)
{
  const MarkedVolume  volume;
  Pipeline            pipeline;
  Pipeline::Placement placement;
  placement.Centre = { { 12.0, 9.0, 7.0 } };
  pipeline.Add("sagittal-flip=1");
  itk::CounterRandom random(1);
  pipeline.Turn(random, placement);
  Pipeline::Patch patch;
  Pipeline::Resample(volume.View(), placement, 17, patch);
  const std::array<double, 3> at = CentreOfMass(patch.Tumour.data(), 17);
  EXPECT_NEAR(at[0], 8.0 - 3.0, 1e-6);
  EXPECT_NEAR(at[1], 8.0 - 1.0, 1e-6);
  EXPECT_NEAR(at[2], 8.0 - 1.0, 1e-6);
}

TEST_F(TorchModelTrainer, UnturnedPatchIsTheVolumeItself)
{
  MarkedVolume       volume;
  itk::CounterRandom random(9);
  for (float & value : volume.Intensities)
  {
    value = static_cast<float>(random.Normal());
  }
  Pipeline::Placement placement;
  placement.Centre = { { 7.5, 6.5, 5.5 } };
  Pipeline::Patch patch;
  Pipeline::Resample(volume.View(), placement, 8, patch);
  for (int z = 0; z < 8; ++z)
  {
    for (int y = 0; y < 8; ++y)
    {
      for (int x = 0; x < 8; ++x)
      {
        for (int c = 0; c < 4; ++c)
        {
          ASSERT_EQ(patch.Intensities[((c * 8 + z) * 8 + y) * 8 + x],
                    volume.Intensities[(((z + 2) * 20 + y + 3) * 24 + x + 4) * 4 + c]);
        }
      }
    }
  }
  // Without an intensity augmentation nothing changes, and the background stays 0 with all of them.
  Pipeline        pipeline;
  Pipeline::Patch same = patch;
  pipeline.ChangeScanner(random, same);
  EXPECT_EQ(same.Intensities, patch.Intensities);
  for (const auto & description : Pipeline::Names())
  {
    pipeline.Add(description.Name);
  }
  std::fill(patch.Brain.begin(), patch.Brain.begin() + 100, 0.0F);
  same = patch;
  pipeline.ChangeScanner(random, same);
  EXPECT_NE(same.Intensities, patch.Intensities);
  for (int c = 0; c < 4; ++c)
  {
    for (int i = 0; i < 100; ++i)
    {
      ASSERT_EQ(same.Intensities[c * 512 + i], 0.0F);
    }
  }
}

TEST_F(TorchModelTrainer, CystsAndOffsetsStayWhereTheyBelong)
{
  constexpr std::int64_t n = 24;
  Pipeline::Patch        patch;
  patch.Side = n;
  patch.Intensities.assign(4 * n * n * n, 0.5F);
  patch.Brain.assign(n * n * n, 1.0F);
  patch.Tumour.assign(n * n * n, 0.0F);
  for (std::int64_t i = 0; i < n * n * n; ++i)
  {
    const double d[3] = { i % n - 12.0, i / n % n - 10.0, i / (n * n) - 11.0 };
    patch.Tumour[i] = d[0] * d[0] + d[1] * d[1] + d[2] * d[2] < 49.0 ? 1.0F : 0.0F;
  }
  Pipeline cyst;
  cyst.Add("cyst=1");
  EXPECT_TRUE(cyst.HasIntensityPart());
  for (std::uint64_t trial = 0; trial < 5; ++trial)
  {
    itk::CounterRandom random(2, trial);
    Pipeline::Patch    changed = patch;
    cyst.ChangeScanner(random, changed);
    std::int64_t fluid = 0;
    for (std::int64_t i = 0; i < n * n * n; ++i)
    {
      const float * const v = changed.Intensities.data() + i;
      if (patch.Tumour[i] == 0.0F)
      {
        ASSERT_EQ(v[0], 0.5F);
        ASSERT_EQ(v[2 * n * n * n], 0.5F);
        continue;
      }
      ASSERT_LE(v[0], 0.5F);
      ASSERT_GE(v[2 * n * n * n], 0.5F);
      fluid += v[0] < 0.0F ? 1 : 0;
    }
    EXPECT_GT(fluid, 5) << "trial " << trial;
    EXPECT_EQ(changed.Tumour, patch.Tumour);
  }

  Pipeline offset;
  offset.Add("slice-offset=1");
  itk::CounterRandom random(6);
  Pipeline::Patch    changed = patch;
  offset.ChangeScanner(random, changed);
  for (int c = 0; c < 4; ++c)
  {
    // Constant in the slices of one axis, and not in those of the others.
    const float * const v = changed.Intensities.data() + c * n * n * n;
    int                 axes = 0;
    for (int axis = 0; axis < 3; ++axis)
    {
      const std::int64_t stride = axis == 0 ? 1 : axis == 1 ? n : n * n;
      bool               constant = true;
      for (std::int64_t i = 0; i < n * n * n; ++i)
      {
        constant = constant && v[i] == v[i / stride % n * stride];
      }
      axes += constant ? 1 : 0;
    }
    EXPECT_EQ(axes, 1) << "sequence " << c;
  }

  // A transplanted tumour is the donor's, its label with it; far from it nothing changes.
  Pipeline::Patch host = patch;
  std::fill(host.Tumour.begin(), host.Tumour.end(), 0.0F);
  std::fill(host.Intensities.begin(), host.Intensities.end(), -1.0F);
  host.Brain[(11 * n + 10) * n + 12] = 0.0F; // no tumour where there is no brain
  Pipeline::AddTumour(patch, host);
  EXPECT_EQ(host.Tumour[(11 * n + 10) * n + 12], 0.0F);
  EXPECT_EQ(host.Intensities[(11 * n + 10) * n + 12], -1.0F);
  EXPECT_EQ(host.Tumour[(11 * n + 10) * n + 14], 1.0F);
  EXPECT_EQ(host.Intensities[(11 * n + 10) * n + 14], 0.5F);
  EXPECT_EQ(host.Intensities[(11 * n + 10) * n + 22], -1.0F);
  const float seam = host.Intensities[(11 * n + 10) * n + 19]; // the first voxel outside
  EXPECT_GT(seam, -1.0F);
  EXPECT_LT(seam, 0.5F);

  // Without its tumour: the other place's values there, the brain's mean where that is tumour too, nothing else
  // changed.
  Pipeline::Patch other = host;
  std::fill(other.Tumour.begin(), other.Tumour.end(), 0.0F);
  std::fill(other.Intensities.begin(), other.Intensities.end(), 2.0F);
  other.Tumour[(11 * n + 10) * n + 14] = 1.0F;
  double tumour = 0.0;
  for (const float share : host.Tumour)
  {
    tumour += share;
  }
  EXPECT_NEAR(Pipeline::HealthyShare(other, host), (tumour - 1.0) / tumour, 1e-9);
  EXPECT_EQ(Pipeline::HealthyShare(host, host), 0.0);
  Pipeline::ReplaceTumour(other, host);
  EXPECT_EQ(host.Intensities[(11 * n + 10) * n + 14], 0.0F);
  EXPECT_EQ(host.Intensities[(11 * n + 10) * n + 15], 2.0F);
  EXPECT_EQ(host.Intensities[(11 * n + 10) * n + 22], -1.0F);
  EXPECT_EQ(host.Intensities[(11 * n + 10) * n + 12], -1.0F); // no brain
  EXPECT_EQ(*std::max_element(host.Tumour.begin(), host.Tumour.end()), 0.0F);
  EXPECT_EQ(Pipeline::HealthyShare(other, host), 1.0);
}

TEST_F(TorchModelTrainer, ResamplesAsTheFormulaSays)
{
  MarkedVolume       volume;
  itk::CounterRandom random(12);
  // Of a bfloat16 the upper half of a float32's bits is stored.
  std::vector<std::uint16_t> halves(volume.Intensities.size());
  for (std::size_t i = 0; i < volume.Intensities.size(); ++i)
  {
    const auto    value = static_cast<float>(random.Normal());
    std::uint32_t bits = 0;
    std::memcpy(&bits, &value, sizeof(bits));
    bits &= 0xFFFF0000U;
    halves[i] = static_cast<std::uint16_t>(bits >> 16);
    std::memcpy(&volume.Intensities[i], &bits, sizeof(bits));
  }
  for (std::size_t i = 0; i < volume.Brain.size(); ++i)
  {
    volume.Brain[i] = static_cast<std::uint8_t>(random.Below(256));
    volume.Tumour[i] = static_cast<std::uint8_t>(random.Below(256));
  }
  Pipeline pipeline;
  for (const char * const name : { "rotation-3d=60", "zoom=0.4", "mirror" })
  {
    pipeline.Add(name);
  }
  constexpr std::int64_t n = 15;
  for (int trial = 0; trial < 9; ++trial)
  {
    if (trial == 6)
    {
      pipeline.Add("elastic=1");
    }
    // Beside the middle, so that a part of the cube lies outside.
    Pipeline::Placement placement;
    placement.Centre = { { random.Uniform(2.0, 22.0), random.Uniform(2.0, 18.0), random.Uniform(2.0, 14.0) } };
    pipeline.Turn(random, placement);
    Pipeline::Patch patch;
    Pipeline::Patch patchOfHalves;
    Pipeline::Resample(volume.View(), placement, n, patch);
    Pipeline::Volume stored = volume.View();
    stored.Intensities = nullptr;
    stored.BFloat16Intensities = halves.data();
    Pipeline::Resample(stored, placement, n, patchOfHalves);
    EXPECT_EQ(patch.Intensities, patchOfHalves.Intensities);
    std::int64_t outside = 0;
    for (std::int64_t voxel = 0; voxel < n * n * n; ++voxel)
    {
      double           at[3] = { voxel % n - 7.0, voxel / n % n - 7.0, voxel / (n * n) - 7.0 };
      double           point[3];
      constexpr double cell = static_cast<double>(n) / static_cast<double>(Pipeline::Cells);
      const auto bend = Bend(placement.Bend, { { (at[0] + 7.5) / cell, (at[1] + 7.5) / cell, (at[2] + 7.5) / cell } });
      for (unsigned int a = 0; a < 3; ++a)
      {
        at[a] += cell * bend[a];
      }
      for (int a = 0; a < 3; ++a)
      {
        point[a] = placement.Centre[a] + placement.Matrix[a][0] * at[0] + placement.Matrix[a][1] * at[1] +
                   placement.Matrix[a][2] * at[2];
      }
      double expected[6] = {};
      for (std::int64_t z = 0; z < volume.Size[2]; ++z)
      {
        for (std::int64_t y = 0; y < volume.Size[1]; ++y)
        {
          for (std::int64_t x = 0; x < volume.Size[0]; ++x)
          {
            const double weight = std::max(0.0, 1.0 - std::abs(point[0] - x)) *
                                  std::max(0.0, 1.0 - std::abs(point[1] - y)) *
                                  std::max(0.0, 1.0 - std::abs(point[2] - z));
            if (weight > 0.0)
            {
              const std::size_t i = static_cast<std::size_t>((z * volume.Size[1] + y) * volume.Size[0] + x);
              for (int c = 0; c < 4; ++c)
              {
                expected[c] += weight * volume.Intensities[i * 4 + c];
              }
              expected[4] += weight * volume.Brain[i] / 255.0;
              expected[5] += weight * volume.Tumour[i] / 255.0;
            }
          }
        }
      }
      outside += expected[4] == 0.0 ? 1 : 0;
      for (int c = 0; c < 4; ++c)
      {
        ASSERT_NEAR(patch.Intensities[c * n * n * n + voxel], expected[c], 1e-5); // weights in float32
      }
      ASSERT_NEAR(patch.Brain[voxel], expected[4], 1e-5);
      ASSERT_NEAR(patch.Tumour[voxel], expected[5], 1e-5);
    }
    EXPECT_GT(outside, 0);
  }
}

TEST_F(TorchModelTrainer, InterleavesOntoTheBackground)
{
  Pipeline::Patch patch;
  patch.Side = 5;
  patch.Brain.assign(125, 1.0F);
  patch.Tumour.assign(125, 0.0F);
  itk::CounterRandom random(3);
  for (int i = 0; i < 500; ++i)
  {
    patch.Intensities.push_back(static_cast<float>(random.Normal()));
  }
  const std::array<float, 4> background{ { 0.0F, -1.5F, 2.0F, 0.25F } };
  std::vector<float>         sample(500);
  std::vector<std::uint16_t> halves(500);
  Pipeline::Interleave(patch, background, sample.data());
  Pipeline::Interleave(patch, background, halves.data());
  for (int i = 0; i < 125; ++i)
  {
    for (int c = 0; c < 4; ++c)
    {
      const float value = patch.Intensities[c * 125 + i] + background[c];
      ASSERT_EQ(sample[4 * i + c], value);
      const std::uint32_t bits = static_cast<std::uint32_t>(halves[4 * i + c]) << 16;
      float               rounded;
      std::memcpy(&rounded, &bits, sizeof(bits));
      ASSERT_NEAR(rounded, value, std::abs(value) / 256.0F); // eight bits of mantissa, rounded to the nearest
    }
  }
}

TEST_F(TorchModelTrainer, NoiseIsNormalAndOfEachVoxel)
{
  constexpr std::int64_t n = 40;
  Pipeline               pipeline;
  pipeline.Add("noise=0.5");
  unsigned int noisy = 0;
  for (std::uint64_t trial = 0; trial < 10; ++trial)
  {
    Pipeline::Patch patch;
    patch.Side = n;
    patch.Intensities.assign(4 * n * n * n, 1.0F);
    patch.Brain.assign(n * n * n, 1.0F);
    patch.Tumour.assign(n * n * n, 0.0F);
    itk::CounterRandom random(8, trial);
    pipeline.ChangeScanner(random, patch);
    for (int c = 0; c < 4; ++c)
    {
      const float * const v = patch.Intensities.data() + c * n * n * n;
      if (v[0] == 1.0F && v[7] == 1.0F)
      {
        continue;
      }
      ++noisy;
      double moments[5] = {};
      double neighbours = 0.0;
      for (std::int64_t i = 0; i < n * n * n; ++i)
      {
        const double d = v[i] - 1.0;
        moments[1] += d;
        moments[2] += d * d;
        moments[4] += d * d * d * d;
        neighbours += i > 0 ? d * (v[i - 1] - 1.0) : 0.0;
      }
      const double count = static_cast<double>(n * n * n);
      const double variance = moments[2] / count;
      EXPECT_LE(variance, 0.26);
      // Five deviations of what 64000 normal numbers give.
      EXPECT_LT(std::abs(moments[1] / count), 5.0 * std::sqrt(variance / count));
      EXPECT_LT(std::abs(neighbours / count), 5.0 * variance / std::sqrt(count));
      EXPECT_NEAR(moments[4] / count / (variance * variance), 3.0, 5.0 * std::sqrt(24.0 / count));
    }
  }
  EXPECT_GT(noisy, 1u); // of 40, one in five on average
  EXPECT_LT(noisy, 20u);
}

TEST_F(TorchModelTrainer, GammaKeepsTheExtremesOfTheBrain)
{
  // As where the whole image is standardized: all of the brain lies above the background, which is 0 here.
  MarkedVolume        volume;
  Pipeline::Placement placement;
  placement.Centre = { { 7.5, 6.5, 5.5 } };
  itk::CounterRandom random(9);
  for (float & value : volume.Intensities)
  {
    value = static_cast<float>(random.Uniform(1.0, 2.0));
  }
  Pipeline::Patch after;
  Pipeline::Resample(volume.View(), placement, 8, after);
  std::fill_n(after.Brain.begin(), 64, 0.0F);
  for (int c = 0; c < 4; ++c)
  {
    std::fill_n(after.Intensities.begin() + c * 512, 64, 0.0F);
  }
  const Pipeline::Patch before = after;
  Pipeline              pipeline;
  pipeline.Add("gamma");
  pipeline.ChangeScanner(random, after);
  EXPECT_NE(before.Intensities, after.Intensities);
  for (int c = 0; c < 4; ++c)
  {
    const auto extremes = [c](const Pipeline::Patch & patch) {
      const auto from = patch.Intensities.begin() + c * 512 + 64;
      const auto found = std::minmax_element(from, from + 448);
      return std::make_pair(*found.first, *found.second);
    };
    EXPECT_NEAR(extremes(after).first, extremes(before).first, 1e-5);
    EXPECT_NEAR(extremes(after).second, extremes(before).second, 1e-5);
    EXPECT_EQ(after.Intensities[c * 512 + 10], 0.0F);
  }
}

TEST_F(TorchModelTrainer, GammaIsThePapersTransformation)
{
  MarkedVolume        volume;
  Pipeline::Placement placement;
  placement.Centre = { { 7.5, 6.5, 5.5 } };
  itk::CounterRandom random(9);
  for (float & value : volume.Intensities)
  {
    value = static_cast<float>(random.Normal());
  }
  Pipeline::Patch before;
  Pipeline::Resample(volume.View(), placement, 8, before);
  Pipeline::Patch after = before;
  Pipeline        pipeline;
  pipeline.Add("gamma");
  pipeline.ChangeScanner(random, after);
  // One power for all sequences, read off one voxel, gives every other.
  double gamma = 0.0;
  for (int c = 0; c < 4; ++c)
  {
    const float * const x = before.Intensities.data() + c * 512;
    const float * const y = after.Intensities.data() + c * 512;
    const double        low = *std::min_element(x, x + 512);
    const double        high = *std::max_element(x, x + 512);
    for (int i = 0; i < 512; ++i)
    {
      const double share = (x[i] - low) / (high - low);
      if (gamma == 0.0 && share > 0.2 && share < 0.8)
      {
        gamma = std::log((y[i] - low) / (high - low)) / std::log(share);
        EXPECT_GE(gamma, 0.85);
        EXPECT_LE(gamma, 1.15);
        EXPECT_NE(gamma, 1.0);
      }
      if (gamma != 0.0)
      {
        ASSERT_NEAR(y[i], low + (high - low) * std::pow(share, gamma), 1e-4);
      }
    }
  }
  EXPECT_NE(gamma, 0.0);
}

TEST_F(TorchModelTrainer, GammaTakesDarkFluidToo)
{
  // Fluid darker than all of the brain is the lowest value that gamma scales from.
  constexpr std::int64_t n = 12;
  Pipeline::Patch        patch;
  patch.Side = n;
  patch.Intensities.assign(4 * n * n * n, 0.5F);
  patch.Brain.assign(n * n * n, 1.0F);
  patch.Tumour.assign(n * n * n, 1.0F);
  Pipeline pipeline;
  pipeline.Add("cyst=1");
  pipeline.Add("gamma=0.9");
  float lowest = 0.0F;
  for (std::uint64_t trial = 0; trial < 20; ++trial)
  {
    itk::CounterRandom random(3, trial);
    Pipeline::Patch    changed = patch;
    pipeline.ChangeScanner(random, changed);
    for (const float value : changed.Intensities)
    {
      ASSERT_TRUE(std::isfinite(value)) << "trial " << trial;
      lowest = std::min(lowest, value);
    }
  }
  EXPECT_LT(lowest, -1.0F); // there was such fluid, and it stays dark
}

TEST(BatchLoader, PreparesWhileAStepComputes)
{
  constexpr unsigned int     threads = 3;
  constexpr std::uint64_t    first = 40;
  std::mutex                 mutex;
  std::condition_variable    changed;
  std::set<std::thread::id>  makers;
  std::uint64_t              begun = 0;
  std::atomic<std::uint64_t> given{ 0 };
  const auto                 wait = [&](auto condition) {
    std::unique_lock<std::mutex> lock(mutex);
    return changed.wait_for(lock, std::chrono::seconds(60), condition);
  };
  itk::BatchLoader<std::uint64_t> loader(first, threads, [&](std::uint64_t step) {
    EXPECT_LE(step, first + given + threads) << "more batches lie ready than there is memory for";
    {
      const std::lock_guard<std::mutex> lock(mutex);
      makers.insert(std::this_thread::get_id());
      ++begun;
    }
    changed.notify_all();
    // Those of the first round are made beside each other, or this would wait for ever.
    if (step < first + threads)
    {
      EXPECT_TRUE(wait([&] { return makers.size() == threads; }));
    }
    return 10 * step;
  });
  // Nobody has asked for one yet: the step before it may compute.
  EXPECT_TRUE(wait([&] { return begun == threads + 1; }));
  for (std::uint64_t i = 0; i < 20; ++i)
  {
    given = i + 1;
    EXPECT_EQ(loader.Next(), 10 * (first + i));
  }
}

TEST(BatchLoader, ThrowsWhatAThreadThrows)
{
  itk::BatchLoader<int> loader(0, 1, [](std::uint64_t step) {
    if (step == 2)
    {
      throw std::runtime_error("the third");
    }
    return static_cast<int>(step);
  });
  EXPECT_EQ(loader.Next(), 0);
  EXPECT_EQ(loader.Next(), 1);
  for (int i = 0; i < 2; ++i)
  {
    try
    {
      loader.Next();
      ADD_FAILURE() << "nothing was thrown";
    }
    catch (const std::runtime_error & error)
    {
      EXPECT_STREQ(error.what(), "the third");
    }
  }
}

TEST(AugmentationPipeline, RefusesStrengthsThatMakeNoSense)
{
  for (const auto & description : Pipeline::Names())
  {
    Pipeline          pipeline;
    const std::string name = description.Name + '=';
    EXPECT_NO_THROW(pipeline.Add(name + std::to_string(description.Strength)));
    EXPECT_THROW(pipeline.Add(name + "1000"), itk::ExceptionObject) << name;
  }
  for (const char * const each : { "gamma=1", "mirror=1.01", "cyst=2", "tumour-free=1.5", "intensity-curve=1.1" })
  {
    EXPECT_THROW(Pipeline().Add(each), itk::ExceptionObject) << each;
  }
  try
  {
    Pipeline().Add("quarter-turns=1.5");
    FAIL();
  }
  catch (const itk::ExceptionObject & error)
  {
    const std::string text = error.GetDescription();
    EXPECT_NE(text.find("'quarter-turns' is '1.5'"), std::string::npos) << text;
    EXPECT_NE(text.find("to 1"), std::string::npos) << text;
  }
}

TEST_F(TorchModelTrainer, ScoresAreThoseOfInference)
{
  // Axes turned and flipped, shifted origin: training must bring it to the model's space as the filters do.
  const std::string cohort = this->WriteCohort(3);
  for (const char * const file : { "t1", "t1c", "t2", "flair", "seg" })
  {
    const std::string        name = std::string("case-2-") + file + ".nrrd";
    const ImageType::Pointer image = this->ReadImage(name);
    ImageType::DirectionType direction;
    direction.Fill(0.0);
    direction[1][0] = -1.0;
    direction[2][1] = 1.0;
    direction[0][2] = 1.0;
    image->SetDirection(direction);
    ImageType::PointType origin;
    origin.Fill(-37.0);
    image->SetOrigin(origin);
    if (std::string(file) == "seg")
    {
      // A second part, of an eighth of the first: under the model's share it does not stretch the box.
      for (itk::ImageRegionIteratorWithIndex<ImageType> it(image,
                                                           ImageType::RegionType({ { 4, 5, 4 } }, { { 4, 4, 4 } }));
           !it.IsAtEnd();
           ++it)
      {
        ASSERT_EQ(it.Get(), 0.0F);
        it.Set(1.0F);
      }
    }
    this->WriteImage(image, name);
  }
  const std::pair<const char *, const char *> rows[] = {
    { "brain", "tumour" }, { "image", "tumour" }, { "brain", "brain" }, { "image", "brain" }
  };
  for (const auto & [standardization, region] : rows)
  {
    const bool        wholeBrain = std::string(region) == "brain";
    const std::string output = std::string("bundle-") + standardization + '-' + region;
    auto              trainer = this->SmallTrainer(Trainer::TaskEnum::Grading, cohort, output);
    trainer->SetStandardization(standardization);
    if (wholeBrain)
    {
      trainer->SetRegion("brain");
      EXPECT_EQ(trainer->GetMargin(), 0u);
    }
    trainer->SetBatchSize(2);
    trainer->SetMaximumSteps(2);
    trainer->AddValidationCase("case-2");
    trainer->Train();

    using MaskType = itk::Image<unsigned char, 3>;
    using VectorType = itk::VectorImage<float, 3>;
    auto preparation = itk::SequencePreparationFilter<ImageType, MaskType>::New();
    preparation->SetSequence("T1", this->ReadImage("case-2-t1.nrrd"));
    preparation->SetSequence("T1c", this->ReadImage("case-2-t1c.nrrd"));
    preparation->SetSequence("T2", this->ReadImage("case-2-t2.nrrd"));
    preparation->SetSequence("FLAIR", this->ReadImage("case-2-flair.nrrd"));
    preparation->SetBiasCorrection(itk::SequencePreparationFilterEnums::BiasCorrection::None);
    preparation->SetLowerQuantile(0.005);
    preparation->SetUpperQuantile(0.995);
    if (std::string(standardization) == "image")
    {
      preparation->SetStandardization(itk::SequencePreparationFilterEnums::Standardization::Image);
    }
    auto space = itk::ModelSpaceFilter<VectorType>::New();
    space->SetInput(preparation->GetOutput());
    space->SetOutputOrientation("LPS");
    auto maskSpace = itk::ModelSpaceFilter<ImageType>::New();
    maskSpace->SetInput(this->ReadImage("case-2-seg.nrrd"));
    maskSpace->SetOutputOrientation("LPS");
    auto mask = itk::CastImageFilter<ImageType, MaskType>::New();
    mask->SetInput(maskSpace->GetOutput());
    space->Update();
    auto roi = itk::BoundingBoxROIFilter<VectorType, MaskType>::New();
    roi->SetInput(space->GetOutput());
    roi->SetMaskImage(mask->GetOutput());
    roi->SetMargin(4);
    roi->SetMinimumComponentFraction(trainer->GetMinimumComponentShare());
    roi->SetOutputSize(72);
    auto brainSpace = itk::ModelSpaceFilter<MaskType>::New();
    if (wholeBrain)
    {
      brainSpace->SetInput(preparation->GetBrainMask());
      brainSpace->SetOutputOrientation("LPS");
      brainSpace->Update();
      roi->SetMaskImage(brainSpace->GetOutput());
      roi->SetMargin(0);
      roi->SetMode(itk::BoundingBoxROIFilterEnums::Mode::Stretch);
    }
    // Voxel 0 is background.
    const auto         background = space->GetOutput()->GetPixel({ { 0, 0, 0 } });
    itk::Array<double> outside(4);
    for (unsigned int c = 0; c < 4; ++c)
    {
      outside[c] = background[c];
    }
    roi->SetOutsideValue(outside);
    roi->Update();

    auto model = itk::TorchModel::New();
    model->SetPath((m_Folder / output).string());
    model->Load();
    itk::TorchVolumeView view;
    view.Buffer = roi->GetOutput()->GetBufferPointer();
    view.Components = 4;
    view.RegionSize = roi->GetOutput()->GetBufferedRegion().GetSize();
    const std::vector<double> logits = model->ComputeLogits(view);
    // With the brain's standardization the crops of grading are kept in bfloat16.
    EXPECT_NEAR(trainer->GetScores().at(0).Value,
                1.0 / (1.0 + std::exp(logits[0] - logits[1])),
                std::string(standardization) == "brain" ? 3e-3 : 1e-5)
      << output;
    EXPECT_GT(std::abs(logits[0] - logits[1]), 1e-4);
    EXPECT_EQ(model->GetManifest().Region, region);
    EXPECT_EQ(model->GetManifest().FitMode, wholeBrain ? "stretch" : "cube");
    EXPECT_EQ(model->GetManifest().Margin, wholeBrain ? 0.0 : 4.0);
  }
}

TEST_F(TorchModelTrainer, DiceIsThatOfInference)
{
  using MaskType = itk::Image<unsigned char, 3>;
  using VectorType = itk::VectorImage<float, 3>;
  const std::string cohort = this->WriteCohort(4);
  for (const bool padded : { false, true })
  {
    for (const std::string standardization : { "brain", "image" })
    {
      SCOPED_TRACE(standardization + (padded ? ", padded" : ""));
      const std::string output = standardization + (padded ? "-padded" : "");
      auto              trainer = this->SmallTrainer(Trainer::TaskEnum::Segmentation, cohort, output);
      trainer->SetStandardization(standardization);
      trainer->SetPadded(padded);
      trainer->SetLearningRate(1e-2);
      trainer->SetPatchSize(padded ? 24 : 36);
      trainer->SetMaximumSteps(padded ? 150 : 30);
      trainer->ClearAugmentations();
      trainer->AddValidationCase("case-3");
      trainer->Train();

      auto preparation = itk::SequencePreparationFilter<ImageType, MaskType>::New();
      preparation->SetSequence("T1", this->ReadImage("case-3-t1.nrrd"));
      preparation->SetSequence("T1c", this->ReadImage("case-3-t1c.nrrd"));
      preparation->SetSequence("T2", this->ReadImage("case-3-t2.nrrd"));
      preparation->SetSequence("FLAIR", this->ReadImage("case-3-flair.nrrd"));
      preparation->SetBiasCorrection(itk::SequencePreparationFilterEnums::BiasCorrection::None);
      preparation->SetLowerQuantile(0.005);
      preparation->SetUpperQuantile(0.995);
      if (standardization == "image")
      {
        preparation->SetStandardization(itk::SequencePreparationFilterEnums::Standardization::Image);
      }
      // The images lie in the model's space as they are: 4 mm, LPS.
      auto model = itk::TorchModel::New();
      model->SetPath((m_Folder / output).string());
      model->Load();
      auto segmentation = itk::TorchSegmentationFilter<VectorType, MaskType>::New();
      segmentation->SetInput(preparation->GetOutput());
      segmentation->SetMaskImage(preparation->GetBrainMask());
      segmentation->SetModel(model);
      segmentation->GenerateProbabilitiesOn();
      itk::Array<double> background(4);
      preparation->Update();
      for (unsigned int c = 0; c < 4; ++c)
      {
        background[c] = preparation->GetSequenceReports()[c].Background;
      }
      segmentation->SetOutsideValues(background);
      segmentation->Update();
      const ImageType::Pointer truth = this->ReadImage("case-3-seg.nrrd");
      double                   both = 0.0;
      double                   either = 0.0;
      for (itk::ImageRegionIteratorWithIndex<ImageType> it(truth, truth->GetBufferedRegion()); !it.IsAtEnd(); ++it)
      {
        const bool found = preparation->GetBrainMask()->GetPixel(it.GetIndex()) > 0 &&
                           segmentation->GetProbabilities()->GetPixel(it.GetIndex())[1] > 0.5F;
        both += found && it.Get() > 0.0F ? 1.0 : 0.0;
        either += (found ? 1.0 : 0.0) + (it.Get() > 0.0F ? 1.0 : 0.0);
      }
      const double dice = 2.0 * both / either;
      EXPECT_GT(dice, 0.2);
      EXPECT_LT(dice, 0.999); // a perfect mask would say nothing
      // A padded network adds its zeros where the image ends: here around the brain's box, there around the head.
      EXPECT_NEAR(trainer->GetScores().at(0).Value, dice, padded ? 1e-2 : 1e-3);
    }
  }
}

TEST_F(TorchModelTrainer, LossesAreThoseOfTheScores)
{
  // The truth is the score, which the test above holds against the filters. Without augmentations, and once the
  // normalizations keep their statistics, a step must see of an LGG and an HGG what is scored: with its background.
  for (const std::string name : { "", "scored-" })
  {
    this->WriteCase(name + "low", 0, false);
    this->WriteCase(name + "high", 1, true);
  }
  const std::string cohort = this->WriteText("COHORT.csv", columns + '\n' + m_Rows);
  for (const char * const standardization : { "brain", "image" })
  {
    for (const char * const region : { "tumour", "brain" })
    {
      const std::string output = std::string(standardization) + '-' + region;
      auto              trainer = this->TinyTrainer(Trainer::TaskEnum::Grading, cohort, output);
      trainer->SetStandardization(standardization);
      trainer->SetRegion(region);
      trainer->BalanceOn(); // one of each grade
      trainer->SetDropout(0.0);
      trainer->SetLearningRate(1e-30);
      trainer->SetWeightDecay(0.0);
      trainer->SetNormalizationSteps(1);
      trainer->SetMaximumSteps(3);
      trainer->AddValidationCase("scored-low");
      trainer->AddValidationCase("scored-high");
      trainer->Train();
      double expected = 0.0;
      ASSERT_EQ(trainer->GetScores().size(), 2u);
      for (const auto & score : trainer->GetScores())
      {
        EXPECT_GT(std::abs(score.Value - 0.5), 1e-3) << output;
        expected -= 0.5 * std::log(score.Grade == "HGG" ? score.Value : 1.0 - score.Value);
      }
      const auto losses = this->Losses(output);
      ASSERT_EQ(losses.size(), 3u);
      EXPECT_NEAR(losses[1], expected, 1e-5) << output;
      EXPECT_NEAR(losses[2], expected, 1e-5) << output;
    }
  }
}
