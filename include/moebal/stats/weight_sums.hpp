// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "score_sums.hpp"

namespace moebal::stats {

/// Sum over tokens of the combine weights, [E], in units of 1 / score_one<Real>: what each expert is asked to add. For
/// gates whose weights are in [0, 1]: a larger one counts as 1, a negative one or a NaN as 0. Exact to half a unit a
/// token, and no sum overflows below max_tokens<Real>.
struct WeightSums {
  template <class Real> static constexpr Index most_tokens = max_tokens<Real>;
  MOEBAL_FN static constexpr Index slots(Index experts) { return experts; }
  template <class Lanes, class Facts> MOEBAL_FN static void add(Lanes lanes, Facts const& facts, std::int64_t* sums) {
    using Real = typename Facts::real;
    ExpertId const* const ids = facts.ids();
    Real const* const weights = facts.weights();
    lanes.each_one(facts.count(), [=](Index k) { // distinct ids: lanes do not meet
      Real const w = weights[k] > 0 ? weights[k] : Real(0);
      lanes.add(sums, Index(ids[k]), math::to_fixed(w < 1 ? w : Real(1), score_one<Real>));
    });
  }
};

} // namespace moebal::stats
