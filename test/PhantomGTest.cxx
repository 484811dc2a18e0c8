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

// The phantoms: random numbers against published vectors, the same bits for any number of threads, geometry, content,
// and the cohort on disk.

#include "CounterRandom.h"
#include "Phantom.h"
#include "PhantomCohort.h"
#include "PhantomStreams.h"
#include "SmoothNoise.h"

#include "itkImageFileReader.h"

#include <gtest/gtest.h>

#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <sys/resource.h>

namespace
{
namespace fs = std::filesystem;

glioma::Phantom
Make(std::uint64_t seed, std::uint64_t caseNumber, double spacing, unsigned int threads = 2)
{
  glioma::PhantomParameters parameters;
  parameters.seed = seed;
  parameters.caseNumber = caseNumber;
  parameters.spacing = spacing;
  parameters.threads = threads;
  return glioma::MakePhantom(parameters);
}

template <typename TImage>
bool
SameBits(const TImage * a, const TImage * b)
{
  return a->GetBufferedRegion() == b->GetBufferedRegion() &&
         std::memcmp(a->GetBufferPointer(),
                     b->GetBufferPointer(),
                     a->GetBufferedRegion().GetNumberOfPixels() * sizeof(typename TImage::PixelType)) == 0;
}

bool
SameBits(const glioma::Phantom & a, const glioma::Phantom & b)
{
  bool same = SameBits(a.labels.GetPointer(), b.labels.GetPointer());
  for (int s = 0; s < 4; ++s)
  {
    same = same && SameBits(a.images[s].GetPointer(), b.images[s].GetPointer());
  }
  return same;
}

// Slope of the line through the logarithms of the white matter's intensities over the true log field, where there is
// nothing else as far as a slice is thick.
double
SlopeInWhiteMatter(const glioma::Phantom & phantom, int sequence)
{
  const float * const         field = phantom.logFields[sequence]->GetBufferPointer();
  const float * const         image = phantom.images[sequence]->GetBufferPointer();
  const unsigned char * const white = phantom.white->GetBufferPointer();
  const auto                  size = phantom.white->GetBufferedRegion().GetSize();
  const std::size_t           steps[3] = { 3, 3 * size[0], 3 * size[0] * size[1] };
  double                      sums[5] = {};
  for (std::size_t i = steps[2]; i < phantom.white->GetBufferedRegion().GetNumberOfPixels() - steps[2]; ++i)
  {
    bool deep = white[i] != 0;
    for (const std::size_t step : steps)
    {
      deep = deep && white[i - step] != 0 && white[i + step] != 0;
    }
    if (deep)
    {
      const double x = field[i];
      const double y = std::log(image[i]);
      const double terms[5] = { 1.0, x, y, x * x, x * y };
      for (int k = 0; k < 5; ++k)
      {
        sums[k] += terms[k];
      }
    }
  }
  EXPECT_GT(sums[0], 500.0);
  return (sums[4] - sums[1] * sums[2] / sums[0]) / (sums[3] - sums[1] * sums[1] / sums[0]);
}

// The first case of seed 1 that enhances so.
std::uint64_t
CaseWith(glioma::Enhancement wanted)
{
  for (std::uint64_t i = 1; i <= 20; ++i)
  {
    glioma::TumourGrade grade;
    glioma::ScannerKind scanner;
    glioma::Enhancement enhancement;
    glioma::DescribeCase(1, i, grade, scanner, enhancement);
    if (enhancement == wanted)
    {
      return i;
    }
  }
  return 0;
}

// Of the neighbours of necrosis that are tumour but not necrosis: the share that enhances.
double
ShareOfNecrosisThatIsRimmed(const glioma::Phantom::LabelImageType * labels)
{
  const auto            size = labels->GetBufferedRegion().GetSize();
  const unsigned char * voxel = labels->GetBufferPointer();
  const std::ptrdiff_t  steps[3] = { 1,
                                     static_cast<std::ptrdiff_t>(size[0]),
                                     static_cast<std::ptrdiff_t>(size[0] * size[1]) };
  const auto            count = static_cast<std::ptrdiff_t>(labels->GetBufferedRegion().GetNumberOfPixels());
  double                enhancing = 0.0;
  double                all = 0.0;
  for (std::ptrdiff_t i = steps[2]; i < count - steps[2]; ++i)
  {
    for (const std::ptrdiff_t step : steps)
    {
      for (const std::ptrdiff_t neighbour : { i - step, i + step })
      {
        if (voxel[i] == 1 && voxel[neighbour] > 1)
        {
          all += 1.0;
          enhancing += voxel[neighbour] == 4 ? 1.0 : 0.0;
        }
      }
    }
  }
  return all > 0.0 ? enhancing / all : 0.0;
}

std::map<int, double>
LabelShares(const glioma::Phantom & phantom)
{
  std::map<int, double> shares;
  const std::size_t     count = phantom.labels->GetBufferedRegion().GetNumberOfPixels();
  double                tumour = 0.0;
  for (std::size_t i = 0; i < count; ++i)
  {
    const int label = phantom.labels->GetBufferPointer()[i];
    shares[label] += 1.0;
    tumour += label > 0 ? 1.0 : 0.0;
  }
  for (auto & share : shares)
  {
    share.second /= tumour;
  }
  return shares;
}

class PhantomCohort : public ::testing::Test
{
protected:
  void
  SetUp() override
  {
    m_Folder = fs::temp_directory_path() / ("PhantomCohort-" + std::to_string(::getpid()) + '-' +
                                            ::testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(m_Folder);
    m_Options.cases = 2;
    m_Options.seed = 5;
    m_Options.spacing = 4.0;
    m_Options.outputDirectory = m_Folder.string();
  }

  void
  TearDown() override
  {
    fs::remove_all(m_Folder);
  }

  std::string
  ErrorOf(const glioma::SynthesizeOptions & options) const
  {
    try
    {
      std::ostringstream progress;
      glioma::WritePhantomCohort(options, progress);
    }
    catch (const itk::ExceptionObject & error)
    {
      return error.GetDescription();
    }
    return "";
  }

  fs::path                  m_Folder;
  glioma::SynthesizeOptions m_Options;
};
} // namespace

// The vectors of Random123 (kat_vectors, philox4x32 10).
TEST(CounterRandom, GivesThePublishedVectors)
{
  using Block = glioma::CounterRandom::BlockType;
  EXPECT_EQ(glioma::CounterRandom::Philox({ 0, 0, 0, 0 }, { 0, 0 }),
            (Block{ 0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u }));
  EXPECT_EQ(glioma::CounterRandom::Philox({ ~0u, ~0u, ~0u, ~0u }, { ~0u, ~0u }),
            (Block{ 0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu }));
  EXPECT_EQ(
    glioma::CounterRandom::Philox({ 0x243f6a88u, 0x85a308d3u, 0x13198a2eu, 0x03707344u }, { 0xa4093822u, 0x299f31d0u }),
    (Block{ 0xd16cfe09u, 0x94fdccebu, 0x5001e420u, 0x24126ea1u }));
}

TEST(CounterRandom, NumbersAreUniformAndNormal)
{
  const glioma::CounterRandom random(42, 7);
  constexpr int               count = 100000;
  double                      mean = 0.0;
  double                      sum[2] = {};
  double                      square[2] = {};
  double                      product = 0.0;
  for (int i = 0; i < count; ++i)
  {
    const double u = random.Uniform(i);
    ASSERT_GT(u, 0.0);
    ASSERT_LT(u, 1.0);
    mean += u / count;
    const auto pair = random.NormalPair(i);
    for (int k = 0; k < 2; ++k)
    {
      sum[k] += pair[k] / count;
      square[k] += pair[k] * pair[k] / count;
    }
    product += pair[0] * pair[1] / count;
  }
  // Five standard errors.
  EXPECT_NEAR(mean, 0.5, 5 * 0.2887 / std::sqrt(count));
  for (int k = 0; k < 2; ++k)
  {
    EXPECT_NEAR(sum[k], 0.0, 5 / std::sqrt(count));
    EXPECT_NEAR(square[k], 1.0, 5 * std::sqrt(2.0 / count));
  }
  EXPECT_NEAR(product, 0.0, 5 / std::sqrt(count));
}

TEST(SmoothNoise, HasUnitVarianceAndTheRightGradient)
{
  const glioma::SmoothNoise   noise(glioma::CounterRandom(3, 1), 5.0);
  const glioma::CounterRandom random(3, 2);
  constexpr int               count = 20000;
  double                      square = 0.0;
  for (int i = 0; i < count; ++i)
  {
    glioma::Position p;
    for (int a = 0; a < 3; ++a)
    {
      p[a] = 200.0 * random.Uniform(3 * i + a) - 100.0;
    }
    glioma::Position gradient;
    const double     value = noise.Value(p, gradient);
    square += value * value / count;
    EXPECT_EQ(value, noise.Value(p));
    if (i < 50)
    {
      for (int a = 0; a < 3; ++a)
      {
        glioma::Position above = p;
        glioma::Position below = p;
        above[a] += 0.05;
        below[a] -= 0.05;
        EXPECT_NEAR(gradient[a], (noise.Value(above) - noise.Value(below)) / 0.1, 2e-4);
      }
    }
  }
  EXPECT_NEAR(square, 1.0, 0.05);
}

TEST(Phantom, ThreadsDoNotChangeABit)
{
  const auto one = Make(9, 3, 3.0, 1);
  EXPECT_TRUE(SameBits(one, Make(9, 3, 3.0, 1)));
  EXPECT_TRUE(SameBits(one, Make(9, 3, 3.0, 2)));
  EXPECT_TRUE(SameBits(one, Make(9, 3, 3.0, 7)));
}

TEST(Phantom, SeedAndCaseChangeIt)
{
  const auto phantom = Make(9, 3, 4.0);
  EXPECT_FALSE(SameBits(phantom, Make(10, 3, 4.0)));
  EXPECT_FALSE(SameBits(phantom, Make(9, 4, 4.0)));
}

TEST(Phantom, LiesOnTheGridOfBraTS)
{
  const auto phantom = Make(2, 1, 1.0);
  for (const auto & image : phantom.images)
  {
    EXPECT_EQ(image->GetBufferedRegion().GetSize(), (itk::Size<3>{ { 240, 240, 155 } }));
    EXPECT_EQ(image->GetOrigin(), phantom.labels->GetOrigin());
    EXPECT_EQ(image->GetSpacing(), phantom.labels->GetSpacing());
  }
  const double origin[3] = { 0.0, -239.0, 0.0 };
  for (int i = 0; i < 3; ++i)
  {
    EXPECT_DOUBLE_EQ(phantom.labels->GetOrigin()[i], origin[i]);
    EXPECT_DOUBLE_EQ(phantom.labels->GetSpacing()[i], 1.0);
    for (int j = 0; j < 3; ++j)
    {
      EXPECT_DOUBLE_EQ(phantom.labels->GetDirection()[i][j], i == j ? 1.0 : 0.0);
    }
  }
}

TEST(Phantom, CoarserVoxelsShowTheSamePatient)
{
  const auto fine = Make(2, 4, 1.5);
  const auto coarse = Make(2, 4, 3.0);
  EXPECT_NEAR(fine.volume, coarse.volume, 0.05 * fine.volume);

  // Each coarse voxel's centre lies at the same place in the fine image.
  std::size_t both = 0;
  std::size_t either = 0;
  const auto  region = coarse.labels->GetBufferedRegion();
  for (std::size_t i = 0; i < region.GetNumberOfPixels(); ++i)
  {
    const auto            index = coarse.labels->ComputeIndex(static_cast<itk::OffsetValueType>(i));
    itk::Point<double, 3> point;
    coarse.labels->TransformIndexToPhysicalPoint(index, point);
    itk::Index<3> other;
    if (fine.labels->TransformPhysicalPointToIndex(point, other))
    {
      const bool a = coarse.labels->GetPixel(index) > 0;
      const bool b = fine.labels->GetPixel(other) > 0;
      both += a && b ? 1 : 0;
      either += a || b ? 1 : 0;
    }
  }
  EXPECT_GT(both, 0.8 * either);
}

TEST(Phantom, HasABrainAndATumourInIt)
{
  for (std::uint64_t number = 1; number <= 8; ++number)
  {
    SCOPED_TRACE(number);
    const auto        phantom = Make(1, number, 3.0);
    const std::size_t count = phantom.labels->GetBufferedRegion().GetNumberOfPixels();
    std::size_t       brain = 0;
    std::size_t       tumour = 0;
    for (std::size_t i = 0; i < count; ++i)
    {
      const unsigned char label = phantom.labels->GetBufferPointer()[i];
      const bool          inside = phantom.images[0]->GetBufferPointer()[i] != 0.0f;
      for (const auto & image : phantom.images)
      {
        const float value = image->GetBufferPointer()[i];
        ASSERT_TRUE(inside ? value >= 1.0f && value < 32000.0f : value == 0.0f) << value;
      }
      ASSERT_TRUE(label == 0 || label == 1 || label == 2 || label == 4) << int{ label };
      ASSERT_TRUE(inside || label == 0);
      brain += inside ? 1 : 0;
      tumour += label > 0 ? 1 : 0;
    }
    EXPECT_GT(0.027 * brain, 1000.0);
    EXPECT_LT(0.027 * brain, 2000.0);
    EXPECT_NEAR(phantom.volume, 0.027 * tumour, 1e-9);
    EXPECT_GT(phantom.volume, 8.0);
    EXPECT_LT(phantom.volume, 200.0);
  }
}

TEST(Phantom, TheTrueFieldExplainsTheShadingOfWhiteMatter)
{
  glioma::PhantomParameters parameters;
  parameters.seed = 5;
  parameters.caseNumber = 2;
  parameters.spacing = 2.0;
  parameters.threads = 2;
  parameters.truth = true;
  const glioma::Phantom phantom = glioma::MakePhantom(parameters);
  for (int s = 0; s < 4; ++s)
  {
    EXPECT_NEAR(SlopeInWhiteMatter(phantom, s), 1.0, 0.1) << s;
  }
  for (std::size_t i = 0; i < phantom.white->GetBufferedRegion().GetNumberOfPixels(); ++i)
  {
    const bool inside = phantom.images[0]->GetBufferPointer()[i] != 0.0F;
    ASSERT_TRUE(inside ||
                (phantom.white->GetBufferPointer()[i] == 0 && phantom.logFields[0]->GetBufferPointer()[i] == 0));
    ASSERT_FALSE(phantom.white->GetBufferPointer()[i] != 0 && phantom.labels->GetBufferPointer()[i] != 0);
  }
  // The truth costs nothing where it is not asked for, and changes nothing.
  const glioma::Phantom without = Make(5, 2, 2.0);
  EXPECT_TRUE(without.white.IsNull());
  EXPECT_TRUE(SameBits(without, phantom));
}

TEST(Phantom, RegionsAreWhatTheSequencesShow)
{
  glioma::PhantomParameters parameters;
  parameters.seed = 5;
  parameters.caseNumber = 2;
  parameters.spacing = 2.0;
  parameters.truth = true;
  parameters.regions = true;
  const glioma::Phantom       phantom = glioma::MakePhantom(parameters);
  std::array<std::size_t, 8>  voxels{};
  std::array<double, 8>       t1{};
  std::array<double, 8>       t2{};
  double                      fromMiddle = 0.0;
  const glioma::PhantomRegion tumour[] = { glioma::PhantomRegion::Outside,
                                           glioma::PhantomRegion::TumourCore,
                                           glioma::PhantomRegion::Oedema,
                                           glioma::PhantomRegion::Outside,
                                           glioma::PhantomRegion::TumourCore };
  for (std::size_t i = 0; i < phantom.regions->GetBufferedRegion().GetNumberOfPixels(); ++i)
  {
    const unsigned char region = phantom.regions->GetBufferPointer()[i];
    const unsigned char label = phantom.labels->GetBufferPointer()[i];
    ASSERT_LT(region, 8);
    ASSERT_EQ(region != 0, phantom.images[0]->GetBufferPointer()[i] != 0.0F);
    if (label != 0)
    {
      ASSERT_EQ(region, static_cast<unsigned char>(tumour[label]));
    }
    else
    {
      ASSERT_TRUE(region != 2 && region != 3);
    }
    if (phantom.white->GetBufferPointer()[i] != 0)
    {
      ASSERT_EQ(region, static_cast<unsigned char>(glioma::PhantomRegion::White));
    }
    ++voxels[region];
    t1[region] += phantom.images[0]->GetBufferPointer()[i];
    t2[region] += phantom.images[2]->GetBufferPointer()[i];
    if (region == static_cast<unsigned char>(glioma::PhantomRegion::Ventricles))
    {
      const auto index = phantom.regions->ComputeIndex(static_cast<itk::OffsetValueType>(i));
      fromMiddle = std::max(fromMiddle, std::abs(2.0 * static_cast<double>(index[0]) - 119.0));
    }
  }
  const auto mean = [&](const std::array<double, 8> & sums, glioma::PhantomRegion region) {
    const auto i = static_cast<std::size_t>(region);
    return sums[i] / static_cast<double>(voxels[i]);
  };
  for (const std::size_t count : voxels)
  {
    EXPECT_GT(0.008 * static_cast<double>(count), 3.0); // ml
  }
  // Ventricles are full of water and deep inside; grey and white matter differ as in every T1.
  EXPECT_LT(0.008 * static_cast<double>(voxels[1]), 80.0);
  EXPECT_LT(fromMiddle, 55.0);
  using Region = glioma::PhantomRegion;
  EXPECT_GT(mean(t2, Region::Ventricles), 1.4 * mean(t2, Region::White));
  EXPECT_LT(mean(t1, Region::Ventricles), 0.7 * mean(t1, Region::White));
  EXPECT_NEAR(mean(t2, Region::Ventricles), mean(t2, Region::OtherFluid), 0.35 * mean(t2, Region::Ventricles));
  EXPECT_LT(mean(t1, Region::Cortex), mean(t1, Region::DeepGrey));
  EXPECT_LT(mean(t1, Region::DeepGrey), mean(t1, Region::White));
  EXPECT_TRUE(Make(5, 2, 2.0).regions.IsNull());
}

TEST(Phantom, KindsAreBalanced)
{
  std::map<std::string, int> counts;
  for (std::uint64_t number = 1; number <= 400; ++number)
  {
    glioma::TumourGrade grade;
    glioma::ScannerKind scanner;
    glioma::Enhancement enhancement;
    glioma::DescribeCase(77, number, grade, scanner, enhancement);
    const std::string name = glioma::NameOf(grade);
    ++counts[name];
    ++counts[name + ' ' + glioma::NameOf(scanner)];
    ++counts[name + ' ' + glioma::NameOf(enhancement)];
  }
  const std::map<std::string, int> expected{ { "LGG", 200 },
                                             { "HGG", 200 },
                                             { "LGG phantom-thick-slice", 100 },
                                             { "LGG phantom-sharp-3T", 100 },
                                             { "HGG phantom-thick-slice", 100 },
                                             { "HGG phantom-sharp-3T", 100 },
                                             { "LGG patches", 50 },
                                             { "LGG none", 150 },
                                             { "HGG rim", 160 },
                                             { "HGG specks", 40 } };
  EXPECT_EQ(counts, expected);
}

TEST(Phantom, EnhancementHasTheFormOfItsGrade)
{
  const auto rim = Make(1, CaseWith(glioma::Enhancement::Rim), 2.0);
  EXPECT_GT(LabelShares(rim)[4], 0.06);
  EXPECT_GT(LabelShares(rim)[1], 0.02);
  EXPECT_GT(ShareOfNecrosisThatIsRimmed(rim.labels), 0.7);

  const auto patches = Make(1, CaseWith(glioma::Enhancement::Patches), 2.0);
  EXPECT_GT(LabelShares(patches)[4], 0.06);
  EXPECT_LT(ShareOfNecrosisThatIsRimmed(patches.labels), 0.5);

  const auto specks = Make(1, CaseWith(glioma::Enhancement::Specks), 2.0);
  EXPECT_LT(LabelShares(specks)[4], 0.05);

  EXPECT_EQ(LabelShares(Make(1, CaseWith(glioma::Enhancement::None), 2.0)).count(4), 0u);
}

TEST(Phantom, RefusesParametersOutOfRange)
{
  EXPECT_THROW(Make(1, 1, 0.5), itk::ExceptionObject);
  EXPECT_THROW(Make(1, 1, 4.5), itk::ExceptionObject);
  EXPECT_THROW(Make(1, 1, std::nan("")), itk::ExceptionObject);
  EXPECT_THROW(Make(1, 0, 2.0), itk::ExceptionObject);
}

TEST_F(PhantomCohort, WritesTheLayoutOfBRATS)
{
  ASSERT_EQ(ErrorOf(m_Options), "");
  std::set<std::string> entries;
  for (const auto & entry : fs::directory_iterator(m_Folder))
  {
    entries.insert(entry.path().filename().string());
  }
  EXPECT_EQ(entries, (std::set<std::string>{ "COHORT.csv", "phantom-5-0001", "phantom-5-0002" }));

  std::ifstream file(m_Folder / "COHORT.csv");
  std::string   line;
  std::getline(file, line);
  EXPECT_EQ(line, "case,t1,t1c,t2,flair,seg,grade,site");
  for (int number = 1; number <= 2; ++number)
  {
    std::getline(file, line);
    std::istringstream       row(line);
    std::vector<std::string> fields;
    for (std::string field; std::getline(row, field, ',');)
    {
      fields.push_back(field);
    }
    ASSERT_EQ(fields.size(), 8u);
    const std::string name = "phantom-5-000" + std::to_string(number);
    EXPECT_EQ(fields[0], name);
    EXPECT_EQ(fields[2], name + '/' + name + "_t1ce.nii.gz");

    const auto phantom = Make(5, number, 4.0);
    EXPECT_EQ(fields[6], glioma::NameOf(phantom.grade));
    EXPECT_EQ(fields[7], glioma::NameOf(phantom.scanner));
    for (int s = 0; s < 4; ++s)
    {
      const auto reader = itk::ImageFileReader<glioma::Phantom::ImageType>::New();
      reader->SetFileName((m_Folder / fields[1 + s]).string());
      reader->Update();
      EXPECT_EQ(reader->GetImageIO()->GetComponentType(), itk::IOComponentEnum::SHORT);
      EXPECT_EQ(reader->GetOutput()->GetOrigin(), phantom.images[s]->GetOrigin());
      EXPECT_EQ(reader->GetOutput()->GetSpacing(), phantom.images[s]->GetSpacing());
      EXPECT_EQ(reader->GetOutput()->GetDirection(), phantom.images[s]->GetDirection());
      ASSERT_EQ(reader->GetOutput()->GetBufferedRegion(), phantom.images[s]->GetBufferedRegion());
      for (std::size_t i = 0; i < phantom.images[s]->GetBufferedRegion().GetNumberOfPixels(); ++i)
      {
        ASSERT_NEAR(reader->GetOutput()->GetBufferPointer()[i], phantom.images[s]->GetBufferPointer()[i], 0.501);
      }
    }
    const auto reader = itk::ImageFileReader<glioma::Phantom::LabelImageType>::New();
    reader->SetFileName((m_Folder / fields[5]).string());
    reader->Update();
    EXPECT_TRUE(SameBits<glioma::Phantom::LabelImageType>(reader->GetOutput(), phantom.labels));
  }
}

TEST_F(PhantomCohort, WritesTheTruthOnRequest)
{
  m_Options.truth = true;
  m_Options.regions = true;
  ASSERT_EQ(ErrorOf(m_Options), "");
  for (int number = 1; number <= 2; ++number)
  {
    const std::string         name = "phantom-5-000" + std::to_string(number);
    glioma::PhantomParameters parameters;
    parameters.seed = 5;
    parameters.caseNumber = number;
    parameters.spacing = 4.0;
    parameters.truth = true;
    parameters.regions = true;
    const auto         phantom = glioma::MakePhantom(parameters);
    const char * const sequences[] = { "t1", "t1ce", "t2", "flair" };
    for (int s = 0; s < 4; ++s)
    {
      const auto path = m_Folder / name / (name + '_' + sequences[s] + "_log-field.nii.gz");
      const auto field = itk::ReadImage<glioma::Phantom::ImageType>(path.string());
      EXPECT_TRUE(SameBits(field.GetPointer(), phantom.logFields[s].GetPointer()));
    }
    const auto white =
      itk::ReadImage<glioma::Phantom::LabelImageType>((m_Folder / name / (name + "_white.nii.gz")).string());
    EXPECT_TRUE(SameBits(white.GetPointer(), phantom.white.GetPointer()));
    const auto regions =
      itk::ReadImage<glioma::Phantom::LabelImageType>((m_Folder / name / (name + "_regions.nii.gz")).string());
    EXPECT_TRUE(SameBits(regions.GetPointer(), phantom.regions.GetPointer()));
  }
}

TEST_F(PhantomCohort, ReplacesOnlyWhenForced)
{
  ASSERT_EQ(ErrorOf(m_Options), "");
  EXPECT_NE(ErrorOf(m_Options).find("--force"), std::string::npos);
  fs::remove(m_Folder / "COHORT.csv");
  EXPECT_NE(ErrorOf(m_Options).find("phantom-5-0001"), std::string::npos);
  std::ofstream(m_Folder / "phantom-5-0001" / "left-over") << "old";
  m_Options.force = true;
  EXPECT_EQ(ErrorOf(m_Options), "");
  EXPECT_FALSE(fs::exists(m_Folder / "phantom-5-0001" / "left-over"));
  EXPECT_TRUE(fs::exists(m_Folder / "COHORT.csv"));
}

TEST_F(PhantomCohort, SaysWhatIsWrong)
{
  m_Options.cases = 0;
  EXPECT_NE(ErrorOf(m_Options).find("1 to 9999"), std::string::npos);
  m_Options.cases = 1;
  std::ofstream(m_Folder.string()) << "a file";
  m_Options.outputDirectory = (m_Folder / "below").string();
  EXPECT_NE(ErrorOf(m_Options).find("choose a folder"), std::string::npos);
}

TEST_F(PhantomCohort, LeavesNothingHalfWrittenOnAFullDisk)
{
  m_Options.spacing = 2.0;
  m_Options.cases = 1;
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit     small = before;
  small.rlim_cur = 100000;
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const std::string error = ErrorOf(m_Options);
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_NE(error.find("free space"), std::string::npos) << error;
  EXPECT_TRUE(fs::is_empty(m_Folder));
}
