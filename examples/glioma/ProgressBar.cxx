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
#include "ProgressBar.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include <unistd.h>

namespace glioma
{
ProgressBar::ProgressBar()
  : m_IsTerminal(isatty(STDERR_FILENO) != 0)
{}

ProgressBar::~ProgressBar()
{
  this->Clear();
}

void
ProgressBar::Show(double done, const std::string & stage)
{
  const int percent = static_cast<int>(std::lround(100.0 * std::clamp(done, 0.0, 1.0)));
  if (!m_IsTerminal || (percent == m_Percent && stage == m_Stage))
  {
    return;
  }
  m_Percent = percent;
  m_Stage = stage;
  constexpr int     width = 40;
  const int         filled = percent * width / 100;
  const std::string bar =
    std::string(static_cast<std::size_t>(filled), '#') + std::string(static_cast<std::size_t>(width - filled), '.');
  std::fprintf(stderr, "\r[%s] %3d %% %-24.24s", bar.c_str(), percent, stage.c_str());
  std::fflush(stderr);
  m_IsShown = true;
}

void
ProgressBar::Clear()
{
  if (m_IsShown)
  {
    std::fprintf(stderr, "\r%-80s\r", "");
    std::fflush(stderr);
    m_IsShown = false;
  }
}
} // namespace glioma
