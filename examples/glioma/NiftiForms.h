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
#ifndef NiftiForms_h
#define NiftiForms_h

#include "itkImageBase.h"

#include <string>
#include <vector>

namespace glioma
{
/** A NIfTI file places its voxels twice, by its qform and its sform, each with a code of the space that it means (1:
 * scanner, 2: aligned to another image, 3: Talairach, 4: MNI). ITK reads one of them. This compares both of the file
 * \a path with \a image as it was read: the code of one that says something else is taken out of the dictionary, with a
 * warning. Does nothing where the file is no NIfTI. */
void
KeepFormsThatAgree(const std::string & path, const std::string & role, itk::ImageBase<3> * image);

/** What stands before the voxels of the file \a path that ITK wrote (.nii.gz), for an image of \a size voxels and with
 * the codes of \a dictionary ("qform_code", "sform_code"): ITK before 5.3 writes 1 for both. Throws where it cannot be
 * read.
 */
std::vector<unsigned char>
HeaderOfWritten(const std::string & path, const itk::Size<3> & size, const itk::MetaDataDictionary & dictionary);
} // namespace glioma

#endif // NiftiForms_h
