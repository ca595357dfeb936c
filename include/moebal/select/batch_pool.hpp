// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "expert_choice.hpp"
#include "threshold.hpp"

namespace moebal {

/// The pool of DiffMoE (arXiv 2503.14487): all tokens of the call, whatever their sequence, compete for the experts,
/// and each expert takes the best int(per_token * T / E) of them: expert choice over the batch. K as in ExpertChoice.
/// Default: one expert a token, rounded down, as in its code.
/// Cost, communication, gradient: as ExpertChoice. Not causal: at inference Threshold takes its place, with the
/// thresholds that EmaThreshold has learnt, negated, as its bias.
template <int K> struct BatchPool {
  static constexpr Index top_k = K;
  static constexpr bool causal = false;
  static constexpr BatchInput input = BatchInput::Scores;
  using Inference = Threshold<K>;

  Slots slots{.per_token = 1, .rounding = SlotRounding::Down};

  void check(Index tokens, Index experts) const { choice().check(tokens, experts); }
  template <class Real, class Exec> std::size_t workspace_bytes(Exec const& exec, Index tokens, Index experts) const {
    return choice().template workspace_bytes<Real>(exec, tokens, experts);
  }
  template <class Exec, class Real, class Memory>
  void assign(Exec const& exec, select::BatchCandidates<Real, Memory> batch, MatrixView<ExpertId, Memory> ids,
              WorkspaceView<Memory> workspace) const {
    choice().assign(exec, batch, ids, workspace);
  }

private:
  ExpertChoice<K> choice() const { return {slots}; }
};
static_assert(batch_selection<BatchPool<2>>);

namespace select {
/// threshold <- threshold + (1 - decay) (the C-th largest score - threshold), where a column has one.
template <class Real, class Memory> struct MoveThreshold {
  ColumnCut<Real> const* cuts;
  float decay;
  VectorView<float, Memory> thresholds;
  MOEBAL_FN void operator()(Index e) const {
    if (cuts[e].key <= 1 || cuts[e].key == column_key_t<Real>(~column_key_t<Real>(0))) return;
    float const here = float(number_of<Real>(cuts[e].key));
    thresholds[e] = math::fma(decay, thresholds[e] - here, here);
  }
};
} // namespace select

/// The threshold of each expert that lets through as many tokens as its slots: a moving average of the C-th largest
/// score of its column (2503.14487 uses the sigmoid of a predictor that sees the token alone; 2603.11535 the router's
/// own score). To be called in training only, after the forward pass; ranks average the thresholds afterwards
/// (all_reduce_sum, divided by R). Rates below one token keep the threshold as it was.
/// Default: decay 0.95, as DiffMoE's code.
struct EmaThreshold {
  float decay = 0.95f;
  Slots slots{.per_token = 1, .rounding = SlotRounding::Down};

  template <class Real> static std::size_t workspace_bytes(Index experts) {
    return select::ColumnScratch<Real>::bytes(experts);
  }
  /// @param scores      [T, E] in
  /// @param padding     [T] 1 = a padding row, or empty, in
  /// @param thresholds  [E] in and out
  /// Cost: five passes over the scores (nine in double), no allocation. Throws ShapeError.
  template <class Exec, class Real, class Memory>
  void update(Exec const& exec, MatrixView<Real const, Memory> scores, VectorView<std::uint8_t const, Memory> padding,
              VectorView<float, Memory> thresholds, WorkspaceView<Memory> workspace) const {
    require_equal("thresholds [E]", scores.cols(), thresholds.size());
    if (!padding.empty()) require_equal("padding [T]", scores.rows(), padding.size());
    slots.check("EmaThreshold");
    auto const scratch = select::ColumnScratch<Real>::take(scores.cols(), workspace);
    exec.for_each(1, select::CountTokens<Memory>{padding, scores.rows(), scratch.tokens});
    select::cut_columns(exec, select::ScoreKey<Real, Memory>{scores, padding}, scores.rows(), scores.cols(),
                        select::SlotsOfBatch{slots, scores.cols(), scratch.tokens}, scratch);
    exec.for_each(scores.cols(), select::MoveThreshold<Real, Memory>{scratch.cuts, decay, thresholds});
  }
};

} // namespace moebal
