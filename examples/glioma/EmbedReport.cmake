# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0

# Makes the files of the report a part of the program: cmake -D SOURCE_DIR=report -D OUTPUT=ReportFiles.cxx -P EmbedReport.cmake
cmake_minimum_required(VERSION 3.16.3)
set(_code "#include \"ReportFiles.h\"\n\nnamespace glioma\n{\n")
foreach(_pair "PageHtml page.html" "PageCss page.css" "PageJs page.js" "QualityJson quality.json" "ViewerLicence viewer-licence.txt")
  separate_arguments(_pair)
  list(GET _pair 0 _function)
  list(GET _pair 1 _name)
  file(READ "${SOURCE_DIR}/${_name}" _text)
  string(FIND "${_text}" ")_file_\"" _at)
  if(NOT _at EQUAL -1 OR _text STREQUAL "")
    message(FATAL_ERROR "${SOURCE_DIR}/${_name} is empty or holds the end of a C++ text.")
  endif()
  string(APPEND _code "const char *\nReportFiles::${_function}()\n{\n  return R\"_file_(${_text})_file_\";\n}\n")
endforeach()
string(APPEND _code "} // namespace glioma\n")
file(WRITE "${OUTPUT}" "${_code}")
