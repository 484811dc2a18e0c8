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
#ifndef ModelFilters_h
#define ModelFilters_h

#include "ImageFilters.h"
#include "itkTorchModelManifest.h"

#ifndef SWIG
#  include "itkTorchModel.h"
#endif

namespace gliomagrading
{
/** itk::TorchModel */
class Model
{
public:
  Model();
  GLIOMA_PARAMETER(std::string, Path);
  GLIOMA_PARAMETER(bool, TrustModelCode);
  GLIOMA_PARAMETER(std::string, Device);
  GLIOMA_PARAMETER(unsigned int, Precision);
  GLIOMA_PARAMETER(unsigned int, NumberOfThreads);
  void
  SetManifest(const itk::TorchModelManifest & manifest);
  itk::TorchModelManifest
  GetManifest() const;
  /** Case, licence and attribution of each training case, one after the other. */
  std::vector<std::string>
  GetTrainingCases() const;
  void
  ReadManifest();
  void
  Load();
  bool
  IsLoaded() const;
  bool
  VerifyGoldenPair() const;
  std::vector<std::string>
  GetLayerNames() const;
  std::size_t
  GetNumberOfParameters() const;
  /** For tests and examples: a bundle with weights drawn from a seed. */
  static void
  WriteSeededBundle(const std::string & path, const itk::TorchModelManifest & manifest, unsigned long seed);

#ifndef SWIG
  const itk::TorchModel *
  GetModel() const
  {
    return m_Model;
  }

private:
  itk::TorchModel::Pointer m_Model;
#endif
};

/** itk::TorchSegmentationFilter */
class TorchSegmentation : public FilterRun
{
public:
  TorchSegmentation();
  void
  SetImage(const Volume & image);
  void
  SetMask(const Volume & mask);
  void
  SetModel(const Model & model);
  GLIOMA_PARAMETER(bool, GenerateProbabilities);
  GLIOMA_PARAMETER(Numbers, TileSize);
  GLIOMA_PARAMETER(unsigned int, TileMemory);
  GLIOMA_PARAMETER(double, Overlap);
  GLIOMA_PARAMETER(unsigned int, Blend);
  GLIOMA_PARAMETER(double, SigmaScale);
  GLIOMA_PARAMETER(unsigned int, Border);
  GLIOMA_PARAMETER(unsigned int, MaximumMemory);
  GLIOMA_PARAMETER(Doubles, OutsideValues);

  Volume
  GetLabels() const;
  Volume
  GetProbabilities() const;
  unsigned long
  GetNumberOfComputedTiles() const;
};

/** itk::GradeClassifierFilter */
class GradeClassifier : public FilterRun
{
public:
  GradeClassifier();
  void
  SetRegion(const Volume & region);
  void
  SetModel(const Model & model);

  Doubles
  GetProbabilities() const;
  Doubles
  GetLogits() const;
  std::string
  GetGradeName() const;

#ifndef SWIG
protected:
  void
  Run() override;
#endif
};

/** itk::GradCAMImageFilter */
class GradCAM : public FilterRun
{
public:
  GradCAM();
  void
  SetRegion(const Volume & region);
  void
  SetModel(const Model & model);
  void
  SetReference(const Volume & reference);
  void
  AddLayerName(const std::string & layer);
  GLIOMA_PARAMETER(int, ClassToExplain);
  GLIOMA_PARAMETER(bool, ExplainProbability);

  Volume
  GetMap(unsigned int layer) const;
  Volume
  GetSupport(unsigned int layer) const;
  Doubles
  GetHasPositiveCell() const;
  unsigned long
  GetExplainedClass() const;
  Doubles
  GetLogits() const;
  Doubles
  GetProbabilities() const;
};

/** itk::GuidedBackpropagationImageFilter */
class GuidedBackpropagation : public FilterRun
{
public:
  GuidedBackpropagation();
  void
  SetRegion(const Volume & region);
  void
  SetModel(const Model & model);
  void
  SetReference(const Volume & reference);
  GLIOMA_PARAMETER(int, ClassToExplain);
  GLIOMA_PARAMETER(bool, ExplainProbability);
  GLIOMA_PARAMETER(bool, AllowOtherActivations);

  Volume
  GetMap() const;
  Volume
  GetSupport() const;
  unsigned long
  GetExplainedClass() const;
  Doubles
  GetLogits() const;
  Doubles
  GetProbabilities() const;
  unsigned long
  GetExecutedReLUs() const;
  unsigned long
  GetGuidedReLUs() const;
  std::vector<std::string>
  GetOtherActivations() const;
};
} // namespace gliomagrading

#endif // ModelFilters_h
