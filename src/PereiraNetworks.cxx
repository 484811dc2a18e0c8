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
#include "PereiraNetworks.h"

#include "TrainingOperators.h"

#include "itkMacro.h"
#include "itkTorchModelManifest.h"

#include <cmath>
#include <tuple>

namespace itk
{
namespace
{
template <typename TOptions>
TOptions
OptionsOf(const TorchModelManifest & manifest)
{
  TOptions options;
  options.InputChannels = static_cast<int64_t>(manifest.ChannelNames.size());
  options.Classes = static_cast<int64_t>(manifest.ClassNames.size());
  options.Width = manifest.Width;
  options.Padded = manifest.Padded;
  return options;
}

torch::nn::Conv3dOptions
ConvolutionOptions(int64_t from, int64_t to, int64_t kernel, bool padded, bool bias, int64_t groups = 1)
{
  return torch::nn::Conv3dOptions(from, to, kernel).padding(padded ? kernel / 2 : 0).bias(bias).groups(groups);
}

void
Between(const ForwardContext & context)
{
  if (context.BetweenLayers)
  {
    context.BetweenLayers();
  }
}

torch::Tensor
ChannelsLast(const torch::Tensor & x)
{
  return x.contiguous(torch::MemoryFormat::ChannelsLast3d);
}

/** While training nobody taps a layer or changes the ReLU; then fewer passes over memory do the same. */
bool
InOnePass(const ForwardContext & context, const torch::Tensor & x, const torch::nn::Module & module)
{
  return module.is_training() && !context.ReLU && !context.Tap && TrainsInOnePass(x);
}

torch::Tensor
Tapped(const ForwardContext & context, const std::string & layer, const torch::Tensor & x)
{
  return context.Tap ? context.Tap(layer, x) : x;
}
} // namespace

torch::Tensor
CropToSize(const torch::Tensor & x, torch::IntArrayRef size)
{
  torch::Tensor cut = x;
  for (int64_t axis = 0; axis < 3; ++axis)
  {
    const int64_t surplus = cut.size(2 + axis) - size[axis];
    if (surplus < 0 || surplus % 2 != 0)
    {
      itkGenericExceptionMacro("A feature map of " << cut.size(2 + axis) << " voxels cannot be cropped to "
                                                   << size[axis] << " around its centre");
    }
    cut = cut.narrow(2 + axis, surplus / 2, size[axis]);
  }
  return cut;
}

ResidualBlockImpl::ResidualBlockImpl(int64_t inputChannels,
                                     int64_t outputChannels,
                                     double  spatialDropout,
                                     bool    padded,
                                     int64_t groups)
  : bn1(register_module("bn1", torch::nn::BatchNorm3d(inputChannels)))
  , bn2(register_module("bn2", torch::nn::BatchNorm3d(outputChannels)))
  , conv1(
      register_module("conv1",
                      torch::nn::Conv3d(ConvolutionOptions(inputChannels, outputChannels, 3, padded, false, groups))))
  , conv2(
      register_module("conv2",
                      torch::nn::Conv3d(ConvolutionOptions(outputChannels, outputChannels, 3, padded, false, groups))))
  , SpatialDropout(spatialDropout)
  , Padded(padded)
{
  if (inputChannels != outputChannels)
  {
    shortcut = register_module(
      "shortcut", torch::nn::Conv3d(ConvolutionOptions(inputChannels, outputChannels, 1, padded, false, groups)));
  }
}

torch::Tensor
ResidualBlockImpl::forward(torch::Tensor x, const ForwardContext & context)
{
  Between(context);
  if (InOnePass(context, x, *this))
  {
    torch::Tensor noise;
    if (SpatialDropout > 0.0)
    {
      const torch::NoGradGuard noGradient;
      noise =
        torch::empty({ x.size(0), conv1->options.out_channels() }, torch::kFloat32).bernoulli_(1.0 - SpatialDropout);
      noise.div_(1.0 - SpatialDropout);
    }
    std::vector<int64_t> middle = x.sizes().slice(2).vec();
    for (int64_t & size : middle)
    {
      size -= Padded ? 0 : 4;
    }
    auto [y, direct] = NormalizeAndRectify(x, *bn1, middle);
    y = NormalizeAndRectify(ChannelsLast(conv1(y)), *bn2, {}, noise).first;
    return conv2(y).add_(shortcut ? shortcut(direct) : direct);
  }
  torch::Tensor y = conv1(context.ApplyReLU(bn1(x)));
  Between(context);
  y = context.ApplyReLU(bn2(y));
  if (SpatialDropout > 0.0)
  {
    y = torch::feature_dropout(y, SpatialDropout, is_training());
  }
  y = conv2(y);
  torch::Tensor direct = CropToSize(x, y.sizes().slice(2));
  if (shortcut)
  {
    direct = shortcut(direct);
  }
  return y + direct;
}

StemImpl::StemImpl(int64_t inputChannels, int64_t width, bool padded, int64_t groups)
  : conv1(register_module("conv1", torch::nn::Conv3d(ConvolutionOptions(inputChannels, width, 3, padded, false))))
  , bn(register_module("bn", torch::nn::BatchNorm3d(width)))
  , conv2(register_module("conv2", torch::nn::Conv3d(ConvolutionOptions(width, width, 3, padded, false, groups))))
{}

torch::Tensor
StemImpl::forward(torch::Tensor x, const ForwardContext & context)
{
  x = conv1(x);
  Between(context);
  if (InOnePass(context, x, *this))
  {
    return conv2(NormalizeAndRectify(x, *bn).first);
  }
  return conv2(context.ApplyReLU(bn(x)));
}

PereiraSegmentationNetworkImpl::PereiraSegmentationNetworkImpl(const SegmentationNetworkOptions & options)
  : Options(options)
{
  if (options.Levels < 2 || options.Levels > 6 || options.Width < 1 || options.Classes < 1 || options.InputChannels < 1)
  {
    itkGenericExceptionMacro("A segmentation network of width "
                             << options.Width << ", " << options.Levels << " levels, " << options.InputChannels
                             << " channels and " << options.Classes
                             << " classes cannot be built: levels are 2 to 6, the rest at least 1");
  }
  std::vector<int64_t> channels;
  for (int64_t level = 0; level < options.Levels; ++level)
  {
    channels.push_back(options.Width << level);
  }
  stem = register_module("stem", Stem(options.InputChannels, options.Width, options.Padded));
  for (int64_t level = 0; level < options.Levels; ++level)
  {
    Encoder.push_back(register_module(
      "enc" + std::to_string(level),
      ResidualBlock(channels[level == 0 ? 0 : level - 1], channels[level], options.SpatialDropout, options.Padded)));
  }
  for (int64_t level = 0; level + 1 < options.Levels; ++level)
  {
    Reduction.push_back(register_module(
      "red" + std::to_string(level),
      torch::nn::Conv3d(ConvolutionOptions(channels[level + 1], channels[level], 1, options.Padded, false))));
    Decoder.push_back(
      register_module("dec" + std::to_string(level),
                      ResidualBlock(channels[level], channels[level], options.SpatialDropout, options.Padded)));
  }
  bn = register_module("bn", torch::nn::BatchNorm3d(options.Width));
  head = register_module("head", torch::nn::Conv3d(torch::nn::Conv3dOptions(options.Width, options.Classes, 1)));
  ToFloat32(*this);
}

SegmentationNetworkOptions
SegmentationOptionsOf(const TorchModelManifest & manifest)
{
  auto options = OptionsOf<SegmentationNetworkOptions>(manifest);
  options.Levels = manifest.Levels;
  return options;
}

int64_t
PereiraSegmentationNetworkImpl::Halo() const
{
  return HaloOf(Options);
}

int64_t
PereiraSegmentationNetworkImpl::HaloOf(const SegmentationNetworkOptions & options)
{
  if (options.Padded)
  {
    return 0;
  }
  // Two stem convolutions, then two a block: 2^level input voxels each, encoder and decoder.
  int64_t lost = 4;
  for (int64_t level = 0; level < options.Levels; ++level)
  {
    lost += int64_t{ 4 } << level;
  }
  for (int64_t level = 0; level + 1 < options.Levels; ++level)
  {
    lost += int64_t{ 4 } << level;
  }
  return lost / 2;
}

std::vector<int64_t>
PereiraSegmentationNetworkImpl::SkipSize(torch::IntArrayRef                 x,
                                         int64_t                            level,
                                         const SegmentationNetworkOptions & options)
{
  int64_t surplus = 0;
  if (!options.Padded)
  {
    for (int64_t deeper = level + 1; deeper + 1 < options.Levels; ++deeper)
    {
      surplus += int64_t{ 8 } << (deeper - level);
    }
    surplus += int64_t{ 4 } << (options.Levels - 1 - level);
  }
  std::vector<int64_t> size;
  for (int64_t axis = 2; axis < 5; ++axis)
  {
    if (x[axis] % 2 != 0 || x[axis] - surplus < 1)
    {
      itkGenericExceptionMacro("The patch does not fit the network's poolings: a feature map of "
                               << x[axis] << " voxels at level " << level << "; the input must be a multiple of "
                               << (int64_t{ 1 } << (options.Levels - 1)) << " and larger than " << 2 * HaloOf(options)
                               << " voxels on every axis");
    }
    size.push_back(x[axis] - surplus);
  }
  return size;
}

torch::Tensor
PereiraSegmentationNetworkImpl::forward(torch::Tensor x, const ForwardContext & context)
{
  std::vector<torch::Tensor> skips;
  x = Tapped(context, "stem", stem->forward(x, context));
  for (int64_t level = 0; level < Options.Levels; ++level)
  {
    x = Tapped(context, "enc" + std::to_string(level), Encoder[level]->forward(x, context));
    if (level + 1 == Options.Levels)
    {
      break;
    }
    const std::vector<int64_t> size = SkipSize(x.sizes(), level, Options);
    if (InOnePass(context, x, *this))
    {
      torch::Tensor skip;
      std::tie(x, skip) = PoolAndCrop(x, size);
      skips.push_back(skip);
      continue;
    }
    torch::Tensor skip = CropToSize(x, size);
    // Without gradients a copy of the crop lets the large map go at once.
    skips.push_back(torch::GradMode::is_enabled() || Options.Padded ? skip : skip.clone());
    x = torch::max_pool3d(x, 2, 2);
  }
  for (int64_t level = Options.Levels - 2; level >= 0; --level)
  {
    x = torch::upsample_nearest3d(Reduction[level](x), skips[level].sizes().slice(2));
    x = x.add_(skips[level]); // a fresh tensor
    skips[level] = torch::Tensor();
    x = Tapped(context, "dec" + std::to_string(level), Decoder[level]->forward(x, context));
    if (context.Decoded)
    {
      context.Decoded->insert(context.Decoded->begin(), x);
    }
  }
  Between(context);
  return head(InOnePass(context, x, *this) ? NormalizeAndRectify(x, *bn).first : context.ApplyReLU(bn(x)));
}

GradingNetworkOptions
GradingOptionsOf(const TorchModelManifest & manifest)
{
  auto options = OptionsOf<GradingNetworkOptions>(manifest);
  options.Groups = manifest.Groups;
  return options;
}

PereiraGradingNetworkImpl::PereiraGradingNetworkImpl(const GradingNetworkOptions & options)
  : Options(options)
{
  if (options.Width < 1 || options.Classes < 2 || options.InputChannels < 1)
  {
    itkGenericExceptionMacro("A grading network of width " << options.Width << ", " << options.InputChannels
                                                           << " channels and " << options.Classes
                                                           << " classes cannot be built");
  }
  if (options.Groups < 1 || options.Width % options.Groups != 0)
  {
    itkGenericExceptionMacro("A grading network of width " << options.Width << " cannot be built of " << options.Groups
                                                           << " groups: they must divide its width");
  }
  const int64_t w = options.Width;
  const int64_t g = options.Groups;
  stem = register_module("stem", Stem(options.InputChannels, w, options.Padded, g));
  res1 = register_module("res1", ResidualBlock(w, w, options.SpatialDropout, options.Padded, g));
  res2 = register_module("res2", ResidualBlock(w, 2 * w, options.SpatialDropout, options.Padded, g));
  res3 = register_module("res3", ResidualBlock(2 * w, 4 * w, options.SpatialDropout, options.Padded, g));
  res4 = register_module("res4", ResidualBlock(4 * w, 8 * w, options.SpatialDropout, options.Padded, g));
  bn = register_module("bn", torch::nn::BatchNorm3d(8 * w));
  fc1 = register_module("fc1", torch::nn::Conv3d(torch::nn::Conv3dOptions(8 * w, 8 * w, 1).groups(g)));
  fc2 = register_module("fc2", torch::nn::Conv3d(torch::nn::Conv3dOptions(8 * w, 4 * w, 1).groups(g)));
  fc3 = register_module("fc3", torch::nn::Conv3d(torch::nn::Conv3dOptions(4 * w, options.Classes, 1)));
  ToFloat32(*this);
}

torch::Tensor
PereiraGradingNetworkImpl::forward(torch::Tensor x, const ForwardContext & context)
{
  const auto pooled = [&](const torch::Tensor & map) {
    const bool even = map.size(2) % 2 == 0 && map.size(3) % 2 == 0 && map.size(4) % 2 == 0;
    return even && InOnePass(context, map, *this) ? PoolAndCrop(map).first : torch::max_pool3d(map, 2, 2);
  };
  x = Tapped(context, "stem", stem->forward(x, context));
  x = Tapped(context, "res1", res1->forward(x, context));
  x = Tapped(context, "res2", res2->forward(pooled(x), context));
  x = Tapped(context, "res3", res3->forward(pooled(x), context));
  x = Tapped(context, "res4", res4->forward(pooled(x), context));
  x = InOnePass(context, x, *this) ? NormalizeAndRectify(x, *bn).first : context.ApplyReLU(bn(x));
  x = x.mean({ 2, 3, 4 }, true);
  x = torch::dropout(context.ApplyReLU(fc1(x)), Options.Dropout, is_training());
  x = torch::dropout(context.ApplyReLU(fc2(x)), Options.Dropout, is_training());
  return fc3(x).flatten(1);
}

void
GradingLayerCells(const std::string & layer, bool padded, double & offset, double & step)
{
  // Two convolutions in the stem and two a block, each one cell of its level; a pooling of two puts its cell in the
  // middle.
  static const char * const names[] = { "stem", "res1", "res2", "res3", "res4" };
  offset = 0.0;
  step = 1.0;
  for (unsigned int i = 0; i < 5; ++i)
  {
    if (i > 1)
    {
      offset += 0.5 * step;
      step *= 2.0;
    }
    offset += padded ? 0.0 : 2.0 * step;
    if (layer == names[i])
    {
      return;
    }
  }
  itkGenericExceptionMacro("The grading network has no layer '" << layer
                                                                << "'; its layers are stem, res1, res2, res3 and res4");
}

void
ToFloat32(torch::nn::Module & network)
{
  const auto convert = [](torch::Tensor & tensor) {
    if (tensor.is_floating_point() && tensor.scalar_type() != torch::kFloat32)
    {
      tensor.set_data(tensor.to(torch::kFloat32));
    }
  };
  for (torch::Tensor & parameter : network.parameters())
  {
    convert(parameter);
  }
  for (torch::Tensor & buffer : network.buffers())
  {
    convert(buffer);
  }
}

void
InitializeHeNormal(torch::nn::Module & network, at::Generator generator)
{
  torch::NoGradGuard noGradient;
  for (const auto & module : network.modules(true))
  {
    if (auto * convolution = module->as<torch::nn::Conv3dImpl>())
    {
      const double fanIn = static_cast<double>(convolution->weight[0].numel());
      convolution->weight.normal_(0.0, std::sqrt(2.0 / fanIn), generator);
      if (convolution->bias.defined())
      {
        convolution->bias.zero_();
      }
    }
  }
}
} // namespace itk
