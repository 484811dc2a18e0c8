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
#include "FusedSegmentation.h"

#include "ChannelsLastMap.h"
#include "PlaneStream.h"
#include "StoredValues.h"

#include "itkMacro.h"

#include <ATen/Parallel.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/stack.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <mutex>

namespace itk
{
namespace
{
using torch::Tensor;

/** max(x scale + shift, 0), in place. The coefficients repeat every \a period values, a multiple of the channels. */
template <typename T>
GLIOMAGRADING_INLINE void
Activate(T * row, std::size_t n, const float * scale, const float * shift, std::size_t period)
{
  for (std::size_t start = 0; start < n; start += period)
  {
    const std::size_t count = std::min(period, n - start);
    T * const         values = row + start;
    for (std::size_t i = 0; i < count; ++i)
    {
      const float value = Loaded(values[i]) * scale[i] + shift[i];
      Store(values[i], value < 0.0F ? 0.0F : value);
    }
  }
}

/** The largest of two by two by two voxels. */
template <typename T>
GLIOMAGRADING_INLINE void
Pool(const T * const (&rows)[4], T * pooled, std::size_t n, std::size_t channels)
{
  for (std::size_t x = 0; x < n; ++x)
  {
    const std::size_t from = 2 * x * channels;
    for (std::size_t c = 0; c < channels; ++c)
    {
      float largest = Loaded(rows[0][from + c]);
      for (unsigned int k = 1; k < 8; ++k)
      {
        const float value = Loaded(rows[k / 2][from + (k % 2) * channels + c]);
        largest = value > largest ? value : largest;
      }
      Store(pooled[x * channels + c], largest);
    }
  }
}

/** Adds every voxel of a row to two voxels of another. */
template <typename T>
GLIOMAGRADING_INLINE void
AddUpsampled(const T * low, T * row, std::size_t n, std::size_t channels)
{
  for (std::size_t x = 0; x < n; ++x)
  {
    for (unsigned int k = 0; k < 2; ++k)
    {
      T * const       to = row + (2 * x + k) * channels;
      const T * const from = low + x * channels;
      for (std::size_t c = 0; c < channels; ++c)
      {
        Store(to[c], Loaded(to[c]) + Loaded(from[c]));
      }
    }
  }
}

/** weight max(x scale + shift, 0) + bias, a number a class. */
template <typename T>
GLIOMAGRADING_INLINE void
Head(const T *     row,
     std::size_t   n,
     std::size_t   channels,
     const float * scale,
     const float * shift,
     const float * weight,
     const float * bias,
     std::size_t   classes,
     float *       logits)
{
  for (std::size_t x = 0; x < n; ++x)
  {
    const T * const voxel = row + x * channels;
    for (std::size_t k = 0; k < classes; ++k)
    {
      const float * const one = weight + k * channels;
      float               sum = 0.0F;
#pragma omp simd reduction(+ : sum)
      for (std::size_t c = 0; c < channels; ++c)
      {
        const float value = Loaded(voxel[c]) * scale[c] + shift[c];
        sum += one[c] * (value < 0.0F ? 0.0F : value);
      }
      logits[x * classes + k] = sum + bias[k];
    }
  }
}

// clang-format off
#define GLIOMAGRADING_ROW_LOOPS(T)                                                                                     \
  GLIOMAGRADING_CLONES void                                                                                            \
  ActivateRow(T * row, std::size_t n, const float * scale, const float * shift, std::size_t period)                    \
  {                                                                                                                    \
    Activate(row, n, scale, shift, period);                                                                            \
  }                                                                                                                    \
  GLIOMAGRADING_CLONES void                                                                                            \
  PoolRow(const T * const (&rows)[4], T * pooled, std::size_t n, std::size_t channels)                                 \
  {                                                                                                                    \
    Pool(rows, pooled, n, channels);                                                                                   \
  }                                                                                                                    \
  GLIOMAGRADING_CLONES void                                                                                            \
  AddUpsampledRow(const T * low, T * row, std::size_t n, std::size_t channels)                                         \
  {                                                                                                                    \
    AddUpsampled(low, row, n, channels);                                                                               \
  }                                                                                                                    \
  GLIOMAGRADING_CLONES void                                                                                            \
  HeadRow(const T * row, std::size_t n, std::size_t channels, const float * scale, const float * shift,                \
          const float * weight, const float * bias, std::size_t classes, float * logits)                               \
  {                                                                                                                    \
    Head(row, n, channels, scale, shift, weight, bias, classes, logits);                                               \
  }
GLIOMAGRADING_ROW_LOOPS(float)
GLIOMAGRADING_ROW_LOOPS(std::uint16_t)
// clang-format on

void
ScaleAndShift(const torch::nn::BatchNorm3d & bn, Tensor & scale, Tensor & shift)
{
  scale = (bn->weight / torch::sqrt(bn->running_var + bn->options.eps())).to(torch::kFloat);
  shift = (bn->bias - bn->running_mean * scale).to(torch::kFloat);
}
} // namespace

/** A batch norm in front of a ReLU. */
struct FusedSegmentation::Normalization
{
  explicit Normalization(const torch::nn::BatchNorm3d & bn)
  {
    Tensor scale;
    Tensor shift;
    ScaleAndShift(bn, scale, shift);
    const auto channels = static_cast<std::size_t>(scale.numel());
    Period = channels * std::max<std::size_t>(1, 128 / channels);
    for (std::size_t i = 0; i < Period; ++i)
    {
      Scale.push_back(scale[static_cast<int64_t>(i % channels)].item<float>());
      Shift.push_back(shift[static_cast<int64_t>(i % channels)].item<float>());
    }
  }
  template <typename T>
  void
  Apply(T * row, int64_t x, std::size_t channels) const
  {
    ActivateRow(row, static_cast<std::size_t>(x) * channels, Scale.data(), Shift.data(), Period);
  }

