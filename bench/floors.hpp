// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The least that any program does: reads each logit once; computes one exponential or one sigmoid for each.

#include <moebal/core/ids.hpp>

#include <algorithm>

namespace bench {

using moebal::Index;

inline float read_all(float const* x, Index n) {
  float most[64];
  std::fill_n(most, 64, -1e30f);
  Index i = 0;
  for (; i + 64 <= n; i += 64)
    for (int j = 0; j < 64; ++j) most[j] = x[i + j] > most[j] ? x[i + j] : most[j];
  for (; i < n; ++i) most[0] = std::max(most[0], x[i]);
  return *std::max_element(most, most + 64);
}

// A register's worth of floats, so that no compiler takes them in halves.
#if defined(__AVX512F__)
inline constexpr int lanes = 16;
#elif defined(__AVX__)
inline constexpr int lanes = 8;
#else
inline constexpr int lanes = 4;
#endif
using Floats [[gnu::vector_size(4 * lanes), gnu::aligned(4), gnu::may_alias]] = float;
using Ints [[gnu::vector_size(4 * lanes)]] = int;

/// e^x for |x| < 80 to 2e-7: 2^n times a polynomial of degree 6.
inline Floats fast_exp(Floats x) {
  Floats const shifted = x * 1.44269504f + 12582912.0f; // rounds to an integer, which is in the low bits
  Floats const n = shifted - 12582912.0f;
  Floats const r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  Floats p = r * 1.3981999e-3f + 8.3334519e-3f;
  p = p * r + 4.1665796e-2f;
  p = p * r + 1.6666665e-1f;
  p = p * r + 5.0e-1f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  Ints const exponent = __builtin_bit_cast(Ints, shifted) << 23;
  return __builtin_bit_cast(Floats, __builtin_bit_cast(Ints, p) + exponent);
}

/// The sum of score(x) over n elements; what is left of n modulo the lanes is not read.
template <class Score> float sum_all(float const* x, Index n, Score score) {
  Floats sum[4] = {};
  Index i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes)
    for (int j = 0; j < 4; ++j) sum[j] += score(*reinterpret_cast<Floats const*>(x + i + lanes * j));
  for (; i + lanes <= n; i += lanes) sum[0] += score(*reinterpret_cast<Floats const*>(x + i));
  Floats const all = (sum[0] + sum[1]) + (sum[2] + sum[3]);
  float total = 0;
  for (int j = 0; j < lanes; ++j) total += all[j];
  return total;
}
inline float exp_all(float const* x, Index n) {
  return sum_all(x, n, [](Floats z) { return fast_exp(z); });
}
inline float sigmoid_all(float const* x, Index n) {
  return sum_all(x, n, [](Floats z) { return 1 / (1 + fast_exp(-z)); });
}

} // namespace bench
