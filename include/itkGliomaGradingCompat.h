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
#ifndef itkGliomaGradingCompat_h
#define itkGliomaGradingCompat_h

#include "itkMacro.h"

// ITK before 5.4 names its classes with itkTypeMacro alone.
#ifndef itkOverrideGetNameOfClassMacro
#  define itkOverrideGetNameOfClassMacro(thisClass) \
    const char * GetNameOfClass() const override    \
    {                                               \
      return #thisClass;                            \
    }                                               \
    ITK_MACROEND_NOOP_STATEMENT
#endif

// What else differs between ITK 5.2, 5.4 and 6, and how the sources meet it:
// - ITK 6 deprecates GetIndex() of iterators that have no index: ImageBase::ComputeIndex() of the buffer's offset.
// - ITK 6 prefers an Eigen-backed SVD that 5.x lacks and keeps vnl_svd: SequencePreparationFilter stays with that.
// - ITK 6 computes its own N4's Fourier transforms with another library: tests compare with it by tolerance.
// - ITK 6 and CMake 4.1 know GoogleTest's targets in lower case alone: test/CMakeLists.txt asks which there are.
// - ITK 6 deprecates UseITK.cmake and keeps it: CMake/GliomaGradingInstalledITK.cmake includes it for 5.2.
// - ITK 6's NiftiImageIO keeps NaN and infinity, where 5.x reads 0: ImageFileCheck looks into the file with each.
// - ITK 6's <Module>_LIBRARIES hold the module's own libraries alone: test/CMakeLists.txt links
// GliomaGrading-Test_LIBRARIES, which is not tried there.
// - ITK 6 wraps for Python 3.11 or newer, copies arrays that are not contiguous, and may call observers without the
// interpreter's lock: wrapping/test gives contiguous arrays; observers are not tried there.
// - ITK 5.4 compiles itself and its modules for corei7: src/CMakeLists.txt takes N4's loops back to x86-64 and its
// clones.
// - ITK 5.4 hides no symbol in its tree and gives what it installs no RPATH to LibTorch: src/CMakeLists.txt does both.
// - ITK 5.4 registers no image IO for GoogleTests in its tree: test/RegisterRequiredFactories.cxx does.
// - ITK 5.4 keeps a module's tests in its folder test, and lists them at the top alone: test/upstream.sh runs that
// folder.
// - ITK 5.4's Python drops an itk::Array that is taken by value (a list it takes): setters take them by reference.
// - ITK 5.4's Python holds the interpreter's lock whatever ITK_PYTHON_RELEASE_GIL says:
// TorchModel::SetInterpreterUnlock().
// - ITK 5.4 makes Python's docstrings of XML that it does not ask doxygen for: wrapping/CMakeLists.txt does.
// - ITK 5.4 writes castxml's flags anew at each configuration, and all of CastXML depends on them: test/upstream.sh
// gives the file its time back. Its GradientRecursiveGaussianImageFilter.wrap takes vectors of two for granted: set
// ITK_WRAP_VECTOR_COMPONENTS to 2;3;4. It needs SWIG 4.2 or newer, where Debian 12 has 4.1.
// - ITK 5.4's Python takes what has no length for an array of -1 elements, and std::bad_alloc ends the process, as
// itk.N4BiasFieldCorrectionImageFilter.New(image).SetMaximumNumberOfIterations(10) shows: wrapping/CMakeLists.txt makes
// a list of it first.
// - ITK 5.4's Python unpacks a list of one and SWIG takes a string for letters: GradCAMImageFilter.wrap takes both.
// - ITK 5.4 skips a remote module without a repository and says nothing: GliomaGrading.remote.cmake stops.
// - ITK 5.4 wraps Python's limited API where it can, which CMake finds from 3.26 on: test/upstream.sh turns it off.
// - ITK 5.4 wraps no member that is a variable, no class inside another and no type that no signature names:
// wrapping/itkStructMembers.i, itkTorchModelMembers.i and itkGradedRegionReportMembers.i do.
// - ITK 5.4's functional interface returns outputs of one image type alone: __internal_call__ of our filters.
// - ITK 5.4 loads submodules by name, a class perhaps before its base: WRAPPER_SUBMODULE_ORDER.
// - ITK 5.4 links each Python module with every library and writes all stubs in one step, so that both are done again
// when ours change.
// - ITK 5.4 needs its NumPy bridge for arrays from Python: itk-module.cmake tests with it.
// - ITK 5.4 leaves its header tests out without Python and says nothing: test/upstream.sh looks for them.
// - ITK 5.4 puts the programs of all modules into one folder: test/CMakeLists.txt gives ours longer names there. A glob
// that is looked at again would configure all of it: test/BuildTests.cmake has none there.
// - ITK 5.4 compiles the time of its configuration in: test/upstream.sh sets SOURCE_DATE_EPOCH, or all is linked again.
// - ITK 5.4's installed libraries find each other in the system's folders alone: test/upstream.sh installs an RPATH.
// - ITK 5.4 renames the remote of a module's checkout that has another address: test/upstream.sh sets it first.
// - ITK 5.4's static libraries name their private targets to who uses them: itk-module-init.cmake makes them again.

#endif // itkGliomaGradingCompat_h
