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
// The engine and its two backends against independent truths. This test alone sees src/ and LibTorch.
#include "BundleWriter.h"
#include "ErrorMessages.h"
#include "ExplanationEngine.h"
#include "ExplanationRules.h"
#include "ModelBackend.h"
#include "PereiraNetworks.h"

#include "ObliqueImage.h"
#include "SeededBundles.h"
#include "itkGradCAMImageFilter.h"

#include "itkImageRegionConstIteratorWithIndex.h"

#include <torch/script.h>

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <thread>

namespace
{
using torch::Tensor;

double
RelativeDifference(const Tensor & a, const Tensor & b)
{
  return ((a - b).abs().max() / b.abs().max()).item<double>();
}

Tensor
TensorOf(const itk::TorchVolume & volume)
{
  const auto & size = volume.RegionSize;
  return torch::tensor(at::ArrayRef<float>(volume.Buffer))
    .reshape({ static_cast<int64_t>(size[2]),
               static_cast<int64_t>(size[1]),
               static_cast<int64_t>(size[0]),
               static_cast<int64_t>(volume.Components) })
    .permute({ 3, 0, 1, 2 })
    .to(torch::kDouble);
}

/** Guided backpropagation written as an autograd function: nothing of it is in the engine. */
struct GuidedFunction : torch::autograd::Function<GuidedFunction>
{
  static Tensor
  forward(torch::autograd::AutogradContext * context, const Tensor & x)
  {
    const Tensor y = x * (x > 0);
    context->save_for_backward({ y });
    return y;
  }
  static torch::autograd::variable_list
  backward(torch::autograd::AutogradContext * context, torch::autograd::variable_list gradient)
  {
    const Tensor y = context->get_saved_variables()[0];
    return { gradient[0] * (gradient[0] > 0) * (y > 0) };
  }
};

Tensor
Guided(const Tensor & x)
{
  return GuidedFunction::apply(x);
}

/** A grading network of random weights and statistics, in double. */
itk::PereiraGradingNetwork
RandomNetwork(bool padded, std::uint64_t seed = 11)
{
  itk::GradingNetworkOptions options;
  options.Width = 4;
  options.Padded = padded;
  itk::PereiraGradingNetwork network(options);
  at::Generator              generator = at::make_generator<at::CPUGeneratorImpl>(seed);
  itk::InitializeHeNormal(*network, generator);
  const torch::NoGradGuard noGradient;
  for (const auto & module : network->modules(true))
  {
    if (auto * norm = module->as<torch::nn::BatchNorm3dImpl>())
    {
      norm->running_mean.normal_(0.0, 0.3, generator);
      norm->running_var.uniform_(0.5, 2.0, generator);
      norm->weight.uniform_(0.5, 1.5, generator);
      norm->bias.normal_(0.0, 0.3, generator);
    }
  }
  for (Tensor & parameter : network->parameters())
  {
    parameter.requires_grad_(false);
  }
  network->to(torch::kDouble);
  network->eval();
  return network;
}

// That network as a backend, so that the engine works in double.
class DoubleBackend : public itk::ModelBackend
{
public:
  explicit DoubleBackend(itk::PereiraGradingNetwork network)
    : m_Network(std::move(network))
  {}
  using ModelBackend::Forward;
  using ModelBackend::ForwardTraced;
  Tensor
  Forward(const Tensor & input, const BetweenLayers &) const override
  {
    const torch::NoGradGuard noGradient;
    return m_Network->forward(input);
  }
  TracedRun
  ForwardTraced(const Tensor &                   input,
                const std::vector<std::string> & layers,
                std::shared_ptr<const bool>      guidedSwitch,
                const BetweenLayers &) const override
  {
    TracedRun           run;
    itk::ForwardContext context;
    context.ReLU = [&](const Tensor & x) {
      ++run.ExecutedReLUs;
      ++run.GuidedReLUs;
      return itk::GuidedReLU(x, guidedSwitch);
    };
    context.Tap = [&](const std::string & layer, const Tensor & x) {
      if (std::find(layers.begin(), layers.end(), layer) == layers.end())
      {
        return x;
      }
      run.Activations.emplace_back(layer, itk::TappedActivation(x));
      return run.Activations.back().second;
    };
    run.Logits = m_Network->forward(input, context);
    return run;
  }
  std::vector<std::string>
  LayerNames() const override
  {
    return { "res3", "res4" };
  }
  std::size_t
  NumberOfParameters() const override
  {
    return 0;
  }

private:
  mutable itk::PereiraGradingNetwork m_Network;
};

std::vector<itk::TorchLayerGeometry>
Geometries(const std::vector<std::string> & layers)
{
  std::vector<itk::TorchLayerGeometry> geometries(layers.size());
  for (std::size_t i = 0; i < layers.size(); ++i)
  {
    geometries[i].Layer = layers[i];
  }
  return geometries;
}

torch::jit::Module
Convolution(const char * name, const Tensor & weight, const char * body)
{
  torch::jit::Module module(name);
  module.register_parameter("weight", weight, false);
  module.define(body);
  return module;
}

Tensor
Weights(std::vector<int64_t> shape, std::uint64_t seed)
{
  return torch::randn(shape, at::make_generator<at::CPUGeneratorImpl>(seed));
}

itk::TorchModelManifest
ForeignManifest(unsigned int channels = 2, unsigned int classes = 3)
{
  itk::TorchModelManifest manifest;
  manifest.Task = "grading";
  manifest.OutputActivation = "logits";
  manifest.AxisOrder = "zyx";
  for (unsigned int i = 0; i < channels; ++i)
  {
    manifest.ChannelNames.push_back("channel " + std::to_string(i));
  }
  for (unsigned int i = 0; i < classes; ++i)
  {
    manifest.ClassNames.push_back("class " + std::to_string(i));
  }
  return manifest;
}

std::shared_ptr<itk::ModelBackend>
SaveAndLoad(const torch::jit::Module &      module,
            const TemporaryFolder &         folder,
            const itk::TorchModelManifest & manifest = ForeignManifest())
{
  static unsigned int count = 0;
  const std::string   file = folder / ("model" + std::to_string(count++) + ".ts");
  module.save(file);
  return itk::MakeTorchScriptBackend(manifest, file, torch::kCPU, false);
}

/** Functional, in-place (result unused, so that only the alias shows it), reused, in a branch and in a loop; a block in
 * a block; one block called three times. */
torch::jit::Module
TangledModule()
{
  const char *       block = R"(
def forward(self, x):
    y = torch.conv3d(x, self.weight, None, [1, 1, 1], [1, 1, 1])
    if y.size(1) > 0:
        y = torch.relu(y)
    return y
)";
  torch::jit::Module encoder("Encoder");
  encoder.register_module("block3", Convolution("BlockA", Weights({ 4, 2, 3, 3, 3 }, 1), block));
  encoder.define("def forward(self, x):\n    return self.block3.forward(x)\n");
  torch::jit::Module top("Tangled");
  top.register_module("encoder", encoder);
  top.register_module("again", Convolution("BlockB", Weights({ 4, 4, 3, 3, 3 }, 2) * 0.2, block));
  top.register_module("head", Convolution("Head", Weights({ 3, 4, 1, 1, 1 }, 3), R"(
def forward(self, x):
    return torch.conv3d(x, self.weight)
)"));
  top.define(R"(
def forward(self, x):
    y = self.encoder.forward(x)
    z = y - 0.5
    torch.relu_(z)
    for i in range(3):
        z = self.again.forward(z) - 0.1
        torch.relu_(z)
    return torch.flatten(self.head.forward(z).mean([2, 3, 4], True), 1)
)");
  return top;
}

/** The same by hand, with any ReLU; \a activations gets encoder's output and the three of again. */
Tensor
Tangled(const Tensor & x, const std::function<Tensor(const Tensor &)> & relu, std::vector<Tensor> & activations)
{
  Tensor y = relu(torch::conv3d(x, Weights({ 4, 2, 3, 3, 3 }, 1), {}, 1, 1));
  activations.push_back(y);
  Tensor z = relu(y - 0.5);
  for (int i = 0; i < 3; ++i)
  {
    y = relu(torch::conv3d(z, Weights({ 4, 4, 3, 3, 3 }, 2) * 0.2, {}, 1, 1));
    activations.push_back(y);
    z = relu(y - 0.1);
  }
  return torch::conv3d(z, Weights({ 3, 4, 1, 1, 1 }, 3)).mean({ 2, 3, 4 });
}
} // namespace

