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
#include "itkTorchModel.h"

#include "BFloat16Autocast.h"
#include "BundleManifest.h"
#include "BundleWriter.h"
#include "DeviceStreams.h"
#include "ExplanationEngine.h"
#include "Float32Convolutions.h"
#include "FusedSegmentation.h"
#include "ModelBackend.h"
#include "PereiraNetworks.h"
#include "TorchModes.h"
#include "TorchThreads.h"

#include "itkMultiThreaderBase.h"

#include <ATen/CPUGeneratorImpl.h>
#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <limits>
#include <mutex>
#include <sstream>
#include <utility>

namespace itk
{
namespace
{
bool
EndsWith(const std::string & text, const std::string & end)
{
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

std::string
Joined(const std::vector<std::string> & names)
{
  std::string text;
  for (const std::string & name : names)
  {
    text += (text.empty() ? "" : ", ") + name;
  }
  return text;
}

torch::Device
DeviceOf(const std::string & name)
{
  const bool numbered = name.rfind("cuda:", 0) == 0 && name.size() > 5 && name.size() < 9 &&
                        name.find_first_not_of("0123456789", 5) == std::string::npos;
  if (name != "cpu" && name != "cuda" && !numbered)
  {
    itkGenericExceptionMacro("The device '" << name << "' is not known: cpu, cuda or cuda:N");
  }
  const torch::Device device(name);
  if (device.is_cuda())
  {
    const auto count = torch::cuda::is_available() ? torch::cuda::device_count() : 0;
    if (std::max<int>(device.index(), 0) >= static_cast<int>(count))
    {
      itkGenericExceptionMacro("The device '" << name << "' is not there: LibTorch finds " << count
                                              << " CUDA devices. Use cpu, or a LibTorch with CUDA");
    }
  }
  return device;
}

bool
ProcessorHasBFloat16()
{
#if (defined(__x86_64__) || defined(__i386__)) && defined(__GNUC__)
  return __builtin_cpu_supports("avx512bf16") != 0;
#else
  return true;
#endif
}

/** The caller's voxels as [1, C, z, y, x] (or x, y, z), not copied on the processor. */
torch::Tensor
TensorOf(const TorchVolumeView & view, bool xyz, const torch::Device & device)
{
  const auto           components = static_cast<int64_t>(view.Components);
  const std::size_t    row = view.RowStride != 0 ? view.RowStride : view.RegionSize[0];
  const std::size_t    slice = view.SliceStride != 0 ? view.SliceStride : row * view.RegionSize[1];
  const int64_t        sliceFloats = static_cast<int64_t>(slice) * components;
  std::vector<int64_t> sizes{ 1, components };
  for (unsigned int axis = 3; axis-- > 0;)
  {
    sizes.push_back(static_cast<int64_t>(view.RegionSize[axis]));
  }
  // Nothing writes to it: backends that may get a copy.
  torch::Tensor tensor =
    torch::from_blob(const_cast<float *>(view.Buffer),
                     sizes,
                     { sliceFloats * sizes[2], 1, sliceFloats, static_cast<int64_t>(row) * components, components },
                     torch::kFloat32);
  if (xyz)
  {
    tensor = tensor.permute({ 0, 1, 4, 3, 2 });
  }
  return tensor.to(device);
}

/** [1, C, z, y, x] as interleaved voxels. */
TorchVolume
VolumeOf(const torch::Tensor & tensor)
{
  const torch::Tensor interleaved = tensor.to(torch::kCPU, torch::kFloat32).permute({ 0, 2, 3, 4, 1 }).contiguous();
  TorchVolume         volume;
  volume.Components = static_cast<unsigned int>(tensor.size(1));
  volume.RegionSize = Size<3>{ { static_cast<SizeValueType>(tensor.size(4)),
                                 static_cast<SizeValueType>(tensor.size(3)),
                                 static_cast<SizeValueType>(tensor.size(2)) } };
  const float * begin = interleaved.const_data_ptr<float>();
  volume.Buffer.assign(begin, begin + interleaved.numel());
  return volume;
}

/** Swaps x and z. */
TorchVolume
Transposed(const TorchVolume & volume)
{
  const TorchVolumeView view{ volume.Buffer.data(), volume.Components, volume.RegionSize, 0, 0 };
  return VolumeOf(TensorOf(view, true, torch::kCPU));
}

// The most bytes that torch's tensors on the processor have held since this guard was made.
class PeakOfTensors
{
public:
  PeakOfTensors()
    : m_Counter(std::make_shared<Counter>())
    , m_Guard(c10::DebugInfoKind::PROFILER_STATE, m_Counter)
  {}
  double
  Bytes() const
  {
    return static_cast<double>(m_Counter->Peak);
  }

private:
  struct Counter : public c10::MemoryReportingInfoBase
  {
    void
    reportMemoryUsage(void *, int64_t bytes, std::size_t, std::size_t, c10::Device device) override
    {
      if (device.is_cpu())
      {
        const std::lock_guard<std::mutex> lock(Mutex);
        Now += bytes;
        Peak = std::max(Peak, Now);
      }
    }
    bool
    memoryProfilingEnabled() const override
    {
      return true;
    }
    std::mutex Mutex;
    int64_t    Now{ 0 };
    int64_t    Peak{ 0 };
  };
  std::shared_ptr<Counter> m_Counter;
  c10::DebugInfoGuard      m_Guard;
};

/** Everything that a manifest says. */
void
PrintManifest(std::ostream & os, Indent indent, const TorchModelManifest & manifest)
{
  const auto listed = [](const auto & numbers) {
    std::ostringstream text;
    for (const auto number : numbers)
    {
      text << (text.tellp() > 0 ? ", " : "") << number;
    }
    return text.str();
  };
  const auto named = [](const std::vector<TorchModelManifest::TrainingCase> & cases) {
    std::vector<std::string> names;
    for (const TorchModelManifest::TrainingCase & one : cases)
    {
      names.push_back(one.Case + " (" + one.Licence + (one.Attribution.empty() ? ")" : "; " + one.Attribution + ")"));
    }
    return Joined(names);
  };
  os << indent << "Name: " << manifest.Name << std::endl;
  os << indent << "Version: " << manifest.Version << std::endl;
  os << indent << "Task: " << manifest.Task << std::endl;
  os << indent << "Network: " << manifest.Network << std::endl;
  os << indent << "Width: " << manifest.Width << std::endl;
  os << indent << "Groups: " << manifest.Groups << std::endl;
  os << indent << "Levels: " << manifest.Levels << std::endl;
  os << indent << "Padded: " << (manifest.Padded ? "On" : "Off") << std::endl;
  os << indent << "ChannelNames: " << Joined(manifest.ChannelNames) << std::endl;
  os << indent << "ClassNames: " << Joined(manifest.ClassNames) << std::endl;
  os << indent << "OutputActivation: " << manifest.OutputActivation << std::endl;
  os << indent << "AxisOrder: " << manifest.AxisOrder << std::endl;
  os << indent << "Orientation: " << manifest.Orientation << std::endl;
  os << indent << "Spacing: " << listed(manifest.Spacing) << std::endl;
  os << indent << "BiasCorrection: " << manifest.BiasCorrection << std::endl;
  os << indent << "LowerQuantile: " << manifest.LowerQuantile << std::endl;
  os << indent << "UpperQuantile: " << manifest.UpperQuantile << std::endl;
  os << indent << "Standardization: " << manifest.Standardization << std::endl;
  os << indent << "OutsideValue: " << manifest.OutsideValue << std::endl;
  os << indent << "Region: " << manifest.Region << std::endl;
  os << indent << "FitMode: " << manifest.FitMode << std::endl;
  os << indent << "Margin: " << manifest.Margin << std::endl;
  os << indent << "OutputSize: " << manifest.OutputSize << std::endl;
  os << indent << "MinimumComponentShare: " << manifest.MinimumComponentShare << std::endl;
  os << indent << "Temperature: " << manifest.Temperature << std::endl;
  os << indent << "PatchSize: " << listed(manifest.PatchSize) << std::endl;
  os << indent << "Halo: " << manifest.Halo << std::endl;
  os << indent << "TileStep: " << manifest.TileStep << std::endl;
  for (const TorchLayerGeometry & layer : manifest.Layers)
  {
    os << indent << "Layer " << layer.Layer << ": Offset " << listed(layer.Offset) << ", Step " << listed(layer.Step)
       << std::endl;
  }
  os << indent << "WeightsFile: " << manifest.WeightsFile << std::endl;
  os << indent << "WeightsBytes: " << manifest.WeightsBytes << std::endl;
  os << indent << "WeightsSha256: " << manifest.WeightsSha256 << std::endl;
  os << indent << "InstructionSet: " << manifest.InstructionSet << std::endl;
  os << indent << "TrainingCases: " << named(manifest.TrainingCases) << std::endl;
  os << indent << "ValidationCases: " << named(manifest.ValidationCases) << std::endl;
  os << indent << "TrainingData: " << manifest.TrainingData << std::endl;
  os << indent << "IntendedUse: " << manifest.IntendedUse << std::endl;
  os << indent << "Licence: " << manifest.Licence << std::endl;
  os << indent << "Demonstration: " << (manifest.Demonstration ? "On" : "Off") << std::endl;
  os << indent << "GoldenSeed: " << manifest.GoldenSeed << std::endl;
  os << indent << "GoldenSize: " << listed(manifest.GoldenSize) << std::endl;
  os << indent << "GoldenOutput: " << listed(manifest.GoldenOutput) << std::endl;
}

/** Probabilities, and logits from what the graph gave. */
torch::Tensor
ProbabilitiesOf(const torch::Tensor & output, const std::string & activation)
{
  if (activation == "logits")
  {
    return torch::softmax(output, 1);
  }
  return activation == "sigmoid-logits" ? torch::sigmoid(output) : output;
}
} // namespace

std::string
TorchModel::ResolveDevice(const std::string & name)
{
  return name != "auto" ? name : torch::cuda::is_available() ? "cuda" : "cpu";
}

TorchModel::TorchModel() = default;
TorchModel::~TorchModel() = default;

void
TorchModel::SetManifest(const TorchModelManifest & manifest)
{
  m_Manifest = manifest;
  m_GivenManifest = manifest;
  m_ManifestWasSet = true;
  m_Backend = nullptr;
  this->Modified();
}

TorchModelManifest
TorchModel::FindManifest() const
{
  if (m_Path.empty())
  {
    itkExceptionMacro("No path is set: give the folder of a bundle or a TorchScript file");
  }
  std::error_code error;
  if (std::filesystem::is_directory(m_Path, error))
  {
    return ReadBundleManifest(m_Path, m_GivenManifest);
  }
  if (!std::filesystem::exists(m_Path, error))
  {
    itkExceptionMacro("The model '" << m_Path << "' does not exist");
  }
  if (!m_ManifestWasSet)
  {
    itkExceptionMacro(
      "'" << m_Path
          << "' is a lone file: say with SetManifest() what it expects (task, channels, classes, output "
             "activation, axis order), or give the folder of a bundle");
  }
  return m_GivenManifest;
}

void
TorchModel::ReadManifest()
{
  TorchModelManifest manifest = this->FindManifest();
  if (this->IsLoaded() && !manifest.Network.empty())
  {
    CompleteNativeManifest(manifest); // as Load() does
  }
  if (!IsSameManifest(manifest, m_Manifest))
  {
    m_Backend = nullptr;
    m_Manifest = manifest;
    this->Modified();
  }
}

void
TorchModel::CheckManifest() const
{
  std::vector<std::string> absent;
  const auto               need = [&absent](bool there, const char * name) {
    if (!there)
    {
      absent.emplace_back(name);
    }
  };
  need(!m_Manifest.Task.empty(), "task");
  need(!m_Manifest.ChannelNames.empty(), "channels");
  need(!m_Manifest.ClassNames.empty(), "classes");
  need(!m_Manifest.OutputActivation.empty(), "output_activation");
  need(!m_Manifest.AxisOrder.empty(), "axis_order");
  if (!absent.empty())
  {
    itkExceptionMacro("The manifest of '" << m_Path << "' does not say: " << Joined(absent)
                                          << ". Nothing is guessed: add it to the bundle's gliomagrading.json, or with "
                                             "SetManifest() for a lone file");
  }
  const auto oneOf = [this](const char * name, const std::string & value, const std::vector<std::string> & allowed) {
    if (std::find(allowed.begin(), allowed.end(), value) == allowed.end())
    {
      itkExceptionMacro("The manifest of '" << m_Path << "' says the " << name << " '" << value << "'; known are "
                                            << Joined(allowed));
    }
  };
  oneOf("task", m_Manifest.Task, { "segmentation", "grading" });
  oneOf("output_activation", m_Manifest.OutputActivation, { "logits", "softmax", "sigmoid", "sigmoid-logits" });
  oneOf("axis_order", m_Manifest.AxisOrder, { "zyx", "xyz" });
  const bool exclusive = m_Manifest.OutputActivation == "logits" || m_Manifest.OutputActivation == "softmax";
  if (m_Manifest.Task == "grading" && !exclusive)
  {
    itkExceptionMacro("The classes of a classifier must exclude one another, but the manifest of '"
                      << m_Path << "' says the output activation '" << m_Manifest.OutputActivation << "'");
  }
  if (exclusive && m_Manifest.ClassNames.size() < 2)
  {
    itkExceptionMacro("The manifest of '" << m_Path << "' names one class and the output activation '"
                                          << m_Manifest.OutputActivation
                                          << "', which needs two; one channel wants sigmoid or sigmoid-logits");
  }
  if (!(m_Manifest.Temperature >= 1e-3 && m_Manifest.Temperature <= 1e3))
  {
    itkExceptionMacro("The manifest of '" << m_Path << "' says the temperature " << m_Manifest.Temperature
                                          << "; logits can be divided by 0.001 to 1000, 1 leaves them as they are");
  }
  if (m_Manifest.TileStep < 1)
  {
    itkExceptionMacro("The manifest of '" << m_Path
                                          << "' says a tile_step of 0; where tiles may start anywhere it is 1");
  }
  for (const unsigned int patch : m_Manifest.PatchSize)
  {
    // Another's graph may want one size along an axis, and multiples along others.
    const bool isFree = m_Manifest.Network.empty() && m_Manifest.Halo == 0;
    if (patch != 0 && !isFree && (patch % m_Manifest.TileStep != 0 || patch < SmallestPatch(m_Manifest)))
    {
      itkExceptionMacro("The manifest of '" << m_Path << "' says a patch_size of " << patch << "; multiples of "
                                            << m_Manifest.TileStep << " from " << SmallestPatch(m_Manifest)
                                            << " on do (twice the halo of " << m_Manifest.Halo
                                            << " and one tile_step), or 0");
    }
  }
}

std::string
TorchModel::KeyOfSettings() const
{
  std::ostringstream key;
  key << m_Path << '\n' << m_Device << '\n' << m_Precision;
  return key.str();
}

void
TorchModel::Load()
{
  // Until everything has passed nothing is loaded.
  std::shared_ptr<ModelBackend> loaded;
  loaded.swap(m_Backend);
  const TorchModelManifest manifest = std::exchange(m_Manifest, this->FindManifest());
  std::error_code          error;
  const bool               isBundle = std::filesystem::is_directory(m_Path, error);
  const std::string        file = isBundle ? m_Manifest.WeightsFile : m_Path;
  const bool               isNative = EndsWith(file, ".safetensors");
  if (isNative)
  {
    if (m_Manifest.Network.empty())
    {
      itkExceptionMacro("The bundle '" << m_Path << "' has safetensors weights but names no network");
    }
    CompleteNativeManifest(m_Manifest);
    if (m_Manifest.AxisOrder != "zyx" || m_Manifest.OutputActivation != "logits")
    {
      itkExceptionMacro("The network " << m_Manifest.Network
                                       << " has the axis order zyx and gives logits; the manifest of '" << m_Path
                                       << "' says " << m_Manifest.AxisOrder << " and " << m_Manifest.OutputActivation);
    }
  }
  const bool isCompiled = EndsWith(file, ".pt2");
  this->CheckManifest();
  if (m_Precision > Precision::BFloat16)
  {
    itkExceptionMacro("The precision is " << static_cast<int>(m_Precision) << ": set Float32 (0) or BFloat16 (1)");
  }
  if (isCompiled && m_Precision == Precision::BFloat16)
  {
    itkExceptionMacro("The precision of '" << file << "' was chosen when it was compiled: use the precision Float32");
  }
  if (m_Precision == Precision::BFloat16 && m_Manifest.Task != "segmentation")
  {
    itkExceptionMacro("bfloat16 is for segmentation only; the task of '" << m_Path << "' is " << m_Manifest.Task);
  }
  if (!isNative && !m_TrustModelCode)
  {
    itkExceptionMacro("'" << (isBundle ? m_Path + "/" + file : file) << "' is "
                          << (isCompiled ? "compiled code" : "TorchScript")
                          << ": a program that runs with your rights. It is loaded only with your "
                             "consent: SetTrustModelCode(true), or --trust-model");
  }
  const std::string weights = isBundle ? VerifyBundleWeights(m_Path, m_Manifest) : m_Path;
  const std::string key = this->KeyOfSettings();
  if (loaded && isBundle && key == m_LoadedKey && IsSameManifest(manifest, m_Manifest))
  {
    m_Backend.swap(loaded);
    return;
  }
  loaded = nullptr; // before the next one takes its memory
  const torch::Device device = DeviceOf(m_Device);
  const TorchModes    modes(device);
  const bool          bfloat16 = m_Precision == Precision::BFloat16;
  if (bfloat16 && device.is_cpu() && !ProcessorHasBFloat16())
  {
    itkExceptionMacro("This processor has no bfloat16 arithmetic: use the precision Float32");
  }
  try
  {
    m_Streams = device.is_cpu() ? nullptr : std::make_shared<DeviceStreams>(device);
    // Beside the processor autocast chooses what is bfloat16.
    const bool converted = bfloat16 && device.is_cpu();
    m_Backend = isNative     ? MakeNativeBackend(m_Manifest, weights, device, converted)
                : isCompiled ? MakeInductorBackend(m_Manifest, weights, device)
                             : MakeTorchScriptBackend(m_Manifest, weights, device, converted);
  }
  catch (const ExceptionObject &)
  {
    throw;
  }
  catch (const c10::Error & e)
  {
    itkExceptionMacro("Loading '" << weights << "' on " << m_Device << " failed: " << e.what_without_backtrace());
  }
  catch (const std::exception & e)
  {
    itkExceptionMacro("Loading '" << weights << "' on " << m_Device << " failed: " << e.what());
  }
  m_LoadedKey = key;
  if (!isNative)
  {
    try
    {
      this->RefuseUnrepeatable();
    }
    catch (const ExceptionObject &)
    {
      m_Backend = nullptr;
      throw;
    }
  }
  this->Modified();
}

void
TorchModel::RefuseUnrepeatable()
{
  m_BytesOfVoxel = 0.0;
  // A small patch where the graph takes one, else the one that it wants.
  const unsigned int step = m_Manifest.TileStep;
  const unsigned int small = (std::max(32u, 2 * m_Manifest.Halo + 2 * step) + step - 1) / step * step;
  std::vector<std::array<unsigned int, 3>> sizes{ { { small, small, small } } };
  if (m_Manifest.Task == "grading" && m_Manifest.OutputSize != 0)
  {
    sizes.back().fill(m_Manifest.OutputSize);
  }
  else if (m_Manifest.PatchSize[0] != 0 && m_Manifest.PatchSize[1] != 0 && m_Manifest.PatchSize[2] != 0)
  {
    sizes.push_back(m_Manifest.PatchSize);
  }
  const TorchThreads        threads(this->ThreadsFor(0));
  const Float32Convolutions float32(DeviceOf(m_Device), m_Precision == Precision::Float32);
  torch::NoGradGuard        noGradient;
  at::Generator             generator = at::globalContext().defaultGenerator(DeviceOf(m_Device));
  const auto                stateOfRandomNumbers = [&generator] {
    const std::lock_guard<std::mutex> lock(generator.mutex());
    return generator.get_state();
  };
  for (const std::array<unsigned int, 3> & size : sizes)
  {
    const TorchVolume     noise = GoldenInput(1, size, static_cast<unsigned int>(m_Manifest.ChannelNames.size()));
    const TorchVolumeView view{ noise.Buffer.data(), noise.Components, noise.RegionSize, 0, 0 };
    torch::Tensor         first;
    double                limit = 0.0;
    double                difference = 0.0;
    try
    {
      const torch::Tensor tensor = TensorOf(view, m_Manifest.AxisOrder == "xyz", DeviceOf(m_Device));
      const auto          differenceOf = [&first](const torch::Tensor & again) {
        return first.sizes() == again.sizes() ? (first - again).abs().max().item<double>()
                                                       : std::numeric_limits<double>::max();
      };
      const torch::Tensor state = stateOfRandomNumbers();
      first = m_Backend->Forward(tensor);
      const bool drawsNumbers = !torch::equal(state, stateOfRandomNumbers());
      limit = 1e-3 * std::max(1.0, first.abs().max().item<double>());
      {
        const PeakOfTensors peak;
        const torch::Tensor second = m_Backend->Forward(tensor);
        m_BytesOfVoxel = peak.Bytes() / static_cast<double>(size[0] * size[1] * size[2]);
        difference = differenceOf(second);
      }
      // Two draws may agree by chance, those of a few channels' dropout often do.
      for (unsigned int attempt = 0; drawsNumbers && attempt < 20 && difference <= limit; ++attempt)
      {
        difference = differenceOf(m_Backend->Forward(tensor));
      }
    }
    catch (const std::exception &)
    {
      // A size that it does not take; the first use of a model that takes none says why.
      continue;
    }
    if (difference > limit)
    {
      itkExceptionMacro("Two forwards of '" << m_Path << "' on one input differ by " << difference
                                            << ": dropout or noise is a fixed part of the program. Export the model in "
                                               "evaluation mode");
    }
    return;
  }
}

bool
TorchModel::IsLoaded() const
{
  return m_Backend != nullptr && m_LoadedKey == this->KeyOfSettings();
}

void
TorchModel::CheckIsLoaded() const
{
  if (!this->IsLoaded())
  {
    itkExceptionMacro("The model '" << m_Path << "' is not loaded" << (m_Backend ? " with its present settings" : "")
                                    << ": call Load()");
  }
}

unsigned int
TorchModel::ThreadsFor(unsigned int maximumThreads) const
{
  unsigned int threads = m_NumberOfThreads;
  if (threads == 0)
  {
    threads = std::min<unsigned int>(MultiThreaderBase::GetGlobalDefaultNumberOfThreads(),
                                     MultiThreaderBase::GetGlobalMaximumNumberOfThreads());
  }
  return maximumThreads == 0 ? threads : std::min(threads, maximumThreads);
}

std::string
TorchModel::Context(const TorchVolumeView & input) const
{
  std::ostringstream text;
  text << "model '" << m_Path << "', " << input.Components << " channels, " << input.RegionSize[0] << " x "
       << input.RegionSize[1] << " x " << input.RegionSize[2] << " voxels, device " << m_Device;
  return text.str();
}

void
TorchModel::CheckInput(const TorchVolumeView & input) const
{
  this->CheckIsLoaded();
  if (input.Buffer == nullptr || input.RegionSize[0] == 0 || input.RegionSize[1] == 0 || input.RegionSize[2] == 0)
  {
    itkExceptionMacro("The input of the model is empty (" << this->Context(input) << ")");
  }
  if ((input.RowStride != 0 && input.RowStride < input.RegionSize[0]) ||
      (input.SliceStride != 0 &&
       input.SliceStride < std::max<std::size_t>(input.RowStride, input.RegionSize[0]) * (input.RegionSize[1] - 1)))
  {
    itkExceptionMacro("The strides " << input.RowStride << " and " << input.SliceStride
                                     << " are smaller than the region (" << this->Context(input) << ")");
  }
  if (input.Components != m_Manifest.ChannelNames.size())
  {
    itkExceptionMacro("The image has " << input.Components << " channels, the model '" << m_Path << "' wants "
                                       << m_Manifest.ChannelNames.size() << ": " << Joined(m_Manifest.ChannelNames));
  }
  const bool   grading = m_Manifest.Task == "grading";
  unsigned int step = m_Manifest.TileStep;
  unsigned int smallest = 2 * m_Manifest.Halo + 1;
  if (grading && m_Manifest.Network == "PereiraGradingNetwork")
  {
    // Three poolings of an even number of cells each.
    step = 8;
    smallest = m_Manifest.Padded ? 8 : 72;
  }
  for (unsigned int axis = 0; axis < 3; ++axis)
  {
    const SizeValueType size = input.RegionSize[axis];
    if (grading && m_Manifest.OutputSize != 0 && size != m_Manifest.OutputSize)
    {
      itkExceptionMacro("The region has " << size << " voxels on axis " << axis << ", the model '" << m_Path
                                          << "' wants " << m_Manifest.OutputSize
                                          << ": cut it with BoundingBoxROIFilter");
    }
    if (size % step != 0 || size < smallest)
    {
      itkExceptionMacro("An input of " << size << " voxels on axis " << axis << " is not valid for the model '"
                                       << m_Path << "': it must be a multiple of " << step << " and at least "
                                       << (smallest + step - 1) / step * step);
    }
  }
}

TorchVolume
TorchModel::ComputeProbabilities(const TorchVolumeView & input, unsigned int maximumThreads) const
{
  return this->RunDense(input, maximumThreads, true, {});
}

TorchVolume
TorchModel::ComputeOutput(const TorchVolumeView & input, unsigned int maximumThreads) const
{
  return this->RunDense(input, maximumThreads, false, {});
}

TorchVolume
TorchModel::ComputeProbabilities(const TorchVolumeView &       input,
                                 unsigned int                  maximumThreads,
                                 const std::function<void()> & between) const
{
  return this->RunDense(input, maximumThreads, true, between);
}

TorchVolume
TorchModel::ComputeOutput(const TorchVolumeView &       input,
                          unsigned int                  maximumThreads,
                          const std::function<void()> & between) const
{
  return this->RunDense(input, maximumThreads, false, between);
}

void
TorchModel::Activate(float * voxel) const
{
  const std::size_t classes = m_Manifest.ClassNames.size();
  if (m_Manifest.OutputActivation == "logits")
  {
    const float largest = *std::max_element(voxel, voxel + classes);
    float       sum = 0.0F;
    for (std::size_t c = 0; c < classes; ++c)
    {
      voxel[c] = std::exp(voxel[c] - largest);
      sum += voxel[c];
    }
    for (std::size_t c = 0; c < classes; ++c)
    {
      voxel[c] /= sum;
    }
  }
  else if (m_Manifest.OutputActivation == "sigmoid-logits")
  {
    for (std::size_t c = 0; c < classes; ++c)
    {
      voxel[c] = 1.0F / (1.0F + std::exp(-voxel[c]));
    }
  }
}

double
TorchModel::EstimateBytes(const Size<3> & patch) const
{
  const double voxels = static_cast<double>(patch[0]) * static_cast<double>(patch[1]) * static_cast<double>(patch[2]);
  const auto   classes = static_cast<double>(m_Manifest.ClassNames.size());
  double       written = 1.0;
  for (unsigned int axis = 0; axis < 3; ++axis)
  {
    written *= std::max(1.0, static_cast<double>(patch[axis]) - 2.0 * m_Manifest.Halo);
  }
  // The logits, their probabilities, and the copy that is handed out.
  const double result = 3.0 * sizeof(float) * classes * written;
  if (m_Manifest.Network == "PereiraSegmentationNetwork")
  {
    const double bytes = m_Precision == Precision::BFloat16 ? 2.0 : 4.0;
    const double maps = FusedSegmentation::PeakValues(
      SegmentationOptionsOf(m_Manifest),
      { static_cast<int64_t>(patch[2]), static_cast<int64_t>(patch[1]), static_cast<int64_t>(patch[0]) });
    // The maps have gone when the result is copied.
    return std::max(bytes * maps, result);
  }
  // A graph that could not be tried yet: as a network of width 32.
  return voxels * (m_BytesOfVoxel > 0.0 ? m_BytesOfVoxel : 4.5 * 32.0 * sizeof(float)) + result;
}

double
TorchModel::EstimateOperations(const Size<3> & patch) const
{
  if (m_Manifest.Network == "PereiraSegmentationNetwork")
  {
    return FusedSegmentation::Operations(
      SegmentationOptionsOf(m_Manifest),
      { static_cast<int64_t>(patch[2]), static_cast<int64_t>(patch[1]), static_cast<int64_t>(patch[0]) });
  }
  return static_cast<double>(patch[0]) * static_cast<double>(patch[1]) * static_cast<double>(patch[2]);
}

class TorchModel::Patch
{
public:
  torch::Tensor             Output; // [1, classes, z, y, x] for the processor
  std::optional<c10::Event> Done;   // beside the processor: when it is there
  std::string               Context;
  unsigned int              Threads{ 0 };
};

unsigned int
TorchModel::GetPatchesInFlight() const
{
  return m_Streams ? 2 : 1;
}

TorchVolume
TorchModel::RunDense(const TorchVolumeView &       input,
                     unsigned int                  maximumThreads,
                     bool                          activated,
                     const std::function<void()> & between) const
{
  return this->EndPatch(this->BeginPatch(input, activated, maximumThreads, between));
}

TorchModel::PatchPointer
TorchModel::BeginPatch(const TorchVolumeView &       input,
                       bool                          activated,
                       unsigned int                  maximumThreads,
                       const std::function<void()> & between) const
{
  this->CheckInput(input);
  if (m_Manifest.Task != "segmentation")
  {
    itkExceptionMacro("ComputeProbabilities() wants a segmentation model; the task of '" << m_Path << "' is "
                                                                                         << m_Manifest.Task);
  }
  const bool xyz = m_Manifest.AxisOrder == "xyz";
  try
  {
    const TorchThreads        threads(this->ThreadsFor(maximumThreads));
    const TorchModes          modes(DeviceOf(m_Device));
    torch::NoGradGuard        noGradient;
    const torch::Device       device = DeviceOf(m_Device);
    const Float32Convolutions float32(device, m_Precision == Precision::Float32);
    torch::Tensor             tensor = TensorOf(input, xyz, torch::kCPU);
    const auto                patch = std::make_shared<Patch>();
    patch->Context = this->Context(input);
    patch->Threads = this->ThreadsFor(maximumThreads);
    const bool isFinite = std::isfinite(tensor.sum().item<float>());
    if (!isFinite)
    {
      // The fused ReLU of our own networks would turn it into a number.
      if (!m_Manifest.Network.empty())
      {
        itkExceptionMacro("The input holds NaN or infinity (" << patch->Context << ")");
      }
      patch->Context = "its input holds NaN or infinity; " + patch->Context;
    }
    const std::optional<c10::Stream> stream = m_Streams ? std::optional<c10::Stream>(m_Streams->Next()) : std::nullopt;
    const c10::OptionalStreamGuard   onStream(stream);
    if (stream)
    {
      tensor = DeviceStreams::Upload(tensor, device);
    }
    torch::Tensor output;
    {
      const BFloat16Autocast autocast(device, stream && m_Precision == Precision::BFloat16);
      output = m_Backend->Forward(tensor, between);
    }
    if (output.dim() != 5 || output.size(0) != 1 ||
        output.size(1) != static_cast<int64_t>(m_Manifest.ClassNames.size()))
    {
      itkExceptionMacro("The model gave an output of shape " << output.sizes() << "; its manifest names "
                                                             << m_Manifest.ClassNames.size() << " classes ("
                                                             << patch->Context << ")");
    }
    output = output.to(torch::kFloat32);
    if (activated)
    {
      output = ProbabilitiesOf(output, m_Manifest.OutputActivation);
    }
    if (xyz)
    {
      output = output.permute({ 0, 1, 4, 3, 2 });
    }
    for (unsigned int axis = 0; axis < 3; ++axis)
    {
      const int64_t expected = static_cast<int64_t>(input.RegionSize[axis]) - 2 * static_cast<int64_t>(m_Manifest.Halo);
      if (output.size(4 - axis) != expected)
      {
        itkExceptionMacro("The model gave " << output.size(4 - axis) << " voxels on axis " << axis
                                            << "; its manifest says a halo of " << m_Manifest.Halo << ", which leaves "
                                            << expected << " (" << patch->Context << ")");
      }
    }
    if (stream)
    {
      patch->Done.emplace(device.type());
      output = DeviceStreams::Download(output, *stream, *patch->Done);
    }
    patch->Output = output;
    return patch;
  }
  catch (const ExceptionObject &)
  {
    throw;
  }
  catch (const c10::Error & e)
  {
    itkExceptionMacro("The forward failed (" << this->Context(input) << "): " << e.what_without_backtrace());
  }
  catch (const std::exception & e)
  {
    itkExceptionMacro("The forward failed (" << this->Context(input) << "): " << e.what());
  }
}

TorchVolume
TorchModel::EndPatch(const PatchPointer & patch) const
{
  try
  {
    const TorchThreads threads(patch->Threads);
    const TorchModes   modes(DeviceOf(m_Device));
    torch::NoGradGuard noGradient;
    if (patch->Done)
    {
      patch->Done->synchronize();
    }
    const torch::Tensor output = std::move(patch->Output);
    if (!std::isfinite(output.sum().item<float>()) && !torch::isfinite(output).all().item<bool>())
    {
      itkExceptionMacro("The model gave NaN or infinity (" << patch->Context << ")");
    }
    return VolumeOf(output);
  }
  catch (const ExceptionObject &)
  {
    throw;
  }
  catch (const c10::Error & e)
  {
    itkExceptionMacro("The forward failed (" << patch->Context << "): " << e.what_without_backtrace());
  }
  catch (const std::exception & e)
  {
    itkExceptionMacro("The forward failed (" << patch->Context << "): " << e.what());
  }
}

std::vector<double>
TorchModel::ComputeLogits(const TorchVolumeView & input, unsigned int maximumThreads) const
{
  return this->ComputeLogits(input, maximumThreads, {});
}

std::vector<double>
TorchModel::ComputeLogits(const TorchVolumeView &       input,
                          unsigned int                  maximumThreads,
                          const std::function<void()> & between) const
{
  this->CheckInput(input);
  if (m_Manifest.Task != "grading")
  {
    itkExceptionMacro("ComputeLogits() wants a grading model; the task of '" << m_Path << "' is " << m_Manifest.Task);
  }
  try
  {
    const TorchThreads        threads(this->ThreadsFor(maximumThreads));
    const TorchModes          modes(DeviceOf(m_Device));
    const Float32Convolutions float32(DeviceOf(m_Device), m_Precision == Precision::Float32);
    torch::NoGradGuard        noGradient;
    const torch::Tensor       tensor = TensorOf(input, m_Manifest.AxisOrder == "xyz", DeviceOf(m_Device));
    torch::Tensor             output = m_Backend->Forward(tensor, between).to(torch::kCPU, torch::kFloat64);
    if (output.numel() != static_cast<int64_t>(m_Manifest.ClassNames.size()))
    {
      itkExceptionMacro("The model gave " << output.numel() << " numbers; its manifest names "
                                          << m_Manifest.ClassNames.size() << " classes (" << this->Context(input)
                                          << ")");
    }
    if (m_Manifest.OutputActivation == "softmax")
    {
      output = output.clamp_min(1e-300).log();
    }
    if (!torch::isfinite(output).all().item<bool>())
    {
      itkExceptionMacro("The model gave NaN or infinity"
                        << (torch::isfinite(tensor).all().item<bool>() ? "" : ": its input holds NaN or infinity")
                        << " (" << this->Context(input) << ")");
    }
    output = output.contiguous();
    const double * begin = output.const_data_ptr<double>();
    return std::vector<double>(begin, begin + output.numel());
  }
  catch (const ExceptionObject &)
  {
    throw;
  }
  catch (const c10::Error & e)
  {
    itkExceptionMacro("The forward failed (" << this->Context(input) << "): " << e.what_without_backtrace());
  }
  catch (const std::exception & e)
  {
    itkExceptionMacro("The forward failed (" << this->Context(input) << "): " << e.what());
  }
}

void
TorchModel::SetInterpreterUnlock(std::function<std::shared_ptr<void>()> unlock)
{
  TorchThreads::SetInterpreterUnlock(std::move(unlock));
}

TorchExplanation
TorchModel::Explain(const TorchVolumeView &         input,
                    const TorchExplanationRequest & request,
                    unsigned int                    maximumThreads) const
{
  this->CheckInput(input);
  if (m_Manifest.Task != "grading")
  {
    itkExceptionMacro("Explain() wants a grading model; the task of '" << m_Path << "' is " << m_Manifest.Task);
  }
  const bool                      xyz = m_Manifest.AxisOrder == "xyz";
  std::vector<TorchLayerGeometry> geometries = m_Manifest.Layers;
  if (xyz)
  {
    // The engine counts the tensor's last axis as x.
    for (TorchLayerGeometry & geometry : geometries)
    {
      std::swap(geometry.Offset[0], geometry.Offset[2]);
      std::swap(geometry.Step[0], geometry.Step[2]);
    }
  }
  try
  {
    const TorchThreads        threads(this->ThreadsFor(maximumThreads));
    const TorchModes          modes(DeviceOf(m_Device));
    const Float32Convolutions float32(DeviceOf(m_Device), m_Precision == Precision::Float32);
    TorchExplanation          explanation = ExplainWithBackend(
      *m_Backend, TensorOf(input, xyz, DeviceOf(m_Device)), request, geometries, m_Manifest.Temperature);
    if (xyz)
    {
      for (TorchGradCAM & map : explanation.GradCAM)
      {
        map.Map = Transposed(map.Map);
        std::swap(map.Geometry.Offset[0], map.Geometry.Offset[2]);
        std::swap(map.Geometry.Step[0], map.Geometry.Step[2]);
      }
      for (TorchGuidedMap & map : explanation.Guided)
      {
        map.Map = Transposed(map.Map);
      }
    }
    return explanation;
  }
  catch (const ExceptionObject &)
  {
    throw;
  }
  catch (const c10::Error & e)
  {
    itkExceptionMacro("The explanation failed (" << this->Context(input) << "): " << e.what_without_backtrace());
  }
  catch (const std::exception & e)
  {
    itkExceptionMacro("The explanation failed (" << this->Context(input) << "): " << e.what());
  }
}

std::vector<double>
TorchModel::ComputeGoldenOutput() const
{
  const TorchVolume input = GoldenInput(
    m_Manifest.GoldenSeed, m_Manifest.GoldenSize, static_cast<unsigned int>(m_Manifest.ChannelNames.size()));
  const TorchVolumeView view{ input.Buffer.data(), input.Components, input.RegionSize, 0, 0 };
  if (m_Manifest.Task == "grading")
  {
    return this->ComputeLogits(view);
  }
  const TorchVolume   output = this->ComputeProbabilities(view);
  const std::size_t   classes = output.Components;
  const std::size_t   voxels = output.Buffer.size() / classes;
  const auto &        size = output.RegionSize;
  const std::size_t   middle = (size[2] / 2 * size[1] + size[1] / 2) * size[0] + size[0] / 2;
  std::vector<double> golden(2 * classes, 0.0);
  for (std::size_t voxel = 0; voxel < voxels; ++voxel)
  {
    for (std::size_t one = 0; one < classes; ++one)
    {
      golden[one] += static_cast<double>(output.Buffer[voxel * classes + one]) / static_cast<double>(voxels);
    }
  }
  for (std::size_t one = 0; one < classes; ++one)
  {
    golden[classes + one] = static_cast<double>(output.Buffer[middle * classes + one]);
  }
  return golden;
}

bool
TorchModel::VerifyGoldenPair() const
{
  if (m_Manifest.GoldenOutput.empty())
  {
    return false;
  }
  const std::vector<double> & expected = m_Manifest.GoldenOutput;
  const std::vector<double>   found = this->ComputeGoldenOutput();
  const double                tolerance = m_Precision == Precision::BFloat16 ? 5e-2 : 1e-4;
  for (std::size_t i = 0; i < std::max(found.size(), expected.size()); ++i)
  {
    if (found.size() != expected.size() ||
        !(std::abs(found[i] - expected[i]) <= tolerance * std::max(1.0, std::abs(expected[i]))))
    {
      std::ostringstream both;
      both.precision(9);
      for (const double value : found)
      {
        both << ' ' << value;
      }
      both << ", the manifest says";
      for (const double value : expected)
      {
        both << ' ' << value;
      }
      itkExceptionMacro("The golden pair of '" << m_Path << "' fails on " << m_Device << ": the model gives"
                                               << both.str());
    }
  }
  return true;
}

std::vector<std::string>
TorchModel::GetLayerNames() const
{
  this->CheckIsLoaded();
  return m_Backend->LayerNames();
}

std::size_t
TorchModel::GetNumberOfParameters() const
{
  this->CheckIsLoaded();
  return m_Backend->NumberOfParameters();
}

void
TorchModel::WriteSeededBundle(const std::string & path, const TorchModelManifest & manifest, std::uint64_t seed)
{
  TorchModelManifest complete = manifest;
  CompleteNativeManifest(complete);
  if (complete.TrainingData.empty())
  {
    complete.TrainingData = "random weights, not trained";
  }
  const TorchModes                           modes(torch::kCPU);
  const at::Generator                        generator = at::make_generator<at::CPUGeneratorImpl>(seed);
  std::shared_ptr<torch::nn::Module>         network;
  std::function<void(const torch::Tensor &)> forward;
  unsigned int                               size = complete.Padded ? 32 : 80; // two cells a side in the deepest layer
  if (complete.Network == "PereiraSegmentationNetwork")
  {
    SegmentationNetworkOptions options = SegmentationOptionsOf(complete);
    options.SpatialDropout = 0.0;
    const auto built = std::make_shared<PereiraSegmentationNetworkImpl>(options);
    forward = [built](const torch::Tensor & x) { built->forward(x); };
    network = built;
    size = complete.Padded ? std::max(32u, 2 * complete.TileStep)
                           : (2 * complete.Halo + 2 * complete.TileStep) / complete.TileStep * complete.TileStep;
  }
  else
  {
    GradingNetworkOptions options = GradingOptionsOf(complete);
    options.Dropout = 0.0;
    const auto built = std::make_shared<PereiraGradingNetworkImpl>(options);
    forward = [built](const torch::Tensor & x) { built->forward(x); };
    network = built;
  }
  InitializeHeNormal(*network, generator);
  // Batch norm learns the statistics of noise in one forward, so that the logits are of order one as in a trained
  // network.
  for (const auto & module : network->modules(true))
  {
    if (auto * normalization = module->as<torch::nn::BatchNorm3dImpl>())
    {
      normalization->options.momentum(1.0);
    }
  }
  const TorchVolume noise =
    GoldenInput(seed, { { size, size, size } }, static_cast<unsigned int>(complete.ChannelNames.size()));
  const TorchVolumeView view{ noise.Buffer.data(), noise.Components, noise.RegionSize, 0, 0 };
  torch::NoGradGuard    noGradient;
  network->train();
  forward(TensorOf(view, false, torch::kCPU));
  WriteNativeBundle(path, complete, *network);
}

void
TorchModel::PrintSelf(std::ostream & os, Indent indent) const
{
  Superclass::PrintSelf(os, indent);
  os << indent << "Path: " << m_Path << std::endl;
  os << indent << "Device: " << m_Device << std::endl;
  os << indent << "TrustModelCode: " << (m_TrustModelCode ? "On" : "Off") << std::endl;
  os << indent << "Precision: " << m_Precision << std::endl;
  os << indent << "NumberOfThreads: " << m_NumberOfThreads << std::endl;
  os << indent << "ManifestWasSet: " << (m_ManifestWasSet ? "On" : "Off") << std::endl;
  os << indent << "Manifest:" << std::endl;
  PrintManifest(os, indent.GetNextIndent(), m_Manifest);
  os << indent << "GivenManifest:" << (m_ManifestWasSet ? "" : " none") << std::endl;
  if (m_ManifestWasSet)
  {
    PrintManifest(os, indent.GetNextIndent(), m_GivenManifest);
  }
  os << indent << "Loaded: " << (this->IsLoaded() ? "yes" : "no") << std::endl;
  os << indent << "LoadedKey: "; // path, device and precision
  for (const char letter : m_LoadedKey)
  {
    os << (letter == '\n' ? ' ' : letter);
  }
  os << std::endl;
  os << indent << "BytesOfVoxel: " << m_BytesOfVoxel << std::endl;
  os << indent << "Backend: " << m_Backend.get() << std::endl;
  os << indent << "Streams: " << m_Streams.get() << std::endl;
}

std::ostream &
operator<<(std::ostream & out, const TorchModelEnums::Precision value)
{
  return out << [value] {
    switch (value)
    {
      case TorchModelEnums::Precision::Float32:
        return "TorchModelEnums::Precision::Float32";
      case TorchModelEnums::Precision::BFloat16:
        return "TorchModelEnums::Precision::BFloat16";
      default:
        return "INVALID VALUE FOR itk::TorchModelEnums::Precision";
    }
  }();
}
} // namespace itk
