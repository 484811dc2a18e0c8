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

// The report: its template's escapes, its volumes against ITK's reader, its slices against what lies where, its page
// against text that wants to be HTML.

#include "ObliqueImage.h"
#include "ReportPage.h"
#include "ReportTemplate.h"

#include "itkImageFileReader.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace
{
namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
using ImageType = itk::Image<float, 3>;
using MaskType = itk::Image<unsigned char, 3>;
using MapsType = itk::VectorImage<float, 3>;

const std::string nasty = "</script><img onerror=\"window.pwned=1\" src='x'>&{{grade}}";

struct Folder
{
  Folder()
    : Path(fs::temp_directory_path() /
           ("report-page-" + std::string(testing::UnitTest::GetInstance()->current_test_info()->name())))
  {
    fs::remove_all(Path);
    fs::create_directories(Path);
  }
  ~Folder() { fs::remove_all(Path); }
  fs::path Path;
};

std::string
Read(const fs::path & path)
{
  std::ifstream      file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::string
FromBase64(const std::string & text)
{
  const std::string digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string       bytes;
  unsigned int      bits = 0;
  int               number = 0;
  for (const char character : text)
  {
    const auto digit = digits.find(character);
    if (digit == std::string::npos)
    {
      break;
    }
    bits = bits << 6 | static_cast<unsigned int>(digit);
    number += 6;
    if (number >= 8)
    {
      number -= 8;
      bytes += static_cast<char>(bits >> number & 255u);
    }
  }
  return bytes;
}

ImageType::Pointer
ReadPacked(const Folder & folder, const std::string & base64)
{
  const std::string path = (folder.Path / "packed.nii.gz").string();
  std::ofstream(path, std::ios::binary) << FromBase64(base64);
  return itk::ReadImage<ImageType>(path);
}

ImageType::Pointer
Noisy(unsigned int nx, unsigned int ny, unsigned int nz)
{
  auto          image = oblique::Make<ImageType>(nx, ny, nz);
  std::uint64_t k = 0;
  for (itk::ImageRegionIteratorWithIndex<ImageType> it(image, image->GetBufferedRegion()); !it.IsAtEnd(); ++it)
  {
    it.Set(100.0f + 50.0f * oblique::Noise(k++));
  }
  return image;
}

/** An ellipsoid that fills three quarters of the image along each axis. */
MaskType::Pointer
Ellipsoid(const ImageType * grid, double share)
{
  auto mask = MaskType::New();
  mask->CopyInformation(grid);
  mask->SetRegions(grid->GetBufferedRegion());
  mask->Allocate(true);
  const auto region = grid->GetBufferedRegion();
  for (itk::ImageRegionIteratorWithIndex<MaskType> it(mask, region); !it.IsAtEnd(); ++it)
  {
    double radius = 0.0;
    for (unsigned int d = 0; d < 3; ++d)
    {
      const double half = 0.5 * static_cast<double>(region.GetSize(d));
      const double at = (static_cast<double>(it.GetIndex()[d] - region.GetIndex(d)) + 0.5 - half) / (share * half);
      radius += at * at;
    }
    it.Set(radius < 1.0);
  }
  return mask;
}

Json
ResultOf(const std::string & text)
{
  Json result;
  result["grade"] = text;
  result["probabilities"] = { { text, 0.75 }, { "other", 0.25 } };
  result["verdict"] = "review";
  result["reasons"] = { text };
  result["verdict_is"] = "not a clinical acceptance";
  result["warnings"] = { "Research use only.", text };
  result["phantom"] = false;
  result["tumour_volume_ml"] = 12.5;
  result["brain_volume_ml"] = 1400.0;
  result["brain_mask"] = "found";
  result["tumour_mask"] = "found";
  result["roi"] = { { "sides_mm", { 80.0, 80.0, 80.0 } } };
  result["explanation"] = { { "class", text }, { "gradcam", Json::object() } };
  result["whole_brain"] = { { "grade", text },
                            { "probabilities", { { text, 0.75 }, { "other", 0.25 } } },
                            { "explanation", { { "class", text }, { "gradcam", Json::object() } } } };
  result["without_tumour"] = { { "probabilities", { { text, 0.625 }, { "other", 0.375 } } }, { "filled_share", 0.1 } };
  result["quality"] = { { "gradcam-" + text + "-tumour-share", 0.5 }, { text, 1.0 } };
  result["registration"] = nullptr;
  const Json model{ { "bundle", text },        { "name", text },          { "version", text },     { "sha256", text },
                    { "demonstration", true }, { "training_data", text }, { "intended_use", text } };
  result["provenance"] = { { "versions", { { "glioma", "1" }, { text, text } } },
                           { "models", { { "segmentation", nullptr }, { text, model } } },
                           { "sequences", { { text, { { text, text } } } } },
                           { "inputs", { { text, { { "file", text }, { "sha256", text } } } } },
                           { "parameters", { { text, text } } },
                           { "stages", Json::array({ { { "name", text }, { "seconds", 1.0 } } }) } };
  return result;
}

std::size_t
Count(const std::string & text, const std::string & part)
{
  std::size_t count = 0;
  for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1))
  {
    ++count;
  }
  return count;
}
} // namespace

