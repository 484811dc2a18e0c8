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
// Known displacements are undone; what is no registration is an exception.

#include "ObliqueImage.h"
#include "ProceduralImageSource.h"
#include "RealTestData.h"
#include "itkImageFileReader.h"
#include "itkRigidRegistrationFilter.h"
#include "gtest/gtest.h"

#include <array>
#include <filesystem>
#include <functional>
#include <limits>
#include <vector>

namespace
{
using ImageType = itk::Image<float, 3>;
using MaskType = itk::Image<unsigned char, 3>;
using FilterType = itk::RigidRegistrationFilter<ImageType, MaskType>;
using TransformType = FilterType::TransformType;
using PointType = itk::Point<double, 3>;

PointType
At(double x, double y, double z)
{
  PointType point;
  point[0] = x;
  point[1] = y;
  point[2] = z;
  return point;
}

constexpr double degrees = 3.14159265358979323846 / 180.0;

/** Number i of the known displacements: about any axis, 3 to 10 degrees and 5 to 15 mm. */
TransformType::Pointer
Displacement(unsigned int i, const PointType & centre, unsigned int number = 10)
{
  const auto random = [&](unsigned int k) { return static_cast<double>(oblique::Noise(100 * i + k)) - 0.5; };
  const auto direction = [&](unsigned int k) {
    itk::Vector<double, 3> vector;
    for (unsigned int d = 0; d < 3; ++d)
    {
      vector[d] = random(k + d);
    }
    vector.Normalize();
    return vector;
  };
  // The last one is the largest.
  const double share = static_cast<double>(i + 1) / number;
  auto         transform = TransformType::New();
  transform->SetCenter(centre);
  transform->SetRotation(direction(1), (3.0 + 7.0 * share) * degrees);
  transform->SetTranslation(direction(4) * (5.0 + 10.0 * share));
  return transform;
}

/** The image with its header moved: what was at x is at transform(x). */
ImageType::Pointer
Moved(const ImageType * image, const TransformType * transform)
{
  auto moved = ImageType::New();
  moved->Graft(image);
  moved->SetOrigin(transform->TransformPoint(image->GetOrigin()));
  moved->SetDirection(transform->GetMatrix() * image->GetDirection());
  return moved;
}

/** Mean and largest distance in mm over the voxels of the reference that are not 0. */
std::array<double, 2>
ErrorOf(const TransformType * found, const std::function<PointType(const PointType &)> & truth, const ImageType * brain)
{
  double                                            sum = 0.0;
  double                                            largest = 0.0;
  double                                            number = 0.0;
  itk::ImageRegionConstIteratorWithIndex<ImageType> voxel(brain, brain->GetLargestPossibleRegion());
  for (unsigned int i = 0; !voxel.IsAtEnd(); ++voxel, ++i)
  {
    if (voxel.Get() != 0.0f && i % 7 == 0)
    {
      PointType point;
      brain->TransformIndexToPhysicalPoint(voxel.GetIndex(), point);
      const double error = found->TransformPoint(point).EuclideanDistanceTo(truth(point));
      sum += error;
      largest = std::max(largest, error);
      number += 1.0;
    }
  }
  return { { sum / number, largest } };
}

/** A head by formula, in physical space: two contrasts of the same tissue, with a smooth and a fine structure. */
double
Tissue(const PointType & point)
{
  const double x = point[0] - 5.0;
  const double y = point[1] + 10.0;
  const double z = point[2] - 20.0;
  if (x * x / 3600.0 + y * y / 5000.0 + z * z / 3000.0 >= 1.0)
  {
    return -1.0;
  }
  double       tissue = 0.5 + 0.15 * std::sin(0.11 * x + 0.05 * y) + 0.15 * std::cos(0.13 * y - 0.07 * z + 0.02 * x);
  const double blobs[4][4] = {
    { 20.0, 30.0, 5.0, 0.4 }, { -25.0, 10.0, 15.0, -0.4 }, { 10.0, -35.0, -12.0, 0.5 }, { -10.0, -20.0, 20.0, -0.35 }
  };
  for (const auto & blob : blobs)
  {
    const double squared = std::pow(x - blob[0], 2) + std::pow(y - blob[1], 2) + std::pow(z - blob[2], 2);
    tissue += blob[3] * std::exp(-squared / 128.0);
  }
  return tissue;
}

double
First(double tissue)
{
  return 100.0 + 80.0 * tissue;
}

double
Second(double tissue)
{
  return 300.0 - 150.0 * tissue + 40.0 * std::sin(5.0 * tissue);
}

/** Draws the head, displaced by a transform, on an oblique grid with a start index that is not 0. */
ImageType::Pointer
Draw(double (*contrast)(double), const std::array<double, 3> & spacing, const TransformType * moved = nullptr)
{
  std::array<unsigned int, 3> size;
  for (unsigned int d = 0; d < 3; ++d)
  {
    size[d] = static_cast<unsigned int>(190.0 / spacing[d]);
  }
  const ImageType::Pointer image = oblique::Make<ImageType>(size[0], size[1], size[2]);
  image->SetSpacing(spacing.data());
  PointType                       middle;
  PointType                       wanted;
  itk::ContinuousIndex<double, 3> index;
  for (unsigned int d = 0; d < 3; ++d)
  {
    index[d] = static_cast<double>(image->GetLargestPossibleRegion().GetIndex(d)) + 0.5 * size[d];
  }
  wanted[0] = 5.0;
  wanted[1] = -10.0;
  wanted[2] = 20.0;
  image->TransformContinuousIndexToPhysicalPoint(index, middle);
  image->SetOrigin(image->GetOrigin() + (wanted - middle));
  TransformType::Pointer back;
  if (moved)
  {
    back = TransformType::New();
    moved->GetInverse(back);
  }
  for (itk::ImageRegionIteratorWithIndex<ImageType> voxel(image, image->GetLargestPossibleRegion()); !voxel.IsAtEnd();
       ++voxel)
  {
    PointType point;
    image->TransformIndexToPhysicalPoint(voxel.GetIndex(), point);
    const double tissue = Tissue(back ? back->TransformPoint(point) : point);
    voxel.Set(tissue < 0.0 ? 0.0f : static_cast<float>(contrast(tissue)));
  }
  return image;
}

FilterType::Pointer
Register(const ImageType * reference, const ImageType * moving)
{
  auto filter = FilterType::New();
  filter->SetReferenceImage(reference);
  filter->SetInput(moving);
  return filter;
}

const std::array<double, 3> fine{ { 2.0, 2.0, 2.0 } };
const std::array<double, 3> coarse{ { 3.0, 3.5, 3.0 } };
const std::array<double, 3> thick{ { 2.0, 2.0, 6.0 } };

PointType
Centre()
{
  return At(5.0, -10.0, 20.0);
}

std::string
ReasonOf(FilterType * filter)
{
  try
  {
    filter->Update();
  }
  catch (const itk::ExceptionObject & error)
  {
    return error.GetDescription();
  }
  return "no exception";
}
} // namespace

