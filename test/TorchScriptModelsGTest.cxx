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
// Models of others in the pipeline: what they may give, and what must be refused without harm. And what torch alone can
// say of our own: where it computes, and in which layout.
#include "BundleWriter.h"
#include "ErrorMessages.h"
#include "ObliqueImage.h"
#include "SeededBundles.h"

#include "itkCommand.h"
#include "itkExplanationSanityCalculator.h"
#include "itkImageFileWriter.h"
#include "itkImageRegionIteratorWithIndex.h"
#include "itkMultiThreaderBase.h"
#include "itkTensorProductN4.h"
#include "itkTorchArchive.h"
#include "itkTorchModelTrainer.h"
#include "itkTorchSegmentationFilter.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/autocast_mode.h>
#include <ATen/record_function.h>
#include <torch/script.h>
#include <torch/torch.h>

#include <gtest/gtest.h>

#include <dlfcn.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <set>

namespace
{
using VectorImageType = itk::VectorImage<float, 3>;
using FilterType = itk::TorchSegmentationFilter<>;
using torch::Tensor;

Tensor
Kernel(int64_t classes = 2)
{
  return torch::randn({ classes, 2, 3, 3, 3 }, at::make_generator<at::CPUGeneratorImpl>(4)) * 0.3;
}

/** forward of one padded convolution; \a body makes the result of x. */
torch::jit::Module
Network(const std::string & body, const Tensor & kernel = Kernel(), bool training = false)
{
  torch::jit::Module module("Foreign");
  module.register_parameter("weight", kernel, false);
  module.register_attribute("training", c10::BoolType::get(), training);
  module.define("def forward(self, x):\n" + body);
  return module;
}

itk::TorchModelManifest
Manifest(const std::string & activation = "logits", unsigned int classes = 2)
{
  itk::TorchModelManifest manifest;
  manifest.Task = "segmentation";
  manifest.OutputActivation = activation;
  manifest.AxisOrder = "zyx";
  manifest.ChannelNames = { "T1", "T2" };
  for (unsigned int i = 0; i < classes; ++i)
  {
    manifest.ClassNames.push_back("class " + std::to_string(i));
  }
  return manifest;
}

itk::TorchModel::Pointer
Unloaded(const std::string & file, const itk::TorchModelManifest & manifest = Manifest())
{
  auto model = itk::TorchModel::New();
  model->SetPath(file);
  model->SetManifest(manifest);
  model->TrustModelCodeOn();
  return model;
}

VectorImageType::Pointer
Image(unsigned int components = 2)
{
  auto image = oblique::Make<VectorImageType>(12, 10, 9, components);
  oblique::FillWithNoise(image.GetPointer());
  for (itk::SizeValueType k = 0; k < components * image->GetBufferedRegion().GetNumberOfPixels(); ++k)
  {
    image->GetBufferPointer()[k] = 4.0F * image->GetBufferPointer()[k] - 2.0F;
  }
  return image;
}

/** A copy of the image as [1, C, z, y, x]. */
Tensor
TensorOf(const VectorImageType * image)
{
  return torch::from_blob(const_cast<float *>(image->GetBufferPointer()), { 1, 9, 10, 12, 2 })
    .permute({ 0, 4, 1, 2, 3 })
    .clone();
}

/** Largest difference of the filter's probabilities from those of a tensor. */
double
Difference(FilterType * filter, const Tensor & truth)
{
  const auto * image = filter->GetProbabilities();
  const Tensor found = torch::from_blob(const_cast<float *>(image->GetBufferPointer()), { 1, 9, 10, 12, truth.size(1) })
                         .permute({ 0, 4, 1, 2, 3 });
  EXPECT_GT(found.var().item<double>(), 1e-4) << "an output that says nothing";
  return (found - truth).abs().max().item<double>();
}

/** What torch tells of each convolution as it begins. */
struct ConvolutionObserver
{
  static inline std::size_t s_Convolutions = 0;
  static inline std::size_t s_ChannelsLast = 0; // image and kernel

