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

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace
{
using glioma::Estimate;
using glioma::GradedCase;

constexpr double none = std::numeric_limits<double>::quiet_NaN();

/** So many cases of each kind: right and wrong LGG, right and wrong HGG. */
std::vector<GradedCase>
Cases(int rightLGG, int wrongLGG, int rightHGG, int wrongHGG)
{
  std::vector<GradedCase> cases;
  const auto              add = [&](int count, bool isHGG, double probability) {
    for (int i = 0; i < count; ++i)
    {
      cases.push_back({ isHGG, probability });
    }
  };
  add(rightLGG, false, 0.2);
  add(wrongLGG, false, 0.8);
  add(rightHGG, true, 0.8);
  add(wrongHGG, true, 0.2);
  return cases;
}

void
ExpectUndefined(const Estimate & estimate, const std::string & reason)
{
  EXPECT_TRUE(std::isnan(estimate.Value));
  EXPECT_TRUE(std::isnan(estimate.Low));
  EXPECT_EQ(estimate.Undefined, reason);
}
} // namespace

// Pereira et al. 2018, Table 1: the counts behind its rows give its printed digits.
TEST(GradeStatistics, GivesTheCellsOfTableOne)
{
  struct Row
  {
    int    Right[2];
    double F1[2];
    double Precision[2];
    double Recall[2];
    double Accuracy;
    double Digits;
  };
  const Row rows[] = {
    { { 12, 39 }, { 0.8, 0.929 }, { 0.8, 0.929 }, { 0.8, 0.929 }, 0.895, 5e-4 },
    { { 12, 39 }, { 0.8, 0.9286 }, { 0.8, 0.9286 }, { 0.8, 0.9286 }, 0.895, 5e-4 },
    { { 13, 37 }, { 0.7879, 0.9136 }, { 0.7222, 0.9487 }, { 0.8667, 0.881 }, 0.877, 5e-4 },
    { { 13, 40 }, { 0.8667, 0.9524 }, { 0.8667, 0.9524 }, { 0.8667, 0.9524 }, 0.9298, 5e-5 },
  };
  for (const Row & row : rows)
  {
    const auto matrix = glioma::CountGrades(Cases(row.Right[0], 15 - row.Right[0], row.Right[1], 42 - row.Right[1]));
    for (unsigned int grade = 0; grade < 2; ++grade)
    {
      EXPECT_NEAR(glioma::F1Score(matrix, grade).Value, row.F1[grade], 5.01e-5 * (row.Digits > 1e-4 ? 10 : 1));
      EXPECT_NEAR(glioma::Precision(matrix, grade).Value, row.Precision[grade], 5e-4);
      EXPECT_NEAR(glioma::Recall(matrix, grade).Value, row.Recall[grade], 5e-4);
    }
    EXPECT_NEAR(glioma::Accuracy(matrix).Value, row.Accuracy, row.Digits);
  }
}

TEST(GradeStatistics, CountsACaseWithoutGradeAsMissed)
{
  std::vector<GradedCase> cases = Cases(3, 1, 5, 1);
  cases.push_back({ true, none });
  cases.push_back({ false, none });
  const auto matrix = glioma::CountGrades(cases);
  EXPECT_EQ(matrix.Counts[0][2], 1u);
  EXPECT_EQ(matrix.Counts[1][2], 1u);
  EXPECT_DOUBLE_EQ(glioma::Precision(matrix, 1).Value, 5.0 / 6.0);
  EXPECT_DOUBLE_EQ(glioma::Recall(matrix, 1).Value, 5.0 / 7.0);
  EXPECT_DOUBLE_EQ(glioma::F1Score(matrix, 1).Value, 2.0 * 5.0 / (2.0 * 5.0 + 1.0 + 2.0));
  EXPECT_DOUBLE_EQ(glioma::Accuracy(matrix).Value, 8.0 / 12.0);
  // The area is that of the graded ones: 4 LGG, 6 HGG.
  EXPECT_DOUBLE_EQ(glioma::AreaUnderCurve(cases).Value, (5.0 * 3.0 + 0.5 * (5.0 + 3.0)) / 24.0);
}

