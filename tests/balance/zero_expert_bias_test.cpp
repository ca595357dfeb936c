// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "balance/windows.hpp"

#include <moebal/balance/zero_expert_bias.hpp>

using namespace moebal;
using namespace windows;
namespace tt = boost::test_tools;

BOOST_AUTO_TEST_SUITE(balance_zero_expert_bias)

// 4 computing experts and 2 that do nothing; of 3 choices 2 should compute: target 1/6 of the choices each.
ZeroExpertBias const rule{.rate = 1, .computing_experts = 4, .computing_choices = 2, .unit = ErrorUnit::Share};

BOOST_AUTO_TEST_CASE(computing_experts_go_to_their_target_and_the_others_stay) {
  auto balancer = balancer_of(rule, 6, 3); // 4 tokens, 12 choices, target 2 each
  step(balancer, {2, 3, 0, 2, 5, 0});
  BOOST_TEST(values(balancer.bias()) == (std::vector<float>{0, -1 / 12.0f, 2 / 12.0f, 0, 0, 0}),
             tt::tolerance(1e-6f) << tt::per_element());
}

BOOST_AUTO_TEST_CASE(in_units_of_the_target) {
  auto by_target = rule;
  by_target.unit = ErrorUnit::MeanLoad;
  auto balancer = balancer_of(by_target, 6, 3);
  step(balancer, {2, 3, 0, 2, 5, 0});
  BOOST_TEST(values(balancer.bias()) == (std::vector<float>{0, -0.5f, 1, 0, 0, 0}), tt::tolerance(1e-6f)
                                                                                        << tt::per_element());
}

// Router and bias together: the tokens of a skewed router end at K_e computing experts each, balanced.
BOOST_AUTO_TEST_CASE(the_mean_number_of_computing_experts_settles) {
  Index const experts = 12, tokens = 600;
  auto gentle = ZeroExpertBias{.rate = 0.02f, .computing_experts = 8, .computing_choices = 2};
  auto balancer = balancer_of(gentle, experts, 3);
  std::vector<float> scores(std::size_t(tokens * experts));
  std::uint64_t seed = 5;
  for (Index t = 0; t < tokens; ++t)
    for (Index e = 0; e < experts; ++e) {
      seed = seed * 6364136223846793005u + 1442695040888963407u;
      scores[std::size_t(t * experts + e)] = float(double(seed >> 40) * 0x1p-24 + 0.05 * double(experts - e));
    }
  std::vector<std::int64_t> counts;
  for (int s = 0; s < 400; ++s) {
    counts.assign(std::size_t(experts), 0);
    for (Index t = 0; t < tokens; ++t) {
      std::vector<std::pair<float, Index>> order;
      for (Index e = 0; e < experts; ++e)
        order.emplace_back(-(scores[std::size_t(t * experts + e)] + balancer.bias()[e]), e);
      std::sort(order.begin(), order.end());
      for (int k = 0; k < 3; ++k) ++counts[std::size_t(order[std::size_t(k)].second)];
    }
    step(balancer, counts);
  }
  std::int64_t computing = 0;
  for (Index e = 0; e < 8; ++e) {
    computing += counts[std::size_t(e)];
    BOOST_TEST(std::abs(double(counts[std::size_t(e)]) - 150.0) < 15.0);
  }
  BOOST_TEST(std::abs(double(computing) / double(tokens) - 2.0) < 0.1);
}

BOOST_AUTO_TEST_CASE(no_tokens_no_step_and_too_many_experts_are_refused) {
  auto balancer = balancer_of(rule, 6, 3);
  step(balancer, {0, 0, 0, 0, 0, 0});
  for (float const b : balancer.bias()) BOOST_TEST(b == 0.0f);
  BOOST_CHECK_THROW(balancer_of(rule, 3, 3), ShapeError);
}

BOOST_AUTO_TEST_SUITE_END()
