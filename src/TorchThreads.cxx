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
#include "TorchThreads.h"

#include <ATen/Parallel.h>

#include <mutex>
#include <utility>

namespace itk
{
namespace
{
std::mutex   guardMutex;
unsigned int livingGuards = 0;
int          numberBeforeFirstGuard = 0;

thread_local unsigned int livingGuardsOfThread = 0;

TorchThreads::UnlockType interpreterUnlock; // set while an extension is loaded
} // namespace

void
TorchThreads::SetInterpreterUnlock(UnlockType unlock)
{
  interpreterUnlock = std::move(unlock);
}

TorchThreads::TorchThreads(unsigned int threads)
  : m_Unlocked(interpreterUnlock ? interpreterUnlock() : nullptr)
{
  const std::lock_guard<std::mutex> lock(guardMutex);
  const int                         found = at::get_num_threads();
  m_Previous = found;
  // The loops of this library take their number apart from torch's own, once in each thread, from what was set last
  // anywhere: were that later, another thread's guard that ends would change it in the middle of this one's life.
  at::internal::lazy_init_num_threads();
  if (livingGuards == 0)
  {
    numberBeforeFirstGuard = m_Previous;
  }
  else if (livingGuardsOfThread == 0)
  {
    m_Previous = numberBeforeFirstGuard;
  }
  ++livingGuards;
  ++livingGuardsOfThread;
  if (threads > 0 || at::get_num_threads() != found)
  {
    at::set_num_threads(threads > 0 ? static_cast<int>(threads) : found);
  }
}

TorchThreads::~TorchThreads()
{
  const std::lock_guard<std::mutex> lock(guardMutex);
  --livingGuards;
  --livingGuardsOfThread;
  at::set_num_threads(m_Previous);
}
} // namespace itk
