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
// The numbers of an evaluation on what a test gives: EvaluationProgram grades FILE (lines: HGG 0 or 1, P(HGG) of two
// ways), or EvaluationProgram masks PREDICTED TRUE. Prints JSON.

#include "GradeStatistics.h"
#include "MaskComparison.h"

#include "itkImageFileReader.h"

#include <fstream>
#include <iostream>
#include <limits>
#include <string>

namespace
{
using glioma::Estimate;

void
Print(const std::string & name, double value, const char * end = ",\n")
{
  std::cout << "\"" << name << "\": ";
  if (value == value)
  {
    std::cout << value;
  }
  else
  {
    std::cout << "null";
  }
  std::cout << end;
}

void
Print(const std::string & name, const Estimate & estimate)
{
  Print(name, estimate.Value);
  Print(name + "-low", estimate.Low);
  Print(name + "-high", estimate.High);
}

itk::Image<unsigned char, 3>::Pointer
ReadMask(const std::string & path)
{
  auto reader = itk::ImageFileReader<itk::Image<unsigned char, 3>>::New();
  reader->SetFileName(path);
  reader->Update();
  return reader->GetOutput();
}
} // namespace

int
main(int argc, char * argv[])
{
  const std::string task = argc > 1 ? argv[1] : "";
  std::cout.precision(std::numeric_limits<double>::max_digits10);
  std::cout << "{\n";
  if (task == "grades" && argc == 3)
  {
    std::vector<glioma::GradedCase> first;
    std::vector<glioma::GradedCase> second;
    std::ifstream                   file(argv[2]);
    for (double truth, a, b; file >> truth >> a >> b;)
    {
      first.push_back({ truth > 0.5, a });
      second.push_back({ truth > 0.5, b });
    }
    const auto matrix = glioma::CountGrades(first);
    for (unsigned int grade = 0; grade < 2; ++grade)
    {
      const std::string name = grade ? "hgg" : "lgg";
      Print("precision-" + name, glioma::Precision(matrix, grade));
      Print("recall-" + name, glioma::Recall(matrix, grade));
      Print("f1-" + name, glioma::F1Score(matrix, grade));
      Print("called-lgg-of-" + name, static_cast<double>(matrix.Counts[grade][0]));
      Print("called-hgg-of-" + name, static_cast<double>(matrix.Counts[grade][1]));
    }
    Print("accuracy", glioma::Accuracy(matrix));
    Print("auc", glioma::AreaUnderCurve(first));
    Print("brier", glioma::BrierScore(first));
    Print("calibration", glioma::CalibrationError(first));
    Print("temperature", glioma::FitTemperature(first));
    Print("cross-entropy", glioma::CrossEntropy(first));
    const auto comparison = glioma::ComparePaired(first, second);
    Print("only-first-right", static_cast<double>(comparison.OnlyFirstRight));
    Print("only-second-right", static_cast<double>(comparison.OnlySecondRight));
    Print("both-graded", static_cast<double>(comparison.BothGraded));
    Print("mcnemar", comparison.McNemarP);
    Print("difference", comparison.AucDifference);
    Print("difference-p", comparison.AucP, "\n");
  }
  else if (task == "masks" && argc == 4)
  {
    const auto comparison = glioma::CompareMasks(ReadMask(argv[2]), ReadMask(argv[3]));
    Print("dice", comparison.Dice);
    Print("hausdorff95", comparison.Hausdorff95);
    Print("volume-error", comparison.VolumeError(), "\n");
  }
  else
  {
    std::cerr << "usage: EvaluationProgram grades FILE | masks PREDICTED TRUE\n";
    return 2;
  }
  std::cout << "}\n";
  return 0;
}
