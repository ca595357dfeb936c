// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "../core/random.hpp"
#include "map.hpp"

namespace moebal {

/// Multiplicative input jitter in training (Switch, arXiv 2101.03961): y = x u, u uniform in (1 - epsilon, 1 +
/// epsilon) for each element, drawn from (seed, first + t, d) alone. The gate product then reads y; the experts read
/// x. epsilon: 1e-2, as published. Cost: one pass over x. Gradient: dx = dy u, with the same u.
struct InputJitter {
  static constexpr bool causal = true;
  float epsilon = 1e-2f;
  std::uint64_t seed = 0; // change it at every step
  Index first = 0;        // the number of this call's first token in its step, so that cutting a batch changes nothing

  template <class Real> MOEBAL_FN Real factor(Index t, Index d, Index width) const {
    double const u = random::uniform(seed, std::uint64_t((first + t) * width + d));
    return Real(math::fma(double(epsilon), math::fma(2.0, u, -1.0), 1.0));
  }
};

namespace detail {
template <class X, class Real, class M> struct JitterRow {
  using real = Real;
  InputJitter jitter;
  MatrixView<X const, M> x;
  MatrixView<Real, M> y;
  template <class Lanes> MOEBAL_FN void operator()(Lanes lanes, std::byte*, Index, Index t) const {
    X const* const in = x.row(t);
    Real* const out = y.row(t);
    Index const width = x.cols();
    auto const self = jitter;
    lanes.each_one(width, [=](Index d) { out[d] = Real(load(in, d)) * self.factor<Real>(t, d, width); });
  }
};
} // namespace detail

/// y [T, D] of x [T, D]; both may be the same memory.
template <execution Exec, matrix_like X, class Real, class M>
void jitter_into(Exec const& exec, InputJitter jitter, X const& x, MatrixView<Real, M> y) {
  auto const in = gate::reading(x);
  gate::require_shape("y [T, D]", in.rows(), in.cols(), y);
  exec.for_rows(in.rows(), 0, WorkspaceView<M>{}, detail::JitterRow<element_of<X const&>, Real, M>{jitter, in, y});
}

/// d_x [T, D] (overwritten) of d_y [T, D]; both may be the same memory.
template <execution Exec, matrix_like G, class Real, class M>
void backward_into(Exec const& exec, InputJitter jitter, G const& d_y, MatrixView<Real, M> d_x) {
  jitter_into(exec, jitter, d_y, d_x); // the map is diagonal
}

} // namespace moebal