  std::vector<float> Scale, Shift;
  std::size_t        Period{ 0 };
};

// One of oneDNN's fused convolutions.
class FusedSegmentation::Convolution
{
public:
  /** \a bn: folded into the kernel, and a ReLU behind. \a streamed: its input brings the planes that pad it. */
  Convolution(const torch::nn::Conv3d &      convolution,
              const torch::nn::BatchNorm3d * bn,
              bool                           padded,
              bool                           streamed,
              torch::ScalarType              type)
    : m_ReLU(bn != nullptr)
    , m_Padding(3, padded ? convolution->weight.size(2) / 2 : 0)
  {
    m_Padding[0] = streamed ? 0 : m_Padding[0];
    Tensor weight = convolution->weight.detach().to(torch::kFloat);
    Tensor bias = convolution->bias.defined() ? convolution->bias.detach().to(torch::kFloat) : Tensor();
    if (bn != nullptr)
    {
      Tensor scale;
      Tensor shift;
      ScaleAndShift(*bn, scale, shift);
      weight = weight * scale.view({ -1, 1, 1, 1, 1 });
      bias = bias.defined() ? bias * scale + shift : shift;
    }
    m_Weight = weight.to(type).contiguous();
    if (bias.defined())
    {
      m_Bias = bias.to(type).contiguous();
    }
  }

  Tensor
  operator()(const Tensor & x) const
  {
    static const c10::OperatorHandle operation =
      c10::Dispatcher::singleton().findSchemaOrThrow("mkldnn::_convolution_pointwise", "");
    torch::jit::Stack stack;
    this->PushOperands(stack, x);
    stack.emplace_back(m_ReLU ? "relu" : "none");
    stack.emplace_back(c10::List<std::optional<at::Scalar>>());
    stack.emplace_back("");
    operation.callBoxed(stack);
    return stack.back().toTensor();
  }

