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
#include "CaseFilters.h"

#include "ForwardParameter.h"
#include "TerminalText.h"
#include "itkExplanationFaithfulnessCalculator.h"
#include "itkExplanationSanityCalculator.h"
#include "itkRigidRegistrationFilter.h"
#include "itkRigidResampleImageFilter.h"
#include "itkSequenceOrderCalculator.h"
#include "itkSequencePreparationFilter.h"
#include "itkAffineTransform.h"

#include <atomic>
#include <stdexcept>

namespace gliomagrading
{
namespace
{
using PreparationType = itk::SequencePreparationFilter<>;
using RegistrationType = itk::RigidRegistrationFilter<>;
using ResampleType = itk::RigidResampleImageFilter<>;
using OrderType = itk::SequenceOrderCalculator<>;
using FaithfulnessType = itk::ExplanationFaithfulnessCalculator<Volume::VectorImageType>;
using SanityType = itk::ExplanationSanityCalculator;

/** Computes in another thread, where an observer of its progress ends it after an interrupt. */
template <typename TCalculator>
void
ComputeInThread(TCalculator * calculator)
{
  std::atomic<bool> isAborted{ false };
  const auto        observer = calculator->AddObserver(itk::ProgressEvent(), [&isAborted](const itk::EventObject &) {
    if (isAborted)
    {
      throw itk::ProcessAborted(__FILE__, __LINE__);
    }
  });
  const auto        work = [calculator] {
    try
    {
      calculator->Compute();
    }
    catch (const itk::ProcessAborted &)
    {
      throw;
    }
    catch (const itk::ExceptionObject & error)
    {
      throw InputException(glioma::WithoutOrigin(error));
    }
  };
  try
  {
    RunInThread(work, [&isAborted] { isAborted = true; });
  }
  catch (...)
  {
    calculator->RemoveObserver(observer);
    throw;
  }
  calculator->RemoveObserver(observer);
}
} // namespace

SequencePreparation::SequencePreparation()
  : FilterRun(PreparationType::New())
{}

void
SequencePreparation::SetSequence(const std::string & name, const Volume & image)
{
  FilterOf<PreparationType>(this)->SetSequence(name, image.AsRealImage());
}

void
SequencePreparation::SetBrainMask(const Volume & mask)
{
  FilterOf<PreparationType>(this)->SetBrainMaskImage(mask.AsMask());
}

void
SequencePreparation::SetGeometryTolerance(double tolerance)
{
  FilterOf<PreparationType>(this)->SetCoordinateTolerance(tolerance);
  FilterOf<PreparationType>(this)->SetDirectionTolerance(tolerance);
}

GLIOMA_FORWARD_ENUM(SequencePreparation, PreparationType, BiasCorrection, BiasCorrectionEnum)
GLIOMA_FORWARD(SequencePreparation, PreparationType, unsigned int, ShrinkFactor)
GLIOMA_FORWARD_ENUM(SequencePreparation, PreparationType, Standardization, StandardizationEnum)
GLIOMA_FORWARD(SequencePreparation, PreparationType, double, LowerQuantile)
GLIOMA_FORWARD(SequencePreparation, PreparationType, double, UpperQuantile)
GLIOMA_FORWARD_RESULT(SequencePreparation, PreparationType, double, OutsideValue)
GLIOMA_FORWARD_RESULT(SequencePreparation, PreparationType, double, BrainVolume)
GLIOMA_FORWARD_RESULT(SequencePreparation, PreparationType, bool, SequencesDisagree)

void
SequencePreparation::SetOutsideValue(double value)
{
  FilterOf<PreparationType>(this)->SetOutsideValue(static_cast<float>(value));
}

Volume
SequencePreparation::GetPrepared() const
{
  return Volume(FilterOf<PreparationType>(this)->GetOutput());
}

Volume
SequencePreparation::GetBrain() const
{
  return Volume(FilterOf<PreparationType>(this)->GetBrainMask());
}

RigidRegistration::RigidRegistration()
  : FilterRun(RegistrationType::New())
{}

void
RigidRegistration::SetImage(const Volume & image)
{
  FilterOf<RegistrationType>(this)->SetInput(image.AsRealImage());
}

void
RigidRegistration::SetReference(const Volume & reference)
{
  FilterOf<RegistrationType>(this)->SetReferenceImage(reference.AsRealImage());
}

void
RigidRegistration::SetReferenceMask(const Volume & mask)
{
  FilterOf<RegistrationType>(this)->SetReferenceMaskImage(mask.AsMask());
}

void
RigidRegistration::SetOutputGrid(const Volume & grid)
{
  FilterOf<RegistrationType>(this)->SetOutputGrid(grid.AsRealImage());
}

GLIOMA_FORWARD(RigidRegistration, RegistrationType, bool, IgnoreZeros)
GLIOMA_FORWARD(RigidRegistration, RegistrationType, unsigned int, NumberOfHistogramBins)
GLIOMA_FORWARD(RigidRegistration, RegistrationType, unsigned int, NumberOfSamples)
GLIOMA_FORWARD(RigidRegistration, RegistrationType, int, Seed)
GLIOMA_FORWARD(RigidRegistration, RegistrationType, unsigned int, MaximumNumberOfIterations)
GLIOMA_FORWARD(RigidRegistration, RegistrationType, double, MaskDilation)
GLIOMA_FORWARD(RigidRegistration, RegistrationType, double, MinimumOverlap)
GLIOMA_FORWARD(RigidRegistration, RegistrationType, double, MinimumMutualInformation)
GLIOMA_FORWARD_RESULT(RigidRegistration, RegistrationType, double, InitialMetric)
GLIOMA_FORWARD_RESULT(RigidRegistration, RegistrationType, double, FinalMetric)
GLIOMA_FORWARD_RESULT(RigidRegistration, RegistrationType, double, Overlap)
GLIOMA_FORWARD_RESULT(RigidRegistration, RegistrationType, double, MeanDisplacement)
GLIOMA_FORWARD_LIST(RigidRegistration, RegistrationType, IterationsPerLevel)

Volume
RigidRegistration::GetMoved() const
{
  return Volume(FilterOf<RegistrationType>(this)->GetOutput());
}

Doubles
RigidRegistration::GetTransform() const
{
  const auto * const transform = FilterOf<RegistrationType>(this)->GetTransform();
  if (transform == nullptr)
  {
    throw std::logic_error("There is no transform: run the filter first.");
  }
  Doubles values;
  for (unsigned int r = 0; r < 3; ++r)
  {
    for (unsigned int c = 0; c < 3; ++c)
    {
      values.push_back(transform->GetMatrix()[r][c]);
    }
  }
  for (unsigned int r = 0; r < 3; ++r)
  {
    values.push_back(transform->GetOffset()[r]);
  }
  return values;
}

RigidResample::RigidResample()
  : FilterRun(ResampleType::New())
{}

void
RigidResample::SetImage(const Volume & image)
{
  FilterOf<ResampleType>(this)->SetInput(image.AsRealImage());
}

void
RigidResample::SetReference(const Volume & reference)
{
  FilterOf<ResampleType>(this)->SetReferenceImage(reference.AsRealImage());
}

void
RigidResample::SetTransform(const Doubles & values)
{
  if (values.size() != 12)
  {
    throw InputException("The transform has " + std::to_string(values.size()) +
                         " numbers; give the rows of the rotation and the translation, 12.");
  }
  const auto                                        transform = itk::AffineTransform<double, 3>::New();
  itk::AffineTransform<double, 3>::MatrixType       matrix;
  itk::AffineTransform<double, 3>::OutputVectorType offset;
  for (unsigned int r = 0; r < 3; ++r)
  {
    for (unsigned int c = 0; c < 3; ++c)
    {
      matrix[r][c] = values[3 * r + c];
    }
    offset[r] = values[9 + r];
  }
  transform->SetMatrix(matrix);
  transform->SetOffset(offset);
  FilterOf<ResampleType>(this)->SetTransform(transform);
}

GLIOMA_FORWARD(RigidResample, ResampleType, bool, IgnoreZeros)

Volume
RigidResample::GetMoved() const
{
  return Volume(FilterOf<ResampleType>(this)->GetOutput());
}

struct SequenceOrder::Calculator
{
  OrderType::Pointer Of{ OrderType::New() };
};

SequenceOrder::SequenceOrder()
  : m_Calculator(std::make_unique<Calculator>())
{}

SequenceOrder::~SequenceOrder() = default;

void
SequenceOrder::SetSequence(unsigned int number, const Volume & image)
{
  m_Calculator->Of->SetSequence(number, image.AsRealImage());
}

void
SequenceOrder::SetMask(const Volume & mask)
{
  m_Calculator->Of->SetMask(mask.AsMask());
}

void
SequenceOrder::Compute()
{
  ComputeInThread(m_Calculator->Of.GetPointer());
}

std::vector<std::string>
SequenceOrder::GetLooksLike() const
{
  std::vector<std::string> names;
  for (const unsigned int number : m_Calculator->Of->GetLooksLike())
  {
    names.push_back(OrderType::GetNames()[number]);
  }
  return names;
}

Numbers
SequenceOrder::GetDuplicates() const
{
  Numbers pairs;
  for (const auto & pair : m_Calculator->Of->GetDuplicates())
  {
    pairs.insert(pairs.end(), { pair.first, pair.second });
  }
  return pairs;
}

Doubles
SequenceOrder::GetFluidRanks() const
{
  Doubles ranks;
  for (unsigned int i = 0; i < OrderType::GetNames().size(); ++i)
  {
    ranks.push_back(m_Calculator->Of->GetFluidRank(i));
  }
  return ranks;
}

double
SequenceOrder::GetEnhancement() const
{
  return m_Calculator->Of->GetEnhancement();
}

struct ExplanationFaithfulness::Calculator
{
  FaithfulnessType::Pointer Of{ FaithfulnessType::New() };
};

ExplanationFaithfulness::ExplanationFaithfulness()
  : m_Calculator(std::make_unique<Calculator>())
{}

ExplanationFaithfulness::~ExplanationFaithfulness() = default;

void
ExplanationFaithfulness::SetModel(const Model & model)
{
  m_Calculator->Of->SetModel(model.GetModel());
}

void
ExplanationFaithfulness::SetRegion(const Volume & region)
{
  m_Calculator->Of->SetRegionImage(region.AsVectorImage());
}

void
ExplanationFaithfulness::SetMap(const Volume & map)
{
  m_Calculator->Of->SetMapImage(map.AsVectorImage());
}

#define GLIOMA_HAND_ON(calculator, type, name) \
  void calculator::Set##name(type value)       \
  {                                            \
    m_Calculator->Of->Set##name(value);        \
  }                                            \
  type calculator::Get##name() const           \
  {                                            \
    return m_Calculator->Of->Get##name();      \
  }

GLIOMA_HAND_ON(ExplanationFaithfulness, unsigned int, ClassToExplain)
GLIOMA_HAND_ON(ExplanationFaithfulness, unsigned int, BlockSize)
GLIOMA_HAND_ON(ExplanationFaithfulness, unsigned int, NumberOfSteps)
GLIOMA_HAND_ON(ExplanationFaithfulness, unsigned int, NumberOfChanceOrders)
GLIOMA_HAND_ON(ExplanationFaithfulness, unsigned long, Seed)

void
ExplanationFaithfulness::SetBaseline(Doubles value)
{
  FaithfulnessType::ArrayType array(static_cast<unsigned int>(value.size()));
  std::copy(value.begin(), value.end(), array.begin());
  m_Calculator->Of->SetBaseline(array);
}

Doubles
ExplanationFaithfulness::GetBaseline() const
{
  return ListOf(m_Calculator->Of->GetBaseline());
}

void
ExplanationFaithfulness::Compute()
{
  ComputeInThread(m_Calculator->Of.GetPointer());
}

Doubles
ExplanationFaithfulness::GetDeletionCurve() const
{
  return ListOf(m_Calculator->Of->GetDeletionCurve());
}

Doubles
ExplanationFaithfulness::GetInsertionCurve() const
{
  return ListOf(m_Calculator->Of->GetInsertionCurve());
}

Doubles
ExplanationFaithfulness::GetAreas() const
{
  const FaithfulnessType & calculator = *m_Calculator->Of;
  return { calculator.GetDeletionArea(),
           calculator.GetInsertionArea(),
           calculator.GetChanceDeletionArea(),
           calculator.GetChanceInsertionArea() };
}

struct ExplanationSanity::Calculator
{
  SanityType::Pointer Of{ SanityType::New() };
};

ExplanationSanity::ExplanationSanity()
  : m_Calculator(std::make_unique<Calculator>())
{}

ExplanationSanity::~ExplanationSanity() = default;

void
ExplanationSanity::SetModel(const Model & model)
{
  m_Calculator->Of->SetModel(model.GetModel());
}

void
ExplanationSanity::SetRegion(const Volume & region)
{
  m_Calculator->Of->SetRegionImage(region.AsVectorImage());
}

void
ExplanationSanity::AddLayerName(const std::string & layer)
{
  m_Calculator->Of->AddLayerName(layer);
}

GLIOMA_HAND_ON(ExplanationSanity, unsigned int, ClassToExplain)
GLIOMA_HAND_ON(ExplanationSanity, unsigned long, Seed)

void
ExplanationSanity::Compute()
{
  ComputeInThread(m_Calculator->Of.GetPointer());
}

std::vector<std::string>
ExplanationSanity::GetRandomizedLayers() const
{
  return m_Calculator->Of->GetRandomizedLayers();
}

std::vector<std::string>
ExplanationSanity::GetMapNames() const
{
  return m_Calculator->Of->GetMapNames();
}

Doubles
ExplanationSanity::GetRankCorrelations(unsigned int map) const
{
  return m_Calculator->Of->GetRankCorrelations(map);
}

Doubles
ExplanationSanity::GetSimilarities(unsigned int map) const
{
  return m_Calculator->Of->GetSimilarities(map);
}
} // namespace gliomagrading
