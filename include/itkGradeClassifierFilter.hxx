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
#ifndef itkGradeClassifierFilter_hxx
#define itkGradeClassifierFilter_hxx

#include "itkCalibratedProbabilities.h"
#include "itkTorchClassifierInput.h"

#include <algorithm>
#include <cmath>

namespace itk
{
template <typename TInputImage>
GradeClassifierFilter<TInputImage>::GradeClassifierFilter()
{
  this->SetPrimaryInputName("Region");
  this->SetPrimaryOutputName("Probabilities");
  for (const char * name : { "Probabilities", "Logits", "Grade", "GradeName" })
  {
    this->ProcessObject::SetOutput(name, Self::MakeOutput(DataObjectIdentifierType(name)));
  }
}

template <typename TInputImage>
void
GradeClassifierFilter<TInputImage>::SetInput(const InputImageType * image)
{
  this->SetPrimaryInput(const_cast<InputImageType *>(image));
}

template <typename TInputImage>
auto
GradeClassifierFilter<TInputImage>::GetInput() const -> const InputImageType *
{
  return itkDynamicCastInDebugMode<const InputImageType *>(this->GetPrimaryInput());
}

template <typename TInputImage>
DataObject::Pointer
GradeClassifierFilter<TInputImage>::MakeOutput(const DataObjectIdentifierType & name)
{
  if (name == "Probabilities" || name == "Logits")
  {
    const auto decorator = SimpleDataObjectDecorator<ArrayType>::New();
    decorator->Set(ArrayType());
    return decorator.GetPointer();
  }
  if (name == "Grade")
  {
    const auto decorator = SimpleDataObjectDecorator<unsigned long>::New();
    decorator->Set(0);
    return decorator.GetPointer();
  }
  if (name == "GradeName")
  {
    const auto decorator = SimpleDataObjectDecorator<std::string>::New();
    decorator->Set(std::string());
    return decorator.GetPointer();
  }
  return Superclass::MakeOutput(name);
}

template <typename TInputImage>
ModifiedTimeType
GradeClassifierFilter<TInputImage>::GetMTime() const
{
  const ModifiedTimeType own = Superclass::GetMTime();
  return m_Model ? std::max(own, m_Model->GetMTime()) : own;
}

template <typename TInputImage>
void
GradeClassifierFilter<TInputImage>::VerifyPreconditions() const
{
  Superclass::VerifyPreconditions();
  if (!m_Model || !m_Model->IsLoaded())
  {
    itkExceptionMacro("There is no " << (m_Model ? "loaded " : "")
                                     << "model: give one with SetModel() after its Load()");
  }
}

template <typename TInputImage>
void
GradeClassifierFilter<TInputImage>::VerifyInputInformation() const
{
  Superclass::VerifyInputInformation();
  TorchClassifierInput<InputImageType>::VerifyInformation(*m_Model, *this->GetInput());
}

template <typename TInputImage>
void
GradeClassifierFilter<TInputImage>::GenerateData()
{
  this->UpdateProgress(0.0F);
  const auto between = [this] {
    if (this->GetAbortGenerateData())
    {
      throw ProcessAborted(__FILE__, __LINE__);
    }
  };
  between();
  const TorchClassifierInput<InputImageType> input(*this->GetInput());
  const std::vector<double> values = m_Model->ComputeLogits(input.GetView(), this->GetNumberOfWorkUnits(), between);

  const std::vector<std::string> & names = m_Model->GetManifest().ClassNames;
  const auto                       classes = static_cast<unsigned int>(values.size());
  if (classes != names.size())
  {
    itkExceptionMacro("The model gave " << classes << " logits; its manifest names " << names.size() << " classes");
  }
  const auto                largest = std::max_element(values.begin(), values.end());
  const std::vector<double> calibrated = CalibratedProbabilities(values, m_Model->GetManifest().Temperature);
  ArrayType                 logits(classes);
  ArrayType                 probabilities(classes);
  for (unsigned int i = 0; i < classes; ++i)
  {
    logits[i] = values[i];
    probabilities[i] = calibrated[i];
  }
  const auto grade = static_cast<unsigned long>(largest - values.begin());
  this->SetLogits(logits);
  this->SetProbabilities(probabilities);
  this->SetGrade(grade);
  this->SetGradeName(names[grade]);
  this->UpdateProgress(1.0F);
}

template <typename TInputImage>
void
GradeClassifierFilter<TInputImage>::PrintSelf(std::ostream & os, Indent indent) const
{
  Superclass::PrintSelf(os, indent);
  itkPrintSelfObjectMacro(Model);
}
} // namespace itk

#endif // itkGradeClassifierFilter_hxx
