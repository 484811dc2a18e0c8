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
#include "itkFromModelSpaceFilter.h"
#include "itkModelSpaceFilter.h"

#include "itkPipelineMonitorImageFilter.h"
#include "itkStreamingImageFilter.h"

#include "ObliqueImage.h"
#include "ProceduralImageSource.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

namespace
{
using VectorImageType = itk::VectorImage<float, 3>;
using ScalarImageType = itk::Image<float, 3>;
using LabelImageType = itk::Image<unsigned char, 3>;
using ToModel = itk::ModelSpaceFilter<VectorImageType>;
using FromModel = itk::FromModelSpaceFilter<VectorImageType>;

itk::Vector<double, 3>
Spacing(double x, double y, double z)
{
  itk::Vector<double, 3> spacing;
  spacing[0] = x;
  spacing[1] = y;
  spacing[2] = z;
  return spacing;
}

double
Ramp(const itk::ImageBase<3>::PointType & p, unsigned int component)
{
  return (0.3 * p[0] - 0.7 * p[1] + 0.2 * p[2]) * (component + 1.0);
}

template <typename TImage>
itk::ImageBase<3>::PointType
Place(const TImage * image, const itk::Index<3> & index)
{
  itk::ImageBase<3>::PointType point;
  image->TransformIndexToPhysicalPoint(index, point);
  return point;
}

VectorImageType::Pointer
MakeRamp(unsigned int nx, unsigned int ny, unsigned int nz)
{
  auto                                               image = oblique::Make<VectorImageType>(nx, ny, nz, 2);
  itk::ImageRegionIteratorWithIndex<VectorImageType> it(image, image->GetBufferedRegion());
  for (; !it.IsAtEnd(); ++it)
  {
    VectorImageType::PixelType pixel(2);
    for (unsigned int c = 0; c < 2; ++c)
    {
      pixel[c] = static_cast<float>(Ramp(Place(image.GetPointer(), it.GetIndex()), c));
    }
    it.Set(pixel);
  }
  return image;
}

// The largest difference from the ramp, `border` voxels away from the faces. Physical points are the truth here.
double
RampError(const VectorImageType * image, itk::IndexValueType border)
{
  auto region = image->GetLargestPossibleRegion();
  region.ShrinkByRadius(border);
  double                                                  worst = 0.0;
  itk::ImageRegionConstIteratorWithIndex<VectorImageType> it(image, region);
  for (; !it.IsAtEnd(); ++it)
  {
    for (unsigned int c = 0; c < 2; ++c)
    {
      worst = std::max(worst, std::abs(it.Get()[c] - Ramp(Place(image, it.GetIndex()), c)));
    }
  }
  return worst;
}
} // namespace

TEST(ModelSpaceFilter, EveryOrientationKeepsEveryVoxelInItsPlace)
{
  auto image = oblique::Make<VectorImageType>(5, 6, 7, 2);
  oblique::FillWithNoise(image.GetPointer());
  const char   letters[3][2] = { { 'L', 'R' }, { 'P', 'A' }, { 'S', 'I' } };
  unsigned int row[3] = { 0, 1, 2 };
  unsigned int tried = 0;
  do
  {
    for (unsigned int signs = 0; signs < 8; ++signs)
    {
      std::string orientation;
      for (unsigned int a = 0; a < 3; ++a)
      {
        orientation += letters[row[a]][(signs >> a) & 1U];
      }
      auto filter = ToModel::New();
      filter->SetInput(image);
      filter->SetOutputOrientation(orientation);
      filter->Update();
      const VectorImageType * output = filter->GetOutput();
      ASSERT_EQ(output->GetLargestPossibleRegion().GetNumberOfPixels(), 210U) << orientation;
      for (unsigned int a = 0; a < 3; ++a)
      {
        // the letter's physical axis dominates the column, with the letter's sign
        const double cosine = output->GetDirection()[row[a]][a];
        EXPECT_GT(((signs >> a) & 1U) ? -cosine : cosine, 0.9) << orientation;
      }
      itk::ImageRegionConstIteratorWithIndex<VectorImageType> it(output, output->GetLargestPossibleRegion());
      for (; !it.IsAtEnd(); ++it)
      {
        const auto index = image->TransformPhysicalPointToIndex(Place(output, it.GetIndex()));
        ASSERT_EQ(it.Get(), image->GetPixel(index)) << orientation << it.GetIndex();
      }
      ++tried;
    }
  } while (std::next_permutation(row, row + 3));
  EXPECT_EQ(tried, 48U);
}

