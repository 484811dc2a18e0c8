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
#include "itkN4BiasCorrectionChainFilter.h"

#include "ErrorMessages.h"
#include "ObliqueImage.h"
#include "RealTestData.h"

#include "itkBinaryThresholdImageFilter.h"
#include "itkCommand.h"
#include "itkExtractImageFilter.h"
#include "itkImageFileReader.h"
#include "itkImageRegionConstIteratorWithIndex.h"
#include "itkN4BiasFieldCorrectionImageFilter.h"
#include "itkPipelineMonitorImageFilter.h"
#include "itkShrinkImageFilter.h"
#include "itkStreamingImageFilter.h"
#include "itksys/SystemTools.hxx"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <initializer_list>
#include <limits>
#include <new>
#include <type_traits>

namespace
{
// Every allocation of the process, the library's too.
std::atomic<std::size_t> allocations{ 0 };
} // namespace

// Not inlined: the compiler would see free() get what new gave.
#if defined(__GNUC__)
#  define NOT_INLINED __attribute__((noinline))
#else
#  define NOT_INLINED
#endif

NOT_INLINED void *
operator new(std::size_t size)
{
  ++allocations;
  if (void * const memory = std::malloc(size == 0 ? 1 : size))
  {
    return memory;
  }
  throw std::bad_alloc();
}

NOT_INLINED void
operator delete(void * memory) noexcept
{
  std::free(memory);
}

NOT_INLINED void
operator delete(void * memory, std::size_t) noexcept
{
  std::free(memory);
}

namespace
{
template <unsigned int VDimension>
using ImageOf = itk::Image<float, VDimension>;
template <unsigned int VDimension>
using MaskOf = itk::Image<unsigned char, VDimension>;
using ImageType = ImageOf<3>;
using MaskType = MaskOf<3>;
using FilterType = itk::N4BiasCorrectionChainFilter<ImageType, MaskType>;

// Log field of the phantom at p in [-1, 1]^3.
double
TrueLogField(const double p[3])
{
  return 0.25 * p[0] - 0.2 * p[1] * p[2] + 0.15 * std::cos(2.0 * p[2] + p[0]);
}

struct Phantom
{
  ImageType::Pointer image;
  ImageType::Pointer field;
  MaskType::Pointer  mask;
  MaskType::Pointer  tissue; // 1 or 2 inside the mask

  // Two tissues in shells of an ellipsoid, on a grid with every trap, unless plain.
  Phantom(unsigned int nx, unsigned int ny, unsigned int nz, bool plain = false)
    : image(oblique::Make<ImageType>(nx, ny, nz))
    , field(oblique::Make<ImageType>(nx, ny, nz))
    , mask(oblique::Make<MaskType>(nx, ny, nz))
    , tissue(oblique::Make<MaskType>(nx, ny, nz))
  {
    const ImageType::RegionType region = image->GetLargestPossibleRegion();
    std::uint64_t               k = 0;
    for (itk::ImageRegionConstIteratorWithIndex<ImageType> it(image, region); !it.IsAtEnd(); ++it, ++k)
    {
      double p[3];
      double radius = 0.0;
      for (unsigned int d = 0; d < 3; ++d)
      {
        p[d] = region.GetSize(d) == 1 ? 0.0
                                      : 2.0 * static_cast<double>(it.GetIndex()[d] - region.GetIndex(d)) /
                                            static_cast<double>(region.GetSize(d) - 1) -
                                          1.0;
        radius += p[d] * p[d] / 0.8;
      }
      field->SetPixel(it.GetIndex(), static_cast<float>(TrueLogField(p)));
      if (radius < 1.0)
      {
        const bool bright = std::sin(14.0 * radius + 3.0 * p[0]) > 0.0;
        const auto noise = 12.0 * (static_cast<double>(oblique::Noise(k)) - 0.5);
        mask->SetPixel(it.GetIndex(), 1);
        tissue->SetPixel(it.GetIndex(), bright ? 2 : 1);
        image->SetPixel(it.GetIndex(),
                        static_cast<float>((bright ? 300.0 : 200.0) * std::exp(TrueLogField(p)) + noise));
      }
    }
    if (plain)
    {
      for (itk::ImageBase<3> * const base :
           { static_cast<itk::ImageBase<3> *>(image), static_cast<itk::ImageBase<3> *>(mask) })
      {
        ImageType::DirectionType identity;
        identity.SetIdentity();
        base->SetRegions(region.GetSize());
        base->SetDirection(identity);
      }
    }
  }
};

template <unsigned int VDimension>
typename ImageOf<VDimension>::Pointer
ITKsLogField(const ImageOf<VDimension> * image,
             const MaskOf<VDimension> *  mask,
             const ImageOf<VDimension> * confidence = nullptr,
             unsigned int                iterations = 20,
             unsigned int                order = 3,
             const unsigned int *        controlPoints = nullptr,
             unsigned int                levels = 4)
{
  using N4Type = itk::N4BiasFieldCorrectionImageFilter<ImageOf<VDimension>, MaskOf<VDimension>, ImageOf<VDimension>>;
  const auto                             n4 = N4Type::New();
  typename N4Type::VariableSizeArrayType iterationsOfLevels(levels);
  iterationsOfLevels.Fill(iterations);
  n4->SetInput(image);
  n4->SetMaskImage(mask);
  n4->SetConfidenceImage(confidence);
  n4->SetNumberOfFittingLevels(levels);
  n4->SetMaximumNumberOfIterations(iterationsOfLevels);
  n4->SetConvergenceThreshold(0.0);
  n4->SetSplineOrder(order);
  if (controlPoints != nullptr)
  {
    n4->SetNumberOfControlPoints(typename N4Type::ArrayType(controlPoints));
  }
  n4->Update();
  const auto field = n4->ReconstructBiasField(n4->GetLogBiasFieldControlPointLattice());
  field->DisconnectPipeline();
  return field;
}

template <typename TFilter>
void
ForceIterations(TFilter * filter, unsigned int iterations = 20)
{
  itk::Array<unsigned int> iterationsOfLevels(4);
  iterationsOfLevels.Fill(iterations);
  filter->SetMaximumNumberOfIterations(iterationsOfLevels);
  filter->SetConvergenceThreshold(0.0);
}

// Largest difference inside the mask between ITK's field on the shrunken grid and ours at the voxels that were taken.
float
LargestDifference(const ImageType *     theirs,
                  const MaskType *      smallMask,
                  const ImageType *     ours,
                  unsigned int          factor,
                  ImageType::OffsetType first)
{
  float largest = 0.0F;
  float highest = 0.0F;
  for (itk::ImageRegionConstIteratorWithIndex<ImageType> it(theirs, theirs->GetLargestPossibleRegion()); !it.IsAtEnd();
       ++it)
  {
    const ImageType::IndexType start = smallMask->GetLargestPossibleRegion().GetIndex();
    ImageType::IndexType       small = it.GetIndex();
    ImageType::IndexType       full;
    for (unsigned int d = 0; d < 3; ++d)
    {
      const auto n = it.GetIndex()[d] - theirs->GetLargestPossibleRegion().GetIndex(d);
      small[d] = start[d] + n;
      full[d] = ours->GetLargestPossibleRegion().GetIndex(d) + first[d] + n * factor;
    }
    if (smallMask->GetPixel(small) != 0)
    {
      largest = std::max(largest, std::abs(it.Get() - ours->GetPixel(full)));
      highest = std::max(highest, std::abs(it.Get()));
    }
  }
  EXPECT_GT(highest, 0.05F) << "There is no field to compare.";
  return largest;
}

template <typename TImage>
typename TImage::Pointer
Shrink(const TImage * image, unsigned int factor)
{
  const auto shrink = itk::ShrinkImageFilter<TImage, TImage>::New();
  shrink->SetInput(image);
  shrink->SetShrinkFactors(factor);
  shrink->Update();
  const typename TImage::Pointer output = shrink->GetOutput();
  output->DisconnectPipeline();
  return output;
}

double
VariationInTissue(const ImageType * image, const MaskType * tissue, unsigned char label)
{
  double sum = 0.0;
  double squares = 0.0;
  double count = 0.0;
  for (itk::ImageRegionConstIteratorWithIndex<ImageType> it(image, image->GetLargestPossibleRegion()); !it.IsAtEnd();
       ++it)
  {
    if (tissue->GetPixel(it.GetIndex()) == label)
    {
      const double value = it.Get();
      sum += value;
      squares += value * value;
      ++count;
    }
  }
  const double mean = sum / count;
  return std::sqrt(squares / count - mean * mean) / mean;
}

FilterType::Pointer
MakeFilter(const Phantom & phantom, unsigned int shrink = 2, unsigned int iterations = 5)
{
  const auto filter = FilterType::New();
  filter->SetInput(phantom.image);
  filter->SetMaskImage(phantom.mask);
  filter->SetShrinkFactor(shrink);
  ForceIterations(filter.GetPointer(), iterations);
  return filter;
}
} // namespace

