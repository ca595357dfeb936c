// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "../stats/device_tokens.hpp"
#include "linear.hpp"

namespace moebal {

/// Balances what devices compute: coefficient * sum_j f'_j P'_j over D devices, f'_j the mean of f_e = E c_e / (K T)
/// over the experts of device j, P'_j the sum of their mean scores (DeepSeekMoE 2401.06066 eq. 15-17, DeepSeek-V2
/// 2405.04434). With devices of equal size f'_j = D * (share of the choices), the group loss of Step-3.5 too. A
/// balanced load costs `coefficient`. coefficient 0.05: both papers. Devices: which expert is where, e.g.
/// ExpertBlocks<8>. Communicated: the counts, E integers. Gradient: coefficient * f'_dev(e) per expert's mean score;
/// counts carry none. Rules{SwitchLoss<>{.coefficient = a1}, DeviceLoss{a2}, CommunicationLoss{a3}} has the slope k_e =
/// a1 f_e + a2 f'_dev(e) + a3 f''_dev(e) of DeepSeek-V2, in one pass back through the gate; its scope there is
/// Sequence<>.
template <expert_groups Devices> struct DeviceLoss {
  using needs = stats::List<stats::Counts, stats::ScoreSums>;
  using pooled = stats::List<stats::Counts>;
  static constexpr char const* name = "device";
  static constexpr bool linear = true;

  double coefficient = 0.05;

  struct Summary {
    double load[std::size_t(Devices::groups)]; // f'
  };
  MOEBAL_FN Summary summary(Window<needs, pooled> const& window) const {
    Summary s{};
    Index members[std::size_t(Devices::groups)] = {};
    for (Index e = 0; e < window.experts(); ++e) {
      Index const device = Devices::of(e, window.experts());
      s.load[device] += double(window.template load<stats::Counts>(e));
      ++members[device];
    }
    double const choices = double(window.top_k()) * double(window.load_tokens());
    for (Index j = 0; j < Devices::groups; ++j)
      if (members[j] > 0 && choices > 0)
        s.load[j] = s.load[j] / double(members[j]) * double(window.experts()) / choices;
    return s;
  }
  MOEBAL_FN double slope(Window<needs, pooled> const& window, Index expert, Summary const& s) const {
    return coefficient * s.load[Devices::of(expert, window.experts())] * window.token_weight();
  }
  MOEBAL_FN double slope(Window<needs, pooled> const& window, Index expert) const {
    return slope(window, expert, summary(window));
  }
  MOEBAL_FN double value(Window<needs, pooled> const& window) const { return detail::linear_value(*this, window); }
};
static_assert(linear_rule<DeviceLoss<ExpertBlocks<8>>>);

} // namespace moebal
