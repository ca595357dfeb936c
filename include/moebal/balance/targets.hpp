// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What bias rules measure: how far the share of an expert is from the one that it should have.

#include "../core/errors.hpp"
#include "rule.hpp"

#include <cmath>

namespace moebal {

/// Target shares of the experts [E], summing to 1, in the caller's memory, which outlives the balancer; empty: 1 / E
/// each. Other shares serve devices of unequal speed.
using TargetShares = VectorView<float const>;

namespace detail {
inline void check_targets(TargetShares targets, Index experts) {
  if (targets.empty()) return;
  require_equal("target shares, experts", experts, targets.size());
  double sum = 0;
  bool good = true;
  for (float const q : targets) {
    good = good && q >= 0;
    sum += q;
  }
  if (!good || !(std::abs(sum - 1) <= 1e-3))
    refuse<ShapeError>("target shares", "numbers that are not negative and sum to 1",
                       "a sum of " + std::to_string(sum));
}
MOEBAL_FN inline double target_of(TargetShares targets, Index expert, Index experts) {
  return targets.empty() ? 1.0 / double(experts) : double(targets[expert]);
}
/// Q_e - F_e, the target share less the share of the load; 0 where nothing was counted.
template <class W> MOEBAL_FN double missing_share(W const& window, TargetShares targets, Index expert) {
  std::int64_t const sum = window.template load_total<stats::Counts>();
  if (sum == 0) return 0;
  return target_of(targets, expert, window.experts()) -
         double(window.template load<stats::Counts>(expert)) / double(sum);
}
} // namespace detail
} // namespace moebal
