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
#ifndef itkSequenceOrderCalculator_h
#define itkSequenceOrderCalculator_h

#include "itkGliomaGradingCompat.h"
#include "itkImage.h"
#include "itkObject.h"
#include "itkObjectFactory.h"
#include "itkReviewThresholds.h"

#include <array>
#include <string>
#include <utility>
#include <vector>

namespace itk
{
/** \class SequenceOrderCalculator
 * \brief Are T1, T1c, T2 and FLAIR what they are called? From contrasts that hold on every scanner.
 *
 * On ranks of the intensities inside the brain, of at most 100000 voxels spread evenly over it, so that neither scale
 * nor window matter:
 * 1. Cerebrospinal fluid is the brightest of T2 and dark in the three others. FluidRank of a sequence is the largest,
 *    over the other three, of the median rank (0 to 1) of its own brightest 3 %: near 0 for T2 alone. If it is below
 *    ReviewThresholds::FluidRank for another sequence, and smaller by FluidGap, that one is T2.
 * 2. FLAIR is T2-weighted with the fluid's signal nulled: of the three others it has the largest rank correlation with
 *    T2. If another one's is larger by FlairGap, that one is FLAIR.
 * 3. A contrast agent brightens. With both scaled by median and interquartile range, the tails of T1c - T1 (sum of the
 *    0.5 % and 99.5 % quantiles about the median) point up; if they point down by EnhancementGap, T1 and T1c are
 * swapped.
 *
 * Each step speaks only where it is sure; what it does not know stays as it is named. Two sequences whose rank
 * correlation exceeds DuplicateCorrelation are one image given twice. No model is involved.
 * \ingroup GliomaGrading
 */
template <typename TImage = Image<float, 3>, typename TMaskImage = Image<unsigned char, 3>>
class ITK_TEMPLATE_EXPORT SequenceOrderCalculator : public Object
{
public:
  ITK_DISALLOW_COPY_AND_MOVE(SequenceOrderCalculator);

  using Self = SequenceOrderCalculator;
  using Superclass = Object;
  using Pointer = SmartPointer<Self>;
  using ConstPointer = SmartPointer<const Self>;

  itkNewMacro(Self);
  itkOverrideGetNameOfClassMacro(SequenceOrderCalculator);

  using ImageType = TImage;
  using MaskImageType = TMaskImage;
  using ImageConstPointer = typename ImageType::ConstPointer;
  using MaskConstPointer = typename MaskImageType::ConstPointer;

  /** T1, T1c, T2, FLAIR. */
  static const std::vector<std::string> &
  GetNames();

  /** The image that is called GetNames()[i]. */
  void
  SetSequence(unsigned int i, const ImageType * image);

  /** The brain (not 0), on the sequences' grid. */
  itkSetConstObjectMacro(Mask, MaskImageType);
  itkGetConstObjectMacro(Mask, MaskImageType);

  /** Of these FluidRank, FluidGap, FlairGap, EnhancementGap and DuplicateCorrelation. Default: those of
   * ReviewThresholds. */
  void
  SetThresholds(const ReviewThresholds & thresholds);
  const ReviewThresholds &
  GetThresholds() const
  {
    return m_Thresholds;
  }

  /** Reads the images; throws where one is missing or of another size. Of nearly constant images, or fewer than 200
   * voxels, nothing is said. */
  void
  Compute();

  /** What the image called GetNames()[i] looks like: an index into GetNames(). */
  const std::vector<unsigned int> &
  GetLooksLike() const
  {
    return m_LooksLike;
  }
  /** Every image looks like its name. */
  bool
  LooksRight() const;
  /** Pairs of one image given twice. */
  const std::vector<std::pair<unsigned int, unsigned int>> &
  GetDuplicates() const
  {
    return m_Duplicates;
  }

  /** What the steps look at, of the sequences as they are called. */
  double
  GetFluidRank(unsigned int i) const
  {
    return m_FluidRank.at(i);
  }
  double
  GetCorrelation(unsigned int i, unsigned int j) const
  {
    return m_Correlation.at(i).at(j);
  }
  double
  GetEnhancement() const
  {
    return m_Enhancement[0][1];
  }
  /** Shape of an image's intensities in the brain: share of the 5 to 95 % range that lies above the median ... */
  double
  GetAsymmetry(unsigned int i) const
  {
    return m_Asymmetry.at(i);
  }
  /** ... and the 0.5 to 99.5 % range over that range. */
  double
  GetTail(unsigned int i) const
  {
    return m_Tail.at(i);
  }

protected:
  SequenceOrderCalculator() = default;
  ~SequenceOrderCalculator() override = default;
  void
  PrintSelf(std::ostream & os, Indent indent) const override;

private:
  void
  Decide();

  std::array<ImageConstPointer, 4>                   m_Sequences;
  MaskConstPointer                                   m_Mask;
  ReviewThresholds                                   m_Thresholds;
  std::array<double, 4>                              m_FluidRank{};
  std::array<std::array<double, 4>, 4>               m_Correlation{};
  std::array<std::array<double, 4>, 4>               m_Enhancement{}; // of the second over the first
  std::array<double, 4>                              m_Asymmetry{};
  std::array<double, 4>                              m_Tail{};
  std::vector<unsigned int>                          m_LooksLike{ 0, 1, 2, 3 };
  std::vector<std::pair<unsigned int, unsigned int>> m_Duplicates;
};
} // namespace itk

#ifndef ITK_MANUAL_INSTANTIATION
#  include "itkSequenceOrderCalculator.hxx"
#endif

#endif // itkSequenceOrderCalculator_h
