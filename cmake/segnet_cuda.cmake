# segnet::cuda: the kernels of cuda/ for the standard element types, in one static library. It exists where nvcc does; programs that
# link to it use Tensor<T, Cuda> from plain .cpp files. SEGNET_CUDA=OFF leaves it out.
# #include <segnet/cuda/pooling.cuh>, here as in an installation.
file(MAKE_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/include/segnet)
file(CREATE_LINK ${CMAKE_CURRENT_SOURCE_DIR}/cuda ${CMAKE_CURRENT_BINARY_DIR}/include/segnet/cuda SYMBOLIC)

option(SEGNET_CUDA "Build the CUDA kernels where nvcc is found" ON)
if(NOT SEGNET_CUDA)
  return()
endif()
include(CheckLanguage)
check_language(CUDA)
if(NOT CMAKE_CUDA_COMPILER)
  message(STATUS "segnet::cuda is left out: no nvcc was found (CUDA Toolkit 12 or later)")
  return()
endif()
# Before the language is enabled, or CMake chooses one itself. Turing to Blackwell; 90a has Hopper's own matrix instructions.
if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES 75-real 80-real 86-real 89-real 90a-real 100-real 120 CACHE STRING "GPUs to compile for")
endif()
enable_language(CUDA)
find_package(CUDAToolkit REQUIRED)

file(GLOB segnet_cuda_sources CONFIGURE_DEPENDS cuda/*.cu)
add_library(segnet_cuda STATIC ${segnet_cuda_sources})
add_library(segnet::cuda ALIAS segnet_cuda)
set_target_properties(segnet_cuda PROPERTIES EXPORT_NAME cuda)
if(NOT PROJECT_IS_TOP_LEVEL)
  set_target_properties(segnet_cuda PROPERTIES EXCLUDE_FROM_ALL ON)  # built when something links to it
endif()
target_link_libraries(segnet_cuda PUBLIC segnet CUDA::cudart_static CUDA::cublas CUDA::cublasLt)
# For users' own .cu files too: CMake 3.25 does not know C++20 for nvcc 13, and nvcc does not know g++'s unrolling pragma.
target_compile_options(segnet_cuda PUBLIC $<$<COMPILE_LANGUAGE:CUDA>:-std=c++20 -diag-suppress=1675,554>)
target_include_directories(segnet_cuda PUBLIC $<BUILD_INTERFACE:${CMAKE_CURRENT_BINARY_DIR}/include> $<INSTALL_INTERFACE:include>)
target_compile_definitions(segnet_cuda INTERFACE SEGNET_CUDA=1)  # for programs that run with and without: #if defined(SEGNET_CUDA)
if(SEGNET_NOT_RUN_FLAGS)  # compiled to see that it compiles: fast
  if(CMAKE_CUDA_COMPILER_VERSION VERSION_GREATER_EQUAL 12.9)
    target_compile_options(segnet_cuda PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:-Ofc=max>)
  else()
    target_compile_options(segnet_cuda PRIVATE "$<$<COMPILE_LANGUAGE:CUDA>:SHELL:-Xcicc -O1 -Xptxas -O0>")
  endif()
endif()
