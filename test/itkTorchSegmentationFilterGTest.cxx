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
#include "ErrorMessages.h"
#include "ObliqueImage.h"
#include "ProceduralImageSource.h"
#include "RealTestData.h"
#include "SeededBundles.h"

#include "itkCommand.h"
#include "itkImageFileReader.h"
#include "itkPipelineMonitorImageFilter.h"
#include "itkImageRegionIteratorWithIndex.h"
#include "itkModelSpaceFilter.h"
#include "itkStreamingImageFilter.h"
#include "itkTorchSegmentationFilter.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>
#include <functional>
#include <limits>
#include <map>
#include <set>
#include <string>

namespace
{
using VectorImageType = itk::VectorImage<float, 3>;
using LabelImageType = itk::Image<unsigned char, 3>;
using FilterType = itk::TorchSegmentationFilter<>;
using itk::Index;
using itk::Size;

VectorImageType::Pointer
MakeInput(unsigned int x, unsigned int y, unsigned int z, unsigned int components = 4)
{
  auto image = oblique::Make<VectorImageType>(x, y, z, components);
  oblique::FillWithNoise(image.GetPointer());
  for (itk::SizeValueType k = 0; k < components * image->GetBufferedRegion().GetNumberOfPixels(); ++k)
  {
    image->GetBufferPointer()[k] = 4.0F * image->GetBufferPointer()[k] - 2.0F;
  }
  return image;
}

FilterType::Pointer
MakeFilter(const itk::TorchModel * model, const VectorImageType * input)
{
  auto filter = FilterType::New();
  filter->SetModel(model);
  filter->SetInput(input);
  filter->GenerateProbabilitiesOn();
  return filter;
}

/** A box of the image that may lie outside of it, as the model sees it. */
itk::TorchVolume
Box(const VectorImageType * image, std::array<long, 3> first, std::array<long, 3> size, std::vector<float> outside)
{
  const auto       components = image->GetNumberOfComponentsPerPixel();
  const auto       n = image->GetLargestPossibleRegion().GetSize();
  itk::TorchVolume box;
  box.Components = components;
  for (unsigned int axis = 0; axis < 3; ++axis)
  {
    box.RegionSize[axis] = static_cast<itk::SizeValueType>(size[axis]);
  }
  for (long z = first[2]; z < first[2] + size[2]; ++z)
  {
    for (long y = first[1]; y < first[1] + size[1]; ++y)
    {
      for (long x = first[0]; x < first[0] + size[0]; ++x)
      {
        const bool inside = x >= 0 && y >= 0 && z >= 0 && x < static_cast<long>(n[0]) && y < static_cast<long>(n[1]) &&
                            z < static_cast<long>(n[2]);
        for (unsigned int c = 0; c < components; ++c)
        {
          box.Buffer.push_back(
            inside
              ? image
                  ->GetBufferPointer()[((z * static_cast<long>(n[1]) + y) * static_cast<long>(n[0]) + x) * components +
                                       c]
              : outside[c]);
        }
      }
    }
  }
  return box;
}

itk::TorchVolume
Probabilities(const itk::TorchModel * model, const itk::TorchVolume & box)
{
  return model->ComputeProbabilities(itk::TorchVolumeView{ box.Buffer.data(), box.Components, box.RegionSize, 0, 0 });
}

/** The whole image in one forward of an unpadded L = 3 network: halo 22, step 4. */
itk::TorchVolume
OnePass(const itk::TorchModel * model, const VectorImageType * image, std::vector<float> outside = { 0, 0, 0, 0 })
{
  const auto          n = image->GetLargestPossibleRegion().GetSize();
  std::array<long, 3> size{};
  for (unsigned int axis = 0; axis < 3; ++axis)
  {
    size[axis] = (static_cast<long>(n[axis]) + 3) / 4 * 4 + 44;
  }
  return Probabilities(model, Box(image, { -22, -22, -22 }, size, std::move(outside)));
}

/** Largest difference of the probabilities; labels must be their largest. */
double
Difference(FilterType * filter, const itk::TorchVolume & truth)
{
  const auto * probabilities = filter->GetProbabilities();
  const auto   n = probabilities->GetBufferedRegion().GetSize();
  double       largest = 0.0;
  double       spread = 0.0;
  for (std::size_t z = 0; z < n[2]; ++z)
  {
    for (std::size_t y = 0; y < n[1]; ++y)
    {
      for (std::size_t x = 0; x < n[0]; ++x)
      {
        const std::size_t k = (z * n[1] + y) * n[0] + x;
        const std::size_t t = (z * truth.RegionSize[1] + y) * truth.RegionSize[0] + x;
        const float *     p = probabilities->GetBufferPointer() + 2 * k;
        for (unsigned int c = 0; c < 2; ++c)
        {
          largest = std::max(largest, std::abs(double{ p[c] } - truth.Buffer[2 * t + c]));
        }
        spread = std::max(spread, std::abs(double{ p[0] } - probabilities->GetBufferPointer()[0]));
        EXPECT_EQ(filter->GetOutput()->GetBufferPointer()[k], p[1] > p[0] ? 1 : 0);
      }
    }
  }
  EXPECT_GT(spread, 0.01) << "an output that says nothing";
  return largest;
}

itk::SmartPointer<VectorImageType>
StreamProbabilities(const FilterType * like, VectorImageType * image, unsigned int divisions)
{
  auto source = oblique::MakeSource(image);
  auto filter = MakeFilter(like->GetModel(), source->GetOutput());
  filter->SetTileSize(like->GetTileSize());
  filter->SetBlend(like->GetBlend());
  filter->SetSigmaScale(like->GetSigmaScale());
  filter->SetOverlap(like->GetOverlap());
  filter->SetBorder(like->GetBorder());
  auto streamed = itk::StreamingImageFilter<VectorImageType, VectorImageType>::New();
  streamed->SetInput(filter->GetProbabilities());
  streamed->SetNumberOfStreamDivisions(divisions);
  streamed->Update();
  return streamed->GetOutput();
}

// Peak of this process's memory on Linux.
class PeakMemory
{
public:
  static bool
  Reset()
  {
    std::ofstream file("/proc/self/clear_refs");
    return static_cast<bool>(file << "5" << std::flush);
  }
  static double
  Bytes()
  {
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);)
    {
      if (line.rfind("VmHWM:", 0) == 0)
      {
        return 1024.0 * std::stod(line.substr(6));
      }
    }
    return 0.0;
  }
};

