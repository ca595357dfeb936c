# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# cmake -D root=<folder of the project> -P arrows.cmake: do the #include lines of include/moebal follow the plan of the house?
cmake_minimum_required(VERSION 3.25)

# From the ground up: a header includes its own room and the floors below, never a neighbour on its own floor. (So moebal.hpp
# does not bring the laws: they are for those who write policies, and start threads.)
set(floors "core" "gate select stats comm backend" "balance plan" "router balancer communicator" "pipeline recipes" "moebal laws")
# Neighbours that may look over the fence, and why.
set(bridges
  "balancer->communicator" # a balancer owns the communicator of its scope
)
# Other people's headers: the standard library everywhere, the rest only in the header that adapts it.
set(guests
  "backend/ -> immintrin.h|arm_neon.h"
  "backend/cuda -> cuda.*|cooperative_groups.h"
  "backend/eigen -> (unsupported/)?Eigen/.*"
  "backend/kokkos -> Kokkos_.*"
  "backend/thrust -> (thrust|cub|cuda)/.*|cuda.*"
  "comm/mpi -> mpi.h"
  "comm/nccl -> nccl.h|cuda.*"
)

set(level 0)
foreach(floor IN LISTS floors)
  string(REPLACE " " ";" rooms "${floor}")
  foreach(room IN LISTS rooms)
    set(level_${room} ${level})
  endforeach()
  math(EXPR level "${level} + 1")
endforeach()

# The room of a path below include/moebal; router.hpp and router_row.hpp are in the room `router`.
function(room_of variable path)
  string(REGEX MATCH "^[a-z]+" room "${path}")
  if(NOT DEFINED level_${room})
    message(SEND_ERROR "moebal: ${path} is in no room of the house: needed one of ${floors}")
    set(room core)
  endif()
  set(${variable} ${room} PARENT_SCOPE)
endfunction()

set(top ${root}/include/moebal)
file(GLOB_RECURSE headers RELATIVE ${top} ${top}/*.hpp ${top}/*.cuh)
foreach(header IN LISTS headers)
  room_of(from ${header})
  file(STRINGS ${top}/${header} lines REGEX "^ *# *include")
  foreach(line IN LISTS lines)
    if(line MATCHES "\"(.*)\"")
      cmake_path(GET header PARENT_PATH folder)
      set(path ${folder}/${CMAKE_MATCH_1})
      cmake_path(NORMAL_PATH path)
      string(REGEX REPLACE "^/" "" path "${path}")
      room_of(to ${path})
      if(NOT EXISTS ${top}/${path})
        message(SEND_ERROR "moebal: ${header} includes ${path}, which does not exist")
      elseif(NOT from STREQUAL to)
        list(APPEND arrows "${from}->${to}")
        if(level_${to} GREATER_EQUAL level_${from} AND NOT "${from}->${to}" IN_LIST bridges)
          message(SEND_ERROR "moebal: ${header} includes ${path}: no arrow goes from ${from} to ${to}")
        endif()
      endif()
    elseif(line MATCHES "<(.*)>")
      set(guest ${CMAKE_MATCH_1})
      set(welcome FALSE)
      if(guest MATCHES "^[a-z_]+$")
        set(welcome TRUE) # the standard library: no dot, no slash
      endif()
      foreach(rule IN LISTS guests)
        string(REGEX MATCH "^(.*) -> (.*)$" rule "${rule}")
        set(host ${CMAKE_MATCH_1})
        set(names ${CMAKE_MATCH_2})
        if(header MATCHES "^${host}" AND guest MATCHES "^(${names})$")
          set(welcome TRUE)
        endif()
      endforeach()
      if(NOT welcome)
        message(SEND_ERROR "moebal: ${header} includes <${guest}>: only the header that adapts a library may include it")
      endif()
    endif()
  endforeach()
endforeach()

list(LENGTH headers number)
list(REMOVE_DUPLICATES arrows)
list(SORT arrows)
list(JOIN arrows " " arrows)
message(STATUS "${number} headers, ${arrows}")
