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

// Runs ITK's N4 and TensorProductN4 in turn on the same shrunken grid and mask, and prints seconds, their ratio, and
// how far the two log fields are apart inside the mask.
//   BenchmarkN4 [SHRINK] [THREADS] [ITERATIONS] [IMAGE [MASK]]      without IMAGE: a phantom of 240x240x155 voxels
// The threshold is 0, so that both do ITERATIONS (20) on each of four levels. The mask is that of the positive voxels.
#include "itkBinaryThresholdImageFilter.h"
#include "itkImageFileReader.h"
#include "itkImageRegionIteratorWithIndex.h"
#include "itkMultiThreaderBase.h"
#include "itkN4BiasFieldCorrectionImageFilter.h"
#include "itkShrinkImageFilter.h"
#include "itkTensorProductN4.h"

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <numeric>
#include <random>

namespace
{
using ImageType = itk::Image<float, 3>;
using MaskType = itk::Image<unsigned char, 3>;

using ITKsN4Type = itk::N4BiasFieldCorrectionImageFilter<ImageType, MaskType, ImageType>;

// Two tissues in shells of an ellipsoid under a smooth field, with noise.
ImageType::Pointer
MakePhantom()
{
  const auto          image = ImageType::New();
  ImageType::SizeType size{ { 240, 240, 155 } };
  image->SetRegions(size);
  image->Allocate(true);
  std::mt19937                                 random(7);
  std::normal_distribution<float>              noise(0.0F, 8.0F);
  itk::ImageRegionIteratorWithIndex<ImageType> it(image, image->GetLargestPossibleRegion());
  for (; !it.IsAtEnd(); ++it)
  {
    double p[3];
    double radius = 0.0;
    for (unsigned int d = 0; d < 3; ++d)
    {
      p[d] = 2.0 * static_cast<double>(it.GetIndex()[d]) / static_cast<double>(size[d] - 1) - 1.0;
      radius += p[d] * p[d] / (d == 2 ? 0.72 : 0.5);
    }
    if (radius < 1.0)
    {
      const double tissue = std::sin(25.0 * radius) > 0.0 ? 300.0 : 200.0;
      const double field = std::exp(0.25 * p[0] - 0.2 * p[1] * p[2] + 0.15 * std::cos(2.0 * p[2]));
      it.Set(static_cast<float>(std::max(1.0, tissue * field + noise(random))));
    }
  }
  return image;
}

template <typename TImage>
typename TImage::Pointer
Shrink(TImage * image, unsigned int factor)
{
  const auto shrink = itk::ShrinkImageFilter<TImage, TImage>::New();
  shrink->SetInput(image);
  shrink->SetShrinkFactors(factor);
  shrink->Update();
  return shrink->GetOutput();
}

template <typename TFunction>
double
Seconds(const TFunction & function)
{
  const auto start = std::chrono::steady_clock::now();
  function();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}
} // namespace

int
main(int argc, char * argv[])
{
  try
  {
    const auto number = [&](int n, unsigned int otherwise) {
      return argc > n ? static_cast<unsigned int>(std::strtoul(argv[n], nullptr, 10)) : otherwise;
    };
    const unsigned int factor = number(1, 4);
    const unsigned int threads = number(2, 2);
    const unsigned int iterations = number(3, 20);
    itk::MultiThreaderBase::SetGlobalDefaultNumberOfThreads(threads);

    const ImageType::Pointer full = argc > 4 ? itk::ReadImage<ImageType>(argv[4]) : MakePhantom();
    MaskType::Pointer        fullMask;
    if (argc > 5)
    {
      fullMask = itk::ReadImage<MaskType>(argv[5]);
    }
    else
    {
      const auto threshold = itk::BinaryThresholdImageFilter<ImageType, MaskType>::New();
      threshold->SetInput(full);
      threshold->SetLowerThreshold(1e-6F);
      threshold->SetInsideValue(1);
      threshold->SetOutsideValue(0);
      threshold->Update();
      fullMask = threshold->GetOutput();
    }
    const auto image = Shrink(full.GetPointer(), factor);
    const auto mask = Shrink(fullMask.GetPointer(), factor);
    const auto size = image->GetLargestPossibleRegion().GetSize();

    const auto                        theirs = ITKsN4Type::New();
    ITKsN4Type::VariableSizeArrayType iterationsOfLevels(4);
    iterationsOfLevels.Fill(iterations);
    theirs->SetInput(image);
    theirs->SetMaskImage(mask);
    theirs->SetMaskLabel(1);
    theirs->SetNumberOfFittingLevels(4);
    theirs->SetMaximumNumberOfIterations(iterationsOfLevels);
    theirs->SetConvergenceThreshold(0.0);
    const double theirSeconds = Seconds([&] { theirs->Update(); });
    const auto   theirField = theirs->ReconstructBiasField(theirs->GetLogBiasFieldControlPointLattice());

    const auto ours = itk::TensorProductN4::New();
    ours->SetMaximumNumberOfIterations(iterationsOfLevels);
    ours->SetConvergenceThreshold(0.0);
    ours->SetNumberOfThreads(threads);
    const auto   fit = [&] { ours->Fit(image->GetBufferPointer(), mask->GetBufferPointer(), nullptr, size); };
    const double ourFirstSeconds = Seconds(fit);
    const double ourSeconds = Seconds(fit);
    ours->UseTorchOperatorsOn();
    const double operatorSeconds = Seconds(fit);
    ours->UseTorchOperatorsOff();
    fit();

    itk::FixedArray<itk::TensorProductN4::AxisType, 3> axes;
    for (unsigned int d = 0; d < 3; ++d)
    {
      std::vector<double> positions(size[d]);
      std::iota(positions.begin(), positions.end(), 0.0);
      axes[d] = ours->LocateOnAxis(d, positions);
    }
    std::vector<float> ourField(size[0] * size[1] * size[2]);
    ours->EvaluateLogField(axes, {}, size, ourField.data());
    float       difference = 0.0F;
    std::size_t voxels = 0;
    for (std::size_t n = 0; n < ourField.size(); ++n)
    {
      if (mask->GetBufferPointer()[n] != 0)
      {
        ++voxels;
        difference = std::max(difference, std::abs(ourField[n] - theirField->GetBufferPointer()[n]));
      }
    }
    std::cout << size << ", " << voxels << " voxels in the mask, 4 x " << iterations << " iterations, " << threads
              << " threads\n"
              << "ITK's N4             " << theirSeconds << " s\n"
              << "TensorProductN4      " << ourSeconds << " s (first call " << ourFirstSeconds << " s), ratio "
              << theirSeconds / ourSeconds << " (" << theirSeconds / ourFirstSeconds << ")\n"
              << "  torch's operators  " << operatorSeconds << " s, ratio " << theirSeconds / operatorSeconds << "\n"
              << "max |difference| of the log fields " << difference << std::endl;
  }
  catch (const std::exception & error)
  {
    std::cerr << error.what() << std::endl;
    return EXIT_FAILURE;
  }
  return EXIT_SUCCESS;
}
