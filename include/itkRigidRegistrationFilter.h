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
#ifndef itkRigidRegistrationFilter_h
#define itkRigidRegistrationFilter_h

#include "itkArray.h"
#include "itkGliomaGradingCompat.h"
#include "itkImage.h"
#include "itkImageToImageFilter.h"
#include "itkVersorRigid3DTransform.h"

namespace itk
{
/** \class RigidRegistrationFilter
 * \brief Brings one MRI sequence of a head into the physical space of another one of the same patient.
 *
 * The input is moved, the reference stays. ITK's own registration (ImageRegistrationMethodv4) maximizes the mutual
 * information of Mattes over rigid transforms, first from images smoothed by a Gaussian of 2 mm, then of 1 mm, at last
 * unsmoothed (averaged to voxels of about 1 mm where they are finer). It starts from the identity or from the shift
 * between the centroids, whichever has the better metric. Samples lie within MaskDilation of the reference's brain, at
 * random places of a fixed Seed, and are summed by one thread: a repeated run gives the same bits, whatever the number
 * of threads.
 *
 * The brain of the reference is where its mask is not 0, or without a mask where the image is not 0. The images are
 * skull-stripped, or the mask is given. The mask's grid may differ from the reference's by `CoordinateTolerance` (of a
 * voxel) and `DirectionTolerance`, both 1e-3 by default; the input's grid is its own.
 *
 * The output is the input on the reference's grid, or on the given OutputGrid (RigidResampleImageFilter), with the
 * input's dictionary. GetTransform() takes physical points of the reference to those of the input (mm).
 *
 * It is an exception where the metric does not improve (a transform that moves the brain by more than 0.5 mm without
 * better metric than the images as they lie), where the metric says that the images have nothing to do with each other
 * (MinimumMutualInformation), and where less than MinimumOverlap of the reference's brain lies on voxels of the input
 * that are not 0.
 *
 * Metrics are ITK's values: the negative of the mutual information in nats, smaller is better.
 * \sa RigidResampleImageFilter SequencePreparationFilter
 * \ingroup GliomaGrading
 */
template <typename TInputImage = Image<float, 3>, typename TMaskImage = Image<unsigned char, 3>>
class ITK_TEMPLATE_EXPORT RigidRegistrationFilter : public ImageToImageFilter<TInputImage, Image<float, 3>>
{
public:
  ITK_DISALLOW_COPY_AND_MOVE(RigidRegistrationFilter);

  using Self = RigidRegistrationFilter;
  using InputImageType = TInputImage;
  using MaskImageType = TMaskImage;
  using OutputImageType = Image<float, 3>;
  using Superclass = ImageToImageFilter<InputImageType, OutputImageType>;
  using Pointer = SmartPointer<Self>;
  using ConstPointer = SmartPointer<const Self>;
  using TransformType = VersorRigid3DTransform<double>;
  using GridType = ImageBase<3>;

  itkNewMacro(Self);
  itkOverrideGetNameOfClassMacro(RigidRegistrationFilter);

  static constexpr unsigned int ImageDimension = TInputImage::ImageDimension;
  static_assert(ImageDimension == 3, "Images are three-dimensional.");

  /** \brief Image into whose space the input is brought. */
  itkSetInputMacro(ReferenceImage, InputImageType);
  itkGetInputMacro(ReferenceImage, InputImageType);

  /** \brief Optional brain on the reference's grid: not 0 inside. */
  itkSetInputMacro(ReferenceMaskImage, MaskImageType);
  itkGetInputMacro(ReferenceMaskImage, MaskImageType);

  /** \brief Optional grid of the output in the reference's space, such as its space at another spacing
   * (ModelSpaceFilter). Its voxels are not looked at. Default: the
   * reference's grid. */
  itkSetInputMacro(OutputGrid, GridType);
  itkGetInputMacro(OutputGrid, GridType);

  /** \brief Whether the output treats voxels that are 0 as outside, see RigidResampleImageFilter. Default: on. */
  itkSetMacro(IgnoreZeros, bool);
  itkGetConstMacro(IgnoreZeros, bool);
  itkBooleanMacro(IgnoreZeros);

  /** \brief Bins along each axis of the joint histogram, from which the mutual information is counted: 8 to 256, other
   * numbers become the nearest of these. Default: 32. */
  itkSetClampMacro(NumberOfHistogramBins, unsigned int, 8, 256);
  itkGetConstMacro(NumberOfHistogramBins, unsigned int);

