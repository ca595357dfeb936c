// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A balancing rule of your own: what it reads, its loss and slopes, a step with it, and the laws that it has to keep.

// [your own rule]
#include <moebal/laws.hpp>
#include <moebal/moebal.hpp>

#include <iostream>

/// Only experts with more than their share cost something: coefficient * sum_e max(0, E f_e - 1) P_e, f_e the share of
/// the choices and P_e the mean normalised score. The Switch loss, silent once nobody is crowded.
struct CrowdedOnly {
  using needs = moebal::stats::List<moebal::stats::Counts, moebal::stats::ScoreSums>; // the router collects these
  using pooled = moebal::stats::List<moebal::stats::Counts>;                          // and the scope sums these
  static constexpr char const* name = "crowded_only";
  double coefficient = 1e-2;

  /// d value / d score sum of an expert. token_weight is 1 / tokens, and knows ranks and micro-batches.
  double slope(moebal::Window<needs, pooled> const& window, moebal::Index expert) const {
    auto const choices = window.load_total<moebal::stats::Counts>();
    if (choices == 0) return 0;
    double const load = double(window.experts() * window.load<moebal::stats::Counts>(expert)) / double(choices);
    return load > 1 ? coefficient * (load - 1) * window.token_weight() : 0;
  }
  double value(moebal::Window<needs, pooled> const& window) const {
    double sum = 0;
    for (moebal::Index e = 0; e < window.experts(); ++e) sum += slope(window, e) * window.score_sum(e);
    return sum;
  }
};
static_assert(moebal::loss_rule<CrowdedOnly>);

/// The same, made a mean by its own count of tokens: right on one rank with one micro-batch.
struct Careless : CrowdedOnly {
  double slope(moebal::Window<needs, pooled> const& window, moebal::Index expert) const {
    double const mine = double(window.score_tokens()), weight = window.token_weight();
    return weight == 0 ? 0 : CrowdedOnly::slope(window, expert) / weight / mine;
  }
};

int main() {
  Eigen::Matrix<float, 3, 4, Eigen::RowMajor> const logits{
      {2, 1, 0, -1}, {3, 0, 1, -2}, {1, 2, -1, 0}}; // [tokens, experts]
  moebal::Router router{moebal::TopK<2>{}, moebal::Sigmoid{}};
  moebal::Balancer balancer{moebal::GlobalBatch<>{}, CrowdedOnly{}, moebal::BalancerShape{4, 2}};
  auto const load = router.route_with<CrowdedOnly::needs>(moebal::EigenExec{}, logits).second;
  balancer.begin_step(1);
  balancer.observe(0, load);
  auto const terms = balancer.terms(0);
  std::cout << "loss " << terms.loss << ", slopes";
  for (auto e : {0, 1, 2, 3}) std::cout << ' ' << terms.slopes(0, e);
  balancer.end_step();
  std::cout << "\nCrowdedOnly breaks " << moebal::laws::check_rule(CrowdedOnly{}).size() << " laws\n";
  for (auto const& violation : moebal::laws::check_rule(Careless{})) std::cout << "Careless: " << violation.law << '\n';
}
// [your own rule]
