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
#ifndef ProgressBar_h
#define ProgressBar_h

#include <string>

namespace glioma
{
/** One line on the terminal that shows how far a run is. Writes nothing where standard error is not a terminal. */
class ProgressBar
{
public:
  ProgressBar();
  ~ProgressBar();
  ProgressBar(const ProgressBar &) = delete;
  ProgressBar &
  operator=(const ProgressBar &) = delete;

  /** \a done is from 0 to 1. */
  void
  Show(double done, const std::string & stage);

  /** Clears the line. */
  void
  Clear();

private:
  bool        m_IsTerminal;
  bool        m_IsShown{ false };
  int         m_Percent{ -1 };
  std::string m_Stage;
};
} // namespace glioma

#endif // ProgressBar_h
