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
#include "itkTensorProductN4.h"

#include "TorchModes.h"
#include "TorchThreads.h"

#include <torch/torch.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <limits>
#include <memory>
#include <numeric>

// The loops over a run of voxels are worth wider registers than the build's own.
#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__)
#  define N4_RUN_LOOP __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#  define N4_RUN_LOOP
#endif

namespace itk
{
namespace
{
/** One axis of the fit: samples, and spans and order of its splines. */
struct Axis
{
  SizeValueType samples{ 1 };
  SizeValueType spans{ 0 };
  unsigned int  order{ 3 };

  SizeValueType
  ControlPoints() const
  {
    return spans == 0 ? 1 : spans + order;
  }
};

/** Weights of positions in samples. The last span is half open, so ITK's filters step back from its end by 1/1000 of a
 * sample; so does this. */
TensorProductN4::AxisType
Locate(const Axis & axis, const std::vector<double> & positions)
{
  // Never fewer than the 4 of cubic splines, for which the loops are written out; the others are 0.
  const unsigned int        taps = std::max(4U, axis.order + 1);
  TensorProductN4::AxisType located;
  located.Taps = taps;
  located.First.resize(positions.size(), 0);
  located.Weights.resize(taps * positions.size(), 0.0);
  for (size_t n = 0; n < positions.size(); ++n)
  {
    double * const weights = &located.Weights[taps * n];
    weights[0] = 1.0;
    if (axis.spans == 0)
    {
      continue;
    }
    const double rate = static_cast<double>(axis.spans) / static_cast<double>(axis.samples - 1);
    const double p = std::clamp(positions[n] * rate, 0.0, static_cast<double>(axis.spans) - 1e-3 * rate);
    located.First[n] = static_cast<unsigned int>(p);
    // Cox and de Boor's recursion on knots one span apart.
    const double u = p - located.First[n];
    for (unsigned int degree = 1; degree <= axis.order; ++degree)
    {
      double fromTheLeft = 0.0;
      for (unsigned int j = 0; j < degree; ++j)
      {
        const double share = weights[j] / degree;
        weights[j] = fromTheLeft + (j + 1 - u) * share;
        fromTheLeft = (u + degree - 1 - j) * share;
      }
      weights[degree] = fromTheLeft;
    }
  }
  return located;
}

/** The weights that gather samples into the lattice: a power of those that spread it, divided by the sum of squares. */
TensorProductN4::AxisType
GatheringWeights(const TensorProductN4::AxisType & axis, int power)
{
  TensorProductN4::AxisType gathering = axis;
  for (size_t n = 0; n < axis.First.size(); ++n)
  {
    const double * const w = &axis.Weights[axis.Taps * n];
    const double         squares = power == 3 ? std::inner_product(w, w + axis.Taps, w, 0.0) : 1.0;
    for (unsigned int j = 0; j < axis.Taps; ++j)
    {
      gathering.Weights[axis.Taps * n + j] = (power == 3 ? w[j] * w[j] * w[j] : w[j] * w[j]) / squares;
    }
  }
  return gathering;
}

/** Weighted sum of as many neighbours as a spline has. */
inline double
WeightedSum(unsigned int taps, const double * weights, const double * values)
{
  double sum = weights[0] * values[0] + weights[1] * values[1] + weights[2] * values[2] + weights[3] * values[3];
  for (unsigned int j = 4; j < taps; ++j)
  {
    sum += weights[j] * values[j];
  }
  return sum;
}

/** Radix-2 transform of real and imaginary parts, without the sorting: its frequencies come in an order that a product
 * of two transforms does not mind and that InverseTransform takes. The roots of the stage that joins `half` with `half`
 * start at `half`. */
N4_RUN_LOOP void
FourierTransform(size_t length, const double * cosines, const double * sines, double * real, double * imaginary)
{
  for (size_t half = length / 2; half > 2; half /= 2)
  {
    const double * const c = cosines + half;
    const double * const s = sines + half;
    for (size_t block = 0; block < length; block += 2 * half)
    {
      double * const ar = real + block;
      double * const ai = imaginary + block;
      double * const br = ar + half;
      double * const bi = ai + half;
#pragma omp simd
      for (size_t n = 0; n < half; ++n)
      {
        const double re = ar[n] - br[n];
        const double im = ai[n] - bi[n];
        ar[n] += br[n];
        ai[n] += bi[n];
        br[n] = re * c[n] + im * s[n];
        bi[n] = im * c[n] - re * s[n];
      }
    }
  }
  // The last two stages need no product.
  for (size_t n = 0; n < length; n += 4)
  {
    double * const r = real + n;
    double * const i = imaginary + n;
    const double   sumReal[2] = { r[0] + r[2], r[1] + r[3] };
    const double   sumImaginary[2] = { i[0] + i[2], i[1] + i[3] };
    const double   real0 = r[0] - r[2];
    const double   real1 = i[1] - i[3];
    const double   imaginary0 = i[0] - i[2];
    const double   imaginary1 = r[3] - r[1];
    r[0] = sumReal[0] + sumReal[1];
    r[1] = sumReal[0] - sumReal[1];
    r[2] = real0 + real1;
    r[3] = real0 - real1;
    i[0] = sumImaginary[0] + sumImaginary[1];
    i[1] = sumImaginary[0] - sumImaginary[1];
    i[2] = imaginary0 + imaginary1;
    i[3] = imaginary0 - imaginary1;
  }
}

/** The way back, not divided by the length. */
N4_RUN_LOOP void
InverseTransform(size_t length, const double * cosines, const double * sines, double * real, double * imaginary)
{
  for (size_t n = 0; n < length; n += 4)
  {
    double * const r = real + n;
    double * const i = imaginary + n;
    const double   sumReal[2] = { r[0] + r[1], r[2] + r[3] };
    const double   sumImaginary[2] = { i[0] + i[1], i[2] + i[3] };
    const double   real0 = r[0] - r[1];
    const double   real1 = i[3] - i[2];
    const double   imaginary0 = i[0] - i[1];
    const double   imaginary1 = r[2] - r[3];
    r[0] = sumReal[0] + sumReal[1];
    r[1] = real0 + real1;
    r[2] = sumReal[0] - sumReal[1];
    r[3] = real0 - real1;
    i[0] = sumImaginary[0] + sumImaginary[1];
    i[1] = imaginary0 + imaginary1;
    i[2] = sumImaginary[0] - sumImaginary[1];
    i[3] = imaginary0 - imaginary1;
  }
  for (size_t half = 4; half < length; half *= 2)
  {
    const double * const c = cosines + half;
    const double * const s = sines + half;
    for (size_t block = 0; block < length; block += 2 * half)
    {
      double * const ar = real + block;
      double * const ai = imaginary + block;
      double * const br = ar + half;
      double * const bi = ai + half;
#pragma omp simd
      for (size_t n = 0; n < half; ++n)
      {
        const double re = br[n] * c[n] - bi[n] * s[n];
        const double im = br[n] * s[n] + bi[n] * c[n];
        br[n] = ar[n] - re;
        bi[n] = ai[n] - im;
        ar[n] += re;
        ai[n] += im;
      }
    }
  }
}

/** E(u|v) of N4: what each bin of the histogram is expected to be without the field. */
class Sharpening
{
public:
  Sharpening(unsigned int bins, double fwhm, double noise)
    : m_Bins(bins)
    , m_FullWidth(fwhm)
    , m_Noise(noise)
    , m_Length(size_t{ 2 } << static_cast<unsigned int>(std::ceil(std::log2(static_cast<double>(bins)))))
    , m_Cosines(m_Length)
    , m_Sines(m_Length)
    , m_Gaussian(m_Length)
    , m_Real(m_Length)
    , m_Imaginary(m_Length)
  {
    for (size_t half = 1; half < m_Length; half *= 2)
    {
      for (size_t n = 0; n < half; ++n)
      {
        const double angle = 3.14159265358979323846 * static_cast<double>(n) / static_cast<double>(half);
        m_Cosines[half + n] = std::cos(angle);
        m_Sines[half + n] = std::sin(angle);
      }
    }
  }

