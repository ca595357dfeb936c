// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "balance/windows.hpp"

#include <moebal/balance/mean_entropy_loss.hpp>

using namespace moebal;
using namespace windows;
namespace tt = boost::test_tools;

BOOST_AUTO_TEST_SUITE(balance_mean_entropy_loss)

BOOST_AUTO_TEST_CASE(the_formula) {
  std::vector<double> const sums{4, 2, 2};
  OneWindow<MeanEntropyLoss> window(3, 1, 8);
  window.set_scores(sums);
  double const entropy = 0.5 * std::log(2.0) + 0.5 * std::log(4.0);
  BOOST_TEST(MeanEntropyLoss{.coefficient = 1}.value(window.view()) == std::log(3.0) - entropy, tt::tolerance(1e-9));
  BOOST_TEST(slope_error(MeanEntropyLoss{.coefficient = 1}, window, sums) < 1e-7);
}

BOOST_AUTO_TEST_CASE(between_balance_and_collapse) {
  OneWindow<MeanEntropyLoss> window(60, 1, 60);
  window.set_scores(std::vector<double>(60, 1.0));
  BOOST_TEST(std::abs(MeanEntropyLoss{.coefficient = 1}.value(window.view())) < 1e-9);
  std::vector<double> collapsed(60, 0.0);
  collapsed[7] = 60;
  window.set_scores(collapsed);
  BOOST_TEST(MeanEntropyLoss{.coefficient = 1}.value(window.view()) == std::log(60.0), tt::tolerance(1e-9));
  for (Index e = 0; e < 60; ++e) BOOST_TEST(std::isfinite(MeanEntropyLoss{}.slope(window.view(), e)));
}

BOOST_AUTO_TEST_CASE(no_tokens_no_loss) {
  OneWindow<MeanEntropyLoss> window(3, 1, 0);
  BOOST_TEST(MeanEntropyLoss{}.value(window.view()) == 0.0);
  BOOST_TEST(MeanEntropyLoss{}.slope(window.view(), 1) == 0.0);
}

BOOST_AUTO_TEST_SUITE_END()
