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
#ifndef itkExplanationSanityCalculator_h
#define itkExplanationSanityCalculator_h

#include "GliomaGradingExport.h"
#include "itkGliomaGradingCompat.h"
#include "itkTorchModel.h"
#include "itkVectorImage.h"

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace itk
{
/** \class ExplanationSanityCalculator
 * \brief Do the maps depend on what the model has learnt? Cascading randomization of its weights.
 *
 * From the logits down, the network's layers get He-normal random weights one after the other and stay random (Adebayo
 * et al., NeurIPS 2018). After each, the maps of the same region and class are compared with those of the trained
 * weights, as magnitudes (sum over the sequences) divided by their largest:
 *
 * | number | what it is | range | better |
 * | --- | --- | --- | --- |
 * | RankCorrelation | Spearman's, over all voxels | -1 to 1 | near 0 |
 * | Similarity | mean structural similarity in 3-D: Wang et al., IEEE TIP 2004; uniform windows of 7 voxels a side (of
 * a smaller map as many as fit), K1 0.01, K2 0.03, range 1 | -1 to 1 | low |
 *
 * Maps that stay the same show the image and not the model. Guided backpropagation is known to fail this: report it, do
 * not gate on it. A map that is empty or even has no rank correlation (NaN). For the module's own grading network,
 * whose layers are known; one explanation for each of the nine layers, made on request.
 * \sa ExplanationFaithfulnessCalculator
 * \ingroup GliomaGrading
 */
class GliomaGrading_EXPORT ExplanationSanityCalculator : public Object
{
public:
  ITK_DISALLOW_COPY_AND_MOVE(ExplanationSanityCalculator);

  using Self = ExplanationSanityCalculator;
  using Superclass = Object;
  using Pointer = SmartPointer<Self>;
  using ConstPointer = SmartPointer<const Self>;
  using RegionImageType = VectorImage<float, 3>;

  itkNewMacro(Self);
  itkOverrideGetNameOfClassMacro(ExplanationSanityCalculator);

  /** A loaded bundle of PereiraGradingNetwork; required, other networks are refused. */
  itkSetConstObjectMacro(Model, TorchModel);
  itkGetConstObjectMacro(Model, TorchModel);

  /** The region that was graded, up to date and whole; required. */
  itkSetConstObjectMacro(RegionImage, RegionImageType);
  itkGetConstObjectMacro(RegionImage, RegionImageType);

  /** Class whose maps are compared, counted from 0; one that the model does not have is refused. Default: 0. */
  itkSetMacro(ClassToExplain, unsigned int);
  itkGetConstMacro(ClassToExplain, unsigned int);

  /** Seed of the random weights; the same one gives the same weights. Default: 1. */
  itkSetMacro(Seed, std::uint64_t);
  itkGetConstMacro(Seed, std::uint64_t);

  /** Layers whose GradCAM is compared, beside guided backpropagation, by the names of TorchModel::GetLayerNames().
   * Default: none. */
  void
  AddLayerName(const std::string & layer);
  void
  ClearLayerNames();
  const std::vector<std::string> &
  GetLayerNames() const
  {
    return m_LayerNames;
  }

  /** Runs the model. ProgressEvents come in between; what their observer throws ends the computation. Throws where the
   * model or the region is missing, not loaded or does not hold all its voxels (this is no filter: it updates no
   * pipeline), and where the model has not the class or a layer. */
  void
  Compute();

  /** The layers in the order in which they became random. */
  const std::vector<std::string> &
  GetRandomizedLayers() const
  {
    return m_RandomizedLayers;
  }
  /** Names of the maps, such as "gradcam-res3" and "guided-backprop". */
  const std::vector<std::string> &
  GetMapNames() const
  {
    return m_MapNames;
  }
  /** Of a map by its number, after each step. */
  const std::vector<double> &
  GetRankCorrelations(unsigned int map) const
  {
    return m_RankCorrelations.at(map);
  }
  const std::vector<double> &
  GetSimilarities(unsigned int map) const
  {
    return m_Similarities.at(map);
  }

  /** The two numbers for any magnitudes of one size, x fastest. */
  static double
  RankCorrelation(const std::vector<float> & a, const std::vector<float> & b);
  static double
  Similarity(std::vector<float> a, std::vector<float> b, const Size<3> & size);

protected:
  ExplanationSanityCalculator();
  ~ExplanationSanityCalculator() override;
  void
  PrintSelf(std::ostream & os, Indent indent) const override;

private:
  TorchModel::ConstPointer         m_Model;
  RegionImageType::ConstPointer    m_RegionImage;
  unsigned int                     m_ClassToExplain{ 0 };
  std::uint64_t                    m_Seed{ 1 };
  std::vector<std::string>         m_LayerNames;
  std::vector<std::string>         m_RandomizedLayers;
  std::vector<std::string>         m_MapNames;
  std::vector<std::vector<double>> m_RankCorrelations;
  std::vector<std::vector<double>> m_Similarities;
};
} // namespace itk

#endif // itkExplanationSanityCalculator_h
