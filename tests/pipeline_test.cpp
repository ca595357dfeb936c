// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include <moebal/moebal.hpp>

#include <cmath>
#include <cstring>
#include <random>
#include <sstream>

using namespace moebal;

namespace {

template <class Real> using Matrix = Eigen::Matrix<Real, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

template <class Real = float> Matrix<Real> random_matrix(Index rows, Index cols, unsigned seed) {
  std::mt19937_64 engine(seed);
  std::normal_distribution<double> normal;
  Matrix<Real> m(rows, cols);
  for (Index i = 0; i < m.size(); ++i) m.data()[i] = Real(normal(engine));
  return m;
}
template <class Real> MatrixView<Real const> view(Matrix<Real> const& m) { return m; }

auto loss_free(Index experts) {
  return Pipeline{Router{TopK<2>{}, Sigmoid{}},
                  Balancer{GlobalBatch<>{}, LossFreeBias{.rate = 0.25f}, BalancerShape{.experts = experts, .top_k = 2}}};
}

} // namespace

BOOST_AUTO_TEST_SUITE(pipeline)

BOOST_AUTO_TEST_CASE(a_step_moves_the_bias_against_the_load_and_the_next_step_routes_with_it) {
  auto layer = loss_free(4);
  Matrix<float> logits(2, 4);
  logits << 3, 2, 0, 1, 3, 2, 1, 0;
  layer.begin_step(1);
  auto const first = layer.forward(EigenExec{}, 0, logits);
  BOOST_TEST(first.expert_ids()(0, 0) == 0);
  layer.end_step();
  BOOST_TEST(layer.balancer().bias()[0] == -0.25f);
  BOOST_TEST(layer.balancer().bias()[2] == 0.25f);
  // sigmoid: 0.95 - 0.25, 0.88 - 0.25, 0.5 + 0.25, 0.73 + 0.25
  auto const second = layer.evaluate(EigenExec{}, logits);
  BOOST_TEST(second.expert_ids()(0, 0) == 3);
  BOOST_TEST(second.expert_ids()(0, 1) == 2);
}

BOOST_AUTO_TEST_CASE(evaluation_moves_nothing_inside_and_outside_a_step) {
  auto const logits = random_matrix(33, 5, 1);
  auto plain = loss_free(5), disturbed = loss_free(5);
  for (auto* layer : {&plain, &disturbed}) {
    layer->begin_step(2);
    for (Index g = 0; g < 2; ++g) {
      layer->forward(EigenExec{}, g, logits);
      if (layer == &disturbed) layer->evaluate(EigenExec{}, random_matrix(7, 5, 9));
    }
    layer->end_step();
    if (layer == &disturbed) layer->evaluate(EigenExec{}, logits);
  }
  for (Index e = 0; e < 5; ++e) BOOST_TEST(plain.balancer().bias()[e] == disturbed.balancer().bias()[e]);
}

BOOST_AUTO_TEST_CASE(a_recomputed_forward_gives_the_same_bits_and_counts_once) {
  auto const logits = random_matrix(33, 5, 2);
  auto once = loss_free(5), twice = loss_free(5);
  once.begin_step(1);
  twice.begin_step(1);
  auto const a = once.forward(EigenExec{}, 0, logits);
  twice.forward(EigenExec{}, 0, logits);
  auto const b = twice.forward(EigenExec{}, 0, logits);
  BOOST_TEST(std::memcmp(a.weights().data(), b.weights().data(), sizeof(float) * 66) == 0);
  once.end_step();
  twice.end_step();
  for (Index e = 0; e < 5; ++e) BOOST_TEST(once.balancer().bias()[e] == twice.balancer().bias()[e]);
}

BOOST_AUTO_TEST_CASE(a_different_forward_under_the_same_number_is_refused) {
  auto layer = loss_free(5);
  layer.begin_step(1);
  layer.forward(EigenExec{}, 0, random_matrix(33, 5, 3));
  BOOST_CHECK_THROW(layer.forward(EigenExec{}, 0, random_matrix(33, 5, 4)), StateError);
}

BOOST_AUTO_TEST_CASE(a_bias_beside_the_balancers_is_refused) {
  auto layer = loss_free(5);
  std::vector<float> const bias(5);
  BOOST_CHECK_THROW(layer.evaluate(EigenExec{}, random_matrix(3, 5, 1), {.bias = bias}), StateError);
}

