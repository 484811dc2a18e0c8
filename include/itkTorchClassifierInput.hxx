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
#ifndef itkTorchClassifierInput_hxx
#define itkTorchClassifierInput_hxx

#include "itkAxisAlignedMapping.h"

#include <cmath>

namespace itk
{
template <typename TImage>
void
TorchClassifierInput<TImage>::VerifyInformation(const TorchModel & model, const TImage & image)
{
  const TorchModelManifest & manifest = model.GetManifest();
  if (manifest.Task != "grading")
  {
    itkGenericExceptionMacro("The model '" << model.GetPath() << "' is for " << manifest.Task
                                           << "; a grading model is needed");
  }
  if (image.GetNumberOfComponentsPerPixel() != manifest.ChannelNames.size())
  {
    std::string names;
    for (const std::string & name : manifest.ChannelNames)
    {
      names += ' ' + name;
    }
    itkGenericExceptionMacro("The region has " << image.GetNumberOfComponentsPerPixel() << " components; the model '"
                                               << model.GetPath() << "' wants " << manifest.ChannelNames.size()
                                               << " channels:" << names);
  }
  const auto size = image.GetLargestPossibleRegion().GetSize();
  for (unsigned int axis = 0; axis < 3; ++axis)
  {
    if (size[axis] == 0 || (manifest.OutputSize != 0 && size[axis] != manifest.OutputSize))
    {
      itkGenericExceptionMacro("The region has "
                               << size << " voxels; the model '" << model.GetPath() << "' wants " << manifest.OutputSize
                               << " a side: cut it with BoundingBoxROIFilter and SetOutputSize(" << manifest.OutputSize
                               << ")");
    }
    // A region of a fixed number of voxels has the spacing that it needs.
    const double wanted = manifest.Spacing[axis];
    if (manifest.OutputSize == 0 && wanted > 0.0 && std::abs(image.GetSpacing()[axis] - wanted) > 0.01 * wanted)
    {
      itkGenericExceptionMacro("The region has spacing " << image.GetSpacing() << " mm; the model '" << model.GetPath()
                                                         << "' wants " << wanted << " mm on axis " << axis
                                                         << ": GliomaGradingFilter resamples, this filter does not");
    }
  }
  if (!manifest.Orientation.empty())
  {
    const std::string orientation = NearestImageOrientation(image.GetDirection());
    if (orientation != manifest.Orientation)
    {
      itkGenericExceptionMacro("The region's axes point to " << orientation << "; the model '" << model.GetPath()
                                                             << "' wants " << manifest.Orientation
                                                             << ": GliomaGradingFilter permutes and flips the axes, "
                                                                "this filter does not");
    }
  }
}

template <typename TImage>
TorchClassifierInput<TImage>::TorchClassifierInput(const TImage & image)
{
  const auto   region = image.GetLargestPossibleRegion();
  const auto   buffered = image.GetBufferedRegion();
  const auto   components = static_cast<unsigned int>(image.GetNumberOfComponentsPerPixel());
  const auto * voxels = image.GetBufferPointer() + image.ComputeOffset(region.GetIndex()) * components;

  m_View.Components = components;
  for (unsigned int axis = 0; axis < 3; ++axis)
  {
    m_View.RegionSize[axis] = region.GetSize(axis);
  }
  m_View.RowStride = buffered.GetSize(0);
  m_View.SliceStride = buffered.GetSize(0) * buffered.GetSize(1);

  const bool isFloat = std::is_same<typename TImage::InternalPixelType, float>::value;
  if (!isFloat)
  {
    m_Converted.reserve(region.GetNumberOfPixels() * components);
  }
  for (SizeValueType z = 0; z < region.GetSize(2); ++z)
  {
    for (SizeValueType y = 0; y < region.GetSize(1); ++y)
    {
      const auto * row = voxels + (z * m_View.SliceStride + y * m_View.RowStride) * components;
      for (SizeValueType x = 0; x < region.GetSize(0) * components; ++x)
      {
        if (!std::isfinite(static_cast<double>(row[x])))
        {
          itkGenericExceptionMacro("Component " << x % components << " of the region's voxel " << x / components << ", "
                                                << y << ", " << z << " is " << row[x]
                                                << ": every voxel must be a finite number");
        }
        if (!isFloat)
        {
          m_Converted.push_back(static_cast<float>(row[x]));
        }
      }
    }
  }
  if constexpr (std::is_same<typename TImage::InternalPixelType, float>::value)
  {
    m_View.Buffer = voxels;
  }
  else
  {
    m_View.Buffer = m_Converted.data();
    m_View.RowStride = 0;
    m_View.SliceStride = 0;
  }
}
} // namespace itk

#endif // itkTorchClassifierInput_hxx
