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
#include "itkBoundingBoxROIFilter.h"

#include "ErrorMessages.h"
#include "itkFromModelSpaceFilter.h"
#include "itkImageFileReader.h"
#include "itkLinearInterpolateImageFunction.h"
#include "itkPipelineMonitorImageFilter.h"
#include "itkResampleImageFilter.h"
#include "itkStreamingImageFilter.h"

#include "ObliqueImage.h"
#include "RealTestData.h"

#include <gtest/gtest.h>

#include <fstream>
#include <limits>
#include <set>
#include <sstream>

namespace
{
using ImageType = itk::Image<float, 3>;
using VectorImageType = itk::VectorImage<float, 3>;
using MaskType = itk::Image<unsigned char, 3>;
using Filter = itk::BoundingBoxROIFilter<ImageType, MaskType>;
using LabelFilter = itk::BoundingBoxROIFilter<MaskType, MaskType>;
using BackFilter = itk::FromModelSpaceFilter<ImageType>;
using Interpolation = itk::AxisAlignedLinearSamplerEnums::Interpolation;
using Border = itk::AxisAlignedLinearSamplerEnums::Border;
using MarginUnit = itk::BoundingBoxROIFilterEnums::MarginUnit;
using VectorFilter = itk::BoundingBoxROIFilter<VectorImageType, MaskType>;
using Mode = itk::BoundingBoxROIFilterEnums::Mode;
using Status = itk::BoundingBoxROIFilterEnums::StatusFlag;
using Policy = itk::BoundingBoxROIFilterEnums::EmptyMaskPolicy;

// Sets the voxels of a block; indices count from the image's start.
void
Block(MaskType * mask, const itk::Index<3> & first, const itk::Size<3> & size)
{
  itk::ImageRegion<3> region(first, size);
  for (unsigned int d = 0; d < 3; ++d)
  {
    region.SetIndex(d, first[d] + mask->GetLargestPossibleRegion().GetIndex(d));
  }
  itk::ImageRegionIteratorWithIndex<MaskType> it(mask, region);
  for (; !it.IsAtEnd(); ++it)
  {
    it.Set(7);
  }
}

struct Case
{
  ImageType::Pointer image = oblique::Make<ImageType>(24, 22, 20);
  MaskType::Pointer  mask = oblique::Make<MaskType>(24, 22, 20);

  Case()
  {
    oblique::FillWithNoise(image.GetPointer());
    Block(mask, { { 8, 6, 5 } }, { { 7, 5, 4 } });
  }
};

Filter::Pointer
MakeFilter(const Case & c)
{
  auto filter = Filter::New();
  filter->SetInput(c.image);
  filter->SetMaskImage(c.mask);
  filter->SetMargin(2);
  filter->SetOutputSize(16);
  filter->SetOutsideValue(-3.0);
  return filter;
}

// Every output voxel against ITK's own interpolation at its physical point.
void
ExpectPhysicalTruth(const Case & c, const ImageType * output)
{
  auto interpolator = itk::LinearInterpolateImageFunction<ImageType, double>::New();
  interpolator->SetInputImage(c.image);
  itk::ImageRegionConstIteratorWithIndex<ImageType> it(output, output->GetLargestPossibleRegion());
  for (; !it.IsAtEnd(); ++it)
  {
    ImageType::PointType point;
    output->TransformIndexToPhysicalPoint(it.GetIndex(), point);
    const double truth = interpolator->IsInsideBuffer(point) ? interpolator->Evaluate(point) : -3.0;
    ASSERT_NEAR(it.Get(), truth, 1e-5) << it.GetIndex();
  }
}

// Physical corner of the output: half a voxel before the first centre.
ImageType::PointType
Corner(const ImageType * image, const itk::ContinuousIndex<double, 3> & index)
{
  ImageType::PointType point;
  image->TransformContinuousIndexToPhysicalPoint(index, point);
  return point;
}

itk::ContinuousIndex<double, 3>
At(double x, double y, double z)
{
  itk::ContinuousIndex<double, 3> index;
  index[0] = x;
  index[1] = y;
  index[2] = z;
  return index;
}

// A linear function of physical space, and an image of it.
double
Ramp(const ImageType::PointType & point)
{
  return 100.0 + 3.0 * point[0] - 2.0 * point[1] + 5.0 * point[2];
}

void
FillWithRamp(ImageType * image)
{
  itk::ImageRegionIteratorWithIndex<ImageType> it(image, image->GetLargestPossibleRegion());
  for (; !it.IsAtEnd(); ++it)
  {
    ImageType::PointType point;
    image->TransformIndexToPhysicalPoint(it.GetIndex(), point);
    it.Set(static_cast<float>(Ramp(point)));
  }
}

// The largest error of an image of the ramp over the ramp's range, both at the voxels whose centres lie in the box.
double
RampError(const ImageType * back, const ImageType * source, const itk::ImageRegion<3> & box)
{
  double       error = 0.0;
  double       lowest = std::numeric_limits<double>::max();
  double       highest = std::numeric_limits<double>::lowest();
  unsigned int count = 0;

  itk::ImageRegionConstIteratorWithIndex<ImageType> it(back, back->GetLargestPossibleRegion());
  for (; !it.IsAtEnd(); ++it)
  {
    ImageType::PointType point;
    back->TransformIndexToPhysicalPoint(it.GetIndex(), point);
    const auto at = source->TransformPhysicalPointToContinuousIndex<double>(point);
    bool       isInside = true;
    for (unsigned int d = 0; d < 3; ++d)
    {
      isInside = isInside && at[d] > box.GetIndex(d) - 1e-6 && at[d] < box.GetUpperIndex()[d] + 1e-6;
    }
    if (isInside)
    {
      const double truth = Ramp(point);
      error = std::max(error, std::abs(it.Get() - truth));
      lowest = std::min(lowest, truth);
      highest = std::max(highest, truth);
      ++count;
    }
  }
  return count > 8 ? error / (highest - lowest) : std::numeric_limits<double>::infinity();
}

} // namespace

