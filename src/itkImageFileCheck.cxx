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

#include "itkMacro.h"
#include "itk_zlib.h"
#include "itksys/SystemTools.hxx"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>
#include <memory>
#include <sstream>

namespace itk
{
namespace
{
namespace fs = std::filesystem;

[[noreturn]] void
Refuse(const std::string & reason)
{
  throw ExceptionObject(__FILE__, __LINE__, reason, ITK_LOCATION);
}

[[noreturn]] void
RefuseDamaged()
{
  Refuse("the file is cut off or damaged; get it again");
}

std::string
Trimmed(const std::string & text)
{
  const std::size_t first = text.find_first_not_of(" \t\r");
  return first == std::string::npos ? "" : text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

// Bytes of a file, decompressed where they are. gzread() does not always come to the sum at the end.
class ByteStream
{
public:
  ByteStream(const ByteStream &) = delete;
  ByteStream &
  operator=(const ByteStream &) = delete;

  /** Compressed: by zlib or gzip from \a place on; else by gzip where the file begins so. */
  explicit ByteStream(const std::string & path, std::uint64_t place = 0, bool isCompressed = false)
    : m_File(path, std::ios::binary)
    , m_From(std::size_t{ 1 } << 16)
  {
    std::array<char, 2> mark{};
    m_File.read(mark.data(), mark.size());
    m_IsCompressed = isCompressed || (m_File && mark[0] == '\x1f' && mark[1] == '\x8b');
    m_File.clear();
    m_File.seekg(static_cast<std::streamoff>(place));
    // Either header, zlib's or gzip's.
    if (m_IsCompressed && inflateInit2(&m_State, 32 + MAX_WBITS) != Z_OK)
    {
      Refuse("there is no memory to check it");
    }
  }

  ~ByteStream()
  {
    if (m_IsCompressed)
    {
      inflateEnd(&m_State);
    }
  }

  /** How many of so many bytes there are; fewer at the end, or where they are damaged. */
  std::size_t
  Read(unsigned char * to, std::size_t number)
  {
    if (!m_IsCompressed)
    {
      m_File.read(reinterpret_cast<char *>(to), static_cast<std::streamsize>(number));
      return static_cast<std::size_t>(m_File.gcount());
    }
    m_State.next_out = to;
    m_State.avail_out = static_cast<uInt>(number);
    while (m_State.avail_out > 0 && !m_IsDamaged)
    {
      if (m_State.avail_in == 0)
      {
        m_File.read(m_From.data(), static_cast<std::streamsize>(m_From.size()));
        m_State.next_in = reinterpret_cast<Bytef *>(m_From.data());
        m_State.avail_in = static_cast<uInt>(m_File.gcount());
      }
      if (m_IsEnded)
      {
        // gzip's parts may follow each other; what else follows is nobody's.
        if (m_State.avail_in == 0 || *m_State.next_in != 0x1f)
        {
          break;
        }
        inflateReset(&m_State);
      }
      // Without input too: it may hold some.
      const int status = inflate(&m_State, Z_NO_FLUSH);
      m_IsEnded = status == Z_STREAM_END;
      m_IsDamaged = status != Z_OK && !m_IsEnded;
    }
    return number - m_State.avail_out;
  }

  /** True where nothing follows but the end, with the right sum. */
  bool
  IsAtEnd()
  {
    unsigned char beyond = 0;
    return !m_IsCompressed || (this->Read(&beyond, 1) == 0 && m_IsEnded);
  }

private:
  std::ifstream     m_File;
  std::vector<char> m_From;
  z_stream          m_State{};
  bool              m_IsCompressed{ false };
  bool              m_IsEnded{ false };
  bool              m_IsDamaged{ false };
};

// NIfTI

constexpr std::size_t  niftiHeaderSize = 348;
constexpr std::int16_t niftiFloat = 16;
constexpr std::int16_t niftiDouble = 64;

template <typename TValue>
TValue
ValueAt(const unsigned char * bytes, bool swapped)
{
  std::array<unsigned char, sizeof(TValue)> copy;
  std::copy(bytes, bytes + sizeof(TValue), copy.begin());
  if (swapped)
  {
    std::reverse(copy.begin(), copy.end());
  }
  TValue value;
  std::memcpy(&value, copy.data(), sizeof(TValue));
  return value;
}

/** Its library goes by the type and not by the header's number of bits. 0: a type of no voxel. */
std::size_t
BytesOfNiftiType(std::int16_t type)
{
  static const std::map<std::int16_t, std::size_t> bytes{ { 2, 1 },     { 4, 2 },     { 8, 4 },     { 16, 4 },
                                                          { 32, 8 },    { 64, 8 },    { 128, 3 },   { 256, 1 },
                                                          { 512, 2 },   { 768, 4 },   { 1024, 8 },  { 1280, 8 },
                                                          { 1536, 16 }, { 1792, 16 }, { 2048, 32 }, { 2304, 4 } };
  const auto                                       found = bytes.find(type);
  return found == bytes.end() ? 0 : found->second;
}

/** Header and voxels of a pair such as brain.hdr and brain.img.gz, given by either; empty where it is none. */
std::vector<std::string>
NiftiPair(const std::string & path)
{
  fs::path base(path);
  if (itksys::SystemTools::LowerCase(base.extension().string()) == ".gz")
  {
    base.replace_extension();
  }
  const std::string extension = itksys::SystemTools::LowerCase(base.extension().string());
  if (extension != ".hdr" && extension != ".img")
  {
    return {};
  }
  base.replace_extension();
  std::vector<std::string> files;
  for (const char * const part : { "hdr", "img" })
  {
    std::string upper(part);
    std::transform(upper.begin(), upper.end(), upper.begin(), [](char c) { return static_cast<char>(c - 'a' + 'A'); });
    const std::array<std::string, 4> names{
      { '.' + std::string(part), '.' + std::string(part) + ".gz", '.' + upper, '.' + upper + ".GZ" }
    };
    std::error_code ignored;
    const auto      found = std::find_if(names.begin(), names.end(), [&](const std::string & name) {
      return fs::is_regular_file(base.string() + name, ignored);
    });
    if (found == names.end())
    {
      return {};
    }
    files.push_back(base.string() + *found);
  }
  return files;
}

std::vector<std::pair<SizeValueType, float>>
CheckNifti(const std::string & path)
{
  std::vector<std::pair<SizeValueType, float>> found;
  const std::vector<std::string>               pair = NiftiPair(path);
  std::array<unsigned char, niftiHeaderSize>   header;
  auto                                         file = std::make_unique<ByteStream>(pair.empty() ? path : pair.front());
  if (file->Read(header.data(), niftiHeaderSize) != niftiHeaderSize)
  {
    return found;
  }
  const bool isOneFile = std::memcmp(&header[344], "n+1", 4) == 0;
  const bool isSwapped = ValueAt<std::int32_t>(header.data(), false) != static_cast<std::int32_t>(niftiHeaderSize);
  if (!isOneFile)
  {
    if (ValueAt<std::int32_t>(header.data(), isSwapped) != static_cast<std::int32_t>(niftiHeaderSize) ||
        (pair.empty() && std::memcmp(&header[344], "ni1", 4) != 0))
    {
      return found;
    }
    if (pair.empty())
    {
      Refuse("the file that holds its voxels (.img) is not beside it");
    }
    file = std::make_unique<ByteStream>(pair.back());
  }
  const auto        dimensions = ValueAt<std::int16_t>(&header[40], isSwapped);
  const auto        type = ValueAt<std::int16_t>(&header[70], isSwapped);
  const std::size_t bytesOfVoxel = BytesOfNiftiType(type);
  // As its library: the voxels of one file never begin before the header's end.
  const double least = isOneFile ? static_cast<double>(niftiHeaderSize) : 0.0;
  const double said = ValueAt<float>(&header[108], isSwapped);
  const double offset = said < least ? least : said;
  if (bytesOfVoxel == 0)
  {
    return found;
  }
  std::uint64_t voxels = 1;
  for (std::int16_t d = 1; d <= std::min<std::int16_t>(dimensions, 7); ++d)
  {
    const auto number =
      static_cast<std::uint64_t>(std::max<std::int16_t>(1, ValueAt<std::int16_t>(&header[40 + 2 * d], isSwapped)));
    if (voxels > std::numeric_limits<std::uint32_t>::max() / 2 * std::uint64_t{ 1024 } / number)
    {
      RefuseDamaged();
    }
    voxels *= number;
  }
  if (!(offset >= least && offset < 1e9))
  {
    RefuseDamaged();
  }
  constexpr std::uint64_t    portion = std::uint64_t{ 1 } << 16; // voxels
  std::vector<unsigned char> bytes(portion * bytesOfVoxel);
  for (auto skipped = static_cast<std::size_t>(offset - least); skipped > 0;)
  {
    const std::size_t number = std::min(skipped, bytes.size());
    if (file->Read(bytes.data(), number) != number)
    {
      RefuseDamaged();
    }
    skipped -= number;
  }
  for (std::uint64_t first = 0; first < voxels; first += portion)
  {
    const auto number = static_cast<std::size_t>(std::min(portion, voxels - first));
    if (file->Read(bytes.data(), number * bytesOfVoxel) != number * bytesOfVoxel)
    {
      RefuseDamaged();
    }
    for (std::size_t i = 0; i < number && (type == niftiFloat || type == niftiDouble); ++i)
    {
      const double value = type == niftiFloat ? ValueAt<float>(&bytes[i * bytesOfVoxel], isSwapped)
                                              : ValueAt<double>(&bytes[i * bytesOfVoxel], isSwapped);
      if (!std::isfinite(value))
      {
        found.emplace_back(static_cast<SizeValueType>(first + i), static_cast<float>(value));
      }
    }
  }
  // What follows the voxels is nobody's, but the sum is right only where all was read.
  std::size_t rest = bytes.size();
  while (rest == bytes.size())
  {
    rest = file->Read(bytes.data(), bytes.size());
  }
  if (!file->IsAtEnd())
  {
    RefuseDamaged();
  }
  return found;
}

// MetaImage and NRRD

/** What their headers say of the voxels. */
struct VoxelStream
{
  std::string   DataFile; // empty: they follow the header
  std::uint64_t Place{ 0 };
  std::uint64_t Bytes{ 0 }; // not compressed; 0: not known
  bool          IsCompressed{ false };
  bool          IsText{ false };
};

/** Bytes of so many values of a type; 0 where the type is not known or nothing could hold them. */
std::uint64_t
BytesOf(const std::string & sizes, const std::map<std::string, std::uint64_t> & types, const std::string & type)
{
  const auto    found = types.find(type);
  std::uint64_t bytes = found == types.end() ? 0 : found->second;
  std::uint64_t size = 0;
  for (std::istringstream stream(sizes); stream >> size;)
  {
    if (size != 0 && bytes > std::numeric_limits<std::uint64_t>::max() / size)
    {
      return 0;
    }
    bytes *= size;
  }
  return bytes;
}

void
RefuseSeveralFiles(const std::string & name, bool isPattern)
{
  if (isPattern || name.compare(0, 4, "LIST") == 0)
  {
    Refuse("its voxels lie in several files (" + name + "); write it as one file");
  }
}

/** No line of a header is longer: voxels may look like one. */
bool
NextLine(std::istream & file, std::string & line)
{
  std::vector<char> buffer(100000);
  if (!file.getline(buffer.data(), static_cast<std::streamsize>(buffer.size())))
  {
    return false;
  }
  line = buffer.data();
  return true;
}

bool
ReadMetaImageHeader(const std::string & path, VoxelStream & stream)
{
  const std::string extension = itksys::SystemTools::LowerCase(fs::path(path).extension().string());
  if (extension != ".mha" && extension != ".mhd")
  {
    return false;
  }
  static const std::map<std::string, std::uint64_t> types{
    { "MET_CHAR", 1 }, { "MET_UCHAR", 1 },     { "MET_SHORT", 2 },      { "MET_USHORT", 2 }, { "MET_INT", 4 },
    { "MET_UINT", 4 }, { "MET_LONG_LONG", 8 }, { "MET_ULONG_LONG", 8 }, { "MET_FLOAT", 4 },  { "MET_DOUBLE", 8 },
  };
  std::ifstream file(path, std::ios::binary);
  std::string   line;
  std::string   sizes;
  std::string   type;
  std::string   channels = "1";
  for (int number = 0; number < 1000 && NextLine(file, line); ++number)
  {
    const std::size_t equals = line.find_first_of("=:");
    if (equals == std::string::npos)
    {
      continue;
    }
    const std::string key = Trimmed(line.substr(0, equals));
    const std::string value = Trimmed(line.substr(equals + 1));
    if (key == "NDims")
    {
      if (value.empty() || value.size() > 2 || value.find_first_not_of("0123456789") != std::string::npos ||
          std::stoi(value) < 1 || std::stoi(value) > 10)
      {
        Refuse("its header claims " + value.substr(0, 20) + " dimensions");
      }
    }
    else if (key == "DimSize")
    {
      sizes = value;
    }
    else if (key == "ElementType")
    {
      type = value;
    }
    else if (key == "ElementNumberOfChannels")
    {
      channels = value;
    }
    else if (key == "HeaderSize" && value.find_first_not_of("0123456789") == std::string::npos)
    {
      stream.Place = std::strtoull(value.c_str(), nullptr, 10);
    }
    else if (key == "CompressedData")
    {
      stream.IsCompressed = !value.empty() && (value[0] == 'T' || value[0] == 't' || value[0] == '1');
    }
    else if (key == "BinaryData")
    {
      stream.IsText = !value.empty() && (value[0] == 'F' || value[0] == 'f' || value[0] == '0');
    }
    else if (key == "ElementDataFile")
    {
      RefuseSeveralFiles(value, value.find('%') != std::string::npos);
      stream.Bytes = BytesOf(sizes + ' ' + channels, types, type);
      if (itksys::SystemTools::LowerCase(value) != "local")
      {
        stream.DataFile = value;
      }
      else if (stream.Place == 0)
      {
        stream.Place = static_cast<std::uint64_t>(file.tellg());
      }
      return true;
    }
  }
  return false;
}

bool
ReadNrrdHeader(const std::string & path, VoxelStream & stream)
{
  std::ifstream file(path, std::ios::binary);
  std::string   line(4, '\0');
  if (!file.read(&line[0], 4) || line != "NRRD")
  {
    return false;
  }
  static const std::map<std::string, std::uint64_t> types{
    { "signed char", 1 },
    { "int8", 1 },
    { "int8_t", 1 },
    { "uchar", 1 },
    { "unsigned char", 1 },
    { "uint8", 1 },
    { "uint8_t", 1 },
    { "short", 2 },
    { "short int", 2 },
    { "signed short", 2 },
    { "signed short int", 2 },
    { "int16", 2 },
    { "int16_t", 2 },
    { "ushort", 2 },
    { "unsigned short", 2 },
    { "unsigned short int", 2 },
    { "uint16", 2 },
    { "uint16_t", 2 },
    { "int", 4 },
    { "signed int", 4 },
    { "int32", 4 },
    { "int32_t", 4 },
    { "uint", 4 },
    { "unsigned int", 4 },
    { "uint32", 4 },
    { "uint32_t", 4 },
    { "longlong", 8 },
    { "long long", 8 },
    { "long long int", 8 },
    { "signed long long", 8 },
    { "signed long long int", 8 },
    { "int64", 8 },
    { "int64_t", 8 },
    { "ulonglong", 8 },
    { "unsigned long long", 8 },
    { "unsigned long long int", 8 },
    { "uint64", 8 },
    { "uint64_t", 8 },
    { "float", 4 },
    { "double", 8 },
  };
  std::string sizes;
  std::string type;
  bool        isSkipping = false;
  for (int number = 0; number < 10000 && NextLine(file, line) && !Trimmed(line).empty(); ++number)
  {
    const std::size_t colon = line.find(": ");
    if (line[0] == '#' || colon == std::string::npos)
    {
      continue;
    }
    const std::string key = itksys::SystemTools::LowerCase(Trimmed(line.substr(0, colon)));
    const std::string value = Trimmed(line.substr(colon + 2));
    if (key == "sizes")
    {
      sizes = value;
    }
    else if (key == "type")
    {
      type = itksys::SystemTools::LowerCase(value);
    }
    else if (key == "encoding")
    {
      const std::string encoding = itksys::SystemTools::LowerCase(value);
      stream.IsCompressed = encoding == "gzip" || encoding == "gz";
      stream.IsText = encoding != "raw" && !stream.IsCompressed;
    }
    else if (key == "line skip" || key == "lineskip" || key == "byte skip" || key == "byteskip")
    {
      isSkipping = isSkipping || value != "0";
    }
    else if (key == "data file" || key == "datafile")
    {
      const std::size_t percent = value.find('%');
      const std::size_t kind =
        percent == std::string::npos ? percent : value.find_first_not_of("0123456789", percent + 1);
      RefuseSeveralFiles(value, kind != std::string::npos && value[kind] == 'd');
      stream.DataFile = value;
    }
  }
  stream.Bytes = isSkipping ? 0 : BytesOf(sizes, types, type);
  if (stream.DataFile.empty())
  {
    const std::streamoff place = file.tellg();
    if (place < 0)
    {
      RefuseDamaged();
    }
    stream.Place = static_cast<std::uint64_t>(place);
  }
  return true;
}

std::string
DataFileOf(const std::string & path, const VoxelStream & stream)
{
  return stream.DataFile.empty() ? path : (fs::path(path).parent_path() / stream.DataFile).string();
}

/** Throws where a compressed stream does not end as it should, with its sum, or holds more or less than was said. */
void
CheckCompressed(ByteStream & stream, std::uint64_t wanted)
{
  std::vector<unsigned char> bytes(std::size_t{ 1 } << 18);
  std::uint64_t              all = 0;
  std::size_t                number = bytes.size();
  while (number == bytes.size() && (wanted == 0 || all <= wanted))
  {
    number = stream.Read(bytes.data(), bytes.size());
    all += number;
  }
  if (!stream.IsAtEnd() || (wanted != 0 && all != wanted))
  {
    RefuseDamaged();
  }
}

void
CheckStream(const std::string & path, const VoxelStream & stream)
{
  const std::string dataFile = DataFileOf(path, stream);
  std::error_code   error;
  const bool        isFile = fs::is_regular_file(dataFile, error);
  const auto        size = isFile ? fs::file_size(dataFile, error) : 0;
  // A pipe would be waited for.
  if (error || !isFile || !std::ifstream(dataFile, std::ios::binary))
  {
    Refuse("the file " + dataFile + " that holds its voxels cannot be opened");
  }
  if (stream.IsCompressed)
  {
    ByteStream bytes(dataFile, stream.Place, true);
    CheckCompressed(bytes, stream.Bytes);
  }
  else if (!stream.IsText && stream.Bytes != 0 && (size < stream.Place || size - stream.Place < stream.Bytes))
  {
    RefuseDamaged();
  }
}

bool
ReadStream(const std::string & path, VoxelStream & stream)
{
  return ReadMetaImageHeader(path, stream) || ReadNrrdHeader(path, stream);
}
} // namespace

std::vector<std::string>
ImageFileCheck::FilesOf(const std::string & path)
{
  const std::vector<std::string> pair = NiftiPair(path);
  if (!pair.empty())
  {
    return pair;
  }
  VoxelStream stream;
  if (fs::is_regular_file(path) && ReadStream(path, stream) && !stream.DataFile.empty())
  {
    return { path, DataFileOf(path, stream) };
  }
  return { path };
}

std::string
ImageFileCheck::FindMaskProblem(const Image<float, 3> * mask)
{
  const float * const from = mask->GetBufferPointer();
  const float * const end = from + mask->GetLargestPossibleRegion().GetNumberOfPixels();
  const float * const odd = std::find_if(from, end, [](float v) { return !(v >= 0.0F) || !std::isfinite(v); });
  if (odd == end)
  {
    return "";
  }
  std::ostringstream text;
  text << "the voxel " << mask->ComputeIndex(odd - from) << " is " << *odd
       << "; a mask is 0 outside and above 0 inside";
  return text.str();
}

std::vector<std::pair<SizeValueType, float>>
ImageFileCheck::FindNonFiniteVoxels(const std::string & path)
{
  std::error_code error;
  if (!fs::is_regular_file(path, error))
  {
    Refuse("it is no file");
  }
  VoxelStream stream;
  if (ReadStream(path, stream))
  {
    CheckStream(path, stream);
    return {};
  }
  return CheckNifti(path);
}
} // namespace itk
