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

// The overview's text against the dots of its letters, looked for in the picture.

#include "BitmapFont.h"
#include "ObliqueImage.h"
#include "OverviewPicture.h"

#include "itkImageFileReader.h"
#include "itkRGBPixel.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <string>

namespace
{
using ImageType = itk::Image<float, 3>;
using MaskType = itk::Image<unsigned char, 3>;
using MapsType = itk::VectorImage<float, 3>;
using PictureType = itk::Image<itk::RGBPixel<unsigned char>, 2>;

/** How often a text of small letters, light on a dark ground, stands in a picture. */
unsigned int
Count(const PictureType & picture, const std::string & text)
{
  const auto size = picture.GetBufferedRegion().GetSize();
  const auto isLit = [&](itk::IndexValueType x, itk::IndexValueType y) {
    return picture.GetPixel({ { x, y } }).GetGreen() > 100;
  };
  const auto isHere = [&](itk::IndexValueType left, itk::IndexValueType top) {
    for (std::size_t i = 0; i < text.size(); ++i)
    {
      const glioma::Glyph & glyph = glioma::GlyphOf(text[i]);
      for (int y = 0; y < 7; ++y)
      {
        for (int x = 0; x < 5; ++x)
        {
          const bool wanted = (glyph[static_cast<std::size_t>(y)] >> (4 - x) & 1) != 0;
          if (isLit(left + 6 * static_cast<itk::IndexValueType>(i) + x, top + y) != wanted)
          {
            return false;
          }
        }
      }
    }
    return true;
  };
  unsigned int number = 0;
  for (itk::SizeValueType top = 0; top + 7 <= size[1]; ++top)
  {
    for (itk::SizeValueType left = 0; left + 6 * text.size() <= size[0]; ++left)
    {
      number += isHere(static_cast<itk::IndexValueType>(left), static_cast<itk::IndexValueType>(top)) ? 1 : 0;
    }
  }
  return number;
}

/** The overview of two sequences with maps that are something at one voxel. */
PictureType::Pointer
Draw(const itk::Index<3> & offset, float heat, float guided)
{
  const auto image = oblique::Make<ImageType>(24, 20, 12);
  const auto region = image->GetBufferedRegion();
  image->FillBuffer(100.0f);
  const auto brain = oblique::Make<MaskType>(24, 20, 12);
  brain->FillBuffer(1);
  const auto tumour = oblique::Make<MaskType>(24, 20, 12);
  tumour->FillBuffer(0);
  itk::Index<3> middle = region.GetIndex();
  itk::Index<3> place = middle;
  for (unsigned int d = 0; d < 3; ++d)
  {
    middle[d] += static_cast<itk::IndexValueType>(region.GetSize(d) / 2);
    place[d] = middle[d] + offset[d];
  }
  tumour->SetPixel(middle, 1);
  const auto map = oblique::Make<ImageType>(24, 20, 12);
  map->FillBuffer(0.0f);
  map->SetPixel(place, heat);
  const auto maps = MapsType::New();
  maps->CopyInformation(image);
  maps->SetRegions(region);
  maps->SetNumberOfComponentsPerPixel(2);
  maps->Allocate(true);
  itk::VariableLengthVector<float> value(2);
  value.Fill(0.0f);
  value[1] = guided;
  maps->SetPixel(place, value);

  glioma::OverviewPicture overview;
  overview.AddSequence("T1", image);
  overview.AddSequence("T2", image);
  overview.SetBrainMask(brain);
  overview.SetTumour(tumour);
  overview.AddGradCAM("GradCAM", map, nullptr);
  overview.SetGuidedBackpropagation("Guided", maps);
  overview.AddLine("Research use only.", true);
  const std::string path =
    (std::filesystem::temp_directory_path() /
     ("overview-" + std::string(testing::UnitTest::GetInstance()->current_test_info()->name()) + ".png"))
      .string();
  overview.Write(path);
  const auto picture = itk::ReadImage<PictureType>(path);
  std::filesystem::remove(path);
  return picture;
}
} // namespace

TEST(OverviewPicture, SaysHowFarAMapGoesAndWhereItIsNot)
{
  // Through the tumour's slice, beside its voxel.
  auto picture = Draw({ { 3, -2, 0 } }, 3.0f, -0.25f);
  EXPECT_EQ(Count(*picture, "GradCAM on T1"), 1u);
  EXPECT_EQ(Count(*picture, "GradCAM on T2"), 1u);
  EXPECT_EQ(Count(*picture, "0 to 3"), 2u);
  EXPECT_EQ(Count(*picture, "little on this slice"), 0u);
  EXPECT_EQ(Count(*picture, "-0.25 to 0.25"), 2u);
  // The first sequence's own map is empty.
  EXPECT_EQ(Count(*picture, "-0.25 to 0.25; little here"), 1u);

  // On a slice that is not shown.
  picture = Draw({ { 3, -2, 4 } }, 3.0f, -0.25f);
  EXPECT_EQ(Count(*picture, "0 to 3; little on this slice"), 2u);
  EXPECT_EQ(Count(*picture, "-0.25 to 0.25; little here"), 2u);

  // Nowhere.
  picture = Draw({ { 0, 0, 0 } }, 0.0f, 0.5f);
  EXPECT_EQ(Count(*picture, "nothing above 0"), 2u);
  EXPECT_EQ(Count(*picture, "little on this slice"), 0u);
}
