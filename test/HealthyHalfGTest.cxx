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
#include "HealthyHalf.h"

#include <gtest/gtest.h>

#include <cmath>

namespace
{
using glioma::MaskImageType;
using glioma::SequenceImageType;

// A head that is symmetric about a plane near the middle of the image's second axis, which runs from right to left.
// The plane leans by one voxel in twenty along the third axis.
class SymmetricHead
{
public:
  SymmetricHead()
  {
    SequenceImageType::RegionType region;
    region.SetIndex({ { 3, -2, 5 } });
    region.SetSize({ { 44, 56, 40 } });
    SequenceImageType::DirectionType direction;
    direction.Fill(0.0);
    direction[1][0] = 1.0;
    direction[0][1] = -1.0;
    direction[2][2] = 1.0;
    SequenceImageType::SpacingType spacing;
    spacing[0] = 2.5;
    spacing[1] = 2.0;
    spacing[2] = 3.0;
    for (unsigned int c = 0; c < 4; ++c)
    {
      Sequences[c] = this->Make<SequenceImageType>(region, spacing, direction);
    }
    Tumour = this->Make<MaskImageType>(region, spacing, direction);
    this->ForVoxels([&](const itk::Index<3> & at, double x, double y, double z) {
      const double d = this->FromPlane(y, z);
      for (unsigned int c = 0; c < 4; ++c)
      {
        Sequences[c]->SetPixel(at, static_cast<float>(this->Tissue(c, x, std::abs(d), z)));
      }
    });
  }

  static double
  FromPlane(double y, double z)
  {
    return y - 30.0 - 0.05 * (z - 20.0);
  }

  /** Smooth, and other at each place of a half; 0 outside an ellipsoid. */
  static double
  Tissue(unsigned int c, double x, double d, double z)
  {
    const double u = (x - 22.0) / 20.0;
    const double v = d / 24.0;
    const double w = (z - 20.0) / 18.0;
    return u * u + v * v + w * w > 1.0 ? 0.0
                                       : 100.0 + 20.0 * c + 25.0 * std::sin(0.25 * x) + 25.0 * std::cos(0.3 * d) +
                                           15.0 * std::sin(0.2 * z + 0.1 * d);
  }

  /** A bright ball of 6 voxels' radius, at a distance from the plane. */
  void
  AddTumour(double distance)
  {
    this->ForVoxels([&](const itk::Index<3> & at, double x, double y, double z) {
      const double d = this->FromPlane(y, z) - distance;
      if ((x - 22.0) * (x - 22.0) + d * d + (z - 20.0) * (z - 20.0) < 36.0)
      {
        Tumour->SetPixel(at, 1);
        for (const auto & sequence : Sequences)
        {
          sequence->SetPixel(at, 400.0F);
        }
      }
    });
  }

  template <typename TFunction>
  void
  ForVoxels(const TFunction & function) const
  {
    const auto region = Tumour->GetBufferedRegion();
    for (long z = 0; z < 40; ++z)
    {
      for (long y = 0; y < 56; ++y)
      {
        for (long x = 0; x < 44; ++x)
        {
          function({ { region.GetIndex(0) + x, region.GetIndex(1) + y, region.GetIndex(2) + z } },
                   static_cast<double>(x),
                   static_cast<double>(y),
                   static_cast<double>(z));
        }
      }
    }
  }

  std::array<SequenceImageType::Pointer, 4> Sequences;
  MaskImageType::Pointer                    Tumour;

private:
  template <typename TImage>
  typename TImage::Pointer
  Make(const typename TImage::RegionType &    region,
       const typename TImage::SpacingType &   spacing,
       const typename TImage::DirectionType & direction)
  {
    auto image = TImage::New();
    image->SetRegions(region);
    image->SetSpacing(spacing);
    image->SetDirection(direction);
    image->Allocate(true);
    return image;
  }
};
} // namespace

TEST(HealthyHalf, ReplacesTheTumourByWhatIsOpposite)
{
  SymmetricHead head;
  head.AddTumour(11.0);
  const glioma::HealthyHalf healthy = glioma::ReplaceTumour(head.Sequences, head.Tumour);
  ASSERT_EQ(healthy.Undefined, "");
  EXPECT_LT(healthy.FilledShare, 0.02);
  double largest = 0.0;
  double sum = 0.0;
  double voxels = 0.0;
  head.ForVoxels([&](const itk::Index<3> & at, double x, double y, double z) {
    for (unsigned int c = 0; c < 4; ++c)
    {
      const double value = healthy.Sequences[c]->GetPixel(at);
      const double truth = SymmetricHead::Tissue(c, x, std::abs(SymmetricHead::FromPlane(y, z)), z);
      if (head.Tumour->GetPixel(at) != 0)
      {
        largest = std::max(largest, std::abs(value - truth));
        sum += std::abs(value - truth);
        ++voxels;
      }
      // Far from the tumour, and outside the brain, nothing changes.
      const double d = SymmetricHead::FromPlane(y, z) - 11.0;
      if (truth == 0.0 || (x - 22.0) * (x - 22.0) + d * d + (z - 20.0) * (z - 20.0) > 18.0 * 18.0)
      {
        ASSERT_EQ(value, truth == 0.0 ? 0.0 : head.Sequences[c]->GetPixel(at));
      }
    }
  });
  ASSERT_GT(voxels, 2000.0);
  // The tumour was 250 above it. The mirror is found to about a voxel, and taken at whole voxels: some 10 a voxel.
  EXPECT_LT(sum / voxels, 8.0);
  EXPECT_LT(largest, 40.0);
  for (const auto & sequence : healthy.Sequences)
  {
    EXPECT_EQ(sequence->GetOrigin(), head.Sequences[0]->GetOrigin());
    EXPECT_EQ(sequence->GetDirection(), head.Sequences[0]->GetDirection());
  }
}

TEST(HealthyHalf, SaysWhereThereIsNone)
{
  SymmetricHead middle;
  middle.AddTumour(0.0); // its mirror image is tumour
  const glioma::HealthyHalf onBoth = glioma::ReplaceTumour(middle.Sequences, middle.Tumour);
  EXPECT_GT(onBoth.FilledShare, 0.9);
  EXPECT_NE(onBoth.Undefined.find("no healthy tissue"), std::string::npos) << onBoth.Undefined;

  SymmetricHead none;
  EXPECT_EQ(glioma::ReplaceTumour(none.Sequences, none.Tumour).Undefined, "no tumour was found");

  auto                      other = MaskImageType::New();
  MaskImageType::RegionType region;
  region.SetSize({ { 4, 4, 4 } });
  other->SetRegions(region);
  other->Allocate(true);
  EXPECT_THROW(glioma::ReplaceTumour(none.Sequences, other), itk::ExceptionObject);
}
