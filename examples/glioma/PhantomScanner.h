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
#ifndef PhantomScanner_h
#define PhantomScanner_h

#include "PhantomTumour.h"
#include "SmoothNoise.h"

#include <string>
#include <vector>

namespace glioma
{

enum class ScannerKind
{
  ThickSlice,
  Sharp3T
};

enum class Sequence
{
  T1,
  T1c,
  T2,
  FLAIR
};

/** A block of voxels of the image that holds the brain: x fastest. */
struct VoxelBlock
{
  std::array<int, 3> start;
  std::array<int, 3> size;
  double             spacing;

  std::size_t
  Count() const
  {
    return static_cast<std::size_t>(size[0]) * size[1] * size[2];
  }
};

/** \class PhantomScanner
 * \brief What a machine makes of tissues: contrast, resolution, uneven field, noise.
 *
 * A thick-slice scanner averages over some millimetres along one axis, is blurred and noisy and has a weak FLAIR; a
 * sharp one at 3 T has not. All else varies from case to case in the same way, whatever the grade.
 */
class PhantomScanner
{
public:
  PhantomScanner(std::uint64_t seed, std::uint64_t caseNumber, ScannerKind kind);

  /** The signal without artefacts; healthy white matter is about 1. */
  double
  Signal(Sequence sequence, const Tissues & tissues, const TumourMixture & mixture) const;

  /** Blurs, samples in slices, shades and adds noise to the signal, in place. */
  void
  Acquire(Sequence sequence, const VoxelBlock & block, std::vector<float> & signal, unsigned int threads) const;

  /** What the uneven field adds to the natural logarithm of the acquired signal, the machine's intensity curve
   * included. (Thick slices have the value of their middle, between which lines are drawn: this is the smooth field.)
   */
  void
  LogField(Sequence sequence, const VoxelBlock & block, std::vector<float> & field, unsigned int threads) const;

  /** Deviation of the field of a sequence: it lies between exp(-b) and exp(b). */
  double
  GetBias(Sequence sequence) const
  {
    return m_Settings[static_cast<int>(sequence)].bias;
  }

private:
  SmoothNoise
  FieldNoise(Sequence sequence) const;

  struct Settings
  {
    double fluid;
    double grey;
    double white;
    double deepGrey;
    double vessel;
    double infiltrated;
    double solid;
    double necrosis;
    double enhancing;
    double texture;
    double bias;
    double noise;
    double blur;
    double sliceThickness;
    double sliceOffset;
    int    sliceAxis;
    double gamma;
    double gain;
  };

  std::uint64_t           m_Seed;
  std::uint64_t           m_Case;
  std::array<Settings, 4> m_Settings;
};

} // namespace glioma

#endif // PhantomScanner_h
