// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// From the K chosen scores of a token to its combine weights, and back. Shared by every gate.

#include "../core/lanes.hpp"
#include "options.hpp"

namespace moebal::gate {

/// The options of a weight, in the arithmetic of the row. A rule is made for the K of the selection; `count` of a row
/// may be less.
template <class Real> struct WeightRule {
  bool normalise; // already resolved for K = 1
  EpsilonRule epsilon_rule;
  Real epsilon;
  Real scale;
};

template <class Real, class Gate> MOEBAL_FN inline WeightRule<Real> weight_rule(Gate const& gate, Index top_k) {
  bool const raw = gate.normalise == Normalise::None || (top_k == 1 && gate.single_choice == SingleChoice::Raw);
  return {!raw, gate.epsilon_rule, math::splat<Real>(gate.epsilon), math::splat<Real>(gate.scale)};
}

template <class Real> MOEBAL_FN inline Real denominator(WeightRule<Real> const& rule, Real sum) {
  if (rule.epsilon_rule == EpsilonRule::Add) return sum + rule.epsilon;
  return math::Ops<Real>::select(sum < rule.epsilon, rule.epsilon, sum);
}

/// weights[k] = scale * score[k] / denominator. A sum of zero gives weights of zero, not NaN.
template <class Real, class Lanes>
MOEBAL_FN void weigh(Lanes lanes, WeightRule<Real> rule, Real const* score, Index count, Real* weights) {
  Real const one = math::splat<Real>(1);
  Real divisor = one;
  if (rule.normalise)
    divisor = denominator(rule, lanes.template sum<Real>(count, [=](auto k) { return load(score, k); }));
  divisor = math::Ops<Real>::select(divisor != math::splat<Real>(0), divisor, one); // every score is zero
  lanes.each(count, [=](auto k) {
    auto const s = load(score, k);
    using V = decltype(load(score, k));
    store(weights, k, math::mul<V>(s / math::spread<V>(divisor), math::spread<V>(rule.scale)));
  });
}

/// d_score[k] = d loss / d score[k], from d_weight.
///   not normalised: scale * v;   normalised: scale / D * (v - sum_i v_i s_i / D), the second term only where D moves
///   with s
template <class Real, class Lanes>
MOEBAL_FN void weigh_backward(Lanes lanes, WeightRule<Real> rule, Real const* score, Index count, Real const* d_weight,
                              Real* d_score) {
  using O = math::Ops<Real>;
  Real const zero = math::splat<Real>(0), one = math::splat<Real>(1);
  Real divisor = one, pulled = zero;
  if (rule.normalise) {
    Real const sum = lanes.template sum<Real>(count, [=](auto k) { return load(score, k); });
    Real const dot = lanes.template dot<Real>(
        count, [=](auto k) { return load(d_weight, k); }, [=](auto k) { return load(score, k); });
    divisor = denominator(rule, sum);
    auto const live = divisor != zero; // every score is zero otherwise
    divisor = O::select(live, divisor, one);
    pulled = O::select(live, dot / divisor, zero);
    if (rule.epsilon_rule == EpsilonRule::AtLeast)
      pulled = O::select(sum < rule.epsilon, zero, pulled); // the divisor stands still
  }
  lanes.each(count, [=](auto k) {
    using V = decltype(load(score, k));
    V const centred = load(d_weight, k) - math::spread<V>(pulled);
    store(d_score, k, math::mul<V>(centred / math::spread<V>(divisor), math::spread<V>(rule.scale)));
  });
}

} // namespace moebal::gate
