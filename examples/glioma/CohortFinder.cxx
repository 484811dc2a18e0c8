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
#include "CohortFinder.h"

#include "DicomSeries.h"
#include "itkCohortReader.h"
#include "itksys/SystemTools.hxx"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <stdexcept>

namespace glioma
{
namespace
{
namespace fs = std::filesystem;

constexpr auto &      roles = itk::CohortCase::SequenceNames;
constexpr std::size_t seg = 4;
constexpr std::size_t none = 5;

/** Which sequence BRATS means by a word: the words of 2017 to 2021 follow an underscore, those of 2023 a hyphen. */
std::size_t
SequenceOf(const std::string & word, char separator)
{
  static const std::array<std::array<const char *, 5>, 2> words{ { { { "t1", "t1ce", "t2", "flair", "seg" } },
                                                                   { { "t1n", "t1c", "t2w", "t2f", "seg" } } } };
  const auto &                                            known = words[separator == '_' ? 0 : 1];
  return static_cast<std::size_t>(std::find(known.begin(), known.end(), itksys::SystemTools::LowerCase(word)) -
                                  known.begin());
}

/** What a file's name says: the patient and the sequence; none: it is no name of BRATS. */
std::size_t
SplitName(const std::string & file, std::string & name)
{
  const std::string lower = itksys::SystemTools::LowerCase(file);
  for (const std::string & ending : { std::string(".nii.gz"), std::string(".nii") })
  {
    if (lower.size() > ending.size() && lower.compare(lower.size() - ending.size(), ending.size(), ending) == 0)
    {
      const std::string stem = file.substr(0, file.size() - ending.size());
      const auto        place = stem.find_last_of("_-");
      if (place == std::string::npos || place == 0)
      {
        return none;
      }
      name = stem.substr(0, place);
      return SequenceOf(stem.substr(place + 1), stem[place]);
    }
  }
  return none;
}

bool
IsDicom(const fs::path & file)
{
  std::ifstream stream(file, std::ios::binary);
  char          magic[4] = {};
  stream.seekg(128);
  return stream.read(magic, 4) && std::string(magic, 4) == "DICM";
}

std::vector<fs::path>
EntriesOf(const fs::path & folder)
{
  std::vector<fs::path> entries;
  for (const fs::directory_entry & entry : fs::directory_iterator(folder))
  {
    if (entry.path().filename().string().front() != '.')
    {
      entries.push_back(entry.path());
    }
  }
  std::sort(entries.begin(), entries.end());
  return entries;
}

bool
HoldsDicom(const fs::path & folder)
{
  const std::vector<fs::path> entries = EntriesOf(folder);
  return std::any_of(entries.begin(), entries.end(), [](const fs::path & entry) {
    return fs::is_regular_file(entry) && IsDicom(entry);
  });
}

/** BRATS 2017 sorts its patients into the folders HGG and LGG. */
std::string
GradeOf(const fs::path & folder)
{
  const std::string parent = folder.parent_path().filename().string();
  return parent == "HGG" || parent == "LGG" ? parent : std::string();
}

class Finder
{
public:
  void
  Search(const fs::path & folder)
  {
    std::map<std::string, std::array<std::vector<fs::path>, seg + 1>> files;
    std::vector<fs::path>                                             dicom;
    std::vector<fs::path>                                             others;
    for (const fs::path & entry : EntriesOf(folder))
    {
      if (fs::is_directory(entry))
      {
        // A link to a folder could lead in a circle.
        if (!fs::is_symlink(entry))
        {
          (HoldsDicom(entry) ? dicom : others).push_back(entry);
        }
        continue;
      }
      std::string       name;
      const std::size_t sequence = SplitName(entry.filename().string(), name);
      if (sequence != none)
      {
        files[name][sequence].push_back(entry);
      }
    }
    for (const auto & entry : files)
    {
      this->AddFiles(folder, entry.first, entry.second);
    }
    if (!dicom.empty())
    {
      this->AddSeries(folder, dicom);
    }
    for (const fs::path & other : others)
    {
      this->Search(other);
    }
  }

