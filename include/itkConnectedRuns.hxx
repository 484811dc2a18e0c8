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
#ifndef itkConnectedRuns_hxx
#define itkConnectedRuns_hxx

#include "itkConnectedRuns.h"

#include <algorithm>

namespace itk
{
template <typename TPixel>
ConnectedRuns::ConnectedRuns(const TPixel * buffer, const SizeType & size, bool fullyConnected, bool foreground)
  : m_Size(size)
{
  const SizeValueType lines = size[1] * size[2];
  m_LineBegin.resize(lines + 1);
  for (SizeValueType line = 0; line < lines; ++line)
  {
    m_LineBegin[line] = m_Runs.size();
    const TPixel * row = buffer + line * size[0];
    SizeValueType  x = 0;
    while (x < size[0])
    {
      while (x < size[0] && (row[x] != TPixel{}) != foreground)
      {
        ++x;
      }
      const SizeValueType begin = x;
      while (x < size[0] && (row[x] != TPixel{}) == foreground)
      {
        ++x;
      }
      if (x > begin)
      {
        m_Runs.push_back({ line, begin, x, 0 });
      }
    }
  }
  m_LineBegin[lines] = m_Runs.size();

  m_Parent.resize(m_Runs.size());
  for (SizeValueType r = 0; r < m_Parent.size(); ++r)
  {
    m_Parent[r] = r;
  }
  const SizeValueType reach = fullyConnected ? 1 : 0;
  for (SizeValueType z = 0; z < size[2]; ++z)
  {
    for (SizeValueType y = 0; y < size[1]; ++y)
    {
      const SizeValueType line = y + z * size[1];
      if (y > 0)
      {
        this->JoinLines(line, line - 1, reach);
      }
      if (z > 0)
      {
        this->JoinLines(line, line - size[1], reach);
      }
      if (fullyConnected && z > 0 && y > 0)
      {
        this->JoinLines(line, line - size[1] - 1, reach);
      }
      if (fullyConnected && z > 0 && y + 1 < size[1])
      {
        this->JoinLines(line, line - size[1] + 1, reach);
      }
    }
  }

  // A root is the first run of its component, so that numbers follow the buffer's order.
  for (SizeValueType r = 0; r < m_Runs.size(); ++r)
  {
    Run &               run = m_Runs[r];
    const SizeValueType root = this->FindRoot(r);
    const SizeValueType y = run.line % size[1];
    const SizeValueType z = run.line / size[1];
    if (root == r)
    {
      run.component = m_Components.size();
      Component component;
      component.lower = { { run.begin, y, z } };
      component.upper = { { run.end - 1, y, z } };
      m_Components.push_back(component);
    }
    else
    {
      run.component = m_Runs[root].component;
    }
    Component & component = m_Components[run.component];
    component.voxels += run.end - run.begin;
    component.lower[0] = std::min(component.lower[0], run.begin);
    component.upper[0] = std::max(component.upper[0], run.end - 1);
    component.lower[1] = std::min(component.lower[1], y);
    component.upper[1] = std::max(component.upper[1], y);
    component.upper[2] = std::max(component.upper[2], z);
  }
}

inline SizeValueType
ConnectedRuns::FindRoot(SizeValueType run)
{
  while (m_Parent[run] != run)
  {
    m_Parent[run] = m_Parent[m_Parent[run]];
    run = m_Parent[run];
  }
  return run;
}

inline void
ConnectedRuns::JoinLines(SizeValueType line, SizeValueType neighbour, SizeValueType reach)
{
  SizeValueType       a = m_LineBegin[line];
  SizeValueType       b = m_LineBegin[neighbour];
  const SizeValueType aEnd = m_LineBegin[line + 1];
  const SizeValueType bEnd = m_LineBegin[neighbour + 1];
  while (a < aEnd && b < bEnd)
  {
    if (m_Runs[a].begin < m_Runs[b].end + reach && m_Runs[b].begin < m_Runs[a].end + reach)
    {
      const SizeValueType rootA = this->FindRoot(a);
      const SizeValueType rootB = this->FindRoot(b);
      m_Parent[std::max(rootA, rootB)] = std::min(rootA, rootB);
    }
    if (m_Runs[a].end < m_Runs[b].end)
    {
      ++a;
    }
    else
    {
      ++b;
    }
  }
}

inline SizeValueType
ConnectedRuns::GetLargest() const
{
  const auto largest = std::max_element(m_Components.begin(),
                                        m_Components.end(),
                                        [](const Component & a, const Component & b) { return a.voxels < b.voxels; });
  return static_cast<SizeValueType>(largest - m_Components.begin());
}

inline unsigned int
ConnectedRuns::CountFaces(SizeValueType component) const
{
  unsigned int faces = 0;
  for (unsigned int d = 0; d < 3; ++d)
  {
    faces += m_Components[component].lower[d] == 0;
    faces += m_Components[component].upper[d] + 1 == m_Size[d];
  }
  return faces;
}
} // namespace itk

#endif // itkConnectedRuns_hxx
