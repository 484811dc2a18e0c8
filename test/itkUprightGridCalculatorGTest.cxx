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
#include "itkUprightGridCalculator.h"

#include "itkImageRegionIteratorWithIndex.h"
#include "gtest/gtest.h"

#include <cmath>

namespace
{
using MaskType = itk::Image<unsigned char, 3>;
using CalculatorType = itk::UprightGridCalculator<MaskType>;
using DirectionType = MaskType::DirectionType;

/** Turns by so many degrees about an axis. */
DirectionType
Turn(double x, double y, double z, double degrees)
{
  const double  norm = std::sqrt(x * x + y * y + z * z);
  const double  u[3] = { x / norm, y / norm, z / norm };
  const double  c = std::cos(degrees * itk::Math::pi / 180.0);
  const double  s = std::sin(degrees * itk::Math::pi / 180.0);
  const double  cross[3][3] = { { 0.0, -u[2], u[1] }, { u[2], 0.0, -u[0] }, { -u[1], u[0], 0.0 } };
  DirectionType turn;
  for (unsigned int i = 0; i < 3; ++i)
  {
    for (unsigned int j = 0; j < 3; ++j)
    {
      turn[i][j] = (i == j ? c : 0.0) + (1.0 - c) * u[i] * u[j] + s * cross[i][j];
    }
  }
  return turn;
}

/** A head like a brain, symmetric but for a dent on one side, on a grid of this direction; upright in physical space,
 * or along the image's axes. */
MaskType::Pointer
MakeHead(const DirectionType & direction, bool isUprightInSpace)
{
  MaskType::SpacingType spacing;
  MaskType::SizeType    size;
  constexpr double      voxel[3] = { 4.0, 5.0, 4.5 };
  for (unsigned int d = 0; d < 3; ++d)
  {
    spacing[d] = voxel[d];
    size[d] = static_cast<itk::SizeValueType>(220.0 / voxel[d]);
  }
  MaskType::RegionType region(size);
  region.SetIndex(MaskType::IndexType{ { -3, 5, 2 } });
  auto head = MaskType::New();
  head->SetRegions(region);
  head->SetSpacing(spacing);
  head->SetDirection(direction);
  constexpr double origin[3] = { 30.0, -20.0, 10.0 };
  head->SetOrigin(origin);
  head->Allocate();
  head->FillBuffer(0);
  itk::ContinuousIndex<double, 3> middle;
  for (unsigned int d = 0; d < 3; ++d)
  {
    middle[d] = static_cast<double>(region.GetIndex(d)) + 0.5 * static_cast<double>(size[d] - 1);
  }
  MaskType::PointType centre;
  head->TransformContinuousIndexToPhysicalPoint(middle, centre);
  for (itk::ImageRegionIteratorWithIndex<MaskType> it(head, region); !it.IsAtEnd(); ++it)
  {
    MaskType::PointType point;
    head->TransformIndexToPhysicalPoint(it.GetIndex(), point);
    itk::Vector<double, 3> at = point - centre;
    if (!isUprightInSpace)
    {
      const DirectionType back(direction.GetTranspose());
      at = back * at;
    }
    const double inside = at[0] * at[0] / (66.0 * 66.0) + at[1] * at[1] / (86.0 * 86.0) + at[2] * at[2] / (62.0 * 62.0);
    const bool   isDent = at[0] > 50.0 && std::abs(at[1]) < 15.0;
    it.Set(inside < 1.0 && !isDent ? 1 : 0);
  }
  return head;
}

CalculatorType::Pointer
Calculated(const MaskType * mask)
{
  auto calculator = CalculatorType::New();
  calculator->SetBrainMask(mask);
  calculator->Compute();
  return calculator;
}
} // namespace

