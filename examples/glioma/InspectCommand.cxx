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
#include "InspectCommand.h"

#include "TerminalText.h"

#include "itkImageFileCheck.h"
#include "itkImageIOBase.h"
#include "itkImageIOFactory.h"
#include "itkMetaDataObject.h"
#include "itkTorchArchive.h"
#include "itkTorchModel.h"

#include <array>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace glioma
{
namespace
{
struct InspectOptions
{
  std::string path;
  bool        trustModel{ false };
};

void
Line(const std::string & name, const std::string & value)
{
  if (!value.empty())
  {
    std::cout << "  " << name << std::string(name.size() < 18 ? 18 - name.size() : 1, ' ') << Shown(value) << '\n';
  }
}

template <typename TList>
std::string
Listed(const TList & list, const char * between = ", ")
{
  std::ostringstream text;
  const char *       before = "";
  for (const auto & one : list)
  {
    text << before << one;
    before = between;
  }
  return text.str();
}

std::string
Number(double value)
{
  std::ostringstream text;
  text << value;
  return text.str();
}

/** What lies in a model file that may be a program; nothing of it is run. */
void
ShowArchive(const std::string & file)
{
  const itk::TorchArchive archive = itk::TorchArchive::Read(file);
  if (archive.CompiledBytes > 0)
  {
    Line("file", "compiled by AOTInductor for " + archive.CompiledDevice + " " + archive.InstructionSet);
    Line("program", std::to_string(archive.CompiledBytes) + " bytes of machine code");
    return;
  }
  Line("file", archive.Class.empty() ? "an archive of torch without a TorchScript program" : "TorchScript");
  Line("class", archive.Class);
  Line("program", std::to_string(archive.SourceBytes) + " bytes");
  Line("tensors", std::to_string(archive.Tensors) + ", " + std::to_string(archive.TensorBytes) + " bytes");
  if (!archive.Modules.empty())
  {
    std::cout << "  modules\n";
  }
  for (const itk::TorchArchive::Module & module : archive.Modules)
  {
    std::cout << "    " << Shown(module.Path) << "  " << Shown(module.Class) << '\n';
  }
}

/** A lone file that torch writes: a zip archive. */
bool
IsArchive(const std::string & path)
{
  std::ifstream file(path, std::ios::binary);
  char          start[4] = {};
  file.read(start, 4);
  return file && std::string(start, 4) == std::string("PK\003\004", 4);
}

void
InspectBundle(const InspectOptions & options)
{
  const auto model = itk::TorchModel::New();
  model->SetPath(options.path);
  model->SetTrustModelCode(options.trustModel);
  model->ReadManifest();
  const itk::TorchModelManifest manifest = model->GetManifest();
  std::cout << "Model bundle '" << Shown(options.path) << "'\n";
  Line("name", manifest.Name + " " + manifest.Version);
  Line("task", manifest.Task);
  Line("intended use", manifest.IntendedUse);
  Line("trained on", manifest.TrainingData);
  Line("licence", manifest.Licence);
  Line("demonstration", manifest.Demonstration ? "yes: do not rely on it for a patient" : "");
  if (!manifest.Network.empty())
  {
    Line("network",
         manifest.Network + ", width " + std::to_string(manifest.Width) +
           (manifest.Groups > 1 ? ", " + std::to_string(manifest.Groups) + " networks beside each other" : "") +
           (manifest.Levels > 0 ? ", " + std::to_string(manifest.Levels) + " levels" : "") +
           (manifest.Padded ? ", padded" : ", unpadded"));
  }
  Line("channels", Listed(manifest.ChannelNames));
  Line("classes", Listed(manifest.ClassNames));
  Line("output", manifest.OutputActivation);
  Line("axis order", manifest.AxisOrder);
  Line("orientation", manifest.Orientation.empty() ? "any" : manifest.Orientation);
  Line("spacing",
       manifest.Spacing == std::array<double, 3>{ { 0.0, 0.0, 0.0 } } ? "any"
                                                                      : Listed(manifest.Spacing, " x ") + " mm");
  Line("bias correction", manifest.BiasCorrection);
  Line("clipping", Number(manifest.LowerQuantile) + " to " + Number(manifest.UpperQuantile));
  Line("standardization", manifest.Standardization);
  Line("outside value", Number(manifest.OutsideValue));
  if (manifest.Task == "grading")
  {
    Line("region",
         manifest.Region + ", " + manifest.FitMode + ", margin " + Number(manifest.Margin) + ", " +
           std::to_string(manifest.OutputSize) + " voxels a side, parts from " +
           Number(manifest.MinimumComponentShare) + " of the largest");
  }
  else
  {
    Line("tiles", "halo " + std::to_string(manifest.Halo) + ", step " + std::to_string(manifest.TileStep));
    Line("mask", "parts from " + Number(manifest.MinimumComponentShare) + " of the largest");
  }
  Line("weights", manifest.WeightsFile + ", " + std::to_string(manifest.WeightsBytes) + " bytes");
  Line("SHA-256", manifest.WeightsSha256);
  Line("golden pair", manifest.GoldenOutput.empty() ? "none" : "seed " + std::to_string(manifest.GoldenSeed));
  using ListType = std::pair<std::string, const std::vector<itk::TorchModelManifest::TrainingCase> *>;
  const std::array<ListType, 2> lists{ { { "training", &manifest.TrainingCases },
                                         { "validation", &manifest.ValidationCases } } };
  for (const auto & [title, cases] : lists)
  {
    if (!cases->empty())
    {
      std::cout << "  " << title << " cases\n";
    }
    for (const auto & one : *cases)
    {
      std::cout << "    " << Shown(one.Case) << "  " << Shown(one.Licence) << "  " << Shown(one.Attribution) << '\n';
    }
  }

  const bool isProgram = std::filesystem::path(manifest.WeightsFile).extension() != ".safetensors";
  if (isProgram && !options.trustModel)
  {
    ShowArchive(options.path + "/" + manifest.WeightsFile);
    std::cout << "  It is a program, which is not loaded: --trust-model loads it and lists the layers that can be "
                 "explained.\n";
    return;
  }
  model->Load();
  Line("parameters", std::to_string(model->GetNumberOfParameters()));
  Line("checked", "size, SHA-256 and weights are as the manifest says");
  const auto layers = model->GetLayerNames();
  if (!layers.empty())
  {
    std::cout << "  layers that can be explained (first cell and step, voxels along x, y, z)\n";
  }
  for (const std::string & layer : layers)
  {
    std::cout << "    " << Shown(layer);
    for (const itk::TorchLayerGeometry & geometry : model->GetManifest().Layers)
    {
      if (geometry.Layer == layer)
      {
        std::cout << "  " << Listed(geometry.Offset) << "; " << Listed(geometry.Step);
      }
    }
    std::cout << '\n';
  }
}

void
InspectImage(const std::string & path)
{
  const auto io = itk::ImageIOFactory::CreateImageIO(path.c_str(), itk::IOFileModeEnum::ReadMode);
  if (!io)
  {
    itkGenericExceptionMacro("'" << path
                                 << "' is neither a model bundle nor an image that ITK reads: give the folder of a "
                                    "bundle, a model file or an image.");
  }
  itk::ImageFileCheck::FilesOf(path); // refuses headers that the reader would believe
  io->SetFileName(path);
  io->ReadImageInformation();
  const unsigned int  dimensions = io->GetNumberOfDimensions();
  std::vector<size_t> size;
  std::vector<double> spacing;
  std::vector<double> origin;
  for (unsigned int axis = 0; axis < dimensions; ++axis)
  {
    size.push_back(io->GetDimensions(axis));
    spacing.push_back(io->GetSpacing(axis));
    origin.push_back(io->GetOrigin(axis));
  }
  std::cout << "Image '" << Shown(path) << "' (" << io->GetNameOfClass() << ")\n";
  Line("size", Listed(size, " x "));
  Line("pixel",
       itk::ImageIOBase::GetComponentTypeAsString(io->GetComponentType()) + ", " +
         std::to_string(io->GetNumberOfComponents()) +
         (io->GetNumberOfComponents() == 1 ? " component" : " components"));
  Line("spacing", Listed(spacing, " x ") + " mm");
  Line("origin", Listed(origin));
  for (unsigned int axis = 0; axis < dimensions; ++axis)
  {
    Line("axis " + std::to_string(axis), Listed(io->GetDirection(axis)));
  }
  const itk::MetaDataDictionary & dictionary = io->GetMetaDataDictionary();
  if (!dictionary.GetKeys().empty())
  {
    std::cout << "  dictionary\n";
  }
  for (const std::string & key : dictionary.GetKeys())
  {
    std::string value;
    if (itk::ExposeMetaData<std::string>(dictionary, key, value))
    {
      std::cout << "    " << Shown(key) << ": " << Shown(value.size() > 200 ? value.substr(0, 197) + "..." : value)
                << '\n';
    }
  }
}

int
RunInspect(const InspectOptions & options)
{
  try
  {
    std::error_code error;
    if (std::filesystem::is_directory(options.path, error))
    {
      InspectBundle(options);
    }
    else if (IsArchive(options.path))
    {
      std::cout << "Model file '" << Shown(options.path) << "'\n";
      ShowArchive(options.path);
      std::cout << "  Nothing of it was run. To use it, say in a bundle or with SetManifest() what it expects.\n";
    }
    else if (std::filesystem::exists(options.path, error))
    {
      InspectImage(options.path);
    }
    else
    {
      itkGenericExceptionMacro("'" << options.path << "' does not exist: check the path.");
    }
    FlushStandardOutput();
    return 0;
  }
  catch (const std::exception & error)
  {
    std::cerr << "glioma inspect: " << OneLine(error) << '\n';
  }
  return 1;
}
} // namespace

void
AddInspectCommand(CLI::App & application, int & exitCode)
{
  const auto       options = std::make_shared<InspectOptions>();
  CLI::App * const command = application.add_subcommand(
    "inspect", "Show what a model bundle or file holds, or an image's geometry and dictionary");
  command->add_option("path", options->path, "Folder of a bundle, a TorchScript or .pt2 file, or an image file")
    ->required();
  command->add_flag("--trust-model",
                    options->trustModel,
                    "Load the program of a bundle (TorchScript, .pt2) and list the layers that can be explained");
  command->callback([options, &exitCode] { exitCode = RunInspect(*options); });
}

} // namespace glioma
