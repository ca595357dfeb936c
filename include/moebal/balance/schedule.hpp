// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Schedules of a rule's rate over the steps of the optimizer, and the combinators scaled, damped and annealed. The step
// count is the balancer's, which it saves; so a schedule needs no state.

#include "factored.hpp"

namespace moebal {

/// The same number always.
struct Constant {
  static constexpr char const* name = "scaled";
  double factor = 1;
  MOEBAL_FN double operator()(std::int64_t) const { return factor; }
};
/// As Constant, for a bias that goes only a part of the way to where its rule wants it.
struct PartOfTheWay {
  static constexpr char const* name = "damped";
  double part = 1;
  MOEBAL_FN double operator()(std::int64_t) const { return part; }
};
/// 1 until step `from`, then falling in a line, 0 from step `until` on.
struct LinearToZero {
  static constexpr char const* name = "linear_to_zero";
  std::int64_t from = 0;
  std::int64_t until = 1;
  MOEBAL_FN double operator()(std::int64_t n) const {
    return n < from ? 1 : n >= until ? 0 : double(until - n) / double(until - from);
  }
};
/// 1 / (n + 1): the step sizes of online primal-dual methods (2512.03915, where they give a logarithmic regret).
struct OverSteps {
  static constexpr char const* name = "over_steps";
  MOEBAL_FN double operator()(std::int64_t n) const { return 1 / (double(n) + 1); }
};
/// 1 / sqrt(n + 1).
struct OverRootSteps {
  static constexpr char const* name = "over_root_steps";
  MOEBAL_FN double operator()(std::int64_t n) const { return 1 / __builtin_sqrt(double(n) + 1); }
};
/// factors[i] before step ends[i], the first that fits; `last` after them all. DeepSeek-V3 (2412.19437): rate 1e-3 for
/// the first 14.3T tokens, then 0 for the rest: Piecewise<1>{{steps of 14.3T tokens}, {1}, 0}.
template <int pieces> struct Piecewise {
  static constexpr char const* name = "piecewise";
  std::int64_t ends[std::size_t(pieces)] = {};
  double factors[std::size_t(pieces)] = {};
  double last = 0;
  MOEBAL_FN double operator()(std::int64_t n) const {
    for (int i = 0; i < pieces; ++i)
      if (n < ends[i]) return factors[i];
    return last;
  }
};
static_assert(rate_schedule<Constant> && rate_schedule<PartOfTheWay> && rate_schedule<LinearToZero> &&
              rate_schedule<OverSteps> && rate_schedule<OverRootSteps> && rate_schedule<Piecewise<2>>);

template <balance_rule R> using Scaled = Factored<R, Constant>;
template <bias_rule R> using Damped = Factored<R, PartOfTheWay>;
template <balance_rule R, rate_schedule S> using Annealed = Factored<R, S>;

/// A rule `factor` times as strong: its loss, its slopes and the way of its bias.
template <balance_rule R> constexpr Scaled<R> scaled(R rule, double factor) { return {rule, {factor}}; }
/// b <- (1 - part) b + part * (what the rule makes of b), for rules that answer with a whole bias, such as
/// QuantileHistogram (the damping of Marin's quantile balancing). Rules that take steps take `part` of them.
template <bias_rule R> constexpr Damped<R> damped(R rule, double part) { return {rule, {part}}; }
/// A rule whose strength follows a schedule: annealed(LossFreeBias{}, LinearToZero{.from = 1000, .until = 2000}).
template <balance_rule R, rate_schedule S> constexpr Annealed<R, S> annealed(R rule, S schedule) {
  return {rule, schedule};
}

} // namespace moebal
