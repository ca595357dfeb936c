// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "statistic.hpp"

namespace moebal {

/// Which of `groups` groups an expert belongs to: a device, a node, a kind of expert.
template <class M>
concept expert_groups = requires(Index expert, Index experts) {
  { M::groups } -> std::convertible_to<Index>;
  { M::of(expert, experts) } -> std::same_as<Index>;
};

/// Groups of neighbours, as equal as can be: expert e of E is in group e * G / E.
template <Index G> struct ExpertBlocks {
  static constexpr Index groups = G;
  MOEBAL_FN static Index of(Index expert, Index experts) { return expert * G / experts; }
};
static_assert(expert_groups<ExpertBlocks<8>>);

namespace stats {

/// Tokens that are sent to each device, [D]: a token counts once for a device, however many of its experts there it
/// chose. Exact.
template <expert_groups Devices> struct DeviceTokens {
  MOEBAL_FN static constexpr Index slots(Index) { return Devices::groups; }
  template <class Lanes, class Facts> MOEBAL_FN static void add(Lanes lanes, Facts const& facts, std::int64_t* counts) {
    ExpertId const* const ids = facts.ids();
    Index const experts = facts.experts();
    lanes.each_one(facts.count(), [=](Index k) { // the first choice of each device counts it: lanes do not meet
      Index const device = Devices::of(ids[k], experts);
      bool first = true;
      for (Index before = 0; before < k; ++before) first = first && Devices::of(ids[before], experts) != device;
      if (first) lanes.add(counts, device, 1);
    });
  }
};

} // namespace stats
} // namespace moebal
