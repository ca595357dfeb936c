# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# cmake -D root=<folder of the project> -P spdx.cmake: does each source file name its licence in its first lines?
cmake_minimum_required(VERSION 3.25)

# What cannot hold a comment, or is data.
set(without "LICENSE$|packages\\.txt$|\\.(json|expected|tsv|xz|svg|png|npy|html)$")

foreach(folder include tests examples bench cmake scripts docs .ci)
  file(GLOB_RECURSE found RELATIVE ${root} ${root}/${folder}/*)
  list(APPEND files ${found})
endforeach()
file(GLOB found RELATIVE ${root} ${root}/CMakeLists.txt ${root}/.clang-format ${root}/.gitignore)
list(APPEND files ${found})
list(FILTER files EXCLUDE REGEX "${without}")
foreach(file IN LISTS files)
  file(STRINGS ${root}/${file} lines LIMIT_COUNT 3)
  if(NOT "${lines}" MATCHES "SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception")
    message(SEND_ERROR "moebal: ${file} does not name its licence: needed the SPDX line among its first three")
  endif()
endforeach()
list(LENGTH files number)
message(STATUS "${number} files")
