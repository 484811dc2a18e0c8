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
#include "itkImageFileCheck.h"

#include "itkImage.h"
#include "itkImageFileReader.h"
#include "itkImageFileWriter.h"
#include "itkImageRegionIterator.h"

#include <gtest/gtest.h>

#include <sys/stat.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <random>

namespace
{
namespace fs = std::filesystem;

class ImageFileCheck : public ::testing::Test
{
protected:
  using ImageType = itk::Image<float, 3>;

  ImageFileCheck()
    : m_Folder(fs::temp_directory_path() / (std::string("itkImageFileCheckGTest-") +
                                            ::testing::UnitTest::GetInstance()->current_test_info()->name()))
  {
    fs::remove_all(m_Folder);
    fs::create_directories(m_Folder);
  }

  ~ImageFileCheck() override { fs::remove_all(m_Folder); }

  std::string
  Path(const std::string & name) const
  {
    return (m_Folder / name).string();
  }

  /** Noise, which compresses badly: a damaged byte damages voxels. */
  std::string
  Write(const std::string & name, bool isCompressed) const
  {
    const auto image = ImageType::New();
    image->SetRegions(ImageType::SizeType{ { 20, 21, 22 } });
    image->Allocate();
    std::mt19937 random(7);
    for (itk::ImageRegionIterator<ImageType> it(image, image->GetLargestPossibleRegion()); !it.IsAtEnd(); ++it)
    {
      it.Set(static_cast<float>(random() % 1000));
    }
    const auto writer = itk::ImageFileWriter<ImageType>::New();
    writer->SetFileName(this->Path(name));
    writer->SetInput(image);
    writer->SetUseCompression(isCompressed);
    writer->Update();
    return this->Path(name);
  }

  static std::string
  ReadAll(const std::string & path)
  {
    std::ifstream file(path, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }

  static void
  WriteAll(const std::string & path, const std::string & text)
  {
    std::ofstream(path, std::ios::binary) << text;
  }

  static std::string
  MessageOf(const std::string & path)
  {
    try
    {
      itk::ImageFileCheck::FindNonFiniteVoxels(path);
      return "";
    }
    catch (const itk::ExceptionObject & error)
    {
      return error.GetDescription();
    }
  }

  fs::path m_Folder;
};
} // namespace

TEST_F(ImageFileCheck, TellsOfFilesThatAreCutOffOrDamaged)
{
  const struct
  {
    const char * Name;
    bool         IsCompressed;
  } forms[] = { { "a.nii", false },  { "a.nii.gz", true }, { "a.hdr", false },  { "b.img.gz", true },
                { "a.mha", false },  { "c.mha", true },    { "a.mhd", false },  { "c.mhd", true },
                { "a.nrrd", false }, { "c.nrrd", true },   { "a.nhdr", false }, { "c.nhdr", true } };
  for (const auto & form : forms)
  {
    const std::string path = this->Write(form.Name, form.IsCompressed);
    EXPECT_EQ(MessageOf(path), "") << form.Name;
    const std::vector<std::string> files = itk::ImageFileCheck::FilesOf(path);
    const std::string              name = form.Name;
    const bool isApart = name.find("hd") != std::string::npos || name.find("img") != std::string::npos;
    ASSERT_EQ(files.size(), isApart ? 2u : 1u) << form.Name;
    const std::string whole = ReadAll(files.back());
    ASSERT_GT(whole.size(), 1000u) << form.Name;
    for (const std::size_t lost : { std::size_t{ 16 }, whole.size() / 2 })
    {
      WriteAll(files.back(), whole.substr(0, whole.size() - lost));
      EXPECT_EQ(MessageOf(path), "the file is cut off or damaged; get it again") << form.Name << ' ' << lost;
    }
    for (const double part : { 0.3, 0.6, 0.9 })
    {
      std::string damaged = whole;
      damaged[static_cast<std::size_t>(part * static_cast<double>(whole.size()))] ^= 0x55;
      WriteAll(files.back(), damaged);
      // Nothing tells of it where the voxels lie as they are.
      EXPECT_EQ(MessageOf(path), form.IsCompressed ? "the file is cut off or damaged; get it again" : "")
        << form.Name << ' ' << part;
    }
    if (isApart)
    {
      fs::remove(files.back());
      EXPECT_NE(MessageOf(path), "") << form.Name;
    }
  }
}

TEST_F(ImageFileCheck, FindsVoxelsOfNIfTIThatAreNotFinite)
{
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const char * const name : { "a.nii", "b.hdr", "b.img" })
  {
    const std::string path = this->Write(name, false);
    const std::string file = itk::ImageFileCheck::FilesOf(path).back();
    const std::size_t offset = fs::path(file).extension() == ".nii" ? 352 : 0;
    // The header's number of bits is believed by nobody.
    for (const std::int16_t bits : { 32, 0, 8, -32 })
    {
      const std::string headerPath = itk::ImageFileCheck::FilesOf(path).front();
      std::string       header = ReadAll(headerPath);
      std::memcpy(&header[72], &bits, sizeof(bits));
      WriteAll(headerPath, header);
      std::string bytes = ReadAll(file);
      std::memcpy(&bytes[offset + 4 * 1234], &nan, sizeof(nan));
      WriteAll(file, bytes);
      const auto found = itk::ImageFileCheck::FindNonFiniteVoxels(path);
      ASSERT_EQ(found.size(), 1u) << name << ' ' << bits;
      EXPECT_EQ(found[0].first, 1234u);
      EXPECT_TRUE(std::isnan(found[0].second));
    }
  }
  // As the library reads it: an offset of 0 is one of 352 that was not said.
  {
    std::string bytes = ReadAll(this->Path("a.nii"));
    const float none = 0.0F;
    std::memcpy(&bytes[108], &none, sizeof(none));
    WriteAll(this->Path("zero.nii"), bytes);
    EXPECT_EQ(itk::ImageFileCheck::FindNonFiniteVoxels(this->Path("zero.nii")).size(), 1u);
  }
  const auto reader = itk::ImageFileReader<ImageType>::New();
  reader->SetFileName(this->Path("a.nii"));
  reader->Update();
  itk::ImageFileCheck::Restore(itk::ImageFileCheck::FindNonFiniteVoxels(this->Path("a.nii")), reader->GetOutput());
  EXPECT_TRUE(std::isnan(reader->GetOutput()->GetBufferPointer()[1234]));
}

