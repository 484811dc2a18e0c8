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
#ifndef BitmapFont_h
#define BitmapFont_h

#include <array>
#include <cstdint>

namespace glioma
{
/** A glyph of 5 x 7 dots: one byte a row from the top, the left dot in bit 4. */
using Glyph = std::array<std::uint8_t, 7>;

/** The glyph of a printable ASCII character; a box for every other. */
const Glyph &
GlyphOf(char character);
} // namespace glioma

#endif // BitmapFont_h
