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
#ifndef ResultDocument_h
#define ResultDocument_h

#include "StageMemory.h"
#include "itkGliomaGradingFilter.h"

#include <nlohmann/json.hpp>

#include <string>
#include <utility>
#include <vector>

namespace glioma
{
class RegisteredCase;

/** What a result says of a model; null for none. */
nlohmann::ordered_json
DescribeModel(const itk::TorchModel * model);

/** What `glioma grade` tells beside the images: result.json, described by result.schema.json. */
class ResultDocument
{
public:
  using FilterType = itk::GliomaGradingFilter<>;

  /** An input by its role ("T1"): base name, and SHA-256 of the files it was read from. No folder is told. */
  void
  AddInput(const std::string & role, const std::string & path, const std::vector<std::string> & files);

  /** A parameter of the command line. */
  template <typename TValue>
  void
  AddParameter(const std::string & name, const TValue & value)
  {
    m_Parameters[name] = value;
  }

  /** A file that was written. */
  void
  AddOutput(const std::string & name)
  {
    m_Outputs.push_back(name);
  }

  void
  SetIsPhantom(bool isPhantom)
  {
    m_IsPhantom = isPhantom;
  }

  /** How sequences on different grids were brought together. */
  void
  SetRegistration(const RegisteredCase & registered);

  /** Takes everything that the filter found. */
  void
  SetResult(const FilterType & filter);

  void
  AddStage(const std::string & name, double seconds);

  /** Ends the document. */
  void
  SetMemory(const StageMemory & memory);

  /** Warnings in the order in which they are shown. */
  const std::vector<std::string> &
  GetWarnings() const
  {
    return m_Warnings;
  }

  /** What an image says of its making, where its format keeps such keys. */
  std::vector<std::pair<std::string, std::string>>
  GetProvenanceKeys() const;

  /** The whole document. Numbers that are not finite are null in it. */
  nlohmann::ordered_json
  GetJson() const;

  /** Writes the file. Numbers that are not finite become null. */
  void
  Write(const std::string & path) const;

private:
  nlohmann::ordered_json   m_Document;
  nlohmann::ordered_json   m_Parameters = nlohmann::ordered_json::object();
  nlohmann::ordered_json   m_Inputs = nlohmann::ordered_json::object();
  nlohmann::ordered_json   m_Stages = nlohmann::ordered_json::array();
  nlohmann::ordered_json   m_Registration;
  std::vector<std::string> m_Outputs;
  std::vector<std::string> m_Warnings;
  std::string              m_TrainedOn;
  bool                     m_IsPhantom{ false };
  double                   m_PeakMemory{ 0.0 };
};
} // namespace glioma

#endif // ResultDocument_h
