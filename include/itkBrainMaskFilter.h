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
#ifndef itkBrainMaskFilter_h
#define itkBrainMaskFilter_h

#include "itkGliomaGradingCompat.h"
#include "itkImageToImageFilter.h"
#include "itkSimpleDataObjectDecorator.h"
#include "itkVectorImage.h"

#include <cstdint>
#include <ostream>

namespace itk
{
/** \class BrainMaskFilterEnums
 * \brief Enumerations of BrainMaskFilter.
 * \ingroup GliomaGrading
 */
class BrainMaskFilterEnums
{
public:
  /** \class StatusFlag
   * \brief Bits of the status.
   * \ingroup GliomaGrading
   */
  enum class StatusFlag : uint8_t
  {
    NotSkullStripped = 1,
    SequencesDisagree = 2
  };
};

inline std::ostream &
operator<<(std::ostream & os, BrainMaskFilterEnums::StatusFlag value)
{
  return os << [value] {
    switch (value)
    {
      case BrainMaskFilterEnums::StatusFlag::NotSkullStripped:
        return "NotSkullStripped";
      case BrainMaskFilterEnums::StatusFlag::SequencesDisagree:
        return "SequencesDisagree";
      default:
        return "INVALID VALUE FOR itk::BrainMaskFilterEnums::StatusFlag";
    }
  }();
}

/** \class BrainMaskFilter
 * \brief The brain of skull-stripped sequences: where any of them is not 0.
 *
 * The voxels at which at least one component differs from 0, of these the largest component (26 neighbours), with its
 * holes filled: background that is not joined to the image's border over faces. The mask is 1 inside.
 *
 * Negative values count as the others: interpolation before skull-stripping leaves some at the brain's rim, and a
 * sequence that was standardized before has them everywhere.
 *
 * \par Status
 * A sum of StatusFlag, 0 if nothing is wrong.
 * - `NotSkullStripped`: the mask's volume is below `MinimumVolume` or above `MaximumVolume`, or it lies on more than
 *   `MaximumNumberOfFaces` of the image's six faces. A face counts when the mask covers `MinimumFaceFraction` of it: a
 *   brain that was cropped to its box merely touches all six, and one of a short field of view is cut at two.
 * - `SequencesDisagree`: for some pair of components the Dice overlap of the voxels that are not 0 is below
 *   `MinimumDice`.
 *
 * An image that is 0 everywhere is an exception, and so is a value that is not finite. There are 16 components at
 * most. The filter needs the whole image.
 *
 * \ingroup GliomaGrading
 */
template <typename TInputImage = VectorImage<float, 3>, typename TMaskImage = Image<unsigned char, 3>>
class ITK_TEMPLATE_EXPORT BrainMaskFilter : public ImageToImageFilter<TInputImage, TMaskImage>
{
public:
  ITK_DISALLOW_COPY_AND_MOVE(BrainMaskFilter);

  using Self = BrainMaskFilter;
  using Superclass = ImageToImageFilter<TInputImage, TMaskImage>;
  using Pointer = SmartPointer<Self>;
  using ConstPointer = SmartPointer<const Self>;

  itkNewMacro(Self);
  itkOverrideGetNameOfClassMacro(BrainMaskFilter);

  static constexpr unsigned int ImageDimension = TInputImage::ImageDimension;
  static_assert(ImageDimension == 3 && TMaskImage::ImageDimension == 3, "Images are three-dimensional.");
  static constexpr unsigned int MaximumNumberOfComponents = 16;

  using InputImageType = TInputImage;
  using MaskImageType = TMaskImage;
  using RegionType = typename TMaskImage::RegionType;
  using StatusFlagEnum = BrainMaskFilterEnums::StatusFlag;

  /** \brief Smallest volume of a brain in ml. Default 700. */
  itkSetMacro(MinimumVolume, double);
  itkGetConstMacro(MinimumVolume, double);

  /** \brief Largest volume of a brain in ml. Default 2000. */
  itkSetMacro(MaximumVolume, double);
  itkGetConstMacro(MaximumVolume, double);

  /** \brief On more faces of the image than this, the mask is no brain. Default 2. */
  itkSetMacro(MaximumNumberOfFaces, unsigned int);
  itkGetConstMacro(MaximumNumberOfFaces, unsigned int);

  /** \brief Share of a face that the mask covers for the face to count. Default 0.05. */
  itkSetMacro(MinimumFaceFraction, double);
  itkGetConstMacro(MinimumFaceFraction, double);

  /** \brief Smallest Dice overlap of two sequences. Default 0.9. */
  itkSetMacro(MinimumDice, double);
  itkGetConstMacro(MinimumDice, double);

  /** \brief Sum of the StatusFlag bits. As all these outputs, valid after Update(). */
  itkGetDecoratedOutputMacro(Status, unsigned long);

  /** \brief Volume of the mask in ml. */
  itkGetDecoratedOutputMacro(Volume, double);

  /** \brief Smallest Dice overlap of two sequences; 1 if there is only one. */
  itkGetDecoratedOutputMacro(Dice, double);

  /** \brief Faces of the image on which the mask lies. */
  itkGetDecoratedOutputMacro(NumberOfFaces, unsigned long);

  /** \brief True if the status has this bit. */
  bool
  HasStatus(StatusFlagEnum flag) const
  {
    return (this->GetStatus() & static_cast<unsigned long>(flag)) != 0;
  }

  using DataObjectIdentifierType = ProcessObject::DataObjectIdentifierType;
  using Superclass::MakeOutput;
  DataObject::Pointer
  MakeOutput(const DataObjectIdentifierType & name) override;

protected:
  BrainMaskFilter();
  ~BrainMaskFilter() override = default;

  itkSetDecoratedOutputMacro(Status, unsigned long);
  itkSetDecoratedOutputMacro(Volume, double);
  itkSetDecoratedOutputMacro(Dice, double);
  itkSetDecoratedOutputMacro(NumberOfFaces, unsigned long);

  void
  PrintSelf(std::ostream & os, Indent indent) const override;

  void
  VerifyPreconditions() const override;

  void
  VerifyInputInformation() const override;

  void
  GenerateOutputInformation() override;

  void
  GenerateInputRequestedRegion() override;

  void
  EnlargeOutputRequestedRegion(DataObject * output) override;

  void
  GenerateData() override;

private:
  double       m_MinimumVolume{ 700.0 };
  double       m_MaximumVolume{ 2000.0 };
  unsigned int m_MaximumNumberOfFaces{ 2 };
  double       m_MinimumFaceFraction{ 0.05 };
  double       m_MinimumDice{ 0.9 };
};
} // namespace itk

#ifndef ITK_MANUAL_INSTANTIATION
#  include "itkBrainMaskFilter.hxx"
#endif

#endif // itkBrainMaskFilter_h
