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
// Does a map look at the tumour? Numbers beside what chance would give.
// usage: ExplanationQuality MAP TUMOUR_MASK [SUPPORT [BRAIN_MASK]]     (the support on the map's grid)
#include "itkExplanationQualityFilter.h"
#include "itkImageFileReader.h"
#include "itkVectorImage.h"

#include <cstdlib>
#include <iostream>

int
main(int argc, char * argv[])
{
  if (argc < 3 || argc > 5)
  {
    std::cerr << "usage: " << argv[0] << " MAP TUMOUR_MASK [SUPPORT [BRAIN_MASK]]\n";
    return 2;
  }
  using MapType = itk::VectorImage<float, 3>;
  using MaskType = itk::Image<unsigned char, 3>;
  try
  {
    const auto quality = itk::ExplanationQualityFilter<MapType, MaskType>::New();
    quality->SetInput(itk::ReadImage<MapType>(argv[1]));
    quality->SetTumourMask(itk::ReadImage<MaskType>(argv[2]));
    if (argc > 3)
    {
      quality->SetSupport(itk::ReadImage<MaskType>(argv[3]));
    }
    if (argc > 4)
    {
      quality->SetBrainMask(itk::ReadImage<MaskType>(argv[4]));
    }
    quality->Update();

    std::cout.precision(9);
    std::cout << "nan means undefined\n"
              << "total-energy " << quality->GetTotalEnergy() << '\n'
              << "tumour-share " << quality->GetTumourShare() << '\n'
              << "tumour-chance " << quality->GetTumourChance() << '\n'
              << "tumour-ratio " << quality->GetTumourRatio() << '\n'
              << "tumour-coverage " << quality->GetTumourCoverage() << '\n'
              << "peak-in-tumour " << quality->GetPeakInTumour() << '\n'
              << "tumour-rank-accuracy " << quality->GetTumourRankAccuracy() << '\n'
              << "border-share " << quality->GetBorderShare() << '\n'
              << "border-chance " << quality->GetBorderChance() << '\n'
              << "border-ratio " << quality->GetBorderRatio() << '\n'
              << "outside-share " << quality->GetOutsideShare() << '\n'
              << "gini " << quality->GetGini() << '\n'
              << "sequence-shares " << quality->GetSequenceShares() << '\n';
  }
  catch (const itk::ExceptionObject & error)
  {
    std::cerr << error.GetDescription() << '\n';
    return EXIT_FAILURE;
  }
  return EXIT_SUCCESS;
}
