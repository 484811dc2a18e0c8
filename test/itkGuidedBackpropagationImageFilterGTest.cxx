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
#include "itkGuidedBackpropagationImageFilter.h"

#include "ObliqueImage.h"
#include "SeededBundles.h"
#include "itkGradCAMImageFilter.h"

#include "itkStreamingImageFilter.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <thread>
#include <vector>

namespace
{
using ImageType = itk::VectorImage<float, 3>;
using MapType = itk::Image<float, 3>;
using FilterType = itk::GuidedBackpropagationImageFilter<ImageType>;

ImageType::Pointer
Region()
{
  auto image = oblique::Make<ImageType>(72, 80, 72, 4);
  oblique::FillWithNoise(image.GetPointer());
  return image;
}

itk::TorchModel::Pointer
Model(const TemporaryFolder & folder)
{
  return LoadSeeded(folder / "bundle", TinyGradingManifest(4, 0), 3);
}

FilterType::Pointer
Explaining(const itk::TorchModel * model, const ImageType * image, unsigned int label)
{
  auto filter = FilterType::New();
  filter->SetModel(model);
  filter->SetInput(image);
  filter->SetClassToExplain(label);
  return filter;
}

itk::TorchVolumeView
ViewOf(const ImageType * image)
{
  itk::TorchVolumeView view;
  view.Buffer = image->GetBufferPointer();
  view.Components = image->GetNumberOfComponentsPerPixel();
  view.RegionSize = image->GetLargestPossibleRegion().GetSize();
  return view;
}

float
Magnitude(const ImageType * image)
{
  const float * begin = image->GetBufferPointer();
  const float * end = begin + image->GetBufferedRegion().GetNumberOfPixels() * image->GetNumberOfComponentsPerPixel();
  return std::max(*std::max_element(begin, end), -*std::min_element(begin, end));
}
} // namespace

TEST(GuidedBackpropagationImageFilter, MapLiesOnTheRegionsVoxels)
{
  const TemporaryFolder folder;
  const auto            model = Model(folder);
  const auto            image = Region();
  const auto            filter = Explaining(model, image, 1);
  filter->Update();
  const ImageType * map = filter->GetOutput();
  EXPECT_EQ(map->GetBufferedRegion(), image->GetBufferedRegion());
  EXPECT_EQ(map->GetOrigin(), image->GetOrigin());
  EXPECT_EQ(map->GetSpacing(), image->GetSpacing());
  EXPECT_EQ(map->GetDirection(), image->GetDirection());
  EXPECT_EQ(map->GetNumberOfComponentsPerPixel(), 4U);
  EXPECT_EQ(oblique::Scanner(map), "phantom");
  EXPECT_GT(Magnitude(map), 0.0F);
  EXPECT_EQ(filter->GetExecutedReLUs(), 12UL);
  EXPECT_EQ(filter->GetGuidedReLUs(), 12UL);
  const auto support = filter->GetSupport();
  EXPECT_EQ(support->GetBufferedRegion(), image->GetBufferedRegion());
  EXPECT_EQ(support->GetPixel(image->GetBufferedRegion().GetIndex()), 1);

  // A reference on the very same grid changes nothing.
  const auto same = Explaining(model, image, 1);
  same->SetReferenceImage(image);
  same->Update();
  EXPECT_TRUE(oblique::SameVoxels<ImageType>(same->GetOutput(), map));
}

TEST(GuidedBackpropagationImageFilter, StreamsWithTheSameBits)
{
  const TemporaryFolder folder;
  const auto            model = Model(folder);
  const auto            image = Region();
  auto                  reference = oblique::Make<MapType>(50, 60, 29);
  auto                  direction = reference->GetDirection();
  reference->SetDirection(direction * direction);

  const auto whole = Explaining(model, image, 0);
  whole->SetReferenceImage(reference);
  whole->Update();
  const auto filter = Explaining(model, image, 0);
  filter->SetReferenceImage(reference);
  const auto streamer = itk::StreamingImageFilter<ImageType, ImageType>::New();
  streamer->SetInput(filter->GetOutput());
  streamer->SetNumberOfStreamDivisions(7);
  streamer->Update();
  EXPECT_LT(filter->GetOutput()->GetBufferedRegion().GetSize(2), 29U);
  EXPECT_TRUE(oblique::SameVoxels<ImageType>(streamer->GetOutput(), whole->GetOutput()));
  EXPECT_GT(Magnitude(whole->GetOutput()), 0.0F);
}

TEST(GuidedBackpropagationImageFilter, OneRunGivesWhatManyGive)
{
  const TemporaryFolder        folder;
  const auto                   model = Model(folder);
  const auto                   image = Region();
  itk::TorchExplanationRequest all;
  all.Layers = { "res3", "res4" };
  all.Classes = { 0, 1 };
  all.GuidedBackpropagation = true;
  const auto together = std::make_shared<const itk::TorchExplanation>(model->Explain(ViewOf(image), all));
  ASSERT_EQ(together->GradCAM.size(), 4U);
  ASSERT_EQ(together->Guided.size(), 2U);

  for (unsigned int label = 0; label < 2; ++label)
  {
    itk::TorchExplanationRequest one;
    one.Layers = { "res4" };
    one.Classes = { label };
    const auto alone = model->Explain(ViewOf(image), one);
    EXPECT_EQ(alone.GradCAM[0].Map.Buffer, together->GradCAM[2 + label].Map.Buffer);

    const auto drawn = FilterType::New();
    drawn->SetInput(image);
    drawn->SetExplanation(together);
    drawn->SetClassToExplain(label);
    drawn->Update();
    const auto alike = Explaining(model, image, label);
    alike->Update();
    EXPECT_TRUE(oblique::SameVoxels<ImageType>(drawn->GetOutput(), alike->GetOutput()));
  }
  EXPECT_NE(together->Guided[0].Map.Buffer, together->Guided[1].Map.Buffer);
}

