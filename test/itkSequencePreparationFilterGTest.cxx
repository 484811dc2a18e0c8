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
#include "itkSequencePreparationFilter.h"

#include "ErrorMessages.h"
#include "SyntheticHead.h"
#include "itkGridDifference.h"
#include "gtest/gtest.h"

#include <atomic>
#include <cmath>
#include <limits>

#ifdef __GLIBC__
#  include <cerrno>
#  include <dlfcn.h>
#  include <pthread.h>

namespace
{
// Threads that the system still gives this process; negative: any number.
std::atomic<int> threadsLeft{ -1 };
} // namespace

extern "C" int
pthread_create(pthread_t * thread, const pthread_attr_t * attributes, void * (*start)(void *), void * argument) noexcept
{
  static const auto create = reinterpret_cast<decltype(&pthread_create)>(dlsym(RTLD_NEXT, "pthread_create"));
  if (threadsLeft == 0)
  {
    return EAGAIN;
  }
  threadsLeft -= threadsLeft > 0 ? 1 : 0;
  return create(thread, attributes, start, argument);
}
#endif

namespace
{
using ImageType = SyntheticHead::ImageType;
using MaskType = SyntheticHead::MaskType;
using FilterType = itk::SequencePreparationFilter<ImageType, MaskType>;
using BiasCorrection = FilterType::BiasCorrectionEnum;
using Standardization = FilterType::StandardizationEnum;

FilterType::Pointer
Preparing(const SyntheticHead & head, BiasCorrection correction = BiasCorrection::None)
{
  auto filter = FilterType::New();
  for (unsigned int i = 0; i < 4; ++i)
  {
    filter->SetSequence(filter->GetSequenceNames()[i], head.Sequences[i]);
  }
  filter->SetBiasCorrection(correction);
  return filter;
}

double
Dice(const MaskType * a, const MaskType * b)
{
  double both = 0.0;
  double sum = 0.0;
  for (itk::SizeValueType i = 0; i < a->GetLargestPossibleRegion().GetNumberOfPixels(); ++i)
  {
    both += a->GetBufferPointer()[i] && b->GetBufferPointer()[i];
    sum += (a->GetBufferPointer()[i] != 0) + (b->GetBufferPointer()[i] != 0);
  }
  return 2.0 * both / sum;
}
} // namespace

TEST(SequencePreparationFilter, StandardizesEachSequenceInTheBrain)
{
  const SyntheticHead head;
  const auto          filter = Preparing(head);
  filter->Update();
  EXPECT_EQ(Dice(filter->GetBrainMask(), head.Brain), 1.0);
  EXPECT_FALSE(filter->GetBrainMaskWasGiven());
  EXPECT_NEAR(filter->GetBrainVolume(), 4.0 / 3.0 * itk::Math::pi * 6.0 * 7.2 * 6.1, 25.0);

  const auto * output = filter->GetOutput();
  ASSERT_EQ(output->GetNumberOfComponentsPerPixel(), 4u);
  const itk::SizeValueType voxels = output->GetLargestPossibleRegion().GetNumberOfPixels();
  for (unsigned int c = 0; c < 4; ++c)
  {
    // The truth is computed here, in two passes.
    double sum = 0.0;
    double count = 0.0;
    for (itk::SizeValueType i = 0; i < voxels; ++i)
    {
      const bool inside = head.Brain->GetBufferPointer()[i] != 0;
      sum += inside ? head.Sequences[c]->GetBufferPointer()[i] : 0.0;
      count += inside;
    }
    const double mean = sum / count;
    double       squares = 0.0;
    for (itk::SizeValueType i = 0; i < voxels; ++i)
    {
      squares += head.Brain->GetBufferPointer()[i] ? std::pow(head.Sequences[c]->GetBufferPointer()[i] - mean, 2) : 0.0;
    }
    const double sigma = std::sqrt(squares / count);
    for (itk::SizeValueType i = 0; i < voxels; ++i)
    {
      const double expected =
        head.Brain->GetBufferPointer()[i] ? (head.Sequences[c]->GetBufferPointer()[i] - mean) / sigma : 0.0;
      ASSERT_NEAR(output->GetBufferPointer()[i * 4 + c], expected, 1e-5);
    }
    EXPECT_NEAR(filter->GetSequenceReports()[c].Mean, mean, 1e-6 * mean);
    EXPECT_NEAR(filter->GetSequenceReports()[c].Sigma, sigma, 1e-6 * sigma);
  }
  ASSERT_EQ(filter->GetStageSeconds().size(), 3u);
  EXPECT_EQ(filter->GetStageSeconds().front().first, "check");
}

