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
#ifndef itkTorchExplanationImageFilter_h
#define itkTorchExplanationImageFilter_h

#include "itkArray.h"
#include "itkImage.h"
#include "itkImageToImageFilter.h"
#include "itkSimpleDataObjectDecorator.h"
#include "itkTorchModel.h"

#include <array>
#include <memory>
#include <vector>

namespace itk
{
/** \class TorchExplanationImageFilter
 * \brief What the explanation filters share: one explanation a change, and its maps as images in physical space.
 *
 * The input is the region of interest that the model graded. Every map comes with its support: 1 on the true extent of
 * the map's cells (half a cell beyond the outermost centres), 0 outside, where the map says nothing and is 0.
 *
 * Without a reference image the maps lie on their own cells; these outputs are produced whole, and their size is known
 * from the network's run, which GenerateOutputInformation() therefore starts. With a reference image (whose geometry
 * alone is used) the maps are interpolated linearly in physical space, clamped in the half cell at the border of the
 * support; these outputs stream, and the explanation is still computed once. Values are raw magnitudes, in units of the
 * score per unit of the input.
 *
 * The explanation is computed again when the model, the request or the input changed, not when the reference image did.
 * With SetExplanation() an explanation that exists already is drawn, and no model is run.
 * \ingroup GliomaGrading
 */
template <typename TInputImage, typename TOutputImage>
class ITK_TEMPLATE_EXPORT TorchExplanationImageFilter : public ImageToImageFilter<TInputImage, TOutputImage>
{
public:
  ITK_DISALLOW_COPY_AND_MOVE(TorchExplanationImageFilter);

  using Self = TorchExplanationImageFilter;
  using Superclass = ImageToImageFilter<TInputImage, TOutputImage>;
  using Pointer = SmartPointer<Self>;
  using ConstPointer = SmartPointer<const Self>;

  itkOverrideGetNameOfClassMacro(TorchExplanationImageFilter);

  static constexpr unsigned int ImageDimension = TInputImage::ImageDimension;
  static_assert(ImageDimension == 3 && TOutputImage::ImageDimension == 3, "Explanations are three-dimensional");

  using InputImageType = TInputImage;
  using OutputImageType = TOutputImage;
  using OutputImageRegionType = typename TOutputImage::RegionType;
  using SupportImageType = Image<unsigned char, 3>;
  using ReferenceImageType = ImageBase<3>;
  using ArrayType = Array<double>;
  using ExplanationPointer = std::shared_ptr<const TorchExplanation>;

  /** A loaded grading model. Default: none. */
  itkSetConstObjectMacro(Model, TorchModel);
  itkGetConstObjectMacro(Model, TorchModel);

  /** Class to explain, counted from 0; setting it turns UsePredictedClass off. Default: 0. */
  void
  SetClassToExplain(unsigned int label);
  itkGetConstMacro(ClassToExplain, unsigned int);

  /** Explain the class that the model predicts. Default: true. */
  itkSetMacro(UsePredictedClass, bool);
  itkGetConstMacro(UsePredictedClass, bool);
  itkBooleanMacro(UsePredictedClass);

  /** Explain the probability \f$p_c\f$ of GradeClassifierFilter, which the manifest's temperature calibrates, and not
   * the logit, whose gradient does not vanish where the softmax saturates. Default: false. */
  itkSetMacro(ExplainProbability, bool);
  itkGetConstMacro(ExplainProbability, bool);
  itkBooleanMacro(ExplainProbability);

  /** Grid for the maps; only its geometry is used. Default: none, the maps lie on their own cells. */
  void
  SetReferenceImage(const ReferenceImageType * image);
  const ReferenceImageType *
  GetReferenceImage() const;

  /** Draws what was computed before (for this region) and runs no model. Default: none. */
  void
  SetExplanation(ExplanationPointer explanation);
  /** What the maps were made of; available after an update. */
  ExplanationPointer
  GetExplanation() const
  {
    return m_Explanation;
  }

  /** Support of a map. */
  SupportImageType *
  GetSupport(unsigned int map = 0);
  const SupportImageType *
  GetSupport(unsigned int map = 0) const;