TEST(RigidRegistrationFilter, UndoesDisplacementsOfAPhantom)
{
  const ImageType::Pointer reference = Draw(First, coarse);
  for (const unsigned int i : { 2u, 6u, 9u })
  {
    const TransformType::Pointer truth = Displacement(i, Centre());
    const ImageType::Pointer     moving = Draw(Second, thick, truth);
    const auto                   filter = Register(reference, moving);
    filter->Update();
    const auto error =
      ErrorOf(filter->GetTransform(), [&](const PointType & p) { return truth->TransformPoint(p); }, reference);
    EXPECT_LT(error[0], 1.0) << "displacement " << i << ", largest error " << error[1];
    EXPECT_LT(filter->GetFinalMetric(), filter->GetInitialMetric());
    EXPECT_GT(filter->GetOverlap(), 0.95);
    EXPECT_EQ(filter->GetIterationsPerLevel().size(), 3u);
    std::cout << "displacement " << i << ": error " << error[0] << " mm, largest " << error[1] << " mm, moved "
              << filter->GetMeanDisplacement() << " mm, metric " << filter->GetInitialMetric() << " to "
              << filter->GetFinalMetric() << std::endl;

    // The output shows the other contrast where the reference is.
    const ImageType * output = filter->GetOutput();
    double            difference = 0.0;
    double            number = 0.0;
    double            lost = 0.0;
    for (itk::ImageRegionConstIteratorWithIndex<ImageType> voxel(output, output->GetLargestPossibleRegion());
         !voxel.IsAtEnd();
         ++voxel)
    {
      PointType point;
      output->TransformIndexToPhysicalPoint(voxel.GetIndex(), point);
      const double tissue = Tissue(point);
      if (tissue >= 0.0)
      {
        number += 1.0;
        lost += voxel.Get() == 0.0f;
        difference += voxel.Get() == 0.0f ? 0.0 : std::abs(voxel.Get() - Second(tissue));
      }
    }
    EXPECT_LT(difference / number, 10.0) << "of a contrast of about 150";
    EXPECT_LT(lost / number, 0.05);
  }
}

