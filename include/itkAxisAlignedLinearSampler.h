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
#ifndef itkAxisAlignedLinearSampler_h
#define itkAxisAlignedLinearSampler_h

#include "itkAxisAlignedMapping.h"
#include "itkImageRegion.h"

#include <array>
#include <cstdint>
#include <ostream>
#include <vector>

namespace itk
{
/** \class AxisAlignedLinearSamplerEnums
 * \brief Enumerations of AxisAlignedLinearSampler.
 * \ingroup GliomaGrading
 */
class AxisAlignedLinearSamplerEnums
{
public:
  /** \class Interpolation
   * \brief How a value between voxels is found.
   * \ingroup GliomaGrading
   */
  enum class Interpolation : uint8_t
  {
    Linear = 0,
    NearestNeighbor = 1
  };

  /** \class Border
   * \brief What linear interpolation makes of the half voxel beyond the outermost voxels' centres.
   * \ingroup GliomaGrading
   */
  enum class Border : uint8_t
  {
    Repeat = 0,
    Extrapolate = 1
  };
};

inline std::ostream &
operator<<(std::ostream & os, AxisAlignedLinearSamplerEnums::Interpolation value)
{
  return os << [value] {
    switch (value)
    {
      case AxisAlignedLinearSamplerEnums::Interpolation::Linear:
        return "Linear";
      case AxisAlignedLinearSamplerEnums::Interpolation::NearestNeighbor:
        return "NearestNeighbor";
      default:
        return "INVALID VALUE FOR itk::AxisAlignedLinearSamplerEnums::Interpolation";
    }
  }();
}

inline std::ostream &
operator<<(std::ostream & os, AxisAlignedLinearSamplerEnums::Border value)
{
  return os << [value] {
    switch (value)
    {
      case AxisAlignedLinearSamplerEnums::Border::Repeat:
        return "Repeat";
      case AxisAlignedLinearSamplerEnums::Border::Extrapolate:
        return "Extrapolate";
      default:
        return "INVALID VALUE FOR itk::AxisAlignedLinearSamplerEnums::Border";
    }
  }();
}

/** \class AxisAlignedLinearSampler
 * \brief Samples one grid on another that an AxisAlignedMapping relates to it, in index space only.
 *
 * Along each axis an output value is a weighted sum of neighbouring voxels. The weights are those of linear
 * interpolation, after a Gaussian of the given full width at half maximum where that is not 0 (cut at four standard
 * deviations, normalised, the border voxel repeated outside the image). A sample within the image's extent, that is
 * from -0.5 to n - 0.5 along each axis, is clamped to the voxels' centres, or (Border::Extrapolate) continues the line
 * through the two outermost ones, so that a ramp stays a ramp; beyond it is the outside value. A value depends on the
 * output index alone: not on the region asked for, nor on the number of threads.
 *
 * Buffers are those of an `itk::VectorImage` or a scalar `itk::Image`: components interleaved, axis 0 fastest. Values
 * of an integer type are rounded, halves up, and limited to what it holds.
 *
 * \ingroup GliomaGrading
 */
class AxisAlignedLinearSampler
{
public:
  static constexpr unsigned int Dimension = AxisAlignedMapping::Dimension;
  using InterpolationEnum = AxisAlignedLinearSamplerEnums::Interpolation;
  using BorderEnum = AxisAlignedLinearSamplerEnums::Border;
  using RegionType = ImageRegion<Dimension>;
  using WidthsType = std::array<double, Dimension>;

  /** \brief Samples the voxels of `extent` (the input's largest region) where `mapping` says. */
  AxisAlignedLinearSampler(const AxisAlignedMapping & mapping,
                           const RegionType &         extent,
                           InterpolationEnum          interpolation = InterpolationEnum::Linear);

  /** \brief Full width at half maximum of a Gaussian before linear interpolation, in voxels of each *input* axis.
   * 0 is none, the default. */
  void
  SetFullWidthAtHalfMaximum(const WidthsType & widths);

  /** \brief Narrows the continuous indices of each *input* axis at which a sample counts as inside. The default is the
   * whole extent. */
  void
  SetInside(const WidthsType & lower, const WidthsType & upper);

  /** \brief What happens beyond the outermost centres. Default Repeat. */
  void
  SetBorder(BorderEnum border);

  /** \brief The voxels of the input that count: no other has a weight. A sample up to a voxel beyond them is clamped or
   * extrapolated from them, one further away is outside. The default is the whole extent. */
  void
  SetValid(const RegionType & valid);

  /** \brief The voxels of the input that a region of the output needs: never empty, always in the extent. */
  RegionType
  ComputeInputRegion(const RegionType & outputRegion) const;

  /** \brief A value as a pixel of the output: integers are rounded, halves up, and limited to what the type holds (a
   * NaN becomes its lowest); other types are cast. */
  template <typename TOutput, typename TValue>
  static TOutput
  ToPixel(TValue value);

  /** \brief Writes `outputRegion` of the output. May be called from several threads at once.
   *
   * `input` holds `inputRegion`, which covers ComputeInputRegion(outputRegion); `output` holds `bufferedRegion`;
   * `outside` points at one value for each component. */
  template <typename TInput, typename TOutput>
  void
  Sample(const TInput *     input,
         const RegionType & inputRegion,
         unsigned int       components,
         TOutput *          output,
         const RegionType & bufferedRegion,
         const RegionType & outputRegion,
         const TOutput *    outside) const;

private:
  // What each output index along one axis is made of: weights[begin[i] .. begin[i + 1]) of the voxels from first[i].
  struct AxisTable
  {
    std::vector<IndexValueType> first;
    std::vector<SizeValueType>  begin;
    std::vector<double>         weights;
    IndexValueType              minimum{ 0 };
    IndexValueType              maximum{ -1 };

    bool
    IsInside(SizeValueType i) const
    {
      return begin[i] != begin[i + 1];
    }
  };

  AxisTable
  MakeTable(unsigned int outputAxis, const RegionType & outputRegion) const;

  template <typename TReal, typename TInput, typename TOutput>
  void
  SampleLinear(const TInput *                           input,
               const RegionType &                       inputRegion,
               unsigned int                             components,
               TOutput *                                output,
               const RegionType &                       bufferedRegion,
               const RegionType &                       outputRegion,
               const TOutput *                          outside,
               const std::array<AxisTable, Dimension> & tables) const;

  AxisAlignedMapping m_Mapping;
  RegionType         m_Extent;
  RegionType         m_Valid;
  InterpolationEnum  m_Interpolation;
  BorderEnum         m_Border{ BorderEnum::Repeat };
  WidthsType         m_Widths{ { 0.0, 0.0, 0.0 } };
  WidthsType         m_Lower;
  WidthsType         m_Upper;
};
} // namespace itk

#include "itkAxisAlignedLinearSampler.hxx"

#endif // itkAxisAlignedLinearSampler_h
