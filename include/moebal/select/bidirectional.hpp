// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "columns.hpp"
#include "top_k.hpp"

namespace moebal {

namespace select {

/// The last word that a token's own choice takes: its K-th best, or an earlier one whose scores reach the mass.
template <class Real, class Memory> struct LastChosen {
  BatchCandidates<Real, Memory> batch;
  MatrixView<ExpertId, Memory> ids;
  double mass;
  rank_word_t<Real>* least; // [T]
  MOEBAL_FN void operator()(Index t) const {
    BestExperts<Real> best{batch.scores.row(t), ids.row(t), ids.cols()};
    if (batch.is_padding(t)) return;
    for (Index e = 0; e < batch.scores.cols(); ++e) best.add(e);
    Index last = 0;
    double sum = double(batch.scores(t, best.ids[0]));
    for (; last + 1 < best.count && !(sum > mass); sum = sum + double(batch.scores(t, best.ids[last]))) ++last;
    least[t] = best.word_at(last);
  }
};

/// A score where the token chose the expert.
template <class Real, class Memory> struct ChosenKey {
  ScoreKey<Real, Memory> score;
  rank_word_t<Real> const* least;
  MOEBAL_FN column_key_t<Real> operator()(Index t, Index e) const {
    auto const key = score(t, e);
    return key == 0 || rank_word(score.scores(t, e), e) < least[t] ? column_key_t<Real>(0) : key;
  }
};

} // namespace select

/// Token choice, then expert choice (LocMoE+ = Expert-Token Resonance, arXiv 2406.00023 eq. 5-6): a token chooses its K
/// best experts, and each expert keeps the C tokens with the highest affinity among those that chose it (eq. 6 prints
/// "bottom"; the text says the highest). Equal affinities: the lower token. A token may keep none.
/// slots: C; the paper's adaptive one is adaptive_capacity() of plan/capacity_bound.hpp, given as Slots{.fixed = C}.
/// mass: a token stops choosing once its scores sum to more than this, as the paper's unstated rule for l; for gates
/// whose scores sum to 1. Default: no such stop. Default slots: 1.1 tokens a slot, the capacity factor of its baseline.
/// Cost: six passes over [T, E], T words and E * 2 KiB of workspace. Nothing is communicated. Gradient: through the
/// weights. Not causal; deployed with the token's own choice: Inference.
template <int K> struct Bidirectional {
  static_assert(K >= 1, "moebal: Bidirectional<K> needs K of at least 1");
  static constexpr Index top_k = K;
  static constexpr bool causal = false;
  static constexpr BatchInput input = BatchInput::Scores;
  using Inference = TopK<K>;

  Slots slots{.per_token = 1.1};
  double mass = __builtin_huge_val();

  void check(Index, Index experts) const {
    require_within("K of Bidirectional<K> for E experts (E is the upper bound)", 1, experts, K);
    slots.check("Bidirectional");
  }
  template <class Real, class Exec> std::size_t workspace_bytes(Exec const&, Index tokens, Index experts) const {
    return select::ColumnScratch<Real>::bytes(experts) + WorkspaceView<>::bytes_for<rank_word_t<Real>>(tokens);
  }
  template <class Exec, class Real, class Memory>
  void assign(Exec const& exec, select::BatchCandidates<Real, Memory> batch, MatrixView<ExpertId, Memory> ids,
              WorkspaceView<Memory> workspace) const {
    Index const tokens = batch.scores.rows(), experts = batch.scores.cols();
    auto const scratch = select::ColumnScratch<Real>::take(experts, workspace);
    auto* const least = workspace.template take<rank_word_t<Real>>(tokens);
    exec.for_each(1, select::CountTokens<Memory>{batch.options.padding, tokens, scratch.tokens});
    exec.for_each(tokens, select::LastChosen<Real, Memory>{batch, ids, mass, least});
    select::ChosenKey<Real, Memory> const key{{batch.scores, batch.options.padding}, least};
    select::cut_columns(exec, key, tokens, experts, select::SlotsOfBatch{slots, experts, scratch.tokens}, scratch);
    exec.for_each(
        tokens, select::TakeKept<Real, select::ChosenKey<Real, Memory>, Memory>{key, scratch.cuts, batch.scores, ids});
  }
};
static_assert(batch_selection<Bidirectional<2>>);

} // namespace moebal
