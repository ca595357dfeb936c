// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The example on a CUDA stream through Thrust. Where a GPU is, it prints examples/route_anywhere.expected.
#define MACHINE "route_anywhere/thrust.hpp"
#include "../../examples/route_anywhere.cpp"
