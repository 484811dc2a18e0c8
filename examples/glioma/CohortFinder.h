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
#ifndef CohortFinder_h
#define CohortFinder_h

#include <array>
#include <string>
#include <vector>

namespace glioma
{
/** A patient in a folder: what was found, and what stands in the way of taking it. */
struct FoundCase
{
  std::string                Name;
  std::string                Folder;
  std::array<std::string, 4> Sequences; // T1, T1c, T2, FLAIR: a file, or a folder of one DICOM series
  std::string                Tumour;
  std::string                Grade; // "HGG" or "LGG" where a folder of BRATS 2017 says it
  std::vector<std::string>   Problems;
};

/** Finds the patients in a folder and below it, in the order of their names. Nothing is guessed: a patient that lacks a
 * sequence, or has two files for one, gets that as a problem.
 *
 * Known are the names of BRATS 2017 to 2021 (NAME_t1, _t1ce, _t2, _flair, _seg) and 2023 (NAME-t1n, -t1c, -t2w, -t2f,
 * -seg) as .nii or .nii.gz, and folders of a patient that hold one folder for each sequence, called as BRATS calls it
 * (t1 or t1n, t1ce or t1c, t2 or t2w, flair or t2f), each with the files of one DICOM series. */
std::vector<FoundCase>
FindCases(const std::string & folder);

/** The lines of COHORT.csv for the cases without a problem; paths are relative to its folder. */
std::string
WriteCohort(const std::vector<FoundCase> & cases, const std::string & folderOfTable);
} // namespace glioma

#endif // CohortFinder_h
