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
#include "GradeStatistics.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <numeric>
#include <stdexcept>

namespace glioma
{
namespace
{
/** Of the normal distribution, two-sided 95 %. */
constexpr double z95 = 1.959963984540054;

const char * const gradeNames[2] = { "LGG", "HGG" };

std::uint64_t
NextRandom(std::uint64_t & state)
{
  // SplitMix64
  std::uint64_t z = (state += 0x9E3779B97F4A7C15u);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

/** Percentile bootstrap of a statistic of \a count cases, given by their numbers. Returns the mean of the resamples. */
double
AddBootstrap(Estimate &                                                      estimate,
             std::size_t                                                     count,
             const std::function<double(const std::vector<std::size_t> &)> & statistic)
{
  constexpr int resamples = 2000;
  estimate.Method = "percentile bootstrap, 2000 resamples";
  if (count < 2)
  {
    estimate.IntervalUndefined = "one case alone says nothing of the spread";
    return std::numeric_limits<double>::quiet_NaN();
  }
  std::uint64_t            state = 20180925;
  std::vector<std::size_t> chosen(count);
  std::vector<double>      values(resamples);
  for (double & value : values)
  {
    for (std::size_t & number : chosen)
    {
      number = static_cast<std::size_t>(NextRandom(state) % count);
    }
    value = statistic(chosen);
  }
  estimate.Low = QuantileOf(values, 0.025);
  estimate.High = QuantileOf(values, 0.975);
  return std::accumulate(values.begin(), values.end(), 0.0) / resamples;
}

/** The basic bootstrap of a share that resampling makes larger, from the percentile bootstrap that is there and the
 * mean of its resamples. */
void
ReflectInterval(Estimate & estimate, double mean)
{
  estimate.Method = "basic bootstrap, upper end widened, 2000 resamples";
  if (estimate.IntervalUndefined.empty())
  {
    const double low = 2.0 * estimate.Value - estimate.High;
    const double high = 2.0 * estimate.Value - estimate.Low;
    // Where the resamples lie above the value nearly all, the reflected interval would end at it, or below.
    const double spread = estimate.Value + std::max(0.0, estimate.High - mean);
    estimate.Low = std::clamp(std::min(low, estimate.Value), 0.0, 1.0);
    estimate.High = std::clamp(std::max(high, spread), 0.0, 1.0);
  }
}

void
AddWilson(Estimate & estimate, double part, double total)
{
  const double p = part / total;
  const double middle = (p + z95 * z95 / (2.0 * total)) / (1.0 + z95 * z95 / total);
  const double half =
    z95 * std::sqrt(p * (1.0 - p) / total + z95 * z95 / (4.0 * total * total)) / (1.0 + z95 * z95 / total);
  // At the ends the rounding would put a tiny number in place of 0 and 1.
  estimate.Low = part <= 0.0 ? 0.0 : std::max(0.0, middle - half);
  estimate.High = part >= total ? 1.0 : std::min(1.0, middle + half);
  estimate.Method = "Wilson";
}

/** DeLong's structural components: for each positive the share of negatives below it, for each negative the share of
 * positives above it, ties one half. */
struct Placements
{
  std::vector<double> Positives;
  std::vector<double> Negatives;
  double              Area{ 0.0 };
};

Placements
FindPlacements(const std::vector<double> & scores, const std::vector<bool> & positive)
{
  std::vector<double> high;
  std::vector<double> low;
  for (std::size_t i = 0; i < scores.size(); ++i)
  {
    (positive[i] ? high : low).push_back(scores[i]);
  }
  std::vector<double> sortedHigh = high;
  std::vector<double> sortedLow = low;
  std::sort(sortedHigh.begin(), sortedHigh.end());
  std::sort(sortedLow.begin(), sortedLow.end());
  const auto shareBelow = [](const std::vector<double> & sorted, double value) {
    const auto range = std::equal_range(sorted.begin(), sorted.end(), value);
    return (static_cast<double>(range.first - sorted.begin()) + 0.5 * static_cast<double>(range.second - range.first)) /
           static_cast<double>(sorted.size());
  };
  Placements placements;
  for (const double score : high)
  {
    placements.Positives.push_back(shareBelow(sortedLow, score));
    placements.Area += placements.Positives.back();
  }
  placements.Area /= static_cast<double>(high.size());
  for (const double score : low)
  {
    placements.Negatives.push_back(1.0 - shareBelow(sortedHigh, score));
  }
  return placements;
}

/** Covariance of two lists around their areas, over n - 1, over n. */
double
CovarianceOfMean(const std::vector<double> & a, double meanOfA, const std::vector<double> & b, double meanOfB)
{
  if (a.size() < 2)
  {
    return 0.0;
  }
  double sum = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i)
  {
    sum += (a[i] - meanOfA) * (b[i] - meanOfB);
  }
  return sum / static_cast<double>(a.size() - 1) / static_cast<double>(a.size());
}

double
DeLongCovariance(const Placements & a, const Placements & b)
{
  return CovarianceOfMean(a.Positives, a.Area, b.Positives, b.Area) +
         CovarianceOfMean(a.Negatives, a.Area, b.Negatives, b.Area);
}

std::string
MissingClass(const std::vector<bool> & positive, const std::string & positiveName, const std::string & negativeName)
{
  if (positive.empty())
  {
    return "there is no case";
  }
  const auto count = std::count(positive.begin(), positive.end(), true);
  if (count == 0)
  {
    return "no case is " + positiveName;
  }
  return static_cast<std::size_t>(count) == positive.size() ? "no case is " + negativeName : "";
}

/** The cases that have a grade. */
std::vector<GradedCase>
Graded(const std::vector<GradedCase> & cases)
{
  std::vector<GradedCase> graded;
  std::copy_if(
    cases.begin(), cases.end(), std::back_inserter(graded), [](const GradedCase & c) { return c.HasGrade(); });
  return graded;
}

void
Split(const std::vector<GradedCase> & cases, std::vector<double> & scores, std::vector<bool> & positive)
{
  for (const GradedCase & c : cases)
  {
    scores.push_back(c.ProbabilityHGG);
    positive.push_back(c.IsHGG);
  }
}

/** Probabilities come from float32: beyond this they are 0 or 1. */
double
Logit(double probability)
{
  const double p = std::clamp(probability, 1e-7, 1.0 - 1e-7);
  return std::log(p / (1.0 - p));
}

double
SquaredError(const GradedCase & c)
{
  const double error = c.ProbabilityHGG - (c.IsHGG ? 1.0 : 0.0);
  return error * error;
}

double
CalibrationErrorOf(const std::vector<ReliabilityBin> & bins)
{
  double sum = 0.0;
  double cases = 0.0;
  for (const ReliabilityBin & bin : bins)
  {
    if (bin.Cases > 0)
    {
      const auto weight = static_cast<double>(bin.Cases);
      sum += weight * std::abs(bin.MeanProbability - bin.ShareHGG);
      cases += weight;
    }
  }
  return sum / cases;
}
} // namespace

Estimate
UndefinedEstimate(const std::string & reason)
{
  Estimate estimate;
  estimate.Undefined = reason;
  return estimate;
}

Estimate
EstimateShare(std::size_t part, std::size_t total, const std::string & reason)
{
  if (total == 0)
  {
    return UndefinedEstimate(reason);
  }
  Estimate estimate;
  estimate.Value = static_cast<double>(part) / static_cast<double>(total);
  AddWilson(estimate, static_cast<double>(part), static_cast<double>(total));
  return estimate;
}

Estimate
EstimateMean(const std::vector<double> & values, const std::string & reason)
{
  if (values.empty())
  {
    return UndefinedEstimate(reason);
  }
  Estimate     estimate;
  const double count = static_cast<double>(values.size());
  estimate.Value = std::accumulate(values.begin(), values.end(), 0.0) / count;
  AddBootstrap(estimate, values.size(), [&](const std::vector<std::size_t> & chosen) {
    double sum = 0.0;
    for (const std::size_t number : chosen)
    {
      sum += values[number];
    }
    return sum / count;
  });
  return estimate;
}

double
QuantileOf(std::vector<double> values, double quantile)
{
  if (values.empty())
  {
    return std::numeric_limits<double>::quiet_NaN();
  }
  const double place = quantile * static_cast<double>(values.size() - 1);
  const auto   below = static_cast<std::size_t>(std::floor(place));
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(below), values.end());
  const double low = values[below];
  if (below + 1 >= values.size())
  {
    return low;
  }
  const double high = *std::min_element(values.begin() + static_cast<std::ptrdiff_t>(below) + 1, values.end());
  return low + (place - static_cast<double>(below)) * (high - low);
}

