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
#include "itkAxisAlignedLinearSampler.h"

#include "ObliqueImage.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <vector>

// Tolerance: both sides are float sums of values below 1, in another order.
namespace
{
using Sampler = itk::AxisAlignedLinearSampler;
using Region = Sampler::RegionType;
constexpr unsigned int Components = 2;

struct Volume
{
  explicit Volume(const Region & r)
    : region(r)
    , data(r.GetNumberOfPixels() * Components)
  {}

  float &
  At(const itk::Index<3> & i, unsigned int c)
  {
    const auto & s = region.GetSize();
    const auto & o = region.GetIndex();
    return data[(((i[2] - o[2]) * s[1] + (i[1] - o[1])) * s[0] + (i[0] - o[0])) * Components + c];
  }

  Region             region;
  std::vector<float> data;
};

Volume
MakeInput()
{
  Volume volume(Region({ { 2, -1, 4 } }, { { 7, 6, 5 } }));
  for (std::size_t k = 0; k < volume.data.size(); ++k)
  {
    volume.data[k] = oblique::Noise(k);
  }
  return volume;
}

itk::AxisAlignedMapping
MakeMapping()
{
  itk::AxisAlignedMapping mapping;
  mapping.Axis = { { 2, 0, 1 } };
  mapping.Scale = { { -0.7, 1.3, 0.45 } };
  mapping.Offset = { { 8.1, 1.2, -2.2 } };
  return mapping;
}

// The definition, voxel by voxel: eight corners, or the nearest.
double
Truth(Volume &                        input,
      const itk::AxisAlignedMapping & mapping,
      const itk::Index<3> &           index,
      unsigned int                    c,
      double                          outside)
{
  itk::Index<3> low;
  double        fraction[3];
  for (unsigned int a = 0; a < 3; ++a)
  {
    const unsigned int d = mapping.Axis[a];
    const double       first = input.region.GetIndex(d);
    const double       last = input.region.GetUpperIndex()[d];
    const double       position = mapping.Offset[a] + mapping.Scale[a] * index[a];
    if (position < first - 0.5 || position > last + 0.5)
    {
      return outside;
    }
    const double clamped = std::min(std::max(position, first), last);
    low[d] = std::min<itk::IndexValueType>(static_cast<itk::IndexValueType>(std::floor(clamped)), last - 1);
    fraction[d] = clamped - low[d];
  }
  double sum = 0.0;
  for (unsigned int corner = 0; corner < 8; ++corner)
  {
    itk::Index<3> at = low;
    double        weight = 1.0;
    for (unsigned int d = 0; d < 3; ++d)
    {
      const bool up = (corner >> d) & 1U;
      at[d] += up;
      weight *= up ? fraction[d] : 1.0 - fraction[d];
    }
    sum += weight * input.At(at, c);
  }
  return sum;
}

Volume
SampleAll(const Sampler & sampler, Volume & input, const Region & region)
{
  const float outside[Components] = { -5.0F, -6.0F };
  Volume      output(region);
  sampler.Sample(
    input.data.data(), input.region, Components, output.data.data(), output.region, output.region, outside);
  return output;
}
} // namespace

TEST(AxisAlignedLinearSampler, EqualsTheEightCorners)
{
  Volume        input = MakeInput();
  const auto    mapping = MakeMapping();
  const Sampler sampler(mapping, input.region);
  Volume        output = SampleAll(sampler, input, Region({ { -2, -2, 0 } }, { { 10, 9, 14 } }));
  unsigned int  outside = 0;
  unsigned int  inside = 0;
  itk::Index<3> i;
  for (i[2] = 0; i[2] < 14; ++i[2])
  {
    for (i[1] = -2; i[1] < 7; ++i[1])
    {
      for (i[0] = -2; i[0] < 8; ++i[0])
      {
        for (unsigned int c = 0; c < Components; ++c)
        {
          const double truth = Truth(input, mapping, i, c, -5.0 - c);
          ASSERT_NEAR(output.At(i, c), truth, 1e-6) << i << " component " << c;
          ++(truth < -1.0 ? outside : inside);
        }
      }
    }
  }
  EXPECT_GT(outside, 100U);
  EXPECT_GT(inside, 100U);
}

