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
#ifndef itkTumourReplacementFilter_hxx
#define itkTumourReplacementFilter_hxx

#include "itkTumourReplacementFilter.h"
#include "itkAxisAlignedLinearSampler.h"
#include "itkGridDifference.h"
#include "itkImageAlgorithm.h"
#include "itkMath.h"
#include "itkSignedMaurerDistanceMapImageFilter.h"
#include "itkUpstreamModifiedTime.h"

#include <algorithm>
#include <cmath>

namespace itk
{
template <typename TInputImage, typename TMaskImage>
TumourReplacementFilter<TInputImage, TMaskImage>::TumourReplacementFilter()
{
  this->AddRequiredInputName("TumourMaskImage", 1);
  this->AddRequiredInputName("BrainMaskImage", 2);
  this->SetCoordinateTolerance(std::max(1e-3, this->GetCoordinateTolerance()));
  this->SetDirectionTolerance(std::max(1e-3, this->GetDirectionTolerance()));
  this->DynamicMultiThreadingOn();
}

template <typename TInputImage, typename TMaskImage>
void
TumourReplacementFilter<TInputImage, TMaskImage>::VerifyPreconditions() const
{
  Superclass::VerifyPreconditions();
  if (!(m_Reach >= 0.0 && m_Reach <= 50.0))
  {
    itkExceptionMacro("Reach is " << m_Reach << " mm; set a number from 0 to 50.");
  }
  if (!(m_Softness > 0.0 && m_Softness <= 50.0))
  {
    itkExceptionMacro("Softness is " << m_Softness << " mm; set a number above 0 and up to 50.");
  }
}

template <typename TInputImage, typename TMaskImage>
void
TumourReplacementFilter<TInputImage, TMaskImage>::VerifyInputInformation() const
{
  const auto verify = [this](const MaskImageType * mask, const char * name) {
    const std::string what =
      GridDifference<3>(this->GetInput(), mask).Describe(this->GetCoordinateTolerance(), this->GetDirectionTolerance());
    if (!what.empty())
    {
      itkExceptionMacro("The grid of the " << name << " mask differs from the image's in " << what
                                           << " (the image's first); resample the mask to its grid.");
    }
  };
  verify(this->GetTumourMaskImage(), "tumour");
  verify(this->GetBrainMaskImage(), "brain");
}

template <typename TInputImage, typename TMaskImage>
void
TumourReplacementFilter<TInputImage, TMaskImage>::GenerateOutputInformation()
{
  Superclass::GenerateOutputInformation();
  this->GetOutput()->SetMetaDataDictionary(this->GetInput()->GetMetaDataDictionary());
}

template <typename TInputImage, typename TMaskImage>
void
TumourReplacementFilter<TInputImage, TMaskImage>::GenerateInputRequestedRegion()
{
  Superclass::GenerateInputRequestedRegion();
  for (const auto & name : this->GetInputNames())
  {
    DataObject * const input = this->ProcessObject::GetInput(name);
    if (input)
    {
      input->SetRequestedRegionToLargestPossibleRegion();
    }
  }
}

template <typename TInputImage, typename TMaskImage>
bool
TumourReplacementFilter<TInputImage, TMaskImage>::IsNear(const IndexType & at) const
{
  return m_Weights->GetBufferedRegion().IsInside(at) && m_Weights->GetPixel(at) > 0.0F;
}

template <typename TInputImage, typename TMaskImage>
bool
TumourReplacementFilter<TInputImage, TMaskImage>::IsHealthy(const IndexType & at) const
{
  const MaskImageType * const brain = this->GetBrainMaskImage();
  return brain->GetLargestPossibleRegion().IsInside(at) && brain->GetPixel(at) != MaskPixelType{} && !this->IsNear(at);
}

template <typename TInputImage, typename TMaskImage>
void
TumourReplacementFilter<TInputImage, TMaskImage>::FindWeights()
{
  const MaskImageType * const tumour = this->GetTumourMaskImage();
  const MaskImageType * const brain = this->GetBrainMaskImage();
  const RegionType            whole = tumour->GetLargestPossibleRegion();
  IndexType                   lower = whole.GetUpperIndex();
  IndexType                   upper = whole.GetIndex();
  SizeValueType               inside = 0;
  SizeValueType               insideBrain = 0;
  const SizeValueType         width = whole.GetSize(0);
  const MaskPixelType *       voxel = tumour->GetBufferPointer();
  const MaskPixelType *       brainVoxel = brain->GetBufferPointer();
  for (IndexType at = whole.GetIndex(); at[2] <= whole.GetUpperIndex()[2]; ++at[2])
  {
    for (at[1] = whole.GetIndex(1); at[1] <= whole.GetUpperIndex()[1]; ++at[1])
    {
      at[0] = whole.GetIndex(0);
      for (SizeValueType i = 0; i < width; ++i, ++voxel, ++brainVoxel, ++at[0])
      {
        if (*voxel == MaskPixelType{})
        {
          continue;
        }
        ++inside;
        insideBrain += *brainVoxel != MaskPixelType{} ? 1 : 0;
        for (unsigned int d = 0; d < 3; ++d)
        {
          lower[d] = std::min(lower[d], at[d]);
          upper[d] = std::max(upper[d], at[d]);
        }
      }
    }
  }
  if (inside == 0)
  {
    itkExceptionMacro("The tumour mask is empty: there is nothing to replace.");
  }
  if (insideBrain == 0)
  {
    itkExceptionMacro("None of the " << inside << " voxels of the tumour mask lies in the brain mask"
                                     << ": does it belong to this image?");
  }

  // As far as a weight can be above 0.
  RegionType box;
  for (unsigned int d = 0; d < 3; ++d)
  {
    const auto pad = static_cast<IndexValueType>(std::ceil((m_Reach + m_Softness) / this->GetInput()->GetSpacing()[d]));
    box.SetIndex(d, lower[d] - pad);
    box.SetSize(d, static_cast<SizeValueType>(upper[d] - lower[d] + 1 + 2 * pad));
  }
  box.Crop(whole);
  // A copy, so that nothing runs upstream.
  auto part = MaskImageType::New();
  part->CopyInformation(tumour);
  part->SetRegions(box);
  part->Allocate();
  ImageAlgorithm::Copy(tumour, part.GetPointer(), box, box);
  MaskPixelType * const first = part->GetBufferPointer();
  std::transform(first, first + box.GetNumberOfPixels(), first, [](MaskPixelType value) {
    return static_cast<MaskPixelType>(value != MaskPixelType{} ? 1 : 0);
  });

  using DistanceType = SignedMaurerDistanceMapImageFilter<MaskImageType, WeightImageType>;
  auto distance = DistanceType::New();
  distance->SetInput(part);
  distance->SetSquaredDistance(false);
  distance->SetUseImageSpacing(true);
  distance->SetNumberOfWorkUnits(this->GetNumberOfWorkUnits());
  distance->Update();
  m_Weights = distance->GetOutput();
  m_Weights->DisconnectPipeline();
  float * weight = m_Weights->GetBufferPointer();
  std::transform(weight, weight + box.GetNumberOfPixels(), weight, [this](float mm) {
    const double beyond = (mm - m_Reach) / m_Softness;
    return static_cast<float>(beyond <= 0.0 ? 1.0 : beyond >= 1.0 ? 0.0 : 0.5 + 0.5 * std::cos(Math::pi * beyond));
  });
}

template <typename TInputImage, typename TMaskImage>
double
TumourReplacementFilter<TInputImage, TMaskImage>::LikenessOf(const Mirror &                 mirror,
                                                             const std::vector<IndexType> & points) const
{
  const TInputImage * const image = this->GetInput();
  const SizeValueType       components = image->GetNumberOfComponentsPerPixel();
  double                    n = 0.0;
  double                    x = 0.0;
  double                    y = 0.0;
  double                    xx = 0.0;
  double                    yy = 0.0;
  double                    xy = 0.0;
  for (const IndexType & at : points)
  {
    const IndexType other = mirror.Of(at);
    if (this->IsHealthy(other))
    {
      const double here = image->GetBufferPointer()[image->ComputeOffset(at) * components];
      const double there = image->GetBufferPointer()[image->ComputeOffset(other) * components];
      n += 1.0;
      x += here;
      y += there;
      xx += here * here;
      yy += there * there;
      xy += here * there;
    }
  }
  const double variance = (xx - x * x / n) * (yy - y * y / n);
  if (!(n > 0.0 && variance > 0.0))
  {
    return -1.0;
  }
  const double correlation = (xy - x * y / n) / std::sqrt(variance);
  // A mirror that takes the brain off itself is none.
  return std::max(0.0, correlation) * (n / static_cast<double>(points.size())) + std::min(0.0, correlation);
}

template <typename TInputImage, typename TMaskImage>
void
TumourReplacementFilter<TInputImage, TMaskImage>::FindMirror()
{
  const TInputImage * const   image = this->GetInput();
  const MaskImageType * const brain = this->GetBrainMaskImage();
  const RegionType            whole = brain->GetLargestPossibleRegion();
  const auto                  direction = image->GetDirection();
  m_Mirror = Mirror();
  for (unsigned int d = 1; d < 3; ++d)
  {
    m_Mirror.Axis = std::abs(direction[0][d]) > std::abs(direction[0][m_Mirror.Axis]) ? d : m_Mirror.Axis;
  }
  // Every third millimetre is enough to compare the halves.
  std::array<IndexValueType, 3> stride;
  for (unsigned int d = 0; d < 3; ++d)
  {
    stride[d] = std::max<IndexValueType>(1, std::lround(3.0 / image->GetSpacing()[d]));
  }
  std::vector<IndexType> points;
  SizeValueType          count = 0;
  for (IndexType at = whole.GetIndex(); at[2] <= whole.GetUpperIndex()[2]; at[2] += stride[2])
  {
    for (at[1] = whole.GetIndex(1); at[1] <= whole.GetUpperIndex()[1]; at[1] += stride[1])
    {
      for (at[0] = whole.GetIndex(0); at[0] <= whole.GetUpperIndex()[0]; at[0] += stride[0])
      {
        if (brain->GetPixel(at) == MaskPixelType{})
        {
          continue;
        }
        ++count;
        for (unsigned int d = 0; d < 3; ++d)
        {
          m_Mirror.Middle[d] += static_cast<double>(at[d]);
        }
        if (this->IsHealthy(at))
        {
          points.push_back(at);
        }
      }
    }
  }
  for (double & each : m_Mirror.Middle)
  {
    each /= static_cast<double>(std::max<SizeValueType>(count, 1));
  }
  m_Mirror.Sum = 2.0 * m_Mirror.Middle[m_Mirror.Axis];

  this->GetMultiThreader()->SetNumberOfWorkUnits(this->GetNumberOfWorkUnits());
  const double voxel = image->GetSpacing()[m_Mirror.Axis];
  double       best = this->LikenessOf(m_Mirror, points);
  // Moved by up to 10 mm, then turned by up to 6 degrees about each other axis, twice, each time more finely.
  double width = 20.0 / voxel;
  double tilt = 0.2;
  for (unsigned int round = 0; round < 2; ++round)
  {
    // Each place is looked at by itself, so that the threads do not change what is found.
    const auto search = [&](double & value, double range) {
      constexpr SizeValueType    number = 21;
      const Mirror               before = m_Mirror;
      const double               middle = value;
      std::array<Mirror, number> mirrors;
      std::array<double, number> likeness;
      for (SizeValueType i = 0; i < number; ++i)
      {
        value = middle + range * (static_cast<double>(i) - 10.0) / 10.0;
        mirrors[i] = m_Mirror;
      }
      this->GetMultiThreader()->ParallelizeArray(
        0, number, [&](SizeValueType i) { likeness[i] = this->LikenessOf(mirrors[i], points); }, nullptr);
      m_Mirror = before;
      for (SizeValueType i = 0; i < number; ++i)
      {
        if (likeness[i] > best)
        {
          best = likeness[i];
          m_Mirror = mirrors[i];
        }
      }
    };
    search(m_Mirror.Sum, width);
    for (unsigned int d = 0; d < 3; ++d)
    {
      if (d != m_Mirror.Axis)
      {
        search(m_Mirror.Slope[d], tilt * image->GetSpacing()[d] / voxel);
      }
    }
    width /= 5.0;
    tilt /= 5.0;
  }
}

template <typename TInputImage, typename TMaskImage>
void
TumourReplacementFilter<TInputImage, TMaskImage>::FindMeans()
{
  const TInputImage * const   image = this->GetInput();
  const MaskImageType * const tumour = this->GetTumourMaskImage();
  const RegionType            whole = image->GetLargestPossibleRegion();
  const SizeValueType         components = image->GetNumberOfComponentsPerPixel();
  SizeValueType               healthy = 0;
  SizeValueType               all = 0;
  SizeValueType               filled = 0;
  double                      sum = 0.0;
  m_Means.assign(components, 0.0);
  const auto *          values = image->GetBufferPointer();
  const MaskPixelType * brain = this->GetBrainMaskImage()->GetBufferPointer();
  const MaskPixelType * inside = tumour->GetBufferPointer();
  for (IndexType at = whole.GetIndex(); at[2] <= whole.GetUpperIndex()[2]; ++at[2])
  {
    for (at[1] = whole.GetIndex(1); at[1] <= whole.GetUpperIndex()[1]; ++at[1])
    {
      at[0] = whole.GetIndex(0);
      for (; at[0] <= whole.GetUpperIndex()[0]; ++at[0], ++brain, ++inside, values += components)
      {
        if (*brain == MaskPixelType{})
        {
          continue;
        }
        for (SizeValueType c = 0; c < components; ++c)
        {
          sum += static_cast<double>(values[c]);
        }
        if (*inside != MaskPixelType{})
        {
          ++all;
          filled += this->IsHealthy(m_Mirror.Of(at)) ? 0 : 1;
        }
        if (!this->IsNear(at))
        {
          ++healthy;
          for (SizeValueType c = 0; c < components; ++c)
          {
            m_Means[c] += static_cast<double>(values[c]);
          }
        }
      }
    }
  }
  if (!std::isfinite(sum))
  {
    itkExceptionMacro("The image has values in the brain that are not finite; repair or mask them first.");
  }
  for (double & mean : m_Means)
  {
    mean /= static_cast<double>(std::max<SizeValueType>(healthy, 1));
  }
  m_FilledShare = static_cast<double>(filled) / static_cast<double>(all);
}

template <typename TInputImage, typename TMaskImage>
void
TumourReplacementFilter<TInputImage, TMaskImage>::BeforeThreadedGenerateData()
{
  const auto timeOfInputs = [this] {
    return std::max({ UpstreamModifiedTime::Of(this->GetInput()),
                      UpstreamModifiedTime::Of(this->GetTumourMaskImage()),
                      UpstreamModifiedTime::Of(this->GetBrainMaskImage()),
                      this->GetMTime() });
  };
  if (m_Time == timeOfInputs())
  {
    return;
  }
  const auto verify = [this](const auto * image, const char * name) {
    const RegionType whole = image->GetLargestPossibleRegion();
    if (image->GetBufferedRegion() != whole)
    {
      itkExceptionMacro("The " << name << " holds only " << image->GetBufferedRegion().GetSize() << " of its "
                               << whole.GetSize() << " voxels; give all of it.");
    }
  };
  verify(this->GetInput(), "image");
  verify(this->GetTumourMaskImage(), "tumour mask");
  verify(this->GetBrainMaskImage(), "brain mask");
  m_Time = 0; // until all is known
  this->FindWeights();
  this->FindMirror();
  this->FindMeans();
  m_Time = timeOfInputs();
}

template <typename TInputImage, typename TMaskImage>
void
TumourReplacementFilter<TInputImage, TMaskImage>::DynamicThreadedGenerateData(const RegionType & region)
{
  using ValueType = typename TInputImage::InternalPixelType;
  const TInputImage * const input = this->GetInput();
  TInputImage * const       output = this->GetOutput();
  const SizeValueType       components = input->GetNumberOfComponentsPerPixel();
  ImageAlgorithm::Copy(input, output, region, region);
  RegionType changed = region;
  if (!changed.Crop(m_Weights->GetBufferedRegion()))
  {
    return;
  }
  const MaskImageType * const brain = this->GetBrainMaskImage();
  for (IndexType at = changed.GetIndex(); at[2] <= changed.GetUpperIndex()[2]; ++at[2])
  {
    for (at[1] = changed.GetIndex(1); at[1] <= changed.GetUpperIndex()[1]; ++at[1])
    {
      for (at[0] = changed.GetIndex(0); at[0] <= changed.GetUpperIndex()[0]; ++at[0])
      {
        const float weight = m_Weights->GetPixel(at);
        if (!(weight > 0.0F) || brain->GetPixel(at) == MaskPixelType{})
        {
          continue;
        }
        const IndexType   other = m_Mirror.Of(at);
        const bool        isThere = this->IsHealthy(other);
        const ValueType * tissue =
          isThere ? input->GetBufferPointer() + input->ComputeOffset(other) * components : nullptr;
        ValueType * value = output->GetBufferPointer() + output->ComputeOffset(at) * components;
        for (SizeValueType c = 0; c < components; ++c, ++value)
        {
          const double healthy = isThere ? static_cast<double>(tissue[c]) : m_Means[c];
          *value = AxisAlignedLinearSampler::ToPixel<ValueType>(*value + weight * (healthy - *value));
        }
      }
    }
  }
}

template <typename TInputImage, typename TMaskImage>
void
TumourReplacementFilter<TInputImage, TMaskImage>::PrintSelf(std::ostream & os, Indent indent) const
{
  Superclass::PrintSelf(os, indent);
  os << indent << "Reach: " << m_Reach << " mm" << std::endl;
  os << indent << "Softness: " << m_Softness << " mm" << std::endl;
  os << indent << "FilledShare: " << m_FilledShare << std::endl;
  os << indent << "Time: " << m_Time << std::endl;
  itkPrintSelfObjectMacro(Weights);
  os << indent << "Mirror: axis " << m_Mirror.Axis << ", sum " << m_Mirror.Sum << ", slope " << m_Mirror.Slope[0] << ' '
     << m_Mirror.Slope[1] << ' ' << m_Mirror.Slope[2] << std::endl;
  os << indent << "Means:";
  for (const double mean : m_Means)
  {
    os << ' ' << mean;
  }
  os << std::endl;
}
} // namespace itk

#endif // itkTumourReplacementFilter_hxx