TEST(RigidRegistrationFilter, GivesTheReferencesGrid)
{
  const ImageType::Pointer reference = Draw(First, coarse);
  const ImageType::Pointer moving = Draw(Second, thick, Displacement(3, Centre()));
  itk::EncapsulateMetaData<std::string>(moving->GetMetaDataDictionary(), "Scanner", "of the input");
  auto filter = Register(reference, moving);
  filter->Update();
  ImageType::Pointer output = filter->GetOutput();
  output->DisconnectPipeline();
  EXPECT_EQ(output->GetLargestPossibleRegion(), reference->GetLargestPossibleRegion());
  EXPECT_EQ(output->GetOrigin(), reference->GetOrigin());
  EXPECT_EQ(output->GetSpacing(), reference->GetSpacing());
  EXPECT_EQ(output->GetDirection(), reference->GetDirection());
  EXPECT_EQ(oblique::Scanner(output.GetPointer()), "of the input");
  const auto parameters = filter->GetTransform()->GetParameters();

  // The same bits again, by any number of threads.
  filter = Register(reference, moving);
  filter->SetNumberOfWorkUnits(1);
  const ImageType::Pointer grid = oblique::Make<ImageType>(30, 20, 10);
  filter->SetOutputGrid(grid);
  filter->Update();
  EXPECT_EQ(filter->GetTransform()->GetParameters(), parameters);
  EXPECT_EQ(filter->GetOutput()->GetLargestPossibleRegion(), grid->GetLargestPossibleRegion());
  EXPECT_EQ(filter->GetOutput()->GetOrigin(), grid->GetOrigin());
  EXPECT_EQ(filter->GetOutput()->GetSpacing(), grid->GetSpacing());
  EXPECT_EQ(filter->GetOutput()->GetDirection(), grid->GetDirection());
}

TEST(RigidRegistrationFilter, FollowsAGridOfAnotherSize)
{
  const auto grid = ProceduralImageSource<ImageType>::New();
  const auto filter = Register(Draw(First, coarse), Draw(Second, coarse));
  filter->SetOutputGrid(grid->GetOutput());
  ExpectFollowsSizeOf(grid.GetPointer(), filter.GetPointer());
}

