// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "map.hpp"

namespace moebal {

/// Whether a map overwrites its output or adds to it.
enum class Store { Overwrite, Add };

/// The learned gate: z = W x + b. With b it is the router bias of gpt-oss (github.com/openai/gpt-oss), which is part
/// of the logits and so counts in the weights too, unlike RowOptions::bias; followed by TopK<4> and
/// SoftmaxOverChosen. Also the projection of X-MoE, and with Store::Add the gating residual of MoE++ (arXiv
/// 2410.07348): z_l = W x, then + W_g z_(l-1). One pass of dot products, T E D fused operations, each in the
/// library's canonical order: the oracle of the other maps, and exact from machine to machine, but no blocked matrix
/// product: where the gate product matters, use Router::route_tokens or the one of your framework. Gradient: dx = dz W, dW = dz^T x, db =
/// sum_t dz.
struct Linear {
  static constexpr bool causal = true;
  Store store = Store::Overwrite;
};

/// Where Linear's backward writes (overwrites); each part may stay empty.
template <class Real = float, class Memory = HostMemory> struct LinearGradient {
  MatrixView<Real, Memory> d_x{};      // [T, D]
  MatrixView<Real, Memory> d_weight{}; // [E, D]
  VectorView<Real, Memory> d_bias{};   // [E]
};

namespace detail {

template <class X, class Real, class M> struct LinearRow {
  using real = Real;
  MatrixView<X const, M> x;
  MatrixView<Real const, M> weight;
  VectorView<Real const, M> bias;
  MatrixView<Real, M> logits;
  Store store;

  template <class Lanes> MOEBAL_FN void operator()(Lanes lanes, std::byte*, Index, Index t) const {
    X const* const row = x.row(t);
    for (Index e = 0; e < logits.cols(); ++e) {
      Real const* const w = weight.row(e);
      Real z = lanes.template dot<Real>(
          x.cols(), [=](auto d) { return load(row, d); }, [=](auto d) { return load(w, d); });
      if (!bias.empty()) z = z + bias[e];
      Real* const out = &logits(t, e);
      bool const add = store == Store::Add;
      lanes.once([=] { *out = add ? *out + z : z; });
    }
  }
};

/// d_x row t = sum_e dz_te w_e, in the order of experts.
template <class Real, class M> struct LinearBackwardRow {
  using real = Real;
  MatrixView<Real const, M> weight, d_logits;
  MatrixView<Real, M> d_x;

  template <class Lanes> MOEBAL_FN void operator()(Lanes lanes, std::byte*, Index, Index t) const {
    Real* const out = d_x.row(t);
    lanes.each_one(d_x.cols(), [=](Index d) { out[d] = 0; });
    for (Index e = 0; e < weight.rows(); ++e) {
      Real const g = d_logits(t, e);
      Real const* const w = weight.row(e);
      lanes.each(d_x.cols(), [=](auto d) {
        auto const so_far = load(static_cast<Real const*>(out), d);
        using V = std::remove_const_t<decltype(so_far)>;
        store(out, d, math::fma<V>(math::splat<V>(g), load(w, d), so_far));
      });
    }
  }
};

/// d_weight row e = sum_t dz_te x_t, and d_bias, in the order of tokens.
template <class X, class Real, class M> struct LinearWeightRow {
  using real = Real;
  MatrixView<X const, M> x;
  MatrixView<Real const, M> d_logits;
  MatrixView<Real, M> d_weight;
  VectorView<Real, M> d_bias;

  template <class Lanes> MOEBAL_FN void operator()(Lanes lanes, std::byte*, Index, Index e) const {
    Real sum = 0;
    for (Index t = 0; t < d_logits.rows(); ++t) sum = sum + d_logits(t, e);
    if (!d_bias.empty()) lanes.once([=, out = &d_bias[e]] { *out = sum; });
    if (d_weight.empty()) return;
    Real* const out = d_weight.row(e);
    lanes.each_one(d_weight.cols(), [=](Index d) { out[d] = 0; });
    for (Index t = 0; t < x.rows(); ++t) {
      Real const g = d_logits(t, e);
      X const* const row = x.row(t);
      lanes.each(d_weight.cols(), [=](auto d) {
        auto const so_far = load(static_cast<Real const*>(out), d);
        using V = std::remove_const_t<decltype(so_far)>;
        store(out, d, math::fma<V>(math::splat<V>(g), load(row, d), so_far));
      });
    }
  }
};

} // namespace detail

/// logits [T, E] = x [T, D] weight^T + bias.  weight [E, D]; bias [E] or empty; logits out. Throws ShapeError before
/// any work.
template <execution Exec, matrix_like X, matrix_like W, class Real, class M>
void logits_into(Exec const& exec, Linear linear, X const& x, W const& weight,
                 std::type_identity_t<VectorView<Real const, M>> bias, MatrixView<Real, M> logits) {
  auto const in = gate::reading(x);
  auto const w = gate::reading(weight);
  gate::require_shape("weight [E, D]", logits.cols(), in.cols(), w);
  gate::require_shape("logits [T, E]", in.rows(), logits.cols(), logits);
  gate::require_size_or_none("bias [E]", logits.cols(), bias);
  exec.for_rows(in.rows(), 0, WorkspaceView<M>{},
                detail::LinearRow<element_of<X const&>, Real, M>{in, w, bias, logits, linear.store});
}

/// Gradients of logits_into from d_logits [T, E].
template <execution Exec, matrix_like X, matrix_like W, matrix_like G, class Real, class M>
void backward_into(Exec const& exec, Linear, X const& x, W const& weight, G const& d_logits,
                   LinearGradient<Real, M> gradient) {
  auto const in = gate::reading(x);
  auto const w = gate::reading(weight);
  auto const d = gate::reading(d_logits);
  gate::require_shape("weight [E, D]", d.cols(), in.cols(), w);
  gate::require_shape("d_logits [T, E]", in.rows(), d.cols(), d);
  gate::require_shape_or_none("d_x [T, D]", in.rows(), in.cols(), gradient.d_x);
  gate::require_shape_or_none("d_weight [E, D]", d.cols(), in.cols(), gradient.d_weight);
  gate::require_size_or_none("d_bias [E]", d.cols(), gradient.d_bias);
  if (gradient.d_x.data() != nullptr)
    exec.for_rows(in.rows(), 0, WorkspaceView<M>{}, detail::LinearBackwardRow<Real, M>{w, d, gradient.d_x});
  if (gradient.d_weight.data() != nullptr || gradient.d_bias.data() != nullptr)
    exec.for_rows(d.cols(), 0, WorkspaceView<M>{},
                  detail::LinearWeightRow<element_of<X const&>, Real, M>{in, d, gradient.d_weight, gradient.d_bias});
}

} // namespace moebal
