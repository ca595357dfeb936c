// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "select/random_rows.hpp"
#include "select/rows.hpp"

#include <moebal/gate/relu.hpp>
#include <moebal/gate/sigmoid.hpp>
#include <moebal/select/threshold.hpp>

#include <cmath>

using namespace moebal;
using select_rows::choose;

static_assert(std::is_trivially_copyable_v<Threshold<4>> && std::is_aggregate_v<Threshold<4>> && Threshold<4>::causal);

BOOST_AUTO_TEST_SUITE(select_threshold)

BOOST_AUTO_TEST_CASE(above_best_first_capped) {
  std::vector<float> const s{0.1f, 0.5f, 0.9f, 0.5f, 0.7f};
  BOOST_TEST((choose(Threshold<5>{.threshold = 0.4f}, s) == reference::Ids{2, 4, 1, 3}));
  BOOST_TEST((choose(Threshold<5>{.threshold = 0.5f}, s) == reference::Ids{2, 4})); // above, not at
  BOOST_TEST((choose(Threshold<1>{.threshold = 0.4f}, s) == reference::Ids{2}));
  BOOST_TEST(choose(Threshold<5>{.threshold = 1}, s).empty());
  BOOST_TEST((choose(Threshold<5>{.threshold = 1, .least = 2}, s) == reference::Ids{2, 4}));
  BOOST_TEST((choose(Threshold<5>{.threshold = 0.4f, .least = 2}, s) == reference::Ids{2, 4, 1, 3}));
}

BOOST_AUTO_TEST_CASE(a_nan_is_above_nothing) {
  float const nan = std::nanf(""), inf = std::numeric_limits<float>::infinity();
  BOOST_TEST((choose(Threshold<3>{}, {nan, inf, 1.0f}) == reference::Ids{1, 2}));
  BOOST_TEST(choose(Threshold<3>{.threshold = -inf}, {nan, nan, nan}).empty());
  BOOST_TEST((choose(Threshold<3>{.least = 1}, {nan, nan, nan}) == reference::Ids{0}));
}

BOOST_AUTO_TEST_CASE(a_threshold_for_each_expert_is_a_bias) {
  std::vector<float> const z{0, 2, -1, 1}, minus_threshold{-0.4f, -0.9f, -0.25f, -0.8f}; // scores .5 .88 .27 .73
  Router const router{Threshold<4>{}, Sigmoid{.normalise = Normalise::None}};
  auto const [routing, load] = router.route_with<stats::List<stats::Counts>>(
      EigenExec{}, MatrixView<float const>(z.data(), 1, 4), {.bias = minus_threshold});
  BOOST_TEST((select_rows::ids_of(routing, 0) == std::vector<int>{0, 2}));          // by margin: 0.1, 0.019
  BOOST_TEST(routing.weights()(0, 0) == 0.5f, boost::test_tools::tolerance(1e-6f)); // the score, not the margin
  BOOST_TEST(routing.weights()(0, 2) == 0);
}

BOOST_AUTO_TEST_CASE(relu_routing_works_where_the_score_is_positive) {
  std::vector<float> const z{-1, 2, 0, 0.5f, -3, -1, -2, -0.0f, -1, -1};
  auto const routing = Router{Threshold<5>{}, ReLU{}}.route(EigenExec{}, MatrixView<float const>(z.data(), 2, 5));
  BOOST_TEST((select_rows::ids_of(routing, 0) == std::vector<int>{1, 3}));
  BOOST_TEST(routing.weights()(0, 0) == 2);
  BOOST_TEST(routing.weights()(0, 1) == 0.5f);
  BOOST_TEST(select_rows::ids_of(routing, 1).empty());
  // and back
  std::vector<float> const d_weights{1, 10, 0, 0, 0, 7, 7, 7, 7, 7};
  std::vector<float> d(10, 9);
  Router const router{Threshold<5>{}, ReLU{}};
  Workspace workspace(router.workspace_bytes(EigenExec{}, 2, 5));
  router.backward_into(EigenExec{}, MatrixView<float const>(z.data(), 2, 5), RowOptions<>{},
                       std::as_const(routing).expert_ids(),
                       RouterGradient<float>{.d_weights = MatrixView<float const>(d_weights.data(), 2, 5)},
                       MatrixView<float>(d.data(), 2, 5), WorkspaceView<>(workspace));
  BOOST_TEST((d == std::vector<float>{0, 1, 0, 10, 0, 0, 0, 0, 0, 0}));
}

BOOST_AUTO_TEST_CASE(contract) {
  BOOST_TEST(select_rows::keeps_the_contract(Threshold<5>{.threshold = 0.5f}, Sigmoid{}, 17));
  BOOST_TEST(select_rows::keeps_the_contract(Threshold<60>{}, ReLU{}, 60));
  BOOST_TEST(select_rows::keeps_the_contract(Threshold<1>{.least = 1}, ReLU{}, 1));
  BOOST_CHECK_THROW(Threshold<4>{}.check(3), ShapeError);
  BOOST_CHECK_THROW(Threshold<4>{.least = 5}.check(8), ShapeError);
}

BOOST_AUTO_TEST_SUITE_END()
