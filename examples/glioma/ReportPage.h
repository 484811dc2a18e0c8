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
#ifndef ReportPage_h
#define ReportPage_h

#include "ReportVolume.h"
#include "SlicePainting.h"

#include <nlohmann/json.hpp>

#include <array>
#include <string>
#include <vector>

namespace glioma
{
/** The page of a case, report.html: one file that opens from disk and asks nothing of the network.
 *
 * Its text comes from result.json, its form from the files of report/, which are part of the program. The viewer's
 * library is read from ../share/GliomaGrading/report beside the program; without it the page has its pictures alone,
 * and says so. A content security policy allows the page's own scripts and styles by their digests and nothing else. */
class ReportPage
{
public:
  /** What result.json says. */
  void
  SetResult(const nlohmann::ordered_json & result)
  {
    m_Result = result;
  }

  /** The case by name; default: what the inputs' file names have in common. */
  void
  SetCaseName(const std::string & name)
  {
    m_CaseName = name;
  }

  void
  AddSequence(const std::string & name, const SliceImageType * image)
  {
    m_Sequences.push_back({ name, image });
  }

  void
  SetBrainMask(const SliceMaskType * mask)
  {
    m_Brain = mask;
  }

  void
  SetTumour(const SliceMaskType * labels)
  {
    m_Tumour = labels;
  }

  /** A layer's map; \a support is 0 where it says nothing, and may be null. \a cell: sides of the layer's cells in mm.
   * \a ofBrain: of the second grader, which saw the whole brain. */
  void
  AddGradCAM(const std::string &           layer,
             const SliceImageType *        map,
             const SliceMaskType *         support,
             const std::array<double, 3> & cell,
             bool                          ofBrain = false)
  {
    m_GradCAM.push_back({ layer, map, support, cell, ofBrain });
  }

  /** One component a sequence; \a voxel: sides of the voxels that the model saw, in mm. */
  void
  AddGuidedBackpropagation(const SliceVectorImageType * map, const std::array<double, 3> & voxel, bool ofBrain = false)
  {
    m_Guided.push_back({ map, voxel, ofBrain });
  }

  /** Another file of the viewer's library, or an empty text for none. */
  void
  SetViewerFile(const std::string & path)
  {
    m_ViewerFile = path;
  }

  /** Writes the page.
   *
   * The pictures show the slices with the tumour's largest area (the brain's, without a tumour). A map of which hardly
   * anything lies there, less than 5 % of the full colour, is shown in the slices through its largest value that the
   * same frames hold; its text says so, with the place in mm, LPS. */
  void
  Write(const std::string & path) const;

  /** Where the installed library of the viewer lies, whether it is there or not. */
  static std::string
  DefaultViewerFile();

private:
  struct Sequence
  {
    std::string                  Name;
    SliceImageType::ConstPointer Image;
  };
  struct LayerMap
  {
    std::string                  Layer;
    SliceImageType::ConstPointer Map;
    SliceMaskType::ConstPointer  Support;
    std::array<double, 3>        Cell;
    bool                         OfBrain;

    std::string
    Title() const
    {
      return (OfBrain ? "Whole brain: GradCAM " : "GradCAM ") + Layer;
    }
  };
  struct GuidedMap
  {
    SliceVectorImageType::ConstPointer Map;
    std::array<double, 3>              Voxel;
    bool                               OfBrain;

    std::string
    Title() const
    {
      return OfBrain ? "Whole brain: guided backpropagation" : "Guided backpropagation";
    }
  };

  nlohmann::ordered_json
  DescribeResult() const;
  nlohmann::ordered_json
  DescribeMaps() const;
  nlohmann::ordered_json
  DescribeQuality() const;
  nlohmann::ordered_json
  DescribeProvenance() const;
  nlohmann::ordered_json
  DrawPictures() const;
  nlohmann::ordered_json
  PackVolumes(itk::SizeValueType voxels) const;
  std::string
  ReadViewer(std::string & reason) const;

  nlohmann::ordered_json      m_Result;
  std::string                 m_CaseName;
  std::vector<Sequence>       m_Sequences;
  SliceMaskType::ConstPointer m_Brain;
  SliceMaskType::ConstPointer m_Tumour;
  std::vector<LayerMap>       m_GradCAM;
  std::vector<GuidedMap>      m_Guided;
  std::string                 m_ViewerFile{ DefaultViewerFile() };
};
} // namespace glioma

#endif // ReportPage_h
