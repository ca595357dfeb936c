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

/// Adds the processor time of its own life to a sum.
class Measured {
public:
  explicit Measured(double& sum) : sum_(sum), start_(thread_seconds()) {}
  ~Measured() { sum_ += thread_seconds() - start_; }
  Measured(Measured const&) = delete;
  Measured& operator=(Measured const&) = delete;

private:
  double& sum_;
  double start_;
};

} // namespace train
