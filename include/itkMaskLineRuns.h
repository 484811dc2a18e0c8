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
#ifndef itkMaskLineRuns_h
#define itkMaskLineRuns_h

#include "itkIntTypes.h"

#include <vector>

namespace itk
{
/** \class MaskLineRuns
 * \brief The runs of voxels along one line of an image that are inside a mask.
 *
 * What is done with a run can be done on contiguous memory, and so in vectors. The object keeps its memory from line to
 * line.
 *
 * \ingroup GliomaGrading
 */
class MaskLineRuns
{
public:
  struct Run
  {
    SizeValueType begin;
    SizeValueType end; // one past the last
  };

  /** \brief Takes the voxels of a line of the mask for which `isInside(value)`. */
  template <typename TPixel, typename TIsInside>
  void
  Find(const TPixel * line, SizeValueType length, const TIsInside & isInside)
  {
    m_Runs.clear();
    m_NumberOfVoxels = 0;
    SizeValueType x = 0;
    while (x < length)
    {
      while (x < length && !isInside(line[x]))
      {
        ++x;
      }
      const SizeValueType begin = x;
      while (x < length && isInside(line[x]))
      {
        ++x;
      }
      if (x > begin)
      {
        m_Runs.push_back({ begin, x });
        m_NumberOfVoxels += x - begin;
      }
    }
  }

  /** \brief Takes the whole line. */
  void
  TakeAll(SizeValueType length)
  {
    m_Runs.assign(length > 0 ? 1 : 0, Run{ 0, length });
    m_NumberOfVoxels = length;
  }

  SizeValueType
  GetNumberOfVoxels() const
  {
    return m_NumberOfVoxels;
  }

  std::vector<Run>::const_iterator
  begin() const
  {
    return m_Runs.begin();
  }

  std::vector<Run>::const_iterator
  end() const
  {
    return m_Runs.end();
  }

private:
  std::vector<Run> m_Runs;
  SizeValueType    m_NumberOfVoxels{ 0 };
};
} // namespace itk

#endif // itkMaskLineRuns_h
