// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The CPU's fast forms (packs of lanes, tiles of rows) against plain loops: the same bits for every K of a tile, for
// any bits in the logits, at row counts around one and two tiles.
#include "support/test.hpp"

#include "support/executions.hpp"
#include "support/inputs.hpp"
#include "support/serial_exec.hpp"

#include <moebal/backend/eigen.hpp>
#include <moebal/gate/sigmoid.hpp>
#include <moebal/gate/softmax.hpp>
#include <moebal/gate/sqrt_softplus.hpp>
#include <moebal/router.hpp>
#include <moebal/select/group_limited_top_k.hpp>
#include <moebal/select/top_k.hpp>
#include <moebal/stats/counts.hpp>
#include <moebal/stats/score_sums.hpp>

using namespace moebal;
using namespace moebal_test;

namespace {

using Needs = stats::List<stats::Counts, stats::ScoreSums>;

template <class Exec, class Router, class Logit>
bool same_as_serial(Exec const& exec, Router const& router, MatrixView<Logit const> x, RowOptions<> options) {
  auto const [plain, plain_load] = router.template route_with<Needs>(SerialExec{}, x, options);
  auto const [fast, fast_load] = router.template route_with<Needs>(exec, x, options);
  bool same = plain_load == fast_load;
  for (Index t = 0; t < x.rows(); ++t)
    for (Index k = 0; k < Router::top_k; ++k)
      same = same && plain.expert_ids()(t, k) == fast.expert_ids()(t, k) &&
             std::bit_cast<std::uint32_t>(plain.weights()(t, k)) == std::bit_cast<std::uint32_t>(fast.weights()(t, k));
  return same;
}

template <class Router, class Logit>
bool same_as_serial(Router const& router, MatrixView<Logit const> x, RowOptions<> options) {
  bool same = same_as_serial(EigenExec{}, router, x, options);
  for (auto const& exec : other_executions()) same = same && same_as_serial(exec, router, x, options);
  return same;
}

template <class Logit, class Router> void every_kind(Router const& router, std::initializer_list<Index> experts) {
  for (Kind kind : all_kinds)
    for (Index e : experts)
      for (Index t : {15, 16, 33, 50})
        for (bool biased : {false, true}) {
          auto const x = logits_of<Logit>(kind, t, e, std::uint64_t(t));
          auto const bias = bias_of(e, 0.2f);
          RowOptions<> options;
          if (biased) options.bias = bias;
          BOOST_TEST_REQUIRE(same_as_serial(router, matrix(x, t, e), options),
                             name_of(kind)
                                 << ", T " << t << ", E " << e << ", K " << Router::top_k << ", bias " << biased);
        }
}

// Rows that are nearly alike, with many ties at the K-th place: more survivors of a bound than a tile holds.
template <class Router> void crowded(Router const& router, Index experts) {
  Random random(9);
  std::vector<float> x;
  for (Index i = 0; i < 48 * experts; ++i)
    x.push_back(random.one_in(3) ? 1.0f : random.one_in(5) ? 2.0f : random.bell());
  BOOST_TEST(same_as_serial(router, matrix(x, 48, experts), {}));
  auto const bias = std::vector<float>(std::size_t(experts), 0.5f);
  BOOST_TEST(same_as_serial(router, matrix(x, 48, experts), RowOptions<>{.bias = bias}));
}

} // namespace

BOOST_AUTO_TEST_SUITE(laws_router_rows)

BOOST_AUTO_TEST_CASE(one_choice) { every_kind<float>(Router(TopK<1>{}, Softmax{}), {1, 15, 17, 64, 100}); }
BOOST_AUTO_TEST_CASE(two_choices) { every_kind<float>(Router(TopK<2>{}, SoftmaxOverChosen{}), {2, 16, 33, 130}); }
BOOST_AUTO_TEST_CASE(six_choices) { every_kind<float>(Router(TopK<6>{}, SqrtSoftplus{}), {6, 17, 64, 160}); }
BOOST_AUTO_TEST_CASE(eight_choices) { every_kind<float>(Router(TopK<8>{}, Sigmoid{}), {8, 31, 128, 257, 384}); }
BOOST_AUTO_TEST_CASE(as_many_choices_as_a_tile_takes) {
  every_kind<float>(Router(TopK<16>{}, Sigmoid{}), {16, 17, 65, 256});
}
BOOST_AUTO_TEST_CASE(more_choices_than_a_tile_takes) { every_kind<float>(Router(TopK<17>{}, Sigmoid{}), {17, 64}); }
BOOST_AUTO_TEST_CASE(bfloat16_logits) {
  every_kind<BFloat16>(Router(TopK<8>{}, Softmax{.normalise = Normalise::OverChosen}), {8, 64, 129});
}
BOOST_AUTO_TEST_CASE(half_logits) { every_kind<Half>(Router(TopK<4>{}, Sigmoid{}), {5, 64, 129}); }
BOOST_AUTO_TEST_CASE(groups_by_sum) {
  every_kind<float>(Router(GroupLimitedTopK<8>{.groups = 8, .kept = 4}, Sigmoid{.scale = 2.5f}), {32, 64, 256});
  every_kind<float>(Router(GroupLimitedTopK<8>{.groups = 4, .kept = 2, .sum_of = 3}, Softmax{}), {20, 36, 160});
}
BOOST_AUTO_TEST_CASE(groups_by_maximum) {
  every_kind<float>(Router(GroupLimitedTopK<6>{.groups = 8, .kept = 3, .score = GroupScore::Max}, Softmax{}),
                    {16, 160, 256});
  every_kind<float>(Router(GroupLimitedTopK<6>{.groups = 1, .kept = 1}, SqrtSoftplus{}), {6, 40});
}
BOOST_AUTO_TEST_CASE(ties_at_the_last_place) {
  crowded(Router(TopK<8>{}, Sigmoid{}), 128);
  crowded(Router(TopK<2>{}, Softmax{}), 60);
  crowded(Router(TopK<16>{}, Sigmoid{}), 200);
  crowded(Router(GroupLimitedTopK<8>{.groups = 8, .kept = 4}, Sigmoid{}), 256);
}

BOOST_AUTO_TEST_SUITE_END()