TEST(N4BiasCorrectionChainFilter, EqualsITKsFilterOnThePhantom)
{
  // Sizes that the factor does not divide.
  const Phantom phantom(71, 62, 35, true);
  const auto    small = Shrink(phantom.image.GetPointer(), 2);
  const auto    smallMask = Shrink(phantom.mask.GetPointer(), 2);
  const auto    theirs = ITKsLogField<3>(small, smallMask);
  const auto    filter = MakeFilter(phantom, 2, 20);
  filter->Update();
  EXPECT_LT(LargestDifference(theirs, smallMask, filter->GetLogBiasField(), 2, { { 1, 1, 1 } }), 1e-4F);
  EXPECT_EQ(filter->GetIterationsPerLevel().sum(), 80.0);
}

TEST(N4BiasCorrectionChainFilter, EqualsITKsFilterOnARealCase)
{
  // Not every image will do: where one voxel is much brighter than all others, ITK's filter leaves it out of the
  // histogram in those iterations in which rounding puts it beyond the last bin (TensorProductN4's documentation).
  const std::string path = RealTestDataFolder() + "/BraTS2021_00014/BraTS2021_00014_t2.nii.gz";
  if (!itksys::SystemTools::FileExists(path, true))
  {
    GTEST_SKIP() << "No real patient: " << path;
  }
  const auto image = itk::ReadImage<ImageType>(path);
  const auto threshold = itk::BinaryThresholdImageFilter<ImageType, MaskType>::New();
  threshold->SetInput(image);
  threshold->SetLowerThreshold(1e-6F);
  threshold->SetInsideValue(1);
  threshold->SetOutsideValue(0);
  threshold->Update();
  const auto small = Shrink(image.GetPointer(), 4);
  const auto smallMask = Shrink(threshold->GetOutput(), 4);
  const auto theirs = ITKsLogField<3>(small, smallMask);
  const auto filter = FilterType::New();
  filter->SetInput(image);
  filter->SetMaskImage(threshold->GetOutput());
  ForceIterations(filter.GetPointer());
  filter->Update();
  // 240 = 4 * 60 and 155 = 4 * 38 + 3: the first voxel taken is at 2, 2, 3.
  EXPECT_LT(LargestDifference(theirs, smallMask, filter->GetLogBiasField(), 4, { { 2, 2, 3 } }), 1e-4F);
}

TEST(N4BiasCorrectionChainFilter, EqualsITKsFilterWithConfidence)
{
  const Phantom phantom(40, 36, 28, true);
  const auto    confidence = ImageType::New();
  confidence->CopyInformation(phantom.image);
  confidence->SetRegions(phantom.image->GetLargestPossibleRegion());
  confidence->Allocate();
  oblique::FillWithNoise(confidence.GetPointer(), 3);
  const auto count = confidence->GetLargestPossibleRegion().GetNumberOfPixels();
  for (itk::SizeValueType n = 0; n < count; n += 7)
  {
    confidence->GetBufferPointer()[n] = n % 2 == 0 ? 0.0F : -1.0F;
  }
  const auto theirs = ITKsLogField<3>(phantom.image, phantom.mask, confidence);
  const auto filter = MakeFilter(phantom, 1, 20);
  filter->SetConfidenceImage(confidence);
  filter->Update();
  EXPECT_LT(LargestDifference(theirs, phantom.mask, filter->GetLogBiasField(), 1, { { 0, 0, 0 } }), 1e-4F);

  const auto without = MakeFilter(phantom, 1, 20);
  without->Update();
  EXPECT_GT(LargestDifference(theirs, phantom.mask, without->GetLogBiasField(), 1, { { 0, 0, 0 } }), 1e-4F)
    << "The confidence makes no difference.";
}