  std::vector<FoundCase>
  Take()
  {
    std::sort(m_Cases.begin(), m_Cases.end(), [](const FoundCase & a, const FoundCase & b) {
      return a.Name != b.Name ? a.Name < b.Name : a.Folder < b.Folder;
    });
    for (std::size_t i = 0; i < m_Cases.size(); ++i)
    {
      for (std::size_t j = 0; j < m_Cases.size(); ++j)
      {
        if (i != j && m_Cases[i].Name == m_Cases[j].Name)
        {
          m_Cases[i].Problems.push_back("is also in " + m_Cases[j].Folder + "; names must differ");
        }
      }
      if (!itk::CohortReader::IsPlainName(m_Cases[i].Name))
      {
        m_Cases[i].Problems.push_back("has another name than letters, digits, '.', '_' and '-'; rename it");
      }
    }
    return std::move(m_Cases);
  }

private:
  static void
  TakeOnly(FoundCase & found, const std::string & role, const std::vector<fs::path> & candidates, std::string & place)
  {
    if (candidates.size() == 1)
    {
      place = candidates.front().string();
      return;
    }
    std::string list;
    for (const fs::path & candidate : candidates)
    {
      list += (list.empty() ? "" : ", ") + candidate.filename().string();
    }
    found.Problems.push_back(candidates.empty() ? role + " is missing" : role + " is ambiguous: " + list);
  }

  void
  AddFiles(const fs::path & folder, const std::string & name, const std::array<std::vector<fs::path>, seg + 1> & files)
  {
    FoundCase found;
    found.Name = name;
    found.Folder = folder.string();
    found.Grade = GradeOf(folder);
    for (std::size_t i = 0; i < roles.size(); ++i)
    {
      TakeOnly(found, roles[i], files[i], found.Sequences[i]);
    }
    if (!files[seg].empty())
    {
      TakeOnly(found, "the segmentation", files[seg], found.Tumour);
    }
    m_Cases.push_back(found);
  }

  void
  AddSeries(const fs::path & folder, const std::vector<fs::path> & dicom)
  {
    FoundCase found;
    found.Name = folder.filename().string();
    found.Folder = folder.string();
    found.Grade = GradeOf(folder);
    std::array<std::vector<fs::path>, 4> candidates;
    for (const fs::path & series : dicom)
    {
      const std::string word = series.filename().string();
      const std::size_t sequence = std::min(SequenceOf(word, '_'), SequenceOf(word, '-'));
      if (sequence < seg)
      {
        candidates[sequence].push_back(series);
      }
      else
      {
        found.Problems.push_back("the DICOM folder " + word +
                                 " is called like no sequence; rename it to t1, t1c, t2 or flair, or take it away");
      }
    }
    for (std::size_t i = 0; i < roles.size(); ++i)
    {
      TakeOnly(found, roles[i], candidates[i], found.Sequences[i]);
      if (!found.Sequences[i].empty())
      {
        std::size_t number = 0;
        try
        {
          number = ListDicomSeries(found.Sequences[i]).size();
        }
        catch (const std::runtime_error & error)
        {
          found.Problems.push_back(std::string(roles[i]) + ": " + error.what());
          continue;
        }
        if (number != 1)
        {
          found.Problems.push_back(std::string(roles[i]) + " is ambiguous: its folder holds " + std::to_string(number) +
                                   " image series; leave one");
        }
      }
    }
    m_Cases.push_back(found);
  }

  std::vector<FoundCase> m_Cases;
};

/** A field of CSV. */
std::string
Field(const std::string & text)
{
  if (text.find_first_of(",\"\n") == std::string::npos)
  {
    return text;
  }
  std::string quoted = "\"";
  for (const char character : text)
  {
    quoted += character == '"' ? "\"\"" : std::string(1, character);
  }
  return quoted + '"';
}
} // namespace

std::vector<FoundCase>
FindCases(const std::string & folder)
{
  if (!fs::is_directory(folder))
  {
    throw std::runtime_error("There is no folder " + folder + "; give one that holds patients.");
  }
  Finder finder;
  finder.Search(fs::canonical(folder));
  return finder.Take();
}

std::string
WriteCohort(const std::vector<FoundCase> & cases, const std::string & folderOfTable)
{
  std::string    table = "case,t1,t1c,t2,flair,seg,grade\n";
  const fs::path base = fs::weakly_canonical(folderOfTable);
  const auto     relative = [&base](const std::string & path) {
    return path.empty() ? path : Field(fs::path(path).lexically_relative(base).generic_string());
  };
  for (const FoundCase & found : cases)
  {
    if (found.Problems.empty())
    {
      table += found.Name;
      for (const std::string & sequence : found.Sequences)
      {
        table += ',' + relative(sequence);
      }
      table += ',' + relative(found.Tumour) + ',' + found.Grade + '\n';
    }
  }
  return table;
}
} // namespace glioma