TEST(RigidRegistrationFilter, TheMasksGridAgreesWithinTheTolerance)
{
  const ImageType::Pointer reference = Draw(First, coarse);
  const auto               mask = MaskType::New();
  mask->CopyInformation(reference);
  mask->SetRegions(reference->GetLargestPossibleRegion());
  mask->Allocate();
  const auto filter = Register(reference, Draw(Second, coarse));
  EXPECT_EQ(filter->GetCoordinateTolerance(), 1e-3);
  EXPECT_EQ(filter->GetDirectionTolerance(), 1e-3);
  filter->SetReferenceMaskImage(mask);
  PointType origin = reference->GetOrigin();
  origin[1] += 0.9e-3 * coarse[1];
  mask->SetOrigin(origin);
  EXPECT_NO_THROW(filter->UpdateOutputInformation());
  origin[1] = reference->GetOrigin()[1] + 2e-3 * coarse[1];
  mask->SetOrigin(origin);
  EXPECT_THROW(filter->UpdateOutputInformation(), itk::ExceptionObject);
  filter->SetCoordinateTolerance(3e-3);
  EXPECT_NO_THROW(filter->UpdateOutputInformation());
  mask->SetOrigin(reference->GetOrigin());
  ImageType::DirectionType direction = reference->GetDirection();
  direction[0][1] += 2e-3;
  mask->SetDirection(direction);
  EXPECT_THROW(filter->UpdateOutputInformation(), itk::ExceptionObject);
  filter->SetDirectionTolerance(3e-3);
  EXPECT_NO_THROW(filter->UpdateOutputInformation());
}

TEST(RigidRegistrationFilter, TakesAMaskOfAHeadThatIsNotSkullStripped)
{
  const TransformType::Pointer truth = Displacement(4, Centre());
  const ImageType::Pointer     brain = Draw(First, coarse);
  const ImageType::Pointer     reference = Draw(First, coarse);
  const ImageType::Pointer     moving = Draw(Second, coarse, truth);
  auto                         mask = MaskType::New();
  mask->CopyInformation(brain);
  mask->SetRegions(brain->GetLargestPossibleRegion());
  mask->Allocate();
  for (itk::SizeValueType i = 0; i < brain->GetLargestPossibleRegion().GetNumberOfPixels(); ++i)
  {
    mask->GetBufferPointer()[i] = brain->GetBufferPointer()[i] != 0.0f;
  }
  // Air that is noise.
  for (ImageType * const image : { reference.GetPointer(), moving.GetPointer() })
  {
    for (itk::SizeValueType i = 0; i < image->GetLargestPossibleRegion().GetNumberOfPixels(); ++i)
    {
      float & voxel = image->GetBufferPointer()[i];
      voxel = voxel == 0.0f ? 1.0f + 20.0f * oblique::Noise(i + (image == moving ? 1u << 20 : 0u)) : voxel;
    }
  }
  const auto filter = Register(reference, moving);
  filter->SetReferenceMaskImage(mask);
  filter->Update();
  const auto error =
    ErrorOf(filter->GetTransform(), [&](const PointType & p) { return truth->TransformPoint(p); }, brain);
  EXPECT_LT(error[0], 1.0);

  mask->SetOrigin(At(0.0, 0.0, 0.0));
  mask->Modified();
  EXPECT_NE(ReasonOf(filter).find("not on the grid of the reference"), std::string::npos);
}

TEST(RigidRegistrationFilter, LeavesAlignedImagesWhereTheyAre)
{
  const ImageType::Pointer reference = Draw(First, coarse);
  const auto               filter = Register(reference, Draw(Second, coarse));
  filter->Update();
  EXPECT_LT(filter->GetMeanDisplacement(), 0.5);
}

TEST(RigidRegistrationFilter, RefusesWhatCoversTooLittle)
{
  const ImageType::Pointer reference = Draw(First, coarse);
  const ImageType::Pointer moving = Draw(Second, coarse);
  const auto               size = moving->GetLargestPossibleRegion().GetSize();
  // A third of the slices has nothing.
  for (itk::ImageRegionIteratorWithIndex<ImageType> voxel(moving, moving->GetLargestPossibleRegion()); !voxel.IsAtEnd();
       ++voxel)
  {
    const auto slice = voxel.GetIndex()[2] - moving->GetLargestPossibleRegion().GetIndex(2);
    if (slice > static_cast<itk::IndexValueType>(0.55 * static_cast<double>(size[2])))
    {
      voxel.Set(0.0f);
    }
  }
  const auto        filter = Register(reference, moving);
  const std::string reason = ReasonOf(filter);
  EXPECT_NE(reason.find("% of the reference's brain"), std::string::npos) << reason;
  EXPECT_NE(reason.find("less than 80 %"), std::string::npos) << reason;
  filter->SetMinimumOverlap(0.3);
  EXPECT_EQ(ReasonOf(filter), "no exception");
  EXPECT_LT(filter->GetOverlap(), 0.8);
}

