// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "linear.hpp"

namespace moebal {

/// A device loss where some experts compute nothing: D groups of the N computing experts, ids [0, N), and the others as
/// group D + 1: coefficient * sum_j f_j P_j, f_j = D / (K_e T) * (choices of group j), f_{D+1} = 1 / ((K - K_e) T) *
/// (choices of the rest), P_j the sum of the mean scores (LongCat-Flash, 2509.01322). A load at its target costs
/// `coefficient` times the mean score. The normalisers of f are not printed in what could be read; these make each f 1
/// at the target. coefficient: not published; 1e-3, that of like losses. Communicated: the counts, E integers.
/// Gradient: coefficient * f per expert's mean score.
template <Index devices> struct ZeroExpertDeviceLoss {
  using needs = stats::List<stats::Counts, stats::ScoreSums>;
  using pooled = stats::List<stats::Counts>;
  static constexpr char const* name = "zero_expert_device";
  static constexpr bool linear = true;

  double coefficient = 1e-3;
  Index computing_experts = 512; // N
  double computing_choices = 8;  // K_e, of the K choices of a token

  void check(Index experts) const {
    require_within("zero_expert_device: computing experts", 1, experts, computing_experts);
  }

  struct Summary {
    double load[std::size_t(devices) + 1];
  };
  MOEBAL_FN Summary summary(Window<needs, pooled> const& window) const {
    Summary s{};
    for (Index e = 0; e < window.experts(); ++e) s.load[group(e)] += double(window.template load<stats::Counts>(e));
    double const tokens = double(window.load_tokens()), others = double(window.top_k()) - computing_choices;
    for (Index j = 0; j < devices; ++j)
      s.load[j] = tokens == 0 ? 0 : double(devices) * s.load[j] / (computing_choices * tokens);
    s.load[devices] = tokens == 0 || others <= 0 ? 0 : s.load[devices] / (others * tokens);
    return s;
  }
  MOEBAL_FN double slope(Window<needs, pooled> const& window, Index expert, Summary const& s) const {
    return coefficient * s.load[group(expert)] * window.token_weight();
  }
  MOEBAL_FN double slope(Window<needs, pooled> const& window, Index expert) const {
    return slope(window, expert, summary(window));
  }
  MOEBAL_FN double value(Window<needs, pooled> const& window) const { return detail::linear_value(*this, window); }

private:
  MOEBAL_FN Index group(Index expert) const {
    return expert < computing_experts ? expert * devices / computing_experts : devices;
  }
};
static_assert(linear_rule<ZeroExpertDeviceLoss<8>>);

} // namespace moebal
