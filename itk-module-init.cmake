# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0

# LibTorch as one imported target of our own: TorchConfig.cmake of a CUDA wheel stops where there is no CUDA toolkit.
include("${CMAKE_CURRENT_LIST_DIR}/CMake/GliomaGradingFindLibTorch.cmake")
find_package(nlohmann_json 3.9 REQUIRED)
find_package(OpenSSL REQUIRED COMPONENTS Crypto)

# A static library names its private link targets to those who link it, so they are made again where it is used. A shared one keeps
# them to itself, and those who find ITK need neither.
if(BUILD_SHARED_LIBS OR (NOT DEFINED BUILD_SHARED_LIBS AND ITK_BUILD_SHARED))
  return()
endif()
set(_gliomagrading_recreate_targets
    "if(NOT GliomaGrading_TORCH_ROOT AND NOT DEFINED ENV{GLIOMAGRADING_TORCH_ROOT})
  set(GliomaGrading_TORCH_ROOT \"${GliomaGrading_TORCH_ROOT}\")
endif()
find_package(OpenSSL REQUIRED COMPONENTS Crypto)"
)
set(GliomaGrading_EXPORT_CODE_INSTALL
    "${_gliomagrading_recreate_targets}
include(\"\${ITK_MODULES_DIR}/GliomaGradingFindLibTorch.cmake\")"
)
set(GliomaGrading_EXPORT_CODE_BUILD
    "if(NOT ITK_BINARY_DIR)
${_gliomagrading_recreate_targets}
include(\"${CMAKE_CURRENT_LIST_DIR}/CMake/GliomaGradingFindLibTorch.cmake\")
endif()"
)
