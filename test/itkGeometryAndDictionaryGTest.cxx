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
// Every image filter keeps the patient's geometry, the start index and every key of the dictionary.

#include "SeededBundles.h"
#include "SyntheticHead.h"
#include "itkBoundingBoxROIFilter.h"
#include "itkBrainMaskFilter.h"
#include "itkFromModelSpaceFilter.h"
#include "itkGliomaGradingFilter.h"
#include "itkGradCAMImageFilter.h"
#include "itkGuidedBackpropagationImageFilter.h"
#include "itkMaskedStandardizeFilter.h"
#include "itkModelSpaceFilter.h"
#include "itkN4BiasCorrectionChainFilter.h"
#include "itkSequencePreparationFilter.h"
#include "itkTorchSegmentationFilter.h"
#include "itkTumourReplacementFilter.h"
#include "gtest/gtest.h"

#include <functional>

namespace
{
using ImageType = SyntheticHead::ImageType;
using MaskType = SyntheticHead::MaskType;
using VectorType = itk::VectorImage<float, 3>;
using Outputs = std::vector<itk::ImageBase<3>::Pointer>;

/** Runs a filter on a head, and on its four sequences as one image. */
struct Case
{
  std::string                                                 Name;
  std::function<Outputs(const SyntheticHead &, VectorType *)> Run;
};

/** GoogleTest would show its bytes, and make them part of the test's name. */
void
PrintTo(const Case & shown, std::ostream * os)
{
  *os << shown.Name;
}

VectorType::Pointer
Compose(const SyntheticHead & head)
{
  auto image = VectorType::New();
  image->CopyInformation(head.Sequences[0]);
  image->SetMetaDataDictionary(head.Sequences[0]->GetMetaDataDictionary());
  image->SetNumberOfComponentsPerPixel(4);
  image->SetRegions(head.Sequences[0]->GetLargestPossibleRegion());
  image->Allocate();
  for (unsigned int c = 0; c < 4; ++c)
  {
    for (itk::SizeValueType i = 0; i < image->GetLargestPossibleRegion().GetNumberOfPixels(); ++i)
    {
      image->GetBufferPointer()[4 * i + c] = head.Sequences[c]->GetBufferPointer()[i];
    }
  }
  return image;
}

/** Takes an output that outlives its filter. */
template <typename TImage>
itk::ImageBase<3>::Pointer
Keep(TImage * image)
{
  return image;
}

std::vector<Case>
Cases()
{
  std::vector<Case> cases;
  cases.push_back({ "BrainMaskFilter", [](const SyntheticHead &, VectorType * image) {
                     auto filter = itk::BrainMaskFilter<VectorType, MaskType>::New();
                     filter->SetInput(image);
                     filter->Update();
                     return Outputs{ Keep(filter->GetOutput()) };
                   } });
  cases.push_back({ "N4BiasCorrectionChainFilter", [](const SyntheticHead & head, VectorType *) {
                     auto filter = itk::N4BiasCorrectionChainFilter<ImageType, MaskType>::New();
                     filter->SetInput(head.Sequences[0]);
                     filter->SetMaskImage(head.Brain);
                     filter->Update();
                     return Outputs{ Keep(filter->GetOutput()), Keep(filter->GetLogBiasField()) };
                   } });
  cases.push_back({ "MaskedStandardizeFilter", [](const SyntheticHead & head, VectorType * image) {
                     auto filter = itk::MaskedStandardizeFilter<VectorType, MaskType>::New();
                     filter->SetInput(image);
                     filter->SetMaskImage(head.Brain);
                     filter->Update();
                     return Outputs{ Keep(filter->GetOutput()) };
                   } });
  cases.push_back({ "BoundingBoxROIFilter", [](const SyntheticHead & head, VectorType * image) {
                     // All of the image: the box of a full mask keeps the voxels and their indices.
                     auto full = MaskType::New();
                     full->CopyInformation(head.Brain);
                     full->SetRegions(head.Brain->GetLargestPossibleRegion());
                     full->Allocate();
                     full->FillBuffer(1);
                     auto filter = itk::BoundingBoxROIFilter<VectorType, MaskType>::New();
                     filter->SetInput(image);
                     filter->SetMaskImage(full);
                     filter->SetMode(itk::BoundingBoxROIFilterEnums::Mode::Stretch);
                     filter->SetMargin(0);
                     filter->SetOutputSize(0);
                     filter->Update();
                     return Outputs{ Keep(filter->GetOutput()) };
                   } });
  cases.push_back({ "ModelSpaceFilterAndBack", [](const SyntheticHead &, VectorType * image) {
                     auto to = itk::ModelSpaceFilter<VectorType>::New();
                     to->SetInput(image);
                     to->SetOutputOrientation("RAI");
                     const double spacing[3] = { 5.0, 4.0, 4.0 };
                     to->SetOutputSpacing(spacing);
                     auto back = itk::FromModelSpaceFilter<VectorType>::New();
                     back->SetInput(to->GetOutput());
                     back->SetReferenceImage(image);
                     back->Update();
                     return Outputs{ Keep(back->GetOutput()) };
                   } });
  cases.push_back({ "TorchSegmentationFilter", [](const SyntheticHead & head, VectorType * image) {
                     const TemporaryFolder folder;
                     const auto            model = LoadSeeded(folder / "s", TinySegmentationManifest());
                     auto                  filter = itk::TorchSegmentationFilter<VectorType, MaskType>::New();
                     filter->SetInput(image);
                     filter->SetMaskImage(head.Brain);
                     filter->SetModel(model);
                     filter->GenerateProbabilitiesOn();
                     filter->Update();
                     return Outputs{ Keep(filter->GetOutput()), Keep(filter->GetProbabilities()) };
                   } });
  const auto regionOf = [](const SyntheticHead & head, VectorType * image) {
    auto filter = itk::BoundingBoxROIFilter<VectorType, MaskType>::New();
    filter->SetInput(image);
    filter->SetMaskImage(head.Tumour);
    filter->SetMargin(2);
    filter->SetOutputSize(72);
    filter->Update();
    VectorType::Pointer region = filter->GetOutput();
    region->DisconnectPipeline();
    return region;
  };
  cases.push_back({ "GradCAMImageFilter", [regionOf](const SyntheticHead & head, VectorType * image) {
                     const TemporaryFolder folder;
                     const auto            model = LoadSeeded(folder / "g", TinyGradingManifest());
                     auto                  filter = itk::GradCAMImageFilter<VectorType, ImageType>::New();
                     filter->SetModel(model);
                     filter->SetInput(regionOf(head, image));
                     filter->AddLayerName("res3");
                     filter->SetReferenceImage(image);
                     filter->Update();
                     return Outputs{ Keep(filter->GetMap("res3")), Keep(filter->GetSupport()) };
                   } });
  cases.push_back({ "GuidedBackpropagationImageFilter", [regionOf](const SyntheticHead & head, VectorType * image) {
                     const TemporaryFolder folder;
                     const auto            model = LoadSeeded(folder / "g", TinyGradingManifest());
                     auto filter = itk::GuidedBackpropagationImageFilter<VectorType, VectorType>::New();
                     filter->SetModel(model);
                     filter->SetInput(regionOf(head, image));
                     filter->SetReferenceImage(image);
                     filter->Update();
                     return Outputs{ Keep(filter->GetOutput()) };
                   } });
  cases.push_back({ "TumourReplacementFilter", [](const SyntheticHead & head, VectorType * image) {
                     auto filter = itk::TumourReplacementFilter<VectorType, MaskType>::New();
                     filter->SetInput(image);
                     filter->SetTumourMaskImage(head.Tumour);
                     filter->SetBrainMaskImage(head.Brain);
                     filter->Update();
                     return Outputs{ Keep(filter->GetOutput()) };
                   } });
  cases.push_back({ "SequencePreparationFilter", [](const SyntheticHead & head, VectorType *) {
                     auto filter = itk::SequencePreparationFilter<ImageType, MaskType>::New();
                     for (unsigned int i = 0; i < 4; ++i)
                     {
                       filter->SetSequence(filter->GetSequenceNames()[i], head.Sequences[i]);
                     }
                     filter->Update();
                     return Outputs{ Keep(filter->GetOutput()), Keep(const_cast<MaskType *>(filter->GetBrainMask())) };
                   } });
  cases.push_back({ "GliomaGradingFilter", [](const SyntheticHead & head, VectorType *) {
                     const TemporaryFolder folder;
                     auto                  manifest = TinyGradingManifest();
                     manifest.Margin = 2.0;
                     auto filter = itk::GliomaGradingFilter<ImageType, MaskType>::New();
                     for (unsigned int i = 0; i < 4; ++i)
                     {
                       filter->SetSequence(filter->GetSequenceNames()[i], head.Sequences[i]);
                     }
                     filter->SetTumourMaskImage(head.Tumour);
                     filter->SetGradingModel(LoadSeeded(folder / "g", manifest));
                     filter->Update();
                     return Outputs{ Keep(filter->GetOutput()),
                                     Keep(const_cast<MaskType *>(filter->GetBrainMask())),
                                     Keep(const_cast<ImageType *>(filter->GetGradCAM("res3"))),
                                     Keep(const_cast<MaskType *>(filter->GetGradCAMSupport("res4"))),
                                     Keep(const_cast<VectorType *>(filter->GetGuidedBackpropagation())) };
                   } });
  return cases;
}

class GeometryAndDictionary : public testing::TestWithParam<Case>
{};
} // namespace

