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
#ifndef itkTensorProductN4_h
#define itkTensorProductN4_h

#include "itkArray.h"
#include "itkFixedArray.h"
#include "itkGliomaGradingCompat.h"
#include "itkObject.h"
#include "itkObjectFactory.h"
#include "itkSize.h"
#include "GliomaGradingExport.h"

#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace itk
{
/** \class TensorProductN4
 * \brief The fit of N4 bias correction on a regular grid, as products over the axes.
 *
 * N4 (Tustison et al., "N4ITK: Improved N3 Bias Correction", IEEE TMI 29(6), 2010) sharpens the histogram of the log
 * image \f$v\f$, and fits B-splines to the residual \f$r\f$, level by level on a lattice twice as fine.
 * itk::N4BiasFieldCorrectionImageFilter scatters each voxel into its 4x4x4 control points. On a regular grid all that
 * it sums factorises over the axes: with \f$W_i\f$ the weights of axis i, \f$s_i\f$ the row sums of their squares and
 * \f$M\f$ the mask (times the confidence),
 * \f[ \omega = (W_z^2 \otimes W_y^2 \otimes W_x^2)^T M, \quad
 *     \delta = (W_z^3/s_z \otimes W_y^3/s_y \otimes W_x^3/s_x)^T (M r), \quad
 *     \phi \leftarrow \phi + \delta / \omega, \quad
 *     b = (W_z \otimes W_y \otimes W_x) \phi . \f]
 * Histogram, Wiener deconvolution and stopping rule are N4's, so the field equals that of ITK's filter on the same grid
 * (float sums there, sums in double here: the two may stop some iterations apart; compare with the threshold at 0).
 * One thing is otherwise: ITK's filter leaves the brightest voxel out of the histogram in those iterations in which
 * rounding puts it beyond the last bin. Here it always counts, as it does in exact arithmetic: the field must not hang
 * on the unit of the intensities. Where one voxel is much brighter than all others the two fields differ near it (by
 * 5e-4 in the worst of four real images, by 1e-5 to 1e-4 in the others).
 *
 * Voxels that are 0 or negative have no logarithm: they do not count for the fit, wherever the mask is, and
 * NumberOfNonPositiveVoxels says how many they were. (ITK's filter takes them as if they were logarithms: one voxel of
 * -200 among log intensities of 4 to 7 then stretches the histogram until all tissue shares a few bins.)
 *
 * On the CPU a voxel costs three passes an iteration, shared among torch's threads; the sums are kept for each slice
 * and merged in slice order, so the bits do not depend on the number of threads. Any other device ("cuda:0") runs the
 * same algebra with torch's operators.
 *
 * An axis of one sample is left out: a one-voxel-thin image is fitted in the dimensions that it has.
 *
 * \sa N4BiasCorrectionChainFilter
 * \ingroup GliomaGrading
 */
class GliomaGrading_EXPORT TensorProductN4 : public Object
{
public:
  ITK_DISALLOW_COPY_AND_MOVE(TensorProductN4);

  using Self = TensorProductN4;
  using Superclass = Object;
  using Pointer = SmartPointer<Self>;
  using ConstPointer = SmartPointer<const Self>;

  itkNewMacro(Self);
  itkOverrideGetNameOfClassMacro(TensorProductN4);

  /** Samples along x, y and z; x is the fastest in memory. */
  using GridSizeType = Size<3>;
  using ControlPointsType = FixedArray<unsigned int, 3>;
  using LevelsType = FixedArray<unsigned int, 3>;
  using IterationsType = Array<unsigned int>;
  using MeasuresType = Array<double>;
  /** Is told the done part of the work (0 to 1) after each iteration; false ends the fit with ProcessAborted. */
  using CallbackType = std::function<bool(double)>;

  /** Where the positions of one axis lie in the lattice: the first control point, and Taps weights from there on. */
  struct AxisType
  {
    unsigned int              Taps{ 4 };
    std::vector<unsigned int> First;
    std::vector<double>       Weights;
  };

  /** \brief Iterations at most, one entry a fitting level. Default: 50, 50, 50, 50. */
  void
  SetMaximumNumberOfIterations(const IterationsType & iterations);
  itkGetConstReferenceMacro(MaximumNumberOfIterations, IterationsType);

  /** \brief Fitting levels along x, y and z; each has twice the spans of the one before. Default: 4.
   * There are as many as the largest says; an axis with fewer keeps its spans at the later ones. (ITK 5.2's filter goes
   * on refining such an axis for three levels more, and then mixes its control points up.) */
  itkSetMacro(NumberOfFittingLevels, LevelsType);
  itkGetConstReferenceMacro(NumberOfFittingLevels, LevelsType);
  /** \brief One number for all axes. */
  void
  SetNumberOfFittingLevels(unsigned int levels);

  /** \brief A level ends when the coefficient of variation of exp(field change) is not above it. Default: 0.001. */
  itkSetMacro(ConvergenceThreshold, double);
  itkGetConstMacro(ConvergenceThreshold, double);

  /** \brief FWHM of the Gaussian that models the field's histogram, in log units. Default: 0.15. */
  itkSetMacro(BiasFieldFullWidthAtHalfMaximum, double);
  itkGetConstMacro(BiasFieldFullWidthAtHalfMaximum, double);

  /** \brief Noise term of the Wiener filter. Default: 0.01. */
  itkSetMacro(WienerFilterNoise, double);
  itkGetConstMacro(WienerFilterNoise, double);

  /** \brief Histogram bins. Default: 200. */
  itkSetMacro(NumberOfHistogramBins, unsigned int);
  itkGetConstMacro(NumberOfHistogramBins, unsigned int);

  /** \brief Control points of the first level along x, y and z; more than SplineOrder. Default: 4. */
  itkSetMacro(NumberOfControlPoints, ControlPointsType);
  itkGetConstReferenceMacro(NumberOfControlPoints, ControlPointsType);

  /** \brief Order of the splines, 1 to 15. Default: 3. */
  itkSetMacro(SplineOrder, unsigned int);
  itkGetConstMacro(SplineOrder, unsigned int);

  /** \brief The fit ends after the iteration in which so many seconds have passed; 0: no limit. Default: 0. */
  itkSetMacro(MaximumSeconds, double);
  itkGetConstMacro(MaximumSeconds, double);

  /** \brief Threads; 0 takes torch's own number. Default: 0. */
  itkSetMacro(NumberOfThreads, unsigned int);
  itkGetConstMacro(NumberOfThreads, unsigned int);

  /** \brief Device in torch's words: "cpu", "cuda", "cuda:1". Default: "cpu". */
  itkSetStringMacro(Device);
  itkGetStringMacro(Device);

  /** \brief Use torch's operators on the CPU too, as on other devices. Default: off. */
  itkSetMacro(UseTorchOperators, bool);
  itkGetConstMacro(UseTorchOperators, bool);
  itkBooleanMacro(UseTorchOperators);

  void
  SetProgressCallback(CallbackType callback)
  {
    m_ProgressCallback = std::move(callback);
  }

  /** Throws if a parameter makes no sense. */
  void
  VerifyParameters() const;

  /** \brief Fits the field.
   * \param image  intensities
   * \param mask  non-zero where the image counts; null: everywhere
   * \param confidence  weight of each voxel, which counts where the weight is positive; null: 1
   * \param size  voxels of each along x, y, z */
  void
  Fit(const float * image, const unsigned char * mask, const float * confidence, const GridSizeType & size);

  /** Iterations done at each level. */
  itkGetConstReferenceMacro(Iterations, MeasuresType);
  /** Last coefficient of variation of each level (0 where none was measured). */
  itkGetConstReferenceMacro(Convergence, MeasuresType);
  /** "converged", "stopped at the maximum number of iterations", "stopped after MaximumSeconds", or "constant inside
   * the mask: no field". */
  itkGetConstReferenceMacro(Status, std::string);
  /** Voxels that were fitted, and those of the mask that were not because they are 0 or negative. */
  itkGetConstMacro(NumberOfFittedVoxels, SizeValueType);
  itkGetConstMacro(NumberOfNonPositiveVoxels, SizeValueType);
  /** Level, iteration and coefficient of variation so far, for an observer. */
  itkGetConstMacro(CurrentLevel, unsigned int);
  itkGetConstMacro(ElapsedIterations, unsigned int);
  itkGetConstMacro(CurrentConvergenceMeasurement, double);

  /** Control points along x, y, z and their values, x fastest. */
  itkGetConstReferenceMacro(LatticeSize, GridSizeType);
  itkGetConstReferenceMacro(Lattice, std::vector<double>);

  /** \brief Prepares positions on one axis (0: x), in samples of the fit's grid, clamped to its first and last one. */
  AxisType
  LocateOnAxis(unsigned int axis, const std::vector<double> & positions) const;

  /** \brief The log field at begin <= position < begin + size of three prepared axes; x fastest. Thread-safe. */
  void
  EvaluateLogField(const FixedArray<AxisType, 3> & axes,
                   const GridSizeType &            begin,
                   const GridSizeType &            size,
                   float *                         field) const;

  /** \brief Divides `count` values by exp(logField), to 2e-7 of each. Thread-safe. */
  static void
  DivideByField(SizeValueType count, const float * logField, float * values);

protected:
  TensorProductN4();
  ~TensorProductN4() override = default;
  void
  PrintSelf(std::ostream & os, Indent indent) const override;

private:
  LevelsType        m_NumberOfFittingLevels;
  IterationsType    m_MaximumNumberOfIterations;
  double            m_ConvergenceThreshold{ 0.001 };
  double            m_BiasFieldFullWidthAtHalfMaximum{ 0.15 };
  double            m_WienerFilterNoise{ 0.01 };
  unsigned int      m_NumberOfHistogramBins{ 200 };
  ControlPointsType m_NumberOfControlPoints;
  unsigned int      m_SplineOrder{ 3 };
  double            m_MaximumSeconds{ 0.0 };
  unsigned int      m_NumberOfThreads{ 0 };
  std::string       m_Device{ "cpu" };
  bool              m_UseTorchOperators{ false };
  CallbackType      m_ProgressCallback;

  MeasuresType        m_Iterations;
  MeasuresType        m_Convergence;
  std::string         m_Status{ "not fitted" };
  unsigned int        m_CurrentLevel{ 0 };
  unsigned int        m_ElapsedIterations{ 0 };
  double              m_CurrentConvergenceMeasurement{ 0.0 };
  SizeValueType       m_NumberOfFittedVoxels{ 0 };
  SizeValueType       m_NumberOfNonPositiveVoxels{ 0 };
  GridSizeType        m_GridSize{};
  unsigned int        m_FittedOrder{ 3 };
  GridSizeType        m_LatticeSize{};
  std::vector<double> m_Lattice;
};
} // namespace itk

#endif // itkTensorProductN4_h
