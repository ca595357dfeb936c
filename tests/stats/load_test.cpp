// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include <moebal/stats/counts.hpp>
#include <moebal/stats/load.hpp>
#include <moebal/stats/score_sums.hpp>

using namespace moebal;

BOOST_AUTO_TEST_SUITE(stats_load)

BOOST_AUTO_TEST_CASE(one_row_a_sequence) {
  using List = stats::List<stats::Counts, stats::ScoreSums>;
  Load<List> load(3, 4);
  BOOST_TEST(load.raw().size() == 3 * (List::header + 8));
  for (std::int64_t x : load.raw()) BOOST_TEST(x == 0);
  auto const view = load.view();
  view.tokens(1) = 5;
  view.bad_rows(1) = 2;
  view.get<stats::ScoreSums>(2)[3] = 9;
  BOOST_TEST((load.tokens(1) == 5 && load.bad_rows(1) == 2 && load.tokens(0) == 0 && load.tokens(2) == 0));
  BOOST_TEST(load.get<stats::ScoreSums>(2)[3] == 9);
  BOOST_TEST(load.raw()[load.raw().size() - 1] == 9); // the last statistic of the last sequence
  BOOST_TEST(load.get<stats::Counts>(2).size() == 4);
  BOOST_TEST((view.sequences() == 3 && view.experts() == 4 && view.size() == load.raw().size()));
  Load<List> same = load;
  BOOST_TEST((same == load));
  same.view().get<stats::Counts>(0)[0] = 1;
  BOOST_TEST(!(same == load));
  BOOST_TEST((LoadView<List>().data() == nullptr));
}

BOOST_AUTO_TEST_SUITE_END()
