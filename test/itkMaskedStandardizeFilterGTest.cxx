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
#include "itkMaskedStandardizeFilter.h"

#include "ErrorMessages.h"
#include "itkPipelineMonitorImageFilter.h"
#include "itkStreamingImageFilter.h"

#include "ObliqueImage.h"
#include "ProceduralImageSource.h"

#include <gtest/gtest.h>

#include <limits>
#include <numeric>

namespace
{
using ImageType = itk::Image<float, 3>;
using VectorImageType = itk::VectorImage<float, 3>;
using MaskType = itk::Image<unsigned char, 3>;
using Filter = itk::MaskedStandardizeFilter<VectorImageType, MaskType>;
using Mode = itk::MaskedStandardizeFilterEnums::Mode;
constexpr unsigned int Components = 3;

// Component c is noise of height 100 (c + 1) on an offset; about a third of the voxels is inside.
struct Case
{
  VectorImageType::Pointer         image = oblique::Make<VectorImageType>(17, 13, 11, Components);
  MaskType::Pointer                mask = oblique::Make<MaskType>(17, 13, 11);
  std::vector<std::vector<double>> inside{ Components };
  std::vector<std::vector<double>> all{ Components };

  Case()
  {
    for (itk::SizeValueType v = 0; v < 17 * 13 * 11; ++v)
    {
      const bool in = oblique::Noise(1000000 + v) < 0.3F;
      mask->GetBufferPointer()[v] = in ? 2 : 0;
      for (unsigned int c = 0; c < Components; ++c)
      {
        const float value = 100.0F * (c + 1.0F) * oblique::Noise(v * Components + c) + 50.0F * c;
        image->GetBufferPointer()[v * Components + c] = value;
        all[c].push_back(value);
        if (in)
        {
          inside[c].push_back(value);
        }
      }
    }
  }
};

double
Mean(const std::vector<double> & values)
{
  return std::accumulate(values.begin(), values.end(), 0.0) / values.size();
}

double
Deviation(const std::vector<double> & values)
{
  const double mean = Mean(values);
  double       sum = 0.0;
  for (const double value : values)
  {
    sum += (value - mean) * (value - mean);
  }
  return std::sqrt(sum / values.size());
}

Filter::Pointer
MakeFilter(const Case & c)
{
  auto filter = Filter::New();
  filter->SetInput(c.image);
  filter->SetMaskImage(c.mask);
  return filter;
}

#define EXPECT_MESSAGE(filter, part) EXPECT_NE(MessageOf(filter).find(part), std::string::npos) << MessageOf(filter)
} // namespace

TEST(MaskedStandardizeFilter, TheMaskGivesTheStatistics)
{
  const Case c;
  auto       filter = MakeFilter(c);
  filter->SetOutsideValue(-9.0);
  filter->Update();
  for (unsigned int k = 0; k < Components; ++k)
  {
    const double mean = Mean(c.inside[k]);
    const double deviation = Deviation(c.inside[k]);
    EXPECT_NEAR(filter->GetMean()[k], mean, 1e-11 * mean);
    EXPECT_NEAR(filter->GetStandardDeviation()[k], deviation, 1e-11 * deviation);
    EXPECT_EQ(filter->GetCount()[k], c.inside[k].size());
    for (itk::SizeValueType v = 0; v < c.all[k].size(); ++v)
    {
      const double truth = c.mask->GetBufferPointer()[v] ? (c.all[k][v] - mean) / deviation : -9.0;
      ASSERT_NEAR(filter->GetOutput()->GetBufferPointer()[v * Components + k], truth, 1e-6);
    }
  }
  EXPECT_EQ(filter->GetOutput()->GetLargestPossibleRegion(), c.image->GetLargestPossibleRegion());
  EXPECT_EQ(filter->GetOutput()->GetOrigin(), c.image->GetOrigin());
  EXPECT_EQ(filter->GetOutput()->GetSpacing(), c.image->GetSpacing());
  EXPECT_EQ(filter->GetOutput()->GetDirection(), c.image->GetDirection());
  EXPECT_EQ(oblique::Scanner(filter->GetOutput()), "phantom");
}

