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

#include "StoredValues.h"

#include "itkMacro.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <system_error>

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

/** The voxels that a line of the patch lies between: the lower one of each axis, and the share of the upper one. */
struct LineOfPatch
{
  explicit LineOfPatch(std::int64_t n)
    : Inside(n)
    , Values(n * AugmentationPipeline::Channels)
  {
    for (unsigned int a = 0; a < 3; ++a)
    {
      Bent[a].resize(n);
      Base[a].resize(n);
      High[a].resize(n);
    }
  }
  std::array<std::vector<double>, 3>       Bent; // how far the voxel is moved within the volume
  std::array<std::vector<std::int32_t>, 3> Base;
  std::array<std::vector<float>, 3>        High;
  std::vector<std::int32_t>                Inside; // all eight voxels lie in the volume
  std::vector<float>                       Values; // interleaved
};

GLIOMAGRADING_CLONES void
PlaceLine(std::int64_t n,
          double       middle,
          double       step,
          double       y,
          double       z,
          double       centre,
          std::int32_t size,
          const double * __restrict__ bent,
          std::int32_t * __restrict__ base,
          float * __restrict__ high,
          std::int32_t * __restrict__ inside)
{
  for (std::int64_t x = 0; x < n; ++x)
  {
    // Far outside is as good as just outside.
    const double at = std::min(std::max(step * (static_cast<double>(x) - middle) + y + z + centre + bent[x], -4.0),
                               static_cast<double>(size) + 4.0);
    const auto   truncated = static_cast<std::int32_t>(at + 8.0) - 8; // at + 8 is positive
    base[x] = truncated;
    high[x] = static_cast<float>(at - static_cast<double>(truncated));
    inside[x] = inside[x] & (truncated >= 0 ? 1 : 0) & (truncated + 1 < size ? 1 : 0);
  }
}

GLIOMAGRADING_CLONES void
SplitLine(const float * __restrict__ values, std::int64_t n, float * a, float * b, float * c, float * d)
{
  for (std::int64_t x = 0; x < n; ++x)
  {
    a[x] = values[4 * x];
    b[x] = values[4 * x + 1];
    c[x] = values[4 * x + 2];
    d[x] = values[4 * x + 3];
  }
}

// Vectors that the compiler knows: one instruction where the processor has it.
using EightFloats = float __attribute__((vector_size(32)));
using FourFloats = float __attribute__((vector_size(16)));
using FourIntegers = std::int32_t __attribute__((vector_size(16)));

GLIOMAGRADING_INLINE void
LoadEight(const float * values, EightFloats & loaded)
{
  std::memcpy(&loaded, values, sizeof(loaded));
}

GLIOMAGRADING_INLINE void
LoadEight(const std::uint16_t * values, EightFloats & loaded)
{
  using EightShorts = std::uint16_t __attribute__((vector_size(16)));
  using EightIntegers = std::uint32_t __attribute__((vector_size(32)));
  EightShorts stored;
  std::memcpy(&stored, values, sizeof(stored));
  const EightIntegers bits = __builtin_convertvector(stored, EightIntegers) << 16;
  std::memcpy(&loaded, &bits, sizeof(loaded));
}

/** A voxel near the volume's border, some of whose neighbours lie outside. */
template <typename TStored>
void
ResampleAtBorder(const AugmentationPipeline::Volume & volume,
                 const TStored *                      stored,
                 const std::int64_t (&base)[3],
                 const float (&high)[3],
                 float * values,
                 float & brain,
                 float & tumour)
{
  const std::int64_t stride[3] = { 1, volume.Size[0], volume.Size[0] * volume.Size[1] };
  for (unsigned int corner = 0; corner < 8; ++corner)
  {
    float        weight = 1.0F;
    std::int64_t voxel = 0;
    bool         inside = true;
    for (unsigned int a = 0; a < 3; ++a)
    {
      const std::int64_t bit = (corner >> a) & 1;
      const std::int64_t index = base[a] + bit;
      weight *= bit ? high[a] : 1.0F - high[a];
      inside = inside && index >= 0 && index < volume.Size[a];
      voxel += index * stride[a];
    }
    if (inside && weight > 0.0F)
    {
      for (unsigned int c = 0; c < AugmentationPipeline::Channels; ++c)
      {
        values[c] += weight * Loaded(stored[voxel * AugmentationPipeline::Channels + c]);
      }
      brain += weight * static_cast<float>(volume.Brain[voxel]);
      tumour += weight * static_cast<float>(volume.Tumour[voxel]);
    }
  }
}

