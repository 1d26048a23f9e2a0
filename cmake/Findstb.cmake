# stb::stb: the folder of stb_image.h, so that <stb_image.h> and <stb_image_write.h> are found.
find_path(stb_INCLUDE_DIR stb_image.h PATH_SUFFIXES stb)
mark_as_advanced(stb_INCLUDE_DIR)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(stb REQUIRED_VARS stb_INCLUDE_DIR)

if(stb_FOUND AND NOT TARGET stb::stb)
  if(CMAKE_FIND_PACKAGE_TARGETS_GLOBAL)
    add_library(stb::stb INTERFACE IMPORTED GLOBAL)
  else()
    add_library(stb::stb INTERFACE IMPORTED)
  endif()
  target_include_directories(stb::stb INTERFACE ${stb_INCLUDE_DIR})
endif()