TEST(N4BiasCorrectionChainFilter, EqualsITKsFilterWithAnySplineOrderAndMesh)
{
  const Phantom phantom(34, 29, 24, true);
  for (const unsigned int order : { 1U, 2U, 3U, 4U, 6U })
  {
    // A mesh of its own for each axis.
    const unsigned int points[] = { order + 3, order + 1, order + 2 };
    const auto         theirs = ITKsLogField<3>(phantom.image, phantom.mask, nullptr, 4, order, points);
    const auto         filter = MakeFilter(phantom, 1, 4);
    filter->SetSplineOrder(order);
    filter->SetNumberOfControlPoints(FilterType::ControlPointsType(points));
    filter->Update();
    EXPECT_LT(LargestDifference(theirs, phantom.mask, filter->GetLogBiasField(), 1, { { 0, 0, 0 } }), 1e-4F) << order;
    filter->SetSplineOrder(order == 3 ? 2 : 3);
    FilterType::ControlPointsType four;
    four.Fill(4);
    filter->SetNumberOfControlPoints(four);
    filter->Update();
    EXPECT_GT(LargestDifference(theirs, phantom.mask, filter->GetLogBiasField(), 1, { { 0, 0, 0 } }), 1e-3F)
      << "Order and mesh make no difference: " << order;

    // The same algebra with torch's operators.
    const auto own = itk::TensorProductN4::New();
    const auto operators = itk::TensorProductN4::New();
    operators->UseTorchOperatorsOn();
    for (const auto & fit : { own, operators })
    {
      ForceIterations(fit.GetPointer(), 2);
      fit->SetSplineOrder(order);
      fit->SetNumberOfControlPoints(itk::TensorProductN4::ControlPointsType(points));
      fit->Fit(phantom.image->GetBufferPointer(),
               phantom.mask->GetBufferPointer(),
               nullptr,
               phantom.image->GetLargestPossibleRegion().GetSize());
    }
    ASSERT_EQ(own->GetLattice().size(), operators->GetLattice().size());
    ASSERT_EQ(own->GetLatticeSize()[0], 8 * 3 + order);
    for (std::size_t n = 0; n < own->GetLattice().size(); ++n)
    {
      ASSERT_NEAR(own->GetLattice()[n], operators->GetLattice()[n], 1e-3) << order;
    }
  }
}

TEST(N4BiasCorrectionChainFilter, EachAxisHasItsLevels)
{
  const Phantom      phantom(34, 29, 24, true);
  const unsigned int levels[] = { 3, 1, 2 };
  const auto         fieldOf = [&](const unsigned int * levelsOfAxes, std::initializer_list<unsigned int> iterations) {
    const auto filter = MakeFilter(phantom, 1);
    filter->SetNumberOfFittingLevels(FilterType::LevelsType(levelsOfAxes));
    FilterType::IterationsType iterationsOfLevels(iterations.size());
    std::copy(iterations.begin(), iterations.end(), iterationsOfLevels.begin());
    filter->SetMaximumNumberOfIterations(iterationsOfLevels);
    filter->Update();
    const ImageType::Pointer field = filter->GetLogBiasField();
    field->DisconnectPipeline();
    return field;
  };
  const auto difference = [&](const ImageType * a, const ImageType * b) {
    return LargestDifference(a, phantom.mask, b, 1, { { 0, 0, 0 } });
  };

  // The last level alone: one level of ITK's filter on 4, 1 and 2 spans.
  const unsigned int points[] = { 7, 4, 5 };
  const auto         theirs = ITKsLogField<3>(phantom.image, phantom.mask, nullptr, 10, 3, points, 1);
  EXPECT_LT(difference(theirs, fieldOf(levels, { 0, 0, 10 })), 1e-4F);
  const unsigned int other[] = { 1, 3, 2 };
  EXPECT_GT(difference(theirs, fieldOf(other, { 0, 0, 10 })), 1e-3F) << "The levels of an axis make no difference.";
  // More spans alone do not change the field.
  const unsigned int one[] = { 1, 1, 1 };
  EXPECT_LT(difference(fieldOf(one, { 20 }), fieldOf(levels, { 20, 0, 0 })), 1e-6F);
}

TEST(N4BiasCorrectionChainFilter, TheBrightestVoxelCountsHoweverItIsRounded)
{
  // The unit of the intensities changes nothing but rounding: whether a voxel far above the others counts must not hang
  // on that. Left out, it would change the field near it.
  Phantom phantom(34, 29, 24, true);
  phantom.image->SetPixel({ { 17, 14, 12 } }, 1500.0F);
  const auto first = MakeFilter(phantom, 1, 20);
  first->Update();
  for (const float scale : { 1.7F, 0.37F, 11.3F, 250.1F })
  {
    const Phantom scaled(34, 29, 24, true);
    for (itk::SizeValueType n = 0; n < scaled.image->GetLargestPossibleRegion().GetNumberOfPixels(); ++n)
    {
      scaled.image->GetBufferPointer()[n] = scale * phantom.image->GetBufferPointer()[n];
    }
    const auto filter = MakeFilter(scaled, 1, 20);
    filter->Update();
    EXPECT_LT(LargestDifference(first->GetLogBiasField(), phantom.mask, filter->GetLogBiasField(), 1, { { 0, 0, 0 } }),
              1e-4F)
      << scale;
  }
}

TEST(N4BiasCorrectionChainFilter, EachAxisHasItsShrinkFactor)
{
  const Phantom                       phantom(50, 45, 17, true);
  const FilterType::ShrinkFactorsType factors(std::array<unsigned int, 3>{ { 3, 2, 1 } }.data());
  const auto                          shrink = [&factors](const auto * image) {
    using Type = std::remove_const_t<std::remove_pointer_t<decltype(image)>>;
    const auto filter = itk::ShrinkImageFilter<Type, Type>::New();
    filter->SetInput(image);
    for (unsigned int d = 0; d < 3; ++d)
    {
      filter->SetShrinkFactor(d, factors[d]);
    }
    filter->Update();
    const typename Type::Pointer output = filter->GetOutput();
    output->DisconnectPipeline();
    return output;
  };
  const auto small = shrink(static_cast<const ImageType *>(phantom.image));
  const auto smallMask = shrink(static_cast<const MaskType *>(phantom.mask));
  const auto theirs = ITKsLogField<3>(small, smallMask, nullptr, 5);
  const auto filter = MakeFilter(phantom);
  filter->SetShrinkFactors(factors);
  filter->Update();
  float      largest = 0.0F;
  const auto size = small->GetLargestPossibleRegion().GetSize();
  // 50 = 3 * 16 + 2 and 45 = 2 * 22 + 1: the first voxel that is taken is at 2, 1, 0.
  for (itk::ImageRegionConstIteratorWithIndex<ImageType> it(theirs, theirs->GetLargestPossibleRegion()); !it.IsAtEnd();
       ++it)
  {
    const ImageType::IndexType n = it.GetIndex();
    if (smallMask->GetPixel(n) != 0)
    {
      largest = std::max(
        largest, std::abs(it.Get() - filter->GetLogBiasField()->GetPixel({ { 2 + 3 * n[0], 1 + 2 * n[1], n[2] } })));
    }
  }
  EXPECT_EQ(size, (ImageType::SizeType{ { 16, 22, 17 } }));
  EXPECT_GT(filter->GetLogFieldMaximum() - filter->GetLogFieldMinimum(), 0.1);
  EXPECT_LT(largest, 1e-4F);
}

