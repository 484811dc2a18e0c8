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
#ifndef CaseFilters_h
#define CaseFilters_h

#include "ModelFilters.h"

#ifndef SWIG
#  include <memory>
#endif

namespace gliomagrading
{
/** itk::SequencePreparationFilter */
class SequencePreparation : public FilterRun
{
public:
  SequencePreparation();
  /** "T1", "T1c", "T2" or "FLAIR". */
  void
  SetSequence(const std::string & name, const Volume & image);
  void
  SetBrainMask(const Volume & mask);
  /** Share of a voxel, and of a direction cosine, by which grids may differ. */
  void
  SetGeometryTolerance(double tolerance);
  GLIOMA_PARAMETER(unsigned int, BiasCorrection);
  GLIOMA_PARAMETER(unsigned int, ShrinkFactor);
  GLIOMA_PARAMETER(unsigned int, Standardization);
  GLIOMA_PARAMETER(double, LowerQuantile);
  GLIOMA_PARAMETER(double, UpperQuantile);
  GLIOMA_PARAMETER(double, OutsideValue);

  Volume
  GetPrepared() const;
  Volume
  GetBrain() const;
  double
  GetBrainVolume() const;
  bool
  GetSequencesDisagree() const;
};

/** itk::RigidRegistrationFilter */
class RigidRegistration : public FilterRun
{
public:
  RigidRegistration();
  void
  SetImage(const Volume & image);
  void
  SetReference(const Volume & reference);
  void
  SetReferenceMask(const Volume & mask);
  void
  SetOutputGrid(const Volume & grid);
  GLIOMA_PARAMETER(bool, IgnoreZeros);
  GLIOMA_PARAMETER(unsigned int, NumberOfHistogramBins);
  GLIOMA_PARAMETER(unsigned int, NumberOfSamples);
  GLIOMA_PARAMETER(int, Seed);
  GLIOMA_PARAMETER(unsigned int, MaximumNumberOfIterations);
  GLIOMA_PARAMETER(double, MaskDilation);
  GLIOMA_PARAMETER(double, MinimumOverlap);
  GLIOMA_PARAMETER(double, MinimumMutualInformation);

  Volume
  GetMoved() const;
  /** Rows of the rotation, then the translation: point of the input = rotation * point of the reference + translation.
   */
  Doubles
  GetTransform() const;
  double
  GetInitialMetric() const;
  double
  GetFinalMetric() const;
  double
  GetOverlap() const;
  double
  GetMeanDisplacement() const;
  Doubles
  GetIterationsPerLevel() const;
};

/** itk::RigidResampleImageFilter */
class RigidResample : public FilterRun
{
public:
  RigidResample();
  void
  SetImage(const Volume & image);
  void
  SetReference(const Volume & reference);
  /** As RigidRegistration gives it. */
  void
  SetTransform(const Doubles & values);
  GLIOMA_PARAMETER(bool, IgnoreZeros);

  Volume
  GetMoved() const;
};

/** itk::SequenceOrderCalculator */
class SequenceOrder
{
public:
  SequenceOrder();
  ~SequenceOrder();
  SequenceOrder(const SequenceOrder &) = delete;
  SequenceOrder &
  operator=(const SequenceOrder &) = delete;
  void
  SetSequence(unsigned int number, const Volume & image);
  void
  SetMask(const Volume & mask);
  void
  Compute();

  /** Names of what the sequences look like. */
  std::vector<std::string>
  GetLooksLike() const;
  /** Two numbers a pair. */
  Numbers
  GetDuplicates() const;
  Doubles
  GetFluidRanks() const;
  double
  GetEnhancement() const;

#ifndef SWIG
private:
  struct Calculator;
  std::unique_ptr<Calculator> m_Calculator;
#endif
};

/** itk::ExplanationFaithfulnessCalculator */
class ExplanationFaithfulness
{
public:
  ExplanationFaithfulness();
  ~ExplanationFaithfulness();
  ExplanationFaithfulness(const ExplanationFaithfulness &) = delete;
  ExplanationFaithfulness &
  operator=(const ExplanationFaithfulness &) = delete;
  void
  SetModel(const Model & model);
  void
  SetRegion(const Volume & region);
  void
  SetMap(const Volume & map);
  GLIOMA_PARAMETER(unsigned int, ClassToExplain);
  GLIOMA_PARAMETER(Doubles, Baseline);
  GLIOMA_PARAMETER(unsigned int, BlockSize);
  GLIOMA_PARAMETER(unsigned int, NumberOfSteps);
  GLIOMA_PARAMETER(unsigned int, NumberOfChanceOrders);
  GLIOMA_PARAMETER(unsigned long, Seed);
  void
  Compute();

  Doubles
  GetDeletionCurve() const;
  Doubles
  GetInsertionCurve() const;
  /** Of deletion and insertion, then of chance. */
  Doubles
  GetAreas() const;

#ifndef SWIG
private:
  struct Calculator;
  std::unique_ptr<Calculator> m_Calculator;
#endif
};

/** itk::ExplanationSanityCalculator */
class ExplanationSanity
{
public:
  ExplanationSanity();
  ~ExplanationSanity();
  ExplanationSanity(const ExplanationSanity &) = delete;
  ExplanationSanity &
  operator=(const ExplanationSanity &) = delete;
  void
  SetModel(const Model & model);
  void
  SetRegion(const Volume & region);
  void
  AddLayerName(const std::string & layer);
  GLIOMA_PARAMETER(unsigned int, ClassToExplain);
  GLIOMA_PARAMETER(unsigned long, Seed);
  void
  Compute();

  std::vector<std::string>
  GetRandomizedLayers() const;
  std::vector<std::string>
  GetMapNames() const;
  Doubles
  GetRankCorrelations(unsigned int map) const;
  Doubles
  GetSimilarities(unsigned int map) const;

#ifndef SWIG
private:
  struct Calculator;
  std::unique_ptr<Calculator> m_Calculator;
#endif
};
} // namespace gliomagrading

#endif // CaseFilters_h
