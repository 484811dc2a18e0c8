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
#ifndef itkRigidResampleImageFilter_hxx
#define itkRigidResampleImageFilter_hxx

#include "itkAxisAlignedLinearSampler.h"
#include "itkDiscreteGaussianImageFilter.h"
#include "itkImageRegionConstIterator.h"
#include "itkImageRegionIterator.h"
#include "itkImageRegionIteratorWithIndex.h"
#include "itkLinearInterpolateImageFunction.h"
#include "itkMultiThreaderBase.h"
#include "itkRequestGeometry.h"

#include <algorithm>
#include <cmath>

namespace itk
{
template <typename TInputImage, typename TOutputImage>
RigidResampleImageFilter<TInputImage, TOutputImage>::RigidResampleImageFilter()
{
  this->AddRequiredInputName("ReferenceImage");
}

template <typename TInputImage, typename TOutputImage>
ModifiedTimeType
RigidResampleImageFilter<TInputImage, TOutputImage>::GetMTime() const
{
  const ModifiedTimeType time = Superclass::GetMTime();
  return m_Transform ? std::max(time, m_Transform->GetMTime()) : time;
}

template <typename TInputImage, typename TOutputImage>
void
RigidResampleImageFilter<TInputImage, TOutputImage>::VerifyPreconditions() const
{
  Superclass::VerifyPreconditions();
  if (m_Transform && !m_Transform->IsLinear())
  {
    itkExceptionMacro("The transform " << m_Transform->GetNameOfClass() << " is not linear; give a rigid one.");
  }
}

template <typename TInputImage, typename TOutputImage>
void
RigidResampleImageFilter<TInputImage, TOutputImage>::VerifyInputInformation() const
{
  // The grids differ on purpose.
}

template <typename TInputImage, typename TOutputImage>
void
RigidResampleImageFilter<TInputImage, TOutputImage>::GenerateOutputInformation()
{
  const ReferenceImageType * reference = this->GetReferenceImage();
  OutputImageType *          output = this->GetOutput();
  output->CopyInformation(reference);
  output->SetLargestPossibleRegion(reference->GetLargestPossibleRegion());
  output->SetNumberOfComponentsPerPixel(1);
  output->SetMetaDataDictionary(this->GetInput()->GetMetaDataDictionary());
}

template <typename TInputImage, typename TOutputImage>
void
RigidResampleImageFilter<TInputImage, TOutputImage>::GenerateInputRequestedRegion()
{
  RequestGeometry(this->GetReferenceImage());
  auto * input = const_cast<InputImageType *>(this->GetInput());
  if (input)
  {
    input->SetRequestedRegionToLargestPossibleRegion();
  }
}

template <typename TInputImage, typename TOutputImage>
void
RigidResampleImageFilter<TInputImage, TOutputImage>::EnlargeOutputRequestedRegion(DataObject * output)
{
  Superclass::EnlargeOutputRequestedRegion(output);
  output->SetRequestedRegionToLargestPossibleRegion();
}

template <typename TInputImage, typename TOutputImage>
void
RigidResampleImageFilter<TInputImage, TOutputImage>::Smooth(RealImageType * image) const
{
  const ReferenceImageType * reference = this->GetReferenceImage();
  Point<double, 3>           start;
  start.Fill(0.0);
  const auto map = [this](const Point<double, 3> & point) {
    return m_Transform ? m_Transform->TransformPoint(point) : point;
  };
  const double                        fwhmOfSigma = 2.0 * std::sqrt(2.0 * std::log(2.0));
  typename RealImageType::SpacingType variance;
  bool                                isNeeded = false;
  for (unsigned int d = 0; d < ImageDimension; ++d)
  {
    // How far apart the output's voxels are along the input's axis.
    double to = 0.0;
    for (unsigned int c = 0; c < ImageDimension; ++c)
    {
      Point<double, 3> end = start;
      for (unsigned int r = 0; r < ImageDimension; ++r)
      {
        end[r] += reference->GetDirection()[r][c] * reference->GetSpacing()[c];
      }
      const Vector<double, 3> step = map(end) - map(start);
      double                  along = 0.0;
      for (unsigned int r = 0; r < ImageDimension; ++r)
      {
        along += step[r] * image->GetDirection()[r][d];
      }
      to += along * along;
    }
    const double from = image->GetSpacing()[d];
    // In voxels; what hardly differs is left alone.
    variance[d] = to > 1.02 * from * from ? (to / (from * from) - 1.0) / (fwhmOfSigma * fwhmOfSigma) : 0.0;
    isNeeded = isNeeded || variance[d] > 0.0;
  }
  if (!isNeeded)
  {
    return;
  }
  using GaussianType = DiscreteGaussianImageFilter<RealImageType, RealImageType>;
  auto gaussian = GaussianType::New();
  gaussian->SetInput(image);
  typename GaussianType::ArrayType variances;
  for (unsigned int d = 0; d < ImageDimension; ++d)
  {
    variances[d] = variance[d];
  }
  gaussian->SetVariance(variances);
  gaussian->SetUseImageSpacing(false);
  gaussian->SetMaximumError(1e-3);
  gaussian->SetNumberOfWorkUnits(this->GetNumberOfWorkUnits());
  gaussian->Update();
  const RealImageType * smooth = gaussian->GetOutput();
  std::copy(smooth->GetBufferPointer(),
            smooth->GetBufferPointer() + smooth->GetBufferedRegion().GetNumberOfPixels(),
            image->GetBufferPointer());
}

template <typename TInputImage, typename TOutputImage>
void
RigidResampleImageFilter<TInputImage, TOutputImage>::GenerateData()
{
  this->UpdateProgress(0.0f);
  const InputImageType * input = this->GetInput();
  const auto             region = input->GetLargestPossibleRegion();
  const auto             copy = [&](bool isInside) {
    auto image = RealImageType::New();
    image->CopyInformation(input);
    image->SetRegions(region);
    image->Allocate();
    ImageRegionConstIterator<InputImageType> from(input, region);
    ImageRegionIterator<RealImageType>       to(image, region);
    for (; !from.IsAtEnd(); ++from, ++to)
    {
      const auto value = static_cast<float>(from.Get());
      to.Set(isInside ? (value != 0.0f ? 1.0f : 0.0f) : value);
    }
    this->Smooth(image);
    return image;
  };
  const typename RealImageType::Pointer values = copy(false);
  const typename RealImageType::Pointer inside = m_IgnoreZeros ? copy(true) : nullptr;
  this->UpdateProgress(0.5f);
  if (this->GetAbortGenerateData())
  {
    throw ProcessAborted(__FILE__, __LINE__);
  }

  using InterpolatorType = LinearInterpolateImageFunction<RealImageType, double>;
  const auto ofValues = InterpolatorType::New();
  const auto ofInside = InterpolatorType::New();
  ofValues->SetInputImage(values);
  if (inside)
  {
    ofInside->SetInputImage(inside);
  }

  this->AllocateOutputs();
  OutputImageType * output = this->GetOutput();
  using PixelType = typename OutputImageType::PixelType;
  const auto resample = [&](const ImageRegion<3> & piece) {
    ImageRegionIteratorWithIndex<OutputImageType> voxel(output, piece);
    for (; !voxel.IsAtEnd(); ++voxel)
    {
      Point<double, 3> point;
      output->TransformIndexToPhysicalPoint(voxel.GetIndex(), point);
      if (m_Transform)
      {
        point = m_Transform->TransformPoint(point);
      }
      const auto index = values->template TransformPhysicalPointToContinuousIndex<double>(point);
      double     value = 0.0;
      if (ofValues->IsInsideBuffer(index))
      {
        value = ofValues->EvaluateAtContinuousIndex(index);
        if (inside)
        {
          const double share = ofInside->EvaluateAtContinuousIndex(index);
          value = share >= 0.5 ? value / share : 0.0;
        }
      }
      voxel.Set(AxisAlignedLinearSampler::ToPixel<PixelType>(value));
    }
  };
  this->GetMultiThreader()->SetNumberOfWorkUnits(this->GetNumberOfWorkUnits());
  this->GetMultiThreader()->template ParallelizeImageRegion<3>(output->GetRequestedRegion(), resample, nullptr);
  this->UpdateProgress(1.0f);
}

template <typename TInputImage, typename TOutputImage>
void
RigidResampleImageFilter<TInputImage, TOutputImage>::PrintSelf(std::ostream & os, Indent indent) const
{
  Superclass::PrintSelf(os, indent);
  itkPrintSelfObjectMacro(Transform);
  os << indent << "IgnoreZeros: " << (m_IgnoreZeros ? "On" : "Off") << std::endl;
}
} // namespace itk

#endif // itkRigidResampleImageFilter_hxx
