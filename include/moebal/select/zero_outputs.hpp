// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What zero-computation experts add to the output of a layer, and the gradient of that.

#include "zero_output_backward_rows.hpp"

namespace moebal {

namespace detail {

template <class Real, class M> void check_zero_outputs(ZeroOutputInputs<Real, M> const& inputs) {
  auto const& [zeros, x, ids, weights, constants] = inputs;
  zeros.check();
  require_equal("expert_ids [T, K], rows", x.rows(), ids.rows());
  require_equal("weights [T, K], rows", x.rows(), weights.rows());
  require_equal("weights [T, K], columns", ids.cols(), weights.cols());
  if (zeros.constant == 0) return;
  require_equal("vectors [C, D] of constant experts, rows", zeros.constant, constants.vectors.rows());
  require_equal("vectors [C, D] of constant experts, columns", x.cols(), constants.vectors.cols());
  require_equal("mixers [2 C, D] of constant experts, rows", 2 * zeros.constant, constants.mixers.rows());
  require_equal("mixers [2 C, D] of constant experts, columns", x.cols(), constants.mixers.cols());
}
template <class View> void check_zero_part(char const* name, Index rows, Index cols, View const& view) {
  if (view.data() == nullptr) return;
  require_equal(std::string(name) + ", rows", rows, view.rows());
  require_equal(std::string(name) + ", columns", cols, view.cols());
}

} // namespace detail

/// Adds to out [T, D] what the copy and constant experts of ids [T, K] give for x [T, D]: the constants in the order
/// of k, then the token once. ids: as routed, not split. constants: empty where there are none. One pass over x and
/// out of the tokens concerned.
template <execution Exec, class Real, class M>
void combine_zero_into(Exec const& exec, ZeroExperts zeros, std::type_identity_t<MatrixView<Real const, M>> x,
                       std::type_identity_t<MatrixView<ExpertId const, M>> ids,
                       std::type_identity_t<MatrixView<Real const, M>> weights,
                       std::type_identity_t<ConstantExperts<Real, M>> constants, MatrixView<Real, M> out) {
  detail::ZeroOutputInputs<Real, M> const inputs{zeros, x, ids, weights, constants};
  detail::check_zero_outputs(inputs);
  require_equal("out [T, D], rows", x.rows(), out.rows());
  require_equal("out [T, D], columns", x.cols(), out.cols());
  exec.for_rows(x.rows(), 0, WorkspaceView<M>{}, detail::ZeroOutputRow<Real, M>{inputs, out});
}

/// Bytes of workspace of combine_zero_backward_into.
template <class Real, class Exec> std::size_t combine_zero_backward_bytes(Exec const&, Index tokens, Index top_k) {
  return 2 * WorkspaceView<typename Exec::memory>::template bytes_for<Real>(tokens * top_k);
}
/// Gradients of combine_zero_into from d_out [T, D]. With u = <d_out, x> and v_c = <d_out, vectors_c>: d w = u for a
/// copy, a1 u + a2 v_c for a constant, whose first mixer product gets a1 a2 w (u - v_c) and whose second gets minus
/// that.
template <execution Exec, class Real, class M>
void combine_zero_backward_into(Exec const& exec, ZeroExperts zeros, std::type_identity_t<MatrixView<Real const, M>> x,
                                std::type_identity_t<MatrixView<ExpertId const, M>> ids,
                                std::type_identity_t<MatrixView<Real const, M>> weights,
                                std::type_identity_t<ConstantExperts<Real, M>> constants,
                                std::type_identity_t<MatrixView<Real const, M>> d_out,
                                ZeroOutputGradient<Real, M> gradient, WorkspaceView<M> workspace) {
  detail::ZeroOutputInputs<Real, M> const inputs{zeros, x, ids, weights, constants};
  detail::check_zero_outputs(inputs);
  detail::check_zero_part("d_out [T, D]", x.rows(), x.cols(), d_out);
  detail::check_zero_part("d_x [T, D]", x.rows(), x.cols(), gradient.d_x);
  detail::check_zero_part("d_weights [T, K]", ids.rows(), ids.cols(), gradient.d_weights);
  detail::check_zero_part("d_vectors [C, D]", zeros.constant, x.cols(), gradient.d_vectors);
  detail::check_zero_part("d_mixers [2 C, D]", 2 * zeros.constant, x.cols(), gradient.d_mixers);
  workspace.require(combine_zero_backward_bytes<Real>(exec, ids.rows(), ids.cols()));
  Real* const of_vector = workspace.template take<Real>(ids.rows() * ids.cols());
  Real* const of_mixer = workspace.template take<Real>(ids.rows() * ids.cols());
  exec.for_rows(x.rows(), 0, WorkspaceView<M>{},
                detail::ZeroOutputBackwardRow<Real, M>{inputs, d_out, gradient, of_vector, of_mixer});
  if (gradient.d_vectors.data() != nullptr || gradient.d_mixers.data() != nullptr)
    exec.for_rows(zeros.constant, 0, WorkspaceView<M>{},
                  detail::ConstantGradientRow<Real, M>{inputs, d_out, of_vector, of_mixer, gradient.d_vectors,
                                                       gradient.d_mixers});
}

} // namespace moebal
