// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The execution that the cases run on: EigenExec, or the one that `golden_runner --on NAME` names. All cases run on one.

#include <moebal/backend/eigen.hpp>
#include <moebal/laws/any_exec.hpp>

namespace golden {

moebal::laws::AnyExec const& chosen_execution();

} // namespace golden
