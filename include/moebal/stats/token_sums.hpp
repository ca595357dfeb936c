// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "../core/errors.hpp"
#include "../core/execution.hpp"

namespace moebal {

/// The tokens that each expert got, added up: what a centroid or a prototype follows. A statistic of activations, which
/// no router sees; so it is collected on its own, and ranks and micro-batches add it as they like: an integer sum, the
/// same bits for any cut. Elements are in units of 1 / one and are cut off at +-limit; up to most_tokens choices no sum
/// overflows. NaN counts as 0.
struct TokenSums {
  static constexpr double one = 0x1p24;
  static constexpr double limit = 0x1p15;
  static constexpr Index most_tokens = Index(1) << 24;
};

namespace detail {
/// A block of columns of the sums, so that no two threads write to the same one.
template <class X, class Real, class M> struct TokenSumColumns {
  static constexpr Index width = 16;
  MatrixView<X const, M> x;
  MatrixView<ExpertId const, M> ids;
  MatrixView<Real const, M> weights;
  MatrixView<std::int64_t, M> sums;

  MOEBAL_FN void operator()(Index block) const {
    Index const first = block * width, n = sums.cols(), end = first + width < n ? first + width : n;
    for (Index e = 0; e < sums.rows(); ++e)
      for (Index d = first; d < end; ++d) sums(e, d) = 0;
    for (Index t = 0; t < ids.rows(); ++t)
      for (Index k = 0; k < ids.cols() && ids(t, k) >= 0; ++k) {
        double const w = weights.empty() ? 1.0 : double(weights(t, k));
        std::int64_t* const row = sums.row(ids(t, k));
        for (Index d = first; d < end; ++d) row[d] += fixed(d < x.cols() ? math::mul(w, double(load(x.row(t), d))) : w);
      }
  }
  MOEBAL_FN static std::int64_t fixed(double v) {
    double const low = v > -TokenSums::limit || math::is_nan(v) ? v : -TokenSums::limit;
    return math::to_fixed(low < TokenSums::limit || math::is_nan(low) ? low : TokenSums::limit, TokenSums::one);
  }
};
} // namespace detail

/// sums [E, D + 1] (overwritten): row e the sum of weight * x over the choices of expert e, then the sum of its
/// weights.
///   x [T, D], expert_ids [T, K] as routed (then no_expert), weights [T, K] or empty: 1 each, in
/// One pass over x a block of 16 columns, no allocation. ShapeError before any work.
template <execution Exec, matrix_like X, class M, class Real = float>
void token_sums_into(Exec const& exec, X const& x, MatrixView<ExpertId const, M> expert_ids,
                     MatrixView<Real const, M> weights, MatrixView<std::int64_t, M> sums) {
  auto const view = as_matrix(x);
  using Element = element_of<X const&>;
  MatrixView<Element const, M> const in(view.data(), view.rows(), view.cols(), view.row_stride());
  require_equal("token sums: expert_ids [T, K], rows", in.rows(), expert_ids.rows());
  require_within("token sums: choices T * K", 0, TokenSums::most_tokens, expert_ids.rows() * expert_ids.cols());
  require_equal("token sums: sums [E, D + 1], columns", in.cols() + 1, sums.cols());
  if (weights.cols() > 0) {
    require_equal("token sums: weights [T, K], rows", expert_ids.rows(), weights.rows());
    require_equal("token sums: weights [T, K], columns", expert_ids.cols(), weights.cols());
  }
  using Body = detail::TokenSumColumns<Element, Real, M>;
  exec.for_each((sums.cols() + Body::width - 1) / Body::width, Body{in, expert_ids, weights, sums});
}

} // namespace moebal
