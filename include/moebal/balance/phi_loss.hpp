// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "linear.hpp"

namespace moebal {

/// A strictly convex, symmetric function of shares, smallest where they are equal.
enum class Potential {
  NegativeEntropy, // sum m ln m, gradient ln m + 1
  Euclidean        // sum m^2 / 2, gradient m
};

/// phi-balancing (2605.15403): coefficient * sum_e g_e P_e, g = grad Phi(m), P the mean normalised scores of the
/// micro-batch, and m <- (1 - rate) m + rate * P after each step, P there over the whole scope. The Switch loss with a
/// function of an average over steps in the place of the counts: it needs no counts and no wide batch. m carries no
/// gradient. rate 0.01, coefficient 1e-3: the implementations that could be read; the paper's own are not known here. m
/// starts at 1 / E, where the loss pulls nowhere. State: m [E], fp32. Communicated: E score sums a step. Gradient:
/// coefficient * g_e per expert's mean score. Exact: the windows are integers, so m has the same bits on all ranks.
struct PhiLoss {
  using needs = stats::List<stats::ScoreSums>;
  using pooled = stats::List<stats::ScoreSums>;
  static constexpr char const* name = "phi";
  static constexpr bool linear = true;

  double coefficient = 1e-3;
  double rate = 0.01;
  Potential potential = Potential::NegativeEntropy;

  MOEBAL_FN static Index state_size(Index experts) { return experts; }
  void start(VectorView<float> shares) const {
    for (float& m : shares) m = float(1.0 / double(shares.size()));
  }
  void advance(Window<needs, pooled> const& window, VectorView<float> shares) const {
    if (window.load_tokens() == 0) return;
    for (Index e = 0; e < shares.size(); ++e)
      shares[e] = float(__builtin_fma(rate, window.load_mean_score(e) - double(shares[e]), double(shares[e])));
  }
  MOEBAL_FN double slope(Window<needs, pooled> const& window, Index expert) const {
    double const m = double(window.state(expert));
    double const gradient = potential == Potential::Euclidean ? m : detail::log_share(m) + 1;
    return coefficient * gradient * window.token_weight();
  }
  MOEBAL_FN double value(Window<needs, pooled> const& window) const { return detail::linear_value(*this, window); }
};
static_assert(linear_rule<PhiLoss> && stateful_rule<PhiLoss> && !bias_rule<PhiLoss>);

} // namespace moebal