TEST(BoundingBoxROIFilter, TheCubeHasTheLongestSideAndTheBoxCentre)
{
  const Case c;
  auto       filter = MakeFilter(c);
  filter->Update();
  const ImageType * output = filter->GetOutput();
  // sides with margin 2: 11 * 0.9 = 9.9, 9 * 1.1 = 9.9, 8 * 2.5 = 20 mm
  for (unsigned int d = 0; d < 3; ++d)
  {
    EXPECT_DOUBLE_EQ(output->GetSpacing()[d], 20.0 / 16.0);
    EXPECT_EQ(output->GetLargestPossibleRegion().GetSize(d), 16U);
    EXPECT_EQ(output->GetLargestPossibleRegion().GetIndex(d), 0);
  }
  EXPECT_EQ(output->GetDirection(), c.image->GetDirection());
  EXPECT_EQ(oblique::Scanner(output), "phantom");
  // start index (3, -2, 5) + first (8, 6, 5) + half of (7, 5, 4) - 0.5
  const auto centre = Corner(c.image, At(14.0, 6.0, 11.5));
  EXPECT_LT(centre.EuclideanDistanceTo(Corner(output, At(7.5, 7.5, 7.5))), 1e-9);
  EXPECT_EQ(filter->GetBoxRegion(), itk::ImageRegion<3>({ { 11, 4, 10 } }, { { 7, 5, 4 } }));
  EXPECT_EQ(filter->GetBox()[0], 11.0);
  EXPECT_EQ(filter->GetBox()[5], 4.0);
  EXPECT_NEAR(filter->GetRegion()[0], 14.0 - 10.0 / 0.9, 1e-12);
  EXPECT_NEAR(filter->GetRegion()[5], 8.0, 1e-12);
  EXPECT_EQ(filter->GetNumberOfVoxels(), 140U);
  EXPECT_EQ(filter->GetStatus(),
            static_cast<unsigned long>(Status::Found) + static_cast<unsigned long>(Status::LeavesImage));
  ExpectPhysicalTruth(c, output);
}

TEST(BoundingBoxROIFilter, StretchSamplesEachAxisByItself)
{
  const Case c;
  auto       filter = MakeFilter(c);
  filter->SetMode(Mode::Stretch);
  filter->Update();
  const ImageType * output = filter->GetOutput();
  EXPECT_DOUBLE_EQ(output->GetSpacing()[0], 11 * 0.9 / 16);
  EXPECT_DOUBLE_EQ(output->GetSpacing()[1], 9 * 1.1 / 16);
  EXPECT_DOUBLE_EQ(output->GetSpacing()[2], 8 * 2.5 / 16);
  EXPECT_LT(Corner(c.image, At(8.5, 1.5, 7.5)).EuclideanDistanceTo(Corner(output, At(-0.5, -0.5, -0.5))), 1e-9);
  EXPECT_EQ(filter->GetStatus(), static_cast<unsigned long>(Status::Found));
  ExpectPhysicalTruth(c, output);
}

TEST(BoundingBoxROIFilter, LetterboxHidesWhatLiesOutsideTheBox)
{
  const Case c;
  auto       cube = MakeFilter(c);
  cube->Update();
  auto filter = MakeFilter(c);
  filter->SetMode(Mode::Letterbox);
  filter->Update();
  EXPECT_EQ(filter->GetOutput()->GetOrigin(), cube->GetOutput()->GetOrigin());
  unsigned int                                      kept = 0;
  unsigned int                                      hidden = 0;
  itk::ImageRegionConstIteratorWithIndex<ImageType> it(filter->GetOutput(), filter->GetOutput()->GetBufferedRegion());
  for (; !it.IsAtEnd(); ++it)
  {
    ImageType::PointType point;
    filter->GetOutput()->TransformIndexToPhysicalPoint(it.GetIndex(), point);
    const auto at = c.image->TransformPhysicalPointToContinuousIndex<double>(point);
    const bool inside = at[0] > 8.5 && at[0] < 19.5 && at[1] > 1.5 && at[1] < 10.5 && at[2] > 7.5 && at[2] < 15.5;
    ASSERT_EQ(it.Get(), inside ? cube->GetOutput()->GetPixel(it.GetIndex()) : -3.0F) << it.GetIndex();
    ++(inside ? kept : hidden);
  }
  EXPECT_EQ(kept, 8U * 8U * 16U); // 9.9 of 20 mm in 16 voxels are 8
  EXPECT_EQ(hidden, 3072U);
}

