// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "select/batch.hpp"

#include <moebal/select/overflow_recycling.hpp>

using namespace select_batch;
using moebal_test::Kind;

BOOST_AUTO_TEST_SUITE(select_overflow_recycling)

BOOST_AUTO_TEST_CASE(by_hand) {
  auto const b = batch_of<float>({{9, 8, 1}, {9, 8, 1}, {9, 1, 8}});
  // Slots 2: first choices fill expert 0 with tokens 0 and 1; token 2 waits. Second ones: 1, 1, 2. Token 2 moves to 1?
  // It is full; 2 it has itself; 0 is full: dropped.
  BOOST_TEST((choices(OverflowRecycling<2>{.slots = {.fixed = 2}}, b) == Ids{{0, 1}, {0, 1}, {2}}));
  // K = 1, slots 1: tokens 1 and 2 move to the two that are left, best first does not matter.
  auto const ids = choices(OverflowRecycling<1>{.slots = {.fixed = 1}}, b);
  BOOST_TEST((ids[0] == std::vector<ExpertId>{0}));
  BOOST_TEST((loads(ids, 3) == std::vector<Index>{1, 1, 1}));
  BOOST_TEST((choices(OverflowRecycling<1>{.slots = {.fixed = 0}}, b) == Ids{{}, {}, {}}));
}

BOOST_AUTO_TEST_CASE(loads_are_capped_and_little_is_dropped) {
  for (auto const kind : moebal_test::all_kinds) {
    auto const b = batch_of<float>(kind, 400, 16);
    auto const ids = choices(OverflowRecycling<3>{}, b);
    Index kept = 0;
    for (Index const n : loads(ids, 16)) {
      BOOST_TEST(n <= 75);
      kept += n;
    }
    BOOST_TEST(kept >= 1200 - 12);
  }
}

// 300 tokens overflow to three experts: each gets about 100, by another draw for another seed.
BOOST_AUTO_TEST_CASE(draws_are_even) {
  std::vector<std::vector<float>> rows(300, std::vector<float>{9, 1, 2, 3});
  auto const with = [&](std::uint64_t seed) {
    return choices(OverflowRecycling<1>{.move = {.seed = seed}, .slots = {.fixed = 150}}, batch_of<float>(rows));
  };
  auto const n = loads(with(1), 4);
  BOOST_TEST(n[0] == 150);
  for (std::size_t e = 1; e < 4; ++e) BOOST_TEST((n[e] > 30 && n[e] < 70)); // 50, and 5.8 is one deviation
  BOOST_TEST((with(1) == with(1)));
  BOOST_TEST((with(1) != with(2)));
}

BOOST_AUTO_TEST_CASE(laws) {
  check_all(OverflowRecycling<1>{}, {1, 3, 60}, true, Padding::Placed);
  check_all(OverflowRecycling<3>{.move = {.seed = 9}, .slots = {.fixed = 4}}, {3, 60}, true, Padding::Placed);
}

BOOST_AUTO_TEST_SUITE_END()
