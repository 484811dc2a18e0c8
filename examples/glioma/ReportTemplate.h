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
#ifndef ReportTemplate_h
#define ReportTemplate_h

#include <nlohmann/json.hpp>

#include <map>
#include <string>

namespace glioma
{
/** Fills a template of HTML from data. Of the Mustache language:
 *
 *   {{name}}                  a string or a number of the data, escaped for text and quoted attributes
 *   {{#name}} ... {{/name}}   once for each element of an array, or once for an object, true, or a text that is not
 * empty
 *   {{^name}} ... {{/name}}   where the former gives nothing
 *   {{>name}}                 a part, as it is
 *
 * In an array {{.}} is the element itself. A name that the element does not have is looked up outside of it. No data
 * gets into the page unescaped: parts come from the program, and never from a file of the case. Throws std::logic_error
 * for a name or a part that does not exist, and where a section is not closed. */
std::string
FillTemplate(const std::string &                        text,
             const nlohmann::ordered_json &             data,
             const std::map<std::string, std::string> & parts);

/** Text for HTML: neither element nor attribute can be opened or closed by it. Bytes that are not UTF-8 become U+FFFD.
 */
std::string
EscapeHtml(const std::string & text);

/** JSON for a script element, which it cannot close: ASCII without <, > and &. */
std::string
JsonForScript(const nlohmann::ordered_json & json);
} // namespace glioma

#endif // ReportTemplate_h
