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
#ifndef NetworkFreeBaselines_h
#define NetworkFreeBaselines_h

#include "itkCohortReader.h"

#include <limits>
#include <string>

namespace glioma
{
/** What two rules without a network say of a case: a network should beat them. */
struct NetworkFreeBaselines
{
  /** Dice of the FLAIR/T2 threshold: both above 1.5 robust standard deviations (median, 1.4826 MAD) of the brain, the
   * largest 26-connected component. NaN: the cohort has no mask. */
  double ThresholdDice{ std::numeric_limits<double>::quiet_NaN() };
  /** Share of the predicted tumour where T1c exceeds T1 by 1, both standardized in the brain. NaN: the mask is empty,
   * or there is none. */
  double      EnhancingShare{ std::numeric_limits<double>::quiet_NaN() };
  std::string EnhancingShareUndefined; // why it is NaN
};

/** The brain is where any sequence is not 0. \a predicted: the tumour image of the prediction; empty: there is none.
 * Throws std::runtime_error, naming the case, where the sequences and the predicted tumour do not lie on one grid
 * (within 1e-3 of a voxel and in each direction cosine). */
NetworkFreeBaselines
FindNetworkFreeBaselines(const itk::CohortCase & cohortCase, const std::string & predicted);
} // namespace glioma

#endif // NetworkFreeBaselines_h
