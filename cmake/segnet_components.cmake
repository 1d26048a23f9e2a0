# Headers that need a library have a target of their own, which exists where the library does.
#
#   segnet::io      io/image.hpp and what reads or writes compressed images: libpng, zlib, stb_image
#   segnet::eigen   core/eigen.hpp, kernels/conv2d_matrix.hpp and what shows convolutions as matrices in report/: Eigen

# segnet_component(NAME LIBRARIES target... PACKAGES cmake_package... DEBIAN debian_package...)
function(segnet_component name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "LIBRARIES;PACKAGES;DEBIAN")
  foreach(package IN LISTS arg_PACKAGES)
    find_package(${package} QUIET)
    if(NOT ${package}_FOUND)
      list(JOIN arg_DEBIAN " " debian)
      message(STATUS "segnet::${name} is left out: ${package} was not found (Debian: apt install ${debian})")
      return()
    endif()
  endforeach()
  add_library(segnet_${name} INTERFACE)
  add_library(segnet::${name} ALIAS segnet_${name})
  set_target_properties(segnet_${name} PROPERTIES EXPORT_NAME ${name})
  target_link_libraries(segnet_${name} INTERFACE segnet ${arg_LIBRARIES})
endfunction()

segnet_component(io LIBRARIES PNG::PNG ZLIB::ZLIB stb::stb PACKAGES PNG ZLIB stb DEBIAN libpng-dev zlib1g-dev libstb-dev)
segnet_component(eigen LIBRARIES Eigen3::Eigen PACKAGES Eigen3 DEBIAN libeigen3-dev)
