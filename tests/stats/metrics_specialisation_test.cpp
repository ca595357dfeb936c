// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include <moebal/stats/metrics_specialisation.hpp>

#include <cstdint>
#include <vector>

using namespace moebal;
using Counts = std::vector<std::int64_t>;
using Table = MatrixView<std::int64_t const>;

BOOST_AUTO_TEST_SUITE(stats_metrics_specialisation)

BOOST_AUTO_TEST_CASE(an_expert_for_each_domain) {
  Counts const c{5, 0, 0, 0, 5, 0, 0, 0, 5};
  Table const table(c.data(), 3, 3);
  BOOST_TEST(stats::mutual_information(table) == std::log2(3.0), boost::test_tools::tolerance(1e-14));
  BOOST_TEST(stats::top_domain_share(table) == 1.0);
}

BOOST_AUTO_TEST_CASE(experts_that_are_all_alike) {
  Counts const c{6, 2, 4, 3, 1, 2}; // one row is twice the other
  Table const table(c.data(), 2, 3);
  BOOST_TEST(std::abs(stats::mutual_information(table)) < 1e-15);
  BOOST_TEST(stats::top_domain_share(table) == 12 / 18.0);
}

BOOST_AUTO_TEST_CASE(worked_by_hand) {
  Counts const c{3, 1, 0, 1, 1, 2}; // p(d) = 1/2; p(e) = 1/2, 1/4, 1/4
  Table const table(c.data(), 2, 3);
  double const expected = 3 / 8.0 * std::log2(1.5) + 1 / 8.0 * std::log2(0.5) + 0 + 0 + 2 / 8.0;
  BOOST_TEST(stats::mutual_information(table) == expected, boost::test_tools::tolerance(1e-14));
  BOOST_TEST(stats::top_domain_share(table) == (3 + 1 + 2) / 8.0);
  std::vector<double> frequency(6);
  stats::selection_frequency_into(table, {frequency.data(), 2, 3});
  BOOST_TEST(frequency == (std::vector<double>{.75, .25, 0, .25, .25, .5}), boost::test_tools::per_element());
  BOOST_TEST(stats::experts_above(table, 0, 0.25) == 1);
  BOOST_TEST(stats::experts_above(table, 0, 0.2) == 2);
  BOOST_TEST(stats::experts_above(table, 1, 0.2) == 3);
}

BOOST_AUTO_TEST_CASE(empty_domains_and_tables) {
  Counts const c{0, 0, 2, 2};
  Table const table(c.data(), 2, 2);
  BOOST_TEST(stats::mutual_information(table) == 0.0);
  BOOST_TEST(stats::top_domain_share(table) == 1.0);
  std::vector<double> frequency(4, 9);
  stats::selection_frequency_into(table, {frequency.data(), 2, 2});
  BOOST_TEST(frequency == (std::vector<double>{0, 0, .5, .5}), boost::test_tools::per_element());
  BOOST_TEST(stats::experts_above(table, 0, 0) == 0);
  BOOST_TEST(stats::mutual_information(Table{}) == 0.0);
  BOOST_TEST(stats::top_domain_share(Table{}) == 0.0);
}

BOOST_AUTO_TEST_CASE(shapes_are_checked) {
  Counts const c(6);
  std::vector<double> frequency(6);
  BOOST_CHECK_THROW(stats::selection_frequency_into({c.data(), 2, 3}, {frequency.data(), 3, 2}), ShapeError);
  BOOST_CHECK_THROW(stats::experts_above({c.data(), 2, 3}, 2, 0), ShapeError);
}

BOOST_AUTO_TEST_SUITE_END()
