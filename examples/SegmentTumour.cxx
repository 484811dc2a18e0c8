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
// Finds the tumour with a segmentation bundle in four sequences that were prepared as its manifest says.
//   SegmentTumour BUNDLE T1 T1C T2 FLAIR MASK LABELS [PROBABILITIES]
#include "itkComposeImageFilter.h"
#include "itkImageFileReader.h"
#include "itkImageFileWriter.h"
#include "itkTorchSegmentationFilter.h"

#include <cstdlib>
#include <iostream>

int
main(int argc, char * argv[])
{
  if (argc != 8 && argc != 9)
  {
    std::cerr << "usage: SegmentTumour BUNDLE T1 T1C T2 FLAIR MASK LABELS [PROBABILITIES]\n"
                 "The sequences are on one grid, bias-corrected and standardized as the bundle's manifest says.\n"
                 "Research use only: not for the care of a patient.\n";
    return 2;
  }
  using ScalarImage = itk::Image<float, 3>;
  using VectorImage = itk::VectorImage<float, 3>;
  using LabelImage = itk::Image<unsigned char, 3>;
  try
  {
    auto model = itk::TorchModel::New();
    model->SetPath(argv[1]);
    model->Load();

    auto compose = itk::ComposeImageFilter<ScalarImage, VectorImage>::New();
    for (unsigned int i = 0; i < 4; ++i)
    {
      compose->SetInput(i, itk::ReadImage<ScalarImage>(argv[2 + i]));
    }
    auto segment = itk::TorchSegmentationFilter<VectorImage, LabelImage>::New();
    segment->SetModel(model);
    segment->SetInput(compose->GetOutput());
    segment->SetMaskImage(itk::ReadImage<LabelImage>(argv[6]));
    segment->SetGenerateProbabilities(argc == 9);
    segment->Update();
    itk::WriteImage(segment->GetOutput(), argv[7], true);
    if (argc == 9)
    {
      itk::WriteImage(segment->GetProbabilities(), argv[8], true);
    }
    std::cout << segment->GetNumberOfComputedTiles() << " tiles by '" << model->GetManifest().Name
              << "', which was trained on: " << model->GetManifest().TrainingData << ". Research use only.\n";
  }
  catch (const itk::ExceptionObject & e)
  {
    std::cerr << "error: " << e.GetDescription() << '\n';
    return EXIT_FAILURE;
  }
  return EXIT_SUCCESS;
}
