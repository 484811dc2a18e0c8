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
#include "itkGradCAMImageFilter.h"

#include "ErrorMessages.h"
#include "ObliqueImage.h"
#include "ProceduralImageSource.h"
#include "SeededBundles.h"

#include "itkBoundingBoxROIFilter.h"
#include "itkImageRegionConstIteratorWithIndex.h"
#include "itkLinearInterpolateImageFunction.h"
#include "itkPipelineMonitorImageFilter.h"
#include "itkStreamingImageFilter.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <set>

namespace
{
using ImageType = itk::VectorImage<float, 3>;
using MapType = itk::Image<float, 3>;
using FilterType = itk::GradCAMImageFilter<ImageType, MapType>;

/** A region of 72 x 80 x 88 voxels: res3 has 10 x 12 x 14 cells, res4 has 1 x 2 x 3. */
ImageType::Pointer
Region()
{
  auto image = oblique::Make<ImageType>(72, 80, 88, 4);
  oblique::FillWithNoise(image.GetPointer());
  return image;
}

itk::TorchModel::Pointer
Model(const TemporaryFolder & folder)
{
  return LoadSeeded(folder / "bundle", TinyGradingManifest(4, 0), 3);
}

/** A class that both layers have something to say on; the seed is chosen so. */
unsigned int
SpeakingClass(const itk::TorchModel * model, const ImageType * image)
{
  itk::TorchVolumeView view;
  view.Buffer = image->GetBufferPointer();
  view.Components = 4;
  view.RegionSize = image->GetLargestPossibleRegion().GetSize();
  itk::TorchExplanationRequest request;
  request.Layers = { "res3", "res4" };
  request.Classes = { 0, 1 };
  const itk::TorchExplanation explanation = model->Explain(view, request);
  for (unsigned int label = 0; label < 2; ++label)
  {
    if (explanation.GradCAM[label].HasPositiveCell && explanation.GradCAM[2 + label].HasPositiveCell)
    {
      return label;
    }
  }
  ADD_FAILURE() << "the seeded weights give empty maps";
  return 0;
}

FilterType::Pointer
Explaining(const itk::TorchModel * model, const ImageType * image, unsigned int label)
{
  auto filter = FilterType::New();
  filter->SetModel(model);
  filter->SetInput(image);
  filter->AddLayerName("res3");
  filter->AddLayerName("res4");
  filter->SetClassToExplain(label);
  return filter;
}

/** Another oblique grid that reaches beyond the region on some sides. */
MapType::Pointer
Reference()
{
  auto         reference = oblique::Make<MapType>(41, 37, 43);
  const double spacing[3] = { 1.7, 2.3, 4.9 };
  reference->SetSpacing(spacing);
  auto direction = reference->GetDirection();
  direction = direction * direction;
  reference->SetDirection(direction);
  return reference;
}

double
Largest(const MapType * image)
{
  const auto * begin = image->GetBufferPointer();
  return *std::max_element(begin, begin + image->GetBufferedRegion().GetNumberOfPixels());
}

} // namespace

TEST(GradCAMImageFilter, MapsLieOnTheirCells)
{
  const TemporaryFolder folder;
  const auto            model = Model(folder);
  const auto            image = Region();
  const auto            label = SpeakingClass(model, image);
  const auto            filter = Explaining(model, image, label);
  filter->UpdateOutputInformation();
  filter->GetOutput(1)->Update(); // any output gives all
  const auto explanation = filter->GetExplanation();

  const MapType::SizeType sizes[2] = { { { 10, 12, 14 } }, { { 1, 2, 3 } } };
  const double            offsets[2] = { 17.5, 35.5 };
  const double            steps[2] = { 4.0, 8.0 };
  const char * const      names[2] = { "res3", "res4" };
  for (unsigned int layer = 0; layer < 2; ++layer)
  {
    const MapType * map = filter->GetMap(names[layer]);
    ASSERT_EQ(map, filter->GetOutput(layer));
    EXPECT_EQ(map->GetBufferedRegion().GetSize(), sizes[layer]);
    EXPECT_EQ(map->GetLargestPossibleRegion(), map->GetBufferedRegion());
    EXPECT_EQ(map->GetDirection(), image->GetDirection());
    itk::ContinuousIndex<double, 3> first;
    for (unsigned int axis = 0; axis < 3; ++axis)
    {
      EXPECT_NEAR(map->GetSpacing()[axis], steps[layer] * image->GetSpacing()[axis], 1e-12);
      first[axis] = static_cast<double>(image->GetLargestPossibleRegion().GetIndex(axis)) + offsets[layer];
    }
    MapType::PointType point;
    image->TransformContinuousIndexToPhysicalPoint(first, point);
    EXPECT_LT(point.EuclideanDistanceTo(map->GetOrigin()), 1e-9);
    EXPECT_EQ(oblique::Scanner(map), "phantom");

    const itk::TorchGradCAM & cam = explanation->GradCAM[layer];
    EXPECT_TRUE(std::equal(cam.Map.Buffer.begin(), cam.Map.Buffer.end(), map->GetBufferPointer()));
    EXPECT_GT(Largest(map), 0.0);
    EXPECT_EQ(filter->GetHasPositiveCell()[layer], 1.0);

    const auto * support = filter->GetSupport(layer);
    EXPECT_EQ(support->GetBufferedRegion(), map->GetBufferedRegion());
    EXPECT_EQ(support->GetOrigin(), map->GetOrigin());
    EXPECT_EQ(support->GetPixel({ { 0, 1, 2 } }), 1);
  }
  EXPECT_EQ(filter->GetExplainedClass(), label);
  EXPECT_EQ(filter->GetExecutedReLUs(), 12UL);
  EXPECT_EQ(filter->GetLogits()[1], explanation->Logits[1]);
  const unsigned long predicted = explanation->Logits[1] > explanation->Logits[0] ? 1 : 0;
  EXPECT_EQ(filter->GetPredictedClass(), predicted);

  filter->UsePredictedClassOn();
  filter->Update();
  EXPECT_EQ(filter->GetExplainedClass(), predicted);
}

