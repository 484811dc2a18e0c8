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
#ifndef FileLock_h
#define FileLock_h

#include <string>

namespace itk
{
/** \class FileLock
 * \brief Holds a file for itself as long as it lives, also against other threads and processes of this machine.
 *
 * The file stays; a process that ends lets go of it. Where the system or the file's disk knows no such locks, nothing
 * is held and nobody is refused.
 * \ingroup GliomaGrading
 */
class FileLock
{
public:
  explicit FileLock(const std::string & path);
  ~FileLock();
  FileLock(const FileLock &) = delete;
  FileLock &
  operator=(const FileLock &) = delete;

  /** Somebody else holds it. */
  bool
  IsRefused() const
  {
    return m_Refused;
  }

private:
  int  m_Descriptor{ -1 };
  bool m_Refused{ false };
};
} // namespace itk

#endif // FileLock_h
