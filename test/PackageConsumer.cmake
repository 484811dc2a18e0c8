# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0

# Installs a build into an empty prefix, builds test/package-consumer against it and runs it.
#
#   cmake -D KIND=shared|static -D SOURCE_DIR=... -D BUILD_DIR=... -D WORK_DIR=... -D "BUNDLES=a;b" ... -P PackageConsumer.cmake
#
# shared installs BUILD_DIR. static first builds the library again as a static one below WORK_DIR.
cmake_minimum_required(VERSION 3.16.3)

function(run)
  string(REPLACE ";" " " _shown "${ARGN}")
  message(STATUS "${_shown}")
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE _result)
  if(NOT _result EQUAL 0)
    message(FATAL_ERROR "'${_shown}' ended with ${_result}")
  endif()
endfunction()

set(_common
    -G "${GENERATOR}"
    "-DCMAKE_BUILD_TYPE=${BUILD_TYPE}"
    "-DCMAKE_C_COMPILER=${C_COMPILER}"
    "-DCMAKE_CXX_COMPILER=${CXX_COMPILER}"
    "-DITK_DIR=${ITK_DIR}"
)
if(KIND STREQUAL "static")
  run(
    "${CMAKE_COMMAND}" -S "${SOURCE_DIR}" -B "${WORK_DIR}/library" ${_common} -DBUILD_SHARED_LIBS=OFF -DBUILD_TESTING=OFF
    -DGliomaGrading_BUILD_EXAMPLES=OFF "-DGliomaGrading_TORCH_ROOT=${TORCH_ROOT}"
  )
  run("${CMAKE_COMMAND}" --build "${WORK_DIR}/library")
  set(BUILD_DIR "${WORK_DIR}/library")
endif()

file(REMOVE_RECURSE "${WORK_DIR}/prefix" "${WORK_DIR}/consumer" "${WORK_DIR}/without-torch")
run("${CMAKE_COMMAND}" --install "${BUILD_DIR}" --prefix "${WORK_DIR}/prefix")

# What the application and the tests want of ITK is nothing to who links the library.
file(GLOB_RECURSE _targets "${WORK_DIR}/prefix/*/GliomaGradingTargets.cmake")
file(READ "${_targets}" _exported)
if(NOT _exported MATCHES ITKRegistrationMethodsv4 OR _exported MATCHES "ITKTestKernel|ITKBiasCorrection|ITKIOGDCM|ITKIOPNG")
  message(FATAL_ERROR "The package names other modules of ITK than the library's: '${CMAKE_MATCH_0}'")
endif()

# No hint to LibTorch: a shared library has it in its RUNPATH, a static one in its package.
unset(ENV{GLIOMAGRADING_TORCH_ROOT})
unset(ENV{LD_LIBRARY_PATH})
if(DEFINED ENV{VIRTUAL_ENV})
  string(REPLACE "$ENV{VIRTUAL_ENV}/bin:" "" _path "$ENV{PATH}")
  set(ENV{PATH} "${_path}")
  unset(ENV{VIRTUAL_ENV})
endif()
run(
  "${CMAKE_COMMAND}" -S "${SOURCE_DIR}/test/package-consumer" -B "${WORK_DIR}/consumer" ${_common}
  "-DCMAKE_PREFIX_PATH=${WORK_DIR}/prefix" -DCMAKE_EXPORT_COMPILE_COMMANDS=ON
)
# A static package that cannot have its LibTorch is not found, and does not end the configuration of who may do without.
if(KIND STREQUAL "static")
  run(
    "${CMAKE_COMMAND}" -S "${SOURCE_DIR}/test/package-consumer" -B "${WORK_DIR}/without-torch" ${_common}
    "-DCMAKE_PREFIX_PATH=${WORK_DIR}/prefix" "-DGliomaGrading_TORCH_ROOT=${WORK_DIR}/no-torch" -DWITHOUT_TORCH=ON
  )
endif()
run("${CMAKE_COMMAND}" --build "${WORK_DIR}/consumer" --verbose)
run("${WORK_DIR}/consumer/consumer" ${BUNDLES})

# What the consumer compiled must not have seen LibTorch.
file(READ "${WORK_DIR}/consumer/compile_commands.json" _commands)
if(_commands MATCHES "torch/include")
  message(FATAL_ERROR "LibTorch's headers are on the consumer's include path")
endif()
