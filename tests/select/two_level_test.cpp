// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "select/random_rows.hpp"
#include "select/rows.hpp"

#include <moebal/gate/sigmoid.hpp>
#include <moebal/gate/softmax.hpp>
#include <moebal/select/group_limited_top_k.hpp>
#include <moebal/select/threshold.hpp>
#include <moebal/select/two_level.hpp>

using namespace moebal;
using select_rows::choose;
using Two = TwoLevel<TopK<2>>;

static_assert(std::is_trivially_copyable_v<Two> && std::is_aggregate_v<Two> && Two::causal);

BOOST_AUTO_TEST_SUITE(select_two_level)

BOOST_AUTO_TEST_CASE(inside_the_group_of_the_domain) {
  std::vector<float> const z{9, 8, 7, 1, 2, 3, 5, 5, 5};
  BOOST_TEST((choose(Two{.groups = 3}, z, 0) == reference::Ids{0, 1}));
  BOOST_TEST((choose(Two{.groups = 3}, z, 1) == reference::Ids{5, 4}));
  BOOST_TEST((choose(Two{.groups = 3}, z, 2) == reference::Ids{6, 7}));
  BOOST_TEST(choose(Two{.groups = 3}, z, 3).empty());
  BOOST_TEST(choose(Two{.groups = 3}, z, -1).empty());
  BOOST_TEST((choose(Two{.groups = 1}, z) == choose(TopK<2>{}, z)));
  std::vector<Index> const map{2, 2, 0};
  BOOST_TEST((choose(Two{.groups = 3, .group_of = map}, z, 1) == reference::Ids{6, 7}));
  BOOST_TEST((choose(Two{.groups = 3, .group_of = map}, z, 2) == reference::Ids{0, 1}));
  BOOST_TEST(choose(Two{.groups = 3, .group_of = map}, z, 3).empty());
}

BOOST_AUTO_TEST_CASE(any_selection_inside) {
  std::vector<float> const z{9, 8, 7, 6, 1, 4, 3, 2.5f};
  TwoLevel<Threshold<4>> const threshold{.inner = {.threshold = 2.75f}, .groups = 2};
  BOOST_TEST((choose(threshold, z, 1) == reference::Ids{5, 6}));
  TwoLevel<GroupLimitedTopK<2>> const grouped{.inner = {.groups = 2, .kept = 1}, .groups = 2};
  BOOST_TEST((choose(grouped, z, 1) == reference::Ids{6, 7})); // 3 + 2.5 against 1 + 4
  BOOST_TEST(grouped.scratch_words(8) == 2);
}

// The router on a group is the router of the group's logits alone.
BOOST_AUTO_TEST_CASE(as_a_router_of_the_group_alone) {
  Index const T = 40, E = 24, size = 8;
  auto const x = moebal_test::logits_of(moebal_test::Kind::Bell, T, E);
  std::vector<Index> tags;
  for (Index t = 0; t < T; ++t) tags.push_back(t % 3);
  auto const routing =
      Router{Two{.groups = 3}, Sigmoid{}}.route(EigenExec{}, moebal_test::matrix(x, T, E), {.tags = tags});
  for (Index t = 0; t < T; ++t) {
    Index const first = t % 3 * size;
    auto const alone =
        Router{TopK<2>{}, Sigmoid{}}.route(EigenExec{}, MatrixView<float const>(x.data() + t * E + first, 1, size));
    for (Index k = 0; k < 2; ++k) {
      BOOST_TEST(routing.expert_ids()(t, k) == alone.expert_ids()(0, k) + first);
      BOOST_TEST(routing.weights()(t, k) == alone.weights()(0, k));
    }
  }
}

BOOST_AUTO_TEST_CASE(contract) {
  BOOST_TEST(select_rows::keeps_the_contract(Two{.groups = 4}, Softmax{}, 60, true)); // the tag 4 has no group
  BOOST_TEST(select_rows::keeps_the_contract(TwoLevel<TopK<1>>{.groups = 5}, Softmax{}, 5, true));
  BOOST_CHECK_THROW(Two{.groups = 4}.check(6), ShapeError);
  BOOST_CHECK_THROW(Two{.groups = 0}.check(6), ShapeError);
  BOOST_CHECK_THROW(Two{.groups = 6}.check(6), ShapeError); // one expert for K = 2
  std::vector<Index> const map{0, 3};
  BOOST_CHECK_THROW((Two{.groups = 3, .group_of = map}.check(6)), ShapeError);
}

BOOST_AUTO_TEST_SUITE_END()
