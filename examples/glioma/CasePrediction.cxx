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
#include "CasePrediction.h"

#include "CaseReader.h"

#include "itkCohortReader.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <stdexcept>

namespace glioma
{
namespace
{
namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

WithoutTumour
ReadControl(const Json & json)
{
  WithoutTumour control;
  const Json    without = json.value("without_tumour", Json());
  if (!json.contains("without_tumour"))
  {
    control.Undefined = "the result is of a version that did not grade without the tumour";
  }
  else if (without.is_null())
  {
    control.Undefined =
      json.value("grade", Json()).is_string() ? "it was not graded without its tumour" : "the case has no grade";
  }
  else if (!without.is_object() || !without.value("filled_share", Json()).is_number())
  {
    control.Undefined = "what the result says of it cannot be read";
  }
  else
  {
    control.FilledShare = without["filled_share"].get<double>();
    const Json probabilities = without.value("probabilities", Json());
    const Json probability = probabilities.is_object() ? probabilities.value("HGG", Json()) : Json();
    if (probability.is_number() && probability.get<double>() >= 0.0 && probability.get<double>() <= 1.0)
    {
      control.ProbabilityHGG = probability.get<double>();
    }
    else
    {
      char text[128];
      std::snprintf(text,
                    sizeof(text),
                    "for %.0f %% of the tumour the other half has no healthy tissue",
                    100.0 * control.FilledShare);
      control.Undefined = text;
    }
  }
  return control;
}
} // namespace

std::string
FindImage(const std::string & folder, const std::string & stem)
{
  for (const char * const format : { ".nii.gz", ".nrrd", ".mha" })
  {
    const fs::path path = fs::path(folder) / (stem + format);
    if (fs::exists(path))
    {
      return path.string();
    }
  }
  return "";
}

CasePrediction
ReadPrediction(const itk::CohortCase & cohortCase, const std::string & folder)
{
  const std::string path = (fs::path(folder) / "result.json").string();
  std::ifstream     file(path, std::ios::binary);
  if (!file)
  {
    throw std::runtime_error("case " + cohortCase.Name + ": " + path + " does not exist; run glioma grade on it first");
  }
  const Json json = Json::parse(file, nullptr, false);
  const auto refuse = [&](const std::string & what) {
    throw std::runtime_error("case " + cohortCase.Name + ": " + path + " " + what);
  };
  if (!json.is_object() || json.value("schema", "") != "glioma-grade-result/1")
  {
    refuse("is not a result of glioma grade");
  }
  CasePrediction prediction;
  prediction.Name = cohortCase.Name;
  prediction.Grade = cohortCase.Grade;
  prediction.Site = cohortCase.Site;
  prediction.Set = cohortCase.Set;
  prediction.Folder = folder;
  prediction.Graded.IsHGG = cohortCase.Grade == "HGG";
  if (!json.contains("probabilities") || json["probabilities"].is_null())
  {
    if (json.value("grade", Json()).is_string())
    {
      refuse("has a grade without probabilities");
    }
  }
  else
  {
    const Json & probabilities = json["probabilities"];
    if (!probabilities.is_object() || !probabilities.contains("HGG") || !probabilities["HGG"].is_number() ||
        !probabilities.contains("LGG"))
    {
      refuse("gives no probability of LGG and HGG; its model has other classes");
    }
    prediction.Graded.ProbabilityHGG = probabilities["HGG"].get<double>();
    if (!(prediction.Graded.ProbabilityHGG >= 0.0 && prediction.Graded.ProbabilityHGG <= 1.0))
    {
      refuse("gives a probability that is not in [0, 1]");
    }
  }
  prediction.Control = ReadControl(json);
  prediction.IsFlagged = json.value("verdict", "") == "review";
  if (json.contains("reasons") && json["reasons"].is_array())
  {
    prediction.NumberOfReasons = json["reasons"].size();
  }
  if (json.contains("quality") && json["quality"].is_object())
  {
    for (const auto & number : json["quality"].items())
    {
      prediction.Quality[number.key()] =
        number.value().is_number() ? number.value().get<double>() : std::numeric_limits<double>::quiet_NaN();
    }
  }
  if (json.contains("provenance") && json["provenance"].is_object() && json["provenance"].contains("models"))
  {
    prediction.Models = json["provenance"]["models"];
  }

  const Json registration = json.value("registration", Json());
  if (registration.is_object())
  {
    constexpr auto & names = itk::CohortCase::SequenceNames;
    const Json       said = registration.value("reference", Json());
    const auto       found = std::find(names.begin(), names.end(), said.is_string() ? said.get<std::string>() : "");
    prediction.Reference = found == names.end() ? 0 : static_cast<std::size_t>(found - names.begin());
  }

  const std::string tumour = FindImage(folder, "tumour");
  if (tumour.empty())
  {
    prediction.Mask.DiceUndefined = prediction.Mask.Hausdorff95Undefined =
      "there is no tumour image beside result.json";
    prediction.Mask.PredictedVolume = prediction.Mask.TrueVolume = std::numeric_limits<double>::quiet_NaN();
  }
  else
  {
    try
    {
      const auto predicted = ReadMask(tumour, "the predicted tumour");
      if (cohortCase.Tumour.empty())
      {
        const unsigned char * const first = predicted->GetBufferPointer();
        const auto &                spacing = predicted->GetSpacing();
        const auto                  voxels =
          std::count(first, first + predicted->GetBufferedRegion().GetNumberOfPixels(), static_cast<unsigned char>(1));
        prediction.Mask.DiceUndefined = prediction.Mask.Hausdorff95Undefined = "the cohort has no mask of the case";
        prediction.Mask.PredictedVolume = static_cast<double>(voxels) * spacing[0] * spacing[1] * spacing[2] / 1000.0;
        prediction.Mask.TrueVolume = std::numeric_limits<double>::quiet_NaN();
      }
      else
      {
        prediction.Mask = CompareMasks(predicted, ReadMask(cohortCase.Tumour, "seg"));
      }
    }
    catch (const std::exception & error)
    {
      const auto * const itkError = dynamic_cast<const itk::ExceptionObject *>(&error);
      throw std::runtime_error("case " + cohortCase.Name + ": " +
                               (itkError ? itkError->GetDescription() : error.what()));
    }
  }
  return prediction;
}
} // namespace glioma
