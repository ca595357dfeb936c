// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "row.hpp"

namespace moebal {

/// Each expert scored on its own: s = sqrt(log(1 + e^z)); weight as for Sigmoid. DeepSeek-V4 (arXiv 2606.19348).
/// The fp32 score is at most 2 ulp off; it is 0 below a logit of about -87, where its slope is 0 too (never NaN).
struct SqrtSoftplus {
  Normalise normalise = Normalise::OverChosen;
  SingleChoice single_choice = SingleChoice::Raw;
  float scale = 1;
  float epsilon = 1e-20f;
  EpsilonRule epsilon_rule = EpsilonRule::Add;

  template <class V> MOEBAL_FN V score(V z) const { return math::keep_nan(z, math::Ops<V>::sqrt(math::softplus(z))); }
  /// ds/dz = sigmoid(z) / (2 s).
  template <class V> MOEBAL_FN V slope(V z, V s) const {
    V const zero = math::splat<V>(0);
    return math::Ops<V>::select(s > zero, math::sigmoid(z) / (s + s), zero);
  }
};
static_assert(elementwise_gate<SqrtSoftplus>);

} // namespace moebal
