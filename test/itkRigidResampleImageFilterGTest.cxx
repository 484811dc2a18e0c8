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
// A ramp stays a ramp, a skull-stripped brain keeps its size and its rim, what is fine does not alias.

#include "ObliqueImage.h"
#include "ProceduralImageSource.h"
#include "itkAddImageFilter.h"
#include "itkRigidResampleImageFilter.h"
#include "itkVersorRigid3DTransform.h"
#include "gtest/gtest.h"


namespace
{
using ImageType = itk::Image<float, 3>;
using FilterType = itk::RigidResampleImageFilter<ImageType, ImageType>;
using PointType = itk::Point<double, 3>;

double
Ramp(const PointType & point)
{
  return 500.0 + 2.0 * point[0] - 3.0 * point[1] + 1.5 * point[2];
}

PointType
PointOf(const ImageType * image, const ImageType::IndexType & index)
{
  PointType point;
  image->TransformIndexToPhysicalPoint(index, point);
  return point;
}

ImageType::Pointer
MakeRamp(unsigned int nx, unsigned int ny, unsigned int nz)
{
  const ImageType::Pointer image = oblique::Make<ImageType>(nx, ny, nz);
  for (itk::ImageRegionIteratorWithIndex<ImageType> voxel(image, image->GetLargestPossibleRegion()); !voxel.IsAtEnd();
       ++voxel)
  {
    voxel.Set(static_cast<float>(Ramp(PointOf(image, voxel.GetIndex()))));
  }
  return image;
}

itk::VersorRigid3DTransform<double>::Pointer
MakeTransform()
{
  auto                   transform = itk::VersorRigid3DTransform<double>::New();
  itk::Vector<double, 3> axis;
  itk::Vector<double, 3> shift;
  for (unsigned int d = 0; d < 3; ++d)
  {
    axis[d] = 1.0 + 0.5 * d;
    shift[d] = 4.0 - 3.0 * d;
  }
  transform->SetRotation(axis / axis.GetNorm(), 0.2);
  transform->SetTranslation(shift);
  return transform;
}

/** A grid of other voxels that lies inside the image, seen through the transform. */
ImageType::Pointer
MakeGrid(const ImageType * image, const itk::VersorRigid3DTransform<double> * transform, double spacing)
{
  auto                            grid = ImageType::New();
  itk::ContinuousIndex<double, 3> middle;
  for (unsigned int d = 0; d < 3; ++d)
  {
    middle[d] = static_cast<double>(image->GetLargestPossibleRegion().GetIndex(d)) +
                0.5 * static_cast<double>(image->GetLargestPossibleRegion().GetSize(d) - 1);
  }
  PointType centre;
  image->TransformContinuousIndexToPhysicalPoint(middle, centre);
  auto back = itk::VersorRigid3DTransform<double>::New();
  transform->GetInverse(back);
  centre = back->TransformPoint(centre);
  const auto size = static_cast<itk::SizeValueType>(std::max(3.0, 12.0 / spacing));
  grid->SetRegions(ImageType::SizeType{ { size, size, size } });
  grid->SetSpacing(itk::Vector<double, 3>(spacing));
  for (unsigned int d = 0; d < 3; ++d)
  {
    centre[d] -= 0.5 * spacing * static_cast<double>(size - 1);
  }
  grid->SetOrigin(centre);
  return grid;
}
} // namespace

TEST(RigidResampleImageFilter, KeepsARamp)
{
  const ImageType::Pointer image = MakeRamp(60, 50, 24);
  const auto               transform = MakeTransform();
  for (const double spacing : { 0.7, 3.0 })
  {
    const ImageType::Pointer grid = MakeGrid(image, transform, spacing);
    const auto               filter = FilterType::New();
    filter->SetInput(image);
    filter->SetReferenceImage(grid);
    filter->SetTransform(transform);
    filter->Update();
    const ImageType * output = filter->GetOutput();
    EXPECT_EQ(output->GetLargestPossibleRegion(), grid->GetLargestPossibleRegion());
    EXPECT_EQ(output->GetOrigin(), grid->GetOrigin());
    EXPECT_EQ(output->GetSpacing(), grid->GetSpacing());
    EXPECT_EQ(oblique::Scanner(output), "phantom");
    for (itk::ImageRegionConstIteratorWithIndex<ImageType> voxel(output, output->GetLargestPossibleRegion());
         !voxel.IsAtEnd();
         ++voxel)
    {
      ASSERT_NEAR(voxel.Get(), Ramp(transform->TransformPoint(PointOf(output, voxel.GetIndex()))), 2e-2)
        << voxel.GetIndex() << " at spacing " << spacing;
    }
  }
}

