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

// Links only where LibTorch and ITK agree on the ABI of std::string, and where the OpenMP runtime is there that
// at::parallel_for() was compiled for.
#include <ATen/Parallel.h>
#include <c10/util/Exception.h>

#include <atomic>
#include <string>

static_assert(_GLIBCXX_USE_CXX11_ABI == 1, "ITK and LibTorch are used with the C++11 ABI of std::string");

int
main(int argc, char **)
{
  const c10::Error     error({ __func__, __FILE__, 0 }, std::string("probe"));
  std::atomic<int64_t> sum{ 0 };
  at::parallel_for(0, 100, 1, [&](int64_t begin, int64_t end) { sum += end - begin; });
  return error.msg().size() == static_cast<std::size_t>(argc) || sum != 100 ? 1 : 0;
}
