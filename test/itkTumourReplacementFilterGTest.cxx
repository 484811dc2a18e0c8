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
#include "itkTumourReplacementFilter.h"

#include "ErrorMessages.h"
#include "itkMetaDataObject.h"
#include "itkStreamingImageFilter.h"
#include "gtest/gtest.h"

#include <cmath>
#include <limits>

namespace
{
using ImageType = itk::VectorImage<float, 3>;
using MaskType = itk::Image<unsigned char, 3>;
using FilterType = itk::TumourReplacementFilter<>;
constexpr unsigned int components = 4;

// A head that is symmetric about a plane near the middle of the image's second axis, which runs from right to left,
// but for a piece that one half lacks, so that the brain's middle lies beside the plane. The plane leans by one
// voxel in eight along the third axis.
class SymmetricHead
{
public:
  SymmetricHead()
  {
    Sequences = this->Make<ImageType>();
    Tumour = this->Make<MaskType>();
    Brain = this->Make<MaskType>();
    this->ForVoxels([&](const itk::Index<3> & at, double x, double y, double z) {
      const double d = FromPlane(y, z);
      Brain->SetPixel(at, IsBrain(x, d, z) ? 1 : 0);
      for (unsigned int c = 0; c < components; ++c)
      {
        At(Sequences, at)[c] = static_cast<float>(Tissue(c, x, d, z));
      }
    });
    itk::EncapsulateMetaData<std::string>(Sequences->GetMetaDataDictionary(), "Scanner", "phantom");
  }

  static double
  FromPlane(double y, double z)
  {
    return y - 30.0 - 0.12 * (z - 20.0);
  }

  static bool
  IsBrain(double x, double d, double z)
  {
    const double u = (x - 22.0) / 20.0;
    const double v = d / 24.0;
    const double w = (z - 20.0) / 18.0;
    return u * u + v * v + w * w <= 1.0 && !(d < 0.0 && (x > 32.0 || z < 12.0));
  }

  /** Smooth, and other at each place of a half; outside the brain what a preparation leaves there. */
  static double
  Tissue(unsigned int c, double x, double d, double z)
  {
    return !IsBrain(x, d, z) ? -3.0
                             : 100.0 + 20.0 * c + 25.0 * std::sin(0.25 * x) + 25.0 * std::cos(0.3 * d) +
                                 15.0 * std::sin(0.2 * z + 0.1 * std::abs(d));
  }