TEST(RigidResampleImageFilter, GivesTheSameGridBack)
{
  const ImageType::Pointer image = oblique::Make<ImageType>(20, 18, 12);
  oblique::FillWithNoise(image.GetPointer());
  const auto filter = FilterType::New();
  filter->SetInput(image);
  filter->SetReferenceImage(image);
  filter->Update();
  for (itk::SizeValueType i = 0; i < image->GetLargestPossibleRegion().GetNumberOfPixels(); ++i)
  {
    ASSERT_NEAR(filter->GetOutput()->GetBufferPointer()[i], image->GetBufferPointer()[i], 1e-5);
  }
}

TEST(RigidResampleImageFilter, DoesNotAlias)
{
  // A chessboard is as fine as a grid can show: on voxels three times as wide nothing of it may be left.
  const ImageType::Pointer image = oblique::Make<ImageType>(60, 60, 40);
  image->SetSpacing(itk::Vector<double, 3>(1.0));
  for (itk::ImageRegionIteratorWithIndex<ImageType> voxel(image, image->GetLargestPossibleRegion()); !voxel.IsAtEnd();
       ++voxel)
  {
    const auto & index = voxel.GetIndex();
    voxel.Set((index[0] + index[1] + index[2]) % 2 == 0 ? 200.0f : 100.0f);
  }
  const auto               transform = MakeTransform();
  const ImageType::Pointer grid = MakeGrid(image, transform, 3.0);
  const auto               filter = FilterType::New();
  filter->SetInput(image);
  filter->SetReferenceImage(grid);
  filter->SetTransform(transform);
  filter->Update();
  const ImageType * output = filter->GetOutput();
  for (itk::SizeValueType i = 0; i < output->GetLargestPossibleRegion().GetNumberOfPixels(); ++i)
  {
    EXPECT_NEAR(output->GetBufferPointer()[i], 150.0, 5.0);
  }
}

TEST(RigidResampleImageFilter, KeepsTheRimOfABrain)
{
  // Slices of 5 mm on voxels of 1 mm: linear interpolation alone would fade out over 5 mm.
  const ImageType::Pointer image = oblique::Make<ImageType>(40, 40, 16);
  const double             thick[3] = { 1.0, 1.0, 5.0 };
  image->SetSpacing(thick);
  const auto start = image->GetLargestPossibleRegion().GetIndex();
  for (itk::ImageRegionIteratorWithIndex<ImageType> voxel(image, image->GetLargestPossibleRegion()); !voxel.IsAtEnd();
       ++voxel)
  {
    const auto slice = voxel.GetIndex()[2] - start[2];
    voxel.Set(slice >= 4 && slice < 12 ? 100.0f : 0.0f);
  }
  auto grid = ImageType::New();
  grid->CopyInformation(image);
  grid->SetRegions(ImageType::RegionType(start, ImageType::SizeType{ { 40, 40, 80 } }));
  grid->SetSpacing(itk::Vector<double, 3>(1.0));
  // Voxels of 1 mm start 2 mm before the centre of the first slice.
  PointType origin = image->GetOrigin();
  for (unsigned int r = 0; r < 3; ++r)
  {
    origin[r] +=
      image->GetDirection()[r][2] * (5.0 * static_cast<double>(start[2]) - 2.0 - static_cast<double>(start[2]));
  }
  grid->SetOrigin(origin);
  const auto filter = FilterType::New();
  filter->SetInput(image);
  filter->SetReferenceImage(grid);
  filter->IgnoreZerosOn();
  filter->Update();
  double inside = 0.0;
  for (itk::ImageRegionConstIteratorWithIndex<ImageType> voxel(filter->GetOutput(), grid->GetLargestPossibleRegion());
       !voxel.IsAtEnd();
       ++voxel)
  {
    inside += voxel.Get() != 0.0f;
    ASSERT_TRUE(voxel.Get() == 0.0f || std::abs(voxel.Get() - 100.0f) < 1e-3f) << voxel.GetIndex() << voxel.Get();
  }
  EXPECT_NEAR(inside / (40.0 * 40.0), 40.0, 1.01) << "mm of brain";

  filter->IgnoreZerosOff();
  filter->Update();
  unsigned int faded = 0;
  for (itk::ImageRegionConstIteratorWithIndex<ImageType> voxel(filter->GetOutput(), grid->GetLargestPossibleRegion());
       !voxel.IsAtEnd();
       ++voxel)
  {
    faded += voxel.Get() > 1.0f && voxel.Get() < 99.0f;
  }
  EXPECT_GT(faded, 1000u);
}

