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
#include "LayerGeometry.h"

#include "itkMacro.h"

#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>
#include <array>
#include <sstream>

namespace itk
{
namespace
{
/** First and last voxel on x, y, z that a cell's gradient reaches. */
struct Reach
{
  std::array<int64_t, 3> First;
  std::array<int64_t, 3> Last;
};

Reach
ReachOf(const torch::Tensor & magnitude) // [z, y, x]
{
  const torch::Tensor isReached = magnitude > 1e-7 * magnitude.max();
  Reach               reach;
  for (int64_t axis = 0; axis < 3; ++axis)
  {
    const std::array<int64_t, 2> others{ { axis == 2 ? 1 : 2, axis == 0 ? 1 : 0 } };
    const torch::Tensor          places =
      torch::nonzero(isReached.any(std::max(others[0], others[1]), false).any(std::min(others[0], others[1]), false));
    reach.First[axis == 0 ? 2 : axis == 2 ? 0 : 1] = places.min().item<int64_t>();
    reach.Last[axis == 0 ? 2 : axis == 2 ? 0 : 1] = places.max().item<int64_t>();
  }
  return reach;
}

[[noreturn]] void
Refuse(const std::string & layer, const std::string & why)
{
  itkGenericExceptionMacro("Nothing says where the cells of layer '"
                           << layer << "' lie, and a dry run does not tell (" << why
                           << "): add its offset and step to the manifest's layers");
}

TorchLayerGeometry
DryRun(const ModelBackend & backend, const std::string & layer, const torch::Tensor & input)
{
  // Pooling passes one voxel's gradient and a ReLU may pass none: several inputs together reach all that a cell sees.
  constexpr int runs = 4;

  const torch::AutoGradMode    withGradients(true);
  const at::Generator          generator = at::make_generator<at::CPUGeneratorImpl>(20180925);
  std::array<torch::Tensor, 2> magnitudes;
  std::array<int64_t, 3>       cell{ { 0, 0, 0 } }; // x, y, z
  for (int run = 0; run < runs; ++run)
  {
    const torch::Tensor x =
      torch::empty(input.sizes()).normal_(0.0, 1.0, generator).to(input.options()).requires_grad_();
    const ModelBackend::TracedRun traced = backend.ForwardTraced(x, { layer }, std::shared_ptr<const bool>());
    const auto                    found = std::find_if(
      traced.Activations.begin(), traced.Activations.end(), [&](const auto & item) { return item.first == layer; });
    if (found == traced.Activations.end() || found->second.dim() != 5)
    {
      Refuse(layer, "it gives no feature maps");
    }
    const torch::Tensor & activation = found->second;
    for (int64_t axis = 0; axis < 3; ++axis)
    {
      const int64_t cells = activation.size(4 - axis);
      if (cells < 2)
      {
        Refuse(layer, "it has one cell on an axis");
      }
      cell[axis] = (cells - 1) / 2;
    }
    const torch::Tensor weights = torch::empty({ activation.size(1) }, torch::kFloat)
                                    .normal_(0.0, 1.0, generator)
                                    .to(activation.device(), activation.scalar_type());
    for (int64_t neighbour = 0; neighbour < 2; ++neighbour)
    {
      const torch::Tensor score =
        (activation.select(4, cell[0] + neighbour).select(3, cell[1] + neighbour).select(2, cell[2] + neighbour)[0] *
         weights)
          .sum();
      const torch::Tensor gradient = torch::autograd::grad({ score }, { x }, {}, true, false, true)[0];
      if (!gradient.defined())
      {
        Refuse(layer, "it does not depend on the image");
      }
      const torch::Tensor magnitude = gradient[0].abs().amax(0).to(torch::kCPU);
      magnitudes[neighbour] = run == 0 ? magnitude : magnitudes[neighbour].maximum(magnitude);
    }
  }
  if (!(magnitudes[0].max().item<float>() > 0.0F) || !(magnitudes[1].max().item<float>() > 0.0F))
  {
    Refuse(layer, "its gradient is zero");
  }
  const Reach        first = ReachOf(magnitudes[0]);
  const Reach        second = ReachOf(magnitudes[1]);
  TorchLayerGeometry geometry;
  geometry.Layer = layer;
  for (unsigned int axis = 0; axis < 3; ++axis)
  {
    const int64_t step = second.First[axis] - first.First[axis];
    const int64_t last = input.size(4 - axis) - 1;
    const bool    seesAll = first.First[axis] == 0 && first.Last[axis] == last;
    if (seesAll || step < 1 || step != second.Last[axis] - first.Last[axis])
    {
      std::ostringstream why;
      why << "of the " << last + 1 << " voxels on axis " << axis << " one cell sees " << first.First[axis] << " to "
          << first.Last[axis] << " and the next " << second.First[axis] << " to " << second.Last[axis];
      Refuse(layer, why.str());
    }
    geometry.Step[axis] = static_cast<double>(step);
    geometry.Offset[axis] =
      0.5 * static_cast<double>(first.First[axis] + first.Last[axis]) - static_cast<double>(step * cell[axis]);
  }
  return geometry;
}
} // namespace

TorchLayerGeometry
FindLayerGeometry(const ModelBackend & backend, const std::string & layer, const torch::Tensor & input)
{
  std::ostringstream key;
  key << layer << ' ' << input.sizes();
  const std::lock_guard<std::mutex> lock(backend.FoundGeometriesMutex);
  const auto                        known = backend.FoundGeometries.find(key.str());
  if (known != backend.FoundGeometries.end())
  {
    return known->second;
  }
  return backend.FoundGeometries.emplace(key.str(), DryRun(backend, layer, input)).first->second;
}
} // namespace itk