TEST(ReportTemplate, FillsNamesSectionsAndParts)
{
  const Json data{ { "name", "a < b" },        { "list", { { { "x", 1 } }, { { "x", 2 } } } },
                   { "words", { "p", "q" } },  { "none", nullptr },
                   { "empty", Json::array() }, { "yes", true } };
  EXPECT_EQ(glioma::FillTemplate("{{name}}{{>raw}}", data, { { "raw", "<b>" } }), "a &lt; b<b>");
  EXPECT_EQ(glioma::FillTemplate("{{#list}}{{x}}-{{name}};{{/list}}", data, {}), "1-a &lt; b;2-a &lt; b;");
  EXPECT_EQ(glioma::FillTemplate("{{#words}}{{.}}{{/words}}{{#yes}}!{{/yes}}", data, {}), "pq!");
  EXPECT_EQ(
    glioma::FillTemplate("{{#none}}a{{b}}{{/none}}{{^none}}c{{/none}}{{^empty}}d{{/empty}}{{^yes}}e{{/yes}}", data, {}),
    "cd");
  EXPECT_THROW(glioma::FillTemplate("{{absent}}", data, {}), std::logic_error);
  EXPECT_THROW(glioma::FillTemplate("{{>absent}}", data, {}), std::logic_error);
  EXPECT_THROW(glioma::FillTemplate("{{#yes}}", data, {}), std::logic_error);
  EXPECT_THROW(glioma::FillTemplate("{{#yes}}{{/no}}", data, {}), std::logic_error);
  EXPECT_THROW(glioma::FillTemplate("{{list}}", data, {}), std::logic_error);
}

TEST(ReportTemplate, LetsNoDataBecomeHtmlOrEndAScript)
{
  std::string every;
  for (int code = 1; code < 256; ++code)
  {
    every += static_cast<char>(code);
  }
  for (const std::string & text : { nasty, every })
  {
    const std::string escaped = glioma::EscapeHtml(text);
    EXPECT_EQ(escaped.find_first_of("<>\"'"), std::string::npos);
    const std::string json = glioma::JsonForScript({ { text, text } });
    EXPECT_EQ(json.find_first_of("<>&"), std::string::npos);
    EXPECT_TRUE(std::all_of(json.begin(), json.end(), [](char c) { return c >= 32 && c < 127; }));
  }
  EXPECT_EQ(Json::parse(glioma::JsonForScript({ { "key", nasty } }))["key"], nasty);
  // Data that looks like a template stays data.
  EXPECT_EQ(glioma::FillTemplate("{{a}}", { { "a", "{{>b}}" } }, { { "b", "<b>" } }), "{{&gt;b}}");
}

TEST(ReportVolume, LiesWhereTheImageLies)
{
  const Folder       folder;
  const auto         image = Noisy(23, 19, 14);
  const auto         brain = Ellipsoid(image, 0.8);
  glioma::ReportGrid grid;
  grid.Box = glioma::BoxOf(brain, 2.0);
  for (const std::array<unsigned int, 3> & block : { std::array<unsigned int, 3>{ { 1, 1, 1 } }, { { 3, 2, 1 } } })
  {
    grid.Block = block;
    const double low = 105.0;
    const double high = 140.0;
    const auto   packed = ReadPacked(folder, glioma::PackSequence(image, brain, grid, low, high));
    const auto   size = packed->GetLargestPossibleRegion().GetSize();
    std::size_t  inside = 0;
    for (unsigned int d = 0; d < 3; ++d)
    {
      ASSERT_EQ(size[d], grid.SizeOf(d));
    }
    for (itk::ImageRegionIteratorWithIndex<ImageType> it(packed, packed->GetBufferedRegion()); !it.IsAtEnd(); ++it)
    {
      // The truth by ITK's own transform: the mean of the block's points and values. Blocks at the end may be cut.
      itk::Vector<double, 3> mean(0.0);
      double                 value = 0.0;
      unsigned int           voxels = 0;
      unsigned int           brainVoxels = 0;
      for (unsigned int k = 0; k < block[0] * block[1] * block[2]; ++k)
      {
        itk::Index<3> at;
        at[0] = grid.Box.GetIndex(0) + it.GetIndex()[0] * block[0] + k % block[0];
        at[1] = grid.Box.GetIndex(1) + it.GetIndex()[1] * block[1] + k / block[0] % block[1];
        at[2] = grid.Box.GetIndex(2) + it.GetIndex()[2] * block[2] + k / block[0] / block[1];
        itk::Point<double, 3> point;
        image->TransformIndexToPhysicalPoint(at, point);
        mean += point.GetVectorFromOrigin();
        if (grid.Box.IsInside(at))
        {
          ++voxels;
          brainVoxels += brain->GetPixel(at);
          value += image->GetPixel(at);
        }
      }
      mean /= block[0] * block[1] * block[2];
      itk::Point<double, 3> point;
      packed->TransformIndexToPhysicalPoint(it.GetIndex(), point);
      // The header has floats.
      ASSERT_NEAR((point.GetVectorFromOrigin() - mean).GetNorm(), 0.0, 1e-4);
      if (brainVoxels == 0)
      {
        ASSERT_LT(it.Get(), low);
      }
      else if (brainVoxels == voxels && value / voxels > low && value / voxels < high)
      {
        ++inside;
        // Half of a level of (high - low) / 254; the floats of the file.
        ASSERT_NEAR(it.Get(), value / voxels, 0.501 * (high - low) / 254.0);
      }
    }
    EXPECT_GT(inside, 200u);
  }
}

