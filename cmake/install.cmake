# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# `cmake --install` and find_package(moebal [COMPONENTS kokkos thrust mpi nccl]). All headers are installed; what an adapter
# needs is looked for on the machine that asks for the component.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
set(moebal_config_dir ${CMAKE_INSTALL_DATADIR}/cmake/moebal)

foreach(target moebal ${moebal_adapters})
  if(target STREQUAL "moebal")
    set(library moebal)
  else()
    set(library moebal_${target})
  endif()
  install(TARGETS ${library} EXPORT moebal-${target} FILE_SET HEADERS)
  install(EXPORT moebal-${target} NAMESPACE moebal:: DESTINATION ${moebal_config_dir})
endforeach()

configure_package_config_file(cmake/moebal-config.cmake.in moebal-config.cmake INSTALL_DESTINATION ${moebal_config_dir})
write_basic_package_version_file(moebal-config-version.cmake COMPATIBILITY SameMinorVersion ARCH_INDEPENDENT)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/moebal-config.cmake ${CMAKE_CURRENT_BINARY_DIR}/moebal-config-version.cmake
  DESTINATION ${moebal_config_dir})
install(DIRECTORY cmake/find DESTINATION ${moebal_config_dir})
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
