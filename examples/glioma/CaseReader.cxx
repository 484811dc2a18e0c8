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

#include "NiftiFileCheck.h"

#include "itkGDCMImageIO.h"
#include "itkGDCMSeriesFileNames.h"
#include "itkImageFileReader.h"
#include "itkImageIOFactory.h"
#include "itkImageSeriesReader.h"
#include "itkSha256.h"

#include <algorithm>
#include <filesystem>
#include <stdexcept>

namespace glioma
{
namespace
{
namespace fs = std::filesystem;

template <typename TImage>
typename TImage::Pointer
ReadSeries(const std::string & folder, const std::string & role)
{
  auto names = itk::GDCMSeriesFileNames::New();
  names->SetUseSeriesDetails(true);
  names->SetGlobalWarningDisplay(false);
  names->SetDirectory(folder);
  const std::vector<std::string> & series = names->GetSeriesUIDs();
  if (series.size() != 1)
  {
    throw std::runtime_error("The folder " + folder + " of " + role + " holds " + std::to_string(series.size()) +
                             " DICOM series; give a folder with exactly one, or a file.");
  }
  auto reader = itk::ImageSeriesReader<TImage>::New();
  auto io = itk::GDCMImageIO::New();
  reader->SetImageIO(io);
  reader->SetFileNames(names->GetFileNames(series.front()));
  reader->Update();
  typename TImage::Pointer image = reader->GetOutput();
  image->DisconnectPipeline();
  image->SetMetaDataDictionary(io->GetMetaDataDictionary());
  return image;
}

template <typename TImage>
typename TImage::Pointer
ReadFile(const std::string & path, const std::string & role)
{
  const itk::ImageIOBase::Pointer io =
    itk::ImageIOFactory::CreateImageIO(path.c_str(), itk::ImageIOFactory::IOFileModeEnum::ReadMode);
  if (io.IsNull())
  {
    throw std::runtime_error("The file " + path + " of " + role +
                             " is in no format that is known here; give NIfTI, NRRD, MetaImage or DICOM.");
  }
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
  std::vector<std::pair<std::size_t, float>> notFinite;
  try
  {
    notFinite = FindNonFiniteNiftiVoxels(path);
  }
  catch (const std::runtime_error & error)
  {
    throw std::runtime_error("Cannot read " + path + " for " + role + ": " + error.what() + "; get it again.");
  }
  auto reader = itk::ImageFileReader<TImage>::New();
  reader->SetImageIO(io);
  reader->SetFileName(path);
  reader->Update();
  typename TImage::Pointer image = reader->GetOutput();
  image->DisconnectPipeline();
  for (const auto & voxel : notFinite)
  {
    image->GetBufferPointer()[voxel.first] = voxel.second;
  }
  return image;
}

template <typename TImage>
typename TImage::Pointer
Read(const std::string & path, const std::string & role)
{
  if (!fs::exists(path))
  {
    throw std::runtime_error("There is no file " + path + " for " + role + "; check the path.");
  }
  try
  {
    return fs::is_directory(path) ? ReadSeries<TImage>(path, role) : ReadFile<TImage>(path, role);
  }
  catch (const itk::ExceptionObject & error)
  {
    throw std::runtime_error("Cannot read " + path + " for " + role + " (" + error.GetDescription() +
                             "); check that the file is complete.");
  }
}
} // namespace

SequenceImageType::Pointer
ReadSequence(const std::string & path, const std::string & role)
{
  return Read<SequenceImageType>(path, role);
}

MaskImageType::Pointer
ReadMask(const std::string & path, const std::string & role)
{
  // Through float: a mask of 0.5 or of 256 is not 0.
  const SequenceImageType::Pointer values = Read<SequenceImageType>(path, role);
  auto                             mask = MaskImageType::New();
  mask->CopyInformation(values);
  mask->SetRegions(values->GetLargestPossibleRegion());
  mask->Allocate();
  const float * const from = values->GetBufferPointer();
  std::transform(from,
                 from + mask->GetLargestPossibleRegion().GetNumberOfPixels(),
                 mask->GetBufferPointer(),
                 [](float v) { return static_cast<unsigned char>(v != 0.0f); });
  return mask;
}

std::string
DigestOfInput(const std::string & path)
{
  if (!fs::is_directory(path))
  {
    return itk::Sha256OfFile(path);
  }
  std::vector<fs::path> files;
  for (const fs::directory_entry & entry : fs::directory_iterator(path))
  {
    if (entry.is_regular_file())
    {
      files.push_back(entry.path());
    }
  }
  std::sort(files.begin(), files.end());
  std::string list;
  for (const fs::path & file : files)
  {
    list += itk::Sha256OfFile(file.string()) + "  " + file.filename().string() + "\n";
  }
  return itk::Sha256OfMemory(list.data(), list.size());
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
