// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "balance/windows.hpp"
#include "support/inputs.hpp"

#include <moebal/balance/shared_sparsity.hpp>
#include <moebal/moebal.hpp>

using namespace moebal;
using namespace moebal_test;
namespace tt = boost::test_tools;

namespace {
Load<LoadWeightedL1::needs> load_of(std::int64_t tokens, std::vector<std::int64_t> const& counts) {
  Load<LoadWeightedL1::needs> load(1, Index(counts.size()));
  load.view().tokens() = tokens;
  std::copy(counts.begin(), counts.end(), load.view().get<stats::Counts>().begin());
  return load;
}
} // namespace

BOOST_AUTO_TEST_SUITE(balance_shared_sparsity)

BOOST_AUTO_TEST_CASE(all_layers_decide_together) {
  SharedSparsity lambda({.first = 1, .growth = 2, .active = 2});
  Communicator<Self> const self;
  auto const step = [&](auto const&... loads) {
    (lambda.observe(loads), ...);
    lambda.end_step(self);
    return lambda.value();
  };
  auto const many = load_of(3, {3, 2, 2, 1}), few = load_of(3, {2, 1, 0, 0}), three = load_of(3, {3, 1, 0});
  BOOST_TEST(step(many) == 2.0f);              // 8 > 6
  BOOST_TEST(step(many, few) == 1.0f);         // 11 <= 12: each layer alone would have gone its own way
  BOOST_TEST(step(many, many, three) == 2.0f); // 20 > 18
  BOOST_TEST(step() == 2.0f);                  // nothing seen
  BOOST_TEST(step(load_of(0, {0, 0})) == 2.0f);
}

BOOST_AUTO_TEST_CASE(the_rule_reads_it) {
  SharedSparsity lambda({.first = 0.5f, .growth = 2, .active = 2});
  std::vector<double> const sums{3, 1, 0, 6};
  windows::OneWindow<LoadWeightedL1> window(4, 4, 10);
  window.state = {99};
  window.set<stats::Counts>({10, 4, 0, 6});
  window.set_scores(sums);
  double const term = 4 / (2 * 100.0) * (10 * 3 + 4 * 1 + 6 * 6);
  BOOST_TEST(lambda.rule().value(window.view()) == 0.5 * term, tt::tolerance(1e-10));
  BOOST_TEST(windows::slope_error(lambda.rule(), window, sums) < 1e-8);
  lambda.observe(load_of(1, {1, 1, 1, 1}));
  lambda.end_step(Communicator<Self>{});
  BOOST_TEST(lambda.rule().value(window.view()) == 1.0 * term, tt::tolerance(1e-10));
}

// Two layers of a ReLU router: the loss pushes both, and any cut of the steps leaves the same lambda.
BOOST_AUTO_TEST_CASE(any_cut_of_the_steps_leaves_the_same_lambda) {
  constexpr Index experts = 7, tokens = 61;
  auto const after = [&](Index ranks, Index micro_batches) {
    float value = 0;
    run_ranks(ranks, [&](Communicator<Threads> comm) {
      SharedSparsity lambda({.first = 1e-3f, .active = 3});
      auto const layer = [&] {
        return Pipeline{Router{Threshold<7>{}, RawBalance{ReLU{}}},
                        Balancer{GlobalBatch<>{}, lambda.rule(), BalancerShape{.experts = experts, .top_k = 7}, comm}};
      };
      auto first = layer(), second = layer();
      using Needs = LoadWeightedL1::needs;
      for (std::uint64_t step = 0; step < 5; ++step) {
        Index const parts = ranks * micro_batches;
        for (auto* l : {&first, &second}) l->begin_step(micro_batches);
        for (Index g = 0; g < micro_batches; ++g) {
          Index const at = comm.rank() * micro_batches + g, from = at * tokens / parts, end = (at + 1) * tokens / parts;
          for (auto* l : {&first, &second}) {
            auto const logits = logits_of<float>(Kind::Bell, tokens, experts, step * 2 + (l == &first ? 1 : 2));
            MatrixView<float const> const x(logits.data() + from * experts, end - from, experts);
            l->forward(EigenExec{}, g, x);
            lambda.observe(l->router().template route_with<Needs>(EigenExec{}, x).second);
          }
        }
        for (auto* l : {&first, &second}) l->end_step();
        lambda.end_step(comm);
      }
      if (comm.rank() == 0) value = lambda.value();
    });
    return value;
  };
  float const whole = after(1, 1);
  BOOST_TEST(whole != 1e-3f);
  BOOST_TEST(after(3, 2) == whole);
}

BOOST_AUTO_TEST_CASE(it_is_saved_and_restored) {
  SharedSparsity first({.first = 1, .growth = 2, .active = 2}), second({.first = 7, .growth = 2, .active = 2});
  first.observe(load_of(1, {1, 1, 1, 1}));
  first.end_step(Communicator<Self>{});
  std::istringstream in(windows::saved(first));
  second.restore(in);
  BOOST_TEST(second.value() == 2.0f);
  SharedSparsity other({.active = 3});
  std::istringstream again(windows::saved(first));
  BOOST_CHECK_THROW(other.restore(again), StateError);
  BOOST_CHECK_THROW(SharedSparsity({.active = 0}), ShapeError);
}

BOOST_AUTO_TEST_SUITE_END()