ConfusionMatrix
CountGrades(const std::vector<GradedCase> & cases)
{
  ConfusionMatrix matrix;
  for (const GradedCase & c : cases)
  {
    ++matrix.Counts[c.IsHGG][!c.HasGrade() ? 2 : c.IsCalledHGG() ? 1 : 0];
  }
  return matrix;
}

Estimate
Precision(const ConfusionMatrix & matrix, unsigned int grade)
{
  return EstimateShare(matrix.Counts[grade][grade],
                       matrix.Counts[0][grade] + matrix.Counts[1][grade],
                       std::string("no case is called ") + gradeNames[grade]);
}

Estimate
Recall(const ConfusionMatrix & matrix, unsigned int grade)
{
  return EstimateShare(matrix.Counts[grade][grade],
                       matrix.Counts[grade][0] + matrix.Counts[grade][1] + matrix.Counts[grade][2],
                       std::string("no case is ") + gradeNames[grade]);
}

Estimate
F1Score(const ConfusionMatrix & matrix, unsigned int grade)
{
  const std::size_t hits = matrix.Counts[grade][grade];
  const std::size_t both =
    matrix.Counts[grade][0] + matrix.Counts[grade][1] + matrix.Counts[grade][2] + matrix.Counts[1 - grade][grade];
  Estimate estimate =
    EstimateShare(hits, both, std::string("no case is ") + gradeNames[grade] + " and none is called so");
  if (estimate.Undefined.empty())
  {
    for (double * const number : { &estimate.Value, &estimate.Low, &estimate.High })
    {
      *number = 2.0 * *number / (1.0 + *number);
    }
    estimate.Method = "Wilson of the Jaccard index";
  }
  return estimate;
}