TEST(BoundingBoxROIFilter, OutputSizeZeroKeepsVoxelsAndIndices)
{
  const Case c;
  auto       filter = MakeFilter(c);
  filter->SetOutputSize(0);
  filter->SetMode(Mode::Stretch);
  filter->Update();
  const ImageType * output = filter->GetOutput();
  EXPECT_EQ(output->GetLargestPossibleRegion(), itk::ImageRegion<3>({ { 9, 2, 8 } }, { { 11, 9, 8 } }));
  EXPECT_EQ(output->GetOrigin(), c.image->GetOrigin());
  EXPECT_EQ(output->GetSpacing(), c.image->GetSpacing());
  EXPECT_TRUE(filter->GetMapping().IsIdentity());
  itk::ImageRegionConstIteratorWithIndex<ImageType> it(output, output->GetLargestPossibleRegion());
  for (; !it.IsAtEnd(); ++it)
  {
    ASSERT_EQ(it.Get(), c.image->GetPixel(it.GetIndex()));
  }
  // the cube of 20 mm: centres from 14 - 11.1 to 14 + 11.1, cut at the image's 3 .. 26
  filter->SetMode(Mode::Cube);
  filter->Update();
  EXPECT_EQ(output->GetLargestPossibleRegion(), itk::ImageRegion<3>({ { 3, -2, 8 } }, { { 23, 18, 8 } }));
}

TEST(BoundingBoxROIFilter, SmallComponentsAndOtherFociFollowTheRules)
{
  const Case c;                                       // 140 voxels
  Block(c.mask, { { 20, 18, 16 } }, { { 2, 2, 2 } }); // 8 voxels: 5.7 %
  Block(c.mask, { { 1, 20, 1 } }, { { 6, 1, 1 } });   // 6 voxels: 4.3 %
  Block(c.mask, { { 15, 11, 9 } }, { { 1, 1, 1 } });  // joined to the first by a corner
  auto filter = MakeFilter(c);
  filter->UpdateOutputInformation();
  EXPECT_EQ(filter->GetBoxRegion(), itk::ImageRegion<3>({ { 11, 4, 10 } }, { { 14, 14, 13 } }));
  EXPECT_EQ(filter->GetNumberOfComponents(), 2U);
  EXPECT_EQ(filter->GetNumberOfVoxels(), 149U);
  EXPECT_TRUE(filter->HasStatus(Status::SeveralFoci));

  filter->LargestComponentOnlyOn();
  filter->UpdateOutputInformation();
  EXPECT_EQ(filter->GetBoxRegion(), itk::ImageRegion<3>({ { 11, 4, 10 } }, { { 8, 6, 5 } }));
  EXPECT_EQ(filter->GetNumberOfVoxels(), 141U);
  EXPECT_TRUE(filter->HasStatus(Status::SeveralFoci));
  EXPECT_FALSE(filter->HasStatus(Status::TouchesBorder));

  filter->LargestComponentOnlyOff();
  filter->SetMinimumComponentFraction(0.0);
  filter->UpdateOutputInformation();
  EXPECT_EQ(filter->GetNumberOfComponents(), 3U);
  EXPECT_EQ(filter->GetBoxRegion().GetIndex(0), 4);
  EXPECT_FALSE(filter->HasStatus(Status::Tiny));
  filter->SetTinyNumberOfVoxels(156);
  filter->UpdateOutputInformation();
  EXPECT_EQ(filter->GetNumberOfVoxels(), 155U);
  EXPECT_TRUE(filter->HasStatus(Status::Tiny));

  Block(c.mask, { { 0, 0, 0 } }, { { 1, 1, 1 } });
  c.mask->Modified();
  filter->UpdateOutputInformation();
  EXPECT_TRUE(filter->HasStatus(Status::TouchesBorder));
}

TEST(BoundingBoxROIFilter, AnEmptyMaskIsRefusedOrTakesTheWholeImage)
{
  const Case c;
  c.mask->FillBuffer(0);
  auto filter = MakeFilter(c);
  EXPECT_THROW(filter->Update(), itk::ExceptionObject);
  filter->SetEmptyMaskPolicy(Policy::WholeImage);
  filter->SetMode(Mode::Stretch);
  filter->SetOutputSize(0);
  filter->Update();
  EXPECT_EQ(filter->GetStatus(), static_cast<unsigned long>(Status::Empty));
  EXPECT_TRUE(oblique::SameVoxels<ImageType>(filter->GetOutput(), c.image));
}

TEST(BoundingBoxROIFilter, OutsideHasAValueForEachComponent)
{
  const Case c;
  auto       image = oblique::Make<VectorImageType>(24, 22, 20, 2);
  auto       filter = VectorFilter::New();
  image->GetPixelContainer()->Initialize();
  image->Allocate(true);
  VectorFilter::OutsideValueType outside(2);
  outside[0] = 5.0;
  outside[1] = 6.0;
  filter->SetInput(image);
  filter->SetMaskImage(c.mask);
  filter->SetOutsideValue(outside);
  filter->SetOutputSize(8);
  filter->SetMargin(12);
  filter->Update();
  const auto corner = filter->GetOutput()->GetPixel({ { 0, 0, 0 } });
  const auto centre = filter->GetOutput()->GetPixel({ { 4, 4, 4 } });
  EXPECT_EQ(corner[0], 5.0F);
  EXPECT_EQ(corner[1], 6.0F);
  EXPECT_EQ(centre[0], 0.0F);
  EXPECT_EQ(centre[1], 0.0F);
}

