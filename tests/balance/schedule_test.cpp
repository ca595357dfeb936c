// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "balance/synthetic.hpp"
#include "balance/windows.hpp"

#include <moebal/balance/importance_loss.hpp>
#include <moebal/balance/momentum_tanh_bias.hpp>
#include <moebal/balance/multiplicative_bias.hpp>
#include <moebal/balance/rms_bias.hpp>
#include <moebal/balance/schedule.hpp>

using namespace moebal;
using namespace windows;
namespace tt = boost::test_tools;

static_assert(linear_rule<Scaled<SwitchLoss<>>> && !bias_rule<Scaled<SwitchLoss<>>>);
static_assert(score_rule<Scaled<ImportanceLoss>> && !linear_rule<Scaled<ImportanceLoss>>);
static_assert(square_rule<Scaled<ZLoss>> && !score_rule<Scaled<ZLoss>>);
static_assert(step_rule<Damped<LossFreeBias>> && !loss_rule<Damped<LossFreeBias>> &&
              !stateful_rule<Damped<LossFreeBias>>);
static_assert(move_rule<Damped<RmsBias>> && !step_rule<Damped<RmsBias>>);
static_assert(stateful_rule<Annealed<MomentumTanhBias, OverSteps>>);
static_assert(Scaled<MultiplicativeBias>::bias_by == BiasBy::Scaling);

BOOST_AUTO_TEST_SUITE(balance_schedule)

BOOST_AUTO_TEST_CASE(schedules) {
  LinearToZero const line{.from = 2, .until = 6};
  std::vector<double> seen;
  for (std::int64_t n = 0; n < 8; ++n) seen.push_back(line(n));
  BOOST_TEST(seen == (std::vector<double>{1, 1, 1, .75, .5, .25, 0, 0}), tt::per_element());
  BOOST_TEST(OverSteps{}(0) == 1.0);
  BOOST_TEST(OverSteps{}(3) == 0.25);
  BOOST_TEST(OverRootSteps{}(3) == 0.5);
  Piecewise<2> const pieces{{2, 3}, {1, .5}, .25};
  BOOST_TEST(pieces(1) == 1.0);
  BOOST_TEST(pieces(2) == 0.5);
  BOOST_TEST(pieces(3) == 0.25);
  BOOST_TEST((LinearToZero{.from = 5, .until = 5}(5)) == 0.0);
}

BOOST_AUTO_TEST_CASE(losses_are_scaled) {
  Index const experts = 6, k = 2;
  auto const load =
      synthetic::load_of({synthetic::tokens(9, experts, k, 1), synthetic::tokens(4, experts, k, 2)}, experts);
  BalancerShape const shape{.experts = experts, .top_k = k};
  auto const check = [&](auto rule) {
    Balancer one{MicroBatch<>{}, rule, shape}, quarter{MicroBatch<>{}, scaled(rule, 0.25), shape};
    one.begin_step(1);
    quarter.begin_step(1);
    one.observe(0, load);
    quarter.observe(0, load);
    auto const a = one.terms(0), b = quarter.terms(0);
    BOOST_TEST(a.loss > 0.0);
    BOOST_TEST(b.loss == a.loss / 4);
    for (Index s = 0; s < a.slopes.rows(); ++s)
      for (Index e = 0; e < experts; ++e) BOOST_TEST(b.slopes(s, e) == a.slopes(s, e) / 4);
    for (Index s = 0; s < a.z_slopes.size(); ++s) BOOST_TEST(b.z_slopes[s] == a.z_slopes[s] / 4);
    BOOST_TEST(a.slopes.empty() == b.slopes.empty());
    BOOST_TEST(a.z_slopes.empty() == b.z_slopes.empty());
  };
  check(SwitchLoss<>{});
  check(ImportanceLoss{});
  check(ZLoss{});
}

