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
#include "SideBySide.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <thread>

namespace glioma
{
void
RunSideBySide(const std::vector<std::function<void()>> & tasks, std::size_t threads)
{
  std::vector<std::exception_ptr> errors(tasks.size());
  std::atomic<std::size_t>        next{ 0 };
  std::atomic<bool>               isFailed{ false };
  const auto                      work = [&] {
    for (std::size_t i = next++; i < tasks.size() && !isFailed; i = next++)
    {
      try
      {
        tasks[i]();
      }
      catch (...)
      {
        errors[i] = std::current_exception();
        isFailed = true;
      }
    }
  };
  const std::size_t        wanted = std::min(threads, tasks.size());
  std::vector<std::thread> others;
  others.reserve(wanted);
  while (others.size() + 1 < wanted)
  {
    try
    {
      others.emplace_back(work);
    }
    catch (const std::exception &)
    {
      break;
    }
  }
  work();
  for (std::thread & other : others)
  {
    other.join();
  }
  for (const std::exception_ptr & error : errors)
  {
    if (error)
    {
      std::rethrow_exception(error);
    }
  }
}
} // namespace glioma
