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
#include "itkGliomaGradingFilter.h"

#include "ErrorMessages.h"
#include "SeededBundles.h"
#include "SyntheticHead.h"
#include "itkBinaryThresholdImageFilter.h"
#include "itkConnectedComponentImageFilter.h"
#include "itkImageRegionConstIteratorWithIndex.h"
#include "itkExplanationFaithfulnessCalculator.h"
#include "itkGradeClassifierFilter.h"
#include "itkGradCAMImageFilter.h"
#include "itkGuidedBackpropagationImageFilter.h"
#include "itkMaskImageFilter.h"
#include "itkModelSpaceFilter.h"
#include "itkMultiplyImageFilter.h"
#include "itkNearestNeighborInterpolateImageFunction.h"
#include "itkRelabelComponentImageFilter.h"
#include "itkResampleImageFilter.h"
#include "itkObjectFactoryBase.h"
#include "itkSha256.h"
#include "itkVersion.h"
#include "itkTorchSegmentationFilter.h"
#include "itkTumourReplacementFilter.h"
#include "gtest/gtest.h"

#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <limits>
#include <map>
#include <new>
#include <set>

namespace
{
using ImageType = SyntheticHead::ImageType;
using MaskType = SyntheticHead::MaskType;
using FilterType = itk::GliomaGradingFilter<ImageType, MaskType>;
using Explain = FilterType::ExplainEnum;

std::string
ReadAll(const std::string & path)
{
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
}

void
WriteAll(const std::string & path, const std::string & bytes)
{
  std::ofstream(path, std::ios::binary) << bytes;
}

/** Fills a tensor of a bundle and mends the manifest's digest. */
void
SetTensor(const std::string & bundle, const std::string & name, const std::vector<float> & values)
{
  const std::string weights = bundle + "/models/model.safetensors";
  std::string       bytes = ReadAll(weights);
  const std::string before = itk::Sha256OfFile(weights);
  std::uint64_t     header = 0;
  std::memcpy(&header, bytes.data(), 8);
  const auto entry = bytes.find('"' + name + '"');
  ASSERT_NE(entry, std::string::npos);
  const auto  offsets = bytes.find('[', bytes.find("data_offsets", entry));
  const auto  begin = std::stoull(bytes.substr(offsets + 1));
  const auto  end = std::stoull(bytes.substr(bytes.find(',', offsets) + 1));
  std::size_t i = 0;
  for (auto at = begin; at < end; at += sizeof(float), ++i)
  {
    std::memcpy(&bytes[8 + header + at], &values[i % values.size()], sizeof(float));
  }
  WriteAll(weights, bytes);
  std::string metadata = ReadAll(bundle + "/configs/metadata.json");
  const auto  digest = metadata.find(before);
  ASSERT_NE(digest, std::string::npos);
  metadata.replace(digest, before.size(), itk::Sha256OfFile(weights));
  WriteAll(bundle + "/configs/metadata.json", metadata);
}

itk::TorchModel::Pointer
Load(const std::string & bundle)
{
  auto model = itk::TorchModel::New();
  model->SetPath(bundle);
  model->Load();
  return model;
}

/** A segmentation model of another spacing and orientation than the image's. */
itk::TorchModelManifest
SegmentationManifest()
{
  itk::TorchModelManifest manifest = TinySegmentationManifest();
  manifest.Spacing = { { 5.0, 5.0, 5.0 } };
  manifest.Orientation = "LAS";
  manifest.BiasCorrection = "n4";
  manifest.UpperQuantile = 0.99;
  return manifest;
}

itk::TorchModelManifest
GradingManifest()
{
  itk::TorchModelManifest manifest = TinyGradingManifest();
  manifest.Margin = 2.0;
  manifest.BiasCorrection = "n4";
  return manifest;
}

/** Everything in the brain's middle is tumour: bias alone cannot, so the threshold of the logits is moved. */
FilterType::Pointer
Grading(const SyntheticHead & head, const itk::TorchModel * segmentation, const itk::TorchModel * grading)
{
  auto filter = FilterType::New();
  for (unsigned int i = 0; i < 4; ++i)
  {
    filter->SetSequence(FilterType::GetSequenceNames()[i], head.Sequences[i]);
  }
  filter->SetSegmentationModel(segmentation);
  filter->SetGradingModel(grading);
  return filter;
}

void
ExpectGridAndDictionary(const itk::ImageBase<3> * image, const ImageType * input)
{
  ASSERT_NE(image, nullptr);
  EXPECT_EQ(image->GetLargestPossibleRegion(), input->GetLargestPossibleRegion());
  EXPECT_EQ(image->GetBufferedRegion(), input->GetLargestPossibleRegion());
  EXPECT_EQ(image->GetOrigin(), input->GetOrigin());
  EXPECT_EQ(image->GetSpacing(), input->GetSpacing());
  EXPECT_EQ(image->GetDirection(), input->GetDirection());
  std::string scanner;
  double      echo = 0.0;
  EXPECT_TRUE(itk::ExposeMetaData(image->GetMetaDataDictionary(), "Scanner", scanner));
  EXPECT_TRUE(itk::ExposeMetaData(image->GetMetaDataDictionary(), "EchoTime", echo));
  EXPECT_EQ(scanner, "phantom");
  EXPECT_EQ(echo, 87.5);
}

std::set<std::string>
StagesOf(const FilterType * filter)
{
  std::set<std::string> names;
  for (const auto & stage : filter->GetStageSeconds())
  {
    names.insert(stage.first);
  }
  return names;
}

// What makes a resampling filter: once the second from now on finds no memory.
class ResamplingWithoutMemory : public itk::CreateObjectFunctionBase
{
public:
  using Self = ResamplingWithoutMemory;
  using Pointer = itk::SmartPointer<Self>;
  itkFactorylessNewMacro(Self);

  itk::LightObject::Pointer
  CreateObject() override
  {
    if (s_Left > 0 && --s_Left == 0)
    {
      throw std::bad_alloc();
    }
    return nullptr; // the class's own constructor does it
  }

  static int s_Left;
};
int ResamplingWithoutMemory::s_Left = 0;

class ResamplingFactory : public itk::ObjectFactoryBase
{
public:
  using Self = ResamplingFactory;
  using Pointer = itk::SmartPointer<Self>;
  itkFactorylessNewMacro(Self);

  const char *
  GetITKSourceVersion() const override
  {
    return ITK_SOURCE_VERSION;
  }
  const char *
  GetDescription() const override
  {
    return "resampling filters that find no memory";
  }

protected:
  ResamplingFactory()
  {
    const char * const name = typeid(itk::ResampleImageFilter<ImageType, ImageType>).name();
    this->RegisterOverride(name, name, "no memory", true, ResamplingWithoutMemory::New());
  }
};
} // namespace

TEST(GliomaGradingFilter, OutputsLieOnTheInputsGrid)
{
  const TemporaryFolder folder;
  const SyntheticHead   head;
  const auto            filter =
    Grading(head, LoadSeeded(folder / "s", SegmentationManifest()), LoadSeeded(folder / "g", GradingManifest(), 3));
  filter->Update();
  const ImageType * input = head.Sequences[0];
  ExpectGridAndDictionary(filter->GetOutput(), input);
  ExpectGridAndDictionary(filter->GetTumourProbability(), input);
  ExpectGridAndDictionary(filter->GetBrainMask(), input);
  ASSERT_TRUE(filter->GetTumourFound()) << "the seeded weights find no tumour";
  ASSERT_EQ(filter->GetGradCAMLayers(), (std::vector<std::string>{ "res3", "res4" }));
  for (const std::string & layer : filter->GetGradCAMLayers())
  {
    ExpectGridAndDictionary(filter->GetGradCAM(layer), input);
    ExpectGridAndDictionary(filter->GetGradCAMSupport(layer), input);
  }
  ExpectGridAndDictionary(filter->GetGuidedBackpropagation(), input);
  EXPECT_EQ(filter->GetGuidedBackpropagation()->GetNumberOfComponentsPerPixel(), 4u);
  EXPECT_EQ(filter->GetPrepared(), nullptr);

  ASSERT_EQ(filter->GetProbabilities().size(), 2u);
  EXPECT_NEAR(filter->GetProbabilities()[0] + filter->GetProbabilities()[1], 1.0, 1e-6);
  EXPECT_EQ(std::string(filter->GetGrade()), filter->GetProbabilities()[1] > 0.5 ? "HGG" : "LGG");
  EXPECT_EQ(StagesOf(filter),
            (std::set<std::string>{ "check",
                                    "brain-mask",
                                    "bias-correction",
                                    "check-sequences",
                                    "standardize",
                                    "segment",
                                    "cut-region",
                                    "grade-without-tumour",
                                    "grade-and-explain",
                                    "maps",
                                    "quality" }));

  // The label is what the probability says, less the small components.
  double voxels = 0.0;
  for (itk::SizeValueType i = 0; i < input->GetLargestPossibleRegion().GetNumberOfPixels(); ++i)
  {
    const float probability = filter->GetTumourProbability()->GetBufferPointer()[i];
    const bool  label = filter->GetOutput()->GetBufferPointer()[i] != 0;
    ASSERT_TRUE(!label || probability > 0.5F);
    ASSERT_TRUE(probability == 0.0F || head.Brain->GetBufferPointer()[i]);
    ASSERT_GE(probability, 0.0F);
    ASSERT_LE(probability, 1.0F);
    voxels += label;
  }
  EXPECT_NEAR(filter->GetTumourVolume(), voxels * 4.0 * 5.0 * 4.5 / 1000.0, 1e-9);
}

