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
#ifndef SyntheticHead_h
#define SyntheticHead_h

#include "ObliqueImage.h"

#include <array>
#include <cmath>

/** A small skull-stripped head on an oblique, anisotropic, shifted grid: an ellipsoid of 1100 ml with a bright blob as
 * its tumour. Every sequence has its own contrast. */
struct SyntheticHead
{
  using ImageType = itk::Image<float, 3>;
  using MaskType = itk::Image<unsigned char, 3>;

  std::array<ImageType::Pointer, 4> Sequences;
  MaskType::Pointer                 Brain;
  MaskType::Pointer                 Tumour;

  SyntheticHead()
  {
    constexpr double             spacing[3] = { 4.0, 5.0, 4.5 };
    constexpr double             radius[3] = { 60.0, 72.0, 61.0 }; // mm
    constexpr itk::SizeValueType size[3] = { 36, 35, 33 };
    Brain = MakeGrid<MaskType>(size, spacing);
    Tumour = MakeGrid<MaskType>(size, spacing);
    for (ImageType::Pointer & sequence : Sequences)
    {
      sequence = MakeGrid<ImageType>(size, spacing);
    }
    constexpr float contrast[4][2] = { { 100.0F, -20.0F }, { 110.0F, 60.0F }, { 200.0F, 90.0F }, { 150.0F, 120.0F } };
    itk::ImageRegionIteratorWithIndex<MaskType> voxel(Brain, Brain->GetLargestPossibleRegion());
    for (itk::SizeValueType n = 0; !voxel.IsAtEnd(); ++voxel, ++n)
    {
      double brain = 0.0;
      double tumour = 0.0;
      for (unsigned int d = 0; d < 3; ++d)
      {
        const double at = (static_cast<double>(voxel.GetIndex()[d] - Brain->GetLargestPossibleRegion().GetIndex(d)) -
                           0.5 * static_cast<double>(size[d] - 1)) *
                          spacing[d];
        brain += at * at / (radius[d] * radius[d]);
        tumour += (at - 12.0 * (d + 1)) * (at - 12.0 * (d + 1)) / (16.0 * 16.0);
      }
      if (brain >= 1.0)
      {
        continue;
      }
      voxel.Set(1);
      Tumour->SetPixel(voxel.GetIndex(), tumour < 1.0 ? 1 : 0);
      for (unsigned int s = 0; s < 4; ++s)
      {
        Sequences[s]->SetPixel(voxel.GetIndex(),
                               contrast[s][0] + (tumour < 1.0 ? contrast[s][1] : 0.0F) +
                                 30.0F * oblique::Noise(n * 4 + s) + static_cast<float>(10.0 * std::sin(0.3 * n)));
      }
    }
  }

private:
  template <typename TImage>
  static typename TImage::Pointer
  MakeGrid(const itk::SizeValueType (&size)[3], const double (&spacing)[3])
  {
    auto image = oblique::Make<TImage>(
      static_cast<unsigned int>(size[0]), static_cast<unsigned int>(size[1]), static_cast<unsigned int>(size[2]));
    image->SetSpacing(spacing);
    itk::EncapsulateMetaData<double>(image->GetMetaDataDictionary(), "EchoTime", 87.5);
    return image;
  }
};

#endif // SyntheticHead_h
