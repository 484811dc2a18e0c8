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

#endif // itkGliomaGradingCompat_h
