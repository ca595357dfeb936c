// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "linear.hpp"
#include "silu.hpp"

namespace moebal {

/// DiffMoE's predictor (arXiv 2503.14487), p = W2 silu(W1 x + b1) + b2: a small network that says, from one token
/// alone, which experts would choose it in the pool of the batch. choice_predictions_into
/// (balance/choice_prediction.hpp) trains it on the choices of BatchPool; at inference it chooses in their place,
/// causally:
///   ids: Router{Threshold<K>{}, Sigmoid{.normalise = Normalise::None}} of p, with bias -thresholds of EmaThreshold,
///        which in training has followed sigmoid(p);
///   weights: Router{select::Given<K>{}, Softmax{}} of the gate's own logits, for the ids that stand in its routing.
/// (Its code takes the threshold's number of tokens from the predictor, and then the best of the batch by the gate's
/// score, which looks at later tokens.) Isolated: backward_into gives the gradient of its own parameters and none to x,
/// so the model never learns to please it. H: its code's is D; free here. Cost: T H (D + E) fused operations.
struct Predictor {
  static constexpr bool causal = true;

  /// For both functions below.
  template <class Real> static std::size_t workspace_bytes(Index tokens, Index hidden) {
    return 2 * WorkspaceView<>::bytes_for<Real>(tokens * hidden);
  }
};

/// What a predictor has learned.
template <class Real = float, class Memory = HostMemory> struct PredictorParameters {
  MatrixView<Real const, Memory> w1; // [H, D]
  VectorView<Real const, Memory> b1; // [H]
  MatrixView<Real const, Memory> w2; // [E, H]
  VectorView<Real const, Memory> b2; // [E]
};
/// Where its gradient goes (overwritten); each part may stay empty.
template <class Real = float, class Memory = HostMemory> struct PredictorGradient {
  MatrixView<Real, Memory> d_w1{}; // [H, D]
  VectorView<Real, Memory> d_b1{}; // [H]
  MatrixView<Real, Memory> d_w2{}; // [E, H]
  VectorView<Real, Memory> d_b2{}; // [E]
};

/// predictions [T, E] of x [T, D]; hidden [T, H] out: W1 x + b1, for the way back.
template <execution Exec, matrix_like X, class Real, class M>
void logits_into(Exec const& exec, Predictor, X const& x, PredictorParameters<Real, M> const& parameters,
                 MatrixView<Real, M> hidden, std::type_identity_t<MatrixView<Real, M>> predictions,
                 WorkspaceView<M> workspace) {
  gate::require_shape("hidden [T, H]", gate::reading(x).rows(), parameters.w1.rows(), hidden);
  gate::require_shape("w2 [E, H]", predictions.cols(), hidden.cols(), parameters.w2);
  gate::require_shape("predictions [T, E]", hidden.rows(), parameters.w2.rows(), predictions);
  workspace.require(Predictor::workspace_bytes<Real>(hidden.rows(), hidden.cols()));
  MatrixView<Real, M> const active(workspace.template take<Real>(hidden.rows() * hidden.cols()), hidden.rows(),
                                   hidden.cols());
  logits_into(exec, Linear{}, x, parameters.w1, parameters.b1, hidden);
  logits_into(exec, Silu{}, hidden, active);
  logits_into(exec, Linear{}, active, parameters.w2, parameters.b2, predictions);
}

/// Gradients of the parameters from d_predictions [T, E] and the `hidden` that logits_into wrote.
template <execution Exec, matrix_like X, matrix_like G, class Real, class M>
void backward_into(Exec const& exec, Predictor, X const& x, PredictorParameters<Real, M> const& parameters,
                   std::type_identity_t<MatrixView<Real const, M>> hidden, G const& d_predictions,
                   PredictorGradient<Real, M> gradient, WorkspaceView<M> workspace) {
  Index const tokens = gate::reading(x).rows(), width = parameters.w1.rows();
  gate::require_shape("hidden [T, H]", tokens, width, hidden);
  gate::require_shape("d_predictions [T, E]", tokens, parameters.w2.rows(), gate::reading(d_predictions));
  workspace.require(Predictor::workspace_bytes<Real>(tokens, width));
  MatrixView<Real, M> const active(workspace.template take<Real>(tokens * width), tokens, width);
  MatrixView<Real, M> const d_hidden(workspace.template take<Real>(tokens * width), tokens, width);
  logits_into(exec, Silu{}, hidden, active);
  backward_into(exec, Linear{}, active, parameters.w2, d_predictions,
                LinearGradient<Real, M>{d_hidden, gradient.d_w2, gradient.d_b2});
  backward_into(exec, Silu{}, hidden, d_hidden, d_hidden);
  backward_into(exec, Linear{}, x, parameters.w1, d_hidden, LinearGradient<Real, M>{{}, gradient.d_w1, gradient.d_b1});
}

} // namespace moebal
