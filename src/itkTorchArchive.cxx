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
#include "itkTorchArchive.h"

#include "itkMacro.h"

#include <caffe2/serialize/inline_container.h>
#include <nlohmann/json.hpp>

#include <cctype>
#include <map>
#include <sstream>

namespace itk
{
namespace
{
constexpr std::size_t MaximumModules = 4096;
constexpr std::size_t MaximumDepth = 64;
constexpr std::size_t MaximumSource = 16u << 20;

/** Attributes of the classes of a program that are modules or other classes: name and full type. */
using Attributes = std::vector<std::pair<std::string, std::string>>;

std::string
Text(caffe2::serialize::PyTorchStreamReader & reader, const std::string & record)
{
  if (reader.getRecordSize(record) > MaximumSource)
  {
    itkGenericExceptionMacro("its entry '" << record << "' has " << reader.getRecordSize(record) << " bytes, at most "
                                           << MaximumSource << " are read");
  }
  const auto [data, size] = reader.getRecord(record);
  return std::string(static_cast<const char *>(data.get()), size);
}

/** The first line of "NAME : TYPE" or of __annotations__["NAME"] = TYPE with a class of the program as type. */
bool
ReadAttribute(const std::string & line, std::string & name, std::string & type)
{
  const std::string quoted = "__annotations__[\"";
  std::size_t       before = line.find_first_not_of(' ');
  if (before == std::string::npos)
  {
    return false;
  }
  std::size_t after;
  if (line.compare(before, quoted.size(), quoted) == 0)
  {
    before += quoted.size();
    after = line.find("\"] = ", before);
    name = after == std::string::npos ? "" : line.substr(before, after - before);
    after += 5;
  }
  else
  {
    after = line.find(" : ", before);
    name = after == std::string::npos ? "" : line.substr(before, after - before);
    after += 3;
  }
  if (name.empty() || line.compare(after, 10, "__torch__.") != 0)
  {
    return false;
  }
  type = line.substr(after);
  while (!type.empty() && std::isspace(static_cast<unsigned char>(type.back())))
  {
    type.pop_back();
  }
  return true;
}

/** "code/__torch__/a/b.py" to "__torch__.a.b". */
std::string
PackageOf(const std::string & record)
{
  std::string package = record.substr(5, record.size() - 8);
  for (char & c : package)
  {
    c = c == '/' ? '.' : c;
  }
  return package;
}

std::string
LastName(const std::string & type)
{
  return type.substr(type.find_last_of('.') + 1);
}

void
ReadClasses(const std::string & package, const std::string & source, std::map<std::string, Attributes> & classes)
{
  std::istringstream lines(source);
  Attributes *       current = nullptr;
  for (std::string line; std::getline(lines, line);)
  {
    if (line.rfind("class ", 0) == 0)
    {
      current = &classes[package + "." + line.substr(6, line.find_first_of("(:", 6) - 6)];
    }
    else if (line.rfind("  def ", 0) == 0)
    {
      current = nullptr; // attributes stand before methods
    }
    std::string name;
    std::string type;
    if (current != nullptr && ReadAttribute(line, name, type))
    {
      current->emplace_back(name, type);
    }
  }
}

void
ListModules(const std::map<std::string, Attributes> & classes,
            const std::string &                       type,
            const std::string &                       path,
            std::size_t                               depth,
            std::vector<TorchArchive::Module> &       modules)
{
  const auto found = classes.find(type);
  if (found == classes.end() || depth > MaximumDepth)
  {
    return;
  }
  for (const auto & [name, of] : found->second)
  {
    if (modules.size() >= MaximumModules)
    {
      return;
    }
    const std::string inner = path.empty() ? name : path + "." + name;
    modules.push_back({ inner, LastName(of) });
    ListModules(classes, of, inner, depth + 1, modules);
  }
}

/** The class that the pickle's first instruction names, without interpreting it. */
std::string
ClassOfPickle(const std::string & pickle)
{
  // PROTO 2, then GLOBAL: c MODULE \n NAME \n
  if (pickle.size() < 4 || pickle[0] != '\x80' || pickle[2] != 'c')
  {
    return {};
  }
  const std::size_t first = pickle.find('\n');
  const std::size_t second = first == std::string::npos ? first : pickle.find('\n', first + 1);
  return second == std::string::npos ? std::string()
                                     : pickle.substr(3, first - 3) + "." + pickle.substr(first + 1, second - first - 1);
}
} // namespace

TorchArchive
TorchArchive::Read(const std::string & file)
{
  std::string message;
  try
  {
    caffe2::serialize::PyTorchStreamReader reader(file);
    TorchArchive                           archive;
    archive.Version = reader.version();
    std::map<std::string, Attributes> classes;
    std::string                       type;
    for (const std::string & record : reader.getAllRecords())
    {
      const auto endsWith = [&record](const std::string & end) {
        return record.size() > end.size() && record.compare(record.size() - end.size(), end.size(), end) == 0;
      };
      if (record.rfind("code/", 0) == 0 && endsWith(".py"))
      {
        const std::string source = Text(reader, record);
        archive.SourceBytes += source.size();
        if (archive.SourceBytes > MaximumSource)
        {
          itkGenericExceptionMacro("its program has more than " << MaximumSource << " bytes");
        }
        ReadClasses(PackageOf(record), source, classes);
      }
      else if (record.rfind("data/aotinductor/", 0) == 0)
      {
        if (endsWith("wrapper_metadata.json"))
        {
          const auto said = nlohmann::json::parse(Text(reader, record), nullptr, false);
          const auto text = [&said](const char * key) {
            const bool there = said.is_object() && said.contains(key) && said[key].is_string();
            return there ? said[key].get<std::string>() : std::string();
          };
          archive.CompiledDevice = text("AOTI_DEVICE_KEY");
          archive.InstructionSet = text("AOTI_CPU_ISA");
        }
        else if (endsWith(".so"))
        {
          archive.CompiledBytes += reader.getRecordSize(record);
        }
      }
      else if (record == "data.pkl")
      {
        type = ClassOfPickle(Text(reader, record));
      }
      else if (record.rfind("data/", 0) == 0 || (record.rfind("constants/", 0) == 0 && !endsWith(".pkl")))
      {
        ++archive.Tensors;
        archive.TensorBytes += reader.getRecordSize(record);
      }
    }
    if (classes.count(type) > 0)
    {
      archive.Class = LastName(type);
      ListModules(classes, type, "", 0, archive.Modules);
    }
    return archive;
  }
  catch (const c10::Error & error)
  {
    message = error.what_without_backtrace();
  }
  catch (const ExceptionObject & error)
  {
    message = error.GetDescription();
  }
  catch (const std::exception & error)
  {
    message = error.what();
  }
  itkGenericExceptionMacro("'" << file << "' is not an archive of torch: " << message);
}
} // namespace itk
