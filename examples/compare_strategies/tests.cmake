# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Smoke tests of the lab; and docs/strategies.md and docs/lab.md must be what it prints.
set(lab_out ${CMAKE_CURRENT_BINARY_DIR}/compare_strategies_test)
add_test(NAME examples.compare_strategies_list COMMAND compare_strategies --list)
set_tests_properties(examples.compare_strategies_list PROPERTIES LABELS examples PASS_REGULAR_EXPRESSION "none_softmax.*loss_free.*swipe")
add_test(NAME examples.compare_strategies_quick
  COMMAND compare_strategies --quick --json ${lab_out}/quick.json --report ${lab_out} --record ${lab_out}.trace)
set_tests_properties(examples.compare_strategies_quick PROPERTIES LABELS examples TIMEOUT 300 FIXTURES_SETUP compare_strategies_trace)
add_test(NAME examples.compare_strategies_results
  COMMAND ${CMAKE_COMMAND} -D json=${lab_out}/quick.json -P ${CMAKE_CURRENT_LIST_DIR}/check_results.cmake)
add_test(NAME examples.compare_strategies_trace
  COMMAND compare_strategies --trace ${lab_out}.trace --strategies none_softmax,loss_free,loss_micro,quantile,hash_balanced,locmoe
    --json ${lab_out}/trace.json --report "")
add_test(NAME examples.compare_strategies_unknown COMMAND compare_strategies --strategies nothing_of_this_name)
set_tests_properties(examples.compare_strategies_results examples.compare_strategies_trace PROPERTIES LABELS examples TIMEOUT 300
  FIXTURES_REQUIRED compare_strategies_trace)
set_tests_properties(examples.compare_strategies_trace PROPERTIES PASS_REGULAR_EXPRESSION "locmoe: needs the tokens")
set_tests_properties(examples.compare_strategies_unknown PROPERTIES LABELS examples
  PASS_REGULAR_EXPRESSION "there is no strategy 'nothing_of_this_name': --list names them")
# The model, on texts that are there anyway; and that it is the model of train_moe_lm.
foreach(folder include tests examples)
  file(MAKE_DIRECTORY ${lab_out}/texts)
  file(CREATE_LINK ${PROJECT_SOURCE_DIR}/${folder} ${lab_out}/texts/${folder} SYMBOLIC)
endforeach()
add_test(NAME examples.compare_strategies_model
  COMMAND compare_strategies --quick --model text --text ${lab_out}/texts --seeds 2 --json ${lab_out}/model.json --report "")
add_test(NAME examples.compare_strategies_model_results
  COMMAND ${CMAKE_COMMAND} -D json=${lab_out}/model.json -D lab=$<TARGET_FILE:compare_strategies> -D trainer=$<TARGET_FILE:train_moe_lm>
    -D out=${lab_out} -P ${CMAKE_CURRENT_LIST_DIR}/check_model.cmake)
set_tests_properties(examples.compare_strategies_model PROPERTIES FIXTURES_SETUP compare_strategies_model)
set_tests_properties(examples.compare_strategies_model_results PROPERTIES FIXTURES_REQUIRED compare_strategies_model)
set_tests_properties(examples.compare_strategies_model examples.compare_strategies_model_results PROPERTIES LABELS examples TIMEOUT 300)
# docs/lab.md is what the lab makes of docs/lab.json; another table is refused.
add_test(NAME docs.lab COMMAND ${CMAKE_COMMAND} -D program=$<TARGET_FILE:compare_strategies>
  -D "arguments=--lab;${PROJECT_SOURCE_DIR}/docs/lab.json" -D expected=${PROJECT_SOURCE_DIR}/docs/lab.md
  -P ${CMAKE_CURRENT_LIST_DIR}/../compare.cmake)
set_tests_properties(docs.lab PROPERTIES LABELS "docs;examples")
add_test(NAME examples.compare_strategies_no_model COMMAND compare_strategies --lab ${lab_out}/quick.json)
set_tests_properties(examples.compare_strategies_no_model PROPERTIES LABELS examples FIXTURES_REQUIRED compare_strategies_trace
  PASS_REGULAR_EXPRESSION "needed results of --model text with loss_global")
add_test(NAME docs.strategies COMMAND ${CMAKE_COMMAND} -D program=$<TARGET_FILE:compare_strategies> -D arguments=--docs
  -D expected=${PROJECT_SOURCE_DIR}/docs/strategies.md -P ${CMAKE_CURRENT_LIST_DIR}/../compare.cmake)
set_tests_properties(docs.strategies PROPERTIES LABELS "docs;examples")
