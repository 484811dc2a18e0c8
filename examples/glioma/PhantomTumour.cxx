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
#include "PhantomTumour.h"

#include "RandomSequence.h"
#include "PhantomStreams.h"

#include <algorithm>
#include <vector>

namespace glioma
{
namespace
{
double
SoftStep(double value, double width)
{
  const double t = std::min(std::max(0.5 + 0.5 * value / width, 0.0), 1.0);
  return t * t * (3.0 - 2.0 * t);
}

// A random matrix of determinant 1 close to a rotation: distances under it are those of an ellipsoid.
std::array<Position, 3>
RandomShape(RandomSequence & random, double elongation)
{
  // A uniformly random rotation from a quaternion.
  double q[4];
  double norm = 0.0;
  for (double & component : q)
  {
    component = random.Normal(0.0, 1.0);
    norm += component * component;
  }
  norm = std::sqrt(norm);
  for (double & component : q)
  {
    component /= norm;
  }
  const double w = q[0];
  const double x = q[1];
  const double y = q[2];
  const double z = q[3];

  std::array<Position, 3> shape{ { { 1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y) },
                                   { 2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x) },
                                   { 2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y) } } };
  const double            a = random.Uniform(-elongation, elongation);
  const double            b = random.Uniform(-elongation, elongation);
  const Position          stretch{ std::exp(a), std::exp(b), std::exp(-a - b) };
  for (int i = 0; i < 3; ++i)
  {
    for (double & entry : shape[i])
    {
      entry *= stretch[i];
    }
  }
  return shape;
}

double
Distance(const std::array<Position, 3> & shape, const Position & p, const Position & centre)
{
  double square = 0.0;
  for (const Position & row : shape)
  {
    const double along = row[0] * (p[0] - centre[0]) + row[1] * (p[1] - centre[1]) + row[2] * (p[2] - centre[2]);
    square += along * along;
  }
  return std::sqrt(square);
}

// The value that `share` of the values are below.
double
Quantile(std::vector<double> values, double share)
{
  const auto last = static_cast<double>(values.size()) - 1.0;
  const auto rank = static_cast<std::ptrdiff_t>(std::min(std::max(share, 0.0), 1.0) * last);
  std::nth_element(values.begin(), values.begin() + rank, values.end());
  return values[rank];
}

constexpr double pi = 3.14159265358979;
} // namespace