TEST(RigidRegistrationFilter, RefusesImagesThatHaveNothingToDoWithEachOther)
{
  const ImageType::Pointer reference = Draw(First, coarse);
  const ImageType::Pointer moving = Draw(Second, coarse);
  oblique::FillWithNoise(moving.GetPointer());
  const std::string reason = ReasonOf(Register(reference, moving));
  EXPECT_TRUE(reason.find("too little to do with each other") != std::string::npos ||
              reason.find("did not improve") != std::string::npos)
    << reason;
}

TEST(RigidRegistrationFilter, RefusesAMetricThatDoesNotImprove)
{
  // Smoothed, the images match 12 mm apart; as they are, their fine noise matches where they lie.
  const ImageType::Pointer reference = Draw(First, fine);
  auto                     away = TransformType::New();
  away->SetTranslation(itk::Vector<double, 3>(7.0));
  const ImageType::Pointer moving = Draw(First, fine, away);
  for (itk::SizeValueType i = 0; i < reference->GetLargestPossibleRegion().GetNumberOfPixels(); ++i)
  {
    const float noise = 75.0f * (oblique::Noise(i) - 0.5f);
    for (ImageType * const image : { reference.GetPointer(), moving.GetPointer() })
    {
      float & voxel = image->GetBufferPointer()[i];
      voxel = 1000.0f + 2.0f * voxel + noise;
    }
  }
  const auto        filter = Register(reference, moving);
  const std::string reason = ReasonOf(filter);
  EXPECT_NE(reason.find("did not improve the metric"), std::string::npos) << reason;
}

TEST(RigidRegistrationFilter, RefusesImagesThatAreNone)
{
  const ImageType::Pointer reference = Draw(First, coarse);
  const ImageType::Pointer empty = oblique::Make<ImageType>(20, 20, 20);
  EXPECT_NE(ReasonOf(Register(reference, empty)).find("0 everywhere"), std::string::npos);
  EXPECT_NE(ReasonOf(Register(empty, reference)).find("0 everywhere"), std::string::npos);
  const ImageType::Pointer thin = oblique::Make<ImageType>(20, 20, 4);
  EXPECT_NE(ReasonOf(Register(reference, thin)).find("at least 8"), std::string::npos);
  const ImageType::Pointer broken = Draw(Second, coarse);
  broken->GetBufferPointer()[1000] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_NE(ReasonOf(Register(reference, broken)).find("not finite"), std::string::npos);
}

TEST(RigidRegistrationFilter, AbortsAndTellsItsProgress)
{
  const auto filter = Register(Draw(First, coarse), Draw(Second, thick, Displacement(3, Centre())));
  float      last = 0.0f;
  filter->AddObserver(itk::ProgressEvent(), [&](const itk::EventObject &) {
    EXPECT_GE(filter->GetProgress(), last);
    last = filter->GetProgress();
    if (last > 0.3f)
    {
      filter->AbortGenerateDataOn();
    }
  });
  EXPECT_THROW(filter->Update(), itk::ProcessAborted);
  EXPECT_GT(last, 0.3f);
  EXPECT_LT(last, 0.8f);
}

TEST(RigidRegistrationFilter, BasicObject)
{
  const auto         filter = FilterType::New();
  std::ostringstream text;
  filter->Print(text);
  for (const char * const member : { "Seed", "MinimumOverlap", "Transform", "FinalMetric" })
  {
    EXPECT_NE(text.str().find(member), std::string::npos) << member;
  }
  EXPECT_STREQ(filter->GetNameOfClass(), "RigidRegistrationFilter");
}

