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
#ifndef PhantomStreams_h
#define PhantomStreams_h

#include <cstdint>

namespace glioma
{

/** The independent streams of random numbers of one case. */
enum class PhantomStream : std::uint64_t
{
  Case = 0,
  Anatomy,
  SurfaceNoise,
  SulcusNoise,
  DepthNoise,
  WarpNoise,
  VesselNoise,
  Tumour,
  TumourShapeNoise,
  TumourMarginNoise,
  TumourCoreNoise,
  TumourPatchNoise,
  TumourTextureNoise,
  Scanner,
  BiasNoise,      // four of them
  VoxelNoise = 24 // four of them
};

constexpr std::uint64_t
StreamOf(std::uint64_t caseNumber, PhantomStream stream, std::uint64_t sequence = 0)
{
  return (caseNumber << 8) + static_cast<std::uint64_t>(stream) + sequence;
}

} // namespace glioma

#endif // PhantomStreams_h
