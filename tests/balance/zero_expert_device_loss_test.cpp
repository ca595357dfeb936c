// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "balance/windows.hpp"

#include <moebal/balance/zero_expert_device_loss.hpp>

using namespace moebal;
using namespace windows;
namespace tt = boost::test_tools;

namespace {
using Rule = ZeroExpertDeviceLoss<2>;
Rule const rule{.coefficient = 1, .computing_experts = 4, .computing_choices = 2};
} // namespace

BOOST_AUTO_TEST_SUITE(balance_zero_expert_device_loss)

BOOST_AUTO_TEST_CASE(the_formula) {
  OneWindow<Rule> window(6, 3, 10);
  window.set<stats::Counts>({8, 4, 3, 1, 9, 5}); // groups 12, 4, and 14 that compute nothing
  std::vector<double> const sums{1, 2, 1.5, 0.5, 2, 3};
  window.set_scores(sums);
  double const expected = 2 * 12 / 20.0 * 0.3 + 2 * 4 / 20.0 * 0.2 + 14 / 10.0 * 0.5;
  BOOST_TEST(rule.value(window.view()) == expected, tt::tolerance(1e-10));
  BOOST_TEST(slope_error(rule, window, sums) < 1e-9);
}

BOOST_AUTO_TEST_CASE(a_load_at_its_target_costs_the_coefficient) {
  OneWindow<Rule> window(6, 3, 10);
  window.set<stats::Counts>({5, 5, 5, 5, 5, 5});
  window.set_scores({2, 1, 1, 3, 2, 1});
  BOOST_TEST(rule.value(window.view()) == 1.0, tt::tolerance(1e-10));
}

BOOST_AUTO_TEST_CASE(no_tokens_no_others_and_too_few_experts) {
  OneWindow<Rule> window(6, 2, 0);
  BOOST_TEST(rule.value(window.view()) == 0.0);
  OneWindow<Rule> all(6, 2, 4); // K_e = K: nothing is wanted of the others, so they cost nothing
  all.set<stats::Counts>({2, 2, 2, 2, 0, 0});
  all.set_scores({1, 1, 1, 1, 0, 0});
  BOOST_TEST(rule.value(all.view()) == 1.0, tt::tolerance(1e-10));
  BOOST_CHECK_THROW(rule.check(3), ShapeError);
}

BOOST_AUTO_TEST_SUITE_END()
