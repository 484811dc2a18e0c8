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
// Grades one case: GradeCase T1 T1C T2 FLAIR SEGMENTATION_BUNDLE GRADING_BUNDLE TUMOUR_IMAGE

#include "itkGliomaGradingFilter.h"
#include "itkImageFileReader.h"
#include "itkImageFileWriter.h"

#include <iostream>

int
main(int argc, char * argv[])
{
  if (argc != 8)
  {
    std::cerr << "Usage: " << argv[0] << " T1 T1C T2 FLAIR SEGMENTATION_BUNDLE GRADING_BUNDLE TUMOUR_IMAGE"
              << std::endl;
    return 2;
  }
  try
  {
    const auto loadModel = [](const char * path) {
      auto model = itk::TorchModel::New();
      model->SetPath(path);
      model->Load();
      return model;
    };
    auto grading = itk::GliomaGradingFilter<>::New();
    grading->SetSequence("T1", itk::ReadImage<itk::Image<float, 3>>(argv[1]));
    grading->SetSequence("T1c", itk::ReadImage<itk::Image<float, 3>>(argv[2]));
    grading->SetSequence("T2", itk::ReadImage<itk::Image<float, 3>>(argv[3]));
    grading->SetSequence("FLAIR", itk::ReadImage<itk::Image<float, 3>>(argv[4]));
    grading->SetSegmentationModel(loadModel(argv[5]));
    grading->SetGradingModel(loadModel(argv[6]));
    grading->Update();
    itk::WriteImage(grading->GetOutput(), argv[7], true);

    if (!grading->GetTumourFound())
    {
      std::cout << "No tumour was found." << std::endl;
      return 0;
    }
    std::cout << "Grade: " << grading->GetGrade() << ", tumour " << grading->GetTumourVolume() << " ml" << std::endl;
    for (std::size_t i = 0; i < grading->GetProbabilities().size(); ++i)
    {
      std::cout << "P(" << grading->GetClassNames()[i] << ") = " << grading->GetProbabilities()[i] << std::endl;
    }
    std::cout << "Research use only. The grading model says: " << grading->GetGradingModel()->GetManifest().TrainingData
              << std::endl;
    return 0;
  }
  catch (const itk::ExceptionObject & error)
  {
    std::cerr << error.GetDescription() << std::endl;
    return 1;
  }
}
