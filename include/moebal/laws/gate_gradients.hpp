// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// One row through a gate by plain lanes, and the laws of its gradients: central differences in double.

#include "../gate/pull_back.hpp"
#include "../gate/row.hpp"
#include "differences.hpp"

namespace moebal::laws {

namespace detail {

/// A gate on one row of logits [E].
template <class Gate, class Real> class GateRow {
public:
  GateRow(Gate const& gate, std::vector<Real> logits)
      : gate_(gate::rows_of(gate)), logits_(std::move(logits)), row_(open(gate_)) {}

  Real score(Real z) const { return gate_.score(row_, z); }
  /// Weights of these experts, K of them.
  std::vector<Real> weights(std::vector<Index> const& ids) const { return weigh(row_, ids); }
  /// The same where the router may leave the row unopened.
  std::vector<Real> weights_without_row(std::vector<Index> const& ids) const {
    return weigh(gate_.weights_read_row(Index(ids.size())) ? row_ : Row{}, ids);
  }
  std::vector<Real> balance_scores() const {
    auto const balance = gate_.balance();
    auto const row = open(balance);
    std::vector<Real> out;
    for (Real const z : logits_) out.push_back(balance.score(row, z));
    return out;
  }
  /// d sum_k pulls_k weight_k / d logits [E].
  std::vector<Real> weights_gradient(std::vector<Index> const& ids, std::vector<Real> const& pulls) const {
    return gradient(ids, pulls.data(), nullptr);
  }
  /// d sum_e slopes_e q_e / d logits [E].
  std::vector<Real> balance_gradient(std::vector<Real> const& slopes) const {
    return gradient({}, nullptr, slopes.data());
  }

private:
  using Row = decltype(std::declval<gate::rows_of_t<Gate> const&>().template open<Real>(SerialLanes{}, LogitRow<Real>{},
                                                                                        Index{}));

  std::vector<Real> weigh(Row row, std::vector<Index> const& ids) const {
    std::vector<Real> z, out(ids.size());
    for (Index const e : ids) z.push_back(logits_[std::size_t(e)]);
    gate_.weigh(SerialLanes{}, row, static_cast<Real const*>(z.data()), Index(z.size()), Index(z.size()), out.data());
    return out;
  }
  std::vector<Real> gradient(std::vector<Index> const& ids, Real const* pulls, Real const* slopes) const {
    std::vector<ExpertId> const chosen(ids.begin(), ids.end());
    std::vector<Real> scratch(3 * ids.size(), Real(1e30)), d(logits_.size(), Real(1e30));
    Index const top_k = Index(ids.size());
    gate::pull_row(SerialLanes{}, gate_, x(), experts(), slopes,
                   gate::Choices<Real>{chosen.data(), top_k, top_k, pulls, scratch.data()}, d.data());
    return d;
  }
  LogitRow<Real> x() const { return {logits_.data()}; }
  Index experts() const { return Index(logits_.size()); }
  template <class Opens> auto open(Opens const& gate) const {
    return gate.template open<Real>(SerialLanes{}, x(), experts());
  }

  gate::rows_of_t<Gate> gate_;
  std::vector<Real> logits_;
  Row row_;
};

inline std::vector<double> pulls_of(Index n) { return matrix_of<double>(Numbers::Bell, 1, n, 5).values; }

} // namespace detail

/// gate::pull_row gives the derivative of the weights,
template <int K, class Gate> void gradient_of_weights(Gate const& gate, Shapes const& shapes, Findings& findings) {
  for (Index const experts : shapes.experts) {
    if (experts < K) continue;
    auto const z = matrix_of<double>(Numbers::Bell, 1, experts, 4).values;
    auto const pulls = detail::pulls_of(K);
    auto ids = shuffled(experts);
    ids.resize(std::size_t(K));
    expect_gradient(
        findings, "the gradient of the weights is that of central differences", words("E ", experts, ", K ", K),
        [&](auto const& at) { return inner(pulls, detail::GateRow<Gate, double>(gate, at).weights(ids)); }, z,
        detail::GateRow<Gate, double>(gate, z).weights_gradient(ids, pulls));
  }
}

/// and of the scores that statistics sum.
template <class Gate> void gradient_of_balance_scores(Gate const& gate, Shapes const& shapes, Findings& findings) {
  for (Index const experts : shapes.experts) {
    auto const z = matrix_of<double>(Numbers::Bell, 1, experts, 4).values;
    auto const slopes = detail::pulls_of(experts);
    expect_gradient(
        findings, "the gradient of the balance scores is that of central differences", words("E ", experts),
        [&](auto const& at) { return inner(slopes, detail::GateRow<Gate, double>(gate, at).balance_scores()); }, z,
        detail::GateRow<Gate, double>(gate, z).balance_gradient(slopes));
  }
}

/// Rows of saturated scores have no gradient to speak of, and never NaN.
template <class Gate> void saturated_gradients_are_finite(Gate const& gate, Shapes const& shapes, Findings& findings) {
  for (Numbers const kind : {Numbers::Wide, Numbers::Equal, Numbers::Zeros, Numbers::Denormals})
    for (Index const experts : shapes.experts) {
      detail::GateRow<Gate, float> const row(gate, matrix_of<float>(kind, 1, experts).values);
      auto const ones = std::vector<float>(std::size_t(experts), 1.0f);
      for (auto const& gradient : {row.weights_gradient(range(0, experts), ones), row.balance_gradient(ones)})
        for (float const d : gradient)
          findings.expect("gradients are finite", std::isfinite(d), [&] {
            return words("for ", name_of(kind), ", E ", experts, ": needed a finite gradient, had ", d);
          });
    }
}

} // namespace moebal::laws
