// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "cosine_rows.hpp"

namespace moebal {

/// X-MoE (arXiv 2204.09179): z_e = cos(h, v_e) / temperature, h [T, P] the token projected to a few dimensions
/// (Linear; torchscale takes P = 16, the paper about half of E) and v [E, P] one learned direction an expert. The
/// temperature is learned: put its present value here. Its start, 0.07, is the paper's as far as remembered, and open
/// to you. A vector shorter than `floor` is divided by `floor`. Cost: T E P fused operations, and one norm a token
/// and an expert. Gradient, with u = h / |h|, w = v / |v|, s = u w:
///   dh = (w - s u) / (|h| temperature),  dv = (u - s w) / (|v| temperature),  d temperature = -z / temperature,
/// each times dz, summed.
struct Cosine {
  static constexpr bool causal = true;
  float temperature = 0.07f;
  CosineSides sides = CosineSides::Both;
  float floor = 1e-12f;

  template <class Real, class Exec> static std::size_t workspace_bytes(Exec const&, Index tokens, Index experts) {
    using Ws = WorkspaceView<typename Exec::memory>;
    return Ws::template bytes_for<Real>(experts) + 2 * Ws::template bytes_for<Real>(tokens);
  }
};

/// Where Cosine's backward writes (overwrites); each part may stay empty.
template <class Real = float, class Memory = HostMemory> struct CosineGradient {
  MatrixView<Real, Memory> d_h{};           // [T, P]
  MatrixView<Real, Memory> d_directions{};  // [E, P]
  VectorView<Real, Memory> d_temperature{}; // [1]
};

/// logits [T, E] of h [T, P] and directions [E, P]. workspace: Cosine::workspace_bytes<Real>(exec, T, E).
template <execution Exec, matrix_like H, matrix_like V, class Real, class M>
void logits_into(Exec const& exec, Cosine gate, H const& h, V const& directions, MatrixView<Real, M> logits,
                 WorkspaceView<M> workspace) {
  auto const in = gate::reading(h);
  auto const v = gate::reading(directions);
  gate::require_shape("directions [E, P]", logits.cols(), in.cols(), v);
  gate::require_shape("logits [T, E]", in.rows(), v.rows(), logits);
  workspace.require(Cosine::workspace_bytes<Real>(exec, in.rows(), v.rows()));
  Real* const inverse = workspace.template take<Real>(v.rows());
  exec.for_rows(v.rows(), 0, WorkspaceView<M>{}, detail::InverseNorm<Real, M>{v, Real(gate.floor), inverse});
  exec.for_rows(
      in.rows(), 0, WorkspaceView<M>{},
      detail::CosineRow<Real, M>{gate.sides, Real(gate.temperature), Real(gate.floor), in, v, inverse, logits});
}

/// Gradients of logits_into from d_logits [T, E] and the logits [T, E] that it wrote.
template <execution Exec, matrix_like H, matrix_like V, matrix_like L, matrix_like G, class Real, class M>
void backward_into(Exec const& exec, Cosine gate, H const& h, V const& directions, L const& logits, G const& d_logits,
                   CosineGradient<Real, M> gradient, WorkspaceView<M> workspace) {
  auto const in = gate::reading(h);
  auto const v = gate::reading(directions);
  auto const z = gate::reading(logits);
  auto const d = gate::reading(d_logits);
  gate::require_shape("directions [E, P]", d.cols(), in.cols(), v);
  gate::require_shape("logits [T, E]", in.rows(), v.rows(), z);
  gate::require_shape("d_logits [T, E]", in.rows(), v.rows(), d);
  gate::require_shape_or_none("d_h [T, P]", in.rows(), in.cols(), gradient.d_h);
  gate::require_shape_or_none("d_directions [E, P]", v.rows(), v.cols(), gradient.d_directions);
  gate::require_size_or_none("d_temperature [1]", 1, gradient.d_temperature);
  workspace.require(Cosine::workspace_bytes<Real>(exec, in.rows(), v.rows()));
  Real const inverse_temperature = Real(1) / Real(gate.temperature), floor = Real(gate.floor);
  Real* const inverse_v = workspace.template take<Real>(v.rows());
  Real* inverse_h = workspace.template take<Real>(in.rows());
  Real* const pulled = workspace.template take<Real>(in.rows());
  exec.for_rows(v.rows(), 0, WorkspaceView<M>{}, detail::InverseNorm<Real, M>{v, floor, inverse_v});
  if (gate.sides == CosineSides::Both)
    exec.for_rows(in.rows(), 0, WorkspaceView<M>{}, detail::InverseNorm<Real, M>{in, floor, inverse_h});
  else
    inverse_h = nullptr;
  exec.for_rows(in.rows(), 0, WorkspaceView<M>{},
                detail::CosineBackwardRow<Real, M, false>{in, v, z, d, inverse_h, inverse_v, inverse_temperature, floor,
                                                          gradient.d_h, pulled});
  if (gradient.d_directions.data() != nullptr)
    exec.for_rows(v.rows(), 0, WorkspaceView<M>{},
                  detail::CosineBackwardRow<Real, M, true>{v, in, z, d, inverse_v, inverse_h, inverse_temperature,
                                                           floor, gradient.d_directions, nullptr});
  if (gradient.d_temperature.data() != nullptr)
    exec.for_each(
        1, detail::TemperatureGradient<Real>{pulled, in.rows(), inverse_temperature, gradient.d_temperature.data()});
}

} // namespace moebal
