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
#ifndef itkTorchModelManifest_h
#define itkTorchModelManifest_h

#include "GliomaGradingExport.h"
#include "itkTorchExplanation.h"

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace itk
{
/** \class TorchModelManifest
 * \brief What a bundle says of its model: configs/metadata.json in MONAI's layout, with keys of this module.
 *
 * An absent value stays at "not said" (empty, 0 or as noted); nothing is guessed. Read and written by TorchModel.
 * \ingroup GliomaGrading
 */
struct GliomaGrading_EXPORT TorchModelManifest
{
  std::string Name;
  std::string Version;
  /** "segmentation" or "grading". */
  std::string Task;
  /** "PereiraSegmentationNetwork", "PereiraGradingNetwork", or empty for a foreign graph. */
  std::string Network;

  /** Parameters of the module's own networks. */
  unsigned int Width{ 0 };
  unsigned int Groups{ 1 };     // grading: networks of Width / Groups beside each other, whose logits are added
  unsigned int Levels{ 0 };     // segmentation: poolings + 1
  bool         Padded{ false }; // convolutions with padding

  std::vector<std::string> ChannelNames; // input channels in order: "T1", "T1c", "T2", "FLAIR"
  std::vector<std::string> ClassNames;   // output classes in order: "background", "tumour" or "LGG", "HGG"
  /** What the graph's output is: "logits" (a softmax makes probabilities of them), "softmax" (probabilities already),
   * "sigmoid" (probabilities of classes that may overlap) or "sigmoid-logits" (a sigmoid makes them). */
  std::string OutputActivation;

  std::string           AxisOrder;   // order of the tensor's spatial axes: "zyx" (ITK's buffer) or "xyz"
  std::string           Orientation; // "LPS": direction in which i, j, k increase; empty: any
  std::array<double, 3> Spacing{ { 0.0, 0.0, 0.0 } }; // mm along x, y, z; 0: any

  std::string BiasCorrection; // "n4" or "none"
  double      LowerQuantile{ 0.0 };
  double      UpperQuantile{ 1.0 };
  std::string Standardization; // "brain" (statistics of the mask) or "image"
  double      OutsideValue{ 0.0 };

  std::string  Region;          // grading: "tumour" or "brain"
  std::string  FitMode;         // "cube", "stretch" or "letterbox"
  double       Margin{ 0.0 };   // voxels of the model's grid
  unsigned int OutputSize{ 0 }; // voxels a side of the region
  /** Parts of the tumour smaller than this share of the largest (26 neighbours) are left out of the mask
   * (segmentation), or do not stretch the region (grading). */
  double MinimumComponentShare{ 0.05 };
  /** Grading: the logits are divided by it before the softmax, so that the probabilities are calibrated. */
  double Temperature{ 1.0 };
  /** Segmentation: input patch (x, y, z) that the model was trained on or wants; 0: any valid size. */
  std::array<unsigned int, 3> PatchSize{ { 0, 0, 0 } };
  /** Input voxels lost on each side (0: padded convolutions), and the grid on which tile starts must lie. */
  unsigned int Halo{ 0 };
  unsigned int TileStep{ 1 };

  std::vector<TorchLayerGeometry> Layers; // explainable layers and where their cells lie

  /** File of the weights relative to the bundle, its size in bytes and SHA-256. */
  std::string   WeightsFile;
  std::uint64_t WeightsBytes{ 0 };
  std::string   WeightsSha256;

  /** models/model.pt2: the instruction set that it was compiled for ("avx2", "avx512"). */
  std::string InstructionSet;

  struct TrainingCase
  {
    std::string Case;
    std::string Licence;
    std::string Attribution;
  };
  std::vector<TrainingCase> TrainingCases;
  std::vector<TrainingCase> ValidationCases; // scored by the training, which may choose its weights by them
  std::string               TrainingData;    // one sentence: "trained on phantoms and twelve patients, not validated"
  std::string               IntendedUse;
  std::string               Licence;
  /** True for bundles that say "demonstration". */
  bool Demonstration{ false };

  /** Golden pair: input = the module's integer generator with this seed on GoldenSize voxels; expected output
   * as TorchModel::ComputeGoldenOutput() gives it. */
  std::uint64_t               GoldenSeed{ 0 };
  std::array<unsigned int, 3> GoldenSize{ { 0, 0, 0 } };
  std::vector<double>         GoldenOutput;
};

/** \brief The smallest patch of a dense model along an axis; patches are multiples of TileStep.
 * \ingroup GliomaGrading
 */
inline unsigned int
SmallestPatch(const TorchModelManifest & manifest)
{
  return (2 * manifest.Halo + 2 * manifest.TileStep - 1) / manifest.TileStep * manifest.TileStep;
}
} // namespace itk

#endif // itkTorchModelManifest_h
