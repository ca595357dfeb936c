// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "cv_squared.hpp"
#include "linear.hpp"

#include "../stats/weight_sums.hpp"

namespace moebal {

/// The importance loss: coefficient * CV^2 of what the tokens of the scope give each expert, CV^2 = var / (mean^2 +
/// epsilon) (Shazeer 1701.06538 eq. 6-7; V-MoE 2106.05974; half of Tutel's load_importance_loss). Two sums:
///   ImportanceLoss      the row-normalised scores, as V-MoE and Tutel. Reads no counts: an expert never chosen but
///                       always second is as important as one that is always chosen, so pair it with a load loss.
///   KeptImportanceLoss  the combine weights: with SoftmaxOverChosen the softmax over the kept logits, as Shazeer. For
///                       gates whose weights are in [0, 1].
/// coefficient 1e-2: Shazeer-style code (V-MoE adds importance and load with weight 1 and then 1e-2). Communicated: E
/// sums a micro-batch. Gradient: 2 coefficient / (E mean) ((I_e - mean) / mean - CV^2) per expert's sum (population,
/// epsilon 0), through the mean too; by the scores, or by the weights (and so to the chosen logits alone). Exact:
/// windows are integers, the rest is double.
template <class Statistic> struct ImportanceOf {
  using needs = stats::List<Statistic>;
  using pooled = stats::List<Statistic>;
  static constexpr bool of_weights = std::same_as<Statistic, stats::WeightSums>;
  static constexpr char const* name = of_weights ? "kept_importance" : "importance";

  double coefficient = 1e-2;
  Variance variance = Variance::Population;
  double epsilon = 0; // beside the squared mean; 1e-10 in Shazeer-style code and Tutel, on sums over tokens

  struct Sums {
    std::int64_t const* data;
    double unit;
    MOEBAL_FN double operator()(Index e) const { return double(data[e]) * unit; }
  };
  MOEBAL_FN static Sums sums(Window<needs, pooled> const& window) {
    return {window.template load_data<Statistic>(), window.score_unit()};
  }
  MOEBAL_FN detail::Spread summary(Window<needs, pooled> const& window) const {
    return detail::spread_of(sums(window), window.experts(), variance);
  }
  template <class... Spread>
  MOEBAL_FN double slope(Window<needs, pooled> const& window, Index expert, Spread const&... spread) const
    requires(!of_weights)
  {
    return by_sum(window, expert, spread...);
  }
  template <class... Spread>
  MOEBAL_FN double weight_slope(Window<needs, pooled> const& window, Index expert, Spread const&... spread) const
    requires of_weights
  {
    return by_sum(window, expert, spread...);
  }
  MOEBAL_FN double value(Window<needs, pooled> const& window) const {
    return coefficient * detail::cv_squared(summary(window), epsilon) * window.share();
  }

private:
  MOEBAL_FN double by_sum(Window<needs, pooled> const& window, Index expert) const {
    return by_sum(window, expert, summary(window));
  }
  MOEBAL_FN double by_sum(Window<needs, pooled> const& window, Index expert, detail::Spread const& spread) const {
    // By the mean, load_tokens times as much as by the sum: then token_weight knows ranks and micro-batches.
    double const slope = detail::cv_squared_slope(spread, sums(window)(expert), window.experts(), epsilon);
    return coefficient * (slope * double(window.load_tokens())) * window.token_weight();
  }
};
using ImportanceLoss = ImportanceOf<stats::ScoreSums>;
using KeptImportanceLoss = ImportanceOf<stats::WeightSums>;
static_assert(score_rule<ImportanceLoss> && !weight_rule<ImportanceLoss> && !bias_rule<ImportanceLoss>);
static_assert(weight_rule<KeptImportanceLoss> && !score_rule<KeptImportanceLoss>);

} // namespace moebal
