# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0

# glioma inspect on a bundle, on what is none, and on one whose weights were changed.
if(NOT TARGET glioma)
  return()
endif()
set(_folder "${CMAKE_CURRENT_BINARY_DIR}/inspect")
add_test(NAME Inspect:Write COMMAND RunBundle write grading 2 0 0 72 "${_folder}/bundle")
add_test(NAME Inspect:Copy COMMAND "${CMAKE_COMMAND}" -E copy_directory "${_folder}/bundle" "${_folder}/changed")
add_test(NAME Inspect:Change COMMAND "${CMAKE_COMMAND}" -E copy "${CMAKE_CURRENT_LIST_FILE}"
                                     "${_folder}/changed/models/model.safetensors"
)
set_tests_properties(Inspect:Write PROPERTIES FIXTURES_SETUP InspectBundle)
set_tests_properties(Inspect:Copy PROPERTIES FIXTURES_SETUP InspectChanged DEPENDS Inspect:Write FIXTURES_REQUIRED InspectBundle)
set_tests_properties(Inspect:Change PROPERTIES FIXTURES_SETUP InspectChanged DEPENDS Inspect:Copy)

add_test(NAME Inspect:Bundle COMMAND glioma inspect "${_folder}/bundle")
set_tests_properties(
  Inspect:Bundle
  PROPERTIES FIXTURES_REQUIRED InspectBundle PASS_REGULAR_EXPRESSION
             "T1, T1c, T2, FLAIR.*parameters +[1-9][0-9]+.*res3  17.5, 17.5, 17.5; 4, 4, 4"
)
add_test(NAME Inspect:ChangedWeights COMMAND glioma inspect "${_folder}/changed")
set_tests_properties(
  Inspect:ChangedWeights PROPERTIES FIXTURES_REQUIRED InspectChanged PASS_REGULAR_EXPRESSION "glioma inspect: The weights .* bytes, the manifest says"
)
add_test(NAME Inspect:NoBundle COMMAND glioma inspect "${CMAKE_CURRENT_LIST_DIR}")
set_tests_properties(Inspect:NoBundle PROPERTIES PASS_REGULAR_EXPRESSION "glioma inspect: The folder .* is not a model bundle")