template <typename TStored>
GLIOMAGRADING_INLINE void
ResampleLine(const AugmentationPipeline::Volume & volume,
             const TStored *                      stored,
             std::int64_t                         n,
             LineOfPatch &                        line,
             float *                              brainLine,
             float *                              tumourLine)
{
  constexpr unsigned int channels = AugmentationPipeline::Channels;
  const std::int64_t     stride[3] = { 1, volume.Size[0], volume.Size[0] * volume.Size[1] };
  const std::int64_t     row[4] = { 0, stride[1], stride[2], stride[1] + stride[2] };
  constexpr float        byte = 1.0F / 255.0F;
  for (std::int64_t x = 0; x < n; ++x)
  {
    const float        high[3] = { line.High[0][x], line.High[1][x], line.High[2][x] };
    const std::int64_t base[3] = { line.Base[0][x], line.Base[1][x], line.Base[2][x] };
    float * const      result = line.Values.data() + x * channels;
    if (line.Inside[x])
    {
      const std::int64_t offset = base[0] + base[1] * stride[1] + base[2] * stride[2];
      const float        upper = high[1] * high[2];
      const float        share[4] = { 1.0F - high[1] - high[2] + upper, high[1] - upper, high[2] - upper, upper };
      // Two neighbours of a row at once: eight values, and two of brain and tumour each.
      EightFloats pair{};
      FourFloats  masks{};
      for (unsigned int r = 0; r < 4; ++r)
      {
        const std::int64_t         at = offset + row[r];
        const std::uint8_t * const brain = volume.Brain + at;
        const std::uint8_t * const tumour = volume.Tumour + at;
        EightFloats                values;
        LoadEight(stored + at * channels, values);
        pair += share[r] * values;
        const FourIntegers bytes{ brain[0], tumour[0], brain[1], tumour[1] };
        masks += share[r] * __builtin_convertvector(bytes, FourFloats);
      }
      FourFloats halves[2];
      std::memcpy(halves, &pair, sizeof(pair));
      const FourFloats between = halves[0] + high[0] * (halves[1] - halves[0]);
      std::memcpy(result, &between, sizeof(between));
      brainLine[x] = (masks[0] + high[0] * (masks[2] - masks[0])) * byte;
      tumourLine[x] = (masks[1] + high[0] * (masks[3] - masks[1])) * byte;
      continue;
    }
    std::fill_n(result, channels, 0.0F);
    float brain = 0.0F;
    float tumour = 0.0F;
    if (base[0] >= -1 && base[1] >= -1 && base[2] >= -1 && base[0] < volume.Size[0] && base[1] < volume.Size[1] &&
        base[2] < volume.Size[2])
    {
      ResampleAtBorder(volume, stored, base, high, result, brain, tumour);
    }
    brainLine[x] = brain * byte;
    tumourLine[x] = tumour * byte;
  }
}

// clang-format off
#define GLIOMAGRADING_RESAMPLE_LINE(T)                                                                                 \
  GLIOMAGRADING_CLONES void                                                                                            \
  ResampleLineOf(const AugmentationPipeline::Volume & volume, const T * stored, std::int64_t n, LineOfPatch & line,    \
                 float * brain, float * tumour)                                                                        \
  {                                                                                                                    \
    ResampleLine(volume, stored, n, line, brain, tumour);                                                              \
  }
GLIOMAGRADING_RESAMPLE_LINE(float)
GLIOMAGRADING_RESAMPLE_LINE(std::uint16_t)
// clang-format on

