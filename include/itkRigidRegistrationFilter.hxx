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
#ifndef itkRigidRegistrationFilter_hxx
#define itkRigidRegistrationFilter_hxx

#include "itkBinShrinkImageFilter.h"
#include "itkCommand.h"
#include "itkGridDifference.h"
#include "itkImageRegionConstIteratorWithIndex.h"
#include "itkImageRegionIterator.h"
#include "itkImageRegionIteratorWithIndex.h"
#include "itkImageRegistrationMethodv4.h"
#include "itkMattesMutualInformationImageToImageMetricv4.h"
#include "itkMersenneTwisterRandomVariateGenerator.h"
#include "itkRegistrationParameterScalesFromPhysicalShift.h"
#include "itkRegularStepGradientDescentOptimizerv4.h"
#include "itkRequestGeometry.h"
#include "itkRigidResampleImageFilter.h"
#include "itkSignedMaurerDistanceMapImageFilter.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

namespace itk
{
/** What is registered: both images cropped to what is in them, on voxels of about 1 mm, and the samples. */
template <typename TInputImage, typename TMaskImage>
struct RigidRegistrationFilter<TInputImage, TMaskImage>::Problem
{
  using MetricType = MattesMutualInformationImageToImageMetricv4<RealImageType, RealImageType>;

  // The metric in one work unit: several add up in the order in which they end. The setters of ITK 5.2 choose the
  // number of threads alone.
  class SerialMetricType : public MetricType
  {
  public:
    using Pointer = SmartPointer<SerialMetricType>;
    using Self = SerialMetricType;
    itkFactorylessNewMacro(Self);

  protected:
    SerialMetricType()
    {
      this->m_SparseGetValueAndDerivativeThreader->SetNumberOfWorkUnits(1);
      this->m_DenseGetValueAndDerivativeThreader->SetNumberOfWorkUnits(1);
    }
  };
  using SamplesType = typename MetricType::VirtualPointSetType;

  typename RealImageType::Pointer Fixed;
  typename RealImageType::Pointer Moving;
  typename SamplesType::Pointer   Samples;
  std::vector<PointType>          BrainPoints; // of the reference
  PointType                       FixedCentroid;
  PointType                       MovingCentroid;

