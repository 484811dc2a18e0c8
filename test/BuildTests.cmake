# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0

# Tests of the build itself: headers, package, exported names, files.
find_package(Python3 COMPONENTS Interpreter)

# Every public header compiles alone, as C++17 and with no include path to LibTorch.
# Not in ITK's tree, all of which would be configured anew.
set(_configure_depends)
if(NOT COMMAND itk_module_test)
  set(_configure_depends CONFIGURE_DEPENDS)
endif()
file(GLOB _headers RELATIVE "${GliomaGrading_SOURCE_DIR}/include" ${_configure_depends} "${GliomaGrading_SOURCE_DIR}/include/*.h")
set(_all_headers)
set(_units)
foreach(_header IN LISTS _headers)
  set(_unit "${CMAKE_CURRENT_BINARY_DIR}/headers/${_header}.cxx")
  set(_includes "#include \"${_header}\"\n")
  configure_file(AllHeaders.cxx.in "${_unit}" @ONLY)
  list(APPEND _units "${_unit}")
  string(APPEND _all_headers "#include \"${_header}\"\n")
endforeach()
add_library(GliomaGradingHeadersAlone OBJECT ${_units})
target_link_libraries(GliomaGradingHeadersAlone PRIVATE ${_test_libraries})
set(_includes "${_all_headers}")
configure_file(AllHeaders.cxx.in "${CMAKE_CURRENT_BINARY_DIR}/headers/all-headers.cxx" @ONLY)
set(_directories "$<TARGET_PROPERTY:GliomaGradingHeadersAlone,INCLUDE_DIRECTORIES>")
file(
  GENERATE
  OUTPUT "${CMAKE_CURRENT_BINARY_DIR}/headers/flags"
  CONTENT "$<$<BOOL:${_directories}>:-I\"$<JOIN:${_directories},\"\n-I\">\">\n"
)
add_test(
  NAME ${_Build}HeadersAreTorchFree
  COMMAND
    "${CMAKE_COMMAND}" -D "COMPILER=${CMAKE_CXX_COMPILER}" -D "FLAGS_FILE=${CMAKE_CURRENT_BINARY_DIR}/headers/flags" -D
    "SOURCE=${CMAKE_CURRENT_BINARY_DIR}/headers/all-headers.cxx" -D "EXPECTED=${_headers}" -P
    "${CMAKE_CURRENT_SOURCE_DIR}/HeadersAreTorchFree.cmake"
)

if(Python3_Interpreter_FOUND)
  foreach(_check Licence Layout Torch Names ITK6)
    string(TOLOWER ${_check} _name)
    add_test(NAME ${_Sources}${_check} COMMAND "${Python3_EXECUTABLE}" "${CMAKE_CURRENT_SOURCE_DIR}/check_sources.py" ${_name}
                                            "${GliomaGrading_SOURCE_DIR}"
    )
    set_tests_properties(${_Sources}${_check} PROPERTIES SKIP_RETURN_CODE 77)
  endforeach()
  if(TARGET glioma)
    add_test(NAME Phantom:GradeNeedsFormAndTexture COMMAND "${Python3_EXECUTABLE}" "${CMAKE_CURRENT_SOURCE_DIR}/python/test_phantom_regressions.py"
                                                           "$<TARGET_FILE:glioma>"
    )
    set_tests_properties(Phantom:GradeNeedsFormAndTexture PROPERTIES SKIP_RETURN_CODE 77 LABELS slow)
  endif()
else()
  message(WARNING "No Python 3: the tests of the source files are left out.")
endif()

if(NOT EXISTS "${GliomaGrading_SOURCE_DIR}/src/itkTorchModel.cxx")
  message(STATUS "Nothing to link yet: the tests of the package and of the exported names are left out.")
  return()
endif()
get_target_property(_type GliomaGrading TYPE)
if(_type STREQUAL "SHARED_LIBRARY" AND CMAKE_SYSTEM_NAME STREQUAL "Linux")
  add_test(NAME ${_Build}ExportedSymbols COMMAND "${CMAKE_COMMAND}" -D "NM=${CMAKE_NM}" -D "LIBRARY=$<TARGET_FILE:GliomaGrading>" -P
                                              "${CMAKE_CURRENT_SOURCE_DIR}/ExportedSymbols.cmake"
  )
endif()

# Packages are of the build against an installed ITK; in ITK's tree, ITK installs the module.
if(COMMAND itk_module_test)
  return()
endif()
file(GLOB _bundles CONFIGURE_DEPENDS "${GliomaGrading_SOURCE_DIR}/examples/glioma/models/*/configs/metadata.json")
list(TRANSFORM _bundles REPLACE "/configs/metadata.json$" "")
set(_kinds static)
if(_type STREQUAL "SHARED_LIBRARY")
  list(PREPEND _kinds shared)
endif()
foreach(_kind IN LISTS _kinds)
  add_test(
    NAME ${_Build}PackageConsumer-${_kind}
    COMMAND
      "${CMAKE_COMMAND}" -D KIND=${_kind} -D "SOURCE_DIR=${GliomaGrading_SOURCE_DIR}" -D "BUILD_DIR=${GliomaGrading_BINARY_DIR}" -D
      "WORK_DIR=${GliomaGrading_BINARY_DIR}/package-consumer/${_kind}" -D "BUNDLES=${_bundles}" -D "GENERATOR=${CMAKE_GENERATOR}" -D
      "BUILD_TYPE=${CMAKE_BUILD_TYPE}" -D "C_COMPILER=${CMAKE_C_COMPILER}" -D "CXX_COMPILER=${CMAKE_CXX_COMPILER}" -D
      "ITK_DIR=${ITK_DIR}" -D "TORCH_ROOT=${GliomaGrading_TORCH_ROOT}" -P "${CMAKE_CURRENT_SOURCE_DIR}/PackageConsumer.cmake"
  )
  set_tests_properties(${_Build}PackageConsumer-${_kind} PROPERTIES LABELS slow TIMEOUT 1800)
endforeach()

if(TARGET glioma)
  add_test(
    NAME ${_Build}InstalledProgram
    COMMAND
      "${CMAKE_COMMAND}" -D "BUILD_DIR=${GliomaGrading_BINARY_DIR}" -D "WORK_DIR=${GliomaGrading_BINARY_DIR}/installed-program" -D
      "VERSION=${PROJECT_VERSION}" -D "BUNDLE=${CMAKE_CURRENT_BINARY_DIR}/inspect/bundle" -D
      "MODELS_DIR=${GliomaGrading_SOURCE_DIR}/examples/glioma/models" -P "${CMAKE_CURRENT_SOURCE_DIR}/InstalledProgram.cmake"
  )
  # The bundle is written by InspectTests.cmake.
  set_tests_properties(${_Build}InstalledProgram PROPERTIES FIXTURES_REQUIRED InspectBundle)
endif()