TEST(UprightGridCalculator, StraightensAHeadThatIsAskewOnItsGrid)
{
  // Axes in their order, and permuted and flipped.
  DirectionType swapped;
  swapped.Fill(0.0);
  swapped[1][0] = -1.0;
  swapped[0][1] = 1.0;
  swapped[2][2] = -1.0;
  DirectionType plain;
  plain.SetIdentity();
  for (const DirectionType & axes : { plain, swapped })
  {
    const DirectionType direction(Turn(2.0, 3.0, 6.0, 20.0) * axes);
    const auto          head = MakeHead(direction, true);
    const auto          calculator = Calculated(head);
    EXPECT_TRUE(calculator->GetIsTurned()) << calculator;
    EXPECT_GT(calculator->GetUprightSymmetry(), calculator->GetOwnSymmetry() + 0.02);
    EXPECT_NEAR(calculator->GetAngle(), CalculatorType::AngleOf(head), 1e-12);
    EXPECT_GT(calculator->GetAngle(), 15.0);
    EXPECT_LT(calculator->GetAngle(), 20.0 + 1e-9);
    ASSERT_NE(calculator->GetGrid(), nullptr);
    const auto * grid = calculator->GetGrid();
    for (unsigned int r = 0; r < 3; ++r)
    {
      for (unsigned int c = 0; c < 3; ++c)
      {
        EXPECT_EQ(grid->GetDirection()[r][c], axes[r][c]);
      }
      EXPECT_EQ(grid->GetSpacing()[r], 1.0);
    }
    // 240 x 240 x 155 mm whatever the order of the axes, and the centroid 12 mm behind the middle.
    EXPECT_EQ(grid->GetLargestPossibleRegion().GetSize(), (itk::Size<3>{ { 240, 240, 155 } }));
    itk::Vector<double, 3> sum;
    sum.Fill(0.0);
    double inside = 0.0;
    for (itk::ImageRegionIteratorWithIndex<MaskType> it(head, head->GetLargestPossibleRegion()); !it.IsAtEnd(); ++it)
    {
      if (it.Get())
      {
        MaskType::PointType point;
        head->TransformIndexToPhysicalPoint(it.GetIndex(), point);
        itk::Index<3> index;
        EXPECT_TRUE(grid->TransformPhysicalPointToIndex(point, index));
        sum += point.GetVectorFromOrigin();
        inside += 1.0;
      }
    }
    itk::ContinuousIndex<double, 3> middle;
    for (unsigned int d = 0; d < 3; ++d)
    {
      middle[d] = 0.5 * (static_cast<double>(grid->GetLargestPossibleRegion().GetSize(d)) - 1.0);
    }
    MaskType::PointType place;
    grid->TransformContinuousIndexToPhysicalPoint(middle, place);
    const auto off = sum / inside - place.GetVectorFromOrigin();
    EXPECT_NEAR(off[0], 0.0, 0.6);
    EXPECT_NEAR(off[1], 12.0, 0.6);
    EXPECT_NEAR(off[2], 0.0, 0.6);
  }
}

TEST(UprightGridCalculator, KeepsTheAxesOfAHeadThatFollowsThem)
{
  // The header alone is oblique, as of a copy whose header was changed.
  EXPECT_FALSE(Calculated(MakeHead(Turn(2.0, 3.0, 6.0, 20.0), false))->GetIsTurned());
  EXPECT_FALSE(Calculated(MakeHead(Turn(0.0, 0.0, 1.0, 30.0), false))->GetIsTurned());
  EXPECT_EQ(Calculated(MakeHead(Turn(2.0, 3.0, 6.0, 20.0), false))->GetGrid(), nullptr);
  // Too little to matter, and no turn at all.
  EXPECT_FALSE(Calculated(MakeHead(Turn(0.0, 0.0, 1.0, 4.0), true))->GetIsTurned());
  const auto upright = Calculated(MakeHead(Turn(0.0, 0.0, 1.0, 0.0), true));
  EXPECT_FALSE(upright->GetIsTurned());
  EXPECT_EQ(upright->GetAngle(), 0.0);
  EXPECT_EQ(upright->GetOwnSymmetry(), upright->GetUprightSymmetry());
  // A nod is not seen.
  EXPECT_FALSE(Calculated(MakeHead(Turn(1.0, 0.0, 0.0, 20.0), true))->GetIsTurned());
}

TEST(UprightGridCalculator, RefusesAnEmptyMask)
{
  auto calculator = CalculatorType::New();
  EXPECT_THROW(calculator->Compute(), itk::ExceptionObject);
  const auto empty = MakeHead(Turn(0.0, 0.0, 1.0, 20.0), true);
  empty->FillBuffer(0);
  calculator->SetBrainMask(empty);
  EXPECT_THROW(calculator->Compute(), itk::ExceptionObject);

  // What was not updated has a size and no voxels.
  const auto waiting = CalculatorType::MaskImageType::New();
  waiting->SetLargestPossibleRegion(itk::Size<3>{ { 20, 20, 20 } });
  calculator->SetBrainMask(waiting);
  try
  {
    calculator->Compute();
    FAIL() << "there are no voxels";
  }
  catch (const itk::ExceptionObject & error)
  {
    EXPECT_NE(std::string(error.GetDescription()).find("holds [0, 0, 0] of its [20, 20, 20] voxels"), std::string::npos)
      << error;
  }
}

TEST(UprightGridCalculator, RefusesASpacingThatIsNoLength)
{
  auto calculator = CalculatorType::New();
  calculator->SetBrainMask(MakeHead(Turn(0.0, 0.0, 1.0, 20.0), true));
  for (const double spacing : { 0.0, -1.0, std::nan("") })
  {
    calculator->SetLargestSpacing(spacing);
    EXPECT_THROW(calculator->Compute(), itk::ExceptionObject) << spacing;
  }
}