TEST(ModelSpaceFilter, KeepsTheVoxelsWhereNothingChanges)
{
  auto image = oblique::Make<VectorImageType>(5, 6, 7, 2);
  oblique::FillWithNoise(image.GetPointer());
  auto filter = ToModel::New();
  filter->SetInput(image);
  filter->SetOutputOrientation("LPS");
  filter->SetOutputSpacing(Spacing(0.9 * (1.0 + 5e-7), 1.1, 0.0));
  filter->Update();
  const VectorImageType * output = filter->GetOutput();
  EXPECT_EQ(output->GetLargestPossibleRegion().GetIndex(), itk::Index<3>({ { 0, 0, 0 } }));
  EXPECT_EQ(output->GetSpacing(), image->GetSpacing());
  EXPECT_TRUE(std::equal(image->GetBufferPointer(), image->GetBufferPointer() + 420, output->GetBufferPointer()));
  EXPECT_NE(image->GetBufferPointer(), output->GetBufferPointer());
  EXPECT_LT(Place(output, { { 0, 0, 0 } }).EuclideanDistanceTo(Place(image.GetPointer(), { { 3, -2, 5 } })), 1e-9);
  EXPECT_EQ(oblique::Scanner(output), "phantom");
}

TEST(ModelSpaceFilter, AFinerAndACoarserGridKeepARamp)
{
  const auto image = MakeRamp(20, 22, 16);
  for (const auto & spacing : { Spacing(0.7, 0.8, 1.3), Spacing(2.0, 2.0, 2.0), Spacing(1.3, 0.6, 4.0) })
  {
    for (const char * orientation : { "", "LPS", "SRA" })
    {
      auto filter = ToModel::New();
      filter->SetInput(image);
      filter->SetOutputOrientation(orientation);
      filter->SetOutputSpacing(spacing);
      filter->Update();
      const VectorImageType * output = filter->GetOutput();
      EXPECT_EQ(output->GetSpacing(), spacing);
      // a Gaussian is symmetric: it keeps a ramp away from the border. Float sums of values below 100.
      EXPECT_LT(RampError(output, 3), 5e-5) << orientation << spacing;
    }
  }
}

TEST(ModelSpaceFilter, CoversTheExtentAndHasItsCentre)
{
  const auto image = MakeRamp(20, 22, 16);
  auto       filter = ToModel::New();
  filter->SetInput(image);
  filter->SetOutputSpacing(Spacing(2.0, 1.1, 5.0));
  filter->UpdateOutputInformation();
  const VectorImageType * output = filter->GetOutput();
  // 18 / 2 = 9 exactly; 16 * 2.5 / 5 = 8 exactly
  EXPECT_EQ(output->GetLargestPossibleRegion().GetSize(), itk::Size<3>({ { 9, 22, 8 } }));
  itk::ContinuousIndex<double, 3> in;
  itk::ContinuousIndex<double, 3> out;
  for (unsigned int d = 0; d < 3; ++d)
  {
    in[d] = image->GetLargestPossibleRegion().GetIndex(d) + 0.5 * (image->GetLargestPossibleRegion().GetSize(d) - 1.0);
    out[d] = 0.5 * (output->GetLargestPossibleRegion().GetSize(d) - 1.0);
  }
  itk::ImageBase<3>::PointType a;
  itk::ImageBase<3>::PointType b;
  image->TransformContinuousIndexToPhysicalPoint(in, a);
  output->TransformContinuousIndexToPhysicalPoint(out, b);
  EXPECT_LT(a.EuclideanDistanceTo(b), 1e-9);
}