  void
  operator()(const std::vector<double> & histogram, double minimum, double slope, std::vector<float> & expected)
  {
    const size_t offset = (m_Length - m_Bins) / 2;
    const double width = m_FullWidth / slope;
    const double rate = 4.0 * std::log(2.0) / (width * width);
    const double scale = 2.0 * std::sqrt(std::log(2.0) / 3.14159265358979323846) / width;
    for (size_t n = 0; n <= m_Length / 2; ++n)
    {
      const auto   distance = static_cast<double>(n);
      const double exponent = distance * distance * rate;
      // Smaller ones only cost time.
      const double g = exponent < 700.0 ? scale * std::exp(-exponent) : 0.0;
      m_Gaussian[n] = g;
      m_Gaussian[n > 0 ? m_Length - n : 0] = g;
    }
    std::fill(m_Imaginary.begin(), m_Imaginary.end(), 0.0);
    // The Gaussian is even: its transform is real.
    FourierTransform(m_Length, m_Cosines.data(), m_Sines.data(), m_Gaussian.data(), m_Imaginary.data());

    std::fill(m_Real.begin(), m_Real.end(), 0.0);
    std::fill(m_Imaginary.begin(), m_Imaginary.end(), 0.0);
    std::copy_n(histogram.begin(), m_Bins, m_Real.begin() + static_cast<std::ptrdiff_t>(offset));
    FourierTransform(m_Length, m_Cosines.data(), m_Sines.data(), m_Real.data(), m_Imaginary.data());
    for (size_t n = 0; n < m_Length; ++n)
    {
      const double gain = m_Gaussian[n] / (m_Gaussian[n] * m_Gaussian[n] + m_Noise);
      m_Real[n] *= gain;
      m_Imaginary[n] *= gain;
    }
    InverseTransform(m_Length, m_Cosines.data(), m_Sines.data(), m_Real.data(), m_Imaginary.data());
    for (size_t n = 0; n < m_Length; ++n)
    {
      // Numerator and denominator travel as real and imaginary part of one transform.
      const double u = std::max(m_Real[n], 0.0);
      m_Real[n] = (minimum + (static_cast<double>(n) - static_cast<double>(offset)) * slope) * u;
      m_Imaginary[n] = u;
    }
    FourierTransform(m_Length, m_Cosines.data(), m_Sines.data(), m_Real.data(), m_Imaginary.data());
    for (size_t n = 0; n < m_Length; ++n)
    {
      m_Real[n] *= m_Gaussian[n];
      m_Imaginary[n] *= m_Gaussian[n];
    }
    InverseTransform(m_Length, m_Cosines.data(), m_Sines.data(), m_Real.data(), m_Imaginary.data());
    // One entry more than bins: the highest voxel interpolates without a test.
    expected.resize(m_Bins + 1);
    for (size_t n = 0; n < m_Bins; ++n)
    {
      const double denominator = m_Imaginary[n + offset];
      expected[n] = denominator != 0.0 ? static_cast<float>(m_Real[n + offset] / denominator) : 0.0F;
    }
    expected[m_Bins] = expected[m_Bins - 1];
  }

private:
  size_t              m_Bins;
  double              m_FullWidth;
  double              m_Noise;
  size_t              m_Length;
  std::vector<double> m_Cosines;
  std::vector<double> m_Sines;
  std::vector<double> m_Gaussian;
  std::vector<double> m_Real;
  std::vector<double> m_Imaginary;
};

/** What an update of the field leaves for the next iteration. */
struct Statistics
{
  double sum{ 0.0 };     // of exp(change) - 1
  double squares{ 0.0 }; // of its square
  float  minimum{ std::numeric_limits<float>::max() };
  float  maximum{ std::numeric_limits<float>::lowest() };
};

// The voxels of the fit, their field, and what is summed over them.
class FittedVoxels
{
public:
  virtual ~FittedVoxels() = default;
  /** New lattice: the weights that spread it and those that gather delta (power 3) and omega (power 2). */
  virtual void
  SetLevel(const std::array<Axis, 3> & axes, std::vector<double> & omega) = 0;
  virtual void
  AddToHistogram(float minimum, float slope, std::vector<double> & histogram) = 0;
  virtual void
  GatherResidual(float minimum, float slope, const std::vector<float> & expected, std::vector<double> & delta) = 0;
  virtual Statistics
  SpreadLattice(const std::vector<double> & lattice) = 0;
};

/** exp for |x| < 80, as straight code that the compiler turns into vector code. */
inline float
Exponential(float x)
{
  x = std::min(std::max(x, -80.0F), 80.0F);
  constexpr float magic = 12582912.0F; // 1.5 * 2^23: adding it rounds to an integer
  const float     shifted = x * 1.44269504F + magic;
  const float     n = shifted - magic;
  const float     r = (x - n * 0.693359375F) + n * 2.12194440e-4F;
  float           p = 1.9875691500e-4F;
  p = p * r + 1.3981999507e-3F;
  p = p * r + 8.3334519073e-3F;
  p = p * r + 4.1665795894e-2F;
  p = p * r + 1.6666665459e-1F;
  p = p * r + 5.0000001201e-1F;
  p = p * r * r + r + 1.0F;
  const int exponent = static_cast<int>(std::bit_cast<unsigned int>(shifted) - std::bit_cast<unsigned int>(magic));
  return p * std::bit_cast<float>(static_cast<unsigned int>(exponent + 127) << 23);
}

/** Field of a run from four rows of the collapsed lattice, and what follows from it. */
N4_RUN_LOOP void
UpdateRun(size_t              count,
          const float * const rows[4],
          const float         weights[4],
          const float *       logImage,
          float *             field,
          float *             uncorrected,
          Statistics &        statistics)
{
  const float * const r0 = rows[0];
  const float * const r1 = rows[1];
  const float * const r2 = rows[2];
  const float * const r3 = rows[3];
  const float         w0 = weights[0];
  const float         w1 = weights[1];
  const float         w2 = weights[2];
  const float         w3 = weights[3];
  float               sum = 0.0F;
  float               squares = 0.0F;
  float               minimum = statistics.minimum;
  float               maximum = statistics.maximum;
#pragma omp simd reduction(+ : sum, squares) reduction(min : minimum) reduction(max : maximum)
  for (size_t n = 0; n < count; ++n)
  {
    const float b = w0 * r0[n] + w1 * r1[n] + w2 * r2[n] + w3 * r3[n];
    const float change = Exponential(field[n] - b) - 1.0F;
    const float u = logImage[n] - b;
    field[n] = b;
    uncorrected[n] = u;
    sum += change;
    squares += change * change;
    minimum = u < minimum ? u : minimum;
    maximum = u > maximum ? u : maximum;
  }
  statistics.sum += static_cast<double>(sum);
  statistics.squares += static_cast<double>(squares);
  statistics.minimum = minimum;
  statistics.maximum = maximum;
}

/** Weighted sum of rows that lie `stride` apart. */
N4_RUN_LOOP void
SumRows(size_t count, unsigned int taps, const float * weights, const float * rows, size_t stride, float * sums)
{
  std::fill(sums, sums + count, 0.0F);
  for (unsigned int j = 0; j < taps; ++j)
  {
    const float         w = weights[j];
    const float * const row = rows + j * stride;
#pragma omp simd
    for (size_t n = 0; n < count; ++n)
    {
      sums[n] += w * row[n];
    }
  }
}

/** Residual of a run: the log intensity less its sharpened value. */
N4_RUN_LOOP void
ResidualOfRun(size_t        count,
              const float * uncorrected,
              float         minimum,
              float         slope,
              const float * expected,
              int           lastBin,
              float *       residual)
{
#pragma omp simd
  for (size_t n = 0; n < count; ++n)
  {
    const float c = (uncorrected[n] - minimum) / slope;
    int         bin = static_cast<int>(c);
    bin = bin < lastBin ? bin : lastBin;
    const float e = expected[bin];
    residual[n] = uncorrected[n] - (e + (expected[bin + 1] - e) * (c - static_cast<float>(bin)));
  }
}

/** Adds a run to the rows that its slice's lattice has for it, `stride` apart. */
N4_RUN_LOOP void
AddRunToRows(size_t count, const float * values, unsigned int taps, const float * weights, float * rows, size_t stride)
{
  for (unsigned int j = 0; j < taps; ++j)
  {
    const float   w = weights[j];
    float * const row = rows + j * stride;
#pragma omp simd
    for (size_t n = 0; n < count; ++n)
    {
      row[n] += w * values[n];
    }
  }
}

/** Weighted sum of rows that lie `stride` apart, in double. */
N4_RUN_LOOP void
FieldOfRow(size_t count, unsigned int taps, const double * weights, const double * rows, size_t stride, float * field)
{
  const double * const r1 = rows + stride;
  const double * const r2 = r1 + stride;
  const double * const r3 = r2 + stride;
  const double         w0 = weights[0];
  const double         w1 = weights[1];
  const double         w2 = weights[2];
  const double         w3 = weights[3];
  if (taps == 4)
  {
#pragma omp simd
    for (size_t n = 0; n < count; ++n)
    {
      field[n] = static_cast<float>(w0 * rows[n] + w1 * r1[n] + w2 * r2[n] + w3 * r3[n]);
    }
    return;
  }
  for (size_t n = 0; n < count; ++n)
  {
    double sum = w0 * rows[n] + w1 * r1[n] + w2 * r2[n] + w3 * r3[n];
    for (unsigned int j = 4; j < taps; ++j)
    {
      sum += weights[j] * rows[j * stride + n];
    }
    field[n] = static_cast<float>(sum);
  }
}

N4_RUN_LOOP void
DivideRun(size_t count, const float * logField, float * values)
{
#pragma omp simd
  for (size_t n = 0; n < count; ++n)
  {
    values[n] *= Exponential(-logField[n]);
  }
}

/** Runs of voxels along x, worked through in three passes without a temporary volume. */
class VoxelRuns : public FittedVoxels
{
public:
  VoxelRuns(std::vector<float>                    logImage,
            std::vector<float>                    weights,
            const std::vector<size_t> &           voxels,
            const TensorProductN4::GridSizeType & size,
            unsigned int                          threads)
    : m_Slices(size[2])
    , m_Log(std::move(logImage))
    , m_Weights(std::move(weights))
    , m_Field(m_Log.size(), 0.0F)
    , m_Uncorrected(m_Log)
    , m_FirstRun(size[2] + 1, 0)
    // A thread with less to do than this costs more than it gives, above all on a busy machine.
    , m_Threads(static_cast<unsigned int>(std::clamp<size_t>(m_Log.size() / 32768, 1, threads)))
  {
    for (size_t n = 0; n < voxels.size(); ++n)
    {
      const size_t x = voxels[n] % size[0];
      const size_t y = voxels[n] / size[0] % size[1];
      const size_t z = voxels[n] / size[0] / size[1];
      if (n > 0 && x > 0 && voxels[n] == voxels[n - 1] + 1)
      {
        ++m_Runs.back().count;
      }
      else
      {
        m_Runs.push_back({ y, x, 1, n });
        m_FirstRun[z + 1] = m_Runs.size();
      }
    }
    for (size_t z = 0; z < m_Slices; ++z)
    {
      m_FirstRun[z + 1] = std::max(m_FirstRun[z + 1], m_FirstRun[z]);
    }
  }

