// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Every selection that chooses over the batch keeps the laws of selections.
#include "support/test.hpp"

#include "laws/lawful.hpp"

#include <moebal/laws/selection.hpp>
#include <moebal/select/batch_pool.hpp>
#include <moebal/select/bidirectional.hpp>
#include <moebal/select/expert_choice.hpp>
#include <moebal/select/momentum_quantile.hpp>
#include <moebal/select/overflow_recycling.hpp>
#include <moebal/select/swipe.hpp>

using namespace moebal;

namespace {

template <class Selection> void check(char const* name, Selection selection) {
  lawful::expect(name, laws::check_selection(selection, lawful::everywhere()));
}

} // namespace

BOOST_AUTO_TEST_SUITE(laws_every_batch_selection)

BOOST_AUTO_TEST_CASE(expert_choice) {
  check("ExpertChoice<2>", ExpertChoice<2>{});
  check("ExpertChoice<8>, few slots", ExpertChoice<8>{.slots = {.fixed = 3}});
}
BOOST_AUTO_TEST_CASE(batch_pool) { check("BatchPool", BatchPool<3>{}); }
BOOST_AUTO_TEST_CASE(bidirectional) { check("Bidirectional", Bidirectional<2>{}); }
BOOST_AUTO_TEST_CASE(bip) { check("Bip", Bip<2>{}); }
BOOST_AUTO_TEST_CASE(sinkhorn) {
  check("Sinkhorn<1>", Sinkhorn<1>{});
  check("Sinkhorn<3>, absolute", Sinkhorn<3>{.epsilon_rule = SinkhornEpsilon::Absolute});
}
BOOST_AUTO_TEST_CASE(auction) { check("Auction", Auction{}); }
BOOST_AUTO_TEST_CASE(no_token_left_behind) {
  check("NoTokenLeftBehind", NoTokenLeftBehind{});
  check("NoTokenLeftBehind, one try", NoTokenLeftBehind{.tries = 1});
}
BOOST_AUTO_TEST_CASE(overflow_recycling) { check("OverflowRecycling", OverflowRecycling<2>{}); }
BOOST_AUTO_TEST_CASE(swipe) { check("Swipe", Swipe<2>{}); }
BOOST_AUTO_TEST_CASE(topology_capped) { check("TopologyCapped", TopologyCapped<2>{.local = {1, 2}}); }
BOOST_AUTO_TEST_CASE(momentum_quantile) { check("MomentumQuantile", MomentumQuantile<2>{}); }

BOOST_AUTO_TEST_SUITE_END()