TEST(ModelSpaceFilter, HangsOnAnAnchor)
{
  const auto image = MakeRamp(40, 22, 24);
  const auto extent = image->GetLargestPossibleRegion();
  // The same patient with less around.
  auto part = VectorImageType::New();
  auto smaller = extent;
  smaller.SetIndex(0, smaller.GetIndex(0) + 5);
  smaller.SetSize(0, smaller.GetSize(0) - 5);
  smaller.SetSize(2, smaller.GetSize(2) - 3);
  part->CopyInformation(image);
  part->SetRegions(smaller);
  part->Allocate();
  itk::ImageAlgorithm::Copy(image.GetPointer(), part.GetPointer(), smaller, smaller);

  ToModel::AnchorType anchor;
  anchor[0] = 23.3;
  anchor[1] = 7.6;
  anchor[2] = 15.25;
  for (const char * orientation : { "LPS", "RPI", "SAL" })
  {
    for (const unsigned int multiple : { 1u, 4u })
    {
      const auto make = [&](const VectorImageType * input) {
        auto filter = ToModel::New();
        filter->SetInput(input);
        filter->SetOutputOrientation(orientation);
        // In SAL the first output axis is the third of the image, whose spacing is then kept.
        filter->SetOutputSpacing(std::string(orientation) == "SAL" ? Spacing(2.5, 0.6, 2.0) : Spacing(2.0, 0.6, 2.5));
        filter->SetAnchor(anchor);
        filter->SetAnchorMultiple(multiple);
        filter->Update();
        return filter;
      };
      const auto              whole = make(image);
      const VectorImageType * output = whole->GetOutput();
      const auto              index = whole->GetMapping().Inverse().Map(anchor);
      itk::Index<3>           nearest;
      for (unsigned int a = 0; a < 3; ++a)
      {
        const bool isKept = whole->GetMapping().Axis[a] == 2;
        nearest[a] = static_cast<itk::IndexValueType>(std::lround(index[a]));
        EXPECT_NEAR(index[a], static_cast<double>(nearest[a]), isKept ? 0.25 + 1e-9 : 1e-9) << orientation;
        EXPECT_EQ(nearest[a] % multiple, 0) << orientation;
      }
      EXPECT_LT(RampError(output, 5), 5e-5) << orientation;
      // All of the image's voxels lie in it.
      for (unsigned int corner = 0; corner < 8; ++corner)
      {
        itk::ContinuousIndex<double, 3> edge;
        for (unsigned int d = 0; d < 3; ++d)
        {
          edge[d] = static_cast<double>(extent.GetIndex(d)) - 0.5 + ((corner >> d & 1u) ? extent.GetSize(d) : 0.0);
        }
        const auto at = whole->GetMapping().Inverse().Map(edge);
        for (unsigned int a = 0; a < 3; ++a)
        {
          EXPECT_GE(at[a], -0.5 - 1e-5);
          EXPECT_LE(at[a], static_cast<double>(output->GetLargestPossibleRegion().GetSize(a)) - 0.5 + 1e-5);
        }
      }

      const auto cropped = make(part);
      const auto other = cropped->GetMapping().Inverse().Map(anchor);
      for (itk::IndexValueType k = -1; k <= 1; ++k)
      {
        const itk::Index<3> here{ { nearest[0] + k, nearest[1] - k, nearest[2] + k } };
        itk::Index<3>       there;
        for (unsigned int a = 0; a < 3; ++a)
        {
          there[a] = static_cast<itk::IndexValueType>(std::lround(other[a])) + here[a] - nearest[a];
        }
        EXPECT_LT(Place(output, here).EuclideanDistanceTo(Place(cropped->GetOutput(), there)), 1e-9);
        EXPECT_NEAR(output->GetPixel(here)[1], cropped->GetOutput()->GetPixel(there)[1], 1e-4);
      }
    }
  }

  // Without it the part's grid lies elsewhere.
  const auto centred = [](const VectorImageType * input) {
    auto filter = ToModel::New();
    filter->SetInput(input);
    filter->SetOutputSpacing(Spacing(2.0, 0.6, 2.5));
    filter->UpdateOutputInformation();
    return filter->GetMapping().Offset[0];
  };
  const double apart = (centred(image) - centred(part)) / (2.0 / 0.9);
  EXPECT_GT(std::abs(apart - std::round(apart)), 0.05);

  anchor[1] = static_cast<double>(extent.GetIndex(1)) - 0.6;
  auto filter = ToModel::New();
  filter->SetInput(image);
  filter->SetAnchor(anchor);
  EXPECT_THROW(filter->Update(), itk::ExceptionObject);
  filter->UseAnchorOff();
  EXPECT_NO_THROW(filter->Update());
  filter->SetAnchorMultiple(0);
  EXPECT_THROW(filter->Update(), itk::ExceptionObject);
}

