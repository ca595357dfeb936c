// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "proportional_bias.hpp"

namespace moebal {

/// The bias of experts that compute beside experts that do nothing: b_e += rate * (K_e / (K N) - c_e / (K T)) for the N
/// computing experts, ids [0, N), and no step for the zero-computation experts after them. Where each computing expert
/// meets its target, a token uses K_e of them on average, and the others take the rest by themselves (LongCat-Flash,
/// 2509.01322; there called a PID controller, but only this proportional step with a falling rate is published: anneal
/// it). rate: not published; 1e-3 as elsewhere, which asks for errors of order 1, so that by default they are measured
/// in units of the target. Communicated: the counts, E integers a step. Gradient: none. Exact: as ProportionalBias.
struct ZeroExpertBias {
  using needs = stats::List<stats::Counts>;
  using pooled = stats::List<stats::Counts>;
  static constexpr char const* name = "zero_expert_bias";

  float rate = 1e-3f;
  Index computing_experts = 512; // N
  double computing_choices = 8;  // K_e, of the K choices of a token
  ErrorUnit unit = ErrorUnit::MeanLoad;

  void check(Index experts) const {
    require_within("zero_expert_bias: computing experts", 1, experts, computing_experts);
  }
  MOEBAL_FN float step(Window<needs, pooled> const& window, Index expert) const {
    if (expert >= computing_experts || window.load_tokens() == 0) return 0;
    double const target = computing_choices / (double(window.top_k()) * double(computing_experts));
    double const choices = double(window.top_k()) * double(window.load_tokens());
    double const missing = target - double(window.load<stats::Counts>(expert)) / choices;
    return float(double(rate) * (unit == ErrorUnit::MeanLoad ? missing / target : missing));
  }
};
static_assert(step_rule<ZeroExpertBias> && !loss_rule<ZeroExpertBias>);

} // namespace moebal
