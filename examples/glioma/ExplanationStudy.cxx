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
#include "ExplanationStudy.h"

#include "CaseReader.h"
#include "EvaluationDocument.h"
#include "ImageOutput.h"
#include "SlicePainting.h"

#include "itkImageFileReader.h"
#include "itkLinearInterpolateImageFunction.h"
#include "itkVectorImage.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <set>

namespace glioma
{
namespace
{
using Json = nlohmann::ordered_json;
using ImageType = itk::Image<float, 3>;

constexpr std::array<unsigned int, 3> commonSize{ { 70, 85, 70 } };
constexpr std::size_t                 commonVoxels = 70 * 85 * 70;

Json
Distribution(const std::vector<double> & values)
{
  Json json{ { "cases", values.size() } };
  for (const auto & quantile : { std::make_pair("minimum", 0.0),
                                 std::make_pair("lower_quartile", 0.25),
                                 std::make_pair("median", 0.5),
                                 std::make_pair("upper_quartile", 0.75),
                                 std::make_pair("maximum", 1.0) })
  {
    json[quantile.first] = values.empty() ? Json(nullptr) : Json(QuantileOf(values, quantile.second));
  }
  return json;
}

/** ROC-AUC with which a score tells wrong cases; the words of what is missing are ours. */
Json
AreaForWrong(const std::vector<double> & scores, const std::vector<bool> & wrong)
{
  const auto count = std::count(wrong.begin(), wrong.end(), true);
  if (count == 0 || static_cast<std::size_t>(count) == wrong.size())
  {
    return ToJson(UndefinedEstimate(wrong.empty() ? "no case has it"
                                    : count == 0  ? "no grade is wrong"
                                                  : "no grade is right"));
  }
  return ToJson(AreaUnderCurve(scores, wrong));
}

/** A map of one number a voxel; of several components the sum of their magnitudes. */
ImageType::Pointer
ReadMap(const std::string & path)
{
  using VectorType = itk::VectorImage<float, 3>;
  const auto reader = itk::ImageFileReader<VectorType>::New();
  reader->SetFileName(path);
  reader->Update();
  const VectorType * vector = reader->GetOutput();
  auto               map = ImageType::New();
  map->CopyInformation(vector);
  map->SetRegions(vector->GetBufferedRegion());
  map->Allocate();
  const unsigned int components = vector->GetNumberOfComponentsPerPixel();
  const std::size_t  voxels = vector->GetBufferedRegion().GetNumberOfPixels();
  const float *      from = vector->GetBufferPointer();
  for (std::size_t i = 0; i < voxels; ++i)
  {
    float sum = 0.0F;
    for (unsigned int c = 0; c < components; ++c)
    {
      sum += std::abs(from[i * components + c]);
    }
    map->GetBufferPointer()[i] = sum;
  }
  return map;
}

/** The box of the brain in patient coordinates (LPS), low and high. */
std::array<std::array<double, 3>, 2>
FindBrainBox(const ImageType * image)
{
  std::array<std::vector<double>, 3> coordinates;
  const auto                         region = image->GetBufferedRegion();
  const auto                         size = region.GetSize();
  const float *                      voxel = image->GetBufferPointer();
  for (itk::SizeValueType z = 0; z < size[2]; ++z)
  {
    for (itk::SizeValueType y = 0; y < size[1]; ++y)
    {
      for (itk::SizeValueType x = 0; x < size[0]; ++x, ++voxel)
      {
        // Every fourth voxel along each axis tells enough.
        if (*voxel != 0.0F && x % 4 == 0 && y % 4 == 0 && z % 4 == 0)
        {
          itk::Index<3> index = region.GetIndex();
          index[0] += static_cast<itk::IndexValueType>(x);
          index[1] += static_cast<itk::IndexValueType>(y);
          index[2] += static_cast<itk::IndexValueType>(z);
          ImageType::PointType point;
          image->TransformIndexToPhysicalPoint(index, point);
          for (unsigned int a = 0; a < 3; ++a)
          {
            coordinates[a].push_back(point[a]);
          }
        }
      }
    }
  }
  std::array<std::array<double, 3>, 2> box{};
  for (unsigned int a = 0; a < 3; ++a)
  {
    const double low = QuantileOf(coordinates[a], 0.005);
    const double high = QuantileOf(coordinates[a], 0.995);
    // What lies beyond, and a frame.
    box[0][a] = low - 0.05 * (high - low);
    box[1][a] = high + 0.05 * (high - low);
  }
  return box;
}

std::vector<float>
ToCommonSpace(const ImageType * image, const std::array<std::array<double, 3>, 2> & box)
{
  const auto interpolator = itk::LinearInterpolateImageFunction<ImageType>::New();
  interpolator->SetInputImage(image);
  std::vector<float> values(commonVoxels, 0.0F);
  std::size_t        at = 0;
  for (unsigned int z = 0; z < commonSize[2]; ++z)
  {
    for (unsigned int y = 0; y < commonSize[1]; ++y)
    {
      for (unsigned int x = 0; x < commonSize[0]; ++x, ++at)
      {
        const std::array<unsigned int, 3> place{ { x, y, z } };
        ImageType::PointType              point;
        for (unsigned int a = 0; a < 3; ++a)
        {
          point[a] = box[0][a] + (place[a] + 0.5) / commonSize[a] * (box[1][a] - box[0][a]);
        }
        if (interpolator->IsInsideBuffer(point))
        {
          values[at] = static_cast<float>(interpolator->Evaluate(point));
        }
      }
    }
  }
  return values;
}

template <typename TImage>
typename TImage::Pointer
OnCommonGrid(const std::vector<float> & values, double factor, double threshold)
{
  auto image = TImage::New();
  image->SetRegions(typename TImage::SizeType{ { commonSize[0], commonSize[1], commonSize[2] } });
  typename TImage::SpacingType spacing;
  spacing.Fill(2.0); // a brain of 140 x 170 x 140 mm
  image->SetSpacing(spacing);
  image->Allocate();
  std::transform(values.begin(), values.end(), image->GetBufferPointer(), [&](float value) {
    return static_cast<typename TImage::PixelType>(threshold < 0.0 ? factor * value : factor * value > threshold);
  });
  return image;
}
} // namespace

Json
StudyExplanations(const std::vector<CasePrediction> & cases)
{
  std::vector<bool>     wrong;
  std::vector<double>   flagged;
  std::vector<double>   reasons;
  std::set<std::string> names;
  std::size_t           flags[2] = { 0, 0 };
  for (const CasePrediction & c : cases)
  {
    if (!c.Graded.HasGrade())
    {
      continue;
    }
    wrong.push_back(!c.Graded.IsRight());
    flagged.push_back(c.IsFlagged ? 1.0 : 0.0);
    reasons.push_back(static_cast<double>(c.NumberOfReasons));
    flags[wrong.back()] += c.IsFlagged ? 1 : 0;
    for (const auto & number : c.Quality)
    {
      names.insert(number.first);
    }
  }
  const auto numberWrong = static_cast<std::size_t>(std::count(wrong.begin(), wrong.end(), true));
  Json       json;
  json["right"] = wrong.size() - numberWrong;
  json["wrong"] = numberWrong;
  json["flagged"] = { { "right", flags[0] }, { "wrong", flags[1] } };
  json["verdict_auc"] = AreaForWrong(flagged, wrong);
  json["reasons_auc"] = AreaForWrong(reasons, wrong);
  json["quality"] = Json::object();
  for (const std::string & name : names)
  {
    std::map<std::string, std::vector<double>> groups;
    std::vector<double>                        scores;
    std::vector<bool>                          isWrong;
    for (const CasePrediction & c : cases)
    {
      const auto found = c.Quality.find(name);
      if (!c.Graded.HasGrade() || found == c.Quality.end() || !std::isfinite(found->second))
      {
        continue;
      }
      groups[c.Grade].push_back(found->second);
      groups[c.Graded.IsRight() ? "right" : "wrong"].push_back(found->second);
      scores.push_back(found->second);
      isWrong.push_back(!c.Graded.IsRight());
    }
    for (const char * const group : { "LGG", "HGG", "right", "wrong" })
    {
      json["quality"][name][group] = Distribution(groups[group]);
    }
    json["quality"][name]["wrong_auc"] = AreaForWrong(scores, isWrong);
  }
  json["mean_maps"] = Json::array();
  return json;
}

void
MeanMaps::Add(const itk::CohortCase & cohortCase, const CasePrediction & prediction)
{
  const std::string path = FindImage(prediction.Folder, m_Map);
  if (path.empty() || !prediction.Graded.HasGrade())
  {
    return;
  }
  // The maps, and the brain mask, are in the space of the reference: that of T1 may be another after --register.
  const ImageType::Pointer first =
    ReadStripped(cohortCase.Sequences[prediction.Reference], "the reference", cohortCase.BrainMask);
  const auto         box = FindBrainBox(first);
  std::vector<float> map = ToCommonSpace(ReadMap(path), box);
  double             sum = 0.0;
  for (const float value : map)
  {
    sum += value;
  }
  if (!(sum > 0.0))
  {
    return;
  }
  const std::vector<float> brightness = ToCommonSpace(first, box);
  std::vector<float>       sorted = brightness;
  const auto               high = static_cast<std::ptrdiff_t>(0.99 * static_cast<double>(sorted.size()));
  std::nth_element(sorted.begin(), sorted.begin() + high, sorted.end());
  const float white = std::max(sorted[static_cast<std::size_t>(high)], 1e-6F);

  std::vector<float> & sums = m_Sums[prediction.Graded.IsCalledHGG()];
  sums.resize(commonVoxels, 0.0F);
  m_Brightness.resize(commonVoxels, 0.0F);
  m_Brain.resize(commonVoxels, 0.0F);
  for (std::size_t i = 0; i < commonVoxels; ++i)
  {
    // As many times its even share.
    sums[i] += static_cast<float>(map[i] / sum * static_cast<double>(commonVoxels));
    m_Brightness[i] += std::min(brightness[i] / white, 1.5F);
    m_Brain[i] += brightness[i] != 0.0F ? 1.0F : 0.0F;
  }
  ++m_Counts[prediction.Graded.IsCalledHGG()];
}

std::vector<std::string>
MeanMaps::GetFileNames(const std::string & stem)
{
  return { stem + ".png", stem + "-LGG.nii.gz", stem + "-HGG.nii.gz" };
}

void
MeanMaps::Write(const std::function<std::string(const std::string &)> & pathOf,
                const std::string &                                     stem,
                const std::vector<std::string> &                        notes) const
{
  const double factor = 1.0 / static_cast<double>(std::max<std::size_t>(1, this->GetNumberOfCases()));
  const auto   brightness = OnCommonGrid<SliceImageType>(m_Brightness, factor, -1.0);
  const auto   brain = OnCommonGrid<SliceMaskType>(m_Brain, factor, 0.5);
  const auto   window = FindGreyWindow(brightness, brain);
  const int    side = 255;
  const int    margin = 14;
  const int    width = 4 * margin + 3 * side;
  const int    bottom = 56 + 2 * (side + 40);
  const auto   lines = WrappedText(NoteOfPictures(notes), static_cast<std::size_t>(width - 2 * margin) / 6);
  Canvas       canvas(width, bottom + 14 * static_cast<int>(lines.size()));
  canvas.Text(margin, 14, "Mean of " + m_Map + " by the grade that is called", whiteColour, 2);
  canvas.Text(margin, 36, "each brain's box stretched to one, no registration; slices through the peak", greyColour);
  for (unsigned int grade = 0; grade < 2; ++grade)
  {
    const int         top = 76 + static_cast<int>(grade) * (side + 40);
    const std::string name = grade ? "HGG" : "LGG";
    const std::string said = "called " + name + ": " + std::to_string(m_Counts[grade]) + " cases";
    if (m_Counts[grade] == 0)
    {
      canvas.Text(margin, top - 14, said, whiteColour);
      continue;
    }
    const double share = 1.0 / static_cast<double>(m_Counts[grade]);
    const auto   map = OnCommonGrid<SliceImageType>(m_Sums[grade], share, -1.0);
    WriteImage(map.GetPointer(), itk::MetaDataDictionary(), pathOf(stem + '-' + name + ".nii.gz"));
    const double largest = LargestValue(map);
    char         scale[64];
    std::snprintf(scale, sizeof(scale), "; dark to yellow: 0 to %.3g times an even share", largest);
    canvas.Text(margin, top - 14, said + scale, whiteColour);
    const auto peak = OnCommonGrid<SliceMaskType>(m_Sums[grade], share, 0.8 * largest);
    // A little everywhere, from the edge of each case's region, is not drawn.
    const auto drawn = OnCommonGrid<SliceImageType>(m_Sums[grade], share, -1.0);
    std::replace_if(
      drawn->GetBufferPointer(),
      drawn->GetBufferPointer() + commonVoxels,
      [largest](float value) { return value < 0.03 * largest; },
      0.0F);
    int left = margin;
    for (const Plane kind : { Plane::Axial, Plane::Coronal, Plane::Sagittal })
    {
      const SlicePlane plane = FindSlicePlane(kind, *map, brain, peak, side);
      DrawSequence(canvas, left, top, plane, brightness, brain, window);
      DrawHeat(canvas, left, top, plane, drawn, largest);
      DrawSides(canvas, left, top, plane);
      left += side + margin;
    }
  }
  for (std::size_t i = 0; i < lines.size(); ++i)
  {
    canvas.Text(margin, bottom + 14 * static_cast<int>(i), lines[i], greyColour);
  }
  canvas.Write(pathOf(stem + ".png"));
}
} // namespace glioma
