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
#ifndef itkTorchExplanation_h
#define itkTorchExplanation_h

#include "itkTorchVolume.h"

#include <array>
#include <functional>
#include <string>
#include <vector>

namespace itk
{
/** \class TorchLayerGeometry
 * \brief Where the cells of a layer lie on the model's input: cell i of an axis has its centre at voxel Offset + Step *
 * i.
 *
 * Axes are x, y, z. Analytical for the networks of this module (res3: 17.5 + 4 i, res4: 35.5 + 8 i).
 * \ingroup GliomaGrading
 */
struct TorchLayerGeometry
{
  std::string           Layer;
  std::array<double, 3> Offset{ { 0.0, 0.0, 0.0 } };
  std::array<double, 3> Step{ { 1.0, 1.0, 1.0 } };
};

/** \class TorchExplanationRequest
 * \brief What one forward is asked to explain.
 * \ingroup GliomaGrading
 */
struct TorchExplanationRequest
{
  /** GradCAM layers; empty: no GradCAM. */
  std::vector<std::string> Layers;
  /** Classes to explain; empty: the predicted one. */
  std::vector<unsigned int> Classes;
  bool                      GuidedBackpropagation{ false };
  /** Guided backpropagation of a model with other activations than ReLU, which pass their own gradient; else refused.
   */
  bool AllowOtherActivations{ false };
  /** Explain the probability, calibrated by the manifest's temperature, instead of the logit (a saturated softmax has
   * no gradient). */
  bool ExplainProbability{ false };
  /** Is called before the forward and each backward, in the module's own networks between their layers too (on the
   * processor): what it throws ends the run. */
  std::function<void()> Between;
};

/** \class TorchGradCAM
 * \brief One GradCAM map on its layer's own cells: max(sum_l alpha_l F^l, 0), alpha the mean gradient (Selvaraju et al.
 * 2017).
 * \ingroup GliomaGrading
 */
struct TorchGradCAM
{
  TorchLayerGeometry Geometry;
  unsigned int       Class{ 0 };
  /** One component; raw magnitudes. */
  TorchVolume Map;
  /** False where no cell is above zero: the map says nothing and must not be drawn. */
  bool HasPositiveCell{ false };
};

/** \class TorchGuidedMap
 * \brief Guided backpropagation of one class: signed, one component a sequence, on the input's voxels (Springenberg et
 * al. 2015).
 * \ingroup GliomaGrading
 */
struct TorchGuidedMap
{
  unsigned int Class{ 0 };
  TorchVolume  Map;
};

/** \class TorchExplanation
 * \brief What one forward and its backwards gave.
 * \ingroup GliomaGrading
 */
struct TorchExplanation
{
  std::vector<double>         Logits;
  std::vector<double>         Probabilities;
  unsigned int                PredictedClass{ 0 };
  std::vector<TorchGradCAM>   GradCAM; // layer-major: all classes of the first layer, then of the second
  std::vector<TorchGuidedMap> Guided;  // one a class
  unsigned int                ExecutedReLUs{ 0 };
  unsigned int                GuidedReLUs{ 0 };
  /** Activations that guided backpropagation passed without a rule, where that was allowed. */
  std::vector<std::string> OtherActivations;
};
} // namespace itk

#endif // itkTorchExplanation_h
