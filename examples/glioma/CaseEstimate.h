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
#ifndef CaseEstimate_h
#define CaseEstimate_h

#include "CaseReader.h"
#include "itkTorchModel.h"

#include <string>
#include <utility>
#include <vector>

namespace glioma
{
/** What grading one case takes. */
struct CaseEstimate
{
  std::vector<std::pair<std::string, double>> Stages; // name and seconds
  double                                      Mebibytes{ 0.0 };
  itk::SizeValueType                          Tiles{ 0 };
  itk::Size<3>                                TileSize{ { 0, 0, 0 } };

  double
  Seconds() const;
};

/** Tells it before it is done, within some 30 %: the preparation runs on the case itself, a small patch of the
 * segmentation is run and scaled by its arithmetic, the explanation runs on noise, and the rest (correcting the bias,
 * bringing maps back, writing) is scaled from measured cases by what the preparation took here.
 * \a brainMask and \a segmentation may be null: found, and not run. \a program: what the process holds before the
 * sequences are read, MiB. */
CaseEstimate
EstimateCase(const std::vector<SequenceImageType::Pointer> & sequences,
             const MaskImageType *                           brainMask,
             const itk::TorchModel *                         segmentation,
             const std::vector<const itk::TorchModel *> &    graders,
             const itk::TorchExplanationRequest &            explanation,
             double                                          geometryTolerance,
             double                                          program);
} // namespace glioma

#endif // CaseEstimate_h
