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
#ifndef PereiraNetworks_h
#define PereiraNetworks_h

#include <torch/torch.h>

#include <functional>
#include <string>
#include <vector>

namespace itk
{
struct TorchModelManifest;

/** Every ReLU of the module's own networks goes through this rule, so that guided backpropagation belongs to one run
 * and not to a global: the engine hands a guided rule to the forward, everybody else the plain one. */
using ReLURule = std::function<torch::Tensor(const torch::Tensor &)>;

/** Called with a layer's name and its output; what it returns is used instead of the output. */
using LayerTap = std::function<torch::Tensor(const std::string &, const torch::Tensor &)>;

/** What one forward needs beyond its input. Empty members: plain in-place ReLU, no tap, no abort. */
struct ForwardContext
{
  ReLURule              ReLU;
  LayerTap              Tap;
  std::function<void()> BetweenLayers; // throws to abort
  /** Where not null: the decoder's maps dec0, dec1, ..., for heads of a training; not to be changed. */
  std::vector<torch::Tensor> * Decoded{ nullptr };

  torch::Tensor
  ApplyReLU(const torch::Tensor & x) const
  {
    // Its argument is always a fresh tensor.
    return ReLU ? ReLU(x) : x.relu_();
  }
};

/** Cuts the three last axes down to \a size around their centre. */
torch::Tensor
CropToSize(const torch::Tensor & x, torch::IntArrayRef size);

/** Pre-activation residual block of two 3^3 convolutions (He et al. 2016): BN-ReLU-Conv-BN-ReLU-SpatialDropout-Conv,
 * and the shortcut cropped to the result. */
struct ResidualBlockImpl : torch::nn::Module
{
  ResidualBlockImpl(int64_t inputChannels,
                    int64_t outputChannels,
                    double  spatialDropout,
                    bool    padded,
                    int64_t groups = 1);
  torch::Tensor
  forward(torch::Tensor x, const ForwardContext & context);

  torch::nn::BatchNorm3d bn1, bn2;
  torch::nn::Conv3d      conv1, conv2;
  torch::nn::Conv3d      shortcut{ nullptr }; // only where the channels change
  double                 SpatialDropout;
  bool                   Padded;
};
TORCH_MODULE(ResidualBlock);

/** Conv-BN-ReLU-Conv: the sequences to the first feature maps. */
struct StemImpl : torch::nn::Module
{
  StemImpl(int64_t inputChannels, int64_t width, bool padded, int64_t groups = 1);
  torch::Tensor
  forward(torch::Tensor x, const ForwardContext & context);

  torch::nn::Conv3d      conv1;
  torch::nn::BatchNorm3d bn;
  torch::nn::Conv3d      conv2;
};
TORCH_MODULE(Stem);

struct SegmentationNetworkOptions
{
  int64_t InputChannels{ 4 };
  int64_t Classes{ 2 };
  int64_t Width{ 16 };
  int64_t Levels{ 4 }; // poolings + 1
  double  SpatialDropout{ 0.05 };
  bool    Padded{ false };
};
/** What a manifest says of the network, the rest as above. */
SegmentationNetworkOptions
SegmentationOptionsOf(const TorchModelManifest & manifest);

/** Whole-tumour FCN: [N, C, z, y, x] to logits [N, classes, z - 2 halo, ...]. Layers: stem, enc0.., dec..0, head. */
struct PereiraSegmentationNetworkImpl : torch::nn::Module
{
  explicit PereiraSegmentationNetworkImpl(const SegmentationNetworkOptions & options);
  torch::Tensor
  forward(torch::Tensor x, const ForwardContext & context = {});

  /** Input voxels lost on each side (0 when padded). */
  int64_t
  Halo() const;
  /** Inputs must be a multiple of this; so must tile starts. */
  int64_t
  Step() const
  {
    return int64_t{ 1 } << (Options.Levels - 1);
  }

  /** z, y, x of the crop of a level's map \a x that the decoder takes; throws where the poolings do not fit. */
  static std::vector<int64_t>
  SkipSize(torch::IntArrayRef x, int64_t level, const SegmentationNetworkOptions & options);
  static int64_t
  HaloOf(const SegmentationNetworkOptions & options);

  SegmentationNetworkOptions     Options;
  Stem                           stem{ nullptr };
  std::vector<ResidualBlock>     Encoder, Decoder;
  std::vector<torch::nn::Conv3d> Reduction;
  torch::nn::BatchNorm3d         bn{ nullptr };
  torch::nn::Conv3d              head{ nullptr };
};
TORCH_MODULE(PereiraSegmentationNetwork);

struct GradingNetworkOptions
{
  int64_t InputChannels{ 4 };
  int64_t Classes{ 2 };
  int64_t Width{ 16 };
  int64_t Groups{ 1 }; // networks of Width / Groups beside each other, which share the image and the last sum
  double  Dropout{ 0.4 };
  double  SpatialDropout{ 0.0 };
  bool    Padded{ false };
};
/** What a manifest says of the network, the rest as above. */
GradingNetworkOptions
GradingOptionsOf(const TorchModelManifest & manifest);

/** Grading CNN: [N, C, 96, 96, 96] to logits [N, classes]. Layers: stem, res1, res2, res3, res4. */
struct PereiraGradingNetworkImpl : torch::nn::Module
{
  explicit PereiraGradingNetworkImpl(const GradingNetworkOptions & options);
  torch::Tensor
  forward(torch::Tensor x, const ForwardContext & context = {});

  GradingNetworkOptions  Options;
  Stem                   stem{ nullptr };
  ResidualBlock          res1{ nullptr }, res2{ nullptr }, res3{ nullptr }, res4{ nullptr };
  torch::nn::BatchNorm3d bn{ nullptr };
  torch::nn::Conv3d      fc1{ nullptr }, fc2{ nullptr }, fc3{ nullptr };
};
TORCH_MODULE(PereiraGradingNetwork);

/** Where the cells of stem, res1..res4 of the grading network lie: Offset and Step in input voxels, the same on every
 * axis. */
void
GradingLayerCells(const std::string & layer, bool padded, double & offset, double & step);

/** torch makes networks in the process's default type, which the program around may have changed. */
void
ToFloat32(torch::nn::Module & network);

/** He-normal convolution weights (fan-in, ReLU), biases 0, batch norm 1 and 0, drawn from \a generator. */
void
InitializeHeNormal(torch::nn::Module & network, at::Generator generator);
} // namespace itk

#endif // PereiraNetworks_h
