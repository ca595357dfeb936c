// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The way back through the normalised scores of a row, for every balance (gate/row.hpp):
//   d/d z_e sum_i g_i q_i = pull(row, z_e, u_e, g_e - sum_i g_i q_i),   u_e what open() keeps,
// and through weights that are such scores themselves: they add to g at the chosen experts alone, so a row needs no
// second pass. The steps are apart, so that several rows can take each of them together (router/backward_tile.hpp).

#include "../core/lanes.hpp"

namespace moebal::gate {

/// sum_i g_i q_i where the balance divides by the sum of the row, else 0. dot: sum_i g_i u_i.
template <class Balance, class Row, class Real> MOEBAL_FN Real centre(Balance const& balance, Row row, Real dot) {
  if constexpr (Balance::normalised)
    return balance.share(row, dot);
  else
    return math::splat<Real>(0);
}

/// d_logits [E], which holds u, becomes the derivative. slopes [E] may be null: all are 0.
template <class Lanes, class Balance, class Row, class X, class Real>
MOEBAL_FN void pull_each(Lanes lanes, Balance const& balance, Row row, X x, Index experts, Real const* slopes,
                         Real centre, Real* d_logits) {
  auto const b = balance;
  lanes.each(experts, [=](auto e) {
    using V = decltype(x(e));
    V const slope = slopes == nullptr ? math::splat<V>(0) : V(load(slopes, e));
    store(d_logits, e, b.pull(row, x(e), load(static_cast<Real const*>(d_logits), e), slope - math::splat<V>(centre)));
  });
}

/// For pull_back: nothing but the slopes.
struct NoShift {
  template <class Row> MOEBAL_FN float operator()(Row) const { return 0; }
};

/// d_logits [E] = d/d logits of sum_e slopes_e q_e, less shift(row) q.
template <class Real, class Lanes, class Balance, class X, class Shift = NoShift>
MOEBAL_FN void pull_back(Lanes lanes, Balance const& balance, X x, Index experts, Real const* slopes, Real* d_logits,
                         Shift shift = {}) {
  auto const row = balance.template open<Real>(lanes, x, experts, [=](auto e, auto u) { store(d_logits, e, u); });
  Real pulled = Real(shift(row));
  if (slopes != nullptr)
    pulled = pulled + centre(balance, row,
                             lanes.template dot<Real>(
                                 experts, [=](auto e) { return load(slopes, e); },
                                 [=](auto e) { return load(static_cast<Real const*>(d_logits), e); }));
  pull_each(lanes, balance, row, x, experts, slopes, pulled, d_logits);
}

/// d_logits [E] = d/d logits of sum_e slopes_e q_e + sum_k d_weight_k weight_k, for one row with `count` <= K choices.
///   slopes [E], d_weight [count]: either may be null;  scratch: [3 K]
template <class Real, class Lanes, class Gate, class X>
MOEBAL_FN void pull_row(Lanes lanes, Gate const& gate, X x, Index experts, Real const* slopes, ExpertId const* ids,
                        Index count, Index top_k, Real const* d_weight, Real* scratch, Real* d_logits) {
  auto const g = gate;
  Real* const z = scratch;
  Real* const factor = z + top_k;
  Real* const value = factor + top_k;
  bool const weights = d_weight != nullptr, reads_row = weights && gate.weights_read_row(top_k);
  if (weights) lanes.each_one(count, [=](Index k) { z[k] = x(Index(ids[k])); });
  if (slopes != nullptr || reads_row) {
    pull_back(lanes, gate.balance(), x, experts, slopes, d_logits, [=](auto row) {
      if constexpr (requires {
                      g.weigh_pull(lanes, row, static_cast<Real const*>(z), count, top_k, d_weight, factor, value);
                    })
        if (reads_row) {
          g.weigh_pull(lanes, row, static_cast<Real const*>(z), count, top_k, d_weight, factor, value);
          return lanes.template dot<Real>(
              count, [=](auto k) { return load(static_cast<Real const*>(factor), k); },
              [=](auto k) { return load(static_cast<Real const*>(value), k); });
        }
      return Real(0);
    });
  } else {
    lanes.each_one(experts, [=](Index e) { d_logits[e] = 0; });
  }
  if (!weights) return;
  if (!reads_row) gate.weigh_pull(lanes, static_cast<Real const*>(z), count, top_k, d_weight, factor, value);
  lanes.each_one(count, [=](Index k) { d_logits[ids[k]] = math::fma(factor[k], value[k], d_logits[ids[k]]); });
}

} // namespace moebal::gate
