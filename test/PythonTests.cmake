# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0

# Tests against eager PyTorch, which is the torch package that the module is linked to.
if(NOT Python3_Interpreter_FOUND)
  return()
endif()
get_filename_component(_site_packages "${GliomaGrading_TORCH_ROOT}" DIRECTORY)
add_test(NAME ${_Python}EqualsPyTorch COMMAND "${Python3_EXECUTABLE}" "${CMAKE_CURRENT_SOURCE_DIR}/python/compare_with_pytorch.py"
                                           "$<TARGET_FILE:RunBundle>"
)
set_tests_properties(${_Python}EqualsPyTorch PROPERTIES SKIP_RETURN_CODE 77 ENVIRONMENT "PYTHONPATH=${_site_packages};PYTHONDONTWRITEBYTECODE=1")

add_test(NAME ${_Python}MeanOfGraders COMMAND "${Python3_EXECUTABLE}" "${CMAKE_CURRENT_SOURCE_DIR}/python/test_mean_of_graders.py"
                                          "$<TARGET_FILE:RunBundle>" "${GliomaGrading_SOURCE_DIR}"
)
set_tests_properties(${_Python}MeanOfGraders PROPERTIES SKIP_RETURN_CODE 77 ENVIRONMENT "PYTHONPATH=${_site_packages};PYTHONDONTWRITEBYTECODE=1")

add_executable(ExplainProgram ExplainProgram.cxx ${_test_sources})
target_link_libraries(ExplainProgram PRIVATE ${_test_libraries})
add_test(NAME ${_Python}ExplanationsEqualPyTorch COMMAND "${Python3_EXECUTABLE}" "${CMAKE_CURRENT_SOURCE_DIR}/python/test_explanations_equal_pytorch.py"
                                                      "$<TARGET_FILE:RunBundle>" "$<TARGET_FILE:ExplainProgram>"
)
set_tests_properties(${_Python}ExplanationsEqualPyTorch PROPERTIES SKIP_RETURN_CODE 77 ENVIRONMENT "PYTHONPATH=${_site_packages};PYTHONDONTWRITEBYTECODE=1")
set(_glioma)
if(TARGET glioma)
  set(_glioma "$<TARGET_FILE:glioma>")
endif()
add_test(NAME ${_Python}EqualsMonai COMMAND "${Python3_EXECUTABLE}" "${CMAKE_CURRENT_SOURCE_DIR}/python/test_monai_models.py"
                                         "$<TARGET_FILE:RunBundle>" ${_glioma}
)
set_tests_properties(${_Python}EqualsMonai PROPERTIES SKIP_RETURN_CODE 77 ENVIRONMENT "PYTHONPATH=${_site_packages};PYTHONDONTWRITEBYTECODE=1")
add_test(NAME ${_Python}CompiledPackage COMMAND "${Python3_EXECUTABLE}" "${CMAKE_CURRENT_SOURCE_DIR}/python/test_compiled_package.py"
                                             "$<TARGET_FILE:RunBundle>" ${_glioma}
)
set_tests_properties(${_Python}CompiledPackage PROPERTIES SKIP_RETURN_CODE 77 ENVIRONMENT "PYTHONPATH=${_site_packages};PYTHONDONTWRITEBYTECODE=1")

add_test(NAME ${_Python}ExplanationsEqualTools COMMAND "${Python3_EXECUTABLE}" "${CMAKE_CURRENT_SOURCE_DIR}/python/test_explanations_equal_tools.py"
                                                    "$<TARGET_FILE:RunBundle>" "$<TARGET_FILE:ExplainProgram>"
)
set_tests_properties(${_Python}ExplanationsEqualTools PROPERTIES SKIP_RETURN_CODE 77 ENVIRONMENT "PYTHONPATH=${_site_packages};PYTHONDONTWRITEBYTECODE=1")
if(TARGET ExplanationQuality)
  add_test(NAME ${_Python}QualityEqualsQuantus COMMAND "${Python3_EXECUTABLE}" "${CMAKE_CURRENT_SOURCE_DIR}/python/test_quality_equals_quantus.py"
                                                    "$<TARGET_FILE:ExplanationQuality>"
  )
  set_tests_properties(${_Python}QualityEqualsQuantus PROPERTIES SKIP_RETURN_CODE 77 ENVIRONMENT "PYTHONDONTWRITEBYTECODE=1")
endif()

if(TARGET GliomaEvaluation)
  add_executable(EvaluationProgram EvaluationProgram.cxx)
  target_link_libraries(EvaluationProgram PRIVATE GliomaEvaluation)
  add_test(NAME ${_Python}EvaluationEqualsOthers COMMAND "${Python3_EXECUTABLE}" "${CMAKE_CURRENT_SOURCE_DIR}/python/test_evaluation_equals_others.py"
                                                      "$<TARGET_FILE:EvaluationProgram>"
  )
  set_tests_properties(${_Python}EvaluationEqualsOthers PROPERTIES SKIP_RETURN_CODE 77 ENVIRONMENT "PYTHONDONTWRITEBYTECODE=1")
endif()

