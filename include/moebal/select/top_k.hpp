// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "rounds.hpp"
#include "selection.hpp"

namespace moebal {

/// The K experts with the best keys: the logit, or score + bias where there is a bias. Equal keys: the lower id.
/// Switch (arXiv 2101.03961), GShard (2006.16668), and the selection of Loss-Free Balancing (2408.15664) with its bias.
/// Cost: K passes over E packed words in cache.
template <int K> struct TopK {
  static_assert(K >= 1, "moebal: TopK<K> needs K of at least 1");
  static constexpr Index top_k = K;
  static constexpr bool causal = true;        // looks at one token only
  static constexpr bool needs_keys = true;
  static constexpr bool needs_scores = false; // logits rank alike

  void check(Index experts) const { require_within("K of TopK<K> for E experts (E is the upper bound)", 1, experts, K); }
  MOEBAL_FN static constexpr Index scratch_words(Index) { return 0; }

  template <class Real, class Lanes>
  MOEBAL_FN Index choose(Lanes lanes, select::Candidates<Real> row, ExpertId* ids) const {
    select::best_first(lanes, static_cast<rank_word_t<Real> const*>(row.words), row.experts, top_k,
                       [=](Index k, rank_word_t<Real> word) { lanes.once([=] { ids[k] = id_of(word); }); });
    return top_k;
  }

  /// The same for a tile of rows: ids [K][rows]. Returns the rows, as bits, that it leaves to choose().
  template <class Tile, class Keys>
    requires(K <= Tile::most_k)
  static unsigned choose_tile(Tile, Keys const& keys, Index experts, std::int32_t (*ids)[Tile::rows]) {
    return Tile::template top_k<K>(keys, experts, ids);
  }

  /// The same for a row in a warp's registers (backend/warp_row.hpp): lane k gets the word of choice k.
  static constexpr bool fits_warp(Index) { return true; }
  template <class Row, class Ranked> MOEBAL_FN static auto choose_warp(Row, Ranked& ranked, float const*, Index) {
    return ranked.template best_first<K>();
  }
};
static_assert(row_selection<TopK<2>>);

} // namespace moebal
