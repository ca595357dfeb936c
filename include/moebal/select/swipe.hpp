// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "overflow.hpp"
#include "top_k.hpp"

namespace moebal {

namespace select {
/// The next expert in the circle that has room.
struct MoveToNext {
  MOEBAL_FN ExpertId operator()(Rooms const& rooms, Index from, Index) const {
    for (Index step = 1; step < rooms.experts; ++step) {
      Index const e = (from + step) % rooms.experts;
      if (rooms.takes(e)) return ExpertId(e);
    }
    return no_expert;
  }
};
} // namespace select

/// SWIPE (BaGuaLu; laekov/fastmoe): top-K, then every choice beyond K T / E of an expert moves to the next expert, e +
/// 1, e + 2, ... around the circle, that has room and that the token has not chosen. Strict balance at a price in
/// quality: who is moved is decided by place, not by score. First choices get their slots before second ones, tokens in
/// order. slots: K T / E rounded up. A choice is dropped only when the experts with room are all the token's own. Cost:
/// one pass over [T, E], then one thread over T K choices and E for each that moves. Nothing is communicated. Gradient:
/// through the weights (the original's weights are a softmax over the chosen: SoftmaxOverChosen). Not causal.
/// Inference: TopK, as in the original.
template <int K> struct Swipe {
  static_assert(K >= 1, "moebal: Swipe<K> needs K of at least 1");
  static constexpr Index top_k = K;
  static constexpr bool causal = false;
  static constexpr BatchInput input = BatchInput::Scores;
  using Inference = TopK<K>;

  Slots slots{.per_token = K};

  void check(Index, Index experts) const {
    require_within("K of Swipe<K> for E experts (E is the upper bound)", 1, experts, K);
    slots.check("Swipe");
  }
  template <class Real, class Exec> std::size_t workspace_bytes(Exec const&, Index, Index experts) const {
    return select::top_k_with_moves_bytes(experts);
  }
  template <class Exec, class Real, class Memory>
  void assign(Exec const& exec, select::BatchCandidates<Real, Memory> batch, MatrixView<ExpertId, Memory> ids,
              WorkspaceView<Memory> workspace) const {
    select::top_k_with_moves(exec, select::MoveToNext{}, slots, batch, ids, workspace);
  }
};
static_assert(batch_selection<Swipe<2>>);

} // namespace moebal