class TorchSegmentationFilter : public ::testing::Test
{
protected:
  static void
  SetUpTestSuite()
  {
    s_Folder = std::make_unique<TemporaryFolder>();
    s_Model = LoadSeeded(*s_Folder / "unpadded", TinySegmentationManifest(2));
    s_Padded = LoadSeeded(*s_Folder / "padded", TinySegmentationManifest(2, 3, true));
    // Tests run beside one another.
    s_Model->SetNumberOfThreads(1);
    s_Padded->SetNumberOfThreads(1);
  }
  static void
  TearDownTestSuite()
  {
    s_Model = nullptr;
    s_Padded = nullptr;
    s_Folder.reset();
  }
  static std::unique_ptr<TemporaryFolder> s_Folder;
  static itk::TorchModel::Pointer         s_Model, s_Padded;
};
std::unique_ptr<TemporaryFolder> TorchSegmentationFilter::s_Folder;
itk::TorchModel::Pointer         TorchSegmentationFilter::s_Model;
itk::TorchModel::Pointer         TorchSegmentationFilter::s_Padded;
} // namespace

TEST_F(TorchSegmentationFilter, TilesGiveWhatOnePassGives)
{
  const auto input = MakeInput(44, 37, 29);
  const auto truth = OnePass(s_Model, input);
  auto       filter = MakeFilter(s_Model, input);
  filter->SetTileSize(Size<3>{ { 64, 64, 64 } });
  filter->Update();
  EXPECT_EQ(filter->GetNumberOfComputedTiles(), 3u * 2u * 2u);
  EXPECT_LT(Difference(filter, truth), 1e-5);
  filter->SetTileSize(Size<3>{ { 68, 84, 56 } });
  filter->Update();
  EXPECT_EQ(filter->GetNumberOfComputedTiles(), 2u * 1u * 3u);
  EXPECT_LT(Difference(filter, truth), 1e-5);
  // Chosen: the whole image where the memory lets it, more tiles where not.
  filter->SetTileSize(Size<3>{ { 0, 0, 0 } });
  filter->Update();
  EXPECT_EQ(filter->GetNumberOfComputedTiles(), 1u);
  EXPECT_LT(Difference(filter, truth), 1e-6);
  filter->SetTileMemory(12);
  filter->Update();
  EXPECT_GT(filter->GetNumberOfComputedTiles(), 1u);
  EXPECT_LT(Difference(filter, truth), 1e-5);
}

TEST_F(TorchSegmentationFilter, FourLevelsDropTheSurplusVoxels)
{
  // 104 voxels give 12, of which 8 are kept: starts stay on the pooling grid.
  const auto model = LoadSeeded(*s_Folder / "deep", TinySegmentationManifest(1, 4));
  const auto input = MakeInput(20, 8, 7);
  const auto truth = Probabilities(model, Box(input, { -46, -46, -46 }, { 120, 104, 104 }, { 0, 0, 0, 0 }));
  auto       filter = MakeFilter(model, input);
  filter->SetTileSize(Size<3>{ { 104, 104, 104 } });
  filter->Update();
  EXPECT_EQ(filter->GetNumberOfComputedTiles(), 3u);
  EXPECT_LT(Difference(filter, truth), 1e-5);
}

TEST_F(TorchSegmentationFilter, StreamsWithTheSameBits)
{
  const auto input = MakeInput(10, 11, 140);
  for (const auto & model : { s_Model, s_Padded })
  {
    const bool padded = model == s_Padded;
    auto       whole = MakeFilter(model, input);
    whole->SetTileSize(padded ? Size<3>{ { 16, 24, 16 } } : Size<3>{ { 56, 56, 64 } });
    whole->Update();
    auto again = MakeFilter(model, input);
    again->SetTileSize(whole->GetTileSize());
    again->Update();
    EXPECT_TRUE(oblique::SameVoxels(again->GetProbabilities(), whole->GetProbabilities()));
    for (const unsigned int divisions : { 1u, 7u })
    {
      auto source = oblique::MakeSource(input.GetPointer());
      auto monitor = itk::PipelineMonitorImageFilter<VectorImageType>::New();
      monitor->SetInput(source->GetOutput());
      auto filter = MakeFilter(model, monitor->GetOutput());
      filter->SetTileSize(whole->GetTileSize());
      auto labels = itk::StreamingImageFilter<LabelImageType, LabelImageType>::New();
      labels->SetInput(filter->GetOutput());
      labels->SetNumberOfStreamDivisions(divisions);
      labels->Update();
      EXPECT_TRUE(oblique::SameVoxels(labels->GetOutput(), whole->GetOutput()));
      // The last piece finds its input lying ready: it is a part of what the one before read.
      EXPECT_GE(monitor->GetNumberOfUpdates(), padded ? divisions / 2 : std::max(1u, divisions - 1));
      auto probabilities = itk::StreamingImageFilter<VectorImageType, VectorImageType>::New();
      probabilities->SetInput(filter->GetProbabilities());
      probabilities->SetNumberOfStreamDivisions(divisions);
      probabilities->Update();
      EXPECT_TRUE(oblique::SameVoxels(probabilities->GetOutput(), whole->GetProbabilities()));
      if (divisions > 1)
      {
        // Only the support of a piece was asked for: a tile of 20 voxels and the halo, or patches of 16 around 36.
        const auto asked = monitor->GetUpdatedBufferedRegions();
        for (const auto & region : asked)
        {
          EXPECT_LE(region.GetSize(2), padded ? 60u : 64u);
        }
      }
    }
  }
}

