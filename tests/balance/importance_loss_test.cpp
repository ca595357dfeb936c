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

// V-MoE 942a78bc, vmoe.router_losses.T16E8K2.rand, importance_loss in double.
BOOST_AUTO_TEST_CASE(as_v_moe) {
  std::vector<double> const logits{
      -0.844988167,  0.824194551,   -1.04865408,   -1.30221725,    0.78435421,    0.337691098,  -1.32135201,
      -1.99347091,   -0.564625621,  0.91603905,    0.88722688,     -0.513325214,  -0.708558679, -1.08258009,
      1.70261431,    -1.43949282,   0.88568759,    -0.0361600518,  -0.35284996,   0.540264666,  -1.34085703,
      -0.645939052,  -0.442611128,  0.00318442355, 0.398304611,    -1.43413985,   0.378732175,  1.27703273,
      0.618629158,   -0.0239780005, -1.20656514,   -0.598661125,   1.1784395,     -1.02370834,  0.875311375,
      -0.685296893,  0.977175951,   -0.245697334,  0.513520896,    0.226870507,   0.134140432,  0.241258204,
      -0.460771441,  -0.940595686,  1.91787016,    0.112643391,    2.09890056,    -0.865273237, 2.48820043,
      -2.09217811,   -0.911216676,  0.587285876,   -0.839931428,   1.58651495,    -1.0631901,   -0.00942176022,
      -0.0435256027, 0.0823812112,  0.357400656,   0.319690764,    0.373333037,   0.466355175,  0.218202248,
      -0.629925311,  -1.2953552,    -0.66799283,   1.82921624,     -0.606631041,  -0.796688914, -1.5825634,
      0.707375407,   0.254352838,   1.29455864,    -0.0475182049,  1.03798079,    0.761338949,  1.44213903,
      1.12434959,    -1.30172968,   -0.895010114,  0.373736173,    -0.0413632579, -1.84731245,  0.0552662499,
      0.655952632,   2.56728768,    0.354858279,   -0.96165216,    -0.501957059,  -0.661480308, 0.779563606,
      -0.0223693717, 0.970802963,   0.82239747,    0.651330173,    0.782745302,   -0.801901579, -0.824768722,
      -2.1190908,    0.0746290833,  -0.8655532,    -0.255101264,   0.0429907478,  1.62991118,   1.17981863,
      -0.267035425,  0.448988467,   0.619463503,   -0.00603727298, -1.39248502,   -1.27186549,  -1.21538341,
      -0.107093371,  0.179606631,   -0.157279029,  -0.441337049,   0.0627646446,  0.567978323,  0.255771339,
      0.252794236,   -0.690486729,  0.749690294,   0.51921618,     -0.997589707,  -1.56271696,  0.520976126,
      0.169618979,   0.339563608};
  Pipeline layer{Router{TopK<2>{}, Softmax{}},
                 Balancer{MicroBatch<>{}, ImportanceLoss{.coefficient = 1}, BalancerShape{.experts = 8, .top_k = 2},
                          Communicator<Self>{}, std::type_identity<double>{}}};
  layer.begin_step(1);
  layer.forward(EigenExec{}, 0, moebal_test::matrix(logits, 16, 8));
  BOOST_TEST(layer.balancer().terms(0).loss == 0.0271252199889, tt::tolerance(1e-8));
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

// Shazeer 1701.06538 eq. 3 and 6: the kept logits ln 3 and 0 give 3/4 and 1/4, so that I = (3/4, 5/4, 0) over two
// tokens.
BOOST_AUTO_TEST_CASE(kept_importance_by_hand) {
  double const l = std::log(3.0);
  std::vector<double> const logits{l, 0, -5, 0.5, 0.5 + 40, 0.5}; // token 1: all of it to expert 1, as good as
  Pipeline layer{Router{TopK<2>{}, SoftmaxOverChosen{}},
                 Balancer{MicroBatch<>{}, KeptImportanceLoss{.coefficient = 0.1},
                          BalancerShape{.experts = 3, .top_k = 2}, Communicator<Self>{}, std::type_identity<double>{}}};
  layer.begin_step(1);
  layer.forward(EigenExec{}, 0, moebal_test::matrix(logits, 2, 3));
  double const variance = (1.0 / 12 * 1.0 / 12 + 7.0 / 12 * 7.0 / 12 + 4.0 / 9) / 3; // mean 2 / 3
  BOOST_TEST(layer.balancer().terms(0).loss == 0.1 * variance / (4.0 / 9), tt::tolerance(1e-10));
  BOOST_TEST(std::string(KeptImportanceLoss::name) == "kept_importance");
}

namespace {
/// The balancing loss of kept weights plus a loss of the model that is `pull` times the weights; its gradient too.
template <class Scope, class Gate>
double kept_loss(Scope scope, Gate gate, std::vector<double> const& logits, std::vector<double> const& pull,
                 std::vector<double>* gradient) {
  Index const tokens = 8, experts = 5, first_end = 5;
  std::vector<Index> const segments{0, first_end, tokens};
  Pipeline layer{
      Router{TopK<2>{}, gate},
      Balancer{scope, Rules{KeptImportanceLoss{.coefficient = 1}, scaled(KeptImportanceLoss{}, 2), ImportanceLoss{}},
               BalancerShape{.experts = experts, .top_k = 2}, Communicator<Self>{}, std::type_identity<double>{}}};
  auto const x = moebal_test::matrix(logits, tokens, experts);
  layer.begin_step(1);
  auto const routing = layer.forward(EigenExec{}, 0, x, {.segments = segments});
  MatrixView<double const> const d_weights(pull.data(), pull.empty() ? 0 : tokens, pull.empty() ? 0 : 2);
  std::vector<double> d(logits.size());
  double loss = layer.backward_into(EigenExec{}, 0, x, {.segments = segments}, routing.expert_ids(), d_weights,
                                    MatrixView<double>(d.data(), tokens, experts));
  for (std::size_t i = 0; i < pull.size(); ++i) loss += pull[i] * routing.weights()(Index(i / 2), Index(i % 2));
  if (gradient) *gradient = d;
  return loss;
}
} // namespace

BOOST_AUTO_TEST_CASE(kept_importance_gradient_by_logits) {
  auto logits = moebal_test::logits_of<double>(moebal_test::Kind::Bell, 8, 5);
  std::vector<double> pull(16);
  for (std::size_t i = 0; i < pull.size(); ++i) pull[i] = 0.1 * double(i % 5) - 0.2;
  auto const check = [&](auto scope, auto gate, std::vector<double> const& model) {
    std::vector<double> gradient;
    kept_loss(scope, gate, logits, model, &gradient);
    double largest = 0;
    for (std::size_t i = 0; i < logits.size(); ++i) {
      double const z = logits[i], h = 1e-4;
      logits[i] = z + h;
      double const up = kept_loss(scope, gate, logits, model, nullptr);
      logits[i] = z - h;
      double const down = kept_loss(scope, gate, logits, model, nullptr);
      logits[i] = z;
      BOOST_TEST(std::abs((up - down) / (2 * h) - gradient[i]) < 1e-7);
      largest = std::max(largest, std::abs(gradient[i]));
    }
    BOOST_TEST(largest > 1e-2);
  };
  check(MicroBatch<>{}, SoftmaxOverChosen{}, {});
  check(MicroBatch<>{}, SoftmaxOverChosen{}, pull);
  check(Sequence<>{}, SoftmaxOverChosen{}, pull);
  check(MicroBatch<>{}, Softmax{}, pull); // the weights of other gates as well
}

BOOST_AUTO_TEST_CASE(several_balancers_add_their_slopes_of_weights) {
  auto const logits = moebal_test::logits_of<float>(moebal_test::Kind::Bell, 7, 5);
  BalancerShape const shape{.experts = 5, .top_k = 2};
  auto const slopes = [&](auto balancer) {
    Pipeline layer{Router{TopK<2>{}, SoftmaxOverChosen{}}, balancer};
    layer.begin_step(1);
    layer.forward(EigenExec{}, 0, moebal_test::matrix(logits, 7, 5));
    auto const terms = layer.balancer().terms(0);
    BOOST_TEST(terms.weight_slopes.rows() == 1);
    return std::vector<double>(terms.weight_slopes.data(), terms.weight_slopes.data() + 5);
  };
  auto const one = slopes(Balancer{MicroBatch<>{}, KeptImportanceLoss{}, shape});
  auto const two = slopes(Balancers{Balancer{MicroBatch<>{}, KeptImportanceLoss{}, shape},
                                    Balancer{GlobalBatch<>{}, Rules{SwitchLoss<>{}, KeptImportanceLoss{}}, shape}});
  for (std::size_t e = 0; e < 5; ++e) BOOST_TEST(two[e] == 2 * one[e], tt::tolerance(1e-12));
}

BOOST_AUTO_TEST_CASE(slopes_of_weights_that_do_not_fit_are_refused) {
  std::vector<float> const logits(6), slopes(4);
  std::vector<ExpertId> const ids{0, 1};
  std::vector<float> d(6);
  BOOST_CHECK_THROW(
      (Router{TopK<1>{}, Softmax{}}.backward_into(
          EigenExec{}, moebal_test::matrix(logits, 2, 3), {}, MatrixView<ExpertId const>(ids.data(), 2, 1),
          RouterGradient<float>{.weight_slopes = MatrixView<float const>(slopes.data(), 1, 4)},
          MatrixView<float>(d.data(), 2, 3), WorkspaceView<>{})),
      ShapeError);
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
