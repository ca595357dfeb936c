// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "map.hpp"

namespace moebal {

/// Which side of the cosine is brought to length 1.
enum class CosineSides {
  Both,    // the paper, Tutel
  Experts, // torchscale: the token keeps its length
};

/// X-MoE (arXiv 2204.09179): z_e = cos(h, v_e) / temperature, h [T, P] the token projected to a few dimensions (Linear; torchscale
/// takes P = 16, the paper about half of E) and v [E, P] one learned direction an expert. The temperature is learned: put its present
/// value here. Its start, 0.07, is the paper's as far as remembered, and open to you. A vector shorter than `floor` is divided by `floor`.
/// Cost: T E P fused operations, and one norm a token and an expert. Gradient, with u = h / |h|, w = v / |v|, s = u w:
///   dh = (w - s u) / (|h| temperature),  dv = (u - s w) / (|v| temperature),  d temperature = -z / temperature, each times dz, summed.
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

namespace detail {

/// 1 / max(|row|, floor) of each row.
template <class Real, class M> struct InverseNorm {
  using real = Real;
  MatrixView<Real const, M> rows;
  Real floor;
  Real* inverse;

  template <class Lanes> MOEBAL_FN void operator()(Lanes lanes, std::byte*, Index, Index r) const {
    Real const* const row = rows.row(r);
    auto const at = [=](auto d) { return load(row, d); };
    Real const norm = math::Ops<Real>::sqrt(lanes.template dot<Real>(rows.cols(), at, at));
    Real const length = norm < floor ? floor : norm;
    lanes.once([=, out = inverse + r] { *out = Real(1) / length; });
  }
};

template <class Real, class M> struct CosineRow {
  using real = Real;
  Cosine gate;
  MatrixView<Real const, M> h, directions;
  Real const* inverse_v;
  MatrixView<Real, M> logits;

  template <class Lanes> MOEBAL_FN void operator()(Lanes lanes, std::byte*, Index, Index t) const {
    Real const* const row = h.row(t);
    auto const at = [=](auto d) { return load(row, d); };
    Real factor = Real(1) / Real(gate.temperature);
    if (gate.sides == CosineSides::Both) {
      Real const norm = math::Ops<Real>::sqrt(lanes.template dot<Real>(h.cols(), at, at));
      factor = factor / (norm < Real(gate.floor) ? Real(gate.floor) : norm);
    }
    for (Index e = 0; e < logits.cols(); ++e) {
      Real const* const v = directions.row(e);
      Real const dot = lanes.template dot<Real>(h.cols(), at, [=](auto d) { return load(v, d); });
      lanes.once([=, out = &logits(t, e), inverse = inverse_v[e]] { *out = dot * inverse * factor; });
    }
  }
};

/// out row r = inverse_r (sum_i c_ri other_i inverse_i - [its own direction] sum_i dz z), c = dz / temperature. Serves both sides of the
/// cosine: rows of h over the experts, or rows of v over the tokens, for which dz and z are read transposed.
template <class Real, class M, bool transposed> struct CosineBackwardRow {
  using real = Real;
  MatrixView<Real const, M> own, other, logits, d_logits;
  Real const* inverse_own; // null: this side is not normalised
  Real const* inverse_other; // null: likewise
  Real inverse_temperature, floor;
  MatrixView<Real, M> out; // may be empty
  Real* pulled_out;        // [rows of own] sum_i dz z, or null

  template <class Lanes> MOEBAL_FN void operator()(Lanes lanes, std::byte*, Index, Index r) const {
    Real pulled = 0;
    for (Index i = 0; i < other.rows(); ++i) pulled = math::fma(at(d_logits, r, i), at(logits, r, i), pulled);
    if (pulled_out != nullptr) lanes.once([=, to = pulled_out + r] { *to = pulled; });
    if (out.empty()) return;
    Real* const d = out.row(r);
    lanes.each_one(out.cols(), [=](Index p) { d[p] = 0; });
    for (Index i = 0; i < other.rows(); ++i) {
      Real const c = at(d_logits, r, i) * inverse_temperature * (inverse_other ? inverse_other[i] : Real(1));
      Real const* const v = other.row(i);
      lanes.each(out.cols(), [=](auto p) {
        auto const so_far = load(static_cast<Real const*>(d), p);
        using V = std::remove_const_t<decltype(so_far)>;
        store(d, p, math::fma<V>(math::splat<V>(c), load(v, p), so_far));
      });
    }
    if (inverse_own == nullptr) return;
    Real const inverse = inverse_own[r];
    bool const clamped = !(inverse < Real(1) / floor); // its length does not move
    Real const along = clamped ? Real(0) : pulled * inverse;
    Real const* const mine = own.row(r);
    lanes.each(out.cols(), [=](auto p) {
      using V = std::remove_const_t<decltype(load(mine, p))>;
      V const across = math::fma<V>(math::splat<V>(-along), load(mine, p), load(static_cast<Real const*>(d), p));
      store(d, p, math::mul<V>(across, math::splat<V>(inverse)));
    });
  }

private:
  MOEBAL_FN static Real at(MatrixView<Real const, M> const& m, Index r, Index i) { return transposed ? m(i, r) : m(r, i); }
};

template <class Real> struct TemperatureGradient {
  Real const* pulled; // [T]
  Index tokens;
  Real inverse_temperature;
  Real* out;
  MOEBAL_FN void operator()(Index) const {
    Real sum = 0;
    for (Index t = 0; t < tokens; ++t) sum = sum + pulled[t];
    *out = -(sum * inverse_temperature);
  }
};

} // namespace detail

/// logits [T, E] of h [T, P] and directions [E, P]. workspace: Cosine::workspace_bytes<Real>(exec, T, E).
template <execution Exec, matrix_like H, matrix_like V, class Real, class M>
void logits_into(Exec const& exec, Cosine gate, H const& h, V const& directions, MatrixView<Real, M> logits, WorkspaceView<M> workspace) {
  auto const in = gate::reading(h);
  auto const v = gate::reading(directions);
  gate::require_shape("directions [E, P]", logits.cols(), in.cols(), v);
  gate::require_shape("logits [T, E]", in.rows(), v.rows(), logits);
  workspace.require(Cosine::workspace_bytes<Real>(exec, in.rows(), v.rows()));
  Real* const inverse = workspace.template take<Real>(v.rows());
  exec.for_rows(v.rows(), 0, WorkspaceView<M>{}, detail::InverseNorm<Real, M>{v, Real(gate.floor), inverse});
  exec.for_rows(in.rows(), 0, WorkspaceView<M>{}, detail::CosineRow<Real, M>{gate, in, v, inverse, logits});
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
                detail::CosineBackwardRow<Real, M, false>{in, v, z, d, inverse_h, inverse_v, inverse_temperature, floor, gradient.d_h, pulled});
  if (gradient.d_directions.data() != nullptr)
    exec.for_rows(v.rows(), 0, WorkspaceView<M>{},
                  detail::CosineBackwardRow<Real, M, true>{v, in, z, d, inverse_v, inverse_h, inverse_temperature, floor,
                                                           gradient.d_directions, nullptr});
  if (gradient.d_temperature.data() != nullptr)
    exec.for_each(1, detail::TemperatureGradient<Real>{pulled, in.rows(), inverse_temperature, gradient.d_temperature.data()});
}

} // namespace moebal
