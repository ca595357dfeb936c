// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "auction_run.hpp"
#include "top_k.hpp"

namespace moebal {

/// Balanced assignment by an auction (BASE layers, arXiv 2103.16716; Bertsekas' auction with epsilon scaling): every
/// token gets one expert so that the sum of scores is as large as can be while each expert gets exactly T / E tokens;
/// where E does not divide T, the T mod E experts that most tokens like best get one more (equal: the lower id). Scores
/// that are not finite count as the least finite one.
///
/// Optimality: the sum is at most T * epsilon * (largest - smallest score) below the best for these slots, unless the
/// auction ends at most_bids * T bids; then the tokens without a place get, in order, the best expert with room.
/// Defaults: input scores should be what tokens and centroids agree on, x . w (the logits). epsilon 1e-3: a thousandth
/// of the range a token. most_bids 1000: price wars of real routers end far below it.
/// Weights: BASE mixes with sigmoid(x . w): Router<Auction, Sigmoid>.
/// Cost: E + log C a bid on one thread, some ten bids a token, so [T, E] some ten times; a device does it on one thread
/// and is slow at it. 3 T + 4 E numbers of workspace. Nothing is communicated: each rank assigns its own tokens, after
/// RankShuffle has dealt them out, as in the paper. Gradient: through the weight only. Not causal. Inference: TopK<1>.
struct Auction {
  static constexpr Index top_k = 1;
  static constexpr bool causal = false;
  static constexpr BatchInput input = BatchInput::Logits;
  using Inference = TopK<1>;

  double epsilon = 1e-3;
  Index most_bids = 1000;

  void check(Index, Index) const {
    if (!(epsilon > 0 && epsilon <= 1))
      detail::refuse<ShapeError>("epsilon of Auction", "more than 0, at most 1", std::to_string(epsilon));
    require_at_least("bids a token in Auction (most_bids)", 0, most_bids);
  }
  template <class Real, class Exec> std::size_t workspace_bytes(Exec const&, Index tokens, Index experts) const {
    using W = WorkspaceView<>;
    return W::bytes_for<double>(tokens) + 2 * W::bytes_for<Index>(tokens) + W::bytes_for<double>(experts) +
           3 * W::bytes_for<Index>(experts + 1);
  }
  template <class Exec, class Real, class Memory>
  void assign(Exec const& exec, select::BatchCandidates<Real, Memory> batch, MatrixView<ExpertId, Memory> ids,
              WorkspaceView<Memory> workspace) const {
    Index const tokens = batch.scores.rows(), experts = batch.scores.cols();
    select::AuctionRun<Real, Memory> run{batch, ids, epsilon, most_bids};
    run.slots.bids = workspace.template take<double>(tokens);
    run.slots.holders = workspace.template take<Index>(tokens);
    run.queue = workspace.template take<Index>(tokens);
    run.slots.prices = workspace.template take<double>(experts);
    run.slots.first = workspace.template take<Index>(experts + 1);
    run.slots.held = workspace.template take<Index>(experts + 1);
    run.liked = workspace.template take<Index>(experts + 1);
    exec.for_each(1, run);
  }
};
static_assert(batch_selection<Auction>);

} // namespace moebal