TEST(ExplanationEngine, AlphaIsTheFiniteDifferenceOfTheLogit)
{
  for (const bool padded : { true, false })
  {
    auto                network = RandomNetwork(padded);
    const DoubleBackend backend(network);
    const int64_t       size = padded ? 16 : 72;
    const Tensor        x = Weights({ 1, 4, size, size + 8, size }, 5).to(torch::kDouble);

    itk::TorchExplanationRequest request;
    request.Layers = { "res4", "res3" };
    request.Classes = { 1, 0 };
    const auto explanation = itk::ExplainWithBackend(backend, x, request, Geometries(request.Layers));
    ASSERT_EQ(explanation.GradCAM.size(), 4U);

    // All cells of one channel moved by h: the logit moves by N alpha h.
    for (std::size_t layer = 0; layer < 2; ++layer)
    {
      Tensor activation;
      {
        const torch::NoGradGuard noGradient;
        itk::ForwardContext      context;
        context.Tap = [&](const std::string & name, const Tensor & f) {
          activation = name == request.Layers[layer] ? f : activation;
          return f;
        };
        network->forward(x, context);
      }
      // The rest of the network, written out.
      const auto moved = [&](int64_t channel, double step) {
        const torch::NoGradGuard noGradient;
        Tensor                   f = activation.clone();
        f.select(1, channel) += step;
        if (request.Layers[layer] == "res3")
        {
          f = network->res4->forward(torch::max_pool3d(f, 2, 2), {});
        }
        f = torch::relu(network->bn(f)).mean({ 2, 3, 4 }, true);
        f = network->fc2(torch::relu(network->fc1(f)));
        return network->fc3(torch::relu(f)).flatten();
      };
      const int64_t channels = activation.size(1);
      const double  cells = static_cast<double>(activation[0][0].numel());
      Tensor        alpha = torch::zeros({ channels, 2 }, torch::kDouble);
      for (int64_t channel = 0; channel < channels; ++channel)
      {
        alpha[channel] = (moved(channel, 1e-5) - moved(channel, -1e-5)) / 2e-5 / cells;
      }
      for (std::size_t label = 0; label < 2; ++label)
      {
        const auto & cam = explanation.GradCAM[2 * layer + label];
        EXPECT_EQ(cam.Geometry.Layer, request.Layers[layer]);
        EXPECT_EQ(cam.Class, request.Classes[label]);
        const Tensor weights = alpha.select(1, cam.Class).reshape({ channels, 1, 1, 1 });
        const Tensor truth = (weights * activation[0]).sum(0, true).clamp_min(0.0);
        ASSERT_EQ(TensorOf(cam.Map).sizes(), truth.sizes());
        const double scale = (weights * activation[0]).abs().max().item<double>();
        EXPECT_LT((TensorOf(cam.Map) - truth).abs().max().item<double>(), 1e-6 * scale);
        EXPECT_EQ(cam.HasPositiveCell, truth.max().item<double>() > 0.0);
      }
    }
  }
}

