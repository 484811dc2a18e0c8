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
#ifndef EvaluationDocument_h
#define EvaluationDocument_h

#include "CasePrediction.h"
#include "NetworkFreeBaselines.h"

#include <nlohmann/json.hpp>

#include <limits>
#include <string>
#include <vector>

namespace glioma
{
/** One way of grading a cohort: a row of Table 1. */
struct EvaluationRow
{
  std::string                       Name;
  std::string                       Region;          // "tumour" or "brain"
  std::string                       Standardization; // "brain" or "image"
  std::vector<CasePrediction>       Cases;           // that are scored
  std::vector<CasePrediction>       Validation;      // that the temperature is fitted on
  bool                              FitsTemperature{ false };
  std::string                       TemperatureStoredIn; // base name of the bundle
  nlohmann::ordered_json            Explanations;        // null: not asked for
  std::vector<NetworkFreeBaselines> Baselines;           // of Cases; empty: not asked for

  std::vector<GradedCase>
  GetGrades() const;

  /** A model, and the cases that it was used for. */
  struct UsedModel
  {
    nlohmann::ordered_json   Description; // as result.json says
    std::vector<std::string> Cases;
  };

  /** The different models of "segmentation" or "grading", in the order of the cases, those of the temperature last.
   * Where a case has no grade, no grader was asked: it names one only where no case has a grade. */
  std::vector<UsedModel>
  GetModels(const std::string & task) const;
};

/** What of an evaluation is told beside the rows. */
struct EvaluationContext
{
  std::string              Cohort; // base name
  std::string              Split;  // base name, may be empty
  std::string              Set;
  std::vector<std::string> Notes;
  nlohmann::ordered_json   Parameters;
  std::string              Output; // folder: reports are named relative to it
  double                   Seconds{ 0.0 };
};

/** What stands below every picture of an evaluation: research use, and the cohort's notes. */
std::string
NoteOfPictures(const std::vector<std::string> & notes);

/** An estimate as JSON: value, interval and method, or null with the reason. */
nlohmann::ordered_json
ToJson(const Estimate & estimate);

/** The whole of evaluation.json, described by evaluation.schema.json. */
nlohmann::ordered_json
DescribeEvaluation(const std::vector<EvaluationRow> & rows, const EvaluationContext & context);

/** The same as Markdown, from that JSON: each row's models and what they were trained on, tables beside the cells of
 * Pereira et al. 2018, and the wrong cases. */
std::string
WriteMarkdown(const nlohmann::ordered_json & evaluation);

/** Table 1 for LaTeX (booktabs); the caption says what the models were trained on, and why a cell is undefined. Several
 * rows have their names in a first column. */
std::string
WriteLatex(const nlohmann::ordered_json & evaluation);
} // namespace glioma

#endif // EvaluationDocument_h
