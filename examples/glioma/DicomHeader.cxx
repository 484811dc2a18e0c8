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
#include "DicomHeader.h"

namespace glioma
{
std::string
WithoutDicomPadding(std::string value)
{
  while (!value.empty() && (value.back() == ' ' || value.back() == '\0'))
  {
    value.pop_back();
  }
  return value;
}

DicomHeader::DicomHeader(const std::string & data)
  : m_Data(data)
{
  constexpr std::size_t markPlace = 128;
  const std::string     mark = "DICM";
  if (data.size() >= markPlace && data.compare(markPlace, mark.size(), mark) == 0)
  {
    m_Place = markPlace + mark.size();
    this->ReadElements(data.size(), false, 0);
  }
}

std::uint32_t
DicomHeader::Number(std::size_t place, std::size_t bytes) const
{
  std::uint32_t number = 0;
  for (std::size_t i = bytes; i > 0; --i)
  {
    number = number << 8 | static_cast<unsigned char>(m_Data[place + i - 1]);
  }
  return number;
}

bool
DicomHeader::CutOff()
{
  IsCutOff = true;
  return false;
}

bool
DicomHeader::ReadElements(std::size_t end, bool isToMark, unsigned int depth)
{
  // Deeper than any scanner goes.
  if (depth > 16)
  {
    return false;
  }
  while (m_Place < end)
  {
    if (end - m_Place < 8)
    {
      // What some writers pad a file with is no element.
      return (depth == 0 && m_Data.find_first_not_of('\0', m_Place) == std::string::npos) || this->CutOff();
    }
    const std::uint32_t tag = this->Number(m_Place, 2) << 16 | this->Number(m_Place + 2, 2);
    if (tag == 0xfffee00d)
    {
      m_Place += 8;
      return isToMark;
    }
    // The first group is always explicit; the last of it says how the rest is.
    const bool isMeta = depth == 0 && tag >> 16 == 2;
    IsOnlyMeta = IsOnlyMeta && isMeta;
    if (!isMeta && !IsReadable)
    {
      return false;
    }
    std::string   kind;
    std::uint32_t length = this->Number(m_Place + 4, 4);
    std::size_t   head = 8;
    if (isMeta || m_IsExplicit)
    {
      kind = m_Data.substr(m_Place + 4, 2);
      length = this->Number(m_Place + 6, 2);
      for (const char * const isLong : { "OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV" })
      {
        if (kind == isLong)
        {
          head = 12;
        }
      }
      if (end - m_Place < head)
      {
        return this->CutOff();
      }
      length = head == 12 ? this->Number(m_Place + 8, 4) : length;
    }
    if (depth == 0 && tag == 0x7fe00010)
    {
      HasPixels = true;
      return true;
    }
    m_Place += head;
    const bool isUndefined = length == 0xffffffff;
    if (!isUndefined && length > end - m_Place)
    {
      return this->CutOff();
    }
    if (kind == "SQ" || isUndefined || tag == 0x52009229 || tag == 0x52009230 || tag == 0x00209113 ||
        tag == 0x00209116 || tag == 0x00289110 || tag == 0x00289145)
    {
      // What is of unknown kind is implicit.
      const bool isExplicit = m_IsExplicit;
      m_IsExplicit = isExplicit && kind != "UN";
      const bool isRead = this->ReadItems(tag, isUndefined ? end : m_Place + length, isUndefined, depth);
      m_IsExplicit = isExplicit;
      if (!isRead)
      {
        return false;
      }
      continue;
    }
    if (length <= 1024)
    {
      this->Keep(tag, WithoutDicomPadding(m_Data.substr(m_Place, length)));
    }
    m_Place += length;
  }
  return !isToMark || this->CutOff();
}

bool
DicomHeader::ReadItems(std::uint32_t tag, std::size_t end, bool isToMark, unsigned int depth)
{
  m_Path.push_back(tag);
  while (m_Place < end)
  {
    if (end - m_Place < 8)
    {
      return this->CutOff();
    }
    const std::uint32_t mark = this->Number(m_Place, 2) << 16 | this->Number(m_Place + 2, 2);
    const std::uint32_t length = this->Number(m_Place + 4, 4);
    m_Place += 8;
    if (mark == 0xfffee0dd)
    {
      m_Path.pop_back();
      return isToMark;
    }
    if (mark != 0xfffee000)
    {
      return false;
    }
    const bool isUndefined = length == 0xffffffff;
    if (!isUndefined && length > end - m_Place)
    {
      return this->CutOff();
    }
    if (tag == 0x7fe00010 && !isUndefined)
    {
      m_Place += length; // compressed pixels, of an icon
      continue;
    }
    if (tag == 0x52009230 && depth == 0)
    {
      Frames.emplace_back();
    }
    if (!this->ReadElements(isUndefined ? end : m_Place + length, isUndefined, depth + 1))
    {
      return false;
    }
  }
  m_Path.pop_back();
  return !isToMark || this->CutOff();
}

void
DicomHeader::Keep(std::uint32_t tag, const std::string & value)
{
  if (m_Path.empty())
  {
    if (tag == 0x00020010)
    {
      m_IsExplicit = value != "1.2.840.10008.1.2";
      IsReadable = value != "1.2.840.10008.1.2.1.99" && value != "1.2.840.10008.1.2.2";
    }
    else if (tag == 0x0020000e)
    {
      SeriesUid = value;
    }
    else if (tag == 0x00080016 || tag == 0x00020002)
    {
      SopClass = value;
    }
    return;
  }
  if (m_Path.size() != 2 || (m_Path[0] != 0x52009229 && m_Path[0] != 0x52009230))
  {
    return;
  }
  FramePlace &        place = m_Path[0] == 0x52009229 ? Shared : Frames.back();
  const std::uint32_t sequence = m_Path[1];
  if (sequence == 0x00209113 && tag == 0x00200032)
  {
    place.Position = value;
  }
  else if (sequence == 0x00209116 && tag == 0x00200037)
  {
    place.Orientation = value;
  }
  else if (sequence == 0x00289110 && tag == 0x00280030)
  {
    place.Spacing = value;
  }
  else if (sequence == 0x00289145 && tag == 0x00281053)
  {
    place.Slope = value;
  }
  else if (sequence == 0x00289145 && tag == 0x00281052)
  {
    place.Intercept = value;
  }
}
} // namespace glioma
