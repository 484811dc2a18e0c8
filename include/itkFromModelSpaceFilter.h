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
#ifndef itkFromModelSpaceFilter_h
#define itkFromModelSpaceFilter_h

#include "itkAxisAlignedResampleImageFilter.h"
#include "itkVectorImage.h"

namespace itk
{
/** \class FromModelSpaceFilter
 * \brief Brings a map from a model's grid back onto the grid of a reference image, in index space.
 *
 * The companion of ModelSpaceFilter: `SetModelMapping(toModel->GetMapping())` tells how indices of the map lie on the
 * reference. A map on a grid of its own, such as the cells of a layer, takes the mappings chained by
 * AxisAlignedMapping::After(). Without a mapping it follows from the two headers, whose axes must then be parallel
 * within `DirectionTolerance` (default 1e-3); the offset is rounded to 2^-20 of a voxel so that an oblique copy of the
 * headers gives the same bits.
 *
 * A map cut by BoundingBoxROIFilter comes back by the region's mapping too. Its voxels that lay beyond the image hold
 * the outside value and would mix with the image's border: `SetValidRegion(region->GetValidRegion())` leaves them out.
 * With that and `Border` Extrapolate here and in the region's filter, what is linear in the image comes back exactly,
 * up to the image's border.
 *
 * Voxels of the reference beyond the map's extent get `OutsideValue`. The output has the reference's region, origin,
 * spacing and direction, and the map's dictionary. Only the geometry of the reference is used, never its voxels. The
 * filter streams.
 *
 * \sa ModelSpaceFilter
 * \ingroup GliomaGrading
 */
template <typename TInputImage = VectorImage<float, 3>, typename TOutputImage = TInputImage>
class ITK_TEMPLATE_EXPORT FromModelSpaceFilter : public AxisAlignedResampleImageFilter<TInputImage, TOutputImage>
{
public:
  ITK_DISALLOW_COPY_AND_MOVE(FromModelSpaceFilter);

  using Self = FromModelSpaceFilter;
  using Superclass = AxisAlignedResampleImageFilter<TInputImage, TOutputImage>;
  using Pointer = SmartPointer<Self>;
  using ConstPointer = SmartPointer<const Self>;

  itkNewMacro(Self);
  itkOverrideGetNameOfClassMacro(FromModelSpaceFilter);

  using MappingType = typename Superclass::MappingType;
  using RegionType = typename Superclass::RegionType;
  using ReferenceImageType = ImageBase<3>;

  /** \brief The image onto whose grid the map is brought. */
  itkSetInputMacro(ReferenceImage, ReferenceImageType);
  itkGetInputMacro(ReferenceImage, ReferenceImageType);

  /** \brief How indices of the map lie on the reference: ModelSpaceFilter::GetMapping(). Default: from the headers. */
  void
  SetModelMapping(const MappingType & mapping);

  /** \brief Forgets the mapping: it follows from the headers again. */
  void
  ClearModelMapping();

  /** \brief The voxels of the map that count; an empty region is the whole map. Default empty. */
  itkSetMacro(ValidRegion, RegionType);
  itkGetConstReferenceMacro(ValidRegion, RegionType);

protected:
  FromModelSpaceFilter();
  ~FromModelSpaceFilter() override = default;

  void
  PrintSelf(std::ostream & os, Indent indent) const override;

  void
  VerifyPreconditions() const override;

  void
  VerifyInputInformation() const override;

  void
  GenerateOutputInformation() override;

private:
  MappingType
  MappingFromHeaders() const;

  bool        m_HasModelMapping{ false };
  MappingType m_ModelMapping{};
  RegionType  m_ValidRegion{};
};
} // namespace itk

#ifndef ITK_MANUAL_INSTANTIATION
#  include "itkFromModelSpaceFilter.hxx"
#endif

#endif // itkFromModelSpaceFilter_h
