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
#include "itkExplanationSanityCalculator.h"

#include "ExplanationEngine.h"
#include "PereiraNetworks.h"
#include "Safetensors.h"
#include "TorchModes.h"
#include "TorchThreads.h"

#include "itkMultiThreaderBase.h"

#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <numeric>
#include <random>

namespace itk
{
namespace
{
// A file of its own that goes with the object.
class TemporaryWeights
{
public:
  TemporaryWeights()
  {
    std::random_device device;
    m_Path = (std::filesystem::temp_directory_path() /
              ("GliomaGrading-" + std::to_string(device()) + std::to_string(device()) + ".safetensors"))
               .string();
  }
  TemporaryWeights(const TemporaryWeights &) = delete;
  TemporaryWeights &
  operator=(const TemporaryWeights &) = delete;
  ~TemporaryWeights()
  {
    std::error_code error;
    std::filesystem::remove(m_Path, error);
  }
  const std::string &
  GetPath() const
  {
    return m_Path;
  }

private:
  std::string m_Path;
};

struct Magnitudes
{
  std::vector<float> Values;
  Size<3>            RegionSize;
};

Magnitudes
MagnitudesOf(const TorchVolume & volume)
{
  Magnitudes magnitudes;
  magnitudes.RegionSize = volume.RegionSize;
  magnitudes.Values.assign(volume.Buffer.size() / volume.Components, 0.0F);
  for (std::size_t i = 0; i < volume.Buffer.size(); ++i)
  {
    magnitudes.Values[i / volume.Components] += std::abs(volume.Buffer[i]);
  }
  return magnitudes;
}

std::vector<Magnitudes>
MapsOf(const TorchExplanation & explanation)
{
  std::vector<Magnitudes> maps;
  for (const TorchGradCAM & map : explanation.GradCAM)
  {
    maps.push_back(MagnitudesOf(map.Map));
  }
  maps.push_back(MagnitudesOf(explanation.Guided.at(0).Map));
  return maps;
}

/** Ranks, equal values at the middle of theirs. */
std::vector<double>
RanksOf(const std::vector<float> & values)
{
  const auto notFinite = std::find_if(values.begin(), values.end(), [](float value) { return !std::isfinite(value); });
  if (notFinite != values.end())
  {
    itkGenericExceptionMacro("Voxel " << notFinite - values.begin() << " of a map is " << *notFinite
                                      << ": only finite numbers have a rank. Check the model and the region.");
  }
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), std::size_t{ 0 });
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return values[a] < values[b]; });
  std::vector<double> ranks(values.size());
  for (std::size_t first = 0; first < order.size();)
  {
    std::size_t next = first + 1;
    while (next < order.size() && values[order[next]] == values[order[first]])
    {
      ++next;
    }
    for (std::size_t k = first; k < next; ++k)
    {
      ranks[order[k]] = 0.5 * static_cast<double>(first + next - 1);
    }
    first = next;
  }
  return ranks;
}
} // namespace

ExplanationSanityCalculator::ExplanationSanityCalculator() = default;
ExplanationSanityCalculator::~ExplanationSanityCalculator() = default;

void
ExplanationSanityCalculator::AddLayerName(const std::string & layer)
{
  m_LayerNames.push_back(layer);
  this->Modified();
}

void
ExplanationSanityCalculator::ClearLayerNames()
{
  m_LayerNames.clear();
  this->Modified();
}

double
ExplanationSanityCalculator::RankCorrelation(const std::vector<float> & a, const std::vector<float> & b)
{
  if (a.size() != b.size() || a.empty())
  {
    itkGenericExceptionMacro("Maps of " << a.size() << " and " << b.size() << " voxels cannot be compared");
  }
  const std::vector<double> first = RanksOf(a);
  const std::vector<double> second = RanksOf(b);
  const double              middle = 0.5 * static_cast<double>(a.size() - 1);
  double                    product = 0.0;
  double                    squareA = 0.0;
  double                    squareB = 0.0;
  for (std::size_t i = 0; i < first.size(); ++i)
  {
    product += (first[i] - middle) * (second[i] - middle);
    squareA += (first[i] - middle) * (first[i] - middle);
    squareB += (second[i] - middle) * (second[i] - middle);
  }
  return squareA > 0.0 && squareB > 0.0 ? product / std::sqrt(squareA * squareB)
                                        : std::numeric_limits<double>::quiet_NaN();
}