  /** The sum of \a other and the convolution of \a x, in the memory of \a other. */
  Tensor
  AddTo(const Tensor & other, const Tensor & x) const
  {
    static const c10::OperatorHandle operation =
      c10::Dispatcher::singleton().findSchemaOrThrow("mkldnn::_convolution_pointwise_", "binary");
    torch::jit::Stack stack;
    stack.emplace_back(other);
    this->PushOperands(stack, x);
    stack.emplace_back("add");
    stack.emplace_back(1.0);
    stack.emplace_back(std::nullopt);
    stack.emplace_back(c10::List<std::optional<at::Scalar>>());
    stack.emplace_back(std::nullopt);
    operation.callBoxed(stack);
    return stack.back().toTensor();
  }

private:
  void
  PushOperands(torch::jit::Stack & stack, const Tensor & x) const
  {
    const std::vector<int64_t> ones(3, 1);
    stack.emplace_back(x);
    stack.emplace_back(this->PackedFor(x));
    stack.emplace_back(m_Bias);
    stack.emplace_back(m_Padding);
    stack.emplace_back(ones);
    stack.emplace_back(ones);
    stack.emplace_back(int64_t{ 1 });
  }

  /** The kernel as oneDNN wants it for a size of input. */
  Tensor
  PackedFor(const Tensor & x) const
  {
    static const c10::OperatorHandle operation =
      c10::Dispatcher::singleton().findSchemaOrThrow("mkldnn::_reorder_convolution_weight", "");
    const std::vector<int64_t>        size = x.sizes().vec();
    const std::lock_guard<std::mutex> lock(m_Mutex);
    const auto                        found = m_Packed.find(size);
    if (found != m_Packed.end())
    {
      return found->second;
    }
    const std::vector<int64_t> ones(3, 1);
    torch::jit::Stack          stack{ m_Weight, m_Padding, ones, ones, int64_t{ 1 }, size };
    operation.callBoxed(stack);
    // A run has one patch size; a program that asks for ever others must not fill the memory.
    if (m_Packed.size() > 7)
    {
      m_Packed.clear();
    }
    return m_Packed.emplace(size, stack.back().toTensor()).first->second;
  }

  const bool                                     m_ReLU;
  std::vector<int64_t>                           m_Padding;
  Tensor                                         m_Weight;
  std::optional<Tensor>                          m_Bias;
  mutable std::mutex                             m_Mutex;
  mutable std::map<std::vector<int64_t>, Tensor> m_Packed;
};

/** A residual block: the batch norm in front, and the second one folded into the first convolution. */
struct FusedSegmentation::Block
{
  Block(const ResidualBlock & block, bool padded, bool streamed, torch::ScalarType type)
    : First(block->bn1)
    , Convolution1(block->conv1, &block->bn2, padded, streamed, type)
    , Convolution2(block->conv2, nullptr, padded, streamed, type)
  {
    if (block->shortcut)
    {
      Shortcut = std::make_unique<Convolution>(block->shortcut, nullptr, padded, streamed, type);
    }
  }

  /** Consumes its inputs: the activated map, and the shortcut in the size of the result. */
  Tensor
  operator()(Tensor & activated, Tensor & direct) const
  {
    const Tensor inner = Convolution1(activated);
    activated = Tensor();
    if (Shortcut)
    {
      direct = (*Shortcut)(direct);
    }
    Tensor result = Convolution2.AddTo(direct, inner);
    direct = Tensor();
    return result;
  }

  Normalization                First;
  Convolution                  Convolution1, Convolution2;
  std::unique_ptr<Convolution> Shortcut;
};

// A residual block whose map is never there as a whole: planes go in, planes come out.
template <typename T>
class FusedSegmentation::BlockStream
{
public:
  /** Of an input of z, y, x voxels. */
  BlockStream(const Block &     block,
              int64_t           channels,
              int64_t           z,
              int64_t           y,
              int64_t           x,
              int64_t           capacity,
              bool              padded,
              torch::ScalarType type)
    : m_Block(block)
    , m_Size{ { z, y, x } }
    , m_Lost(padded ? 0 : 2)
    , m_Input(channels, z, y, x, capacity, 3, padded, type)
    , m_Inner(channels, z - m_Lost, y - m_Lost, x - m_Lost, capacity, 3, padded, type)
    , m_Direct(channels, z - 2 * m_Lost, y - 2 * m_Lost, x - 2 * m_Lost, capacity, 1, false, type)
  {}