TEST(N4BiasCorrectionChainFilter, TheFieldIsClampedBeyondTheVoxelsThatWereTaken)
{
  const Phantom phantom(35, 27, 22);
  const auto    filter = MakeFilter(phantom, 4);
  filter->Update();
  // The image starts at 3, -2, 5; 35 = 4 * 8 + 3: taken are the voxels 3, 7 ... 31 of the row; and so on.
  const ImageType * const field = filter->GetLogBiasField();
  const auto              at = [field](int x, int y, int z) { return field->GetPixel({ { 3 + x, -2 + y, 5 + z } }); };
  for (const int n : { 0, 1, 2 })
  {
    EXPECT_EQ(at(n, 11, 9), at(3, 11, 9));
    EXPECT_EQ(at(11, n, 9), at(11, 3, 9));
  }
  for (const int n : { 32, 33, 34 })
  {
    EXPECT_EQ(at(n, 11, 9), at(31, 11, 9));
  }
  EXPECT_EQ(at(11, 11, 21), at(11, 11, 20));
  // Inside it is no step function.
  EXPECT_NE(at(3, 11, 9), at(4, 11, 9));
  EXPECT_NE(at(30, 11, 9), at(31, 11, 9));
}

TEST(N4BiasCorrectionChainFilter, AOneVoxelThinImageEqualsITKsFilterInTwoDimensions)
{
  const Phantom phantom(72, 60, 1, true);
  const auto    extract = itk::ExtractImageFilter<ImageType, ImageOf<2>>::New();
  auto          slice = phantom.image->GetLargestPossibleRegion();
  slice.SetSize(2, 0);
  extract->SetInput(phantom.image);
  extract->SetExtractionRegion(slice);
  extract->SetDirectionCollapseToSubmatrix();
  extract->Update();
  const auto extractMask = itk::ExtractImageFilter<MaskType, MaskOf<2>>::New();
  extractMask->SetInput(phantom.mask);
  extractMask->SetExtractionRegion(slice);
  extractMask->SetDirectionCollapseToSubmatrix();
  extractMask->Update();
  const auto theirs = ITKsLogField<2>(extract->GetOutput(), extractMask->GetOutput());

  const auto filter = MakeFilter(phantom, 1, 20);
  filter->Update();
  const auto flat = itk::N4BiasCorrectionChainFilter<ImageOf<2>>::New();
  flat->SetInput(extract->GetOutput());
  flat->SetMaskImage(extractMask->GetOutput());
  flat->SetShrinkFactor(1);
  ForceIterations(flat.GetPointer());
  flat->Update();

  float               largest = 0.0F;
  float               highest = 0.0F;
  const auto          count = slice.GetSize(0) * slice.GetSize(1);
  const float * const thin = filter->GetLogBiasField()->GetBufferPointer();
  for (itk::SizeValueType n = 0; n < count; ++n)
  {
    ASSERT_EQ(thin[n], flat->GetLogBiasField()->GetBufferPointer()[n]);
    if (phantom.mask->GetBufferPointer()[n] != 0)
    {
      largest = std::max(largest, std::abs(thin[n] - theirs->GetBufferPointer()[n]));
      highest = std::max(highest, std::abs(thin[n]));
    }
  }
  EXPECT_GT(highest, 0.05F);
  EXPECT_LT(largest, 1e-4F);
}

TEST(N4BiasCorrectionChainFilter, RecoversAKnownField)
{
  const Phantom phantom(80, 72, 48);
  const auto    filter = FilterType::New();
  filter->SetInput(phantom.image);
  filter->SetMaskImage(phantom.mask);
  filter->SetShrinkFactor(2);
  filter->Update();

  double n = 0.0;
  double sums[5] = {};
  for (itk::ImageRegionConstIteratorWithIndex<ImageType> it(phantom.field, phantom.field->GetLargestPossibleRegion());
       !it.IsAtEnd();
       ++it)
  {
    if (phantom.mask->GetPixel(it.GetIndex()) != 0)
    {
      const double a = it.Get();
      const double b = filter->GetLogBiasField()->GetPixel(it.GetIndex());
      ++n;
      sums[0] += a;
      sums[1] += b;
      sums[2] += a * a;
      sums[3] += b * b;
      sums[4] += a * b;
    }
  }
  const double covariance = sums[4] - sums[0] * sums[1] / n;
  EXPECT_GT(covariance / std::sqrt((sums[2] - sums[0] * sums[0] / n) * (sums[3] - sums[1] * sums[1] / n)), 0.98);
  for (const unsigned char label : { 1, 2 })
  {
    EXPECT_LT(VariationInTissue(filter->GetOutput(), phantom.tissue, label),
              0.4 * VariationInTissue(phantom.image, phantom.tissue, label));
  }
  // N4 leaves the field's mean open.
  EXPECT_GT(filter->GetLogFieldMaximum() - filter->GetLogFieldMinimum(), 0.5);
  EXPECT_GT(filter->GetFitSeconds(), 0.0);
  EXPECT_EQ(filter->GetConvergencePerLevel().Size(), 4U);
}

TEST(N4BiasCorrectionChainFilter, TheOutputIsTheInputDividedByTheField)
{
  const Phantom phantom(30, 26, 20);
  const auto    filter = MakeFilter(phantom);
  filter->Update();
  for (itk::ImageRegionConstIteratorWithIndex<ImageType> it(phantom.image, phantom.image->GetLargestPossibleRegion());
       !it.IsAtEnd();
       ++it)
  {
    const double expected =
      it.Get() / std::exp(static_cast<double>(filter->GetLogBiasField()->GetPixel(it.GetIndex())));
    ASSERT_NEAR(filter->GetOutput()->GetPixel(it.GetIndex()), expected, 1e-6 * std::abs(expected));
  }

  using ShortType = itk::Image<short, 3>;
  const auto rounding = itk::N4BiasCorrectionChainFilter<ImageType, MaskType, ShortType>::New();
  rounding->SetInput(phantom.image);
  rounding->SetMaskImage(phantom.mask);
  rounding->SetShrinkFactor(2);
  ForceIterations(rounding.GetPointer(), 5);
  rounding->Update();
  const auto middle = phantom.image->GetLargestPossibleRegion().GetIndex() + itk::Offset<3>{ { 15, 13, 10 } };
  EXPECT_EQ(rounding->GetOutput()->GetPixel(middle), std::lround(filter->GetOutput()->GetPixel(middle)));
}

