// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "rule.hpp"

namespace moebal {

/// A score rule whose value is sum_e slope_e * score_sum_e: only counts and state, which carry no gradient, stand
/// before the scores. It says so by a member `linear`.
template <class R>
concept linear_rule = score_rule<R> && requires { requires R::linear; };

namespace detail {
/// f(expert, slope(expert)) for every expert. A rule may have summary(window), which its slopes share: then it is
/// slope(expert, summary).
template <class R, class W, class Slope, class F>
MOEBAL_FN void each_of(R const& rule, W const& window, Slope const& slope, F const& f) {
  if constexpr (requires { rule.summary(window); }) {
    auto const summary = rule.summary(window);
    for (Index e = 0; e < window.experts(); ++e) f(e, slope(e, summary));
  } else {
    for (Index e = 0; e < window.experts(); ++e) f(e, slope(e));
  }
}
/// rule.slope of every expert.
template <class R, class W, class F> MOEBAL_FN void each_slope(R const& rule, W const& window, F const& f) {
  each_of(rule, window, [&](Index e, auto const&... summary) { return rule.slope(window, e, summary...); }, f);
}
/// rule.weight_slope of every expert.
template <class R, class W, class F> MOEBAL_FN void each_weight_slope(R const& rule, W const& window, F const& f) {
  each_of(rule, window, [&](Index e, auto const&... summary) { return rule.weight_slope(window, e, summary...); }, f);
}
template <class R, class W> MOEBAL_FN double linear_value(R const& rule, W const& window) {
  double sum = 0;
  each_slope(rule, window, [&](Index e, double slope) { sum = __builtin_fma(slope, window.score_sum(e), sum); });
  return sum;
}
/// ln of a share in [0, 1]; of 1e-20 where it is smaller.
MOEBAL_FN inline double log_share(double share) {
  return share >= 1 ? 0 : -math::log_of_sum(1 / (share > 1e-20 ? share : 1e-20));
}
} // namespace detail
} // namespace moebal
