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
#include "TrainingOperators.h"

#include "StoredValues.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace itk
{
namespace
{
using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

// Below, the coefficients and sums of a loop over n values repeat every \a period values, a multiple of the channels.

template <typename T>
GLIOMAGRADING_INLINE void
Sums(const T * __restrict__ x,
     std::size_t n,
     const float * __restrict__ pivot,
     float * __restrict__ sums,
     float * __restrict__ squares,
     std::size_t period)
{
  for (std::size_t start = 0; start < n; start += period)
  {
    const std::size_t count = std::min(period, n - start);
    GLIOMAGRADING_INDEPENDENT
    for (std::size_t i = 0; i < count; ++i)
    {
      const float d = Loaded(x[start + i]) - pivot[i];
      sums[i] += d;
      squares[i] += d * d;
    }
  }
}

template <typename T>
GLIOMAGRADING_INLINE void
Rectified(const T * __restrict__ x,
          T * __restrict__ y,
          std::size_t n,
          const float * __restrict__ scale,
          const float * __restrict__ shift,
          std::size_t period)
{
  for (std::size_t start = 0; start < n; start += period)
  {
    const std::size_t count = std::min(period, n - start);
    GLIOMAGRADING_INDEPENDENT
    for (std::size_t i = 0; i < count; ++i)
    {
      const float value = Loaded(x[start + i]) * scale[i] + shift[i];
      Store(y[start + i], value < 0.0F ? 0.0F : value);
    }
  }
}

/** Of the gradient behind the ReLU, and of its product with x - mean. */
template <typename T>
GLIOMAGRADING_INLINE void
GradientSums(const T * __restrict__ x,
             const T * __restrict__ gradient,
             std::size_t n,
             const float * __restrict__ scale,
             const float * __restrict__ shift,
             const float * __restrict__ mean,
             float * __restrict__ sums,
             float * __restrict__ products,
             std::size_t period)
{
  for (std::size_t start = 0; start < n; start += period)
  {
    const std::size_t count = std::min(period, n - start);
    GLIOMAGRADING_INDEPENDENT
    for (std::size_t i = 0; i < count; ++i)
    {
      const float value = Loaded(x[start + i]);
      const float given = Loaded(gradient[start + i]);
      const float g = value * scale[i] + shift[i] > 0.0F ? given : 0.0F;
      sums[i] += g;
      products[i] += g * (value - mean[i]);
    }
  }
}

/** factor g + slope x + offset, and \a other where it is not null. */
template <typename T>
GLIOMAGRADING_INLINE void
Gradient(const T * __restrict__ x,
         const T * __restrict__ gradient,
         const T * __restrict__ other,
         T * __restrict__ result,
         std::size_t n,
         const float * __restrict__ scale,
         const float * __restrict__ shift,
         const float * __restrict__ factor,
         const float * __restrict__ slope,
         const float * __restrict__ offset,
         std::size_t period)
{
  for (std::size_t start = 0; start < n; start += period)
  {
    const std::size_t count = std::min(period, n - start);
    if (other)
    {
      GLIOMAGRADING_INDEPENDENT
      for (std::size_t i = 0; i < count; ++i)
      {
        const float value = Loaded(x[start + i]);
        const float given = Loaded(gradient[start + i]) * factor[i];
        const float g = value * scale[i] + shift[i] > 0.0F ? given : 0.0F;
        Store(result[start + i], g + value * slope[i] + offset[i] + Loaded(other[start + i]));
      }
    }
    else
    {
      GLIOMAGRADING_INDEPENDENT
      for (std::size_t i = 0; i < count; ++i)
      {
        const float value = Loaded(x[start + i]);
        const float given = Loaded(gradient[start + i]) * factor[i];
        const float g = value * scale[i] + shift[i] > 0.0F ? given : 0.0F;
        Store(result[start + i], g + value * slope[i] + offset[i]);
      }
    }
  }
}

/** \a VChannels: known while compiling, for the usual ones; 0: any. */
template <unsigned int VChannels, typename T>
GLIOMAGRADING_INLINE void
Pooled(const T * const (&rows)[4], T * pooled, std::uint8_t * places, std::size_t n, std::size_t channels)
{
  const std::size_t all = VChannels ? VChannels : channels;
  for (std::size_t x = 0; x < n; ++x)
  {
    T * const            to = pooled + x * all;
    std::uint8_t * const place = places + x * all;
    GLIOMAGRADING_INDEPENDENT
    for (std::size_t c = 0; c < all; ++c)
    {
      const std::size_t at = 2 * x * all + c;
      float             largest = Loaded(rows[0][at]);
      int               best = 0;
      for (int k = 1; k < 8; ++k)
      {
        const float value = Loaded(rows[k / 2][at + (k % 2) * all]);
        best = value > largest ? k : best;
        largest = value > largest ? value : largest;
      }
      Store(to[c], largest);
      place[c] = static_cast<std::uint8_t>(best);
    }
  }
}

/** A row of the gradient: row \a k of the four that are pooled. */
template <unsigned int VChannels, typename T>
GLIOMAGRADING_INLINE void
Unpooled(const T * gradient, const std::uint8_t * places, T * row, std::size_t n, std::size_t channels, int k)
{
  const std::size_t all = VChannels ? VChannels : channels;
  for (std::size_t x = 0; x < n; ++x)
  {
    const T * const            from = gradient + x * all;
    const std::uint8_t * const place = places + x * all;
    for (int side = 0; side < 2; ++side)
    {
      T * const to = row + (2 * x + side) * all;
      GLIOMAGRADING_INDEPENDENT
      for (std::size_t c = 0; c < all; ++c)
      {
        to[c] = place[c] == 2 * k + side ? from[c] : T(0);
      }
    }
  }
}

template <typename T>
GLIOMAGRADING_INLINE void
Added(const T * __restrict__ from, T * __restrict__ to, std::size_t n)
{
  GLIOMAGRADING_INDEPENDENT
  for (std::size_t i = 0; i < n; ++i)
  {
    Store(to[i], Loaded(to[i]) + Loaded(from[i]));
  }
}

// clang-format off
#define GLIOMAGRADING_TRAINING_LOOPS(T)                                                                                \
  GLIOMAGRADING_CLONES void                                                                                            \
  AddSums(const T * x, std::size_t n, const float * pivot, float * sums, float * squares, std::size_t period)          \
  {                                                                                                                    \
    Sums(x, n, pivot, sums, squares, period);                                                                          \
  }                                                                                                                    \
  GLIOMAGRADING_CLONES void                                                                                            \
  Rectify(const T * x, T * y, std::size_t n, const float * scale, const float * shift, std::size_t period)             \
  {                                                                                                                    \
    Rectified(x, y, n, scale, shift, period);                                                                          \
  }                                                                                                                    \
  GLIOMAGRADING_CLONES void                                                                                            \
  AddGradientSums(const T * x, const T * gradient, std::size_t n, const float * scale, const float * shift,            \
                  const float * mean, float * sums, float * products, std::size_t period)                              \
  {                                                                                                                    \
    GradientSums(x, gradient, n, scale, shift, mean, sums, products, period);                                          \
  }                                                                                                                    \
  GLIOMAGRADING_CLONES void                                                                                            \
  WriteGradient(const T * x, const T * gradient, const T * other, T * result, std::size_t n, const float * scale,      \
                const float * shift, const float * factor, const float * slope, const float * offset,                  \
                std::size_t period)                                                                                    \
  {                                                                                                                    \
    Gradient(x, gradient, other, result, n, scale, shift, factor, slope, offset, period);                              \
  }                                                                                                                    \
  GLIOMAGRADING_CLONES void                                                                                            \
  PoolRow(const T * const (&rows)[4], T * pooled, std::uint8_t * places, std::size_t n, std::size_t channels)          \
  {                                                                                                                    \
    switch (channels)                                                                                                  \
    {                                                                                                                  \
      case 8: Pooled<8>(rows, pooled, places, n, channels); break;                                                     \
      case 16: Pooled<16>(rows, pooled, places, n, channels); break;                                                   \
      default: Pooled<0>(rows, pooled, places, n, channels);                                                           \
    }                                                                                                                  \
  }                                                                                                                    \
  GLIOMAGRADING_CLONES void                                                                                            \
  UnpoolRow(const T * gradient, const std::uint8_t * places, T * row, std::size_t n, std::size_t channels, int k)      \
  {                                                                                                                    \
    switch (channels)                                                                                                  \
    {                                                                                                                  \
      case 8: Unpooled<8>(gradient, places, row, n, channels, k); break;                                               \
      case 16: Unpooled<16>(gradient, places, row, n, channels, k); break;                                             \
      default: Unpooled<0>(gradient, places, row, n, channels, k);                                                     \
    }                                                                                                                  \
  }                                                                                                                    \
  GLIOMAGRADING_CLONES void                                                                                            \
  AddRow(const T * from, T * to, std::size_t n)                                                                        \
  {                                                                                                                    \
    Added(from, to, n);                                                                                                \
  }
GLIOMAGRADING_TRAINING_LOOPS(float)
GLIOMAGRADING_TRAINING_LOOPS(std::uint16_t)
// clang-format on

/** Calls a generic lambda with a null pointer of the map's type of values. */
template <typename TFunction>
void
ForType(const Tensor & x, const TFunction & function)
{
  if (x.scalar_type() == torch::kFloat32)
  {
    function(static_cast<float *>(nullptr));
  }
  else
  {
    function(static_cast<std::uint16_t *>(nullptr));
  }
}

/** Sizes of a channels-last map. */
struct Shape
{
  explicit Shape(const Tensor & x)
    : Samples(x.size(0))
    , Channels(static_cast<std::size_t>(x.size(1)))
    , Z(x.size(2))
    , Y(x.size(3))
    , X(x.size(4))
    , Line(Channels * static_cast<std::size_t>(X))
    , Plane(Line * static_cast<std::size_t>(Y))
    , Period(Channels * ((127 + Channels) / Channels))
  {}
  int64_t     Samples;
  std::size_t Channels;
  int64_t     Z, Y, X;
  std::size_t Line, Plane, Period;
};

/** Calls function(sample, plane of all samples) from torch's threads. */
template <typename TFunction>
void
ForPlanes(const Shape & shape, const TFunction & function)
{
  at::parallel_for(0, shape.Samples * shape.Z, 1, [&](int64_t begin, int64_t end) {
    for (int64_t plane = begin; plane < end; ++plane)
    {
      function(plane / shape.Z, plane);
    }
  });
}

/** A number a channel, once for each sample, repeated over the period of the loops. */
class Coefficients
{
public:
  Coefficients(const Shape & shape, int64_t samples)
    : m_Period(shape.Period)
    , m_Channels(shape.Channels)
    , m_Values(static_cast<std::size_t>(samples) * shape.Period)
  {}
  void
  Set(int64_t sample, std::size_t channel, float value)
  {
    for (std::size_t i = channel; i < m_Period; i += m_Channels)
    {
      m_Values[static_cast<std::size_t>(sample) * m_Period + i] = value;
    }
  }
  const float *
  Of(int64_t sample) const
  {
    return m_Values.data() + static_cast<std::size_t>(sample) * m_Period;
  }

private:
  std::size_t        m_Period, m_Channels;
  std::vector<float> m_Values;
};

// Two sums a channel of every plane.
class PlaneSums
{
public:
  explicit PlaneSums(const Shape & shape)
    : m_Shape(shape)
    , m_Sums(static_cast<std::size_t>(shape.Samples * shape.Z) * 2 * shape.Channels)
  {}

  /** add(first, second) adds to sums of the loops' period. */
  template <typename TAdd>
  void
  Take(int64_t plane, const TAdd & add)
  {
    std::vector<float> lanes(2 * m_Shape.Period);
    add(lanes.data(), lanes.data() + m_Shape.Period);
    double * const sums = m_Sums.data() + static_cast<std::size_t>(plane) * 2 * m_Shape.Channels;
    for (std::size_t i = 0; i < m_Shape.Period; ++i)
    {
      sums[i % m_Shape.Channels] += lanes[i];
      sums[m_Shape.Channels + i % m_Shape.Channels] += lanes[m_Shape.Period + i];
    }
  }

  double
  Of(int64_t sample, std::size_t which, std::size_t channel) const
  {
    double sum = 0.0;
    for (int64_t z = 0; z < m_Shape.Z; ++z)
    {
      sum += m_Sums[(static_cast<std::size_t>(sample * m_Shape.Z + z) * 2 + which) * m_Shape.Channels + channel];
    }
    return sum;
  }

private:
  const Shape &       m_Shape;
  std::vector<double> m_Sums;
};

template <typename T>
const T *
ValuesOf(const Tensor & x)
{
  return static_cast<const T *>(x.const_data_ptr());
}

template <typename T>
T *
NewValuesOf(const Tensor & x)
{
  return static_cast<T *>(x.mutable_data_ptr());
}

/** \a result, and the middle of \a x where one is asked for: in the same memory, which is not to be written to. */
variable_list
WithMiddle(const Tensor & result, const Tensor & x, const std::vector<int64_t> & size)
{
  if (size.empty())
  {
    return { result };
  }
  int64_t offset = 0;
  for (int64_t axis = 0; axis < 3; ++axis)
  {
    const int64_t surplus = x.size(2 + axis) - size[axis];
    TORCH_CHECK(
      surplus >= 0 && surplus % 2 == 0, "A map of ", x.size(2 + axis), " voxels has no middle of ", size[axis]);
    offset += surplus / 2 * x.stride(2 + axis);
  }
  // No view: what autograd knows of it comes from the function alone.
  return { result,
           torch::from_blob(
             static_cast<char *>(x.data_ptr()) + offset * x.element_size(),
             { x.size(0), x.size(1), size[0], size[1], size[2] },
             x.strides(),
             [x](void *) {},
             x.options()) };
}

/** The gradient of one of the results; undefined where there is none. */
Tensor
GradientOf(const variable_list & gradients, std::size_t result, torch::ScalarType type)
{
  return result < gradients.size() && gradients[result].defined()
           ? gradients[result].to(type).contiguous(torch::MemoryFormat::ChannelsLast3d)
           : Tensor();
}

// Where the gradient of a middle is added to a line of the whole: null where the line is not in it.
template <typename T>
class MiddleGradient
{
public:
  MiddleGradient(const Shape & whole, const Tensor & gradient)
    : m_Whole(whole)
    , m_Values(gradient.defined() ? ValuesOf<T>(gradient) : nullptr)
  {
    if (m_Values)
    {
      for (int64_t axis = 0; axis < 3; ++axis)
      {
        m_Size[axis] = gradient.size(2 + axis);
      }
      m_Z = (whole.Z - m_Size[0]) / 2;
      m_Y = (whole.Y - m_Size[1]) / 2;
      Before = static_cast<std::size_t>((whole.X - m_Size[2]) / 2) * whole.Channels;
      Length = static_cast<std::size_t>(m_Size[2]) * whole.Channels;
    }
  }
  const T *
  Line(int64_t sample, int64_t z, int64_t y) const
  {
    if (!m_Values || z < m_Z || z >= m_Z + m_Size[0] || y < m_Y || y >= m_Y + m_Size[1])
    {
      return nullptr;
    }
    return m_Values + static_cast<std::size_t>((sample * m_Size[0] + z - m_Z) * m_Size[1] + y - m_Y) * Length;
  }
  bool
  HasPlane(int64_t z) const
  {
    return m_Values && z >= m_Z && z < m_Z + m_Size[0];
  }

  std::size_t Before{ 0 }; // values of the line in front of the middle
  std::size_t Length{ 0 };

private:
  const Shape &          m_Whole;
  const T *              m_Values;
  std::array<int64_t, 3> m_Size{};
  int64_t                m_Z{ 0 }, m_Y{ 0 };
};

/** What normalizes a step: float32, a number a channel; Noise [N, C] may be undefined. */
struct Normalization
{
  Tensor               Mean, InverseDeviation, Noise;
  bool                 OfBatch{ true }; // the statistics depend on x
  std::vector<int64_t> Middle;
};

struct ScaleAndShift
{
  ScaleAndShift(const Shape & shape, const Tensor & weight, const Tensor & bias, const Normalization & how)
    : Scale(shape, shape.Samples)
    , Shift(shape, shape.Samples)
  {
    const float * const w = weight.const_data_ptr<float>();
    const float * const b = bias.const_data_ptr<float>();
    const float * const mean = how.Mean.const_data_ptr<float>();
    const float * const inverse = how.InverseDeviation.const_data_ptr<float>();
    const float * const noise = how.Noise.defined() ? how.Noise.const_data_ptr<float>() : nullptr;
    for (int64_t n = 0; n < shape.Samples; ++n)
    {
      for (std::size_t c = 0; c < shape.Channels; ++c)
      {
        // The noise is not negative: it commutes with the ReLU.
        const float factor = noise ? noise[static_cast<std::size_t>(n) * shape.Channels + c] : 1.0F;
        Scale.Set(n, c, factor * (w[c] * inverse[c]));
        Shift.Set(n, c, factor * (b[c] - mean[c] * w[c] * inverse[c]));
      }
    }
  }
  Coefficients Scale, Shift;
};

class NormalizeFunction : public Function<NormalizeFunction>
{
public:
  static variable_list
  forward(AutogradContext *     context,
          const Tensor &        x,
          const Tensor &        weight,
          const Tensor &        bias,
          const Normalization & how)
  {
    context->save_for_backward({ x, weight, bias, how.Mean, how.InverseDeviation, how.Noise });
    context->saved_data["batch"] = how.OfBatch;
    const Shape         shape(x);
    const ScaleAndShift coefficients(shape, weight, bias, how);
    const Tensor        y = torch::empty_like(x, x.options(), torch::MemoryFormat::ChannelsLast3d);
    ForType(x, [&](auto * type) {
      using T = std::remove_pointer_t<decltype(type)>;
      const T * const from = ValuesOf<T>(x);
      T * const       to = NewValuesOf<T>(y);
      ForPlanes(shape, [&](int64_t n, int64_t plane) {
        const std::size_t at = static_cast<std::size_t>(plane) * shape.Plane;
        Rectify(from + at, to + at, shape.Plane, coefficients.Scale.Of(n), coefficients.Shift.Of(n), shape.Period);
      });
    });
    return WithMiddle(y, x, how.Middle);
  }

  static variable_list
  backward(AutogradContext * context, const variable_list & gradients)
  {
    const variable_list saved = context->get_saved_variables();
    const Tensor &      x = saved[0];
    const Tensor &      weight = saved[1];
    Normalization       how;
    how.Mean = saved[3];
    how.InverseDeviation = saved[4];
    how.Noise = saved[5];
    how.OfBatch = context->saved_data["batch"].toBool();
    const Shape         shape(x);
    const ScaleAndShift coefficients(shape, weight, saved[2], how);
    const Tensor        other = GradientOf(gradients, 1, x.scalar_type());
    Tensor              gradient = GradientOf(gradients, 0, x.scalar_type());
    if (!gradient.defined())
    {
      gradient = torch::zeros_like(x, x.options(), torch::MemoryFormat::ChannelsLast3d);
    }
    Coefficients mean(shape, 1);
    Coefficients factor(shape, shape.Samples);
    Coefficients slope(shape, 1);
    Coefficients offset(shape, 1);
    for (std::size_t c = 0; c < shape.Channels; ++c)
    {
      mean.Set(0, c, how.Mean.const_data_ptr<float>()[c]);
    }
    PlaneSums sums(shape);
    ForType(x, [&](auto * type) {
      using T = std::remove_pointer_t<decltype(type)>;
      const T * const from = ValuesOf<T>(x);
      const T * const g = ValuesOf<T>(gradient);
      ForPlanes(shape, [&](int64_t n, int64_t plane) {
        const std::size_t at = static_cast<std::size_t>(plane) * shape.Plane;
        sums.Take(plane, [&](float * first, float * second) {
          AddGradientSums(from + at,
                          g + at,
                          shape.Plane,
                          coefficients.Scale.Of(n),
                          coefficients.Shift.Of(n),
                          mean.Of(0),
                          first,
                          second,
                          shape.Period);
        });
      });
    });

    const Tensor weightGradient = torch::empty_like(weight);
    const Tensor biasGradient = torch::empty_like(weight);
    const double voxels = static_cast<double>(shape.Samples * shape.Z * shape.Y * shape.X);
    for (std::size_t c = 0; c < shape.Channels; ++c)
    {
      double total = 0.0;
      double product = 0.0;
      for (int64_t n = 0; n < shape.Samples; ++n)
      {
        const double noise = how.Noise.defined()
                               ? how.Noise.const_data_ptr<float>()[static_cast<std::size_t>(n) * shape.Channels + c]
                               : 1.0;
        total += noise * sums.Of(n, 0, c);
        product += noise * sums.Of(n, 1, c);
      }
      const double inverse = how.InverseDeviation.const_data_ptr<float>()[c];
      const double scale = weight.const_data_ptr<float>()[c] * inverse;
      weightGradient.mutable_data_ptr<float>()[c] = static_cast<float>(product * inverse);
      biasGradient.mutable_data_ptr<float>()[c] = static_cast<float>(total);
      for (int64_t n = 0; n < shape.Samples; ++n)
      {
        const double noise = how.Noise.defined()
                               ? how.Noise.const_data_ptr<float>()[static_cast<std::size_t>(n) * shape.Channels + c]
                               : 1.0;
        factor.Set(n, c, static_cast<float>(noise * scale));
      }
      const double steep = how.OfBatch ? -scale * product * inverse * inverse / voxels : 0.0;
      slope.Set(0, c, static_cast<float>(steep));
      offset.Set(
        0,
        c,
        static_cast<float>(how.OfBatch ? -scale * total / voxels - steep * how.Mean.const_data_ptr<float>()[c] : 0.0));
    }

    const Tensor result = torch::empty_like(x, x.options(), torch::MemoryFormat::ChannelsLast3d);
    ForType(x, [&](auto * type) {
      using T = std::remove_pointer_t<decltype(type)>;
      const T * const         from = ValuesOf<T>(x);
      const T * const         g = ValuesOf<T>(gradient);
      T * const               to = NewValuesOf<T>(result);
      const MiddleGradient<T> middle(shape, other);
      ForPlanes(shape, [&](int64_t n, int64_t plane) {
        const auto write = [&](std::size_t at, std::size_t count, const T * added) {
          WriteGradient(from + at,
                        g + at,
                        added,
                        to + at,
                        count,
                        coefficients.Scale.Of(n),
                        coefficients.Shift.Of(n),
                        factor.Of(n),
                        slope.Of(0),
                        offset.Of(0),
                        shape.Period);
        };
        const int64_t     z = plane % shape.Z;
        const std::size_t first = static_cast<std::size_t>(plane) * shape.Plane;
        if (!middle.HasPlane(z))
        {
          write(first, shape.Plane, nullptr);
          return;
        }
        for (int64_t y = 0; y < shape.Y; ++y)
        {
          const std::size_t at = first + static_cast<std::size_t>(y) * shape.Line;
          const T * const   line = middle.Line(n, z, y);
          if (!line)
          {
            write(at, shape.Line, nullptr);
            continue;
          }
          const std::size_t behind = middle.Before + middle.Length;
          write(at, middle.Before, nullptr);
          write(at + middle.Before, middle.Length, line);
          write(at + behind, shape.Line - behind, nullptr);
        }
      });
    });
    return { result, weightGradient, biasGradient, Tensor() };
  }
};

class PoolFunction : public Function<PoolFunction>
{
public:
  static variable_list
  forward(AutogradContext * context, const Tensor & x, const Normalization & how)
  {
    const Shape  shape(x);
    const auto   options = torch::TensorOptions().memory_format(torch::MemoryFormat::ChannelsLast3d);
    const Tensor pooled =
      torch::empty({ x.size(0), x.size(1), shape.Z / 2, shape.Y / 2, shape.X / 2 }, options.dtype(x.scalar_type()));
    const Tensor places = torch::empty(pooled.sizes(), options.dtype(torch::kUInt8));
    ForType(x, [&](auto * type) {
      using T = std::remove_pointer_t<decltype(type)>;
      const T * const from = ValuesOf<T>(x);
      T * const       to = NewValuesOf<T>(pooled);
      std::uint8_t *  place = places.mutable_data_ptr<std::uint8_t>();
      const Shape     low(pooled);
      ForPlanes(low, [&](int64_t n, int64_t plane) {
        for (int64_t y = 0; y < low.Y; ++y)
        {
          const std::size_t z = static_cast<std::size_t>(n * shape.Z + 2 * (plane % low.Z));
          const T * const   row = from + z * shape.Plane + static_cast<std::size_t>(2 * y) * shape.Line;
          const T * const   rows[4] = { row, row + shape.Line, row + shape.Plane, row + shape.Plane + shape.Line };
          const std::size_t at = static_cast<std::size_t>(plane) * low.Plane + static_cast<std::size_t>(y) * low.Line;
          PoolRow(rows, to + at, place + at, static_cast<std::size_t>(low.X), low.Channels);
        }
      });
    });
    context->save_for_backward({ places });
    context->saved_data["sizes"] = x.sizes().vec();
    context->saved_data["type"] = static_cast<int64_t>(x.scalar_type());
    return WithMiddle(pooled, x, how.Middle);
  }

  static variable_list
  backward(AutogradContext * context, const variable_list & gradients)
  {
    const Tensor places = context->get_saved_variables()[0];
    const auto   sizes = context->saved_data["sizes"].toIntVector();
    const auto   type = static_cast<torch::ScalarType>(context->saved_data["type"].toInt());
    const Tensor other = GradientOf(gradients, 1, type);
    Tensor       gradient = GradientOf(gradients, 0, type);
    if (!gradient.defined())
    {
      gradient = torch::zeros_like(places, places.options().dtype(type), torch::MemoryFormat::ChannelsLast3d);
    }
    const Tensor result =
      torch::empty(sizes, torch::TensorOptions().dtype(type).memory_format(torch::MemoryFormat::ChannelsLast3d));
    const Shape shape(result);
    const Shape low(gradient);
    ForType(result, [&](auto * pointer) {
      using T = std::remove_pointer_t<decltype(pointer)>;
      const T * const            g = ValuesOf<T>(gradient);
      const std::uint8_t * const place = places.const_data_ptr<std::uint8_t>();
      T * const                  to = NewValuesOf<T>(result);
      const MiddleGradient<T>    middle(shape, other);
      ForPlanes(shape, [&](int64_t n, int64_t plane) {
        const int64_t z = plane % shape.Z;
        for (int64_t y = 0; y < shape.Y; ++y)
        {
          T * const row = to + static_cast<std::size_t>(plane) * shape.Plane + static_cast<std::size_t>(y) * shape.Line;
          const std::size_t at =
            static_cast<std::size_t>(n * low.Z + z / 2) * low.Plane + static_cast<std::size_t>(y / 2) * low.Line;
          UnpoolRow(g + at,
                    place + at,
                    row,
                    static_cast<std::size_t>(low.X),
                    low.Channels,
                    static_cast<int>(2 * (z % 2) + y % 2));
          if (const T * const line = middle.Line(n, z, y))
          {
            AddRow(line, row + middle.Before, middle.Length);
          }
        }
      });
    });
    return { result, Tensor() };
  }
};
} // namespace

bool
TrainsInOnePass(const Tensor & x)
{
  return torch::GradMode::is_enabled() && x.dim() == 5 && x.device().is_cpu() &&
         (x.scalar_type() == torch::kFloat32 || x.scalar_type() == torch::kBFloat16) && x.numel() > x.size(1) &&
         x.is_contiguous(torch::MemoryFormat::ChannelsLast3d);
}

std::pair<Tensor, Tensor>
NormalizeAndRectify(const Tensor &               x,
                    torch::nn::BatchNorm3dImpl & bn,
                    const std::vector<int64_t> & middle,
                    const Tensor &               noise)
{
  Normalization how;
  how.Noise = noise.defined() ? noise.contiguous() : noise;
  how.Middle = middle;
  how.OfBatch = bn.is_training();
  {
    const torch::NoGradGuard noGradient;
    how.Mean = bn.running_mean.clone();
    how.InverseDeviation = torch::rsqrt(bn.running_var + bn.options.eps());
    if (how.OfBatch)
    {
      const Shape  shape(x);
      PlaneSums    sums(shape);
      Coefficients pivot(shape, 1);
      ForType(x, [&](auto * type) {
        using T = std::remove_pointer_t<decltype(type)>;
        const T * const from = ValuesOf<T>(x);
        // Sums about a value of the channel: the squares then lose nothing to a large mean.
        for (std::size_t c = 0; c < shape.Channels; ++c)
        {
          pivot.Set(0, c, Loaded(from[shape.Plane * static_cast<std::size_t>(shape.Z / 2) + c]));
        }
        ForPlanes(shape, [&](int64_t, int64_t plane) {
          sums.Take(plane, [&](float * first, float * second) {
            AddSums(from + static_cast<std::size_t>(plane) * shape.Plane,
                    shape.Plane,
                    pivot.Of(0),
                    first,
                    second,
                    shape.Period);
          });
        });
      });
      const double voxels = static_cast<double>(shape.Samples * shape.Z * shape.Y * shape.X);
      const double momentum = bn.options.momentum().value_or(0.1);
      float *      runningMean = bn.running_mean.mutable_data_ptr<float>();
      float *      runningVariance = bn.running_var.mutable_data_ptr<float>();
      for (std::size_t c = 0; c < shape.Channels; ++c)
      {
        double sum = 0.0;
        double squares = 0.0;
        for (int64_t n = 0; n < shape.Samples; ++n)
        {
          sum += sums.Of(n, 0, c);
          squares += sums.Of(n, 1, c);
        }
        const double above = sum / voxels;
        const double mean = pivot.Of(0)[c] + above;
        const double variance = std::max(0.0, squares / voxels - above * above);
        how.Mean.mutable_data_ptr<float>()[c] = static_cast<float>(mean);
        how.InverseDeviation.mutable_data_ptr<float>()[c] =
          static_cast<float>(1.0 / std::sqrt(variance + bn.options.eps()));
        runningMean[c] = static_cast<float>((1.0 - momentum) * runningMean[c] + momentum * mean);
        runningVariance[c] =
          static_cast<float>((1.0 - momentum) * runningVariance[c] + momentum * variance * voxels / (voxels - 1.0));
      }
      bn.num_batches_tracked += 1;
    }
  }
  const variable_list results = NormalizeFunction::apply(x, bn.weight, bn.bias, how);
  return { results[0], results.size() > 1 ? results[1] : Tensor() };
}

std::pair<Tensor, Tensor>
PoolAndCrop(const Tensor & x, const std::vector<int64_t> & middle)
{
  TORCH_CHECK(x.size(2) % 2 == 0 && x.size(3) % 2 == 0 && x.size(4) % 2 == 0, "Only even sizes are pooled in pairs");
  Normalization how;
  how.Middle = middle;
  const variable_list results = PoolFunction::apply(x, how);
  return { results[0], results.size() > 1 ? results[1] : Tensor() };
}
} // namespace itk