TEST(N4BiasCorrectionChainFilter, WithoutAMaskOtsusThresholdIsTaken)
{
  const Phantom phantom(48, 44, 32);
  const auto    masked = MakeFilter(phantom);
  const auto    filter = MakeFilter(phantom);
  filter->SetMaskImage(nullptr);
  masked->Update();
  filter->Update();
  // Here the threshold lies between background and tissue.
  const auto count = phantom.image->GetLargestPossibleRegion().GetNumberOfPixels();
  float      largest = 0.0F;
  for (itk::SizeValueType n = 0; n < count; ++n)
  {
    if (phantom.mask->GetBufferPointer()[n] != 0)
    {
      largest = std::max(
        largest,
        std::abs(filter->GetLogBiasField()->GetBufferPointer()[n] - masked->GetLogBiasField()->GetBufferPointer()[n]));
    }
  }
  EXPECT_LT(largest, 0.01F);
}

TEST(N4BiasCorrectionChainFilter, MaskLabelChoosesTheVoxels)
{
  const Phantom phantom(40, 36, 24);
  const auto    byLabel = MakeFilter(phantom);
  byLabel->SetMaskImage(phantom.tissue);
  byLabel->SetMaskLabel(2);
  byLabel->UseMaskLabelOn();
  const auto onlyTwo = oblique::Make<MaskType>(40, 36, 24);
  for (itk::SizeValueType n = 0; n < onlyTwo->GetLargestPossibleRegion().GetNumberOfPixels(); ++n)
  {
    onlyTwo->GetBufferPointer()[n] = phantom.tissue->GetBufferPointer()[n] == 2 ? 1 : 0;
  }
  const auto byMask = MakeFilter(phantom);
  byMask->SetMaskImage(onlyTwo);
  const auto byAll = MakeFilter(phantom);
  for (const auto & filter : { byLabel, byMask, byAll })
  {
    filter->Update();
  }
  EXPECT_TRUE(oblique::SameVoxels(byLabel->GetLogBiasField(), byMask->GetLogBiasField()));
  EXPECT_FALSE(oblique::SameVoxels(byLabel->GetLogBiasField(), byAll->GetLogBiasField()));
}

TEST(N4BiasCorrectionChainFilter, AConstantImageGetsNoField)
{
  for (const bool masked : { true, false })
  {
    const Phantom phantom(20, 18, 16);
    phantom.image->FillBuffer(117.0F);
    const auto filter = MakeFilter(phantom);
    if (!masked)
    {
      filter->SetMaskImage(nullptr);
    }
    filter->Update();
    EXPECT_NE(filter->GetStatus().find("constant"), std::string::npos);
    EXPECT_EQ(filter->GetLogFieldMinimum(), 0.0);
    EXPECT_EQ(filter->GetLogFieldMaximum(), 0.0);
    EXPECT_EQ(filter->GetIterationsPerLevel().sum(), 0.0);
    EXPECT_TRUE(oblique::SameVoxels(filter->GetOutput(), phantom.image.GetPointer()));
  }
}

TEST(N4BiasCorrectionChainFilter, ZeroAndNegativeVoxelsDoNotCount)
{
  const Phantom clean(40, 36, 24, true);
  const Phantom phantom(40, 36, 24, true);
  const auto    positive = MaskType::New();
  positive->CopyInformation(phantom.mask);
  positive->SetRegions(phantom.mask->GetLargestPossibleRegion());
  positive->Allocate();
  unsigned long bad = 0;
  for (itk::SizeValueType n = 0; n < phantom.image->GetLargestPossibleRegion().GetNumberOfPixels(); ++n)
  {
    const bool inside = phantom.mask->GetBufferPointer()[n] != 0;
    if (inside && n % 50 == 0)
    {
      phantom.image->GetBufferPointer()[n] = n % 100 == 0 ? 0.0F : -30.0F;
      ++bad;
    }
    positive->GetBufferPointer()[n] = inside && n % 50 != 0 ? 1 : 0;
  }
  ASSERT_GT(bad, 20U);
  const auto filter = MakeFilter(phantom, 1, 20);
  filter->Update();
  EXPECT_EQ(filter->GetNumberOfNonPositiveVoxels(), bad);
  const auto without = MakeFilter(phantom, 1, 20);
  without->SetMaskImage(positive);
  without->Update();
  EXPECT_EQ(without->GetNumberOfNonPositiveVoxels(), 0U);
  EXPECT_TRUE(oblique::SameVoxels(filter->GetLogBiasField(), without->GetLogBiasField()));
  // They are divided like the others.
  for (itk::ImageRegionConstIteratorWithIndex<ImageType> it(phantom.image, phantom.image->GetLargestPossibleRegion());
       !it.IsAtEnd();
       ++it)
  {
    ASSERT_EQ(it.Get() < 0.0F, filter->GetOutput()->GetPixel(it.GetIndex()) < 0.0F);
    ASSERT_EQ(it.Get() == 0.0F, filter->GetOutput()->GetPixel(it.GetIndex()) == 0.0F);
  }

  // Why: taken as logarithms, as in ITK's filter, two voxels in a hundred spoil the field.
  const auto distance = [&clean](const ImageType * field) {
    double n = 0.0;
    double sum = 0.0;
    double squares = 0.0;
    for (itk::SizeValueType i = 0; i < clean.mask->GetLargestPossibleRegion().GetNumberOfPixels(); ++i)
    {
      if (clean.mask->GetBufferPointer()[i] != 0)
      {
        const double difference = field->GetBufferPointer()[i] - clean.field->GetBufferPointer()[i];
        ++n;
        sum += difference;
        squares += difference * difference;
      }
    }
    return std::sqrt(squares / n - sum * sum / n / n);
  };
  const auto theirs = ITKsLogField<3>(phantom.image, phantom.mask);
  EXPECT_LT(distance(filter->GetLogBiasField()), 0.5 * distance(theirs));

  phantom.image->FillBuffer(-1.0F);
  EXPECT_NE(MessageOf(MakeFilter(phantom, 1).GetPointer()).find("none of them is above 0"), std::string::npos);
}

TEST(N4BiasCorrectionChainFilter, MaximumSecondsEndsTheFitAfterAnIteration)
{
  const Phantom phantom(30, 26, 20);
  const auto    filter = MakeFilter(phantom, 1, 10);
  filter->SetMaximumSeconds(1e-9);
  filter->Update();
  EXPECT_EQ(filter->GetStatus(), "stopped after MaximumSeconds");
  EXPECT_EQ(filter->GetIterationsPerLevel()[0], 1.0);
  EXPECT_EQ(filter->GetIterationsPerLevel().sum(), 1.0);
  // The field is that of one iteration, not none.
  const auto one = MakeFilter(phantom, 1, 1);
  one->SetNumberOfFittingLevels(1);
  FilterType::IterationsType oneIteration(1);
  oneIteration.Fill(1);
  one->SetMaximumNumberOfIterations(oneIteration);
  one->Update();
  EXPECT_TRUE(oblique::SameVoxels(filter->GetLogBiasField(), one->GetLogBiasField()));
  EXPECT_GT(filter->GetLogFieldMaximum() - filter->GetLogFieldMinimum(), 0.01);

  // A limit that is not reached changes nothing.
  const auto free = MakeFilter(phantom, 1, 10);
  free->Update();
  filter->SetMaximumSeconds(3600.0);
  filter->Update();
  EXPECT_EQ(filter->GetStatus(), "stopped at the maximum number of iterations");
  EXPECT_TRUE(oblique::SameVoxels(filter->GetLogBiasField(), free->GetLogBiasField()));
}

