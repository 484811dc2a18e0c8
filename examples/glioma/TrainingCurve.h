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
#ifndef TrainingCurve_h
#define TrainingCurve_h

#include <string>

namespace glioma
{
/** Draws OUTPUT.csv, the log of a training, as OUTPUT.png: the loss of each step, its running mean, and the
 * validation score. Throws where the log cannot be read; nothing is drawn before the second step. */
void
DrawTrainingCurve(const std::string & output);

/** Says that OUTPUT.png is no training's; empty: it may be drawn. */
std::string
FindCurveProblem(const std::string & output);
} // namespace glioma

#endif // TrainingCurve_h
