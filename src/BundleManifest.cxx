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
#include "BundleManifest.h"

#include "DiskFlush.h"
#include "itkSha256.h"

#include "itkMacro.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <limits>
#include <numeric>

namespace itk
{
namespace
{
using Json = nlohmann::json;
namespace fs = std::filesystem;

constexpr std::uintmax_t MaximumManifestBytes = 4u << 20;
constexpr int            MaximumManifestDepth = 64;
constexpr std::size_t    MaximumListLength = 4096;
constexpr std::size_t    MaximumChannels = 256;

/** One JSON object and where it stands, so that a message can say which value of which file is wrong. */
class Section
{
public:
  Section(const Json & json, std::string file, std::string place)
    : m_Json(json)
    , m_File(std::move(file))
    , m_Place(std::move(place))
  {
    if (!m_Json.is_object())
    {
      itkGenericExceptionMacro("'" << m_File << "': " << (m_Place.empty() ? "the file" : m_Place)
                                   << " must be a JSON object, it is " << Shown(m_Json));
    }
  }

  [[noreturn]] void
  Refuse(const std::string & key, const std::string & expected) const
  {
    itkGenericExceptionMacro("'" << m_File << "': " << Name(key) << " must be " << expected << ", it is "
                                 << Shown(m_Json.contains(key) ? m_Json.at(key) : Json()));
  }

  const Json *
  Find(const char * key) const
  {
    const auto found = m_Json.find(key);
    return found == m_Json.end() || found->is_null() ? nullptr : &*found;
  }

  Section
  Inner(const char * key) const
  {
    static const Json empty = Json::object();
    const Json *      value = Find(key);
    return Section(value ? *value : empty, m_File, Name(key));
  }

  void
  Read(const char * key, std::string & target) const
  {
    if (const Json * value = Find(key))
    {
      if (!value->is_string() || value->get_ref<const std::string &>().size() > 65536)
      {
        Refuse(key, "a text");
      }
      target = value->get<std::string>();
    }
  }

  void
  ReadOneOf(const char * key, std::string & target, std::initializer_list<const char *> allowed) const
  {
    Read(key, target);
    if (Find(key) == nullptr)
    {
      return;
    }
    std::string list;
    for (const char * one : allowed)
    {
      if (target == one)
      {
        return;
      }
      list += std::string(list.empty() ? "'" : ", '") + one + "'";
    }
    Refuse(key, "one of " + list);
  }

  void
  Read(const char * key, bool & target) const
  {
    if (const Json * value = Find(key))
    {
      if (!value->is_boolean())
      {
        Refuse(key, "true or false");
      }
      target = value->get<bool>();
    }
  }

  void
  Read(const char * key, double & target, double low, double high) const
  {
    if (const Json * value = Find(key))
    {
      target = Number(key, *value, low, high);
    }
  }

  template <typename TInteger>
  void
  ReadWhole(const char * key, TInteger & target, std::uint64_t low, std::uint64_t high) const
  {
    if (const Json * value = Find(key))
    {
      target = static_cast<TInteger>(Whole(key, *value, low, high));
    }
  }

  void
  ReadVector(const char * key, std::array<double, 3> & target, double low, double high) const
  {
    if (const Json * value = Find(key))
    {
      CheckTriple(key, *value);
      for (unsigned int i = 0; i < 3; ++i)
      {
        target[i] = Number(key, (*value)[i], low, high);
      }
    }
  }

  void
  ReadVector(const char * key, std::array<unsigned int, 3> & target, unsigned int high) const
  {
    if (const Json * value = Find(key))
    {
      CheckTriple(key, *value);
      for (unsigned int i = 0; i < 3; ++i)
      {
        target[i] = static_cast<unsigned int>(Whole(key, (*value)[i], 0, high));
      }
    }
  }

  void
  ReadList(const char * key, std::vector<double> & target) const
  {
    if (const Json * value = Find(key))
    {
      CheckList(key, *value);
      target.clear();
      for (const Json & one : *value)
      {
        target.push_back(Number(key, one, -1e30, 1e30));
      }
    }
  }

  void
  ReadList(const char * key, std::vector<std::string> & target) const
  {
    if (const Json * value = Find(key))
    {
      CheckList(key, *value);
      target.clear();
      for (const Json & one : *value)
      {
        if (!one.is_string())
        {
          Refuse(key, "a list of texts");
        }
        target.push_back(one.get<std::string>());
      }
    }
  }