  int64_t
  Planes() const
  {
    return m_Size[0] - 2 * m_Lost;
  }

  /** \a fill(z, y, row) writes the rows of the planes up to \a end, before the batch norm. Ends what Pull() gave. */
  template <typename TFill>
  void
  Push(int64_t end, const TFill & fill)
  {
    this->Release();
    m_Direct.Extend(end - m_Lost);
    const int64_t width = m_Size[2] - 2 * m_Lost;
    m_Input.Append(end, [&](int64_t z, int64_t y, T * row) {
      fill(z, y, row);
      const int64_t     toZ = z - m_Lost;
      const int64_t     toY = y - m_Lost;
      const std::size_t channels = m_Input.Channels();
      if (toZ >= 0 && toZ < m_Size[0] - 2 * m_Lost && toY >= 0 && toY < m_Size[1] - 2 * m_Lost)
      {
        std::memcpy(m_Direct.RowOf(toZ, toY),
                    row + static_cast<std::size_t>(m_Lost) * channels,
                    static_cast<std::size_t>(width) * channels * sizeof(T));
      }
      m_Block.First.Apply(row, m_Size[2], channels);
    });
  }

  /** The next planes of the result, until the next Push(); undefined where there are none yet. */
  Tensor
  Pull()
  {
    this->Release();
    const int64_t ready = m_Input.Ready();
    if (ready > 0)
    {
      const Tensor             inner = m_Block.Convolution1(m_Input.Window(ready));
      const ChannelsLastMap<T> from(inner);
      const int64_t            first = m_Inner.Appended();
      m_Input.Drop(ready);
      m_Inner.Append(first + ready, [&](int64_t z, int64_t y, T * row) { from.CopyRow(z - first, y, row); });
    }
    m_Pulled = m_Inner.Ready();
    if (m_Pulled == 0)
    {
      return {};
    }
    const Tensor result = m_Block.Convolution2.AddTo(m_Direct.Window(m_Pulled), m_Inner.Window(m_Pulled));
    m_Inner.Drop(m_Pulled);
    return result;
  }

private:
  /** The result lies in the memory of the shortcut. */
  void
  Release()
  {
    m_Direct.Drop(m_Pulled);
    m_Pulled = 0;
  }

