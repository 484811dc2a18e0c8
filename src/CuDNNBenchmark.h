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
#ifndef CuDNNBenchmark_h
#define CuDNNBenchmark_h

#include <ATen/Context.h>

namespace itk
{
/** \class CuDNNBenchmark
 * \brief Lets cuDNN choose each convolution's algorithm by its speed, for as long as the guard lives: for many passes
 * of one size.
 *
 * A switch of the whole process; on a processor it does nothing.
 * \ingroup GliomaGrading
 */
class CuDNNBenchmark
{
public:
  CuDNNBenchmark()
    : m_Before(at::globalContext().benchmarkCuDNN())
  {
    at::globalContext().setBenchmarkCuDNN(true);
  }
  ~CuDNNBenchmark() { at::globalContext().setBenchmarkCuDNN(m_Before); }
  CuDNNBenchmark(const CuDNNBenchmark &) = delete;
  CuDNNBenchmark &
  operator=(const CuDNNBenchmark &) = delete;

private:
  const bool m_Before;
};
} // namespace itk

#endif // CuDNNBenchmark_h
