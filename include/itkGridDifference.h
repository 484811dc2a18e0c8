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
#ifndef itkGridDifference_h
#define itkGridDifference_h

#include "itkImageBase.h"

#include <algorithm>
#include <cmath>
#include <sstream>
#include <string>

namespace itk
{
/** \class GridDifference
 * \brief How far the grid of an image lies from that of a reference.
 *
 * Largest possible regions must be equal. Along each axis of the reference, spacing and origin may differ by
 * coordinateTolerance of its voxels; each direction cosine may differ by directionTolerance. What is not a number lies
 * within no tolerance. (ITK's own comparison measures all axes by the first one's voxels.)
 *
 * \ingroup GliomaGrading
 */
template <unsigned int VDimension = 3>
class GridDifference
{
public:
  using ImageType = ImageBase<VDimension>;

  GridDifference(const ImageType * reference, const ImageType * image)
    : m_Reference(reference)
    , m_Image(image)
  {
    const auto moved = reference->GetInverseDirection() * (image->GetOrigin() - reference->GetOrigin());
    for (unsigned int d = 0; d < VDimension; ++d)
    {
      const double voxel = reference->GetSpacing()[d];
      m_Spacing = Larger(m_Spacing, std::abs(image->GetSpacing()[d] - voxel) / voxel);
      m_Origin = Larger(m_Origin, std::abs(moved[d]) / voxel);
      for (unsigned int c = 0; c < VDimension; ++c)
      {
        m_Direction = Larger(m_Direction, std::abs(image->GetDirection()[d][c] - reference->GetDirection()[d][c]));
      }
    }
  }

  /** Largest difference of the spacings, in voxels of the reference. */
  double
  GetSpacing() const
  {
    return m_Spacing;
  }
  /** Largest difference of the origins along an axis of the reference, in its voxels. */
  double
  GetOrigin() const
  {
    return m_Origin;
  }
  /** Largest difference of a direction cosine. */
  double
  GetDirection() const
  {
    return m_Direction;
  }

  /** Whether both regions are equal and all differences within the tolerances. */
  bool
  IsWithin(double coordinateTolerance, double directionTolerance) const
  {
    return m_Image->GetLargestPossibleRegion() == m_Reference->GetLargestPossibleRegion() &&
           m_Spacing <= coordinateTolerance && m_Origin <= coordinateTolerance && m_Direction <= directionTolerance;
  }

  /** What differs, by how much, and both values, the reference's first, for "The grids of A and B differ in ...". Empty
   * where the image is within. */
  std::string
  Describe(double coordinateTolerance, double directionTolerance) const
  {
    const auto & region = m_Image->GetLargestPossibleRegion();
    const auto & wanted = m_Reference->GetLargestPossibleRegion();
    const auto   text = [](const std::string & what, const auto & one, const auto & two) {
      std::ostringstream stream;
      stream.precision(10);
      stream << what << ": " << one << " and " << two;
      return stream.str();
    };
    const auto by = [](const std::string & what, double difference, const std::string & unit, double tolerance) {
      std::ostringstream stream;
      stream.precision(10);
      stream << what << " (by " << difference << ' ' << unit << ", tolerance " << tolerance << ')';
      return stream.str();
    };
    if (region.GetSize() != wanted.GetSize())
    {
      return text("size", wanted.GetSize(), region.GetSize());
    }
    if (region.GetIndex() != wanted.GetIndex())
    {
      return text("start index", wanted.GetIndex(), region.GetIndex());
    }
    if (!(m_Spacing <= coordinateTolerance))
    {
      return text(
        by("spacing", m_Spacing, "of a voxel", coordinateTolerance), m_Reference->GetSpacing(), m_Image->GetSpacing());
    }
    if (!(m_Origin <= coordinateTolerance))
    {
      return text(
        by("origin", m_Origin, "of a voxel", coordinateTolerance), m_Reference->GetOrigin(), m_Image->GetOrigin());
    }
    if (!(m_Direction <= directionTolerance))
    {
      return text(by("direction", m_Direction, "in a cosine", directionTolerance),
                  m_Reference->GetDirection(),
                  m_Image->GetDirection());
    }
    return std::string();
  }

private:
  // NaN stays.
  static double
  Larger(double a, double b)
  {
    return std::isnan(a) || b <= a ? a : b;
  }

  const ImageType * m_Reference;
  const ImageType * m_Image;
  double            m_Spacing{ 0.0 };
  double            m_Origin{ 0.0 };
  double            m_Direction{ 0.0 };
};
} // namespace itk

#endif // itkGridDifference_h
