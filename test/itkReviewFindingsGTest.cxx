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
#include "itkReviewFindings.h"

#include "itkExplanationQualityFilter.h"

#include <gtest/gtest.h>

namespace
{
using itk::ReviewFindings;
using itk::ReviewThresholds;

/** A case that raises nothing. */
ReviewFindings
Clean()
{
  ReviewFindings findings;
  findings.BrainVolume = 1400.0;
  findings.Asymmetry = { 0.45, 0.45, 0.75, 0.45 };
  findings.Tail = { 1.5, 1.6, 1.6, 1.5 };
  findings.Spacing = { 1.0, 1.0, 1.0 };
  findings.TumourVolume = 30.0;
  findings.ClassNames = { "LGG", "HGG" };
  findings.Probabilities = { 0.2, 0.8 };
  findings.WholeBrainProbabilities = { 0.3, 0.7 };
  ReviewFindings::Map guided;
  guided.Name = "guided-backprop";
  guided.Guided = true;
  guided.TotalEnergy = 3.0;
  guided.TumourRatio = 5.0;
  guided.TumourChance = 0.1;
  guided.TumourCoverage = 1.0;
  guided.BorderRatio = 0.4;
  guided.OutsideShare = 0.02;
  ReviewFindings::Map cam;
  cam.Name = "gradcam-res4";
  cam.TotalEnergy = 2.0;
  cam.TumourRatio = 1.0;
  cam.TumourChance = 0.98;
  cam.TumourCoverage = 0.3;
  findings.Maps = { guided, cam };
  return findings;
}

void
ExpectOne(const ReviewFindings & findings, const std::string & text)
{
  const auto reasons = findings.FindReasons(ReviewThresholds());
  ASSERT_EQ(reasons.size(), 1U) << text;
  EXPECT_EQ(reasons.front(), text);
}
} // namespace

TEST(ReviewFindings, ACleanCaseAndAnUnknownOneRaiseNothing)
{
  EXPECT_TRUE(Clean().FindReasons(ReviewThresholds()).empty());
  EXPECT_TRUE(ReviewFindings().FindReasons(ReviewThresholds()).empty());
}

TEST(ReviewFindings, EachReasonIsRaisedAlone)
{
  auto findings = Clean();
  findings.LooksLike = { { "T1", "T2" }, { "T2", "T1" } };
  ExpectOne(findings, "the sequences look swapped: T1 looks like T2, T2 looks like T1");

  findings = Clean();
  findings.Duplicates = { { "T1", "T1c" } };
  ExpectOne(findings, "a sequence looks duplicated: T1 and T1c are nearly one image");

  findings = Clean();
  findings.SequencesDisagree = true;
  ExpectOne(findings, "the sequences' non-zero voxels overlap badly: they may not be aligned");

  findings = Clean();
  findings.BrainVolume = 2500.0;
  ExpectOne(findings, "the brain mask's volume is not that of an adult's brain (700 to 2000 ml)");

  findings = Clean();
  findings.Asymmetry[2] = 0.25; // T2 with its grey values inverted
  ExpectOne(findings,
            "the intensities of T2 are distributed unlike those of the cases that the limits were set beside");
  findings = Clean();
  findings.Tail[3] = 1.01; // saturated
  ExpectOne(findings,
            "the intensities of FLAIR are distributed unlike those of the cases that the limits were set beside");

  findings = Clean();
  findings.Spacing = { 0.5, 0.5, 7.0 };
  ExpectOne(findings, "the voxels measure 0.5 to 7 mm, outside the limits (0.4 to 6 mm)");

  findings = Clean();
  findings.TumourFound = false;
  findings.TumourVolume = 0.0;
  ExpectOne(findings, "no tumour was found");
  findings = Clean();
  findings.TumourFound = false;
  findings.TumourBelowGrid = true;
  ExpectOne(findings, "the tumour is smaller than a voxel of the grading model's grid");
  findings = Clean();
  findings.TumourVolume = 0.5;
  ExpectOne(findings, "the tumour is tiny");
  findings = Clean();
  findings.TouchesBorder = true;
  ExpectOne(findings, "the tumour touches the border of the image");
  findings = Clean();
  findings.Foci = 2;
  ExpectOne(findings, "the tumour has several foci");

  findings = Clean();
  findings.Probabilities = { 0.5032, 0.4968 };
  findings.WholeBrainProbabilities.clear();
  ExpectOne(
    findings,
    "the grade is undecided: the likeliest classes have the probabilities 0.503 and 0.497 (flagged where they are "
    "closer than 0.1)");
  findings = Clean();
  findings.ProbabilitiesWithoutTumour = { 0.22, 0.78 };
  ExpectOne(findings,
            "the grade does not come from the tumour: with healthy tissue in its place the probability of HGG is 0.780 "
            "for 0.800 (flagged where it is not lower by 0.03)");
  findings.ProbabilitiesWithoutTumour = { 0.45, 0.55 };
  EXPECT_TRUE(findings.FindReasons(ReviewThresholds()).empty());
  findings.ProbabilitiesWithoutTumour = { 0.1, 0.9 }; // the tumour speaks for the other grade
  EXPECT_EQ(findings.FindReasons(ReviewThresholds()).size(), 1U);
  findings = Clean();
  findings.WholeBrainProbabilities = { 0.6, 0.4 };
  ExpectOne(findings, "the graders disagree: from the tumour's region HGG (0.8), from the whole brain LGG (0.6)");

  findings = Clean();
  findings.Maps[0].TotalEnergy = findings.Maps[1].TotalEnergy = 0.0;
  ExpectOne(findings, "no map explains the grade: all are empty");
  findings.Maps[0].TotalEnergy = 1.0; // one layer that is silent is a status, no reason
  EXPECT_TRUE(findings.FindReasons(ReviewThresholds()).empty());

  // A second grader's maps are judged for themselves.
  findings = Clean();
  findings.Maps.push_back(findings.Maps[0]);
  findings.Maps.back().Name = "brain-guided-backprop";
  findings.Maps.back().WholeBrain = true;
  findings.Maps.back().OutsideShare = 0.5; // it sees much that is no brain
  findings.Maps.back().TumourRatio = 1.2;
  EXPECT_TRUE(findings.FindReasons(ReviewThresholds()).empty());
  findings.Maps.back().TumourRatio = 0.5;
  ExpectOne(
    findings,
    "the explanation lies outside the tumour: brain-guided-backprop has 0.50 times the energy there that chance "
    "gives (flagged below 1)");
  findings.Maps.back().TumourRatio = 1.2;
  findings.Maps.back().BorderRatio = 5.0;
  ExpectOne(findings,
            "border artefact suspected: brain-guided-backprop has 5.00 times the energy at the brain's border that "
            "chance gives (flagged above 1.5)");
  findings.Maps.back().BorderRatio = 0.4;
  findings.Maps.back().TotalEnergy = 0.0;
  ExpectOne(findings, "no map explains the grade from the whole brain: all are empty");

  findings = Clean();
  findings.Maps[0].TumourRatio = 0.8;
  ExpectOne(findings,
            "the explanation lies outside the tumour: guided-backprop has 0.80 times the energy there that chance "
            "gives (flagged below 2)");
  findings = Clean();
  findings.Maps[1].TumourRatio = 0.2; // below chance, but there is little else than tumour
  EXPECT_TRUE(findings.FindReasons(ReviewThresholds()).empty());
  findings.Maps[1].TumourChance = 0.3;
  ExpectOne(findings,
            "the explanation lies outside the tumour: gradcam-res4 has 0.20 times the energy there that chance gives "
            "(flagged below 0.4)");
  findings = Clean();
  findings.Maps[1].TumourCoverage = 0.0;
  findings.Maps[1].TumourRatio = ReviewFindings::Unknown;
  ExpectOne(findings, "the explanation lies outside the tumour: gradcam-res4 does not reach it");

  findings = Clean();
  findings.Maps[0].BorderRatio = 2.5;
  ExpectOne(findings,
            "border artefact suspected: guided-backprop has 2.50 times the energy at the brain's border that chance "
            "gives (flagged above 1.6)");
  findings = Clean();
  findings.Maps[0].OutsideShare = 0.4;
  ExpectOne(findings, "border artefact suspected: 40 % of guided-backprop lies outside the brain (flagged above 25 %)");
}