TEST_F(TorchSegmentationFilter, RepeatedRunsOfSeveralThreadsGiveTheSameBits)
{
  const auto input = MakeInput(40, 36, 60);
  for (const bool padded : { false, true })
  {
    for (const auto precision : { itk::TorchModel::Precision::Float32, itk::TorchModel::Precision::BFloat16 })
    {
      const std::string path = *s_Folder / "bits";
      itk::TorchModel::WriteSeededBundle(path, TinySegmentationManifest(8, 3, padded), 1);
      auto model = itk::TorchModel::New();
      model->SetPath(path);
      model->SetPrecision(precision);
      const std::string message = MessageOf([&] { model->Load(); });
      if (!message.empty())
      {
        EXPECT_CONTAINS(message, "no bfloat16 arithmetic");
        continue;
      }
      const auto make = [&] {
        auto filter = MakeFilter(model, input);
        filter->SetTileSize(padded ? Size<3>{ { 24, 36, 24 } } : Size<3>{ { 64, 80, 64 } });
        filter->GetMultiThreader()->SetMaximumNumberOfThreads(2);
        filter->SetNumberOfWorkUnits(2);
        return filter;
      };
      auto first = make();
      first->Update();
      auto again = make();
      again->Update();
      EXPECT_TRUE(oblique::SameVoxels(again->GetProbabilities(), first->GetProbabilities()));
      auto       streamed = itk::StreamingImageFilter<VectorImageType, VectorImageType>::New();
      const auto pieces = make();
      streamed->SetInput(pieces->GetProbabilities());
      streamed->SetNumberOfStreamDivisions(5);
      streamed->Update();
      EXPECT_TRUE(oblique::SameVoxels(streamed->GetOutput(), first->GetProbabilities()));
    }
  }
}

TEST_F(TorchSegmentationFilter, TilesOfAPatientGiveTheLabelsOfOnePass)
{
  using FloatImageType = itk::Image<float, 3>;
  const std::string                    folder = RealTestDataFolder() + "/BraTS2021_00014/BraTS2021_00014_";
  std::vector<FloatImageType::Pointer> sequences;
  for (const char * name : { "t1", "t1ce", "t2", "flair" })
  {
    if (!std::ifstream(folder + name + ".nii.gz"))
    {
      GTEST_SKIP() << "The real patients are not there: " << folder << name << ".nii.gz";
    }
    sequences.push_back(itk::ReadImage<FloatImageType>(folder + name + ".nii.gz"));
  }
  // Without padding, which alone makes tiles exact; random weights find both classes.
  const auto model = LoadSeeded(*s_Folder / "patient", TinySegmentationManifest(8));
  // The voxels of the brain's box as they are, standardized, on a grid that the model takes.
  const auto         whole = sequences.front()->GetLargestPossibleRegion();
  auto               lower = whole.GetUpperIndex();
  auto               upper = whole.GetIndex();
  itk::SizeValueType voxels = 0;
  const auto         isBrain = [&](const Index<3> & index) {
    return std::any_of(
      sequences.begin(), sequences.end(), [&index](const auto & image) { return image->GetPixel(index) != 0.0F; });
  };
  double sum[4] = {};
  double squares[4] = {};
  for (itk::ImageRegionConstIteratorWithIndex<FloatImageType> it(sequences.front(), whole); !it.IsAtEnd(); ++it)
  {
    const Index<3> index = it.GetIndex();
    if (!isBrain(index))
    {
      continue;
    }
    ++voxels;
    for (unsigned int axis = 0; axis < 3; ++axis)
    {
      lower[axis] = std::min(lower[axis], index[axis]);
      upper[axis] = std::max(upper[axis], index[axis]);
    }
    for (unsigned int c = 0; c < 4; ++c)
    {
      const double value = sequences[c]->GetPixel(index);
      sum[c] += value;
      squares[c] += value * value;
    }
  }
  VectorImageType::RegionType box;
  box.SetIndex(lower);
  box.SetUpperIndex(upper);
  auto image = VectorImageType::New();
  image->SetRegions(box);
  image->SetNumberOfComponentsPerPixel(4);
  image->SetSpacing(VectorImageType::SpacingType(2.0));
  image->Allocate();
  auto mask = LabelImageType::New();
  mask->CopyInformation(image);
  mask->SetRegions(box);
  mask->Allocate(true);
  float * to = image->GetBufferPointer();
  for (itk::ImageRegionIteratorWithIndex<LabelImageType> it(mask, box); !it.IsAtEnd(); ++it)
  {
    it.Set(isBrain(it.GetIndex()) ? 1 : 0);
    for (unsigned int c = 0; c < 4; ++c)
    {
      const double mean = sum[c] / static_cast<double>(voxels);
      const double deviation = std::sqrt(squares[c] / static_cast<double>(voxels) - mean * mean);
      *to++ = it.Get() ? static_cast<float>((sequences[c]->GetPixel(it.GetIndex()) - mean) / deviation) : 0.0F;
    }
  }
  auto filter = MakeFilter(model, image);
  filter->SetMaskImage(mask);
  filter->Update();
  ASSERT_EQ(filter->GetNumberOfComputedTiles(), 1u);
  auto tiled = MakeFilter(model, image);
  tiled->SetMaskImage(mask);
  tiled->SetTileSize(Size<3>{ { 112, 128, 96 } });
  tiled->Update();
  EXPECT_GT(tiled->GetNumberOfComputedTiles(), 8u);
  itk::SizeValueType differing = 0;
  itk::SizeValueType tumour = 0;
  float              largest = 0.0F;
  for (itk::SizeValueType k = 0; k < box.GetNumberOfPixels(); ++k)
  {
    tumour += filter->GetOutput()->GetBufferPointer()[k];
    differing += tiled->GetOutput()->GetBufferPointer()[k] != filter->GetOutput()->GetBufferPointer()[k];
    largest = std::max(largest,
                       std::abs(tiled->GetProbabilities()->GetBufferPointer()[2 * k] -
                                filter->GetProbabilities()->GetBufferPointer()[2 * k]));
  }
  EXPECT_GT(tumour, 1000u) << "an output that says nothing";
  EXPECT_LT(static_cast<double>(differing), 1e-6 * static_cast<double>(voxels));
  EXPECT_LT(largest, 1e-5F);
}