  std::vector<Section>
  List(const char * key) const
  {
    std::vector<Section> sections;
    if (const Json * value = Find(key))
    {
      CheckList(key, *value);
      for (const Json & one : *value)
      {
        sections.emplace_back(one, m_File, Name(key) + "[" + std::to_string(sections.size()) + "]");
      }
    }
    return sections;
  }

  /** MONAI's spatial_shape, in the order of the tensor's axes: whole numbers are the patch, "8*n" the grid of sizes;
   * anything else says nothing. */
  void
  ReadShape(std::array<unsigned int, 3> & patch, unsigned int & step) const
  {
    const Json * shape = Find("spatial_shape");
    if (shape == nullptr || !shape->is_array() || shape->size() != 3)
    {
      return;
    }
    for (unsigned int i = 0; i < 3; ++i)
    {
      const Json & one = (*shape)[i];
      if (one.is_number())
      {
        patch[i] = static_cast<unsigned int>(Whole("spatial_shape", one, 1, 4096));
      }
      else if (one.is_string())
      {
        const std::string text = one.get<std::string>();
        const std::size_t digits = text.find_first_not_of("0123456789");
        if (digits > 0 && digits < 5 && text.substr(digits) == "*n")
        {
          step = std::lcm(step, std::max(1u, static_cast<unsigned int>(std::stoul(text))));
        }
      }
    }
  }

  /** MONAI's channel_def: {"0": "T1", "1": ...}. */
  void
  ReadChannels(std::vector<std::string> & target) const
  {
    const Json * definition = Find("channel_def");
    if (definition == nullptr)
    {
      return;
    }
    if (!definition->is_object() || definition->size() > MaximumChannels)
    {
      Refuse("channel_def", "an object of at most " + std::to_string(MaximumChannels) + " channels");
    }
    std::vector<std::string> names;
    for (std::size_t i = 0; i < definition->size(); ++i)
    {
      const auto found = definition->find(std::to_string(i));
      if (found == definition->end() || !found->is_string())
      {
        Refuse("channel_def", "an object with the keys 0 to " + std::to_string(definition->size() - 1));
      }
      names.push_back(found->get<std::string>());
    }
    if (const Json * count = Find("num_channels"))
    {
      const std::uint64_t said = Whole("num_channels", *count, 1, MaximumChannels);
      if (said != names.size())
      {
        itkGenericExceptionMacro("'" << m_File << "': " << Name("num_channels") << " is " << said
                                     << ", but channel_def names " << names.size() << " channels");
      }
    }
    target = names;
  }

private:
  static std::string
  Shown(const Json & value)
  {
    std::string text = value.is_null() ? "absent" : value.dump(-1, ' ', true, Json::error_handler_t::replace);
    return text.size() > 80 ? text.substr(0, 77) + "..." : text;
  }

  std::string
  Name(const std::string & key) const
  {
    return m_Place.empty() ? key : m_Place + "." + key;
  }

  double
  Number(const char * key, const Json & value, double low, double high) const
  {
    if (!value.is_number() || !(value.get<double>() >= low && value.get<double>() <= high))
    {
      std::ostringstream expected;
      expected << "a number from " << low << " to " << high;
      Refuse(key, expected.str());
    }
    return value.get<double>();
  }

  std::uint64_t
  Whole(const char * key, const Json & value, std::uint64_t low, std::uint64_t high) const
  {
    if (!value.is_number_unsigned() || value.get<std::uint64_t>() < low || value.get<std::uint64_t>() > high)
    {
      Refuse(key, "a whole number from " + std::to_string(low) + " to " + std::to_string(high));
    }
    return value.get<std::uint64_t>();
  }

  void
  CheckTriple(const char * key, const Json & value) const
  {
    if (!value.is_array() || value.size() != 3)
    {
      Refuse(key, "a list of three numbers (x, y, z)");
    }
  }

  void
  CheckList(const char * key, const Json & value) const
  {
    if (!value.is_array() || value.size() > MaximumListLength)
    {
      Refuse(key, "a list of at most " + std::to_string(MaximumListLength) + " entries");
    }
  }

