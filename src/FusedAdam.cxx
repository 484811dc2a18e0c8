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
#include "FusedAdam.h"

#include <ATen/ops/_fused_adam.h>
#include <ATen/ops/_fused_adamw.h>

namespace itk
{
FusedAdam::FusedAdam(const torch::OrderedDict<std::string, torch::Tensor> & parameters,
                     bool                                                   decoupledDecay,
                     double                                                 weightDecay,
                     bool                                                   kernelsOnly)
  : m_DecoupledDecay(decoupledDecay)
  , m_WeightDecay(weightDecay)
  , m_KernelsOnly(kernelsOnly)
{
  for (const auto & item : parameters)
  {
    const torch::Tensor value = item.value().detach();
    m_Parameters.push_back({ item.key(), item.value(), torch::zeros_like(value), torch::zeros_like(value) });
  }
}

std::vector<torch::Tensor>
FusedAdam::Gradients() const
{
  std::vector<torch::Tensor> gradients;
  for (const Parameter & parameter : m_Parameters)
  {
    if (parameter.Value.grad().defined())
    {
      gradients.push_back(parameter.Value.grad());
    }
  }
  return gradients;
}

void
FusedAdam::ForgetGradients()
{
  for (Parameter & parameter : m_Parameters)
  {
    parameter.Value.mutable_grad() = torch::Tensor();
  }
}

void
FusedAdam::Step(std::uint64_t number, double rate)
{
  const torch::NoGradGuard noGradient;
  for (const bool decays : { true, false })
  {
    std::vector<torch::Tensor> values;
    std::vector<torch::Tensor> gradients;
    std::vector<torch::Tensor> firstMoments;
    std::vector<torch::Tensor> secondMoments;
    for (const Parameter & parameter : m_Parameters)
    {
      const torch::Tensor gradient = parameter.Value.grad();
      if (decays != (parameter.Value.dim() == 5 || !m_KernelsOnly) || !gradient.defined())
      {
        continue;
      }
      const torch::Tensor value = parameter.Value.detach();
      values.push_back(value);
      // The kernels go through the memory of all four side by side.
      gradients.push_back(gradient.strides() == value.strides() ? gradient : torch::empty_like(value).copy_(gradient));
      firstMoments.push_back(parameter.FirstMoment);
      secondMoments.push_back(parameter.SecondMoment);
    }
    if (values.empty())
    {
      continue;
    }
    const std::vector<torch::Tensor> numbers(
      values.size(), torch::full({}, static_cast<double>(number), values[0].options().dtype(torch::kFloat32)));
    const auto step = [&](auto function) {
      function(values,
               gradients,
               firstMoments,
               secondMoments,
               at::TensorList(),
               numbers,
               rate,
               0.9,
               0.999,
               decays ? m_WeightDecay : 0.0,
               1e-8,
               false,
               false);
    };
    if (m_DecoupledDecay)
    {
      step([](auto &&... arguments) { at::_fused_adamw_(arguments...); });
    }
    else
    {
      step([](auto &&... arguments) { at::_fused_adam_(arguments...); });
    }
  }
}
} // namespace itk
