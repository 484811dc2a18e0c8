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
#ifndef BFloat16Autocast_h
#define BFloat16Autocast_h

#include <ATen/autocast_mode.h>
#include <torch/torch.h>

namespace itk
{
/** \class BFloat16Autocast
 * \brief Lets a device choose bfloat16 where that is safe, for as long as the guard lives; where it is not wanted, the
 * caller's own autocast is off for as long.
 * \ingroup GliomaGrading
 */
class BFloat16Autocast
{
public:
  BFloat16Autocast(const torch::Device & device, bool wanted)
    : m_Type(device.type())
    , m_Wanted(wanted)
    , m_EnabledBefore(at::autocast::is_autocast_enabled(m_Type))
    , m_TypeBefore(at::autocast::get_autocast_dtype(m_Type))
  {
    at::autocast::set_autocast_enabled(m_Type, m_Wanted);
    if (m_Wanted)
    {
      at::autocast::set_autocast_dtype(m_Type, torch::kBFloat16);
      at::autocast::increment_nesting();
    }
  }
  ~BFloat16Autocast()
  {
    if (m_Wanted)
    {
      // Inside the caller's own autocast too: rounded weights that it keeps would outlive the step that changes them.
      at::autocast::decrement_nesting();
      at::autocast::clear_cache();
    }
    at::autocast::set_autocast_enabled(m_Type, m_EnabledBefore);
    at::autocast::set_autocast_dtype(m_Type, m_TypeBefore);
  }
  BFloat16Autocast(const BFloat16Autocast &) = delete;
  BFloat16Autocast &
  operator=(const BFloat16Autocast &) = delete;

private:
  const torch::DeviceType m_Type;
  const bool              m_Wanted;
  const bool              m_EnabledBefore;
  const torch::ScalarType m_TypeBefore;
};
} // namespace itk

#endif // BFloat16Autocast_h