/** The cell that a voxel of the cube lies in, and the cubic B-splines of its four control points there. */
struct PlaceInLattice
{
  PlaceInLattice(std::int64_t voxel, std::int64_t side)
  {
    constexpr std::int64_t cells = AugmentationPipeline::Cells;
    const double at = (static_cast<double>(voxel) + 0.5) * static_cast<double>(cells) / static_cast<double>(side);
    Cell = std::min(static_cast<std::int64_t>(at), cells - 1);
    const double u = at - static_cast<double>(Cell);
    const double v = 1.0 - u;
    Weights = { { v * v * v / 6.0,
                  (3.0 * u * u * u - 6.0 * u * u + 4.0) / 6.0,
                  (3.0 * v * v * v - 6.0 * v * v + 4.0) / 6.0,
                  u * u * u / 6.0 } };
  }
  std::int64_t          Cell;
  std::array<double, 4> Weights;
};

/** How far each voxel of a line is moved within the volume. */
void
BendLine(const AugmentationPipeline::Placement & placement,
         const std::vector<PlaceInLattice> &     places,
         std::int64_t                            y,
         std::int64_t                            z,
         LineOfPatch &                           line)
{
  constexpr std::int64_t points = AugmentationPipeline::ControlPoints;
  const auto             side = static_cast<std::int64_t>(places.size());
  const double           cell = static_cast<double>(side) / static_cast<double>(AugmentationPipeline::Cells);
  double                 row[3][points] = {}; // what is left of the lattice on this line
  for (unsigned int a = 0; a < 3; ++a)
  {
    for (std::int64_t k = 0; k < 4; ++k)
    {
      for (std::int64_t j = 0; j < 4; ++j)
      {
        const double         weight = cell * places[z].Weights[k] * places[y].Weights[j];
        const double * const from =
          placement.Bend.data() + ((a * points + places[z].Cell + k) * points + places[y].Cell + j) * points;
        for (std::int64_t i = 0; i < points; ++i)
        {
          row[a][i] += weight * from[i];
        }
      }
    }
  }
  const auto & m = placement.Matrix;
  for (std::int64_t x = 0; x < side; ++x)
  {
    double bend[3] = {};
    for (unsigned int a = 0; a < 3; ++a)
    {
      for (std::int64_t i = 0; i < 4; ++i)
      {
        bend[a] += places[x].Weights[i] * row[a][places[x].Cell + i];
      }
    }
    for (unsigned int a = 0; a < 3; ++a)
    {
      line.Bent[a][x] = m[a][0] * bend[0] + m[a][1] * bend[1] + m[a][2] * bend[2];
    }
  }
}

template <typename TStored>
void
ResampleFrom(const AugmentationPipeline::Volume &    volume,
             const TStored *                         stored,
             const AugmentationPipeline::Placement & placement,
             AugmentationPipeline::Patch &           patch)
{
  const std::int64_t n = patch.Side;
  const std::int64_t voxels = n * n * n;
  const double       middle = 0.5 * static_cast<double>(n - 1);
  const auto &       m = placement.Matrix;
  LineOfPatch        line(n);

  std::vector<PlaceInLattice> places;
  if (!placement.Bend.empty())
  {
    for (std::int64_t i = 0; i < n; ++i)
    {
      places.emplace_back(i, n);
    }
  }
  for (std::int64_t z = 0; z < n; ++z)
  {
    for (std::int64_t y = 0; y < n; ++y)
    {
      if (!places.empty())
      {
        BendLine(placement, places, y, z, line);
      }
      std::fill(line.Inside.begin(), line.Inside.end(), 1);
      for (unsigned int a = 0; a < 3; ++a)
      {
        PlaceLine(n,
                  middle,
                  m[a][0],
                  m[a][1] * (static_cast<double>(y) - middle),
                  m[a][2] * (static_cast<double>(z) - middle),
                  placement.Centre[a],
                  static_cast<std::int32_t>(volume.Size[a]),
                  line.Bent[a].data(),
                  line.Base[a].data(),
                  line.High[a].data(),
                  line.Inside.data());
      }
      const std::int64_t at = (z * n + y) * n;
      ResampleLineOf(volume, stored, n, line, patch.Brain.data() + at, patch.Tumour.data() + at);
      float * const out = patch.Intensities.data() + at;
      SplitLine(line.Values.data(), n, out, out + voxels, out + 2 * voxels, out + 3 * voxels);
    }
  }
}

