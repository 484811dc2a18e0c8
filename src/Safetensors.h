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
#ifndef Safetensors_h
#define Safetensors_h

#include <torch/torch.h>

#include <map>
#include <string>

namespace itk
{
/** Tensors by name from a safetensors file. The header is untrusted: every offset, shape, type and overlap is checked
 * before a tensor is made, and an ExceptionObject names the file and the fault. */
std::map<std::string, torch::Tensor>
ReadSafetensors(const std::string & path);

/** Writes tensors (float32, float64, bfloat16, int64, uint8) and string metadata under a temporary name, then renames.
 */
void
WriteSafetensors(const std::string &                          path,
                 const std::map<std::string, torch::Tensor> & tensors,
                 const std::map<std::string, std::string> &   metadata = {});

/** Parameters and buffers of a module by name (num_batches_tracked left out). */
std::map<std::string, torch::Tensor>
StateOfModule(const torch::nn::Module & module);

/** Copies tensors into a module; a missing, surplus or wrongly shaped tensor and NaN or infinity are refused by name.
 */
void
LoadStateIntoModule(torch::nn::Module &                          module,
                    const std::map<std::string, torch::Tensor> & state,
                    const std::string &                          path);
} // namespace itk

#endif // Safetensors_h
