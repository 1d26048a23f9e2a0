# The table of networks in the documentation is what the program counts.
execute_process(COMMAND ${PROGRAM} models --markdown OUTPUT_VARIABLE counted RESULT_VARIABLE result)
file(READ ${FILE} documented)
if(NOT result EQUAL 0 OR NOT counted STREQUAL documented)
  message(FATAL_ERROR "${FILE} is not what the program prints; make it so: segnet models --markdown > ${FILE}")
endif()
