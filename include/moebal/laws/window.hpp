// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Windows for rules: made by hand, or from a batch that a router has counted.

#include "../balancer.hpp"
#include "../gate/sigmoid.hpp"
#include "../select/top_k.hpp"
#include "../select/with_top_k.hpp"
#include "claims.hpp"
#include "differences.hpp"
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

/// A window of one load that is its score window too, as one rank makes it of one micro-batch: weight 1 / tokens,
/// share 1, in double, with the rule's state as it starts.
template <class Rule> struct OneWindow {
  Load<typename Rule::needs> scores;
  Load<typename Rule::pooled> loads;
  Index top_k;
  std::int64_t step = 0;
  std::vector<float> state{};

  OneWindow(Index experts, Index k, Index tokens, Rule const& rule = {})
      : scores(1, experts), loads(1, experts), top_k(k) {
    set_tokens(tokens);
    if constexpr (stateful_rule<Rule>) {
      state.resize(std::size_t(Rule::state_size(experts)));
      rule.start(state);
    }
  }
  OneWindow(Rule const& rule, Load<typename Rule::needs> const& load, Index k)
      : OneWindow(load.experts(), k, load.tokens(), rule) {
    moebal::detail::copy_row<typename Rule::needs>(load, 0, scores.view().data(), load.experts());
    moebal::detail::copy_row<typename Rule::pooled>(load, 0, loads.view().data(), load.experts());
  }

  void set_tokens(Index tokens) { scores.view().tokens() = loads.view().tokens() = tokens; }
  template <class S> void set(std::vector<std::int64_t> const& values) {
    for (std::size_t i = 0; i < values.size(); ++i) {
      if constexpr (Rule::needs::template has<S>) scores.view().template get<S>()[Index(i)] = values[i];
      if constexpr (Rule::pooled::template has<S>) loads.view().template get<S>()[Index(i)] = values[i];
    }
  }
  /// Sums of scores or of weights [E], in tokens.
  template <class Sums = stats::ScoreSums> void set_scores(std::vector<double> const& sums) {
    std::vector<std::int64_t> fixed;
    for (double const s : sums) fixed.push_back(std::llround(s * stats::score_one<double>));
    set<Sums>(fixed);
  }
  template <class Sums = stats::ScoreSums> std::vector<double> score_sums() const {
    std::vector<double> sums;
    for (std::int64_t const s : scores.template get<Sums>()) sums.push_back(double(s) / stats::score_one<double>);
    return sums;
  }
  /// Moves the state as the end of a step would.
  void advance(Rule const& rule) {
    if constexpr (stateful_rule<Rule>) rule.advance(view(), state);
    ++step;
  }
  Window<typename Rule::needs, typename Rule::pooled> view() {
    double const tokens = double(loads.tokens());
    Window<typename Rule::needs, typename Rule::pooled> window(
        top_k, scores.view(), loads.view(), tokens == 0 ? 0 : 1 / tokens, 1, 1 / stats::score_one<double>);
    window.at_step(step).with_state(state.data());
    return window;
  }
};

/// Central differences of value() in the sums of scores or of weights.
template <class Sums = stats::ScoreSums, class Rule>
std::vector<double> central_slopes(Rule const& rule, OneWindow<Rule> window, std::vector<double> const& sums) {
  auto const value = [&](std::vector<double> const& at) {
    window.template set_scores<Sums>(at);
    return rule.value(window.view());
  };
  return central_differences(value, sums, 1e-4);
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
