// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "../core/local_experts.hpp"
#include "columns.hpp"
#include "top_k.hpp"

namespace moebal {

namespace select {

/// The score of a first choice that is elsewhere; 0 for any other.
template <class Real, class Memory> struct RemoteFirst {
  BatchCandidates<Real, Memory> batch;
  MatrixView<ExpertId, Memory> ids; // [T, K] the token's own choice
  LocalExperts local;
  column_key_t<Real>* keys; // [T]
  MOEBAL_FN void operator()(Index t) const {
    ExpertId const first = ids(t, 0);
    keys[t] = first < 0 || local(first) ? column_key_t<Real>(0) : column_key(batch.scores(t, first));
  }
};
template <class Real> struct ListedKey {
  column_key_t<Real> const* keys;
  MOEBAL_FN column_key_t<Real> operator()(Index t, Index) const { return keys[t]; }
};

/// Whether more first choices are elsewhere than may be.
template <class Real> struct TooMany {
  column_key_t<Real> const* keys;
  Index tokens;
  SlotsOfBatch slots;
  Index* too_many;
  MOEBAL_FN void operator()(Index) const {
    Index count = 0;
    for (Index t = 0; t < tokens; ++t) count += keys[t] != 0 ? 1 : 0;
    *too_many = count > slots() ? 1 : 0;
  }
};

/// Local experts, and the remote first choice of those who keep it.
template <class Real, class Memory> struct TakeLocal {
  BatchCandidates<Real, Memory> batch;
  MatrixView<ExpertId, Memory> ids;
  LocalExperts local;
  column_key_t<Real> const* keys;
  ColumnCut<Real> const* cut;
  Index const* too_many;
  MOEBAL_FN void operator()(Index t) const {
    if (*too_many == 0 || batch.is_padding(t)) return;
    Index const first = ids(t, 0);
    BestExperts<Real> best{batch.scores.row(t), ids.row(t), ids.cols()};
    if (cut->keeps(keys[t], t)) best.add(first);
    for (Index e = local.first; e < local.first + local.count; ++e) best.add(e);
    best.finish();
  }
};

} // namespace select

/// The topology gate of FasterMoE (laekov/fastmoe): tokens choose their K best experts, but where more than
/// remote_ratio * T of the first choices are off this node, only the int(remote_ratio * T) of them with the best scores
/// (equal: the lower token) keep theirs; all other choices, second ones included, are made again among local experts.
/// local: the experts of this node; a rank's tokens have one origin. Choices are listed best first (the original puts
/// the remote one second). Fewer than K local experts leave choices empty.
/// Default: 0.14 of the tokens and K = 2, as its code.
/// Cost: seven passes over T keys, two over [T, E]; T keys of workspace. Nothing is communicated; needs the node map
/// (core/topology.hpp). Gradient: through the weights. Not causal: the cap is shared. Inference: TopK.
template <int K = 2> struct TopologyCapped {
  static_assert(K >= 1, "moebal: TopologyCapped<K> needs K of at least 1");
  static constexpr Index top_k = K;
  static constexpr bool causal = false;
  static constexpr BatchInput input = BatchInput::Scores;
  using Inference = TopK<K>;

  LocalExperts local{};
  double remote_ratio = 0.14;

  void check(Index, Index experts) const {
    require_within("K of TopologyCapped<K> for E experts (E is the upper bound)", 1, experts, K);
    require_within("first local expert of TopologyCapped", 0, experts, local.first);
    require_within("local experts of TopologyCapped", 1, experts - local.first, local.count);
    slots().check("TopologyCapped");
  }
  template <class Real, class Exec> std::size_t workspace_bytes(Exec const&, Index tokens, Index) const {
    using W = WorkspaceView<>;
    return select::ColumnScratch<Real>::bytes(1) + W::bytes_for<select::column_key_t<Real>>(tokens) +
           W::bytes_for<Index>(1);
  }
  template <class Exec, class Real, class Memory>
  void assign(Exec const& exec, select::BatchCandidates<Real, Memory> batch, MatrixView<ExpertId, Memory> ids,
              WorkspaceView<Memory> workspace) const {
    Index const tokens = batch.scores.rows();
    auto const scratch = select::ColumnScratch<Real>::take(1, workspace);
    auto* const keys = workspace.template take<select::column_key_t<Real>>(tokens);
    auto* const too_many = workspace.template take<Index>(1);
    select::SlotsOfBatch const keep{slots(), 1, scratch.tokens};
    exec.for_each(1, select::CountTokens<Memory>{batch.options.padding, tokens, scratch.tokens});
    exec.for_each(tokens, select::TakeBest<Real, Memory>{batch, ids});
    exec.for_each(tokens, select::RemoteFirst<Real, Memory>{batch, ids, local, keys});
    exec.for_each(1, select::TooMany<Real>{keys, tokens, keep, too_many});
    select::cut_columns(exec, select::ListedKey<Real>{keys}, tokens, 1, keep, scratch);
    exec.for_each(tokens, select::TakeLocal<Real, Memory>{batch, ids, local, keys, scratch.cuts, too_many});
  }

private:
  Slots slots() const { return {.per_token = remote_ratio, .rounding = SlotRounding::Down}; }
};
static_assert(batch_selection<TopologyCapped<>>);

} // namespace moebal
