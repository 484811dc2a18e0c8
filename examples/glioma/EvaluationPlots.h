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
#ifndef EvaluationPlots_h
#define EvaluationPlots_h

#include "EvaluationDocument.h"

#include <string>
#include <vector>

namespace glioma
{
/** Draws the rows' ROC curves as a PNG file. \a notes are written below the legend, after "Research use only." */
void
DrawReceiverCurves(const std::vector<EvaluationRow> & rows,
                   const std::string &                path,
                   const std::vector<std::string> &   notes = {});

/** Draws how often a case is HGG where P(HGG) is said, as a PNG file: a disc for each bin of 0.1, its area by its
 * cases;
 * \a notes as above. */
void
DrawReliability(const std::vector<EvaluationRow> & rows,
                const std::string &                path,
                const std::vector<std::string> &   notes = {});
} // namespace glioma

#endif // EvaluationPlots_h
