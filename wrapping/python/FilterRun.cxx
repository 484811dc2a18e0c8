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
#include "FilterRun.h"

#include "PythonErrors.h"
#include "TerminalText.h"
#include "itkMultiThreaderBase.h"
#include "itkOutputWindow.h"
#include "itkVersion.h"

#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <set>
#include <thread>

#include <unistd.h>

namespace gliomagrading
{
namespace
{
constexpr std::chrono::milliseconds betweenSignals{ 100 };
constexpr std::chrono::seconds      patienceWithCallbacks{ 10 };

/** Keeps the warnings for Python's own module. */
class WarningList : public itk::OutputWindow
{
public:
  ITK_DISALLOW_COPY_AND_MOVE(WarningList);
  using Self = WarningList;
  using Superclass = itk::OutputWindow;
  using Pointer = itk::SmartPointer<Self>;
  itkNewMacro(Self);

  static Self *
  Get()
  {
    static const Pointer list = [] {
      const Pointer made = Self::New();
      itk::OutputWindow::SetInstance(made);
      return made;
    }();
    return list;
  }

  void
  DisplayText(const char * text) override
  {
    std::string line(text);
    const auto  place = line.find("): ");
    line = place == std::string::npos ? line : line.substr(place + 3);
    line.erase(line.find_last_not_of(" \n") + 1);
    const std::lock_guard<std::mutex> lock(m_Mutex);
    m_Lines.push_back(line);
  }

  std::vector<std::string>
  Take()
  {
    const std::lock_guard<std::mutex> lock(m_Mutex);
    std::vector<std::string>          lines;
    lines.swap(m_Lines);
    return lines;
  }

protected:
  WarningList() = default;
  ~WarningList() override = default;

private:
  std::mutex               m_Mutex;
  std::vector<std::string> m_Lines;
};

/** The running work as its caller sees it. */
struct Watch
{
  std::mutex              Mutex;
  std::condition_variable Changed;
  bool                    IsDone{ false };
  bool                    HasNews{ false };
  double                  Progress{ 0.0 };
  std::string             Stage;
  std::exception_ptr      Error;
};

/** Python's lock is given back while this lives. */
class WithoutLock
{
public:
  WithoutLock()
    : m_State(PyEval_SaveThread())
  {}
  ~WithoutLock() { PyEval_RestoreThread(m_State); }
  WithoutLock(const WithoutLock &) = delete;
  WithoutLock &
  operator=(const WithoutLock &) = delete;

private:
  PyThreadState * m_State;
};

/** One that runs. They are listed under Python's lock; a forked child has none of those of its parent. */
class CountedRun
{
public:
  CountedRun(Watch & watch, const std::function<void()> & abort)
    : m_Watch(watch)
    , m_Abort(abort)
  {
    if (s_Process != getpid())
    {
      s_Runs.clear();
    }
    s_Process = getpid();
    s_Runs.insert(this);
  }
  ~CountedRun() { s_Runs.erase(this); }
  CountedRun(const CountedRun &) = delete;
  CountedRun &
  operator=(const CountedRun &) = delete;

  static bool
  IsAnyThere()
  {
    return s_Process == getpid() && !s_Runs.empty();
  }

  /** Ends what runs while a callback keeps its caller. True where nothing else is there. */
  static bool
  AbortBehindCallbacks()
  {
    bool isAll = true;
    for (CountedRun * const run : s_Runs)
    {
      bool isDone = false;
      {
        const std::lock_guard<std::mutex> lock(run->m_Watch.Mutex);
        isDone = run->m_Watch.IsDone;
      }
      if (run->m_IsCalledBack && !isDone)
      {
        run->m_Abort();
      }
      isAll = isAll && run->m_IsCalledBack && isDone;
    }
    return isAll;
  }

  /** False where a signal or the callback raised. */
  bool
  CallBack(PyObject * callback, double progress, const std::string & stage)
  {
    m_IsCalledBack = true;
    PyObject * const answer = PyObject_CallFunction(callback, "ds", progress, stage.c_str());
    m_IsCalledBack = false;
    Py_XDECREF(answer);
    return answer != nullptr;
  }

private:
  static inline pid_t                  s_Process{ 0 };
  static inline std::set<CountedRun *> s_Runs;

