// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// How a thread waits for what it has to poll, and for how long.

#include <algorithm>
#include <chrono>
#include <string>
#include <thread>

namespace moebal::detail {

inline std::string duration_text(std::chrono::milliseconds time) {
  auto const ms = time.count();
  return ms % 1000 == 0 ? std::to_string(ms / 1000) + " s" : std::to_string(ms) + " ms";
}

/// A time limit, and the pauses between two looks. Ranks may outnumber cores, so a pause gives the core away: at first
/// by a yield, then by sleeps that add no more than an eighth to what was waited anyway, and 1 ms at most.
class Patience {
  using clock = std::chrono::steady_clock;

public:
  explicit Patience(std::chrono::milliseconds limit) : start_(clock::now()), limit_(limit) {}
  bool over() const { return clock::now() - start_ > limit_; }
  void pause() const {
    constexpr clock::duration shortest = std::chrono::microseconds(50), longest = std::chrono::milliseconds(1);
    clock::duration const sleep = std::min((clock::now() - start_) / 8, longest);
    if (sleep < shortest)
      std::this_thread::yield();
    else
      std::this_thread::sleep_for(sleep);
  }

private:
  clock::time_point start_;
  clock::duration limit_;
};

} // namespace moebal::detail
