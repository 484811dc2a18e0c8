# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0

# Fails where a header of LibTorch is among the files that the public headers include.
#
#   cmake -D COMPILER=... -D FLAGS_FILE=... -D SOURCE=all-headers.cxx -D EXPECTED=header -P HeadersAreTorchFree.cmake
cmake_minimum_required(VERSION 3.16.3)
execute_process(
  COMMAND "${COMPILER}" -std=c++17 -M "@${FLAGS_FILE}" "${SOURCE}"
  OUTPUT_VARIABLE _dependencies
  RESULT_VARIABLE _result
)
if(NOT _result EQUAL 0)
  message(FATAL_ERROR "The public headers do not compile together without LibTorch.")
endif()
foreach(_header IN LISTS EXPECTED)
  if(NOT _dependencies MATCHES "/${_header}")
    message(FATAL_ERROR "${_header} is not among the dependencies: this test would see nothing.")
  endif()
endforeach()
string(REGEX MATCHALL "[^ \n]*/(torch|ATen|c10|caffe2)/[^ \n]*" _found "${_dependencies}")
if(_found)
  list(JOIN _found "\n  " _found)
  message(FATAL_ERROR "Reachable from the public headers:\n  ${_found}")
endif()
