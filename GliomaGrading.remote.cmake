# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
#
# For Modules/Remote of ITK's source tree. Until the module has a public address, give where it lies:
#   cmake -D GliomaGrading_GIT_REPOSITORY=<address> -D GliomaGrading_GIT_TAG=<full hash> -D Module_GliomaGrading=ON ...
#
#-- # Grading Level Criteria Report
#-- EVALUATION DATE: 2026-11-26
#-- EVALUATORS: [The GliomaGrading contributors]
#--
#-- ## Compliance level 5 star (AKA ITK main modules, or remote modules that could become core modules)
#--   - [ ] Widespread community dependance
#--   - [ ] Above 90% code coverage
#--   - [ ] CI dashboards and testing monitored rigorously
#--   - [ ] Key API features are exposed in wrapping interface
#--   - [ ] All requirements of Levels 4,3,2,1
#--
#-- ## Compliance Level 4 star (Very high-quality code, perhaps small community dependance)
#--   - [X] Meets all ITK code style standards
#--   - [ ] No external requirements beyond those needed by ITK proper
#--   - [ ] Builds and passes tests on all supported platforms within 1 month of each core tagged release
#--            - [ ] Windows Shared Library Build with Visual Studio
#--            - [ ] Mac with clang compiller
#--            - [X] Linux with gcc compiler
#--   - [ ] Active developer community dedicated to maintaining code-base
#--   - [ ] 75% code coverage demonstrated for testing suite
#--   - [X] Continuous integration testing performed
#--   - [ ] All requirements of Levels 3,2,1
#--
#-- ## Compliance Level 3 star (Quality beta code)
#--   - [ ] API | executable interface is considered mostly stable and feature complete
#--   - [ ] 10% C0-code coverage demonstrated for testing suite
#--   - [X] Some tests exist and pass on at least some platform
#--   - [X] All requirements of Levels 2,1
#--
#-- ## Compliance Level 2 star (Alpha code feature API development or niche community/execution environment dependance )
#--   - [X] Compiles for at least 1 niche set of execution envirionments, and perhaps others
#--         (may depend on specific external tools like a java environment, or specific external libraries to work )
#--   - [X] All requirements of Levels 1
#--
#-- ## Compliance Level 1 star (Pre-alpha features under development and code of unknown quality)
#--   - [X] Code complies on at least 1 platform
#--
#-- ## Compliance Level 0 star ( Code/Feature of known poor-quality or deprecated status )
#--   - [ ] Code reviewed and explicitly identified as not recommended for use
#--
#-- ### Please document here any justification for the criteria above
#       Level 2 is claimed. Level 3 is the highest that a module with LibTorch can reach (level 4 allows no external
#       requirement); its open boxes are owed before the module is proposed for ITK's list.
#       Built and tested on Debian 12 (GCC 12, LibTorch 2.13.0): against ITK 5.2.1 by test/run.sh, in the tree of ITK 5.4.7 by
#       test/upstream.sh. Windows and macOS were never tried.
# ITK would go on without the module and say nothing.
if(Module_GliomaGrading AND NOT EXISTS "${CMAKE_CURRENT_LIST_DIR}/GliomaGrading"
   AND NOT (GliomaGrading_GIT_REPOSITORY AND GliomaGrading_GIT_TAG)
)
  message(FATAL_ERROR "Module_GliomaGrading wants -DGliomaGrading_GIT_REPOSITORY=<address> and -DGliomaGrading_GIT_TAG=<full hash>.")
endif()
itk_fetch_module(
  GliomaGrading
  "Segments and grades gliomas in four MRI sequences and explains the grade, with LibTorch. After Pereira et al. 2018, https://arxiv.org/abs/1809.09468"
  MODULE_COMPLIANCE_LEVEL 2
  GIT_REPOSITORY ${GliomaGrading_GIT_REPOSITORY}
  GIT_TAG ${GliomaGrading_GIT_TAG}
)
