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

#include <algorithm>
#include <cmath>
#include <limits>

namespace itk
{
template <typename TInputImage, typename TOutputImage, typename TMaskImage>
TorchSegmentationFilter<TInputImage, TOutputImage, TMaskImage>::TorchSegmentationFilter()
{
  this->AddOptionalInputName("MaskImage", 1);
  this->SetNumberOfRequiredOutputs(2);
  this->SetNthOutput(0, this->MakeOutput(0));
  this->SetNthOutput(1, this->MakeOutput(1));
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
    if (tile != 0 && (tile % manifest.TileStep != 0 || tile < 2 * manifest.Halo + manifest.TileStep))
    {
      itkExceptionMacro("A tile of " << tile << " voxels on axis " << axis << " does not fit the model: multiples of "
                                     << manifest.TileStep << " from "
                                     << (2 * manifest.Halo + 2 * manifest.TileStep - 1) / manifest.TileStep *
                                          manifest.TileStep
                                     << " on do, 0 chooses");
    }
  }
}

template <typename TInputImage, typename TOutputImage, typename TMaskImage>
void
TorchSegmentationFilter<TInputImage, TOutputImage, TMaskImage>::VerifyInputInformation() const
{
  Superclass::VerifyInputInformation();
  const TInputImage *        input = this->GetInput();
  const TorchModelManifest & manifest = m_Model->GetManifest();
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
    const std::string positive = "LPS";
    const std::string negative = "RAI";
    std::string       given;
    for (unsigned int axis = 0; axis < 3; ++axis)
    {
      unsigned int nearest = 0;
      for (unsigned int row = 1; row < 3; ++row)
      {
        if (std::abs(input->GetDirection()[row][axis]) > std::abs(input->GetDirection()[nearest][axis]))
        {
          nearest = row;
        }
      }
      given += input->GetDirection()[nearest][axis] > 0.0 ? positive[nearest] : negative[nearest];
    }
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
    probabilities->SetLargestPossibleRegion(RegionType());
  }
}

