// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Windows made by hand, and what every rule is asked.

#include <moebal/balancer.hpp>

#include <cmath>
#include <functional>
#include <sstream>
#include <vector>

namespace windows {

using namespace moebal;

/// A window of one load whose score window is all of it, of `Rule`, in doubles: weight 1 / tokens, share 1.
template <class Rule> struct OneWindow {
  Load<typename Rule::needs> scores;
  Load<typename Rule::pooled> loads;
  Index top_k;
  std::int64_t step = 0;
  std::vector<float> state{};

  OneWindow(Index experts, Index k, Index tokens) : scores(1, experts), loads(1, experts), top_k(k) {
    scores.view().tokens() = loads.view().tokens() = tokens;
    if constexpr (stateful_rule<Rule>) {
      state.resize(std::size_t(Rule::state_size(experts)));
      Rule{}.start(state);
    }
  }
  template <class S> void set(std::vector<std::int64_t> const& values) {
    for (std::size_t i = 0; i < values.size(); ++i) {
      if constexpr (Rule::needs::template has<S>) scores.view().template get<S>()[Index(i)] = values[i];
      if constexpr (Rule::pooled::template has<S>) loads.view().template get<S>()[Index(i)] = values[i];
    }
  }
  void set_scores(std::vector<double> const& sums) {
    std::vector<std::int64_t> fixed;
    for (double const s : sums) fixed.push_back(std::llround(s * stats::score_one<double>));
    set<stats::ScoreSums>(fixed);
  }
  Window<typename Rule::needs, typename Rule::pooled> view() {
    double const tokens = double(loads.tokens());
    Window<typename Rule::needs, typename Rule::pooled> window(
        top_k, scores.view(), loads.view(), tokens == 0 ? 0 : 1 / tokens, 1, 1 / stats::score_one<double>);
    window.at_step(step).with_state(state.data());
    return window;
  }
};

/// The largest difference between slope() and central differences of value() in the score sums, relative to 1 +
/// |slope|.
template <class Rule> double slope_error(Rule const& rule, OneWindow<Rule> window, std::vector<double> const& sums) {
  double const h = 1e-4;
  double worst = 0;
  for (std::size_t e = 0; e < sums.size(); ++e) {
    auto moved = sums;
    moved[e] += h;
    window.set_scores(moved);
    double const up = rule.value(window.view());
    moved[e] -= 2 * h;
    window.set_scores(moved);
    double const down = rule.value(window.view());
    window.set_scores(sums);
    double const slope = rule.slope(window.view(), Index(e));
    worst = std::max(worst, std::abs((up - down) / (2 * h) - slope) / (1 + std::abs(slope)));
  }
  return worst;
}

/// A balancer at global scope on one rank.
template <class Rule> auto balancer_of(Rule rule, Index experts, Index top_k = 1) {
  return Balancer{GlobalBatch<>{}, rule, BalancerShape{.experts = experts, .top_k = top_k}};
}
/// One step whose counts are these.
template <class B> void step(B& balancer, std::vector<std::int64_t> const& counts, float rate_scale = 1) {
  Load<typename B::needs> load(1, Index(counts.size()));
  auto const view = load.view();
  for (std::size_t e = 0; e < counts.size(); ++e) {
    view.template get<stats::Counts>()[Index(e)] = counts[e];
    view.tokens() += counts[e];
  }
  view.tokens() /= balancer.shape().top_k;
  balancer.begin_step(1);
  balancer.observe(0, load);
  balancer.end_step(rate_scale);
}
inline std::vector<float> values(VectorView<float const> bias) { return {bias.begin(), bias.end()}; }

template <class B> std::string saved(B const& balancer) {
  std::ostringstream out;
  balancer.save(out);
  return out.str();
}

} // namespace windows
