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
#include "DiskFlush.h"

#ifdef __unix__
#  include <cerrno>
#  include <fcntl.h>
#  include <unistd.h>
#endif

namespace itk
{
bool
FlushToDisk(const std::string & path)
{
#ifdef __unix__
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0)
  {
    return false;
  }
  int failed = 0;
  do
  {
    failed = fsync(descriptor);
  } while (failed != 0 && errno == EINTR);
  // Some file systems know no such thing, or not for what is open to be read.
  const bool flushed = failed == 0 || (errno != EIO && errno != ENOSPC && errno != EDQUOT);
  close(descriptor);
  return flushed;
#else
  return !path.empty();
#endif
}
} // namespace itk
