// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "rounds.hpp"
#include "selection.hpp"

namespace moebal {

/// Every expert whose score + bias is above `threshold`, best first, at most K of them, at least `least`. A NaN is
/// above nothing.
///   fixed: Threshold<K>{.threshold = 0.5f} with Sigmoid;
///   ReMoE (arXiv 2412.14711): Threshold<K>{} with ReLU, an expert works where its score is above 0;
///   Expert Threshold (2603.11535) and dynamic quantile balancing (kexue.fm/archives/11626): one threshold an expert,
///   the moving quantile of its scores that a balancing rule keeps. Give it as the bias, RowOptions::bias = -threshold.
/// The count varies from token to token and may be 0, which a shared expert, or least = 1, is for. K is a cap on
/// memory; the count that a constant bias moves is the one exception to "a constant added to all biases changes
/// nothing". Cost: all E scores, and one round of E words an expert taken and one more. Nothing is communicated.
/// Gradient: through the weights.
template <int K> struct Threshold {
  static_assert(K >= 1, "moebal: Threshold<K> needs K of at least 1");
  static constexpr Index top_k = K;
  static constexpr bool causal = true;
  static constexpr bool needs_keys = true;
  static constexpr bool needs_scores = true;

  float threshold = 0;
  Index least = 0;

  void check(Index experts) const {
    require_within("K of Threshold<K> for E experts (E is the upper bound)", 1, experts, K);
    require_within("experts that Threshold<K> takes at least (K is the upper bound)", 0, K, least);
  }
  MOEBAL_FN static constexpr Index scratch_words(Index) { return 0; }

  template <class Real, class Lanes>
  MOEBAL_FN Index choose(Lanes lanes, select::Candidates<Real> row, ExpertId* ids) const {
    Index count = 0;
    select::best_while(lanes, static_cast<rank_word_t<Real> const*>(row.words), row.experts, top_k,
                       [&](Index k, rank_word_t<Real> word) {
                         bool const above = row.values[id_of(word)] > Real(threshold);
                         if (!above && k >= least) return false;
                         lanes.once([=] { ids[k] = id_of(word); });
                         count = k + 1;
                         return true;
                       });
    return count;
  }
};
static_assert(row_selection<Threshold<2>>);

} // namespace moebal
