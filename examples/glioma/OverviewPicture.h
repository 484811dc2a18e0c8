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
#ifndef OverviewPicture_h
#define OverviewPicture_h

#include "itkImage.h"
#include "itkVectorImage.h"

#include <string>
#include <vector>

namespace glioma
{
/** One picture of a case: a column for each sequence, the axial slice with the tumour's largest area, the mask's
 * outline on it, and below it the explanation maps over the same slice. Above a map of which less than 5 % of the full
 * colour lies on that slice it says that little is there.
 *
 * Slices are shown as radiologists see them: from the feet, the patient's right on the left, anterior above. An oblique
 * image is shown along its own axes that are nearest to the patient's. */
class OverviewPicture
{
public:
  using SequenceImageType = itk::Image<float, 3>;
  using MaskImageType = itk::Image<unsigned char, 3>;
  using VectorImageType = itk::VectorImage<float, 3>;

  void
  AddSequence(const std::string & name, const SequenceImageType * image);

  /** Windows the grey levels and frames the slice. */
  void
  SetBrainMask(const MaskImageType * mask)
  {
    m_BrainMask = mask;
  }

  void
  SetTumour(const MaskImageType * labels)
  {
    m_Tumour = labels;
  }

  /** A row of one map over every sequence; \a support is 0 where the map says nothing, and may be null. */
  void
  AddGradCAM(const std::string & title, const SequenceImageType * map, const MaskImageType * support);

  /** A row with one component over each sequence. */
  void
  SetGuidedBackpropagation(const std::string & title, const VectorImageType * map)
  {
    m_GuidedTitle = title;
    m_Guided = map;
  }

  /** Text above the pictures; \a isWarning: in the colour of a warning. */
  void
  AddLine(const std::string & text, bool isWarning = false)
  {
    m_Lines.push_back({ text, isWarning });
  }

  /** Off: no file has the grid of the images, so that the slice's number would say nothing. */
  void
  SetIsOnGridOfFiles(bool isOnGridOfFiles)
  {
    m_IsOnGridOfFiles = isOnGridOfFiles;
  }

  /** Draws and writes a PNG file. */
  void
  Write(const std::string & path) const;

private:
  struct Sequence
  {
    std::string                     Name;
    SequenceImageType::ConstPointer Image;
  };
  struct Overlay
  {
    std::string                     Title;
    SequenceImageType::ConstPointer Map;
    MaskImageType::ConstPointer     Support;
  };
  struct Line
  {
    std::string Text;
    bool        IsWarning;
  };

  std::vector<Sequence>         m_Sequences;
  std::vector<Overlay>          m_GradCAM;
  std::vector<Line>             m_Lines;
  MaskImageType::ConstPointer   m_BrainMask;
  MaskImageType::ConstPointer   m_Tumour;
  std::string                   m_GuidedTitle;
  VectorImageType::ConstPointer m_Guided;
  bool                          m_IsOnGridOfFiles{ true };
};
} // namespace glioma

#endif // OverviewPicture_h
