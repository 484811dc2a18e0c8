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
#ifndef HealthyHalf_h
#define HealthyHalf_h

#include "CaseReader.h"

#include <array>
#include <string>

namespace glioma
{
/** The four sequences with healthy tissue of the other half in the tumour's place. */
struct HealthyHalf
{
  std::array<SequenceImageType::Pointer, 4> Sequences;
  double      FilledShare{ 0.0 }; // of the tumour: the other half has no healthy tissue there
  std::string Undefined;          // why there is none; empty: there is
};

/** Everything within 4 mm of the tumour is taken from the mirrored place, softly blended; where that is tumour too, or
 * outside the brain, the mean of the healthy brain is. The mirror is the plane, near the middle of the axis that runs
 * from right to left, with the highest correlation of the first sequence's halves beside the tumour. The brain is where
 * any sequence is not 0 (see ReadStripped()); all images are on one grid. Undefined where more than 30 % of the tumour
 * must be filled. */
HealthyHalf
ReplaceTumour(const std::array<SequenceImageType::Pointer, 4> & sequences, const MaskImageType * tumour);
} // namespace glioma

#endif // HealthyHalf_h
