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
#include "SynthesizeCommand.h"

#include "OptionChecks.h"
#include "PhantomCohort.h"
#include "TerminalText.h"

#include <exception>
#include <iostream>
#include <memory>

namespace glioma
{

namespace
{
int
RunSynthesize(const SynthesizeOptions & options)
{
  try
  {
    WritePhantomCohort(options, std::cout);
  }
  catch (const std::exception & error)
  {
    std::cerr << "glioma synthesize: " << OneLine(error) << std::endl;
    return 1;
  }
  std::cout << "Wrote " << options.cases << " phantoms (synthetic, no patients) and COHORT.csv to "
            << options.outputDirectory << std::endl;
  return 0;
}
} // namespace

void
AddSynthesizeCommand(CLI::App & application, int & exitCode)
{
  const auto       options = std::make_shared<SynthesizeOptions>();
  CLI::App * const command =
    application.add_subcommand("synthesize", "Write a cohort of phantoms: synthetic cases, no patients");
  command->add_option("--cases", options->cases, "Number of cases, half of them LGG, half HGG")
    ->required()
    ->check(CLI::Range(1, 9999));
  command->add_option("--seed", options->seed, "Seed: the same gives the same phantoms")
    ->required()
    ->check(WholeNumberUpTo());
  command->add_option("--output", options->outputDirectory, "Folder that gets COHORT.csv and the cases")->required();
  command->add_option("--spacing", options->spacing, "Edge of a voxel in mm (default 1)")->check(CLI::Range(1.0, 4.0));
  command->add_flag("--truth", options->truth, "Write each sequence's true log bias field and the white matter too");
  command->add_flag("--regions",
                    options->regions,
                    "Write an image of regions too: 1 ventricles, 2 oedema, 3 tumour core, 4 other fluid, 5 cortex, 6 "
                    "deep grey, 7 white matter");
  command->add_option("--threads", options->threads, "Number of threads (default: all processors)")
    ->check(CLI::Range(1, 1024));
  command->add_flag("--force", options->force, "Replace cases that are there already");
  command->callback([options, &exitCode] { exitCode = RunSynthesize(*options); });
}

} // namespace glioma