double
ExplanationSanityCalculator::Similarity(std::vector<float> a, std::vector<float> b, const Size<3> & size)
{
  if (a.size() != b.size() || a.size() != size[0] * size[1] * size[2] || a.empty())
  {
    itkGenericExceptionMacro("Maps of " << a.size() << " and " << b.size() << " voxels cannot be compared as " << size);
  }
  for (std::vector<float> * map : { &a, &b })
  {
    const float largest = *std::max_element(map->begin(), map->end());
    std::for_each(
      map->begin(), map->end(), [largest](float & value) { value = largest > 0.0F ? value / largest : value; });
  }
  const auto sizes = [&] {
    return std::vector<int64_t>{
      1, 1, static_cast<int64_t>(size[2]), static_cast<int64_t>(size[1]), static_cast<int64_t>(size[0])
    };
  }();
  std::vector<int64_t> window;
  for (std::size_t axis = 2; axis < 5; ++axis)
  {
    window.push_back(std::min<int64_t>(7, sizes[axis] - (sizes[axis] + 1) % 2)); // odd
  }
  const torch::NoGradGuard noGradient;
  // One axis after the other: 21 additions a voxel in place of 343.
  const auto mean = [&](torch::Tensor x) {
    for (std::size_t axis = 0; axis < 3; ++axis)
    {
      std::vector<int64_t> line(3, 1);
      line[axis] = window[axis];
      x = torch::avg_pool3d(x, line, 1);
    }
    return x;
  };
  const torch::Tensor x = torch::from_blob(a.data(), sizes, torch::kFloat32).to(torch::kDouble);
  const torch::Tensor y = torch::from_blob(b.data(), sizes, torch::kFloat32).to(torch::kDouble);
  const torch::Tensor meanX = mean(x);
  const torch::Tensor meanY = mean(y);
  const torch::Tensor varianceX = mean(x * x) - meanX * meanX;
  const torch::Tensor varianceY = mean(y * y) - meanY * meanY;
  const torch::Tensor covariance = mean(x * y) - meanX * meanY;
  constexpr double    c1 = 0.01 * 0.01;
  constexpr double    c2 = 0.03 * 0.03;
  return ((2.0 * meanX * meanY + c1) * (2.0 * covariance + c2) /
          ((meanX * meanX + meanY * meanY + c1) * (varianceX + varianceY + c2)))
    .mean()
    .item<double>();
}

