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
#include "itkSequenceOrderCalculator.h"

#include "RealTestData.h"
#include "itkImageFileReader.h"
#include "itkImageRegionIteratorWithIndex.h"
#include "itksys/SystemTools.hxx"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <random>

namespace
{
using ImageType = itk::Image<float, 3>;
using MaskType = itk::Image<unsigned char, 3>;
using CalculatorType = itk::SequenceOrderCalculator<ImageType, MaskType>;
using OrderType = std::vector<unsigned int>;

/** A brain of white and grey matter, fluid, oedema and enhancing voxels with the contrasts of the four sequences. */
struct Brain
{
  std::array<ImageType::Pointer, 4> Sequences;
  MaskType::Pointer                 Mask;

  Brain()
  {
    // White, grey, fluid, oedema, enhancing.
    const double contrast[4][5] = {
      { 110, 85, 40, 80, 80 }, { 112, 90, 42, 82, 170 }, { 60, 80, 170, 120, 110 }, { 80, 95, 30, 140, 130 }
    };
    const itk::Size<3> size{ { 40, 40, 30 } };
    Mask = MaskType::New();
    Mask->SetRegions(size);
    Mask->Allocate();
    for (auto & sequence : Sequences)
    {
      sequence = ImageType::New();
      sequence->SetRegions(size);
      sequence->Allocate();
      sequence->FillBuffer(0.0F);
    }
    std::mt19937                     random(3);
    std::normal_distribution<double> noise(0.0, 5.0);
    for (itk::ImageRegionIteratorWithIndex<MaskType> it(Mask, Mask->GetLargestPossibleRegion()); !it.IsAtEnd(); ++it)
    {
      const auto i = it.GetIndex();
      const bool isBrain = i[0] > 2 && i[1] > 2 && i[2] > 2;
      it.Set(isBrain ? 1 : 0);
      if (!isBrain)
      {
        continue;
      }
      const unsigned int draw = static_cast<unsigned int>(random() % 1000U);
      const unsigned int tissue = draw < 450 ? 0 : draw < 860 ? 1 : draw < 950 ? 2 : draw < 990 ? 3 : 4;
      for (unsigned int s = 0; s < 4; ++s)
      {
        Sequences[s]->SetPixel(i, static_cast<float>(contrast[s][tissue] + noise(random)));
      }
    }
  }
};

CalculatorType::Pointer
Compute(const std::array<ImageType::Pointer, 4> & sequences, const MaskType * mask, const OrderType & order)
{
  const auto calculator = CalculatorType::New();
  for (unsigned int i = 0; i < 4; ++i)
  {
    calculator->SetSequence(i, sequences[order[i]]);
  }
  calculator->SetMask(mask);
  calculator->Compute();
  return calculator;
}

/** Wrong orders that are found, and of them those that are named as they are; the right one must look right. */
std::pair<unsigned int, unsigned int>
CountWrongOrders(const std::array<ImageType::Pointer, 4> & sequences, const MaskType * mask)
{
  std::pair<unsigned int, unsigned int> count{ 0, 0 };
  OrderType                             order{ 0, 1, 2, 3 };
  do
  {
    const auto calculator = Compute(sequences, mask, order);
    EXPECT_TRUE(calculator->GetDuplicates().empty());
    if (std::is_sorted(order.begin(), order.end()))
    {
      EXPECT_TRUE(calculator->LooksRight());
    }
    else
    {
      count.first += calculator->LooksRight() ? 0 : 1;
      count.second += calculator->GetLooksLike() == order ? 1 : 0;
    }
  } while (std::next_permutation(order.begin(), order.end()));
  return count;
}
} // namespace

TEST(SequenceOrderCalculator, FindsEveryWrongOrder)
{
  const Brain brain;
  EXPECT_EQ(CountWrongOrders(brain.Sequences, brain.Mask), std::make_pair(23U, 23U));

  // Neither scale nor offset nor a monotonic curve matters to the ranks.
  Brain other;
  for (unsigned int s = 0; s < 4; ++s)
  {
    for (itk::ImageRegionIteratorWithIndex<ImageType> it(other.Sequences[s], other.Mask->GetLargestPossibleRegion());
         !it.IsAtEnd();
         ++it)
    {
      it.Set(static_cast<float>((3.0 + s) * it.Get() - 500.0));
    }
  }
  EXPECT_EQ(CountWrongOrders(other.Sequences, other.Mask), std::make_pair(23U, 23U));
}

