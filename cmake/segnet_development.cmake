# For segnet's own tests, benchmarks and examples only: nothing here reaches a project that uses segnet.
include(FetchContent)

if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

find_program(CCACHE ccache)
if(CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE})
endif()

# Our headers are clean under these flags, in g++ and in clang++.
add_library(segnet_warnings INTERFACE)
option(SEGNET_WERROR "Warnings are errors" ON)
target_compile_options(segnet_warnings INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wconversion $<$<BOOL:${SEGNET_WERROR}>:-Werror>)

# segnet_dependency(PACKAGE TARGET target DEBIAN debian_package URL url SHA256 hash)
# Makes `target` available: from the installed package, else from a pinned release that is downloaded and checked.
macro(segnet_dependency package)
  cmake_parse_arguments(dependency "" "TARGET;DEBIAN;URL;SHA256" "" ${ARGN})
  find_package(${package} QUIET)
  if(NOT TARGET ${dependency_TARGET})
    message(STATUS "${package} is not installed (Debian: apt install ${dependency_DEBIAN}); downloading ${dependency_URL}")
    FetchContent_Declare(${package} URL ${dependency_URL} URL_HASH SHA256=${dependency_SHA256} DOWNLOAD_EXTRACT_TIMESTAMP OFF)
    FetchContent_MakeAvailable(${package})
  endif()
endmacro()
