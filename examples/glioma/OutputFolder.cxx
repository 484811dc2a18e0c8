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
#include "OutputFolder.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <stdexcept>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

namespace glioma
{
namespace
{
namespace fs = std::filesystem;

// What the signal handler removes: only functions that are safe in a handler may touch it.
constexpr std::size_t maximumPaths = 64;
constexpr std::size_t maximumLength = 4096;
struct
{
  std::array<std::array<char, maximumLength>, maximumPaths> files;
  std::array<char, maximumLength>                           folder;
  volatile std::sig_atomic_t                                numberOfFiles;
} toRemove;

extern "C" void
RemoveTemporaryAndStop(int signalNumber)
{
  // Another thread may be writing: once more, until nothing new is there.
  for (int attempt = 0; attempt < 3; ++attempt)
  {
    for (std::sig_atomic_t i = 0; i < toRemove.numberOfFiles; ++i)
    {
      unlink(toRemove.files[static_cast<std::size_t>(i)].data());
    }
    if (toRemove.folder[0] == '\0' || rmdir(toRemove.folder.data()) == 0)
    {
      break;
    }
  }
  std::signal(signalNumber, SIG_DFL);
  std::raise(signalNumber);
}

constexpr std::array<int, 4>              signals{ { SIGHUP, SIGINT, SIGPIPE, SIGTERM } };
std::array<void (*)(int), signals.size()> handlersBefore{}; // SIG_DFL is a null pointer
bool                                      areCaught = false;

/** What is ignored stays so: nohup asks for that. */
void
CatchSignals()
{
  areCaught = true;
  for (std::size_t i = 0; i < signals.size(); ++i)
  {
    handlersBefore[i] = std::signal(signals[i], RemoveTemporaryAndStop);
    if (handlersBefore[i] == SIG_IGN)
    {
      std::signal(signals[i], SIG_IGN);
    }
  }
}

void
LeaveSignals()
{
  for (std::size_t i = 0; areCaught && i < signals.size(); ++i)
  {
    if (handlersBefore[i] != SIG_ERR)
    {
      std::signal(signals[i], handlersBefore[i]);
    }
  }
}

void
CopyPath(const std::string & path, std::array<char, maximumLength> & to)
{
  if (path.size() + 1 > to.size())
  {
    throw std::runtime_error("The path " + path + " is too long.");
  }
  std::memcpy(to.data(), path.c_str(), path.size() + 1);
}

// A full disk may be told only when the kernel writes for good.
void
FlushToDisk(const fs::path & path)
{
  const int descriptor = open(path.c_str(), O_RDONLY);
  if (descriptor < 0 || fsync(descriptor) != 0)
  {
    const std::string reason = std::strerror(errno);
    if (descriptor >= 0)
    {
      close(descriptor);
    }
    throw std::runtime_error("Cannot write " + path.filename().string() + ": " + reason +
                             ". Free some space, or choose another --output.");
  }
  close(descriptor);
}
} // namespace

OutputFolder::OutputFolder(const std::string &              path,
                           const std::vector<std::string> & names,
                           const std::vector<std::string> & obsolete,
                           const std::string &              lastName,
                           bool                             force)
  : m_Names(names)
  , m_Obsolete(obsolete)
  , m_LastName(lastName)
  , m_Force(force)
{
  if (path.empty())
  {
    throw std::runtime_error("The output folder has no name; give --output FOLDER.");
  }
  fs::path target = fs::absolute(path).lexically_normal();
  if (!target.has_filename())
  {
    target = target.parent_path();
  }
  m_Path = target.string();

  std::error_code error;
  if (fs::exists(target, error))
  {
    if (!fs::is_directory(target))
    {
      throw std::runtime_error("The output " + path + " is a file, not a folder; choose another --output.");
    }
    m_IntoExisting = true;
    std::vector<std::string> all = names;
    all.insert(all.end(), obsolete.begin(), obsolete.end());
    for (const std::string & name : all)
    {
      const fs::file_status there = fs::symlink_status(target / name, error);
      if (fs::is_directory(there))
      {
        throw std::runtime_error("The output folder " + path + " holds a folder " + name +
                                 ", where a file goes; take it away, or choose another --output.");
      }
      if (!force && fs::exists(there))
      {
        throw std::runtime_error("The output folder " + path + " holds " + name +
                                 " already; choose another --output, or pass --force to replace it.");
      }
    }
  }
  else if (fs::exists(fs::symlink_status(target, error)))
  {
    throw std::runtime_error("The output " + path +
                             " is a link to nothing; make its folder, or choose another --output.");
  }
  const fs::path parent = m_IntoExisting ? target : target.parent_path();
  fs::create_directories(parent, error);
  if (error)
  {
    throw std::runtime_error("Cannot make the folder " + parent.string() + ": " + error.message() +
                             ". Choose another --output.");
  }

  if (m_Names.size() > maximumPaths)
  {
    throw std::runtime_error("Too many output files.");
  }
  // The handler stands before the folder does, and mkdtemp writes the name where the handler reads it: no signal is too
  // early.
  toRemove.numberOfFiles = 0;
  CopyPath((parent / ("." + target.filename().string() + ".partial-XXXXXX")).string(), toRemove.folder);
  CatchSignals();
  if (mkdtemp(toRemove.folder.data()) == nullptr)
  {
    const std::string reason = std::strerror(errno);
    this->RemoveTemporary();
    throw std::runtime_error("Cannot write into " + parent.string() + ": " + reason + ". Choose another --output.");
  }
  m_Temporary = toRemove.folder.data();
  fs::permissions(m_Temporary,
                  fs::perms::owner_all | fs::perms::group_read | fs::perms::group_exec | fs::perms::others_read |
                    fs::perms::others_exec,
                  error);

  for (std::size_t i = 0; i < m_Names.size(); ++i)
  {
    CopyPath(this->PathOf(m_Names[i]), toRemove.files[i]);
  }
  toRemove.numberOfFiles = static_cast<std::sig_atomic_t>(m_Names.size());
}

OutputFolder::~OutputFolder()
{
  this->RemoveTemporary();
}

std::string
OutputFolder::PathOf(const std::string & name) const
{
  return (fs::path(m_Temporary) / name).string();
}

void
OutputFolder::Commit()
{
  for (const fs::directory_entry & entry : fs::directory_iterator(m_Temporary))
  {
    FlushToDisk(entry.path());
  }
  if (m_IntoExisting)
  {
    this->CommitEach();
  }
  else
  {
    std::error_code error;
    fs::rename(m_Temporary, m_Path, error);
    std::error_code ignored;
    if (error && m_Force && fs::is_directory(m_Path, ignored))
    {
      this->CommitEach();
    }
    else if (error)
    {
      // Another run was faster.
      throw std::runtime_error(
        "Cannot put the results into " + m_Path + " (" + error.message() +
        "), which was not there before; choose another --output, or pass --force to replace what "
        "is there now.");
    }
  }
  this->RemoveTemporary();
}

void
OutputFolder::CommitEach()
{
  const fs::path           target = m_Path;
  const fs::path           written = m_Temporary;
  const fs::path           earlier = written / "earlier";
  std::vector<std::string> all = m_Names;
  all.insert(all.end(), m_Obsolete.begin(), m_Obsolete.end());
  std::stable_partition(all.begin(), all.end(), [this](const std::string & name) { return name == m_LastName; });

  // A few renames: no signal shall come between them.
  for (const int number : signals)
  {
    std::signal(number, SIG_IGN);
  }
  std::vector<std::pair<fs::path, fs::path>> done;
  const auto                                 move = [&done](const fs::path & from, const fs::path & to) {
    fs::rename(from, to);
    done.emplace_back(from, to);
  };
  try
  {
    fs::create_directory(earlier);
    for (const std::string & name : all)
    {
      const fs::file_status there = fs::symlink_status(target / name);
      if (fs::is_directory(there))
      {
        // Made while we ran.
        throw fs::filesystem_error("", target / name, std::make_error_code(std::errc::is_a_directory));
      }
      if (fs::exists(there))
      {
        move(target / name, earlier / name);
      }
    }
    for (auto name = all.rbegin(); name != all.rend(); ++name)
    {
      if (fs::exists(written / *name))
      {
        move(written / *name, target / *name);
      }
    }
  }
  catch (const fs::filesystem_error & error)
  {
    std::error_code ignored;
    for (auto step = done.rbegin(); step != done.rend(); ++step)
    {
      fs::rename(step->second, step->first, ignored);
    }
    throw std::runtime_error("Cannot put the results into " + m_Path + " (" + error.code().message() + ": " +
                             error.path1().filename().string() +
                             "), where all is as before; check its rights, or choose another --output.");
  }
}

void
OutputFolder::RemoveTemporary()
{
  toRemove.numberOfFiles = 0;
  toRemove.folder[0] = '\0';
  LeaveSignals();
  areCaught = false;
  if (!m_Temporary.empty())
  {
    std::error_code ignored;
    fs::remove_all(m_Temporary, ignored);
    m_Temporary.clear();
  }
}
} // namespace glioma
