// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What the router needs of a gate, for one row, and the two kinds of gate that give it.
//
// An element-wise gate (sigmoid, sqrt-softplus, ...) is a function of one logit: it has score(z), a NaN where z is one,
// and slope(z, s), and ElementwiseRow below does the rest. It may have rough_score(z), which is faster and at most
// rough_error off. A row gate (softmax) has the members itself:
//   open(lanes, x, E)     what a score needs to know of the whole row
//   score(row, z)         the score of a logit; increasing in z, so that without a bias experts rank by logit
//   weights_read_row(K)   whether the weights of K choices read more than the chosen logits
//   weigh(lanes, row, z, count, K, weights)
//                         weights of the `count` <= K chosen logits z
//   weigh_pull(lanes, z, count, K, d_weight, factor, value)
//                         d loss / d z_k of weights that read the chosen logits alone is factor[k] * value[k]
//   weigh_pull(lanes, row, z, count, K, d_weight, factor, value)
//                         the same for weights that read the row, each a function of its own normalised score: factor
//                         is that score (gate/pull_back.hpp)
//   balance()             the normalised scores q that statistics sum:
//     open(lanes, x, E, keep)   which shows keep(e, u) what each element has before it is divided by the row's sum
//     share(row, u)             the q that becomes of u;  score(row, z): the same of a logit
//     normalised                whether there is such a sum
//     pull(row, z, u, slope)    the way back, the slope being centred already (gate/pull_back.hpp)
// opens_tiles = true, of either, says that open serves several rows at once: it reads numbers of the row beside its
// elements through number_at (core/lanes.hpp), and takes one sum, that of what it shows to keep, so that a lane group
// can take a dot product in the same pass (backend/tile_rows.hpp). A gate whose open has the type of its balance's
// keeps the same things.

#include "chosen.hpp"
#include "keep.hpp"

#include <concepts>
#include <utility>

namespace moebal {

template <class G>
concept elementwise_gate = requires(G const& gate, float z, double w) {
  { gate.score(z) } -> std::same_as<float>;
  { gate.slope(z, z) } -> std::same_as<float>;
  { gate.score(w) } -> std::same_as<double>;
  gate.normalise;
  gate.scale;
};

/// The logits of one row, widened to the type they are computed in.
template <class Logit> struct LogitRow {
  Logit const* data; // [E]
  template <class E> MOEBAL_FN auto operator()(E e) const { return load(data, e); }
};

namespace gate {

/// Normalised scores of an element-wise gate: q_e = s_e / (sum_i s_i + 1e-20)  (DeepSeek-V3, arXiv 2412.19437, eq.
/// 18-20).
template <class Gate> struct ElementwiseBalance {
  Gate gate;
  template <class Real> struct Row { Real inverse_sum; };
  static constexpr double epsilon = 1e-20;
  static constexpr bool opens_tiles = true;

  template <class Real, class Lanes, class X, class Keep = KeepNothing>
  MOEBAL_FN Row<Real> open(Lanes lanes, X x, Index experts, Keep keep = {}) const {
    auto const g = gate;
    Real const sum = lanes.template sum<Real>(experts, [=](auto e) {
      auto const s = g.score(x(e));
      keep(e, s);
      return s;
    });
    return {math::splat<Real>(1) / (sum + math::splat<Real>(math::real_of<Real>(epsilon)))};
  }
  template <class Real, class V> MOEBAL_FN V share(Row<Real> row, V kept) const {
    return math::mul<V>(kept, math::spread<V>(row.inverse_sum));
  }
  template <class Real, class V> MOEBAL_FN V score(Row<Real> row, V z) const { return share(row, gate.score(z)); }
  static constexpr bool normalised = true;
  /// phi'(z_e) / sum * (slope_e - sum_i slope_i q_i).
  template <class Real, class V> MOEBAL_FN V pull(Row<Real> row, V z, V kept, V centred) const {
    return math::mul<V>(gate.slope(z, kept), share(row, centred));
  }
};

/// Lifts an element-wise gate to a row.
template <class Gate> struct ElementwiseRow {
  Gate gate;
  template <class Real> struct Row {};

  template <class Real, class Lanes, class X> MOEBAL_FN Row<Real> open(Lanes, X, Index) const { return {}; }
  template <class Real, class V> MOEBAL_FN V score(Row<Real>, V z) const { return gate.score(z); }
  template <class Real, class V>
  requires requires { Gate::rough_error; }
  MOEBAL_FN V rough_score(Row<Real>, V z) const { return gate.rough_score(z); }
  static constexpr float rough_error() {
    if constexpr (requires { Gate::rough_error; })
      return Gate::rough_error;
    else
      return 0; // none
  }
  MOEBAL_FN bool weights_read_row(Index) const { return false; }
  MOEBAL_FN ElementwiseBalance<Gate> balance() const { return {gate}; }

  template <class Real, class Lanes>
  MOEBAL_FN void weigh(Lanes lanes, Row<Real>, Real const* z, Index count, Index top_k, Real* weights) const {
    auto const g = gate;
    lanes.each(count, [=](auto k) { store(weights, k, g.score(load(z, k))); });
    gate::weigh(lanes, weight_rule<Real>(gate, top_k), static_cast<Real const*>(weights), count, weights);
  }

  /// phi'(z_k) * d score_k.
  template <class Real, class Lanes>
  MOEBAL_FN void weigh_pull(Lanes lanes, Real const* z, Index count, Index top_k, Real const* d_weight, Real* factor,
                            Real* value) const {
    auto const g = gate;
    lanes.each(count, [=](auto k) { store(factor, k, g.score(load(z, k))); });
    gate::weigh_backward(lanes, weight_rule<Real>(gate, top_k), static_cast<Real const*>(factor), count, d_weight,
                         value);
    lanes.each(count,
               [=](auto k) { store(factor, k, g.slope(load(z, k), load(static_cast<Real const*>(factor), k))); });
  }
};

template <class Gate> MOEBAL_FN inline auto rows_of(Gate const& gate) {
  if constexpr (elementwise_gate<Gate>)
    return ElementwiseRow<Gate>{gate};
  else
    return gate;
}
template <class Gate> using rows_of_t = decltype(rows_of(std::declval<Gate const&>()));

} // namespace gate
} // namespace moebal
