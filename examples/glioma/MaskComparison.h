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
#ifndef MaskComparison_h
#define MaskComparison_h

#include "itkImage.h"

#include <limits>
#include <string>

namespace glioma
{
/** How a predicted tumour agrees with the true one. What is not defined is NaN, and a sentence says why. */
struct MaskComparison
{
  double      Dice{ std::numeric_limits<double>::quiet_NaN() };
  std::string DiceUndefined;
  /** Larger of the two directed 95th percentiles of the distances between the surfaces, mm. */
  double      Hausdorff95{ std::numeric_limits<double>::quiet_NaN() };
  std::string Hausdorff95Undefined;
  double      PredictedVolume{ 0.0 }; // ml
  double      TrueVolume{ 0.0 };      // ml

  /** Predicted minus true, ml. */
  double
  VolumeError() const
  {
    return PredictedVolume - TrueVolume;
  }
};

/** Voxels above 0 are tumour. A surface voxel has a face that is not tumour's or is the image's border; distances are
 * between their centres, in mm. Throws where the grids differ by more than \a tolerance of a voxel. */
MaskComparison
CompareMasks(const itk::Image<unsigned char, 3> * predicted,
             const itk::Image<unsigned char, 3> * truth,
             double                               tolerance = 1e-3);
} // namespace glioma

#endif // MaskComparison_h
