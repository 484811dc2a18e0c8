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
// The extension module gliomagrading._core: what images.py, filters.py and model.py are made of.
%module(package = "gliomagrading") _core

%{
#define SWIG_FILE_WITH_INIT
#include "CaseFilters.h"
#include "CaseGrading.h"
#include "FilterRun.h"
#include "ImageFilters.h"
#include "ModelFilters.h"
#include "PythonErrors.h"
#include "Volume.h"
%}

%include <exception.i>
%include <std_string.i>
%include <std_vector.i>
%include <std_map.i>
%include <std_array.i>
%include <stdint.i>

// C++ names, as Python writes them: SetMaskImage is set_mask_image.
%rename("%(undercase)s", %$isfunction) "";
%rename("%(undercase)s", %$isvariable) "";

%rename(get_itk_version) gliomagrading::GetITKVersion;
%rename(get_executed_relus) GetExecutedReLUs;
%rename(get_guided_relus) GetGuidedReLUs;
%rename(add_grad_cam_layer) AddGradCAMLayer;
%rename(get_grad_cam_layers) GetGradCAMLayers;
%rename(get_brain_grad_cam_layers) GetBrainGradCAMLayers;
%rename(get_grad_cam_support) GetGradCAMSupport;
%rename(weights_sha256) WeightsSha256;

%exception {
  try
  {
    $action
  }
  catch (...)
  {
    gliomagrading::RaiseInPython();
    SWIG_fail;
  }
}

%template(StringList) std::vector<std::string>;
%template(DoubleList) std::vector<double>;
%template(NumberList) std::vector<unsigned int>;
%template(SizeList) std::vector<unsigned long>;
%template(IndexList) std::vector<long>;
%template(StringMap) std::map<std::string, std::string>;
%template(DoubleMap) std::map<std::string, double>;
%template(DoubleListMap) std::map<std::string, std::vector<double>>;
%template(DoubleTriple) std::array<double, 3>;
%template(NumberTriple) std::array<unsigned int, 3>;

// Members that are lists take and give lists.
%naturalvar;
#define GliomaGrading_EXPORT
%ignore itk::TorchModelManifest::TrainingCase;
%ignore itk::TorchModelManifest::TrainingCases;
%ignore itk::TorchModelManifest::ValidationCases;
%ignore itk::SmallestPatch;
%ignore itk::TorchModelManifest::Layers;
%include "itkTorchModelManifest.h"

namespace gliomagrading { class Volume; }
%template(VolumeList) std::vector<gliomagrading::Volume>;
%include "Volume.h"

%ignore gliomagrading::RunInThread;
%nodefaultctor gliomagrading::FilterRun;
%include "FilterRun.h"
%include "ImageFilters.h"
%include "ModelFilters.h"
%include "CaseGrading.h"
%include "CaseFilters.h"