Estimate
Accuracy(const ConfusionMatrix & matrix)
{
  std::size_t total = 0;
  for (const auto & row : matrix.Counts)
  {
    total += row[0] + row[1] + row[2];
  }
  return EstimateShare(matrix.Counts[0][0] + matrix.Counts[1][1], total, "there is no case");
}

namespace
{
Estimate
AreaOf(const std::vector<double> & scores,
       const std::vector<bool> &   positive,
       const std::string &         positiveName,
       const std::string &         negativeName)
{
  const std::string missing = MissingClass(positive, positiveName, negativeName);
  if (!missing.empty())
  {
    return UndefinedEstimate(missing);
  }
  const Placements placements = FindPlacements(scores, positive);
  Estimate         estimate;
  estimate.Value = placements.Area;
  const double      variance = DeLongCovariance(placements, placements);
  const std::size_t smaller = std::min(placements.Positives.size(), placements.Negatives.size());
  if (variance > 1e-20 && smaller > 1)
  {
    const double half = z95 * std::sqrt(variance);
    estimate.Low = std::max(0.0, estimate.Value - half);
    estimate.High = std::min(1.0, estimate.Value + half);
    estimate.Method = "DeLong";
  }
  else
  {
    const auto count = static_cast<double>(smaller);
    AddWilson(estimate, estimate.Value * count, count);
    estimate.Method = smaller > 1 ? "Wilson over the smaller class, since DeLong's variance is 0"
                                  : "Wilson over the smaller class, since one case has no variance";
  }
  return estimate;
}
} // namespace

Estimate
AreaUnderCurve(const std::vector<double> & scores, const std::vector<bool> & positive)
{
  if (scores.size() != positive.size())
  {
    throw std::invalid_argument("AreaUnderCurve: as many scores as classes are needed.");
  }
  return AreaOf(scores, positive, "of the one class", "of the other class");
}

Estimate
AreaUnderCurve(const std::vector<GradedCase> & cases)
{
  std::vector<double> scores;
  std::vector<bool>   positive;
  Split(Graded(cases), scores, positive);
  return AreaOf(scores, positive, "a graded HGG", "a graded LGG");
}

