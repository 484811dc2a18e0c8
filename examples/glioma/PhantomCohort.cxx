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
#include "PhantomCohort.h"

#include "Phantom.h"

#include "itkImageFileWriter.h"
#include "itkMetaDataObject.h"
#include "itkMultiThreaderBase.h"
#include "itkNiftiImageIO.h"

#include <filesystem>
#include <fstream>
#include <iomanip>
#include <ostream>
#include <sstream>

namespace glioma
{
namespace
{
namespace fs = std::filesystem;

constexpr std::array<const char *, 5> suffixes{ "t1", "t1ce", "t2", "flair", "seg" };

std::string
CaseName(std::uint64_t seed, std::uint64_t caseNumber)
{
  std::ostringstream name;
  name << "phantom-" << seed << '-' << std::setw(4) << std::setfill('0') << caseNumber;
  return name.str();
}

// A compressed file ends with the length of what it holds: a disk that was full shows there.
void
CheckLength(const std::string & fileName, std::uint64_t bytes)
{
  std::ifstream file(fileName, std::ios::binary | std::ios::ate);
  std::uint32_t length = 0;
  if (file && file.tellg() >= 18)
  {
    file.seekg(-4, std::ios::end);
    unsigned char tail[4] = {};
    file.read(reinterpret_cast<char *>(tail), 4);
    length = tail[0] | (tail[1] << 8) | (tail[2] << 16) | (std::uint32_t{ tail[3] } << 24);
  }
  if (!file || length != static_cast<std::uint32_t>(bytes))
  {
    itkGenericExceptionMacro("Cannot write " << fileName << " wholly: free space on the disk and try again.");
  }
}

template <typename TImage>
void
WriteNifti(const TImage * image, const std::string & fileName)
{
  const auto writer = itk::ImageFileWriter<TImage>::New();
  // Without the factory, which is not made for several threads at once.
  writer->SetImageIO(itk::NiftiImageIO::New());
  writer->SetInput(image);
  writer->SetFileName(fileName);
  writer->UseCompressionOn();
  writer->Update();
  CheckLength(fileName, 352 + image->GetBufferedRegion().GetNumberOfPixels() * sizeof(typename TImage::PixelType));
}

// BraTS stores whole numbers.
itk::Image<short, 3>::Pointer
ToWholeNumbers(const Phantom::ImageType * image)
{
  const auto result = itk::Image<short, 3>::New();
  result->CopyInformation(image);
  result->SetRegions(image->GetBufferedRegion());
  result->Allocate();
  const std::size_t count = image->GetBufferedRegion().GetNumberOfPixels();
  const float *     from = image->GetBufferPointer();
  short *           to = result->GetBufferPointer();
  for (std::size_t i = 0; i < count; ++i)
  {
    to[i] = static_cast<short>(std::min(from[i], 32000.0f) + 0.5f);
  }
  return result;
}

void
WriteCase(const Phantom & phantom, const std::string & name, const fs::path & folder, unsigned int threads)
{
  const auto threader = itk::MultiThreaderBase::New();
  threader->SetMaximumNumberOfThreads(threads);
  threader->SetNumberOfWorkUnits(std::min(threads, 5u));
  std::array<std::string, 11> errors;
  threader->ParallelizeArray(
    0,
    errors.size(),
    [&](itk::SizeValueType i) {
      if ((i >= 5 && i < 10 && phantom.white == nullptr) || (i == 10 && phantom.regions == nullptr))
      {
        return;
      }
      const std::string file = i < 5    ? suffixes[i]
                               : i < 9  ? suffixes[i - 5] + std::string("_log-field")
                               : i < 10 ? "white"
                                        : "regions";
      const std::string fileName = (folder / (name + '_' + file + ".nii.gz")).string();
      try
      {
        if (i >= 5 && i < 9)
        {
          WriteNifti(phantom.logFields[i - 5].GetPointer(), fileName);
        }
        else if (i == 9)
        {
          WriteNifti(phantom.white.GetPointer(), fileName);
        }
        else if (i == 10)
        {
          WriteNifti(phantom.regions.GetPointer(), fileName);
        }
        else if (i < 4)
        {
          const auto image = ToWholeNumbers(phantom.images[i]);
          itk::EncapsulateMetaData<std::string>(
            image->GetMetaDataDictionary(), "ITK_FileNotes", "Synthetic phantom, no patient");
          // NIfTI keeps 23 characters of this key.
          itk::EncapsulateMetaData<std::string>(image->GetMetaDataDictionary(), "aux_file", "Synthetic phantom");
          WriteNifti(image.GetPointer(), fileName);
        }
        else
        {
          WriteNifti(phantom.labels.GetPointer(), fileName);
        }
      }
      catch (const itk::ExceptionObject & error)
      {
        errors[i] = error.GetDescription();
      }
    },
    nullptr);
  for (const std::string & error : errors)
  {
    if (!error.empty())
    {
      itkGenericExceptionMacro(<< error);
    }
  }
}
} // namespace

void
WritePhantomCohort(const SynthesizeOptions & options, std::ostream & progress)
{
  if (options.cases < 1 || options.cases > 9999)
  {
    itkGenericExceptionMacro("The number of cases is " << options.cases << ": ask for 1 to 9999.");
  }
  if (options.outputDirectory.empty())
  {
    itkGenericExceptionMacro("No output folder given.");
  }
  const fs::path  root(options.outputDirectory);
  const fs::path  table = root / "COHORT.csv";
  std::error_code ignored;
  if (!options.force)
  {
    fs::path present;
    if (fs::exists(table, ignored))
    {
      present = table;
    }
    for (unsigned int i = 1; i <= options.cases && present.empty(); ++i)
    {
      if (fs::exists(root / CaseName(options.seed, i), ignored))
      {
        present = root / CaseName(options.seed, i);
      }
    }
    if (!present.empty())
    {
      itkGenericExceptionMacro(<< present.string() << " is there already: choose another folder or add --force.");
    }
  }

  const unsigned int threads =
    options.threads > 0 ? options.threads : itk::MultiThreaderBase::GetGlobalDefaultNumberOfThreads();
  fs::path partial;
  try
  {
    fs::create_directories(root);
    std::ostringstream rows;
    rows << "case,t1,t1c,t2,flair,seg,grade,site\n";
    for (unsigned int i = 1; i <= options.cases; ++i)
    {
      PhantomParameters parameters;
      parameters.seed = options.seed;
      parameters.caseNumber = i;
      parameters.spacing = options.spacing;
      parameters.truth = options.truth;
      parameters.regions = options.regions;
      parameters.threads = threads;
      const Phantom     phantom = MakePhantom(parameters);
      const std::string name = CaseName(options.seed, i);

      partial = root / ('.' + name + ".partial");
      fs::remove_all(partial);
      fs::create_directory(partial);
      WriteCase(phantom, name, partial, threads);
      fs::remove_all(root / name);
      fs::rename(partial, root / name);

      rows << name;
      for (const char * suffix : suffixes)
      {
        rows << ',' << name << '/' << name << '_' << suffix << ".nii.gz";
      }
      rows << ',' << NameOf(phantom.grade) << ',' << NameOf(phantom.scanner) << '\n';
      progress << '[' << i << '/' << options.cases << "] " << name << "  " << NameOf(phantom.grade) << ", "
               << std::fixed << std::setprecision(0) << phantom.volume << " ml, enhancement "
               << NameOf(phantom.enhancement) << ", " << NameOf(phantom.scanner) << std::endl;
    }
    partial = root / ".COHORT.csv.partial";
    {
      std::ofstream file(partial);
      file << rows.str();
      file.close();
      if (!file)
      {
        itkGenericExceptionMacro("Cannot write " << table.string() << ": free space on the disk and try again.");
      }
    }
    fs::rename(partial, table);
  }
  catch (const fs::filesystem_error & error)
  {
    fs::remove_all(partial, ignored);
    itkGenericExceptionMacro("Cannot write to " << root.string() << " (" << error.code().message()
                                                << "): choose a folder that can be written.");
  }
  catch (...)
  {
    fs::remove_all(partial, ignored);
    throw;
  }
}

} // namespace glioma