TEST(AxisAlignedLinearSampler, APieceFromThePartItAskedForHasTheSameBits)
{
  Volume  input = MakeInput();
  Sampler sampler(MakeMapping(), input.region);
  sampler.SetFullWidthAtHalfMaximum({ { 1.5, 0.0, 0.8 } });
  Volume       whole = SampleAll(sampler, input, Region({ { -2, -2, 0 } }, { { 10, 9, 14 } }));
  const Region piece({ { 0, 1, 4 } }, { { 3, 2, 5 } });

  Volume        part(sampler.ComputeInputRegion(piece));
  itk::Index<3> i;
  EXPECT_LT(part.region.GetNumberOfPixels(), input.region.GetNumberOfPixels());
  for (i[2] = part.region.GetIndex(2); i[2] <= part.region.GetUpperIndex()[2]; ++i[2])
  {
    for (i[1] = part.region.GetIndex(1); i[1] <= part.region.GetUpperIndex()[1]; ++i[1])
    {
      for (i[0] = part.region.GetIndex(0); i[0] <= part.region.GetUpperIndex()[0]; ++i[0])
      {
        for (unsigned int c = 0; c < Components; ++c)
        {
          part.At(i, c) = input.At(i, c);
        }
      }
    }
  }
  Volume output = SampleAll(sampler, part, piece);
  for (i[2] = 4; i[2] < 9; ++i[2])
  {
    for (i[1] = 1; i[1] < 3; ++i[1])
    {
      for (i[0] = 0; i[0] < 3; ++i[0])
      {
        ASSERT_EQ(output.At(i, 1), whole.At(i, 1)) << i;
      }
    }
  }
}

TEST(AxisAlignedLinearSampler, NearestKeepsLabels)
{
  Volume        input = MakeInput();
  const auto    mapping = MakeMapping();
  const Sampler sampler(mapping, input.region, Sampler::InterpolationEnum::NearestNeighbor);
  Volume        output = SampleAll(sampler, input, Region({ { 0, 1, 3 } }, { { 4, 3, 5 } }));
  itk::Index<3> i;
  for (i[2] = 3; i[2] < 8; ++i[2])
  {
    for (i[1] = 1; i[1] < 4; ++i[1])
    {
      for (i[0] = 0; i[0] < 4; ++i[0])
      {
        itk::Index<3> nearest;
        for (unsigned int a = 0; a < 3; ++a)
        {
          nearest[mapping.Axis[a]] = std::lround(mapping.Offset[a] + mapping.Scale[a] * i[a]);
        }
        ASSERT_EQ(output.At(i, 0), input.At(nearest, 0)) << i;
      }
    }
  }
}

TEST(AxisAlignedLinearSampler, AGaussianSpreadsAnImpulse)
{
  // One voxel set; along each axis the answer is the sampled Gaussian, normalised, of the width given.
  Volume input(Region({ { 0, 0, 0 } }, { { 21, 21, 21 } }));
  input.At({ { 10, 10, 10 } }, 0) = 1.0F;
  Sampler      sampler(itk::AxisAlignedMapping{}, input.region);
  const double widths[3] = { std::sqrt(3.0), 2.0, 0.0 };
  sampler.SetFullWidthAtHalfMaximum({ { widths[0], widths[1], widths[2] } });
  Volume       output = SampleAll(sampler, input, input.region);
  const double sigma[2] = { widths[0] / (2.0 * std::sqrt(2.0 * std::log(2.0))),
                            widths[1] / (2.0 * std::sqrt(2.0 * std::log(2.0))) };
  double       norm[2] = { 0.0, 0.0 };
  for (int k = -20; k <= 20; ++k)
  {
    norm[0] += std::exp(-0.5 * k * k / (sigma[0] * sigma[0]));
    norm[1] += std::exp(-0.5 * k * k / (sigma[1] * sigma[1]));
  }
  for (int y = -6; y <= 6; ++y)
  {
    for (int x = -6; x <= 6; ++x)
    {
      const double truth = std::exp(-0.5 * x * x / (sigma[0] * sigma[0])) / norm[0] *
                           std::exp(-0.5 * y * y / (sigma[1] * sigma[1])) / norm[1];
      // what lies beyond four standard deviations is cut: 6e-5 of the whole
      EXPECT_NEAR(output.At({ { 10 + x, 10 + y, 10 } }, 0), truth, 6e-5);
      EXPECT_EQ(output.At({ { 10 + x, 10 + y, 11 } }, 0), 0.0F);
    }
  }
}