TEST(MaskedStandardizeFilter, TheWholeImageMakesTheBackgroundNegative)
{
  const Case c;
  for (itk::SizeValueType v = 0; v < 17 * 13; ++v)
  {
    c.image->GetBufferPointer()[v * Components] = 0.0F;
  }
  auto filter = Filter::New();
  filter->SetInput(c.image);
  filter->SetMode(Mode::WholeImage);
  filter->Update();
  EXPECT_EQ(filter->GetCount()[0], 17 * 13 * 11);
  EXPECT_NEAR(filter->GetMean()[1], Mean(c.all[1]), 1e-9);
  EXPECT_NEAR(filter->GetStandardDeviation()[2], Deviation(c.all[2]), 1e-9);
  EXPECT_NEAR(
    filter->GetOutput()->GetBufferPointer()[0], -filter->GetMean()[0] / filter->GetStandardDeviation()[0], 1e-6);
  // the mask has no say
  auto withMask = MakeFilter(c);
  withMask->SetMode(Mode::WholeImage);
  withMask->Update();
  EXPECT_TRUE(oblique::SameVoxels<VectorImageType>(filter->GetOutput(), withMask->GetOutput()));
}

TEST(MaskedStandardizeFilter, QuantilesClipFirst)
{
  Case c;
  auto filter = MakeFilter(c);
  filter->SetLowerQuantile(0.05);
  filter->SetUpperQuantile(0.9);
  filter->Update();
  for (unsigned int k = 0; k < Components; ++k)
  {
    auto & values = c.inside[k];
    std::sort(values.begin(), values.end());
    // between the neighbouring order statistics, within a bin
    const double bin = (values.back() - values.front()) / 65536.0;
    const auto   low = static_cast<std::size_t>(0.05 * values.size());
    const auto   high = static_cast<std::size_t>(0.9 * values.size());
    const double lower = filter->GetLowerBound()[k];
    const double upper = filter->GetUpperBound()[k];
    EXPECT_GE(lower, values[low - 1] - bin);
    EXPECT_LE(lower, values[low + 1] + bin);
    EXPECT_GE(upper, values[high - 1] - bin);
    EXPECT_LE(upper, values[high + 1] + bin);
    for (double & value : values)
    {
      value = std::min(std::max(value, lower), upper);
    }
    EXPECT_NEAR(filter->GetMean()[k], Mean(values), 1e-9);
    EXPECT_NEAR(filter->GetStandardDeviation()[k], Deviation(values), 1e-9);
    double largest = 0.0;
    for (itk::SizeValueType v = 0; v < 17 * 13 * 11; ++v)
    {
      largest = std::max<double>(largest, filter->GetOutput()->GetBufferPointer()[v * Components + k]);
    }
    EXPECT_NEAR(largest, (upper - Mean(values)) / Deviation(values), 1e-6);
  }
}

TEST(MaskedStandardizeFilter, PiecesAndThreadsChangeNoBit)
{
  const Case               c;
  VectorImageType::Pointer result[4];
  Filter::RealArrayType    mean[4];
  Filter::RealArrayType    deviation[4];
  for (unsigned int k = 0; k < 4; ++k)
  {
    auto filter = MakeFilter(c);
    filter->SetLowerQuantile(0.01);
    filter->SetNumberOfWorkUnits(k == 1 ? 4 : 1);
    filter->SetNumberOfStatisticsDivisions(k == 2 ? 7 : 1);
    auto stream = itk::StreamingImageFilter<VectorImageType, VectorImageType>::New();
    stream->SetInput(filter->GetOutput());
    stream->SetNumberOfStreamDivisions(k == 3 ? 7 : 1);
    stream->Update();
    result[k] = stream->GetOutput();
    mean[k] = filter->GetMean();
    deviation[k] = filter->GetStandardDeviation();
    EXPECT_EQ(mean[k], mean[0]);
    EXPECT_EQ(deviation[k], deviation[0]);
    EXPECT_TRUE(oblique::SameVoxels(result[0].GetPointer(), result[k].GetPointer()));
  }
}

