// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Every selection that chooses row by row keeps the laws of selections.
#include "support/test.hpp"

#include "laws/lawful.hpp"

#include <moebal/laws/selection.hpp>
#include <moebal/select/device_limited.hpp>
#include <moebal/select/hash_table.hpp>
#include <moebal/select/laser.hpp>
#include <moebal/select/second_expert.hpp>
#include <moebal/select/threshold.hpp>
#include <moebal/select/top_p.hpp>
#include <moebal/select/two_level.hpp>

using namespace moebal;

namespace {

template <class Selection> void check(char const* name, Selection selection) {
  lawful::expect(name, laws::check_selection(selection, lawful::everywhere()));
}

} // namespace

BOOST_AUTO_TEST_SUITE(laws_every_row_selection)

BOOST_AUTO_TEST_CASE(top_k) {
  check("TopK<1>", TopK<1>{});
  check("TopK<3>", TopK<3>{});
  check("TopK<8>", TopK<8>{});
}
BOOST_AUTO_TEST_CASE(group_limited_top_k) {
  check("GroupLimitedTopK, sums", GroupLimitedTopK<2>{.groups = 8, .kept = 3});
  check("GroupLimitedTopK, sums of 3", GroupLimitedTopK<2>{.groups = 4, .kept = 1, .sum_of = 3});
  check("GroupLimitedTopK, one group", GroupLimitedTopK<2>{});
  check("device_limited_top_k", device_limited_top_k<3>());
}
BOOST_AUTO_TEST_CASE(threshold) {
  check("Threshold", Threshold<3>{.threshold = 0.3f});
  check("Threshold, at least 1", Threshold<3>{.threshold = 0.3f, .least = 1});
}
BOOST_AUTO_TEST_CASE(top_p) { check("TopP", TopP<3>{}); }
BOOST_AUTO_TEST_CASE(second_expert) {
  check("SecondExpert, random", SecondExpert{});
  check("SecondExpert, threshold", SecondExpert{.policy = SecondPolicy::Threshold});
}
BOOST_AUTO_TEST_CASE(hash_layer) {
  auto const table = HashTable::random(4, 2, 24, 3); // tags run to 4: the last one has no row
  check("HashLayer", table.selection<2>());
}
BOOST_AUTO_TEST_CASE(laser) {
  std::vector<std::int64_t> load;
  for (Index e = 0; e < 24; ++e) load.push_back(e * e % 7);
  check("Laser", Laser<2>{.load = load});
  check("Laser, always", Laser<2>{.load = load, .sharp = 1e9f, .near = 0.1f, .candidates = 5});
}
BOOST_AUTO_TEST_CASE(two_level) {
  std::vector<Index> const group_of{1, 0, 3, 2};
  check("TwoLevel<TopK>", TwoLevel<TopK<2>>{.inner = {}, .groups = 4});
  check("TwoLevel<TopK>, by domain", TwoLevel<TopK<2>>{.inner = {}, .groups = 4, .group_of = group_of});
  check("TwoLevel<Threshold>", TwoLevel<Threshold<2>>{.inner = {}, .groups = 4});
}

BOOST_AUTO_TEST_SUITE_END()
