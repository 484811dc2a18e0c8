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
#ifndef ChannelsLastMap_h
#define ChannelsLastMap_h

#include <ATen/Parallel.h>
#include <torch/torch.h>

#include <array>
#include <cstring>

namespace itk
{
/** The rows of a channels-last map. */
template <typename T>
struct ChannelsLastMap
{
  explicit ChannelsLastMap(const torch::Tensor & tensor)
    : Data(static_cast<T *>(tensor.data_ptr()))
    , Channels(static_cast<std::size_t>(tensor.size(1)))
    , Z(tensor.size(2))
    , Y(tensor.size(3))
    , X(tensor.size(4))
  {}
  T *
  Row(int64_t z, int64_t y) const
  {
    return Data + static_cast<std::size_t>((z * Y + y) * X) * Channels;
  }
  void
  CopyRow(int64_t z, int64_t y, T * to) const
  {
    std::memcpy(to, Row(z, y), static_cast<std::size_t>(X) * Channels * sizeof(T));
  }
  /** Copies the middle of a row of a larger map of \a size (z, y, x), where this map has that row. */
  void
  TakeMiddle(const std::array<int64_t, 3> & size, const T * row, int64_t z, int64_t y) const
  {
    const int64_t z0 = z - (size[0] - Z) / 2;
    const int64_t y0 = y - (size[1] - Y) / 2;
    if (z0 >= 0 && z0 < Z && y0 >= 0 && y0 < Y)
    {
      std::memcpy(Row(z0, y0),
                  row + static_cast<std::size_t>((size[2] - X) / 2) * Channels,
                  static_cast<std::size_t>(X) * Channels * sizeof(T));
    }
  }
  void
  TakeMiddle(const ChannelsLastMap & larger, const T * row, int64_t z, int64_t y) const
  {
    this->TakeMiddle(std::array<int64_t, 3>{ { larger.Z, larger.Y, larger.X } }, row, z, y);
  }

  T *         Data;
  std::size_t Channels;
  int64_t     Z, Y, X;
};

/** Calls \a function(z, y) for every row of a plane of rows, from torch's threads. */
template <typename TFunction>
void
ForRows(int64_t z, int64_t y, const TFunction & function)
{
  at::parallel_for(0, z * y, 8, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k)
    {
      function(k / y, k % y);
    }
  });
}

inline torch::Tensor
EmptyMap(int64_t channels, int64_t z, int64_t y, int64_t x, torch::ScalarType type)
{
  return torch::empty({ 1, channels, z, y, x },
                      torch::TensorOptions().dtype(type).memory_format(torch::MemoryFormat::ChannelsLast3d));
}
} // namespace itk

#endif // ChannelsLastMap_h
