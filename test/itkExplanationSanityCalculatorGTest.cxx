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
#include "itkExplanationSanityCalculator.h"

#include "SeededBundles.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <sstream>

using CalculatorType = itk::ExplanationSanityCalculator;

TEST(ExplanationSanityCalculator, RankCorrelationIsSpearmans)
{
  EXPECT_NEAR(CalculatorType::RankCorrelation({ 1, 2, 3, 4 }, { 10, 20, 30, 4000 }), 1.0, 1e-12);
  EXPECT_NEAR(CalculatorType::RankCorrelation({ 1, 2, 3, 4 }, { 4, 3, 2, 1 }), -1.0, 1e-12);
  // Ranks 0 1 2.5 2.5 and 1 0 2 3: deviations -1.5 -0.5 1 1 and -0.5 -1.5 0.5 1.5.
  EXPECT_NEAR(CalculatorType::RankCorrelation({ 1, 2, 3, 3 }, { 5, 4, 6, 7 }), 3.5 / std::sqrt(4.5 * 5.0), 1e-12);
  EXPECT_TRUE(std::isnan(CalculatorType::RankCorrelation({ 1, 1, 1 }, { 1, 2, 3 })));
  EXPECT_THROW(CalculatorType::RankCorrelation({ 1, 2 }, { 1 }), itk::ExceptionObject);
}

TEST(ExplanationSanityCalculator, WhatIsNoNumberHasNoRank)
{
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THROW(CalculatorType::RankCorrelation({ 1.0F, nan, 2.0F }, { 1.0F, 2.0F, 3.0F }), itk::ExceptionObject);
}

TEST(ExplanationSanityCalculator, SimilarityIsTheFormula)
{
  // One window of 3 x 3 x 3: means, variances and covariance by hand.
  std::vector<float> a(27, 0.0F);
  std::vector<float> b(27, 0.5F);
  a[13] = 2.0F; // divided by its largest: 1
  b[0] = 1.0F;
  const double meanA = 1.0 / 27.0;
  const double meanB = (26.0 * 0.5 + 1.0) / 27.0;
  const double varianceA = meanA - meanA * meanA;
  const double varianceB = (26.0 * 0.25 + 1.0) / 27.0 - meanB * meanB;
  const double covariance = 0.5 / 27.0 - meanA * meanB;
  const double expected = (2.0 * meanA * meanB + 1e-4) * (2.0 * covariance + 9e-4) /
                          ((meanA * meanA + meanB * meanB + 1e-4) * (varianceA + varianceB + 9e-4));
  EXPECT_NEAR(CalculatorType::Similarity(a, b, { { 3, 3, 3 } }), expected, 1e-7);
  EXPECT_NEAR(CalculatorType::Similarity(a, a, { { 3, 3, 3 } }), 1.0, 1e-9);
  EXPECT_THROW(CalculatorType::Similarity(a, b, { { 3, 3, 4 } }), itk::ExceptionObject);

  // Many windows of 5 x 7 x 7 (x: the largest odd size), each from its own voxels.
  constexpr unsigned int nx = 6;
  constexpr unsigned int ny = 9;
  constexpr unsigned int nz = 8;
  std::uint32_t          state = 7;
  for (std::vector<float> * map : { &a, &b })
  {
    map->resize(nx * ny * nz);
    for (float & value : *map)
    {
      state = state * 1664525U + 1013904223U;
      value = static_cast<float>(state >> 8) / 16777216.0F;
    }
    map->front() = 1.0F;
  }
  double sum = 0.0;
  for (unsigned int start = 0; start < 2 * 3 * 2; ++start)
  {
    double sa = 0.0, sb = 0.0, saa = 0.0, sbb = 0.0, sab = 0.0;
    for (unsigned int i = 0; i < 5 * 7 * 7; ++i)
    {
      const unsigned int at = ((start / 6 + i / 35) * ny + start / 2 % 3 + i / 5 % 7) * nx + start % 2 + i % 5;
      sa += a[at] / 245.0;
      sb += b[at] / 245.0;
      saa += double{ a[at] } * a[at] / 245.0;
      sbb += double{ b[at] } * b[at] / 245.0;
      sab += double{ a[at] } * b[at] / 245.0;
    }
    sum += (2.0 * sa * sb + 1e-4) * (2.0 * (sab - sa * sb) + 9e-4) /
           ((sa * sa + sb * sb + 1e-4) * (saa - sa * sa + sbb - sb * sb + 9e-4));
  }
  EXPECT_NEAR(CalculatorType::Similarity(a, b, { { nx, ny, nz } }), sum / 12.0, 1e-10);
}

TEST(ExplanationSanityCalculator, MapsOfARandomNetworkAreOthers)
{
  const TemporaryFolder folder;
  const auto            model = LoadSeeded(folder / "g", TinyGradingManifest(2), 3);
  const auto            region = itk::VectorImage<float, 3>::New();
  region->SetRegions(itk::Size<3>{ { 72, 72, 72 } });
  region->SetNumberOfComponentsPerPixel(4);
  region->Allocate();
  std::uint32_t state = 7;
  for (unsigned int i = 0; i < 4 * 72 * 72 * 72; ++i)
  {
    state = state * 1664525U + 1013904223U;
    region->GetBufferPointer()[i] = static_cast<float>(state >> 8) / 8388608.0F - 1.0F;
  }
  const auto calculator = CalculatorType::New();
  EXPECT_THROW(calculator->Compute(), itk::ExceptionObject);
  calculator->SetModel(model);
  // What was not updated has a size and no voxels.
  const auto empty = itk::VectorImage<float, 3>::New();
  empty->SetLargestPossibleRegion(region->GetLargestPossibleRegion());
  empty->SetNumberOfComponentsPerPixel(4);
  calculator->SetRegionImage(empty);
  try
  {
    calculator->Compute();
    FAIL() << "there are no voxels";
  }
  catch (const itk::ExceptionObject & error)
  {
    EXPECT_NE(std::string(error.GetDescription()).find("holds [0, 0, 0] of its [72, 72, 72] voxels"), std::string::npos)
      << error;
  }
  calculator->SetRegionImage(region);
  calculator->AddLayerName("res3");
  EXPECT_EQ(calculator->GetLayerNames(), std::vector<std::string>{ "res3" });
  // Stopped between the steps, it can still be printed.
  unsigned int events = 0;
  const auto   stop = calculator->AddObserver(itk::ProgressEvent(), [&](const itk::EventObject &) {
    if (++events > 60)
    {
      itkGenericExceptionMacro("stop");
    }
  });
  EXPECT_THROW(calculator->Compute(), itk::ExceptionObject);
  calculator->RemoveObserver(stop);
  EXPECT_TRUE(calculator->GetMapNames().empty());
  std::ostringstream printed;
  calculator->Print(printed);
  EXPECT_EQ(printed.str().find("random down to"), std::string::npos) << printed.str();
  calculator->Compute();
  ASSERT_EQ(calculator->GetMapNames(), (std::vector<std::string>{ "gradcam-res3", "guided-backprop" }));
  ASSERT_EQ(calculator->GetRandomizedLayers().size(), 9U);
  ASSERT_EQ(calculator->GetRankCorrelations(1).size(), 9U);
  const double alike = calculator->GetRankCorrelations(1).front();
  const double other = calculator->GetRankCorrelations(1).back();
  EXPECT_GT(alike, 0.999); // two classes: another last layer scales the map
  EXPECT_LT(other, 0.95);
  EXPECT_LT(calculator->GetSimilarities(1).back(), 0.97);
  std::cout << "guided backpropagation: rank correlation " << alike << " with fc3 random, " << other << " with all\n";
}
