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
#include "itkCohortReader.h"

#include "RealTestData.h"

#include "itkImage.h"
#include "itkImageFileReader.h"
#include "itkImageFileWriter.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <limits>
#include <map>

namespace
{
namespace fs = std::filesystem;

using ImageType = itk::Image<short, 3>;

// A folder of its own for each test, gone afterwards.
class CohortReader : public testing::Test
{
protected:
  void
  SetUp() override
  {
    m_Folder = fs::temp_directory_path() /
               (std::string("glioma-cohort-") + testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(m_Folder);
    fs::create_directories(m_Folder);
  }
  void
  TearDown() override
  {
    fs::remove_all(m_Folder);
  }

  void
  WriteText(const std::string & name, const std::string & text) const
  {
    fs::create_directories((m_Folder / name).parent_path());
    std::ofstream(m_Folder / name) << text;
  }

  /** A small image with one voxel above 0. */
  void
  WriteImage(const std::string & name, double spacing = 1.5, bool empty = false) const
  {
    auto image = ImageType::New();
    image->SetRegions(ImageType::SizeType{ { 5, 6, 7 } });
    ImageType::SpacingType voxel;
    voxel.Fill(spacing);
    voxel[2] = 2.5;
    image->SetSpacing(voxel);
    ImageType::PointType origin;
    origin.Fill(-13.0);
    image->SetOrigin(origin);
    ImageType::DirectionType direction;
    direction.SetIdentity();
    direction[0][0] = direction[1][1] = 0.8;
    direction[0][1] = -0.6;
    direction[1][0] = 0.6;
    image->SetDirection(direction);
    image->Allocate(true);
    image->SetPixel({ { 2, 3, 4 } }, empty ? 0 : 4);
    fs::create_directories((m_Folder / name).parent_path());
    auto writer = itk::ImageFileWriter<ImageType>::New();
    writer->SetFileName((m_Folder / name).string());
    writer->SetInput(image);
    writer->Update();
  }

  /** A subject as BRATS 2017 stores it. */
  void
  WriteSubject(const std::string & grade, const std::string & name) const
  {
    for (const char * const suffix : { "t1", "t1ce", "t2", "flair", "seg" })
    {
      this->WriteImage(grade + '/' + name + '/' + name + '_' + suffix + ".nii.gz");
    }
  }

  itk::CohortReader::Pointer
  Read(const std::string & path, const std::string & split = "") const
  {
    const auto reader = itk::CohortReader::New();
    reader->SetPath((m_Folder / path).string());
    reader->SetSplitFile(split.empty() || split[0] == '/' ? split : (m_Folder / split).string());
    reader->Read();
    return reader;
  }

  static std::string
  Joined(const std::vector<std::string> & lines)
  {
    std::string text;
    for (const std::string & line : lines)
    {
      text += line + '\n';
    }
    return text;
  }

  fs::path m_Folder;
};

void
ExpectAll(const std::string & text, const std::vector<std::string> & parts)
{
  for (const std::string & part : parts)
  {
    EXPECT_NE(text.find(part), std::string::npos) << part << " is not in:\n" << text;
  }
}
} // namespace

TEST_F(CohortReader, ReadsATable)
{
  for (const char * const file : { "a.nii", "b.nii", "c.nii", "d.nii", "e.nii" })
  {
    this->WriteImage(file);
  }
  this->WriteText("COHORT.csv",
                  "\xEF\xBB\xBF"
                  "case,T1,t1c,t2,flair,seg,grade,site,set,remark\r\n"
                  "one,a.nii,b.nii,c.nii,d.nii,e.nii,hgg,\"St. Mary, \"\"north\"\"\",Test,x\r\n\r\n");
  const auto reader = this->Read("COHORT.csv");
  EXPECT_EQ(Joined(reader->GetProblems()), "");
  ASSERT_EQ(reader->GetCases().size(), 1u);
  const itk::CohortCase & c = reader->GetCases()[0];
  EXPECT_EQ(c.Name, "one");
  EXPECT_EQ(c.Grade, "HGG");
  EXPECT_EQ(c.Set, "test");
  EXPECT_EQ(c.Site, "St. Mary, \"north\"");
  EXPECT_EQ(c.Sequences[3], (m_Folder / "d.nii").string());
  EXPECT_EQ(c.Tumour, (m_Folder / "e.nii").string());
  EXPECT_EQ(c.BrainMask, "");
  EXPECT_EQ(Joined(itk::CohortReader::FindImageProblems(c)), "");
}

TEST_F(CohortReader, ListsEveryProblemOfATable)
{
  for (const char * const file : { "a.nii", "b.nii", "c.nii", "d.nii", "e.nii" })
  {
    this->WriteImage(file);
  }
  this->WriteText("COHORT.csv",
                  "case,t1,t1c,t2,flair,seg,grade,set\n"
                  "one,a.nii,b.nii,c.nii,d.nii,e.nii,HGG,training\n"
                  "one,b.nii,a.nii,c.nii,d.nii,e.nii,HGG,test\n"
                  "../two,c.nii,b.nii,a.nii,d.nii,e.nii,II,dev\n"
                  "..,d.nii,b.nii,a.nii,gone.nii,e.nii,LGG,test\n"
                  "again,a.nii,b.nii,c.nii,d.nii,e.nii,LGG,test\n"
                  "more,e.nii,e.nii,c.nii,,e.nii,LGG,test,too,many\n");
  ExpectAll(Joined(this->Read("COHORT.csv")->GetProblems()),
            { "one occurs twice, in the sets training and test",
              "'../two'",
              "'II' is neither LGG nor HGG",
              "'dev' is none of",
              "'..'",
              "gone.nii",
              "one and again have the same T1",
              "t1 and t1c name the same file",
              "flair is empty",
              "10 fields for 8 columns" });
  ExpectAll(Joined(this->Read("nowhere.csv")->GetProblems()), { "nowhere.csv", "cannot be read" });
  this->WriteText("thin.csv", "case,t1,t1,t2\n");
  ExpectAll(Joined(this->Read("thin.csv")->GetProblems()), { "'t1' occurs twice", "'t1c' is missing" });
  EXPECT_EQ(itk::CohortReader::New()->GetProblems().size(), 0u);
}

TEST_F(CohortReader, AMaskIsNoSequence)
{
  for (const char * const file : { "a.nii", "b.nii", "c.nii", "d.nii", "e.nii" })
  {
    this->WriteImage(file);
  }
  this->WriteText("COHORT.csv",
                  "case,t1,t1c,t2,flair,brain_mask,seg\n"
                  "one,a.nii,b.nii,c.nii,d.nii,,sub/../b.nii\n"
                  "two,b.nii,a.nii,c.nii,d.nii,d.nii,e.nii\n"
                  "three,c.nii,a.nii,b.nii,d.nii,e.nii,e.nii\n");
  const auto reader = this->Read("COHORT.csv");
  EXPECT_EQ(reader->GetProblems().size(), 3u);
  ExpectAll(Joined(reader->GetProblems()),
            { "line 2: the columns t1c and seg name the same file",
              "line 3: the columns flair and brain_mask name the same file",
              "line 4: the columns brain_mask and seg name the same file" });
}

TEST_F(CohortReader, FindsAPatientUnderTwoNames)
{
  for (const char * const file : { "a.nii", "b.nii", "c.nii", "d.nii" })
  {
    this->WriteImage(file);
  }
  fs::create_symlink(m_Folder / "a.nii", m_Folder / "link.nii");
  this->WriteText("COHORT.csv",
                  "case,t1,t1c,t2,flair,set\n"
                  "Brats17_TCIA_1_1,a.nii,b.nii,c.nii,d.nii,training\n"
                  "Brats18_TCIA_1_1,b.nii,a.nii,c.nii,d.nii,test\n"
                  "other,link.nii,b.nii,c.nii,d.nii,test\n");
  const auto reader = this->Read("COHORT.csv");
  EXPECT_EQ(reader->GetProblems().size(), 2u);
  ExpectAll(Joined(reader->GetProblems()),
            { "Brats17_TCIA_1_1 and Brats18_TCIA_1_1 are one patient, in the sets training and test",
              "Brats17_TCIA_1_1 and other have the same T1, " + (m_Folder / "link.nii").string() });
}

TEST_F(CohortReader, APatientKeepsItsNameOverTheYears)
{
  EXPECT_EQ(itk::CohortReader::PatientOf("Brats17_TCIA_1_1"), "TCIA_1_1");
  EXPECT_EQ(itk::CohortReader::PatientOf("BraTS18_TCIA_1_1"), "TCIA_1_1");
  for (const char * const name : { "TCIA_1_1", "BraTS2021_00001", "Brats17_", "Brats1_A", "phantom-3018-1", "" })
  {
    EXPECT_EQ(itk::CohortReader::PatientOf(name), name);
  }
}

TEST_F(CohortReader, TellsWhatIsWrongWithTheImages)
{
  this->WriteImage("a.nii");
  this->WriteImage("b.nii", 1.5005); // a third of a thousandth of a voxel: within the tolerance
  this->WriteImage("c.nii", 1.6);
  this->WriteText("d.nii", "not an image");
  this->WriteImage("e.nii", 1.5, true);
  itk::CohortCase c;
  c.Name = "one";
  for (unsigned int i = 0; i < 4; ++i)
  {
    c.Sequences[i] = (m_Folder / (std::string(1, static_cast<char>('a' + i)) + ".nii")).string();
  }
  c.Tumour = (m_Folder / "e.nii").string();
  const std::vector<std::string> problems = itk::CohortReader::FindImageProblems(c);
  EXPECT_EQ(problems.size(), 3u);
  ExpectAll(Joined(problems),
            { "case one: the grid of c.nii (5x6x7 voxels of 1.6x1.6x2.5 mm",
              "that of a.nii",
              "d.nii (flair) cannot be read",
              "e.nii has no tumour" });
}

TEST_F(CohortReader, TellsOfImagesThatAreDamaged)
{
  for (const char * const file : { "a.nii", "b.nii", "c.nii", "d.nii", "e.nii" })
  {
    this->WriteImage(file);
  }
  itk::CohortCase c;
  c.Name = "one";
  for (unsigned int i = 0; i < 4; ++i)
  {
    c.Sequences[i] = (m_Folder / (std::string(1, static_cast<char>('a' + i)) + ".nii")).string();
  }
  c.Tumour = (m_Folder / "e.nii").string();
  EXPECT_EQ(Joined(itk::CohortReader::FindImageProblems(c)), "");
  fs::resize_file(c.Sequences[2], fs::file_size(c.Sequences[2]) - 10);
  using RealType = itk::Image<float, 3>;
  const auto reader = itk::ImageFileReader<RealType>::New();
  for (const std::string & path : { c.Sequences[1], c.Tumour })
  {
    reader->SetFileName(path);
    reader->Update();
    reader->GetOutput()->SetPixel({ { 3, 0, 1 } }, path == c.Tumour ? -1.0F : std::numeric_limits<float>::quiet_NaN());
    const auto writer = itk::ImageFileWriter<RealType>::New();
    writer->SetFileName(path);
    writer->SetInput(reader->GetOutput());
    writer->Update();
  }
  ExpectAll(Joined(itk::CohortReader::FindImageProblems(c)),
            { "b.nii (t1c) has 1 voxels that are not finite",
              "c.nii (t2) cannot be read: the file is cut off or damaged; get it again",
              "e.nii (seg): the voxel [3, 0, 1] is -1; a mask is 0 outside" });
  // With a mask of the brain nobody looks at what lies outside, but a mask is looked at.
  c.BrainMask = c.Sequences[1];
  c.Sequences[1] = c.Sequences[0];
  ExpectAll(Joined(itk::CohortReader::FindImageProblems(c)),
            { "b.nii (brain_mask): the voxel [3, 0, 1] is nan; a mask is 0 outside" });
}

TEST_F(CohortReader, ReadsBRATSFoldersAndTheirSplit)
{
  this->WriteSubject("HGG", "Brats18_CBICA_AAB_1");
  this->WriteSubject("HGG", "Brats17_2013_10_1");
  this->WriteSubject("LGG", "Brats17_TCIA_130_1");
  // The form of brats2017_subjects_sets.py, with a comment that names a set and a line that would be executed.
  this->WriteText("split.py",
                  "import os; os.remove('COHORT.csv')\n"
                  "def get_subjects(subset):\n"
                  "    if subset == 'Training':  # 'Test' ['nobody']\n"
                  "        subjects = {'HGG': ['Brats17_CBICA_AAB_1', \n"
                  "                            \"Brats17_CBICA_AAP_1\"],\n\n"
                  "                    'LGG': ['Brats17_TCIA_130_1']}\n"
                  "        return subjects\n"
                  "    elif subset == 'Test':\n"
                  "        subjects = {'HGG': ['Brats17_2013_10_1'], 'LGG': []}\n"
                  "    else:\n"
                  "        raise ValueError('Unrecognized subset:', subset)\n");
  const auto reader = this->Read(".", "split.py");
  EXPECT_EQ(Joined(reader->GetProblems()), "");
  ASSERT_EQ(reader->GetCases().size(), 3u);
  std::map<std::string, const itk::CohortCase *> cases;
  for (const itk::CohortCase & c : reader->GetCases())
  {
    cases[c.Name] = &c;
    EXPECT_EQ(Joined(itk::CohortReader::FindImageProblems(c)), "");
  }
  EXPECT_EQ(cases.at("Brats18_CBICA_AAB_1")->Set, "training");
  EXPECT_EQ(cases.at("Brats18_CBICA_AAB_1")->Grade, "HGG");
  EXPECT_EQ(cases.at("Brats18_CBICA_AAB_1")->Site, "CBICA");
  EXPECT_EQ(cases.at("Brats17_2013_10_1")->Set, "test");
  EXPECT_EQ(cases.at("Brats17_TCIA_130_1")->Set, "training");
  EXPECT_EQ(cases.at("Brats17_TCIA_130_1")->Grade, "LGG");
  EXPECT_EQ(fs::path(cases.at("Brats17_TCIA_130_1")->Sequences[1]).filename(), "Brats17_TCIA_130_1_t1ce.nii.gz");
  ASSERT_EQ(reader->GetNotes().size(), 1u);
  ExpectAll(reader->GetNotes()[0], { "1 of the 4 cases of split.py" });
}

TEST_F(CohortReader, ListsEveryProblemOfAFolderAndASplit)
{
  this->WriteSubject("HGG", "Brats17_CBICA_AAB_1");
  this->WriteSubject("HGG", "Brats17_TCIA_130_1");
  this->WriteSubject("LGG", "Brats17_TCIA_131_1");
  fs::remove(m_Folder / "LGG/Brats17_TCIA_131_1/Brats17_TCIA_131_1_t2.nii.gz");
  fs::create_directories(m_Folder / "LGG/a name");
  this->WriteText(
    "split.py",
    "'early': ['Brats17_2013_1_1'] 'Training' 'HGG': ['Brats17_CBICA_AAB_1'] 'LGG': ['Brats17_TCIA_130_1'] "
    "'Test' 'HGG': ['Brats17_CBICA_AAB_1']");
  ExpectAll(Joined(this->Read(".", "split.py")->GetProblems()),
            { "Brats17_2013_1_1 stands before any set",
              "Brats17_CBICA_AAB_1 is in two sets, training and test",
              "Brats17_TCIA_130_1 is HGG in",
              "Brats17_TCIA_131_1 is in no set",
              "Brats17_TCIA_131_1_t2.nii.gz does not exist",
              "'a name'" });
  ExpectAll(Joined(this->Read("LGG")->GetProblems()), { "neither HGG nor LGG" });
  this->WriteText("empty.py", "print('hello')\n");
  ExpectAll(Joined(this->Read(".", "empty.py")->GetProblems()), { "names no case" });
  ExpectAll(Joined(this->Read(".", "gone.py")->GetProblems()), { "gone.py' cannot be read" });
}

TEST_F(CohortReader, NoSetOfASplitIsMisread)
{
  this->WriteSubject("HGG", "Brats17_CBICA_AAB_1");
  this->WriteSubject("LGG", "Brats17_TCIA_130_1");
  for (const std::string key : { "Val", "Testing", "train", "hgg" })
  {
    const std::string name = key + ".py";
    this->WriteText(
      name, "{'Training': {'HGG': ['Brats17_CBICA_AAB_1']},\n '" + key + "' : {'LGG': ['Brats17_TCIA_130_1']}}\n");
    ExpectAll(Joined(this->Read(".", name)->GetProblems()), { name + ": '" + key + "' is neither a set" });
  }
  // A word before a colon that has no list means nothing.
  this->WriteText("main.py",
                  "'source': 'BRATS 2017'\nif subset == 'All': pass\n{'Training': {'HGG': ['Brats17_CBICA_AAB_1'], "
                  "'LGG': ['Brats17_TCIA_130_1']}}\nif __name__ == '__main__':\n  get('Training')\n");
  EXPECT_EQ(Joined(this->Read(".", "main.py")->GetProblems()), "");
}

TEST_F(CohortReader, ReadsTheAuthorsOwnSplit)
{
  const std::string split = RealTestDataFolder() + "/BRATS2017-split/brats2017_subjects_sets.py";
  if (!fs::exists(split))
  {
    GTEST_SKIP() << "the authors' split is not there: " << split;
  }
  // A table with every subject's name, taken by other means: whatever looks like one.
  std::ifstream     file(split);
  const std::string text{ std::istreambuf_iterator<char>(file), {} };
  std::string       rows = "case,t1,t1c,t2,flair\n";
  for (std::size_t at = text.find("Brats17_"); at != std::string::npos; at = text.find("Brats17_", at + 1))
  {
    const std::string name = text.substr(at, text.find('\'', at) - at);
    rows += name;
    for (int i = 0; i < 4; ++i)
    {
      this->WriteText(name + std::to_string(i), "");
      rows += ',' + name + std::to_string(i);
    }
    rows += '\n';
  }
  this->WriteText("COHORT.csv", rows);
  const auto reader = this->Read("COHORT.csv", split);
  EXPECT_EQ(Joined(reader->GetProblems()), "");
  EXPECT_TRUE(reader->GetNotes().empty());
  std::map<std::string, int> counts;
  for (const itk::CohortCase & c : reader->GetCases())
  {
    ++counts[c.Set + ' ' + c.Grade];
  }
  const std::map<std::string, int> expected{ { "training HGG", 126 },  { "training LGG", 45 }, { "validation HGG", 42 },
                                             { "validation LGG", 15 }, { "test HGG", 42 },     { "test LGG", 15 } };
  EXPECT_EQ(counts, expected);
}
