// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "select/batch.hpp"

#include <moebal/select/swipe.hpp>

using namespace select_batch;
using moebal_test::Kind;

BOOST_AUTO_TEST_SUITE(select_swipe)

BOOST_AUTO_TEST_CASE(by_hand) {
  auto const b = batch_of<float>({{9, 1, 2, 3}, {9, 1, 2, 3}, {9, 1, 2, 3}, {1, 9, 2, 3}});
  BOOST_TEST((choices(Swipe<1>{}, b) == Ids{{0}, {2}, {3}, {1}})); // 1 is taken by its own
  // K = 2, two slots each: first choices fill 0; token 2 waits; second choices: 3, 3, (3 full, waits), (3 full, waits).
  // Then token 2's first goes 0 -> 1, token 2's second 3 -> 2 (0 and its own 1 are no room), token 3's 3 -> 2.
  BOOST_TEST((choices(Swipe<2>{}, b) == Ids{{0, 3}, {0, 3}, {2, 1}, {1, 2}}));
}

BOOST_AUTO_TEST_CASE(strict_balance) {
  for (auto const kind : moebal_test::all_kinds) {
    for (Index const n : loads(choices(Swipe<1>{}, batch_of<float>(kind, 320, 16)), 16)) BOOST_TEST(n == 20);
    Index kept = 0;
    for (Index const n : loads(choices(Swipe<2>{}, batch_of<double>(kind, 100, 16)), 16)) {
      BOOST_TEST(n <= 13);
      kept += n;
    }
    BOOST_TEST(kept >= 200 - 4);
  }
}

BOOST_AUTO_TEST_CASE(room_for_all_is_top_k) {
  auto const b = batch_of<float>(Kind::Bell, 60, 9);
  auto const all = choices(Swipe<3>{.slots = {.fixed = 60}}, b);
  for (Index t = 0; t < 60; ++t)
    for (Index e = 0; e < 9; ++e) {
      Index better = 0;
      for (Index o = 0; o < 9; ++o) better += b.at(t, o) > b.at(t, e);
      if (better < 3) BOOST_TEST(all[std::size_t(t)][std::size_t(better)] == e);
    }
}

BOOST_AUTO_TEST_CASE(laws) {
  check_all(Swipe<1>{}, {1, 3, 60});
  check_all(Swipe<3>{.slots = {.fixed = 4}}, {3, 60});
}

BOOST_AUTO_TEST_SUITE_END()
