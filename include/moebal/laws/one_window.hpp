// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// A window by itself, without a balancer.

#include "../balancer.hpp"
#include "differences.hpp"

namespace moebal::laws {

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

} // namespace moebal::laws