  static std::unique_ptr<at::ObserverContext>
  Observe(const at::RecordFunction & function)
  {
    if (std::string(function.name()) == "aten::convolution")
    {
      ++s_Convolutions;
      const auto lies = [&](std::size_t input) {
        return function.inputs().at(input).toTensor().is_contiguous(torch::MemoryFormat::ChannelsLast3d);
      };
      s_ChannelsLast += lies(0) && lies(1) ? 1 : 0;
    }
    return nullptr;
  }
};

/** A training of one step on one made-up case in the folder. */
itk::TorchModelTrainer::Pointer
TinyTrainer(const TemporaryFolder & folder, const std::string & output)
{
  using ImageType = itk::Image<float, 3>;
  std::string row;
  for (const char * const file : { "t1.nrrd", "t1c.nrrd", "t2.nrrd", "flair.nrrd", "seg.nrrd" })
  {
    const bool mask = std::string(file) == "seg.nrrd";
    auto       image = ImageType::New();
    image->SetRegions(ImageType::SizeType{ { 16, 16, 16 } });
    const double spacing[3] = { 9.0, 9.0, 9.0 };
    image->SetSpacing(spacing);
    image->Allocate(true);
    // Within a border of nothing a head of 1260 ml, of it a part a tumour.
    const ImageType::RegionType                  head({ { 2, 2, 2 } }, { { 12, 12, 12 } });
    itk::ImageRegionIteratorWithIndex<ImageType> it(image, head);
    for (auto value = static_cast<float>(row.size() + 1); !it.IsAtEnd(); ++it, value += 1.0F)
    {
      it.Set(!mask || it.GetIndex()[0] > 9 ? value : 0.0F);
    }
    auto writer = itk::ImageFileWriter<ImageType>::New();
    writer->SetFileName(folder / file);
    writer->SetInput(image);
    writer->Update();
    row += std::string(",") + file;
  }
  std::ofstream(folder / "COHORT.csv") << "case,t1,t1c,t2,flair,seg\none" << row << '\n';
  auto trainer = itk::TorchModelTrainer::New();
  trainer->AddCohort(folder / "COHORT.csv");
  trainer->SetOutput(folder / output);
  trainer->SetSpacing(9.0);
  trainer->SetBiasCorrection("none");
  trainer->SetWidth(4);
  trainer->SetLevels(2);
  trainer->PaddedOn();
  trainer->SetPatchSize(8);
  trainer->SetDevice("cpu");
  trainer->SetMaximumSteps(1);
  return trainer;
}

class TorchScriptModels : public ::testing::Test
{
protected:
  std::string
  Save(const torch::jit::Module & module)
  {
    const std::string file = m_Folder / ("model" + std::to_string(m_Count++) + ".ts");
    module.save(file);
    return file;
  }

  FilterType::Pointer
  Filter(const itk::TorchModel * model)
  {
    auto filter = FilterType::New();
    filter->SetInput(m_Image);
    filter->SetModel(model);
    filter->GenerateProbabilitiesOn();
    return filter;
  }

  const TemporaryFolder          m_Folder;
  const VectorImageType::Pointer m_Image = Image();
  const Tensor                   m_Tensor = TensorOf(m_Image);
  unsigned int                   m_Count{ 0 };
};
} // namespace

TEST_F(TorchScriptModels, EveryOutputAndActivationIsRead)
{
  const std::string convolution = "    y = torch.conv3d(x, self.weight, None, [1, 1, 1], [1, 1, 1])\n";
  const struct
  {
    std::string Activation, Result;
    int64_t     Classes;
  } rows[] = {
    { "logits", "y", 2 },
    { "logits", "y", 4 },
    { "logits", "(y, x)", 2 },
    { "logits", "{'seg': y}", 2 },
    { "logits", "[y, x]", 2 },
    { "softmax", "torch.softmax(y, 1)", 3 },
    { "sigmoid", "torch.sigmoid(y)", 1 },
    { "sigmoid", "torch.sigmoid(y)", 3 },
    { "sigmoid-logits", "y", 1 },
    { "sigmoid-logits", "y", 3 },
  };
  for (const auto & row : rows)
  {
    const Tensor kernel = Kernel(row.Classes);
    const auto   model = Unloaded(Save(Network(convolution + "    return " + row.Result + "\n", kernel)),
                                Manifest(row.Activation, static_cast<unsigned int>(row.Classes)));
    model->Load();
    auto filter = Filter(model);
    filter->Update();
    const Tensor logits = torch::conv3d(m_Tensor, kernel, {}, 1, 1);
    const bool   exclusive = row.Activation == "logits" || row.Activation == "softmax";
    const Tensor truth = exclusive ? torch::softmax(logits, 1) : torch::sigmoid(logits);
    EXPECT_LT(Difference(filter, truth), 1e-5) << row.Activation << ' ' << row.Result;
    // Overlapping classes: 1 + the most probable one above 0.5.
    const auto [largest, label] = truth.max(1);
    const Tensor expected = exclusive ? label : torch::where(largest > 0.5, label + 1, torch::zeros_like(label));
    const Tensor flat = expected.flatten();
    std::size_t  differing = 0;
    for (int64_t k = 0; k < flat.numel(); ++k)
    {
      differing += filter->GetOutput()->GetBufferPointer()[k] != flat[k].item<int64_t>();
    }
    EXPECT_EQ(differing, 0u) << row.Activation << ' ' << row.Result;
  }
}

