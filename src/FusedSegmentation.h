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
#ifndef FusedSegmentation_h
#define FusedSegmentation_h

#include "PereiraNetworks.h"

#include <array>
#include <functional>
#include <memory>
#include <vector>

namespace itk
{
/** \class FusedSegmentation
 * \brief The segmentation network for inference on a processor: same weights, fewer passes over memory.
 *
 * Everything is channels-last. A batch norm behind a convolution is folded into its kernel, and its ReLU and the sum of
 * the shortcut run inside oneDNN's convolution (`mkldnn::_convolution_pointwise`), whose kernels are packed once for a
 * patch size. What cannot be folded, the batch norm in front of a block, runs with its ReLU, the crop of the shortcut
 * and the pooling or upsampling before it in one loop over memory, in float32 also where the maps are bfloat16.
 * The maps of the first level, by far the largest, are never there as a whole but for what the decoder reads again:
 * their planes go through the stem, the blocks and the head in slabs of some megabytes.
 * \ingroup GliomaGrading
 */
class FusedSegmentation
{
public:
  /** Takes what it needs out of a network in evaluation mode, on the processor, in float32. */
  FusedSegmentation(PereiraSegmentationNetworkImpl & network, bool bfloat16);
  ~FusedSegmentation();

  /** False where this LibTorch has no fused convolutions. */
  static bool
  IsAvailable();

  /** [1, C, z, y, x] in float32 to logits in float32; may be called from several threads. \a between is called between
   * layers and slabs, and throws to end the run. */
  torch::Tensor
  Forward(const torch::Tensor & input, const std::function<void()> & between = {}) const;

  /** Values that are alive at the peak of a forward of z, y, x voxels. */
  static double
  PeakValues(const SegmentationNetworkOptions & options, const std::array<int64_t, 3> & size);

  /** Floating-point operations of its convolutions. */
  static double
  Operations(const SegmentationNetworkOptions & options, const std::array<int64_t, 3> & size);

private:
  class Convolution;
  struct Normalization;
  struct Block;
  template <typename T>
  class BlockStream;

  /** Planes of the first level that go through it at once. */
  static int64_t
  SlabOf(const SegmentationNetworkOptions & options, const std::array<int64_t, 3> & size, std::size_t bytesOfValue);
  template <typename T>
  torch::Tensor
  EncodeFirstLevel(const torch::Tensor &         input,
                   torch::Tensor &               activated,
                   torch::Tensor &               direct,
                   const std::function<void()> & between) const;
  template <typename T>
  torch::Tensor
  DecodeFirstLevel(const torch::Tensor &         reduced,
                   const torch::Tensor &         skip,
                   const std::function<void()> & between) const;
  template <typename T>
  torch::Tensor
  Run(const torch::Tensor & input, const std::function<void()> & between) const;

  const SegmentationNetworkOptions                m_Options;
  const torch::ScalarType                         m_Type;
  std::unique_ptr<const Convolution>              m_Stem1, m_Stem2;
  std::vector<std::unique_ptr<const Block>>       m_Encoder, m_Decoder;
  std::vector<std::unique_ptr<const Convolution>> m_Reduction;
  std::unique_ptr<const Normalization>            m_Last;
  std::vector<float>                              m_HeadWeight, m_HeadBias;
};
} // namespace itk

#endif // FusedSegmentation_h
