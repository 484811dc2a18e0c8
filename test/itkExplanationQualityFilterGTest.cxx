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
#include "itkExplanationQualityFilter.h"

#include "itkCastImageFilter.h"
#include "itkImageRegionIteratorWithIndex.h"
#include "itkPipelineMonitorImageFilter.h"
#include "itkVectorImage.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

namespace
{
using MapType = itk::Image<float, 3>;
using VectorMapType = itk::VectorImage<float, 3>;
using MaskType = itk::Image<unsigned char, 3>;
using FilterType = itk::ExplanationQualityFilter<MapType, MaskType>;
using Flag = FilterType::Flag;

/** 20 x 16 x 12 voxels from index (-3, 5, 2), oblique, anisotropic. */
template <typename TImage>
typename TImage::Pointer
MakeImage(unsigned int components = 1)
{
  auto                      image = TImage::New();
  typename TImage::SizeType size{ { 20, 16, 12 } };
  image->SetRegions(typename TImage::RegionType(typename TImage::IndexType{ { -3, 5, 2 } }, size));
  const double spacing[3] = { 1.0, 0.5, 2.0 };
  image->SetSpacing(spacing);
  const double origin[3] = { 7.0, -20.0, 3.5 };
  image->SetOrigin(origin);
  typename TImage::DirectionType direction;
  direction.SetIdentity();
  direction[0][0] = direction[1][1] = 0.8;
  direction[0][1] = -0.6;
  direction[1][0] = 0.6;
  image->SetDirection(direction);
  image->SetNumberOfComponentsPerPixel(components);
  image->Allocate();
  return image;
}

template <typename TImage>
typename TImage::Pointer
Fill(const std::function<double(itk::IndexValueType, itk::IndexValueType, itk::IndexValueType)> & value)
{
  auto                                      image = MakeImage<TImage>();
  itk::ImageRegionIteratorWithIndex<TImage> it(image, image->GetLargestPossibleRegion());
  for (; !it.IsAtEnd(); ++it)
  {
    const auto i = it.GetIndex();
    it.Set(static_cast<typename TImage::PixelType>(value(i[0] + 3, i[1] - 5, i[2] - 2))); // counted from the corner
  }
  return image;
}

/** x in [4, 8), all y, all z: a fifth of the image. */
MaskType::Pointer
Tumour()
{
  return Fill<MaskType>([](auto x, auto, auto) { return x >= 4 && x < 8 ? 1 : 0; });
}

bool
Has(unsigned long flags, Flag flag)
{
  return (flags & static_cast<unsigned long>(flag)) != 0;
}
} // namespace

TEST(ExplanationQualityFilter, SharesAreTheClosedForm)
{
  // Energy 3 in the tumour's 4 columns, 1 in the other 16: 12 of 28, at a chance of 4 in 20.
  const auto filter = FilterType::New();
  filter->SetInput(Fill<MapType>([](auto x, auto, auto) { return x >= 4 && x < 8 ? -3.0 : 1.0; }));
  filter->SetTumourMask(Tumour());
  filter->Update();
  EXPECT_NEAR(filter->GetTotalEnergy(), 28.0 * 16 * 12, 1e-9);
  EXPECT_NEAR(filter->GetTumourShare(), 12.0 / 28.0, 1e-12);
  EXPECT_NEAR(filter->GetTumourChance(), 0.2, 1e-12);
  EXPECT_NEAR(filter->GetTumourRatio(), 12.0 / 28.0 / 0.2, 1e-12);
  EXPECT_EQ(filter->GetTumourCoverage(), 1.0);
  EXPECT_EQ(filter->GetPeakInTumour(), 1.0);
  EXPECT_EQ(filter->GetFlags(), 0UL);

  // Of positive parts nothing is left in the tumour.
  filter->SetEnergyMode(FilterType::Energy::Positive);
  filter->Update();
  EXPECT_EQ(filter->GetTumourShare(), 0.0);
  EXPECT_EQ(filter->GetPeakInTumour(), 0.0);
  EXPECT_EQ(filter->GetFlags(), static_cast<unsigned long>(Flag::TumourMissed));
}

