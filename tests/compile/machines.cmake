# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# cmake -D COMPILER=... -D OBJDUMP=... -D SOURCE=... -D INCLUDE=<dir> -D EIGEN=<dir> -D OBJECT=... -P machines.cmake
# Compiles a source without -march at two levels of optimisation, with warnings as errors, and reads the object code:
# wide registers are used inside the functions that are compiled for a machine (run) alone, and these call no other
# function of the library than one another.
foreach(level -O2 -O3)
  execute_process(COMMAND ${COMPILER} -std=c++20 ${level} -DNDEBUG -Wall -Wextra -Wshadow -Werror -I ${INCLUDE} -isystem ${EIGEN} -c ${SOURCE}
    -o ${OBJECT} COMMAND_ERROR_IS_FATAL ANY)
  execute_process(COMMAND ${OBJDUMP} -dr --no-show-raw-insn ${OBJECT} OUTPUT_VARIABLE code COMMAND_ERROR_IS_FATAL ANY)
  string(REPLACE ";" "," code "${code}")
  string(REPLACE "[" "(" code "${code}")
  string(REPLACE "]" ")" code "${code}")
  string(REGEX REPLACE "\n[0-9a-f]+ <" ";<" functions "${code}")
  set(machines 0)
  foreach(function IN LISTS functions)
    string(REGEX MATCH "^<([^>]*)>:" ignored "${function}")
    set(name "${CMAKE_MATCH_1}")
    if(name MATCHES "^_ZN6moebal(4Avx2|6Avx512)3run")
      math(EXPR machines "${machines} + 1")
      string(REGEX MATCHALL "R_X86_64_(PLT32|PC32)[ \t]+_Z[A-Za-z0-9_]*" calls "${function}")
      foreach(call IN LISTS calls)
        if(call MATCHES "_ZNK?6moebal" AND NOT call MATCHES "_ZN6moebal(4Avx2|6Avx512)3run")
          message(FATAL_ERROR "${level}: ${name}\n  does not contain what it calls: ${call}")
        endif()
      endforeach()
    elseif(function MATCHES "%[yz]mm")
      message(FATAL_ERROR "${level}: wide registers outside the functions for a machine: ${name}")
    endif()
  endforeach()
  if(machines LESS 4)
    message(FATAL_ERROR "${level}: ${machines} functions for a machine: nothing is chosen at run time")
  endif()
endforeach()