TEST(GliomaGradingFilter, ACopyWithAnotherHeaderGivesTheSameBits)
{
  const TemporaryFolder folder;
  const auto            segmentation = LoadSeeded(folder / "s", SegmentationManifest());
  const auto            grading = LoadSeeded(folder / "g", GradingManifest(), 3);
  const SyntheticHead   head;
  const SyntheticHead   copy;
  for (const auto & sequence : copy.Sequences)
  {
    ImageType::DirectionType straight;
    straight.SetIdentity();
    sequence->SetDirection(straight);
    const double origin[3] = { 1000.3, -77.7, 0.1 };
    sequence->SetOrigin(origin);
  }
  const auto a = Grading(head, segmentation, grading);
  const auto b = Grading(copy, segmentation, grading);
  a->Update();
  b->Update();
  ASSERT_TRUE(a->GetTumourFound());
  EXPECT_EQ(a->GetProbabilities(), b->GetProbabilities());
  EXPECT_EQ(a->GetLogits(), b->GetLogits());
  EXPECT_TRUE(oblique::SameVoxels(a->GetTumourProbability(), b->GetTumourProbability()));
  EXPECT_TRUE(oblique::SameVoxels(a->GetGradCAM("res4"), b->GetGradCAM("res4")));
  EXPECT_TRUE(oblique::SameVoxels(a->GetGuidedBackpropagation(), b->GetGuidedBackpropagation()));
}

TEST(GliomaGradingFilter, MapsLieWhereThePhysicalFiltersPutThem)
{
  const TemporaryFolder   folder;
  const SyntheticHead     head;
  itk::TorchModelManifest manifest = GradingManifest();
  manifest.Orientation = "RPS";
  manifest.Spacing = { { 4.5, 4.5, 4.5 } };
  manifest.ChannelNames = { "FLAIR", "T1", "T2", "T1c" };
  const auto grading = LoadSeeded(folder / "g", manifest, 3);
  const auto filter = Grading(head, nullptr, grading);
  filter->SetTumourMaskImage(head.Tumour);
  filter->KeepIntermediatesOn();
  for (int label = 0; label < 2; ++label)
  {
    filter->SetClassToExplain(label);
    filter->Update();
    EXPECT_EQ(filter->GetTumourProbability(), nullptr);

    using GradCAMType = itk::GradCAMImageFilter<itk::VectorImage<float, 3>, ImageType>;
    auto gradCAM = GradCAMType::New();
    gradCAM->SetModel(grading);
    gradCAM->SetInput(filter->GetRegionImage());
    gradCAM->AddLayerName("res3");
    gradCAM->AddLayerName("res4");
    gradCAM->SetClassToExplain(static_cast<unsigned int>(label));
    gradCAM->SetReferenceImage(head.Brain);
    gradCAM->Update();
    using GuidedType = itk::GuidedBackpropagationImageFilter<itk::VectorImage<float, 3>, itk::VectorImage<float, 3>>;
    auto guided = GuidedType::New();
    guided->SetModel(grading);
    guided->SetInput(filter->GetRegionImage());
    guided->SetClassToExplain(static_cast<unsigned int>(label));
    guided->SetReferenceImage(head.Brain);
    guided->Update();

    const itk::SizeValueType voxels = head.Brain->GetLargestPossibleRegion().GetNumberOfPixels();
    for (unsigned int layer = 0; layer < 2; ++layer)
    {
      const std::string name = layer == 0 ? "res3" : "res4";
      const float *     truth = gradCAM->GetMap(name)->GetBufferPointer();
      const float       peak = *std::max_element(truth, truth + voxels);
      for (itk::SizeValueType i = 0; i < voxels; ++i)
      {
        ASSERT_NEAR(filter->GetGradCAM(name)->GetBufferPointer()[i], truth[i], 1e-4F * peak + 1e-12F)
          << name << ' ' << i;
      }
    }
    // Components are in the order of the sequences, whatever the model's channels.
    const unsigned int channelOfSequence[4] = { 1, 3, 2, 0 };
    const float *      truth = guided->GetOutput()->GetBufferPointer();
    float              peak = 0.0F;
    for (itk::SizeValueType i = 0; i < 4 * voxels; ++i)
    {
      peak = std::max(peak, std::abs(truth[i]));
    }
    ASSERT_GT(peak, 0.0F);
    for (itk::SizeValueType i = 0; i < voxels; ++i)
    {
      for (unsigned int s = 0; s < 4; ++s)
      {
        ASSERT_NEAR(filter->GetGuidedBackpropagation()->GetBufferPointer()[4 * i + s],
                    truth[4 * i + channelOfSequence[s]],
                    1e-4F * peak);
      }
    }
  }
}

TEST(GliomaGradingFilter, AnotherClassReRunsTheExplanationAlone)
{
  const TemporaryFolder folder;
  const SyntheticHead   head;
  const auto            filter = Grading(head, nullptr, LoadSeeded(folder / "g", GradingManifest(), 3));
  filter->SetTumourMaskImage(head.Tumour);
  filter->SetClassToExplain(0);
  filter->Update();
  EXPECT_TRUE(StagesOf(filter).count("bias-correction"));
  const std::vector<double>                      probabilities = filter->GetProbabilities();
  const itk::VectorImage<float, 3>::ConstPointer first = filter->GetGuidedBackpropagation();

  filter->SetClassToExplain(1);
  filter->Update();
  EXPECT_EQ(StagesOf(filter), (std::set<std::string>{ "grade-and-explain", "maps", "quality" }));
  EXPECT_EQ(filter->GetExplainedClass(), 1u);
  EXPECT_EQ(filter->GetProbabilities(), probabilities);
  EXPECT_FALSE(oblique::SameVoxels(filter->GetGuidedBackpropagation(), first.GetPointer()));
  ExpectGridAndDictionary(filter->GetOutput(), head.Sequences[0]);
  const unsigned char * const labels = filter->GetOutput()->GetBufferPointer();
  EXPECT_TRUE(std::equal(
    labels, labels + head.Tumour->GetLargestPossibleRegion().GetNumberOfPixels(), head.Tumour->GetBufferPointer()));

  // What is kept is not what a filter downstream may work on in place.
  filter->GetOutput()->FillBuffer(0);
  filter->SetExplain(Explain::None);
  filter->Update();
  EXPECT_TRUE(std::equal(head.Tumour->GetBufferPointer(),
                         head.Tumour->GetBufferPointer() + head.Tumour->GetLargestPossibleRegion().GetNumberOfPixels(),
                         filter->GetOutput()->GetBufferPointer()));
  EXPECT_EQ(filter->GetGuidedBackpropagation(), nullptr);
  EXPECT_EQ(filter->GetGradCAM("res3"), nullptr);
  EXPECT_EQ(filter->GetProbabilities(), probabilities);

  // A changed voxel is a changed case.
  head.Sequences[0]->GetBufferPointer()[head.Sequences[0]->GetLargestPossibleRegion().GetNumberOfPixels() / 2] += 40.0F;
  head.Sequences[0]->Modified();
  filter->Update();
  EXPECT_TRUE(StagesOf(filter).count("bias-correction"));
  EXPECT_NE(filter->GetProbabilities(), probabilities);
}

// Sources that release their data make it again for each update, which is no other case.
TEST(GliomaGradingFilter, ReleasedInputsAreNoOtherCase)
{
  const TemporaryFolder folder;
  const SyntheticHead   head;
  const auto            filter = Grading(head, nullptr, LoadSeeded(folder / "g", GradingManifest(), 3));
  using SourceType = itk::MultiplyImageFilter<ImageType>;
  std::vector<SourceType::Pointer> sources;
  for (unsigned int i = 0; i < 4; ++i)
  {
    sources.push_back(SourceType::New());
    sources.back()->SetInput(head.Sequences[i]);
    sources.back()->SetConstant(1.0F);
    sources.back()->InPlaceOff();
    sources.back()->ReleaseDataFlagOn();
    filter->SetSequence(FilterType::GetSequenceNames()[i], sources.back()->GetOutput());
  }
  filter->SetTumourMaskImage(head.Tumour);
  filter->SetClassToExplain(0);
  filter->Update();
  EXPECT_TRUE(StagesOf(filter).count("bias-correction"));
  const std::vector<double> probabilities = filter->GetProbabilities();

  filter->SetClassToExplain(1);
  filter->Update();
  EXPECT_EQ(StagesOf(filter), (std::set<std::string>{ "grade-and-explain", "maps", "quality" }));
  EXPECT_EQ(filter->GetProbabilities(), probabilities);

  sources[3]->SetConstant(1.5F);
  filter->Update();
  EXPECT_TRUE(StagesOf(filter).count("bias-correction"));
}

// What is deleted must not look like another tissue: 0 is the mean of the whole image with its standardization.
TEST(GliomaGradingFilter, DeletesTowardsTheBrainsMean)
{
  const TemporaryFolder   folder;
  const SyntheticHead     head;
  itk::TorchModelManifest manifest = GradingManifest();
  manifest.BiasCorrection = "none";
  manifest.Standardization = "image";
  const auto grading = LoadSeeded(folder / "g", manifest, 3);
  const auto filter = Grading(head, nullptr, grading);
  filter->SetTumourMaskImage(head.Tumour);
  filter->KeepIntermediatesOn();
  filter->TestExplanationOn();
  filter->SetExplain(Explain::GuidedBackpropagation);
  filter->Update();

  // The truth from the intensities: what is not 0 is brain.
  const auto *       region = filter->GetRegionImage();
  itk::Array<double> mean(4);
  mean.Fill(0.0);
  double inside = 0.0;
  for (itk::SizeValueType i = 0; i < region->GetLargestPossibleRegion().GetNumberOfPixels(); ++i)
  {
    const float * voxel = region->GetBufferPointer() + i * 4;
    bool          isBrain = false;
    for (unsigned int c = 0; c < 4; ++c)
    {
      const auto & report = filter->GetSequenceReports()[c];
      isBrain = isBrain || std::abs(voxel[c] * report.Sigma + report.Mean) > 0.1;
    }
    for (unsigned int c = 0; c < 4 && isBrain; ++c)
    {
      mean[c] += voxel[c];
    }
    inside += isBrain ? 1.0 : 0.0;
  }
  mean /= inside;
  EXPECT_GT(mean[0], 0.5);
  const auto calculator = itk::ExplanationFaithfulnessCalculator<ImageType>::New();
  calculator->SetModel(grading);
  calculator->SetRegionImage(region);
  calculator->SetMapImage(head.Sequences[0]); // the random order knows no map
  calculator->SetBaseline(mean);
  calculator->SetClassToExplain(filter->GetExplainedClass());
  calculator->Compute();
  std::map<std::string, double> quality(filter->GetQuality().begin(), filter->GetQuality().end());
  EXPECT_NEAR(quality.at("chance-deletion-area"), calculator->GetChanceDeletionArea(), 1e-6);
  EXPECT_NEAR(quality.at("chance-insertion-area"), calculator->GetChanceInsertionArea(), 1e-6);
}