TEST(ExplanationQualityFilter, OnlyTheSupportCounts)
{
  // The support holds columns 6 to 9: two of the tumour's four, half of the support.
  const auto filter = FilterType::New();
  filter->SetInput(Fill<MapType>([](auto x, auto, auto) { return x == 0 ? 1000.0 : 1.0; }));
  filter->SetSupport(Fill<MaskType>([](auto x, auto, auto) { return x >= 6 && x < 10 ? 1 : 0; }));
  filter->SetTumourMask(Tumour());
  filter->Update();
  EXPECT_NEAR(filter->GetTumourShare(), 0.5, 1e-12);
  EXPECT_NEAR(filter->GetTumourChance(), 0.5, 1e-12);
  EXPECT_NEAR(filter->GetTumourRatio(), 1.0, 1e-12);
  EXPECT_NEAR(filter->GetTumourCoverage(), 0.5, 1e-12);

  filter->SetSupport(Fill<MaskType>([](auto x, auto, auto) { return x >= 10 ? 1 : 0; }));
  filter->Update();
  EXPECT_EQ(filter->GetTumourCoverage(), 0.0);
  EXPECT_EQ(filter->GetFlags(), static_cast<unsigned long>(Flag::SupportMissesTumour));
}

TEST(ExplanationQualityFilter, BorderIsAShellInMillimetres)
{
  // Brain: x in [5, 15), 1 mm a voxel: a shell of 2 mm are the layers 5, 6 and 13, 14.
  const auto filter = FilterType::New();
  filter->SetInput(Fill<MapType>([](auto x, auto, auto) { return x == 5 || x == 14 || x == 16 ? 1.0 : 0.0; }));
  filter->SetTumourMask(Fill<MaskType>([](auto x, auto, auto) { return x == 9 || x == 10 ? 1 : 0; }));
  filter->SetBrainMask(Fill<MaskType>([](auto x, auto, auto) { return x >= 5 && x < 15 ? 1 : 0; }));
  filter->SetBorderWidth(2.0);
  filter->Update();
  EXPECT_EQ(filter->GetBorderShare(), 1.0);
  EXPECT_NEAR(filter->GetBorderChance(), 4.0 / 10.0, 1e-12);
  EXPECT_NEAR(filter->GetBorderRatio(), 2.5, 1e-12);
  EXPECT_NEAR(filter->GetOutsideShare(), 1.0 / 3.0, 1e-12);
  EXPECT_NEAR(filter->GetTumourChance(), 2.0 / 10.0, 1e-12); // of the brain, not of the image
  EXPECT_TRUE(Has(filter->GetFlags(), Flag::BorderDominated));
  EXPECT_TRUE(Has(filter->GetFlags(), Flag::TumourMissed));

  // Along y a voxel is 0.5 mm: 2 mm are four layers of the eight.
  filter->SetBrainMask(Fill<MaskType>([](auto, auto y, auto) { return y >= 8 ? 1 : 0; }));
  filter->Update();
  EXPECT_NEAR(filter->GetBorderChance(), 4.0 / 8.0, 1e-12);

  filter->MeasureBorderOff();
  filter->Update();
  EXPECT_TRUE(std::isnan(filter->GetBorderShare()));
  EXPECT_FALSE(std::isnan(filter->GetOutsideShare()));
  filter->MeasureBorderOn();

  // A brain that fills the image shows no border, and nothing lies outside it.
  filter->SetBrainMask(Fill<MaskType>([](auto, auto, auto) { return 1; }));
  filter->Update();
  EXPECT_TRUE(std::isnan(filter->GetBorderChance()));
  EXPECT_EQ(filter->GetOutsideShare(), 0.0);
  EXPECT_FALSE(Has(filter->GetFlags(), Flag::BorderDominated));
}

// The shell of one map's update serves another's, and is read from any image.
TEST(ExplanationQualityFilter, TakesABorderThatIsKnown)
{
  const auto make = [] {
    const auto filter = FilterType::New();
    filter->SetInput(Fill<MapType>([](auto x, auto y, auto z) { return 1.0 + (7 * x + 3 * y + 5 * z) % 11; }));
    filter->SetTumourMask(Fill<MaskType>([](auto x, auto, auto) { return x == 9 || x == 10 ? 1 : 0; }));
    filter->SetBrainMask(Fill<MaskType>([](auto x, auto, auto) { return x >= 5 && x < 15 ? 1 : 0; }));
    filter->SetBorderWidth(2.0);
    return filter;
  };
  const auto made = make();
  EXPECT_EQ(made->GetBorderShell(), nullptr);
  made->Update();
  ASSERT_NE(made->GetBorderShell(), nullptr);
  const auto taken = make();
  taken->SetBorderMask(made->GetBorderShell());
  taken->Update();
  EXPECT_EQ(taken->GetBorderShell(), made->GetBorderShell());
  EXPECT_EQ(taken->GetBorderShare(), made->GetBorderShare());
  EXPECT_EQ(taken->GetBorderRatio(), made->GetBorderRatio());

  // Column 5 alone: a tenth of the brain.
  taken->SetBorderMask(Fill<MaskType>([](auto x, auto, auto) { return x == 5 ? 1 : 0; }));
  taken->Update();
  EXPECT_NEAR(taken->GetBorderChance(), 0.1, 1e-12);
  taken->MeasureBorderOff();
  taken->Update();
  EXPECT_EQ(taken->GetBorderShell(), nullptr);
  EXPECT_TRUE(std::isnan(taken->GetBorderShare()));
}