template <typename TInputImage, typename TOutputImage, typename TMaskImage>
double
TorchSegmentationFilter<TInputImage, TOutputImage, TMaskImage>::BytesOfTile(double voxels) const
{
  // Measured on the module's networks: four and a half maps of the first level live at once.
  const unsigned int width = m_Model->GetManifest().Width;
  return voxels * 4.5 * sizeof(float) * (width == 0 ? 32.0 : static_cast<double>(width));
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
        const double bytes = this->BytesOfTile(voxels);
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
  for (unsigned int axis = 0; axis < 3; ++axis)
  {
    AxisPlan & one = plan[axis];
    const auto voxels = static_cast<OffsetValueType>(this->GetInput()->GetLargestPossibleRegion().GetSize()[axis]);
    one.Tile = static_cast<OffsetValueType>(m_TileSize[axis] != 0 ? m_TileSize[axis] : manifest.PatchSize[axis]);
    if (one.Tile == 0)
    {
      one.Tile = (std::min(voxels, usualPatch) + step - 1) / step * step;
    }
    one.Keep = one.Tile;
    // As MONAI: patches at equal intervals, the last one moved back into the image; a smaller image in the middle.
    if (voxels <= one.Tile)
    {
      one.Cell = one.Tile;
      one.Starts.push_back(-((one.Tile - voxels) / 2));
      continue;
    }
    one.Cell =
      std::max<OffsetValueType>(1, static_cast<OffsetValueType>(static_cast<double>(one.Tile) * (1.0 - m_Overlap)));
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
TorchSegmentationFilter<TInputImage, TOutputImage, TMaskImage>::MakePlan() const -> PlanType
{
  PlanType plan;
  if (m_Model->GetManifest().Halo > 0)
  {
    this->PlanCells(plan);
  }
  else
  {
    this->PlanPatches(plan);
  }
  return plan;
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
  const PlanType plan = this->MakePlan();
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
  auto *                        input = const_cast<TInputImage *>(this->GetInput());
  const RegionType              piece = this->GetOutput()->GetRequestedRegion();
  const PlanType                plan = this->MakePlan();
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
  RegionType support(first, size);
  support.Crop(input->GetLargestPossibleRegion());
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
  const auto zero = NumericTraits<typename TMaskImage::PixelType>::ZeroValue();
  const auto length = static_cast<OffsetValueType>(region.GetSize(0));
  IndexType  index = region.GetIndex();
  for (SizeValueType z = 0; z < region.GetSize(2); ++z)
  {
    for (SizeValueType y = 0; y < region.GetSize(1); ++y)
    {
      index[1] = region.GetIndex(1) + static_cast<IndexValueType>(y);
      index[2] = region.GetIndex(2) + static_cast<IndexValueType>(z);
      const auto * row = mask->GetBufferPointer() + mask->ComputeOffset(index);
      if (std::any_of(row, row + length, [zero](typename TMaskImage::PixelType value) { return value != zero; }))
      {
        return true;
      }
    }
  }
  return false;
}

template <typename TInputImage, typename TOutputImage, typename TMaskImage>
TorchVolume
TorchSegmentationFilter<TInputImage, TOutputImage, TMaskImage>::RunTile(const RegionType &   readRegion,
                                                                        std::vector<float> & padded) const
{
  const TInputImage * input = this->GetInput();
  const RegionType    largest = input->GetLargestPossibleRegion();
  const RegionType    buffered = input->GetBufferedRegion();
  const unsigned int  components = input->GetNumberOfComponentsPerPixel();
  const SizeType      size = readRegion.GetSize();
  const ThreadIdType  threads =
    std::min<ThreadIdType>(this->GetNumberOfWorkUnits(), this->GetMultiThreader()->GetMaximumNumberOfThreads());
  TorchVolumeView view;
  view.Components = components;
  view.RegionSize = size;
  if (largest.IsInside(readRegion))
  {
    view.Buffer = input->GetBufferPointer() +
                  static_cast<OffsetValueType>(components) * input->ComputeOffset(readRegion.GetIndex());
    view.RowStride = buffered.GetSize(0);
    view.SliceStride = buffered.GetSize(0) * buffered.GetSize(1);
    return m_Model->ComputeProbabilities(view, threads);
  }
  std::vector<float> outside(components, static_cast<float>(m_Model->GetManifest().OutsideValue));
  for (unsigned int component = 0; component < m_OutsideValues.Size(); ++component)
  {
    outside[component] = static_cast<float>(m_OutsideValues[component]);
  }
  padded.resize(components * size[0] * size[1] * size[2]);
  for (std::size_t k = 0; k < padded.size(); k += components)
  {
    std::copy(outside.begin(), outside.end(), padded.begin() + static_cast<std::ptrdiff_t>(k));
  }
  RegionType inside = readRegion;
  if (inside.Crop(largest))
  {
    const SizeType n = inside.GetSize();
    for (SizeValueType z = 0; z < n[2]; ++z)
    {
      for (SizeValueType y = 0; y < n[1]; ++y)
      {
        IndexType index = inside.GetIndex();
        index[1] += static_cast<IndexValueType>(y);
        index[2] += static_cast<IndexValueType>(z);
        const float * row =
          input->GetBufferPointer() + static_cast<OffsetValueType>(components) * input->ComputeOffset(index);
        const OffsetValueType target = ((index[2] - readRegion.GetIndex(2)) * static_cast<OffsetValueType>(size[1]) +
                                        index[1] - readRegion.GetIndex(1)) *
                                         static_cast<OffsetValueType>(size[0]) +
                                       index[0] - readRegion.GetIndex(0);
        std::copy(row, row + components * n[0], padded.begin() + static_cast<OffsetValueType>(components) * target);
      }
    }
  }
  view.Buffer = padded.data();
  return m_Model->ComputeProbabilities(view, threads);
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

  IndexType       index = region.GetIndex();
  const IndexType end = region.GetUpperIndex();
  for (index[2] = region.GetIndex(2); index[2] <= end[2]; ++index[2])
  {
    for (index[1] = region.GetIndex(1); index[1] <= end[1]; ++index[1])
    {
      index[0] = region.GetIndex(0);
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
      for (SizeValueType x = 0; x < region.GetSize(0); ++x)
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
}

template <typename TInputImage, typename TOutputImage, typename TMaskImage>
void
TorchSegmentationFilter<TInputImage, TOutputImage, TMaskImage>::GenerateData()
{
  const PlanType   plan = this->MakePlan();
  const RegionType piece = this->GetOutput()->GetRequestedRegion();
  this->GetOutput()->SetBufferedRegion(piece);
  this->GetOutput()->Allocate();
  if (m_GenerateProbabilities)
  {
    this->GetProbabilities()->SetBufferedRegion(piece);
    this->GetProbabilities()->Allocate();
  }
  m_NumberOfComputedTiles = 0;
  const auto                    classes = static_cast<std::size_t>(m_Model->GetManifest().ClassNames.size());
  const bool                    blended = m_Model->GetManifest().Halo == 0;
  const std::vector<RegionType> tiles = this->TilesOf(plan, piece);

  std::vector<float>                sum;
  std::vector<float>                weight;
  std::array<std::vector<float>, 3> window;
  float                             floor = 0.0F;
  if (blended)
  {
    sum.assign(classes * piece.GetNumberOfPixels(), 0.0F);
    weight.assign(piece.GetNumberOfPixels(), 0.0F);
    double smallest = 1.0;
    for (unsigned int axis = 0; axis < 3; ++axis)
    {
      const double sigma = 0.125 * static_cast<double>(plan[axis].Tile);
      const double middle = 0.5 * static_cast<double>(plan[axis].Tile - 1);
      for (OffsetValueType i = 0; i < plan[axis].Tile; ++i)
      {
        const double distance = static_cast<double>(i) - middle;
        window[axis].push_back(static_cast<float>(std::exp(-0.5 * distance * distance / (sigma * sigma))));
      }
      smallest *= static_cast<double>(window[axis].front());
    }
    floor = static_cast<float>(std::max(smallest, 1e-3));
  }
  else
  {
    this->WriteVoxels(piece, nullptr, SizeType(), IndexType());
  }

  std::vector<float> padded;
  for (std::size_t number = 0; number < tiles.size(); ++number)
  {
    this->UpdateProgress(static_cast<float>(number) / static_cast<float>(tiles.size()));
    if (this->GetAbortGenerateData())
    {
      ProcessAborted aborted(__FILE__, __LINE__);
      aborted.SetDescription("The segmentation was aborted");
      throw aborted;
    }
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
    const TorchVolume result = this->RunTile(RegionType(readIndex, readSize), padded);
    ++m_NumberOfComputedTiles;
    if (!blended)
    {
      this->WriteVoxels(written, result.Buffer.data(), result.RegionSize, tile.GetIndex());
      continue;
    }
    const IndexType end = written.GetUpperIndex();
    for (IndexValueType z = written.GetIndex(2); z <= end[2]; ++z)
    {
      for (IndexValueType y = written.GetIndex(1); y <= end[1]; ++y)
      {
        const OffsetValueType inTile[2] = { y - tile.GetIndex(1), z - tile.GetIndex(2) };
        const float           rowWeight =
          window[1][static_cast<std::size_t>(inTile[0])] * window[2][static_cast<std::size_t>(inTile[1])];
        for (IndexValueType x = written.GetIndex(0); x <= end[0]; ++x)
        {
          const auto column = static_cast<std::size_t>(x - tile.GetIndex(0));
          const auto from =
            static_cast<std::size_t>((inTile[1] * static_cast<OffsetValueType>(result.RegionSize[1]) + inTile[0]) *
                                     static_cast<OffsetValueType>(result.RegionSize[0])) +
            column;
          const auto to = static_cast<std::size_t>(
            ((z - piece.GetIndex(2)) * static_cast<OffsetValueType>(piece.GetSize(1)) + y - piece.GetIndex(1)) *
              static_cast<OffsetValueType>(piece.GetSize(0)) +
            x - piece.GetIndex(0));
          const float one = std::max(rowWeight * window[0][column], floor);
          weight[to] += one;
          for (std::size_t c = 0; c < classes; ++c)
          {
            sum[classes * to + c] += one * result.Buffer[classes * from + c];
          }
        }
      }
    }
  }
  if (blended)
  {
    for (std::size_t voxel = 0; voxel < weight.size(); ++voxel)
    {
      for (std::size_t c = 0; c < classes; ++c)
      {
        // A voxel of no patch lies outside the mask and becomes background.
        sum[classes * voxel + c] /= weight[voxel] > 0.0F ? weight[voxel] : 1.0F;
      }
    }
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
  os << indent << "Overlap: " << m_Overlap << std::endl;
  os << indent << "OutsideValues: " << m_OutsideValues << std::endl;
  os << indent << "NumberOfComputedTiles: " << m_NumberOfComputedTiles << std::endl;
}
} // namespace itk

#endif // itkTorchSegmentationFilter_hxx
