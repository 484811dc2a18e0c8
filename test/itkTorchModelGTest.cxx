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
#include "ErrorMessages.h"
#include "SeededBundles.h"

#include <gtest/gtest.h>

#include <sys/stat.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <functional>
#include <iterator>
#include <random>
#include <sstream>

namespace
{
std::string
ReadAll(const std::string & path)
{
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
}

void
WriteAll(const std::string & path, const std::string & bytes)
{
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

std::string
Replaced(std::string text, const std::string & from, const std::string & to)
{
  const auto found = text.find(from);
  EXPECT_NE(found, std::string::npos) << from;
  return text.replace(found, from.size(), to);
}

std::string
MessageOfLoading(const std::string & path)
{
  return MessageOf([&path] {
    auto model = itk::TorchModel::New();
    model->SetPath(path);
    model->Load();
  });
}

struct Cube
{
  std::vector<float>   Voxels;
  itk::TorchVolumeView View;
};

Cube
RandomCube(unsigned int components, itk::SizeValueType x, itk::SizeValueType y, itk::SizeValueType z)
{
  Cube cube;
  cube.Voxels.resize(components * x * y * z);
  std::mt19937                          generator(7);
  std::uniform_real_distribution<float> uniform(-2.0F, 2.0F);
  for (float & voxel : cube.Voxels)
  {
    voxel = uniform(generator);
  }
  cube.View = itk::TorchVolumeView{ cube.Voxels.data(), components, itk::Size<3>{ { x, y, z } }, 0, 0 };
  return cube;
}

/** Puts other weights under the manifest's digest. */
void
ReplaceWeights(const std::string & bundle, const std::string & bytes)
{
  auto model = itk::TorchModel::New();
  model->SetPath(bundle);
  model->ReadManifest();
  const std::string weights = bundle + "/models/model.safetensors";
  WriteAll(weights, bytes);
  // The digest in the message of the refusal is the one to put into the manifest.
  const std::string path = bundle + "/configs/metadata.json";
  std::string       metadata = ReadAll(path);
  metadata = Replaced(metadata,
                      "\"bytes\": " + std::to_string(model->GetManifest().WeightsBytes),
                      "\"bytes\": " + std::to_string(bytes.size()));
  WriteAll(path, metadata);
  const std::string message = MessageOfLoading(bundle);
  const std::string before = "have the SHA-256 ";
  const auto        found = message.find(before);
  ASSERT_NE(found, std::string::npos) << message;
  WriteAll(path, Replaced(metadata, model->GetManifest().WeightsSha256, message.substr(found + before.size(), 64)));
}
} // namespace

TEST(TorchModel, SeededBundleComesBackAsWritten)
{
  const TemporaryFolder folder;
  auto                  manifest = TinyGradingManifest();
  manifest.MinimumComponentShare = 0.25;
  const auto   model = LoadSeeded(folder / "grader", manifest);
  const auto & read = model->GetManifest();
  EXPECT_EQ(read.MinimumComponentShare, 0.25);
  EXPECT_EQ(read.Name, manifest.Name);
  EXPECT_EQ(read.Task, "grading");
  EXPECT_EQ(read.Network, manifest.Network);
  EXPECT_EQ(read.Width, 4u);
  EXPECT_EQ(read.ChannelNames, manifest.ChannelNames);
  EXPECT_EQ(read.ClassNames, manifest.ClassNames);
  EXPECT_EQ(read.OutputActivation, "logits");
  EXPECT_EQ(read.AxisOrder, "zyx");
  EXPECT_EQ(read.Standardization, "brain");
  EXPECT_EQ(read.BiasCorrection, "none");
  EXPECT_EQ(read.Region, "tumour");
  EXPECT_EQ(read.FitMode, "cube");
  EXPECT_EQ(read.Margin, 10.0);
  EXPECT_EQ(read.OutputSize, 72u);
  EXPECT_EQ(read.Licence, manifest.Licence);
  EXPECT_FALSE(read.Demonstration);
  EXPECT_EQ(read.TrainingData, "random weights, not trained");
  EXPECT_EQ(read.WeightsSha256.size(), 64u);
  EXPECT_EQ(read.GoldenOutput.size(), 2u);
  for (const auto & entry : std::filesystem::recursive_directory_iterator(folder / "grader"))
  {
    EXPECT_NE(entry.path().extension(), ".part") << entry.path();
  }
  EXPECT_TRUE(model->VerifyGoldenPair());
  EXPECT_EQ(model->GetLayerNames(), (std::vector<std::string>{ "stem", "res1", "res2", "res3", "res4" }));

  // The same seed gives the same weights, another one others.
  itk::TorchModel::WriteSeededBundle(folder / "again", manifest, 1);
  itk::TorchModel::WriteSeededBundle(folder / "other", manifest, 2);
  EXPECT_EQ(ReadAll(folder / "grader/models/model.safetensors"), ReadAll(folder / "again/models/model.safetensors"));
  EXPECT_NE(ReadAll(folder / "grader/models/model.safetensors"), ReadAll(folder / "other/models/model.safetensors"));

  std::ostringstream printed;
  model->Print(printed);
  for (const char * const part : { "T1, T1c, T2, FLAIR",
                                   "MinimumComponentShare: 0.25",
                                   "Temperature: 1",
                                   "Layer res3: Offset 17.5, 17.5, 17.5, Step 4, 4, 4",
                                   "GoldenSize: 72, 72, 72",
                                   "GivenManifest: none",
                                   "Loaded: yes" })
  {
    EXPECT_CONTAINS(printed.str(), part);
  }
  EXPECT_CONTAINS(printed.str(), "LoadedKey: " + folder / "grader" + " cpu ");
}

TEST(TorchModel, ParametersAreThoseOfThePaper)
{
  // paper.md counts in PyTorch, sections 2 and 3.
  const TemporaryFolder folder;
  const struct
  {
    unsigned int Width, Levels;
    std::size_t  Parameters;
  } segmentation[] = { { 8, 3, 76770 }, { 8, 4, 302370 }, { 16, 4, 1206466 } };
  for (const auto & one : segmentation)
  {
    const auto model = LoadSeeded(folder / "s", TinySegmentationManifest(one.Width, one.Levels));
    EXPECT_EQ(model->GetNumberOfParameters(), one.Parameters);
  }
  EXPECT_EQ(LoadSeeded(folder / "g", TinyGradingManifest(8))->GetNumberOfParameters(), 233282u);
  EXPECT_EQ(LoadSeeded(folder / "g", TinyGradingManifest(16))->GetNumberOfParameters(), 930050u);
}

TEST(TorchModel, ValidSizesAreThoseOfThePaper)
{
  const TemporaryFolder folder;
  const struct
  {
    unsigned int Levels, Halo, Step;
    unsigned int Valid[2], Invalid[3];
  } rows[] = { { 3, 22, 4, { 48, 64 }, { 44, 50, 66 } }, { 4, 46, 8, { 96, 104 }, { 88, 92, 100 } } };
  for (const auto & row : rows)
  {
    const auto model = LoadSeeded(folder / "s", TinySegmentationManifest(2, row.Levels));
    EXPECT_EQ(model->GetManifest().Halo, row.Halo);
    EXPECT_EQ(model->GetManifest().TileStep, row.Step);
    for (const unsigned int n : row.Valid)
    {
      // One axis at a time: sizes may differ.
      const unsigned int least = row.Valid[0];
      const Cube         cube = RandomCube(4, n, least, least);
      const auto         output = model->ComputeProbabilities(cube.View);
      EXPECT_EQ(output.Components, 2u);
      EXPECT_EQ(output.RegionSize[0], n - 2 * row.Halo);
      EXPECT_EQ(output.RegionSize[1], least - 2 * row.Halo);
      for (std::size_t i = 0; i < output.Buffer.size(); i += 2)
      {
        ASSERT_NEAR(output.Buffer[i] + output.Buffer[i + 1], 1.0, 1e-6);
      }
    }
    for (const unsigned int n : row.Invalid)
    {
      const Cube        cube = RandomCube(4, row.Valid[0], row.Valid[0], n);
      const std::string message = MessageOf([&] { model->ComputeProbabilities(cube.View); });
      EXPECT_CONTAINS(message, std::to_string(n) + " voxels on axis 2");
      EXPECT_CONTAINS(message, "at least " + std::to_string(row.Valid[0]));
    }
  }
}

TEST(TorchModel, PaddedSegmentationKeepsTheSize)
{
  const TemporaryFolder folder;
  const auto            model = LoadSeeded(folder / "s", TinySegmentationManifest(4, 3, true));
  EXPECT_EQ(model->GetManifest().Halo, 0u);
  EXPECT_EQ(model->GetManifest().TileStep, 4u);
  const Cube cube = RandomCube(4, 16, 24, 20);
  const auto output = model->ComputeProbabilities(cube.View);
  EXPECT_EQ(output.RegionSize, cube.View.RegionSize);
}

TEST(TorchModel, GradingLayersLieWhereThePaperSays)
{
  const TemporaryFolder folder;
  const auto            layers = LoadSeeded(folder / "g", TinyGradingManifest())->GetManifest().Layers;
  ASSERT_EQ(layers.size(), 5u);
  // Section 3: res3 cell i at voxel 17.5 + 4 i, res4 at 35.5 + 8 i; stem and res1 by counting convolutions.
  const double offsets[] = { 2.0, 4.0, 8.5, 17.5, 35.5 };
  const double steps[] = { 1.0, 1.0, 2.0, 4.0, 8.0 };
  for (unsigned int i = 0; i < 5; ++i)
  {
    for (unsigned int axis = 0; axis < 3; ++axis)
    {
      EXPECT_EQ(layers[i].Offset[axis], offsets[i]) << layers[i].Layer;
      EXPECT_EQ(layers[i].Step[axis], steps[i]) << layers[i].Layer;
    }
  }
}

TEST(TorchModel, RegionOfALargerBufferIsAView)
{
  const TemporaryFolder folder;
  const auto            model = LoadSeeded(folder / "s", TinySegmentationManifest());
  const Cube            large = RandomCube(4, 53, 57, 50);
  itk::TorchVolumeView  view = large.View;
  view.Buffer += 4 * ((1 * 57 + 6) * 53 + 3);
  view.RegionSize = itk::Size<3>{ { 48, 48, 48 } };
  view.RowStride = 53;
  view.SliceStride = 53 * 57;
  Cube copy = RandomCube(4, 48, 48, 48);
  for (std::size_t z = 0; z < 48; ++z)
  {
    for (std::size_t y = 0; y < 48; ++y)
    {
      std::memcpy(&copy.Voxels[4 * 48 * (z * 48 + y)],
                  &large.Voxels[4 * (((z + 1) * 57 + y + 6) * 53 + 3)],
                  4 * 48 * sizeof(float));
    }
  }
  const auto before = large.Voxels;
  const auto ofView = model->ComputeProbabilities(view).Buffer;
  const auto ofCopy = model->ComputeProbabilities(copy.View).Buffer;
  ASSERT_EQ(ofView.size(), ofCopy.size());
  for (std::size_t i = 0; i < ofView.size(); ++i)
  {
    ASSERT_NEAR(ofView[i], ofCopy[i], 1e-6);
  }
  EXPECT_EQ(large.Voxels, before);
}

TEST(TorchModel, WrongInputNamesBothSides)
{
  const TemporaryFolder folder;
  const auto            model = LoadSeeded(folder / "g", TinyGradingManifest());
  const Cube            three = RandomCube(3, 72, 72, 72);
  const std::string     channels = MessageOf([&] { model->ComputeLogits(three.View); });
  EXPECT_CONTAINS(channels, "3 channels");
  EXPECT_CONTAINS(channels, "4: T1, T1c, T2, FLAIR");
  const Cube        small = RandomCube(4, 72, 64, 72);
  const std::string size = MessageOf([&] { model->ComputeLogits(small.View); });
  EXPECT_CONTAINS(size, "64 voxels on axis 1");
  EXPECT_CONTAINS(size, "wants 72");
  Cube cube = RandomCube(4, 72, 72, 72);
  EXPECT_CONTAINS(MessageOf([&] { model->ComputeProbabilities(cube.View); }), "wants a segmentation model");
  cube.Voxels[100000] = std::nanf("");
  EXPECT_CONTAINS(MessageOf([&] { model->ComputeLogits(cube.View); }), "its input holds NaN");
  EXPECT_CONTAINS(MessageOf([&] { itk::TorchModel::New()->ComputeLogits(cube.View); }), "not loaded");
}

TEST(TorchModel, RepeatedRunsGiveTheSameBits)
{
  const TemporaryFolder folder;
  const auto            model = LoadSeeded(folder / "s", TinySegmentationManifest());
  const Cube            cube = RandomCube(4, 64, 56, 48);
  const auto            first = model->ComputeProbabilities(cube.View).Buffer;
  EXPECT_EQ(first, model->ComputeProbabilities(cube.View).Buffer);
  // Another number of threads may differ in the last bits only.
  const auto one = model->ComputeProbabilities(cube.View, 1).Buffer;
  for (std::size_t i = 0; i < one.size(); ++i)
  {
    ASSERT_NEAR(one[i], first[i], 1e-6);
  }
}

TEST(TorchModel, DamagedWeightsAreRefused)
{
  const TemporaryFolder folder;
  const std::string     bundle = folder / "s";
  itk::TorchModel::WriteSeededBundle(bundle, TinySegmentationManifest(2), 1);
  const std::string weights = bundle + "/models/model.safetensors";
  const std::string good = ReadAll(weights);

  WriteAll(weights, good.substr(0, good.size() - 100));
  const std::string truncated = MessageOfLoading(bundle);
  EXPECT_CONTAINS(truncated, std::to_string(good.size() - 100));
  EXPECT_CONTAINS(truncated, "manifest says " + std::to_string(good.size()));

  std::string flipped = good;
  flipped[good.size() / 2] = static_cast<char>(flipped[good.size() / 2] ^ 1);
  WriteAll(weights, flipped);
  const std::string digest = MessageOfLoading(bundle);
  EXPECT_CONTAINS(digest, "have the SHA-256 ");
  EXPECT_CONTAINS(digest, "the manifest says ");

  // Below the digest: a file that is what its manifest says, but not what safetensors allows.
  WriteAll(weights, good);
  const std::uint64_t header = [&good] {
    std::uint64_t length = 0;
    std::memcpy(&length, good.data(), 8);
    return length;
  }();
  const struct
  {
    std::string Bytes, Message;
  } damaged[] = {
    { good.substr(0, good.size() - 100), "truncated" },
    { good.substr(0, 4), "truncated" },
    { good.substr(0, 100), "truncated" },
    { good + "surplus", "damaged" },
    { std::string(8, '\xff') + good.substr(8), "not a safetensors file" },
    { good.substr(0, 8) + "x" + good.substr(9), "not a JSON object" },
    { Replaced(good, "\"data_offsets\":[0,", "\"data_offsets\":[1,"), "but its shape needs" },
    { Replaced(good, "\"F32\"", "\"Q99\""), "type 'Q99'" },
    { Replaced(good, "\"shape\":[", "\"shape\":-"), "damaged" },
    { Replaced(good, "\"bn.bias\"", "\"bx.bias\""), "'bx.bias' that the network does not have" },
  };
  for (const auto & one : damaged)
  {
    itk::TorchModel::WriteSeededBundle(bundle, TinySegmentationManifest(2), 1);
    ReplaceWeights(bundle, one.Bytes);
    if (one.Message == "damaged")
    {
      // Either the JSON or the entry is refused.
      EXPECT_FALSE(MessageOfLoading(bundle).empty());
      continue;
    }
    EXPECT_CONTAINS(MessageOfLoading(bundle), one.Message);
  }

  std::string       notFinite = good;
  const float       nan = std::nanf("");
  const std::size_t last = good.size() - sizeof(float);
  ASSERT_GT(last, 8 + header);
  std::memcpy(&notFinite[last], &nan, sizeof(float));
  itk::TorchModel::WriteSeededBundle(bundle, TinySegmentationManifest(2), 1);
  ReplaceWeights(bundle, notFinite);
  EXPECT_CONTAINS(MessageOfLoading(bundle), "NaN or infinity in '");

  // A network of another width.
  itk::TorchModel::WriteSeededBundle(bundle, TinySegmentationManifest(2), 1);
  const std::string path = bundle + "/configs/metadata.json";
  WriteAll(path, Replaced(ReadAll(path), "\"width\": 2", "\"width\": 3"));
  EXPECT_CONTAINS(MessageOfLoading(bundle), "the network needs");
}

TEST(TorchModel, UntrustedManifestIsChecked)
{
  const TemporaryFolder folder;
  const std::string     bundle = folder / "g";
  itk::TorchModel::WriteSeededBundle(bundle, TinyGradingManifest(), 1);
  const std::string path = bundle + "/configs/metadata.json";
  const std::string good = ReadAll(path);
  WriteAll(folder / "outside.safetensors", "secret");
  std::filesystem::create_symlink(folder / "outside.safetensors", bundle + "/models/link.safetensors");
  const struct
  {
    std::string From, To, Message;
  } cases[] = {
    { "\"models/model.safetensors\"", "\"/etc/passwd\"", "does not lie inside the bundle" },
    { "\"models/model.safetensors\"", "\"models/../../outside.safetensors\"", "does not lie inside the bundle" },
    { "\"models/model.safetensors\"", "\"models/link.safetensors\"", "leads out to" },
    { "\"PereiraGradingNetwork\"", "\"ResNet\"", "'ResNet' is not one of this module" },
    { "\"width\": 4", "\"width\": 1e9", "network.width must be a whole number from 1 to 1024" },
    { "\"width\": 4", "\"width\": -4", "network.width must be a whole number from 1 to 1024, it is -4" },
    { "\"width\": 4", "\"width\": 4, \"groups\": 3", "cannot be built of 3 groups" },
    { "\"width\": 4", "\"width\": 4, \"groups\": 0", "network.groups must be a whole number from 1 to 1024" },
    { "\"width\": 4", "\"width\": 4, \"groups\": 2", "model.safetensors" },
    { "\"task\": \"grading\"", "\"task\": 3", "gliomagrading.task must be a text" },
    { "\"margin\": 10.0", "\"margin\": \"10\"", "region.margin must be a number" },
    { "\"axis_order\": \"zyx\"", "\"axis_order\": \"yxz\"", "one of 'zyx', 'xyz'" },
    { "\"upper_quantile\": 1.0", "\"upper_quantile\": 0.0", "larger than lower_quantile" },
    { "\"output_activation\": \"logits\"", "\"output_activation\": \"sigmoid\"", "gives logits" },
    { "\"num_channels\": 4", "\"num_channels\": 3", "is 3, but channel_def names 4" },
    { "{", "[", "is not valid JSON" },
  };
  for (const auto & one : cases)
  {
    WriteAll(path, Replaced(good, one.From, one.To));
    EXPECT_CONTAINS(MessageOfLoading(bundle), one.Message);
  }
  for (const std::string & name : { std::string("HGG"),
                                    std::string(),
                                    std::string("\\u001b[31mL"),
                                    std::string("a\\nb"),
                                    std::string("\\u009bL"),
                                    std::string(300, 'a') })
  {
    WriteAll(path, Replaced(good, "\"LGG\"", '"' + name + '"'));
    EXPECT_CONTAINS(MessageOfLoading(bundle),
                    name == "HGG" ? "has the name of another one" : "has no name that can be shown");
  }
  // It would take a gigabyte before the weights were looked at.
  WriteAll(path, Replaced(good, "\"width\": 4", "\"width\": 512"));
  EXPECT_CONTAINS(MessageOfLoading(bundle), "A network of width 512 has");
  WriteAll(path, Replaced(good, "\"width\": 4", "\"width\": 1024, \"groups\": 2"));
  EXPECT_CONTAINS(MessageOfLoading(bundle), "A network of width 1024 has");
  const std::string dense = folder / "dense";
  itk::TorchModel::WriteSeededBundle(dense, TinySegmentationManifest(2, 3, true), 1);
  const std::string its = dense + "/configs/metadata.json";
  WriteAll(its, Replaced(ReadAll(its), "\"width\": 2", "\"width\": 2, \"groups\": 2"));
  EXPECT_CONTAINS(MessageOfLoading(dense), "a segmentation network has none");
  itk::TorchModelManifest grouped = TinySegmentationManifest(2, 3, true);
  grouped.Groups = 2;
  EXPECT_CONTAINS(MessageOf([&] { itk::TorchModel::WriteSeededBundle(folder / "grouped", grouped, 1); }),
                  "a segmentation network has none");
  EXPECT_FALSE(std::filesystem::exists(folder / "grouped"));
  std::string deep;
  for (unsigned int i = 0; i < 100000; ++i)
  {
    deep += "{\"a\":";
  }
  WriteAll(path, "{\"name\":\"x\",\"gliomagrading\":" + deep + '1' + std::string(100001, '}'));
  EXPECT_CONTAINS(MessageOfLoading(bundle), "is nested more than 64 deep");
  std::filesystem::remove(path);
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  EXPECT_CONTAINS(MessageOfLoading(bundle), "cannot be opened");
  std::filesystem::remove(path);
  // Absent: nothing is guessed.
  WriteAll(path, Replaced(good, "\"channel_def\"", "\"other_key\""));
  EXPECT_CONTAINS(MessageOfLoading(bundle), "does not say: channels");
  // The sidecar says it.
  WriteAll(bundle + "/gliomagrading.json", R"({"channels": ["T1", "T1c", "T2", "FLAIR"]})");
  EXPECT_EQ(MessageOfLoading(bundle), "");
  WriteAll(bundle + "/gliomagrading.json", R"({"region": {"output_size": 96}})");
  WriteAll(path, good);
  EXPECT_CONTAINS(MessageOfLoading(bundle), "contradict each other in region.output_size");
  EXPECT_CONTAINS(MessageOfLoading(folder / "nowhere"), "does not exist");
}

TEST(TorchModel, TorchScriptWantsConsent)
{
  const TemporaryFolder folder;
  WriteAll(folder / "model.ts", "not even a program");
  auto model = itk::TorchModel::New();
  model->SetPath(folder / "model.ts");
  EXPECT_CONTAINS(MessageOf([&] { model->Load(); }), "SetManifest()");
  itk::TorchModelManifest manifest;
  manifest.Task = "grading";
  manifest.ChannelNames = { "T1" };
  manifest.ClassNames = { "LGG", "HGG" };
  manifest.OutputActivation = "logits";
  model->SetManifest(manifest);
  EXPECT_CONTAINS(MessageOf([&] { model->Load(); }), "does not say: axis_order");
  manifest.AxisOrder = "zyx";
  model->SetManifest(manifest);
  EXPECT_CONTAINS(MessageOf([&] { model->Load(); }), "SetTrustModelCode(true)");
  model->TrustModelCodeOn();
  const std::string damaged = MessageOf([&] { model->Load(); });
  EXPECT_CONTAINS(damaged, "model.ts");
  EXPECT_EQ(damaged.find("SetTrustModelCode"), std::string::npos) << damaged;
  EXPECT_FALSE(model->IsLoaded());
}

TEST(TorchModel, GoldenPairFindsAnotherOutput)
{
  const TemporaryFolder folder;
  const std::string     bundle = folder / "s";
  const auto            model = LoadSeeded(bundle, TinySegmentationManifest());
  EXPECT_TRUE(model->VerifyGoldenPair());
  const auto & golden = model->GetManifest().GoldenOutput;
  ASSERT_EQ(golden.size(), 4u);
  EXPECT_NEAR(golden[0] + golden[1], 1.0, 1e-6);
  const std::string path = bundle + "/configs/metadata.json";
  const std::string text = ReadAll(path);
  const auto        begin = text.find("\"output\": [");
  ASSERT_NE(begin, std::string::npos);
  WriteAll(path, text.substr(0, begin) + "\"output\": [0.5, 0.5, 0.9, 0.2, " + text.substr(text.find('[', begin) + 1));
  model->Load();
  EXPECT_CONTAINS(MessageOf([&] { model->VerifyGoldenPair(); }), "the manifest says 0.5 0.5 0.9 0.2");
}

TEST(TorchModel, LetsGoOfAnInterpretersLockWhileItComputes)
{
  const TemporaryFolder folder;
  const auto            grader = LoadSeeded(folder / "g", TinyGradingManifest());
  int                   released = 0;
  int                   taken = 0;
  itk::TorchModel::SetInterpreterUnlock([&] {
    ++released;
    return std::shared_ptr<void>(&taken, [&](void *) { ++taken; });
  });
  grader->VerifyGoldenPair();
  EXPECT_GT(released, 0);
  EXPECT_EQ(released, taken);
  // An exception takes it again too.
  const int                    before = taken;
  itk::TorchExplanationRequest request;
  request.Layers = { "nonsense" };
  EXPECT_THROW(grader->Explain(RandomCube(4, 72, 72, 72).View, request), itk::ExceptionObject);
  EXPECT_GT(taken, before);
  EXPECT_EQ(released, taken);
  itk::TorchModel::SetInterpreterUnlock({});
  grader->VerifyGoldenPair();
  EXPECT_EQ(released, taken);
}

TEST(TorchModel, UnknownDeviceAndPrecisionAreRefused)
{
  const TemporaryFolder folder;
  const std::string     bundle = folder / "g";
  const auto            model = LoadSeeded(bundle, TinyGradingManifest());
  model->SetDevice("gpu");
  EXPECT_CONTAINS(MessageOf([&] { model->Load(); }), "'gpu' is not known");
  model->SetDevice("cuda:99");
  EXPECT_CONTAINS(MessageOf([&] { model->Load(); }), "'cuda:99' is not there");
  model->SetDevice("cpu");
  model->SetPrecision(itk::TorchModelEnums::Precision::BFloat16);
  EXPECT_CONTAINS(MessageOf([&] { model->Load(); }), "bfloat16 is for segmentation only");
  model->SetPrecision(static_cast<itk::TorchModelEnums::Precision>(7));
  EXPECT_CONTAINS(MessageOf([&] { model->Load(); }), "precision is 7");
}

TEST(TorchModel, BFloat16StaysNearFloat32)
{
  const TemporaryFolder folder;
  const auto            model = LoadSeeded(folder / "s", TinySegmentationManifest());
  const Cube            cube = RandomCube(4, 48, 56, 48);
  const auto            exact = model->ComputeProbabilities(cube.View).Buffer;
  model->SetPrecision(itk::TorchModelEnums::Precision::BFloat16);
  const std::string message = MessageOf([&] { model->Load(); });
  if (!message.empty())
  {
    EXPECT_CONTAINS(message, "no bfloat16 arithmetic");
    GTEST_SKIP() << "This processor has no bfloat16 arithmetic";
  }
  const auto half = model->ComputeProbabilities(cube.View).Buffer;
  ASSERT_EQ(half.size(), exact.size());
  double mean = 0.0;
  for (std::size_t i = 0; i < half.size(); ++i)
  {
    mean += std::abs(half[i] - exact[i]) / static_cast<double>(half.size());
    ASSERT_NEAR(half[i], exact[i], 0.1);
  }
  EXPECT_LT(mean, 0.02);
  EXPECT_NE(half, exact);
  EXPECT_TRUE(model->VerifyGoldenPair());
}

TEST(TorchModel, IsLoadedTellsOfWhatIsSet)
{
  const TemporaryFolder folder;
  auto                  other = TinyGradingManifest();
  other.ClassNames = { "A", "B" };
  itk::TorchModel::WriteSeededBundle(folder / "b", other, 2);
  const auto model = LoadSeeded(folder / "a", TinyGradingManifest(), 1);
  const Cube cube = RandomCube(4, 72, 72, 72);
  ASSERT_TRUE(model->IsLoaded());

  model->SetPath(folder / "b");
  EXPECT_FALSE(model->IsLoaded());
  EXPECT_CONTAINS(MessageOf([&] { model->ComputeLogits(cube.View); }), "call Load()");
  model->SetPath(folder / "a");
  EXPECT_TRUE(model->IsLoaded());
  model->SetDevice("cuda:99");
  EXPECT_FALSE(model->IsLoaded());
  model->SetDevice("cpu");
  model->SetPrecision(itk::TorchModelEnums::Precision::BFloat16);
  EXPECT_FALSE(model->IsLoaded());
  model->SetPrecision(itk::TorchModelEnums::Precision::Float32);
  EXPECT_TRUE(model->IsLoaded());

  // The manifest of another bundle is not that of the weights.
  model->SetPath(folder / "b");
  model->ReadManifest();
  EXPECT_EQ(model->GetManifest().ClassNames, other.ClassNames);
  model->SetPath(folder / "a");
  EXPECT_FALSE(model->IsLoaded());
  model->Load();
  EXPECT_EQ(model->GetManifest().ClassNames.front(), "LGG");

  const std::string weights = folder / "b/models/model.safetensors";
  std::string       bytes = ReadAll(weights);
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  WriteAll(weights, bytes);
  model->SetPath(folder / "b");
  EXPECT_CONTAINS(MessageOf([&] { model->Load(); }), "have the SHA-256");
  EXPECT_FALSE(model->IsLoaded());
  EXPECT_CONTAINS(MessageOf([&] { model->ComputeLogits(cube.View); }), "call Load()");
}

TEST(TorchModel, AnotherManifestIsAChange)
{
  const TemporaryFolder folder;
  const std::string     bundle = folder / "g";
  const auto            model = LoadSeeded(bundle, TinyGradingManifest());
  const auto            before = model->GetMTime();
  model->Load();
  model->ReadManifest();
  EXPECT_EQ(model->GetMTime(), before) << "the same bundle again";
  EXPECT_TRUE(model->IsLoaded());

  const std::string path = bundle + "/configs/metadata.json";
  WriteAll(path, Replaced(ReadAll(path), "\"layout\"", "\"temperature\": 2.5, \"layout\""));
  model->Load();
  EXPECT_EQ(model->GetManifest().Temperature, 2.5);
  EXPECT_GT(model->GetMTime(), before);

  // What Load() finds out by itself is no other manifest.
  WriteAll(path, Replaced(ReadAll(path), "\"layers\"", "\"layers of old\""));
  model->Load();
  const auto layers = model->GetManifest().Layers.size();
  EXPECT_GT(layers, 0U);
  model->ReadManifest();
  EXPECT_TRUE(model->IsLoaded());
  EXPECT_EQ(model->GetManifest().Layers.size(), layers);
}

TEST(TorchModel, NumbersOfTheManifestAreChecked)
{
  const TemporaryFolder folder;
  WriteAll(folder / "model.ts", "not even a program");
  itk::TorchModelManifest manifest = TinySegmentationManifest();
  manifest.Network.clear();
  manifest.OutputActivation = "logits";
  manifest.AxisOrder = "zyx";
  manifest.Halo = 22;
  manifest.TileStep = 4;
  const auto messageWith = [&](const std::function<void(itk::TorchModelManifest &)> & change) {
    itk::TorchModelManifest changed = manifest;
    change(changed);
    const auto model = itk::TorchModel::New();
    model->SetPath(folder / "model.ts");
    model->SetManifest(changed);
    return MessageOf([&] { model->Load(); });
  };
  const std::string good = "SetTrustModelCode(true)"; // the next question
  EXPECT_CONTAINS(messageWith([](auto &) {}), good);
  for (const double temperature : { 0.0, -1.0, 1e4, std::nan("") })
  {
    EXPECT_CONTAINS(messageWith([&](auto & m) { m.Temperature = temperature; }), "says the temperature");
  }
  EXPECT_CONTAINS(messageWith([](auto & m) { m.Temperature = 1e-3; }), good);
  EXPECT_CONTAINS(messageWith([](auto & m) { m.TileStep = 0; }), "tile_step of 0");
  EXPECT_CONTAINS(messageWith([](auto & m) { m.PatchSize = { { 0, 48, 64 } }; }), good);
  EXPECT_CONTAINS(messageWith([](auto & m) { m.PatchSize = { { 0, 50, 64 } }; }), "patch_size of 50; multiples of 4");
  // A graph without a halo may want one size along one axis alone.
  const auto mixed = [](auto & m) {
    m.Halo = 0;
    m.TileStep = 32;
    m.PatchSize = { { 0, 0, 80 } };
  };
  EXPECT_CONTAINS(messageWith(mixed), good);
  EXPECT_CONTAINS(messageWith([](auto & m) { m.PatchSize = { { 0, 64, 44 } }; }), "patch_size of 44");

  // A bundle's too.
  const std::string bundle = folder / "s";
  itk::TorchModel::WriteSeededBundle(bundle, TinySegmentationManifest(), 1);
  const std::string path = bundle + "/configs/metadata.json";
  std::string       metadata = ReadAll(path);
  const auto        begin = metadata.find('[', metadata.find("\"patch_size\""));
  metadata.replace(begin, metadata.find(']', begin) + 1 - begin, "[64, 2, 64]");
  WriteAll(path, metadata);
  EXPECT_CONTAINS(MessageOfLoading(bundle), "patch_size of 2");
}

TEST(TorchModel, WhatABundleLeavesOpenIsTakenFromTheGivenManifest)
{
  const TemporaryFolder folder;
  const std::string     bundle = folder / "g";
  itk::TorchModel::WriteSeededBundle(bundle, TinyGradingManifest(), 1);
  const auto model = itk::TorchModel::New();
  model->SetPath(bundle);
  itk::TorchModelManifest given;
  given.Temperature = 2.5;
  given.MinimumComponentShare = 0.5;
  given.IntendedUse = "tests";
  model->SetManifest(given);
  model->Load();
  EXPECT_EQ(model->GetManifest().Temperature, 2.5);
  EXPECT_EQ(model->GetManifest().MinimumComponentShare, 0.5);
  EXPECT_EQ(model->GetManifest().IntendedUse, "tests");

  const auto messageWith = [&](const std::function<void(itk::TorchModelManifest &)> & change) {
    itk::TorchModelManifest other;
    change(other);
    model->SetManifest(other);
    return MessageOf([&] { model->Load(); });
  };
  EXPECT_CONTAINS(messageWith([](auto & m) { m.GoldenOutput = { 0.5, 0.5 }; }), "each other in golden.output");
  EXPECT_CONTAINS(messageWith([](auto & m) { m.Layers.resize(1); }), "each other in layers");
  EXPECT_CONTAINS(messageWith([](auto & m) { m.Padded = true; }), "each other in network.padded");
  EXPECT_CONTAINS(messageWith([](auto & m) { m.Name = "another"; }), "each other in name");
  EXPECT_CONTAINS(messageWith([](auto & m) { m.Groups = 3; }), "each other in network.groups");
  EXPECT_EQ(messageWith([&](auto & m) { m = TinyGradingManifest(); }), "");
}