TEST_P(GeometryAndDictionary, Survive)
{
  const SyntheticHead head;
  for (const auto & sequence : head.Sequences)
  {
    itk::MetaDataDictionary & dictionary = sequence->GetMetaDataDictionary();
    itk::EncapsulateMetaData<std::string>(dictionary, "0008|0060", "MR");
    itk::EncapsulateMetaData<int>(dictionary, "Acquisition", 17);
    itk::EncapsulateMetaData<std::vector<double>>(dictionary, "Gradient", { 1.5, -2.5 });
  }
  const VectorType::Pointer composed = Compose(head);
  const Outputs             outputs = GetParam().Run(head, composed);
  ASSERT_FALSE(outputs.empty());
  const itk::MetaDataDictionary & expected = composed->GetMetaDataDictionary();
  for (const auto & output : outputs)
  {
    ASSERT_TRUE(output.IsNotNull());
    EXPECT_EQ(output->GetLargestPossibleRegion(), composed->GetLargestPossibleRegion());
    for (unsigned int d = 0; d < 3; ++d)
    {
      EXPECT_NEAR(output->GetOrigin()[d], composed->GetOrigin()[d], 1e-9);
      EXPECT_NEAR(output->GetSpacing()[d], composed->GetSpacing()[d], 1e-12);
      for (unsigned int c = 0; c < 3; ++c)
      {
        EXPECT_NEAR(output->GetDirection()[d][c], composed->GetDirection()[d][c], 1e-12);
      }
    }
    for (const std::string & key : expected.GetKeys())
    {
      ASSERT_TRUE(output->GetMetaDataDictionary().HasKey(key)) << key;
      std::ostringstream before;
      std::ostringstream after;
      expected[key]->Print(before);
      output->GetMetaDataDictionary()[key]->Print(after);
      EXPECT_EQ(before.str(), after.str()) << key;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Filters, GeometryAndDictionary, testing::ValuesIn(Cases()), [](const auto & each) {
  return each.param.Name;
});

// As Python's filter(image, mask) sets it.
TEST(GeometryAndDictionary, TheMaskIsTheSecondInput)
{
  const auto mask = MaskType::New();
  const auto expectMask = [&mask](const auto & filter) {
    filter->SetInput2(mask);
    EXPECT_EQ(filter->GetMaskImage(), mask) << filter->GetNameOfClass();
  };
  expectMask(itk::MaskedStandardizeFilter<ImageType>::New());
  expectMask(itk::MaskedIntensityStatisticsFilter<ImageType, MaskType>::New());
  expectMask(itk::BoundingBoxROIFilter<ImageType>::New());
  expectMask(itk::TorchSegmentationFilter<>::New());
  const auto corrector = itk::N4BiasCorrectionChainFilter<ImageType>::New();
  expectMask(corrector);
  const auto weights = ImageType::New();
  corrector->SetInput3(weights);
  EXPECT_EQ(corrector->GetConfidenceImage(), weights);
}