// A direction that is orthonormal within the tolerance only, as real files have it.
TEST(GliomaGradingFilter, ItsImagesHaveTheDirectionThatWasAnnounced)
{
  const TemporaryFolder folder;
  const SyntheticHead   head;
  auto                  direction = head.Tumour->GetDirection();
  direction[0][1] += 5e-4;
  head.Tumour->SetDirection(direction);
  for (const auto & sequence : head.Sequences)
  {
    sequence->SetDirection(direction);
  }
  itk::TorchModel::WriteSeededBundle(folder / "s", SegmentationManifest(), 3);
  SetTensor(folder / "s", "head.weight", { 0.0F });
  SetTensor(folder / "s", "head.bias", { -1.0F, 1.0F });
  const auto filter = Grading(head, Load(folder / "s"), LoadSeeded(folder / "g", GradingManifest(), 3));
  auto       masked = itk::MaskImageFilter<ImageType, MaskType>::New();
  masked->SetInput(head.Sequences[0]);
  masked->SetMaskImage(filter->GetOutput());
  masked->Update();
  EXPECT_EQ(filter->GetOutput()->GetDirection(), direction);
  masked->SetOutsideValue(-1.0F);
  EXPECT_NO_THROW(masked->Update());
  EXPECT_EQ(filter->GetBrainMask()->GetDirection(), direction);
  EXPECT_EQ(filter->GetTumourProbability()->GetDirection(), direction);
  EXPECT_EQ(filter->GetGradCAM("res3")->GetDirection(), direction);
  EXPECT_EQ(filter->GetGradCAMSupport("res3")->GetDirection(), direction);
  EXPECT_EQ(filter->GetGuidedBackpropagation()->GetDirection(), direction);
}

TEST(GliomaGradingFilter, CorrectsTheBiasOnceForModelsThatDifferInWhatFollows)
{
  const TemporaryFolder folder;
  const SyntheticHead   head;
  itk::TorchModel::WriteSeededBundle(folder / "s", SegmentationManifest(), 3);
  SetTensor(folder / "s", "head.weight", { 0.0F });
  SetTensor(folder / "s", "head.bias", { -1.0F, 1.0F });
  itk::TorchModelManifest manifest = GradingManifest();
  manifest.ChannelNames = { "FLAIR", "T1", "T2", "T1c" };
  manifest.LowerQuantile = 0.02;
  manifest.UpperQuantile = 0.9;
  manifest.OutsideValue = -3.0;
  const auto filter = Grading(head, Load(folder / "s"), LoadSeeded(folder / "g", manifest, 3));
  filter->SetExplain(Explain::None);
  filter->KeepIntermediatesOn();
  filter->Update();
  const auto & stages = filter->GetStageSeconds();
  EXPECT_EQ(std::count_if(stages.begin(), stages.end(), [](const auto & s) { return s.first == "bias-correction"; }),
            1);
  EXPECT_EQ(std::count_if(stages.begin(), stages.end(), [](const auto & s) { return s.first == "standardize"; }), 2);

  // What the grading model's own preparation gives.
  const auto own = itk::SequencePreparationFilter<ImageType, MaskType>::New();
  own->ClearSequenceNames();
  for (const std::string & name : manifest.ChannelNames)
  {
    own->AddSequenceName(name);
    own->SetSequence(name, filter->GetSequence(name));
  }
  own->SetLowerQuantile(manifest.LowerQuantile);
  own->SetUpperQuantile(manifest.UpperQuantile);
  own->SetOutsideValue(static_cast<float>(manifest.OutsideValue));
  own->Update();
  EXPECT_TRUE(oblique::SameVoxels(filter->GetPrepared(), own->GetOutput()));
  EXPECT_EQ(own->GetCorrected("T1"), nullptr);
  ASSERT_EQ(filter->GetSequenceReports().size(), 4u);
  for (const auto & report : filter->GetSequenceReports())
  {
    const auto & reports = own->GetSequenceReports();
    const auto   same =
      std::find_if(reports.begin(), reports.end(), [&](const auto & other) { return other.Name == report.Name; });
    ASSERT_NE(same, reports.end());
    EXPECT_EQ(report.Mean, same->Mean);
    EXPECT_EQ(report.Sigma, same->Sigma);
    EXPECT_EQ(report.N4Iterations, same->N4Iterations);
    EXPECT_FALSE(report.N4Iterations.empty());
  }
}

TEST(GliomaGradingFilter, AHeadThatIsAskewIsStraightened)
{
  const TemporaryFolder folder;
  SyntheticHead         head;
  // Upright by its header, then taken on a grid that is turned by 20 degrees.
  MaskType::DirectionType upright;
  upright.SetIdentity();
  MaskType::DirectionType turned = upright;
  turned[0][0] = turned[1][1] = std::cos(0.35);
  turned[1][0] = std::sin(0.35);
  turned[0][1] = -turned[1][0];
  head.Brain->SetDirection(upright);
  auto grid = MaskType::New();
  grid->CopyInformation(head.Brain);
  grid->SetDirection(turned);
  itk::Index<3> start = head.Brain->GetLargestPossibleRegion().GetIndex();
  itk::Size<3>  size = head.Brain->GetLargestPossibleRegion().GetSize();
  for (unsigned int d = 0; d < 2; ++d)
  {
    size[d] += 24;
  }
  MaskType::PointType middle;
  itk::Index<3>       centre = start;
  for (unsigned int d = 0; d < 3; ++d)
  {
    centre[d] += static_cast<itk::IndexValueType>(head.Brain->GetLargestPossibleRegion().GetSize(d) / 2);
  }
  head.Brain->TransformIndexToPhysicalPoint(centre, middle);
  grid->SetRegions(itk::ImageRegion<3>(start, size));
  MaskType::PointType at;
  grid->TransformIndexToPhysicalPoint({ { start[0] + 30, start[1] + 29, centre[2] } }, at);
  grid->SetOrigin(grid->GetOrigin() + (middle - at));
  for (auto & sequence : head.Sequences)
  {
    sequence->SetDirection(upright);
    auto resample = itk::ResampleImageFilter<ImageType, ImageType>::New();
    resample->SetInput(sequence);
    resample->SetInterpolator(itk::NearestNeighborInterpolateImageFunction<ImageType, double>::New());
    resample->SetSize(size);
    resample->SetOutputStartIndex(start);
    resample->SetOutputOrigin(grid->GetOrigin());
    resample->SetOutputSpacing(grid->GetSpacing());
    resample->SetOutputDirection(turned);
    resample->Update();
    const itk::MetaDataDictionary dictionary = sequence->GetMetaDataDictionary();
    sequence = resample->GetOutput();
    sequence->DisconnectPipeline();
    sequence->SetMetaDataDictionary(dictionary);
  }

  // All of the brain is tumour.
  itk::TorchModel::WriteSeededBundle(folder / "s", SegmentationManifest(), 3);
  SetTensor(folder / "s", "head.weight", { 0.0F });
  SetTensor(folder / "s", "head.bias", { -0.5F, 0.5F });
  const auto              filter = Grading(head, Load(folder / "s"), LoadSeeded(folder / "g", GradingManifest(), 3));
  itk::TorchModelManifest ofBrain = GradingManifest();
  ofBrain.BiasCorrection = "none";
  ofBrain.Region = "brain";
  ofBrain.FitMode = "stretch";
  filter->SetBrainGradingModel(LoadSeeded(folder / "b", ofBrain, 3));
  filter->SetRegionLabelsImage(head.Brain);
  filter->SetClassToExplain(0);
  itk::ReviewThresholds all;
  all.LargestFilledShare = 1.0;
  filter->SetReviewThresholds(all);
  // A run that ends while it turns back leaves no half labels to the next one.
  const auto factory = ResamplingFactory::New();
  itk::ObjectFactoryBase::RegisterFactory(factory);
  const auto turnsBack = filter->AddObserver(itk::ProgressEvent(), [&](const itk::EventObject &) {
    if (std::string(filter->GetCurrentStage()) == "turn-back")
    {
      ResamplingWithoutMemory::s_Left = 2;
    }
  });
  EXPECT_THROW(filter->Update(), std::bad_alloc);
  filter->RemoveObserver(turnsBack);
  itk::ObjectFactoryBase::UnRegisterFactory(factory);
  filter->Update();
  EXPECT_TRUE(filter->GetWasTurnedUpright());
  EXPECT_EQ(filter->GetBrainProbabilities().size(), 2u);
  EXPECT_EQ(filter->GetProbabilitiesWithoutTumour().size(), 2u);
  EXPECT_NEAR(filter->GetFilledShare(), 1.0, 0.01); // there is nothing but tumour
  ExpectGridAndDictionary(filter->GetBrainGuidedBackpropagation(), head.Sequences[0]);
  ExpectGridAndDictionary(filter->GetBrainGradCAM("res4"), head.Sequences[0]);
  ExpectGridAndDictionary(filter->GetBrainGradCAMSupport("res4"), head.Sequences[0]);
  std::set<std::string> numbers;
  for (const auto & number : filter->GetQuality())
  {
    numbers.insert(number.first);
  }
  EXPECT_TRUE(numbers.count("brain-gradcam-res4-tumour-ratio"));
  EXPECT_TRUE(numbers.count("guided-backprop-label-1-share"));
  ExpectGridAndDictionary(filter->GetOutput(), head.Sequences[0]);
  ExpectGridAndDictionary(filter->GetTumourProbability(), head.Sequences[0]);
  ExpectGridAndDictionary(filter->GetBrainMask(), head.Sequences[0]);
  ExpectGridAndDictionary(filter->GetGradCAM("res3"), head.Sequences[0]);
  ExpectGridAndDictionary(filter->GetGradCAMSupport("res3"), head.Sequences[0]);
  ExpectGridAndDictionary(filter->GetGuidedBackpropagation(), head.Sequences[0]);
  double both = 0.0;
  double sum = 0.0;
  double reached = 0.0;
  for (itk::SizeValueType i = 0; i < grid->GetLargestPossibleRegion().GetNumberOfPixels(); ++i)
  {
    const bool brain = filter->GetBrainMask()->GetBufferPointer()[i] != 0;
    const bool label = filter->GetOutput()->GetBufferPointer()[i] != 0;
    EXPECT_EQ(brain, head.Sequences[0]->GetBufferPointer()[i] != 0.0F);
    EXPECT_TRUE(brain || !label);
    both += brain && label;
    sum += brain + label;
    reached += filter->GetGradCAMSupport("res3")->GetBufferPointer()[i] != 0;
    if (!filter->GetGradCAMSupport("res3")->GetBufferPointer()[i])
    {
      ASSERT_EQ(filter->GetGradCAM("res3")->GetBufferPointer()[i], 0.0F);
    }
  }
  EXPECT_GT(2.0 * both / sum, 0.97);
  EXPECT_GT(reached, 100.0);
  EXPECT_NEAR(filter->GetTumourVolume(), 0.5 * sum * 4.0 * 5.0 * 4.5 * 1e-3, 20.0);
  ASSERT_EQ(filter->GetProbabilities().size(), 2u);
  EXPECT_FALSE(filter->GetQuality().empty());

  const std::vector<double> probabilities = filter->GetProbabilities();
  filter->SetClassToExplain(1);
  filter->Update();
  EXPECT_EQ(filter->GetExplainedClass(), 1u);
  EXPECT_EQ(filter->GetProbabilities(), probabilities);
  EXPECT_FALSE(StagesOf(filter).count("bias-correction"));

  // A mask is looked at on the grid that it is given on.
  auto beside = MaskType::New();
  beside->CopyInformation(head.Sequences[0]);
  beside->SetRegions(head.Sequences[0]->GetLargestPossibleRegion());
  beside->Allocate(true);
  const auto voxels = beside->GetLargestPossibleRegion().GetNumberOfPixels();
  for (itk::SizeValueType i = voxels / 3; i < voxels; ++i)
  {
    beside->GetBufferPointer()[i] = head.Sequences[0]->GetBufferPointer()[i] == 0.0F ? 1 : 0;
  }
  filter->SetTumourMaskImage(beside);
  EXPECT_CONTAINS(MessageOf(filter), "of the tumour mask lies in the brain");
  itk::SizeValueType inside = 0;
  for (itk::SizeValueType i = voxels / 2; i < voxels && inside < voxels / 50; ++i)
  {
    const bool isBrain = head.Sequences[0]->GetBufferPointer()[i] != 0.0F;
    inside += isBrain ? 1 : 0;
    beside->GetBufferPointer()[i] = 1;
  }
  beside->Modified();
  filter->GradeWithoutTumourOff();
  filter->Update();
  EXPECT_TRUE(filter->GetWasTurnedUpright());
  EXPECT_TRUE(filter->GetProbabilitiesWithoutTumour().empty());
  EXPECT_TRUE(std::isnan(filter->GetFilledShare()));
  EXPECT_FALSE(StagesOf(filter).count("grade-without-tumour"));
  const auto & reasons = filter->GetReviewReasons();
  EXPECT_EQ(std::count_if(reasons.begin(),
                          reasons.end(),
                          [](const std::string & reason) {
                            return reason.find("of the tumour mask lie outside the brain") != std::string::npos;
                          }),
            1);
  filter->SetTumourMaskImage(nullptr);

  filter->TurnUprightOff();
  filter->Update();
  EXPECT_FALSE(filter->GetWasTurnedUpright());
  EXPECT_NE(filter->GetProbabilities(), probabilities);
}