TEST(ReportVolume, KeepsTheSignOfAMapAndItsZero)
{
  const Folder       folder;
  auto               maps = oblique::Make<MapsType>(9, 8, 7, 2);
  glioma::ReportGrid grid;
  grid.Box = maps->GetLargestPossibleRegion();
  const auto number = grid.NumberOfVoxels();
  for (itk::SizeValueType i = 0; i < 2 * number; ++i)
  {
    maps->GetBufferPointer()[i] = i % 3 == 0 ? 0.0f : 1e-3f * (oblique::Noise(i) - 0.5f);
  }
  const auto packed = ReadPacked(folder, glioma::PackSignedMap(maps, 1, grid, 5e-4));
  for (itk::SizeValueType i = 0; i < number; ++i)
  {
    const double truth = maps->GetBufferPointer()[2 * i + 1];
    EXPECT_NEAR(packed->GetBufferPointer()[i], truth, 0.51 * 5e-4 / 127.0);
    if (truth == 0.0)
    {
      EXPECT_NEAR(packed->GetBufferPointer()[i], 0.0, 1e-9);
    }
  }
  auto heat = ImageType::New();
  heat->CopyInformation(maps);
  heat->SetRegions(grid.Box);
  heat->Allocate();
  for (itk::SizeValueType i = 0; i < number; ++i)
  {
    heat->GetBufferPointer()[i] = 7.0f * (oblique::Noise(i) - 0.3f);
  }
  const auto packedHeat = ReadPacked(folder, glioma::PackMap(heat, grid, 4.9));
  for (itk::SizeValueType i = 0; i < number; ++i)
  {
    EXPECT_NEAR(packedHeat->GetBufferPointer()[i], std::max(0.0f, heat->GetBufferPointer()[i]), 0.51 * 4.9 / 255.0);
  }
}

TEST(ReportVolume, OutlinesAMaskAndStaysSmall)
{
  const Folder       folder;
  const auto         image = Noisy(25, 21, 15);
  const auto         mask = Ellipsoid(image, 0.7);
  glioma::ReportGrid grid;
  grid.Box = image->GetLargestPossibleRegion();
  const auto  outline = ReadPacked(folder, glioma::PackMask(mask, grid, true));
  std::size_t marked = 0;
  for (itk::ImageRegionIteratorWithIndex<MaskType> it(mask, mask->GetBufferedRegion()); !it.IsAtEnd(); ++it)
  {
    bool          isBorder = false;
    itk::Index<3> stored;
    for (unsigned int d = 0; d < 3; ++d)
    {
      stored[d] = it.GetIndex()[d] - grid.Box.GetIndex(d);
      for (const int step : { -1, 1 })
      {
        itk::Index<3> neighbour = it.GetIndex();
        neighbour[d] += step;
        isBorder = isBorder || !grid.Box.IsInside(neighbour) || mask->GetPixel(neighbour) == 0;
      }
    }
    ASSERT_EQ(outline->GetPixel(stored) != 0.0f, it.Get() != 0 && isBorder);
    marked += it.Get() != 0 && isBorder;
  }
  EXPECT_GT(marked, 100u);

  glioma::Coarsen(grid, *image, 1500);
  EXPECT_LE(grid.NumberOfVoxels(), 1500u);
  // 0.9, 1.1 and 2.5 mm: the thin axes first.
  EXPECT_GT(grid.Block[0], 1u);
  EXPECT_EQ(grid.Block[2], 1u);
  EXPECT_EQ(glioma::BoxOf(Ellipsoid(image, 0.0), 3.0).GetNumberOfPixels(), 0u);
}

