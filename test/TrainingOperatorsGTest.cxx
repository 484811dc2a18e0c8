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
// The truth of these tests is torch's own operators, one after the other, in the same precision.
#include "FusedAdam.h"
#include "PereiraNetworks.h"
#include "TorchThreads.h"
#include "TrainingOperators.h"

#include "gtest/gtest.h"

#include <thread>

using torch::Tensor;

namespace
{
Tensor
RandomMap(const std::vector<int64_t> & sizes, torch::ScalarType type = torch::kFloat32)
{
  // A mean beside 0, so that the variance is not the mean of the squares.
  return (torch::randn(sizes) * 1.5 + 0.7).to(type).contiguous(torch::MemoryFormat::ChannelsLast3d).requires_grad_();
}

double
LargestDifference(const Tensor & a, const Tensor & b)
{
  return (a.to(torch::kFloat64) - b.to(torch::kFloat64)).abs().max().item<double>();
}

double
Largest(const Tensor & a)
{
  return a.abs().max().item<double>();
}

double
Norm(const Tensor & a)
{
  return a.to(torch::kFloat64).norm().item<double>();
}

torch::nn::BatchNorm3d
RandomNormalization(int64_t channels)
{
  torch::nn::BatchNorm3d   bn(channels);
  const torch::NoGradGuard noGradient;
  bn->weight.uniform_(-1.5, 1.5);
  bn->bias.uniform_(-1.0, 1.0);
  bn->running_mean.uniform_(-1.0, 1.0);
  bn->running_var.uniform_(0.5, 2.0);
  return bn;
}
} // namespace

// What prepares cases has a guard of its own, in a thread of its own, beside that of the training.
TEST(TorchThreads, ANumberHoldsWhereAnotherThreadsGuardEnds)
{
  const int before = at::get_num_threads();
  at::set_num_threads(3);
  int found = 0;
  int after = 0;
  std::thread([&] {
    {
      const itk::TorchThreads threads(1);
      std::thread([] { const itk::TorchThreads other(2); }).join();
      torch::nn::BatchNorm3d bn(2);
      itk::NormalizeAndRectify(RandomMap({ 1, 2, 8, 8, 8 }), *bn);
      found = at::get_num_threads();
    }
    after = at::get_num_threads();
  }).join();
  EXPECT_EQ(found, 1);
  EXPECT_EQ(after, 3);
  EXPECT_EQ(at::get_num_threads(), 3);
  at::set_num_threads(before);
}

TEST(TrainingOperators, NormalizeAndRectifyAsTorchDoes)
{
  const itk::TorchThreads threads(2);
  torch::manual_seed(1);
  for (const int64_t channels : { 3, 8, 32 })
  {
    for (const bool own : { true, false })
    {
      for (const bool drops : { false, true })
      {
        torch::nn::BatchNorm3d bn = RandomNormalization(channels);
        torch::nn::BatchNorm3d expected = RandomNormalization(channels);
        const auto             parameters = expected->named_parameters();
        {
          const torch::NoGradGuard noGradient;
          expected->weight.copy_(bn->weight);
          expected->bias.copy_(bn->bias);
          expected->running_mean.copy_(bn->running_mean);
          expected->running_var.copy_(bn->running_var);
        }
        bn->train(own);
        expected->train(own);
        const Tensor x = RandomMap({ 2, channels, 7, 10, 9 });
        const Tensor same = x.detach().clone().requires_grad_();
        const Tensor noise = drops ? torch::rand({ 2, channels }).round() * 1.25 : Tensor();

        ASSERT_TRUE(itk::TrainsInOnePass(x));
        const auto [y, middle] = itk::NormalizeAndRectify(x, *bn, { 3, 6, 5 }, noise);
        Tensor       truth = torch::relu(expected(same));
        const Tensor truthMiddle = itk::CropToSize(same, { 3, 6, 5 });
        if (drops)
        {
          truth = truth * noise.view({ 2, channels, 1, 1, 1 });
        }
        EXPECT_LT(LargestDifference(y, truth), 2e-6 * Largest(truth));
        EXPECT_TRUE(torch::equal(middle, truthMiddle));
        // Rounding of the sums in float32.
        EXPECT_LT(LargestDifference(bn->running_mean, expected->running_mean), 1e-6);
        EXPECT_LT(LargestDifference(bn->running_var, expected->running_var), 1e-6);
        EXPECT_EQ(bn->num_batches_tracked.item<int64_t>(), expected->num_batches_tracked.item<int64_t>());

        const Tensor first = torch::randn_like(truth);
        const Tensor second = torch::randn_like(truthMiddle);
        ((y * first).sum() + (middle * second).sum()).backward();
        ((truth * first).sum() + (truthMiddle * second).sum()).backward();
        EXPECT_LT(LargestDifference(x.grad(), same.grad()), 3e-6 * Largest(same.grad()));
        EXPECT_LT(LargestDifference(bn->weight.grad(), expected->weight.grad()),
                  1e-5 * Largest(expected->weight.grad()));
        EXPECT_LT(LargestDifference(bn->bias.grad(), expected->bias.grad()), 1e-5 * Largest(expected->bias.grad()));
      }
    }
  }
}

