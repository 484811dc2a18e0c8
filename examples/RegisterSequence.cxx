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
// Brings a sequence into the space of another sequence of the same patient.
#include "itkImageFileReader.h"
#include "itkImageFileWriter.h"
#include "itkRigidRegistrationFilter.h"

#include <iostream>
#include <string>

int
main(int argc, char * argv[])
{
  if (argc < 4)
  {
    std::cerr << "Usage: " << argv[0] << " moving reference output [mask of the reference's brain]\n"
              << "Without a mask both images are skull-stripped.\n";
    return 2;
  }
  using ImageType = itk::Image<float, 3>;
  using MaskType = itk::Image<unsigned char, 3>;
  try
  {
    auto filter = itk::RigidRegistrationFilter<ImageType, MaskType>::New();
    filter->SetInput(itk::ReadImage<ImageType>(argv[1]));
    filter->SetReferenceImage(itk::ReadImage<ImageType>(argv[2]));
    if (argc > 4)
    {
      filter->SetReferenceMaskImage(itk::ReadImage<MaskType>(argv[4]));
    }
    itk::WriteImage(filter->GetOutput(), argv[3]);

    std::cout << "mutual information: " << -filter->GetInitialMetric() << " before, " << -filter->GetFinalMetric()
              << " after\n"
              << "overlap: " << 100.0 * filter->GetOverlap() << " % of the brain\n"
              << "moved by: " << filter->GetMeanDisplacement() << " mm\n"
              << "rotation:\n"
              << filter->GetTransform()->GetMatrix() << "offset: " << filter->GetTransform()->GetOffset() << " mm\n";
  }
  catch (const std::exception & error)
  {
    std::cerr << error.what() << "\n";
    return 1;
  }
  return 0;
}
