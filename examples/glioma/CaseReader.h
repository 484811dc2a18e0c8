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
#ifndef CaseReader_h
#define CaseReader_h

#include "itkImage.h"

#include <string>
#include <vector>

namespace glioma
{
using SequenceImageType = itk::Image<float, 3>;
using MaskImageType = itk::Image<unsigned char, 3>;

/** What an input is read from: a file, with the one that holds its voxels where that is another, or the files of a
 * DICOM series. */
struct InputFiles
{
  std::vector<std::string> Paths;
  std::vector<std::string> NamedBy; // the entries that named the series
};

/** Reads a sequence: a file in any format of ITK, or a folder of which one DICOM series is taken (\a series names it
 * where there are several, see ChooseDicomSeries()). A fourth axis of one voxel is dropped. \a role names the image in
 * messages ("T1"). \a files, where given, is set to what was read, without looking for it a second time. */
SequenceImageType::Pointer
ReadSequence(const std::string &              path,
             const std::string &              role,
             const std::vector<std::string> & series = {},
             InputFiles *                     files = nullptr);

/** Reads a mask the same way; every value but 0 becomes 1. */
MaskImageType::Pointer
ReadMask(const std::string &              path,
         const std::string &              role,
         const std::vector<std::string> & series = {},
         InputFiles *                     files = nullptr);

/** Reads a sequence that lies on the grid of \a brainMask; 0 outside it, as skull-stripped images have it. Without a
 * mask (empty) the image is as it is. */
SequenceImageType::Pointer
ReadStripped(const std::string & path, const std::string & role, const std::string & brainMask);

/** Reads an image of labels the same way; what is not a whole number of 0 to 255 is refused. */
MaskImageType::Pointer
ReadLabels(const std::string &              path,
           const std::string &              role,
           const std::vector<std::string> & series = {},
           InputFiles *                     files = nullptr);

/** The files that an input is read from: itself, or those of its DICOM series. Adds the entry of \a series that named
 * the series to \a used. */
std::vector<std::string>
FilesOfInput(const std::string &              path,
             const std::string &              role,
             const std::vector<std::string> & series,
             std::vector<std::string> &       used);

/** SHA-256 of one file, or of the list "digest  name" of several in the order of their names. */
std::string
DigestOfFiles(std::vector<std::string> files);

/** SHA-256 of a file, or of a folder's files as DigestOfFiles() takes them. */
std::string
DigestOfInput(const std::string & path);

/** Last part of a path: what may be told of where the data lies. */
std::string
BaseName(const std::string & path);
} // namespace glioma

#endif // CaseReader_h