TEST(GliomaGradingFilter, GivesNoGradeWithoutATumour)
{
  const TemporaryFolder folder;
  const SyntheticHead   head;
  itk::TorchModel::WriteSeededBundle(folder / "s", SegmentationManifest(), 1);
  SetTensor(folder / "s", "head.weight", { 0.0F });
  SetTensor(folder / "s", "head.bias", { 3.0F, -3.0F });
  const auto filter = Grading(head, Load(folder / "s"), LoadSeeded(folder / "g", GradingManifest()));
  filter->Update();
  EXPECT_FALSE(filter->GetTumourFound());
  EXPECT_EQ(std::string(filter->GetGrade()), "");
  EXPECT_TRUE(filter->GetProbabilities().empty());
  EXPECT_EQ(filter->GetTumourVolume(), 0.0);
  ASSERT_FALSE(filter->GetReviewReasons().empty());
  EXPECT_EQ(filter->GetReviewReasons().front(), "no tumour was found");
  EXPECT_EQ(filter->GetGuidedBackpropagation(), nullptr);
  EXPECT_EQ(StagesOf(filter).count("grade-and-explain"), 0u);
  ExpectGridAndDictionary(filter->GetOutput(), head.Sequences[0]);
  // softmax(3, -3)
  const float peak = *std::max_element(filter->GetTumourProbability()->GetBufferPointer(),
                                       filter->GetTumourProbability()->GetBufferPointer() +
                                         head.Brain->GetLargestPossibleRegion().GetNumberOfPixels());
  EXPECT_NEAR(peak, 1.0 / (1.0 + std::exp(6.0)), 1e-6);
}

TEST(GliomaGradingFilter, TheBrainsSurfaceIsNotWashedOut)
{
  const TemporaryFolder folder;
  const SyntheticHead   head;
  itk::TorchModel::WriteSeededBundle(folder / "s", SegmentationManifest(), 1);
  SetTensor(folder / "s", "head.weight", { 0.0F });
  SetTensor(folder / "s", "head.bias", { -0.5F, 0.5F });
  const auto filter = Grading(head, Load(folder / "s"), LoadSeeded(folder / "g", GradingManifest()));
  filter->SetExplain(Explain::None);
  filter->Update();
  // The same probability everywhere: nearly the whole brain is above one half, also beside the background.
  EXPECT_GT(filter->GetTumourVolume(), 0.98 * filter->GetBrainVolume());
}

TEST(GliomaGradingFilter, TheRegionIsTheTumoursCube)
{
  const TemporaryFolder folder;
  const SyntheticHead   head;
  const auto            filter = Grading(head, nullptr, LoadSeeded(folder / "g", GradingManifest()));
  filter->SetTumourMaskImage(head.Tumour);
  filter->SetExplain(Explain::None);
  filter->Update();
  itk::Index<3> lower = { { 1000, 1000, 1000 } };
  itk::Index<3> upper = { { -1000, -1000, -1000 } };
  for (itk::ImageRegionIteratorWithIndex<MaskType> voxel(head.Tumour, head.Tumour->GetLargestPossibleRegion());
       !voxel.IsAtEnd();
       ++voxel)
  {
    for (unsigned int d = 0; voxel.Get() && d < 3; ++d)
    {
      lower[d] = std::min(lower[d], voxel.GetIndex()[d]);
      upper[d] = std::max(upper[d], voxel.GetIndex()[d]);
    }
  }
  const auto & report = filter->GetRegionReport();
  EXPECT_EQ(report.Box.GetIndex(), lower);
  EXPECT_EQ(report.Box.GetUpperIndex(), upper);
  double                          side = 0.0;
  itk::ContinuousIndex<double, 3> middle;
  for (unsigned int d = 0; d < 3; ++d)
  {
    side = std::max(side, (static_cast<double>(upper[d] - lower[d] + 1) + 2.0 * 2.0) * head.Tumour->GetSpacing()[d]);
    middle[d] = 0.5 * static_cast<double>(lower[d] + upper[d]);
  }
  itk::Point<double, 3> centre;
  head.Tumour->TransformContinuousIndexToPhysicalPoint(middle, centre);
  for (unsigned int d = 0; d < 3; ++d)
  {
    EXPECT_NEAR(report.Sides[d], side, 1e-9);
    EXPECT_NEAR(report.Spacing[d], side / 72.0, 1e-9);
    EXPECT_NEAR(report.Centre[d], centre[d], 1e-9);
  }
}

