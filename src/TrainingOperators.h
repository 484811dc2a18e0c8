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
#ifndef TrainingOperators_h
#define TrainingOperators_h

#include <torch/torch.h>

#include <utility>
#include <vector>

namespace itk
{
/** \file
 * What a training step does between its convolutions, in fewer passes over memory than operator by operator, forward
 * and backward. All three take the gradients of everything they give back at once, so that the gradient of a crop is
 * added where the other one is written, and nothing is filled with zeros, copied or added apart.
 *
 * Maps are [N, C, z, y, x] in channels-last, float32 or bfloat16, computed in float32; the sums are taken plane by
 * plane and in the planes' order, so that the bits do not depend on the number of threads.
 */

/** True where the functions below take this map: on a processor, channels-last, in one of the two types. */
bool
TrainsInOnePass(const torch::Tensor & x);

/** ReLU(bn(x)), and the middle of \a x of size \a middle (z, y, x; empty: undefined). \a noise [N, C] (or undefined)
 * multiplies the channels: spatial dropout. Updates the running statistics as bn does. */
std::pair<torch::Tensor, torch::Tensor>
NormalizeAndRectify(const torch::Tensor &        x,
                    torch::nn::BatchNorm3dImpl & bn,
                    const std::vector<int64_t> & middle = {},
                    const torch::Tensor &        noise = {});

/** The largest of two by two by two voxels (even sizes only), and the middle of \a x. */
std::pair<torch::Tensor, torch::Tensor>
PoolAndCrop(const torch::Tensor & x, const std::vector<int64_t> & middle = {});
} // namespace itk

#endif // TrainingOperators_h