// Another filter may wait for the reference's voxels: what is asked of it stays.
TEST(RigidResampleImageFilter, LeavesTheReferenceToOthers)
{
  const auto source = ProceduralImageSource<ImageType>::New();
  source->SetFunction([](const itk::Index<3> & at, float * to) { *to = static_cast<float>(at[0]); });
  source->SetSize({ { 8, 7, 6 } });
  const auto filter = FilterType::New();
  filter->SetInput(oblique::Make<ImageType>(8, 8, 8));
  filter->SetReferenceImage(source->GetOutput());
  const auto sum = itk::AddImageFilter<ImageType>::New();
  sum->SetInput1(source->GetOutput());
  sum->SetInput2(filter->GetOutput());
  sum->Update();
  const itk::Index<3> last{ { 7, 6, 5 } };
  EXPECT_EQ(sum->GetOutput()->GetPixel(last), 7.0F + filter->GetOutput()->GetPixel(last));
}

TEST(RigidResampleImageFilter, FollowsAReferenceOfAnotherSize)
{
  const auto reference = ProceduralImageSource<ImageType>::New();
  const auto filter = FilterType::New();
  filter->SetInput(oblique::Make<ImageType>(8, 8, 8));
  filter->SetReferenceImage(reference->GetOutput());
  ExpectFollowsSizeOf(reference.GetPointer(), filter.GetPointer());

  // The reference may be the input itself.
  const ImageType::Pointer image = oblique::Make<ImageType>(8, 7, 6);
  oblique::FillWithNoise(image.GetPointer());
  const auto source = oblique::MakeSource(image.GetPointer());
  filter->SetInput(source->GetOutput());
  filter->SetReferenceImage(source->GetOutput());
  filter->Update();
  EXPECT_NEAR(filter->GetOutput()->GetBufferPointer()[100], image->GetBufferPointer()[100], 1e-5);
}

TEST(RigidResampleImageFilter, AnOutputOfIntegersIsLimitedToItsType)
{
  using ByteImageType = itk::Image<unsigned char, 3>;
  const auto image = ImageType::New();
  image->SetRegions(itk::Size<3>{ { 4, 1, 1 } });
  image->Allocate();
  const float values[4] = { 300.0F, -20.0F, 99.5F, 99.4F };
  std::copy(values, values + 4, image->GetBufferPointer());
  const auto filter = itk::RigidResampleImageFilter<ImageType, ByteImageType>::New();
  filter->SetInput(image);
  filter->SetReferenceImage(image);
  filter->Update();
  const unsigned char truth[4] = { 255, 0, 100, 99 };
  EXPECT_TRUE(std::equal(truth, truth + 4, filter->GetOutput()->GetBufferPointer()));
}

TEST(RigidResampleImageFilter, BasicObject)
{
  const auto         filter = FilterType::New();
  std::ostringstream text;
  filter->Print(text);
  EXPECT_NE(text.str().find("IgnoreZeros: Off"), std::string::npos);
  EXPECT_STREQ(filter->GetNameOfClass(), "RigidResampleImageFilter");
  EXPECT_THROW(filter->Update(), itk::ExceptionObject);
}
