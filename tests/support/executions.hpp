// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The host executions of the backends that this build has, beside EigenExec. They are compiled once (executions_*.cpp), and
// the suites of laws, contracts and golden cases are linked to them.

#include <moebal/laws/any_exec.hpp>

#include <vector>

namespace moebal_test {

using Executions = std::vector<moebal::laws::AnyExec>;

/// "Kokkos OpenMP", "Thrust TBB", ... Kokkos runs from the first call until the program ends.
Executions const& other_executions();

#if defined(MOEBAL_TEST_KOKKOS)
void add_kokkos(Executions&);
#endif
#if defined(MOEBAL_TEST_THRUST)
void add_thrust(Executions&);
#endif

} // namespace moebal_test