TEST_F(TorchSegmentationFilter, PiecesAreWholeTiles)
{
  const auto input = MakeInput(18, 21, 90);
  auto       filter = MakeFilter(s_Model, input);
  filter->SetTileSize(Size<3>{ { 64, 68, 64 } });
  filter->UpdateOutputInformation();
  const auto start = input->GetLargestPossibleRegion().GetIndex();
  filter->GetOutput()->SetRequestedRegion(
    LabelImageType::RegionType(Index<3>{ { start[0] + 3, start[1] + 4, start[2] + 45 } }, Size<3>{ { 2, 2, 2 } }));
  filter->GetOutput()->PropagateRequestedRegion();
  const auto region = filter->GetOutput()->GetRequestedRegion();
  EXPECT_EQ(region.GetIndex(2), start[2] + 40);
  EXPECT_EQ(region.GetSize(2), 20u);
  EXPECT_EQ(region.GetSize(0), 18u);
  EXPECT_EQ(input->GetRequestedRegion().GetIndex(2), start[2] + 18);
  EXPECT_EQ(input->GetRequestedRegion().GetSize(2), 64u);
}

TEST_F(TorchSegmentationFilter, OutsideTheMaskIsBackground)
{
  const auto input = MakeInput(44, 37, 29);
  auto       mask = oblique::Make<LabelImageType>(44, 37, 29);
  auto       all = MakeFilter(s_Model, input);
  all->SetTileSize(Size<3>{ { 64, 64, 64 } });
  all->Update();
  // Two of the twelve tiles.
  const auto start = mask->GetLargestPossibleRegion().GetIndex();
  for (long x = 15; x < 30; ++x)
  {
    mask->SetPixel(Index<3>{ { start[0] + x, start[1] + 25, start[2] + 3 } }, 7);
  }
  auto filter = MakeFilter(s_Model, input);
  filter->SetTileSize(Size<3>{ { 64, 64, 64 } });
  filter->SetMaskImage(mask);
  filter->Update();
  EXPECT_EQ(filter->GetNumberOfComputedTiles(), 2u);
  std::size_t inside = 0;
  for (std::size_t k = 0; k < mask->GetBufferedRegion().GetNumberOfPixels(); ++k)
  {
    const float * p = filter->GetProbabilities()->GetBufferPointer() + 2 * k;
    if (mask->GetBufferPointer()[k] != 0)
    {
      ++inside;
      EXPECT_EQ(p[0], all->GetProbabilities()->GetBufferPointer()[2 * k]);
      EXPECT_EQ(filter->GetOutput()->GetBufferPointer()[k], all->GetOutput()->GetBufferPointer()[k]);
    }
    else
    {
      ASSERT_EQ(p[0], 1.0F);
      ASSERT_EQ(p[1], 0.0F);
      ASSERT_EQ(filter->GetOutput()->GetBufferPointer()[k], 0);
    }
  }
  EXPECT_EQ(inside, 15u);
}

TEST_F(TorchSegmentationFilter, OutsideValuesSurroundTheImage)
{
  const auto input = MakeInput(12, 9, 8);
  auto       filter = MakeFilter(s_Model, input);
  filter->Update();
  const auto         zero = OnePass(s_Model, input);
  const auto         other = OnePass(s_Model, input, { -1.0F, 0.5F, 2.0F, -3.0F });
  itk::Array<double> values(4);
  EXPECT_LT(Difference(filter, zero), 1e-6);
  values[0] = -1.0;
  values[1] = 0.5;
  values[2] = 2.0;
  values[3] = -3.0;
  filter->SetOutsideValues(values);
  filter->Update();
  EXPECT_LT(Difference(filter, other), 1e-6);
  EXPECT_GT(Difference(filter, zero), 1e-3);
}