TEST(MaskedStandardizeFilter, BothPassesStreamAndTheStatisticsAreMadeOnce)
{
  const Case c;
  auto       imageSource = oblique::MakeSource(c.image.GetPointer());
  auto       maskSource = oblique::MakeSource(c.mask.GetPointer());
  auto       image = itk::PipelineMonitorImageFilter<VectorImageType>::New();
  auto       mask = itk::PipelineMonitorImageFilter<MaskType>::New();
  image->SetInput(imageSource->GetOutput());
  mask->SetInput(maskSource->GetOutput());
  image->ClearPipelineOnGenerateOutputInformationOff();
  mask->ClearPipelineOnGenerateOutputInformationOff();
  auto filter = Filter::New();
  filter->SetInput(image->GetOutput());
  filter->SetMaskImage(mask->GetOutput());
  filter->SetNumberOfStatisticsDivisions(4);
  auto stream = itk::StreamingImageFilter<VectorImageType, VectorImageType>::New();
  stream->SetInput(filter->GetOutput());
  stream->SetNumberOfStreamDivisions(6);
  stream->Update();
  EXPECT_EQ(image->GetNumberOfUpdates(), 4U + 6U);
  EXPECT_EQ(mask->GetNumberOfUpdates(), 4U + 6U);
  for (const auto & region : image->GetUpdatedBufferedRegions())
  {
    EXPECT_LE(region.GetSize(2), 3U);
  }
  stream->Modified();
  stream->Update();
  EXPECT_EQ(image->GetNumberOfUpdates(), 10U + 6U) << "nothing changed: no statistics again";
  filter->SetOutsideValue(1.0);
  stream->Update();
  EXPECT_EQ(image->GetNumberOfUpdates(), 16U + 6U) << "the outside value is no matter of the statistics";
  c.mask->GetBufferPointer()[0] = 1 - c.mask->GetBufferPointer()[0];
  c.mask->Modified();
  stream->Update();
  EXPECT_EQ(image->GetNumberOfUpdates(), 22U + 10U);
  filter->SetUpperQuantile(0.99);
  stream->Update();
  EXPECT_EQ(image->GetNumberOfUpdates(), 32U + 12U + 6U) << "range, histogram, moments";
}

TEST(MaskedStandardizeFilter, SeesWhatIsWrittenIntoTheOutputOfASource)
{
  const Case c;
  const auto source = oblique::MakeSource(c.image.GetPointer());
  auto       filter = Filter::New();
  filter->SetInput(source->GetOutput());
  filter->SetMaskImage(c.mask);
  filter->Update();
  const double before = filter->GetMean()[0];
  for (itk::SizeValueType v = 0; v < 17 * 13 * 11; ++v)
  {
    source->GetOutput()->GetBufferPointer()[v * Components] += 1000.0F;
  }
  source->GetOutput()->Modified();
  filter->Update();
  EXPECT_NEAR(filter->GetMean()[0], before + 1000.0, 1e-3); // float's rounding of the sums
}

TEST(MaskedStandardizeFilter, TakesScalarIntegersAndOneSlice)
{
  using ShortType = itk::Image<short, 3>;
  auto image = oblique::Make<ShortType>(19, 23, 1);
  auto mask = oblique::Make<MaskType>(19, 23, 1);
  mask->FillBuffer(1);
  std::vector<double> values;
  for (itk::SizeValueType v = 0; v < 19 * 23; ++v)
  {
    image->GetBufferPointer()[v] = static_cast<short>(3000.0F * oblique::Noise(v)) - 500;
    values.push_back(image->GetBufferPointer()[v]);
  }
  for (const unsigned int pieces : { 1U, 7U })
  {
    auto filter = itk::MaskedStandardizeFilter<ShortType, MaskType, ImageType>::New();
    filter->SetInput(image);
    filter->SetMaskImage(mask);
    filter->SetNumberOfStatisticsDivisions(pieces);
    filter->Update();
    EXPECT_NEAR(filter->GetMean()[0], Mean(values), 1e-9);
    EXPECT_NEAR(filter->GetStandardDeviation()[0], Deviation(values), 1e-9);
  }
}

