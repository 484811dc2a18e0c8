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
#ifndef PlaneStream_h
#define PlaneStream_h

#include "ChannelsLastMap.h"

#include <algorithm>
#include <cstring>

namespace itk
{
/** \class PlaneStream
 * \brief The planes of a channels-last map that wait for a 3^3 convolution, where the map as a whole is never there.
 *
 * Planes come in order by Append(); Window() holds what the convolution makes its next planes of, and Drop() lets go
 * what they no longer need. A padded map has a plane of zeros before the first and behind the last one.
 * \ingroup GliomaGrading
 */
template <typename T>
class PlaneStream
{
public:
  /** \a reach: planes that an output plane needs, 3 for a convolution of 3^3 and 1 for what is only kept.
   * \a capacity: planes that are appended at once. */
  PlaneStream(int64_t           channels,
              int64_t           z,
              int64_t           y,
              int64_t           x,
              int64_t           capacity,
              int64_t           reach,
              bool              padded,
              torch::ScalarType type)
    : m_Total(z)
    , m_Reach(reach)
    , m_Padded(padded)
    , m_Buffer(EmptyMap(channels, capacity + 2 * reach, y, x, type))
    , m_Planes(m_Buffer)
  {
    if (padded)
    {
      this->AppendZeros();
    }
  }

  std::size_t
  Channels() const
  {
    return m_Planes.Channels;
  }

  /** Planes so far. */
  int64_t
  Appended() const
  {
    return m_Appended;
  }

  /** The next planes, up to \a end: \a fill(z, y, row) writes each row. */
  template <typename TFill>
  void
  Append(int64_t end, const TFill & fill)
  {
    end = std::min(end, m_Total);
    const int64_t count = std::max<int64_t>(0, end - m_Appended);
    ForRows(count, m_Planes.Y, [&](int64_t z, int64_t y) { fill(m_Appended + z, y, m_Planes.Row(m_Held + z, y)); });
    m_Held += count;
    m_Appended += count;
    if (m_Padded && count > 0 && m_Appended == m_Total)
    {
      this->AppendZeros();
    }
  }

  /** The same, to be written through RowOf(). */
  void
  Extend(int64_t end)
  {
    const int64_t count = std::max<int64_t>(0, std::min(end, m_Total) - m_Appended);
    m_Held += count;
    m_Appended += count;
  }

  /** A row of a plane that is still held. */
  T *
  RowOf(int64_t z, int64_t y) const
  {
    return m_Planes.Row(m_Held - m_Appended + z, y);
  }

  /** Planes that can be made now. */
  int64_t
  Ready() const
  {
    return std::max<int64_t>(0, m_Held - m_Reach + 1);
  }

  /** What \a count of them are made of, not copied. */
  torch::Tensor
  Window(int64_t count) const
  {
    return m_Buffer.narrow(2, 0, count + m_Reach - 1);
  }

  /** The first \a count planes are used up. */
  void
  Drop(int64_t count)
  {
    const std::size_t plane = m_Planes.Channels * static_cast<std::size_t>(m_Planes.Y * m_Planes.X);
    m_Held -= count;
    std::memmove(m_Planes.Data,
                 m_Planes.Data + static_cast<std::size_t>(count) * plane,
                 static_cast<std::size_t>(m_Held) * plane * sizeof(T));
  }

private:
  void
  AppendZeros()
  {
    m_Buffer.select(2, m_Held).zero_();
    ++m_Held;
  }

  const int64_t            m_Total;
  const int64_t            m_Reach;
  const bool               m_Padded;
  const torch::Tensor      m_Buffer;
  const ChannelsLastMap<T> m_Planes;
  int64_t                  m_Held{ 0 };
  int64_t                  m_Appended{ 0 };
};
} // namespace itk

#endif // PlaneStream_h
