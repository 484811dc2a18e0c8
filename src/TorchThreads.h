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
#ifndef TorchThreads_h
#define TorchThreads_h

#include <functional>
#include <memory>

namespace itk
{
/** \class TorchThreads
 * \brief Gives torch's operators a number of threads for as long as the guard lives, then restores the one before.
 *
 * torch keeps the number for each calling thread, and a thread that is new to torch starts with the number that was set
 * last anywhere. A guard made while others live may therefore have found a borrowed number: it restores the one that
 * was there before the first of them. 0 leaves torch's number as it is.
 *
 * What an interpreter gave to SetInterpreterUnlock() lets go of its lock for as long: its other threads run on, and
 * torch's autograd does not run under Python's.
 * \ingroup GliomaGrading
 */
class TorchThreads
{
public:
  TorchThreads(const TorchThreads &) = delete;
  TorchThreads &
  operator=(const TorchThreads &) = delete;

  explicit TorchThreads(unsigned int threads);
  ~TorchThreads();

  /** Gives what takes the lock again when it goes; called on the thread that computes. */
  using UnlockType = std::function<std::shared_ptr<void>()>;
  static void
  SetInterpreterUnlock(UnlockType unlock);

private:
  std::shared_ptr<void> m_Unlocked; // first: nobody waits for another lock under the interpreter's
  int                   m_Previous{ 0 };
};
} // namespace itk

#endif // TorchThreads_h
