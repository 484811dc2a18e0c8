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
#ifndef itkUprightGridCalculator_hxx
#define itkUprightGridCalculator_hxx

#include "itkAxisAlignedMapping.h"

#include "itkMath.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

namespace itk
{
template <typename TMaskImage>
auto
UprightGridCalculator<TMaskImage>::NearestAxes(const DirectionType & direction) -> DirectionType
{
  const auto    nearest = NearestImageAxes(direction);
  DirectionType axes;
  axes.Fill(0.0);
  for (unsigned int r = 0; r < 3; ++r)
  {
    axes[r][nearest[r]] = direction[r][nearest[r]] < 0.0 ? -1.0 : 1.0;
  }
  return axes;
}

template <typename TMaskImage>
double
UprightGridCalculator<TMaskImage>::AngleOf(const GridType * image)
{
  const DirectionType & direction = image->GetDirection();
  const DirectionType   axes = NearestAxes(direction);
  double                smallest = 1.0;
  for (unsigned int a = 0; a < 3; ++a)
  {
    double cosine = 0.0;
    for (unsigned int r = 0; r < 3; ++r)
    {
      cosine += direction[r][a] * axes[r][a];
    }
    smallest = std::min(smallest, cosine);
  }
  return std::acos(std::max(-1.0, std::min(1.0, smallest))) * 180.0 / Math::pi;
}

template <typename TMaskImage>
void
UprightGridCalculator<TMaskImage>::Compute()
{
  if (m_BrainMask.IsNull())
  {
    itkExceptionMacro("The brain mask is missing; call SetBrainMask().");
  }
  if (m_BrainMask->GetBufferedRegion() != m_BrainMask->GetLargestPossibleRegion())
  {
    itkExceptionMacro("The brain mask holds " << m_BrainMask->GetBufferedRegion().GetSize() << " of its "
                                              << m_BrainMask->GetLargestPossibleRegion().GetSize()
                                              << " voxels; update what makes it, as a whole, before Compute().");
  }
  if (!(m_LargestSpacing > 0.0))
  {
    itkExceptionMacro("LargestSpacing is " << m_LargestSpacing << " mm; set a positive number.");
  }
  m_Grid = nullptr;
  m_IsTurned = false;
  m_OwnSymmetry = m_UprightSymmetry = 0.0;
  m_Angle = AngleOf(m_BrainMask);
  const DirectionType axes = NearestAxes(m_BrainMask->GetDirection());

  // A voxel every 3 mm is enough.
  const auto                              region = m_BrainMask->GetLargestPossibleRegion();
  std::array<IndexValueType, 3>           step;
  std::vector<ContinuousIndex<double, 3>> inside;
  ContinuousIndex<double, 3>              centre;
  centre.Fill(0.0);
  for (unsigned int d = 0; d < 3; ++d)
  {
    step[d] = std::max<IndexValueType>(1, static_cast<IndexValueType>(std::lround(3.0 / m_BrainMask->GetSpacing()[d])));
  }
  const auto last = region.GetUpperIndex();
  Index<3>   index;
  for (index[2] = region.GetIndex(2); index[2] <= last[2]; index[2] += step[2])
  {
    for (index[1] = region.GetIndex(1); index[1] <= last[1]; index[1] += step[1])
    {
      for (index[0] = region.GetIndex(0); index[0] <= last[0]; index[0] += step[0])
      {
        if (m_BrainMask->GetPixel(index) != NumericTraits<typename MaskImageType::PixelType>::ZeroValue())
        {
          const ContinuousIndex<double, 3> voxel(index);
          inside.push_back(voxel);
          for (unsigned int d = 0; d < 3; ++d)
          {
            centre[d] += voxel[d];
          }
        }
      }
    }
  }
  if (inside.empty())
  {
    itkExceptionMacro("The brain mask is empty.");
  }
  for (unsigned int d = 0; d < 3; ++d)
  {
    centre[d] /= static_cast<double>(inside.size());
  }

  // Left-right as a vector of the physical space, and as the image's axis that is nearest to it.
  Vector<double, 3> own;
  Vector<double, 3> upright;
  own.Fill(0.0);
  upright.Fill(0.0);
  for (unsigned int a = 0; a < 3; ++a)
  {
    for (unsigned int r = 0; r < 3; ++r)
    {
      if (axes[0][a] != 0.0)
      {
        own[r] = m_BrainMask->GetDirection()[r][a];
        upright[r] = axes[r][a];
      }
    }
  }
  PointType middle;
  m_BrainMask->TransformContinuousIndexToPhysicalPoint(centre, middle);
  const auto symmetry = [&](const Vector<double, 3> & normal) {
    SizeValueType both = 0;
    for (const auto & voxel : inside)
    {
      PointType point;
      m_BrainMask->TransformContinuousIndexToPhysicalPoint(voxel, point);
      const PointType mirrored = point - normal * (2.0 * ((point - middle) * normal));
      Index<3>        nearest;
      both += m_BrainMask->TransformPhysicalPointToIndex(mirrored, nearest) &&
              m_BrainMask->GetPixel(nearest) != NumericTraits<typename MaskImageType::PixelType>::ZeroValue();
    }
    return static_cast<double>(both) / static_cast<double>(inside.size());
  };
  m_OwnSymmetry = symmetry(own);
  m_UprightSymmetry = symmetry(upright);
  m_IsTurned = m_Angle > m_MinimumAngle && m_UprightSymmetry > m_OwnSymmetry + m_MinimumGain;
  if (m_IsTurned)
  {
    this->MakeGrid(axes);
  }
}

template <typename TMaskImage>
void
UprightGridCalculator<TMaskImage>::MakeGrid(const DirectionType & axes)
{
  // The brain's box along the upright axes, in mm.
  std::array<double, 3> lower;
  std::array<double, 3> upper;
  std::array<double, 3> sum{ { 0.0, 0.0, 0.0 } };
  SizeValueType         inside = 0;
  lower.fill(NumericTraits<double>::max());
  upper.fill(NumericTraits<double>::NonpositiveMin());
  const auto region = m_BrainMask->GetLargestPossibleRegion();
  const auto last = region.GetUpperIndex();
  Index<3>   index;
  PointType  point;
  for (index[2] = region.GetIndex(2); index[2] <= last[2]; ++index[2])
  {
    for (index[1] = region.GetIndex(1); index[1] <= last[1]; ++index[1])
    {
      for (index[0] = region.GetIndex(0); index[0] <= last[0]; ++index[0])
      {
        if (m_BrainMask->GetPixel(index) == NumericTraits<typename MaskImageType::PixelType>::ZeroValue())
        {
          continue;
        }
        m_BrainMask->TransformIndexToPhysicalPoint(index, point);
        ++inside;
        for (unsigned int a = 0; a < 3; ++a)
        {
          const double along = point[0] * axes[0][a] + point[1] * axes[1][a] + point[2] * axes[2][a];
          lower[a] = std::min(lower[a], along);
          upper[a] = std::max(upper[a], along);
          sum[a] += along;
        }
      }
    }
  }

  // Left-right, front-back, feet-head; and where a brain's centroid lies in it.
  constexpr double               view[3] = { 240.0, 240.0, 155.0 };
  constexpr double               centroid[3] = { 0.0, 12.0, 0.0 };
  typename GridType::SpacingType spacing;
  typename GridType::RegionType  grid;
  PointType                      origin;
  origin.Fill(0.0);
  for (unsigned int a = 0; a < 3; ++a)
  {
    unsigned int row = 0;
    for (unsigned int r = 0; r < 3; ++r)
    {
      row = axes[r][a] != 0.0 ? r : row;
    }
    spacing[a] = std::min(m_BrainMask->GetSpacing()[a], m_LargestSpacing);
    const double middle = sum[a] / static_cast<double>(inside) - axes[row][a] * centroid[row];
    // Two voxels of the image around the brain.
    const double least = std::min(middle - 0.5 * view[row], lower[a] - 2.0 * m_BrainMask->GetSpacing()[a]);
    const double most = std::max(middle + 0.5 * view[row], upper[a] + 2.0 * m_BrainMask->GetSpacing()[a]);
    const double size = std::ceil((most - least) / spacing[a] - 1e-6);
    grid.SetIndex(a, 0);
    grid.SetSize(a, static_cast<SizeValueType>(size));
    const double first = 0.5 * (least + most) - 0.5 * (size - 1.0) * spacing[a];
    for (unsigned int r = 0; r < 3; ++r)
    {
      origin[r] += first * axes[r][a];
    }
  }
  m_Grid = GridType::New();
  m_Grid->SetRegions(grid);
  m_Grid->SetSpacing(spacing);
  m_Grid->SetDirection(axes);
  m_Grid->SetOrigin(origin);
}

template <typename TMaskImage>
void
UprightGridCalculator<TMaskImage>::PrintSelf(std::ostream & os, Indent indent) const
{
  Superclass::PrintSelf(os, indent);
  itkPrintSelfObjectMacro(BrainMask);
  os << indent << "MinimumAngle: " << m_MinimumAngle << " degrees" << std::endl;
  os << indent << "MinimumGain: " << m_MinimumGain << std::endl;
  os << indent << "LargestSpacing: " << m_LargestSpacing << " mm" << std::endl;
  os << indent << "Angle: " << m_Angle << " degrees" << std::endl;
  os << indent << "OwnSymmetry: " << m_OwnSymmetry << std::endl;
  os << indent << "UprightSymmetry: " << m_UprightSymmetry << std::endl;
  os << indent << "IsTurned: " << (m_IsTurned ? "On" : "Off") << std::endl;
  itkPrintSelfObjectMacro(Grid);
}
} // namespace itk

#endif // itkUprightGridCalculator_hxx
