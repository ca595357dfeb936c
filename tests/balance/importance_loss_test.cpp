// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "balance/windows.hpp"
#include "support/inputs.hpp"

#include <moebal/balance/importance_loss.hpp>
#include <moebal/moebal.hpp>

using namespace moebal;
using namespace windows;
namespace tt = boost::test_tools;

BOOST_AUTO_TEST_SUITE(balance_importance_loss)

BOOST_AUTO_TEST_CASE(the_square_of_the_coefficient_of_variation) {
  std::vector<double> const sums{4, 1, 1, 2};
  OneWindow<ImportanceLoss> window(4, 1, 8);
  window.set_scores(sums);
  BOOST_TEST(ImportanceLoss{.coefficient = 1}.value(window.view()) == 1.5 / 4, tt::tolerance(1e-10));
  BOOST_TEST((ImportanceLoss{.coefficient = 1, .variance = Variance::Sample}.value(window.view())) == 2 / 4.0,
             tt::tolerance(1e-10));
  BOOST_TEST((ImportanceLoss{.coefficient = 1, .epsilon = 2}.value(window.view())) == 1.5 / 6, tt::tolerance(1e-10));
  for (auto const variance : {Variance::Population, Variance::Sample})
    for (double const epsilon : {0.0, 1e-10, 0.5})
      BOOST_TEST(slope_error(ImportanceLoss{.coefficient = 1, .variance = variance, .epsilon = epsilon}, window, sums) <
                 1e-6);
}

// V-MoE 942a78bc, vmoe.router_losses.T10E8K1.collapse and .allequal: expert 1 takes all of the scores, or none stands
// out.
BOOST_AUTO_TEST_CASE(as_v_moe_at_the_ends) {
  OneWindow<ImportanceLoss> collapsed(8, 1, 10);
  collapsed.set_scores({0, 10, 0, 0, 0, 0, 0, 0});
  BOOST_TEST(ImportanceLoss{.coefficient = 1}.value(collapsed.view()) == 7.0, tt::tolerance(1e-7));
  OneWindow<ImportanceLoss> equal(8, 2, 8);
  equal.set_scores(std::vector<double>(8, 1.0));
  BOOST_TEST(ImportanceLoss{.coefficient = 1}.value(equal.view()) == 0.0);
}

// The chain through a softmax: d loss / d logits of the pipeline against central differences of its loss.
BOOST_AUTO_TEST_CASE(gradient_by_logits) {
  Index const tokens = 7, experts = 5;
  auto logits = moebal_test::logits_of<double>(moebal_test::Kind::Bell, tokens, experts);
  auto const run = [&](std::vector<double>* d) {
    Pipeline layer{Router{TopK<2>{}, Softmax{}}, Balancer{MicroBatch<>{}, ImportanceLoss{.coefficient = 1},
                                                          BalancerShape{.experts = experts, .top_k = 2},
                                                          Communicator<Self>{}, std::type_identity<double>{}}};
    layer.begin_step(1);
    auto const routing = layer.forward(EigenExec{}, 0, moebal_test::matrix(logits, tokens, experts));
    std::vector<double> gradient(logits.size());
    double const loss =
        layer.backward_into(EigenExec{}, 0, moebal_test::matrix(logits, tokens, experts), {}, routing.expert_ids(),
                            MatrixView<double const>{}, MatrixView<double>(gradient.data(), tokens, experts));
    if (d) *d = gradient;
    return loss;
  };
  std::vector<double> gradient;
  run(&gradient);
  for (std::size_t i = 0; i < logits.size(); ++i) {
    double const z = logits[i], h = 1e-4;
    logits[i] = z + h;
    double const up = run(nullptr);
    logits[i] = z - h;
    double const down = run(nullptr);
    logits[i] = z;
    BOOST_TEST(std::abs((up - down) / (2 * h) - gradient[i]) < 1e-7);
  }
}

BOOST_AUTO_TEST_CASE(cuts_change_nothing_but_rounding) {
  // Two micro-batches summed in a two-pass window are the whole.
  auto const loss = [](Index parts) {
    Balancer balancer{GlobalBatch<Accumulate::TwoPass>{}, ImportanceLoss{}, BalancerShape{.experts = 3, .top_k = 1}};
    balancer.begin_step(parts);
    Load<ImportanceLoss::needs> load(1, 3);
    for (Index g = 0; g < parts; ++g) {
      load.view().tokens() = 4 / parts;
      for (Index e = 0; e < 3; ++e)
        load.view().get<stats::ScoreSums>()[e] = (Index(1) << 32) * (e == 0 ? 2 : 1) / parts;
      balancer.observe(g, load);
    }
    double sum = 0;
    for (Index g = 0; g < parts; ++g) sum += balancer.terms(g).loss;
    return sum;
  };
  BOOST_TEST(loss(1) > 0.0);
  BOOST_TEST(loss(1) == loss(2), tt::tolerance(1e-12));
}

BOOST_AUTO_TEST_CASE(nothing_and_one_expert) {
  OneWindow<ImportanceLoss> none(4, 1, 0), one(1, 1, 3);
  one.set_scores({3});
  BOOST_TEST(ImportanceLoss{}.value(none.view()) == 0.0);
  BOOST_TEST(ImportanceLoss{}.slope(none.view(), 0) == 0.0);
  for (auto const variance : {Variance::Population, Variance::Sample}) {
    BOOST_TEST(ImportanceLoss{.variance = variance}.value(one.view()) == 0.0);
    BOOST_TEST(ImportanceLoss{.variance = variance}.slope(one.view(), 0) == 0.0);
  }
}

BOOST_AUTO_TEST_SUITE_END()
