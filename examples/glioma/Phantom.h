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
#ifndef Phantom_h
#define Phantom_h

#include "PhantomScanner.h"

#include "itkImage.h"

namespace glioma
{

/** Values of the image of regions. */
enum class PhantomRegion : unsigned char
{
  Outside,
  Ventricles,
  Oedema,
  TumourCore,
  OtherFluid,
  Cortex,
  DeepGrey,
  White
};

/** What a phantom is made from. The same parameters give the same bits, whatever the number of threads. */
struct PhantomParameters
{
  std::uint64_t seed{ 1 };

  /** Counted from 1. Two neighbours (1 and 2, 3 and 4...) are one LGG and one HGG. */
  std::uint64_t caseNumber{ 1 };

  /** Edge of a voxel in mm, from 1 to 4; the image always covers 240x240x155 mm. */
  double spacing{ 1.0 };

  /** Make the true fields and the white matter too. */
  bool truth{ false };

  /** Make the image of regions too. */
  bool regions{ false };

  /** Number of threads, 0: as many as there are processors. */
  unsigned int threads{ 0 };
};

/** A synthetic patient: no part of it comes from a person. */
struct Phantom
{
  using ImageType = itk::Image<float, 3>;
  using LabelImageType = itk::Image<unsigned char, 3>;

  /** T1, T1c, T2, FLAIR; exactly 0 outside the brain, positive inside. */
  std::array<ImageType::Pointer, 4> images;

  /** 1 necrosis or cyst, 2 infiltrated tissue or oedema, 4 enhancing: the labels of BraTS. */
  LabelImageType::Pointer labels;

  /** Natural logarithm of the machine's uneven field in each image, 0 outside the brain, and where there is nothing
   * but healthy white matter: made where the parameters ask for the truth. */
  std::array<ImageType::Pointer, 4> logFields;
  LabelImageType::Pointer           white;

  /** Each voxel of the brain by what most of it is, see PhantomRegion: made where the parameters ask for it. */
  LabelImageType::Pointer regions;

  TumourGrade grade;
  ScannerKind scanner;
  Enhancement enhancement;

  /** Volume of the whole tumour, ml. */
  double volume;
};

const char *
NameOf(TumourGrade grade);

const char *
NameOf(ScannerKind scanner);

const char *
NameOf(Enhancement enhancement);

/** Which kind of case a number is. Grades are exactly balanced; so are the scanners within a grade, over four cases;
 * one LGG in four enhances and one HGG in five hardly does. */
void
DescribeCase(std::uint64_t seed,
             std::uint64_t caseNumber,
             TumourGrade & grade,
             ScannerKind & scanner,
             Enhancement & enhancement);

/** Makes a phantom. Throws itk::ExceptionObject on parameters out of range. */
Phantom
MakePhantom(const PhantomParameters & parameters);

} // namespace glioma

#endif // Phantom_h
