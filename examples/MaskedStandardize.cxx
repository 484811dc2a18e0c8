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
// Gives one sequence zero mean and unit variance inside a brain mask.
#include "itkImageFileReader.h"
#include "itkImageFileWriter.h"
#include "itkMaskedStandardizeFilter.h"

#include <cstdlib>
#include <iostream>

int
main(int argc, char * argv[])
{
  if (argc != 4 && argc != 6)
  {
    std::cerr << "Usage: " << argv[0] << " image brain-mask output [lower quantile, 0] [upper quantile, 1]\n";
    return 2;
  }
  using ImageType = itk::Image<float, 3>;
  using MaskType = itk::Image<unsigned char, 3>;
  try
  {
    auto filter = itk::MaskedStandardizeFilter<ImageType, MaskType>::New();
    filter->SetInput(itk::ReadImage<ImageType>(argv[1]));
    filter->SetMaskImage(itk::ReadImage<MaskType>(argv[2]));
    if (argc == 6)
    {
      filter->SetLowerQuantile(std::atof(argv[4]));
      filter->SetUpperQuantile(std::atof(argv[5]));
    }
    itk::WriteImage(filter->GetOutput(), argv[3]);

    std::cout << "mean: " << filter->GetMean()[0] << "\n"
              << "standard deviation: " << filter->GetStandardDeviation()[0] << "\n"
              << "voxels: " << filter->GetCount()[0] << "\n"
              << "range: " << filter->GetLowerBound()[0] << " to " << filter->GetUpperBound()[0] << "\n";
  }
  catch (const std::exception & error)
  {
    std::cerr << error.what() << "\n";
    return 1;
  }
  return 0;
}
