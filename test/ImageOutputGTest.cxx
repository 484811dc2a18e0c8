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
// Images that the application writes: the file is that of ITK's writer, and none stays where it cannot be written.
#include "ImageOutput.h"

#include "ObliqueImage.h"
#include "SeededBundles.h"

#include "itkGridDifference.h"
#include "itkImageFileReader.h"
#include "itkImageFileWriter.h"
#include "itkMetaDataObject.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <stdexcept>
#include <string>

namespace
{
using ImageType = itk::Image<float, 3>;
using VectorImageType = itk::VectorImage<float, 3>;

std::string
ReasonOf(const ImageType * image, const std::string & path)
{
  try
  {
    glioma::WriteImage(image, image->GetMetaDataDictionary(), path);
  }
  catch (const std::runtime_error & error)
  {
    return error.what();
  }
  return "";
}

template <typename TImage>
void
ExpectSameAsItsWriter(TImage * image)
{
  const TemporaryFolder folder;
  itk::EncapsulateMetaData<std::string>(image->GetMetaDataDictionary(), "qform_code", "1");
  itk::EncapsulateMetaData<std::string>(image->GetMetaDataDictionary(), "sform_code", "2");
  const std::string own = folder / "own.nii.gz";
  const std::string itks = folder / "itks.nii.gz";
  glioma::WriteImage(image, image->GetMetaDataDictionary(), own);
  itk::WriteImage(image, itks);
  const auto read = itk::ReadImage<TImage>(own);
  const auto other = itk::ReadImage<TImage>(itks);
  EXPECT_TRUE(oblique::SameVoxels<TImage>(read, other));
  // Its other form is read: of the numbers of a quaternion.
  EXPECT_EQ(itk::GridDifference<3>(other, read).Describe(1e-5, 1e-6), "");
  std::string code;
  EXPECT_TRUE(itk::ExposeMetaData(read->GetMetaDataDictionary(), "sform_code", code));
  EXPECT_EQ(code, "2");
}
} // namespace

TEST(ImageOutput, IsWhatTheWriterOfItkWrites)
{
  const auto image = oblique::Make<ImageType>(9, 7, 1);
  oblique::FillWithNoise(image.GetPointer());
  ExpectSameAsItsWriter(image.GetPointer());

  const auto map = VectorImageType::New();
  map->CopyInformation(oblique::Make<ImageType>(70, 60, 17));
  map->SetRegions(itk::Size<3>{ { 70, 60, 17 } }); // above one portion
  map->SetNumberOfComponentsPerPixel(4);
  map->Allocate();
  float value = 0;
  for (itk::SizeValueType i = 0; i < 4 * map->GetLargestPossibleRegion().GetNumberOfPixels(); ++i)
  {
    map->GetBufferPointer()[i] = value += 0.25F;
  }
  ExpectSameAsItsWriter(map.GetPointer());
}

TEST(ImageOutput, LeavesNothingThatIsNotWhole)
{
  const TemporaryFolder folder;
  const std::string     path = folder / "map.nii.gz";
  const auto            wide = ImageType::New();
  wide->SetRegions(itk::Size<3>{ { 40000, 1, 1 } });
  wide->Allocate(true);
  const std::string reason = ReasonOf(wide, path);
  EXPECT_NE(reason.find("40000"), std::string::npos) << reason;
  EXPECT_NE(reason.find("NRRD"), std::string::npos) << reason;
  EXPECT_FALSE(std::filesystem::exists(path));
  EXPECT_EQ(ReasonOf(wide, folder / "map.mha"), "");

  const auto part = oblique::Make<ImageType>(8, 8, 8);
  auto       region = part->GetLargestPossibleRegion();
  region.SetSize(2, 4);
  part->SetBufferedRegion(region);
  EXPECT_NE(ReasonOf(part, path).find("only a part"), std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(path));
  EXPECT_NE(ReasonOf(oblique::Make<ImageType>(8, 8, 8), folder / "none/map.nii.gz"), "");
}