  const Json & m_Json;
  std::string  m_File;
  std::string  m_Place;
};

Json
ReadJson(const fs::path & path)
{
  std::error_code      error;
  const std::uintmax_t bytes = fs::is_regular_file(path, error) ? fs::file_size(path, error) : 0;
  std::ifstream        file(bytes > 0 ? path : fs::path(), std::ios::binary); // a pipe would wait for ever
  if (error || !file)
  {
    itkGenericExceptionMacro("The manifest '" << path.string() << "' cannot be opened: is this a model bundle?");
  }
  if (bytes > MaximumManifestBytes)
  {
    itkGenericExceptionMacro("The manifest '" << path.string() << "' has " << bytes << " bytes; at most "
                                              << MaximumManifestBytes << " are read");
  }
  std::string text(bytes, '\0');
  if (!file.read(text.data(), static_cast<std::streamsize>(bytes)))
  {
    itkGenericExceptionMacro("Reading the manifest '" << path.string() << "' failed");
  }
  try
  {
    // All that goes through it later calls itself.
    const auto isShallow = [&path](int depth, Json::parse_event_t, Json &) {
      if (depth > MaximumManifestDepth)
      {
        itkGenericExceptionMacro("The manifest '" << path.string() << "' is nested more than " << MaximumManifestDepth
                                                  << " deep");
      }
      return true;
    };
    return Json::parse(text, isShallow);
  }
  catch (const Json::exception & e)
  {
    itkGenericExceptionMacro("The manifest '" << path.string() << "' is not valid JSON: " << e.what());
  }
}

/** Names are shown to people, and results are stored under them. */
void
CheckNames(const std::vector<std::string> & names, const std::string & file, const std::string & what)
{
  constexpr std::size_t longest = 200;
  for (auto name = names.begin(); name != names.end(); ++name)
  {
    const bool isPlain = !name->empty() && name->size() <= longest &&
                         std::none_of(name->begin(), name->end(), [](unsigned char c) { return c < 32 || c == 127; }) &&
                         // The controls of Latin-1, in UTF-8.
                         std::adjacent_find(name->begin(), name->end(), [](unsigned char a, unsigned char b) {
                           return a == 0xc2 && b >= 0x80 && b < 0xa0;
                         }) == name->end();
    if (!isPlain || std::find(names.begin(), name, *name) != name)
    {
      itkGenericExceptionMacro("'" << file << "': the " << what << " number " << name - names.begin()
                                   << (isPlain ? " has the name of another one" : " has no name that can be shown")
                                   << "; give each a name of its own, of 1 to " << longest
                                   << " bytes without control characters");
    }
  }
}

/** Adds what the sidecar says to what the metadata says; the same key with another value is a contradiction. */
void
Merge(Json & into, const Json & from, const std::string & place, const std::string & first, const std::string & second)
{
  for (const auto & [key, value] : from.items())
  {
    const auto        found = into.find(key);
    const std::string name = place.empty() ? key : place + "." + key;
    if (found == into.end())
    {
      into[key] = value;
    }
    else if (found->is_object() && value.is_object())
    {
      Merge(*found, value, name, first, second);
    }
    else if (*found != value)
    {
      itkGenericExceptionMacro("'" << first << "' and '" << second << "' contradict each other in " << name);
    }
  }
}

/** The real path of a file that must lie inside the bundle. */
fs::path
PathInsideBundle(const std::string & bundle, const std::string & relative)
{
  const fs::path path(relative);
  bool           leaves = relative.empty() || path.is_absolute() || path.has_root_path() ||
                relative.find('\0') != std::string::npos || relative.find('\\') != std::string::npos;
  for (const fs::path & part : path)
  {
    leaves = leaves || part == "..";
  }
  if (leaves)
  {
    itkGenericExceptionMacro("The bundle '" << bundle << "' names the file '" << relative
                                            << "', which does not lie inside the bundle");
  }
  std::error_code error;
  const fs::path  root = fs::canonical(bundle, error);
  if (error)
  {
    itkGenericExceptionMacro("The bundle '" << bundle << "' cannot be opened: " << error.message());
  }
  const fs::path real = fs::canonical(root / path, error);
  if (error)
  {
    itkGenericExceptionMacro("The bundle '" << bundle << "' has no file '" << relative << "': " << error.message());
  }
  const fs::path inside = real.lexically_relative(root);
  if (inside.empty() || *inside.begin() == "..")
  {
    itkGenericExceptionMacro("The bundle '" << bundle << "' names the file '" << relative << "', which leads out to '"
                                            << real.string() << "'");
  }
  return real;
}

Json
ChannelDefinition(const std::vector<std::string> & names)
{
  Json definition = Json::object();
  for (std::size_t i = 0; i < names.size(); ++i)
  {
    definition[std::to_string(i)] = names[i];
  }
  return definition;
}

void
PutText(Json & json, const char * key, const std::string & value)
{
  if (!value.empty())
  {
    json[key] = value;
  }
}

bool
IsSame(const TorchModelManifest::TrainingCase & a, const TorchModelManifest::TrainingCase & b)
{
  return a.Case == b.Case && a.Licence == b.Licence && a.Attribution == b.Attribution;
}

bool
IsSame(const TorchLayerGeometry & a, const TorchLayerGeometry & b)
{
  return a.Layer == b.Layer && a.Offset == b.Offset && a.Step == b.Step;
}

template <typename T>
bool
IsSame(const T & a, const T & b)
{
  return a == b;
}

template <typename T>
bool
IsSame(const std::vector<T> & a, const std::vector<T> & b)
{
  return std::equal(
    a.begin(), a.end(), b.begin(), b.end(), [](const T & one, const T & other) { return IsSame(one, other); });
}

/** Calls \a visit with the key and the member of everything that a manifest says. */
template <typename TVisit>
void
VisitMembers(const TVisit & visit)
{
  visit("name", &TorchModelManifest::Name);
  visit("version", &TorchModelManifest::Version);
  visit("intended_use", &TorchModelManifest::IntendedUse);
  visit("task", &TorchModelManifest::Task);
  visit("network.name", &TorchModelManifest::Network);
  visit("network.width", &TorchModelManifest::Width);
  visit("network.groups", &TorchModelManifest::Groups);
  visit("network.levels", &TorchModelManifest::Levels);
  visit("network.padded", &TorchModelManifest::Padded);
  visit("channels", &TorchModelManifest::ChannelNames);
  visit("classes", &TorchModelManifest::ClassNames);
  visit("output_activation", &TorchModelManifest::OutputActivation);
  visit("axis_order", &TorchModelManifest::AxisOrder);
  visit("orientation", &TorchModelManifest::Orientation);
  visit("spacing", &TorchModelManifest::Spacing);
  visit("preparation.bias_correction", &TorchModelManifest::BiasCorrection);
  visit("preparation.lower_quantile", &TorchModelManifest::LowerQuantile);
  visit("preparation.upper_quantile", &TorchModelManifest::UpperQuantile);
  visit("preparation.standardization", &TorchModelManifest::Standardization);
  visit("preparation.outside_value", &TorchModelManifest::OutsideValue);
  visit("region.of", &TorchModelManifest::Region);
  visit("region.fit_mode", &TorchModelManifest::FitMode);
  visit("region.margin", &TorchModelManifest::Margin);
  visit("region.output_size", &TorchModelManifest::OutputSize);
  visit("region.minimum_component_share", &TorchModelManifest::MinimumComponentShare);
  visit("temperature", &TorchModelManifest::Temperature);
  visit("patch_size", &TorchModelManifest::PatchSize);
  visit("halo", &TorchModelManifest::Halo);
  visit("tile_step", &TorchModelManifest::TileStep);
  visit("layers", &TorchModelManifest::Layers);
  visit("weights.file", &TorchModelManifest::WeightsFile);
  visit("weights.bytes", &TorchModelManifest::WeightsBytes);
  visit("weights.sha256", &TorchModelManifest::WeightsSha256);
  visit("weights.instruction_set", &TorchModelManifest::InstructionSet);
  visit("training.data", &TorchModelManifest::TrainingData);
  visit("training.cases", &TorchModelManifest::TrainingCases);
  visit("training.validation", &TorchModelManifest::ValidationCases);
  visit("licence", &TorchModelManifest::Licence);
  visit("demonstration", &TorchModelManifest::Demonstration);
  visit("golden.seed", &TorchModelManifest::GoldenSeed);
  visit("golden.size", &TorchModelManifest::GoldenSize);
  visit("golden.output", &TorchModelManifest::GoldenOutput);
}

/** Takes from what was set what a bundle leaves open; throws where both say something else. */
void
CompleteManifest(TorchModelManifest & manifest, const TorchModelManifest & given, const std::string & path)
{
  const TorchModelManifest open;
  const auto               refuse = [&path](const char * name) {
    itkGenericExceptionMacro("The bundle '" << path << "' and SetManifest() contradict each other in " << name
                                            << ": leave it out of SetManifest()");
  };
  // A bundle that names its network leaves open neither whether that pads nor how many networks lie beside each other.
  if (given.Padded && !manifest.Padded && !manifest.Network.empty())
  {
    refuse("network.padded");
  }
  if (given.Groups != 1 && manifest.Groups == 1 && !manifest.Network.empty())
  {
    refuse("network.groups");
  }
  VisitMembers([&](const char * name, const auto member) {
    if (IsSame(given.*member, open.*member))
    {
      return;
    }
    if (!IsSame(manifest.*member, open.*member) && !IsSame(manifest.*member, given.*member))
    {
      refuse(name);
    }
    manifest.*member = given.*member;
  });
}
} // namespace

bool
IsSameManifest(const TorchModelManifest & a, const TorchModelManifest & b)
{
  bool isSame = true;
  VisitMembers([&](const char *, const auto member) { isSame = isSame && IsSame(a.*member, b.*member); });
  return isSame;
}

TorchModelManifest
ReadBundleManifest(const std::string & bundle, const TorchModelManifest & given)
{
  if (!fs::exists(fs::path(bundle) / "configs/metadata.json"))
  {
    itkGenericExceptionMacro("The folder '" << bundle << "' is not a model bundle: it has no configs/metadata.json");
  }
  const fs::path metadataPath = PathInsideBundle(bundle, "configs/metadata.json");
  const Json     metadata = ReadJson(metadataPath);
  const Section  top(metadata, metadataPath.string(), "");

  TorchModelManifest manifest;
  top.Read("name", manifest.Name);
  top.Read("version", manifest.Version);
  top.Read("intended_use", manifest.IntendedUse);

  const Section format = top.Inner("network_data_format");
  const Section image = format.Inner("inputs").Inner("image");
  const Section prediction = format.Inner("outputs").Inner("pred");
  image.ReadChannels(manifest.ChannelNames);
  prediction.ReadChannels(manifest.ClassNames);
  std::string type;
  image.ReadOneOf("dtype", type, { "float32" });

  Json        own = metadata.contains("gliomagrading") ? metadata["gliomagrading"] : Json::object();
  std::string place = "gliomagrading";
  std::string ownFile = metadataPath.string();
  if (fs::exists(fs::path(bundle) / "gliomagrading.json"))
  {
    const fs::path sidecar = PathInsideBundle(bundle, "gliomagrading.json");
    const Json     more = ReadJson(sidecar);
    const Section  checkOwn(own, ownFile, place);
    const Section  checkMore(more, sidecar.string(), "");
    Merge(own, more, "", metadataPath.string(), sidecar.string());
    ownFile += "' or '" + sidecar.string();
  }
  const Section ours(own, ownFile, place);
  unsigned int  layout = 1;
  ours.ReadWhole("layout", layout, 1, 1);
  ours.ReadOneOf("task", manifest.Task, { "segmentation", "grading" });
  const Section network = ours.Inner("network");
  network.Read("name", manifest.Network);
  network.ReadWhole("width", manifest.Width, 1, 1024);
  network.ReadWhole("groups", manifest.Groups, 1, 1024);
  network.ReadWhole("levels", manifest.Levels, 0, 6);
  network.Read("padded", manifest.Padded);
  std::vector<std::string> channels;
  std::vector<std::string> classes;
  ours.ReadList("channels", channels);
  ours.ReadList("classes", classes);
  const auto reconcile =
    [&](const char * what, std::vector<std::string> & names, const std::vector<std::string> & said) {
      if (!said.empty() && !names.empty() && said.size() != names.size())
      {
        itkGenericExceptionMacro("'" << ownFile << "': " << place << "." << what << " names " << said.size()
                                     << ", network_data_format names " << names.size());
      }
      if (!said.empty())
      {
        names = said;
      }
    };
  reconcile("channels", manifest.ChannelNames, channels);
  reconcile("classes", manifest.ClassNames, classes);
  CheckNames(manifest.ChannelNames, ownFile, "channel");
  CheckNames(manifest.ClassNames, ownFile, "class");
  ours.ReadOneOf("output_activation", manifest.OutputActivation, { "logits", "softmax", "sigmoid", "sigmoid-logits" });
  ours.ReadOneOf("axis_order", manifest.AxisOrder, { "zyx", "xyz" });
  ours.Read("orientation", manifest.Orientation);
  if (!manifest.Orientation.empty())
  {
    std::string axes;
    for (const char letter : manifest.Orientation)
    {
      axes += letter == 'L' || letter == 'R'   ? 'x'
              : letter == 'P' || letter == 'A' ? 'y'
              : letter == 'S' || letter == 'I' ? 'z'
                                               : '?';
    }
    std::sort(axes.begin(), axes.end());
    if (axes != "xyz")
    {
      ours.Refuse("orientation", "three letters such as LPS, one of L/R, P/A and S/I each");
    }
  }
  ours.ReadVector("spacing", manifest.Spacing, 0.0, 100.0);

  const Section preparation = ours.Inner("preparation");
  preparation.ReadOneOf("bias_correction", manifest.BiasCorrection, { "n4", "none" });
  preparation.Read("lower_quantile", manifest.LowerQuantile, 0.0, 1.0);
  preparation.Read("upper_quantile", manifest.UpperQuantile, 0.0, 1.0);
  if (manifest.LowerQuantile >= manifest.UpperQuantile)
  {
    preparation.Refuse("upper_quantile", "larger than lower_quantile");
  }
  preparation.ReadOneOf("standardization", manifest.Standardization, { "brain", "image" });
  preparation.Read("outside_value", manifest.OutsideValue, -1e6, 1e6);

  const Section region = ours.Inner("region");
  region.ReadOneOf("of", manifest.Region, { "tumour", "brain" });
  region.ReadOneOf("fit_mode", manifest.FitMode, { "cube", "stretch", "letterbox" });
  region.Read("margin", manifest.Margin, 0.0, 1000.0);
  region.ReadWhole("output_size", manifest.OutputSize, 0, 2048);
  region.Read("minimum_component_share", manifest.MinimumComponentShare, 0.0, 1.0);

  if ((manifest.Task.empty() ? given.Task : manifest.Task) == "segmentation")
  {
    image.ReadShape(manifest.PatchSize, manifest.TileStep);
    if ((manifest.AxisOrder.empty() ? given.AxisOrder : manifest.AxisOrder) != "xyz")
    {
      std::swap(manifest.PatchSize[0], manifest.PatchSize[2]);
    }
    if (manifest.TileStep > 256)
    {
      image.Refuse("spatial_shape", "multiples whose common multiple is at most 256");
    }
  }
  ours.ReadVector("patch_size", manifest.PatchSize, 4096u);
  ours.ReadWhole("halo", manifest.Halo, 0, 2048);
  ours.ReadWhole("tile_step", manifest.TileStep, 1, 256);
  for (const Section & one : ours.List("layers"))
  {
    TorchLayerGeometry layer;
    one.Read("layer", layer.Layer);
    one.ReadVector("offset", layer.Offset, -4096.0, 4096.0);
    one.ReadVector("step", layer.Step, 1e-3, 4096.0);
    manifest.Layers.push_back(layer);
  }

  const Section weights = ours.Inner("weights");
  weights.Read("file", manifest.WeightsFile);
  weights.ReadWhole("bytes", manifest.WeightsBytes, 1, std::uint64_t{ 1 } << 40);
  weights.Read("sha256", manifest.WeightsSha256);
  weights.Read("instruction_set", manifest.InstructionSet);
  if (!manifest.WeightsSha256.empty() &&
      (manifest.WeightsSha256.size() != 64 ||
       manifest.WeightsSha256.find_first_not_of("0123456789abcdef") != std::string::npos))
  {
    weights.Refuse("sha256", "64 lower-case hexadecimal digits");
  }

  const Section training = ours.Inner("training");
  training.Read("data", manifest.TrainingData);
  const auto readCases = [&training](const char * key, std::vector<TorchModelManifest::TrainingCase> & cases) {
    for (const Section & one : training.List(key))
    {
      TorchModelManifest::TrainingCase trained;
      one.Read("case", trained.Case);
      one.Read("licence", trained.Licence);
      one.Read("attribution", trained.Attribution);
      cases.push_back(trained);
    }
  };
  readCases("cases", manifest.TrainingCases);
  readCases("validation", manifest.ValidationCases);
  ours.Read("temperature", manifest.Temperature, 1e-3, 1e3);
  ours.Read("licence", manifest.Licence);
  ours.Read("demonstration", manifest.Demonstration);

  const Section golden = ours.Inner("golden");
  golden.ReadWhole("seed", manifest.GoldenSeed, 0, std::numeric_limits<std::uint64_t>::max());
  golden.ReadVector("size", manifest.GoldenSize, 512u);
  golden.ReadList("output", manifest.GoldenOutput);

  CompleteManifest(manifest, given, bundle);

  if (manifest.WeightsFile.empty())
  {
    for (const char * usual : { "models/model.safetensors", "models/model.ts", "models/model.pt2" })
    {
      if (manifest.WeightsFile.empty() && fs::exists(fs::path(bundle) / usual))
      {
        manifest.WeightsFile = usual;
      }
    }
  }
  else
  {
    PathInsideBundle(bundle, manifest.WeightsFile);
  }
  return manifest;
}

void
WriteBundleManifest(const std::string & bundle, const TorchModelManifest & manifest)
{
  const bool dense = manifest.Task != "grading";
  Json       shape = Json::array();
  for (unsigned int i = 0; i < 3; ++i)
  {
    const unsigned int size = dense ? manifest.PatchSize[2 - i] : manifest.OutputSize;
    shape.push_back(size == 0 ? Json("*") : Json(size));
  }
  Json ours = { { "layout", 1 } };
  PutText(ours, "task", manifest.Task);
  if (!manifest.Network.empty())
  {
    ours["network"] = { { "name", manifest.Network }, { "width", manifest.Width }, { "padded", manifest.Padded } };
    if (manifest.Groups != 1)
    {
      ours["network"]["groups"] = manifest.Groups;
    }
    if (manifest.Levels > 0)
    {
      ours["network"]["levels"] = manifest.Levels;
    }
  }
  PutText(ours, "output_activation", manifest.OutputActivation);
  PutText(ours, "axis_order", manifest.AxisOrder);
  PutText(ours, "orientation", manifest.Orientation);
  ours["spacing"] = manifest.Spacing;
  Json preparation = { { "lower_quantile", manifest.LowerQuantile },
                       { "upper_quantile", manifest.UpperQuantile },
                       { "outside_value", manifest.OutsideValue } };
  PutText(preparation, "bias_correction", manifest.BiasCorrection);
  PutText(preparation, "standardization", manifest.Standardization);
  ours["preparation"] = preparation;
  Json region = { { "minimum_component_share", manifest.MinimumComponentShare } };
  if (!dense)
  {
    region["margin"] = manifest.Margin;
    region["output_size"] = manifest.OutputSize;
    PutText(region, "of", manifest.Region);
    PutText(region, "fit_mode", manifest.FitMode);
  }
  else
  {
    ours["patch_size"] = manifest.PatchSize;
    ours["halo"] = manifest.Halo;
    ours["tile_step"] = manifest.TileStep;
  }
  ours["region"] = region;
  for (const TorchLayerGeometry & layer : manifest.Layers)
  {
    ours["layers"].push_back({ { "layer", layer.Layer }, { "offset", layer.Offset }, { "step", layer.Step } });
  }
  ours["weights"] = { { "file", manifest.WeightsFile },
                      { "bytes", manifest.WeightsBytes },
                      { "sha256", manifest.WeightsSha256 } };
  PutText(ours["weights"], "instruction_set", manifest.InstructionSet);
  Json training = Json::object();
  PutText(training, "data", manifest.TrainingData);
  const auto putCases = [&training](const char * key, const std::vector<TorchModelManifest::TrainingCase> & cases) {
    for (const auto & one : cases)
    {
      training[key].push_back({ { "case", one.Case }, { "licence", one.Licence }, { "attribution", one.Attribution } });
    }
  };
  putCases("cases", manifest.TrainingCases);
  putCases("validation", manifest.ValidationCases);
  ours["training"] = training;
  PutText(ours, "licence", manifest.Licence);
  if (manifest.Temperature != 1.0)
  {
    ours["temperature"] = manifest.Temperature;
  }
  ours["demonstration"] = manifest.Demonstration;
  if (manifest.GoldenSize[0] > 0)
  {
    ours["golden"] = { { "seed", manifest.GoldenSeed },
                       { "size", manifest.GoldenSize },
                       { "output", manifest.GoldenOutput } };
  }

  Json metadata = { { "name", manifest.Name },
                    { "version", manifest.Version },
                    { "task", dense ? "Whole-tumour segmentation of brain MRI" : "Grade of a glioma: LGG or HGG" },
                    { "intended_use", manifest.IntendedUse },
                    { "network_data_format",
                      { { "inputs",
                          { { "image",
                              { { "type", "image" },
                                { "format", "magnitude" },
                                { "modality", "MR" },
                                { "num_channels", manifest.ChannelNames.size() },
                                { "spatial_shape", shape },
                                { "dtype", "float32" },
                                { "value_range", Json::array() },
                                { "is_patch_data", dense },
                                { "channel_def", ChannelDefinition(manifest.ChannelNames) } } } } },
                        { "outputs",
                          { { "pred",
                              { { "type", dense ? "image" : "probabilities" },
                                { "format", dense ? "segmentation" : "classification" },
                                { "num_channels", manifest.ClassNames.size() },
                                { "spatial_shape", dense ? shape : Json::array({ 1 }) },
                                { "dtype", "float32" },
                                { "value_range", Json::array() },
                                { "is_patch_data", dense },
                                { "channel_def", ChannelDefinition(manifest.ClassNames) } } } } } } },
                    { "gliomagrading", ours } };

  const fs::path  folder = fs::path(bundle) / "configs";
  std::error_code error;
  fs::create_directories(folder, error);
  const fs::path path = folder / "metadata.json";
  const fs::path temporary = folder / "metadata.json.part";
  {
    std::ofstream file(temporary, std::ios::binary | std::ios::trunc);
    file << metadata.dump(2, ' ', false, Json::error_handler_t::replace) << '\n';
    file.close();
    if (!file || !FlushToDisk(temporary.string()))
    {
      std::remove(temporary.string().c_str());
      itkGenericExceptionMacro("The manifest could not be written to '" << path.string()
                                                                        << "': check the folder and the free space");
    }
  }
  fs::rename(temporary, path, error);
  if (error)
  {
    itkGenericExceptionMacro("'" << temporary.string() << "' could not be renamed to '" << path.string()
                                 << "': " << error.message());
  }
  FlushToDisk(folder.string());
  FlushToDisk(bundle);
}

std::string
VerifyBundleWeights(const std::string & bundle, const TorchModelManifest & manifest)
{
  if (manifest.WeightsFile.empty())
  {
    itkGenericExceptionMacro("The bundle '" << bundle
                                            << "' names no weights and has neither models/model.safetensors, "
                                               "models/model.ts nor models/model.pt2");
  }
  const std::string    path = PathInsideBundle(bundle, manifest.WeightsFile).string();
  std::error_code      error;
  const std::uintmax_t bytes = fs::file_size(path, error);
  if (error)
  {
    itkGenericExceptionMacro("The weights '" << path << "' cannot be opened: " << error.message());
  }
  if (manifest.WeightsBytes != 0 && bytes != manifest.WeightsBytes)
  {
    itkGenericExceptionMacro("The weights '" << path << "' have " << bytes << " bytes, the manifest says "
                                             << manifest.WeightsBytes << ": the file is truncated or another one");
  }
  const std::string digest = Sha256OfFile(path);
  if (manifest.WeightsSha256.empty() || manifest.WeightsBytes == 0)
  {
    itkGenericExceptionMacro(
      "The bundle '" << bundle << "' states no size and SHA-256 of its weights. Where you trust the file, write into '"
                     << (fs::path(bundle) / "gliomagrading.json").string() << "': {\"weights\": {\"file\": \""
                     << manifest.WeightsFile << "\", \"bytes\": " << bytes << ", \"sha256\": \"" << digest << "\"}}");
  }
  if (digest != manifest.WeightsSha256)
  {
    itkGenericExceptionMacro("The weights '" << path << "' have the SHA-256 " << digest << ", the manifest says "
                                             << manifest.WeightsSha256);
  }
  return path;
}
} // namespace itk
