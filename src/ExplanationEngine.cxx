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
#include "ExplanationEngine.h"

#include "LayerGeometry.h"

#include "itkCalibratedProbabilities.h"
#include "itkMacro.h"

#include <algorithm>
#include <iterator>
#include <set>
#include <sstream>
#include <unordered_set>

namespace itk
{
namespace
{
TorchVolume
ToVolume(torch::Tensor map) // [C, z, y, x]
{
  map = map.permute({ 1, 2, 3, 0 }).to(torch::kCPU, torch::kFloat).contiguous();
  TorchVolume volume;
  volume.Components = static_cast<unsigned int>(map.size(3));
  for (unsigned int axis = 0; axis < 3; ++axis)
  {
    volume.RegionSize[axis] = static_cast<SizeValueType>(map.size(2 - axis));
  }
  volume.Buffer.assign(map.data_ptr<float>(), map.data_ptr<float>() + map.numel());
  return volume;
}

/** From the manifest, else from a dry run. */
TorchLayerGeometry
GeometryOf(const std::string &                     layer,
           const std::vector<TorchLayerGeometry> & geometries,
           const ModelBackend &                    backend,
           const torch::Tensor &                   input)
{
  const auto hasName = [&](const std::string & name) {
    return std::find_if(geometries.begin(), geometries.end(), [&](const TorchLayerGeometry & geometry) {
      return geometry.Layer == name;
    });
  };
  auto found = hasName(layer);
  if (found == geometries.end())
  {
    found = hasName(layer.substr(0, layer.find('#'))); // a repeated call lies on the same cells
  }
  return found == geometries.end() ? FindLayerGeometry(backend, layer, input) : *found;
}

bool
IsRectifier(const std::string & name)
{
  static const char * const rectifiers[] = { "Relu", "Elu", "Prelu", "Silu", "Gelu", "Mish", "Hardswish", "Softplus" };
  return std::any_of(std::begin(rectifiers), std::end(rectifiers), [&](const char * part) {
    return name.find(part) != std::string::npos;
  });
}

/** Names of the rectifiers under the logits that no guided rule listens to: the proof that guided backpropagation is
 * what it says, for any backend. */
std::multiset<std::string>
UnguidedRectifiers(const torch::Tensor & logits)
{
  std::multiset<std::string>                  unguided;
  std::unordered_set<torch::autograd::Node *> seen;
  std::vector<torch::autograd::Node *>        open{ logits.grad_fn().get() };
  while (!open.empty())
  {
    torch::autograd::Node * node = open.back();
    open.pop_back();
    if (node == nullptr || !seen.insert(node).second)
    {
      continue;
    }
    if (IsRectifier(node->name()) && node->tensor_pre_hooks().empty())
    {
      unguided.insert(node->name());
    }
    for (const torch::autograd::Edge & edge : node->next_edges())
    {
      open.push_back(edge.function.get());
    }
  }
  return unguided;
}

std::string
Shape(const torch::Tensor & tensor)
{
  std::ostringstream out;
  out << tensor.sizes();
  return out.str();
}

void
RequireFinite(const torch::Tensor & tensor, const std::string & what)
{
  if (!torch::isfinite(tensor).all().item<bool>())
  {
    itkGenericExceptionMacro("The " << what
                                    << " hold NaN or infinite numbers: check the input's voxels and the weights");
  }
}

/** max(sum_l alpha_l F^l, 0), in double. */
torch::Tensor
WeighActivation(const torch::Tensor & activation, const torch::Tensor & gradient)
{
  const torch::Tensor alpha = gradient.to(torch::kDouble).mean({ 2, 3, 4 }, true);
  return (alpha * activation.detach().to(torch::kDouble)).sum(1).clamp_min(0.0);
}
} // namespace

TorchExplanation
ExplainWithBackend(const ModelBackend &                    backend,
                   const torch::Tensor &                   input,
                   const TorchExplanationRequest &         request,
                   const std::vector<TorchLayerGeometry> & geometries,
                   double                                  temperature)
{
  const torch::AutoGradMode       withGradients(true);
  std::vector<std::string>        layers; // each once
  const auto                      guided = std::make_shared<bool>(false);
  std::vector<TorchLayerGeometry> places;
  for (const std::string & layer : request.Layers)
  {
    if (std::find(layers.begin(), layers.end(), layer) == layers.end())
    {
      layers.push_back(layer);
      places.push_back(GeometryOf(layer, geometries, backend, input));
    }
  }

  const std::vector<std::string> others =
    request.GuidedBackpropagation ? backend.OtherActivations() : std::vector<std::string>();
  if (!others.empty() && !request.AllowOtherActivations)
  {
    std::string names;
    for (const std::string & other : others)
    {
      names += (names.empty() ? "" : ", ") + other;
    }
    itkGenericExceptionMacro("Guided backpropagation is defined for ReLU alone; the model also has "
                             << names << ". GradCAM is possible, or allow them to pass their own gradient");
  }

  const auto between = [&request] {
    if (request.Between)
    {
      request.Between();
    }
  };
  between();
  const torch::Tensor           x = input.detach().requires_grad_(request.GuidedBackpropagation);
  const ModelBackend::TracedRun run =
    backend.ForwardTraced(x, layers, request.GuidedBackpropagation ? guided : std::shared_ptr<bool>(), request.Between);
  if (!run.Logits.defined() || run.Logits.dim() < 1 || run.Logits.numel() < 1 || run.Logits.size(0) != 1)
  {
    itkGenericExceptionMacro("The model's output is "
                             << (run.Logits.defined() ? Shape(run.Logits) : std::string("nothing"))
                             << "; a classifier gives one row of logits");
  }
  const torch::Tensor logits = run.Logits.flatten();
  if (logits.numel() != logits.size(0) || (run.Logits.dim() > 1 && run.Logits.size(1) != logits.numel()))
  {
    itkGenericExceptionMacro("The model's output is " << Shape(run.Logits)
                                                      << "; a classifier gives one row of logits [1, classes]");
  }
  RequireFinite(logits.detach(), "logits");

  TorchExplanation    explanation;
  const torch::Tensor logitValues = logits.detach().to(torch::kCPU, torch::kDouble).contiguous();
  const int64_t       classes = logitValues.numel();
  explanation.Logits.assign(logitValues.data_ptr<double>(), logitValues.data_ptr<double>() + classes);
  explanation.Probabilities = CalibratedProbabilities(explanation.Logits, temperature);
  explanation.PredictedClass = static_cast<unsigned int>(
    std::max_element(explanation.Logits.begin(), explanation.Logits.end()) - explanation.Logits.begin());
  explanation.ExecutedReLUs = run.ExecutedReLUs;
  explanation.GuidedReLUs = run.GuidedReLUs;

  if (request.Layers.empty() && !request.GuidedBackpropagation)
  {
    return explanation;
  }
  std::vector<unsigned int> explained = request.Classes;
  if (explained.empty())
  {
    explained.push_back(explanation.PredictedClass);
  }
  for (const unsigned int label : explained)
  {
    if (label >= static_cast<unsigned int>(classes))
    {
      itkGenericExceptionMacro("Class " << label << " cannot be explained: the model has " << classes
                                        << " classes, counted from 0");
    }
  }
  if (!logits.requires_grad())
  {
    itkGenericExceptionMacro("The logits do not depend on what is explained in a way that has a gradient: is a layer "
                             "unused, or does the model run without gradients?");
  }
  if (request.GuidedBackpropagation)
  {
    const std::multiset<std::string> unguided = UnguidedRectifiers(logits);
    explanation.OtherActivations = others;
    if (request.AllowOtherActivations && others.empty())
    {
      explanation.OtherActivations.assign(unguided.begin(), unguided.end());
    }
    if ((!unguided.empty() && !request.AllowOtherActivations) || run.ExecutedReLUs != run.GuidedReLUs)
    {
      std::ostringstream names;
      std::copy(unguided.begin(), unguided.end(), std::ostream_iterator<std::string>(names, " "));
      itkGenericExceptionMacro("Guided backpropagation is refused: " << run.GuidedReLUs << " of " << run.ExecutedReLUs
                                                                     << " ReLUs follow the guided rule, and these "
                                                                        "activations do not: "
                                                                     << names.str());
    }
  }

  std::vector<torch::Tensor> activations;
  for (const std::string & layer : layers)
  {
    const auto tapped = std::find_if(
      run.Activations.begin(), run.Activations.end(), [&](const auto & item) { return item.first == layer; });
    if (tapped == run.Activations.end())
    {
      itkGenericExceptionMacro("Layer '" << layer << "' did not run");
    }
    if (tapped->second.dim() != 5 || tapped->second.size(0) != 1)
    {
      itkGenericExceptionMacro("Layer '" << layer << "' gives " << Shape(tapped->second)
                                         << "; GradCAM needs feature maps [1, channels, z, y, x]");
    }
    activations.push_back(tapped->second);
  }

  const torch::Tensor scores = request.ExplainProbability ? torch::softmax(logits / temperature, 0) : logits;
  std::vector<std::vector<torch::Tensor>> maps(layers.size()); // a layer, then a class
  for (const unsigned int label : explained)
  {
    const torch::Tensor score = scores[label];
    if (!activations.empty())
    {
      between();
      const auto gradients = torch::autograd::grad({ score }, activations, {}, true, false, true);
      for (std::size_t layer = 0; layer < layers.size(); ++layer)
      {
        if (!gradients[layer].defined())
        {
          itkGenericExceptionMacro("Class " << label << " does not depend on layer '" << layers[layer] << "'");
        }
        RequireFinite(gradients[layer], "gradients of layer '" + layers[layer] + "'");
        maps[layer].push_back(WeighActivation(activations[layer], gradients[layer]));
      }
    }
    if (request.GuidedBackpropagation)
    {
      between();
      *guided = true;
      const torch::Tensor gradient = torch::autograd::grad({ score }, { x }, {}, true)[0];
      *guided = false;
      RequireFinite(gradient, "gradients of the input");
      TorchGuidedMap map;
      map.Class = label;
      map.Map = ToVolume(gradient[0]);
      explanation.Guided.push_back(std::move(map));
    }
  }

  for (const std::string & layer : request.Layers)
  {
    const auto index = static_cast<std::size_t>(std::find(layers.begin(), layers.end(), layer) - layers.begin());
    for (std::size_t label = 0; label < explained.size(); ++label)
    {
      TorchGradCAM cam;
      cam.Geometry = places[index];
      cam.Geometry.Layer = layer;
      cam.Class = explained[label];
      cam.Map = ToVolume(maps[index][label]);
      cam.HasPositiveCell =
        std::any_of(cam.Map.Buffer.begin(), cam.Map.Buffer.end(), [](float value) { return value > 0.0F; });
      explanation.GradCAM.push_back(std::move(cam));
    }
  }
  return explanation;
}
} // namespace itk
