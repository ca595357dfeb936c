// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What a batch-wise selection chooses by, and its choices.

#include "../core/routing.hpp"
#include "../gate/row.hpp"
#include "../select/batch_selection.hpp"
#include "row_scratch.hpp"

namespace moebal::detail {

template <BatchInput input, class Gate, class Logit, class Memory> struct ScoreRow {
  using real = compute_t<Logit>;

  Gate gate;
  MatrixView<Logit const, Memory> logits;
  RowOptions<Memory> options;
  MatrixView<real, Memory> scores; // [T, E] out

  template <class Lanes> MOEBAL_FN void operator()(Lanes lanes, std::byte*, Index, Index t) const {
    auto const x = LogitRow<Logit>{logits.row(t)};
    auto const g = gate;
    auto const row = gate.template open<real>(lanes, x, logits.cols());
    real* const out = scores.row(t);
    float const* const b = options.bias_of(t, logits.cols());
    bool const biased = input != BatchInput::PlainScores && b != nullptr;
    BiasBy const by = options.bias_by;
    lanes.each(logits.cols(), [=](auto e) {
      using V = decltype(x(e));
      V value = x(e);
      if constexpr (input != BatchInput::Logits) value = g.score(row, value);
      if (biased) value = with_bias(value, V(load(b, e)), by);
      store(out, e, value);
    });
  }
};

/// Bytes of workspace for assign_batch.
template <class Real, class Exec, class Selection>
std::size_t assign_bytes(Exec const& exec, Selection const& selection, Index tokens, Index experts) {
  return WorkspaceView<>::bytes_for<Real>(tokens * experts) +
         selection.template workspace_bytes<Real>(exec, tokens, experts);
}
/// The choices of the batch, into routing.expert_ids.
template <class Logit, class Exec, class Selection, class Gate, class X, class Real, class Memory>
void assign_batch(Exec const& exec, Selection const& selection, Gate gate, X x,
                  RowOptions<Memory> const& options, RoutingView<Real, Memory> routing,
                  WorkspaceView<Memory>& workspace) {
  MatrixView<Real, Memory> const scores(workspace.template take<Real>(x.rows() * x.cols()), x.rows(), x.cols());
  exec.for_rows(x.rows(), 0, workspace, ScoreRow<Selection::input, Gate, Logit, Memory>{gate, x, options, scores});
  selection.assign(exec, select::BatchCandidates<Real, Memory>{scores, options}, routing.expert_ids, workspace);
}

} // namespace moebal::detail
