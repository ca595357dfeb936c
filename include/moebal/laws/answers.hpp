// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What loss rules answer for windows, and how answers are compared.

#include "../stats/weight_sums.hpp"
#include "window.hpp"

namespace moebal::laws {
namespace detail {

/// f(type of the sums, each slope [E] by them) for each kind of slope per expert that a rule has.
template <class Rule, class F> void each_kind_of_slope(Rule const& rule, OneWindow<Rule>& window, F const& f) {
  std::vector<double> slopes;
  auto const keep = [&](Index, double slope) { slopes.push_back(slope); };
  if constexpr (score_rule<Rule>) {
    moebal::detail::each_slope(rule, window.view(), keep);
    f(std::type_identity<stats::ScoreSums>{}, std::exchange(slopes, {}));
  }
  if constexpr (weight_rule<Rule>) {
    moebal::detail::each_weight_slope(rule, window.view(), keep);
    f(std::type_identity<stats::WeightSums>{}, slopes);
  }
}
/// What a loss rule answers for a window: its value, then all its slopes.
template <class Rule> std::vector<double> answers(Rule const& rule, OneWindow<Rule>& window) {
  std::vector<double> all{rule.value(window.view())};
  each_kind_of_slope(rule, window, [&](auto, std::vector<double> const& slopes) {
    all.insert(all.end(), slopes.begin(), slopes.end());
  });
  if constexpr (square_rule<Rule>) all.push_back(rule.z_slope(window.view()));
  return all;
}
inline void expect_answers(Findings& findings, std::string_view law, std::string const& input,
                           std::vector<double> const& needed, std::vector<double> const& had, double tolerance) {
  double scale = 0;
  for (double const x : needed) scale = std::max(scale, std::abs(x));
  for (std::size_t i = 0; i < needed.size(); ++i)
    findings.expect(law, std::abs(needed[i] - had[i]) <= tolerance * scale, [&] {
      return words("for ", input, ", ", i == 0 ? "value" : words("slope ", i - 1), ": needed ", needed[i], ", had ",
                   had[i]);
    });
}

/// A rule `factor` times as strong; false where it has no coefficient.
template <class Rule> bool strengthen(Rule& rule, double factor) {
  if constexpr (requires { rule.coefficient *= factor; })
    rule.coefficient *= factor;
  else if constexpr (requires { rule.rule; })
    return strengthen(rule.rule, factor);
  else
    return false;
  return true;
}

/// f(window, input) after two steps of other tokens, and at the first step.
template <class Rule, class F>
void each_window(Findings& findings, Rule const& rule, Shapes const& shapes, F const& f) {
  each_rule_shape(findings, rule, shapes, [&](Index experts, Index top_k) {
    for (int const steps : {0, 2}) {
      OneWindow<Rule> past(rule, load_of<Rule>(skewed(29, experts, 9), top_k), top_k);
      for (int i = 0; i < steps; ++i) past.advance(rule);
      OneWindow<Rule> window(rule, load_of<Rule>(skewed(61, experts), top_k), top_k);
      window.state = past.state;
      window.step = past.step;
      f(window, words("T 61, E ", experts, ", K ", top_k, ", step ", steps));
    }
  });
}

} // namespace detail

} // namespace moebal::laws
