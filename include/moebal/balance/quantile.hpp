// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Quantile balancing with all scores of a batch at hand; balance/quantile_histogram.hpp is the form that runs in a
// step.

#include "../core/errors.hpp"
#include "../core/rank.hpp"
#include "../core/views.hpp"

#include <algorithm>
#include <vector>

namespace moebal {

/// What the duals of the assignment problem may be.
enum class Duals {
  Free,       // each token has K experts and each expert its share, exactly (quantile balancing)
  NonNegative // at most: only experts that are used too much are pushed down (BIP, 2502.15451)
};

template <class Real> struct QuantileDuals {
  std::vector<Real> alpha; // [T] price of a token's place
  std::vector<Real> beta;  // [E] price of an expert: its selection bias is -beta
};

namespace detail {
/// The element that `rank` others come before, the largest first and NaN last. Reorders.
template <class Real> Real nth_largest(std::vector<Real>& values, Index rank) {
  auto const nth = values.begin() + std::ptrdiff_t(rank);
  std::nth_element(values.begin(), nth, values.end(), [](Real a, Real b) { return order_key(a) > order_key(b); });
  return *nth;
}
} // namespace detail

/// One step of the dual of "T tokens take K experts each, experts take q = K T / E tokens each, the sum of the scores
/// is the largest": alpha_t = the (K + 1)-th largest of s_t - beta, then beta_e = the (q + 1)-th largest of s_e -
/// alpha. Route by s - beta (bias -beta), from the next batch on: within this one it would look at later tokens. (J.
/// Su, kexue.fm/archives/11619; Megatron-LM's qb_dual_update.) Each step is exact along its coordinate, so there is no
/// rate.
///   scores [T, E], beta [E]: in; 1 <= top_k. Where K T / E is no integer, q is rounded down, the lower of the two
///   places between which any value is optimal. With K >= E or T = 0 beta stays as it is, and alpha is that of the last
///   expert.
/// Serial, O(T E), allocates. Exact: comparisons and one subtraction each; equal values make no difference. A batch
/// that lies on several ranks has to be gathered: average betas of its parts are not the beta of the whole. Gradient:
/// none.
template <class Real>
QuantileDuals<Real> quantile_duals(MatrixView<Real const> scores, VectorView<Real const> beta, Index top_k,
                                   Duals duals = Duals::Free) {
  Index const tokens = scores.rows(), experts = scores.cols();
  require_equal("quantile_duals: beta [E], experts", experts, beta.size());
  require_at_least("quantile_duals: experts", 1, experts);
  require_at_least("quantile_duals: top_k", 1, top_k);
  auto const price = [&](Real value) { return duals == Duals::NonNegative && value < 0 ? Real(0) : value; };
  QuantileDuals<Real> result{std::vector<Real>(std::size_t(tokens)), std::vector<Real>(beta.begin(), beta.end())};
  std::vector<Real> values(static_cast<std::size_t>(experts));
  for (Index t = 0; t < tokens; ++t) {
    for (Index e = 0; e < experts; ++e) values[std::size_t(e)] = scores(t, e) - beta[e];
    result.alpha[std::size_t(t)] = price(detail::nth_largest(values, std::min(top_k, experts - 1)));
  }
  if (tokens == 0 || top_k >= experts) return result;
  values.resize(std::size_t(tokens));
  for (Index e = 0; e < experts; ++e) {
    for (Index t = 0; t < tokens; ++t) values[std::size_t(t)] = scores(t, e) - result.alpha[std::size_t(t)];
    result.beta[std::size_t(e)] = price(detail::nth_largest(values, tokens * top_k / experts));
  }
  return result;
}

} // namespace moebal
