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
#include "itkImageFileReader.h"
#include "itkImageFileWriter.h"
#include "itkN4BiasCorrectionChainFilter.h"

#include <cstdlib>
#include <iostream>

// Corrects the bias field of an image with N4, and writes the log field where a fourth argument asks for it.
int
main(int argc, char * argv[])
{
  if (argc < 3 || argc > 5)
  {
    std::cerr << "usage: " << argv[0] << " IMAGE OUTPUT [MASK|-] [LOG_FIELD]\n"
              << "Without a mask the voxels above Otsu's threshold are fitted." << std::endl;
    return EXIT_FAILURE;
  }
  using ImageType = itk::Image<float, 3>;
  using MaskType = itk::Image<unsigned char, 3>;
  try
  {
    const auto n4 = itk::N4BiasCorrectionChainFilter<ImageType, MaskType>::New();
    n4->SetInput(itk::ReadImage<ImageType>(argv[1]));
    if (argc > 3 && std::string(argv[3]) != "-")
    {
      n4->SetMaskImage(itk::ReadImage<MaskType>(argv[3]));
    }
    n4->Update();
    std::cout << n4->GetStatus() << "; iterations a level " << n4->GetIterationsPerLevel() << ", log field "
              << n4->GetLogFieldMinimum() << " to " << n4->GetLogFieldMaximum() << ", fitted in " << n4->GetFitSeconds()
              << " s" << std::endl;
    itk::WriteImage(n4->GetOutput(), argv[2]);
    if (argc > 4)
    {
      itk::WriteImage(n4->GetLogBiasField(), argv[4]);
    }
  }
  catch (const itk::ExceptionObject & error)
  {
    std::cerr << error.GetDescription() << std::endl;
    return EXIT_FAILURE;
  }
  return EXIT_SUCCESS;
}