TEST(SlicePainting, ShowsRadiologicalSidesWhateverTheStorage)
{
  const Folder folder;
  // Axes along the patient's: a bright block to the left, front and top of a brain that fills the image.
  auto                         image = ImageType::New();
  const itk::ImageRegion<3>    region(itk::Index<3>{ { 2, 0, -3 } }, itk::Size<3>{ { 30, 40, 26 } });
  const ImageType::SpacingType spacing(2.0);
  image->SetRegions(region);
  image->SetSpacing(spacing);
  image->Allocate(true);
  for (itk::ImageRegionIteratorWithIndex<ImageType> it(image, region); !it.IsAtEnd(); ++it)
  {
    const auto at = it.GetIndex() - region.GetIndex();
    it.Set(at[0] >= 20 && at[1] < 12 && at[2] >= 18 ? 100.0f : 10.0f + 0.1f * static_cast<float>(at[0] + at[1]));
  }
  const auto paint = [&](const ImageType * volume, glioma::Plane kind) {
    auto brain = MaskType::New();
    brain->CopyInformation(volume);
    brain->SetRegions(volume->GetLargestPossibleRegion());
    brain->Allocate();
    brain->FillBuffer(1);
    auto tumour = MaskType::New();
    tumour->CopyInformation(volume);
    tumour->SetRegions(volume->GetLargestPossibleRegion());
    tumour->Allocate(true);
    // It is largest at one slice of the block in each direction.
    for (itk::ImageRegionIteratorWithIndex<MaskType> it(tumour, tumour->GetBufferedRegion()); !it.IsAtEnd(); ++it)
    {
      itk::Point<double, 3> point;
      tumour->TransformIndexToPhysicalPoint(it.GetIndex(), point);
      it.Set(std::abs(point[0] - 54.0) / 10.0 + std::abs(point[1] - 10.0) / 12.0 + std::abs(point[2] - 38.0) / 8.0 <
             1.0);
    }
    const auto     plane = glioma::FindSlicePlane(kind, *volume, brain, tumour, 120);
    glioma::Canvas canvas(plane.Width, plane.Height);
    glioma::DrawSequence(canvas, 0, 0, plane, volume, brain, { 0.0, 100.0 });
    const std::string path = (folder.Path / "slice.png").string();
    canvas.Write(path);
    return itk::ReadImage<itk::Image<unsigned char, 2>>(path);
  };
  const std::array<glioma::Plane, 3> kinds{ { glioma::Plane::Axial, glioma::Plane::Coronal, glioma::Plane::Sagittal } };
  for (const glioma::Plane kind : kinds)
  {
    const auto picture = paint(image, kind);
    const auto size = picture->GetLargestPossibleRegion().GetSize();
    const auto at = [&](double x, double y) {
      return picture->GetPixel({ { static_cast<itk::IndexValueType>(x * static_cast<double>(size[0])),
                                   static_cast<itk::IndexValueType>(y * static_cast<double>(size[1])) } });
    };
    // The patient's left is on the right; the front is above, or on the left of a sagittal slice; the head is above.
    const bool isSagittal = kind == glioma::Plane::Sagittal;
    EXPECT_GT(at(isSagittal ? 0.1 : 0.9, 0.1), 200);
    EXPECT_LT(at(isSagittal ? 0.9 : 0.1, 0.1), 100);
    EXPECT_LT(at(isSagittal ? 0.1 : 0.9, 0.9), 100);

    // The same voxels in another order, at the same place: the axes point to the feet, the left and the front.
    auto turned = ImageType::New();
    turned->SetRegions(itk::ImageRegion<3>(itk::Size<3>{ { 26, 30, 40 } }));
    turned->SetSpacing(spacing);
    itk::Matrix<double, 3, 3> direction;
    direction[2][0] = -1.0;
    direction[0][1] = 1.0;
    direction[1][2] = -1.0;
    turned->SetDirection(direction);
    itk::Point<double, 3> corner;
    image->TransformIndexToPhysicalPoint({ { 2, 39, 22 } }, corner);
    turned->SetOrigin(corner);
    turned->Allocate();
    for (itk::ImageRegionIteratorWithIndex<ImageType> it(turned, turned->GetBufferedRegion()); !it.IsAtEnd(); ++it)
    {
      itk::Point<double, 3> point;
      itk::Index<3>         index;
      turned->TransformIndexToPhysicalPoint(it.GetIndex(), point);
      ASSERT_TRUE(image->TransformPhysicalPointToIndex(point, index));
      it.Set(image->GetPixel(index));
    }
    const auto other = paint(turned, kind);
    ASSERT_EQ(other->GetLargestPossibleRegion().GetSize(), size);
    for (itk::SizeValueType i = 0; i < size[0] * size[1]; ++i)
    {
      // The grey level may be rounded the other way.
      ASSERT_LE(std::abs(picture->GetBufferPointer()[i] - other->GetBufferPointer()[i]), 1);
    }
  }
}

