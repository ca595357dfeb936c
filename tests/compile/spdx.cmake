# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# cmake -D root=<folder of the project> -P spdx.cmake: does each file name its licence?
# Sources do it in their first three lines; a page to read may do it at its end.
cmake_minimum_required(VERSION 3.25)

# What cannot hold a comment, or is data.
set(without "LICENSE$|packages\\.txt$|\\.(json|expected|tsv|xz|svg|png|npy|html)$")

foreach(folder include tests examples bench cmake scripts docs .ci)
  file(GLOB_RECURSE found RELATIVE ${root} ${root}/${folder}/*)
  list(APPEND files ${found})
endforeach()
file(GLOB found RELATIVE ${root} ${root}/*.md ${root}/CMakeLists.txt ${root}/.clang-format ${root}/.gitignore)
list(APPEND files ${found})
list(FILTER files EXCLUDE REGEX "${without}")
foreach(file IN LISTS files)
  set(limit LIMIT_COUNT 3)
  if(file MATCHES "\\.md$")
    set(limit "")
  endif()
  file(STRINGS ${root}/${file} lines ${limit})
  if(NOT "${lines}" MATCHES "SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception")
    message(SEND_ERROR "moebal: ${file} does not name its licence: needed an SPDX line, as in CMakeLists.txt")
  endif()
endforeach()
list(LENGTH files number)
message(STATUS "${number} files")