TEST(N4BiasCorrectionChainFilter, RescalingKeepsMeanOrRange)
{
  using Rescaling = FilterType::RescalingEnum;
  const Phantom phantom(40, 36, 24);
  const auto    plain = MakeFilter(phantom);
  plain->Update();
  struct Summary
  {
    double mean{ 0.0 };
    double lowest{ 1e9 };
    double highest{ -1e9 };
  };
  const auto summarize = [&phantom](const ImageType * image) {
    Summary summary;
    double  n = 0.0;
    for (itk::SizeValueType i = 0; i < image->GetLargestPossibleRegion().GetNumberOfPixels(); ++i)
    {
      if (phantom.mask->GetBufferPointer()[i] != 0)
      {
        const double value = image->GetBufferPointer()[i];
        ++n;
        summary.mean += value;
        summary.lowest = std::min(summary.lowest, value);
        summary.highest = std::max(summary.highest, value);
      }
    }
    summary.mean /= n;
    return summary;
  };
  // Something outside the mask, to see what happens to it.
  phantom.image->SetPixel({ { 3, -2, 5 } }, 20.0F);
  const Summary before = summarize(phantom.image);
  const Summary drifted = summarize(plain->GetOutput());
  EXPECT_GT(std::abs(drifted.mean / before.mean - 1.0), 1e-3) << "There is no drift to undo.";
  EXPECT_EQ(plain->GetScale(), 1.0);
  for (const bool masked : { true, false })
  {
    const auto mean = MakeFilter(phantom);
    const auto range = MakeFilter(phantom);
    mean->SetRescaling(Rescaling::Mean);
    range->SetRescaling(Rescaling::Range);
    if (!masked)
    {
      mean->SetMaskImage(nullptr);
      range->SetMaskImage(nullptr);
    }
    mean->Update();
    range->Update();
    // Otsu's voxels are not quite those of the mask.
    const double undone = masked ? 1e-5 : 0.3 * std::abs(drifted.mean / before.mean - 1.0);
    EXPECT_NEAR(summarize(mean->GetOutput()).mean / before.mean, 1.0, undone) << masked;
    EXPECT_NEAR(summarize(range->GetOutput()).highest, before.highest, 1e-4 * before.highest) << masked;
    EXPECT_EQ(mean->GetShift(), 0.0);
    EXPECT_NE(range->GetShift(), 0.0);
    const float corner = 20.0F / std::exp(mean->GetLogBiasField()->GetPixel({ { 3, -2, 5 } }));
    EXPECT_NEAR(mean->GetOutput()->GetPixel({ { 3, -2, 5 } }), mean->GetScale() * corner, 1e-3);
    if (masked)
    {
      // Otsu's threshold may lie below the corner, the mask is elsewhere.
      EXPECT_NEAR(range->GetOutput()->GetPixel({ { 3, -2, 5 } }), corner, 1e-3);
      EXPECT_NEAR(summarize(range->GetOutput()).lowest, before.lowest, 1e-4 * before.lowest);
      EXPECT_TRUE(oblique::SameVoxels(mean->GetLogBiasField(), plain->GetLogBiasField()));
    }
  }

  // Streaming asks slice by slice here too.
  const auto source = oblique::MakeSource(phantom.image.GetPointer());
  const auto monitor = itk::PipelineMonitorImageFilter<ImageType>::New();
  monitor->SetInput(source->GetOutput());
  const auto whole = MakeFilter(phantom);
  whole->SetRescaling(Rescaling::Mean);
  whole->Update();
  const auto streamed = MakeFilter(phantom);
  streamed->SetInput(monitor->GetOutput());
  streamed->SetRescaling(Rescaling::Mean);
  const auto streamer = itk::StreamingImageFilter<ImageType, ImageType>::New();
  streamer->SetInput(streamed->GetOutput());
  streamer->SetNumberOfStreamDivisions(4);
  streamer->Update();
  EXPECT_TRUE(oblique::SameVoxels(streamer->GetOutput(), whole->GetOutput()));
  for (const auto & region : monitor->GetUpdatedRequestedRegions())
  {
    EXPECT_LE(region.GetSize(2), 6U);
  }
}

TEST(N4BiasCorrectionChainFilter, NothingIsAllocatedWithinAnIteration)
{
  const Phantom phantom(72, 72, 50);
  const auto    size = phantom.image->GetLargestPossibleRegion().GetSize();
  const auto    allocationsOf = [&](unsigned int threads, unsigned int iterations) {
    const auto fit = itk::TensorProductN4::New();
    ForceIterations(fit.GetPointer(), iterations);
    fit->SetNumberOfThreads(threads);
    const std::size_t before = allocations;
    fit->Fit(phantom.image->GetBufferPointer(), phantom.mask->GetBufferPointer(), nullptr, size);
    return allocations - before;
  };
  for (const unsigned int threads : { 1U, 2U })
  {
    allocationsOf(threads, 1); // what torch's threads allocate once
    const std::size_t few = allocationsOf(threads, 2);
    EXPECT_GT(few, 10U) << "Allocations are not counted.";
    EXPECT_EQ(allocationsOf(threads, 12), few) << threads;
  }
}

TEST(N4BiasCorrectionChainFilter, NoFiniteVoxelInsideTheMaskIsRefused)
{
  for (const float bad : { std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity() })
  {
    // Start index 3, -2, 5; ShrinkFactor 2 takes 4, -1, 6 and so on: one voxel that is taken and one that is not.
    for (const int x : { 14, 15 })
    {
      const Phantom        phantom(24, 20, 16);
      ImageType::IndexType index = { { x, 7, 14 } };
      ASSERT_EQ(phantom.mask->GetPixel(index), 1);
      phantom.image->SetPixel(index, bad);
      const auto        filter = MakeFilter(phantom);
      const std::string message = MessageOf(filter.GetPointer());
      EXPECT_NE(message.find("[" + std::to_string(x) + ", 7, 14]"), std::string::npos) << x << ": " << message;
      phantom.mask->SetPixel(index, 0);
      phantom.mask->Modified();
      EXPECT_EQ(MessageOf(filter.GetPointer()), "");
    }
  }
}