  void
  SetLevel(const std::array<Axis, 3> & axes, std::vector<double> & omega) override
  {
    m_Axes = axes;
    for (unsigned int d = 0; d < 3; ++d)
    {
      std::vector<double> positions(axes[d].samples);
      std::iota(positions.begin(), positions.end(), 0.0);
      m_Spread[d] = Locate(axes[d], positions);
      m_Gather[d] = GatheringWeights(m_Spread[d], 2);
    }
    m_SpreadRows.assign(m_Spread[1].Weights.begin(), m_Spread[1].Weights.end());
    m_GatherRows.assign(m_Gather[1].Weights.begin(), m_Gather[1].Weights.end());
    // Room for the weights that are 0: an axis of one sample has as many weights as the others.
    m_Taps = m_Spread[0].Taps;
    m_RowsOfSlice = axes[1].ControlPoints() + m_Taps - 1;
    m_RowOfPlane = axes[0].ControlPoints() + m_Taps - 1;
    m_Scratch.resize(m_Threads * (m_RowsOfSlice + 1) * axes[0].samples);
    m_Planes.resize(m_Threads * m_RowsOfSlice * m_RowOfPlane);
    m_Partial.resize(m_Slices * axes[1].ControlPoints() * m_RowOfPlane);
    this->Gather(omega, [this](const Run & run, float * values) {
      for (size_t n = 0; n < run.count; ++n)
      {
        values[n] = m_Weights.empty() ? 1.0F : m_Weights[run.offset + n];
      }
    });
    for (unsigned int d = 0; d < 3; ++d)
    {
      m_Gather[d] = GatheringWeights(m_Spread[d], 3);
    }
    m_GatherRows.assign(m_Gather[1].Weights.begin(), m_Gather[1].Weights.end());
  }

