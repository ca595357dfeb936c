// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Every rule that adds to the loss, and every combinator of such rules, keeps the laws of rules.
#include "support/test.hpp"

#include "laws/lawful.hpp"

#include <moebal/balance/communication_loss.hpp>
#include <moebal/balance/device_loss.hpp>
#include <moebal/balance/importance_loss.hpp>
#include <moebal/balance/load_weighted_l1.hpp>
#include <moebal/balance/locality_loss.hpp>
#include <moebal/balance/mean_entropy_loss.hpp>
#include <moebal/balance/per_class.hpp>
#include <moebal/balance/phi_loss.hpp>
#include <moebal/balance/schedule.hpp>
#include <moebal/balance/shared_sparsity.hpp>
#include <moebal/balance/zero_expert_device_loss.hpp>
#include <moebal/laws/rule.hpp>

using namespace moebal;

namespace {

template <class Rule> void check(Rule rule) { lawful::expect(rule.name, laws::check_rule(rule)); }

} // namespace

BOOST_AUTO_TEST_SUITE(laws_every_loss_rule)

BOOST_AUTO_TEST_CASE(switch_loss) {
  check(SwitchLoss<>{});
  check(SwitchLoss<>{.coefficient = 3, .divide_by = DivideBy::Tokens});
  check(SwitchLoss<Choices::First>{});
  check(SwitchLoss<Choices::All, CountSource::Unbiased>{});
  check(SwitchLoss<Choices::First, CountSource::Unbiased>{});
}
BOOST_AUTO_TEST_CASE(z_loss) { check(ZLoss{}); }
BOOST_AUTO_TEST_CASE(device_losses) {
  check(DeviceLoss<ExpertBlocks<4>>{});
  check(CommunicationLoss<ExpertBlocks<4>>{});
  check(ZeroExpertDeviceLoss<2>{.computing_experts = 6, .computing_choices = 2});
}
BOOST_AUTO_TEST_CASE(importance_loss) {
  check(ImportanceLoss{});
  check(ImportanceLoss{.variance = Variance::Sample, .epsilon = 1e-10});
  check(KeptImportanceLoss{});
}
BOOST_AUTO_TEST_CASE(mean_entropy_loss) { check(MeanEntropyLoss{}); }
BOOST_AUTO_TEST_CASE(locality_loss) { check(LocalityLoss{.local = {1, 2}}); }
BOOST_AUTO_TEST_CASE(phi_loss) {
  check(PhiLoss{.rate = 0.25});
  check(PhiLoss{.rate = 0.25, .potential = Potential::Euclidean});
}
BOOST_AUTO_TEST_CASE(load_weighted_l1) {
  check(LoadWeightedL1{.first = 0.5f, .active = 2});
  SharedSparsity const lambda({.first = 0.5f, .active = 2});
  check(lambda.rule());
}
BOOST_AUTO_TEST_CASE(combinators) {
  check(scaled(ImportanceLoss{}, 7));
  check(annealed(SwitchLoss<>{}, LinearToZero{.from = 0, .until = 4}));
  check(annealed(PhiLoss{}, OverSteps{}));
  check(annealed(ZLoss{}, OverRootSteps{}));
  check(annealed(ZLoss{}, Piecewise<1>{.ends = {2}, .factors = {0.5}, .last = 0.25}));
  check(PerClass<SwitchLoss<>, ExpertBlocks<2>>{.rule = {}, .weights = {1, 0.75}});
  check(PerClass<PhiLoss, ExpertBlocks<2>>{.rule = {}, .weights = {1, 0.75}});
}
BOOST_AUTO_TEST_CASE(several_together) {
  Rules const rules{SwitchLoss<>{}, LossFreeBias{.rate = 0.01f}, ZLoss{}, PhiLoss{}, KeptImportanceLoss{}};
  lawful::expect("Rules", laws::check_split(rules));
  lawful::expect("Rules, each micro-batch", laws::check_split(LossFreeBias{}, GlobalBatch<>{}));
}

BOOST_AUTO_TEST_SUITE_END()
