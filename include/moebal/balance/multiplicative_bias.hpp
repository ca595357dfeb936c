// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "rule.hpp"

namespace moebal {

/// Loss-free balancing by factors: experts rank by score * b, b_e = 1 at first, b_e += rate * sign(cbar - c_e) after
/// each step (2408.15664 Table 4, where it gains nothing over adding). Weights stay those of the score alone. Route
/// with RowOptions::bias_by = BiasBy::Scaling; a Pipeline does so by itself. rate 1e-3: the middle of the three that
/// the paper tried, and its best. A factor that falls to 0 ranks its expert by id among zeros, so it stays above
/// `least`. Communicated: the counts, E integers a step. Gradient: none. Exact: signs of integers, as LossFreeBias.
struct MultiplicativeBias {
  using needs = stats::List<stats::Counts>;
  using pooled = stats::List<stats::Counts>;
  static constexpr char const* name = "multiplicative_bias";
  static constexpr BiasBy bias_by = BiasBy::Scaling;

  float rate = 1e-3f;
  float least = 1e-3f;

  void move(Window<needs, pooled> const& window, VectorView<float const> factors, VectorView<float> moved) const {
    std::int64_t const sum = window.load_total<stats::Counts>();
    for (Index e = 0; e < factors.size(); ++e) {
      std::int64_t const scaled = window.experts() * window.load<stats::Counts>(e);
      float const factor = factors[e] + (sum > scaled ? rate : sum < scaled ? -rate : 0.0f);
      moved[e] = factor < least ? least : factor;
    }
  }
};
static_assert(move_rule<MultiplicativeBias> && !step_rule<MultiplicativeBias> && !loss_rule<MultiplicativeBias>);

} // namespace moebal
