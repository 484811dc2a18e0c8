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

#include "itkImage.h"
#include "itkImageFileCheck.h"
#include "itkImageFileReader.h"
#include "itkImageIOFactory.h"
#include "itksys/SystemTools.hxx"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <utility>

namespace itk
{
namespace
{
namespace fs = std::filesystem;

const std::array<const char *, 4> sequenceColumns{ { "t1", "t1c", "t2", "flair" } };

std::string
Trimmed(const std::string & text)
{
  const char * const blanks = " \t\r\n";
  const std::size_t  first = text.find_first_not_of(blanks);
  return first == std::string::npos ? "" : text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

struct SplitEntry
{
  std::string Name;
  std::string Set;
  std::string Grade;
};

/** The strings of a Python file that lie in lists, with the set and the grade that were named last before them. What is
 * followed by a colon but is neither set nor grade, and has a list, goes into \a unknown. */
std::vector<SplitEntry>
ParseSplit(const std::string & text, std::vector<std::string> & unknown)
{
  std::vector<SplitEntry> entries;
  std::string             set;
  std::string             grade;
  std::string             other; // than set and grade; the last word before a colon
  int                     depth = 0;
  for (std::size_t i = 0; i < text.size(); ++i)
  {
    const char c = text[i];
    if (c == '#')
    {
      i = std::min(text.find('\n', i), text.size());
    }
    else if (c == '[' || c == ']')
    {
      depth += c == '[' ? 1 : -1;
    }
    else if (c == '\'' || c == '"')
    {
      const std::size_t end = text.find(c, i + 1);
      if (end == std::string::npos)
      {
        break;
      }
      const std::string word = text.substr(i + 1, end - i - 1);
      const std::string lower = itksys::SystemTools::LowerCase(word);
      if (depth > 0)
      {
        entries.push_back({ word, set, grade });
        if (!other.empty())
        {
          unknown.push_back(std::exchange(other, {}));
        }
      }
      else if (lower == "training" || lower == "validation" || lower == "test")
      {
        set = lower;
        grade.clear();
        other.clear(); // not at a grade, which may lie below it
      }
      else if (word == "HGG" || word == "LGG")
      {
        grade = word;
      }
      else if (text[std::min(text.find_first_not_of(" \t\r\n", end + 1), text.size())] == ':')
      {
        other = word;
      }
      i = end;
    }
  }
  return entries;
}

/** Size, spacing, origin and direction of a file's first three axes. */
struct FileGrid
{
  std::array<SizeValueType, 3>         Size{ { 1, 1, 1 } };
  std::array<double, 3>                Spacing{ { 1.0, 1.0, 1.0 } };
  std::array<double, 3>                Origin{ { 0.0, 0.0, 0.0 } };
  std::array<std::array<double, 3>, 3> Direction{};

  std::string
  Describe() const
  {
    std::ostringstream text;
    text << Size[0] << 'x' << Size[1] << 'x' << Size[2] << " voxels of " << Spacing[0] << 'x' << Spacing[1] << 'x'
         << Spacing[2] << " mm at " << Origin[0] << ", " << Origin[1] << ", " << Origin[2] << ", axes";
    for (const auto & axis : Direction)
    {
      text << " (" << axis[0] << ' ' << axis[1] << ' ' << axis[2] << ')';
    }
    return text.str();
  }
};

FileGrid
ReadGrid(const std::string & path)
{
  const auto io = ImageIOFactory::CreateImageIO(path.c_str(), ImageIOFactory::IOFileModeEnum::ReadMode);
  if (!io)
  {
    itkGenericExceptionMacro("no reader of ITK knows its format");
  }
  io->SetFileName(path);
  io->ReadImageInformation();
  if (io->GetNumberOfDimensions() < 3)
  {
    itkGenericExceptionMacro("it has " << io->GetNumberOfDimensions() << " axes, a volume has 3");
  }
  for (unsigned int axis = 3; axis < io->GetNumberOfDimensions(); ++axis)
  {
    if (io->GetDimensions(axis) != 1)
    {
      itkGenericExceptionMacro("it holds several volumes");
    }
  }
  FileGrid grid;
  for (unsigned int a = 0; a < 3; ++a)
  {
    grid.Size[a] = io->GetDimensions(a);
    grid.Spacing[a] = io->GetSpacing(a);
    grid.Origin[a] = io->GetOrigin(a);
    const std::vector<double> direction = io->GetDirection(a);
    std::copy_n(direction.begin(), 3, grid.Direction[a].begin());
  }
  return grid;
}

bool
IsSameGrid(const FileGrid & a, const FileGrid & b, double tolerance)
{
  bool same = a.Size == b.Size;
  for (unsigned int i = 0; i < 3; ++i)
  {
    const double voxel = std::abs(b.Spacing[i]);
    same = same && std::abs(a.Spacing[i] - b.Spacing[i]) <= tolerance * voxel &&
           std::abs(a.Origin[i] - b.Origin[i]) <= tolerance * voxel;
    for (unsigned int j = 0; j < 3; ++j)
    {
      same = same && std::abs(a.Direction[i][j] - b.Direction[i][j]) <= tolerance;
    }
  }
  return same;
}

/** ITK's message in one line. */
std::string
Reason(const ExceptionObject & error)
{
  std::string text = error.GetDescription();
  std::replace(text.begin(), text.end(), '\n', ' ');
  return Trimmed(text);
}
} // namespace

std::string
CohortReader::PatientOf(const std::string & name)
{
  const bool hasYear = name.size() > 8 && itksys::SystemTools::LowerCase(name.substr(0, 5)) == "brats" &&
                       std::isdigit(static_cast<unsigned char>(name[5])) != 0 &&
                       std::isdigit(static_cast<unsigned char>(name[6])) != 0 && name[7] == '_';
  return hasYear ? name.substr(8) : name;
}

bool
CohortReader::IsPlainName(const std::string & name)
{
  return !name.empty() && std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return std::isalnum(c) || c == '.' || c == '_' || c == '-';
  }) && name.find_first_not_of('.') != std::string::npos;
}

