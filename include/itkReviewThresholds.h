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
#ifndef itkReviewThresholds_h
#define itkReviewThresholds_h

#include <array>

namespace itk
{
/** \class ReviewThresholds
 * \brief When a case is sent to a person: every threshold of the verdict, in one place.
 *
 * The defaults belong to the demonstration bundles before those of 26 November 2026. They were set beside the
 * distributions that `test/benchmark/measure_verdict.py` prints, of 40 phantoms that are used for nothing else (seed
 * 4713) and of the twelve patients graded by models that had not seen them; TumourEffect beside those of the grader of
 * that day. What the present bundles do beside all of them stands in test/benchmark/README.md. Another bundle needs the
 * command again, and its own thresholds: GliomaGradingFilter::SetReviewThresholds().
 * \ingroup GliomaGrading
 */
struct ReviewThresholds
{
  /** Guided backpropagation: border artefact where the energy in the brain's border shell exceeds chance this often. */
  double BorderRatio{ 1.6 };
  /** Guided backpropagation: border artefact where more than this share of its energy lies outside the brain. */
  double OutsideShare{ 0.25 };
  /** Guided backpropagation: outside the tumour where the energy in it is below this many times chance. */
  double GuidedTumourRatio{ 2.0 };
  /** Guided backpropagation of a grader of the whole brain, which sees the border from farther: border artefact where
   * the energy in the shell exceeds chance this often ... */
  double BrainBorderRatio{ 1.5 };
  /** ... and outside the tumour where the energy in it is below this many times chance. */
  double BrainTumourRatio{ 1.0 };
  /** GradCAM: outside the tumour where the energy in it is below this many times chance ... */
  double GradCAMTumourRatio{ 0.4 };
  /** ... and chance is at most this: a layer whose cells cover little but tumour cannot miss it. */
  double GradCAMLargestChance{ 0.5 };

  /** A tumour below this volume is tiny, ml. */
  double TinyVolume{ 1.0 };
  /** Parts of the tumour count as foci from this share of the largest part. */
  double FocusShare{ 0.3 };
  /** The brain's volume, ml. */
  double SmallestBrain{ 700.0 };
  double LargestBrain{ 2000.0 };
  /** The most of the brain that a tumour fills ... */
  double LargestTumourShare{ 0.5 };
  /** ... and the most of a tumour mask that is given which may lie outside the brain. */
  double LargestShareOutsideBrain{ 0.25 };

  /** Probability near one half: the two likeliest classes are closer than this. */
  double ProbabilityGap{ 0.1 };
  /** The grade does not come from the tumour: with healthy tissue in its place its probability is not lower by this
   * much ... */
  double TumourEffect{ 0.03 };
  /** ... and there is healthy tissue for all but this share of the tumour. */
  double LargestFilledShare{ 0.3 };
  /** The graders of tumour and whole brain disagree: on the class, or by more than this in a class's probability. */
  double GraderGap{ 0.5 };

  /** SequenceOrderCalculator: fluid is dark, by its rank, in the sequences other than T2. */
  double FluidRank{ 0.25 };
  /** By how much fluid must be darker with another sequence in the place of T2. */
  double FluidGap{ 0.1 };
  /** By how much another sequence must correlate better with T2 than FLAIR does. */
  double FlairGap{ 0.15 };
  /** How much brighter, in interquartile ranges, T1 must be in its tail than T1c. */
  double EnhancementGap{ 0.8 };
  /** Rank correlation of two sequences that are one. */
  double DuplicateCorrelation{ 0.98 };

  /** Intensities: share of the 5 to 95 % range above the median, of T1, T1c, T2, FLAIR. */
  std::array<double, 4> SmallestAsymmetry{ { 0.20, 0.20, 0.45, 0.12 } };
  std::array<double, 4> LargestAsymmetry{ { 0.75, 0.75, 0.93, 0.85 } };
  /** Intensities: the 0.5 to 99.5 % range over the 5 to 95 % range. */
  double SmallestTail{ 1.05 };
  double LargestTail{ 5.0 };
  /** Spacing of the input, mm. */
  double SmallestSpacing{ 0.4 };
  double LargestSpacing{ 6.0 };
};
} // namespace itk

#endif // itkReviewThresholds_h