TEST(ExplanationEngine, InputGradientPassesFiniteDifferencesAndTheGuidedRuleIsTheBooks)
{
  auto                network = RandomNetwork(true, 14);
  const DoubleBackend backend(network);
  const Tensor        x = Weights({ 1, 4, 16, 24, 16 }, 6).to(torch::kDouble);

  // The hooks are there but switched off: the true gradient.
  const Tensor leaf = x.clone().requires_grad_();
  const auto   off = std::make_shared<bool>(false);
  const auto   run = backend.ForwardTraced(leaf, {}, off);
  const Tensor gradient = torch::autograd::grad({ run.Logits[0][1] }, { leaf })[0];
  for (std::uint64_t seed = 20; seed < 26; ++seed)
  {
    const Tensor direction = Weights({ 1, 4, 16, 24, 16 }, seed).to(torch::kDouble);
    const double h = 1e-7;
    const double difference =
      ((backend.Forward(x + h * direction) - backend.Forward(x - h * direction))[0][1] / (2.0 * h)).item<double>();
    EXPECT_NEAR((gradient * direction).sum().item<double>(), difference, 1e-5 * std::abs(difference) + 1e-7);
  }

  itk::TorchExplanationRequest request;
  request.GuidedBackpropagation = true;
  request.Classes = { 0, 1 };
  const auto explanation = itk::ExplainWithBackend(backend, x, request, {});
  EXPECT_EQ(explanation.ExecutedReLUs, 12U);
  EXPECT_EQ(explanation.GuidedReLUs, 12U);
  for (unsigned int label = 0; label < 2; ++label)
  {
    const Tensor        other = x.clone().requires_grad_();
    itk::ForwardContext context;
    context.ReLU = Guided;
    const Tensor guided =
      torch::autograd::grad({ network->forward(other, context)[0][static_cast<int64_t>(label)] }, { other })[0][0];
    ASSERT_GT(guided.abs().max().item<double>(), 0.0);
    EXPECT_LT(RelativeDifference(TensorOf(explanation.Guided[label].Map), guided), 1e-6);
    EXPECT_GT(RelativeDifference(gradient[0], guided), 0.1); // and the rule makes a difference
  }

  // Nothing of a run is left behind.
  EXPECT_TRUE(torch::GradMode::is_enabled());
  const torch::NoGradGuard noGradient;
  EXPECT_EQ(itk::ExplainWithBackend(backend, x, request, {}).Guided[0].Map.Buffer, explanation.Guided[0].Map.Buffer);
  EXPECT_FALSE(torch::GradMode::is_enabled());
}

TEST(ExplanationEngine, CanBeEndedBetweenTheLayersOfEveryPass)
{
  const TemporaryFolder   folder;
  itk::TorchModelManifest manifest = TinyGradingManifest();
  const auto              model = LoadSeeded(folder / "bundle", manifest);
  const Tensor            x = Weights({ 1, 72, 72, 72, 4 }, 6);
  itk::TorchVolumeView    view;
  view.Buffer = x.data_ptr<float>();
  view.Components = 4;
  view.RegionSize.Fill(72);

  itk::TorchExplanationRequest request;
  request.GuidedBackpropagation = true;
  request.Layers = { "res3" };
  const auto   whole = model->Explain(view, request);
  unsigned int calls = 0;
  unsigned int stopAt = 0;
  request.Between = [&] {
    if (++calls == stopAt)
    {
      throw itk::ProcessAborted(__FILE__, __LINE__);
    }
  };
  EXPECT_EQ(model->Explain(view, request).Guided[0].Map.Buffer, whole.Guided[0].Map.Buffer);
  // Before each of the three passes; 9 times in the forward; before every ReLU that the gradients come back through:
  // all 12, and the 5 after res3.
  const unsigned int all = calls;
  EXPECT_EQ(all, 3U + 9U + 12U + 5U);
  for (stopAt = 1; stopAt <= all; ++stopAt)
  {
    calls = 0;
    EXPECT_THROW(model->Explain(view, request), itk::ProcessAborted) << stopAt;
    EXPECT_EQ(calls, stopAt);
  }
  calls = 0;
  EXPECT_EQ(model->Explain(view, request).Guided[0].Map.Buffer, whole.Guided[0].Map.Buffer);
}

TEST(ExplanationEngine, ProbabilityOfTwoClassesIsTheScaledDifferenceOfLogits)
{
  const DoubleBackend          backend(RandomNetwork(true));
  const Tensor                 x = Weights({ 1, 4, 16, 16, 16 }, 8).to(torch::kDouble);
  itk::TorchExplanationRequest request;
  request.Layers = { "res4" };
  request.Classes = { 0, 1 };
  request.ExplainProbability = true;
  for (const double temperature : { 1.0, 2.5 })
  {
    const auto explanation = itk::ExplainWithBackend(backend, x, request, Geometries(request.Layers), temperature);

    const auto   run = backend.ForwardTraced(x, request.Layers, nullptr);
    const Tensor f = run.Activations[0].second;
    const Tensor gradient = torch::autograd::grad({ run.Logits[0][1] - run.Logits[0][0] }, { f })[0];
    const double p = explanation.Probabilities[1];
    EXPECT_NEAR(p, 1.0 / (1.0 + std::exp((explanation.Logits[0] - explanation.Logits[1]) / temperature)), 1e-12);
    const Tensor one = p * (1.0 - p) / temperature * (gradient.mean({ 2, 3, 4 }, true) * f).sum(1).detach();
    const double scale = one.abs().max().item<double>();
    EXPECT_LT((TensorOf(explanation.GradCAM[1].Map) - one.clamp_min(0)).abs().max().item<double>(), 1e-6 * scale);
    EXPECT_LT((TensorOf(explanation.GradCAM[0].Map) - (-one).clamp_min(0)).abs().max().item<double>(), 1e-6 * scale);
  }
}

TEST(ExplanationEngine, GraphOfAForeignModelIsEdited)
{
  const TemporaryFolder folder;
  const auto            backend = SaveAndLoad(TangledModule(), folder);
  EXPECT_EQ(backend->LayerNames(), (std::vector<std::string>{ "encoder", "encoder.block3", "again", "head" }));
  EXPECT_EQ(backend->NumberOfParameters(), 4U * 2 * 27 + 4 * 4 * 27 + 3 * 4);

  const Tensor                 x = Weights({ 1, 2, 6, 7, 8 }, 4);
  itk::TorchExplanationRequest request;
  request.Layers = { "encoder.block3", "again", "again#2", "again#3" };
  request.Classes = { 0, 1, 2 };
  request.GuidedBackpropagation = true;
  const auto explanation = itk::ExplainWithBackend(*backend, x, request, Geometries({ "encoder.block3", "again" }));
  EXPECT_EQ(explanation.ExecutedReLUs, 8U); // 1 + 1 + 3 * 2
  EXPECT_EQ(explanation.GuidedReLUs, 8U);

  std::vector<Tensor> plain;
  std::vector<Tensor> unused;
  const Tensor        leaf = x.clone().requires_grad_();
  const Tensor        logits = Tangled(leaf, [](const Tensor & t) { return torch::relu(t); }, plain);
  const Tensor        guidedLogits = Tangled(leaf, Guided, unused);
  EXPECT_LT(RelativeDifference(backend->Forward(x), logits.detach()), 1e-5);
  for (int64_t label = 0; label < 3; ++label)
  {
    EXPECT_NEAR(explanation.Logits[label], logits[0][label].item<double>(), 1e-5);
    const Tensor guided = torch::autograd::grad({ guidedLogits[0][label] }, { leaf }, {}, true)[0][0];
    ASSERT_GT(guided.abs().max().item<double>(), 0.0);
    EXPECT_LT(RelativeDifference(TensorOf(explanation.Guided[label].Map), guided.to(torch::kDouble)), 1e-4);
    const auto gradients = torch::autograd::grad({ logits[0][label] }, plain, {}, true);
    for (std::size_t layer = 0; layer < 4; ++layer)
    {
      const Tensor one = (gradients[layer].mean({ 2, 3, 4 }, true) * plain[layer]).sum(1).detach();
      const Tensor map = TensorOf(explanation.GradCAM[3 * layer + static_cast<std::size_t>(label)].Map);
      ASSERT_GT(one.abs().max().item<double>(), 0.0);
      EXPECT_LT((map - one.clamp_min(0)).abs().max().item<double>(), 1e-4 * one.abs().max().item<double>())
        << request.Layers[layer] << ", class " << label;
    }
  }
  EXPECT_CONTAINS(MessageOf([&] {
                    request.Layers = { "again#4" };
                    itk::ExplainWithBackend(*backend, x, request, Geometries({ "again" }));
                  }),
                  "'again#4' did not run");
}

