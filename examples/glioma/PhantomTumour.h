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
#ifndef PhantomTumour_h
#define PhantomTumour_h

#include "PhantomAnatomy.h"

namespace glioma
{

enum class TumourGrade
{
  LGG,
  HGG
};

enum class Enhancement
{
  None,
  Patches,
  Rim,
  Specks
};

/** What a point of the tumour is made of; `tumour` goes from 0 to 1 over the margin, the others share it. */
struct TumourMixture
{
  double tumour{ 0.0 };
  double solid{ 0.0 };
  double necrosis{ 0.0 };
  double enhancing{ 0.0 };

  /** How strongly the enhancing part takes up contrast agent, about 1. */
  double uptake{ 0.0 };

  /** Texture, mean 0, deviation about 1. */
  double texture{ 0.0 };
};

/** \class PhantomTumour
 * \brief An irregular blob in an anatomy.
 *
 * A high-grade one has necrosis in a rim, a short-grained texture and a margin that runs in fingers along the white
 * matter. A low-grade one is smooth and rounded, may hold a cyst beside its middle and, one in four, patches that
 * enhance. Sizes, places, and the shares and intensities of the parts come from the same distributions for both grades,
 * so that what tells the grade is form and texture.
 */
class PhantomTumour
{
public:
  PhantomTumour(std::uint64_t          seed,
                std::uint64_t          caseNumber,
                TumourGrade            grade,
                Enhancement            enhancement,
                const PhantomAnatomy & anatomy,
                double                 blur);

  /** The point of the healthy anatomy that the growing tumour has pushed to this position. */
  Position
  BeforeGrowth(const Position & position) const;

  /** Whether the position is too far away for any part of the tumour. */
  bool
  IsFar(const Position & position) const;

  TumourMixture
  Evaluate(const Position & position, const Tissues & tissues, double depth) const;

private:
  double
  ShapeField(const Position & position, const Tissues & tissues, double depth) const;
  double
  CoreField(const Position & position) const;
  double
  NecrosisField(const Position & position) const;
  double
  PatchField(const Position & position) const;

  TumourGrade m_Grade;
  Enhancement m_Enhancement;
  double      m_Blur;
  Position    m_Centre;
  Position    m_CoreCentre;
  Position    m_CystCentre;

  std::array<Position, 3> m_Shape;
  std::array<Position, 3> m_CoreShape;

  double m_Radius;
  double m_ShapeWave;
  double m_MarginWave;
  double m_MarginWidth;
  double m_GreyPenalty;
  double m_RimWave;
  double m_MassEffect;
  bool   m_HasNecrosis;

  double m_ShapeLimit{ 0.0 };
  double m_CoreLimit{ 0.0 };
  double m_NecrosisLimit{ 0.0 };
  double m_PatchLimit{ 0.0 };

  SmoothNoise m_ShapeNoise;
  SmoothNoise m_MarginNoise;
  SmoothNoise m_CoreNoise;
  SmoothNoise m_PatchNoise;
  SmoothNoise m_TextureNoise;
};

} // namespace glioma

#endif // PhantomTumour_h
