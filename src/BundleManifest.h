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
#ifndef BundleManifest_h
#define BundleManifest_h

#include "itkTorchModelManifest.h"

#include <string>

namespace itk
{
/** Reads BUNDLE/configs/metadata.json (and BUNDLE/gliomagrading.json, which adds what MONAI's file does not say); what
 * both leave open is taken from \a given. Untrusted: every key is checked for type and range, paths that leave the
 * bundle are refused, no `$` or `_target_` is evaluated. */
TorchModelManifest
ReadBundleManifest(const std::string & bundle, const TorchModelManifest & given = {});

/** True if both say the same of everything. */
bool
IsSameManifest(const TorchModelManifest & a, const TorchModelManifest & b);

/** Writes BUNDLE/configs/metadata.json under a temporary name, then renames. */
void
WriteBundleManifest(const std::string & bundle, const TorchModelManifest & manifest);

/** Size and SHA-256 of the weights as the manifest says; throws with both sides where they differ. Gives the weights'
 * full path. */
std::string
VerifyBundleWeights(const std::string & bundle, const TorchModelManifest & manifest);
} // namespace itk

#endif // BundleManifest_h
