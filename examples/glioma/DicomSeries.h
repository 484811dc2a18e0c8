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
#ifndef DicomSeries_h
#define DicomSeries_h

#include "itkImage.h"

#include <string>
#include <vector>

namespace glioma
{
/** One series of a DICOM folder. */
struct DicomSeries
{
  std::string              Name; // what --series takes: the series instance UID, longer where a folder repeats it
  std::string              Uid;
  std::string              Description;
  std::string              SopClass;
  std::vector<std::string> Files;   // in the order of the slices
  std::vector<std::string> NamedBy; // the entries of --series that chose it
  std::string              Lost; // why it is not whole: a file beside it that GDCM does not list, though it is a slice
};

/** The image series that lie in a folder itself, not below it. */
std::vector<DicomSeries>
ListDicomSeries(const std::string & folder);

/** The series that a folder stands for: the only one, or the only one that \a named names. An entry of \a named is a
 * UID, or a UID for one role ("t1c=1.2.3"). Throws with the list of the series where there is no single one. */
DicomSeries
ChooseDicomSeries(const std::string & folder, const std::string & role, const std::vector<std::string> & named);

/** Reads the slices of a series, files or the frames of one file, to one volume. Throws where they are no volume: a
 * slice that is missing, cut off, comes twice or has another orientation, pixel spacing or patient, slices that are not
 * stacked along their normal, frames that do not say where they lie, colours. */
itk::Image<float, 3>::Pointer
ReadDicomSeries(const DicomSeries & series, const std::string & role);
} // namespace glioma

#endif // DicomSeries_h
