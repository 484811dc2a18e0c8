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
#include "ImageFilters.h"

#include "ForwardParameter.h"
#include "itkBoundingBoxROIFilter.h"
#include "itkBrainMaskFilter.h"
#include "itkExplanationQualityFilter.h"
#include "itkMaskedStandardizeFilter.h"
#include "itkN4BiasCorrectionChainFilter.h"
#include "itkTumourReplacementFilter.h"

namespace gliomagrading
{
namespace
{
using BrainMaskType = itk::BrainMaskFilter<>;
using N4Type = itk::N4BiasCorrectionChainFilter<Volume::RealImageType, Volume::MaskImageType>;
using StandardizeType = itk::MaskedStandardizeFilter<>;
using RegionType = itk::BoundingBoxROIFilter<>;
using ReplacementType = itk::TumourReplacementFilter<>;
using QualityType = itk::ExplanationQualityFilter<Volume::VectorImageType, Volume::MaskImageType>;
} // namespace

BrainMask::BrainMask()
  : FilterRun(BrainMaskType::New())
{}

void
BrainMask::SetImage(const Volume & image)
{
  FilterOf<BrainMaskType>(this)->SetInput(image.AsVectorImage());
}

GLIOMA_FORWARD(BrainMask, BrainMaskType, double, MinimumVolume)
GLIOMA_FORWARD(BrainMask, BrainMaskType, double, MaximumVolume)
GLIOMA_FORWARD(BrainMask, BrainMaskType, unsigned int, MaximumNumberOfFaces)
GLIOMA_FORWARD(BrainMask, BrainMaskType, double, MinimumFaceFraction)
GLIOMA_FORWARD(BrainMask, BrainMaskType, double, MinimumDice)
GLIOMA_FORWARD_RESULT(BrainMask, BrainMaskType, unsigned long, Status)
GLIOMA_FORWARD_RESULT(BrainMask, BrainMaskType, double, Volume)
GLIOMA_FORWARD_RESULT(BrainMask, BrainMaskType, double, Dice)
GLIOMA_FORWARD_RESULT(BrainMask, BrainMaskType, unsigned long, NumberOfFaces)

Volume
BrainMask::GetMask() const
{
  return Volume(FilterOf<BrainMaskType>(this)->GetOutput());
}

N4BiasCorrectionChain::N4BiasCorrectionChain()
  : FilterRun(N4Type::New())
{}

void
N4BiasCorrectionChain::SetImage(const Volume & image)
{
  FilterOf<N4Type>(this)->SetInput(image.AsRealImage());
}

void
N4BiasCorrectionChain::SetMask(const Volume & mask)
{
  FilterOf<N4Type>(this)->SetMaskImage(mask.AsMask());
}

void
N4BiasCorrectionChain::SetConfidence(const Volume & confidence)
{
  FilterOf<N4Type>(this)->SetConfidenceImage(confidence.AsRealImage());
}

GLIOMA_FORWARD_THREE(N4BiasCorrectionChain, N4Type, ShrinkFactors)
GLIOMA_FORWARD(N4BiasCorrectionChain, N4Type, bool, UseMaskLabel)
GLIOMA_FORWARD_LABEL(N4BiasCorrectionChain, N4Type, MaskLabel)
GLIOMA_FORWARD_THREE(N4BiasCorrectionChain, N4Type, NumberOfFittingLevels)
GLIOMA_FORWARD_ARRAY(N4BiasCorrectionChain, N4Type, Numbers, MaximumNumberOfIterations)
GLIOMA_FORWARD(N4BiasCorrectionChain, N4Type, double, ConvergenceThreshold)
GLIOMA_FORWARD(N4BiasCorrectionChain, N4Type, double, BiasFieldFullWidthAtHalfMaximum)
GLIOMA_FORWARD(N4BiasCorrectionChain, N4Type, double, WienerFilterNoise)
GLIOMA_FORWARD(N4BiasCorrectionChain, N4Type, unsigned int, NumberOfHistogramBins)
GLIOMA_FORWARD_THREE(N4BiasCorrectionChain, N4Type, NumberOfControlPoints)
GLIOMA_FORWARD(N4BiasCorrectionChain, N4Type, unsigned int, SplineOrder)
GLIOMA_FORWARD(N4BiasCorrectionChain, N4Type, double, MaximumSeconds)
GLIOMA_FORWARD_ENUM(N4BiasCorrectionChain, N4Type, Rescaling, RescalingEnum)
GLIOMA_FORWARD(N4BiasCorrectionChain, N4Type, std::string, Device)
GLIOMA_FORWARD_LIST(N4BiasCorrectionChain, N4Type, IterationsPerLevel)
GLIOMA_FORWARD_LIST(N4BiasCorrectionChain, N4Type, ConvergencePerLevel)
GLIOMA_FORWARD_RESULT(N4BiasCorrectionChain, N4Type, double, LogFieldMinimum)
GLIOMA_FORWARD_RESULT(N4BiasCorrectionChain, N4Type, double, LogFieldMaximum)
GLIOMA_FORWARD_RESULT(N4BiasCorrectionChain, N4Type, double, FitSeconds)
GLIOMA_FORWARD_RESULT(N4BiasCorrectionChain, N4Type, unsigned long, NumberOfNonPositiveVoxels)
GLIOMA_FORWARD_RESULT(N4BiasCorrectionChain, N4Type, double, Scale)
GLIOMA_FORWARD_RESULT(N4BiasCorrectionChain, N4Type, double, Shift)
GLIOMA_FORWARD_RESULT(N4BiasCorrectionChain, N4Type, std::string, Status)

Volume
N4BiasCorrectionChain::GetCorrected() const
{
  return Volume(FilterOf<N4Type>(this)->GetOutput());
}

Volume
N4BiasCorrectionChain::GetLogBiasField() const
{
  return Volume(FilterOf<N4Type>(this)->GetLogBiasField());
}

MaskedStandardize::MaskedStandardize()
  : FilterRun(StandardizeType::New())
{}

void
MaskedStandardize::SetImage(const Volume & image)
{
  FilterOf<StandardizeType>(this)->SetInput(image.AsVectorImage());
}

void
MaskedStandardize::SetMask(const Volume & mask)
{
  FilterOf<StandardizeType>(this)->SetMaskImage(mask.AsMask());
}

GLIOMA_FORWARD(MaskedStandardize, StandardizeType, bool, UseMaskLabel)
GLIOMA_FORWARD_LABEL(MaskedStandardize, StandardizeType, MaskLabel)
GLIOMA_FORWARD_ENUM(MaskedStandardize, StandardizeType, Mode, ModeEnum)
GLIOMA_FORWARD(MaskedStandardize, StandardizeType, double, OutsideValue)
GLIOMA_FORWARD(MaskedStandardize, StandardizeType, double, LowerQuantile)
GLIOMA_FORWARD(MaskedStandardize, StandardizeType, double, UpperQuantile)
GLIOMA_FORWARD_LIST(MaskedStandardize, StandardizeType, Mean)
GLIOMA_FORWARD_LIST(MaskedStandardize, StandardizeType, StandardDeviation)
GLIOMA_FORWARD_LIST(MaskedStandardize, StandardizeType, Count)
GLIOMA_FORWARD_LIST(MaskedStandardize, StandardizeType, LowerBound)
GLIOMA_FORWARD_LIST(MaskedStandardize, StandardizeType, UpperBound)
GLIOMA_FORWARD_LIST(MaskedStandardize, StandardizeType, BackgroundValue)

Volume
MaskedStandardize::GetStandardized() const
{
  return Volume(FilterOf<StandardizeType>(this)->GetOutput());
}

BoundingBoxROI::BoundingBoxROI()
  : FilterRun(RegionType::New())
{}

void
BoundingBoxROI::SetImage(const Volume & image)
{
  FilterOf<RegionType>(this)->SetInput(image.AsVectorImage());
}

void
BoundingBoxROI::SetMask(const Volume & mask)
{
  FilterOf<RegionType>(this)->SetMaskImage(mask.AsMask());
}

GLIOMA_FORWARD_ENUM(BoundingBoxROI, RegionType, Mode, ModeEnum)
GLIOMA_FORWARD(BoundingBoxROI, RegionType, double, Margin)
GLIOMA_FORWARD_ENUM(BoundingBoxROI, RegionType, MarginUnit, MarginUnitEnum)
GLIOMA_FORWARD(BoundingBoxROI, RegionType, unsigned int, OutputSize)
GLIOMA_FORWARD(BoundingBoxROI, RegionType, double, MinimumComponentFraction)
GLIOMA_FORWARD(BoundingBoxROI, RegionType, bool, LargestComponentOnly)
GLIOMA_FORWARD(BoundingBoxROI, RegionType, unsigned long, TinyNumberOfVoxels)
GLIOMA_FORWARD(BoundingBoxROI, RegionType, bool, Smoothing)
GLIOMA_FORWARD_ENUM(BoundingBoxROI, RegionType, EmptyMaskPolicy, EmptyMaskPolicyEnum)
GLIOMA_FORWARD_ENUM(BoundingBoxROI, RegionType, Interpolation, InterpolationEnum)
GLIOMA_FORWARD_ENUM(BoundingBoxROI, RegionType, Border, BorderEnum)
GLIOMA_FORWARD_ARRAY(BoundingBoxROI, RegionType, Doubles, OutsideValue)
GLIOMA_FORWARD_LIST(BoundingBoxROI, RegionType, Box)
GLIOMA_FORWARD_LIST(BoundingBoxROI, RegionType, Region)
GLIOMA_FORWARD_RESULT(BoundingBoxROI, RegionType, unsigned long, Status)
GLIOMA_FORWARD_RESULT(BoundingBoxROI, RegionType, unsigned long, NumberOfComponents)
GLIOMA_FORWARD_RESULT(BoundingBoxROI, RegionType, unsigned long, NumberOfVoxels)

Volume
BoundingBoxROI::GetRegionImage() const
{
  return Volume(FilterOf<RegionType>(this)->GetOutput());
}

TumourReplacement::TumourReplacement()
  : FilterRun(ReplacementType::New())
{}

void
TumourReplacement::SetImage(const Volume & image)
{
  FilterOf<ReplacementType>(this)->SetInput(image.AsVectorImage());
}

void
TumourReplacement::SetTumourMask(const Volume & mask)
{
  FilterOf<ReplacementType>(this)->SetTumourMaskImage(mask.AsMask());
}

void
TumourReplacement::SetBrainMask(const Volume & mask)
{
  FilterOf<ReplacementType>(this)->SetBrainMaskImage(mask.AsMask());
}

GLIOMA_FORWARD(TumourReplacement, ReplacementType, double, Reach)
GLIOMA_FORWARD(TumourReplacement, ReplacementType, double, Softness)
GLIOMA_FORWARD_RESULT(TumourReplacement, ReplacementType, double, FilledShare)

Volume
TumourReplacement::GetReplaced() const
{
  return Volume(FilterOf<ReplacementType>(this)->GetOutput());
}

ExplanationQuality::ExplanationQuality()
  : FilterRun(QualityType::New())
{}

void
ExplanationQuality::SetMap(const Volume & map)
{
  FilterOf<QualityType>(this)->SetInput(map.AsVectorImage());
}

void
ExplanationQuality::SetSupport(const Volume & support)
{
  FilterOf<QualityType>(this)->SetSupport(support.AsMask());
}

void
ExplanationQuality::SetTumourMask(const Volume & mask)
{
  FilterOf<QualityType>(this)->SetTumourMask(mask.AsMask());
}

void
ExplanationQuality::SetBrainMask(const Volume & mask)
{
  FilterOf<QualityType>(this)->SetBrainMask(mask.AsMask());
}

void
ExplanationQuality::SetRegionLabels(const Volume & labels)
{
  FilterOf<QualityType>(this)->SetRegionLabels(labels.AsMask());
}

GLIOMA_FORWARD_ENUM(ExplanationQuality, QualityType, EnergyMode, Energy)
GLIOMA_FORWARD(ExplanationQuality, QualityType, double, BorderWidth)
GLIOMA_FORWARD(ExplanationQuality, QualityType, bool, MeasureBorder)
GLIOMA_FORWARD_RESULT(ExplanationQuality, QualityType, unsigned long, Flags)

std::map<std::string, double>
ExplanationQuality::GetMeasures() const
{
  const QualityType * const filter = FilterOf<QualityType>(this);
  return { { "total_energy", filter->GetTotalEnergy() },
           { "tumour_share", filter->GetTumourShare() },
           { "tumour_chance", filter->GetTumourChance() },
           { "tumour_ratio", filter->GetTumourRatio() },
           { "tumour_coverage", filter->GetTumourCoverage() },
           { "peak_in_tumour", filter->GetPeakInTumour() },
           { "tumour_rank_accuracy", filter->GetTumourRankAccuracy() },
           { "border_share", filter->GetBorderShare() },
           { "border_chance", filter->GetBorderChance() },
           { "border_ratio", filter->GetBorderRatio() },
           { "outside_share", filter->GetOutsideShare() },
           { "gini", filter->GetGini() } };
}

std::map<std::string, std::vector<double>>
ExplanationQuality::GetLists() const
{
  const QualityType * const filter = FilterOf<QualityType>(this);
  return { { "sequence_shares", ListOf(filter->GetSequenceShares()) },
           { "sequence_tumour_shares", ListOf(filter->GetSequenceTumourShares()) },
           { "sequence_tumour_ratios", ListOf(filter->GetSequenceTumourRatios()) },
           { "sequence_peaks_in_tumour", ListOf(filter->GetSequencePeaksInTumour()) },
           { "sequence_tumour_rank_accuracies", ListOf(filter->GetSequenceTumourRankAccuracies()) },
           { "sequence_border_shares", ListOf(filter->GetSequenceBorderShares()) },
           { "sequence_border_ratios", ListOf(filter->GetSequenceBorderRatios()) },
           { "sequence_outside_shares", ListOf(filter->GetSequenceOutsideShares()) },
           { "sequence_ginis", ListOf(filter->GetSequenceGinis()) },
           { "labels", ListOf(filter->GetLabels()) },
           { "label_shares", ListOf(filter->GetLabelShares()) },
           { "label_chances", ListOf(filter->GetLabelChances()) },
           { "label_ratios", ListOf(filter->GetLabelRatios()) } };
}
} // namespace gliomagrading