std::vector<std::string>
CohortReader::SplitLine(const std::string & line)
{
  std::vector<std::string> fields(1);
  bool                     quoted = false;
  for (std::size_t i = 0; i < line.size(); ++i)
  {
    const char c = line[i];
    if (quoted && c == '"' && i + 1 < line.size() && line[i + 1] == '"')
    {
      fields.back() += c;
      ++i;
    }
    else if (c == '"')
    {
      quoted = !quoted;
    }
    else if (c == ',' && !quoted)
    {
      fields.emplace_back();
    }
    else if (c != '\r')
    {
      fields.back() += c;
    }
  }
  for (std::string & field : fields)
  {
    field = Trimmed(field);
  }
  return fields;
}

void
CohortReader::Read()
{
  m_Cases.clear();
  m_Problems.clear();
  m_Notes.clear();
  std::error_code ignored;
  if (m_Path.empty())
  {
    m_Problems.push_back("No cohort is given");
    return;
  }
  if (fs::is_directory(m_Path, ignored))
  {
    this->ReadFolder();
  }
  else
  {
    this->ReadTable();
  }
  if (!m_SplitFile.empty())
  {
    this->ApplySplit();
  }
  const std::vector<std::string> repetitions = FindRepetitions(m_Cases);
  m_Problems.insert(m_Problems.end(), repetitions.begin(), repetitions.end());
}

