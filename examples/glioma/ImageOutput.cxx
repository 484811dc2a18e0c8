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
#include "ImageOutput.h"

#include "NiftiForms.h"

#include "itkImageFileCheck.h"
#include "itkImageFileReader.h"
#include "itkImageFileWriter.h"
#include "itkMetaDataObject.h"
#include "itk_zlib.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>
#include <stdexcept>

namespace glioma
{
namespace
{
constexpr itk::SizeValueType mostOfNifti = 32767; // 16 bits

bool
IsNiftiGz(const std::string & name)
{
  return name.size() > 7 && name.compare(name.size() - 7, 7, ".nii.gz") == 0;
}

template <typename TImage>
void
WriteWithItk(const TImage * image, const itk::MetaDataDictionary & dictionary, const std::string & path)
{
  auto view = TImage::New();
  view->Graft(image);
  view->SetMetaDataDictionary(dictionary);
  auto writer = itk::ImageFileWriter<TImage>::New();
  writer->SetFileName(path);
  writer->SetInput(view);
  writer->UseCompressionOn();
  writer->Update();
}

/** ITK before 5.3 writes wrong codes: to compress all again would take as long as the first time. So ITK writes a small
 * image in the same place, for its header, and the voxels follow from where they are, without its copy of them. */
template <typename TImage>
void
WriteNiftiGz(const TImage * image, const itk::MetaDataDictionary & dictionary, const std::string & path)
{
  using ComponentType = typename TImage::InternalPixelType;
  const auto        region = image->GetLargestPossibleRegion();
  const std::size_t voxels = region.GetNumberOfPixels();
  const std::size_t components = image->GetNumberOfComponentsPerPixel();
  auto              small = TImage::New();
  small->CopyInformation(image);
  small->SetRegions(typename TImage::RegionType(region.GetIndex(), typename TImage::SizeType{ { 2, 2, 2 } }));
  small->Allocate();
  std::fill_n(small->GetBufferPointer(), 8 * components, ComponentType{});
  WriteWithItk(small.GetPointer(), dictionary, path);
  const std::vector<unsigned char> header = HeaderOfWritten(path, region.GetSize(), dictionary);

  errno = 0;
  std::unique_ptr<gzFile_s, int (*)(gzFile)> file(gzopen(path.c_str(), "wb"), gzclose);
  const auto                                 write = [&file](const void * bytes, std::size_t number) {
    return gzwrite(file.get(), bytes, static_cast<unsigned int>(number)) == static_cast<int>(number);
  };
  bool isWritten = file && write(header.data(), header.size());
  // One component after the other.
  constexpr std::size_t      most = std::size_t{ 1 } << 16; // voxels
  std::vector<ComponentType> portion(std::min(most, voxels));
  for (std::size_t c = 0; c < components; ++c)
  {
    for (std::size_t first = 0; first < voxels && isWritten; first += most)
    {
      const std::size_t           number = std::min(most, voxels - first);
      const ComponentType * const from = image->GetBufferPointer() + first * components + c;
      for (std::size_t i = 0; i < number; ++i)
      {
        portion[i] = from[i * components];
      }
      isWritten = write(portion.data(), number * sizeof(ComponentType));
    }
  }
  // The last bytes are written when it is closed.
  int         number = errno;
  int         code = Z_OK;
  std::string reason = file ? gzerror(file.get(), &code) : "";
  if (!file || gzclose(file.release()) != Z_OK || !isWritten)
  {
    number = number != 0 ? number : errno;
    throw std::runtime_error(number != 0 ? std::strerror(number) : reason.empty() ? "zlib gives no reason" : reason);
  }
}

template <typename TImage>
void
WriteAndCheck(const TImage * image, const itk::MetaDataDictionary & dictionary, const std::string & path)
{
  const std::string name = std::filesystem::path(path).filename().string();
  std::string       reason = "what was written differs from what is on the disk";
  const auto        region = image->GetLargestPossibleRegion();
  if (image->GetBufferedRegion() != region)
  {
    throw std::runtime_error("Cannot write " + name + ": only a part of the image is there; update all of it first.");
  }
  for (unsigned int d = 0; d < 3 && IsNiftiGz(name); ++d)
  {
    if (region.GetSize(d) > mostOfNifti)
    {
      throw std::runtime_error("Cannot write " + name + ": NIfTI holds at most " + std::to_string(mostOfNifti) +
                               " voxels a side, and the image has " + std::to_string(region.GetSize(d)) +
                               "; choose NRRD or MetaImage.");
    }
  }
  try
  {
    if (IsNiftiGz(name))
    {
      WriteNiftiGz(image, dictionary, path);
    }
    else
    {
      WriteWithItk(image, dictionary, path);
    }
    auto reader = itk::ImageFileReader<TImage>::New();
    reader->SetFileName(path);
    reader->UpdateOutputInformation();
    const TImage * back = reader->GetOutput();
    if (back->GetLargestPossibleRegion().GetSize() == image->GetLargestPossibleRegion().GetSize() &&
        back->GetNumberOfComponentsPerPixel() == image->GetNumberOfComponentsPerPixel())
    {
      // Every byte is read again, and the sum is that of the voxels: without a second image of them.
      itk::ImageFileCheck::FindNonFiniteVoxels(path);
      return;
    }
  }
  catch (const std::runtime_error & error)
  {
    reason = error.what();
  }
  catch (const itk::ExceptionObject & error)
  {
    reason = error.GetDescription();
  }
  // What is there may be whole, and another image.
  std::error_code ignored;
  if (std::filesystem::is_regular_file(std::filesystem::symlink_status(path, ignored)))
  {
    std::filesystem::remove(path, ignored);
  }
  for (char & character : reason)
  {
    character = character == '\n' ? ' ' : character;
  }
  throw std::runtime_error("Cannot write " + name + " (" + reason +
                           "). Is the disk full? Free some space, or choose another --output.");
}
} // namespace

void
WriteImage(const itk::Image<unsigned char, 3> * image,
           const itk::MetaDataDictionary &      dictionary,
           const std::string &                  path)
{
  WriteAndCheck(image, dictionary, path);
}

void
WriteImage(const itk::Image<float, 3> * image, const itk::MetaDataDictionary & dictionary, const std::string & path)
{
  WriteAndCheck(image, dictionary, path);
}

void
WriteImage(const itk::VectorImage<float, 3> * image,
           const itk::MetaDataDictionary &    dictionary,
           const std::string &                path)
{
  WriteAndCheck(image, dictionary, path);
}

bool
CanBeWrittenSideBySide(const std::string & path)
{
  // ITK copies the voxels for the others, and the library of NRRD keeps its errors for the whole process.
  return IsNiftiGz(path);
}

const std::vector<AllowedKey> &
GetAllowedKeys()
{
  using Kind = AllowedKey::Kind;
  static const std::vector<AllowedKey> keys{
    // NIfTI: geometry
    { "qform_code", Kind::Numbers },
    { "qform_code_name", Kind::Code },
    { "sform_code", Kind::Numbers },
    { "sform_code_name", Kind::Code },
    { "xyzt_units", Kind::Numbers },
    { "slice_code", Kind::Numbers },
    { "slice_duration", Kind::Numbers },
    { "toffset", Kind::Numbers },
    { "dim_info", Kind::Numbers },
    // NRRD: geometry
    { "NRRD_space", Kind::Space },
    // DICOM: acquisition and geometry
    { "0008|0060", Kind::Code },    // modality
    { "0018|0020", Kind::Code },    // scanning sequence
    { "0018|0021", Kind::Code },    // sequence variant
    { "0018|0022", Kind::Code },    // scan options
    { "0018|0023", Kind::Code },    // acquisition type
    { "0018|0050", Kind::Numbers }, // slice thickness
    { "0018|0080", Kind::Numbers }, // repetition time
    { "0018|0081", Kind::Numbers }, // echo time
    { "0018|0082", Kind::Numbers }, // inversion time
    { "0018|0083", Kind::Numbers }, // averages
    { "0018|0087", Kind::Numbers }, // field strength
    { "0018|0088", Kind::Numbers }, // spacing between slices
    { "0018|0091", Kind::Numbers }, // echo train length
    { "0018|1314", Kind::Numbers }, // flip angle
    { "0020|0032", Kind::Numbers }, // position of the first slice
    { "0020|0037", Kind::Numbers }, // orientation
    { "0028|0002", Kind::Numbers }, // samples a pixel
    { "0028|0030", Kind::Numbers }  // pixel spacing
  };
  return keys;
}

namespace
{
bool
IsOfKind(const std::string & value, AllowedKey::Kind kind)
{
  constexpr std::size_t longest = 128;
  if (value.size() > longest)
  {
    return false;
  }
  const auto isIn = [](char character, const char * others) { return std::strchr(others, character) != nullptr; };
  switch (kind)
  {
    case AllowedKey::Kind::Numbers:
      return std::all_of(value.begin(), value.end(), [&](char c) { return isIn(c, "0123456789+-.eE\\ "); });
    case AllowedKey::Kind::Code:
      return std::all_of(
        value.begin(), value.end(), [&](char c) { return (c >= 'A' && c <= 'Z') || isIn(c, "0123456789_\\ "); });
    case AllowedKey::Kind::Space:
      return value == "left-posterior-superior" || value == "right-anterior-superior" ||
             value == "left-anterior-superior" || value == "scanner-xyz";
  }
  return false;
}
} // namespace

itk::MetaDataDictionary
WithoutIdentifiers(const itk::MetaDataDictionary & dictionary)
{
  itk::MetaDataDictionary kept;
  for (const AllowedKey & key : GetAllowedKeys())
  {
    std::string value;
    if (itk::ExposeMetaData<std::string>(dictionary, key.Name, value) && IsOfKind(value, key.Values))
    {
      itk::EncapsulateMetaData<std::string>(kept, key.Name, value);
    }
  }
  return kept;
}
} // namespace glioma
