# segnet::cuda_emulated: the kernels of cuda/ as C++, for a GPU in software (cuda/emulated/machine.hpp). It stands in for segnet::cuda where there is no GPU or
# nvcc: in tests, under sanitizers and debuggers. It is exact and slow.
file(GLOB kernels CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR}/cuda ${PROJECT_SOURCE_DIR}/cuda/*.cu)
file(GLOB machine CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/cuda/emulated/*.cpp)
set(units "")
foreach(kernel IN LISTS kernels)  # files of their own: what language a .cu is in, only one target can say
  string(REGEX REPLACE "\\.cu$" ".cpp" unit ${CMAKE_CURRENT_BINARY_DIR}/emulated/${kernel})
  file(CONFIGURE OUTPUT ${unit} CONTENT "#include \"${PROJECT_SOURCE_DIR}/cuda/${kernel}\"\n")
  list(APPEND units ${unit})
endforeach()
set_source_files_properties(${machine} PROPERTIES COMPILE_OPTIONS -fno-sanitize=thread)  # it says itself what a kernel does (races.hpp)
set_source_files_properties(${CMAKE_CURRENT_BINARY_DIR}/emulated/conv2d_wgmma.cpp PROPERTIES COMPILE_OPTIONS -Wno-psabi)  # nobody else passes maps
add_library(segnet_cuda_emulated STATIC EXCLUDE_FROM_ALL ${machine} ${units})
add_library(segnet::cuda_emulated ALIAS segnet_cuda_emulated)
target_link_libraries(segnet_cuda_emulated PUBLIC segnet)
target_include_directories(segnet_cuda_emulated BEFORE PRIVATE ${PROJECT_SOURCE_DIR}/cuda/emulated INTERFACE ${CMAKE_CURRENT_BINARY_DIR}/include)
target_compile_definitions(segnet_cuda_emulated PRIVATE SEGNET_EMULATED_GPU=1 INTERFACE SEGNET_CUDA=1)
target_compile_options(segnet_cuda_emulated PRIVATE -O1 -Wno-unknown-pragmas)  # most of its time goes into changing threads
