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
#include "ExplanationRules.h"
#include "FusedSegmentation.h"
#include "ModelBackend.h"
#include "PereiraNetworks.h"
#include "Safetensors.h"

#include "itkMacro.h"

#include <algorithm>
#include <array>
#include <filesystem>

namespace itk
{
namespace
{
std::size_t
CountParameters(const torch::nn::Module & module)
{
  std::size_t count = 0;
  for (const torch::Tensor & parameter : module.parameters(true))
  {
    count += static_cast<std::size_t>(parameter.numel());
  }
  return count;
}

/** Refuses a width that the weights' file cannot fill, before memory is taken for it: that of one of \a copies networks
 * beside each other. */
template <typename TNetwork, typename TOptions>
void
CheckWidth(TOptions options, const std::string & weightsFile, int64_t copies = 1)
{
  // The number of parameters is quadratic in the width.
  const auto            width = static_cast<double>(options.Width);
  std::array<double, 3> count;
  for (unsigned int i = 0; i < 3; ++i)
  {
    options.Width = 1 + i;
    count[i] = static_cast<double>(CountParameters(*TNetwork(options)));
  }
  const double needed =
    static_cast<double>(copies) * (count[0] + (width - 1.0) * (count[1] - count[0]) +
                                   0.5 * (width - 1.0) * (width - 2.0) * (count[2] - 2.0 * count[1] + count[0]));
  constexpr double small = 16e6; // what is wrong with the weights tells more
  std::error_code  error;
  const auto       bytes = std::filesystem::file_size(weightsFile, error);
  if (!error && needed > small && static_cast<double>(bytes) < needed)
  {
    itkGenericExceptionMacro("A network of width " << width * static_cast<double>(copies) << " has " << needed
                                                   << " parameters, but the weights '" << weightsFile << "' have "
                                                   << bytes << " bytes: width and weights are not of one network");
  }
}

/** Fills the network, freezes it, and lays its kernels out as the interleaved input is. */
void
PrepareForInference(torch::nn::Module &   network,
                    const std::string &   weightsFile,
                    const torch::Device & device,
                    bool                  bfloat16)
{
  LoadStateIntoModule(network, ReadSafetensors(weightsFile), weightsFile);
  network.eval();
  for (torch::Tensor & parameter : network.parameters(true))
  {
    parameter.set_requires_grad(false);
  }
  network.to(device);
  for (const auto & module : network.modules(true))
  {
    if (auto * convolution = module->as<torch::nn::Conv3dImpl>())
    {
      torch::Tensor & weight = convolution->weight;
      weight.set_data(weight.to(weight.options().dtype(bfloat16 ? torch::kBFloat16 : torch::kFloat32),
                                false,
                                false,
                                torch::MemoryFormat::ChannelsLast3d));
      if (convolution->bias.defined() && bfloat16)
      {
        convolution->bias.set_data(convolution->bias.to(torch::kBFloat16));
      }
    }
  }
}

class SegmentationBackend : public ModelBackend
{
public:
  SegmentationBackend(const SegmentationNetworkOptions & options,
                      const std::string &                weightsFile,
                      const torch::Device &              device,
                      bool                               bfloat16)
    : m_Network(options)
    , m_BFloat16(bfloat16)
  {
    const bool fused = device.is_cpu() && FusedSegmentation::IsAvailable();
    PrepareForInference(*m_Network, weightsFile, device, bfloat16 && !fused);
    m_Parameters = CountParameters(*m_Network);
    if (fused)
    {
      m_Fused = std::make_unique<FusedSegmentation>(*m_Network, bfloat16);
      m_Network = nullptr;
    }
  }

  torch::Tensor
  Forward(const torch::Tensor & input, const BetweenLayers & between) const override
  {
    if (m_Fused)
    {
      return m_Fused->Forward(input, between);
    }
    torch::NoGradGuard noGradient;
    ForwardContext     context;
    context.BetweenLayers = between;
    return m_Network->forward(m_BFloat16 ? input.to(torch::kBFloat16) : input, context).to(torch::kFloat32);
  }

  TracedRun
  ForwardTraced(const torch::Tensor &,
                const std::vector<std::string> &,
                std::shared_ptr<const bool>,
                const BetweenLayers &) const override
  {
    itkGenericExceptionMacro("A segmentation network cannot be explained: its answer is an image and not a class. Give "
                             "a grading model");
  }

