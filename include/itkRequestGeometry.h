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
#ifndef itkRequestGeometry_h
#define itkRequestGeometry_h

#include "itkImageBase.h"

namespace itk
{
/** For GenerateInputRequestedRegion(), of an image whose geometry alone is used: what is asked of it stays, as another
 * filter downstream may be waiting for it. Only what was asked of an image of another size is replaced, by the whole
 * image: a pipeline refuses it.
 * \ingroup GliomaGrading */
template <unsigned int VDimension>
void
RequestGeometry(const ImageBase<VDimension> * image)
{
  if (image != nullptr && !image->GetLargestPossibleRegion().IsInside(image->GetRequestedRegion()))
  {
    // A requested region is the pipeline's, not the owner's.
    const_cast<ImageBase<VDimension> *>(image)->SetRequestedRegion(image->GetLargestPossibleRegion());
  }
}
} // namespace itk

#endif // itkRequestGeometry_h
