// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Windows made by hand, and what every rule is asked.

#include <moebal/laws/one_window.hpp>

#include <sstream>

namespace windows {

using namespace moebal;

using laws::OneWindow;

/// The largest difference between slope() and central differences of value() in the score sums, relative to 1 +
/// |slope|.
template <class Rule> double slope_error(Rule const& rule, OneWindow<Rule> window, std::vector<double> const& sums) {
  auto const needed = laws::central_slopes(rule, window, sums);
  window.set_scores(sums);
  double worst = 0;
  for (std::size_t e = 0; e < sums.size(); ++e) {
    double const slope = rule.slope(window.view(), Index(e));
    worst = std::max(worst, std::abs(needed[e] - slope) / (1 + std::abs(slope)));
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
