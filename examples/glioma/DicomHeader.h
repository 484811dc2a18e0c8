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
#ifndef DicomHeader_h
#define DicomHeader_h

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace glioma
{
/** A text of DICOM without the padding to an even length. */
std::string
WithoutDicomPadding(std::string value);

/** What one frame of a file, or all of them, say of their place and of what their values mean: texts of DICOM. */
struct FramePlace
{
  std::string Position;
  std::string Orientation;
  std::string Spacing;
  std::string Slope;
  std::string Intercept;
};

/** What stands before the pixels of a DICOM file. GDCM tells nothing of a file that is cut off, and ITK nothing of
 * sequences such as the frames' places. */
class DicomHeader
{
public:
  explicit DicomHeader(const std::string & data);

  std::string             SeriesUid;
  std::string             SopClass;
  FramePlace              Shared;
  std::vector<FramePlace> Frames;
  bool                    HasPixels{ false };
  bool                    IsOnlyMeta{ true }; // nothing follows the first group
  bool                    IsCutOff{ false };  // the bytes end within an element
  bool                    IsReadable{ true }; // neither deflated nor big-endian

private:
  std::uint32_t
  Number(std::size_t place, std::size_t bytes) const;
  bool
  CutOff();
  /** Up to 'end', or to the mark of an item's end. False where the bytes are no DICOM. */
  bool
  ReadElements(std::size_t end, bool isToMark, unsigned int depth);
  bool
  ReadItems(std::uint32_t tag, std::size_t end, bool isToMark, unsigned int depth);
  void
  Keep(std::uint32_t tag, const std::string & value);

  const std::string &        m_Data; // as long as it is read
  std::vector<std::uint32_t> m_Path;
  std::size_t                m_Place{ 0 };
  bool                       m_IsExplicit{ true };
};
} // namespace glioma

#endif // DicomHeader_h
