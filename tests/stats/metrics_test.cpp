// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include <moebal/stats/metrics.hpp>

#include <cstdint>
#include <vector>

using namespace moebal;
using Counts = std::vector<std::int64_t>;

BOOST_AUTO_TEST_SUITE(stats_metrics)

BOOST_AUTO_TEST_CASE(worked_by_hand) {
  Counts const c{7, 1, 4, 4};
  auto const tolerance = boost::test_tools::tolerance(1e-14);
  BOOST_TEST(stats::max_vio(c) == 0.75);
  BOOST_TEST(stats::cv(c) == std::sqrt(18.0 / 4) / 4, tolerance);
  BOOST_TEST(stats::entropy(c) == 7 / 16.0 * std::log2(16 / 7.0) + 4 / 16.0 + 2 * (4 / 16.0 * 2), tolerance);
  BOOST_TEST(stats::dead_experts(c) == 0);
  BOOST_TEST(stats::dead_experts(c, 0.25) == 0); // 1 is not below a quarter of 4
  BOOST_TEST(stats::dead_experts(c, 0.26) == 1);
  BOOST_TEST(stats::drop_rate(3, 12) == 0.25);
}

BOOST_AUTO_TEST_CASE(balance_and_collapse) {
  for (Index const experts : {1, 3, 60, 384}) {
    Counts even(std::size_t(experts), 5), one(std::size_t(experts), 0);
    one[std::size_t(experts) / 2] = 9;
    BOOST_TEST(stats::max_vio(even) == 0.0);
    BOOST_TEST(stats::cv(even) == 0.0);
    BOOST_TEST(stats::entropy(even) == std::log2(double(experts)), boost::test_tools::tolerance(1e-13));
    BOOST_TEST(stats::max_vio(one) == double(experts) - 1, boost::test_tools::tolerance(1e-13));
    BOOST_TEST(stats::cv(one) == std::sqrt(double(experts) - 1), boost::test_tools::tolerance(1e-13));
    BOOST_TEST(stats::entropy(one) == 0.0);
    BOOST_TEST(stats::dead_experts(one) == experts - 1);
  }
}

BOOST_AUTO_TEST_CASE(nothing_counted) {
  for (std::size_t const experts : {0u, 1u, 60u}) {
    Counts const none(experts);
    BOOST_TEST(stats::max_vio(none) == 0.0);
    BOOST_TEST(stats::cv(none) == 0.0);
    BOOST_TEST(stats::entropy(none) == 0.0);
    BOOST_TEST(stats::dead_experts(none) == Index(experts));
  }
  BOOST_TEST(stats::drop_rate(0, 0) == 0.0);
  MatrixView<std::int64_t const> const no_rows(nullptr, 0, 4);
  BOOST_TEST(stats::max_vio_batch(no_rows) == 0.0);
  BOOST_TEST(stats::max_vio_global(no_rows) == 0.0);
}

BOOST_AUTO_TEST_CASE(batches) {
  // Each row is lopsided, their sum is even; the last row is empty.
  Counts const table{4, 0, 0, 4, 2, 2, 2, 2, 0, 0};
  MatrixView<std::int64_t const> const rows(table.data(), 5, 2);
  BOOST_TEST(stats::max_vio_batch(rows) == (1.0 + 1 + 0 + 0) / 4);
  BOOST_TEST(stats::max_vio_global(rows) == 0.0);
  BOOST_TEST(stats::max_vio_computation_batch(rows, 2) == 0.0); // the empty row is a group of its own, and left out
  BOOST_TEST(stats::max_vio_computation_batch(rows, 100) == 0.0);
  MatrixView<std::int64_t const> const second_and_third(table.data() + 2, 2, 2);
  BOOST_TEST(stats::max_vio_computation_batch(second_and_third, 2) == 0.5); // (2, 6)
  BOOST_CHECK_THROW(stats::max_vio_computation_batch(rows, 0), ShapeError);
}

BOOST_AUTO_TEST_CASE(strided_tables) {
  Counts const table{3, 1, 99, 1, 3, 99};
  MatrixView<std::int64_t const> const rows(table.data(), 2, 2, 3);
  BOOST_TEST(stats::max_vio_batch(rows) == 0.5);
  BOOST_TEST(stats::max_vio_global(rows) == 0.0);
}

BOOST_AUTO_TEST_SUITE_END()
