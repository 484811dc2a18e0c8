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
#ifndef itkTorchClassifierInput_h
#define itkTorchClassifierInput_h

#include "itkTorchModel.h"

#include <type_traits>
#include <vector>

namespace itk
{
/** \class TorchClassifierInput
 * \brief A region of interest as a classifier reads it: compared with the model's manifest, and its voxels as a view.
 *
 * Refused are another number of channels or voxels, another spacing or orientation where the model names one, and
 * voxels that are not finite. A buffer of float is not copied.
 * \ingroup GliomaGrading
 */
template <typename TImage>
class TorchClassifierInput
{
public:
  static_assert(TImage::ImageDimension == 3, "A classifier reads three-dimensional images");

  /** Compares what is known before the voxels are there. */
  static void
  VerifyInformation(const TorchModel & model, const TImage & image);

  /** The largest possible region must be buffered; throws where a voxel is not finite. */
  explicit TorchClassifierInput(const TImage & image);

  const TorchVolumeView &
  GetView() const
  {
    return m_View;
  }

private:
  std::vector<float> m_Converted;
  TorchVolumeView    m_View;
};
} // namespace itk

#ifndef ITK_MANUAL_INSTANTIATION
#  include "itkTorchClassifierInput.hxx"
#endif

#endif // itkTorchClassifierInput_h
