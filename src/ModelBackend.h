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
#ifndef ModelBackend_h
#define ModelBackend_h

#include "itkTorchExplanation.h"
#include "itkTorchModelManifest.h"

#include <torch/torch.h>

#include <map>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace itk
{
// A model in front of TorchModel: the native networks, a TorchScript graph or a compiled package. Tensors are [1, C,
// z, y, x] in the model's own axis order, float32 on the model's device. All methods are const and re-entrant.
class ModelBackend
{
public:
  virtual ~ModelBackend() = default;

  /** What one run of the network left for the explanation engine. */
  struct TracedRun
  {
    torch::Tensor Logits; // [1, classes], with its autograd graph; of a graph that ends in a softmax
                          // the logarithms of its output
    std::vector<std::pair<std::string, torch::Tensor>> Activations; // tapped layers, in the order of execution
    unsigned int                                       ExecutedReLUs{ 0 };
    unsigned int                                       GuidedReLUs{ 0 };
  };

  /** Called between the layers of the module's own networks, forward and backward; throws to end the run. */
  using BetweenLayers = std::function<void()>;

  /** Plain forward without gradients; the model's raw output. */
  virtual torch::Tensor
  Forward(const torch::Tensor & input, const BetweenLayers & between) const = 0;
  torch::Tensor
  Forward(const torch::Tensor & input) const
  {
    return this->Forward(input, {});
  }

  /** Forward that keeps the autograd graph, taps the named layers, and applies the guided rule to every ReLU where
   * asked. Several guided and plain backwards from ONE forward: the rule looks at \a guidedSwitch when the gradient
   * comes back. */
  virtual TracedRun
  ForwardTraced(const torch::Tensor &            input,
                const std::vector<std::string> & layers,
                std::shared_ptr<const bool>      guidedSwitch,
                const BetweenLayers &            between) const = 0;
  TracedRun
  ForwardTraced(const torch::Tensor &            input,
                const std::vector<std::string> & layers,
                std::shared_ptr<const bool>      guidedSwitch) const
  {
    return this->ForwardTraced(input, layers, std::move(guidedSwitch), {});
  }

  /** Layers that can be tapped. */
  virtual std::vector<std::string>
  LayerNames() const = 0;

  virtual std::size_t
  NumberOfParameters() const = 0;

  /** What a guided rule for ReLUs does not reach in the graph, such as "aten::gelu#2 in encoder.block3". */
  virtual std::vector<std::string>
  OtherActivations() const
  {
    return {};
  }

  /** What FindLayerGeometry() found, by layer and size of the input. */
  mutable std::mutex                                FoundGeometriesMutex;
  mutable std::map<std::string, TorchLayerGeometry> FoundGeometries;
};

/** Builds and fills the network that the manifest names from a verified safetensors file. */
std::shared_ptr<ModelBackend>
MakeNativeBackend(const TorchModelManifest & manifest,
                  const std::string &        weightsFile,
                  const torch::Device &      device,
                  bool                       bfloat16);

/** Loads a TorchScript file (consent was given and SHA-256 checked by the caller). */
std::shared_ptr<ModelBackend>
MakeTorchScriptBackend(const TorchModelManifest & manifest,
                       const std::string &        file,
                       const torch::Device &      device,
                       bool                       bfloat16);

/** Loads a package that AOTInductor compiled (consent was given and SHA-256 checked by the caller); refuses one for an
 * instruction set that the processor lacks before its code is loaded. */
std::shared_ptr<ModelBackend>
MakeInductorBackend(const TorchModelManifest & manifest, const std::string & file, const torch::Device & device);
} // namespace itk

#endif // ModelBackend_h
