# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# The targets that users link: moebal::moebal, and one for each header that adapts somebody else's library.

# An adapter's headers are found by their names: include/moebal/<room>/<adapter>*.hpp.
set(moebal_adapters kokkos thrust mpi nccl)

function(moebal_headers target)
  target_sources(${target} PUBLIC FILE_SET HEADERS BASE_DIRS include FILES ${ARGN})
endfunction()

file(GLOB_RECURSE moebal_core_headers CONFIGURE_DEPENDS include/moebal/*.hpp)
add_library(moebal INTERFACE)
add_library(moebal::moebal ALIAS moebal)

find_package(Eigen3 3.4 REQUIRED NO_MODULE)
find_package(Threads REQUIRED)
target_compile_features(moebal INTERFACE cxx_std_20)
target_link_libraries(moebal INTERFACE Eigen3::Eigen Threads::Threads)

# The target of an adapter exists in any case, for its headers are installed in any case; it gets its public name
# moebal::<adapter>, which is what users and our tests ask for, only where the adapted library is found.
foreach(adapter IN LISTS moebal_adapters)
  string(TOUPPER ${adapter} upper)
  file(GLOB headers CONFIGURE_DEPENDS include/moebal/*/${adapter}.hpp include/moebal/*/${adapter}_*.hpp
    include/moebal/*/${adapter}*.cuh)
  list(REMOVE_ITEM moebal_core_headers ${headers})
  add_library(moebal_${adapter} INTERFACE)
  set_target_properties(moebal_${adapter} PROPERTIES EXPORT_NAME ${adapter})
  moebal_headers(moebal_${adapter} ${headers})
  if(MOEBAL_${upper} STREQUAL "OFF")
    set(moebal_${adapter}_missing "switched off by MOEBAL_${upper}=OFF")
  else()
    include(cmake/find/${adapter}.cmake)
  endif()
  target_link_libraries(moebal_${adapter} INTERFACE moebal ${moebal_${adapter}_target})
  if(NOT moebal_${adapter}_missing)
    add_library(moebal::${adapter} ALIAS moebal_${adapter})
    message(STATUS "moebal::${adapter}: ${moebal_${adapter}_found}")
  elseif(MOEBAL_${upper} STREQUAL "AUTO")
    message(STATUS "moebal::${adapter}: not here: ${moebal_${adapter}_missing}")
  elseif(NOT MOEBAL_${upper} STREQUAL "OFF")
    message(FATAL_ERROR "moebal: MOEBAL_${upper}=${MOEBAL_${upper}}, but ${moebal_${adapter}_missing}")
  endif()
endforeach()

moebal_headers(moebal ${moebal_core_headers})
