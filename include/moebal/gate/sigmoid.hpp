// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "row.hpp"

namespace moebal {

/// Each expert scored on its own: s = 1 / (1 + e^-z); weight = scale * s / (sum of the chosen s + epsilon).
/// DeepSeek-V3 (arXiv 2412.19437, eq. 12-16), Loss-Free Balancing (2408.15664). Cost: K scores a token; E of them when a bias,
/// group scores or ScoreSums ask for them. Below a logit of -86 the fp32 score stays at 4.5e-38. See examples/quick_start.cpp.
struct Sigmoid {
  Normalise normalise = Normalise::OverChosen;
  SingleChoice single_choice = SingleChoice::Raw;
  float scale = 1;
  float epsilon = 1e-20f;
  EpsilonRule epsilon_rule = EpsilonRule::Add;

  template <class V> MOEBAL_FN V score(V z) const { return math::sigmoid(z); }
  /// The score to within rough_error, for bounds.
  template <class V> MOEBAL_FN V rough_score(V z) const { return math::rough_sigmoid(z); }
  static constexpr float rough_error = math::rough_sigmoid_error;
  /// ds/dz = s (1 - s).
  template <class V> MOEBAL_FN V slope(V, V s) const { return math::mul<V>(s, math::splat<V>(1) - s); }
};
static_assert(elementwise_gate<Sigmoid>);

} // namespace moebal
