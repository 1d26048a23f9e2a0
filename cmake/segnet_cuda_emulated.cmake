# segnet::cuda_emulated: the kernels of cuda/ as C++, for a GPU in software (cuda/emulated/machine.hpp). It stands in for segnet::cuda where there is no GPU or
# nvcc: in tests, under sanitizers and debuggers. It is exact and slow.
file(GLOB machine CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/cuda/emulated/*.cpp)
set_source_files_properties(${machine} PROPERTIES COMPILE_OPTIONS -fno-sanitize=thread)  # it says itself what a kernel does (races.hpp)
segnet_kernel_units(units cpp)  # files of their own: what language a .cu is in, only one target can say
set_source_files_properties(${PROJECT_BINARY_DIR}/kernels/elementwise.cpp PROPERTIES COMPILE_OPTIONS -O0)  # very many, and each runs shortly
add_library(segnet_cuda_emulated STATIC EXCLUDE_FROM_ALL ${machine} ${units})
add_library(segnet::cuda_emulated ALIAS segnet_cuda_emulated)
target_link_libraries(segnet_cuda_emulated PUBLIC segnet)
target_include_directories(segnet_cuda_emulated BEFORE PRIVATE ${PROJECT_SOURCE_DIR}/cuda/emulated INTERFACE ${CMAKE_CURRENT_BINARY_DIR}/include)
target_compile_definitions(segnet_cuda_emulated PRIVATE SEGNET_EMULATED_GPU=1 INTERFACE SEGNET_CUDA=1)
target_compile_options(segnet_cuda_emulated PRIVATE -O1 -Wno-unknown-pragmas -Wno-psabi)  # most of its time goes into changing threads
