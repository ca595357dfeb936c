// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Routing, planning, backward and balancing against what people write by hand, against libtorch and against floors.
//   bench_moebal [--quick] [--json FILE] [options of Google Benchmark]
// bench/run.sh builds and runs it.

#include "pair.hpp"
#include "table.hpp"

#ifndef MOEBAL_BENCH_FLAGS // CMake says it
#define MOEBAL_BENCH_COMPILER "a compiler"
#define MOEBAL_BENCH_FLAGS "unknown flags"
#endif

int main(int argc, char** argv) {
  bench::Options const options = bench::read_options(argc, argv);
  bench::Pairs const pairs(options.quick);
  for (auto const add : bench::Part::all()) add(pairs);
  return bench::run(options, MOEBAL_BENCH_COMPILER, MOEBAL_BENCH_FLAGS);
}
