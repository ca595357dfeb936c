// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "linear.hpp"

namespace moebal {

/// ReMoE's regulariser of a router whose experts switch themselves on: lambda * E / (K T^2) * sum_e c_e * sum_t r_te,
/// an L1 norm weighted by load, and after each step lambda *= growth where more than K experts a token were on, lambda
/// /= growth else: it always moves (2412.14711). c_e counts the experts that are on and carries no gradient; r is the
/// gate's balance score, for the paper the ReLU output itself, as the gate RawBalance{ReLU{}} gives it. Its constants:
/// the paper's. Each layer has a lambda of its own, unless `shared` points to one for all layers, as in the paper: see
/// SharedSparsity. State: lambda, one fp32, saved (a shared one is its owner's to save). Communicated: the counts, E
/// integers a micro-batch; the sparsity comes from them. Gradient: lambda * E c_e / (K T) per expert's mean score,
/// nothing through lambda. Exact: lambda is moved by a comparison of integers.
struct LoadWeightedL1 {
  using needs = stats::List<stats::Counts, stats::ScoreSums>;
  using pooled = stats::List<stats::Counts>;
  static constexpr char const* name = "load_weighted_l1";
  static constexpr bool linear = true;

  float first = 1e-8f; // lambda of the first step
  float growth = 1.2f; // alpha
  Index active = 0;    // K, the experts a token should use; 0: the router's top_k
  float const* shared = nullptr; // lambda of all layers; null: this layer's own

  MOEBAL_FN static Index state_size(Index) { return 1; }
  void start(VectorView<float> lambda) const { lambda[0] = first; }
  void advance(Window<needs, pooled> const& window, VectorView<float> lambda) const {
    lambda[0] = moved(lambda[0], window.load_total<stats::Counts>(), wanted(window) * window.load_tokens());
  }
  /// lambda after a step in which `on` experts were on where `wanted` should have been; nothing wanted, nothing seen.
  float moved(float lambda, std::int64_t on, std::int64_t wanted) const {
    return wanted == 0 ? lambda : on > wanted ? lambda * growth : lambda / growth;
  }
  MOEBAL_FN double slope(Window<needs, pooled> const& window, Index expert) const {
    if (window.load_tokens() == 0) return 0;
    double const load =
        double(window.experts() * window.load<stats::Counts>(expert)) / double(wanted(window) * window.load_tokens());
    return double(shared != nullptr ? *shared : window.state(0)) * load * window.token_weight();
  }
  MOEBAL_FN double value(Window<needs, pooled> const& window) const { return detail::linear_value(*this, window); }

private:
  MOEBAL_FN Index wanted(Window<needs, pooled> const& window) const { return active > 0 ? active : window.top_k(); }
};
static_assert(linear_rule<LoadWeightedL1> && stateful_rule<LoadWeightedL1> && !bias_rule<LoadWeightedL1>);

} // namespace moebal
