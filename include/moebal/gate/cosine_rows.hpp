// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The rows of gate/cosine.hpp: one token's logits, and the gradient of either side of a cosine.

#include "map.hpp"

namespace moebal {

/// Which side of the cosine is brought to length 1.
enum class CosineSides {
  Both,    // the paper, Tutel
  Experts, // torchscale: the token keeps its length
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
  CosineSides sides;
  Real temperature, floor;
  MatrixView<Real const, M> h, directions;
  Real const* inverse_v;
  MatrixView<Real, M> logits;

  template <class Lanes> MOEBAL_FN void operator()(Lanes lanes, std::byte*, Index, Index t) const {
    Real const* const row = h.row(t);
    auto const at = [=](auto d) { return load(row, d); };
    Real factor = Real(1) / temperature;
    if (sides == CosineSides::Both) {
      Real const norm = math::Ops<Real>::sqrt(lanes.template dot<Real>(h.cols(), at, at));
      factor = factor / (norm < floor ? floor : norm);
    }
    for (Index e = 0; e < logits.cols(); ++e) {
      Real const* const v = directions.row(e);
      Real const dot = lanes.template dot<Real>(h.cols(), at, [=](auto d) { return load(v, d); });
      lanes.once([=, out = &logits(t, e), inverse = inverse_v[e]] { *out = dot * inverse * factor; });
    }
  }
};

/// out row r = inverse_r (sum_i c_ri other_i inverse_i - [its own direction] sum_i dz z), c = dz / temperature.
/// Serves both sides of the cosine: rows of h over the experts, or rows of v over the tokens, for which dz and z are
/// read transposed.
template <class Real, class M, bool transposed> struct CosineBackwardRow {
  using real = Real;
  MatrixView<Real const, M> own, other, logits, d_logits;
  Real const* inverse_own;   // null: this side is not normalised
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
  MOEBAL_FN static Real at(MatrixView<Real const, M> const& m, Index r, Index i) {
    return transposed ? m(i, r) : m(r, i);
  }
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

} // namespace moebal
