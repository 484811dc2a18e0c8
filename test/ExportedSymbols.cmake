# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0

# Fails where the shared library offers names that are not the module's own.
#
#   cmake -D NM=nm -D LIBRARY=libGliomaGrading.so -P ExportedSymbols.cmake
cmake_minimum_required(VERSION 3.16.3)
execute_process(
  COMMAND "${NM}" -D --defined-only "${LIBRARY}"
  OUTPUT_VARIABLE _symbols
  RESULT_VARIABLE _result
)
if(NOT _result EQUAL 0)
  message(FATAL_ERROR "${NM} cannot read ${LIBRARY}")
endif()
string(REGEX MATCHALL "[^ \n]+\n" _names "${_symbols}")
set(_foreign)
set(_own 0)
foreach(_name IN LISTS _names)
  string(STRIP "${_name}" _name)
  if(_name MATCHES "3itk")
    math(EXPR _own "${_own} + 1")
  else()
    list(APPEND _foreign "${_name}")
  endif()
endforeach()
if(_foreign)
  list(JOIN _foreign "\n  " _foreign)
  message(FATAL_ERROR "${LIBRARY} exports names that are not its own:\n  ${_foreign}")
endif()
if(_own EQUAL 0)
  message(FATAL_ERROR "${LIBRARY} exports nothing: nobody can link it.")
endif()
message(STATUS "${_own} names are exported, all of them in namespace itk")
