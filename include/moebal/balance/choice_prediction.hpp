// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "../core/execution.hpp"
#include "../core/routing.hpp"
#include "../gate/row.hpp"

namespace moebal {
namespace detail {

/// One token: its loss, or (d_predictions not empty) its gradient.
template <class Logit, class Memory> struct ChoicePredictionRow {
  using real = compute_t<Logit>;
  MatrixView<Logit const, Memory> predictions;
  MatrixView<ExpertId const, Memory> expert_ids;
  VectorView<std::uint8_t const, Memory> padding;
  VectorView<real, Memory> losses;
  real slope;
  MatrixView<real, Memory> d_predictions;

  template <class Lanes> MOEBAL_FN void operator()(Lanes lanes, std::byte*, Index, Index t) const {
    LogitRow<Logit> const p{predictions.row(t)};
    ExpertId const* const ids = expert_ids.row(t);
    bool const counts = padding.empty() || padding[t] == 0;
    Index const experts = predictions.cols();
    Index count = counts ? expert_ids.cols() : 0;
    while (count > 0 && ids[count - 1] < 0) --count;
    if (d_predictions.empty()) {
      real loss = 0;
      if (counts) loss = lanes.template sum<real>(experts, [=](auto e) { return math::softplus(p(e)); });
      for (Index k = 0; k < count; ++k) loss = loss - real(p(Index(ids[k])));
      lanes.once([=, out = losses.data() + t] { *out = loss; });
      return;
    }
    if (!counts) return;
    real const by = slope;
    real* const d = d_predictions.row(t);
    lanes.each(experts, [=](auto e) {
      using V = decltype(p(e));
      store(d, e, math::fma<V>(math::splat<V>(by), math::sigmoid(p(e)), load(static_cast<real const*>(d), e)));
    });
    lanes.each_one(count, [=](Index k) { d[ids[k]] = d[ids[k]] - by; });
  }
};

template <class P, class M>
void check_choice_prediction(P const& p, MatrixView<ExpertId const, M> const& ids, auto const& padding) {
  require_equal("choice prediction: expert_ids [T, K], rows", p.rows(), ids.rows());
  if (!padding.empty()) require_equal("choice prediction: padding [T]", p.rows(), padding.size());
}

} // namespace detail

/// How badly predictions foretell the choices: the binary cross entropy of sigmoid(p_te) and whether expert e has token
/// t,
///   l_t = sum_e [softplus(p_te) - y_te p_te],   loss = coefficient / (T E) * sum_t l_t
/// (DiffMoE 2503.14487, coefficient 1e-2: it trains its Predictor on the choices of BatchPool). The choices carry no
/// gradient, and the predictor sends none to its input.
///   predictions [T, E] in;  expert_ids [T, K] in, then no_expert;  padding [T] in, may be empty: l is 0 there;  losses
///   [T] out
/// A function of single rows, like token entropies. One pass; nothing is communicated but T. Same bits on every
/// execution. NaN gives NaN. ShapeError before any work.
template <execution Exec, matrix_like P, class Real, class Memory = typename Exec::memory>
void choice_predictions_into(Exec const& exec, P const& predictions,
                             std::type_identity_t<MatrixView<ExpertId const, Memory>> expert_ids,
                             std::type_identity_t<VectorView<std::uint8_t const, Memory>> padding,
                             VectorView<Real, Memory> losses) {
  auto const p = as_matrix(predictions);
  detail::check_choice_prediction(p, expert_ids, padding);
  require_equal("choice prediction: losses [T]", p.rows(), losses.size());
  exec.for_rows(p.rows(), 0, WorkspaceView<Memory>{},
                detail::ChoicePredictionRow<element_of<P const&>, Memory>{p, expert_ids, padding, losses, 0, {}});
}

/// Adds slope * sum_t d l_t / d predictions to d_predictions [T, E]: slope = coefficient / (T E), d l_t / d p_te =
/// sigmoid(p_te) - y_te. As choice_predictions_into else.
template <execution Exec, matrix_like P, class Real, class Memory = typename Exec::memory>
void choice_predictions_backward_into(Exec const& exec, P const& predictions,
                                      std::type_identity_t<MatrixView<ExpertId const, Memory>> expert_ids,
                                      std::type_identity_t<VectorView<std::uint8_t const, Memory>> padding,
                                      std::type_identity_t<Real> slope, MatrixView<Real, Memory> d_predictions) {
  auto const p = as_matrix(predictions);
  detail::check_choice_prediction(p, expert_ids, padding);
  require_equal("choice prediction: d_predictions [T, E], rows", p.rows(), d_predictions.rows());
  require_equal("choice prediction: d_predictions [T, E], columns", p.cols(), d_predictions.cols());
  if (d_predictions.empty()) return;
  exec.for_rows(
      p.rows(), 0, WorkspaceView<Memory>{},
      detail::ChoicePredictionRow<element_of<P const&>, Memory>{p, expert_ids, padding, {}, slope, d_predictions});
}

} // namespace moebal
