// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The steps of select/sinkhorn.hpp's iteration, each a job of a row, of a block of columns, or of one thread.

#include "batch_selection.hpp"

namespace moebal {

/// What Sinkhorn's small number, which keeps empty rows and columns from dividing by zero, is compared with.
enum class SinkhornEpsilon {
  Shifted, // row sums of exp(z - max z): a constant added to a token's logits changes nothing
  Absolute // row sums of exp(z), as Megatron-LM
};

namespace select {

/// State of an iteration on [T, E]; everything that is summed is a double.
struct SinkhornState {
  double* rows;         // [T] d0
  double* columns;      // [E] d1
  double* next_columns; // [E]
  double* row_epsilon;  // [T]
  Index* tokens;        // [1] that are no padding
  Index* done;          // [1]
};

/// exp(z - max z) in place of the logits z; NaN stays, for the order of choices, and counts as 0 in sums.
template <class Real, class Memory> struct SinkhornExp {
  BatchCandidates<Real, Memory> batch;
  SinkhornEpsilon rule;
  double epsilon;
  SinkhornState state;
  MOEBAL_FN void operator()(Index t) const {
    constexpr Real inf = __builtin_huge_val();
    Real* const z = batch.scores.row(t);
    Index const experts = batch.scores.cols();
    Real top = -inf;
    for (Index e = 0; e < experts; ++e) top = z[e] > top ? z[e] : top;
    for (Index e = 0; e < experts; ++e) {
      Real const below = z[e] == top ? Real(0) : z[e] - top;
      z[e] = top == -inf ? math::keep_nan(z[e], Real(0)) : math::keep_nan(z[e], math::exp_nonpositive(below));
    }
    double const height = rule == SinkhornEpsilon::Shifted || !math::is_finite(top) ? 0.0 : double(top);
    double const e_to_height = math::exp_nonpositive(height < 0 ? height : -height); // of -|height|
    state.row_epsilon[t] = height < 0 ? epsilon / e_to_height : epsilon * e_to_height;
  }
};

MOEBAL_FN inline double known(double x) { return math::is_nan(x) ? 0.0 : x; }

template <class Real, class Memory> struct SinkhornRow {
  BatchCandidates<Real, Memory> batch;
  SinkhornState state;
  MOEBAL_FN void operator()(Index t) const {
    if (*state.done != 0) return;
    double sum = 0;
    Real const* const a = batch.scores.row(t);
    for (Index e = 0; e < batch.scores.cols(); ++e) sum = math::fma(state.columns[e], known(double(a[e])), sum);
    state.rows[t] = batch.is_padding(t) ? 0.0 : 1.0 / (double(*state.tokens) * (sum + state.row_epsilon[t]));
  }
};

/// A block of columns, so that a cache line is used whole; rows in order, so that the bits are the same everywhere.
template <class Real, class Memory> struct SinkhornColumns {
  static constexpr Index width = 8;
  BatchCandidates<Real, Memory> batch;
  double epsilon;
  SinkhornState state;
  MOEBAL_FN void operator()(Index block) const {
    if (*state.done != 0) return;
    Index const experts = batch.scores.cols(), first = block * width;
    Index const n = first + width < experts ? width : experts - first;
    double sums[width] = {};
    for (Index t = 0; t < batch.scores.rows(); ++t) {
      Real const* const a = batch.scores.row(t) + first;
      for (Index i = 0; i < n; ++i) sums[i] = math::fma(state.rows[t], known(double(a[i])), sums[i]);
    }
    for (Index i = 0; i < n; ++i) state.next_columns[first + i] = 1.0 / (double(experts) * (sums[i] + epsilon));
  }
};

struct SinkhornCheck {
  Index experts;
  double tolerance;
  SinkhornState state;
  MOEBAL_FN void operator()(Index) const {
    if (*state.done != 0) return;
    double moved = 0;
    for (Index e = 0; e < experts; ++e) {
      moved = moved + math::abs(state.next_columns[e] - state.columns[e]);
      state.columns[e] = state.next_columns[e];
    }
    *state.done = moved / double(experts) > tolerance ? 0 : 1;
  }
};

template <class Real, class Memory> struct SinkhornScale {
  MatrixView<Real, Memory> scores;
  SinkhornState state;
  MOEBAL_FN void operator()(Index t) const {
    for (Index e = 0; e < scores.cols(); ++e) {
      double const scaled = math::mul(math::mul(state.columns[e], double(scores(t, e))), state.rows[t]);
      scores(t, e) = math::keep_nan(scores(t, e), Real(scaled));
    }
  }
};

} // namespace select

} // namespace moebal
