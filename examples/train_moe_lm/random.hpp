// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Random numbers that are a function of a few integers. Data order is drawn from (seed, step, micro-batch), so a
// resumed run needs no generator state and every strategy sees the same text.

#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <numbers>

namespace train {

/// splitmix64 (Steele, Lea, Flood 2014), started from a hash of its keys.
class Random {
public:
  explicit Random(std::initializer_list<std::uint64_t> keys) {
    for (std::uint64_t const key : keys) state_ = mix(state_ ^ key) + 0x9e3779b97f4a7c15u;
  }
  std::uint64_t next() { return mix(state_ += 0x9e3779b97f4a7c15u); }
  /// Uniform in [0, n); n is tiny beside 2^64, so the bias of the remainder does not matter here.
  std::int64_t below(std::int64_t n) { return std::int64_t(next() % std::uint64_t(n)); }
  /// Uniform in (0, 1].
  double uniform() { return double((next() >> 11) + 1) * 0x1p-53; }
  /// Standard normal (Box and Muller).
  double normal() {
    double const radius = std::sqrt(-2 * std::log(uniform()));
    return radius * std::cos(2 * std::numbers::pi * uniform());
  }

private:
  static std::uint64_t mix(std::uint64_t x) {
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
  }
  std::uint64_t state_ = 0;
};

} // namespace train