add_test(NAME ${_Python}ScoresAndModelCard COMMAND "${Python3_EXECUTABLE}" "${CMAKE_CURRENT_SOURCE_DIR}/python/test_scores_and_model_card.py"
                                                "${GliomaGrading_SOURCE_DIR}"
)
set_tests_properties(${_Python}ScoresAndModelCard PROPERTIES SKIP_RETURN_CODE 77 ENVIRONMENT "PYTHONDONTWRITEBYTECODE=1")

# The application as a user calls it.
if(TARGET glioma)
  add_test(NAME ${_Python}ViewerSetup COMMAND "${Python3_EXECUTABLE}" "${CMAKE_CURRENT_SOURCE_DIR}/python/test_viewer_setup.py"
                                           "${GliomaGrading_SOURCE_DIR}"
  )
  set_tests_properties(${_Python}ViewerSetup PROPERTIES ENVIRONMENT "PYTHONDONTWRITEBYTECODE=1")
  add_test(NAME Application:Grade COMMAND "${Python3_EXECUTABLE}" "${CMAKE_CURRENT_SOURCE_DIR}/python/test_glioma_grade.py"
                                          "$<TARGET_FILE:glioma>" "$<TARGET_FILE:RunBundle>"
                                          "${GliomaGrading_SOURCE_DIR}/examples/glioma/result.schema.json"
  )
  set_tests_properties(Application:Grade PROPERTIES SKIP_RETURN_CODE 77 ENVIRONMENT "PYTHONDONTWRITEBYTECODE=1")
  add_test(NAME Application:Options COMMAND "${Python3_EXECUTABLE}" "${CMAKE_CURRENT_SOURCE_DIR}/python/test_glioma_options.py"
                                            "$<TARGET_FILE:glioma>"
  )
  set_tests_properties(Application:Options PROPERTIES ENVIRONMENT "PYTHONDONTWRITEBYTECODE=1")
  add_test(NAME Application:Evaluate COMMAND "${Python3_EXECUTABLE}" "${CMAKE_CURRENT_SOURCE_DIR}/python/test_glioma_evaluate.py"
                                             "$<TARGET_FILE:glioma>" "$<TARGET_FILE:RunBundle>"
                                             "${GliomaGrading_SOURCE_DIR}/examples/glioma/evaluation.schema.json"
  )
  set_tests_properties(Application:Evaluate PROPERTIES SKIP_RETURN_CODE 77 ENVIRONMENT "PYTHONDONTWRITEBYTECODE=1")
  add_test(NAME Application:TrainingScripts COMMAND "${Python3_EXECUTABLE}" "${CMAKE_CURRENT_SOURCE_DIR}/python/test_training_scripts.py"
                                                    "$<TARGET_FILE:glioma>" "$<TARGET_FILE:RunBundle>" "${GliomaGrading_SOURCE_DIR}"
  )
  set_tests_properties(Application:TrainingScripts PROPERTIES LABELS slow ENVIRONMENT "PYTHONDONTWRITEBYTECODE=1")
  add_test(NAME Application:RealScans COMMAND "${Python3_EXECUTABLE}" "${CMAKE_CURRENT_SOURCE_DIR}/python/test_real_scans.py"
                                              "$<TARGET_FILE:glioma>" "$<TARGET_FILE:RunBundle>" "${GliomaGrading_SOURCE_DIR}/examples"
  )
  set_tests_properties(Application:RealScans PROPERTIES SKIP_RETURN_CODE 77 ENVIRONMENT "PYTHONDONTWRITEBYTECODE=1")
  foreach(_case phantom patient)
    add_test(NAME Application:TurnedGrid-${_case} COMMAND "${Python3_EXECUTABLE}" "${CMAKE_CURRENT_SOURCE_DIR}/python/test_turned_grid.py"
                                                          "$<TARGET_FILE:glioma>" "${GliomaGrading_SOURCE_DIR}/examples/glioma/models" ${_case}
    )
    set_tests_properties(
      Application:TurnedGrid-${_case} PROPERTIES SKIP_RETURN_CODE 77 LABELS slow ENVIRONMENT "PYTHONDONTWRITEBYTECODE=1"
    )
  endforeach()
  add_test(NAME Application:ReportPage COMMAND "${Python3_EXECUTABLE}" "${CMAKE_CURRENT_SOURCE_DIR}/python/test_report_page.py"
                                               "$<TARGET_FILE:glioma>"
  )
  set_tests_properties(Application:ReportPage PROPERTIES SKIP_RETURN_CODE 77 ENVIRONMENT "PYTHONDONTWRITEBYTECODE=1")
endif()

# The Python package, as it lies in the build folder.
if(TARGET GliomaPython)
  foreach(_part cohort filters images interrupts loading notebooks sequences typing wheel)
    add_test(NAME ${_Python}Package-${_part} COMMAND "${Python3_EXECUTABLE}" -m pytest -q -p no:cacheprovider -W ignore::DeprecationWarning
                                                  "${GliomaGrading_SOURCE_DIR}/wrapping/python/tests/test_${_part}.py"
    )
    set_tests_properties(
      ${_Python}Package-${_part} PROPERTIES ENVIRONMENT "PYTHONPATH=${GliomaGrading_BINARY_DIR}/python;PYTHONDONTWRITEBYTECODE=1;GLIOMAGRADING_BUILD=${GliomaGrading_BINARY_DIR}"
    )
  endforeach()
endif()