// A cube is, along an axis, so many blocks of n slices of so many neighbouring values each.

GLIOMAGRADING_CLONES void
AddSlice(const float * __restrict__ from, float * __restrict__ to, std::int64_t values)
{
  for (std::int64_t i = 0; i < values; ++i)
  {
    to[i] += from[i];
  }
}

GLIOMAGRADING_CLONES void
ScaleSlice(float * slice, float factor, std::int64_t values)
{
  for (std::int64_t i = 0; i < values; ++i)
  {
    slice[i] *= factor;
  }
}

GLIOMAGRADING_CLONES void
MixSlices(const float * __restrict__ a,
          const float * __restrict__ b,
          float share,
          float * __restrict__ to,
          std::int64_t values)
{
  for (std::int64_t i = 0; i < values; ++i)
  {
    to[i] = a[i] * (1.0F - share) + b[i] * share;
  }
}

GLIOMAGRADING_CLONES void
OffsetSlice(float * slice, float offset, std::int64_t values)
{
  for (std::int64_t i = 0; i < values; ++i)
  {
    slice[i] += offset;
  }
}

/** Mean of each value of a row and its two neighbours, zeros outside. */
GLIOMAGRADING_CLONES void
SmoothRow(const float * __restrict__ row, float * __restrict__ to, std::int64_t n)
{
  for (std::int64_t i = 1; i + 1 < n; ++i)
  {
    to[i] = (row[i - 1] + row[i] + row[i + 1]) / 3.0F;
  }
  to[0] = (row[0] + (n > 1 ? row[1] : 0.0F)) / 3.0F;
  to[n - 1] = n > 1 ? (row[n - 2] + row[n - 1]) / 3.0F : to[0];
}

GLIOMAGRADING_CLONES void
MeanOfThree(const float * __restrict__ a,
            const float * __restrict__ b,
            const float * __restrict__ c,
            float * __restrict__ to,
            std::int64_t values)
{
  for (std::int64_t i = 0; i < values; ++i)
  {
    to[i] = (a[i] + b[i] + c[i]) / 3.0F;
  }
}

/** Calls change(slices, values of a slice) for every block along an axis. */
template <typename TChange>
void
ForEachBlock(float * cube, std::int64_t n, unsigned int axis, TChange change)
{
  const std::int64_t values = axis == 0 ? 1 : axis == 1 ? n : n * n;
  for (std::int64_t start = 0; start < n * n * n; start += n * values)
  {
    change(cube + start, values);
  }
}

/** Mean of three voxels a side, zeros outside. */
void
BoxSmooth(float * cube, std::int64_t n)
{
  std::vector<float> held(n * n * n);
  for (unsigned int axis = 0; axis < 3; ++axis)
  {
    const std::vector<float> zeros(n * n);
    ForEachBlock(cube, n, axis, [&](float * block, std::int64_t values) {
      if (axis == 0)
      {
        SmoothRow(block, held.data(), n);
        std::copy_n(held.data(), n, block);
        return;
      }
      std::copy_n(block, n * values, held.data());
      for (std::int64_t i = 0; i < n; ++i)
      {
        MeanOfThree(i > 0 ? held.data() + (i - 1) * values : zeros.data(),
                    held.data() + i * values,
                    i + 1 < n ? held.data() + (i + 1) * values : zeros.data(),
                    block + i * values,
                    values);
      }
    });
  }
}

