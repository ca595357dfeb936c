// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "balance/windows.hpp"

#include <moebal/balance/proportional_bias.hpp>

using namespace moebal;
using namespace windows;
namespace tt = boost::test_tools;

BOOST_AUTO_TEST_SUITE(balance_proportional_bias)

BOOST_AUTO_TEST_CASE(the_error_in_mean_loads_or_in_shares) {
  auto by_mean = balancer_of(ProportionalBias{.rate = 1}, 4);
  step(by_mean, {7, 1, 4, 4}); // mean 4
  BOOST_TEST(values(by_mean.bias()) == (std::vector<float>{-0.75f, 0.75f, 0, 0}), tt::per_element());
  auto by_share = balancer_of(ProportionalBias{.rate = 1, .unit = ErrorUnit::Share}, 4);
  step(by_share, {7, 1, 4, 4});
  BOOST_TEST(values(by_share.bias()) == (std::vector<float>{-3 / 16.0f, 3 / 16.0f, 0, 0}), tt::per_element());
}

BOOST_AUTO_TEST_CASE(uniform_errors_sum_to_zero_without_centring) {
  for (Index const experts : {1, 3, 60, 160}) {
    auto balancer = balancer_of(ProportionalBias{.rate = 1}, experts);
    std::vector<std::int64_t> counts;
    for (Index e = 0; e < experts; ++e) counts.push_back(e * e % 7);
    step(balancer, counts);
    double sum = 0;
    for (float const b : balancer.bias()) sum += b;
    BOOST_TEST(std::abs(sum) < 1e-5 * double(experts));
  }
}

BOOST_AUTO_TEST_CASE(targets_are_where_it_rests) {
  std::vector<float> const targets{0.5f, 0.25f, 0.125f, 0.125f};
  auto balancer = balancer_of(ProportionalBias{.rate = 1, .targets = targets}, 4);
  step(balancer, {8, 4, 2, 2});
  for (float const b : balancer.bias()) BOOST_TEST(b == 0.0f);
  step(balancer, {4, 4, 4, 4});
  BOOST_TEST(values(balancer.bias()) == (std::vector<float>{1, 0, -0.5f, -0.5f}), tt::per_element());
}

BOOST_AUTO_TEST_CASE(targets_that_are_none_are_refused) {
  std::vector<float> const few{0.5f, 0.5f}, negative{1.5f, -0.5f, 0}, wrong{0.5f, 0.5f, 0.5f};
  for (auto const& targets : {few, negative, wrong})
    BOOST_CHECK_THROW(balancer_of(ProportionalBias{.targets = targets}, 3), ShapeError);
}

BOOST_AUTO_TEST_CASE(nothing_counted_moves_nothing) {
  auto balancer = balancer_of(ProportionalBias{}, 3);
  step(balancer, {0, 0, 0});
  for (float const b : balancer.bias()) BOOST_TEST(b == 0.0f);
}

BOOST_AUTO_TEST_SUITE_END()
