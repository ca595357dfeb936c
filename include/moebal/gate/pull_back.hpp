// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The way back through the normalised scores of a row, for every balance (gate/row.hpp):
//   d/d z_e sum_i g_i q_i = pull(row, z_e, u_e, g_e - sum_i g_i q_i),   u_e what open() keeps.
// The steps are apart, so that several rows can take each of them together (router/backward_tile.hpp).

#include "../core/lanes.hpp"

namespace moebal::gate {

/// sum_i g_i q_i where the balance divides by the sum of the row, else 0. dot: sum_i g_i u_i.
template <class Balance, class Row, class Real> MOEBAL_FN Real centre(Balance const& balance, Row row, Real dot) {
  if constexpr (Balance::normalised)
    return balance.share(row, dot);
  else
    return math::splat<Real>(0);
}

/// d_logits [E], which holds u, becomes the derivative.
template <class Lanes, class Balance, class Row, class X, class Real>
MOEBAL_FN void pull_each(Lanes lanes, Balance const& balance, Row row, X x, Index experts, Real const* slopes, Real centre, Real* d_logits) {
  auto const b = balance;
  lanes.each(experts, [=](auto e) {
    using V = decltype(x(e));
    V const u = load(static_cast<Real const*>(d_logits), e);
    store(d_logits, e, b.pull(row, x(e), u, V(load(slopes, e)) - math::splat<V>(centre)));
  });
}

/// d_logits [E] = d/d logits of sum_e slopes_e q_e.
template <class Real, class Lanes, class Balance, class X>
MOEBAL_FN void pull_back(Lanes lanes, Balance const& balance, X x, Index experts, Real const* slopes, Real* d_logits) {
  auto const row = balance.template open<Real>(lanes, x, experts, [=](auto e, auto u) { store(d_logits, e, u); });
  Real const dot = lanes.template dot<Real>(
      experts, [=](auto e) { return load(slopes, e); }, [=](auto e) { return load(static_cast<Real const*>(d_logits), e); });
  pull_each(lanes, balance, row, x, experts, slopes, centre(balance, row, dot), d_logits);
}

/// d_logits += d loss / d logits of the weights of `count` <= K choices. scratch: [4 K + E]
template <class Real, class Gate, class Lanes, class X>
MOEBAL_FN void pull_weights(Lanes lanes, Gate const& gate, X x, Index experts, ExpertId const* ids, Index count, Index top_k,
                            Real const* d_weight, Real* scratch, Real* d_logits) {
  if constexpr (requires { gate.weigh_backward(lanes, x, experts, ids, count, top_k, d_weight, scratch, d_logits); })
    if (gate.weights_read_row(top_k))
      return gate.weigh_backward(lanes, x, experts, ids, count, top_k, d_weight, scratch, d_logits);
  Real* const z = scratch;
  Real* const factor = scratch + top_k;
  Real* const value = factor + top_k;
  lanes.each_one(count, [=](Index k) { z[k] = x(Index(ids[k])); });
  gate.weigh_pull(lanes, static_cast<Real const*>(z), count, top_k, d_weight, factor, value);
  lanes.each_one(count, [=](Index k) { d_logits[ids[k]] = math::fma(factor[k], value[k], d_logits[ids[k]]); });
}

} // namespace moebal::gate