// The mean is ten thousand times the deviation; the truth is summed twice, in long double.
TEST(MaskedStandardizeFilter, IsExactForAMeanOfTenThousandDeviations)
{
  for (const unsigned int components : { 1U, 2U, 4U, 5U, 11U })
  {
    auto       image = oblique::Make<VectorImageType>(37, 29, 23, components);
    auto       mask = oblique::Make<MaskType>(37, 29, 23);
    const auto voxels = image->GetLargestPossibleRegion().GetNumberOfPixels();
    for (itk::SizeValueType v = 0; v < voxels; ++v)
    {
      // runs of several lengths
      mask->GetBufferPointer()[v] = oblique::Noise(v / 7) < 0.6F && v % 41 != 3 ? 1 : 0;
      for (unsigned int c = 0; c < components; ++c)
      {
        const double noise = std::sqrt(12.0) * (oblique::Noise(v * components + c) - 0.5); // deviation 1
        image->GetBufferPointer()[v * components + c] = static_cast<float>((c + 1.0) * (1e4 + noise));
      }
    }
    auto filter = Filter::New();
    filter->SetInput(image);
    filter->SetMaskImage(mask);
    filter->SetNumberOfStatisticsDivisions(3);
    filter->Update();
    for (unsigned int c = 0; c < components; ++c)
    {
      long double sum = 0.0L;
      long double count = 0.0L;
      for (itk::SizeValueType v = 0; v < voxels; ++v)
      {
        sum += mask->GetBufferPointer()[v] ? image->GetBufferPointer()[v * components + c] : 0.0F;
        count += mask->GetBufferPointer()[v];
      }
      const long double mean = sum / count;
      long double       squares = 0.0L;
      for (itk::SizeValueType v = 0; v < voxels; ++v)
      {
        const long double difference = image->GetBufferPointer()[v * components + c] - mean;
        squares += mask->GetBufferPointer()[v] ? difference * difference : 0.0L;
      }
      const long double deviation = std::sqrt(squares / count);
      ASSERT_NEAR(static_cast<double>(mean / deviation), 1e4, 100.0);
      EXPECT_NEAR(static_cast<double>((filter->GetMean()[c] - mean) / deviation), 0.0, 1e-10) << c;
      EXPECT_NEAR(static_cast<double>(filter->GetStandardDeviation()[c] / deviation), 1.0, 1e-10) << c;
      for (itk::SizeValueType v = 0; v < voxels; ++v)
      {
        const auto truth = static_cast<double>((image->GetBufferPointer()[v * components + c] - mean) / deviation);
        ASSERT_NEAR(filter->GetOutput()->GetBufferPointer()[v * components + c],
                    mask->GetBufferPointer()[v] ? truth : 0.0,
                    1e-6 * std::max(0.001, std::abs(truth)))
          << components << " components, " << c << ", voxel " << v;
      }
    }
  }
}

TEST(MaskedStandardizeFilter, OneLabelOfTheMaskIsEnough)
{
  const Case c;
  for (itk::SizeValueType v = 0; v < 17 * 13 * 11; ++v)
  {
    c.mask->GetBufferPointer()[v] = static_cast<unsigned char>(4.0F * oblique::Noise(5000000 + v));
  }
  auto filter = MakeFilter(c);
  filter->SetOutsideValue(-9.0);
  filter->UseMaskLabelOn();
  for (const unsigned char label : { 1, 3, 0 })
  {
    std::vector<double> values;
    for (itk::SizeValueType v = 0; v < 17 * 13 * 11; ++v)
    {
      if (c.mask->GetBufferPointer()[v] == label)
      {
        values.push_back(c.all[1][v]);
      }
    }
    filter->SetMaskLabel(label);
    filter->Update();
    EXPECT_EQ(filter->GetCount()[1], values.size());
    EXPECT_NEAR(filter->GetMean()[1], Mean(values), 1e-9);
    EXPECT_NEAR(filter->GetStandardDeviation()[1], Deviation(values), 1e-9);
    for (itk::SizeValueType v = 0; v < 17 * 13 * 11; ++v)
    {
      const double truth =
        c.mask->GetBufferPointer()[v] == label ? (c.all[1][v] - Mean(values)) / Deviation(values) : -9.0;
      ASSERT_NEAR(filter->GetOutput()->GetBufferPointer()[v * Components + 1], truth, 1e-6);
    }
  }
  filter->SetMaskLabel(77);
  EXPECT_MESSAGE(filter, "has MaskLabel 77");
  filter->UseMaskLabelOff();
  filter->Update();
  EXPECT_EQ(filter->GetCount()[0],
            17 * 13 * 11 - std::count(c.mask->GetBufferPointer(), c.mask->GetBufferPointer() + 17 * 13 * 11, 0));
}

