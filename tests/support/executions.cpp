// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "executions.hpp"

namespace moebal_test {

Executions const& other_executions() {
  static Executions const all = [] {
    Executions found;
#if defined(MOEBAL_TEST_KOKKOS)
    add_kokkos(found);
#endif
#if defined(MOEBAL_TEST_THRUST)
    add_thrust(found);
#endif
    return found;
  }();
  return all;
}

} // namespace moebal_test
