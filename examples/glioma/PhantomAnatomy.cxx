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
#include "PhantomAnatomy.h"

#include "RandomSequence.h"
#include "PhantomStreams.h"

#include <algorithm>
#include <limits>

namespace glioma
{
namespace
{
double
Length(double x, double y, double z)
{
  return std::sqrt(x * x + y * y + z * z);
}

// First-order distance to the surface of an ellipsoid, positive inside.
double
EllipsoidDepth(const Position & p, const Position & centre, const Position & radii)
{
  double k0 = 0.0;
  double k1 = 0.0;
  for (int i = 0; i < 3; ++i)
  {
    const double q = (p[i] - centre[i]) / radii[i];
    k0 += q * q;
    k1 += q * q / (radii[i] * radii[i]);
  }
  if (k1 < 1e-12)
  {
    return *std::min_element(radii.begin(), radii.end());
  }
  k0 = std::sqrt(k0);
  return k0 * (1.0 - k0) / std::sqrt(k1);
}

double
SmoothMaximum(double a, double b, double range)
{
  const double h = std::max(range - std::abs(a - b), 0.0) / range;
  return std::max(a, b) + 0.25 * h * h * range;
}

double
SmoothMinimum(double a, double b, double range)
{
  return -SmoothMaximum(-a, -b, range);
}

double
DistanceToSegment(const Position & p, const Position & a, const Position & b)
{
  double along = 0.0;
  double length = 0.0;
  for (int i = 0; i < 3; ++i)
  {
    along += (p[i] - a[i]) * (b[i] - a[i]);
    length += (b[i] - a[i]) * (b[i] - a[i]);
  }
  const double t = std::min(std::max(along / length, 0.0), 1.0);
  return Length(p[0] - a[0] - t * (b[0] - a[0]), p[1] - a[1] - t * (b[1] - a[1]), p[2] - a[2] - t * (b[2] - a[2]));
}

// 0 below -width, 1 above it.
double
SoftStep(double value, double width)
{
  const double t = std::min(std::max(0.5 + 0.5 * value / width, 0.0), 1.0);
  return t * t * (3.0 - 2.0 * t);
}

// Below this height the back of the cerebrum ends: the tentorium, which rises to the middle.
double
TentoriumHeight(const Position & p)
{
  return -15.0 + 9.0 * std::exp(-p[0] * p[0] / 450.0) + 0.08 * std::min(p[1] + 50.0, 40.0);
}
} // namespace

PhantomAnatomy::PhantomAnatomy(std::uint64_t seed, std::uint64_t caseNumber, double blur)
  : m_Blur(blur)
  , m_SurfaceNoise(CounterRandom(seed, StreamOf(caseNumber, PhantomStream::SurfaceNoise)), 11.0)
  , m_SulcusNoise(CounterRandom(seed, StreamOf(caseNumber, PhantomStream::SulcusNoise)), 4.8)
  , m_DepthNoise(CounterRandom(seed, StreamOf(caseNumber, PhantomStream::DepthNoise)), 9.0)
  , m_WarpNoise(CounterRandom(seed, StreamOf(caseNumber, PhantomStream::WarpNoise)), 16.0)
  , m_VesselNoise(CounterRandom(seed, StreamOf(caseNumber, PhantomStream::VesselNoise)), 3.0)
{
  RandomSequence random(seed, StreamOf(caseNumber, PhantomStream::Anatomy));
  m_CortexThickness = random.Uniform(2.4, 3.1);
  m_SulcusWidth = random.Uniform(0.25, 1.0);
  m_SulcusDepth = random.Uniform(17.0, 25.0);
  m_VentricleSize = random.Uniform(0.75, 1.45);
  m_Asymmetry = random.Uniform(-0.08, 0.08);
  m_VesselShare = random.Uniform(0.2, 1.1);
  for (int i = 0; i < 3; ++i)
  {
    m_Shift[i] = random.Uniform(-2.5, 2.5);
  }
  // A small rotation about each axis and a size an axis.
  const double            ax = random.Uniform(-0.08, 0.08);
  const double            ay = random.Uniform(-0.04, 0.04);
  const double            az = random.Uniform(-0.05, 0.05);
  const Position          size{ random.Uniform(0.95, 1.05), random.Uniform(0.95, 1.05), random.Uniform(0.95, 1.05) };
  std::array<Position, 3> rotation{ { { 1.0, -az, ay }, { az, 1.0, -ax }, { -ay, ax, 1.0 } } };
  for (int i = 0; i < 3; ++i)
  {
    for (int j = 0; j < 3; ++j)
    {
      m_Frame[i][j] = rotation[i][j] / size[i];
    }
  }
}

Position
PhantomAnatomy::ToReference(const Position & position) const
{
  Position reference;
  for (int i = 0; i < 3; ++i)
  {
    reference[i] = m_Frame[i][0] * (position[0] - m_Shift[0]) + m_Frame[i][1] * (position[1] - m_Shift[1]) +
                   m_Frame[i][2] * (position[2] - m_Shift[2]);
  }
  return reference;
}

PhantomAnatomy::Solids
PhantomAnatomy::EvaluateSolids(const Position & p) const
{
  const Position mirrored{ std::abs(p[0]), p[1], p[2] };

  // The front is narrower than the back.
  const double   taper = 1.0 - 0.0016 * (p[1] + 10.0);
  const Position tapered{ mirrored[0] / taper, p[1], p[2] };
  const double   hull = EllipsoidDepth(tapered, { 0.0, -2.0, 6.0 }, { 67.0, 86.0, 62.0 });
  const double   front = -20.0 + 0.0016 * p[0] * p[0];
  const double   blend = SoftStep(p[1] + 12.0, 14.0);
  const double   base = p[2] - (blend * front + (1.0 - blend) * TentoriumHeight(p));
  const double   temporal = EllipsoidDepth(mirrored, { 39.0, 6.0, -20.0 }, { 26.0, 41.0, 21.0 });

  Solids solids;
  solids.cerebrum = SmoothMaximum(SmoothMinimum(hull, base, 10.0), temporal, 7.0);
  solids.cerebellum = SmoothMinimum(
    EllipsoidDepth(mirrored, { 20.0, -51.0, -36.0 }, { 33.0, 31.0, 27.0 }), TentoriumHeight(p) - 2.5 - p[2], 5.0);
  solids.stem = SmoothMaximum(13.0 - DistanceToSegment(p, { 0.0, -10.0, -4.0 }, { 0.0, -24.0, -64.0 }),
                              EllipsoidDepth(p, { 0.0, -9.0, -32.0 }, { 18.0, 14.0, 14.0 }),
                              6.0);
  return solids;
}

double
PhantomAnatomy::Depth(const Position & position) const
{
  const Position p = this->ToReference(position);
  // Most of an image is air.
  if (EllipsoidDepth(p, { 0.0, -4.0, 2.0 }, { 86.0, 104.0, 86.0 }) < 0.0)
  {
    return -100.0;
  }
  const Solids solids = this->EvaluateSolids(p);
  double       depth = SmoothMaximum(SmoothMaximum(solids.cerebrum, solids.cerebellum, 22.0), solids.stem, 16.0);
  if (depth > -4.0 && depth < 6.0)
  {
    depth += 1.1 * m_SurfaceNoise.Value(p);
  }
  return depth;
}

bool
PhantomAnatomy::InCerebrum(const Position & position) const
{
  const Solids solids = this->EvaluateSolids(this->ToReference(position));
  return solids.cerebrum > 0.0 && solids.cerebrum > solids.cerebellum && solids.cerebrum > solids.stem;
}

double
PhantomAnatomy::VentricleDepth(const Position & p) const
{
  // One lateral ventricle, mirrored: frontal horn, body, atrium, occipital and temporal horn.
  static const std::array<Position, 7> path{ { { 13.0, 38.0, 2.0 },
                                               { 7.0, 18.0, 15.0 },
                                               { 8.0, -6.0, 20.0 },
                                               { 18.0, -30.0, 13.0 },
                                               { 24.0, -54.0, 6.0 },
                                               { 31.0, -20.0, -9.0 },
                                               { 34.0, 2.0, -17.0 } } };
  const double                         side = p[0] < 0.0 ? 1.0 - m_Asymmetry : 1.0 + m_Asymmetry;
  const Position                       q{ std::abs(p[0]), p[1], p[2] };
  const double                         size = m_VentricleSize * side;

  double depth = 3.4 * size - DistanceToSegment(q, path[0], path[1]);
  depth = SmoothMaximum(depth, 4.6 * size - DistanceToSegment(q, path[1], path[2]), 3.0);
  depth = SmoothMaximum(depth, 5.0 * size - DistanceToSegment(q, path[2], path[3]), 3.0);
  depth = SmoothMaximum(depth, 3.2 * size - DistanceToSegment(q, path[3], path[4]), 3.0);
  depth = SmoothMaximum(depth, 2.4 * size - DistanceToSegment(q, path[3], path[5]), 3.0);
  depth = SmoothMaximum(depth, 2.0 * size - DistanceToSegment(q, path[5], path[6]), 3.0);
  // The septum keeps the two apart.
  depth = SmoothMinimum(depth, q[0] - 1.0, 2.0);
  const double third = EllipsoidDepth(p, { 0.0, -4.0, 2.0 }, { 1.6 + 1.4 * m_VentricleSize, 13.0, 10.0 });
  const double fourth = EllipsoidDepth(p, { 0.0, -33.0, -34.0 }, { 7.0, 5.0, 10.0 });
  return std::max({ depth, third, fourth });
}

Tissues
PhantomAnatomy::Evaluate(const Position & position, double depth) const
{
  Tissues tissues;
  if (depth < -m_Blur)
  {
    tissues.fluid = 1.0;
    return tissues;
  }
  const Position p = this->ToReference(position);
  const Solids   solids = this->EvaluateSolids(p);

  // Distance to the nearest surface of grey matter: outer surface, sulci, fissures. Negative in the fluid.
  double surface = std::numeric_limits<double>::max();
  double cortex = m_CortexThickness;
  double stem = 0.0;
  if (solids.stem > solids.cerebrum + 1.0 && solids.stem > solids.cerebellum)
  {
    surface = solids.stem + 2.0;
    stem = 1.0;
  }
  else if (solids.cerebellum > solids.cerebrum)
  {
    // Folia: thin sheets, bent round the middle.
    const double bend = Length(0.35 * p[0], p[1] + 22.0, p[2] + 32.0) + 1.2 * m_WarpNoise.Value(p);
    const double sheet = 1.75 * std::abs(std::sin(bend * 3.14159265 / 5.5));
    const double trunk = 18.0 - solids.cerebellum;
    surface = std::min(solids.cerebellum - 0.5, std::max(sheet, -trunk) - 0.1);
    cortex = 1.9;
  }
  else
  {
    // The noise is read at a point drawn towards the surface, which makes the sulci run radially.
    const double   k0 = std::max(Length(p[0] / 67.0, p[1] / 86.0, (p[2] - 6.0) / 62.0), 0.35);
    const double   pull = 0.3 + 0.7 / k0;
    const Position q{ p[0] * pull, p[1] * pull, (p[2] - 6.0) * pull };
    Position       gradient;
    const double   value = m_SulcusNoise.Value(q, gradient);
    const double   slope = std::max(Length(gradient[0], gradient[1], gradient[2]), 0.04) * pull;
    const double   reach = std::max(m_SulcusDepth + 6.0 * m_DepthNoise.Value(p), 4.0);
    const double   below = std::max(solids.cerebrum - reach, 0.0);
    const double   width = m_SulcusWidth * (1.2 - 0.7 * std::min(solids.cerebrum / reach, 1.0));
    surface = std::min(solids.cerebrum - 0.8, Length(std::abs(value) / slope, below, 0.0) - width);

    // Between the hemispheres, down to the corpus callosum.
    const double middle = p[0] + 0.9 * m_WarpNoise.Value({ 0.0, p[1], p[2] });
    const double arch = EllipsoidDepth({ 0.0, p[1], p[2] }, { 0.0, -4.0, 2.0 }, { 1.0e3, 37.0, 27.0 });
    surface = std::min(surface, Length(middle, std::max(arch, 0.0), 0.0) - 0.7 - 0.5 * m_SulcusWidth);

    // The Sylvian fissure, over the temporal lobe.
    const double lateral = std::abs(p[0]);
    const double plane = p[2] + 7.0 - 0.3 * (10.0 - p[1]) + 1.5 * m_WarpNoise.Value(p);
    surface = std::min(surface,
                       Length(plane, std::max(36.0 - lateral, 0.0), std::max(std::abs(p[1] - 4.0) - 26.0, 0.0)) - 0.8 -
                         0.8 * m_SulcusWidth);
  }

  double       fluid = SoftStep(-surface, m_Blur);
  const double ventricle = depth > 8.0 ? SoftStep(this->VentricleDepth(p) + 0.5 * m_WarpNoise.Value(p), m_Blur) : 0.0;
  double       grey = std::max(SoftStep(cortex - surface, m_Blur) - fluid, 0.0);

  // Around the middle of the brain there is no cortex, but nuclei.
  double deep = 0.0;
  if (solids.cerebrum > 14.0)
  {
    const Position m{ std::abs(p[0]), p[1], p[2] };
    const double   thalamus = EllipsoidDepth(m, { 11.0, -9.0, 3.0 }, { 8.0, 14.0, 9.0 });
    const double   putamen = EllipsoidDepth(m, { 26.0 - 0.12 * p[1], 5.0, 1.0 }, { 5.5, 17.0, 10.0 });
    const double   caudate = EllipsoidDepth(m, { 13.0, 18.0, 8.0 }, { 5.0, 12.0, 9.0 });
    deep = SoftStep(std::max({ thalamus, putamen, caudate }) + 0.6 * m_WarpNoise.Value(p), 1.3 * m_Blur);
  }
  fluid = std::max(fluid, ventricle);
  tissues.ventricle = ventricle;
  grey *= 1.0 - fluid;
  deep *= 1.0 - fluid;
  grey *= 1.0 - deep;
  tissues.fluid = fluid;
  tissues.grey = grey;
  tissues.deepGrey = std::min(deep + 0.35 * stem * (1.0 - fluid), 1.0 - fluid - grey);
  tissues.white = 1.0 - fluid - grey - tissues.deepGrey;

  // Vessels run in the fluid and on the surface; choroid plexus in the ventricles; the sinus on top.
  const double vessel = m_VesselNoise.Value(p);
  const double nearFluid = std::max(SoftStep(1.2 - surface, 1.5) * (1.0 - ventricle), 0.0);
  const double sinus = std::exp(-p[0] * p[0] / 6.0) * SoftStep(3.5 - depth, 1.5);
  const double plexus = ventricle * SoftStep(-std::abs(p[1] + 28.0) + 7.0, 3.0);
  tissues.vessel = std::max({ nearFluid * SoftStep(vessel - 2.3 + m_VesselShare, 0.5),
                              sinus * (p[2] > -5.0 ? 1.0 : 0.0),
                              plexus * SoftStep(vessel - 0.3, 0.5) });
  return tissues;
}

} // namespace glioma
