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
#ifndef TorchModes_h
#define TorchModes_h

#include "BFloat16Autocast.h"

namespace itk
{
/** \class TorchModes
 * \brief Keeps the caller's inference mode and its autocast on the device away for as long as the guard lives.
 *
 * Both are of a thread. Autocast would round to bfloat16 what is said to be float32; of weights that were loaded in
 * inference mode there are no gradients.
 * \ingroup GliomaGrading
 */
class TorchModes
{
public:
  explicit TorchModes(const torch::Device & device)
    : m_NoAutocast(device, false)
  {}
  TorchModes(const TorchModes &) = delete;
  TorchModes &
  operator=(const TorchModes &) = delete;

private:
  const c10::InferenceMode m_NoInferenceMode{ false };
  const BFloat16Autocast   m_NoAutocast;
};
} // namespace itk

#endif // TorchModes_h
