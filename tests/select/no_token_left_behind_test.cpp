// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "select/batch.hpp"

#include <moebal/select/no_token_left_behind.hpp>

using namespace select_batch;
using moebal_test::Kind;

BOOST_AUTO_TEST_SUITE(select_no_token_left_behind)

BOOST_AUTO_TEST_CASE(by_hand) {
  auto const b = batch_of<float>({{9, 8, 1}, {9, 8, 1}, {9, 1, 8}, {1, 9, 8}});
  NoTokenLeftBehind gate{.slots = {.fixed = 1}};
  // Round 1: tokens 0 and 3 get experts 0 and 1. Round 2: 1 asks 1 (full), 2 gets 2. Round 3: 1 asks 2 (full).
  BOOST_TEST((choices(gate, b) == Ids{{0}, {}, {2}, {1}}));
  gate.tries = 1;
  BOOST_TEST((choices(gate, b) == Ids{{0}, {}, {}, {1}}));
  gate = {.slots = {.fixed = 2}};
  BOOST_TEST((choices(gate, b) == Ids{{0}, {0}, {2}, {1}}));
  gate = {.slots = {.fixed = 0}};
  BOOST_TEST((choices(gate, b) == Ids{{}, {}, {}, {}}));
}

BOOST_AUTO_TEST_CASE(nobody_is_left_while_there_is_room) {
  for (auto const kind : moebal_test::all_kinds)
    for (Index const tokens : {1, 60, 301}) {
      NoTokenLeftBehind const gate{.slots = {.per_token = 1}};
      auto const ids = choices(gate, batch_of<double>(kind, tokens, 12));
      for (auto const& row : ids) BOOST_TEST(row.size() == 1u);
      for (Index const n : loads(ids, 12)) BOOST_TEST(n <= (tokens + 11) / 12);
    }
}

// With room for all it is top-1.
BOOST_AUTO_TEST_CASE(first_choices) {
  auto const b = batch_of<float>(Kind::Coarse, 100, 9);
  auto const ids = choices(NoTokenLeftBehind{.slots = {.fixed = 100}}, b);
  for (Index t = 0; t < 100; ++t) {
    Index best = 0;
    for (Index e = 1; e < 9; ++e) best = b.at(t, e) > b.at(t, best) ? e : best;
    BOOST_TEST(ids[std::size_t(t)][0] == best);
  }
}

BOOST_AUTO_TEST_CASE(laws) {
  check_all(NoTokenLeftBehind{}, {1, 3, 60});
  check_all(NoTokenLeftBehind{.tries = 2, .slots = {.fixed = 2}}, {3});
  BOOST_CHECK_THROW(NoTokenLeftBehind{.tries = 4}.check(1, 3), ShapeError);
}

BOOST_AUTO_TEST_SUITE_END()
