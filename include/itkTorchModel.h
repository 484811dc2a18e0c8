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
#ifndef itkTorchModel_h
#define itkTorchModel_h

#include "GliomaGradingExport.h"
#include "itkGliomaGradingCompat.h"
#include "itkObject.h"
#include "itkObjectFactory.h"
#include "itkTorchExplanation.h"
#include "itkTorchModelManifest.h"
#include "itkTorchVolume.h"

#include <functional>
#include <memory>

namespace itk
{
class DeviceStreams;
class ModelBackend;

/** \class TorchModelEnums
 * \brief Enumerations of TorchModel.
 * \ingroup GliomaGrading
 */
class TorchModelEnums
{
public:
  /** \class Precision
   * \ingroup GliomaGrading
   * Arithmetic of the forward: float32, or bfloat16 where the processor has it (segmentation only). */
  enum class Precision : uint8_t
  {
    Float32,
    BFloat16
  };
};

/** \class TorchModel
 * \brief A loaded network behind one torch-free interface: a bundle folder or a lone model file.
 *
 * A bundle holds configs/metadata.json and one of models/model.safetensors (the module's own networks),
 * models/model.ts (TorchScript) or models/model.pt2 (compiled by AOTInductor: inference only). Size and SHA-256 of the
 * weights are checked before anything is deserialized. TorchScript and compiled code are programs: they are refused
 * until SetTrustModelCode(true). A graph may give a tensor, or a tuple, list or dictionary whose first tensor counts.
 * For a lone file set what its manifest would say with SetManifest(), for a bundle of MONAI what its metadata leaves
 * open.
 *
 * All compute methods are const, may be called from several threads, and throw ExceptionObject with path, channels,
 * size, device and the runtime's message.
 * \ingroup GliomaGrading
 */
class GliomaGrading_EXPORT TorchModel : public Object
{
public:
  ITK_DISALLOW_COPY_AND_MOVE(TorchModel);

  using Self = TorchModel;
  using Superclass = Object;
  using Pointer = SmartPointer<Self>;
  using ConstPointer = SmartPointer<const Self>;
  using Precision = TorchModelEnums::Precision;

  itkNewMacro(Self);
  itkOverrideGetNameOfClassMacro(TorchModel);

  /** Folder of a bundle, or a TorchScript or .pt2 file. */
  itkSetStringMacro(Path);
  itkGetStringMacro(Path);

  /** Consent to load a model file that is a program (TorchScript, .pt2). Default: false. */
  itkSetMacro(TrustModelCode, bool);
  itkGetConstMacro(TrustModelCode, bool);
  itkBooleanMacro(TrustModelCode);

  /** "auto" as "cuda" where torch finds a GPU, else as "cpu"; every other name as it is. */
  static std::string
  ResolveDevice(const std::string & name);

  /** "cpu" (default), "cuda" or "cuda:N"; see ResolveDevice(). */
  itkSetStringMacro(Device);
  itkGetStringMacro(Device);

  /** Arithmetic of the forward. BFloat16 is for segmentation only, where the processor has it (a device beside the
   * processor: autocast), and not for a .pt2 file, whose precision was chosen when it was compiled: Load() refuses the
   * rest. Default: Float32. */
  itkSetEnumMacro(Precision, Precision);
  itkGetEnumMacro(Precision, Precision);

  /** Threads of torch during a compute call; 0 (default): those of itk::MultiThreaderBase. */
  itkSetMacro(NumberOfThreads, unsigned int);
  itkGetConstMacro(NumberOfThreads, unsigned int);

  /** What the model expects. Set it before Load() for a lone file, or for what a bundle leaves open, which is what has
   * its default there (both saying something else is refused); after Load() it is what holds. */
  void
  SetManifest(const TorchModelManifest & manifest);
  const TorchModelManifest &
  GetManifest() const
  {
    return m_Manifest;
  }

  /** Reads the manifest alone (no weights are opened): enough for `glioma inspect`. A model that was loaded with
   * another one is loaded no more. */
  void
  ReadManifest();

  /** Checks size and SHA-256, then loads the weights. Does nothing when the same bundle is loaded already. After an
   * exception no model is loaded. */
  void
  Load();

  /** True if what Load() loaded is what Path, Device and Precision name. */
  bool
  IsLoaded() const;

  /** Runs the golden pair of the manifest; throws where the output differs by more than 1e-4. False: the manifest has
   * none. */
  bool
  VerifyGoldenPair() const;

  /** What VerifyGoldenPair() compares: the logits of a classifier; of a dense model the mean probability of each class,
   * then each class's probability at the middle voxel. */
  std::vector<double>
  ComputeGoldenOutput() const;

  /** Writes a bundle of one of the module's networks with He-normal weights drawn from \a seed: untrained, for tests
   * and examples. The manifest says Network, Width, Levels (segmentation), Padded, ChannelNames, ClassNames and the
   * preparation; halo, tile step, layer geometry, digest and golden pair are filled in. */
  static void
  WriteSeededBundle(const std::string & path, const TorchModelManifest & manifest, std::uint64_t seed);

  /** Names of the layers that GradCAM can explain. */
  std::vector<std::string>
  GetLayerNames() const;

  /** Number of trained parameters. */
  std::size_t
  GetNumberOfParameters() const;

