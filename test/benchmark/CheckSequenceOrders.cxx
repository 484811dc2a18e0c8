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
// What SequenceOrderCalculator says of the 24 orders of four images; measure_verdict.py counts it over a cohort.
//   CheckSequenceOrders T1 T1C T2 FLAIR      a line an order: the images given as T1, T1c, T2, FLAIR, and what they
//   look like
#include "itkImageFileReader.h"
#include "itkSequenceOrderCalculator.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <iostream>

int
main(int argc, char * argv[])
{
  if (argc != 5)
  {
    std::cerr << "usage: CheckSequenceOrders T1 T1C T2 FLAIR\n";
    return 2;
  }
  using ImageType = itk::Image<float, 3>;
  using MaskType = itk::Image<unsigned char, 3>;
  try
  {
    std::array<ImageType::Pointer, 4> sequences;
    const auto                        mask = MaskType::New();
    for (unsigned int s = 0; s < 4; ++s)
    {
      sequences[s] = itk::ReadImage<ImageType>(argv[s + 1]);
      if (s == 0)
      {
        mask->SetRegions(sequences[0]->GetLargestPossibleRegion());
        mask->Allocate();
        mask->FillBuffer(0);
      }
      if (sequences[s]->GetLargestPossibleRegion() != mask->GetLargestPossibleRegion())
      {
        itkGenericExceptionMacro(<< argv[s + 1] << " has another size than " << argv[1]);
      }
      for (itk::SizeValueType i = 0; i < mask->GetLargestPossibleRegion().GetNumberOfPixels(); ++i)
      {
        mask->GetBufferPointer()[i] |= sequences[s]->GetBufferPointer()[i] != 0.0F ? 1 : 0;
      }
    }
    using CalculatorType = itk::SequenceOrderCalculator<ImageType, MaskType>;
    std::array<unsigned int, 4> order{ { 0, 1, 2, 3 } };
    do
    {
      const auto calculator = CalculatorType::New();
      for (unsigned int i = 0; i < 4; ++i)
      {
        calculator->SetSequence(i, sequences[order[i]]);
      }
      calculator->SetMask(mask);
      calculator->Compute();
      for (const unsigned int i : order)
      {
        std::cout << i << ' ';
      }
      for (const unsigned int i : calculator->GetLooksLike())
      {
        std::cout << ' ' << i;
      }
      std::cout << '\n';
    } while (std::next_permutation(order.begin(), order.end()));
  }
  catch (const std::exception & error)
  {
    std::cerr << error.what() << '\n';
    return EXIT_FAILURE;
  }
  return EXIT_SUCCESS;
}
