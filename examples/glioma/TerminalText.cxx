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
#include "TerminalText.h"

#include "itkMacro.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <sstream>
#include <stdexcept>

namespace glioma
{
namespace
{
bool
IsBlank(char c)
{
  return c == '\n' || c == '\t' || c == ' ';
}
} // namespace

std::string
WithoutOrigin(const std::exception & error)
{
  const auto * const itkError = dynamic_cast<const itk::ExceptionObject *>(&error);
  std::string        text = itkError ? itkError->GetDescription() : error.what();

  // "itkName.cxx:12:\nITK ERROR: Name(0x1234): ", wherever it stands: an error may quote another.
  const auto isOfName = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_';
  };
  for (std::size_t place = text.find("(0x"); place != std::string::npos; place = text.find("(0x", place))
  {
    const std::size_t end = text.find_first_not_of("0123456789abcdefABCDEF", place + 3);
    if (end == std::string::npos || end == place + 3 || text.compare(end, 3, "): ") != 0)
    {
      ++place;
      continue;
    }
    std::size_t begin = place;
    while (begin > 0 && text[begin - 1] == ' ')
    {
      --begin;
    }
    while (begin > 0 && isOfName(text[begin - 1]))
    {
      --begin;
    }
    text.erase(begin, end + 3 - begin);
    place = begin;
  }
  for (const std::string mark : { "ITK ERROR: ", "itk::ERROR: " })
  {
    for (std::size_t place = text.find(mark); place != std::string::npos; place = text.find(mark, place))
    {
      text.erase(place, mark.size());
      // The place in the source before it.
      std::size_t begin = place;
      while (begin > 0 && IsBlank(text[begin - 1]))
      {
        --begin;
      }
      const std::size_t colon = begin;
      std::size_t       digits = colon > 0 && text[colon - 1] == ':' ? colon - 1 : 0;
      while (digits > 0 && text[digits - 1] >= '0' && text[digits - 1] <= '9')
      {
        --digits;
      }
      if (digits > 0 && digits + 1 < colon && text[digits - 1] == ':')
      {
        begin = digits - 1;
        while (begin > 0 && !IsBlank(text[begin - 1]) && text[begin - 1] != '(')
        {
          --begin;
        }
        text.erase(begin, place - begin);
        place = begin;
      }
    }
  }
  return text;
}

std::string
OneLine(const std::exception & error)
{
  const std::string text = WithoutOrigin(error);
  std::string       line;
  for (const char character : text)
  {
    if (!IsBlank(character))
    {
      line += character;
    }
    else if (!line.empty() && line.back() != ' ')
    {
      line += ' ';
    }
  }
  return Shown(line);
}

std::string
WithItsList(const std::exception & error)
{
  std::istringstream text(WithoutOrigin(error));
  std::string        all;
  for (std::string line; std::getline(text, line);)
  {
    all += (all.empty() ? "" : line.compare(0, 2, "  ") == 0 ? "\n  " : " ") + OneLine(std::runtime_error(line));
  }
  return all;
}

std::string
Shown(const std::string & text)
{
  std::string shown;
  for (std::size_t i = 0; i < text.size();)
  {
    const auto byteAt = [&text](std::size_t place) {
      return place < text.size() ? static_cast<unsigned int>(static_cast<unsigned char>(text[place])) : 0u;
    };
    const unsigned int first = byteAt(i);
    const std::size_t  length = first < 0x80   ? 1
                                : first < 0xc2 ? 0
                                : first < 0xe0 ? 2
                                : first < 0xf0 ? 3
                                : first < 0xf5 ? 4
                                               : 0;
    bool               isText = length > 1 || (length == 1 && first >= 32 && first != 127);
    for (std::size_t k = 1; k < length; ++k)
    {
      isText = isText && (byteAt(i + k) & 0xc0) == 0x80;
    }
    // U+0080 to U+009F begin a terminal's commands too, and so would a longer form of a short character.
    isText = isText && !(first == 0xc2 && byteAt(i + 1) < 0xa0) && !(first == 0xe0 && byteAt(i + 1) < 0xa0) &&
             !(first == 0xf0 && byteAt(i + 1) < 0x90);
    const bool isCommand = first == 0xc2 && byteAt(i + 1) >= 0x80 && byteAt(i + 1) < 0xa0;
    shown += isText ? text.substr(i, length) : "?";
    i += isText ? length : isCommand ? 2 : 1;
  }
  return shown;
}

void
FlushStandardOutput()
{
  errno = 0;
  std::cout.flush();
  if (std::fflush(stdout) != 0 || std::ferror(stdout) || !std::cout)
  {
    const std::string reason = errno == 0 ? "" : std::string(": ") + std::strerror(errno);
    throw std::runtime_error("Cannot write to standard output" + reason + ". Free some space, or send it elsewhere.");
  }
}
} // namespace glioma
