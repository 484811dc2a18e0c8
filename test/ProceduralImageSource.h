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
#ifndef ProceduralImageSource_h
#define ProceduralImageSource_h

#include "itkGliomaGradingCompat.h"
#include "itkImageSource.h"

#include <gtest/gtest.h>

#include <functional>

// An image that is computed where it is asked for: it streams, and no size is too large.
template <typename TImage>
class ProceduralImageSource : public itk::ImageSource<TImage>
{
public:
  ITK_DISALLOW_COPY_AND_MOVE(ProceduralImageSource);

  using Self = ProceduralImageSource;
  using Superclass = itk::ImageSource<TImage>;
  using Pointer = itk::SmartPointer<Self>;
  using ValueType = typename TImage::InternalPixelType;
  using SizeType = typename TImage::SizeType;
  using RegionType = typename TImage::RegionType;
  using FunctionType = std::function<void(const typename TImage::IndexType &, ValueType *)>;

  itkNewMacro(Self);
  itkOverrideGetNameOfClassMacro(ProceduralImageSource);

  itkSetMacro(Size, SizeType);
  itkSetMacro(NumberOfComponents, unsigned int);

  // Writes the components of the voxel at an index; called from several threads.
  void
  SetFunction(FunctionType function)
  {
    m_Function = std::move(function);
    this->Modified();
  }

protected:
  ProceduralImageSource() { m_Size.Fill(0); }

  void
  GenerateOutputInformation() override
  {
    TImage * const output = this->GetOutput();
    output->SetLargestPossibleRegion(RegionType(m_Size));
    output->SetNumberOfComponentsPerPixel(m_NumberOfComponents);
  }

  void
  DynamicThreadedGenerateData(const RegionType & region) override
  {
    TImage * const           output = this->GetOutput();
    const itk::SizeValueType length = region.GetSize(0);
    const itk::SizeValueType lines = length == 0 ? 0 : region.GetNumberOfPixels() / length;
    for (itk::SizeValueType line = 0; line < lines; ++line)
    {
      auto               index = region.GetIndex();
      itk::SizeValueType rest = line;
      for (unsigned int d = 1; d < TImage::ImageDimension; ++d)
      {
        index[d] += static_cast<itk::IndexValueType>(rest % region.GetSize(d));
        rest /= region.GetSize(d);
      }
      ValueType * to = output->GetBufferPointer() + output->ComputeOffset(index) * m_NumberOfComponents;
      for (itk::SizeValueType x = 0; x < length; ++x, ++index[0], to += m_NumberOfComponents)
      {
        m_Function(index, to);
      }
    }
  }

private:
  SizeType     m_Size;
  unsigned int m_NumberOfComponents{ 1 };
  FunctionType m_Function;
};

// All images of a filter whose grid is the source's have its size, whichever it had before: a pipeline that is used
// again, as a reader whose file name changes.
template <typename TImage, typename TFilter>
void
ExpectFollowsSizeOf(ProceduralImageSource<TImage> * source, TFilter * filter)
{
  source->SetFunction([](const typename TImage::IndexType &, typename TImage::InternalPixelType * to) { *to = 0; });
  for (const itk::SizeValueType side : { 16, 8, 12 })
  {
    const itk::Size<3> size{ { side, side, side } };
    source->SetSize(size);
    filter->Update();
    EXPECT_EQ(filter->GetOutput()->GetBufferedRegion().GetSize(), size);
    for (const auto & output : filter->GetOutputs())
    {
      if (const auto * image = dynamic_cast<const itk::ImageBase<3> *>(output.GetPointer()))
      {
        EXPECT_EQ(image->GetBufferedRegion().GetSize(), size);
      }
    }
  }
}

#endif // ProceduralImageSource_h
