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
#ifndef ForwardParameter_h
#define ForwardParameter_h

#include "FilterRun.h"
#include "PythonErrors.h"
#include "itkFixedArray.h"
#include "itkSize.h"

// Defines the Set and Get methods that GLIOMA_PARAMETER declares: they hand on to the filter.

namespace gliomagrading
{
/** The filter of a run as its own type. */
template <typename TFilter, typename TRun>
TFilter *
FilterOf(const TRun * run)
{
  return static_cast<TFilter *>(run->GetFilter());
}

template <typename TArray>
std::vector<double>
ListOf(const TArray & array)
{
  return std::vector<double>(array.begin(), array.end());
}

/** One number for all axes, or one an axis. */
template <typename TThree>
TThree
ThreeOf(const std::vector<unsigned int> & values, const char * name)
{
  if (values.size() != 1 && values.size() != 3)
  {
    throw InputException(std::string(name) + " has " + std::to_string(values.size()) +
                         " numbers; give one for all axes, or three for x, y and z.");
  }
  TThree three;
  for (unsigned int d = 0; d < 3; ++d)
  {
    three[d] = values[values.size() == 1 ? 0 : d];
  }
  return three;
}
} // namespace gliomagrading

#define GLIOMA_FORWARD_RESULT(run, filter, type, name) \
  type run::Get##name() const                          \
  {                                                    \
    return FilterOf<filter>(this)->Get##name();        \
  }

#define GLIOMA_FORWARD(run, filter, type, name) \
  void run::Set##name(type value)               \
  {                                             \
    FilterOf<filter>(this)->Set##name(value);   \
  }                                             \
  GLIOMA_FORWARD_RESULT(run, filter, type, name)

#define GLIOMA_FORWARD_ENUM(run, filter, name, enumeration)                     \
  void run::Set##name(unsigned int value)                                       \
  {                                                                             \
    FilterOf<filter>(this)->Set##name(static_cast<filter::enumeration>(value)); \
  }                                                                             \
  unsigned int run::Get##name() const                                           \
  {                                                                             \
    return static_cast<unsigned int>(FilterOf<filter>(this)->Get##name());      \
  }

/** A label of a mask. */
#define GLIOMA_FORWARD_LABEL(run, filter, name)                                                           \
  void run::Set##name(unsigned int value)                                                                 \
  {                                                                                                       \
    if (value > 255)                                                                                      \
    {                                                                                                     \
      throw InputException(#name " is " + std::to_string(value) + "; labels of masks go from 0 to 255."); \
    }                                                                                                     \
    FilterOf<filter>(this)->Set##name(static_cast<unsigned char>(value));                                 \
  }                                                                                                       \
  GLIOMA_FORWARD_RESULT(run, filter, unsigned int, name)

/** A number an axis. */
#define GLIOMA_FORWARD_THREE(run, filter, name)                                    \
  void run::Set##name(Numbers value)                                               \
  {                                                                                \
    using ThreeType = std::decay_t<decltype(FilterOf<filter>(this)->Get##name())>; \
    FilterOf<filter>(this)->Set##name(ThreeOf<ThreeType>(value, #name));           \
  }                                                                                \
  Numbers run::Get##name() const                                                   \
  {                                                                                \
    const auto three = FilterOf<filter>(this)->Get##name();                        \
    return { static_cast<unsigned int>(three[0]),                                  \
             static_cast<unsigned int>(three[1]),                                  \
             static_cast<unsigned int>(three[2]) };                                \
  }

/** An itk::Array. */
#define GLIOMA_FORWARD_ARRAY(run, filter, type, name)                              \
  void run::Set##name(type value)                                                  \
  {                                                                                \
    using ArrayType = std::decay_t<decltype(FilterOf<filter>(this)->Get##name())>; \
    ArrayType array(static_cast<typename ArrayType::SizeValueType>(value.size())); \
    std::copy(value.begin(), value.end(), array.begin());                          \
    FilterOf<filter>(this)->Set##name(array);                                      \
  }                                                                                \
  type run::Get##name() const                                                      \
  {                                                                                \
    const auto array = FilterOf<filter>(this)->Get##name();                        \
    return type(array.begin(), array.end());                                       \
  }

#define GLIOMA_FORWARD_LIST(run, filter, name)          \
  std::vector<double> run::Get##name() const            \
  {                                                     \
    return ListOf(FilterOf<filter>(this)->Get##name()); \
  }

#endif // ForwardParameter_h
