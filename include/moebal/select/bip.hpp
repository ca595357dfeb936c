// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "columns.hpp"
#include "top_k.hpp"

namespace moebal {

namespace select {

/// max(0, the (K + 1)-th largest of score - price), the price of a token's attention.
template <int K, class Real, class Memory> struct TokenDual {
  BatchCandidates<Real, Memory> batch;
  Real const* prices; // [E]
  Real* duals;        // [T]
  MOEBAL_FN void operator()(Index t) const {
    column_key_t<Real> best[K + 1] = {};
    Real const* const row = batch.scores.row(t);
    for (Index e = 0; e < batch.scores.cols(); ++e) {
      auto const key = column_key(row[e] - prices[e]);
      if (key <= best[K]) continue;
      int at = K;
      for (; at > 0 && best[at - 1] < key; --at) best[at] = best[at - 1];
      best[at] = key;
    }
    Real const next = number_of<Real>(best[K]);
    duals[t] = next > 0 ? next : Real(0);
  }
};

template <class Real, class Memory> struct DualKey {
  ScoreKey<Real, Memory> score;
  Real const* duals;
  MOEBAL_FN column_key_t<Real> operator()(Index t, Index e) const {
    return score(t, e) == 0 ? column_key_t<Real>(0) : column_key(score.scores(t, e) - duals[t]);
  }
};

/// max(0, the (C + 1)-th largest of a column), the price of an expert; 0 where it has no such token.
template <class Real> struct ExpertPrice {
  ColumnCut<Real> const* cuts;
  Real* prices;
  MOEBAL_FN void operator()(Index e) const {
    Real const next = number_of<Real>(cuts[e].key);
    prices[e] = next > 0 ? next : Real(0);
  }
};

/// C + 1.
struct OneMore {
  SlotsOfBatch slots;
  MOEBAL_FN Index operator()() const { return slots() + 1; }
};

template <class Real, class Memory> struct SubtractPrices {
  MatrixView<Real, Memory> scores;
  Real const* prices;
  MOEBAL_FN void operator()(Index t) const {
    for (Index e = 0; e < scores.cols(); ++e) scores(t, e) = scores(t, e) - prices[e];
  }
};

} // namespace select

/// Binary-integer-programming balancing (arXiv 2502.15451): the K best experts of score - q, where q are the
/// non-negative dual prices of "at most C = K T / E tokens an expert", found on the batch itself by a few rounds of
///   p_t = max(0, (K+1)-th largest of s_t - q),   q_e = max(0, (C+1)-th largest of s_e - p),   from q = 0.
/// It pushes overused experts down and never lifts one up. The weights are the gate's, without q.
/// iterations: the paper's T, 2 to 14 there; default 4. slots: C, K T / E rounded up, if not given.
/// Cost: `iterations` times six passes over [T, E]; T + E numbers and E * 2 KiB of workspace. Nothing is communicated
/// (each rank solves its own batch). Gradient: through the weights. Not causal. Inference: TopK, as q belongs to a
/// batch.
template <int K> struct Bip {
  static_assert(K >= 1, "moebal: Bip<K> needs K of at least 1");
  static constexpr Index top_k = K;
  static constexpr bool causal = false;
  static constexpr BatchInput input = BatchInput::Scores;
  using Inference = TopK<K>;

  Index iterations = 4;
  Slots slots{.per_token = K};

  void check(Index, Index experts) const {
    require_within("K of Bip<K> for E experts (E is the upper bound)", 1, experts, K);
    require_at_least("iterations of Bip", 0, iterations);
    slots.check("Bip");
  }
  template <class Real, class Exec> std::size_t workspace_bytes(Exec const&, Index tokens, Index experts) const {
    using W = WorkspaceView<>;
    return select::ColumnScratch<Real>::bytes(experts) + W::bytes_for<Real>(tokens) + W::bytes_for<Real>(experts);
  }
  template <class Exec, class Real, class Memory>
  void assign(Exec const& exec, select::BatchCandidates<Real, Memory> batch, MatrixView<ExpertId, Memory> ids,
              WorkspaceView<Memory> workspace) const {
    Index const tokens = batch.scores.rows(), experts = batch.scores.cols();
    auto const scratch = select::ColumnScratch<Real>::take(experts, workspace);
    auto* const duals = workspace.template take<Real>(tokens);
    auto* const prices = workspace.template take<Real>(experts);
    exec.for_each(1, select::CountTokens<Memory>{batch.options.padding, tokens, scratch.tokens});
    exec.fill(VectorView<Real, Memory>(prices, experts), Real(0));
    select::DualKey<Real, Memory> const key{{batch.scores, batch.options.padding}, duals};
    for (Index i = 0; i < iterations; ++i) {
      exec.for_each(tokens, select::TokenDual<K, Real, Memory>{batch, prices, duals});
      select::cut_columns(exec, key, tokens, experts, select::OneMore{{slots, experts, scratch.tokens}}, scratch);
      exec.for_each(experts, select::ExpertPrice<Real>{scratch.cuts, prices});
    }
    exec.for_each(tokens, select::SubtractPrices<Real, Memory>{batch.scores, prices});
    exec.for_each(tokens, select::TakeBest<Real, Memory>{batch, ids});
  }
};
static_assert(batch_selection<Bip<2>>);

} // namespace moebal
