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
#ifndef BundleWriter_h
#define BundleWriter_h

#include "itkTorchModelManifest.h"
#include "itkTorchVolume.h"

#include <torch/torch.h>

#include <string>

namespace itk
{
/** Completes what follows from the network: halo, tile step, layer geometry, file of the weights. Values that
 * contradict the network are refused. */
void
CompleteNativeManifest(TorchModelManifest & manifest);

/** Writes a bundle of one of the module's own networks: models/model.safetensors, then configs/metadata.json with the
 * weights' size and SHA-256 and a golden pair computed from them. Each file appears under a temporary name and is
 * renamed. Gives the manifest as written. */
TorchModelManifest
WriteNativeBundle(const std::string & bundle, TorchModelManifest manifest, const torch::nn::Module & network);

/** Input of a golden pair: multiples of 2^-22 in [-2, 2) from SplitMix64, in the order of the buffer. */
TorchVolume
GoldenInput(std::uint64_t seed, const std::array<unsigned int, 3> & size, unsigned int components);
} // namespace itk

#endif // BundleWriter_h
