# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0

# Makes the imported target GliomaGrading::LibTorch from the LibTorch inside a torch wheel (or a LibTorch archive).
#
#   GliomaGrading_TORCH_ROOT  folder that holds include/ and lib/; default: the torch package of the active Python
if(TARGET GliomaGrading::LibTorch)
  return()
endif()

set(GliomaGrading_TORCH_ROOT
    "$ENV{GLIOMAGRADING_TORCH_ROOT}"
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
      OUTPUT_VARIABLE _torch_root
      OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET
    )
    if(_torch_root)
      set_property(CACHE GliomaGrading_TORCH_ROOT PROPERTY VALUE "${_torch_root}")
    endif()
  endif()
endif()
# torch/version.h holds the numbers up to 2.8, torch/headeronly/version.h after it.
set(_torch_version_lines)
foreach(_header torch/headeronly/version.h torch/csrc/api/include/torch/version.h)
  if(NOT _torch_version_lines AND EXISTS "${GliomaGrading_TORCH_ROOT}/include/${_header}")
    file(STRINGS "${GliomaGrading_TORCH_ROOT}/include/${_header}" _torch_version_lines
         REGEX "#define TORCH_VERSION_(MAJOR|MINOR|PATCH) "
    )
  endif()
endforeach()
if(NOT _torch_version_lines)
  message(
    FATAL_ERROR
      "No LibTorch at GliomaGrading_TORCH_ROOT='${GliomaGrading_TORCH_ROOT}'. Install it with 'pip install torch==2.13.0' in a virtual "
      "environment and pass -DGliomaGrading_TORCH_ROOT=<site-packages>/torch."
  )
endif()

foreach(_part MAJOR MINOR PATCH)
  string(REGEX MATCH "TORCH_VERSION_${_part} ([0-9]+)" _match "${_torch_version_lines}")
  set(_torch_${_part} "${CMAKE_MATCH_1}")
endforeach()
set(GliomaGrading_TORCH_VERSION "${_torch_MAJOR}.${_torch_MINOR}.${_torch_PATCH}")
if(GliomaGrading_TORCH_VERSION VERSION_LESS 2.7)
  message(FATAL_ERROR "LibTorch ${GliomaGrading_TORCH_VERSION} at ${GliomaGrading_TORCH_ROOT} is too old: 2.7 or newer is needed.")
endif()
message(STATUS "LibTorch ${GliomaGrading_TORCH_VERSION}: ${GliomaGrading_TORCH_ROOT}")

set(GliomaGrading_TORCH_LIBRARY_DIR "${GliomaGrading_TORCH_ROOT}/lib")
add_library(GliomaGrading::LibTorch INTERFACE IMPORTED GLOBAL)
set_target_properties(
  GliomaGrading::LibTorch
  PROPERTIES
    INTERFACE_INCLUDE_DIRECTORIES
      "${GliomaGrading_TORCH_ROOT}/include;${GliomaGrading_TORCH_ROOT}/include/torch/csrc/api/include"
    INTERFACE_COMPILE_DEFINITIONS "USE_DISTRIBUTED=0"
    INTERFACE_COMPILE_OPTIONS "$<$<COMPILE_LANGUAGE:CXX>:-fopenmp>"
)
# Operators and devices register themselves when their library is loaded: the linker must not drop one as unused.
set(_torch_link "-Wl,--push-state,--no-as-needed")
foreach(_name torch torch_cpu c10 torch_cuda c10_cuda)
  set(_torch_file "${GliomaGrading_TORCH_LIBRARY_DIR}/lib${_name}.so")
  if(EXISTS "${_torch_file}")
    list(APPEND _torch_link "${_torch_file}")
  elseif(NOT _name MATCHES "cuda")
    message(FATAL_ERROR "${_torch_file} is missing: the torch package is incomplete. Install it again with 'pip install --force-reinstall torch==2.13.0'.")
  endif()
endforeach()
list(APPEND _torch_link "-Wl,--pop-state")

# One OpenMP runtime for the process: the very file that the wheel brings, which may be a renamed one.
file(GLOB _torch_gomp "${GliomaGrading_TORCH_LIBRARY_DIR}/libgomp*.so*" "${GliomaGrading_TORCH_ROOT}/../torch.libs/libgomp*.so*")
set(GliomaGrading_TORCH_RPATH "${GliomaGrading_TORCH_LIBRARY_DIR}")
if(_torch_gomp)
  list(GET _torch_gomp 0 _torch_gomp)
  list(APPEND _torch_link "${_torch_gomp}")
  get_filename_component(_torch_gomp_dir "${_torch_gomp}" DIRECTORY)
  get_filename_component(_torch_gomp_dir "${_torch_gomp_dir}" REALPATH)
  list(APPEND GliomaGrading_TORCH_RPATH "${_torch_gomp_dir}")
  list(REMOVE_DUPLICATES GliomaGrading_TORCH_RPATH)
else()
  list(APPEND _torch_link "-fopenmp")
endif()
set_property(TARGET GliomaGrading::LibTorch PROPERTY INTERFACE_LINK_LIBRARIES "${_torch_link}")

# Compiles and links a call with a std::string in it; the answer is kept for this LibTorch.
if(NOT GliomaGrading_TORCH_ABI_CHECKED STREQUAL "${GliomaGrading_TORCH_ROOT} ${GliomaGrading_TORCH_VERSION}")
  try_compile(
    _torch_abi_fits "${CMAKE_BINARY_DIR}/CMakeFiles/GliomaGradingLibTorchABI"
    SOURCES "${CMAKE_CURRENT_LIST_DIR}/GliomaGradingLibTorchABI.cxx"
    LINK_LIBRARIES GliomaGrading::LibTorch
    OUTPUT_VARIABLE _torch_abi_output
    CXX_STANDARD 20
    CXX_STANDARD_REQUIRED ON
  )
  if(NOT _torch_abi_fits)
    message(
      FATAL_ERROR
        "A program that uses LibTorch ${GliomaGrading_TORCH_VERSION} does not compile and link here. Usual reasons: a LibTorch without the "
        "C++11 ABI (torch wheels have it since 2.7), another C++ library than libstdc++, a compiler older than GCC 11, or another "
        "processor. The compiler said:\n${_torch_abi_output}"
    )
  endif()
  set(GliomaGrading_TORCH_ABI_CHECKED
      "${GliomaGrading_TORCH_ROOT} ${GliomaGrading_TORCH_VERSION}"
      CACHE INTERNAL "LibTorch whose ABI fits"
  )
endif()
