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
#include "ResultDocument.h"

#include "CaseReader.h"
#include "RegisteredCase.h"
#include "itkVersion.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <functional>
#include <stdexcept>

#ifndef GLIOMA_VERSION
#  error "GLIOMA_VERSION is set by CMakeLists.txt"
#endif

namespace glioma
{
namespace
{
using Json = nlohmann::ordered_json;

const char * const researchUse = "Research use only.";
const char * const notClinical = "not a clinical acceptance";

Json
Finite(double value)
{
  return std::isfinite(value) ? Json(value) : Json(nullptr);
}

template <typename TArray>
Json
Three(const TArray & values)
{
  return Json::array({ values[0], values[1], values[2] });
}

using NamedModels = std::vector<std::pair<std::string, const itk::TorchModel *>>;

/** The models that made the result, by their task. */
NamedModels
ModelsOf(const ResultDocument::FilterType & filter)
{
  NamedModels models;
  if (filter.GetTumourMaskImage() == nullptr && filter.GetSegmentationModel())
  {
    models.emplace_back("segmentation", filter.GetSegmentationModel());
  }
  if (filter.GetGradingModel())
  {
    models.emplace_back("grading", filter.GetGradingModel());
  }
  if (filter.GetBrainGradingModel())
  {
    models.emplace_back("whole-brain grading", filter.GetBrainGradingModel());
  }
  return models;
}

bool
IsDemonstration(const ResultDocument::FilterType & filter)
{
  const NamedModels models = ModelsOf(filter);
  return std::any_of(
    models.begin(), models.end(), [](const auto & model) { return model.second->GetManifest().Demonstration; });
}

/** What the manifests say of the training, as one line: once where they agree. */
std::string
TrainedOn(const ResultDocument::FilterType & filter)
{
  std::vector<std::string> statements;
  std::string              each;
  for (const auto & model : ModelsOf(filter))
  {
    std::string statement = model.second->GetManifest().TrainingData;
    // It is shown on terminals and in pictures.
    std::replace_if(statement.begin(), statement.end(), [](unsigned char c) { return c < 32 || c == 127; }, ' ');
    statement.erase(statement.find_last_not_of(" .") + 1);
    statements.push_back(statement.empty() ? "training data not stated" : statement);
    each += (each.empty() ? "" : "; ") + model.first + ": " + statements.back();
  }
  const bool isOne =
    std::adjacent_find(statements.begin(), statements.end(), std::not_equal_to<>()) == statements.end();
  return isOne && !statements.empty() ? statements.front() : each;
}
} // namespace

Json
DescribeModel(const itk::TorchModel * model)
{
  if (model == nullptr)
  {
    return nullptr;
  }
  const itk::TorchModelManifest & manifest = model->GetManifest();
  Json                            json;
  json["bundle"] = BaseName(model->GetPath());
  json["name"] = manifest.Name;
  json["version"] = manifest.Version;
  json["sha256"] = manifest.WeightsSha256.empty() ? DigestOfInput(model->GetPath()) : manifest.WeightsSha256;
  json["demonstration"] = manifest.Demonstration;
  json["training_data"] = manifest.TrainingData;
  json["intended_use"] = manifest.IntendedUse;
  json["spacing"] = Three(manifest.Spacing);
  json["bias_correction"] = manifest.BiasCorrection;
  json["standardization"] = manifest.Standardization;
  json["quantiles"] = Json::array({ manifest.LowerQuantile, manifest.UpperQuantile });
  if (manifest.Task == "grading")
  {
    json["region"] = manifest.Region;
    json["temperature"] = manifest.Temperature;
  }
  return json;
}

void
ResultDocument::AddInput(const std::string & role, const std::string & path, const std::vector<std::string> & files)
{
  m_Inputs[role] = { { "file", BaseName(path) }, { "sha256", DigestOfFiles(files) } };
}

void
ResultDocument::SetRegistration(const RegisteredCase & registered)
{
  const SequenceImageType * grid = registered.GetSequence(registered.GetReference());
  m_Registration["reference"] = registered.GetReports()[registered.GetReference()].Name;
  m_Registration["grid"] = {
    { "size", Three(grid->GetLargestPossibleRegion().GetSize()) },
    { "spacing_mm", Three(grid->GetSpacing()) },
    { "origin_mm", Three(grid->GetOrigin()) },
    { "direction",
      Json::array({ Three(grid->GetDirection()[0]), Three(grid->GetDirection()[1]), Three(grid->GetDirection()[2]) }) }
  };
  m_Registration["sequences"] = Json::object();
  for (std::size_t i = 0; i < registered.GetReports().size(); ++i)
  {
    if (i == registered.GetReference())
    {
      continue;
    }
    const RegisteredCase::Report & report = registered.GetReports()[i];
    const auto &                   matrix = report.Transform->GetMatrix();
    const auto                     offset = report.Transform->GetOffset();
    Json                           rows = Json::array();
    for (unsigned int r = 0; r < 3; ++r)
    {
      rows.push_back(Json::array({ matrix[r][0], matrix[r][1], matrix[r][2], offset[r] }));
    }
    const double degrees = 180.0 / itk::Math::pi;
    m_Registration["sequences"][report.Name] = {
      { "matrix", rows },
      { "rotation_degrees", Finite(degrees * std::abs(report.Transform->GetVersor().GetAngle())) },
      { "centre_mm", Three(report.Transform->GetCenter()) },
      { "translation_mm", Three(report.Transform->GetTranslation()) },
      { "mean_displacement_mm", report.MeanDisplacement },
      { "initial_metric", report.InitialMetric },
      { "final_metric", report.FinalMetric },
      { "overlap", report.Overlap }
    };
  }
}

void
ResultDocument::SetResult(const FilterType & filter)
{
  m_TrainedOn = TrainedOn(filter);
  m_Warnings = { researchUse };
  if (IsDemonstration(filter) && !m_IsPhantom)
  {
    // No demonstration is validated, whether its manifest says so or not.
    const bool isSaid = m_TrainedOn.find("not validated") != std::string::npos;
    m_Warnings.push_back("Demonstration models, " + m_TrainedOn + (isSaid ? "" : ", not validated") +
                         ": do not rely on this grade for a patient.");
  }
  else
  {
    m_Warnings.push_back("The models' training: " + m_TrainedOn + '.');
  }

  Json & json = m_Document;
  json["schema"] = "glioma-grade-result/1";
  json["grade"] = filter.GetGrade()[0] == '\0' ? Json(nullptr) : Json(filter.GetGrade());
  const std::vector<std::string> names = filter.GetClassNames();
  const auto                     byName = [&names](const std::vector<double> & probabilities) {
    Json named; // null without any
    for (std::size_t i = 0; i < probabilities.size(); ++i)
    {
      named[names.at(i)] = probabilities[i];
    }
    return named;
  };
  json["probabilities"] = byName(filter.GetProbabilities());
  json["verdict"] = filter.GetReviewReasons().empty() ? "no-flags" : "review";
  json["reasons"] = filter.GetReviewReasons();
  json["verdict_is"] = notClinical;
  json["warnings"] = m_Warnings;
  json["phantom"] = m_IsPhantom;
  json["tumour_volume_ml"] = filter.GetTumourVolume();
  json["brain_volume_ml"] = filter.GetBrainVolume();
  json["brain_mask"] = filter.GetBrainMaskWasGiven() ? "given" : "found";
  json["turned_upright"] = filter.GetWasTurnedUpright();
  json["tumour_mask"] = filter.GetTumourMaskImage() ? "given" : "found";
  json["roi"] = nullptr;
  if (filter.GetTumourFound())
  {
    const FilterType::RegionReport & region = filter.GetRegionReport();
    json["roi"] = { { "tumour_box_index", Three(region.Box.GetIndex()) },
                    { "tumour_box_size", Three(region.Box.GetSize()) },
                    { "centre_mm", Three(region.Centre) },
                    { "sides_mm", Three(region.Sides) },
                    { "spacing_mm", Three(region.Spacing) },
                    { "output_size", region.OutputSize },
                    { "tiny", region.Tiny },
                    { "touches_border", region.TouchesBorder },
                    { "several_foci", region.SeveralFoci },
                    { "leaves_image", region.LeavesImage } };
  }
  json["explanation"] = nullptr;
  if (filter.GetTumourFound() && filter.GetExplain() != itk::GliomaGradingFilterEnums::Explain::None)
  {
    Json layers = Json::object();
    for (const std::string & layer : filter.GetGradCAMLayers())
    {
      if (filter.GetGradCAM(layer) == nullptr)
      {
        continue;
      }
      layers[layer] = { { "has_positive_cell", filter.GetGradCAMHasPositiveCell(layer) } };
    }
    json["explanation"] = { { "class", names.at(filter.GetExplainedClass()) }, { "gradcam", layers } };
  }
  json["whole_brain"] = nullptr;
  if (!filter.GetBrainProbabilities().empty())
  {
    Json & brain = json["whole_brain"];
    brain["grade"] = filter.GetBrainGrade();
    brain["probabilities"] = byName(filter.GetBrainProbabilities());
    brain["explanation"] = nullptr;
    if (filter.GetExplain() != itk::GliomaGradingFilterEnums::Explain::None)
    {
      Json layers = Json::object();
      for (const std::string & layer : filter.GetBrainGradCAMLayers())
      {
        layers[layer] = { { "has_positive_cell", filter.GetBrainGradCAMHasPositiveCell(layer) } };
      }
      brain["explanation"] = { { "class", names.at(filter.GetBrainExplainedClass()) }, { "gradcam", layers } };
    }
  }
  json["without_tumour"] = nullptr;
  if (std::isfinite(filter.GetFilledShare()))
  {
    json["without_tumour"] = { { "probabilities", byName(filter.GetProbabilitiesWithoutTumour()) },
                               { "filled_share", filter.GetFilledShare() } };
  }
  json["quality"] = Json::object();
  for (const auto & number : filter.GetQuality())
  {
    json["quality"][number.first] = Finite(number.second);
  }

  Json & provenance = json["provenance"];
  provenance["versions"] = { { "glioma", GLIOMA_VERSION },
                             { "itk", itk::Version::GetITKVersion() },
                             { "torch", GLIOMA_TORCH_VERSION } };
  provenance["models"] = { { "segmentation",
                             DescribeModel(filter.GetTumourMaskImage() ? nullptr : filter.GetSegmentationModel()) },
                           { "grading", DescribeModel(filter.GetGradingModel()) } };
  if (filter.GetBrainGradingModel())
  {
    provenance["models"]["brain_grading"] = DescribeModel(filter.GetBrainGradingModel());
  }
  provenance["sequences"] = Json::object();
  for (const auto & report : filter.GetSequenceReports())
  {
    provenance["sequences"][report.Name] = { { "mean", report.Mean },
                                             { "standard_deviation", report.Sigma },
                                             { "n4_iterations", report.N4Iterations },
                                             { "n4_convergence", report.N4Convergence },
                                             { "n4_log_field", { report.N4LogFieldMinimum, report.N4LogFieldMaximum } },
                                             { "n4_seconds", report.N4Seconds },
                                             { "n4_voxels_not_positive", report.N4NonPositiveVoxels },
                                             { "n4_status", report.N4Status } };
  }
}

void
ResultDocument::AddStage(const std::string & name, double seconds)
{
  m_Stages.push_back({ { "name", name }, { "seconds", seconds } });
}

void
ResultDocument::SetMemory(const StageMemory & memory)
{
  for (Json & stage : m_Stages)
  {
    stage["peak_memory_mib"] = std::round(memory.PeakOf(stage["name"]));
  }
  m_PeakMemory = std::round(memory.Peak());
}

std::vector<std::pair<std::string, std::string>>
ResultDocument::GetProvenanceKeys() const
{
  std::vector<std::pair<std::string, std::string>> keys{
    { "GliomaGrading_version", GLIOMA_VERSION },
    { "GliomaGrading_use", researchUse },
    { "GliomaGrading_trained_on", m_TrainedOn },
    { "GliomaGrading_verdict", m_Document["verdict"].get<std::string>() + ", " + notClinical },
    { "GliomaGrading_grade", m_Document["grade"].is_null() ? "none" : m_Document["grade"].get<std::string>() }
  };
  for (const auto & model : m_Document["provenance"]["models"].items())
  {
    if (!model.value().is_null())
    {
      keys.emplace_back("GliomaGrading_" + model.key() + "_sha256", model.value()["sha256"].get<std::string>());
    }
  }
  for (const auto & input : m_Inputs.items())
  {
    keys.emplace_back("GliomaGrading_input_" + input.key() + "_sha256", input.value()["sha256"].get<std::string>());
  }
  return keys;
}

Json
ResultDocument::GetJson() const
{
  Json json = m_Document;
  json["registration"] = m_Registration;
  json["outputs"] = m_Outputs;
  json["provenance"]["inputs"] = m_Inputs;
  json["provenance"]["parameters"] = m_Parameters;
  json["provenance"]["stages"] = m_Stages;
  double seconds = 0.0;
  for (const Json & stage : m_Stages)
  {
    seconds += stage["seconds"].get<double>();
  }
  json["provenance"]["seconds"] = seconds;
  json["provenance"]["peak_memory_mib"] = m_PeakMemory;
  return json;
}

void
ResultDocument::Write(const std::string & path) const
{
  std::ofstream file(path, std::ios::binary);
  // A name that is not UTF-8 must not lose the result.
  file << this->GetJson().dump(2, ' ', false, Json::error_handler_t::replace) << '\n';
  file.close();
  if (!file)
  {
    throw std::runtime_error("Cannot write result.json; free some space, or choose another --output.");
  }
}
} // namespace glioma
