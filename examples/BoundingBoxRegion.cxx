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
// Cuts the region around a tumour mask out of an image: a cube of 96 voxels a side.
#include "itkBoundingBoxROIFilter.h"
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
    std::cerr << "Usage: " << argv[0] << " image mask output [margin in voxels, 10] [voxels a side, 96]\n";
    return 2;
  }
  using ImageType = itk::Image<float, 3>;
  using MaskType = itk::Image<unsigned char, 3>;
  using StatusFlag = itk::BoundingBoxROIFilterEnums::StatusFlag;
  try
  {
    auto filter = itk::BoundingBoxROIFilter<ImageType, MaskType>::New();
    filter->SetInput(itk::ReadImage<ImageType>(argv[1]));
    filter->SetMaskImage(itk::ReadImage<MaskType>(argv[2]));
    if (argc > 4)
    {
      filter->SetMargin(static_cast<unsigned int>(std::stoul(argv[4])));
    }
    if (argc > 5)
    {
      filter->SetOutputSize(static_cast<unsigned int>(std::stoul(argv[5])));
    }
    itk::WriteImage(filter->GetOutput(), argv[3]);

    std::cout << "box: " << filter->GetBox() << "\n"
              << "spacing: " << filter->GetOutput()->GetSpacing() << " mm\n"
              << "voxels: " << filter->GetNumberOfVoxels() << "\n"
              << "foci: " << filter->GetNumberOfComponents() << "\n";
    if (filter->HasStatus(StatusFlag::LeavesImage))
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
