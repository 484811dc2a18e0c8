# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0

# Makes the imported target GliomaGrading::LibTorch from the LibTorch inside a torch wheel (or a LibTorch archive).
#
#   GliomaGrading_TORCH_ROOT  folder that holds include/ and lib/; default: the torch package of the active Python
if(TARGET GliomaGrading::LibTorch)
  return()
endif()

# Ends the configuration with what _gliomagrading_torch_problem says. A package says so to who looks for it, who may do without.
macro(glioma_grading_without_torch)
  if(CMAKE_FIND_PACKAGE_NAME STREQUAL "GliomaGrading")
    return()
  endif()
  message(FATAL_ERROR "${_gliomagrading_torch_problem}")
endmacro()
set(_gliomagrading_torch_problem)

if(NOT CMAKE_SYSTEM_NAME STREQUAL "Linux")
  set(_gliomagrading_torch_problem "GliomaGrading is built on Linux alone so far, and not on ${CMAKE_SYSTEM_NAME}.")
  glioma_grading_without_torch()
endif()
# A package sets a plain variable, which policy CMP0126 of projects for older CMakes drops beside a cached one.
set(_gliomagrading_torch_root "$ENV{GLIOMAGRADING_TORCH_ROOT}")
if(GliomaGrading_TORCH_ROOT)
  set(_gliomagrading_torch_root "${GliomaGrading_TORCH_ROOT}")
endif()
set(GliomaGrading_TORCH_ROOT
    "${_gliomagrading_torch_root}"
    CACHE PATH "Folder of the torch package (holds include/ and lib/)"
)
if(NOT GliomaGrading_TORCH_ROOT)
  find_program(
    GliomaGrading_PYTHON_EXECUTABLE
    NAMES python3 python
    HINTS ENV VIRTUAL_ENV
    PATH_SUFFIXES bin
  )
  if(GliomaGrading_PYTHON_EXECUTABLE)
    execute_process(
      COMMAND "${GliomaGrading_PYTHON_EXECUTABLE}" -c
              "import importlib.util as u; s = u.find_spec('torch'); print(s.submodule_search_locations[0] if s else '')"
      OUTPUT_VARIABLE _gliomagrading_torch_root
      OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET
    )
    if(_gliomagrading_torch_root)
      set_property(CACHE GliomaGrading_TORCH_ROOT PROPERTY VALUE "${_gliomagrading_torch_root}")
    endif()
  endif()
endif()
# torch/version.h holds the numbers up to 2.8, torch/headeronly/version.h after it.
set(_gliomagrading_torch_version_lines)
foreach(_gliomagrading_header torch/headeronly/version.h torch/csrc/api/include/torch/version.h)
  if(NOT _gliomagrading_torch_version_lines AND EXISTS "${GliomaGrading_TORCH_ROOT}/include/${_gliomagrading_header}")
    file(STRINGS "${GliomaGrading_TORCH_ROOT}/include/${_gliomagrading_header}" _gliomagrading_torch_version_lines
         REGEX "#define TORCH_VERSION_(MAJOR|MINOR|PATCH) "
    )
  endif()
endforeach()
if(NOT _gliomagrading_torch_version_lines)
  string(
    CONCAT
    _gliomagrading_torch_problem
    "No LibTorch at GliomaGrading_TORCH_ROOT='${GliomaGrading_TORCH_ROOT}'. Install it with 'pip install torch==2.13.0' in a virtual "
    "environment and pass -DGliomaGrading_TORCH_ROOT=<site-packages>/torch."
  )
  glioma_grading_without_torch()
endif()

foreach(_gliomagrading_part MAJOR MINOR PATCH)
  string(REGEX MATCH "TORCH_VERSION_${_gliomagrading_part} ([0-9]+)" _gliomagrading_match "${_gliomagrading_torch_version_lines}")
  set(_gliomagrading_torch_${_gliomagrading_part} "${CMAKE_MATCH_1}")
endforeach()
set(GliomaGrading_TORCH_VERSION "${_gliomagrading_torch_MAJOR}.${_gliomagrading_torch_MINOR}.${_gliomagrading_torch_PATCH}")
if(GliomaGrading_TORCH_VERSION VERSION_LESS 2.7)
  set(_gliomagrading_torch_problem
      "LibTorch ${GliomaGrading_TORCH_VERSION} at ${GliomaGrading_TORCH_ROOT} is too old: 2.7 or newer is needed."
  )
  glioma_grading_without_torch()
endif()
message(STATUS "LibTorch ${GliomaGrading_TORCH_VERSION}: ${GliomaGrading_TORCH_ROOT}")