TEST(GradCAMImageFilter, ResamplesLinearlyInsideTheCellsExtent)
{
  const TemporaryFolder folder;
  const auto            model = Model(folder);
  const auto            image = Region();
  const auto            label = SpeakingClass(model, image);
  const auto            onCells = Explaining(model, image, label);
  onCells->Update();
  const auto resampled = Explaining(model, image, label);
  resampled->SetReferenceImage(Reference());
  resampled->Update();

  for (unsigned int layer = 0; layer < 2; ++layer)
  {
    const MapType *    map = resampled->GetOutput(layer);
    const MapType *    cells = onCells->GetOutput(layer);
    const auto         interpolator = itk::LinearInterpolateImageFunction<MapType, double>::New();
    const double       scale = Largest(cells);
    itk::SizeValueType inside = 0;
    itk::SizeValueType outside = 0;
    interpolator->SetInputImage(cells);
    EXPECT_EQ(map->GetBufferedRegion(), Reference()->GetLargestPossibleRegion());
    EXPECT_EQ(map->GetDirection(), Reference()->GetDirection());
    EXPECT_EQ(oblique::Scanner(map), "phantom");
    itk::ImageRegionConstIteratorWithIndex<MapType> it(map, map->GetBufferedRegion());
    for (; !it.IsAtEnd(); ++it)
    {
      MapType::PointType point;
      map->TransformIndexToPhysicalPoint(it.GetIndex(), point);
      if (interpolator->IsInsideBuffer(point))
      {
        ++inside;
        ASSERT_NEAR(it.Get(), interpolator->Evaluate(point), 1e-5 * scale) << it.GetIndex();
        ASSERT_EQ(resampled->GetSupport(layer)->GetPixel(it.GetIndex()), 1);
      }
      else
      {
        ++outside;
        ASSERT_EQ(it.Get(), 0.0F);
        ASSERT_EQ(resampled->GetSupport(layer)->GetPixel(it.GetIndex()), 0);
      }
    }
    EXPECT_GT(inside, 20U);
    EXPECT_GT(outside, 1000U);
  }
}

TEST(GradCAMImageFilter, StreamsResampledMapsWithTheSameBits)
{
  const TemporaryFolder folder;
  const auto            model = Model(folder);
  const auto            image = Region();
  const auto            label = SpeakingClass(model, image);
  const auto            whole = Explaining(model, image, label);
  whole->SetReferenceImage(Reference());
  whole->Update();

  const auto filter = Explaining(model, image, label);
  filter->SetReferenceImage(Reference());
  const auto monitor = itk::PipelineMonitorImageFilter<MapType>::New();
  monitor->SetInput(filter->GetOutput(1));
  const auto streamer = itk::StreamingImageFilter<MapType, MapType>::New();
  streamer->SetInput(monitor->GetOutput());
  streamer->SetNumberOfStreamDivisions(7);
  const auto first = [&] {
    streamer->Update();
    return filter->GetExplanation();
  }();
  EXPECT_TRUE(monitor->VerifyInputFilterExecutedStreaming(7));
  EXPECT_TRUE(oblique::SameVoxels<MapType>(streamer->GetOutput(), whole->GetOutput(1)));
  EXPECT_GT(Largest(streamer->GetOutput()), 0.0);

  // Another grid is drawn from the same explanation, another class from another one.
  const auto reference = Reference();
  reference->SetSpacing(image->GetSpacing());
  filter->SetReferenceImage(reference);
  streamer->Update();
  EXPECT_EQ(filter->GetExplanation(), first);
  filter->SetClassToExplain(1 - label);
  streamer->Update();
  EXPECT_NE(filter->GetExplanation(), first);

  // And a changed voxel is another explanation.
  const auto second = filter->GetExplanation();
  image->GetBufferPointer()[4 * (72 * (80 * 44 + 40) + 36)] = 30.0F;
  image->Modified();
  streamer->Update();
  EXPECT_NE(filter->GetExplanation(), second);
  EXPECT_NE(filter->GetExplanation()->Logits[0], second->Logits[0]);
}

