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
#include "SmoothNoise.h"

#include <algorithm>

namespace glioma
{
namespace
{
constexpr double halfExtent = 120.0;

// The mean over a cell of the sum of the squared weights is (151/315)^3.
constexpr float unitVariance = 3.0131f;

struct Weights
{
  int                  first;
  std::array<float, 4> value;
  std::array<float, 4> slope;
};

Weights
CubicWeights(double coordinate, int size)
{
  const double inside = std::min(std::max(coordinate, 1.0), size - 2.001);
  const int    cell = static_cast<int>(inside);
  const float  t = static_cast<float>(inside - cell);
  const float  s = 1.0f - t;
  Weights      weights;
  weights.first = cell - 1;
  weights.value = { s * s * s / 6.0f,
                    (4.0f - 6.0f * t * t + 3.0f * t * t * t) / 6.0f,
                    (4.0f - 6.0f * s * s + 3.0f * s * s * s) / 6.0f,
                    t * t * t / 6.0f };
  weights.slope = { -0.5f * s * s, t * (1.5f * t - 2.0f), -s * (1.5f * s - 2.0f), 0.5f * t * t };
  return weights;
}
} // namespace

SmoothNoise::SmoothNoise(const CounterRandom & random, double knotSpacing)
  : m_Scale(1.0 / knotSpacing)
  , m_Size(static_cast<int>(std::ceil(2.0 * halfExtent / knotSpacing)) + 4)
  , m_Knots(static_cast<std::size_t>(m_Size) * m_Size * m_Size + 1)
{
  for (std::size_t i = 0; i + 1 < m_Knots.size(); i += 2)
  {
    const auto pair = random.NormalPair(i);
    m_Knots[i] = unitVariance * pair[0];
    m_Knots[i + 1] = unitVariance * pair[1];
  }
}

double
SmoothNoise::Value(const Position & position) const
{
  const Weights x = CubicWeights((position[0] + halfExtent) * m_Scale + 1.0, m_Size);
  const Weights y = CubicWeights((position[1] + halfExtent) * m_Scale + 1.0, m_Size);
  const Weights z = CubicWeights((position[2] + halfExtent) * m_Scale + 1.0, m_Size);

  float value = 0.0f;
  for (int k = 0; k < 4; ++k)
  {
    float plane = 0.0f;
    for (int j = 0; j < 4; ++j)
    {
      const float * knots = &m_Knots[(static_cast<std::size_t>(z.first + k) * m_Size + y.first + j) * m_Size + x.first];
      float         line = 0.0f;
      for (int i = 0; i < 4; ++i)
      {
        line += x.value[i] * knots[i];
      }
      plane += y.value[j] * line;
    }
    value += z.value[k] * plane;
  }
  return value;
}

double
SmoothNoise::Value(const Position & position, Position & gradient) const
{
  const Weights x = CubicWeights((position[0] + halfExtent) * m_Scale + 1.0, m_Size);
  const Weights y = CubicWeights((position[1] + halfExtent) * m_Scale + 1.0, m_Size);
  const Weights z = CubicWeights((position[2] + halfExtent) * m_Scale + 1.0, m_Size);

  float value = 0.0f;
  float dx = 0.0f;
  float dy = 0.0f;
  float dz = 0.0f;
  for (int k = 0; k < 4; ++k)
  {
    float plane = 0.0f;
    float planeDx = 0.0f;
    float planeDy = 0.0f;
    for (int j = 0; j < 4; ++j)
    {
      const float * knots = &m_Knots[(static_cast<std::size_t>(z.first + k) * m_Size + y.first + j) * m_Size + x.first];
      float         line = 0.0f;
      float         lineDx = 0.0f;
      for (int i = 0; i < 4; ++i)
      {
        line += x.value[i] * knots[i];
        lineDx += x.slope[i] * knots[i];
      }
      plane += y.value[j] * line;
      planeDx += y.value[j] * lineDx;
      planeDy += y.slope[j] * line;
    }
    value += z.value[k] * plane;
    dx += z.value[k] * planeDx;
    dy += z.value[k] * planeDy;
    dz += z.slope[k] * plane;
  }
  gradient = { dx * m_Scale, dy * m_Scale, dz * m_Scale };
  return value;
}

} // namespace glioma
