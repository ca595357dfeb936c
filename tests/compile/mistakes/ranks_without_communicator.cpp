// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: moebal: run_ranks needs #include <moebal/communicator.hpp>
#include <moebal/comm/threads.hpp>
#ifndef MOEBAL_MISTAKE
#include <moebal/communicator.hpp>
#endif

void two_ranks() {
  moebal::run_ranks(2, [](auto&&) {});
}
