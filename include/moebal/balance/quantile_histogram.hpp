// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "../stats/margin_histogram.hpp"
#include "histogram.hpp"
#include "loss_free_bias.hpp"
#include "rule.hpp"

namespace moebal {

/// Quantile balancing from a pooled histogram (Kimi K3, 2607.24653 section 2.3.3 and App. D): the new bias of an expert
/// is the one with which K T / E of the step's tokens would have chosen it, read from the counts of what they needed:
///   b_e = b_min - 1 + (bin + clip((q - before) / in_bin, 0, 1)) * w,   w = (b_max - b_min + 2) / bins,
/// bin the first whose cumulative count reaches ceil(q), q = K / E of the tokens counted; then the mean is taken off.
/// There is no rate. It is the coordinate step of the assignment problem's dual whose sign-gradient step is
/// LossFreeBias (kexue.fm/archives/11619); quantile_duals is the exact form. For gates whose scores are in [0, 1]:
/// sigmoid, softmax. keep: the part of the old bias that stays (an EMA over steps); 0 as in the paper. bins: 1000 as
/// there; the error of a bias is at most w. Communicated: E * bins integers a step. Averages of the ranks' quantiles
/// would be other, biased numbers; pooled counts have the same bits for any cut of the step. Gradient: none. Causal:
/// the bias holds from the next step on.
template <Index bins = 1000> struct QuantileHistogram {
  using histogram = stats::MarginHistogram<bins>;
  using needs = stats::List<histogram>;
  using pooled = stats::List<histogram>;
  static constexpr char const* name = "quantile_histogram";

  float keep = 0;

  void move(Window<needs, pooled> const& window, VectorView<float const> bias, VectorView<float> moved) const {
    double least = bias[0], most = bias[0];
    for (float const b : bias) {
      least = b < least ? b : least;
      most = b > most ? b : most;
    }
    double const width = (most - least + 2) / double(bins);
    for (Index e = 0; e < bias.size(); ++e) {
      std::int64_t const* const row = window.template load_data<histogram>() + e * bins;
      double const place = detail::histogram_quantile(row, bins, window.top_k(), bias.size());
      moved[e] = place < 0 ? bias[e] : float(__builtin_fma(place, width, least - 1));
    }
    centre_bias(moved);
    for (Index e = 0; e < bias.size(); ++e) moved[e] = __builtin_fmaf(keep, bias[e] - moved[e], moved[e]);
  }
};
static_assert(move_rule<QuantileHistogram<>> && !step_rule<QuantileHistogram<>> && !loss_rule<QuantileHistogram<>>);

} // namespace moebal
