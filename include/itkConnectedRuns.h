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
#ifndef itkConnectedRuns_h
#define itkConnectedRuns_h

#include "itkImageRegion.h"

#include <array>
#include <vector>

namespace itk
{
/** \class ConnectedRuns
 * \brief Connected components of a three-dimensional binary buffer, as runs of voxels along axis 0.
 *
 * The runs of every line are joined with those of the neighbouring lines (union-find), so that memory goes with the
 * surface of the components, not with the volume. Components are numbered by their first voxel in buffer order.
 *
 * \ingroup GliomaGrading
 */
class ConnectedRuns
{
public:
  using SizeType = Size<3>;
  using RegionType = ImageRegion<3>;

  struct Run
  {
    SizeValueType line;      // y + z * size[1]
    SizeValueType begin;     // first x
    SizeValueType end;       // one past the last x
    SizeValueType component; // number of its component
  };

  struct Component
  {
    SizeValueType                voxels{ 0 };
    std::array<SizeValueType, 3> lower{ { 0, 0, 0 } };
    std::array<SizeValueType, 3> upper{ { 0, 0, 0 } }; // included
  };

  /** \brief Finds the components of the voxels for which `(buffer[i] != 0) == foreground`.
   *
   * `fullyConnected` joins over faces, edges and corners (26 neighbours), else over faces alone (6). */
  template <typename TPixel>
  ConnectedRuns(const TPixel * buffer, const SizeType & size, bool fullyConnected, bool foreground = true);

  const std::vector<Run> &
  GetRuns() const
  {
    return m_Runs;
  }

  const std::vector<Component> &
  GetComponents() const
  {
    return m_Components;
  }

  /** \brief Number of the largest component, the first of equals. There must be one. */
  SizeValueType
  GetLargest() const;

  /** \brief How many of the six faces of the buffer a component touches. */
  unsigned int
  CountFaces(SizeValueType component) const;

private:
  SizeValueType
  FindRoot(SizeValueType run);

  void
  JoinLines(SizeValueType line, SizeValueType neighbour, SizeValueType reach);

  SizeType                   m_Size;
  std::vector<Run>           m_Runs;
  std::vector<SizeValueType> m_LineBegin;
  std::vector<SizeValueType> m_Parent;
  std::vector<Component>     m_Components;
};
} // namespace itk

#include "itkConnectedRuns.hxx"

#endif // itkConnectedRuns_h