TEST_F(ImageFileCheck, RefusesHeadersThatReadersTrust)
{
  const std::string path = this->Write("a.mhd", false);
  const std::string good = ReadAll(path);
  const auto        changed = [&](const std::string & from, const std::string & to) {
    std::string text = good;
    const auto  place = text.find(from);
    EXPECT_NE(place, std::string::npos) << from;
    WriteAll(path, text.replace(place, from.size(), to));
    return MessageOf(path);
  };
  for (const char * const number : { "100", "0", "-1", "1000000000", "" })
  {
    EXPECT_EQ(changed("NDims = 3", std::string("NDims = ") + number),
              std::string("its header claims ") + number + " dimensions");
  }
  EXPECT_EQ(changed("a.raw", "%s%n%d.raw 1 5 1"),
            "its voxels lie in several files (%s%n%d.raw 1 5 1); write it as one file");
  EXPECT_EQ(changed("a.raw", "LIST"), "its voxels lie in several files (LIST); write it as one file");
  // A blank line ends nothing, a share is no pattern, and a pipe would be waited for.
  EXPECT_EQ(changed("NDims = 3", "\nNDims = 100"), "its header claims 100 dimensions");
  fs::rename(this->Path("a.raw"), this->Path("50%.raw"));
  ASSERT_EQ(mkfifo(this->Path("a.raw").c_str(), 0600), 0);
  EXPECT_EQ(changed("NDims = 3", "NDims = 3"),
            "the file " + this->Path("a.raw") + " that holds its voxels cannot be opened");
  const std::string nrrd = this->Write("b.nhdr", false);
  fs::rename(this->Path("b.raw"), this->Path("b-50%.raw"));
  {
    std::string share = ReadAll(nrrd);
    share.replace(share.find("b.raw"), 5, "b-50%.raw");
    WriteAll(nrrd, share);
    EXPECT_EQ(MessageOf(nrrd), "");
    share.replace(share.find("b-50%.raw"), 9, "b.raw");
    WriteAll(nrrd, share);
  }
  std::string text = ReadAll(nrrd);
  text.replace(text.find("b.raw"), 5, "b-%03d.raw 1 22 1");
  WriteAll(nrrd, text);
  EXPECT_EQ(MessageOf(nrrd), "its voxels lie in several files (b-%03d.raw 1 22 1); write it as one file");
}

TEST_F(ImageFileCheck, RefusesWhatIsNoFile)
{
  EXPECT_EQ(MessageOf(this->Path("nowhere.nii")), "it is no file");
  EXPECT_EQ(MessageOf(m_Folder.string()), "it is no file");
  // A pipe that nobody writes to would be waited for.
  ASSERT_EQ(mkfifo(this->Path("pipe.nii").c_str(), 0600), 0);
  EXPECT_EQ(MessageOf(this->Path("pipe.nii")), "it is no file");
  EXPECT_EQ(itk::ImageFileCheck::FilesOf(this->Path("pipe.nii")), std::vector<std::string>{ this->Path("pipe.nii") });
  // Other formats are their readers' business.
  WriteAll(this->Path("text.png"), "no image");
  EXPECT_EQ(MessageOf(this->Path("text.png")), "");
}
