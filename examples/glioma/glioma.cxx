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
// The application: each command lives in a file of its own.

#include "CohortCommand.h"
#include "EvaluateCommand.h"
#include "GradeCommand.h"
#include "InspectCommand.h"
#include "SynthesizeCommand.h"
#include "TerminalText.h"
#include "TrainCommand.h"
#include "itkVersion.h"

#include <csignal>
#include <iostream>
#include <string>
#include <vector>

namespace
{
void
SetFooter(CLI::App & application)
{
  for (CLI::App * const command : application.get_subcommands(nullptr))
  {
    command->footer("Research use only.");
    SetFooter(*command);
  }
}

/** A word in the place of a command, and the commands that there are; empty where there is no such word. */
std::string
DescribeUnknownCommand(const CLI::App & application)
{
  const CLI::App * command = &application;
  std::string      name = command->get_name();
  while (!command->get_subcommands().empty())
  {
    command = command->get_subcommands().front();
    name += ' ' + command->get_name();
  }
  const std::vector<std::string>      words = application.remaining(true);
  const std::vector<const CLI::App *> commands = command->get_subcommands([](const CLI::App *) { return true; });
  // Behind an option a word may be its value.
  if (words.empty() || commands.empty() || (!words.front().empty() && words.front().front() == '-'))
  {
    return "";
  }
  std::string text = name + ": there is no command " + glioma::Shown(words.front()) + "; the commands are";
  for (std::size_t i = 0; i < commands.size(); ++i)
  {
    text += (i == 0 ? " " : i + 1 < commands.size() ? ", " : " and ") + commands[i]->get_name();
  }
  return text + '.';
}
} // namespace

int
main(int argc, char * argv[])
{
#ifdef SIGXFSZ
  // A file beyond the limit then fails like a full disk, with a message.
  std::signal(SIGXFSZ, SIG_IGN);
#endif
  CLI::App application("Glioma grading from T1, T1c, T2 and FLAIR. Research use only.", "glioma");
  application.require_subcommand(1);
  application.set_version_flag("--version",
                               std::string("glioma ") + GLIOMA_VERSION + " (ITK " + itk::Version::GetITKVersion() +
                                 ", LibTorch " + GLIOMA_TORCH_VERSION + ")");

  int exitCode = 0;
  glioma::AddCohortCommand(application, exitCode);
  glioma::AddEvaluateCommand(application, exitCode);
  glioma::AddGradeCommand(application, exitCode);
  glioma::AddInspectCommand(application, exitCode);
  glioma::AddSynthesizeCommand(application, exitCode);
  glioma::AddTrainCommand(application, exitCode);
  SetFooter(application);
  try
  {
    application.parse(argc, argv);
  }
  catch (const CLI::RequiredError & error)
  {
    const std::string unknown = DescribeUnknownCommand(application);
    if (unknown.empty())
    {
      return application.exit(error) == 0 ? 0 : 2;
    }
    std::cerr << unknown << "\nRun with --help for more information." << std::endl;
    return 2;
  }
  catch (const CLI::ParseError & error)
  {
    // 0 for --help, 2 for wrong usage.
    return application.exit(error) == 0 ? 0 : 2;
  }
  return exitCode;
}