TEST(TrainingOperators, NormalizeWithALargeMean)
{
  torch::manual_seed(2);
  torch::nn::BatchNorm3d bn(8);
  const Tensor x = (torch::randn({ 2, 8, 12, 12, 12 }) + 1000.0).contiguous(torch::MemoryFormat::ChannelsLast3d);
  const Tensor y = itk::NormalizeAndRectify(x, *bn).first;
  const Tensor exact = x.to(torch::kFloat64);
  const Tensor variance = exact.var({ 0, 2, 3, 4 }, false);
  const Tensor truth =
    torch::relu((exact - exact.mean({ 0, 2, 3, 4 }, true)) / torch::sqrt(variance + 1e-5).view({ 1, 8, 1, 1, 1 }));
  // Of 1000 deviations of mean, float32 keeps 1e-4 deviations.
  EXPECT_LT(LargestDifference(y, truth), 3e-4);
}

TEST(TrainingOperators, PoolAsTorchDoes)
{
  const itk::TorchThreads threads(2);
  torch::manual_seed(3);
  for (const auto type : { torch::kFloat32, torch::kBFloat16 })
  {
    for (const int64_t channels : { 5, 8, 16 })
    {
      const Tensor x = RandomMap({ 2, channels, 8, 6, 10 }, type); // bfloat16 has ties
      const Tensor same = x.detach().clone().requires_grad_();
      const auto [pooled, middle] = itk::PoolAndCrop(x, { 4, 2, 6 });
      const Tensor truth = torch::max_pool3d(same, 2, 2);
      const Tensor truthMiddle = itk::CropToSize(same, { 4, 2, 6 });
      EXPECT_TRUE(torch::equal(pooled, truth));
      EXPECT_TRUE(torch::equal(middle, truthMiddle));
      const Tensor first = torch::randn_like(truth);
      const Tensor second = torch::randn_like(truthMiddle);
      ((pooled * first).sum() + (middle * second).sum()).backward();
      ((truth * first).sum() + (truthMiddle * second).sum()).backward();
      EXPECT_TRUE(torch::equal(x.grad(), same.grad()));
    }
  }
  EXPECT_ANY_THROW(itk::PoolAndCrop(RandomMap({ 1, 8, 7, 8, 8 })));
}

namespace
{
/** A step's gradients of every parameter; a tap that gives back what it is given makes the network go operator by
 * operator. */
template <typename TNetwork>
std::vector<Tensor>
Gradients(TNetwork & network, const Tensor & x, bool onePass)
{
  itk::ForwardContext context;
  if (!onePass)
  {
    context.Tap = [](const std::string &, const Tensor & map) { return map; };
  }
  network->zero_grad();
  torch::manual_seed(4);
  const Tensor y = network->forward(x, context);
  (y * torch::linspace(-1.0, 1.0, y.numel()).view_as(y)).sum().backward();
  std::vector<Tensor> gradients{ y.detach() };
  for (const Tensor & parameter : network->parameters())
  {
    gradients.push_back(parameter.grad().clone());
  }
  for (const Tensor & buffer : network->buffers())
  {
    gradients.push_back(buffer.clone());
  }
  return gradients;
}

template <typename TNetwork, typename TOptions>
void
CompareNetworks(const TOptions & options, int64_t size)
{
  const itk::TorchThreads threads(2);
  torch::manual_seed(5);
  TNetwork     network(options);
  TNetwork     other(options);
  auto         generator = at::detail::getDefaultCPUGenerator();
  const Tensor x = torch::randn({ 2, 4, size, size, size }).contiguous(torch::MemoryFormat::ChannelsLast3d);
  itk::InitializeHeNormal(*network, generator);
  {
    const torch::NoGradGuard noGradient;
    for (std::size_t i = 0; i < network->parameters().size(); ++i)
    {
      other->parameters()[i].copy_(network->parameters()[i]);
    }
  }
  const auto a = Gradients(network, x, true);
  const auto b = Gradients(other, x, false);
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i)
  {
    // Both round in float32, in other orders: some voxels fall on the other side of a ReLU's 0, or are another's
    // maximum.
    EXPECT_LT(Norm(a[i] - b[i]), 0.05 * Norm(b[i]) + 1e-6) << i; // a crop or a draw that is wrong gives about 1
  }
}
} // namespace