  void
  AddToHistogram(float minimum, float slope, std::vector<double> & histogram) override
  {
    // The two shares of a voxel lie side by side, and neighbours go to different tables: no store waits for another.
    // Groups of slices have their own tables, merged in double: their number depends on the image alone, so that the
    // sums do not depend on the threads, and keeps a float's sum far below where it would swallow a voxel.
    const size_t bins = histogram.size();
    const size_t groups = std::min(m_Slices, std::max<size_t>(16, m_Log.size() / 65536));
    m_Shares.assign(groups * 4 * bins, 0.0F);
    this->ForEach(groups, [&](size_t group, unsigned int) {
      const size_t firstRun = m_FirstRun[group * m_Slices / groups];
      const size_t endRun = m_FirstRun[(group + 1) * m_Slices / groups];
      if (firstRun == endRun)
      {
        return;
      }
      const size_t  begin = m_Runs[firstRun].offset;
      const size_t  end = m_Runs[endRun - 1].offset + m_Runs[endRun - 1].count;
      const int     lastBin = static_cast<int>(bins) - 1;
      float * const shares = &m_Shares[group * 4 * bins];
      for (size_t n = begin; n < end; ++n)
      {
        // The brightest voxel counts in the last bin, wherever rounding puts it.
        const float   c = (m_Uncorrected[n] - minimum) / slope;
        const int     bin = std::min(static_cast<int>(c), lastBin);
        const float   rest = c - static_cast<float>(bin);
        float * const share = shares + 4 * bin + 2 * (n & 1);
        share[0] += bin < lastBin ? 1.0F - rest : 1.0F;
        share[1] += bin < lastBin ? rest : 0.0F;
      }
    });
    std::fill(histogram.begin(), histogram.end(), 0.0);
    for (size_t group = 0; group < groups; ++group)
    {
      const float * const shares = &m_Shares[group * 4 * bins];
      for (size_t bin = 0; bin < bins; ++bin)
      {
        histogram[bin] += static_cast<double>(shares[4 * bin]) + static_cast<double>(shares[4 * bin + 2]);
        if (bin + 1 < bins)
        {
          histogram[bin + 1] += static_cast<double>(shares[4 * bin + 1]) + static_cast<double>(shares[4 * bin + 3]);
        }
      }
    }
  }

  void
  GatherResidual(float minimum, float slope, const std::vector<float> & expected, std::vector<double> & delta) override
  {
    const int lastBin = static_cast<int>(expected.size()) - 2;
    this->Gather(delta, [&, this](const Run & run, float * values) {
      ResidualOfRun(run.count, &m_Uncorrected[run.offset], minimum, slope, expected.data(), lastBin, values);
      if (!m_Weights.empty())
      {
        for (size_t n = 0; n < run.count; ++n)
        {
          values[n] *= m_Weights[run.offset + n];
        }
      }
    });
  }

  Statistics
  SpreadLattice(const std::vector<double> & lattice) override
  {
    const size_t cx = m_Axes[0].ControlPoints();
    const size_t cy = m_Axes[1].ControlPoints();
    const size_t nx = m_Axes[0].samples;
    m_Statistics.assign(m_Slices, Statistics{});
    this->ForEach(m_Slices, [&](size_t z, unsigned int thread) {
      if (m_FirstRun[z] == m_FirstRun[z + 1])
      {
        return;
      }
      // Lattice -> plane of the slice -> rows along x of that plane.
      double * const plane = &m_Planes[thread * m_RowsOfSlice * m_RowOfPlane];
      float * const  rows = &m_Scratch[thread * (m_RowsOfSlice + 1) * nx];
      float * const  sums = rows + m_RowsOfSlice * nx;
      std::fill(plane, plane + m_RowsOfSlice * m_RowOfPlane, 0.0);
      for (unsigned int j = 0; j < m_Taps; ++j)
      {
        const double w = m_Spread[2].Weights[m_Taps * z + j];
        if (w != 0.0)
        {
          const double * const source = &lattice[(m_Spread[2].First[z] + j) * cy * cx];
          for (size_t y = 0; y < cy; ++y)
          {
            for (size_t x = 0; x < cx; ++x)
            {
              plane[y * m_RowOfPlane + x] += w * source[y * cx + x];
            }
          }
        }
      }
      for (size_t y = 0; y < m_RowsOfSlice; ++y)
      {
        const double * const row = plane + y * m_RowOfPlane;
        for (size_t x = 0; x < nx; ++x)
        {
          rows[y * nx + x] =
            static_cast<float>(WeightedSum(m_Taps, &m_Spread[0].Weights[m_Taps * x], row + m_Spread[0].First[x]));
        }
      }
      for (size_t n = m_FirstRun[z]; n < m_FirstRun[z + 1]; ++n)
      {
        const Run &         run = m_Runs[n];
        const float * const first = rows + m_Spread[1].First[run.y] * nx + run.x;
        const float * const weights = &m_SpreadRows[m_Taps * run.y];
        const float * const four[4] = { first, first + nx, first + 2 * nx, first + 3 * nx };
        constexpr float     one[4] = { 1.0F, 0.0F, 0.0F, 0.0F };
        const float * const summed[4] = { sums, sums, sums, sums };
        if (m_Taps > 4)
        {
          SumRows(run.count, m_Taps, weights, first, nx, sums);
        }
        UpdateRun(run.count,
                  m_Taps > 4 ? summed : four,
                  m_Taps > 4 ? one : weights,
                  &m_Log[run.offset],
                  &m_Field[run.offset],
                  &m_Uncorrected[run.offset],
                  m_Statistics[z]);
      }
    });
    Statistics all;
    for (const Statistics & slice : m_Statistics)
    {
      all.sum += slice.sum;
      all.squares += slice.squares;
      all.minimum = std::min(all.minimum, slice.minimum);
      all.maximum = std::max(all.maximum, slice.maximum);
    }
    return all;
  }

private:
  struct Run
  {
    size_t y;
    size_t x;
    size_t count;
    size_t offset;
  };

  /** Slices are handed out one by one: the brain is thick in the middle. */
  template <typename TFunction>
  void
  ForEach(size_t count, const TFunction & function)
  {
    if (m_Threads == 1)
    {
      for (size_t n = 0; n < count; ++n)
      {
        function(n, 0U);
      }
      return;
    }
    std::atomic<size_t> next{ 0 };
    at::parallel_for(0, static_cast<int64_t>(m_Threads), 1, [&](int64_t begin, int64_t) {
      for (size_t n = next++; n < count; n = next++)
      {
        function(n, static_cast<unsigned int>(begin));
      }
    });
  }

