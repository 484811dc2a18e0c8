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
#ifndef ExplanationEngine_h
#define ExplanationEngine_h

#include "ModelBackend.h"

namespace itk
{
/** One forward, then as many backwards as asked: GradCAM of every layer and class, and guided backpropagation of every
 * class.
 * \a input is [1, C, z, y, x]; the maps come back with x fastest.
 * \a geometries name the cells of the asked layers; probabilities are the softmax of the logits over \a temperature.
 * Nothing in the process is changed. */
TorchExplanation
ExplainWithBackend(const ModelBackend &                    backend,
                   const torch::Tensor &                   input,
                   const TorchExplanationRequest &         request,
                   const std::vector<TorchLayerGeometry> & geometries,
                   double                                  temperature = 1.0);
} // namespace itk

#endif // ExplanationEngine_h
