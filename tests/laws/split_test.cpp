// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Split invariance of the whole chain: the same tokens cut over ranks and micro-batches, routed and balanced by each rank on
// its own part, give the same window and bias to the bit, and the same gradient up to rounding. Here through a Pipeline; each
// rule by itself keeps the law in every_loss_rule_test and every_bias_rule_test.
#include "support/test.hpp"

#include <moebal/balance/importance_loss.hpp>
#include <moebal/moebal.hpp>

#include <cmath>
#include <random>

using namespace moebal;

namespace {

constexpr Index experts = 9, tokens = 61;
using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

Matrix batch() {
  std::mt19937_64 engine(7);
  std::normal_distribution<double> normal;
  Matrix m(tokens, experts);
  for (Index t = 0; t < tokens; ++t)
    for (Index e = 0; e < experts; ++e) m(t, e) = normal(engine) + (e == 2 ? 1.0 : 0.0);
  return m;
}

struct Result {
  std::vector<float> bias;
  Matrix d_logits = Matrix::Zero(tokens, experts);
  double loss = 0;
};

// Rank r's micro-batch g holds tokens [cut(r G + g), cut(r G + g + 1)): uneven parts, some of them empty.
Index cut(Index part, Index parts) { return part >= parts ? tokens : (part * part * tokens) / (parts * parts); }

template <class Scope, class Rule> Result train(Scope scope, Rule rule, Index ranks, Index micro_batches) {
  auto const all = batch();
  std::vector<Result> results(static_cast<std::size_t>(ranks));
  run_ranks(ranks, [&](Communicator<Threads> comm) {
    auto& mine = results[static_cast<std::size_t>(comm.rank())];
    Pipeline layer{Router{TopK<3>{}, Sigmoid{}}, Balancer{scope, rule, BalancerShape{.experts = experts, .top_k = 3}, comm,
                                                          std::type_identity<double>{}}};
    Index const parts = ranks * micro_batches;
    layer.begin_step(micro_batches);
    std::vector<Routing<double>> routings;
    auto const part = [&](Index g) {
      Index const first = cut(comm.rank() * micro_batches + g, parts), last = cut(comm.rank() * micro_batches + g + 1, parts);
      return std::pair{first, MatrixView<double const>(all.data() + first * experts, last - first, experts)};
    };
    for (Index g = 0; g < micro_batches; ++g) routings.push_back(layer.forward(EigenExec{}, g, part(g).second));
    for (Index g = 0; g < micro_batches; ++g) {
      auto const [first, x] = part(g);
      mine.loss += layer.backward_into(EigenExec{}, g, x, {}, routings[static_cast<std::size_t>(g)].expert_ids(),
                                       MatrixView<double const>{},
                                       MatrixView<double>(mine.d_logits.data() + first * experts, x.rows(), experts));
    }
    layer.end_step();
    mine.bias.assign(layer.balancer().bias().begin(), layer.balancer().bias().end());
  });
  Result mean; // what data-parallel training does with the gradients of its ranks
  for (auto const& r : results) {
    mean.d_logits += r.d_logits / double(ranks);
    mean.loss += r.loss / double(ranks);
    BOOST_TEST(r.bias == results[0].bias, boost::test_tools::per_element());
  }
  mean.bias = results[0].bias;
  return mean;
}

template <class Rule> void check(Rule rule) {
  auto const whole = train(GlobalBatch<Accumulate::TwoPass>{}, rule, 1, 1);
  for (Index const ranks : {1, 2, 3, 4})
    for (Index const micro_batches : {1, 2, 5}) {
      auto const cut_up = train(GlobalBatch<Accumulate::TwoPass>{}, rule, ranks, micro_batches);
      BOOST_TEST_CONTEXT("ranks " << ranks << ", micro-batches " << micro_batches) {
        BOOST_TEST(cut_up.bias == whole.bias, boost::test_tools::per_element());
        BOOST_TEST(std::abs(cut_up.loss - whole.loss) <= 1e-12 * (1 + std::abs(whole.loss)));
        double const worst = (cut_up.d_logits - whole.d_logits).cwiseAbs().maxCoeff();
        BOOST_TEST(worst <= 1e-12);
      }
    }
}

} // namespace

BOOST_AUTO_TEST_SUITE(laws_split)

BOOST_AUTO_TEST_CASE(losses_that_are_not_linear_in_the_scores) {
  check(ImportanceLoss{.coefficient = 0.5});
  check(KeptImportanceLoss{.coefficient = 0.5});
}
BOOST_AUTO_TEST_CASE(loss_free_bias) { check(LossFreeBias{.rate = 0.01f, .centring = Centring::Mean}); }
BOOST_AUTO_TEST_CASE(several_rules_together) {
  check(Rules{SwitchLoss<>{.coefficient = 0.5}, LossFreeBias{.rate = 0.01f}, ZLoss{.coefficient = 0.1}});
}

// The law is about something: a micro-batch loss does depend on the cut.
BOOST_AUTO_TEST_CASE(mutant_a_micro_batch_loss_is_not_invariant) {
  auto const whole = train(MicroBatch<>{}, SwitchLoss<>{.coefficient = 0.5}, 1, 1);
  auto const cut_up = train(MicroBatch<>{}, SwitchLoss<>{.coefficient = 0.5}, 2, 2);
  BOOST_TEST((cut_up.d_logits - whole.d_logits).cwiseAbs().maxCoeff() > 1e-5);
}

BOOST_AUTO_TEST_SUITE_END()