TEST(TrainingOperators, SegmentationLearnsTheSame)
{
  for (const bool padded : { false, true })
  {
    itk::SegmentationNetworkOptions options;
    options.Width = 4;
    options.Levels = 3;
    options.Padded = padded;
    options.SpatialDropout = 0.3; // the same draws
    CompareNetworks<itk::PereiraSegmentationNetwork>(options, padded ? 16 : 48);
  }
}

TEST(TrainingOperators, GradingLearnsTheSame)
{
  for (const bool padded : { false, true })
  {
    itk::GradingNetworkOptions options;
    options.Width = 4;
    options.Padded = padded;
    CompareNetworks<itk::PereiraGradingNetwork>(options, padded ? 24 : 72);
  }
}

TEST(TrainingOperators, BitsDoNotDependOnThreads)
{
  std::vector<Tensor> results;
  for (const unsigned int threads : { 1U, 2U, 3U })
  {
    const itk::TorchThreads guard(threads);
    torch::manual_seed(6);
    torch::nn::BatchNorm3d bn = RandomNormalization(8);
    const Tensor           x = RandomMap({ 2, 8, 11, 20, 20 });
    const auto [y, middle] = itk::NormalizeAndRectify(x, *bn, { 7, 16, 16 });
    (y * torch::linspace(-1.0, 1.0, y.numel()).view_as(y)).sum().backward();
    const Tensor all = torch::cat({ y.detach().flatten(), x.grad().flatten(), bn->weight.grad(), bn->running_var });
    results.push_back(all);
    EXPECT_TRUE(torch::equal(all, results.front())) << threads;
  }
}

TEST(FusedAdam, StepsAsTorchsOptimizersDo)
{
  for (const bool decoupled : { false, true })
  {
    for (const bool kernelsOnly : { false, true })
    {
      torch::manual_seed(5);
      torch::OrderedDict<std::string, Tensor> ours;
      std::vector<Tensor>                     kernels;
      std::vector<Tensor>                     others;
      for (const std::vector<int64_t> & sizes : { std::vector<int64_t>{ 3, 2, 3, 3, 3 }, { 5 }, { 3 } })
      {
        const bool   isKernel = sizes.size() == 5;
        const Tensor value = torch::randn(sizes);
        (isKernel ? kernels : others).push_back(value.clone().requires_grad_());
        ours.insert(
          std::to_string(ours.size()),
          (isKernel ? value.contiguous(torch::MemoryFormat::ChannelsLast3d) : value.clone()).requires_grad_());
      }
      constexpr double decay = 0.3;
      itk::FusedAdam   fused(ours, decoupled, decay, kernelsOnly);

      const auto optimizer = [&](std::vector<Tensor> parameters,
                                 double              itsDecay) -> std::unique_ptr<torch::optim::Optimizer> {
        if (decoupled)
        {
          return std::make_unique<torch::optim::AdamW>(parameters,
                                                       torch::optim::AdamWOptions(1.0).weight_decay(itsDecay));
        }
        return std::make_unique<torch::optim::Adam>(parameters, torch::optim::AdamOptions(1.0).weight_decay(itsDecay));
      };
      const auto ofKernels = optimizer(kernels, decay);
      const auto ofOthers = optimizer(others, kernelsOnly ? 0.0 : decay);
      const auto setRate = [](torch::optim::Optimizer & one, double rate) {
        one.param_groups()[0].options().set_lr(rate);
      };
      std::vector<Tensor> theirs = kernels;
      theirs.insert(theirs.end(), others.begin(), others.end());
      for (std::uint64_t step = 1; step <= 5; ++step)
      {
        const double rate = 0.1 / static_cast<double>(step);
        for (std::size_t i = 0; i < theirs.size(); ++i)
        {
          const Tensor gradient = torch::randn(theirs[i].sizes());
          theirs[i].mutable_grad() = gradient;
          ours[i].value().mutable_grad() = gradient.clone();
        }
        setRate(*ofKernels, rate);
        setRate(*ofOthers, rate);
        ofKernels->step();
        ofOthers->step();
        fused.Step(step, rate);
        for (std::size_t i = 0; i < theirs.size(); ++i)
        {
          EXPECT_LT(LargestDifference(ours[i].value(), theirs[i]), 1e-6)
            << decoupled << kernelsOnly << i << " step " << step;
        }
      }
    }
  }
}