  std::vector<std::string>
  LayerNames() const override
  {
    return {};
  }

  std::size_t
  NumberOfParameters() const override
  {
    return m_Parameters;
  }

private:
  // forward() is not const in torch, but changes nothing in evaluation mode.
  mutable PereiraSegmentationNetwork       m_Network;
  std::unique_ptr<const FusedSegmentation> m_Fused; // on a processor, in place of the network
  bool                                     m_BFloat16;
  std::size_t                              m_Parameters{ 0 };
};

class GradingBackend : public ModelBackend
{
public:
  GradingBackend(const GradingNetworkOptions & options, const std::string & weightsFile, const torch::Device & device)
    : m_Network(options)
  {
    PrepareForInference(*m_Network, weightsFile, device, false);
  }

  torch::Tensor
  Forward(const torch::Tensor & input, const BetweenLayers & between) const override
  {
    torch::NoGradGuard noGradient;
    ForwardContext     context;
    context.BetweenLayers = between;
    return m_Network->forward(input, context);
  }

  TracedRun
  ForwardTraced(const torch::Tensor &            input,
                const std::vector<std::string> & layers,
                std::shared_ptr<const bool>      guidedSwitch,
                const BetweenLayers &            between) const override
  {
    const std::vector<std::string> known = LayerNames();
    for (const std::string & layer : layers)
    {
      if (std::find(known.begin(), known.end(), layer) == known.end())
      {
        itkGenericExceptionMacro("The grading network has no layer '"
                                 << layer << "'; its layers are stem, res1, res2, res3 and res4");
      }
    }
    TracedRun      run;
    ForwardContext context;
    context.BetweenLayers = between;
    context.ReLU = [&run, guidedSwitch, &between](const torch::Tensor & x) {
      // The gradient comes back in this thread on the processor alone. Not on the ReLU's output, where a hook says that
      // it is guided.
      if (between && x.requires_grad() && x.is_cpu())
      {
        x.register_hook([between](const torch::Tensor &) { between(); });
      }
      ++run.ExecutedReLUs;
      run.GuidedReLUs += guidedSwitch ? 1 : 0;
      return GuidedReLU(x, guidedSwitch);
    };
    context.Tap = [&run, &layers](const std::string & layer, const torch::Tensor & x) {
      if (std::find(layers.begin(), layers.end(), layer) == layers.end())
      {
        return x;
      }
      torch::Tensor tapped = TappedActivation(x);
      run.Activations.emplace_back(layer, tapped);
      return tapped;
    };
    torch::AutoGradMode gradient(true);
    run.Logits = m_Network->forward(input, context);
    return run;
  }

  std::vector<std::string>
  LayerNames() const override
  {
    return { "stem", "res1", "res2", "res3", "res4" };
  }

  std::size_t
  NumberOfParameters() const override
  {
    return CountParameters(*m_Network);
  }

private:
  mutable PereiraGradingNetwork m_Network;
};
} // namespace

std::shared_ptr<ModelBackend>
MakeNativeBackend(const TorchModelManifest & manifest,
                  const std::string &        weightsFile,
                  const torch::Device &      device,
                  bool                       bfloat16)
{
  if (manifest.Network == "PereiraSegmentationNetwork")
  {
    const SegmentationNetworkOptions options = SegmentationOptionsOf(manifest);
    CheckWidth<PereiraSegmentationNetwork>(options, weightsFile);
    return std::make_shared<SegmentationBackend>(options, weightsFile, device, bfloat16);
  }
  if (manifest.Network == "PereiraGradingNetwork")
  {
    const GradingNetworkOptions options = GradingOptionsOf(manifest);
    if (options.Groups > 0 && options.Width % options.Groups == 0) // else the network says it
    {
      GradingNetworkOptions one = options;
      one.Width /= options.Groups;
      one.Groups = 1;
      CheckWidth<PereiraGradingNetwork>(one, weightsFile, options.Groups);
    }
    return std::make_shared<GradingBackend>(options, weightsFile, device);
  }
  itkGenericExceptionMacro("The network '" << manifest.Network
                                           << "' is not one of this module: PereiraSegmentationNetwork or "
                                              "PereiraGradingNetwork. Other networks come as models/model.ts");
}
} // namespace itk