TEST(BoundingBoxROIFilter, StreamsToTheSameBitsAndReadsTheMaskOnce)
{
  const Case         c;
  ImageType::Pointer result[3];
  for (unsigned int k = 0; k < 3; ++k)
  {
    auto image = itk::PipelineMonitorImageFilter<ImageType>::New();
    auto mask = itk::PipelineMonitorImageFilter<MaskType>::New();
    auto imageSource = oblique::MakeSource(c.image.GetPointer());
    auto maskSource = oblique::MakeSource(c.mask.GetPointer());
    image->SetInput(imageSource->GetOutput());
    mask->SetInput(maskSource->GetOutput());
    mask->ClearPipelineOnGenerateOutputInformationOff();
    auto filter = MakeFilter(c);
    filter->SetInput(image->GetOutput());
    filter->SetMaskImage(mask->GetOutput());
    filter->SetNumberOfWorkUnits(k == 1 ? 4 : 1);
    filter->SetSmoothing(true);
    filter->SetOutputSize(14);
    auto stream = itk::StreamingImageFilter<ImageType, ImageType>::New();
    stream->SetInput(filter->GetOutput());
    stream->SetNumberOfStreamDivisions(k == 2 ? 7 : 1);
    stream->Update();
    result[k] = stream->GetOutput();
    EXPECT_TRUE(image->VerifyInputFilterExecutedStreaming(k == 2 ? 7 : 1));
    EXPECT_EQ(mask->GetNumberOfUpdates(), 1U);
    for (const auto & region : image->GetUpdatedBufferedRegions())
    {
      EXPECT_LT(region.GetSize(2), k == 2 ? 9U : 20U);
    }
    // another margin needs no other box
    filter->SetMargin(3);
    stream->Update();
    EXPECT_EQ(mask->GetNumberOfUpdates(), 1U);
    c.mask->Modified();
    stream->Update();
    EXPECT_EQ(mask->GetNumberOfUpdates(), 2U);
  }
  EXPECT_TRUE(oblique::SameVoxels(result[0].GetPointer(), result[1].GetPointer()));
  EXPECT_TRUE(oblique::SameVoxels(result[0].GetPointer(), result[2].GetPointer()));
}

TEST(BoundingBoxROIFilter, SeesWhatIsWrittenIntoTheOutputOfASource)
{
  const Case c;
  const auto source = oblique::MakeSource(c.mask.GetPointer());
  auto       filter = MakeFilter(c);
  filter->SetMaskImage(source->GetOutput());
  filter->Update();
  const double start = filter->GetBox()[0];
  Block(source->GetOutput(), { { 2, 6, 5 } }, { { 6, 5, 4 } });
  source->GetOutput()->Modified();
  filter->Update();
  EXPECT_EQ(filter->GetBox()[0], start - 6.0);
}

TEST(BoundingBoxROIFilter, RefusesBadInput)
{
  const Case c;
  auto       filter = MakeFilter(c);
  filter->SetMaskImage(oblique::Make<MaskType>(24, 22, 19));
  EXPECT_THROW(filter->Update(), itk::ExceptionObject);
  auto moved = oblique::Make<MaskType>(24, 22, 20);
  auto origin = moved->GetOrigin();
  origin[1] += 0.002 * 0.9;
  moved->SetOrigin(origin);
  Block(moved, { { 8, 6, 5 } }, { { 7, 5, 4 } });
  filter = MakeFilter(c);
  filter->SetMaskImage(moved);
  EXPECT_THROW(filter->Update(), itk::ExceptionObject);
  filter->SetCoordinateTolerance(0.003);
  EXPECT_NO_THROW(filter->Update());
  filter->SetMinimumComponentFraction(1.5);
  EXPECT_THROW(filter->Update(), itk::ExceptionObject);

  // Numbers that name nothing, as a wrapped language may give them.
  filter = MakeFilter(c);
  filter->SetMode(static_cast<Mode>(7));
  EXPECT_NE(MessageOf(filter).find("Mode is 7"), std::string::npos) << MessageOf(filter);
  filter = MakeFilter(c);
  filter->SetMarginUnit(static_cast<MarginUnit>(7));
  EXPECT_NE(MessageOf(filter).find("MarginUnit is 7"), std::string::npos) << MessageOf(filter);
  filter = MakeFilter(c);
  filter->SetEmptyMaskPolicy(static_cast<Policy>(7));
  EXPECT_NE(MessageOf(filter).find("EmptyMaskPolicy is 7"), std::string::npos) << MessageOf(filter);
  filter = MakeFilter(c);
  filter->SetInterpolation(static_cast<Interpolation>(7));
  EXPECT_NE(MessageOf(filter).find("Interpolation is 7"), std::string::npos) << MessageOf(filter);
  filter = MakeFilter(c);
  filter->SetBorder(static_cast<Border>(7));
  EXPECT_NE(MessageOf(filter).find("Border is 7"), std::string::npos) << MessageOf(filter);
  std::ostringstream printed;
  printed << Mode::Letterbox << ' ' << static_cast<Mode>(7) << ' ' << MarginUnit::Millimetres << ' '
          << static_cast<MarginUnit>(7) << ' ' << Policy::WholeImage << ' ' << static_cast<Policy>(7) << ' '
          << Status::LeavesImage << ' ' << static_cast<Status>(3);
  EXPECT_EQ(printed.str(),
            "Letterbox INVALID VALUE FOR itk::BoundingBoxROIFilterEnums::Mode "
            "Millimetres INVALID VALUE FOR itk::BoundingBoxROIFilterEnums::MarginUnit "
            "WholeImage INVALID VALUE FOR itk::BoundingBoxROIFilterEnums::EmptyMaskPolicy "
            "LeavesImage INVALID VALUE FOR itk::BoundingBoxROIFilterEnums::StatusFlag");
  filter = Filter::New();
  filter->SetInput(c.image);
  EXPECT_THROW(filter->Update(), itk::ExceptionObject);
}

