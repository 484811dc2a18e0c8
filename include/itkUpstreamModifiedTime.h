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
#ifndef itkUpstreamModifiedTime_h
#define itkUpstreamModifiedTime_h

#include "itkProcessObject.h"

#include <algorithm>
#include <set>

namespace itk
{
/** \class UpstreamModifiedTime
 * \brief When something that a data object is made from was last changed by its owner.
 *
 * The newest time of the filters upstream, of the data objects without a source and of those that were changed after
 * their source made them. Unlike DataObject::GetPipelineMTime() it does not move when a filter merely runs again, piece
 * by piece. Take it after what is computed from the data: data that no source has made yet count as changed.
 *
 * \ingroup GliomaGrading
 */
class UpstreamModifiedTime
{
public:
  static ModifiedTimeType
  Of(const DataObject * data)
  {
    std::set<const ProcessObject *> seen;
    return Visit(data, seen);
  }

private:
  static ModifiedTimeType
  Visit(const DataObject * data, std::set<const ProcessObject *> & seen)
  {
    if (data == nullptr)
    {
      return 0;
    }
    const auto source = data->GetSource();
    if (source.IsNull())
    {
      return data->GetMTime();
    }
    // Made, then written into by its owner.
    ModifiedTimeType time = data->GetMTime() > data->GetUpdateMTime() ? data->GetMTime() : 0;
    if (!seen.insert(source.GetPointer()).second)
    {
      return time;
    }
    time = std::max(time, source->GetMTime());
    for (const auto & input : source->GetInputs())
    {
      time = std::max(time, Visit(input.GetPointer(), seen));
    }
    return time;
  }
};
} // namespace itk

#endif // itkUpstreamModifiedTime_h
