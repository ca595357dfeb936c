// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "select/batch.hpp"

#include <moebal/select/auction.hpp>

#include <functional>
#include <numeric>

using namespace select_batch;
using moebal_test::Kind;

namespace {
template <class Real> double total(Batch<Real> const& b, Ids const& ids) {
  double sum = 0;
  for (Index t = 0; t < b.tokens; ++t) sum += double(b.at(t, ids[std::size_t(t)][0]));
  return sum;
}
/// The best sum for these loads, by trying all.
template <class Real> double best_total(Batch<Real> const& b, std::vector<Index> room) {
  std::function<double(Index)> const from = [&](Index t) {
    if (t == b.tokens) return 0.0;
    double best = -1e300;
    for (Index e = 0; e < b.experts; ++e) {
      if (room[std::size_t(e)] == 0) continue;
      --room[std::size_t(e)];
      best = std::max(best, double(b.at(t, e)) + from(t + 1));
      ++room[std::size_t(e)];
    }
    return best;
  };
  return from(0);
}
template <class Real> double range(Batch<Real> const& b) {
  auto const [low, high] = std::minmax_element(b.scores.begin(), b.scores.end());
  return double(*high) - double(*low);
}
} // namespace

BOOST_AUTO_TEST_SUITE(select_auction)

BOOST_AUTO_TEST_CASE(by_hand) {
  // Greedy gives token 0 its best, 9, and 1 + 9 = 10; the best is 8 + 8.
  BOOST_TEST((choices(Auction{}, batch_of<float>({{9, 8}, {8, 1}})) == Ids{{1}, {0}}));
  BOOST_TEST((choices(Auction{}, batch_of<float>({{3, 0}, {2, 0}, {9, 0}, {8, 0}})) == Ids{{1}, {1}, {0}, {0}}));
  // The odd token goes where most want to be.
  BOOST_TEST((choices(Auction{}, batch_of<float>({{0, 3}, {0, 3}, {0, 1}})) == Ids{{1}, {1}, {0}}));
  // Fewer tokens than experts: the experts that are liked.
  BOOST_TEST((choices(Auction{}, batch_of<float>({{0, 0, 3, 1}, {0, 0, 3, 2}})) == Ids{{2}, {0}}));
}

BOOST_AUTO_TEST_CASE(within_the_stated_gap) {
  for (Index const experts : {1, 2, 3, 4})
    for (Index const tokens : {1, 2, 5, 8})
      for (std::uint64_t seed = 1; seed <= 6; ++seed)
        for (auto const kind : {Kind::Bell, Kind::Wide, Kind::Coarse, Kind::Equal, Kind::Ascending})
          for (double const epsilon : {1e-3, 0.1}) {
            auto const b = batch_of<double>(kind, tokens, experts, seed);
            auto const ids = choices(Auction{.epsilon = epsilon}, b);
            double const gap = best_total(b, loads(ids, experts)) - total(b, ids);
            BOOST_TEST(gap <= double(tokens) * epsilon * range(b) + 1e-9);
          }
}

// Assignments of columns with slots reduce to a permutation: what can be had at all is the sum of maxima.
BOOST_AUTO_TEST_CASE(finds_a_hidden_assignment) {
  moebal_test::Random random(3);
  for (Index const experts : {2, 16, 60}) {
    Index const tokens = experts * 8;
    std::vector<Index> hidden(static_cast<std::size_t>(tokens));
    std::iota(hidden.begin(), hidden.end(), 0);
    for (Index i = tokens - 1; i > 0; --i) std::swap(hidden[std::size_t(i)], hidden[std::size_t(random.below(i + 1))]);
    auto b = batch_of<float>(Kind::Bell, tokens, experts, 5);
    for (Index t = 0; t < tokens; ++t) b.scores[std::size_t(t * experts + hidden[std::size_t(t)] % experts)] += 20;
    auto const ids = choices(Auction{}, b);
    for (Index t = 0; t < tokens; ++t) BOOST_TEST(ids[std::size_t(t)][0] == hidden[std::size_t(t)] % experts);
  }
}

BOOST_AUTO_TEST_CASE(balance_is_exact_for_any_bits) {
  for (auto const kind : moebal_test::all_kinds)
    for (Index const experts : {1, 3, 60})
      for (Index const tokens : {1, 7, 60, 300})
        for (Index const most_bids : {0, 1, 1000})
          for (Index const n :
               loads(choices(Auction{.most_bids = most_bids}, batch_of<float>(kind, tokens, experts)), experts))
            BOOST_TEST((n == tokens / experts || n == (tokens + experts - 1) / experts));
}

BOOST_AUTO_TEST_CASE(infinities_count_as_the_least) {
  float const inf = INFINITY;
  BOOST_TEST((choices(Auction{}, batch_of<float>({{inf, 2}, {1, NAN}})) == Ids{{1}, {0}})); // 2 + 1 against 1 + 1
}

BOOST_AUTO_TEST_CASE(laws) {
  check_all(Auction{}, {1, 3, 60});
  BOOST_CHECK_THROW(Auction{.epsilon = 0}.check(1, 1), ShapeError);
  BOOST_CHECK_THROW(Auction{.epsilon = NAN}.check(1, 1), ShapeError);
  BOOST_CHECK_THROW(Auction{.most_bids = -1}.check(1, 1), ShapeError);
}

BOOST_AUTO_TEST_SUITE_END()