PhantomTumour::PhantomTumour(std::uint64_t          seed,
                             std::uint64_t          caseNumber,
                             TumourGrade            grade,
                             Enhancement            enhancement,
                             const PhantomAnatomy & anatomy,
                             double                 blur)
  : m_Grade(grade)
  , m_Enhancement(enhancement)
  , m_Blur(blur)
  , m_ShapeNoise(CounterRandom(seed, StreamOf(caseNumber, PhantomStream::TumourShapeNoise)), 12.0)
  , m_MarginNoise(CounterRandom(seed, StreamOf(caseNumber, PhantomStream::TumourMarginNoise)), 5.0)
  , m_CoreNoise(CounterRandom(seed, StreamOf(caseNumber, PhantomStream::TumourCoreNoise)), 6.5)
  , m_PatchNoise(CounterRandom(seed, StreamOf(caseNumber, PhantomStream::TumourPatchNoise)), 4.5)
  , m_TextureNoise(CounterRandom(seed, StreamOf(caseNumber, PhantomStream::TumourTextureNoise)),
                   grade == TumourGrade::HGG ? 2.6 : 9.0)
{
  const bool     high = grade == TumourGrade::HGG;
  RandomSequence random(seed, StreamOf(caseNumber, PhantomStream::Tumour));

  // The medians differ a little, as they do in patients; the ranges are the same.
  const double logVolume = std::log(high ? 70.0 : 55.0) + random.Normal(0.0, 0.55);
  const double volume = 1000.0 * std::min(std::max(std::exp(logVolume), 12.0), 180.0);
  m_Radius = std::cbrt(0.75 * volume / pi);

  for (int attempt = 0; attempt < 1000; ++attempt)
  {
    m_Centre = { random.Uniform(-55.0, 55.0), random.Uniform(-70.0, 65.0), random.Uniform(-28.0, 52.0) };
    const double depth = anatomy.Depth(m_Centre);
    if (depth > std::min(0.55 * m_Radius + 2.0, 24.0) && depth < 1.3 * m_Radius + 12.0 &&
        std::abs(m_Centre[0]) > 0.5 * m_Radius + 2.0 && anatomy.InCerebrum(m_Centre))
    {
      break;
    }
  }
  m_Shape = RandomShape(random, 0.22);
  m_CoreShape = RandomShape(random, 0.25);
  for (int i = 0; i < 3; ++i)
  {
    m_CoreCentre[i] = m_Centre[i] + random.Uniform(-0.18, 0.18) * m_Radius;
    m_CystCentre[i] = m_Centre[i] + (random.Chance(0.5) ? -1.0 : 1.0) * random.Uniform(0.22, 0.38) * m_Radius;
  }
  m_ShapeWave = random.Uniform(0.10, 0.20) * m_Radius;
  m_MarginWave = high ? random.Uniform(0.13, 0.22) * m_Radius : random.Uniform(0.0, 0.025) * m_Radius;
  m_MarginWidth = random.Uniform(1.2, 2.6);
  m_GreyPenalty = high ? random.Uniform(4.0, 8.0) : random.Uniform(0.0, 1.5);
  m_RimWave = high ? random.Uniform(0.05, 0.10) * m_Radius : 0.0;
  m_MassEffect = random.Uniform(0.10, 0.40);

  const double coreShare = random.Uniform(0.28, 0.62);
  const double enhancingShare = random.Uniform(0.10, std::min(0.26, 0.65 * coreShare));
  // A low-grade tumour without a cyst is most homogeneous.
  m_HasNecrosis = high || random.Chance(0.6);
  const double necrosisShare = coreShare - enhancingShare;
  const double speckShare = random.Uniform(0.01, 0.04);

  // The limits that give these shares, found on a grid of its own, whatever the voxels will be.
  constexpr double                         step = 3.0;
  std::vector<std::pair<Position, double>> candidates;
  const double                             reach = 2.4 * m_Radius + 12.0;
  const int                                count = static_cast<int>(reach / step);
  for (int k = -count; k <= count; ++k)
  {
    for (int j = -count; j <= count; ++j)
    {
      for (int i = -count; i <= count; ++i)
      {
        const Position p{ m_Centre[0] + step * i, m_Centre[1] + step * j, m_Centre[2] + step * k };
        const double   depth = anatomy.Depth(p);
        if (depth > 1.0 && !this->IsFar(p))
        {
          const Tissues tissues = anatomy.Evaluate(this->BeforeGrowth(p), depth);
          candidates.emplace_back(p, this->ShapeField(p, tissues, depth));
        }
      }
    }
  }
  std::vector<double> field;
  field.reserve(candidates.size());
  for (const auto & candidate : candidates)
  {
    field.push_back(candidate.second);
  }
  m_ShapeLimit = Quantile(field, volume / (step * step * step) / static_cast<double>(field.size()));

  std::vector<double> core;
  std::vector<double> necrosis;
  std::vector<double> patch;
  for (const auto & candidate : candidates)
  {
    if (candidate.second < m_ShapeLimit)
    {
      core.push_back(this->CoreField(candidate.first));
      necrosis.push_back(this->NecrosisField(candidate.first));
    }
  }
  m_CoreLimit = Quantile(core, coreShare);
  m_NecrosisLimit = m_HasNecrosis ? Quantile(necrosis, necrosisShare) : -1.0e3;
  for (const auto & candidate : candidates)
  {
    if (candidate.second < m_ShapeLimit)
    {
      patch.push_back(this->PatchField(candidate.first));
    }
  }
  m_PatchLimit = Quantile(patch, 1.0 - (high ? speckShare : enhancingShare));
}

Position
PhantomTumour::BeforeGrowth(const Position & position) const
{
  double square = 0.0;
  for (int i = 0; i < 3; ++i)
  {
    square += (position[i] - m_Centre[i]) * (position[i] - m_Centre[i]);
  }
  const double pull = m_MassEffect * std::exp(-0.5 * square / (1.3 * m_Radius * m_Radius));
  Position     before;
  for (int i = 0; i < 3; ++i)
  {
    before[i] = position[i] - pull * (position[i] - m_Centre[i]);
  }
  return before;
}

bool
PhantomTumour::IsFar(const Position & position) const
{
  double square = 0.0;
  for (int i = 0; i < 3; ++i)
  {
    square += (position[i] - m_Centre[i]) * (position[i] - m_Centre[i]);
  }
  const double reach = 2.4 * m_Radius + 12.0;
  return square > reach * reach;
}

