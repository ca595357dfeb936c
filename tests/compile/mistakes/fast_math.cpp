// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: moebal: -ffast-math (or -ffinite-math-only) changes ids and weights: compile this file without it
// flags: -ffast-math
#include <moebal/core/config.hpp>
