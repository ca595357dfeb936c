// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "select/batch.hpp"

#include <moebal/select/bidirectional.hpp>
#include <moebal/select/expert_choice.hpp>

using namespace select_batch;
using moebal_test::Kind;

BOOST_AUTO_TEST_SUITE(select_bidirectional)

BOOST_AUTO_TEST_CASE(by_hand) {
  auto const b = batch_of<float>({{.9f, .8f, .1f}, {.7f, .6f, .5f}, {.8f, .1f, .2f}, {.1f, .2f, .3f}});
  // Own choices: {0 1} {0 1} {0 2} {2 1}.
  BOOST_TEST((choices(Bidirectional<2>{.slots = {.fixed = 2}}, b) == Ids{{0, 1}, {1}, {0, 2}, {2}}));
  BOOST_TEST((choices(Bidirectional<2>{.slots = {.fixed = 1}}, b) == Ids{{0, 1}, {}, {}, {2}}));
  BOOST_TEST((choices(Bidirectional<2>{.slots = {.fixed = 9}}, b) == Ids{{0, 1}, {0, 1}, {0, 2}, {2, 1}}));
  BOOST_TEST((choices(Bidirectional<2>{.slots = {.fixed = 0}}, b) == Ids{{}, {}, {}, {}}));
}

// A token whose first choice holds enough makes no second one; what is exactly the mass is not above it.
BOOST_AUTO_TEST_CASE(mass) {
  auto const b = batch_of<float>({{.75f, .25f, 0}, {.5f, .25f, .25f}, {.25f, .5f, .25f}});
  BOOST_TEST((choices(Bidirectional<3>{.slots = {.fixed = 9}, .mass = .5}, b) == Ids{{0}, {0, 1}, {1, 0}}));
  BOOST_TEST((choices(Bidirectional<3>{.slots = {.fixed = 9}, .mass = .75}, b) == Ids{{0, 1}, {0, 1, 2}, {1, 0, 2}}));
  BOOST_TEST((choices(Bidirectional<3>{.slots = {.fixed = 9}, .mass = 0}, b) == Ids{{0}, {0}, {1}}));
}

BOOST_AUTO_TEST_CASE(its_two_ends) {
  for (auto const kind : moebal_test::all_kinds) {
    auto const b = batch_of<float>(kind, 50, 7);
    // Every expert chosen: expert choice is left. Room for all: token choice is left.
    BOOST_TEST(
        (choices(Bidirectional<7>{.slots = {.fixed = 11}}, b) == choices(ExpertChoice<7>{.slots = {.fixed = 11}}, b)));
    for (auto const& row : choices(Bidirectional<3>{.slots = {.fixed = 50}}, b)) BOOST_TEST(row.size() == 3u);
    auto const load = loads(choices(Bidirectional<3>{.slots = {.fixed = 5}}, b), 7);
    for (Index const n : load) BOOST_TEST(n <= 5);
  }
}

BOOST_AUTO_TEST_CASE(laws) {
  check_all(Bidirectional<1>{}, {1, 3, 60});
  check_all(Bidirectional<8>{.slots = {.fixed = 3}, .mass = 0.5}, {8, 60});
}

BOOST_AUTO_TEST_SUITE_END()
