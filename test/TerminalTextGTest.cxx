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

#include "gtest/gtest.h"

#include <stdexcept>

TEST(TerminalText, LeavesOutWhereAnErrorCameFrom)
{
  EXPECT_EQ(glioma::WithoutOrigin(itk::ExceptionObject("itkA.cxx", 12, "ITK ERROR: A(0x55d0): No mask.", "Run")),
            "No mask.");
  // An error quotes another, with its place in the source.
  EXPECT_EQ(glioma::WithoutOrigin(std::runtime_error(
              "Cannot be read: /build/itkB.cxx:345:\nITK ERROR: B(0x7f01): Short file.\n  one\n  two")),
            "Cannot be read: Short file.\n  one\n  two");
  // What only looks like an address stays.
  EXPECT_EQ(glioma::WithoutOrigin(std::runtime_error("Tag (0x0010) is absent: give (0xzz): none")),
            "Tag (0x0010) is absent: give (0xzz): none");
}

TEST(TerminalText, KeepsTheLinesOfAListAlone)
{
  const std::runtime_error error("Two problems,\nboth here:\n  a\tb\n  c");
  EXPECT_EQ(glioma::OneLine(error), "Two problems, both here: a b c");
  EXPECT_EQ(glioma::WithItsList(error), "Two problems, both here:\n  a b\n  c");
  // Where the list quotes another error, the place in the source goes though a line ends in it.
  EXPECT_EQ(
    glioma::WithItsList(std::runtime_error("One:\n  a failed: /build/itkB.cxx:345:\nITK ERROR: B(0x7f01): Short.")),
    "One:\n  a failed: Short.");
}

TEST(TerminalText, SendsTheTerminalNoCommands)
{
  EXPECT_EQ(glioma::Shown("a\x1b[2Jb\x7f"), "a?[2Jb?");
  EXPECT_EQ(glioma::Shown("Gl\xc3\xbc\xc3\x9f"), "Gl\xc3\xbc\xc3\x9f");
  EXPECT_EQ(glioma::Shown("\xc2\x9b[m"), "?[m");   // U+009B
  EXPECT_EQ(glioma::Shown("\xc0\x9b\xff"), "???"); // a longer form of ESC, and no UTF-8
  EXPECT_EQ(glioma::Shown("\xe2\x82"), "??");      // cut off
}
