// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "rounds.hpp"
#include "selection.hpp"

namespace moebal {

/// What a group of experts is ranked by.
enum class GroupScore {
  Max,    // its best member (DeepSeek-V2, arXiv 2405.04434)
  SumTop, // the sum of its best `sum_of` members (DeepSeek-V3, arXiv 2412.19437: 2)
};

/// The K best experts within the `kept` best of `groups` equal groups of consecutive experts. Members count with score + bias;
/// equal groups: the lower group. A NaN member counts as -inf in a sum; a group of NaN alone ranks last.
/// groups = 1 is TopK. Cost: one pass over E for the groups, then K passes.
template <int K> struct GroupLimitedTopK {
  static_assert(K >= 1, "moebal: GroupLimitedTopK<K> needs K of at least 1");
  static constexpr Index top_k = K;
  static constexpr bool causal = true;
  static constexpr bool needs_keys = true;
  static constexpr bool needs_scores = true;

  Index groups = 1;
  Index kept = 1;
  GroupScore score = GroupScore::SumTop;
  Index sum_of = 2;

  void check(Index experts) const {
    require_within("groups of GroupLimitedTopK for E experts (E is the upper bound)", 1, experts, groups);
    require_equal("E modulo groups of GroupLimitedTopK", 0, experts % groups);
    require_within("groups kept by GroupLimitedTopK", 1, groups, kept);
    require_at_least("members summed by GroupLimitedTopK (sum_of)", 1, sum_of);
    require_within("K of GroupLimitedTopK<K> (the experts of the kept groups are the upper bound)", 1, kept * (experts / groups), K);
  }
  MOEBAL_FN Index scratch_words(Index) const { return groups; }

  template <class Real, class Lanes>
  MOEBAL_FN Index choose(Lanes lanes, select::Candidates<Real> row, ExpertId* ids) const {
    using Word = rank_word_t<Real>;
    if (kept < groups) {
      Index const size = row.experts / groups;
      for (Index g = 0; g < groups; ++g) {
        Word const word = group_word(lanes, row, g, size);
        lanes.once([=] { row.scratch[g] = word; });
      }
      Word least = 0; // the last group that is kept
      select::best_first(lanes, static_cast<Word const*>(row.scratch), groups, kept, [&](Index, Word word) { least = word; });
      for (Index g = 0; g < groups; ++g) {
        if (row.scratch[g] >= least) continue;
        lanes.each_one(size, [=](Index i) { row.words[g * size + i] = 0; });
      }
    }
    select::best_first(lanes, static_cast<Word const*>(row.words), row.experts, top_k,
                       [=](Index k, Word word) { lanes.once([=] { ids[k] = id_of(word); }); });
    return top_k;
  }

  /// The same for a tile of rows whose keys are score + bias, as in TopK.
  template <class Tile, class Keys>
    requires(K <= Tile::most_k)
  unsigned choose_tile(Tile, Keys const& keys, Index experts, std::int32_t (*ids)[Tile::rows]) const {
    if (kept >= groups) return Tile::template top_k<K>(keys, experts, ids);
    Index const size = experts / groups;
    return Tile::template group_limited_top_k<K>(keys, experts, groups, kept, summed_of(size), ids);
  }

  /// The same for a row in a warp's registers, as in TopK; values [E] score + bias.
  static constexpr Index most_warp_groups = 32, most_warp_summed = 2;
  bool fits_warp(Index experts) const {
    return kept >= groups || (groups <= most_warp_groups && summed_of(experts / groups) <= most_warp_summed);
  }
  template <class Row, class Ranked>
  MOEBAL_FN auto choose_warp(Row, Ranked& ranked, float const* values, Index experts) const {
    if (kept < groups) {
      int const size = int(std::uint32_t(experts) / std::uint32_t(groups));
      typename Row::groups const best(values, size, int(groups), int(kept), int(summed_of(size)));
      ranked.keep([&](Index e) { return best.keeps(e); });
    }
    return ranked.template best_first<K>();
  }

private:
  // Members that a group's score reads.
  MOEBAL_FN Index summed_of(Index size) const {
    return score == GroupScore::Max ? 1 : (sum_of < size ? sum_of : size);
  }
  template <class Real, class Lanes>
  MOEBAL_FN rank_word_t<Real> group_word(Lanes lanes, select::Candidates<Real> row, Index g, Index size) const {
    using Word = rank_word_t<Real>;
    Word const* const words = row.words + g * size;
    Index const summed = summed_of(size);
    Real sum = 0;
    bool all_nan = false;
    select::best_first(lanes, words, size, summed, [&](Index r, Word word) {
      Real const value = row.values[id_of(word)];
      bool const nan = math::is_nan(value);
      if (r == 0) all_nan = nan;
      Real const member = nan ? -Real(__builtin_huge_val()) : value;
      sum = r == 0 ? member : sum + member;
    });
    Real const nan = math::Ops<Real>::from_bits(math::Ieee<Real>::nan);
    return rank_word(all_nan ? nan : sum, g);
  }
};
static_assert(row_selection<GroupLimitedTopK<2>>);

} // namespace moebal
