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
#ifndef CasePrediction_h
#define CasePrediction_h

#include "GradeStatistics.h"
#include "MaskComparison.h"

#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace itk
{
struct CohortCase;
}

namespace glioma
{
/** What the grader says with healthy tissue of the other half in the tumour's place: it does not come from the tumour.
 */
struct WithoutTumour
{
  double      ProbabilityHGG{ std::numeric_limits<double>::quiet_NaN() };
  double      FilledShare{ std::numeric_limits<double>::quiet_NaN() }; // of the tumour, without healthy tissue opposite
  std::string Undefined;                                               // why there is no probability
};

/** What `glioma grade` said of one case of a cohort, beside what is true. */
struct CasePrediction
{
  std::string                   Name;
  std::string                   Grade; // true: LGG or HGG
  std::string                   Site;
  std::string                   Set;
  GradedCase                    Graded;
  bool                          IsFlagged{ false }; // verdict "review"
  std::size_t                   NumberOfReasons{ 0 };
  std::map<std::string, double> Quality; // NaN: not defined for this case
  MaskComparison                Mask;
  WithoutTumour                 Control;
  std::size_t                   Reference{ 0 }; // the sequence in whose space the images are; T1 without --register
  nlohmann::ordered_json        Models;         // of the result's provenance
  std::string                   Folder;         // with result.json

  std::string
  CalledGrade() const
  {
    return !Graded.HasGrade() ? "none" : Graded.IsCalledHGG() ? "HGG" : "LGG";
  }
};

/** Reads FOLDER/result.json and the tumour beside it; the tumour is compared with the cohort's mask where there are
 * both, and has its volume alone where there is no mask. What is wrong throws std::runtime_error. */
CasePrediction
ReadPrediction(const itk::CohortCase & cohortCase, const std::string & folder);

/** A path of FOLDER/STEM in one of the formats that `glioma grade` writes; empty: there is none. */
std::string
FindImage(const std::string & folder, const std::string & stem);
} // namespace glioma

#endif // CasePrediction_h
