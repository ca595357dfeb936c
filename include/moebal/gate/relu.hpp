// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "row.hpp"

namespace moebal {

/// Each expert scored on its own: s = max(z, 0); weight = scale * s, differentiable everywhere but at 0. ReMoE (arXiv
/// 2412.14711), with the selection Threshold<K>: an expert works where its score is above 0, so the number of experts
/// varies from token to token and K is only a cap. Without a normalising sum by default, as published. Gradient: d s
/// / d z = 1 where z > 0, else 0. Cost: one comparison a score; nothing is communicated. With TopK<K> instead,
/// experts rank by logit.
struct ReLU {
  Normalise normalise = Normalise::None;
  SingleChoice single_choice = SingleChoice::Raw;
  float scale = 1;
  float epsilon = 1e-20f;
  EpsilonRule epsilon_rule = EpsilonRule::Add;

  template <class V> MOEBAL_FN V score(V z) const {
    V const zero = math::splat<V>(0);
    return math::keep_nan(z, math::Ops<V>::select(z > zero, z, zero));
  }
  template <class V> MOEBAL_FN V slope(V z, V) const {
    V const zero = math::splat<V>(0);
    return math::Ops<V>::select(z > zero, math::splat<V>(1), zero);
  }
};
static_assert(elementwise_gate<ReLU>);

} // namespace moebal