TEST(ExplanationEngine, InputIsNotWrittenTo)
{
  const TemporaryFolder folder;
  torch::jit::Module    module("Writer");
  module.define("def forward(self, x):\n    torch.relu_(x)\n    return torch.sum(x, [2, 3, 4])\n");
  const auto   backend = SaveAndLoad(module, folder);
  const Tensor x = Weights({ 1, 2, 4, 4, 4 }, 9);
  const Tensor before = x.clone();
  const Tensor truth = torch::relu(x).sum({ 2, 3, 4 });
  EXPECT_TRUE(torch::equal(backend->Forward(x), truth));
  EXPECT_TRUE(torch::equal(x, before));

  itk::TorchExplanationRequest request;
  request.GuidedBackpropagation = true;
  request.Classes = { 1 };
  const auto explanation = itk::ExplainWithBackend(*backend, x, request, {});
  EXPECT_TRUE(torch::equal(x, before));
  EXPECT_TRUE(torch::equal(TensorOf(explanation.Guided[0].Map)[1], (x[0][1] > 0).to(torch::kDouble)));
  EXPECT_EQ(TensorOf(explanation.Guided[0].Map)[0].abs().sum().item<double>(), 0.0);

  // A model that gives its input back does not give the caller's memory.
  torch::jit::Module same("Same");
  same.define("def forward(self, x):\n    return x\n");
  EXPECT_FALSE(SaveAndLoad(same, folder)->Forward(x).is_alias_of(x));
}

