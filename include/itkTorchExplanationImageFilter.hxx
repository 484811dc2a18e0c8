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
#ifndef itkTorchExplanationImageFilter_hxx
#define itkTorchExplanationImageFilter_hxx

#include "itkImageScanlineIterator.h"
#include "itkRequestGeometry.h"
#include "itkTorchClassifierInput.h"
#include "itkUpstreamModifiedTime.h"

#include <algorithm>
#include <cmath>

namespace itk
{
template <typename TInputImage, typename TOutputImage>
TorchExplanationImageFilter<TInputImage, TOutputImage>::TorchExplanationImageFilter()
{
  for (const char * name :
       { "PredictedClass", "ExplainedClass", "Logits", "Probabilities", "ExecutedReLUs", "GuidedReLUs" })
  {
    this->ProcessObject::SetOutput(name, Self::MakeOutput(DataObject::DataObjectIdentifierType(name)));
  }
}

template <typename TInputImage, typename TOutputImage>
std::string
TorchExplanationImageFilter<TInputImage, TOutputImage>::SupportName(unsigned int map)
{
  return "Support" + std::to_string(map);
}

template <typename TInputImage, typename TOutputImage>
DataObject::Pointer
TorchExplanationImageFilter<TInputImage, TOutputImage>::MakeOutput(const DataObject::DataObjectIdentifierType & name)
{
  if (name.compare(0, 7, "Support") == 0)
  {
    return SupportImageType::New().GetPointer();
  }
  if (name == "Logits" || name == "Probabilities")
  {
    const auto decorator = SimpleDataObjectDecorator<ArrayType>::New();
    decorator->Set(ArrayType());
    return decorator.GetPointer();
  }
  if (name == "PredictedClass" || name == "ExplainedClass" || name == "ExecutedReLUs" || name == "GuidedReLUs")
  {
    const auto decorator = SimpleDataObjectDecorator<unsigned long>::New();
    decorator->Set(0);
    return decorator.GetPointer();
  }
  return Superclass::MakeOutput(name);
}

template <typename TInputImage, typename TOutputImage>
void
TorchExplanationImageFilter<TInputImage, TOutputImage>::SetNumberOfMaps(unsigned int maps)
{
  this->SetNumberOfIndexedOutputs(std::max(1U, maps));
  for (unsigned int map = 0; map < std::max(maps, m_NumberOfMaps); ++map)
  {
    if (map >= maps)
    {
      this->RemoveOutput(SupportName(map));
      continue;
    }
    if (this->ProcessObject::GetOutput(map) == nullptr)
    {
      this->SetNthOutput(map, TOutputImage::New());
    }
    if (!this->HasOutput(SupportName(map)))
    {
      this->ProcessObject::SetOutput(SupportName(map), SupportImageType::New());
    }
  }
  m_NumberOfMaps = maps;
  this->Modified();
}

template <typename TInputImage, typename TOutputImage>
auto
TorchExplanationImageFilter<TInputImage, TOutputImage>::GetSupport(unsigned int map) -> SupportImageType *
{
  return dynamic_cast<SupportImageType *>(this->ProcessObject::GetOutput(SupportName(map)));
}

template <typename TInputImage, typename TOutputImage>
auto
TorchExplanationImageFilter<TInputImage, TOutputImage>::GetSupport(unsigned int map) const -> const SupportImageType *
{
  return dynamic_cast<const SupportImageType *>(this->ProcessObject::GetOutput(SupportName(map)));
}

template <typename TInputImage, typename TOutputImage>
void
TorchExplanationImageFilter<TInputImage, TOutputImage>::SetClassToExplain(unsigned int label)
{
  if (m_UsePredictedClass || m_ClassToExplain != label)
  {
    m_UsePredictedClass = false;
    m_ClassToExplain = label;
    this->Modified();
  }
}

template <typename TInputImage, typename TOutputImage>
void
TorchExplanationImageFilter<TInputImage, TOutputImage>::SetReferenceImage(const ReferenceImageType * image)
{
  if (image != this->GetReferenceImage())
  {
    this->ProcessObject::SetInput("ReferenceImage", const_cast<ReferenceImageType *>(image));
    this->Modified();
  }
}

template <typename TInputImage, typename TOutputImage>
auto
TorchExplanationImageFilter<TInputImage, TOutputImage>::GetReferenceImage() const -> const ReferenceImageType *
{
  return dynamic_cast<const ReferenceImageType *>(this->ProcessObject::GetInput("ReferenceImage"));
}

template <typename TInputImage, typename TOutputImage>
void
TorchExplanationImageFilter<TInputImage, TOutputImage>::SetExplanation(ExplanationPointer explanation)
{
  if (m_GivenExplanation != explanation)
  {
    m_GivenExplanation = std::move(explanation);
    this->Modified();
  }
}

template <typename TInputImage, typename TOutputImage>
ModifiedTimeType
TorchExplanationImageFilter<TInputImage, TOutputImage>::GetMTime() const
{
  const ModifiedTimeType own = Superclass::GetMTime();
  return m_Model ? std::max(own, m_Model->GetMTime()) : own;
}

template <typename TInputImage, typename TOutputImage>
void
TorchExplanationImageFilter<TInputImage, TOutputImage>::VerifyPreconditions() const
{
  Superclass::VerifyPreconditions();
  if (m_GivenExplanation)
  {
    return;
  }
  if (!m_Model || !m_Model->IsLoaded())
  {
    itkExceptionMacro("There is no " << (m_Model ? "loaded " : "")
                                     << "model: give one with SetModel() after its Load(), or an explanation with "
                                        "SetExplanation()");
  }
  const std::size_t classes = m_Model->GetManifest().ClassNames.size();
  if (!m_UsePredictedClass && m_ClassToExplain >= classes)
  {
    itkExceptionMacro("Class " << m_ClassToExplain << " cannot be explained: the model has " << classes
                               << " classes, counted from 0");
  }
}

template <typename TInputImage, typename TOutputImage>
void
TorchExplanationImageFilter<TInputImage, TOutputImage>::VerifyInputInformation() const
{
  if (!m_GivenExplanation)
  {
    TorchClassifierInput<InputImageType>::VerifyInformation(*m_Model, *this->GetInput());
  }
}

template <typename TInputImage, typename TOutputImage>
unsigned int
TorchExplanationImageFilter<TInputImage, TOutputImage>::ExplainedLabel() const
{
  return m_UsePredictedClass ? m_Explanation->PredictedClass : m_ClassToExplain;
}

template <typename TInputImage, typename TOutputImage>
void
TorchExplanationImageFilter<TInputImage, TOutputImage>::Explain()
{
  const auto * input = this->GetInput();
  if (m_GivenExplanation)
  {
    m_Explanation = m_GivenExplanation;
    m_Origin = Origin();
  }
  else
  {
    TorchExplanationRequest request = this->MakeRequest();
    request.ExplainProbability = m_ExplainProbability;
    if (!m_UsePredictedClass)
    {
      request.Classes = { m_ClassToExplain };
    }
    Origin origin;
    origin.Model = m_Model.GetPointer();
    origin.ModelTime = m_Model->GetMTime();
    origin.Input = input;
    // Data that were released and made again are the same.
    origin.InputTime = UpstreamModifiedTime::Of(input);
    origin.Layers = request.Layers;
    origin.Classes = request.Classes;
    origin.Guided = request.GuidedBackpropagation;
    origin.Others = request.AllowOtherActivations;
    origin.Probability = request.ExplainProbability;
    if (!m_Explanation || !(origin == m_Origin))
    {
      m_Explanation = nullptr;
      const TorchClassifierInput<InputImageType> region(*input);
      request.Between = [this] {
        this->UpdateProgress(this->GetProgress());
        if (this->GetAbortGenerateData())
        {
          throw ProcessAborted(__FILE__, __LINE__);
        }
      };
      m_Explanation = std::make_shared<const TorchExplanation>(
        m_Model->Explain(region.GetView(), request, this->GetNumberOfWorkUnits()));
      m_Origin = origin;
    }
  }

  const auto classes = static_cast<unsigned int>(m_Explanation->Logits.size());
  ArrayType  logits(classes);
  ArrayType  probabilities(classes);
  std::copy(m_Explanation->Logits.begin(), m_Explanation->Logits.end(), logits.begin());
  std::copy_n(m_Explanation->Probabilities.begin(),
              std::min(m_Explanation->Probabilities.size(), m_Explanation->Logits.size()),
              probabilities.begin());
  this->SetLogits(logits);
  this->SetProbabilities(probabilities);
  this->SetPredictedClass(m_Explanation->PredictedClass);
  this->SetExplainedClass(this->ExplainedLabel());
  this->SetExecutedReLUs(m_Explanation->ExecutedReLUs);
  this->SetGuidedReLUs(m_Explanation->GuidedReLUs);
}

template <typename TInputImage, typename TOutputImage>
void
TorchExplanationImageFilter<TInputImage, TOutputImage>::VerifyMaps(const std::vector<MapOnCells> & maps) const
{
  const auto size = this->GetInput()->GetLargestPossibleRegion().GetSize();
  for (const MapOnCells & map : maps)
  {
    const auto & cells = map.Volume->RegionSize;
    const auto   values = static_cast<std::size_t>(cells[0] * cells[1] * cells[2]) * map.Volume->Components;
    if (values == 0 || map.Volume->Buffer.size() != values)
    {
      itkExceptionMacro("The map of '" << map.Geometry.Layer << "' has " << map.Volume->Buffer.size() << " values for "
                                       << cells << " cells");
    }
    for (unsigned int axis = 0; axis < 3; ++axis)
    {
      const double step = map.Geometry.Step[axis];
      const double last = map.Geometry.Offset[axis] + step * static_cast<double>(cells[axis] - 1);
      // Padding may put a centre up to half a cell outside; further out the manifest and the network disagree.
      if (!(step > 0.0) || map.Geometry.Offset[axis] < -0.5 * step ||
          last > static_cast<double>(size[axis]) - 1.0 + 0.5 * step)
      {
        itkExceptionMacro("The cells of '" << map.Geometry.Layer << "' do not lie on the region: " << cells[axis]
                                           << " cells from voxel " << map.Geometry.Offset[axis] << " in steps of "
                                           << step << ", but the region has " << size[axis] << " voxels on axis "
                                           << axis);
      }
    }
  }
}

template <typename TInputImage, typename TOutputImage>
void
TorchExplanationImageFilter<TInputImage, TOutputImage>::GenerateOutputInformation()
{
  const auto * input = this->GetInput();
  const auto * reference = this->GetReferenceImage();
  const auto   setGeometry = [](ImageBase<3> * output, const ImageBase<3> * from) {
    const auto whole = from->GetLargestPossibleRegion();
    // What was asked for of a grid before may be no part of this one, or no longer the whole.
    const bool isWhole = output->GetRequestedRegion() == output->GetLargestPossibleRegion();
    output->SetLargestPossibleRegion(whole);
    if (isWhole || !whole.IsInside(output->GetRequestedRegion()))
    {
      output->SetRequestedRegionToLargestPossibleRegion();
    }
    output->SetSpacing(from->GetSpacing());
    output->SetOrigin(from->GetOrigin());
    output->SetDirection(from->GetDirection());
  };

  std::vector<MapOnCells> maps;
  if (reference == nullptr)
  {
    // How many cells a layer has is known only from a run, which ends as one of GenerateData() does.
    this->SetAbortGenerateData(false);
    auto * source = const_cast<InputImageType *>(input);
    if (!m_GivenExplanation)
    {
      source->SetRequestedRegionToLargestPossibleRegion();
      source->Update();
    }
    try
    {
      this->Explain();
    }
    catch (const ProcessAborted &)
    {
      this->InvokeEvent(AbortEvent());
      this->ResetPipeline();
      throw;
    }
    maps = this->FindMaps(*m_Explanation, this->ExplainedLabel());
    this->VerifyMaps(maps);
  }

  for (unsigned int map = 0; map < m_NumberOfMaps; ++map)
  {
    auto *       image = this->GetOutput(map);
    auto *       support = this->GetSupport(map);
    unsigned int components = input->GetNumberOfComponentsPerPixel();
    if (reference != nullptr)
    {
      setGeometry(image, reference);
    }
    else
    {
      const TorchLayerGeometry & geometry = maps[map].Geometry;
      const auto                 inputRegion = input->GetLargestPossibleRegion();
      auto                       spacing = input->GetSpacing();
      ContinuousIndex<double, 3> first;
      bool                       isInputGrid = true;
      for (unsigned int axis = 0; axis < 3; ++axis)
      {
        isInputGrid = isInputGrid && geometry.Step[axis] == 1.0 && geometry.Offset[axis] == 0.0 &&
                      maps[map].Volume->RegionSize[axis] == inputRegion.GetSize(axis);
        spacing[axis] *= geometry.Step[axis];
        first[axis] = static_cast<double>(inputRegion.GetIndex(axis)) + geometry.Offset[axis];
      }
      components = maps[map].Volume->Components;
      setGeometry(image, input);
      if (!isInputGrid)
      {
        typename InputImageType::PointType origin;
        input->TransformContinuousIndexToPhysicalPoint(first, origin);
        image->SetLargestPossibleRegion(OutputImageRegionType(maps[map].Volume->RegionSize));
        image->SetSpacing(spacing);
        image->SetOrigin(origin);
      }
    }
    image->SetNumberOfComponentsPerPixel(components);
    image->SetMetaDataDictionary(input->GetMetaDataDictionary());
    setGeometry(support, image);
    support->SetMetaDataDictionary(input->GetMetaDataDictionary());
  }
}

template <typename TInputImage, typename TOutputImage>
void
TorchExplanationImageFilter<TInputImage, TOutputImage>::SetLargestRequestedRegions()
{
  for (unsigned int map = 0; map < m_NumberOfMaps; ++map)
  {
    this->GetOutput(map)->SetRequestedRegionToLargestPossibleRegion();
    this->GetSupport(map)->SetRequestedRegionToLargestPossibleRegion();
  }
}

template <typename TInputImage, typename TOutputImage>
void
TorchExplanationImageFilter<TInputImage, TOutputImage>::EnlargeOutputRequestedRegion(DataObject * output)
{
  Superclass::EnlargeOutputRequestedRegion(output);
  if (this->GetReferenceImage() == nullptr)
  {
    this->SetLargestRequestedRegions();
  }
}

template <typename TInputImage, typename TOutputImage>
void
TorchExplanationImageFilter<TInputImage, TOutputImage>::GenerateOutputRequestedRegion(DataObject * output)
{
  if (this->GetReferenceImage() == nullptr)
  {
    // The maps have grids of their own: one's region means nothing to another.
    this->SetLargestRequestedRegions();
  }
  else
  {
    Superclass::GenerateOutputRequestedRegion(output);
  }
}

template <typename TInputImage, typename TOutputImage>
void
TorchExplanationImageFilter<TInputImage, TOutputImage>::GenerateInputRequestedRegion()
{
  RequestGeometry(this->GetReferenceImage());
  if (m_GivenExplanation)
  {
    RequestGeometry<3>(this->GetInput());
  }
  else
  {
    const_cast<InputImageType *>(this->GetInput())->SetRequestedRegionToLargestPossibleRegion();
  }
}

template <typename TInputImage, typename TOutputImage>
auto
TorchExplanationImageFilter<TInputImage, TOutputImage>::MakeCellTransform(const TorchLayerGeometry & geometry) const
  -> CellTransform
{
  const auto * input = this->GetInput();
  const auto * reference = this->GetReferenceImage();
  const auto & inverse = input->GetInverseDirection();
  const auto   start = input->GetLargestPossibleRegion().GetIndex();

  CellTransform transform;
  for (unsigned int row = 0; row < 3; ++row)
  {
    const double scale = 1.0 / (input->GetSpacing()[row] * geometry.Step[row]);
    double       shift = 0.0;
    for (unsigned int k = 0; k < 3; ++k)
    {
      shift += inverse[row][k] * (reference->GetOrigin()[k] - input->GetOrigin()[k]);
    }
    transform.Translation[row] =
      shift * scale - (static_cast<double>(start[row]) + geometry.Offset[row]) / geometry.Step[row];
    for (unsigned int column = 0; column < 3; ++column)
    {
      double sum = 0.0;
      for (unsigned int k = 0; k < 3; ++k)
      {
        sum += inverse[row][k] * reference->GetDirection()[k][column];
      }
      transform.Matrix[row][column] = sum * scale * reference->GetSpacing()[column];
    }
  }
  return transform;
}

template <typename TInputImage, typename TOutputImage>
void
TorchExplanationImageFilter<TInputImage, TOutputImage>::CopyCells(unsigned int map, const TorchVolume & volume)
{
  auto * image = this->GetOutput(map);
  std::copy(volume.Buffer.begin(), volume.Buffer.end(), image->GetBufferPointer());
  this->GetSupport(map)->FillBuffer(1);
}

template <typename TInputImage, typename TOutputImage>
void
TorchExplanationImageFilter<TInputImage, TOutputImage>::Resample(unsigned int                  map,
                                                                 const TorchVolume &           volume,
                                                                 const CellTransform &         transform,
                                                                 const OutputImageRegionType & region)
{
  // A position within this many cells of a centre is the centre, so that equal grids give equal numbers.
  constexpr double tolerance = 1e-6;

  auto *            image = this->GetOutput(map);
  auto *            support = this->GetSupport(map);
  const std::size_t components = volume.Components;
  const auto &      cells = volume.RegionSize;

  using SupportIterator = ImageScanlineIterator<SupportImageType>;
  for (SupportIterator it(support, region); !it.IsAtEnd(); it.NextLine())
  {
    const auto index = support->ComputeIndex(&it.Value() - support->GetBufferPointer());
    auto *     out = image->GetBufferPointer() + image->ComputeOffset(index) * components;
    for (IndexValueType x = index[0]; !it.IsAtEndOfLine(); ++it, ++x, out += components)
    {
      bool                       inside = true;
      std::array<std::size_t, 3> lower;
      std::array<std::size_t, 3> upper;
      std::array<double, 3>      weight;
      for (unsigned int axis = 0; axis < 3 && inside; ++axis)
      {
        double cell = transform.Matrix[axis][0] * static_cast<double>(x) +
                      transform.Matrix[axis][1] * static_cast<double>(index[1]) +
                      transform.Matrix[axis][2] * static_cast<double>(index[2]) + transform.Translation[axis];
        const double last = static_cast<double>(cells[axis] - 1);
        inside = cell >= -0.5 - tolerance && cell <= last + 0.5 + tolerance;
        if (!inside)
        {
          break;
        }
        cell = std::min(std::max(cell, 0.0), last);
        const double nearest = std::round(cell);
        if (std::abs(cell - nearest) < tolerance)
        {
          cell = nearest;
        }
        lower[axis] = static_cast<std::size_t>(cell);
        weight[axis] = cell - static_cast<double>(lower[axis]);
        upper[axis] = weight[axis] > 0.0 ? lower[axis] + 1 : lower[axis];
      }
      it.Set(inside ? 1 : 0);
      for (std::size_t component = 0; component < components; ++component)
      {
        double value = 0.0;
        for (unsigned int corner = 0; inside && corner < 8; ++corner)
        {
          double      product = 1.0;
          std::size_t position[3];
          for (unsigned int axis = 0; axis < 3; ++axis)
          {
            const bool isUpper = ((corner >> axis) & 1U) != 0;
            product *= isUpper ? weight[axis] : 1.0 - weight[axis];
            position[axis] = isUpper ? upper[axis] : lower[axis];
          }
          if (product > 0.0)
          {
            const std::size_t cell = (position[2] * cells[1] + position[1]) * cells[0] + position[0];
            value += product * static_cast<double>(volume.Buffer[cell * components + component]);
          }
        }
        out[component] = static_cast<typename TOutputImage::InternalPixelType>(value);
      }
    }
  }
}

template <typename TInputImage, typename TOutputImage>
void
TorchExplanationImageFilter<TInputImage, TOutputImage>::GenerateData()
{
  this->UpdateProgress(0.0F);
  if (this->GetAbortGenerateData())
  {
    throw ProcessAborted(__FILE__, __LINE__);
  }
  this->Explain();
  const std::vector<MapOnCells> maps = this->FindMaps(*m_Explanation, this->ExplainedLabel());
  this->VerifyMaps(maps);

  this->AllocateOutputs();
  if (this->GetReferenceImage() == nullptr)
  {
    for (unsigned int map = 0; map < m_NumberOfMaps; ++map)
    {
      this->CopyCells(map, *maps[map].Volume);
    }
  }
  else
  {
    std::vector<CellTransform> transforms;
    for (const MapOnCells & map : maps)
    {
      if (map.Volume->Components != this->GetOutput(transforms.size())->GetNumberOfComponentsPerPixel())
      {
        itkExceptionMacro("The map of '" << map.Geometry.Layer << "' has " << map.Volume->Components
                                         << " components, the region has "
                                         << this->GetInput()->GetNumberOfComponentsPerPixel());
      }
      transforms.push_back(this->MakeCellTransform(map.Geometry));
    }
    this->GetMultiThreader()->SetNumberOfWorkUnits(this->GetNumberOfWorkUnits());
    this->GetMultiThreader()->template ParallelizeImageRegion<3>(
      this->GetOutput()->GetRequestedRegion(),
      [&](const OutputImageRegionType & region) {
        for (unsigned int map = 0; map < m_NumberOfMaps; ++map)
        {
          this->Resample(map, *maps[map].Volume, transforms[map], region);
        }
      },
      this);
  }
  this->UpdateProgress(1.0F);
}

template <typename TInputImage, typename TOutputImage>
void
TorchExplanationImageFilter<TInputImage, TOutputImage>::PrintSelf(std::ostream & os, Indent indent) const
{
  Superclass::PrintSelf(os, indent);
  itkPrintSelfObjectMacro(Model);
  os << indent << "ClassToExplain: " << m_ClassToExplain << std::endl;
  os << indent << "UsePredictedClass: " << (m_UsePredictedClass ? "On" : "Off") << std::endl;
  os << indent << "ExplainProbability: " << (m_ExplainProbability ? "On" : "Off") << std::endl;
  os << indent << "NumberOfMaps: " << m_NumberOfMaps << std::endl;
  os << indent << "GivenExplanation: " << (m_GivenExplanation ? "set" : "none") << std::endl;
  os << indent << "Explanation: " << (m_Explanation ? "computed" : "none") << std::endl;
}
} // namespace itk

#endif // itkTorchExplanationImageFilter_hxx
