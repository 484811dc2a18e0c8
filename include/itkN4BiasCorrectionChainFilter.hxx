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
#ifndef itkN4BiasCorrectionChainFilter_hxx
#define itkN4BiasCorrectionChainFilter_hxx

#include "itkImageRegionConstIteratorWithIndex.h"
#include "itkMath.h"
#include "itkNumericTraits.h"
#include "itkOtsuThresholdImageFilter.h"
#include "itkProgressTransformer.h"
#include "itkUpstreamModifiedTime.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <mutex>
#include <type_traits>
#include <vector>

namespace itk
{
template <typename TInputImage, typename TMaskImage, typename TOutputImage>
N4BiasCorrectionChainFilter<TInputImage, TMaskImage, TOutputImage>::N4BiasCorrectionChainFilter()
{
  Self::AddOptionalInputName("MaskImage", 1);
  Self::AddOptionalInputName("ConfidenceImage", 2);
  this->SetNumberOfRequiredInputs(1);
  this->SetNumberOfRequiredOutputs(2);
  this->SetNthOutput(1, this->MakeOutput(DataObjectPointerArraySizeType{ 1 }));
  this->DynamicMultiThreadingOn();

  m_NumberOfFittingLevels.Fill(4);
  m_MaximumNumberOfIterations.SetSize(4);
  m_MaximumNumberOfIterations.Fill(50);
  m_NumberOfControlPoints.Fill(4);
  m_ShrinkFactors.Fill(4);
  m_Fit = TensorProductN4::New();
  this->SetCoordinateTolerance(std::max(1e-3, this->GetCoordinateTolerance()));
  this->SetDirectionTolerance(std::max(1e-3, this->GetDirectionTolerance()));

  this->SetIterationsPerLevel(MeasuresType(0));
  this->SetConvergencePerLevel(MeasuresType(0));
  this->SetLogFieldMinimum(0.0);
  this->SetLogFieldMaximum(0.0);
  this->SetFitSeconds(0.0);
  this->SetNumberOfNonPositiveVoxels(0);
  this->SetScale(1.0);
  this->SetShift(0.0);
  this->SetStatus("not fitted");
}

template <typename TInputImage, typename TMaskImage, typename TOutputImage>
DataObject::Pointer
N4BiasCorrectionChainFilter<TInputImage, TMaskImage, TOutputImage>::MakeOutput(DataObjectPointerArraySizeType index)
{
  if (index == 1)
  {
    return RealImageType::New().GetPointer();
  }
  return Superclass::MakeOutput(index);
}

template <typename TInputImage, typename TMaskImage, typename TOutputImage>
DataObject::Pointer
N4BiasCorrectionChainFilter<TInputImage, TMaskImage, TOutputImage>::MakeOutput(const DataObjectIdentifierType & name)
{
  if (name == "IterationsPerLevel" || name == "ConvergencePerLevel")
  {
    return SimpleDataObjectDecorator<MeasuresType>::New().GetPointer();
  }
  if (name == "LogFieldMinimum" || name == "LogFieldMaximum" || name == "FitSeconds" || name == "Scale" ||
      name == "Shift")
  {
    return SimpleDataObjectDecorator<double>::New().GetPointer();
  }
  if (name == "NumberOfNonPositiveVoxels")
  {
    return SimpleDataObjectDecorator<unsigned long>::New().GetPointer();
  }
  if (name == "Status")
  {
    return SimpleDataObjectDecorator<std::string>::New().GetPointer();
  }
  return Superclass::MakeOutput(name);
}

template <typename TInputImage, typename TMaskImage, typename TOutputImage>
typename N4BiasCorrectionChainFilter<TInputImage, TMaskImage, TOutputImage>::RealImageType *
N4BiasCorrectionChainFilter<TInputImage, TMaskImage, TOutputImage>::GetLogBiasField()
{
  return itkDynamicCastInDebugMode<RealImageType *>(this->ProcessObject::GetOutput(1));
}

template <typename TInputImage, typename TMaskImage, typename TOutputImage>
const typename N4BiasCorrectionChainFilter<TInputImage, TMaskImage, TOutputImage>::RealImageType *
N4BiasCorrectionChainFilter<TInputImage, TMaskImage, TOutputImage>::GetLogBiasField() const
{
  return itkDynamicCastInDebugMode<const RealImageType *>(this->ProcessObject::GetOutput(1));
}

template <typename TInputImage, typename TMaskImage, typename TOutputImage>
void
N4BiasCorrectionChainFilter<TInputImage, TMaskImage, TOutputImage>::SetShrinkFactor(unsigned int factor)
{
  ShrinkFactorsType factors;
  factors.Fill(factor);
  this->SetShrinkFactors(factors);
}

template <typename TInputImage, typename TMaskImage, typename TOutputImage>
void
N4BiasCorrectionChainFilter<TInputImage, TMaskImage, TOutputImage>::SetNumberOfFittingLevels(unsigned int levels)
{
  LevelsType everywhere;
  everywhere.Fill(levels);
  this->SetNumberOfFittingLevels(everywhere);
}

template <typename TInputImage, typename TMaskImage, typename TOutputImage>
unsigned int
N4BiasCorrectionChainFilter<TInputImage, TMaskImage, TOutputImage>::GetCurrentLevel() const
{
  return m_Fit->GetCurrentLevel();
}

template <typename TInputImage, typename TMaskImage, typename TOutputImage>
unsigned int
N4BiasCorrectionChainFilter<TInputImage, TMaskImage, TOutputImage>::GetElapsedIterations() const
{
  return m_Fit->GetElapsedIterations();
}

template <typename TInputImage, typename TMaskImage, typename TOutputImage>
double
N4BiasCorrectionChainFilter<TInputImage, TMaskImage, TOutputImage>::GetCurrentConvergenceMeasurement() const
{
  return m_Fit->GetCurrentConvergenceMeasurement();
}

template <typename TInputImage, typename TMaskImage, typename TOutputImage>
TensorProductN4::Pointer
N4BiasCorrectionChainFilter<TInputImage, TMaskImage, TOutputImage>::MakeFit() const
{
  const auto fit = TensorProductN4::New();
  // An axis that a flat image does not have takes part in no level.
  TensorProductN4::LevelsType levels;
  levels.Fill(m_NumberOfFittingLevels[0]);
  for (unsigned int d = 0; d < ImageDimension; ++d)
  {
    levels[d] = m_NumberOfFittingLevels[d];
  }
  fit->SetNumberOfFittingLevels(levels);
  fit->SetMaximumNumberOfIterations(m_MaximumNumberOfIterations);
  fit->SetConvergenceThreshold(m_ConvergenceThreshold);
  fit->SetBiasFieldFullWidthAtHalfMaximum(m_BiasFieldFullWidthAtHalfMaximum);
  fit->SetWienerFilterNoise(m_WienerFilterNoise);
  fit->SetNumberOfHistogramBins(m_NumberOfHistogramBins);
  TensorProductN4::ControlPointsType controlPoints;
  controlPoints.Fill(std::min(m_SplineOrder, 15U) + 1);
  for (unsigned int d = 0; d < ImageDimension; ++d)
  {
    controlPoints[d] = m_NumberOfControlPoints[d];
  }
  fit->SetNumberOfControlPoints(controlPoints);
  fit->SetSplineOrder(m_SplineOrder);
  fit->SetMaximumSeconds(m_MaximumSeconds);
  fit->SetNumberOfThreads(
    std::min<unsigned int>(this->GetNumberOfWorkUnits(), this->GetMultiThreader()->GetMaximumNumberOfThreads()));
  fit->SetDevice(m_Device);
  return fit;
}

template <typename TInputImage, typename TMaskImage, typename TOutputImage>
void
N4BiasCorrectionChainFilter<TInputImage, TMaskImage, TOutputImage>::VerifyPreconditions() const
{
  Superclass::VerifyPreconditions();
  if (*std::min_element(m_ShrinkFactors.Begin(), m_ShrinkFactors.End()) == 0)
  {
    itkExceptionMacro("ShrinkFactors is " << m_ShrinkFactors
                                          << ": give 1 (fit all voxels) or more, such as 4, for each axis.");
  }
  this->MakeFit()->VerifyParameters();
}

template <typename TInputImage, typename TMaskImage, typename TOutputImage>
void
N4BiasCorrectionChainFilter<TInputImage, TMaskImage, TOutputImage>::VerifyInputInformation() const
{
  Superclass::VerifyInputInformation();
  const auto & region = this->GetInput()->GetLargestPossibleRegion();
  if (this->GetMaskImage() != nullptr && this->GetMaskImage()->GetLargestPossibleRegion() != region)
  {
    itkExceptionMacro("The mask's region " << this->GetMaskImage()->GetLargestPossibleRegion() << " is not the image's "
                                           << region << ": resample the mask to the image's grid.");
  }
  if (this->GetConfidenceImage() != nullptr && this->GetConfidenceImage()->GetLargestPossibleRegion() != region)
  {
    itkExceptionMacro("The confidence's region " << this->GetConfidenceImage()->GetLargestPossibleRegion()
                                                 << " is not the image's " << region
                                                 << ": resample the confidence to the image's grid.");
  }
}

template <typename TInputImage, typename TMaskImage, typename TOutputImage>
ModifiedTimeType
N4BiasCorrectionChainFilter<TInputImage, TMaskImage, TOutputImage>::GetTimeOfInputs() const
{
  return std::max({ UpstreamModifiedTime::Of(this->GetInput()),
                    UpstreamModifiedTime::Of(this->GetMaskImage()),
                    UpstreamModifiedTime::Of(this->GetConfidenceImage()) });
}

template <typename TInputImage, typename TMaskImage, typename TOutputImage>
typename N4BiasCorrectionChainFilter<TInputImage, TMaskImage, TOutputImage>::SamplesType
N4BiasCorrectionChainFilter<TInputImage, TMaskImage, TOutputImage>::SamplesOfAxis(unsigned int axis) const
{
  const auto &        region = this->GetInput()->GetLargestPossibleRegion();
  const SizeValueType size = region.GetSize(axis);
  SamplesType         samples;
  samples.count = std::max<SizeValueType>(1, size / m_ShrinkFactors[axis]);
  // Centred, half a voxel rounded up: where ShrinkImageFilter takes its samples.
  samples.first =
    region.GetIndex(axis) + static_cast<IndexValueType>((size - (samples.count - 1) * m_ShrinkFactors[axis]) / 2);
  return samples;
}

template <typename TInputImage, typename TMaskImage, typename TOutputImage>
bool
N4BiasCorrectionChainFilter<TInputImage, TMaskImage, TOutputImage>::IsInMask(MaskPixelType value) const
{
  return m_UseMaskLabel ? value == m_MaskLabel : value != NumericTraits<MaskPixelType>::ZeroValue();
}

template <typename TInputImage, typename TMaskImage, typename TOutputImage>
template <typename TImage>
typename N4BiasCorrectionChainFilter<TInputImage, TMaskImage, TOutputImage>::RegionType
N4BiasCorrectionChainFilter<TInputImage, TMaskImage, TOutputImage>::UpdateSlice(const TImage * image,
                                                                                IndexValueType slice) const
{
  auto * const mutableImage = const_cast<TImage *>(image);
  RegionType   region = image->GetLargestPossibleRegion();
  region.SetIndex(ImageDimension - 1, slice);
  region.SetSize(ImageDimension - 1, 1);
  mutableImage->SetRequestedRegion(region);
  mutableImage->PropagateRequestedRegion();
  mutableImage->UpdateOutputData();
  return region;
}

template <typename TInputImage, typename TMaskImage, typename TOutputImage>
template <typename TImage, typename TStore>
void
N4BiasCorrectionChainFilter<TInputImage, TMaskImage, TOutputImage>::TakeSlice(const TImage * image,
                                                                              IndexValueType slice,
                                                                              const TStore & store) const
{
  // The slice's voxels of the fit, asked of the pipeline as one region.
  const RegionType region = this->UpdateSlice(image, slice);

  const SamplesType x = this->SamplesOfAxis(0);
  const SamplesType y = ImageDimension == 3 ? this->SamplesOfAxis(1) : SamplesType{};
  auto              index = region.GetIndex();
  for (SizeValueType row = 0; row < y.count; ++row)
  {
    if (ImageDimension == 3)
    {
      index[1] = y.first + static_cast<IndexValueType>(row * m_ShrinkFactors[1]);
    }
    for (SizeValueType n = 0; n < x.count; ++n)
    {
      index[0] = x.first + static_cast<IndexValueType>(n * m_ShrinkFactors[0]);
      store(row * x.count + n, image->GetPixel(index));
    }
  }
}

template <typename TInputImage, typename TMaskImage, typename TOutputImage>
void
N4BiasCorrectionChainFilter<TInputImage, TMaskImage, TOutputImage>::Fit()
{
  const InputImageType * const input = this->GetInput();
  const MaskImageType * const  maskImage = this->GetMaskImage();
  const RealImageType * const  confidenceImage = this->GetConfidenceImage();

  TensorProductN4::GridSizeType gridSize;
  gridSize.Fill(1);
  typename RealImageType::SizeType smallSize;
  for (unsigned int d = 0; d < ImageDimension; ++d)
  {
    gridSize[d] = smallSize[d] = this->SamplesOfAxis(d).count;
  }
  const auto small = RealImageType::New();
  small->SetRegions(smallSize);
  small->Allocate();
  float * const              image = small->GetBufferPointer();
  const SizeValueType        total = gridSize[0] * gridSize[1] * gridSize[2];
  std::vector<unsigned char> mask(total, 1);
  std::vector<float>         confidence(confidenceImage != nullptr ? total : 0);

  const SamplesType   slices = this->SamplesOfAxis(ImageDimension - 1);
  const SizeValueType voxelsOfSlice = total / slices.count;
  for (SizeValueType slice = 0; slice < slices.count; ++slice)
  {
    const IndexValueType index =
      slices.first + static_cast<IndexValueType>(slice * m_ShrinkFactors[ImageDimension - 1]);
    const SizeValueType offset = slice * voxelsOfSlice;
    this->TakeSlice(input, index, [&](SizeValueType n, const typename InputImageType::PixelType & value) {
      image[offset + n] = static_cast<float>(value);
    });
    if (maskImage != nullptr)
    {
      this->TakeSlice(maskImage, index, [&](SizeValueType n, const MaskPixelType & value) {
        mask[offset + n] = this->IsInMask(value) ? 1 : 0;
      });
    }
    if (confidenceImage != nullptr)
    {
      this->TakeSlice(confidenceImage, index, [&](SizeValueType n, float value) { confidence[offset + n] = value; });
    }
  }

  for (SizeValueType n = 0; n < total; ++n)
  {
    const bool counts = mask[n] != 0 && (confidence.empty() || !(confidence[n] <= 0.0F));
    if (counts && (!std::isfinite(image[n]) || (!confidence.empty() && !std::isfinite(confidence[n]))))
    {
      auto          index = input->GetLargestPossibleRegion().GetIndex();
      SizeValueType rest = n;
      for (unsigned int d = 0; d < ImageDimension; ++d)
      {
        index[d] = this->SamplesOfAxis(d).first + static_cast<IndexValueType>(rest % gridSize[d] * m_ShrinkFactors[d]);
        rest /= gridSize[d];
      }
      itkExceptionMacro("The " << (std::isfinite(image[n]) ? "confidence" : "image") << " at index " << index << " is "
                               << (std::isfinite(image[n]) ? confidence[n] : image[n])
                               << ": mend the voxel, or give a mask that leaves it out.");
    }
  }
  if (maskImage == nullptr)
  {
    const auto extrema = std::minmax_element(image, image + total);
    m_OtsuThreshold = std::min(*extrema.first, 0.0F);
    if (*extrema.first < *extrema.second)
    {
      using OtsuType = OtsuThresholdImageFilter<RealImageType, Image<unsigned char, ImageDimension>>;
      const auto otsu = OtsuType::New();
      otsu->SetInput(small);
      otsu->SetNumberOfHistogramBins(200);
      otsu->SetInsideValue(0);
      otsu->SetOutsideValue(1);
      otsu->SetNumberOfWorkUnits(this->GetNumberOfWorkUnits());
      otsu->Update();
      std::copy_n(otsu->GetOutput()->GetBufferPointer(), total, mask.begin());
      m_OtsuThreshold = otsu->GetThreshold();
    }
  }
  if (std::none_of(mask.begin(), mask.end(), [](unsigned char value) { return value != 0; }))
  {
    itkExceptionMacro("The mask has no voxel " << (m_UseMaskLabel ? "of MaskLabel" : "that is not 0") << " among the "
                                               << total << " that ShrinkFactors " << m_ShrinkFactors
                                               << " takes: check the mask, or shrink less.");
  }

  m_Fit = this->MakeFit();
  m_Fit->SetProgressCallback([this](double done) {
    this->UpdateProgress(static_cast<float>(0.1 + 0.8 * done));
    this->InvokeEvent(IterationEvent());
    return !this->GetAbortGenerateData();
  });
  const auto start = std::chrono::steady_clock::now();
  m_Fit->Fit(image, mask.data(), confidence.empty() ? nullptr : confidence.data(), gridSize);
  this->SetFitSeconds(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  m_Fit->SetProgressCallback(nullptr);

  // The field's range at the voxels that were fitted.
  std::vector<float> field(total);
  for (unsigned int d = 0; d < 3; ++d)
  {
    std::vector<double> positions(gridSize[d]);
    for (SizeValueType n = 0; n < gridSize[d]; ++n)
    {
      positions[n] = static_cast<double>(n);
    }
    m_Axes[d] = m_Fit->LocateOnAxis(d, positions);
  }
  m_Fit->EvaluateLogField(m_Axes, TensorProductN4::GridSizeType{}, gridSize, field.data());
  double lowest = NumericTraits<double>::max();
  double highest = NumericTraits<double>::NonpositiveMin();
  for (SizeValueType n = 0; n < total; ++n)
  {
    if (mask[n] != 0 && image[n] > 0.0F && (confidence.empty() || confidence[n] > 0.0F))
    {
      lowest = std::min<double>(lowest, field[n]);
      highest = std::max<double>(highest, field[n]);
    }
  }
  this->SetLogFieldMinimum(lowest);
  this->SetLogFieldMaximum(highest);
  this->SetIterationsPerLevel(m_Fit->GetIterations());
  this->SetConvergencePerLevel(m_Fit->GetConvergence());
  this->SetNumberOfNonPositiveVoxels(static_cast<unsigned long>(m_Fit->GetNumberOfNonPositiveVoxels()));
  this->SetStatus(m_Fit->GetStatus());

  // Where the voxels of the full grid lie between those that were taken.
  for (unsigned int d = 0; d < 3; ++d)
  {
    std::vector<double> positions(1, 0.0);
    if (d < ImageDimension)
    {
      const auto & region = input->GetLargestPossibleRegion();
      positions.resize(region.GetSize(d));
      for (SizeValueType n = 0; n < positions.size(); ++n)
      {
        const IndexValueType distance =
          region.GetIndex(d) + static_cast<IndexValueType>(n) - this->SamplesOfAxis(d).first;
        positions[n] = static_cast<double>(distance) / m_ShrinkFactors[d];
      }
    }
    m_Axes[d] = m_Fit->LocateOnAxis(d, positions);
  }
  this->FindScale();
}

template <typename TInputImage, typename TMaskImage, typename TOutputImage>
void
N4BiasCorrectionChainFilter<TInputImage, TMaskImage, TOutputImage>::FindScale()
{
  this->SetScale(1.0);
  this->SetShift(0.0);
  if (m_Rescaling == RescalingEnum::None)
  {
    return;
  }
  const InputImageType * const  input = this->GetInput();
  const MaskImageType * const   mask = this->GetMaskImage();
  const RegionType              whole = input->GetLargestPossibleRegion();
  TensorProductN4::GridSizeType begin{};
  TensorProductN4::GridSizeType size;
  size.Fill(1);
  for (unsigned int d = 0; d < ImageDimension; ++d)
  {
    size[d] = whole.GetSize(d);
  }
  size[ImageDimension - 1] = 1;
  std::vector<float> field(size[0] * size[1]);

  double sums[2] = {};
  double lowest[2] = { NumericTraits<double>::max(), NumericTraits<double>::max() };
  double highest[2] = {};
  for (SizeValueType slice = 0; slice < whole.GetSize(ImageDimension - 1); ++slice)
  {
    const IndexValueType at = whole.GetIndex(ImageDimension - 1) + static_cast<IndexValueType>(slice);
    const RegionType     region = this->UpdateSlice(input, at);
    if (mask != nullptr)
    {
      this->UpdateSlice(mask, at);
    }
    begin[ImageDimension - 1] = slice;
    m_Fit->EvaluateLogField(m_Axes, begin, size, field.data());
    double       sumsOfSlice[2] = {};
    const auto * logField = field.data();
    for (ImageRegionConstIteratorWithIndex<InputImageType> it(input, region); !it.IsAtEnd(); ++it, ++logField)
    {
      const auto value = static_cast<float>(it.Get());
      if (value > 0.0F && std::isfinite(value) &&
          (mask != nullptr ? this->IsInMask(mask->GetPixel(it.GetIndex())) : value > m_OtsuThreshold))
      {
        const double both[2] = { value, static_cast<double>(value / std::exp(*logField)) };
        for (unsigned int n = 0; n < 2; ++n)
        {
          sumsOfSlice[n] += both[n];
          lowest[n] = std::min(lowest[n], both[n]);
          highest[n] = std::max(highest[n], both[n]);
        }
      }
    }
    sums[0] += sumsOfSlice[0];
    sums[1] += sumsOfSlice[1];
  }
  if (m_Rescaling == RescalingEnum::Mean && sums[1] > 0.0)
  {
    this->SetScale(sums[0] / sums[1]);
  }
  else if (m_Rescaling == RescalingEnum::Range && highest[1] > lowest[1])
  {
    const double scale = (highest[0] - lowest[0]) / (highest[1] - lowest[1]);
    this->SetScale(scale);
    this->SetShift(highest[0] - scale * highest[1]);
  }
}

template <typename TInputImage, typename TMaskImage, typename TOutputImage>
void
N4BiasCorrectionChainFilter<TInputImage, TMaskImage, TOutputImage>::GenerateOutputInformation()
{
  Superclass::GenerateOutputInformation();
  const InputImageType * const input = this->GetInput();
  this->GetOutput()->SetMetaDataDictionary(input->GetMetaDataDictionary());
  this->GetLogBiasField()->SetMetaDataDictionary(input->GetMetaDataDictionary());

  if (m_Fitted && m_FitTime.GetMTime() > this->GetMTime() && m_FitTime.GetMTime() > this->GetTimeOfInputs())
  {
    return;
  }
  m_Fitted = false;
  this->SetAbortGenerateData(false);
  this->UpdateProgress(0.0F);
  try
  {
    this->Fit();
  }
  catch (const ProcessAborted &)
  {
    this->InvokeEvent(AbortEvent());
    this->ResetPipeline();
    throw;
  }
  m_Fitted = true;
  m_FitIsNew = true;
  m_FitTime.Modified();
}

template <typename TInputImage, typename TMaskImage, typename TOutputImage>
void
N4BiasCorrectionChainFilter<TInputImage, TMaskImage, TOutputImage>::GenerateData()
{
  this->AllocateOutputs();
  const InputImageType * const input = this->GetInput();
  const MaskImageType * const  mask = this->GetMaskImage();
  OutputImageType * const      output = this->GetOutput();
  RealImageType * const        logField = this->GetLogBiasField();
  const auto                   start = output->GetLargestPossibleRegion().GetIndex();

  const auto scale = static_cast<float>(this->GetScale());
  const auto shift = static_cast<float>(this->GetShift());

  ProgressTransformer progress(m_FitIsNew ? 0.9F : 0.0F, 1.0F, this);
  m_FitIsNew = false;
  // Thrown after the loop: not every ITK's threads hand a message on.
  std::mutex                         badMutex;
  SizeValueType                      badVoxels = 0;
  typename InputImageType::IndexType firstBad{};
  this->GetMultiThreader()->SetNumberOfWorkUnits(this->GetNumberOfWorkUnits());
  this->GetMultiThreader()->template ParallelizeImageRegion<ImageDimension>(
    output->GetRequestedRegion(),
    [&, this](const RegionType & region) {
      TensorProductN4::GridSizeType begin{};
      TensorProductN4::GridSizeType size;
      size.Fill(1);
      size[0] = region.GetSize(0);
      begin[0] = static_cast<SizeValueType>(region.GetIndex(0) - start[0]);
      const SizeValueType rows = region.GetSize(1);
      const SizeValueType slices = region.GetNumberOfPixels() / size[0] / rows;
      size[1] = rows;
      begin[1] = static_cast<SizeValueType>(region.GetIndex(1) - start[1]);
      std::vector<float> field(size[0] * rows);
      std::vector<float> corrected(size[0]);
      auto               index = region.GetIndex();
      for (SizeValueType slice = 0; slice < slices && !this->GetAbortGenerateData(); ++slice)
      {
        if (ImageDimension == 3)
        {
          index[ImageDimension - 1] = region.GetIndex(ImageDimension - 1) + static_cast<IndexValueType>(slice);
          begin[2] = static_cast<SizeValueType>(index[ImageDimension - 1] - start[ImageDimension - 1]);
        }
        m_Fit->EvaluateLogField(m_Axes, begin, size, field.data());
        for (SizeValueType row = 0; row < rows; ++row)
        {
          index[1] = region.GetIndex(1) + static_cast<IndexValueType>(row);
          const auto * const source = input->GetBufferPointer() + input->ComputeOffset(index);
          auto * const       target = output->GetBufferPointer() + output->ComputeOffset(index);
          const float *      fieldOfRow = &field[row * size[0]];
          std::copy_n(fieldOfRow, size[0], logField->GetBufferPointer() + logField->ComputeOffset(index));
          float notFinite = 0.0F;
          for (SizeValueType n = 0; n < size[0]; ++n)
          {
            corrected[n] = static_cast<float>(source[n]);
            notFinite += corrected[n] - corrected[n]; // NaN from there on
          }
          TensorProductN4::DivideByField(size[0], fieldOfRow, corrected.data());
          for (SizeValueType n = 0; notFinite != 0.0F && n < size[0]; ++n)
          {
            auto at = index;
            at[0] += static_cast<IndexValueType>(n);
            if (!std::isfinite(static_cast<float>(source[n])) &&
                (mask == nullptr || this->IsInMask(mask->GetPixel(at))))
            {
              const std::lock_guard<std::mutex> lock(badMutex);
              if (badVoxels++ == 0 || input->ComputeOffset(at) < input->ComputeOffset(firstBad))
              {
                firstBad = at;
              }
            }
          }
          if (m_Rescaling == RescalingEnum::Mean)
          {
            for (float & value : corrected)
            {
              value *= scale;
            }
          }
          for (SizeValueType n = 0; m_Rescaling == RescalingEnum::Range && n < size[0]; ++n)
          {
            const auto value = static_cast<float>(source[n]);
            auto       at = index;
            at[0] += static_cast<IndexValueType>(n);
            if (value > 0.0F && (mask != nullptr ? this->IsInMask(mask->GetPixel(at)) : value > m_OtsuThreshold))
            {
              corrected[n] = scale * corrected[n] + shift;
            }
          }
          using OutputPixelType = typename OutputImageType::PixelType;
          if constexpr (std::is_integral<OutputPixelType>::value)
          {
            for (SizeValueType n = 0; n < size[0]; ++n)
            {
              target[n] = !std::isfinite(corrected[n])
                            ? OutputPixelType{}
                            : static_cast<OutputPixelType>(
                                std::clamp(std::round(static_cast<double>(corrected[n])),
                                           static_cast<double>(NumericTraits<OutputPixelType>::NonpositiveMin()),
                                           static_cast<double>(NumericTraits<OutputPixelType>::max())));
            }
          }
          else
          {
            std::copy(corrected.begin(), corrected.end(), target);
          }
        }
      }
    },
    progress.GetProcessObject());
  // The threads' own process object does not hear of it.
  if (this->GetAbortGenerateData())
  {
    ProcessAborted aborted(__FILE__, __LINE__);
    aborted.SetDescription("The division by the bias field was aborted.");
    throw aborted;
  }
  if (badVoxels > 0)
  {
    itkExceptionMacro("The image at index " << firstBad << " is " << input->GetPixel(firstBad) << " (one of "
                                            << badVoxels << "): mend the voxels, or give a mask that leaves them out.");
  }
}

template <typename TInputImage, typename TMaskImage, typename TOutputImage>
void
N4BiasCorrectionChainFilter<TInputImage, TMaskImage, TOutputImage>::PrintSelf(std::ostream & os, Indent indent) const
{
  Superclass::PrintSelf(os, indent);
  os << indent << "ShrinkFactors: " << m_ShrinkFactors << std::endl;
  os << indent << "UseMaskLabel: " << (m_UseMaskLabel ? "On" : "Off") << std::endl;
  os << indent << "MaskLabel: " << static_cast<typename NumericTraits<MaskPixelType>::PrintType>(m_MaskLabel)
     << std::endl;
  os << indent << "NumberOfFittingLevels: " << m_NumberOfFittingLevels << std::endl;
  os << indent << "MaximumNumberOfIterations: " << m_MaximumNumberOfIterations << std::endl;
  os << indent << "ConvergenceThreshold: " << m_ConvergenceThreshold << std::endl;
  os << indent << "BiasFieldFullWidthAtHalfMaximum: " << m_BiasFieldFullWidthAtHalfMaximum << std::endl;
  os << indent << "WienerFilterNoise: " << m_WienerFilterNoise << std::endl;
  os << indent << "NumberOfHistogramBins: " << m_NumberOfHistogramBins << std::endl;
  os << indent << "NumberOfControlPoints: " << m_NumberOfControlPoints << std::endl;
  os << indent << "SplineOrder: " << m_SplineOrder << std::endl;
  os << indent << "MaximumSeconds: " << m_MaximumSeconds << std::endl;
  os << indent << "Rescaling: " << m_Rescaling << std::endl;
  os << indent << "Device: " << m_Device << std::endl;
  os << indent << "OtsuThreshold: " << m_OtsuThreshold << std::endl;
  os << indent << "Fitted: " << (m_Fitted ? "yes" : "no") << std::endl;
  os << indent << "FitIsNew: " << (m_FitIsNew ? "yes" : "no") << std::endl;
  os << indent << "FitTime: " << m_FitTime.GetMTime() << std::endl;
  os << indent << "Fit:" << std::endl;
  m_Fit->Print(os, indent.GetNextIndent());
}
} // namespace itk

#endif // itkN4BiasCorrectionChainFilter_hxx