TEST(SlicePainting, ReadersGetBackEveryDotOfAPng)
{
  using PictureType = itk::Image<itk::RGBPixel<unsigned char>, 2>;
  const Folder      folder;
  const std::string path = (folder.Path / "dots.png").string();
  for (const auto & [width, height] : std::vector<std::pair<int, int>>{ { 1, 1 }, { 2, 3 }, { 61, 47 } })
  {
    // Noise, a slope to the right, one downwards, one colour: each asks for another filter of the rows.
    const auto colourAt = [](int x, int y) -> glioma::ColourType {
      const auto noise = std::floor(127.0 * (1.0 + oblique::Noise(static_cast<std::uint64_t>(61 * y + x))));
      return y < 8    ? glioma::ColourType{ { noise, 255.0 - noise, 7.0 } }
             : y < 16 ? glioma::ColourType{ { 4.0 * x, 250.0 - 4.0 * x, 9.0 } }
             : y < 24 ? glioma::ColourType{ { 5.0 * y, x % 7 * 30.0, 255.0 } }
             : y < 32 ? glioma::ColourType{ { 3.0 * x + y, 3.0 * (x + y) / 2.0, 1.0 * y } }
                      : glioma::ColourType{ { 1.0, 2.0, 3.0 } };
    };
    glioma::Canvas canvas(width, height);
    for (int y = 0; y < height; ++y)
    {
      for (int x = 0; x < width; ++x)
      {
        canvas.Dot(x, y, colourAt(x, y));
      }
    }
    canvas.Write(path);
    EXPECT_EQ(Read(path), canvas.ToPng());
    const auto picture = itk::ReadImage<PictureType>(path);
    ASSERT_EQ(picture->GetLargestPossibleRegion().GetSize(0), static_cast<itk::SizeValueType>(width));
    ASSERT_EQ(picture->GetLargestPossibleRegion().GetSize(1), static_cast<itk::SizeValueType>(height));
    for (int y = 0; y < height; ++y)
    {
      for (int x = 0; x < width; ++x)
      {
        const auto dot = picture->GetPixel({ { x, y } });
        for (unsigned int c = 0; c < 3; ++c)
        {
          ASSERT_EQ(dot[c], std::lround(colourAt(x, y)[c])) << x << ' ' << y << ' ' << c;
        }
      }
    }
  }
  EXPECT_THROW(glioma::Canvas(2, 2).Write((folder.Path / "none" / "dots.png").string()), std::runtime_error);
}

TEST(SlicePainting, LettersAreReadOnWhite)
{
  const Folder   folder;
  const auto     image = Noisy(24, 20, 12);
  const auto     brain = Ellipsoid(image, 0.9);
  const auto     plane = glioma::FindSlicePlane(glioma::Plane::Axial, *image, brain, nullptr, 120);
  glioma::Canvas canvas(plane.Width, plane.Height);
  for (int y = 0; y < plane.Height; ++y)
  {
    for (int x = 0; x < plane.Width; ++x)
    {
      canvas.Dot(x, y, { { 255.0, 255.0, 255.0 } });
    }
  }
  glioma::DrawSides(canvas, 0, 0, plane);
  const std::string path = (folder.Path / "sides.png").string();
  canvas.Write(path);
  const auto  picture = itk::ReadImage<itk::Image<unsigned char, 2>>(path);
  std::size_t letters = 0;
  for (int y = 1; y + 1 < plane.Height; ++y)
  {
    for (int x = 1; x + 1 < plane.Width; ++x)
    {
      if (picture->GetPixel({ { x, y } }) != static_cast<unsigned char>(glioma::whiteColour[0]))
      {
        continue;
      }
      ++letters;
      for (const auto & [dx, dy] : std::vector<std::pair<int, int>>{ { -1, 0 }, { 1, 0 }, { 0, -1 }, { 0, 1 } })
      {
        EXPECT_LT(picture->GetPixel({ { x + dx, y + dy } }), 250) << x << ' ' << y;
      }
    }
  }
  EXPECT_GT(letters, 40u);
}

TEST(SlicePainting, BreaksTextBetweenWords)
{
  using Lines = std::vector<std::string>;
  EXPECT_EQ(glioma::WrappedText("one two three", 7), (Lines{ "one two", "three" }));
  EXPECT_EQ(glioma::WrappedText("one two three", 13), (Lines{ "one two three" }));
  EXPECT_EQ(glioma::WrappedText("abcdefghij kl", 4), (Lines{ "abcd", "efgh", "ij", "kl" }));
  EXPECT_EQ(glioma::WrappedText("", 4), (Lines{ "" }));
}

