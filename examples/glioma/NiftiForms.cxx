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
#include "NiftiForms.h"

#include "itkMetaDataObject.h"
#include "itkOutputWindow.h"
#include "itk_zlib.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <vector>

namespace glioma
{
namespace
{
constexpr std::size_t headerSize = 348;
constexpr std::size_t placeOfSize = 42;
constexpr std::size_t placeOfOffset = 108;
constexpr std::size_t placeOfCodes = 252; // qform_code, then sform_code
constexpr std::size_t placeOfQuaternion = 256;
constexpr std::size_t placeOfRows = 280;
constexpr std::size_t placeOfSpacing = 76;
using HeaderType = std::array<unsigned char, headerSize>;
using FileType = std::unique_ptr<gzFile_s, int (*)(gzFile)>;
/** Patient coordinates of NIfTI (RAS) from indices: three rows of four numbers. */
using PlacementType = std::array<std::array<double, 4>, 3>;

template <typename TValue>
TValue
ValueAt(const HeaderType & header, std::size_t place, bool swapped)
{
  std::array<unsigned char, sizeof(TValue)> bytes;
  std::copy_n(header.begin() + static_cast<std::ptrdiff_t>(place), sizeof(TValue), bytes.begin());
  if (swapped)
  {
    std::reverse(bytes.begin(), bytes.end());
  }
  TValue value;
  std::memcpy(&value, bytes.data(), sizeof(TValue));
  return value;
}

bool
ReadHeader(gzFile file, HeaderType & header)
{
  return gzread(file, header.data(), headerSize) == static_cast<int>(headerSize) &&
         (std::memcmp(&header[344], "n+1", 4) == 0 || std::memcmp(&header[344], "ni1", 4) == 0);
}

PlacementType
PlacementOfSForm(const HeaderType & header, bool swapped)
{
  PlacementType placement;
  for (std::size_t r = 0; r < 3; ++r)
  {
    for (std::size_t c = 0; c < 4; ++c)
    {
      placement[r][c] = ValueAt<float>(header, placeOfRows + 4 * (4 * r + c), swapped);
    }
  }
  return placement;
}

PlacementType
PlacementOfQForm(const HeaderType & header, bool swapped)
{
  const auto number = [&](std::size_t place, std::size_t i) {
    return static_cast<double>(ValueAt<float>(header, place + 4 * i, swapped));
  };
  double       b = number(placeOfQuaternion, 0);
  double       c = number(placeOfQuaternion, 1);
  double       d = number(placeOfQuaternion, 2);
  double       a = 1.0 - (b * b + c * c + d * d);
  const double length = std::sqrt(b * b + c * c + d * d);
  // As NIfTI's library does where rounding left the quaternion too long.
  if (a < 1e-7)
  {
    a = 0.0;
    b /= length;
    c /= length;
    d /= length;
  }
  a = std::sqrt(a);
  const double qfac = number(placeOfSpacing, 0) < 0.0 ? -1.0 : 1.0;
  const double x = number(placeOfSpacing, 1);
  const double y = number(placeOfSpacing, 2);
  const double z = number(placeOfSpacing, 3) * qfac;
  return { { { (a * a + b * b - c * c - d * d) * x,
               2.0 * (b * c - a * d) * y,
               2.0 * (b * d + a * c) * z,
               number(placeOfQuaternion, 3) },
             { 2.0 * (b * c + a * d) * x,
               (a * a + c * c - b * b - d * d) * y,
               2.0 * (c * d - a * b) * z,
               number(placeOfQuaternion, 4) },
             { 2.0 * (b * d - a * c) * x,
               2.0 * (c * d + a * b) * y,
               (a * a + d * d - c * c - b * b) * z,
               number(placeOfQuaternion, 5) } } };
}

/** Largest distance in mm between where a form and an image put the corners of the image. */
double
DistanceOfCorners(const PlacementType & form, const itk::ImageBase<3> * image)
{
  double                          largest = 0.0;
  const itk::ImageRegion<3>       region = image->GetLargestPossibleRegion();
  itk::ImageBase<3>::IndexType    corner;
  itk::ImageBase<3>::PointType    point;
  constexpr std::array<double, 3> toRas{ { -1.0, -1.0, 1.0 } };
  for (unsigned int i = 0; i < 8; ++i)
  {
    for (unsigned int d = 0; d < 3; ++d)
    {
      corner[d] = ((i >> d) & 1u) ? static_cast<itk::IndexValueType>(region.GetSize(d)) - 1 : 0;
    }
    image->TransformIndexToPhysicalPoint(corner, point);
    double sum = 0.0;
    for (unsigned int r = 0; r < 3; ++r)
    {
      double at = form[r][3];
      for (unsigned int c = 0; c < 3; ++c)
      {
        at += form[r][c] * static_cast<double>(corner[c]);
      }
      sum += std::pow(at - toRas[r] * point[r], 2);
    }
    // Not a number is far away too.
    largest = sum <= largest * largest ? largest : std::sqrt(sum);
  }
  return largest;
}

std::int16_t
CodeOf(const itk::MetaDataDictionary & dictionary, const char * key)
{
  std::string text;
  itk::ExposeMetaData<std::string>(dictionary, key, text);
  return text.size() == 1 && text[0] >= '1' && text[0] <= '5' ? static_cast<std::int16_t>(text[0] - '0')
                                                              : std::int16_t{ 0 };
}
} // namespace

void
KeepFormsThatAgree(const std::string & path, const std::string & role, itk::ImageBase<3> * image)
{
  HeaderType     header;
  const FileType file(gzopen(path.c_str(), "rb"), gzclose);
  if (!file || !ReadHeader(file.get(), header))
  {
    return;
  }
  const bool swapped = ValueAt<std::int32_t>(header, 0, false) != static_cast<std::int32_t>(headerSize);
  double     voxel = image->GetSpacing()[0];
  for (unsigned int d = 1; d < 3; ++d)
  {
    voxel = std::min(voxel, image->GetSpacing()[d]);
  }
  itk::MetaDataDictionary & dictionary = image->GetMetaDataDictionary();
  for (const bool isSForm : { false, true })
  {
    const std::string  name = isSForm ? "sform" : "qform";
    const std::int16_t code = ValueAt<std::int16_t>(header, placeOfCodes + (isSForm ? 2 : 0), swapped);
    if (code <= 0)
    {
      continue;
    }
    const double apart =
      DistanceOfCorners(isSForm ? PlacementOfSForm(header, swapped) : PlacementOfQForm(header, swapped), image);
    if (!(apart <= 0.1 * voxel))
    {
      itk::OutputWindowDisplayWarningText(("The qform and the sform of " + role + " contradict each other by up to " +
                                           std::to_string(apart) + " mm; the " + (isSForm ? "qform" : "sform") +
                                           " is taken.")
                                            .c_str());
      dictionary.Erase(name + "_code");
      dictionary.Erase(name + "_code_name");
    }
  }
}

std::vector<unsigned char>
HeaderOfWritten(const std::string & path, const itk::Size<3> & size, const itk::MetaDataDictionary & dictionary)
{
  HeaderType     header;
  const FileType file(gzopen(path.c_str(), "rb"), gzclose);
  if (!file || !ReadHeader(file.get(), header))
  {
    throw std::runtime_error("Cannot read what was written to " + path + '.');
  }
  for (std::size_t d = 0; d < 3; ++d)
  {
    const auto number = static_cast<std::int16_t>(size[d]);
    std::memcpy(&header[placeOfSize + 2 * d], &number, sizeof(number));
  }
  std::size_t place = placeOfCodes;
  for (const char * const key : { "qform_code", "sform_code" })
  {
    const std::int16_t code = CodeOf(dictionary, key);
    if (code != 0)
    {
      std::memcpy(&header[place], &code, sizeof(code));
    }
    place += sizeof(code);
  }
  std::vector<unsigned char> bytes(header.begin(), header.end());
  // What may stand between: the mark of extensions, of which ITK writes none.
  bytes.resize(static_cast<std::size_t>(ValueAt<float>(header, placeOfOffset, false)), 0);
  return bytes;
}
} // namespace glioma
