// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "balance/windows.hpp"
#include "support/inputs.hpp"

#include <moebal/balance/multiplicative_bias.hpp>
#include <moebal/moebal.hpp>

using namespace moebal;
using namespace moebal_test;
namespace tt = boost::test_tools;

BOOST_AUTO_TEST_SUITE(balance_multiplicative_bias)

BOOST_AUTO_TEST_CASE(factors_start_at_one_and_move_by_signs) {
  auto balancer = windows::balancer_of(MultiplicativeBias{.rate = 0.25f, .least = 0.5f}, 4);
  BOOST_TEST(windows::values(balancer.bias()) == (std::vector<float>{1, 1, 1, 1}), tt::per_element());
  windows::step(balancer, {7, 1, 4, 4});
  BOOST_TEST(windows::values(balancer.bias()) == (std::vector<float>{.75f, 1.25f, 1, 1}), tt::per_element());
  for (int i = 0; i < 4; ++i) windows::step(balancer, {7, 1, 4, 4});
  BOOST_TEST(windows::values(balancer.bias()) == (std::vector<float>{.5f, 2.25f, 1, 1}), tt::per_element());
  static_assert(decltype(balancer)::bias_by == BiasBy::Scaling);
  static_assert(decltype(windows::balancer_of(LossFreeBias{}, 4))::bias_by == BiasBy::Adding);
}

// Experts rank by score * factor, row by row and in tiles of rows; weights know no factor.
template <class Logit> void ranked_by_products(Index tokens, Index experts) {
  auto const x = logits_of<Logit>(Kind::Bell, tokens, experts);
  std::vector<float> factors;
  Random random(3);
  for (Index e = 0; e < experts; ++e) factors.push_back(1 + 0.9f * random.uniform());
  auto const routing = Router{TopK<3>{}, Sigmoid{}}.route(EigenExec{}, matrix(x, tokens, experts),
                                                          {.bias = factors, .bias_by = BiasBy::Scaling});
  for (Index t = 0; t < tokens; ++t) {
    std::vector<std::pair<compute_t<Logit>, Index>> order;
    std::vector<compute_t<Logit>> scores;
    for (Index e = 0; e < experts; ++e) {
      scores.push_back(Sigmoid{}.score(compute_t<Logit>(load(x.data() + t * experts, e))));
      order.emplace_back(-scores.back() * compute_t<Logit>(factors[std::size_t(e)]), e);
    }
    std::sort(order.begin(), order.end());
    compute_t<Logit> sum = 0;
    for (std::size_t k = 0; k < 3; ++k) {
      BOOST_TEST(routing.expert_ids()(t, Index(k)) == order[k].second);
      sum += scores[std::size_t(order[k].second)];
    }
    for (std::size_t k = 0; k < 3; ++k)
      BOOST_TEST(routing.weights()(t, Index(k)) == scores[std::size_t(order[k].second)] / sum,
                 tt::tolerance(compute_t<Logit>(1e-6)));
  }
}

BOOST_AUTO_TEST_CASE(experts_rank_by_score_times_factor) {
  for (Index const tokens : {1, 7, 40})
    for (Index const experts : {3, 60}) {
      ranked_by_products<float>(tokens, experts);
      ranked_by_products<double>(tokens, experts);
      ranked_by_products<BFloat16>(tokens, experts);
    }
}

BOOST_AUTO_TEST_CASE(factors_of_one_change_nothing) {
  auto const x = logits_of<float>(Kind::Coarse, 50, 16);
  std::vector<float> const ones(16, 1.0f), zeros(16, 0.0f);
  Router const router{TopK<4>{}, Sigmoid{}};
  auto const scaled = router.route(EigenExec{}, matrix(x, 50, 16), {.bias = ones, .bias_by = BiasBy::Scaling});
  auto const added = router.route(EigenExec{}, matrix(x, 50, 16), {.bias = zeros});
  for (Index t = 0; t < 50; ++t)
    for (Index k = 0; k < 4; ++k) BOOST_TEST(scaled.expert_ids()(t, k) == added.expert_ids()(t, k));
}

BOOST_AUTO_TEST_CASE(a_pipeline_balances_with_it) {
  Index const tokens = 1000, experts = 8;
  auto logits = logits_of<float>(Kind::Bell, tokens, experts);
  for (std::size_t i = 0; i < logits.size(); ++i) logits[i] += 0.2f * float(i % std::size_t(experts));
  Pipeline layer{Router{TopK<2>{}, Sigmoid{}}, Balancer{GlobalBatch<>{}, MultiplicativeBias{.rate = 0.01f},
                                                        BalancerShape{.experts = experts, .top_k = 2}}};
  double first = 0, last = 0;
  for (int i = 0; i < 150; ++i) {
    layer.begin_step(1);
    layer.forward(EigenExec{}, 0, matrix(logits, tokens, experts));
    auto const w = layer.balancer().window(0);
    last = stats::max_vio({w.template load_data<stats::Counts>(), experts});
    if (i == 0) first = last;
    layer.end_step();
  }
  BOOST_TEST(first > 0.7);
  BOOST_TEST(last < 0.1);
}

BOOST_AUTO_TEST_SUITE_END()