// A region that is released after each piece is made again, the same: it is no other region.
TEST(GradCAMImageFilter, ExplainsAReleasedRegionOnce)
{
  using MaskType = itk::Image<unsigned char, 3>;
  const TemporaryFolder folder;
  const auto            image = oblique::Make<ImageType>(30, 28, 26, 4);
  const auto            mask = oblique::Make<MaskType>(30, 28, 26);
  oblique::FillWithNoise(image.GetPointer());
  mask->FillBuffer(1);
  const auto region = itk::BoundingBoxROIFilter<ImageType, MaskType>::New();
  region->SetInput(image);
  region->SetMaskImage(mask);
  region->SetOutputSize(72);
  region->GetOutput()->ReleaseDataFlagOn();
  const auto filter = FilterType::New();
  filter->SetModel(Model(folder));
  filter->SetInput(region->GetOutput());
  filter->AddLayerName("res3");
  filter->SetReferenceImage(Reference());
  std::set<FilterType::ExplanationPointer> explanations;
  unsigned int                             pieces = 0;
  filter->AddObserver(itk::EndEvent(), [&](const itk::EventObject &) {
    ++pieces;
    explanations.insert(filter->GetExplanation());
  });
  const auto streamer = itk::StreamingImageFilter<MapType, MapType>::New();
  streamer->SetInput(filter->GetOutput());
  streamer->SetNumberOfStreamDivisions(8);
  streamer->Update();
  EXPECT_EQ(pieces, 8U);
  EXPECT_EQ(explanations.size(), 1U);

  // Another region is.
  region->SetMargin(3);
  streamer->Update();
  EXPECT_EQ(explanations.size(), 2U);
  image->GetBufferPointer()[4 * (30 * (28 * 13 + 14) + 15)] = 30.0F;
  image->Modified();
  streamer->Update();
  EXPECT_EQ(explanations.size(), 3U);
}

TEST(GradCAMImageFilter, FollowsAReferenceOfAnotherSize)
{
  const auto            reference = ProceduralImageSource<MapType>::New();
  const TemporaryFolder folder;
  const auto            filter = FilterType::New();
  filter->SetModel(Model(folder));
  filter->SetInput(Region());
  filter->AddLayerName("res3");
  filter->SetReferenceImage(reference->GetOutput());
  ExpectFollowsSizeOf(reference.GetPointer(), filter.GetPointer());
}

// The gradient of a probability p of two classes is p (1 - p) / T times the one of the difference of the logits, which
// the temperature T does not change.
TEST(GradCAMImageFilter, ExplainsTheCalibratedProbability)
{
  const TemporaryFolder   folder;
  const auto              image = Region();
  itk::TorchModelManifest manifest = TinyGradingManifest(4, 0);
  const double            temperatures[2] = { 1.0, 2.5 };
  std::vector<float>      maps[2];
  double                  factors[2];
  for (unsigned int k = 0; k < 2; ++k)
  {
    manifest.Temperature = temperatures[k];
    const auto   model = LoadSeeded(folder / std::to_string(k), manifest, 3);
    unsigned int label = 0;
    for (; label < 2; ++label)
    {
      const auto filter = Explaining(model, image, label);
      filter->ExplainProbabilityOn();
      filter->Update();
      const FilterType & constant = *filter;
      const MapType *    map = constant.GetMap("res3");
      if (constant.GetHasPositiveCell()[0] == 0.0)
      {
        continue;
      }
      const double logits[2] = { filter->GetLogits()[0], filter->GetLogits()[1] };
      const double p = 1.0 / (1.0 + std::exp((logits[1 - label] - logits[label]) / temperatures[k]));
      EXPECT_NEAR(filter->GetProbabilities()[label], p, 1e-12);
      factors[k] = p * (1.0 - p) / temperatures[k];
      maps[k].assign(map->GetBufferPointer(), map->GetBufferPointer() + map->GetBufferedRegion().GetNumberOfPixels());
      break;
    }
    ASSERT_LT(label, 2U) << "the seeded weights give empty maps";
  }
  ASSERT_EQ(maps[0].size(), maps[1].size());
  const double largest = *std::max_element(maps[0].begin(), maps[0].end());
  for (std::size_t i = 0; i < maps[0].size(); ++i)
  {
    // float arithmetic in the network's backward
    ASSERT_NEAR(maps[1][i] / factors[1], maps[0][i] / factors[0], 1e-4 * largest / factors[0]) << i;
  }
}

