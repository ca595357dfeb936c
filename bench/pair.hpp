// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Two programs that do the same job, timed alternately in one process: on a shared machine the ratio holds where the
// nanoseconds do not.

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <functional>
#include <string>
#include <vector>

namespace bench {

struct Work {
  std::function<void()> ours, peer;
  std::function<void()> before = [] {}; // each call, and not timed
};

/// Nanoseconds of one call: the least of `times`.
inline double nanoseconds(std::function<void()> const& before, std::function<void()> const& work, int times = 1) {
  double least = 1e300;
  for (int i = 0; i < times; ++i) {
    before();
    auto const start = std::chrono::steady_clock::now();
    work();
    least = std::min(least, std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - start).count());
  }
  return least;
}
inline double median(std::vector<double> v) {
  std::nth_element(v.begin(), v.begin() + std::ptrdiff_t(v.size() / 2), v.end());
  return v[v.size() / 2];
}

/// What the parts of the benchmark register their pairs with.
class Pairs {
public:
  explicit Pairs(bool quick) : quick_(quick) {}
  bool quick() const { return quick_; }

  /// Registers <op>/<shape>/<tokens>/<peer>. `make` gives the work, after it has compared the answers (it throws where they
  /// differ); it is asked only when the pair is run, and its memory goes with it. In each round either side is called three times
  /// and the least counts; a peer that takes more than four times as long as ours is called once. Counters, a unit (a token, unless the entry says otherwise): ours_ns and
  /// peer_ns (medians), ratio_med (median over the rounds of peer over ours) and ratio_min (of the least times).
  void add(std::string const& name, double units, std::function<Work()> make) const { add(name, units, units, std::move(make)); }
  void add(std::string const& name, double ours_units, double peer_units, std::function<Work()> make) const {
    double const budget = quick_ ? 2.5e8 : 1e9; // ns
    benchmark::RegisterBenchmark(name.c_str(), [=](benchmark::State& state) {
      std::vector<double> mine, theirs, ratios;
      for (auto _ : state) {
        Work work;
        try {
          work = make();
        } catch (std::exception const& error) {
          state.SkipWithError(error.what());
          return;
        }
        work.ours();
        work.peer();
        int const times = nanoseconds(work.before, work.peer) < 4 * nanoseconds(work.before, work.ours) ? 3 : 1;
        double spent = 0;
        while (mine.size() < 31 && (mine.size() < 5 || spent < budget)) {
          mine.push_back(nanoseconds(work.before, work.ours, 3) / ours_units);
          theirs.push_back(nanoseconds(work.before, work.peer, times) / peer_units);
          ratios.push_back(theirs.back() / mine.back());
          spent += 3 * mine.back() * ours_units + times * theirs.back() * peer_units;
        }
      }
      state.counters["ours_ns"] = median(mine);
      state.counters["peer_ns"] = median(theirs);
      state.counters["ratio_med"] = median(ratios);
      state.counters["ratio_min"] = *std::min_element(theirs.begin(), theirs.end()) / *std::min_element(mine.begin(), mine.end());
    })->Iterations(1);
  }

private:
  bool quick_;
};

/// A source file of bench/ says at namespace scope what it registers: Part const part([](Pairs const& pairs) { ... });
struct Part {
  using Register = void (*)(Pairs const&);
  static std::vector<Register>& all() {
    static std::vector<Register> parts;
    return parts;
  }
  explicit Part(Register add) { all().push_back(add); }
};

} // namespace bench
