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
#include "BundleWriter.h"

#include "BundleManifest.h"
#include "PereiraNetworks.h"
#include "Safetensors.h"
#include "itkSha256.h"

#include "itkTorchModel.h"

#include <algorithm>
#include <filesystem>

namespace itk
{
namespace
{
void
SetOrCheck(const char * what, unsigned int & value, unsigned int unset, unsigned int wanted)
{
  if (value != unset && value != wanted)
  {
    itkGenericExceptionMacro("The manifest says " << what << " " << value << ", its network has " << wanted);
  }
  value = wanted;
}
} // namespace

void
CompleteNativeManifest(TorchModelManifest & manifest)
{
  const bool dense = manifest.Network == "PereiraSegmentationNetwork";
  if (!dense && manifest.Network != "PereiraGradingNetwork")
  {
    itkGenericExceptionMacro("The network '" << manifest.Network
                                             << "' is not one of this module: PereiraSegmentationNetwork or "
                                                "PereiraGradingNetwork");
  }
  const std::string task = dense ? "segmentation" : "grading";
  if (!manifest.Task.empty() && manifest.Task != task)
  {
    itkGenericExceptionMacro("The manifest says the task '" << manifest.Task << "', its network is for " << task);
  }
  manifest.Task = task;
  if (manifest.OutputActivation.empty())
  {
    manifest.OutputActivation = "logits";
  }
  if (manifest.AxisOrder.empty())
  {
    manifest.AxisOrder = "zyx";
  }
  if (manifest.WeightsFile.empty())
  {
    manifest.WeightsFile = "models/model.safetensors";
  }
  if (dense)
  {
    SegmentationNetworkOptions options;
    options.Width = 1;
    options.Levels = manifest.Levels;
    options.Padded = manifest.Padded;
    const PereiraSegmentationNetwork geometry(options);
    SetOrCheck("a halo of", manifest.Halo, 0, static_cast<unsigned int>(geometry->Halo()));
    SetOrCheck("a tile step of", manifest.TileStep, 1, static_cast<unsigned int>(geometry->Step()));
    if (manifest.Groups != 1)
    {
      itkGenericExceptionMacro("The manifest says network.groups "
                               << manifest.Groups << ": a segmentation network has none; leave it out");
    }
    return;
  }
  manifest.Layers.clear();
  for (const char * name : { "stem", "res1", "res2", "res3", "res4" })
  {
    double offset = 0.0;
    double step = 1.0;
    GradingLayerCells(name, manifest.Padded, offset, step);
    TorchLayerGeometry layer;
    layer.Layer = name;
    layer.Offset.fill(offset);
    layer.Step.fill(step);
    manifest.Layers.push_back(layer);
  }
}

TorchModelManifest
WriteNativeBundle(const std::string & bundle, TorchModelManifest manifest, const torch::nn::Module & network)
{
  manifest.WeightsFile = "models/model.safetensors";
  CompleteNativeManifest(manifest);
  const std::filesystem::path weights = std::filesystem::path(bundle) / manifest.WeightsFile;
  std::error_code             error;
  std::filesystem::create_directories(weights.parent_path(), error);
  if (error)
  {
    itkGenericExceptionMacro("The folder '" << weights.parent_path().string()
                                            << "' cannot be made: " << error.message());
  }
  WriteSafetensors(weights.string(), StateOfModule(network), { { "network", manifest.Network } });
  manifest.WeightsBytes = std::filesystem::file_size(weights);
  manifest.WeightsSha256 = Sha256OfFile(weights.string());

  const bool   dense = manifest.Task == "segmentation";
  unsigned int size = manifest.OutputSize;
  if (dense)
  {
    // The smallest patch with more than one pooling cell of output.
    size = (2 * manifest.Halo + 2 * manifest.TileStep) / manifest.TileStep * manifest.TileStep;
    size = std::max(size, 4 * manifest.TileStep);
  }
  manifest.GoldenSeed = 20180925;
  manifest.GoldenSize.fill(size == 0 ? 96 : size);
  manifest.GoldenOutput.clear();
  WriteBundleManifest(bundle, manifest);
  const auto model = TorchModel::New();
  model->SetPath(bundle);
  model->Load();
  manifest.GoldenOutput = model->ComputeGoldenOutput();
  WriteBundleManifest(bundle, manifest);
  return manifest;
}

TorchVolume
GoldenInput(std::uint64_t seed, const std::array<unsigned int, 3> & size, unsigned int components)
{
  TorchVolume volume;
  volume.Components = components;
  volume.RegionSize = Size<3>{ { size[0], size[1], size[2] } };
  volume.Buffer.resize(std::size_t{ size[0] } * size[1] * size[2] * components);
  for (float & value : volume.Buffer)
  {
    seed += 0x9E3779B97F4A7C15u;
    std::uint64_t z = seed;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    z ^= z >> 31;
    value = static_cast<float>(static_cast<double>(z >> 40) / 4194304.0 - 2.0);
  }
  return volume;
}
} // namespace itk
