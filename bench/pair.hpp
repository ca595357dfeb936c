// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Two programs that do the same job, timed alternately in one process: on a shared machine the ratio holds where the
// nanoseconds do not.

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

namespace bench {

inline double nanoseconds(auto&& work) {
  auto const start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - start).count();
}
inline double median(std::vector<double> v) {
  std::nth_element(v.begin(), v.begin() + std::ptrdiff_t(v.size() / 2), v.end());
  return v[v.size() / 2];
}

/// Registers <op>/<shape>/<tokens>/<peer>. Each round runs `ours` three times (the least counts) and `peer` once. Counters, a token:
/// ours_ns and peer_ns (medians), ratio_med and ratio_min (peer over ours, of the medians and of the least).
template <class Ours, class Peer> void pair(std::string const& name, double tokens, Ours ours, Peer peer) {
  benchmark::RegisterBenchmark(name.c_str(), [=](benchmark::State& state) mutable {
    std::vector<double> mine, theirs;
    ours();
    peer();
    for (auto _ : state) {
      double const least = std::min({nanoseconds(ours), nanoseconds(ours), nanoseconds(ours)});
      mine.push_back(least);
      theirs.push_back(nanoseconds(peer));
      state.SetIterationTime(least * 1e-9);
    }
    double const ours_med = median(mine), peer_med = median(theirs);
    state.counters["ours_ns"] = ours_med / tokens;
    state.counters["peer_ns"] = peer_med / tokens;
    state.counters["ratio_med"] = peer_med / ours_med;
    state.counters["ratio_min"] = *std::min_element(theirs.begin(), theirs.end()) / *std::min_element(mine.begin(), mine.end());
  })->UseManualTime()->Iterations(31);
}

} // namespace bench
