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
#ifndef FusedAdam_h
#define FusedAdam_h

#include <torch/torch.h>

#include <cstdint>
#include <string>
#include <vector>

namespace itk
{
/** \class FusedAdam
 * \brief Adam (Kingma and Ba 2015, arXiv 1412.6980) or AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101) by torch's
 * kernels for all parameters at once.
 *
 * torch::optim steps from parameter to parameter: on a GPU a thousand small kernels a step. Moments decay by 0.9 and
 * 0.999 a step; epsilon is 1e-8.
 * \ingroup GliomaGrading
 */
class FusedAdam
{
public:
  struct Parameter
  {
    std::string   Name;
    torch::Tensor Value;
    torch::Tensor FirstMoment, SecondMoment; // as Value
  };

  /** \a kernelsOnly: weight decay of convolution kernels (five axes) alone. */
  FusedAdam(const torch::OrderedDict<std::string, torch::Tensor> & parameters,
            bool                                                   decoupledDecay,
            double                                                 weightDecay,
            bool                                                   kernelsOnly);

  /** In the order that they were given in; their moments may be written to where a training goes on. */
  std::vector<Parameter> &
  GetParameters()
  {
    return m_Parameters;
  }
  /** Of parameters that have one. */
  std::vector<torch::Tensor>
  Gradients() const;
  void
  ForgetGradients();

  /** Step number \a number, from 1 on, at the rate \a rate. */
  void
  Step(std::uint64_t number, double rate);

private:
  std::vector<Parameter> m_Parameters;
  bool                   m_DecoupledDecay;
  double                 m_WeightDecay;
  bool                   m_KernelsOnly;
};
} // namespace itk

#endif // FusedAdam_h