// What it says without the tumour is what the filters say, one after the other.
TEST(GliomaGradingFilter, GradesASecondTimeWithoutTheTumour)
{
  const TemporaryFolder   folder;
  const SyntheticHead     head;
  itk::TorchModelManifest manifest = GradingManifest();
  manifest.Orientation = "RPS";
  manifest.Spacing = { { 4.5, 4.5, 4.5 } };
  const auto grading = LoadSeeded(folder / "g", manifest, 3);
  const auto filter = Grading(head, nullptr, grading);
  filter->SetTumourMaskImage(head.Tumour);
  filter->SetExplain(Explain::None);
  filter->KeepIntermediatesOn();
  filter->Update();
  const std::vector<double> without = filter->GetProbabilitiesWithoutTumour();
  ASSERT_EQ(without.size(), 2U);
  EXPECT_NE(without, filter->GetProbabilities());
  EXPECT_NEAR(without[0] + without[1], 1.0, 1e-9);

  using VectorType = itk::VectorImage<float, 3>;
  const auto copyOf = [](const auto * image) {
    const auto copy = std::remove_const_t<std::remove_pointer_t<decltype(image)>>::New();
    copy->Graft(image);
    return copy;
  };
  const auto replacement = itk::TumourReplacementFilter<VectorType, MaskType>::New();
  replacement->SetInput(copyOf(filter->GetPrepared()));
  replacement->SetTumourMaskImage(copyOf(filter->GetOutput()));
  replacement->SetBrainMaskImage(copyOf(filter->GetBrainMask()));
  replacement->Update();
  EXPECT_EQ(filter->GetFilledShare(), replacement->GetFilledShare());
  itk::ContinuousIndex<double, 3> centre;
  centre.Fill(0.0);
  double inside = 0.0;
  for (itk::ImageRegionConstIteratorWithIndex<MaskType> voxel(filter->GetBrainMask(),
                                                              filter->GetBrainMask()->GetLargestPossibleRegion());
       !voxel.IsAtEnd();
       ++voxel)
  {
    for (unsigned int d = 0; voxel.Get() != 0 && d < 3; ++d)
    {
      centre[d] += static_cast<double>(voxel.GetIndex()[d]);
    }
    inside += voxel.Get() != 0 ? 1.0 : 0.0;
  }
  for (unsigned int d = 0; d < 3; ++d)
  {
    centre[d] /= inside;
  }
  // On the model's grid, whose voxels lie in physical space where the header says, as the region's do. The background
  // is 0.
  const auto classify = [&](const VectorType * prepared) {
    const auto toModel = itk::ModelSpaceFilter<VectorType>::New();
    toModel->SetInput(prepared);
    toModel->SetOutputOrientation(manifest.Orientation);
    toModel->SetOutputSpacing(VectorType::SpacingType(manifest.Spacing.data()));
    toModel->SetAnchor(centre);
    const auto resample = itk::ResampleImageFilter<VectorType, VectorType>::New();
    resample->SetInput(toModel->GetOutput());
    resample->SetReferenceImage(filter->GetRegionImage());
    resample->UseReferenceImageOn();
    resample->SetDefaultPixelValue(itk::VariableLengthVector<float>(std::vector<float>(4, 0.0F).data(), 4));
    const auto classifier = itk::GradeClassifierFilter<VectorType>::New();
    classifier->SetModel(grading);
    classifier->SetInput(resample->GetOutput());
    classifier->Update();
    return classifier->GetLogits()[1] - classifier->GetLogits()[0];
  };
  const double with = classify(filter->GetPrepared());
  const double replaced = classify(replacement->GetOutput());
  const double difference = std::log(without[1] / without[0]);
  EXPECT_GT(std::abs(with - replaced), 1e-4);
  EXPECT_NEAR(with, filter->GetLogits()[1] - filter->GetLogits()[0], 0.02 * std::abs(with - replaced));
  EXPECT_NEAR(replaced, difference, 0.02 * std::abs(with - replaced));

  // It is a part of the case, not of what explains it.
  filter->SetExplain(Explain::GuidedBackpropagation);
  filter->Update();
  EXPECT_FALSE(StagesOf(filter).count("grade-without-tumour"));
  EXPECT_EQ(filter->GetProbabilitiesWithoutTumour(), without);
  // Where too much has nothing opposite it is not known, and where it is not asked for.
  itk::ReviewThresholds limits;
  limits.LargestFilledShare = -1.0;
  limits.TumourEffect = 1.1;
  filter->SetReviewThresholds(limits);
  filter->Update();
  EXPECT_TRUE(filter->GetProbabilitiesWithoutTumour().empty());
  EXPECT_EQ(filter->GetFilledShare(), replacement->GetFilledShare());
  EXPECT_EQ(std::count_if(filter->GetReviewReasons().begin(),
                          filter->GetReviewReasons().end(),
                          [](const std::string & reason) { return reason.find("come from") != std::string::npos; }),
            0);
  filter->GradeWithoutTumourOff();
  filter->Update();
  EXPECT_TRUE(filter->GetProbabilitiesWithoutTumour().empty());
  EXPECT_TRUE(std::isnan(filter->GetFilledShare()));
}

// An island of a tenth of the tumour stretches the region by default, and not where the model asks for larger parts.
TEST(GliomaGradingFilter, IslandsStretchTheRegionAsTheModelAsks)
{
  const TemporaryFolder folder;
  SyntheticHead         head;
  const auto            whole = head.Tumour->GetLargestPossibleRegion();
  std::size_t           voxels = 0;
  itk::Index<3>         lowest = whole.GetUpperIndex();
  for (itk::ImageRegionIteratorWithIndex<MaskType> voxel(head.Tumour, whole); !voxel.IsAtEnd(); ++voxel)
  {
    voxels += voxel.Get() != 0 ? 1 : 0;
    lowest[2] = voxel.Get() != 0 ? std::min(lowest[2], voxel.GetIndex()[2]) : lowest[2];
  }
  std::size_t island = 0;
  for (itk::ImageRegionIteratorWithIndex<MaskType> voxel(head.Tumour, whole); !voxel.IsAtEnd(); ++voxel)
  {
    if (voxel.GetIndex()[2] < lowest[2] - 1 && island < voxels / 10)
    {
      voxel.Set(1);
      ++island;
    }
  }
  ASSERT_EQ(island, voxels / 10);

  auto manifest = GradingManifest();
  ASSERT_EQ(manifest.MinimumComponentShare, 0.05);
  const auto sideOf = [&](double share) {
    manifest.MinimumComponentShare = share;
    const auto filter = Grading(head, nullptr, LoadSeeded(folder / std::to_string(share), manifest));
    filter->SetTumourMaskImage(head.Tumour);
    filter->SetExplain(Explain::None);
    filter->Update();
    EXPECT_FALSE(filter->GetRegionReport().SeveralFoci) << share; // below ReviewThresholds::FocusShare
    return filter->GetRegionReport().Sides[0];
  };
  EXPECT_GT(sideOf(0.05), sideOf(0.25) + 1.0);
}

// A mask's small parts are left out, as the segmentation model asks.
TEST(GliomaGradingFilter, TheMaskHasNoPartsSmallerThanTheModelAsks)
{
  const TemporaryFolder folder;
  const SyntheticHead   head;
  const auto            grading = LoadSeeded(folder / "g", GradingManifest());
  auto                  manifest = SegmentationManifest();
  ASSERT_EQ(manifest.MinimumComponentShare, 0.05);
  std::size_t before = std::numeric_limits<std::size_t>::max();
  for (const double share : { 0.0, 0.05, 0.1, 1.0 })
  {
    manifest.MinimumComponentShare = share;
    const auto filter = Grading(head, LoadSeeded(folder / std::to_string(share), manifest, 8), grading);
    filter->SetExplain(Explain::None);
    filter->Update();

    using CountsType = itk::Image<unsigned short, 3>;
    auto above = itk::BinaryThresholdImageFilter<itk::Image<float, 3>, MaskType>::New();
    above->SetInput(filter->GetTumourProbability());
    above->SetLowerThreshold(std::nextafter(0.5F, 1.0F));
    above->SetInsideValue(1);
    auto parts = itk::ConnectedComponentImageFilter<MaskType, CountsType>::New();
    parts->SetInput(above->GetOutput());
    parts->FullyConnectedOn();
    auto sorted = itk::RelabelComponentImageFilter<CountsType, CountsType>::New();
    sorted->SetInput(parts->GetOutput());
    sorted->Update();
    const auto & sizes = sorted->GetSizeOfObjectsInPixels();
    const auto   smallest = share * static_cast<double>(sizes.front());
    std::size_t  kept = 0;
    while (kept < sizes.size() && static_cast<double>(sizes[kept]) >= smallest)
    {
      ++kept;
    }
    EXPECT_LT(kept, before);
    before = kept;
    EXPECT_TRUE(kept == sizes.size() || share > 0.0);
    itk::ImageRegionConstIterator<CountsType> part(sorted->GetOutput(), sorted->GetOutput()->GetBufferedRegion());
    itk::ImageRegionConstIterator<MaskType>   label(filter->GetOutput(), part.GetRegion());
    for (; !part.IsAtEnd(); ++part, ++label)
    {
      ASSERT_EQ(label.Get() != 0, part.Get() >= 1 && part.Get() <= kept) << share;
    }
  }
  EXPECT_EQ(before, 1u);
}

