// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include <moebal/stats/by_class.hpp>
#include <moebal/stats/counts.hpp>
#include <moebal/stats/log_sum_exp_squares.hpp>
#include <moebal/stats/score_sums.hpp>
#include <moebal/stats/weight_sums.hpp>

#include <limits>
#include <type_traits>

using namespace moebal;
using namespace moebal::stats;

using A = List<Counts, ScoreSums>;
using B = List<ScoreSums, LogSumExpSquares, Counts>;
static_assert(std::is_same_v<merge_t<A, B>, List<Counts, ScoreSums, LogSumExpSquares>>,
              "each statistic is collected once");
static_assert(std::is_same_v<merge_t<None, B>, B> && std::is_same_v<merge_t<A, None>, A> &&
              std::is_same_v<merge_t<A, A>, A>);
static_assert(A::has<Counts> && !A::has<LogSumExpSquares> && !None::has<Counts>);
static_assert(!A::has<FirstChoiceCounts>, "first choices are another statistic than all choices");
static_assert(statistic_list<A> && !statistic_list<int>);

BOOST_AUTO_TEST_SUITE(stats_statistic)

BOOST_AUTO_TEST_CASE(a_row_of_integers) {
  BOOST_TEST(None::slots(10) == None::header);
  BOOST_TEST(A::slots(10) == A::header + 20);
  BOOST_TEST(B::slots(10) == B::header + 22);
  BOOST_TEST(A::offset<Counts>(10) == A::header);
  BOOST_TEST(A::offset<ScoreSums>(10) == A::header + 10);
  BOOST_TEST(B::offset<Counts>(10) == B::header + 12);
  BOOST_TEST((A::tokens_slot != A::bad_rows_slot && A::tokens_slot < A::header && A::bad_rows_slot < A::header));
}

// The sums of the longest window stay in 63 bits.
BOOST_AUTO_TEST_CASE(no_window_overflows) {
  double const most = double(std::numeric_limits<std::int64_t>::max());
  BOOST_TEST(double(max_tokens<float>) * score_one<float> < most);
  BOOST_TEST(double(max_tokens<double>) * score_one<double> < most);
  BOOST_TEST(square_limit * double(List<LogSumExpSquares>::most_tokens<float>) < most);
}
// The tightest of a list, wherever the statistic stands in it.
static_assert(None::most_tokens<float> == Index(1) << 40 && List<Counts>::most_tokens<double> == Index(1) << 40);
static_assert(A::most_tokens<float> == max_tokens<float> && A::most_tokens<double> == max_tokens<double>);
static_assert(B::most_tokens<float> == Index(1) << 22 && List<WeightSums>::most_tokens<double> == max_tokens<double>);
static_assert(List<Counts, ByClass<2, A>>::most_tokens<float> == max_tokens<float>);

BOOST_AUTO_TEST_SUITE_END()
