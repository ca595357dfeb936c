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
# swapped(<case> [<array> <by>]...): an array is replaced by another of its shape, of this case or (case/array) of
# another.
function(swapped case)
  while(ARGN)
    list(POP_FRONT ARGN array by)
    fresh()
    if(NOT by MATCHES "/")
      set(by ${case}/${by})
    endif()
    file(COPY_FILE ${CASES}/${by}.npy ${SCRATCH}/some/where/${case}/${array}.npy)
    expect("${case}, ${by} instead of ${array}" 1 "0 passed, 1 failed, 0 skipped")
  endwhile()
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

swapped(eplb.balanced_packing.X2n12m4 out_pack_index out_rank_in_pack out_rank_in_pack out_pack_index)
swapped(eplb.replicate_experts.X2n12p19 out_phy2log out_rank out_rank out_phy2log out_logcnt in_weight)
swapped(eplb.rebalance_experts.readme_example out_logcnt in_weight
  out_phy2log eplb.rebalance_experts.L2E160R176G8N8g16.rand/out_derived_gpu_load
  out_derived_gpu_load eplb.rebalance_experts.L2E64R72G8N2g8.rand/out_derived_gpu_load)
swapped(megatron.sinkhorn.T16E8.rand.tolNone out_norm in_cost out64_norm in_cost)
swapped(megatron.router_sinkhorn_load_balancing.T16E8K2.train1.rand out_scores in_cotangent out64_scores in_cotangent
  out_routing_map megatron.router_sinkhorn_load_balancing.T16E8K1.train1.rand/out_routing_map
  out_grad_logits in_cotangent)
swapped(megatron.qb_dual_update.T16E8K2.u1.rand out_beta in_beta out64_beta in_beta
  out_indices megatron.qb_dual_update.T16E8K2.u0.rand/out_indices
  out_map megatron.qb_dual_update.T16E8K2.u0.rand/out_map)
swapped(te.qb_topk_score_function_pytorch.T6E8K1b16 out_probs in_logits out_routing_map out_bin_indices
  out_raw_scores in_logits out_bin_indices out_routing_map
  out_cutoff te.qb_topk_score_function_pytorch.T6E60K4b64/out_cutoff)
swapped(tutel.load_importance_loss.T16E8K2.gn1.0.rand out_grad_logits in_noise
  out_loss tutel.load_importance_loss.T10E8K8.gn1.0.rand/out_loss)
swapped(vmoe.router_losses.T16E8K2.rand out_gshard_loss out_load_loss out_importance_loss out_load_loss
  out_load_loss out_importance_loss)
swapped(vmoe.expert_choice_einsum_dispatcher.T16E8C4.rand out_dispatch_weights out_combine_weights
  out_combine_weights out_dispatch_weights)
