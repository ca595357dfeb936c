// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Sums, slopes and bias that never leave the execution have the bits of Balancer's.
#include "support/executions.hpp"
#include "support/inputs.hpp"
#include "support/test.hpp"

#include <moebal/balance/importance_loss.hpp>
#include <moebal/balance/on_stream.hpp>
#include <moebal/balance/proportional_bias.hpp>
#include <moebal/moebal.hpp>

using namespace moebal;

namespace {

constexpr Index tokens = 37, experts = 60, top_k = 3, micro_batches = 3, steps = 4;
Router const router{TopK<top_k>{}, Sigmoid{}};

std::vector<float> logits_of(int step, Index g) {
  return moebal_test::logits_of<float>(moebal_test::Kind::Bell, tokens, experts, std::uint64_t(step * micro_batches + g));
}

/// The biases after each step, on the stream.
template <class Exec, class Rule> std::vector<float> moved_on(Exec const& exec, Rule rule) {
  using Needs = typename Rule::needs;
  std::vector<float> bias(experts), all;
  std::vector<std::int64_t> load(std::size_t(2 * Needs::slots(experts))), pooled(std::size_t(Needs::slots(experts)));
  Workspace workspace(router.workspace_bytes<Needs>(exec, tokens, experts, 2));
  Routing<> routing(tokens, top_k);
  std::vector<Index> const segments{0, 5, tokens};
  for (int step = 0; step < steps; ++step) {
    exec.fill(VectorView<std::int64_t>(pooled), std::int64_t(0));
    for (Index g = 0; g < micro_batches; ++g) {
      auto const x = logits_of(step, g);
      router.route_into<Needs>(exec, moebal_test::matrix(x, tokens, experts), RowOptions<>{.bias = bias, .segments = segments},
                               routing.view(), LoadView<Needs>(load.data(), 2, experts), WorkspaceView<>(workspace));
      add_to_window(exec, rule, LoadView<Needs>(load.data(), 2, experts), LoadView<Needs>(pooled.data(), 1, experts));
    }
    move_bias_into(exec, rule, {.top_k = top_k}, LoadView<Needs>(pooled.data(), 1, experts), VectorView<float>(bias),
                   step == 2 ? 0.25f : 1.0f);
    all.insert(all.end(), bias.begin(), bias.end());
  }
  return all;
}
template <class Rule> std::vector<float> moved_by_balancer(Rule rule) {
  Pipeline layer{router, Balancer{GlobalBatch<>{}, rule, BalancerShape{experts, top_k}}};
  std::vector<float> all;
  std::vector<Index> const segments{0, 5, tokens};
  for (int step = 0; step < steps; ++step) {
    layer.begin_step(micro_batches);
    for (Index g = 0; g < micro_batches; ++g) {
      auto const x = logits_of(step, g);
      layer.forward(EigenExec{}, g, moebal_test::matrix(x, tokens, experts), {.segments = segments});
    }
    layer.end_step(step == 2 ? 0.25f : 1.0f);
    all.insert(all.end(), layer.balancer().bias().begin(), layer.balancer().bias().end());
  }
  return all;
}
template <class Rule> void same_bias(Rule rule) {
  auto const needed = moved_by_balancer(rule);
  BOOST_TEST(*std::max_element(needed.begin(), needed.end()) > 0);
  BOOST_TEST(moved_on(EigenExec{}, rule) == needed, boost::test_tools::per_element());
  for (auto const& exec : moebal_test::other_executions())
    BOOST_TEST_CONTEXT(exec.name()) BOOST_TEST(moved_on(exec, rule) == needed, boost::test_tools::per_element());
}

/// Slopes of micro-batch 1 of G, over the micro-batch alone or over the whole step.
template <class Exec, class Rule> std::vector<float> slopes_on(Exec const& exec, Rule rule, bool whole_step) {
  using Needs = typename Rule::needs;
  using Pooled = typename Rule::pooled;
  std::vector<std::int64_t> load(std::size_t(Needs::slots(experts))), wanted(load.size()), pooled(std::size_t(Pooled::slots(experts)));
  std::vector<float> slopes(experts);
  Workspace workspace(router.workspace_bytes<Needs>(exec, tokens, experts));
  Routing<> routing(tokens, top_k);
  for (Index g = whole_step ? 0 : 1; g < (whole_step ? micro_batches : 2); ++g) {
    auto const x = logits_of(0, g);
    LoadView<Needs> const here((g == 1 ? wanted : load).data(), 1, experts);
    router.route_into<Needs>(exec, moebal_test::matrix(x, tokens, experts), RowOptions<>{}, routing.view(), here, WorkspaceView<>(workspace));
    add_to_window(exec, rule, here, LoadView<Pooled>(pooled.data(), 1, experts));
  }
  slopes_into(exec, rule, {.top_k = top_k, .micro_batches = whole_step ? 1.0 : double(micro_batches)},
              LoadView<Needs>(wanted.data(), 1, experts), LoadView<Pooled>(pooled.data(), 1, experts),
              MatrixView<float>(slopes.data(), 1, experts));
  return slopes;
}
template <class Scope, class Rule> std::vector<float> slopes_by_balancer(Scope scope, Rule rule) {
  Pipeline layer{router, Balancer{scope, rule, BalancerShape{experts, top_k}}};
  layer.begin_step(micro_batches);
  for (Index g = 0; g < micro_batches; ++g) {
    auto const x = logits_of(0, g);
    layer.forward(EigenExec{}, g, moebal_test::matrix(x, tokens, experts));
  }
  auto const slopes = layer.balancer().terms(1).router_slopes;
  return {slopes.data(), slopes.data() + experts};
}
template <class Scope, class Rule> void same_slopes(Scope scope, Rule rule) {
  bool const whole_step = Scope::accumulate == Accumulate::TwoPass;
  auto const needed = slopes_by_balancer(scope, rule);
  BOOST_TEST(needed[0] != needed[1]);
  BOOST_TEST(slopes_on(EigenExec{}, rule, whole_step) == needed, boost::test_tools::per_element());
  for (auto const& exec : moebal_test::other_executions())
    BOOST_TEST_CONTEXT(exec.name())
      BOOST_TEST(slopes_on(exec, rule, whole_step) == needed, boost::test_tools::per_element());
}

} // namespace

