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
#ifndef itkAxisAlignedMapping_h
#define itkAxisAlignedMapping_h

#include "itkContinuousIndex.h"
#include "itkImageBase.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <ostream>
#include <string>

namespace itk
{
/** \class AxisAlignedMapping
 * \brief Relates the indices of two grids by a permutation, a scale and an offset of each axis.
 *
 * Index \f$i_a\f$ of output axis \f$a\f$ lies at continuous index
 * \f$Offset_a + Scale_a\, i_a\f$ of input axis \f$Axis_a\f$; a negative scale is a flip. Indices are ITK's own, start
 * index included. No physical point takes part: a copy of an image with another header gives the same numbers.
 *
 * \ingroup GliomaGrading
 */
struct AxisAlignedMapping
{
  static constexpr unsigned int Dimension = 3;
  using ImageBaseType = ImageBase<Dimension>;
  using ContinuousIndexType = ContinuousIndex<double, Dimension>;

  std::array<unsigned int, Dimension> Axis{ { 0, 1, 2 } };
  std::array<double, Dimension>       Scale{ { 1.0, 1.0, 1.0 } };
  std::array<double, Dimension>       Offset{ { 0.0, 0.0, 0.0 } };

  /** \brief Continuous index of the input at a continuous index of the output. */
  ContinuousIndexType
  Map(const ContinuousIndexType & output) const
  {
    ContinuousIndexType input;
    for (unsigned int a = 0; a < Dimension; ++a)
    {
      input[Axis[a]] = Offset[a] + Scale[a] * output[a];
    }
    return input;
  }

  /** \brief True if every output index is the same input index. */
  bool
  IsIdentity() const
  {
    for (unsigned int a = 0; a < Dimension; ++a)
    {
      if (Axis[a] != a || Scale[a] != 1.0 || Offset[a] != 0.0)
      {
        return false;
      }
    }
    return true;
  }

  /** \brief The mapping from the input's grid to the output's. */
  AxisAlignedMapping
  Inverse() const
  {
    AxisAlignedMapping inverse;
    for (unsigned int a = 0; a < Dimension; ++a)
    {
      inverse.Axis[Axis[a]] = a;
      inverse.Scale[Axis[a]] = 1.0 / Scale[a];
      inverse.Offset[Axis[a]] = -Offset[a] / Scale[a];
    }
    return inverse;
  }

  /** \brief This mapping after `first`: output of `first` to the input of this one.
   *
   * With cells -> region, region -> model grid and model grid -> image, `image.After(model.After(region))` takes a
   * cell's index to the image's. */
  AxisAlignedMapping
  After(const AxisAlignedMapping & first) const
  {
    AxisAlignedMapping both;
    for (unsigned int a = 0; a < Dimension; ++a)
    {
      const unsigned int middle = first.Axis[a];
      both.Axis[a] = Axis[middle];
      both.Scale[a] = Scale[middle] * first.Scale[a];
      both.Offset[a] = Offset[middle] + Scale[middle] * first.Offset[a];
    }
    return both;
  }

  /** \brief Sets the output's origin, spacing and direction from the input's. */
  void
  ApplyGeometry(const ImageBaseType & input, ImageBaseType & output) const
  {
    ImageBaseType::SpacingType   spacing;
    ImageBaseType::DirectionType direction;
    for (unsigned int a = 0; a < Dimension; ++a)
    {
      spacing[a] = std::abs(Scale[a]) * input.GetSpacing()[Axis[a]];
      for (unsigned int row = 0; row < Dimension; ++row)
      {
        // adding 0.0 keeps -0 out of the header
        const double cosine = input.GetDirection()[row][Axis[a]];
        direction[row][a] = (Scale[a] < 0.0 ? -cosine : cosine) + 0.0;
      }
    }
    ContinuousIndexType zero;
    zero.Fill(0.0);
    ImageBaseType::PointType origin;
    input.TransformContinuousIndexToPhysicalPoint(this->Map(zero), origin);
    output.SetSpacing(spacing);
    output.SetDirection(direction);
    output.SetOrigin(origin);
  }
};

/** \brief The image axis that is nearest to each axis of the physical space (left-right, front-back, feet-head).
 *
 * Of the six permutations the one with the largest sum of cosines, so that no axis is taken twice; where they are equal
 * but for rounding, the first. A negative direction[p][axis[p]] means that image axis runs against the physical one.
 * \ingroup GliomaGrading
 */
inline std::array<unsigned int, 3>
NearestImageAxes(const ImageBase<3>::DirectionType & direction)
{
  std::array<unsigned int, 3> axis{ { 0, 1, 2 } };
  std::array<unsigned int, 3> nearest = axis;
  double                      best = -1.0;
  do
  {
    double sum = 0.0;
    for (unsigned int p = 0; p < 3; ++p)
    {
      sum += std::abs(direction[p][axis[p]]);
    }
    if (sum > best + 1e-9)
    {
      best = sum;
      nearest = axis;
    }
  } while (std::next_permutation(axis.begin(), axis.end()));
  return nearest;
}

/** \brief Directions in which i, j and k increase, such as "LPS": those of NearestImageAxes().
 * \ingroup GliomaGrading
 */
inline std::string
NearestImageOrientation(const ImageBase<3>::DirectionType & direction)
{
  const auto  nearest = NearestImageAxes(direction);
  std::string orientation(3, ' ');
  for (unsigned int p = 0; p < 3; ++p)
  {
    orientation[nearest[p]] = (direction[p][nearest[p]] < 0.0 ? "RAI" : "LPS")[p];
  }
  return orientation;
}

inline std::ostream &
operator<<(std::ostream & os, const AxisAlignedMapping & mapping)
{
  for (unsigned int a = 0; a < AxisAlignedMapping::Dimension; ++a)
  {
    os << (a ? ", " : "") << "axis " << a << " = input axis " << mapping.Axis[a] << " at " << mapping.Offset[a] << " + "
       << mapping.Scale[a] << " i";
  }
  return os;
}
} // namespace itk

#endif // itkAxisAlignedMapping_h