TEST(SequenceOrderCalculator, FindsDuplicatesAndOddIntensities)
{
  const Brain brain;
  auto        calculator = Compute(brain.Sequences, brain.Mask, { { 0, 1, 2, 2 } });
  ASSERT_EQ(calculator->GetDuplicates().size(), 1U);
  EXPECT_EQ(calculator->GetDuplicates().front(), std::make_pair(2U, 3U));
  itk::ReviewThresholds thresholds;
  thresholds.FlairGap = 0.125;
  calculator->SetThresholds(thresholds);
  EXPECT_EQ(calculator->GetThresholds().FlairGap, 0.125);
  std::ostringstream printed;
  calculator->Print(printed);
  for (const char * const part : { "FlairGap 0.125", "Duplicates: T2-FLAIR", "Correlation", "image 0x" })
  {
    EXPECT_NE(printed.str().find(part), std::string::npos) << printed.str();
  }

  // Shape: 5 % and 95 % quantiles of 1000 even steps, and a median that a square root moves.
  const auto even = ImageType::New();
  const auto mask = MaskType::New();
  even->SetRegions(itk::Size<3>{ { 10, 10, 10 } });
  mask->SetRegions(itk::Size<3>{ { 10, 10, 10 } });
  even->Allocate();
  mask->Allocate();
  mask->FillBuffer(1);
  for (unsigned int i = 0; i < 1000; ++i)
  {
    even->GetBufferPointer()[i] = static_cast<float>(std::sqrt(i / 999.0));
  }
  calculator = Compute({ { even, even, even, even } }, mask, { { 0, 1, 2, 3 } });
  EXPECT_EQ(calculator->GetDuplicates().size(), 6U);
  const double range = std::sqrt(0.95) - std::sqrt(0.05);
  EXPECT_NEAR(calculator->GetAsymmetry(0), (std::sqrt(0.95) - std::sqrt(0.5)) / range, 2e-3);
  EXPECT_NEAR(calculator->GetTail(3), (std::sqrt(0.995) - std::sqrt(0.005)) / range, 2e-3);
}

TEST(SequenceOrderCalculator, SaysNothingWhereItKnowsNothing)
{
  const Brain brain;
  const auto  flat = ImageType::New();
  flat->SetRegions(brain.Mask->GetLargestPossibleRegion());
  flat->Allocate();
  flat->FillBuffer(7.0F);
  auto calculator = Compute({ { flat, flat, flat, flat } }, brain.Mask, { { 0, 1, 2, 3 } });
  EXPECT_TRUE(calculator->LooksRight());
  EXPECT_TRUE(calculator->GetDuplicates().empty());
  EXPECT_TRUE(std::isnan(calculator->GetTail(0)));

  const auto missing = CalculatorType::New();
  EXPECT_THROW(missing->Compute(), itk::ExceptionObject);
  missing->SetMask(brain.Mask);
  EXPECT_THROW(missing->Compute(), itk::ExceptionObject);
}

TEST(SequenceOrderCalculator, NamesAVoxelThatIsNoNumber)
{
  const Brain brain;
  brain.Sequences[1]->SetPixel({ { 3, 3, 3 } }, std::numeric_limits<float>::quiet_NaN());
  try
  {
    Compute(brain.Sequences, brain.Mask, { 0, 1, 2, 3 });
    FAIL() << "NaN has no rank";
  }
  catch (const itk::ExceptionObject & error)
  {
    EXPECT_NE(std::string(error.GetDescription()).find("T1c is nan at index [3, 3, 3]"), std::string::npos) << error;
  }
  // Outside the mask it is no matter.
  brain.Sequences[1]->SetPixel({ { 3, 3, 3 } }, 100.0F);
  brain.Sequences[1]->SetPixel({ { 0, 0, 0 } }, std::numeric_limits<float>::quiet_NaN());
  EXPECT_EQ(Compute(brain.Sequences, brain.Mask, { 0, 1, 2, 3 })->GetLooksLike()[1], 1U);
}

// All twelve patients are in test/benchmark/CheckSequenceOrders.cxx; here one of each site.
TEST(SequenceOrderCalculator, FindsWrongOrdersOfRealPatients)
{
  for (const char * name : { "BraTS2021_01484", "TCGA-DU-7294", "BraTS2021_00031" })
  {
    const std::string start = RealTestDataFolder() + "/" + name + "/" + name + "_";
    if (!itksys::SystemTools::FileExists(start + "t1.nii.gz"))
    {
      GTEST_SKIP() << "Real patients are not there: " << start << "t1.nii.gz";
    }
    std::array<ImageType::Pointer, 4> sequences;
    const char * const                ends[4] = { "t1", "t1ce", "t2", "flair" };
    const auto                        mask = MaskType::New();
    for (unsigned int s = 0; s < 4; ++s)
    {
      sequences[s] = itk::ReadImage<ImageType>(start + ends[s] + ".nii.gz");
      if (s == 0)
      {
        mask->CopyInformation(sequences[0]);
        mask->SetRegions(sequences[0]->GetLargestPossibleRegion());
        mask->Allocate();
        mask->FillBuffer(0);
      }
      for (itk::SizeValueType i = 0; i < mask->GetLargestPossibleRegion().GetNumberOfPixels(); ++i)
      {
        mask->GetBufferPointer()[i] |= sequences[s]->GetBufferPointer()[i] != 0.0F ? 1 : 0;
      }
    }
    // T1 and T1c of a tumour that hardly enhances may be swapped unseen.
    EXPECT_GE(CountWrongOrders(sequences, mask).first, 22U) << name;
  }
}
