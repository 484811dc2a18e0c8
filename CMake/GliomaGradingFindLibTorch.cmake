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

set(_torch_lib "${GliomaGrading_TORCH_ROOT}/lib")
add_library(GliomaGrading::LibTorch INTERFACE IMPORTED GLOBAL)
set_target_properties(
  GliomaGrading::LibTorch
  PROPERTIES
    INTERFACE_INCLUDE_DIRECTORIES
      "${GliomaGrading_TORCH_ROOT}/include;${GliomaGrading_TORCH_ROOT}/include/torch/csrc/api/include"
    INTERFACE_COMPILE_DEFINITIONS "USE_DISTRIBUTED=0"
)
set(_torch_link "-Wl,--push-state,--no-as-needed")
foreach(_name torch torch_cpu c10 torch_cuda c10_cuda)
  if(EXISTS "${_torch_lib}/lib${_name}.so")
    list(APPEND _torch_link "${_torch_lib}/lib${_name}.so")
  endif()
endforeach()
list(APPEND _torch_link "-Wl,--pop-state")

# One OpenMP runtime for the process: the very file that libtorch_cpu asks for.
file(GLOB _torch_gomp "${_torch_lib}/libgomp*.so*" "${GliomaGrading_TORCH_ROOT}/../torch.libs/libgomp*.so*")
if(_torch_gomp)
  list(GET _torch_gomp 0 _torch_gomp)
  list(APPEND _torch_link "${_torch_gomp}")
endif()
set_property(TARGET GliomaGrading::LibTorch PROPERTY INTERFACE_LINK_LIBRARIES "${_torch_link}")
set_property(TARGET GliomaGrading::LibTorch PROPERTY INTERFACE_COMPILE_OPTIONS "$<$<COMPILE_LANGUAGE:CXX>:-fopenmp>")
set(GliomaGrading_TORCH_LIBRARY_DIR "${_torch_lib}")
