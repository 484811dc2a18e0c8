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
#ifndef itkTorchVolume_h
#define itkTorchVolume_h

#include "itkSize.h"

#include <cstddef>
#include <vector>

namespace itk
{
/** \class TorchVolumeView
 * \brief Read-only voxels of one region of an interleaved image, as a tensor sees them. Nothing is owned or copied.
 *
 * The buffer of a VectorImage<float, 3> is the memory of a tensor [1, C, Z, Y, X] in channels-last-3d. Strides are in
 * voxels (not in floats), so that a region of a larger buffer is a view too.
 * \ingroup GliomaGrading
 */
struct TorchVolumeView
{
  /** First component of the region's first voxel. */
  const float * Buffer{ nullptr };
  /** Sequences of a voxel. */
  unsigned int Components{ 0 };
  /** Voxels along x, y, z (ITK's order). */
  Size<3> RegionSize{ { 0, 0, 0 } };
  /** Voxels from one row to the next, and from one slice to the next; 0: the region is the whole buffer. */
  std::size_t RowStride{ 0 };
  std::size_t SliceStride{ 0 };
};

/** \class TorchVolume
 * \brief Owned interleaved voxels, components fastest, then x, y, z.
 * \ingroup GliomaGrading
 */
struct TorchVolume
{
  std::vector<float> Buffer;
  unsigned int       Components{ 0 };
  Size<3>            RegionSize{ { 0, 0, 0 } };
};
} // namespace itk

#endif // itkTorchVolume_h
