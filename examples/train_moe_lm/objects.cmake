# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# All of train_moe_lm but main: compiled once for the program and for its tests, whichever comes first.
include_guard(GLOBAL)
file(GLOB trainer_files CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/*.cpp)
list(FILTER trainer_files EXCLUDE REGEX "/main.cpp$")
add_library(train_moe_lm_objects OBJECT EXCLUDE_FROM_ALL ${trainer_files})
target_link_libraries(train_moe_lm_objects PUBLIC moebal_program
  $<TARGET_NAME_IF_EXISTS:nlohmann_json::nlohmann_json> $<TARGET_NAME_IF_EXISTS:CLI11::CLI11>)
