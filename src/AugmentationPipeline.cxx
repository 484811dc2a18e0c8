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
#include "AugmentationPipeline.h"

#include "itkMacro.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace itk
{
namespace
{
constexpr double pi = 3.14159265358979323846;

using Matrix = std::array<std::array<double, 3>, 3>;

Matrix
Product(const Matrix & a, const Matrix & b)
{
  Matrix c{};
  for (unsigned int i = 0; i < 3; ++i)
  {
    for (unsigned int j = 0; j < 3; ++j)
    {
      for (unsigned int k = 0; k < 3; ++k)
      {
        c[i][j] += a[i][k] * b[k][j];
      }
    }
  }
  return c;
}

Matrix
Diagonal(double x, double y, double z)
{
  return { { { { x, 0, 0 } }, { { 0, y, 0 } }, { { 0, 0, z } } } };
}

Matrix
RotationAbout(unsigned int axis, double angle)
{
  Matrix             m = Diagonal(1, 1, 1);
  const unsigned int i = axis == 0 ? 1 : 0;
  const unsigned int j = axis == 2 ? 1 : 2;
  m[i][i] = m[j][j] = std::cos(angle);
  m[i][j] = -std::sin(angle);
  m[j][i] = std::sin(angle);
  return m;
}

float
ToFloat(float value)
{
  return value;
}

float
ToFloat(std::uint16_t bfloat16)
{
  const std::uint32_t bits = static_cast<std::uint32_t>(bfloat16) << 16;
  float               value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

template <typename TStored>
void
ResampleFrom(const AugmentationPipeline::Volume &    volume,
             const TStored *                         stored,
             const AugmentationPipeline::Placement & placement,
             AugmentationPipeline::Patch &           patch)
{
  constexpr unsigned int channels = AugmentationPipeline::Channels;
  const std::int64_t     n = patch.Side;
  const std::int64_t     voxels = n * n * n;
  const double           middle = 0.5 * static_cast<double>(n - 1);
  const auto &           m = placement.Matrix;
  const std::int64_t     stride[3] = { 1, volume.Size[0], volume.Size[0] * volume.Size[1] };
  float *                out[channels];
  for (unsigned int c = 0; c < channels; ++c)
  {
    out[c] = patch.Intensities.data() + c * voxels;
  }
  std::int64_t voxel = 0;
  for (std::int64_t z = 0; z < n; ++z)
  {
    for (std::int64_t y = 0; y < n; ++y)
    {
      for (std::int64_t x = 0; x < n; ++x, ++voxel)
      {
        std::int64_t base[3];
        float        high[3];
        bool         outside = false;
        for (unsigned int a = 0; a < 3; ++a)
        {
          const double at = m[a][0] * (static_cast<double>(x) - middle) + m[a][1] * (static_cast<double>(y) - middle) +
                            m[a][2] * (static_cast<double>(z) - middle) + placement.Centre[a];
          const double lower = std::floor(at);
          base[a] = static_cast<std::int64_t>(lower);
          high[a] = static_cast<float>(at - lower);
          outside = outside || base[a] < -1 || base[a] >= volume.Size[a];
        }
        float sum[channels] = {};
        float brain = 0.0F;
        float tumour = 0.0F;
        if (!outside)
        {
          for (unsigned int corner = 0; corner < 8; ++corner)
          {
            float        weight = 1.0F;
            std::int64_t offset = 0;
            bool         inside = true;
            for (unsigned int a = 0; a < 3; ++a)
            {
              const std::int64_t bit = (corner >> a) & 1;
              const std::int64_t index = base[a] + bit;
              weight *= bit ? high[a] : 1.0F - high[a];
              inside = inside && index >= 0 && index < volume.Size[a];
              offset += index * stride[a];
            }
            if (inside && weight > 0.0F)
            {
              const TStored * tap = stored + offset * channels;
              for (unsigned int c = 0; c < channels; ++c)
              {
                sum[c] += weight * ToFloat(tap[c]);
              }
              brain += weight * static_cast<float>(volume.Brain[offset]);
              tumour += weight * static_cast<float>(volume.Tumour[offset]);
            }
          }
        }
        for (unsigned int c = 0; c < channels; ++c)
        {
          out[c][voxel] = sum[c];
        }
        patch.Brain[voxel] = brain / 255.0F;
        patch.Tumour[voxel] = tumour / 255.0F;
      }
    }
  }
}

/** Calls change(line, n) for every line of a cube along an axis. */
template <typename TChange>
void
ForEachLine(float * cube, std::int64_t n, unsigned int axis, TChange change)
{
  const std::int64_t stride = axis == 0 ? 1 : axis == 1 ? n : n * n;
  const std::int64_t first = axis == 0 ? n : 1;
  const std::int64_t second = axis == 2 ? n : n * n;
  std::vector<float> line(n);
  for (std::int64_t a = 0; a < n; ++a)
  {
    for (std::int64_t b = 0; b < n; ++b)
    {
      float * start = cube + b * first + a * second;
      for (std::int64_t i = 0; i < n; ++i)
      {
        line[i] = start[i * stride];
      }
      change(line);
      for (std::int64_t i = 0; i < n; ++i)
      {
        start[i * stride] = line[i];
      }
    }
  }
}

/** Mean of three voxels a side, zeros outside. */
void
BoxSmooth(float * cube, std::int64_t n)
{
  for (unsigned int axis = 0; axis < 3; ++axis)
  {
    ForEachLine(cube, n, axis, [](std::vector<float> & line) {
      float before = 0.0F;
      for (std::size_t i = 0; i < line.size(); ++i)
      {
        const float here = line[i];
        const float after = i + 1 < line.size() ? line[i + 1] : 0.0F;
        line[i] = (before + here + after) / 3.0F;
        before = here;
      }
    });
  }
}

/** Averages slices together, then interpolates back: what a scan of thick slices looks like. */
void
ThickSlices(float * cube, std::int64_t n, unsigned int axis, std::int64_t factor)
{
  const std::int64_t slices = std::max<std::int64_t>(1, n / factor);
  std::vector<float> thick(slices);
  const float        scale = static_cast<float>(slices) / static_cast<float>(n);
  ForEachLine(cube, n, axis, [&](std::vector<float> & line) {
    for (std::int64_t s = 0; s < slices; ++s)
    {
      const std::int64_t from = s * n / slices;
      const std::int64_t to = ((s + 1) * n + slices - 1) / slices;
      float              sum = 0.0F;
      for (std::int64_t i = from; i < to; ++i)
      {
        sum += line[i];
      }
      thick[s] = sum / static_cast<float>(to - from);
    }
    for (std::int64_t i = 0; i < n; ++i)
    {
      const float at = std::clamp((static_cast<float>(i) + 0.5F) * scale - 0.5F, 0.0F, static_cast<float>(slices - 1));
      const std::int64_t lower = std::min<std::int64_t>(static_cast<std::int64_t>(at), slices - 1);
      const std::int64_t upper = std::min<std::int64_t>(lower + 1, slices - 1);
      const float        share = at - static_cast<float>(lower);
      line[i] = thick[lower] * (1.0F - share) + thick[upper] * share;
    }
  });
}

/** Multiplies by 1 + a smooth field: normal numbers on 3^3 knots, linear between them. */
void
MultiplyBias(CounterRandom & random, float * cube, std::int64_t n, double deviation)
{
  float knots[27];
  for (float & knot : knots)
  {
    knot = static_cast<float>(deviation * random.Normal());
  }
  std::vector<std::int64_t> lower(n);
  std::vector<float>        share(n);
  for (std::int64_t i = 0; i < n; ++i)
  {
    const float at = n > 1 ? 2.0F * static_cast<float>(i) / static_cast<float>(n - 1) : 0.0F;
    lower[i] = std::min<std::int64_t>(static_cast<std::int64_t>(at), 1);
    share[i] = at - static_cast<float>(lower[i]);
  }
  for (std::int64_t z = 0; z < n; ++z)
  {
    for (std::int64_t y = 0; y < n; ++y)
    {
      float row[3];
      for (std::int64_t k = 0; k < 3; ++k)
      {
        const auto knot = [&](std::int64_t dz, std::int64_t dy) {
          return knots[((lower[z] + dz) * 3 + lower[y] + dy) * 3 + k];
        };
        row[k] = (1.0F - share[z]) * ((1.0F - share[y]) * knot(0, 0) + share[y] * knot(0, 1)) +
                 share[z] * ((1.0F - share[y]) * knot(1, 0) + share[y] * knot(1, 1));
      }
      float * line = cube + (z * n + y) * n;
      for (std::int64_t x = 0; x < n; ++x)
      {
        line[x] *= 1.0F + row[lower[x]] + share[x] * (row[lower[x] + 1] - row[lower[x]]);
      }
    }
  }
}

enum Name : unsigned int
{
  SagittalFlip,
  Rotation,
  QuarterTurns,
  Gamma,
  Rotation3D,
  Zoom,
  Mirror,
  Shift,
  BoxJitter,
  IntensityCurve,
  Gain,
  Offset,
  LesionContrast,
  ThickSlice,
  Sharpness,
  Noise,
  BiasField,
  LostSequence,
  Cyst,
  SliceOffset,
  Transplant
};

/** How much of each voxel is fluid: a wobbling ellipsoid about a random voxel of the tumour. Empty without a tumour. */
std::vector<float>
FluidShare(CounterRandom & random, const float * tumour, std::int64_t n)
{
  const std::int64_t        voxels = n * n * n;
  std::vector<std::int64_t> inside;
  for (std::int64_t i = 0; i < voxels; ++i)
  {
    if (tumour[i] > 0.5F)
    {
      inside.push_back(i);
    }
  }
  if (inside.empty())
  {
    return {};
  }
  const std::int64_t middle = inside[static_cast<std::size_t>(random.Below(static_cast<std::int64_t>(inside.size())))];
  const double       typical = std::cbrt(static_cast<double>(inside.size()));
  float              perAxis[3];
  for (float & each : perAxis)
  {
    each = static_cast<float>(1.0 / std::max(1.0, typical * random.Uniform(0.2, 0.8)));
  }
  const float        centre[3] = { static_cast<float>(middle % n),
                                   static_cast<float>(middle / n % n),
                                   static_cast<float>(middle / (n * n)) };
  std::vector<float> share(voxels);
  std::int64_t       voxel = 0;
  for (std::int64_t z = 0; z < n; ++z)
  {
    for (std::int64_t y = 0; y < n; ++y)
    {
      for (std::int64_t x = 0; x < n; ++x, ++voxel)
      {
        const float d[3] = { (static_cast<float>(x) - centre[0]) * perAxis[0],
                             (static_cast<float>(y) - centre[1]) * perAxis[1],
                             (static_cast<float>(z) - centre[2]) * perAxis[2] };
        share[voxel] = std::sqrt(d[0] * d[0] + d[1] * d[1] + d[2] * d[2]);
      }
    }
  }
  MultiplyBias(random, share.data(), n, 0.3);
  const float steepness = 0.5F / std::max({ perAxis[0], perAxis[1], perAxis[2] });
  for (std::int64_t i = 0; i < voxels; ++i)
  {
    share[i] = std::clamp((1.0F - share[i]) * steepness + 0.5F, 0.0F, 1.0F) * tumour[i];
  }
  return share;
}
} // namespace

CounterRandom::CounterRandom(std::uint64_t seed, std::uint64_t stream, std::uint64_t item)
  : m_State(seed)
{
  // Each part is mixed before the next is added, so that neighbouring steps share nothing.
  m_State = this->Bits() ^ (stream * 0xD1B54A32D192ED03ULL);
  m_State = this->Bits() ^ (item * 0x8CB92BA72F3D8DD7ULL);
  this->Bits();
}

std::uint64_t
CounterRandom::Bits()
{
  m_State += 0x9E3779B97F4A7C15ULL;
  std::uint64_t z = m_State;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
  return z ^ (z >> 31);
}

double
CounterRandom::Uniform()
{
  return static_cast<double>(this->Bits() >> 11) * 0x1.0p-53;
}

double
CounterRandom::Uniform(double low, double high)
{
  return low + (high - low) * this->Uniform();
}

std::int64_t
CounterRandom::Below(std::int64_t count)
{
  return std::min(static_cast<std::int64_t>(this->Uniform() * static_cast<double>(count)), count - 1);
}

double
CounterRandom::Normal()
{
  const double radius = std::sqrt(-2.0 * std::log(1.0 - this->Uniform()));
  return radius * std::cos(2.0 * pi * this->Uniform());
}

const std::vector<AugmentationPipeline::Description> &
AugmentationPipeline::Names()
{
  // In the order of the enumeration above.
  static const std::vector<Description> names = {
    { "sagittal-flip", 0.5, "mirrors left and right with this probability" },
    { "rotation", 20.0, "with probability 0.5 turns about the superior-inferior axis by up to so many degrees" },
    { "quarter-turns", 0.5, "with this probability turns by a random multiple of 90 degrees about the same axis" },
    { "gamma", 0.15, "raises intensities, scaled to [0, 1] in the brain, to a power in [1 - g, 1 + g]" },
    { "rotation-3d", 20.0, "turns about all three axes by up to so many degrees" },
    { "zoom", 0.2, "scales by exp(u), |u| up to this" },
    { "mirror", 0.5, "mirrors each of the three axes with this probability" },
    { "shift", 0.5, "moves the centre by up to half this share of the side" },
    { "box-jitter", 0.1, "moves each face of the tumour's box by up to this share of its longest side" },
    { "intensity-curve", 0.7, "mixes in a random rising curve by up to this share" },
    { "gain", 0.9, "multiplies by exp(u), u in [-g, 0.55 g]: weaker contrast is the commoner case" },
    { "offset", 0.4, "adds up to this" },
    { "lesion-contrast", 0.8, "weakens the tumour's contrast by up to this share, and shifts it" },
    { "thick-slices", 0.3, "with this probability averages two or three slices of a random axis" },
    { "sharpness", 0.3, "with this probability blurs or sharpens" },
    { "noise", 0.3, "with probability 0.2 adds normal noise of up to this deviation" },
    { "bias-field", 0.2, "with probability 0.4 multiplies by a smooth field of this deviation" },
    { "lost-sequence", 0.25, "with this probability sets one sequence to 0" },
    { "cyst", 0.3, "with this probability fills a part of the tumour with fluid: dark in T1 and T1c, bright in T2" },
    { "slice-offset", 0.3, "with this probability adds to each slice of a random axis a number of its own" },
    { "transplant", 0.3, "segmentation: with this probability adds the tumour of another case (CarveMix)" },
  };
  return names;
}

void
AugmentationPipeline::Add(const std::string & nameAndStrength)
{
  const std::size_t equals = nameAndStrength.find('=');
  const std::string name = nameAndStrength.substr(0, equals);
  const auto &      names = Names();
  const auto found = std::find_if(names.begin(), names.end(), [&](const Description & d) { return d.Name == name; });
  if (found == names.end())
  {
    std::string known;
    for (const Description & d : names)
    {
      known += (known.empty() ? "" : ", ") + d.Name;
    }
    itkGenericExceptionMacro("Unknown augmentation '" << name << "'; known are " << known);
  }
  double strength = found->Strength;
  if (equals != std::string::npos)
  {
    const std::string text = nameAndStrength.substr(equals + 1);
    char *            end = nullptr;
    strength = std::strtod(text.c_str(), &end);
    if (text.empty() || *end != '\0' || !std::isfinite(strength) || strength < 0.0)
    {
      itkGenericExceptionMacro("The strength of augmentation '" << name << "' is '" << text
                                                                << "'; give a number of 0 (off) or more");
    }
  }
  m_Strengths[static_cast<std::size_t>(found - names.begin())] = strength;
}

double
AugmentationPipeline::Strength(const std::string & name) const
{
  for (std::size_t i = 0; i < Names().size(); ++i)
  {
    if (Names()[i].Name == name)
    {
      return m_Strengths[i];
    }
  }
  itkGenericExceptionMacro("Unknown augmentation '" << name << "'");
}

bool
AugmentationPipeline::HasIntensityPart() const
{
  if (m_Strengths[Gamma] > 0.0)
  {
    return true;
  }
  for (unsigned int i = IntensityCurve; i <= SliceOffset; ++i)
  {
    if (m_Strengths[i] > 0.0)
    {
      return true;
    }
  }
  return false;
}

void
AugmentationPipeline::Turn(CounterRandom & random, Placement & placement) const
{
  Matrix m = placement.Matrix;
  if (m_Strengths[Rotation] > 0.0 && random.Chance(0.5))
  {
    m = Product(m, RotationAbout(2, random.Uniform(-1.0, 1.0) * m_Strengths[Rotation] * pi / 180.0));
  }
  if (m_Strengths[Rotation3D] > 0.0)
  {
    for (unsigned int axis = 0; axis < 3; ++axis)
    {
      m = Product(m, RotationAbout(axis, random.Uniform(-1.0, 1.0) * m_Strengths[Rotation3D] * pi / 180.0));
    }
  }
  if (random.Chance(m_Strengths[QuarterTurns]))
  {
    // Whole numbers, so that a quarter turn alone moves voxels without interpolation.
    static const double cosine[4] = { 1, 0, -1, 0 };
    static const double sine[4] = { 0, 1, 0, -1 };
    const auto          k = static_cast<std::size_t>(random.Below(4));
    m = Product(m, { { { { cosine[k], -sine[k], 0 } }, { { sine[k], cosine[k], 0 } }, { { 0, 0, 1 } } } });
  }
  if (m_Strengths[Zoom] > 0.0)
  {
    const double zoom = std::exp(random.Uniform(-1.0, 1.0) * m_Strengths[Zoom]);
    m = Product(m, Diagonal(zoom, zoom, zoom));
  }
  if (random.Chance(m_Strengths[SagittalFlip]))
  {
    m = Product(Diagonal(-1, 1, 1), m);
  }
  if (m_Strengths[Mirror] > 0.0)
  {
    double sign[3];
    for (double & s : sign)
    {
      s = random.Chance(m_Strengths[Mirror]) ? -1.0 : 1.0;
    }
    m = Product(m, Diagonal(sign[0], sign[1], sign[2]));
  }
  placement.Matrix = m;
}

void
AugmentationPipeline::JitterBox(CounterRandom & random, std::array<double, 3> & low, std::array<double, 3> & high) const
{
  if (m_Strengths[BoxJitter] <= 0.0)
  {
    return;
  }
  const double longest = std::max({ high[0] - low[0], high[1] - low[1], high[2] - low[2] }) + 1.0;
  for (unsigned int a = 0; a < 3; ++a)
  {
    low[a] += random.Uniform(-1.0, 1.0) * m_Strengths[BoxJitter] * longest;
    high[a] += random.Uniform(-1.0, 1.0) * m_Strengths[BoxJitter] * longest;
    if (high[a] < low[a])
    {
      std::swap(high[a], low[a]);
    }
  }
}

void
AugmentationPipeline::Resample(const Volume & volume, const Placement & placement, std::int64_t side, Patch & patch)
{
  const std::size_t voxels = static_cast<std::size_t>(side) * side * side;
  patch.Side = side;
  patch.Intensities.resize(voxels * Channels);
  patch.Brain.resize(voxels);
  patch.Tumour.resize(voxels);
  if (volume.Intensities)
  {
    ResampleFrom(volume, volume.Intensities, placement, patch);
  }
  else
  {
    ResampleFrom(volume, volume.BFloat16Intensities, placement, patch);
  }
}

void
AugmentationPipeline::AddTumour(const Patch & donor, Patch & patch)
{
  const std::int64_t n = patch.Side;
  const std::int64_t voxels = n * n * n;
  std::vector<float> share(donor.Tumour);
  BoxSmooth(share.data(), n);
  for (std::int64_t i = 0; i < voxels; ++i)
  {
    // The tumour whole, and a seam of one voxel around it.
    share[i] = std::max(share[i], donor.Tumour[i]) * donor.Brain[i] * patch.Brain[i];
    patch.Tumour[i] = std::max(patch.Tumour[i], donor.Tumour[i] * patch.Brain[i]);
  }
  for (unsigned int c = 0; c < Channels; ++c)
  {
    float * const       to = patch.Intensities.data() + c * voxels;
    const float * const from = donor.Intensities.data() + c * voxels;
    for (std::int64_t i = 0; i < voxels; ++i)
    {
      to[i] += share[i] * (from[i] - to[i]);
    }
  }
}

void
AugmentationPipeline::ChangeScanner(CounterRandom & random, Patch & patch) const
{
  if (!this->HasIntensityPart())
  {
    return;
  }
  const std::int64_t  n = patch.Side;
  const std::int64_t  voxels = n * n * n;
  const float * const brain = patch.Brain.data();
  const float * const tumour = patch.Tumour.data();
  constexpr float     leastShare = 0.02F;

  const double       gamma = m_Strengths[Gamma] > 0.0 ? 1.0 + random.Uniform(-1.0, 1.0) * m_Strengths[Gamma] : 1.0;
  std::vector<float> smooth;
  std::vector<float> fluid;
  float              fluidValue[Channels] = {};
  if (random.Chance(m_Strengths[Cyst]))
  {
    fluid = FluidShare(random, tumour, n);
    // In deviations of the brain; FLAIR suppresses clear fluid and shows turbid one.
    fluidValue[0] = static_cast<float>(random.Uniform(-2.5, -0.5));
    fluidValue[1] = fluidValue[0] + static_cast<float>(0.2 * random.Normal());
    fluidValue[2] = static_cast<float>(random.Uniform(1.0, 4.0));
    fluidValue[3] = static_cast<float>(random.Uniform(-2.5, 1.0));
  }
  for (unsigned int c = 0; c < Channels; ++c)
  {
    float * const v = patch.Intensities.data() + c * voxels;
    // A border voxel holds its brain's share of the intensity: the tissue's own value is changed.
    float low = 0.0F;
    float high = 0.0F;
    for (std::int64_t i = 0; i < voxels; ++i)
    {
      v[i] = brain[i] > leastShare ? v[i] / brain[i] : 0.0F;
      low = std::min(low, v[i]);
      high = std::max(high, v[i]);
    }
    if (!fluid.empty())
    {
      for (std::int64_t i = 0; i < voxels; ++i)
      {
        v[i] += fluid[i] * (fluidValue[c] - v[i]);
      }
    }
    if (gamma != 1.0 && high > low)
    {
      for (std::int64_t i = 0; i < voxels; ++i)
      {
        v[i] = low + (high - low) * std::pow((v[i] - low) / (high - low), static_cast<float>(gamma));
      }
    }
    if (m_Strengths[IntensityCurve] > 0.0)
    {
      // Seven knots at equal distances over [-4, 6], rising by random amounts.
      float knots[7] = { 0.0F };
      for (unsigned int k = 1; k < 7; ++k)
      {
        knots[k] = knots[k - 1] + static_cast<float>(random.Uniform(0.3, 1.7));
      }
      const float total = knots[6];
      for (float & knot : knots)
      {
        knot = knot / total * 10.0F - 4.0F;
      }
      const auto mix = static_cast<float>(random.Uniform() * m_Strengths[IntensityCurve]);
      for (std::int64_t i = 0; i < voxels; ++i)
      {
        const float at = (std::clamp(v[i], -4.0F, 5.999F) + 4.0F) * 0.6F;
        const int   lower = std::min(static_cast<int>(at), 5);
        const float curve = knots[lower] + (at - static_cast<float>(lower)) * (knots[lower + 1] - knots[lower]);
        v[i] += mix * (curve - v[i]);
      }
    }
    if (m_Strengths[LesionContrast] > 0.0)
    {
      const auto weaker =
        static_cast<float>(m_Strengths[LesionContrast] * random.Uniform() * (random.Chance(0.6) ? 1.0 : 0.0));
      const auto shifted = static_cast<float>(0.3 * m_Strengths[LesionContrast] * random.Normal());
      for (std::int64_t i = 0; i < voxels; ++i)
      {
        v[i] = v[i] * (1.0F - tumour[i] * weaker) + tumour[i] * shifted;
      }
    }
    if (m_Strengths[Gain] > 0.0 || m_Strengths[Offset] > 0.0)
    {
      const auto gain = static_cast<float>(std::exp(random.Uniform(-1.0, 0.55) * m_Strengths[Gain]));
      const auto offset = static_cast<float>(random.Uniform(-1.0, 1.0) * m_Strengths[Offset]);
      for (std::int64_t i = 0; i < voxels; ++i)
      {
        v[i] = v[i] * gain + offset;
      }
    }
    if (random.Chance(m_Strengths[ThickSlice]))
    {
      const auto axis = static_cast<unsigned int>(random.Below(3));
      ThickSlices(v, n, axis, 2 + random.Below(2));
    }
    else if (random.Chance(m_Strengths[Sharpness]))
    {
      smooth.assign(v, v + voxels);
      BoxSmooth(smooth.data(), n);
      const float amount = random.Chance(0.5) ? 0.7F : -1.0F;
      for (std::int64_t i = 0; i < voxels; ++i)
      {
        v[i] += amount * (v[i] - smooth[i]);
      }
    }
    if (random.Chance(m_Strengths[SliceOffset]))
    {
      const auto         axis = static_cast<unsigned int>(random.Below(3));
      const std::int64_t thick = 1 + random.Below(3);
      const double       deviation = random.Uniform(0.0, 0.4);
      std::vector<float> offset(n);
      for (std::int64_t i = 0; i < n; ++i)
      {
        offset[i] = i % thick == 0 ? static_cast<float>(deviation * random.Normal()) : offset[i - 1];
      }
      ForEachLine(v, n, axis, [&offset](std::vector<float> & line) {
        for (std::size_t i = 0; i < line.size(); ++i)
        {
          line[i] += offset[i];
        }
      });
    }
    if (m_Strengths[Noise] > 0.0 && random.Chance(0.2))
    {
      const double deviation = random.Uniform() * m_Strengths[Noise];
      for (std::int64_t i = 0; i < voxels; ++i)
      {
        v[i] += static_cast<float>(deviation * random.Normal());
      }
    }
  }
  if (random.Chance(m_Strengths[LostSequence]))
  {
    float * const v = patch.Intensities.data() + random.Below(Channels) * voxels;
    std::fill(v, v + voxels, 0.0F);
  }
  if (m_Strengths[BiasField] > 0.0 && random.Chance(0.4))
  {
    for (unsigned int c = 0; c < Channels; ++c)
    {
      MultiplyBias(random, patch.Intensities.data() + c * voxels, n, m_Strengths[BiasField]);
    }
  }
  for (unsigned int c = 0; c < Channels; ++c)
  {
    float * const v = patch.Intensities.data() + c * voxels;
    for (std::int64_t i = 0; i < voxels; ++i)
    {
      v[i] *= brain[i] > leastShare ? brain[i] : 0.0F;
    }
  }
}
} // namespace itk
