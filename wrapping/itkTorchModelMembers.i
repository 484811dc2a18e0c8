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

// Raw voxels, which the filters hand to a model: of no use in Python.
%ignore itkTorchModel::Activate;
%ignore itkTorchModel::ComputeLogits;
%ignore itkTorchModel::ComputeOutput;
%ignore itkTorchModel::ComputeProbabilities;
%ignore itkTorchModel::EndPatch;
%ignore itkTorchModel::Explain;

// Python's other threads run on while torch computes, and its autograd runs at all.
%ignore itkTorchModel::SetInterpreterUnlock;
%{
static std::shared_ptr<void>
UnlockPython()
{
#ifdef Py_LIMITED_API
  // Which thread holds the lock cannot be asked there. ITK's functions hold it; what runs inside of another unlock does not.
  static thread_local bool isUnlocked = false;
  if (isUnlocked || PyGILState_GetThisThreadState() == nullptr)
  {
    return nullptr;
  }
  isUnlocked = true;
  return std::shared_ptr<void>(PyEval_SaveThread(), [](void * state) {
    PyEval_RestoreThread(static_cast<PyThreadState *>(state));
    isUnlocked = false;
  });
#else
  if (!PyGILState_Check())
  {
    return nullptr;
  }
  return std::shared_ptr<void>(PyEval_SaveThread(), [](void * state) { PyEval_RestoreThread(static_cast<PyThreadState *>(state)); });
#endif
}
%}
%init %{
itk::TorchModel::SetInterpreterUnlock(UnlockPython);
%}

STRUCT_MEMBER(itkTorchLayerGeometry, std::string, Layer)
STRUCT_ARRAY(itkTorchLayerGeometry, double, Offset)
STRUCT_ARRAY(itkTorchLayerGeometry, double, Step)

%template(vectoritkTorchLayerGeometry) std::vector<itkTorchLayerGeometry>;

// ITK's generator knows no class inside another.
%{
using itkTorchTrainingCase = itk::TorchModelManifest::TrainingCase;
%}
struct itkTorchTrainingCase
{
  itkTorchTrainingCase();
  ~itkTorchTrainingCase();
};
STRUCT_MEMBER(itkTorchTrainingCase, std::string, Case)
STRUCT_MEMBER(itkTorchTrainingCase, std::string, Licence)
STRUCT_MEMBER(itkTorchTrainingCase, std::string, Attribution)

%template(vectoritkTorchTrainingCase) std::vector<itkTorchTrainingCase>;

STRUCT_MEMBER(itkTorchModelManifest, std::string, Name)
STRUCT_MEMBER(itkTorchModelManifest, std::string, Version)
STRUCT_MEMBER(itkTorchModelManifest, std::string, Task)
STRUCT_MEMBER(itkTorchModelManifest, std::string, Network)
STRUCT_MEMBER(itkTorchModelManifest, unsigned int, Width)
STRUCT_MEMBER(itkTorchModelManifest, unsigned int, Groups)
STRUCT_MEMBER(itkTorchModelManifest, unsigned int, Levels)
STRUCT_MEMBER(itkTorchModelManifest, bool, Padded)
STRUCT_MEMBER(itkTorchModelManifest, std::vector<std::string>, ChannelNames)
STRUCT_MEMBER(itkTorchModelManifest, std::vector<std::string>, ClassNames)
STRUCT_MEMBER(itkTorchModelManifest, std::string, OutputActivation)
STRUCT_MEMBER(itkTorchModelManifest, std::string, AxisOrder)
STRUCT_MEMBER(itkTorchModelManifest, std::string, Orientation)
STRUCT_ARRAY(itkTorchModelManifest, double, Spacing)
STRUCT_MEMBER(itkTorchModelManifest, std::string, BiasCorrection)
STRUCT_MEMBER(itkTorchModelManifest, double, LowerQuantile)
STRUCT_MEMBER(itkTorchModelManifest, double, UpperQuantile)
STRUCT_MEMBER(itkTorchModelManifest, std::string, Standardization)
STRUCT_MEMBER(itkTorchModelManifest, double, OutsideValue)
STRUCT_MEMBER(itkTorchModelManifest, std::string, Region)
STRUCT_MEMBER(itkTorchModelManifest, std::string, FitMode)
STRUCT_MEMBER(itkTorchModelManifest, double, Margin)
STRUCT_MEMBER(itkTorchModelManifest, unsigned int, OutputSize)
STRUCT_MEMBER(itkTorchModelManifest, double, MinimumComponentShare)
STRUCT_MEMBER(itkTorchModelManifest, double, Temperature)
STRUCT_ARRAY(itkTorchModelManifest, unsigned int, PatchSize)
STRUCT_MEMBER(itkTorchModelManifest, unsigned int, Halo)
STRUCT_MEMBER(itkTorchModelManifest, unsigned int, TileStep)
STRUCT_MEMBER(itkTorchModelManifest, std::vector<itkTorchLayerGeometry>, Layers)
STRUCT_MEMBER(itkTorchModelManifest, std::string, WeightsFile)
STRUCT_MEMBER(itkTorchModelManifest, unsigned long, WeightsBytes)
STRUCT_MEMBER(itkTorchModelManifest, std::string, WeightsSha256)
STRUCT_MEMBER(itkTorchModelManifest, std::string, InstructionSet)
STRUCT_MEMBER(itkTorchModelManifest, std::vector<itkTorchTrainingCase>, TrainingCases)
STRUCT_MEMBER(itkTorchModelManifest, std::vector<itkTorchTrainingCase>, ValidationCases)
STRUCT_MEMBER(itkTorchModelManifest, std::string, TrainingData)
STRUCT_MEMBER(itkTorchModelManifest, std::string, IntendedUse)
STRUCT_MEMBER(itkTorchModelManifest, std::string, Licence)
STRUCT_MEMBER(itkTorchModelManifest, bool, Demonstration)
STRUCT_MEMBER(itkTorchModelManifest, unsigned long, GoldenSeed)
STRUCT_ARRAY(itkTorchModelManifest, unsigned int, GoldenSize)
STRUCT_MEMBER(itkTorchModelManifest, std::vector<double>, GoldenOutput)