/** Averages slices together, then interpolates back: what a scan of thick slices looks like. */
void
ThickSlices(float * cube, std::int64_t n, unsigned int axis, std::int64_t factor)
{
  const std::int64_t        slices = std::max<std::int64_t>(1, n / factor);
  const float               scale = static_cast<float>(slices) / static_cast<float>(n);
  std::vector<std::int64_t> lower(n);
  std::vector<float>        share(n);
  for (std::int64_t i = 0; i < n; ++i)
  {
    const float at = std::clamp((static_cast<float>(i) + 0.5F) * scale - 0.5F, 0.0F, static_cast<float>(slices - 1));
    lower[i] = std::min<std::int64_t>(static_cast<std::int64_t>(at), slices - 1);
    share[i] = at - static_cast<float>(lower[i]);
  }
  std::vector<float> thick;
  ForEachBlock(cube, n, axis, [&](float * block, std::int64_t values) {
    thick.assign(slices * values, 0.0F);
    for (std::int64_t s = 0; s < slices; ++s)
    {
      const std::int64_t from = s * n / slices;
      const std::int64_t to = ((s + 1) * n + slices - 1) / slices;
      for (std::int64_t i = from; i < to; ++i)
      {
        AddSlice(block + i * values, thick.data() + s * values, values);
      }
      ScaleSlice(thick.data() + s * values, 1.0F / static_cast<float>(to - from), values);
    }
    for (std::int64_t i = 0; i < n; ++i)
    {
      const std::int64_t upper = std::min<std::int64_t>(lower[i] + 1, slices - 1);
      MixSlices(thick.data() + lower[i] * values, thick.data() + upper * values, share[i], block + i * values, values);
    }
  });
}

template <typename T>
GLIOMAGRADING_INLINE void
Interleaved(const float * const (&from)[4], const float (&background)[4], std::int64_t voxels, T * __restrict__ to)
{
  const float * __restrict__ a = from[0];
  const float * __restrict__ b = from[1];
  const float * __restrict__ c = from[2];
  const float * __restrict__ d = from[3];
  for (std::int64_t i = 0; i < voxels; ++i)
  {
    Store(to[4 * i], a[i] + background[0]);
    Store(to[4 * i + 1], b[i] + background[1]);
    Store(to[4 * i + 2], c[i] + background[2]);
    Store(to[4 * i + 3], d[i] + background[3]);
  }
}

// clang-format off
#define GLIOMAGRADING_INTERLEAVE(T)                                                                                    \
  GLIOMAGRADING_CLONES void                                                                                            \
  InterleaveTo(const float * const (&from)[4], const float (&background)[4], std::int64_t voxels, T * to)              \
  {                                                                                                                    \
    Interleaved(from, background, voxels, to);                                                                         \
  }                                                                                                                    \
  void                                                                                                                 \
  InterleavePatch(const AugmentationPipeline::Patch & patch, const std::array<float, 4> & background, T * sample)      \
  {                                                                                                                    \
    const std::int64_t  voxels = patch.Side * patch.Side * patch.Side;                                                 \
    const float * const start = patch.Intensities.data();                                                              \
    const float * const from[4] = { start, start + voxels, start + 2 * voxels, start + 3 * voxels };                   \
    const float         above[4] = { background[0], background[1], background[2], background[3] };                     \
    InterleaveTo(from, above, voxels, sample);                                                                         \
  }
GLIOMAGRADING_INTERLEAVE(float)
GLIOMAGRADING_INTERLEAVE(std::uint16_t)
// clang-format on

// What ChangeScanner() does to all voxels of a sequence.

/** Border voxels hold their brain's share of the intensity: gives the tissue's own, and its lowest and highest. */
GLIOMAGRADING_CLONES void
DivideByShare(float * __restrict__ v,
              const float * __restrict__ brain,
              std::int64_t voxels,
              float        least,
              float &      lowest,
              float &      highest)
{
  constexpr float limit = std::numeric_limits<float>::max();
  float           low = limit;
  float           high = -limit;
  for (std::int64_t i = 0; i < voxels; ++i)
  {
    const float own = v[i] / std::max(brain[i], least);
    v[i] = brain[i] > least ? own : 0.0F;
  }
#pragma omp simd reduction(min : low) reduction(max : high)
  for (std::int64_t i = 0; i < voxels; ++i)
  {
    // Of the brain alone: above an image's background the brain's lowest is not 0.
    const float under = brain[i] > least ? v[i] : limit;
    const float over = brain[i] > least ? v[i] : -limit;
    low = under < low ? under : low;
    high = over > high ? over : high;
  }
  lowest = low <= high ? low : 0.0F;
  highest = low <= high ? high : 0.0F;
}

