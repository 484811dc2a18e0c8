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
#include "CaseReader.h"

#include "DicomSeries.h"
#include "GridComparison.h"
#include "NiftiForms.h"

#include "itkGDCMImageIO.h"
#include "itkImageFileCheck.h"
#include "itkImageFileReader.h"
#include "itkImageIOFactory.h"
#include "itkSha256.h"
#include "itksys/SystemTools.hxx"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <stdexcept>

namespace glioma
{
namespace
{
namespace fs = std::filesystem;

/** ITK 5.2 turns images of the NRRD space left-anterior-superior by 180 degrees. */
void
RefuseNrrdSpaceThatIsReadWrongly(const std::string & path, const std::string & role)
{
  std::ifstream file(path, std::ios::binary);
  std::string   line;
  constexpr int mostLines = 1000;
  for (int number = 0; number < mostLines && std::getline(file, line) && !line.empty() && line != "\r"; ++number)
  {
    if (number == 0 && line.compare(0, 4, "NRRD") != 0)
    {
      return;
    }
    line = itksys::SystemTools::LowerCase(line);
    if (line.compare(0, 6, "space:") == 0 &&
        (line.find("left-anterior") != std::string::npos || line.find("las") != std::string::npos))
    {
      throw std::runtime_error("The file " + path + " of " + role +
                               " is in the NRRD space left-anterior-superior, which is not read reliably; write it in "
                               "left-posterior-superior or right-anterior-superior.");
    }
  }
}

SequenceImageType::Pointer
ReadFile(const std::string & path, const std::string & role)
{
  std::vector<std::pair<itk::SizeValueType, float>> notFinite;
  try
  {
    notFinite = itk::ImageFileCheck::FindNonFiniteVoxels(path);
  }
  catch (const itk::ExceptionObject & error)
  {
    throw std::runtime_error("Cannot read " + path + " for " + role + ": " + error.GetDescription() + '.');
  }
  const itk::ImageIOBase::Pointer io =
    itk::ImageIOFactory::CreateImageIO(path.c_str(), itk::ImageIOFactory::IOFileModeEnum::ReadMode);
  if (io.IsNull())
  {
    throw std::runtime_error("The file " + path + " of " + role +
                             " is in no format that is known here; give NIfTI, NRRD, MetaImage or DICOM.");
  }
  RefuseNrrdSpaceThatIsReadWrongly(path, role);
  io->SetFileName(path);
  io->ReadImageInformation();
  std::string size;
  bool        isVolume = io->GetNumberOfDimensions() >= 3 && io->GetNumberOfComponents() == 1;
  for (unsigned int d = 0; d < io->GetNumberOfDimensions(); ++d)
  {
    size += (d ? "x" : "") + std::to_string(io->GetDimensions(d));
    isVolume = isVolume && (d < 3 || io->GetDimensions(d) == 1);
  }
  if (!isVolume)
  {
    throw std::runtime_error("The file " + path + " of " + role + " has " + size + " voxels of " +
                             std::to_string(io->GetNumberOfComponents()) +
                             " component(s); give one three-dimensional image of one component.");
  }
  if (dynamic_cast<const itk::GDCMImageIO *>(io.GetPointer()))
  {
    if (io->GetNumberOfDimensions() < 3 || io->GetDimensions(2) < 2)
    {
      throw std::runtime_error("The file " + path + " of " + role +
                               " is one slice of a DICOM series; give the folder of the series.");
    }
    DicomSeries frames;
    frames.Name = BaseName(path);
    frames.Files = { path };
    return ReadDicomSeries(frames, role);
  }
  auto reader = itk::ImageFileReader<SequenceImageType>::New();
  reader->SetImageIO(io);
  reader->SetFileName(path);
  reader->Update();
  const SequenceImageType::Pointer image = reader->GetOutput();
  image->DisconnectPipeline();
  itk::ImageFileCheck::Restore(notFinite, image.GetPointer());
  KeepFormsThatAgree(path, role, image);
  return image;
}

void
CheckExists(const std::string & path, const std::string & role)
{
  std::error_code ignored;
  if (!fs::is_regular_file(path, ignored) && !fs::is_directory(path, ignored))
  {
    throw std::runtime_error("There is no file " + path + " for " + role + "; check the path.");
  }
}
} // namespace

SequenceImageType::Pointer
ReadSequence(const std::string &              path,
             const std::string &              role,
             const std::vector<std::string> & series,
             InputFiles *                     files)
{
  CheckExists(path, role);
  try
  {
    if (!fs::is_directory(path))
    {
      const SequenceImageType::Pointer image = ReadFile(path, role);
      if (files)
      {
        *files = { itk::ImageFileCheck::FilesOf(path), {} };
      }
      return image;
    }
    const DicomSeries chosen = ChooseDicomSeries(path, role, series);
    if (files)
    {
      *files = { chosen.Files, chosen.NamedBy };
    }
    return ReadDicomSeries(chosen, role);
  }
  catch (const itk::ExceptionObject & error)
  {
    throw std::runtime_error("Cannot read " + path + " for " + role + " (" + error.GetDescription() +
                             "); check that the file is complete.");
  }
}

MaskImageType::Pointer
ReadMask(const std::string &              path,
         const std::string &              role,
         const std::vector<std::string> & series,
         InputFiles *                     files)
{
  // Through float: a mask of 0.5 or of 256 is not 0.
  const SequenceImageType::Pointer values = ReadSequence(path, role, series, files);
  auto                             mask = MaskImageType::New();
  mask->CopyInformation(values);
  mask->SetRegions(values->GetLargestPossibleRegion());
  mask->Allocate();
  const std::string problem = itk::ImageFileCheck::FindMaskProblem(values);
  if (!problem.empty())
  {
    throw std::runtime_error("Cannot take " + path + " for " + role + ": " + problem + '.');
  }
  const float * const from = values->GetBufferPointer();
  const float * const end = from + values->GetLargestPossibleRegion().GetNumberOfPixels();
  std::transform(from, end, mask->GetBufferPointer(), [](float v) { return static_cast<unsigned char>(v != 0.0f); });
  return mask;
}

SequenceImageType::Pointer
ReadStripped(const std::string & path, const std::string & role, const std::string & brainMask)
{
  const SequenceImageType::Pointer image = ReadSequence(path, role);
  if (!brainMask.empty())
  {
    const MaskImageType::Pointer mask = ReadMask(brainMask, "the brain mask");
    if (!IsOnGridOf(mask, image, gridTolerance))
    {
      throw std::runtime_error("The brain mask " + brainMask + " (" + DescribeGrid(mask) + ") and " + path + " (" +
                               DescribeGrid(image) + ") lie on different grids; bring them onto one grid first.");
    }
    float * const voxels = image->GetBufferPointer();
    std::transform(voxels,
                   voxels + image->GetBufferedRegion().GetNumberOfPixels(),
                   mask->GetBufferPointer(),
                   voxels,
                   [](float value, unsigned char inside) { return inside ? value : 0.0F; });
  }
  return image;
}

MaskImageType::Pointer
ReadLabels(const std::string &              path,
           const std::string &              role,
           const std::vector<std::string> & series,
           InputFiles *                     files)
{
  const SequenceImageType::Pointer values = ReadSequence(path, role, series, files);
  auto                             labels = MaskImageType::New();
  labels->CopyInformation(values);
  labels->SetRegions(values->GetLargestPossibleRegion());
  labels->Allocate();
  const float * from = values->GetBufferPointer();
  for (itk::SizeValueType i = 0; i < labels->GetLargestPossibleRegion().GetNumberOfPixels(); ++i)
  {
    const float value = from[i];
    if (!(value >= 0.0f && value <= 255.0f) || value != std::floor(value))
    {
      throw std::runtime_error("A voxel of " + role + " (" + BaseName(path) + ") is " + std::to_string(value) +
                               "; labels are whole numbers of 0 to 255.");
    }
    labels->GetBufferPointer()[i] = static_cast<unsigned char>(value);
  }
  return labels;
}

std::vector<std::string>
FilesOfInput(const std::string &              path,
             const std::string &              role,
             const std::vector<std::string> & series,
             std::vector<std::string> &       used)
{
  CheckExists(path, role);
  if (!fs::is_directory(path))
  {
    return itk::ImageFileCheck::FilesOf(path);
  }
  const DicomSeries chosen = ChooseDicomSeries(path, role, series);
  used.insert(used.end(), chosen.NamedBy.begin(), chosen.NamedBy.end());
  return chosen.Files;
}

std::string
DigestOfFiles(std::vector<std::string> files)
{
  if (files.size() == 1)
  {
    return itk::Sha256OfFile(files.front());
  }
  std::sort(files.begin(), files.end());
  std::string list;
  for (const std::string & file : files)
  {
    list += itk::Sha256OfFile(file) + "  " + BaseName(file) + "\n";
  }
  return itk::Sha256OfMemory(list.data(), list.size());
}

std::string
DigestOfInput(const std::string & path)
{
  std::vector<std::string> files;
  if (!fs::is_directory(path))
  {
    return DigestOfFiles(itk::ImageFileCheck::FilesOf(path));
  }
  for (const fs::directory_entry & entry : fs::directory_iterator(path))
  {
    if (entry.is_regular_file())
    {
      files.push_back(entry.path().string());
    }
  }
  return DigestOfFiles(files);
}

std::string
BaseName(const std::string & path)
{
  fs::path clean = fs::path(path).lexically_normal();
  if (!clean.has_filename())
  {
    clean = clean.parent_path();
  }
  return clean.filename().string();
}
} // namespace glioma
