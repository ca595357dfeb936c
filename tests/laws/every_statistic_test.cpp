// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Every statistic is a commutative monoid of integers over the tokens that are no padding.
#include "support/test.hpp"

#include "laws/lawful.hpp"

#include <moebal/laws/statistic.hpp>
#include <moebal/select/threshold.hpp>
#include <moebal/stats/by_class.hpp>
#include <moebal/stats/device_tokens.hpp>
#include <moebal/stats/log_sum_exp_squares.hpp>
#include <moebal/stats/margin_histogram.hpp>
#include <moebal/stats/score_histogram.hpp>
#include <moebal/stats/weight_sums.hpp>

using namespace moebal;

namespace {

/// With three choices a token, with one, and with any number of them.
template <class Statistic> void check(char const* name) {
  lawful::expect(name, laws::check_statistic<Statistic>(lawful::everywhere()));
  lawful::expect(name, laws::check_statistic<Statistic>(Router(TopK<1>{}, Sigmoid{}), {.experts = {1, 8}}));
  lawful::expect(name, laws::check_statistic<Statistic>(Router(Threshold<3>{.threshold = 0.5f}, Sigmoid{}),
                                                        {.tokens = {7}, .experts = {8}}));
}

} // namespace

BOOST_AUTO_TEST_SUITE(laws_every_statistic)

BOOST_AUTO_TEST_CASE(counts) {
  check<stats::Counts>("Counts");
  check<stats::FirstChoiceCounts>("FirstChoiceCounts");
  check<stats::UnbiasedCounts>("UnbiasedCounts");
  check<stats::UnbiasedFirstChoiceCounts>("UnbiasedFirstChoiceCounts");
}
BOOST_AUTO_TEST_CASE(sums) {
  check<stats::ScoreSums>("ScoreSums");
  check<stats::WeightSums>("WeightSums");
  check<stats::LogSumExpSquares>("LogSumExpSquares");
}
BOOST_AUTO_TEST_CASE(device_tokens) { check<stats::DeviceTokens<ExpertBlocks<4>>>("DeviceTokens"); }
BOOST_AUTO_TEST_CASE(histograms) {
  check<stats::MarginHistogram<20>>("MarginHistogram");
  check<stats::ScoreHistogram<20>>("ScoreHistogram");
}
BOOST_AUTO_TEST_CASE(by_class) { check<stats::ByClass<2, stats::List<stats::Counts, stats::ScoreSums>>>("ByClass"); }

BOOST_AUTO_TEST_SUITE_END()
