// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "balance/windows.hpp"
#include "support/inputs.hpp"

#include <moebal/balance/by_token_class.hpp>
#include <moebal/balance/momentum_tanh_bias.hpp>
#include <moebal/balance/multiplicative_bias.hpp>
#include <moebal/balance/quantile_histogram.hpp>
#include <moebal/balance/schedule.hpp>
#include <moebal/moebal.hpp>

using namespace moebal;
using namespace moebal_test;
namespace tt = boost::test_tools;

namespace {

constexpr Index experts = 9;

/// Tokens of two classes, mixed, with a skew of their own each.
struct Tokens {
  std::vector<float> logits{};
  std::vector<Index> classes{};
  Index size() const { return Index(classes.size()); }
  MatrixView<float const> view() const { return {logits.data(), size(), experts}; }
  void add(float const* row, Index c) {
    logits.insert(logits.end(), row, row + experts);
    classes.push_back(c);
  }
  Tokens part(Index first, Index end) const {
    Tokens some;
    for (Index t = first; t < end; ++t) some.add(logits.data() + t * experts, classes[std::size_t(t)]);
    return some;
  }
  Tokens of_class(Index c) const {
    Tokens some;
    for (Index t = 0; t < size(); ++t)
      if (classes[std::size_t(t)] == c) some.add(logits.data() + t * experts, 0);
    return some;
  }
};
Tokens mixed(Index tokens, std::uint64_t seed) {
  auto const logits = logits_of<float>(Kind::Bell, tokens, experts, seed);
  Tokens all;
  Random random(seed);
  for (Index t = 0; t < tokens; ++t) {
    Index const c = random.one_in(3) ? 1 : 0;
    all.add(logits.data() + t * experts, c);
    for (Index e = 0; e < experts; ++e)
      all.logits[std::size_t(t * experts + e)] += 0.3f * float(c == 0 ? e : experts - e);
  }
  return all;
}

template <class Rule> auto layer_of(Rule rule, Communicator<Threads> comm) {
  auto const shape = BalancerShape{.experts = experts, .top_k = 3};
  return Pipeline{Router{TopK<3>{}, Sigmoid{}}, Balancer{GlobalBatch<>{}, rule, shape, comm}};
}
template <class Layer> void step(Layer& layer, Index micro_batches, Tokens const& tokens) {
  layer.begin_step(micro_batches);
  for (Index g = 0; g < micro_batches; ++g) {
    auto const some = tokens.part(g * tokens.size() / micro_batches, (g + 1) * tokens.size() / micro_batches);
    layer.forward(EigenExec{}, g, some.view(), {.classes = some.classes});
  }
  layer.end_step();
}

/// The biases of three steps: of both classes together on `ranks` ranks, or of one class alone.
template <class Rule> std::vector<float> after_steps(Rule rule, Index ranks, Index micro_batches, Index only = -1) {
  std::vector<float> bias;
  run_ranks(ranks, [&](Communicator<Threads> comm) {
    auto layer = layer_of(rule, comm);
    for (std::uint64_t n = 1; n <= 3; ++n) {
      auto const all = only < 0 ? mixed(101, n) : mixed(101, n).of_class(only);
      Index const r = comm.rank();
      step(layer, micro_batches, all.part(r * all.size() / ranks, (r + 1) * all.size() / ranks));
    }
    if (comm.rank() == 0) bias = windows::values(layer.balancer().bias());
  });
  return bias;
}

template <class Rule> void each_class_is_as_if_alone(Rule rule) {
  auto const both = after_steps(ByTokenClass<2, Rule>{rule}, 1, 1);
  auto expected = after_steps(rule, 1, 1, 0);
  auto const second = after_steps(rule, 1, 1, 1);
  BOOST_TEST((expected != second));
  expected.insert(expected.end(), second.begin(), second.end());
  BOOST_TEST(both == expected, tt::per_element());
  BOOST_TEST(after_steps(ByTokenClass<2, Rule>{rule}, 3, 2) == both, tt::per_element()); // and for any cut
}

} // namespace

BOOST_AUTO_TEST_SUITE(balance_by_token_class)

BOOST_AUTO_TEST_CASE(the_worked_example_for_one_class_of_three) {
  using Rule = ByTokenClass<3, LossFreeBias>;
  auto balancer = windows::balancer_of(Rule{}, 4);
  BOOST_TEST(balancer.bias().size() == 12);
  Load<Rule::needs> load(1, 4);
  auto const sums = load.view().get<Rule::by_class>(); // three rows of a header of two and four counts
  std::vector<std::int64_t> const counts{0, 0, 0, 0, 0, 0, /**/ 16, 0, 7, 1, 4, 4, /**/ 4, 0, 1, 1, 1, 1};
  std::copy(counts.begin(), counts.end(), sums.begin());
  load.view().tokens() = 20;
  balancer.begin_step(1);
  balancer.observe(0, load);
  balancer.end_step();
  std::vector<float> const expected{0, 0, 0, 0, -1e-3f, 1e-3f, 0, 0, 0, 0, 0, 0};
  BOOST_TEST(windows::values(balancer.bias()) == expected, tt::per_element());
}

