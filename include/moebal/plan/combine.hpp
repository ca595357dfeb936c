// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The experts' answers back to tokens, weighted, and the gradient of that. A token's K terms are added in the order of
// k, each product fused into its add, so the bits do not depend on the machine or on threads.

#include "../core/lanes.hpp"
#include "gather.hpp"

namespace moebal {

namespace detail {

template <class Y, class Real, class Memory> struct CombineRow {
  PlanView<Memory> plan;
  RowTiles tiles;
  MatrixView<Y const, Memory> y;
  MatrixView<Real const, Memory> weights;
  MatrixView<Real, Memory> out;
  MOEBAL_FN void operator()(Index job) const {
    Index const t = tiles.row(job), column = tiles.column(job);
    Real* const to = out.row(t) + column;
    for (Index c = 0; c < tiles.width; ++c) to[c] = 0;
    for (Index k = 0; k < plan.top_k(); ++k) {
      Index const slot = plan.slot_of(t, k);
      if (slot == no_slot) continue;
      Real const w = weights(t, k);
      Y const* const from = y.row(slot) + column;
      for (Index c = 0; c < tiles.width; ++c) to[c] = math::fma(w, Real(widen(from[c])), to[c]);
    }
  }
};

template <class Real, class Memory> struct SpreadRow {
  PlanView<Memory> plan;
  RowTiles tiles;
  MatrixView<Real const, Memory> weights;
  MatrixView<Real const, Memory> d_out;
  MatrixView<Real, Memory> d_y;
  MOEBAL_FN void operator()(Index job) const {
    Index const slot = tiles.row(job), column = tiles.column(job);
    Real* const to = d_y.row(slot) + column;
    Index const pair = plan.order[slot];
    if (pair == no_slot) {
      for (Index c = 0; c < tiles.width; ++c) to[c] = 0;
      return;
    }
    Index const t = pair / plan.top_k();
    Real const w = weights(t, pair - t * plan.top_k());
    Real const* const from = d_out.row(t) + column;
    for (Index c = 0; c < tiles.width; ++c) to[c] = math::mul(w, from[c]);
  }
};

/// A row's product in the canonical order of core/lanes.hpp, with the partial sums side by side for SIMD.
template <class Y, class Real> MOEBAL_FN inline Real row_dot(Y const* y, Real const* d, Index n) {
  Real partial[partial_sums] = {};
  Index c = 0;
  for (; c + partial_sums <= n; c += partial_sums)
    for (int j = 0; j < partial_sums; ++j) partial[j] = math::fma(Real(widen(y[c + j])), d[c + j], partial[j]);
  for (int j = 0; c + j < n; ++j) partial[j] = math::fma(Real(widen(y[c + j])), d[c + j], partial[j]);
  return fold_partials(partial);
}

template <class Y, class Real, class Memory> struct WeightGradient {
  PlanView<Memory> plan;
  MatrixView<Y const, Memory> y;
  MatrixView<Real const, Memory> d_out;
  MatrixView<Real, Memory> d_weights;
  MOEBAL_FN void operator()(Index pair) const {
    Index const t = pair / plan.top_k(), k = pair - t * plan.top_k();
    Index const slot = plan.slot_of(t, k);
    d_weights(t, k) = slot == no_slot ? Real(0) : row_dot(y.row(slot), d_out.row(t), y.cols());
  }
};

} // namespace detail

/// out[t] = the sum over the kept k of weights[t, k] * y[slot of (t, k)]; zero for a token that kept nothing.
/// @param y        [slots, D] fp32, fp64, bf16 or fp16
/// @param weights  [T, K] fp64 for fp64, else fp32; those of dropped pairs are not read
/// @param out      [T, D] of the weights' type
/// Cost: one pass over y, K passes over a row of out in cache; one launch. @throws ShapeError
template <execution Exec, matrix_like Y, matrix_like Weights, matrix_like Out>
void combine_into(Exec const& exec, PlanView<typename Exec::memory> plan, Y&& y, Weights&& weights, Out&& out) {
  detail::check_matrices<Exec, Y, Weights, Out>();
  using Real = compute_t<element_of<Y>>;
  MatrixView<element_of<Y> const, typename Exec::memory> const from = as_matrix(y);
  MatrixView<Real const, typename Exec::memory> const w = as_matrix(weights);
  MatrixView<Real, typename Exec::memory> const to = as_matrix(out);
  detail::require_weights(plan, w);
  require_equal("rows of out [T, D]", plan.tokens(), to.rows());
  require_equal("columns of y [slots, D]", to.cols(), from.cols());
  detail::require_slots("rows of y [slots, D]", plan, from.rows());
  auto const tiles = detail::RowTiles::of(exec, to.cols());
  if (to.cols() > 0)
    exec.for_each(to.rows() * tiles.tiles(),
                  detail::CombineRow<element_of<Y>, Real, typename Exec::memory>{plan, tiles, from, w, to});
}

/// Gradient of combine_into: d_y[s] = weights[pair of s] * d_out[token of s], zero for fillers, and
/// d_weights[t, k] = y[slot of (t, k)] . d_out[t], zero for pairs without a slot.
/// @param y          [slots, D] as in the forward; may be empty if d_weights is
/// @param weights    [T, K] as in the forward; may be empty if d_y is
/// @param d_out      [T, D]
/// @param d_y        out, [slots, D], or empty: not wanted
/// @param d_weights  out, [T, K], or empty: not wanted
/// Cost: a launch for each gradient wanted. @throws ShapeError
template <execution Exec, matrix_like Y, matrix_like Weights, matrix_like D, matrix_like DY, matrix_like DWeights>
void combine_backward_into(Exec const& exec, PlanView<typename Exec::memory> plan, Y&& y, Weights&& weights, D&& d_out,
                           DY&& d_y, DWeights&& d_weights) {
  detail::check_matrices<Exec, Y, Weights, D, DY, DWeights>();
  using Memory = typename Exec::memory;
  using Element = element_of<Y>;
  using Real = compute_t<Element>;
  MatrixView<Element const, Memory> const from = as_matrix(y);
  MatrixView<Real const, Memory> const w = as_matrix(weights), d = as_matrix(d_out);
  MatrixView<Real, Memory> const to_y = as_matrix(d_y), to_weights = as_matrix(d_weights);
  bool const want_y = !to_y.empty(), want_weights = !to_weights.empty();
  require_equal("rows of d_out [T, D]", plan.tokens(), d.rows());
  if (want_y) {
    detail::require_weights(plan, w);
    require_equal("columns of d_y [slots, D]", d.cols(), to_y.cols());
    detail::require_slots("rows of d_y [slots, D]", plan, to_y.rows());
  }
  if (want_weights) {
    detail::require_weights(plan, to_weights);
    require_equal("columns of y [slots, D]", d.cols(), from.cols());
    detail::require_slots("rows of y [slots, D]", plan, from.rows());
  }
  auto const tiles = detail::RowTiles::of(exec, d.cols());
  if (want_y) exec.for_each(to_y.rows() * tiles.tiles(), detail::SpreadRow<Real, Memory>{plan, tiles, w, d, to_y});
  if (want_weights)
    exec.for_each(plan.tokens() * plan.top_k(),
                  detail::WeightGradient<Element, Real, Memory>{plan, from, d, to_weights});
}

} // namespace moebal
