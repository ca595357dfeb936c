// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "balance/windows.hpp"
#include "support/inputs.hpp"

#include <moebal/balance/threshold_quantile.hpp>
#include <moebal/moebal.hpp>
#include <moebal/select/threshold.hpp>

using namespace moebal;
using namespace moebal_test;
namespace tt = boost::test_tools;

BOOST_AUTO_TEST_SUITE(balance_threshold_quantile)

BOOST_AUTO_TEST_CASE(the_quantile_and_the_average_over_steps) {
  using Rule = ThresholdQuantile<10>;
  windows::OneWindow<Rule> window(2, 2, 8);
  // Expert 0: two tokens in each of the bins 1, 3, 5, 9; expert 1: all in bin 4. K = 1 of E = 2: half of the tokens
  // above.
  window.set<stats::ScoreHistogram<10>>({0, 2, 0, 2, 0, 2, 0, 0, 0, 2, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0});
  std::vector<float> const bias{-.2f, -.2f};
  std::vector<float> moved(2);
  Rule{.keep = 0.75f}.move(window.view(), bias, moved); // the first step
  BOOST_TEST(moved == (std::vector<float>{-.4f, -.45f}), tt::tolerance(1e-6f) << tt::per_element());
  window.step = 1;
  Rule{.keep = 0.75f}.move(window.view(), bias, moved);
  BOOST_TEST(moved == (std::vector<float>{-.25f, -.2625f}), tt::tolerance(1e-6f) << tt::per_element());
}

BOOST_AUTO_TEST_CASE(nothing_counted_moves_nothing_and_too_many_are_refused) {
  windows::OneWindow<ThresholdQuantile<10>> window(2, 2, 0);
  std::vector<float> const bias{-.25f, .5f};
  std::vector<float> moved(2);
  ThresholdQuantile<10>{}.move(window.view(), bias, moved);
  BOOST_TEST(moved == bias, tt::per_element());
  BOOST_CHECK_THROW(windows::balancer_of(ThresholdQuantile<10>{.active = 3}, 2), ShapeError);
}

// Each expert gets K / E of the tokens, and a token K experts on average, though some tokens take more.
BOOST_AUTO_TEST_CASE(a_skewed_router_is_balanced) {
  constexpr Index tokens = 2000, experts = 8, active = 2;
  auto logits = logits_of<float>(Kind::Bell, tokens, experts);
  for (std::size_t i = 0; i < logits.size(); ++i) logits[i] += float(i % std::size_t(experts)) * 0.5f;
  Pipeline layer{
      Router{Threshold<8>{}, Sigmoid{.normalise = Normalise::None}},
      Balancer{GlobalBatch<>{}, ThresholdQuantile<>{.active = active}, BalancerShape{.experts = experts, .top_k = 8}}};
  layer.begin_step(1);
  layer.forward(EigenExec{}, 0, matrix(logits, tokens, experts));
  layer.end_step();
  auto const counts = layer.router()
                          .route_with<stats::List<stats::Counts>>(EigenExec{}, matrix(logits, tokens, experts),
                                                                  {.bias = layer.balancer().bias()})
                          .second;
  for (std::int64_t const c : counts.get<stats::Counts>()) BOOST_TEST(std::abs(double(c) - 500) < 15);
}

BOOST_AUTO_TEST_SUITE_END()
