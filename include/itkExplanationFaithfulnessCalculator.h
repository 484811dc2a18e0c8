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
#ifndef itkExplanationFaithfulnessCalculator_h
#define itkExplanationFaithfulnessCalculator_h

#include "itkArray.h"
#include "itkGliomaGradingCompat.h"
#include "itkImage.h"
#include "itkTorchModel.h"
#include "itkVectorImage.h"

#include <cstdint>
#include <vector>

namespace itk
{
/** \class ExplanationFaithfulnessCalculator
 * \brief Does the model need what the map points at? Deletion and insertion curves in 3-D.
 *
 * The region's voxels are grouped into cubes of BlockSize voxels a side, ranked by the map's mean energy in them (sum
 * of the components' magnitudes; a block that the map does not reach comes last). With \f$p(k)\f$ the probability of
 * the explained class after the first \f$k\f$ of NumberOfSteps equal parts of the ranking:
 *
 * | output | what is done | range | better |
 * | --- | --- | --- | --- |
 * | DeletionCurve, DeletionArea | the highest blocks are replaced by Baseline first | 0 to 1 | low |
 * | InsertionCurve, InsertionArea | the highest blocks are put into a region of Baseline first | 0 to 1 | high |
 * | ChanceDeletionArea, ChanceInsertionArea | the same with NumberOfChanceOrders random rankings, mean | 0 to 1 | - |
 *
 * An area is the trapezoidal mean of its curve, whose NumberOfSteps + 1 points include both ends (Petsiuk et al., BMVC
 * 2018; Samek et al., TNNLS 2017). Blocks, because single voxels that are removed make an input unlike any that the
 * model has seen; Baseline is 0, the brain's mean after standardization.
 *
 * This runs the model 2 NumberOfSteps times, and again for each random ranking: it is made on request.
 * \sa ExplanationQualityFilter
 * \ingroup GliomaGrading
 */
template <typename TMapImage = Image<float, 3>>
class ITK_TEMPLATE_EXPORT ExplanationFaithfulnessCalculator : public Object
{
public:
  ITK_DISALLOW_COPY_AND_MOVE(ExplanationFaithfulnessCalculator);

  using Self = ExplanationFaithfulnessCalculator;
  using Superclass = Object;
  using Pointer = SmartPointer<Self>;
  using ConstPointer = SmartPointer<const Self>;
  using MapImageType = TMapImage;
  using RegionImageType = VectorImage<float, 3>;
  using ArrayType = Array<double>;

  itkNewMacro(Self);
  itkOverrideGetNameOfClassMacro(ExplanationFaithfulnessCalculator);

  /** The loaded grading model; required. */
  itkSetConstObjectMacro(Model, TorchModel);
  itkGetConstObjectMacro(Model, TorchModel);

  /** The region that was graded, up to date and whole; required. */
  itkSetConstObjectMacro(RegionImage, RegionImageType);
  itkGetConstObjectMacro(RegionImage, RegionImageType);

  /** The map, on any grid in the region's space, up to date and whole; required. */
  itkSetConstObjectMacro(MapImage, MapImageType);
  itkGetConstObjectMacro(MapImage, MapImageType);

  /** Class whose probability is followed, counted from 0; one that the model does not have is refused. Default: 0. */
  itkSetMacro(ClassToExplain, unsigned int);
  itkGetConstMacro(ClassToExplain, unsigned int);

  /** What stands for nothing, a component of the region each, in its units; another number of components is refused.
   * Default: empty, which means 0. */
  virtual void
  SetBaseline(const ArrayType & value)
  {
    if (m_Baseline != value)
    {
      m_Baseline = value;
      this->Modified();
    }
  }
  itkGetConstReferenceMacro(Baseline, ArrayType);

  /** Side of a block in voxels of the region, 1 or more. Default: 8. */
  itkSetMacro(BlockSize, unsigned int);
  itkGetConstMacro(BlockSize, unsigned int);

  /** Equal parts of the ranking that are deleted or inserted one after the other, 1 or more: a curve has one point
   * more. Default: 10. */
  itkSetMacro(NumberOfSteps, unsigned int);
  itkGetConstMacro(NumberOfSteps, unsigned int);

  /** Random rankings that the chance areas are the mean of; each takes as many runs of the model as the map itself, 0
   * leaves them out. Default: 1. */
  itkSetMacro(NumberOfChanceOrders, unsigned int);
  itkGetConstMacro(NumberOfChanceOrders, unsigned int);

  /** Seed of the random rankings; the same one gives the same rankings everywhere. Default: 1. */
  itkSetMacro(Seed, std::uint64_t);
  itkGetConstMacro(Seed, std::uint64_t);

  /** Runs the model. A ProgressEvent comes before each run, and between the layers of the module's own networks; what
   * its observer throws ends the computation. Throws where an input is missing, not loaded or does not hold all its
   * voxels (this is no filter: it updates no pipeline), and where a setting is out of its range. */
  void
  Compute();

  /** Probabilities of the class after 0 to NumberOfSteps parts, 0 to 1. As all results, valid after Compute(). */
  const ArrayType &
  GetDeletionCurve() const
  {
    return m_DeletionCurve;
  }
  const ArrayType &
  GetInsertionCurve() const
  {
    return m_InsertionCurve;
  }
  /** Mean of a curve, 0 to 1. */
  itkGetConstMacro(DeletionArea, double);
  itkGetConstMacro(InsertionArea, double);
  /** The same by chance, NaN without random rankings. */
  itkGetConstMacro(ChanceDeletionArea, double);
  itkGetConstMacro(ChanceInsertionArea, double);

protected:
  ExplanationFaithfulnessCalculator() = default;
  ~ExplanationFaithfulnessCalculator() override = default;
  void
  PrintSelf(std::ostream & os, Indent indent) const override;

private:
  std::vector<double>
  EnergyOfBlocks(std::vector<std::uint32_t> & blockOfVoxel) const;
  void
  Follow(const std::vector<std::uint32_t> & rankOfVoxel, std::size_t ranks, bool deletes, ArrayType & curve) const;
  static double
  Area(const ArrayType & curve);

  TorchModel::ConstPointer               m_Model;
  typename RegionImageType::ConstPointer m_RegionImage;
  typename MapImageType::ConstPointer    m_MapImage;
  unsigned int                           m_ClassToExplain{ 0 };
  ArrayType                              m_Baseline;
  unsigned int                           m_BlockSize{ 8 };
  unsigned int                           m_NumberOfSteps{ 10 };
  unsigned int                           m_NumberOfChanceOrders{ 1 };
  std::uint64_t                          m_Seed{ 1 };
  ArrayType                              m_DeletionCurve;
  ArrayType                              m_InsertionCurve;
  double                                 m_DeletionArea{ 0.0 };
  double                                 m_InsertionArea{ 0.0 };
  double                                 m_ChanceDeletionArea{ 0.0 };
  double                                 m_ChanceInsertionArea{ 0.0 };
};
} // namespace itk

#ifndef ITK_MANUAL_INSTANTIATION
#  include "itkExplanationFaithfulnessCalculator.hxx"
#endif

#endif // itkExplanationFaithfulnessCalculator_h
