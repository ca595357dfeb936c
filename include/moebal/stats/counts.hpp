// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "statistic.hpp"

namespace moebal {

/// Which of a token's K choices are counted.
enum class Choices { All, First };
/// Whose choices are counted: those that were routed, or the plain top-K of the scores without bias and groups.
enum class CountSource { Routed, Unbiased };

namespace stats {

/// Tokens that chose each expert, [E]. Exact.
template <Choices choices, CountSource source> struct CountsOf {
  MOEBAL_FN static constexpr Index slots(Index experts) { return experts; }
  template <class Lanes, class Facts> MOEBAL_FN static void add(Lanes lanes, Facts const& facts, std::int64_t* counts) {
    constexpr bool routed = source == CountSource::Routed;
    ExpertId const* const ids = routed ? facts.ids() : facts.unbiased(lanes);
    Index const count = routed ? facts.count() : facts.top_k();
    if (count == 0) return;
    if constexpr (choices == Choices::All)
      lanes.each_one(count, [=](Index k) { lanes.add(counts, Index(ids[k]), 1); }); // distinct ids: lanes do not meet
    else
      lanes.once([=] { lanes.add(counts, Index(ids[0]), 1); });
  }
  template <class Lanes, class Facts>
    requires(source == CountSource::Routed)
  static void add_tile(Lanes, Facts const& facts, std::int64_t* counts) {
    if constexpr (choices == Choices::All && requires { facts.counted(); })
      if (facts.counted()) return; // for ranks: the router writes these counts in the end
    facts.count_choices(choices == Choices::All ? facts.top_k() : 1, counts);
  }
};
using Counts = CountsOf<Choices::All, CountSource::Routed>;
using FirstChoiceCounts = CountsOf<Choices::First, CountSource::Routed>;
using UnbiasedCounts = CountsOf<Choices::All, CountSource::Unbiased>;
using UnbiasedFirstChoiceCounts = CountsOf<Choices::First, CountSource::Unbiased>;

} // namespace stats
} // namespace moebal