// Along a mask's axes its voxels are found by tables, across them point by point: both must count the same.
TEST(ExplanationQualityFilter, PermutedAndFlippedMasksCountTheSame)
{
  const auto straight = [](auto image) {
    auto direction = image->GetDirection();
    direction.SetIdentity();
    image->SetDirection(direction);
    return image;
  };
  const auto map = straight(Fill<MapType>([](auto x, auto y, auto z) { return 1.0 + (7 * x + 3 * y + 5 * z) % 11; }));
  // Twice as fine along x, its axes z, x (flipped), y.
  const auto mask = MaskType::New();
  mask->SetRegions(MaskType::RegionType(MaskType::IndexType{ { 2, 0, -1 } }, MaskType::SizeType{ { 12, 40, 16 } }));
  const double spacing[3] = { 2.0, 0.5, 0.5 };
  mask->SetSpacing(spacing);
  MaskType::DirectionType direction;
  direction.Fill(0.0);
  direction[2][0] = 1.0;
  direction[0][1] = -1.0;
  direction[1][2] = 1.0;
  mask->SetDirection(direction);
  mask->Allocate();
  // Its outermost centres lie a quarter of the map's voxel inside the map's edge.
  MaskType::PointType origin = map->GetOrigin();
  origin[0] += (-3 + 19 + 0.25) * 1.0;
  origin[1] += (5 + 1) * 0.5;
  mask->SetOrigin(origin);
  for (itk::ImageRegionIteratorWithIndex<MaskType> it(mask, mask->GetLargestPossibleRegion()); !it.IsAtEnd(); ++it)
  {
    it.Set((5 * it.GetIndex()[0] + 3 * it.GetIndex()[1] + 7 * it.GetIndex()[2] + 40) % 4 == 0 ? 1 : 0);
  }
  const auto measure = [&](MaskType * tumour) {
    const auto filter = FilterType::New();
    filter->SetInput(map);
    filter->SetTumourMask(tumour);
    filter->Update();
    return std::make_pair(filter->GetTumourShare(), filter->GetTumourCoverage());
  };
  const auto byTable = measure(mask);
  EXPECT_GT(byTable.second, 0.9);
  // A turn that no point notices.
  direction[0][0] = 1e-15;
  mask->SetDirection(direction);
  const auto pointByPoint = measure(mask);
  EXPECT_EQ(byTable.first, pointByPoint.first);
  EXPECT_EQ(byTable.second, pointByPoint.second);
}

TEST(ExplanationQualityFilter, RanksAndConcentrationAreTheClosedForm)
{
  // 20 columns: one of energy 8 and three of 4 in the tumour's place or not, the others 1.
  const auto filter = FilterType::New();
  filter->SetInput(Fill<MapType>([](auto x, auto, auto) {
    return x == 4 ? 8.0 : x == 5 || x == 12 || x == 13 ? 4.0 : 1.0;
  }));
  filter->SetTumourMask(Tumour()); // columns 4 to 7
  filter->Update();
  EXPECT_NEAR(filter->GetTumourRankAccuracy(), 2.0 / 4.0, 1e-12);
  // Gini of 16 x 1, 3 x 4, 1 x 8: ranks 1..16, 17..19, 20 of n = 20, sum 36.
  double weighted = 0.0;
  for (int rank = 1; rank <= 20; ++rank)
  {
    weighted += (2.0 * rank - 21.0) * (rank <= 16 ? 1.0 : rank <= 19 ? 4.0 : 8.0);
  }
  EXPECT_NEAR(filter->GetGini(), weighted / (20.0 * 36.0), 1e-9);

  // A map that is even everywhere knows nothing: ties count evenly.
  filter->SetInput(Fill<MapType>([](auto, auto, auto) { return 0.3; }));
  filter->Update();
  EXPECT_NEAR(filter->GetTumourRankAccuracy(), 0.2, 1e-9);
  EXPECT_NEAR(filter->GetGini(), 0.0, 1e-9);
}

