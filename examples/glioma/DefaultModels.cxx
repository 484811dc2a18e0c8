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
#include "DefaultModels.h"

#include <filesystem>
#include <stdexcept>
#include <vector>

namespace glioma
{
std::string
FindDefaultModel(const std::string & task)
{
  namespace fs = std::filesystem;
  std::error_code       error;
  std::vector<fs::path> folders;
  const fs::path        program = fs::read_symlink("/proc/self/exe", error);
  if (!error)
  {
    folders.push_back(program.parent_path().parent_path() / "share" / "GliomaGrading" / "models");
  }
  folders.emplace_back(GLIOMA_MODELS_SOURCE_DIR);
  for (const fs::path & folder : folders)
  {
    if (fs::exists(folder / task / "configs" / "metadata.json", error))
    {
      return (folder / task).lexically_normal().string();
    }
  }
  throw std::runtime_error("The demonstration model for " + task + " is not in " + folders.front().string() +
                           "; give a bundle with --" + task + "-model.");
}
} // namespace glioma
