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
#ifndef itkGradCAMImageFilter_hxx
#define itkGradCAMImageFilter_hxx

#include <algorithm>

namespace itk
{
template <typename TInputImage, typename TOutputImage>
GradCAMImageFilter<TInputImage, TOutputImage>::GradCAMImageFilter()
{
  const DataObject::DataObjectIdentifierType name("HasPositiveCell");
  this->ProcessObject::SetOutput(name, Self::MakeOutput(name));
}

template <typename TInputImage, typename TOutputImage>
DataObject::Pointer
GradCAMImageFilter<TInputImage, TOutputImage>::MakeOutput(const DataObject::DataObjectIdentifierType & name)
{
  if (name == "HasPositiveCell")
  {
    const auto decorator = SimpleDataObjectDecorator<ArrayType>::New();
    decorator->Set(ArrayType());
    return decorator.GetPointer();
  }
  return Superclass::MakeOutput(name);
}

template <typename TInputImage, typename TOutputImage>
void
GradCAMImageFilter<TInputImage, TOutputImage>::AddLayerName(const std::string & layer)
{
  if (std::find(m_LayerNames.begin(), m_LayerNames.end(), layer) != m_LayerNames.end())
  {
    itkExceptionMacro("The layer '" << layer << "' is there already");
  }
  m_LayerNames.push_back(layer);
  this->SetNumberOfMaps(static_cast<unsigned int>(m_LayerNames.size()));
}

template <typename TInputImage, typename TOutputImage>
void
GradCAMImageFilter<TInputImage, TOutputImage>::ClearLayerNames()
{
  m_LayerNames.clear();
  this->SetNumberOfMaps(0);
}

template <typename TInputImage, typename TOutputImage>
void
GradCAMImageFilter<TInputImage, TOutputImage>::SetLayerNames(const std::vector<std::string> & layers)
{
  if (layers == m_LayerNames)
  {
    return;
  }
  for (auto layer = layers.begin(); layer != layers.end(); ++layer)
  {
    if (std::find(layers.begin(), layer, *layer) != layer)
    {
      itkExceptionMacro("The layer '" << *layer << "' is named twice");
    }
  }
  m_LayerNames = layers;
  this->SetNumberOfMaps(static_cast<unsigned int>(layers.size()));
}

template <typename TInputImage, typename TOutputImage>
unsigned int
GradCAMImageFilter<TInputImage, TOutputImage>::NumberOfMap(const std::string & layer) const
{
  const auto found = std::find(m_LayerNames.begin(), m_LayerNames.end(), layer);
  if (found == m_LayerNames.end())
  {
    itkExceptionMacro("There is no map of layer '" << layer << "': add it with AddLayerName()");
  }
  return static_cast<unsigned int>(found - m_LayerNames.begin());
}

template <typename TInputImage, typename TOutputImage>
TOutputImage *
GradCAMImageFilter<TInputImage, TOutputImage>::GetMap(const std::string & layer)
{
  return this->GetOutput(this->NumberOfMap(layer));
}

template <typename TInputImage, typename TOutputImage>
const TOutputImage *
GradCAMImageFilter<TInputImage, TOutputImage>::GetMap(const std::string & layer) const
{
  return dynamic_cast<const TOutputImage *>(this->ProcessObject::GetOutput(this->NumberOfMap(layer)));
}

template <typename TInputImage, typename TOutputImage>
void
GradCAMImageFilter<TInputImage, TOutputImage>::VerifyPreconditions() const
{
  Superclass::VerifyPreconditions();
  if (m_LayerNames.empty())
  {
    itkExceptionMacro("No layer is named: name them by SetLayerNames() or AddLayerName()");
  }
}

template <typename TInputImage, typename TOutputImage>
TorchExplanationRequest
GradCAMImageFilter<TInputImage, TOutputImage>::MakeRequest() const
{
  TorchExplanationRequest request;
  request.Layers = m_LayerNames;
  return request;
}

template <typename TInputImage, typename TOutputImage>
auto
GradCAMImageFilter<TInputImage, TOutputImage>::FindMaps(const TorchExplanation & explanation, unsigned int label) const
  -> std::vector<typename Superclass::MapOnCells>
{
  std::vector<typename Superclass::MapOnCells> maps;
  for (const std::string & layer : m_LayerNames)
  {
    const auto found =
      std::find_if(explanation.GradCAM.begin(), explanation.GradCAM.end(), [&](const TorchGradCAM & cam) {
        return cam.Geometry.Layer == layer && cam.Class == label;
      });
    if (found == explanation.GradCAM.end())
    {
      itkExceptionMacro("The explanation has no GradCAM of layer '" << layer << "' for class " << label);
    }
    maps.push_back({ &found->Map, found->Geometry });
  }
  return maps;
}

template <typename TInputImage, typename TOutputImage>
void
GradCAMImageFilter<TInputImage, TOutputImage>::GenerateData()
{
  Superclass::GenerateData();
  const auto maps = this->FindMaps(*this->GetExplanation(), this->GetExplainedClass());
  ArrayType  positive(static_cast<unsigned int>(maps.size()));
  for (unsigned int i = 0; i < positive.size(); ++i)
  {
    const std::vector<float> & values = maps[i].Volume->Buffer;
    positive[i] = std::any_of(values.begin(), values.end(), [](float value) { return value > 0.0F; }) ? 1.0 : 0.0;
  }
  this->SetHasPositiveCell(positive);
}

template <typename TInputImage, typename TOutputImage>
void
GradCAMImageFilter<TInputImage, TOutputImage>::PrintSelf(std::ostream & os, Indent indent) const
{
  Superclass::PrintSelf(os, indent);
  os << indent << "LayerNames:";
  for (const std::string & layer : m_LayerNames)
  {
    os << ' ' << layer;
  }
  os << std::endl;
}
} // namespace itk

#endif // itkGradCAMImageFilter_hxx