TEST(GradeStatistics, IntervalsHaveTheirClosedForms)
{
  // Wilson's at 9 of 12: (p + z2/2n +- z sqrt(p(1-p)/n + z2/4n2)) / (1 + z2/n).
  const Estimate share = glioma::EstimateShare(9, 12, "");
  EXPECT_NEAR(share.Low, 0.46769, 1e-5);
  EXPECT_NEAR(share.High, 0.91106, 1e-5);
  const Estimate all = glioma::EstimateShare(10, 10, "");
  EXPECT_EQ(all.High, 1.0);
  EXPECT_NEAR(all.Low, 10.0 / (10.0 + 1.959963984540054 * 1.959963984540054), 1e-12);

  // DeLong with two of each: V10 = {1/2, 1}, V01 = {1, 1/2}, variance 1/16 + 1/16.
  const Estimate area = glioma::AreaUnderCurve({ 2.0, 4.0, 1.0, 3.0 }, { true, true, false, false });
  EXPECT_DOUBLE_EQ(area.Value, 0.75);
  EXPECT_NEAR(area.Low, 0.75 - 1.959963984540054 * std::sqrt(0.125), 1e-12);
  EXPECT_EQ(area.High, 1.0);
  EXPECT_EQ(area.Method, "DeLong");
  // A tie counts one half.
  EXPECT_DOUBLE_EQ(glioma::AreaUnderCurve({ 2.0, 1.0, 2.0 }, { true, false, false }).Value, 0.75);
  // One LGG tells nothing of how LGG vary: DeLong's interval would be that of the HGG alone.
  std::vector<double> single{ 0.5 };
  std::vector<bool>   isHigh{ false };
  for (int i = 0; i < 20; ++i)
  {
    single.push_back(i < 9 ? 0.9 : 0.1);
    isHigh.push_back(true);
  }
  const Estimate wide = glioma::AreaUnderCurve(single, isHigh);
  EXPECT_NEAR(wide.Value, 0.45, 1e-12);
  EXPECT_EQ(wide.Method, "Wilson over the smaller class, since one case has no variance");
  EXPECT_LT(wide.Low, 0.1);
  EXPECT_GT(wide.High, 0.85);

  // All in order: DeLong's interval would be the point 1 alone.
  const Estimate perfect = glioma::AreaUnderCurve({ 5.0, 4.0, 3.0, 1.0, 2.0 }, { true, true, true, false, false });
  EXPECT_EQ(perfect.Value, 1.0);
  EXPECT_NEAR(perfect.Low, 2.0 / (2.0 + 1.959963984540054 * 1.959963984540054), 1e-12);

  const Estimate mean = glioma::EstimateMean({ 1.0, 1.0, 1.0 }, "");
  EXPECT_EQ(mean.Low, 1.0);
  EXPECT_EQ(mean.High, 1.0);
  EXPECT_FALSE(glioma::EstimateMean({ 1.0 }, "").IntervalUndefined.empty());
}

TEST(GradeStatistics, CalibratesAsItsClosedFormsSay)
{
  // 0.8 said of ten HGG and ten LGG, 0.2 of none: Brier (0.2^2 + 0.8^2)/2, calibration error |0.8 - 0.5|.
  const auto half = Cases(0, 10, 10, 0);
  EXPECT_NEAR(glioma::BrierScore(half).Value, 0.34, 1e-12);
  EXPECT_NEAR(glioma::CalibrationError(half).Value, 0.3, 1e-12);
  const auto bins = glioma::ReliabilityBins(half);
  EXPECT_EQ(bins[7].Cases, 20u); // 0.8 is the upper edge of (0.7, 0.8]
  EXPECT_NEAR(bins[7].ShareHGG, 0.5, 1e-12);

  // Each resample of 100 true statements lies further off than they do: the percentile interval would be above 0.
  const auto     calibrated = Cases(40, 10, 40, 10);
  const Estimate error = glioma::CalibrationError(calibrated);
  EXPECT_NEAR(error.Value, 0.0, 1e-12);
  EXPECT_EQ(error.Low, 0.0);
  // Nor is it the value alone: resamples spread by about 0.04 in each of two bins.
  EXPECT_GT(error.High, 0.03);
  EXPECT_LT(error.High, 0.15);
  EXPECT_EQ(error.Method, "basic bootstrap, upper end widened, 2000 resamples");
  // |0.8 - 0.5| of twenty: the share of a resample has a standard deviation of sqrt(1/80).
  const Estimate far = glioma::CalibrationError(half);
  EXPECT_NEAR(far.Low, 0.3 - 1.96 * std::sqrt(1.0 / 80.0), 0.04);
  EXPECT_NEAR(far.High, 0.3 + 1.96 * std::sqrt(1.0 / 80.0), 0.04);

  // With logits of one size a = log 4 and a share s right, the best temperature is a / log(s/(1-s)).
  const auto     cases = Cases(6, 4, 8, 2);
  const Estimate temperature = glioma::FitTemperature(cases);
  EXPECT_NEAR(temperature.Value, std::log(4.0) / std::log(0.7 / 0.3), 1e-9);
  std::vector<GradedCase> scaled = cases;
  for (GradedCase & c : scaled)
  {
    c.ProbabilityHGG = glioma::WithTemperature(c.ProbabilityHGG, temperature.Value);
  }
  EXPECT_NEAR(scaled.back().ProbabilityHGG, 0.3, 1e-9);
  EXPECT_LT(glioma::CrossEntropy(scaled), glioma::CrossEntropy(cases));
  EXPECT_NEAR(glioma::FitTemperature(scaled).Value, 1.0, 1e-9);
}

