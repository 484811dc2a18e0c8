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
#ifndef OptionChecks_h
#define OptionChecks_h

#include <CLI/CLI.hpp>

#include <cstdint>
#include <limits>
#include <string>

namespace glioma
{
/** Takes digits alone, of a number up to \a most: CLI11 2.1 reads -1 and what is too large as the largest of 64 bits.
 */
inline CLI::Validator
WholeNumberUpTo(std::uint64_t most = std::numeric_limits<std::uint64_t>::max())
{
  return CLI::Validator(
    [most](const std::string & text) {
      std::uint64_t value = 0;
      bool          isNumber = !text.empty();
      for (const char c : text)
      {
        const auto digit = static_cast<std::uint64_t>(c - '0');
        isNumber = isNumber && c >= '0' && c <= '9' && digit <= most && value <= (most - digit) / 10;
        value = 10 * value + digit;
      }
      return isNumber ? std::string() : '"' + text + "\" is no whole number from 0 to " + std::to_string(most);
    },
    "");
}

/** Takes the names of devices. Whether there is such a device, its use tells. */
inline CLI::Validator
DeviceName()
{
  return CLI::Validator(
    [](const std::string & text) {
      const bool isNumbered =
        text.rfind("cuda:", 0) == 0 && text.size() > 5 && text.find_first_not_of("0123456789", 5) == std::string::npos;
      return text == "auto" || text == "cpu" || text == "cuda" || isNumbered
               ? std::string()
               : '"' + text + "\" is no device: give auto, cpu, cuda or cuda:N";
    },
    "");
}
} // namespace glioma

#endif // OptionChecks_h
