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
// Grade of one region of interest, as BoundingBoxRegion writes it. Research use only.
// usage: GradeRegion REGION BUNDLE [--trust-model]     (REGION: one component a sequence)
#include "itkGradeClassifierFilter.h"
#include "itkImageFileReader.h"

#include <cstdlib>
#include <iostream>
#include <string>

int
main(int argc, char * argv[])
{
  const bool trusts = argc == 4 && std::string(argv[3]) == "--trust-model";
  if (argc != 3 && !trusts)
  {
    std::cerr << "usage: " << argv[0] << " REGION BUNDLE [--trust-model]\n";
    return 2;
  }
  using ImageType = itk::VectorImage<float, 3>;
  try
  {
    const auto model = itk::TorchModel::New();
    model->SetPath(argv[2]);
    model->SetTrustModelCode(trusts);
    model->Load();

    const auto classifier = itk::GradeClassifierFilter<ImageType>::New();
    classifier->SetInput(itk::ReadImage<ImageType>(argv[1]));
    classifier->SetModel(model);
    classifier->Update();

    std::cout << classifier->GetGradeName() << '\n';
    for (unsigned int i = 0; i < classifier->GetProbabilities().size(); ++i)
    {
      std::cout << model->GetManifest().ClassNames[i] << ": probability " << classifier->GetProbabilities()[i]
                << ", logit " << classifier->GetLogits()[i] << '\n';
    }
    std::cout << "Research use only. The model says: " << model->GetManifest().TrainingData << '\n';
  }
  catch (const itk::ExceptionObject & error)
  {
    std::cerr << error.GetDescription() << '\n';
    return EXIT_FAILURE;
  }
  return EXIT_SUCCESS;
}