TEST(ExplanationEngine, ActivationIsWhatTheLayerGave)
{
  // The layer's output is overwritten in place right after it; the map is made of what the layer gave.
  const TemporaryFolder folder;
  torch::jit::Module    module("Overwriting");
  module.register_module("layer", Convolution("Layer", Weights({ 3, 2, 1, 1, 1 }, 12), R"(
def forward(self, x):
    return torch.conv3d(x, self.weight)
)"));
  module.define(R"(
def forward(self, x):
    y = self.layer.forward(x)
    torch.relu_(y)
    y.mul_(2.0)
    return torch.mean(y, [2, 3, 4])
)");
  const auto                   backend = SaveAndLoad(module, folder);
  const Tensor                 x = Weights({ 1, 2, 3, 4, 5 }, 13);
  itk::TorchExplanationRequest request;
  request.Layers = { "layer" };
  request.Classes = { 2 };
  const auto   explanation = itk::ExplainWithBackend(*backend, x, request, Geometries({ "layer" }));
  const Tensor f = torch::conv3d(x, Weights({ 3, 2, 1, 1, 1 }, 12))[0][2].to(torch::kDouble);
  // d mean(2 relu(f)) / df = 2 [f > 0] / 60, its mean over 60 cells.
  const Tensor truth = ((f > 0).to(torch::kDouble).sum() * 2.0 / 3600.0 * f).clamp_min(0);
  EXPECT_LT(RelativeDifference(TensorOf(explanation.GradCAM[0].Map)[0], truth), 1e-6);
}

TEST(ExplanationEngine, OtherActivationsAreRefusedByName)
{
  const TemporaryFolder folder;
  for (const char * call : { "torch.leaky_relu(y, 0.1)",
                             "torch.elu(y)",
                             "torch.gelu(y)",
                             "torch.silu(y)",
                             "torch.relu6(y)",
                             "torch.prelu(y, torch.ones([1]))",
                             "torch.clamp_min(y, 0)",
                             "torch.clamp(y, min=0)",
                             "torch.maximum(y, torch.zeros([1]))",
                             "torch.sigmoid(y) * y" })
  {
    torch::jit::Module module("Other");
    module.register_module("layer", Convolution("Layer", Weights({ 3, 2, 1, 1, 1 }, 12), R"(
def forward(self, x):
    return torch.conv3d(x, self.weight)
)"));
    module.define(std::string("def forward(self, x):\n    y = torch.relu(self.layer.forward(x))\n    y = ") + call +
                  "\n    return torch.mean(y, [2, 3, 4])\n");
    const auto                   backend = SaveAndLoad(module, folder);
    const Tensor                 x = Weights({ 1, 2, 3, 4, 5 }, 13);
    itk::TorchExplanationRequest request;
    request.Layers = { "layer" };
    EXPECT_EQ(MessageOf([&] { itk::ExplainWithBackend(*backend, x, request, Geometries({ "layer" })); }), "") << call;
    request.GuidedBackpropagation = true;
    const std::string text(call);
    EXPECT_CONTAINS(MessageOf([&] { itk::ExplainWithBackend(*backend, x, request, Geometries({ "layer" })); }),
                    "aten::" + text.substr(6, text.find('(') - 6) + "#1");
    request.AllowOtherActivations = true;
    const auto allowed = itk::ExplainWithBackend(*backend, x, request, Geometries({ "layer" }));
    EXPECT_EQ(allowed.OtherActivations.size(), 1U) << call;
    EXPECT_EQ(allowed.Guided.size(), 1U);
  }

  // A sigmoid that gives the score itself is none.
  torch::jit::Module last("Last");
  last.register_module("layer", Convolution("Layer", Weights({ 3, 2, 1, 1, 1 }, 12), R"(
def forward(self, x):
    return torch.conv3d(x, self.weight)
)"));
  last.define(
    "def forward(self, x):\n    return torch.sigmoid(torch.mean(torch.relu(self.layer.forward(x)), [2, 3, 4]))\n");
  itk::TorchExplanationRequest ofLast;
  ofLast.GuidedBackpropagation = true;
  EXPECT_EQ(itk::ExplainWithBackend(*SaveAndLoad(last, folder), Weights({ 1, 2, 3, 4, 5 }, 13), ofLast, {}).GuidedReLUs,
            1U);

  // Each node is named, by its occurrence and by the submodule that holds it.
  torch::jit::Module block("Block");
  block.register_module("inner", Convolution("Inner", Weights({ 2, 2, 1, 1, 1 }, 12), R"(
def forward(self, x):
    return torch.silu(torch.conv3d(x, self.weight))
)"));
  block.define("def forward(self, x):\n    return torch.gelu(self.inner.forward(x))\n");
  torch::jit::Module module("Named");
  module.register_module("block", block);
  module.define(
    "def forward(self, x):\n    return torch.mean(torch.gelu(self.block.forward(self.block.forward(x))), [2, 3, 4])\n");
  const auto                   backend = SaveAndLoad(module, folder);
  itk::TorchExplanationRequest request;
  request.GuidedBackpropagation = true;
  EXPECT_CONTAINS(MessageOf([&] { itk::ExplainWithBackend(*backend, Weights({ 1, 2, 3, 4, 5 }, 13), request, {}); }),
                  "aten::silu#1 in block.inner, aten::gelu#1 in block, aten::silu#2 in block.inner, aten::gelu#2 in "
                  "block, aten::gelu#3.");
}

// Two runs at a time, one class then another: what was computed stays, and every run is as if it were alone.
TEST(ExplanationEngine, RunsOfAForeignModelDoNotDisturbEachOther)
{
  const TemporaryFolder        folder;
  const auto                   backend = SaveAndLoad(TangledModule(), folder);
  const Tensor                 x = Weights({ 1, 2, 5, 6, 7 }, 13);
  itk::TorchExplanationRequest request;
  request.Layers = { "again#2" };
  request.Classes = { 0 };
  request.GuidedBackpropagation = true;
  const auto explain = [&](unsigned int label) {
    auto own = request;
    own.Classes = { label };
    return itk::ExplainWithBackend(*backend, x, own, Geometries({ "again" }));
  };
  const auto first = explain(0);
  const auto kept = first.Guided[0].Map.Buffer;
  const auto second = explain(1);
  EXPECT_EQ(first.Guided[0].Map.Buffer, kept);
  std::vector<std::thread>             threads;
  std::array<itk::TorchExplanation, 8> found;
  for (unsigned int i = 0; i < found.size(); ++i)
  {
    threads.emplace_back([&, i] { found[i] = explain(i % 2); });
  }
  for (std::thread & thread : threads)
  {
    thread.join();
  }
  for (unsigned int i = 0; i < found.size(); ++i)
  {
    const auto & alone = i % 2 == 0 ? first : second;
    EXPECT_EQ(found[i].Guided[0].Map.Buffer, alone.Guided[0].Map.Buffer);
    EXPECT_EQ(found[i].GradCAM[0].Map.Buffer, alone.GradCAM[0].Map.Buffer);
    EXPECT_EQ(found[i].GuidedReLUs, alone.GuidedReLUs);
  }
}

TEST(ExplanationEngine, FrozenGraphIsExplainedByOperator)
{
  const TemporaryFolder folder;
  torch::jit::Module    module = TangledModule();
  module.eval();
  const auto backend = SaveAndLoad(torch::jit::freeze(module), folder);
  const auto names = backend->LayerNames();
  ASSERT_NE(std::find(names.begin(), names.end(), "conv3d#1"), names.end());

  const auto                   whole = SaveAndLoad(module, folder);
  const Tensor                 x = Weights({ 1, 2, 6, 7, 8 }, 4);
  itk::TorchExplanationRequest request;
  request.GuidedBackpropagation = true;
  request.Classes = { 1 };
  const auto thawed = itk::ExplainWithBackend(*whole, x, request, {});
  request.Layers = { "conv3d#1" };
  const auto frozen = itk::ExplainWithBackend(*backend, x, request, Geometries({ "conv3d#1" }));
  EXPECT_EQ(frozen.GuidedReLUs, thawed.GuidedReLUs);
  EXPECT_LT(RelativeDifference(TensorOf(frozen.Guided[0].Map), TensorOf(thawed.Guided[0].Map)), 1e-5);

  const Tensor        leaf = x.clone().requires_grad_();
  const Tensor        f = torch::conv3d(leaf, Weights({ 4, 2, 3, 3, 3 }, 1), {}, 1, 1);
  std::vector<Tensor> unused;
  bool                first = true;
  const Tensor        logits = Tangled(
    leaf,
    [&](const Tensor & t) {
      const Tensor from = first ? f : t;
      first = false;
      return torch::relu(from);
    },
    unused);
  const Tensor gradient = torch::autograd::grad({ logits[0][1] }, { f })[0];
  const Tensor one = (gradient.mean({ 2, 3, 4 }, true) * f).sum(1).detach();
  EXPECT_LT((TensorOf(frozen.GradCAM[0].Map) - one.clamp_min(0)).abs().max().item<double>(),
            1e-4 * one.abs().max().item<double>());
}

TEST(ExplanationEngine, OutputsAreReadAndErrorsAreNamed)
{
  const TemporaryFolder folder;
  const Tensor          x = Weights({ 1, 2, 3, 4, 5 }, 13);
  const Tensor          truth = x.mean({ 2, 3, 4 });
  for (const char * result : { "(y, x)", "{'logits': y}", "[y, x]" })
  {
    torch::jit::Module module("Result");
    module.define(std::string("def forward(self, x):\n    y = torch.mean(x, [2, 3, 4])\n    return ") + result + "\n");
    EXPECT_TRUE(torch::equal(SaveAndLoad(module, folder)->Forward(x), truth)) << result;
  }
  torch::jit::Module number("Number");
  number.define("def forward(self, x):\n    return 3\n");
  EXPECT_CONTAINS(MessageOf([&] { SaveAndLoad(number, folder)->Forward(x); }), "returns Int");
  torch::jit::Module two("Two");
  two.define("def forward(self, x, y):\n    return x\n");
  EXPECT_CONTAINS(MessageOf([&] { SaveAndLoad(two, folder); }), "2 inputs");

  torch::jit::Module layer = Convolution("Layer", Weights({ 3, 2, 1, 1, 1 }, 12), R"(
def forward(self, x):
    return torch.softmax(torch.mean(torch.conv3d(x, self.weight), [2, 3, 4]), 1)
)");
  const auto         failing = SaveAndLoad(layer, folder);
  const std::string  message = MessageOf([&] { failing->Forward(Weights({ 1, 5, 3, 4, 5 }, 1)); });
  EXPECT_CONTAINS(message, ".ts' failed on 5 channels, tensor [1, 5, 3, 4, 5], device cpu");

  // Of a graph that ends in a softmax, the logits before it are explained.
  auto manifest = ForeignManifest();
  manifest.OutputActivation = "softmax";
  itk::TorchExplanationRequest nothing;
  const auto   explanation = itk::ExplainWithBackend(*SaveAndLoad(layer, folder, manifest), x, nothing, {});
  const Tensor logits = torch::conv3d(x, Weights({ 3, 2, 1, 1, 1 }, 12)).mean({ 2, 3, 4 });
  EXPECT_NEAR(explanation.Logits[2], logits[0][2].item<double>(), 1e-6);
  EXPECT_NEAR(explanation.Probabilities[2], torch::softmax(logits, 1)[0][2].item<double>(), 1e-6);

  layer = Convolution("NotFinite", Weights({ 3, 2, 1, 1, 1 }, 12) * std::numeric_limits<float>::infinity(), R"(
def forward(self, x):
    return torch.mean(torch.conv3d(x, self.weight), [2, 3, 4])
)");
  EXPECT_CONTAINS(MessageOf([&] { itk::ExplainWithBackend(*SaveAndLoad(layer, folder), x, nothing, {}); }), "NaN");
  EXPECT_CONTAINS(
    MessageOf([&] { itk::MakeTorchScriptBackend(ForeignManifest(), folder / "absent.ts", torch::kCPU, false); }),
    "absent.ts");
}

TEST(ExplanationEngine, BFloat16KeepsStridesInFloat32AndRefusesExplanations)
{
  const TemporaryFolder folder;
  const Tensor          x = Weights({ 1, 2, 4, 4, 4 }, 13);
  const Tensor          weight = Weights({ 3, 2, 1, 1, 1 }, 12);
  for (const int64_t stride : { 1, 2, 4 }) // 4: an output of one voxel, which bfloat16 gets wrong
  {
    const std::string  steps = "[" + std::to_string(stride) + ", 1, " + std::to_string(stride) + "]";
    torch::jit::Module module =
      Convolution("Layer",
                  weight,
                  ("def forward(self, x):\n    return torch.conv3d(torch.conv3d(x, self.weight, None, " + steps +
                   "), torch.ones([1, 3, 1, 1, 1], dtype=x.dtype))\n")
                    .c_str());
    const std::string file = folder / ("stride" + std::to_string(stride) + ".ts");
    module.save(file);
    const auto   backend = itk::MakeTorchScriptBackend(ForeignManifest(), file, torch::kCPU, true);
    const Tensor output = backend->Forward(x);
    EXPECT_EQ(output.scalar_type(), torch::kFloat);
    const Tensor truth = torch::conv3d(x, weight, {}, { stride, 1, stride }).sum(1, true);
    ASSERT_EQ(output.sizes(), truth.sizes());
    EXPECT_LT(RelativeDifference(output, truth), 0.02);
    EXPECT_CONTAINS(MessageOf([&] { backend->ForwardTraced(x, {}, nullptr); }), "float32");
  }
}

namespace
{
using ImageType = itk::VectorImage<float, 3>;
using MapType = itk::Image<float, 3>;

/** The physical point of the largest voxel. */
MapType::PointType
PeakOf(const MapType * map)
{
  itk::ImageRegionConstIteratorWithIndex<MapType> it(map, map->GetBufferedRegion());
  MapType::IndexType                              peak = it.GetIndex();
  float                                           largest = it.Get();
  for (; !it.IsAtEnd(); ++it)
  {
    if (it.Get() > largest)
    {
      largest = it.Get();
      peak = it.GetIndex();
    }
  }
  MapType::PointType point;
  map->TransformIndexToPhysicalPoint(peak, point);
  return point;
}

/** One marked voxel, the same physical place in all eight flips of an oblique, anisotropic, asymmetric grid; \a height
 * is the closed form of the peak. */
void
PeakIsAtTheMark(const itk::TorchModel *         model,
                const std::string &             layer,
                const itk::Size<3> &            size,
                unsigned int                    channels,
                const std::array<double, 3> &   step,
                const std::array<unsigned, 3> & marked,
                double                          height)
{
  const auto           image = oblique::Make<ImageType>(size[0], size[1], size[2], channels);
  const auto           start = image->GetLargestPossibleRegion().GetIndex();
  ImageType::PointType mark;
  ImageType::PointType lastCorner;
  image->TransformIndexToPhysicalPoint({ { start[0] + marked[0], start[1] + marked[1], start[2] + marked[2] } }, mark);
  const auto plainDirection = image->GetDirection();
  const auto plainOrigin = image->GetOrigin();
  for (unsigned int flips = 0; flips < 8; ++flips)
  {
    // The flipped grid has the same voxels: its first one is the last one of each flipped axis.
    auto                 direction = plainDirection;
    ImageType::IndexType corner = start;
    ImageType::IndexType at;
    for (unsigned int axis = 0; axis < 3; ++axis)
    {
      const bool flip = ((flips >> axis) & 1U) != 0;
      at[axis] = start[axis] + (flip ? size[axis] - 1 - marked[axis] : marked[axis]);
      if (flip)
      {
        corner[axis] += static_cast<itk::IndexValueType>(size[axis]) - 1;
        for (unsigned int row = 0; row < 3; ++row)
        {
          direction[row][axis] = -direction[row][axis];
        }
      }
    }
    image->SetDirection(plainDirection);
    image->SetOrigin(plainOrigin);
    image->TransformIndexToPhysicalPoint(corner, lastCorner);
    image->SetDirection(direction);
    ImageType::PointType first;
    image->TransformIndexToPhysicalPoint(start, first);
    image->SetOrigin(plainOrigin + (lastCorner - first));
    image->TransformIndexToPhysicalPoint(at, first);
    ASSERT_LT(first.EuclideanDistanceTo(mark), 1e-9);

    std::fill_n(image->GetBufferPointer(), size[0] * size[1] * size[2] * channels, 0.0F);
    image->GetBufferPointer()[image->ComputeOffset(at) * channels] = 10.0F;
    image->Modified();

    const auto filter = itk::GradCAMImageFilter<ImageType, MapType>::New();
    filter->SetModel(model);
    filter->SetInput(image);
    filter->AddLayerName(layer);
    filter->SetClassToExplain(1);
    filter->Update();
    EXPECT_EQ(filter->GetPredictedClass(), 1UL);

    // On a fine grid of another orientation, drawn from the same explanation.
    const auto fine = itk::GradCAMImageFilter<ImageType, MapType>::New();
    const auto reference = MapType::New();
    reference->SetRegions(itk::Size<3>{ { 41, 43, 47 } });
    const auto         turned = plainDirection * plainDirection;
    MapType::PointType origin = mark;
    for (unsigned int row = 0; row < 3; ++row)
    {
      origin[row] -= 20.3 * (turned[row][0] + turned[row][1] + turned[row][2]);
    }
    reference->SetDirection(turned);
    reference->SetOrigin(origin);
    fine->SetInput(image);
    fine->SetExplanation(filter->GetExplanation());
    fine->AddLayerName(layer);
    fine->SetClassToExplain(1);
    fine->SetReferenceImage(reference);
    fine->Update();

    for (const MapType * map : { filter->GetOutput(), fine->GetOutput() })
    {
      const auto away = image->GetInverseDirection() * (PeakOf(map) - mark);
      for (unsigned int axis = 0; axis < 3; ++axis)
      {
        // Half a cell, and the fine grid's own diagonal.
        const double sampling = map == fine->GetOutput() ? 0.9 : 1e-9;
        EXPECT_LE(std::abs(away[axis]), 0.5 * step[axis] * image->GetSpacing()[axis] + sampling)
          << "flips " << flips << ", axis " << axis;
      }
    }
    const auto * begin = filter->GetOutput()->GetBufferPointer();
    const auto   cells = filter->GetOutput()->GetBufferedRegion().GetNumberOfPixels();
    EXPECT_NEAR(*std::max_element(begin, begin + cells), height, 1e-5 * height);
    EXPECT_EQ(std::count_if(begin, begin + cells, [](float value) { return value > 0.0F; }), 1);
  }
}
} // namespace

TEST(ExplanationEngine, ClosedFormOfTheNativeNetworkInEveryFlip)
{
  // Channel 0 walks through the network untouched: convolutions are the identity, blocks their shortcut, the rest zero.
  itk::GradingNetworkOptions options;
  options.Width = 2;
  itk::PereiraGradingNetwork network(options);
  {
    const torch::NoGradGuard noGradient;
    for (auto & parameter : network->named_parameters())
    {
      const std::string & name = parameter.key();
      if (parameter.value().dim() == 5)
      {
        parameter.value().zero_();
        if (name.find("res") == std::string::npos || name.find("shortcut") != std::string::npos)
        {
          const int64_t middle = parameter.value().size(2) / 2;
          parameter.value()[name.find("fc3") == std::string::npos ? 0 : 1][0][middle][middle][middle] = 1.0;
        }
      }
      else if (name.find("fc") != std::string::npos)
      {
        parameter.value().zero_();
      }
    }
  }
  const TemporaryFolder folder;
  auto                  manifest = TinyGradingManifest(2, 0);
  itk::WriteNativeBundle(folder / "bundle", manifest, *network);
  const auto model = itk::TorchModel::New();
  model->SetPath(folder / "bundle");
  model->Load();

  // F is 10 s in one cell (s from two batch norms, of the stem and of the end); the logit is its mean over res4's
  // 2 x 3 x 4 cells, so that alpha = s / 24 / (12 * 14 * 16) and E = alpha F.
  const double s = 1.0 / std::sqrt(1.0 + 1e-5);
  const double height = s / 24.0 / (12.0 * 14.0 * 16.0) * 10.0 * s;
  PeakIsAtTheMark(model, "res3", itk::Size<3>{ { 80, 88, 96 } }, 4, { { 4.0, 4.0, 4.0 } }, { { 37, 50, 59 } }, height);
}

TEST(ExplanationEngine, ClosedFormOfBothAxisOrdersInEveryFlip)
{
  for (const bool xyz : { false, true })
  {
    // Cells of 2 x 3 x 4 voxels along x, y, z; the tensor's axes are z, y, x or x, y, z.
    const std::string  kernel = xyz ? "[2, 3, 4]" : "[4, 3, 2]";
    torch::jit::Module pool("Pool");
    pool.define("def forward(self, x):\n    return torch.avg_pool3d(x, " + kernel + ", " + kernel + ")\n");
    torch::jit::Module module("Pooled");
    module.register_module("pool", pool);
    module.define(R"(
def forward(self, x):
    y = torch.mean(torch.relu(self.pool.forward(x)), [2, 3, 4])[:, :1]
    return torch.cat([-y, y], 1)
)");
    const TemporaryFolder folder;
    module.save(folder / "model.ts");
    itk::TorchModelManifest manifest = ForeignManifest(2, 2);
    manifest.AxisOrder = xyz ? "xyz" : "zyx";
    manifest.Layers.resize(1);
    manifest.Layers[0].Layer = "pool";
    manifest.Layers[0].Offset = { { 0.5, 1.0, 1.5 } };
    manifest.Layers[0].Step = { { 2.0, 3.0, 4.0 } };
    const auto model = itk::TorchModel::New();
    model->SetPath(folder / "model.ts");
    model->SetManifest(manifest);
    model->SetTrustModelCode(true);
    model->Load();
    // F is 10 / 24 in one of 7 * 6 * 4 cells, where alone the ReLU passes a gradient.
    const double cells = 7.0 * 6.0 * 4.0;
    PeakIsAtTheMark(model,
                    "pool",
                    itk::Size<3>{ { 14, 18, 16 } },
                    2,
                    manifest.Layers[0].Step,
                    { { 11, 4, 9 } },
                    10.0 / 24.0 / cells / cells);
  }
}

TEST(ExplanationEngine, CellsOfForeignLayersAreFoundByADryRun)
{
  const TemporaryFolder folder;
  torch::jit::Module    module("Pooled");
  module.register_module("wide", Convolution("Wide", Weights({ 8, 2, 3, 3, 3 }, 1), R"(
def forward(self, x):
    return torch.max_pool3d(torch.relu(torch.conv3d(x, self.weight)), [2, 2, 2])
)"));
  module.register_module("deep", Convolution("Deep", Weights({ 6, 8, 3, 3, 3 }, 2), R"(
def forward(self, x):
    return torch.conv3d(x, self.weight, None, [1, 2, 2])
)"));
  module.register_module("all", Convolution("All", Weights({ 3, 6, 1, 1, 1 }, 3), R"(
def forward(self, x):
    return torch.conv3d(x - x.mean([2, 3, 4], True), self.weight)
)"));
  module.register_module("last", Convolution("Last", Weights({ 3, 3, 1, 1, 1 }, 4), R"(
def forward(self, x):
    return torch.conv3d(torch.relu(x).mean([2, 3, 4], True), self.weight)
)"));
  module.define(R"(
def forward(self, x):
    return torch.flatten(self.last.forward(self.all.forward(self.deep.forward(self.wide.forward(x)))), 1)
)");
  const auto                   backend = SaveAndLoad(module, folder);
  const Tensor                 x = Weights({ 1, 2, 20, 24, 28 }, 5); // z, y, x
  itk::TorchExplanationRequest request;
  request.Layers = { "deep", "wide" };
  request.Classes = { 0, 1 };
  const auto explanation = itk::ExplainWithBackend(*backend, x, request, {});
  ASSERT_EQ(explanation.GradCAM.size(), 4U);
  // Convolution of 3: 1 + i; pooling: 1.5 + 2 i; convolution of 3 with stride: 1.5 + 2 (1 + stride i).
  const auto & deep = explanation.GradCAM[0].Geometry;
  const auto & wide = explanation.GradCAM[3].Geometry;
  EXPECT_EQ(deep.Layer, "deep");
  EXPECT_EQ(deep.Offset, (std::array<double, 3>{ { 3.5, 3.5, 3.5 } }));
  EXPECT_EQ(deep.Step, (std::array<double, 3>{ { 4.0, 4.0, 2.0 } }));
  EXPECT_EQ(wide.Offset, (std::array<double, 3>{ { 1.5, 1.5, 1.5 } }));
  EXPECT_EQ(wide.Step, (std::array<double, 3>{ { 2.0, 2.0, 2.0 } }));
  EXPECT_EQ(backend->FoundGeometries.size(), 2U); // found once for each layer

  request.Layers = { "all" };
  EXPECT_CONTAINS(MessageOf([&] { itk::ExplainWithBackend(*backend, x, request, {}); }), "one cell sees 0 to 27");
  EXPECT_EQ(itk::ExplainWithBackend(*backend, x, request, Geometries({ "all" })).GradCAM.size(), 2U);
  request.Layers = { "last" };
  EXPECT_CONTAINS(MessageOf([&] { itk::ExplainWithBackend(*backend, x, request, {}); }), "one cell on an axis");
}

// torch.jit.trace gives each further call of a module a method of its own; two names of one module are two layers.
TEST(ExplanationEngine, FurtherCallsOfATracedModuleAreOccurrences)
{
  const TemporaryFolder folder;
  torch::jit::Module    block = Convolution("Traced", Weights({ 2, 2, 3, 3, 3 }, 1) * 0.2, R"(
def forward(self, x):
    return torch.relu(torch.conv3d(x, self.weight, None, [1, 1, 1], [1, 1, 1]))
)");
  block.define(R"(
def forward1(self, x):
    return torch.relu(torch.conv3d(x, self.weight, None, [1, 1, 1], [1, 1, 1]))
)");
  torch::jit::Module module("Twice");
  module.register_module("block", block);
  module.register_module("alias", block);
  module.define(R"(
def forward(self, x):
    return torch.mean(self.alias.forward(self.block.forward1(self.block.forward(x))), [2, 3, 4])
)");
  const auto   backend = SaveAndLoad(module, folder);
  const Tensor x = Weights({ 1, 2, 5, 6, 7 }, 13);
  EXPECT_EQ(backend->LayerNames(), (std::vector<std::string>{ "block", "block#2", "alias" }));
  itk::TorchExplanationRequest request;
  request.Layers = { "block", "block#2", "alias" };
  request.Classes = { 1 };
  request.GuidedBackpropagation = true;
  const auto explanation = itk::ExplainWithBackend(*backend, x, request, Geometries({ "block", "alias" }));
  EXPECT_EQ(explanation.GuidedReLUs, 3U);
  Tensor y = x.clone();
  for (unsigned int call = 0; call < 3; ++call)
  {
    y = torch::relu(torch::conv3d(y, Weights({ 2, 2, 3, 3, 3 }, 1) * 0.2, {}, 1, 1)).detach().requires_grad_();
    Tensor z = y;
    for (unsigned int rest = call + 1; rest < 3; ++rest)
    {
      z = torch::relu(torch::conv3d(z, Weights({ 2, 2, 3, 3, 3 }, 1) * 0.2, {}, 1, 1));
    }
    const Tensor gradient = torch::autograd::grad({ z.mean({ 2, 3, 4 })[0][1] }, { y })[0];
    const Tensor expected = (gradient.mean({ 2, 3, 4 }, true) * y.detach()).sum(1).clamp_min(0.0);
    EXPECT_LT((TensorOf(explanation.GradCAM[call].Map)[0] - expected[0]).abs().max().item<double>(), 1e-6);
  }
}
