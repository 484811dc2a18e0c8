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
#ifndef itkTorchArchive_h
#define itkTorchArchive_h

#include "GliomaGradingExport.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace itk
{
/** \class TorchArchive
 * \brief What a TorchScript file or a package of AOTInductor holds, read from the entries of its archive: nothing is
 * run or deserialized, so that a file of unknown origin can be looked at before it is trusted.
 * \ingroup GliomaGrading
 */
struct GliomaGrading_EXPORT TorchArchive
{
  /** \class Module
   * \brief A part of the network: its path ("encoder.0.conv") and class ("Conv3d").
   * \ingroup GliomaGrading
   */
  struct Module
  {
    std::string Path;
    std::string Class;
  };

  /** Class of the whole; empty: the file is no TorchScript. */
  std::string         Class;
  std::vector<Module> Modules; // in the order of the program, at most 4096
  std::size_t         Tensors{ 0 };
  std::uint64_t       TensorBytes{ 0 };
  std::uint64_t       SourceBytes{ 0 };   // of the program
  std::uint64_t       CompiledBytes{ 0 }; // of a package's libraries; 0: it is none
  std::string         CompiledDevice;     // "cpu", "cuda", as the package says it
  std::string         InstructionSet;     // "AVX512 AVX512_VNNI AMX_TILE", as the package says it
  std::uint64_t       Version{ 0 };       // of the format

  /** Throws where the file is no archive that torch writes. */
  static TorchArchive
  Read(const std::string & file);
};
} // namespace itk

#endif // itkTorchArchive_h