TEST(GradCAMImageFilter, DrawsAnExplanationThatExists)
{
  const TemporaryFolder folder;
  const auto            model = Model(folder);
  const auto            image = Region();
  const auto            label = SpeakingClass(model, image);
  const auto            filter = Explaining(model, image, label);
  filter->Update();

  const auto drawn = FilterType::New();
  drawn->SetInput(image);
  drawn->AddLayerName("res4");
  drawn->SetClassToExplain(label);
  drawn->SetExplanation(filter->GetExplanation());
  drawn->Update();
  EXPECT_TRUE(oblique::SameVoxels<MapType>(drawn->GetOutput(), filter->GetOutput(1)));
  EXPECT_EQ(drawn->GetOutput()->GetOrigin(), filter->GetOutput(1)->GetOrigin());

  drawn->SetClassToExplain(1 - label);
  EXPECT_CONTAINS(MessageOf([&] { drawn->Update(); }), "no GradCAM of layer 'res4'");
  drawn->SetClassToExplain(label);
  auto smaller = oblique::Make<ImageType>(32, 32, 32, 4);
  drawn->SetInput(smaller);
  EXPECT_CONTAINS(MessageOf([&] { drawn->Update(); }), "do not lie on the region");
}

TEST(GradCAMImageFilter, NamesWhatIsWrong)
{
  const TemporaryFolder folder;
  const auto            model = Model(folder);
  const auto            image = Region();
  const auto            filter = FilterType::New();
  filter->SetInput(image);
  filter->AddLayerName("res3");
  EXPECT_CONTAINS(MessageOf([&] { filter->Update(); }), "SetModel");
  filter->SetModel(model);
  EXPECT_CONTAINS(MessageOf([&] { filter->AddLayerName("res3"); }), "there already");
  filter->ClearLayerNames();
  EXPECT_CONTAINS(MessageOf([&] { filter->Update(); }), "AddLayerName");
  EXPECT_CONTAINS(MessageOf([&] { filter->SetLayerNames({ "res4", "res3", "res4" }); }), "named twice");
  EXPECT_TRUE(filter->GetLayerNames().empty());
  filter->SetLayerNames({ "res4", "res3" });
  EXPECT_EQ(filter->GetNumberOfIndexedOutputs(), 2u);
  EXPECT_EQ(filter->GetMap("res3"), filter->GetOutput(1));
  filter->SetLayerNames({ "res3" });
  EXPECT_EQ(filter->GetNumberOfIndexedOutputs(), 1u);
  filter->ClearLayerNames();
  filter->AddLayerName("res9");
  EXPECT_CONTAINS(MessageOf([&] { filter->Update(); }), "res9");
  filter->ClearLayerNames();
  filter->AddLayerName("res4");
  filter->SetClassToExplain(7);
  EXPECT_CONTAINS(MessageOf([&] { filter->Update(); }), "Class 7");
  filter->UsePredictedClassOn();
  EXPECT_EQ(MessageOf([&] { filter->Update(); }), "");

  image->GetBufferPointer()[5] = std::numeric_limits<float>::quiet_NaN();
  image->Modified();
  EXPECT_CONTAINS(MessageOf([&] { filter->Update(); }), "finite");
  filter->SetInput(oblique::Make<ImageType>(72, 80, 88, 2));
  EXPECT_CONTAINS(MessageOf([&] { filter->Update(); }), "2 components");
}

// Without a reference image the model runs while the output's information is asked for.
TEST(GradCAMImageFilter, RunsAgainAfterAnAbort)
{
  const TemporaryFolder folder;
  const auto            model = Model(folder);
  const auto            filter = FilterType::New();
  filter->SetInput(Region());
  filter->SetModel(model);
  filter->AddLayerName("res3");
  const auto abort =
    filter->AddObserver(itk::ProgressEvent(), [&](const itk::EventObject &) { filter->AbortGenerateDataOn(); });
  unsigned int aborts = 0;
  filter->AddObserver(itk::AbortEvent(), [&](const itk::EventObject &) { ++aborts; });
  EXPECT_THROW(filter->Update(), itk::ProcessAborted);
  EXPECT_EQ(aborts, 1U);
  filter->RemoveObserver(abort);
  EXPECT_EQ(MessageOf([&] { filter->Update(); }), "");
  EXPECT_EQ(filter->GetOutput()->GetBufferedRegion().GetNumberOfPixels(), 10U * 12U * 14U);
}