GLIOMAGRADING_CLONES void
MixCurve(float * __restrict__ v, std::int64_t voxels, const float (&knots)[7], float mix)
{
  // A rising curve of six lines is its first line and what each knot adds to the slope.
  float bend[6];
  bend[0] = knots[1] - knots[0];
  for (unsigned int k = 1; k < 6; ++k)
  {
    bend[k] = (knots[k + 1] - knots[k]) - (knots[k] - knots[k - 1]);
  }
  for (std::int64_t i = 0; i < voxels; ++i)
  {
    const float at = (std::min(std::max(v[i], -4.0F), 5.999F) + 4.0F) * 0.6F;
    float       curve = knots[0] + at * bend[0];
    for (unsigned int k = 1; k < 6; ++k)
    {
      curve += std::max(at - static_cast<float>(k), 0.0F) * bend[k];
    }
    v[i] += mix * (curve - v[i]);
  }
}

GLIOMAGRADING_CLONES void
ChangeLesion(float * __restrict__ v,
             const float * __restrict__ tumour,
             std::int64_t voxels,
             float        weaker,
             float        shifted)
{
  for (std::int64_t i = 0; i < voxels; ++i)
  {
    v[i] = v[i] * (1.0F - tumour[i] * weaker) + tumour[i] * shifted;
  }
}

GLIOMAGRADING_CLONES void
ScaleAndOffset(float * v, std::int64_t voxels, float gain, float offset)
{
  for (std::int64_t i = 0; i < voxels; ++i)
  {
    v[i] = v[i] * gain + offset;
  }
}

GLIOMAGRADING_CLONES void
AddDifference(float * __restrict__ v, const float * __restrict__ smooth, std::int64_t voxels, float amount)
{
  for (std::int64_t i = 0; i < voxels; ++i)
  {
    v[i] += amount * (v[i] - smooth[i]);
  }
}

GLIOMAGRADING_CLONES void
MultiplyByShare(float * __restrict__ v, const float * __restrict__ brain, std::int64_t voxels, float least)
{
  for (std::int64_t i = 0; i < voxels; ++i)
  {
    v[i] *= brain[i] > least ? brain[i] : 0.0F;
  }
}

/** Normal numbers, two of each pair of uniform ones (Box and Muller). */
void
AddNoise(CounterRandom & random, float * v, std::int64_t voxels, float deviation)
{
  for (std::int64_t i = 0; i < voxels; i += 2)
  {
    const std::uint64_t bits = random.Bits();
    const float         first = static_cast<float>((bits >> 40) + 1) * 0x1.0p-24F; // in (0, 1]
    const float         turn = static_cast<float>(bits & 0xFFFFFFU) * 0x1.0p-24F * 6.2831853F;
    const float         radius = deviation * std::sqrt(-2.0F * std::log(first));
    v[i] += radius * std::cos(turn);
    if (i + 1 < voxels)
    {
      v[i + 1] += radius * std::sin(turn);
    }
  }
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
  Transplant,
  TumourFree,
  Elastic
};

bool
IsHealthy(const AugmentationPipeline::Patch & patch, std::size_t voxel)
{
  return patch.Brain[voxel] > 0.5F && patch.Tumour[voxel] < 0.02F;
}