TEST(BoundingBoxROIFilter, ARampComesBackFromTheRegion)
{
  const Case c;
  FillWithRamp(c.image);
  for (const Mode mode : { Mode::Cube, Mode::Stretch, Mode::Letterbox })
  {
    for (const unsigned int size : { 16U, 37U, 0U })
    {
      auto filter = MakeFilter(c);
      filter->SetMode(mode);
      filter->SetOutputSize(size);
      auto back = BackFilter::New();
      back->SetInput(filter->GetOutput());
      back->SetReferenceImage(c.image);
      filter->Update();
      // by the headers, then by the recorded mapping
      back->Update();
      EXPECT_LT(RampError(back->GetOutput(), c.image, filter->GetBoxRegion()), 1e-4) << mode << ' ' << size;
      back->SetModelMapping(filter->GetMapping());
      back->Update();
      EXPECT_LT(RampError(back->GetOutput(), c.image, filter->GetBoxRegion()), 1e-6) << mode << ' ' << size;
      EXPECT_EQ(back->GetOutput()->GetLargestPossibleRegion(), c.image->GetLargestPossibleRegion());
      EXPECT_EQ(back->GetOutput()->GetOrigin(), c.image->GetOrigin());
      EXPECT_EQ(back->GetOutput()->GetDirection(), c.image->GetDirection());
      EXPECT_EQ(oblique::Scanner(back->GetOutput()), "phantom");
    }
  }
}

// Without a margin the region's outermost centres lie inside the box; at the image's border beyond the image.
TEST(BoundingBoxROIFilter, ARampComesBackUpToTheBorder)
{
  const Case inner;
  FillWithRamp(inner.image);
  const Case outer;
  FillWithRamp(outer.image);
  Block(outer.mask, { { 0, 0, 0 } }, { { 9, 22, 20 } });
  for (const Case * c : { &inner, &outer })
  {
    for (const Mode mode : { Mode::Cube, Mode::Stretch, Mode::Letterbox })
    {
      for (const unsigned int size : { 4U, 11U, 50U })
      {
        auto filter = MakeFilter(*c);
        filter->SetMode(mode);
        filter->SetMargin(0);
        filter->SetOutputSize(size);
        filter->SetBorder(Border::Extrapolate);
        filter->Update();
        auto back = BackFilter::New();
        back->SetInput(filter->GetOutput());
        back->SetReferenceImage(c->image);
        back->SetModelMapping(filter->GetMapping());
        back->SetValidRegion(filter->GetValidRegion());
        back->SetBorder(Border::Extrapolate);
        back->Update();
        EXPECT_LT(RampError(back->GetOutput(), c->image, filter->GetBoxRegion()), 1e-5) << mode << ' ' << size;
        // which a repeated border cannot do, but where the cube is wider than the box
        if (size == 4 && (mode != Mode::Cube || c == &outer))
        {
          back->SetBorder(Border::Repeat);
          back->Update();
          EXPECT_GT(RampError(back->GetOutput(), c->image, filter->GetBoxRegion()), 1e-3) << mode;
        }
      }
    }
  }
  auto back = BackFilter::New();
  back->SetInput(inner.image);
  back->SetReferenceImage(inner.image);
  back->SetValidRegion(itk::ImageRegion<3>({ { 3, -2, 5 } }, { { 25, 2, 2 } }));
  EXPECT_NE(MessageOf(back).find("ValidRegion has index"), std::string::npos) << MessageOf(back);
}

