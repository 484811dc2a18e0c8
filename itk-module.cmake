# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
set(DOCUMENTATION
    "Filters that take the four MRI sequences of a brain with a glioma to a tumour mask, a grade (LGG or HGG), maps that
explain the grade and numbers that check the explanation. The networks run in LibTorch. Research use only."
)

# The tests in Python pass arrays.
set(_gliomagrading_python_test_depends "")
if(ITK_WRAP_PYTHON)
  set(_gliomagrading_python_test_depends ITKBridgeNumPy)
endif()

itk_module(
  GliomaGrading
  DEPENDS
    ITKCommon
    ITKImageFunction
    ITKImageGrid
    ITKMetricsv4
    ITKOptimizersv4
    ITKRegistrationMethodsv4
    ITKTransform
  PRIVATE_DEPENDS
    ITKIOImageBase
    ITKIOMeta
    ITKZLIB
  COMPILE_DEPENDS
    ITKDistanceMap
    ITKSmoothing
    ITKThresholding
  TEST_DEPENDS
    ITKTestKernel
    ITKGoogleTest
    ITKMetaIO
    ITKBiasCorrection
    ITKConnectedComponents
    ITKImageCompose
    ITKImageFilterBase
    ITKIONIFTI
    ITKIONRRD
    ITKIOPNG
    ${_gliomagrading_python_test_depends}
  DESCRIPTION "${DOCUMENTATION}"
  EXCLUDE_FROM_DEFAULT
  ENABLE_SHARED
)
