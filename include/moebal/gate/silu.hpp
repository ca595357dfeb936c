// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "map.hpp"

namespace moebal {

/// y = x sigmoid(x), element by element: between the two products of a Predictor, and before the projection of latent
/// prototype routing. Cost: one pass. Gradient: dx = dy (s + x s (1 - s)), s = sigmoid(x). Not for infinite x.
struct Silu {
  static constexpr bool causal = true;
};

namespace detail {
template <class Real, class M> struct SiluRow {
  using real = Real;
  MatrixView<Real const, M> x;
  MatrixView<Real, M> y;
  template <class Lanes> MOEBAL_FN void operator()(Lanes lanes, std::byte*, Index, Index t) const {
    Real const* const in = x.row(t);
    Real* const out = y.row(t);
    lanes.each(x.cols(), [=](auto d) {
      auto const v = load(in, d);
      using V = std::remove_const_t<decltype(v)>;
      store(out, d, math::mul<V>(v, math::sigmoid(v)));
    });
  }
};
template <class Real, class M> struct SiluBackwardRow {
  using real = Real;
  MatrixView<Real const, M> x, d_y;
  MatrixView<Real, M> d_x;
  template <class Lanes> MOEBAL_FN void operator()(Lanes lanes, std::byte*, Index, Index t) const {
    Real const *const in = x.row(t), *const pull = d_y.row(t);
    Real* const out = d_x.row(t);
    lanes.each(x.cols(), [=](auto d) {
      auto const v = load(in, d);
      using V = std::remove_const_t<decltype(v)>;
      V const s = math::sigmoid(v), bend = math::mul<V>(s, math::splat<V>(1) - s);
      store(out, d, math::mul<V>(load(pull, d), math::fma<V>(v, bend, s)));
    });
  }
};
} // namespace detail

/// y [T, D] of x [T, D]; both may be the same memory.
template <execution Exec, matrix_like X, class Real, class M>
void logits_into(Exec const& exec, Silu, X const& x, MatrixView<Real, M> y) {
  auto const in = gate::reading(x);
  gate::require_shape("silu: y [T, D]", in.rows(), in.cols(), y);
  exec.for_rows(in.rows(), 0, WorkspaceView<M>{}, detail::SiluRow<Real, M>{in, y});
}

/// d_x [T, D] (overwritten) from x and d_y [T, D]; d_x and d_y may be the same memory.
template <execution Exec, matrix_like X, matrix_like G, class Real, class M>
void backward_into(Exec const& exec, Silu, X const& x, G const& d_y, MatrixView<Real, M> d_x) {
  auto const in = gate::reading(x);
  auto const d = gate::reading(d_y);
  gate::require_shape("silu: d_y [T, D]", in.rows(), in.cols(), d);
  gate::require_shape("silu: d_x [T, D]", in.rows(), in.cols(), d_x);
  exec.for_rows(in.rows(), 0, WorkspaceView<M>{}, detail::SiluBackwardRow<Real, M>{in, d, d_x});
}

} // namespace moebal
