# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# cmake -D program=<train_moe_lm> -D "launcher=mpiexec;-n;3" -D ranks=3 -D "options=..." -D out=<folder> -P same_numbers.cmake
# Ranks as threads and ranks as processes must write the same table, but for what a clock measured.
function(table variable name)
  execute_process(COMMAND ${ARGN} ${options} --report ${out}/${name} --state ${out}/${name} --json ${out}/${name}/table.json
    OUTPUT_VARIABLE output ERROR_VARIABLE output RESULT_VARIABLE status)
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "${name}: ended with ${status}\n${output}")
  endif()
  file(READ ${out}/${name}/table.json text)
  string(REGEX REPLACE "(\"(seconds_per_step|balancer_share|balancer_wall_share)\": )[^,\n]*" "\\10" text "${text}")
  set(${variable} "${text}" PARENT_SCOPE)
endfunction()

table(needed threads ${program} --transport threads --ranks ${ranks})
table(had processes ${launcher} ${program})
string(JSON rows LENGTH "${needed}")
if(rows EQUAL 0 OR NOT had STREQUAL needed)
  message(FATAL_ERROR "needed the numbers of ${ranks} threads\n${needed}\n--- had of as many processes\n${had}")
endif()
