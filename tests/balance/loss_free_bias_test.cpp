// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include <moebal/balancer.hpp>

#include <array>
#include <limits>

using namespace moebal;

namespace {

template <class Rule> auto balancer_of(Rule rule, Index experts) {
  return Balancer{GlobalBatch<>{}, rule, BalancerShape{.experts = experts, .top_k = 1}};
}
/// One step whose counts are these.
template <class B> void step(B& balancer, std::vector<std::int64_t> const& counts, float rate_scale = 1) {
  Load<typename B::needs> load(1, Index(counts.size()));
  auto const view = load.view();
  for (std::size_t e = 0; e < counts.size(); ++e) {
    view.template get<stats::Counts>()[Index(e)] = counts[e];
    view.tokens() += counts[e];
  }
  balancer.begin_step(1);
  balancer.observe(0, load);
  balancer.end_step(rate_scale);
}
std::vector<float> values(VectorView<float const> bias) { return {bias.begin(), bias.end()}; }

} // namespace

BOOST_AUTO_TEST_SUITE(balance_loss_free_bias)

BOOST_AUTO_TEST_CASE(the_worked_example) {
  for (auto const centring : {Centring::None, Centring::Mean}) { // these steps have a mean of zero already
    auto balancer = balancer_of(LossFreeBias{.rate = 1e-3f, .centring = centring}, 4);
    step(balancer, {7, 1, 4, 4});
    BOOST_TEST(values(balancer.bias()) == (std::vector<float>{-1e-3f, 1e-3f, 0, 0}), boost::test_tools::per_element());
  }
}

BOOST_AUTO_TEST_CASE(centred_steps_sum_to_zero) {
  auto balancer = balancer_of(LossFreeBias{.rate = 1e-3f, .centring = Centring::Mean}, 4);
  step(balancer, {10, 2, 2, 2});
  BOOST_TEST(values(balancer.bias()) == (std::vector<float>{-1.5e-3f, 5e-4f, 5e-4f, 5e-4f}),
             boost::test_tools::tolerance(1e-6f) << boost::test_tools::per_element());
  auto plain = balancer_of(LossFreeBias{.rate = 1e-3f}, 4);
  step(plain, {10, 2, 2, 2});
  BOOST_TEST(values(plain.bias()) == (std::vector<float>{-1e-3f, 1e-3f, 1e-3f, 1e-3f}),
             boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(the_sign_is_taken_of_integers) {
  // The mean 2^53 + 1/3 and its neighbours are one number in double.
  std::int64_t const big = std::int64_t(1) << 53;
  LossFreeBias const rule{.rate = 1};
  Load<LossFreeBias::needs> load(1, 3);
  auto const view = load.view();
  view.get<stats::Counts>()[0] = big + 1;
  view.get<stats::Counts>()[1] = view.get<stats::Counts>()[2] = big;
  Window<LossFreeBias::needs, LossFreeBias::pooled> const window(1, view, view, 0, 0, 1);
  BOOST_TEST(rule.step(window, 0) == -1.0f);
  BOOST_TEST(rule.step(window, 1) == 1.0f);
  BOOST_TEST(rule.step(window, 2) == 1.0f);
}

BOOST_AUTO_TEST_CASE(a_schedule_scales_the_step) {
  auto balancer = balancer_of(LossFreeBias{.rate = 0.5f}, 2);
  step(balancer, {3, 1}, 0.25f);
  BOOST_TEST(balancer.bias()[0] == -0.125f);
  step(balancer, {3, 1}, 0);
  BOOST_TEST(balancer.bias()[0] == -0.125f);
  BOOST_TEST(balancer.steps() == 2);
}

BOOST_AUTO_TEST_CASE(nothing_counted_moves_nothing) {
  for (Index const experts : {1, 3, 160}) {
    auto balancer = balancer_of(LossFreeBias{.centring = Centring::Mean}, experts);
    step(balancer, std::vector<std::int64_t>(std::size_t(experts)));
    for (float const b : balancer.bias()) BOOST_TEST(b == 0.0f);
  }
}

BOOST_AUTO_TEST_CASE(two_rules_add) {
  auto balancer = balancer_of(Rules{LossFreeBias{.rate = 0.25f}, LossFreeBias{.rate = 0.5f}}, 2);
  step(balancer, {0, 4});
  BOOST_TEST(values(balancer.bias()) == (std::vector<float>{0.75f, -0.75f}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_published_bias_is_a_start) {
  auto balancer = balancer_of(LossFreeBias{.rate = 1}, 2);
  balancer.set_bias(std::vector<float>{3, 4});
  step(balancer, {1, 0});
  BOOST_TEST(values(balancer.bias()) == (std::vector<float>{2, 5}), boost::test_tools::per_element());
  BOOST_CHECK_THROW(balancer.set_bias(std::vector<float>{1}), ShapeError);
}

BOOST_AUTO_TEST_CASE(centring_a_bias) {
  std::array<float, 4> bias{6.5f, 7, 7.5f, 7};
  centre_bias(bias);
  BOOST_TEST(bias == (std::array<float, 4>{-0.5f, 0, 0.5f, 0}), boost::test_tools::per_element());
  centre_bias(VectorView<float>{});
}

BOOST_AUTO_TEST_SUITE_END()
