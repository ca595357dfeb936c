// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "linear.hpp"

namespace moebal {

/// What the counts of all choices are divided by, next to the number of tokens.
enum class DivideBy {
  TopK,  // K: the balanced loss is `coefficient` (Switch, DeepSeek, Megatron)
  Tokens // nothing: the balanced loss is `coefficient * K` (Hugging Face Mixtral)
};

/// The load-balancing loss: coefficient * E * sum_e (c_e / (K T)) * P_e, c_e the counts of the load window of T
/// tokens, P_e the mean normalised score of the score window; the counts carry no gradient. (Switch 2101.03961 eq. 4;
/// at global scope 2501.11873 eq. 4-6.) Its value is no measure of balance: read max_vio.
/// choices: First counts first choices only, which sum to T without a K (GShard, DeepSpeed top-2). source: Unbiased
/// counts the plain top-K of the scores (DeepSeek-V3's complementary loss).
template <Choices choices = Choices::All, CountSource source = CountSource::Routed> struct SwitchLoss {
  using counts = stats::CountsOf<choices, source>;
  using needs = stats::List<counts, stats::ScoreSums>;
  using pooled = stats::List<counts>;
  static constexpr char const* name = choices == Choices::All
                                          ? (source == CountSource::Routed ? "switch" : "switch_unbiased")
                                          : (source == CountSource::Routed ? "switch_first" : "switch_first_unbiased");
  static constexpr bool linear = true;

  double coefficient = 1e-2;
  DivideBy divide_by = DivideBy::TopK; // Choices::First: no effect

  MOEBAL_FN double slope(Window<needs, pooled> const& window, Index expert) const {
    if (window.load_tokens() == 0) return 0;
    bool const by_top_k = choices == Choices::All && divide_by == DivideBy::TopK;
    double const choices_per_token = by_top_k ? double(window.top_k()) : 1.0;
    double const load = double(window.experts() * window.template load<counts>(expert)) /
                        (choices_per_token * double(window.load_tokens()));
    return coefficient * load * window.token_weight();
  }
  MOEBAL_FN double value(Window<needs, pooled> const& window) const { return detail::linear_value(*this, window); }
};
static_assert(linear_rule<SwitchLoss<>> && !bias_rule<SwitchLoss<>>);

} // namespace moebal