TEST(MaskedStandardizeFilter, TellsWhatTheBackgroundHasBecome)
{
  const Case               c;
  const itk::SizeValueType zero = 17 * 13 * 4 + 5;
  for (unsigned int k = 0; k < Components; ++k)
  {
    c.image->GetBufferPointer()[zero * Components + k] = 0.0F;
  }
  auto filter = MakeFilter(c);
  filter->SetOutsideValue(-9.0);
  filter->UpdateOutputInformation();
  ASSERT_EQ(filter->GetBackgroundValue().Size(), Components);
  EXPECT_EQ(filter->GetBackgroundValue()[2], -9.0);
  filter->SetMode(Mode::WholeImage);
  for (const double quantile : { 0.0, 0.1 })
  {
    filter->SetLowerQuantile(quantile);
    filter->Update();
    for (unsigned int k = 0; k < Components; ++k)
    {
      // the very bits of a voxel that was 0
      EXPECT_EQ(static_cast<float>(filter->GetBackgroundValue()[k]),
                filter->GetOutput()->GetBufferPointer()[zero * Components + k]);
      EXPECT_LT(filter->GetBackgroundValue()[k], -1.0);
    }
  }
  // no voxel is 0: what 0 would be
  for (itk::SizeValueType v = 0; v < 17 * 13 * 11 * Components; ++v)
  {
    c.image->GetBufferPointer()[v] += 1000.0F;
  }
  c.image->Modified();
  filter->SetLowerQuantile(0.0);
  filter->UpdateOutputInformation();
  EXPECT_NEAR(filter->GetBackgroundValue()[1], -filter->GetMean()[1] / filter->GetStandardDeviation()[1], 1e-12);
  EXPECT_LT(filter->GetBackgroundValue()[1], -10.0);
}

// No region that is asked for upstream grows with the image: neither by the statistics nor by the output.
TEST(MaskedStandardizeFilter, AsksForPiecesOfALargeImage)
{
  constexpr unsigned int components = 4;
  const itk::Size<3>     size = { { 96, 128, 900 } };
  auto                   imageSource = ProceduralImageSource<VectorImageType>::New();
  imageSource->SetSize(size);
  imageSource->SetNumberOfComponents(components);
  imageSource->SetFunction([](const itk::Index<3> & index, float * to) {
    for (unsigned int c = 0; c < components; ++c)
    {
      to[c] = static_cast<float>(1000.0 * c + (index[0] * 7 + index[1] * 3 + index[2] * 5 + c) % 101);
    }
  });
  const auto makeMask = [&] {
    auto source = ProceduralImageSource<MaskType>::New();
    source->SetSize(size);
    source->SetFunction([](const itk::Index<3> & index, unsigned char * to) { *to = index[0] > 20 ? 1 : 0; });
    return source;
  };
  const auto maskSource = makeMask();
  const auto sinkMask = makeMask(); // the monitor releases what it was given
  auto       image = itk::PipelineMonitorImageFilter<VectorImageType>::New();
  auto       mask = itk::PipelineMonitorImageFilter<MaskType>::New();
  image->SetInput(imageSource->GetOutput());
  mask->SetInput(maskSource->GetOutput());
  image->ClearPipelineOnGenerateOutputInformationOff();
  mask->ClearPipelineOnGenerateOutputInformationOff();
  auto filter = Filter::New();
  filter->SetInput(image->GetOutput());
  filter->SetMaskImage(mask->GetOutput());
  // a sink of the output that keeps nothing, and says what came
  auto sink = itk::MaskedIntensityStatisticsFilter<VectorImageType, MaskType>::New();
  sink->SetInput(filter->GetOutput());
  sink->SetMaskImage(sinkMask->GetOutput());
  sink->SetNumberOfStreamDivisions(30);
  sink->Update();

  constexpr itk::SizeValueType limit = 32 * 1024 * 1024;
  const auto                   regions = image->GetUpdatedBufferedRegions();
  // 188 MB in pieces of 32 MiB, then 30 pieces
  ASSERT_EQ(regions.size(), 6U + 30U);
  EXPECT_EQ(mask->GetNumberOfUpdates(), 6U + 30U);
  for (std::size_t k = 0; k < regions.size(); ++k)
  {
    EXPECT_LE(regions[k].GetNumberOfPixels() * (components * sizeof(float) + 1), limit);
    EXPECT_LE(regions[k].GetSize(2), k < 6 ? 150U : 30U);
  }
  EXPECT_EQ(filter->GetOutput()->GetBufferedRegion().GetSize(2), 30U);
  for (unsigned int c = 0; c < components; ++c)
  {
    EXPECT_NEAR(filter->GetMean()[c], 1000.0 * c + 50.0, 0.1);
    EXPECT_NEAR(sink->GetMean()[c], 0.0, 1e-6);
    EXPECT_NEAR(sink->GetStandardDeviation()[c], 1.0, 1e-6);
  }
}

