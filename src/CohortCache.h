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
#ifndef CohortCache_h
#define CohortCache_h

#include "AugmentationPipeline.h"
#include "itkCohortReader.h"

#include <torch/torch.h>

#include <array>
#include <functional>
#include <string>
#include <vector>

namespace itk
{
/** A case as training needs it: standardized, in the model's space, cropped. Tensors are [z, y, x(, 4)]. */
struct PreparedCase
{
  std::string   Name;
  torch::Tensor Intensities; // above Background; float32, or bfloat16 for the large crops of grading
  torch::Tensor Brain;       // uint8, 255 = all of the voxel
  torch::Tensor Tumour;      // uint8
  /** Lowest and highest voxel of the tumour's box, in indices (x, y, z) of the crop. */
  std::array<double, 3> BoxLow{ { 0, 0, 0 } };
  std::array<double, 3> BoxHigh{ { 0, 0, 0 } };
  /** Of each sequence: 0 where the brain is standardized, -mean/sd where the whole image is. */
  std::array<float, 4> Background{ { 0, 0, 0, 0 } };
  /** SHA-256 over what the case's files hold and every parameter of the preparation: the same for a copy of them. */
  std::string Key;

  // Not stored in the cache:
  int                       Grade{ -1 }; // 0 LGG, 1 HGG
  std::size_t               Cohort{ 0 };
  std::vector<std::int32_t> TumourVoxels; // those that are tumour for more than one half

  AugmentationPipeline::Volume
  View() const;
  void
  FindTumourVoxels();
};

/** \class CohortCache
 * \brief Prepares each case once and keeps it in a folder.
 *
 * The file's name holds a SHA-256 over the sizes and times of the case's files and every parameter of the preparation:
 * what changed is prepared again, and old files are left alone.
 * \ingroup GliomaGrading
 */
class CohortCache
{
public:
  struct Parameters
  {
    double      Spacing{ 1.0 };
    std::string BiasCorrection{ "n4" };
    double      LowerQuantile{ 0.0 };
    double      UpperQuantile{ 1.0 };
    std::string Standardization{ "brain" };
    /** Grading: keep what lies so many times the box's longest side, plus so many times the margin, around the box's
     * middle (AugmentationPipeline::ReachOfCube). Else the brain. */
    bool                  AroundTumour{ false };
    std::array<double, 2> Reach{ { 0.0, 0.0 } };
    /** The box is the brain's; a case needs no tumour mask. */
    bool   BrainBox{ false };
    double Margin{ 10.0 };
    /** Parts of the mask below this share of the largest do not stretch the box. */
    double MinimumComponentShare{ 0.05 };
    bool   BFloat16{ false };
  };

  CohortCache(std::string folder, const Parameters & parameters)
    : m_Folder(std::move(folder))
    , m_Parameters(parameters)
  {}

  /** The prepared case cannot be written into the folder, which no other case could be either. */
  class NotStored : public ExceptionObject
  {
  public:
    using ExceptionObject::ExceptionObject;
  };

  /** From the folder, or prepared and stored there. */
  PreparedCase
  Get(const CohortCase & cohortCase) const;

  bool
  Holds(const CohortCase & cohortCase) const;

private:
  std::string
  ParametersText() const;
  /** PreparedCase::Key: reads the files. */
  std::string
  ContentKey(const CohortCase & cohortCase) const;
  std::string
  PathOf(const CohortCase & cohortCase) const;
  PreparedCase
  Prepare(const CohortCase & cohortCase) const;

  std::string m_Folder;
  Parameters  m_Parameters;
};
} // namespace itk

#endif // CohortCache_h
