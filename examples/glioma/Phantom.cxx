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
#include "Phantom.h"

#include "RandomSequence.h"
#include "PhantomStreams.h"

#include "itkMultiThreaderBase.h"

#include <algorithm>

namespace glioma
{
namespace
{
// The middle of the brain lies here, mm from the corner of the image; the block around it holds every brain.
constexpr std::array<double, 3> brainCentre{ 119.5, 126.0, 72.0 };
constexpr std::array<double, 3> blockLow{ 36.0, 26.0, 0.0 };
constexpr std::array<double, 3> blockHigh{ 204.0, 226.0, 155.0 };
constexpr std::array<double, 3> extent{ 240.0, 240.0, 155.0 };

// Which of `size` members of a block of cases is the special one.
std::uint64_t
SpecialOf(std::uint64_t seed, std::uint64_t kind, std::uint64_t block, std::uint64_t size)
{
  const CounterRandom random(seed, StreamOf(0, PhantomStream::Case) + kind);
  return std::min(static_cast<std::uint64_t>(random.Uniform(block) * static_cast<double>(size)), size - 1);
}

// What most of a voxel is; `label` is that of the tumour.
PhantomRegion
RegionOf(const Tissues & tissues, unsigned char label)
{
  if (label != 0)
  {
    return label == 2 ? PhantomRegion::Oedema : PhantomRegion::TumourCore;
  }
  if (tissues.ventricle > 0.5)
  {
    return PhantomRegion::Ventricles;
  }
  const std::array<double, 4>        shares{ tissues.fluid, tissues.grey, tissues.deepGrey, tissues.white };
  const std::array<PhantomRegion, 4> regions{
    PhantomRegion::OtherFluid, PhantomRegion::Cortex, PhantomRegion::DeepGrey, PhantomRegion::White
  };
  return regions[std::max_element(shares.begin(), shares.end()) - shares.begin()];
}

template <typename TImage>
typename TImage::Pointer
MakeImage(double spacing)
{
  typename TImage::SizeType    size;
  typename TImage::SpacingType edge;
  typename TImage::PointType   origin;
  // Voxel 0 of the image with 1 mm has its centre where BraTS has it; coarser voxels begin at the same corner.
  const double corner[3] = { -0.5, -239.5, -0.5 };
  for (unsigned int i = 0; i < 3; ++i)
  {
    size[i] = static_cast<itk::SizeValueType>(std::lround(extent[i] / spacing));
    edge[i] = spacing;
    origin[i] = corner[i] + 0.5 * spacing;
  }
  const auto image = TImage::New();
  image->SetRegions(typename TImage::RegionType(size));
  image->SetSpacing(edge);
  image->SetOrigin(origin);
  image->Allocate(true);
  return image;
}
} // namespace

const char *
NameOf(TumourGrade grade)
{
  return grade == TumourGrade::HGG ? "HGG" : "LGG";
}

const char *
NameOf(ScannerKind scanner)
{
  return scanner == ScannerKind::ThickSlice ? "phantom-thick-slice" : "phantom-sharp-3T";
}

const char *
NameOf(Enhancement enhancement)
{
  switch (enhancement)
  {
    case Enhancement::Patches:
      return "patches";
    case Enhancement::Rim:
      return "rim";
    case Enhancement::Specks:
      return "specks";
    case Enhancement::None:
      break;
  }
  return "none";
}

void
DescribeCase(std::uint64_t seed,
             std::uint64_t caseNumber,
             TumourGrade & grade,
             ScannerKind & scanner,
             Enhancement & enhancement)
{
  const std::uint64_t pair = (caseNumber - 1) / 2;
  const std::uint64_t member = (caseNumber - 1) % 2;
  const bool          high = member == SpecialOf(seed, 0, pair, 2);
  grade = high ? TumourGrade::HGG : TumourGrade::LGG;
  // Kinds 1 and 2 of scanner draws belong to the grades: they are balanced within each.
  scanner = pair % 2 == SpecialOf(seed, high ? 1 : 2, pair / 2, 2) ? ScannerKind::ThickSlice : ScannerKind::Sharp3T;
  if (high)
  {
    enhancement = pair % 5 == SpecialOf(seed, 3, pair / 5, 5) ? Enhancement::Specks : Enhancement::Rim;
  }
  else
  {
    enhancement = pair % 4 == SpecialOf(seed, 4, pair / 4, 4) ? Enhancement::Patches : Enhancement::None;
  }
}

Phantom
MakePhantom(const PhantomParameters & parameters)
{
  if (!(parameters.spacing >= 1.0 && parameters.spacing <= 4.0))
  {
    itkGenericExceptionMacro("A phantom's voxels are 1 to 4 mm wide, not " << parameters.spacing
                                                                           << " mm: choose a spacing in that range.");
  }
  if (parameters.caseNumber < 1 || parameters.caseNumber > 1000000)
  {
    itkGenericExceptionMacro("Phantoms are numbered from 1 to 1000000, not " << parameters.caseNumber << '.');
  }
  const double       spacing = parameters.spacing;
  const unsigned int threads =
    parameters.threads > 0 ? parameters.threads : itk::MultiThreaderBase::GetGlobalDefaultNumberOfThreads();

  Phantom phantom;
  DescribeCase(parameters.seed, parameters.caseNumber, phantom.grade, phantom.scanner, phantom.enhancement);
  const double         blur = 0.75 * spacing;
  const PhantomAnatomy anatomy(parameters.seed, parameters.caseNumber, blur);
  const PhantomTumour tumour(parameters.seed, parameters.caseNumber, phantom.grade, phantom.enhancement, anatomy, blur);
  const PhantomScanner scanner(parameters.seed, parameters.caseNumber, phantom.scanner);

  phantom.labels = MakeImage<Phantom::LabelImageType>(spacing);
  const auto imageSize = phantom.labels->GetBufferedRegion().GetSize();
  VoxelBlock block;
  block.spacing = spacing;
  for (int i = 0; i < 3; ++i)
  {
    block.start[i] = static_cast<int>(blockLow[i] / spacing);
    const int end = std::min(static_cast<int>(std::ceil(blockHigh[i] / spacing)), static_cast<int>(imageSize[i]));
    block.size[i] = end - block.start[i];
  }

  std::array<std::vector<float>, 4> signals;
  for (auto & signal : signals)
  {
    signal.assign(block.Count(), 0.0f);
  }
  std::vector<unsigned char> inside(block.Count(), 0);
  if (parameters.truth)
  {
    phantom.white = MakeImage<Phantom::LabelImageType>(spacing);
  }
  unsigned char * const white = parameters.truth ? phantom.white->GetBufferPointer() : nullptr;
  if (parameters.regions)
  {
    phantom.regions = MakeImage<Phantom::LabelImageType>(spacing);
  }
  unsigned char * const    regions = parameters.regions ? phantom.regions->GetBufferPointer() : nullptr;
  std::vector<std::size_t> labelled(block.size[2], 0);
  unsigned char * const    labels = phantom.labels->GetBufferPointer();
  const std::size_t        row = imageSize[0];
  const std::size_t        slice = row * imageSize[1];

  const auto threader = itk::MultiThreaderBase::New();
  threader->SetMaximumNumberOfThreads(threads);
  threader->SetNumberOfWorkUnits(threads);
  threader->ParallelizeArray(
    0,
    block.size[2],
    [&](itk::SizeValueType z) {
      std::size_t index = z * block.size[0] * block.size[1];
      for (int y = 0; y < block.size[1]; ++y)
      {
        for (int x = 0; x < block.size[0]; ++x, ++index)
        {
          // Image x runs to the left and y to the back; the brain's y runs to the front.
          const Position position{ (block.start[0] + x + 0.5) * spacing - 0.5 - brainCentre[0],
                                   brainCentre[1] - ((block.start[1] + y + 0.5) * spacing - 0.5),
                                   (block.start[2] + static_cast<double>(z) + 0.5) * spacing - 0.5 - brainCentre[2] };
          const double   depth = anatomy.Depth(position);
          if (depth < -8.0)
          {
            continue;
          }
          Tissues       tissues;
          TumourMixture mixture;
          if (depth < -blur)
          {
            tissues.fluid = 1.0;
          }
          else
          {
            tissues = anatomy.Evaluate(tumour.BeforeGrowth(position), depth);
            mixture = tumour.Evaluate(position, tissues, depth);
          }
          for (int s = 0; s < 4; ++s)
          {
            signals[s][index] = static_cast<float>(scanner.Signal(static_cast<Sequence>(s), tissues, mixture));
          }
          inside[index] = depth > 0.0 ? 1 : 0;
          const std::size_t voxel = (block.start[2] + z) * slice + (block.start[1] + y) * row + block.start[0] + x;
          if (white != nullptr && tissues.white > 0.999 && tissues.vessel < 0.001 && mixture.tumour < 0.001)
          {
            white[voxel] = inside[index];
          }
          if (mixture.tumour > 0.5 && inside[index])
          {
            labels[voxel] = mixture.necrosis > 0.5 ? 1 : mixture.enhancing > 0.5 ? 4 : 2;
            ++labelled[z];
          }
          if (regions != nullptr && inside[index])
          {
            regions[voxel] = static_cast<unsigned char>(RegionOf(tissues, labels[voxel]));
          }
        }
      }
    },
    nullptr);
  std::size_t voxels = 0;
  for (const std::size_t count : labelled)
  {
    voxels += count;
  }
  phantom.volume = 0.001 * spacing * spacing * spacing * static_cast<double>(voxels);

  for (int s = 0; s < 4; ++s)
  {
    scanner.Acquire(static_cast<Sequence>(s), block, signals[s], threads);
    phantom.images[s] = MakeImage<Phantom::ImageType>(spacing);
    float * const buffer = phantom.images[s]->GetBufferPointer();
    std::size_t   index = 0;
    for (int z = 0; z < block.size[2]; ++z)
    {
      for (int y = 0; y < block.size[1]; ++y)
      {
        float * line = buffer + (block.start[2] + z) * slice + (block.start[1] + y) * row + block.start[0];
        for (int x = 0; x < block.size[0]; ++x, ++index)
        {
          // A voxel of the brain is never 0, which would put it outside.
          line[x] = inside[index] ? std::max(signals[s][index], 1.0f) : 0.0f;
        }
      }
    }
    if (parameters.truth)
    {
      scanner.LogField(static_cast<Sequence>(s), block, signals[s], threads);
      phantom.logFields[s] = MakeImage<Phantom::ImageType>(spacing);
      float * const field = phantom.logFields[s]->GetBufferPointer();
      for (std::size_t i = 0; i < block.Count(); ++i)
      {
        const std::size_t x = i % block.size[0];
        const std::size_t y = i / block.size[0] % block.size[1];
        const std::size_t z = i / block.size[0] / block.size[1];
        field[(block.start[2] + z) * slice + (block.start[1] + y) * row + block.start[0] + x] =
          inside[i] ? signals[s][i] : 0.0f;
      }
    }
  }
  return phantom;
}

} // namespace glioma
