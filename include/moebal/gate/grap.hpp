// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "map.hpp"

namespace moebal {

/// What becomes of a chunk mean below 0.
enum class Rectify {
  None, // it stays: the gate is then linear, and no two experts tie at 0
  ReLU, // max(0, .), as LocMoE prints it; tokens whose means are all negative then tie, and go to the lowest id
};

/// LocMoE's gate (arXiv 2401.13920, eq. 2-4): grouped average pooling. Logit e is the mean of the e-th of E equal
/// chunks of x, plus bias_e where there is one: z_e = rectify((E / D) sum of x_j in [e D / E, (e + 1) D / E) +
/// bias_e). No parameters; the rows of the equivalent W have disjoint support, so they are orthogonal, each of length
/// sqrt(E / D). The paper does not say what its bias term eps_i is: it is yours to give or to leave out. With Softmax
/// and TopK<1>. Cost: O(D) a token instead of O(D E). Gradient: dx_j = (E / D) dz_e for j in chunk e, where z_e is
/// not rectified; d bias_e = sum_t dz_e.
struct GrAP {
  static constexpr bool causal = true;
  Rectify rectify = Rectify::ReLU;
};

namespace detail {

/// sum of x [first, first + size).
template <class Real, class Lanes, class X> MOEBAL_FN Real chunk_sum(Lanes lanes, X const* x, Index size) {
  return lanes.template sum<Real>(size, [=](auto j) { return load(x, j); });
}
template <class X, class Real, class M> struct GrapRow {
  using real = Real;
  MatrixView<X const, M> x;
  VectorView<Real const, M> bias;
  Rectify rectify;
  MatrixView<Real, M> logits;

  template <class Lanes> MOEBAL_FN void operator()(Lanes lanes, std::byte*, Index, Index t) const {
    Index const size = x.cols() / logits.cols();
    for (Index e = 0; e < logits.cols(); ++e) {
      Real z = chunk_sum<Real>(lanes, x.row(t) + e * size, size) / Real(size);
      if (!bias.empty()) z = z + bias[e];
      if (rectify == Rectify::ReLU && z < Real(0)) z = 0; // NaN stays
      lanes.once([=, out = &logits(t, e)] { *out = z; });
    }
  }
};

template <class Real, class M> struct GrapBackwardRow {
  using real = Real;
  MatrixView<Real const, M> logits, d_logits;
  Rectify rectify;
  MatrixView<Real, M> d_x;

  template <class Lanes> MOEBAL_FN void operator()(Lanes lanes, std::byte*, Index, Index t) const {
    Index const size = d_x.cols() / d_logits.cols();
    for (Index e = 0; e < d_logits.cols(); ++e) {
      bool const dead = rectify == Rectify::ReLU && !(logits(t, e) > Real(0));
      Real const g = dead ? Real(0) : d_logits(t, e) / Real(size);
      Real* const out = d_x.row(t) + e * size;
      lanes.each(size, [=](auto j) {
        using V = std::remove_const_t<decltype(load(static_cast<Real const*>(out), j))>;
        store(out, j, math::splat<V>(g));
      });
    }
  }
};

template <class Real, class M> struct GrapBiasGradient {
  MatrixView<Real const, M> logits, d_logits;
  Rectify rectify;
  Real* d_bias;
  MOEBAL_FN void operator()(Index e) const {
    Real sum = 0;
    for (Index t = 0; t < d_logits.rows(); ++t)
      if (rectify == Rectify::None || logits(t, e) > Real(0)) sum = sum + d_logits(t, e);
    d_bias[e] = sum;
  }
};

template <class Real, class M> struct GrapWeight {
  MatrixView<Real, M> weight;
  MOEBAL_FN void operator()(Index e) const {
    Index const size = weight.cols() / weight.rows();
    for (Index j = 0; j < weight.cols(); ++j) weight(e, j) = j / size == e ? Real(1) / Real(size) : Real(0);
  }
};

inline void check_grap(Index width, Index experts) {
  require_at_least("E, the columns of logits [T, E]", 1, experts);
  require_equal("D modulo E of GrAP, whose chunks are equal", 0, width % experts);
}
} // namespace detail

/// logits [T, E] of x [T, D], D a multiple of E. bias [E] or empty.
template <execution Exec, matrix_like X, class Real, class M>
void logits_into(Exec const& exec, GrAP gate, X const& x, std::type_identity_t<VectorView<Real const, M>> bias,
                 MatrixView<Real, M> logits) {
  auto const in = gate::reading(x);
  detail::check_grap(in.cols(), logits.cols());
  gate::require_shape("logits [T, E]", in.rows(), logits.cols(), logits);
  gate::require_size_or_none("bias [E]", logits.cols(), bias);
  exec.for_rows(in.rows(), 0, WorkspaceView<M>{},
                detail::GrapRow<element_of<X const&>, Real, M>{in, bias, gate.rectify, logits});
}

/// d_x [T, D] and d_bias [E] (each overwritten, or empty) from the logits [T, E] that logits_into wrote and d_logits
/// [T, E].
template <execution Exec, matrix_like L, matrix_like G, class Real, class M>
void backward_into(Exec const& exec, GrAP gate, L const& logits, G const& d_logits, MatrixView<Real, M> d_x,
                   std::type_identity_t<VectorView<Real, M>> d_bias = {}) {
  auto const z = gate::reading(logits);
  auto const d = gate::reading(d_logits);
  gate::require_shape("d_logits [T, E]", z.rows(), z.cols(), d);
  gate::require_size_or_none("d_bias [E]", z.cols(), d_bias);
  if (d_x.data() != nullptr) {
    detail::check_grap(d_x.cols(), z.cols());
    gate::require_shape("d_x [T, D]", z.rows(), d_x.cols(), d_x);
    exec.for_rows(z.rows(), 0, WorkspaceView<M>{}, detail::GrapBackwardRow<Real, M>{z, d, gate.rectify, d_x});
  }
  if (d_bias.data() != nullptr)
    exec.for_each(z.cols(), detail::GrapBiasGradient<Real, M>{z, d, gate.rectify, d_bias.data()});
}

/// The fixed W [E, D] that GrAP is the same as: E / D in chunk e of row e, else 0. For tests, and to start a learned
/// gate from.
template <execution Exec, class Real, class M> void grap_rows_into(Exec const& exec, MatrixView<Real, M> weight) {
  detail::check_grap(weight.cols(), weight.rows());
  exec.for_each(weight.rows(), detail::GrapWeight<Real, M>{weight});
}

} // namespace moebal
