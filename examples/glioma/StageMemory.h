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
#ifndef StageMemory_h
#define StageMemory_h

#include <string>
#include <utility>
#include <vector>

namespace glioma
{
/** Peak memory of the process during each named stage, MiB. Where the system does not let it be reset (not Linux), it
 * is the peak since the start. */
class StageMemory
{
public:
  StageMemory();

  /** A stage begins, and the one before ends. An empty name: none runs. The same name again changes nothing. */
  void
  Begin(const std::string & stage);

  /** Peak of a stage in MiB; 0 where it did not run. Of several runs the largest. */
  double
  PeakOf(const std::string & stage) const;

  /** Peak of the whole run in MiB. */
  double
  Peak() const;

  /** What the process holds now, MiB; where the system does not tell (not Linux), its peak. */
  static double
  Resident();

private:
  std::string                                 m_Stage;
  std::vector<std::pair<std::string, double>> m_Peaks;
};
} // namespace glioma

#endif // StageMemory_h