TEST_F(TorchScriptModels, AreEvaluatedAndMustRepeatThemselves)
{
  const std::string convolution = "    y = torch.conv3d(x, self.weight, None, [1, 1, 1], [1, 1, 1])\n";
  // Dropout of a module in training mode ends with evaluation mode.
  const auto saved = Save(Network(convolution + "    return torch.dropout(y, 0.5, self.training)\n", Kernel(), true));
  const auto model = Unloaded(saved);
  model->Load();
  auto filter = Filter(model);
  filter->Update();
  EXPECT_LT(Difference(filter, torch::softmax(torch::conv3d(m_Tensor, Kernel(), {}, 1, 1), 1)), 1e-5);
  // Baked in, as a trace in training mode has it, it does not.
  for (const char * noise :
       { "torch.dropout(y, 0.1, True)", "torch.feature_dropout(y, 0.5, True)", "y + torch.randn_like(y)" })
  {
    const auto unsteady = Unloaded(Save(Network(convolution + "    return " + noise + "\n")));
    // The dropout of two channels gives the same twice in a quarter of all pairs.
    for (int attempt = 0; attempt < 8; ++attempt)
    {
      EXPECT_CONTAINS(MessageOf([&] { unsteady->Load(); }), "Two forwards of");
      EXPECT_FALSE(unsteady->IsLoaded());
    }
  }
}

TEST_F(TorchScriptModels, BadModelsAreNamedAndThePipelineGoesOn)
{
  const std::string convolution = "    y = torch.conv3d(x, self.weight, None, [1, 1, 1], [1, 1, 1])\n";
  const auto        good = Unloaded(Save(Network(convolution + "    return y\n")));
  good->Load();
  const Tensor truth = torch::softmax(torch::conv3d(m_Tensor, Kernel(), {}, 1, 1), 1);
  const struct
  {
    const char *              What;
    std::string               Body;
    Tensor                    Kernel;
    std::vector<const char *> Message;
  } rows[] = {
    { "channels", convolution + "    return y\n", torch::ones({ 2, 3, 3, 3, 3 }), { "expected input", "3 channels" } },
    { "type", convolution + "    return y\n", ::Kernel().to(torch::kDouble), { "found Double" } },
    { "classes", convolution + "    return y\n", ::Kernel(3), { "[1, 3, 9, 10, 12]", "names 2 classes" } },
    { "size", convolution + "    return y[:, :, 1:]\n", ::Kernel(), { "8 voxels on axis 2", "which leaves 9" } },
    { "dimensions", convolution + "    return y[0]\n", ::Kernel(), { "output of shape [2, 9, 10, 12]" } },
    { "NaN", convolution + "    return y / (y - y)\n", ::Kernel(), { "NaN or infinity" } },
    { "throw", "    assert x.size(0) > 1, 'no such thing'\n    return x\n", ::Kernel(), { "no such thing" } },
    { "number", "    return 3\n", ::Kernel(), { "returns Int" } },
  };
  auto filter = Filter(good);
  for (const auto & row : rows)
  {
    const auto model = Unloaded(Save(Network(row.Body, row.Kernel)));
    model->Load();
    filter->SetModel(model);
    const std::string message = MessageOf([&] { filter->Update(); });
    for (const char * part : row.Message)
    {
      EXPECT_CONTAINS(message, part) << row.What;
    }
    for (const std::string part : { model->GetPath(), "2 channels", "cpu" })
    {
      EXPECT_CONTAINS(message, part) << row.What;
    }
    EXPECT_TRUE(message.find("12 x 10 x 9 voxels") != std::string::npos ||
                message.find("[1, 2, 9, 10, 12]") != std::string::npos)
      << row.What << ": " << message;
    filter->SetModel(good);
    filter->Update();
    EXPECT_LT(Difference(filter, truth), 1e-5) << "after " << row.What;
  }
  // The image has other channels than the model.
  filter->SetInput(Image(3));
  EXPECT_CONTAINS(MessageOf([&] { filter->Update(); }), "has 3 components");
  filter->SetInput(m_Image);
  filter->Update();
  EXPECT_LT(Difference(filter, truth), 1e-5);
}

