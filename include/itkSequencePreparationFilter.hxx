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
#ifndef itkSequencePreparationFilter_hxx
#define itkSequencePreparationFilter_hxx

#include "itkBrainMaskFilter.h"
#include "itkCommand.h"
#include "itkGridDifference.h"
#include "itkImageAlgorithm.h"
#include "itkImageRegionConstIterator.h"
#include "itkImageRegionIterator.h"
#include "itkMaskedStandardizeFilter.h"
#include "itkN4BiasCorrectionChainFilter.h"
#include "vnl/algo/vnl_svd.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <cstring>
#include <exception>
#include <mutex>
#include <set>
#include <system_error>
#include <thread>

namespace itk
{
template <typename TInputImage, typename TMaskImage>
SequencePreparationFilter<TInputImage, TMaskImage>::SequencePreparationFilter()
{
  this->SetNumberOfRequiredInputs(0);
  this->AddOptionalInputName("BrainMaskImage");
  this->SetCoordinateTolerance(std::max(1e-3, this->GetCoordinateTolerance()));
  this->SetDirectionTolerance(std::max(1e-3, this->GetDirectionTolerance()));
  this->SetOutput("BrainMask", this->MakeOutput("BrainMask"));
}

template <typename TInputImage, typename TMaskImage>
DataObject::Pointer
SequencePreparationFilter<TInputImage, TMaskImage>::MakeOutput(const DataObjectIdentifierType & name)
{
  if (name == "BrainMask")
  {
    return MaskImageType::New().GetPointer();
  }
  return Superclass::MakeOutput(name);
}

template <typename TInputImage, typename TMaskImage>
void
SequencePreparationFilter<TInputImage, TMaskImage>::ClearSequenceNames()
{
  m_SequenceNames.clear();
  this->SetNumberOfIndexedInputs(0);
  this->Modified();
}

template <typename TInputImage, typename TMaskImage>
void
SequencePreparationFilter<TInputImage, TMaskImage>::AddSequenceName(const std::string & name)
{
  if (name.empty() || std::find(m_SequenceNames.begin(), m_SequenceNames.end(), name) != m_SequenceNames.end())
  {
    itkExceptionMacro("The sequence name '" << name << "' is empty or there already; give each sequence its own name.");
  }
  m_SequenceNames.push_back(name);
  this->Modified();
}

template <typename TInputImage, typename TMaskImage>
void
SequencePreparationFilter<TInputImage, TMaskImage>::SetSequence(const std::string & name, const InputImageType * image)
{
  const auto found = std::find(m_SequenceNames.begin(), m_SequenceNames.end(), name);
  if (found == m_SequenceNames.end())
  {
    std::string names;
    for (const std::string & each : m_SequenceNames)
    {
      names += (names.empty() ? "" : ", ") + each;
    }
    itkExceptionMacro("There is no sequence '" << name << "'; the names are " << names << '.');
  }
  this->SetNthInput(static_cast<unsigned int>(found - m_SequenceNames.begin()), const_cast<InputImageType *>(image));
}

template <typename TInputImage, typename TMaskImage>
auto
SequencePreparationFilter<TInputImage, TMaskImage>::GetSequence(const std::string & name) const
  -> const InputImageType *
{
  const auto found = std::find(m_SequenceNames.begin(), m_SequenceNames.end(), name);
  if (found == m_SequenceNames.end())
  {
    return nullptr;
  }
  return this->GetInput(static_cast<unsigned int>(found - m_SequenceNames.begin()));
}

template <typename TInputImage, typename TMaskImage>
auto
SequencePreparationFilter<TInputImage, TMaskImage>::GetCorrected(const std::string & name) const
  -> const RealImageType *
{
  const auto found = std::find(m_SequenceNames.begin(), m_SequenceNames.end(), name);
  const auto place = static_cast<std::size_t>(found - m_SequenceNames.begin());
  return place < m_Corrected.size() ? m_Corrected[place].GetPointer() : nullptr;
}

template <typename TInputImage, typename TMaskImage>
auto
SequencePreparationFilter<TInputImage, TMaskImage>::GetBrainMask() const -> const MaskImageType *
{
  return itkDynamicCastInDebugMode<const MaskImageType *>(this->ProcessObject::GetOutput("BrainMask"));
}

template <typename TInputImage, typename TMaskImage>
void
SequencePreparationFilter<TInputImage, TMaskImage>::VerifyPreconditions() const
{
  Superclass::VerifyPreconditions();
  if (m_SequenceNames.empty())
  {
    itkExceptionMacro("No sequence is named; call AddSequenceName().");
  }
  for (unsigned int i = 0; i < m_SequenceNames.size(); ++i)
  {
    if (this->GetInput(i) == nullptr)
    {
      itkExceptionMacro("The sequence " << m_SequenceNames[i] << " is missing; call SetSequence(\""
                                        << m_SequenceNames[i] << "\", image).");
    }
    for (unsigned int j = 0; j < i; ++j)
    {
      if (this->GetInput(i) == this->GetInput(j))
      {
        itkExceptionMacro("The sequences " << m_SequenceNames[j] << " and " << m_SequenceNames[i]
                                           << " are the same image; give each sequence its own.");
      }
    }
  }
  if (this->GetNumberOfIndexedInputs() > m_SequenceNames.size())
  {
    itkExceptionMacro("There are " << this->GetNumberOfIndexedInputs() << " images for " << m_SequenceNames.size()
                                   << " sequence names.");
  }
  if (!(m_LowerQuantile < m_UpperQuantile))
  {
    itkExceptionMacro("LowerQuantile " << m_LowerQuantile << " is not below UpperQuantile " << m_UpperQuantile << '.');
  }
}

template <typename TInputImage, typename TMaskImage>
void
SequencePreparationFilter<TInputImage, TMaskImage>::VerifyGrids() const
{
  const InputImageType * first = this->GetInput(0);
  const RegionType       region = first->GetLargestPossibleRegion();

  for (unsigned int d = 0; d < ImageDimension; ++d)
  {
    constexpr SizeValueType smallest = 8;
    if (region.GetSize(d) < smallest)
    {
      itkExceptionMacro("The image " << m_SequenceNames[0] << " has a size of " << region.GetSize()
                                     << " voxels; a brain needs at least " << smallest
                                     << " along each axis. Is this the right file?");
    }
  }

  const DirectionType product{ first->GetDirection().GetVnlMatrix() * first->GetDirection().GetTranspose() };
  double              skew = 0.0;
  for (unsigned int r = 0; r < ImageDimension; ++r)
  {
    for (unsigned int c = 0; c < ImageDimension; ++c)
    {
      const double apart = std::abs(product[r][c] - (r == c ? 1.0 : 0.0));
      skew = std::isnan(skew) || apart <= skew ? skew : apart; // NaN stays: it is within no tolerance
    }
  }
  if (!(skew <= this->GetDirectionTolerance()))
  {
    itkExceptionMacro("The axes of " << m_SequenceNames[0]
                                     << " are not perpendicular unit vectors: their products differ by " << skew
                                     << " from those of such vectors (tolerance " << this->GetDirectionTolerance()
                                     << "). Resample the image to a grid without shear, or raise the tolerance.");
  }

  for (const auto & other : this->GetOtherGrids())
  {
    const std::string what = GridDifference<ImageDimension>(first, other.first)
                               .Describe(this->GetCoordinateTolerance(), this->GetDirectionTolerance());
    if (!what.empty())
    {
      std::ostringstream grids;
      for (unsigned int i = 0; i < m_SequenceNames.size(); ++i)
      {
        const InputImageType * image = this->GetInput(i);
        grids << (i ? ", " : "") << m_SequenceNames[i] << ' ' << image->GetLargestPossibleRegion().GetSize()
              << " voxels of " << image->GetSpacing() << " mm at " << image->GetOrigin();
      }
      itkExceptionMacro("The grids of " << m_SequenceNames[0] << " and " << other.second << " differ in " << what
                                        << " (" << grids.str()
                                        << "). Resample all images to one grid first; for sequences of one patient, "
                                           "RigidRegistrationFilter does it.");
    }
  }
}

template <typename TInputImage, typename TMaskImage>
auto
SequencePreparationFilter<TInputImage, TMaskImage>::GetOtherGrids() const
  -> std::vector<std::pair<const ImageBase<ImageDimension> *, std::string>>
{
  std::vector<std::pair<const ImageBase<ImageDimension> *, std::string>> grids;
  for (unsigned int i = 1; i < m_SequenceNames.size(); ++i)
  {
    grids.emplace_back(this->GetInput(i), m_SequenceNames[i]);
  }
  if (this->GetBrainMaskImage())
  {
    grids.emplace_back(this->GetBrainMaskImage(), "the brain mask");
  }
  return grids;
}

template <typename TInputImage, typename TMaskImage>
void
SequencePreparationFilter<TInputImage, TMaskImage>::VerifyInputInformation() const
{
  this->VerifyGrids();
  for (const auto & other : this->GetOtherGrids())
  {
    const GridDifference<ImageDimension> difference(this->GetInput(0), other.first);
    const double                         apart = std::max(difference.GetSpacing(), difference.GetOrigin());
    if (apart > 1e-6 || difference.GetDirection() > 1e-6)
    {
      itkWarningMacro("The grids of " << m_SequenceNames[0] << " and " << other.second << " differ by " << apart
                                      << " of a voxel and " << difference.GetDirection()
                                      << " in a direction cosine, within the tolerance; " << m_SequenceNames[0]
                                      << "'s is taken.");
    }
  }
}

template <typename TInputImage, typename TMaskImage>
void
SequencePreparationFilter<TInputImage, TMaskImage>::GenerateOutputInformation()
{
  const InputImageType * first = this->GetInput(0);
  DirectionType          direction = first->GetDirection();

  // The nearest orthonormal matrix (polar decomposition).
  const vnl_svd<double>    svd(direction.GetVnlMatrix().as_matrix());
  const vnl_matrix<double> nearest = svd.U() * svd.V().transpose();
  double                   moved = 0.0;
  for (unsigned int r = 0; r < ImageDimension; ++r)
  {
    for (unsigned int c = 0; c < ImageDimension; ++c)
    {
      moved = std::max(moved, std::abs(nearest(r, c) - direction[r][c]));
    }
  }
  if (moved > 1e-6)
  {
    itkWarningMacro("The direction of " << m_SequenceNames[0] << " was made orthonormal: its cosines moved by up to "
                                        << moved << '.');
    for (unsigned int r = 0; r < ImageDimension; ++r)
    {
      for (unsigned int c = 0; c < ImageDimension; ++c)
      {
        direction[r][c] = nearest(r, c);
      }
    }
  }
  using BaseType = ImageBase<ImageDimension>;
  auto * const mask = dynamic_cast<BaseType *>(this->ProcessObject::GetOutput("BrainMask"));
  for (BaseType * const output : { static_cast<BaseType *>(this->GetOutput()), mask })
  {
    output->CopyInformation(first);
    output->SetDirection(direction);
    output->SetMetaDataDictionary(first->GetMetaDataDictionary());
  }
  this->GetOutput()->SetNumberOfComponentsPerPixel(static_cast<unsigned int>(m_SequenceNames.size()));
}

template <typename TInputImage, typename TMaskImage>
void
SequencePreparationFilter<TInputImage, TMaskImage>::GenerateInputRequestedRegion()
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
SequencePreparationFilter<TInputImage, TMaskImage>::EnlargeOutputRequestedRegion(DataObject * output)
{
  Superclass::EnlargeOutputRequestedRegion(output);
  output->SetRequestedRegionToLargestPossibleRegion();
}

template <typename TInputImage, typename TMaskImage>
void
SequencePreparationFilter<TInputImage, TMaskImage>::BeginStage(const std::string & name)
{
  m_CurrentStage = name;
  m_StageStart = std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

template <typename TInputImage, typename TMaskImage>
void
SequencePreparationFilter<TInputImage, TMaskImage>::EndStage()
{
  const double now = std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
  m_StageSeconds.emplace_back(m_CurrentStage, now - m_StageStart);
  m_CurrentStage.clear();
}

template <typename TInputImage, typename TMaskImage>
void
SequencePreparationFilter<TInputImage, TMaskImage>::StopIfAborted(float progress)
{
  this->UpdateProgress(progress);
  if (this->GetAbortGenerateData())
  {
    throw ProcessAborted(__FILE__, __LINE__);
  }
}

template <typename TInputImage, typename TMaskImage>
template <typename TFilter>
void
SequencePreparationFilter<TInputImage, TMaskImage>::Run(TFilter * filter, float progressStart, float progressWeight)
{
  filter->SetNumberOfWorkUnits(this->GetNumberOfWorkUnits());
  filter->AddObserver(ProgressEvent(), [this, filter, progressStart, progressWeight](const EventObject &) {
    this->UpdateProgress(progressStart + progressWeight * filter->GetProgress());
    if (this->GetAbortGenerateData())
    {
      filter->AbortGenerateDataOn();
    }
  });
  filter->Update();
}

template <typename TInputImage, typename TMaskImage>
void
SequencePreparationFilter<TInputImage, TMaskImage>::CheckVoxels(const std::vector<RealImagePointer> & sequences) const
{
  const SizeValueType voxels = this->GetInput(0)->GetLargestPossibleRegion().GetNumberOfPixels();
  for (unsigned int i = 0; i < sequences.size(); ++i)
  {
    const float * const begin = sequences[i]->GetBufferPointer();
    const float * const end = begin + voxels;
    float               lowest = begin[0];
    float               highest = begin[0];
    const float * const bad = std::find_if_not(begin, end, [&](float value) {
      lowest = std::min(lowest, value);
      highest = std::max(highest, value);
      return std::isfinite(value);
    });
    if (bad != end)
    {
      itkExceptionMacro("The sequence " << m_SequenceNames[i] << " holds " << *bad << " at index "
                                        << sequences[i]->ComputeIndex(bad - begin)
                                        << "; voxels must be finite. Repair the image (set such voxels to 0) first.");
    }
    if (lowest == highest)
    {
      itkExceptionMacro("The sequence " << m_SequenceNames[i] << " is constant: every voxel is " << lowest
                                        << ". Give the image of this sequence.");
    }
    for (unsigned int j = 0; j < i; ++j)
    {
      if (std::equal(begin, end, sequences[j]->GetBufferPointer()))
      {
        itkExceptionMacro("The sequences " << m_SequenceNames[j] << " and " << m_SequenceNames[i]
                                           << " hold the same voxels; give each sequence its own image.");
      }
    }
  }
}

template <typename TInputImage, typename TMaskImage>
auto
SequencePreparationFilter<TInputImage, TMaskImage>::CopySequences() -> std::vector<RealImagePointer>
{
  const RegionType              region = this->GetInput(0)->GetLargestPossibleRegion();
  std::vector<RealImagePointer> sequences;
  for (unsigned int i = 0; i < m_SequenceNames.size(); ++i)
  {
    auto copy = RealImageType::New();
    copy->CopyInformation(this->GetOutput());
    copy->SetRegions(region);
    copy->Allocate();
    ImageAlgorithm::Copy(this->GetInput(i), copy.GetPointer(), region, region);
    sequences.push_back(copy);
  }
  return sequences;
}

template <typename TInputImage, typename TMaskImage>
void
SequencePreparationFilter<TInputImage, TMaskImage>::TakeGivenMask(std::vector<RealImagePointer> & sequences)
{
  const MaskImageType * given = this->GetBrainMaskImage();
  const RegionType      region = given->GetLargestPossibleRegion();
  auto *                mask = itkDynamicCastInDebugMode<MaskImageType *>(this->ProcessObject::GetOutput("BrainMask"));
  mask->SetBufferedRegion(region);
  mask->Allocate();

  SizeValueType                           inside = 0;
  SizeValueType                           voxel = 0;
  ImageRegionConstIterator<MaskImageType> from(given, region);
  ImageRegionIterator<MaskImageType>      to(mask, region);
  for (; !from.IsAtEnd(); ++from, ++to, ++voxel)
  {
    const bool isInside = from.Get() != typename MaskImageType::PixelType{};
    to.Set(isInside ? 1 : 0);
    inside += isInside;
    if (!isInside)
    {
      for (auto & sequence : sequences)
      {
        sequence->GetBufferPointer()[voxel] = 0.0f;
      }
    }
  }
  if (inside == 0)
  {
    itkExceptionMacro(
      "The brain mask is empty: give a mask that is not 0 inside the brain, or none, so that it is found "
      "from the skull-stripped sequences.");
  }
  if (inside == region.GetNumberOfPixels())
  {
    itkExceptionMacro(
      "The brain mask covers the whole image: give a mask that is 0 outside the brain, or none, so that "
      "it is found from the skull-stripped sequences.");
  }
  m_BrainMaskWasGiven = true;
}

template <typename TInputImage, typename TMaskImage>
auto
SequencePreparationFilter<TInputImage, TMaskImage>::Compose(const std::vector<RealImagePointer> & sequences) const ->
  typename OutputImageType::Pointer
{
  auto composed = OutputImageType::New();
  composed->CopyInformation(this->GetOutput());
  composed->SetNumberOfComponentsPerPixel(static_cast<unsigned int>(sequences.size()));
  composed->SetRegions(this->GetOutput()->GetLargestPossibleRegion());
  composed->Allocate();
  const std::size_t          components = sequences.size();
  std::vector<const float *> from;
  for (const auto & sequence : sequences)
  {
    from.push_back(sequence->GetBufferPointer());
  }
  const RegionType    region = composed->GetLargestPossibleRegion();
  const SizeValueType slices = region.GetSize(ImageDimension - 1);
  const SizeValueType voxels = region.GetNumberOfPixels() / slices;
  this->GetMultiThreader()->SetNumberOfWorkUnits(this->GetNumberOfWorkUnits());
  this->GetMultiThreader()->ParallelizeArray(
    0,
    slices,
    [&](SizeValueType slice) {
      float * to = composed->GetBufferPointer() + slice * voxels * components;
      for (SizeValueType i = slice * voxels; i < (slice + 1) * voxels; ++i)
      {
        for (std::size_t c = 0; c < components; ++c, ++to)
        {
          *to = from[c][i];
        }
      }
    },
    nullptr);
  return composed;
}

template <typename TInputImage, typename TMaskImage>
void
SequencePreparationFilter<TInputImage, TMaskImage>::FindBrain(const OutputImageType * composed)
{
  using BrainMaskType = BrainMaskFilter<OutputImageType, MaskImageType>;
  auto filter = BrainMaskType::New();
  filter->SetInput(composed);
  this->Run(filter.GetPointer(), 0.05f, 0.1f);
  using StatusFlagEnum = typename BrainMaskType::StatusFlagEnum;
  if (filter->HasStatus(StatusFlagEnum::NotSkullStripped))
  {
    itkExceptionMacro("The head is not skull-stripped: what is not 0 in the sequences has "
                      << filter->GetVolume() << " ml and lies on " << filter->GetNumberOfFaces()
                      << " faces of the image; a brain has " << filter->GetMinimumVolume() << " to "
                      << filter->GetMaximumVolume()
                      << " ml. Strip the skull first, or give a brain mask: everything outside it is then "
                         "ignored.");
  }
  m_SequencesDisagree = filter->HasStatus(StatusFlagEnum::SequencesDisagree);
  this->GraftOutput("BrainMask", filter->GetOutput());
  this->ProcessObject::GetOutput("BrainMask")->SetMetaDataDictionary(this->GetInput(0)->GetMetaDataDictionary());
}

template <typename TInputImage, typename TMaskImage>
void
SequencePreparationFilter<TInputImage, TMaskImage>::CorrectBias(std::vector<RealImagePointer> & sequences,
                                                                float                           progressStart,
                                                                float                           progressWeight)
{
  using N4Type = N4BiasCorrectionChainFilter<RealImageType, MaskImageType>;
  const MaskImageType * mask = this->GetBrainMask();
  const std::size_t     number = sequences.size();
  const unsigned int    threads =
    std::max(1u,
             static_cast<unsigned int>(std::min<SizeValueType>(this->GetNumberOfWorkUnits(),
                                                               this->GetMultiThreader()->GetMaximumNumberOfThreads())));
  const unsigned int                    runners = std::min<unsigned int>(threads, static_cast<unsigned int>(number));
  std::vector<typename N4Type::Pointer> filters;
  // A filter's own flag is for its own thread, which asks this one.
  std::atomic<bool> isAborted{ false };
  for (std::size_t i = 0; i < number; ++i)
  {
    // A view for each thread, which asks its mask for slices.
    auto maskView = MaskImageType::New();
    maskView->Graft(mask);
    auto filter = N4Type::New();
    filter->SetInput(sequences[i]);
    filter->SetMaskImage(maskView);
    filter->SetShrinkFactor(m_ShrinkFactor);
    filter->SetNumberOfWorkUnits(std::max(1u, threads / runners));
    const auto stop = [&isAborted, raw = filter.GetPointer()](const EventObject &) {
      if (isAborted)
      {
        raw->AbortGenerateDataOn();
      }
    };
    filter->AddObserver(IterationEvent(), stop); // of the fit
    filter->AddObserver(ProgressEvent(), stop);  // of the division
    filters.push_back(filter);
  }

  // One sequence a thread: the fits are small, so that more is gained than by several threads in one.
  std::atomic<std::size_t>        next{ 0 };
  std::mutex                      doneMutex;
  std::condition_variable         oneIsDone;
  std::size_t                     done = 0;
  std::vector<std::exception_ptr> errors(number);
  const auto                      run = [&]() {
    for (std::size_t i = next++; i < number; i = next++)
    {
      try
      {
        if (!isAborted)
        {
          filters[i]->Update();
          // Input and field are not needed while the others run.
          sequences[i] = filters[i]->GetOutput();
          sequences[i]->DisconnectPipeline();
          filters[i]->GetLogBiasField()->ReleaseData();
          filters[i]->SetInput(nullptr);
        }
      }
      catch (...)
      {
        errors[i] = std::current_exception();
      }
      const std::lock_guard<std::mutex> lock(doneMutex);
      ++done;
      oneIsDone.notify_one();
    }
  };
  std::vector<std::thread> workers;
  for (unsigned int t = 0; t < runners; ++t)
  {
    try
    {
      workers.emplace_back(run);
    }
    catch (const std::system_error &)
    {
      break; // the system has no more threads: those that there are do the work
    }
  }
  if (workers.empty())
  {
    run();
  }
  // Progress and abort belong to this thread: observers are not called from another.
  std::exception_ptr observerError;
  for (bool finished = false; !finished;)
  {
    {
      std::unique_lock<std::mutex> lock(doneMutex);
      finished = oneIsDone.wait_for(lock, std::chrono::milliseconds(20), [&] { return done == number; });
    }
    float sum = 0.0f;
    for (const auto & filter : filters)
    {
      sum += filter->GetProgress();
    }
    try
    {
      if (!observerError)
      {
        this->UpdateProgress(progressStart + progressWeight * sum / static_cast<float>(number));
      }
    }
    catch (...)
    {
      observerError = std::current_exception();
      this->AbortGenerateDataOn();
    }
    isAborted = this->GetAbortGenerateData();
  }
  for (std::thread & worker : workers)
  {
    worker.join();
  }
  if (observerError)
  {
    std::rethrow_exception(observerError);
  }
  if (this->GetAbortGenerateData())
  {
    throw ProcessAborted(__FILE__, __LINE__);
  }
  for (std::size_t i = 0; i < number; ++i)
  {
    if (errors[i])
    {
      try
      {
        std::rethrow_exception(errors[i]);
      }
      catch (const std::exception & error)
      {
        itkExceptionMacro("N4 of the sequence " << m_SequenceNames[i] << " failed: " << error.what());
      }
    }
    const auto & iterations = filters[i]->GetIterationsPerLevel();
    const auto & convergence = filters[i]->GetConvergencePerLevel();
    m_SequenceReports[i].N4Iterations.assign(iterations.begin(), iterations.end());
    m_SequenceReports[i].N4Convergence.assign(convergence.begin(), convergence.end());
    m_SequenceReports[i].N4LogFieldMinimum = filters[i]->GetLogFieldMinimum();
    m_SequenceReports[i].N4LogFieldMaximum = filters[i]->GetLogFieldMaximum();
    m_SequenceReports[i].N4Seconds = filters[i]->GetFitSeconds();
    m_SequenceReports[i].N4NonPositiveVoxels = filters[i]->GetNumberOfNonPositiveVoxels();
    m_SequenceReports[i].N4Status = filters[i]->GetStatus();
  }
}

template <typename TInputImage, typename TMaskImage>
void
SequencePreparationFilter<TInputImage, TMaskImage>::Standardize(const OutputImageType * composed)
{
  using StandardizeType = MaskedStandardizeFilter<OutputImageType, MaskImageType>;
  using ModeEnum = typename StandardizeType::ModeEnum;
  auto maskView = MaskImageType::New();
  maskView->Graft(this->GetBrainMask());
  auto filter = StandardizeType::New();
  filter->SetInput(composed);
  filter->SetMaskImage(maskView);
  filter->SetMode(m_Standardization == StandardizationEnum::Brain ? ModeEnum::InsideMask : ModeEnum::WholeImage);
  filter->SetOutsideValue(m_OutsideValue);
  filter->SetLowerQuantile(m_LowerQuantile);
  filter->SetUpperQuantile(m_UpperQuantile);
  this->Run(filter.GetPointer(), 0.85f, 0.15f);
  for (unsigned int i = 0; i < m_SequenceReports.size(); ++i)
  {
    m_SequenceReports[i].Mean = filter->GetMean()[i];
    m_SequenceReports[i].Sigma = filter->GetStandardDeviation()[i];
    m_SequenceReports[i].Background = filter->GetBackgroundValue()[i];
  }
  this->GraftOutput(filter->GetOutput());
  this->GetOutput()->SetMetaDataDictionary(this->GetInput(0)->GetMetaDataDictionary());
}

template <typename TInputImage, typename TMaskImage>
void
SequencePreparationFilter<TInputImage, TMaskImage>::GenerateData()
{
  m_StageSeconds.clear();
  m_SequenceReports.clear();
  m_Corrected.clear();
  m_SequencesDisagree = false;
  m_BrainMaskWasGiven = false;
  for (const std::string & name : m_SequenceNames)
  {
    m_SequenceReports.emplace_back();
    m_SequenceReports.back().Name = name;
  }

  this->BeginStage("check");
  this->StopIfAborted(0.0f);
  std::vector<RealImagePointer> sequences = this->CopySequences();
  if (this->GetBrainMaskImage())
  {
    // What a mask leaves out is not looked at: not even for voxels that are not finite.
    this->TakeGivenMask(sequences);
  }
  this->CheckVoxels(sequences);
  this->EndStage();

  this->BeginStage("brain-mask");
  this->StopIfAborted(0.05f);
  if (!m_BrainMaskWasGiven)
  {
    this->FindBrain(this->Compose(sequences));
  }
  double voxelVolume = 1.0;
  for (unsigned int d = 0; d < ImageDimension; ++d)
  {
    voxelVolume *= this->GetOutput()->GetSpacing()[d];
  }
  const MaskImageType * mask = this->GetBrainMask();
  const auto *          maskBegin = mask->GetBufferPointer();
  const SizeValueType   voxels = mask->GetBufferedRegion().GetNumberOfPixels();
  m_BrainVolume =
    1e-3 * voxelVolume *
    static_cast<double>(voxels - std::count(maskBegin, maskBegin + voxels, typename MaskImageType::PixelType{}));
  this->EndStage();

  if (m_BiasCorrection == BiasCorrectionEnum::N4)
  {
    this->BeginStage("bias-correction");
    this->StopIfAborted(0.15f);
    this->CorrectBias(sequences, 0.15f, 0.7f);
    this->EndStage();
  }

  this->BeginStage("standardize");
  this->StopIfAborted(0.85f);
  typename OutputImageType::Pointer composed = this->Compose(sequences);
  if (m_KeepCorrected)
  {
    m_Corrected = sequences;
  }
  sequences.clear();
  this->Standardize(composed);
  this->EndStage();
  this->StopIfAborted(1.0f);
}

template <typename TInputImage, typename TMaskImage>
void
SequencePreparationFilter<TInputImage, TMaskImage>::PrintSelf(std::ostream & os, Indent indent) const
{
  Superclass::PrintSelf(os, indent);
  os << indent << "SequenceNames:";
  for (const std::string & name : m_SequenceNames)
  {
    os << ' ' << name;
  }
  os << std::endl;
  os << indent << "BiasCorrection: " << m_BiasCorrection << std::endl;
  os << indent << "ShrinkFactor: " << m_ShrinkFactor << std::endl;
  os << indent << "Standardization: " << m_Standardization << std::endl;
  os << indent << "LowerQuantile: " << m_LowerQuantile << std::endl;
  os << indent << "UpperQuantile: " << m_UpperQuantile << std::endl;
  os << indent << "OutsideValue: " << m_OutsideValue << std::endl;
  os << indent << "KeepCorrected: " << (m_KeepCorrected ? "On" : "Off") << ", " << m_Corrected.size() << " kept"
     << std::endl;
  os << indent << "BrainMaskWasGiven: " << (m_BrainMaskWasGiven ? "On" : "Off") << std::endl;
  os << indent << "BrainVolume: " << m_BrainVolume << " ml" << std::endl;
  os << indent << "SequencesDisagree: " << (m_SequencesDisagree ? "On" : "Off") << std::endl;
  for (const SequenceReport & report : m_SequenceReports)
  {
    os << indent << "SequenceReport: " << report.Name << ", mean " << report.Mean << ", sigma " << report.Sigma
       << ", N4 iterations";
    for (const unsigned int iterations : report.N4Iterations)
    {
      os << ' ' << iterations;
    }
    os << std::endl;
  }
  for (const auto & stage : m_StageSeconds)
  {
    os << indent << "StageSeconds: " << stage.first << ' ' << stage.second << std::endl;
  }
  os << indent << "CurrentStage: " << m_CurrentStage << std::endl;
  os << indent << "StageStart: " << m_StageStart << std::endl;
}
} // namespace itk

#endif // itkSequencePreparationFilter_hxx