// The grid of another sequence: axes permuted and turned round, other spacing, start and extent; and one that is
// rotated, where ITK's own resampling finds the region by its headers.
TEST(BoundingBoxROIFilter, ARampComesBackOnAnotherSequencesGrid)
{
  const Case c;
  FillWithRamp(c.image);
  auto filter = MakeFilter(c);
  filter->SetOutputSize(32);
  filter->Update();

  auto                     other = ImageType::New();
  ImageType::DirectionType direction;
  for (unsigned int row = 0; row < 3; ++row)
  {
    direction[row][0] = -c.image->GetDirection()[row][2];
    direction[row][1] = c.image->GetDirection()[row][0];
    direction[row][2] = -c.image->GetDirection()[row][1];
  }
  ImageType::SpacingType spacing;
  spacing[0] = 0.7;
  spacing[1] = 0.6;
  spacing[2] = 1.9;
  other->SetRegions(itk::ImageRegion<3>({ { -30, 4, 7 } }, { { 60, 40, 20 } }));
  other->SetSpacing(spacing);
  other->SetDirection(direction);
  // index (0, 20, 15) lies near the box's middle
  const auto middle = Corner(c.image, At(14.13, 6.07, 11.61));
  auto       origin = middle;
  for (unsigned int row = 0; row < 3; ++row)
  {
    origin[row] -= direction[row][1] * 20.0 * spacing[1] + direction[row][2] * 15.0 * spacing[2];
  }
  other->SetOrigin(origin);
  auto back = BackFilter::New();
  back->SetInput(filter->GetOutput());
  back->SetReferenceImage(other);
  back->Update();
  EXPECT_LT(RampError(back->GetOutput(), c.image, filter->GetBoxRegion()), 1e-4);
  EXPECT_EQ(back->GetOutput()->GetOrigin(), other->GetOrigin());

  auto resample = itk::ResampleImageFilter<ImageType, ImageType>::New();
  resample->SetInput(filter->GetOutput());
  resample->SetSize({ { 60, 60, 60 } });
  spacing.Fill(0.5);
  resample->SetOutputSpacing(spacing);
  resample->SetOutputDirection(
    ImageType::DirectionType(itk::Matrix<double, 3, 3>(oblique::Direction() * oblique::Direction()).GetInverse()));
  const auto & turned = resample->GetOutputDirection();
  for (unsigned int row = 0; row < 3; ++row)
  {
    origin[row] = middle[row] - 15.0 * (turned[row][0] + turned[row][1] + turned[row][2]);
  }
  resample->SetOutputOrigin(origin);
  resample->Update();
  EXPECT_LT(RampError(resample->GetOutput(), c.image, filter->GetBoxRegion()), 1e-4);
}

TEST(BoundingBoxROIFilter, StreamsAndThenFollowsAnotherMask)
{
  for (const unsigned int size : { 16U, 0U })
  {
    const Case c;
    auto       maskSource = oblique::MakeSource(c.mask.GetPointer());
    auto       imageSource = oblique::MakeSource(c.image.GetPointer());
    auto       filter = MakeFilter(c);
    filter->SetInput(imageSource->GetOutput());
    filter->SetMaskImage(maskSource->GetOutput());
    filter->SetOutputSize(size);
    auto stream = itk::StreamingImageFilter<ImageType, ImageType>::New();
    stream->SetInput(filter->GetOutput());
    stream->SetNumberOfStreamDivisions(5);
    stream->Update();
    EXPECT_EQ(filter->GetBoxRegion(), itk::ImageRegion<3>({ { 11, 4, 10 } }, { { 7, 5, 4 } }));

    // elsewhere, and of another size
    c.mask->FillBuffer(0);
    Block(c.mask, { { 1, 12, 11 } }, { { 4, 8, 3 } });
    c.mask->Modified();
    stream->UpdateLargestPossibleRegion();
    EXPECT_EQ(filter->GetBoxRegion(), itk::ImageRegion<3>({ { 4, 10, 16 } }, { { 4, 8, 3 } }));
    ImageType::Pointer streamed = stream->GetOutput();
    streamed->DisconnectPipeline();

    const auto fresh = MakeFilter(c);
    fresh->SetOutputSize(size);
    fresh->Update();
    EXPECT_TRUE(oblique::SameVoxels<ImageType>(streamed, fresh->GetOutput()));
    EXPECT_EQ(streamed->GetOrigin(), fresh->GetOutput()->GetOrigin());
    EXPECT_EQ(streamed->GetSpacing(), fresh->GetOutput()->GetSpacing());

    // and the filter alone, back at the first mask: a region asked for before may lie outside the new one
    c.mask->FillBuffer(0);
    Block(c.mask, { { 8, 6, 5 } }, { { 7, 5, 4 } });
    c.mask->Modified();
    filter->Update();
    EXPECT_EQ(filter->GetBoxRegion(), itk::ImageRegion<3>({ { 11, 4, 10 } }, { { 7, 5, 4 } }));
    fresh->Update();
    filter->UpdateLargestPossibleRegion();
    EXPECT_TRUE(oblique::SameVoxels<ImageType>(filter->GetOutput(), fresh->GetOutput()));
  }
}

