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
#ifndef GradeCommand_h
#define GradeCommand_h

#include <CLI/CLI.hpp>

#include <array>
#include <exception>
#include <string>

namespace glioma
{
/** A case that another command grades. */
struct CaseToGrade
{
  std::array<std::string, 4> Sequences; // T1, T1c, T2, FLAIR
  std::string                BrainMask;
  std::string                TumourMask; // taken instead of a segmentation
  std::string                SegmentationModel;
  std::string                GradingModel;
  bool                       TrustModel{ false };
  std::string                Explain{ "none" }; // all, gradcam, guided-backprop, none
  std::string                Device{ "cpu" };
  std::string                Precision{ "float32" };
  unsigned int               Threads{ 0 };
  std::string                Output;
};

/** Does what `glioma grade --force` does, without a word on the terminal but warnings. Throws what went wrong. */
void
GradeCase(const CaseToGrade & caseToGrade);

/** Adds `glioma grade`. The command sets exitCode when it ran. */
void
AddGradeCommand(CLI::App & application, int & exitCode);
} // namespace glioma

#endif // GradeCommand_h
