# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# cmake -D root=<folder of the project> -P laws.cmake: is every policy of include/moebal in one of tests/laws/every_*_test.cpp?
# A policy is known by what it has: the members below, in a struct that starts a line.
cmake_minimum_required(VERSION 3.25)

set(marks "weights_read_row\\(Index" "V slope\\(V" " choose\\(Lanes" "void assign\\(Exec" "Index slots\\(" "double value\\("
  "double weight_slope\\(" "float step\\(" "void move\\(Window|void move\\(window_type" "static constexpr bool causal")
# Not in the lists by this name, and why.
set(others
  "CountsOf"       # under its four names: Counts, ...
  "ImportanceOf"   # under its two names: ImportanceLoss, KeptImportanceLoss
  "TopKWithMoves"  # under its two names: OverflowRecycling, Swipe
  "Factored"       # made by scaled, damped and annealed
  "ElementwiseRow" # lifts element-wise gates, which are there
  "Given"          # hands on what a batch-wise selection chose
  "List"           # what statistics stand in
  "ZeroExperts"    # comes after routing: tests/select/zero_experts_test.cpp
  "NoisyLoad"      # no logits, but a load: tests/gate/noisy_load_test.cpp
)

file(GLOB lists ${root}/tests/laws/every_*_test.cpp)
set(listed "")
foreach(list IN LISTS lists)
  file(READ ${list} text)
  string(APPEND listed "${text}")
endforeach()

list(JOIN marks "|" marks)
set(policies "")
foreach(room gate select stats balance)
  file(GLOB headers ${root}/include/moebal/${room}/*.hpp)
  foreach(header IN LISTS headers)
    file(READ ${header} text)
    string(REPLACE ";" "," text "${text}")
    string(REGEX MATCHALL "\n(template <[^\n]*)?struct [A-Z][A-Za-z0-9]*|${marks}" events "${text}")
    set(struct "")
    foreach(event IN LISTS events)
      if(event MATCHES "struct ([A-Z][A-Za-z0-9]*)$")
        set(struct ${CMAKE_MATCH_1})
      elseif(struct AND NOT struct IN_LIST policies)
        list(APPEND policies ${struct})
        if(NOT struct IN_LIST others AND NOT listed MATCHES "[^A-Za-z0-9]${struct}[^A-Za-z0-9]")
          message(SEND_ERROR "moebal: ${header} has the policy ${struct}: needed in a list of tests/laws/every_*_test.cpp")
        endif()
      endif()
    endforeach()
  endforeach()
endforeach()
foreach(other IN LISTS others)
  if(NOT other IN_LIST policies)
    message(SEND_ERROR "moebal: tests/compile/laws.cmake leaves out ${other}, which is no policy")
  endif()
endforeach()
list(LENGTH policies number)
message(STATUS "${number} policies: ${policies}")
