// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "targets.hpp"

namespace moebal {

/// SMEBU, a bias step that is bounded, smooth near balance and carried on: v_e = (cbar - c_e) / cbar,
/// d_e = rate * tanh(sharpness * v_e), less the mean of d; m = momentum * m + (1 - momentum) * d; b += m
/// (Arcee Trinity, 2602.17004). Its constants are those of the 400B model; it was not ablated there by itself.
/// State: m [E], fp32, 0 at first. Communicated: the counts, E integers a step. Gradient: none. Exact: counts are
/// integers, and tanh(x) = 2 / (1 + e^-2x) - 1 is a fixed sequence of correctly rounded operations in double.
struct MomentumTanhBias {
  using needs = stats::List<stats::Counts>;
  using pooled = stats::List<stats::Counts>;
  static constexpr char const* name = "momentum_tanh_bias";

  float rate = 5e-4f;
  float sharpness = 2;
  float momentum = 0.5f;
  TargetShares targets{};

  void check(Index experts) const { detail::check_targets(targets, experts); }
  MOEBAL_FN static Index state_size(Index experts) { return experts; }
  void start(VectorView<float> momenta) const {
    for (float& m : momenta) m = 0;
  }
  void advance(Window<needs, pooled> const& window, VectorView<float> momenta) const {
    double sum = 0;
    for (Index e = 0; e < momenta.size(); ++e) sum += push(window, e);
    double const mean = sum / double(momenta.size());
    for (Index e = 0; e < momenta.size(); ++e) {
      float const step = float(push(window, e) - mean);
      momenta[e] = __builtin_fmaf(momentum, momenta[e], math::mul(1 - momentum, step));
    }
  }
  MOEBAL_FN float step(Window<needs, pooled> const& window, Index expert) const { return window.state(expert); }

private:
  MOEBAL_FN double push(Window<needs, pooled> const& window, Index expert) const {
    double const error = double(window.experts()) * detail::missing_share(window, targets, expert);
    return math::mul(double(rate), __builtin_fma(2.0, math::sigmoid(2 * double(sharpness) * error), -1.0));
  }
};
static_assert(step_rule<MomentumTanhBias> && stateful_rule<MomentumTanhBias> && !loss_rule<MomentumTanhBias>);

} // namespace moebal
