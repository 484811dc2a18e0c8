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
#include "DeepSupervision.h"

#include "itkMacro.h"

#include <string>

namespace itk
{
DeepSupervisionImpl::DeepSupervisionImpl(const SegmentationNetworkOptions & options, int64_t levels)
{
  if (!options.Padded || levels < 1 || levels > MostLevels(options))
  {
    itkGenericExceptionMacro("Deep supervision of " << levels << " levels of a network of " << options.Levels
                                                    << (options.Padded ? "" : ", unpadded")
                                                    << ": a padded network has at most its levels less two");
  }
  for (int64_t level = 1; level <= levels; ++level)
  {
    const int64_t     channels = options.Width << level;
    const std::string name = std::to_string(level);
    Normalizations.push_back(register_module("bn" + name, torch::nn::BatchNorm3d(channels)));
    Heads.push_back(
      register_module("head" + name, torch::nn::Conv3d(torch::nn::Conv3dOptions(channels, options.Classes, 1))));
  }
  ToFloat32(*this);
}

std::vector<torch::Tensor>
DeepSupervisionImpl::Logits(const std::vector<torch::Tensor> & decoded)
{
  std::vector<torch::Tensor> logits;
  for (std::size_t i = 0; i < Heads.size(); ++i)
  {
    logits.push_back(Heads[i](torch::relu(Normalizations[i](decoded.at(i + 1)))));
  }
  return logits;
}
} // namespace itk
