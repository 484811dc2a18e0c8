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
#ifndef ObliqueImage_h
#define ObliqueImage_h

#include "itkCastImageFilter.h"
#include "itkImage.h"
#include "itkImageRegionIteratorWithIndex.h"
#include "itkMetaDataObject.h"
#include "itkVectorImage.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>

// Test images with every trap at once: anisotropic spacing, shifted origin, oblique direction, start index not 0.
namespace oblique
{
inline itk::Matrix<double, 3, 3>
Direction(double a = 0.3, double b = -0.2)
{
  itk::Matrix<double, 3, 3> x;
  itk::Matrix<double, 3, 3> z;
  x.SetIdentity();
  z.SetIdentity();
  z[0][0] = std::cos(a);
  z[0][1] = -std::sin(a);
  z[1][0] = std::sin(a);
  z[1][1] = std::cos(a);
  x[1][1] = std::cos(b);
  x[1][2] = -std::sin(b);
  x[2][1] = std::sin(b);
  x[2][2] = std::cos(b);
  return z * x;
}

template <typename TImage>
typename TImage::Pointer
Make(unsigned int nx, unsigned int ny, unsigned int nz, unsigned int components = 1)
{
  auto                         image = TImage::New();
  typename TImage::IndexType   start = { { 3, -2, 5 } };
  typename TImage::SizeType    size = { { nx, ny, nz } };
  typename TImage::SpacingType spacing;
  typename TImage::PointType   origin;
  spacing[0] = 0.9;
  spacing[1] = 1.1;
  spacing[2] = 2.5;
  origin[0] = -17.25;
  origin[1] = 40.5;
  origin[2] = 8.125;
  image->SetRegions(typename TImage::RegionType(start, size));
  image->SetSpacing(spacing);
  image->SetOrigin(origin);
  image->SetDirection(Direction());
  image->SetNumberOfComponentsPerPixel(components);
  image->Allocate(true);
  itk::EncapsulateMetaData<std::string>(image->GetMetaDataDictionary(), "Scanner", "phantom");
  return image;
}

// Uniform in [0, 1), the same everywhere.
inline float
Noise(std::uint64_t k)
{
  k += 0x9e3779b97f4a7c15ULL;
  k = (k ^ (k >> 30)) * 0xbf58476d1ce4e5b9ULL;
  k = (k ^ (k >> 27)) * 0x94d049bb133111ebULL;
  return static_cast<float>((k ^ (k >> 31)) >> 40) / 16777216.0F;
}

template <typename TImage>
void
FillWithNoise(TImage * image, std::uint64_t seed = 0)
{
  const auto count = image->GetBufferedRegion().GetNumberOfPixels() * image->GetNumberOfComponentsPerPixel();
  for (itk::SizeValueType k = 0; k < count; ++k)
  {
    image->GetBufferPointer()[k] = Noise(seed * 0x10000000ULL + k);
  }
}

// A source that streams and can run again: the pipeline monitor releases what it was given.
template <typename TImage>
typename itk::CastImageFilter<TImage, TImage>::Pointer
MakeSource(TImage * image)
{
  auto source = itk::CastImageFilter<TImage, TImage>::New();
  source->SetInput(image);
  source->InPlaceOff();
  return source;
}

template <typename TImage>
bool
SameVoxels(const TImage * a, const TImage * b)
{
  if (a->GetBufferedRegion() != b->GetBufferedRegion() ||
      a->GetNumberOfComponentsPerPixel() != b->GetNumberOfComponentsPerPixel())
  {
    return false;
  }
  const auto count = a->GetBufferedRegion().GetNumberOfPixels() * a->GetNumberOfComponentsPerPixel();
  return std::equal(a->GetBufferPointer(), a->GetBufferPointer() + count, b->GetBufferPointer());
}

template <typename TImage>
std::string
Scanner(const TImage * image)
{
  std::string value;
  itk::ExposeMetaData<std::string>(image->GetMetaDataDictionary(), "Scanner", value);
  return value;
}
} // namespace oblique

#endif // ObliqueImage_h