  /** A bright ball of 6 voxels' radius, at a distance from the plane. */
  void
  AddTumour(double distance)
  {
    this->ForVoxels([&](const itk::Index<3> & at, double x, double y, double z) {
      const double d = FromPlane(y, z) - distance;
      if ((x - 22.0) * (x - 22.0) + d * d + (z - 26.0) * (z - 26.0) < 36.0)
      {
        Tumour->SetPixel(at, 3); // any label is tumour
        std::fill_n(At(Sequences, at), components, 400.0F);
      }
    });
    Tumour->Modified();
    Sequences->Modified();
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

  static float *
  At(ImageType * image, const itk::Index<3> & at)
  {
    return image->GetBufferPointer() + image->ComputeOffset(at) * components;
  }

  FilterType::Pointer
  MakeFilter() const
  {
    const auto filter = FilterType::New();
    filter->SetInput(Sequences);
    filter->SetTumourMaskImage(Tumour);
    filter->SetBrainMaskImage(Brain);
    return filter;
  }

  ImageType::Pointer Sequences;
  MaskType::Pointer  Tumour;
  MaskType::Pointer  Brain;

private:
  template <typename TImage>
  static typename TImage::Pointer
  Make()
  {
    typename TImage::RegionType region;
    region.SetIndex({ { 3, -2, 5 } });
    region.SetSize({ { 44, 56, 40 } });
    // The axes change places and lean by a degree or two.
    typename TImage::DirectionType direction;
    const double                   lean = 0.03;
    direction.Fill(0.0);
    direction[1][0] = std::cos(lean);
    direction[2][0] = std::sin(lean);
    direction[0][1] = -1.0;
    direction[1][2] = -std::sin(lean);
    direction[2][2] = std::cos(lean);
    typename TImage::SpacingType spacing;
    spacing[0] = 2.5;
    spacing[1] = 2.0;
    spacing[2] = 3.0;
    typename TImage::PointType origin;
    origin[0] = -17.25;
    origin[1] = 40.5;
    origin[2] = 8.125;
    auto image = TImage::New();
    image->SetRegions(region);
    image->SetSpacing(spacing);
    image->SetOrigin(origin);
    image->SetDirection(direction);
    image->SetNumberOfComponentsPerPixel(std::is_same<TImage, ImageType>::value ? components : 1);
    image->Allocate(true);
    return image;
  }
};

std::vector<float>
ValuesOf(const ImageType * image)
{
  const float * const first = image->GetBufferPointer();
  return { first, first + image->GetBufferedRegion().GetNumberOfPixels() * components };
}

} // namespace

TEST(TumourReplacementFilter, TakesTheTissueOpposite)
{
  SymmetricHead head;
  head.AddTumour(11.0);
  const auto filter = head.MakeFilter();
  filter->Update();
  EXPECT_LT(filter->GetFilledShare(), 0.02);
  ImageType * const output = filter->GetOutput();
  double            largest = 0.0;
  double            sum = 0.0;
  double            voxels = 0.0;
  head.ForVoxels([&](const itk::Index<3> & at, double x, double y, double z) {
    const double d = SymmetricHead::FromPlane(y, z);
    const double u = d - 11.0;
    const double far = (x - 22.0) * (x - 22.0) + u * u + (z - 26.0) * (z - 26.0);
    for (unsigned int c = 0; c < components; ++c)
    {
      const double value = SymmetricHead::At(output, at)[c];
      const double truth = SymmetricHead::Tissue(c, x, d, z);
      if (head.Tumour->GetPixel(at) != 0)
      {
        largest = std::max(largest, std::abs(value - truth));
        sum += std::abs(value - truth);
        ++voxels;
      }
      // Far from the tumour, and outside the brain, nothing changes.
      if (!SymmetricHead::IsBrain(x, d, z) || far > 18.0 * 18.0)
      {
        ASSERT_EQ(value, SymmetricHead::At(head.Sequences, at)[c]);
      }
    }
  });
  ASSERT_GT(voxels, 2000.0);
  // The tumour was 250 above it. The mirror is found to about a voxel, and taken at whole voxels.
  EXPECT_LT(sum / voxels, 2.5);
  EXPECT_LT(largest, 10.0);

  // The mirror through the brain's middle, where the search begins, is another one.
  double middle = 0.0;
  double brain = 0.0;
  head.ForVoxels([&](const itk::Index<3> & at, double, double y, double) {
    middle += head.Brain->GetPixel(at) != 0 ? y : 0.0;
    brain += head.Brain->GetPixel(at) != 0 ? 1.0 : 0.0;
  });
  double beside = 0.0;
  head.ForVoxels([&](const itk::Index<3> & at, double x, double y, double z) {
    for (unsigned int c = 0; head.Tumour->GetPixel(at) != 0 && c < components; ++c)
    {
      const double mirrored = std::round(2.0 * middle / brain) - y;
      beside += std::abs(SymmetricHead::Tissue(c, x, SymmetricHead::FromPlane(mirrored, z), z) -
                         SymmetricHead::Tissue(c, x, SymmetricHead::FromPlane(y, z), z));
    }
  });
  EXPECT_GT(beside / voxels, 5.0);
  EXPECT_EQ(output->GetOrigin(), head.Sequences->GetOrigin());
  EXPECT_EQ(output->GetDirection(), head.Sequences->GetDirection());
  EXPECT_EQ(output->GetLargestPossibleRegion(), head.Sequences->GetLargestPossibleRegion());
  std::string scanner;
  EXPECT_TRUE(itk::ExposeMetaData(output->GetMetaDataDictionary(), "Scanner", scanner));
  EXPECT_EQ(scanner, "phantom");
}

TEST(TumourReplacementFilter, StreamsToTheSameBits)
{
  SymmetricHead head;
  head.AddTumour(11.0);
  const auto whole = head.MakeFilter();
  whole->SetNumberOfWorkUnits(1);
  whole->Update();
  const auto filter = head.MakeFilter();
  const auto pieces = itk::StreamingImageFilter<ImageType, ImageType>::New();
  pieces->SetInput(filter->GetOutput());
  pieces->SetNumberOfStreamDivisions(7);
  pieces->Update();
  EXPECT_EQ(ValuesOf(pieces->GetOutput()), ValuesOf(whole->GetOutput()));
  EXPECT_EQ(filter->GetFilledShare(), whole->GetFilledShare());
}

TEST(TumourReplacementFilter, FollowsAnInputThatChanges)
{
  SymmetricHead head;
  head.AddTumour(11.0);
  const auto filter = head.MakeFilter();
  filter->Update();
  const std::vector<float> before = ValuesOf(filter->GetOutput());
  head.AddTumour(-12.0); // now one on each side
  filter->Update();
  const auto anew = head.MakeFilter();
  anew->Update();
  EXPECT_NE(ValuesOf(filter->GetOutput()), before);
  EXPECT_EQ(ValuesOf(filter->GetOutput()), ValuesOf(anew->GetOutput()));
  EXPECT_GT(filter->GetFilledShare(), 0.5);
  filter->SetReach(0.0);
  filter->Update();
  anew->SetReach(0.0);
  anew->Update();
  EXPECT_EQ(ValuesOf(filter->GetOutput()), ValuesOf(anew->GetOutput()));
}

TEST(TumourReplacementFilter, FillsWithTheMeanOfTheHealthyBrain)
{
  SymmetricHead head;
  head.AddTumour(0.0); // its mirror image is tumour
  const auto filter = head.MakeFilter();
  filter->Update();
  EXPECT_GT(filter->GetFilledShare(), 0.9);
  EXPECT_LE(filter->GetFilledShare(), 1.0);
  // Beyond 6 mm of it all is healthy; the ellipsoid here is some voxels larger.
  std::vector<double> sums(components, 0.0);
  double              healthy = 0.0;
  itk::Index<3>       middle{ { 0, 0, 0 } };
  head.ForVoxels([&](const itk::Index<3> & at, double x, double y, double z) {
    const double d = SymmetricHead::FromPlane(y, z);
    const double u[3] = { 2.5 * (x - 22.0), 2.0 * d, 3.0 * (z - 26.0) };
    const bool   isNear = u[0] * u[0] / 22.0 / 22.0 + u[1] * u[1] / 19.0 / 19.0 + u[2] * u[2] / 25.0 / 25.0 < 1.0;
    if (head.Brain->GetPixel(at) != 0 && !isNear)
    {
      ++healthy;
      for (unsigned int c = 0; c < components; ++c)
      {
        sums[c] += SymmetricHead::At(head.Sequences, at)[c];
      }
    }
    middle = x == 22.0 && y == 31.0 && z == 26.0 ? at : middle;
  });
  for (unsigned int c = 0; c < components; ++c)
  {
    EXPECT_NEAR(SymmetricHead::At(filter->GetOutput(), middle)[c], sums[c] / healthy, 0.5);
  }
}

TEST(TumourReplacementFilter, TakesOneSequenceToo)
{
  SymmetricHead head;
  head.AddTumour(11.0);
  using OneType = itk::Image<float, 3>;
  const auto one = OneType::New();
  one->CopyInformation(head.Sequences);
  one->SetRegions(head.Sequences->GetBufferedRegion());
  one->Allocate();
  head.ForVoxels([&](const itk::Index<3> & at, double, double, double) {
    one->SetPixel(at, SymmetricHead::At(head.Sequences, at)[0]);
  });
  const auto filter = itk::TumourReplacementFilter<OneType, MaskType>::New();
  filter->SetInput(one);
  filter->SetInput2(head.Tumour);
  filter->SetInput3(head.Brain);
  filter->Update();
  const auto all = head.MakeFilter();
  all->Update();
  head.ForVoxels([&](const itk::Index<3> & at, double, double, double) {
    ASSERT_EQ(filter->GetOutput()->GetPixel(at), SymmetricHead::At(all->GetOutput(), at)[0]);
  });
}

TEST(TumourReplacementFilter, RoundsIntegers)
{
  SymmetricHead head;
  head.AddTumour(11.0);
  using ShortType = itk::Image<short, 3>;
  using RealType = itk::Image<float, 3>;
  const auto integers = ShortType::New();
  const auto reals = RealType::New();
  const auto take = [&](auto & image) {
    image->CopyInformation(head.Sequences);
    image->SetRegions(head.Sequences->GetBufferedRegion());
    image->Allocate();
    head.ForVoxels([&](const itk::Index<3> & at, double, double, double) {
      image->SetPixel(at, static_cast<short>(std::lround(SymmetricHead::At(head.Sequences, at)[0])));
    });
  };
  take(integers);
  take(reals);
  const auto run = [&](auto & filter, auto & image) {
    filter->SetInput(image);
    filter->SetTumourMaskImage(head.Tumour);
    filter->SetBrainMaskImage(head.Brain);
    filter->Update();
  };
  const auto ofIntegers = itk::TumourReplacementFilter<ShortType, MaskType>::New();
  const auto ofReals = itk::TumourReplacementFilter<RealType, MaskType>::New();
  run(ofIntegers, integers);
  run(ofReals, reals);
  head.ForVoxels([&](const itk::Index<3> & at, double, double, double) {
    ASSERT_NEAR(ofIntegers->GetOutput()->GetPixel(at), ofReals->GetOutput()->GetPixel(at), 0.5001);
  });
}

TEST(TumourReplacementFilter, RefusesWhatIsNoTumourOfThisImage)
{
  SymmetricHead none;
  EXPECT_NE(MessageOf(none.MakeFilter()).find("tumour mask is empty"), std::string::npos);

  SymmetricHead head;
  head.AddTumour(11.0);
  auto filter = head.MakeFilter();
  EXPECT_EQ(MessageOf(filter), "");
  EXPECT_EQ(filter->GetReach(), 3.0);
  EXPECT_EQ(filter->GetSoftness(), 3.0);
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (const double reach : { -1.0, 51.0, nan })
  {
    filter = head.MakeFilter();
    filter->SetReach(reach);
    EXPECT_NE(MessageOf(filter).find("Reach is"), std::string::npos) << reach;
  }
  for (const double softness : { 0.0, -1.0, 51.0, nan })
  {
    filter = head.MakeFilter();
    filter->SetSoftness(softness);
    EXPECT_NE(MessageOf(filter).find("Softness is"), std::string::npos) << softness;
  }
  filter = head.MakeFilter();
  filter->SetBrainMaskImage(nullptr);
  EXPECT_NE(MessageOf(filter).find("BrainMaskImage"), std::string::npos);

  // Elsewhere, or of another size.
  const auto moved = MaskType::New();
  moved->Graft(head.Tumour);
  moved->SetOrigin(head.Sequences->GetOrigin());
  auto spacing = head.Sequences->GetSpacing();
  spacing[2] *= 1.1;
  moved->SetSpacing(spacing);
  filter = head.MakeFilter();
  filter->SetTumourMaskImage(moved);
  EXPECT_NE(MessageOf(filter).find("tumour mask differs from the image's in spacing"), std::string::npos);
  const auto small = MaskType::New();
  small->CopyInformation(head.Sequences);
  small->SetRegions(MaskType::RegionType(MaskType::SizeType{ { 4, 4, 4 } }));
  small->Allocate(true);
  filter = head.MakeFilter();
  filter->SetBrainMaskImage(small);
  EXPECT_NE(MessageOf(filter).find("brain mask differs from the image's in size"), std::string::npos);

  // A piece of a mask.
  const auto piece = MaskType::New();
  piece->CopyInformation(head.Sequences);
  piece->SetLargestPossibleRegion(head.Sequences->GetLargestPossibleRegion());
  auto part = head.Sequences->GetLargestPossibleRegion();
  part.SetSize(2, 20);
  piece->SetBufferedRegion(part);
  piece->SetRequestedRegion(part);
  piece->Allocate(true);
  filter = head.MakeFilter();
  filter->SetBrainMaskImage(piece);
  EXPECT_NE(MessageOf(filter), "");

  // A tumour beside the brain.
  head.Brain->FillBuffer(0);
  head.Brain->SetPixel(head.Brain->GetBufferedRegion().GetIndex(), 1);
  head.Brain->Modified();
  EXPECT_NE(MessageOf(head.MakeFilter()).find("lies in the brain mask"), std::string::npos);

  SymmetricHead broken;
  broken.AddTumour(11.0);
  broken.ForVoxels([&](const itk::Index<3> & at, double x, double y, double z) {
    if (x == 22.0 && y == 20.0 && z == 20.0)
    {
      SymmetricHead::At(broken.Sequences, at)[2] = std::numeric_limits<float>::quiet_NaN();
    }
  });
  EXPECT_NE(MessageOf(broken.MakeFilter()).find("not finite"), std::string::npos);
}
