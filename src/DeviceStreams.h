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
#ifndef DeviceStreams_h
#define DeviceStreams_h

#include <c10/core/Event.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <torch/torch.h>

#include <array>
#include <atomic>
#include <optional>

namespace itk
{
/** \class DeviceStreams
 * \brief Two queues of work on a device beside the processor, so that one patch is copied while another one is
 * computed.
 *
 * Only two: the allocator keeps memory for each stream apart. Written without CUDA's headers, which a wheel for
 * processors does not have.
 * \ingroup GliomaGrading
 */
class DeviceStreams
{
public:
  explicit DeviceStreams(const torch::Device & device)
    : m_Device(device)
    , m_Streams{ { Implementation().getStreamFromGlobalPool(device),
                   Implementation().getStreamFromGlobalPool(device) } }
  {}

  /** One after the other. */
  c10::Stream
  Next()
  {
    return m_Streams[m_Used++ % m_Streams.size()];
  }

  /** A copy on the device, from memory that the device reads by itself: the caller does not wait for it. */
  static torch::Tensor
  Upload(const torch::Tensor & tensor, const torch::Device & device)
  {
    torch::Tensor pinned =
      torch::empty_like(tensor, tensor.options().pinned_memory(true), torch::MemoryFormat::ChannelsLast3d);
    return pinned.copy_(tensor).to(device, true);
  }

  /** The way back; there when what \a done records has happened. */
  static torch::Tensor
  Download(const torch::Tensor & tensor, const c10::Stream & stream, c10::Event & done)
  {
    torch::Tensor pinned = torch::empty_like(
      tensor, tensor.options().device(torch::kCPU).pinned_memory(true), torch::MemoryFormat::Preserve);
    pinned.copy_(tensor, true);
    done.record(stream);
    return pinned;
  }

private:
  c10::impl::VirtualGuardImpl
  Implementation() const
  {
    return c10::impl::VirtualGuardImpl(m_Device.type());
  }

  const torch::Device              m_Device;
  const std::array<c10::Stream, 2> m_Streams;
  std::atomic<unsigned int>        m_Used{ 0 };
};
} // namespace itk

#endif // DeviceStreams_h
