// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "cv_squared.hpp"
#include "linear.hpp"

namespace moebal {

/// The importance loss: coefficient * CV^2 of the experts' score sums over the scope, CV^2 = var / (mean^2 + epsilon)
/// (Shazeer 1701.06538 eq. 6-7; V-MoE 2106.05974; half of Tutel's load_importance_loss). Reads no counts: an expert
/// that is never chosen but always second is as important as one that is always chosen, so pair it with a load loss.
/// The scores are the gate's row-normalised ones; the softmax of the kept logits, over which Shazeer sums, is not what
/// the statistic holds. coefficient 1e-2: Shazeer-style code (V-MoE adds importance and load with weight 1 and then
/// 1e-2). Communicated: E score sums a micro-batch. Gradient: 2 coefficient / (E mean) ((I_e - mean) / mean - CV^2) per
/// expert's sum (population, epsilon 0), through the mean too. Exact: windows are integers, the rest is double.
struct ImportanceLoss {
  using needs = stats::List<stats::ScoreSums>;
  using pooled = stats::List<stats::ScoreSums>;
  static constexpr char const* name = "importance";

  double coefficient = 1e-2;
  Variance variance = Variance::Population;
  double epsilon = 0; // beside the squared mean; 1e-10 in Shazeer-style code and Tutel, on sums over tokens

  struct Sums {
    std::int64_t const* data;
    double unit;
    MOEBAL_FN double operator()(Index e) const { return double(data[e]) * unit; }
  };
  MOEBAL_FN static Sums sums(Window<needs, pooled> const& window) {
    return {window.load_data<stats::ScoreSums>(), window.score_unit()};
  }
  MOEBAL_FN detail::Spread summary(Window<needs, pooled> const& window) const {
    return detail::spread_of(sums(window), window.experts(), variance);
  }
  MOEBAL_FN double slope(Window<needs, pooled> const& window, Index expert, detail::Spread const& spread) const {
    // By the mean score, load_tokens times as much as by the sum: then token_weight knows ranks and micro-batches.
    double const by_sum = detail::cv_squared_slope(spread, sums(window)(expert), window.experts(), epsilon);
    return coefficient * (by_sum * double(window.load_tokens())) * window.token_weight();
  }
  MOEBAL_FN double slope(Window<needs, pooled> const& window, Index expert) const {
    return slope(window, expert, summary(window));
  }
  MOEBAL_FN double value(Window<needs, pooled> const& window) const {
    return coefficient * detail::cv_squared(summary(window), epsilon) * window.share();
  }
};
static_assert(score_rule<ImportanceLoss> && !bias_rule<ImportanceLoss>);

} // namespace moebal
