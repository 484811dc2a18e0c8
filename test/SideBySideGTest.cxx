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
// Tasks of the application that run side by side, and a registration where the system refuses threads.
#include "SideBySide.h"

#include "RegisteredCase.h"

#include <gtest/gtest.h>

#include <dlfcn.h>
#include <pthread.h>

#include <atomic>
#include <cerrno>
#include <cmath>
#include <stdexcept>
#include <string>

namespace
{
std::atomic<int> allowedThreads{ -1 }; // below 0: as many as one likes
std::atomic<int> refusals{ 0 };
} // namespace

// The program's own stands before that of the C library.
extern "C" int
pthread_create(pthread_t * thread, const pthread_attr_t * attributes, void * (*start)(void *), void * argument)
{
  if (allowedThreads == 0)
  {
    ++refusals;
    return EAGAIN;
  }
  if (allowedThreads > 0)
  {
    --allowedThreads;
  }
  using FunctionType = int (*)(pthread_t *, const pthread_attr_t *, void * (*)(void *), void *);
  static const auto create = reinterpret_cast<FunctionType>(dlsym(RTLD_NEXT, "pthread_create"));
  return create(thread, attributes, start, argument);
}

TEST(SideBySide, RunsEveryTaskInItsOrder)
{
  for (const int allowed : { -1, 0, 1, 2 })
  {
    for (const std::size_t threads : { 0u, 1u, 2u, 3u, 100u })
    {
      std::vector<int>                   done(7, 0);
      std::atomic<int>                   begun{ 0 };
      std::vector<std::function<void()>> tasks;
      for (int & one : done)
      {
        tasks.emplace_back([&one, &begun] { one = ++begun; });
      }
      allowedThreads = allowed;
      glioma::RunSideBySide(tasks, threads);
      allowedThreads = -1;
      EXPECT_EQ(begun, 7);
      for (int i = 0; i < 7 && (threads < 2 || allowed == 0); ++i)
      {
        EXPECT_EQ(done[static_cast<std::size_t>(i)], i + 1) << threads;
      }
    }
  }
  EXPECT_GT(refusals, 0);
  glioma::RunSideBySide({}, 2);
}

TEST(SideBySide, ThrowsTheFirstFailureAfterAllThatBegan)
{
  for (const std::size_t threads : { 1u, 3u })
  {
    std::atomic<int>                   begun{ 0 };
    std::atomic<int>                   ended{ 0 };
    std::vector<std::function<void()>> tasks;
    for (int i = 0; i < 20; ++i)
    {
      tasks.emplace_back([i, &begun, &ended, threads] {
        ++begun;
        while (begun < static_cast<int>(threads))
        {
        }
        ++ended;
        throw std::runtime_error(std::to_string(i));
      });
    }
    try
    {
      glioma::RunSideBySide(tasks, threads);
      FAIL() << "a failure is thrown";
    }
    catch (const std::runtime_error & error)
    {
      EXPECT_STREQ(error.what(), "0");
    }
    EXPECT_EQ(begun, ended);
    EXPECT_LT(begun, 20) << "no other begins";
  }
}

TEST(SideBySide, ARegistrationDoesWithoutThreads)
{
  using ImageType = glioma::SequenceImageType;
  std::vector<ImageType::Pointer> sequences;
  for (unsigned int s = 0; s < 4; ++s)
  {
    auto image = ImageType::New();
    image->SetRegions(ImageType::RegionType({ { 3, -2, 5 } }, { { 40, 36, 30 } }));
    const double spacing[] = { 2.0, 2.1, 2.3 };
    const double origin[] = { 4.0, -7.0, 11.0 };
    image->SetSpacing(spacing);
    image->SetOrigin(origin);
    image->Allocate();
    float * voxel = image->GetBufferPointer();
    for (int z = 0; z < 30; ++z)
    {
      for (int y = 0; y < 36; ++y)
      {
        for (int x = 0; x < 40; ++x)
        {
          const double a = (x - 20.0 - 0.3 * s) / 15.0;
          const double b = (y - 18.0) / 12.0;
          const double c = (z - 15.0) / 10.0;
          const bool   inside = a * a + b * b + c * c < 1.0;
          *voxel++ =
            inside ? static_cast<float>(200.0 + 60.0 * std::sin(4.0 * a + b) + 40.0 * std::cos(5.0 * b * c) + 10.0 * s)
                   : 0.0F;
        }
      }
    }
    sequences.push_back(image);
  }
  const auto make = [&sequences] {
    return glioma::RegisteredCase({ "T1", "T1c", "T2", "FLAIR" }, sequences, 1, nullptr, "LPS", { { 2.0, 2.0, 2.0 } });
  };
  const glioma::RegisteredCase expected = make(); // ITK's own threads are there then
  for (const int allowed : { 0, 1, 2 })
  {
    refusals = 0;
    allowedThreads = allowed;
    const glioma::RegisteredCase found = make();
    allowedThreads = -1;
    EXPECT_GT(refusals, 0);
    for (std::size_t i = 0; i < 4; ++i)
    {
      EXPECT_EQ(found.GetReports()[i].FinalMetric, expected.GetReports()[i].FinalMetric) << i;
      const ImageType * const a = found.GetSequence(i);
      const ImageType * const b = expected.GetSequence(i);
      ASSERT_EQ(a->GetLargestPossibleRegion(), b->GetLargestPossibleRegion());
      EXPECT_TRUE(std::equal(a->GetBufferPointer(),
                             a->GetBufferPointer() + a->GetLargestPossibleRegion().GetNumberOfPixels(),
                             b->GetBufferPointer()))
        << i;
    }
  }
}
