// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "columns.hpp"
#include "top_k.hpp"

#include <cmath>

namespace moebal {

/// Experts choose tokens: expert e takes the C tokens with the best scores in its column, equal scores: the lower
/// token (arXiv 2202.09368; V-MoE). C = per_token * T / E: perfect balance, and 0 to E experts a token. K bounds the
/// experts of a token, which keeps its best: K = E is the paper's form, a smaller one leaves slots empty. Give it to
/// Softmax: the score is the column's order, and the weight.
/// Default: two experts a token on average, as in the paper's main results; rounded up.
/// Cost: five passes over [T, E] (nine in double), E * 2 KiB of workspace. Nothing is communicated: each rank chooses
/// among its own tokens. Gradient: through the weights. Not causal: who is chosen depends on later tokens, which
/// leaks (leaked_bits). Inference: thresholds (select/batch_pool.hpp), or token choice.
template <int K> struct ExpertChoice {
  static_assert(K >= 1, "moebal: ExpertChoice<K> needs K of at least 1");
  static constexpr Index top_k = K;
  static constexpr bool causal = false;
  static constexpr BatchInput input = BatchInput::Scores;
  using Inference = TopK<K>;

  Slots slots{.per_token = 2};

  void check(Index, Index experts) const {
    require_within("K of ExpertChoice<K> for E experts (E is the upper bound)", 1, experts, K);
    slots.check("ExpertChoice");
  }
  template <class Real, class Exec> std::size_t workspace_bytes(Exec const&, Index, Index experts) const {
    return select::ColumnScratch<Real>::bytes(experts);
  }
  template <class Exec, class Real, class Memory>
  void assign(Exec const& exec, select::BatchCandidates<Real, Memory> batch, MatrixView<ExpertId, Memory> ids,
              WorkspaceView<Memory> workspace) const {
    Index const tokens = batch.scores.rows(), experts = batch.scores.cols();
    auto const scratch = select::ColumnScratch<Real>::take(experts, workspace);
    select::ScoreKey<Real, Memory> const key{batch.scores, batch.options.padding};
    exec.for_each(1, select::CountTokens<Memory>{batch.options.padding, tokens, scratch.tokens});
    select::cut_columns(exec, key, tokens, experts, select::SlotsOfBatch{slots, experts, scratch.tokens}, scratch);
    exec.for_each(tokens,
                  select::TakeKept<Real, select::ScoreKey<Real, Memory>, Memory>{key, scratch.cuts, batch.scores, ids});
  }
};
static_assert(batch_selection<ExpertChoice<2>>);

/// Bits about later tokens that one layer of expert choice can tell each token, at least: K log2((1 - R) / R), R = K /
/// E (2408.15664), and 0 from R = 1/2 on. ShapeError unless 1 <= K <= E.
inline double leaked_bits(Index top_k, Index experts) {
  require_within("leaked_bits: K (E is the upper bound)", 1, experts, top_k);
  return 2 * top_k >= experts ? 0 : double(top_k) * std::log2(double(experts - top_k) / double(top_k));
}

} // namespace moebal
