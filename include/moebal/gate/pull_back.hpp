// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The way back through the normalised scores of a row, for every balance (gate/row.hpp):
//   d/d z_e sum_i g_i q_i = pull(row, z_e, u_e, g_e - sum_i g_i q_i),   u_e what open() keeps,
// and through weights that are such scores themselves: they add to g at the chosen experts alone, so a row needs no
// second pass. The steps are apart, so that several rows can take each of them together (router/backward_tile.hpp).
// d_logits is memory, or whatever else has a load and a store for the lanes: the registers of a warp.

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
template <class Lanes, class Balance, class Row, class X, class Real, class D>
MOEBAL_FN void pull_each(Lanes lanes, Balance const& balance, Row row, X x, Index experts, Real const* slopes,
                         Real centre, D d_logits) {
  auto const b = balance;
  lanes.each(experts, [=](auto e) {
    using V = decltype(x(e));
    V const slope = slopes == nullptr ? math::splat<V>(0) : V(load(slopes, e));
    store(d_logits, e, b.pull(row, x(e), load(d_logits, e), slope - math::splat<V>(centre)));
  });
}

/// For pull_back: nothing but the slopes.
struct NoShift {
  template <class Row> MOEBAL_FN float operator()(Row) const { return 0; }
};

/// d_logits [E] = d/d logits of sum_e slopes_e q_e, less shift(row) q.
template <class Real, class Lanes, class Balance, class X, class D, class Shift = NoShift>
MOEBAL_FN void pull_back(Lanes lanes, Balance const& balance, X x, Index experts, Real const* slopes, D d_logits,
                         Shift shift = {}) {
  auto const row = balance.template open<Real>(lanes, x, experts, [=](auto e, auto u) { store(d_logits, e, u); });
  Real pulled = Real(shift(row));
  if (slopes != nullptr)
    pulled = pulled + centre(balance, row,
                             lanes.template dot<Real>(
                                 experts, [=](auto e) { return load(slopes, e); },
                                 [=](auto e) { return load(d_logits, e); }));
  pull_each(lanes, balance, row, x, experts, slopes, pulled, d_logits);
}

/// What a row's choices pull on, in scratch memory [3 K].
template <class Real> struct Choices {
  ExpertId const* ids;
  Index count, top_k;
  Real const* d_weight; // [count], or null: they pull on nothing
  Real* scratch;
  MOEBAL_FN Real* z() const { return scratch; }
  MOEBAL_FN Real* factor() const { return scratch + top_k; }
  MOEBAL_FN Real* value() const { return scratch + 2 * top_k; }

  template <class Lanes, class X> MOEBAL_FN void read(Lanes lanes, X x) const {
    if (d_weight == nullptr) return;
    auto const own = *this;
    lanes.each_one(count, [=](Index k) { own.z()[k] = x(Index(own.ids[k])); });
  }
  /// d_logits [E] += factor * value, in memory.
  template <class Lanes> MOEBAL_FN void add_to(Lanes lanes, Real* d_logits) const {
    if (d_weight == nullptr) return;
    auto const own = *this;
    lanes.each_one(count, [=](Index k) {
      Real* const d = d_logits + own.ids[k];
      *d = math::fma(own.factor()[k], own.value()[k], *d);
    });
  }
};

/// Everything of pull_row between choices.read and choices.add_to. lanes go over experts, of_choices over choices.
template <class Real, class Lanes, class ChoiceLanes, class Gate, class X, class D>
MOEBAL_FN void pull_experts(Lanes lanes, ChoiceLanes of_choices, Gate const& gate, X x, Index experts,
                            Real const* slopes, Choices<Real> choices, D d_logits) {
  auto const g = gate;
  Index const count = choices.count, top_k = choices.top_k;
  Real const* const z = choices.z();
  Real const* const d_weight = choices.d_weight;
  Real *const factor = choices.factor(), *const value = choices.value();
  bool const weights = d_weight != nullptr, reads_row = weights && gate.weights_read_row(top_k);
  if (slopes != nullptr || reads_row) {
    pull_back(lanes, gate.balance(), x, experts, slopes, d_logits, [=](auto row) {
      if constexpr (requires { g.weigh_pull(of_choices, row, z, count, top_k, d_weight, factor, value); })
        if (reads_row) {
          g.weigh_pull(of_choices, row, z, count, top_k, d_weight, factor, value);
          return of_choices.template dot<Real>(
              count, [=](auto k) { return load(static_cast<Real const*>(factor), k); },
              [=](auto k) { return load(static_cast<Real const*>(value), k); });
        }
      return Real(0);
    });
  } else {
    lanes.each(experts, [=](auto e) { store(d_logits, e, math::splat<decltype(x(e))>(0)); });
  }
  if (weights && !reads_row) gate.weigh_pull(of_choices, z, count, top_k, d_weight, factor, value);
}

/// d_logits [E] = d/d logits of sum_e slopes_e q_e + sum_k d_weight_k weight_k, for one row. slopes [E] may be null.
template <class Real, class Lanes, class Gate, class X>
MOEBAL_FN void pull_row(Lanes lanes, Gate const& gate, X x, Index experts, Real const* slopes, Choices<Real> choices,
                        Real* d_logits) {
  choices.read(lanes, x);
  pull_experts(lanes, lanes, gate, x, experts, slopes, choices, d_logits);
  choices.add_to(lanes, d_logits);
}

} // namespace moebal::gate
