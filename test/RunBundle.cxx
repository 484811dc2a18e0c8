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
// What the Python tests call: writes a seeded bundle, or runs one on raw voxels.
//   RunBundle write segmentation|grading WIDTH LEVELS PADDED SIZE BUNDLE
//   RunBundle run BUNDLE INPUT X Y Z OUTPUT     interleaved float32 in; probabilities or logits as float32 out
//   RunBundle segment BUNDLE INPUT X Y Z OUTPUT [NAME=VALUE]...     the same through TorchSegmentationFilter, with
//     patch=X,Y,Z overlap=SHARE blend=gaussian|constant sigma=SCALE border=constant|reflect|replicate|circular
//     precision=float32|bfloat16
#include "SeededBundles.h"

#include "itkTorchSegmentationFilter.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <sstream>

namespace
{
using FilterType = itk::TorchSegmentationFilter<>;

void
SetOption(const std::string & option, FilterType * filter, itk::TorchModel * model)
{
  const auto        equals = option.find('=');
  const std::string name = option.substr(0, equals);
  const std::string value = equals == std::string::npos ? "" : option.substr(equals + 1);
  if (name == "patch")
  {
    itk::Size<3>       size;
    std::istringstream text(value);
    for (unsigned int axis = 0; axis < 3; ++axis)
    {
      char comma = 0;
      text >> size[axis] >> comma;
    }
    filter->SetTileSize(size);
  }
  else if (name == "overlap")
  {
    filter->SetOverlap(std::stod(value));
  }
  else if (name == "sigma")
  {
    filter->SetSigmaScale(std::stod(value));
  }
  else if (name == "blend")
  {
    filter->SetBlend(value == "constant" ? FilterType::BlendEnum::Constant : FilterType::BlendEnum::Gaussian);
  }
  else if (name == "border")
  {
    filter->SetBorder(value == "reflect"     ? FilterType::BorderEnum::Reflect
                      : value == "replicate" ? FilterType::BorderEnum::Replicate
                      : value == "circular"  ? FilterType::BorderEnum::Circular
                                             : FilterType::BorderEnum::Constant);
  }
  else if (name == "precision")
  {
    model->SetPrecision(value == "bfloat16" ? itk::TorchModel::Precision::BFloat16
                                            : itk::TorchModel::Precision::Float32);
  }
  else
  {
    itkGenericExceptionMacro("The option '" << option << "' is not known");
  }
}

/** Class probabilities of an interleaved volume, by the filter. */
std::vector<float>
Segmented(itk::TorchModel * model, FilterType * filter, const itk::TorchVolumeView & view)
{
  using ImageType = FilterType::InputImageType;
  auto image = ImageType::New();
  image->SetRegions(view.RegionSize);
  image->SetNumberOfComponentsPerPixel(view.Components);
  image->Allocate();
  const std::size_t voxels = image->GetBufferedRegion().GetNumberOfPixels();
  std::copy(view.Buffer, view.Buffer + view.Components * voxels, image->GetBufferPointer());
  filter->SetInput(image);
  filter->SetModel(model);
  filter->GenerateProbabilitiesOn();
  filter->Update();
  const auto *  probabilities = filter->GetProbabilities();
  const float * begin = probabilities->GetBufferPointer();
  return std::vector<float>(begin, begin + probabilities->GetNumberOfComponentsPerPixel() * voxels);
}
} // namespace

int
main(int argc, char * argv[])
{
  const std::string command = argc > 1 ? argv[1] : "";
  if (!(command == "write" && argc == 8) && !(command == "run" && argc == 8) && !(command == "segment" && argc >= 8))
  {
    std::cerr
      << "usage: RunBundle write KIND WIDTH LEVELS PADDED SIZE BUNDLE | run|segment BUNDLE INPUT X Y Z OUTPUT\n";
    return 2;
  }
  const auto number = [argv](int i) { return static_cast<unsigned int>(std::strtoul(argv[i], nullptr, 10)); };
  try
  {
    if (command == "write")
    {
      const bool dense = std::string(argv[2]) == "segmentation";
      itk::TorchModel::WriteSeededBundle(argv[7],
                                         dense ? TinySegmentationManifest(number(3), number(4), number(5) != 0)
                                               : TinyGradingManifest(number(3), number(6), number(5) != 0),
                                         1);
      return 0;
    }
    auto model = itk::TorchModel::New();
    auto filter = FilterType::New();
    for (int i = 8; i < argc; ++i)
    {
      SetOption(argv[i], filter, model);
    }
    model->SetPath(argv[2]);
    model->TrustModelCodeOn();
    model->Load();
    itk::TorchVolumeView view;
    view.Components = static_cast<unsigned int>(model->GetManifest().ChannelNames.size());
    view.RegionSize = itk::Size<3>{ { number(4), number(5), number(6) } };
    std::vector<float> voxels(view.Components * view.RegionSize[0] * view.RegionSize[1] * view.RegionSize[2]);
    std::ifstream      input(argv[3], std::ios::binary);
    if (!input.read(reinterpret_cast<char *>(voxels.data()),
                    static_cast<std::streamsize>(voxels.size() * sizeof(float))))
    {
      std::cerr << "too few voxels in " << argv[3] << '\n';
      return 1;
    }
    view.Buffer = voxels.data();
    std::vector<float> result;
    if (command == "segment")
    {
      result = Segmented(model, filter, view);
    }
    else if (model->GetManifest().Task == "segmentation")
    {
      result = model->ComputeProbabilities(view).Buffer;
    }
    else
    {
      const auto logits = model->ComputeLogits(view);
      result.assign(logits.begin(), logits.end());
    }
    std::ofstream output(argv[7], std::ios::binary);
    output.write(reinterpret_cast<const char *>(result.data()),
                 static_cast<std::streamsize>(result.size() * sizeof(float)));
    return output ? 0 : 1;
  }
  catch (const std::exception & e)
  {
    std::cerr << e.what() << '\n';
    return 1;
  }
}
