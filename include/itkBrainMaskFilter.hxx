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
#ifndef itkBrainMaskFilter_hxx
#define itkBrainMaskFilter_hxx

#include "itkBrainMaskFilter.h"
#include "itkConnectedRuns.h"
#include "itkProgressReporter.h"

#include <algorithm>
#include <cmath>
#include <mutex>
#include <type_traits>
#include <vector>

namespace itk
{
template <typename TInputImage, typename TMaskImage>
BrainMaskFilter<TInputImage, TMaskImage>::BrainMaskFilter()
{
  for (const char * name : { "Status", "Volume", "Dice", "NumberOfFaces" })
  {
    this->ProcessObject::SetOutput(name, this->MakeOutput(name));
  }
  this->SetStatus(0);
  this->SetVolume(0.0);
  this->SetDice(1.0);
  this->SetNumberOfFaces(0);
}

template <typename TInputImage, typename TMaskImage>
DataObject::Pointer
BrainMaskFilter<TInputImage, TMaskImage>::MakeOutput(const DataObjectIdentifierType & name)
{
  if (name == "Status" || name == "NumberOfFaces")
  {
    return SimpleDataObjectDecorator<unsigned long>::New().GetPointer();
  }
  if (name == "Volume" || name == "Dice")
  {
    return SimpleDataObjectDecorator<double>::New().GetPointer();
  }
  return Superclass::MakeOutput(name);
}

template <typename TInputImage, typename TMaskImage>
void
BrainMaskFilter<TInputImage, TMaskImage>::VerifyPreconditions() const
{
  Superclass::VerifyPreconditions();
  if (!(m_MinimumVolume >= 0.0 && m_MinimumVolume < m_MaximumVolume))
  {
    itkExceptionMacro("MinimumVolume is " << m_MinimumVolume << " ml and MaximumVolume " << m_MaximumVolume
                                          << " ml; set 0 <= MinimumVolume < MaximumVolume.");
  }
  if (!(m_MinimumFaceFraction >= 0.0 && m_MinimumFaceFraction <= 1.0))
  {
    itkExceptionMacro("MinimumFaceFraction is " << m_MinimumFaceFraction << "; set a share of a face from 0 to 1.");
  }
  if (!(m_MinimumDice >= 0.0 && m_MinimumDice <= 1.0))
  {
    itkExceptionMacro("MinimumDice is " << m_MinimumDice << "; set an overlap from 0 to 1.");
  }
}

template <typename TInputImage, typename TMaskImage>
void
BrainMaskFilter<TInputImage, TMaskImage>::VerifyInputInformation() const
{
  Superclass::VerifyInputInformation();
  const TInputImage * input = this->GetInput();
  const unsigned int  components = input->GetNumberOfComponentsPerPixel();
  if (components == 0 || components > MaximumNumberOfComponents)
  {
    itkExceptionMacro("The image has " << components << " components; give 1 to " << MaximumNumberOfComponents
                                       << " sequences.");
  }
  if (input->GetLargestPossibleRegion().GetNumberOfPixels() == 0)
  {
    itkExceptionMacro("The input has no voxels: its size is " << input->GetLargestPossibleRegion().GetSize()
                                                              << ". Check the reader before this filter.");
  }
}

template <typename TInputImage, typename TMaskImage>
void
BrainMaskFilter<TInputImage, TMaskImage>::GenerateOutputInformation()
{
  Superclass::GenerateOutputInformation();
  this->GetOutput()->SetNumberOfComponentsPerPixel(1);
  this->GetOutput()->SetMetaDataDictionary(this->GetInput()->GetMetaDataDictionary());
}

template <typename TInputImage, typename TMaskImage>
void
BrainMaskFilter<TInputImage, TMaskImage>::GenerateInputRequestedRegion()
{
  Superclass::GenerateInputRequestedRegion();
  const_cast<TInputImage *>(this->GetInput())->SetRequestedRegionToLargestPossibleRegion();
}

template <typename TInputImage, typename TMaskImage>
void
BrainMaskFilter<TInputImage, TMaskImage>::EnlargeOutputRequestedRegion(DataObject * output)
{
  Superclass::EnlargeOutputRequestedRegion(output);
  this->GetOutput()->SetRequestedRegionToLargestPossibleRegion();
}

template <typename TInputImage, typename TMaskImage>
void
BrainMaskFilter<TInputImage, TMaskImage>::GenerateData()
{
  using ValueType = typename TInputImage::InternalPixelType;
  static_assert(std::is_arithmetic<ValueType>::value, "The image is scalar or an itk::VectorImage.");
  this->AllocateOutputs();
  const TInputImage * input = this->GetInput();
  TMaskImage *        output = this->GetOutput();
  const unsigned int  components = input->GetNumberOfComponentsPerPixel();
  const RegionType    region = input->GetLargestPossibleRegion();
  const auto          size = region.GetSize();
  const SizeValueType plane = size[0] * size[1];
  ProgressReporter    progress(this, 0, 4, 4);

  // How often each combination of sequences that are not 0 occurs; bit c stands for component c.
  std::vector<unsigned char> brain(region.GetNumberOfPixels());
  std::vector<SizeValueType> combinations(SizeValueType{ 1 } << components, 0);
  std::mutex                 mutex;
  bool                       hasBadValue = false;
  SizeValueType              badOffset = 0;
  this->GetMultiThreader()->SetNumberOfWorkUnits(this->GetNumberOfWorkUnits());
  this->GetMultiThreader()->ParallelizeArray(
    0,
    size[2],
    [&](SizeValueType z) {
      std::vector<SizeValueType> counts(combinations.size(), 0);
      const ValueType *          values = input->GetBufferPointer() + z * plane * components;
      bool                       bad = false;
      SizeValueType              offset = 0;
      for (SizeValueType v = 0; v < plane; ++v, values += components)
      {
        unsigned int combination = 0;
        for (unsigned int c = 0; c < components; ++c)
        {
          if (!bad && !std::isfinite(static_cast<double>(values[c])))
          {
            bad = true;
            offset = (z * plane + v) * components + c;
          }
          combination |= static_cast<unsigned int>(values[c] != ValueType{}) << c;
        }
        ++counts[combination];
        brain[z * plane + v] = combination != 0;
      }
      std::lock_guard<std::mutex> lock(mutex);
      for (SizeValueType k = 0; k < counts.size(); ++k)
      {
        combinations[k] += counts[k];
      }
      if (bad && (!hasBadValue || offset < badOffset))
      {
        hasBadValue = true;
        badOffset = offset;
      }
    },
    nullptr);
  if (hasBadValue)
  {
    itkExceptionMacro("The image is " << input->GetBufferPointer()[badOffset] << " in component "
                                      << badOffset % components << " at index "
                                      << input->ComputeIndex(static_cast<OffsetValueType>(badOffset / components))
                                      << ". Replace what is not finite, with 0 outside the brain.");
  }
  if (combinations[0] == brain.size())
  {
    itkExceptionMacro("The image is 0 in all " << brain.size() << " voxels of all " << components
                                               << " components: there is no brain. Check the files.");
  }
  progress.CompletedPixel();

  {
    const ConnectedRuns runs(brain.data(), size, true);
    const SizeValueType largest = runs.GetLargest();
    for (const auto & run : runs.GetRuns())
    {
      if (run.component != largest)
      {
        std::fill(brain.begin() + run.line * size[0] + run.begin, brain.begin() + run.line * size[0] + run.end, 0);
      }
    }
  }
  progress.CompletedPixel();

  {
    const ConnectedRuns background(brain.data(), size, false, false);
    for (const auto & run : background.GetRuns())
    {
      if (background.CountFaces(run.component) == 0)
      {
        std::fill(brain.begin() + run.line * size[0] + run.begin, brain.begin() + run.line * size[0] + run.end, 1);
      }
    }
  }
  progress.CompletedPixel();

  SizeValueType voxels = 0;
  SizeValueType onFace[6] = { 0, 0, 0, 0, 0, 0 };
  auto *        mask = output->GetBufferPointer();
  for (SizeValueType z = 0, v = 0; z < size[2]; ++z)
  {
    for (SizeValueType y = 0; y < size[1]; ++y)
    {
      SizeValueType inLine = 0;
      for (SizeValueType x = 0; x < size[0]; ++x, ++v)
      {
        mask[v] = static_cast<typename TMaskImage::PixelType>(brain[v]);
        inLine += brain[v];
      }
      voxels += inLine;
      onFace[0] += brain[v - size[0]];
      onFace[1] += brain[v - 1];
      onFace[2] += y == 0 ? inLine : 0;
      onFace[3] += y + 1 == size[1] ? inLine : 0;
      onFace[4] += z == 0 ? inLine : 0;
      onFace[5] += z + 1 == size[2] ? inLine : 0;
    }
  }
  unsigned long faces = 0;
  for (unsigned int f = 0; f < 6; ++f)
  {
    const double area = static_cast<double>(brain.size() / size[f / 2]);
    faces += onFace[f] > 0 && static_cast<double>(onFace[f]) >= m_MinimumFaceFraction * area;
  }

  double dice = 1.0;
  for (unsigned int a = 0; a < components; ++a)
  {
    for (unsigned int b = a + 1; b < components; ++b)
    {
      double both = 0.0;
      double sum = 0.0;
      for (SizeValueType k = 0; k < combinations.size(); ++k)
      {
        const bool inA = (k >> a) & 1U;
        const bool inB = (k >> b) & 1U;
        both += inA && inB ? static_cast<double>(combinations[k]) : 0.0;
        sum += static_cast<double>(combinations[k]) * (static_cast<int>(inA) + static_cast<int>(inB));
      }
      dice = std::min(dice, sum > 0.0 ? 2.0 * both / sum : 0.0);
    }
  }
  const auto & spacing = input->GetSpacing();
  const double volume = static_cast<double>(voxels) * spacing[0] * spacing[1] * spacing[2] / 1000.0;

  unsigned long status = 0;
  if (volume < m_MinimumVolume || volume > m_MaximumVolume || faces > m_MaximumNumberOfFaces)
  {
    status |= static_cast<unsigned long>(StatusFlagEnum::NotSkullStripped);
  }
  if (dice < m_MinimumDice)
  {
    status |= static_cast<unsigned long>(StatusFlagEnum::SequencesDisagree);
  }
  this->SetStatus(status);
  this->SetVolume(volume);
  this->SetDice(dice);
  this->SetNumberOfFaces(faces);
  progress.CompletedPixel();
}

template <typename TInputImage, typename TMaskImage>
void
BrainMaskFilter<TInputImage, TMaskImage>::PrintSelf(std::ostream & os, Indent indent) const
{
  Superclass::PrintSelf(os, indent);
  os << indent << "MinimumVolume: " << m_MinimumVolume << std::endl;
  os << indent << "MaximumVolume: " << m_MaximumVolume << std::endl;
  os << indent << "MaximumNumberOfFaces: " << m_MaximumNumberOfFaces << std::endl;
  os << indent << "MinimumFaceFraction: " << m_MinimumFaceFraction << std::endl;
  os << indent << "MinimumDice: " << m_MinimumDice << std::endl;
  os << indent << "Status: " << this->GetStatus() << std::endl;
  os << indent << "Volume: " << this->GetVolume() << std::endl;
  os << indent << "Dice: " << this->GetDice() << std::endl;
  os << indent << "NumberOfFaces: " << this->GetNumberOfFaces() << std::endl;
}
} // namespace itk

#endif // itkBrainMaskFilter_hxx
