// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "statistic.hpp"

namespace moebal::stats {

/// Equal bins over [least bias - 1, most bias + 1]: where margins lie while scores are in [0, 1] (Kimi K3, 2607.24653
/// App. D). What lies outside counts in the first or the last bin.
template <class Real> struct MarginBins {
  Real low;   // lower end of bin 0
  Real scale; // bins in 1
  Index bins;

  MOEBAL_FN static MarginBins of_bias(Real least, Real most, Index bins) {
    return {least - 1, Real(bins) / (most - least + 2), bins};
  }
  /// The bin of a margin; -1 for NaN.
  MOEBAL_FN Index operator()(Real margin) const {
    Real const place = math::mul(margin - low, scale);
    if (math::is_nan(place)) return -1;
    if (!(place > 0)) return 0;
    return place < Real(bins) ? Index(place) : bins - 1;
  }
};

/// How many tokens need which bias of an expert in order to choose it: [E, bins] counts of alpha - s, with s the score
/// of the expert and alpha the (K + 1)-th best score + bias of the token. A token whose margin is NaN is not counted;
/// with K = E nothing is. The bins follow the bias that the tokens were routed by, so loads add up only while it stays.
/// Cost: K + 1 passes over the row in cache and one scattered add an expert; E * bins integers a sequence, and all of
/// them once for each worker and each micro-batch of a step. Exact.
template <Index bins = 1000> struct MarginHistogram {
  static_assert(bins >= 1, "moebal: a histogram has at least one bin");
  MOEBAL_FN static constexpr Index slots(Index experts) { return experts * bins; }
  template <class Lanes, class Facts> MOEBAL_FN static void add(Lanes lanes, Facts const& facts, std::int64_t* counts) {
    using Real = typename Facts::real;
    auto const range = facts.bias_range(lanes);
    auto const bin_of = MarginBins<Real>::of_bias(range.least, range.most, bins);
    facts.each_margin(lanes, [=](Index e, Real margin) {
      Index const bin = bin_of(margin);
      if (bin >= 0) lanes.add(counts, e * bins + bin, 1); // one expert a lane: they do not meet
    });
  }
};

} // namespace moebal::stats
