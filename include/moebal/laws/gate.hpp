// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Laws of gates, of either kind of gate/row.hpp.

#include "../select/top_k.hpp"
#include "gate_gradients.hpp"
#include "router.hpp"

namespace moebal::laws {

/// A larger logit never has a smaller score, and that of NaN is NaN, so that scores rank like logits.
template <class Real, class Gate> void scores_rise(Gate const& gate, Shapes const& shapes, Findings& findings) {
  for (Numbers const kind : finite_numbers)
    for (Index const experts : shapes.experts) {
      auto logits = matrix_of<Real>(kind, 1, experts);
      std::sort(logits.values.begin(), logits.values.end());
      detail::GateRow<Gate, Real> const row(gate, logits.values);
      for (Index e = 1; e < experts; ++e) {
        Real const z = logits(0, e), before = logits(0, e - 1);
        findings.expect("a larger logit never has a smaller score", row.score(z) >= row.score(before), [&] {
          return words("for ", describe(kind, 1, experts, 1), ": needed a score of ", z, " of at least ",
                       row.score(before), ", which is that of ", before, ", had ", row.score(z));
        });
      }
      Real const score = row.score(std::numeric_limits<Real>::quiet_NaN());
      findings.expect("the score of NaN is NaN", std::isnan(score), [&] {
        return words("for NaN among ", describe(kind, 1, experts, 1), ": needed NaN, had ", score);
      });
    }
}

/// Finite logits, however large or equal, and rows of which some are masked by -infinity, have finite weights.
template <class Gate> void weights_are_finite(Gate const& gate, Shapes const& shapes, Findings& findings) {
  for (Numbers const kind : finite_numbers)
    for (Index const experts : shapes.experts)
      for (Index const masked : {Index(0), experts / 2})
        for (Index const top_k : {Index(1), std::min<Index>(3, experts - masked), experts - masked}) {
          auto logits = matrix_of<float>(kind, 1, experts);
          for (Index e = 0; e < masked; ++e) logits(0, e) = -std::numeric_limits<float>::infinity();
          detail::GateRow<Gate, float> const row(gate, logits.values);
          for (float const w : row.weights(range(masked, masked + top_k)))
            findings.expect("weights are finite", std::isfinite(w), [&] {
              return words("for ", describe(kind, 1, experts, top_k), ", ", masked,
                           " experts at -infinity: needed a finite weight, had ", w);
            });
        }
}

/// Scores that statistics sum lie in [0, 1024]: sums in fixed point have room for no others.
template <class Gate> void balance_scores_have_room(Gate const& gate, Shapes const& shapes, Findings& findings) {
  for (Numbers const kind : finite_numbers)
    for (Index const experts : shapes.experts) {
      auto const logits = matrix_of<double>(kind, 1, experts);
      for (double const q : detail::GateRow<Gate, double>(gate, logits.values).balance_scores())
        findings.expect("balance scores lie in [0, 1024]", q >= 0 && q <= 1024,
                        [&] { return words("for ", describe(kind, 1, experts, 1), ": needed 0 to 1024, had ", q); });
    }
}

/// Weights are those of the chosen logits: no bias enters, and no row that weights_read_row did not ask to be opened.
template <int K, class Gate> void weights_know_no_bias(Gate const& gate, Shapes const& shapes, Findings& findings) {
  Router<TopK<K>, Gate> const router(TopK<K>{}, gate);
  each_shape(findings, router.selection(), shapes, [&](Index tokens, Index experts) {
    auto const logits = matrix_of<float>(Numbers::Bell, tokens, experts);
    auto const biased = route(PlainExec{}, router, logits, extras_of(tokens, experts, With::Bias));
    auto plain = biased, unopened = biased;
    for (Index t = 0; t < tokens; ++t) {
      detail::GateRow<Gate, float> const row(gate, rows_in_order(logits, {t}).values);
      auto const at = biased.ids.begin() + t * K;
      auto const weights = row.weights({at, at + K}), without = row.weights_without_row({at, at + K});
      std::copy(weights.begin(), weights.end(), plain.weights.begin() + t * K);
      std::copy(without.begin(), without.end(), unopened.weights.begin() + t * K);
    }
    auto const input = describe(Numbers::Bell, tokens, experts, K);
    expect_same(findings, "weights know no bias", input, plain, biased);
    expect_same(findings, "weights_read_row says whether weights need the whole row", input, plain, unopened);
  });
}

/// A constant added to the logits changes no weight and no balance score but by rounding.
template <int K, class Gate> void logits_shifted(Gate const& gate, Shapes const& shapes, Findings& findings) {
  if constexpr (Claims<Gate>::shift_invariant)
    for (Index const experts : shapes.experts)
      for (double const constant : {-8.0, 0.5, 64.0}) {
        if (experts < K) continue;
        auto const logits = matrix_of<double>(Numbers::Bell, 1, experts);
        auto shifted = logits;
        for (double& z : shifted.values) z += constant;
        auto const all = [&](std::vector<double> const& z) {
          detail::GateRow<Gate, double> const row(gate, z);
          auto values = row.weights(range(0, K));
          for (double const q : row.balance_scores()) values.push_back(q);
          return values;
        };
        auto const needed = all(logits.values), had = all(shifted.values);
        for (std::size_t i = 0; i < needed.size(); ++i)
          findings.expect("a constant added to the logits changes nothing", alike(needed[i], had[i], 1e-12), [&] {
            return words("for ", describe(Numbers::Bell, 1, experts, K), " plus ", constant, ", number ", i,
                         ": needed ", needed[i], ", had ", had[i]);
          });
      }
}

/// All laws of a gate, for K = 1 and 3.
template <gate_policy Gate> Violations check_gate(Gate const& gate, Shapes const& shapes = {}) {
  Findings findings;
  scores_rise<float>(gate, shapes, findings);
  scores_rise<double>(gate, shapes, findings);
  weights_are_finite(gate, shapes, findings);
  balance_scores_have_room(gate, shapes, findings);
  auto const with = [&]<int K>(std::integral_constant<int, K>) {
    weights_know_no_bias<K>(gate, shapes, findings);
    logits_shifted<K>(gate, shapes, findings);
    gradient_of_weights<K>(gate, shapes, findings);
    router_laws(Router<TopK<K>, Gate>(TopK<K>{}, gate), shapes, findings);
  };
  with(std::integral_constant<int, 1>{});
  with(std::integral_constant<int, 3>{});
  gradient_of_balance_scores(gate, shapes, findings);
  saturated_gradients_are_finite(gate, shapes, findings);
  return findings.violations();
}

} // namespace moebal::laws
