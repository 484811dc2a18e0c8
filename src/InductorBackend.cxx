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
#include "ModelBackend.h"

#include "itkMacro.h"
#include "itksys/SystemTools.hxx"

#include <torch/csrc/inductor/aoti_package/model_package_loader.h>

#include <fstream>
#include <mutex>
#include <sstream>

namespace itk
{
namespace
{
/** Whether this processor has one instruction set, by the name that AOTInductor gives it. */
bool
ProcessorHas(const std::string & name)
{
#if defined(__x86_64__) && defined(__GNUC__)
  if (name == "avx2")
  {
    return __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0;
  }
  if (name == "avx512")
  {
    return __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512dq") != 0 &&
           __builtin_cpu_supports("avx512vl") != 0 && __builtin_cpu_supports("avx512bw") != 0;
  }
  if (name == "avx512_vnni")
  {
    return __builtin_cpu_supports("avx512vnni") != 0;
  }
#elif defined(__aarch64__)
  if (name == "asimd" || name == "neon")
  {
    return true;
  }
#endif
#if defined(__linux__)
  // Newer ones, such as amx_tile, which an older compiler cannot ask for.
  std::ifstream file("/proc/cpuinfo");
  std::string   line;
  while (std::getline(file, line))
  {
    if (line.rfind("flags", 0) == 0 || line.rfind("Features", 0) == 0)
    {
      return (line + ' ').find(' ' + name + ' ') != std::string::npos;
    }
  }
#endif
  return false;
}

/** The first instruction set of a list that this processor lacks; empty: it has all. */
std::string
FirstAbsent(const std::string & list)
{
  std::istringstream names(list);
  std::string        name;
  while (names >> name)
  {
    if (!ProcessorHas(name))
    {
      return name;
    }
  }
  return "";
}

// A compiled package: its size, precision, device and instruction set were chosen when it was made.
class InductorBackend : public ModelBackend
{
public:
  InductorBackend(const TorchModelManifest & manifest, const std::string & file, const torch::Device & device)
    : m_File(file)
    , m_Device(device)
  {
    // Read from the package without loading its code.
    const auto metadata = torch::inductor::AOTIModelPackageLoader::load_metadata_from_package(file, "model");
    const auto said = [&metadata](const char * key) {
      const auto found = metadata.find(key);
      return found == metadata.end() ? std::string() : itksys::SystemTools::LowerCase(found->second);
    };
    const std::string packageDevice = said("AOTI_DEVICE_KEY");
    if (!packageDevice.empty() && packageDevice != (device.is_cpu() ? "cpu" : "cuda"))
    {
      itkGenericExceptionMacro("The package '" << file << "' was compiled for " << packageDevice << ", not for "
                                               << device.str());
    }
    const std::string inManifest = itksys::SystemTools::LowerCase(manifest.InstructionSet);
    const std::string inPackage = said("AOTI_CPU_ISA");
    if (inManifest.empty() && inPackage.empty() && device.is_cpu())
    {
      itkGenericExceptionMacro("Neither the package '"
                               << file
                               << "' nor its manifest says for which instruction set it was compiled; code for another "
                                  "processor ends the program. Add instruction_set (avx2, avx512) to the manifest");
    }
    for (const std::string & needed : { inManifest, inPackage })
    {
      const std::string absent = needed == "invalid_vec_isa" || !device.is_cpu() ? "" : FirstAbsent(needed);
      if (!absent.empty())
      {
        itkGenericExceptionMacro("The package '" << file << "' was compiled for the instruction set " << absent
                                                 << ", which this processor does not have: compile it again here");
      }
    }
    m_Loader = std::make_unique<torch::inductor::AOTIModelPackageLoader>(
      file, "model", false, 1, device.is_cpu() ? static_cast<c10::DeviceIndex>(-1) : device.index());
  }

  torch::Tensor
  Forward(const torch::Tensor & input, const BetweenLayers &) const override
  {
    std::string message;
    try
    {
      const torch::NoGradGuard noGradient;
      // The code was compiled for one order of the memory, and may write to it.
      const torch::Tensor               own = input.to(m_Device).clone(torch::MemoryFormat::Contiguous);
      const std::lock_guard<std::mutex> lock(m_Mutex);
      const std::vector<torch::Tensor>  outputs = m_Loader->run({ own });
      if (outputs.empty())
      {
        itkGenericExceptionMacro("The package '" << m_File << "' gives no output");
      }
      return outputs.front().to(torch::kFloat).clone();
    }
    catch (const ExceptionObject &)
    {
      throw;
    }
    catch (const c10::Error & error)
    {
      message = error.what_without_backtrace();
    }
    catch (const std::exception & error)
    {
      message = error.what();
    }
    itkGenericExceptionMacro("The model '" << m_File << "' failed on " << input.size(1) << " channels, tensor "
                                           << input.sizes() << ", device " << m_Device.str() << ": " << message);
  }

  TracedRun
  ForwardTraced(const torch::Tensor &,
                const std::vector<std::string> &,
                std::shared_ptr<const bool>,
                const BetweenLayers &) const override
  {
    itkGenericExceptionMacro("'" << m_File
                                 << "' is a compiled package, which has no gradients: explanations need the network as "
                                    "safetensors or TorchScript");
  }

  std::vector<std::string>
  LayerNames() const override
  {
    return {};
  }

  std::size_t
  NumberOfParameters() const override
  {
    return 0; // its constants are not all parameters
  }

private:
  const std::string                                        m_File;
  const torch::Device                                      m_Device;
  mutable std::mutex                                       m_Mutex;
  std::unique_ptr<torch::inductor::AOTIModelPackageLoader> m_Loader;
};
} // namespace

std::shared_ptr<ModelBackend>
MakeInductorBackend(const TorchModelManifest & manifest, const std::string & file, const torch::Device & device)
{
  return std::make_shared<InductorBackend>(manifest, file, device);
}
} // namespace itk
