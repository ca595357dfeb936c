// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Random numbers without a generator: number n of a seed is a function of both, so a result depends on neither
// threads nor order, and the same bits come out on every machine. Change the seed at every step, or a position keeps
// its luck.

#include "ids.hpp"
#include "math.hpp"

namespace moebal::random {

/// The output function of splitmix64 (Steele, Lea and Flood 2014), at position n of its sequence.
MOEBAL_FN inline std::uint64_t bits(std::uint64_t seed, std::uint64_t n) {
  std::uint64_t x = seed + (n + 1) * 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}
/// Uniform in (0, 1), never an end: 52 bits, and a half.
MOEBAL_FN inline double uniform(std::uint64_t seed, std::uint64_t n) {
  return (double(bits(seed, n) >> 12) + 0.5) * 0x1p-52;
}

/// Uniform in [0, n), with a bias below n / 2^32 (n < 2^31).
MOEBAL_FN inline Index below(std::uint64_t seed, std::uint64_t at, Index n) {
  return Index((bits(seed, at) >> 32) * std::uint64_t(n) >> 32);
}

/// Standard normal: sqrt(-2 ln u) sin(theta), theta uniform in (-pi/2, pi/2), whose sine is distributed as that of a
/// whole turn (Box and Muller 1958). Takes the uniforms 2 n and 2 n + 1.
MOEBAL_FN inline double normal(std::uint64_t seed, std::uint64_t n) {
  double const radius = __builtin_sqrt(2 * math::log_of_sum(1 / uniform(seed, 2 * n)));
  double const theta = (uniform(seed, 2 * n + 1) - 0.5) * 0x1.921fb54442d18p+1;
  double const square = theta * theta;
  double series = 1; // sin(theta) = theta (1 - theta^2 / (2 3) (1 - theta^2 / (4 5) (1 - ...)))
  for (int n2 = 24; n2 > 0; n2 -= 2) series = math::fma(-(square / double(n2 * (n2 + 1))), series, 1.0);
  return radius * (theta * series);
}

} // namespace moebal::random
