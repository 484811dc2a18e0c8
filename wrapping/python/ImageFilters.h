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
#ifndef ImageFilters_h
#define ImageFilters_h

#include "FilterRun.h"
#include "Volume.h"

/** A parameter of a filter, by the name that it has there; one of its enumerations is a number. */
#define GLIOMA_PARAMETER(type, name) \
  void Set##name(type value);        \
  type Get##name() const

namespace gliomagrading
{
using Doubles = std::vector<double>;
using Numbers = std::vector<unsigned int>;

/** itk::BrainMaskFilter */
class BrainMask : public FilterRun
{
public:
  BrainMask();
  void
  SetImage(const Volume & image);
  GLIOMA_PARAMETER(double, MinimumVolume);
  GLIOMA_PARAMETER(double, MaximumVolume);
  GLIOMA_PARAMETER(unsigned int, MaximumNumberOfFaces);
  GLIOMA_PARAMETER(double, MinimumFaceFraction);
  GLIOMA_PARAMETER(double, MinimumDice);

  Volume
  GetMask() const;
  unsigned long
  GetStatus() const;
  double
  GetVolume() const;
  double
  GetDice() const;
  unsigned long
  GetNumberOfFaces() const;
};

/** itk::N4BiasCorrectionChainFilter */
class N4BiasCorrectionChain : public FilterRun
{
public:
  N4BiasCorrectionChain();
  void
  SetImage(const Volume & image);
  void
  SetMask(const Volume & mask);
  void
  SetConfidence(const Volume & confidence);
  GLIOMA_PARAMETER(Numbers, ShrinkFactors);
  GLIOMA_PARAMETER(bool, UseMaskLabel);
  GLIOMA_PARAMETER(unsigned int, MaskLabel);
  GLIOMA_PARAMETER(Numbers, NumberOfFittingLevels);
  GLIOMA_PARAMETER(Numbers, MaximumNumberOfIterations);
  GLIOMA_PARAMETER(double, ConvergenceThreshold);
  GLIOMA_PARAMETER(double, BiasFieldFullWidthAtHalfMaximum);
  GLIOMA_PARAMETER(double, WienerFilterNoise);
  GLIOMA_PARAMETER(unsigned int, NumberOfHistogramBins);
  GLIOMA_PARAMETER(Numbers, NumberOfControlPoints);
  GLIOMA_PARAMETER(unsigned int, SplineOrder);
  GLIOMA_PARAMETER(double, MaximumSeconds);
  GLIOMA_PARAMETER(unsigned int, Rescaling);
  GLIOMA_PARAMETER(std::string, Device);

  Volume
  GetCorrected() const;
  Volume
  GetLogBiasField() const;
  Doubles
  GetIterationsPerLevel() const;
  Doubles
  GetConvergencePerLevel() const;
  double
  GetLogFieldMinimum() const;
  double
  GetLogFieldMaximum() const;
  double
  GetFitSeconds() const;
  unsigned long
  GetNumberOfNonPositiveVoxels() const;
  double
  GetScale() const;
  double
  GetShift() const;
  std::string
  GetStatus() const;
};

/** itk::MaskedStandardizeFilter */
class MaskedStandardize : public FilterRun
{
public:
  MaskedStandardize();
  void
  SetImage(const Volume & image);
  void
  SetMask(const Volume & mask);
  GLIOMA_PARAMETER(bool, UseMaskLabel);
  GLIOMA_PARAMETER(unsigned int, MaskLabel);
  GLIOMA_PARAMETER(unsigned int, Mode);
  GLIOMA_PARAMETER(double, OutsideValue);
  GLIOMA_PARAMETER(double, LowerQuantile);
  GLIOMA_PARAMETER(double, UpperQuantile);

  Volume
  GetStandardized() const;
  Doubles
  GetMean() const;
  Doubles
  GetStandardDeviation() const;
  Doubles
  GetCount() const;
  Doubles
  GetLowerBound() const;
  Doubles
  GetUpperBound() const;
  Doubles
  GetBackgroundValue() const;
};

/** itk::BoundingBoxROIFilter */
class BoundingBoxROI : public FilterRun
{
public:
  BoundingBoxROI();
  void
  SetImage(const Volume & image);
  void
  SetMask(const Volume & mask);
  GLIOMA_PARAMETER(unsigned int, Mode);
  GLIOMA_PARAMETER(double, Margin);
  GLIOMA_PARAMETER(unsigned int, MarginUnit);
  GLIOMA_PARAMETER(unsigned int, OutputSize);
  GLIOMA_PARAMETER(double, MinimumComponentFraction);
  GLIOMA_PARAMETER(bool, LargestComponentOnly);
  GLIOMA_PARAMETER(unsigned long, TinyNumberOfVoxels);
  GLIOMA_PARAMETER(bool, Smoothing);
  GLIOMA_PARAMETER(unsigned int, EmptyMaskPolicy);
  GLIOMA_PARAMETER(unsigned int, Interpolation);
  GLIOMA_PARAMETER(unsigned int, Border);
  GLIOMA_PARAMETER(Doubles, OutsideValue);

  Volume
  GetRegionImage() const;
  Doubles
  GetBox() const;
  Doubles
  GetRegion() const;
  unsigned long
  GetStatus() const;
  unsigned long
  GetNumberOfComponents() const;
  unsigned long
  GetNumberOfVoxels() const;
};

/** itk::TumourReplacementFilter */
class TumourReplacement : public FilterRun
{
public:
  TumourReplacement();
  void
  SetImage(const Volume & image);
  void
  SetTumourMask(const Volume & mask);
  void
  SetBrainMask(const Volume & mask);
  GLIOMA_PARAMETER(double, Reach);
  GLIOMA_PARAMETER(double, Softness);

  Volume
  GetReplaced() const;
  double
  GetFilledShare() const;
};

/** itk::ExplanationQualityFilter */
class ExplanationQuality : public FilterRun
{
public:
  /** Of a map; its filter depends on nothing else of it. */
  ExplanationQuality();
  void
  SetMap(const Volume & map);
  void
  SetSupport(const Volume & support);
  void
  SetTumourMask(const Volume & mask);
  void
  SetBrainMask(const Volume & mask);
  void
  SetRegionLabels(const Volume & labels);
  GLIOMA_PARAMETER(unsigned int, EnergyMode);
  GLIOMA_PARAMETER(double, BorderWidth);
  GLIOMA_PARAMETER(bool, MeasureBorder);

  /** A number of the filter by its name, such as "tumour_share". */
  std::map<std::string, double>
  GetMeasures() const;
  /** Its numbers for each sequence or label. */
  std::map<std::string, std::vector<double>>
  GetLists() const;
  unsigned long
  GetFlags() const;
};
} // namespace gliomagrading

#endif // ImageFilters_h
