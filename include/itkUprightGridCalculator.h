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
#ifndef itkUprightGridCalculator_h
#define itkUprightGridCalculator_h

#include "itkGliomaGradingCompat.h"
#include "itkImage.h"
#include "itkObject.h"
#include "itkObjectFactory.h"

namespace itk
{
/** \class UprightGridCalculator
 * \brief Says whether a head stands upright in its image's physical space and askew along the image's axes, and gives
 * the grid that straightens it.
 *
 * Networks see voxels: a head whose image was taken or resampled on a turned grid looks turned to them. The header says
 * by how much, but not every header is right. So the brain itself is asked: its two halves are alike, and the share of
 * the brain mask's voxels whose mirror image lies in the mask too,
 * \f[ s = |\{ p \in M : r(p) \in M \}| / |M| , \f]
 * tells a head that stands upright (0.92 to 0.96 in twelve patients) from one turned by 20 degrees (0.83 to 0.89). The
 * mirror r is taken once along the image's axis that is nearest to left-right, and once along left-right itself, each
 * through the mask's centroid. The grid is turned where the image's axes are more than MinimumAngle from the patient's
 * and the second share is above the first by more than MinimumGain. A head that nods looks as symmetric as before: its
 * image keeps its axes.
 *
 * The grid that is given has the patient's axes in the order and sense of the image's, the image's spacing or
 * LargestSpacing, whichever is finer, and the field of view of the atlas space in which BRATS cases lie (240 x 240 x
 * 155 mm: the lattice of N4 depends on it). The brain lies in it as theirs do, its centroid 12 mm behind the middle
 * (6 to 17 mm in twelve patients); where the brain leaves it, the grid is larger.
 * \ingroup GliomaGrading
 */
template <typename TMaskImage = Image<unsigned char, 3>>
class ITK_TEMPLATE_EXPORT UprightGridCalculator : public Object
{
public:
  ITK_DISALLOW_COPY_AND_MOVE(UprightGridCalculator);

  using Self = UprightGridCalculator;
  using Superclass = Object;
  using Pointer = SmartPointer<Self>;
  using ConstPointer = SmartPointer<const Self>;
  using MaskImageType = TMaskImage;
  using GridType = ImageBase<3>;

  itkNewMacro(Self);
  itkOverrideGetNameOfClassMacro(UprightGridCalculator);

  static_assert(TMaskImage::ImageDimension == 3, "Images are three-dimensional.");

  /** The brain: not 0 inside. Up to date and whole; required. */
  itkSetConstObjectMacro(BrainMask, MaskImageType);
  itkGetConstObjectMacro(BrainMask, MaskImageType);

  /** \brief Degrees by which an axis must be off the patient's. Default: 5. */
  itkSetMacro(MinimumAngle, double);
  itkGetConstMacro(MinimumAngle, double);

  /** \brief By how much the brain must be more symmetric. Default: 0.02. */
  itkSetMacro(MinimumGain, double);
  itkGetConstMacro(MinimumGain, double);

  /** \brief Largest spacing of the grid in mm. Default: 1. */
  itkSetMacro(LargestSpacing, double);
  itkGetConstMacro(LargestSpacing, double);

  /** Largest angle in degrees between an axis of a direction matrix and the patient's axis that it stands for. */
  static double
  AngleOf(const GridType * image);

  /** Throws without a mask, where the mask is empty or does not hold all its voxels (this is no filter: it updates no
   * pipeline), and where LargestSpacing is no positive number. */
  void
  Compute();

  /** Largest angle between an axis of the image and the patient's, degrees. */
  itkGetConstMacro(Angle, double);
  /** Share of the brain whose mirror along the image's own axis lies in the brain. */
  itkGetConstMacro(OwnSymmetry, double);
  /** The same along the patient's left-right. */
  itkGetConstMacro(UprightSymmetry, double);
  itkGetConstMacro(IsTurned, bool);

  /** The upright grid, without voxels; null where the image is not turned. */
  const GridType *
  GetGrid() const
  {
    return m_Grid;
  }

protected:
  UprightGridCalculator() = default;
  ~UprightGridCalculator() override = default;
  void
  PrintSelf(std::ostream & os, Indent indent) const override;

private:
  using DirectionType = typename GridType::DirectionType;
  using PointType = typename GridType::PointType;

  static DirectionType
  NearestAxes(const DirectionType & direction);
  void
  MakeGrid(const DirectionType & axes);

  typename MaskImageType::ConstPointer m_BrainMask;
  double                               m_MinimumAngle{ 5.0 };
  double                               m_MinimumGain{ 0.02 };
  double                               m_LargestSpacing{ 1.0 };
  double                               m_Angle{ 0.0 };
  double                               m_OwnSymmetry{ 0.0 };
  double                               m_UprightSymmetry{ 0.0 };
  bool                                 m_IsTurned{ false };
  typename GridType::Pointer           m_Grid;
};
} // namespace itk

#ifndef ITK_MANUAL_INSTANTIATION
#  include "itkUprightGridCalculator.hxx"
#endif

#endif // itkUprightGridCalculator_h
