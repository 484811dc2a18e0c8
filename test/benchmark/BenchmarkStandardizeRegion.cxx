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

// Times MaskedStandardizeFilter and BoundingBoxROIFilter, or shows the memory of a streamed run. Prints JSON.
//   BenchmarkStandardizeRegion time IMAGE MASK TUMOUR FOLDER [THREADS, 2] [REPEATS, 5]
//     image of several components, its brain mask and its tumour mask; the results go to FOLDER
//   BenchmarkStandardizeRegion memory SIDE FILE.mha [THREADS, 2]
//     standardizes an image of SIDE^3 float voxels that is computed where it is asked for, and writes it in pieces
// compare_standardize_region.py runs both.
#include "itkBoundingBoxROIFilter.h"
#include "itkImageFileReader.h"
#include "itkImageFileWriter.h"
#include "itkMaskedStandardizeFilter.h"
#include "itkMultiThreaderBase.h"

#include "../ProceduralImageSource.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

namespace
{
using ImageType = itk::VectorImage<float, 3>;
using ScalarType = itk::Image<float, 3>;
using MaskType = itk::Image<unsigned char, 3>;

template <typename TFunction>
double
Seconds(const TFunction & function)
{
  const auto start = std::chrono::steady_clock::now();
  function();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Linux keeps it in KiB. (getrusage's is not this program's alone: it starts with that of who started it.)
double
PeakMegabytes()
{
  const std::string key = "VmHWM:";
  std::ifstream     status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
  {
    if (line.compare(0, key.size(), key) == 0)
    {
      return std::strtod(line.c_str() + key.size(), nullptr) / 1024.0;
    }
  }
  return 0.0;
}

// Once to warm up, then the median.
template <typename TFunction>
double
Median(unsigned int repeats, const TFunction & function)
{
  function();
  std::vector<double> seconds;
  for (unsigned int k = 0; k < repeats; ++k)
  {
    seconds.push_back(Seconds(function));
  }
  std::sort(seconds.begin(), seconds.end());
  return seconds[seconds.size() / 2];
}

void
Time(const std::string & imageName,
     const std::string & maskName,
     const std::string & tumourName,
     const std::string & folder,
     unsigned int        repeats)
{
  const auto image = itk::ReadImage<ImageType>(imageName);
  const auto mask = itk::ReadImage<MaskType>(maskName);
  const auto tumour = itk::ReadImage<MaskType>(tumourName);

  itk::MaskedStandardizeFilter<ImageType, MaskType>::Pointer standardize;
  const double                                               standardizeSeconds = Median(repeats, [&] {
    standardize = itk::MaskedStandardizeFilter<ImageType, MaskType>::New();
    standardize->SetInput(image);
    standardize->SetMaskImage(mask);
    standardize->Update();
  });
  // the statistics alone
  const double                                            statisticsSeconds = Median(repeats, [&] {
    auto filter = itk::MaskedStandardizeFilter<ImageType, MaskType>::New();
    filter->SetInput(image);
    filter->SetMaskImage(mask);
    filter->UpdateOutputInformation();
  });
  itk::BoundingBoxROIFilter<ImageType, MaskType>::Pointer region;
  const double                                            regionSeconds = Median(repeats, [&] {
    region = itk::BoundingBoxROIFilter<ImageType, MaskType>::New();
    region->SetInput(image);
    region->SetMaskImage(tumour);
    region->Update();
  });
  const double                                            boxSeconds = Median(repeats, [&] {
    auto filter = itk::BoundingBoxROIFilter<ImageType, MaskType>::New();
    filter->SetInput(image);
    filter->SetMaskImage(tumour);
    filter->UpdateOutputInformation();
  });
  itk::WriteImage(standardize->GetOutput(), folder + "/standardized.mha");
  itk::WriteImage(region->GetOutput(), folder + "/region.mha");
  std::cout << "{\"standardize\": " << standardizeSeconds << ", \"statistics\": " << statisticsSeconds
            << ", \"region\": " << regionSeconds << ", \"box\": " << boxSeconds << "}" << std::endl;
}

void
Memory(unsigned int side, const std::string & file)
{
  const itk::Size<3> size = { { side, side, side } };
  const auto         image = ProceduralImageSource<ScalarType>::New();
  image->SetSize(size);
  image->SetFunction([](const itk::Index<3> & index, float * to) {
    const auto k = static_cast<std::uint64_t>(index[0] + 4099 * (index[1] + 4099 * index[2]));
    *to = static_cast<float>((k * 0x9e3779b97f4a7c15ULL) >> 44);
  });
  const auto   mask = ProceduralImageSource<MaskType>::New();
  const double middle = 0.5 * side;
  mask->SetSize(size);
  mask->SetFunction([middle](const itk::Index<3> & index, unsigned char * to) {
    double square = 0.0;
    for (unsigned int d = 0; d < 3; ++d)
    {
      square += (index[d] - middle) * (index[d] - middle);
    }
    *to = square < 0.64 * middle * middle ? 1 : 0;
  });
  const auto filter = itk::MaskedStandardizeFilter<ScalarType, MaskType>::New();
  filter->SetInput(image->GetOutput());
  filter->SetMaskImage(mask->GetOutput());
  const auto writer = itk::ImageFileWriter<ScalarType>::New();
  writer->SetInput(filter->GetOutput());
  writer->SetFileName(file);
  // pieces of 8 MiB at most
  const itk::SizeValueType bytes = itk::SizeValueType{ side } * side * side * sizeof(float);
  writer->SetNumberOfStreamDivisions(static_cast<unsigned int>(bytes / 8388608 + 1));
  const double seconds = Seconds([&] { writer->Update(); });
  std::cout << "{\"side\": " << side << ", \"image_megabytes\": " << static_cast<double>(bytes) / 1048576.0
            << ", \"seconds\": " << seconds << ", \"peak_megabytes\": " << PeakMegabytes()
            << ", \"mean\": " << filter->GetMean()[0] << ", \"voxels\": " << filter->GetCount()[0] << "}" << std::endl;
}
} // namespace

int
main(int argc, char * argv[])
{
  const std::string task = argc > 1 ? argv[1] : "";
  if (!(task == "time" && argc >= 6) && !(task == "memory" && argc >= 4))
  {
    std::cerr << "Usage: " << argv[0] << " time IMAGE MASK TUMOUR FOLDER [THREADS] [REPEATS]\n"
              << "       " << argv[0] << " memory SIDE FILE.mha [THREADS]\n";
    return 2;
  }
  try
  {
    const auto number = [&](int n, unsigned int otherwise) {
      return argc > n ? static_cast<unsigned int>(std::strtoul(argv[n], nullptr, 10)) : otherwise;
    };
    itk::MultiThreaderBase::SetGlobalDefaultNumberOfThreads(number(task == "time" ? 6 : 4, 2));
    if (task == "time")
    {
      Time(argv[2], argv[3], argv[4], argv[5], number(7, 5));
    }
    else
    {
      Memory(number(2, 0), argv[3]);
    }
  }
  catch (const std::exception & error)
  {
    std::cerr << error.what() << std::endl;
    return 1;
  }
  return 0;
}
