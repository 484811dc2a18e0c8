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
#ifndef OutputFolder_h
#define OutputFolder_h

#include <string>
#include <vector>

namespace glioma
{
/** Results appear all at once: they are written to a hidden folder beside the output and renamed at the end.
 *
 * A new output folder is renamed as a whole. Into one that exists each file is renamed, `lastName` as the last, so that
 * its presence says that the others are complete; where one cannot be, all of the earlier run are put back. Without
 * Commit(), and on SIGHUP, SIGINT, SIGPIPE and SIGTERM where they are not ignored, the hidden folder is removed. One
 * object lives at a time, since signals belong to the process. */
class OutputFolder
{
public:
  /** \a names are all files that may be written; \a obsolete those of an earlier run that \a force removes.
   * Throws where a file of an earlier run is there without \a force, or where nothing can be written. */
  OutputFolder(const std::string &              path,
               const std::vector<std::string> & names,
               const std::vector<std::string> & obsolete,
               const std::string &              lastName,
               bool                             force);
  ~OutputFolder();
  OutputFolder(const OutputFolder &) = delete;
  OutputFolder &
  operator=(const OutputFolder &) = delete;

  /** Where to write a file now. */
  std::string
  PathOf(const std::string & name) const;

  /** Puts the written files where they belong. */
  void
  Commit();

private:
  /** Renames the files into a folder that exists. */
  void
  CommitEach();

  void
  RemoveTemporary();

  std::string              m_Path;
  std::string              m_Temporary;
  std::vector<std::string> m_Names;
  std::vector<std::string> m_Obsolete;
  std::string              m_LastName;
  bool                     m_IntoExisting{ false };
  bool                     m_Force{ false };
};
} // namespace glioma

#endif // OutputFolder_h
