// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "select/rows.hpp"
#include "support/inputs.hpp"

#include <moebal/select/group_limited_top_k.hpp>
#include <moebal/select/top_k.hpp>

using namespace moebal;
using namespace moebal_test;
using select_rows::choose;
using Group = GroupLimitedTopK<3>;

BOOST_AUTO_TEST_SUITE(select_group_limited_top_k)

BOOST_AUTO_TEST_CASE(by_hand) {
  //                              group 0      group 1      group 2
  std::vector<float> const x{9, 0, 0, 0, 5, 5, 1, 1, 6, 3, 2, 2};
  BOOST_TEST((choose(Group{.groups = 3, .kept = 1, .score = GroupScore::Max}, x) == reference::Ids{0, 1, 2}));
  BOOST_TEST((choose(Group{.groups = 3, .kept = 1}, x) == reference::Ids{4, 5, 6})); // 9, 10, 9
  BOOST_TEST((choose(Group{.groups = 3, .kept = 2}, x) == reference::Ids{0, 4, 5})); // equal groups: the lower
  BOOST_TEST((choose(Group{.groups = 3, .kept = 1, .sum_of = 4}, x) == reference::Ids{8, 9, 10}));  // 9, 12, 13
  BOOST_TEST((choose(Group{.groups = 3, .kept = 1, .sum_of = 99}, x) == reference::Ids{8, 9, 10})); // all of a group
  BOOST_TEST((choose(Group{.groups = 1, .kept = 1}, x) == choose(TopK<3>{}, x)));
  BOOST_TEST((choose(Group{.groups = 3, .kept = 3}, x) == choose(TopK<3>{}, x)));
}

BOOST_AUTO_TEST_CASE(nan_members_and_groups) {
  float const nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
  std::vector<float> const x{nan, nan, nan, 9, -inf, -inf, -5, -6};
  auto const kept_one = [&](GroupScore s) {
    return choose(GroupLimitedTopK<2>{.groups = 4, .kept = 1, .score = s}, x);
  };
  BOOST_TEST((kept_one(GroupScore::Max) == reference::Ids{3, 2}));
  BOOST_TEST((kept_one(GroupScore::SumTop) == reference::Ids{6, 7})); // 9 and a NaN are worth -inf together
  auto const three = choose(GroupLimitedTopK<6>{.groups = 4, .kept = 3}, x);
  BOOST_TEST((three == reference::Ids{3, 6, 7, 4, 5, 2})); // the group of NaN alone is the last
}

// Coarse keys: their sums are exact, and ties are everywhere.
BOOST_AUTO_TEST_CASE(as_the_reference) {
  Random random(4);
  for (int i = 0; i < 500; ++i) {
    Index const groups = 1 + random.below(8), size = 3 + random.below(6), kept = 1 + random.below(groups),
                sum_of = 1 + random.below(4);
    bool const max = random.one_in(3);
    std::vector<float> x;
    for (Index e = 0; e < groups * size; ++e) x.push_back(float(random.below(9)) - 4);
    Group const selection{
        .groups = groups, .kept = kept, .score = max ? GroupScore::Max : GroupScore::SumTop, .sum_of = sum_of};
    reference::Groups const g{std::size_t(groups), std::size_t(kept), max ? 1u : std::size_t(sum_of)};
    reference::Row const keys(x.begin(), x.end());
    BOOST_TEST_REQUIRE((choose(selection, x) == reference::group_limited_top_k(keys, keys, 3, g)));
    std::vector<double> const wide(x.begin(), x.end());
    BOOST_TEST_REQUIRE((choose<double>(selection, wide) == choose(selection, x)));
  }
}

BOOST_AUTO_TEST_CASE(what_does_not_fit_is_refused) {
  BOOST_CHECK_NO_THROW((Group{.groups = 4, .kept = 2}.check(8)));
  BOOST_CHECK_THROW((Group{.groups = 3}.check(8)), ShapeError); // unequal groups
  BOOST_CHECK_THROW((Group{.groups = 0}.check(8)), ShapeError);
  BOOST_CHECK_THROW((Group{.groups = 16}.check(8)), ShapeError);
  BOOST_CHECK_THROW((Group{.groups = 4, .kept = 5}.check(8)), ShapeError);
  BOOST_CHECK_THROW((Group{.groups = 4, .kept = 0}.check(8)), ShapeError);
  BOOST_CHECK_THROW((Group{.groups = 4, .kept = 1}.check(8)), ShapeError); // two experts for K = 3
  BOOST_CHECK_THROW((Group{.groups = 4, .kept = 2, .sum_of = 0}.check(8)), ShapeError);
}

BOOST_AUTO_TEST_SUITE_END()
