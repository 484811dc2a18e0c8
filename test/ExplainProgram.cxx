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
// What the Python test of the explanations calls: the filters' maps of one region, each on its own cells.
//   ExplainProgram BUNDLE INPUT X Y Z CLASS OUTPUT_PREFIX     interleaved float32 in, raw float32 out
#include "itkGradCAMImageFilter.h"
#include "itkGuidedBackpropagationImageFilter.h"

#include <cstdlib>
#include <fstream>
#include <iostream>
#include <string>

namespace
{
template <typename TImage>
void
WriteRaw(const TImage * image, const std::string & path)
{
  const auto    count = image->GetBufferedRegion().GetNumberOfPixels() * image->GetNumberOfComponentsPerPixel();
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char *>(image->GetBufferPointer()),
             static_cast<std::streamsize>(count * sizeof(float)));
  if (!file)
  {
    itkGenericExceptionMacro("'" << path << "' cannot be written");
  }
}
} // namespace

int
main(int argc, char * argv[])
{
  if (argc != 8)
  {
    std::cerr << "usage: ExplainProgram BUNDLE INPUT X Y Z CLASS OUTPUT_PREFIX\n";
    return 2;
  }
  const auto number = [argv](int i) { return static_cast<unsigned int>(std::strtoul(argv[i], nullptr, 10)); };
  using ImageType = itk::VectorImage<float, 3>;
  try
  {
    const auto model = itk::TorchModel::New();
    model->SetPath(argv[1]);
    model->TrustModelCodeOn(); // written by the test itself
    model->Load();

    const auto region = ImageType::New();
    region->SetRegions(itk::Size<3>{ { number(3), number(4), number(5) } });
    region->SetNumberOfComponentsPerPixel(static_cast<unsigned int>(model->GetManifest().ChannelNames.size()));
    region->Allocate();
    const auto    count = region->GetBufferedRegion().GetNumberOfPixels() * region->GetNumberOfComponentsPerPixel();
    std::ifstream input(argv[2], std::ios::binary);
    if (!input.read(reinterpret_cast<char *>(region->GetBufferPointer()),
                    static_cast<std::streamsize>(count * sizeof(float))))
    {
      itkGenericExceptionMacro("too few voxels in '" << argv[2] << "'");
    }

    const auto cam = itk::GradCAMImageFilter<ImageType>::New();
    cam->SetInput(region);
    cam->SetModel(model);
    cam->AddLayerName("res3");
    cam->AddLayerName("res4");
    cam->SetClassToExplain(number(6));
    cam->Update();
    const auto guided = itk::GuidedBackpropagationImageFilter<ImageType>::New();
    guided->SetInput(region);
    guided->SetModel(model);
    guided->SetClassToExplain(number(6));
    guided->Update();

    const std::string prefix = argv[7];
    WriteRaw(cam->GetMap("res3"), prefix + "res3");
    WriteRaw(cam->GetMap("res4"), prefix + "res4");
    WriteRaw(guided->GetOutput(), prefix + "guided");
    std::cout << guided->GetExecutedReLUs() << ' ' << guided->GetGuidedReLUs() << '\n';
  }
  catch (const std::exception & error)
  {
    std::cerr << error.what() << '\n';
    return EXIT_FAILURE;
  }
  return EXIT_SUCCESS;
}