BOOST_AUTO_TEST_CASE(rules_that_step) {
  each_class_is_as_if_alone(LossFreeBias{.rate = 0.05f});
  each_class_is_as_if_alone(LossFreeBias{.rate = 0.05f, .centring = Centring::Mean});
  each_class_is_as_if_alone(annealed(LossFreeBias{.rate = 0.05f}, OverSteps{}));
}
BOOST_AUTO_TEST_CASE(rules_that_answer_with_a_bias) {
  each_class_is_as_if_alone(QuantileHistogram<64>{}); // reads the bias that its tokens were routed by
  each_class_is_as_if_alone(MultiplicativeBias{.rate = 0.05f});
}
BOOST_AUTO_TEST_CASE(rules_with_a_state) { each_class_is_as_if_alone(MomentumTanhBias{.rate = 0.05f}); }

BOOST_AUTO_TEST_CASE(combinators_hold_it) {
  auto const outside = after_steps(annealed(ByTokenClass<2, LossFreeBias>{{.rate = 0.05f}}, OverSteps{}), 1, 1);
  auto const inside = after_steps(ByTokenClass<2, Annealed<LossFreeBias, OverSteps>>{{{.rate = 0.05f}, {}}}, 1, 1);
  BOOST_TEST(outside == inside, tt::tolerance(1e-6f) << tt::per_element());
  BOOST_TEST(std::string(ByTokenClass<2, LossFreeBias>::name) == "by_token_class(loss_free_bias)");
}

BOOST_AUTO_TEST_CASE(a_token_is_routed_by_the_bias_of_its_class) {
  auto const check = [](auto const& router) {
    for (Index const tokens : {0, 1, 7, 65}) {
      auto const all = mixed(tokens, 5);
      std::vector<float> bias(2 * experts);
      for (std::size_t i = 0; i < bias.size(); ++i) bias[i] = float(i % 5) * 0.2f - 0.3f;
      auto const both = router.route(EigenExec{}, all.view(), {.bias = bias, .classes = all.classes});
      for (Index c = 0; c < 2; ++c) {
        VectorView<float const> const own(bias.data() + c * experts, experts);
        auto const alone = router.route(EigenExec{}, all.view(), {.bias = own});
        for (Index t = 0; t < tokens; ++t) {
          if (all.classes[std::size_t(t)] != c) continue;
          for (Index k = 0; k < alone.top_k(); ++k) {
            BOOST_TEST(both.expert_ids()(t, k) == alone.expert_ids()(t, k));
            BOOST_TEST(both.weights()(t, k) == alone.weights()(t, k));
          }
        }
      }
    }
  };
  check(Router{TopK<3>{}, Sigmoid{}});
  check(Router{GroupLimitedTopK<2>{.groups = 3, .kept = 2}, Sigmoid{}});
  check(Router{Threshold<4>{.threshold = 0.5f}, Sigmoid{}});
  check(Router{NoTokenLeftBehind{.slots = {.per_token = 100}}, Softmax{}}); // batch-wise: there is room for all
}

BOOST_AUTO_TEST_CASE(another_class_is_not_counted) {
  auto const all = mixed(33, 3);
  using Two = stats::ByClass<1, stats::List<stats::Counts>>;
  auto const load = Router{TopK<3>{}, Sigmoid{}}
                        .route_with<stats::List<Two>>(EigenExec{}, all.view(), {.classes = all.classes})
                        .second;
  BOOST_TEST(load.get<Two>()[0] == all.of_class(0).size());
  BOOST_TEST(load.tokens() == 33);
}

BOOST_AUTO_TEST_CASE(what_does_not_fit_is_refused) {
  auto const all = mixed(7, 1);
  std::vector<float> const bias(2 * experts), odd(2 * experts + 1), one(experts);
  std::vector<Index> classes = all.classes, few(6, 0);
  Router const router{TopK<3>{}, Sigmoid{}};
  auto const route = [&](RowOptions<> options) { router.route(EigenExec{}, all.view(), options); };
  route({.bias = bias, .classes = classes});
  BOOST_CHECK_THROW(route({.bias = bias}), ShapeError);
  BOOST_CHECK_THROW(route({.bias = odd, .classes = classes}), ShapeError);
  BOOST_CHECK_THROW(route({.bias = bias, .classes = few}), ShapeError);
  classes[3] = 2;
  BOOST_CHECK_THROW(route({.bias = bias, .classes = classes}), ShapeError);
  classes[3] = -1;
  BOOST_CHECK_THROW(route({.bias = bias, .classes = classes}), ShapeError);
}

BOOST_AUTO_TEST_SUITE_END()
