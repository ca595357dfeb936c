// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "../core/random.hpp"
#include "overflow.hpp"

namespace moebal {

namespace select {
/// One of the experts with room, each with the same probability, drawn from the seed and the pair alone.
struct MoveAtRandom {
  static constexpr char const* title = "OverflowRecycling";
  std::uint64_t seed = 0; // change it at every step
  MOEBAL_FN ExpertId operator()(Rooms const& rooms, Index, Index pair) const {
    Index open = 0;
    for (Index e = 0; e < rooms.experts; ++e) open += rooms.takes(e) ? 1 : 0;
    if (open == 0) return no_expert;
    Index skip = random::below(seed, std::uint64_t(pair), open);
    Index e = 0;
    for (; !rooms.takes(e) || skip-- > 0; ++e) {
    }
    return ExpertId(e);
  }
};
} // namespace select

/// Recycled overflow (Hunyuan-Large, arXiv 2411.02265): top-K with C slots an expert; a choice that finds its expert
/// full goes to a random expert that has room and that the token has not chosen, with that expert's own weight, instead
/// of being dropped. First choices get their slots before second ones, tokens in order.
/// move.seed: change it at every step. slots: by default exactly K T / E, rounded up; with them nearly nothing is
/// dropped (a choice is, when the experts with room are all the token's own). Cost: one pass over [T, E], then one
/// thread over T K choices and E for each that moves. Nothing is communicated. Gradient: through the weights. Not
/// causal. Inference: TopK.
template <int K> using OverflowRecycling = select::TopKWithMoves<K, select::MoveAtRandom>;
static_assert(batch_selection<OverflowRecycling<2>>);

} // namespace moebal
