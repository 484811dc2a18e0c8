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
#ifndef itkBoundingBoxROIFilter_h
#define itkBoundingBoxROIFilter_h

#include "itkAxisAlignedResampleImageFilter.h"
#include "itkSimpleDataObjectDecorator.h"
#include "itkVectorImage.h"

#include <cstdint>

namespace itk
{
/** \class BoundingBoxROIFilterEnums
 * \brief Enumerations of BoundingBoxROIFilter.
 * \ingroup GliomaGrading
 */
class BoundingBoxROIFilterEnums
{
public:
  /** \class Mode
   * \brief How the box becomes the region.
   * \ingroup GliomaGrading
   */
  enum class Mode : uint8_t
  {
    Cube = 0,
    Stretch = 1,
    Letterbox = 2
  };

  /** \class MarginUnit
   * \brief What the margin is counted in.
   * \ingroup GliomaGrading
   */
  enum class MarginUnit : uint8_t
  {
    Voxels = 0,
    Millimetres = 1
  };

  /** \class EmptyMaskPolicy
   * \brief What an empty mask does.
   * \ingroup GliomaGrading
   */
  enum class EmptyMaskPolicy : uint8_t
  {
    Exception = 0,
    WholeImage = 1
  };

  /** \class StatusFlag
   * \brief Bits of the status.
   * \ingroup GliomaGrading
   */
  enum class StatusFlag : uint8_t
  {
    Found = 1,
    Empty = 2,
    Tiny = 4,
    TouchesBorder = 8,
    SeveralFoci = 16,
    LeavesImage = 32
  };
};

inline std::ostream &
operator<<(std::ostream & os, BoundingBoxROIFilterEnums::Mode value)
{
  return os << [value] {
    switch (value)
    {
      case BoundingBoxROIFilterEnums::Mode::Cube:
        return "Cube";
      case BoundingBoxROIFilterEnums::Mode::Stretch:
        return "Stretch";
      case BoundingBoxROIFilterEnums::Mode::Letterbox:
        return "Letterbox";
      default:
        return "INVALID VALUE FOR itk::BoundingBoxROIFilterEnums::Mode";
    }
  }();
}

inline std::ostream &
operator<<(std::ostream & os, BoundingBoxROIFilterEnums::MarginUnit value)
{
  return os << [value] {
    switch (value)
    {
      case BoundingBoxROIFilterEnums::MarginUnit::Voxels:
        return "Voxels";
      case BoundingBoxROIFilterEnums::MarginUnit::Millimetres:
        return "Millimetres";
      default:
        return "INVALID VALUE FOR itk::BoundingBoxROIFilterEnums::MarginUnit";
    }
  }();
}

inline std::ostream &
operator<<(std::ostream & os, BoundingBoxROIFilterEnums::EmptyMaskPolicy value)
{
  return os << [value] {
    switch (value)
    {
      case BoundingBoxROIFilterEnums::EmptyMaskPolicy::Exception:
        return "Exception";
      case BoundingBoxROIFilterEnums::EmptyMaskPolicy::WholeImage:
        return "WholeImage";
      default:
        return "INVALID VALUE FOR itk::BoundingBoxROIFilterEnums::EmptyMaskPolicy";
    }
  }();
}

inline std::ostream &
operator<<(std::ostream & os, BoundingBoxROIFilterEnums::StatusFlag value)
{
  return os << [value] {
    switch (value)
    {
      case BoundingBoxROIFilterEnums::StatusFlag::Found:
        return "Found";
      case BoundingBoxROIFilterEnums::StatusFlag::Empty:
        return "Empty";
      case BoundingBoxROIFilterEnums::StatusFlag::Tiny:
        return "Tiny";
      case BoundingBoxROIFilterEnums::StatusFlag::TouchesBorder:
        return "TouchesBorder";
      case BoundingBoxROIFilterEnums::StatusFlag::SeveralFoci:
        return "SeveralFoci";
      case BoundingBoxROIFilterEnums::StatusFlag::LeavesImage:
        return "LeavesImage";
      default:
        return "INVALID VALUE FOR itk::BoundingBoxROIFilterEnums::StatusFlag";
    }
  }();
}

/** \class BoundingBoxROIFilter
 * \brief Cuts the region around a mask out of an image and resamples it to a cube of voxels.
 *
 * The box is the extent of the mask's components (26 neighbours) that hold at least `MinimumComponentFraction` of the
 * voxels of the largest, or of the largest alone. With \f$n_i\f$ voxels of the box, the spacing \f$s_i\f$ along axis
 * \f$i\f$ and the margin \f$m_i\f$ in voxels (`Margin`, or `Margin`\f$/s_i\f$ where its unit is the millimetre), the
 * region is (Pereira et al. 2018, "maintaining the aspect ratio of the tumor")
 *
 * - `Cube`: a cube of side \f$S = \max_i (n_i + 2m_i)\,s_i\f$ mm with the box's centre, sampled with the isotropic
 * spacing
 *   \f$S/N\f$, \f$N\f$ = `OutputSize`: what lies around the tumour inside the cube is kept;
 * - `Stretch`: the box and its margin, each axis with a spacing of its own, \f$(n_i + 2m_i)\,s_i/N\f$;
 * - `Letterbox`: sampled as `Cube`, but what lies outside the box and its margin is `OutsideValue`.
 *
 * The centre of the first voxel lies half an output voxel inside the region's corner. Voxels outside the image are
 * `OutsideValue`. Interpolation is linear in index space along the image's own axes; `Smoothing` puts a Gaussian of
 * FWHM \f$\sqrt{to^2 - from^2}\f$ mm before an axis that becomes coarser. With `OutputSize` 0 nothing is resampled:
 * the output is the part of the image whose voxel centres lie in the region (`Letterbox` as `Stretch`), with their
 * indices.
 *
 * Labels take `NearestNeighbor`. A label image and its mask may be the same image.
 *
 * The output has its true origin and spacing, the direction and the dictionary of the input, and streams.
 * GetMapping() is the whole transform, in index space: FromModelSpaceFilter with it brings a map of the region back
 * onto the image, and without it, by the headers, onto the grid of any other sequence with parallel axes. A linear ramp
 * comes back exactly where it is interpolated between voxels of the region that lie in the image, which with a margin
 * is all of the box; see FromModelSpaceFilter for boxes at the image's border and for `Stretch` without a margin.
 *
 * GenerateOutputInformation() brings the mask's pipeline up to date over its largest region, because the output's size
 * and place depend on it; the result is kept until the mask changes.
 *
 * \par Status
 * A sum of StatusFlag: `Found`; `Empty` (with the policy `WholeImage`, which takes the whole image without margin);
 * `Tiny`, fewer than `TinyNumberOfVoxels` voxels in the kept components; `TouchesBorder`, the box touches the image's
 * border; `SeveralFoci`, several components reach the fraction, kept or not; `LeavesImage`, the region
 * reaches beyond the image.
 *
 * \ingroup GliomaGrading
 */
template <typename TInputImage = VectorImage<float, 3>, typename TMaskImage = Image<unsigned char, 3>>
class ITK_TEMPLATE_EXPORT BoundingBoxROIFilter : public AxisAlignedResampleImageFilter<TInputImage, TInputImage>
{
public:
  ITK_DISALLOW_COPY_AND_MOVE(BoundingBoxROIFilter);

