# LibTorch as one imported target of our own: TorchConfig.cmake of a CUDA wheel stops where there is no CUDA toolkit.
include("${CMAKE_CURRENT_LIST_DIR}/CMake/GliomaGradingFindLibTorch.cmake")
find_package(nlohmann_json 3.9 REQUIRED)
find_package(OpenSSL REQUIRED COMPONENTS Crypto)