set(GliomaGrading_TORCH_LIBRARY_DIR "${GliomaGrading_TORCH_ROOT}/lib")
set(_gliomagrading_torch_include "${GliomaGrading_TORCH_ROOT}/include" "${GliomaGrading_TORCH_ROOT}/include/torch/csrc/api/include")
# at::parallel_for() is compiled where it is called. LibTorch brings GCC's OpenMP runtime, which code of another compiler's cannot
# call, and two runtimes in one process are none: there the module's own loops are vectorized but run in one thread.
set(_gliomagrading_torch_openmp -fopenmp)
if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  set(_gliomagrading_torch_openmp -fopenmp-simd)
endif()
# Operators and devices register themselves when their library is loaded: the linker must not drop one as unused.
# The system's standard library goes first: LibTorch exports a copy of parts of it (https://github.com/pytorch/pytorch/issues/133437),
# of which std::filesystem::remove_all jumps to a null pointer in the CUDA wheels.
set(_gliomagrading_torch_link "-Wl,--push-state,--no-as-needed" stdc++)
foreach(_gliomagrading_name torch torch_cpu c10 torch_cuda c10_cuda)
  set(_gliomagrading_torch_file "${GliomaGrading_TORCH_LIBRARY_DIR}/lib${_gliomagrading_name}.so")
  if(EXISTS "${_gliomagrading_torch_file}")
    list(APPEND _gliomagrading_torch_link "${_gliomagrading_torch_file}")
  elseif(NOT _gliomagrading_name MATCHES "cuda")
    set(_gliomagrading_torch_problem
        "${_gliomagrading_torch_file} is missing: the torch package is incomplete. Install it again with 'pip install --force-reinstall torch==2.13.0'."
    )
    glioma_grading_without_torch()
  endif()
endforeach()
list(APPEND _gliomagrading_torch_link "-Wl,--pop-state")

# One OpenMP runtime for the process: the very file that the wheel brings, which may be a renamed one.
file(GLOB _gliomagrading_torch_gomp "${GliomaGrading_TORCH_LIBRARY_DIR}/libgomp*.so*" "${GliomaGrading_TORCH_ROOT}/../torch.libs/libgomp*.so*")
set(GliomaGrading_TORCH_RPATH "${GliomaGrading_TORCH_LIBRARY_DIR}")
if(_gliomagrading_torch_gomp)
  list(GET _gliomagrading_torch_gomp 0 _gliomagrading_torch_gomp)
  list(APPEND _gliomagrading_torch_link "${_gliomagrading_torch_gomp}")
  get_filename_component(_gliomagrading_torch_gomp_dir "${_gliomagrading_torch_gomp}" DIRECTORY)
  get_filename_component(_gliomagrading_torch_gomp_dir "${_gliomagrading_torch_gomp_dir}" REALPATH)
  list(APPEND GliomaGrading_TORCH_RPATH "${_gliomagrading_torch_gomp_dir}")
  list(REMOVE_DUPLICATES GliomaGrading_TORCH_RPATH)
else()
  # GCC's own: that of Clang would be a second one.
  list(APPEND _gliomagrading_torch_link gomp)
endif()

# Compiles and links a call with a std::string in it and a loop in torch's threads; the answer is kept for this LibTorch.
if(NOT GliomaGrading_TORCH_ABI_CHECKED STREQUAL "${GliomaGrading_TORCH_ROOT} ${GliomaGrading_TORCH_VERSION}")
  try_compile(
    _gliomagrading_torch_abi_fits "${CMAKE_BINARY_DIR}/CMakeFiles/GliomaGradingLibTorchABI"
    SOURCES "${CMAKE_CURRENT_LIST_DIR}/GliomaGradingLibTorchABI.cxx"
    CMAKE_FLAGS "-DINCLUDE_DIRECTORIES=${_gliomagrading_torch_include}"
    COMPILE_DEFINITIONS -DUSE_DISTRIBUTED=0 ${_gliomagrading_torch_openmp}
    LINK_LIBRARIES ${_gliomagrading_torch_link}
    OUTPUT_VARIABLE _gliomagrading_torch_abi_output
    CXX_STANDARD 20
    CXX_STANDARD_REQUIRED ON
  )
  if(NOT _gliomagrading_torch_abi_fits)
    string(
      CONCAT
      _gliomagrading_torch_problem
      "A program that uses LibTorch ${GliomaGrading_TORCH_VERSION} does not compile and link here. Usual reasons: a LibTorch without the "
      "C++11 ABI (torch wheels have it since 2.7), another C++ library than libstdc++, a compiler older than GCC 11, or another "
      "processor. The compiler said:\n${_gliomagrading_torch_abi_output}"
    )
    glioma_grading_without_torch()
  endif()
  set(GliomaGrading_TORCH_ABI_CHECKED
      "${GliomaGrading_TORCH_ROOT} ${GliomaGrading_TORCH_VERSION}"
      CACHE INTERNAL "LibTorch whose ABI fits"
  )
  if(_gliomagrading_torch_openmp STREQUAL "-fopenmp-simd")
    message(STATUS "Compiled by ${CMAKE_CXX_COMPILER_ID}, the module's own loops run in one thread; with GCC in all of torch's.")
  endif()
endif()

# Last: what has this target needs no second look.
add_library(GliomaGrading::LibTorch INTERFACE IMPORTED GLOBAL)
set_target_properties(
  GliomaGrading::LibTorch
  PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${_gliomagrading_torch_include}"
             INTERFACE_COMPILE_DEFINITIONS "USE_DISTRIBUTED=0"
             INTERFACE_COMPILE_OPTIONS "$<$<COMPILE_LANGUAGE:CXX>:${_gliomagrading_torch_openmp}>"
             INTERFACE_LINK_LIBRARIES "${_gliomagrading_torch_link}"
)
mark_as_advanced(GliomaGrading_TORCH_ROOT GliomaGrading_PYTHON_EXECUTABLE)