TEST(SequencePreparationFilter, RemovesASmoothGain)
{
  // The truth has no gain and needs no correction.
  const SyntheticHead head;
  const auto          clean = Preparing(head);
  clean->Update();
  const SyntheticHead biased;
  itk::SizeValueType  n = 0;
  for (itk::ImageRegionIteratorWithIndex<ImageType> voxel(biased.Sequences[2],
                                                          biased.Sequences[2]->GetLargestPossibleRegion());
       !voxel.IsAtEnd();
       ++voxel, ++n)
  {
    voxel.Set(voxel.Get() * std::exp(0.02F * static_cast<float>(voxel.GetIndex()[1])));
  }
  const auto distance = [&](BiasCorrection correction) {
    const auto filter = Preparing(biased, correction);
    filter->SetShrinkFactor(1);
    filter->Update();
    double sum = 0.0;
    for (itk::SizeValueType i = 0; i < n; ++i)
    {
      sum += std::pow(
        filter->GetOutput()->GetBufferPointer()[i * 4 + 2] - clean->GetOutput()->GetBufferPointer()[i * 4 + 2], 2);
    }
    const auto & report = filter->GetSequenceReports()[2];
    EXPECT_EQ(report.N4Iterations.empty(), correction == BiasCorrection::None);
    EXPECT_EQ(report.N4Convergence.empty(), correction == BiasCorrection::None);
    EXPECT_EQ(report.N4Seconds > 0.0, correction == BiasCorrection::N4);
    EXPECT_EQ(report.N4LogFieldMaximum - report.N4LogFieldMinimum > 0.1, correction == BiasCorrection::N4);
    EXPECT_EQ(report.N4NonPositiveVoxels, 0u);
    return std::sqrt(sum / static_cast<double>(n));
  };
  EXPECT_LT(distance(BiasCorrection::N4), 0.5 * distance(BiasCorrection::None));
}

TEST(SequencePreparationFilter, ThreadsDoNotChangeTheBits)
{
  const SyntheticHead head;
  const auto          one = Preparing(head, BiasCorrection::N4);
  one->SetNumberOfWorkUnits(1);
  one->Update();
  const auto three = Preparing(head, BiasCorrection::N4);
  three->SetNumberOfWorkUnits(3);
  three->Update();
  EXPECT_TRUE(oblique::SameVoxels(one->GetOutput(), three->GetOutput()));
}

TEST(SequencePreparationFilter, KeepsGeometryAndDictionaryOfTheFirstSequence)
{
  const SyntheticHead head;
  const auto          filter = Preparing(head);
  filter->Update();
  for (const itk::ImageBase<3> * image : { static_cast<const itk::ImageBase<3> *>(filter->GetOutput()),
                                           static_cast<const itk::ImageBase<3> *>(filter->GetBrainMask()) })
  {
    EXPECT_EQ(image->GetLargestPossibleRegion(), head.Sequences[0]->GetLargestPossibleRegion());
    EXPECT_EQ(image->GetOrigin(), head.Sequences[0]->GetOrigin());
    EXPECT_EQ(image->GetSpacing(), head.Sequences[0]->GetSpacing());
    EXPECT_EQ(image->GetDirection(), head.Sequences[0]->GetDirection());
    std::string scanner;
    double      echo = 0.0;
    EXPECT_TRUE(itk::ExposeMetaData(image->GetMetaDataDictionary(), "Scanner", scanner));
    EXPECT_TRUE(itk::ExposeMetaData(image->GetMetaDataDictionary(), "EchoTime", echo));
    EXPECT_EQ(scanner, "phantom");
    EXPECT_EQ(echo, 87.5);
  }
}

