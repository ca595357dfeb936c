// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include <moebal/balance/locality_loss.hpp>

#include <cmath>
#include <random>
#include <vector>

using namespace moebal;

namespace {
using List = LocalityLoss::needs;

/// Softmax scores of T tokens, summed, in a window of its own.
struct Tokens {
  std::vector<std::vector<double>> z; // [T][E]
  std::vector<std::vector<double>> p() const {
    auto all = z;
    for (auto& row : all) {
      double sum = 0;
      for (double& x : row) sum += x = std::exp(x);
      for (double& x : row) x /= sum;
    }
    return all;
  }
};
struct Summed {
  Load<List> load;
  explicit Summed(Tokens const& tokens) : load(1, Index(tokens.z[0].size())) {
    auto const view = load.view();
    view.tokens() = Index(tokens.z.size());
    for (auto const& row : tokens.p())
      for (std::size_t e = 0; e < row.size(); ++e)
        view.get<stats::ScoreSums>()[Index(e)] += std::llround(row[e] * stats::score_one<double>);
  }
  Window<List, List> window() {
    double const tokens = double(load.view().tokens());
    return {1, load.view(), load.view(), tokens == 0 ? 0 : 1 / tokens, 1, 1 / stats::score_one<double>};
  }
};
double loss(LocalityLoss const& rule, Tokens const& tokens) { // the formula
  std::size_t const experts = tokens.z[0].size();
  std::vector<double> q(experts, 0);
  for (auto const& row : tokens.p())
    for (std::size_t e = 0; e < experts; ++e) q[e] += row[e] / double(tokens.z.size());
  double sum = 0;
  for (std::size_t e = 0; e < experts; ++e) sum += q[e] * std::log(q[e] / rule.target(Index(experts), Index(e)));
  return rule.coefficient * sum;
}
Tokens random_tokens(Index count, Index experts, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<double> normal(0, 2);
  Tokens tokens{std::vector<std::vector<double>>(std::size_t(count), std::vector<double>(std::size_t(experts)))};
  for (auto& row : tokens.z)
    for (double& x : row) x = normal(random);
  return tokens;
}
} // namespace

BOOST_AUTO_TEST_SUITE(balance_locality_loss)

BOOST_AUTO_TEST_CASE(by_hand) {
  LocalityLoss const rule{.local = {0, 2}, .coefficient = 1, .epsilon = 0.2};
  for (Index e = 0; e < 2; ++e) BOOST_TEST(rule.target(4, e) == 0.4);
  for (Index e = 2; e < 4; ++e) BOOST_TEST(rule.target(4, e) == 0.1);
  Summed uniform(Tokens{{{0, 0, 0, 0}}}); // ln(.25 / .4) / 2 + ln(.25 / .1) / 2 = ln(1.5625) / 2
  BOOST_TEST(rule.value(uniform.window()) == std::log(1.5625) / 2, boost::test_tools::tolerance(1e-9));
  Summed home(Tokens{{{std::log(.4), std::log(.4), std::log(.1), std::log(.1)}}});
  BOOST_TEST(std::fabs(rule.value(home.window())) < 1e-9);
  LocalityLoss const everywhere{.local = {0, 4}, .coefficient = 1};
  BOOST_TEST(std::fabs(everywhere.value(uniform.window())) < 1e-9);
}

// The logits' gradient through softmax and the slopes, against central differences of the formula.
BOOST_AUTO_TEST_CASE(central_differences) {
  for (Index const experts : {2, 5, 8}) {
    LocalityLoss const rule{.local = {1, 1 + experts / 4}, .coefficient = .7, .epsilon = .05};
    Tokens tokens = random_tokens(7, experts, std::uint64_t(experts));
    Summed summed(tokens);
    auto const window = summed.window();
    BOOST_TEST(rule.value(window) == loss(rule, tokens), boost::test_tools::tolerance(1e-7));
    auto const p = tokens.p();
    for (std::size_t t = 0; t < 7; ++t)
      for (std::size_t m = 0; m < std::size_t(experts); ++m) {
        double mean = 0;
        for (Index e = 0; e < experts; ++e) mean += rule.slope(window, e) * p[t][std::size_t(e)];
        double const gradient = p[t][m] * (rule.slope(window, Index(m)) - mean);
        double const step = 1e-5, z = tokens.z[t][m];
        tokens.z[t][m] = z + step;
        double const up = loss(rule, tokens);
        tokens.z[t][m] = z - step;
        double const down = loss(rule, tokens);
        tokens.z[t][m] = z;
        BOOST_TEST(std::fabs(gradient - (up - down) / (2 * step)) < 1e-8);
      }
  }
}

BOOST_AUTO_TEST_CASE(pulls_home) {
  LocalityLoss const rule{.local = {2, 3}};
  Summed away(Tokens{{{0, 0, 0, 0, 0, 0, 0, 0}}});
  for (Index e = 0; e < 8; ++e) BOOST_TEST((rule.slope(away.window(), e) < 0) == rule.local(e));
}

BOOST_AUTO_TEST_CASE(ends) {
  LocalityLoss const rule{.local = {0, 1}};
  Load<List> none(1, 3);
  Window<List, List> const empty(1, none.view(), none.view(), 0, 1, 1 / stats::score_one<double>);
  BOOST_TEST(rule.value(empty) == 0);
  Summed collapsed(Tokens{{{-300, 300, -300}}}); // scores of 0 and 1
  for (Index e = 0; e < 3; ++e) BOOST_TEST(std::isfinite(rule.slope(collapsed.window(), e)));
  BOOST_TEST(rule.value(collapsed.window()) == .01 * std::log(1 / .05), boost::test_tools::tolerance(1e-6));
}

BOOST_AUTO_TEST_CASE(where_experts_live) {
  Topology const topology(TopologyShape{.experts = 12, .ranks = 6, .ranks_per_node = 2});
  auto const local = local_experts(topology, 3);
  BOOST_TEST(local.first == 4);
  BOOST_TEST(local.count == 4);
  BOOST_TEST((local(4) && local(7) && !local(3) && !local(8)));
  std::vector<Index> const owners{0, 1, 0, 1}, nodes{0, 1};
  BOOST_CHECK_THROW(local_experts(Topology(owners, nodes), 0), ShapeError);
  LocalityLoss{.local = local}.check(12);
  BOOST_CHECK_THROW(LocalityLoss{.local = local}.check(7), ShapeError);
  BOOST_CHECK_THROW(LocalityLoss{}.check(7), ShapeError);
  BOOST_CHECK_THROW((LocalityLoss{.local = local, .epsilon = 0}.check(12)), ShapeError);
}

BOOST_AUTO_TEST_SUITE_END()