TEST_F(TorchSegmentationFilter, PaddedNetworksAreBlendedAsMonaiDoes)
{
  // Image 27 x 20 x 10, patch 16 x 20 x 16: starts 0, 11 (overlap 0.25) or 0, 8, 11 (0.5) | 0 | -3.
  using Blend = FilterType::BlendEnum;
  using Border = FilterType::BorderEnum;
  const struct
  {
    Blend             How;
    double            Sigma, Overlap;
    Border            Beyond;
    std::vector<long> Starts;
  } rows[] = { { Blend::Gaussian, 0.125, 0.25, Border::Constant, { 0, 11 } },
               { Blend::Gaussian, 0.25, 0.5, Border::Reflect, { 0, 8, 11 } },
               { Blend::Constant, 0.125, 0.25, Border::Replicate, { 0, 11 } },
               { Blend::Gaussian, 0.125, 0.25, Border::Circular, { 0, 11 } } };
  const auto input = MakeInput(27, 20, 10);
  // Where slice z of a patch that begins at -3 comes from, written out.
  const std::map<Border, std::vector<long>> slices = {
    { Border::Constant, { -1, -1, -1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, -1, -1, -1 } },
    { Border::Reflect, { 3, 2, 1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 8, 7, 6 } },
    { Border::Replicate, { 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 9 } },
    { Border::Circular, { 7, 8, 9, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2 } }
  };
  for (const auto & row : rows)
  {
    auto filter = MakeFilter(s_Padded, input);
    filter->SetTileSize(Size<3>{ { 16, 20, 16 } });
    filter->SetBlend(row.How);
    filter->SetSigmaScale(row.Sigma);
    filter->SetOverlap(row.Overlap);
    filter->SetBorder(row.Beyond);
    filter->Update();
    EXPECT_EQ(filter->GetNumberOfComputedTiles(), row.Starts.size());
    itk::TorchVolume truth;
    truth.Components = 2;
    truth.RegionSize = input->GetLargestPossibleRegion().GetSize();
    std::vector<double> sum(2 * 27 * 20 * 10, 0.0);
    std::vector<double> weight(27 * 20 * 10, 0.0);
    const auto          gaussian = [&row](long i, double n) {
      const double d = (static_cast<double>(i) - (n - 1.0) / 2.0) / (row.Sigma * n);
      return row.How == Blend::Gaussian ? std::exp(-0.5 * d * d) : 1.0;
    };
    const double floor = std::max(gaussian(0, 16) * gaussian(0, 20) * gaussian(0, 16), 1e-3);
    for (const long start : row.Starts)
    {
      itk::TorchVolume patch;
      for (const long z : slices.at(row.Beyond))
      {
        const auto slice = Box(input, { start, 0, z }, { 16, 20, 1 }, { 0, 0, 0, 0 });
        patch.Buffer.insert(patch.Buffer.end(), slice.Buffer.begin(), slice.Buffer.end());
      }
      const auto output =
        s_Padded->ComputeOutput(itk::TorchVolumeView{ patch.Buffer.data(), 4, Size<3>{ { 16, 20, 16 } }, 0, 0 });
      for (long z = 0; z < 10; ++z)
      {
        for (long y = 0; y < 20; ++y)
        {
          for (long x = 0; x < 16; ++x)
          {
            const double      w = std::max(gaussian(x, 16) * gaussian(y, 20) * gaussian(z + 3, 16), floor);
            const std::size_t to = static_cast<std::size_t>((z * 20 + y) * 27 + x + start);
            const std::size_t from = static_cast<std::size_t>(((z + 3) * 20 + y) * 16 + x);
            weight[to] += w;
            sum[2 * to] += w * output.Buffer[2 * from];
            sum[2 * to + 1] += w * output.Buffer[2 * from + 1];
          }
        }
      }
    }
    for (std::size_t k = 0; k < weight.size(); ++k)
    {
      const double second = 1.0 / (1.0 + std::exp((sum[2 * k] - sum[2 * k + 1]) / weight[k]));
      truth.Buffer.push_back(static_cast<float>(1.0 - second));
      truth.Buffer.push_back(static_cast<float>(second));
    }
    EXPECT_LT(Difference(filter, truth), 2e-6) << row.Beyond;
    // Pieces of a stream read what their border needs.
    const auto probabilities = StreamProbabilities(filter, input, 4);
    EXPECT_TRUE(oblique::SameVoxels(probabilities.GetPointer(), filter->GetProbabilities())) << row.Beyond;
  }
}

TEST_F(TorchSegmentationFilter, UnpaddedNetworksReadTheChosenBorder)
{
  // 22 voxels of halo around 9, 10 and 12: the mirror is passed more than once.
  const auto input = MakeInput(12, 10, 9);
  auto       filter = MakeFilter(s_Model, input);
  filter->SetBorder(FilterType::BorderEnum::Reflect);
  filter->Update();
  const auto folded = [](long i, long n) {
    while (i < 0 || i >= n)
    {
      i = i < 0 ? -i : 2 * n - 2 - i;
    }
    return i;
  };
  itk::TorchVolume box;
  box.Components = 4;
  box.RegionSize = Size<3>{ { 56, 56, 56 } };
  for (long z = 0; z < 56; ++z)
  {
    for (long y = 0; y < 56; ++y)
    {
      for (long x = 0; x < 56; ++x)
      {
        const auto voxel =
          Box(input, { folded(x - 22, 12), folded(y - 22, 10), folded(z - 22, 9) }, { 1, 1, 1 }, { 0, 0, 0, 0 });
        box.Buffer.insert(box.Buffer.end(), voxel.Buffer.begin(), voxel.Buffer.end());
      }
    }
  }
  EXPECT_LT(Difference(filter, Probabilities(s_Model, box)), 1e-6);
}

TEST_F(TorchSegmentationFilter, ThreadsChangeTheLastBitsOnly)
{
  const auto model = LoadSeeded(*s_Folder / "threads", TinySegmentationManifest(4));
  const auto input = MakeInput(44, 37, 29);
  auto       one = MakeFilter(model, input);
  one->SetTileSize(Size<3>{ { 64, 64, 64 } });
  one->SetNumberOfWorkUnits(1);
  one->Update();
  for (const unsigned int threads : { 2u, 3u })
  {
    auto several = MakeFilter(model, input);
    several->SetTileSize(one->GetTileSize());
    several->GetMultiThreader()->SetMaximumNumberOfThreads(threads);
    several->SetNumberOfWorkUnits(threads);
    several->Update();
    for (std::size_t k = 0; k < 2 * input->GetBufferedRegion().GetNumberOfPixels(); ++k)
    {
      ASSERT_NEAR(
        several->GetProbabilities()->GetBufferPointer()[k], one->GetProbabilities()->GetBufferPointer()[k], 1e-6);
    }
  }
}

