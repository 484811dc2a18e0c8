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
#ifndef DefaultModels_h
#define DefaultModels_h

#include <string>

namespace glioma
{
/** Folder of a demonstration bundle, "segmentation" or "grading": beside the program where it is installed
 * (../share/GliomaGrading/models), else in the source tree it was built from. Throws where there is none. */
std::string
FindDefaultModel(const std::string & task);
} // namespace glioma

#endif // DefaultModels_h
