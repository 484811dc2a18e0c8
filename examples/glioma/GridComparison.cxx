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

#include <cmath>
#include <sstream>

namespace glioma
{
bool
IsOnGridOf(const itk::ImageBase<3> * image, const itk::ImageBase<3> * reference, double tolerance)
{
  bool isSame = image->GetLargestPossibleRegion().GetSize() == reference->GetLargestPossibleRegion().GetSize();
  for (unsigned int d = 0; d < 3; ++d)
  {
    const double voxel = reference->GetSpacing()[d];
    isSame = isSame && std::abs(image->GetSpacing()[d] - voxel) <= tolerance * voxel &&
             std::abs(image->GetOrigin()[d] - reference->GetOrigin()[d]) <= tolerance * voxel;
    for (unsigned int c = 0; c < 3; ++c)
    {
      isSame = isSame && std::abs(image->GetDirection()[d][c] - reference->GetDirection()[d][c]) <= tolerance;
    }
  }
  return isSame;
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
