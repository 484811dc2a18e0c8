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
// Trains the grading network of a cohort: COHORT.csv with the columns case,t1,t1c,t2,flair,seg,grade.

#include "itkCommand.h"
#include "itkTorchModelTrainer.h"

#include <cstdlib>
#include <iostream>

int
main(int argc, char * argv[])
{
  if (argc < 4)
  {
    std::cerr << "Usage: " << argv[0] << " COHORT.csv BUNDLE STEPS [CASE_TO_SCORE ...]\n";
    return EXIT_FAILURE;
  }
  auto trainer = itk::TorchModelTrainer::New();

  // Every option is now as the paper says.
  trainer->SetTask(itk::TorchModelTrainerEnums::Task::Grading);
  trainer->AddCohort(argv[1]);
  trainer->SetOutput(argv[2]);
  trainer->SetMaximumSteps(std::strtoull(argv[3], nullptr, 10));
  for (int i = 4; i < argc; ++i)
  {
    trainer->AddValidationCase(argv[i]);
  }

  trainer->AddObserver(itk::ProgressEvent(),
                       [&](const itk::EventObject &) { std::cout << trainer->GetStatus() << std::endl; });
  trainer->AddObserver(itk::IterationEvent(), [&](const itk::EventObject &) {
    std::cout << "step " << trainer->GetStep() << ", loss " << trainer->GetLastLoss() << std::endl;
  });

  try
  {
    trainer->Train();
  }
  catch (const itk::ExceptionObject & error)
  {
    std::cerr << error.GetDescription() << '\n';
    return EXIT_FAILURE;
  }
  for (const auto & score : trainer->GetScores())
  {
    std::cout << score.Case << " (" << score.Grade << "): P(HGG) = " << score.Value << '\n';
  }
  return EXIT_SUCCESS;
}
