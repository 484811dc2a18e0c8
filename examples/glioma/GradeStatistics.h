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
#ifndef GradeStatistics_h
#define GradeStatistics_h

#include <array>
#include <cstddef>
#include <limits>
#include <string>
#include <vector>

namespace glioma
{
/** A number with its 95 % interval. What is not defined is NaN, and a sentence says why. */
struct Estimate
{
  double      Value{ std::numeric_limits<double>::quiet_NaN() };
  double      Low{ std::numeric_limits<double>::quiet_NaN() };
  double      High{ std::numeric_limits<double>::quiet_NaN() };
  std::string Method;            // of the interval
  std::string Undefined;         // why there is no value; empty: there is one
  std::string IntervalUndefined; // why there is no interval, where there is a value
};

Estimate
UndefinedEstimate(const std::string & reason);

/** A share with Wilson's interval; undefined with \a reason where \a total is 0. */
Estimate
EstimateShare(std::size_t part, std::size_t total, const std::string & reason);

/** Mean with a percentile bootstrap of 2000 resamples; the same numbers give the same interval. */
Estimate
EstimateMean(const std::vector<double> & values, const std::string & reason);

/** Quantile with linear interpolation between neighbours, as NumPy's. */
double
QuantileOf(std::vector<double> values, double quantile);

/** One case that was graded. */
struct GradedCase
{
  bool   IsHGG{ false };
  double ProbabilityHGG{ std::numeric_limits<double>::quiet_NaN() }; // NaN: no grade, since no tumour was found

  bool
  HasGrade() const
  {
    return ProbabilityHGG == ProbabilityHGG;
  }
  bool
  IsCalledHGG() const
  {
    return ProbabilityHGG > 0.5;
  }
  /** A case without a grade is not right. */
  bool
  IsRight() const
  {
    return this->HasGrade() && this->IsCalledHGG() == IsHGG;
  }
};

/** Counts[truth][called]: 0 LGG, 1 HGG; called 2: no grade. */
struct ConfusionMatrix
{
  std::array<std::array<std::size_t, 3>, 2> Counts{};
};

ConfusionMatrix
CountGrades(const std::vector<GradedCase> & cases);

/** Of grade 0 (LGG) or 1 (HGG). A case without a grade is missed (recall, F1, accuracy) and called nothing (precision).
 * Intervals: Wilson's; that of F1 is Wilson's of the Jaccard index J = tp/(tp+fp+fn), taken through F1 = 2J/(1+J). */
Estimate
Precision(const ConfusionMatrix & matrix, unsigned int grade);
Estimate
Recall(const ConfusionMatrix & matrix, unsigned int grade);
Estimate
F1Score(const ConfusionMatrix & matrix, unsigned int grade);
Estimate
Accuracy(const ConfusionMatrix & matrix);

/** Area under the ROC curve, ties one half; DeLong's interval (DeLong et al. 1988), cut at 0 and 1. Where its variance
 * is 0 (every pair in order) or not known (one case of a class) Wilson's over the smaller class stands in. */
Estimate
AreaUnderCurve(const std::vector<double> & scores, const std::vector<bool> & positive);
Estimate
AreaUnderCurve(const std::vector<GradedCase> & cases);

/** Corners of the ROC curve from (0, 0) to (1, 1): false positive rate, true positive rate. */
std::vector<std::array<double, 2>>
ReceiverCurve(const std::vector<GradedCase> & cases);

/** Mean of (P(HGG) - truth)^2, with a bootstrap interval. */
Estimate
BrierScore(const std::vector<GradedCase> & cases);

/** A tenth of the axis of P(HGG). */
struct ReliabilityBin
{
  std::size_t Cases{ 0 };
  double      MeanProbability{ std::numeric_limits<double>::quiet_NaN() };
  double      ShareHGG{ std::numeric_limits<double>::quiet_NaN() };
};
std::vector<ReliabilityBin>
ReliabilityBins(const std::vector<GradedCase> & cases, unsigned int bins = 10);

/** Expected calibration error: the bins' |mean P(HGG) - share of HGG|, weighted by their cases. Chance alone makes it
 * larger, and that of a resample larger again: the interval is that of the basic bootstrap (twice the value less the
 * quantiles of 2000 resamples), whose upper end is at least as far above the value as their 97.5 % quantile is above
 * their mean, cut to [0, 1]. It has the value always; of a small cohort (20 cases) it is too narrow all the same. */
Estimate
CalibrationError(const std::vector<GradedCase> & cases, unsigned int bins = 10);

/** What a bundle may say (see itk::TorchModelManifest). */
constexpr double lowestTemperature = 1e-3;
constexpr double highestTemperature = 1e3;

/** T > 0 that minimizes the cross-entropy of P(HGG) = 1 / (1 + exp(-z / T)) for the logits z of the given
 * probabilities (Guo et al. 2017). Undefined where none that a bundle may say does. No interval. */
Estimate
FitTemperature(const std::vector<GradedCase> & cases);
double
WithTemperature(double probability, double temperature);

/** Mean cross-entropy of the probabilities in nats. */
double
CrossEntropy(const std::vector<GradedCase> & cases);

/** Two ways of grading the same cases. */
struct PairedComparison
{
  std::size_t OnlyFirstRight{ 0 };
  std::size_t OnlySecondRight{ 0 };
  double      McNemarP{ 1.0 }; // exact, two-sided
  std::size_t BothGraded{ 0 }; // the cases of the difference below
  Estimate    AucDifference;   // first minus second, DeLong's interval
  double      AucP{ std::numeric_limits<double>::quiet_NaN() };
};
PairedComparison
ComparePaired(const std::vector<GradedCase> & first, const std::vector<GradedCase> & second);
} // namespace glioma

#endif // GradeStatistics_h
