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
#ifndef ImageOutput_h
#define ImageOutput_h

#include "itkImage.h"
#include "itkMetaDataDictionary.h"
#include "itkVectorImage.h"

#include <string>

namespace glioma
{
/** Writes an image compressed, with \a dictionary instead of its own, and reads it back: what a full disk cut off is
 * noticed in every format. Throws with what to do. */
void
WriteImage(const itk::Image<unsigned char, 3> * image,
           const itk::MetaDataDictionary &      dictionary,
           const std::string &                  path);
void
WriteImage(const itk::Image<float, 3> * image, const itk::MetaDataDictionary & dictionary, const std::string & path);
void
WriteImage(const itk::VectorImage<float, 3> * image,
           const itk::MetaDataDictionary &    dictionary,
           const std::string &                path);

/** The keys of geometry and acquisition that may leave with the results: an allow-list, without names, dates, places
 * and free text. */
itk::MetaDataDictionary
WithoutIdentifiers(const itk::MetaDataDictionary & dictionary);
} // namespace glioma

#endif // ImageOutput_h
