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

#include <array>
#include <cstdint>
#include <functional>
#include <ostream>
#include <type_traits>
#include <vector>

namespace itk
{
/** \class TorchSegmentationFilterEnums
 * \brief Enumerations of TorchSegmentationFilter.
 * \ingroup GliomaGrading
 */
class TorchSegmentationFilterEnums
{
public:
  /** \class Blend
   * \ingroup GliomaGrading
   * Weight of a voxel in overlapping patches: a Gaussian window, or the same for all. */
  enum class Blend : uint8_t
  {
    Gaussian,
    Constant
  };
  /** \class Border
   * \ingroup GliomaGrading
   * What a tile reads beyond the image: OutsideValues, the image mirrored at its outermost voxels, those voxels, or the
   * image from its other side. */
  enum class Border : uint8_t
  {
    Constant,
    Reflect,
    Replicate,
    Circular
  };
};

/** Prints the name of a way to blend. */
inline std::ostream &
operator<<(std::ostream & out, const TorchSegmentationFilterEnums::Blend value)
{
  return out << [value] {
    switch (value)
    {
      case TorchSegmentationFilterEnums::Blend::Gaussian:
        return "Gaussian";
      case TorchSegmentationFilterEnums::Blend::Constant:
        return "Constant";
      default:
        return "INVALID VALUE FOR itk::TorchSegmentationFilterEnums::Blend";
    }
  }();
}

/** Prints the name of a border. */
inline std::ostream &
operator<<(std::ostream & out, const TorchSegmentationFilterEnums::Border value)
{
  return out << [value] {
    switch (value)
    {
      case TorchSegmentationFilterEnums::Border::Constant:
        return "Constant";
      case TorchSegmentationFilterEnums::Border::Reflect:
        return "Reflect";
      case TorchSegmentationFilterEnums::Border::Replicate:
        return "Replicate";
      case TorchSegmentationFilterEnums::Border::Circular:
        return "Circular";
      default:
        return "INVALID VALUE FOR itk::TorchSegmentationFilterEnums::Border";
    }
  }();
}

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
 * A network with padding (Halo 0) sees overlapping patches, blended as MONAI's sliding_window_inference does: what the
 * graph gives is averaged, before softmax or sigmoid, with the weights of a Gaussian window (sigma SigmaScale of the
 * patch, weights floored at the larger of their minimum and 0.001) or the same for all.
 *
 * \par Memory
 * A chosen tile takes at most TileMemory; EstimateMemory() says what an update takes, and MaximumMemory refuses one
 * that would take more. A streamed update holds one piece: the memory does not depend on the number of slices.
 *
 * \par Inputs
 * The image must have the model's channels, prepared as its manifest says, and its spacing within 1 % and its
 * orientation where it declares them; GliomaGradingFilter brings other images there. The mask's grid may differ from
 * the image's by `CoordinateTolerance` (of a voxel) and `DirectionTolerance`, both 1e-3 by default.
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
  using BlendEnum = TorchSegmentationFilterEnums::Blend;
  using BorderEnum = TorchSegmentationFilterEnums::Border;

  static_assert(TInputImage::ImageDimension == 3, "The input must be a volume");
  static_assert(std::is_same<TInputImage, VectorImage<float, 3>>::value, "The input's buffer must be a float tensor's");

  /** The loaded model; required. */
  itkSetConstObjectMacro(Model, TorchModel);
  itkGetConstObjectMacro(Model, TorchModel);

  /** Only voxels where it is not 0 are segmented; optional. */
  itkSetInputMacro(MaskImage, TMaskImage);
  itkGetInputMacro(MaskImage, TMaskImage);
  /** The mask as the second input, so that Python's filter(image, mask) sets it. */
  void
  SetInput2(const MaskImageType * mask)
  {
    this->SetMaskImage(mask);
  }

  /** Give the class probabilities as output 1. Default: false. */
  itkSetMacro(GenerateProbabilities, bool);
  itkGetConstMacro(GenerateProbabilities, bool);
  itkBooleanMacro(GenerateProbabilities);

  /** Class probabilities, one component a class; empty unless GenerateProbabilities is on. */
  ProbabilityImageType *
  GetProbabilities();
  const ProbabilityImageType *
  GetProbabilities() const;

  /** Voxels that a tile reads along x, y, z; 0: the manifest's patch, else what reads the fewest voxels within
   * TileMemory (padded networks: what takes the least memory and reads hardly more; a padded graph that is not
   * of this module: 128 at most). Default: 0, 0, 0. A multiple of the model's
   * TileStep, without padding larger than 2 Halo. */
  itkSetMacro(TileSize, SizeType);
  itkGetConstReferenceMacro(TileSize, SizeType);

