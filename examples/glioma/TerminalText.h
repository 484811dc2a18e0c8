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
#ifndef TerminalText_h
#define TerminalText_h

#include <exception>
#include <string>

namespace glioma
{
/** What went wrong, without ITK's class names, addresses and places in the source, which say nothing to whom the
 * program serves. Lines stay. */
std::string
WithoutOrigin(const std::exception & error);

/** The same in one line for a terminal, each character as Shown(). */
std::string
OneLine(const std::exception & error);

/** As OneLine(), but each problem of a list in a line of its own. */
std::string
WithItsList(const std::exception & error);

/** Text of a file or a bundle for a terminal: '?' for control characters, and for what is no UTF-8. */
std::string
Shown(const std::string & text);

/** Throws where standard output took not all that was printed: a full disk. */
void
FlushStandardOutput();
} // namespace glioma

#endif // TerminalText_h
