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
#ifndef PhantomAnatomy_h
#define PhantomAnatomy_h

#include "SmoothNoise.h"

namespace glioma
{

/** The tissues at a point; the fractions sum to 1. */
struct Tissues
{
  double fluid{ 0.0 };
  double grey{ 0.0 };
  double white{ 0.0 };
  double deepGrey{ 0.0 };

  /** Share of the ventricles; part of the fluid, not of the sum. */
  double ventricle{ 0.0 };

  /** Share that carries contrast agent in a healthy brain (vessels, choroid plexus); not part of the sum. */
  double vessel{ 0.0 };
};

/** \class PhantomAnatomy
 * \brief A brain made of formulas and smooth noise: no patient and no atlas is behind it.
 *
 * Cerebrum, temporal lobes, cerebellum and brain stem are rounded solids. The sulci are zero sets of a noise that runs
 * radially, so that they cut in from the surface; the cortex is what lies within 3 mm of the surface or a sulcus.
 */
class PhantomAnatomy
{
public:
  /** Transitions between tissues are `blur` mm wide (at least the voxel, to avoid steps). */
  PhantomAnatomy(std::uint64_t seed, std::uint64_t caseNumber, double blur);

  /** Distance to the brain's outer surface in mm, positive inside. */
  double
  Depth(const Position & position) const;

  /** Tissues at a position whose depth is known. */
  Tissues
  Evaluate(const Position & position, double depth) const;

  /** Whether a position lies in the cerebral hemispheres (not cerebellum or brain stem). */
  bool
  InCerebrum(const Position & position) const;

private:
  struct Solids
  {
    double cerebrum;
    double cerebellum;
    double stem;
  };

  Position
  ToReference(const Position & position) const;

  Solids
  EvaluateSolids(const Position & reference) const;

  double
  VentricleDepth(const Position & reference) const;

  double m_Blur;
  double m_CortexThickness;
  double m_SulcusWidth;
  double m_SulcusDepth;
  double m_VentricleSize;
  double m_Asymmetry;
  double m_VesselShare;

  Position                m_Shift;
  std::array<Position, 3> m_Frame;

  SmoothNoise m_SurfaceNoise;
  SmoothNoise m_SulcusNoise;
  SmoothNoise m_DepthNoise;
  SmoothNoise m_WarpNoise;
  SmoothNoise m_VesselNoise;
};

} // namespace glioma

#endif // PhantomAnatomy_h
