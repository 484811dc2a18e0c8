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
#include "CaseEstimate.h"

#include "StageMemory.h"

#include "itkGliomaGradingFilter.h"
#include "itkModelSpaceFilter.h"
#include "itkRegionOfInterestImageFilter.h"
#include "itkSequencePreparationFilter.h"
#include "itkTorchSegmentationFilter.h"

#include <algorithm>
#include <chrono>
#include <limits>

namespace glioma
{
namespace
{
using VectorImageType = itk::VectorImage<float, 3>;
using PreparationType = itk::SequencePreparationFilter<SequenceImageType, MaskImageType>;
using SegmentationType = itk::TorchSegmentationFilter<VectorImageType, MaskImageType, MaskImageType>;

// Of 240 x 240 x 155 voxels on two idle cores of an AMD EPYC with AVX-512, files as nii.gz: what the preparation takes
// without bias correction, and everything that is neither reading nor a network (5.9 to 8.3 s; on a Xeon with AMX
// about 5.4 s, and 9.5 s where random weights give masks that hardly compress; of 5.5 s a third is gone since a file is
// compressed once and two at a time, by runs of before and after that took turns on a busy machine).
constexpr double referencePreparation = 0.48;
constexpr double referenceRest = 3.7;
// Bytes a voxel at the peaks of these runs, beyond the program itself. Outside the networks the bias correction takes
// most: 73 in one thread, 80 in two and in four; writing takes 76 at most.
constexpr double bytesWhileSegmenting = 37.0;
constexpr double bytesWhileCorrecting = 82.0;

template <typename TFunction>
double
SecondsOf(const TFunction & function)
{
  const auto start = std::chrono::steady_clock::now();
  function();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

std::vector<float>
Noise(std::size_t count)
{
  std::vector<float> values(count);
  std::uint32_t      state = 1;
  for (float & value : values)
  {
    state = state * 1664525U + 1013904223U;
    value = static_cast<float>(state >> 8) / 8388608.0F - 1.0F;
  }
  return values;
}

/** The mask in the model's space, cut to the brain's box. */
MaskImageType::Pointer
BrainOnGridOf(const itk::TorchModelManifest & manifest, const MaskImageType * brain)
{
  using ToModelType = itk::ModelSpaceFilter<MaskImageType>;
  auto                       toModel = ToModelType::New();
  MaskImageType::SpacingType spacing;
  std::copy(manifest.Spacing.begin(), manifest.Spacing.end(), spacing.Begin());
  toModel->SetInput(brain);
  toModel->SetInterpolation(ToModelType::InterpolationEnum::NearestNeighbor);
  toModel->SetOutputOrientation(manifest.Orientation);
  toModel->SetOutputSpacing(spacing);
  toModel->Update();
  const MaskImageType *                                 mask = toModel->GetOutput();
  const auto                                            whole = mask->GetLargestPossibleRegion();
  MaskImageType::IndexType                              lower = whole.GetUpperIndex();
  MaskImageType::IndexType                              upper = whole.GetIndex();
  itk::ImageRegionConstIteratorWithIndex<MaskImageType> it(mask, whole);
  for (; !it.IsAtEnd(); ++it)
  {
    for (unsigned int d = 0; it.Get() != 0 && d < 3; ++d)
    {
      lower[d] = std::min(lower[d], it.GetIndex()[d]);
      upper[d] = std::max(upper[d], it.GetIndex()[d]);
    }
  }
  MaskImageType::RegionType box;
  for (unsigned int d = 0; d < 3; ++d)
  {
    box.SetIndex(d, lower[d]);
    box.SetSize(d, static_cast<itk::SizeValueType>(std::max<itk::IndexValueType>(1, upper[d] - lower[d] + 1)));
  }
  box.PadByRadius(1);
  box.Crop(whole);
  auto cut = itk::RegionOfInterestImageFilter<MaskImageType, MaskImageType>::New();
  cut->SetInput(mask);
  cut->SetRegionOfInterest(box);
  cut->Update();
  return cut->GetOutput();
}
} // namespace

double
CaseEstimate::Seconds() const
{
  double sum = 0.0;
  for (const auto & stage : Stages)
  {
    sum += stage.second;
  }
  return sum;
}

CaseEstimate
EstimateCase(const std::vector<SequenceImageType::Pointer> & sequences,
             const MaskImageType *                           brainMask,
             const itk::TorchModel *                         segmentation,
             const std::vector<const itk::TorchModel *> &    graders,
             const itk::TorchExplanationRequest &            explanation,
             double                                          geometryTolerance,
             double                                          program)
{
  CaseEstimate estimate;
  const auto & names = itk::GliomaGradingFilter<>::GetSequenceNames();
  auto         preparation = PreparationType::New();
  double       unit = std::numeric_limits<double>::max();
  for (unsigned int run = 0; run < 2; ++run)
  {
    preparation = PreparationType::New();
    preparation->ClearSequenceNames();
    for (std::size_t i = 0; i < names.size(); ++i)
    {
      preparation->AddSequenceName(names[i]);
      preparation->SetSequence(names[i], sequences[i]);
    }
    if (brainMask)
    {
      preparation->SetBrainMaskImage(brainMask);
    }
    preparation->SetBiasCorrection(PreparationType::BiasCorrectionEnum::None);
    preparation->SetCoordinateTolerance(geometryTolerance);
    preparation->SetDirectionTolerance(geometryTolerance);
    unit = std::min(unit, SecondsOf([&] { preparation->Update(); }));
  }
  const auto voxels = static_cast<double>(sequences.front()->GetLargestPossibleRegion().GetNumberOfPixels());
  double     bytes = bytesWhileCorrecting * voxels;

  if (segmentation)
  {
    const auto brain = BrainOnGridOf(segmentation->GetManifest(), preparation->GetBrainMask());
    // Only its geometry is asked for.
    auto image = VectorImageType::New();
    image->CopyInformation(brain);
    image->SetNumberOfComponentsPerPixel(static_cast<unsigned int>(names.size()));
    auto filter = SegmentationType::New();
    filter->SetInput(image);
    filter->SetMaskImage(brain);
    filter->SetModel(segmentation);
    filter->GenerateProbabilitiesOn();
    filter->UpdateOutputInformation();
    estimate.Tiles = filter->GetNumberOfTiles();
    estimate.TileSize = filter->GetChosenTileSize();
    estimate.Stages.emplace_back("segment", filter->EstimateSeconds());
    bytes = std::max(bytes, bytesWhileSegmenting * voxels + filter->EstimateMemory());
  }
  double explaining = 0.0;
  for (const itk::TorchModel * const grading : graders)
  {
    const itk::TorchModelManifest & manifest = grading->GetManifest();
    const itk::SizeValueType        side = manifest.OutputSize != 0 ? manifest.OutputSize : 96;
    const std::vector<float>        noise = Noise(names.size() * side * side * side);
    itk::TorchVolumeView            view;
    view.Buffer = noise.data();
    view.Components = static_cast<unsigned int>(names.size());
    view.RegionSize.Fill(side);
    const double before = StageMemory::Resident();
    StageMemory  memory;
    explaining += SecondsOf([&] { grading->Explain(view, explanation); });
    if (grading == graders.front())
    {
      // Without the tumour.
      explaining += SecondsOf([&] { grading->Explain(view, itk::TorchExplanationRequest()); });
    }
    bytes = std::max(bytes, bytesWhileSegmenting * voxels + (memory.Peak() - before) * 1048576.0);
  }
  estimate.Stages.emplace_back("grade and explain", explaining);
  estimate.Stages.emplace_back("prepare, bring maps back and write", unit / referencePreparation * referenceRest);
  estimate.Mebibytes = program + bytes / 1048576.0;
  return estimate;
}
} // namespace glioma
