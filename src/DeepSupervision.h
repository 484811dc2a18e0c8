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
#ifndef DeepSupervision_h
#define DeepSupervision_h

#include "PereiraNetworks.h"

#include <cmath>
#include <vector>

namespace itk
{
/** Heads (BN-ReLU-Conv 1^3) on the decoder's coarser maps, which learn beside the network's own head so that the deep
 * layers see the target directly (Lee et al. 2015, arXiv 1409.5185; in 3-D Dou et al. 2017, arXiv 1607.00582). They
 * live while training only: no bundle has them.
 *
 * For padded networks, whose maps cover what the input covers. */
struct DeepSupervisionImpl : torch::nn::Module
{
  /** \a levels: of 1/2, 1/4, ... of the resolution; at most MostLevels(). */
  DeepSupervisionImpl(const SegmentationNetworkOptions & options, int64_t levels);

  /** The finest and the coarsest map of the decoder have none: the one has the network's head, the other is no
   * decoder's. */
  static int64_t
  MostLevels(const SegmentationNetworkOptions & options)
  {
    return options.Levels - 2;
  }

  /** Of the maps dec0, dec1, ... of one forward, the logits [N, classes, z, y, x], finest first. */
  std::vector<torch::Tensor>
  Logits(const std::vector<torch::Tensor> & decoded);

  /** What the loss of level 1, 2, ... counts for beside the network's own. */
  static double
  Weight(int64_t level)
  {
    return std::ldexp(1.0, -static_cast<int>(level));
  }

  std::vector<torch::nn::BatchNorm3d> Normalizations;
  std::vector<torch::nn::Conv3d>      Heads;
};
TORCH_MODULE(DeepSupervision);
} // namespace itk

#endif // DeepSupervision_h
