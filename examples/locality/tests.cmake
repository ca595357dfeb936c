# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# A run in a tiny setting; and docs/locality.md and its figure must be what the program makes of docs/locality.json.
set(locality_out ${CMAKE_CURRENT_BINARY_DIR}/locality_test)
foreach(folder include tests examples)
  file(MAKE_DIRECTORY ${locality_out}/texts)
  file(CREATE_LINK ${PROJECT_SOURCE_DIR}/${folder} ${locality_out}/texts/${folder} SYMBOLIC)
endforeach()
foreach(run first second)
  add_test(NAME examples.locality_${run} COMMAND locality --quick --text ${locality_out}/texts --share 1 --json ${locality_out}/${run}.json)
endforeach()
add_test(NAME examples.locality_same COMMAND ${CMAKE_COMMAND} -E compare_files ${locality_out}/first.json ${locality_out}/second.json)
add_test(NAME examples.locality_results
  COMMAND ${CMAKE_COMMAND} -D json=${locality_out}/first.json -P ${CMAKE_CURRENT_LIST_DIR}/check_results.cmake)
set_tests_properties(examples.locality_first PROPERTIES FIXTURES_SETUP "locality_first;locality_results")
set_tests_properties(examples.locality_second PROPERTIES FIXTURES_SETUP locality_second)
set_tests_properties(examples.locality_same PROPERTIES FIXTURES_REQUIRED "locality_first;locality_second")
set_tests_properties(examples.locality_results PROPERTIES FIXTURES_REQUIRED locality_results)
set_tests_properties(examples.locality_first examples.locality_second examples.locality_same examples.locality_results
  PROPERTIES LABELS examples TIMEOUT 300)
add_test(NAME examples.locality_unknown COMMAND locality nothing_of_this_name)
set_tests_properties(examples.locality_unknown PROPERTIES LABELS examples
  PASS_REGULAR_EXPRESSION "there is no strategy 'nothing_of_this_name': --list names them")
add_test(NAME examples.locality_no_study COMMAND locality --docs ${locality_out}/first.json)
set_tests_properties(examples.locality_no_study PROPERTIES LABELS examples FIXTURES_REQUIRED locality_first
  PASS_REGULAR_EXPRESSION "the page needs the results of --study with --links")
set(locality_docs md)
set(locality_figure svg)
foreach(action docs figure)
  add_test(NAME docs.locality_${action} COMMAND ${CMAKE_COMMAND} -D program=$<TARGET_FILE:locality>
    -D "arguments=--${action};${PROJECT_SOURCE_DIR}/docs/locality.json"
    -D expected=${PROJECT_SOURCE_DIR}/docs/locality.${locality_${action}} -P ${CMAKE_CURRENT_LIST_DIR}/../compare.cmake)
  set_tests_properties(docs.locality_${action} PROPERTIES LABELS "docs;examples")
endforeach()