void
CohortReader::ReadTable()
{
  std::ifstream file(m_Path);
  std::string   line;
  if (!file || !std::getline(file, line))
  {
    m_Problems.push_back("The cohort '" + m_Path +
                         "' cannot be read or is empty; its first line names the columns "
                         "case,t1,t1c,t2,flair,seg,grade");
    return;
  }
  if (line.compare(0, 3, "\xEF\xBB\xBF") == 0)
  {
    line.erase(0, 3);
  }
  std::map<std::string, std::size_t> column;
  const std::vector<std::string>     header = SplitLine(line);
  for (std::size_t i = 0; i < header.size(); ++i)
  {
    if (!column.emplace(itksys::SystemTools::LowerCase(header[i]), i).second)
    {
      m_Problems.push_back(m_Path + ": the column '" + header[i] + "' occurs twice");
    }
  }
  bool complete = true;
  for (const char * const needed : { "case", "t1", "t1c", "t2", "flair" })
  {
    if (column.count(needed) == 0)
    {
      m_Problems.push_back(m_Path + ": the column '" + needed + "' is missing");
      complete = false;
    }
  }
  if (!complete)
  {
    return;
  }
  const fs::path folder = fs::absolute(m_Path).parent_path();
  for (std::size_t number = 2; std::getline(file, line); ++number)
  {
    if (Trimmed(line).empty())
    {
      continue;
    }
    const std::vector<std::string> fields = SplitLine(line);
    const std::string              where = m_Path + " line " + std::to_string(number) + ": ";
    const auto                     field = [&](const std::string & name) {
      const auto found = column.find(name);
      return found == column.end() || found->second >= fields.size() ? std::string() : fields[found->second];
    };
    std::vector<std::string> problems;
    const auto               complaint = [&](const std::string & text) { problems.push_back(where + text); };
    const auto               pathOf = [&](const std::string & name) {
      const std::string value = field(name);
      if (value.empty())
      {
        return value;
      }
      const fs::path  full = (folder / value).lexically_normal();
      std::error_code error;
      if (!fs::exists(full, error))
      {
        complaint("the file of column " + name + " does not exist: " + full.string());
      }
      return full.string();
    };
    if (fields.size() > header.size())
    {
      complaint("has " + std::to_string(fields.size()) + " fields for " + std::to_string(header.size()) + " columns");
    }
    CohortCase c;
    c.Name = field("case");
    if (!IsPlainName(c.Name))
    {
      complaint("the case name '" + c.Name + "' may hold letters, digits, '.', '_' and '-' only");
    }
    std::vector<std::pair<std::string, std::string>> files; // column and path
    const auto                                       take = [&](const std::string & name) {
      const std::string path = pathOf(name);
      for (const auto & other : files)
      {
        if (!path.empty() && path == other.second)
        {
          complaint("the columns " + other.first + " and " + name + " name the same file");
        }
      }
      files.emplace_back(name, path);
      return path;
    };
    for (unsigned int i = 0; i < 4; ++i)
    {
      c.Sequences[i] = take(sequenceColumns[i]);
      if (c.Sequences[i].empty())
      {
        complaint(std::string("the column ") + sequenceColumns[i] + " is empty");
      }
    }
    c.BrainMask = take("brain_mask");
    c.Tumour = take("seg");
    c.Grade = field("grade");
    std::transform(c.Grade.begin(), c.Grade.end(), c.Grade.begin(), [](unsigned char ch) { return std::toupper(ch); });
    if (!c.Grade.empty() && c.Grade != "LGG" && c.Grade != "HGG")
    {
      complaint("the grade '" + c.Grade + "' is neither LGG nor HGG");
    }
    c.Site = field("site");
    c.Set = itksys::SystemTools::LowerCase(field("set"));
    if (!c.Set.empty() && c.Set != "training" && c.Set != "validation" && c.Set != "test")
    {
      complaint("the set '" + c.Set + "' is none of training, validation and test");
    }
    c.File = m_Path;
    this->AddProblemsOf(c, problems);
    m_Cases.push_back(std::move(c));
  }
  if (m_Cases.empty())
  {
    m_Problems.push_back("The cohort '" + m_Path + "' holds no case");
  }
}

void
CohortReader::AddProblemsOf(const CohortCase & cohortCase, const std::vector<std::string> & problems)
{
  const auto holds = [](const std::vector<std::string> & list, const std::string & value) {
    return !value.empty() && std::find(list.begin(), list.end(), value) != list.end();
  };
  if (!holds(m_LeftOutCases, cohortCase.Name) && !holds(m_LeftOutSites, cohortCase.Site))
  {
    m_Problems.insert(m_Problems.end(), problems.begin(), problems.end());
  }
}

void
CohortReader::ReadFolder()
{
  const fs::path  root = fs::absolute(m_Path).lexically_normal();
  std::error_code error;
  bool            found = false;
  for (const char * const grade : { "HGG", "LGG" })
  {
    const fs::path folder = root / grade;
    if (!fs::is_directory(folder, error))
    {
      continue;
    }
    found = true;
    std::vector<fs::path> folders;
    for (const fs::directory_entry & entry : fs::directory_iterator(folder))
    {
      const std::string name = entry.path().filename().string();
      if (entry.is_directory() && name[0] != '.')
      {
        folders.push_back(entry.path());
      }
    }
    std::sort(folders.begin(), folders.end());
    for (const fs::path & path : folders)
    {
      std::vector<std::string> problems;
      CohortCase               c;
      c.Name = path.filename().string();
      c.Grade = grade;
      c.File = m_Path;
      if (!IsPlainName(c.Name))
      {
        problems.push_back(folder.string() + ": the case name '" + c.Name +
                           "' may hold letters, digits, '.', '_' and '-' only");
      }
      const auto fileOf = [&](const std::string & suffix) {
        for (const char * const ending : { ".nii.gz", ".nii" })
        {
          const fs::path file = path / (c.Name + '_' + suffix + ending);
          if (fs::exists(file))
          {
            return file.string();
          }
        }
        problems.push_back("case " + c.Name + ": " + (path / (c.Name + '_' + suffix + ".nii.gz")).string() +
                           " does not exist");
        return std::string();
      };
      const std::array<const char *, 4> suffixes{ { "t1", "t1ce", "t2", "flair" } };
      for (unsigned int i = 0; i < 4; ++i)
      {
        c.Sequences[i] = fileOf(suffixes[i]);
      }
      c.Tumour = fileOf("seg");
      const std::size_t first = c.Name.find('_');
      if (first != std::string::npos)
      {
        c.Site = c.Name.substr(first + 1, c.Name.find('_', first + 1) - first - 1);
      }
      this->AddProblemsOf(c, problems);
      m_Cases.push_back(std::move(c));
    }
  }
  if (!found)
  {
    m_Problems.push_back("The folder '" + m_Path +
                         "' has neither HGG nor LGG in it: name the folder that holds both, or a COHORT.csv");
  }
  else if (m_Cases.empty())
  {
    m_Problems.push_back("The folders HGG and LGG of '" + m_Path + "' hold no case");
  }
}

