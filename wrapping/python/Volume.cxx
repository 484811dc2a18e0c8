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
#include "Volume.h"

#include "CaseReader.h"
#include "FilterRun.h"
#include "PythonErrors.h"
#include "TerminalText.h"
#include "itkComposeImageFilter.h"
#include "itkMetaDataObject.h"

#include <cmath>
#include <sstream>
#include <utility>

namespace gliomagrading
{
namespace
{
/** Voxels of a Python object. The buffer is given back when the last image that has them is gone. */
template <typename TContainer>
class BorrowedContainer : public TContainer
{
public:
  ITK_DISALLOW_COPY_AND_MOVE(BorrowedContainer);
  using Self = BorrowedContainer;
  using Superclass = TContainer;
  using Pointer = itk::SmartPointer<Self>;
  itkNewMacro(Self);

  void
  Borrow(PyObject * object, std::size_t numberOfElements)
  {
    if (PyObject_GetBuffer(object, &m_View, PyBUF_C_CONTIGUOUS) != 0)
    {
      throw PythonErrorIsSet();
    }
    m_IsBorrowed = true;
    using ElementType = typename TContainer::Element;
    if (static_cast<std::size_t>(m_View.len) != numberOfElements * sizeof(ElementType))
    {
      throw InputException("The buffer holds " + std::to_string(m_View.len) + " bytes, but its size says " +
                           std::to_string(numberOfElements * sizeof(ElementType)) + '.');
    }
    this->SetImportPointer(static_cast<ElementType *>(m_View.buf), numberOfElements, false);
  }

protected:
  BorrowedContainer() = default;
  ~BorrowedContainer() override
  {
    if (m_IsBorrowed && Py_IsInitialized())
    {
      const PyGILState_STATE state = PyGILState_Ensure();
      PyBuffer_Release(&m_View);
      PyGILState_Release(state);
    }
  }

private:
  Py_buffer m_View{};
  bool      m_IsBorrowed{ false };
};

/** An image that a filter should have made. */
template <typename TImage>
const TImage *
Made(const TImage * image)
{
  if (image == nullptr)
  {
    throw std::logic_error("There is no such image: run the filter first, and ask for what it shall make.");
  }
  return image;
}

/** What a reader says of a file is about the input. */
template <typename TRead>
auto
ReadInThread(const TRead & read)
{
  return ResultOfThread([&read] {
    try
    {
      return read();
    }
    catch (const std::bad_alloc &)
    {
      throw;
    }
    catch (const std::exception & error)
    {
      throw InputException(glioma::WithoutOrigin(error));
    }
  });
}

template <typename TArray>
auto
ToList(const TArray & values)
{
  return std::vector<std::decay_t<decltype(values[0])>>{ values[0], values[1], values[2] };
}

void
CheckLength(std::size_t length, std::size_t expected, const std::string & name)
{
  if (length != expected)
  {
    throw InputException("The " + name + " has " + std::to_string(length) + " numbers; give " +
                         std::to_string(expected) + '.');
  }
}
} // namespace

Volume::Volume(PyObject * buffer, bool isMask, const std::vector<unsigned long> & size, unsigned int components)
  : m_Components(components)
{
  CheckLength(size.size(), 3, "size");
  std::size_t numberOfElements = components;
  for (unsigned int d = 0; d < 3; ++d)
  {
    m_Region.SetSize(d, size[d]);
    numberOfElements *= size[d];
  }
  if (isMask)
  {
    const auto container = BorrowedContainer<MaskContainerType>::New();
    container->Borrow(buffer, numberOfElements);
    m_Mask = container.GetPointer();
  }
  else
  {
    const auto container = BorrowedContainer<RealContainerType>::New();
    container->Borrow(buffer, numberOfElements);
    m_Real = container.GetPointer();
  }
}

Volume
Volume::Read(const std::string & path, const std::string & role, bool isMask, const std::vector<std::string> & series)
{
  return ReadInThread([&] {
    return isMask ? Volume(glioma::ReadMask(path, role, series).GetPointer())
                  : Volume(glioma::ReadSequence(path, role, series).GetPointer());
  });
}

std::vector<std::string>
Volume::UsedSeries(const std::string & path, const std::string & role, const std::vector<std::string> & series)
{
  return ReadInThread([&] {
    std::vector<std::string> used;
    glioma::FilesOfInput(path, role, series, used);
    return used;
  });
}

Volume
Volume::Compose(const std::vector<Volume> & images, double tolerance)
{
  if (images.empty())
  {
    throw InputException("There is no image; give at least one.");
  }
  using ComposeType = itk::ComposeImageFilter<RealImageType, VectorImageType>;
  const auto compose = ComposeType::New();
  compose->SetCoordinateTolerance(tolerance);
  compose->SetDirectionTolerance(tolerance);
  for (std::size_t i = 0; i < images.size(); ++i)
  {
    compose->SetInput(static_cast<unsigned int>(i), images[i].AsRealImage());
  }
  try
  {
    RunInThread([&] { compose->Update(); }, [&] { compose->AbortGenerateDataOn(); });
  }
  catch (const itk::ProcessAborted &)
  {
    throw;
  }
  catch (const itk::ExceptionObject & error)
  {
    throw InputException("The images are not on one grid; resample them to one. " + glioma::WithoutOrigin(error));
  }
  Volume volume(compose->GetOutput());
  volume.m_Dictionary = images.front().m_Dictionary;
  return volume;
}

Volume::Volume(const RealImageType * image)
{
  m_Real = const_cast<RealContainerType *>(Made(image)->GetPixelContainer());
  this->TakeGeometry(image);
}

Volume::Volume(const VectorImageType * image)
  : m_Components(Made(image)->GetNumberOfComponentsPerPixel())
{
  m_Real = const_cast<RealContainerType *>(Made(image)->GetPixelContainer());
  this->TakeGeometry(image);
}

Volume::Volume(const MaskImageType * image)
{
  m_Mask = const_cast<MaskContainerType *>(Made(image)->GetPixelContainer());
  this->TakeGeometry(image);
}

template <typename TImage>
void
Volume::TakeGeometry(const TImage * image)
{
  m_Region = image->GetBufferedRegion();
  m_Spacing = image->GetSpacing();
  m_Origin = image->GetOrigin();
  m_Direction = image->GetDirection();
  m_Dictionary = image->GetMetaDataDictionary();
}

template <typename TImage>
typename TImage::Pointer
Volume::MakeImage() const
{
  const auto image = TImage::New();
  image->SetRegions(m_Region);
  image->SetSpacing(m_Spacing);
  image->SetOrigin(m_Origin);
  image->SetDirection(m_Direction);
  image->SetMetaDataDictionary(m_Dictionary);
  return image;
}

Volume::RealImageType::Pointer
Volume::AsRealImage() const
{
  if (m_Real.IsNull() || m_Components != 1)
  {
    throw InputException("An image of one component is wanted here; this one has " + std::to_string(m_Components) +
                         '.');
  }
  const auto image = this->MakeImage<RealImageType>();
  image->SetPixelContainer(m_Real);
  return image;
}

Volume::VectorImageType::Pointer
Volume::AsVectorImage() const
{
  if (m_Real.IsNull())
  {
    throw InputException("An image is wanted here, not a mask.");
  }
  const auto image = this->MakeImage<VectorImageType>();
  image->SetNumberOfComponentsPerPixel(m_Components);
  image->SetPixelContainer(m_Real);
  return image;
}

Volume::MaskImageType::Pointer
Volume::AsMask() const
{
  if (m_Mask.IsNull())
  {
    throw InputException("A mask is wanted here.");
  }
  const auto image = this->MakeImage<MaskImageType>();
  image->SetPixelContainer(m_Mask);
  return image;
}

bool
Volume::IsMask() const
{
  return m_Mask.IsNotNull();
}

unsigned int
Volume::GetNumberOfComponents() const
{
  return m_Components;
}

std::vector<unsigned long>
Volume::GetSize() const
{
  return ToList(m_Region.GetSize());
}

std::vector<long>
Volume::GetIndex() const
{
  return ToList(m_Region.GetIndex());
}

std::vector<double>
Volume::GetSpacing() const
{
  return ToList(m_Spacing);
}

std::vector<double>
Volume::GetOrigin() const
{
  return ToList(m_Origin);
}

std::vector<double>
Volume::GetDirection() const
{
  std::vector<double> rows;
  for (unsigned int r = 0; r < 3; ++r)
  {
    for (unsigned int c = 0; c < 3; ++c)
    {
      rows.push_back(m_Direction[r][c]);
    }
  }
  return rows;
}

std::map<std::string, std::string>
Volume::GetMetadata() const
{
  std::map<std::string, std::string> metadata;
  for (const std::string & key : m_Dictionary.GetKeys())
  {
    std::string text;
    if (!itk::ExposeMetaData(m_Dictionary, key, text))
    {
      std::ostringstream out;
      m_Dictionary.Get(key)->Print(out);
      text = out.str();
      if (text.find("[UNKNOWN_PRINT_CHARACTERISTICS]") != std::string::npos)
      {
        continue; // neither text nor a number
      }
    }
    metadata[key] = text;
  }
  return metadata;
}

void
Volume::SetIndex(const std::vector<long> & index)
{
  CheckLength(index.size(), 3, "start index");
  for (unsigned int d = 0; d < 3; ++d)
  {
    m_Region.SetIndex(d, index[d]);
  }
}

void
Volume::SetGeometry(const std::vector<double> & spacing,
                    const std::vector<double> & origin,
                    const std::vector<double> & direction)
{
  CheckLength(spacing.size(), 3, "spacing");
  CheckLength(origin.size(), 3, "origin");
  CheckLength(direction.size(), 9, "direction");
  const std::pair<const char *, const std::vector<double> *> all[] = { { "spacing", &spacing },
                                                                       { "origin", &origin },
                                                                       { "direction", &direction } };
  for (const auto & numbers : all)
  {
    for (const double number : *numbers.second)
    {
      const bool isPositive = number > 0.0 || numbers.second != &spacing;
      if (!std::isfinite(number) || !isPositive)
      {
        throw InputException("The " + std::string(numbers.first) + " holds " + std::to_string(number) +
                             (isPositive ? "; give finite numbers" : "; give the size of a voxel, mm, above 0"));
      }
    }
  }
  for (unsigned int r = 0; r < 3; ++r)
  {
    m_Spacing[r] = spacing[r];
    m_Origin[r] = origin[r];
    for (unsigned int c = 0; c < 3; ++c)
    {
      m_Direction[r][c] = direction[3 * r + c];
    }
  }
  try
  {
    this->MakeImage<MaskImageType>();
  }
  catch (const itk::ExceptionObject & error)
  {
    throw InputException(glioma::WithoutOrigin(error));
  }
}

void
Volume::SetMetadata(const std::map<std::string, std::string> & metadata)
{
  m_Dictionary = itk::MetaDataDictionary();
  for (const auto & entry : metadata)
  {
    itk::EncapsulateMetaData<std::string>(m_Dictionary, entry.first, entry.second);
  }
}

std::size_t
Volume::GetAddress() const
{
  return m_Mask ? reinterpret_cast<std::size_t>(m_Mask->GetBufferPointer())
                : reinterpret_cast<std::size_t>(m_Real ? m_Real->GetBufferPointer() : nullptr);
}
} // namespace gliomagrading
