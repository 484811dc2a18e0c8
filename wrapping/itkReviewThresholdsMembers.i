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

STRUCT_MEMBER(itkReviewThresholds, double, BorderRatio)
STRUCT_MEMBER(itkReviewThresholds, double, OutsideShare)
STRUCT_MEMBER(itkReviewThresholds, double, GuidedTumourRatio)
STRUCT_MEMBER(itkReviewThresholds, double, BrainBorderRatio)
STRUCT_MEMBER(itkReviewThresholds, double, BrainTumourRatio)
STRUCT_MEMBER(itkReviewThresholds, double, GradCAMTumourRatio)
STRUCT_MEMBER(itkReviewThresholds, double, GradCAMLargestChance)
STRUCT_MEMBER(itkReviewThresholds, double, TinyVolume)
STRUCT_MEMBER(itkReviewThresholds, double, FocusShare)
STRUCT_MEMBER(itkReviewThresholds, double, SmallestBrain)
STRUCT_MEMBER(itkReviewThresholds, double, LargestBrain)
STRUCT_MEMBER(itkReviewThresholds, double, LargestTumourShare)
STRUCT_MEMBER(itkReviewThresholds, double, LargestShareOutsideBrain)
STRUCT_MEMBER(itkReviewThresholds, double, ProbabilityGap)
STRUCT_MEMBER(itkReviewThresholds, double, TumourEffect)
STRUCT_MEMBER(itkReviewThresholds, double, LargestFilledShare)
STRUCT_MEMBER(itkReviewThresholds, double, GraderGap)
STRUCT_MEMBER(itkReviewThresholds, double, FluidRank)
STRUCT_MEMBER(itkReviewThresholds, double, FluidGap)
STRUCT_MEMBER(itkReviewThresholds, double, FlairGap)
STRUCT_MEMBER(itkReviewThresholds, double, EnhancementGap)
STRUCT_MEMBER(itkReviewThresholds, double, DuplicateCorrelation)
STRUCT_ARRAY(itkReviewThresholds, double, SmallestAsymmetry)
STRUCT_ARRAY(itkReviewThresholds, double, LargestAsymmetry)
STRUCT_MEMBER(itkReviewThresholds, double, SmallestTail)
STRUCT_MEMBER(itkReviewThresholds, double, LargestTail)
STRUCT_MEMBER(itkReviewThresholds, double, SmallestSpacing)
STRUCT_MEMBER(itkReviewThresholds, double, LargestSpacing)
