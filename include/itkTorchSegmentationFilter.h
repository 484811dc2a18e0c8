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
#ifndef itkTorchSegmentationFilter_h
#define itkTorchSegmentationFilter_h

#include "itkArray.h"
#include "itkGliomaGradingCompat.h"
#include "itkImage.h"
#include "itkImageToImageFilter.h"
#include "itkTorchModel.h"
#include "itkVectorImage.h"

#include <type_traits>
#include <vector>

namespace itk
{
/** \class TorchSegmentationFilter
 * \brief Runs a dense model over an image of any size, tile by tile, and streams.
 *
 * Output 0 holds the label of every voxel: the class with the largest probability; where classes may overlap (sigmoid),
 * 1 + the most probable class if its probability is above 0.5, else 0. With GenerateProbabilities output 1 holds the
 * class probabilities. Where a mask is given, everything outside it is background with probability 1, so that the tiles
 * that are skipped there cannot be seen.
 *
 * \par Tiles
 * A network without padding loses Halo voxels on each side. A tile reads \f$n\f$ voxels, \f$n\f$ a multiple of
 * TileStep, and writes \f$\lfloor (n - 2\,Halo) / TileStep \rfloor \cdot TileStep\f$; tiles start on multiples of
 * TileStep from the start of the largest possible region, and their size depends on that region, the model and the
 * parameters only: tiles give what one pass would, and every division of a stream gives the same bits. Outside the
 * image the input is OutsideValues.
 *
 * A network with padding (Halo 0) sees overlapping patches, blended by a Gaussian window as MONAI's
 * sliding_window_inference does (sigma 0.125 of the patch, weights floored at the larger of their minimum and 0.001).
 *
 * \par Inputs
 * The image must have the model's channels, prepared as its manifest says, and its spacing within 1 % and its
 * orientation where it declares them; GliomaGradingFilter brings other images there.
 *
 * \sa TorchModel
 * \ingroup GliomaGrading
 */
template <typename TInputImage = VectorImage<float, 3>,
          typename TOutputImage = Image<unsigned char, 3>,
          typename TMaskImage = Image<unsigned char, 3>>
class ITK_TEMPLATE_EXPORT TorchSegmentationFilter : public ImageToImageFilter<TInputImage, TOutputImage>
{
public:
  ITK_DISALLOW_COPY_AND_MOVE(TorchSegmentationFilter);

  using Self = TorchSegmentationFilter;
  using Superclass = ImageToImageFilter<TInputImage, TOutputImage>;
  using Pointer = SmartPointer<Self>;
  using ConstPointer = SmartPointer<const Self>;

  itkNewMacro(Self);
  itkOverrideGetNameOfClassMacro(TorchSegmentationFilter);

  static constexpr unsigned int ImageDimension = 3;

  using InputImageType = TInputImage;
  using OutputImageType = TOutputImage;
  using MaskImageType = TMaskImage;
  using ProbabilityImageType = VectorImage<float, 3>;
  using RegionType = ImageRegion<3>;
  using SizeType = Size<3>;
  using IndexType = Index<3>;

  static_assert(TInputImage::ImageDimension == 3, "The input must be a volume");
  static_assert(std::is_same<TInputImage, VectorImage<float, 3>>::value, "The input's buffer must be a float tensor's");

  /** The loaded model; required. */
  itkSetConstObjectMacro(Model, TorchModel);
  itkGetConstObjectMacro(Model, TorchModel);

  /** Only voxels where it is not 0 are segmented; optional. */
  itkSetInputMacro(MaskImage, TMaskImage);
  itkGetInputMacro(MaskImage, TMaskImage);

  /** Give the class probabilities as output 1. Default: false. */
  itkSetMacro(GenerateProbabilities, bool);
  itkGetConstMacro(GenerateProbabilities, bool);
  itkBooleanMacro(GenerateProbabilities);

  /** Class probabilities, one component a class; empty unless GenerateProbabilities is on. */
  ProbabilityImageType *
  GetProbabilities();
  const ProbabilityImageType *
  GetProbabilities() const;

  /** Voxels that a tile reads along x, y, z; 0: chosen. Default: 0, 0, 0. Without padding: a multiple of the model's
   * TileStep, larger than 2 Halo. */
  itkSetMacro(TileSize, SizeType);
  itkGetConstReferenceMacro(TileSize, SizeType);

  /** Megabytes that a chosen tile may take, as estimated from the network's width. Default: 2048. */
  itkSetMacro(TileMemory, unsigned int);
  itkGetConstMacro(TileMemory, unsigned int);

  /** Padded networks: share of a patch that its neighbour covers too. Default: 0.25. */
  itkSetClampMacro(Overlap, double, 0.0, 0.9);
  itkGetConstMacro(Overlap, double);

  /** Input beyond the image, a component each; empty: the manifest's OutsideValue. Default: empty. */
  itkSetMacro(OutsideValues, Array<double>);
  itkGetConstReferenceMacro(OutsideValues, Array<double>);

  /** Tiles that the last piece ran through the model; tiles without a voxel of the mask are skipped. */
  itkGetConstMacro(NumberOfComputedTiles, SizeValueType);

  ModifiedTimeType
  GetMTime() const override;

protected:
  TorchSegmentationFilter();
  ~TorchSegmentationFilter() override = default;

  using Superclass::MakeOutput;
  DataObject::Pointer
  MakeOutput(ProcessObject::DataObjectPointerArraySizeType index) override;

  void
  PrintSelf(std::ostream & os, Indent indent) const override;
  void
  VerifyPreconditions() const override;
  void
  VerifyInputInformation() const override;
  void
  GenerateOutputInformation() override;
  void
  EnlargeOutputRequestedRegion(DataObject * output) override;
  void
  GenerateInputRequestedRegion() override;
  void
  GenerateData() override;

private:
  /** How one axis is cut. Positions count from the start of the largest possible region. */
  struct AxisPlan
  {
    OffsetValueType              Tile{ 0 }; // voxels read
    OffsetValueType              Cell{ 1 }; // requests are rounded up to whole cells
    OffsetValueType              Keep{ 0 }; // voxels written
    OffsetValueType              Halo{ 0 };
    std::vector<OffsetValueType> Starts; // first voxel written
  };
  using PlanType = std::array<AxisPlan, 3>;

  PlanType
  MakePlan() const;
  void
  PlanCells(PlanType & plan) const;
  void
  PlanPatches(PlanType & plan) const;
  std::vector<RegionType>
  TilesOf(const PlanType & plan, const RegionType & piece) const;
  bool
  HasMaskVoxel(const RegionType & region) const;
  TorchVolume
  RunTile(const RegionType & readRegion, std::vector<float> & padded) const;
  void
  WriteVoxels(const RegionType & region, const float * probabilities, const SizeType & stored, const IndexType & first);
  double
  BytesOfTile(double voxels) const;

  TorchModel::ConstPointer m_Model;
  bool                     m_GenerateProbabilities{ false };
  SizeType                 m_TileSize{ { 0, 0, 0 } };
  unsigned int             m_TileMemory{ 2048 };
  double                   m_Overlap{ 0.25 };
  Array<double>            m_OutsideValues;
  SizeValueType            m_NumberOfComputedTiles{ 0 };
};
} // namespace itk

#ifndef ITK_MANUAL_INSTANTIATION
#  include "itkTorchSegmentationFilter.hxx"
#endif

#endif // itkTorchSegmentationFilter_h
