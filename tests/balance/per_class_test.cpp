// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "balance/windows.hpp"

#include <moebal/balance/device_loss.hpp>
#include <moebal/balance/per_class.hpp>
#include <moebal/balance/phi_loss.hpp>

using namespace moebal;
using namespace windows;
namespace tt = boost::test_tools;

namespace {
/// Four computing experts, then those that compute nothing.
struct Kinds {
  static constexpr Index groups = 2;
  static Index of(Index expert, Index) { return expert < 4 ? 0 : 1; }
};
using Rule = PerClass<SwitchLoss<>, Kinds>;
static_assert(linear_rule<Rule> && !stateful_rule<Rule> && linear_rule<PerClass<DeviceLoss<ExpertBlocks<3>>, Kinds>>);
static_assert(stateful_rule<PerClass<PhiLoss, Kinds>>);
} // namespace

BOOST_AUTO_TEST_SUITE(balance_per_class)

BOOST_AUTO_TEST_CASE(experts_weigh_as_their_class) {
  Rule const rule{.rule = {.coefficient = 0.01}, .weights = {1, 0.75}};
  std::vector<std::int64_t> const counts{5, 1, 2, 4, 6, 2};
  std::vector<double> const sums{1.5, 2, 0.5, 3, 2, 1};
  OneWindow<Rule> window(6, 2, 10);
  window.set<stats::Counts>(counts);
  window.set_scores(sums);
  double expected = 0;
  for (std::size_t e = 0; e < 6; ++e)
    expected += (e < 4 ? 1 : 0.75) * (6 * double(counts[e]) / (2 * 10)) * sums[e] / 10;
  BOOST_TEST(rule.value(window.view()) == 0.01 * expected, tt::tolerance(1e-10));
  BOOST_TEST(slope_error(rule, window, sums) < 1e-9);
  for (Index e = 0; e < 6; ++e) // all alike: the rule itself
    BOOST_TEST((Rule{.rule = {}, .weights = {1, 1}}.slope(window.view(), e)) ==
               SwitchLoss<>{}.slope(Window<Rule::needs, Rule::pooled>(window.view()), e));
}

BOOST_AUTO_TEST_CASE(the_name_says_what_is_weighed) { BOOST_TEST(std::string(Rule::name) == "per_class(switch)"); }

BOOST_AUTO_TEST_SUITE_END()
