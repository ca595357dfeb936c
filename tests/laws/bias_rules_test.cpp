// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The bias and the state that rules leave behind after some steps are the same bits for any cut of the tokens over
// ranks, micro-batches and sequences: in float, through a Pipeline. All rules: every_bias_rule_test, in double.
#include "support/test.hpp"

#include "support/inputs.hpp"

#include <moebal/balance/load_weighted_l1.hpp>
#include <moebal/balance/momentum_tanh_bias.hpp>
#include <moebal/balance/multiplicative_bias.hpp>
#include <moebal/balance/phi_loss.hpp>
#include <moebal/balance/quantile_histogram.hpp>
#include <moebal/balance/threshold_quantile.hpp>
#include <moebal/moebal.hpp>

#include <sstream>

using namespace moebal;
using namespace moebal_test;

namespace {

constexpr Index experts = 9, tokens = 157;

// Part p of `parts` holds tokens [cut(p), cut(p + 1)): uneven, some of them empty.
Index cut(Index part, Index parts) { return (part * part * tokens) / (parts * parts); }

template <class Rule> std::string saved_after_steps(Rule rule, Index ranks, Index micro_batches, Index sequences) {
  std::vector<std::string> bytes(static_cast<std::size_t>(ranks));
  run_ranks(ranks, [&](Communicator<Threads> comm) {
    Pipeline layer{Router{TopK<3>{}, Sigmoid{}},
                   Balancer{GlobalBatch<>{}, rule, BalancerShape{.experts = experts, .top_k = 3}, comm}};
    for (std::uint64_t step = 0; step < 3; ++step) {
      auto logits = logits_of<float>(Kind::Bell, tokens, experts, step + 1);
      for (std::size_t i = 0; i < logits.size(); ++i) logits[i] += 0.2f * float(i % std::size_t(experts));
      layer.begin_step(micro_batches);
      for (Index g = 0; g < micro_batches; ++g) {
        Index const first = cut(comm.rank() * micro_batches + g, ranks * micro_batches);
        Index const count = cut(comm.rank() * micro_batches + g + 1, ranks * micro_batches) - first;
        std::vector<Index> segments{0};
        for (Index s = 1; s <= sequences; ++s) segments.push_back(s * count / sequences);
        layer.forward(EigenExec{}, g, MatrixView<float const>(logits.data() + first * experts, count, experts),
                      {.segments = segments});
      }
      layer.end_step();
    }
    std::ostringstream out;
    layer.balancer().save(out);
    bytes[static_cast<std::size_t>(comm.rank())] = out.str();
  });
  for (auto const& b : bytes) BOOST_TEST(b == bytes[0]);
  return bytes[0];
}

template <class Rule> void check(Rule rule) {
  auto const whole = saved_after_steps(rule, 1, 1, 1);
  for (Index const ranks : {1, 2, 3})
    for (Index const micro_batches : {1, 4})
      for (Index const sequences : {1, 3})
        BOOST_TEST_CONTEXT(rule.name << ": ranks " << ranks << ", micro-batches " << micro_batches << ", sequences "
                                     << sequences)
  BOOST_TEST((saved_after_steps(rule, ranks, micro_batches, sequences) == whole));
}

} // namespace

BOOST_AUTO_TEST_SUITE(laws_bias_rules)

BOOST_AUTO_TEST_CASE(tanh_with_momentum) { check(MomentumTanhBias{.rate = 0.05f}); }
BOOST_AUTO_TEST_CASE(multiplicative) { check(MultiplicativeBias{.rate = 0.05f}); }
BOOST_AUTO_TEST_CASE(state_of_losses) {
  check(PhiLoss{.rate = 0.25});
  check(LoadWeightedL1{.active = 2});
}
BOOST_AUTO_TEST_CASE(threshold_quantile) { check(ThresholdQuantile<200>{.active = 3}); }
BOOST_AUTO_TEST_CASE(quantile_histogram) { check(QuantileHistogram<200>{.keep = 0.25f}); }

// The law is about something: the mean of the ranks' own quantiles is not the quantile of all.
BOOST_AUTO_TEST_CASE(mutant_the_mean_of_quantiles_is_another_number) {
  auto const logits = logits_of<float>(Kind::Wide, 60, experts);
  auto const bias_of_rows = [&](Index first, Index count) {
    Pipeline layer{Router{TopK<3>{}, Sigmoid{}},
                   Balancer{GlobalBatch<>{}, QuantileHistogram<>{}, BalancerShape{.experts = experts, .top_k = 3}}};
    layer.begin_step(1);
    layer.forward(EigenExec{}, 0, MatrixView<float const>(logits.data() + first * experts, count, experts));
    layer.end_step();
    return std::vector<float>(layer.balancer().bias().begin(), layer.balancer().bias().end());
  };
  auto const all = bias_of_rows(0, 60), a = bias_of_rows(0, 30), b = bias_of_rows(30, 30);
  float worst = 0;
  for (std::size_t e = 0; e < all.size(); ++e) worst = std::max(worst, std::abs((a[e] + b[e]) / 2 - all[e]));
  BOOST_TEST(worst > 1e-3f);
}

BOOST_AUTO_TEST_SUITE_END()
