// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "harness_run.hpp"

namespace contracts {
MOEBAL_TEST_HARNESS(double)
} // namespace contracts