TEST(ExplanationQualityFilter, MasksComeToTheMapsGridAsFractions)
{
  // Cells of 4 x 4 x 4 voxels: 5 x 4 x 3 of them cover the 20 x 16 x 12 voxels exactly.
  const auto voxels = MakeImage<MaskType>();
  const auto cells = MapType::New();
  cells->SetRegions(itk::Size<3>{ { 5, 4, 3 } });
  cells->SetDirection(voxels->GetDirection());
  auto spacing = voxels->GetSpacing();
  spacing *= 4.0;
  cells->SetSpacing(spacing);
  itk::ContinuousIndex<double, 3> first;
  for (unsigned int d = 0; d < 3; ++d)
  {
    first[d] = static_cast<double>(voxels->GetLargestPossibleRegion().GetIndex(d)) + 1.5;
  }
  MapType::PointType origin;
  voxels->TransformContinuousIndexToPhysicalPoint(first, origin);
  cells->SetOrigin(origin);
  cells->Allocate();
  itk::ImageRegionIteratorWithIndex<MapType> it(cells, cells->GetLargestPossibleRegion());
  for (; !it.IsAtEnd(); ++it)
  {
    it.Set(static_cast<float>(1 + it.GetIndex()[0])); // 1 to 5 along x
  }

  // Tumour: x in [3, 6), a quarter of the first cells and half of the second. Brain: x in [2, 20), half of the first.
  const auto filter = FilterType::New();
  filter->SetInput(cells);
  filter->SetTumourMask(Fill<MaskType>([](auto x, auto, auto) { return x >= 3 && x < 6 ? 1 : 0; }));
  filter->SetBrainMask(Fill<MaskType>([](auto x, auto, auto) { return x >= 2 ? 1 : 0; }));
  filter->SetRegionLabels(Fill<MaskType>([](auto x, auto, auto) { return x >= 18 ? 7 : x >= 16 ? 3 : 0; }));
  filter->Update();
  const double energy = 1.0 * 0.5 + 2.0 + 3.0 + 4.0 + 5.0;
  EXPECT_NEAR(filter->GetTotalEnergy(), 12.0 * energy, 1e-4);
  EXPECT_NEAR(filter->GetTumourShare(), (0.25 + 2.0 * 0.5) / energy, 1e-6);
  EXPECT_NEAR(filter->GetTumourChance(), 0.75 / 4.5, 1e-9);
  EXPECT_NEAR(filter->GetTumourCoverage(), 1.0, 1e-9);
  EXPECT_NEAR(filter->GetOutsideShare(), 0.5 / 15.0, 1e-9);
  EXPECT_EQ(filter->GetPeakInTumour(), 0.0);
  ASSERT_EQ(filter->GetLabels().Size(), 2U);
  EXPECT_EQ(filter->GetLabels()[0], 3.0);
  EXPECT_EQ(filter->GetLabels()[1], 7.0);
  EXPECT_NEAR(filter->GetLabelShares()[0], 5.0 * 0.5 / energy, 1e-6);
  EXPECT_NEAR(filter->GetLabelChances()[1], 0.5 / 4.5, 1e-9);
  EXPECT_NEAR(filter->GetLabelRatios()[1], 5.0 / energy * 4.5, 1e-6);
}

TEST(ExplanationQualityFilter, WhatDoesNotExistIsNotANumber)
{
  const auto filter = FilterType::New();
  filter->SetInput(Fill<MapType>([](auto, auto, auto) { return 1.0; }));
  filter->SetSupport(Fill<MaskType>([](auto x, auto, auto) { return x >= 10 ? 1 : 0; }));
  filter->SetTumourMask(Tumour()); // the support misses it
  filter->Update();
  for (const double number : { filter->GetTumourShare(),
                               filter->GetTumourChance(),
                               filter->GetTumourRatio(),
                               filter->GetPeakInTumour(),
                               filter->GetTumourRankAccuracy(),
                               filter->GetBorderShare(),
                               filter->GetOutsideShare() })
  {
    EXPECT_TRUE(std::isnan(number)) << number;
  }
  EXPECT_EQ(filter->GetTumourCoverage(), 0.0);
  EXPECT_NEAR(filter->GetGini(), 0.0, 1e-9);

  // A brain that the map does not show is a mistake.
  filter->SetBrainMask(Fill<MaskType>([](auto x, auto, auto) { return x < 3 ? 1 : 0; }));
  EXPECT_THROW(filter->Update(), itk::ExceptionObject);
}