TEST(MaskedStandardizeFilter, ALargeOffsetCostsNoDigits)
{
  using DoubleType = itk::Image<double, 2>;
  using Mask2Type = itk::Image<unsigned char, 2>;
  auto image = DoubleType::New();
  image->SetRegions(itk::Size<2>({ { 64, 64 } }));
  image->Allocate();
  std::vector<double> values;
  for (itk::SizeValueType v = 0; v < 64 * 64; ++v)
  {
    image->GetBufferPointer()[v] = 1e8 + oblique::Noise(v);
    values.push_back(image->GetBufferPointer()[v]);
  }
  auto filter = itk::MaskedStandardizeFilter<DoubleType, Mask2Type>::New();
  filter->SetInput(image);
  filter->SetMode(Mode::WholeImage);
  filter->Update();
  // the values themselves are rounded to 1e-8
  EXPECT_NEAR(filter->GetStandardDeviation()[0], Deviation(values), 1e-8);
}

TEST(MaskedStandardizeFilter, NamesWhatIsWrongAndRunsAgain)
{
  const Case c;
  const auto size = c.image->GetLargestPossibleRegion().GetNumberOfPixels();
  auto       filter = MakeFilter(c);

  // the last voxel inside the mask
  itk::SizeValueType last = size - 1;
  while (c.mask->GetBufferPointer()[last] == 0)
  {
    --last;
  }
  float &     value = c.image->GetBufferPointer()[last * Components + 2];
  const float kept = value;
  for (const float bad : { std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity() })
  {
    value = bad;
    c.image->Modified();
    std::ostringstream index;
    index << "component 2 at index " << c.image->ComputeIndex(last);
    EXPECT_MESSAGE(filter, index.str());
    EXPECT_MESSAGE(filter, index.str());
  }
  // outside the mask it does not matter
  value = kept;
  itk::SizeValueType outside = 0;
  while (c.mask->GetBufferPointer()[outside] != 0)
  {
    ++outside;
  }
  c.image->GetBufferPointer()[outside * Components] = std::numeric_limits<float>::quiet_NaN();
  c.image->Modified();
  filter->Update();
  EXPECT_EQ(filter->GetOutput()->GetBufferPointer()[outside * Components], 0.0F);
  EXPECT_NEAR(filter->GetMean()[2], Mean(c.inside[2]), 1e-9);

  filter->SetLowerQuantile(0.6);
  filter->SetUpperQuantile(0.5);
  EXPECT_MESSAGE(filter, "0.6");
  filter->SetLowerQuantile(0.0);
  filter->SetUpperQuantile(1.0);

  for (itk::SizeValueType v = 0; v < size; ++v)
  {
    c.image->GetBufferPointer()[v * Components + 1] = 0.1F;
  }
  c.image->Modified();
  EXPECT_MESSAGE(filter, "Component 1 has the same value");

  c.mask->FillBuffer(0);
  c.mask->Modified();
  EXPECT_MESSAGE(filter, "The mask is empty");

  filter->SetMaskImage(nullptr);
  EXPECT_MESSAGE(filter, "no MaskImage");
}