TEST(SlicePainting, FindsPeaksWhereSlicesShowThem)
{
  const auto image = Noisy(60, 50, 40);
  const auto brain = Ellipsoid(image, 0.4);
  const auto plane = [&](glioma::Plane kind) { return glioma::FindSlicePlane(kind, *image, brain, nullptr, 64); };
  const auto axial = plane(glioma::Plane::Axial);
  const auto region = glioma::RegionOfFrames(axial, plane(glioma::Plane::Coronal));
  const auto sagittal = plane(glioma::Plane::Sagittal);
  for (unsigned int d = 0; d < 3; ++d)
  {
    if (d != sagittal.SliceAxis)
    {
      EXPECT_EQ(region.GetIndex(d), sagittal.Lower[d]);
      EXPECT_EQ(region.GetUpperIndex()[d], sagittal.Upper[d]);
    }
  }
  const itk::Index<3> corner = image->GetBufferedRegion().GetIndex();
  const itk::Index<3> inside = region.GetUpperIndex();
  ASSERT_FALSE(region.IsInside(corner));
  auto map = ImageType::New();
  auto maps = MapsType::New();
  map->CopyInformation(image);
  maps->CopyInformation(image);
  maps->SetNumberOfComponentsPerPixel(2);
  map->SetRegions(image->GetBufferedRegion());
  maps->SetRegions(image->GetBufferedRegion());
  map->Allocate(true);
  maps->Allocate(true);
  map->SetPixel(corner, 9.0f);
  map->SetPixel(inside, 3.0f);
  itk::VariableLengthVector<float> value(2);
  value[0] = 9.0f;
  value[1] = 0.0f;
  maps->SetPixel(corner, value);
  value[0] = 1.0f;
  value[1] = -3.0f;
  maps->SetPixel(inside, value);
  value[1] = 2.0f;
  maps->SetPixel(region.GetIndex(), value);
  EXPECT_EQ(glioma::FindPeak(map, region), inside);
  EXPECT_EQ(glioma::FindPeak(maps, region), inside);
  EXPECT_EQ(glioma::FindPeak(map, image->GetBufferedRegion()), corner);
}

