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

// ITK's generator leaves out members that are variables: Set and Get, as of ITK's objects.
%define MANIFEST_MEMBER(type, name)
%extend itkTorchModelManifest {
  type Get##name() const { return $self->name; }
  void Set##name(const type & value) { $self->name = value; }
}
%enddef
%define MANIFEST_ARRAY(type, name)
%extend itkTorchModelManifest {
  std::vector<type> Get##name() const { return std::vector<type>($self->name.begin(), $self->name.end()); }
  void Set##name(const std::vector<type> & values)
  {
    if (values.size() != $self->name.size())
    {
      itkGenericExceptionMacro(#name " has " << values.size() << " numbers instead of 3.");
    }
    std::copy(values.begin(), values.end(), $self->name.begin());
  }
}
%enddef
MANIFEST_MEMBER(std::string, Name)
MANIFEST_MEMBER(std::string, Version)
MANIFEST_MEMBER(std::string, Task)
MANIFEST_MEMBER(std::string, Network)
MANIFEST_MEMBER(unsigned int, Width)
MANIFEST_MEMBER(unsigned int, Levels)
MANIFEST_MEMBER(bool, Padded)
MANIFEST_MEMBER(std::vector<std::string>, ChannelNames)
MANIFEST_MEMBER(std::vector<std::string>, ClassNames)
MANIFEST_MEMBER(std::string, OutputActivation)
MANIFEST_MEMBER(std::string, AxisOrder)
MANIFEST_MEMBER(std::string, Orientation)
MANIFEST_ARRAY(double, Spacing)
MANIFEST_MEMBER(std::string, BiasCorrection)
MANIFEST_MEMBER(double, LowerQuantile)
MANIFEST_MEMBER(double, UpperQuantile)
MANIFEST_MEMBER(std::string, Standardization)
MANIFEST_MEMBER(double, OutsideValue)
MANIFEST_MEMBER(std::string, Region)
MANIFEST_MEMBER(std::string, FitMode)
MANIFEST_MEMBER(double, Margin)
MANIFEST_MEMBER(unsigned int, OutputSize)
MANIFEST_MEMBER(double, MinimumComponentShare)
MANIFEST_MEMBER(double, Temperature)
MANIFEST_ARRAY(unsigned int, PatchSize)
MANIFEST_MEMBER(unsigned int, Halo)
MANIFEST_MEMBER(unsigned int, TileStep)
MANIFEST_MEMBER(std::string, WeightsSha256)
MANIFEST_MEMBER(std::string, TrainingData)
MANIFEST_MEMBER(std::string, IntendedUse)
MANIFEST_MEMBER(std::string, Licence)
MANIFEST_MEMBER(bool, Demonstration)
