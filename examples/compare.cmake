# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# cmake -D program=<file> [-D arguments=...] -D expected=<file> -P compare.cmake: runs the program and compares what it prints.
execute_process(COMMAND ${program} ${arguments} OUTPUT_VARIABLE had RESULT_VARIABLE status)
file(READ ${expected} needed)
if(NOT status EQUAL 0 OR NOT had STREQUAL needed)
  message(FATAL_ERROR "${program} ended with ${status}\n--- needed\n${needed}\n--- had\n${had}")
endif()
