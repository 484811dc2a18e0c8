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
  this->SetCoordinateTolerance(1e-3);
  this->SetDirectionTolerance(1e-3);
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
  const RegionType    region = input->GetLargestPossibleRegion();
  m_HasBadValue = false;
  m_NumberInside = 0;
  m_Ranges.assign(components, Range{});
  m_Lower.assign(components, NumericTraits<double>::NonpositiveMin());
  m_Upper.assign(components, NumericTraits<double>::max());
  m_Histograms.assign(this->IsClipping() ? SizeValueType{ components } * NumberOfBins : 0, 0);
  m_Lines.assign(region.GetNumberOfPixels() / std::max<SizeValueType>(1, region.GetSize(0)) * components, Moments{});
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
  this->GetMultiThreader()->SetNumberOfWorkUnits(this->GetNumberOfWorkUnits());
  this->GetMultiThreader()->template ParallelizeImageRegionRestrictDirection<ImageDimension>(
    0, m_Piece, [this](const RegionType & region) { this->ThreadedStreamedGenerateData(region); }, nullptr);
  // Here and not in AfterStreamedGenerateData: an exception there leaves a sink that never runs again.
  if (number % pieces == pieces - 1)
  {
    this->FinishPass();
  }
}

template <typename TInputImage, typename TMaskImage>
void
MaskedIntensityStatisticsFilter<TInputImage, TMaskImage>::ThreadedStreamedGenerateData(const RegionType & region)
{
  using ValueType = typename TInputImage::InternalPixelType;
  static_assert(std::is_arithmetic<ValueType>::value, "The image is scalar or an itk::VectorImage.");
  const TInputImage * input = this->GetInput();
  const TMaskImage *  mask = this->GetMaskImage();
  const unsigned int  components = input->GetNumberOfComponentsPerPixel();
  const RegionType    whole = input->GetLargestPossibleRegion();
  const SizeValueType length = region.GetSize(0);
  const SizeValueType lines = length == 0 ? 0 : region.GetNumberOfPixels() / length;

  std::vector<Range>         ranges(components);
  std::vector<SizeValueType> histograms(m_Pass == Pass::Histogram ? SizeValueType{ components } * NumberOfBins : 0, 0);
  std::vector<double>        scale(components, 0.0);
  for (unsigned int c = 0; c < components && m_Pass == Pass::Histogram; ++c)
  {
    const double width = m_Ranges[c].maximum - m_Ranges[c].minimum;
    scale[c] = width > 0.0 ? NumberOfBins / width : 0.0;
  }
  std::vector<SizeValueType> inside;
  SizeValueType              numberInside = 0;

  for (SizeValueType line = 0; line < lines; ++line)
  {
    IndexType     index = region.GetIndex();
    SizeValueType rest = line;
    SizeValueType lineOfWhole = 0;
    SizeValueType stride = 1;
    for (unsigned int d = 1; d < ImageDimension; ++d)
    {
      index[d] += static_cast<IndexValueType>(rest % region.GetSize(d));
      rest /= region.GetSize(d);
      lineOfWhole += static_cast<SizeValueType>(index[d] - whole.GetIndex(d)) * stride;
      stride *= whole.GetSize(d);
    }
    const ValueType * values = input->GetBufferPointer() + input->ComputeOffset(index) * components;
    inside.clear();
    if (mask != nullptr)
    {
      const auto * in = mask->GetBufferPointer() + mask->ComputeOffset(index);
      for (SizeValueType x = 0; x < length; ++x)
      {
        if (in[x] != typename TMaskImage::PixelType{})
        {
          inside.push_back(x);
        }
      }
    }
    else
    {
      for (SizeValueType x = 0; x < length; ++x)
      {
        inside.push_back(x);
      }
    }
    numberInside += inside.size();
    if (inside.empty())
    {
      continue;
    }
    for (unsigned int c = 0; c < components; ++c)
    {
      if (m_Pass == Pass::Histogram)
      {
        SizeValueType * bins = histograms.data() + SizeValueType{ c } * NumberOfBins;
        for (const SizeValueType x : inside)
        {
          const double bin = (static_cast<double>(values[x * components + c]) - m_Ranges[c].minimum) * scale[c];
          ++bins[std::min(static_cast<SizeValueType>(bin), SizeValueType{ NumberOfBins - 1 })];
        }
        continue;
      }
      double sum = 0.0;
      for (const SizeValueType x : inside)
      {
        const auto value = static_cast<double>(values[x * components + c]);
        if (!std::isfinite(value))
        {
          const SizeValueType         offset = (lineOfWhole * whole.GetSize(0) + x) * components + c;
          std::lock_guard<std::mutex> lock(m_Mutex);
          if (!m_HasBadValue || offset < m_BadOffset)
          {
            m_HasBadValue = true;
            m_BadOffset = offset;
            m_BadIndex = index;
            m_BadIndex[0] += static_cast<IndexValueType>(x);
            m_BadComponent = c;
            m_BadValue = value;
          }
          break;
        }
        const double clipped = std::min(std::max(value, m_Lower[c]), m_Upper[c]);
        ranges[c].minimum = std::min(ranges[c].minimum, clipped);
        ranges[c].maximum = std::max(ranges[c].maximum, clipped);
        sum += clipped;
      }
      if (m_Pass == Pass::Moments)
      {
        Moments & moments = m_Lines[lineOfWhole * components + c];
        moments.count = inside.size();
        moments.mean = sum / static_cast<double>(inside.size());
        moments.squares = 0.0;
        for (const SizeValueType x : inside)
        {
          const auto   value = static_cast<double>(values[x * components + c]);
          const double difference = std::min(std::max(value, m_Lower[c]), m_Upper[c]) - moments.mean;
          moments.squares += difference * difference;
        }
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
  // Chan, Golub and LeVeque 1979
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
  if (m_HasBadValue)
  {
    itkExceptionMacro("The image is " << m_BadValue << " in component " << m_BadComponent << " at index " << m_BadIndex
                                      << (this->GetMaskImage() ? ", inside the mask" : "")
                                      << ". Replace what is not finite, or leave it out of the mask.");
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
      Moments moments;
      for (SizeValueType k = c; k < m_Lines.size(); k += components)
      {
        moments.Merge(m_Lines[k]);
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
    m_Lines.clear();
    m_Histograms.clear();
  }
  m_NumberInside = 0;
}

template <typename TInputImage, typename TMaskImage>
void
MaskedIntensityStatisticsFilter<TInputImage, TMaskImage>::PrintSelf(std::ostream & os, Indent indent) const
{
  Superclass::PrintSelf(os, indent);
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