TEST(SequencePreparationFilter, IgnoresWhatTheGivenMaskLeavesOut)
{
  SyntheticHead head;
  const auto    without = Preparing(head, BiasCorrection::N4);
  without->SetBrainMaskImage(head.Brain);
  without->Update();
  EXPECT_TRUE(without->GetBrainMaskWasGiven());

  // A skull, and a voxel that is not finite.
  const SyntheticHead withSkull;
  for (auto & sequence : withSkull.Sequences)
  {
    for (itk::SizeValueType i = 0; i < sequence->GetLargestPossibleRegion().GetNumberOfPixels(); ++i)
    {
      if (!head.Brain->GetBufferPointer()[i])
      {
        sequence->GetBufferPointer()[i] = 500.0F * oblique::Noise(i);
      }
    }
    sequence->GetBufferPointer()[0] = std::numeric_limits<float>::quiet_NaN();
  }
  const auto with = Preparing(withSkull, BiasCorrection::N4);
  with->SetBrainMaskImage(head.Brain);
  with->Update();
  EXPECT_TRUE(oblique::SameVoxels(with->GetOutput(), without->GetOutput()));

  for (auto & sequence : withSkull.Sequences)
  {
    sequence->GetBufferPointer()[0] = 1.0F;
  }
  const std::string message = MessageOf(Preparing(withSkull));
  EXPECT_CONTAINS(message, "not skull-stripped");
  // The library names what its caller has, not an option of a program.
  EXPECT_CONTAINS(message, "give a brain mask");
  EXPECT_EQ(message.find("--"), std::string::npos) << message;
}

TEST(SequencePreparationFilter, RefusesMasksThatMaskNothing)
{
  SyntheticHead head;
  head.Brain->FillBuffer(0);
  auto filter = Preparing(head);
  filter->SetBrainMaskImage(head.Brain);
  EXPECT_CONTAINS(MessageOf(filter), "is empty");
  head.Brain->FillBuffer(1);
  head.Brain->Modified();
  EXPECT_CONTAINS(MessageOf(filter), "covers the whole image");
}

TEST(SequencePreparationFilter, RefusesVoxelsThatAreNoImage)
{
  for (const float bad : { std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity() })
  {
    const SyntheticHead head;
    auto                at = head.Sequences[1]->GetLargestPossibleRegion().GetIndex();
    at[0] += 7;
    head.Sequences[1]->SetPixel(at, bad);
    const std::string message = MessageOf(Preparing(head));
    EXPECT_CONTAINS(message, "T1c");
    EXPECT_CONTAINS(message, "finite");
    EXPECT_CONTAINS(message, "[10, -2, 5]");
  }
  SyntheticHead constant;
  constant.Sequences[3]->FillBuffer(7.0F);
  EXPECT_CONTAINS(MessageOf(Preparing(constant)), "FLAIR is constant: every voxel is 7");

  SyntheticHead twice;
  twice.Sequences[2] = twice.Sequences[0];
  EXPECT_CONTAINS(MessageOf(Preparing(twice)), "T1 and T2 are the same image");
  const SyntheticHead copied;
  const auto *        from = copied.Sequences[0]->GetBufferPointer();
  std::copy(from,
            from + copied.Sequences[0]->GetLargestPossibleRegion().GetNumberOfPixels(),
            copied.Sequences[3]->GetBufferPointer());
  EXPECT_CONTAINS(MessageOf(Preparing(copied)), "T1 and FLAIR hold the same voxels");

  const auto tiny = FilterType::New();
  for (const std::string & name : tiny->GetSequenceNames())
  {
    tiny->SetSequence(name, oblique::Make<ImageType>(1, 1, 1));
  }
  EXPECT_CONTAINS(MessageOf(tiny), "[1, 1, 1] voxels");

  const auto missing = FilterType::New();
  EXPECT_CONTAINS(MessageOf(missing), "T1 is missing");
}

