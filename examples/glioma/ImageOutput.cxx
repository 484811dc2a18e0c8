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

#include "itkImageFileReader.h"
#include "itkImageFileWriter.h"
#include "itkMetaDataObject.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <stdexcept>

namespace glioma
{
namespace
{
template <typename TImage>
void
WriteAndCheck(const TImage * image, const itk::MetaDataDictionary & dictionary, const std::string & path)
{
  const std::string name = std::filesystem::path(path).filename().string();
  std::string       reason = "what was written differs from what is on the disk";
  try
  {
    auto view = TImage::New();
    view->Graft(image);
    view->SetMetaDataDictionary(dictionary);
    auto writer = itk::ImageFileWriter<TImage>::New();
    writer->SetFileName(path);
    writer->SetInput(view);
    writer->UseCompressionOn();
    writer->Update();
    if (name.size() > 7 && name.compare(name.size() - 7, 7, ".nii.gz") == 0)
    {
      WriteFormCodes(dictionary, path);
    }

    auto reader = itk::ImageFileReader<TImage>::New();
    reader->SetFileName(path);
    reader->Update();
    const TImage *    back = reader->GetOutput();
    const std::size_t bytes = sizeof(typename TImage::InternalPixelType) * image->GetNumberOfComponentsPerPixel() *
                              image->GetLargestPossibleRegion().GetNumberOfPixels();
    if (back->GetLargestPossibleRegion().GetSize() == image->GetLargestPossibleRegion().GetSize() &&
        back->GetNumberOfComponentsPerPixel() == image->GetNumberOfComponentsPerPixel() &&
        std::memcmp(back->GetBufferPointer(), image->GetBufferPointer(), bytes) == 0)
    {
      return;
    }
  }
  catch (const itk::ExceptionObject & error)
  {
    reason = error.GetDescription();
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
