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

// Writes a segmentation and a grading bundle with random weights: they show that the pipeline runs, and know nothing.

#include "itkTorchModel.h"

#include <cstdlib>
#include <iostream>
#include <string>

int
main(int argc, char * argv[])
{
  if (argc != 3)
  {
    std::cerr << "Usage: " << argv[0] << " OUTPUT_FOLDER SEED\n";
    return EXIT_FAILURE;
  }
  const std::string folder = argv[1];
  try
  {
    const auto seed = static_cast<std::uint64_t>(std::stoull(argv[2]));

    itk::TorchModelManifest segmentation;
    segmentation.Name = "whole-tumour segmentation, random weights";
    segmentation.Version = "1";
    segmentation.Task = "segmentation";
    segmentation.Network = "PereiraSegmentationNetwork";
    segmentation.Width = 8;
    segmentation.Levels = 3;
    segmentation.ChannelNames = { "T1", "T1c", "T2", "FLAIR" };
    segmentation.ClassNames = { "background", "tumour" };
    segmentation.Orientation = "LPS";
    segmentation.Spacing = { { 2.0, 2.0, 2.0 } };
    segmentation.BiasCorrection = "n4";
    segmentation.LowerQuantile = 0.005;
    segmentation.UpperQuantile = 0.995;
    segmentation.Standardization = "brain";
    segmentation.IntendedUse = "Shows that the pipeline runs; its output means nothing";
    segmentation.Licence = "Apache-2.0";
    itk::TorchModel::WriteSeededBundle(folder + "/segmentation", segmentation, seed);

    itk::TorchModelManifest grading = segmentation;
    grading.Name = "tumour grading, random weights";
    grading.Task = "grading";
    grading.Network = "PereiraGradingNetwork";
    grading.Levels = 0;
    grading.ClassNames = { "LGG", "HGG" };
    grading.Spacing = { { 1.0, 1.0, 1.0 } };
    grading.Region = "tumour";
    grading.FitMode = "cube";
    grading.Margin = 10.0;
    grading.OutputSize = 96;
    itk::TorchModel::WriteSeededBundle(folder + "/grading", grading, seed);
  }
  catch (const std::exception & error)
  {
    std::cerr << argv[0] << ": " << error.what() << '\n';
    return EXIT_FAILURE;
  }
  std::cout << "Wrote " << folder << "/segmentation and " << folder << "/grading: random weights, research use only.\n";
  return EXIT_SUCCESS;
}