// From a map to the verdict: a ball's surface lights up, then a place beside the tumour.
TEST(ReviewFindings, MapsOfABorderArtefactAndOfAnotherPlaceAreFlagged)
{
  using MapType = itk::Image<float, 3>;
  using MaskType = itk::Image<unsigned char, 3>;
  const itk::Size<3> size{ { 40, 40, 40 } };
  const auto         map = MapType::New();
  const auto         brain = MaskType::New();
  const auto         tumour = MaskType::New();
  map->SetRegions(size);
  brain->SetRegions(size);
  tumour->SetRegions(size);
  map->Allocate();
  brain->Allocate();
  tumour->Allocate();
  const auto fill = [&](const auto & energy) {
    for (itk::SizeValueType n = 0; n < 64000; ++n)
    {
      const double x = static_cast<double>(n % 40) - 19.5;
      const double y = static_cast<double>(n / 40 % 40) - 19.5;
      const double z = static_cast<double>(n / 1600) - 19.5;
      const double radius = std::sqrt(x * x + y * y + z * z);
      brain->GetBufferPointer()[n] = radius < 17.0 ? 1 : 0;
      tumour->GetBufferPointer()[n] = (x - 6) * (x - 6) + y * y + z * z < 16.0 ? 1 : 0;
      map->GetBufferPointer()[n] = radius < 17.0 ? static_cast<float>(energy(x, radius)) : 0.0F;
    }
    map->Modified();
  };
  const auto reasonsOf = [&] {
    const auto quality = itk::ExplanationQualityFilter<MapType, MaskType>::New();
    quality->SetInput(map);
    quality->SetTumourMask(tumour);
    quality->SetBrainMask(brain);
    quality->Update();
    auto findings = Clean();
    findings.Maps[0].TumourRatio = quality->GetTumourRatio();
    findings.Maps[0].BorderRatio = quality->GetBorderRatio();
    findings.Maps[0].OutsideShare = quality->GetOutsideShare();
    return findings.FindReasons(ReviewThresholds());
  };
  fill([](double x, double radius) { return x > 0.0 && radius < 12.0 ? 1.0 : 0.02; });
  EXPECT_TRUE(reasonsOf().empty());
  fill([](double x, double radius) { return x > 0.0 && radius < 12.0 ? 1.0 : radius > 14.0 ? 20.0 : 0.02; });
  ASSERT_FALSE(reasonsOf().empty());
  EXPECT_EQ(reasonsOf().back().rfind("border artefact suspected", 0), 0U);
  fill([](double x, double radius) { return x < 0.0 && radius < 12.0 ? 1.0 : 0.02; });
  ASSERT_EQ(reasonsOf().size(), 1U);
  EXPECT_EQ(reasonsOf().front().rfind("the explanation lies outside the tumour", 0), 0U);
}