TEST(ExplanationQualityFilter, AddsTheSequencesOfAVectorMap)
{
  using VectorFilterType = itk::ExplanationQualityFilter<VectorMapType, MaskType>;
  const auto map = MakeImage<VectorMapType>(2);
  auto       value = itk::VariableLengthVector<float>(2);
  value[0] = -2.0F;
  value[1] = 0.5F;
  map->FillBuffer(value);
  const auto filter = VectorFilterType::New();
  filter->SetInput(map);
  filter->SetTumourMask(Tumour());
  filter->Update();
  EXPECT_NEAR(filter->GetTotalEnergy(), 2.5 * 20 * 16 * 12, 1e-9);
  EXPECT_NEAR(filter->GetTumourRatio(), 1.0, 1e-12);

  // The second sequence looks at the tumour alone.
  itk::ImageRegionIteratorWithIndex<VectorMapType> it(map, map->GetLargestPossibleRegion());
  for (; !it.IsAtEnd(); ++it)
  {
    const auto x = it.GetIndex()[0] + 3;
    value[1] = x >= 4 && x < 8 ? 8.0F : 0.0F;
    it.Set(value);
  }
  map->Modified();
  filter->Update();
  EXPECT_NEAR(filter->GetSequenceShares()[0], 40.0 / 72.0, 1e-12);
  EXPECT_NEAR(filter->GetSequenceTumourShares()[0], 0.2, 1e-12);
  EXPECT_EQ(filter->GetSequenceTumourShares()[1], 1.0);
  EXPECT_NEAR(filter->GetSequenceTumourRatios()[1], 5.0, 1e-12);
  EXPECT_EQ(filter->GetSequencePeaksInTumour()[1], 1.0);
  EXPECT_EQ(filter->GetSequenceTumourRankAccuracies()[1], 1.0);
  EXPECT_NEAR(filter->GetSequenceGinis()[1], 0.8, 1e-9);
  EXPECT_TRUE(std::isnan(filter->GetSequenceBorderRatios()[0]));
}

TEST(ExplanationQualityFilter, StreamsWithTheSameBits)
{
  const auto map = Fill<MapType>([](auto x, auto y, auto z) { return std::sin(0.7 * x + 1.3 * y * z) / 3.0; });
  const auto brain = Fill<MaskType>([](auto x, auto y, auto) { return x > 2 && y > 3 ? 1 : 0; });
  double     first[3] = { 0.0, 0.0, 0.0 };
  for (const unsigned int pieces : { 1U, 7U })
  {
    for (const unsigned int units : { 1U, 5U })
    {
      using MonitorType = itk::PipelineMonitorImageFilter<MapType>;
      const auto monitor = MonitorType::New();
      const auto source = itk::CastImageFilter<MapType, MapType>::New(); // the monitor releases what it reads
      source->SetInput(map);
      source->InPlaceOff();
      monitor->SetInput(source->GetOutput());
      const auto filter = FilterType::New();
      filter->SetInput(monitor->GetOutput());
      filter->SetTumourMask(Tumour());
      filter->SetBrainMask(brain);
      filter->SetNumberOfStreamDivisions(pieces);
      filter->SetNumberOfWorkUnits(units);
      filter->Update();
      // 12 slices in 7 pieces are pieces of 2 slices.
      EXPECT_EQ(monitor->GetNumberOfUpdates(), pieces == 1 ? 1U : 6U);
      const double now[3] = { filter->GetTotalEnergy(), filter->GetTumourShare(), filter->GetBorderShare() };
      for (unsigned int i = 0; i < 3; ++i)
      {
        if (pieces == 1 && units == 1)
        {
          first[i] = now[i];
          EXPECT_GT(now[i], 0.0);
        }
        EXPECT_EQ(first[i], now[i]);
      }
    }
  }
}

