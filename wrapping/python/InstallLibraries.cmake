# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0

# Runs when the wheel is made: copies the libraries that _binaries need, with their licences, into gliomagrading/.
# Not those that come with the package torch, nor those that every Debian with a Python has.
set(_folder "${CMAKE_INSTALL_PREFIX}/gliomagrading")
file(
  GET_RUNTIME_DEPENDENCIES
  LIBRARIES
  ${_binaries}
  RESOLVED_DEPENDENCIES_VAR
  _libraries
  UNRESOLVED_DEPENDENCIES_VAR
  _missing
  PRE_EXCLUDE_REGEXES
  "^lib(torch|c10|gomp|GliomaGrading|cud|cu|nv|mkl)"
  "^(ld-linux|lib(c|m|dl|pthread|rt|util|stdc\\+\\+|gcc_s|z|crypto|expat|uuid))[-.]"
)
if(_missing)
  message(FATAL_ERROR "These libraries of the Python package were not found: ${_missing}")
endif()
find_program(_dpkg dpkg-query)
set(_licences nlohmann-json3-dev libcli11-dev)
set(_of_no_package)
foreach(_library IN LISTS _libraries)
  set(_owner)
  get_filename_component(_name "${_library}" NAME)
  file(REAL_PATH "${_library}" _file)
  if(_name MATCHES "fftw")
    message(FATAL_ERROR "${_name} is under the GPL and must not be needed.")
  endif()
  file(COPY_FILE "${_file}" "${_folder}/lib/${_name}")
  if(_dpkg)
    execute_process(
      COMMAND "${_dpkg}" -S "*/${_name}"
      OUTPUT_VARIABLE _owner
      ERROR_QUIET
    )
    string(REGEX MATCH "^[^:,\n]+" _owner "${_owner}")
    list(APPEND _licences ${_owner})
  endif()
  if(NOT _owner)
    list(APPEND _of_no_package "${_file}")
  endif()
endforeach()
# An ITK that no package brought installs its licences, and the notices of what it holds of others, in its own prefix.
foreach(_file IN LISTS _of_no_package)
  get_filename_component(_prefix "${_file}" DIRECTORY)
  get_filename_component(_prefix "${_prefix}" DIRECTORY)
  file(GLOB _documents "${_prefix}/share/doc/ITK-*/LICENSE" "${_prefix}/share/doc/ITK-*/NOTICE" "${_prefix}/share/doc/ITK-*/*/Copyright.txt")
  if(NOT _documents)
    message(WARNING "The licence of ${_file} was not found: add it before you pass the package on.")
  endif()
  foreach(_document IN LISTS _documents)
    string(REGEX REPLACE "^.*/share/doc/ITK-[^/]*/" "" _name "${_document}")
    string(REPLACE "/" "-" _name "${_name}")
    file(COPY_FILE "${_document}" "${_folder}/licences/ITK-${_name}" ONLY_IF_DIFFERENT)
  endforeach()
endforeach()
list(REMOVE_DUPLICATES _licences)
foreach(_package IN LISTS _licences)
  if(EXISTS "/usr/share/doc/${_package}/copyright")
    file(REAL_PATH "/usr/share/doc/${_package}/copyright" _file)
    file(COPY_FILE "${_file}" "${_folder}/licences/${_package}.txt")
  else()
    message(WARNING "The licence of ${_package} was not found in /usr/share/doc: add it before you pass the package on.")
  endif()
endforeach()
