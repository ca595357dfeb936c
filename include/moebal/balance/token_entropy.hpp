// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "../core/execution.hpp"
#include "../core/routing.hpp"
#include "../gate/row.hpp"
#include "../gate/softmax_row.hpp"

namespace moebal {
namespace detail {

/// ln p_e of a softmax row; 0 where p_e is 0, so that p_e ln p_e is 0 there.
template <class Real> struct LogShare {
  gate::SoftmaxRow<Real> row;
  Real log_sum;

  template <class V> MOEBAL_FN V operator()(V z, V p) const {
    V const value = (z - math::spread<V>(row.max)) - math::splat<V>(log_sum);
    V const zero = math::splat<V>(0);
    return math::Ops<V>::select(p > zero, value, math::keep_nan(p, zero));
  }
};
template <class Real, class Lanes, class X> MOEBAL_FN LogShare<Real> open_log_share(Lanes lanes, X x, Index experts) {
  auto const row = gate::open_softmax<Real>(lanes, x, experts);
  return {row, row.sum >= Real(1) ? Real(math::log_of_sum(double(row.sum))) : row.sum}; // else NaN
}
template <class Real, class Lanes, class X>
MOEBAL_FN Real entropy_of(Lanes lanes, LogShare<Real> log_share, X x, Index experts) {
  return -lanes.template dot<Real>(
      experts, [=](auto e) { return log_share.row(x(e)); },
      [=](auto e) { return log_share(x(e), log_share.row(x(e))); });
}

template <class Logit, class Memory> struct EntropyRow {
  using real = compute_t<Logit>;
  MatrixView<Logit const, Memory> logits;
  VectorView<std::uint8_t const, Memory> padding;
  VectorView<real, Memory> entropies;

  template <class Lanes> MOEBAL_FN void operator()(Lanes lanes, std::byte*, Index, Index t) const {
    LogitRow<Logit> const x{logits.row(t)};
    real entropy = 0;
    if (padding.empty() || padding[t] == 0)
      entropy = entropy_of(lanes, open_log_share<real>(lanes, x, logits.cols()), x, logits.cols());
    real* const out = entropies.data() + t;
    lanes.once([=] { *out = entropy; });
  }
};

template <class Logit, class Memory> struct EntropyBackwardRow {
  using real = compute_t<Logit>;
  MatrixView<Logit const, Memory> logits;
  VectorView<std::uint8_t const, Memory> padding;
  real slope;
  MatrixView<real, Memory> d_logits;

  template <class Lanes> MOEBAL_FN void operator()(Lanes lanes, std::byte*, Index, Index t) const {
    if (!padding.empty() && padding[t] != 0) return;
    LogitRow<Logit> const x{logits.row(t)};
    auto const log_share = open_log_share<real>(lanes, x, logits.cols());
    real const entropy = entropy_of(lanes, log_share, x, logits.cols());
    real const down = -slope;
    real* const d = d_logits.row(t);
    lanes.each(logits.cols(), [=](auto e) {
      using V = decltype(x(e));
      V const p = log_share.row(x(e));
      V const pull = math::mul<V>(p, log_share(x(e), p) + math::splat<V>(entropy));
      store(d, e, math::fma<V>(math::splat<V>(down), pull, load(static_cast<real const*>(d), e)));
    });
  }
};

template <class X> void check_entropy_rows(X const& x, auto const& padding) {
  require_at_least("token entropy: E, the columns of logits [T, E]", 1, x.cols());
  if (!padding.empty()) require_equal("token entropy: padding [T]", x.rows(), padding.size());
}

} // namespace detail

/// H_t = -sum_e p_te ln p_te of each token's softmax, in nats: low where the router is sure. Top-p routing adds
/// coefficient / T * sum_t H_t to the loss, or p flattens and every token asks for all experts (2403.07652, coefficient
/// 1e-4).
///   logits [T, E] in;  padding [T] in, may be empty: H is 0 there;  entropies [T] out
/// It is a function of single rows, like z-loss, and no rule of a window. Three passes over a row in cache; nothing is
/// communicated but T. Same bits on every execution. NaN logits give NaN. ShapeError before any work.
template <execution Exec, matrix_like Logits, class Real, class Memory = typename Exec::memory>
void token_entropies_into(Exec const& exec, Logits const& logits, VectorView<std::uint8_t const, Memory> padding,
                          VectorView<Real, Memory> entropies) {
  auto const x = as_matrix(logits);
  using Logit = element_of<Logits const&>;
  static_assert(std::same_as<Real, compute_t<Logit>>,
                "moebal: entropies of double logits are double, entropies of all other logits are float");
  detail::check_entropy_rows(x, padding);
  require_equal("token_entropies_into: entropies [T]", x.rows(), entropies.size());
  exec.for_rows(x.rows(), 0, WorkspaceView<Memory>{}, detail::EntropyRow<Logit, Memory>{x, padding, entropies});
}

/// Adds slope * sum_t dH_t / d logits to d_logits [T, E]: slope = coefficient / T, dH/dz_e = -p_e (ln p_e + H).
/// Exact to rounding; an expert with p = 0 gets nothing. As token_entropies_into else.
template <execution Exec, matrix_like Logits, class Real, class Memory = typename Exec::memory>
void token_entropies_backward_into(Exec const& exec, Logits const& logits,
                                   VectorView<std::uint8_t const, Memory> padding, Real slope,
                                   MatrixView<Real, Memory> d_logits) {
  auto const x = as_matrix(logits);
  using Logit = element_of<Logits const&>;
  static_assert(std::same_as<Real, compute_t<Logit>>,
                "moebal: gradients of double logits are double, gradients of all other logits are float");
  detail::check_entropy_rows(x, padding);
  require_equal("token_entropies_backward_into: d_logits [T, E], rows", x.rows(), d_logits.rows());
  require_equal("token_entropies_backward_into: d_logits [T, E], columns", x.cols(), d_logits.cols());
  exec.for_rows(x.rows(), 0, WorkspaceView<Memory>{},
                detail::EntropyBackwardRow<Logit, Memory>{x, padding, slope, d_logits});
}

} // namespace moebal
