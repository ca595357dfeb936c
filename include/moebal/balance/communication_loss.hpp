// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "../stats/device_tokens.hpp"
#include "linear.hpp"

namespace moebal {

/// Balances what devices receive: coefficient * sum_j f''_j P''_j over D devices, f''_j = D / (M T) * (tokens sent to
/// device j), a token once however many experts it uses there, P''_j the sum of the mean scores of device j
/// (DeepSeek-V2, 2405.04434). With device-limited selection a device sends at most M T hidden states; this steers what
/// each receives towards the same. coefficient 0.02, devices_per_token M = 3: the paper. Communicated: D integers
/// (DeviceTokens). Gradient: coefficient * f''_dev(e) per expert's mean score; counts carry none.
template <expert_groups Devices> struct CommunicationLoss {
  using tokens = stats::DeviceTokens<Devices>;
  using needs = stats::List<tokens, stats::ScoreSums>;
  using pooled = stats::List<tokens>;
  static constexpr char const* name = "communication";
  static constexpr bool linear = true;

  double coefficient = 0.02;
  double devices_per_token = 3; // M

  MOEBAL_FN double slope(Window<needs, pooled> const& window, Index expert) const {
    if (window.load_tokens() == 0) return 0;
    double const sent = double(window.template load<tokens>(Devices::of(expert, window.experts())));
    double const load = double(Devices::groups) * sent / (devices_per_token * double(window.load_tokens()));
    return coefficient * load * window.token_weight();
  }
  MOEBAL_FN double value(Window<needs, pooled> const& window) const { return detail::linear_value(*this, window); }
};
static_assert(linear_rule<CommunicationLoss<ExpertBlocks<8>>>);

} // namespace moebal
