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
#include "CohortCache.h"

#include "Safetensors.h"
#include "itkSha256.h"

#include "itkBoundingBoxROIFilter.h"
#include "itkImageFileCheck.h"
#include "itkImageFileReader.h"
#include "itkModelSpaceFilter.h"
#include "itkSequencePreparationFilter.h"
#include "itkVectorImage.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <locale>
#include <map>
#include <sstream>

namespace itk
{
namespace
{
namespace fs = std::filesystem;

using FloatImage = Image<float, 3>;
using MaskImage = Image<unsigned char, 3>;
using SequencesImage = VectorImage<float, 3>;

FloatImage::Pointer
LoadImage(const std::string & path)
{
  const auto notFinite = ImageFileCheck::FindNonFiniteVoxels(path);
  auto       reader = ImageFileReader<FloatImage>::New();
  reader->SetFileName(path);
  reader->Update();
  FloatImage::Pointer image = reader->GetOutput();
  image->DisconnectPipeline();
  ImageFileCheck::Restore(notFinite, image.GetPointer());
  return image;
}

/** Through float: a mask of 0.5 or of 256 is not 0. */
MaskImage::Pointer
LoadMask(const std::string & path)
{
  const FloatImage::Pointer values = LoadImage(path);
  const std::string         problem = ImageFileCheck::FindMaskProblem(values);
  if (!problem.empty())
  {
    itkGenericExceptionMacro("the mask " << path << ": " << problem);
  }
  MaskImage::Pointer mask = MaskImage::New();
  mask->CopyInformation(values);
  mask->SetRegions(values->GetLargestPossibleRegion());
  mask->Allocate();
  const float * const from = values->GetBufferPointer();
  std::transform(from,
                 from + values->GetLargestPossibleRegion().GetNumberOfPixels(),
                 mask->GetBufferPointer(),
                 [](float v) { return v > 0.0F ? 1 : 0; });
  return mask;
}

template <typename TImage>
typename TImage::Pointer
ToModelSpace(const TImage * image, double spacing, const Array<double> & outside = {})
{
  auto filter = ModelSpaceFilter<TImage>::New();
  filter->SetInput(image);
  filter->SetOutsideValue(outside);
  filter->SetOutputOrientation("LPS");
  typename ModelSpaceFilter<TImage>::SpacingType wanted;
  wanted.Fill(spacing);
  filter->SetOutputSpacing(wanted);
  filter->Update();
  typename TImage::Pointer output = filter->GetOutput();
  output->DisconnectPipeline();
  return output;
}

/** A mask as an image of 0 and 1, resampled and smoothed as the sequences are: the share of a voxel. */
template <typename TMask>
FloatImage::Pointer
ShareInModelSpace(const TMask * mask, double spacing)
{
  FloatImage::Pointer share = FloatImage::New();
  share->CopyInformation(mask);
  share->SetRegions(mask->GetLargestPossibleRegion());
  share->Allocate();
  const SizeValueType voxels = mask->GetLargestPossibleRegion().GetNumberOfPixels();
  std::transform(mask->GetBufferPointer(), mask->GetBufferPointer() + voxels, share->GetBufferPointer(), [](auto v) {
    return v > 0 ? 1.0F : 0.0F;
  });
  return ToModelSpace(share.GetPointer(), spacing);
}

void
CheckGrid(const ImageBase<3> & image,
          const std::string &  file,
          const ImageBase<3> & reference,
          const std::string &  referenceFile)
{
  bool same = image.GetLargestPossibleRegion() == reference.GetLargestPossibleRegion();
  for (unsigned int a = 0; a < 3; ++a)
  {
    const double voxel = reference.GetSpacing()[a];
    same = same && std::abs(image.GetSpacing()[a] - voxel) <= 1e-3 * voxel &&
           std::abs(image.GetOrigin()[a] - reference.GetOrigin()[a]) <= 1e-3 * voxel;
    for (unsigned int b = 0; b < 3; ++b)
    {
      same = same && std::abs(image.GetDirection()[a][b] - reference.GetDirection()[a][b]) <= 1e-3;
    }
  }
  if (!same)
  {
    itkGenericExceptionMacro("the grid of "
                             << file << " (" << image.GetLargestPossibleRegion().GetSize() << " voxels, spacing "
                             << image.GetSpacing() << ", origin " << image.GetOrigin() << ") is not that of "
                             << referenceFile << " (" << reference.GetLargestPossibleRegion().GetSize() << ", "
                             << reference.GetSpacing() << ", " << reference.GetOrigin() << "); resample one of them");
  }
}

torch::Tensor
Cut(const torch::Tensor & volume, const std::array<std::int64_t, 3> & low, const std::array<std::int64_t, 3> & high)
{
  return volume.narrow(0, low[2], high[2] - low[2] + 1)
    .narrow(1, low[1], high[1] - low[1] + 1)
    .narrow(2, low[0], high[0] - low[0] + 1)
    .clone(torch::MemoryFormat::Contiguous);
}

/** Lowest and highest index (x, y, z) of the voxels that are true; false: there is none. */
bool
BoxOf(const torch::Tensor & inside, std::array<std::int64_t, 3> & low, std::array<std::int64_t, 3> & high)
{
  const torch::Tensor at = inside.nonzero();
  if (at.size(0) == 0)
  {
    return false;
  }
  const torch::Tensor lowest = std::get<0>(at.min(0));
  const torch::Tensor highest = std::get<0>(at.max(0));
  for (int a = 0; a < 3; ++a)
  {
    low[a] = lowest[2 - a].item<std::int64_t>();
    high[a] = highest[2 - a].item<std::int64_t>();
  }
  return true;
}

/** The sequences, the brain mask and the tumour's; empty: none. */
std::vector<std::string>
FilesOf(const CohortCase & cohortCase)
{
  std::vector<std::string> files(cohortCase.Sequences.begin(), cohortCase.Sequences.end());
  files.push_back(cohortCase.BrainMask);
  files.push_back(cohortCase.Tumour);
  return files;
}

std::vector<std::string>
PartsOf(const std::string & file)
{
  return file.empty() ? std::vector<std::string>() : ImageFileCheck::FilesOf(file);
}
} // namespace

AugmentationPipeline::Volume
PreparedCase::View() const
{
  AugmentationPipeline::Volume view;
  view.Size = { { Brain.size(2), Brain.size(1), Brain.size(0) } };
  if (Intensities.scalar_type() == torch::kBFloat16)
  {
    view.BFloat16Intensities = static_cast<const std::uint16_t *>(Intensities.const_data_ptr());
  }
  else
  {
    view.Intensities = Intensities.const_data_ptr<float>();
  }
  view.Brain = Brain.const_data_ptr<std::uint8_t>();
  view.Tumour = Tumour.const_data_ptr<std::uint8_t>();
  return view;
}

void
PreparedCase::FindTumourVoxels()
{
  const std::uint8_t * const tumour = Tumour.const_data_ptr<std::uint8_t>();
  TumourVoxels.clear();
  for (std::int64_t i = 0; i < Tumour.numel(); ++i)
  {
    if (tumour[i] > 127)
    {
      TumourVoxels.push_back(static_cast<std::int32_t>(i));
    }
  }
}

std::string
CohortCache::ParametersText() const
{
  std::ostringstream text;
  text.imbue(std::locale::classic());
  text.precision(17);
  text << "9 " << m_Parameters.Spacing << ' ' << m_Parameters.BiasCorrection << ' ' << m_Parameters.LowerQuantile << ' '
       << m_Parameters.UpperQuantile << ' ' << m_Parameters.Standardization << ' ' << m_Parameters.AroundTumour << ' '
       << m_Parameters.Margin << ' ' << m_Parameters.MinimumComponentShare << ' ' << m_Parameters.Reach[0] << ' '
       << m_Parameters.Reach[1] << ' ' << m_Parameters.BFloat16 << (m_Parameters.BrainBox ? " brain" : "") << '\n';
  return text.str();
}

std::string
CohortCache::ContentKey(const CohortCase & cohortCase) const
{
  std::string text = this->ParametersText();
  for (const std::string & file : FilesOf(cohortCase))
  {
    for (const std::string & part : PartsOf(file))
    {
      text += Sha256OfFile(part) + ' ';
    }
    text += '\n';
  }
  return Sha256OfMemory(text.data(), text.size());
}

std::string
CohortCache::PathOf(const CohortCase & cohortCase) const
{
  // Times and sizes: whether a case is there is asked of each file at every start, and must not read it.
  std::ostringstream text;
  text.imbue(std::locale::classic());
  text << this->ParametersText();
  for (const std::string & file : FilesOf(cohortCase))
  {
    for (const std::string & part : PartsOf(file))
    {
      text << fs::path(part).filename().string() << ' ' << fs::file_size(part) << ' '
           << fs::last_write_time(part).time_since_epoch().count() << '\n';
    }
    text << '\n';
  }
  const std::string key = Sha256OfMemory(text.str().data(), text.str().size()).substr(0, 16);
  return (fs::path(m_Folder) / (cohortCase.Name + '-' + key + ".safetensors")).string();
}

bool
CohortCache::Holds(const CohortCase & cohortCase) const
{
  return fs::exists(this->PathOf(cohortCase));
}

PreparedCase
CohortCache::Get(const CohortCase & cohortCase) const
{
  const std::string path = this->PathOf(cohortCase);
  PreparedCase      prepared;
  if (fs::exists(path))
  {
    const std::map<std::string, torch::Tensor> stored = ReadSafetensors(path);
    for (const char * const name : { "intensities", "brain", "tumour", "box", "background", "key" })
    {
      if (stored.count(name) == 0)
      {
        itkGenericExceptionMacro("The cached case " << path << " lacks '" << name << "'; delete the file");
      }
    }
    prepared.Intensities = stored.at("intensities");
    prepared.Brain = stored.at("brain");
    prepared.Tumour = stored.at("tumour");
    const torch::Tensor box = stored.at("box").to(torch::kFloat64).contiguous();
    const torch::Tensor background = stored.at("background").to(torch::kFloat32).contiguous();
    const torch::Tensor key = stored.at("key").contiguous();
    if (prepared.Brain.dim() != 3 || prepared.Tumour.sizes() != prepared.Brain.sizes() ||
        prepared.Intensities.numel() != 4 * prepared.Brain.numel() || box.numel() != 6 || background.numel() != 4 ||
        key.numel() != 64 || key.scalar_type() != torch::kUInt8 || prepared.Brain.scalar_type() != torch::kUInt8 ||
        prepared.Tumour.scalar_type() != torch::kUInt8)
    {
      itkGenericExceptionMacro("The cached case " << path << " is damaged; delete the file");
    }
    std::copy_n(background.const_data_ptr<float>(), 4, prepared.Background.begin());
    for (unsigned int a = 0; a < 3; ++a)
    {
      prepared.BoxLow[a] = box.const_data_ptr<double>()[a];
      prepared.BoxHigh[a] = box.const_data_ptr<double>()[3 + a];
    }
    prepared.Key.assign(reinterpret_cast<const char *>(key.const_data_ptr<std::uint8_t>()), 64);
  }
  else
  {
    prepared = this->Prepare(cohortCase);
    prepared.Key = this->ContentKey(cohortCase);
    torch::Tensor box = torch::empty({ 6 }, torch::kFloat64);
    for (unsigned int a = 0; a < 3; ++a)
    {
      box.mutable_data_ptr<double>()[a] = prepared.BoxLow[a];
      box.mutable_data_ptr<double>()[3 + a] = prepared.BoxHigh[a];
    }
    try
    {
      fs::create_directories(m_Folder);
      WriteSafetensors(
        path,
        { { "intensities", prepared.Intensities },
          { "brain", prepared.Brain },
          { "tumour", prepared.Tumour },
          { "box", box },
          { "background",
            torch::tensor(std::vector<float>(prepared.Background.begin(), prepared.Background.end()),
                          torch::kFloat32) },
          { "key", torch::tensor(std::vector<std::uint8_t>(prepared.Key.begin(), prepared.Key.end())) } });
    }
    catch (const std::exception & error)
    {
      const auto * const own = dynamic_cast<const ExceptionObject *>(&error);
      throw NotStored(__FILE__,
                      __LINE__,
                      "The prepared case " + cohortCase.Name + " cannot be kept in " + m_Folder + " (" +
                        (own ? own->GetDescription() : error.what()) +
                        "): make room there, or name another folder (CacheFolder, --cache)");
    }
  }
  prepared.Name = cohortCase.Name;
  prepared.Grade = cohortCase.Grade == "HGG" ? 1 : cohortCase.Grade == "LGG" ? 0 : -1;
  prepared.Cohort = cohortCase.Cohort;
  prepared.FindTumourVoxels();
  return prepared;
}

PreparedCase
CohortCache::Prepare(const CohortCase & cohortCase) const
{
  using PreparationType = SequencePreparationFilter<FloatImage, MaskImage>;
  auto preparation = PreparationType::New();
  for (unsigned int i = 0; i < 4; ++i)
  {
    preparation->SetSequence(CohortCase::SequenceNames[i], LoadImage(cohortCase.Sequences[i]));
  }
  if (!cohortCase.BrainMask.empty())
  {
    preparation->SetBrainMaskImage(LoadMask(cohortCase.BrainMask));
  }
  preparation->SetBiasCorrection(m_Parameters.BiasCorrection == "n4" ? PreparationType::BiasCorrectionEnum::N4
                                                                     : PreparationType::BiasCorrectionEnum::None);
  preparation->SetStandardization(m_Parameters.Standardization == "brain"
                                    ? PreparationType::StandardizationEnum::Brain
                                    : PreparationType::StandardizationEnum::Image);
  preparation->SetLowerQuantile(m_Parameters.LowerQuantile);
  preparation->SetUpperQuantile(m_Parameters.UpperQuantile);
  preparation->Update();
  SequencesImage::Pointer standardized = preparation->GetOutput();

  MaskImage::Pointer tumour;
  if (m_Parameters.BrainBox)
  {
    tumour = MaskImage::New();
    tumour->CopyInformation(standardized);
    tumour->SetRegions(standardized->GetLargestPossibleRegion());
    tumour->Allocate(true);
  }
  else
  {
    tumour = LoadMask(cohortCase.Tumour);
    CheckGrid(*tumour, cohortCase.Tumour, *standardized, cohortCase.Sequences[0]);
  }
  const FloatImage::Pointer brainShare = ShareInModelSpace(preparation->GetBrainMask(), m_Parameters.Spacing);
  const FloatImage::Pointer tumourShare = ShareInModelSpace(tumour.GetPointer(), m_Parameters.Spacing);

  PreparedCase  prepared;
  Array<double> background(4);
  // The background is 0 in the brain's standardization, -mean/sd in the image's; stored is what lies above it.
  for (unsigned int c = 0; c < 4; ++c)
  {
    background[c] = preparation->GetSequenceReports()[c].Background;
    prepared.Background[c] = static_cast<float>(background[c]);
  }

  const SequencesImage::Pointer   model = ToModelSpace(standardized.GetPointer(), m_Parameters.Spacing, background);
  const auto                      size = model->GetLargestPossibleRegion().GetSize();
  const std::vector<std::int64_t> shape{ static_cast<std::int64_t>(size[2]),
                                         static_cast<std::int64_t>(size[1]),
                                         static_cast<std::int64_t>(size[0]) };
  const torch::Tensor             x =
    torch::from_blob(model->GetBufferPointer(), { shape[0], shape[1], shape[2], 4 }, torch::kFloat32) -
    torch::tensor(std::vector<float>(prepared.Background.begin(), prepared.Background.end()), torch::kFloat32);
  const auto toBytes = [&](FloatImage * share) {
    return (torch::from_blob(share->GetBufferPointer(), shape, torch::kFloat32) * 255.0F + 0.5F)
      .clamp(0, 255)
      .to(torch::kUInt8);
  };
  const torch::Tensor brainBytes = toBytes(brainShare);
  const torch::Tensor tumourBytes = toBytes(tumourShare);

  std::array<std::int64_t, 3> low;
  std::array<std::int64_t, 3> high;
  if (!BoxOf(brainBytes > 0, low, high))
  {
    itkGenericExceptionMacro("the brain mask is empty");
  }
  MaskImage::Pointer hard = MaskImage::New();
  hard->CopyInformation(model);
  hard->SetRegions(model->GetLargestPossibleRegion());
  hard->Allocate();
  const std::uint8_t * bytes = (m_Parameters.BrainBox ? brainBytes : tumourBytes).const_data_ptr<std::uint8_t>();
  std::transform(bytes, bytes + tumourBytes.numel(), hard->GetBufferPointer(), [](std::uint8_t b) { return b > 127; });
  if (std::find(hard->GetBufferPointer(), hard->GetBufferPointer() + tumourBytes.numel(), 1) ==
      hard->GetBufferPointer() + tumourBytes.numel())
  {
    itkGenericExceptionMacro("the mask " << cohortCase.Tumour
                                         << " has no tumour (no label above 0) on the model's grid");
  }
  const auto refuseOutside = [&] {
    itkGenericExceptionMacro("no voxel of the tumour in the mask "
                             << cohortCase.Tumour << " lies in the brain"
                             << (cohortCase.BrainMask.empty() ? std::string() : " of " + cohortCase.BrainMask)
                             << ": is it the mask of another case?");
  };
  if (!m_Parameters.BrainBox && !((tumourBytes > 127) & (brainBytes > 127)).any().item<bool>())
  {
    refuseOutside();
  }
  auto region = BoundingBoxROIFilter<SequencesImage, MaskImage>::New();
  region->SetInput(model);
  region->SetMaskImage(hard);
  region->SetMinimumComponentFraction(m_Parameters.MinimumComponentShare);
  region->UpdateOutputInformation();
  const auto box = region->GetBoxRegion();
  if (m_Parameters.AroundTumour)
  {
    // Beyond the brain there is nothing.
    double longest = 0.0;
    for (unsigned int a = 0; a < 3; ++a)
    {
      longest = std::max(longest, static_cast<double>(box.GetSize(a)));
    }
    const double reach = m_Parameters.Reach[0] * longest + m_Parameters.Reach[1] * m_Parameters.Margin;
    for (unsigned int a = 0; a < 3; ++a)
    {
      const double centre = static_cast<double>(box.GetIndex(a)) + 0.5 * (static_cast<double>(box.GetSize(a)) - 1.0);
      low[a] = std::max(low[a], static_cast<std::int64_t>(std::floor(centre - reach)));
      high[a] = std::min(high[a], static_cast<std::int64_t>(std::ceil(centre + reach)));
      if (high[a] < low[a])
      {
        refuseOutside(); // its largest part
      }
    }
  }
  prepared.Intensities = Cut(x, low, high);
  if (m_Parameters.BFloat16)
  {
    prepared.Intensities = prepared.Intensities.to(torch::kBFloat16);
  }
  prepared.Brain = Cut(brainBytes, low, high);
  prepared.Tumour = Cut(tumourBytes, low, high);
  for (unsigned int a = 0; a < 3; ++a)
  {
    prepared.BoxLow[a] = static_cast<double>(box.GetIndex(a) - low[a]);
    prepared.BoxHigh[a] = prepared.BoxLow[a] + static_cast<double>(box.GetSize(a)) - 1.0;
  }
  return prepared;
}
} // namespace itk
