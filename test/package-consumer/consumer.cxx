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

// Loads every bundle that it is given and checks its golden pair; a folder without a bundle must be refused by name.
#include "itkTorchModel.h"

#ifdef TORCH_VERSION
#  error "A header of LibTorch is reachable from the installed headers"
#endif

int
main(int argc, char * argv[])
{
  auto missing = itk::TorchModel::New();
  missing->SetPath("no-such-bundle");
  try
  {
    missing->Load();
    std::cerr << "A missing bundle was loaded." << std::endl;
    return 1;
  }
  catch (const itk::ExceptionObject & error)
  {
    if (std::string(error.GetDescription()).find("no-such-bundle") == std::string::npos)
    {
      std::cerr << "The message does not name the bundle: " << error.GetDescription() << std::endl;
      return 1;
    }
  }
  for (int i = 1; i < argc; ++i)
  {
    try
    {
      auto model = itk::TorchModel::New();
      model->SetPath(argv[i]);
      model->Load();
      std::cout << argv[i] << ": " << model->GetNumberOfParameters() << " parameters, golden pair "
                << (model->VerifyGoldenPair() ? "reproduced" : "absent") << std::endl;
    }
    catch (const itk::ExceptionObject & error)
    {
      std::cerr << error.GetDescription() << std::endl;
      return 1;
    }
  }
  std::cout << "consumer ran" << std::endl;
  return 0;
}