TEST_F(TorchSegmentationFilter, OneOpenMPRuntimeIsMapped)
{
  MakeFilter(s_Model, MakeInput(12, 9, 8))->Update();
  std::ifstream         maps("/proc/self/maps");
  std::set<std::string> runtimes;
  for (std::string line; std::getline(maps, line);)
  {
    const auto slash = line.find_last_of('/');
    for (const char * name : { "libgomp", "libomp", "libiomp" })
    {
      if (slash != std::string::npos && line.compare(slash + 1, std::string(name).size(), name) == 0)
      {
        runtimes.insert(line.substr(line.find('/')));
      }
    }
  }
  if (!maps.eof() || runtimes.empty())
  {
    GTEST_SKIP() << "This system does not list what is mapped, or torch has its threads from elsewhere";
  }
  EXPECT_EQ(runtimes.size(), 1u) << *runtimes.begin() << " and " << *runtimes.rbegin();
}

TEST_F(TorchSegmentationFilter, MemoryIsEstimatedAndLimited)
{
  const auto model = LoadSeeded(*s_Folder / "wide", TinySegmentationManifest(8));
  const auto input = MakeInput(120, 120, 120);
  auto       filter = MakeFilter(model, input);
  filter->UpdateOutputInformation();
  EXPECT_EQ(filter->GetNumberOfTiles(), 1u);
  const double estimate = filter->EstimateMemory();
  // The copy of 164 voxels a side and four channels, and more.
  EXPECT_GT(estimate, 100e6);
  filter->SetMaximumMemory(static_cast<unsigned int>(0.9e-6 * estimate));
  const std::string refused = MessageOf([&] { filter->Update(); });
  EXPECT_CONTAINS(refused, "MaximumMemory is " + std::to_string(filter->GetMaximumMemory()));
  EXPECT_EQ(filter->GetNumberOfComputedTiles(), 0u);
  filter->SetMaximumMemory(static_cast<unsigned int>(1.1e-6 * estimate));
  if (!PeakMemory::Reset())
  {
    GTEST_SKIP() << "This system does not let a process reset its peak memory";
  }
  const double before = PeakMemory::Bytes();
  filter->Update();
  const double measured = PeakMemory::Bytes() - before;
  EXPECT_LT(std::abs(measured - estimate), 0.3 * estimate) << measured << ' ' << estimate;
  EXPECT_GT(filter->EstimateSeconds(), 0.0);
}

TEST_F(TorchSegmentationFilter, MemoryDoesNotGrowWithTheSlices)
{
  const auto peak = [](itk::SizeValueType slices) {
    auto source = ProceduralImageSource<VectorImageType>::New();
    source->SetSize(Size<3>{ { 48, 40, slices } });
    source->SetNumberOfComponents(4);
    source->SetFunction([](const Index<3> & index, float * to) {
      for (unsigned int c = 0; c < 4; ++c)
      {
        to[c] = 1.0F + static_cast<float>((index[0] * 7 + index[1] * 13 + index[2] * 29 + c * 5) % 17);
      }
    });
    auto filter = FilterType::New();
    filter->SetModel(s_Model);
    filter->SetInput(source->GetOutput());
    filter->SetTileSize(Size<3>{ { 92, 84, 64 } });
    auto labels = itk::StreamingImageFilter<LabelImageType, LabelImageType>::New();
    labels->SetInput(filter->GetOutput());
    labels->SetNumberOfStreamDivisions(static_cast<unsigned int>(slices / 20));
    EXPECT_TRUE(PeakMemory::Reset());
    labels->Update();
    const auto * begin = labels->GetOutput()->GetBufferPointer();
    const auto * end = begin + labels->GetOutput()->GetBufferedRegion().GetNumberOfPixels();
    EXPECT_NE(std::adjacent_find(begin, end, std::not_equal_to<>()), end) << "an output that says nothing";
    return PeakMemory::Bytes();
  };
  if (!PeakMemory::Reset())
  {
    GTEST_SKIP() << "This system does not let a process reset its peak memory";
  }
  // Threads' heaps fill up over some runs.
  double few = 0.0;
  for (unsigned int run = 0; run < 5; ++run)
  {
    few = std::max(few, peak(100));
  }
  const double many = peak(1700);
  // 1600 more slices hold 49 MB; the heaps of two runs differ by some.
  EXPECT_LT(many, few + 16e6) << few << ' ' << many;
}

TEST_F(TorchSegmentationFilter, KeepsGeometryAndDictionary)
{
  const auto input = MakeInput(12, 9, 8);
  auto       filter = MakeFilter(s_Model, input);
  filter->Update();
  for (const itk::ImageBase<3> * output : { static_cast<const itk::ImageBase<3> *>(filter->GetOutput()),
                                            static_cast<const itk::ImageBase<3> *>(filter->GetProbabilities()) })
  {
    EXPECT_EQ(output->GetLargestPossibleRegion(), input->GetLargestPossibleRegion());
    EXPECT_EQ(output->GetOrigin(), input->GetOrigin());
    EXPECT_EQ(output->GetSpacing(), input->GetSpacing());
    EXPECT_EQ(output->GetDirection(), input->GetDirection());
    EXPECT_EQ(oblique::Scanner(output), "phantom");
  }
  EXPECT_EQ(filter->GetProbabilities()->GetNumberOfComponentsPerPixel(), 2u);
}

