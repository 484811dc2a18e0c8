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

#include "itkImageFileReader.h"
#include "itkLinearInterpolateImageFunction.h"
#include "itkPipelineMonitorImageFilter.h"
#include "itkStreamingImageFilter.h"

#include "ObliqueImage.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

namespace
{
using ImageType = itk::Image<float, 3>;
using VectorImageType = itk::VectorImage<float, 3>;
using MaskType = itk::Image<unsigned char, 3>;
using Filter = itk::BoundingBoxROIFilter<ImageType, MaskType>;
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
  filter = Filter::New();
  filter->SetInput(c.image);
  EXPECT_THROW(filter->Update(), itk::ExceptionObject);
}

// Boxes found with scipy.ndimage.label (26 neighbours) on the masks that the paper's authors published.
TEST(BoundingBoxROIFilter, TheAuthorsMasksGiveTheirBoxes)
{
  const char * data = std::getenv("GLIOMAGRADING_TEST_DATA");
  const auto   folder = std::string(data ? data : "../shared/data") + "/wt-fcn-masks/";
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
    // The tumour's volume survives the cut within the partial voxels of its surface.
    const MaskType * output = filter->GetOutput();
    double           count = 0.0;
    for (unsigned int v = 0; v < 96 * 96 * 96; ++v)
    {
      count += output->GetBufferPointer()[v] != 0;
    }
    const double volume = count * std::pow(expected.side / 96.0, 3);
    EXPECT_NEAR(volume / expected.voxels, 1.0, expected.voxels < 1000 ? 0.15 : 0.02) << expected.name;
  }
}
