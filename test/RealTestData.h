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
#ifndef RealTestData_h
#define RealTestData_h

#include <cstdlib>
#include <string>

/** Folder of the real patients: GLIOMAGRADING_TEST_DATA, else ../shared/data beside the source tree. It may be absent:
 * a test then says so with GTEST_SKIP(). */
inline std::string
RealTestDataFolder()
{
  const char * const folder = std::getenv("GLIOMAGRADING_TEST_DATA");
  return folder && *folder ? folder : GLIOMAGRADING_SOURCE_DIR "/../shared/data";
}

#endif // RealTestData_h
