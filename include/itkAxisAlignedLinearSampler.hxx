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
#ifndef itkAxisAlignedLinearSampler_hxx
#define itkAxisAlignedLinearSampler_hxx

#include "itkAxisAlignedLinearSampler.h"
#include "itkMath.h"
#include "itkNumericTraits.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>

namespace itk
{
inline AxisAlignedLinearSampler::AxisAlignedLinearSampler(const AxisAlignedMapping & mapping,
                                                          const RegionType &         extent,
                                                          InterpolationEnum          interpolation)
  : m_Mapping(mapping)
  , m_Extent(extent)
  , m_Valid(extent)
  , m_Interpolation(interpolation)
{
  for (unsigned int d = 0; d < Dimension; ++d)
  {
    m_Lower[d] = static_cast<double>(extent.GetIndex(d)) - 0.5;
    m_Upper[d] = m_Lower[d] + static_cast<double>(extent.GetSize(d));
  }
}

inline void
AxisAlignedLinearSampler::SetFullWidthAtHalfMaximum(const WidthsType & widths)
{
  m_Widths = widths;
}

inline void
AxisAlignedLinearSampler::SetInside(const WidthsType & lower, const WidthsType & upper)
{
  for (unsigned int d = 0; d < Dimension; ++d)
  {
    const double begin = static_cast<double>(m_Extent.GetIndex(d)) - 0.5;
    m_Lower[d] = std::max(begin, lower[d]);
    m_Upper[d] = std::min(begin + static_cast<double>(m_Extent.GetSize(d)), upper[d]);
  }
}

inline void
AxisAlignedLinearSampler::SetBorder(BorderEnum border)
{
  m_Border = border;
}

inline void
AxisAlignedLinearSampler::SetValid(const RegionType & valid)
{
  m_Valid = valid;
  for (unsigned int d = 0; d < Dimension; ++d)
  {
    const auto first = static_cast<double>(valid.GetIndex(d));
    m_Lower[d] = std::max(m_Lower[d], first - 1.0);
    m_Upper[d] = std::min(m_Upper[d], first + static_cast<double>(valid.GetSize(d)));
  }
}

inline AxisAlignedLinearSampler::AxisTable
AxisAlignedLinearSampler::MakeTable(unsigned int outputAxis, const RegionType & outputRegion) const
{
  // Rounding must not push the outermost sample out of the extent.
  constexpr double     edgeTolerance = 1e-6;
  constexpr double     sigmaPerWidth = 0.42466090014400953; // 1 / (2 sqrt(2 ln 2))
  const unsigned int   inputAxis = m_Mapping.Axis[outputAxis];
  const IndexValueType lowest = m_Valid.GetIndex(inputAxis);
  const IndexValueType highest = lowest + static_cast<IndexValueType>(m_Valid.GetSize(inputAxis)) - 1;
  const SizeValueType  size = outputRegion.GetSize(outputAxis);

  std::vector<double> kernel(1, 1.0);
  IndexValueType      radius = 0;
  const double        sigma = m_Widths[inputAxis] * sigmaPerWidth;
  if (sigma > 0.0 && m_Interpolation == InterpolationEnum::Linear)
  {
    radius = static_cast<IndexValueType>(std::ceil(4.0 * sigma));
    kernel.resize(2 * radius + 1);
    double sum = 0.0;
    for (IndexValueType k = -radius; k <= radius; ++k)
    {
      const double x = static_cast<double>(k) / sigma;
      kernel[k + radius] = std::exp(-0.5 * x * x);
      sum += kernel[k + radius];
    }
    for (double & weight : kernel)
    {
      weight /= sum;
    }
  }

  AxisTable table;
  table.first.resize(size, lowest);
  table.begin.resize(size + 1, 0);
  std::vector<double> taps;
  for (SizeValueType i = 0; i < size; ++i)
  {
    table.begin[i] = table.weights.size();
    const double position = m_Mapping.Offset[outputAxis] +
                            m_Mapping.Scale[outputAxis] *
                              static_cast<double>(outputRegion.GetIndex(outputAxis) + static_cast<IndexValueType>(i));
    // written so that a NaN is outside
    if (!(position >= m_Lower[inputAxis] - edgeTolerance && position <= m_Upper[inputAxis] + edgeTolerance))
    {
      continue;
    }
    const double   clamped = std::min(std::max(position, static_cast<double>(lowest)), static_cast<double>(highest));
    IndexValueType first;
    if (m_Interpolation == InterpolationEnum::NearestNeighbor)
    {
      first = std::min(Math::RoundHalfIntegerUp<IndexValueType>(clamped), highest);
      taps.assign(1, 1.0);
    }
    else
    {
      const bool           extrapolates = m_Border == BorderEnum::Extrapolate && highest > lowest;
      const IndexValueType floor = Math::Floor<IndexValueType>(clamped);
      const IndexValueType left = extrapolates ? std::min(floor, highest - 1) : floor;
      const double         fraction = (extrapolates ? position : clamped) - static_cast<double>(left);
      const IndexValueType right = fraction != 0.0 ? left + 1 : left;
      first = std::max(left - radius, lowest);
      taps.assign(std::min(right + radius, highest) - first + 1, 0.0);
      for (IndexValueType k = -radius; k <= radius; ++k)
      {
        const double weight = kernel[k + radius];
        taps[std::min(std::max(left + k, lowest), highest) - first] += (1.0 - fraction) * weight;
        if (right != left)
        {
          taps[std::min(std::max(right + k, lowest), highest) - first] += fraction * weight;
        }
      }
    }
    const IndexValueType last = first + static_cast<IndexValueType>(taps.size()) - 1;
    table.minimum = table.weights.empty() ? first : std::min(table.minimum, first);
    table.maximum = table.weights.empty() ? last : std::max(table.maximum, last);
    table.first[i] = first;
    table.weights.insert(table.weights.end(), taps.begin(), taps.end());
  }
  table.begin[size] = table.weights.size();
  return table;
}

inline AxisAlignedLinearSampler::RegionType
AxisAlignedLinearSampler::ComputeInputRegion(const RegionType & outputRegion) const
{
  RegionType region;
  bool       nothing = false;
  for (unsigned int a = 0; a < Dimension; ++a)
  {
    const AxisTable    table = this->MakeTable(a, outputRegion);
    const unsigned int inputAxis = m_Mapping.Axis[a];
    nothing = nothing || table.weights.empty();
    region.SetIndex(inputAxis, table.weights.empty() ? m_Extent.GetIndex(inputAxis) : table.minimum);
    region.SetSize(inputAxis, table.weights.empty() ? 1 : table.maximum - table.minimum + 1);
  }
  if (nothing)
  {
    region.SetSize(RegionType::SizeType::Filled(1));
  }
  return region;
}

template <typename TOutput, typename TValue>
TOutput
AxisAlignedLinearSampler::ToPixel(TValue value)
{
  if constexpr (!std::is_integral<TOutput>::value || std::is_same<TOutput, TValue>::value)
  {
    return static_cast<TOutput>(value);
  }
  else if constexpr (std::is_integral<TValue>::value)
  {
    const auto pixel = static_cast<TOutput>(value);
    const bool isNegative = NumericTraits<TValue>::IsNegative(value);
    if (static_cast<TValue>(pixel) == value && NumericTraits<TOutput>::IsNegative(pixel) == isNegative)
    {
      return pixel;
    }
    return isNegative ? std::numeric_limits<TOutput>::lowest() : std::numeric_limits<TOutput>::max();
  }
  else
  {
    // compared in double, which holds the limits of up to 32 bits; written so that a NaN is the lowest
    const double rounded = std::floor(static_cast<double>(value) + 0.5);
    if (!(rounded > static_cast<double>(std::numeric_limits<TOutput>::lowest())))
    {
      return std::numeric_limits<TOutput>::lowest();
    }
    return rounded >= static_cast<double>(std::numeric_limits<TOutput>::max()) ? std::numeric_limits<TOutput>::max()
                                                                               : static_cast<TOutput>(rounded);
  }
}

template <typename TInput, typename TOutput>
void
AxisAlignedLinearSampler::Sample(const TInput *     input,
                                 const RegionType & inputRegion,
                                 unsigned int       components,
                                 TOutput *          output,
                                 const RegionType & bufferedRegion,
                                 const RegionType & outputRegion,
                                 const TOutput *    outside) const
{
  static_assert(std::is_arithmetic<TInput>::value && std::is_arithmetic<TOutput>::value,
                "The sampler takes the plain values of a buffer.");
  const std::array<AxisTable, Dimension> tables{
    { this->MakeTable(0, outputRegion), this->MakeTable(1, outputRegion), this->MakeTable(2, outputRegion) }
  };
  if (m_Interpolation == InterpolationEnum::Linear)
  {
    // float holds 16 bit integers exactly; wider ones and double need double
    constexpr bool isFloat =
      std::is_same<TInput, float>::value || (std::is_integral<TInput>::value && sizeof(TInput) <= 2);
    using RealType = typename std::conditional<isFloat, float, double>::type;
    this->SampleLinear<RealType>(input, inputRegion, components, output, bufferedRegion, outputRegion, outside, tables);
    return;
  }
  SizeValueType stride[Dimension];
  stride[0] = components;
  stride[1] = stride[0] * inputRegion.GetSize(0);
  stride[2] = stride[1] * inputRegion.GetSize(1);
  const auto place = [&](unsigned int a, SizeValueType i) -> SizeValueType {
    const unsigned int d = m_Mapping.Axis[a];
    return static_cast<SizeValueType>(tables[a].first[i] - inputRegion.GetIndex(d)) * stride[d];
  };
  for (SizeValueType z = 0; z < outputRegion.GetSize(2); ++z)
  {
    for (SizeValueType y = 0; y < outputRegion.GetSize(1); ++y)
    {
      const SizeValueType row =
        (z + (outputRegion.GetIndex(2) - bufferedRegion.GetIndex(2))) * bufferedRegion.GetSize(1) + y +
        (outputRegion.GetIndex(1) - bufferedRegion.GetIndex(1));
      TOutput * target =
        output +
        (row * bufferedRegion.GetSize(0) + (outputRegion.GetIndex(0) - bufferedRegion.GetIndex(0))) * components;
      const bool rowInside = tables[1].IsInside(y) && tables[2].IsInside(z);
      for (SizeValueType x = 0; x < outputRegion.GetSize(0); ++x, target += components)
      {
        if (!rowInside || !tables[0].IsInside(x))
        {
          std::copy(outside, outside + components, target);
          continue;
        }
        const TInput * source = input + place(0, x) + place(1, y) + place(2, z);
        for (unsigned int c = 0; c < components; ++c)
        {
          target[c] = ToPixel<TOutput>(source[c]);
        }
      }
    }
  }
}

template <typename TReal, typename TInput, typename TOutput>
void
AxisAlignedLinearSampler::SampleLinear(const TInput *                           input,
                                       const RegionType &                       inputRegion,
                                       unsigned int                             components,
                                       TOutput *                                output,
                                       const RegionType &                       bufferedRegion,
                                       const RegionType &                       outputRegion,
                                       const TOutput *                          outside,
                                       const std::array<AxisTable, Dimension> & tables) const
{
  SizeValueType stride[Dimension];
  stride[0] = components;
  stride[1] = stride[0] * inputRegion.GetSize(0);
  stride[2] = stride[1] * inputRegion.GetSize(1);

  const unsigned int  xAxis = m_Mapping.Axis[0];
  const unsigned int  yAxis = m_Mapping.Axis[1];
  const unsigned int  zAxis = m_Mapping.Axis[2];
  const bool          anything = !tables[0].weights.empty() && !tables[1].weights.empty();
  const SizeValueType width = anything ? tables[0].maximum - tables[0].minimum + 1 : 0;
  const SizeValueType height = anything ? tables[1].maximum - tables[1].minimum + 1 : 0;
  const SizeValueType length = width * components;

  std::vector<TReal> slice(length * height);
  std::vector<TReal> line(length);
  std::vector<TReal> value(components);
  for (SizeValueType z = 0; z < outputRegion.GetSize(2); ++z)
  {
    const bool sliceInside = anything && tables[2].IsInside(z);
    if (sliceInside)
    {
      // the input's slices around this output slice, summed
      const SizeValueType begin = tables[2].begin[z];
      const SizeValueType end = tables[2].begin[z + 1];
      for (SizeValueType y = 0; y < height; ++y)
      {
        TReal * const target = slice.data() + y * length;
        for (SizeValueType t = begin; t < end; ++t)
        {
          const auto           weight = static_cast<TReal>(tables[2].weights[t]);
          const IndexValueType plane = tables[2].first[z] + static_cast<IndexValueType>(t - begin);
          const TInput *       source =
            input + static_cast<SizeValueType>(plane - inputRegion.GetIndex(zAxis)) * stride[zAxis] +
            static_cast<SizeValueType>(tables[1].minimum + static_cast<IndexValueType>(y) -
                                       inputRegion.GetIndex(yAxis)) *
              stride[yAxis] +
            static_cast<SizeValueType>(tables[0].minimum - inputRegion.GetIndex(xAxis)) * stride[xAxis];
          const SizeValueType run = xAxis == 0 ? length : components;
          const SizeValueType runs = xAxis == 0 ? 1 : width;
          for (SizeValueType r = 0; r < runs; ++r)
          {
            const TInput * from = source + r * stride[xAxis];
            TReal *        to = target + r * run;
            if (t == begin)
            {
              for (SizeValueType k = 0; k < run; ++k)
              {
                to[k] = weight * static_cast<TReal>(from[k]);
              }
            }
            else
            {
              for (SizeValueType k = 0; k < run; ++k)
              {
                to[k] += weight * static_cast<TReal>(from[k]);
              }
            }
          }
        }
      }
    }
    for (SizeValueType y = 0; y < outputRegion.GetSize(1); ++y)
    {
      const SizeValueType row =
        (z + (outputRegion.GetIndex(2) - bufferedRegion.GetIndex(2))) * bufferedRegion.GetSize(1) + y +
        (outputRegion.GetIndex(1) - bufferedRegion.GetIndex(1));
      TOutput * target =
        output +
        (row * bufferedRegion.GetSize(0) + (outputRegion.GetIndex(0) - bufferedRegion.GetIndex(0))) * components;
      const bool rowInside = sliceInside && tables[1].IsInside(y);
      if (rowInside)
      {
        const SizeValueType begin = tables[1].begin[y];
        for (SizeValueType t = begin; t < tables[1].begin[y + 1]; ++t)
        {
          const auto    weight = static_cast<TReal>(tables[1].weights[t]);
          const TReal * from = slice.data() + static_cast<SizeValueType>(tables[1].first[y] - tables[1].minimum +
                                                                         static_cast<IndexValueType>(t - begin)) *
                                                length;
          for (SizeValueType k = 0; k < length; ++k)
          {
            line[k] = t == begin ? weight * from[k] : line[k] + weight * from[k];
          }
        }
      }
      for (SizeValueType x = 0; x < outputRegion.GetSize(0); ++x, target += components)
      {
        if (!rowInside || !tables[0].IsInside(x))
        {
          std::copy(outside, outside + components, target);
          continue;
        }
        const SizeValueType begin = tables[0].begin[x];
        const SizeValueType end = tables[0].begin[x + 1];
        const TReal *       from =
          line.data() + static_cast<SizeValueType>(tables[0].first[x] - tables[0].minimum) * components;
        for (unsigned int c = 0; c < components; ++c)
        {
          value[c] = static_cast<TReal>(tables[0].weights[begin]) * from[c];
        }
        for (SizeValueType t = begin + 1; t < end; ++t)
        {
          from += components;
          const auto weight = static_cast<TReal>(tables[0].weights[t]);
          for (unsigned int c = 0; c < components; ++c)
          {
            value[c] += weight * from[c];
          }
        }
        for (unsigned int c = 0; c < components; ++c)
        {
          target[c] = ToPixel<TOutput>(value[c]);
        }
      }
    }
  }
}
} // namespace itk

#endif // itkAxisAlignedLinearSampler_hxx
