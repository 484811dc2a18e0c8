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
#ifndef ExplanationStudy_h
#define ExplanationStudy_h

#include "CasePrediction.h"

#include "itkCohortReader.h"

#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace glioma
{
/** What the explanations of a cohort tell of the method: each quality number by grade and by right or wrong, and the
 * ROC-AUC with which the verdict, the number of its reasons, and each number alone tell wrong grades from right ones.
 * Cases without a grade have no explanation and do not count. */
nlohmann::ordered_json
StudyExplanations(const std::vector<CasePrediction> & cases);

/** The mean of the cases' maps for each grade that they are called, in a common space: each brain's box (of what is not
 * 0 on T1, or on the reference of a registered case, 0.5 to 99.5 % along each axis of the patient, and a frame of 5 %)
 * becomes a grid of 70 x 85 x 70; nothing is registered. Each map counts the same, by its share a voxel; of several
 * components their magnitudes are summed. */
class MeanMaps
{
public:
  /** \a map: stem of the files, such as gradcam-res3. */
  explicit MeanMaps(std::string map)
    : m_Map(std::move(map))
  {}

  /** Adds a case; one without this map, or whose map is 0, is left out. */
  void
  Add(const itk::CohortCase & cohortCase, const CasePrediction & prediction);

  std::size_t
  GetNumberOfCases() const
  {
    return m_Counts[0] + m_Counts[1];
  }

  /** Writes STEM.png, three planes through each grade's peak over the mean of these images, and STEM-LGG.nii.gz,
   * STEM-HGG.nii.gz, whose unit is the even share of a voxel: 1 where a map says nothing of places. Colours go from 0
   * to each grade's own peak. \a notes are written below the slices, after "Research use only." */
  void
  Write(const std::function<std::string(const std::string &)> & pathOf,
        const std::string &                                     stem,
        const std::vector<std::string> &                        notes = {}) const;

  /** Names of the files that Write() may write. */
  static std::vector<std::string>
  GetFileNames(const std::string & stem);

private:
  std::string                       m_Map;
  std::array<std::size_t, 2>        m_Counts{ { 0, 0 } };
  std::array<std::vector<float>, 2> m_Sums;
  std::vector<float>                m_Brightness;
  std::vector<float>                m_Brain;
};
} // namespace glioma

#endif // ExplanationStudy_h
