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

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <stdexcept>

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
    if (!force)
    {
      std::vector<std::string> all = names;
      all.insert(all.end(), obsolete.begin(), obsolete.end());
      for (const std::string & name : all)
      {
        if (fs::exists(target / name))
        {
          throw std::runtime_error("The output folder " + path + " holds " + name +
                                   " already; choose another --output, or pass --force to replace it.");
        }
      }
    }
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
  std::signal(SIGINT, RemoveTemporaryAndStop);
  std::signal(SIGTERM, RemoveTemporaryAndStop);
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
  const fs::path target = m_Path;
  if (!m_IntoExisting)
  {
    // Fails where someone else has made the folder meanwhile and put something into it.
    fs::rename(m_Temporary, target);
  }
  else
  {
    fs::remove(target / m_LastName);
    for (const std::string & name : m_Names)
    {
      if (name != m_LastName && fs::exists(this->PathOf(name)))
      {
        fs::rename(this->PathOf(name), target / name);
      }
      else if (name != m_LastName)
      {
        fs::remove(target / name);
      }
    }
    for (const std::string & name : m_Obsolete)
    {
      fs::remove(target / name);
    }
    if (fs::exists(this->PathOf(m_LastName)))
    {
      fs::rename(this->PathOf(m_LastName), target / m_LastName);
    }
  }
  this->RemoveTemporary();
}

void
OutputFolder::RemoveTemporary()
{
  toRemove.numberOfFiles = 0;
  toRemove.folder[0] = '\0';
  std::signal(SIGINT, SIG_DFL);
  std::signal(SIGTERM, SIG_DFL);
  if (!m_Temporary.empty())
  {
    std::error_code ignored;
    fs::remove_all(m_Temporary, ignored);
    m_Temporary.clear();
  }
}
} // namespace glioma
