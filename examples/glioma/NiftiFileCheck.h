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
#ifndef NiftiFileCheck_h
#define NiftiFileCheck_h

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

namespace glioma
{
/** What ITK's NIfTI library passes over in silence: a file that ends too early, and voxels that are not finite, which
 * it replaces by 0. Throws where the voxels of \a path are cut off or damaged; gives the place in the buffer and the
 * value of each voxel that is not finite. Files of other formats have none. */
std::vector<std::pair<std::size_t, float>>
FindNonFiniteNiftiVoxels(const std::string & path);
} // namespace glioma

#endif // NiftiFileCheck_h
