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
#ifndef Float32Convolutions_h
#define Float32Convolutions_h

#include <torch/torch.h>

namespace itk
{
/** \class Float32Convolutions
 * \brief Keeps a GPU's float32 convolutions in float32 for as long as the guard lives.
 *
 * torch lets cuDNN round their input to TF32, ten bits of mantissa: a grade and its explanation would depend on the
 * device by a thousandth. The switch is the process's: guards are counted, and the last one restores it. On a processor
 * nothing happens.
 * \ingroup GliomaGrading
 */
class Float32Convolutions
{
public:
  Float32Convolutions(const Float32Convolutions &) = delete;
  Float32Convolutions &
  operator=(const Float32Convolutions &) = delete;

  Float32Convolutions(const torch::Device & device, bool wanted);
  ~Float32Convolutions();

private:
  const bool m_Acts;
};
} // namespace itk

#endif // Float32Convolutions_h