TEST_F(TorchScriptModels, InputIsNotWrittenTo)
{
  const auto model = Unloaded(
    Save(Network("    torch.relu_(x)\n    return torch.conv3d(x, self.weight, None, [1, 1, 1], [1, 1, 1])\n")));
  model->Load();
  auto filter = Filter(model);
  filter->Update();
  EXPECT_TRUE(torch::equal(TensorOf(m_Image), m_Tensor));
  EXPECT_LT(Difference(filter, torch::softmax(torch::conv3d(m_Tensor.relu(), Kernel(), {}, 1, 1), 1)), 1e-5);
}

TEST_F(TorchScriptModels, DamagedFilesAndOtherFilesAreRefused)
{
  const std::string file = Save(Network("    return torch.conv3d(x, self.weight, None, [1, 1, 1], [1, 1, 1])\n"));
  std::ifstream     stream(file, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(stream)), std::istreambuf_iterator<char>());
  ASSERT_GT(bytes.size(), 1000u);
  std::string flipped = bytes;
  // Inside the zip's directory.
  flipped[bytes.size() - 60] = static_cast<char>(~flipped[bytes.size() - 60]);
  for (const std::string & damaged : { std::string(),
                                       std::string("no model"),
                                       bytes.substr(0, bytes.size() / 2),
                                       bytes.substr(bytes.size() / 3),
                                       bytes.substr(0, 100),
                                       flipped })
  {
    const std::string other = m_Folder / "damaged.ts";
    std::ofstream(other, std::ios::binary | std::ios::trunc) << damaged;
    const auto        model = Unloaded(other);
    const std::string message = MessageOf([&] { model->Load(); });
    EXPECT_CONTAINS(message, "damaged.ts' cannot be loaded on cpu") << damaged.size();
    EXPECT_FALSE(model->IsLoaded());
  }
  const auto model = Unloaded(file);
  model->Load();
  EXPECT_TRUE(model->IsLoaded());
}

TEST_F(TorchScriptModels, ArchivesAreListedWithoutBeingRun)
{
  torch::jit::Module inner = Network("    return torch.conv3d(x, self.weight, None, [1, 1, 1], [1, 1, 1])\n");
  torch::jit::Module outer("Outer");
  outer.register_module("0", inner);
  outer.register_module("again", Network("    return x\n", Kernel(4)));
  outer.define("def forward(self, x):\n    return self.again.forward(x)\n");
  const std::string file = Save(outer);
  const auto        archive = itk::TorchArchive::Read(file);
  EXPECT_EQ(archive.Class, "Outer");
  ASSERT_EQ(archive.Modules.size(), 2u);
  EXPECT_EQ(archive.Modules[0].Path, "0");
  EXPECT_EQ(archive.Modules[0].Class, "Foreign");
  EXPECT_EQ(archive.Modules[1].Path, "again");
  EXPECT_EQ(archive.Tensors, 2u);
  EXPECT_EQ(archive.TensorBytes, (2u + 4u) * 2u * 27u * sizeof(float));
  EXPECT_GT(archive.SourceBytes, 100u);
  EXPECT_GT(archive.Version, 0u);
  const std::string text = m_Folder / "text.ts";
  std::ofstream(text) << "no archive";
  EXPECT_CONTAINS(MessageOf([&] { itk::TorchArchive::Read(text); }), "is not an archive of torch");
  EXPECT_CONTAINS(MessageOf([&] { itk::TorchArchive::Read(m_Folder / "absent.ts"); }), "absent.ts");
}

