// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "row.hpp"

namespace moebal {
namespace gate {

/// Scores as they are, for statistics: up to `most`, so that a sum in fixed point has room.
template <class Gate> struct RawScores {
  Gate gate;
  template <class Real> struct Row {};
  static constexpr double most = 1024;

  static constexpr bool opens_tiles = false;
  template <class Real, class Lanes, class X, class Keep = KeepNothing>
  MOEBAL_FN Row<Real> open(Lanes lanes, X x, Index experts, Keep keep = {}) const {
    auto const self = *this;
    if constexpr (!std::is_same_v<Keep, KeepNothing>)
      lanes.each(experts, [=](auto e) { keep(e, self.score(Row<Real>{}, x(e))); });
    return {};
  }
  template <class Real, class V> MOEBAL_FN V share(Row<Real>, V kept) const { return kept; }
  template <class Real, class V> MOEBAL_FN V score(Row<Real>, V z) const {
    V const s = gate.score(z), limit = math::splat<V>(math::real_of<V>(most));
    return math::Ops<V>::select(s > limit, limit, s);
  }
  static constexpr bool normalised = false;
  /// phi'(z_e) * slope_e.
  template <class Real, class V> MOEBAL_FN V pull(Row<Real>, V z, V, V slope) const {
    return math::mul<V>(gate.slope(z, gate.score(z)), slope);
  }
};

} // namespace gate

/// An element-wise gate whose balancing losses read its scores as they are, not divided by their sum:
/// RawBalance{ReLU{}} for ReMoE's L1 norm (2412.14711; LoadWeightedL1), which would say nothing of shares that sum
/// to 1. Routing and weights are those of the gate. Sums are in the units of stats::score_one: those of a window must
/// stay below 2^31 (fp32) or 2^21 (fp64), and a score counts as 1024 at most (its gradient does not know that).
/// Gradient: phi'(z) * slope per expert.
template <elementwise_gate Gate> struct RawBalance {
  Gate gate{};

  template <class Real> using Row = typename gate::ElementwiseRow<Gate>::template Row<Real>;
  template <class Real, class Lanes, class X> MOEBAL_FN Row<Real> open(Lanes, X, Index) const { return {}; }
  template <class Real, class V> MOEBAL_FN V score(Row<Real>, V z) const { return gate.score(z); }
  MOEBAL_FN bool weights_read_row(Index) const { return false; }
  MOEBAL_FN gate::RawScores<Gate> balance() const { return {gate}; }

  template <class Real, class Lanes>
  MOEBAL_FN void weigh(Lanes lanes, Row<Real> row, Real const* z, Index count, Index top_k, Real* weights) const {
    gate::ElementwiseRow<Gate>{gate}.weigh(lanes, row, z, count, top_k, weights);
  }
  template <class Real, class Lanes>
  MOEBAL_FN void weigh_pull(Lanes lanes, Real const* z, Index count, Index top_k, Real const* d_weight, Real* factor,
                            Real* value) const {
    gate::ElementwiseRow<Gate>{gate}.weigh_pull(lanes, z, count, top_k, d_weight, factor, value);
  }
};
template <class Gate> RawBalance(Gate) -> RawBalance<Gate>;

} // namespace moebal
