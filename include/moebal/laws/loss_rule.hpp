// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Laws of rules that add to the loss, on windows that a router has counted.

#include "answers.hpp"

namespace moebal::laws {

/// Slopes are the derivatives of the value by the sums of scores or weights, and by that of the squares. (Not for one
/// expert, whose share is 1: there is nothing to derive by.)
template <class Rule> void slopes_are_derivatives(Rule const& rule, Shapes const& shapes, Findings& findings) {
  auto const law = "slopes are central differences of the value";
  detail::each_window(findings, rule, shapes, [&](OneWindow<Rule> window, std::string const& input) {
    if (window.scores.experts() == 1) return;
    detail::each_kind_of_slope(rule, window, [&]<class Sums>(std::type_identity<Sums>, std::vector<double> const& had) {
      auto const needed = central_slopes<Sums>(rule, window, window.template score_sums<Sums>());
      double scale = 1e-9, common = 0;
      for (std::size_t e = 0; e < had.size(); ++e) {
        scale = std::max(scale, std::abs(needed[e]));
        if (!Claims<Rule>::exact_slopes) common += (had[e] - needed[e]) / double(had.size());
      }
      for (std::size_t e = 0; e < had.size(); ++e)
        findings.expect(law, std::abs(needed[e] + common - had[e]) <= 1e-5 * scale, [&] {
          return words("for ", input, ", expert ", e, ": needed ", needed[e] + common, ", had ", had[e]);
        });
    });
    if constexpr (square_rule<Rule>) {
      double const value = rule.value(window.view());
      auto const squares = window.scores.template get<stats::LogSumExpSquares>();
      window.template set<stats::LogSumExpSquares>({squares[0] + 1, squares[1]});
      double const needed = rule.value(window.view()) - value, had = rule.z_slope(window.view());
      findings.expect(law, std::abs(needed - had) <= 1e-9 * std::abs(needed),
                      [&] { return words("for ", input, ", by the squares: needed ", needed, ", had ", had); });
    }
  });
}

/// Twice the coefficient, twice the loss; none, none.
template <class Rule> void strength_is_linear(Rule const& rule, Shapes const& shapes, Findings& findings) {
  for (double const factor : {0.0, 2.0}) {
    Rule other = rule;
    if (!detail::strengthen(other, factor)) return;
    detail::each_window(findings, rule, shapes, [&](OneWindow<Rule> window, std::string const& input) {
      auto needed = detail::answers(rule, window);
      for (double& x : needed) x *= factor;
      detail::expect_answers(
          findings, factor == 0 ? "a coefficient of 0 adds nothing" : "the loss goes with its coefficient",
          words(input, ", coefficient times ", factor), needed, detail::answers(other, window), 1e-12);
    });
  }
}

/// Values and slopes are a function of the window: asked again, also after another one, they are the same bits.
template <class Rule> void asking_moves_nothing(Rule const& rule, Shapes const& shapes, Findings& findings) {
  std::vector<double> last;
  detail::each_window(findings, rule, shapes, [&](OneWindow<Rule> window, std::string const& input) {
    auto const first = detail::answers(rule, window);
    OneWindow<Rule> other(rule, load_of<Rule>(skewed(5, window.scores.experts(), 3), window.top_k), window.top_k);
    (void)detail::answers(rule, other);
    detail::expect_answers(findings, "asking moves nothing", input, first, detail::answers(rule, window), 0);
  });
}

/// No tokens: no loss and no slope.
template <class Rule> void nothing_costs_nothing(Rule const& rule, Shapes const& shapes, Findings& findings) {
  each_rule_shape(findings, rule, shapes, [&](Index experts, Index top_k) {
    OneWindow<Rule> window(experts, top_k, 0, rule);
    for (double const x : detail::answers(rule, window))
      findings.expect("no tokens, no loss", x == 0,
                      [&] { return words("for T 0, E ", experts, ", K ", top_k, ": needed 0, had ", x); });
  });
}

/// Renaming the experts renames the slopes.
template <class Rule> void slopes_renamed(Rule const& rule, Shapes const& shapes, Findings& findings) {
  if constexpr (Claims<Rule>::experts_alike)
    each_rule_shape(findings, rule, shapes, [&](Index experts, Index top_k) {
      auto const order = shuffled(experts);
      auto const answers = [&](bool renamed) {
        auto const load = [&](Index tokens, std::uint64_t seed) {
          auto const logits = skewed(tokens, experts, seed);
          return load_of<Rule>(renamed ? columns_in_order(logits, order) : logits, top_k);
        };
        OneWindow<Rule> past(rule, load(29, 9), top_k);
        past.advance(rule);
        OneWindow<Rule> window(rule, load(61, 1), top_k);
        window.state = past.state;
        window.step = past.step;
        return detail::answers(rule, window);
      };
      auto needed = answers(false);
      auto const plain = needed;
      for (Index first = 1; first + experts <= Index(plain.size()); first += experts) // each kind of slope
        for (Index e = 0; e < experts; ++e)
          needed[std::size_t(first + e)] = plain[std::size_t(first + order[std::size_t(e)])];
      detail::expect_answers(findings, "experts renamed, the same slopes renamed",
                             words("T 61, E ", experts, ", K ", top_k), needed, answers(true), 1e-5);
    });
}

/// Laws of a rule that adds to the loss.
template <loss_rule Rule> void loss_rule_laws(Rule const& rule, Shapes const& shapes, Findings& findings) {
  slopes_are_derivatives(rule, shapes, findings);
  strength_is_linear(rule, shapes, findings);
  asking_moves_nothing(rule, shapes, findings);
  nothing_costs_nothing(rule, shapes, findings);
  slopes_renamed(rule, shapes, findings);
}

} // namespace moebal::laws