// With the statistics of the whole image the background is -mean/sd, and so is what lies beyond the image.
TEST(GliomaGradingFilter, TheBackgroundGoesOnBeyondTheImage)
{
  const TemporaryFolder folder;
  const SyntheticHead   head;
  auto                  segments = TinySegmentationManifest();
  auto                  grades = TinyGradingManifest();
  segments.Standardization = "image";
  grades.Standardization = "image";
  // the head's own grid: nothing is resampled
  for (unsigned int d = 0; d < 3; ++d)
  {
    segments.Spacing[d] = head.Brain->GetSpacing()[d];
    grades.Spacing[d] = head.Brain->GetSpacing()[d];
  }
  grades.Margin = 20.0;
  const auto segmentation = LoadSeeded(folder / "s", segments, 3);
  const auto filter = Grading(head, segmentation, LoadSeeded(folder / "g", grades));
  filter->SetExplain(Explain::None);
  filter->KeepIntermediatesOn();
  filter->Update();

  std::array<double, 4> background;
  for (unsigned int c = 0; c < 4; ++c)
  {
    const auto & report = filter->GetSequenceReports()[c];
    background[c] = -report.Mean / report.Sigma;
    EXPECT_LT(background[c], -0.3);
    EXPECT_NEAR(report.Background, background[c], 1e-12);
  }

  // The tiles' halo, which is wider than the head's own border: the same as on a larger image.
  const auto prepared = filter->GetPrepared();
  using VectorType = itk::VectorImage<float, 3>;
  itk::ImageRegion<3> large = prepared->GetLargestPossibleRegion();
  const auto          part = large;
  large.PadByRadius(24);
  // Its poolings' cells hang on the brain's centroid, as the composite's do.
  itk::Vector<double, 3> sum;
  sum.Fill(0.0);
  double inside = 0.0;
  for (itk::ImageRegionConstIteratorWithIndex<MaskType> it(filter->GetBrainMask(), part); !it.IsAtEnd(); ++it)
  {
    for (unsigned int d = 0; d < 3; ++d)
    {
      sum[d] += it.Get() ? static_cast<double>(it.GetIndex()[d]) : 0.0;
    }
    inside += it.Get() ? 1.0 : 0.0;
  }
  const auto step = static_cast<itk::IndexValueType>(segmentation->GetManifest().TileStep);
  ASSERT_GT(step, 1);
  for (unsigned int d = 0; d < 3; ++d)
  {
    const auto extra = step - (std::lround(sum[d] / inside) - large.GetIndex(d)) % step;
    large.SetIndex(d, large.GetIndex(d) - extra);
    large.SetSize(d, large.GetSize(d) + static_cast<itk::SizeValueType>(extra));
  }
  auto image = VectorType::New();
  auto brain = MaskType::New();
  image->CopyInformation(prepared);
  brain->CopyInformation(prepared);
  image->SetRegions(large);
  image->Allocate();
  brain->SetRegions(large);
  brain->Allocate(true);
  itk::VariableLengthVector<float> voxel(4);
  for (unsigned int c = 0; c < 4; ++c)
  {
    voxel[c] = static_cast<float>(background[c]);
  }
  image->FillBuffer(voxel);
  itk::ImageAlgorithm::Copy(prepared, image.GetPointer(), part, part);
  itk::ImageAlgorithm::Copy(filter->GetBrainMask(), brain.GetPointer(), part, part);
  using SegmentationType = itk::TorchSegmentationFilter<VectorType, MaskType>;
  const auto whole = SegmentationType::New();
  whole->SetInput(image);
  whole->SetMaskImage(brain);
  whole->SetModel(segmentation);
  whole->GenerateProbabilitiesOn();
  whole->Update();
  double                                                       difference = 0.0;
  itk::ImageRegionConstIteratorWithIndex<itk::Image<float, 3>> it(filter->GetTumourProbability(), part);
  for (; !it.IsAtEnd(); ++it)
  {
    difference = std::max<double>(
      difference,
      std::abs(it.Get() -
               (brain->GetPixel(it.GetIndex()) ? whole->GetProbabilities()->GetPixel(it.GetIndex())[1] : 0.0F)));
  }
  EXPECT_LT(difference, 1e-5);

  // The region's corners lie beyond the image.
  ASSERT_TRUE(filter->GetTumourFound());
  EXPECT_TRUE(filter->GetRegionReport().LeavesImage);
  const auto region = filter->GetRegionImage();
  ASSERT_NE(region, nullptr);
  const auto corner = region->GetPixel({ { 0, 0, 0 } });
  for (unsigned int c = 0; c < 4; ++c)
  {
    EXPECT_EQ(corner[c], voxel[c]);
  }
}

TEST(GliomaGradingFilter, ShowsAWholeBrainGraderTheBrainsBox)
{
  const TemporaryFolder   folder;
  const SyntheticHead     head;
  itk::TorchModelManifest manifest = GradingManifest();
  manifest.Region = "brain";
  manifest.FitMode = "stretch";
  manifest.Margin = 0.0;
  const auto filter =
    Grading(head, LoadSeeded(folder / "s", SegmentationManifest()), LoadSeeded(folder / "g", manifest));
  filter->SetTumourMaskImage(head.Tumour);
  filter->Update();
  ASSERT_TRUE(filter->GetTumourFound());

  // The brain's box in indices of the input; the region's sides are its own, to a voxel of the model at each end.
  const MaskType *                                 brain = filter->GetBrainMask();
  itk::Index<3>                                    low = brain->GetLargestPossibleRegion().GetUpperIndex();
  itk::Index<3>                                    high = brain->GetLargestPossibleRegion().GetIndex();
  itk::ImageRegionConstIteratorWithIndex<MaskType> it(brain, brain->GetLargestPossibleRegion());
  for (; !it.IsAtEnd(); ++it)
  {
    for (unsigned int d = 0; it.Get() && d < 3; ++d)
    {
      low[d] = std::min(low[d], it.GetIndex()[d]);
      high[d] = std::max(high[d], it.GetIndex()[d]);
    }
  }
  for (unsigned int d = 0; d < 3; ++d)
  {
    const double side = brain->GetSpacing()[d] * static_cast<double>(high[d] - low[d] + 1);
    EXPECT_NEAR(filter->GetRegionReport().Sides[d], side, 2.0 * manifest.Spacing[d] + 1e-9);
  }
  EXPECT_FALSE(filter->GetRegionReport().Tiny);
  EXPECT_FALSE(filter->GetRegionReport().TouchesBorder);
}

// Two graders beside each other: the second gives what it gives alone, and the verdict tells where they disagree.
TEST(GliomaGradingFilter, ASecondGraderSeesTheWholeBrain)
{
  const TemporaryFolder   folder;
  const SyntheticHead     head;
  itk::TorchModelManifest ofTumour = GradingManifest();
  ofTumour.BiasCorrection = "none";
  itk::TorchModelManifest ofBrain = ofTumour;
  ofBrain.Region = "brain";
  ofBrain.FitMode = "stretch";
  ofBrain.Margin = 0.0;
  const auto regions = MaskType::New();
  regions->CopyInformation(head.Brain);
  regions->SetRegions(head.Brain->GetLargestPossibleRegion());
  regions->Allocate();
  for (itk::ImageRegionIteratorWithIndex<MaskType> it(regions, regions->GetLargestPossibleRegion()); !it.IsAtEnd();
       ++it)
  {
    it.Set(it.GetIndex()[0] % 3 == 0 ? 7 : 2);
  }

  itk::TorchModel::WriteSeededBundle(folder / "g", ofTumour, 3);
  SetTensor(folder / "g", "fc3.bias", { 1000.0F, -1000.0F });
  const auto filter = Grading(head, nullptr, Load(folder / "g"));
  filter->SetTumourMaskImage(head.Tumour);
  filter->SetRegionLabelsImage(regions);
  filter->Update();
  EXPECT_TRUE(filter->GetBrainGrade().empty());
  EXPECT_TRUE(filter->GetBrainProbabilities().empty());
  EXPECT_TRUE(filter->GetBrainGradCAMLayers().empty());
  EXPECT_EQ(filter->GetBrainGuidedBackpropagation(), nullptr);
  const auto has = [&](const std::string & start) {
    const auto & reasons = filter->GetReviewReasons();
    return std::count_if(
      reasons.begin(), reasons.end(), [&](const std::string & reason) { return reason.rfind(start, 0) == 0; });
  };
  EXPECT_EQ(has("the graders disagree"), 0);

  // Added afterwards it runs alone.
  itk::TorchModel::WriteSeededBundle(folder / "b", ofBrain, 5);
  SetTensor(folder / "b", "fc3.bias", { -1000.0F, 1000.0F });
  const auto brainModel = Load(folder / "b");
  filter->SetBrainGradingModel(brainModel);
  filter->Update();
  EXPECT_EQ(StagesOf(filter), (std::set<std::string>{ "grade-and-explain", "maps", "grade-whole-brain", "quality" }));
  EXPECT_STREQ(filter->GetGrade(), "LGG");
  EXPECT_EQ(filter->GetBrainGrade(), "HGG");
  EXPECT_EQ(filter->GetBrainExplainedClass(), 1U);
  EXPECT_EQ(has("the graders disagree: from the tumour's region LGG"), 1);

  const auto alone = Grading(head, nullptr, brainModel);
  alone->SetTumourMaskImage(head.Tumour);
  alone->SetRegionLabelsImage(regions);
  alone->Update();
  EXPECT_EQ(filter->GetBrainProbabilities(), alone->GetProbabilities());
  EXPECT_EQ(filter->GetBrainRegionSpacing(), (itk::Vector<double, 3>(alone->GetRegionReport().Spacing.data())));
  ExpectGridAndDictionary(filter->GetBrainGuidedBackpropagation(), head.Sequences[0]);
  EXPECT_TRUE(oblique::SameVoxels(filter->GetBrainGuidedBackpropagation(), alone->GetGuidedBackpropagation()));
  ASSERT_EQ(filter->GetBrainGradCAMLayers(), (std::vector<std::string>{ "res3", "res4" }));
  for (const std::string & layer : filter->GetBrainGradCAMLayers())
  {
    ExpectGridAndDictionary(filter->GetBrainGradCAM(layer), head.Sequences[0]);
    EXPECT_TRUE(oblique::SameVoxels(filter->GetBrainGradCAM(layer), alone->GetGradCAM(layer)));
    EXPECT_TRUE(oblique::SameVoxels(filter->GetBrainGradCAMSupport(layer), alone->GetGradCAMSupport(layer)));
    EXPECT_EQ(filter->GetBrainGradCAMHasPositiveCell(layer), alone->GetGradCAMHasPositiveCell(layer));
  }

  // Every number of its maps is there, under a name of its own; border numbers are for maps of the whole brain too.
  std::map<std::string, double> quality;
  for (const auto & number : filter->GetQuality())
  {
    EXPECT_TRUE(quality.emplace(number).second) << number.first;
  }
  std::size_t ofMaps = 0;
  for (const auto & number : alone->GetQuality())
  {
    if (number.first.rfind("gradcam-", 0) == 0 || number.first.rfind("guided-backprop-", 0) == 0)
    {
      ++ofMaps;
      ASSERT_EQ(quality.count("brain-" + number.first), 1U) << number.first;
      const double value = quality.at("brain-" + number.first);
      EXPECT_TRUE(value == number.second || (std::isnan(value) && std::isnan(number.second))) << number.first;
    }
  }
  EXPECT_GT(ofMaps, 60U);
  EXPECT_EQ(quality.count("brain-gradcam-res3-border-ratio"), 1U);
  EXPECT_EQ(quality.count("gradcam-res3-border-ratio"), 0U);
  EXPECT_NEAR(
    quality.at("brain-guided-backprop-label-2-share") + quality.at("brain-guided-backprop-label-7-share"), 1.0, 1e-9);
  EXPECT_NEAR(quality.at("guided-backprop-label-7-share"),
              quality.at("guided-backprop-label-7-chance") * quality.at("guided-backprop-label-7-ratio"),
              1e-9);

  // Its maps have limits of their own.
  itk::ReviewThresholds limits;
  limits.BrainBorderRatio = limits.BorderRatio = 1e6;
  limits.BrainTumourRatio = limits.GuidedTumourRatio = 0.0;
  limits.OutsideShare = 1.0;
  filter->SetReviewThresholds(limits);
  filter->Update();
  EXPECT_EQ(has("border artefact suspected"), 0);
  limits.BrainBorderRatio = 0.0;
  limits.BrainTumourRatio = 1e6;
  filter->SetReviewThresholds(limits);
  filter->Update();
  EXPECT_EQ(has("border artefact suspected: brain-guided-backprop has"), 1);
  EXPECT_EQ(has("border artefact suspected: guided-backprop"), 0);
  EXPECT_EQ(has("the explanation lies outside the tumour: brain-guided-backprop has"), 1);

  // Taken away it leaves nothing.
  filter->SetBrainGradingModel(nullptr);
  filter->Update();
  EXPECT_TRUE(filter->GetBrainGrade().empty());
  EXPECT_EQ(filter->GetBrainGradCAM("res3"), nullptr);
  EXPECT_EQ(has("the graders disagree"), 0);

  filter->SetBrainGradingModel(filter->GetGradingModel());
  EXPECT_CONTAINS(MessageOf(filter), "is made for the region 'tumour', not for 'brain'");
  ofBrain.ClassNames = { "HGG", "LGG" };
  filter->SetBrainGradingModel(LoadSeeded(folder / "other", ofBrain));
  EXPECT_CONTAINS(MessageOf(filter), "do not have the same classes in the same order");
}

