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

#include "itkMacro.h"

#include <ATen/Parallel.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/stack.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <mutex>

// One loop for each instruction set of the processor, chosen when the library is loaded.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && defined(__gnu_linux__)
#  define GLIOMAGRADING_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#  define GLIOMAGRADING_INLINE __attribute__((always_inline)) inline
#else
#  define GLIOMAGRADING_CLONES
#  define GLIOMAGRADING_INLINE inline
#endif

namespace itk
{
namespace
{
using torch::Tensor;

GLIOMAGRADING_INLINE float
Loaded(float value)
{
  return value;
}

GLIOMAGRADING_INLINE float
Loaded(std::uint16_t value)
{
  const std::uint32_t bits = static_cast<std::uint32_t>(value) << 16;
  float               loaded;
  std::memcpy(&loaded, &bits, sizeof(loaded));
  return loaded;
}

GLIOMAGRADING_INLINE void
Store(float & to, float value)
{
  to = value;
}

/** Rounds to the nearest bfloat16, to even where two are. */
GLIOMAGRADING_INLINE void
Store(std::uint16_t & to, float value)
{
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  to = static_cast<std::uint16_t>((bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16);
}

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

/** The rows of a channels-last map. */
template <typename T>
struct Map
{
  explicit Map(const Tensor & tensor)
    : Data(static_cast<T *>(tensor.data_ptr()))
    , Channels(static_cast<std::size_t>(tensor.size(1)))
    , Z(tensor.size(2))
    , Y(tensor.size(3))
    , X(tensor.size(4))
  {}
  T *
  Row(int64_t z, int64_t y) const
  {
    return Data + static_cast<std::size_t>((z * Y + y) * X) * Channels;
  }
  /** Copies the middle of a row of a larger map, where this map has that row. */
  void
  TakeMiddle(const Map & larger, const T * row, int64_t z, int64_t y) const
  {
    const int64_t z0 = z - (larger.Z - Z) / 2;
    const int64_t y0 = y - (larger.Y - Y) / 2;
    if (z0 >= 0 && z0 < Z && y0 >= 0 && y0 < Y)
    {
      std::memcpy(Row(z0, y0),
                  row + static_cast<std::size_t>((larger.X - X) / 2) * Channels,
                  static_cast<std::size_t>(X) * Channels * sizeof(T));
    }
  }

  T *         Data;
  std::size_t Channels;
  int64_t     Z, Y, X;
};

/** Calls \a function(z, y) for every row of a plane of rows, from torch's threads. */
template <typename TFunction>
void
ForRows(int64_t z, int64_t y, const TFunction & function)
{
  at::parallel_for(0, z * y, 8, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k)
    {
      function(k / y, k % y);
    }
  });
}

Tensor
EmptyMap(int64_t channels, int64_t z, int64_t y, int64_t x, torch::ScalarType type)
{
  return torch::empty({ 1, channels, z, y, x },
                      torch::TensorOptions().dtype(type).memory_format(torch::MemoryFormat::ChannelsLast3d));
}

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

/** One of oneDNN's fused convolutions. */
class FusedSegmentation::Convolution
{
public:
  /** \a bn: folded into the kernel, and a ReLU behind. */
  Convolution(const torch::nn::Conv3d &      convolution,
              const torch::nn::BatchNorm3d * bn,
              bool                           padded,
              torch::ScalarType              type)
    : m_ReLU(bn != nullptr)
    , m_Padding(3, padded ? convolution->weight.size(2) / 2 : 0)
  {
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
  const std::vector<int64_t>                     m_Padding;
  Tensor                                         m_Weight;
  std::optional<Tensor>                          m_Bias;
  mutable std::mutex                             m_Mutex;
  mutable std::map<std::vector<int64_t>, Tensor> m_Packed;
};

/** A residual block: the batch norm in front, and the second one folded into the first convolution. */
struct FusedSegmentation::Block
{
  Block(const ResidualBlock & block, bool padded, torch::ScalarType type)
    : First(block->bn1)
    , Convolution1(block->conv1, &block->bn2, padded, type)
    , Convolution2(block->conv2, nullptr, padded, type)
  {
    if (block->shortcut)
    {
      Shortcut = std::make_unique<Convolution>(block->shortcut, nullptr, padded, type);
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

FusedSegmentation::FusedSegmentation(PereiraSegmentationNetworkImpl & network, bool bfloat16)
  : m_Options(network.Options)
  , m_Type(bfloat16 ? torch::kBFloat16 : torch::kFloat)
{
  const torch::NoGradGuard noGradient;
  const bool               padded = m_Options.Padded;
  m_Stem1 = std::make_unique<Convolution>(network.stem->conv1, &network.stem->bn, padded, m_Type);
  m_Stem2 = std::make_unique<Convolution>(network.stem->conv2, nullptr, padded, m_Type);
  for (const ResidualBlock & block : network.Encoder)
  {
    m_Encoder.push_back(std::make_unique<Block>(block, padded, m_Type));
  }
  for (const ResidualBlock & block : network.Decoder)
  {
    m_Decoder.push_back(std::make_unique<Block>(block, padded, m_Type));
  }
  for (const torch::nn::Conv3d & reduction : network.Reduction)
  {
    m_Reduction.push_back(std::make_unique<Convolution>(reduction, nullptr, padded, m_Type));
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
  // Of a map that has lost some voxels on each axis.
  const auto voxels = [&](int64_t lost) {
    double product = 1.0;
    for (const int64_t n : size)
    {
      product *= static_cast<double>(std::max<int64_t>(0, n - (options.Padded ? 0 : lost)));
    }
    return product;
  };
  const auto width = static_cast<double>(options.Width);
  // Between the stem's convolutions: its input is a tile's copy.
  const double stem = static_cast<double>(options.InputChannels) * voxels(0) + width * (voxels(2) + voxels(4));
  // In the first block's first convolution: its input, its result and the shortcut.
  const double block = width * (voxels(4) + voxels(6) + voxels(8));
  return std::max(stem, block);
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
FusedSegmentation::Forward(const Tensor & input) const
{
  const torch::NoGradGuard noGradient;
  return m_Type == torch::kBFloat16 ? this->Run<std::uint16_t>(input) : this->Run<float>(input);
}

template <typename T>
Tensor
FusedSegmentation::Run(const Tensor & input) const
{
  const int64_t lost = m_Options.Padded ? 0 : 4;
  Tensor        activated = (*m_Stem2)((*m_Stem1)(input.to(m_Type, false, false, torch::MemoryFormat::ChannelsLast3d)));
  Tensor        direct =
    EmptyMap(activated.size(1), activated.size(2) - lost, activated.size(3) - lost, activated.size(4) - lost, m_Type);
  {
    const Map<T> from(activated);
    const Map<T> shortcut(direct);
    ForRows(from.Z, from.Y, [&](int64_t z, int64_t y) {
      T * const row = from.Row(z, y);
      shortcut.TakeMiddle(from, row, z, y);
      m_Encoder.front()->First.Apply(row, from.X, from.Channels);
    });
  }
  std::vector<Tensor> skips;
  Tensor              x;
  for (std::size_t level = 0;; ++level)
  {
    x = (*m_Encoder[level])(activated, direct);
    if (level + 1 == m_Encoder.size())
    {
      break;
    }
    const std::vector<int64_t> size =
      PereiraSegmentationNetworkImpl::SkipSize(x, static_cast<int64_t>(level), m_Options);
    const int64_t channels = x.size(1);
    skips.push_back(m_Options.Padded ? x : EmptyMap(channels, size[0], size[1], size[2], m_Type));
    activated = EmptyMap(channels, x.size(2) / 2, x.size(3) / 2, x.size(4) / 2, m_Type);
    direct = EmptyMap(channels, x.size(2) / 2 - lost, x.size(3) / 2 - lost, x.size(4) / 2 - lost, m_Type);
    const Map<T>          from(x);
    const Map<T>          skip(skips.back());
    const Map<T>          pooled(activated);
    const Map<T>          shortcut(direct);
    const Normalization & next = m_Encoder[level + 1]->First;
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
    const Tensor reduced = (*m_Reduction[level])(x);
    x = Tensor();
    activated = std::move(skips[level]);
    direct =
      EmptyMap(activated.size(1), activated.size(2) - lost, activated.size(3) - lost, activated.size(4) - lost, m_Type);
    const Map<T>          low(reduced);
    const Map<T>          sum(activated);
    const Map<T>          shortcut(direct);
    const Normalization & next = m_Decoder[level]->First;
    if (sum.X != 2 * low.X || sum.Y != 2 * low.Y || sum.Z != 2 * low.Z)
    {
      itkGenericExceptionMacro("The patch " << input.sizes() << " does not fit the network's poolings");
    }
    ForRows(sum.Z, sum.Y, [&](int64_t z, int64_t y) {
      T * const row = sum.Row(z, y);
      AddUpsampledRow(low.Row(z / 2, y / 2), row, static_cast<std::size_t>(low.X), low.Channels);
      shortcut.TakeMiddle(sum, row, z, y);
      next.Apply(row, sum.X, sum.Channels);
    });
    x = (*m_Decoder[level])(activated, direct);
  }
  const Map<T>     last(x);
  Tensor           logits = EmptyMap(m_Options.Classes, last.Z, last.Y, last.X, torch::kFloat);
  const Map<float> to(logits);
  ForRows(last.Z, last.Y, [&](int64_t z, int64_t y) {
    HeadRow(last.Row(z, y),
            static_cast<std::size_t>(last.X),
            last.Channels,
            m_Last->Scale.data(),
            m_Last->Shift.data(),
            m_HeadWeight.data(),
            m_HeadBias.data(),
            to.Channels,
            to.Row(z, y));
  });
  return logits;
}
} // namespace itk
