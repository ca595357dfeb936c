// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Every rule that moves the selection bias, and every combinator of such rules, keeps the laws of rules.
#include "support/test.hpp"

#include "laws/lawful.hpp"

#include <moebal/balance/by_token_class.hpp>
#include <moebal/balance/momentum_tanh_bias.hpp>
#include <moebal/balance/multiplicative_bias.hpp>
#include <moebal/balance/quantile_histogram.hpp>
#include <moebal/balance/rms_bias.hpp>
#include <moebal/balance/schedule.hpp>
#include <moebal/balance/threshold_quantile.hpp>
#include <moebal/balance/zero_expert_bias.hpp>
#include <moebal/laws/rule.hpp>

using namespace moebal;

namespace {

template <class Rule> void check(Rule rule) { lawful::expect(rule.name, laws::check_rule(rule)); }

} // namespace

BOOST_AUTO_TEST_SUITE(laws_every_bias_rule)

BOOST_AUTO_TEST_CASE(loss_free_bias) {
  check(LossFreeBias{.rate = 0.01f});
  check(LossFreeBias{.rate = 0.01f, .centring = Centring::Mean});
}
BOOST_AUTO_TEST_CASE(proportional_bias) {
  check(ProportionalBias{.rate = 0.1f});
  check(ProportionalBias{.rate = 0.1f, .centring = Centring::Mean, .unit = ErrorUnit::Share});
}
BOOST_AUTO_TEST_CASE(rms_bias) { check(RmsBias{.rate = 0.05f}); }
BOOST_AUTO_TEST_CASE(momentum_tanh_bias) { check(MomentumTanhBias{.rate = 0.05f}); }
BOOST_AUTO_TEST_CASE(multiplicative_bias) { check(MultiplicativeBias{.rate = 0.05f}); }
BOOST_AUTO_TEST_CASE(zero_expert_bias) {
  check(ZeroExpertBias{.rate = 0.1f, .computing_experts = 6, .computing_choices = 2});
}
BOOST_AUTO_TEST_CASE(quantiles) {
  check(QuantileHistogram<100>{.keep = 0.25f});
  check(ThresholdQuantile<100>{.active = 3});
}
BOOST_AUTO_TEST_CASE(combinators) {
  check(annealed(LossFreeBias{.rate = 0.1f, .centring = Centring::Mean}, OverRootSteps{}));
  check(annealed(MomentumTanhBias{.rate = 0.1f}, LinearToZero{.from = 1, .until = 4}));
  check(damped(QuantileHistogram<100>{}, 0.5));
  check(scaled(MultiplicativeBias{.rate = 0.05f}, 2));
}
BOOST_AUTO_TEST_CASE(by_token_class) {
  check(ByTokenClass<2, LossFreeBias>{.rule = {.rate = 0.01f}});
  check(ByTokenClass<2, MomentumTanhBias>{.rule = {.rate = 0.01f}});
}

BOOST_AUTO_TEST_SUITE_END()