// What the first grader's preparation made is taken, and not made again, as far as it is the same.
TEST(GliomaGradingFilter, ASecondGraderTakesWhatIsPrepared)
{
  const TemporaryFolder   folder;
  const SyntheticHead     head;
  itk::TorchModelManifest ofBrain = GradingManifest();
  ofBrain.Region = "brain";
  ofBrain.FitMode = "stretch";
  itk::TorchModelManifest ofBrainElsewise = ofBrain;
  ofBrainElsewise.UpperQuantile = 0.9;
  itk::TorchModelManifest ofBrainOfImage = ofBrain;
  ofBrainOfImage.Standardization = "image";
  const auto   grading = LoadSeeded(folder / "g", GradingManifest(), 3);
  unsigned int number = 0;
  for (const itk::TorchModelManifest & manifest : { ofBrain, ofBrainElsewise, ofBrainOfImage })
  {
    const auto brainModel = LoadSeeded(folder / ("b" + std::to_string(number++)), manifest, 5);
    const auto filter = Grading(head, nullptr, grading);
    filter->SetTumourMaskImage(head.Tumour);
    filter->SetBrainGradingModel(brainModel);
    filter->SetExplain(Explain::GuidedBackpropagation);
    filter->Update();
    EXPECT_EQ(filter->GetPrepared(), nullptr);
    const auto alone = Grading(head, nullptr, brainModel);
    alone->SetTumourMaskImage(head.Tumour);
    alone->SetBrainMaskImage(filter->GetBrainMask());
    alone->SetExplain(Explain::GuidedBackpropagation);
    alone->Update();
    EXPECT_EQ(filter->GetBrainProbabilities(), alone->GetProbabilities()) << number;
    EXPECT_TRUE(oblique::SameVoxels(filter->GetBrainGuidedBackpropagation(), alone->GetGuidedBackpropagation()));
    std::map<std::string, double> quality(filter->GetQuality().begin(), filter->GetQuality().end());
    for (const auto & one : alone->GetQuality())
    {
      if (one.first.rfind("guided-backprop-", 0) == 0)
      {
        const double value = quality.at("brain-" + one.first);
        EXPECT_TRUE(value == one.second || (std::isnan(value) && std::isnan(one.second))) << one.first;
      }
    }
  }
}

// A grader of the whole brain does not hide that the tumour touches the image's border.
TEST(GliomaGradingFilter, AWholeBrainGraderKnowsOfATumourAtTheBorder)
{
  const TemporaryFolder   folder;
  const SyntheticHead     head;
  itk::TorchModelManifest manifest = GradingManifest();
  manifest.BiasCorrection = "none";
  manifest.Region = "brain";
  manifest.FitMode = "stretch";
  const auto whole = head.Tumour->GetLargestPossibleRegion();
  const auto filter = Grading(head, nullptr, LoadSeeded(folder / "g", manifest));
  filter->SetExplain(Explain::None);
  for (const bool atBorder : { false, true })
  {
    const auto tumour = MaskType::New();
    tumour->CopyInformation(head.Tumour);
    tumour->SetRegions(whole);
    tumour->Allocate(true);
    itk::Index<3> corner = whole.GetIndex();
    for (unsigned int d = 0; d < 3; ++d)
    {
      corner[d] += static_cast<itk::IndexValueType>(whole.GetSize(d) / 2) - 2;
    }
    corner[2] = atBorder ? whole.GetUpperIndex()[2] - 3 : corner[2];
    for (itk::ImageRegionIteratorWithIndex<MaskType> it(tumour, itk::ImageRegion<3>(corner, { { 4, 4, 4 } }));
         !it.IsAtEnd();
         ++it)
    {
      it.Set(1);
    }
    filter->SetTumourMaskImage(tumour);
    filter->Update();
    EXPECT_EQ(filter->GetRegionReport().TouchesBorder, atBorder);
    const auto & reasons = filter->GetReviewReasons();
    EXPECT_EQ(std::count(reasons.begin(), reasons.end(), "the tumour touches the border of the image"), atBorder);
  }
}

TEST(GliomaGradingFilter, LooksWhetherTheTumourMaskLiesInTheBrain)
{
  const TemporaryFolder   folder;
  const SyntheticHead     head;
  itk::TorchModelManifest manifest = GradingManifest();
  manifest.BiasCorrection = "none";
  const auto filter = Grading(head, nullptr, LoadSeeded(folder / "g", manifest));
  filter->SetBrainMaskImage(head.Brain);
  filter->SetExplain(Explain::None);
  const auto                  region = head.Brain->GetLargestPossibleRegion();
  const auto                  voxels = region.GetNumberOfPixels();
  const unsigned char * const brain = head.Brain->GetBufferPointer();
  const auto                  maskWith = [&](const auto & isTumour) {
    const auto mask = MaskType::New();
    mask->CopyInformation(head.Brain);
    mask->SetRegions(region);
    mask->Allocate(true);
    for (itk::SizeValueType i = 0; i < voxels; ++i)
    {
      mask->GetBufferPointer()[i] = isTumour(i) ? 1 : 0;
    }
    return mask;
  };
  filter->SetTumourMaskImage(maskWith([&](auto i) { return brain[i] == 0 && i > voxels / 2; }));
  EXPECT_CONTAINS(MessageOf(filter), "of the tumour mask lies in the brain");

  filter->SetTumourMaskImage(maskWith([&](auto i) { return brain[i] != 0; }));
  filter->Update();
  const auto has = [&](const std::string & reason) {
    const auto & reasons = filter->GetReviewReasons();
    return std::count(reasons.begin(), reasons.end(), reason) == 1;
  };
  EXPECT_TRUE(has("the tumour fills 100 % of the brain (flagged above 50 %)"));

  // Two voxels outside for each of the brain's.
  itk::SizeValueType inside = 0;
  itk::SizeValueType outside = 0;
  filter->SetTumourMaskImage(
    maskWith([&](auto i) { return i > voxels / 3 && (brain[i] != 0 ? inside++ < 150 : outside++ < 300); }));
  filter->Update();
  EXPECT_TRUE(has("67 % of the tumour mask lie outside the brain (flagged above 25 %)"));
}

TEST(GliomaGradingFilter, RefusesWhatItCannotUse)
{
  const TemporaryFolder folder;
  const SyntheticHead   head;
  const auto            segmentation = LoadSeeded(folder / "s", SegmentationManifest());
  const auto            grading = LoadSeeded(folder / "g", GradingManifest());

  EXPECT_CONTAINS(MessageOf(Grading(head, nullptr, grading)), "segmentation model is missing");
  EXPECT_CONTAINS(MessageOf(Grading(head, segmentation, nullptr)), "grading model is missing");
  EXPECT_CONTAINS(MessageOf(Grading(head, grading, grading)), "made for the task 'grading', not for 'segmentation'");
  auto unloaded = itk::TorchModel::New();
  unloaded->SetPath(folder / "g");
  EXPECT_CONTAINS(MessageOf(Grading(head, segmentation, unloaded)), "is not loaded");

  itk::TorchModelManifest anywhere = GradingManifest();
  anywhere.Region = "";
  EXPECT_CONTAINS(MessageOf(Grading(head, segmentation, LoadSeeded(folder / "b", anywhere))), "made for the region ''");
  itk::TorchModelManifest channels = GradingManifest();
  channels.ChannelNames = { "T1", "T2" };
  EXPECT_CONTAINS(MessageOf(Grading(head, segmentation, LoadSeeded(folder / "c", channels))),
                  "wants the channels T1, T2");

  auto wrongClass = Grading(head, segmentation, grading);
  wrongClass->SetClassToExplain(2);
  EXPECT_CONTAINS(MessageOf(wrongClass), "has 2 classes");

  auto mask = MaskType::New();
  mask->CopyInformation(head.Tumour);
  mask->SetRegions(head.Tumour->GetLargestPossibleRegion());
  mask->Allocate(true);
  auto masked = Grading(head, segmentation, grading);
  masked->SetTumourMaskImage(mask);
  EXPECT_CONTAINS(MessageOf(masked), "tumour mask is empty");
  mask->FillBuffer(1);
  mask->Modified();
  EXPECT_CONTAINS(MessageOf(masked), "tumour mask covers the whole image");
  auto origin = mask->GetOrigin();
  origin[2] += 1.0;
  mask->SetOrigin(origin);
  EXPECT_CONTAINS(MessageOf(masked), "grid of the tumour mask differs from the sequences' in origin (by 0.");

  // Before anything is read.
  auto sizes = Grading(head, segmentation, grading);
  sizes->SetSequence("T2", oblique::Make<ImageType>(36, 35, 32));
  try
  {
    sizes->UpdateOutputInformation();
    ADD_FAILURE() << "other sizes were accepted";
  }
  catch (const itk::ExceptionObject & error)
  {
    EXPECT_CONTAINS(error.GetDescription(), "The grids of T1 and T2 differ in size: [36, 35, 33] and [36, 35, 32]");
  }
}

