// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "softmax_row.hpp"

namespace moebal::gate {

/// The z-loss of one row is the square of its logsumexp (ST-MoE, arXiv 2202.08906). Adds its derivative,
/// slope * 2 lse p_e, to d_logits [E].
template <class Real, class Lanes, class X>
MOEBAL_FN void z_backward(Lanes lanes, X x, Index experts, Real slope, Real* d_logits) {
  auto const row = open_softmax<Real>(lanes, x, experts);
  Real const factor = slope * Real(2 * row.log_sum_exp());
  lanes.each(experts, [=](auto e) {
    using V = decltype(x(e));
    store(d_logits, e, math::fma<V>(row(x(e)), math::splat<V>(factor), load(static_cast<Real const*>(d_logits), e)));
  });
}

} // namespace moebal::gate
