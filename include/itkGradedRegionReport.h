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
#ifndef itkGradedRegionReport_h
#define itkGradedRegionReport_h

#include "itkImageRegion.h"
#include "itkPoint.h"

#include <array>

namespace itk
{
/** \class GradedRegionReport
 * \brief Where the graded region lies.
 * \ingroup GliomaGrading
 */
struct GradedRegionReport
{
  /** Box of the tumour in indices of the input image. */
  ImageRegion<3> Box;
  /** Centre of the region in mm, and its sides along the input's axes in mm. */
  Point<double, 3>      Centre{};
  std::array<double, 3> Sides{ { 0.0, 0.0, 0.0 } };
  /** Spacing of the region's voxels in mm, along its own axes. */
  std::array<double, 3> Spacing{ { 0.0, 0.0, 0.0 } };
  unsigned int          OutputSize{ 0 };
  bool                  Tiny{ false };
  bool                  TouchesBorder{ false };
  bool                  SeveralFoci{ false };
  bool                  LeavesImage{ false };
};
} // namespace itk

#endif // itkGradedRegionReport_h
