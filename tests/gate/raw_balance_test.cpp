// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "support/inputs.hpp"

#include <moebal/balance/load_weighted_l1.hpp>
#include <moebal/gate/raw_balance.hpp>
#include <moebal/gate/relu.hpp>
#include <moebal/moebal.hpp>
#include <moebal/select/threshold.hpp>

using namespace moebal;
using namespace moebal_test;
namespace tt = boost::test_tools;

static_assert(gate_policy<RawBalance<ReLU>> && !elementwise_gate<RawBalance<ReLU>>);

BOOST_AUTO_TEST_SUITE(gate_raw_balance)

BOOST_AUTO_TEST_CASE(routing_and_weights_are_those_of_the_gate) {
  auto const x = logits_of<float>(Kind::Bell, 50, 60);
  auto const bias = bias_of(60, 0.2f);
  auto const check = [&](auto gate) {
    auto const plain = Router{TopK<4>{}, gate}.route(EigenExec{}, matrix(x, 50, 60), {.bias = bias});
    auto const raw = Router{TopK<4>{}, RawBalance{gate}}.route(EigenExec{}, matrix(x, 50, 60), {.bias = bias});
    for (Index t = 0; t < 50; ++t)
      for (Index k = 0; k < 4; ++k) {
        BOOST_TEST(raw.expert_ids()(t, k) == plain.expert_ids()(t, k));
        BOOST_TEST(raw.weights()(t, k) == plain.weights()(t, k));
      }
  };
  check(Sigmoid{});
  check(ReLU{});
}

BOOST_AUTO_TEST_CASE(sums_of_scores_as_they_are) {
  std::vector<float> const x{1.5f, -2, 3, 0.25f, 5000, -1};
  auto const load = Router{TopK<1>{}, RawBalance{ReLU{}}}
                        .route_with<stats::List<stats::ScoreSums>>(EigenExec{}, matrix(x, 2, 3))
                        .second;
  std::vector<double> sums;
  for (auto const s : load.get<stats::ScoreSums>()) sums.push_back(double(s) / stats::score_one<float>);
  BOOST_TEST(sums == (std::vector<double>{1.75, 1024, 3}), tt::per_element());
}

namespace {
/// ReMoE: threshold routing by ReLU with its regulariser. The gradient of the loss and of the weights.
double remoe(std::vector<double> const& x, Index tokens, Index experts, std::vector<double>* d) {
  Pipeline layer{Router{Threshold<5>{}, RawBalance{ReLU{}}},
                 Balancer{MicroBatch<>{}, LoadWeightedL1{.first = 0.5f, .active = 2},
                          BalancerShape{.experts = experts, .top_k = 5}, Communicator<Self>{},
                          std::type_identity<double>{}}};
  layer.begin_step(1);
  auto const routing = layer.forward(EigenExec{}, 0, matrix(x, tokens, experts));
  std::vector<double> d_weights(std::size_t(tokens * 5)), d_logits(x.size());
  double loss = 0;
  for (Index t = 0; t < tokens; ++t)
    for (Index k = 0; k < 5; ++k) {
      Index const e = routing.expert_ids()(t, k);
      double const c = e < 0 ? 0 : double(e + 1) * 0.1;
      d_weights[std::size_t(t * 5 + k)] = c;
      loss += c * routing.weights()(t, k);
    }
  loss += layer.backward_into(EigenExec{}, 0, matrix(x, tokens, experts), {}, routing.expert_ids(),
                              MatrixView<double const>(d_weights.data(), tokens, 5),
                              MatrixView<double>(d_logits.data(), tokens, experts));
  if (d) *d = d_logits;
  return loss;
}
} // namespace

BOOST_AUTO_TEST_CASE(the_gradient_of_remoe) {
  Index const tokens = 7, experts = 5;
  auto x = logits_of<double>(Kind::Bell, tokens, experts);
  std::vector<double> d;
  remoe(x, tokens, experts, &d);
  for (std::size_t i = 0; i < x.size(); ++i) {
    double const z = x[i], h = 1e-5;
    if (std::abs(z) < 2 * h) continue;
    x[i] = z + h;
    double const up = remoe(x, tokens, experts, nullptr);
    x[i] = z - h;
    double const down = remoe(x, tokens, experts, nullptr);
    x[i] = z;
    BOOST_TEST(std::abs((up - down) / (2 * h) - d[i]) < 1e-6);
  }
}

BOOST_AUTO_TEST_SUITE_END()
