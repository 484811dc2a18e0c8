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
#include "EvaluateCommand.h"

#include "CasePrediction.h"
#include "CaseReader.h"
#include "DefaultModels.h"
#include "EvaluationDocument.h"
#include "EvaluationPlots.h"
#include "ExplanationStudy.h"
#include "GradeCommand.h"
#include "OptionChecks.h"
#include "OutputFolder.h"
#include "ResultDocument.h"
#include "TerminalText.h"

#include "itkCohortReader.h"
#include "itkTorchModel.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <limits>
#include <map>
#include <memory>
#include <set>
#include <stdexcept>

namespace glioma
{
namespace
{
namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
using itk::CohortCase;

struct EvaluateOptions
{
  std::string              cohort;
  std::string              split;
  std::string              set;
  std::vector<std::string> cases;
  std::vector<std::string> predictions; // [NAME=]DIR
  std::string              segmentationModel;
  std::string              gradingModel;
  std::string              tumourMasks;
  std::string              name;
  bool                     trustModel{ false };
  std::string              device{ "cpu" };
  std::string              precision{ "float32" };
  unsigned int             threads{ 0 };
  bool                     explain{ false };
  bool                     temperature{ false };
  bool                     storeTemperature{ false };
  bool                     baselines{ false };
  bool                     allowOneGrade{ false };
  std::string              output;
  bool                     force{ false };
};

// Notes that every evaluation makes anew.
const char * const undefinedTemperature = "The temperature is undefined";
const char * const arePhantoms = " cases are phantoms, not patients.";
const char * const ofCasesOption = " of --cases are scored";
const char * const differentModels = " different models";

constexpr std::size_t mostExplainedRows = 6;

/** The cases that are scored, and those that the temperature is fitted on. */
struct Chosen
{
  std::vector<CohortCase>  Scored;
  std::vector<CohortCase>  Validation;
  std::string              Set;
  std::vector<std::string> Notes;

