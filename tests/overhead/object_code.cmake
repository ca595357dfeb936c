# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# cmake -D nm=... -D objdump=... -D switch_layer=<object> -D loss_free_layer=<object> -P object_code.cmake
# Each object must show the strategies that it chose (so that we look for the right thing) and none of the other's.

# The names of strategies and, as objdump prints bytes of memory, a number that only such a strategy brings: the default
# coefficient of SwitchLoss (0.01 in double), the default rate of LossFreeBias (0.001 in float).
set(names_switch_layer MicroBatch SwitchLoss ScoreSums Softmax)
set(names_loss_free_layer GlobalBatch LossFreeBias Sigmoid GroupLimitedTopK)
set(number_switch_layer 7b14ae47e17a843f)
set(number_loss_free_layer 6f12833a)

function(run variable)
  execute_process(COMMAND ${ARGN} OUTPUT_VARIABLE output COMMAND_ERROR_IS_FATAL ANY)
  set(${variable} "${output}" PARENT_SCOPE)
endfunction()

# expect(<yes or no> <object> <what> <text> <regex>)
function(expect wanted object what text regex)
  set(found no)
  if(text MATCHES "${regex}")
    set(found yes)
  endif()
  if(NOT found STREQUAL wanted)
    message(SEND_ERROR "moebal: ${object} and ${what}: needed ${wanted}, had ${found}")
  endif()
endfunction()

foreach(object switch_layer loss_free_layer)
  run(symbols ${nm} --demangle ${${object}})
  run(code ${objdump} --disassemble --demangle --no-show-raw-insn ${${object}})
  run(bytes ${objdump} --disassemble ${${object}})
  run(data ${objdump} --full-contents ${${object}})

  # A dump has 16 bytes a line, four in a word: only the words are kept, in one line. Instructions have blanks between bytes.
  string(REGEX REPLACE "  [^\n]*\n [0-9a-f]+ |\n [0-9a-f]+ | " "" data "${data}")
  string(REGEX REPLACE "([0-9a-f][0-9a-f]) " "\\1" bytes "${bytes}")

  foreach(owner switch_layer loss_free_layer)
    set(wanted no)
    if(owner STREQUAL object)
      set(wanted yes)
    endif()
    foreach(name IN LISTS names_${owner})
      expect(${wanted} ${object} "symbols of ${name}" "${symbols}" "moebal::([a-z_]+::)*${name}[^A-Za-z]")
    endforeach()
    expect(${wanted} ${object} "the bytes ${number_${owner}}" "${data}${bytes}" ${number_${owner}})
  endforeach()
  # Strategies that neither chose, and everything that talks to other ranks or threads.
  foreach(name ZLoss Quantile TopP Threshold Sinkhorn ExpertChoice Noisy SqrtSoftplus Threads Mpi Hub)
    expect(no ${object} "symbols of ${name}" "${symbols}" "moebal::([a-z_]+::)*${name}[^A-Za-z]")
  endforeach()
  expect(no ${object} "locks or threads" "${symbols}" " U pthread_| U std::thread|mutex")
  # Only what is thrown has virtual functions, and nothing is called through a pointer.
  string(REGEX REPLACE "vtable for moebal::[A-Za-z]*Error" "" without_errors "${symbols}")
  expect(no ${object} "tables of virtual functions" "${without_errors}" "[VdD] vtable for ")
  expect(no ${object} "calls through pointers" "${code}" "(call|jmp)q? +\\*%|(call|jmp)q? +\\*(0x[0-9a-f]+)?\\(%r[^i]")
endforeach()