std::vector<std::array<double, 2>>
ReceiverCurve(const std::vector<GradedCase> & cases)
{
  std::vector<GradedCase> graded = Graded(cases);
  std::sort(graded.begin(), graded.end(), [](const GradedCase & a, const GradedCase & b) {
    return a.ProbabilityHGG > b.ProbabilityHGG;
  });
  double counts[2] = { 0.0, 0.0 };
  for (const GradedCase & c : graded)
  {
    ++counts[c.IsHGG];
  }
  std::vector<std::array<double, 2>> curve;
  if (counts[0] == 0.0 || counts[1] == 0.0)
  {
    return curve;
  }
  double seen[2] = { 0.0, 0.0 };
  curve.push_back({ { 0.0, 0.0 } });
  for (std::size_t i = 0; i < graded.size(); ++i)
  {
    ++seen[graded[i].IsHGG];
    // Cases of one probability go together.
    if (i + 1 == graded.size() || graded[i + 1].ProbabilityHGG != graded[i].ProbabilityHGG)
    {
      curve.push_back({ { seen[0] / counts[0], seen[1] / counts[1] } });
    }
  }
  return curve;
}

Estimate
BrierScore(const std::vector<GradedCase> & cases)
{
  std::vector<double> errors;
  for (const GradedCase & c : Graded(cases))
  {
    errors.push_back(SquaredError(c));
  }
  return EstimateMean(errors, "no case has a grade");
}

std::vector<ReliabilityBin>
ReliabilityBins(const std::vector<GradedCase> & cases, unsigned int bins)
{
  std::vector<ReliabilityBin> result(bins);
  std::vector<double>         probabilities(bins, 0.0);
  std::vector<double>         high(bins, 0.0);
  for (const GradedCase & c : Graded(cases))
  {
    // A probability on an edge belongs to the bin below, as in scikit-learn.
    unsigned int bin = 0;
    while (bin + 1 < bins && c.ProbabilityHGG > static_cast<double>(bin + 1) / bins)
    {
      ++bin;
    }
    ++result[bin].Cases;
    probabilities[bin] += c.ProbabilityHGG;
    high[bin] += c.IsHGG ? 1.0 : 0.0;
  }
  for (unsigned int bin = 0; bin < bins; ++bin)
  {
    if (result[bin].Cases > 0)
    {
      result[bin].MeanProbability = probabilities[bin] / static_cast<double>(result[bin].Cases);
      result[bin].ShareHGG = high[bin] / static_cast<double>(result[bin].Cases);
    }
  }
  return result;
}

Estimate
CalibrationError(const std::vector<GradedCase> & cases, unsigned int bins)
{
  const std::vector<GradedCase> graded = Graded(cases);
  if (graded.empty())
  {
    return UndefinedEstimate("no case has a grade");
  }
  Estimate estimate;
  estimate.Value = CalibrationErrorOf(ReliabilityBins(graded, bins));
  const double mean = AddBootstrap(estimate, graded.size(), [&](const std::vector<std::size_t> & chosen) {
    std::vector<GradedCase> sample;
    for (const std::size_t number : chosen)
    {
      sample.push_back(graded[number]);
    }
    return CalibrationErrorOf(ReliabilityBins(sample, bins));
  });
  ReflectInterval(estimate, mean);
  return estimate;
}

Estimate
FitTemperature(const std::vector<GradedCase> & cases)
{
  const std::vector<GradedCase> graded = Graded(cases);
  std::vector<double>           scores;
  std::vector<bool>             positive;
  Split(graded, scores, positive);
  const std::string missing = MissingClass(positive, "a graded HGG", "a graded LGG");
  if (!missing.empty())
  {
    return UndefinedEstimate(missing);
  }
  // The logit of what is true, of each case.
  std::vector<double> logits;
  double              sum = 0.0;
  bool                allRight = true;
  for (const GradedCase & c : graded)
  {
    logits.push_back(c.IsHGG ? Logit(c.ProbabilityHGG) : -Logit(c.ProbabilityHGG));
    sum += logits.back();
    allRight = allRight && logits.back() >= 0.0;
  }
  if (allRight)
  {
    return UndefinedEstimate("every case is right: the colder, the better, without an end");
  }
  if (sum <= 0.0)
  {
    return UndefinedEstimate("the probabilities are on average on the wrong side: no temperature above 0 is best");
  }
  // The derivative by 1/T rises, from below 0 at 0.
  const auto slope = [&](double inverse) {
    double result = 0.0;
    for (const double logit : logits)
    {
      result -= logit / (1.0 + std::exp(logit * inverse));
    }
    return result;
  };
  double low = 0.0;
  double high = 1.0;
  while (slope(high) < 0.0)
  {
    low = high;
    high *= 2.0;
  }
  for (int i = 0; i < 200 && high - low > 1e-14 * high; ++i)
  {
    const double middle = 0.5 * (low + high);
    (slope(middle) < 0.0 ? low : high) = middle;
  }
  Estimate estimate;
  estimate.Value = 2.0 / (low + high);
  if (!(estimate.Value >= lowestTemperature && estimate.Value <= highestTemperature))
  {
    return UndefinedEstimate("the probabilities tell next to nothing: the best is beyond 0.001 to 1000");
  }
  estimate.IntervalUndefined = "none is computed";
  return estimate;
}

