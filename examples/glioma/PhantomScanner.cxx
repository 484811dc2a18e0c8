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
#include "PhantomScanner.h"

#include "RandomSequence.h"
#include "PhantomStreams.h"

#include "itkMultiThreaderBase.h"

#include <algorithm>

namespace glioma
{
namespace
{
void
ForEachSlice(int count, unsigned int threads, const std::function<void(int)> & work)
{
  const auto threader = itk::MultiThreaderBase::New();
  threader->SetMaximumNumberOfThreads(threads);
  threader->SetNumberOfWorkUnits(threads);
  threader->ParallelizeArray(0, count, [&work](itk::SizeValueType i) { work(static_cast<int>(i)); }, nullptr);
}

// Where a voxel of a block lies in the coil's field, mm from the middle of the image's floor.
Position
PositionInField(const VoxelBlock & block, const std::array<double, 3> & voxel)
{
  Position position;
  for (int a = 0; a < 3; ++a)
  {
    position[a] = (block.start[a] + voxel[a] + 0.5) * block.spacing - 120.0;
  }
  return position;
}

// One line of values, `stride` apart, convolved with a symmetric kernel; the ends repeat.
void
ConvolveLine(float * line, int count, std::size_t stride, const std::vector<float> & kernel, std::vector<float> & copy)
{
  const int radius = static_cast<int>(kernel.size()) - 1;
  copy.resize(static_cast<std::size_t>(count) + 2 * radius);
  for (int i = -radius; i < count + radius; ++i)
  {
    copy[i + radius] = line[std::min(std::max(i, 0), count - 1) * stride];
  }
  for (int i = 0; i < count; ++i)
  {
    float sum = kernel[0] * copy[i + radius];
    for (int r = 1; r <= radius; ++r)
    {
      sum += kernel[r] * (copy[i + radius - r] + copy[i + radius + r]);
    }
    line[i * stride] = sum;
  }
}

std::vector<float>
GaussianKernel(double deviation)
{
  std::vector<float> kernel(1 + static_cast<int>(std::ceil(3.0 * deviation)));
  float              sum = 0.0f;
  for (std::size_t i = 0; i < kernel.size(); ++i)
  {
    kernel[i] = static_cast<float>(std::exp(-0.5 * (i / deviation) * (i / deviation)));
    sum += (i == 0 ? 1.0f : 2.0f) * kernel[i];
  }
  for (float & weight : kernel)
  {
    weight /= sum;
  }
  return kernel;
}
} // namespace

PhantomScanner::PhantomScanner(std::uint64_t seed, std::uint64_t caseNumber, ScannerKind kind)
  : m_Seed(seed)
  , m_Case(caseNumber)
{
  RandomSequence random(seed, StreamOf(caseNumber, PhantomStream::Scanner));
  const bool     thick = kind == ScannerKind::ThickSlice;

  // How far the lesion stands out. In patients this varies more than anything else.
  const double lesionFlair = std::exp(random.Uniform(std::log(0.25), std::log(0.9)));
  const double lesionT2 = std::exp(random.Uniform(std::log(0.3), std::log(1.4)));
  const double lesionT1 = random.Uniform(-0.02, 0.30);
  const double enhancement = random.Uniform(0.35, 1.0);
  const double necrosisT1 = random.Uniform(0.0, 0.25);
  const double necrosisFlair = random.Uniform(-0.8, 0.25);
  const double necrosisT2 = random.Uniform(-0.1, 0.8);
  const double solidT2 = random.Uniform(-0.3, 0.1);
  const double solidFlair = random.Uniform(-0.25, 0.15);
  const double solidT1 = random.Uniform(-0.06, 0.06);
  const double texture = random.Uniform(0.05, 0.13);

  const double flatT1 = random.Uniform(0.35, 1.0);
  const double flatT1c = random.Uniform(0.35, 1.0);

  for (int i = 0; i < 4; ++i)
  {
    Settings &   s = m_Settings[i];
    const double flat = i == 0 ? flatT1 : flatT1c; // of T1 and T1c
    s.white = 1.0;
    switch (static_cast<Sequence>(i))
    {
      case Sequence::T1:
      case Sequence::T1c:
        s.fluid = 1.0 - random.Uniform(0.6, 0.75) * (0.55 + 0.45 * flat);
        s.grey = 1.0 - random.Uniform(0.25, 0.36) * flat;
        s.deepGrey = 1.0 - random.Uniform(0.10, 0.18) * flat;
        s.vessel = i == 0 ? s.grey : random.Uniform(1.15, 1.9);
        s.infiltrated = 0.98 - lesionT1 + random.Normal(0.0, 0.02);
        s.solid = s.infiltrated + solidT1;
        s.necrosis = s.infiltrated - necrosisT1;
        s.enhancing = i == 0 ? s.solid + 0.05 : std::max(s.solid, 0.85) + enhancement;
        s.texture = 0.5 * texture;
        break;
      case Sequence::T2:
        s.fluid = random.Uniform(2.3, 3.4);
        s.grey = random.Uniform(1.22, 1.5);
        s.deepGrey = random.Uniform(0.95, 1.15);
        s.vessel = 0.6;
        s.infiltrated = 1.15 + lesionT2;
        s.solid = s.infiltrated + solidT2;
        s.necrosis = s.infiltrated + necrosisT2;
        s.enhancing = s.solid;
        s.texture = 1.2 * texture;
        break;
      case Sequence::FLAIR:
        s.fluid = thick ? random.Uniform(0.45, 0.8) : random.Uniform(0.15, 0.45);
        s.grey = random.Uniform(1.08, 1.3);
        s.deepGrey = random.Uniform(1.0, 1.15);
        s.vessel = s.fluid;
        s.infiltrated = 1.15 + (thick ? 0.75 : 1.0) * lesionFlair;
        s.solid = s.infiltrated * (1.0 + 0.6 * solidFlair);
        s.necrosis = s.infiltrated * (1.0 + 0.6 * necrosisFlair);
        s.enhancing = s.solid;
        s.texture = texture;
        break;
    }
    s.bias = random.Uniform(0.08, thick ? 0.40 : 0.30);
    s.noise = thick ? random.Uniform(0.02, 0.05) : random.Uniform(0.012, 0.035);
    s.blur = thick ? random.Uniform(0.6, 1.0) : random.Uniform(0.3, 0.55);
    // Slices lie across the body's axis, but the odd sequence is sagittal or coronal, or a thin one.
    const double axis = random.Uniform(0.0, 1.0);
    s.sliceAxis = axis < 0.7 ? 2 : axis < 0.87 ? 0 : 1;
    s.sliceThickness = thick ? random.Uniform(3.0, 6.0) : random.Uniform(0.8, 1.6);
    if (thick && i == 1 && random.Chance(0.3))
    {
      s.sliceThickness = 1.5;
    }
    s.sliceOffset = random.Uniform(0.0, 1.0);
    s.gamma = random.Uniform(0.8, 1.25);
    s.gain = std::exp(random.Uniform(std::log(250.0), std::log(1200.0)));
  }
}

double
PhantomScanner::Signal(Sequence sequence, const Tissues & tissues, const TumourMixture & mixture) const
{
  const Settings & s = m_Settings[static_cast<int>(sequence)];

  double signal =
    s.fluid * tissues.fluid + s.grey * tissues.grey + s.white * tissues.white + s.deepGrey * tissues.deepGrey;
  signal += tissues.vessel * (s.vessel - signal);
  if (mixture.tumour > 0.0)
  {
    double lesion = s.infiltrated + mixture.solid * (s.solid - s.infiltrated);
    lesion *= 1.0 + s.texture * mixture.texture;
    lesion += mixture.enhancing * (s.enhancing * (sequence == Sequence::T1c ? mixture.uptake : 1.0) - lesion);
    lesion += mixture.necrosis * (s.necrosis * (1.0 + 0.3 * s.texture * mixture.texture) - lesion);
    // Some of the tissue that the tumour grows through stays visible.
    signal += mixture.tumour * 0.93 * (lesion - signal);
  }
  return std::max(signal, 0.05);
}

SmoothNoise
PhantomScanner::FieldNoise(Sequence sequence) const
{
  const auto number = static_cast<std::uint64_t>(sequence);
  return SmoothNoise(CounterRandom(m_Seed, StreamOf(m_Case, PhantomStream::BiasNoise, number)), 70.0);
}

void
PhantomScanner::LogField(Sequence             sequence,
                         const VoxelBlock &   block,
                         std::vector<float> & field,
                         unsigned int         threads) const
{
  const Settings &  s = m_Settings[static_cast<int>(sequence)];
  const SmoothNoise noise = this->FieldNoise(sequence);
  field.resize(block.Count());
  ForEachSlice(block.size[2], threads, [&](int z) {
    for (int y = 0; y < block.size[1]; ++y)
    {
      for (int x = 0; x < block.size[0]; ++x)
      {
        const Position position =
          PositionInField(block, { static_cast<double>(x), static_cast<double>(y), static_cast<double>(z) });
        field[(static_cast<std::size_t>(z) * block.size[1] + y) * block.size[0] + x] =
          static_cast<float>(s.gamma * s.bias * std::tanh(noise.Value(position)));
      }
    }
  });
}

void
PhantomScanner::Acquire(Sequence             sequence,
                        const VoxelBlock &   block,
                        std::vector<float> & signal,
                        unsigned int         threads) const
{
  const auto       number = static_cast<std::uint64_t>(sequence);
  const Settings & s = m_Settings[number];
  const auto &     size = block.size;

  const std::array<std::size_t, 3> stride{ 1,
                                           static_cast<std::size_t>(size[0]),
                                           static_cast<std::size_t>(size[0]) * size[1] };
  const int                        axis = s.sliceAxis;
  const int                        other = axis == 2 ? 1 : 2;
  const int                        third = 3 - axis - other;

  // Point spread in the plane of the slices.
  if (s.blur > 0.3 * block.spacing)
  {
    const std::vector<float> kernel = GaussianKernel(s.blur / block.spacing);
    for (int along : { third, other })
    {
      const int outer = along == 2 ? 1 : 2;
      const int inner = 3 - along - outer;
      ForEachSlice(size[outer], threads, [&](int o) {
        std::vector<float> copy;
        for (int i = 0; i < size[inner]; ++i)
        {
          ConvolveLine(&signal[o * stride[outer] + i * stride[inner]], size[along], stride[along], kernel, copy);
        }
      });
    }
  }

  // The slices: mean signal over the thickness, with the coil's field and the receiver's noise.
  const double        thickness = std::max(s.sliceThickness / block.spacing, 1.0);
  const bool          resampled = thickness > 1.05;
  const double        first = resampled ? -s.sliceOffset * thickness : 0.0;
  const double        step = resampled ? thickness : 1.0;
  const int           slices = resampled ? static_cast<int>((size[axis] - 1 - first) / step) + 2 : size[axis];
  const SmoothNoise   field = this->FieldNoise(sequence);
  const CounterRandom noise(m_Seed, StreamOf(m_Case, PhantomStream::VoxelNoise, number));
  const std::size_t   plane = static_cast<std::size_t>(size[third]) * size[other];
  std::vector<float>  acquired(plane * slices);
  const double        deviation = s.noise / std::sqrt(thickness) / block.spacing;

  ForEachSlice(slices, threads, [&](int slice) {
    const double centre = first + step * slice;
    const int low = std::min(std::max(static_cast<int>(std::ceil(centre - 0.5 * thickness - 0.5)), 0), size[axis] - 1);
    const int high =
      std::min(std::max(static_cast<int>(std::floor(centre + 0.5 * thickness + 0.5)), 0), size[axis] - 1);
    std::vector<float> weights;
    float              total = 0.0f;
    for (int k = low; k <= high; ++k)
    {
      const double from = std::max(k - 0.5, centre - 0.5 * thickness);
      const double to = std::min(k + 0.5, centre + 0.5 * thickness);
      weights.push_back(static_cast<float>(std::max(to - from, 1e-6)));
      total += weights.back();
    }
    for (int j = 0; j < size[other]; ++j)
    {
      for (int i = 0; i < size[third]; ++i)
      {
        const float * line = &signal[j * stride[other] + i * stride[third]];
        float         mean = 0.0f;
        for (int k = low; k <= high; ++k)
        {
          mean += weights[k - low] * line[k * stride[axis]];
        }
        mean /= total;
        const std::size_t index = slice * plane + static_cast<std::size_t>(j) * size[third] + i;
        if (mean <= 0.0f)
        {
          acquired[index] = 0.0f;
          continue;
        }
        std::array<double, 3> voxel;
        voxel[axis] = centre;
        voxel[other] = j;
        voxel[third] = i;
        const double shading = std::exp(s.bias * std::tanh(field.Value(PositionInField(block, voxel))));
        const auto   pair = noise.NormalPair(index);
        acquired[index] = static_cast<float>(std::hypot(mean * shading + deviation * pair[0], deviation * pair[1]));
      }
    }
  });

  const auto gain = static_cast<float>(s.gain);
  const auto gamma = static_cast<float>(s.gamma);
  // Back to the grid, between the slices linearly, and through the machine's intensity curve.
  ForEachSlice(size[2], threads, [&](int z) {
    for (int y = 0; y < size[1]; ++y)
    {
      for (int x = 0; x < size[0]; ++x)
      {
        const std::array<int, 3> voxel{ x, y, z };
        const std::size_t        within = static_cast<std::size_t>(voxel[other]) * size[third] + voxel[third];
        float                    value;
        if (resampled)
        {
          const double at = (voxel[axis] - first) / step;
          const int    below = std::min(static_cast<int>(at), slices - 2);
          const auto   t = static_cast<float>(at - below);
          value = (1.0f - t) * acquired[below * plane + within] + t * acquired[(below + 1) * plane + within];
        }
        else
        {
          value = acquired[voxel[axis] * plane + within];
        }
        signal[z * stride[2] + y * stride[1] + x] = value > 0.0f ? gain * std::pow(value, gamma) : 0.0f;
      }
    }
  });
}

} // namespace glioma