TEST_F(TorchScriptModels, AMonaiBundleIsCompletedOnTheModel)
{
  const std::string bundle = m_Folder / "bundle";
  std::filesystem::create_directories(bundle + "/configs");
  std::filesystem::create_directories(bundle + "/models");
  Network("    return torch.conv3d(x, self.weight, None, [1, 1, 1], [1, 1, 1])\n").save(bundle + "/models/model.ts");
  std::ofstream(bundle + "/configs/metadata.json") << R"({"version": "0.1", "network_data_format": {
    "inputs": {"image": {"num_channels": 2, "dtype": "float32", "spatial_shape": ["2*n", "4*n", "*"],
                         "channel_def": {"0": "T1", "1": "T2"}}},
    "outputs": {"pred": {"num_channels": 2, "channel_def": {"0": "background", "1": "tumour"}}}}})";
  auto model = itk::TorchModel::New();
  model->SetPath(bundle);
  model->TrustModelCodeOn();
  EXPECT_CONTAINS(MessageOf([&] { model->Load(); }), "does not say: task, output_activation, axis_order");
  itk::TorchModelManifest said;
  said.Task = "segmentation";
  said.OutputActivation = "logits";
  said.AxisOrder = "zyx";
  model->SetManifest(said);
  const std::string unknown = MessageOf([&] { model->Load(); });
  EXPECT_CONTAINS(unknown, "states no size and SHA-256");
  const std::string digest = unknown.substr(unknown.find("\"sha256\": \"") + 11, 64);
  said.WeightsBytes = std::filesystem::file_size(bundle + "/models/model.ts");
  said.WeightsSha256 = digest;
  model->SetManifest(said);
  model->Load();
  EXPECT_EQ(model->GetManifest().TileStep, 4u);
  EXPECT_EQ(model->GetManifest().ClassNames[1], "tumour");
  auto filter = Filter(model);
  filter->Update();
  EXPECT_LT(Difference(filter, torch::softmax(torch::conv3d(m_Tensor, Kernel(), {}, 1, 1), 1)), 1e-5);
  said.ChannelNames = { "T1", "FLAIR" };
  model->SetManifest(said);
  EXPECT_CONTAINS(MessageOf([&] { model->Load(); }), "contradict each other in channels");
  EXPECT_FALSE(model->IsLoaded());
}

TEST_F(TorchScriptModels, StridedConvolutionsAreRightInBFloat16)
{
  // One column along x, the case that several versions of torch compute wrongly, then all columns alike.
  const auto model = Unloaded(Save(Network("    y = torch.conv3d(x, self.weight, None, [1, 1, 16], [1, 1, 1])\n"
                                           "    return y[:, :, :, :, :1].expand(-1, -1, -1, -1, x.size(4))\n")));
  model->SetPrecision(itk::TorchModel::Precision::BFloat16);
  const std::string message = MessageOf([&] { model->Load(); });
  if (!message.empty())
  {
    EXPECT_CONTAINS(message, "no bfloat16 arithmetic");
    GTEST_SKIP() << "This processor has no bfloat16 arithmetic";
  }
  auto filter = Filter(model);
  filter->Update();
  const auto   rounded = [](const Tensor & x) { return x.to(torch::kBFloat16).to(torch::kFloat); };
  const Tensor column = torch::conv3d(rounded(m_Tensor), rounded(Kernel()), {}, { 1, 1, 16 }, { 1, 1, 1 });
  EXPECT_LT(Difference(filter, torch::softmax(column.expand({ -1, -1, -1, -1, 12 }), 1)), 0.01);
}

// LibTorch brings a std::filesystem of its own, which crashes in its CUDA wheels.
TEST(LibTorch, LeavesTheStandardLibraryToTheSystem)
{
  using RemoveAll = std::uintmax_t (*)(const std::filesystem::path &, std::error_code &);
  const RemoveAll removeAll = &std::filesystem::remove_all;
  Dl_info         where;
  ASSERT_NE(dladdr(reinterpret_cast<const void *>(removeAll), &where), 0);
  EXPECT_CONTAINS(std::string(where.dli_fname), "libstdc++");
}