std::vector<std::string>
CohortReader::FindRepetitions(const std::vector<CohortCase> & cases)
{
  std::vector<std::string>                  problems;
  std::map<std::string, const CohortCase *> byPatient;
  std::map<std::string, const CohortCase *> byFile;
  const auto orNone = [](const std::string & set) { return set.empty() ? "(none)" : set; };
  for (const CohortCase & c : cases)
  {
    // A pair is named where both are, which within one cohort is said first.
    const auto both = [&c](const CohortCase & other) {
      return other.File == c.File
               ? c.File + ": the cases " + other.Name + " and " + c.Name
               : "The cases " + other.Name + " in " + other.File + " and " + c.Name + " in " + c.File;
    };
    const auto patient = byPatient.emplace(PatientOf(c.Name), &c);
    if (!patient.second)
    {
      const CohortCase & other = *patient.first->second;
      const std::string  found = other.Name != c.Name ? both(other) + " are one patient"
                                 : other.File != c.File
                                   ? "The case " + c.Name + " occurs twice, in " + other.File + " and " + c.File
                                   : c.File + ": the case " + c.Name + " occurs twice";
      problems.push_back(found + (other.Set != c.Set ? ", in the sets " + orNone(other.Set) + " and " + orNone(c.Set)
                                  : other.Grade != c.Grade
                                    ? ", as " + orNone(other.Grade) + " and as " + orNone(c.Grade)
                                    : ""));
      continue;
    }
    std::error_code   ignored;
    const std::string path = fs::weakly_canonical(c.Sequences[0], ignored).string();
    const auto        file = byFile.emplace(path.empty() ? c.Sequences[0] : path, &c);
    if (!file.second && !c.Sequences[0].empty())
    {
      problems.push_back(both(*file.first->second) + " have the same T1, " + c.Sequences[0]);
    }
  }
  return problems;
}

void
CohortReader::ApplySplit()
{
  std::ifstream file(m_SplitFile, std::ios::binary);
  if (!file)
  {
    m_Problems.push_back("The split '" + m_SplitFile + "' cannot be read");
    return;
  }
  std::ostringstream text;
  text << file.rdbuf();
  std::vector<std::string>      unknown;
  const std::vector<SplitEntry> entries = ParseSplit(text.str(), unknown);
  for (const std::string & key : unknown)
  {
    m_Problems.push_back(m_SplitFile + ": '" + key +
                         "' is neither a set (Training, Validation, Test) nor a grade (HGG, LGG); rename it");
  }
  if (entries.empty())
  {
    m_Problems.push_back("The split '" + m_SplitFile +
                         "' names no case; it holds 'Training', 'Validation' or 'Test' and then lists of names "
                         "'HGG': [...], 'LGG': [...]");
    return;
  }
  std::map<std::string, const SplitEntry *> sets;
  for (const SplitEntry & entry : entries)
  {
    if (entry.Set.empty())
    {
      m_Problems.push_back(m_SplitFile + ": the case " + entry.Name + " stands before any set");
      continue;
    }
    const auto known = sets.emplace(PatientOf(entry.Name), &entry);
    if (!known.second)
    {
      const SplitEntry & other = *known.first->second;
      m_Problems.push_back(m_SplitFile + ": the case " + entry.Name +
                           (other.Set != entry.Set ? " is in two sets, " + other.Set + " and " + entry.Set
                                                   : " occurs twice in the set " + entry.Set));
    }
  }
  std::size_t present = 0;
  for (CohortCase & c : m_Cases)
  {
    const auto found = sets.find(PatientOf(c.Name));
    if (found == sets.end())
    {
      m_Problems.push_back("The case " + c.Name + " is in no set of " + m_SplitFile);
      continue;
    }
    ++present;
    const SplitEntry & entry = *found->second;
    if (!c.Set.empty() && c.Set != entry.Set)
    {
      m_Problems.push_back("The case " + c.Name + " is in two sets: " + c.Set + " in " + c.File + ", " + entry.Set +
                           " in " + m_SplitFile);
    }
    if (!c.Grade.empty() && !entry.Grade.empty() && c.Grade != entry.Grade)
    {
      m_Problems.push_back("The case " + c.Name + " is " + c.Grade + " in " + c.File + " and " + entry.Grade + " in " +
                           m_SplitFile);
    }
    c.Set = entry.Set;
    if (c.Grade.empty())
    {
      c.Grade = entry.Grade;
    }
  }
  if (present < sets.size())
  {
    m_Notes.push_back(std::to_string(sets.size() - present) + " of the " + std::to_string(sets.size()) + " cases of " +
                      fs::path(m_SplitFile).filename().string() + " are not in the cohort.");
  }
}

