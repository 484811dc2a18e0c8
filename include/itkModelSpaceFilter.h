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
#ifndef itkModelSpaceFilter_h
#define itkModelSpaceFilter_h

#include "itkAxisAlignedResampleImageFilter.h"
#include "itkVectorImage.h"

#include <string>

namespace itk
{
/** \class ModelSpaceFilter
 * \brief Brings an image to the orientation and spacing that a model was trained in, without rotating it.
 *
 * `OutputOrientation` names the directions in which the indices i, j and k of the output *increase*, in ITK's physical
 * convention (x to the patient's left, y to posterior, z to superior): "LPS" is the identity direction. The image's own
 * axes are permuted and flipped to the nearest such orientation: of the six permutations the one with the largest sum
 * of absolute direction cosines, the first of them (in lexicographic order) when two are equal. An oblique image stays
 * oblique: the output's direction holds the input's columns, permuted and with signs.
 *
 * Then each axis is resampled linearly to `OutputSpacing`, in index space. An axis that becomes coarser is smoothed
 * before with a Gaussian of FWHM \f$\sqrt{to^2 - from^2}\f$ mm (Cardoso et al. 2015). A spacing that agrees to 1e-6
 * (relative) is kept, and where all are kept the voxels are only moved, bit for bit.
 *
 * The output covers the input's extent and has the same centre:
 * \f$n_{out} = \lceil n_{in}\, from / to - 10^{-6}\rceil\f$. It starts at index 0 and has its true origin, spacing and
 * direction, and the input's dictionary. GetMapping() tells how its indices lie on the input's grid;
 * FromModelSpaceFilter goes back.
 *
 * With an Anchor, a place of the patient such as the brain's centroid, the grid hangs on it instead: a copy of the
 * image that is shifted by a part of a voxel or cropped gives the same grid in the patient, so that a network with
 * poolings gives the same answer. The anchor lies on a voxel's centre (an axis whose spacing is kept is not moved by
 * less than a voxel: the nearest), and the output grows to cover the input's extent.
 *
 * The image is a scalar `itk::Image` or an `itk::VectorImage`; the filter streams.
 *
 * \sa FromModelSpaceFilter
 * \ingroup GliomaGrading
 */
template <typename TInputImage = VectorImage<float, 3>, typename TOutputImage = TInputImage>
class ITK_TEMPLATE_EXPORT ModelSpaceFilter : public AxisAlignedResampleImageFilter<TInputImage, TOutputImage>
{
public:
  ITK_DISALLOW_COPY_AND_MOVE(ModelSpaceFilter);

  using Self = ModelSpaceFilter;
  using Superclass = AxisAlignedResampleImageFilter<TInputImage, TOutputImage>;
  using Pointer = SmartPointer<Self>;
  using ConstPointer = SmartPointer<const Self>;

  itkNewMacro(Self);
  itkOverrideGetNameOfClassMacro(ModelSpaceFilter);

  using MappingType = typename Superclass::MappingType;
  using SpacingType = typename Superclass::SpacingType;
  using RegionType = typename Superclass::RegionType;
  using InterpolationEnum = typename Superclass::InterpolationEnum;
  using AnchorType = ContinuousIndex<double, 3>;

  /** \brief Directions in which i, j and k increase: one each of L or R, P or A, S or I, in any order.
   * Default empty: the input's axes are kept. */
  itkSetStringMacro(OutputOrientation);
  itkGetStringMacro(OutputOrientation);

  /** \brief Spacing in mm along the output's axes; 0 keeps that of the input. Default 0, 0, 0. */
  itkSetMacro(OutputSpacing, SpacingType);
  itkGetConstReferenceMacro(OutputSpacing, SpacingType);

  /** \brief A continuous index of the input that becomes a voxel's centre. Default: none, the centres of both grids
   * agree. */
  void
  SetAnchor(const AnchorType & anchor);
  const AnchorType &
  GetAnchor() const
  {
    return m_Anchor;
  }
  /** \brief Whether the anchor counts. Default: off; SetAnchor() turns it on. */
  itkSetMacro(UseAnchor, bool);
  itkGetConstMacro(UseAnchor, bool);
  itkBooleanMacro(UseAnchor);

  /** \brief The output index of the anchor is a multiple of this number along each axis, 1 to 1024. Default: 1. */
  itkSetMacro(AnchorMultiple, unsigned int);
  itkGetConstMacro(AnchorMultiple, unsigned int);

protected:
  ModelSpaceFilter();
  ~ModelSpaceFilter() override = default;

  void
  PrintSelf(std::ostream & os, Indent indent) const override;

  void
  VerifyPreconditions() const override;

  void
  GenerateOutputInformation() override;

private:
  std::string  m_OutputOrientation{};
  SpacingType  m_OutputSpacing;
  AnchorType   m_Anchor;
  bool         m_UseAnchor{ false };
  unsigned int m_AnchorMultiple{ 1 };
};
} // namespace itk

#ifndef ITK_MANUAL_INSTANTIATION
#  include "itkModelSpaceFilter.hxx"
#endif

#endif // itkModelSpaceFilter_h
