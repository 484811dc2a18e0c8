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
#ifndef DiskFlush_h
#define DiskFlush_h

#include <string>

namespace itk
{
/** Waits until a file, or the names in a folder, are on the disk: a crash after a rename then leaves the old file or
 * the new one. False: they could not be written. */
bool
FlushToDisk(const std::string & path);
} // namespace itk

#endif // DiskFlush_h
