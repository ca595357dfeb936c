// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "targets.hpp"

namespace moebal {

/// What the error of an expert's load is measured in.
enum class ErrorUnit {
  MeanLoad, // (cbar_e - c_e) / cbar with cbar the mean: E (Q_e - F_e), of order 1 for any E
  Share     // Q_e - F_e, of order 1 / E
};

/// Loss-free balancing with a step as large as the error: b_e += rate * error_e, error = E (Q_e - F_e) or Q_e - F_e, F
/// the share of the load, Q the target (2408.15664 Table 3, whose unnormalised form needs counts divided by the mean to
/// make sense of its rates; targets: kexue.fm/archives/10757). Balances closer than the sign rule, at a slightly higher
/// loss in that table.
/// rate 1e-3: the middle of the three that the paper tried. Communicated: the counts, E integers a step. Gradient:
/// none. Exact: counts are integers, so the steps have the same bits for any cut of the batch.
struct ProportionalBias {
  using needs = stats::List<stats::Counts>;
  using pooled = stats::List<stats::Counts>;
  static constexpr char const* name = "proportional_bias";

  float rate = 1e-3f;
  Centring centring = Centring::None; // uniform errors sum to 0 already
  ErrorUnit unit = ErrorUnit::MeanLoad;
  TargetShares targets{};

  void check(Index experts) const { detail::check_targets(targets, experts); }
  MOEBAL_FN float step(Window<needs, pooled> const& window, Index expert) const {
    double const scale = unit == ErrorUnit::MeanLoad ? double(window.experts()) : 1.0;
    return float(double(rate) * (scale * detail::missing_share(window, targets, expert)));
  }
};
static_assert(step_rule<ProportionalBias> && !loss_rule<ProportionalBias>);

} // namespace moebal