TEST(ReportPage, ShowsAMapWhereItLies)
{
  const Folder folder;
  const auto   image = Noisy(24, 20, 12);
  const auto   brain = Ellipsoid(image, 0.9);
  const auto   region = image->GetBufferedRegion();
  // In the middle, where the tumour is, or a few voxels off its three slices.
  const itk::Index<3> middle{ { region.GetIndex(0) + 11, region.GetIndex(1) + 9, region.GetIndex(2) + 5 } };
  const itk::Index<3> other{ { middle[0] - 5, middle[1] + 4, middle[2] - 3 } };
  const auto          write = [&](const itk::Index<3> & place, float there, bool hasTumour) {
    auto heat = ImageType::New();
    auto maps = MapsType::New();
    maps->SetNumberOfComponentsPerPixel(1);
    heat->CopyInformation(image);
    maps->CopyInformation(image);
    heat->SetRegions(region);
    maps->SetRegions(region);
    heat->Allocate(true);
    maps->Allocate(true);
    heat->SetPixel(place, 3.0f);
    heat->SetPixel(middle, std::max(heat->GetPixel(middle), there));
    itk::VariableLengthVector<float> value(1);
    value[0] = -3.0f;
    maps->SetPixel(place, value);
    glioma::ReportPage page;
    page.SetResult(ResultOf("HGG"));
    page.SetCaseName("case");
    page.AddSequence("T1", image);
    page.SetBrainMask(brain);
    page.SetTumour(Ellipsoid(image, hasTumour ? 0.3 : 0.0));
    page.AddGradCAM("res3", heat, brain, { { 4.0, 4.0, 4.0 } });
    page.AddGuidedBackpropagation(maps, { { 1.0, 1.0, 1.0 } }, true);
    page.SetViewerFile("");
    page.Write((folder.Path / "report.html").string());
    return Read(folder.Path / "report.html");
  };
  // Dots with a colour (none is of the outline's) in the pictures whose alternative text has a part.
  const auto coloured = [&](const std::string & html, const std::string & part) {
    std::vector<std::size_t> dots;
    const std::string        data = "<img src=\"data:image/png;base64,";
    for (auto at = html.find(data); at != std::string::npos; at = html.find(data, at + 1))
    {
      const std::string tag = html.substr(at, html.find('>', at) - at);
      if (tag.find(part) == std::string::npos)
      {
        continue;
      }
      const std::string path = (folder.Path / "picture.png").string();
      std::ofstream(path, std::ios::binary) << FromBase64(tag.substr(data.size()));
      const auto picture = itk::ReadImage<itk::Image<itk::RGBPixel<unsigned char>, 2>>(path);
      dots.push_back(0);
      for (itk::SizeValueType i = 0; i < picture->GetBufferedRegion().GetNumberOfPixels(); ++i)
      {
        const auto & dot = picture->GetBufferPointer()[i];
        dots.back() += std::max(dot[0], dot[2]) > dot[1] + 40 ? 1 : 0;
      }
    }
    return dots;
  };
  const std::string said = "Hardly anything of this map lies on the ";
  const std::string html = write(other, 0.0f, true);
  EXPECT_EQ(Count(html, said), 2u);
  EXPECT_EQ(Count(html, said + "slices of the sequences above; the slices here go through"), 1u);
  // Of guided backpropagation the axial slice alone is shown.
  EXPECT_EQ(Count(html, said + "axial slice of the sequences above; the slice here goes through"), 1u);
  itk::Point<double, 3> point;
  image->TransformIndexToPhysicalPoint(other, point);
  char place[96];
  std::snprintf(place, sizeof(place), "at (%.1f, %.1f, %.1f) mm LPS", point[0], point[1], point[2]);
  EXPECT_EQ(Count(html, place), 2u) << place;
  for (const char * const map : { "with GradCAM res3", "with Whole brain: guided backpropagation" })
  {
    const auto dots = coloured(html, map);
    EXPECT_EQ(dots.size(), map == std::string("with GradCAM res3") ? 3u : 1u);
    for (const std::size_t number : dots)
    {
      EXPECT_GT(number, 20u) << map;
    }
  }
  // The tumour's outline is not on those slices.
  EXPECT_EQ(Count(html, "slice with GradCAM res3, with the tumour"), 0u);
  EXPECT_EQ(Count(html, "slice, with the tumour"), 3u);
  EXPECT_EQ(Count(write(middle, 0.0f, true), "slice with GradCAM res3, with the tumour"), 3u);

  // A little of it counts as nothing, more does not, and no tumour has no outline.
  EXPECT_EQ(Count(write(other, 0.1f, true), said), 2u);
  EXPECT_EQ(Count(write(other, 0.6f, true), said), 1u);
  const std::string without = write(middle, 0.0f, false);
  EXPECT_EQ(Count(without, said), 0u);
  EXPECT_EQ(Count(without, "with the tumour"), 0u);
  EXPECT_EQ(Count(without, "slice with GradCAM res3"), 3u);
}

TEST(ReportPage, WritesNoOtherFile)
{
  const Folder       folder;
  const auto         image = Noisy(24, 20, 12);
  const auto         brain = Ellipsoid(image, 0.9);
  const std::string  path = (folder.Path / "report.html").string();
  glioma::ReportPage page;
  page.SetResult(ResultOf("HGG"));
  page.SetCaseName("case");
  page.AddSequence("T1", image);
  page.SetBrainMask(brain);
  page.SetViewerFile("");
  // What an interrupt leaves behind is only what the caller knows by name: pictures have no file of their own.
  fs::create_directory(path + ".slice.png");
  EXPECT_NO_THROW(page.Write(path));
  EXPECT_NE(Read(path).find("data:image/png;base64,"), std::string::npos);
}

