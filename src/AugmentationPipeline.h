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
#ifndef AugmentationPipeline_h
#define AugmentationPipeline_h

#include "GliomaGradingExport.h"

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace itk
{
/** \class GliomaGrading_EXPORT CounterRandom
 * \brief Numbers that depend on a key and a counter only (splitmix64): the sample of a step is the same whichever
 * thread draws it, and a resumed training goes on with the same numbers without a stored state.
 * \ingroup GliomaGrading
 */
class GliomaGrading_EXPORT CounterRandom
{
public:
  explicit CounterRandom(std::uint64_t seed, std::uint64_t stream = 0, std::uint64_t item = 0);

  std::uint64_t
  Bits();
  /** In [0, 1). */
  double
  Uniform();
  double
  Uniform(double low, double high);
  /** In [0, count). */
  std::int64_t
  Below(std::int64_t count);
  double
  Normal();
  bool
  Chance(double probability)
  {
    return probability > 0.0 && this->Uniform() < probability;
  }

private:
  std::uint64_t m_State;
};

/** \class GliomaGrading_EXPORT AugmentationPipeline
 * \brief Cuts a turned, zoomed, flipped, bent patch of a case by one trilinear resampling, then lets it look like
 * another scanner's.
 *
 * Plain loops on one thread, without torch: the loader's thread works beside torch's. Sequences, brain and tumour go
 * through the same resampling, so that the label stays on its voxels. The intensity part works inside the brain; the
 * background stays 0.
 *
 * Every augmentation has a name and a strength (0: off); Names() lists them. Exported for the tests alone.
 * \ingroup GliomaGrading
 */
class GliomaGrading_EXPORT AugmentationPipeline
{
public:
  static constexpr unsigned int Channels = 4;

  /** A prepared case; axes are x, y, z, intensities are interleaved. */
  struct Volume
  {
    std::array<std::int64_t, 3> Size{ { 0, 0, 0 } };
    const float *               Intensities{ nullptr };         // either these
    const std::uint16_t *       BFloat16Intensities{ nullptr }; // or these
    const std::uint8_t *        Brain{ nullptr };               // share of the voxel, 255 = all
    const std::uint8_t *        Tumour{ nullptr };
  };

  /** A cube of Side^3 voxels; intensities are planar [channel][z][y][x]. */
  struct Patch
  {
    std::int64_t       Side{ 0 };
    std::vector<float> Intensities;
    std::vector<float> Brain;
    std::vector<float> Tumour;
  };

  /** Cells of the elastic deformation's lattice along a side of the cube, and the control points of cubic B-splines
   * over them. */
  static constexpr std::int64_t Cells = 4;
  static constexpr std::int64_t ControlPoints = Cells + 3;
  /** Control points that move by less than this share of a cell cannot fold the tissue: Y. Choi and S. Lee,
   * "Injectivity conditions of 2D and 3D uniform cubic B-spline functions", Graphical Models 62(6), 2000. */
  static constexpr double LargestBend = 1.0 / 2.479472335;

  /** Voxel v of the cube lies at Matrix (v + bend(v) - middle) + Centre of the volume (x, y, z). */
  struct Placement
  {
    std::array<std::array<double, 3>, 3> Matrix{ { { { 1, 0, 0 } }, { { 0, 1, 0 } }, { { 0, 0, 1 } } } };
    std::array<double, 3>                Centre{ { 0, 0, 0 } };
    /** How far each control point moves, in cells: [axis][z][y][x]. Empty: no bend. */
    std::vector<double> Bend;
  };

  struct Description
  {
    std::string Name;
    double      Strength; // where none is given
    double      Maximum;  // more is no probability, no share, or nothing that a scanner or a head does
    std::string Meaning;
  };
  static const std::vector<Description> &
  Names();

  /** "name" or "name=strength"; throws for an unknown name, or a strength below 0 or above the maximum. */
  void
  Add(const std::string & nameAndStrength);
  double
  Strength(const std::string & name) const;
  bool
  HasIntensityPart() const;

  /** Multiplies the placement by the random turns, zoom and flips, and bends it. */
  void
  Turn(CounterRandom & random, Placement & placement) const;

  /** Moves the faces of a box (lowest and highest voxel) as a predicted mask would. */
  void
  JitterBox(CounterRandom & random, std::array<double, 3> & low, std::array<double, 3> & high) const;

  /** How far from a box's middle, along any axis, the cube around it can reach once it was jittered, turned, zoomed and
   * shifted: never more than the first times the box's longest side plus the second times the margin. */
  std::array<double, 2>
  ReachOfCube() const;

  /** Voxels outside the volume are 0. */
  static void
  Resample(const Volume & volume, const Placement & placement, std::int64_t side, Patch & patch);

  /** Puts the donor's tumour on the same voxels of the patch, where both are brain (CarveMix, Zhang et al. 2023). */
  static void
  AddTumour(const Patch & donor, Patch & patch);

  /** Share of the tumour in whose place \a other, a cube of the same side, has healthy brain. */
  static double
  HealthyShare(const Patch & other, const Patch & patch);

  /** Puts what \a other holds in the tumour's place and a seam around it; where that is tumour too, or outside the
   * brain, the brain's mean. No tumour is left. */
  static void
  ReplaceTumour(const Patch & other, Patch & patch);

  /** Interleaves the sequences and adds what the background is in each: a sample of a channels-last batch, in float32
   * or rounded to bfloat16. */
  static void
  Interleave(const Patch & patch, const std::array<float, Channels> & background, float * sample);
  static void
  Interleave(const Patch & patch, const std::array<float, Channels> & background, std::uint16_t * sample);

  /** The intensity part, in place. */
  void
  ChangeScanner(CounterRandom & random, Patch & patch) const;

private:
  std::vector<double> m_Strengths = std::vector<double>(Names().size(), 0.0);
};
} // namespace itk

#endif // AugmentationPipeline_h
