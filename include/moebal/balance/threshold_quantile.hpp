// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "../stats/score_histogram.hpp"
#include "histogram.hpp"
#include "rule.hpp"

namespace moebal {

/// Keeps the thresholds of threshold routing: each expert's threshold follows the score above which K / E of all tokens
/// lie,
///   thr_e <- keep * thr_e + (1 - keep) * (1 - K / E quantile of the expert's scores),   bias_e = -thr_e,
/// for Threshold<cap>{}, which takes the experts with score + bias above 0: expert choice made causal, with a varying
/// number of experts a token (Expert Threshold, 2603.11535; dynamic quantile balancing, kexue.fm/archives/11626). The
/// bias counts as it is here, so no mean is taken off. The quantile is of the whole scope, from a pooled histogram; the
/// average of the ranks' own would be another number. The first step takes its quantile in full, in the place of the
/// papers' warm-up. keep 0.9: kexue.fm; 2603.11535's own rule could not be read. active: K, which the cap is not. For
/// scores in [0, 1]. Communicated: E * bins integers a step; the bits are the same for any cut of it. Gradient: none.
template <Index bins = 1000> struct ThresholdQuantile {
  using histogram = stats::ScoreHistogram<bins>;
  using needs = stats::List<histogram>;
  using pooled = stats::List<histogram>;
  static constexpr char const* name = "threshold_quantile";

  float keep = 0.9f;
  Index active = 1; // K, the mean number of experts a token

  void check(Index experts) const { require_within("threshold_quantile: active experts", 1, experts, active); }
  void move(Window<needs, pooled> const& window, VectorView<float const> bias, VectorView<float> moved) const {
    Index const experts = bias.size();
    float const kept = window.step() == 0 ? 0 : keep;
    for (Index e = 0; e < experts; ++e) {
      std::int64_t const* const row = window.template load_data<histogram>() + e * bins;
      double const place = detail::histogram_quantile(row, bins, experts - active, experts);
      float const wanted = place < 0 ? bias[e] : float(-place / double(bins));
      moved[e] = __builtin_fmaf(kept, bias[e] - wanted, wanted);
    }
  }
};
static_assert(move_rule<ThresholdQuantile<>> && !loss_rule<ThresholdQuantile<>>);

} // namespace moebal
