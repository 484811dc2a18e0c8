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
#ifndef itkCohortCase_h
#define itkCohortCase_h

#include <array>
#include <cstddef>
#include <string>

namespace itk
{
/** \class CohortCase
 * \brief One case of a cohort; paths are complete, and empty where the cohort names no file.
 * \ingroup GliomaGrading
 */
struct CohortCase
{
  std::string                                  Name;
  static constexpr std::array<const char *, 4> SequenceNames{ { "T1", "T1c", "T2", "FLAIR" } };

  std::array<std::string, 4> Sequences; // in the order of SequenceNames
  std::string                BrainMask;
  std::string                Tumour; // column seg: labels above 0 are tumour
  std::string                Grade;  // "", "LGG" or "HGG"
  std::string                Site;
  std::string                Set;         // "", "training", "validation" or "test"
  std::string                File;        // the cohort it came from
  std::size_t                Cohort{ 0 }; // which of several cohorts, for the caller
};
} // namespace itk

#endif // itkCohortCase_h
