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

// Times TorchSegmentationFilter, or shows the memory of a streamed run. Prints one JSON object.
//   BenchmarkSegmentation case BUNDLE IMAGE MASK LABELS [NAME=VALUE]...
//     an image of the model's channels, prepared; MASK may be "-". The labels go to the file LABELS.
//     precision=float32|bfloat16 threads=2 repeats=3 patch=X,Y,Z overlap=0.25 tile-memory=MB box=1|0 (crop to the
//     mask's box, as GliomaGradingFilter does; its time counts)
//   BenchmarkSegmentation long BUNDLE X Y Z [NAME=VALUE]...
//     a volume that is computed where it is asked for, segmented in pieces of one row of tiles; also tile-memory=MB
// compare_segmentation.py runs both.
#include "itkImageFileReader.h"
#include "itkImageFileWriter.h"
#include "itkMultiThreaderBase.h"
#include "itkRegionOfInterestImageFilter.h"
#include "itkTorchSegmentationFilter.h"

#include "../ProceduralImageSource.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <map>
#include <sstream>
#include <string>
#include <vector>
#ifdef __GLIBC__
#  include <malloc.h>
#endif

namespace
{
using ImageType = itk::VectorImage<float, 3>;
using MaskType = itk::Image<unsigned char, 3>;
using FilterType = itk::TorchSegmentationFilter<ImageType, MaskType, MaskType>;
using Options = std::map<std::string, std::string>;

template <typename TFunction>
double
Seconds(const TFunction & function)
{
  const auto start = std::chrono::steady_clock::now();
  function();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/** VmHWM, the peak, or VmRSS, what is held now; not getrusage(), which counts what the program that started this one
 * held. */
double
Megabytes(const std::string & name)
{
  const std::string key = name + ":";
  std::ifstream     status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
  {
    if (line.compare(0, key.size(), key) == 0)
    {
      return std::stod(line.substr(key.size())) / 1024.0;
    }
  }
  return 0.0;
}

/** Lets VmHWM start again from what is held now. */
void
ForgetPeak()
{
  std::ofstream("/proc/self/clear_refs") << "5" << std::flush;
}

std::string
Option(const Options & options, const std::string & name, const std::string & otherwise)
{
  const auto found = options.find(name);
  return found == options.end() ? otherwise : found->second;
}

unsigned int
Number(const Options & options, const std::string & name, unsigned int otherwise)
{
  return static_cast<unsigned int>(std::stoul(Option(options, name, std::to_string(otherwise))));
}

itk::TorchModel::Pointer
Load(const std::string & path, const Options & options)
{
  auto model = itk::TorchModel::New();
  model->SetPath(path);
  model->TrustModelCodeOn();
  if (Option(options, "precision", "float32") == "bfloat16")
  {
    model->SetPrecision(itk::TorchModel::Precision::BFloat16);
  }
  model->Load();
  return model;
}

FilterType::Pointer
MakeFilter(const itk::TorchModel * model, const Options & options)
{
  auto filter = FilterType::New();
  filter->SetModel(model);
  filter->SetOverlap(std::stod(Option(options, "overlap", "0.25")));
  filter->SetTileMemory(Number(options, "tile-memory", 2048));
  itk::Size<3>       patch{ { 0, 0, 0 } };
  std::istringstream text(Option(options, "patch", ""));
  char               comma = 0;
  text >> patch[0] >> comma >> patch[1] >> comma >> patch[2];
  filter->SetTileSize(patch);
  return filter;
}

/** The box of a mask, starting where tiles may start. */
MaskType::RegionType
BoxOf(const MaskType * mask, unsigned int step)
{
  auto                  first = mask->GetLargestPossibleRegion().GetUpperIndex();
  auto                  last = mask->GetLargestPossibleRegion().GetIndex();
  const auto            whole = mask->GetLargestPossibleRegion();
  const unsigned char * voxel = mask->GetBufferPointer();
  for (itk::SizeValueType z = 0; z < whole.GetSize(2); ++z)
  {
    for (itk::SizeValueType y = 0; y < whole.GetSize(1); ++y)
    {
      for (itk::SizeValueType x = 0; x < whole.GetSize(0); ++x, ++voxel)
      {
        if (*voxel != 0)
        {
          const itk::SizeValueType at[3] = { x, y, z };
          for (unsigned int axis = 0; axis < 3; ++axis)
          {
            const auto index = whole.GetIndex(axis) + static_cast<itk::IndexValueType>(at[axis]);
            first[axis] = std::min(first[axis], index);
            last[axis] = std::max(last[axis], index);
          }
        }
      }
    }
  }
  for (unsigned int axis = 0; axis < 3; ++axis)
  {
    first[axis] -= (first[axis] - whole.GetIndex(axis)) % static_cast<itk::IndexValueType>(step);
  }
  MaskType::RegionType box;
  box.SetIndex(first);
  box.SetUpperIndex(last);
  return box;
}

template <typename TImage>
typename TImage::Pointer
Cut(const TImage * image, const typename TImage::RegionType & box)
{
  auto cut = itk::RegionOfInterestImageFilter<TImage, TImage>::New();
  cut->SetInput(image);
  cut->SetRegionOfInterest(box);
  cut->Update();
  return cut->GetOutput();
}

void
Case(const std::vector<std::string> & files, const Options & options)
{
  const auto image = itk::ReadImage<ImageType>(files[1]);
  const auto mask = files[2] == "-" ? nullptr : itk::ReadImage<MaskType>(files[2]);
  ForgetPeak(); // what the reading took does not count

  itk::TorchModel::Pointer model;
  const double             loading = Seconds([&] { model = Load(files[0], options); });
  const bool               toBox = mask && Number(options, "box", 1) != 0;
  FilterType::Pointer      filter;
  std::vector<double>      seconds;
  double                   peak = 0.0;
  double                   before = 0.0; // the last update, when LibTorch has everything that it keeps
  MaskType::RegionType     box = image->GetLargestPossibleRegion();
  for (unsigned int run = 0; run < Number(options, "repeats", 3); ++run)
  {
    filter = nullptr;
    seconds.push_back(Seconds([&] {
      filter = MakeFilter(model, options);
      box = toBox ? BoxOf(mask, model->GetManifest().TileStep) : box;
      filter->SetInput(toBox ? Cut(image.GetPointer(), box) : image);
      if (mask)
      {
        filter->SetMaskImage(toBox ? Cut(mask.GetPointer(), box) : mask);
      }
      peak = std::max(peak, Megabytes("VmHWM"));
#ifdef __GLIBC__
      malloc_trim(0); // what earlier runs left would hide what this one takes
#endif
      before = Megabytes("VmRSS");
      ForgetPeak();
      filter->Update();
    }));
  }
  const double ofUpdate = Megabytes("VmHWM") - before;
  peak = std::max(peak, ofUpdate + before);
  const auto tile = filter->GetChosenTileSize();
  // In the whole image.
  auto labels = MaskType::New();
  labels->CopyInformation(image);
  labels->SetRegions(image->GetLargestPossibleRegion());
  labels->Allocate(true);
  const auto *          part = filter->GetOutput();
  const unsigned char * from = part->GetBufferPointer();
  for (itk::SizeValueType z = 0; z < box.GetSize(2); ++z)
  {
    for (itk::SizeValueType y = 0; y < box.GetSize(1); ++y, from += box.GetSize(0))
    {
      itk::Index<3> index = box.GetIndex();
      index[1] += static_cast<itk::IndexValueType>(y);
      index[2] += static_cast<itk::IndexValueType>(z);
      std::copy(from, from + box.GetSize(0), labels->GetBufferPointer() + labels->ComputeOffset(index));
    }
  }
  itk::WriteImage(labels.GetPointer(), files[3]);
  std::cout << "{\"first\": " << seconds.front()
            << ", \"seconds\": " << *std::min_element(seconds.begin(), seconds.end()) << ", \"load\": " << loading
            << ", \"peak_megabytes\": " << peak << ", \"update_megabytes\": " << ofUpdate
            << ", \"estimated_megabytes\": " << filter->EstimateMemory() / 1048576.0
            << ", \"estimated_seconds\": " << filter->EstimateSeconds() << ", \"tiles\": " << filter->GetNumberOfTiles()
            << ", \"computed\": " << filter->GetNumberOfComputedTiles() << ", \"tile\": [" << tile[0] << ", " << tile[1]
            << ", " << tile[2] << "], \"operations\": "
            << model->EstimateOperations(tile) * static_cast<double>(filter->GetNumberOfComputedTiles()) << "}"
            << std::endl;
}

void
Long(const std::string & bundle, const itk::Size<3> & size, const Options & options)
{
  const auto model = Load(bundle, options);
  const auto channels = static_cast<unsigned int>(model->GetManifest().ChannelNames.size());
  auto       source = ProceduralImageSource<ImageType>::New();
  source->SetSize(size);
  source->SetNumberOfComponents(channels);
  source->SetFunction([channels](const itk::Index<3> & index, float * to) {
    // Never 0.
    auto k = static_cast<std::uint64_t>(index[0] + 4099 * (index[1] + 4099 * index[2]));
    for (unsigned int c = 0; c < channels; ++c)
    {
      k = (k + c + 1) * 0x9e3779b97f4a7c15ULL;
      to[c] = 0.1F + static_cast<float>(k >> 40) / 16777216.0F;
    }
  });
  auto spacing = ImageType::SpacingType(1.0);
  auto direction = ImageType::DirectionType();
  direction.SetIdentity();
  for (unsigned int axis = 0; axis < 3; ++axis)
  {
    const double wanted = model->GetManifest().Spacing[axis];
    spacing[axis] = wanted > 0.0 ? wanted : 1.0;
  }
  source->UpdateOutputInformation();
  source->GetOutput()->SetSpacing(spacing);
  auto filter = MakeFilter(model, options);
  filter->SetInput(source->GetOutput());
  filter->UpdateOutputInformation();
  const double estimate = filter->EstimateMemory();
  // One piece after the other; what is done is let go, as a writer does.
  itk::SizeValueType counts[2] = { 0, 0 };
  itk::SizeValueType tiles = 0;
  itk::SizeValueType pieces = 0;
  const double       seconds = Seconds([&] {
    for (itk::IndexValueType z = 0; z < static_cast<itk::IndexValueType>(size[2]);)
    {
      MaskType::RegionType piece(itk::Index<3>{ { 0, 0, z } }, itk::Size<3>{ { size[0], size[1], 1 } });
      filter->GetOutput()->SetRequestedRegion(piece);
      filter->GetOutput()->PropagateRequestedRegion();
      filter->GetOutput()->UpdateOutputData();
      const auto buffered = filter->GetOutput()->GetBufferedRegion();
      for (itk::SizeValueType k = 0; k < buffered.GetNumberOfPixels(); ++k)
      {
        ++counts[filter->GetOutput()->GetBufferPointer()[k] != 0];
      }
      tiles += filter->GetNumberOfComputedTiles();
      ++pieces;
      z = buffered.GetUpperIndex()[2] + 1;
    }
  });
  std::cout << "{\"slices\": " << size[2] << ", \"seconds\": " << seconds
            << ", \"peak_megabytes\": " << Megabytes("VmHWM")
            << ", \"estimated_megabytes_of_all_at_once\": " << estimate / 1048576.0 << ", \"pieces\": " << pieces
            << ", \"tiles\": " << tiles << ", \"background\": " << counts[0] << ", \"tumour\": " << counts[1] << "}"
            << std::endl;
}
} // namespace

int
main(int argc, char * argv[])
{
  std::vector<std::string> words;
  Options                  options;
  for (int i = 2; i < argc; ++i)
  {
    const std::string word = argv[i];
    const auto        equals = word.find('=');
    if (words.size() == 4 && equals != std::string::npos)
    {
      options[word.substr(0, equals)] = word.substr(equals + 1);
    }
    else
    {
      words.push_back(word);
    }
  }
  const std::string task = argc > 1 ? argv[1] : "";
  if ((task != "case" && task != "long") || words.size() != 4)
  {
    std::cerr << "Usage: " << argv[0] << " case BUNDLE IMAGE MASK|- LABELS [NAME=VALUE]...\n"
              << "       " << argv[0] << " long BUNDLE X Y Z [NAME=VALUE]...\n";
    return 2;
  }
  try
  {
    const unsigned int threads = Number(options, "threads", 2);
    itk::MultiThreaderBase::SetGlobalMaximumNumberOfThreads(threads);
    itk::MultiThreaderBase::SetGlobalDefaultNumberOfThreads(threads);
    if (task == "case")
    {
      Case(words, options);
    }
    else
    {
      Long(words[0], itk::Size<3>{ { std::stoul(words[1]), std::stoul(words[2]), std::stoul(words[3]) } }, options);
    }
  }
  catch (const std::exception & error)
  {
    std::cerr << error.what() << std::endl;
    return 1;
  }
  return 0;
}
