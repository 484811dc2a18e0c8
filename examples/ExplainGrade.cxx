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
// GradCAM and guided backpropagation of a grade, as images in the space of REFERENCE. Research use only.
// usage: ExplainGrade REGION BUNDLE REFERENCE OUTPUT_PREFIX [CLASS]     (CLASS: a number; default: the predicted one)
#include "itkGradCAMImageFilter.h"
#include "itkGuidedBackpropagationImageFilter.h"
#include "itkImageFileReader.h"
#include "itkImageFileWriter.h"

#include <cstdlib>
#include <iostream>
#include <string>

int
main(int argc, char * argv[])
{
  if (argc != 5 && argc != 6)
  {
    std::cerr << "usage: " << argv[0] << " REGION BUNDLE REFERENCE OUTPUT_PREFIX [CLASS]\n";
    return 2;
  }
  using ImageType = itk::VectorImage<float, 3>;
  try
  {
    const auto model = itk::TorchModel::New();
    model->SetPath(argv[2]);
    model->Load();
    const auto region = itk::ReadImage<ImageType>(argv[1]);
    const auto reference = itk::ReadImage<itk::Image<float, 3>>(argv[3]);

    const auto cam = itk::GradCAMImageFilter<ImageType>::New();
    const auto guided = itk::GuidedBackpropagationImageFilter<ImageType>::New();
    cam->AddLayerName("res3");
    cam->AddLayerName("res4");
    cam->SetInput(region);
    cam->SetModel(model);
    cam->SetReferenceImage(reference);
    guided->SetInput(region);
    guided->SetModel(model);
    guided->SetReferenceImage(reference);
    if (argc == 6)
    {
      cam->SetClassToExplain(static_cast<unsigned int>(std::atoi(argv[5])));
      guided->SetClassToExplain(cam->GetClassToExplain());
    }

    const std::string prefix = argv[4];
    itk::WriteImage(cam->GetMap("res3"), prefix + "gradcam-res3.nii.gz");
    itk::WriteImage(cam->GetMap("res4"), prefix + "gradcam-res4.nii.gz");
    itk::WriteImage(guided->GetOutput(), prefix + "guided-backprop.nii.gz");
    std::cout << "explained: " << model->GetManifest().ClassNames[cam->GetExplainedClass()] << ", probability "
              << cam->GetProbabilities()[cam->GetExplainedClass()] << "\nguided ReLUs: " << guided->GetGuidedReLUs()
              << " of " << guided->GetExecutedReLUs() << '\n';
  }
  catch (const itk::ExceptionObject & error)
  {
    std::cerr << error.GetDescription() << '\n';
    return EXIT_FAILURE;
  }
  return EXIT_SUCCESS;
}
