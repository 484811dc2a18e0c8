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
// Cuts the region around a tumour mask out of an image, a cube of 96 voxels a side, and brings it back if asked.
#include "itkBoundingBoxROIFilter.h"
#include "itkFromModelSpaceFilter.h"
#include "itkImageFileReader.h"
#include "itkImageFileWriter.h"

#include <cstdlib>
#include <iostream>
#include <string>

int
main(int argc, char * argv[])
{
  if (argc < 4)
  {
    std::cerr << "Usage: " << argv[0] << " image mask output [margin, 10] [voxels|mm] [voxels a side, 96] [back]\n";
    return 2;
  }
  using ImageType = itk::Image<float, 3>;
  using MaskType = itk::Image<unsigned char, 3>;
  using Enums = itk::BoundingBoxROIFilterEnums;
  try
  {
    const auto image = itk::ReadImage<ImageType>(argv[1]);
    auto       filter = itk::BoundingBoxROIFilter<ImageType, MaskType>::New();
    filter->SetInput(image);
    filter->SetMaskImage(itk::ReadImage<MaskType>(argv[2]));
    filter->SetMargin(argc > 4 ? std::atof(argv[4]) : 10.0);
    if (argc > 5 && std::string(argv[5]) == "mm")
    {
      filter->SetMarginUnit(Enums::MarginUnit::Millimetres);
    }
    if (argc > 6)
    {
      filter->SetOutputSize(static_cast<unsigned int>(std::stoul(argv[6])));
    }
    itk::WriteImage(filter->GetOutput(), argv[3]);
    if (argc > 7)
    {
      auto back = itk::FromModelSpaceFilter<ImageType>::New();
      back->SetInput(filter->GetOutput());
      back->SetReferenceImage(image); // or another sequence with parallel axes, without the mapping
      back->SetModelMapping(filter->GetMapping());
      itk::WriteImage(back->GetOutput(), argv[7]);
    }
    std::cout << "box: " << filter->GetBox() << "\n"
              << "spacing: " << filter->GetOutput()->GetSpacing() << " mm\n"
              << "voxels: " << filter->GetNumberOfVoxels() << "\n"
              << "foci: " << filter->GetNumberOfComponents() << "\n";
    if (filter->HasStatus(Enums::StatusFlag::LeavesImage))
    {
      std::cout << "The region reaches beyond the image: the rest is 0.\n";
    }
  }
  catch (const std::exception & error)
  {
    std::cerr << error.what() << "\n";
    return 1;
  }
  return 0;
}