TEST_F(TorchSegmentationFilter, WithoutProbabilitiesOutputOneIsEmpty)
{
  const auto input = MakeInput(12, 9, 8);
  auto       filter = MakeFilter(s_Model, input);
  filter->GenerateProbabilitiesOff();
  filter->Update();
  EXPECT_EQ(filter->GetProbabilities()->GetBufferedRegion().GetNumberOfPixels(), 0u);
  EXPECT_EQ(filter->GetOutput()->GetBufferedRegion(), input->GetLargestPossibleRegion());

  // Asked for, they are as empty.
  for (const itk::TorchModel * model : { s_Model.GetPointer(), s_Padded.GetPointer() })
  {
    auto asked = MakeFilter(model, input);
    asked->GenerateProbabilitiesOff();
    asked->GetProbabilities()->Update();
    EXPECT_EQ(asked->GetProbabilities()->GetBufferedRegion().GetNumberOfPixels(), 0u);
    asked->Update();
    EXPECT_EQ(asked->GetOutput()->GetBufferedRegion(), input->GetLargestPossibleRegion());
  }
}

TEST_F(TorchSegmentationFilter, WrongInputIsRefusedWithBothSides)
{
  const auto input = MakeInput(12, 9, 8);
  const auto update = [](const itk::TorchModel * model, const VectorImageType * image) {
    return MessageOf([&] { MakeFilter(model, image)->Update(); });
  };
  EXPECT_CONTAINS(update(nullptr, input), "No model is set");
  EXPECT_CONTAINS(update(itk::TorchModel::New(), input), "not loaded");
  EXPECT_CONTAINS(update(LoadSeeded(*s_Folder / "g", TinyGradingManifest(1)), input), "not for segmentation");
  const std::string channels = update(s_Model, MakeInput(12, 9, 8, 3));
  EXPECT_CONTAINS(channels, "has 3 components");
  EXPECT_CONTAINS(channels, "wants 4: T1 T1c T2 FLAIR");

  auto manifest = TinySegmentationManifest();
  manifest.Spacing = { { 0.9, 1.1, 1.0 } };
  const std::string spacing = update(LoadSeeded(*s_Folder / "spacing", manifest), input);
  EXPECT_CONTAINS(spacing, "2.5 mm on axis 2");
  EXPECT_CONTAINS(spacing, "GliomaGradingFilter");
  manifest.Spacing = { { 0.905, 1.1, 2.5 } };
  manifest.Orientation = "LPS";
  EXPECT_EQ(update(LoadSeeded(*s_Folder / "spacing", manifest), input), "");
  manifest.Orientation = "RAS";
  const std::string orientation = update(LoadSeeded(*s_Folder / "spacing", manifest), input);
  EXPECT_CONTAINS(orientation, "increase to LPS");
  EXPECT_CONTAINS(orientation, "wants RAS");

  const auto holed = MakeInput(12, 9, 8);
  holed->GetBufferPointer()[100] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_CONTAINS(update(s_Model, holed), "input holds NaN");
  EXPECT_CONTAINS(update(s_Padded, holed), "input holds NaN");

  auto filter = MakeFilter(s_Model, input);
  filter->SetTileSize(Size<3>{ { 64, 50, 64 } });
  EXPECT_CONTAINS(MessageOf([&] { filter->Update(); }), "50 voxels on axis 1");
  filter->SetTileSize(Size<3>{ { 64, 64, 44 } });
  EXPECT_CONTAINS(MessageOf([&] { filter->Update(); }), "44 voxels on axis 2");
  filter->SetTileSize(Size<3>{ { 0, 0, 0 } });
  filter->SetTileMemory(1);
  EXPECT_CONTAINS(MessageOf([&] { filter->Update(); }), "TileMemory is 1 MB");
  filter->SetTileMemory(2048);
  filter->SetMaskImage(oblique::Make<LabelImageType>(12, 9, 7));
  EXPECT_CONTAINS(MessageOf([&] { filter->Update(); }), "The mask has the region");
  filter->SetMaskImage(nullptr);
  filter->SetOutsideValues(itk::Array<double>(3, 0.0));
  EXPECT_CONTAINS(MessageOf([&] { filter->Update(); }), "OutsideValues has 3 values");

  // Numbers that no limit stops.
  filter = MakeFilter(s_Padded, input);
  filter->SetSigmaScale(std::nan(""));
  EXPECT_CONTAINS(MessageOf([&] { filter->Update(); }), "SigmaScale nan");
  filter->SetSigmaScale(0.125);
  filter->SetOverlap(std::nan(""));
  EXPECT_CONTAINS(MessageOf([&] { filter->Update(); }), "Overlap is nan");

  // Numbers that name nothing, as a wrapped language may give them.
  using Border = itk::TorchSegmentationFilterEnums::Border;
  using Blend = itk::TorchSegmentationFilterEnums::Blend;
  filter = MakeFilter(s_Model, input);
  filter->SetBorder(static_cast<Border>(9));
  EXPECT_CONTAINS(MessageOf([&] { filter->Update(); }), "Border is 9");
  filter = MakeFilter(s_Model, input);
  filter->SetBlend(static_cast<Blend>(9));
  EXPECT_CONTAINS(MessageOf([&] { filter->Update(); }), "Blend is 9");
  std::ostringstream printed;
  printed << Border::Circular << ' ' << static_cast<Border>(9) << ' ' << Blend::Constant << ' '
          << static_cast<Blend>(9);
  EXPECT_EQ(printed.str(),
            "Circular INVALID VALUE FOR itk::TorchSegmentationFilterEnums::Border "
            "Constant INVALID VALUE FOR itk::TorchSegmentationFilterEnums::Blend");

  const auto nothing = VectorImageType::New();
  nothing->SetNumberOfComponentsPerPixel(4);
  EXPECT_CONTAINS(update(s_Model, nothing), "has no voxels");
  EXPECT_CONTAINS(update(s_Padded, nothing), "has no voxels");
}