TEST(AxisAlignedLinearSampler, AGaussianKeepsAConstantUpToTheBorder)
{
  Volume input(Region({ { 0, 0, 0 } }, { { 5, 4, 3 } }));
  std::fill(input.data.begin(), input.data.end(), 100.0F);
  Sampler sampler(itk::AxisAlignedMapping{}, input.region);
  sampler.SetFullWidthAtHalfMaximum({ { 3.0, 3.0, 3.0 } });
  Volume output = SampleAll(sampler, input, input.region);
  for (const float value : output.data)
  {
    EXPECT_NEAR(value, 100.0F, 1e-4);
  }
}

TEST(AxisAlignedLinearSampler, ANotANumberStaysWhereItIs)
{
  Volume input(Region({ { 0, 0, 0 } }, { { 3, 3, 3 } }));
  input.At({ { 1, 1, 1 } }, 0) = std::numeric_limits<float>::quiet_NaN();
  const Sampler sampler(itk::AxisAlignedMapping{}, input.region);
  Volume        output = SampleAll(sampler, input, input.region);
  EXPECT_TRUE(std::isnan(output.At({ { 1, 1, 1 } }, 0)));
  EXPECT_EQ(output.At({ { 0, 1, 1 } }, 0), 0.0F);
  EXPECT_EQ(output.At({ { 1, 1, 2 } }, 0), 0.0F);
}

TEST(AxisAlignedLinearSampler, RoundsToIntegers)
{
  // Not arrays: GCC 12 then warns of what lies beyond their ends, which is not read.
  const std::vector<unsigned char> input{ 0, 255 };
  const Region                     region({ { 0, 0, 0 } }, { { 2, 1, 1 } });
  itk::AxisAlignedMapping          mapping;
  mapping.Scale[0] = 0.25;
  const Sampler       sampler(mapping, region);
  unsigned char       output[5];
  const unsigned char outside = 9;
  const Region        five({ { 0, 0, 0 } }, { { 5, 1, 1 } });
  sampler.Sample(input.data(), region, 1, output, five, five, &outside);
  const unsigned char truth[5] = { 0, 64, 128, 191, 255 };
  EXPECT_TRUE(std::equal(truth, truth + 5, output));
}