TEST(ExplanationQualityFilter, RefusesWhatItCannotJudge)
{
  const auto filter = FilterType::New();
  filter->SetInput(Fill<MapType>([](auto, auto, auto) { return 0.0; }));
  EXPECT_THROW(filter->Update(), itk::ExceptionObject); // no tumour mask
  filter->SetTumourMask(Tumour());
  filter->Update();
  EXPECT_EQ(filter->GetFlags(), static_cast<unsigned long>(Flag::EmptyMap));
  EXPECT_TRUE(std::isnan(filter->GetPeakInTumour()));

  filter->SetInput(
    Fill<MapType>([](auto x, auto, auto) { return x == 2 ? std::numeric_limits<double>::quiet_NaN() : 1.0; }));
  EXPECT_THROW(filter->Update(), itk::ExceptionObject);

  const auto messageOf = [&] {
    try
    {
      filter->Update();
    }
    catch (const itk::ExceptionObject & error)
    {
      return std::string(error.GetDescription());
    }
    return std::string();
  };
  // The same voxel whatever thread is first: here index (-1, 9, 4).
  filter->SetInput(Fill<MapType>([](auto x, auto y, auto z) {
    return (x == 2 && y == 4 && z == 2) || (x == 1 && z == 10) ? std::numeric_limits<double>::infinity() : 1.0;
  }));
  for (const unsigned int threads : { 1U, 4U })
  {
    filter->SetNumberOfWorkUnits(threads);
    const std::string message = messageOf();
    EXPECT_NE(message.find("The map is inf at [-1, 9, 4] (one of 17 such values)"), std::string::npos) << message;
  }

  filter->SetInput(Fill<MapType>([](auto, auto, auto) { return 1.0; }));
  filter->SetBorderWidth(-1.0);
  EXPECT_THROW(filter->Update(), itk::ExceptionObject);
  filter->SetBorderWidth(3.0);

  const auto   elsewhere = Tumour();
  const double origin[3] = { 8.0, -20.0, 3.5 };
  elsewhere->SetOrigin(origin);
  filter->SetSupport(elsewhere);
  EXPECT_NE(messageOf().find("map and its support differ in origin (by 1.2 of a voxel"), std::string::npos)
    << messageOf();
  filter->SetSupport(Tumour());
  EXPECT_NO_THROW(filter->Update());

  filter->SetRegionLabels(Tumour());
  EXPECT_NO_THROW(filter->Update());
}

TEST(ExplanationQualityFilter, RunsAgainAfterAnException)
{
  const auto brain = Fill<MaskType>([](auto, auto, auto) { return 1; });
  const auto elsewhere = Fill<MaskType>([](auto, auto, auto) { return 1; });
  auto       origin = elsewhere->GetOrigin();
  origin[0] += 1000.0;
  elsewhere->SetOrigin(origin);
  const auto intensities = Fill<itk::Image<unsigned short, 3>>([](auto x, auto y, auto) { return x + 20 * y; });

  // After the last piece.
  const auto filter = FilterType::New();
  filter->SetInput(Fill<MapType>([](auto, auto, auto) { return 1.0; }));
  filter->SetTumourMask(Tumour());
  filter->SetBrainMask(elsewhere);
  EXPECT_THROW(filter->Update(), itk::ExceptionObject);
  filter->SetBrainMask(brain);
  filter->Update();
  EXPECT_EQ(filter->GetTotalEnergy(), 20.0 * 16 * 12);

  // Before the first one.
  using LabelFilterType = itk::ExplanationQualityFilter<MapType, itk::Image<unsigned short, 3>>;
  const auto labels = LabelFilterType::New();
  labels->SetInput(filter->GetInput());
  labels->SetTumourMask(Fill<itk::Image<unsigned short, 3>>([](auto x, auto, auto) { return x < 4 ? 1 : 0; }));
  labels->SetRegionLabels(intensities);
  EXPECT_THROW(labels->Update(), itk::ExceptionObject);
  labels->SetRegionLabels(nullptr);
  labels->Update();
  EXPECT_EQ(labels->GetTotalEnergy(), 20.0 * 16 * 12);
}

TEST(ExplanationQualityFilter, OneSliceIsNotDivided)
{
  auto map = MapType::New();
  auto tumour = MaskType::New();
  map->SetRegions(itk::Size<3>{ { 16, 16, 1 } });
  tumour->SetRegions(itk::Size<3>{ { 16, 16, 1 } });
  map->Allocate();
  tumour->Allocate(true);
  double sum = 0.0;
  for (unsigned int i = 0; i < 256; ++i)
  {
    map->GetBufferPointer()[i] = static_cast<float>(i);
    tumour->GetBufferPointer()[i] = i < 40 ? 1 : 0;
    sum += i;
  }
  for (const unsigned int divisions : { 1U, 4U })
  {
    const auto filter = FilterType::New();
    filter->SetInput(map);
    filter->SetTumourMask(tumour);
    filter->SetNumberOfStreamDivisions(divisions);
    filter->Update();
    EXPECT_EQ(filter->GetTotalEnergy(), sum) << divisions;
  }
}
