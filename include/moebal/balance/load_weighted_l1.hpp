// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "linear.hpp"

namespace moebal {

/// ReMoE's regulariser of a router whose experts switch themselves on: lambda * E / (K T^2) * sum_e c_e * sum_t r_te,
/// an L1 norm weighted by load, and after each step lambda *= growth where more than K experts a token were on, lambda
/// /= growth else: it always moves (2412.14711). c_e counts the experts that are on and carries no gradient; r is the
/// gate's balance score, for the paper the ReLU output itself, as the gate RawBalance{ReLU{}} gives it. Its constants:
/// the paper's. The paper shares one lambda among all layers, from the sparsity averaged over them; here each layer has
/// its own. Several layers agree where the caller pools their counts. State: lambda, one fp32, saved. Communicated: the
/// counts, E integers a micro-batch; the sparsity comes from them. Gradient: lambda * E c_e / (K T) per expert's mean
/// score, nothing through lambda. Exact: lambda is moved by a comparison of integers.
struct LoadWeightedL1 {
  using needs = stats::List<stats::Counts, stats::ScoreSums>;
  using pooled = stats::List<stats::Counts>;
  static constexpr char const* name = "load_weighted_l1";
  static constexpr bool linear = true;

  float first = 1e-8f; // lambda of the first step
  float growth = 1.2f; // alpha
  Index active = 0;    // K, the experts a token should use; 0: the router's top_k

  MOEBAL_FN static Index state_size(Index) { return 1; }
  void start(VectorView<float> lambda) const { lambda[0] = first; }
  void advance(Window<needs, pooled> const& window, VectorView<float> lambda) const {
    if (window.load_tokens() == 0) return;
    bool const too_many = window.load_total<stats::Counts>() > wanted(window) * window.load_tokens();
    lambda[0] = too_many ? lambda[0] * growth : lambda[0] / growth;
  }
  MOEBAL_FN double slope(Window<needs, pooled> const& window, Index expert) const {
    if (window.load_tokens() == 0) return 0;
    double const load =
        double(window.experts() * window.load<stats::Counts>(expert)) / double(wanted(window) * window.load_tokens());
    return double(window.state(0)) * load * window.token_weight();
  }
  MOEBAL_FN double value(Window<needs, pooled> const& window) const { return detail::linear_value(*this, window); }

private:
  MOEBAL_FN Index wanted(Window<needs, pooled> const& window) const { return active > 0 ? active : window.top_k(); }
};
static_assert(linear_rule<LoadWeightedL1> && stateful_rule<LoadWeightedL1> && !bias_rule<LoadWeightedL1>);

} // namespace moebal
