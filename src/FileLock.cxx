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
#include "FileLock.h"

#ifdef __unix__
#  include <cerrno>
#  include <fcntl.h>
#  include <sys/file.h>
#  include <unistd.h>
#endif

namespace itk
{
#ifdef __unix__
FileLock::FileLock(const std::string & path)
  : m_Descriptor(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666))
{
  m_Refused = m_Descriptor >= 0 && flock(m_Descriptor, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
}

FileLock::~FileLock()
{
  if (m_Descriptor >= 0)
  {
    close(m_Descriptor);
  }
}
#else
FileLock::FileLock(const std::string &) {}

FileLock::~FileLock() = default;
#endif
} // namespace itk
