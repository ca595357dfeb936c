// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The squared coefficient of variation: what importance and load losses are made of.

#include "../core/errors.hpp"
#include "../core/views.hpp"

namespace moebal {

/// What the sum of the squared deviations of n values is divided by.
enum class Variance {
  Population, // n (V-MoE)
  Sample      // n - 1; 0 where n = 1 (Shazeer-style code, Tutel)
};

namespace detail {
struct Spread {
  double mean = 0, variance = 0, divisor = 1;
};
template <class F> MOEBAL_FN Spread spread_of(F const& value, Index n, Variance kind) {
  Spread s;
  for (Index i = 0; i < n; ++i) s.mean += value(i);
  s.mean = s.mean / double(n);
  double squares = 0;
  for (Index i = 0; i < n; ++i) squares = __builtin_fma(value(i) - s.mean, value(i) - s.mean, squares);
  s.divisor = double(kind == Variance::Sample ? (n > 1 ? n - 1 : 1) : n);
  s.variance = squares / s.divisor;
  return s;
}
MOEBAL_FN inline double cv_squared(Spread const& s, double epsilon) {
  double const below = __builtin_fma(s.mean, s.mean, epsilon);
  return below == 0 ? 0 : s.variance / below;
}
/// d CV^2 / d x for one value x of n: 2 (x - mean) / (divisor below) - 2 var mean / (n below^2), below = mean^2 +
/// epsilon.
MOEBAL_FN inline double cv_squared_slope(Spread const& s, double x, Index n, double epsilon) {
  double const below = __builtin_fma(s.mean, s.mean, epsilon);
  if (below == 0) return 0;
  return 2 * ((x - s.mean) / s.divisor - s.variance / below * s.mean / double(n)) / below;
}
} // namespace detail

/// CV^2 = var / (mean^2 + epsilon) of values [n], e.g. of the smooth loads of a noisy gate (Shazeer 1701.06538 section
/// 4 and appendix A); 0 where that would be 0 / 0.
///   d_values [n] out: d CV^2 / d values; may be empty.
/// In double, in the order of the values.
template <class Real>
double cv_squared(VectorView<Real const> values, Variance variance = Variance::Population, double epsilon = 1e-10,
                  VectorView<Real> d_values = {}) {
  if (!d_values.empty()) require_equal("cv_squared: d_values [n]", values.size(), d_values.size());
  if (values.empty()) return 0;
  auto const spread = detail::spread_of([values](Index i) { return double(values[i]); }, values.size(), variance);
  for (Index i = 0; i < d_values.size(); ++i)
    d_values[i] = Real(detail::cv_squared_slope(spread, double(values[i]), values.size(), epsilon));
  return detail::cv_squared(spread, epsilon);
}

} // namespace moebal
