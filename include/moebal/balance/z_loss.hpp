// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "rule.hpp"

namespace moebal {

/// Keeps logits small: coefficient / T * sum over tokens of logsumexp(logits)^2 (ST-MoE 2202.08906 eq. 5). Padding
/// rows count neither in the sum nor in T.
struct ZLoss {
  using needs = stats::List<stats::LogSumExpSquares>;
  using pooled = stats::None;
  static constexpr char const* name = "z";

  double coefficient = 1e-3;

  MOEBAL_FN double z_slope(Window<needs, pooled> const& window) const { return coefficient * window.token_weight(); }
  MOEBAL_FN double value(Window<needs, pooled> const& window) const { return z_slope(window) * window.square_sum(); }
};
static_assert(square_rule<ZLoss> && !score_rule<ZLoss>);

} // namespace moebal