void
ExplanationSanityCalculator::Compute()
{
  if (!m_Model || !m_Model->IsLoaded() || !m_RegionImage)
  {
    itkExceptionMacro("A loaded model and the region are needed; " << (m_RegionImage ? "the model" : "the region")
                                                                   << " is missing");
  }
  if (m_RegionImage->GetBufferedRegion() != m_RegionImage->GetLargestPossibleRegion())
  {
    itkExceptionMacro("The region holds " << m_RegionImage->GetBufferedRegion().GetSize() << " of its "
                                          << m_RegionImage->GetLargestPossibleRegion().GetSize()
                                          << " voxels: update what makes it, as a whole, before Compute()");
  }
  // What a computation that ends early leaves is empty, not half.
  m_MapNames.clear();
  m_RandomizedLayers.clear();
  m_RankCorrelations.clear();
  m_Similarities.clear();
  const TorchModelManifest & manifest = m_Model->GetManifest();
  if (manifest.Network != "PereiraGradingNetwork")
  {
    itkExceptionMacro("The layers of the model " << m_Model->GetPath() << " cannot be made random one after the other: "
                                                 << "its network is '" << manifest.Network
                                                 << "', not PereiraGradingNetwork");
  }
  TorchExplanationRequest request;
  request.Layers = m_LayerNames;
  request.Classes = { m_ClassToExplain };
  request.GuidedBackpropagation = true;
  request.Between = [this] { this->InvokeEvent(ProgressEvent()); };

  TorchVolumeView view;
  view.Buffer = m_RegionImage->GetBufferPointer();
  view.Components = m_RegionImage->GetNumberOfComponentsPerPixel();
  view.RegionSize = m_RegionImage->GetLargestPossibleRegion().GetSize();
  const std::vector<Magnitudes> trained = MapsOf(m_Model->Explain(view, request));

  std::vector<std::string> names;
  for (const std::string & layer : m_LayerNames)
  {
    names.push_back("gradcam-" + layer);
  }
  names.emplace_back("guided-backprop");
  const std::vector<std::string>   layers{ "fc3", "fc2", "fc1", "bn", "res4", "res3", "res2", "res1", "stem" };
  std::vector<std::vector<double>> rankCorrelations(names.size());
  std::vector<std::vector<double>> similarities(names.size());

  const TorchModes                     modes(torch::kCPU);
  std::map<std::string, torch::Tensor> state =
    ReadSafetensors(std::string(m_Model->GetPath()) + "/" + manifest.WeightsFile);
  PereiraGradingNetwork random(GradingOptionsOf(manifest));
  InitializeHeNormal(*random, at::make_generator<at::CPUGeneratorImpl>(m_Seed));
  const std::map<std::string, torch::Tensor> untrained = StateOfModule(*random);

  const TorchThreads  threads(MultiThreaderBase::GetGlobalDefaultNumberOfThreads());
  const auto          extent = [&](unsigned int axis) { return static_cast<int64_t>(view.RegionSize[axis]); };
  const auto          channels = static_cast<int64_t>(view.Components);
  const torch::Tensor input = torch::from_blob(const_cast<float *>(view.Buffer),
                                               { 1, extent(2), extent(1), extent(0), channels },
                                               torch::kFloat32)
                                .permute({ 0, 4, 1, 2, 3 });
  for (const std::string & layer : layers)
  {
    for (const auto & tensor : untrained)
    {
      if (tensor.first.rfind(layer + '.', 0) == 0)
      {
        state.at(tensor.first) = tensor.second.detach();
      }
    }
    const TemporaryWeights weights;
    WriteSafetensors(weights.GetPath(), state);
    const auto                    backend = MakeNativeBackend(manifest, weights.GetPath(), torch::kCPU, false);
    const std::vector<Magnitudes> maps =
      MapsOf(ExplainWithBackend(*backend, input, request, manifest.Layers, manifest.Temperature));
    for (std::size_t map = 0; map < maps.size(); ++map)
    {
      rankCorrelations[map].push_back(RankCorrelation(trained[map].Values, maps[map].Values));
      similarities[map].push_back(Similarity(trained[map].Values, maps[map].Values, maps[map].RegionSize));
    }
  }
  m_MapNames = std::move(names);
  m_RandomizedLayers = layers;
  m_RankCorrelations = std::move(rankCorrelations);
  m_Similarities = std::move(similarities);
}

void
ExplanationSanityCalculator::PrintSelf(std::ostream & os, Indent indent) const
{
  Superclass::PrintSelf(os, indent);
  itkPrintSelfObjectMacro(Model);
  itkPrintSelfObjectMacro(RegionImage);
  os << indent << "ClassToExplain: " << m_ClassToExplain << std::endl;
  os << indent << "Seed: " << m_Seed << std::endl;
  os << indent << "LayerNames:";
  for (const std::string & layer : m_LayerNames)
  {
    os << ' ' << layer;
  }
  os << std::endl;
  for (std::size_t map = 0; map < m_MapNames.size(); ++map)
  {
    for (std::size_t step = 0; step < m_RandomizedLayers.size(); ++step)
    {
      os << indent << m_MapNames[map] << ", random down to " << m_RandomizedLayers[step] << ": RankCorrelation "
         << m_RankCorrelations[map][step] << ", Similarity " << m_Similarities[map][step] << std::endl;
    }
  }
}
} // namespace itk
