// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "rule.hpp"

namespace moebal {

/// Loss-free balancing: the bias of an expert with fewer tokens than the mean grows by `rate`, with more it falls,
/// with the mean it stays (2408.15664 Algorithm 1). Compared in integers: sign(sum of the counts - E * count).
/// Centring::Mean as in torchtitan.
struct LossFreeBias {
  using needs = stats::List<stats::Counts>;
  using pooled = stats::List<stats::Counts>;
  static constexpr char const* name = "loss_free_bias";

  float rate = 1e-3f;
  Centring centring = Centring::None;

  MOEBAL_FN float step(Window<needs, pooled> const& window, Index expert) const {
    std::int64_t const sum = window.load_total<stats::Counts>();
    std::int64_t const scaled = window.experts() * window.load<stats::Counts>(expert);
    return sum > scaled ? rate : sum < scaled ? -rate : 0.0f;
  }
};
static_assert(bias_rule<LossFreeBias> && !loss_rule<LossFreeBias>);

/// Takes the mean off a bias [E], in place. It changes no choice of experts, and keeps the bits of a narrow copy for
/// what matters.
inline void centre_bias(VectorView<float> bias) {
  double sum = 0;
  for (float const b : bias) sum += b;
  double const mean = bias.empty() ? 0 : sum / double(bias.size());
  for (float& b : bias) b = float(b - mean);
}

} // namespace moebal
