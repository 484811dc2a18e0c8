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
#include "CaseGrading.h"

#include "CaseReader.h"
#include "ForwardParameter.h"
#include "GridComparison.h"
#include "RegisteredCase.h"
#include "ResultDocument.h"
#include "TerminalText.h"
#include "itkGliomaGradingFilter.h"
#include "itkImageDuplicator.h"
#include "itkMetaDataObject.h"

#include <algorithm>
#include <chrono>
#include <map>

namespace gliomagrading
{
namespace
{
using FilterType = itk::GliomaGradingFilter<>;

/** A result does not share the voxels of an input. */
Volume
CopyOf(const glioma::MaskImageType * mask)
{
  const auto duplicator = itk::ImageDuplicator<glioma::MaskImageType>::New();
  duplicator->SetInputImage(mask);
  duplicator->Update();
  return Volume(duplicator->GetOutput());
}

/** The program glioma refuses it too: the mask would be cut and moved. */
void
RefuseOtherGrid(const glioma::MaskImageType *     mask,
                const std::string &               name,
                const glioma::SequenceImageType * reference,
                const std::string &               nameOfReference,
                double                            tolerance)
{
  if (mask && !glioma::IsOnGridOf(mask, reference, tolerance))
  {
    throw InputException("The " + name + " is not on the grid of the reference " + nameOfReference + ": " +
                         glioma::DescribeGrid(mask) + "; the reference has " + glioma::DescribeGrid(reference) +
                         ". Give it on the reference's grid, or choose another reference.");
  }
}

/** Of the progress of a case, where there is a registration. */
constexpr double shareOfRegistration = 0.3;

/** Those of the layers that have a map. */
template <typename TMapOf>
std::vector<std::string>
LayersWith(std::vector<std::string> layers, const TMapOf & mapOf)
{
  const auto isMissing = [&mapOf](const std::string & layer) { return mapOf(layer) == nullptr; };
  layers.erase(std::remove_if(layers.begin(), layers.end(), isMissing), layers.end());
  return layers;
}

double
Now()
{
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}
} // namespace

struct CaseGrading::Case
{
  std::map<std::string, glioma::SequenceImageType::Pointer> Sequences;
  glioma::MaskImageType::Pointer                            BrainMask;
  glioma::MaskImageType::Pointer                            TumourMask;
  glioma::MaskImageType::Pointer                            RegionLabels;
  std::string                                               Reference;
  std::unique_ptr<glioma::RegisteredCase>                   Registered;
  bool                                                      IsRegistering{ false };
  double                                                    Registration{ 0.0 };
  glioma::ResultDocument                                    Document;

  /** An image of the graded grid on that of the sequences, or of the reference of a registration. */
  template <typename TImage>
  Volume
  OnReference(const TImage * image) const
  {
    if (!Registered)
    {
      return Volume(image);
    }
    const glioma::RegisteredCase & registered = *Registered;
    return ResultOfThread([&] { return Volume(registered.ToSequence(image, registered.GetReference()).GetPointer()); });
  }

