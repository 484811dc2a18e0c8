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
// Finds the brain of a patient's skull-stripped sequences and says whether they look it.
#include "itkBrainMaskFilter.h"
#include "itkComposeImageFilter.h"
#include "itkImageFileReader.h"
#include "itkImageFileWriter.h"

#include <cstdlib>
#include <iostream>

int
main(int argc, char * argv[])
{
  if (argc < 3)
  {
    std::cerr << "Usage: " << argv[0] << " output-mask sequence [sequence ...]\n";
    return 2;
  }
  using ImageType = itk::Image<float, 3>;
  using VectorImageType = itk::VectorImage<float, 3>;
  using MaskType = itk::Image<unsigned char, 3>;
  using StatusFlag = itk::BrainMaskFilterEnums::StatusFlag;
  try
  {
    auto compose = itk::ComposeImageFilter<ImageType, VectorImageType>::New();
    for (int k = 2; k < argc; ++k)
    {
      compose->SetInput(static_cast<unsigned int>(k - 2), itk::ReadImage<ImageType>(argv[k]));
    }
    auto filter = itk::BrainMaskFilter<VectorImageType, MaskType>::New();
    filter->SetInput(compose->GetOutput());
    itk::WriteImage(filter->GetOutput(), argv[1], true);

    std::cout << "brain: " << filter->GetVolume() << " ml\n";
    if (filter->HasStatus(StatusFlag::NotSkullStripped))
    {
      std::cout << "This does not look skull-stripped: strip it, or make the mask with another tool.\n";
    }
    if (filter->HasStatus(StatusFlag::SequencesDisagree))
    {
      std::cout << "The sequences show different brains: their overlap is " << filter->GetDice() << ".\n";
    }
  }
  catch (const std::exception & error)
  {
    std::cerr << error.what() << "\n";
    return 1;
  }
  return 0;
}
