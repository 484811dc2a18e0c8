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
#ifndef itkSha256_h
#define itkSha256_h

#include "GliomaGradingExport.h"

#include <cstddef>
#include <string>

namespace itk
{
/** SHA-256 of a file's bytes as 64 lower-case hexadecimal digits; throws ExceptionObject where it cannot be read. */
GliomaGrading_EXPORT std::string
                     Sha256OfFile(const std::string & path);

/** SHA-256 of a block of memory as 64 lower-case hexadecimal digits. */
GliomaGrading_EXPORT std::string
                     Sha256OfMemory(const void * data, std::size_t bytes);
} // namespace itk

#endif // itkSha256_h