  Watch &                       m_Watch;
  const std::function<void()> & m_Abort;
  bool                          m_IsCalledBack{ false };
};

/** The thread that ends Python, which may still run something; none before. Under Python's lock. */
std::thread::id endingThread;

bool
MustEnd()
{
  return endingThread != std::thread::id() && endingThread != std::this_thread::get_id();
}

void
RunAndWatch(Watch & watch, const std::function<void()> & work, const std::function<void()> & abort, PyObject * callback)
{
  if (MustEnd())
  {
    throw itk::ProcessAborted(__FILE__, __LINE__);
  }
  CountedRun counted(watch, abort);
  WarningList::Get();
  PyObject *  type = nullptr;
  PyObject *  value = nullptr;
  PyObject *  trace = nullptr;
  bool        isAborted = false;
  std::thread thread([&watch, &work] {
    std::exception_ptr error;
    try
    {
      work();
    }
    catch (...)
    {
      error = std::current_exception();
    }
    const std::lock_guard<std::mutex> lock(watch.Mutex);
    watch.Error = error;
    watch.IsDone = true;
    watch.Changed.notify_all();
  });
  for (bool isDone = false; !isDone;)
  {
    bool        hasNews = false;
    double      progress = 0.0;
    std::string stage;
    {
      const WithoutLock            withoutLock;
      std::unique_lock<std::mutex> lock(watch.Mutex);
      watch.Changed.wait_for(lock, betweenSignals, [&watch] { return watch.IsDone; });
      isDone = watch.IsDone;
      std::swap(hasNews, watch.HasNews);
      progress = watch.Progress;
      stage = watch.Stage;
    }
    if (!isAborted && !MustEnd())
    {
      const bool isCalled = callback != nullptr && callback != Py_None && hasNews;
      isAborted = PyErr_CheckSignals() != 0 || (isCalled && !counted.CallBack(callback, progress, stage));
      if (isAborted)
      {
        PyErr_Fetch(&type, &value, &trace);
      }
    }
    if ((isAborted || MustEnd()) && !isDone)
    {
      // Again and again: a filter clears its flag when it begins.
      abort();
    }
  }
  {
    const WithoutLock withoutLock;
    thread.join();
  }
  if (isAborted)
  {
    PyErr_Restore(type, value, trace);
    throw PythonErrorIsSet();
  }
  if (watch.Error)
  {
    std::rethrow_exception(watch.Error);
  }
}
} // namespace

FilterRun::FilterRun(itk::ProcessObject * filter)
  : m_Filter(filter)
{}

FilterRun::~FilterRun() = default;

void
FilterRun::Run()
{
  this->RefuseInput([this] {
    m_Filter->UpdateOutputInformation();
    m_Filter->UpdateLargestPossibleRegion();
  });
}

void
FilterRun::RefuseInput(const std::function<void()> & update)
{
  try
  {
    update();
  }
  catch (const itk::ProcessAborted &)
  {
    throw;
  }
  catch (const itk::MemoryAllocationError &)
  {
    throw;
  }
  catch (const itk::ExceptionObject & error)
  {
    throw InputException(glioma::WithoutOrigin(error));
  }
}

std::string
FilterRun::GetStage() const
{
  return m_Filter->GetNameOfClass();
}

double
FilterRun::GetProgress() const
{
  return m_Filter->GetProgress();
}

void
FilterRun::Update(PyObject * callback)
{
  Watch               watch;
  const unsigned long observer = m_Filter->AddObserver(itk::ProgressEvent(), [this, &watch](const itk::EventObject &) {
    const std::string                 stage = this->GetStage();
    const double                      progress = this->GetProgress();
    const std::lock_guard<std::mutex> lock(watch.Mutex);
    watch.Progress = progress;
    watch.Stage = stage;
    watch.HasNews = true;
  });
  const auto          abort = [this] { m_Filter->AbortGenerateDataOn(); };
  try
  {
    RunAndWatch(watch, [this] { this->Run(); }, abort, callback);
  }
  catch (...)
  {
    m_Filter->RemoveObserver(observer);
    throw;
  }
  m_Filter->RemoveObserver(observer);
}

void
RunInThread(const std::function<void()> & work, const std::function<void()> & abort)
{
  Watch watch;
  RunAndWatch(watch, work, abort, nullptr);
}

void
EndRuns()
{
  endingThread = std::this_thread::get_id();
  const auto end = std::chrono::steady_clock::now() + patienceWithCallbacks;
  while (CountedRun::IsAnyThere())
  {
    // A callback may wait for what never comes; nothing runs behind it any more.
    if (CountedRun::AbortBehindCallbacks() && std::chrono::steady_clock::now() > end)
    {
      return;
    }
    {
      const WithoutLock withoutLock;
      std::this_thread::sleep_for(betweenSignals / 5);
    }
    if (PyErr_CheckSignals() != 0)
    {
      throw PythonErrorIsSet();
    }
  }
}

void
SetNumberOfThreads(unsigned int threads)
{
  // The default of a process that has not been told.
  static const unsigned int automatic = itk::MultiThreaderBase::GetGlobalDefaultNumberOfThreads();
  static const unsigned int most = itk::MultiThreaderBase::GetGlobalMaximumNumberOfThreads();
  itk::MultiThreaderBase::SetGlobalMaximumNumberOfThreads(threads == 0 ? most : threads);
  itk::MultiThreaderBase::SetGlobalDefaultNumberOfThreads(threads == 0 ? automatic : threads);
}

unsigned int
GetNumberOfThreads()
{
  return itk::MultiThreaderBase::GetGlobalDefaultNumberOfThreads();
}

std::vector<std::string>
TakeWarnings()
{
  return WarningList::Get()->Take();
}

std::string
GetITKVersion()
{
  return itk::Version::GetITKVersion();
}

std::string
GetTorchVersion()
{
  return GLIOMA_TORCH_VERSION;
}
} // namespace gliomagrading