  const Block &                m_Block;
  const std::array<int64_t, 3> m_Size;
  const int64_t                m_Lost;
  PlaneStream<T>               m_Input, m_Inner, m_Direct;
  int64_t                      m_Pulled{ 0 };
};

FusedSegmentation::FusedSegmentation(PereiraSegmentationNetworkImpl & network, bool bfloat16)
  : m_Options(network.Options)
  , m_Type(bfloat16 ? torch::kBFloat16 : torch::kFloat)
{
  const torch::NoGradGuard noGradient;
  const bool               padded = m_Options.Padded;
  m_Stem1 = std::make_unique<Convolution>(network.stem->conv1, &network.stem->bn, padded, true, m_Type);
  m_Stem2 = std::make_unique<Convolution>(network.stem->conv2, nullptr, padded, true, m_Type);
  for (const ResidualBlock & block : network.Encoder)
  {
    m_Encoder.push_back(std::make_unique<Block>(block, padded, m_Encoder.empty(), m_Type));
  }
  for (const ResidualBlock & block : network.Decoder)
  {
    m_Decoder.push_back(std::make_unique<Block>(block, padded, m_Decoder.empty(), m_Type));
  }
  for (const torch::nn::Conv3d & reduction : network.Reduction)
  {
    m_Reduction.push_back(std::make_unique<Convolution>(reduction, nullptr, padded, false, m_Type));
  }
  m_Last = std::make_unique<Normalization>(network.bn);
  const Tensor weight = network.head->weight.detach().to(torch::kFloat).contiguous();
  const Tensor bias = network.head->bias.detach().to(torch::kFloat).contiguous();
  m_HeadWeight.assign(weight.const_data_ptr<float>(), weight.const_data_ptr<float>() + weight.numel());
  m_HeadBias.assign(bias.const_data_ptr<float>(), bias.const_data_ptr<float>() + bias.numel());
}

FusedSegmentation::~FusedSegmentation() = default;

bool
FusedSegmentation::IsAvailable()
{
  const auto has = [](const char * name, const char * overload) {
    return c10::Dispatcher::singleton().findSchema({ name, overload }).has_value();
  };
  return at::globalContext().hasMKLDNN() && at::globalContext().userEnabledMkldnn() &&
         has("mkldnn::_convolution_pointwise", "") && has("mkldnn::_convolution_pointwise_", "binary") &&
         has("mkldnn::_reorder_convolution_weight", "");
}

double
FusedSegmentation::PeakValues(const SegmentationNetworkOptions & options, const std::array<int64_t, 3> & size)
{
  using SizeType = std::array<int64_t, 3>;
  const int64_t lost = options.Padded ? 0 : 4;
  const auto    values = [](int64_t channels, const SizeType & n) {
    double product = static_cast<double>(channels);
    for (const int64_t one : n)
    {
      product *= static_cast<double>(std::max<int64_t>(0, one));
    }
    return product;
  };
  const auto less = [](SizeType n, int64_t by) {
    for (int64_t & one : n)
    {
      one -= by;
    }
    return n;
  };
  const auto half = [](SizeType n) {
    for (int64_t & one : n)
    {
      one /= 2;
    }
    return n;
  };
  const auto skipOf = [&](const SizeType & n, int64_t level) {
    const std::vector<int64_t> skip =
      PereiraSegmentationNetworkImpl::SkipSize({ 1, options.Width, n[0], n[1], n[2] }, level, options);
    return SizeType{ { skip[0], skip[1], skip[2] } };
  };
  const auto slabsOf = [&](const SizeType & n) {
    return 5.0 * values(options.Width, { { SlabOf(options, n, sizeof(float)) + 4, n[1], n[2] } });
  };
  SizeType              n = less(size, 2 * lost);
  std::vector<SizeType> skips{ skipOf(n, 0) };
  double                held = values(options.Width, skips[0]);
  n = half(n);
  double peak = held + values(options.Width, n) + values(options.Width, less(n, lost)) + slabsOf(size);
  for (int64_t level = 1; level < options.Levels; ++level)
  {
    const int64_t  from = options.Width << (level - 1);
    const int64_t  to = 2 * from;
    const SizeType inner = less(n, lost / 2);
    const SizeType result = less(n, lost);
    peak = std::max(peak, held + values(from, n) + values(from, result) + values(to, inner));
    peak = std::max(peak, held + values(from, result) + values(to, inner) + values(to, result));
    n = result;
    if (level + 1 < options.Levels)
    {
      skips.push_back(skipOf(n, level));
      const double skip = options.Padded ? 0.0 : values(to, skips.back());
      peak = std::max(peak, held + values(to, n) + skip + values(to, half(n)) + values(to, less(half(n), lost)));
      held += values(to, skips.back());
      n = half(n);
    }
  }
  for (int64_t level = options.Levels - 2; level > 0; --level)
  {
    const int64_t    to = options.Width << level;
    const SizeType & sum = skips[static_cast<std::size_t>(level)];
    peak = std::max(peak, held + values(to, n) + values(to, less(sum, lost)));
    peak = std::max(peak, held + values(to, less(sum, lost / 2)) + values(to, less(sum, lost)));
    held -= values(to, sum);
    n = less(sum, lost);
  }
  return std::max(peak,
                  held + values(options.Width, n) + values(options.Classes, less(skips[0], lost)) + slabsOf(skips[0]));
}

double
FusedSegmentation::Operations(const SegmentationNetworkOptions & options, const std::array<int64_t, 3> & size)
{
  std::array<double, 3> n{};
  std::copy(size.begin(), size.end(), n.begin());
  const double lost = options.Padded ? 0.0 : 2.0;
  double       operations = 0.0;
  const auto   convolve = [&](int64_t from, int64_t to, double kernel) {
    double voxels = 1.0;
    for (double & one : n)
    {
      one -= kernel > 1.0 ? lost : 0.0;
      voxels *= std::max(0.0, one);
    }
    operations += 2.0 * kernel * kernel * kernel * static_cast<double>(from * to) * voxels;
  };
  const int64_t w = options.Width;
  convolve(options.InputChannels, w, 3.0);
  convolve(w, w, 3.0);
  for (int64_t level = 0; level < options.Levels; ++level)
  {
    const int64_t to = w << level;
    const int64_t from = level == 0 ? w : to / 2;
    convolve(from, to, 3.0);
    convolve(to, to, 3.0);
    if (from != to)
    {
      convolve(from, to, 1.0);
    }
    for (double & one : n)
    {
      one /= level + 1 < options.Levels ? 2.0 : 1.0;
    }
  }
  for (int64_t level = options.Levels - 2; level >= 0; --level)
  {
    const int64_t to = w << level;
    convolve(2 * to, to, 1.0);
    for (double & one : n)
    {
      one *= 2.0;
    }
    convolve(to, to, 3.0);
    convolve(to, to, 3.0);
  }
  convolve(w, options.Classes, 1.0);
  return operations;
}

Tensor
FusedSegmentation::Forward(const Tensor & input, const std::function<void()> & between) const
{
  const std::function<void()> pause = between ? between : [] {};
  const torch::NoGradGuard    noGradient;
  return m_Type == torch::kBFloat16 ? this->Run<std::uint16_t>(input, pause) : this->Run<float>(input, pause);
}

int64_t
FusedSegmentation::SlabOf(const SegmentationNetworkOptions & options,
                          const std::array<int64_t, 3> &     size,
                          std::size_t                        bytesOfValue)
{
  // Small enough for the caches and for an allocator to use the same memory again, large enough for all threads.
  constexpr std::size_t slab = std::size_t{ 4 } << 20;
  const std::size_t     plane = static_cast<std::size_t>(size[1] * size[2] * options.Width) * bytesOfValue;
  const int64_t         all = (size[0] + 1) / 2 * 2;
  return std::min(all, std::max<int64_t>(4, static_cast<int64_t>(slab / plane) / 2 * 2));
}

/** The stem and the first level, whose maps are the largest, plane by plane. */
template <typename T>
Tensor
FusedSegmentation::EncodeFirstLevel(const Tensor &                input,
                                    Tensor &                      activated,
                                    Tensor &                      direct,
                                    const std::function<void()> & between) const
{
  const bool    padded = m_Options.Padded;
  const int64_t lost = padded ? 0 : 2;
  const int64_t z = input.size(2);
  const int64_t y = input.size(3);
  const int64_t x = input.size(4);
  const int64_t width = m_Options.Width;
  const int64_t slab = SlabOf(m_Options, { { z, y, x } }, sizeof(T));
  const int64_t capacity = slab + 4;

  const std::array<int64_t, 3> size{ { z - 4 * lost, y - 4 * lost, x - 4 * lost } };
  const std::vector<int64_t>   skipSize =
    PereiraSegmentationNetworkImpl::SkipSize({ 1, width, size[0], size[1], size[2] }, 0, m_Options);
  Tensor skip = EmptyMap(width, skipSize[0], skipSize[1], skipSize[2], m_Type);
  activated = EmptyMap(width, size[0] / 2, size[1] / 2, size[2] / 2, m_Type);
  direct = EmptyMap(width, size[0] / 2 - 2 * lost, size[1] / 2 - 2 * lost, size[2] / 2 - 2 * lost, m_Type);
  const ChannelsLastMap<T> skipMap(skip);
  const ChannelsLastMap<T> pooled(activated);
  const ChannelsLastMap<T> shortcut(direct);
  const Normalization &    next = m_Encoder[1]->First;

  PlaneStream<T> voxels(input.size(1), z, y, x, capacity, 3, padded, m_Type);
  PlaneStream<T> stem(width, z - lost, y - lost, x - lost, capacity, 3, padded, m_Type);
  BlockStream<T> block(*m_Encoder.front(), width, z - 2 * lost, y - 2 * lost, x - 2 * lost, capacity, padded, m_Type);
  int64_t        stemmed = 0;
  int64_t        done = 0;
  for (int64_t end = slab; done < size[0]; end += slab)
  {
    between();
    const int64_t first = voxels.Appended();
    if (first < z)
    {
      const Tensor part = input.narrow(2, first, std::min(end, z) - first)
                            .to(m_Type, false, false, torch::MemoryFormat::ChannelsLast3d)
                            .contiguous(torch::MemoryFormat::ChannelsLast3d);
      const ChannelsLastMap<T> from(part);
      voxels.Append(end, [&](int64_t atZ, int64_t atY, T * row) { from.CopyRow(atZ - first, atY, row); });
    }
    if (const int64_t ready = voxels.Ready(); ready > 0)
    {
      const Tensor             result = (*m_Stem1)(voxels.Window(ready));
      const ChannelsLastMap<T> from(result);
      const int64_t            before = stem.Appended();
      voxels.Drop(ready);
      stem.Append(before + ready, [&](int64_t atZ, int64_t atY, T * row) { from.CopyRow(atZ - before, atY, row); });
    }
    if (const int64_t ready = stem.Ready(); ready > 0)
    {
      const Tensor             result = (*m_Stem2)(stem.Window(ready));
      const ChannelsLastMap<T> from(result);
      const int64_t            before = stemmed;
      stem.Drop(ready);
      stemmed += ready;
      block.Push(stemmed, [&](int64_t atZ, int64_t atY, T * row) { from.CopyRow(atZ - before, atY, row); });
    }
    const Tensor result = block.Pull();
    if (!result.defined())
    {
      continue;
    }
    const ChannelsLastMap<T> from(result);
    ForRows(from.Z / 2, pooled.Y, [&](int64_t atZ, int64_t atY) {
      const T * rows[4];
      for (int64_t k = 0; k < 4; ++k)
      {
        rows[k] = from.Row(2 * atZ + k / 2, 2 * atY + k % 2);
        skipMap.TakeMiddle(size, rows[k], done + 2 * atZ + k / 2, 2 * atY + k % 2);
      }
      const int64_t to = done / 2 + atZ;
      T * const     row = pooled.Row(to, atY);
      PoolRow(rows, row, static_cast<std::size_t>(pooled.X), pooled.Channels);
      shortcut.TakeMiddle(pooled, row, to, atY);
      next.Apply(row, pooled.X, pooled.Channels);
    });
    done += from.Z;
  }
  return skip;
}

/** The last block and the classes' logits, plane by plane. */
template <typename T>
Tensor
FusedSegmentation::DecodeFirstLevel(const Tensor &                reduced,
                                    const Tensor &                skip,
                                    const std::function<void()> & between) const
{
  const ChannelsLastMap<T> low(reduced);
  const ChannelsLastMap<T> sum(skip);
  const int64_t            lost = m_Options.Padded ? 0 : 4;
  const int64_t            slab = SlabOf(m_Options, { { sum.Z, sum.Y, sum.X } }, sizeof(T));
  Tensor logits = EmptyMap(m_Options.Classes, sum.Z - lost, sum.Y - lost, sum.X - lost, torch::kFloat);
  const ChannelsLastMap<float> to(logits);
  BlockStream<T> block(*m_Decoder.front(), m_Options.Width, sum.Z, sum.Y, sum.X, slab + 4, m_Options.Padded, m_Type);
  int64_t        done = 0;
  for (int64_t end = slab; done < to.Z; end += slab)
  {
    between();
    block.Push(end, [&](int64_t z, int64_t y, T * row) {
      sum.CopyRow(z, y, row);
      AddUpsampledRow(low.Row(z / 2, y / 2), row, static_cast<std::size_t>(low.X), low.Channels);
    });
    const Tensor result = block.Pull();
    if (!result.defined())
    {
      continue;
    }
    const ChannelsLastMap<T> last(result);
    ForRows(last.Z, last.Y, [&](int64_t z, int64_t y) {
      HeadRow(last.Row(z, y),
              static_cast<std::size_t>(last.X),
              last.Channels,
              m_Last->Scale.data(),
              m_Last->Shift.data(),
              m_HeadWeight.data(),
              m_HeadBias.data(),
              to.Channels,
              to.Row(done + z, y));
    });
    done += last.Z;
  }
  return logits;
}

template <typename T>
Tensor
FusedSegmentation::Run(const Tensor & input, const std::function<void()> & between) const
{
  const int64_t       lost = m_Options.Padded ? 0 : 4;
  Tensor              activated;
  Tensor              direct;
  Tensor              x;
  std::vector<Tensor> skips{ this->EncodeFirstLevel<T>(input, activated, direct, between) };
  for (std::size_t level = 1;; ++level)
  {
    between();
    x = (*m_Encoder[level])(activated, direct);
    if (level + 1 == m_Encoder.size())
    {
      break;
    }
    const std::vector<int64_t> size =
      PereiraSegmentationNetworkImpl::SkipSize(x.sizes(), static_cast<int64_t>(level), m_Options);
    const int64_t channels = x.size(1);
    skips.push_back(m_Options.Padded ? x : EmptyMap(channels, size[0], size[1], size[2], m_Type));
    activated = EmptyMap(channels, x.size(2) / 2, x.size(3) / 2, x.size(4) / 2, m_Type);
    direct = EmptyMap(channels, x.size(2) / 2 - lost, x.size(3) / 2 - lost, x.size(4) / 2 - lost, m_Type);
    const ChannelsLastMap<T> from(x);
    const ChannelsLastMap<T> skip(skips.back());
    const ChannelsLastMap<T> pooled(activated);
    const ChannelsLastMap<T> shortcut(direct);
    const Normalization &    next = m_Encoder[level + 1]->First;
    ForRows(pooled.Z, pooled.Y, [&](int64_t z, int64_t y) {
      const T * rows[4];
      for (int64_t k = 0; k < 4; ++k)
      {
        const int64_t atZ = 2 * z + k / 2;
        const int64_t atY = 2 * y + k % 2;
        rows[k] = from.Row(atZ, atY);
        if (!m_Options.Padded)
        {
          skip.TakeMiddle(from, rows[k], atZ, atY);
        }
      }
      T * const row = pooled.Row(z, y);
      PoolRow(rows, row, static_cast<std::size_t>(pooled.X), pooled.Channels);
      shortcut.TakeMiddle(pooled, row, z, y);
      next.Apply(row, pooled.X, pooled.Channels);
    });
  }
  for (std::size_t level = m_Decoder.size(); level-- > 0;)
  {
    between();
    Tensor reduced = (*m_Reduction[level])(x);
    x = Tensor();
    activated = std::move(skips[level]);
    const ChannelsLastMap<T> low(reduced);
    const ChannelsLastMap<T> sum(activated);
    if (sum.X != 2 * low.X || sum.Y != 2 * low.Y || sum.Z != 2 * low.Z)
    {
      itkGenericExceptionMacro("The patch " << input.sizes() << " does not fit the network's poolings");
    }
    if (level == 0)
    {
      return this->DecodeFirstLevel<T>(reduced, activated, between);
    }
    direct =
      EmptyMap(activated.size(1), activated.size(2) - lost, activated.size(3) - lost, activated.size(4) - lost, m_Type);
    const ChannelsLastMap<T> shortcut(direct);
    const Normalization &    next = m_Decoder[level]->First;
    ForRows(sum.Z, sum.Y, [&](int64_t z, int64_t y) {
      T * const row = sum.Row(z, y);
      AddUpsampledRow(low.Row(z / 2, y / 2), row, static_cast<std::size_t>(low.X), low.Channels);
      shortcut.TakeMiddle(sum, row, z, y);
      next.Apply(row, sum.X, sum.Channels);
    });
    reduced = Tensor();
    x = (*m_Decoder[level])(activated, direct);
  }
  return {};
}
} // namespace itk
