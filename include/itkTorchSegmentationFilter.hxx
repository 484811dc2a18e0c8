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
#ifndef itkTorchSegmentationFilter_hxx
#define itkTorchSegmentationFilter_hxx

#include "itkAxisAlignedMapping.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <deque>
#include <limits>
#include <memory>

namespace itk
{
template <typename TInputImage, typename TOutputImage, typename TMaskImage>
TorchSegmentationFilter<TInputImage, TOutputImage, TMaskImage>::TorchSegmentationFilter()
{
  this->AddOptionalInputName("MaskImage", 1);
  this->SetNumberOfRequiredOutputs(2);
  this->SetNthOutput(0, this->MakeOutput(0));
  this->SetNthOutput(1, this->MakeOutput(1));
  this->SetCoordinateTolerance(std::max(1e-3, this->GetCoordinateTolerance()));
  this->SetDirectionTolerance(std::max(1e-3, this->GetDirectionTolerance()));
}

template <typename TInputImage, typename TOutputImage, typename TMaskImage>
DataObject::Pointer
TorchSegmentationFilter<TInputImage, TOutputImage, TMaskImage>::MakeOutput(
  ProcessObject::DataObjectPointerArraySizeType index)
{
  if (index == 1)
  {
    return ProbabilityImageType::New().GetPointer();
  }
  return Superclass::MakeOutput(index);
}

template <typename TInputImage, typename TOutputImage, typename TMaskImage>
auto
TorchSegmentationFilter<TInputImage, TOutputImage, TMaskImage>::GetProbabilities() -> ProbabilityImageType *
{
  return dynamic_cast<ProbabilityImageType *>(this->ProcessObject::GetOutput(1));
}

template <typename TInputImage, typename TOutputImage, typename TMaskImage>
auto
TorchSegmentationFilter<TInputImage, TOutputImage, TMaskImage>::GetProbabilities() const -> const ProbabilityImageType *
{
  return dynamic_cast<const ProbabilityImageType *>(this->ProcessObject::GetOutput(1));
}

template <typename TInputImage, typename TOutputImage, typename TMaskImage>
ModifiedTimeType
TorchSegmentationFilter<TInputImage, TOutputImage, TMaskImage>::GetMTime() const
{
  const ModifiedTimeType own = Superclass::GetMTime();
  return m_Model ? std::max(own, m_Model->GetMTime()) : own;
}

template <typename TInputImage, typename TOutputImage, typename TMaskImage>
void
TorchSegmentationFilter<TInputImage, TOutputImage, TMaskImage>::VerifyPreconditions() const
{
  Superclass::VerifyPreconditions();
  if (!m_Model)
  {
    itkExceptionMacro("No model is set: load a TorchModel and give it with SetModel()");
  }
  if (!m_Model->IsLoaded())
  {
    itkExceptionMacro("The model '" << m_Model->GetPath() << "' is not loaded: call its Load()");
  }
  const TorchModelManifest & manifest = m_Model->GetManifest();
  if (manifest.Task != "segmentation")
  {
    itkExceptionMacro("The model '" << m_Model->GetPath() << "' is for " << manifest.Task << ", not for segmentation");
  }
  if (manifest.ClassNames.size() > static_cast<std::size_t>(NumericTraits<typename TOutputImage::PixelType>::max()))
  {
    itkExceptionMacro("The model has " << manifest.ClassNames.size() << " classes, more than the label's type holds");
  }
  if (m_OutsideValues.Size() != 0 && m_OutsideValues.Size() != manifest.ChannelNames.size())
  {
    itkExceptionMacro("OutsideValues has " << m_OutsideValues.Size() << " values, the model "
                                           << manifest.ChannelNames.size() << " channels");
  }
  for (unsigned int axis = 0; axis < 3; ++axis)
  {
    const SizeValueType tile = m_TileSize[axis];
    if (tile != 0 && (tile % manifest.TileStep != 0 || tile < SmallestPatch(manifest)))
    {
      itkExceptionMacro("A tile of " << tile << " voxels on axis " << axis << " does not fit the model: multiples of "
                                     << manifest.TileStep << " from " << SmallestPatch(manifest)
                                     << " on do, 0 chooses");
    }
  }
  if (m_Blend > BlendEnum::Constant)
  {
    itkExceptionMacro("Blend is " << static_cast<int>(m_Blend) << ": set Gaussian (0) or Constant (1)");
  }
  if (m_Border > BorderEnum::Circular)
  {
    itkExceptionMacro("Border is " << static_cast<int>(m_Border)
                                   << ": set Constant (0), Reflect (1), Replicate (2) or Circular (3)");
  }
  // Clamping lets NaN through.
  if (!std::isfinite(m_Overlap) || !std::isfinite(m_SigmaScale))
  {
    itkExceptionMacro("Overlap is " << m_Overlap << " and SigmaScale " << m_SigmaScale
                                    << ": set finite numbers, 0.25 and 0.125 are the defaults");
  }
}

template <typename TInputImage, typename TOutputImage, typename TMaskImage>
void
TorchSegmentationFilter<TInputImage, TOutputImage, TMaskImage>::VerifyInputInformation() const
{
  Superclass::VerifyInputInformation();
  const TInputImage *        input = this->GetInput();
  const TorchModelManifest & manifest = m_Model->GetManifest();
  if (input->GetLargestPossibleRegion().GetNumberOfPixels() == 0)
  {
    itkExceptionMacro("The image has no voxels: its size is " << input->GetLargestPossibleRegion().GetSize()
                                                              << ". Check the reader before this filter.");
  }
  if (input->GetNumberOfComponentsPerPixel() != manifest.ChannelNames.size())
  {
    std::string names;
    for (const std::string & name : manifest.ChannelNames)
    {
      names += " " + name;
    }
    itkExceptionMacro("The image has " << input->GetNumberOfComponentsPerPixel() << " components, the model '"
                                       << m_Model->GetPath() << "' wants " << manifest.ChannelNames.size() << ":"
                                       << names);
  }
  for (unsigned int axis = 0; axis < 3; ++axis)
  {
    const double wanted = manifest.Spacing[axis];
    const double given = input->GetSpacing()[axis];
    if (wanted > 0.0 && std::abs(given - wanted) > 0.01 * wanted)
    {
      itkExceptionMacro("The image has a spacing of " << given << " mm on axis " << axis << ", the model '"
                                                      << m_Model->GetPath() << "' wants " << wanted
                                                      << " mm: GliomaGradingFilter resamples, this filter does not");
    }
  }
  if (manifest.Orientation.size() == 3)
  {
    const std::string given = NearestImageOrientation(input->GetDirection());
    if (given != manifest.Orientation)
    {
      itkExceptionMacro("The axes of the image increase to " << given << ", the model '" << m_Model->GetPath()
                                                             << "' wants " << manifest.Orientation
                                                             << ": GliomaGradingFilter turns it, this filter does not");
    }
  }
  const TMaskImage * mask = this->GetMaskImage();
  if (mask && mask->GetLargestPossibleRegion() != input->GetLargestPossibleRegion())
  {
    itkExceptionMacro("The mask has the region " << mask->GetLargestPossibleRegion() << ", the image "
                                                 << input->GetLargestPossibleRegion());
  }
}

template <typename TInputImage, typename TOutputImage, typename TMaskImage>
void
TorchSegmentationFilter<TInputImage, TOutputImage, TMaskImage>::GenerateOutputInformation()
{
  Superclass::GenerateOutputInformation();
  const TInputImage * input = this->GetInput();
  this->GetOutput()->SetMetaDataDictionary(input->GetMetaDataDictionary());
  ProbabilityImageType * probabilities = this->GetProbabilities();
  probabilities->SetNumberOfComponentsPerPixel(static_cast<unsigned int>(m_Model->GetManifest().ClassNames.size()));
  probabilities->SetMetaDataDictionary(input->GetMetaDataDictionary());
  if (!m_GenerateProbabilities)
  {
    // Empty, but where the image is: who asks for it asks for nothing outside the image.
    probabilities->SetLargestPossibleRegion(RegionType(input->GetLargestPossibleRegion().GetIndex(), SizeType()));
  }
}

template <typename TInputImage, typename TOutputImage, typename TMaskImage>
void
TorchSegmentationFilter<TInputImage, TOutputImage, TMaskImage>::PlanCells(PlanType & plan) const
{
  const TorchModelManifest & manifest = m_Model->GetManifest();
  const SizeType             size = this->GetInput()->GetLargestPossibleRegion().GetSize();
  const auto                 halo = static_cast<OffsetValueType>(manifest.Halo);
  const auto                 step = static_cast<OffsetValueType>(manifest.TileStep);
  const auto                 roundedUp = [step](OffsetValueType n) { return (n + step - 1) / step * step; };

  // Candidates of an axis: a few equal tiles that cover it.
  std::array<std::vector<OffsetValueType>, 3> candidates;
  for (unsigned int axis = 0; axis < 3; ++axis)
  {
    const auto voxels = static_cast<OffsetValueType>(size[axis]);
    if (m_TileSize[axis] != 0)
    {
      candidates[axis] = { static_cast<OffsetValueType>(m_TileSize[axis]) };
    }
    else if (manifest.Network.empty() && manifest.PatchSize[axis] != 0)
    {
      // A foreign graph may not take another size.
      candidates[axis] = { static_cast<OffsetValueType>(manifest.PatchSize[axis]) };
    }
    else
    {
      for (OffsetValueType tiles = 1; tiles <= 32; ++tiles)
      {
        const OffsetValueType tile = roundedUp(roundedUp((voxels + tiles - 1) / tiles) + 2 * halo);
        if (candidates[axis].empty() || candidates[axis].back() != tile)
        {
          candidates[axis].push_back(tile);
        }
      }
    }
  }
  const auto keepOf = [&](OffsetValueType tile) { return (tile - 2 * halo) / step * step; };
  const auto tilesOf = [&](unsigned int axis, OffsetValueType tile) {
    return (static_cast<OffsetValueType>(size[axis]) + keepOf(tile) - 1) / keepOf(tile);
  };
  double                         best = std::numeric_limits<double>::max();
  double                         least = std::numeric_limits<double>::max();
  std::array<OffsetValueType, 3> chosen{ { 0, 0, 0 } };
  const bool                     asked = m_TileSize[0] != 0 && m_TileSize[1] != 0 && m_TileSize[2] != 0;
  for (const OffsetValueType x : candidates[0])
  {
    for (const OffsetValueType y : candidates[1])
    {
      for (const OffsetValueType z : candidates[2])
      {
        const double voxels = static_cast<double>(x) * static_cast<double>(y) * static_cast<double>(z);
        const double bytes = m_Model->EstimateBytes(
          SizeType{ { static_cast<SizeValueType>(x), static_cast<SizeValueType>(y), static_cast<SizeValueType>(z) } });
        const double work = voxels * static_cast<double>(tilesOf(0, x) * tilesOf(1, y) * tilesOf(2, z));
        least = std::min(least, bytes);
        if ((asked || bytes <= 1e6 * m_TileMemory) && work < best)
        {
          best = work;
          chosen = { { x, y, z } };
        }
      }
    }
  }
  if (chosen[0] == 0)
  {
    itkExceptionMacro("TileMemory is " << m_TileMemory << " MB, but the smallest tile of the model takes about "
                                       << std::ceil(least / 1e6) << " MB");
  }
  for (unsigned int axis = 0; axis < 3; ++axis)
  {
    AxisPlan & one = plan[axis];
    one.Tile = chosen[axis];
    one.Halo = halo;
    one.Keep = keepOf(one.Tile);
    one.Cell = one.Keep;
    for (OffsetValueType start = 0; start < static_cast<OffsetValueType>(size[axis]); start += one.Keep)
    {
      one.Starts.push_back(start);
    }
  }
}

template <typename TInputImage, typename TOutputImage, typename TMaskImage>
void
TorchSegmentationFilter<TInputImage, TOutputImage, TMaskImage>::PlanPatches(PlanType & plan) const
{
  constexpr OffsetValueType  usualPatch = 128;
  const TorchModelManifest & manifest = m_Model->GetManifest();
  const auto                 step = static_cast<OffsetValueType>(manifest.TileStep);
  const SizeType             size = this->GetInput()->GetLargestPossibleRegion().GetSize();
  const auto                 intervalOf = [this](OffsetValueType patch) {
    return std::max<OffsetValueType>(1, static_cast<OffsetValueType>(static_cast<double>(patch) * (1.0 - m_Overlap)));
  };
  // Patches of an axis.
  const auto countOf = [&](unsigned int axis, OffsetValueType patch) {
    const OffsetValueType rest = static_cast<OffsetValueType>(size[axis]) - patch;
    return rest <= 0 ? OffsetValueType{ 1 } : 1 + (rest + intervalOf(patch) - 1) / intervalOf(patch);
  };
  std::array<std::vector<OffsetValueType>, 3> candidates;
  bool                                        chooses = false;
  for (unsigned int axis = 0; axis < 3; ++axis)
  {
    const auto voxels = static_cast<OffsetValueType>(size[axis]);
    auto patch = static_cast<OffsetValueType>(m_TileSize[axis] != 0 ? m_TileSize[axis] : manifest.PatchSize[axis]);
    if (patch != 0)
    {
      candidates[axis] = { patch };
    }
    else if (manifest.Network.empty())
    {
      // What a foreign graph gives may depend on the size of its patch: MONAI's usual one.
      candidates[axis] = { (std::min(voxels, usualPatch) + step - 1) / step * step };
    }
    else
    {
      chooses = true;
      OffsetValueType smallest = (voxels + step - 1) / step * step;
      for (OffsetValueType count = 1; count <= 32 && smallest >= step; ++count)
      {
        while (smallest > step && countOf(axis, smallest - step) <= count)
        {
          smallest -= step;
        }
        candidates[axis].push_back(smallest);
        smallest -= step;
      }
    }
  }
  struct Candidate
  {
    std::array<OffsetValueType, 3> Patch;
    double                         Bytes, Work;
  };
  std::vector<Candidate> all;
  double                 best = std::numeric_limits<double>::max();
  double                 least = std::numeric_limits<double>::max();
  for (const OffsetValueType x : candidates[0])
  {
    for (const OffsetValueType y : candidates[1])
    {
      for (const OffsetValueType z : candidates[2])
      {
        const double bytes = m_Model->EstimateBytes(
          SizeType{ { static_cast<SizeValueType>(x), static_cast<SizeValueType>(y), static_cast<SizeValueType>(z) } });
        const double work = static_cast<double>(x) * static_cast<double>(y) * static_cast<double>(z) *
                            static_cast<double>(countOf(0, x) * countOf(1, y) * countOf(2, z));
        least = std::min(least, bytes);
        if (bytes <= 1e6 * m_TileMemory)
        {
          all.push_back({ { { x, y, z } }, bytes, work });
          best = std::min(best, work);
        }
      }
    }
  }
  // What takes the least memory of all that do hardly more than the least work.
  constexpr double               surplus = 1.15;
  double                         bytesOfChosen = std::numeric_limits<double>::max();
  std::array<OffsetValueType, 3> chosen{ { candidates[0][0], candidates[1][0], candidates[2][0] } };
  for (const Candidate & one : all)
  {
    if (one.Work <= surplus * best && one.Bytes < bytesOfChosen)
    {
      bytesOfChosen = one.Bytes;
      chosen = one.Patch;
    }
  }
  if (chooses && best == std::numeric_limits<double>::max())
  {
    itkExceptionMacro("TileMemory is " << m_TileMemory << " MB, but the smallest patch of the model takes about "
                                       << std::ceil(least / 1e6) << " MB");
  }
  for (unsigned int axis = 0; axis < 3; ++axis)
  {
    AxisPlan & one = plan[axis];
    const auto voxels = static_cast<OffsetValueType>(size[axis]);
    one.Tile = chosen[axis];
    one.Keep = one.Tile;
    // As MONAI: patches at equal intervals, the last one moved back into the image; a smaller image in the middle.
    if (voxels <= one.Tile)
    {
      one.Cell = one.Tile;
      one.Starts.push_back(-((one.Tile - voxels) / 2));
      continue;
    }
    one.Cell = intervalOf(one.Tile);
    for (OffsetValueType start = 0;; start += one.Cell)
    {
      one.Starts.push_back(std::min(start, voxels - one.Tile));
      if (start + one.Tile >= voxels)
      {
        break;
      }
    }
  }
}

template <typename TInputImage, typename TOutputImage, typename TMaskImage>
auto
TorchSegmentationFilter<TInputImage, TOutputImage, TMaskImage>::MakePlan() const -> const PlanType &
{
  if (!m_Model || !m_Model->IsLoaded() || !this->GetInput() ||
      this->GetInput()->GetLargestPossibleRegion().GetNumberOfPixels() == 0)
  {
    itkExceptionMacro("The tiles depend on a loaded model and the size of the image: call SetModel(), SetInput() and "
                      "UpdateOutputInformation() first");
  }
  const RegionType       largest = this->GetInput()->GetLargestPossibleRegion();
  const ModifiedTimeType time = this->GetMTime();
  if (m_PlanTime != time || m_PlanRegion != largest)
  {
    m_PlanTime = 0;
    m_Plan = PlanType();
    if (m_Model->GetManifest().Halo > 0)
    {
      this->PlanCells(m_Plan);
    }
    else
    {
      this->PlanPatches(m_Plan);
    }
    m_PlanTime = time;
    m_PlanRegion = largest;
  }
  return m_Plan;
}

template <typename TInputImage, typename TOutputImage, typename TMaskImage>
auto
TorchSegmentationFilter<TInputImage, TOutputImage, TMaskImage>::TilesOf(const PlanType &   plan,
                                                                        const RegionType & piece) const
  -> std::vector<RegionType>
{
  const IndexType         origin = this->GetInput()->GetLargestPossibleRegion().GetIndex();
  std::vector<RegionType> tiles;
  for (const OffsetValueType z : plan[2].Starts)
  {
    for (const OffsetValueType y : plan[1].Starts)
    {
      for (const OffsetValueType x : plan[0].Starts)
      {
        const IndexType start = { { origin[0] + x, origin[1] + y, origin[2] + z } };
        const SizeType  size = { { static_cast<SizeValueType>(plan[0].Keep),
                                   static_cast<SizeValueType>(plan[1].Keep),
                                   static_cast<SizeValueType>(plan[2].Keep) } };
        RegionType      tile(start, size);
        RegionType      common = tile;
        if (common.Crop(piece))
        {
          tiles.push_back(tile);
        }
      }
    }
  }
  return tiles;
}

template <typename TInputImage, typename TOutputImage, typename TMaskImage>
void
TorchSegmentationFilter<TInputImage, TOutputImage, TMaskImage>::EnlargeOutputRequestedRegion(DataObject * output)
{
  Superclass::EnlargeOutputRequestedRegion(output);
  auto *           image = dynamic_cast<ImageBase<3> *>(output);
  const RegionType largest = this->GetInput()->GetLargestPossibleRegion();
  RegionType       region = image->GetRequestedRegion();
  if (region.GetNumberOfPixels() == 0)
  {
    return;
  }
  const PlanType & plan = this->MakePlan();
  for (unsigned int axis = 0; axis < 3; ++axis)
  {
    const OffsetValueType cell = plan[axis].Cell;
    const OffsetValueType begin = region.GetIndex(axis) - largest.GetIndex(axis);
    const OffsetValueType end = begin + static_cast<OffsetValueType>(region.GetSize(axis));
    const OffsetValueType first = begin / cell * cell;
    const OffsetValueType last =
      std::min((end + cell - 1) / cell * cell, static_cast<OffsetValueType>(largest.GetSize(axis)));
    region.SetIndex(axis, largest.GetIndex(axis) + first);
    region.SetSize(axis, static_cast<SizeValueType>(last - first));
  }
  image->SetRequestedRegion(region);
}

template <typename TInputImage, typename TOutputImage, typename TMaskImage>
void
TorchSegmentationFilter<TInputImage, TOutputImage, TMaskImage>::GenerateInputRequestedRegion()
{
  Superclass::GenerateInputRequestedRegion();
  auto *           input = const_cast<TInputImage *>(this->GetInput());
  const RegionType piece = this->GetOutput()->GetRequestedRegion();
  const PlanType & plan = this->MakePlan();
  if (m_MaximumMemory != 0 && this->EstimateMemory(piece) > 1e6 * m_MaximumMemory)
  {
    itkExceptionMacro("The update of " << piece.GetSize() << " voxels takes about "
                                       << std::ceil(1e-6 * this->EstimateMemory(piece)) << " MB, MaximumMemory is "
                                       << m_MaximumMemory
                                       << " MB: stream it in more pieces, lower TileMemory, or choose a smaller tile");
  }
  const std::vector<RegionType> tiles = this->TilesOf(plan, piece);
  if (tiles.empty())
  {
    return;
  }
  // The first tile is the lowest corner, the last one the highest.
  IndexType first = tiles.front().GetIndex();
  SizeType  size;
  for (unsigned int axis = 0; axis < 3; ++axis)
  {
    size[axis] = static_cast<SizeValueType>(tiles.back().GetIndex(axis) - first[axis] + plan[axis].Tile);
    first[axis] -= plan[axis].Halo;
  }
  RegionType       support(first, size);
  const RegionType largest = input->GetLargestPossibleRegion();
  for (unsigned int axis = 0; m_Border != BorderEnum::Constant && axis < 3; ++axis)
  {
    // Voxels beyond the image come from anywhere of the axis.
    if (support.GetIndex(axis) < largest.GetIndex(axis) ||
        support.GetUpperIndex()[axis] > largest.GetUpperIndex()[axis])
    {
      support.SetIndex(axis, largest.GetIndex(axis));
      support.SetSize(axis, largest.GetSize(axis));
    }
  }
  support.Crop(largest);
  input->SetRequestedRegion(support);
  if (TMaskImage * mask = const_cast<TMaskImage *>(this->GetMaskImage()))
  {
    mask->SetRequestedRegion(piece);
  }
}

template <typename TInputImage, typename TOutputImage, typename TMaskImage>
bool
TorchSegmentationFilter<TInputImage, TOutputImage, TMaskImage>::HasMaskVoxel(const RegionType & region) const
{
  const TMaskImage * mask = this->GetMaskImage();
  if (!mask)
  {
    return true;
  }
  const auto length = static_cast<OffsetValueType>(region.GetSize(0));
  IndexType  index = region.GetIndex();
  for (SizeValueType z = 0; z < region.GetSize(2); ++z)
  {
    for (SizeValueType y = 0; y < region.GetSize(1); ++y)
    {
      index[1] = region.GetIndex(1) + static_cast<IndexValueType>(y);
      index[2] = region.GetIndex(2) + static_cast<IndexValueType>(z);
      const auto * row = mask->GetBufferPointer() + mask->ComputeOffset(index);
      if (std::any_of(row, row + length, [](typename TMaskImage::PixelType value) {
            return value != NumericTraits<typename TMaskImage::PixelType>::ZeroValue();
          }))
      {
        return true;
      }
    }
  }
  return false;
}

template <typename TInputImage, typename TOutputImage, typename TMaskImage>
TorchModel::PatchPointer
TorchSegmentationFilter<TInputImage, TOutputImage, TMaskImage>::BeginTile(const RegionType &            readRegion,
                                                                          std::vector<float> &          padded,
                                                                          const std::function<void()> & between) const
{
  const TInputImage * input = this->GetInput();
  const RegionType    largest = input->GetLargestPossibleRegion();
  const RegionType    buffered = input->GetBufferedRegion();
  const unsigned int  components = input->GetNumberOfComponentsPerPixel();
  const SizeType      size = readRegion.GetSize();
  const ThreadIdType  threads =
    std::min<ThreadIdType>(this->GetNumberOfWorkUnits(), this->GetMultiThreader()->GetMaximumNumberOfThreads());
  const bool      blended = m_Model->GetManifest().Halo == 0;
  TorchVolumeView view;
  view.Components = components;
  view.RegionSize = size;
  if (largest.IsInside(readRegion))
  {
    view.Buffer = input->GetBufferPointer() +
                  static_cast<OffsetValueType>(components) * input->ComputeOffset(readRegion.GetIndex());
    view.RowStride = buffered.GetSize(0);
    view.SliceStride = buffered.GetSize(0) * buffered.GetSize(1);
    return m_Model->BeginPatch(view, !blended, threads, between);
  }
  std::vector<float> outside(components, static_cast<float>(m_Model->GetManifest().OutsideValue));
  for (unsigned int component = 0; component < m_OutsideValues.Size(); ++component)
  {
    outside[component] = static_cast<float>(m_OutsideValues[component]);
  }
  // Where each voxel of an axis comes from; negative: from nowhere.
  std::array<std::vector<OffsetValueType>, 3> source;
  for (unsigned int axis = 0; axis < 3; ++axis)
  {
    const OffsetValueType start = readRegion.GetIndex(axis) - largest.GetIndex(axis);
    for (SizeValueType i = 0; i < size[axis]; ++i)
    {
      source[axis].push_back(
        this->SourceOf(start + static_cast<OffsetValueType>(i), static_cast<OffsetValueType>(largest.GetSize(axis))));
    }
  }
  padded.resize(components * size[0] * size[1] * size[2]);
  float * to = padded.data();
  for (const OffsetValueType z : source[2])
  {
    for (const OffsetValueType y : source[1])
    {
      const IndexType       first = { { buffered.GetIndex(0),
                                        largest.GetIndex(1) + std::max<OffsetValueType>(y, 0),
                                        largest.GetIndex(2) + std::max<OffsetValueType>(z, 0) } };
      const float *         row = y < 0 || z < 0 ? nullptr
                                                 : input->GetBufferPointer() +
                                             static_cast<OffsetValueType>(components) * input->ComputeOffset(first);
      const OffsetValueType bufferedFrom = buffered.GetIndex(0) - largest.GetIndex(0);
      for (const OffsetValueType x : source[0])
      {
        const float * from =
          row && x >= 0 ? row + static_cast<OffsetValueType>(components) * (x - bufferedFrom) : outside.data();
        to = std::copy(from, from + components, to);
      }
    }
  }
  view.Buffer = padded.data();
  return m_Model->BeginPatch(view, !blended, threads, between);
}

template <typename TInputImage, typename TOutputImage, typename TMaskImage>
OffsetValueType
TorchSegmentationFilter<TInputImage, TOutputImage, TMaskImage>::SourceOf(OffsetValueType position,
                                                                         OffsetValueType size) const
{
  if (position >= 0 && position < size)
  {
    return position;
  }
  const auto modulo = [](OffsetValueType n, OffsetValueType period) { return ((n % period) + period) % period; };
  switch (m_Border)
  {
    case BorderEnum::Reflect:
      if (size == 1)
      {
        return 0;
      }
      position = modulo(position, 2 * size - 2);
      return position < size ? position : 2 * size - 2 - position;
    case BorderEnum::Replicate:
      return position < 0 ? 0 : size - 1;
    case BorderEnum::Circular:
      return modulo(position, size);
    default:
      return -1;
  }
}

template <typename TInputImage, typename TOutputImage, typename TMaskImage>
void
TorchSegmentationFilter<TInputImage, TOutputImage, TMaskImage>::WriteVoxels(const RegionType & region,
                                                                            const float *      probabilities,
                                                                            const SizeType &   stored,
                                                                            const IndexType &  first)
{
  const TorchModelManifest & manifest = m_Model->GetManifest();
  const std::size_t          classes = manifest.ClassNames.size();
  const bool             exclusive = manifest.OutputActivation == "logits" || manifest.OutputActivation == "softmax";
  const TMaskImage *     mask = this->GetMaskImage();
  TOutputImage *         labels = this->GetOutput();
  ProbabilityImageType * target = m_GenerateProbabilities ? this->GetProbabilities() : nullptr;
  const auto             zero = NumericTraits<typename TMaskImage::PixelType>::ZeroValue();
  std::vector<float>     background(classes, 0.0F);
  background[0] = exclusive ? 1.0F : 0.0F;

  const auto write = [&](const RegionType & part) {
    IndexType       index = part.GetIndex();
    const IndexType end = part.GetUpperIndex();
    for (index[2] = part.GetIndex(2); index[2] <= end[2]; ++index[2])
    {
      for (index[1] = part.GetIndex(1); index[1] <= end[1]; ++index[1])
      {
        index[0] = part.GetIndex(0);
        auto *        labelRow = labels->GetBufferPointer() + labels->ComputeOffset(index);
        float *       targetRow = nullptr;
        const auto *  maskRow = mask ? mask->GetBufferPointer() + mask->ComputeOffset(index) : nullptr;
        const float * row = nullptr;
        if (target)
        {
          targetRow = target->GetBufferPointer() + static_cast<OffsetValueType>(classes) * target->ComputeOffset(index);
        }
        if (probabilities)
        {
          row =
            probabilities + static_cast<OffsetValueType>(classes) *
                              (((index[2] - first[2]) * static_cast<OffsetValueType>(stored[1]) + index[1] - first[1]) *
                                 static_cast<OffsetValueType>(stored[0]) +
                               index[0] - first[0]);
        }
        for (SizeValueType x = 0; x < part.GetSize(0); ++x)
        {
          const bool    isBackground = !row || (maskRow && maskRow[x] == zero);
          const float * voxel = isBackground ? background.data() : row + classes * x;
          const float * largest = std::max_element(voxel, voxel + classes);
          const auto    label = static_cast<std::size_t>(largest - voxel);
          labelRow[x] =
            static_cast<typename TOutputImage::PixelType>(exclusive ? label : (*largest > 0.5F ? label + 1 : 0));
          if (targetRow)
          {
            std::copy(voxel, voxel + classes, targetRow + classes * x);
          }
        }
      }
    }
  };
  this->GetMultiThreader()->template ParallelizeImageRegion<3>(region, write, nullptr);
}

template <typename TInputImage, typename TOutputImage, typename TMaskImage>
std::array<std::vector<float>, 3>
TorchSegmentationFilter<TInputImage, TOutputImage, TMaskImage>::WindowOf(const PlanType & plan, float & floor) const
{
  std::array<std::vector<float>, 3> window;
  double                            smallest = 1.0;
  for (unsigned int axis = 0; axis < 3; ++axis)
  {
    const double sigma = m_SigmaScale * static_cast<double>(plan[axis].Tile);
    const double middle = 0.5 * static_cast<double>(plan[axis].Tile - 1);
    for (OffsetValueType i = 0; i < plan[axis].Tile; ++i)
    {
      const double distance = static_cast<double>(i) - middle;
      window[axis].push_back(m_Blend == BlendEnum::Gaussian
                               ? static_cast<float>(std::exp(-0.5 * distance * distance / (sigma * sigma)))
                               : 1.0F);
    }
    smallest *= static_cast<double>(window[axis].front());
  }
  floor = static_cast<float>(std::max(smallest, 1e-3));
  return window;
}

template <typename TInputImage, typename TOutputImage, typename TMaskImage>
void
TorchSegmentationFilter<TInputImage, TOutputImage, TMaskImage>::AddBlended(
  const RegionType &                        written,
  const IndexType &                         tileStart,
  const TorchVolume &                       result,
  const std::array<std::vector<float>, 3> & window,
  float                                     floor,
  std::vector<float> &                      sum,
  std::vector<float> &                      weight)
{
  const RegionType  piece = this->GetOutput()->GetBufferedRegion();
  const std::size_t classes = result.Components;
  this->GetMultiThreader()->template ParallelizeImageRegion<3>(
    written,
    [&](const RegionType & part) {
      const IndexType end = part.GetUpperIndex();
      for (IndexValueType z = part.GetIndex(2); z <= end[2]; ++z)
      {
        for (IndexValueType y = part.GetIndex(1); y <= end[1]; ++y)
        {
          const auto  tileY = static_cast<std::size_t>(y - tileStart[1]);
          const auto  tileZ = static_cast<std::size_t>(z - tileStart[2]);
          const float rowWeight = window[1][tileY] * window[2][tileZ];
          auto        column = static_cast<std::size_t>(part.GetIndex(0) - tileStart[0]);
          auto        from = (tileZ * result.RegionSize[1] + tileY) * result.RegionSize[0] + column;
          auto        to = (static_cast<std::size_t>(z - piece.GetIndex(2)) * piece.GetSize(1) +
                     static_cast<std::size_t>(y - piece.GetIndex(1))) *
                      piece.GetSize(0) +
                    static_cast<std::size_t>(part.GetIndex(0) - piece.GetIndex(0));
          for (SizeValueType x = 0; x < part.GetSize(0); ++x, ++column, ++from, ++to)
          {
            const float one = std::max(rowWeight * window[0][column], floor);
            weight[to] += one;
            for (std::size_t c = 0; c < classes; ++c)
            {
              sum[classes * to + c] += one * result.Buffer[classes * from + c];
            }
          }
        }
      }
    },
    nullptr);
}

template <typename TInputImage, typename TOutputImage, typename TMaskImage>
auto
TorchSegmentationFilter<TInputImage, TOutputImage, TMaskImage>::GetChosenTileSize() const -> SizeType
{
  const PlanType & plan = this->MakePlan();
  SizeType         size;
  for (unsigned int axis = 0; axis < 3; ++axis)
  {
    size[axis] = static_cast<SizeValueType>(plan[axis].Tile);
  }
  return size;
}

template <typename TInputImage, typename TOutputImage, typename TMaskImage>
double
TorchSegmentationFilter<TInputImage, TOutputImage, TMaskImage>::EstimateMemory(const RegionType & region) const
{
  const SizeType tile = this->GetChosenTileSize();
  const auto     voxels = static_cast<double>(region.GetNumberOfPixels());
  const auto     classes = static_cast<double>(m_Model->GetManifest().ClassNames.size());
  double         ofVoxel = sizeof(typename TOutputImage::PixelType);
  ofVoxel += m_GenerateProbabilities ? classes * sizeof(float) : 0.0;
  ofVoxel += m_Model->GetManifest().Halo == 0 ? (classes + 1.0) * sizeof(float) : 0.0;
  // Tiles that reach beyond the image are copied.
  const double copied = static_cast<double>(tile[0]) * static_cast<double>(tile[1]) * static_cast<double>(tile[2]) *
                        sizeof(float) * static_cast<double>(this->GetInput()->GetNumberOfComponentsPerPixel());
  return m_Model->EstimateBytes(tile) + copied + voxels * ofVoxel;
}

template <typename TInputImage, typename TOutputImage, typename TMaskImage>
double
TorchSegmentationFilter<TInputImage, TOutputImage, TMaskImage>::EstimateMemory() const
{
  this->MakePlan();
  return this->EstimateMemory(this->GetInput()->GetLargestPossibleRegion());
}

template <typename TInputImage, typename TOutputImage, typename TMaskImage>
SizeValueType
TorchSegmentationFilter<TInputImage, TOutputImage, TMaskImage>::GetNumberOfTiles() const
{
  const PlanType & plan = this->MakePlan();
  return plan[0].Starts.size() * plan[1].Starts.size() * plan[2].Starts.size();
}

template <typename TInputImage, typename TOutputImage, typename TMaskImage>
double
TorchSegmentationFilter<TInputImage, TOutputImage, TMaskImage>::EstimateSeconds() const
{
  const PlanType &           plan = this->MakePlan();
  const TorchModelManifest & manifest = m_Model->GetManifest();
  const RegionType           largest = this->GetInput()->GetLargestPossibleRegion();
  const SizeType             tile = this->GetChosenTileSize();
  SizeType                   probe;
  for (unsigned int axis = 0; axis < 3; ++axis)
  {
    const SizeValueType wanted = (2 * manifest.Halo + (manifest.Halo == 0 ? 96 : 48) + manifest.TileStep - 1) /
                                 manifest.TileStep * manifest.TileStep;
    const bool fixed = manifest.Network.empty() && manifest.PatchSize[axis] != 0;
    probe[axis] = fixed ? tile[axis] : std::min(tile[axis], wanted);
  }
  SizeValueType count = 0;
  const auto *  mask = this->GetMaskImage();
  const bool    masked = mask && mask->GetBufferedRegion() == mask->GetLargestPossibleRegion();
  for (RegionType one : this->TilesOf(plan, largest))
  {
    one.Crop(largest);
    count += !masked || this->HasMaskVoxel(one) ? 1 : 0;
  }
  const unsigned int components = this->GetInput()->GetNumberOfComponentsPerPixel();
  std::vector<float> noise(components * probe[0] * probe[1] * probe[2]);
  std::uint32_t      state = 1;
  for (float & value : noise)
  {
    state = state * 1664525U + 1013904223U;
    value = static_cast<float>(state >> 8) / 8388608.0F - 1.0F;
  }
  TorchVolumeView view;
  view.Buffer = noise.data();
  view.Components = components;
  view.RegionSize = probe;
  const ThreadIdType threads =
    std::min<ThreadIdType>(this->GetNumberOfWorkUnits(), this->GetMultiThreader()->GetMaximumNumberOfThreads());
  double seconds = std::numeric_limits<double>::max();
  for (unsigned int run = 0; run < 3; ++run)
  {
    const auto start = std::chrono::steady_clock::now();
    m_Model->ComputeProbabilities(view, threads);
    seconds = std::min(seconds, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  // A tile allocates about twice what it holds at its peak, and the system clears that memory: what a byte costs here.
  constexpr std::size_t                  fresh = std::size_t{ 64 } << 20;
  constexpr std::size_t                  page = 4096;
  const auto                             start = std::chrono::steady_clock::now();
  const std::unique_ptr<volatile char[]> memory(new volatile char[fresh]);
  for (std::size_t i = 0; i < fresh; i += page)
  {
    memory[i] = 1;
  }
  const double ofByte =
    std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / static_cast<double>(fresh);
  seconds *= m_Model->EstimateOperations(tile) / m_Model->EstimateOperations(probe);
  return static_cast<double>(count) * (seconds + 2.0 * ofByte * m_Model->EstimateBytes(tile));
}

template <typename TInputImage, typename TOutputImage, typename TMaskImage>
void
TorchSegmentationFilter<TInputImage, TOutputImage, TMaskImage>::GenerateData()
{
  const PlanType & plan = this->MakePlan();
  const RegionType piece = this->GetOutput()->GetRequestedRegion();
  this->GetOutput()->SetBufferedRegion(piece);
  this->GetOutput()->Allocate();
  if (m_GenerateProbabilities)
  {
    this->GetProbabilities()->SetBufferedRegion(piece);
    this->GetProbabilities()->Allocate();
  }
  m_NumberOfComputedTiles = 0;
  if (piece.GetNumberOfPixels() == 0)
  {
    return; // the probabilities were asked for, which GenerateProbabilities leaves empty
  }
  this->GetMultiThreader()->SetNumberOfWorkUnits(this->GetNumberOfWorkUnits());
  const auto                    classes = static_cast<std::size_t>(m_Model->GetManifest().ClassNames.size());
  const bool                    blended = m_Model->GetManifest().Halo == 0;
  const std::vector<RegionType> tiles = this->TilesOf(plan, piece);

  std::vector<float>                sum;
  std::vector<float>                weight;
  std::array<std::vector<float>, 3> window;
  float                             floor = 0.0F;
  if (blended)
  {
    window = this->WindowOf(plan, floor);
  }
  else
  {
    this->WriteVoxels(piece, nullptr, SizeType(), IndexType());
  }

  // A device beside the processor works on one tile while the next one is copied.
  struct BegunTile
  {
    RegionType               Written;
    IndexType                Start;
    TorchModel::PatchPointer Patch;
  };
  std::deque<BegunTile> begun;
  const auto            endFirst = [&] {
    const BegunTile tile = begun.front();
    begun.pop_front();
    const TorchVolume result = m_Model->EndPatch(tile.Patch);
    ++m_NumberOfComputedTiles;
    if (blended)
    {
      // Not before the first patch, so that a single one need not share the memory.
      sum.resize(classes * piece.GetNumberOfPixels(), 0.0F);
      weight.resize(piece.GetNumberOfPixels(), 0.0F);
      this->AddBlended(tile.Written, tile.Start, result, window, floor, sum, weight);
    }
    else
    {
      this->WriteVoxels(tile.Written, result.Buffer.data(), result.RegionSize, tile.Start);
    }
  };

  std::vector<float> padded;
  std::size_t        number = 0;
  unsigned int       layers = 0;
  // How many layers a tile has is not known here: each takes a tenth of what is left.
  const auto between = [&] {
    const float ofTile = 1.0F - std::pow(0.9F, static_cast<float>(layers++));
    this->UpdateProgress((static_cast<float>(number) + ofTile) / static_cast<float>(tiles.size()));
    if (this->GetAbortGenerateData())
    {
      ProcessAborted aborted(__FILE__, __LINE__);
      aborted.SetDescription("The segmentation was aborted");
      throw aborted;
    }
  };
  for (; number < tiles.size(); ++number)
  {
    layers = 0;
    between();
    const RegionType & tile = tiles[number];
    RegionType         written = tile;
    written.Crop(piece);
    if (!this->HasMaskVoxel(written))
    {
      continue;
    }
    IndexType readIndex = tile.GetIndex();
    SizeType  readSize;
    for (unsigned int axis = 0; axis < 3; ++axis)
    {
      readIndex[axis] -= plan[axis].Halo;
      readSize[axis] = static_cast<SizeValueType>(plan[axis].Tile);
    }
    begun.push_back({ written, tile.GetIndex(), this->BeginTile(RegionType(readIndex, readSize), padded, between) });
    if (begun.size() >= m_Model->GetPatchesInFlight())
    {
      endFirst();
    }
  }
  while (!begun.empty())
  {
    endFirst();
  }
  if (blended)
  {
    sum.resize(classes * piece.GetNumberOfPixels(), 0.0F);
    weight.resize(piece.GetNumberOfPixels(), 0.0F);
    RegionType lines;
    lines.SetSize(SizeType{ { 1, 1, weight.size() / piece.GetSize(0) } });
    this->GetMultiThreader()->template ParallelizeImageRegion<3>(
      lines,
      [&](const RegionType & part) {
        const std::size_t length = piece.GetSize(0);
        const std::size_t begin = static_cast<std::size_t>(part.GetIndex(2)) * length;
        for (std::size_t voxel = begin; voxel < begin + part.GetSize(2) * length; ++voxel)
        {
          // A voxel of no patch lies outside the mask and becomes background.
          for (std::size_t c = 0; weight[voxel] > 0.0F && c < classes; ++c)
          {
            sum[classes * voxel + c] /= weight[voxel];
          }
          m_Model->Activate(sum.data() + classes * voxel);
        }
      },
      nullptr);
    this->WriteVoxels(piece, sum.data(), piece.GetSize(), piece.GetIndex());
  }
  this->UpdateProgress(1.0F);
}

template <typename TInputImage, typename TOutputImage, typename TMaskImage>
void
TorchSegmentationFilter<TInputImage, TOutputImage, TMaskImage>::PrintSelf(std::ostream & os, Indent indent) const
{
  Superclass::PrintSelf(os, indent);
  itkPrintSelfObjectMacro(Model);
  os << indent << "GenerateProbabilities: " << (m_GenerateProbabilities ? "On" : "Off") << std::endl;
  os << indent << "TileSize: " << m_TileSize << std::endl;
  os << indent << "TileMemory: " << m_TileMemory << std::endl;
  os << indent << "MaximumMemory: " << m_MaximumMemory << std::endl;
  os << indent << "Overlap: " << m_Overlap << std::endl;
  os << indent << "Blend: " << m_Blend << std::endl;
  os << indent << "SigmaScale: " << m_SigmaScale << std::endl;
  os << indent << "Border: " << m_Border << std::endl;
  os << indent << "OutsideValues: " << m_OutsideValues << std::endl;
  os << indent << "NumberOfComputedTiles: " << m_NumberOfComputedTiles << std::endl;
  os << indent << "PlanRegion: " << m_PlanRegion << std::endl;
  os << indent << "PlanTime: " << m_PlanTime << std::endl;
  for (unsigned int axis = 0; axis < 3; ++axis)
  {
    const AxisPlan & one = m_Plan[axis];
    os << indent << "Plan of axis " << axis << ": Tile " << one.Tile << ", Cell " << one.Cell << ", Keep " << one.Keep
       << ", Halo " << one.Halo << ", Starts";
    for (const OffsetValueType start : one.Starts)
    {
      os << ' ' << start;
    }
    os << std::endl;
  }
}
} // namespace itk

#endif // itkTorchSegmentationFilter_hxx