TEST(SequencePreparationFilter, ComparesTheGridsWithinATolerance)
{
  const auto moved = [](unsigned int what, double by) {
    const SyntheticHead head;
    ImageType *         flair = head.Sequences[3];
    if (what == 0)
    {
      auto origin = flair->GetOrigin();
      origin[1] += by * flair->GetSpacing()[1];
      flair->SetOrigin(origin);
    }
    else if (what == 1)
    {
      auto spacing = flair->GetSpacing();
      spacing[2] *= 1.0 + by;
      flair->SetSpacing(spacing);
    }
    else
    {
      ImageType::DirectionType turn;
      turn.SetIdentity();
      turn[0][0] = turn[1][1] = std::cos(by);
      turn[0][1] = -std::sin(by);
      turn[1][0] = std::sin(by);
      flair->SetDirection(turn * flair->GetDirection());
    }
    return MessageOf(Preparing(head));
  };
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_CONTAINS(moved(0, nan), "T1 and FLAIR differ in origin");
  const char * const names[] = { "origin", "spacing", "direction" };
  for (unsigned int what = 0; what < 3; ++what)
  {
    EXPECT_EQ(moved(what, 5e-4), "");
    const std::string message = moved(what, 5e-3);
    EXPECT_CONTAINS(message, std::string("T1 and FLAIR differ in ") + names[what]);
    EXPECT_CONTAINS(message, "0.00");
  }
  const auto          otherSize = FilterType::New();
  const SyntheticHead head;
  for (unsigned int i = 0; i < 4; ++i)
  {
    otherSize->SetSequence(otherSize->GetSequenceNames()[i], head.Sequences[i]);
  }
  otherSize->SetSequence("T2", oblique::Make<ImageType>(36, 35, 32));
  const std::string message = MessageOf(otherSize);
  EXPECT_CONTAINS(message, "T1 and T2 differ in size: [36, 35, 33] and [36, 35, 32]");
  EXPECT_CONTAINS(message, "RigidRegistrationFilter does it");
  EXPECT_EQ(message.find("--"), std::string::npos) << message;
}

// The closed form: along the reference's own axes, in its voxels.
TEST(GridDifference, MeasuresEachAxisByItsOwnVoxels)
{
  const double spacing[3] = { 1.0, 0.5, 4.0 };
  const auto   reference = oblique::Make<ImageType>(8, 9, 10);
  reference->SetSpacing(spacing);
  using DifferenceType = itk::GridDifference<3>;
  const DifferenceType none(reference, reference);
  EXPECT_EQ(none.GetSpacing(), 0.0);
  EXPECT_EQ(none.GetOrigin(), 0.0);
  EXPECT_EQ(none.GetDirection(), 0.0);
  EXPECT_TRUE(none.IsWithin(0.0, 0.0));
  EXPECT_EQ(none.Describe(0.0, 0.0), "");

  const auto copy = [&] {
    const auto image = oblique::Make<ImageType>(8, 9, 10);
    image->SetSpacing(spacing);
    return image;
  };
  for (unsigned int axis = 0; axis < 3; ++axis)
  {
    const auto                      moved = copy();
    itk::ContinuousIndex<double, 3> at;
    at.Fill(0.0);
    at[axis] = 0.01;
    ImageType::PointType origin;
    reference->TransformContinuousIndexToPhysicalPoint(at, origin);
    moved->SetOrigin(origin);
    const DifferenceType difference(reference, moved);
    EXPECT_NEAR(difference.GetOrigin(), 0.01, 1e-12) << axis;
    EXPECT_EQ(difference.GetSpacing(), 0.0);
    EXPECT_TRUE(difference.IsWithin(0.0101, 0.0));
    EXPECT_FALSE(difference.IsWithin(0.0099, 0.0));
    EXPECT_CONTAINS(difference.Describe(0.0099, 0.0), "origin (by 0.01 of a voxel, tolerance 0.0099): [");

    const auto stretched = copy();
    double     changed[3] = { 1.0, 0.5, 4.0 };
    changed[axis] *= 1.01;
    stretched->SetSpacing(changed);
    EXPECT_NEAR(DifferenceType(reference, stretched).GetSpacing(), 0.01, 1e-12) << axis;
    EXPECT_CONTAINS(DifferenceType(reference, stretched).Describe(0.0099, 0.0), "spacing (by 0.01");
  }
  const auto later = copy();
  auto       region = later->GetLargestPossibleRegion();
  region.SetIndex(1, region.GetIndex(1) + 1);
  later->SetRegions(region);
  EXPECT_FALSE(DifferenceType(reference, later).IsWithin(1.0, 1.0));
  EXPECT_EQ(DifferenceType(reference, later).Describe(1.0, 1.0).rfind("start index: [", 0), 0U);

  const auto nowhere = copy();
  auto       origin = nowhere->GetOrigin();
  origin[1] = std::numeric_limits<double>::quiet_NaN();
  nowhere->SetOrigin(origin);
  EXPECT_FALSE(DifferenceType(reference, nowhere).IsWithin(1e9, 1e9));
}

