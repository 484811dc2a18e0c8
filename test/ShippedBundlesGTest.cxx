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

// The bundles that lie under examples/glioma/models and are shipped: whole, small, reproducible, and with every
// training case named. Skipped while there is none.
#include "SeededBundles.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <set>
#include <sstream>
#include <vector>

namespace
{
namespace fs = std::filesystem;

constexpr std::uintmax_t largestBundle = 6000000; // bytes

std::string
TextOf(const fs::path & path)
{
  std::ifstream file(path, std::ios::binary);
  return { std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>() };
}

using Lines = std::vector<std::string>;

/** What is wrong with a bundle's files; empty: nothing. */
Lines
WhatDoesNotFit(const fs::path & bundle)
{
  Lines          wrong;
  std::uintmax_t bytes = 0;
  for (const auto & entry : fs::recursive_directory_iterator(bundle))
  {
    bytes += entry.is_regular_file() ? entry.file_size() : 0;
  }
  if (bytes > largestBundle)
  {
    wrong.push_back("it has " + std::to_string(bytes) + " bytes");
  }
  auto model = itk::TorchModel::New();
  model->SetPath(bundle.string());
  try
  {
    // Size and SHA-256 are checked here. No consent: a shipped bundle is no program.
    model->Load();
    if (!model->VerifyGoldenPair())
    {
      wrong.emplace_back("there is no golden pair");
    }
  }
  catch (const itk::ExceptionObject & error)
  {
    wrong.emplace_back(error.GetDescription());
  }
  return wrong;
}

/** What manifest and model card should say and do not. */
Lines
WhatIsNotSaid(const fs::path & bundle, const std::string & task)
{
  Lines      wrong;
  const auto need = [&wrong](bool isSaid, const std::string & what) {
    if (!isSaid)
    {
      wrong.push_back(what);
    }
  };
  auto model = itk::TorchModel::New();
  model->SetPath(bundle.string());
  model->ReadManifest();
  const itk::TorchModelManifest & manifest = model->GetManifest();
  const bool                      ofBrain = task == "brain-grading";
  need(manifest.Task == (ofBrain ? "grading" : task), "its task is " + manifest.Task);
  need((manifest.Region == "brain") == ofBrain, "its region is '" + manifest.Region + "'");
  need(manifest.WeightsSha256.size() == 64 && manifest.WeightsBytes > 0, "size and SHA-256 of the weights are missing");
  need(manifest.Demonstration, "it does not say that it is a demonstration");
  need(manifest.TrainingData.find("not validated") != std::string::npos, "it does not say that it is not validated");
  need(!manifest.IntendedUse.empty(), "it has no intended use");
  need(!manifest.Licence.empty(), "the weights have no licence");
  need(manifest.ChannelNames == Lines({ "T1", "T1c", "T2", "FLAIR" }), "it wants other sequences");

  const std::string     card = TextOf(bundle / "docs" / "README.md");
  std::set<std::string> names;
  need(!card.empty(), "there is no model card docs/README.md");
  need(manifest.TrainingData.empty() || card.find(manifest.TrainingData.substr(1)) != std::string::npos,
       "the card does not say what it was trained on");
  need(!manifest.TrainingCases.empty(), "no training case is named");
  for (const auto & one : manifest.TrainingCases)
  {
    need(!one.Case.empty(), "a training case has no name");
    need(!one.Licence.empty(), one.Case + " has no licence");
    need(!one.Attribution.empty(), one.Case + " has no attribution");
    need(names.insert(one.Case).second, one.Case + " is named twice");
    // The card gives phantoms as spans, patients one by one.
    const bool isPhantom = one.Case.rfind("phantom-", 0) == 0;
    need(isPhantom || card.find(one.Case) != std::string::npos, "the card does not name " + one.Case);
    need(isPhantom || card.find(one.Attribution) != std::string::npos, "the card does not attribute " + one.Case);
  }
  return wrong;
}

std::string
Listed(const Lines & lines)
{
  std::ostringstream text;
  for (const std::string & line : lines)
  {
    text << "\n  " << line;
  }
  return text.str();
}

class ShippedBundles : public ::testing::TestWithParam<const char *>
{};
} // namespace

