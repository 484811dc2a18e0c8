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
#include "RegisteredCase.h"

#include "SideBySide.h"
#include "TerminalText.h"

#include "itkModelSpaceFilter.h"
#include "itkRigidRegistrationFilter.h"
#include "itkRigidResampleImageFilter.h"

#include <algorithm>
#include <exception>
#include <functional>
#include <mutex>
#include <numeric>
#include <stdexcept>

namespace glioma
{
namespace
{
using ResampleType = itk::RigidResampleImageFilter<SequenceImageType, SequenceImageType>;
using RegistrationType = itk::RigidRegistrationFilter<SequenceImageType, MaskImageType>;

/** The same voxels as another object: threads that share one would quarrel about its requested region. */
template <typename TImage>
typename TImage::Pointer
ViewOf(const TImage * image)
{
  auto view = TImage::New();
  view->Graft(image);
  view->SetMetaDataDictionary(image->GetMetaDataDictionary());
  return view;
}

SequenceImageType::Pointer
Resample(const SequenceImageType *                   image,
         const itk::ImageBase<3> *                   grid,
         const itk::VersorRigid3DTransform<double> * transform,
         bool                                        ignoreZeros)
{
  const auto filter = ResampleType::New();
  filter->SetInput(ViewOf(image));
  auto geometry = SequenceImageType::New();
  geometry->CopyInformation(grid);
  geometry->SetLargestPossibleRegion(grid->GetLargestPossibleRegion());
  filter->SetReferenceImage(geometry);
  filter->SetTransform(transform);
  filter->SetIgnoreZeros(ignoreZeros);
  filter->Update();
  SequenceImageType::Pointer output = filter->GetOutput();
  output->DisconnectPipeline();
  output->SetMetaDataDictionary(grid->GetMetaDataDictionary());
  return output;
}

MaskImageType::Pointer
Above(const SequenceImageType * image, float threshold, bool orEqual)
{
  auto mask = MaskImageType::New();
  mask->CopyInformation(image);
  mask->SetRegions(image->GetLargestPossibleRegion());
  mask->SetMetaDataDictionary(image->GetMetaDataDictionary());
  mask->Allocate();
  const float * const from = image->GetBufferPointer();
  std::transform(from,
                 from + image->GetLargestPossibleRegion().GetNumberOfPixels(),
                 mask->GetBufferPointer(),
                 [=](float v) { return static_cast<unsigned char>(orEqual ? v >= threshold : v > threshold); });
  return mask;
}

SequenceImageType::Pointer
AsNumbers(const MaskImageType * mask)
{
  auto image = SequenceImageType::New();
  image->CopyInformation(mask);
  image->SetRegions(mask->GetLargestPossibleRegion());
  image->Allocate();
  const unsigned char * const from = mask->GetBufferPointer();
  std::transform(from,
                 from + mask->GetLargestPossibleRegion().GetNumberOfPixels(),
                 image->GetBufferPointer(),
                 [](unsigned char v) { return v ? 1.0f : 0.0f; });
  return image;
}
} // namespace

RegisteredCase::RegisteredCase(const std::vector<std::string> &                names,
                               const std::vector<SequenceImageType::Pointer> & sequences,
                               std::size_t                                     reference,
                               const MaskImageType *                           brainMask,
                               const std::string &                             orientation,
                               const std::array<double, 3> &                   spacing,
                               const ProgressFunctionType &                    progress)
  : m_Reference(reference)
  , m_Original(sequences)
  , m_Registered(sequences.size())
  , m_ToReference(sequences.size())
  , m_Reports(sequences.size())
{
  const auto toModel = itk::ModelSpaceFilter<SequenceImageType>::New();
  toModel->SetInput(ViewOf(sequences[reference].GetPointer()));
  toModel->SetOutputOrientation(orientation);
  itk::ModelSpaceFilter<SequenceImageType>::SpacingType modelSpacing;
  std::copy(spacing.begin(), spacing.end(), modelSpacing.Begin());
  toModel->SetOutputSpacing(modelSpacing);
  toModel->UpdateOutputInformation();
  m_WorkingGrid = SequenceImageType::New();
  m_WorkingGrid->CopyInformation(toModel->GetOutput());
  m_WorkingGrid->SetLargestPossibleRegion(toModel->GetOutput()->GetLargestPossibleRegion());
  m_WorkingGrid->SetMetaDataDictionary(sequences[reference]->GetMetaDataDictionary());

  // A registration runs in one thread, so that it gives the same bits everywhere; the sequences run side by side.
  std::vector<std::exception_ptr> errors(sequences.size());
  std::vector<double>             done(sequences.size(), 0.0);
  std::mutex                      mutex;
  const auto                      run = [&](std::size_t i) {
    try
    {
      auto identity = TransformType::New();
      identity->SetIdentity();
      m_Reports[i].Name = names[i];
      m_Reports[i].Transform = identity;
      m_ToReference[i] = identity;
      if (i == reference)
      {
        m_Registered[i] = Resample(sequences[i], m_WorkingGrid, nullptr, true);
        return;
      }
      const auto filter = RegistrationType::New();
      filter->SetInput(ViewOf(sequences[i].GetPointer()));
      filter->SetReferenceImage(ViewOf(sequences[reference].GetPointer()));
      if (brainMask)
      {
        filter->SetReferenceMaskImage(ViewOf(brainMask));
      }
      auto grid = SequenceImageType::New();
      grid->CopyInformation(m_WorkingGrid);
      grid->SetLargestPossibleRegion(m_WorkingGrid->GetLargestPossibleRegion());
      filter->SetOutputGrid(grid);
      RegistrationType * const running = filter.GetPointer();
      filter->AddObserver(itk::ProgressEvent(), [&, i, running](const itk::EventObject &) {
        const std::lock_guard<std::mutex> lock(mutex);
        done[i] = running->GetProgress();
        const double others = static_cast<double>(done.size()) - 1.0; // than the reference
        if (progress && !progress(std::accumulate(done.begin(), done.end(), 0.0) / others))
        {
          running->AbortGenerateDataOn();
        }
      });
      filter->Update();
      m_Registered[i] = filter->GetOutput();
      m_Registered[i]->DisconnectPipeline();
      m_Registered[i]->SetMetaDataDictionary(m_WorkingGrid->GetMetaDataDictionary());
      auto inverse = TransformType::New();
      filter->GetTransform()->GetInverse(inverse);
      m_ToReference[i] = inverse;
      m_Reports[i].Transform = filter->GetTransform();
      m_Reports[i].InitialMetric = filter->GetInitialMetric();
      m_Reports[i].FinalMetric = filter->GetFinalMetric();
      m_Reports[i].Overlap = filter->GetOverlap();
      m_Reports[i].MeanDisplacement = filter->GetMeanDisplacement();
    }
    catch (...)
    {
      errors[i] = std::current_exception();
    }
  };
  std::vector<std::function<void()>> tasks;
  for (std::size_t i = 0; i < sequences.size(); ++i)
  {
    tasks.emplace_back([&run, i] { run(i); });
  }
  RunSideBySide(tasks, tasks.size());
  for (std::size_t i = 0; i < sequences.size(); ++i)
  {
    if (errors[i])
    {
      try
      {
        std::rethrow_exception(errors[i]);
      }
      catch (const itk::ProcessAborted &)
      {
        throw;
      }
      catch (const itk::ExceptionObject & error)
      {
        throw std::runtime_error("Registering " + names[i] + " to " + names[reference] +
                                 " failed: " + WithoutOrigin(error));
      }
    }
  }
}

MaskImageType::Pointer
RegisteredCase::ToWorkingGrid(const MaskImageType * mask) const
{
  return Above(Resample(AsNumbers(mask), m_WorkingGrid, nullptr, false), 0.5f, true);
}

SequenceImageType::Pointer
RegisteredCase::ToSequence(const SequenceImageType * image, std::size_t i) const
{
  return Resample(image, m_Original[i], m_ToReference[i], false);
}

RegisteredCase::VectorImageType::Pointer
RegisteredCase::ToSequence(const VectorImageType * image, std::size_t i) const
{
  const unsigned int components = image->GetNumberOfComponentsPerPixel();
  auto               output = VectorImageType::New();
  output->CopyInformation(m_Original[i]);
  output->SetRegions(m_Original[i]->GetLargestPossibleRegion());
  output->SetNumberOfComponentsPerPixel(components);
  output->Allocate();
  auto component = SequenceImageType::New();
  component->CopyInformation(image);
  component->SetRegions(image->GetLargestPossibleRegion());
  component->Allocate();
  for (unsigned int c = 0; c < components; ++c)
  {
    const itk::SizeValueType from = image->GetLargestPossibleRegion().GetNumberOfPixels();
    for (itk::SizeValueType k = 0; k < from; ++k)
    {
      component->GetBufferPointer()[k] = image->GetBufferPointer()[k * components + c];
    }
    component->Modified();
    const SequenceImageType::Pointer one = this->ToSequence(component.GetPointer(), i);
    const itk::SizeValueType         to = one->GetLargestPossibleRegion().GetNumberOfPixels();
    for (itk::SizeValueType k = 0; k < to; ++k)
    {
      output->GetBufferPointer()[k * components + c] = one->GetBufferPointer()[k];
    }
  }
  return output;
}

MaskImageType::Pointer
RegisteredCase::LabelsToSequence(const MaskImageType *     labels,
                                 const SequenceImageType * probability,
                                 std::size_t               i) const
{
  if (probability == nullptr)
  {
    return Above(this->ToSequence(AsNumbers(labels), i), 0.5f, false);
  }
  auto kept = SequenceImageType::New();
  kept->CopyInformation(labels);
  kept->SetRegions(labels->GetLargestPossibleRegion());
  kept->Allocate();
  const itk::SizeValueType voxels = labels->GetLargestPossibleRegion().GetNumberOfPixels();
  for (itk::SizeValueType k = 0; k < voxels; ++k)
  {
    const float value = probability->GetBufferPointer()[k];
    kept->GetBufferPointer()[k] = labels->GetBufferPointer()[k] ? value : std::min(value, 0.5f);
  }
  return Above(this->ToSequence(kept.GetPointer(), i), 0.5f, false);
}
} // namespace glioma