TEST(N4BiasCorrectionChainFilter, AMaskThatCannotBeUsedIsRefused)
{
  const Phantom phantom(24, 20, 16);
  const auto    filter = MakeFilter(phantom);
  const auto    empty = oblique::Make<MaskType>(24, 20, 16);
  filter->SetMaskImage(empty);
  EXPECT_NE(MessageOf(filter.GetPointer()).find("mask has no voxel"), std::string::npos);

  const auto larger = oblique::Make<MaskType>(25, 20, 16);
  larger->FillBuffer(1);
  filter->SetMaskImage(larger);
  EXPECT_NE(MessageOf(filter.GetPointer()).find("resample the mask"), std::string::npos);

  const auto elsewhere = oblique::Make<MaskType>(24, 20, 16);
  elsewhere->FillBuffer(1);
  const double spacing[] = { 1.0, 1.0, 1.0 };
  elsewhere->SetSpacing(spacing);
  filter->SetMaskImage(elsewhere);
  EXPECT_NE(MessageOf(filter.GetPointer()).find("same physical space"), std::string::npos);

  filter->SetMaskImage(phantom.mask);
  EXPECT_EQ(MessageOf(filter.GetPointer()), "");
}

TEST(N4BiasCorrectionChainFilter, ParametersAreChecked)
{
  const Phantom phantom(16, 16, 16);
  const auto    refuses = [&phantom](const std::string & text, auto change) {
    const auto filter = MakeFilter(phantom);
    change(filter.GetPointer());
    const std::string message = MessageOf(filter.GetPointer());
    EXPECT_NE(message.find(text), std::string::npos) << message;
  };
  refuses("ShrinkFactors is [0, 0, 0]", [](FilterType * filter) { filter->SetShrinkFactor(0); });
  refuses("SplineOrder is 0", [](FilterType * filter) { filter->SetSplineOrder(0); });
  refuses("SplineOrder is 16", [](FilterType * filter) { filter->SetSplineOrder(16); });
  refuses("give 6 (SplineOrder + 1) to 100", [](FilterType * filter) { filter->SetSplineOrder(5); });
  refuses("MaximumSeconds is -1", [](FilterType * filter) { filter->SetMaximumSeconds(-1.0); });
  refuses("NumberOfFittingLevels is [0, 0, 0]", [](FilterType * filter) { filter->SetNumberOfFittingLevels(0); });
  refuses("has 4 entries", [](FilterType * filter) { filter->SetNumberOfFittingLevels(3); });
  refuses("NumberOfHistogramBins is 1", [](FilterType * filter) { filter->SetNumberOfHistogramBins(1); });
  refuses("WienerFilterNoise is 0", [](FilterType * filter) { filter->SetWienerFilterNoise(0.0); });
  refuses("FullWidthAtHalfMaximum is -1",
          [](FilterType * filter) { filter->SetBiasFieldFullWidthAtHalfMaximum(-1.0); });
  refuses("ConvergenceThreshold is nan",
          [](FilterType * filter) { filter->SetConvergenceThreshold(std::numeric_limits<double>::quiet_NaN()); });
  refuses("NumberOfControlPoints is [4, 3, 4]", [](FilterType * filter) {
    FilterType::ControlPointsType points;
    points.Fill(4);
    points[1] = 3;
    filter->SetNumberOfControlPoints(points);
  });
  refuses("nonsense", [](FilterType * filter) { filter->SetDevice("nonsense"); });
}

TEST(N4BiasCorrectionChainFilter, KeepsGeometryAndDictionary)
{
  const Phantom phantom(20, 18, 16);
  const auto    filter = MakeFilter(phantom);
  filter->Update();
  for (const ImageType * const output : { static_cast<const ImageType *>(filter->GetOutput()),
                                          static_cast<const ImageType *>(filter->GetLogBiasField()) })
  {
    EXPECT_EQ(output->GetLargestPossibleRegion(), phantom.image->GetLargestPossibleRegion());
    EXPECT_EQ(output->GetOrigin(), phantom.image->GetOrigin());
    EXPECT_EQ(output->GetSpacing(), phantom.image->GetSpacing());
    EXPECT_EQ(output->GetDirection(), phantom.image->GetDirection());
    EXPECT_EQ(oblique::Scanner(output), "phantom");
  }
}

TEST(N4BiasCorrectionChainFilter, TheStartIndexDoesNotMatter)
{
  for (const unsigned int shrink : { 3U, 4U })
  {
    const Phantom phantom(41, 38, 30);
    const auto    filter = MakeFilter(phantom, shrink);
    filter->Update();
    const auto size = phantom.image->GetLargestPossibleRegion().GetSize();
    const auto image = ImageType::New();
    image->SetRegions(size);
    image->Allocate();
    const auto mask = MaskType::New();
    mask->SetRegions(size);
    mask->Allocate();
    const auto count = image->GetLargestPossibleRegion().GetNumberOfPixels();
    std::copy_n(phantom.image->GetBufferPointer(), count, image->GetBufferPointer());
    std::copy_n(phantom.mask->GetBufferPointer(), count, mask->GetBufferPointer());
    const auto plain = MakeFilter(phantom, shrink);
    plain->SetInput(image);
    plain->SetMaskImage(mask);
    plain->Update();
    EXPECT_TRUE(std::equal(plain->GetLogBiasField()->GetBufferPointer(),
                           plain->GetLogBiasField()->GetBufferPointer() + count,
                           filter->GetLogBiasField()->GetBufferPointer()));
    EXPECT_LT(filter->GetLogFieldMinimum(), -0.05);
  }
}

TEST(N4BiasCorrectionChainFilter, StreamsAndFitsOnce)
{
  const Phantom phantom(44, 40, 42);
  const auto    whole = MakeFilter(phantom);
  whole->Update();

  const auto source = oblique::MakeSource(phantom.image.GetPointer());
  const auto monitor = itk::PipelineMonitorImageFilter<ImageType>::New();
  monitor->SetInput(source->GetOutput());
  const auto filter = MakeFilter(phantom);
  filter->SetInput(monitor->GetOutput());
  unsigned int iterations = 0;
  const auto   count = itk::CStyleCommand::New();
  count->SetClientData(&iterations);
  count->SetCallback(
    [](itk::Object *, const itk::EventObject &, void * data) { ++*static_cast<unsigned int *>(data); });
  filter->AddObserver(itk::IterationEvent(), count);
  const auto streamer = itk::StreamingImageFilter<ImageType, ImageType>::New();
  streamer->SetInput(filter->GetOutput());
  streamer->SetNumberOfStreamDivisions(7);
  streamer->Update();

  EXPECT_TRUE(oblique::SameVoxels(streamer->GetOutput(), whole->GetOutput()));
  EXPECT_EQ(iterations, 20U);
  // 21 slices for the fit, 7 pieces for the division; never the whole image.
  EXPECT_EQ(monitor->GetNumberOfUpdates(), 21U + 7U);
  for (const auto & region : monitor->GetUpdatedRequestedRegions())
  {
    EXPECT_LE(region.GetSize(2), 6U);
  }

  // Nothing changed: nothing is fitted. A parameter changed, or a voxel: it is.
  streamer->Update();
  EXPECT_EQ(iterations, 20U);
  filter->SetWienerFilterNoise(0.02);
  streamer->Update();
  EXPECT_EQ(iterations, 40U);
  EXPECT_FALSE(oblique::SameVoxels(streamer->GetOutput(), whole->GetOutput()));
  phantom.image->Modified();
  streamer->Update();
  EXPECT_EQ(iterations, 60U);
}

