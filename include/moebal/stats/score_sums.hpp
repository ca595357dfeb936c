// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "statistic.hpp"

namespace moebal::stats {

/// Units in 1 of a score sum, and the tokens that one window may hold before it could overflow.
template <class Real> inline constexpr double score_one = 0x1p32;
template <> inline constexpr double score_one<double> = 0x1p42;
template <class Real> inline constexpr Index max_tokens = Index(1) << 30;
template <> inline constexpr Index max_tokens<double> = Index(1) << 20;

/// Sum over tokens of the row-normalised scores, [E], in units of 1 / score_one<Real>. A normalised score is in [0, 1],
/// so the sum is exact to half a unit a token and cannot overflow below max_tokens<Real>. A NaN score counts as 0.
struct ScoreSums {
  template <class Real> static constexpr Index most_tokens = max_tokens<Real>;
  MOEBAL_FN static constexpr Index slots(Index experts) { return experts; }
  template <class Lanes, class Facts> MOEBAL_FN static void add(Lanes lanes, Facts const& facts, std::int64_t* scores) {
    using Real = typename Facts::real;
    facts.each_balance_score(lanes, [=](auto e, auto q) { lanes.add(scores, e, math::to_fixed(q, score_one<Real>)); });
  }
  template <class Lanes, class Facts>
    requires(Facts::has_shares)
  static void add_tile(Lanes lanes, Facts& facts, std::int64_t* scores) {
    facts.add_shares(lanes, score_one<float>, scores);
  }
};

} // namespace moebal::stats
