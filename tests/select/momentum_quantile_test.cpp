// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "select/batch.hpp"

#include <moebal/moebal.hpp>
#include <moebal/select/momentum_quantile.hpp>

#include <cmath>

using namespace moebal;
using namespace select_batch;
using moebal_test::Kind;

namespace {

/// Ids [T][K] with segments and a bias, of scores in [0, 1].
template <int K>
Ids route(MomentumQuantile<K> const& selection, Batch<double> batch, std::vector<Index> const& segments = {},
          std::vector<float> const& bias = {}) {
  std::vector<ExpertId> flat(std::size_t(batch.tokens * K));
  Workspace memory(selection.template workspace_bytes<double>(SerialExec{}, batch.tokens, batch.experts));
  selection.assign(SerialExec{},
                   select::BatchCandidates<double>{{batch.scores.data(), batch.tokens, batch.experts},
                                                   {.bias = bias, .padding = batch.padding, .segments = segments}},
                   MatrixView<ExpertId>(flat.data(), batch.tokens, K), WorkspaceView<>(memory));
  Ids ids(std::size_t(batch.tokens));
  for (std::size_t i = 0; i < flat.size(); ++i) ids[i / K].push_back(flat[i]);
  return ids;
}
Batch<double> scores_of(Index tokens, Index experts, std::uint64_t seed = 1) {
  auto batch = batch_of<double>(Kind::Bell, tokens, experts, seed);
  for (std::size_t i = 0; i < batch.scores.size(); ++i) {
    double const skew = 0.4 * double(i % std::size_t(experts)) / double(experts);
    batch.scores[i] = 1 / (1 + std::exp(-batch.scores[i] - 3 * skew));
  }
  return batch;
}

/// As the formula reads: all earlier tokens with their weights, bin by bin.
double beta(Batch<double> const& batch, Index first, Index t, Index e, double decay, Index bins, double above) {
  std::vector<double> mass(std::size_t(bins), 0.0);
  double sum = 0;
  for (Index u = first; u < t; ++u) {
    double const weight = std::pow(decay, double(t - 1 - u));
    mass[std::size_t(std::min(bins - 1, Index(batch.at(u, e) * double(bins))))] += weight;
    sum += weight;
  }
  double before = 0;
  for (Index b = 0; b < bins && sum > 0; ++b) {
    double const here = mass[std::size_t(b)];
    if (here > 0 && before + here >= above * sum) return (double(b) + (above * sum - before) / here) / double(bins);
    before += here;
  }
  return 0;
}

} // namespace

BOOST_AUTO_TEST_SUITE(select_momentum_quantile)

// beta_1 = (.75, .25); beta_2: (.675, .25), as 7: .5 and 6: 1 of mass 1.5 reach .75 at three quarters of bin 6.
BOOST_AUTO_TEST_CASE(by_hand) {
  auto const batch = batch_of<double>({{.75, .25}, {.65, .25}, {.7, .25}});
  MomentumQuantile<1> const selection{.strength = 1, .decay = 0.5f, .bins = 10};
  BOOST_TEST((route(selection, batch) == Ids{{0}, {1}, {0}}));
  BOOST_TEST((route(selection, batch, {0, 1, 3}) == Ids{{0}, {0}, {0}})); // another sequence begins at token 1
  BOOST_TEST((route(selection, batch, {}, {0, .03f}) == Ids{{0}, {1}, {1}}));
  auto padded = batch;
  padded.padding = {1, 0, 0}; // what is padding has not been seen
  BOOST_TEST((route(selection, padded) == Ids{{no_expert}, {0}, {0}}));
}

