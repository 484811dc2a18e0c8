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
#ifndef itkSequenceOrderCalculator_hxx
#define itkSequenceOrderCalculator_hxx

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace itk
{
template <typename TImage, typename TMaskImage>
const std::vector<std::string> &
SequenceOrderCalculator<TImage, TMaskImage>::GetNames()
{
  static const std::vector<std::string> names{ "T1", "T1c", "T2", "FLAIR" };
  return names;
}

template <typename TImage, typename TMaskImage>
void
SequenceOrderCalculator<TImage, TMaskImage>::SetSequence(unsigned int i, const ImageType * image)
{
  if (m_Sequences.at(i) != image)
  {
    m_Sequences[i] = image;
    this->Modified();
  }
}

template <typename TImage, typename TMaskImage>
void
SequenceOrderCalculator<TImage, TMaskImage>::SetThresholds(const ReviewThresholds & thresholds)
{
  m_Thresholds = thresholds;
  this->Modified();
}

template <typename TImage, typename TMaskImage>
bool
SequenceOrderCalculator<TImage, TMaskImage>::LooksRight() const
{
  return m_LooksLike == std::vector<unsigned int>{ 0, 1, 2, 3 };
}

template <typename TImage, typename TMaskImage>
void
SequenceOrderCalculator<TImage, TMaskImage>::Compute()
{
  constexpr SizeValueType largestSample = 100000;

  if (!m_Mask)
  {
    itkExceptionMacro("There is no mask; give the brain with SetMask()");
  }
  const SizeValueType voxels = m_Mask->GetBufferedRegion().GetNumberOfPixels();
  for (unsigned int i = 0; i < 4; ++i)
  {
    if (!m_Sequences[i] || m_Sequences[i]->GetBufferedRegion() != m_Mask->GetBufferedRegion())
    {
      itkExceptionMacro("The sequence " << GetNames()[i]
                                        << (m_Sequences[i] ? " does not cover the mask's region" : " is missing"));
    }
  }
  const auto *  mask = m_Mask->GetBufferPointer();
  const auto    isInside = [mask](SizeValueType voxel) { return mask[voxel] != typename MaskImageType::PixelType{}; };
  SizeValueType inside = 0;
  for (SizeValueType voxel = 0; voxel < voxels; ++voxel)
  {
    inside += isInside(voxel) ? 1 : 0;
  }
  const SizeValueType                step = std::max<SizeValueType>(1, inside / largestSample);
  std::array<std::vector<double>, 4> values;
  SizeValueType                      seen = 0;
  for (SizeValueType voxel = 0; voxel < voxels; ++voxel)
  {
    if (isInside(voxel) && seen++ % step == 0)
    {
      for (unsigned int i = 0; i < 4; ++i)
      {
        values[i].push_back(static_cast<double>(m_Sequences[i]->GetBufferPointer()[voxel]));
        if (!std::isfinite(values[i].back()))
        {
          itkExceptionMacro("The sequence "
                            << GetNames()[i] << " is " << values[i].back() << " at index "
                            << m_Mask->ComputeIndex(static_cast<OffsetValueType>(voxel))
                            << ", inside the mask. Replace what is not finite, or leave it out of the mask.");
        }
      }
    }
  }
  const std::size_t sample = values[0].size();
  // What is not known speaks for no other order.
  const double unknown = std::numeric_limits<double>::quiet_NaN();
  m_FluidRank.fill(1.0);
  m_Correlation.fill(std::array<double, 4>{});
  m_Enhancement.fill(std::array<double, 4>{});
  m_Asymmetry.fill(unknown);
  m_Tail.fill(unknown);
  m_LooksLike = { 0, 1, 2, 3 };
  m_Duplicates.clear();
  if (sample < 200)
  {
    return;
  }

  // Ranks from 0 to 1, equal values at the middle of theirs; quantiles on the way.
  std::array<std::vector<double>, 4> ranks;
  std::array<double, 4>              median{};
  std::array<double, 4>              quartiles{};
  std::vector<std::size_t>           order(sample);
  const auto                         at = [sample](double share) {
    return static_cast<std::size_t>(std::lround(share * static_cast<double>(sample - 1)));
  };
  for (unsigned int i = 0; i < 4; ++i)
  {
    const auto & value = values[i];
    std::iota(order.begin(), order.end(), std::size_t{ 0 });
    std::sort(order.begin(), order.end(), [&value](std::size_t a, std::size_t b) { return value[a] < value[b]; });
    ranks[i].resize(sample);
    for (std::size_t first = 0; first < sample;)
    {
      std::size_t next = first + 1;
      while (next < sample && value[order[next]] == value[order[first]])
      {
        ++next;
      }
      for (std::size_t k = first; k < next; ++k)
      {
        ranks[i][order[k]] = 0.5 * static_cast<double>(first + next) / static_cast<double>(sample);
      }
      first = next;
    }
    const auto   quantile = [&](double share) { return value[order[at(share)]]; };
    const double range = quantile(0.95) - quantile(0.05);
    median[i] = quantile(0.5);
    quartiles[i] = quantile(0.75) - quantile(0.25);
    if (!(range > 0.0) || !std::isfinite(range))
    {
      continue; // nearly constant
    }
    m_Asymmetry[i] = (quantile(0.95) - median[i]) / range;
    m_Tail[i] = (quantile(0.995) - quantile(0.005)) / range;
  }

  std::vector<double> chosen;
  for (unsigned int i = 0; i < 4; ++i)
  {
    double fluidRank = -1.0;
    for (unsigned int j = 0; j < 4; ++j)
    {
      if (i == j)
      {
        m_Correlation[i][j] = 1.0;
        continue;
      }
      chosen.clear();
      double sumI = 0.0;
      double sumJ = 0.0;
      double product = 0.0;
      double squareI = 0.0;
      double squareJ = 0.0;
      for (std::size_t k = 0; k < sample; ++k)
      {
        const double a = ranks[i][k] - 0.5;
        const double b = ranks[j][k] - 0.5;
        sumI += a;
        sumJ += b;
        product += a * b;
        squareI += a * a;
        squareJ += b * b;
        if (ranks[i][k] > 0.97)
        {
          chosen.push_back(ranks[j][k]);
        }
      }
      const auto   n = static_cast<double>(sample);
      const double spread = std::sqrt((squareI - sumI * sumI / n) * (squareJ - sumJ * sumJ / n));
      m_Correlation[i][j] = spread > 0.0 ? (product - sumI * sumJ / n) / spread : 0.0;
      if (!chosen.empty())
      {
        const auto middle = chosen.begin() + static_cast<std::ptrdiff_t>(chosen.size() / 2);
        std::nth_element(chosen.begin(), middle, chosen.end());
        fluidRank = std::max(fluidRank, *middle);
      }
      if (!(quartiles[i] > 0.0 && quartiles[j] > 0.0))
      {
        continue;
      }

      chosen.resize(sample);
      for (std::size_t k = 0; k < sample; ++k)
      {
        chosen[k] = (values[j][k] - median[j]) / quartiles[j] - (values[i][k] - median[i]) / quartiles[i];
      }
      const auto quantile = [&](double share) {
        const auto place = chosen.begin() + static_cast<std::ptrdiff_t>(at(share));
        std::nth_element(chosen.begin(), place, chosen.end());
        return *place;
      };
      m_Enhancement[i][j] = quantile(0.995) + quantile(0.005) - 2.0 * quantile(0.5);
    }
    m_FluidRank[i] = fluidRank < 0.0 ? 1.0 : fluidRank;
  }
  this->Decide();
}

template <typename TImage, typename TMaskImage>
void
SequenceOrderCalculator<TImage, TMaskImage>::Decide()
{
  enum : unsigned int
  {
    T1,
    T1c,
    T2,
    Flair
  };
  // place[s]: which of the given images is s.
  std::array<unsigned int, 4> place{ { 0, 1, 2, 3 } };
  const auto                  darkest =
    static_cast<unsigned int>(std::min_element(m_FluidRank.begin(), m_FluidRank.end()) - m_FluidRank.begin());
  if (m_FluidRank[darkest] < m_Thresholds.FluidRank && m_FluidRank[T2] - m_FluidRank[darkest] > m_Thresholds.FluidGap)
  {
    std::swap(place[T2], place[darkest]);
  }
  unsigned int nearest = Flair;
  for (const unsigned int s : { T1, T1c })
  {
    if (m_Correlation[place[T2]][place[s]] > m_Correlation[place[T2]][place[nearest]])
    {
      nearest = s;
    }
  }
  if (m_Correlation[place[T2]][place[nearest]] - m_Correlation[place[T2]][place[Flair]] > m_Thresholds.FlairGap)
  {
    std::swap(place[Flair], place[nearest]);
  }
  if (m_Enhancement[place[T1]][place[T1c]] < -m_Thresholds.EnhancementGap)
  {
    std::swap(place[T1], place[T1c]);
  }
  for (unsigned int s = 0; s < 4; ++s)
  {
    m_LooksLike[place[s]] = s;
  }
  for (unsigned int i = 0; i < 4; ++i)
  {
    for (unsigned int j = i + 1; j < 4; ++j)
    {
      if (m_Correlation[i][j] > m_Thresholds.DuplicateCorrelation)
      {
        m_Duplicates.emplace_back(i, j);
      }
    }
  }
}

template <typename TImage, typename TMaskImage>
void
SequenceOrderCalculator<TImage, TMaskImage>::PrintSelf(std::ostream & os, Indent indent) const
{
  Superclass::PrintSelf(os, indent);
  itkPrintSelfObjectMacro(Mask);
  os << indent << "Thresholds: FluidRank " << m_Thresholds.FluidRank << ", FluidGap " << m_Thresholds.FluidGap
     << ", FlairGap " << m_Thresholds.FlairGap << ", EnhancementGap " << m_Thresholds.EnhancementGap
     << ", DuplicateCorrelation " << m_Thresholds.DuplicateCorrelation << std::endl;
  const auto row = [&os](const std::array<double, 4> & numbers) {
    for (const double number : numbers)
    {
      os << ' ' << number;
    }
  };
  for (unsigned int i = 0; i < 4; ++i)
  {
    os << indent << GetNames()[i] << ": image " << m_Sequences[i].GetPointer() << ", looks like "
       << GetNames()[m_LooksLike[i]] << ", FluidRank " << m_FluidRank[i] << ", Asymmetry " << m_Asymmetry[i]
       << ", Tail " << m_Tail[i] << ", Correlation";
    row(m_Correlation[i]);
    os << ", Enhancement";
    row(m_Enhancement[i]);
    os << std::endl;
  }
  os << indent << "Duplicates:";
  for (const auto & pair : m_Duplicates)
  {
    os << ' ' << GetNames()[pair.first] << '-' << GetNames()[pair.second];
  }
  os << std::endl;
}
} // namespace itk

#endif // itkSequenceOrderCalculator_hxx
