// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The rows of select/zero_outputs.hpp, and the parameters of constant experts.

#include "zero_experts.hpp"

namespace moebal {

/// Parameters of the C constant experts of MoE++: out = a1 x + a2 v, (a1, a2) = softmax(mixers_2c . x, mixers_(2c+1)
/// . x).
template <class Real = float, class Memory = HostMemory> struct ConstantExperts {
  MatrixView<Real const, Memory> vectors{}; // [C, D] v
  MatrixView<Real const, Memory> mixers{};  // [2 C, D]
};

namespace detail {

template <class Real, class Lanes> MOEBAL_FN Real row_product(Lanes lanes, Real const* a, Real const* b, Index n) {
  return lanes.template dot<Real>(n, [=](auto d) { return load(a, d); }, [=](auto d) { return load(b, d); });
}
/// to += factor * from.
template <class Real, class Lanes>
MOEBAL_FN void add_scaled(Lanes lanes, Real factor, Real const* from, Index n, Real* to) {
  lanes.each(n, [=](auto d) {
    auto const so_far = load(static_cast<Real const*>(to), d);
    using V = std::remove_const_t<decltype(so_far)>;
    store(to, d, math::fma<V>(math::splat<V>(factor), load(from, d), so_far));
  });
}

/// The part of a1 in the mixture of constant expert c; that of a2 is the rest.
template <class Real, class Lanes, class M>
MOEBAL_FN Real own_part(Lanes lanes, ConstantExperts<Real, M> const& constants, Index c, Real const* x, Index n) {
  Real const first = row_product(lanes, constants.mixers.row(2 * c), x, n),
             second = row_product(lanes, constants.mixers.row(2 * c + 1), x, n);
  return math::sigmoid(first - second);
}

/// What both ways read.
template <class Real, class M> struct ZeroOutputInputs {
  ZeroExperts zeros;
  MatrixView<Real const, M> x;       // [T, D]
  MatrixView<ExpertId const, M> ids; // [T, K]
  MatrixView<Real const, M> weights; // [T, K]
  ConstantExperts<Real, M> constants;
};

template <class Real, class M> struct ZeroOutputRow {
  using real = Real;
  ZeroOutputInputs<Real, M> inputs;
  MatrixView<Real, M> out;

  template <class Lanes> MOEBAL_FN void operator()(Lanes lanes, std::byte*, Index, Index t) const {
    auto const& [zeros, x, ids, weights, constants] = inputs;
    Real own = 0; // what the token itself is multiplied by
    for (Index k = 0; k < ids.cols(); ++k) {
      ExpertId const id = ids(t, k);
      if (id < 0) continue;
      ExpertKind const kind = zeros.kind(id);
      Real const w = weights(t, k);
      if (kind == ExpertKind::Copy) own = own + w;
      if (kind != ExpertKind::Constant) continue;
      Index const c = zeros.constant_index(id);
      Real const a1 = own_part(lanes, constants, c, x.row(t), x.cols());
      own = math::fma(w, a1, own);
      add_scaled(lanes, w * (Real(1) - a1), constants.vectors.row(c), x.cols(), out.row(t));
    }
    if (own != Real(0)) add_scaled(lanes, own, x.row(t), x.cols(), out.row(t));
  }
};

} // namespace detail
} // namespace moebal
