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

// No function's type names them, and so ITK's generator does not ask for them.
%import itkImageRegion.i
%import itkPoint.i
%{
#include "itkImageRegionSwigInterface.h"
#include "itkPointSwigInterface.h"
%}

STRUCT_MEMBER(itkGradedRegionReport, itkImageRegion3, Box)
STRUCT_MEMBER(itkGradedRegionReport, itkPointD3, Centre)
STRUCT_ARRAY(itkGradedRegionReport, double, Sides)
STRUCT_ARRAY(itkGradedRegionReport, double, Spacing)
STRUCT_MEMBER(itkGradedRegionReport, unsigned int, OutputSize)
STRUCT_MEMBER(itkGradedRegionReport, bool, Tiny)
STRUCT_MEMBER(itkGradedRegionReport, bool, TouchesBorder)
STRUCT_MEMBER(itkGradedRegionReport, bool, SeveralFoci)
STRUCT_MEMBER(itkGradedRegionReport, bool, LeavesImage)