double
PhantomTumour::ShapeField(const Position & p, const Tissues & tissues, double depth) const
{
  double field = Distance(m_Shape, p, m_Centre) + m_ShapeWave * m_ShapeNoise.Value(p);
  field += m_MarginWave * m_MarginNoise.Value(p) + m_GreyPenalty * (tissues.grey + tissues.deepGrey);
  // Ventricles and the other hemisphere hold it up; so does the brain's surface.
  const double across = m_Centre[0] > 0.0 ? -p[0] : p[0];
  field += depth > 9.0 ? 12.0 * tissues.fluid : 0.0;
  field += 1.5 * std::min(std::max(across + 2.0, 0.0), 30.0) + 3.0 * std::max(3.0 - depth, 0.0);
  return field;
}

double
PhantomTumour::CoreField(const Position & p) const
{
  // The core has a middle and a form of its own, but keeps away from the margin, so that the rim is not cut open.
  const double own =
    Distance(m_CoreShape, p, m_CoreCentre) + 0.8 * m_ShapeWave * m_ShapeNoise.Value({ p[1], p[2], p[0] });
  const double margin = Distance(m_Shape, p, m_Centre) + m_ShapeWave * m_ShapeNoise.Value(p);
  return 0.4 * own + 0.6 * margin + m_RimWave * m_CoreNoise.Value(p);
}

double
PhantomTumour::NecrosisField(const Position & p) const
{
  if (m_Grade == TumourGrade::LGG)
  {
    return Distance(m_CoreShape, p, m_CystCentre) + 0.3 * m_ShapeWave * m_ShapeNoise.Value({ p[2], p[0], p[1] });
  }
  // The rim is thicker here and thinner there.
  return this->CoreField(p) + 0.7 * m_RimWave * m_CoreNoise.Value({ p[2], p[0], p[1] });
}

double
PhantomTumour::PatchField(const Position & p) const
{
  // Patches lie anywhere but in the cyst; specks of a high-grade tumour on its rim.
  const double outside = m_Grade == TumourGrade::LGG ? SoftStep(this->NecrosisField(p) - m_NecrosisLimit - 1.0, 1.0)
                                                     : SoftStep(m_CoreLimit - this->CoreField(p), 2.0) *
                                                         SoftStep(this->NecrosisField(p) - m_NecrosisLimit, 2.0);
  return m_PatchNoise.Value(p) - 6.0 * (1.0 - outside);
}

TumourMixture
PhantomTumour::Evaluate(const Position & p, const Tissues & tissues, double depth) const
{
  TumourMixture mixture;
  if (this->IsFar(p) || depth < 0.5)
  {
    return mixture;
  }
  mixture.tumour = SoftStep(m_ShapeLimit - this->ShapeField(p, tissues, depth), m_MarginWidth + 0.5 * m_Blur);
  if (mixture.tumour <= 0.0)
  {
    return mixture;
  }
  const double core = m_CoreLimit - this->CoreField(p);
  // A low-grade core passes into its surroundings without an edge.
  mixture.solid = m_Grade == TumourGrade::HGG ? SoftStep(core, m_Blur) : SoftStep(core, 0.35 * m_Radius);
  mixture.necrosis = SoftStep(m_NecrosisLimit - this->NecrosisField(p), m_Blur);
  if (m_Grade == TumourGrade::HGG)
  {
    mixture.necrosis *= mixture.solid;
  }
  switch (m_Enhancement)
  {
    case Enhancement::None:
      break;
    case Enhancement::Rim:
      mixture.enhancing = mixture.solid * (1.0 - mixture.necrosis);
      mixture.uptake = std::min(std::max(1.0 + 0.22 * m_PatchNoise.Value(p), 0.55), 1.5);
      break;
    case Enhancement::Patches:
    case Enhancement::Specks:
      mixture.enhancing = SoftStep(this->PatchField(p) - m_PatchLimit, 0.22 * m_Blur) * (1.0 - mixture.necrosis);
      mixture.uptake = std::min(std::max(1.0 + 0.22 * m_CoreNoise.Value(p), 0.55), 1.5);
      break;
  }
  mixture.texture = m_TextureNoise.Value(p);
  return mixture;
}

} // namespace glioma
