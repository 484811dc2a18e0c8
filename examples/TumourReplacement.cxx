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
// Puts healthy tissue of the brain's other half in a tumour's place: what a grader says of the result does not come
// from the tumour.
#include "itkImageFileReader.h"
#include "itkImageFileWriter.h"
#include "itkTumourReplacementFilter.h"

#include <cstdlib>
#include <iostream>

int
main(int argc, char * argv[])
{
  if (argc < 5)
  {
    std::cerr << "Usage: " << argv[0] << " image tumour-mask brain-mask output [reach in mm, 3] [softness in mm, 3]\n"
              << "An image of several components is several sequences: the mirror is found in the first.\n";
    return 2;
  }
  using ImageType = itk::VectorImage<float, 3>; // or itk::Image<float, 3>
  using MaskType = itk::Image<unsigned char, 3>;
  try
  {
    auto filter = itk::TumourReplacementFilter<ImageType, MaskType>::New();
    filter->SetInput(itk::ReadImage<ImageType>(argv[1]));
    filter->SetTumourMaskImage(itk::ReadImage<MaskType>(argv[2]));
    filter->SetBrainMaskImage(itk::ReadImage<MaskType>(argv[3]));
    if (argc > 5)
    {
      filter->SetReach(std::atof(argv[5]));
    }
    if (argc > 6)
    {
      filter->SetSoftness(std::atof(argv[6]));
    }
    itk::WriteImage(filter->GetOutput(), argv[4]);

    std::cout << "without healthy tissue opposite: " << 100.0 * filter->GetFilledShare() << " % of the tumour\n";
  }
  catch (const std::exception & error)
  {
    std::cerr << error.what() << "\n";
    return 1;
  }
  return 0;
}
