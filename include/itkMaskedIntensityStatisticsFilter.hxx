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
#ifndef itkMaskedIntensityStatisticsFilter_hxx
#define itkMaskedIntensityStatisticsFilter_hxx

#include "itkMaskedIntensityStatisticsFilter.h"
#include "itkImageRegionSplitterSlowDimension.h"

#include <algorithm>
#include <cmath>
#include <type_traits>

namespace itk
{
template <typename TInputImage, typename TMaskImage>
MaskedIntensityStatisticsFilter<TInputImage, TMaskImage>::MaskedIntensityStatisticsFilter()
{
  this->AddOptionalInputName("MaskImage", 1);
  this->SetCoordinateTolerance(std::max(1e-3, this->GetCoordinateTolerance()));
  this->SetDirectionTolerance(std::max(1e-3, this->GetDirectionTolerance()));
  for (const char * name : { "Mean", "StandardDeviation", "Count", "LowerBound", "UpperBound" })
  {
    this->ProcessObject::SetOutput(name, this->MakeOutput(name));
  }
  const RealArrayType none;
  this->SetMean(none);
  this->SetStandardDeviation(none);
  this->SetCount(none);
  this->SetLowerBound(none);
  this->SetUpperBound(none);
}

template <typename TInputImage, typename TMaskImage>
DataObject::Pointer
MaskedIntensityStatisticsFilter<TInputImage, TMaskImage>::MakeOutput(const DataObjectIdentifierType & name)
{
  if (name == "Mean" || name == "StandardDeviation" || name == "Count" || name == "LowerBound" || name == "UpperBound")
  {
    return SimpleDataObjectDecorator<RealArrayType>::New().GetPointer();
  }
  return Superclass::MakeOutput(name);
}

template <typename TInputImage, typename TMaskImage>
void
MaskedIntensityStatisticsFilter<TInputImage, TMaskImage>::VerifyPreconditions() const
{
  Superclass::VerifyPreconditions();
  if (!(m_LowerQuantile >= 0.0 && m_LowerQuantile < m_UpperQuantile && m_UpperQuantile <= 1.0))
  {
    itkExceptionMacro("LowerQuantile is " << m_LowerQuantile << " and UpperQuantile " << m_UpperQuantile
                                          << "; set 0 <= LowerQuantile < UpperQuantile <= 1.");
  }
}

template <typename TInputImage, typename TMaskImage>
void
MaskedIntensityStatisticsFilter<TInputImage, TMaskImage>::VerifyInputInformation() const
{
  Superclass::VerifyInputInformation();
  const auto & image = this->GetInput()->GetLargestPossibleRegion();
  if (this->GetMaskImage() != nullptr)
  {
    const auto & mask = this->GetMaskImage()->GetLargestPossibleRegion();
    if (image.GetIndex() != mask.GetIndex() || image.GetSize() != mask.GetSize())
    {
      itkExceptionMacro("The mask has index " << mask.GetIndex() << " and size " << mask.GetSize()
                                              << " but the image has index " << image.GetIndex() << " and size "
                                              << image.GetSize() << ". Give a mask on the image's grid.");
    }
  }
}

template <typename TInputImage, typename TMaskImage>
unsigned int
MaskedIntensityStatisticsFilter<TInputImage, TMaskImage>::GetNumberOfPieces() const
{
  const RegionType region = this->GetInput()->GetLargestPossibleRegion();
  // Lines are never divided.
  if (region.GetNumberOfPixels() == region.GetSize(0))
  {
    return 1;
  }
  return ImageRegionSplitterSlowDimension::New()->GetNumberOfSplits(region,
                                                                    std::max(1U, this->GetNumberOfStreamDivisions()));
}

template <typename TInputImage, typename TMaskImage>
unsigned int
MaskedIntensityStatisticsFilter<TInputImage, TMaskImage>::GetNumberOfInputRequestedRegions()
{
  return (this->IsClipping() ? 3 : 1) * this->GetNumberOfPieces();
}

template <typename TInputImage, typename TMaskImage>
void
MaskedIntensityStatisticsFilter<TInputImage, TMaskImage>::GenerateNthInputRequestedRegion(unsigned int number)
{
  const unsigned int pieces = this->GetNumberOfPieces();
  m_Piece = this->GetInput()->GetLargestPossibleRegion();
  if (pieces > 1)
  {
    ImageRegionSplitterSlowDimension::New()->GetSplit(number % pieces, pieces, m_Piece);
  }
  const_cast<TInputImage *>(this->GetInput())->SetRequestedRegion(m_Piece);
  if (this->GetMaskImage() != nullptr)
  {
    const_cast<TMaskImage *>(this->GetMaskImage())->SetRequestedRegion(m_Piece);
  }
}

template <typename TInputImage, typename TMaskImage>
void
MaskedIntensityStatisticsFilter<TInputImage, TMaskImage>::BeforeStreamedGenerateData()
{
  Superclass::BeforeStreamedGenerateData();
  const TInputImage * input = this->GetInput();
  const unsigned int  components = input->GetNumberOfComponentsPerPixel();
  m_HasBadValue = false;
  m_NumberInside = 0;
  m_Ranges.assign(components, Range{});
  m_Lower.assign(components, NumericTraits<double>::NonpositiveMin());
  m_Upper.assign(components, NumericTraits<double>::max());
  m_Histograms.assign(this->IsClipping() ? SizeValueType{ components } * NumberOfBins : 0, 0);
  m_Moments.assign(components, Moments{});
  m_Lines.clear();
}

template <typename TInputImage, typename TMaskImage>
void
MaskedIntensityStatisticsFilter<TInputImage, TMaskImage>::StreamedGenerateData(unsigned int number)
{
  const unsigned int pieces = this->GetNumberOfPieces();
  const unsigned int pass = number / pieces;
  if (this->IsClipping())
  {
    m_Pass = pass == 0 ? Pass::Range : (pass == 1 ? Pass::Histogram : Pass::Moments);
  }
  else
  {
    m_Pass = Pass::Moments;
  }
  if (m_Pass == Pass::Moments)
  {
    const SizeValueType length = std::max<SizeValueType>(1, m_Piece.GetSize(0));
    m_Lines.assign(m_Piece.GetNumberOfPixels() / length * m_Moments.size(), Moments{});
  }
  this->GetMultiThreader()->SetNumberOfWorkUnits(this->GetNumberOfWorkUnits());
  this->GetMultiThreader()->template ParallelizeImageRegionRestrictDirection<ImageDimension>(
    0, m_Piece, [this](const RegionType & region) { this->ThreadedStreamedGenerateData(region); }, nullptr);
  // Here and not in AfterStreamedGenerateData: an exception there leaves a sink that never runs again.
  if (m_HasBadValue)
  {
    itkExceptionMacro("The image is " << m_BadValue << " in component " << m_BadComponent << " at index " << m_BadIndex
                                      << (this->GetMaskImage() ? ", inside the mask" : "")
                                      << ". Replace what is not finite, or leave it out of the mask.");
  }
  this->MergeLines();
  if (number % pieces == pieces - 1)
  {
    this->FinishPass();
  }
  // The sink would end without a word and with half of the statistics.
  this->UpdateProgress(static_cast<float>(number + 1) / static_cast<float>(this->GetNumberOfInputRequestedRegions()));
  if (this->GetAbortGenerateData())
  {
    ProcessAborted aborted(__FILE__, __LINE__);
    aborted.SetDescription("The statistics of the image were aborted.");
    throw aborted;
  }
}

template <typename TInputImage, typename TMaskImage>
template <typename TClip>
auto
MaskedIntensityStatisticsFilter<TInputImage, TMaskImage>::SumValues(const ValueType * values,
                                                                    SizeValueType     number,
                                                                    const TClip &     clip) -> LineSum
{
  // Several sums side by side, always the same ones: the compiler makes vectors of them, and the bits stay.
  constexpr unsigned int lanes = 8;
  double                 sums[lanes] = {};
  LineSum                line;
  ValueType              minima[lanes];
  ValueType              maxima[lanes];
  std::fill(minima, minima + lanes, line.minimum);
  std::fill(maxima, maxima + lanes, line.maximum);
  SizeValueType n = 0;
  for (; n + lanes <= number; n += lanes)
  {
    for (unsigned int k = 0; k < lanes; ++k)
    {
      const ValueType value = values[n + k];
      minima[k] = value < minima[k] ? value : minima[k];
      maxima[k] = value > maxima[k] ? value : maxima[k];
      sums[k] += clip(static_cast<double>(value));
    }
  }
  for (; n < number; ++n)
  {
    line.minimum = std::min(line.minimum, values[n]);
    line.maximum = std::max(line.maximum, values[n]);
    line.sum += clip(static_cast<double>(values[n]));
  }
  for (unsigned int k = 0; k < lanes; ++k)
  {
    line.minimum = std::min(line.minimum, minima[k]);
    line.maximum = std::max(line.maximum, maxima[k]);
    line.sum += sums[k];
  }
  return line;
}

template <typename TInputImage, typename TMaskImage>
template <typename TClip>
double
MaskedIntensityStatisticsFilter<TInputImage, TMaskImage>::SumSquares(const ValueType * values,
                                                                     SizeValueType     number,
                                                                     double            mean,
                                                                     const TClip &     clip)
{
  constexpr unsigned int lanes = 8;
  double                 sums[lanes] = {};
  double                 sum = 0.0;
  SizeValueType          n = 0;
  for (; n + lanes <= number; n += lanes)
  {
    for (unsigned int k = 0; k < lanes; ++k)
    {
      const double difference = clip(static_cast<double>(values[n + k])) - mean;
      sums[k] += difference * difference;
    }
  }
  for (; n < number; ++n)
  {
    const double difference = clip(static_cast<double>(values[n])) - mean;
    sum += difference * difference;
  }
  for (const double lane : sums)
  {
    sum += lane;
  }
  return sum;
}

template <typename TInputImage, typename TMaskImage>
void
MaskedIntensityStatisticsFilter<TInputImage, TMaskImage>::KeepBadValue(const ValueType *    line,
                                                                       const MaskLineRuns & runs,
                                                                       unsigned int         component,
                                                                       const IndexType &    index)
{
  const TInputImage * input = this->GetInput();
  const unsigned int  components = input->GetNumberOfComponentsPerPixel();
  for (const auto & run : runs)
  {
    for (SizeValueType x = run.begin; x < run.end; ++x)
    {
      const auto value = static_cast<double>(line[x * components + component]);
      if (std::isfinite(value))
      {
        continue;
      }
      IndexType at = index;
      at[0] += static_cast<IndexValueType>(x);
      // the pieces come in the buffer's order, so that the offset in one of them is enough
      const OffsetValueType       offset = input->ComputeOffset(at) * components + component;
      std::lock_guard<std::mutex> lock(m_Mutex);
      if (!m_HasBadValue || offset < m_BadOffset)
      {
        m_HasBadValue = true;
        m_BadOffset = offset;
        m_BadIndex = at;
        m_BadComponent = component;
        m_BadValue = value;
      }
      return;
    }
  }
}

template <typename TInputImage, typename TMaskImage>
void
MaskedIntensityStatisticsFilter<TInputImage, TMaskImage>::ThreadedStreamedGenerateData(const RegionType & region)
{
  static_assert(std::is_arithmetic<ValueType>::value, "The image is scalar or an itk::VectorImage.");
  const TInputImage * input = this->GetInput();
  const TMaskImage *  mask = this->GetMaskImage();
  const unsigned int  components = input->GetNumberOfComponentsPerPixel();
  const SizeValueType length = region.GetSize(0);
  const SizeValueType lines = length == 0 ? 0 : region.GetNumberOfPixels() / length;
  const bool          clips = m_Pass == Pass::Moments && this->IsClipping();

  std::vector<Range>         ranges(components);
  std::vector<SizeValueType> histograms(m_Pass == Pass::Histogram ? SizeValueType{ components } * NumberOfBins : 0, 0);
  std::vector<double>        scale(components, 0.0);
  for (unsigned int c = 0; c < components && m_Pass == Pass::Histogram; ++c)
  {
    const double width = m_Ranges[c].maximum - m_Ranges[c].minimum;
    scale[c] = width > 0.0 ? NumberOfBins / width : 0.0;
  }
  MaskLineRuns           runs;
  std::vector<ValueType> gathered(length);
  SizeValueType          numberInside = 0;

  for (SizeValueType line = 0; line < lines; ++line)
  {
    IndexType     index = region.GetIndex();
    SizeValueType rest = line;
    SizeValueType lineOfPiece = 0;
    SizeValueType stride = 1;
    for (unsigned int d = 1; d < ImageDimension; ++d)
    {
      index[d] += static_cast<IndexValueType>(rest % region.GetSize(d));
      rest /= region.GetSize(d);
      lineOfPiece += static_cast<SizeValueType>(index[d] - m_Piece.GetIndex(d)) * stride;
      stride *= m_Piece.GetSize(d);
    }
    if (mask != nullptr)
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
    else
    {
      runs.TakeAll(length);
    }
    const SizeValueType number = runs.GetNumberOfVoxels();
    numberInside += number;
    if (number == 0)
    {
      continue;
    }
    const ValueType * const voxels = input->GetBufferPointer() + input->ComputeOffset(index) * components;
    for (unsigned int c = 0; c < components; ++c)
    {
      const ValueType * values = voxels;
      if (components > 1 || number < length)
      {
        values = gathered.data();
        ValueType * to = gathered.data();
        for (const auto & run : runs)
        {
          for (SizeValueType x = run.begin; x < run.end; ++x)
          {
            *to++ = voxels[x * components + c];
          }
        }
      }
      if (m_Pass == Pass::Histogram)
      {
        SizeValueType * const bins = histograms.data() + SizeValueType{ c } * NumberOfBins;
        for (SizeValueType k = 0; k < number; ++k)
        {
          const double bin = (static_cast<double>(values[k]) - m_Ranges[c].minimum) * scale[c];
          ++bins[std::min(static_cast<SizeValueType>(bin), SizeValueType{ NumberOfBins - 1 })];
        }
        continue;
      }
      // the first pass must see what is not finite: it does not clip
      const auto clip = [lower = m_Lower[c], upper = m_Upper[c]](double value) {
        return std::min(std::max(value, lower), upper);
      };
      const auto    keep = [](double value) { return value; };
      const LineSum sum = clips ? SumValues(values, number, clip) : SumValues(values, number, keep);
      if (!std::isfinite(sum.sum))
      {
        this->KeepBadValue(voxels, runs, c, index);
      }
      // clipping keeps the order: the range of the clipped values is the clipped range
      const auto lowest = static_cast<double>(sum.minimum);
      const auto highest = static_cast<double>(sum.maximum);
      ranges[c].minimum = std::min(ranges[c].minimum, clips ? clip(lowest) : lowest);
      ranges[c].maximum = std::max(ranges[c].maximum, clips ? clip(highest) : highest);
      if (m_Pass == Pass::Moments)
      {
        Moments & moments = m_Lines[lineOfPiece * components + c];
        moments.count = number;
        moments.mean = sum.sum / static_cast<double>(number);
        moments.squares =
          clips ? SumSquares(values, number, moments.mean, clip) : SumSquares(values, number, moments.mean, keep);
      }
    }
  }

  std::lock_guard<std::mutex> lock(m_Mutex);
  m_NumberInside += numberInside;
  for (SizeValueType k = 0; k < histograms.size(); ++k)
  {
    m_Histograms[k] += histograms[k];
  }
  for (unsigned int c = 0; c < components && m_Pass != Pass::Histogram; ++c)
  {
    m_Ranges[c].minimum = std::min(m_Ranges[c].minimum, ranges[c].minimum);
    m_Ranges[c].maximum = std::max(m_Ranges[c].maximum, ranges[c].maximum);
  }
}

template <typename TInputImage, typename TMaskImage>
void
MaskedIntensityStatisticsFilter<TInputImage, TMaskImage>::Moments::Merge(const Moments & other)
{
  if (other.count == 0)
  {
    return;
  }
  const auto   n = static_cast<double>(count);
  const auto   m = static_cast<double>(other.count);
  const double difference = other.mean - mean;
  count += other.count;
  mean += difference * (m / (n + m));
  squares += other.squares + difference * difference * (n * m / (n + m));
}

template <typename TInputImage, typename TMaskImage>
void
MaskedIntensityStatisticsFilter<TInputImage, TMaskImage>::MergeLines()
{
  // The pieces are slabs in the buffer's order: so come the lines, however many pieces there are.
  const auto components = m_Moments.size();
  for (SizeValueType k = 0; k < m_Lines.size(); ++k)
  {
    m_Moments[k % components].Merge(m_Lines[k]);
  }
  m_Lines.clear();
}

template <typename TInputImage, typename TMaskImage>
double
MaskedIntensityStatisticsFilter<TInputImage, TMaskImage>::Quantile(unsigned int component, double share) const
{
  const SizeValueType * bins = m_Histograms.data() + SizeValueType{ component } * NumberOfBins;
  const Range &         range = m_Ranges[component];
  const double          width = (range.maximum - range.minimum) / NumberOfBins;
  const double          target = share * static_cast<double>(m_NumberInside);
  double                before = 0.0;
  for (unsigned int bin = 0; bin < NumberOfBins; ++bin)
  {
    const auto count = static_cast<double>(bins[bin]);
    if (count > 0.0 && before + count >= target)
    {
      return range.minimum + (bin + (target - before) / count) * width;
    }
    before += count;
  }
  return range.maximum;
}

template <typename TInputImage, typename TMaskImage>
void
MaskedIntensityStatisticsFilter<TInputImage, TMaskImage>::FinishPass()
{
  const auto components = static_cast<unsigned int>(m_Ranges.size());
  if (m_NumberInside == 0 && m_UseMaskLabel)
  {
    itkExceptionMacro("The mask is empty: none of the image's "
                      << this->GetInput()->GetLargestPossibleRegion().GetNumberOfPixels() << " voxels has MaskLabel "
                      << static_cast<typename NumericTraits<MaskPixelType>::PrintType>(m_MaskLabel)
                      << ". Set a label that the mask has, or UseMaskLabelOff().");
  }
  if (m_NumberInside == 0)
  {
    itkExceptionMacro("The mask is empty: none of the image's "
                      << this->GetInput()->GetLargestPossibleRegion().GetNumberOfPixels()
                      << " voxels is inside. Give a mask of the brain.");
  }
  if (m_Pass == Pass::Histogram)
  {
    for (unsigned int c = 0; c < components; ++c)
    {
      m_Lower[c] = m_LowerQuantile > 0.0 ? this->Quantile(c, m_LowerQuantile) : m_Ranges[c].minimum;
      m_Upper[c] = m_UpperQuantile < 1.0 ? this->Quantile(c, m_UpperQuantile) : m_Ranges[c].maximum;
    }
    m_Ranges.assign(components, Range{});
  }
  if (m_Pass == Pass::Moments)
  {
    RealArrayType mean(components);
    RealArrayType deviation(components);
    RealArrayType count(components);
    RealArrayType lower(components);
    RealArrayType upper(components);
    for (unsigned int c = 0; c < components; ++c)
    {
      const Moments & moments = m_Moments[c];
      if (!std::isfinite(moments.squares))
      {
        itkExceptionMacro("The values of component " << c << " reach from " << m_Ranges[c].minimum << " to "
                                                     << m_Ranges[c].maximum
                                                     << ": their squares are no doubles. Rescale the image.");
      }
      const bool constant = m_Ranges[c].minimum == m_Ranges[c].maximum;
      mean[c] = constant ? m_Ranges[c].minimum : moments.mean;
      deviation[c] = constant ? 0.0 : std::sqrt(moments.squares / static_cast<double>(moments.count));
      count[c] = static_cast<double>(moments.count);
      lower[c] = m_Ranges[c].minimum;
      upper[c] = m_Ranges[c].maximum;
    }
    this->SetMean(mean);
    this->SetStandardDeviation(deviation);
    this->SetCount(count);
    this->SetLowerBound(lower);
    this->SetUpperBound(upper);
    m_Lines.shrink_to_fit();
    m_Histograms.clear();
    m_Histograms.shrink_to_fit();
  }
  m_NumberInside = 0;
}

template <typename TInputImage, typename TMaskImage>
void
MaskedIntensityStatisticsFilter<TInputImage, TMaskImage>::PrintSelf(std::ostream & os, Indent indent) const
{
  Superclass::PrintSelf(os, indent);
  os << indent << "UseMaskLabel: " << (m_UseMaskLabel ? "On" : "Off") << std::endl;
  os << indent << "MaskLabel: " << static_cast<typename NumericTraits<MaskPixelType>::PrintType>(m_MaskLabel)
     << std::endl;
  os << indent << "LowerQuantile: " << m_LowerQuantile << std::endl;
  os << indent << "UpperQuantile: " << m_UpperQuantile << std::endl;
  os << indent << "Mean: " << this->GetMean() << std::endl;
  os << indent << "StandardDeviation: " << this->GetStandardDeviation() << std::endl;
  os << indent << "Count: " << this->GetCount() << std::endl;
  os << indent << "LowerBound: " << this->GetLowerBound() << std::endl;
  os << indent << "UpperBound: " << this->GetUpperBound() << std::endl;
}
} // namespace itk

#endif // itkMaskedIntensityStatisticsFilter_hxx