TEST(ModelSpaceFilter, AnObliqueCopyHasTheSameBits)
{
  auto image = oblique::Make<VectorImageType>(12, 11, 9, 2);
  oblique::FillWithNoise(image.GetPointer());
  auto straight = oblique::Make<VectorImageType>(12, 11, 9, 2);
  oblique::FillWithNoise(straight.GetPointer());
  itk::Matrix<double, 3, 3> identity;
  identity.SetIdentity();
  straight->SetDirection(identity);
  VectorImageType::Pointer model[2];
  VectorImageType::Pointer back[2];
  for (unsigned int k = 0; k < 2; ++k)
  {
    auto to = ToModel::New();
    to->SetInput(k == 0 ? image : straight);
    to->SetOutputOrientation("RAS");
    to->SetOutputSpacing(Spacing(1.3, 1.3, 1.3));
    auto from = FromModel::New();
    from->SetInput(to->GetOutput());
    from->SetReferenceImage(k == 0 ? image : straight);
    from->Update();
    model[k] = to->GetOutput();
    back[k] = from->GetOutput();
  }
  EXPECT_NE(model[0]->GetDirection(), model[1]->GetDirection());
  EXPECT_TRUE(oblique::SameVoxels(model[0].GetPointer(), model[1].GetPointer()));
  EXPECT_TRUE(oblique::SameVoxels(back[0].GetPointer(), back[1].GetPointer()));
}

TEST(ModelSpaceFilter, LabelsComeBackUnchangedThroughAFinerGrid)
{
  auto                                              image = oblique::Make<LabelImageType>(8, 7, 6);
  itk::ImageRegionIteratorWithIndex<LabelImageType> it(image, image->GetBufferedRegion());
  for (unsigned int k = 0; !it.IsAtEnd(); ++it, ++k)
  {
    it.Set(static_cast<unsigned char>(oblique::Noise(k) * 5.0F));
  }
  auto to = itk::ModelSpaceFilter<LabelImageType>::New();
  to->SetInput(image);
  to->SetInterpolation(itk::AxisAlignedLinearSamplerEnums::Interpolation::NearestNeighbor);
  to->SetOutputOrientation("ILA");
  to->SetOutputSpacing(Spacing(0.45, 0.5, 0.55));
  auto from = itk::FromModelSpaceFilter<LabelImageType>::New();
  from->SetInput(to->GetOutput());
  from->SetReferenceImage(image);
  from->SetInterpolation(itk::AxisAlignedLinearSamplerEnums::Interpolation::NearestNeighbor);
  from->Update();
  EXPECT_TRUE(oblique::SameVoxels<LabelImageType>(from->GetOutput(), image));
}

