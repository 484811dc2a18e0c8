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
#include "MaskComparison.h"

#include <gtest/gtest.h>

#include <cmath>

namespace
{
using MaskType = itk::Image<unsigned char, 3>;

MaskType::Pointer
MakeMask(const std::vector<itk::Index<3>> & voxels, double originX = -20.0)
{
  auto                 mask = MaskType::New();
  MaskType::RegionType region;
  region.SetIndex({ { -3, 5, 2 } });
  region.SetSize({ { 12, 9, 10 } });
  mask->SetRegions(region);
  MaskType::SpacingType spacing;
  spacing[0] = 0.7;
  spacing[1] = 1.5;
  spacing[2] = 3.0;
  mask->SetSpacing(spacing);
  MaskType::PointType origin;
  origin.Fill(4.0);
  origin[0] = originX;
  mask->SetOrigin(origin);
  MaskType::DirectionType direction;
  direction.SetIdentity();
  direction[0][0] = direction[1][1] = 0.6;
  direction[0][1] = -0.8;
  direction[1][0] = 0.8;
  mask->SetDirection(direction);
  mask->Allocate(true);
  for (const itk::Index<3> & voxel : voxels)
  {
    mask->SetPixel(voxel, 4);
  }
  return mask;
}

constexpr double voxelMl = 0.7 * 1.5 * 3.0 / 1000.0;
} // namespace

TEST(MaskComparison, MeasuresInMillimetres)
{
  // Two single voxels: their distance. The directed percentiles are the same.
  const auto one = MakeMask({ { { -1, 7, 4 } } });
  const auto other = MakeMask({ { { 3, 9, 9 } } });
  const auto apart = glioma::CompareMasks(one, other);
  EXPECT_EQ(apart.Dice, 0.0);
  EXPECT_NEAR(apart.Hausdorff95, std::sqrt(2.8 * 2.8 + 3.0 * 3.0 + 15.0 * 15.0), 1e-12);
  EXPECT_NEAR(apart.PredictedVolume, voxelMl, 1e-12);

  // A second voxel 4 steps along x: the distances are 0 and 2.8, their 95th percentile 0.95 * 2.8.
  const auto two = MakeMask({ { { -1, 7, 4 } }, { { 3, 7, 4 } } });
  const auto near = glioma::CompareMasks(two, one);
  EXPECT_NEAR(near.Dice, 2.0 / 3.0, 1e-12);
  EXPECT_NEAR(near.Hausdorff95, 0.95 * 2.8, 1e-12);
  EXPECT_NEAR(near.VolumeError(), voxelMl, 1e-12);
  EXPECT_NEAR(glioma::CompareMasks(one, two).Hausdorff95, 0.95 * 2.8, 1e-12);
  EXPECT_NEAR(glioma::CompareMasks(one, two).VolumeError(), -voxelMl, 1e-12);
}

TEST(MaskComparison, TakesTheSurfaceAndTheImagesBorder)
{
  // A block of 5x5x5 and the same with its middle gone: the surfaces of the hole lie inside, 1 to 2 voxels from the
  // outer surface: 6 of 104 voxels are in the hole's wall, above the 94th percentile of the one direction.
  std::vector<itk::Index<3>> block;
  std::vector<itk::Index<3>> hollow;
  for (int x = 0; x < 5; ++x)
  {
    for (int y = 0; y < 5; ++y)
    {
      for (int z = 0; z < 5; ++z)
      {
        block.push_back({ { x, 6 + y, 3 + z } });
        if (x != 2 || y != 2 || z != 2)
        {
          hollow.push_back(block.back());
        }
      }
    }
  }
  const auto same = glioma::CompareMasks(MakeMask(block), MakeMask(block));
  EXPECT_EQ(same.Dice, 1.0);
  EXPECT_EQ(same.Hausdorff95, 0.0);
  const auto hole = glioma::CompareMasks(MakeMask(hollow), MakeMask(block));
  EXPECT_NEAR(hole.Dice, 2.0 * 124.0 / 249.0, 1e-12);
  // Of 98 + 6 distances the 95th percentile lies at place 97.85: between the 0 before and the least of the wall's.
  // Along x the wall is one voxel, 0.7, from the outside (y: 1.4 by x, z: 1.4 by x).
  EXPECT_NEAR(hole.Hausdorff95, 0.85 * 0.7, 1e-12);

  // The whole image is all surface at its border alone.
  auto whole = MakeMask({});
  whole->FillBuffer(1);
  auto inner = MakeMask({ { { -3, 9, 6 } } }); // on the border itself
  EXPECT_GT(glioma::CompareMasks(whole, inner).Hausdorff95, 0.0);
  EXPECT_EQ(glioma::CompareMasks(inner, inner).Hausdorff95, 0.0);
}

TEST(MaskComparison, SaysWhatIsUndefinedAndRefusesOtherGrids)
{
  const auto empty = MakeMask({});
  const auto one = MakeMask({ { { 0, 7, 4 } } });
  const auto none = glioma::CompareMasks(empty, empty);
  EXPECT_TRUE(std::isnan(none.Dice));
  EXPECT_EQ(none.DiceUndefined, "both masks are empty");
  const auto missed = glioma::CompareMasks(empty, one);
  EXPECT_EQ(missed.Dice, 0.0);
  EXPECT_TRUE(std::isnan(missed.Hausdorff95));
  EXPECT_EQ(missed.Hausdorff95Undefined, "the predicted mask is empty");
  EXPECT_EQ(glioma::CompareMasks(one, empty).Hausdorff95Undefined, "the true mask is empty");
  EXPECT_THROW(glioma::CompareMasks(one, MakeMask({}, -19.0)), std::runtime_error);
  EXPECT_NO_THROW(glioma::CompareMasks(one, MakeMask({}, -20.0005)));
}
