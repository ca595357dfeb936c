// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Top-K with a capacity, where what an expert has no room for moves to another expert instead of being dropped.

#include "best_experts.hpp"
#include "slots.hpp"
#include "top_k.hpp"

#include <string>

namespace moebal::select {

/// Room of the experts, and the token that is looking for some.
struct Rooms {
  Index const* load; // [E]
  Index room;
  Index experts;
  ExpertId const* row; // [K] where the token is already
  Index top_k;
  MOEBAL_FN bool takes(Index e) const {
    if (load[e] >= room) return false;
    for (Index k = 0; k < top_k; ++k)
      if (row[k] == e) return false;
    return true;
  }
};

/// First the pairs that find room, all first choices before all second ones, tokens in order; then the others in the
/// same order. Move: move(rooms, from, pair) names another expert, or no_expert.
template <class Move, class Memory> struct MoveOverflow {
  Move move;
  MatrixView<ExpertId, Memory> ids;
  Index* load; // [E]
  Index experts;
  SlotsOfBatch slots;

  MOEBAL_FN void operator()(Index) const {
    Index const room = slots(), top_k = ids.cols();
    for (Index k = 0; k < top_k; ++k)
      for (Index t = 0; t < ids.rows(); ++t) {
        ExpertId const e = ids(t, k);
        if (e < 0) continue;
        if (load[e] < room)
          ++load[e];
        else
          ids(t, k) = -2 - e; // waiting
      }
    for (Index k = 0; k < top_k; ++k)
      for (Index t = 0; t < ids.rows(); ++t) {
        if (ids(t, k) > -2) continue;
        Rooms const rooms{load, room, experts, ids.row(t), top_k};
        ExpertId const to = move(rooms, Index(-2 - ids(t, k)), t * top_k + k);
        ids(t, k) = to;
        if (to >= 0) ++load[to];
      }
  }
};

/// The choices of a token, best first again, without holes.
template <class Real, class Memory> struct SortRow {
  MatrixView<Real, Memory> scores;
  MatrixView<ExpertId, Memory> ids;
  MOEBAL_FN void operator()(Index t) const {
    BestExperts<Real> best{scores.row(t), ids.row(t), ids.cols()};
    for (Index k = 0; k < ids.cols(); ++k) // what is added lies at or before k
      if (Index const e = ids(t, k); e >= 0) best.add(e);
    best.finish();
  }
};

/// Top-K with C slots an expert, and a move for what finds its expert full: OverflowRecycling, Swipe. Move: title, and
/// move(rooms, from, pair) as MoveOverflow calls it.
template <int K, class Move> struct TopKWithMoves {
  static_assert(K >= 1, "moebal: a selection of K experts needs K of at least 1");
  static constexpr Index top_k = K;
  static constexpr bool causal = false;
  static constexpr BatchInput input = BatchInput::Scores;
  using Inference = TopK<K>;

  Move move{};
  Slots slots{.per_token = K};

  void check(Index, Index experts) const {
    require_within(std::string("K of ") + Move::title + "<K> for E experts (E is the upper bound)", 1, experts, K);
    slots.check(Move::title);
  }
  template <class Real, class Exec> std::size_t workspace_bytes(Exec const&, Index, Index experts) const {
    return WorkspaceView<>::bytes_for<Index>(experts) + WorkspaceView<>::bytes_for<Index>(1);
  }
  template <class Exec, class Real, class Memory>
  void assign(Exec const& exec, BatchCandidates<Real, Memory> batch, MatrixView<ExpertId, Memory> ids,
              WorkspaceView<Memory> workspace) const {
    Index const tokens = batch.scores.rows(), experts = batch.scores.cols();
    auto* const load = workspace.template take<Index>(experts);
    auto* const count = workspace.template take<Index>(1);
    exec.for_each(1, CountTokens<Memory>{batch.options.padding, tokens, count});
    exec.fill(VectorView<Index, Memory>(load, experts), Index(0));
    exec.for_each(tokens, TakeBest<Real, Memory>{batch, ids});
    exec.for_each(1, MoveOverflow<Move, Memory>{move, ids, load, experts, {slots, experts, count}});
    exec.for_each(tokens, SortRow<Real, Memory>{batch.scores, ids});
  }
};

} // namespace moebal::select
