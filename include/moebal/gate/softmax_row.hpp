// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Softmax over a whole row: p_e = e^(z_e - m) / sum_i e^(z_i - m), m the largest logit. Used by the softmax gates and
// by z-loss.

#include "../core/lanes.hpp"
#include "keep.hpp"

namespace moebal::gate {

template <class Real> struct SoftmaxRow {
  Real max;
  Real sum;
  Real inverse_sum;

  template <class V> MOEBAL_FN V operator()(V z) const {
    return share(math::exp_nonpositive(z - math::spread<V>(max)));
  }
  /// p, from e^(z - m).
  template <class V> MOEBAL_FN V share(V exponential) const {
    return math::mul<V>(exponential, math::spread<V>(inverse_sum));
  }
  /// log(sum_e e^z_e), in fp64.
  MOEBAL_FN double log_sum_exp() const {
    if (!math::is_finite(sum) || !(sum >= Real(1))) return double(sum); // a row with NaN or an infinity
    return double(max) + math::log_of_sum(double(sum));
  }
};

/// Two passes over the row. NaN logits do not hide the maximum, but they make the sum, and so every probability, NaN.
/// keep(e, e^(z_e - m)) sees every exponential.
template <class Real, class Lanes, class X, class Keep = KeepNothing>
MOEBAL_FN SoftmaxRow<Real> open_softmax(Lanes lanes, X x, Index n, Keep keep = {}) {
  Real const max = lanes.template max<Real>(n, x, math::splat<Real>(-math::real_of<Real>(__builtin_huge_val())));
  Real const sum = lanes.template sum<Real>(n, [=](auto e) {
    using V = decltype(x(e));
    V const u = math::exp_nonpositive(x(e) - math::spread<V>(number_at(max, e)));
    keep(e, u);
    return u;
  });
  return {max, sum, math::splat<Real>(1) / sum};
}

} // namespace moebal::gate