TEST_F(TorchSegmentationFilter, TilesWantAPipeline)
{
  const auto filter = FilterType::New();
  const auto expectRefusals = [&] {
    EXPECT_CONTAINS(MessageOf([&] { filter->GetNumberOfTiles(); }), "SetModel(), SetInput()");
    EXPECT_CONTAINS(MessageOf([&] { filter->GetChosenTileSize(); }), "SetModel(), SetInput()");
    EXPECT_CONTAINS(MessageOf([&] { filter->EstimateMemory(); }), "SetModel(), SetInput()");
    EXPECT_CONTAINS(MessageOf([&] { filter->EstimateSeconds(); }), "SetModel(), SetInput()");
  };
  expectRefusals();
  filter->SetModel(s_Model);
  expectRefusals();
  const auto input = MakeInput(12, 9, 8);
  const auto source = oblique::MakeSource(input.GetPointer());
  filter->SetInput(source->GetOutput());
  expectRefusals();
  filter->UpdateOutputInformation();
  EXPECT_EQ(filter->GetNumberOfTiles(), 1U);
}

TEST_F(TorchSegmentationFilter, TheMasksGridAgreesWithinATolerance)
{
  const auto input = MakeInput(12, 9, 8);
  const auto mask = oblique::Make<LabelImageType>(12, 9, 8);
  auto       filter = MakeFilter(s_Model, input);
  filter->SetMaskImage(mask);
  auto origin = mask->GetOrigin();
  origin[0] += 5e-4 * mask->GetSpacing()[0];
  mask->SetOrigin(origin);
  EXPECT_EQ(MessageOf([&] { filter->Update(); }), "");
  origin[0] += 2e-3 * mask->GetSpacing()[0];
  mask->SetOrigin(origin);
  EXPECT_CONTAINS(MessageOf([&] { filter->Update(); }), "same physical space");
}

// Turned so far that two axes are nearest to feet-head: the letters are ModelSpaceFilter's.
TEST_F(TorchSegmentationFilter, TakesTheOrientationThatModelSpaceFilterMakes)
{
  const auto image = MakeInput(16, 16, 16);
  image->SetDirection(oblique::Direction(0.7, 0.87));
  auto manifest = TinySegmentationManifest(2);
  manifest.Orientation = "LPS";
  const auto toModel = itk::ModelSpaceFilter<VectorImageType>::New();
  toModel->SetInput(image);
  toModel->SetOutputOrientation("LPS");
  const auto model = LoadSeeded(*s_Folder / "orientation", manifest);
  EXPECT_EQ(MessageOf([&] { MakeFilter(model, toModel->GetOutput())->Update(); }), "");
}

TEST_F(TorchSegmentationFilter, ReportsProgressAndAborts)
{
  const auto input = MakeInput(44, 37, 10);
  auto       filter = MakeFilter(s_Model, input);
  filter->SetTileSize(Size<3>{ { 64, 64, 64 } });
  std::vector<float> seen;
  const auto         tag = filter->AddObserver(itk::ProgressEvent(), [&](const itk::EventObject &) {
    seen.push_back(filter->GetProgress());
    if (seen.size() == 3)
    {
      filter->AbortGenerateDataOn();
    }
  });
  EXPECT_THROW(filter->Update(), itk::ProcessAborted);
  // Within the first tile, between two layers.
  EXPECT_EQ(filter->GetNumberOfComputedTiles(), 0u);
  EXPECT_EQ(seen.size(), 3u);
  EXPECT_TRUE(std::is_sorted(seen.begin(), seen.end()));
  filter->RemoveObserver(tag);
  filter->AbortGenerateDataOff();
  filter->Modified();
  seen.clear();
  const auto again =
    filter->AddObserver(itk::ProgressEvent(), [&](const itk::EventObject &) { seen.push_back(filter->GetProgress()); });
  filter->Update();
  EXPECT_TRUE(std::is_sorted(seen.begin(), seen.end()));
  EXPECT_GT(seen.size(), 6u * 4u);
  filter->RemoveObserver(again);
  EXPECT_EQ(filter->GetProgress(), 1.0F);
  EXPECT_EQ(filter->GetNumberOfComputedTiles(), 6u);
}

TEST_F(TorchSegmentationFilter, RunsAgainWhenTheModelChanges)
{
  const std::string path = *s_Folder / "changing";
  const auto        model = LoadSeeded(path, TinySegmentationManifest());
  const auto        input = MakeInput(12, 9, 8);
  auto              filter = MakeFilter(model, input);
  filter->Update();
  const auto before = filter->GetMTime();
  itk::TorchModel::WriteSeededBundle(path, TinySegmentationManifest(), 2);
  model->Load();
  EXPECT_GT(filter->GetMTime(), before);
  const float first = filter->GetProbabilities()->GetBufferPointer()[0];
  filter->Update();
  EXPECT_NE(filter->GetProbabilities()->GetBufferPointer()[0], first);
  std::ostringstream printed;
  filter->Print(printed);
  EXPECT_CONTAINS(printed.str(), "TileMemory: 2048");
  EXPECT_CONTAINS(printed.str(), "Plan of axis 2: Tile " + std::to_string(filter->GetChosenTileSize()[2]));
}
