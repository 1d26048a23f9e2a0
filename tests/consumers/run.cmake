# Configures, builds and runs one consumer in an empty folder; segnet is installed into an empty prefix for find_package.
function(run)
  execute_process(COMMAND ${ARGV} COMMAND_ECHO STDOUT COMMAND_ERROR_IS_FATAL ANY)
endfunction()

if(CONSUMER STREQUAL "find_package_kernel")
  set(of_cuda -DCMAKE_CUDA_COMPILER=${CUDA_COMPILER} -DCMAKE_CUDA_ARCHITECTURES=${CUDA_ARCHITECTURES})
endif()
set(work ${SEGNET_BUILD}/consumers/${CONSUMER})
file(REMOVE_RECURSE ${work})
if(CONSUMER MATCHES "^find_package")
  run(${CMAKE_COMMAND} --install ${SEGNET_BUILD} --prefix ${work}/prefix)
endif()
run(${CMAKE_COMMAND} -S ${CMAKE_CURRENT_LIST_DIR}/${CONSUMER} -B ${work}/build -G ${GENERATOR} -DCMAKE_CXX_COMPILER=${COMPILER}
    -DCMAKE_PREFIX_PATH=${work}/prefix -DSEGNET_SOURCE=${SEGNET_SOURCE} ${of_cuda})
run(${CMAKE_COMMAND} --build ${work}/build)
run(${work}/build/program)
