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
#ifndef FilterRun_h
#define FilterRun_h

#include <Python.h>

#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#ifndef SWIG
#  include "itkProcessObject.h"
#endif

namespace gliomagrading
{
/** A filter that Python can run.
 *
 * The filter runs in a thread of its own without Python's lock. The caller's thread waits, looks after signals ten
 * times a second, and calls back with the progress; an interrupt or an exception of the callback aborts the filter and
 * is then raised. */
class FilterRun
{
public:
  virtual ~FilterRun();
  FilterRun(const FilterRun &) = delete;
  FilterRun &
  operator=(const FilterRun &) = delete;

  /** Runs the filter. The callback is None or takes the progress (0 to 1) and the name of the stage. */
  void
  Update(PyObject * callback);

#ifndef SWIG
  itk::ProcessObject *
  GetFilter() const
  {
    return m_Filter;
  }

protected:
  explicit FilterRun(itk::ProcessObject * filter);

  /** What Update() does, in another thread. */
  virtual void
  Run();
  /** What a filter refuses is about its input. */
  static void
  RefuseInput(const std::function<void()> & update);
  /** Name of the running stage; is asked in the filter's thread. */
  virtual std::string
  GetStage() const;
  /** 0 to 1; is asked where GetStage() is. */
  virtual double
  GetProgress() const;

private:
  itk::ProcessObject::Pointer m_Filter;
#endif
};

/** Runs something without Python's lock while signals are looked after. \a abort is called when it shall end early. */
void
RunInThread(const std::function<void()> & work, const std::function<void()> & abort);

#ifndef SWIG
/** What \a work gives, which runs in a thread without Python's lock. It is no filter and ends by itself. */
template <typename TWork>
auto
ResultOfThread(const TWork & work)
{
  std::optional<decltype(work())> result;
  RunInThread([&] { result = work(); }, [] {});
  return std::move(*result);
}
#endif

/** Aborts what runs in other threads, waits for its end, and lets no other begin: Python ends. Its threads that are
 * daemons would be unwound in the midst of C++, which ends the process with an abort. */
void
EndRuns();

/** Largest number of threads of the filters and of torch; 0: all processors. */
void
SetNumberOfThreads(unsigned int threads);
unsigned int
GetNumberOfThreads();

/** Warnings of ITK since the last call. */
std::vector<std::string>
TakeWarnings();

/** Versions of ITK and LibTorch. */
std::string
GetITKVersion();
std::string
GetTorchVersion();
} // namespace gliomagrading

#endif // FilterRun_h
