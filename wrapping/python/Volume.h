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
#ifndef Volume_h
#define Volume_h

#include <Python.h>

#include <cstddef>
#include <map>
#include <string>
#include <vector>

#ifndef SWIG
#  include "itkImage.h"
#  include "itkVectorImage.h"
#endif

namespace gliomagrading
{
/** Voxels and where they lie: what crosses the border between Python and ITK.
 *
 * Voxels are float with any number of components, or the unsigned char of a mask. Copies share them. Lists are in ITK's
 * order (x, y, z); the direction is three rows. */
class Volume
{
public:
  /** Empty; there for lists. */
  Volume() = default;

  /** The voxels of an object with a C-contiguous buffer, which is not copied and lives as long as ITK needs it. */
  Volume(PyObject * buffer, bool isMask, const std::vector<unsigned long> & size, unsigned int components);

  /** A file or a folder of one DICOM series, as the program glioma reads them. The role names it in messages. */
  static Volume
  Read(const std::string & path, const std::string & role, bool isMask, const std::vector<std::string> & series);

  /** Those of \a series that name the series that Read() takes. */
  static std::vector<std::string>
  UsedSeries(const std::string & path, const std::string & role, const std::vector<std::string> & series);

  /** One component an image. The grids may differ by the tolerance, a share of a voxel; the first one's is taken. */
  static Volume
  Compose(const std::vector<Volume> & images, double tolerance);

  bool
  IsMask() const;
  unsigned int
  GetNumberOfComponents() const;
  std::vector<unsigned long>
  GetSize() const;
  std::vector<long>
  GetIndex() const;
  std::vector<double>
  GetSpacing() const;
  std::vector<double>
  GetOrigin() const;
  std::vector<double>
  GetDirection() const;
  /** The meta-data dictionary as text, without what has none. */
  std::map<std::string, std::string>
  GetMetadata() const;

  void
  SetIndex(const std::vector<long> & index);
  void
  SetGeometry(const std::vector<double> & spacing,
              const std::vector<double> & origin,
              const std::vector<double> & direction);
  void
  SetMetadata(const std::map<std::string, std::string> & metadata);

  /** Of the first voxel. */
  std::size_t
  GetAddress() const;

#ifndef SWIG
  using RealImageType = itk::Image<float, 3>;
  using VectorImageType = itk::VectorImage<float, 3>;
  using MaskImageType = itk::Image<unsigned char, 3>;

  explicit Volume(const RealImageType * image);
  explicit Volume(const VectorImageType * image);
  explicit Volume(const MaskImageType * image);

  /** Images that share the voxels. */
  RealImageType::Pointer
  AsRealImage() const;
  VectorImageType::Pointer
  AsVectorImage() const;
  MaskImageType::Pointer
  AsMask() const;

private:
  using RealContainerType = RealImageType::PixelContainer;
  using MaskContainerType = MaskImageType::PixelContainer;
  static_assert(std::is_same<RealContainerType, VectorImageType::PixelContainer>::value, "Voxels are shared");

  template <typename TImage>
  void
  TakeGeometry(const TImage * image);
  template <typename TImage>
  typename TImage::Pointer
  MakeImage() const;

  RealContainerType::Pointer   m_Real;
  MaskContainerType::Pointer   m_Mask;
  unsigned int                 m_Components{ 1 };
  itk::ImageRegion<3>          m_Region;
  RealImageType::SpacingType   m_Spacing{ 1.0 };
  RealImageType::PointType     m_Origin{ 0.0 };
  RealImageType::DirectionType m_Direction{ RealImageType::DirectionType::GetIdentity() };
  itk::MetaDataDictionary      m_Dictionary;
#endif
};
} // namespace gliomagrading

#endif // Volume_h
