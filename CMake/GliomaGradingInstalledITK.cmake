# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0

# Builds the module against an installed ITK, which brings no module macros.

# The library's, which its package names to those who use it: as in itk-module.cmake, and the formats that CohortReader reads by
# itself here. In ITK's tree no library registers any.
set(GliomaGrading_ITK_COMPONENTS
    ITKCommon
    ITKDistanceMap
    ITKImageFunction
    ITKImageGrid
    ITKIOImageBase
    ITKIOMeta
    ITKIONIFTI
    ITKIONRRD
    ITKMetricsv4
    ITKOptimizersv4
    ITKRegistrationMethodsv4
    ITKSmoothing
    ITKThresholding
    ITKTransform
    ITKZLIB
)
# What the application, the Python package and the tests want besides.
set(GliomaGrading_PROGRAM_ITK_COMPONENTS
    ITKBinaryMathematicalMorphology
    ITKConnectedComponents
    ITKImageCompose
    ITKImageFilterBase
    ITKMathematicalMorphology
    ITKIOPNG
    ITKIOGDCM
)
option(BUILD_SHARED_LIBS "Build a shared library" ON)
option(BUILD_TESTING "Build the tests" ON)
option(GliomaGrading_BUILD_EXAMPLES "Build the example programs and the application glioma" ON)
if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE
      Release
      CACHE STRING "Build type" FORCE
  )
endif()
option(GliomaGrading_BUILD_PYTHON "Build the Python package gliomagrading (needs the examples)" OFF)
if(GliomaGrading_BUILD_PYTHON AND CMAKE_VERSION VERSION_LESS 3.18)
  message(FATAL_ERROR "The Python package needs CMake 3.18 or newer, this is ${CMAKE_VERSION}: pip install cmake, or leave GliomaGrading_BUILD_PYTHON off.")
endif()
find_program(GliomaGrading_CCACHE ccache)
if(GliomaGrading_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER "${GliomaGrading_CCACHE}")
endif()

# With these alone the library is built; src/ includes ITK's settings itself.
find_package(ITK 5.2 REQUIRED COMPONENTS ${GliomaGrading_ITK_COMPONENTS})
include("${PROJECT_SOURCE_DIR}/itk-module-init.cmake")
include(GNUInstallDirs)
include(GenerateExportHeader)
include(CMakePackageConfigHelpers)

set(CMAKE_CXX_STANDARD 17)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/bin")
set(CMAKE_LIBRARY_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/lib")
set(CMAKE_ARCHIVE_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/lib")
# What is installed finds its own library beside it and LibTorch where it was at build time.
set(CMAKE_INSTALL_RPATH "\$ORIGIN;\$ORIGIN/../${CMAKE_INSTALL_LIBDIR};${GliomaGrading_TORCH_RPATH}")
# So too an ITK outside the system's folders.
get_target_property(_itk_folder ITKCommon LOCATION)
get_filename_component(_itk_folder "${_itk_folder}" DIRECTORY)
if(NOT _itk_folder IN_LIST CMAKE_CXX_IMPLICIT_LINK_DIRECTORIES)
  list(APPEND CMAKE_INSTALL_RPATH "${_itk_folder}")
endif()
set(GliomaGrading_INSTALL_PACKAGE_DIR "${CMAKE_INSTALL_LIBDIR}/cmake/GliomaGrading")

# Warnings of our own files; ITK's and LibTorch's headers are system headers.
add_compile_options(
  "$<$<AND:$<COMPILE_LANGUAGE:CXX>,$<CXX_COMPILER_ID:GNU,Clang,AppleClang>>:-Wall>"
  "$<$<AND:$<COMPILE_LANGUAGE:CXX>,$<CXX_COMPILER_ID:GNU,Clang,AppleClang>>:-Wextra>"
)

function(glioma_grading_add_library _name)
  add_library(${_name} ${ARGN})
  add_library(${_name}::${_name} ALIAS ${_name})
  generate_export_header(
    ${_name}
    EXPORT_MACRO_NAME ${_name}_EXPORT
    NO_EXPORT_MACRO_NAME ${_name}_HIDDEN
    EXPORT_FILE_NAME "${PROJECT_BINARY_DIR}/include/${_name}Export.h"
    STATIC_DEFINE ITK_STATIC
  )
  target_include_directories(
    ${_name}
    PUBLIC "$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>" "$<BUILD_INTERFACE:${PROJECT_BINARY_DIR}/include>"
           "$<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}/GliomaGrading>"
  )
  target_link_libraries(${_name} PUBLIC ${ITK_LIBRARIES})
  target_compile_features(${_name} INTERFACE cxx_std_17)
  set_target_properties(
    ${_name} PROPERTIES VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR}
  )

  get_target_property(_type ${_name} TYPE)
  if(_type STREQUAL "SHARED_LIBRARY")
    set(GliomaGrading_SHARED ON)
  else()
    set(GliomaGrading_SHARED OFF)
  endif()
  install(
    TARGETS ${_name}
    EXPORT ${_name}Targets
    RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}"
    LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}"
    ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}"
  )
  install(
    DIRECTORY "${PROJECT_SOURCE_DIR}/include/"
    DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/GliomaGrading"
    FILES_MATCHING
    PATTERN "*.h"
    PATTERN "*.hxx"
  )
  install(FILES "${PROJECT_BINARY_DIR}/include/${_name}Export.h" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/GliomaGrading")
  install(
    EXPORT ${_name}Targets
    NAMESPACE ${_name}::
    DESTINATION "${GliomaGrading_INSTALL_PACKAGE_DIR}"
  )
  configure_package_config_file(
    "${PROJECT_SOURCE_DIR}/CMake/GliomaGradingConfig.cmake.in" "${PROJECT_BINARY_DIR}/package/${_name}Config.cmake"
    INSTALL_DESTINATION "${GliomaGrading_INSTALL_PACKAGE_DIR}"
  )
  write_basic_package_version_file(
    "${PROJECT_BINARY_DIR}/package/${_name}ConfigVersion.cmake" COMPATIBILITY SameMinorVersion
  )
  install(
    FILES "${PROJECT_BINARY_DIR}/package/${_name}Config.cmake" "${PROJECT_BINARY_DIR}/package/${_name}ConfigVersion.cmake"
          "${PROJECT_SOURCE_DIR}/CMake/GliomaGradingFindLibTorch.cmake"
          "${PROJECT_SOURCE_DIR}/CMake/GliomaGradingLibTorchABI.cxx"
    DESTINATION "${GliomaGrading_INSTALL_PACKAGE_DIR}"
  )
endfunction()

add_subdirectory(src)

set(_components ${GliomaGrading_ITK_COMPONENTS} ${GliomaGrading_PROGRAM_ITK_COMPONENTS})
if(BUILD_TESTING)
  list(APPEND _components ITKTestKernel ITKBiasCorrection)
endif()
find_package(ITK 5.2 REQUIRED COMPONENTS ${_components})
include(${ITK_USE_FILE})
if(GliomaGrading_BUILD_EXAMPLES)
  add_subdirectory(examples)
endif()
if(GliomaGrading_BUILD_PYTHON)
  add_subdirectory(wrapping/python)
endif()
if(BUILD_TESTING)
  enable_testing()
  add_subdirectory(test)
endif()
