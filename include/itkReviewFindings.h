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
#ifndef itkReviewFindings_h
#define itkReviewFindings_h

#include "itkReviewThresholds.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace itk
{
/** \class ReviewFindings
 * \brief What is known of a case, and the reasons that it gives to let a person look.
 *
 * The verdict is "no-flags" without a reason and "review" with one; neither is a clinical acceptance. A number that is
 * NaN is not known and raises nothing.
 * \ingroup GliomaGrading
 */
struct ReviewFindings
{
  static constexpr double Unknown = std::numeric_limits<double>::quiet_NaN();

  /** The images. */
  bool                                             SequencesDisagree{ false };
  double                                           BrainVolume{ Unknown }; // ml
  std::vector<std::pair<std::string, std::string>> LooksLike;              // called, looks like; the odd ones alone
  std::vector<std::pair<std::string, std::string>> Duplicates;
  std::vector<double>                              Asymmetry; // of T1, T1c, T2, FLAIR; empty: unknown
  std::vector<double>                              Tail;
  std::vector<double>                              Spacing; // mm

  /** The tumour. */
  bool         TumourFound{ true };
  bool         TumourBelowGrid{ false };
  double       TumourVolume{ Unknown };            // ml
  double       TumourShareOutsideBrain{ Unknown }; // of a mask that was given
  bool         TumourTiny{ false };
  bool         TouchesBorder{ false };
  unsigned int Foci{ 1 };

  /** The grade, of the tumour's grader and of the whole brain's where there is one. */
  std::vector<std::string> ClassNames;
  std::vector<double>      Probabilities;
  std::vector<double>      WholeBrainProbabilities;
  std::vector<double>      ProbabilitiesWithoutTumour; // healthy tissue in its place; empty: unknown

  /** \class Map
   * \brief What ExplanationQualityFilter says of a map.
   * \ingroup GliomaGrading
   */
  struct Map
  {
    std::string Name;
    bool        Guided{ false };
    bool        WholeBrain{ false }; // of a grader of the whole brain
    double      TotalEnergy{ Unknown };
    double      TumourRatio{ Unknown };
    double      TumourChance{ Unknown };
    double      TumourCoverage{ Unknown };
    double      BorderRatio{ Unknown };
    double      OutsideShare{ Unknown };
  };
  std::vector<Map> Maps;

  /** The reasons in words. */
  std::vector<std::string>
  FindReasons(const ReviewThresholds & limits) const;
};

inline std::vector<std::string>
ReviewFindings::FindReasons(const ReviewThresholds & limits) const
{
  std::vector<std::string> reasons;
  const auto               two = [](double value) {
    std::ostringstream out;
    out.precision(2);
    out << value;
    return out.str();
  };
  const auto fixed = [](double value, int digits) {
    std::ostringstream out;
    out.precision(digits);
    out << std::fixed << value;
    return out.str();
  };
  const auto ratio = [&fixed](double value) { return fixed(value, 2); };

  if (TumourBelowGrid)
  {
    reasons.push_back("the tumour is smaller than a voxel of the grading model's grid");
  }
  else if (!TumourFound)
  {
    reasons.push_back("no tumour was found");
  }
  if (!LooksLike.empty())
  {
    std::string text;
    for (const auto & pair : LooksLike)
    {
      text += (text.empty() ? "" : ", ") + pair.first + " looks like " + pair.second;
    }
    reasons.push_back("the sequences look swapped: " + text);
  }
  for (const auto & pair : Duplicates)
  {
    reasons.push_back("a sequence looks duplicated: " + pair.first + " and " + pair.second + " are nearly one image");
  }
  if (SequencesDisagree)
  {
    reasons.push_back("the sequences' non-zero voxels overlap badly: they may not be aligned");
  }
  if (BrainVolume < limits.SmallestBrain || BrainVolume > limits.LargestBrain)
  {
    reasons.push_back("the brain mask's volume is not that of an adult's brain (" +
                      std::to_string(std::lround(limits.SmallestBrain)) + " to " +
                      std::to_string(std::lround(limits.LargestBrain)) + " ml)");
  }
  const char * const names[] = { "T1", "T1c", "T2", "FLAIR" };
  for (std::size_t i = 0; i < std::min<std::size_t>(4, std::min(Asymmetry.size(), Tail.size())); ++i)
  {
    const bool isOdd = Asymmetry[i] < limits.SmallestAsymmetry[i] || Asymmetry[i] > limits.LargestAsymmetry[i];
    if (isOdd || Tail[i] < limits.SmallestTail || Tail[i] > limits.LargestTail)
    {
      reasons.push_back(std::string("the intensities of ") + names[i] +
                        " are distributed unlike those of the cases that the limits were set beside");
    }
  }
  if (!Spacing.empty())
  {
    const double smallest = *std::min_element(Spacing.begin(), Spacing.end());
    const double largest = *std::max_element(Spacing.begin(), Spacing.end());
    if (smallest < limits.SmallestSpacing || largest > limits.LargestSpacing)
    {
      reasons.push_back("the voxels measure " + two(smallest) + " to " + two(largest) + " mm, outside the limits (" +
                        two(limits.SmallestSpacing) + " to " + two(limits.LargestSpacing) + " mm)");
    }
  }

  if (TumourFound && (TumourTiny || TumourVolume < limits.TinyVolume))
  {
    reasons.push_back("the tumour is tiny");
  }
  const auto percent = [](double share) { return std::to_string(std::lround(100.0 * share)) + " %"; };
  if (TumourVolume > limits.LargestTumourShare * BrainVolume)
  {
    reasons.push_back("the tumour fills " + percent(TumourVolume / BrainVolume) + " of the brain (flagged above " +
                      percent(limits.LargestTumourShare) + ')');
  }
  if (TumourShareOutsideBrain > limits.LargestShareOutsideBrain)
  {
    reasons.push_back(percent(TumourShareOutsideBrain) + " of the tumour mask lie outside the brain (flagged above " +
                      percent(limits.LargestShareOutsideBrain) + ')');
  }
  if (TouchesBorder)
  {
    reasons.push_back("the tumour touches the border of the image");
  }
  if (Foci > 1)
  {
    reasons.push_back("the tumour has several foci");
  }

  const auto likeliest = [](const std::vector<double> & p) { return std::max_element(p.begin(), p.end()) - p.begin(); };
  if (Probabilities.size() > 1)
  {
    std::vector<double> sorted = Probabilities;
    std::sort(sorted.rbegin(), sorted.rend());
    if (sorted[0] - sorted[1] < limits.ProbabilityGap)
    {
      reasons.push_back("the grade is undecided: the likeliest classes have the probabilities " + fixed(sorted[0], 3) +
                        " and " + fixed(sorted[1], 3) + " (flagged where they are closer than " +
                        two(limits.ProbabilityGap) + ')');
    }
  }
  const auto name = [this](std::size_t i) { return i < ClassNames.size() ? ClassNames[i] : std::to_string(i); };
  if (!Probabilities.empty() && ProbabilitiesWithoutTumour.size() == Probabilities.size())
  {
    const auto   grade = static_cast<std::size_t>(likeliest(Probabilities));
    const double without = ProbabilitiesWithoutTumour[grade];
    if (Probabilities[grade] - without < limits.TumourEffect)
    {
      reasons.push_back(
        "the grade does not come from the tumour: with healthy tissue in its place the probability of " + name(grade) +
        " is " + fixed(without, 3) + " for " + fixed(Probabilities[grade], 3) + " (flagged where it is not lower by " +
        two(limits.TumourEffect) + ')');
    }
  }
  if (!Probabilities.empty() && WholeBrainProbabilities.size() == Probabilities.size())
  {
    double gap = 0.0;
    for (std::size_t i = 0; i < Probabilities.size(); ++i)
    {
      gap = std::max(gap, std::abs(Probabilities[i] - WholeBrainProbabilities[i]));
    }
    const auto tumour = static_cast<std::size_t>(likeliest(Probabilities));
    const auto brain = static_cast<std::size_t>(likeliest(WholeBrainProbabilities));
    if (tumour != brain || gap > limits.GraderGap)
    {
      reasons.push_back("the graders disagree: from the tumour's region " + name(tumour) + " (" +
                        two(Probabilities[tumour]) + "), from the whole brain " + name(brain) + " (" +
                        two(WholeBrainProbabilities[brain]) + ")");
    }
  }

  for (const bool isOfBrain : { false, true })
  {
    const auto isOfOther = [isOfBrain](const Map & map) { return map.WholeBrain != isOfBrain; };
    const auto isSilent = [&](const Map & map) { return isOfOther(map) || !(map.TotalEnergy > 0.0); };
    if (!std::all_of(Maps.begin(), Maps.end(), isOfOther) && std::all_of(Maps.begin(), Maps.end(), isSilent))
    {
      reasons.push_back(std::string("no map explains the grade") + (isOfBrain ? " from the whole brain" : "") +
                        ": all are empty");
    }
  }
  for (const Map & map : Maps)
  {
    const double tumourLimit = !map.Guided      ? limits.GradCAMTumourRatio
                               : map.WholeBrain ? limits.BrainTumourRatio
                                                : limits.GuidedTumourRatio;
    if (map.TumourRatio < tumourLimit && (map.Guided || map.TumourChance <= limits.GradCAMLargestChance))
    {
      reasons.push_back("the explanation lies outside the tumour: " + map.Name + " has " + ratio(map.TumourRatio) +
                        " times the energy there that chance gives (flagged below " + two(tumourLimit) + ")");
    }
    else if (map.TumourCoverage == 0.0)
    {
      reasons.push_back("the explanation lies outside the tumour: " + map.Name + " does not reach it");
    }
    const double borderLimit = map.WholeBrain ? limits.BrainBorderRatio : limits.BorderRatio;
    if (map.Guided && map.BorderRatio > borderLimit)
    {
      reasons.push_back("border artefact suspected: " + map.Name + " has " + ratio(map.BorderRatio) +
                        " times the energy at the brain's border that chance gives (flagged above " + two(borderLimit) +
                        ")");
    }
    // Around the brain a grader of the whole brain sees much that is no brain.
    if (map.Guided && !map.WholeBrain && map.OutsideShare > limits.OutsideShare)
    {
      reasons.push_back("border artefact suspected: " + two(100.0 * map.OutsideShare) + " % of " + map.Name +
                        " lies outside the brain (flagged above " + two(100.0 * limits.OutsideShare) + " %)");
    }
  }
  return reasons;
}
} // namespace itk

#endif // itkReviewFindings_h
