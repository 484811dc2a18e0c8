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
#include "GridComparison.h"

#include "itkGridDifference.h"

#include <sstream>

namespace glioma
{
bool
IsOnGridOf(const itk::ImageBase<3> * image, const itk::ImageBase<3> * reference, double tolerance)
{
  return itk::GridDifference<3>(reference, image).IsWithin(tolerance, tolerance);
}

std::string
DescribeGrid(const itk::ImageBase<3> * image)
{
  std::ostringstream text;
  text << image->GetLargestPossibleRegion().GetSize() << " voxels of " << image->GetSpacing() << " mm at "
       << image->GetOrigin();
  return text.str();
}
} // namespace glioma