TEST(ModelSpaceFilter, StreamsAndThreadsToTheSameBits)
{
  auto image = oblique::Make<VectorImageType>(20, 18, 30, 2);
  oblique::FillWithNoise(image.GetPointer());
  VectorImageType::Pointer result[3];
  for (unsigned int k = 0; k < 3; ++k)
  {
    auto monitor = itk::PipelineMonitorImageFilter<VectorImageType>::New();
    auto source = oblique::MakeSource(image.GetPointer());
    monitor->SetInput(source->GetOutput());
    auto filter = ToModel::New();
    filter->SetInput(monitor->GetOutput());
    filter->SetOutputOrientation("RPI");
    filter->SetOutputSpacing(Spacing(1.7, 1.7, 1.7));
    filter->SetNumberOfWorkUnits(k == 1 ? 4 : 1);
    auto stream = itk::StreamingImageFilter<VectorImageType, VectorImageType>::New();
    stream->SetInput(filter->GetOutput());
    stream->SetNumberOfStreamDivisions(k == 2 ? 7 : 1);
    stream->Update();
    result[k] = stream->GetOutput();
    EXPECT_TRUE(monitor->VerifyInputFilterExecutedStreaming(k == 2 ? 7 : 1));
  }
  EXPECT_TRUE(oblique::SameVoxels(result[0].GetPointer(), result[1].GetPointer()));
  EXPECT_TRUE(oblique::SameVoxels(result[0].GetPointer(), result[2].GetPointer()));
}

TEST(ModelSpaceFilter, GivesTheWholeGridAfterItGrew)
{
  const auto image = MakeRamp(12, 10, 8);
  auto       filter = ToModel::New();
  filter->SetInput(image);
  for (const double spacing : { 2.0, 0.5, 3.0, 0.0 })
  {
    filter->SetOutputSpacing(Spacing(spacing, spacing, spacing));
    filter->Update();
    EXPECT_EQ(filter->GetOutput()->GetBufferedRegion(), filter->GetOutput()->GetLargestPossibleRegion()) << spacing;
  }

  const auto fine = MakeRamp(24, 20, 16);
  auto       back = FromModel::New();
  back->SetInput(filter->GetOutput());
  back->SetReferenceImage(image);
  back->Update();
  back->SetReferenceImage(fine);
  back->Update();
  EXPECT_EQ(back->GetOutput()->GetBufferedRegion(), fine->GetLargestPossibleRegion());
}

TEST(ModelSpaceFilter, RefusesBadSettings)
{
  auto image = oblique::Make<VectorImageType>(4, 4, 4, 2);
  for (const char * orientation : { "LP", "LPP", "lps", "LRS", "LPSA" })
  {
    auto filter = ToModel::New();
    filter->SetInput(image);
    filter->SetOutputOrientation(orientation);
    EXPECT_THROW(filter->Update(), itk::ExceptionObject) << orientation;
  }
  for (const double spacing : { -1.0, std::numeric_limits<double>::quiet_NaN(), 1e-7 })
  {
    auto filter = ToModel::New();
    filter->SetInput(image);
    filter->SetOutputSpacing(Spacing(1.0, spacing, 1.0));
    EXPECT_THROW(filter->Update(), itk::ExceptionObject) << spacing;
  }
  auto                      filter = ToModel::New();
  ToModel::OutsideValueType outside(3);
  outside.Fill(0.0);
  filter->SetInput(image);
  filter->SetOutsideValue(outside);
  EXPECT_THROW(filter->Update(), itk::ExceptionObject);
  EXPECT_THROW(ToModel::New()->Update(), itk::ExceptionObject);
}

