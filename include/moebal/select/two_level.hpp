// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "../core/views.hpp"
#include "top_k.hpp"

namespace moebal {

/// Two-level routing of PanGu-Sigma (arXiv 2303.10845), which LocMoE keeps: the first level sends a domain or task,
/// RowOptions::tags[t], to one of `groups` equal groups of consecutive experts; the second is any row-wise selection
/// inside the group.
///   TwoLevel<TopK<1>>{.groups = 40}      domain d is group d
///   TwoLevel<TopK<2>>{.inner = {}, .groups = 4, .group_of = map}     domain d is group map[d]
/// The paper's own second level is random within the group; TopK, or LocMoE's, takes its place. A domain without a
/// group gets no expert. Scores are the gate's over all E: with Softmax they do not sum to 1 inside a group, with
/// SoftmaxOverChosen weights do. Cost: that of the inner selection over E / groups experts. Nothing is communicated:
/// tokens of a domain stay on the devices of its group. Gradient: through the weights.
template <class Inner, class Memory = HostMemory> struct TwoLevel {
  static_assert(row_selection<Inner>,
                "moebal: the argument of TwoLevel is no row-wise selection: write TwoLevel<TopK<2>>");
  static constexpr Index top_k = Inner::top_k;
  static constexpr bool causal = Inner::causal;
  static constexpr bool needs_keys = Inner::needs_keys;
  static constexpr bool needs_scores = Inner::needs_scores;

  Inner inner{};
  Index groups = 1;
  VectorView<Index const, Memory> group_of{}; // [domains] group of a domain; empty: the tag is the group

  void check(Index experts) const {
    require_within("groups of TwoLevel for E experts (E is the upper bound)", 1, experts, groups);
    require_equal("E modulo groups of TwoLevel", 0, experts % groups);
    if constexpr (std::same_as<Memory, HostMemory>)
      for (Index g : group_of) require_within("group of a domain in TwoLevel::group_of", 0, groups - 1, g);
    inner.check(experts / groups);
  }
  MOEBAL_FN Index scratch_words(Index experts) const { return inner.scratch_words(experts / groups); }

  template <class Real, class Lanes>
  MOEBAL_FN Index choose(Lanes lanes, select::Candidates<Real> row, ExpertId* ids) const {
    Index group = row.tag;
    if (!group_of.empty()) group = row.tag >= 0 && row.tag < group_of.size() ? group_of[row.tag] : Index(-1);
    if (group < 0 || group >= groups) return 0;
    Index const size = row.experts / groups;
    row.words += group * size; // words keep their ids, and values are read by id
    row.experts = size;
    return inner.choose(lanes, row, ids);
  }
};
static_assert(row_selection<TwoLevel<TopK<2>>>);

} // namespace moebal
