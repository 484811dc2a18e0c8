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
#ifndef itkSequencePreparationReport_h
#define itkSequencePreparationReport_h

#include <string>
#include <vector>

namespace itk
{
/** \class SequencePreparationReport
 * \brief What was done to one sequence.
 * \ingroup GliomaGrading
 */
struct SequencePreparationReport
{
  std::string         Name;
  std::vector<double> N4Iterations;  // one a level; empty: no N4
  std::vector<double> N4Convergence; // one a level
  double              N4LogFieldMinimum{ 0.0 };
  double              N4LogFieldMaximum{ 0.0 };
  double              N4Seconds{ 0.0 };         // of the fit
  unsigned long       N4NonPositiveVoxels{ 0 }; // of the brain on the fit's grid: they do not count
  std::string         N4Status;
  double              Mean{ 0.0 }; // of the corrected, clipped voxels
  double              Sigma{ 0.0 };
  double              Background{ 0.0 }; // what an intensity of 0 has become
};
} // namespace itk

#endif // itkSequencePreparationReport_h
