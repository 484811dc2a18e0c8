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
#ifndef ReportVolume_h
#define ReportVolume_h

#include "itkImage.h"
#include "itkVectorImage.h"

#include <array>
#include <string>

namespace glioma
{
using ReportImageType = itk::Image<float, 3>;
using ReportMaskType = itk::Image<unsigned char, 3>;
using ReportMapsType = itk::VectorImage<float, 3>;

/** The voxels that the page shows: a box of the image's grid, each voxel the mean of a block of the image's. */
struct ReportGrid
{
  itk::ImageRegion<3>         Box;
  std::array<unsigned int, 3> Block{ { 1, 1, 1 } };

  itk::SizeValueType
  SizeOf(unsigned int axis) const
  {
    return (Box.GetSize(axis) + Block[axis] - 1) / Block[axis];
  }
  itk::SizeValueType
  NumberOfVoxels() const
  {
    return SizeOf(0) * SizeOf(1) * SizeOf(2);
  }
};

/** The box of what is not 0 with \a margin mm around it; empty where all is 0. */
itk::ImageRegion<3>
BoxOf(const ReportMaskType * mask, double margin);

/** Makes the blocks larger along the axes on which the voxels are smallest, until there are at most \a voxels of them.
 */
void
Coarsen(ReportGrid & grid, const itk::ImageBase<3> & image, itk::SizeValueType voxels);

// A volume as a page carries it: compressed NIfTI of one byte a voxel, in base64. Stored values times the slope plus
// the intercept of its header are the image's values.

/** Grey levels between two values; outside the brain what is stored is 0, which stands below \a low. */
std::string
PackSequence(const ReportImageType * image,
             const ReportMaskType *  brain,
             const ReportGrid &      grid,
             double                  low,
             double                  high);

/** Stores 0 to the largest value as 0 to 255. */
std::string
PackMap(const ReportImageType * map, const ReportGrid & grid, double largest);

/** Stores -scale to scale of one component as 1 to 255, around 128. */
std::string
PackSignedMap(const ReportMapsType * maps, unsigned int component, const ReportGrid & grid, double scale);

/** Stores 1 where at least half of a block is in the mask; with \a isOutline only in blocks with a face to outside. */
std::string
PackMask(const ReportMaskType * mask, const ReportGrid & grid, bool isOutline);

/** Base64 of a block of memory. */
std::string
ToBase64(const std::string & bytes);
} // namespace glioma

#endif // ReportVolume_h
