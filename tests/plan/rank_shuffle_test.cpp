// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "support/inputs.hpp"

#include <moebal/moebal.hpp>
#include <moebal/plan/rank_shuffle.hpp>

#include <mutex>
#include <set>

using namespace moebal;

namespace {

Index tokens_of(Index rank) { return (rank * 13 + 7) % 31 * (rank % 3 != 2 ? 1 : 0); } // 7, 20, 0, 15, ...

/// What each rank got: rows of three numbers that say whose they are.
std::vector<std::vector<std::int64_t>> dealt(Index ranks, std::uint64_t seed) {
  std::vector<std::vector<std::int64_t>> got(static_cast<std::size_t>(ranks));
  run_ranks(ranks, [&](Communicator<Threads> comm) {
    Index const tokens = tokens_of(comm.rank());
    std::vector<std::int64_t> x;
    for (Index t = 0; t < tokens; ++t) x.insert(x.end(), {comm.rank(), t, 1000 * comm.rank() + t});
    RankShuffle shuffle(comm, tokens, seed);
    std::vector<std::int64_t> y(std::size_t(shuffle.received() * 3)), again(x.size(), -1);
    MatrixView<std::int64_t> const there(y.data(), shuffle.received(), 3), back(again.data(), tokens, 3);
    shuffle.there(MatrixView<std::int64_t const>(x.data(), tokens, 3), there);
    shuffle.back(MatrixView<std::int64_t const>(there), back);
    BOOST_TEST((again == x));
    got[std::size_t(comm.rank())] = y;
  });
  return got;
}

} // namespace

BOOST_AUTO_TEST_SUITE(plan_rank_shuffle)

BOOST_AUTO_TEST_CASE(every_token_goes_to_one_rank_and_comes_back) {
  for (Index const ranks : {1, 2, 3, 5}) {
    auto const got = dealt(ranks, 1);
    std::set<std::pair<std::int64_t, std::int64_t>> seen;
    Index total = 0;
    for (auto const& rows : got)
      for (std::size_t i = 0; i < rows.size(); i += 3) {
        BOOST_TEST(rows[i + 2] == 1000 * rows[i] + rows[i + 1]); // a row stays whole
        BOOST_TEST(seen.insert({rows[i], rows[i + 1]}).second);
      }
    for (Index r = 0; r < ranks; ++r) total += tokens_of(r);
    BOOST_TEST(Index(seen.size()) == total);
    for (auto const& rows : got) // equal parts, but for one token of each rank
      BOOST_TEST(std::abs(double(rows.size() / 3) - double(total) / double(ranks)) <= double(ranks));
  }
}

BOOST_AUTO_TEST_CASE(a_seed_is_an_order) {
  BOOST_TEST((dealt(3, 5) == dealt(3, 5)));
  BOOST_TEST((dealt(3, 5) != dealt(3, 6)));
  auto const one = dealt(1, 5)[0]; // one rank: an order of its tokens, not their own
  bool moved = false;
  for (std::size_t i = 0; i < one.size(); i += 3) moved = moved || one[i + 1] != std::int64_t(i / 3);
  BOOST_TEST(moved);
}

// The tokens of rank r like expert r: alone they have to be spread over experts that they do not like.
BOOST_AUTO_TEST_CASE(base_assigns_better_what_was_shuffled) {
  constexpr Index ranks = 4, tokens = 32, experts = 4;
  auto const mean_score = [&](bool shuffled) {
    double sum = 0;
    std::mutex mutex;
    run_ranks(ranks, [&](Communicator<Threads> comm) {
      auto x = moebal_test::logits_of<float>(moebal_test::Kind::Bell, tokens, experts, std::uint64_t(comm.rank() + 1));
      for (Index t = 0; t < tokens; ++t) x[std::size_t(t * experts + comm.rank())] += 4;
      MatrixView<float> const mine(x.data(), tokens, experts);
      RankShuffle shuffle(comm, tokens, 3);
      std::vector<float> y(std::size_t(shuffle.received() * experts));
      MatrixView<float> const dealt_out(y.data(), shuffle.received(), experts);
      shuffle.there(MatrixView<float const>(mine), dealt_out);
      MatrixView<float> const here = shuffled ? dealt_out : mine;
      auto const routing = Router{Auction{}, Sigmoid{}}.route(EigenExec{}, MatrixView<float const>(here));
      double own = 0;
      for (Index t = 0; t < here.rows(); ++t) own += double(here(t, routing.expert_ids()(t, 0)));
      std::lock_guard const lock(mutex);
      sum += own / double(ranks * tokens);
    });
    return sum;
  };
  BOOST_TEST(mean_score(true) > mean_score(false) + 1.5);
}

BOOST_AUTO_TEST_CASE(what_does_not_fit_is_refused) {
  Communicator<Self> const self;
  RankShuffle shuffle(self, 4, 1);
  std::vector<float> x(12), y(12);
  MatrixView<float> const four(y.data(), 4, 3), three(y.data(), 3, 4), narrow(y.data(), 4, 2);
  shuffle.there(MatrixView<float const>(x.data(), 4, 3), four);
  BOOST_CHECK_THROW(shuffle.there(MatrixView<float const>(x.data(), 3, 4), three), ShapeError);
  BOOST_CHECK_THROW(shuffle.there(MatrixView<float const>(x.data(), 4, 3), narrow), ShapeError);
  BOOST_CHECK_THROW(shuffle.back(MatrixView<float const>(x.data(), 3, 4), four), ShapeError);
  BOOST_CHECK_THROW(RankShuffle(self, -1, 1), ShapeError);
}

BOOST_AUTO_TEST_SUITE_END()
