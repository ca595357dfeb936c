// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "rule.hpp"

#include <cmath>

namespace moebal::detail {

/// moved [E] becomes the bias [E] after `scale` times the way that the rule wants it to go, with the rule's centring.
template <bias_rule R>
void move_bias(R const& rule, window_of<R> const& window, float scale, VectorView<float const> bias,
               VectorView<float> moved) {
  if constexpr (move_rule<R>) {
    rule.move(window, bias, moved);
    if (scale == 1) return;
    for (Index e = 0; e < bias.size(); ++e) moved[e] = std::fma(scale, moved[e] - bias[e], bias[e]);
  } else {
    double sum = 0;
    for (Index e = 0; e < bias.size(); ++e) sum += moved[e] = rule.step(window, e);
    float const mean = centring_of(rule) == Centring::Mean ? float(sum / double(bias.size())) : 0;
    for (Index e = 0; e < bias.size(); ++e) moved[e] = std::fma(scale, moved[e] - mean, bias[e]);
  }
}

} // namespace moebal::detail
