// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "select/batch.hpp"

#include <moebal/select/topology_capped.hpp>

using namespace select_batch;
using moebal_test::Kind;

BOOST_AUTO_TEST_SUITE(select_topology_capped)

BOOST_AUTO_TEST_CASE(by_hand) {
  // Experts 0 and 1 are local. First choices: 2, 3, 2, 0.
  auto const b = batch_of<float>({{1, 2, 9, 3}, {4, 3, 5, 8}, {3, 4, 7, 6}, {9, 1, 2, 8}});
  auto const at = [&](double ratio) { return choices(TopologyCapped<2>{.local = {0, 2}, .remote_ratio = ratio}, b); };
  BOOST_TEST((at(0) == Ids{{1, 0}, {0, 1}, {1, 0}, {0, 1}}));   // all at home
  BOOST_TEST((at(.25) == Ids{{2, 1}, {0, 1}, {1, 0}, {0, 1}})); // the best of the three goes out
  BOOST_TEST((at(.6) == Ids{{2, 1}, {3, 0}, {1, 0}, {0, 1}}));  // int(2.4)
  BOOST_TEST((at(.75) == Ids{{2, 3}, {3, 2}, {2, 3}, {0, 3}})); // no more than may be: nobody is touched
  BOOST_TEST((at(1) == at(.75)));
}

BOOST_AUTO_TEST_CASE(other_sizes) {
  auto const b = batch_of<float>({{1, 2, 9, 3}, {4, 3, 5, 8}, {3, 4, 7, 6}});
  BOOST_TEST((choices(TopologyCapped<1>{.local = {0, 2}, .remote_ratio = .34}, b) == Ids{{2}, {0}, {1}}));
  // Fewer local experts than choices.
  BOOST_TEST((choices(TopologyCapped<3>{.local = {1, 1}, .remote_ratio = .34}, b) == Ids{{2, 1}, {1}, {1}}));
  auto const equal = batch_of<float>({{0, 5}, {0, 5}, {0, 5}});
  BOOST_TEST((choices(TopologyCapped<1>{.local = {0, 1}, .remote_ratio = .67}, equal) == Ids{{1}, {1}, {0}}));
  BOOST_CHECK_THROW((TopologyCapped<2>{}.check(1, 4)), ShapeError); // no local experts
  BOOST_CHECK_THROW((TopologyCapped<2>{.local = {2, 3}}.check(1, 4)), ShapeError);
}

BOOST_AUTO_TEST_CASE(never_more_than_the_cap) {
  for (auto const kind : moebal_test::all_kinds)
    for (Index const tokens : {1, 7, 400}) {
      TopologyCapped<2> const gate{.local = {4, 4}};
      Index remote = 0;
      auto const b = batch_of<float>(kind, tokens, 12);
      for (auto const& row : choices(gate, b))
        for (ExpertId const e : row) remote += !gate.local(e);
      Index first = 0;
      for (auto const& row : choices(TopologyCapped<1>{.local = {0, 12}}, b)) first += !gate.local(row[0]);
      Index const cap = Index(.14 * double(tokens));
      if (first > cap) BOOST_TEST(remote == cap);
    }
}

BOOST_AUTO_TEST_CASE(laws) {
  check_all(TopologyCapped<>{.local = {1, 2}}, {3, 60});
  check_all(TopologyCapped<3>{.local = {0, 1}, .remote_ratio = .5}, {3, 60});
}

BOOST_AUTO_TEST_SUITE_END()