TEST(GliomaGradingFilter, ReportsProgressAndStops)
{
  const TemporaryFolder folder;
  const SyntheticHead   head;
  const auto            segmentation = LoadSeeded(folder / "s", SegmentationManifest());
  const auto            grading = LoadSeeded(folder / "g", GradingManifest());
  const auto            filter = Grading(head, segmentation, grading);
  float                 last = 0.0F;
  filter->AddObserver(itk::ProgressEvent(), [&](const itk::EventObject &) {
    EXPECT_GE(filter->GetProgress(), last - 1e-3F);
    last = filter->GetProgress();
  });
  filter->Update();
  EXPECT_EQ(last, 1.0F);

  for (const char * const stage : { "bias-correction", "segment", "grade-without-tumour", "maps" })
  {
    const auto   stopped = Grading(head, segmentation, grading);
    FilterType * raw = stopped;
    stopped->AddObserver(itk::ProgressEvent(), [raw, stage](const itk::EventObject &) {
      if (std::string(raw->GetCurrentStage()) == stage)
      {
        raw->AbortGenerateDataOn();
      }
    });
    EXPECT_THROW(stopped->Update(), itk::ProcessAborted) << stage;
  }
  // Inside a stage too: between the backwards of an explanation, and between the runs of its test.
  for (const char * const stage : { "grade-and-explain", "test-explanation" })
  {
    const auto   stopped = Grading(head, segmentation, grading);
    FilterType * raw = stopped;
    unsigned int events = 0;
    stopped->TestExplanationOn();
    stopped->AddObserver(itk::ProgressEvent(), [raw, stage, &events](const itk::EventObject &) {
      if (std::string(raw->GetCurrentStage()) == stage && ++events == 3)
      {
        raw->AbortGenerateDataOn();
      }
    });
    EXPECT_THROW(stopped->Update(), itk::ProcessAborted) << stage;
    EXPECT_EQ(events, 3U) << stage;
  }
}

// A filter that is kept for the next run does not go on telling of the one that was stopped.
TEST(GliomaGradingFilter, AStoppedRunLeavesNoObserver)
{
  const TemporaryFolder   folder;
  const SyntheticHead     head;
  itk::TorchModelManifest ofTumour = GradingManifest();
  ofTumour.BiasCorrection = "none";
  itk::TorchModelManifest ofBrain = ofTumour;
  ofBrain.Region = "brain";
  ofBrain.FitMode = "stretch";
  const auto tumourModel = LoadSeeded(folder / "g", ofTumour);
  const auto brainModel = LoadSeeded(folder / "b", ofBrain);
  const auto make = [&] {
    auto filter = Grading(head, nullptr, tumourModel);
    filter->SetTumourMaskImage(head.Tumour);
    filter->SetBrainGradingModel(brainModel);
    filter->SetExplain(Explain::None);
    return filter;
  };
  const auto eventsOf = [](FilterType * filter) {
    unsigned int events = 0;
    const auto   observer = filter->AddObserver(itk::ProgressEvent(), [&events, filter](const itk::EventObject &) {
      events += std::string(filter->GetCurrentStage()) == "grade-whole-brain" ? 1 : 0;
    });
    filter->Update();
    filter->RemoveObserver(observer);
    return events;
  };
  const auto         fresh = make();
  const unsigned int expected = eventsOf(fresh);
  ASSERT_GT(expected, 2U);

  const auto   stopped = make();
  unsigned int events = 0;
  const auto   stop = stopped->AddObserver(itk::ProgressEvent(), [&](const itk::EventObject &) {
    if (std::string(stopped->GetCurrentStage()) == "grade-whole-brain" && ++events == 2)
    {
      stopped->AbortGenerateDataOn();
    }
  });
  EXPECT_THROW(stopped->Update(), itk::ProcessAborted);
  stopped->RemoveObserver(stop);
  // Some events come when a thread has time; a second observer would make twice as many.
  EXPECT_LT(eventsOf(stopped), expected + expected / 2);
}

// Two equal tumours, one of them at the image's border, and one sequence given twice; then limits that nothing meets.
TEST(GliomaGradingFilter, TheVerdictGivesReasonsInWords)
{
  const TemporaryFolder folder;
  const SyntheticHead   head;
  const auto            whole = head.Tumour->GetLargestPossibleRegion();
  const auto            tumour = MaskType::New();
  tumour->CopyInformation(head.Tumour);
  tumour->SetRegions(whole);
  tumour->Allocate();
  tumour->FillBuffer(0);
  itk::Index<3> corner = whole.GetIndex();
  corner[0] += 16;
  corner[1] += 16;
  for (const itk::IndexValueType z : { whole.GetIndex()[2], whole.GetIndex()[2] + 14 })
  {
    corner[2] = z;
    itk::ImageRegionIteratorWithIndex<MaskType> voxel(tumour, itk::ImageRegion<3>(corner, { { 4, 4, 4 } }));
    for (; !voxel.IsAtEnd(); ++voxel)
    {
      voxel.Set(1);
    }
  }
  const auto filter = Grading(head, nullptr, LoadSeeded(folder / "g", GradingManifest(), 3));
  // The same voxels are refused; the same image in other units is not seen there.
  for (itk::SizeValueType i = 0; i < whole.GetNumberOfPixels(); ++i)
  {
    head.Sequences[3]->GetBufferPointer()[i] = 2.0F * head.Sequences[2]->GetBufferPointer()[i];
  }
  filter->SetTumourMaskImage(tumour);
  itk::ReviewThresholds strict;
  strict.LargestSpacing = 4.75; // the head's is 5 mm
  strict.ProbabilityGap = 1.1;
  strict.TumourEffect = 1.1;
  strict.LargestFilledShare = 1.0;
  strict.BorderRatio = 0.0;
  strict.GuidedTumourRatio = 1e6;
  strict.TinyVolume = 1000.0;
  filter->SetReviewThresholds(strict);
  filter->Update();
  const auto raised = [&](const std::string & start) {
    const auto & reasons = filter->GetReviewReasons();
    return std::count_if(
      reasons.begin(), reasons.end(), [&](const std::string & reason) { return reason.rfind(start, 0) == 0; });
  };
  for (const char * reason : { "a sequence looks duplicated: T2 and FLAIR",
                               "the tumour has several foci",
                               "the tumour touches the border of the image",
                               "the tumour is tiny",
                               "the voxels measure 4 to 5 mm",
                               "the grade is undecided",
                               "the grade does not come from the tumour",
                               "border artefact suspected: guided-backprop",
                               "the explanation lies outside the tumour: guided-backprop" })
  {
    EXPECT_EQ(raised(reason), 1) << reason;
  }

  // Numbers of the maps, each sequence too; the border's are not GradCAM's.
  std::map<std::string, double> quality;
  for (const auto & number : filter->GetQuality())
  {
    EXPECT_TRUE(quality.emplace(number).second) << number.first;
  }
  EXPECT_GT(quality.at("guided-backprop-border-ratio"), 0.0);
  EXPECT_EQ(quality.count("gradcam-res3-border-ratio"), 0U);
  double shares = 0.0;
  for (const char * sequence : { "T1", "T1c", "T2", "FLAIR" })
  {
    shares += quality.at(std::string("guided-backprop-") + sequence + "-share");
  }
  EXPECT_NEAR(shares, 1.0, 1e-9);

  itk::ReviewThresholds lax = strict;
  lax.LargestSpacing = 10.0;
  lax.ProbabilityGap = 0.0;
  lax.TumourEffect = -1.1;
  lax.BorderRatio = 1e6;
  lax.GuidedTumourRatio = 0.0;
  lax.TinyVolume = 0.1;
  lax.DuplicateCorrelation = 2.0;
  lax.FocusShare = 2.0;
  filter->SetReviewThresholds(lax);
  filter->SetExplain(Explain::GuidedBackpropagation);
  filter->TestExplanationOn();
  filter->Update();
  for (const auto & number : filter->GetQuality())
  {
    quality[number.first] = number.second;
  }
  for (const char * name :
       { "guided-backprop-deletion-area", "guided-backprop-insertion-area", "chance-deletion-area" })
  {
    EXPECT_GT(quality[name], 0.0) << name;
    EXPECT_LT(quality[name], 1.0) << name;
  }
  EXPECT_LT(quality.at("guided-backprop-random-weights-rank-correlation"), 1.0);
  EXPECT_LT(quality.at("guided-backprop-random-weights-similarity"), 1.0);
  EXPECT_EQ(raised("the tumour touches the border of the image"), 1);
  for (const char * reason : { "a sequence", "the tumour has", "the tumour is", "the voxels", "the grade", "border" })
  {
    EXPECT_EQ(raised(reason), 0) << reason;
  }
}
