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
#ifndef CaseGrading_h
#define CaseGrading_h

#include "ModelFilters.h"

#include <memory>

namespace gliomagrading
{
/** itk::GliomaGradingFilter, with the registration that comes before it in the program glioma. */
class CaseGrading : public FilterRun
{
public:
  CaseGrading();
  ~CaseGrading() override;

  /** "T1", "T1c", "T2" or "FLAIR". */
  void
  SetSequence(const std::string & name, const Volume & image);
  /** A file or DICOM folder that the sequence or mask ("brain-mask", "tumour-mask") was read from, for the provenance.
   * Gives those of \a series that named its series. */
  std::vector<std::string>
  AddInputFile(const std::string & name, const std::string & path, const std::vector<std::string> & series);
  void
  SetBrainMask(const Volume & mask);
  void
  SetTumourMask(const Volume & mask);
  /** Numbers of regions such as the ventricles, on the grid of the masks. */
  void
  SetRegionLabels(const Volume & labels);
  void
  SetSegmentationModel(const Model & model);
  void
  SetGradingModel(const Model & model);
  void
  SetBrainGradingModel(const Model & model);
  /** Brings the others to this sequence first; empty: no registration. */
  void
  SetRegistrationReference(const std::string & name);
  GLIOMA_PARAMETER(unsigned int, Explain);
  GLIOMA_PARAMETER(int, ClassToExplain);
  GLIOMA_PARAMETER(bool, ExplainProbability);
  GLIOMA_PARAMETER(bool, TurnUpright);
  GLIOMA_PARAMETER(bool, TestExplanation);
  GLIOMA_PARAMETER(bool, GradeWithoutTumour);
  void
  AddGradCAMLayer(const std::string & layer);
  /** Share of a voxel, and of a direction cosine, by which grids may differ. */
  void
  SetGeometryTolerance(double tolerance);
  /** The value is JSON. */
  void
  AddParameter(const std::string & name, const std::string & value);

  Volume
  GetTumour() const;
  Volume
  GetBrainMask() const;
  /** False where a tumour mask was given. */
  bool
  HasTumourProbability() const;
  Volume
  GetTumourProbability() const;
  /** The layers that have a map. */
  std::vector<std::string>
  GetGradCAMLayers() const;
  Volume
  GetGradCAM(const std::string & layer) const;
  Volume
  GetGradCAMSupport(const std::string & layer) const;
  bool
  HasGuidedBackpropagation() const;
  Volume
  GetGuidedBackpropagation() const;
  /** The same of the model that grades from the whole brain. */
  std::vector<std::string>
  GetBrainGradCAMLayers() const;
  Volume
  GetBrainGradCAM(const std::string & layer) const;
  bool
  HasBrainGuidedBackpropagation() const;
  Volume
  GetBrainGuidedBackpropagation() const;
  /** What the program glioma writes as result.json. */
  std::string
  GetDocument() const;

#ifndef SWIG
protected:
  void
  Run() override;
  std::string
  GetStage() const override;
  double
  GetProgress() const override;

private:
  struct Case;
  std::unique_ptr<Case> m_Case;
#endif
};
} // namespace gliomagrading

#endif // CaseGrading_h
