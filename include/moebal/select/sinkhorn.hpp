// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "best_experts.hpp"
#include "sinkhorn_steps.hpp"
#include "slots.hpp"
#include "top_k.hpp"

namespace moebal {

/// Sinkhorn routing (S-BASE, arXiv 2202.01169, as in Megatron-LM): the matrix A = exp(z) is scaled until its rows sum
/// to 1 / T and its columns to 1 / E,
///   d0_t = 1 / (T (sum_e d1_e A_te + eps)),   d1_e = 1 / (E (sum_t d0_t A_te + eps)),   from d1 = 1,
/// while the mean of |d1 - old d1| is above the tolerance and iterations are left; token t gets the K best experts of
/// d1_e A_te d0_t. The row's maximum is subtracted first, so no logit overflows. Weights are the gate's: Sigmoid for
/// K = 1, Softmax not normalised for K > 1. Balance is approximate.
/// Defaults: tolerance 1e-4 and eps 1e-8 as Megatron-LM, which has no limit of iterations and hangs on a collapsed
/// router; 100 is beyond what converging inputs need. A device launches all of them, and those past the end do nothing.
/// Cost: two passes over [T, E] an iteration; 2 T + 2 E doubles. Nothing is communicated: each rank scales its own
/// batch. Gradient: through the weights. Not causal. Inference: TopK of the logits.
template <int K> struct Sinkhorn {
  static_assert(K >= 1, "moebal: Sinkhorn<K> needs K of at least 1");
  static constexpr Index top_k = K;
  static constexpr bool causal = false;
  static constexpr BatchInput input = BatchInput::Logits;
  using Inference = TopK<K>;

  double tolerance = 1e-4;
  Index most_iterations = 100;
  double epsilon = 1e-8;
  SinkhornEpsilon epsilon_rule = SinkhornEpsilon::Shifted;

  void check(Index, Index experts) const {
    require_within("K of Sinkhorn<K> for E experts (E is the upper bound)", 1, experts, K);
    require_at_least("iterations of Sinkhorn", 1, most_iterations);
    if (!(epsilon > 0 && epsilon < 1))
      detail::refuse<ShapeError>("epsilon of Sinkhorn", "more than 0, less than 1", std::to_string(epsilon));
  }
  template <class Real, class Exec> std::size_t workspace_bytes(Exec const&, Index tokens, Index experts) const {
    using W = WorkspaceView<>;
    return 2 * W::bytes_for<double>(tokens) + 2 * W::bytes_for<double>(experts) + 2 * W::bytes_for<Index>(1);
  }
  template <class Exec, class Real, class Memory>
  void assign(Exec const& exec, select::BatchCandidates<Real, Memory> batch, MatrixView<ExpertId, Memory> ids,
              WorkspaceView<Memory> workspace) const {
    scale(exec, batch, workspace);
    exec.for_each(batch.scores.rows(), select::TakeBest<Real, Memory>{batch, ids});
  }

  /// The scaled matrix in place of the logits [T, E]; NaN stays NaN, padding rows become 0.
  template <class Exec, class Real, class Memory>
  void scale(Exec const& exec, select::BatchCandidates<Real, Memory> batch, WorkspaceView<Memory> workspace) const {
    using Columns = select::SinkhornColumns<Real, Memory>;
    Index const tokens = batch.scores.rows(), experts = batch.scores.cols();
    select::SinkhornState state{};
    state.rows = workspace.template take<double>(tokens);
    state.row_epsilon = workspace.template take<double>(tokens);
    state.columns = workspace.template take<double>(experts);
    state.next_columns = workspace.template take<double>(experts);
    state.tokens = workspace.template take<Index>(1);
    state.done = workspace.template take<Index>(1);
    exec.for_each(1, select::CountTokens<Memory>{batch.options.padding, tokens, state.tokens});
    exec.fill(VectorView<double, Memory>(state.columns, experts), 1.0);
    exec.fill(VectorView<Index, Memory>(state.done, 1), Index(0));
    exec.for_each(tokens, select::SinkhornExp<Real, Memory>{batch, epsilon_rule, epsilon, state});
    for (Index i = 0; i < most_iterations; ++i) {
      exec.for_each(tokens, select::SinkhornRow<Real, Memory>{batch, state});
      exec.for_each((experts + Columns::width - 1) / Columns::width, Columns{batch, epsilon, state});
      exec.for_each(1, select::SinkhornCheck{experts, tolerance, state});
      if constexpr (std::same_as<Memory, HostMemory>)
        if (*state.done != 0) break;
    }
    exec.for_each(tokens, select::SinkhornScale<Real, Memory>{batch.scores, state});
  }
};
static_assert(batch_selection<Sinkhorn<1>>);

} // namespace moebal
