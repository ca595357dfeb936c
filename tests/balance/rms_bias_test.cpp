// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "balance/windows.hpp"

#include <moebal/balance/rms_bias.hpp>

using namespace moebal;
using namespace windows;
namespace tt = boost::test_tools;

BOOST_AUTO_TEST_SUITE(balance_rms_bias)

BOOST_AUTO_TEST_CASE(the_worked_example) {
  auto balancer = balancer_of(RmsBias{.rate = 1e-3f}, 4);
  step(balancer, {7, 1, 4, 4});
  BOOST_TEST(values(balancer.bias()) == (std::vector<float>{-1.41421356e-3f, 1.41421356e-3f, 0, 0}),
             tt::tolerance(1e-7f) << tt::per_element());
}

BOOST_AUTO_TEST_CASE(the_step_has_a_root_mean_square_of_the_rate) {
  auto balancer = balancer_of(RmsBias{.rate = 0.5f}, 7);
  step(balancer, {100, 3, 9, 0, 2, 50, 1});
  double squares = 0;
  for (float const b : balancer.bias()) squares += double(b) * double(b);
  BOOST_TEST(std::sqrt(squares / 7) == 0.5, tt::tolerance(1e-6));
}

BOOST_AUTO_TEST_CASE(targets_are_where_it_rests) {
  std::vector<float> const targets{0.5f, 0.25f, 0.25f};
  auto balancer = balancer_of(RmsBias{.rate = 1, .targets = targets}, 3);
  step(balancer, {2, 1, 1});
  for (float const b : balancer.bias()) BOOST_TEST(b == 0.0f);
  step(balancer, {1, 1, 2}); // errors -1/4, 0, 1/4
  BOOST_TEST(values(balancer.bias()) == (std::vector<float>{std::sqrt(1.5f), 0, -std::sqrt(1.5f)}),
             tt::tolerance(1e-6f) << tt::per_element());
}

BOOST_AUTO_TEST_CASE(balance_and_emptiness_move_nothing) {
  for (std::int64_t const each : {0, 5}) {
    auto balancer = balancer_of(RmsBias{}, 3);
    step(balancer, {each, each, each});
    for (float const b : balancer.bias()) BOOST_TEST(b == 0.0f);
  }
  auto one = balancer_of(RmsBias{}, 1);
  step(one, {4});
  BOOST_TEST(one.bias()[0] == 0.0f);
}

BOOST_AUTO_TEST_CASE(a_schedule_scales_the_step) {
  auto balancer = balancer_of(RmsBias{.rate = 1}, 2);
  step(balancer, {3, 1}, 0.25f);
  BOOST_TEST(values(balancer.bias()) == (std::vector<float>{-0.25f, 0.25f}), tt::per_element());
  step(balancer, {3, 1}, 0);
  BOOST_TEST(values(balancer.bias()) == (std::vector<float>{-0.25f, 0.25f}), tt::per_element());
}

BOOST_AUTO_TEST_SUITE_END()
