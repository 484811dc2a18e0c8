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
#ifndef itkGliomaGradingFilter_hxx
#define itkGliomaGradingFilter_hxx

#include "itkBSplineInterpolateImageFunction.h"
#include "itkBoundingBoxROIFilter.h"
#include "itkCommand.h"
#include "itkConnectedRuns.h"
#include "itkExplanationFaithfulnessCalculator.h"
#include "itkExplanationQualityFilter.h"
#include "itkExplanationSanityCalculator.h"
#include "itkFromModelSpaceFilter.h"
#include "itkGridDifference.h"
#include "itkImageAlgorithm.h"
#include "itkImageRegionConstIteratorWithIndex.h"
#include "itkImageRegionIterator.h"
#include "itkMaskedStandardizeFilter.h"
#include "itkModelSpaceFilter.h"
#include "itkNearestNeighborInterpolateImageFunction.h"
#include "itkResampleImageFilter.h"
#include "itkSequenceOrderCalculator.h"
#include "itkTorchSegmentationFilter.h"
#include "itkTumourReplacementFilter.h"
#include "itkUpstreamModifiedTime.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstring>

namespace itk
{
template <typename TInputImage, typename TMaskImage>
GliomaGradingFilter<TInputImage, TMaskImage>::GliomaGradingFilter()
{
  this->SetNumberOfRequiredInputs(0);
  this->AddOptionalInputName("BrainMaskImage");
  this->AddOptionalInputName("TumourMaskImage");
  this->AddOptionalInputName("RegionLabelsImage");
  this->SetCoordinateTolerance(std::max(1e-3, this->GetCoordinateTolerance()));
  this->SetDirectionTolerance(std::max(1e-3, this->GetDirectionTolerance()));
}

template <typename TInputImage, typename TMaskImage>
const std::vector<std::string> &
GliomaGradingFilter<TInputImage, TMaskImage>::GetSequenceNames()
{
  static const std::vector<std::string> names{ "T1", "T1c", "T2", "FLAIR" };
  return names;
}

template <typename TInputImage, typename TMaskImage>
void
GliomaGradingFilter<TInputImage, TMaskImage>::SetSequence(const std::string & name, const InputImageType * image)
{
  const auto & names = GetSequenceNames();
  const auto   found = std::find(names.begin(), names.end(), name);
  if (found == names.end())
  {
    itkExceptionMacro("There is no sequence '" << name << "'; the names are T1, T1c, T2 and FLAIR.");
  }
  this->SetNthInput(static_cast<unsigned int>(found - names.begin()), const_cast<InputImageType *>(image));
}

template <typename TInputImage, typename TMaskImage>
auto
GliomaGradingFilter<TInputImage, TMaskImage>::GetSequence(const std::string & name) const -> const InputImageType *
{
  const auto & names = GetSequenceNames();
  const auto   found = std::find(names.begin(), names.end(), name);
  return found == names.end() ? nullptr : this->GetInput(static_cast<unsigned int>(found - names.begin()));
}

template <typename TInputImage, typename TMaskImage>
ModifiedTimeType
GliomaGradingFilter<TInputImage, TMaskImage>::GetMTime() const
{
  ModifiedTimeType time = Superclass::GetMTime();
  for (const TorchModel * model :
       { m_SegmentationModel.GetPointer(), m_GradingModel.GetPointer(), m_BrainGradingModel.GetPointer() })
  {
    time = std::max(time, model ? model->GetMTime() : 0);
  }
  return time;
}

template <typename TInputImage, typename TMaskImage>
void
GliomaGradingFilter<TInputImage, TMaskImage>::AddGradCAMLayer(const std::string & layer)
{
  m_GradCAMLayers.push_back(layer);
  this->Modified();
}

template <typename TInputImage, typename TMaskImage>
void
GliomaGradingFilter<TInputImage, TMaskImage>::ClearGradCAMLayers()
{
  m_GradCAMLayers.clear();
  this->Modified();
}

template <typename TInputImage, typename TMaskImage>
std::vector<std::string>
GliomaGradingFilter<TInputImage, TMaskImage>::GetGradCAMLayers() const
{
  if (!m_GradCAMLayers.empty() || !m_GradingModel)
  {
    return m_GradCAMLayers;
  }
  std::vector<std::string> ofThePaper;
  std::vector<std::string> all;
  for (const TorchLayerGeometry & layer : m_GradingModel->GetManifest().Layers)
  {
    all.push_back(layer.Layer);
    if (layer.Layer == "res3" || layer.Layer == "res4")
    {
      ofThePaper.push_back(layer.Layer);
    }
  }
  return ofThePaper.empty() ? all : ofThePaper;
}

template <typename TInputImage, typename TMaskImage>
void
GliomaGradingFilter<TInputImage, TMaskImage>::SetReviewThresholds(const ReviewThresholds & thresholds)
{
  m_ReviewThresholds = thresholds;
  m_Signature.clear(); // those of the sequences' order belong to what is kept
  this->Modified();
}

template <typename TInputImage, typename TMaskImage>
auto
GliomaGradingFilter<TInputImage, TMaskImage>::GetGradCAM(const std::string & layer) const -> const RealImageType *
{
  const LayerMaps * const maps = FindLayer(m_GradCAM, layer);
  return maps ? maps->Map.GetPointer() : nullptr;
}

template <typename TInputImage, typename TMaskImage>
auto
GliomaGradingFilter<TInputImage, TMaskImage>::GetGradCAMSupport(const std::string & layer) const
  -> const MaskImageType *
{
  const LayerMaps * const maps = FindLayer(m_GradCAM, layer);
  return maps ? maps->Support.GetPointer() : nullptr;
}

template <typename TInputImage, typename TMaskImage>
bool
GliomaGradingFilter<TInputImage, TMaskImage>::GetGradCAMHasPositiveCell(const std::string & layer) const
{
  const LayerMaps * const maps = FindLayer(m_GradCAM, layer);
  return maps && maps->HasPositiveCell;
}

template <typename TInputImage, typename TMaskImage>
std::vector<std::string>
GliomaGradingFilter<TInputImage, TMaskImage>::GetBrainGradCAMLayers() const
{
  std::vector<std::string> layers;
  for (const auto & layer : m_OfBrain.GradCAM)
  {
    layers.push_back(layer.first);
  }
  return layers;
}

template <typename TInputImage, typename TMaskImage>
auto
GliomaGradingFilter<TInputImage, TMaskImage>::GetBrainGradCAM(const std::string & layer) const -> const RealImageType *
{
  const LayerMaps * const maps = FindLayer(m_OfBrain.GradCAM, layer);
  return maps ? maps->Map.GetPointer() : nullptr;
}

template <typename TInputImage, typename TMaskImage>
auto
GliomaGradingFilter<TInputImage, TMaskImage>::GetBrainGradCAMSupport(const std::string & layer) const
  -> const MaskImageType *
{
  const LayerMaps * const maps = FindLayer(m_OfBrain.GradCAM, layer);
  return maps ? maps->Support.GetPointer() : nullptr;
}

template <typename TInputImage, typename TMaskImage>
bool
GliomaGradingFilter<TInputImage, TMaskImage>::GetBrainGradCAMHasPositiveCell(const std::string & layer) const
{
  const LayerMaps * const maps = FindLayer(m_OfBrain.GradCAM, layer);
  return maps && maps->HasPositiveCell;
}

template <typename TInputImage, typename TMaskImage>
std::vector<std::string>
GliomaGradingFilter<TInputImage, TMaskImage>::GetClassNames() const
{
  return m_GradingModel ? m_GradingModel->GetManifest().ClassNames : std::vector<std::string>();
}

template <typename TInputImage, typename TMaskImage>
void
GliomaGradingFilter<TInputImage, TMaskImage>::CheckModel(const TorchModel *  model,
                                                         const std::string & role,
                                                         const std::string & task) const
{
  if (model == nullptr)
  {
    itkExceptionMacro("The " << role << " model is missing; call Set"
                             << (task == "grading" ? "Grading" : "Segmentation") << "Model().");
  }
  if (!model->IsLoaded())
  {
    itkExceptionMacro("The " << role << " model " << model->GetPath() << " is not loaded; call Load() first.");
  }
  const TorchModelManifest & manifest = model->GetManifest();
  if (manifest.Task != task)
  {
    itkExceptionMacro("The " << role << " model " << model->GetPath() << " is made for the task '" << manifest.Task
                             << "', not for '" << task << "'; give another model.");
  }
  std::vector<std::string> wanted = manifest.ChannelNames;
  std::vector<std::string> given = GetSequenceNames();
  std::sort(wanted.begin(), wanted.end());
  std::sort(given.begin(), given.end());
  if (wanted != given)
  {
    std::string text;
    for (const std::string & name : manifest.ChannelNames)
    {
      text += (text.empty() ? "" : ", ") + name;
    }
    itkExceptionMacro("The " << role << " model " << model->GetPath() << " wants the channels " << text
                             << "; this filter has T1, T1c, T2 and FLAIR.");
  }
  const auto need = [&](bool isSaid, const std::string & key) {
    if (!isSaid)
    {
      itkExceptionMacro("The manifest of the " << role << " model " << model->GetPath() << " does not say its " << key
                                               << "; add it to the bundle's gliomagrading.json.");
    }
  };
  need(manifest.BiasCorrection == "n4" || manifest.BiasCorrection == "none", "bias correction (n4 or none)");
  need(manifest.Standardization == "brain" || manifest.Standardization == "image", "standardization (brain or image)");
  if (task == "grading")
  {
    need(manifest.OutputSize > 0, "output size");
    need(!manifest.FitMode.empty(), "fit mode (cube, stretch or letterbox)");
    if (manifest.Region != "tumour" && manifest.Region != "brain")
    {
      itkExceptionMacro("The grading model " << model->GetPath() << " is made for the region '" << manifest.Region
                                             << "'; this filter shows it the tumour's region or the brain's.");
    }
    if (m_ClassToExplain >= static_cast<int>(manifest.ClassNames.size()))
    {
      itkExceptionMacro("ClassToExplain is " << m_ClassToExplain << "; the grading model has "
                                             << manifest.ClassNames.size() << " classes, counted from 0.");
    }
  }
}

template <typename TInputImage, typename TMaskImage>
void
GliomaGradingFilter<TInputImage, TMaskImage>::VerifyPreconditions() const
{
  Superclass::VerifyPreconditions();
  for (unsigned int i = 0; i < GetSequenceNames().size(); ++i)
  {
    if (this->GetInput(i) == nullptr)
    {
      itkExceptionMacro("The sequence " << GetSequenceNames()[i] << " is missing; call SetSequence(\""
                                        << GetSequenceNames()[i] << "\", image).");
    }
  }
  if (m_ClassToExplain < -1)
  {
    itkExceptionMacro("ClassToExplain is " << m_ClassToExplain << "; give a class, or -1 for the predicted one.");
  }
  if (!this->GetTumourMaskImage())
  {
    this->CheckModel(m_SegmentationModel, "segmentation", "segmentation");
  }
  this->CheckModel(m_GradingModel, "grading", "grading");
  if (m_BrainGradingModel)
  {
    this->CheckModel(m_BrainGradingModel, "whole-brain grading", "grading");
    if (m_BrainGradingModel->GetManifest().Region != "brain")
    {
      itkExceptionMacro("The whole-brain grading model " << m_BrainGradingModel->GetPath()
                                                         << " is made for the region '"
                                                         << m_BrainGradingModel->GetManifest().Region
                                                         << "', not for 'brain'; give it as the grading model.");
    }
    if (m_BrainGradingModel->GetManifest().ClassNames != this->GetClassNames())
    {
      itkExceptionMacro("The grading model " << m_GradingModel->GetPath() << " and the whole-brain grading model "
                                             << m_BrainGradingModel->GetPath()
                                             << " do not have the same classes in the same order: their grades cannot "
                                                "be compared.");
    }
  }
}

template <typename TInputImage, typename TMaskImage>
void
GliomaGradingFilter<TInputImage, TMaskImage>::VerifyInputInformation() const
{
  const auto preparation = PreparationType::New();
  for (const std::string & name : GetSequenceNames())
  {
    preparation->SetSequence(name, this->GetSequence(name));
  }
  preparation->SetBrainMaskImage(this->GetBrainMaskImage());
  preparation->SetCoordinateTolerance(this->GetCoordinateTolerance());
  preparation->SetDirectionTolerance(this->GetDirectionTolerance());
  preparation->VerifyGrids();

  const MaskImageType * const tumour = this->GetTumourMaskImage();
  if (tumour)
  {
    const std::string what = GridDifference<ImageDimension>(this->GetInput(0), tumour)
                               .Describe(this->GetCoordinateTolerance(), this->GetDirectionTolerance());
    if (!what.empty())
    {
      itkExceptionMacro("The grid of the tumour mask differs from the sequences' in "
                        << what << " (the sequences' first); resample the mask to their grid.");
    }
  }
}

template <typename TInputImage, typename TMaskImage>
void
GliomaGradingFilter<TInputImage, TMaskImage>::GenerateOutputInformation()
{
  Superclass::GenerateOutputInformation();
  this->GetOutput()->SetMetaDataDictionary(this->GetInput(0)->GetMetaDataDictionary());
}

template <typename TInputImage, typename TMaskImage>
void
GliomaGradingFilter<TInputImage, TMaskImage>::GenerateInputRequestedRegion()
{
  Superclass::GenerateInputRequestedRegion();
  for (const auto & name : this->GetInputNames())
  {
    DataObject * input = this->ProcessObject::GetInput(name);
    if (input)
    {
      input->SetRequestedRegionToLargestPossibleRegion();
    }
  }
}

template <typename TInputImage, typename TMaskImage>
void
GliomaGradingFilter<TInputImage, TMaskImage>::EnlargeOutputRequestedRegion(DataObject * output)
{
  Superclass::EnlargeOutputRequestedRegion(output);
  output->SetRequestedRegionToLargestPossibleRegion();
}

template <typename TInputImage, typename TMaskImage>
void
GliomaGradingFilter<TInputImage, TMaskImage>::BeginStage(const std::string & name, float progress)
{
  m_CurrentStage = name;
  m_StageStart = std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
  this->StopIfAborted(progress);
}

template <typename TInputImage, typename TMaskImage>
void
GliomaGradingFilter<TInputImage, TMaskImage>::StopIfAborted(float progress)
{
  this->UpdateProgress(progress);
  if (this->GetAbortGenerateData())
  {
    throw ProcessAborted(__FILE__, __LINE__);
  }
}

template <typename TInputImage, typename TMaskImage>
void
GliomaGradingFilter<TInputImage, TMaskImage>::EndStage()
{
  const double now = std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
  m_StageSeconds.emplace_back(m_CurrentStage, now - m_StageStart);
  m_CurrentStage.clear();
}

template <typename TInputImage, typename TMaskImage>
template <typename TFilter>
void
GliomaGradingFilter<TInputImage, TMaskImage>::Run(TFilter * filter, float progressStart, float progressWeight)
{
  filter->SetNumberOfWorkUnits(this->GetNumberOfWorkUnits());
  const unsigned long observer =
    filter->AddObserver(ProgressEvent(), [this, filter, progressStart, progressWeight](const EventObject &) {
      this->UpdateProgress(progressStart + progressWeight * filter->GetProgress());
      if (this->GetAbortGenerateData())
      {
        filter->AbortGenerateDataOn();
      }
    });
  // However the run ends: some filters are kept for the next one.
  struct Removal
  {
    TFilter *     Filter;
    unsigned long Observer;
    ~Removal() { Filter->RemoveObserver(Observer); }
  };
  const Removal removal{ filter, observer };
  filter->Update();
}

template <typename TInputImage, typename TMaskImage>
std::vector<std::uintptr_t>
GliomaGradingFilter<TInputImage, TMaskImage>::SignatureOfInputs() const
{
  std::vector<std::uintptr_t> signature;
  for (const auto & name : this->GetInputNames())
  {
    const DataObject * input = this->ProcessObject::GetInput(name);
    signature.push_back(reinterpret_cast<std::uintptr_t>(input));
    // Not the data's own times, which move when a source makes again what was released.
    signature.push_back(UpstreamModifiedTime::Of(input));
  }
  for (const TorchModel * model : { m_SegmentationModel.GetPointer(), m_GradingModel.GetPointer() })
  {
    signature.push_back(reinterpret_cast<std::uintptr_t>(model));
    signature.push_back(model ? model->GetMTime() : 0);
  }
  for (const double tolerance : { this->GetCoordinateTolerance(), this->GetDirectionTolerance() })
  {
    std::uintptr_t bits = 0;
    std::memcpy(&bits, &tolerance, std::min(sizeof(bits), sizeof(tolerance)));
    signature.push_back(bits);
  }
  signature.push_back(m_GradeWithoutTumour);
  signature.push_back(m_KeepIntermediates);
  signature.push_back(m_TurnUpright);
  return signature;
}

template <typename TInputImage, typename TMaskImage>
void
GliomaGradingFilter<TInputImage, TMaskImage>::Reset()
{
  m_Signature.clear();
  m_Upright = nullptr;
  m_WholeBrain = nullptr;
  m_Labels = nullptr;
  m_Brain = nullptr;
  m_BrainOfInput = nullptr;
  m_Probability = nullptr;
  m_Prepared = nullptr;
  m_Corrected.clear();
  m_Border = nullptr;
  m_Region = nullptr;
  m_RegionReport = RegionReport();
  m_ProbabilitiesWithoutTumour.clear();
  m_FilledShare = ReviewFindings::Unknown;
  m_TumourFound = false;
  m_TumourVolume = 0.0;
  m_CaseFindings = ReviewFindings();
  m_SequenceNumbers.clear();
  m_SequenceReports.clear();
}

template <typename TInputImage, typename TMaskImage>
template <typename TPreparation, typename TSequenceOf>
void
GliomaGradingFilter<TInputImage, TMaskImage>::Prepare(TPreparation *             preparation,
                                                      const TSequenceOf &        sequenceOf,
                                                      const TorchModelManifest & manifest,
                                                      bool                       isCorrected,
                                                      float                      progressStart,
                                                      float                      progressWeight)
{
  using BiasCorrectionEnum = typename TPreparation::BiasCorrectionEnum;
  using StandardizationEnum = typename TPreparation::StandardizationEnum;
  preparation->ClearSequenceNames();
  for (const std::string & name : manifest.ChannelNames)
  {
    preparation->AddSequenceName(name);
    const auto view = ViewOf(sequenceOf(name));
    view->SetMetaDataDictionary(this->GetInput(0)->GetMetaDataDictionary());
    preparation->SetSequence(name, view);
  }
  const MaskImageType * brain = m_Brain ? m_Brain.GetPointer() : this->GetBrainMaskImage();
  if (brain)
  {
    preparation->SetBrainMaskImage(ViewOf(brain));
  }
  preparation->SetCoordinateTolerance(this->GetCoordinateTolerance());
  preparation->SetDirectionTolerance(this->GetDirectionTolerance());
  preparation->SetBiasCorrection(manifest.BiasCorrection == "n4" && !isCorrected ? BiasCorrectionEnum::N4
                                                                                 : BiasCorrectionEnum::None);
  preparation->SetStandardization(manifest.Standardization == "brain" ? StandardizationEnum::Brain
                                                                      : StandardizationEnum::Image);
  preparation->SetLowerQuantile(manifest.LowerQuantile);
  preparation->SetUpperQuantile(manifest.UpperQuantile);
  preparation->SetOutsideValue(static_cast<float>(manifest.OutsideValue));
  // A raw pointer: the filter would keep itself alive.
  const TPreparation * const running = preparation;
  preparation->AddObserver(ProgressEvent(),
                           [this, running](const EventObject &) { m_CurrentStage = running->GetCurrentStage(); });
  this->Run(preparation, progressStart, progressWeight);
  for (const auto & stage : preparation->GetStageSeconds())
  {
    m_StageSeconds.push_back(stage);
  }
  m_CurrentStage.clear();
  m_Prepared = VectorImageType::New();
  m_Prepared->Graft(preparation->GetOutput());
  const auto & reports = preparation->GetSequenceReports();
  m_Background.SetSize(static_cast<unsigned int>(reports.size()));
  for (unsigned int c = 0; c < m_Background.Size(); ++c)
  {
    m_Background[c] = reports[c].Background;
  }
}

template <typename TInputImage, typename TMaskImage>
void
GliomaGradingFilter<TInputImage, TMaskImage>::KeepLargeComponents(MaskImageType * labels) const
{
  const ConnectedRuns runs(labels->GetBufferPointer(), labels->GetLargestPossibleRegion().GetSize(), true);
  if (runs.GetComponents().empty())
  {
    return;
  }
  const auto & components = runs.GetComponents();
  // Smaller parts, as a share of the largest, are no tumour (26 neighbours).
  const double smallest = m_SegmentationModel->GetManifest().MinimumComponentShare *
                          static_cast<double>(components[runs.GetLargest()].voxels);
  const auto width = labels->GetLargestPossibleRegion().GetSize(0);
  for (const ConnectedRuns::Run & run : runs.GetRuns())
  {
    if (static_cast<double>(components[run.component].voxels) < smallest)
    {
      MaskPixelType * const line = labels->GetBufferPointer() + run.line * width;
      std::fill(line + run.begin, line + run.end, MaskPixelType{});
    }
  }
}

template <typename TInputImage, typename TMaskImage>
void
GliomaGradingFilter<TInputImage, TMaskImage>::FindBrainCentre()
{
  const RegionType      region = m_Brain->GetLargestPossibleRegion();
  const MaskPixelType * voxel = m_Brain->GetBufferPointer();
  std::array<double, 3> sums{ { 0.0, 0.0, 0.0 } };
  SizeValueType         inside = 0;
  for (SizeValueType k = 0; k < region.GetSize(2); ++k)
  {
    for (SizeValueType j = 0; j < region.GetSize(1); ++j)
    {
      SizeValueType line = 0;
      SizeValueType sum = 0;
      for (SizeValueType i = 0; i < region.GetSize(0); ++i, ++voxel)
      {
        const bool isInside = *voxel != MaskPixelType{};
        line += isInside;
        sum += isInside ? i : 0;
      }
      inside += line;
      sums[0] += static_cast<double>(sum);
      sums[1] += static_cast<double>(j * line);
      sums[2] += static_cast<double>(k * line);
    }
  }
  for (unsigned int d = 0; d < ImageDimension; ++d)
  {
    m_BrainCentre[d] =
      static_cast<double>(region.GetIndex(d)) + sums[d] / static_cast<double>(std::max<SizeValueType>(inside, 1));
  }
}

template <typename TInputImage, typename TMaskImage>
void
GliomaGradingFilter<TInputImage, TMaskImage>::FindTumour(const VectorImageType * prepared)
{
  const TorchModelManifest & manifest = m_SegmentationModel->GetManifest();
  const auto                 setGrid = [&](auto * filter) {
    typename VectorImageType::SpacingType spacing;
    std::copy(manifest.Spacing.begin(), manifest.Spacing.end(), spacing.Begin());
    filter->SetOutputOrientation(manifest.Orientation);
    filter->SetOutputSpacing(spacing);
    filter->SetAnchor(m_BrainCentre);
    filter->SetAnchorMultiple(std::max(1u, manifest.TileStep));
  };
  using MaskToModelType = ModelSpaceFilter<MaskImageType>;
  auto maskToModel = MaskToModelType::New();
  maskToModel->SetInput(m_Brain);
  maskToModel->SetInterpolation(MaskToModelType::InterpolationEnum::NearestNeighbor);
  setGrid(maskToModel.GetPointer());
  this->Run(maskToModel.GetPointer(), 0.42f, 0.0f);
  typename MaskImageType::Pointer mask = maskToModel->GetOutput();
  mask->DisconnectPipeline();

  // The brain's box on the model's grid, starting on the grid on which tiles may start.
  const RegionType    whole = mask->GetLargestPossibleRegion();
  const ConnectedRuns runs(mask->GetBufferPointer(), whole.GetSize(), true);
  if (runs.GetComponents().empty())
  {
    itkExceptionMacro("The brain mask is empty on the segmentation model's grid of spacing "
                      << mask->GetSpacing() << " mm; check the mask and the spacing of the images.");
  }
  RegionType box;
  for (unsigned int d = 0; d < ImageDimension; ++d)
  {
    IndexValueType lower = static_cast<IndexValueType>(whole.GetSize(d));
    IndexValueType upper = 0;
    for (const auto & component : runs.GetComponents())
    {
      lower = std::min(lower, static_cast<IndexValueType>(component.lower[d]));
      upper = std::max(upper, static_cast<IndexValueType>(component.upper[d]));
    }
    // One voxel more: what is interpolated at the brain's surface needs the background beside it.
    lower = std::max<IndexValueType>(0, lower - 1);
    upper = std::min<IndexValueType>(static_cast<IndexValueType>(whole.GetSize(d)) - 1, upper + 1);
    const auto step = static_cast<IndexValueType>(std::max(1u, manifest.TileStep));
    lower -= lower % step;
    box.SetIndex(d, whole.GetIndex(d) + lower);
    box.SetSize(d, static_cast<SizeValueType>(upper - lower + 1));
  }
  const auto cut = [&box](auto * image) {
    using ImageType = std::remove_pointer_t<decltype(image)>;
    auto part = ImageType::New();
    part->CopyInformation(image);
    part->SetRegions(box);
    part->Allocate();
    ImageAlgorithm::Copy(image, part.GetPointer(), box, box);
    return part;
  };
  const auto brain = cut(mask.GetPointer());
  mask = nullptr;

  auto toModel = ModelSpaceFilter<VectorImageType>::New();
  toModel->SetInput(ViewOf(prepared));
  toModel->SetOutsideValue(m_Background);
  setGrid(toModel.GetPointer());
  toModel->UpdateOutputInformation();
  toModel->GetOutput()->SetRequestedRegion(box);
  this->Run(toModel.GetPointer(), 0.42f, 0.03f);
  const AxisAlignedMapping          mapping = toModel->GetMapping();
  typename VectorImageType::Pointer part = toModel->GetOutput();
  part->DisconnectPipeline();
  part->SetRegions(box);
  toModel = nullptr;

  using SegmentationType = TorchSegmentationFilter<VectorImageType, MaskImageType>;
  auto segmentation = SegmentationType::New();
  segmentation->SetInput(part);
  segmentation->SetMaskImage(brain);
  segmentation->SetModel(m_SegmentationModel);
  segmentation->SetOutsideValues(m_Background);
  segmentation->GenerateProbabilitiesOn();
  this->Run(segmentation.GetPointer(), 0.45f, 0.35f);
  const auto *       classes = segmentation->GetProbabilities();
  const unsigned int number = classes->GetNumberOfComponentsPerPixel();

  // Everything that is not the background is tumour.
  auto tumour = RealImageType::New();
  tumour->CopyInformation(part);
  tumour->SetRegions(box);
  tumour->Allocate();
  auto weight = RealImageType::New();
  weight->CopyInformation(part);
  weight->SetRegions(box);
  weight->Allocate();
  const float * probability = classes->GetBufferPointer();
  for (SizeValueType i = 0; i < box.GetNumberOfPixels(); ++i, probability += number)
  {
    const bool isInside = brain->GetBufferPointer()[i] != MaskPixelType{};
    float      sum = number == 1 ? probability[0] : 0.0f;
    for (unsigned int c = 1; c < number; ++c)
    {
      sum += probability[c];
    }
    tumour->GetBufferPointer()[i] = isInside ? std::min(1.0f, sum) : 0.0f;
    weight->GetBufferPointer()[i] = isInside ? 1.0f : 0.0f;
  }
  segmentation = nullptr;
  part = nullptr;

  const auto bringBack = [&](RealImageType * image) {
    auto back = FromModelSpaceFilter<RealImageType>::New();
    back->SetInput(image);
    back->SetReferenceImage(m_Labels);
    back->SetModelMapping(mapping);
    this->Run(back.GetPointer(), 0.82f, 0.0f);
    typename RealImageType::Pointer result = back->GetOutput();
    result->DisconnectPipeline();
    return result;
  };
  // The background is no evidence against a tumour at the brain's surface: only voxels of the brain are averaged.
  m_Probability = bringBack(tumour);
  const typename RealImageType::Pointer weights = bringBack(weight);
  for (SizeValueType i = 0; i < m_Labels->GetLargestPossibleRegion().GetNumberOfPixels(); ++i)
  {
    float &     value = m_Probability->GetBufferPointer()[i];
    const float share = weights->GetBufferPointer()[i];
    const bool  isInside = m_Brain->GetBufferPointer()[i] != MaskPixelType{};
    value = isInside && share > 0.0f ? std::min(1.0f, value / share) : 0.0f;
    m_Labels->GetBufferPointer()[i] = value > 0.5f ? 1 : 0;
  }
  m_Probability->SetMetaDataDictionary(this->GetInput(0)->GetMetaDataDictionary());
  this->KeepLargeComponents(m_Labels);
}

template <typename TInputImage, typename TMaskImage>
void
GliomaGradingFilter<TInputImage, TMaskImage>::TakeTumourMask()
{
  this->MeasureTumourMask();
  const RegionType region = m_Labels->GetLargestPossibleRegion();
  ImageAlgorithm::Copy(this->GetTumourMaskImage(), m_Labels.GetPointer(), region, region);
  MaskPixelType * const label = m_Labels->GetBufferPointer();
  std::transform(label, label + region.GetNumberOfPixels(), label, [](MaskPixelType value) {
    return static_cast<MaskPixelType>(value != MaskPixelType{} ? 1 : 0);
  });
}

template <typename TInputImage, typename TMaskImage>
void
GliomaGradingFilter<TInputImage, TMaskImage>::MeasureTumourMask()
{
  const RegionType            region = m_Brain->GetLargestPossibleRegion();
  const MaskPixelType * const given = this->GetTumourMaskImage()->GetBufferPointer();
  const MaskPixelType * const brain = m_Brain->GetBufferPointer();
  SizeValueType               inside = 0;
  SizeValueType               insideBrain = 0;
  for (SizeValueType i = 0; i < region.GetNumberOfPixels(); ++i)
  {
    const bool isTumour = given[i] != MaskPixelType{};
    inside += isTumour ? 1 : 0;
    insideBrain += isTumour && brain[i] != MaskPixelType{} ? 1 : 0;
  }
  if (inside == 0 || inside == region.GetNumberOfPixels())
  {
    itkExceptionMacro("The tumour mask " << (inside ? "covers the whole image" : "is empty")
                                         << ": give a mask that is not 0 inside the tumour alone, or none, so that the "
                                            "tumour is segmented.");
  }
  if (insideBrain == 0)
  {
    itkExceptionMacro(
      "None of the " << inside << " voxels of the tumour mask lies in the brain: does it belong to these images?");
  }
  m_CaseFindings.TumourShareOutsideBrain = static_cast<double>(inside - insideBrain) / static_cast<double>(inside);
}

template <typename TInputImage, typename TMaskImage>
void
GliomaGradingFilter<TInputImage, TMaskImage>::CutRegion(const VectorImageType * prepared)
{
  this->BeginStage("cut-region", 0.84f);
  const TorchModelManifest &            manifest = m_GradingModel->GetManifest();
  typename VectorImageType::SpacingType spacing;
  std::copy(manifest.Spacing.begin(), manifest.Spacing.end(), spacing.Begin());

  auto toModel = ModelSpaceFilter<VectorImageType>::New();
  toModel->SetInput(ViewOf(prepared));
  toModel->SetOutputOrientation(manifest.Orientation);
  toModel->SetOutputSpacing(spacing);
  toModel->SetAnchor(m_BrainCentre);
  toModel->SetOutsideValue(m_Background);
  toModel->SetNumberOfWorkUnits(this->GetNumberOfWorkUnits());
  // It runs inside the region's update, which asks for the voxels that it needs.
  float progress = 0.84f;
  toModel->AddObserver(ProgressEvent(), [this, &progress, raw = toModel.GetPointer()](const EventObject &) {
    this->UpdateProgress(progress + 0.01f * raw->GetProgress());
    if (this->GetAbortGenerateData())
    {
      raw->AbortGenerateDataOn();
    }
  });

  using MaskToModelType = ModelSpaceFilter<MaskImageType>;
  auto maskToModel = MaskToModelType::New();
  // A grader sees the region that it was trained on: the tumour's, or the whole brain's.
  const bool isOfBrain = manifest.Region == "brain";
  maskToModel->SetInput(isOfBrain ? m_Brain : m_Labels);
  maskToModel->SetInterpolation(MaskToModelType::InterpolationEnum::NearestNeighbor);
  maskToModel->SetOutputOrientation(manifest.Orientation);
  maskToModel->SetOutputSpacing(spacing);
  maskToModel->SetAnchor(m_BrainCentre);
  this->Run(maskToModel.GetPointer(), 0.84f, 0.0f);

  const MaskPixelType * const first = maskToModel->GetOutput()->GetBufferPointer();
  const SizeValueType         voxels = maskToModel->GetOutput()->GetLargestPossibleRegion().GetNumberOfPixels();
  if (std::all_of(first, first + voxels, [](MaskPixelType value) { return value == MaskPixelType{}; }))
  {
    m_TumourFound = false;
    m_CaseFindings.TumourFound = false;
    m_CaseFindings.TumourBelowGrid = true;
    this->EndStage();
    return;
  }

  using RegionFilterType = BoundingBoxROIFilter<VectorImageType, MaskImageType>;
  using ModeEnum = typename RegionFilterType::ModeEnum;
  using StatusFlagEnum = typename RegionFilterType::StatusFlagEnum;
  const std::map<std::string, ModeEnum> modes{ { "cube", ModeEnum::Cube },
                                               { "stretch", ModeEnum::Stretch },
                                               { "letterbox", ModeEnum::Letterbox } };
  const auto                            mode = modes.find(manifest.FitMode);
  if (mode == modes.end())
  {
    itkExceptionMacro("The grading model " << m_GradingModel->GetPath() << " says the fit mode '" << manifest.FitMode
                                           << "'; known are cube, stretch and letterbox.");
  }
  auto region = RegionFilterType::New();
  region->SetInput(toModel->GetOutput());
  region->SetMaskImage(maskToModel->GetOutput());
  region->SetMode(mode->second);
  region->SetMargin(manifest.Margin);
  region->SetMinimumComponentFraction(manifest.MinimumComponentShare);
  region->SetOutputSize(manifest.OutputSize);
  region->SetOutsideValue(m_Background);
  this->Run(region.GetPointer(), 0.85f, 0.01f);
  m_Region = region->GetOutput();
  m_RegionMapping = toModel->GetMapping().After(region->GetMapping());

  m_RegionReport.Tiny = !isOfBrain && region->HasStatus(StatusFlagEnum::Tiny);
  m_RegionReport.TouchesBorder = region->HasStatus(StatusFlagEnum::TouchesBorder);
  if (isOfBrain)
  {
    const RegionType   whole = m_Labels->GetLargestPossibleRegion();
    const RegionType & box = m_RegionReport.Box;
    m_RegionReport.TouchesBorder = false;
    for (unsigned int d = 0; d < ImageDimension; ++d)
    {
      m_RegionReport.TouchesBorder = m_RegionReport.TouchesBorder || box.GetIndex(d) == whole.GetIndex(d) ||
                                     box.GetUpperIndex()[d] == whole.GetUpperIndex()[d];
    }
  }
  m_RegionReport.LeavesImage = region->HasStatus(StatusFlagEnum::LeavesImage);
  m_Region->DisconnectPipeline();
  m_RegionReport.OutputSize = manifest.OutputSize;
  const RegionType           extent = m_Region->GetLargestPossibleRegion();
  ContinuousIndex<double, 3> middle;
  for (unsigned int d = 0; d < ImageDimension; ++d)
  {
    middle[d] = static_cast<double>(extent.GetIndex(d)) + 0.5 * (static_cast<double>(extent.GetSize(d)) - 1.0);
    m_RegionReport.Spacing[d] = m_Region->GetSpacing()[d];
    m_RegionReport.Sides[m_RegionMapping.Axis[d]] = m_Region->GetSpacing()[d] * static_cast<double>(extent.GetSize(d));
  }
  m_Region->TransformContinuousIndexToPhysicalPoint(middle, m_RegionReport.Centre);
  this->EndStage();

  if (m_GradeWithoutTumour)
  {
    this->BeginStage("grade-without-tumour", 0.86f);
    const auto replacement = TumourReplacementFilter<VectorImageType, MaskImageType>::New();
    replacement->SetInput(ViewOf(prepared));
    replacement->SetTumourMaskImage(ViewOf(m_Labels.GetPointer()));
    replacement->SetBrainMaskImage(ViewOf(m_Brain.GetPointer()));
    replacement->SetNumberOfWorkUnits(this->GetNumberOfWorkUnits());
    // The same cut, of which it computes no more than the region.
    toModel->SetInput(replacement->GetOutput());
    progress = 0.86f;
    this->Run(region.GetPointer(), 0.87f, 0.005f);
    this->GradeReplaced(region->GetOutput(), replacement->GetFilledShare());
    this->EndStage();
  }
}

template <typename TInputImage, typename TMaskImage>
TorchExplanation
GliomaGradingFilter<TInputImage, TMaskImage>::ExplainRegion(const VectorImageType *         region,
                                                            const TorchExplanationRequest & request) const
{
  TorchVolumeView view;
  view.Buffer = region->GetBufferPointer();
  view.Components = region->GetNumberOfComponentsPerPixel();
  view.RegionSize = region->GetLargestPossibleRegion().GetSize();
  const TorchExplanation explanation =
    m_GradingModel->Explain(view, request, static_cast<unsigned int>(this->GetNumberOfWorkUnits()));
  for (const double probability : explanation.Probabilities)
  {
    if (!std::isfinite(probability))
    {
      itkExceptionMacro("The grading model " << m_GradingModel->GetPath()
                                             << " gave a probability that is not finite; its weights are damaged.");
    }
  }
  return explanation;
}

template <typename TInputImage, typename TMaskImage>
void
GliomaGradingFilter<TInputImage, TMaskImage>::GradeReplaced(const VectorImageType * region, double filledShare)
{
  m_FilledShare = filledShare;
  if (filledShare > m_ReviewThresholds.LargestFilledShare)
  {
    return;
  }
  TorchExplanationRequest request;
  request.Between = [this] { this->StopIfAborted(0.875f); };
  m_ProbabilitiesWithoutTumour = this->ExplainRegion(region, request).Probabilities;
}

template <typename TInputImage, typename TMaskImage>
void
GliomaGradingFilter<TInputImage, TMaskImage>::GradeAndExplain()
{
  TorchExplanationRequest    request;
  const TorchModelManifest & manifest = m_GradingModel->GetManifest();
  if (m_Explain == ExplainEnum::GradCAM || m_Explain == ExplainEnum::All)
  {
    request.Layers = this->GetGradCAMLayers();
    if (request.Layers.empty())
    {
      itkExceptionMacro("The grading model "
                        << m_GradingModel->GetPath()
                        << " names no layer for GradCAM; explain by guided backpropagation alone, or "
                           "add the layers to its manifest.");
    }
  }
  request.GuidedBackpropagation = m_Explain == ExplainEnum::GuidedBackpropagation || m_Explain == ExplainEnum::All;
  request.ExplainProbability = m_ExplainProbability;
  request.Between = [this] { this->StopIfAborted(0.88f); };
  if (m_ClassToExplain >= 0)
  {
    request.Classes.push_back(static_cast<unsigned int>(m_ClassToExplain));
  }

  this->BeginStage("grade-and-explain", 0.88f);
  const TorchExplanation explanation = this->ExplainRegion(m_Region, request);
  m_Logits = explanation.Logits;
  m_Probabilities = explanation.Probabilities;
  m_Grade = manifest.ClassNames.at(explanation.PredictedClass);
  m_ExplainedClass = m_ClassToExplain >= 0 ? static_cast<unsigned int>(m_ClassToExplain) : explanation.PredictedClass;
  this->EndStage();

  this->BeginStage("maps", 0.93f);
  this->BringMapsBack(explanation);
  this->EndStage();
}

template <typename TInputImage, typename TMaskImage>
void
GliomaGradingFilter<TInputImage, TMaskImage>::BringMapsBack(const TorchExplanation & explanation)
{
  const auto bringBack = [this](auto * image, const AxisAlignedMapping & mapping, float progress) {
    using ImageType = std::remove_pointer_t<decltype(image)>;
    auto back = FromModelSpaceFilter<ImageType>::New();
    back->SetInput(image);
    back->SetReferenceImage(m_Labels);
    back->SetModelMapping(mapping);
    this->Run(back.GetPointer(), progress, 0.0f);
    typename ImageType::Pointer result = back->GetOutput();
    result->DisconnectPipeline();
    result->SetMetaDataDictionary(this->GetInput(0)->GetMetaDataDictionary());
    return result;
  };

  for (const TorchGradCAM & map : explanation.GradCAM)
  {
    if (map.Class != m_ExplainedClass)
    {
      continue;
    }
    // Cells lie where their layer's geometry says, not stretched over the region.
    AxisAlignedMapping cells;
    for (unsigned int d = 0; d < ImageDimension; ++d)
    {
      cells.Scale[d] = map.Geometry.Step[d];
      cells.Offset[d] = map.Geometry.Offset[d] + static_cast<double>(m_Region->GetLargestPossibleRegion().GetIndex(d));
    }
    auto image = RealImageType::New();
    image->SetRegions(map.Map.RegionSize);
    ContinuousIndex<double, 3> first;
    auto                       spacing = m_Region->GetSpacing();
    for (unsigned int d = 0; d < ImageDimension; ++d)
    {
      first[d] = cells.Offset[d];
      spacing[d] *= cells.Scale[d];
    }
    typename RealImageType::PointType origin;
    m_Region->TransformContinuousIndexToPhysicalPoint(first, origin);
    image->SetOrigin(origin);
    image->SetSpacing(spacing);
    image->SetDirection(m_Region->GetDirection());
    image->Allocate();
    std::copy(map.Map.Buffer.begin(), map.Map.Buffer.end(), image->GetBufferPointer());
    auto reach = MaskImageType::New();
    reach->SetRegions(map.Map.RegionSize);
    reach->Allocate();
    reach->FillBuffer(1);

    const AxisAlignedMapping mapping = m_RegionMapping.After(cells);
    LayerMaps &              maps = m_GradCAM[map.Geometry.Layer];
    maps.Cells = image;
    maps.Map = bringBack(image.GetPointer(), mapping, 0.94f);
    maps.Support = bringBack(reach.GetPointer(), mapping, 0.94f);
    maps.HasPositiveCell = map.HasPositiveCell;
  }
  for (const TorchGuidedMap & map : explanation.Guided)
  {
    if (map.Class != m_ExplainedClass)
    {
      continue;
    }
    // Components in the order of the sequences, whatever the model's channels are.
    const auto &      channels = m_GradingModel->GetManifest().ChannelNames;
    const std::size_t number = channels.size();
    auto              image = VectorImageType::New();
    image->CopyInformation(m_Region);
    image->SetRegions(m_Region->GetLargestPossibleRegion());
    image->SetNumberOfComponentsPerPixel(static_cast<unsigned int>(number));
    image->Allocate();
    const SizeValueType voxels = image->GetLargestPossibleRegion().GetNumberOfPixels();
    for (std::size_t c = 0; c < number; ++c)
    {
      const auto & names = GetSequenceNames();
      const auto   to = static_cast<std::size_t>(std::find(names.begin(), names.end(), channels[c]) - names.begin());
      for (SizeValueType i = 0; i < voxels; ++i)
      {
        image->GetBufferPointer()[i * number + to] = map.Map.Buffer[i * number + c];
      }
    }
    m_GuidedRegion = image;
    m_Guided = bringBack(image.GetPointer(), m_RegionMapping, 0.96f);
  }
}

template <typename TInputImage, typename TMaskImage>
void
GliomaGradingFilter<TInputImage, TMaskImage>::GenerateData()
{
  m_StageSeconds.clear();
  m_GradCAM.clear();
  m_Guided = nullptr;
  m_GuidedRegion = nullptr;
  m_OfBrain = OfBrain();
  m_Grade.clear();
  m_Probabilities.clear();
  m_Logits.clear();
  m_Quality.clear();
  m_ReviewReasons.clear();

  const std::vector<std::uintptr_t> signature = this->SignatureOfInputs();
  if (signature != m_Signature)
  {
    this->Reset();
    this->MakeUpright();
    if (m_FromOwner.IsOwned)
    {
      this->TakeFromOwner();
    }
    else if (!m_Upright)
    {
      this->PrepareAndFindTumour();
    }
    m_Signature = signature;
  }
  if (m_Upright)
  {
    this->GradeUpright();
  }
  else
  {
    m_Quality = m_SequenceNumbers;
    m_Findings = m_CaseFindings;
    if (m_TumourFound)
    {
      this->GradeAndExplain();
      this->GradeWholeBrain();
      this->JudgeExplanation();
    }
    m_ReviewReasons = m_Findings.FindReasons(m_ReviewThresholds);
  }
  // A copy: what is kept must survive a filter that works in place on the output.
  this->AllocateOutputs();
  const RegionType whole = m_Labels->GetLargestPossibleRegion();
  ImageAlgorithm::Copy(m_Labels.GetPointer(), this->GetOutput(), whole, whole);
  // The first sequence's direction, as it was announced, and not the orthonormalized one: all images lie on its grid.
  const auto place = [this](auto & image) {
    if (image)
    {
      image->SetDirection(this->GetInput(0)->GetDirection());
    }
  };
  m_BrainOfInput = MaskImageType::New();
  m_BrainOfInput->Graft(m_Brain);
  m_BrainOfInput->SetMetaDataDictionary(m_Brain->GetMetaDataDictionary());
  place(m_BrainOfInput);
  place(m_Probability);
  place(m_Guided);
  place(m_OfBrain.Guided);
  for (auto * const layers : { &m_GradCAM, &m_OfBrain.GradCAM })
  {
    for (auto & layer : *layers)
    {
      place(layer.second.Map);
      place(layer.second.Support);
    }
  }
  this->UpdateProgress(1.0f);
}

template <typename TInputImage, typename TMaskImage>
void
GliomaGradingFilter<TInputImage, TMaskImage>::MeasureTumour()
{
  const RegionType    region = m_Labels->GetLargestPossibleRegion();
  const ConnectedRuns runs(m_Labels->GetBufferPointer(), region.GetSize(), true);
  SizeValueType       voxels = 0;
  for (unsigned int d = 0; d < ImageDimension; ++d)
  {
    SizeValueType lower = region.GetSize(d);
    SizeValueType upper = 0;
    for (const auto & component : runs.GetComponents())
    {
      lower = std::min(lower, component.lower[d]);
      upper = std::max(upper, component.upper[d]);
      voxels += d == 0 ? component.voxels : 0;
    }
    if (!runs.GetComponents().empty())
    {
      m_RegionReport.Box.SetIndex(d, region.GetIndex(d) + static_cast<IndexValueType>(lower));
      m_RegionReport.Box.SetSize(d, upper - lower + 1);
    }
  }
  // Those that count for the tumour, whether or not they count for the grader's region.
  m_CaseFindings.Foci = static_cast<unsigned int>(
    std::count_if(runs.GetComponents().begin(), runs.GetComponents().end(), [&](const auto & component) {
      return static_cast<double>(component.voxels) >=
             m_ReviewThresholds.FocusShare * static_cast<double>(runs.GetComponents()[runs.GetLargest()].voxels);
    }));
  m_RegionReport.SeveralFoci = m_CaseFindings.Foci > 1;
  double voxelVolume = 1.0;
  for (unsigned int d = 0; d < ImageDimension; ++d)
  {
    voxelVolume *= m_Labels->GetSpacing()[d];
  }
  m_TumourVolume = 1e-3 * voxelVolume * static_cast<double>(voxels);
  m_TumourFound = voxels > 0;
  m_CaseFindings.TumourFound = m_TumourFound;
  m_CaseFindings.TumourVolume = m_TumourVolume;
}

template <typename TInputImage, typename TMaskImage>
template <typename TImage>
typename TImage::Pointer
GliomaGradingFilter<TInputImage, TMaskImage>::ResampleTo(const ImageBase<3> * grid, const TImage * image) const
{
  // Linear, 0 outside; of a mask the nearest voxel.
  auto resample = ResampleImageFilter<TImage, TImage>::New();
  resample->SetInput(ViewOf(image));
  if (std::is_same<TImage, MaskImageType>::value)
  {
    resample->SetInterpolator(NearestNeighborInterpolateImageFunction<TImage, double>::New());
  }
  resample->SetSize(grid->GetLargestPossibleRegion().GetSize());
  resample->SetOutputStartIndex(grid->GetLargestPossibleRegion().GetIndex());
  resample->SetOutputOrigin(grid->GetOrigin());
  resample->SetOutputSpacing(grid->GetSpacing());
  resample->SetOutputDirection(grid->GetDirection());
  resample->SetNumberOfWorkUnits(this->GetNumberOfWorkUnits());
  resample->Update();
  typename TImage::Pointer result = resample->GetOutput();
  result->DisconnectPipeline();
  result->SetMetaDataDictionary(this->GetInput(0)->GetMetaDataDictionary());
  return result;
}

template <typename TInputImage, typename TMaskImage>
auto
GliomaGradingFilter<TInputImage, TMaskImage>::TurnSequence(const InputImageType * sequence,
                                                           const MaskImageType *  mask) const ->
  typename RealImageType::Pointer
{
  // Cubic splines, which blur less than linear ones: what is between tissues counts. Outside the brain they see its
  // mean, so that they do not ripple at its edge.
  const RegionType region = m_Brain->GetLargestPossibleRegion();
  auto             filled = RealImageType::New();
  filled->CopyInformation(m_Brain);
  filled->SetRegions(region);
  filled->Allocate();
  ImageAlgorithm::Copy(sequence, filled.GetPointer(), region, region);
  double        sum = 0.0;
  SizeValueType inside = 0;
  float         lowest = NumericTraits<float>::max();
  float         highest = NumericTraits<float>::NonpositiveMin();
  for (SizeValueType i = 0; i < region.GetNumberOfPixels(); ++i)
  {
    if (m_Brain->GetBufferPointer()[i] != MaskPixelType{})
    {
      const float value = filled->GetBufferPointer()[i];
      sum += value;
      ++inside;
      lowest = std::min(lowest, value);
      highest = std::max(highest, value);
    }
  }
  const auto mean = static_cast<float>(sum / static_cast<double>(inside));
  for (SizeValueType i = 0; i < region.GetNumberOfPixels(); ++i)
  {
    if (m_Brain->GetBufferPointer()[i] == MaskPixelType{})
    {
      filled->GetBufferPointer()[i] = mean;
    }
  }
  auto spline = BSplineInterpolateImageFunction<RealImageType, double, float>::New();
  spline->SetInputImage(filled);

  auto turned = RealImageType::New();
  turned->CopyInformation(mask);
  turned->SetRegions(mask->GetLargestPossibleRegion());
  turned->Allocate();
  turned->FillBuffer(0.0f);
  turned->SetMetaDataDictionary(this->GetInput(0)->GetMetaDataDictionary());
  this->GetMultiThreader()->SetNumberOfWorkUnits(this->GetNumberOfWorkUnits());
  this->GetMultiThreader()->template ParallelizeImageRegion<ImageDimension>(
    mask->GetLargestPossibleRegion(),
    [&](const RegionType & part) {
      ImageRegionConstIteratorWithIndex<MaskImageType> from(mask, part);
      ImageRegionIterator<RealImageType>               to(turned, part);
      for (; !from.IsAtEnd(); ++from, ++to)
      {
        Point<double, 3> point;
        mask->TransformIndexToPhysicalPoint(from.GetIndex(), point);
        if (from.Get() != MaskPixelType{} && spline->IsInsideBuffer(point))
        {
          to.Set(std::min(highest, std::max(lowest, static_cast<float>(spline->Evaluate(point)))));
        }
      }
    },
    nullptr);
  return turned;
}

template <typename TInputImage, typename TMaskImage>
void
GliomaGradingFilter<TInputImage, TMaskImage>::MakeUpright()
{
  using CalculatorType = UprightGridCalculator<MaskImageType>;
  auto calculator = CalculatorType::New();
  if (!m_TurnUpright || CalculatorType::AngleOf(this->GetInput(0)) <= calculator->GetMinimumAngle())
  {
    return;
  }
  // Finds the brain, and refuses what is no input.
  TorchModelManifest plain = m_GradingModel->GetManifest();
  plain.ChannelNames = GetSequenceNames();
  auto preparation = PreparationType::New();
  this->Prepare(
    preparation.GetPointer(),
    [this](const std::string & name) { return this->GetSequence(name); },
    plain,
    true,
    0.0f,
    0.0f);
  m_Prepared = nullptr;
  // As fine as the finest model wants it.
  double finest = NumericTraits<double>::max();
  for (const TorchModel * model : { m_SegmentationModel.GetPointer(), m_GradingModel.GetPointer() })
  {
    for (const double spacing : model ? model->GetManifest().Spacing : std::array<double, 3>{ { 0.0, 0.0, 0.0 } })
    {
      finest = spacing > 0.0 ? std::min(finest, spacing) : finest;
    }
  }
  calculator->SetLargestSpacing(finest);
  calculator->SetBrainMask(preparation->GetBrainMask());
  calculator->Compute();
  if (!calculator->GetIsTurned())
  {
    m_StageSeconds.clear();
    return;
  }

  this->BeginStage("turn-upright", 0.0f);
  const ImageBase<3> * const grid = calculator->GetGrid();
  m_Brain = MaskImageType::New();
  m_Brain->Graft(preparation->GetBrainMask());
  m_Brain->SetMetaDataDictionary(this->GetInput(0)->GetMetaDataDictionary());
  m_BrainVolume = preparation->GetBrainVolume();
  m_BrainMaskWasGiven = this->GetBrainMaskImage() != nullptr;
  m_CaseFindings.SequencesDisagree = preparation->GetSequencesDisagree();
  preparation = nullptr;

  const RegionType region = m_Brain->GetLargestPossibleRegion();
  const auto       copyInside = [&](const auto * image, const auto & valueOf) {
    auto copy = RealImageType::New();
    copy->CopyInformation(m_Brain);
    copy->SetRegions(region);
    copy->Allocate();
    ImageRegionConstIterator<std::remove_const_t<std::remove_pointer_t<decltype(image)>>> from(image, region);
    const MaskPixelType * brain = m_Brain->GetBufferPointer();
    float *               to = copy->GetBufferPointer();
    for (; !from.IsAtEnd(); ++from, ++brain, ++to)
    {
      *to = *brain != MaskPixelType{} ? valueOf(from.Get()) : 0.0f;
    }
    return this->ResampleTo(grid, copy.GetPointer());
  };
  const auto threshold = [&](const RealImageType * share) {
    auto mask = MaskImageType::New();
    mask->CopyInformation(grid);
    mask->SetRegions(grid->GetLargestPossibleRegion());
    mask->Allocate();
    const SizeValueType voxels = grid->GetLargestPossibleRegion().GetNumberOfPixels();
    std::transform(share->GetBufferPointer(),
                   share->GetBufferPointer() + voxels,
                   mask->GetBufferPointer(),
                   [](float value) { return static_cast<MaskPixelType>(value >= 0.5f); });
    return mask;
  };
  const auto share = copyInside(m_Brain.GetPointer(), [](MaskPixelType) { return 1.0f; });

  m_Upright = UprightFilterType::New();
  m_Upright->TurnUprightOff();
  m_Upright->SetBrainMaskImage(threshold(share));
  m_Upright->SetSegmentationModel(m_SegmentationModel);
  m_Upright->SetGradingModel(m_GradingModel);
  m_Upright->SetGradeWithoutTumour(m_GradeWithoutTumour);
  m_Upright->SetKeepIntermediates(m_KeepIntermediates);
  m_Upright->SetReviewThresholds(m_ReviewThresholds);
  if (this->GetRegionLabelsImage())
  {
    auto regions = MaskImageType::New();
    regions->Graft(this->GetRegionLabelsImage());
    m_Upright->SetRegionLabelsImage(regions);
  }
  for (const std::string & name : GetSequenceNames())
  {
    m_Upright->SetSequence(name, this->TurnSequence(this->GetSequence(name), m_Upright->GetBrainMaskImage()));
  }
  if (this->GetTumourMaskImage())
  {
    this->MeasureTumourMask(); // of what is turned nothing lies outside
    m_Upright->SetTumourMaskImage(threshold(copyInside(
      this->GetTumourMaskImage(), [](const MaskPixelType & value) { return value != MaskPixelType{} ? 1.0f : 0.0f; })));
  }
  const UprightFilterType * const running = m_Upright.GetPointer();
  m_Upright->AddObserver(ProgressEvent(),
                         [this, running](const EventObject &) { m_CurrentStage = running->GetCurrentStage(); });
  this->EndStage();
}

template <typename TInputImage, typename TMaskImage>
void
GliomaGradingFilter<TInputImage, TMaskImage>::TurnLabelsBack()
{
  m_Labels = MaskImageType::New();
  m_Labels->CopyInformation(m_Brain);
  m_Labels->SetRegions(m_Brain->GetLargestPossibleRegion());
  m_Labels->Allocate();
  if (this->GetTumourMaskImage())
  {
    this->TakeTumourMask();
  }
  else
  {
    auto inside = RealImageType::New();
    inside->CopyInformation(m_Upright->GetBrainMask());
    inside->SetRegions(m_Upright->GetBrainMask()->GetLargestPossibleRegion());
    inside->Allocate();
    const MaskPixelType * const brain = m_Upright->GetBrainMask()->GetBufferPointer();
    std::copy(brain, brain + inside->GetLargestPossibleRegion().GetNumberOfPixels(), inside->GetBufferPointer());
    m_Probability = this->ResampleTo(m_Labels, m_Upright->GetTumourProbability());
    const auto          weights = this->ResampleTo(m_Labels, inside.GetPointer());
    const SizeValueType voxels = m_Labels->GetLargestPossibleRegion().GetNumberOfPixels();
    for (SizeValueType i = 0; i < voxels; ++i)
    {
      float &     value = m_Probability->GetBufferPointer()[i];
      const float weight = weights->GetBufferPointer()[i];
      const bool  isInside = m_Brain->GetBufferPointer()[i] != MaskPixelType{};
      value = isInside && weight > 0.0f ? std::min(1.0f, value / weight) : 0.0f;
      m_Labels->GetBufferPointer()[i] = value > 0.5f ? 1 : 0;
    }
    this->KeepLargeComponents(m_Labels);
  }
  this->MeasureTumour();
  m_TumourFound = m_TumourFound && m_Upright->GetTumourFound();
  const auto & report = m_Upright->GetRegionReport();
  m_RegionReport.Centre = report.Centre;
  m_RegionReport.Sides = report.Sides;
  m_RegionReport.Spacing = report.Spacing;
  m_RegionReport.OutputSize = report.OutputSize;
  m_RegionReport.Tiny = report.Tiny;
  m_RegionReport.TouchesBorder = report.TouchesBorder;
  m_RegionReport.LeavesImage = report.LeavesImage;
  m_SequenceReports = m_Upright->GetSequenceReports();
}

template <typename TInputImage, typename TMaskImage>
void
GliomaGradingFilter<TInputImage, TMaskImage>::GradeUpright()
{
  m_Upright->SetExplain(m_Explain);
  m_Upright->SetClassToExplain(m_ClassToExplain);
  m_Upright->SetExplainProbability(m_ExplainProbability);
  m_Upright->SetTestExplanation(m_TestExplanation);
  m_Upright->SetBrainGradingModel(m_BrainGradingModel);
  if (m_Upright->GetGradCAMLayers() != this->GetGradCAMLayers())
  {
    m_Upright->ClearGradCAMLayers();
    for (const std::string & layer : this->GetGradCAMLayers())
    {
      m_Upright->AddGradCAMLayer(layer);
    }
  }
  this->Run(m_Upright.GetPointer(), 0.03f, 0.92f);
  for (const auto & stage : m_Upright->GetStageSeconds())
  {
    m_StageSeconds.push_back(stage);
  }

  this->BeginStage("turn-back", 0.95f);
  const SizeValueType voxels = m_Brain->GetLargestPossibleRegion().GetNumberOfPixels();
  if (!m_Labels)
  {
    try
    {
      this->TurnLabelsBack();
    }
    catch (...)
    {
      m_Labels = nullptr; // the next update would take what is half filled for the tumour
      throw;
    }
  }

  // The rest is known of the upright images.
  ReviewFindings given;
  given.SequencesDisagree = m_CaseFindings.SequencesDisagree;
  given.TumourShareOutsideBrain = m_CaseFindings.TumourShareOutsideBrain;
  given.Spacing.assign(this->GetInput(0)->GetSpacing().Begin(), this->GetInput(0)->GetSpacing().End());
  m_ReviewReasons = given.FindReasons(m_ReviewThresholds);
  const auto & reasons = m_Upright->GetReviewReasons();
  m_ReviewReasons.insert(m_ReviewReasons.end(), reasons.begin(), reasons.end());
  if (!m_TumourFound && m_Upright->GetTumourFound())
  {
    m_ReviewReasons.push_back("the tumour is smaller than a voxel of the image");
  }
  if (m_TumourFound)
  {
    m_Grade = m_Upright->GetGrade();
    m_Probabilities = m_Upright->GetProbabilities();
    m_Logits = m_Upright->GetLogits();
    m_ExplainedClass = m_Upright->GetExplainedClass();
    m_Quality = m_Upright->GetQuality();
    m_ProbabilitiesWithoutTumour = m_Upright->GetProbabilitiesWithoutTumour();
    m_FilledShare = m_Upright->GetFilledShare();
    const auto turnBack = [&](const RealImageType * map, const MaskImageType * support, bool hasPositiveCell) {
      LayerMaps maps;
      maps.Map = this->ResampleTo(m_Labels, map);
      maps.Support = this->ResampleTo(m_Labels, support);
      maps.HasPositiveCell = hasPositiveCell;
      for (SizeValueType i = 0; i < voxels; ++i)
      {
        maps.Map->GetBufferPointer()[i] *= static_cast<float>(maps.Support->GetBufferPointer()[i]);
      }
      return maps;
    };
    for (const std::string & layer : m_Upright->GetGradCAMLayers())
    {
      if (m_Upright->GetGradCAM(layer))
      {
        m_GradCAM[layer] = turnBack(m_Upright->GetGradCAM(layer),
                                    m_Upright->GetGradCAMSupport(layer),
                                    m_Upright->GetGradCAMHasPositiveCell(layer));
      }
    }
    if (m_Upright->GetGuidedBackpropagation())
    {
      m_Guided = this->ResampleTo(m_Labels, m_Upright->GetGuidedBackpropagation());
    }
    m_OfBrain.Grade = m_Upright->GetBrainGrade();
    m_OfBrain.Probabilities = m_Upright->GetBrainProbabilities();
    m_OfBrain.ExplainedClass = m_Upright->GetBrainExplainedClass();
    m_OfBrain.Spacing = m_Upright->GetBrainRegionSpacing();
    for (const std::string & layer : m_Upright->GetBrainGradCAMLayers())
    {
      m_OfBrain.GradCAM[layer] = turnBack(m_Upright->GetBrainGradCAM(layer),
                                          m_Upright->GetBrainGradCAMSupport(layer),
                                          m_Upright->GetBrainGradCAMHasPositiveCell(layer));
    }
    if (m_Upright->GetBrainGuidedBackpropagation())
    {
      m_OfBrain.Guided = this->ResampleTo(m_Labels, m_Upright->GetBrainGuidedBackpropagation());
    }
  }
  this->EndStage();
}

template <typename TInputImage, typename TMaskImage>
void
GliomaGradingFilter<TInputImage, TMaskImage>::PrepareAndFindTumour()
{
  const bool                 isGiven = this->GetTumourMaskImage() != nullptr;
  const TorchModelManifest & grading = m_GradingModel->GetManifest();
  const TorchModelManifest & first = isGiven ? grading : m_SegmentationModel->GetManifest();

  const bool prepareTwice = !PreparesAlike(first, grading);
  const bool correctOnce = prepareTwice && first.BiasCorrection == "n4" && grading.BiasCorrection == "n4";
  // The whole brain's grader takes the prepared images, or else the corrected ones.
  const bool keepCorrected = m_BrainGradingModel && m_BrainGradingModel->GetManifest().BiasCorrection == "n4" &&
                             !this->TakesPrepared(m_BrainGradingModel->GetManifest());
  const auto sequenceOf = [this](const std::string & name) { return this->GetSequence(name); };
  const auto correctedOf = [this](const std::string & name) { return m_Corrected.at(name).GetPointer(); };
  const auto takeCorrected = [this](const PreparationType * from) {
    for (const std::string & name : GetSequenceNames())
    {
      if (from->GetCorrected(name))
      {
        m_Corrected[name] = from->GetCorrected(name);
      }
    }
  };

  auto preparation = PreparationType::New();
  preparation->SetKeepCorrected(first.BiasCorrection == "n4" && (correctOnce || keepCorrected));
  this->Prepare(preparation.GetPointer(), sequenceOf, first, false, 0.0f, 0.4f);
  takeCorrected(preparation);
  m_Brain = MaskImageType::New();
  m_Brain->Graft(preparation->GetBrainMask());
  m_Brain->SetMetaDataDictionary(this->GetInput(0)->GetMetaDataDictionary());
  m_BrainVolume = preparation->GetBrainVolume();
  this->FindBrainCentre();
  m_BrainMaskWasGiven = this->GetBrainMaskImage() != nullptr;
  m_SequenceReports = preparation->GetSequenceReports();
  m_CaseFindings.SequencesDisagree = preparation->GetSequencesDisagree();
  m_CaseFindings.BrainVolume = m_BrainVolume;
  this->CheckSequences();

  preparation = nullptr;
  m_Labels = MaskImageType::New();
  m_Labels->CopyInformation(m_Prepared);
  m_Labels->SetRegions(m_Prepared->GetLargestPossibleRegion());
  m_Labels->Allocate();

  this->BeginStage("segment", 0.4f);
  if (isGiven)
  {
    this->TakeTumourMask();
  }
  else
  {
    this->FindTumour(m_Prepared);
  }
  this->EndStage();

  this->MeasureTumour();
  if (!m_TumourFound)
  {
    m_Corrected.clear();
    m_Prepared = m_KeepIntermediates ? m_Prepared : nullptr;
    return;
  }

  if (correctOnce)
  {
    m_Prepared = nullptr;
    auto again = SequencePreparationFilter<RealImageType, MaskImageType>::New();
    this->Prepare(again.GetPointer(), correctedOf, grading, true, 0.82f, 0.02f);
    for (auto & report : m_SequenceReports)
    {
      const auto & reports = again->GetSequenceReports();
      const auto   same = std::find_if(
        reports.begin(), reports.end(), [&report](const auto & other) { return other.Name == report.Name; });
      report.Mean = same->Mean;
      report.Sigma = same->Sigma;
      report.Background = same->Background;
    }
  }
  else if (prepareTwice)
  {
    m_Prepared = nullptr;
    preparation = PreparationType::New();
    preparation->SetKeepCorrected(grading.BiasCorrection == "n4" && keepCorrected);
    this->Prepare(preparation.GetPointer(), sequenceOf, grading, false, 0.82f, 0.02f);
    m_SequenceReports = preparation->GetSequenceReports();
    takeCorrected(preparation);
    preparation = nullptr;
  }
  if (!keepCorrected)
  {
    m_Corrected.clear();
  }
  this->CutRegionOfPrepared();
}

template <typename TInputImage, typename TMaskImage>
void
GliomaGradingFilter<TInputImage, TMaskImage>::CutRegionOfPrepared()
{
  this->CutRegion(m_Prepared);
  m_CaseFindings.TumourTiny = m_RegionReport.Tiny;
  m_CaseFindings.TouchesBorder = m_RegionReport.TouchesBorder;
  if (!m_BrainGradingModel || !m_TumourFound)
  {
    this->ReleasePrepared();
  }
}

template <typename TInputImage, typename TMaskImage>
void
GliomaGradingFilter<TInputImage, TMaskImage>::ReleasePrepared()
{
  m_Corrected.clear();
  m_Prepared = m_KeepIntermediates ? m_Prepared : nullptr;
}

template <typename TInputImage, typename TMaskImage>
bool
GliomaGradingFilter<TInputImage, TMaskImage>::PreparesAlike(const TorchModelManifest & a, const TorchModelManifest & b)
{
  return a.ChannelNames == b.ChannelNames && a.BiasCorrection == b.BiasCorrection &&
         a.Standardization == b.Standardization && a.LowerQuantile == b.LowerQuantile &&
         a.UpperQuantile == b.UpperQuantile && a.OutsideValue == b.OutsideValue;
}

template <typename TInputImage, typename TMaskImage>
bool
GliomaGradingFilter<TInputImage, TMaskImage>::TakesPrepared(const TorchModelManifest & manifest) const
{
  // The second grader's brain is given: the statistics of the whole image then know nothing of what lies beyond it.
  return PreparesAlike(manifest, m_GradingModel->GetManifest()) &&
         (manifest.Standardization == "brain" || this->GetBrainMaskImage());
}

template <typename TInputImage, typename TMaskImage>
void
GliomaGradingFilter<TInputImage, TMaskImage>::TakeFromOwner()
{
  // Brain and tumour are given, and the sequences are checked.
  m_Brain = MaskImageType::New();
  m_Brain->Graft(this->GetBrainMaskImage());
  m_Brain->SetMetaDataDictionary(this->GetInput(0)->GetMetaDataDictionary());
  m_BrainMaskWasGiven = true;
  this->FindBrainCentre();
  if (m_FromOwner.Prepared)
  {
    m_Prepared = m_FromOwner.Prepared;
    m_FromOwner.Prepared = nullptr; // freed once the region is cut
    m_Background = m_FromOwner.Background;
  }
  else
  {
    const TorchModelManifest & manifest = m_GradingModel->GetManifest();
    const auto                 prepare = [&](auto * preparation, const auto & sequenceOf, bool isCorrected) {
      this->Prepare(preparation, sequenceOf, manifest, isCorrected, 0.0f, 0.4f);
      m_SequenceReports = preparation->GetSequenceReports();
    };
    if (manifest.BiasCorrection == "n4" && !m_FromOwner.Corrected.empty())
    {
      prepare(
        SequencePreparationFilter<RealImageType, MaskImageType>::New().GetPointer(),
        [this](const std::string & name) { return m_FromOwner.Corrected.at(name).GetPointer(); },
        true);
      m_FromOwner.Corrected.clear();
    }
    else
    {
      prepare(
        PreparationType::New().GetPointer(),
        [this](const std::string & name) { return this->GetSequence(name); },
        false);
    }
  }
  m_Labels = MaskImageType::New();
  m_Labels->CopyInformation(m_Prepared);
  m_Labels->SetRegions(m_Prepared->GetLargestPossibleRegion());
  m_Labels->Allocate();
  this->TakeTumourMask();
  this->MeasureTumour();
  this->CutRegionOfPrepared();
}

template <typename TInputImage, typename TMaskImage>
void
GliomaGradingFilter<TInputImage, TMaskImage>::CheckSequences()
{
  this->BeginStage("check-sequences", 0.4f);
  using CalculatorType = SequenceOrderCalculator<InputImageType, MaskImageType>;
  const auto   calculator = CalculatorType::New();
  const auto & names = GetSequenceNames();
  for (unsigned int i = 0; i < names.size(); ++i)
  {
    calculator->SetSequence(i, this->GetInput(i));
  }
  calculator->SetMask(m_Brain);
  calculator->SetThresholds(m_ReviewThresholds);
  calculator->Compute();
  for (unsigned int i = 0; i < names.size(); ++i)
  {
    const unsigned int like = calculator->GetLooksLike()[i];
    if (like != i)
    {
      m_CaseFindings.LooksLike.emplace_back(names[i], names[like]);
    }
    m_CaseFindings.Asymmetry.push_back(calculator->GetAsymmetry(i));
    m_CaseFindings.Tail.push_back(calculator->GetTail(i));
    m_SequenceNumbers.emplace_back(names[i] + "-fluid-rank", calculator->GetFluidRank(i));
    m_SequenceNumbers.emplace_back(names[i] + "-asymmetry", calculator->GetAsymmetry(i));
    m_SequenceNumbers.emplace_back(names[i] + "-tail", calculator->GetTail(i));
  }
  double largest = -1.0;
  for (unsigned int i = 0; i < names.size(); ++i)
  {
    for (unsigned int j = i + 1; j < names.size(); ++j)
    {
      largest = std::max(largest, calculator->GetCorrelation(i, j));
    }
  }
  m_SequenceNumbers.emplace_back("FLAIR-gap",
                                 calculator->GetCorrelation(2, 3) -
                                   std::max(calculator->GetCorrelation(2, 0), calculator->GetCorrelation(2, 1)));
  m_SequenceNumbers.emplace_back("T1c-enhancement", calculator->GetEnhancement());
  m_SequenceNumbers.emplace_back("largest-correlation", largest);
  for (const auto & pair : calculator->GetDuplicates())
  {
    m_CaseFindings.Duplicates.emplace_back(names[pair.first], names[pair.second]);
  }
  const auto & spacing = this->GetInput(0)->GetSpacing();
  m_CaseFindings.Spacing.assign(spacing.Begin(), spacing.End());
  this->EndStage();
}

template <typename TInputImage, typename TMaskImage>
template <typename TMapImage>
void
GliomaGradingFilter<TInputImage, TMaskImage>::Judge(const TMapImage * map, const std::string & name, bool isGuided)
{
  using QualityType = ExplanationQualityFilter<TMapImage, MaskImageType>;
  auto quality = QualityType::New();
  quality->SetInput(map);
  quality->SetTumourMask(m_Labels);
  quality->SetBrainMask(m_Brain);
  if (this->GetRegionLabelsImage())
  {
    quality->SetRegionLabels(this->GetRegionLabelsImage());
  }
  const bool isOfBrain = m_GradingModel->GetManifest().Region == "brain";
  quality->SetMeasureBorder(isGuided || isOfBrain);
  quality->SetEnergyMode(isGuided ? QualityType::Energy::Absolute : QualityType::Energy::Positive);
  quality->SetNumberOfWorkUnits(this->GetNumberOfWorkUnits());
  // The same for all maps.
  m_Border = m_Border ? m_Border : m_FromOwner.Border;
  quality->SetBorderMask(m_Border);
  quality->Update();
  m_Border = quality->GetBorderShell() ? quality->GetBorderShell() : m_Border.GetPointer();
  const auto add = [&](const std::string & number, double value) {
    m_Quality.emplace_back(name + '-' + number, value);
  };
  add("total-energy", quality->GetTotalEnergy());
  add("tumour-share", quality->GetTumourShare());
  add("tumour-chance", quality->GetTumourChance());
  add("tumour-ratio", quality->GetTumourRatio());
  add("tumour-coverage", quality->GetTumourCoverage());
  add("tumour-rank-accuracy", quality->GetTumourRankAccuracy());
  add("peak-in-tumour", quality->GetPeakInTumour());
  add("outside-share", quality->GetOutsideShare());
  add("gini", quality->GetGini());
  if (quality->GetMeasureBorder())
  {
    add("border-share", quality->GetBorderShare());
    add("border-chance", quality->GetBorderChance());
    add("border-ratio", quality->GetBorderRatio());
  }
  for (unsigned int i = 0; i < quality->GetLabels().Size(); ++i)
  {
    const std::string label = "label-" + std::to_string(static_cast<unsigned int>(quality->GetLabels()[i]));
    add(label + "-share", quality->GetLabelShares()[i]);
    add(label + "-chance", quality->GetLabelChances()[i]);
    add(label + "-ratio", quality->GetLabelRatios()[i]);
  }
  if (isGuided)
  {
    const auto & names = GetSequenceNames();
    for (unsigned int i = 0; i < std::min<std::size_t>(names.size(), quality->GetSequenceShares().Size()); ++i)
    {
      add(names[i] + "-share", quality->GetSequenceShares()[i]);
      add(names[i] + "-tumour-share", quality->GetSequenceTumourShares()[i]);
      add(names[i] + "-tumour-ratio", quality->GetSequenceTumourRatios()[i]);
      add(names[i] + "-tumour-rank-accuracy", quality->GetSequenceTumourRankAccuracies()[i]);
      add(names[i] + "-peak-in-tumour", quality->GetSequencePeaksInTumour()[i]);
      add(names[i] + "-outside-share", quality->GetSequenceOutsideShares()[i]);
      add(names[i] + "-gini", quality->GetSequenceGinis()[i]);
      add(names[i] + "-border-share", quality->GetSequenceBorderShares()[i]);
      add(names[i] + "-border-ratio", quality->GetSequenceBorderRatios()[i]);
    }
  }

  ReviewFindings::Map finding;
  finding.Name = name;
  finding.Guided = isGuided;
  finding.WholeBrain = isOfBrain;
  finding.TotalEnergy = quality->GetTotalEnergy();
  finding.TumourRatio = quality->GetTumourRatio();
  finding.TumourChance = quality->GetTumourChance();
  finding.TumourCoverage = quality->GetTumourCoverage();
  finding.BorderRatio = quality->GetBorderRatio();
  finding.OutsideShare = quality->GetOutsideShare();
  m_Findings.Maps.push_back(finding);
}

template <typename TInputImage, typename TMaskImage>
void
GliomaGradingFilter<TInputImage, TMaskImage>::GradeWholeBrain()
{
  if (!m_BrainGradingModel)
  {
    m_WholeBrain = nullptr;
    this->ReleasePrepared();
    return;
  }
  this->BeginStage("grade-whole-brain", 0.965f);
  if (!m_WholeBrain)
  {
    m_WholeBrain = Self::New();
    const auto view = [](const auto * image) {
      const auto copy = ViewOf(image);
      copy->SetMetaDataDictionary(image->GetMetaDataDictionary());
      return copy;
    };
    for (const std::string & name : GetSequenceNames())
    {
      m_WholeBrain->SetSequence(name, view(this->GetSequence(name)));
    }
    m_WholeBrain->SetBrainMaskImage(view(m_Brain.GetPointer()));
    m_WholeBrain->SetTumourMaskImage(view(m_Labels.GetPointer()));
    if (this->GetRegionLabelsImage())
    {
      m_WholeBrain->SetRegionLabelsImage(view(this->GetRegionLabelsImage()));
    }
    m_WholeBrain->SetCoordinateTolerance(this->GetCoordinateTolerance());
    m_WholeBrain->SetDirectionTolerance(this->GetDirectionTolerance());
    m_WholeBrain->TurnUprightOff();
    m_WholeBrain->GradeWithoutTumourOff();
    m_WholeBrain->m_FromOwner.IsOwned = true;
  }
  const bool takesPrepared = this->TakesPrepared(m_BrainGradingModel->GetManifest());
  m_WholeBrain->m_FromOwner.Prepared = takesPrepared ? m_Prepared : nullptr;
  m_WholeBrain->m_FromOwner.Background = m_Background;
  m_WholeBrain->m_FromOwner.Corrected = m_Corrected;
  m_WholeBrain->m_FromOwner.Border = m_Border;
  this->ReleasePrepared();
  m_WholeBrain->SetGradingModel(m_BrainGradingModel);
  m_WholeBrain->SetExplain(m_Explain);
  m_WholeBrain->SetClassToExplain(m_ClassToExplain);
  m_WholeBrain->SetExplainProbability(m_ExplainProbability);
  m_WholeBrain->SetTestExplanation(m_TestExplanation);
  this->Run(m_WholeBrain.GetPointer(), 0.965f, 0.005f);
  m_Border = m_WholeBrain->m_Border ? m_WholeBrain->m_Border : m_Border;
  m_WholeBrain->m_FromOwner.Prepared = nullptr;
  m_WholeBrain->m_FromOwner.Corrected.clear();
  m_OfBrain.Grade = m_WholeBrain->m_Grade;
  m_OfBrain.Probabilities = m_WholeBrain->m_Probabilities;
  m_OfBrain.ExplainedClass = m_WholeBrain->m_ExplainedClass;
  m_OfBrain.Spacing = Vector<double, 3>(m_WholeBrain->m_RegionReport.Spacing.data());
  m_OfBrain.GradCAM = m_WholeBrain->m_GradCAM;
  m_OfBrain.Guided = m_WholeBrain->m_Guided;
  this->EndStage();
}

template <typename TInputImage, typename TMaskImage>
void
GliomaGradingFilter<TInputImage, TMaskImage>::JudgeExplanation()
{
  this->BeginStage("quality", 0.97f);
  m_Findings.ClassNames = this->GetClassNames();
  m_Findings.Probabilities = m_Probabilities;
  m_Findings.ProbabilitiesWithoutTumour = m_ProbabilitiesWithoutTumour;
  for (const auto & layer : m_GradCAM)
  {
    this->Judge(layer.second.Cells.GetPointer(), "gradcam-" + layer.first, false);
  }
  if (m_GuidedRegion)
  {
    this->Judge(m_GuidedRegion.GetPointer(), "guided-backprop", true);
  }
  this->EndStage();
  if (m_TestExplanation)
  {
    this->RunExplanationTests();
  }
  m_GuidedRegion = nullptr;
  if (m_WholeBrain)
  {
    m_Findings.WholeBrainProbabilities = m_OfBrain.Probabilities;
    const auto & numbers = m_WholeBrain->m_Quality; // those of the sequences first, which are known already
    for (std::size_t i = m_WholeBrain->m_SequenceNumbers.size(); i < numbers.size(); ++i)
    {
      m_Quality.emplace_back("brain-" + numbers[i].first, numbers[i].second);
    }
    for (ReviewFindings::Map map : m_WholeBrain->m_Findings.Maps)
    {
      map.Name = "brain-" + map.Name;
      m_Findings.Maps.push_back(map);
    }
  }
}

template <typename TInputImage, typename TMaskImage>
Array<double>
GliomaGradingFilter<TInputImage, TMaskImage>::FindBaseline() const
{
  Array<double> baseline;
  if (m_GradingModel->GetManifest().Standardization == "brain")
  {
    return baseline; // 0 is the brain's mean
  }
  const unsigned int components = m_Region->GetNumberOfComponentsPerPixel();
  baseline.SetSize(components);
  baseline.Fill(0.0);
  const SizeValueType voxels = m_Region->GetLargestPossibleRegion().GetNumberOfPixels();
  SizeValueType       inside = 0;
  const float *       voxel = m_Region->GetBufferPointer();
  for (SizeValueType i = 0; i < voxels; ++i, voxel += components)
  {
    bool isBackground = true;
    for (unsigned int c = 0; c < components; ++c)
    {
      // Resampling rounds; where it mixes brain and background, a voxel counts as brain.
      isBackground = isBackground && std::abs(voxel[c] - m_Background[c]) < 1e-3;
    }
    for (unsigned int c = 0; c < components && !isBackground; ++c)
    {
      baseline[c] += voxel[c];
    }
    inside += isBackground ? 0 : 1;
  }
  baseline /= static_cast<double>(std::max<SizeValueType>(inside, 1));
  return baseline;
}

template <typename TInputImage, typename TMaskImage>
void
GliomaGradingFilter<TInputImage, TMaskImage>::RunExplanationTests()
{
  this->BeginStage("test-explanation", 0.98f);
  const auto add = [this](const std::string & name, double value) { m_Quality.emplace_back(name, value); };
  const auto stop = [this](const EventObject &) { this->StopIfAborted(0.98f); };
  const auto baseline = this->FindBaseline();
  bool       isFirst = true;
  const auto follow = [&](const auto * map, const std::string & name) {
    using MapType = std::remove_const_t<std::remove_pointer_t<decltype(map)>>;
    const auto calculator = ExplanationFaithfulnessCalculator<MapType>::New();
    calculator->SetModel(m_GradingModel);
    calculator->SetRegionImage(m_Region);
    calculator->SetMapImage(map);
    calculator->SetBaseline(baseline);
    calculator->SetClassToExplain(m_ExplainedClass);
    calculator->SetNumberOfChanceOrders(isFirst ? 1 : 0); // the same for all maps
    calculator->AddObserver(ProgressEvent(), stop);
    calculator->Compute();
    add(name + "-deletion-area", calculator->GetDeletionArea());
    add(name + "-insertion-area", calculator->GetInsertionArea());
    if (isFirst)
    {
      add("chance-deletion-area", calculator->GetChanceDeletionArea());
      add("chance-insertion-area", calculator->GetChanceInsertionArea());
    }
    isFirst = false;
  };
  for (const auto & layer : m_GradCAM)
  {
    follow(static_cast<const RealImageType *>(layer.second.Cells.GetPointer()), "gradcam-" + layer.first);
  }
  if (m_GuidedRegion)
  {
    follow(static_cast<const VectorImageType *>(m_GuidedRegion.GetPointer()), "guided-backprop");
  }
  if (m_GradingModel->GetManifest().Network == "PereiraGradingNetwork" && !isFirst)
  {
    const auto calculator = ExplanationSanityCalculator::New();
    calculator->SetModel(m_GradingModel);
    calculator->SetRegionImage(m_Region);
    calculator->SetClassToExplain(m_ExplainedClass);
    for (const auto & layer : m_GradCAM)
    {
      calculator->AddLayerName(layer.first);
    }
    calculator->AddObserver(ProgressEvent(), stop);
    calculator->Compute();
    for (unsigned int map = 0; map < calculator->GetMapNames().size(); ++map)
    {
      const std::string & name = calculator->GetMapNames()[map];
      if (name == "guided-backprop" && !m_GuidedRegion)
      {
        continue;
      }
      add(name + "-random-weights-rank-correlation", calculator->GetRankCorrelations(map).back());
      add(name + "-random-weights-similarity", calculator->GetSimilarities(map).back());
    }
  }
  this->EndStage();
}

template <typename TInputImage, typename TMaskImage>
void
GliomaGradingFilter<TInputImage, TMaskImage>::PrintSelf(std::ostream & os, Indent indent) const
{
  Superclass::PrintSelf(os, indent);
  itkPrintSelfObjectMacro(SegmentationModel);
  itkPrintSelfObjectMacro(GradingModel);
  itkPrintSelfObjectMacro(BrainGradingModel);
  itkPrintSelfObjectMacro(WholeBrain);
  os << indent << "Explain: " << m_Explain << std::endl;
  os << indent << "ClassToExplain: " << m_ClassToExplain << std::endl;
  os << indent << "ExplainProbability: " << (m_ExplainProbability ? "On" : "Off") << std::endl;
  os << indent << "TurnUpright: " << (m_TurnUpright ? "On" : "Off") << std::endl;
  itkPrintSelfObjectMacro(Upright);
  os << indent << "TestExplanation: " << (m_TestExplanation ? "On" : "Off") << std::endl;
  os << indent << "GradeWithoutTumour: " << (m_GradeWithoutTumour ? "On" : "Off") << std::endl;
  os << indent << "KeepIntermediates: " << (m_KeepIntermediates ? "On" : "Off") << std::endl;
  os << indent << "Signature: " << m_Signature.size() << " numbers" << std::endl;
  itkPrintSelfObjectMacro(Labels);
  itkPrintSelfObjectMacro(Brain);
  itkPrintSelfObjectMacro(Probability);
  itkPrintSelfObjectMacro(Prepared);
  os << indent << "Corrected: " << m_Corrected.size() << std::endl;
  os << indent << "Border: " << m_Border.GetPointer() << std::endl;
  os << indent << "FromOwner: " << (m_FromOwner.IsOwned ? "owned" : "none") << std::endl;
  os << indent << "Background: " << m_Background << std::endl;
  itkPrintSelfObjectMacro(Region);
  os << indent << "RegionMapping: " << m_RegionMapping << std::endl;
  os << indent << "RegionReport: box " << m_RegionReport.Box.GetIndex() << " + " << m_RegionReport.Box.GetSize()
     << ", centre " << m_RegionReport.Centre << std::endl;
  os << indent << "TumourFound: " << (m_TumourFound ? "On" : "Off") << std::endl;
  os << indent << "TumourVolume: " << m_TumourVolume << " ml" << std::endl;
  os << indent << "BrainVolume: " << m_BrainVolume << " ml" << std::endl;
  os << indent << "BrainMaskWasGiven: " << (m_BrainMaskWasGiven ? "On" : "Off") << std::endl;
  os << indent << "SequenceReports: " << m_SequenceReports.size() << std::endl;
  os << indent << "GradCAMLayers:";
  for (const std::string & layer : m_GradCAMLayers)
  {
    os << ' ' << layer;
  }
  os << std::endl;
  itkPrintSelfObjectMacro(Guided);
  os << indent << "Grade: " << m_Grade << std::endl;
  os << indent << "OfBrain: grade " << m_OfBrain.Grade << ", class " << m_OfBrain.ExplainedClass << ", "
     << m_OfBrain.Probabilities.size() << " probabilities, " << m_OfBrain.GradCAM.size() << " layers" << std::endl;
  for (std::size_t i = 0; i < m_Probabilities.size(); ++i)
  {
    os << indent << "Class " << i << ": probability " << m_Probabilities[i] << ", logit " << m_Logits[i] << std::endl;
  }
  for (std::size_t i = 0; i < m_ProbabilitiesWithoutTumour.size(); ++i)
  {
    os << indent << "Class " << i << " without the tumour: probability " << m_ProbabilitiesWithoutTumour[i]
       << std::endl;
  }
  os << indent << "FilledShare: " << m_FilledShare << std::endl;
  os << indent << "ExplainedClass: " << m_ExplainedClass << std::endl;
  for (const auto & number : m_Quality)
  {
    os << indent << "Quality: " << number.first << ' ' << number.second << std::endl;
  }
  os << indent << "CaseFindings: " << m_CaseFindings.FindReasons(m_ReviewThresholds).size() << " reasons" << std::endl;
  os << indent << "ReviewThresholds: BorderRatio " << m_ReviewThresholds.BorderRatio << ", GuidedTumourRatio "
     << m_ReviewThresholds.GuidedTumourRatio << ", ProbabilityGap " << m_ReviewThresholds.ProbabilityGap << std::endl;
  itkPrintSelfObjectMacro(GuidedRegion);
  os << indent << "SequenceNumbers: " << m_SequenceNumbers.size() << std::endl;
  for (const std::string & reason : m_ReviewReasons)
  {
    os << indent << "ReviewReason: " << reason << std::endl;
  }
  for (const auto & stage : m_StageSeconds)
  {
    os << indent << "StageSeconds: " << stage.first << ' ' << stage.second << std::endl;
  }
  os << indent << "CurrentStage: " << m_CurrentStage << std::endl;
  os << indent << "StageStart: " << m_StageStart << std::endl;
}
} // namespace itk

#endif // itkGliomaGradingFilter_hxx