BOOST_AUTO_TEST_SUITE(balance_on_stream)

BOOST_AUTO_TEST_CASE(bias) {
  same_bias(LossFreeBias{.rate = 0.05f});
  same_bias(LossFreeBias{.rate = 0.05f, .centring = Centring::Mean});
  same_bias(ProportionalBias{});
}
BOOST_AUTO_TEST_CASE(slopes) {
  same_slopes(MicroBatch<>{}, SwitchLoss<>{.coefficient = 0.3});
  same_slopes(GlobalBatch<Accumulate::TwoPass>{}, SwitchLoss<>{.coefficient = 0.3});
  same_slopes(GlobalBatch<>{}, ImportanceLoss{.coefficient = 0.3});
}
BOOST_AUTO_TEST_CASE(refusals) {
  std::vector<std::int64_t> row(100);
  std::vector<float> bias(8);
  using Counts = stats::List<stats::Counts>;
  BOOST_CHECK_THROW(move_bias_into(EigenExec{}, LossFreeBias{}, {.top_k = 2}, LoadView<Counts>(row.data(), 1, 9), VectorView<float>(bias)),
                    ShapeError);
  BOOST_CHECK_THROW(add_to_window(EigenExec{}, LossFreeBias{}, LoadView<Counts>(row.data(), 1, 9), LoadView<Counts>(row.data(), 1, 8)),
                    ShapeError);
}

BOOST_AUTO_TEST_SUITE_END()