  /** Class probabilities of a dense model on one patch: components are the classes. Unpadded networks give a smaller
   * volume (input minus 2 Halo, cell i of the output lies on input voxel i + Halo). Throws where the size is not valid.
   * \a maximumThreads limits the threads further (the work units of a filter); 0: no further limit.
   */
  TorchVolume
  ComputeProbabilities(const TorchVolumeView & input, unsigned int maximumThreads = 0) const;

  /** The same without softmax or sigmoid: what the graph gives. Overlapping patches are blended before the activation.
   */
  TorchVolume
  ComputeOutput(const TorchVolumeView & input, unsigned int maximumThreads = 0) const;

  /** Both, with \a between called between the layers of the module's own networks (other graphs run through): what it
   * throws ends the run. */
  TorchVolume
  ComputeProbabilities(const TorchVolumeView &       input,
                       unsigned int                  maximumThreads,
                       const std::function<void()> & between) const;
  TorchVolume
  ComputeOutput(const TorchVolumeView &       input,
                unsigned int                  maximumThreads,
                const std::function<void()> & between) const;

  /** \class Patch
   * A patch on its way through the model.
   * \ingroup GliomaGrading */
  class Patch;
  using PatchPointer = std::shared_ptr<Patch>;

  /** Begins what ComputeProbabilities() (\a activated) or ComputeOutput() does; EndPatch() gives the result. Beside the
   * processor a device works on the patch meanwhile, and the voxels may go at once; on the processor it is done when
   * this returns. */
  PatchPointer
  BeginPatch(const TorchVolumeView &       input,
             bool                          activated,
             unsigned int                  maximumThreads,
             const std::function<void()> & between) const;
  TorchVolume
  EndPatch(const PatchPointer & patch) const;

  /** Patches that are worth being begun before the first one is ended: 2 on a device beside the processor, else 1. */
  unsigned int
  GetPatchesInFlight() const;

  /** Puts the activation that the manifest names (softmax, sigmoid or none) on one voxel of ComputeOutput(). */
  void
  Activate(float * voxel) const;

  /** Bytes that one patch of a dense model takes at its peak beyond the caller's voxels: computed for the module's own
   * networks, for other graphs scaled from a small patch that ran in Load(). A first run takes some 30 MB more for
   * LibTorch's own kernels. */
  double
  EstimateBytes(const Size<3> & patch) const;

  /** Floating-point operations of one patch of the module's own networks; for other graphs its voxels. */
  double
  EstimateOperations(const Size<3> & patch) const;

  /** Logits of a classifier (one number a class). Of a graph that ends in a softmax: the logarithms of its
   * probabilities. */
  std::vector<double>
  ComputeLogits(const TorchVolumeView & input, unsigned int maximumThreads = 0) const;
  std::vector<double>
  ComputeLogits(const TorchVolumeView &       input,
                unsigned int                  maximumThreads,
                const std::function<void()> & between) const;

  /** For the wrapping of an interpreted language: \a unlock lets go of the interpreter's lock, where the calling thread
   * holds it, and gives what takes it again when it goes. It is called around everything that is computed with torch.
   * Python needs it: torch's autograd refuses to run under its lock, which filters of ITK 5.4 hold. Default: none. */
  static void
  SetInterpreterUnlock(std::function<std::shared_ptr<void>()> unlock);

  /** One forward and as many backwards as asked. */
  TorchExplanation
  Explain(const TorchVolumeView &         input,
          const TorchExplanationRequest & request,
          unsigned int                    maximumThreads = 0) const;

protected:
  TorchModel();
  ~TorchModel() override;
  void
  PrintSelf(std::ostream & os, Indent indent) const override;

private:
  void
  CheckInput(const TorchVolumeView & input) const;
  TorchModelManifest
  FindManifest() const;
  void
  CheckManifest() const;
  std::string
  KeyOfSettings() const;
  void
  CheckIsLoaded() const;
  void
  RefuseUnrepeatable();
  TorchVolume
  RunDense(const TorchVolumeView &       input,
           unsigned int                  maximumThreads,
           bool                          activated,
           const std::function<void()> & between) const;
  unsigned int
  ThreadsFor(unsigned int maximumThreads) const;
  std::string
  Context(const TorchVolumeView & input) const;

  std::string                    m_Path;
  std::string                    m_Device{ "cpu" };
  bool                           m_TrustModelCode{ false };
  Precision                      m_Precision{ Precision::Float32 };
  unsigned int                   m_NumberOfThreads{ 0 };
  TorchModelManifest             m_Manifest;
  TorchModelManifest             m_GivenManifest; // by SetManifest()
  bool                           m_ManifestWasSet{ false };
  std::string                    m_LoadedKey;           // the settings that the backend was loaded with
  double                         m_BytesOfVoxel{ 0.0 }; // of another graph, measured
  std::shared_ptr<ModelBackend>  m_Backend;
  std::shared_ptr<DeviceStreams> m_Streams; // of a device beside the processor
};

/** Prints the name of a precision. */
extern GliomaGrading_EXPORT std::ostream &
                            operator<<(std::ostream & out, const TorchModelEnums::Precision value);
} // namespace itk

#endif // itkTorchModel_h
