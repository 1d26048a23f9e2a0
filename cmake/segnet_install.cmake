# `cmake --install`: the headers and a package for find_package(segnet [COMPONENTS io eigen cuda]).
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(package_dir ${CMAKE_INSTALL_DATADIR}/cmake/segnet)  # the headers serve every architecture; segnet::cuda is for this one
install(TARGETS segnet EXPORT segnet_targets FILE_SET HEADERS)
install(EXPORT segnet_targets NAMESPACE segnet:: DESTINATION ${package_dir})
foreach(component io eigen)
  if(TARGET segnet_${component})
    install(TARGETS segnet_${component} EXPORT segnet_${component}_targets)
    install(EXPORT segnet_${component}_targets NAMESPACE segnet:: DESTINATION ${package_dir})
  endif()
endforeach()
if(TARGET segnet_cuda)
  install(TARGETS segnet_cuda EXPORT segnet_cuda_targets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
  install(EXPORT segnet_cuda_targets NAMESPACE segnet:: DESTINATION ${package_dir})
  install(DIRECTORY cuda/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/segnet/cuda FILES_MATCHING PATTERN *.cuh PATTERN emulated EXCLUDE)
endif()

write_basic_package_version_file(segnetConfigVersion.cmake COMPATIBILITY SameMinorVersion ARCH_INDEPENDENT)
install(FILES ${CMAKE_CURRENT_LIST_DIR}/segnetConfig.cmake ${CMAKE_CURRENT_LIST_DIR}/Findstb.cmake
              ${CMAKE_CURRENT_BINARY_DIR}/segnetConfigVersion.cmake DESTINATION ${package_dir})
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