  using Self = BoundingBoxROIFilter;
  using Superclass = AxisAlignedResampleImageFilter<TInputImage, TInputImage>;
  using Pointer = SmartPointer<Self>;
  using ConstPointer = SmartPointer<const Self>;

  itkNewMacro(Self);
  itkOverrideGetNameOfClassMacro(BoundingBoxROIFilter);

  using MaskImageType = TMaskImage;
  using MappingType = typename Superclass::MappingType;
  using typename Superclass::WidthsType;
  using RegionType = typename Superclass::RegionType;
  using ModeEnum = BoundingBoxROIFilterEnums::Mode;
  using MarginUnitEnum = BoundingBoxROIFilterEnums::MarginUnit;
  using EmptyMaskPolicyEnum = BoundingBoxROIFilterEnums::EmptyMaskPolicy;
  using StatusFlagEnum = BoundingBoxROIFilterEnums::StatusFlag;
  using RealArrayType = Array<double>;

  /** \brief The mask, on the grid of the image; every value but 0 is inside. */
  itkSetInputMacro(MaskImage, MaskImageType);
  itkGetInputMacro(MaskImage, MaskImageType);
  /** The mask as the second input, so that Python's filter(image, mask) sets it. */
  void
  SetInput2(const MaskImageType * mask)
  {
    this->SetMaskImage(mask);
  }

  /** \brief How the box becomes the region. Default Cube. */
  itkSetMacro(Mode, ModeEnum);
  itkGetConstMacro(Mode, ModeEnum);

  /** \brief What is added on each side of the box, in MarginUnit. Default 10. */
  itkSetMacro(Margin, double);
  itkGetConstMacro(Margin, double);

  /** \brief What the margin is counted in: voxels of the image (the paper's) or millimetres. Default Voxels. */
  itkSetMacro(MarginUnit, MarginUnitEnum);
  itkGetConstMacro(MarginUnit, MarginUnitEnum);

  /** \brief Voxels along each side of the output; 0 keeps the image's voxels and their indices. Default 96. */
  itkSetMacro(OutputSize, unsigned int);
  itkGetConstMacro(OutputSize, unsigned int);

