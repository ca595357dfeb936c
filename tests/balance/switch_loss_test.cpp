// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "balance/synthetic.hpp"
#include "reference/reference.hpp"

#include <moebal/balancer.hpp>

using namespace moebal;

namespace {

// p of four tokens over three experts, K = 1: the worked example of the Switch loss.
double const p[4][3] = {{.7, .2, .1}, {.6, .3, .1}, {.5, .1, .4}, {.2, .5, .3}};

Load<SwitchLoss<>::needs> load_of(Index first, Index count) {
  Load<SwitchLoss<>::needs> load(1, 3);
  auto const view = load.view();
  view.tokens() = count;
  for (Index t = first; t < first + count; ++t) {
    ++view.get<stats::Counts>()[t == 3 ? 1 : 0];
    for (Index e = 0; e < 3; ++e) view.get<stats::ScoreSums>()[e] += std::llround(p[t][e] * stats::score_one<double>);
  }
  return load;
}

template <class Rule, class Scope = MicroBatch<>>
auto balancer_of(Rule rule, Index experts, Index top_k, Scope scope = {}) {
  return Balancer{scope, rule, BalancerShape{.experts = experts, .top_k = top_k}, Communicator<Self>{},
                  std::type_identity<double>{}};
}
template <class Rule, class L> double loss_of(Rule rule, L const& load, Index top_k) {
  auto balancer = balancer_of(rule, load.experts(), top_k);
  balancer.begin_step(1);
  balancer.observe(0, load);
  return balancer.terms(0).loss;
}

/// K choices of every token spread evenly, scores 1 / E.
Load<synthetic::AllStatistics> balanced(Index experts, Index top_k) {
  synthetic::Sequence tokens;
  for (Index t = 0; t < experts; ++t) {
    synthetic::Token token;
    for (Index k = 0; k < top_k; ++k) token.chosen.push_back((t + k) % experts);
    token.unbiased = token.chosen;
    token.scores.assign(std::size_t(experts), std::llround(stats::score_one<double> / double(experts)));
    tokens.push_back(token);
  }
  return synthetic::load_of({tokens}, experts);
}

} // namespace

BOOST_AUTO_TEST_SUITE(balance_switch_loss)

BOOST_AUTO_TEST_CASE(the_worked_example) {
  BOOST_TEST(loss_of(SwitchLoss<>{.coefficient = 1}, load_of(0, 4), 1) == 1.33125, boost::test_tools::tolerance(1e-11));
}

BOOST_AUTO_TEST_CASE(micro_batches_are_judged_one_by_one) {
  auto balancer = balancer_of(SwitchLoss<>{.coefficient = 1}, 3, 1);
  balancer.begin_step(2);
  balancer.observe(0, load_of(0, 2));
  balancer.observe(1, load_of(2, 2));
  BOOST_TEST(balancer.terms(0).loss + balancer.terms(1).loss == 1.4625, boost::test_tools::tolerance(1e-11));
}

BOOST_AUTO_TEST_CASE(balance_costs_the_coefficient) {
  for (Index const experts : {4, 60})
    for (Index const k : {1, 3}) {
      auto const load = balanced(experts, k);
      auto const tolerance = boost::test_tools::tolerance(1e-10);
      BOOST_TEST(loss_of(SwitchLoss<>{.coefficient = 0.5}, load, k) == 0.5, tolerance);
      BOOST_TEST((loss_of(SwitchLoss<Choices::All, CountSource::Unbiased>{.coefficient = 0.5}, load, k)) == 0.5,
                 tolerance);
      BOOST_TEST(loss_of(SwitchLoss<Choices::First>{.coefficient = 0.5}, load, k) == 0.5, tolerance);
      BOOST_TEST(loss_of(SwitchLoss<>{.coefficient = 0.5, .divide_by = DivideBy::Tokens}, load, k) == 0.5 * double(k),
                 tolerance);
      BOOST_TEST(loss_of(SwitchLoss<Choices::First>{.coefficient = 0.5, .divide_by = DivideBy::Tokens}, load, k) == 0.5,
                 tolerance);
    }
}

BOOST_AUTO_TEST_CASE(a_collapsed_router_costs_the_number_of_experts) {
  synthetic::Token token;
  token.chosen = token.unbiased = {2};
  token.scores = {0, 0, std::llround(stats::score_one<double>), 0, 0};
  auto const load = synthetic::load_of({{token, token}}, 5);
  BOOST_TEST(loss_of(SwitchLoss<>{.coefficient = 1}, load, 1) == 5.0, boost::test_tools::tolerance(1e-12));
}

BOOST_AUTO_TEST_CASE(each_kind_reads_its_own_counts) {
  Index const experts = 7, k = 3;
  auto const load = synthetic::load_of({synthetic::tokens(40, experts, k, 1, stats::score_one<double>)}, experts);
  auto const expected = [&](auto counts, double divisor) {
    reference::Row sums;
    for (auto const s : load.get<stats::ScoreSums>()) sums.push_back(double(s) / stats::score_one<double>);
    return reference::switch_loss({counts.begin(), counts.end()}, 40, sums, 40, divisor, 2).loss;
  };
  auto const tolerance = boost::test_tools::tolerance(1e-13);
  BOOST_TEST((loss_of(SwitchLoss<Choices::All, CountSource::Routed>{.coefficient = 2}, load, k)) ==
                 expected(load.get<stats::Counts>(), 3),
             tolerance);
  BOOST_TEST((loss_of(SwitchLoss<Choices::All, CountSource::Unbiased>{.coefficient = 2}, load, k)) ==
                 expected(load.get<stats::UnbiasedCounts>(), 3),
             tolerance);
  BOOST_TEST((loss_of(SwitchLoss<Choices::First, CountSource::Routed>{.coefficient = 2}, load, k)) ==
                 expected(load.get<stats::FirstChoiceCounts>(), 1),
             tolerance);
  BOOST_TEST((loss_of(SwitchLoss<Choices::First, CountSource::Unbiased>{.coefficient = 2}, load, k)) ==
                 expected(load.get<stats::UnbiasedFirstChoiceCounts>(), 1),
             tolerance);
}

BOOST_AUTO_TEST_CASE(no_tokens_no_loss) {
  BOOST_TEST(loss_of(SwitchLoss<>{}, Load<SwitchLoss<>::needs>(1, 3), 1) == 0.0);
  BOOST_TEST(loss_of(SwitchLoss<>{}, Load<SwitchLoss<>::needs>(0, 3), 1) == 0.0);
}

BOOST_AUTO_TEST_CASE(sequences_at_once_are_the_mean_of_single_ones) {
  Index const experts = 9, k = 2;
  auto const all = synthetic::tokens(50, experts, k, 3, stats::score_one<double>);
  std::mt19937_64 random(4);
  auto sequences = synthetic::cut(all, 5, random);
  sequences[1].clear(); // an empty one adds 0, and counts
  auto together = balancer_of(SwitchLoss<>{}, experts, k, Sequence<>{});
  together.begin_step(1);
  together.observe(0, synthetic::load_of(sequences, experts));
  double sum = 0;
  for (auto const& s : sequences) sum += loss_of(SwitchLoss<>{}, synthetic::load_of({s}, experts), k);
  BOOST_TEST(together.terms(0).loss == sum / 5, boost::test_tools::tolerance(1e-13));
  for (Index e = 0; e < experts; ++e) BOOST_TEST(together.terms(0).slopes(1, e) == 0.0);
}

BOOST_AUTO_TEST_SUITE_END()
