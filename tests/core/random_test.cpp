// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include <moebal/core/normal.hpp>
#include <moebal/core/random.hpp>

#include <cmath>
#include <limits>
#include <vector>

using namespace moebal;

BOOST_AUTO_TEST_SUITE(core_random)

BOOST_AUTO_TEST_CASE(the_sequence_of_splitmix64) { // published outputs for the seed 1234567
  BOOST_TEST(random::bits(1234567, 0) == 6457827717110365317u);
  BOOST_TEST(random::bits(1234567, 1) == 3203168211198807973u);
  BOOST_TEST(random::bits(1234567, 2) == 9817491932198370423u);
}

BOOST_AUTO_TEST_CASE(uniform_numbers_stay_inside_and_spread) {
  double sum = 0, squares = 0;
  std::vector<int> bins(16);
  for (std::uint64_t n = 0; n < 1 << 16; ++n) {
    double const u = random::uniform(5, n);
    BOOST_TEST_REQUIRE((u > 0 && u < 1));
    sum += u;
    squares += u * u;
    ++bins[std::size_t(u * 16)];
    Index const below = random::below(5, n, 7);
    BOOST_TEST_REQUIRE((below >= 0 && below < 7));
  }
  BOOST_TEST(std::abs(sum / (1 << 16) - 0.5) < 0.005);
  BOOST_TEST(std::abs(squares / (1 << 16) - 1.0 / 3) < 0.005);
  for (int const n : bins) BOOST_TEST(std::abs(n - 4096) < 300);
  BOOST_TEST(random::uniform(5, 3) != random::uniform(6, 3));
}

BOOST_AUTO_TEST_CASE(normal_numbers_have_the_moments_and_the_tails) {
  int const count = 1 << 17;
  double moment[5] = {};
  int beyond_one = 0, beyond_three = 0;
  for (int n = 0; n < count; ++n) {
    double const x = random::normal(11, std::uint64_t(n));
    for (int m = 1; m < 5; ++m) moment[m] += std::pow(x, m) / count;
    beyond_one += std::abs(x) > 1;
    beyond_three += x > 3;
  }
  BOOST_TEST(std::abs(moment[1]) < 0.01);
  BOOST_TEST(std::abs(moment[2] - 1) < 0.02);
  BOOST_TEST(std::abs(moment[3]) < 0.04);
  BOOST_TEST(std::abs(moment[4] - 3) < 0.15);
  BOOST_TEST(std::abs(double(beyond_one) / count - 0.31731) < 0.005);
  BOOST_TEST(std::abs(double(beyond_three) / count - 0.00135) < 0.0004);
}

BOOST_AUTO_TEST_CASE(normal_distribution_and_density) {
  for (double x = -30; x <= 9; x += 0.0371) {
    double const exact = 0.5 * std::erfc(-x / std::sqrt(2.0));
    BOOST_TEST_REQUIRE(std::abs(math::normal_cdf(x) - exact) <= 2e-13 * exact);
    if (x > -4) BOOST_TEST_REQUIRE(std::abs(math::normal_cdf(x) - exact) <= 4e-15 * exact);
    double const density = std::exp(-x * x / 2) / std::sqrt(2 * 3.14159265358979323846);
    BOOST_TEST_REQUIRE(std::abs(math::normal_density(x) - density) <= 2e-13 * density);
  }
  double const inf = std::numeric_limits<double>::infinity();
  BOOST_TEST(math::normal_cdf(0) == 0.5, boost::test_tools::tolerance(1e-15));
  BOOST_TEST(math::normal_cdf(inf) == 1);
  BOOST_TEST(math::normal_cdf(-inf) == 0);
  BOOST_TEST(math::normal_cdf(1e300) == 1);
  BOOST_TEST(math::normal_density(inf) == 0);
  BOOST_TEST(std::isnan(math::normal_cdf(std::nan(""))));
  BOOST_TEST(std::isnan(math::normal_density(std::nan(""))));
}

BOOST_AUTO_TEST_SUITE_END()