  /** \brief Components smaller than this share of the largest are left out of the box; 0 keeps all. Default 0.05. */
  itkSetMacro(MinimumComponentFraction, double);
  itkGetConstMacro(MinimumComponentFraction, double);

  /** \brief Takes the box of the largest component alone. Default off. */
  itkSetMacro(LargestComponentOnly, bool);
  itkGetConstMacro(LargestComponentOnly, bool);
  itkBooleanMacro(LargestComponentOnly);

  /** \brief Fewer voxels than this in the kept components set the status Tiny. Default 64. */
  itkSetMacro(TinyNumberOfVoxels, SizeValueType);
  itkGetConstMacro(TinyNumberOfVoxels, SizeValueType);

  /** \brief Smooths before an axis becomes coarser. Default off, as in the paper. */
  itkSetMacro(Smoothing, bool);
  itkGetConstMacro(Smoothing, bool);
  itkBooleanMacro(Smoothing);

  /** \brief What an empty mask does: an exception, or the whole image. Default Exception. */
  itkSetMacro(EmptyMaskPolicy, EmptyMaskPolicyEnum);
  itkGetConstMacro(EmptyMaskPolicy, EmptyMaskPolicyEnum);

  /** \brief First index (3 numbers) and size (3) of the box in voxels of the image. As all these outputs, valid after
   * UpdateOutputInformation(). */
  itkGetDecoratedOutputMacro(Box, RealArrayType);

  /** \brief Lower corner (3 numbers) and size (3) of the region, in continuous indices of the image: a voxel reaches
   * from index - 0.5 to index + 0.5. */
  itkGetDecoratedOutputMacro(Region, RealArrayType);

  /** \brief Sum of the StatusFlag bits. */
  itkGetDecoratedOutputMacro(Status, unsigned long);

  /** \brief Components that reach MinimumComponentFraction. */
  itkGetDecoratedOutputMacro(NumberOfComponents, unsigned long);

  /** \brief Voxels of the kept components. */
  itkGetDecoratedOutputMacro(NumberOfVoxels, unsigned long);

  /** \brief True if the status has this bit. */
  bool
  HasStatus(StatusFlagEnum flag) const
  {
    return (this->GetStatus() & static_cast<unsigned long>(flag)) != 0;
  }

  /** \brief The box as a region of the image. */
  const RegionType &
  GetBoxRegion() const
  {
    return m_BoxRegion;
  }

  /** \brief The voxels of the output that lie in the image (with Letterbox: in the box and its margin); the others are
   * OutsideValue. Valid after UpdateOutputInformation(). */
  const RegionType &
  GetValidRegion() const
  {
    return m_ValidRegion;
  }

  using DataObjectIdentifierType = ProcessObject::DataObjectIdentifierType;
  using Superclass::MakeOutput;
  DataObject::Pointer
  MakeOutput(const DataObjectIdentifierType & name) override;

protected:
  BoundingBoxROIFilter();
  ~BoundingBoxROIFilter() override = default;

  itkSetDecoratedOutputMacro(Box, RealArrayType);
  itkSetDecoratedOutputMacro(Region, RealArrayType);
  itkSetDecoratedOutputMacro(Status, unsigned long);
  itkSetDecoratedOutputMacro(NumberOfComponents, unsigned long);
  itkSetDecoratedOutputMacro(NumberOfVoxels, unsigned long);

  void
  PrintSelf(std::ostream & os, Indent indent) const override;

  void
  VerifyPreconditions() const override;

  void
  VerifyInputInformation() const override;

  void
  GenerateOutputInformation() override;

  void
  GenerateInputRequestedRegion() override;

private:
  void
  FindBox();

  ModeEnum            m_Mode{ ModeEnum::Cube };
  double              m_Margin{ 10.0 };
  MarginUnitEnum      m_MarginUnit{ MarginUnitEnum::Voxels };
  unsigned int        m_OutputSize{ 96 };
  double              m_MinimumComponentFraction{ 0.05 };
  bool                m_LargestComponentOnly{ false };
  SizeValueType       m_TinyNumberOfVoxels{ 64 };
  bool                m_Smoothing{ false };
  EmptyMaskPolicyEnum m_EmptyMaskPolicy{ EmptyMaskPolicyEnum::Exception };

  RegionType m_ValidRegion;

  // The box and what it was found from.
  RegionType         m_BoxRegion;
  const TMaskImage * m_BoxMask{ nullptr };
  ModifiedTimeType   m_BoxTime{ 0 };
  double             m_BoxFraction{ 0.0 };
  bool               m_BoxLargestOnly{ false };
};
} // namespace itk

#ifndef ITK_MANUAL_INSTANTIATION
#  include "itkBoundingBoxROIFilter.hxx"
#endif

#endif // itkBoundingBoxROIFilter_h