/** Moves each sequence, by the voxel's share, towards valueOf(place in the intensities, voxel). */
template <typename TValueOf>
void
Blend(const std::vector<float> & share, TValueOf valueOf, AugmentationPipeline::Patch & patch)
{
  const std::size_t voxels = share.size();
  for (std::size_t start = 0; start < patch.Intensities.size(); start += voxels)
  {
    float * const to = patch.Intensities.data() + start;
    for (std::size_t i = 0; i < voxels; ++i)
    {
      to[i] += share[i] * (valueOf(start + i, i) - to[i]);
    }
  }
}

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
    { "sagittal-flip", 0.5, 1.0, "mirrors left and right with this probability" },
    { "rotation", 20.0, 180.0, "with probability 0.5 turns about the superior-inferior axis by up to so many degrees" },
    { "quarter-turns", 0.5, 1.0, "with this probability turns by a random multiple of 90 degrees about the same axis" },
    { "gamma", 0.15, 0.9, "raises intensities, scaled to [0, 1] in the brain, to a power in [1 - g, 1 + g]" },
    { "rotation-3d", 20.0, 180.0, "turns about all three axes by up to so many degrees" },
    { "zoom", 0.2, 1.0, "scales by exp(u), |u| up to this" },
    { "mirror", 0.5, 1.0, "mirrors each of the three axes with this probability" },
    { "shift", 0.5, 1.0, "moves the centre by up to half this share of the side" },
    { "box-jitter", 0.1, 0.5, "moves each face of the tumour's box by up to this share of its longest side" },
    { "intensity-curve", 0.7, 1.0, "mixes in a random rising curve by up to this share" },
    { "gain", 0.9, 2.0, "multiplies by exp(u), u in [-g, 0.55 g]: weaker contrast is the commoner case" },
    { "offset", 0.4, 3.0, "adds up to this" },
    { "lesion-contrast", 0.8, 1.0, "weakens the tumour's contrast by up to this share, and shifts it" },
    { "thick-slices", 0.3, 1.0, "with this probability averages two or three slices of a random axis" },
    { "sharpness", 0.3, 1.0, "with this probability blurs or sharpens" },
    { "noise", 0.3, 2.0, "with probability 0.2 adds normal noise of up to this deviation" },
    { "bias-field", 0.2, 1.0, "with probability 0.4 multiplies by a smooth field of this deviation" },
    { "lost-sequence", 0.25, 1.0, "with this probability sets one sequence to 0" },
    { "cyst",
      0.3,
      1.0,
      "with this probability fills a part of the tumour with fluid: dark in T1 and T1c, bright in T2" },
    { "slice-offset", 0.3, 1.0, "with this probability adds to each slice of a random axis a number of its own" },
    { "transplant",
      0.3,
      1.0,
      "with this probability adds the tumour of another case (CarveMix); grading: to a head without its own" },
    { "tumour-free",
      0.3,
      1.0,
      "grading: with this probability shows a head without its tumour, neither LGG nor HGG (0.5 each)" },
    { "elastic", 0.5, 1.0, "bends by a smooth random field (cubic B-splines), up to this share of what could fold" },
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
    const std::string  text = nameAndStrength.substr(equals + 1);
    const char * const last = text.data() + text.size();
    // Not by strtod: in a program with another locale it stops at the point.
    const auto [end, error] = std::from_chars(text.data(), last, strength);
    if (error != std::errc() || end != last || !(strength >= 0.0 && strength <= found->Maximum))
    {
      itkGenericExceptionMacro("The strength of augmentation '"
                               << name << "' is '" << text << "'; give a number from 0 (off) to " << found->Maximum);
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
  if (m_Strengths[Elastic] > 0.0)
  {
    const double amplitude = random.Uniform() * m_Strengths[Elastic] * LargestBend;
    placement.Bend.resize(3 * ControlPoints * ControlPoints * ControlPoints);
    for (double & each : placement.Bend)
    {
      each = amplitude * random.Uniform(-1.0, 1.0);
    }
  }
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

std::array<double, 2>
AugmentationPipeline::ReachOfCube() const
{
  // A turn about one axis stretches what is reached along the others by |cos| + |sin| at most, all turns by sqrt(3).
  const auto stretch = [](double degrees) {
    const double angle = std::min(degrees, 45.0) * pi / 180.0;
    return std::cos(angle) + std::sin(angle);
  };
  const double turned =
    std::min(std::sqrt(3.0), stretch(m_Strengths[Rotation]) * std::pow(stretch(m_Strengths[Rotation3D]), 3));
  // B-splines move a voxel no farther than the control points around it.
  const double bent = 1.0 + 2.0 * m_Strengths[Elastic] * LargestBend / static_cast<double>(Cells);
  const double halfSide = 0.5 * (turned * std::exp(m_Strengths[Zoom]) * bent + m_Strengths[Shift]);
  const double jitter = m_Strengths[BoxJitter];
  return { { halfSide * (1.0 + 2.0 * jitter) + jitter, 2.0 * halfSide } };
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
AugmentationPipeline::Interleave(const Patch & patch, const std::array<float, Channels> & background, float * sample)
{
  InterleavePatch(patch, background, sample);
}

void
AugmentationPipeline::Interleave(const Patch &                       patch,
                                 const std::array<float, Channels> & background,
                                 std::uint16_t *                     sample)
{
  InterleavePatch(patch, background, sample);
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
  Blend(share, [&donor](std::size_t place, std::size_t) { return donor.Intensities[place]; }, patch);
}

double
AugmentationPipeline::HealthyShare(const Patch & other, const Patch & patch)
{
  double tumour = 0.0;
  double healthy = 0.0;
  for (std::size_t i = 0; i < patch.Tumour.size(); ++i)
  {
    tumour += patch.Tumour[i];
    healthy += IsHealthy(other, i) ? patch.Tumour[i] : 0.0F;
  }
  return tumour > 0.0 ? healthy / tumour : 1.0;
}

void
AugmentationPipeline::ReplaceTumour(const Patch & other, Patch & patch)
{
  const std::int64_t n = patch.Side;
  const std::int64_t voxels = n * n * n;
  std::vector<float> share(patch.Tumour);
  BoxSmooth(share.data(), n);
  for (std::int64_t i = 0; i < voxels; ++i)
  {
    // The tumour whole, and a seam of one voxel around it.
    share[i] = std::max(std::min(1.0F, 2.0F * share[i]), patch.Tumour[i]) * patch.Brain[i];
    patch.Tumour[i] = 0.0F;
  }
  Blend(
    share,
    [&other](std::size_t place, std::size_t voxel) {
      return IsHealthy(other, voxel) ? other.Intensities[place] : 0.0F;
    },
    patch);
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
    float         low = 0.0F;
    float         high = 0.0F;
    DivideByShare(v, brain, voxels, leastShare, low, high);
    if (!fluid.empty())
    {
      for (std::int64_t i = 0; i < voxels; ++i)
      {
        v[i] += fluid[i] * (fluidValue[c] - v[i]);
        low = fluid[i] > 0.0F ? std::min(low, v[i]) : low;
        high = fluid[i] > 0.0F ? std::max(high, v[i]) : high;
      }
    }
    if (gamma != 1.0 && high > low)
    {
      for (std::int64_t i = 0; i < voxels; ++i)
      {
        // Outside nothing changes; there the share may be negative.
        v[i] = brain[i] > leastShare
                 ? low + (high - low) * std::pow((v[i] - low) / (high - low), static_cast<float>(gamma))
                 : v[i];
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
      MixCurve(v, voxels, knots, mix);
    }
    if (m_Strengths[LesionContrast] > 0.0)
    {
      const auto weaker =
        static_cast<float>(m_Strengths[LesionContrast] * random.Uniform() * (random.Chance(0.6) ? 1.0 : 0.0));
      const auto shifted = static_cast<float>(0.3 * m_Strengths[LesionContrast] * random.Normal());
      ChangeLesion(v, tumour, voxels, weaker, shifted);
    }
    if (m_Strengths[Gain] > 0.0 || m_Strengths[Offset] > 0.0)
    {
      const auto gain = static_cast<float>(std::exp(random.Uniform(-1.0, 0.55) * m_Strengths[Gain]));
      const auto offset = static_cast<float>(random.Uniform(-1.0, 1.0) * m_Strengths[Offset]);
      ScaleAndOffset(v, voxels, gain, offset);
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
      AddDifference(v, smooth.data(), voxels, amount);
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
      ForEachBlock(v, n, axis, [&](float * block, std::int64_t values) {
        for (std::int64_t i = 0; i < n; ++i)
        {
          OffsetSlice(block + i * values, offset[i], values);
        }
      });
    }
    if (m_Strengths[Noise] > 0.0 && random.Chance(0.2))
    {
      const double deviation = random.Uniform() * m_Strengths[Noise];
      AddNoise(random, v, voxels, static_cast<float>(deviation));
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
    MultiplyByShare(patch.Intensities.data() + c * voxels, brain, voxels, leastShare);
  }
}
} // namespace itk
