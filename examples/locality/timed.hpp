// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Times of what ranks do together, and lines through them.

#include <moebal/communicator.hpp>

#include <algorithm>
#include <chrono>
#include <functional>
#include <utility>
#include <vector>

namespace locality {

/// Work that all ranks do together, timed in turns, so that what else the machine does meets all of it alike.
template <moebal::communicator Comm> class Timed {
public:
  static constexpr int rounds = 501;

  /// Returns the number of the work.
  std::size_t add(std::function<void()> work) {
    work_.push_back(std::move(work));
    return work_.size() - 1;
  }
  void run(Comm const& comm) {
    std::vector<std::int64_t> all(static_cast<std::size_t>(comm.size()));
    times_.assign(work_.size(), {});
    for (int i = 0; i < rounds; ++i)
      for (std::size_t w = 0; w < work_.size(); ++w) {
        comm.barrier();
        auto const begin = std::chrono::steady_clock::now();
        work_[w]();
        std::vector<std::int64_t> const mine{(std::chrono::steady_clock::now() - begin) / std::chrono::nanoseconds(1)};
        comm.all_gather(mine, all);
        times_[w].push_back(1e-9 * double(*std::max_element(all.begin(), all.end())));
      }
    for (auto& times : times_) std::sort(times.begin(), times.end());
  }
  /// Seconds of the slowest rank: the lower quartile of the rounds, since other work on the machine only adds.
  double operator[](std::size_t work) const { return times_[work][rounds / 4]; }

private:
  std::vector<std::function<void()>> work_;
  std::vector<std::vector<double>> times_;
};

/// Least squares of the relative error of a + b x, neither negative.
inline std::pair<double, double> line(std::vector<double> const& x, std::vector<double> const& y) {
  double s = 0, sx = 0, sxx = 0, sy = 0, sxy = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    double const w = 1 / (y[i] * y[i]);
    s += w, sx += w * x[i], sxx += w * x[i] * x[i], sy += w * y[i], sxy += w * x[i] * y[i];
  }
  double const b = (s * sxy - sx * sy) / (s * sxx - sx * sx), a = (sy - b * sx) / s;
  return a < 0 ? std::pair{0.0, sxy / sxx} : std::pair{a, b};
}

} // namespace locality
