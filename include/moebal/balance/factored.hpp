// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "linear.hpp"
#include "named.hpp"

namespace moebal {

/// A number for each step n of the optimizer, 0 at first: what a rule is multiplied by.
template <class S>
concept rate_schedule = std::is_trivially_copyable_v<S> && std::is_aggregate_v<S> &&
    requires(S const s, std::int64_t n) {
  { s(n) } -> std::same_as<double>;
  { S::name } -> std::convertible_to<std::string_view>;
};

/// A rule times a schedule: times its loss and slopes, and that part of the way of its bias; the rule's own state moves
/// as without it. Statistics and communication: those of the rule. Made by scaled, damped and annealed.
template <balance_rule R, rate_schedule S> struct Factored {
  using needs = typename R::needs;
  using pooled = typename R::pooled;
  using window_type = Window<needs, pooled>;
  static constexpr char const* name = detail::Named<S, R>::text.data();
  static constexpr bool linear = linear_rule<R>;
  static constexpr BiasBy bias_by = detail::bias_by_of<R>();
  static constexpr Index token_classes = detail::token_classes_of<R>();

  R rule{};
  S schedule{};

  void check(Index experts) const {
    if constexpr (requires { rule.check(experts); }) rule.check(experts);
  }

  MOEBAL_FN auto summary(window_type const& window) const requires requires(R const& r) { r.summary(window); }
  { return rule.summary(window); }
  template <class... Summary>
  MOEBAL_FN double slope(window_type const& window, Index expert,
                         Summary const&... summary) const requires score_rule<R> {
    return schedule(window.step()) * rule.slope(window, expert, summary...);
  }
  template <class... Summary>
  MOEBAL_FN double weight_slope(window_type const& window, Index expert,
                                Summary const&... summary) const requires weight_rule<R> {
    return schedule(window.step()) * rule.weight_slope(window, expert, summary...);
  }
  MOEBAL_FN double z_slope(window_type const& window) const requires square_rule<R> {
    return schedule(window.step()) * rule.z_slope(window);
  }
  MOEBAL_FN double value(window_type const& window) const requires loss_rule<R> {
    return schedule(window.step()) * rule.value(window);
  }
  MOEBAL_FN float step(window_type const& window, Index expert) const requires step_rule<R> {
    return math::mul(float(schedule(window.step())), rule.step(window, expert));
  }
  void move(window_type const& window, VectorView<float const> bias,
            VectorView<float> moved) const requires move_rule<R> {
    rule.move(window, bias, moved);
    float const factor = float(schedule(window.step()));
    for (Index e = 0; e < bias.size(); ++e) moved[e] = __builtin_fmaf(factor, moved[e] - bias[e], bias[e]);
  }

  MOEBAL_FN static Index state_size(Index experts) requires stateful_rule<R> { return R::state_size(experts); }
  void start(VectorView<float> state) const requires stateful_rule<R> { rule.start(state); }
  void advance(window_type const& window, VectorView<float> state) const requires stateful_rule<R> {
    rule.advance(window, state);
  }
};

} // namespace moebal
