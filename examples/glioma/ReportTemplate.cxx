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
#include "ReportTemplate.h"

#include <stdexcept>
#include <vector>

namespace glioma
{
namespace
{
using Json = nlohmann::ordered_json;

class Filler
{
public:
  Filler(const std::string & text, const Json & data, const std::map<std::string, std::string> & parts)
    : m_Text(text)
    , m_Parts(parts)
    , m_Context{ &data }
  {}

  std::string
  Fill()
  {
    this->Section(0, "", true);
    return std::move(m_Output);
  }

private:
  /** Renders from \a at to the end of the section \a name; gives the place behind it. */
  std::size_t
  Section(std::size_t at, const std::string & name, bool isShown)
  {
    while (true)
    {
      const std::size_t open = m_Text.find("{{", at);
      const std::size_t close = open == std::string::npos ? open : m_Text.find("}}", open);
      if (close == std::string::npos)
      {
        if (!name.empty())
        {
          throw std::logic_error("The page's template does not close {{" + name + "}}.");
        }
        this->Emit(m_Text.substr(at), isShown);
        return m_Text.size();
      }
      this->Emit(m_Text.substr(at, open - at), isShown);
      std::string tag = m_Text.substr(open + 2, close - open - 2);
      at = close + 2;
      const char kind = tag.empty() ? ' ' : tag.front();
      if (kind == '#' || kind == '^' || kind == '/' || kind == '>')
      {
        tag.erase(0, 1);
      }
      if (kind == '/')
      {
        if (tag != name)
        {
          throw std::logic_error("The page's template closes {{" + tag + "}} in {{" + name + "}}.");
        }
        return at;
      }
      if (kind == '>')
      {
        const auto part = m_Parts.find(tag);
        // What is hidden needs no part: without the viewer there are no volumes.
        if (part == m_Parts.end() && isShown)
        {
          throw std::logic_error("The page has no part " + tag + '.');
        }
        if (isShown)
        {
          this->Emit(part->second, true);
        }
      }
      else if (kind == '#' || kind == '^')
      {
        at = this->Repeat(at, tag, kind == '#', isShown);
      }
      else if (isShown)
      {
        m_Output += EscapeHtml(TextOf(this->Find(tag), tag));
      }
    }
  }

  std::size_t
  Repeat(std::size_t at, const std::string & name, bool isPositive, bool isShown)
  {
    if (!isShown)
    {
      return this->Section(at, name, false);
    }
    const Json & value = this->Find(name);
    if (isPositive && value.is_array() && !value.empty())
    {
      std::size_t end = at;
      for (const Json & element : value)
      {
        m_Context.push_back(&element);
        end = this->Section(at, name, true);
        m_Context.pop_back();
      }
      return end;
    }
    if (IsSomething(value) != isPositive)
    {
      return this->Section(at, name, false);
    }
    m_Context.push_back(&value);
    const std::size_t end = this->Section(at, name, true);
    m_Context.pop_back();
    return end;
  }

  static bool
  IsSomething(const Json & value)
  {
    return value.is_boolean()  ? value.get<bool>()
           : value.is_string() ? !value.get_ref<const std::string &>().empty()
           : value.is_array()  ? !value.empty()
                               : !value.is_null();
  }

  static std::string
  TextOf(const Json & value, const std::string & name)
  {
    if (value.is_structured() || value.is_null())
    {
      throw std::logic_error("The page's data for {{" + name + "}} is no text.");
    }
    return value.is_string() ? value.get<std::string>() : value.dump();
  }

  const Json &
  Find(const std::string & name) const
  {
    if (name == ".")
    {
      return *m_Context.back();
    }
    for (auto context = m_Context.rbegin(); context != m_Context.rend(); ++context)
    {
      if ((*context)->is_object() && (*context)->contains(name))
      {
        return (**context)[name];
      }
    }
    throw std::logic_error("The page's data has no {{" + name + "}}.");
  }

  void
  Emit(const std::string & text, bool isShown)
  {
    if (isShown)
    {
      m_Output += text;
    }
  }

  const std::string &                        m_Text;
  const std::map<std::string, std::string> & m_Parts;
  std::vector<const Json *>                  m_Context;
  std::string                                m_Output;
};

/** \a text as valid UTF-8, without control characters that HTML does not allow. */
std::string
Clean(const std::string & text)
{
  const std::string valid =
    Json::parse(Json(text).dump(-1, ' ', false, Json::error_handler_t::replace)).get<std::string>();
  std::string clean;
  for (const char character : valid)
  {
    const auto code = static_cast<unsigned char>(character);
    clean += (code < 32 && code != '\n' && code != '\t') || code == 127 ? ' ' : character;
  }
  return clean;
}
} // namespace

std::string
FillTemplate(const std::string & text, const Json & data, const std::map<std::string, std::string> & parts)
{
  return Filler(text, data, parts).Fill();
}

std::string
EscapeHtml(const std::string & text)
{
  std::string escaped;
  for (const char character : Clean(text))
  {
    switch (character)
    {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      case '\'':
        escaped += "&#39;";
        break;
      default:
        escaped += character;
    }
  }
  return escaped;
}

std::string
JsonForScript(const Json & json)
{
  std::string escaped;
  for (const char character : json.dump(-1, ' ', true, Json::error_handler_t::replace))
  {
    switch (character)
    {
      case '<':
        escaped += "\\u003c";
        break;
      case '>':
        escaped += "\\u003e";
        break;
      case '&':
        escaped += "\\u0026";
        break;
      default:
        escaped += character;
    }
  }
  return escaped;
}
} // namespace glioma