  /** Sums what `fill` gives for each run into the control points. */
  template <typename TFill>
  void
  Gather(std::vector<double> & lattice, const TFill & fill)
  {
    const size_t cx = m_Axes[0].ControlPoints();
    const size_t cy = m_Axes[1].ControlPoints();
    const size_t nx = m_Axes[0].samples;
    std::fill(m_Partial.begin(), m_Partial.end(), 0.0);
    this->ForEach(m_Slices, [&](size_t z, unsigned int thread) {
      if (m_FirstRun[z] == m_FirstRun[z + 1])
      {
        return;
      }
      float * const rows = &m_Scratch[thread * (m_RowsOfSlice + 1) * nx];
      float * const values = rows + m_RowsOfSlice * nx;
      std::fill(rows, rows + m_RowsOfSlice * nx, 0.0F);
      for (size_t n = m_FirstRun[z]; n < m_FirstRun[z + 1]; ++n)
      {
        const Run & run = m_Runs[n];
        fill(run, values);
        AddRunToRows(
          run.count, values, m_Taps, &m_GatherRows[m_Taps * run.y], rows + m_Gather[1].First[run.y] * nx + run.x, nx);
      }
      for (size_t y = 0; y < cy; ++y)
      {
        double * const row = &m_Partial[(z * cy + y) * m_RowOfPlane];
        for (size_t x = 0; x < nx; ++x)
        {
          const double         v = static_cast<double>(rows[y * nx + x]);
          const double * const w = &m_Gather[0].Weights[m_Taps * x];
          double * const       target = row + m_Gather[0].First[x];
          for (unsigned int j = 0; j < 4; ++j)
          {
            target[j] += w[j] * v;
          }
          for (unsigned int j = 4; j < m_Taps; ++j)
          {
            target[j] += w[j] * v;
          }
        }
      }
    });
    std::fill(lattice.begin(), lattice.end(), 0.0);
    for (size_t z = 0; z < m_Slices; ++z)
    {
      if (m_FirstRun[z] == m_FirstRun[z + 1])
      {
        continue;
      }
      const double * const source = &m_Partial[z * cy * m_RowOfPlane];
      for (unsigned int j = 0; j < m_Taps; ++j)
      {
        const double w = m_Gather[2].Weights[m_Taps * z + j];
        if (w != 0.0)
        {
          double * const target = &lattice[(m_Gather[2].First[z] + j) * cy * cx];
          for (size_t y = 0; y < cy; ++y)
          {
            for (size_t x = 0; x < cx; ++x)
            {
              target[y * cx + x] += w * source[y * m_RowOfPlane + x];
            }
          }
        }
      }
    }
  }

  size_t              m_Slices;
  std::vector<float>  m_Log;
  std::vector<float>  m_Weights;
  std::vector<float>  m_Field;
  std::vector<float>  m_Uncorrected;
  std::vector<size_t> m_FirstRun;
  unsigned int        m_Threads;
  std::vector<Run>    m_Runs;

  std::array<Axis, 3>                      m_Axes;
  std::array<TensorProductN4::AxisType, 3> m_Spread;
  std::array<TensorProductN4::AxisType, 3> m_Gather;
  std::vector<float>                       m_SpreadRows;
  std::vector<float>                       m_GatherRows;
  unsigned int                             m_Taps{ 4 };
  size_t                                   m_RowsOfSlice{ 0 };
  size_t                                   m_RowOfPlane{ 0 };
  std::vector<float>                       m_Scratch;
  std::vector<double>                      m_Planes;
  std::vector<double>                      m_Partial;
  std::vector<float>                       m_Shares;
  std::vector<Statistics>                  m_Statistics;
};

// The same algebra with torch's operators, for any device.
class VoxelTensors : public FittedVoxels
{
public:
  VoxelTensors(const std::vector<float> &            logImage,
               const std::vector<float> &            weights,
               const std::vector<size_t> &           voxels,
               const TensorProductN4::GridSizeType & size,
               const torch::Device &                 device)
    : m_Options(torch::TensorOptions().dtype(torch::kFloat32).device(device))
    , m_Sums(device.is_mps() ? torch::kFloat32 : torch::kFloat64)
  {
    const auto           count = static_cast<int64_t>(voxels.size());
    std::vector<int64_t> inside(voxels.begin(), voxels.end());
    m_Inside = torch::from_blob(inside.data(), { count }, torch::kInt64).clone().to(device);
    m_Log = this->ToDevice(logImage, { count });
    m_Uncorrected = m_Log.clone();
    m_Field = torch::zeros({ count }, m_Options);
    m_Weights = weights.empty() ? torch::ones({ count }, m_Options) : this->ToDevice(weights, { count });
    m_Volume = torch::zeros({ static_cast<int64_t>(size[0] * size[1] * size[2]) }, m_Options);
  }

  void
  SetLevel(const std::array<Axis, 3> & axes, std::vector<double> & omega) override
  {
    m_Axes = axes;
    std::array<torch::Tensor, 3> squares;
    for (unsigned int d = 0; d < 3; ++d)
    {
      std::vector<double> positions(axes[d].samples);
      std::iota(positions.begin(), positions.end(), 0.0);
      const TensorProductN4::AxisType located = Locate(axes[d], positions);
      m_Spread[d] = this->Matrix(located, axes[d]);
      squares[d] = this->Matrix(GatheringWeights(located, 2), axes[d]);
      m_Gather[d] = this->Matrix(GatheringWeights(located, 3), axes[d]);
    }
    this->Gather(m_Weights, squares, omega);
  }

  void
  AddToHistogram(float minimum, float slope, std::vector<double> & histogram) override
  {
    const auto bins = static_cast<int64_t>(histogram.size());
    this->FindBins(minimum, slope, bins);
    torch::Tensor sums = torch::zeros({ bins + 1 }, m_Options.dtype(m_Sums));
    const auto    inner = m_Bin < bins - 1;
    const auto    rest = torch::where(inner, m_Rest, 0.0).to(m_Sums);
    sums.index_add_(0, m_Bin, 1.0 - rest);
    sums.index_add_(0, m_Bin + 1, rest);
    this->ToHost(sums.slice(0, 0, bins), histogram);
  }

  void
  GatherResidual(float, float, const std::vector<float> & expected, std::vector<double> & delta) override
  {
    const auto e = this->ToDevice(expected, { static_cast<int64_t>(expected.size()) });
    const auto low = e.index_select(0, m_Bin);
    const auto sharpened = low + (e.index_select(0, m_Bin + 1) - low) * m_Rest;
    this->Gather((m_Uncorrected - sharpened) * m_Weights, m_Gather, delta);
  }

  Statistics
  SpreadLattice(const std::vector<double> & lattice) override
  {
    const auto cx = static_cast<int64_t>(m_Axes[0].ControlPoints());
    const auto cy = static_cast<int64_t>(m_Axes[1].ControlPoints());
    const auto cz = static_cast<int64_t>(m_Axes[2].ControlPoints());
    const auto values = torch::from_blob(const_cast<double *>(lattice.data()), { cz, cy * cx }, torch::kFloat64)
                          .to(torch::kFloat32)
                          .to(m_Options.device());
    const auto slices = torch::mm(m_Spread[2], values).view({ -1, cy, cx });
    const auto rows = torch::matmul(m_Spread[1], slices).view({ -1, cx });
    const auto field = torch::mm(rows, m_Spread[0].t()).flatten().index_select(0, m_Inside);
    const auto change = torch::expm1(m_Field - field);
    m_Field = field;
    m_Uncorrected = m_Log - field;
    const auto extrema = torch::aminmax(m_Uncorrected);
    const auto all = torch::stack({ change.sum(m_Sums),
                                    change.square().sum(m_Sums),
                                    std::get<0>(extrema).to(m_Sums),
                                    std::get<1>(extrema).to(m_Sums) })
                       .cpu()
                       .to(torch::kFloat64);
    const double * const four = all.const_data_ptr<double>();
    return { four[0], four[1], static_cast<float>(four[2]), static_cast<float>(four[3]) };
  }

private:
  torch::Tensor
  ToDevice(const std::vector<float> & values, torch::IntArrayRef shape) const
  {
    return torch::from_blob(const_cast<float *>(values.data()), shape, torch::kFloat32).clone().to(m_Options.device());
  }