TEST(GuidedBackpropagationImageFilter, ExplainsTheSameOnCuda)
{
  const TemporaryFolder folder;
  const auto            model = Model(folder);
  const auto            onDevice = itk::TorchModel::New();
  onDevice->SetPath(model->GetPath());
  onDevice->SetDevice("cuda");
  try
  {
    onDevice->Load();
  }
  catch (const itk::ExceptionObject & error)
  {
    ASSERT_NE(std::string(error.GetDescription()).find("CUDA devices. Use cpu"), std::string::npos) << error;
    GTEST_SKIP() << "No CUDA device is here";
  }
  EXPECT_TRUE(onDevice->VerifyGoldenPair());
  const auto                   image = Region();
  itk::TorchExplanationRequest all;
  all.Layers = { "res3", "res4" };
  all.Classes = { 0, 1 };
  all.GuidedBackpropagation = true;
  const auto expected = model->Explain(ViewOf(image), all);
  const auto given = onDevice->Explain(ViewOf(image), all);
  ASSERT_EQ(given.GradCAM.size(), 4U);
  ASSERT_EQ(given.Guided.size(), 2U);
  EXPECT_EQ(given.ExecutedReLUs, expected.ExecutedReLUs);
  // Of the root mean square of a map.
  const auto difference = [](const std::vector<float> & a, const std::vector<float> & b) {
    double square = 0.0;
    double error = 0.0;
    EXPECT_EQ(a.size(), b.size());
    for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i)
    {
      square += static_cast<double>(b[i]) * b[i];
      error += (static_cast<double>(a[i]) - b[i]) * (static_cast<double>(a[i]) - b[i]);
    }
    return error > 0.0 ? std::sqrt(error / square) : 0.0;
  };
  for (std::size_t i = 0; i < 4; ++i)
  {
    EXPECT_EQ(given.GradCAM[i].HasPositiveCell, expected.GradCAM[i].HasPositiveCell);
    EXPECT_LT(difference(given.GradCAM[i].Map.Buffer, expected.GradCAM[i].Map.Buffer), 1e-3);
  }
  for (std::size_t i = 0; i < 2; ++i)
  {
    EXPECT_NEAR(given.Logits[i], expected.Logits[i], 1e-4);
    EXPECT_LT(difference(given.Guided[i].Map.Buffer, expected.Guided[i].Map.Buffer), 1e-2);
  }
}

TEST(GuidedBackpropagationImageFilter, ThreadsDoNotDisturbEachOther)
{
  const TemporaryFolder folder;
  const auto            model = Model(folder);
  const auto            image = Region();
  const auto            guidedAlone = Explaining(model, image, 1);
  guidedAlone->Update();
  using CAMType = itk::GradCAMImageFilter<ImageType>;
  const auto explainCAM = [&] {
    auto cam = CAMType::New();
    cam->SetModel(model);
    cam->SetInput(image);
    cam->AddLayerName("stem"); // its gradient passes eleven of the twelve ReLUs
    cam->SetClassToExplain(1);
    return cam;
  };
  const auto camAlone = explainCAM();
  camAlone->Update();

  for (unsigned int repetition = 0; repetition < 3; ++repetition)
  {
    const auto               guided = Explaining(model, image, 1);
    const auto               cam = explainCAM();
    std::vector<std::string> errors(2);
    const auto               run = [&errors](unsigned int slot, itk::ProcessObject * filter) {
      try
      {
        filter->Update();
      }
      catch (const std::exception & error)
      {
        errors[slot] = error.what();
      }
    };
    std::thread first(run, 0, guided.GetPointer());
    std::thread second(run, 1, cam.GetPointer());
    first.join();
    second.join();
    ASSERT_EQ(errors[0] + errors[1], "");
    EXPECT_TRUE(oblique::SameVoxels<ImageType>(guided->GetOutput(), guidedAlone->GetOutput()));
    EXPECT_TRUE(oblique::SameVoxels<MapType>(cam->GetOutput(), camAlone->GetOutput()));
  }
}

TEST(GuidedBackpropagationImageFilter, RefusesAnExplanationOfAnotherRegion)
{
  const TemporaryFolder folder;
  const auto            model = Model(folder);
  const auto            image = Region();
  const auto            filter = Explaining(model, image, 1);
  EXPECT_TRUE(filter->GetOtherActivations().empty());
  filter->Update();
  const auto drawn = FilterType::New();
  drawn->SetInput(oblique::Make<ImageType>(72, 72, 72, 4));
  drawn->SetExplanation(filter->GetExplanation());
  drawn->SetClassToExplain(1);
  EXPECT_THROW(drawn->Update(), itk::ExceptionObject);
}