TEST(BoundingBoxROIFilter, TheMarginIsInVoxelsOrMillimetres)
{
  const Case c; // 7 x 5 x 4 voxels of 0.9 x 1.1 x 2.5 mm: 6.3 x 5.5 x 10 mm
  auto       filter = MakeFilter(c);
  filter->SetMargin(3.6);
  filter->SetMarginUnit(MarginUnit::Millimetres);
  filter->Update();
  EXPECT_DOUBLE_EQ(filter->GetOutput()->GetSpacing()[0], 17.2 / 16.0);
  ExpectPhysicalTruth(c, filter->GetOutput());
  filter->SetMode(Mode::Stretch);
  filter->Update();
  EXPECT_DOUBLE_EQ(filter->GetOutput()->GetSpacing()[0], 13.5 / 16.0);
  EXPECT_DOUBLE_EQ(filter->GetOutput()->GetSpacing()[1], 12.7 / 16.0);
  EXPECT_DOUBLE_EQ(filter->GetOutput()->GetSpacing()[2], 17.2 / 16.0);
  ExpectPhysicalTruth(c, filter->GetOutput());
  // 3.6 mm hold the centres of 4, 3 and 1 voxels
  filter->SetOutputSize(0);
  filter->Update();
  EXPECT_EQ(filter->GetOutput()->GetLargestPossibleRegion(), itk::ImageRegion<3>({ { 7, 1, 9 } }, { { 15, 11, 6 } }));
  // parts of a voxel are a margin too
  filter->SetMarginUnit(MarginUnit::Voxels);
  filter->SetMargin(1.5);
  filter->SetOutputSize(16);
  filter->Update();
  EXPECT_DOUBLE_EQ(filter->GetOutput()->GetSpacing()[2], 7.0 * 2.5 / 16.0);

  filter->SetMargin(-1.0);
  EXPECT_NE(MessageOf(filter).find("Margin is -1 voxels"), std::string::npos) << MessageOf(filter);
  filter->SetMarginUnit(MarginUnit::Millimetres);
  filter->SetMargin(std::numeric_limits<double>::quiet_NaN());
  EXPECT_NE(MessageOf(filter).find("nan mm"), std::string::npos) << MessageOf(filter);
}

TEST(BoundingBoxROIFilter, AComponentOfExactlyTheShareIsKept)
{
  const Case c;                                      // 140 voxels
  Block(c.mask, { { 1, 20, 1 } }, { { 7, 1, 1 } });  // 7 voxels: 5 %
  Block(c.mask, { { 16, 20, 1 } }, { { 6, 1, 1 } }); // 6 voxels: less
  auto filter = MakeFilter(c);
  filter->UpdateOutputInformation();
  EXPECT_EQ(filter->GetNumberOfComponents(), 2U);
  EXPECT_EQ(filter->GetNumberOfVoxels(), 147U);
  EXPECT_EQ(filter->GetBoxRegion(), itk::ImageRegion<3>({ { 4, 4, 6 } }, { { 14, 15, 8 } }));
}

TEST(BoundingBoxROIFilter, AVectorImageIsCutAsItsComponents)
{
  const Case               c;
  const unsigned int       components = 3;
  VectorImageType::Pointer image = oblique::Make<VectorImageType>(24, 22, 20, components);
  oblique::FillWithNoise(image.GetPointer(), 3);
  auto filter = VectorFilter::New();
  filter->SetInput(image);
  filter->SetMaskImage(c.mask);
  filter->SetMargin(2);
  filter->SetOutputSize(16);
  filter->SetOutsideValue(-3.0);
  filter->Update();
  EXPECT_EQ(oblique::Scanner(filter->GetOutput()), "phantom");
  for (unsigned int k = 0; k < components; ++k)
  {
    for (itk::SizeValueType v = 0; v < 24 * 22 * 20; ++v)
    {
      c.image->GetBufferPointer()[v] = image->GetBufferPointer()[v * components + k];
    }
    auto scalar = MakeFilter(c);
    scalar->Update();
    for (unsigned int v = 0; v < 16 * 16 * 16; ++v)
    {
      ASSERT_EQ(filter->GetOutput()->GetBufferPointer()[v * components + k],
                scalar->GetOutput()->GetBufferPointer()[v]);
    }
  }
}

TEST(BoundingBoxROIFilter, LabelsStayLabels)
{
  const Case c;
  auto       labels = oblique::Make<MaskType>(24, 22, 20);
  for (itk::SizeValueType v = 0; v < 24 * 22 * 20; ++v)
  {
    labels->GetBufferPointer()[v] = static_cast<unsigned char>(10 * (1 + v % 3 + (v / 24) % 2));
  }
  auto filter = LabelFilter::New();
  filter->SetInput(labels);
  filter->SetMaskImage(c.mask);
  filter->SetInterpolation(Interpolation::NearestNeighbor);
  filter->SetMargin(2);
  filter->SetOutputSize(31);
  filter->SetOutsideValue(99.0);
  filter->Update();
  std::set<int>                                    seen;
  itk::ImageRegionConstIteratorWithIndex<MaskType> it(filter->GetOutput(), filter->GetOutput()->GetBufferedRegion());
  for (; !it.IsAtEnd(); ++it)
  {
    MaskType::PointType point;
    filter->GetOutput()->TransformIndexToPhysicalPoint(it.GetIndex(), point);
    const auto    at = labels->TransformPhysicalPointToContinuousIndex<double>(point);
    itk::Index<3> nearest;
    bool          isTie = false;
    for (unsigned int d = 0; d < 3; ++d)
    {
      nearest[d] = static_cast<itk::IndexValueType>(std::floor(at[d] + 0.5));
      isTie = isTie || std::abs(at[d] + 0.5 - std::round(at[d] + 0.5)) < 1e-9;
    }
    const bool isInside = labels->GetLargestPossibleRegion().IsInside(nearest);
    if (!isTie)
    {
      ASSERT_EQ(it.Get(), isInside ? labels->GetPixel(nearest) : 99) << it.GetIndex();
    }
    seen.insert(it.Get());
  }
  EXPECT_EQ(seen, (std::set<int>{ 10, 20, 30, 40, 99 }));
}

