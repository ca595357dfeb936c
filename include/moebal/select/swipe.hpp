// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "overflow.hpp"

namespace moebal {

namespace select {
/// The next expert in the circle that has room.
struct MoveToNext {
  static constexpr char const* title = "Swipe";
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
template <int K> using Swipe = select::TopKWithMoves<K, select::MoveToNext>;
static_assert(batch_selection<Swipe<2>>);

} // namespace moebal