TEST_F(TorchScriptModels, NothingGlobalIsLeftChanged)
{
  const auto native = LoadSeeded(m_Folder / "native", [] {
    auto manifest = TinySegmentationManifest(2, 3, true);
    manifest.ChannelNames = { "T1", "T2" };
    return manifest;
  }());
  const auto good = Unloaded(Save(Network("    return torch.conv3d(x, self.weight, None, [1, 1, 1], [1, 1, 1])\n")));
  const auto bad = Unloaded(Save(Network("    assert x.size(0) > 1, 'no such thing'\n    return x\n")));
  const int  torchBefore = at::get_num_threads();
  const auto itkBefore = itk::MultiThreaderBase::GetGlobalDefaultNumberOfThreads();
  at::set_num_threads(5);
  for (const auto & model : { native, good, bad })
  {
    if (model != native)
    {
      model->Load();
    }
    EXPECT_EQ(at::get_num_threads(), 5) << "after Load()";
    auto filter = Filter(model);
    filter->GetMultiThreader()->SetMaximumNumberOfThreads(3);
    filter->SetNumberOfWorkUnits(2);
    std::set<int> seen;
    filter->AddObserver(itk::ProgressEvent(), [&](const itk::EventObject &) { seen.insert(at::get_num_threads()); });
    EXPECT_EQ(MessageOf([&] { filter->Update(); }).empty(), model != bad);
    // Between the layers of a network of the module: the work units.
    EXPECT_EQ(seen.count(2), model == native ? 1u : 0u);
    EXPECT_EQ(at::get_num_threads(), 5);
    EXPECT_TRUE(at::GradMode::is_enabled());
    EXPECT_FALSE(at::autocast::is_autocast_enabled(at::kCPU));
    EXPECT_TRUE(at::globalContext().userEnabledMkldnn());
    EXPECT_FALSE(at::globalContext().deterministicAlgorithms());
    EXPECT_EQ(itk::MultiThreaderBase::GetGlobalDefaultNumberOfThreads(), itkBefore);
  }
  at::set_num_threads(torchBefore);
}

// Autocast, inference mode and no gradients are of a thread, the default type is of the process.
TEST_F(TorchScriptModels, ModesOfTheCallerChangeNothing)
{
  const std::string path = m_Folder / "grader";
  itk::TorchModel::WriteSeededBundle(path, TinyGradingManifest(2), 1);
  const std::string foreign = Save(Network("    return torch.conv3d(x, self.weight, None, [1, 1, 1], [1, 1, 1])\n"));
  const itk::TorchVolume       volume = itk::GoldenInput(3, { { 72, 72, 72 } }, 4);
  const itk::TorchVolumeView   view{ volume.Buffer.data(), volume.Components, volume.RegionSize, 0, 0 };
  itk::TorchExplanationRequest request;
  request.Layers = { "res3" };
  request.GuidedBackpropagation = true;

  const auto all = [&](const std::string & mode) {
    std::vector<std::vector<float>> results;
    const auto                      grader = itk::TorchModel::New();
    grader->SetPath(path);
    grader->Load();
    const std::vector<double> logits = grader->ComputeLogits(view);
    results.emplace_back(logits.begin(), logits.end());
    const itk::TorchExplanation explanation = grader->Explain(view, request);
    results.push_back(explanation.GradCAM.at(0).Map.Buffer);
    results.push_back(explanation.Guided.at(0).Map.Buffer);
    const auto network = Unloaded(foreign);
    network->Load();
    const auto filter = Filter(network);
    filter->Update();
    const float * const values = filter->GetProbabilities()->GetBufferPointer();
    results.emplace_back(values, values + 2 * filter->GetProbabilities()->GetBufferedRegion().GetNumberOfPixels());
    const std::vector<float> some(volume.Buffer.begin(), volume.Buffer.begin() + 512);
    const std::vector<float> others(volume.Buffer.begin() + 512, volume.Buffer.begin() + 1024);
    results.push_back(
      { static_cast<float>(itk::ExplanationSanityCalculator::Similarity(some, others, { { 8, 8, 8 } })) });
    const std::vector<unsigned char> mask(some.size(), 1);
    std::vector<float>               image(some.size());
    std::transform(some.begin(), some.end(), image.begin(), [](float value) { return 10.0F + value; });
    const auto bias = itk::TensorProductN4::New();
    bias->UseTorchOperatorsOn();
    bias->Fit(image.data(), mask.data(), nullptr, { { 8, 8, 8 } });
    results.emplace_back(bias->GetLattice().begin(), bias->GetLattice().end());
    itk::TorchModel::WriteSeededBundle(m_Folder / mode + "-seeded", TinyGradingManifest(2), 1);
    for (const char * const made : { "-float32", "-bfloat16" })
    {
      const auto trainer = TinyTrainer(m_Folder, mode + made);
      trainer->SetNumberOfThreads(1);
      trainer->SetMaximumSteps(3);
      trainer->SetPrecision(std::string(made) == "-float32" ? itk::TorchModelTrainer::PrecisionEnum::Float32
                                                            : itk::TorchModelTrainer::PrecisionEnum::BFloat16);
      trainer->Train();
    }
    for (const char * const made : { "-seeded", "-float32", "-bfloat16" })
    {
      std::ifstream     file(m_Folder / mode + made + "/models/model.safetensors", std::ios::binary);
      const std::string content{ std::istreambuf_iterator<char>(file), {} };
      EXPECT_GT(content.size(), 1000u);
      results.emplace_back(content.begin(), content.end());
    }
    return results;
  };
  const auto plain = all("plain");
  const auto check = [&](const std::string & mode) {
    const auto found = all(mode);
    for (std::size_t i = 0; i < plain.size(); ++i)
    {
      EXPECT_TRUE(found[i] == plain[i]) << mode << ": result " << i;
    }
  };
  at::autocast::set_autocast_dtype(at::kCPU, at::kBFloat16);
  at::autocast::set_autocast_enabled(at::kCPU, true);
  at::autocast::increment_nesting();
  check("autocast");
  EXPECT_TRUE(at::autocast::is_autocast_enabled(at::kCPU));
  EXPECT_EQ(at::autocast::decrement_nesting(), 0);
  at::autocast::set_autocast_enabled(at::kCPU, false);
  {
    const c10::InferenceMode inference;
    check("inference");
  }
  {
    const torch::NoGradGuard noGradient;
    check("no-gradients");
  }
  torch::set_default_dtype(caffe2::TypeMeta::Make<double>());
  check("float64");
  torch::set_default_dtype(caffe2::TypeMeta::Make<float>());
}

