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

#include "itkImageFileReader.h"
#include "itkImageFileWriter.h"

#include <array>
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

itk::MetaDataDictionary
WithoutIdentifiers(const itk::MetaDataDictionary & dictionary)
{
  static const std::array<const char *, 28> allowed{ {
    // NIfTI: geometry
    "qform_code",
    "qform_code_name",
    "sform_code",
    "sform_code_name",
    "xyzt_units",
    "slice_code",
    "slice_duration",
    "toffset",
    "dim_info",
    // NRRD: geometry
    "NRRD_space",
    // DICOM: acquisition and geometry
    "0008|0060", // modality
    "0018|0020", // scanning sequence
    "0018|0021", // sequence variant
    "0018|0022", // scan options
    "0018|0023", // acquisition type
    "0018|0050", // slice thickness
    "0018|0080", // repetition time
    "0018|0081", // echo time
    "0018|0082", // inversion time
    "0018|0083", // averages
    "0018|0087", // field strength
    "0018|0088", // spacing between slices
    "0018|0091", // echo train length
    "0018|1314", // flip angle
    "0020|0032", // position
    "0020|0037", // orientation
    "0028|0030", // pixel spacing
    "0028|0002"  // samples a pixel
  } };
  itk::MetaDataDictionary                   kept;
  for (const char * const key : allowed)
  {
    if (dictionary.HasKey(key))
    {
      kept.Set(key, const_cast<itk::MetaDataObjectBase *>(dictionary.Get(key)));
    }
  }
  return kept;
}
} // namespace glioma