TEST_P(ShippedBundles, AreWholeSmallAndNameTheirTrainingCases)
{
  const std::string task = GetParam();
  const fs::path    bundle = fs::path(GLIOMAGRADING_SOURCE_DIR) / "examples" / "glioma" / "models" / task;
  if (!fs::exists(bundle))
  {
    GTEST_SKIP() << "There is no " << bundle << " yet.";
  }
  EXPECT_EQ(Listed(WhatDoesNotFit(bundle)), "") << bundle;
  EXPECT_EQ(Listed(WhatIsNotSaid(bundle, task)), "") << bundle;
}

// What the test above looks for is found: a bundle that has everything passes, and each lack is told.
TEST_P(ShippedBundles, AreRefusedWithAnythingMissing)
{
  const std::string       task = GetParam();
  const TemporaryFolder   folder;
  itk::TorchModelManifest manifest = task == "segmentation" ? TinySegmentationManifest() : TinyGradingManifest();
  if (task == "brain-grading")
  {
    manifest.Region = "brain";
    manifest.FitMode = "stretch";
    manifest.Margin = 0;
  }
  manifest.Demonstration = true;
  manifest.TrainingData = "trained on a pear, not validated";
  manifest.IntendedUse = "tests";
  manifest.TrainingCases = { { "pear-1", "CC BY 4.0", "the tree" }, { "phantom-1", "Apache-2.0", "rules" } };
  const auto write = [&](const itk::TorchModelManifest & said, const std::string & text) {
    const fs::path bundle = folder / "bundle";
    fs::remove_all(bundle);
    itk::TorchModel::WriteSeededBundle(bundle.string(), said, 1);
    if (!text.empty())
    {
      fs::create_directories(bundle / "docs");
      std::ofstream(bundle / "docs" / "README.md") << text;
    }
    return bundle;
  };
  const std::string card = "Trained on a pear, not validated: pear-1, CC BY 4.0, the tree";
  const auto        good = write(manifest, card);
  EXPECT_EQ(Listed(WhatDoesNotFit(good)), "");
  EXPECT_EQ(Listed(WhatIsNotSaid(good, task)), "");

  const auto expect = [](const Lines & wrong, const std::string & what) {
    EXPECT_NE(Listed(wrong).find(what), std::string::npos) << what << " is not among:" << Listed(wrong);
  };
  const auto expectUnsaid = [&](const itk::TorchModelManifest & said, const std::string & text, const char * what) {
    expect(WhatIsNotSaid(write(said, text), task), what);
  };
  expectUnsaid(manifest, "", "there is no model card");
  expectUnsaid(manifest, "Trained on a pear, not validated", "the card does not name pear-1");
  auto said = manifest;
  said.Demonstration = false;
  expectUnsaid(said, card, "does not say that it is a demonstration");
  said = manifest;
  said.TrainingData = "trained on a pear";
  expectUnsaid(said, card, "not validated");
  said = manifest;
  said.TrainingCases.clear();
  expectUnsaid(said, card, "no training case is named");
  said = manifest;
  said.TrainingCases[1].Licence.clear();
  expectUnsaid(said, card, "phantom-1 has no licence");
  said = manifest;
  said.TrainingCases[1].Attribution.clear();
  expectUnsaid(said, card, "phantom-1 has no attribution");
  said = manifest;
  said.TrainingCases.push_back(said.TrainingCases[0]);
  expectUnsaid(said, card, "pear-1 is named twice");

  // A golden pair that another network made.
  const auto  swapped = write(manifest, card);
  std::string text = TextOf(swapped / "configs" / "metadata.json");
  const auto  seed = text.find("\"seed\": ");
  ASSERT_NE(seed, std::string::npos);
  text[seed + 8] = text[seed + 8] == '1' ? '2' : '1';
  std::ofstream(swapped / "configs" / "metadata.json") << text;
  expect(WhatDoesNotFit(swapped), "golden");

  // The file's length is right, its bytes are not.
  const auto  changed = write(manifest, card);
  const auto  weights = changed / "models" / "model.safetensors";
  std::string bytes = TextOf(weights);
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  std::ofstream(weights, std::ios::binary) << bytes;
  expect(WhatDoesNotFit(changed), "SHA-256");

  const auto large = write(manifest, card);
  std::ofstream(large / "docs" / "large") << std::string(largestBundle, ' ');
  expect(WhatDoesNotFit(large), "bytes");
}

INSTANTIATE_TEST_SUITE_P(Tasks,
                         ShippedBundles,
                         ::testing::Values("segmentation", "grading", "brain-grading"),
                         [](const auto & task) {
                           std::string name = task.param;
                           name.erase(std::remove(name.begin(), name.end(), '-'), name.end());
                           return name;
                         });
