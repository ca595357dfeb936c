// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "targets.hpp"

namespace moebal {

/// Loss-free balancing with a step of fixed root mean square: b -= rate * (F - Q) / sqrt(mean((F - Q)^2)), F the shares
/// of the load, Q the targets (J. Su, kexue.fm/archives/10757). Like the sign rule its step does not fade near balance,
/// but experts move by how far off they are. Perfect balance moves nothing. rate 1e-3: the source's, the same as for
/// the sign rule. Communicated: the counts, E integers a step. Gradient: none. Exact: as ProportionalBias; the sum runs
/// over the experts in order.
struct RmsBias {
  using needs = stats::List<stats::Counts>;
  using pooled = stats::List<stats::Counts>;
  static constexpr char const* name = "rms_bias";

  float rate = 1e-3f;
  TargetShares targets{};

  void check(Index experts) const { detail::check_targets(targets, experts); }
  void move(Window<needs, pooled> const& window, VectorView<float const> bias, VectorView<float> moved) const {
    double squares = 0;
    for (Index e = 0; e < bias.size(); ++e) {
      double const error = detail::missing_share(window, targets, e);
      squares = __builtin_fma(error, error, squares);
    }
    double const rms = std::sqrt(squares / double(bias.size()));
    for (Index e = 0; e < bias.size(); ++e) {
      double const step = rms == 0 ? 0 : detail::missing_share(window, targets, e) / rms;
      moved[e] = __builtin_fmaf(rate, float(step), bias[e]);
    }
  }
};
static_assert(move_rule<RmsBias> && !step_rule<RmsBias> && !loss_rule<RmsBias>);

} // namespace moebal
