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
// What compare_explanations.py times: one forward, both GradCAMs and guided backpropagation, as the composite asks for
// them.
//   BenchmarkExplanations BUNDLE INPUT X Y Z CLASS THREADS REPEATS     interleaved float32 in; a line of seconds a run
//   out
#include "itkTorchModel.h"

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

int
main(int argc, char * argv[])
{
  if (argc != 9)
  {
    std::cerr << "usage: BenchmarkExplanations BUNDLE INPUT X Y Z CLASS THREADS REPEATS\n";
    return 2;
  }
  const auto number = [argv](int i) { return static_cast<unsigned int>(std::strtoul(argv[i], nullptr, 10)); };
  try
  {
    const auto model = itk::TorchModel::New();
    model->SetPath(argv[1]);
    model->SetNumberOfThreads(number(7));
    model->Load();
    itk::TorchVolumeView view;
    view.Components = static_cast<unsigned int>(model->GetManifest().ChannelNames.size());
    view.RegionSize = itk::Size<3>{ { number(3), number(4), number(5) } };
    std::vector<float> voxels(view.Components * view.RegionSize[0] * view.RegionSize[1] * view.RegionSize[2]);
    std::ifstream      input(argv[2], std::ios::binary);
    if (!input.read(reinterpret_cast<char *>(voxels.data()),
                    static_cast<std::streamsize>(voxels.size() * sizeof(float))))
    {
      itkGenericExceptionMacro("too few voxels in '" << argv[2] << "'");
    }
    view.Buffer = voxels.data();
    itk::TorchExplanationRequest request;
    request.Layers = { "res3", "res4" };
    request.Classes = { number(6) };
    request.GuidedBackpropagation = true;
    for (unsigned int repeat = 0; repeat < number(8); ++repeat)
    {
      const auto start = std::chrono::steady_clock::now();
      const auto explanation = model->Explain(view, request);
      const auto end = std::chrono::steady_clock::now();
      if (explanation.GradCAM.size() != 2 || explanation.Guided.size() != 1)
      {
        itkGenericExceptionMacro("a map is missing");
      }
      std::cout << std::chrono::duration<double>(end - start).count() << '\n';
    }
  }
  catch (const std::exception & error)
  {
    std::cerr << error.what() << '\n';
    return EXIT_FAILURE;
  }
  return EXIT_SUCCESS;
}