double
WithTemperature(double probability, double temperature)
{
  return 1.0 / (1.0 + std::exp(-Logit(probability) / temperature));
}

double
CrossEntropy(const std::vector<GradedCase> & cases)
{
  const std::vector<GradedCase> graded = Graded(cases);
  double                        sum = 0.0;
  for (const GradedCase & c : graded)
  {
    sum += std::log1p(std::exp(c.IsHGG ? -Logit(c.ProbabilityHGG) : Logit(c.ProbabilityHGG)));
  }
  return sum / static_cast<double>(graded.size());
}

PairedComparison
ComparePaired(const std::vector<GradedCase> & first, const std::vector<GradedCase> & second)
{
  if (first.size() != second.size())
  {
    throw std::invalid_argument("ComparePaired: both ways need the same cases.");
  }
  PairedComparison    comparison;
  std::vector<double> firstScores;
  std::vector<double> secondScores;
  std::vector<bool>   positive;
  for (std::size_t i = 0; i < first.size(); ++i)
  {
    comparison.OnlyFirstRight += first[i].IsRight() && !second[i].IsRight() ? 1 : 0;
    comparison.OnlySecondRight += second[i].IsRight() && !first[i].IsRight() ? 1 : 0;
    if (first[i].HasGrade() && second[i].HasGrade())
    {
      firstScores.push_back(first[i].ProbabilityHGG);
      secondScores.push_back(second[i].ProbabilityHGG);
      positive.push_back(first[i].IsHGG);
    }
  }
  comparison.BothGraded = positive.size();
  // Twice the smaller tail of the binomial distribution of n = discordant cases, at one half.
  const std::size_t discordant = comparison.OnlyFirstRight + comparison.OnlySecondRight;
  const std::size_t fewer = std::min(comparison.OnlyFirstRight, comparison.OnlySecondRight);
  double            tail = 0.0;
  for (std::size_t k = 0; k <= fewer; ++k)
  {
    const auto n = static_cast<double>(discordant);
    const auto x = static_cast<double>(k);
    tail += std::exp(std::lgamma(n + 1.0) - std::lgamma(x + 1.0) - std::lgamma(n - x + 1.0) - n * std::log(2.0));
  }
  comparison.McNemarP = std::min(1.0, 2.0 * tail);

  const std::string missing = MissingClass(positive, "an HGG that both grade", "an LGG that both grade");
  if (!missing.empty())
  {
    comparison.AucDifference = UndefinedEstimate(missing);
    return comparison;
  }
  const Placements a = FindPlacements(firstScores, positive);
  const Placements b = FindPlacements(secondScores, positive);
  comparison.AucDifference.Value = a.Area - b.Area;
  comparison.AucDifference.Method = "DeLong";
  const double variance = DeLongCovariance(a, a) + DeLongCovariance(b, b) - 2.0 * DeLongCovariance(a, b);
  if (std::min(a.Positives.size(), a.Negatives.size()) < 2)
  {
    comparison.AucDifference.IntervalUndefined = "a class has one case";
  }
  else if (variance > 1e-20)
  {
    const double error = std::sqrt(variance);
    comparison.AucDifference.Low = comparison.AucDifference.Value - z95 * error;
    comparison.AucDifference.High = comparison.AucDifference.Value + z95 * error;
    comparison.AucP = std::erfc(std::abs(comparison.AucDifference.Value) / error / std::sqrt(2.0));
  }
  else
  {
    comparison.AucDifference.IntervalUndefined = "the difference has no variance: the orders agree or are perfect";
    comparison.AucP = std::abs(comparison.AucDifference.Value) < 1e-12 ? 1.0 : std::numeric_limits<double>::quiet_NaN();
  }
  return comparison;
}
} // namespace glioma
