// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What rules are tried on: loads that a router has counted.

#include "../gate/sigmoid.hpp"
#include "../select/top_k.hpp"
#include "../select/with_top_k.hpp"
#include "claims.hpp"
#include "one_window.hpp"
#include "routed.hpp"

namespace moebal::laws {

/// What Rule needs of a batch [T, E] that Router{TopK<K>, Sigmoid} routes in double; K = 1 or 3. Where the rule knows
/// classes of tokens and none are given, tokens are of each class in turn.
template <class Rule>
Load<typename Rule::needs> load_of(Matrix<double> const& logits, Index top_k, Extras extras = {}) {
  Index const classes = moebal::detail::token_classes_of<Rule>();
  for (Index t = 0; classes > 1 && Index(extras.classes.size()) < logits.rows; ++t)
    extras.classes.push_back(t % classes);
  return with_top_k<1, 3>(top_k, [&]<int K>(std::integral_constant<int, K>) {
    return Router<TopK<K>, Sigmoid>{}
        .template route_with<typename Rule::needs>(PlainExec{}, logits.view(), extras.view())
        .second;
  });
}

/// Whether a rule serves E experts.
template <class Rule> bool serves_experts(Rule const& rule, Index experts) {
  if constexpr (requires { rule.check(experts); }) {
    try {
      rule.check(experts);
    } catch (ShapeError const&) {
      return false;
    }
  }
  return true;
}
/// f(E, K) for each number of experts that a rule serves, with K = 1 and 3. None at all breaks a law.
template <class Rule, class F>
void each_rule_shape(Findings& findings, Rule const& rule, Shapes const& shapes, F const& f) {
  bool any = false;
  for (Index const experts : shapes.experts)
    for (Index const top_k : {1, 3})
      if (top_k <= experts && serves_experts(rule, experts)) {
        any = true;
        f(experts, top_k);
      }
  findings.expect("one of the shapes is served", any,
                  [&] { return words("needed an E that check() lets pass, had none of ", shapes.experts.size()); });
}

/// Tokens of which some experts get far more than others; all differ from one another.
inline Matrix<double> skewed(Index tokens, Index experts, std::uint64_t seed = 1) {
  auto logits = matrix_of<double>(Numbers::Bell, tokens, experts, seed);
  for (std::size_t i = 0; i < logits.values.size(); ++i)
    logits.values[i] += double(Index(i) % experts) * 2 / double(experts);
  return logits;
}

} // namespace moebal::laws