  std::size_t
  ReferenceNumber() const
  {
    const auto & names = FilterType::GetSequenceNames();
    const auto   place = std::find(names.begin(), names.end(), Reference);
    if (place == names.end())
    {
      throw InputException("The reference " + Reference + " is no sequence; give T1, T1c, T2 or FLAIR.");
    }
    return static_cast<std::size_t>(place - names.begin());
  }
};

CaseGrading::CaseGrading()
  : FilterRun(FilterType::New())
  , m_Case(std::make_unique<Case>())
{}

CaseGrading::~CaseGrading() = default;

void
CaseGrading::SetSequence(const std::string & name, const Volume & image)
{
  m_Case->Sequences[name] = image.AsRealImage();
}

std::vector<std::string>
CaseGrading::AddInputFile(const std::string & name, const std::string & path, const std::vector<std::string> & series)
{
  return ResultOfThread([&] {
    try
    {
      std::vector<std::string> used;
      m_Case->Document.AddInput(name, path, glioma::FilesOfInput(path, name, series, used));
      return used;
    }
    catch (const std::exception & error)
    {
      throw InputException(glioma::WithoutOrigin(error));
    }
  });
}

void
CaseGrading::SetBrainMask(const Volume & mask)
{
  m_Case->BrainMask = mask.AsMask();
}

void
CaseGrading::SetTumourMask(const Volume & mask)
{
  m_Case->TumourMask = mask.AsMask();
}

void
CaseGrading::SetRegionLabels(const Volume & labels)
{
  m_Case->RegionLabels = labels.AsMask();
}

void
CaseGrading::SetSegmentationModel(const Model & model)
{
  FilterOf<FilterType>(this)->SetSegmentationModel(model.GetModel());
}

void
CaseGrading::SetGradingModel(const Model & model)
{
  FilterOf<FilterType>(this)->SetGradingModel(model.GetModel());
}

void
CaseGrading::SetBrainGradingModel(const Model & model)
{
  FilterOf<FilterType>(this)->SetBrainGradingModel(model.GetModel());
}

void
CaseGrading::SetRegistrationReference(const std::string & name)
{
  m_Case->Reference = name;
}

GLIOMA_FORWARD_ENUM(CaseGrading, FilterType, Explain, ExplainEnum)
GLIOMA_FORWARD(CaseGrading, FilterType, int, ClassToExplain)
GLIOMA_FORWARD(CaseGrading, FilterType, bool, ExplainProbability)
GLIOMA_FORWARD(CaseGrading, FilterType, bool, TurnUpright)
GLIOMA_FORWARD(CaseGrading, FilterType, bool, TestExplanation)
GLIOMA_FORWARD(CaseGrading, FilterType, bool, GradeWithoutTumour)

void
CaseGrading::AddGradCAMLayer(const std::string & layer)
{
  FilterOf<FilterType>(this)->AddGradCAMLayer(layer);
}

void
CaseGrading::SetGeometryTolerance(double tolerance)
{
  FilterOf<FilterType>(this)->SetCoordinateTolerance(tolerance);
  FilterOf<FilterType>(this)->SetDirectionTolerance(tolerance);
}

void
CaseGrading::AddParameter(const std::string & name, const std::string & value)
{
  m_Case->Document.AddParameter(name, nlohmann::ordered_json::parse(value));
}

std::string
CaseGrading::GetStage() const
{
  const std::string stage = FilterOf<FilterType>(this)->GetCurrentStage();
  return m_Case->IsRegistering ? "register" : stage.empty() ? "grade" : stage;
}

double
CaseGrading::GetProgress() const
{
  if (m_Case->IsRegistering)
  {
    return shareOfRegistration * m_Case->Registration;
  }
  const double start = m_Case->Registered ? shareOfRegistration : 0.0;
  return start + (1.0 - start) * FilterRun::GetProgress();
}

void
CaseGrading::Run()
{
  FilterType * const filter = FilterOf<FilterType>(this);
  Case &             patient = *m_Case;
  const auto &       names = FilterType::GetSequenceNames();

  std::vector<glioma::SequenceImageType::Pointer> sequences;
  for (const std::string & name : names)
  {
    if (patient.Sequences[name].IsNull())
    {
      throw InputException("The sequence " + name + " is missing; give T1, T1c, T2 and FLAIR.");
    }
    sequences.push_back(patient.Sequences[name]);
  }
  std::size_t reference = 0;
  if (!patient.Reference.empty())
  {
    if (patient.RegionLabels)
    {
      throw InputException("Regions cannot be counted with a registration: leave region_labels or register out.");
    }
    const double start = Now();
    reference = patient.ReferenceNumber();
    const itk::TorchModel * const model =
      patient.TumourMask ? filter->GetGradingModel() : filter->GetSegmentationModel();
    if (model == nullptr)
    {
      throw InputException("A model is missing: the registration brings the sequences to its grid.");
    }
    const double tolerance = filter->GetCoordinateTolerance();
    RefuseOtherGrid(patient.BrainMask, "brain mask", sequences[reference], patient.Reference, tolerance);
    RefuseOtherGrid(patient.TumourMask, "tumour mask", sequences[reference], patient.Reference, tolerance);
    // The filter does not run yet: its flag and its observers serve the registration.
    const auto progress = [&patient, filter](double done) {
      patient.Registration = done;
      filter->InvokeEvent(itk::ProgressEvent());
      return !filter->GetAbortGenerateData();
    };
    patient.IsRegistering = true;
    try
    {
      patient.Registered = std::make_unique<glioma::RegisteredCase>(names,
                                                                    sequences,
                                                                    reference,
                                                                    patient.BrainMask,
                                                                    model->GetManifest().Orientation,
                                                                    model->GetManifest().Spacing,
                                                                    progress);
    }
    catch (const std::bad_alloc &)
    {
      throw;
    }
    catch (const itk::ProcessAborted &)
    {
      throw;
    }
    catch (const std::exception & error)
    {
      throw InputException(glioma::WithoutOrigin(error));
    }
    patient.IsRegistering = false;
    patient.Document.SetRegistration(*patient.Registered);
    patient.Document.AddStage("register", Now() - start);
  }
  const glioma::RegisteredCase * const registered = patient.Registered.get();
  for (std::size_t i = 0; i < names.size(); ++i)
  {
    filter->SetSequence(names[i], registered ? registered->GetSequence(i) : sequences[i].GetPointer());
  }
  if (patient.BrainMask)
  {
    filter->SetBrainMaskImage(registered ? registered->ToWorkingGrid(patient.BrainMask) : patient.BrainMask);
  }
  if (patient.TumourMask)
  {
    filter->SetTumourMaskImage(registered ? registered->ToWorkingGrid(patient.TumourMask) : patient.TumourMask);
  }
  filter->SetRegionLabelsImage(patient.RegionLabels);
  FilterRun::Run();

  bool isPhantom = false;
  for (const char * const key : { "aux_file", "ITK_FileNotes" })
  {
    std::string note;
    itk::ExposeMetaData<std::string>(sequences[reference]->GetMetaDataDictionary(), key, note);
    isPhantom = isPhantom || note.rfind("Synthetic phantom", 0) == 0;
  }
  patient.Document.SetIsPhantom(isPhantom);
  for (const auto & stage : filter->GetStageSeconds())
  {
    patient.Document.AddStage(stage.first, stage.second);
  }
  patient.Document.SetResult(*filter);
}

Volume
CaseGrading::GetTumour() const
{
  const FilterType * const filter = FilterOf<FilterType>(this);
  if (!m_Case->Registered)
  {
    return Volume(filter->GetOutput());
  }
  if (m_Case->TumourMask)
  {
    return CopyOf(m_Case->TumourMask);
  }
  const glioma::RegisteredCase & registered = *m_Case->Registered;
  return ResultOfThread([&] {
    const auto labels =
      registered.LabelsToSequence(filter->GetOutput(), filter->GetTumourProbability(), registered.GetReference());
    return Volume(labels.GetPointer());
  });
}

Volume
CaseGrading::GetBrainMask() const
{
  const FilterType * const filter = FilterOf<FilterType>(this);
  return m_Case->Registered && m_Case->BrainMask ? CopyOf(m_Case->BrainMask) : Volume(filter->GetBrainMask());
}

bool
CaseGrading::HasTumourProbability() const
{
  return FilterOf<FilterType>(this)->GetTumourProbability() != nullptr;
}

Volume
CaseGrading::GetTumourProbability() const
{
  return m_Case->OnReference(FilterOf<FilterType>(this)->GetTumourProbability());
}

std::vector<std::string>
CaseGrading::GetGradCAMLayers() const
{
  const FilterType * const filter = FilterOf<FilterType>(this);
  return LayersWith(filter->GetGradCAMLayers(),
                    [filter](const std::string & layer) { return filter->GetGradCAM(layer); });
}

Volume
CaseGrading::GetGradCAM(const std::string & layer) const
{
  return m_Case->OnReference(FilterOf<FilterType>(this)->GetGradCAM(layer));
}

Volume
CaseGrading::GetGradCAMSupport(const std::string & layer) const
{
  return Volume(FilterOf<FilterType>(this)->GetGradCAMSupport(layer));
}

bool
CaseGrading::HasGuidedBackpropagation() const
{
  return FilterOf<FilterType>(this)->GetGuidedBackpropagation() != nullptr;
}

Volume
CaseGrading::GetGuidedBackpropagation() const
{
  return m_Case->OnReference(FilterOf<FilterType>(this)->GetGuidedBackpropagation());
}

std::vector<std::string>
CaseGrading::GetBrainGradCAMLayers() const
{
  const FilterType * const filter = FilterOf<FilterType>(this);
  return LayersWith(filter->GetBrainGradCAMLayers(),
                    [filter](const std::string & layer) { return filter->GetBrainGradCAM(layer); });
}

Volume
CaseGrading::GetBrainGradCAM(const std::string & layer) const
{
  return m_Case->OnReference(FilterOf<FilterType>(this)->GetBrainGradCAM(layer));
}

bool
CaseGrading::HasBrainGuidedBackpropagation() const
{
  return FilterOf<FilterType>(this)->GetBrainGuidedBackpropagation() != nullptr;
}

Volume
CaseGrading::GetBrainGuidedBackpropagation() const
{
  return m_Case->OnReference(FilterOf<FilterType>(this)->GetBrainGuidedBackpropagation());
}

std::string
CaseGrading::GetDocument() const
{
  return m_Case->Document.GetJson().dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}
} // namespace gliomagrading
