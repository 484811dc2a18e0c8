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
#ifndef ExplanationRules_h
#define ExplanationRules_h

#include <torch/torch.h>

#include <memory>

namespace itk
{
/** ReLU whose gradient, while \a guidedSwitch says so, passes only where it is positive (Springenberg et al. 2015).
 * Equal to an autograd function of its own; the switch belongs to one run. */
inline torch::Tensor
GuidedReLU(const torch::Tensor & x, const std::shared_ptr<const bool> & guidedSwitch)
{
  torch::Tensor y = torch::relu(x);
  if (guidedSwitch && y.requires_grad())
  {
    y.register_hook(
      [guidedSwitch](const torch::Tensor & gradient) { return *guidedSwitch ? gradient.clamp_min(0) : gradient; });
  }
  return y;
}

/** The activation that a gradient is asked for. Where nothing before it needs a gradient, the graph starts here, and
 * the layers before it keep no memory. */
inline torch::Tensor
TappedActivation(const torch::Tensor & x)
{
  return x.requires_grad() ? x : x.detach().requires_grad_();
}
} // namespace itk

#endif // ExplanationRules_h
