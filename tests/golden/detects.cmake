# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# cmake -D RUNNER=... -D CASES=... -D SCRATCH=... -P detects.cmake: the runner must see what is wrong with a case.

set(case megatron.topk_routing_with_score_function.sig.T16E8K2.rand)
set(other megatron.topk_routing_with_score_function.smpost.T16E8K2.rand) # of the same shape

function(expect what status last_line)
  execute_process(COMMAND ${RUNNER} ${SCRATCH} OUTPUT_VARIABLE out RESULT_VARIABLE result)
  if(NOT result EQUAL status OR NOT out MATCHES "${last_line}\n$")
    message(FATAL_ERROR "${what}: needed status ${status} and \"${last_line}\", had ${result} and:\n${out}")
  endif()
endfunction()
function(fresh)
  file(REMOVE_RECURSE ${SCRATCH})
  file(COPY ${CASES}/${case} DESTINATION ${SCRATCH}/some/where)
endfunction()

fresh()
expect("a case as it is" 0 "1 passed, 0 failed, 0 skipped")

foreach(array out_probs out64_probs out_routing_map out_grad_logits)
  fresh()
  file(COPY_FILE ${CASES}/${other}/${array}.npy ${SCRATCH}/some/where/${case}/${array}.npy)
  expect("${array} of another case" 1 "0 passed, 1 failed, 0 skipped")
endforeach()

fresh()
file(READ ${CASES}/${case}/meta.json meta)
string(REPLACE "\"args\":{" "\"args\":{\"unheard_of\":1," meta "${meta}")
file(WRITE ${SCRATCH}/some/where/${case}/meta.json "${meta}")
expect("an unknown argument" 0 "0 passed, 0 failed, 1 skipped")

fresh()
file(REMOVE ${SCRATCH}/some/where/${case}/out_probs.npy)
expect("a missing file" 1 "0 passed, 1 failed, 0 skipped")