BOOST_AUTO_TEST_CASE(as_the_formula_reads) {
  for (Index const experts : {3, 60})
    for (Index const tokens : {0, 1, 7, 130}) {
      auto const batch = scores_of(tokens, experts);
      std::vector<Index> const segments{0, tokens / 3, tokens / 3, tokens};
      auto const ids = route(MomentumQuantile<2>{.strength = 0.7f, .decay = 0.9f, .bins = 25}, batch, segments);
      for (Index t = 0; t < tokens; ++t) {
        std::vector<double> key(static_cast<std::size_t>(experts));
        for (Index e = 0; e < experts; ++e)
          key[std::size_t(e)] =
              batch.at(t, e) - double(0.7f) * beta(batch, t < tokens / 3 ? 0 : tokens / 3, t, e, double(0.9f), 25,
                                                   double(experts - 2) / double(experts));
        for (std::size_t k = 0; k < 2; ++k) { // better than all that were not taken before it, but for rounding
          double const mine = key[std::size_t(ids[std::size_t(t)][k])];
          key[std::size_t(ids[std::size_t(t)][k])] = -9;
          for (double const other : key) BOOST_TEST(mine > other - 1e-12);
        }
      }
    }
}

BOOST_AUTO_TEST_CASE(later_tokens_change_nothing) {
  auto batch = scores_of(40, 9);
  auto const before = route(MomentumQuantile<3>{}, batch);
  auto const other = scores_of(40, 9, 2);
  std::copy(other.scores.begin() + 25 * 9, other.scores.end(), batch.scores.begin() + 25 * 9);
  auto const after = route(MomentumQuantile<3>{}, batch);
  BOOST_TEST(std::equal(before.begin(), before.begin() + 25, after.begin()));
  BOOST_TEST((before != after));
}

BOOST_AUTO_TEST_CASE(it_balances_within_a_sequence) {
  auto const batch = scores_of(400, 8);
  auto const spread = [&](float strength) {
    auto const n = loads(route(MomentumQuantile<2>{.strength = strength}, batch), 8);
    return *std::max_element(n.begin(), n.end()) - *std::min_element(n.begin(), n.end());
  };
  BOOST_TEST(spread(0) > spread(0.3f));
  BOOST_TEST(spread(0.3f) > spread(1));
}

BOOST_AUTO_TEST_CASE(without_strength_it_is_top_k_with_its_bias) {
  auto const logits = moebal_test::logits_of<float>(Kind::Bell, 65, 60);
  MatrixView<float const> const x(logits.data(), 65, 60);
  std::vector<float> bias(60);
  for (std::size_t e = 0; e < bias.size(); ++e) bias[e] = float(e % 7) * 0.1f + 0.5f;
  for (BiasBy const by : {BiasBy::Adding, BiasBy::Scaling}) {
    RowOptions<> const options{.bias = bias, .bias_by = by};
    auto const plain = Router{TopK<4>{}, Sigmoid{}}.route(EigenExec{}, x, options);
    auto const ours = Router{MomentumQuantile<4>{.strength = 0}, Sigmoid{}}.route(EigenExec{}, x, options);
    for (Index t = 0; t < 65; ++t)
      for (Index k = 0; k < 4; ++k) {
        BOOST_TEST(ours.expert_ids()(t, k) == plain.expert_ids()(t, k));
        BOOST_TEST(ours.weights()(t, k) == plain.weights()(t, k));
      }
  }
}

BOOST_AUTO_TEST_CASE(laws) {
  check_all(MomentumQuantile<1>{}, {1, 3, 60}, false);
  check_all(MomentumQuantile<3>{.strength = 1, .bins = 7}, {3, 160}, false);
}

BOOST_AUTO_TEST_CASE(what_cannot_be_served_is_refused) {
  BOOST_CHECK_THROW(MomentumQuantile<3>{}.check(5, 2), ShapeError);
  BOOST_CHECK_THROW(MomentumQuantile<1>{.bins = 0}.check(5, 2), ShapeError);
  BOOST_CHECK_THROW(MomentumQuantile<1>{.decay = 1.5f}.check(5, 2), ShapeError);
}

BOOST_AUTO_TEST_SUITE_END()
