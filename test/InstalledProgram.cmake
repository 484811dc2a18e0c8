# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0

# Installs a build into an empty prefix and runs the application from there.
#
#   cmake -D BUILD_DIR=... -D WORK_DIR=... -D VERSION=... -D BUNDLE=... -D MODELS_DIR=... -P InstalledProgram.cmake
#
# BUNDLE is a model bundle to look at, MODELS_DIR the source folder of the models that are installed where they are there.
cmake_minimum_required(VERSION 3.16.3)

# must(REGEX COMMAND...): the command succeeds and says REGEX. must_not: it fails and says so.
function(must _regex)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE _result OUTPUT_VARIABLE _output ERROR_VARIABLE _output)
  if(NOT _result EQUAL 0 OR NOT _output MATCHES "${_regex}")
    message(FATAL_ERROR "'${ARGN}' ended with ${_result} and did not say '${_regex}':\n${_output}")
  endif()
endfunction()
function(must_not _regex)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE _result OUTPUT_VARIABLE _output ERROR_VARIABLE _output)
  if(_result EQUAL 0 OR NOT _output MATCHES "${_regex}")
    message(FATAL_ERROR "'${ARGN}' ended with ${_result} and did not say '${_regex}':\n${_output}")
  endif()
endfunction()

set(_prefix "${WORK_DIR}/prefix")
file(REMOVE_RECURSE "${_prefix}")
must("Install" "${CMAKE_COMMAND}" --install "${BUILD_DIR}" --prefix "${_prefix}")

# Libraries are found by what is written in the program and by nothing else.
unset(ENV{LD_LIBRARY_PATH})
set(_glioma "${_prefix}/bin/glioma")
must("^glioma ${VERSION} .ITK [0-9.]+, LibTorch [0-9.]+.\n$" "${_glioma}" --version)
file(STRINGS "${_glioma}" _strings REGEX "/lib")
string(FIND "${_strings}" "${BUILD_DIR}/lib" _at)
if(NOT _at EQUAL -1)
  message(FATAL_ERROR "The installed program still looks for libraries in the build folder.")
endif()
must("checked +size, SHA-256 and weights" "${_glioma}" inspect "${BUNDLE}")

# Models come along where the source has them.
set(_models "${_prefix}/share/GliomaGrading/models")
foreach(_task segmentation grading brain-grading)
  if(EXISTS "${MODELS_DIR}/${_task}/configs/metadata.json")
    must("checked +size, SHA-256 and weights" "${_glioma}" inspect "${_models}/${_task}")
  elseif(EXISTS "${_models}/${_task}")
    message(FATAL_ERROR "${_models}/${_task} was installed from nowhere.")
  endif()
endforeach()

# The installed models are those that are used where none is named: a damaged one is noticed.
file(WRITE "${_models}/segmentation/configs/metadata.json" "{")
must_not("${_models}/segmentation" "${_glioma}" grade --t1 a --t1c b --t2 c --flair d --output "${WORK_DIR}/output")
message(STATUS "The installed program runs.")
