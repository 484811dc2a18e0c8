file(READ "${CMAKE_CURRENT_LIST_DIR}/README.md" DOCUMENTATION)

itk_module(
  GliomaGrading
  DEPENDS
    ITKCommon
    ITKIOImageBase
    ITKImageFunction
    ITKImageGrid
    ITKStatistics
    ITKTransform
  PRIVATE_DEPENDS
    ITKIOMeta
  COMPILE_DEPENDS
    ITKConnectedComponents
    ITKImageFilterBase
    ITKImageIntensity
    ITKImageStatistics
    ITKBinaryMathematicalMorphology
    ITKLabelMap
    ITKSmoothing
    ITKThresholding
  TEST_DEPENDS
    ITKTestKernel
    ITKGoogleTest
    ITKMetaIO
    ITKBiasCorrection
    ITKIONIFTI
    ITKIONRRD
  DESCRIPTION "${DOCUMENTATION}"
  EXCLUDE_FROM_DEFAULT
  ENABLE_SHARED
)
