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

STRUCT_MEMBER(itkCohortCase, std::string, Name)
STRUCT_ARRAY(itkCohortCase, std::string, Sequences)
STRUCT_MEMBER(itkCohortCase, std::string, BrainMask)
STRUCT_MEMBER(itkCohortCase, std::string, Tumour)
STRUCT_MEMBER(itkCohortCase, std::string, Grade)
STRUCT_MEMBER(itkCohortCase, std::string, Site)
STRUCT_MEMBER(itkCohortCase, std::string, Set)
STRUCT_MEMBER(itkCohortCase, std::string, File)
STRUCT_MEMBER(itkCohortCase, unsigned long, Cohort)

%template(vectoritkCohortCase) std::vector<itkCohortCase>;