BOOST_AUTO_TEST_CASE(a_bias_goes_a_part_of_the_way) {
  auto steps = balancer_of(damped(LossFreeBias{.rate = 1}, 0.25), 4);
  step(steps, {7, 1, 4, 4});
  BOOST_TEST(values(steps.bias()) == (std::vector<float>{-.25f, .25f, 0, 0}), tt::per_element());
  auto moves = balancer_of(damped(RmsBias{.rate = 1}, 0.25), 2);
  step(moves, {3, 1});
  BOOST_TEST(values(moves.bias()) == (std::vector<float>{-.25f, .25f}), tt::per_element());
  auto factors = balancer_of(damped(MultiplicativeBias{.rate = 0.5f}, 0.5), 2);
  step(factors, {3, 1});
  BOOST_TEST(values(factors.bias()) == (std::vector<float>{.75f, 1.25f}), tt::per_element());
}

BOOST_AUTO_TEST_CASE(the_centring_of_the_rule_holds) {
  auto balancer = balancer_of(scaled(LossFreeBias{.rate = 1, .centring = Centring::Mean}, 0.5), 4);
  step(balancer, {10, 2, 2, 2});
  BOOST_TEST(values(balancer.bias()) == (std::vector<float>{-.75f, .25f, .25f, .25f}), tt::per_element());
}

BOOST_AUTO_TEST_CASE(rates_follow_the_step_count_also_after_a_restore) {
  auto const rule = annealed(LossFreeBias{.rate = 1}, OverSteps{});
  auto balancer = balancer_of(rule, 2);
  std::vector<float> seen;
  for (int i = 0; i < 3; ++i) {
    step(balancer, {1, 0});
    seen.push_back(balancer.bias()[1]);
  }
  BOOST_TEST(seen == (std::vector<float>{1, 1.5f, 1.5f + 1 / 3.0f}), tt::tolerance(1e-6f) << tt::per_element());
  auto other = balancer_of(rule, 2);
  std::istringstream in(saved(balancer));
  other.restore(in);
  step(other, {1, 0});
  BOOST_TEST(other.bias()[1] - balancer.bias()[1] == 0.25f, tt::tolerance(1e-5f));
}

BOOST_AUTO_TEST_CASE(losses_are_annealed_too) {
  auto const load = synthetic::load_of({synthetic::tokens(9, 4, 1, 1)}, 4);
  Balancer balancer{MicroBatch<>{}, annealed(SwitchLoss<>{}, OverSteps{}), BalancerShape{.experts = 4, .top_k = 1}};
  double first = 0;
  for (int i = 0; i < 3; ++i) {
    balancer.begin_step(1);
    balancer.observe(0, load);
    double const loss = balancer.terms(0).loss;
    if (i == 0) first = loss;
    BOOST_TEST(loss == first / (i + 1), tt::tolerance(1e-12));
    balancer.end_step();
  }
}

BOOST_AUTO_TEST_CASE(state_of_the_rule_moves_in_full) {
  auto plain = balancer_of(MomentumTanhBias{}, 3);
  auto half = balancer_of(scaled(MomentumTanhBias{}, 0.5), 3);
  for (int i = 0; i < 3; ++i) {
    step(plain, {5, 1, 0});
    step(half, {5, 1, 0});
  }
  for (Index e = 0; e < 3; ++e) BOOST_TEST(half.bias()[e] == plain.bias()[e] / 2, tt::tolerance(1e-6f));
}

BOOST_AUTO_TEST_CASE(names_say_what_they_are_made_of) {
  BOOST_TEST(std::string(Scaled<SwitchLoss<>>::name) == "scaled(switch)");
  BOOST_TEST(std::string(decltype(annealed(damped(LossFreeBias{}, 1), OverSteps{}))::name) ==
             "over_steps(damped(loss_free_bias))");
  auto one = balancer_of(LossFreeBias{}, 2);
  auto two = balancer_of(scaled(LossFreeBias{}, 1), 2);
  std::istringstream in(saved(one));
  BOOST_CHECK_THROW(two.restore(in), StateError);
}

BOOST_AUTO_TEST_SUITE_END()