std::vector<std::string>
CohortReader::FindImageProblems(const CohortCase & cohortCase, double tolerance)
{
  std::vector<std::string>                     problems;
  const std::string                            where = "case " + cohortCase.Name + ": ";
  FileGrid                                     reference;
  std::string                                  referenceName;
  std::vector<std::pair<SizeValueType, float>> notFinite; // of the file that was checked last
  const auto                                   check = [&](const std::string & path, const std::string & column) {
    std::error_code ignored;
    if (path.empty() || !fs::is_regular_file(path, ignored))
    {
      return false;
    }
    try
    {
      notFinite = ImageFileCheck::FindNonFiniteVoxels(path);
      // Outside the brain nobody looks at them; masks are read below.
      const bool isMask = path == cohortCase.BrainMask || path == cohortCase.Tumour;
      if (!notFinite.empty() && cohortCase.BrainMask.empty() && !isMask)
      {
        problems.push_back(where + path + " (" + column + ") has " + std::to_string(notFinite.size()) +
                           " voxels that are not finite");
      }
      const FileGrid grid = ReadGrid(path);
      if (referenceName.empty())
      {
        reference = grid;
        referenceName = fs::path(path).filename().string();
      }
      else if (!IsSameGrid(grid, reference, tolerance))
      {
        problems.push_back(where + "the grid of " + fs::path(path).filename().string() + " (" + grid.Describe() +
                           ") is not that of " + referenceName + " (" + reference.Describe() + ")");
      }
      return true;
    }
    catch (const ExceptionObject & error)
    {
      problems.push_back(where + path + " (" + column + ") cannot be read: " + Reason(error));
      return false;
    }
  };
  for (unsigned int i = 0; i < 4; ++i)
  {
    check(cohortCase.Sequences[i], sequenceColumns[i]);
  }
  for (const auto & mask :
       { std::make_pair(cohortCase.BrainMask, "brain_mask"), std::make_pair(cohortCase.Tumour, "seg") })
  {
    if (!check(mask.first, mask.second))
    {
      continue;
    }
    try
    {
      using ImageType = Image<float, 3>;
      const auto reader = ImageFileReader<ImageType>::New();
      reader->SetFileName(mask.first);
      reader->Update();
      ImageType * const image = reader->GetOutput();
      ImageFileCheck::Restore(notFinite, image);
      const std::string   problem = ImageFileCheck::FindMaskProblem(image);
      const float * const voxels = image->GetBufferPointer();
      if (!problem.empty())
      {
        problems.push_back(where + mask.first + " (" + mask.second + "): " + problem);
      }
      else if (mask.first == cohortCase.Tumour && std::none_of(voxels,
                                                               voxels + image->GetBufferedRegion().GetNumberOfPixels(),
                                                               [](float v) { return v > 0.0F; }))
      {
        problems.push_back(where + "the mask " + mask.first + " has no tumour (no label above 0)");
      }
    }
    catch (const ExceptionObject & error)
    {
      problems.push_back(where + mask.first + " (" + mask.second + ") cannot be read: " + Reason(error));
    }
  }
  return problems;
}

void
CohortReader::PrintSelf(std::ostream & os, Indent indent) const
{
  Superclass::PrintSelf(os, indent);
  os << indent << "Path: " << m_Path << '\n';
  os << indent << "SplitFile: " << m_SplitFile << '\n';
  os << indent << "LeftOutCases: " << m_LeftOutCases.size() << '\n';
  os << indent << "LeftOutSites: " << m_LeftOutSites.size() << '\n';
  os << indent << "Cases: " << m_Cases.size() << '\n';
  os << indent << "Problems: " << m_Problems.size() << '\n';
  os << indent << "Notes: " << m_Notes.size() << '\n';
}
} // namespace itk