TEST(MaskedStandardizeFilter, AnObserverSeesProgressAndCanAbort)
{
  const Case c;
  const auto expected = MakeFilter(c);
  expected->Update();
  // Before, within and after the statistics: three passes over eleven pieces.
  for (const float stop : { 0.0F, 0.1F, 0.4F, 0.5F, 0.6F, 2.0F })
  {
    const auto filter = MakeFilter(c);
    filter->SetLowerQuantile(0.01);
    filter->SetNumberOfStatisticsDivisions(11);
    float        last = 0.0F;
    unsigned int steps = 0;
    unsigned int aborts = 0;
    const auto   watch = filter->AddObserver(itk::ProgressEvent(), [&](const itk::EventObject &) {
      const float now = filter->GetProgress();
      EXPECT_GE(now, last);
      steps += now > last && now < 0.5F ? 1 : 0;
      last = now;
      if (now >= stop)
      {
        filter->AbortGenerateDataOn();
      }
    });
    filter->AddObserver(itk::AbortEvent(), [&](const itk::EventObject &) { ++aborts; });
    if (stop > 1.0F)
    {
      filter->Update();
      EXPECT_EQ(last, 1.0F);
      EXPECT_GE(steps, 30U);
    }
    else
    {
      EXPECT_THROW(filter->Update(), itk::ProcessAborted) << stop;
      EXPECT_GE(aborts, 1U) << stop;
      EXPECT_TRUE(last <= 0.5F || stop > 0.5F) << stop;
    }
    filter->RemoveObserver(watch);
    filter->SetLowerQuantile(0.0);
    filter->Update();
    EXPECT_TRUE(oblique::SameVoxels(filter->GetOutput(), expected->GetOutput())) << stop;
  }
}

TEST(MaskedStandardizeFilter, TheGridsAgreeWithinTheTolerance)
{
  const Case c;
  auto       origin = c.mask->GetOrigin();
  origin[0] += 0.0005 * 0.9;
  c.mask->SetOrigin(origin);
  auto filter = MakeFilter(c);
  EXPECT_NO_THROW(filter->Update());
  origin[0] += 0.001 * 0.9;
  c.mask->SetOrigin(origin);
  EXPECT_MESSAGE(filter, "physical space");
  filter->SetCoordinateTolerance(0.01);
  EXPECT_NO_THROW(filter->Update());
  filter->SetMaskImage(oblique::Make<MaskType>(17, 13, 12));
  EXPECT_MESSAGE(filter, "Give a mask on the image's grid");
}

TEST(MaskedStandardizeFilter, LooksAtNoMaskInTheWholeImage)
{
  const Case c;
  const auto mask = ProceduralImageSource<MaskType>::New();
  mask->SetFunction([](const itk::Index<3> &, unsigned char * to) { *to = 1; });
  mask->SetSize({ { 5, 6, 7 } }); // another grid
  const auto plain = Filter::New();
  plain->SetInput(c.image);
  plain->SetMode(Mode::WholeImage);
  plain->Update();
  const auto filter = Filter::New();
  filter->SetInput(c.image);
  filter->SetMaskImage(mask->GetOutput());
  filter->SetMode(Mode::WholeImage);
  const auto stream = itk::StreamingImageFilter<VectorImageType, VectorImageType>::New();
  stream->SetInput(filter->GetOutput());
  stream->SetNumberOfStreamDivisions(4);
  stream->Update();
  EXPECT_TRUE(oblique::SameVoxels<VectorImageType>(stream->GetOutput(), plain->GetOutput()));
  mask->SetSize({ { 3, 4, 2 } });
  stream->Update();
  filter->SetMode(Mode::InsideMask);
  EXPECT_THROW(filter->Update(), itk::ExceptionObject);
  filter->SetMode(static_cast<Mode>(5));
  EXPECT_MESSAGE(filter, "Mode is 5");
}
