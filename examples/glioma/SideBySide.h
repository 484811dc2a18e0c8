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
#ifndef SideBySide_h
#define SideBySide_h

#include <cstddef>
#include <functional>
#include <vector>

namespace glioma
{
/** Runs tasks in at most \a threads threads, that of the caller among them; they begin in their order. Where the system
 * refuses a thread, those that there are do its work. After a failure no other task begins. Returns when all that began
 * have ended; throws what the first of them in the order threw. */
void
RunSideBySide(const std::vector<std::function<void()>> & tasks, std::size_t threads);
} // namespace glioma

#endif // SideBySide_h
