// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "balance/windows.hpp"

#include <moebal/balance/communication_loss.hpp>

using namespace moebal;
using namespace windows;
namespace tt = boost::test_tools;

namespace {
using Devices = ExpertBlocks<4>;
using Rule = CommunicationLoss<Devices>;
} // namespace

BOOST_AUTO_TEST_SUITE(balance_communication_loss)

BOOST_AUTO_TEST_CASE(the_formula) {
  OneWindow<Rule> window(8, 3, 10);
  window.set<stats::DeviceTokens<Devices>>({10, 4, 0, 6});
  std::vector<double> const sums{1, 2, 1, 1, 0.5, 0.5, 3, 1};
  window.set_scores(sums);
  double const expected = 4 / 20.0 * (10 * 0.3 + 4 * 0.2 + 0 * 0.1 + 6 * 0.4);
  BOOST_TEST((Rule{.coefficient = 0.5, .devices_per_token = 2}.value(window.view())) == 0.5 * expected,
             tt::tolerance(1e-10));
  BOOST_TEST(slope_error(Rule{.coefficient = 1}, window, sums) < 1e-9);
}

BOOST_AUTO_TEST_CASE(balance_costs_the_coefficient) {
  OneWindow<Rule> window(4, 2, 8); // each token to 2 of 4 devices, each device 4 tokens
  window.set<stats::DeviceTokens<Devices>>({4, 4, 4, 4});
  window.set_scores({2, 2, 2, 2});
  BOOST_TEST((Rule{.devices_per_token = 2}.value(window.view())) == 0.02, tt::tolerance(1e-10));
}

BOOST_AUTO_TEST_CASE(no_tokens_no_loss) {
  OneWindow<Rule> window(4, 2, 0);
  BOOST_TEST(Rule{}.value(window.view()) == 0.0);
  BOOST_TEST(Rule{}.slope(window.view(), 3) == 0.0);
}

BOOST_AUTO_TEST_SUITE_END()
