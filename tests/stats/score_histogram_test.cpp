// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "support/inputs.hpp"

#include <moebal/moebal.hpp>
#include <moebal/stats/score_histogram.hpp>

#include <unsupported/Eigen/CXX11/ThreadPool>

using namespace moebal;
using namespace moebal_test;

namespace {

constexpr Index bins = 21;
using Histogram = stats::ScoreHistogram<bins>;

template <class Real> void check(Index tokens, Index experts) {
  auto const logits = logits_of<Real>(Kind::Wide, tokens, experts);
  Options const options{.bias = bias_of(experts, 0.2f), .padding = padding_of(tokens)}; // the bias changes no score
  std::vector<std::int64_t> want(std::size_t(experts * bins));
  for (Index t = 0; t < tokens; ++t)
    for (Index e = 0; e < experts; ++e)
      if (options.padding[std::size_t(t)] == 0)
        ++want[std::size_t(
            e * bins + std::min(bins - 1, Index(Sigmoid{}.score(logits[std::size_t(t * experts + e)]) * Real(bins))))];
  Eigen::ThreadPool pool(3);
  for (auto const& exec : {EigenExec{}, EigenExec{&pool}.on_every_thread()}) {
    auto const load =
        Router{TopK<1>{}, Sigmoid{}}
            .template route_with<stats::List<Histogram>>(exec, matrix(logits, tokens, experts), options.view())
            .second;
    auto const got = load.template get<Histogram>();
    BOOST_TEST(std::equal(got.begin(), got.end(), want.begin(), want.end()));
  }
}

} // namespace

BOOST_AUTO_TEST_SUITE(stats_score_histogram)

BOOST_AUTO_TEST_CASE(every_score_in_its_bin) {
  for (Index const tokens : {0, 1, 7, 133})
    for (Index const experts : {1, 3, 60}) {
      check<float>(tokens, experts);
      check<double>(tokens, experts);
    }
}

BOOST_AUTO_TEST_CASE(nan_is_not_counted) {
  std::vector<float> const x{1, std::numeric_limits<float>::quiet_NaN()};
  auto const load =
      Router{TopK<1>{}, Sigmoid{}}.route_with<stats::List<Histogram>>(EigenExec{}, matrix(x, 1, 2)).second;
  std::int64_t first = 0, second = 0;
  for (Index b = 0; b < bins; ++b) {
    first += load.get<Histogram>()[b];
    second += load.get<Histogram>()[bins + b];
  }
  BOOST_TEST(first == 1);
  BOOST_TEST(second == 0);
}

BOOST_AUTO_TEST_SUITE_END()
