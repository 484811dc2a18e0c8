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

STRUCT_MEMBER(itkSequencePreparationReport, std::string, Name)
STRUCT_MEMBER(itkSequencePreparationReport, std::vector<double>, N4Iterations)
STRUCT_MEMBER(itkSequencePreparationReport, std::vector<double>, N4Convergence)
STRUCT_MEMBER(itkSequencePreparationReport, double, N4LogFieldMinimum)
STRUCT_MEMBER(itkSequencePreparationReport, double, N4LogFieldMaximum)
STRUCT_MEMBER(itkSequencePreparationReport, double, N4Seconds)
STRUCT_MEMBER(itkSequencePreparationReport, unsigned long, N4NonPositiveVoxels)
STRUCT_MEMBER(itkSequencePreparationReport, std::string, N4Status)
STRUCT_MEMBER(itkSequencePreparationReport, double, Mean)
STRUCT_MEMBER(itkSequencePreparationReport, double, Sigma)
STRUCT_MEMBER(itkSequencePreparationReport, double, Background)

%template(vectoritkSequencePreparationReport) std::vector<itkSequencePreparationReport>;
