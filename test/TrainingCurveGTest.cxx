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
#include "TrainingCurve.h"

#include "itkImage.h"
#include "itkImageFileReader.h"
#include "itkRGBPixel.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace
{
namespace fs = std::filesystem;
using ImageType = itk::Image<itk::RGBPixel<unsigned char>, 2>;

/** Rows of the picture, from above, in which a colour has its highest and lowest dot left of the middle or right of it.
 */
std::pair<long, long>
RowsOf(const ImageType * picture, const std::array<int, 3> & colour, bool right)
{
  const auto            size = picture->GetLargestPossibleRegion().GetSize();
  std::pair<long, long> rows{ -1, -1 };
  for (long y = 50; y < static_cast<long>(size[1]) - 50; ++y)
  {
    for (long x = 70; x < static_cast<long>(size[0]) - 60; ++x)
    {
      const auto pixel = picture->GetPixel({ { x, y } });
      if ((x > static_cast<long>(size[0]) / 2) == right && pixel[0] == colour[0] && pixel[1] == colour[1] &&
          pixel[2] == colour[2])
      {
        rows.first = rows.first < 0 ? y : rows.first;
        rows.second = y;
      }
    }
  }
  return rows;
}
} // namespace

TEST(TrainingCurve, ShowsFallingLossAndRisingScore)
{
  const fs::path folder = fs::temp_directory_path() / "glioma-training-curve";
  fs::remove_all(folder);
  fs::create_directories(folder);
  const std::string output = (folder / "bundle").string();
  EXPECT_THROW(glioma::DrawTrainingCurve(output), itk::ExceptionObject);
  {
    std::ofstream log(output + ".csv");
    log << "step,seconds,loss,rate,validation\n";
    for (int step = 1; step <= 200; ++step)
    {
      log << step << ',' << step << ".00," << 2.0 - 0.009 * step << ",0.001,";
      if (step % 50 == 0)
      {
        log << step / 250.0;
      }
      log << '\n';
    }
  }
  glioma::DrawTrainingCurve(output + '/');
  auto reader = itk::ImageFileReader<ImageType>::New();
  reader->SetFileName(output + ".png");
  reader->Update();
  const auto mean = std::array<int, 3>{ { 86, 180, 233 } };
  const auto score = std::array<int, 3>{ { 230, 159, 0 } };
  const auto lossLeft = RowsOf(reader->GetOutput(), mean, false);
  const auto lossRight = RowsOf(reader->GetOutput(), mean, true);
  const auto scoreLeft = RowsOf(reader->GetOutput(), score, false);
  const auto scoreRight = RowsOf(reader->GetOutput(), score, true);
  ASSERT_GE(lossLeft.first, 0);
  ASSERT_GE(scoreLeft.first, 0);
  EXPECT_LT(lossLeft.first + 100, lossRight.second);   // down
  EXPECT_GT(scoreLeft.second, scoreRight.first + 100); // up
  fs::remove_all(folder);
}

TEST(TrainingCurve, SaysWhatItCannotWrite)
{
  const fs::path folder = fs::temp_directory_path() / "glioma-training-curve-refused";
  fs::remove_all(folder);
  fs::create_directories(folder / "bundle.png.part");
  const std::string output = (folder / "bundle").string();
  EXPECT_EQ(glioma::FindCurveProblem(output), "");
  std::ofstream(output + ".png") << "a picture of somebody's";
  EXPECT_NE(glioma::FindCurveProblem(output + '/').find("bundle.png exists without the log"), std::string::npos);
  std::ofstream(output + ".csv") << "step,seconds,loss,rate,validation\n1,1,0.7,0.1,\n2,2,0.6,0.1,\n3,3,0.5,0.1,\n";
  EXPECT_EQ(glioma::FindCurveProblem(output), "");
  std::string said;
  try
  {
    glioma::DrawTrainingCurve(output);
  }
  catch (const std::exception & error)
  {
    said = error.what();
  }
  EXPECT_NE(said.find("bundle.png.part cannot be written: "), std::string::npos) << said;
  // The former picture is whole.
  std::string kept;
  std::getline(std::ifstream(output + ".png"), kept);
  EXPECT_EQ(kept, "a picture of somebody's");
  fs::remove_all(folder);
}
