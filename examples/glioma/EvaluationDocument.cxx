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
#include "EvaluationDocument.h"

#include "itkReviewThresholds.h"
#include "itkVersion.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <iterator>
#include <sstream>

#ifndef GLIOMA_VERSION
#  error "GLIOMA_VERSION is set by CMakeLists.txt"
#endif

namespace glioma
{
namespace
{
using Json = nlohmann::ordered_json;

const std::array<const char *, 2> grades{ { "LGG", "HGG" } };

/** Pereira et al. 2018, Table 1, as printed. */
struct PaperRow
{
  const char * Region;
  const char * Standardization;
  const char * F1[2]; // LGG, HGG
  const char * Precision[2];
  const char * Recall[2];
  const char * Accuracy;
  const char * Auc;
};
const std::array<PaperRow, 4> paperRows{ {
  { "brain", "image", { "0.8000", "0.929" }, { "0.8000", "0.929" }, { "0.8000", "0.929" }, "0.8950", "0.8857" },
  { "brain", "brain", { "0.8000", "0.9286" }, { "0.8000", "0.9286" }, { "0.8000", "0.9286" }, "0.8950", "0.8913" },
  { "tumour", "image", { "0.7879", "0.9136" }, { "0.7222", "0.9487" }, { "0.8667", "0.881" }, "0.8770", "0.8841" },
  { "tumour", "brain", { "0.8667", "0.9524" }, { "0.8667", "0.9524" }, { "0.8667", "0.9524" }, "0.9298", "0.9841" },
} };

/** What a result says of a model, without where it lay. */
Json
WithoutFolder(Json model)
{
  model.erase("bundle");
  return model;
}

std::string
RegionName(const std::string & region)
{
  return region == "brain" ? "whole brain" : "tumour ROI";
}

std::string
StandardizationName(const std::string & standardization)
{
  return standardization == "image" ? "whole image" : "brain mask";
}

Json
Finite(double value)
{
  return std::isfinite(value) ? Json(value) : Json(nullptr);
}

/** Mean with interval, median and extremes of a number that some cases have. */
Json
Summarize(const std::vector<CasePrediction> &                        cases,
          const std::function<double(const CasePrediction &)> &      numberOf,
          const std::function<std::string(const CasePrediction &)> & reasonOf)
{
  std::vector<double>    values;
  Json                   undefined = Json::object();
  const CasePrediction * lowest = nullptr;
  for (const CasePrediction & c : cases)
  {
    const double value = numberOf(c);
    if (std::isfinite(value))
    {
      values.push_back(value);
      lowest = lowest == nullptr || value < numberOf(*lowest) ? &c : lowest;
    }
    else
    {
      undefined[c.Name] = reasonOf(c);
    }
  }
  Json json;
  json["mean"] = ToJson(EstimateMean(values, "no case has it"));
  json["cases"] = values.size();
  for (const auto & quantile :
       { std::make_pair("minimum", 0.0), std::make_pair("median", 0.5), std::make_pair("maximum", 1.0) })
  {
    json[quantile.first] = Finite(QuantileOf(values, quantile.second));
  }
  json["lowest_case"] = lowest ? Json(lowest->Name) : Json(nullptr);
  json["undefined"] = undefined;
  return json;
}

Json
DescribeSegmentation(const std::vector<CasePrediction> & cases)
{
  const auto noDice = [](const CasePrediction & c) { return c.Mask.DiceUndefined; };
  const auto noVolume = [](const CasePrediction & c) { return c.Mask.DiceUndefined; };
  Json       json;
  json["dice"] = Summarize(cases, [](const CasePrediction & c) { return c.Mask.Dice; }, noDice);
  json["hausdorff95_mm"] = Summarize(
    cases,
    [](const CasePrediction & c) { return c.Mask.Hausdorff95; },
    [](const CasePrediction & c) { return c.Mask.Hausdorff95Undefined; });
  json["volume_error_ml"] = Summarize(cases, [](const CasePrediction & c) { return c.Mask.VolumeError(); }, noVolume);
  json["absolute_volume_error_ml"] =
    Summarize(cases, [](const CasePrediction & c) { return std::abs(c.Mask.VolumeError()); }, noVolume);
  return json;
}

Json
DescribeBaselines(const EvaluationRow & row)
{
  if (row.Baselines.empty())
  {
    return nullptr;
  }
  std::vector<double> dice;
  std::vector<double> shares;
  std::vector<double> probabilities;
  std::vector<bool>   isHGG;
  Json                cases = Json::array();
  for (std::size_t i = 0; i < row.Baselines.size(); ++i)
  {
    const NetworkFreeBaselines & baseline = row.Baselines[i];
    if (std::isfinite(baseline.ThresholdDice))
    {
      dice.push_back(baseline.ThresholdDice);
    }
    Json one{ { "case", row.Cases[i].Name },
              { "threshold_dice", Finite(baseline.ThresholdDice) },
              { "enhancing_share", Finite(baseline.EnhancingShare) } };
    if (!std::isfinite(baseline.EnhancingShare))
    {
      one["undefined"] = baseline.EnhancingShareUndefined;
    }
    else if (row.Cases[i].Graded.HasGrade())
    {
      // The rule and the network are compared on the same cases.
      shares.push_back(baseline.EnhancingShare);
      probabilities.push_back(row.Cases[i].Graded.ProbabilityHGG);
      isHGG.push_back(row.Cases[i].Graded.IsHGG);
    }
    cases.push_back(one);
  }
  const auto high = std::count(isHGG.begin(), isHGG.end(), true);
  const auto areaOf = [&](const std::vector<double> & scores) {
    return ToJson(high == 0 ? UndefinedEstimate("no case with a grade and a share is HGG")
                  : static_cast<std::size_t>(high) == isHGG.size()
                    ? UndefinedEstimate("no case with a grade and a share is LGG")
                    : AreaUnderCurve(scores, isHGG));
  };
  Json json;
  json["threshold_dice"] = ToJson(EstimateMean(dice, "the cohort has no masks"));
  json["compared_cases"] = isHGG.size();
  json["enhancing_share_auc"] = areaOf(shares);
  json["network_auc"] = areaOf(probabilities);
  json["cases"] = cases;
  return json;
}

Json
DescribeControls(const EvaluationRow & row)
{
  const double        undecided = itk::ReviewThresholds().ProbabilityGap;
  std::vector<double> before;
  std::vector<double> after;
  std::vector<double> scores;
  std::vector<bool>   isHGG;
  std::size_t         open = 0;
  Json                cases = Json::array();
  for (const CasePrediction & c : row.Cases)
  {
    const WithoutTumour & control = c.Control;
    const GradedCase &    graded = c.Graded;
    Json                  one{ { "case", c.Name },
                               { "probability_hgg", Finite(graded.ProbabilityHGG) },
                               { "control_probability_hgg", Finite(control.ProbabilityHGG) },
                               { "filled_share", Finite(control.FilledShare) } };
    if (!control.Undefined.empty())
    {
      one["undefined"] = control.Undefined;
    }
    else
    {
      before.push_back(std::abs(2.0 * graded.ProbabilityHGG - 1.0));
      after.push_back(std::abs(2.0 * control.ProbabilityHGG - 1.0));
      open += after.back() < undecided ? 1 : 0;
      scores.push_back(control.ProbabilityHGG);
      isHGG.push_back(graded.IsHGG);
    }
    cases.push_back(one);
  }
  const auto         high = std::count(isHGG.begin(), isHGG.end(), true);
  const char * const none = "no case has a control";
  Json               json;
  json["gap"] = ToJson(EstimateMean(before, none));
  json["control_gap"] = ToJson(EstimateMean(after, none));
  json["undecided"] = ToJson(EstimateShare(open, after.size(), none));
  json["undecided_below"] = undecided;
  json["control_auc"] =
    ToJson(high == 0                                        ? UndefinedEstimate("no case with a control is HGG")
           : static_cast<std::size_t>(high) == isHGG.size() ? UndefinedEstimate("no case with a control is LGG")
                                                            : AreaUnderCurve(scores, isHGG));
  json["cases"] = cases;
  return json;
}

Json
DescribeTemperature(const EvaluationRow & row)
{
  if (!row.FitsTemperature)
  {
    return nullptr;
  }
  std::vector<GradedCase> validation;
  for (const CasePrediction & c : row.Validation)
  {
    validation.push_back(c.Graded);
  }
  const Estimate temperature = FitTemperature(validation);
  Json           json;
  json["validation_cases"] = validation.size();
  json["value"] = Finite(temperature.Value);
  if (!temperature.Undefined.empty())
  {
    json["undefined"] = temperature.Undefined;
    return json;
  }
  std::vector<GradedCase> scaled = row.GetGrades();
  for (GradedCase & c : scaled)
  {
    c.ProbabilityHGG = c.HasGrade() ? WithTemperature(c.ProbabilityHGG, temperature.Value) : c.ProbabilityHGG;
  }
  json["brier"] = ToJson(BrierScore(scaled));
  json["calibration_error"] = ToJson(CalibrationError(scaled));
  json["stored_in"] = row.TemperatureStoredIn.empty() ? Json(nullptr) : Json(row.TemperatureStoredIn);
  return json;
}

Json
DescribeRow(const EvaluationRow & row, const std::string & output)
{
  const std::vector<GradedCase> graded = row.GetGrades();
  const ConfusionMatrix         matrix = CountGrades(graded);
  Json                          json;
  json["name"] = row.Name;
  json["region"] = row.Region;
  json["standardization"] = row.Standardization;
  json["models"] = nullptr;
  json["other_models"] = Json::object();
  for (const CasePrediction & c : row.Cases)
  {
    // The first that was graded, or else the first.
    if (json["models"].is_null() || c.Graded.HasGrade())
    {
      json["models"] = c.Models.is_object() ? c.Models : Json(nullptr);
    }
    if (c.Graded.HasGrade())
    {
      break;
    }
  }
  for (const char * const task : { "segmentation", "grading" })
  {
    const auto   used = row.GetModels(task);
    const Json & models = json["models"];
    const bool   namesOne = models.is_object() && models.contains(task) && models[task].is_object();
    json["other_models"][task] = Json::array();
    for (const EvaluationRow::UsedModel & model : used)
    {
      if (!namesOne || WithoutFolder(model.Description) != WithoutFolder(models[task]))
      {
        json["other_models"][task].push_back({ { "model", model.Description }, { "cases", model.Cases } });
      }
    }
  }
  for (unsigned int grade = 0; grade < 2; ++grade)
  {
    json["grades"][grades[grade]] = { { "precision", ToJson(Precision(matrix, grade)) },
                                      { "recall", ToJson(Recall(matrix, grade)) },
                                      { "f1", ToJson(F1Score(matrix, grade)) } };
    json["confusion"][grades[grade]] = { { "LGG", matrix.Counts[grade][0] },
                                         { "HGG", matrix.Counts[grade][1] },
                                         { "none", matrix.Counts[grade][2] } };
  }
  json["accuracy"] = ToJson(Accuracy(matrix));
  json["roc_auc"] = ToJson(AreaUnderCurve(graded));
  json["brier"] = ToJson(BrierScore(graded));
  json["calibration_error"] = ToJson(CalibrationError(graded));
  json["temperature"] = DescribeTemperature(row);
  json["segmentation"] = DescribeSegmentation(row.Cases);
  json["baselines"] = DescribeBaselines(row);
  json["scanner_control"] = DescribeControls(row);
  json["roc"] = ReceiverCurve(graded);
  json["reliability"] = Json::array();
  for (const ReliabilityBin & bin : ReliabilityBins(graded))
  {
    json["reliability"].push_back({ { "cases", bin.Cases },
                                    { "mean_probability", Finite(bin.MeanProbability) },
                                    { "share_hgg", Finite(bin.ShareHGG) } });
  }
  json["explanations"] = row.Explanations;
  json["cases"] = Json::array();
  for (const CasePrediction & c : row.Cases)
  {
    const auto  report = std::filesystem::path(c.Folder) / "report.html";
    std::string link;
    if (std::filesystem::exists(report))
    {
      link = std::filesystem::relative(report, output).generic_string();
    }
    json["cases"].push_back({ { "case", c.Name },
                              { "site", c.Site },
                              { "grade", c.Grade },
                              { "called", c.CalledGrade() },
                              { "probability_hgg", Finite(c.Graded.ProbabilityHGG) },
                              { "right", c.Graded.IsRight() },
                              { "verdict", c.IsFlagged ? "review" : "no-flags" },
                              { "dice", Finite(c.Mask.Dice) },
                              { "hausdorff95_mm", Finite(c.Mask.Hausdorff95) },
                              { "volume_ml", Finite(c.Mask.PredictedVolume) },
                              { "true_volume_ml", Finite(c.Mask.TrueVolume) },
                              { "report", link.empty() ? Json(nullptr) : Json(link) } });
  }
  return json;
}

std::string
Number(const Json & value, int digits = 3)
{
  if (!value.is_number())
  {
    return "-";
  }
  char text[32];
  std::snprintf(text, sizeof(text), "%.*f", digits, value.get<double>());
  // What is rounded to 0 has no sign.
  const bool isZero = std::string(text).find_first_not_of("-0.") == std::string::npos;
  return text + (isZero && text[0] == '-' ? 1 : 0);
}

/** 0.905 (0.81 to 0.96). */
std::string
WithInterval(const Json & estimate, int digits = 3)
{
  if (!estimate["value"].is_number())
  {
    return "undefined: " + estimate.value("undefined", "");
  }
  std::string text = Number(estimate["value"], digits);
  if (estimate["low"].is_number())
  {
    text += " (" + Number(estimate["low"], std::max(1, digits - 1)) + " to " +
            Number(estimate["high"], std::max(1, digits - 1)) + ")";
  }
  return text;
}

std::string
PValue(const Json & value)
{
  return !value.is_number() ? "-" : value.get<double>() < 0.001 ? "< 0.001" : Number(value);
}

const PaperRow &
PaperRowOf(const Json & row)
{
  return *std::find_if(paperRows.begin(), paperRows.end(), [&](const PaperRow & paper) {
    return row["region"] == paper.Region && row["standardization"] == paper.Standardization;
  });
}

/** Characters that mean something to Markdown's tables and LaTeX. */
std::string
Escaped(const std::string & text, const std::string & special)
{
  std::string result;
  for (const char c : text)
  {
    result += (special.find(c) != std::string::npos ? std::string("\\") : std::string()) + c;
  }
  return result;
}

/** Without line breaks and other control characters. */
std::string
OnOneLine(const std::string & text)
{
  std::string line = text;
  std::replace_if(line.begin(), line.end(), [](char c) { return static_cast<unsigned char>(c) < 32 || c == 127; }, ' ');
  return line;
}

/** A path as the target of a link of Markdown. */
std::string
AsTarget(const std::string & path)
{
  std::string result;
  for (const char c : path)
  {
    const auto byte = static_cast<unsigned char>(c);
    if (byte <= 32 || byte == 127 || std::string("()<>\\%\"").find(c) != std::string::npos)
    {
      char text[4];
      std::snprintf(text, sizeof(text), "%%%02X", byte);
      result += text;
    }
    else
    {
      result += c;
    }
  }
  return result;
}

std::string
EscapedForLatex(const std::string & text)
{
  std::string result;
  for (const char c : text)
  {
    const bool isNamed = c == '\\' || c == '~' || c == '^';
    result += isNamed ? (c == '\\'  ? std::string("\\textbackslash{}")
                         : c == '~' ? std::string("\\textasciitilde{}")
                                    : std::string("\\textasciicircum{}"))
                      : Escaped(std::string(1, c), "&%$#_{}");
  }
  return result;
}

/** Text of others inside a line of Markdown. */
std::string
EscapedForMarkdown(const std::string & text)
{
  return Escaped(OnOneLine(text), "\\`*_[]<>|~&#!$");
}

/** A model's name, and what it was trained on. */
std::string
DescribeInWords(const Json & model)
{
  const auto said = [&model](const char * key) {
    return model.contains(key) && model[key].is_string() ? OnOneLine(model[key].get<std::string>()) : std::string();
  };
  const std::string name = said("name").empty() ? said("bundle") : said("name");
  const std::string data = said("training_data");
  const bool        isDemonstration = model.contains("demonstration") && model["demonstration"] == true;
  return (name.empty() ? "a model without a name" : name) + (isDemonstration ? " (a demonstration, " : " (") +
         (data.empty()                        ? "training data not stated"
          : data.rfind("trained on ", 0) == 0 ? data
                                              : "trained on: " + data) +
         ')';
}

/** The models of a row, and what they were trained on: as it is, not escaped. */
std::string
ModelsOf(const Json & row)
{
  const Json & models = row["models"];
  std::string  text;
  for (const auto & task : std::array<std::array<const char *, 2>, 2>{
         { { { "segmentation", "tumour found by " } }, { { "grading", "graded by " } } } })
  {
    std::string said = models.is_object() && models.contains(task[0]) && models[task[0]].is_object()
                         ? DescribeInWords(models[task[0]])
                         : std::string();
    for (const Json & other : row["other_models"][task[0]])
    {
      const auto cases = other["cases"].size();
      said += (said.empty() ? "" : " and by ") + DescribeInWords(other["model"]) + " in " + std::to_string(cases) +
              (cases == 1 ? " case" : " cases");
    }
    text += said.empty() ? "" : (text.empty() ? "" : "; ") + std::string(task[1]) + said;
  }
  return text.empty() ? "by models that are not stated" : text;
}

/** The cells of Table 1 that are undefined in a row, with the reasons; empty: none. */
std::string
UndefinedCellsOf(const Json & row)
{
  std::string text;
  const auto  add = [&text](const std::string & cell, const Json & estimate) {
    if (!estimate["value"].is_number())
    {
      text += (text.empty() ? "" : ", ") + cell + " (" + estimate.value("undefined", "") + ')';
    }
  };
  for (const char * const grade : grades)
  {
    for (const auto & cell : { std::make_pair("f1", "F1 of "),
                               std::make_pair("precision", "precision of "),
                               std::make_pair("recall", "recall of ") })
    {
      add(std::string(cell.second) + grade, row["grades"][grade][cell.first]);
    }
  }
  add("accuracy", row["accuracy"]);
  add("ROC-AUC", row["roc_auc"]);
  return text;
}

/** ", AUC 0.875", or of several rows each with its name: what an alternative text of a plot says. */
std::string
ValuesOf(const Json & rows, const char * key, const std::string & what)
{
  std::string text;
  for (const Json & row : rows)
  {
    const Json & value = row[key]["value"];
    text += ", " + (rows.size() > 1 ? EscapedForMarkdown(row["name"].get<std::string>()) + ": " : std::string()) +
            what + ' ' + (value.is_number() ? Number(value) : "undefined");
  }
  return text;
}
} // namespace

std::string
NoteOfPictures(const std::vector<std::string> & notes)
{
  std::string text = "Research use only.";
  for (const std::string & note : notes)
  {
    text += ' ' + note;
  }
  return text;
}

std::vector<GradedCase>
EvaluationRow::GetGrades() const
{
  std::vector<GradedCase> graded;
  for (const CasePrediction & c : Cases)
  {
    graded.push_back(c.Graded);
  }
  return graded;
}

std::vector<EvaluationRow::UsedModel>
EvaluationRow::GetModels(const std::string & task) const
{
  const auto hasGrade = [](const CasePrediction & c) { return c.Graded.HasGrade(); };
  const bool anyGrade =
    std::any_of(Cases.begin(), Cases.end(), hasGrade) || std::any_of(Validation.begin(), Validation.end(), hasGrade);
  std::vector<UsedModel> models;
  for (const auto * const list : { &Cases, &Validation })
  {
    for (const CasePrediction & c : *list)
    {
      const bool isSaid = c.Models.is_object() && c.Models.contains(task) && c.Models[task].is_object();
      if (!isSaid || (task == "grading" && anyGrade && !c.Graded.HasGrade()))
      {
        continue;
      }
      const Json description = WithoutFolder(c.Models[task]);
      auto       same = std::find_if(models.begin(), models.end(), [&](const UsedModel & other) {
        return WithoutFolder(other.Description) == description;
      });
      if (same == models.end())
      {
        models.push_back({ c.Models[task], {} });
        same = std::prev(models.end());
      }
      // A scored case may be one of those that the temperature is fitted on.
      if (std::find(same->Cases.begin(), same->Cases.end(), c.Name) == same->Cases.end())
      {
        same->Cases.push_back(c.Name);
      }
    }
  }
  return models;
}

Json
ToJson(const Estimate & estimate)
{
  Json json{ { "value", Finite(estimate.Value) }, { "low", Finite(estimate.Low) }, { "high", Finite(estimate.High) } };
  if (!estimate.Undefined.empty())
  {
    json["undefined"] = estimate.Undefined;
  }
  else if (!estimate.IntervalUndefined.empty())
  {
    json["interval_undefined"] = estimate.IntervalUndefined;
  }
  else
  {
    json["interval"] = estimate.Method;
  }
  return json;
}

Json
DescribeEvaluation(const std::vector<EvaluationRow> & rows, const EvaluationContext & context)
{
  Json json;
  json["schema"] = "glioma-evaluation/1";
  json["use"] = "Research use only.";
  std::size_t counts[2] = { 0, 0 };
  for (const CasePrediction & c : rows.front().Cases)
  {
    ++counts[c.Grade == "HGG"];
  }
  json["cohort"] = {
    { "file", context.Cohort }, { "split", context.Split.empty() ? Json(nullptr) : Json(context.Split) },
    { "set", context.Set },     { "cases", counts[0] + counts[1] },
    { "LGG", counts[0] },       { "HGG", counts[1] }
  };
  json["notes"] = context.Notes;
  json["rows"] = Json::array();
  for (const EvaluationRow & row : rows)
  {
    json["rows"].push_back(DescribeRow(row, context.Output));
  }
  json["comparisons"] = Json::array();
  for (std::size_t i = 0; i < rows.size(); ++i)
  {
    for (std::size_t j = i + 1; j < rows.size(); ++j)
    {
      const PairedComparison comparison = ComparePaired(rows[i].GetGrades(), rows[j].GetGrades());
      json["comparisons"].push_back({ { "first", rows[i].Name },
                                      { "second", rows[j].Name },
                                      { "only_first_right", comparison.OnlyFirstRight },
                                      { "only_second_right", comparison.OnlySecondRight },
                                      { "mcnemar_p", comparison.McNemarP },
                                      { "auc_cases", comparison.BothGraded },
                                      { "auc_difference", ToJson(comparison.AucDifference) },
                                      { "auc_p", Finite(comparison.AucP) } });
    }
  }
  json["provenance"] = { { "versions", { { "glioma", GLIOMA_VERSION }, { "itk", itk::Version::GetITKVersion() } } },
                         { "parameters", context.Parameters },
                         { "seconds", context.Seconds } };
  return json;
}

std::string
WriteMarkdown(const Json & evaluation)
{
  std::ostringstream out;
  const Json &       cohort = evaluation["cohort"];
  out << "# Evaluation on " << cohort["file"].get<std::string>() << "\n\n"
      << cohort["cases"] << " cases (" << cohort["LGG"] << " LGG, " << cohort["HGG"]
      << " HGG), set: " << cohort["set"].get<std::string>() << ". In brackets 95 % intervals. Research use only.\n";
  for (const Json & row : evaluation["rows"])
  {
    out << "\n- " << EscapedForMarkdown(row["name"].get<std::string>() + ": " + ModelsOf(row)) << '.';
  }
  out << (evaluation["rows"].empty() ? "" : "\n");
  for (const Json & note : evaluation["notes"])
  {
    out << "\n> " << note.get<std::string>() << '\n';
  }

  out << "\n## Grading, beside Table 1 of Pereira et al. 2018\n\n"
         "The paper's cells are those of 57 patients of BRATS 2017, by networks whose widths are not public.\n\n"
         "| row | region | standardization | grade | F1 | precision | recall | accuracy | ROC-AUC |\n"
         "|---|---|---|---|---|---|---|---|---|\n";
  for (const Json & row : evaluation["rows"])
  {
    const PaperRow & paper = PaperRowOf(row);
    for (unsigned int grade = 0; grade < 2; ++grade)
    {
      const Json & cells = row["grades"][grades[grade]];
      const bool   first = grade == 0;
      out << "| " << (first ? Escaped(row["name"].get<std::string>(), "|") : "") << " | "
          << (first ? RegionName(row["region"]) : "") << " | "
          << (first ? StandardizationName(row["standardization"]) : "") << " | " << grades[grade] << " | "
          << WithInterval(cells["f1"]) << " | " << WithInterval(cells["precision"]) << " | "
          << WithInterval(cells["recall"]) << " | " << (first ? WithInterval(row["accuracy"]) : "") << " | "
          << (first ? WithInterval(row["roc_auc"]) : "") << " |\n";
    }
    for (unsigned int grade = 0; grade < 2; ++grade)
    {
      const bool first = grade == 0;
      out << "| " << (first ? "*paper*" : "") << " | | | " << grades[grade] << " | " << paper.F1[grade] << " | "
          << paper.Precision[grade] << " | " << paper.Recall[grade] << " | " << (first ? paper.Accuracy : "") << " | "
          << (first ? paper.Auc : "") << " |\n";
    }
  }
  out << "\n| row | truth | called LGG | called HGG | no grade |\n|---|---|---|---|---|\n";
  for (const Json & row : evaluation["rows"])
  {
    for (const char * const grade : grades)
    {
      const Json & counts = row["confusion"][grade];
      out << "| " << (grade == grades[0] ? Escaped(row["name"].get<std::string>(), "|") : "") << " | " << grade << " | "
          << counts["LGG"] << " | " << counts["HGG"] << " | " << counts["none"] << " |\n";
    }
  }
  out << "\nA case without a grade (no tumour was found) counts as missed; ROC-AUC, Brier score and calibration are "
         "those of the "
         "graded ones.\n\n## Calibration\n\n"
         "| row | Brier score | calibration error | temperature | Brier score with it | calibration error with it "
         "|\n|---|---|---|---|---|---|\n";
  for (const Json & row : evaluation["rows"])
  {
    const Json & temperature = row["temperature"];
    out << "| " << Escaped(row["name"].get<std::string>(), "|") << " | " << WithInterval(row["brier"]) << " | "
        << WithInterval(row["calibration_error"]) << " | ";
    if (temperature.is_null())
    {
      out << "not fitted | | |\n";
    }
    else if (temperature.contains("undefined"))
    {
      out << "undefined: " << temperature["undefined"].get<std::string>() << " | | |\n";
    }
    else
    {
      out << Number(temperature["value"]) << " (" << temperature["validation_cases"] << " validation cases) | "
          << WithInterval(temperature["brier"]) << " | " << WithInterval(temperature["calibration_error"]) << " |\n";
    }
  }
  const Json &      rows = evaluation["rows"];
  const std::string several = rows.size() > 1 ? "s" : "";
  out << "\n![ROC curve" << several << ValuesOf(rows, "roc_auc", "AUC") << "](roc.png) ![Reliability curve" << several
      << ValuesOf(rows, "calibration_error", "calibration error")
      << "](reliability.png)\n\n## Segmentation of the whole tumour\n\n"
         "| row | Dice, mean | lowest | Hausdorff-95, mean (mm) | volume error, mean (ml) | absolute (ml) "
         "|\n|---|---|---|---|---|---|\n";
  for (const Json & row : evaluation["rows"])
  {
    const Json & s = row["segmentation"];
    out << "| " << Escaped(row["name"].get<std::string>(), "|") << " | " << WithInterval(s["dice"]["mean"]) << " | "
        << Number(s["dice"]["minimum"])
        << (s["dice"]["lowest_case"].is_null() ? "" : " (" + s["dice"]["lowest_case"].get<std::string>() + ")") << " | "
        << WithInterval(s["hausdorff95_mm"]["mean"], 2) << " | " << WithInterval(s["volume_error_ml"]["mean"], 2)
        << " | " << WithInterval(s["absolute_volume_error_ml"]["mean"], 2) << " |\n";
    for (const char * const measure : { "dice", "hausdorff95_mm" })
    {
      for (const auto & reason : s[measure]["undefined"].items())
      {
        out << "| | " << measure << " of " << reason.key() << " is undefined: " << reason.value().get<std::string>()
            << " | | | | |\n";
      }
    }
  }
  for (const Json & row : evaluation["rows"])
  {
    if (!row["baselines"].is_null())
    {
      out << "\nWithout a network (" << row["name"].get<std::string>()
          << "): the FLAIR/T2 threshold has a mean Dice of " << WithInterval(row["baselines"]["threshold_dice"])
          << "; the share of the predicted tumour that enhances on T1c has a ROC-AUC of "
          << WithInterval(row["baselines"]["enhancing_share_auc"]) << ", the network on the same cases "
          << WithInterval(row["baselines"]["network_auc"]) << " (" << row["baselines"]["compared_cases"] << " of "
          << row["baselines"]["cases"].size() << " cases have a share and a grade).\n";
    }
  }
  for (const Json & row : evaluation["rows"])
  {
    const Json & control = row["scanner_control"];
    out << "\n## Negative control for the scanner: " << row["name"].get<std::string>()
        << "\n\nEach case is graded again with healthy tissue of its other half in the tumour's place. A grader that "
           "looks at the tumour is then undecided; one that knows the scanner or the site is as sure as before, and "
           "its ROC-AUC stays high.\n\nDistance of the two probabilities, mean: "
        << WithInterval(control["gap"]) << " with the tumour, " << WithInterval(control["control_gap"])
        << " without. Undecided (below " << Number(control["undecided_below"], 1)
        << ") without it: " << WithInterval(control["undecided"])
        << " of the cases. ROC-AUC without it (0.5 is wanted): " << WithInterval(control["control_auc"])
        << ".\n\n| case | truth | P(HGG) | without the tumour |\n|---|---|---|---|\n";
    for (std::size_t i = 0; i < control["cases"].size(); ++i)
    {
      const Json & c = control["cases"][i];
      out << "| " << Escaped(c["case"], "_|") << " | " << row["cases"][i]["grade"].get<std::string>() << " | "
          << Number(c["probability_hgg"]) << " | "
          << (c.contains("undefined") ? "undefined: " + c["undefined"].get<std::string>()
                                      : Number(c["control_probability_hgg"]))
          << " |\n";
    }
  }
  if (!evaluation["comparisons"].empty())
  {
    out << "\n## Rows compared, case by case\n\n"
           "McNemar's test is exact, that of ROC-AUC DeLong's; p is not corrected for the number of pairs.\n\n"
           "| first | second | right in the first alone | in the second alone | p | cases that both grade | ROC-AUC, "
           "first minus second | p |\n|---|---|---|---|---|---|---|---|\n";
    for (const Json & pair : evaluation["comparisons"])
    {
      out << "| " << Escaped(pair["first"].get<std::string>(), "|") << " | "
          << Escaped(pair["second"].get<std::string>(), "|") << " | " << pair["only_first_right"] << " | "
          << pair["only_second_right"] << " | " << PValue(pair["mcnemar_p"]) << " | " << pair["auc_cases"] << " | "
          << WithInterval(pair["auc_difference"]) << " | " << PValue(pair["auc_p"]) << " |\n";
    }
  }
  for (const Json & row : evaluation["rows"])
  {
    if (row["explanations"].is_null())
    {
      continue;
    }
    const Json & study = row["explanations"];
    // What is undefined for every number is said once.
    const std::string said = study["verdict_auc"].value("undefined", "");
    out << "\n## Explanations: " << row["name"].get<std::string>() << "\n\n"
        << "Does a flag tell wrong grades from right ones? ROC-AUC of the verdict (review or not): "
        << WithInterval(study["verdict_auc"]) << "; of the number of reasons: " << WithInterval(study["reasons_auc"])
        << ". Flagged: " << study["flagged"]["wrong"] << " of " << study["wrong"] << " wrong, "
        << study["flagged"]["right"] << " of " << study["right"] << " right.\n\n"
        << "Medians; the last column is the ROC-AUC with which the number alone tells wrong grades (a high number "
           "wrong: above "
           "0.5)."
        << (said.empty() ? "" : " Where it has a dash it is undefined: " + said + '.')
        << "\n\n| number | LGG | HGG | right | wrong | wrong from right |\n|---|---|---|---|---|---|\n";
    for (const auto & number : study["quality"].items())
    {
      const Json & area = number.value()["wrong_auc"];
      out << "| " << number.key();
      for (const char * const group : { "LGG", "HGG", "right", "wrong" })
      {
        out << " | " << Number(number.value()[group]["median"]);
      }
      out << " | " << (!said.empty() && area.value("undefined", "") == said ? "-" : WithInterval(area)) << " |\n";
    }
    for (const Json & picture : study["mean_maps"])
    {
      out << "\n![Mean of " << picture["map"].get<std::string>() << " by the grade that is called]("
          << picture["file"].get<std::string>() << ")\n";
    }
  }
  out << "\n## Wrong cases\n";
  for (const Json & row : evaluation["rows"])
  {
    out << "\n**" << row["name"].get<std::string>() << "**\n\n";
    bool any = false;
    for (const Json & c : row["cases"])
    {
      if (c["right"].get<bool>())
      {
        continue;
      }
      any = true;
      const std::string name = Escaped(c["case"], "_");
      out << "- " << (c["report"].is_null() ? name : "[" + name + "](" + AsTarget(c["report"]) + ")") << ": is "
          << c["grade"].get<std::string>() << ", called " << c["called"].get<std::string>() << ", P(HGG) "
          << Number(c["probability_hgg"]) << ", Dice " << Number(c["dice"]) << ", verdict "
          << c["verdict"].get<std::string>() << "\n";
    }
    if (!any)
    {
      out << "None.\n";
    }
  }
  return out.str();
}

std::string
WriteLatex(const Json & evaluation)
{
  const auto cell = [](const Json & estimate) {
    if (!estimate["value"].is_number())
    {
      return std::string("--");
    }
    std::string text = Number(estimate["value"]);
    if (estimate["low"].is_number())
    {
      text += " {\\scriptsize[" + Number(estimate["low"], 2) + ", " + Number(estimate["high"], 2) + "]}";
    }
    return text;
  };
  std::ostringstream out;
  const Json &       cohort = evaluation["cohort"];
  out << "% Needs \\usepackage{booktabs}. Written by glioma evaluate; research use only.\n"
         "\\begin{table}\n\\centering\n\\caption{Grading of "
      << cohort["cases"] << " cases (" << cohort["LGG"] << " LGG, " << cohort["HGG"]
      << " HGG) with 95\\,\\% intervals, beside Table 1 of Pereira et al.\\ (2018), which is of 57 patients of BRATS "
         "2017. Research use only.";
  for (const Json & row : evaluation["rows"])
  {
    out << ' ' << EscapedForLatex(OnOneLine(row["name"].get<std::string>()) + ": " + ModelsOf(row)) << '.';
  }
  for (const Json & note : evaluation["notes"])
  {
    out << ' ' << EscapedForLatex(note.get<std::string>());
  }
  for (const Json & row : evaluation["rows"])
  {
    const std::string undefined = UndefinedCellsOf(row);
    if (!undefined.empty())
    {
      out << EscapedForLatex(" Undefined (--) in " + OnOneLine(row["name"].get<std::string>()) + ": " + undefined +
                             '.');
    }
  }
  // Rows of one region and standardization are told apart by their names alone.
  const bool        hasNames = evaluation["rows"].size() > 1;
  const std::string noName = hasNames ? " & " : "";
  out << "}\n\\begin{tabular}{" << (hasNames ? "l" : "") << "lllrrrrr}\n\\toprule\n"
      << (hasNames ? "Row & " : "")
      << "Region & Standardization & Grade & F1 & Precision & Recall & Accuracy & ROC-AUC \\\\\n\\midrule\n";
  for (const Json & row : evaluation["rows"])
  {
    const PaperRow & paper = PaperRowOf(row);
    for (unsigned int grade = 0; grade < 2; ++grade)
    {
      const Json & cells = row["grades"][grades[grade]];
      const bool   first = grade == 0;
      out << (first && hasNames ? EscapedForLatex(OnOneLine(row["name"].get<std::string>())) : "") << noName
          << (first ? RegionName(row["region"]) : "") << " & "
          << (first ? StandardizationName(row["standardization"]) : "") << " & " << grades[grade] << " & "
          << cell(cells["f1"]) << " & " << cell(cells["precision"]) << " & " << cell(cells["recall"]) << " & "
          << (first ? cell(row["accuracy"]) : "") << " & " << (first ? cell(row["roc_auc"]) : "") << " \\\\\n";
    }
    for (unsigned int grade = 0; grade < 2; ++grade)
    {
      const bool first = grade == 0;
      out << (first ? "\\quad paper" : "") << noName << " & & " << grades[grade] << " & " << paper.F1[grade] << " & "
          << paper.Precision[grade] << " & " << paper.Recall[grade] << " & " << (first ? paper.Accuracy : "") << " & "
          << (first ? paper.Auc : "") << " \\\\\n";
    }
  }
  out << "\\bottomrule\n\\end{tabular}\n\\end{table}\n";
  return out.str();
}
} // namespace glioma