  void
  ToHost(const torch::Tensor & values, std::vector<double> & target) const
  {
    const torch::Tensor host = values.cpu().to(torch::kFloat64).contiguous();
    std::copy_n(host.const_data_ptr<double>(), target.size(), target.begin());
  }

  torch::Tensor
  Matrix(const TensorProductN4::AxisType & located, const Axis & axis) const
  {
    const size_t       columns = axis.ControlPoints();
    std::vector<float> dense(axis.samples * columns, 0.0F);
    for (size_t n = 0; n < axis.samples; ++n)
    {
      for (size_t j = 0; j < located.Taps && located.First[n] + j < columns; ++j)
      {
        dense[n * columns + located.First[n] + j] = static_cast<float>(located.Weights[located.Taps * n + j]);
      }
    }
    return this->ToDevice(dense, { static_cast<int64_t>(axis.samples), static_cast<int64_t>(columns) });
  }

  void
  FindBins(float minimum, float slope, int64_t bins)
  {
    const auto c = (m_Uncorrected - minimum) / slope;
    m_Bin = c.to(torch::kInt64).clamp_max(bins - 1);
    m_Rest = c - m_Bin.to(torch::kFloat32);
  }

  void
  Gather(const torch::Tensor & values, const std::array<torch::Tensor, 3> & weights, std::vector<double> & lattice)
  {
    const auto nx = static_cast<int64_t>(m_Axes[0].samples);
    const auto ny = static_cast<int64_t>(m_Axes[1].samples);
    const auto nz = static_cast<int64_t>(m_Axes[2].samples);
    m_Volume.index_copy_(0, m_Inside, values);
    const auto rows = torch::mm(m_Volume.view({ nz * ny, nx }), weights[0]).view({ nz, ny, -1 });
    const auto slices = torch::matmul(weights[1].t(), rows);
    this->ToHost(torch::mm(weights[2].t(), slices.reshape({ nz, -1 })).flatten(), lattice);
  }

