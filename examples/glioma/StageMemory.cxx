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
#include "StageMemory.h"

#include <algorithm>
#include <fstream>
#include <locale>
#include <sstream>

#include <sys/resource.h>

namespace glioma
{
namespace
{
// A line of /proc/self/status, else getrusage.
double
StatusOf(const std::string & key)
{
  std::ifstream status("/proc/self/status");
  std::string   line;
  while (std::getline(status, line))
  {
    if (line.rfind(key, 0) == 0)
    {
      std::istringstream number(line.substr(key.size()));
      number.imbue(std::locale::classic());
      double kilobytes = 0.0;
      number >> kilobytes;
      return kilobytes / 1024.0;
    }
  }
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024.0;
}

double
PeakNow()
{
  return StatusOf("VmHWM:");
}

void
ResetPeak()
{
  std::ofstream file("/proc/self/clear_refs");
  file << "5";
}
} // namespace

StageMemory::StageMemory()
{
  ResetPeak();
}

void
StageMemory::Begin(const std::string & stage)
{
  if (stage == m_Stage)
  {
    return;
  }
  m_Peaks.emplace_back(m_Stage, PeakNow());
  ResetPeak();
  m_Stage = stage;
}

double
StageMemory::PeakOf(const std::string & stage) const
{
  double peak = stage == m_Stage ? PeakNow() : 0.0;
  for (const auto & entry : m_Peaks)
  {
    if (entry.first == stage)
    {
      peak = std::max(peak, entry.second);
    }
  }
  return peak;
}

double
StageMemory::Peak() const
{
  double peak = PeakNow();
  for (const auto & entry : m_Peaks)
  {
    peak = std::max(peak, entry.second);
  }
  return peak;
}

double
StageMemory::Resident()
{
  return StatusOf("VmRSS:");
}
} // namespace glioma