TEST(GradeStatistics, ComparesPairsExactly)
{
  // One case that the first alone has right, six that the second alone has: 2 (1 + 7) / 2^7.
  std::vector<GradedCase> first = Cases(4, 3, 5, 4);
  std::vector<GradedCase> second = first;
  second[0].ProbabilityHGG = 0.9;
  for (const std::size_t wrong : { 4u, 5u, 6u })
  {
    second[wrong].ProbabilityHGG = 0.1;
  }
  for (const std::size_t wrong : { 12u, 13u, 14u })
  {
    second[wrong].ProbabilityHGG = 0.9;
  }
  const auto comparison = glioma::ComparePaired(first, second);
  EXPECT_EQ(comparison.OnlyFirstRight, 1u);
  EXPECT_EQ(comparison.OnlySecondRight, 6u);
  EXPECT_NEAR(comparison.McNemarP, 0.125, 1e-12);
  EXPECT_EQ(comparison.BothGraded, first.size());
  EXPECT_LT(comparison.AucDifference.Value, 0.0);
  EXPECT_LT(comparison.AucP, 0.2);
  const auto swapped = glioma::ComparePaired(second, first);
  EXPECT_DOUBLE_EQ(swapped.AucP, comparison.AucP);
  EXPECT_DOUBLE_EQ(swapped.AucDifference.Low, -comparison.AucDifference.High);
  // The same twice.
  const auto same = glioma::ComparePaired(first, first);
  EXPECT_EQ(same.McNemarP, 1.0);
  EXPECT_EQ(same.AucP, 1.0);
  EXPECT_FALSE(same.AucDifference.IntervalUndefined.empty());
  second.back().ProbabilityHGG = none;
  EXPECT_EQ(glioma::ComparePaired(first, second).BothGraded, first.size() - 1);
  second.pop_back();
  EXPECT_THROW(glioma::ComparePaired(first, second), std::invalid_argument);
}

TEST(GradeStatistics, SaysWhatIsUndefinedAndWhy)
{
  const auto high = Cases(0, 0, 3, 1);
  const auto matrix = glioma::CountGrades(high);
  ExpectUndefined(glioma::Recall(matrix, 0), "no case is LGG");
  EXPECT_EQ(glioma::Precision(matrix, 0).Value, 0.0);
  ExpectUndefined(glioma::AreaUnderCurve(high), "no case is a graded LGG");
  EXPECT_TRUE(glioma::ReceiverCurve(high).empty());
  ExpectUndefined(glioma::FitTemperature(high), "no case is a graded LGG");
  // An HGG and an LGG, of which nearly the same is said: the best temperature is about 8500.
  std::vector<GradedCase> nearlyChance(2);
  nearlyChance[0].IsHGG = true;
  nearlyChance[0].ProbabilityHGG = 0.9999;
  nearlyChance[1].ProbabilityHGG = 0.999899;
  ExpectUndefined(glioma::FitTemperature(nearlyChance),
                  "the probabilities tell next to nothing: the best is beyond 0.001 to 1000");
  const auto pair = glioma::ComparePaired(Cases(1, 0, 3, 2), Cases(0, 1, 4, 1));
  EXPECT_EQ(pair.AucDifference.IntervalUndefined, "a class has one case");
  EXPECT_TRUE(std::isnan(pair.AucP));
  EXPECT_EQ(glioma::FitTemperature(Cases(2, 0, 2, 0)).Undefined,
            "every case is right: the colder, the better, without an end");
  EXPECT_NE(glioma::FitTemperature(Cases(1, 2, 1, 2)).Undefined, "");
  const auto empty = glioma::CountGrades({});
  ExpectUndefined(glioma::Accuracy(empty), "there is no case");
  ExpectUndefined(glioma::Precision(empty, 1), "no case is called HGG");
  ExpectUndefined(glioma::F1Score(empty, 1), "no case is HGG and none is called so");
  ExpectUndefined(glioma::BrierScore({ { true, none } }), "no case has a grade");
  ExpectUndefined(glioma::CalibrationError({}), "no case has a grade");
  ExpectUndefined(glioma::ComparePaired(high, high).AucDifference, "no case is an LGG that both grade");
}

TEST(GradeStatistics, DrawsTheCurveThroughTies)
{
  const std::vector<GradedCase> cases{ { true, 0.9 }, { false, 0.5 }, { true, 0.5 }, { false, 0.1 } };
  const auto                    curve = glioma::ReceiverCurve(cases);
  ASSERT_EQ(curve.size(), 4u);
  EXPECT_EQ(curve[1], (std::array<double, 2>{ { 0.0, 0.5 } }));
  EXPECT_EQ(curve[2], (std::array<double, 2>{ { 0.5, 1.0 } }));
  EXPECT_EQ(curve[3], (std::array<double, 2>{ { 1.0, 1.0 } }));
  EXPECT_DOUBLE_EQ(glioma::QuantileOf({ 4.0, 1.0, 3.0, 2.0 }, 0.25), 1.75);
}
