// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The plain loops of the laws, as tests call them.

#include <moebal/laws/plain_exec.hpp>

namespace moebal_test {
using SerialExec = moebal::laws::PlainExec;
} // namespace moebal_test
