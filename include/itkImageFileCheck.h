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
#ifndef itkImageFileCheck_h
#define itkImageFileCheck_h

#include "GliomaGradingExport.h"

#include "itkImage.h"

#include <string>
#include <utility>
#include <vector>

namespace itk
{
/** \class ImageFileCheck
 * \brief What ITK's readers of NIfTI, MetaImage and NRRD pass over in silence.
 *
 * They fill voxels that a damaged file has no longer with 0, take a damaged stream of compressed voxels as it comes,
 * replace voxels of NIfTI that are not finite by 0 (ITK 5; 6 keeps them), and trust what a header claims. Files of
 * other formats are left to their readers.
 *
 * \ingroup GliomaGrading
 */
struct GliomaGrading_EXPORT ImageFileCheck
{
  /** The file and, where the format keeps the voxels apart (.mhd, .nhdr, .hdr), the one that holds them. */
  static std::vector<std::string>
  FilesOf(const std::string & path);

  /** Place in the buffer and value of each voxel of a NIfTI file that is not finite. Throws ExceptionObject where \a
   * path is no regular file, its voxels are cut off or damaged, lie in several files or cannot be found, or its header
   * is none that ITK can be trusted with. Reads the whole file. */
  static std::vector<std::pair<SizeValueType, float>>
  FindNonFiniteVoxels(const std::string & path);

  /** Which voxel of a mask, read as it is, is below 0 or not finite; empty where none is. */
  static std::string
  FindMaskProblem(const Image<float, 3> * mask);

  /** Gives the voxels of an image that was read from such a file their values again. */
  template <typename TImage>
  static void
  Restore(const std::vector<std::pair<SizeValueType, float>> & voxels, TImage * image)
  {
    for (const auto & voxel : voxels)
    {
      image->GetBufferPointer()[voxel.first] = static_cast<typename TImage::PixelType>(voxel.second);
    }
  }
};
} // namespace itk

#endif // itkImageFileCheck_h