  typename MetricType::Pointer
  MakeMetric(unsigned int bins) const
  {
    typename MetricType::Pointer metric = SerialMetricType::New().GetPointer();
    metric->SetNumberOfHistogramBins(bins);
    metric->SetVirtualSampledPointSet(Samples);
    metric->SetUseSampledPointSet(true);
    metric->SetUseVirtualSampledPointSet(true);
    metric->SetUseFixedImageGradientFilter(false);
    metric->SetUseMovingImageGradientFilter(false);
    return metric;
  }
};

template <typename TInputImage, typename TMaskImage>
RigidRegistrationFilter<TInputImage, TMaskImage>::RigidRegistrationFilter()
{
  this->AddRequiredInputName("ReferenceImage");
  this->AddOptionalInputName("ReferenceMaskImage");
  this->AddOptionalInputName("OutputGrid");
  this->SetCoordinateTolerance(std::max(1e-3, this->GetCoordinateTolerance()));
  this->SetDirectionTolerance(std::max(1e-3, this->GetDirectionTolerance()));
}

template <typename TInputImage, typename TMaskImage>
void
RigidRegistrationFilter<TInputImage, TMaskImage>::VerifyInputInformation() const
{
  // The grids of the two images differ on purpose; that of the mask does not.
  const InputImageType * reference = this->GetReferenceImage();
  const MaskImageType *  mask = this->GetReferenceMaskImage();
  for (const InputImageType * const image : { reference, this->GetInput() })
  {
    constexpr SizeValueType smallest = 8;
    for (unsigned int d = 0; d < ImageDimension; ++d)
    {
      if (image->GetLargestPossibleRegion().GetSize(d) < smallest)
      {
        itkExceptionMacro("The " << (image == reference ? "reference" : "input") << " image has a size of "
                                 << image->GetLargestPossibleRegion().GetSize()
                                 << " voxels; a registration needs at least " << smallest << " along each axis.");
      }
    }
  }
  if (mask)
  {
    const std::string what = GridDifference<ImageDimension>(reference, mask)
                               .Describe(this->GetCoordinateTolerance(), this->GetDirectionTolerance());
    if (!what.empty())
    {
      itkExceptionMacro("The mask is not on the grid of the reference image. The image and its mask differ in "
                        << what << ". Give a mask on the reference's grid, or raise the tolerance.");
    }
  }
}

template <typename TInputImage, typename TMaskImage>
void
RigidRegistrationFilter<TInputImage, TMaskImage>::GenerateOutputInformation()
{
  const GridType *  given = this->GetOutputGrid();
  const GridType *  grid = given ? given : this->GetReferenceImage();
  OutputImageType * output = this->GetOutput();
  output->CopyInformation(grid);
  output->SetLargestPossibleRegion(grid->GetLargestPossibleRegion());
  output->SetMetaDataDictionary(this->GetInput()->GetMetaDataDictionary());
}

template <typename TInputImage, typename TMaskImage>
void
RigidRegistrationFilter<TInputImage, TMaskImage>::GenerateInputRequestedRegion()
{
  RequestGeometry(this->GetOutputGrid());
  for (const auto & name : this->GetInputNames())
  {
    DataObject * input = this->ProcessObject::GetInput(name);
    if (input && name != "OutputGrid")
    {
      input->SetRequestedRegionToLargestPossibleRegion();
    }
  }
}

template <typename TInputImage, typename TMaskImage>
void
RigidRegistrationFilter<TInputImage, TMaskImage>::EnlargeOutputRequestedRegion(DataObject * output)
{
  Superclass::EnlargeOutputRequestedRegion(output);
  output->SetRequestedRegionToLargestPossibleRegion();
}

template <typename TInputImage, typename TMaskImage>
template <typename TImage>
ImageRegion<3>
RigidRegistrationFilter<TInputImage, TMaskImage>::BoxOf(const TImage * image, const char * name) const
{
  const ImageRegion<3> region = image->GetLargestPossibleRegion();
  Index<3>             lower = region.GetUpperIndex();
  Index<3>             upper = region.GetIndex();
  bool                 isEmpty = true;
  for (ImageRegionConstIteratorWithIndex<TImage> voxel(image, region); !voxel.IsAtEnd(); ++voxel)
  {
    const auto value = static_cast<double>(voxel.Get());
    if (!std::isfinite(value))
    {
      itkExceptionMacro("The voxel " << voxel.GetIndex() << " of the " << name << " is " << value
                                     << ", which is not finite; mend the image.");
    }
    if (value != 0.0)
    {
      isEmpty = false;
      for (unsigned int d = 0; d < ImageDimension; ++d)
      {
        lower[d] = std::min(lower[d], voxel.GetIndex()[d]);
        upper[d] = std::max(upper[d], voxel.GetIndex()[d]);
      }
    }
  }
  if (isEmpty)
  {
    itkExceptionMacro("The " << name << " is 0 everywhere: there is nothing to register.");
  }
  constexpr double margin = 10.0; // mm
  ImageRegion<3>   box;
  for (unsigned int d = 0; d < ImageDimension; ++d)
  {
    const auto pad = static_cast<IndexValueType>(std::ceil(margin / image->GetSpacing()[d]));
    lower[d] -= pad;
    upper[d] += pad;
  }
  box.SetIndex(lower);
  box.SetUpperIndex(upper);
  box.Crop(region);
  return box;
}

template <typename TInputImage, typename TMaskImage>
template <typename TImage>
auto
RigidRegistrationFilter<TInputImage, TMaskImage>::CropAndReduce(const TImage * image, ImageRegion<3> box) const ->
  typename RealImageType::Pointer
{
  auto cropped = RealImageType::New();
  cropped->CopyInformation(image);
  cropped->SetRegions(box);
  cropped->Allocate();
  ImageRegionConstIterator<TImage>   from(image, box);
  ImageRegionIterator<RealImageType> to(cropped, box);
  for (; !from.IsAtEnd(); ++from, ++to)
  {
    to.Set(static_cast<float>(from.Get()));
  }
  typename BinShrinkImageFilter<RealImageType, RealImageType>::ShrinkFactorsType factors;
  bool                                                                           isFine = false;
  for (unsigned int d = 0; d < ImageDimension; ++d)
  {
    // 0.47 mm becomes 0.94 mm, 0.6 mm stays.
    const double factor = std::floor(1.0 / cropped->GetSpacing()[d] + 1e-3);
    factors[d] = static_cast<unsigned int>(std::min(std::max(factor, 1.0), static_cast<double>(box.GetSize(d)) / 4.0));
    factors[d] = std::max(factors[d], 1u);
    isFine = isFine || factors[d] > 1;
  }
  if (!isFine)
  {
    return cropped;
  }
  auto reduce = BinShrinkImageFilter<RealImageType, RealImageType>::New();
  reduce->SetInput(cropped);
  reduce->SetShrinkFactors(factors);
  reduce->SetNumberOfWorkUnits(this->GetNumberOfWorkUnits());
  reduce->Update();
  typename RealImageType::Pointer reduced = reduce->GetOutput();
  reduced->DisconnectPipeline();
  return reduced;
}

template <typename TInputImage, typename TMaskImage>
auto
RigidRegistrationFilter<TInputImage, TMaskImage>::CentroidOf(const RealImageType * image, float threshold) const
  -> PointType
{
  std::array<double, 3>                            sum{ { 0.0, 0.0, 0.0 } };
  double                                           number = 0.0;
  ImageRegionConstIteratorWithIndex<RealImageType> voxel(image, image->GetLargestPossibleRegion());
  for (; !voxel.IsAtEnd(); ++voxel)
  {
    if (std::abs(voxel.Get()) > threshold)
    {
      number += 1.0;
      for (unsigned int d = 0; d < ImageDimension; ++d)
      {
        sum[d] += static_cast<double>(voxel.GetIndex()[d]);
      }
    }
  }
  ContinuousIndex<double, 3> index;
  for (unsigned int d = 0; d < ImageDimension; ++d)
  {
    index[d] = number > 0.0 ? sum[d] / number : static_cast<double>(image->GetLargestPossibleRegion().GetIndex(d));
  }
  PointType point;
  image->TransformContinuousIndexToPhysicalPoint(index, point);
  return point;
}

template <typename TInputImage, typename TMaskImage>
void
RigidRegistrationFilter<TInputImage, TMaskImage>::Prepare(Problem & problem) const
{
  const InputImageType * reference = this->GetReferenceImage();
  const MaskImageType *  mask = this->GetReferenceMaskImage();
  const ImageRegion<3>   whole = this->BoxOf(reference, "reference image");
  const ImageRegion<3>   box = mask ? this->BoxOf(mask, "mask of the reference image") : whole;
  problem.Fixed = this->CropAndReduce(reference, box);
  problem.Moving = this->CropAndReduce(this->GetInput(), this->BoxOf(this->GetInput(), "input image"));
  problem.MovingCentroid = this->CentroidOf(problem.Moving, 0.0f);

  // The brain as a share of each reduced voxel.
  auto inside = ByteImageType::New();
  inside->CopyInformation(reference);
  inside->SetRegions(box);
  inside->Allocate();
  for (ImageRegionIteratorWithIndex<ByteImageType> voxel(inside, box); !voxel.IsAtEnd(); ++voxel)
  {
    const bool isBrain = mask ? mask->GetPixel(voxel.GetIndex()) != typename MaskImageType::PixelType{}
                              : reference->GetPixel(voxel.GetIndex()) != typename InputImageType::PixelType{};
    voxel.Set(isBrain ? 1 : 0);
  }
  const typename RealImageType::Pointer share = this->CropAndReduce(inside.GetPointer(), box);
  problem.FixedCentroid = this->CentroidOf(share, 0.49f);

  auto brain = ByteImageType::New();
  brain->CopyInformation(share);
  brain->SetRegions(share->GetLargestPossibleRegion());
  brain->Allocate();
  const SizeValueType voxels = brain->GetLargestPossibleRegion().GetNumberOfPixels();
  SizeValueType       numberInside = 0;
  for (SizeValueType i = 0; i < voxels; ++i)
  {
    const bool isBrain = share->GetBufferPointer()[i] > 0.49f;
    brain->GetBufferPointer()[i] = isBrain ? 1 : 0;
    numberInside += isBrain;
  }
  constexpr SizeValueType fewest = 1000;
  if (numberInside < fewest)
  {
    itkExceptionMacro("The brain of the reference image has "
                      << numberInside << " voxels of about 1 mm; a registration needs at least " << fewest << '.');
  }
  using DistanceType = SignedMaurerDistanceMapImageFilter<ByteImageType, RealImageType>;
  auto distance = DistanceType::New();
  distance->SetInput(brain);
  distance->SetBackgroundValue(0);
  distance->SetUseImageSpacing(true);
  distance->SetSquaredDistance(false);
  distance->SetInsideIsPositive(false);
  distance->SetNumberOfWorkUnits(this->GetNumberOfWorkUnits());
  distance->Update();
  const RealImageType * outside = distance->GetOutput();
  const auto            isNear = [&](SizeValueType i) {
    return brain->GetBufferPointer()[i] != 0 || outside->GetBufferPointer()[i] <= m_MaskDilation;
  };
  SizeValueType near = 0;
  for (SizeValueType i = 0; i < voxels; ++i)
  {
    near += isNear(i);
  }

  // Systematic sampling: each voxel with the same chance, at a random place in it.
  const double chance = std::min(1.0, static_cast<double>(m_NumberOfSamples) / static_cast<double>(near));
  auto         random = Statistics::MersenneTwisterRandomVariateGenerator::New();
  random->SetSeed(static_cast<std::uint32_t>(m_Seed));
  problem.Samples = Problem::SamplesType::New();
  problem.Samples->Initialize();
  typename Problem::SamplesType::PointIdentifier   id = 0;
  double                                           due = random->GetVariateWithOpenRange();
  ImageRegionConstIteratorWithIndex<ByteImageType> voxel(brain, brain->GetLargestPossibleRegion());
  for (SizeValueType i = 0; !voxel.IsAtEnd(); ++voxel, ++i)
  {
    if (!isNear(i))
    {
      continue;
    }
    due += chance;
    if (due < 1.0)
    {
      continue;
    }
    due -= 1.0;
    ContinuousIndex<double, 3> index(voxel.GetIndex());
    PointType                  centre;
    brain->TransformContinuousIndexToPhysicalPoint(index, centre);
    if (voxel.Get())
    {
      problem.BrainPoints.push_back(centre);
    }
    for (unsigned int d = 0; d < ImageDimension; ++d)
    {
      index[d] += random->GetVariateWithOpenRange() - 0.5;
    }
    PointType point;
    brain->TransformContinuousIndexToPhysicalPoint(index, point);
    typename Problem::SamplesType::PointType sample;
    sample.CastFrom(point);
    problem.Samples->SetPoint(id++, sample);
  }
}

template <typename TInputImage, typename TMaskImage>
double
RigidRegistrationFilter<TInputImage, TMaskImage>::MetricAt(const Problem &       problem,
                                                           const TransformType * transform) const
{
  auto copy = TransformType::New();
  copy->SetFixedParameters(transform->GetFixedParameters());
  copy->SetParameters(transform->GetParameters());
  const auto metric = problem.MakeMetric(m_NumberOfHistogramBins);
  metric->SetFixedImage(problem.Fixed);
  metric->SetMovingImage(problem.Moving);
  metric->SetVirtualDomainFromImage(problem.Fixed);
  metric->SetMovingTransform(copy);
  try
  {
    metric->Initialize();
    const double value = metric->GetValue();
    return std::isfinite(value) ? std::min(value, 0.0) : 0.0;
  }
  catch (const ExceptionObject &)
  {
    return 0.0; // no sample lies on the input
  }
}

template <typename TInputImage, typename TMaskImage>
void
RigidRegistrationFilter<TInputImage, TMaskImage>::Optimize(const Problem & problem)
{
  auto identity = TransformType::New();
  identity->SetCenter(problem.FixedCentroid);
  auto shift = TransformType::New();
  shift->SetCenter(problem.FixedCentroid);
  shift->SetTranslation(problem.MovingCentroid - problem.FixedCentroid);
  m_InitialMetric = this->MetricAt(problem, identity);
  m_Transform = this->MetricAt(problem, shift) < m_InitialMetric ? shift : identity;

  using RegistrationType = ImageRegistrationMethodv4<RealImageType, RealImageType, TransformType>;
  using OptimizerType = RegularStepGradientDescentOptimizerv4<double>;
  using MetricType = typename Problem::MetricType;
  constexpr unsigned int          levels = 3;
  constexpr std::array<double, 3> voxel{ { 4.0, 2.0, 1.0 } };  // mm
  constexpr std::array<double, 3> smooth{ { 2.0, 1.0, 0.0 } }; // mm
  constexpr std::array<double, 3> step{ { 2.0, 1.0, 0.5 } };   // mm, the longest
  constexpr double                shortestStep = 0.01;         // mm

  const auto metric = problem.MakeMetric(m_NumberOfHistogramBins);
  auto       scales = RegistrationParameterScalesFromPhysicalShift<MetricType>::New();
  scales->SetMetric(metric);
  scales->SetTransformForward(true);
  auto optimizer = OptimizerType::New();
  optimizer->SetScalesEstimator(scales);
  optimizer->SetDoEstimateScales(true);
  optimizer->SetDoEstimateLearningRateAtEachIteration(false);
  optimizer->SetDoEstimateLearningRateOnce(false);
  optimizer->SetRelaxationFactor(0.5);
  optimizer->SetMinimumStepLength(shortestStep);
  optimizer->SetGradientMagnitudeTolerance(1e-8);
  optimizer->SetNumberOfIterations(m_MaximumNumberOfIterations);
  optimizer->SetNumberOfWorkUnits(1);

  auto registration = RegistrationType::New();
  registration->SetFixedImage(problem.Fixed);
  registration->SetMovingImage(problem.Moving);
  registration->SetMetric(metric);
  registration->SetOptimizer(optimizer);
  registration->SetInitialTransform(m_Transform);
  registration->InPlaceOn();
  registration->SetInitializeCenterOfLinearOutputTransform(false);
  registration->SetNumberOfLevels(levels);
  typename RegistrationType::SmoothingSigmasArrayType sigmas(levels);
  for (unsigned int level = 0; level < levels; ++level)
  {
    typename RegistrationType::ShrinkFactorsPerDimensionContainerType factors;
    for (unsigned int d = 0; d < ImageDimension; ++d)
    {
      factors[d] = std::max(1u, static_cast<unsigned int>(std::lround(voxel[level] / problem.Fixed->GetSpacing()[d])));
    }
    registration->SetShrinkFactorsPerDimension(level, factors);
    sigmas[level] = smooth[level];
  }
  registration->SetSmoothingSigmasPerLevel(sigmas);
  registration->SetSmoothingSigmasAreSpecifiedInPhysicalUnits(true);
  registration->SetNumberOfWorkUnits(this->GetNumberOfWorkUnits());

  m_IterationsPerLevel.SetSize(levels);
  m_IterationsPerLevel.Fill(0.0);
  unsigned int                   level = 0;
  const RegistrationType * const running = registration.GetPointer();
  registration->AddObserver(MultiResolutionIterationEvent(), [&, running](const EventObject &) {
    level = std::min(static_cast<unsigned int>(running->GetCurrentLevel()), levels - 1);
    optimizer->SetLearningRate(step[level]);
  });
  optimizer->AddObserver(IterationEvent(), [&](const EventObject &) {
    m_IterationsPerLevel[level] += 1.0;
    const double part = std::min(1.0, m_IterationsPerLevel[level] / 20.0);
    this->UpdateProgress(static_cast<float>(0.1 + 0.7 * (level + part) / levels));
    if (this->GetAbortGenerateData())
    {
      throw ProcessAborted(__FILE__, __LINE__);
    }
  });
  try
  {
    registration->Update();
  }
  catch (const ProcessAborted &)
  {
    throw;
  }
  catch (const ExceptionObject & error)
  {
    itkExceptionMacro("The registration failed (" << error.GetDescription()
                                                  << "). Do the images show the same head, and is it in both?");
  }
}

template <typename TInputImage, typename TMaskImage>
void
RigidRegistrationFilter<TInputImage, TMaskImage>::Judge(const Problem & problem)
{
  m_FinalMetric = this->MetricAt(problem, m_Transform);
  const auto moved = [&]() {
    double sum = 0.0;
    for (const PointType & point : problem.BrainPoints)
    {
      sum += m_Transform->TransformPoint(point).EuclideanDistanceTo(point);
    }
    return sum / static_cast<double>(std::max<std::size_t>(1, problem.BrainPoints.size()));
  };
  m_MeanDisplacement = moved();
  if (!std::isfinite(m_MeanDisplacement))
  {
    itkExceptionMacro("The registration gave a transform that is not finite; do the images show the same head?");
  }
  if (!(m_FinalMetric < m_InitialMetric))
  {
    constexpr double alreadyAligned = 0.5; // mm
    if (m_MeanDisplacement > alreadyAligned)
    {
      itkExceptionMacro("The registration did not improve the metric: it is "
                        << m_InitialMetric << " as the images lie and " << m_FinalMetric
                        << " after moving the brain by " << m_MeanDisplacement
                        << " mm. Do the images show the same head? Register them by other means.");
    }
    m_Transform->SetIdentity();
    m_Transform->SetCenter(problem.FixedCentroid);
    m_FinalMetric = m_InitialMetric;
    m_MeanDisplacement = 0.0;
  }
  if (!(-m_FinalMetric >= m_MinimumMutualInformation))
  {
    itkExceptionMacro("The images have too little to do with each other: their mutual information is "
                      << -m_FinalMetric << " after the registration, less than " << m_MinimumMutualInformation
                      << ". Do they show the same head?");
  }

  const InputImageType * input = this->GetInput();
  SizeValueType          covered = 0;
  for (const PointType & point : problem.BrainPoints)
  {
    typename InputImageType::IndexType index;
    covered += input->TransformPhysicalPointToIndex(m_Transform->TransformPoint(point), index) &&
               input->GetPixel(index) != typename InputImageType::PixelType{};
  }
  m_Overlap = static_cast<double>(covered) / static_cast<double>(std::max<std::size_t>(1, problem.BrainPoints.size()));
  if (!(m_Overlap >= m_MinimumOverlap))
  {
    itkExceptionMacro("The input covers " << 100.0 * m_Overlap << " % of the reference's brain after the registration, "
                                          << "less than " << 100.0 * m_MinimumOverlap
                                          << " %. Do both images show the whole brain of the same patient?");
  }
}

template <typename TInputImage, typename TMaskImage>
void
RigidRegistrationFilter<TInputImage, TMaskImage>::GenerateData()
{
  this->UpdateProgress(0.0f);
  {
    Problem problem;
    this->Prepare(problem);
    this->UpdateProgress(0.1f);
    this->Optimize(problem);
    this->Judge(problem);
  }
  this->UpdateProgress(0.85f);

  auto grid = OutputImageType::New();
  grid->CopyInformation(this->GetOutput());
  grid->SetLargestPossibleRegion(this->GetOutput()->GetLargestPossibleRegion());
  auto resample = RigidResampleImageFilter<InputImageType, OutputImageType>::New();
  resample->SetInput(this->GetInput());
  resample->SetReferenceImage(grid);
  resample->SetTransform(m_Transform);
  resample->SetIgnoreZeros(m_IgnoreZeros);
  resample->SetNumberOfWorkUnits(this->GetNumberOfWorkUnits());
  resample->Update();
  this->GraftOutput(resample->GetOutput());
  this->GetOutput()->SetMetaDataDictionary(this->GetInput()->GetMetaDataDictionary());
  this->UpdateProgress(1.0f);
}

template <typename TInputImage, typename TMaskImage>
void
RigidRegistrationFilter<TInputImage, TMaskImage>::PrintSelf(std::ostream & os, Indent indent) const
{
  Superclass::PrintSelf(os, indent);
  os << indent << "IgnoreZeros: " << (m_IgnoreZeros ? "On" : "Off") << std::endl;
  os << indent << "NumberOfHistogramBins: " << m_NumberOfHistogramBins << std::endl;
  os << indent << "NumberOfSamples: " << m_NumberOfSamples << std::endl;
  os << indent << "Seed: " << m_Seed << std::endl;
  os << indent << "MaximumNumberOfIterations: " << m_MaximumNumberOfIterations << std::endl;
  os << indent << "MaskDilation: " << m_MaskDilation << " mm" << std::endl;
  os << indent << "MinimumOverlap: " << m_MinimumOverlap << std::endl;
  os << indent << "MinimumMutualInformation: " << m_MinimumMutualInformation << std::endl;
  itkPrintSelfObjectMacro(Transform);
  os << indent << "InitialMetric: " << m_InitialMetric << std::endl;
  os << indent << "FinalMetric: " << m_FinalMetric << std::endl;
  os << indent << "Overlap: " << m_Overlap << std::endl;
  os << indent << "MeanDisplacement: " << m_MeanDisplacement << " mm" << std::endl;
  os << indent << "IterationsPerLevel: " << m_IterationsPerLevel << std::endl;
}
} // namespace itk

#endif // itkRigidRegistrationFilter_hxx
