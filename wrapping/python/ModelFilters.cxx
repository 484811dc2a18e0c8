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
#include "ModelFilters.h"

#include "ForwardParameter.h"
#include "TerminalText.h"
#include "itkGradCAMImageFilter.h"
#include "itkGradeClassifierFilter.h"
#include "itkGuidedBackpropagationImageFilter.h"
#include "itkTorchSegmentationFilter.h"

namespace gliomagrading
{
namespace
{
using SegmentationType = itk::TorchSegmentationFilter<>;
using ClassifierType = itk::GradeClassifierFilter<>;
using GradCAMType = itk::GradCAMImageFilter<>;
using GuidedType = itk::GuidedBackpropagationImageFilter<>;

/** What loading or reading a model throws is about the model. */
template <typename TWork>
auto
AboutModel(const TWork & work)
{
  try
  {
    return work();
  }
  catch (const itk::ExceptionObject & error)
  {
    throw ModelException(glioma::WithoutOrigin(error));
  }
}

/** Loading is not divided: an interrupt waits for its end. */
template <typename TWork>
void
LoadInThread(const TWork & work)
{
  RunInThread([&work] { AboutModel(work); }, [] {});
}

/** -1: the predicted class. */
template <typename TFilter>
void
ExplainClass(TFilter * filter, int label)
{
  if (label >= 0)
  {
    filter->SetClassToExplain(static_cast<unsigned int>(label));
  }
  filter->SetUsePredictedClass(label < 0);
}

template <typename TFilter>
int
ExplainedClass(const TFilter * filter)
{
  return filter->GetUsePredictedClass() ? -1 : static_cast<int>(filter->GetClassToExplain());
}
} // namespace

Model::Model()
  : m_Model(itk::TorchModel::New())
{}

void
Model::SetPath(std::string value)
{
  m_Model->SetPath(value);
}

std::string
Model::GetPath() const
{
  return m_Model->GetPath();
}

void
Model::SetTrustModelCode(bool value)
{
  m_Model->SetTrustModelCode(value);
}

bool
Model::GetTrustModelCode() const
{
  return m_Model->GetTrustModelCode();
}

void
Model::SetDevice(std::string value)
{
  m_Model->SetDevice(value);
}

std::string
Model::GetDevice() const
{
  return m_Model->GetDevice();
}

void
Model::SetPrecision(unsigned int value)
{
  m_Model->SetPrecision(static_cast<itk::TorchModel::Precision>(value));
}

unsigned int
Model::GetPrecision() const
{
  return static_cast<unsigned int>(m_Model->GetPrecision());
}

void
Model::SetNumberOfThreads(unsigned int value)
{
  m_Model->SetNumberOfThreads(value);
}

unsigned int
Model::GetNumberOfThreads() const
{
  return m_Model->GetNumberOfThreads();
}

void
Model::SetManifest(const itk::TorchModelManifest & manifest)
{
  m_Model->SetManifest(manifest);
}

itk::TorchModelManifest
Model::GetManifest() const
{
  return m_Model->GetManifest();
}

std::vector<std::string>
Model::GetTrainingCases() const
{
  std::vector<std::string> cases;
  for (const auto & entry : m_Model->GetManifest().TrainingCases)
  {
    cases.insert(cases.end(), { entry.Case, entry.Licence, entry.Attribution });
  }
  return cases;
}

void
Model::ReadManifest()
{
  AboutModel([this] { m_Model->ReadManifest(); });
}

void
Model::Load()
{
  LoadInThread([this] { m_Model->Load(); });
}

bool
Model::IsLoaded() const
{
  return m_Model->IsLoaded();
}

bool
Model::VerifyGoldenPair() const
{
  bool isThere = false;
  LoadInThread([this, &isThere] { isThere = m_Model->VerifyGoldenPair(); });
  return isThere;
}

std::vector<std::string>
Model::GetLayerNames() const
{
  return AboutModel([this] { return m_Model->GetLayerNames(); });
}

std::size_t
Model::GetNumberOfParameters() const
{
  return AboutModel([this] { return m_Model->GetNumberOfParameters(); });
}

void
Model::WriteSeededBundle(const std::string & path, const itk::TorchModelManifest & manifest, unsigned long seed)
{
  LoadInThread([&] { itk::TorchModel::WriteSeededBundle(path, manifest, seed); });
}

TorchSegmentation::TorchSegmentation()
  : FilterRun(SegmentationType::New())
{}

void
TorchSegmentation::SetImage(const Volume & image)
{
  FilterOf<SegmentationType>(this)->SetInput(image.AsVectorImage());
}

void
TorchSegmentation::SetMask(const Volume & mask)
{
  FilterOf<SegmentationType>(this)->SetMaskImage(mask.AsMask());
}

void
TorchSegmentation::SetModel(const Model & model)
{
  FilterOf<SegmentationType>(this)->SetModel(model.GetModel());
}

GLIOMA_FORWARD(TorchSegmentation, SegmentationType, bool, GenerateProbabilities)
GLIOMA_FORWARD_THREE(TorchSegmentation, SegmentationType, TileSize)
GLIOMA_FORWARD(TorchSegmentation, SegmentationType, unsigned int, TileMemory)
GLIOMA_FORWARD(TorchSegmentation, SegmentationType, double, Overlap)
GLIOMA_FORWARD_ENUM(TorchSegmentation, SegmentationType, Blend, BlendEnum)
GLIOMA_FORWARD(TorchSegmentation, SegmentationType, double, SigmaScale)
GLIOMA_FORWARD_ENUM(TorchSegmentation, SegmentationType, Border, BorderEnum)
GLIOMA_FORWARD(TorchSegmentation, SegmentationType, unsigned int, MaximumMemory)
GLIOMA_FORWARD_ARRAY(TorchSegmentation, SegmentationType, Doubles, OutsideValues)
GLIOMA_FORWARD_RESULT(TorchSegmentation, SegmentationType, unsigned long, NumberOfComputedTiles)

Volume
TorchSegmentation::GetLabels() const
{
  return Volume(FilterOf<SegmentationType>(this)->GetOutput());
}

Volume
TorchSegmentation::GetProbabilities() const
{
  return Volume(FilterOf<SegmentationType>(this)->GetProbabilities());
}

GradeClassifier::GradeClassifier()
  : FilterRun(ClassifierType::New())
{}

void
GradeClassifier::SetRegion(const Volume & region)
{
  FilterOf<ClassifierType>(this)->SetInput(region.AsVectorImage());
}

void
GradeClassifier::SetModel(const Model & model)
{
  FilterOf<ClassifierType>(this)->SetModel(model.GetModel());
}

void
GradeClassifier::Run()
{
  // It has no image to describe before.
  this->RefuseInput([this] { this->GetFilter()->Update(); });
}

GLIOMA_FORWARD_LIST(GradeClassifier, ClassifierType, Probabilities)
GLIOMA_FORWARD_LIST(GradeClassifier, ClassifierType, Logits)
GLIOMA_FORWARD_RESULT(GradeClassifier, ClassifierType, std::string, GradeName)

GradCAM::GradCAM()
  : FilterRun(GradCAMType::New())
{}

void
GradCAM::SetRegion(const Volume & region)
{
  FilterOf<GradCAMType>(this)->SetInput(region.AsVectorImage());
}

void
GradCAM::SetModel(const Model & model)
{
  FilterOf<GradCAMType>(this)->SetModel(model.GetModel());
}

void
GradCAM::SetReference(const Volume & reference)
{
  FilterOf<GradCAMType>(this)->SetReferenceImage(reference.AsVectorImage());
}

void
GradCAM::AddLayerName(const std::string & layer)
{
  FilterOf<GradCAMType>(this)->AddLayerName(layer);
}

void
GradCAM::SetClassToExplain(int value)
{
  ExplainClass(FilterOf<GradCAMType>(this), value);
}

int
GradCAM::GetClassToExplain() const
{
  return ExplainedClass(FilterOf<GradCAMType>(this));
}

GLIOMA_FORWARD(GradCAM, GradCAMType, bool, ExplainProbability)
GLIOMA_FORWARD_LIST(GradCAM, GradCAMType, HasPositiveCell)
GLIOMA_FORWARD_RESULT(GradCAM, GradCAMType, unsigned long, ExplainedClass)
GLIOMA_FORWARD_LIST(GradCAM, GradCAMType, Logits)
GLIOMA_FORWARD_LIST(GradCAM, GradCAMType, Probabilities)

Volume
GradCAM::GetMap(unsigned int layer) const
{
  return Volume(FilterOf<GradCAMType>(this)->GetOutput(layer));
}

Volume
GradCAM::GetSupport(unsigned int layer) const
{
  return Volume(FilterOf<GradCAMType>(this)->GetSupport(layer));
}

GuidedBackpropagation::GuidedBackpropagation()
  : FilterRun(GuidedType::New())
{}

void
GuidedBackpropagation::SetRegion(const Volume & region)
{
  FilterOf<GuidedType>(this)->SetInput(region.AsVectorImage());
}

void
GuidedBackpropagation::SetModel(const Model & model)
{
  FilterOf<GuidedType>(this)->SetModel(model.GetModel());
}

void
GuidedBackpropagation::SetReference(const Volume & reference)
{
  FilterOf<GuidedType>(this)->SetReferenceImage(reference.AsVectorImage());
}

void
GuidedBackpropagation::SetClassToExplain(int value)
{
  ExplainClass(FilterOf<GuidedType>(this), value);
}

int
GuidedBackpropagation::GetClassToExplain() const
{
  return ExplainedClass(FilterOf<GuidedType>(this));
}

GLIOMA_FORWARD(GuidedBackpropagation, GuidedType, bool, ExplainProbability)
GLIOMA_FORWARD(GuidedBackpropagation, GuidedType, bool, AllowOtherActivations)
GLIOMA_FORWARD_RESULT(GuidedBackpropagation, GuidedType, unsigned long, ExplainedClass)
GLIOMA_FORWARD_LIST(GuidedBackpropagation, GuidedType, Logits)
GLIOMA_FORWARD_LIST(GuidedBackpropagation, GuidedType, Probabilities)
GLIOMA_FORWARD_RESULT(GuidedBackpropagation, GuidedType, unsigned long, ExecutedReLUs)
GLIOMA_FORWARD_RESULT(GuidedBackpropagation, GuidedType, unsigned long, GuidedReLUs)

Volume
GuidedBackpropagation::GetMap() const
{
  return Volume(FilterOf<GuidedType>(this)->GetOutput());
}

Volume
GuidedBackpropagation::GetSupport() const
{
  return Volume(FilterOf<GuidedType>(this)->GetSupport());
}

std::vector<std::string>
GuidedBackpropagation::GetOtherActivations() const
{
  return FilterOf<GuidedType>(this)->GetOtherActivations();
}
} // namespace gliomagrading
