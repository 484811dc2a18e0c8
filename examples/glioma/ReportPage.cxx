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
#include "ReportPage.h"

#include "ReportFiles.h"
#include "ReportTemplate.h"
#include "itkMultiThreaderBase.h"
#include "itkSha256.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <optional>
#include <sstream>
#include <stdexcept>

namespace glioma
{
namespace
{
using Json = nlohmann::ordered_json;

constexpr int                pictureSide = 272;    // dots of the longer side of a slice, as in overview.png
constexpr itk::SizeValueType mostVoxels = 5000000; // of a sequence that is shown
constexpr std::size_t        mostBytes = 11000000; // of all volumes: with viewer and pictures less than 15 MB
constexpr double             boxMargin = 4.0;      // mm around the brain

/** A number with so many decimals. */
std::string
Fixed(double value, int decimals)
{
  char text[64];
  std::snprintf(text, sizeof(text), "%.*f", decimals, value);
  return text;
}

/** A number with so many significant digits. */
std::string
Significant(double value, int digits)
{
  char text[64];
  std::snprintf(text, sizeof(text), "%.*g", digits, value);
  return text;
}

std::string
Percent(double share)
{
  // A probability is never shown as certain where it is not.
  const double percent = 100.0 * std::max(share, 0.0); // sums that are rounded may end below 0
  if (share > 0.0 && percent < 0.1)
  {
    return "less than 0.1 %";
  }
  if (share < 1.0 && percent > 99.9)
  {
    return "more than 99.9 %";
  }
  // Of 0.9985 the whole per cent would be 100.
  return Fixed(percent, percent < 10.0 || (percent > 99.0 && share < 1.0) ? 1 : 0) + " %";
}

/** So many times chance, as the verdict's reasons say it: what is far below 1 is not shown as 0. */
std::string
TimesChance(double ratio)
{
  const bool isTiny = ratio > 0.0 && ratio < 0.01;
  return (isTiny ? std::string("less than 0.01") : Fixed(ratio, ratio < 1.0 ? 2 : 1)) + " times chance";
}

std::string
Millimetres(const std::array<double, 3> & sides)
{
  if (sides[0] <= 0.0 || sides[1] <= 0.0 || sides[2] <= 0.0)
  {
    return "of unknown size";
  }
  const bool isCube = std::abs(sides[0] - sides[1]) < 0.05 && std::abs(sides[0] - sides[2]) < 0.05;
  return isCube ? Fixed(sides[0], 1) + " mm a side"
                : Fixed(sides[0], 1) + " × " + Fixed(sides[1], 1) + " × " + Fixed(sides[2], 1) + " mm";
}

/** What a value of JSON looks like in a table. */
std::string
TextOf(const Json & value)
{
  if (value.is_null())
  {
    return "not defined";
  }
  if (value.is_boolean())
  {
    return value.get<bool>() ? "yes" : "no";
  }
  if (value.is_number_float())
  {
    return Significant(value.get<double>(), 4);
  }
  if (value.is_string())
  {
    return value.get<std::string>();
  }
  if (value.is_array())
  {
    std::string list;
    for (const Json & element : value)
    {
      list += (list.empty() ? "" : ", ") + TextOf(element);
    }
    return list;
  }
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

/** The beginning that all names share, up to a separator. */
std::string
SharedName(const std::vector<std::string> & names)
{
  std::string shared = names.empty() ? "" : names.front();
  for (const std::string & name : names)
  {
    const auto end = std::mismatch(shared.begin(), shared.end(), name.begin(), name.end()).first;
    shared.erase(end, shared.end());
  }
  const auto separator = shared.find_last_of("-_. ");
  shared.erase(separator == std::string::npos ? 0 : separator);
  return shared;
}

std::string
ReadFile(const std::string & path)
{
  std::ifstream      file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return file ? text.str() : std::string();
}

/** How a content security policy names a script or a style. */
std::string
DigestForPolicy(const std::string & text)
{
  const std::string hexadecimal = itk::Sha256OfMemory(text.data(), text.size());
  std::string       bytes;
  for (std::size_t i = 0; i + 1 < hexadecimal.size(); i += 2)
  {
    bytes += static_cast<char>(std::stoi(hexadecimal.substr(i, 2), nullptr, 16));
  }
  return "'sha256-" + ToBase64(bytes) + "'";
}

Json
Row(const std::string & name, const std::string & value)
{
  return { { "name", name }, { "values", Json::array({ value }) } };
}

const char *
NameOf(Plane plane)
{
  return plane == Plane::Axial ? "axial" : plane == Plane::Coronal ? "coronal" : "sagittal";
}

/** Title of a map as the quality's numbers call it: "gradcam-res3". */
std::string
TitleOfMap(const std::string & key)
{
  const std::string gradCAM = "gradcam-";
  const std::string brain = "brain-";
  return key == "brain-guided-backprop" ? "Whole brain: guided backpropagation"
         : key.rfind(brain, 0) == 0     ? "Whole brain: " + TitleOfMap(key.substr(brain.size()))
         : key.rfind(gradCAM, 0) == 0   ? "GradCAM " + key.substr(gradCAM.size())
         : key == "guided-backprop"     ? "Guided backpropagation"
                                        : key;
}

/** One of \a measures, with \a prefix before it, is called \a key. */
bool
HasMeasure(const Json & measures, const std::string & key, const std::string & prefix)
{
  return std::any_of(measures.begin(), measures.end(), [&](const Json & measure) {
    return key == prefix + measure["value"].get<std::string>();
  });
}

/** What the names of all maps of one grader begin with. */
std::string
GraderOf(const std::string & prefix)
{
  const std::string brain = "brain-";
  return prefix.rfind(brain, 0) == 0 ? brain : "";
}

/** A number of the quality, and what chance would give. */
Json
CellOf(const Json & quality, const std::string & prefix, const std::string & title, const Json & measure)
{
  Json       cell{ { "map", title }, { "value", "not defined" }, { "note", nullptr } };
  const auto number = [&](const char * role) {
    const bool isShared = std::string(role) == "chance" && measure.value("shared_chance", false);
    const auto before = isShared ? GraderOf(prefix) : prefix;
    const auto found = measure.contains(role) ? quality.find(before + measure[role].get<std::string>()) : quality.end();
    return found != quality.end() && found->is_number() ? found->get<double>() : std::nan("");
  };
  const double      value = number("value");
  const std::string format = measure["format"];
  if (std::isnan(value))
  {
    return cell;
  }
  cell["value"] = format == "percent" ? Percent(value)
                  : format == "yes"   ? std::string(value > 0.5 ? "yes" : "no")
                                      : Significant(value, 3);
  const double chance = number("chance");
  const double ratio = number("ratio");
  if (!std::isnan(chance))
  {
    cell["note"] = "by chance " + (format == "percent" ? Percent(chance) : Significant(chance, 3));
  }
  if (!std::isnan(ratio))
  {
    cell["note"] =
      (cell["note"].is_null() ? std::string() : cell["note"].get<std::string>() + ": ") + TimesChance(ratio);
  }
  return cell;
}

/** A table with a row for each measure that one of \a columns (prefix of the names and title) has. */
Json
QualityTable(const Json &                                             quality,
             const std::string &                                      title,
             const std::vector<std::pair<std::string, std::string>> & columns,
             const Json &                                             measures)
{
  Json table{ { "title", title }, { "columns", Json::array() }, { "rows", Json::array() } };
  for (const auto & column : columns)
  {
    table["columns"].push_back(column.second);
  }
  for (const Json & measure : measures)
  {
    Json row{ { "name", measure["name"] }, { "meaning", measure["meaning"] }, { "cells", Json::array() } };
    bool isThere = false;
    for (const auto & column : columns)
    {
      row["cells"].push_back(CellOf(quality, column.first, column.second, measure));
      isThere = isThere || quality.contains(column.first + measure["value"].get<std::string>());
    }
    if (isThere)
    {
      table["rows"].push_back(row);
    }
  }
  return table;
}
} // namespace

std::string
ReportPage::DefaultViewerFile()
{
  namespace fs = std::filesystem;
  std::error_code error;
  const fs::path  program = fs::read_symlink("/proc/self/exe", error);
  return (program.parent_path().parent_path() / "share" / "GliomaGrading" / "report" / GLIOMA_VIEWER_FILE).string();
}

std::string
ReportPage::ReadViewer(std::string & reason) const
{
  if (m_ViewerFile.empty())
  {
    reason = "it was made without the viewer's library.";
    return "";
  }
  const std::string library = ReadFile(m_ViewerFile);
  if (library.empty())
  {
    reason = "the viewer's library (" GLIOMA_VIEWER_NAME ") was not installed with glioma.";
    return "";
  }
  if (itk::Sha256OfMemory(library.data(), library.size()) != GLIOMA_VIEWER_SHA256)
  {
    reason =
      "the viewer's library that is installed with glioma is not " GLIOMA_VIEWER_NAME ": its SHA-256 is another one.";
    return "";
  }
  return library;
}

Json
ReportPage::DescribeResult() const
{
  Json         page;
  const Json & result = m_Result;
  std::string  name = m_CaseName;
  if (name.empty())
  {
    std::vector<std::string> files;
    for (const auto & input : result["provenance"]["inputs"].items())
    {
      if (input.key().find("mask") == std::string::npos)
      {
        files.push_back(input.value()["file"].get<std::string>());
      }
    }
    name = SharedName(files);
  }
  const bool isGraded = result["grade"].is_string();
  page["grade"] = result["grade"];
  page["case"] = name;
  page["title"] = (isGraded ? "Grade " + result["grade"].get<std::string>() : std::string("No grade")) +
                  (name.empty() ? "" : ", " + name) + " (research use only)";
  page["phantom"] = result["phantom"];
  const std::map<std::string, std::string> meanings{ { "HGG",
                                                       "High-grade glioma in the sense of BRATS 2017: glioblastoma." },
                                                     { "LGG", "Lower-grade glioma in the sense of BRATS 2017." } };
  const auto meaning = isGraded ? meanings.find(result["grade"].get<std::string>()) : meanings.end();
  page["grade_meaning"] = meaning == meanings.end() ? Json(nullptr) : Json(meaning->second);
  page["probabilities"] = Json::array();
  if (result["probabilities"].is_object())
  {
    for (const auto & probability : result["probabilities"].items())
    {
      page["probabilities"].push_back({ { "name", probability.key() },
                                        { "width", Fixed(100.0 * probability.value().get<double>(), 2) },
                                        { "percent", Percent(probability.value().get<double>()) } });
    }
  }
  page["probabilities_note"] =
    isGraded ? Json("Probabilities as the network gives them; they are not calibrated on patients.") : Json(nullptr);
  page["warnings"] = result["warnings"];
  page["research"] = result["warnings"].empty() ? Json("Research use only.") : result["warnings"].front();
  page["is_review"] = result["verdict"] != "no-flags";
  page["reasons"] = result["reasons"];
  page["verdict_is"] = result["verdict_is"];
  page["version"] = result["provenance"]["versions"]["glioma"];

  Json & facts = page["facts"] = Json::array();
  facts.push_back({ { "name", "Tumour" }, { "value", Fixed(result["tumour_volume_ml"].get<double>(), 1) + " ml" } });
  facts.push_back({ { "name", "Brain" }, { "value", Fixed(result["brain_volume_ml"].get<double>(), 0) + " ml" } });
  facts.push_back({ { "name", "Tumour mask" },
                    { "value", result["tumour_mask"] == "given" ? "given by the user" : "found by the network" } });
  if (result["roi"].is_object())
  {
    const Json & sides = result["roi"]["sides_mm"];
    facts.push_back({ { "name", "Graded region" }, { "value", Millimetres({ { sides[0], sides[1], sides[2] } }) } });
  }
  if (result["without_tumour"].is_object())
  {
    const Json & without = result["without_tumour"];
    std::string  value = "not known: " + Percent(without["filled_share"].get<double>()) + " of it has none opposite";
    if (without["probabilities"].is_object() && isGraded)
    {
      const std::string grade = result["grade"];
      value = grade + ", " + Percent(without["probabilities"][grade].get<double>());
    }
    facts.push_back({ { "name", "With healthy tissue in the tumour's place" }, { "value", value } });
  }
  if (result["whole_brain"].is_object())
  {
    const std::string grade = result["whole_brain"]["grade"];
    facts.push_back(
      { { "name", "Second grader, of the whole brain" },
        { "value", grade + ", " + Percent(result["whole_brain"]["probabilities"][grade].get<double>()) } });
  }
  return page;
}

Json
ReportPage::DescribeMaps() const
{
  Json       maps = Json::array();
  const Json brain = m_Result["whole_brain"];
  const auto ofBrain = [&brain](bool isOfBrain) {
    return isOfBrain && brain.is_object() && brain["explanation"].is_object()
             ? "Explains the class " + brain["explanation"]["class"].get<std::string>() +
                 " of the second grader, which saw the whole brain. "
             : std::string();
  };
  for (const LayerMap & layer : m_GradCAM)
  {
    maps.push_back(
      { { "title", layer.Title() },
        { "resolution", "cells of " + Millimetres(layer.Cell) },
        { "text",
          LargestValue(layer.Map) > 0.0
            ? ofBrain(layer.OfBrain) + "Where layer " + layer.Layer +
                " speaks for the class. Its cells are coarse: colours between their centres are interpolated."
            : ofBrain(layer.OfBrain) + "Empty: no cell of layer " + layer.Layer + " speaks for the class." } });
  }
  for (const GuidedMap & guided : m_Guided)
  {
    maps.push_back(
      { { "title", guided.Title() },
        { "resolution", "voxels of " + Millimetres(guided.Voxel) },
        { "text",
          ofBrain(guided.OfBrain) +
            "Which voxels of each sequence move the network's answer. It does not tell the classes apart: the map "
            "of another class looks nearly the same, so it says where the network looks and not why it chose "
            "this grade." } });
  }
  return maps;
}

Json
ReportPage::DescribeQuality() const
{
  const Json & quality = m_Result["quality"];
  if (!quality.is_object() || quality.empty())
  {
    return nullptr;
  }
  const Json terms = Json::parse(ReportFiles::QualityJson());
  const Json measures = terms["measures"];
  // The names are <map>-<measure>, <map>-<sequence>-<measure>, or <map>-label-<value>-<measure> for a region.
  std::vector<std::string> maps;
  for (const char * const prefix : { "", "brain-" })
  {
    for (const LayerMap & layer : m_GradCAM)
    {
      maps.push_back(prefix + ("gradcam-" + layer.Layer));
    }
    maps.push_back(std::string(prefix) + "guided-backprop");
  }
  using Columns = std::vector<std::pair<std::string, std::string>>;
  Columns                                      whole;
  Columns                                      images;
  Columns                                      wholeCase;
  std::vector<std::pair<std::string, Columns>> parts;
  std::vector<std::pair<std::string, Columns>> regions;
  Json                                         others = Json::array();
  const auto add = [](Columns & columns, const std::string & prefix, const std::string & title) {
    const std::pair<std::string, std::string> column(prefix, title);
    if (std::find(columns.begin(), columns.end(), column) == columns.end())
    {
      columns.push_back(column);
    }
  };
  for (const auto & number : quality.items())
  {
    const std::string & key = number.key();
    std::string         map;
    for (const std::string & candidate : maps)
    {
      map = key.rfind(candidate + '-', 0) == 0 && candidate.size() > map.size() ? candidate : map;
    }
    const std::string rest = map.empty() ? "" : key.substr(map.size() + 1);
    const std::string label = "label-";
    if (rest.rfind(label, 0) == 0)
    {
      if (regions.empty() || regions.back().first != map)
      {
        regions.emplace_back(map, Columns());
      }
      const std::string value = rest.substr(label.size(), rest.find('-', label.size()) - label.size());
      add(regions.back().second, map + '-' + label + value + '-', "Region " + value);
      continue;
    }
    std::string ending;
    for (const Json & measure : measures)
    {
      for (const char * const role : { "value", "chance", "ratio" })
      {
        const std::string name = measure.contains(role) ? measure[role].get<std::string>() : "";
        const bool        isEnd =
          rest.size() >= name.size() && rest.compare(rest.size() - name.size(), name.size(), name) == 0;
        const bool isWord = rest.size() == name.size() || (isEnd && rest[rest.size() - name.size() - 1] == '-');
        ending = isEnd && isWord && name.size() > ending.size() ? name : ending;
      }
    }
    const bool isSharedChance = std::any_of(measures.begin(), measures.end(), [&](const Json & measure) {
      return measure.value("shared_chance", false) && key == GraderOf(key) + measure["chance"].get<std::string>();
    });
    if (isSharedChance)
    {
      continue; // beside the numbers of every map
    }
    if (ending.empty())
    {
      const auto sequence = std::find_if(m_Sequences.begin(), m_Sequences.end(), [&](const Sequence & candidate) {
        return HasMeasure(terms["sequences"], key, candidate.Name + '-');
      });
      if (sequence != m_Sequences.end())
      {
        add(images, sequence->Name + '-', sequence->Name);
      }
      else if (HasMeasure(terms["case"], key, ""))
      {
        add(wholeCase, "", "This case");
      }
      else
      {
        others.push_back({ { "name", key }, { "value", TextOf(number.value()) } });
      }
    }
    else if (rest == ending)
    {
      add(whole, map + '-', TitleOfMap(map));
    }
    else
    {
      if (parts.empty() || parts.back().first != map)
      {
        parts.emplace_back(map, Columns());
      }
      const std::string part = rest.substr(0, rest.size() - ending.size() - 1);
      add(parts.back().second, map + '-' + part + '-', part);
    }
  }
  Json       page{ { "tables", Json::array() }, { "others", nullptr } };
  const auto addTable = [&](const std::string & title, const Columns & columns, const Json & rows) {
    if (!columns.empty())
    {
      page["tables"].push_back(QualityTable(quality, title, columns, rows));
    }
  };
  addTable("", whole, measures);
  for (const auto & part : parts)
  {
    addTable(TitleOfMap(part.first) + ", each part by itself", part.second, measures);
  }
  for (const auto & region : regions)
  {
    addTable(TitleOfMap(region.first) + " in the regions of --regions", region.second, terms["regions"]);
  }
  addTable("Are the sequences what they are called?", images, terms["sequences"]);
  addTable("", wholeCase, terms["case"]);
  if (!others.empty())
  {
    page["others"] = { { "numbers", others } };
  }
  return page;
}

Json
ReportPage::DescribeProvenance() const
{
  const Json & provenance = m_Result["provenance"];
  Json         sections = Json::array();
  const auto   add = [&](const std::string & title, const Json & rows, bool isOpen) {
    if (!rows.empty())
    {
      sections.push_back({ { "title", title }, { "open", isOpen }, { "rows", rows } });
    }
  };
  Json rows = Json::array();
  for (const auto & entry : provenance["models"].items())
  {
    const Json & model = entry.value();
    if (model.is_null())
    {
      continue;
    }
    Json              values = Json::array({ TextOf(model["name"]) + ' ' + TextOf(model["version"]) +
                                             (model["demonstration"] == true ? " (demonstration)" : "") });
    const std::string training = model["training_data"] == "" ? "not stated" : TextOf(model["training_data"]);
    values.push_back((training.rfind("trained on ", 0) == 0 ? "" : "trained on: ") + training);
    if (model["intended_use"] != "")
    {
      values.push_back("intended use: " + TextOf(model["intended_use"]));
    }
    values.push_back("SHA-256 " + TextOf(model["sha256"]));
    rows.push_back({ { "name", entry.key() }, { "values", values } });
  }
  add("Models", rows, true);

  rows = Json::array();
  for (const auto & input : provenance["inputs"].items())
  {
    rows.push_back(
      { { "name", input.key() },
        { "values", Json::array({ TextOf(input.value()["file"]), "SHA-256 " + TextOf(input.value()["sha256"]) }) } });
  }
  add("Inputs", rows, false);

  rows = Json::array();
  for (const auto & sequence : provenance["sequences"].items())
  {
    Json values = Json::array();
    for (const auto & number : sequence.value().items())
    {
      values.push_back(number.key() + ": " + TextOf(number.value()));
    }
    rows.push_back({ { "name", sequence.key() }, { "values", values } });
  }
  add("Preparation", rows, false);

  rows = Json::array();
  if (m_Result["registration"].is_object())
  {
    rows.push_back(Row("brought into the space of", TextOf(m_Result["registration"]["reference"])));
    for (const auto & sequence : m_Result["registration"]["sequences"].items())
    {
      Json values = Json::array();
      for (const char * const key :
           { "rotation_degrees", "translation_mm", "mean_displacement_mm", "final_metric", "overlap" })
      {
        values.push_back(std::string(key) + ": " + TextOf(sequence.value()[key]));
      }
      rows.push_back({ { "name", sequence.key() }, { "values", values } });
    }
  }
  add("Registration", rows, false);

  rows = Json::array();
  for (const auto & parameter : provenance["parameters"].items())
  {
    rows.push_back(Row(parameter.key(), TextOf(parameter.value())));
  }
  for (const auto & version : provenance["versions"].items())
  {
    rows.push_back(Row("version of " + version.key(), TextOf(version.value())));
  }
  add("Parameters and versions", rows, false);

  rows = Json::array();
  double seconds = 0.0;
  for (const Json & stage : provenance["stages"])
  {
    rows.push_back(Row(TextOf(stage["name"]), Fixed(stage["seconds"].get<double>(), 1) + " s"));
    seconds += stage["seconds"].get<double>();
  }
  rows.push_back(Row("all before this page", Fixed(seconds, 1) + " s"));
  add("Time", rows, false);
  return sections;
}

Json
ReportPage::DrawPictures() const
{
  const std::array<Plane, 3>  planes{ { Plane::Axial, Plane::Coronal, Plane::Sagittal } };
  const itk::ImageBase<3> &   grid = *m_Sequences.front().Image;
  std::map<Plane, SlicePlane> slicePlanes;
  for (const Plane kind : planes)
  {
    slicePlanes[kind] = FindSlicePlane(kind, grid, m_Brain, m_Tumour, pictureSide);
  }
  std::vector<GreyWindow> windows;
  for (const Sequence & sequence : m_Sequences)
  {
    windows.push_back(FindGreyWindow(sequence.Image, m_Brain));
  }
  const bool hasTumour = m_Tumour && BoxOf(m_Tumour, 0.0).GetNumberOfPixels() > 0;
  const auto slice = [&](const SlicePlane & plane,
                         std::size_t        sequence,
                         const LayerMap *   layer,
                         double             largest,
                         const GuidedMap *  guided,
                         double             scale) {
    Canvas canvas(plane.Width, plane.Height);
    DrawSequence(canvas, 0, 0, plane, m_Sequences[sequence].Image, m_Brain, windows[sequence]);
    if (layer)
    {
      DrawHeat(canvas, 0, 0, plane, layer->Map, largest);
      if (layer->Support)
      {
        DrawOutline(canvas, 0, 0, plane, layer->Support, whiteColour, true);
      }
    }
    else if (guided && scale > 0.0)
    {
      DrawSigned(canvas, 0, 0, plane, guided->Map, static_cast<unsigned int>(sequence), scale);
    }
    if (m_Tumour)
    {
      DrawOutline(canvas, 0, 0, plane, m_Tumour, outlineColour, false);
    }
    DrawSides(canvas, 0, 0, plane);
    const SlicePlane & ofTumour = slicePlanes.at(plane.Kind);
    const bool         isCut = hasTumour && plane.Lower[plane.SliceAxis] == ofTumour.Lower[plane.SliceAxis];
    const std::string  caption = m_Sequences[sequence].Name + ", " + NameOf(plane.Kind);
    return Json{ { "data", "data:image/png;base64," + ToBase64(canvas.ToPng()) },
                 { "width", plane.Width },
                 { "height", plane.Height },
                 { "caption", caption },
                 { "alt",
                   caption + " slice" +
                     (layer    ? " with " + layer->Title()
                      : guided ? " with " + guided->Title()
                               : "") +
                     (isCut ? ", with the tumour's outline" : "") } };
  };
  // A map of the whole brain may lie far from the tumour: it is shown where it is largest.
  const itk::ImageRegion<3> inView = RegionOfFrames(slicePlanes.at(Plane::Axial), slicePlanes.at(Plane::Coronal));
  const auto                findElsewhere =
    [&](const auto * map, const auto & tried, const auto & isSeen) -> std::optional<itk::Index<3>> {
    for (const Plane plane : tried)
    {
      if (isSeen(slicePlanes.at(plane)))
      {
        return std::nullopt;
      }
    }
    const auto peak = FindPeak(map, inView);
    return isSeen(Through(slicePlanes.at(Plane::Axial), peak)) ? std::optional<itk::Index<3>>(peak) : std::nullopt;
  };
  const auto describeElsewhere =
    [&grid](const std::string & slicesAbove, const std::string & here, const itk::Index<3> & peak) {
      itk::Point<double, 3> place;
      grid.TransformIndexToPhysicalPoint(peak, place);
      return " Hardly anything of this map lies on the " + slicesAbove + " of the sequences above; " + here +
             " through its largest value in view, at (" + Fixed(place[0], 1) + ", " + Fixed(place[1], 1) + ", " +
             Fixed(place[2], 1) + ") mm LPS.";
    };

  Json pictures = Json::array();
  Json slices = Json::array();
  for (const Plane plane : planes)
  {
    for (std::size_t i = 0; i < m_Sequences.size(); ++i)
    {
      slices.push_back(slice(slicePlanes.at(plane), i, nullptr, 0.0, nullptr, 0.0));
    }
  }
  pictures.push_back({ { "title", "Sequences" }, { "text", nullptr }, { "scale", nullptr }, { "slices", slices } });
  // Contrast-enhanced T1 shows the tumour's parts best.
  const std::size_t ground = m_Sequences.size() > 1 ? 1 : 0;
  for (const LayerMap & layer : m_GradCAM)
  {
    const double largest = LargestValue(layer.Map);
    const auto   elsewhere = findElsewhere(
      layer.Map.GetPointer(), planes, [&](const SlicePlane & plane) { return IsSeenOn(plane, layer.Map, largest); });
    slices = Json::array();
    for (const Plane plane : planes)
    {
      const SlicePlane & shown = slicePlanes.at(plane);
      slices.push_back(slice(elsewhere ? Through(shown, *elsewhere) : shown, ground, &layer, largest, nullptr, 0.0));
    }
    pictures.push_back(
      { { "title", layer.Title() },
        { "text",
          "Cells of " + Millimetres(layer.Cell) + (largest > 0.0 ? "." : "; the map is empty.") +
            (elsewhere ? describeElsewhere("slices", "the slices here go", *elsewhere) : std::string()) },
        { "scale", { { "heat", true }, { "signed", false }, { "largest", Significant(largest, 3) } } },
        { "slices", slices } });
  }
  for (const GuidedMap & guided : m_Guided)
  {
    const double       scale = GuidedScale(guided.Map);
    const SlicePlane & axial = slicePlanes.at(Plane::Axial);
    const auto         elsewhere =
      findElsewhere(guided.Map.GetPointer(), std::array<Plane, 1>{ { Plane::Axial } }, [&](const SlicePlane & plane) {
        bool seen = false;
        for (unsigned int c = 0; c < guided.Map->GetNumberOfComponentsPerPixel(); ++c)
        {
          seen = seen || IsSeenOn(plane, guided.Map, c, scale);
        }
        return seen;
      });
    slices = Json::array();
    for (std::size_t i = 0; i < m_Sequences.size(); ++i)
    {
      slices.push_back(slice(elsewhere ? Through(axial, *elsewhere) : axial, i, nullptr, 0.0, &guided, scale));
    }
    pictures.push_back(
      { { "title", guided.Title() },
        { "text",
          "Each sequence has its own map. It does not tell the classes apart." +
            (elsewhere ? describeElsewhere("axial slice", "the slice here goes", *elsewhere) : std::string()) },
        { "scale", { { "heat", false }, { "signed", true }, { "largest", Significant(scale, 3) } } },
        { "slices", slices } });
  }
  return pictures;
}

Json
ReportPage::PackVolumes(itk::SizeValueType voxels) const
{
  const itk::ImageBase<3> & image = *m_Sequences.front().Image;
  ReportGrid                grid;
  grid.Box = BoxOf(m_Brain, boxMargin);
  if (grid.NumberOfVoxels() == 0)
  {
    grid.Box = image.GetLargestPossibleRegion();
  }
  Coarsen(grid, image, voxels);
  const auto partOf = [&](const ReportMaskType * mask) {
    // Where a map is 0 nothing is stored; the blocks stay those of the whole.
    ReportGrid part = grid;
    const auto box = mask ? BoxOf(mask, 0.0) : grid.Box;
    for (unsigned int d = 0; d < 3 && box.GetNumberOfPixels() > 0; ++d)
    {
      const auto block = static_cast<itk::IndexValueType>(grid.Block[d]);
      const auto first = grid.Box.GetIndex(d);
      const auto lower = first + std::max<itk::IndexValueType>(0, box.GetIndex(d) - first) / block * block;
      const auto upper = std::min(grid.Box.GetUpperIndex()[d], box.GetUpperIndex()[d]);
      if (upper >= lower)
      {
        part.Box.SetIndex(d, lower);
        part.Box.SetSize(d, static_cast<itk::SizeValueType>(upper - lower + 1));
      }
    }
    return part;
  };

  Json volumes;
  volumes["spacing"] = Json::array();
  for (unsigned int d = 0; d < 3; ++d)
  {
    volumes["spacing"].push_back(image.GetSpacing()[d] * grid.Block[d]);
  }
  volumes["coarsened"] = grid.Block != std::array<unsigned int, 3>{ { 1, 1, 1 } };
  volumes["sequences"] = Json::array();
  volumes["overlays"] = Json::array();
  // Each volume is packed by itself, on all processors.
  std::vector<std::function<std::string()>> tasks;
  std::vector<Json::json_pointer>           places;
  const auto add = [&](const char * list, std::size_t index, const std::function<std::string()> & task) {
    volumes[list].back()["data"].push_back(nullptr);
    places.push_back(Json::json_pointer() / list / (volumes[list].size() - 1) / "data" / index);
    tasks.push_back(task);
  };
  const auto addOverlay = [&](const std::string & name, const char * kind, double largest) {
    volumes["overlays"].push_back({ { "name", name },
                                    { "kind", kind },
                                    { "largest", largest },
                                    { "largest_text", Significant(largest, 3) }, // as the slices' scale has it
                                    { "data", Json::array() } });
  };
  for (const Sequence & sequence : m_Sequences)
  {
    const GreyWindow shown = FindGreyWindow(sequence.Image, m_Brain);
    volumes["sequences"].push_back(
      { { "name", sequence.Name }, { "low", shown.Low }, { "high", shown.High }, { "data", Json::array() } });
    add("sequences", 0, [this, &grid, image = sequence.Image.GetPointer()] {
      const GreyWindow stored = FindGreyWindow(image, m_Brain, 0.0005, 0.9995);
      return PackSequence(image, m_Brain, grid, stored.Low, stored.High);
    });
  }
  if (m_Tumour && BoxOf(m_Tumour, 0.0).GetNumberOfPixels() > 0)
  {
    addOverlay("Tumour outline", "outline", 1.0);
    add("overlays", 0, [this, part = partOf(m_Tumour)] { return PackMask(m_Tumour, part, true); });
  }
  for (const LayerMap & layer : m_GradCAM)
  {
    const double largest = LargestValue(layer.Map);
    if (largest > 0.0)
    {
      addOverlay(layer.Title(), "heat", largest);
      add("overlays", 0, [map = layer.Map.GetPointer(), part = partOf(layer.Support), largest] {
        return PackMap(map, part, largest);
      });
    }
  }
  for (const GuidedMap & guided : m_Guided)
  {
    const double scale = GuidedScale(guided.Map);
    if (!(scale > 0.0))
    {
      continue;
    }
    auto          reached = ReportMaskType::New();
    const auto    components = guided.Map->GetNumberOfComponentsPerPixel();
    const float * value = guided.Map->GetBufferPointer();
    reached->CopyInformation(guided.Map);
    reached->SetRegions(guided.Map->GetBufferedRegion());
    reached->Allocate();
    const auto number = guided.Map->GetBufferedRegion().GetNumberOfPixels();
    for (itk::SizeValueType i = 0; i < number; ++i, value += components)
    {
      reached->GetBufferPointer()[i] = std::any_of(value, value + components, [](float v) { return v != 0.0f; });
    }
    const ReportGrid part = partOf(reached);
    addOverlay(guided.Title(), "signed", scale);
    for (unsigned int c = 0; c < components; ++c)
    {
      add(
        "overlays", c, [map = guided.Map.GetPointer(), part, c, scale] { return PackSignedMap(map, c, part, scale); });
    }
  }
  std::vector<std::string> packed(tasks.size());
  itk::MultiThreaderBase::New()->ParallelizeArray(
    0, tasks.size(), [&](itk::SizeValueType i) { packed[i] = tasks[i](); }, nullptr);
  for (std::size_t i = 0; i < packed.size(); ++i)
  {
    volumes[places[i]] = std::move(packed[i]);
  }

  // The place where the static slices cross, in the millimetres of NIfTI.
  itk::ContinuousIndex<double, 3> at;
  for (const Plane kind : { Plane::Axial, Plane::Coronal, Plane::Sagittal })
  {
    const SlicePlane plane = FindSlicePlane(kind, image, m_Brain, m_Tumour, pictureSide);
    at[plane.SliceAxis] = static_cast<double>(plane.Lower[plane.SliceAxis]);
  }
  itk::Point<double, 3> place;
  image.TransformContinuousIndexToPhysicalPoint(at, place);
  volumes["start"] = Json::array({ -place[0], -place[1], place[2] });
  Json & heat = volumes["heat"];
  for (int i = 0; i <= 4; ++i)
  {
    const ColourType colour = HeatColour(i / 4.0);
    heat["I"].push_back(std::lround(255.0 * i / 4.0));
    heat["R"].push_back(std::lround(colour[0]));
    heat["G"].push_back(std::lround(colour[1]));
    heat["B"].push_back(std::lround(colour[2]));
  }
  return volumes;
}

void
ReportPage::Write(const std::string & path) const
{
  if (m_Sequences.empty() || m_Brain.IsNull())
  {
    throw std::runtime_error("The report needs the sequences and the brain mask.");
  }
  std::map<std::string, std::string> parts;
  std::string                        reason;
  const std::string                  library = this->ReadViewer(reason);
  parts["style"] = ReportFiles::PageCss();
  parts["script"] = ReportFiles::PageJs();
  parts["library"] = library;
  parts["volumes"] = "";

  Json page = this->DescribeResult();
  page["pictures"] = this->DrawPictures();
  page["maps"] = this->DescribeMaps();
  page["has_maps"] = !page["maps"].empty();
  page["has_tumour"] = m_Tumour && BoxOf(m_Tumour, 0.0).GetNumberOfPixels() > 0;
  page["explanation"] = page["maps"].empty() || !m_Result["explanation"].is_object()
                          ? Json(nullptr)
                          : Json{ { "class", m_Result["explanation"]["class"] } };
  page["quality"] = this->DescribeQuality();
  page["provenance"] = this->DescribeProvenance();
  page["viewer"] = nullptr;
  page["viewer_missing"] = reason;
  std::string gridNote;
  if (m_Result["registration"].is_object())
  {
    const auto spacing = m_Sequences.front().Image->GetSpacing();
    gridNote = "All sequences are shown on the grid of the grading, in the space of " +
               TextOf(m_Result["registration"]["reference"]) + " with voxels of " +
               Millimetres({ { spacing[0], spacing[1], spacing[2] } }) +
               "; the files beside this page are on the grids of the sequences themselves. ";
  }
  for (Json & picture : page["pictures"])
  {
    picture["open"] = library.empty() || picture["title"] == "Sequences";
  }
  std::string scripts = DigestForPolicy(parts["script"]);
  if (!library.empty())
  {
    page["viewer"] = { { "name", GLIOMA_VIEWER_NAME }, { "licence", ReportFiles::ViewerLicence() } };
    scripts += ' ' + DigestForPolicy(library);
    itk::SizeValueType voxels = mostVoxels;
    Json               volumes = this->PackVolumes(voxels);
    parts["volumes"] = JsonForScript(volumes);
    while (parts["volumes"].size() > mostBytes && voxels > 100000)
    {
      voxels = voxels * 7 / 10;
      volumes = this->PackVolumes(voxels);
      parts["volumes"] = JsonForScript(volumes);
    }
    if (volumes["coarsened"] == true)
    {
      const Json & spacing = volumes["spacing"];
      gridNote += "The interactive view shows means over voxels of " +
                  Millimetres({ { spacing[0], spacing[1], spacing[2] } }) +
                  " to keep this page small; the files beside it have every voxel.";
    }
  }
  page["grid_note"] = gridNote.empty() ? Json(nullptr) : Json(gridNote);
  parts["policy"] = "default-src 'none'; script-src " + scripts + "; style-src " + DigestForPolicy(parts["style"]) +
                    "; img-src data:; connect-src 'none'; base-uri 'none'; form-action 'none'";

  std::ofstream file(path, std::ios::binary);
  file << FillTemplate(ReportFiles::PageHtml(), page, parts);
  file.close();
  if (!file)
  {
    throw std::runtime_error("Cannot write report.html; free some space, or choose another --output.");
  }
}
} // namespace glioma
