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
#ifndef SeededBundles_h
#define SeededBundles_h

#include "itkTorchModel.h"

#include <cstdio>
#include <filesystem>
#include <string>

#include <unistd.h>

/** A folder of its own for one test, removed at its end. */
class TemporaryFolder
{
public:
  TemporaryFolder()
  {
    static unsigned int count = 0;
    m_Path = std::filesystem::temp_directory_path() /
             ("GliomaGrading-" + std::to_string(::getpid()) + "-" + std::to_string(count++));
    std::filesystem::create_directories(m_Path);
  }
  TemporaryFolder(const TemporaryFolder &) = delete;
  TemporaryFolder &
  operator=(const TemporaryFolder &) = delete;
  ~TemporaryFolder()
  {
    std::error_code error;
    std::filesystem::remove_all(m_Path, error);
  }
  std::string
  operator/(const std::string & name) const
  {
    return (m_Path / name).string();
  }

private:
  std::filesystem::path m_Path;
};

/** The smallest segmentation network of tests: 64 voxels give 20 (halo 22, step 4); padded: 64 give 64. */
inline itk::TorchModelManifest
TinySegmentationManifest(unsigned int width = 4, unsigned int levels = 3, bool padded = false)
{
  itk::TorchModelManifest manifest;
  manifest.Name = "tiny segmentation";
  manifest.Version = "1";
  manifest.Task = "segmentation";
  manifest.Network = "PereiraSegmentationNetwork";
  manifest.Width = width;
  manifest.Levels = levels;
  manifest.Padded = padded;
  manifest.ChannelNames = { "T1", "T1c", "T2", "FLAIR" };
  manifest.ClassNames = { "background", "tumour" };
  manifest.BiasCorrection = "none";
  manifest.Standardization = "brain";
  manifest.Licence = "Apache-2.0";
  return manifest;
}

/** The smallest grading network of tests. 72 voxels a side is its smallest region: one cell of res4. */
inline itk::TorchModelManifest
TinyGradingManifest(unsigned int width = 4, unsigned int size = 72, bool padded = false)
{
  itk::TorchModelManifest manifest;
  manifest.Name = "tiny grading";
  manifest.Version = "1";
  manifest.Task = "grading";
  manifest.Network = "PereiraGradingNetwork";
  manifest.Width = width;
  manifest.Padded = padded;
  manifest.ChannelNames = { "T1", "T1c", "T2", "FLAIR" };
  manifest.ClassNames = { "LGG", "HGG" };
  manifest.BiasCorrection = "none";
  manifest.Standardization = "brain";
  manifest.Region = "tumour";
  manifest.FitMode = "cube";
  manifest.Margin = 10.0;
  manifest.OutputSize = size;
  manifest.Licence = "Apache-2.0";
  return manifest;
}

/** Writes a seeded bundle and loads it. */
inline itk::TorchModel::Pointer
LoadSeeded(const std::string & path, const itk::TorchModelManifest & manifest, std::uint64_t seed = 1)
{
  itk::TorchModel::WriteSeededBundle(path, manifest, seed);
  auto model = itk::TorchModel::New();
  model->SetPath(path);
  model->Load();
  return model;
}

#endif // SeededBundles_h