TEST(SequencePreparationFilter, MakesTheDirectionOrthonormalWithinTheTolerance)
{
  const auto sheared = [](double by) {
    SyntheticHead head;
    for (auto & sequence : head.Sequences)
    {
      auto direction = sequence->GetDirection();
      for (unsigned int row = 0; row < 3; ++row)
      {
        direction[row][0] += by * direction[row][1];
      }
      sequence->SetDirection(direction);
    }
    return head;
  };
  const auto filter = Preparing(sheared(5e-4));
  filter->Update();
  const auto direction = filter->GetOutput()->GetDirection();
  const auto product = direction.GetVnlMatrix() * direction.GetTranspose();
  for (unsigned int r = 0; r < 3; ++r)
  {
    for (unsigned int c = 0; c < 3; ++c)
    {
      EXPECT_NEAR(product[r][c], r == c ? 1.0 : 0.0, 1e-12);
      EXPECT_NEAR(direction[r][c], oblique::Direction()[r][c], 5e-4);
    }
  }
  EXPECT_CONTAINS(MessageOf(Preparing(sheared(5e-3))), "not perpendicular");
}

TEST(SequencePreparationFilter, ReportsProgressAndStops)
{
  const SyntheticHead head;
  const auto          filter = Preparing(head, BiasCorrection::N4);
  float               last = 0.0F;
  bool                seenBiasCorrection = false;
  filter->AddObserver(itk::ProgressEvent(), [&](const itk::EventObject &) {
    EXPECT_GE(filter->GetProgress(), last);
    last = filter->GetProgress();
    seenBiasCorrection = seenBiasCorrection || std::string(filter->GetCurrentStage()) == "bias-correction";
  });
  filter->Update();
  EXPECT_EQ(last, 1.0F);
  EXPECT_TRUE(seenBiasCorrection);

  const auto stopped = Preparing(head, BiasCorrection::N4);
  auto *     raw = stopped.GetPointer();
  stopped->AddObserver(itk::ProgressEvent(), [raw](const itk::EventObject &) {
    if (std::string(raw->GetCurrentStage()) == "bias-correction")
    {
      raw->AbortGenerateDataOn();
    }
  });
  EXPECT_THROW(stopped->Update(), itk::ProcessAborted);

  // In every stage, with N4 and without, from its first event and from one inside it.
  for (const char * const stage : { "check", "brain-mask", "standardize" })
  {
    const auto   early = Preparing(head);
    FilterType * one = early;
    unsigned int events = 0;
    early->AddObserver(itk::ProgressEvent(), [one, stage, &events](const itk::EventObject &) {
      events += one->GetAbortGenerateData() ? 1 : 0;
      if (std::string(one->GetCurrentStage()) == stage)
      {
        one->AbortGenerateDataOn();
      }
    });
    EXPECT_THROW(early->Update(), itk::ProcessAborted) << stage;
    EXPECT_EQ(events, 0U) << stage;
  }
  const auto   inside = Preparing(head);
  FilterType * two = inside;
  unsigned int events = 0;
  inside->AddObserver(itk::ProgressEvent(), [two, &events](const itk::EventObject &) {
    if (std::string(two->GetCurrentStage()) == "standardize" && ++events == 2)
    {
      two->AbortGenerateDataOn();
    }
  });
  EXPECT_THROW(inside->Update(), itk::ProcessAborted);
  EXPECT_GE(events, 2U);
  two->RemoveAllObservers();
  EXPECT_EQ(MessageOf(two), ""); // and runs again
}

#ifdef __GLIBC__
TEST(SequencePreparationFilter, CorrectsTheBiasWithTheThreadsThatThereAre)
{
  const SyntheticHead head;
  const auto          whole = Preparing(head, BiasCorrection::N4);
  whole->SetNumberOfWorkUnits(2);
  whole->Update(); // ITK's own threads are there from now on
  for (const int threads : { 1, 0 })
  {
    const auto filter = Preparing(head, BiasCorrection::N4);
    filter->SetNumberOfWorkUnits(2);
    threadsLeft = threads;
    EXPECT_EQ(MessageOf(filter), "") << threads;
    threadsLeft = -1;
    EXPECT_TRUE(oblique::SameVoxels(filter->GetOutput(), whole->GetOutput())) << threads;
  }
}
#endif
