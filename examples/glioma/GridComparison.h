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
#ifndef GridComparison_h
#define GridComparison_h

#include "itkImageBase.h"

#include <string>

namespace glioma
{
/** For images that are compared voxel by voxel: what a header's rounding leaves. */
constexpr double gridTolerance = 1e-3;

/** Whether an image has the region and place of another, within a share of a voxel and in each direction cosine
 * (itk::GridDifference). */
bool
IsOnGridOf(const itk::ImageBase<3> * image, const itk::ImageBase<3> * reference, double tolerance);

/** Size, spacing and origin, for messages. */
std::string
DescribeGrid(const itk::ImageBase<3> * image);
} // namespace glioma

#endif // GridComparison_h
