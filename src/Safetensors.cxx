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
#include "Safetensors.h"

#include "DiskFlush.h"

#include "itkMacro.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <bit>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <limits>
#include <random>
#include <tuple>

static_assert(std::endian::native == std::endian::little, "safetensors files are little-endian");

namespace itk
{
namespace
{
constexpr std::uint64_t MaximumHeaderBytes = 16u << 20;
constexpr std::size_t   MaximumDimensions = 8;

struct TypeName
{
  const char *      Name;
  torch::ScalarType Type;
};
constexpr TypeName typeNames[] = { { "F32", torch::kFloat32 },   { "F64", torch::kFloat64 }, { "F16", torch::kFloat16 },
                                   { "BF16", torch::kBFloat16 }, { "I64", torch::kInt64 },   { "I32", torch::kInt32 },
                                   { "U8", torch::kUInt8 } };

struct Entry
{
  std::string          Name;
  torch::ScalarType    Type;
  std::vector<int64_t> Shape;
  std::uint64_t        Begin;
  std::uint64_t        End;
};

Entry
ParseEntry(const std::string & path, const std::string & name, const nlohmann::json & value)
{
  const auto refuse = [&](const std::string & why) {
    itkGenericExceptionMacro("The safetensors file '" << path << "' is damaged: tensor '" << name << "' " << why);
  };
  if (!value.is_object() || !value.contains("dtype") || !value["dtype"].is_string() || !value.contains("shape") ||
      !value["shape"].is_array() || !value.contains("data_offsets") || !value["data_offsets"].is_array() ||
      value["data_offsets"].size() != 2)
  {
    refuse("has no dtype, shape and data_offsets");
  }
  Entry             entry{};
  const std::string dtype = value["dtype"].get<std::string>();
  entry.Name = name;
  const auto * known =
    std::find_if(std::begin(typeNames), std::end(typeNames), [&](const TypeName & t) { return dtype == t.Name; });
  if (known == std::end(typeNames))
  {
    refuse("has the type '" + dtype + "', which is not read here");
  }
  entry.Type = known->Type;
  if (value["shape"].size() > MaximumDimensions)
  {
    refuse("has " + std::to_string(value["shape"].size()) + " dimensions");
  }
  std::uint64_t bytes = c10::elementSize(entry.Type);
  for (const auto & length : value["shape"])
  {
    if (!length.is_number_unsigned())
    {
      refuse("has a shape that is not made of whole numbers");
    }
    const auto n = length.get<std::uint64_t>();
    if (n > static_cast<std::uint64_t>(std::numeric_limits<int64_t>::max()) ||
        (n != 0 && bytes > static_cast<std::uint64_t>(std::numeric_limits<int64_t>::max()) / n))
    {
      refuse("has a shape whose size overflows");
    }
    bytes *= n;
    entry.Shape.push_back(static_cast<int64_t>(n));
  }
  for (const auto & offset : value["data_offsets"])
  {
    if (!offset.is_number_unsigned())
    {
      refuse("has data_offsets that are not whole numbers");
    }
  }
  entry.Begin = value["data_offsets"][0].get<std::uint64_t>();
  entry.End = value["data_offsets"][1].get<std::uint64_t>();
  if (entry.Begin > entry.End || entry.End - entry.Begin != bytes)
  {
    refuse("takes bytes " + std::to_string(entry.Begin) + " to " + std::to_string(entry.End) +
           ", but its shape needs " + std::to_string(bytes) + " bytes");
  }
  return entry;
}
} // namespace

std::map<std::string, torch::Tensor>
ReadSafetensors(const std::string & path)
{
  std::error_code     error;
  const std::uint64_t fileBytes = std::filesystem::file_size(path, error);
  std::ifstream       file(path, std::ios::binary);
  if (error || !file)
  {
    itkGenericExceptionMacro("The weights '" << path << "' cannot be opened");
  }
  unsigned char lengthBytes[8] = {};
  if (fileBytes < 8 || !file.read(reinterpret_cast<char *>(lengthBytes), 8))
  {
    itkGenericExceptionMacro("The safetensors file '" << path << "' is truncated: it has " << fileBytes << " bytes");
  }
  std::uint64_t headerBytes = 0;
  for (unsigned int i = 0; i < 8; ++i)
  {
    headerBytes |= std::uint64_t{ lengthBytes[i] } << (8 * i);
  }
  if (headerBytes > MaximumHeaderBytes)
  {
    itkGenericExceptionMacro("'" << path << "' is not a safetensors file: its header would have " << headerBytes
                                 << " bytes (at most " << MaximumHeaderBytes << " are read)");
  }
  if (headerBytes > fileBytes - 8)
  {
    itkGenericExceptionMacro("The safetensors file '" << path << "' is truncated: its header has " << headerBytes
                                                      << " bytes, the file " << fileBytes);
  }
  std::string header(headerBytes, '\0');
  if (!file.read(header.data(), static_cast<std::streamsize>(headerBytes)))
  {
    itkGenericExceptionMacro("Reading the header of '" << path << "' failed");
  }
  const nlohmann::json json = nlohmann::json::parse(header, nullptr, false);
  if (!json.is_object())
  {
    itkGenericExceptionMacro("'" << path << "' is not a safetensors file: its header is not a JSON object");
  }
  std::vector<Entry> entries;
  for (const auto & [name, value] : json.items())
  {
    if (name != "__metadata__")
    {
      entries.push_back(ParseEntry(path, name, value));
    }
  }
  // The format has neither overlaps nor holes.
  std::sort(entries.begin(), entries.end(), [](const Entry & a, const Entry & b) {
    return std::tie(a.Begin, a.End) < std::tie(b.Begin, b.End);
  });
  const std::uint64_t dataBytes = fileBytes - 8 - headerBytes;
  std::uint64_t       position = 0;
  for (const Entry & entry : entries)
  {
    if (entry.Begin != position)
    {
      itkGenericExceptionMacro("The safetensors file '" << path << "' is damaged: tensor '" << entry.Name
                                                        << "' begins at byte " << entry.Begin << " of the data, "
                                                        << (entry.Begin < position ? "inside" : "away from")
                                                        << " the one before, which ends at " << position);
    }
    position = entry.End;
  }
  if (position != dataBytes)
  {
    itkGenericExceptionMacro("The safetensors file '"
                             << path << "' is " << (position > dataBytes ? "truncated" : "damaged")
                             << ": its tensors need " << position << " bytes, it holds " << dataBytes);
  }
  std::map<std::string, torch::Tensor> tensors;
  for (const Entry & entry : entries)
  {
    torch::Tensor tensor = torch::empty(entry.Shape, torch::TensorOptions().dtype(entry.Type));
    file.seekg(static_cast<std::streamoff>(8 + headerBytes + entry.Begin));
    if (!file.read(static_cast<char *>(tensor.data_ptr()), static_cast<std::streamsize>(entry.End - entry.Begin)))
    {
      itkGenericExceptionMacro("Reading tensor '" << entry.Name << "' of '" << path << "' failed");
    }
    tensors.emplace(entry.Name, tensor);
  }
  return tensors;
}

void
WriteSafetensors(const std::string &                          path,
                 const std::map<std::string, torch::Tensor> & tensors,
                 const std::map<std::string, std::string> &   metadata)
{
  nlohmann::json             header = nlohmann::json::object();
  std::vector<torch::Tensor> data;
  std::uint64_t              position = 0;
  if (!metadata.empty())
  {
    header["__metadata__"] = metadata;
  }
  for (const auto & [name, tensor] : tensors)
  {
    const auto * known = std::find_if(
      std::begin(typeNames), std::end(typeNames), [&](const TypeName & t) { return tensor.scalar_type() == t.Type; });
    if (known == std::end(typeNames))
    {
      itkGenericExceptionMacro("Tensor '" << name << "' has a type that cannot be written to '" << path << "'");
    }
    data.push_back(tensor.detach().to(torch::kCPU).contiguous());
    const std::uint64_t bytes = data.back().nbytes();
    header[name] = { { "dtype", known->Name },
                     { "shape", tensor.sizes().vec() },
                     { "data_offsets", { position, position + bytes } } };
    position += bytes;
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');

  // A name of its own: trainings side by side may prepare the same case.
  const std::string temporary = path + '.' + std::to_string(std::random_device{}()) + ".part";
  {
    std::ofstream file(temporary, std::ios::binary | std::ios::trunc);
    char          lengthBytes[8];
    for (unsigned int i = 0; i < 8; ++i)
    {
      lengthBytes[i] = static_cast<char>((std::uint64_t{ text.size() } >> (8 * i)) & 255);
    }
    file.write(lengthBytes, 8);
    file.write(text.data(), static_cast<std::streamsize>(text.size()));
    for (const torch::Tensor & tensor : data)
    {
      file.write(static_cast<const char *>(tensor.const_data_ptr()), static_cast<std::streamsize>(tensor.nbytes()));
    }
    file.close();
    if (!file || !FlushToDisk(temporary))
    {
      std::remove(temporary.c_str());
      itkGenericExceptionMacro("The weights could not be written to '" << path
                                                                       << "': check the folder and the free space");
    }
  }
  std::error_code error;
  std::filesystem::rename(temporary, path, error);
  if (error)
  {
    std::remove(temporary.c_str());
    itkGenericExceptionMacro("'" << temporary << "' could not be renamed to '" << path << "': " << error.message());
  }
  FlushToDisk(std::filesystem::absolute(path).parent_path().string());
}

namespace
{
bool
IsCounter(const std::string & name)
{
  static const std::string counter = "num_batches_tracked";
  return name.size() >= counter.size() && name.compare(name.size() - counter.size(), counter.size(), counter) == 0;
}

/** Parameters and buffers themselves, not copies. */
std::map<std::string, torch::Tensor>
TensorsOfModule(const torch::nn::Module & module)
{
  std::map<std::string, torch::Tensor> tensors;
  for (const auto & item : module.named_parameters(true))
  {
    tensors.emplace(item.key(), item.value());
  }
  for (const auto & item : module.named_buffers(true))
  {
    if (!IsCounter(item.key()))
    {
      tensors.emplace(item.key(), item.value());
    }
  }
  return tensors;
}
} // namespace

std::map<std::string, torch::Tensor>
StateOfModule(const torch::nn::Module & module)
{
  std::map<std::string, torch::Tensor> state = TensorsOfModule(module);
  for (auto & item : state)
  {
    item.second = item.second.detach().to(torch::kCPU).contiguous().clone();
  }
  return state;
}

void
LoadStateIntoModule(torch::nn::Module &                          module,
                    const std::map<std::string, torch::Tensor> & state,
                    const std::string &                          path)
{
  torch::NoGradGuard noGradient;
  const auto         targets = TensorsOfModule(module);
  for (const auto & item : state)
  {
    if (targets.find(item.first) == targets.end() && !IsCounter(item.first))
    {
      itkGenericExceptionMacro("The weights '" << path << "' hold a tensor '" << item.first
                                               << "' that the network does not have");
    }
  }
  for (const auto & [name, target] : targets)
  {
    const auto found = state.find(name);
    if (found == state.end())
    {
      itkGenericExceptionMacro("The weights '" << path << "' lack the tensor '" << name << "'");
    }
    const torch::Tensor & source = found->second;
    if (source.sizes() != target.sizes() || !source.is_floating_point())
    {
      itkGenericExceptionMacro("The weights '" << path << "' hold '" << name << "' with shape " << source.sizes()
                                               << " of " << c10::toString(source.scalar_type())
                                               << ", the network needs " << target.sizes() << " of floats");
    }
    if (!torch::isfinite(source).all().item<bool>())
    {
      itkGenericExceptionMacro("The weights '" << path << "' hold NaN or infinity in '" << name << "'");
    }
    if (name.ends_with("running_var") && source.numel() > 0 && source.min().item<double>() < 0.0)
    {
      itkGenericExceptionMacro("The weights '" << path << "' hold a negative variance in '" << name << "'");
    }
    torch::Tensor(target).copy_(source);
  }
}
} // namespace itk