TEST(AxisAlignedLinearSampler, LimitsToWhatAnIntegerHolds)
{
  using Limits64 = std::numeric_limits<std::int64_t>;
  EXPECT_EQ(Sampler::ToPixel<unsigned char>(300.0F), 255);
  EXPECT_EQ(Sampler::ToPixel<unsigned char>(-20.0), 0);
  EXPECT_EQ(Sampler::ToPixel<unsigned char>(254.5), 255);
  EXPECT_EQ(Sampler::ToPixel<signed char>(-0.5), 0);
  EXPECT_EQ(Sampler::ToPixel<signed char>(-1000), -128);
  EXPECT_EQ(Sampler::ToPixel<unsigned char>(short{ -1 }), 0);
  EXPECT_EQ(Sampler::ToPixel<unsigned short>(70000), 65535);
  EXPECT_EQ(Sampler::ToPixel<std::int64_t>(std::numeric_limits<std::uint64_t>::max()), Limits64::max());
  EXPECT_EQ(Sampler::ToPixel<std::uint64_t>(Limits64::lowest()), 0U);
  EXPECT_EQ(Sampler::ToPixel<std::int64_t>(Limits64::max() - 1), Limits64::max() - 1); // no double holds it
  EXPECT_EQ(Sampler::ToPixel<std::int32_t>(Limits64::max() - 1), std::numeric_limits<std::int32_t>::max());
  EXPECT_EQ(Sampler::ToPixel<short>(std::numeric_limits<double>::quiet_NaN()), std::numeric_limits<short>::lowest());
  EXPECT_EQ(Sampler::ToPixel<float>(0.25), 0.25F);

  const std::vector<short> input{ 300, -7 };
  const Region             region({ { 0, 0, 0 } }, { { 2, 1, 1 } });
  const Sampler            sampler(itk::AxisAlignedMapping{}, region, Sampler::InterpolationEnum::NearestNeighbor);
  unsigned char            output[2];
  const unsigned char      outside = 9;
  sampler.Sample(input.data(), region, 1, output, region, region, &outside);
  EXPECT_EQ(output[0], 255);
  EXPECT_EQ(output[1], 0);
}

TEST(AxisAlignedLinearSampler, TheBorderIsRepeatedOrExtrapolatedFromValidVoxels)
{
  const std::vector<float> input{ 10.0F, 20.0F, 40.0F };
  const Region             region({ { 0, 0, 0 } }, { { 3, 1, 1 } });
  const Region             seven({ { 0, 0, 0 } }, { { 7, 1, 1 } });
  itk::AxisAlignedMapping  mapping; // -0.5 to 2.5 along axis 0; -0.25 where there is but one voxel
  mapping.Scale[0] = 0.5;
  mapping.Offset = { { -0.5, -0.25, 0.0 } };
  const float outside = -1.0F;
  const auto  expect = [&](const Sampler & sampler, const std::vector<float> & truth) {
    std::vector<float> output(7);
    sampler.Sample(input.data(), region, 1, output.data(), seven, seven, &outside);
    EXPECT_EQ(output, truth);
  };
  Sampler sampler(mapping, region);
  expect(sampler, { 10, 10, 15, 20, 30, 40, 40 });
  sampler.SetBorder(itk::AxisAlignedLinearSamplerEnums::Border::Extrapolate);
  expect(sampler, { 5, 10, 15, 20, 30, 40, 50 });
  sampler.SetValid(Region({ { 0, 0, 0 } }, { { 2, 1, 1 } }));
  expect(sampler, { 5, 10, 15, 20, 25, 30, outside });
  EXPECT_EQ(sampler.ComputeInputRegion(seven), Region({ { 0, 0, 0 } }, { { 2, 1, 1 } }));
  sampler.SetBorder(itk::AxisAlignedLinearSamplerEnums::Border::Repeat);
  expect(sampler, { 10, 10, 15, 20, 20, 20, outside });
}

TEST(AxisAlignedLinearSampler, MappingsChainAndInvert)
{
  const auto              first = MakeMapping();
  itk::AxisAlignedMapping second;
  second.Axis = { { 1, 0, 2 } };
  second.Scale = { { 2.0, -3.0, 0.5 } };
  second.Offset = { { 1.0, 2.0, 3.0 } };
  itk::AxisAlignedMapping::ContinuousIndexType point;
  point[0] = 0.3;
  point[1] = -4.0;
  point[2] = 7.5;
  const auto both = second.After(first).Map(point);
  const auto steps = second.Map(first.Map(point));
  const auto back = first.Inverse().Map(first.Map(point));
  for (unsigned int d = 0; d < 3; ++d)
  {
    EXPECT_NEAR(both[d], steps[d], 1e-12);
    EXPECT_NEAR(back[d], point[d], 1e-12);
  }
  EXPECT_TRUE(itk::AxisAlignedMapping{}.IsIdentity());
  EXPECT_FALSE(first.IsIdentity());
}