TEST(ReportPage, SaysNoMoreThanTheNumbers)
{
  const Folder       folder;
  const auto         image = Noisy(24, 20, 12);
  const auto         brain = Ellipsoid(image, 0.9);
  const std::string  path = (folder.Path / "report.html").string();
  Json               result = ResultOf("HGG");
  glioma::ReportPage page;
  page.SetCaseName("case");
  page.AddSequence("T1", image);
  page.SetBrainMask(brain);
  page.SetTumour(Ellipsoid(image, 0.4));
  page.AddGradCAM("res3", image, brain, { { 4.0, 4.0, 4.0 } });
  page.SetViewerFile("");
  const auto write = [&] {
    page.SetResult(result);
    page.Write(path);
    return Read(path);
  };

  // What is not certain is not 100 %, and what is there is not 0 times chance.
  result["quality"] = { { "gradcam-res3-tumour-share", 0.01 },
                        { "gradcam-res3-tumour-chance", 0.3 },
                        { "gradcam-res3-tumour-ratio", 0.036 } };
  for (const auto & [share, text] : std::vector<std::pair<double, std::string>>{
         { 0.9982, "99.8 %" }, { 0.9951, "99.5 %" }, { 0.9992, "more than 99.9 %" }, { 0.987, "99 %" } })
  {
    result["probabilities"] = { { "HGG", share }, { "LGG", 1.0 - share } };
    const std::string html = write();
    EXPECT_EQ(html.find(">100 %"), std::string::npos) << share;
    EXPECT_NE(html.find('>' + text + '<'), std::string::npos) << share;
  }
  EXPECT_EQ(write().find(" 0.0 times chance"), std::string::npos);
  EXPECT_NE(write().find("0.04 times chance"), std::string::npos);

  // The tests of the explanation stand in the table, each beside chance where there is one.
  for (const char * const grader : { "", "brain-" })
  {
    const std::string before = grader;
    result["quality"] = { { before + "gradcam-res3-deletion-area", 0.3125 },
                          { before + "gradcam-res3-insertion-area", 0.4375 },
                          { before + "chance-deletion-area", 0.5625 },
                          { before + "chance-insertion-area", 0.6875 },
                          { before + "gradcam-res3-random-weights-rank-correlation", 0.8125 },
                          { before + "gradcam-res3-random-weights-similarity", 0.9375 } };
    const std::string html = write();
    EXPECT_EQ(html.find("Further numbers"), std::string::npos);
    for (const char * const text : { "0.312<span class=\"meaning\">by chance 0.562",
                                     "0.438<span class=\"meaning\">by chance 0.688",
                                     "data-label=\"",
                                     ">0.812<",
                                     ">0.938<" })
    {
      EXPECT_NE(html.find(text), std::string::npos) << text;
    }
  }

  // A map has one name everywhere.
  result["quality"] = { { "brain-guided-backprop-tumour-share", 0.5 } };
  EXPECT_NE(write().find("Whole brain: guided backpropagation"), std::string::npos);
  EXPECT_EQ(write().find("Whole brain: Guided"), std::string::npos);

  // The manifest may say it itself.
  result["provenance"]["models"]["HGG"]["training_data"] = "trained on phantoms";
  EXPECT_EQ(write().find("trained on: trained"), std::string::npos);
  EXPECT_NE(write().find(">trained on phantoms<"), std::string::npos);

  const std::string ofTumour = "tumour's largest area";
  EXPECT_NE(write().find(ofTumour), std::string::npos);
  EXPECT_EQ(write().find("the grid of the grading"), std::string::npos);
  result["registration"] = { { "reference", "T1c" }, { "sequences", Json::object() } };
  page.SetTumour(Ellipsoid(image, 0.0));
  EXPECT_EQ(write().find(ofTumour), std::string::npos);
  EXPECT_NE(write().find("the grid of the grading, in the space of T1c"), std::string::npos);
}

TEST(ReportPage, LetsNoTextOfACaseBecomeHtml)
{
  const Folder       folder;
  const auto         image = Noisy(24, 20, 12);
  const auto         brain = Ellipsoid(image, 0.9);
  const auto         tumour = Ellipsoid(image, 0.4);
  const std::string  path = (folder.Path / "report.html").string();
  glioma::ReportPage page;
  page.SetResult(ResultOf(nasty));
  page.SetCaseName(nasty);
  page.AddSequence(nasty, image);
  page.SetBrainMask(brain);
  page.SetTumour(tumour);
  page.AddGradCAM(nasty, image, brain, { { 4.0, 4.0, 4.0 } });
  page.AddGradCAM(nasty, image, brain, { { 4.0, 4.0, 4.0 } }, true);
  page.SetViewerFile("");
  page.Write(path);
  const std::string html = Read(path);
  EXPECT_EQ(html.find("<img onerror"), std::string::npos);
  EXPECT_GT(Count(html, "&lt;/script&gt;&lt;img onerror=&quot;window.pwned=1&quot;"), 20u);
  EXPECT_EQ(Count(html, "<script"), 1u);
  EXPECT_EQ(Count(html, "</script"), 1u);
  EXPECT_NE(html.find("default-src 'none'; script-src 'sha256-"), std::string::npos);
  EXPECT_EQ(html.find("unsafe-"), std::string::npos);
  // Without the viewer's library: says so, and has the slices.
  EXPECT_NE(html.find("This page has no interactive view"), std::string::npos);
  EXPECT_EQ(Count(html, "<img src=\"data:image/png;base64,"), 9u);

  // The second time it has the same bytes, and another library than the one that is pinned is not taken.
  std::ofstream(folder.Path / "viewer.js") << "alert(1)";
  page.SetViewerFile((folder.Path / "viewer.js").string());
  page.Write(path);
  const std::string other = Read(path);
  EXPECT_EQ(other.find("alert(1)"), std::string::npos);
  EXPECT_NE(other.find("its SHA-256 is another one"), std::string::npos);
  page.SetViewerFile("");
  page.Write(path);
  EXPECT_EQ(Read(path), html);
}
