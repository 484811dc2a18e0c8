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
#include "GradeCommand.h"

#include "CaseEstimate.h"
#include "CaseReader.h"
#include "DefaultModels.h"
#include "GridComparison.h"
#include "ImageOutput.h"
#include "OptionChecks.h"
#include "OutputFolder.h"
#include "OverviewPicture.h"
#include "ProgressBar.h"
#include "RegisteredCase.h"
#include "ReportPage.h"
#include "ResultDocument.h"
#include "SideBySide.h"
#include "StageMemory.h"
#include "TerminalText.h"

#include "itkCommand.h"
#include "itkGliomaGradingFilter.h"
#include "itkMetaDataObject.h"
#include "itkMultiThreaderBase.h"
#include "itkOutputWindow.h"
#include "itksys/SystemTools.hxx"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <memory>
#include <sstream>
#include <stdexcept>

namespace glioma
{
namespace
{
using FilterType = itk::GliomaGradingFilter<>;

struct GradeOptions
{
  std::array<std::string, 4> sequences; // T1, T1c, T2, FLAIR
  std::vector<std::string>   series;    // UID, or role=UID
  std::string                brainMask;
  std::string                tumourMask;
  bool                       registers{ false };
  std::string                reference{ "t1c" };
  bool                       onEveryGrid{ false };
  std::string                output;
  std::string                segmentationModel;
  std::string                gradingModel;
  std::string                brainGradingModel;
  std::string                regions;
  bool                       trustModel{ false };
  bool                       verify{ false };
  std::string                standardize;
  std::string                biasCorrection;
  std::string                explain{ "all" };
  bool                       testExplanation{ false };
  std::string                device{ "cpu" };
  std::string                precision{ "float32" };
  unsigned int               threads{ 0 };
  double                     geometryTolerance{ 1e-3 };
  std::string                format{ "nii.gz" };
  bool                       keepIdentifiers{ false };
  bool                       force{ false };
  bool                       estimate{ false };
  bool                       isSilent{ false };
};

const std::array<const char *, 3> formats{ { "nii.gz", "nrrd", "mha" } };
/** In the order of the sequences: the option that gives one, and what files on its grid end in. */
const std::array<const char *, 4> sequenceOptions{ { "t1", "t1c", "t2", "flair" } };
const std::array<const char *, 4> gridSuffixes{ { "-on-t1", "-on-t1c", "-on-t2", "-on-flair" } };

/** Warnings of ITK as one line each, without the place in the source. */
class WarningLines : public itk::OutputWindow
{
public:
  ITK_DISALLOW_COPY_AND_MOVE(WarningLines);
  using Self = WarningLines;
  using Superclass = itk::OutputWindow;
  using Pointer = itk::SmartPointer<Self>;
  itkNewMacro(Self);

  void
  SetProgressBar(ProgressBar * bar)
  {
    m_Bar = bar;
  }

