// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Wall time, and the processor time of the calling thread. Work is measured in the latter: on a machine with fewer
// cores than ranks the wall time of a collective is mostly the work of others.

#include <chrono>
#include <ctime>

namespace train {

inline double wall_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}
inline double thread_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return double(now.tv_sec) + 1e-9 * double(now.tv_nsec);
}

/// Adds the time of its own life, by a clock, to a sum.
template <double (*clock)()> class Stopwatch {
public:
  explicit Stopwatch(double& sum) : sum_(sum), start_(clock()) {}
  ~Stopwatch() { sum_ += clock() - start_; }
  Stopwatch(Stopwatch const&) = delete;
  Stopwatch& operator=(Stopwatch const&) = delete;

private:
  double& sum_;
  double start_;
};
using Measured = Stopwatch<&thread_seconds>;
/// By both clocks.
struct MeasuredTwice {
  MeasuredTwice(double& processor, double& wall) : wall_(wall), processor_(processor) {}

private:
  Stopwatch<&wall_seconds> wall_;
  Measured processor_;
};

} // namespace train