// Six of the masks that the paper's authors published: a large one, two foci, a small one, one at the image's first
// slice, one of 20 voxels, and two foci whose cube leaves the image. Voxels, components and boxes were found with
// scipy.ndimage.label (26 neighbours), components of less than 5 % of the largest left out (there are none); the side
// of the cube is the longest of the box and 20 voxels of 1 mm.
TEST(BoundingBoxROIFilter, TheAuthorsMasksGiveTheirBoxes)
{
  const std::string folder = RealTestDataFolder() + "/wt-fcn-masks/";
  struct Expected
  {
    const char *  name;
    unsigned long voxels;
    unsigned long components;
    itk::Index<3> index;
    itk::Size<3>  size;
    double        side;
    unsigned long status;
  };
  const Expected masks[] = {
    { "Brats17_2013_22_1", 245240, 1, { { 112, 75, 35 } }, { { 81, 117, 72 } }, 137, 1 },
    { "Brats17_CBICA_AQG_1", 52662, 2, { { 71, 63, 48 } }, { { 56, 75, 71 } }, 95, 1 + 16 },
    { "Brats17_CBICA_BHK_1", 450, 1, { { 87, 118, 57 } }, { { 11, 13, 8 } }, 33, 1 },
    { "Brats17_TCIA_278_1", 99064, 1, { { 78, 126, 0 } }, { { 103, 58, 94 } }, 123, 1 + 8 + 32 },
    { "Brats17_TCIA_311_1", 20, 1, { { 114, 116, 114 } }, { { 2, 6, 6 } }, 26, 1 + 4 },
    { "Brats17_TCIA_602_1", 134625, 2, { { 57, 86, 28 } }, { { 101, 117, 68 } }, 137, 1 + 16 + 32 },
  };
  if (!std::ifstream(folder + masks[0].name + ".nii.gz"))
  {
    GTEST_SKIP() << "no real masks in " << folder << "; set GLIOMAGRADING_TEST_DATA";
  }
  for (const auto & expected : masks)
  {
    const auto mask = itk::ReadImage<MaskType>(folder + expected.name + ".nii.gz");
    auto       filter = itk::BoundingBoxROIFilter<MaskType, MaskType>::New();
    filter->SetInput(mask);
    filter->SetMaskImage(mask);
    filter->SetInterpolation(itk::AxisAlignedLinearSamplerEnums::Interpolation::NearestNeighbor);
    filter->Update();
    EXPECT_EQ(filter->GetNumberOfVoxels(), expected.voxels) << expected.name;
    EXPECT_EQ(filter->GetNumberOfComponents(), expected.components) << expected.name;
    EXPECT_EQ(filter->GetBoxRegion(), itk::ImageRegion<3>(expected.index, expected.size)) << expected.name;
    EXPECT_EQ(filter->GetStatus(), expected.status) << expected.name;
    for (unsigned int d = 0; d < 3; ++d)
    {
      EXPECT_DOUBLE_EQ(filter->GetOutput()->GetSpacing()[d], expected.side / 96.0) << expected.name;
    }
    EXPECT_EQ(filter->HasStatus(Status::LeavesImage), filter->GetValidRegion().GetNumberOfPixels() < 96 * 96 * 96)
      << expected.name;
    // The voxels are of 1 mm: a margin of 10 mm is the same.
    filter->SetMarginUnit(MarginUnit::Millimetres);
    filter->UpdateOutputInformation();
    EXPECT_DOUBLE_EQ(filter->GetOutput()->GetSpacing()[0], expected.side / 96.0) << expected.name;
    // Another side: the largest focus alone.
    filter->LargestComponentOnlyOn();
    filter->UpdateOutputInformation();
    EXPECT_EQ(filter->GetBoxRegion() == itk::ImageRegion<3>(expected.index, expected.size), expected.components == 1)
      << expected.name;
    filter->LargestComponentOnlyOff();
    filter->Update();
    // The tumour's volume survives the cut within the partial voxels of its surface.
    const MaskType * output = filter->GetOutput();
    double           count = 0.0;
    for (unsigned int v = 0; v < 96 * 96 * 96; ++v)
    {
      count += output->GetBufferPointer()[v] != 0;
    }
    const double volume = count * std::pow(expected.side / 96.0, 3);
    EXPECT_NEAR(volume / expected.voxels, 1.0, expected.voxels < 1000 ? 0.15 : 0.02) << expected.name;
    // And the mask comes back: of a cube finer than the image every voxel, else but some of the surface.
    auto back = itk::FromModelSpaceFilter<MaskType>::New();
    back->SetInput(output);
    back->SetReferenceImage(mask);
    back->SetModelMapping(filter->GetMapping());
    back->SetInterpolation(Interpolation::NearestNeighbor);
    back->Update();
    double both = 0.0;
    double either = 0.0;
    for (itk::SizeValueType v = 0; v < mask->GetLargestPossibleRegion().GetNumberOfPixels(); ++v)
    {
      const bool was = mask->GetBufferPointer()[v] != 0;
      const bool is = back->GetOutput()->GetBufferPointer()[v] != 0;
      both += was && is;
      either += was + is;
    }
    EXPECT_GE(2.0 * both / either, expected.side <= 96.0 ? 1.0 : 0.97) << expected.name;
  }
}
