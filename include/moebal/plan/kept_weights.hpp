// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The combine weights after a drop: those of pairs without a slot become zero, the others stay or are renormalised.

#include "../core/execution.hpp"
#include "../gate/chosen.hpp"
#include "plan.hpp"

namespace moebal {

enum class AfterDrop {
  Keep,        // the weights as they were (Megatron, Tutel, V-MoE)
  Renormalise, // scale * w / (sum over the kept) (DeepSpeed top-2 and top-k); a token that lost everything gets zeros
};

struct KeptWeights {
  AfterDrop after_drop = AfterDrop::Keep;
  double scale = 1;   // what the renormalised weights sum to: the gate's scale
  double epsilon = 0; // a sum of zero gives zeros, not NaN
  EpsilonRule epsilon_rule = EpsilonRule::Add;
};

namespace detail {

template <class Real> gate::WeightRule<Real> weight_rule(KeptWeights rule) {
  return {rule.after_drop == AfterDrop::Renormalise, rule.epsilon_rule, Real(rule.epsilon),
          rule.after_drop == AfterDrop::Renormalise ? Real(rule.scale) : Real(1)};
}

template <class Real, class Memory> struct KeepRow {
  gate::WeightRule<Real> rule;
  MatrixView<Index const, Memory> slot_of;
  MatrixView<Real const, Memory> weights;
  MatrixView<Real, Memory> out;
  MOEBAL_FN void operator()(Index t) const {
    for (Index k = 0; k < slot_of.cols(); ++k) out(t, k) = slot_of(t, k) == no_slot ? Real(0) : weights(t, k);
    if (rule.normalise) gate::weigh(SerialLanes{}, rule, out.row(t), slot_of.cols(), out.row(t));
  }
};

template <class Real, class Memory> struct KeepRowBackward {
  gate::WeightRule<Real> rule;
  MatrixView<Index const, Memory> slot_of;
  MatrixView<Real const, Memory> weights;
  MatrixView<Real const, Memory> d_out;
  MatrixView<Real, Memory> d_weights;
  MOEBAL_FN void operator()(Index t) const {
    Index const top_k = slot_of.cols();
    if (rule.normalise) {
      for (Index k = 0; k < top_k; ++k) d_weights(t, k) = slot_of(t, k) == no_slot ? Real(0) : weights(t, k);
      gate::weigh_backward(SerialLanes{}, rule, d_weights.row(t), top_k, d_out.row(t), d_weights.row(t));
    }
    for (Index k = 0; k < top_k; ++k)
      if (slot_of(t, k) == no_slot)
        d_weights(t, k) = 0;
      else if (!rule.normalise)
        d_weights(t, k) = d_out(t, k);
  }
};

} // namespace detail

/// out[t, k] = 0 for pairs without a slot, else w or scale * w / (sum of the kept w of t (+ or at least) epsilon).
/// @param weights  [T, K] of before the drop
/// @param out      [T, K]; may be `weights` itself
/// Bits are the same on every machine. @throws ShapeError
template <execution Exec, matrix_like Weights, matrix_like Out>
void kept_weights_into(Exec const& exec, KeptWeights rule, PlanView<typename Exec::memory> plan, Weights&& weights,
                       Out&& out) {
  detail::check_matrices<Exec, Weights, Out>();
  using Memory = typename Exec::memory;
  using Real = element_of<Weights>;
  MatrixView<Real const, Memory> const from = as_matrix(weights);
  MatrixView<Real, Memory> const to = as_matrix(out);
  detail::require_weights(plan, from);
  detail::require_weights(plan, to);
  exec.for_each(plan.tokens(), detail::KeepRow<Real, Memory>{detail::weight_rule<Real>(rule), plan.slot_of, from, to});
}

/// d loss / d weights from d loss / d out of kept_weights_into; who is kept has no gradient.
/// @param weights    [T, K] of before the drop
/// @param d_out      [T, K]
/// @param d_weights  [T, K] out; other memory than d_out and weights
template <execution Exec, matrix_like Weights, matrix_like DOut, matrix_like DWeights>
void kept_weights_backward_into(Exec const& exec, KeptWeights rule, PlanView<typename Exec::memory> plan,
                                Weights&& weights, DOut&& d_out, DWeights&& d_weights) {
  detail::check_matrices<Exec, Weights, DOut, DWeights>();
  using Memory = typename Exec::memory;
  using Real = element_of<Weights>;
  MatrixView<Real const, Memory> const w = as_matrix(weights), from = as_matrix(d_out);
  MatrixView<Real, Memory> const to = as_matrix(d_weights);
  for (auto const& m : {w, from, MatrixView<Real const, Memory>(to)}) detail::require_weights(plan, m);
  exec.for_each(plan.tokens(),
                detail::KeepRowBackward<Real, Memory>{detail::weight_rule<Real>(rule), plan.slot_of, w, from, to});
}

} // namespace moebal
