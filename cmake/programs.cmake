# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# How our own tests, examples and benchmarks are compiled. Nothing here reaches a user's target.

if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release)
endif()
set(CMAKE_CXX_EXTENSIONS OFF)

add_library(moebal_program INTERFACE)
target_link_libraries(moebal_program INTERFACE moebal::moebal)
target_compile_options(moebal_program INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wpedantic -Wshadow>
  $<$<AND:$<COMPILE_LANGUAGE:CXX>,$<BOOL:${MOEBAL_WERROR}>>:-Werror>
  # Warnings of g++ 12 about its own headers once they are inlined (AVX-512 intrinsics under Eigen, std::string), and of clang
  # about -march=native on processors newer than itself.
  $<$<COMPILE_LANG_AND_ID:CXX,GNU>:-Wno-maybe-uninitialized -Wno-uninitialized -Wno-array-bounds -Wno-stringop-overflow -Wno-restrict>
  $<$<COMPILE_LANG_AND_ID:CXX,Clang>:-Wno-unknown-warning-option -Wno-invalid-feature-combination>
  $<$<AND:$<COMPILE_LANGUAGE:CXX>,$<BOOL:${MOEBAL_NATIVE}>>:-march=native>)
if(MOEBAL_SANITIZE)
  # Instrumented code makes g++ warn of what is not there; warnings are the business of the plain builds.
  target_compile_options(moebal_program INTERFACE -w
    -fsanitize=${MOEBAL_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer -g1)
  target_link_options(moebal_program INTERFACE -fsanitize=${MOEBAL_SANITIZE})
endif()

# moebal_add_program(<target> <source>... [LINK <library>...])
function(moebal_add_program target)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "LINK")
  add_executable(${target} ${arg_UNPARSED_ARGUMENTS})
  target_link_libraries(${target} PRIVATE moebal_program ${arg_LINK})
endfunction()
