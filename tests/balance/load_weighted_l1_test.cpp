// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "balance/windows.hpp"

#include <moebal/balance/load_weighted_l1.hpp>

#include <cstring>

using namespace moebal;
using namespace windows;
namespace tt = boost::test_tools;

namespace {
float lambda_of(auto const& balancer) { // the last four bytes before the checksum
  std::string const bytes = saved(balancer);
  float lambda = 0;
  std::memcpy(&lambda, bytes.data() + bytes.size() - 12, 4);
  return lambda;
}
} // namespace

BOOST_AUTO_TEST_SUITE(balance_load_weighted_l1)

BOOST_AUTO_TEST_CASE(the_formula) {
  LoadWeightedL1 const rule{.first = 0.5f, .active = 2};
  std::vector<double> const sums{3, 1, 0, 6};
  OneWindow<LoadWeightedL1> window(4, 4, 10);
  window.state = {0.5f};
  window.set<stats::Counts>({10, 4, 0, 6});
  window.set_scores(sums);
  BOOST_TEST(rule.value(window.view()) == 0.5 * 4 / (2 * 100.0) * (10 * 3 + 4 * 1 + 6 * 6), tt::tolerance(1e-10));
  BOOST_TEST(slope_error(rule, window, sums) < 1e-8);
}

BOOST_AUTO_TEST_CASE(lambda_grows_while_too_many_experts_are_on) {
  auto balancer = balancer_of(LoadWeightedL1{.first = 1, .growth = 2, .active = 2}, 4, 4);
  BOOST_TEST(lambda_of(balancer) == 1.0f);
  auto const step_with = [&](std::int64_t tokens, std::vector<std::int64_t> const& counts) {
    Load<LoadWeightedL1::needs> load(1, 4);
    load.view().tokens() = tokens;
    for (Index e = 0; e < 4; ++e) load.view().get<stats::Counts>()[e] = counts[std::size_t(e)];
    balancer.begin_step(1);
    balancer.observe(0, load);
    balancer.end_step();
  };
  step_with(3, {3, 2, 1, 1}); // 7 > 2 * 3
  BOOST_TEST(lambda_of(balancer) == 2.0f);
  step_with(3, {3, 2, 1, 0}); // as wanted: it always moves
  BOOST_TEST(lambda_of(balancer) == 1.0f);
  step_with(3, {1, 0, 0, 0});
  BOOST_TEST(lambda_of(balancer) == 0.5f);
  step_with(0, {0, 0, 0, 0}); // nothing seen
  BOOST_TEST(lambda_of(balancer) == 0.5f);

  auto other = balancer_of(LoadWeightedL1{.first = 7, .growth = 2, .active = 2}, 4, 4);
  std::istringstream in(saved(balancer));
  other.restore(in);
  BOOST_TEST(lambda_of(other) == 0.5f);
}

BOOST_AUTO_TEST_CASE(nothing_seen_no_loss) {
  OneWindow<LoadWeightedL1> window(4, 2, 0);
  BOOST_TEST(LoadWeightedL1{}.value(window.view()) == 0.0);
}

BOOST_AUTO_TEST_SUITE_END()
