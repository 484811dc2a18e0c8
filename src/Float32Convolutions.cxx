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
#include "Float32Convolutions.h"

#include <ATen/Context.h>

#include <mutex>

namespace itk
{
namespace
{
#if TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 10)
using Setting = at::Float32Precision;
constexpr Setting float32Setting = Setting::IEEE;

Setting
GetSetting()
{
  return at::globalContext().float32Precision(at::Float32Backend::CUDA, at::Float32Op::CONV);
}

void
SetSetting(Setting setting)
{
  at::globalContext().setFloat32Precision(at::Float32Backend::CUDA, at::Float32Op::CONV, setting);
}
#else
using Setting = bool;
constexpr Setting float32Setting = false;

Setting
GetSetting()
{
  return at::globalContext().allowTF32CuDNN();
}

void
SetSetting(Setting setting)
{
  at::globalContext().setAllowTF32CuDNN(setting);
}
#endif

std::mutex   guardMutex;
unsigned int livingGuards = 0;
Setting      settingBeforeFirstGuard = float32Setting;
} // namespace

Float32Convolutions::Float32Convolutions(const torch::Device & device, bool wanted)
  : m_Acts(wanted && device.is_cuda())
{
  if (!m_Acts)
  {
    return;
  }
  const std::lock_guard<std::mutex> lock(guardMutex);
  if (livingGuards == 0)
  {
    settingBeforeFirstGuard = GetSetting();
    SetSetting(float32Setting);
  }
  ++livingGuards;
}

Float32Convolutions::~Float32Convolutions()
{
  if (!m_Acts)
  {
    return;
  }
  const std::lock_guard<std::mutex> lock(guardMutex);
  if (--livingGuards == 0)
  {
    SetSetting(settingBeforeFirstGuard);
  }
}
} // namespace itk
