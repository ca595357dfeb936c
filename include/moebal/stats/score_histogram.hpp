// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "statistic.hpp"

namespace moebal::stats {

/// How many tokens gave an expert which score: [E, bins] counts of the gate's scores in equal bins over [0, 1]; what
/// lies outside counts in the first or the last bin, NaN is not counted. Cost: one pass over the row and one scattered
/// add an expert; E * bins integers a sequence, and all of them once for each worker and each micro-batch of a step.
/// Exact.
template <Index bins = 1000> struct ScoreHistogram {
  static_assert(bins >= 1, "moebal: a histogram has at least one bin");
  MOEBAL_FN static constexpr Index slots(Index experts) { return experts * bins; }
  template <class Lanes, class Facts> MOEBAL_FN static void add(Lanes lanes, Facts const& facts, std::int64_t* counts) {
    using Real = typename Facts::real;
    facts.each_score(lanes, [=](Index e, Real score) {
      if (math::is_nan(score)) return;
      Real const place = score * Real(bins);
      Index const bin = !(place > 0) ? 0 : place < Real(bins) ? Index(place) : bins - 1;
      counts[e * bins + bin] += 1; // one expert a lane: they do not meet
    });
  }
};

} // namespace moebal::stats