  /** Number of the class with the largest logit, counted from 0. As all these outputs, valid after an update. */
  itkGetDecoratedOutputMacro(PredictedClass, unsigned long);
  /** Number of the class that the maps explain: ClassToExplain, or the predicted one. */
  itkGetDecoratedOutputMacro(ExplainedClass, unsigned long);
  /** What the network gave before the softmax, one number a class, without units. */
  itkGetDecoratedOutputMacro(Logits, ArrayType);
  /** Probability of each class, as of GradeClassifierFilter; they add up to 1. */
  itkGetDecoratedOutputMacro(Probabilities, ArrayType);
  /** ReLUs that ran in the forward. */
  itkGetDecoratedOutputMacro(ExecutedReLUs, unsigned long);
  /** Those of them that followed the guided rule; 0 without guided backpropagation. */
  itkGetDecoratedOutputMacro(GuidedReLUs, unsigned long);

  using Superclass::MakeOutput;
  DataObject::Pointer
  MakeOutput(const DataObject::DataObjectIdentifierType & name) override;

  /** Includes the model's. */
  ModifiedTimeType
  GetMTime() const override;

protected:
  /** One map of the explanation and where its cells lie. */
  struct MapOnCells
  {
    const TorchVolume * Volume{ nullptr };
    TorchLayerGeometry  Geometry;
  };

  TorchExplanationImageFilter();
  ~TorchExplanationImageFilter() override = default;
  void
  PrintSelf(std::ostream & os, Indent indent) const override;

  /** What is asked of the model. */
  virtual TorchExplanationRequest
  MakeRequest() const = 0;
  /** The maps of an explanation in the order of the outputs; throws where one is not there. */
  virtual std::vector<MapOnCells>
  FindMaps(const TorchExplanation & explanation, unsigned int label) const = 0;

  /** Makes the outputs of this many maps. */
  void
  SetNumberOfMaps(unsigned int maps);

  itkSetDecoratedOutputMacro(PredictedClass, unsigned long);
  itkSetDecoratedOutputMacro(ExplainedClass, unsigned long);
  itkSetDecoratedOutputMacro(Logits, ArrayType);
  itkSetDecoratedOutputMacro(Probabilities, ArrayType);
  itkSetDecoratedOutputMacro(ExecutedReLUs, unsigned long);
  itkSetDecoratedOutputMacro(GuidedReLUs, unsigned long);

  void
  VerifyPreconditions() const override;
  /** The reference image may lie anywhere: the region alone is compared, with the model. */
  void
  VerifyInputInformation() const override;
  void
  GenerateOutputInformation() override;
  void
  EnlargeOutputRequestedRegion(DataObject * output) override;
  void
  GenerateOutputRequestedRegion(DataObject * output) override;
  void
  GenerateInputRequestedRegion() override;
  void
  GenerateData() override;

private:
  /** Output voxel index to cell: Matrix * index + Translation. */
  struct CellTransform
  {
    std::array<std::array<double, 3>, 3> Matrix;
    std::array<double, 3>                Translation;
  };

  static std::string
  SupportName(unsigned int map);
  unsigned int
  ExplainedLabel() const;
  void
  SetLargestRequestedRegions();
  /** Runs the model unless nothing changed. */
  void
  Explain();
  void
  VerifyMaps(const std::vector<MapOnCells> & maps) const;
  CellTransform
  MakeCellTransform(const TorchLayerGeometry & geometry) const;
  void
  CopyCells(unsigned int map, const TorchVolume & volume);
  void
  Resample(unsigned int                  map,
           const TorchVolume &           volume,
           const CellTransform &         transform,
           const OutputImageRegionType & region);

  TorchModel::ConstPointer m_Model;
  unsigned int             m_ClassToExplain{ 0 };
  bool                     m_UsePredictedClass{ true };
  bool                     m_ExplainProbability{ false };
  unsigned int             m_NumberOfMaps{ 0 };

  ExplanationPointer m_GivenExplanation;
  ExplanationPointer m_Explanation;

  /** What m_Explanation was computed from. */
  struct Origin
  {
    const void *              Model{ nullptr };
    ModifiedTimeType          ModelTime{ 0 };
    const void *              Input{ nullptr };
    ModifiedTimeType          InputTime{ 0 };
    std::vector<std::string>  Layers;
    std::vector<unsigned int> Classes;
    bool                      Guided{ false };
    bool                      Others{ false };
    bool                      Probability{ false };

    bool
    operator==(const Origin & other) const
    {
      return Model == other.Model && ModelTime == other.ModelTime && Input == other.Input &&
             InputTime == other.InputTime && Layers == other.Layers && Classes == other.Classes &&
             Guided == other.Guided && Others == other.Others && Probability == other.Probability;
    }
  };
  Origin m_Origin;
};
} // namespace itk

#ifndef ITK_MANUAL_INSTANTIATION
#  include "itkTorchExplanationImageFilter.hxx"
#endif

#endif // itkTorchExplanationImageFilter_h
