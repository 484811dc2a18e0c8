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
#ifndef BatchLoader_h
#define BatchLoader_h

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace itk
{
/** \class BatchLoader
 * \brief Prepares the batches of the next steps on threads of its own, while a step computes, and gives them in order.
 *
 * At most one more than there are threads lie ready. What a thread throws is thrown by Next().
 * \ingroup GliomaGrading
 */
template <typename TBatch>
class BatchLoader
{
public:
  /** Makes the batch of a step; called by all threads at once. */
  using MakeBatch = std::function<TBatch(std::uint64_t)>;

  BatchLoader(std::uint64_t firstStep, unsigned int threads, MakeBatch make)
    : BatchLoader(firstStep, std::move(make), threads + 1)
  {
    // It is whole by now: where a thread cannot start, the destructor ends those that did.
    for (unsigned int i = 0; i < threads; ++i)
    {
      m_Threads.emplace_back([this] { this->Work(); });
    }
  }
  BatchLoader(const BatchLoader &) = delete;
  BatchLoader &
  operator=(const BatchLoader &) = delete;
  ~BatchLoader()
  {
    {
      const std::lock_guard<std::mutex> lock(m_Mutex);
      m_Ended = true;
    }
    m_Changed.notify_all();
    for (std::thread & thread : m_Threads)
    {
      thread.join();
    }
  }

  /** Waits where the batch is not ready. */
  TBatch
  Next()
  {
    std::unique_lock<std::mutex> lock(m_Mutex);
    m_Changed.wait(lock, [this] { return m_Ready.count(m_NextToGive) > 0 || m_Failure; });
    const auto ready = m_Ready.find(m_NextToGive);
    if (ready == m_Ready.end())
    {
      std::rethrow_exception(m_Failure);
    }
    TBatch batch = std::move(ready->second);
    m_Ready.erase(ready);
    ++m_NextToGive;
    m_Changed.notify_all();
    return batch;
  }

private:
  BatchLoader(std::uint64_t firstStep, MakeBatch make, unsigned int ahead)
    : m_Make(std::move(make))
    , m_NextToMake(firstStep)
    , m_NextToGive(firstStep)
    , m_Ahead(ahead)
  {}

  void
  Work()
  {
    std::unique_lock<std::mutex> lock(m_Mutex);
    for (;;)
    {
      m_Changed.wait(lock, [this] { return m_NextToMake < m_NextToGive + m_Ahead || m_Ended; });
      if (m_Ended)
      {
        return;
      }
      const std::uint64_t step = m_NextToMake++;
      lock.unlock();
      try
      {
        TBatch batch = m_Make(step);
        lock.lock();
        m_Ready.emplace(step, std::move(batch));
      }
      catch (...)
      {
        lock.lock();
        m_Failure = std::current_exception();
        m_Ended = true;
      }
      m_Changed.notify_all();
    }
  }

  MakeBatch                       m_Make;
  std::mutex                      m_Mutex;
  std::condition_variable         m_Changed;
  std::map<std::uint64_t, TBatch> m_Ready;
  std::uint64_t                   m_NextToMake;
  std::uint64_t                   m_NextToGive;
  std::uint64_t                   m_Ahead;
  bool                            m_Ended{ false };
  std::exception_ptr              m_Failure;
  std::vector<std::thread>        m_Threads;
};
} // namespace itk

#endif // BatchLoader_h
