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
#include "CohortCommand.h"

#include "CohortFinder.h"
#include "TerminalText.h"

#include "itkCohortReader.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <stdexcept>

namespace glioma
{
namespace
{
namespace fs = std::filesystem;

struct CohortOptions
{
  std::string folder;
  std::string split;
  std::string output;
  bool        force{ false };
};

/** Under a temporary name first: no table is seen half. */
void
WriteTable(const std::string & path, const std::string & text)
{
  const std::string temporary = path + ".part";
  std::ofstream     file(temporary, std::ios::binary);
  file << text;
  file.close();
  if (!file)
  {
    std::error_code ignored;
    fs::remove(temporary, ignored);
    throw std::runtime_error("Cannot write " + path + "; free some space, or choose another --output.");
  }
  std::error_code error;
  fs::rename(temporary, path, error);
  if (error)
  {
    std::error_code ignored;
    fs::remove(temporary, ignored);
    throw std::runtime_error("Cannot write " + path + " (" + error.message() + "); choose another --output.");
  }
}

/** Makes the folder of the table. */
fs::path
MakeFolderOf(const std::string & table)
{
  const fs::path  folder = fs::absolute(table).lexically_normal().parent_path();
  std::error_code error;
  fs::create_directories(folder, error);
  if (error)
  {
    throw std::runtime_error("Cannot make the folder " + folder.string() + " (" + error.message() +
                             "); free some space, or choose another --output.");
  }
  return folder;
}

std::string
Quoted(const std::string & field)
{
  if (field.find_first_of(",\"\n") == std::string::npos)
  {
    return field;
  }
  std::string quoted = "\"";
  for (const char c : field)
  {
    quoted += c == '"' ? "\"\"" : std::string(1, c);
  }
  return quoted + '"';
}

/** Checks a cohort whose sets a file or its own table says, and writes it with them: every problem at once, or the
 * table. */
void
WriteSplitCohort(const CohortOptions & options)
{
  const auto reader = itk::CohortReader::New();
  reader->SetPath(options.folder);
  reader->SetSplitFile(options.split);
  reader->Read();
  std::vector<std::string> problems = reader->GetProblems();
  for (const itk::CohortCase & c : reader->GetCases())
  {
    const std::vector<std::string> found = itk::CohortReader::FindImageProblems(c);
    problems.insert(problems.end(), found.begin(), found.end());
  }
  if (!problems.empty())
  {
    std::string text = "The cohort has " + std::to_string(problems.size()) + " problems:";
    for (const std::string & problem : problems)
    {
      text += "\n  " + problem;
    }
    throw std::runtime_error(text);
  }
  const fs::path                     folder = MakeFolderOf(options.output);
  std::map<std::string, std::size_t> counts;
  std::string                        table = "case,t1,t1c,t2,flair,brain_mask,seg,grade,site,set\n";
  for (const itk::CohortCase & c : reader->GetCases())
  {
    table += c.Name;
    for (const std::string & image :
         { c.Sequences[0], c.Sequences[1], c.Sequences[2], c.Sequences[3], c.BrainMask, c.Tumour })
    {
      table += ',' + Quoted(image.empty() ? image : fs::relative(image, folder).generic_string());
    }
    table += ',' + c.Grade + ',' + Quoted(c.Site) + ',' + c.Set + '\n';
    ++counts[c.Set + ' ' + c.Grade];
  }
  WriteTable(options.output, table);
  for (const auto & count : counts)
  {
    std::cout << count.first << ": " << count.second << '\n';
  }
  for (const std::string & note : reader->GetNotes())
  {
    std::cout << note << '\n';
  }
  std::cout << "File: " << options.output << std::endl;
}

/** A folder lists the links that lead nowhere too. */
void
RefuseLinksToNothing(FoundCase & found)
{
  std::vector<std::string> files(found.Sequences.begin(), found.Sequences.end());
  files.push_back(found.Tumour);
  for (const std::string & file : files)
  {
    std::error_code ignored;
    if (!file.empty() && !fs::exists(file, ignored))
    {
      found.Problems.push_back(fs::path(file).filename().string() +
                               " is a link to a file that is not there; get the file, or take the link away");
    }
  }
}

bool
FindCohort(const CohortOptions & options)
{
  if (fs::is_directory(options.output))
  {
    throw std::runtime_error("The output " + options.output + " is a folder; give the name of a table in it.");
  }
  if (fs::exists(options.output) && !options.force)
  {
    throw std::runtime_error("The file " + options.output + " exists; pass --force to replace it.");
  }
  std::error_code ignored;
  if (!options.split.empty() || fs::is_regular_file(options.folder, ignored))
  {
    WriteSplitCohort(options);
    return true;
  }
  std::vector<FoundCase> cases = FindCases(options.folder);
  for (FoundCase & found : cases)
  {
    RefuseLinksToNothing(found);
  }
  const auto complete =
    std::count_if(cases.begin(), cases.end(), [](const FoundCase & found) { return found.Problems.empty(); });
  for (const FoundCase & found : cases)
  {
    for (const std::string & problem : found.Problems)
    {
      std::cout << Shown(found.Name + ": " + problem) << '\n';
    }
  }
  if (cases.empty())
  {
    throw std::runtime_error("No patient was found in " + options.folder +
                             ": there is neither a name of BRATS nor a folder with one DICOM folder a sequence.");
  }
  std::cout << complete << " of " << cases.size() << " patients are complete\n";
  if (complete == 0)
  {
    return false;
  }
  const fs::path folder = MakeFolderOf(options.output);
  WriteTable(options.output, WriteCohort(cases, folder.string()));
  std::cout << "File: " << options.output << std::endl;
  return true;
}

int
RunCohort(const CohortOptions & options)
{
  try
  {
    const bool isFound = FindCohort(options);
    FlushStandardOutput();
    return isFound ? 0 : 1;
  }
  catch (const std::exception & error)
  {
    std::cerr << "glioma cohort: " << WithItsList(error) << std::endl;
    return 1;
  }
}
} // namespace

void
AddCohortCommand(CLI::App & application, int & exitCode)
{
  const auto       options = std::make_shared<CohortOptions>();
  CLI::App * const command =
    application.add_subcommand("cohort", "Find the patients in a folder and list what is missing or ambiguous");
  command
    ->add_option("folder",
                 options->folder,
                 "Names of BRATS 2017 to 2023, or one DICOM folder a sequence and patient; or a COHORT.csv to check")
    ->required();
  command->add_option("--split",
                      options->split,
                      "File that says each case's set, as brats2017_subjects_sets.py does: then the folder has the "
                      "layout of BRATS 2017, or is a COHORT.csv, and every problem is told at once");
  command->add_option("--output", options->output, "COHORT.csv of the complete patients")->required();
  command->add_flag("--force", options->force, "Replace the table of an earlier run");
  command->callback([options, &exitCode] { exitCode = RunCohort(*options); });
}
} // namespace glioma