  /** \brief Voxels that the metric looks at on a level, about; fewer where there are not as many. At least 1000,
   * smaller numbers become 1000. Default: 30000. */
  itkSetClampMacro(NumberOfSamples, unsigned int, 1000, NumericTraits<unsigned int>::max());
  itkGetConstMacro(NumberOfSamples, unsigned int);

  /** \brief Seed of the random numbers that choose the places of the samples; every number will do, and the same one
   * gives the same bits. Default: 1729. */
  itkSetMacro(Seed, int);
  itkGetConstMacro(Seed, int);

  /** \brief Steps of the optimizer on each of the three levels at most, 1 or more; it ends before where its step has
   * become shorter than 0.01 mm. Default: 100. */
  itkSetClampMacro(MaximumNumberOfIterations, unsigned int, 1, NumericTraits<unsigned int>::max());
  itkGetConstMacro(MaximumNumberOfIterations, unsigned int);

  /** \brief How far samples lie outside the brain, in mm: its border tells most. Default: 3. */
  itkSetClampMacro(MaskDilation, double, 0.0, NumericTraits<double>::max());
  itkGetConstMacro(MaskDilation, double);

  /** \brief Smallest share of the reference's brain that the input must cover. Default: 0.8. */
  itkSetClampMacro(MinimumOverlap, double, 0.0, 1.0);
  itkGetConstMacro(MinimumOverlap, double);

  /** \brief Smallest mutual information in nats of images that have to do with each other. Default: 0.1. */
  itkSetClampMacro(MinimumMutualInformation, double, 0.0, NumericTraits<double>::max());
  itkGetConstMacro(MinimumMutualInformation, double);

  /** \brief From physical points of the reference to those of the input (mm); its centre is the brain's centroid. As
   * all that follows, of the last update; null before the first. */
  const TransformType *
  GetTransform() const
  {
    return m_Transform;
  }
  /** \brief Metric of the images as they lie. */
  itkGetConstMacro(InitialMetric, double);
  /** \brief Metric at the transform, with the same samples. */
  itkGetConstMacro(FinalMetric, double);
  /** \brief Share of the reference's brain on voxels of the input that are not 0. */
  itkGetConstMacro(Overlap, double);
  /** \brief Mean distance in mm by which the transform moves the reference's brain. */
  itkGetConstMacro(MeanDisplacement, double);
  /** \brief Iterations of each level. */
  const Array<double> &
  GetIterationsPerLevel() const
  {
    return m_IterationsPerLevel;
  }

protected:
  RigidRegistrationFilter();
  ~RigidRegistrationFilter() override = default;

  void
  PrintSelf(std::ostream & os, Indent indent) const override;
  /** Compares the mask's grid with the reference's; the grids of the two images differ on purpose. */
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
  using RealImageType = Image<float, 3>;
  using ByteImageType = Image<unsigned char, 3>;
  using PointType = Point<double, 3>;
  struct Problem;

  template <typename TImage>
  ImageRegion<3>
  BoxOf(const TImage * image, const char * name) const;
  template <typename TImage>
  typename RealImageType::Pointer
  CropAndReduce(const TImage * image, ImageRegion<3> box) const;
  PointType
  CentroidOf(const RealImageType * image, float threshold) const;
  void
  Prepare(Problem & problem) const;
  double
  MetricAt(const Problem & problem, const TransformType * transform) const;
  void
  Optimize(const Problem & problem);
  void
  Judge(const Problem & problem);

  bool         m_IgnoreZeros{ true };
  unsigned int m_NumberOfHistogramBins{ 32 };
  unsigned int m_NumberOfSamples{ 30000 };
  int          m_Seed{ 1729 };
  unsigned int m_MaximumNumberOfIterations{ 100 };
  double       m_MaskDilation{ 3.0 };
  double       m_MinimumOverlap{ 0.8 };
  double       m_MinimumMutualInformation{ 0.1 };

  typename TransformType::Pointer m_Transform{};
  double                          m_InitialMetric{ 0.0 };
  double                          m_FinalMetric{ 0.0 };
  double                          m_Overlap{ 0.0 };
  double                          m_MeanDisplacement{ 0.0 };
  Array<double>                   m_IterationsPerLevel;
};
} // namespace itk

#ifndef ITK_MANUAL_INSTANTIATION
#  include "itkRigidRegistrationFilter.hxx"
#endif

#endif // itkRigidRegistrationFilter_h