TEST(FromModelSpaceFilter, BringsARampBackByMappingAndByHeaders)
{
  const auto image = MakeRamp(20, 22, 16);
  auto       to = ToModel::New();
  to->SetInput(image);
  to->SetOutputOrientation("AIR");
  to->SetOutputSpacing(Spacing(1.9, 1.8, 1.7));
  to->Update();
  VectorImageType::Pointer back[2];
  for (unsigned int k = 0; k < 2; ++k)
  {
    auto from = FromModel::New();
    from->SetInput(to->GetOutput());
    from->SetReferenceImage(image);
    if (k == 0)
    {
      from->SetModelMapping(to->GetMapping());
    }
    from->Update();
    back[k] = from->GetOutput();
    EXPECT_EQ(back[k]->GetLargestPossibleRegion(), image->GetLargestPossibleRegion());
    EXPECT_EQ(back[k]->GetOrigin(), image->GetOrigin());
    EXPECT_EQ(back[k]->GetSpacing(), image->GetSpacing());
    EXPECT_EQ(back[k]->GetDirection(), image->GetDirection());
    EXPECT_EQ(oblique::Scanner(back[k].GetPointer()), "phantom");
    // the smoothed ramp bends within four standard deviations of the border
    EXPECT_LT(RampError(back[k], 5), 2e-4);
  }
  const auto count = image->GetLargestPossibleRegion().GetNumberOfPixels() * 2;
  for (std::size_t v = 0; v < count; ++v)
  {
    // the offset from the headers is rounded to 1e-6 of a voxel; the float values reach 200
    ASSERT_NEAR(back[0]->GetBufferPointer()[v], back[1]->GetBufferPointer()[v], 5e-5);
  }
}

TEST(FromModelSpaceFilter, TakesAMapOnCoarseCellsThroughChainedMappings)
{
  // Cells of 4 model voxels from index 1.5 on; the chained mapping must agree with physical points.
  const auto image = MakeRamp(24, 22, 16);
  auto       to = ToModel::New();
  to->SetInput(image);
  to->SetOutputOrientation("RAS");
  to->SetOutputSpacing(Spacing(1.0, 1.0, 1.0));
  to->Update();
  const VectorImageType * model = to->GetOutput();
  itk::AxisAlignedMapping cells;
  cells.Scale = { { 4.0, 4.0, 4.0 } };
  cells.Offset = { { 1.5, 1.5, 1.5 } };
  auto map = VectorImageType::New();
  map->SetRegions(itk::Size<3>({ { 5, 6, 10 } }));
  map->SetNumberOfComponentsPerPixel(2);
  map->Allocate(true);
  cells.ApplyGeometry(*model, *map);
  itk::ImageRegionIteratorWithIndex<VectorImageType> it(map, map->GetBufferedRegion());
  for (; !it.IsAtEnd(); ++it)
  {
    VectorImageType::PixelType pixel(2);
    pixel[0] = static_cast<float>(Ramp(Place(map.GetPointer(), it.GetIndex()), 0));
    pixel[1] = static_cast<float>(Ramp(Place(map.GetPointer(), it.GetIndex()), 1));
    it.Set(pixel);
  }
  auto from = FromModel::New();
  from->SetInput(map);
  from->SetReferenceImage(image);
  from->SetModelMapping(to->GetMapping().After(cells));
  from->SetOutsideValue(-1000.0);
  from->Update();
  unsigned int                                            inside = 0;
  unsigned int                                            outside = 0;
  itk::ImageRegionConstIteratorWithIndex<VectorImageType> at(from->GetOutput(), image->GetLargestPossibleRegion());
  for (; !at.IsAtEnd(); ++at)
  {
    const auto place = Place(image.GetPointer(), at.GetIndex());
    const auto cell = map->TransformPhysicalPointToContinuousIndex<double>(place);
    bool       within = true;
    bool       beyond = false;
    for (unsigned int d = 0; d < 3; ++d)
    {
      const double last = map->GetLargestPossibleRegion().GetSize(d) - 1.0;
      within = within && cell[d] > 0.0 && cell[d] < last;
      beyond = beyond || cell[d] < -0.501 || cell[d] > last + 0.501;
    }
    if (within)
    {
      ++inside;
      ASSERT_NEAR(at.Get()[1], Ramp(place, 1), 1e-4) << at.GetIndex();
    }
    else if (beyond)
    {
      ++outside;
      ASSERT_EQ(at.Get()[0], -1000.0F) << at.GetIndex();
    }
  }
  EXPECT_GT(inside, 500U);
  EXPECT_GT(outside, 500U);
}