BOOST_AUTO_TEST_CASE(wrong_sizes_are_refused_and_change_nothing) {
  auto layer = loss_free(5);
  layer.begin_step(1);
  BOOST_CHECK_EXCEPTION(layer.forward(EigenExec{}, 0, random_matrix(3, 6, 1)), ShapeError, [](ShapeError const& error) {
    return std::string(error.what()).find("needed 5, had 6") != std::string::npos;
  });
  layer.forward(EigenExec{}, 0, random_matrix(3, 5, 1)); // still micro-batch 0
  layer.end_step();
  using Narrow = Balancer<MicroBatch<>, SwitchLoss<>>;
  BOOST_CHECK_THROW((Pipeline{Router{TopK<2>{}, Softmax{}}, Narrow{MicroBatch<>{}, SwitchLoss<>{}, {.experts = 5, .top_k = 3}}}),
                    ShapeError);
}

// The whole chain in double: logits -> weights and losses -> d logits, against central differences of the value that the
// balancer reports with the counts held still (they are constants to the gradient).
BOOST_AUTO_TEST_CASE(the_gradient_is_that_of_the_weights_and_of_all_losses) {
  Index const tokens = 7, experts = 5;
  auto const rules = Rules{SwitchLoss<>{.coefficient = 0.3}, ZLoss{.coefficient = 0.05}};
  auto layer = [&] {
    return Pipeline{Router{TopK<2>{}, Softmax{.normalise = Normalise::OverChosen}},
                    Balancer{Sequence<>{}, rules, BalancerShape{.experts = experts, .top_k = 2}, Communicator<Self>{},
                             std::type_identity<double>{}}};
  };
  auto const logits = random_matrix<double>(tokens, experts, 5);
  auto const cotangent = random_matrix<double>(tokens, 2, 6);
  std::vector<Index> const segments{0, 3, 3, 7};
  std::vector<std::uint8_t> const padding{0, 0, 0, 0, 1, 0, 0};
  RowOptions<> const options{.padding = padding, .segments = segments};
  auto const value = [&](Matrix<double> const& z) {
    auto l = layer();
    l.begin_step(1);
    auto const r = l.forward(EigenExec{}, 0, z, options);
    double sum = l.balancer().terms(0).loss;
    for (Index t = 0; t < tokens; ++t)
      for (Index k = 0; k < 2; ++k) sum += cotangent(t, k) * r.weights()(t, k);
    return sum;
  };
  auto l = layer();
  l.begin_step(1);
  auto const routing = l.forward(EigenExec{}, 0, logits, options);
  Matrix<double> d(tokens, experts);
  double const loss = l.backward_into(EigenExec{}, 0, logits, options, routing.expert_ids(), view(cotangent), d);
  BOOST_TEST(loss > 0);
  double const h = 1e-4; // sums of scores are kept in units of 2^-42
  for (Index i = 0; i < logits.size(); ++i) {
    auto plus = logits, minus = logits;
    plus.data()[i] += h;
    minus.data()[i] -= h;
    double const numeric = (value(plus) - value(minus)) / (2 * h);
    BOOST_TEST(std::abs(d.data()[i] - numeric) < 2e-7);
  }
}

BOOST_AUTO_TEST_CASE(a_pipeline_without_a_bias_rule_takes_a_frozen_bias) {
  Pipeline layer{Router{TopK<1>{}, Sigmoid{}}, Balancer{MicroBatch<>{}, SwitchLoss<>{}, BalancerShape{.experts = 3, .top_k = 1}}};
  std::vector<float> const bias{0, 0, 5};
  BOOST_TEST(layer.evaluate(EigenExec{}, random_matrix(1, 3, 1), {.bias = bias}).expert_ids()(0, 0) == 2);
}

BOOST_AUTO_TEST_CASE(no_tokens_at_all) {
  auto layer = loss_free(5);
  layer.begin_step(1);
  auto const routing = layer.forward(EigenExec{}, 0, Matrix<float>(0, 5));
  BOOST_TEST(routing.tokens() == 0);
  layer.end_step();
  for (float const b : layer.balancer().bias()) BOOST_TEST(b == 0);
}

BOOST_AUTO_TEST_SUITE_END()
