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
#include "itkGradeClassifierFilter.h"

#include "ErrorMessages.h"
#include "ObliqueImage.h"
#include "SeededBundles.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace
{
using ImageType = itk::VectorImage<float, 3>;
using FilterType = itk::GradeClassifierFilter<ImageType>;

ImageType::Pointer
Region(unsigned int nx = 72, unsigned int ny = 72, unsigned int nz = 72, unsigned int components = 4)
{
  auto image = oblique::Make<ImageType>(nx, ny, nz, components);
  oblique::FillWithNoise(image.GetPointer());
  return image;
}

} // namespace

TEST(GradeClassifierFilter, GivesTheModelsLogitsAndTheirSoftmax)
{
  const TemporaryFolder folder;
  const auto            model = LoadSeeded(folder / "bundle", TinyGradingManifest());
  const auto            image = Region();
  const auto            filter = FilterType::New();
  filter->SetInput(image);
  filter->SetModel(model);
  filter->Update();

  itk::TorchVolumeView view;
  view.Buffer = image->GetBufferPointer();
  view.Components = 4;
  view.RegionSize = image->GetLargestPossibleRegion().GetSize();
  const std::vector<double> logits = model->ComputeLogits(view, filter->GetNumberOfWorkUnits());
  ASSERT_EQ(filter->GetLogits().size(), 2U);
  EXPECT_EQ(filter->GetLogits()[0], logits[0]);
  EXPECT_EQ(filter->GetLogits()[1], logits[1]);
  EXPECT_NE(logits[0], logits[1]);
  EXPECT_NEAR(filter->GetProbabilities()[1], 1.0 / (1.0 + std::exp(logits[0] - logits[1])), 1e-12);
  EXPECT_NEAR(filter->GetProbabilities()[0] + filter->GetProbabilities()[1], 1.0, 1e-12);
  const unsigned long grade = logits[1] > logits[0] ? 1 : 0;
  EXPECT_EQ(filter->GetGrade(), grade);
  EXPECT_EQ(filter->GetGradeName(), grade == 1 ? "HGG" : "LGG");

  // A model of other weights is another grade: the model is part of what the filter depends on.
  filter->SetModel(LoadSeeded(folder / "other", TinyGradingManifest(), 2));
  filter->Update();
  EXPECT_NE(filter->GetLogits()[0], logits[0]);
}

TEST(GradeClassifierFilter, CanBeEndedBetweenTheLayers)
{
  const TemporaryFolder folder;
  const auto            model = LoadSeeded(folder / "bundle", TinyGradingManifest());
  const auto            image = Region();
  itk::TorchVolumeView  view;
  view.Buffer = image->GetBufferPointer();
  view.Components = 4;
  view.RegionSize = image->GetLargestPossibleRegion().GetSize();
  unsigned int calls = 0;
  const auto   stop = [&calls] {
    if (++calls == 3)
    {
      throw itk::ProcessAborted(__FILE__, __LINE__);
    }
  };
  EXPECT_THROW(model->ComputeLogits(view, 0, stop), itk::ProcessAborted);
  EXPECT_EQ(calls, 3U);
}

TEST(GradeClassifierFilter, DividesTheLogitsByTheManifestsTemperature)
{
  const TemporaryFolder   folder;
  itk::TorchModelManifest manifest = TinyGradingManifest();
  const auto              plain = LoadSeeded(folder / "plain", manifest);
  manifest.Temperature = 2.5;
  const auto calibrated = LoadSeeded(folder / "calibrated", manifest);
  EXPECT_EQ(calibrated->GetManifest().Temperature, 2.5);
  const auto filter = FilterType::New();
  filter->SetInput(Region());
  filter->SetModel(plain);
  filter->Update();
  const FilterType::ArrayType logits = filter->GetLogits();
  filter->SetModel(calibrated);
  filter->Update();
  EXPECT_EQ(filter->GetLogits(), logits);
  EXPECT_NEAR(filter->GetProbabilities()[1], 1.0 / (1.0 + std::exp((logits[0] - logits[1]) / 2.5)), 1e-12);
}

TEST(GradeClassifierFilter, ReadsAnyPixelTypeAndAnUpstream)
{
  using DoubleType = itk::VectorImage<double, 3>;
  const TemporaryFolder folder;
  const auto            model = LoadSeeded(folder / "bundle", TinyGradingManifest());
  const auto            image = Region();
  const auto            filter = FilterType::New();
  const auto            source = oblique::MakeSource(image.GetPointer());
  filter->SetInput(source->GetOutput());
  filter->SetModel(model);
  filter->Update();

  const auto cast = itk::CastImageFilter<ImageType, DoubleType>::New();
  cast->SetInput(image);
  const auto other = itk::GradeClassifierFilter<DoubleType>::New();
  other->SetInput(cast->GetOutput());
  other->SetModel(model);
  other->GetGradeNameOutput(); // any output can be asked for
  other->Update();
  EXPECT_EQ(filter->GetLogits()[0], other->GetLogits()[0]);
  EXPECT_EQ(filter->GetLogits()[1], other->GetLogits()[1]);
}

TEST(GradeClassifierFilter, EnforcesTheManifest)
{
  const TemporaryFolder folder;
  const auto            filter = FilterType::New();
  EXPECT_CONTAINS(MessageOf(filter), "Region is required");
  filter->SetInput(Region());
  EXPECT_CONTAINS(MessageOf(filter), "SetModel");
  const auto unloaded = itk::TorchModel::New();
  filter->SetModel(unloaded);
  EXPECT_CONTAINS(MessageOf(filter), "loaded");
  filter->SetModel(LoadSeeded(folder / "segmentation", TinySegmentationManifest()));
  EXPECT_CONTAINS(MessageOf(filter), "grading");

  auto manifest = TinyGradingManifest();
  filter->SetModel(LoadSeeded(folder / "bundle", manifest));
  filter->SetInput(Region(72, 72, 72, 3));
  EXPECT_CONTAINS(MessageOf(filter), "3 components");
  filter->SetInput(Region(72, 80, 72));
  EXPECT_CONTAINS(MessageOf(filter), "SetOutputSize(72)");

  auto  image = Region();
  float value = std::numeric_limits<float>::infinity();
  image->GetBufferPointer()[4 * 72 * 72 * 30 + 2] = value;
  filter->SetInput(image);
  EXPECT_CONTAINS(MessageOf(filter), "Component 2 of the region's voxel 0, 0, 30 is inf");

  manifest.OutputSize = 0;
  manifest.Spacing = { { 0.9, 1.1, 1.0 } };
  filter->SetModel(LoadSeeded(folder / "spacing", manifest));
  filter->SetInput(Region());
  EXPECT_CONTAINS(MessageOf(filter), "1 mm on axis 2");
  manifest.Spacing = { { 0.9, 1.1, 2.5 } };
  manifest.Orientation = "RAS";
  filter->SetModel(LoadSeeded(folder / "orientation", manifest));
  EXPECT_CONTAINS(MessageOf(filter), "LPS");
  manifest.Orientation = "LPS";
  filter->SetModel(LoadSeeded(folder / "fits", manifest));
  EXPECT_EQ(MessageOf(filter), "");
  // Two axes are nearest to feet-head: the nearer one takes it, as in ModelSpaceFilter.
  image = Region();
  image->SetDirection(oblique::Direction(0.7, 0.87));
  filter->SetInput(image);
  manifest.Orientation = "LSA";
  filter->SetModel(LoadSeeded(folder / "askew", manifest));
  EXPECT_EQ(MessageOf(filter), "");
}
