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
#include "itkExplanationFaithfulnessCalculator.h"

#include "SeededBundles.h"

#include <gtest/gtest.h>

#include <cmath>

namespace
{
using RegionType = itk::VectorImage<float, 3>;
using MapType = itk::Image<float, 3>;
using CalculatorType = itk::ExplanationFaithfulnessCalculator<MapType>;

constexpr unsigned int side = 72;

RegionType::Pointer
Region()
{
  const auto region = RegionType::New();
  region->SetRegions(itk::Size<3>{ { side, side, side } });
  region->SetNumberOfComponentsPerPixel(4);
  region->Allocate();
  std::uint32_t state = 7;
  for (unsigned int i = 0; i < 4 * side * side * side; ++i)
  {
    state = state * 1664525U + 1013904223U;
    region->GetBufferPointer()[i] = static_cast<float>(state >> 8) / 8388608.0F - 1.0F;
  }
  return region;
}

/** 2 x 2 x 2 cells over the region, of the energies 1 to 8. */
MapType::Pointer
Octants(float sign)
{
  const auto map = MapType::New();
  map->SetRegions(itk::Size<3>{ { 2, 2, 2 } });
  const double spacing[3] = { 36.0, 36.0, 36.0 };
  const double origin[3] = { 17.5, 17.5, 17.5 };
  map->SetSpacing(spacing);
  map->SetOrigin(origin);
  map->Allocate();
  for (unsigned int i = 0; i < 8; ++i)
  {
    map->GetBufferPointer()[i] = sign > 0.0F ? static_cast<float>(1 + i) : static_cast<float>(8 - i);
  }
  return map;
}

double
Probability(const itk::TorchModel * model, const RegionType * region)
{
  itk::TorchVolumeView view;
  view.Buffer = region->GetBufferPointer();
  view.Components = 4;
  view.RegionSize = region->GetLargestPossibleRegion().GetSize();
  const auto logits = model->ComputeLogits(view);
  return 1.0 / (1.0 + std::exp(logits[0] - logits[1]));
}
} // namespace

TEST(ExplanationFaithfulnessCalculator, CurvesAreRunsOfTheModel)
{
  const TemporaryFolder folder;
  const auto            model = LoadSeeded(folder / "g", TinyGradingManifest(2), 3);
  const auto            region = Region();
  const auto            calculator = CalculatorType::New();
  calculator->SetModel(model);
  calculator->SetRegionImage(region);
  calculator->SetMapImage(Octants(1.0F));
  calculator->SetClassToExplain(1);
  calculator->SetBlockSize(36);
  calculator->SetNumberOfSteps(4);
  itk::Array<double> baseline(4);
  baseline.Fill(0.25);
  calculator->SetBaseline(baseline);
  calculator->Compute();
  const auto deletion = calculator->GetDeletionCurve();
  const auto insertion = calculator->GetInsertionCurve();
  ASSERT_EQ(deletion.Size(), 5U);

  // By hand: without the two highest octants, which have x >= 36 or not, y >= 36, z >= 36.
  const auto changed = Region();
  for (unsigned int z = 36; z < side; ++z)
  {
    for (unsigned int y = 36; y < side; ++y)
    {
      std::fill_n(changed->GetBufferPointer() + 4 * (z * side + y) * side, 4 * side, 0.25F);
    }
  }
  EXPECT_NEAR(deletion[0], Probability(model, region), 1e-9);
  EXPECT_NEAR(deletion[1], Probability(model, changed), 1e-9);
  EXPECT_GT(std::abs(deletion[1] - deletion[0]), 1e-6);
  EXPECT_EQ(insertion[4], deletion[0]);
  EXPECT_EQ(insertion[0], deletion[4]);
  EXPECT_NEAR(calculator->GetDeletionArea(),
              (0.5 * (deletion[0] + deletion[4]) + deletion[1] + deletion[2] + deletion[3]) / 4.0,
              1e-12);

  // What the reversed map inserts last is what this one deletes first.
  const double chance = calculator->GetChanceDeletionArea();
  calculator->SetMapImage(Octants(-1.0F));
  calculator->SetNumberOfChanceOrders(0);
  calculator->Compute();
  for (unsigned int step = 0; step <= 4; ++step)
  {
    EXPECT_EQ(calculator->GetInsertionCurve()[4 - step], deletion[step]);
  }
  EXPECT_TRUE(std::isnan(calculator->GetChanceDeletionArea()));
  EXPECT_GT(chance, 0.0);
  EXPECT_LT(chance, 1.0);
}

TEST(ExplanationFaithfulnessCalculator, CanBeEndedBetweenTheLayers)
{
  const TemporaryFolder folder;
  const auto            calculator = CalculatorType::New();
  calculator->SetModel(LoadSeeded(folder / "g", TinyGradingManifest(2), 3));
  calculator->SetRegionImage(Region());
  calculator->SetMapImage(Octants(1.0F));
  calculator->SetNumberOfSteps(1);
  unsigned int events = 0;
  unsigned int stopAt = 0;
  calculator->AddObserver(itk::ProgressEvent(), [&](const itk::EventObject &) {
    if (++events == stopAt)
    {
      throw itk::ProcessAborted(__FILE__, __LINE__);
    }
  });
  calculator->SetNumberOfChanceOrders(0);
  calculator->Compute();
  EXPECT_EQ(events, 4U * (1U + 9U)); // four runs of nine places
  events = 0;
  stopAt = 14;
  EXPECT_THROW(calculator->Compute(), itk::ProcessAborted);
  EXPECT_EQ(events, stopAt);
}

TEST(ExplanationFaithfulnessCalculator, NamesWhatIsWrong)
{
  const TemporaryFolder folder;
  const auto            calculator = CalculatorType::New();
  EXPECT_THROW(calculator->Compute(), itk::ExceptionObject);
  calculator->SetModel(LoadSeeded(folder / "g", TinyGradingManifest(2), 3));
  calculator->SetRegionImage(Region());
  EXPECT_THROW(calculator->Compute(), itk::ExceptionObject);
  calculator->SetMapImage(Octants(1.0F));
  calculator->SetClassToExplain(2);
  EXPECT_THROW(calculator->Compute(), itk::ExceptionObject);
  calculator->SetClassToExplain(0);
  calculator->SetBaseline(itk::Array<double>(3));
  EXPECT_THROW(calculator->Compute(), itk::ExceptionObject);
  calculator->SetBaseline(itk::Array<double>());
  calculator->SetNumberOfSteps(0);
  EXPECT_THROW(calculator->Compute(), itk::ExceptionObject);
  calculator->SetNumberOfSteps(1);

  // What was not updated has a size and no voxels.
  const auto reason = [&]() -> std::string {
    try
    {
      calculator->Compute();
    }
    catch (const itk::ExceptionObject & error)
    {
      return error.GetDescription();
    }
    return {};
  };
  const auto map = MapType::New();
  map->SetLargestPossibleRegion(itk::Size<3>{ { 2, 2, 2 } });
  calculator->SetMapImage(map);
  EXPECT_NE(reason().find("The map holds [0, 0, 0] of its [2, 2, 2] voxels"), std::string::npos) << reason();
  calculator->SetMapImage(Octants(1.0F));
  const auto region = RegionType::New();
  region->SetLargestPossibleRegion(itk::Size<3>{ { side, side, side } });
  region->SetNumberOfComponentsPerPixel(4);
  calculator->SetRegionImage(region);
  EXPECT_NE(reason().find("The region holds [0, 0, 0] of its [72, 72, 72] voxels"), std::string::npos) << reason();
}