  /** Megabytes that a chosen tile may take, as TorchModel::EstimateBytes() has it. Default: 2048. */
  itkSetMacro(TileMemory, unsigned int);
  itkGetConstMacro(TileMemory, unsigned int);

  /** Padded networks: share of a patch that its neighbour covers too. Default: 0.25. */
  itkSetClampMacro(Overlap, double, 0.0, 0.9);
  itkGetConstMacro(Overlap, double);

  /** Padded networks: weights of overlapping patches. Default: Gaussian. */
  itkSetEnumMacro(Blend, BlendEnum);
  itkGetEnumMacro(Blend, BlendEnum);

  /** Padded networks: sigma of the Gaussian window as a share of the patch. Default: 0.125. */
  itkSetClampMacro(SigmaScale, double, 1e-3, 10.0);
  itkGetConstMacro(SigmaScale, double);

  /** What tiles read beyond the image. Default: Constant (OutsideValues). */
  itkSetEnumMacro(Border, BorderEnum);
  itkGetEnumMacro(Border, BorderEnum);

  /** Megabytes that EstimateMemory() may say; an update of more is refused before it begins. 0: no limit. Default: 0.
   */
  itkSetMacro(MaximumMemory, unsigned int);
  itkGetConstMacro(MaximumMemory, unsigned int);

  /** Bytes that an update of a region takes at its peak beyond the input image: the working set of a tile, the outputs,
   * and the sums of blended patches. Wants the output's information (UpdateOutputInformation()). */
  double
  EstimateMemory(const RegionType & region) const;
  /** Of the whole image. */
  double
  EstimateMemory() const;

  /** Seconds that a whole update will take: a small patch is run and scaled by its arithmetic and the number of tiles
   * (those of the mask, where it is up to date). Wants the output's information. */
  double
  EstimateSeconds() const;

  /** Voxels that a tile reads along x, y, z: TileSize, or what was chosen for it. Wants the output's information. */
  SizeType
  GetChosenTileSize() const;

  /** Tiles of the whole image, skipped ones included. Wants the output's information. */
  SizeValueType
  GetNumberOfTiles() const;

  /** Input beyond the image, a component each; empty: the manifest's OutsideValue. Default: empty. */
  virtual void
  SetOutsideValues(const Array<double> & value)
  {
    if (m_OutsideValues != value)
    {
      m_OutsideValues = value;
      this->Modified();
    }
  }
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

  /** Of the input as it is now; computed once. */
  const PlanType &
  MakePlan() const;
  void
  PlanCells(PlanType & plan) const;
  void
  PlanPatches(PlanType & plan) const;
  std::vector<RegionType>
  TilesOf(const PlanType & plan, const RegionType & piece) const;
  bool
  HasMaskVoxel(const RegionType & region) const;
  TorchModel::PatchPointer
  BeginTile(const RegionType & readRegion, std::vector<float> & padded, const std::function<void()> & between) const;
  void
  WriteVoxels(const RegionType & region, const float * probabilities, const SizeType & stored, const IndexType & first);
  std::array<std::vector<float>, 3>
  WindowOf(const PlanType & plan, float & floor) const;
  void
  AddBlended(const RegionType &                        written,
             const IndexType &                         tileStart,
             const TorchVolume &                       result,
             const std::array<std::vector<float>, 3> & window,
             float                                     floor,
             std::vector<float> &                      sum,
             std::vector<float> &                      weight);
  OffsetValueType
  SourceOf(OffsetValueType position, OffsetValueType size) const;

  TorchModel::ConstPointer m_Model;
  bool                     m_GenerateProbabilities{ false };
  SizeType                 m_TileSize{ { 0, 0, 0 } };
  unsigned int             m_TileMemory{ 2048 };
  unsigned int             m_MaximumMemory{ 0 };
  double                   m_Overlap{ 0.25 };
  BlendEnum                m_Blend{ BlendEnum::Gaussian };
  double                   m_SigmaScale{ 0.125 };
  BorderEnum               m_Border{ BorderEnum::Constant };
  Array<double>            m_OutsideValues;
  SizeValueType            m_NumberOfComputedTiles{ 0 };
  mutable PlanType         m_Plan;
  mutable RegionType       m_PlanRegion;
  mutable ModifiedTimeType m_PlanTime{ 0 }; // 0: there is none
};
} // namespace itk

#ifndef ITK_MANUAL_INSTANTIATION
#  include "itkTorchSegmentationFilter.hxx"
#endif

#endif // itkTorchSegmentationFilter_h
