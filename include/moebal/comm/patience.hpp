// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// How a thread waits for what it has to poll, and for how long.

#include <chrono>
#include <string>
#include <thread>

namespace moebal::detail {

inline std::string duration_text(std::chrono::milliseconds time) {
  auto const ms = time.count();
  return ms % 1000 == 0 ? std::to_string(ms / 1000) + " s" : std::to_string(ms) + " ms";
}

/// A time limit, and the pauses between two looks. Ranks may outnumber cores, so a pause gives the core away. Long
/// messages move only while somebody looks, a piece at a time, so a pause is a yield; where others are long in coming,
/// every second millisecond is slept.
class Patience {
  using clock = std::chrono::steady_clock;

public:
  explicit Patience(std::chrono::milliseconds limit) : start_(clock::now()), limit_(limit) {}
  bool over() const { return clock::now() - start_ > limit_; }
  void pause() const {
    constexpr std::chrono::milliseconds turn(1), patient(100);
    auto const waited = clock::now() - start_;
    if (waited > patient && waited / turn % 2 == 1)
      std::this_thread::sleep_for(turn);
    else
      std::this_thread::yield();
  }

private:
  clock::time_point start_;
  clock::duration limit_;
};

} // namespace moebal::detail