  std::vector<CohortCase>
  All() const
  {
    std::vector<CohortCase> all = Scored;
    for (const CohortCase & c : Validation)
    {
      if (std::none_of(all.begin(), all.end(), [&](const CohortCase & other) { return other.Name == c.Name; }))
      {
        all.push_back(c);
      }
    }
    return all;
  }
};

double
Now()
{
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void
Refuse(const std::vector<std::string> & problems)
{
  if (!problems.empty())
  {
    std::string text = "The evaluation cannot start:";
    for (const std::string & problem : problems)
    {
      text += "\n  " + problem;
    }
    throw std::runtime_error(text);
  }
}

Chosen
ChooseCases(const EvaluateOptions & options, std::vector<std::string> & problems)
{
  const auto reader = itk::CohortReader::New();
  reader->SetPath(options.cohort);
  reader->SetSplitFile(options.split);
  reader->Read();
  problems = reader->GetProblems();
  Chosen chosen;
  chosen.Notes = reader->GetNotes();

  bool                  hasSets = false;
  std::set<std::string> known;
  std::set<std::string> grades;
  for (const CohortCase & c : reader->GetCases())
  {
    hasSets = hasSets || !c.Set.empty();
    known.insert(c.Name);
    if (!c.Grade.empty())
    {
      grades.insert(c.Grade);
    }
  }
  if (grades.size() == 1 && !options.allowOneGrade)
  {
    problems.push_back("All cases of " + options.cohort + " are " + *grades.begin() +
                       ": most numbers would be undefined; pass --allow-one-grade to go on");
  }
  for (const std::string & name : options.cases)
  {
    if (!known.empty() && known.count(name) == 0)
    {
      problems.push_back("The case " + name + " of --cases is not in " + options.cohort);
    }
  }
  chosen.Set = !options.set.empty() ? options.set : hasSets && options.cases.empty() ? "test" : "all";
  std::size_t inSet = 0;
  for (const CohortCase & c : reader->GetCases())
  {
    const bool isNamed =
      options.cases.empty() || std::find(options.cases.begin(), options.cases.end(), c.Name) != options.cases.end();
    const bool isInSet = chosen.Set == "all" || c.Set == chosen.Set;
    inSet += isInSet ? 1 : 0;
    if (isNamed && isInSet)
    {
      chosen.Scored.push_back(c);
    }
    if (c.Set == "validation" && options.temperature)
    {
      chosen.Validation.push_back(c);
    }
  }
  if (!options.cases.empty())
  {
    chosen.Notes.push_back("Only the cases" + std::string(ofCasesOption) + ": " + std::to_string(chosen.Scored.size()) +
                           " of the " + std::to_string(inSet) + " cases" +
                           (chosen.Set == "all" ? "." : " of the set " + chosen.Set + '.'));
  }
  if (chosen.Scored.empty() && !reader->GetCases().empty())
  {
    problems.push_back("No case of " + options.cohort + " is in the set " + chosen.Set +
                       (options.cases.empty() ? "" : " and named by --cases"));
  }
  for (const CohortCase & c : chosen.All())
  {
    if (c.Grade.empty())
    {
      problems.push_back("case " + c.Name + ": it has no grade (LGG or HGG), so that nothing can be scored");
    }
    const std::vector<std::string> found = itk::CohortReader::FindImageProblems(c);
    problems.insert(problems.end(), found.begin(), found.end());
  }
  return chosen;
}

std::string
NameOfRow(const Json & grading)
{
  const std::string standardization = grading.value("standardization", "brain");
  return std::string(grading.value("region", "tumour") == "brain" ? "whole brain" : "tumour ROI") + ", " +
         (standardization == "image" ? "whole image" : "brain mask");
}

/** Reads every prediction of a folder; what is wrong is added to \a problems. */
EvaluationRow
ReadRow(const std::string &        name,
        const std::string &        folder,
        const Chosen &             chosen,
        std::vector<std::string> & problems)
{
  EvaluationRow         row;
  Json                  grading = Json::object();
  std::set<std::string> rowsOfPaper;
  for (const auto * const list : { &chosen.Scored, &chosen.Validation })
  {
    for (const CohortCase & c : *list)
    {
      try
      {
        CasePrediction prediction = ReadPrediction(c, (fs::path(folder) / c.Name).string());
        // Without a tumour no grader was asked.
        if (prediction.Graded.HasGrade() && prediction.Models.is_object() && prediction.Models.contains("grading") &&
            prediction.Models["grading"].is_object())
        {
          grading = prediction.Models["grading"];
          rowsOfPaper.insert(NameOfRow(grading));
        }
        (list == &chosen.Scored ? row.Cases : row.Validation).push_back(std::move(prediction));
      }
      catch (const std::exception & error)
      {
        problems.push_back(OneLine(error));
      }
    }
  }
  if (grading.empty() && !row.Cases.empty() && row.Cases.front().Models.is_object())
  {
    grading = row.Cases.front().Models.value("grading", Json());
    grading = grading.is_object() ? grading : Json::object();
  }
  row.Region = grading.value("region", "tumour") == "brain" ? "brain" : "tumour";
  row.Standardization = grading.value("standardization", "brain") == "image" ? "image" : "brain";
  row.Name = name.empty() ? NameOfRow(grading) : name;
  if (rowsOfPaper.size() > 1)
  {
    problems.push_back(folder + ": its cases were graded in different regions or standardizations (" +
                       NameOfRow(grading) + " and others): they are no one row");
  }
  return row;
}

/** Says where the cases of a row do not share their models, and which of these are demonstrations. */
void
AddNotesOfModels(const EvaluationRow & row, std::vector<std::string> & notes)
{
  for (const auto & task :
       { std::make_pair("segmentation", ": tumours found by "), std::make_pair("grading", ": graded by ") })
  {
    const std::vector<EvaluationRow::UsedModel> models = row.GetModels(task.first);
    if (models.size() < 2)
    {
      continue;
    }
    std::size_t cases = 0;
    std::size_t ofDemonstrations = 0;
    for (const EvaluationRow::UsedModel & model : models)
    {
      cases += model.Cases.size();
      ofDemonstrations += model.Description.value("demonstration", Json()) == true ? model.Cases.size() : 0;
    }
    notes.push_back(row.Name + task.second + std::to_string(models.size()) + differentModels +
                    (ofDemonstrations == 0 ? "."
                                           : ", " + std::to_string(ofDemonstrations) + " of " + std::to_string(cases) +
                                               " cases by a demonstration, which is not validated."));
  }
}

/** What an earlier evaluation says of the predictions that it made in a folder, or in the folder's cases/. */
std::vector<std::string>
NotesOf(const std::string & folder, const Chosen & chosen)
{
  fs::path where = fs::path(folder).lexically_normal();
  where = where.has_filename() ? where : where.parent_path();
  const fs::path above = where.filename() == "cases" ? where.parent_path() : where;
  std::ifstream  file(above / "evaluation.json", std::ios::binary);
  const Json     json = file ? Json::parse(file, nullptr, false) : Json();
  if (!json.is_object() || json.value("schema", "") != "glioma-evaluation/1" || !json.contains("notes"))
  {
    return {};
  }
  const auto        scored = chosen.Scored.size();
  const Json        cases = json.value("/cohort/cases"_json_pointer, Json(scored));
  const std::string of = cases == scored ? "" : " (Said of " + cases.dump() + " cases that were evaluated before.)";
  std::vector<std::string> notes;
  for (const Json & note : json["notes"])
  {
    const std::string text = note.is_string() ? note.get<std::string>() : "";
    // What this evaluation finds out by itself is not taken from another.
    const bool isKnown = std::find(chosen.Notes.begin(), chosen.Notes.end(), text) != chosen.Notes.end() ||
                         text.rfind(undefinedTemperature, 0) == 0 || text.find(arePhantoms) != std::string::npos ||
                         text.find(ofCasesOption) != std::string::npos ||
                         (text.find(" by ") != std::string::npos && text.find(differentModels) != std::string::npos);
    if (!text.empty() && !isKnown)
    {
      notes.push_back(text + of);
    }
  }
  return notes;
}

/** FOLDER/result.json; null: there is none; discarded: it is no JSON. */
Json
ReadResult(const fs::path & folder)
{
  std::ifstream file(folder / "result.json", std::ios::binary);
  return file ? Json::parse(file, nullptr, false) : Json();
}

/** Whether the result of a case says that it is a phantom. */
bool
IsPhantom(const CasePrediction & prediction)
{
  const Json json = ReadResult(prediction.Folder);
  return json.is_object() && json.value("phantom", Json()) == true;
}

/** Whether the inputs that a result names are the sequences and the brain mask of a case. Throws where it does not say.
 */
bool
IsOfImages(const Json & inputs, const CohortCase & c)
{
  const auto isOf = [&inputs](const char * role, const std::string & path, const char * name) {
    std::vector<std::string> used;
    return inputs.at(role).at("sha256") == DigestOfFiles(FilesOfInput(path, name, {}, used));
  };
  constexpr auto & roles = itk::CohortCase::SequenceNames;
  for (unsigned int i = 0; i < 4; ++i)
  {
    if (!isOf(roles[i], c.Sequences[i], roles[i]))
    {
      return false;
    }
  }
  return c.BrainMask.empty() ? !inputs.contains("brain-mask") : isOf("brain-mask", c.BrainMask, "the brain mask");
}

/** Whether an earlier run has graded this case with these models, in this way, from these files, with maps where they
 * are asked. */
bool
IsGraded(const CohortCase &      c,
         const fs::path &        folder,
         const itk::TorchModel * segmentation,
         const itk::TorchModel & grading,
         const std::string &     tumourMask,
         const EvaluateOptions & options)
{
  std::ifstream file(folder / "result.json", std::ios::binary);
  if (!file)
  {
    return false;
  }
  try
  {
    const Json json = Json::parse(file);
    const auto hasModel = [&](const char * task, const itk::TorchModel & model) {
      const Json & said = json.at("provenance").at("models").at(task);
      const auto & manifest = model.GetManifest();
      const auto   sha256 = manifest.WeightsSha256.empty() ? DigestOfInput(model.GetPath()) : manifest.WeightsSha256;
      return said.is_object() && said.at("sha256") == sha256 &&
             (manifest.Task != "grading" || said.value("temperature", 1.0) == manifest.Temperature);
    };
    if (!hasModel("grading", grading) || (segmentation && !hasModel("segmentation", *segmentation)) ||
        (options.explain && !json.at("grade").is_null() && json.at("explanation").is_null()) ||
        !json.contains("without_tumour")) // an earlier version
    {
      return false;
    }
    const Json & parameters = json.at("provenance").at("parameters");
    const Json & inputs = json.at("provenance").at("inputs");
    if (parameters.at("device") != options.device || parameters.at("precision") != options.precision)
    {
      return false;
    }
    return IsOfImages(inputs, c) &&
           (segmentation != nullptr || inputs.at("tumour-mask").at("sha256") == DigestOfFiles({ tumourMask }));
  }
  catch (const std::exception &)
  {
    return false;
  }
}

itk::TorchModel::Pointer
LoadModel(const std::string & path, const EvaluateOptions & options)
{
  const auto model = itk::TorchModel::New();
  model->SetPath(path);
  model->SetTrustModelCode(options.trustModel);
  model->Load();
  return model;
}

bool
IsEmpty(const std::string & path)
{
  const auto                  mask = ReadMask(path, "the tumour mask");
  const unsigned char * const first = mask->GetBufferPointer();
  return std::all_of(
    first, first + mask->GetBufferedRegion().GetNumberOfPixels(), [](unsigned char value) { return value == 0; });
}

void
WriteText(const std::string & path, const std::string & text)
{
  std::ofstream file(path, std::ios::binary);
  file << text;
  file.close();
  if (!file)
  {
    throw std::runtime_error("Cannot write " + fs::path(path).filename().string() +
                             "; free some space, or choose another --output.");
  }
}

bool
IsWithoutGrade(const Json & result)
{
  return result.is_object() && result.value("schema", Json()) == "glioma-grade-result/1" && result.contains("grade") &&
         result["grade"].is_null();
}

/** Why the result beside an empty mask cannot stand for a case without a tumour; empty: it can. */
std::string
WhyNoResultOf(const CohortCase & c, const fs::path & folder)
{
  const Json result = ReadResult(folder);
  if (!fs::exists(folder / "result.json"))
  {
    return "no result.json lies beside it";
  }
  if (!IsWithoutGrade(result))
  {
    return "result.json beside it is not one without a grade";
  }
  const Json provenance = result.value("provenance", Json());
  try
  {
    if (provenance.is_object() && provenance.contains("inputs") && !IsOfImages(provenance["inputs"], c))
    {
      return "result.json beside it is of other images";
    }
  }
  catch (const std::exception &)
  {
    return "result.json beside it does not say of which images it is";
  }
  return "";
}

/** Makes what a segmentation left of a case without a tumour the result of this grader's row. */
void
TakeOver(const fs::path & from, const fs::path & folder, const itk::TorchModel & grading)
{
  fs::create_directories(folder);
  // What an earlier run left of the case is of another result.
  for (const char * const name : { "result.json", "report.html" })
  {
    fs::remove(folder / name);
  }
  for (const fs::directory_entry & entry : fs::directory_iterator(from))
  {
    if (entry.path().filename() != "result.json")
    {
      fs::copy(entry.path(),
               folder / entry.path().filename(),
               fs::copy_options::overwrite_existing | fs::copy_options::recursive);
    }
  }
  Json json = ReadResult(from);
  json["provenance"]["models"]["grading"] = DescribeModel(&grading);
  // Under its name when all else is there.
  const fs::path partial = folder / "result.json.partial";
  WriteText(partial.string(), json.dump(2, ' ', false, Json::error_handler_t::replace) + '\n');
  fs::rename(partial, folder / "result.json");
}

/** Grades every case that is not graded yet, each as `glioma grade` does, into OUTPUT/cases. */
void
GradeCases(const EvaluateOptions & options, Chosen & chosen)
{
  const std::string segmentationPath =
    options.segmentationModel.empty() ? FindDefaultModel("segmentation") : options.segmentationModel;
  const std::string     gradingPath = options.gradingModel.empty() ? FindDefaultModel("grading") : options.gradingModel;
  const auto            segmentation = options.tumourMasks.empty() ? LoadModel(segmentationPath, options) : nullptr;
  const auto            grading = LoadModel(gradingPath, options);
  std::set<std::string> trained;
  std::set<std::string> validated;
  for (const itk::TorchModel * const model : { segmentation.GetPointer(), grading.GetPointer() })
  {
    if (model)
    {
      for (const auto & c : model->GetManifest().TrainingCases)
      {
        trained.insert(itk::CohortReader::PatientOf(c.Case));
      }
      for (const auto & c : model->GetManifest().ValidationCases)
      {
        validated.insert(itk::CohortReader::PatientOf(c.Case));
      }
    }
  }
  const auto warnOf = [&](const std::string &             how,
                          const std::set<std::string> &   patients,
                          const std::vector<CohortCase> & cases,
                          const std::string &             what) {
    const auto known = std::count_if(cases.begin(), cases.end(), [&](const CohortCase & c) {
      return patients.count(itk::CohortReader::PatientOf(c.Name)) > 0;
    });
    if (known > 0)
    {
      chosen.Notes.push_back("WARNING: the models were " + how + ' ' + std::to_string(known) + " of the " +
                             std::to_string(cases.size()) + what);
    }
  };
  warnOf("trained on", trained, chosen.Scored, " cases: these numbers say nothing of cases that they have not seen.");
  warnOf("validated on",
         validated,
         chosen.Scored,
         " cases: where their weights were chosen by them, these numbers are too good for others.");
  warnOf(
    "trained on", trained, chosen.Validation, " cases that the temperature is fitted on: it is too low for others.");

  const std::vector<CohortCase> all = chosen.All();
  const auto                    maskOf = [&options](const CohortCase & c) {
    return options.tumourMasks.empty() ? "" : FindImage((fs::path(options.tumourMasks) / c.Name).string(), "tumour");
  };
  std::vector<bool>        isGraded;
  std::vector<bool>        isWithoutTumour; // the mask that is given is empty
  std::vector<std::string> others;
  for (const CohortCase & c : all)
  {
    const fs::path    folder = fs::path(options.output) / "cases" / c.Name;
    const std::string mask = maskOf(c);
    if (!options.tumourMasks.empty() && mask.empty())
    {
      others.push_back("case " + c.Name + ": there is no tumour image in " +
                       (fs::path(options.tumourMasks) / c.Name).string() + ": add it, or leave the case out (--cases)");
      isGraded.push_back(false);
      isWithoutTumour.push_back(false);
      continue;
    }
    isGraded.push_back(IsGraded(c, folder, segmentation, *grading, mask, options));
    isWithoutTumour.push_back(!isGraded.back() && !mask.empty() && IsEmpty(mask));
    if (isWithoutTumour.back())
    {
      const fs::path    from = fs::path(mask).parent_path();
      const std::string why = WhyNoResultOf(c, from);
      std::error_code   ignored;
      if (!why.empty())
      {
        others.push_back("case " + c.Name + ": its mask " + mask + " is empty, and " + why +
                         ": only the result of a segmentation that found no tumour in these images can stand for it. "
                         "Mend the mask, or leave the case out (--cases)");
        continue;
      }
      if (fs::equivalent(from, folder, ignored))
      {
        others.push_back("case " + c.Name + ": --tumour-masks is the folder that is written; choose another --output");
        continue;
      }
    }
    const bool isKept = isGraded.back() || (isWithoutTumour.back() && IsWithoutGrade(ReadResult(folder)));
    if (!isKept && !options.force && fs::exists(folder / "result.json"))
    {
      others.push_back(folder.string() +
                       " holds a result of other models, images or options: choose another --output, or pass --force");
    }
  }
  Refuse(others);
  std::vector<std::string> failures;
  for (std::size_t i = 0; i < all.size(); ++i)
  {
    const CohortCase & c = all[i];
    const fs::path     folder = fs::path(options.output) / "cases" / c.Name;
    const double       start = Now();
    std::cerr << '[' << i + 1 << '/' << all.size() << "] " << c.Name << ": ";
    const std::string mask = maskOf(c);
    if (isGraded[i])
    {
      std::cerr << "graded before" << std::endl;
      continue;
    }
    CaseToGrade one;
    one.Sequences = c.Sequences;
    one.BrainMask = c.BrainMask;
    one.SegmentationModel = segmentationPath;
    one.GradingModel = gradingPath;
    one.TrustModel = options.trustModel;
    one.Explain = options.explain ? "all" : "none";
    one.Device = options.device;
    one.Precision = options.precision;
    one.Threads = options.threads;
    one.Output = folder.string();
    one.TumourMask = mask;
    try
    {
      if (isWithoutTumour[i])
      {
        // Without a tumour there is no grade, whatever the grader: the segmentation's own result says so.
        TakeOver(fs::path(mask).parent_path(), folder, *grading);
        std::cerr << "no tumour was found" << std::endl;
        continue;
      }
      GradeCase(one);
      const Json result = ReadResult(folder);
      char       text[96];
      std::snprintf(text,
                    sizeof(text),
                    "is %s, called %s, %.0f s",
                    c.Grade.c_str(),
                    result.is_object() && result["grade"].is_string() ? result["grade"].get<std::string>().c_str()
                                                                      : "none",
                    Now() - start);
      std::cerr << text << std::endl;
    }
    catch (const std::exception & error)
    {
      failures.push_back("case " + c.Name + ": " + OneLine(error));
      std::cerr << "failed" << std::endl;
    }
  }
  if (!failures.empty())
  {
    std::string text =
      std::to_string(failures.size()) + " of " + std::to_string(all.size()) +
      " cases cannot be graded; mend them or leave them out (--cases) and run again, the others are kept:";
    for (const std::string & failure : failures)
    {
      text += "\n  " + failure;
    }
    throw std::runtime_error(text);
  }
}

/** Writes the temperature into BUNDLE/configs/metadata.json; what the model had before is multiplied. */
void
StoreTemperature(const std::string & bundle, double temperature)
{
  const fs::path path = fs::path(bundle) / "configs" / "metadata.json";
  std::ifstream  file(path, std::ios::binary);
  Json           json = Json::parse(file, nullptr, false);
  if (!json.is_object() || !json.contains("gliomagrading"))
  {
    throw std::runtime_error("Cannot store a temperature in " + bundle +
                             ": it is no bundle with the keys of this module in configs/metadata.json.");
  }
  const double product = temperature * json["gliomagrading"].value("temperature", 1.0);
  if (!(product >= lowestTemperature && product <= highestTemperature))
  {
    throw std::runtime_error("The temperature " + std::to_string(product) + " cannot be stored in " + bundle +
                             ": bundles take 0.001 to 1000. Leave --store-temperature out; the graded cases are kept.");
  }
  json["gliomagrading"]["temperature"] = product;
  const fs::path partial = path.string() + ".partial";
  {
    std::ofstream out(partial, std::ios::binary);
    out << json.dump(2) << '\n';
    out.close();
    if (!out)
    {
      fs::remove(partial);
      throw std::runtime_error("Cannot write " + path.string() + "; free some space.");
    }
  }
  fs::rename(partial, path);
}

const std::array<const char *, 3> explainedMaps{ { "gradcam-res3", "gradcam-res4", "guided-backprop" } };

std::string
StemOfMeanMap(std::size_t row, const char * map)
{
  return "mean-" + std::string(map) + (row ? "-row" + std::to_string(row + 1) : "");
}

void
Evaluate(EvaluateOptions options)
{
  const double start = Now();
  options.temperature = options.temperature || options.storeTemperature;
  const bool               runsModels = options.predictions.empty();
  std::vector<std::string> names = options.predictions;
  names.push_back(options.name);
  if (options.storeTemperature && (!runsModels || options.gradingModel.empty()))
  {
    throw std::runtime_error("--store-temperature wants the bundle: pass --grading-model BUNDLE, not --predictions.");
  }
  options.device = itk::TorchModel::ResolveDevice(options.device);
  for (const std::string & name : names)
  {
    if (std::any_of(name.begin(), name.end(), [](unsigned char c) { return c < 32 || c == 127; }))
    {
      throw std::runtime_error("A row's name has a control character (a new line?); leave it out.");
    }
  }
  if (!runsModels &&
      (!options.segmentationModel.empty() || !options.gradingModel.empty() || !options.tumourMasks.empty()))
  {
    throw std::runtime_error("--predictions are scored as they are; leave the models out.");
  }
  if (options.explain && options.predictions.size() > mostExplainedRows)
  {
    throw std::runtime_error("--explain takes " + std::to_string(mostExplainedRows) +
                             " rows of --predictions at most; leave some out.");
  }
  if (!options.force && fs::exists(fs::path(options.output) / "evaluation.json"))
  {
    throw std::runtime_error("The output folder " + options.output +
                             " holds evaluation.json already; choose another --output, or pass --force to replace it.");
  }
  std::vector<std::string> problems;
  Chosen                   chosen = ChooseCases(options, problems);
  const auto fitted = std::count_if(chosen.Scored.begin(), chosen.Scored.end(), [&](const CohortCase & c) {
    return options.temperature && c.Set == "validation";
  });
  if (fitted > 0)
  {
    chosen.Notes.push_back("The temperature is fitted on " + std::to_string(fitted) +
                           " of the scored cases: the numbers with it say nothing of others.");
  }
  if (options.temperature && chosen.Validation.empty())
  {
    chosen.Notes.push_back(undefinedTemperature + std::string(": no case is in the set validation."));
  }

  std::vector<EvaluationRow>                      rows;
  std::map<std::size_t, std::vector<std::string>> earlier; // notes by row
  if (runsModels)
  {
    Refuse(problems);
    GradeCases(options, chosen);
    rows.push_back(ReadRow(options.name, (fs::path(options.output) / "cases").string(), chosen, problems));
  }
  for (const std::string & entry : options.predictions)
  {
    const auto        equals = entry.find('=');
    const bool        isNamed = equals != std::string::npos && !fs::exists(entry);
    const std::string folder = isNamed ? entry.substr(equals + 1) : entry;
    // What `glioma evaluate` wrote itself has the cases in a folder of their own.
    const fs::path cases = fs::path(folder) / "cases";
    rows.push_back(ReadRow(
      isNamed ? entry.substr(0, equals) : "", fs::is_directory(cases) ? cases.string() : folder, chosen, problems));
    earlier[rows.size() - 1] = NotesOf(folder, chosen);
  }
  Refuse(problems);
  for (std::size_t i = 0; i < rows.size(); ++i)
  {
    // Two rows of one name would not be told apart.
    for (std::size_t j = 0; j < i; ++j)
    {
      if (rows[j].Name == rows[i].Name)
      {
        rows[i].Name += " (" + std::to_string(i + 1) + ")";
      }
    }
    for (const std::string & note : earlier[i])
    {
      chosen.Notes.push_back(rows.size() > 1 ? rows[i].Name + ": " + note : note);
    }
    AddNotesOfModels(rows[i], chosen.Notes);
    rows[i].FitsTemperature = options.temperature;
  }

  std::set<std::string> phantoms;
  for (const EvaluationRow & row : rows)
  {
    for (const CasePrediction & c : row.Cases)
    {
      if (IsPhantom(c))
      {
        phantoms.insert(c.Name);
      }
    }
  }
  if (!phantoms.empty())
  {
    chosen.Notes.push_back(std::to_string(phantoms.size()) + " of the " + std::to_string(chosen.Scored.size()) +
                           arePhantoms);
  }

  std::vector<std::string> files{ "evaluation.md", "evaluation.tex", "roc.png", "reliability.png", "evaluation.json" };
  std::vector<std::string> meanMaps;
  for (std::size_t i = 0; i < std::max(mostExplainedRows, rows.size()); ++i)
  {
    for (const char * const map : explainedMaps)
    {
      const auto maps = MeanMaps::GetFileNames(StemOfMeanMap(i, map));
      auto &     list = i < rows.size() && options.explain ? files : meanMaps;
      list.insert(list.end(), maps.begin(), maps.end());
    }
  }
  OutputFolder output(options.output, files, meanMaps, "evaluation.json", options.force);
  const auto   pathOf = [&output](const std::string & name) { return output.PathOf(name); };

  for (std::size_t i = 0; i < rows.size() && options.explain; ++i)
  {
    rows[i].Explanations = StudyExplanations(rows[i].Cases);
    for (const char * const map : explainedMaps)
    {
      MeanMaps mean(map);
      for (std::size_t c = 0; c < rows[i].Cases.size(); ++c)
      {
        mean.Add(chosen.Scored[c], rows[i].Cases[c]);
      }
      if (mean.GetNumberOfCases() > 0)
      {
        const std::string stem = StemOfMeanMap(i, map);
        mean.Write(pathOf, stem, chosen.Notes);
        rows[i].Explanations["mean_maps"].push_back(
          { { "map", map }, { "cases", mean.GetNumberOfCases() }, { "file", stem + ".png" } });
      }
    }
  }
  for (std::size_t i = 0; i < rows.size() && options.baselines; ++i)
  {
    for (std::size_t c = 0; c < rows[i].Cases.size(); ++c)
    {
      rows[i].Baselines.push_back(
        FindNetworkFreeBaselines(chosen.Scored[c], FindImage(rows[i].Cases[c].Folder, "tumour")));
    }
  }
  Estimate stored = UndefinedEstimate("");
  if (options.storeTemperature)
  {
    std::vector<GradedCase> validation;
    for (const CasePrediction & c : rows.front().Validation)
    {
      validation.push_back(c.Graded);
    }
    stored = FitTemperature(validation);
    rows.front().TemperatureStoredIn = stored.Undefined.empty() ? BaseName(options.gradingModel) : "";
  }

  EvaluationContext context;
  context.Cohort = BaseName(options.cohort);
  context.Split = options.split.empty() ? "" : BaseName(options.split);
  context.Set = chosen.Set;
  context.Notes = chosen.Notes;
  context.Output = options.output;
  context.Parameters = { { "explain", options.explain }, { "temperature", options.temperature },
                         { "device", options.device },   { "precision", options.precision },
                         { "runs_models", runsModels },  { "bootstrap_resamples", 2000 },
                         { "calibration_bins", 10 },     { "cases", nullptr } };
  if (!options.cases.empty())
  {
    context.Parameters["cases"] = options.cases;
  }
  context.Seconds = Now() - start;
  const Json evaluation = DescribeEvaluation(rows, context);
  DrawReceiverCurves(rows, output.PathOf("roc.png"), context.Notes);
  DrawReliability(rows, output.PathOf("reliability.png"), context.Notes);
  WriteText(output.PathOf("evaluation.md"), WriteMarkdown(evaluation));
  WriteText(output.PathOf("evaluation.tex"), WriteLatex(evaluation));
  WriteText(output.PathOf("evaluation.json"), evaluation.dump(2, ' ', false, Json::error_handler_t::replace) + '\n');
  // Once all is written: a full disk leaves the bundle as it was.
  if (!std::isnan(stored.Value))
  {
    StoreTemperature(options.gradingModel, stored.Value);
  }
  output.Commit();

  for (const std::string & note : chosen.Notes)
  {
    std::cout << note << '\n';
  }
  if (options.storeTemperature)
  {
    const std::string bundle = BaseName(options.gradingModel);
    char              value[32];
    std::snprintf(value, sizeof(value), "%.4g", stored.Value);
    std::cout << (stored.Undefined.empty() ? "The temperature " + std::string(value) + " is stored in " + bundle +
                                               "; one that it had before is multiplied by it."
                                           : "No temperature is stored in " + bundle + ": " + stored.Undefined + '.')
              << '\n';
  }
  for (const Json & row : evaluation["rows"])
  {
    const auto text = [](const Json & estimate) {
      char line[96];
      if (!estimate["value"].is_number())
      {
        return "undefined, " + estimate.value("undefined", "");
      }
      int used = std::snprintf(line, sizeof(line), "%.3f", estimate["value"].get<double>());
      if (estimate["low"].is_number())
      {
        std::snprintf(line + used,
                      sizeof(line) - used,
                      " (95 %% %.2f to %.2f)",
                      estimate["low"].get<double>(),
                      estimate["high"].get<double>());
      }
      return std::string(line);
    };
    std::cout << row["name"].get<std::string>() << ": accuracy " << text(row["accuracy"]) << ", ROC-AUC "
              << text(row["roc_auc"]) << ", Brier " << text(row["brier"]) << ", Dice "
              << text(row["segmentation"]["dice"]["mean"]);
    if (row["segmentation"]["dice"]["minimum"].is_number())
    {
      char lowest[48];
      std::snprintf(lowest, sizeof(lowest), ", lowest %.3f", row["segmentation"]["dice"]["minimum"].get<double>());
      std::cout << lowest;
    }
    std::cout << '\n';
  }
  std::cout << "Research use only. Files: " << options.output << std::endl;
}
} // namespace

void
AddEvaluateCommand(CLI::App & application, int & exitCode)
{
  const auto       options = std::make_shared<EvaluateOptions>();
  CLI::App * const command = application.add_subcommand(
    "evaluate", "Score grades, masks and explanations of a cohort, as Table 1 of Pereira et al. 2018 does");
  command
    ->add_option("--cohort", options->cohort, "COHORT.csv with grade (and set), or a folder in BRATS 2017's layout")
    ->required();
  command->add_option("--split", options->split, "File that says each case's set, as brats2017_subjects_sets.py does");
  command->add_option("--set", options->set, "Which set is scored (default: test where the cohort has sets, else all)")
    ->check(CLI::IsMember({ "training", "validation", "test", "all" }));
  command->add_option("--cases", options->cases, "Score these cases alone");
  command
    ->add_option(
      "--predictions",
      options->predictions,
      "[NAME=]DIR: results of glioma grade, DIR/CASE/result.json, or of an earlier evaluation. Repeat it for "
      "more rows, which are compared")
    ->expected(1)
    ->take_all();
  command->add_option("--segmentation-model",
                      options->segmentationModel,
                      "Bundle to grade the cases with (default: the demonstration's)");
  command->add_option(
    "--grading-model", options->gradingModel, "Bundle to grade the cases with (default: the demonstration's)");
  command->add_option(
    "--tumour-masks",
    options->tumourMasks,
    "DIR/CASE/tumour.nii.gz are taken instead of a segmentation: those of another row. Beside an empty one "
    "must be its result.json without a grade");
  command->add_option("--name", options->name, "Name of the row (default: region and standardization)");
  command->add_flag(
    "--trust-model", options->trustModel, "Consent to load a model that is a program (TorchScript, .pt2)");
  command->add_option("--device", options->device, "cpu, cuda, cuda:N, or auto: a GPU where there is one")
    ->capture_default_str()
    ->check(DeviceName());
  command->add_option("--precision", options->precision, "Arithmetic of the segmentation")
    ->capture_default_str()
    ->check(CLI::IsMember({ "float32", "bfloat16" }));
  command->add_option("--threads", options->threads, "Number of threads (default: all processors)")
    ->check(CLI::Range(1, 1024));
  command->add_flag(
    "--explain",
    options->explain,
    "Study the explanations too: quality by grade and by right or wrong, mean maps, what the verdict tells");
  command->add_flag(
    "--temperature", options->temperature, "Fit a temperature on the validation set and score with it too");
  command->add_flag(
    "--store-temperature", options->storeTemperature, "Fit it and write it into the bundle of --grading-model");
  command->add_flag("--baselines",
                    options->baselines,
                    "Score two rules without a network too: a threshold of FLAIR and T2, and the share that enhances");
  command->add_flag("--allow-one-grade", options->allowOneGrade, "Go on where all cases are LGG, or all are HGG");
  command->add_option("--output", options->output, "Folder that gets evaluation.json, tables and pictures")->required();
  command->add_flag(
    "--force", options->force, "Replace an earlier evaluation; graded cases are kept where nothing changed");
  command->callback([options, &exitCode] {
    try
    {
      Evaluate(*options);
      exitCode = 0;
    }
    catch (const std::exception & error)
    {
      std::cerr << "glioma evaluate: " << WithItsList(error) << std::endl;
      exitCode = 1;
    }
  });
}
} // namespace glioma