TEST(TorchModel, AutoIsCudaWhereTorchFindsOne)
{
  EXPECT_EQ(itk::TorchModel::ResolveDevice("auto"), torch::cuda::is_available() ? "cuda" : "cpu");
  for (const char * const name : { "cpu", "cuda", "cuda:1" })
  {
    EXPECT_EQ(itk::TorchModel::ResolveDevice(name), name);
  }
  EXPECT_STREQ(itk::TorchModelTrainer::New()->GetDevice(), "auto");
}

TEST(TorchModelTrainer, ConvolvesInChannelsLast)
{
  const TemporaryFolder folder;
  const auto            trainer = TinyTrainer(folder, "bundle");
  const auto            handle = at::addThreadLocalCallback(
    at::RecordFunctionCallback(&ConvolutionObserver::Observe).needsInputs(true).scopes({ at::RecordScope::FUNCTION }));
  const std::string message = MessageOf([&] { trainer->Train(); });
  at::removeCallback(handle);
  EXPECT_EQ(message, "");
  EXPECT_GT(ConvolutionObserver::s_Convolutions, 6u);
  EXPECT_EQ(ConvolutionObserver::s_ChannelsLast, ConvolutionObserver::s_Convolutions);
}

TEST_F(TorchScriptModels, GiveTheSameOnCuda)
{
  if (!torch::cuda::is_available())
  {
    GTEST_SKIP() << "No CUDA device is here";
  }
  const auto file = Save(Network("    return torch.conv3d(x, self.weight, None, [1, 1, 1], [1, 1, 1])\n"));
  const auto native = m_Folder / "native";
  auto       manifest = TinySegmentationManifest(4, 3, false);
  manifest.ChannelNames = { "T1", "T2" };
  itk::TorchModel::WriteSeededBundle(native, manifest, 1);
  for (const bool foreign : { true, false })
  {
    std::vector<std::vector<float>> found;
    for (const char * device : { "cpu", "cuda:0", "cuda:0" })
    {
      auto model = foreign ? Unloaded(file) : itk::TorchModel::New();
      model->SetPath(foreign ? file : native);
      model->SetDevice(device);
      if (found.size() == 2)
      {
        model->SetPrecision(itk::TorchModel::Precision::BFloat16);
      }
      model->Load();
      auto filter = Filter(model);
      filter->SetTileSize(foreign ? itk::Size<3>{ { 8, 8, 8 } } : itk::Size<3>{ { 52, 52, 52 } });
      filter->Update();
      EXPECT_GT(filter->GetNumberOfComputedTiles(), 1u);
      const float * begin = filter->GetProbabilities()->GetBufferPointer();
      found.emplace_back(begin, begin + 2 * 12 * 10 * 9);
    }
    for (std::size_t k = 0; k < found[0].size(); ++k)
    {
      ASSERT_NEAR(found[1][k], found[0][k], 1e-3);
      ASSERT_NEAR(found[2][k], found[0][k], 0.1);
    }
  }
}