TEST(N4BiasCorrectionChainFilter, AnObserverSeesProgressAndCanAbort)
{
  const Phantom phantom(40, 36, 24);
  const auto    filter = MakeFilter(phantom);

  // Each of the 20 iterations is told of, and moves the bar.
  float        last = -1.0F;
  unsigned int steps = 0;
  const auto   watch = filter->AddObserver(itk::ProgressEvent(), [&](const itk::EventObject &) {
    steps += filter->GetProgress() > last && filter->GetProgress() > 0.1F && filter->GetProgress() < 0.91F ? 1 : 0;
    EXPECT_GE(filter->GetProgress(), last);
    last = filter->GetProgress();
  });
  filter->Update();
  EXPECT_GE(steps, 20U);
  EXPECT_EQ(last, 1.0F);
  filter->RemoveObserver(watch);
  filter->Modified();

  unsigned int iterations = 0;
  const auto   abort = itk::CStyleCommand::New();
  abort->SetClientData(&iterations);
  abort->SetCallback([](itk::Object * caller, const itk::EventObject &, void * data) {
    if (++*static_cast<unsigned int *>(data) == 7)
    {
      static_cast<itk::ProcessObject *>(caller)->AbortGenerateDataOn();
    }
  });
  const auto tag = filter->AddObserver(itk::IterationEvent(), abort);
  EXPECT_THROW(filter->Update(), itk::ProcessAborted);
  EXPECT_EQ(iterations, 7U);

  // The next run starts anew and comes to its end.
  filter->RemoveObserver(tag);
  filter->Update();
  const auto fresh = MakeFilter(phantom);
  fresh->Update();
  EXPECT_TRUE(oblique::SameVoxels(filter->GetOutput(), fresh->GetOutput()));

  // So it does when the division is aborted.
  filter->Modified();
  const auto late = filter->AddObserver(itk::ProgressEvent(), [&](const itk::EventObject &) {
    if (filter->GetProgress() > 0.901F)
    {
      filter->AbortGenerateDataOn();
    }
  });
  EXPECT_THROW(filter->Update(), itk::ProcessAborted);
  filter->RemoveObserver(late);
  filter->Update();
  EXPECT_TRUE(oblique::SameVoxels(filter->GetOutput(), fresh->GetOutput()));
}

TEST(N4BiasCorrectionChainFilter, ThreadsAndOperatorsDoNotChangeTheField)
{
  // Large enough for several threads.
  const Phantom phantom(72, 72, 50);
  const auto    size = phantom.image->GetLargestPossibleRegion().GetSize();
  const auto    one = itk::TensorProductN4::New();
  const auto    three = itk::TensorProductN4::New();
  const auto    operators = itk::TensorProductN4::New();
  for (const auto & fit : { one, three, operators })
  {
    ForceIterations(fit.GetPointer(), 3);
    fit->SetNumberOfThreads(fit == three ? 3 : 1);
    fit->SetUseTorchOperators(fit == operators);
    fit->Fit(phantom.image->GetBufferPointer(), phantom.mask->GetBufferPointer(), nullptr, size);
  }
  EXPECT_EQ(one->GetLattice(), three->GetLattice());
  ASSERT_EQ(one->GetLattice().size(), operators->GetLattice().size());
  EXPECT_EQ(one->GetLatticeSize()[0], 11U);
  double highest = 0.0;
  for (std::size_t n = 0; n < one->GetLattice().size(); ++n)
  {
    highest = std::max(highest, std::abs(one->GetLattice()[n]));
    EXPECT_NEAR(one->GetLattice()[n], operators->GetLattice()[n], 2e-4);
  }
  EXPECT_GT(highest, 0.1);
}

TEST(N4BiasCorrectionChainFilter, RunsOnCuda)
{
  const Phantom phantom(48, 44, 32);
  const auto    filter = MakeFilter(phantom);
  filter->SetDevice("cuda");
  const std::string message = MessageOf(filter.GetPointer());
  if (message.find("torch failed on device") != std::string::npos)
  {
    GTEST_SKIP() << message;
  }
  ASSERT_EQ(message, "");
  const auto cpu = MakeFilter(phantom);
  cpu->Update();
  for (itk::SizeValueType n = 0; n < phantom.image->GetLargestPossibleRegion().GetNumberOfPixels(); ++n)
  {
    ASSERT_NEAR(filter->GetLogBiasField()->GetBufferPointer()[n], cpu->GetLogBiasField()->GetBufferPointer()[n], 1e-3);
  }
}

TEST(N4BiasCorrectionChainFilter, PrintsItsMembers)
{
  const auto         filter = FilterType::New();
  std::ostringstream text;
  filter->Print(text);
  for (const char * const name : { "ShrinkFactors: [4, 4, 4]",
                                   "Rescaling: none",
                                   "MaximumSeconds: 0",
                                   "SplineOrder: 3",
                                   "WienerFilterNoise: 0.01",
                                   "MaximumNumberOfIterations: [50, 50, 50, 50]",
                                   "Device: cpu" })
  {
    EXPECT_NE(text.str().find(name), std::string::npos) << name;
  }
  EXPECT_STREQ(filter->GetNameOfClass(), "N4BiasCorrectionChainFilter");
}

TEST(N4BiasCorrectionChainFilter, TheMasksGridAgreesWithinATolerance)
{
  const Phantom phantom(24, 20, 16);
  const auto    filter = MakeFilter(phantom);
  auto          origin = phantom.mask->GetOrigin();
  origin[0] += 5e-4 * phantom.mask->GetSpacing()[0];
  phantom.mask->SetOrigin(origin);
  EXPECT_EQ(MessageOf(filter.GetPointer()), "");
  origin[0] += 2e-3 * phantom.mask->GetSpacing()[0];
  phantom.mask->SetOrigin(origin);
  EXPECT_NE(MessageOf(filter.GetPointer()).find("same physical space"), std::string::npos);
}
