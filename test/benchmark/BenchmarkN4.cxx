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

// Measures the module's N4 in a process of its own and prints one line of JSON; compare_n4.py runs it beside other
// tools.
//   BenchmarkN4 correct IMAGE MASK SHRINK THREADS ITERATIONS THRESHOLD REPEATS [LOGFIELD]
//     N4BiasCorrectionChainFilter on four levels of ITERATIONS: seconds of the fit, and of the whole filter from the
//     image in memory to the corrected image in memory (medians of REPEATS); LOGFIELD is written after that.
//   BenchmarkN4 patient T1 T1C T2 FLAIR MASK SHRINK THREADS REPEATS
//     The four sequences one after the other with all threads each, and as SequencePreparationFilter's batch.
#include "itkImageFileReader.h"
#include "itkImageFileWriter.h"
#include "itkMultiThreaderBase.h"
#include "itkN4BiasCorrectionChainFilter.h"
#include "itkSequencePreparationFilter.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

namespace
{
using ImageType = itk::Image<float, 3>;
using MaskType = itk::Image<unsigned char, 3>;
using FilterType = itk::N4BiasCorrectionChainFilter<ImageType, MaskType>;

template <typename TFunction>
double
Seconds(const TFunction & function)
{
  const auto start = std::chrono::steady_clock::now();
  function();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double
Median(std::vector<double> values)
{
  std::sort(values.begin(), values.end());
  return values.at(values.size() / 2);
}

// Linux keeps these in KiB.
double
MebibytesOf(const std::string & key)
{
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
  {
    if (line.compare(0, key.size(), key) == 0)
    {
      return std::strtod(line.c_str() + key.size() + 1, nullptr) / 1024.0;
    }
  }
  return 0.0;
}

unsigned int
Number(const char * text)
{
  return static_cast<unsigned int>(std::strtoul(text, nullptr, 10));
}

int
Correct(char * argv[], const char * logField)
{
  const auto         image = itk::ReadImage<ImageType>(argv[0]);
  const auto         mask = itk::ReadImage<MaskType>(argv[1]);
  const unsigned int shrink = Number(argv[2]);
  itk::MultiThreaderBase::SetGlobalDefaultNumberOfThreads(Number(argv[3]));
  FilterType::IterationsType iterations(4);
  iterations.Fill(Number(argv[4]));
  const double threshold = std::strtod(argv[5], nullptr);

  // From here on the peak is the correction's.
  std::ofstream("/proc/self/clear_refs") << "5";
  const double        before = MebibytesOf("VmRSS");
  FilterType::Pointer filter;
  std::vector<double> fit;
  std::vector<double> all;
  for (unsigned int n = 0; n < std::max(1U, Number(argv[6])); ++n)
  {
    filter = FilterType::New();
    filter->SetInput(image);
    filter->SetMaskImage(mask);
    filter->SetShrinkFactor(shrink);
    filter->SetNumberOfWorkUnits(Number(argv[3]));
    filter->SetMaximumNumberOfIterations(iterations);
    filter->SetConvergenceThreshold(threshold);
    all.push_back(Seconds([&] { filter->Update(); }));
    fit.push_back(filter->GetFitSeconds());
  }
  const double peak = MebibytesOf("VmHWM");
  std::cout << "{\"fit_seconds\": " << Median(fit) << ", \"seconds\": " << Median(all)
            << ", \"iterations\": " << filter->GetIterationsPerLevel()
            << ", \"convergence\": " << filter->GetConvergencePerLevel() << ", \"peak_mib\": " << peak
            << ", \"loaded_mib\": " << before << "}" << std::endl;
  if (logField != nullptr)
  {
    itk::WriteImage(filter->GetLogBiasField(), logField);
  }
  return EXIT_SUCCESS;
}

int
CorrectPatient(char * argv[])
{
  std::vector<ImageType::Pointer> sequences;
  for (unsigned int n = 0; n < 4; ++n)
  {
    sequences.push_back(itk::ReadImage<ImageType>(argv[n]));
  }
  const auto         mask = itk::ReadImage<MaskType>(argv[4]);
  const unsigned int shrink = Number(argv[5]);
  const unsigned int threads = Number(argv[6]);
  itk::MultiThreaderBase::SetGlobalDefaultNumberOfThreads(threads);

  std::vector<double> oneByOne;
  std::vector<double> batch;
  for (unsigned int n = 0; n < std::max(1U, Number(argv[7])); ++n)
  {
    oneByOne.push_back(Seconds([&] {
      for (const auto & sequence : sequences)
      {
        const auto filter = FilterType::New();
        filter->SetInput(sequence);
        filter->SetMaskImage(mask);
        filter->SetShrinkFactor(shrink);
        filter->SetNumberOfWorkUnits(threads);
        filter->Update();
      }
    }));
    const auto preparation = itk::SequencePreparationFilter<ImageType, MaskType>::New();
    for (unsigned int s = 0; s < 4; ++s)
    {
      preparation->SetSequence(preparation->GetSequenceNames()[s], sequences[s]);
    }
    preparation->SetBrainMaskImage(mask);
    preparation->SetShrinkFactor(shrink);
    preparation->SetNumberOfWorkUnits(threads);
    preparation->Update();
    for (const auto & stage : preparation->GetStageSeconds())
    {
      if (stage.first == "bias-correction")
      {
        batch.push_back(stage.second);
      }
    }
  }
  std::cout << "{\"one_by_one_seconds\": " << Median(oneByOne) << ", \"batch_seconds\": " << Median(batch) << "}"
            << std::endl;
  return EXIT_SUCCESS;
}
} // namespace

int
main(int argc, char * argv[])
{
  const std::string mode = argc > 1 ? argv[1] : "";
  try
  {
    if (mode == "correct" && (argc == 9 || argc == 10))
    {
      return Correct(argv + 2, argc == 10 ? argv[9] : nullptr);
    }
    if (mode == "patient" && argc == 10)
    {
      return CorrectPatient(argv + 2);
    }
  }
  catch (const std::exception & error)
  {
    std::cerr << error.what() << std::endl;
    return EXIT_FAILURE;
  }
  std::cerr << "Usage: " << argv[0] << " correct IMAGE MASK SHRINK THREADS ITERATIONS THRESHOLD REPEATS [LOGFIELD]\n"
            << "       " << argv[0] << " patient T1 T1C T2 FLAIR MASK SHRINK THREADS REPEATS" << std::endl;
  return EXIT_FAILURE;
}