  void
  DisplayText(const char * text) override
  {
    // "WARNING: In FILE, line NUMBER" is a line of its own.
    std::string line(text);
    const auto  end = line.find('\n');
    line = line.rfind("WARNING: In ", 0) == 0 && end != std::string::npos ? line.substr(end + 1) : line;
    if (m_Bar)
    {
      m_Bar->Clear();
    }
    std::cerr << "glioma: warning: " << OneLine(std::runtime_error(line)) << std::endl;
  }

protected:
  WarningLines() = default;
  ~WarningLines() override = default;

private:
  ProgressBar * m_Bar{ nullptr };
};

itk::TorchModel::Pointer
LoadModel(const std::string & path, const std::string & task, const GradeOptions & options)
{
  std::error_code ignored;
  if (!path.empty() && !std::filesystem::exists(path, ignored))
  {
    throw std::runtime_error("There is no model " + path + "; check --" + task + "-model.");
  }
  auto model = itk::TorchModel::New();
  model->SetPath(path.empty() ? FindDefaultModel(task) : path);
  model->SetTrustModelCode(options.trustModel);
  model->SetDevice(options.device);
  model->SetNumberOfThreads(options.threads);
  if (options.precision == "bfloat16" && task == "segmentation")
  {
    model->SetPrecision(itk::TorchModel::Precision::BFloat16);
  }
  model->Load();
  const itk::TorchModelManifest & manifest = model->GetManifest();
  const auto contradicts = [&](const std::string & option, const std::string & given, const std::string & said) {
    if (!given.empty() && given != said)
    {
      throw std::runtime_error("--" + option + ' ' + given + " contradicts the " + task + " model " +
                               BaseName(model->GetPath()) + ", which was trained with " +
                               (said.empty() ? "an unknown one" : said) +
                               "; leave the option out, or give another model.");
    }
  };
  contradicts("standardize", options.standardize, manifest.Standardization);
  contradicts("bias-correction", options.biasCorrection, manifest.BiasCorrection);
  if (options.verify && !model->VerifyGoldenPair())
  {
    throw std::runtime_error("The " + task + " model " + BaseName(model->GetPath()) +
                             " has no golden pair to verify; leave --verify out.");
  }
  return model;
}

/** Writes one of the results; what goes wrong then is told with what to do. */
template <typename TFunction>
void
WriteResult(const std::string & name, const TFunction & function)
{
  try
  {
    function();
  }
  catch (const std::exception & error)
  {
    const std::string text = OneLine(error);
    if (text.find("--output") != std::string::npos)
    {
      throw;
    }
    throw std::runtime_error("Cannot write " + name + " (" + text + "); free some space, or choose another --output.");
  }
}

std::string
FileNameOfLayer(const std::string & layer)
{
  std::string name = "gradcam-" + layer;
  for (char & character : name)
  {
    const bool isPlain = (character >= '0' && character <= '9') || (character >= 'a' && character <= 'z') ||
                         (character >= 'A' && character <= 'Z') || character == '.' || character == '-';
    character = isPlain ? character : '_';
  }
  return name;
}

double
Now()
{
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void
DrawOverview(const FilterType & filter, const ResultDocument & document, const std::string & path)
{
  OverviewPicture picture;
  for (const std::string & name : FilterType::GetSequenceNames())
  {
    picture.AddSequence(name, filter.GetSequence(name));
  }
  picture.SetBrainMask(filter.GetBrainMask());
  picture.SetTumour(filter.GetOutput());
  for (const std::string & layer : filter.GetGradCAMLayers())
  {
    if (filter.GetGradCAM(layer))
    {
      picture.AddGradCAM("GradCAM " + layer, filter.GetGradCAM(layer), filter.GetGradCAMSupport(layer));
    }
  }
  if (filter.GetGuidedBackpropagation())
  {
    picture.SetGuidedBackpropagation("Guided", filter.GetGuidedBackpropagation());
  }
  const auto addSentence = [&picture](const std::string & sentence, bool isWarning) {
    // Long sentences in lines that fit the picture.
    constexpr std::size_t width = 88;
    std::string           rest = sentence;
    while (rest.size() > width)
    {
      const auto blank = rest.rfind(' ', width);
      const auto end = blank == std::string::npos || blank == 0 ? width : blank;
      picture.AddLine(rest.substr(0, end), isWarning);
      rest = rest.substr(end == blank ? end + 1 : end);
    }
    picture.AddLine(rest, isWarning);
  };
  const auto json = document.GetJson();
  picture.SetIsOnGridOfFiles(json["registration"].is_null());
  if (json["phantom"] == true)
  {
    picture.AddLine("Phantom, not a patient", true);
  }
  char text[128];
  if (filter.GetTumourFound())
  {
    std::string                    line = std::string("Grade ") + filter.GetGrade();
    const std::vector<std::string> names = filter.GetClassNames();
    for (std::size_t i = 0; i < names.size(); ++i)
    {
      std::snprintf(text, sizeof(text), "  P(%s) %.3f", names[i].c_str(), filter.GetProbabilities()[i]);
      line += text;
    }
    std::snprintf(text, sizeof(text), "  tumour %.1f ml", filter.GetTumourVolume());
    picture.AddLine(line + text);
  }
  else
  {
    picture.AddLine("Grade: none, no tumour was found");
  }
  if (!filter.GetBrainGrade().empty())
  {
    const auto & probabilities = filter.GetBrainProbabilities();
    std::snprintf(text,
                  sizeof(text),
                  "From the whole brain: %s  P(%s) %.3f",
                  filter.GetBrainGrade().c_str(),
                  filter.GetBrainGrade().c_str(),
                  *std::max_element(probabilities.begin(), probabilities.end()));
    picture.AddLine(text);
  }
  const auto & reasons = filter.GetReviewReasons();
  addSentence(reasons.empty() ? "No flags; not a clinical acceptance"
                              : "Review (" + std::to_string(reasons.size()) + "): " + reasons.front(),
              !reasons.empty());
  for (const std::string & warning : document.GetWarnings())
  {
    addSentence(warning, true);
  }
  picture.Write(path);
}

/** Sides of the cells of a layer in mm; 0 where the model does not say. */
std::array<double, 3>
CellOf(const itk::TorchModel & model, const std::string & layer, const std::array<double, 3> & voxel)
{
  std::array<double, 3> sides{ { 0.0, 0.0, 0.0 } };
  for (const itk::TorchLayerGeometry & geometry : model.GetManifest().Layers)
  {
    for (unsigned int d = 0; geometry.Layer == layer && d < 3; ++d)
    {
      sides[d] = geometry.Step[d] * voxel[d];
    }
  }
  return sides;
}

void
WriteReport(const FilterType & filter, const ResultDocument & document, const std::string & path)
{
  ReportPage page;
  page.SetResult(document.GetJson());
  for (const std::string & name : FilterType::GetSequenceNames())
  {
    page.AddSequence(name, filter.GetSequence(name));
  }
  page.SetBrainMask(filter.GetBrainMask());
  page.SetTumour(filter.GetOutput());
  const std::array<double, 3> & voxel = filter.GetRegionReport().Spacing;
  for (const std::string & layer : filter.GetGradCAMLayers())
  {
    if (filter.GetGradCAM(layer))
    {
      page.AddGradCAM(layer,
                      filter.GetGradCAM(layer),
                      filter.GetGradCAMSupport(layer),
                      CellOf(*filter.GetGradingModel(), layer, voxel));
    }
  }
  if (filter.GetGuidedBackpropagation())
  {
    page.AddGuidedBackpropagation(filter.GetGuidedBackpropagation(), voxel);
  }
  const itk::Vector<double, 3> ofBrain = filter.GetBrainRegionSpacing();
  const std::array<double, 3>  voxelOfBrain = { { ofBrain[0], ofBrain[1], ofBrain[2] } };
  for (const std::string & layer : filter.GetBrainGradCAMLayers())
  {
    page.AddGradCAM(layer,
                    filter.GetBrainGradCAM(layer),
                    filter.GetBrainGradCAMSupport(layer),
                    CellOf(*filter.GetBrainGradingModel(), layer, voxelOfBrain),
                    true);
  }
  if (filter.GetBrainGuidedBackpropagation())
  {
    page.AddGuidedBackpropagation(filter.GetBrainGuidedBackpropagation(), voxelOfBrain, true);
  }
  page.Write(path);
}

/** Masks are on the grid of the reference, whatever the grids of the other sequences are. */
void
RefuseOtherGrid(const MaskImageType *     mask,
                const std::string &       option,
                const SequenceImageType * reference,
                const GradeOptions &      options)
{
  if (mask && !IsOnGridOf(mask, reference, options.geometryTolerance))
  {
    throw std::runtime_error("The image of --" + option + " is not on the grid of the reference " + options.reference +
                             ": " + DescribeGrid(mask) + "; the reference has " + DescribeGrid(reference) +
                             ". Give it on the reference's grid, or choose another --reference.");
  }
}

/** The filter looks at the tumour mask first, and would blame it. */
void
RefuseDifferentGrids(const std::vector<std::string> &                names,
                     const std::vector<SequenceImageType::Pointer> & sequences,
                     double                                          tolerance)
{
  std::string grids;
  bool        isSame = true;
  for (std::size_t i = 0; i < sequences.size(); ++i)
  {
    isSame = isSame && IsOnGridOf(sequences[i], sequences[0], tolerance);
    grids += (i ? ", " : "") + names[i] + ' ' + DescribeGrid(sequences[i]);
  }
  if (!isSame)
  {
    throw std::runtime_error("The grids of the sequences differ in size or place: " + grids +
                             ". Pass --register to bring them into one space, or resample them to one grid first.");
  }
}

/** The second grader; null where none is asked for. */
itk::TorchModel::Pointer
LoadBrainGradingModel(const GradeOptions & options)
{
  if (options.brainGradingModel.empty())
  {
    return nullptr;
  }
  const bool demonstration = options.brainGradingModel == "demonstration";
  return LoadModel(demonstration ? "" : options.brainGradingModel, "brain-grading", options);
}

/** Number of the sequence on whose grid masks lie and results come. */
std::size_t
ReferenceOf(const GradeOptions & options)
{
  const auto place = std::find(sequenceOptions.begin(), sequenceOptions.end(), options.reference);
  return options.registers ? static_cast<std::size_t>(place - sequenceOptions.begin()) : 0;
}

/** Images as large as those that Grade() would have after a registration: on the working grid, or on the reference's
 * where that has more voxels, since the results are written there. */
void
BringToOneGrid(std::vector<SequenceImageType::Pointer> & sequences,
               MaskImageType::Pointer &                  brainMask,
               const itk::TorchModelManifest &           manifest,
               const GradeOptions &                      options)
{
  const std::vector<std::string>                name{ FilterType::GetSequenceNames()[ReferenceOf(options)] };
  const std::vector<SequenceImageType::Pointer> image{ sequences[ReferenceOf(options)] };
  const RegisteredCase alone(name, image, 0, brainMask, manifest.Orientation, manifest.Spacing);
  const auto           voxelsOf = [](const SequenceImageType * one) {
    return one->GetLargestPossibleRegion().GetNumberOfPixels();
  };
  const bool                      isFiner = voxelsOf(alone.GetSequence(0)) > voxelsOf(image.front());
  const SequenceImageType * const grid = isFiner ? alone.GetSequence(0) : image.front().GetPointer();
  for (std::size_t i = 0; i < sequences.size(); ++i)
  {
    sequences[i] = SequenceImageType::New();
    sequences[i]->CopyInformation(grid);
    sequences[i]->SetRegions(grid->GetLargestPossibleRegion());
    sequences[i]->Allocate();
    // Equal images would be refused.
    std::transform(grid->GetBufferPointer(),
                   grid->GetBufferPointer() + voxelsOf(grid),
                   sequences[i]->GetBufferPointer(),
                   [i](float value) { return value * static_cast<float>(i + 1); });
  }
  if (brainMask && isFiner)
  {
    brainMask = alone.ToWorkingGrid(brainMask);
  }
}

/** Says what Grade() would take, and writes nothing. */
void
Estimate(const GradeOptions & options)
{
  if (options.threads > 0)
  {
    itk::MultiThreaderBase::SetGlobalMaximumNumberOfThreads(options.threads);
    itk::MultiThreaderBase::SetGlobalDefaultNumberOfThreads(options.threads);
  }
  itk::TorchModel::Pointer segmentationModel;
  if (options.tumourMask.empty())
  {
    segmentationModel = LoadModel(options.segmentationModel, "segmentation", options);
  }
  const itk::TorchModel::Pointer gradingModel = LoadModel(options.gradingModel, "grading", options);
  const itk::TorchModel::Pointer brainGradingModel = LoadBrainGradingModel(options);
  double                         program = StageMemory::Resident();

  const double                            start = Now();
  const std::vector<std::string> &        names = FilterType::GetSequenceNames();
  std::vector<SequenceImageType::Pointer> sequences;
  for (std::size_t i = 0; i < names.size(); ++i)
  {
    sequences.push_back(ReadSequence(options.sequences[i], names[i], options.series));
  }
  if (!options.registers)
  {
    RefuseDifferentGrids(names, sequences, options.geometryTolerance);
  }
  MaskImageType::Pointer brainMask;
  if (!options.brainMask.empty())
  {
    brainMask = ReadMask(options.brainMask, "the brain mask", options.series);
    RefuseOtherGrid(brainMask, "brain-mask", sequences[ReferenceOf(options)], options);
  }
  const double reading = Now() - start;
  if (options.registers)
  {
    for (const SequenceImageType::Pointer & sequence : sequences)
    {
      // They stay beside those on one grid.
      program +=
        static_cast<double>(sequence->GetLargestPossibleRegion().GetNumberOfPixels()) * sizeof(float) / 1048576.0;
    }
    const itk::TorchModelManifest & manifest = (segmentationModel ? segmentationModel : gradingModel)->GetManifest();
    BringToOneGrid(sequences, brainMask, manifest, options);
  }

  auto filter = FilterType::New();
  filter->SetGradingModel(gradingModel);
  itk::TorchExplanationRequest explanation;
  explanation.GuidedBackpropagation = options.explain == "all" || options.explain == "guided-backprop";
  if (options.explain == "all" || options.explain == "gradcam")
  {
    explanation.Layers = filter->GetGradCAMLayers();
  }
  std::vector<const itk::TorchModel *> graders{ gradingModel };
  if (brainGradingModel)
  {
    graders.push_back(brainGradingModel);
  }
  CaseEstimate estimate =
    EstimateCase(sequences, brainMask, segmentationModel, graders, explanation, options.geometryTolerance, program);
  estimate.Stages.emplace(estimate.Stages.begin(), "read", reading);
  std::printf(
    "Estimate (nothing is written): %.1f s, %.2f GiB of memory\n", estimate.Seconds(), estimate.Mebibytes / 1024.0);
  for (const auto & stage : estimate.Stages)
  {
    std::printf("  %-36s %.1f s\n", stage.first.c_str(), stage.second);
  }
  if (options.registers)
  {
    std::printf("  %-36s %s\n", "register", "not estimated");
  }
  if (segmentationModel)
  {
    std::printf("  segmentation in %lu tile(s) of %lu x %lu x %lu voxels\n",
                static_cast<unsigned long>(estimate.Tiles),
                static_cast<unsigned long>(estimate.TileSize[0]),
                static_cast<unsigned long>(estimate.TileSize[1]),
                static_cast<unsigned long>(estimate.TileSize[2]));
  }
}

void
Grade(const GradeOptions & options)
{
  StageMemory memory;
  ProgressBar bar;
  const auto  warningLines = WarningLines::New();
  warningLines->SetProgressBar(&bar);
  itk::OutputWindow::SetInstance(warningLines);
  if (options.threads > 0)
  {
    itk::MultiThreaderBase::SetGlobalMaximumNumberOfThreads(options.threads);
    itk::MultiThreaderBase::SetGlobalDefaultNumberOfThreads(options.threads);
  }

  double         start = Now();
  ResultDocument document;
  memory.Begin("load-models");
  bar.Show(0.0, "load-models");
  auto                     filter = FilterType::New();
  itk::TorchModel::Pointer segmentationModel;
  if (options.tumourMask.empty())
  {
    segmentationModel = LoadModel(options.segmentationModel, "segmentation", options);
    filter->SetSegmentationModel(segmentationModel);
  }
  const itk::TorchModel::Pointer gradingModel = LoadModel(options.gradingModel, "grading", options);
  filter->SetGradingModel(gradingModel);
  const itk::TorchModel::Pointer brainGradingModel = LoadBrainGradingModel(options);
  if (brainGradingModel)
  {
    filter->SetBrainGradingModel(brainGradingModel);
  }
  document.AddStage("load-models", Now() - start);

  // Everything that may be written, in this format and in those of an earlier run.
  std::vector<std::string> stems{ "tumour", "tumour-probability", "guided-backprop", "gradcam-res3", "gradcam-res4" };
  for (const std::string & layer : filter->GetGradCAMLayers())
  {
    const std::string stem = FileNameOfLayer(layer);
    if (std::find(stems.begin(), stems.end(), stem) == stems.end())
    {
      stems.push_back(stem);
    }
  }
  std::vector<std::string> layersOfBrain{ "res3", "res4" };
  if (brainGradingModel)
  {
    for (const itk::TorchLayerGeometry & layer : brainGradingModel->GetManifest().Layers)
    {
      layersOfBrain.push_back(layer.Layer);
    }
  }
  stems.push_back("brain-guided-backprop");
  for (const std::string & layer : layersOfBrain)
  {
    const std::string stem = "brain-" + FileNameOfLayer(layer);
    if (std::find(stems.begin(), stems.end(), stem) == stems.end())
    {
      stems.push_back(stem);
    }
  }
  const std::size_t numberOfStems = stems.size();
  for (const char * const suffix : gridSuffixes)
  {
    for (std::size_t i = 0; i < numberOfStems; ++i)
    {
      stems.push_back(stems[i] + suffix);
    }
  }
  std::vector<std::string> names{ "result.json", "overview.png", "report.html" };
  std::vector<std::string> obsolete;
  for (const std::string & stem : stems)
  {
    for (const char * const format : formats)
    {
      const bool isOnOtherGrid =
        std::find(stems.begin(), stems.begin() + static_cast<std::ptrdiff_t>(numberOfStems), stem) ==
        stems.begin() + static_cast<std::ptrdiff_t>(numberOfStems);
      const bool mayBeWritten = format == options.format && (options.onEveryGrid || !isOnOtherGrid);
      (mayBeWritten ? names : obsolete).push_back(stem + '.' + format);
    }
  }
  OutputFolder output(options.output, names, obsolete, "result.json", options.force);

  start = Now();
  memory.Begin("read");
  bar.Show(0.0, "read");
  const std::vector<std::string> & sequenceNames = FilterType::GetSequenceNames();
  std::vector<std::string>         usedSeries;
  InputFiles                       files;
  const auto                       addInput = [&](const std::string & key, const std::string & path) {
    document.AddInput(key, path, files.Paths);
    usedSeries.insert(usedSeries.end(), files.NamedBy.begin(), files.NamedBy.end());
  };
  std::vector<SequenceImageType::Pointer> sequences;
  MaskImageType::Pointer                  brainMask;
  MaskImageType::Pointer                  tumourMask;
  MaskImageType::Pointer                  regions;
  for (std::size_t i = 0; i < sequenceNames.size(); ++i)
  {
    sequences.push_back(ReadSequence(options.sequences[i], sequenceNames[i], options.series, &files));
    addInput(sequenceNames[i], options.sequences[i]);
  }
  if (!options.brainMask.empty())
  {
    brainMask = ReadMask(options.brainMask, "the brain mask", options.series, &files);
    addInput("brain-mask", options.brainMask);
  }
  if (!options.tumourMask.empty())
  {
    tumourMask = ReadMask(options.tumourMask, "the tumour mask", options.series, &files);
    addInput("tumour-mask", options.tumourMask);
  }
  if (!options.regions.empty())
  {
    regions = ReadLabels(options.regions, "the regions", options.series, &files);
    addInput("regions", options.regions);
    filter->SetRegionLabelsImage(regions);
  }
  for (const std::string & entry : options.series)
  {
    if (std::find(usedSeries.begin(), usedSeries.end(), entry) == usedSeries.end())
    {
      throw std::runtime_error("No DICOM folder of this case has the series of --series " + entry +
                               "; leave the option out, or check the UID.");
    }
  }
  const std::size_t               reference = ReferenceOf(options);
  const itk::MetaDataDictionary & dictionary = sequences[reference]->GetMetaDataDictionary();
  bool                            isPhantom = false;
  for (const char * const key : { "aux_file", "ITK_FileNotes" })
  {
    std::string note;
    itk::ExposeMetaData<std::string>(dictionary, key, note);
    isPhantom = isPhantom || note.rfind("Synthetic phantom", 0) == 0;
  }
  document.SetIsPhantom(isPhantom);
  document.AddStage("read", Now() - start);

  std::unique_ptr<RegisteredCase> registered;
  if (options.registers)
  {
    start = Now();
    memory.Begin("register");
    bar.Show(0.0, "register");
    for (const auto & mask : { brainMask, tumourMask })
    {
      RefuseOtherGrid(mask, mask == brainMask ? "brain-mask" : "tumour-mask", sequences[reference], options);
    }
    const itk::TorchModelManifest & manifest = (segmentationModel ? segmentationModel : gradingModel)->GetManifest();
    registered = std::make_unique<RegisteredCase>(
      sequenceNames, sequences, reference, brainMask, manifest.Orientation, manifest.Spacing);
    document.SetRegistration(*registered);
    document.AddStage("register", Now() - start);
  }
  else if (tumourMask)
  {
    RefuseDifferentGrids(sequenceNames, sequences, options.geometryTolerance);
  }
  for (std::size_t i = 0; i < sequenceNames.size(); ++i)
  {
    filter->SetSequence(sequenceNames[i], registered ? registered->GetSequence(i) : sequences[i].GetPointer());
  }
  if (brainMask)
  {
    filter->SetBrainMaskImage(registered ? registered->ToWorkingGrid(brainMask) : brainMask);
  }
  if (tumourMask)
  {
    filter->SetTumourMaskImage(registered ? registered->ToWorkingGrid(tumourMask) : tumourMask);
  }

  const std::map<std::string, FilterType::ExplainEnum> explanations{ { "all", FilterType::ExplainEnum::All },
                                                                     { "gradcam", FilterType::ExplainEnum::GradCAM },
                                                                     { "guided-backprop",
                                                                       FilterType::ExplainEnum::GuidedBackpropagation },
                                                                     { "none", FilterType::ExplainEnum::None } };
  filter->SetExplain(explanations.at(options.explain));
  filter->SetTestExplanation(options.testExplanation);
  filter->SetCoordinateTolerance(options.geometryTolerance);
  filter->SetDirectionTolerance(options.geometryTolerance);
  const FilterType * const running = filter.GetPointer();
  filter->AddObserver(itk::ProgressEvent(), [&bar, &memory, running](const itk::EventObject &) {
    memory.Begin(running->GetCurrentStage());
    bar.Show(0.95 * running->GetProgress(), running->GetCurrentStage());
  });
  filter->Update();
  for (const auto & stage : filter->GetStageSeconds())
  {
    document.AddStage(stage.first, stage.second);
  }

  start = Now();
  memory.Begin("write");
  bar.Show(0.95, "write");
  document.SetResult(*filter);
  document.AddParameter("explain", options.explain);
  document.AddParameter("test_explanation", options.testExplanation);
  document.AddParameter("device", options.device);
  document.AddParameter("precision", options.precision);
  const unsigned int threads =
    options.threads > 0 ? options.threads : itk::MultiThreaderBase::GetGlobalDefaultNumberOfThreads();
  document.AddParameter("threads", threads);
  document.AddParameter("geometry-tolerance", options.geometryTolerance);
  document.AddParameter("format", options.format);
  document.AddParameter("keep-identifiers", options.keepIdentifiers);
  document.AddParameter("trust-model", options.trustModel);
  document.AddParameter("register", options.registers);
  if (options.registers)
  {
    document.AddParameter("reference", options.reference);
    document.AddParameter("on-every-grid", options.onEveryGrid);
  }
  document.AddParameter("seed", options.registers ? "of the registration's samples: 1729" : "none: nothing is random");
  const auto keysOf = [&](std::size_t sequence) {
    const itk::MetaDataDictionary & all = sequences[sequence]->GetMetaDataDictionary();
    itk::MetaDataDictionary         keys = options.keepIdentifiers ? all : WithoutIdentifiers(all);
    if (isPhantom)
    {
      itk::EncapsulateMetaData<std::string>(keys, "aux_file", "Synthetic phantom");
    }
    if (options.format != "nii.gz")
    {
      for (const auto & key : document.GetProvenanceKeys())
      {
        itk::EncapsulateMetaData<std::string>(keys, key.first, key.second);
      }
    }
    return keys;
  };
  // An image on another grid comes when its turn does, and goes after it.
  struct ImageToWrite
  {
    std::string           Name;
    unsigned int          Components;
    std::function<void()> Write;
  };
  std::vector<ImageToWrite> images;
  const auto                addImage =
    [&](const auto & makeImage, unsigned int components, const std::string & stem, std::size_t sequence) {
      const std::string name = stem + (sequence == reference ? "" : gridSuffixes[sequence]) + '.' + options.format;
      const auto        write = [&output, name, makeImage, keys = keysOf(sequence)] {
        WriteResult(name, [&] { WriteImage(&*makeImage(), keys, output.PathOf(name)); });
      };
      images.push_back({ name, components, write });
    };
  std::vector<std::size_t> grids{ reference };
  for (std::size_t i = 0; i < sequences.size() && options.onEveryGrid; ++i)
  {
    if (i != reference)
    {
      grids.push_back(i);
    }
  }
  const auto addMap = [&](const auto * image, const std::string & stem) {
    for (std::size_t i = 0; i < grids.size() && image; ++i)
    {
      const unsigned int components = image->GetNumberOfComponentsPerPixel();
      const std::size_t  grid = grids[i];
      if (registered)
      {
        addImage([&registered, image, grid] { return registered->ToSequence(image, grid); }, components, stem, grid);
      }
      else
      {
        addImage([image] { return image; }, components, stem, grid);
      }
    }
  };
  const MaskImageType * const     labels = filter->GetOutput();
  const SequenceImageType * const probability = filter->GetTumourProbability();
  for (const std::size_t grid : grids)
  {
    if (!registered)
    {
      addImage([labels] { return labels; }, 1, "tumour", grid);
    }
    else if (tumourMask && grid == reference)
    {
      addImage([&tumourMask] { return tumourMask; }, 1, "tumour", grid);
    }
    else
    {
      const auto makeLabels = [&registered, labels, probability, grid] {
        return registered->LabelsToSequence(labels, probability, grid);
      };
      addImage(makeLabels, 1, "tumour", grid);
    }
  }
  addMap(probability, "tumour-probability");
  for (const std::string & layer : filter->GetGradCAMLayers())
  {
    addMap(filter->GetGradCAM(layer), FileNameOfLayer(layer));
  }
  addMap(filter->GetGuidedBackpropagation(), "guided-backprop");
  for (const std::string & layer : filter->GetBrainGradCAMLayers())
  {
    addMap(filter->GetBrainGradCAM(layer), "brain-" + FileNameOfLayer(layer));
  }
  addMap(filter->GetBrainGuidedBackpropagation(), "brain-guided-backprop");
  for (const ImageToWrite & image : images)
  {
    document.AddOutput(image.Name);
  }
  // The longest first: the others go beside it.
  std::stable_sort(images.begin(), images.end(), [](const ImageToWrite & a, const ImageToWrite & b) {
    return a.Components > b.Components;
  });
  std::vector<std::function<void()>> writing;
  for (const ImageToWrite & image : images)
  {
    writing.push_back(image.Write);
  }
  // On another grid each makes its own image first: more at a time would take more memory than CaseEstimate says.
  RunSideBySide(writing, CanBeWrittenSideBySide(images.front().Name) ? std::min(threads, 2u) : 1u);
  document.AddStage("write", Now() - start);

  start = Now();
  memory.Begin("overview");
  WriteResult("overview.png", [&] { DrawOverview(*filter, document, output.PathOf("overview.png")); });
  document.AddOutput("overview.png");
  document.AddStage("overview", Now() - start);

  start = Now();
  memory.Begin("report");
  bar.Show(0.97, "report");
  WriteResult("report.html", [&] { WriteReport(*filter, document, output.PathOf("report.html")); });
  document.AddOutput("report.html");
  document.AddStage("report", Now() - start);
  document.SetMemory(memory);
  WriteResult("result.json", [&] { document.Write(output.PathOf("result.json")); });
  output.Commit();
  bar.Clear();
  if (options.isSilent)
  {
    return;
  }

  if (filter->GetTumourFound())
  {
    // The names are the bundle's.
    std::vector<std::string> classes = filter->GetClassNames();
    std::transform(classes.begin(), classes.end(), classes.begin(), Shown);
    const auto tell = [&classes](const std::string & what, const std::vector<double> & probabilities) {
      for (std::size_t i = 0; i < probabilities.size(); ++i)
      {
        std::printf("%s P(%s) = %.3f", i ? "," : what.c_str(), classes[i].c_str(), probabilities[i]);
      }
      std::printf("%s", probabilities.empty() ? "" : "\n");
    };
    tell("Grade: " + Shown(filter->GetGrade()) + ' ', filter->GetProbabilities());
    tell("From the whole brain: " + Shown(filter->GetBrainGrade()), filter->GetBrainProbabilities());
    tell("With healthy tissue in the tumour's place:", filter->GetProbabilitiesWithoutTumour());
    std::printf("Tumour: %.1f ml\n", filter->GetTumourVolume());
  }
  else
  {
    std::printf("Grade: none, no tumour was found\n");
  }
  std::printf("Verdict: %s (not a clinical acceptance)\n", filter->GetReviewReasons().empty() ? "no-flags" : "review");
  for (const std::string & reason : filter->GetReviewReasons())
  {
    std::printf("  - %s\n", Shown(reason).c_str());
  }
  for (const std::string & warning : document.GetWarnings())
  {
    std::printf("%s\n", Shown(warning).c_str());
  }
  std::printf("Files: %s\n", Shown(options.output).c_str());
}

/** Warnings go where they went before, since the progress bar ends here. */
class WarningsGuard
{
public:
  WarningsGuard() = default;
  WarningsGuard(const WarningsGuard &) = delete;
  WarningsGuard &
  operator=(const WarningsGuard &) = delete;
  ~WarningsGuard() { itk::OutputWindow::SetInstance(nullptr); }
};

/** A message of the library with what does here what it advises. */
std::string
WithOptions(const std::exception & error, const std::string & brainMask, const std::string & registration)
{
  std::string text = OneLine(error);
  itksys::SystemTools::ReplaceString(text, "give a brain mask", "give a brain mask (" + brainMask + ')');
  itksys::SystemTools::ReplaceString(text, "RigidRegistrationFilter", registration);
  return text;
}

int
RunGrade(const GradeOptions & options)
{
  try
  {
    if (options.estimate)
    {
      Estimate(options);
      FlushStandardOutput();
    }
    else
    {
      Grade(options);
    }
    return 0;
  }
  catch (const std::exception & error)
  {
    std::cerr << "glioma grade: " << WithOptions(error, "--brain-mask", "--register") << std::endl;
    return 1;
  }
}
} // namespace

void
GradeCase(const CaseToGrade & caseToGrade)
{
  GradeOptions options;
  options.sequences = caseToGrade.Sequences;
  options.brainMask = caseToGrade.BrainMask;
  options.tumourMask = caseToGrade.TumourMask;
  options.segmentationModel = caseToGrade.SegmentationModel;
  options.gradingModel = caseToGrade.GradingModel;
  options.trustModel = caseToGrade.TrustModel;
  options.explain = caseToGrade.Explain;
  options.device = caseToGrade.Device;
  options.precision = caseToGrade.Precision;
  options.threads = caseToGrade.Threads;
  options.output = caseToGrade.Output;
  options.force = true;
  options.isSilent = true;
  const WarningsGuard guard;
  try
  {
    Grade(options);
  }
  catch (const std::exception & error)
  {
    throw std::runtime_error(WithOptions(error, "the column brain_mask", "glioma grade --register"));
  }
}

void
AddGradeCommand(CLI::App & application, int & exitCode)
{
  const auto       options = std::make_shared<GradeOptions>();
  CLI::App * const command =
    application.add_subcommand("grade", "Find the tumour of one case, grade it and explain the grade");
  const std::array<const char *, 4> names{ { "--t1", "--t1c", "--t2", "--flair" } };
  for (std::size_t i = 0; i < names.size(); ++i)
  {
    command
      ->add_option(names[i], options->sequences[i], "Skull-stripped sequence: a file, or a folder of one DICOM series")
      ->required();
  }
  command
    ->add_option("--series",
                 options->series,
                 "UID of the series to take from a DICOM folder of several; t1=UID, t1c=UID ... brain-mask=UID, "
                 "tumour-mask=UID, regions=UID names it for one image. Repeat it for more")
    ->expected(1)
    ->take_all()
    ->check([](const std::string & entry) {
      const auto                       equals = entry.find('=');
      const std::array<std::string, 7> roles{ { "t1", "t1c", "t2", "flair", "brain-mask", "tumour-mask", "regions" } };
      const std::string                role = entry.substr(0, equals == std::string::npos ? 0 : equals);
      const bool isKnown = equals == std::string::npos || std::find(roles.begin(), roles.end(), role) != roles.end();
      return isKnown && !entry.empty() && equals + 1 != entry.size()
               ? std::string()
               : "--series " + entry +
                   " is neither UID nor t1=UID, t1c=, t2=, flair=, brain-mask=, tumour-mask= or regions=";
    });
  command->add_option(
    "--brain-mask", options->brainMask, "Not 0 in the brain; then the head need not be skull-stripped");
  command->add_option("--tumour-mask", options->tumourMask, "Not 0 in the tumour; is taken instead of a segmentation");
  CLI::Option * const registers =
    command->add_flag("--register",
                      options->registers,
                      "Bring sequences on different grids into the space of one, rigidly; masks are on its grid");
  command->add_option("--reference", options->reference, "The sequence that --register leaves where it is")
    ->capture_default_str()
    ->check(CLI::IsMember({ "t1", "t1c", "t2", "flair" }))
    ->needs(registers);
  command
    ->add_flag(
      "--on-every-grid", options->onEveryGrid, "Write the images on the grid of each sequence too (-on-t1 ...)")
    ->needs(registers);
  CLI::Option * const output = command->add_option("--output", options->output, "Folder that gets the results");
  command->add_option("--segmentation-model", options->segmentationModel, "Bundle (default: the demonstration's)");
  command->add_option("--grading-model", options->gradingModel, "Bundle (default: the demonstration's)");
  command->add_option("--brain-grading-model",
                      options->brainGradingModel,
                      "Bundle of a second grader, which sees the whole brain, or demonstration (default: none)");
  CLI::Option * const regions = command->add_option(
    "--regions", options->regions, "Image of labels, such as ventricles: how much of each map lies in each");
  command->add_flag(
    "--trust-model", options->trustModel, "Consent to load a model that is a program (TorchScript, .pt2)");
  command->add_flag("--verify", options->verify, "Run each model's golden pair before the case");
  command->add_option("--standardize", options->standardize, "Refuse models that were trained otherwise")
    ->check(CLI::IsMember({ "brain", "image" }));
  command
    ->add_option("--bias-correction",
                 options->biasCorrection,
                 "Refuse models that were trained otherwise (the two of the demonstration differ)")
    ->check(CLI::IsMember({ "n4", "none" }));
  command->add_option("--explain", options->explain, "Which maps explain the grade")
    ->capture_default_str()
    ->check(CLI::IsMember({ "all", "gradcam", "guided-backprop", "none" }));
  CLI::Option * const tests =
    command->add_flag("--test-explanation",
                      options->testExplanation,
                      "Delete and insert what the maps point at, and make weights random; a minute more");
  command->add_option("--device", options->device, "cpu, cuda, cuda:N, or auto: a GPU where there is one")
    ->capture_default_str()
    ->check(DeviceName());
  command->add_option("--precision", options->precision, "Arithmetic of the segmentation")
    ->capture_default_str()
    ->check(CLI::IsMember({ "float32", "bfloat16" }));
  command->add_option("--threads", options->threads, "Number of threads (default: all processors)")
    ->check(CLI::Range(1, 1024));
  command
    ->add_option("--geometry-tolerance",
                 options->geometryTolerance,
                 "Grids may differ by this share of a voxel and in a direction cosine")
    ->capture_default_str()
    ->check(CLI::Range(0.0, 0.5));
  command->add_option("--format", options->format, "Format of the images")
    ->capture_default_str()
    ->check(CLI::IsMember({ "nii.gz", "nrrd", "mha" }));
  command->add_flag("--keep-identifiers",
                    options->keepIdentifiers,
                    "Keep all keys of the header of the image whose grid a result is on, a patient's name too");
  command->add_flag("--force", options->force, "Replace the results of an earlier run");
  command
    ->add_flag(
      "--estimate", options->estimate, "Say how long the case would take and how much memory, and write nothing")
    ->excludes(tests)
    ->excludes(regions)
    ->excludes(output);
  command->callback([options, &exitCode] {
    if (options->output.empty() && !options->estimate)
    {
      throw CLI::RequiredError("--output");
    }
    options->device = itk::TorchModel::ResolveDevice(options->device);
    exitCode = RunGrade(*options);
  });
}
} // namespace glioma