  torch::TensorOptions         m_Options;
  torch::ScalarType            m_Sums;
  torch::Tensor                m_Inside;
  torch::Tensor                m_Log;
  torch::Tensor                m_Uncorrected;
  torch::Tensor                m_Field;
  torch::Tensor                m_Weights;
  torch::Tensor                m_Volume;
  torch::Tensor                m_Bin;
  torch::Tensor                m_Rest;
  std::array<Axis, 3>          m_Axes;
  std::array<torch::Tensor, 3> m_Spread;
  std::array<torch::Tensor, 3> m_Gather;
};

/** Two-scale relation of B-splines along one axis: the same curve with twice the spans. */
std::vector<double>
RefineAlong(const std::vector<double> &   lattice,
            const std::array<size_t, 3> & size,
            unsigned int                  axis,
            unsigned int                  order)
{
  const size_t coarse = size[axis];
  const size_t fine = 2 * (coarse - order) + order;
  const size_t inner = axis == 0 ? 1 : (axis == 1 ? size[0] : size[0] * size[1]);
  const size_t outer = size[0] * size[1] * size[2] / inner / coarse;

  // A spline is the sum of the order + 2 finer ones that it covers, binomial coefficients / 2^order their weights.
  std::vector<double> weights(order + 2, std::ldexp(1.0, -static_cast<int>(order)));
  for (unsigned int j = 1; j < weights.size(); ++j)
  {
    weights[j] = weights[j - 1] * (order + 2 - j) / j;
  }
  std::vector<double> refined(outer * fine * inner, 0.0);
  for (size_t o = 0; o < outer; ++o)
  {
    for (size_t k = 0; k < fine; ++k)
    {
      double * const target = &refined[(o * fine + k) * inner];
      for (size_t c = k / 2; 2 * c <= k + order; ++c)
      {
        const double         w = weights[k + order - 2 * c];
        const double * const source = &lattice[(o * coarse + c) * inner];
        for (size_t i = 0; i < inner; ++i)
        {
          target[i] += w * source[i];
        }
      }
    }
  }
  return refined;
}
} // namespace

TensorProductN4::TensorProductN4()
{
  m_NumberOfFittingLevels.Fill(4);
  m_MaximumNumberOfIterations.SetSize(4);
  m_MaximumNumberOfIterations.Fill(50);
  m_NumberOfControlPoints.Fill(4);
}

void
TensorProductN4::SetNumberOfFittingLevels(unsigned int levels)
{
  LevelsType everywhere;
  everywhere.Fill(levels);
  this->SetNumberOfFittingLevels(everywhere);
}

void
TensorProductN4::SetMaximumNumberOfIterations(const IterationsType & iterations)
{
  if (m_MaximumNumberOfIterations != iterations)
  {
    m_MaximumNumberOfIterations = iterations;
    this->Modified();
  }
}

void
TensorProductN4::VerifyParameters() const
{
  const auto levels = std::minmax_element(m_NumberOfFittingLevels.Begin(), m_NumberOfFittingLevels.End());
  if (*levels.first < 1 || *levels.second > 10)
  {
    itkExceptionMacro("NumberOfFittingLevels is " << m_NumberOfFittingLevels << ": give 1 to 10 for each axis.");
  }
  if (m_MaximumNumberOfIterations.Size() != *levels.second)
  {
    itkExceptionMacro("MaximumNumberOfIterations has " << m_MaximumNumberOfIterations.Size()
                                                       << " entries for NumberOfFittingLevels "
                                                       << m_NumberOfFittingLevels << ": give one for each level.");
  }
  if (m_SplineOrder < 1 || m_SplineOrder > 15)
  {
    itkExceptionMacro("SplineOrder is " << m_SplineOrder << ": give 1 to 15, such as 3 for cubic splines.");
  }
  for (unsigned int d = 0; d < 3; ++d)
  {
    if (m_NumberOfControlPoints[d] <= m_SplineOrder || m_NumberOfControlPoints[d] > 100)
    {
      itkExceptionMacro("NumberOfControlPoints is " << m_NumberOfControlPoints << ": give " << m_SplineOrder + 1
                                                    << " (SplineOrder + 1) to 100 for each axis.");
    }
  }
  if (m_NumberOfHistogramBins < 2 || m_NumberOfHistogramBins > 65536)
  {
    itkExceptionMacro("NumberOfHistogramBins is " << m_NumberOfHistogramBins << ": give 2 to 65536.");
  }
  if (!(m_BiasFieldFullWidthAtHalfMaximum > 0.0) || !std::isfinite(m_BiasFieldFullWidthAtHalfMaximum))
  {
    itkExceptionMacro("BiasFieldFullWidthAtHalfMaximum is " << m_BiasFieldFullWidthAtHalfMaximum
                                                            << ": give a positive width, such as 0.15.");
  }
  if (!(m_WienerFilterNoise > 0.0) || !std::isfinite(m_WienerFilterNoise))
  {
    itkExceptionMacro("WienerFilterNoise is " << m_WienerFilterNoise << ": give a positive number, such as 0.01.");
  }
  if (!(m_ConvergenceThreshold >= 0.0))
  {
    itkExceptionMacro("ConvergenceThreshold is " << m_ConvergenceThreshold << ": give 0 or a positive number.");
  }
  if (!(m_MaximumSeconds >= 0.0))
  {
    itkExceptionMacro("MaximumSeconds is " << m_MaximumSeconds << ": give a positive time, or 0 for no limit.");
  }
}

void
TensorProductN4::Fit(const float *         image,
                     const unsigned char * mask,
                     const float *         confidence,
                     const GridSizeType &  size)
{
  const auto start = std::chrono::steady_clock::now();
  this->VerifyParameters();
  const size_t total = size[0] * size[1] * size[2];
  const auto   counts = [&](size_t n) {
    return (mask == nullptr || mask[n] != 0) && (confidence == nullptr || confidence[n] > 0.0F);
  };
  size_t voxelsOfMask = 0;
  size_t positive = 0;
  for (size_t n = 0; n < total; ++n)
  {
    if (counts(n))
    {
      if (!std::isfinite(image[n]) || (confidence != nullptr && !std::isfinite(confidence[n])))
      {
        itkExceptionMacro("The voxel at index [" << n % size[0] << ", " << n / size[0] % size[1] << ", "
                                                 << n / size[0] / size[1] << "] of the fit's grid is " << image[n]
                                                 << (confidence != nullptr ? " or has no finite confidence" : "")
                                                 << ": mend it or leave it out of the mask.");
      }
      ++voxelsOfMask;
      positive += image[n] > 0.0F ? 1 : 0;
    }
  }
  if (positive == 0)
  {
    itkExceptionMacro("No voxel to fit: of " << size << " voxels of the fit's grid " << voxelsOfMask
                                             << " are in the mask (and have a positive confidence), and none of them "
                                                "is above 0. Check mask and image, or shrink less.");
  }
  std::vector<size_t> voxels;
  std::vector<float>  logImage;
  std::vector<float>  weights;
  Statistics          statistics;
  voxels.reserve(positive);
  logImage.reserve(positive);
  weights.reserve(confidence != nullptr ? positive : 0);
  for (size_t n = 0; n < total; ++n)
  {
    if (counts(n) && image[n] > 0.0F)
    {
      const float value = std::log(image[n]);
      statistics.minimum = std::min(statistics.minimum, value);
      statistics.maximum = std::max(statistics.maximum, value);
      voxels.push_back(n);
      logImage.push_back(value);
      if (confidence != nullptr)
      {
        weights.push_back(confidence[n]);
      }
    }
  }
  m_NumberOfFittedVoxels = positive;
  m_NumberOfNonPositiveVoxels = voxelsOfMask - positive;

  std::array<Axis, 3> axes;
  for (unsigned int d = 0; d < 3; ++d)
  {
    axes[d].samples = size[d];
    axes[d].order = m_SplineOrder;
    axes[d].spans = size[d] == 1 ? 0 : m_NumberOfControlPoints[d] - m_SplineOrder;
  }
  m_GridSize = size;
  m_FittedOrder = m_SplineOrder;
  const unsigned int levels = *std::max_element(m_NumberOfFittingLevels.Begin(), m_NumberOfFittingLevels.End());
  m_Iterations.SetSize(levels);
  m_Iterations.Fill(0.0);
  m_Convergence.SetSize(levels);
  m_Convergence.Fill(0.0);
  m_Status = "not fitted";

  const auto latticePoints = [&axes] {
    return axes[0].ControlPoints() * axes[1].ControlPoints() * axes[2].ControlPoints();
  };
  std::vector<double> lattice(latticePoints(), 0.0);
  unsigned int        allIterations = 0;
  for (const unsigned int most : m_MaximumNumberOfIterations)
  {
    allIterations += most;
  }

  try
  {
    const torch::Device        device(m_Device);
    const TorchModes           modes(device);
    const torch::InferenceMode inference;
    const TorchThreads         threads(m_NumberOfThreads);
    const auto                 count = static_cast<double>(positive);

    std::unique_ptr<FittedVoxels> fitted;
    if (device.is_cpu() && !m_UseTorchOperators)
    {
      fitted = std::make_unique<VoxelRuns>(
        std::move(logImage), std::move(weights), voxels, size, static_cast<unsigned int>(at::get_num_threads()));
    }
    else
    {
      fitted = std::make_unique<VoxelTensors>(logImage, weights, voxels, size, device);
    }
    std::vector<size_t>().swap(voxels);

    Sharpening          sharpen(m_NumberOfHistogramBins, m_BiasFieldFullWidthAtHalfMaximum, m_WienerFilterNoise);
    std::vector<double> histogram(m_NumberOfHistogramBins);
    std::vector<float>  expected;
    std::vector<double> omega;
    std::vector<double> delta;
    bool                constant = false;
    bool                converged = true;
    bool                late = false;
    unsigned int        iterationsOfLevelsBefore = 0;
    for (m_CurrentLevel = 0; m_CurrentLevel < levels; ++m_CurrentLevel)
    {
      omega.assign(latticePoints(), 0.0);
      delta.assign(latticePoints(), 0.0);
      fitted->SetLevel(axes, omega);
      m_ElapsedIterations = 0;
      m_CurrentConvergenceMeasurement = NumericTraits<double>::max();
      while (!constant && !late && m_ElapsedIterations < m_MaximumNumberOfIterations[m_CurrentLevel] &&
             m_CurrentConvergenceMeasurement > m_ConvergenceThreshold)
      {
        const double minimum = statistics.minimum;
        const double range = static_cast<double>(statistics.maximum) - minimum;
        // float cannot tell intensities apart that are this close: there is no histogram to sharpen.
        constant = !(range > 1e-6 * std::max(1.0, std::abs(minimum)));
        if (constant)
        {
          break;
        }
        const auto slope = (statistics.maximum - statistics.minimum) / static_cast<float>(m_NumberOfHistogramBins - 1);
        fitted->AddToHistogram(statistics.minimum, slope, histogram);
        sharpen(histogram, minimum, slope, expected);
        fitted->GatherResidual(statistics.minimum, slope, expected, delta);
        for (size_t n = 0; n < lattice.size(); ++n)
        {
          lattice[n] += omega[n] > 0.0 ? delta[n] / omega[n] : 0.0;
        }
        statistics = fitted->SpreadLattice(lattice);
        const double variance = (statistics.squares - statistics.sum * statistics.sum / count) / (count - 1.0);
        m_CurrentConvergenceMeasurement = std::sqrt(std::max(variance, 0.0)) / (1.0 + statistics.sum / count);
        if (!std::isfinite(m_CurrentConvergenceMeasurement))
        {
          itkExceptionMacro("The field diverged at level " << m_CurrentLevel << ", iteration " << m_ElapsedIterations
                                                           << ": check the intensities inside the mask.");
        }
        ++m_ElapsedIterations;
        m_Iterations[m_CurrentLevel] = m_ElapsedIterations;
        m_Convergence[m_CurrentLevel] = m_CurrentConvergenceMeasurement;
        late = m_MaximumSeconds > 0.0 &&
               std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() >= m_MaximumSeconds;
        if (m_ProgressCallback &&
            !m_ProgressCallback(static_cast<double>(iterationsOfLevelsBefore + m_ElapsedIterations) / allIterations))
        {
          ProcessAborted aborted(__FILE__, __LINE__);
          aborted.SetDescription("N4 bias correction was aborted.");
          throw aborted;
        }
      }
      converged = converged && m_CurrentConvergenceMeasurement <= m_ConvergenceThreshold;
      if (late)
      {
        break;
      }
      iterationsOfLevelsBefore += m_MaximumNumberOfIterations[m_CurrentLevel];
      if (m_CurrentLevel + 1 < levels)
      {
        for (unsigned int d = 0; d < 3; ++d)
        {
          if (axes[d].spans > 0 && m_CurrentLevel + 1 < m_NumberOfFittingLevels[d])
          {
            lattice = RefineAlong(
              lattice, { axes[0].ControlPoints(), axes[1].ControlPoints(), axes[2].ControlPoints() }, d, m_SplineOrder);
            axes[d].spans *= 2;
          }
        }
      }
    }
    // A fit that has flattened the image wholly is a success.
    m_Status = constant && m_Iterations.sum() == 0.0
                 ? "constant inside the mask: no field"
                 : (late ? "stopped after MaximumSeconds"
                         : (converged ? "converged" : "stopped at the maximum number of iterations"));
  }
  catch (const c10::Error & error)
  {
    itkExceptionMacro("torch failed on device '" << m_Device << "' for a grid of " << size
                                                 << " voxels: " << error.what_without_backtrace());
  }
  for (unsigned int d = 0; d < 3; ++d)
  {
    m_LatticeSize[d] = axes[d].ControlPoints();
  }
  m_Lattice = std::move(lattice);
}

TensorProductN4::AxisType
TensorProductN4::LocateOnAxis(unsigned int axis, const std::vector<double> & positions) const
{
  if (m_Lattice.empty())
  {
    itkExceptionMacro("There is no field to evaluate: call Fit first.");
  }
  Axis fitted;
  fitted.samples = m_GridSize[axis];
  fitted.order = m_FittedOrder;
  fitted.spans = m_GridSize[axis] == 1 ? 0 : m_LatticeSize[axis] - m_FittedOrder;
  return Locate(fitted, positions);
}

void
TensorProductN4::EvaluateLogField(const FixedArray<AxisType, 3> & axes,
                                  const GridSizeType &            begin,
                                  const GridSizeType &            size,
                                  float *                         field) const
{
  const unsigned int  taps = axes[0].Taps;
  const size_t        cx = m_LatticeSize[0];
  const size_t        cy = m_LatticeSize[1];
  const size_t        rowOfPlane = cx + taps - 1;
  const size_t        rowsOfSlice = cy + taps - 1;
  std::vector<double> plane(rowsOfSlice * rowOfPlane);
  std::vector<double> rows(rowsOfSlice * size[0]);
  for (size_t z = begin[2]; z < begin[2] + size[2]; ++z)
  {
    std::fill(plane.begin(), plane.end(), 0.0);
    for (unsigned int j = 0; j < taps; ++j)
    {
      const double w = axes[2].Weights[taps * z + j];
      if (w != 0.0)
      {
        const double * const source = &m_Lattice[(axes[2].First[z] + j) * cy * cx];
        for (size_t y = 0; y < cy; ++y)
        {
          for (size_t x = 0; x < cx; ++x)
          {
            plane[y * rowOfPlane + x] += w * source[y * cx + x];
          }
        }
      }
    }
    for (size_t y = 0; y < rowsOfSlice; ++y)
    {
      for (size_t x = 0; x < size[0]; ++x)
      {
        const size_t n = begin[0] + x;
        rows[y * size[0] + x] =
          WeightedSum(taps, &axes[0].Weights[taps * n], &plane[y * rowOfPlane + axes[0].First[n]]);
      }
    }
    for (size_t y = begin[1]; y < begin[1] + size[1]; ++y)
    {
      FieldOfRow(size[0], taps, &axes[1].Weights[taps * y], &rows[axes[1].First[y] * size[0]], size[0], field);
      field += size[0];
    }
  }
}

void
TensorProductN4::DivideByField(SizeValueType count, const float * logField, float * values)
{
  DivideRun(count, logField, values);
}

void
TensorProductN4::PrintSelf(std::ostream & os, Indent indent) const
{
  Superclass::PrintSelf(os, indent);
  os << indent << "NumberOfFittingLevels: " << m_NumberOfFittingLevels << std::endl;
  os << indent << "MaximumNumberOfIterations: " << m_MaximumNumberOfIterations << std::endl;
  os << indent << "ConvergenceThreshold: " << m_ConvergenceThreshold << std::endl;
  os << indent << "BiasFieldFullWidthAtHalfMaximum: " << m_BiasFieldFullWidthAtHalfMaximum << std::endl;
  os << indent << "WienerFilterNoise: " << m_WienerFilterNoise << std::endl;
  os << indent << "NumberOfHistogramBins: " << m_NumberOfHistogramBins << std::endl;
  os << indent << "NumberOfControlPoints: " << m_NumberOfControlPoints << std::endl;
  os << indent << "SplineOrder: " << m_SplineOrder << std::endl;
  os << indent << "MaximumSeconds: " << m_MaximumSeconds << std::endl;
  os << indent << "NumberOfThreads: " << m_NumberOfThreads << std::endl;
  os << indent << "Device: " << m_Device << std::endl;
  os << indent << "UseTorchOperators: " << (m_UseTorchOperators ? "On" : "Off") << std::endl;
  os << indent << "ProgressCallback: " << (m_ProgressCallback ? "set" : "none") << std::endl;
  os << indent << "Iterations: " << m_Iterations << std::endl;
  os << indent << "Convergence: " << m_Convergence << std::endl;
  os << indent << "Status: " << m_Status << std::endl;
  os << indent << "CurrentLevel: " << m_CurrentLevel << std::endl;
  os << indent << "ElapsedIterations: " << m_ElapsedIterations << std::endl;
  os << indent << "CurrentConvergenceMeasurement: " << m_CurrentConvergenceMeasurement << std::endl;
  os << indent << "NumberOfFittedVoxels: " << m_NumberOfFittedVoxels << std::endl;
  os << indent << "NumberOfNonPositiveVoxels: " << m_NumberOfNonPositiveVoxels << std::endl;
  os << indent << "GridSize: " << m_GridSize << std::endl;
  os << indent << "FittedOrder: " << m_FittedOrder << std::endl;
  os << indent << "LatticeSize: " << m_LatticeSize << std::endl;
  os << indent << "Lattice: " << m_Lattice.size() << " control points" << std::endl;
}
} // namespace itk
