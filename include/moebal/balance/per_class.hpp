// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "../stats/device_tokens.hpp"
#include "linear.hpp"
#include "named.hpp"

namespace moebal {

/// A loss that weighs classes of experts: sum_e weight_class(e) * (the rule's term of expert e). With SwitchLoss and
/// weights {1, tau} for computing and zero-computation experts, the loss sum_e eta_e f_e P_e of MoE++ (2410.07348;
/// there tau = 0.75, coefficient 0.01). Classes: which expert is in which, a map such as ExpertBlocks. Weights default
/// to 0: set them all. Statistics, communication, state: those of the rule. Gradient: the rule's slope of each expert
/// times its weight. Only rules that are linear in the scores fall apart into terms of experts.
template <linear_rule R, expert_groups Classes> struct PerClass {
  using needs = typename R::needs;
  using pooled = typename R::pooled;
  using window_type = Window<needs, pooled>;
  struct Prefix {
    static constexpr char const* name = "per_class";
  };
  static constexpr char const* name = detail::Named<Prefix, R>::text.data();
  static constexpr bool linear = true;

  R rule{};
  double weights[std::size_t(Classes::groups)] = {};

  void check(Index experts) const {
    if constexpr (requires { rule.check(experts); }) rule.check(experts);
  }
  MOEBAL_FN auto summary(window_type const& window) const
    requires requires(R const& r) { r.summary(window); }
  {
    return rule.summary(window);
  }
  template <class... Summary>
  MOEBAL_FN double slope(window_type const& window, Index expert, Summary const&... summary) const {
    return weight(window, expert) * rule.slope(window, expert, summary...);
  }
  MOEBAL_FN double value(window_type const& window) const { return detail::linear_value(*this, window); }

  MOEBAL_FN static Index state_size(Index experts)
    requires stateful_rule<R>
  {
    return R::state_size(experts);
  }
  void start(VectorView<float> state) const
    requires stateful_rule<R>
  {
    rule.start(state);
  }
  void advance(window_type const& window, VectorView<float> state) const
    requires stateful_rule<R>
  {
    rule.advance(window, state);
  }

private:
  MOEBAL_FN double weight(window_type const& window, Index expert) const {
    return weights[Classes::of(expert, window.experts())];
  }
};

} // namespace moebal