TEST(FromModelSpaceFilter, RefusesWhatIsNoModelSpaceOfTheReference)
{
  auto image = oblique::Make<VectorImageType>(6, 6, 6, 1);
  auto map = oblique::Make<VectorImageType>(6, 6, 6, 1);
  map->SetDirection(oblique::Direction() * oblique::Direction());
  auto from = FromModel::New();
  from->SetInput(map);
  EXPECT_THROW(from->Update(), itk::ExceptionObject); // no reference
  from->SetReferenceImage(image);
  EXPECT_THROW(from->Update(), itk::ExceptionObject); // not parallel
  itk::AxisAlignedMapping mapping;
  from->SetModelMapping(mapping);
  EXPECT_NO_THROW(from->Update());
  mapping.Scale[1] = 0.0;
  from->SetModelMapping(mapping);
  EXPECT_THROW(from->Update(), itk::ExceptionObject);
}

TEST(FromModelSpaceFilter, FollowsAReferenceOfAnotherSize)
{
  const auto reference = ProceduralImageSource<LabelImageType>::New();
  const auto map = VectorImageType::New();
  map->SetRegions(itk::Size<3>{ { 6, 6, 6 } });
  map->SetNumberOfComponentsPerPixel(2);
  map->Allocate(true);
  const auto filter = FromModel::New();
  filter->SetInput(map);
  filter->SetReferenceImage(reference->GetOutput());
  ExpectFollowsSizeOf(reference.GetPointer(), filter.GetPointer());

  // The reference may be what the map is made of: then its voxels are needed after all.
  const auto source = oblique::MakeSource(MakeRamp(8, 7, 6).GetPointer());
  const auto to = ToModel::New();
  to->SetInput(source->GetOutput());
  const auto back = FromModel::New();
  back->SetInput(to->GetOutput());
  back->SetReferenceImage(source->GetOutput());
  back->Update();
  EXPECT_TRUE(oblique::SameVoxels<VectorImageType>(back->GetOutput(), MakeRamp(8, 7, 6)));
}

TEST(FromModelSpaceFilter, AnOutputOfIntegersIsLimitedToItsType)
{
  using ByteFilter = itk::FromModelSpaceFilter<ScalarImageType, LabelImageType>;
  const auto map = ScalarImageType::New();
  map->SetRegions(itk::Size<3>{ { 2, 1, 1 } });
  map->Allocate();
  map->GetBufferPointer()[0] = 300.0F;
  map->GetBufferPointer()[1] = -20.0F;
  const auto reference = LabelImageType::New();
  reference->SetRegions(itk::Size<3>{ { 3, 1, 1 } });
  for (const auto interpolation : { itk::AxisAlignedLinearSamplerEnums::Interpolation::Linear,
                                    itk::AxisAlignedLinearSamplerEnums::Interpolation::NearestNeighbor })
  {
    const auto filter = ByteFilter::New();
    filter->SetInput(map);
    filter->SetReferenceImage(reference);
    filter->SetInterpolation(interpolation);
    filter->SetOutsideValue(999.0);
    filter->Update();
    const unsigned char * const values = filter->GetOutput()->GetBufferPointer();
    EXPECT_EQ(values[0], 255) << interpolation;
    EXPECT_EQ(values[1], 0) << interpolation;
    EXPECT_EQ(values[2], 255) << interpolation;
  }
}
