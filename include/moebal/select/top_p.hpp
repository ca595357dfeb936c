// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "rounds.hpp"
#include "selection.hpp"

namespace moebal {

/// Top-p, or dynamic routing (arXiv 2403.07652): the shortest prefix of the experts, best first, whose probabilities
/// sum to more than `mass`, the one that crosses included; K of them if it never does (the paper's code then takes
/// all: K = E). At least one expert. With Softmax, whose weights are the raw probabilities as published; an added
/// bias takes part in the sum, so give none, and a gate whose scores do not sum to 1 needs its own mass. mass: 0.4,
/// the paper's. K is a cap: the memory that a token may need. Cost: all E probabilities and one round of E words an
/// expert taken. Nothing is communicated. Gradient: through the weights. Usual company: Switch loss 1e-2 and an
/// entropy loss 1e-4.
template <int K> struct TopP {
  static_assert(K >= 1, "moebal: TopP<K> needs K of at least 1");
  static constexpr Index top_k = K;
  static constexpr bool causal = true;
  static constexpr bool needs_keys = true;
  static constexpr bool needs_scores = true;

  float mass = 0.4f;

  void check(Index experts) const {
    require_within("K of TopP<K> for E experts (E is the upper bound)", 1, experts, K);
  }
  MOEBAL_FN static constexpr Index scratch_words(Index) { return 0; }

  template <class Real, class Lanes>
  MOEBAL_FN Index choose(Lanes lanes, select::Candidates<Real> row, ExpertId* ids) const {
    Real sum = 0;
    Real const most = Real(mass);
    return select::best_while(lanes, static_cast<rank_word_t<Real> const*>(row.words), row.experts, top_k,
                              [&](Index k, rank_word_t<Real> word) {
                                lanes.once([=] { ids[k] = id_of(word); });
                                sum = sum + row.values[id_of(word)];
                                return !(sum > most); // a NaN never crosses
                              });
  }
};
static_assert(row_selection<TopP<2>>);

} // namespace moebal