// One patient, aligned by others: T1, T2 and FLAIR in turn are displaced and brought back to T1c.
TEST(RigidRegistrationFilter, UndoesTenDisplacementsOfARealCase)
{
  const std::string case_ = RealTestDataFolder() + "/BraTS2021_00003/BraTS2021_00003_";
  if (!std::filesystem::exists(case_ + "t1ce.nii.gz"))
  {
    GTEST_SKIP() << "No real data in " << RealTestDataFolder();
  }
  const auto         reference = itk::ReadImage<ImageType>(case_ + "t1ce.nii.gz");
  const char * const names[] = { "t1", "t2", "flair" };
  double             mean = 0.0;
  for (unsigned int i = 0; i < 10; ++i)
  {
    const auto                   moving = itk::ReadImage<ImageType>(case_ + names[i % 3] + ".nii.gz");
    const TransformType::Pointer truth = Displacement(i, At(-120.0, -120.0, 77.0));
    const auto                   filter = Register(reference, Moved(moving, truth));
    filter->Update();
    const auto error =
      ErrorOf(filter->GetTransform(), [&](const PointType & p) { return truth->TransformPoint(p); }, reference);
    std::cout << names[i % 3] << ", displacement " << i << ": error " << error[0] << " mm, largest " << error[1]
              << " mm, metric " << filter->GetInitialMetric() << " to " << filter->GetFinalMetric() << std::endl;
    EXPECT_LT(error[0], 1.0) << names[i % 3] << ", displacement " << i;
    mean += error[0] / 10.0;
  }
  std::cout << "mean error " << mean << " mm" << std::endl;
  EXPECT_LT(mean, 1.0);
}

// Slices of 2.5 and 5 mm, as scanned.
TEST(RigidRegistrationFilter, UndoesTenDisplacementsOfThickSlices)
{
  const std::string case_ = RealTestDataFolder() + "/TCGA-DU-7294-native/TCGA-DU-7294_hdbet_native_";
  if (!std::filesystem::exists(case_ + "t1c.nii.gz"))
  {
    GTEST_SKIP() << "No real data in " << RealTestDataFolder();
  }
  // The patient moved before T1c (1.4 to 2.2 mm, the same against each other sequence), so that with T1c as reference
  // the displacement is added to what the undisplaced image gets. Among the others, the scanner's coordinates are the
  // truth.
  struct Pair
  {
    const char * Reference;
    const char * Moving;
    bool         ScannerIsTruth;
  };
  const Pair pairs[] = {
    { "t1c", "t1", false }, { "t2", "t1", true }, { "t1c", "t2", false }, { "fla", "t1", true }, { "t1c", "fla", false }
  };
  double mean = 0.0;
  for (unsigned int k = 0; k < 5; ++k)
  {
    const Pair & pair = pairs[k];
    const auto   reference = itk::ReadImage<ImageType>(case_ + pair.Reference + ".nii.gz");
    const auto   moving = itk::ReadImage<ImageType>(case_ + pair.Moving + ".nii.gz");
    auto         before = TransformType::New();
    if (!pair.ScannerIsTruth)
    {
      const auto filter = Register(reference, moving);
      filter->Update();
      before->SetFixedParameters(filter->GetTransform()->GetFixedParameters());
      before->SetParameters(filter->GetTransform()->GetParameters());
      EXPECT_LT(filter->GetMeanDisplacement(), 4.0);
    }
    for (const unsigned int i : { 2 * k, 2 * k + 1 })
    {
      const TransformType::Pointer displacement = Displacement(i, At(0.0, 0.0, 10.0));
      const auto                   filter = Register(reference, Moved(moving, displacement));
      filter->Update();
      const auto error = ErrorOf(
        filter->GetTransform(),
        [&](const PointType & p) { return displacement->TransformPoint(before->TransformPoint(p)); },
        reference);
      std::cout << pair.Moving << " to " << pair.Reference << ", displacement " << i << ": error " << error[0]
                << " mm, largest " << error[1] << " mm, metric " << filter->GetInitialMetric() << " to "
                << filter->GetFinalMetric() << std::endl;
      EXPECT_LT(error[0], 2.0) << pair.Moving << " to " << pair.Reference << ", displacement " << i;
      mean += error[0] / 10.0;
    }
  }
  std::cout << "mean error " << mean << " mm" << std::endl;
}
