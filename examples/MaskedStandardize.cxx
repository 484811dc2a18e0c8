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
// Gives an image zero mean and unit variance inside a mask. Image and mask are read, and the result is written, in
// pieces where the format can (.mha, uncompressed): the memory taken does not grow with the image.
#include "itkImageFileReader.h"
#include "itkImageFileWriter.h"
#include "itkMaskedStandardizeFilter.h"

#include <cstdlib>
#include <iostream>
#include <string>

int
main(int argc, char * argv[])
{
  if (argc != 4 && argc != 6)
  {
    std::cerr << "Usage: " << argv[0] << " image brain-mask|whole output [lower quantile, 0] [upper quantile, 1]\n";
    return 2;
  }
  using ImageType = itk::VectorImage<float, 3>; // or itk::Image<float, 3>
  using MaskType = itk::Image<unsigned char, 3>;
  try
  {
    auto image = itk::ImageFileReader<ImageType>::New();
    image->SetFileName(argv[1]);
    auto mask = itk::ImageFileReader<MaskType>::New();
    auto filter = itk::MaskedStandardizeFilter<ImageType, MaskType>::New();
    filter->SetInput(image->GetOutput());
    if (std::string(argv[2]) == "whole")
    {
      filter->SetMode(itk::MaskedStandardizeFilterEnums::Mode::WholeImage);
    }
    else
    {
      mask->SetFileName(argv[2]);
      filter->SetMaskImage(mask->GetOutput());
    }
    if (argc == 6)
    {
      filter->SetLowerQuantile(std::atof(argv[4]));
      filter->SetUpperQuantile(std::atof(argv[5]));
    }
    auto writer = itk::ImageFileWriter<ImageType>::New();
    writer->SetInput(filter->GetOutput());
    writer->SetFileName(argv[3]);
    writer->SetNumberOfStreamDivisions(16);
    writer->Update();

    std::cout << "mean: " << filter->GetMean() << "\n"
              << "standard deviation: " << filter->GetStandardDeviation() << "\n"
              << "voxels: " << filter->GetCount() << "\n"
              << "range: " << filter->GetLowerBound() << " to " << filter->GetUpperBound() << "\n"
              << "background: " << filter->GetBackgroundValue() << "\n";
  }
  catch (const std::exception & error)
  {
    std::cerr << error.what() << "\n";
    return 1;
  }
  return 0;
}
