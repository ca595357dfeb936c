// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "grap.hpp"

namespace moebal {

/// LocMoE+ (arXiv 2406.00023): the cosine between a token and the same rows, z_e = sqrt(E / D) (sum of chunk e) /
/// |x|. Any positive scale of x gives the same affinities. A token shorter than `floor` is divided by `floor`. Cost:
/// O(D) a token. Gradient: dx_j = (sqrt(E / D) dz_e - (sum_i dz_i z_i) x_j / |x|) / |x|.
struct CosineGrAP {
  static constexpr bool causal = true;
  float floor = 1e-12f;
};

namespace detail {

template <class Real, class Lanes, class X> MOEBAL_FN Real token_length(Lanes lanes, X const* x, Index n, Real floor) {
  auto const at = [=](auto j) { return load(x, j); };
  Real const norm = math::Ops<Real>::sqrt(lanes.template dot<Real>(n, at, at));
  return norm < floor ? floor : norm;
}

template <class X, class Real, class M> struct CosineGrapRow {
  using real = Real;
  MatrixView<X const, M> x;
  Real floor, row_length; // sqrt(E / D)
  MatrixView<Real, M> logits;

  template <class Lanes> MOEBAL_FN void operator()(Lanes lanes, std::byte*, Index, Index t) const {
    Index const size = x.cols() / logits.cols();
    Real const factor = row_length / token_length(lanes, x.row(t), x.cols(), floor);
    for (Index e = 0; e < logits.cols(); ++e) {
      Real const sum = chunk_sum<Real>(lanes, x.row(t) + e * size, size);
      lanes.once([=, out = &logits(t, e)] { *out = sum * factor; });
    }
  }
};

template <class X, class Real, class M> struct CosineGrapBackwardRow {
  using real = Real;
  MatrixView<X const, M> x;
  MatrixView<Real const, M> logits, d_logits;
  Real floor, row_length;
  MatrixView<Real, M> d_x;

  template <class Lanes> MOEBAL_FN void operator()(Lanes lanes, std::byte*, Index, Index t) const {
    Index const experts = logits.cols(), size = x.cols() / experts;
    Real const norm = token_length(lanes, x.row(t), x.cols(), floor);
    Real const *const z = logits.row(t), *const dz = d_logits.row(t);
    Real const pulled = lanes.template dot<Real>(
        experts, [=](auto e) { return load(dz, e); }, [=](auto e) { return load(z, e); });
    Real const along = norm > floor ? pulled / norm : Real(0);
    for (Index e = 0; e < experts; ++e) {
      Real const g = dz[e] * row_length;
      X const* const in = x.row(t) + e * size;
      Real* const out = d_x.row(t) + e * size;
      lanes.each(size, [=](auto j) {
        using V = std::remove_const_t<decltype(load(static_cast<Real const*>(out), j))>;
        store(out, j, math::fma<V>(math::splat<V>(-along), load(in, j), math::splat<V>(g)) / math::splat<V>(norm));
      });
    }
  }
};

template <class Real> Real grap_row_length(Index width, Index experts) {
  return math::Ops<Real>::sqrt(Real(experts) / Real(width < 1 ? 1 : width));
}

} // namespace detail

/// Affinities [T, E] of x [T, D], D a multiple of E.
template <execution Exec, matrix_like X, class Real, class M>
void logits_into(Exec const& exec, CosineGrAP gate, X const& x, MatrixView<Real, M> logits) {
  auto const in = gate::reading(x);
  detail::check_grap(in.cols(), logits.cols());
  gate::require_shape("logits [T, E]", in.rows(), logits.cols(), logits);
  exec.for_rows(in.rows(), 0, WorkspaceView<M>{},
                detail::CosineGrapRow<element_of<X const&>, Real, M>{
                    in, Real(gate.floor), detail::grap_row_length<Real>(in.cols(), logits.cols()), logits});
}

/// d_x [T, D] (overwritten) from x, the affinities that logits_into wrote, and d_logits [T, E].
template <execution Exec, matrix_like X, matrix_like L, matrix_like G, class Real, class M>
void backward_into(Exec const& exec, CosineGrAP gate, X const& x, L const& logits, G const& d_logits,
                   MatrixView<Real, M> d_x) {
  auto const in = gate::reading(x);
  auto const z = gate::reading(logits);
  auto const d = gate::reading(d_logits);
  detail::check_grap(in.cols(), z.cols());
  gate::require_shape("logits [T, E]", in.rows(), z.cols(), z);
  gate::require_shape("d_logits [T, E]", in.rows(), z.cols(), d);
  gate::require_shape("d_x [T, D]", in.rows(), in.cols(), d_x);
  exec.for_rows(in.rows(), 0, WorkspaceView<M>{},
                detail::CosineGrapBackwardRow<element_of<X const&>, Real, M>{
                    in, z, d, Real(gate.floor), detail::grap_row_length<Real>(in.cols(), z.cols()), d_x});
}

} // namespace moebal
