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
#include <vector>

namespace glioma
{
/** Writes an image compressed, with \a dictionary instead of its own, and reads the file again, up to the sum of its
 * bytes: what a full disk cut off is noticed in every format. Throws with what to do. */
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

/** Whether images of this name may be written in several threads at once. */
bool
CanBeWrittenSideBySide(const std::string & path);

/** A key that may leave with the results, and what its values look like: no free text. */
struct AllowedKey
{
  enum class Kind
  {
    Numbers, // digits, signs, points, exponents, backslashes
    Code,    // capitals, digits, underscores, backslashes
    Space    // a space of NRRD
  };
  const char * Name;
  Kind         Values;
};

/** The keys of geometry and acquisition that may leave: without names, dates, places and free text. README.md beside
 * this file documents them. */
const std::vector<AllowedKey> &
GetAllowedKeys();

/** What of a dictionary may leave: allowed keys whose values look as they should. */
itk::MetaDataDictionary
WithoutIdentifiers(const itk::MetaDataDictionary & dictionary);
} // namespace glioma

#endif // ImageOutput_h
