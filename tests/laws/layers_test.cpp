// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The layers of a model over ranks: what their balancers send, and that packing it into one message changes no bit.
#include "support/test.hpp"

#include <moebal/balance/quantile_histogram.hpp>
#include <moebal/comm/packed.hpp>
#include <moebal/comm/recording.hpp>
#include <moebal/moebal.hpp>

#include <random>

using namespace moebal;

namespace {

constexpr Index experts = 7, layers = 3, micro_batches = 2, top_k = 2;
constexpr Index header = stats::None::header;
using Counted = Recording<Threads>;

/// What a rank handed to collectives in each step, and what it computed.
struct Seen {
  std::vector<std::vector<CommCall>> calls;
  std::vector<double> losses;
  std::vector<float> bias; // of all layers after each step
};

/// Two steps of this rank with its own tokens; the backward goes through the layers in reverse.
template <class Scope, class Rule, class Backend>
Seen train(Scope scope, Rule rule, Communicator<Backend> comm, CommRecord& record) {
  using Layer = Pipeline<Router<TopK<top_k>, Sigmoid>, Balancer<Scope, Rule, Communicator<Backend>>>;
  std::vector<Layer> model;
  for (Index l = 0; l < layers; ++l)
    model.emplace_back(Router{TopK<top_k>{}, Sigmoid{}},
                       Balancer{scope, rule, BalancerShape{.experts = experts, .top_k = top_k}, comm});
  std::mt19937 engine(std::uint32_t(comm.rank()));
  std::normal_distribution<float> normal;
  Seen seen;
  for (int step = 0; step < 2; ++step) {
    record.reset();
    std::vector<std::vector<float>> logits;
    std::vector<Routing<float>> routed;
    Index const tokens = 5 + 8 * comm.rank() - step * 5; // of rank 0 in step 1: none
    auto const view = [&](std::size_t i) { return MatrixView<float const>(logits[i].data(), tokens, experts); };
    auto const forward = [&](Index g) {
      for (Layer& layer : model) {
        logits.emplace_back(std::size_t(tokens * experts));
        for (float& x : logits.back()) x = normal(engine);
        routed.push_back(layer.forward(EigenExec{}, g, view(logits.size() - 1)));
      }
    };
    auto const backward = [&](Index g) {
      for (Index l = layers; l-- > 0;) {
        auto const i = std::size_t(g * layers + l);
        std::vector<float> d(logits[i].size());
        seen.losses.push_back(model[std::size_t(l)].backward_into(EigenExec{}, g, view(i), {}, routed[i].expert_ids(),
                                                                  MatrixView<float const>{},
                                                                  MatrixView<float>(d.data(), tokens, experts)));
      }
    };
    constexpr bool late = Scope::accumulate == Accumulate::TwoPass;
    for (Layer& layer : model) layer.begin_step(micro_batches);
    for (Index g = 0; g < micro_batches; ++g) {
      forward(g);
      if (!late) backward(g);
    }
    for (Index g = 0; late && g < micro_batches; ++g) backward(g);
    for (Layer& layer : model) {
      layer.end_step();
      seen.bias.insert(seen.bias.end(), layer.balancer().bias().begin(), layer.balancer().bias().end());
    }
    seen.calls.emplace_back(record.log().begin(), record.log().end());
  }
  return seen;
}

/// With all layers in one message: `messages` of them a step, each of `values` integers a layer; without: one a layer.
template <class Scope, class Rule> void check(Scope scope, Rule rule, Index messages, Index values) {
  for (Index const ranks : {1, 3}) {
    std::vector<Seen> packed(static_cast<std::size_t>(ranks)), alone = packed;
    run_ranks(ranks, [&](Communicator<Threads> const& comm) {
      auto const r = std::size_t(comm.rank());
      Counted const counted(comm.backend());
      packed[r] = train(scope, rule, Communicator(Packed(counted, layers)), counted.record());
      alone[r] = train(scope, rule, Communicator(counted), counted.record());
    });
    auto const sums = [](Index n, Index size) {
      return std::vector<CommCall>(std::size_t(n), {CommVerb::all_reduce_sum, size, Index(sizeof(std::int64_t))});
    };
    for (std::size_t r = 0; r < packed.size(); ++r) {
      for (auto const& step : packed[r].calls) BOOST_TEST((step == sums(messages, layers * values)));
      for (auto const& step : alone[r].calls) BOOST_TEST((step == sums(messages * layers, values)));
      BOOST_TEST(packed[r].losses == alone[r].losses, boost::test_tools::per_element());
      BOOST_TEST(packed[r].bias == alone[r].bias, boost::test_tools::per_element());
      BOOST_TEST(packed[r].bias == packed[0].bias, boost::test_tools::per_element());
    }
  }
}

} // namespace

BOOST_AUTO_TEST_SUITE(laws_layers)

BOOST_AUTO_TEST_CASE(a_step_of_loss_free_bias_is_one_message) {
  check(GlobalBatch<>{}, LossFreeBias{}, 1, experts + header);
  check(MicroBatch<>{}, LossFreeBias{}, 1, experts + header); // rank 0's
}
BOOST_AUTO_TEST_CASE(a_step_of_quantile_histograms_is_one_message) {
  check(GlobalBatch<>{}, QuantileHistogram<50>{}, 1, 50 * experts + header);
}
BOOST_AUTO_TEST_CASE(the_buffered_global_loss_is_a_message_a_micro_batch_and_in_two_passes_one) {
  check(GlobalBatch<Accumulate::Running>{}, SwitchLoss<>{}, micro_batches, experts + header);
  check(GlobalBatch<Accumulate::TwoPass>{}, SwitchLoss<>{}, 1, experts + header);
  check(GlobalBatch<Accumulate::TwoPass>{}, Rules{SwitchLoss<>{}, LossFreeBias{}}, 1, experts + header);
}
BOOST_AUTO_TEST_CASE(a_micro_batch_loss_sends_nothing) { check(MicroBatch<>{}, SwitchLoss<>{}, 0, 0); }

BOOST_AUTO_TEST_SUITE_END()
