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
#ifndef itkMaskedStandardizeFilter_hxx
#define itkMaskedStandardizeFilter_hxx

#include "itkMaskedStandardizeFilter.h"
#include "itkCommand.h"
#include "itkProgressTransformer.h"
#include "itkRequestGeometry.h"
#include "itkUpstreamModifiedTime.h"

#include <algorithm>
#include <cmath>

namespace itk
{
template <typename TInputImage, typename TMaskImage, typename TOutputImage>
MaskedStandardizeFilter<TInputImage, TMaskImage, TOutputImage>::MaskedStandardizeFilter()
  : m_Statistics(StatisticsType::New())
{
  this->AddOptionalInputName("MaskImage", 1);
  this->SetCoordinateTolerance(std::max(1e-3, this->GetCoordinateTolerance()));
  this->SetDirectionTolerance(std::max(1e-3, this->GetDirectionTolerance()));
  for (const char * name : { "Mean", "StandardDeviation", "Count", "LowerBound", "UpperBound", "BackgroundValue" })
  {
    this->ProcessObject::SetOutput(name, this->MakeOutput(name));
  }
  const RealArrayType none;
  this->SetMean(none);
  this->SetStandardDeviation(none);
  this->SetCount(none);
  this->SetLowerBound(none);
  this->SetUpperBound(none);
  this->SetBackgroundValue(none);

  const auto command = SimpleMemberCommand<Self>::New();
  command->SetCallbackFunction(this, &Self::HandOnProgress);
  m_Statistics->AddObserver(ProgressEvent(), command);
}

template <typename TInputImage, typename TMaskImage, typename TOutputImage>
DataObject::Pointer
MaskedStandardizeFilter<TInputImage, TMaskImage, TOutputImage>::MakeOutput(const DataObjectIdentifierType & name)
{
  if (name == "Mean" || name == "StandardDeviation" || name == "Count" || name == "LowerBound" ||
      name == "UpperBound" || name == "BackgroundValue")
  {
    return SimpleDataObjectDecorator<RealArrayType>::New().GetPointer();
  }
  return Superclass::MakeOutput(name);
}

template <typename TInputImage, typename TMaskImage, typename TOutputImage>
void
MaskedStandardizeFilter<TInputImage, TMaskImage, TOutputImage>::VerifyPreconditions() const
{
  Superclass::VerifyPreconditions();
  if (m_Mode > ModeEnum::WholeImage)
  {
    itkExceptionMacro("Mode is " << static_cast<int>(m_Mode) << "; set InsideMask (0) or WholeImage (1).");
  }
  if (m_Mode == ModeEnum::InsideMask && this->GetMaskImage() == nullptr)
  {
    itkExceptionMacro("Mode is InsideMask but there is no MaskImage. Set one, or set Mode to WholeImage.");
  }
  if (!std::isfinite(m_OutsideValue))
  {
    itkExceptionMacro("OutsideValue is " << m_OutsideValue << "; set a finite number.");
  }
  if (!(m_LowerQuantile >= 0.0 && m_LowerQuantile < m_UpperQuantile && m_UpperQuantile <= 1.0))
  {
    itkExceptionMacro("LowerQuantile is " << m_LowerQuantile << " and UpperQuantile " << m_UpperQuantile
                                          << "; set 0 <= LowerQuantile < UpperQuantile <= 1.");
  }
}

template <typename TInputImage, typename TMaskImage, typename TOutputImage>
void
MaskedStandardizeFilter<TInputImage, TMaskImage, TOutputImage>::VerifyInputInformation() const
{
  if (this->GetInput()->GetLargestPossibleRegion().GetNumberOfPixels() == 0)
  {
    itkExceptionMacro("The input has no voxels: its size is " << this->GetInput()->GetLargestPossibleRegion().GetSize()
                                                              << ". Check the reader before this filter.");
  }
  if (m_Mode == ModeEnum::WholeImage)
  {
    return;
  }
  Superclass::VerifyInputInformation();
  const TMaskImage * mask = this->GetMaskImage();
  if (mask != nullptr &&
      (mask->GetLargestPossibleRegion().GetSize() != this->GetInput()->GetLargestPossibleRegion().GetSize() ||
       mask->GetLargestPossibleRegion().GetIndex() != this->GetInput()->GetLargestPossibleRegion().GetIndex()))
  {
    itkExceptionMacro("The mask has index " << mask->GetLargestPossibleRegion().GetIndex() << " and size "
                                            << mask->GetLargestPossibleRegion().GetSize() << " but the image has index "
                                            << this->GetInput()->GetLargestPossibleRegion().GetIndex() << " and size "
                                            << this->GetInput()->GetLargestPossibleRegion().GetSize()
                                            << ". Give a mask on the image's grid.");
  }
}

template <typename TInputImage, typename TMaskImage, typename TOutputImage>
unsigned int
MaskedStandardizeFilter<TInputImage, TMaskImage, TOutputImage>::GetNumberOfPieces() const
{
  if (m_NumberOfStatisticsDivisions > 0)
  {
    return m_NumberOfStatisticsDivisions;
  }
  constexpr SizeValueType pieceBytes = 33554432;
  const TInputImage *     input = this->GetInput();
  const SizeValueType     voxelBytes =
    input->GetNumberOfComponentsPerPixel() * sizeof(typename TInputImage::InternalPixelType) +
    (m_Mode == ModeEnum::InsideMask ? sizeof(MaskPixelType) : 0);
  const SizeValueType pieces = input->GetLargestPossibleRegion().GetNumberOfPixels() * voxelBytes / pieceBytes + 1;
  return static_cast<unsigned int>(std::min(pieces, SizeValueType{ 1U << 30 }));
}

template <typename TInputImage, typename TMaskImage, typename TOutputImage>
void
MaskedStandardizeFilter<TInputImage, TMaskImage, TOutputImage>::UpdateStatistics()
{
  const TInputImage * input = this->GetInput();
  const TMaskImage *  mask = m_Mode == ModeEnum::InsideMask ? this->GetMaskImage() : nullptr;
  const auto          timeOfInputs = [input, mask] {
    return std::max(UpstreamModifiedTime::Of(input), UpstreamModifiedTime::Of(mask));
  };
  if (m_HasStatistics && m_StatisticsInput == input && m_StatisticsMask == mask && m_StatisticsTime == timeOfInputs() &&
      m_StatisticsLowerQuantile == m_LowerQuantile && m_StatisticsUpperQuantile == m_UpperQuantile &&
      (mask == nullptr ||
       (m_StatisticsUseMaskLabel == m_UseMaskLabel && (!m_UseMaskLabel || m_StatisticsMaskLabel == m_MaskLabel))))
  {
    return;
  }
  m_HasStatistics = false;
  this->SetAbortGenerateData(false);
  m_Statistics->SetInput(input);
  m_Statistics->SetMaskImage(mask);
  m_Statistics->SetUseMaskLabel(m_UseMaskLabel && mask != nullptr);
  m_Statistics->SetMaskLabel(m_MaskLabel);
  m_Statistics->SetLowerQuantile(m_LowerQuantile);
  m_Statistics->SetUpperQuantile(m_UpperQuantile);
  m_Statistics->SetCoordinateTolerance(this->GetCoordinateTolerance());
  m_Statistics->SetDirectionTolerance(this->GetDirectionTolerance());
  m_Statistics->SetNumberOfStreamDivisions(this->GetNumberOfPieces());
  m_Statistics->SetNumberOfWorkUnits(this->GetNumberOfWorkUnits());
  try
  {
    m_Statistics->Update();
    if (m_Statistics->GetAbortGenerateData())
    {
      // before its first piece
      ProcessAborted aborted(__FILE__, __LINE__);
      aborted.SetDescription("The statistics of the image were aborted.");
      throw aborted;
    }
  }
  catch (const ProcessAborted &)
  {
    m_Statistics->ResetPipeline();
    this->InvokeEvent(AbortEvent());
    this->ResetPipeline();
    throw;
  }
  catch (...)
  {
    // else the sink counts as running, and the next Update() does nothing
    m_Statistics->ResetPipeline();
    throw;
  }
  this->SetMean(m_Statistics->GetMean());
  this->SetStandardDeviation(m_Statistics->GetStandardDeviation());
  this->SetCount(m_Statistics->GetCount());
  this->SetLowerBound(m_Statistics->GetLowerBound());
  this->SetUpperBound(m_Statistics->GetUpperBound());
  m_HasStatistics = true;
  m_StatisticsAreNew = true;
  m_StatisticsInput = input;
  m_StatisticsMask = mask;
  m_StatisticsTime = timeOfInputs();
  m_StatisticsLowerQuantile = m_LowerQuantile;
  m_StatisticsUpperQuantile = m_UpperQuantile;
  m_StatisticsUseMaskLabel = m_UseMaskLabel;
  m_StatisticsMaskLabel = m_MaskLabel;
}

template <typename TInputImage, typename TMaskImage, typename TOutputImage>
void
MaskedStandardizeFilter<TInputImage, TMaskImage, TOutputImage>::GenerateOutputInformation()
{
  Superclass::GenerateOutputInformation();
  TOutputImage * output = this->GetOutput();
  output->SetNumberOfComponentsPerPixel(this->GetInput()->GetNumberOfComponentsPerPixel());
  output->SetMetaDataDictionary(this->GetInput()->GetMetaDataDictionary());

  this->UpdateStatistics();
  const RealArrayType mean = this->GetMean();
  const RealArrayType deviation = this->GetStandardDeviation();
  const RealArrayType lower = this->GetLowerBound();
  const RealArrayType upper = this->GetUpperBound();
  RealArrayType       background(mean.Size());
  for (unsigned int c = 0; c < mean.Size(); ++c)
  {
    if (!(deviation[c] > 0.0))
    {
      itkExceptionMacro("Component " << c << " has the same value, " << mean[c] << ", in all " << this->GetCount()[c]
                                     << (m_Mode == ModeEnum::InsideMask ? " voxels of the mask" : " voxels")
                                     << ": its standard deviation is 0. Check that sequence and the quantiles.");
    }
    // a background of 0 that clipping or another background kept out of the statistics is clipped as a voxel would be
    const bool   clips = m_LowerQuantile > 0.0 || m_UpperQuantile < 1.0;
    const double zero = clips ? std::min(std::max(0.0, lower[c]), upper[c]) : 0.0;
    background[c] = m_Mode == ModeEnum::InsideMask ? m_OutsideValue : (zero - mean[c]) / deviation[c];
  }
  this->SetBackgroundValue(background);
}

template <typename TInputImage, typename TMaskImage, typename TOutputImage>
void
MaskedStandardizeFilter<TInputImage, TMaskImage, TOutputImage>::GenerateInputRequestedRegion()
{
  Superclass::GenerateInputRequestedRegion();
  if (m_Mode == ModeEnum::WholeImage && this->ProcessObject::GetInput("MaskImage") != this->GetPrimaryInput())
  {
    RequestGeometry<TMaskImage::ImageDimension>(this->GetMaskImage());
  }
}

template <typename TInputImage, typename TMaskImage, typename TOutputImage>
void
MaskedStandardizeFilter<TInputImage, TMaskImage, TOutputImage>::HandOnProgress()
{
  this->UpdateProgress(0.5F * m_Statistics->GetProgress());
  if (this->GetAbortGenerateData())
  {
    m_Statistics->AbortGenerateDataOn();
  }
}

template <typename TInputImage, typename TMaskImage, typename TOutputImage>
void
MaskedStandardizeFilter<TInputImage, TMaskImage, TOutputImage>::GenerateData()
{
  this->AllocateOutputs();
  ProgressTransformer progress(m_StatisticsAreNew ? 0.5F : 0.0F, 1.0F, this);
  m_StatisticsAreNew = false;
  this->GetMultiThreader()->SetNumberOfWorkUnits(this->GetNumberOfWorkUnits());
  this->GetMultiThreader()->template ParallelizeImageRegion<TOutputImage::ImageDimension>(
    this->GetOutput()->GetRequestedRegion(),
    [this](const RegionType & region) { this->DynamicThreadedGenerateData(region); },
    progress.GetProcessObject());
  // The threads' own process object does not hear of it.
  if (this->GetAbortGenerateData())
  {
    ProcessAborted aborted(__FILE__, __LINE__);
    aborted.SetDescription("The standardization was aborted.");
    throw aborted;
  }
}

template <typename TInputImage, typename TMaskImage, typename TOutputImage>
void
MaskedStandardizeFilter<TInputImage, TMaskImage, TOutputImage>::DynamicThreadedGenerateData(const RegionType & region)
{
  using InputValueType = typename TInputImage::InternalPixelType;
  using OutputValueType = typename TOutputImage::InternalPixelType;
  static_assert(std::is_floating_point<OutputValueType>::value, "The output's values are float or double.");
  const TInputImage * input = this->GetInput();
  const TMaskImage *  mask = m_Mode == ModeEnum::InsideMask ? this->GetMaskImage() : nullptr;
  TOutputImage *      output = this->GetOutput();
  const unsigned int  components = input->GetNumberOfComponentsPerPixel();
  const auto          outside = static_cast<OutputValueType>(m_OutsideValue);
  const SizeValueType length = region.GetSize(0);
  const SizeValueType lines = length == 0 ? 0 : region.GetNumberOfPixels() / length;

  // A block of voxels with the numbers of each of its values beside it: runs are worked through in such blocks.
  const unsigned int  block = components * std::max(1U, 8U / components);
  std::vector<double> mean(block);
  std::vector<double> deviation(block);
  std::vector<double> lower(block);
  std::vector<double> upper(block);
  for (unsigned int k = 0; k < block; ++k)
  {
    mean[k] = this->GetMean()[k % components];
    deviation[k] = this->GetStandardDeviation()[k % components];
    lower[k] = this->GetLowerBound()[k % components];
    upper[k] = this->GetUpperBound()[k % components];
  }
  const double * const means = mean.data();
  const double * const deviations = deviation.data();
  const double * const lowers = lower.data();
  const double * const uppers = upper.data();
  // Without clipping the bounds are the extremes themselves.
  const auto standardize = [=](const InputValueType * from, OutputValueType * to, SizeValueType number) {
    for (SizeValueType k = 0; k < number; ++k)
    {
      const double value = std::min(std::max(static_cast<double>(from[k]), lowers[k]), uppers[k]);
      to[k] = static_cast<OutputValueType>((value - means[k]) / deviations[k]);
    }
  };

  MaskLineRuns runs;
  for (SizeValueType line = 0; line < lines && !this->GetAbortGenerateData(); ++line)
  {
    auto          index = region.GetIndex();
    SizeValueType rest = line;
    for (unsigned int d = 1; d < TOutputImage::ImageDimension; ++d)
    {
      index[d] += static_cast<IndexValueType>(rest % region.GetSize(d));
      rest /= region.GetSize(d);
    }
    if (mask == nullptr)
    {
      runs.TakeAll(length);
    }
    else
    {
      const MaskPixelType * const in = mask->GetBufferPointer() + mask->ComputeOffset(index);
      if (m_UseMaskLabel)
      {
        runs.Find(in, length, [label = m_MaskLabel](MaskPixelType value) { return value == label; });
      }
      else
      {
        runs.Find(in, length, [](MaskPixelType value) { return value != MaskPixelType{}; });
      }
    }
    const InputValueType * const from = input->GetBufferPointer() + input->ComputeOffset(index) * components;
    OutputValueType * const      to = output->GetBufferPointer() + output->ComputeOffset(index) * components;
    SizeValueType                done = 0; // values of this line
    for (const auto & run : runs)
    {
      const SizeValueType begin = run.begin * components;
      const SizeValueType end = run.end * components;
      std::fill(to + done, to + begin, outside);
      for (done = begin; done < end; done += block)
      {
        standardize(from + done, to + done, std::min<SizeValueType>(block, end - done));
      }
      done = end;
    }
    std::fill(to + done, to + length * components, outside);
  }
}

template <typename TInputImage, typename TMaskImage, typename TOutputImage>
void
MaskedStandardizeFilter<TInputImage, TMaskImage, TOutputImage>::PrintSelf(std::ostream & os, Indent indent) const
{
  Superclass::PrintSelf(os, indent);
  os << indent << "Mode: " << m_Mode << std::endl;
  os << indent << "UseMaskLabel: " << (m_UseMaskLabel ? "On" : "Off") << std::endl;
  os << indent << "MaskLabel: " << static_cast<typename NumericTraits<MaskPixelType>::PrintType>(m_MaskLabel)
     << std::endl;
  os << indent << "OutsideValue: " << m_OutsideValue << std::endl;
  os << indent << "LowerQuantile: " << m_LowerQuantile << std::endl;
  os << indent << "UpperQuantile: " << m_UpperQuantile << std::endl;
  os << indent << "NumberOfStatisticsDivisions: " << m_NumberOfStatisticsDivisions << std::endl;
  os << indent << "Mean: " << this->GetMean() << std::endl;
  os << indent << "StandardDeviation: " << this->GetStandardDeviation() << std::endl;
  os << indent << "Count: " << this->GetCount() << std::endl;
  os << indent << "LowerBound: " << this->GetLowerBound() << std::endl;
  os << indent << "UpperBound: " << this->GetUpperBound() << std::endl;
  os << indent << "BackgroundValue: " << this->GetBackgroundValue() << std::endl;
  itkPrintSelfObjectMacro(Statistics);
  os << indent << "HasStatistics: " << (m_HasStatistics ? "On" : "Off") << std::endl;
  os << indent << "StatisticsAreNew: " << (m_StatisticsAreNew ? "On" : "Off") << std::endl;
  os << indent << "StatisticsTime: " << m_StatisticsTime << std::endl;
}
} // namespace itk

#endif // itkMaskedStandardizeFilter_hxx
