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
#ifndef itkCalibratedProbabilities_h
#define itkCalibratedProbabilities_h

#include <algorithm>
#include <cmath>
#include <vector>

namespace itk
{
/** Probabilities of a classifier: the softmax of its logits over the temperature that its manifest says (Guo et al.
 * 2017; 1: not calibrated). */
inline std::vector<double>
CalibratedProbabilities(const std::vector<double> & logits, double temperature)
{
  const double        largest = *std::max_element(logits.begin(), logits.end());
  std::vector<double> probabilities;
  double              sum = 0.0;
  for (const double logit : logits)
  {
    probabilities.push_back(std::exp((logit - largest) / temperature));
    sum += probabilities.back();
  }
  for (double & probability : probabilities)
  {
    probability /= sum;
  }
  return probabilities;
}
} // namespace itk

#endif // itkCalibratedProbabilities_h
