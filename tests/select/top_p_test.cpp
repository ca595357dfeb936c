// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "select/random_rows.hpp"
#include "select/rows.hpp"

#include <moebal/gate/softmax.hpp>
#include <moebal/select/top_p.hpp>

#include <cmath>

using namespace moebal;
using select_rows::choose;

static_assert(std::is_trivially_copyable_v<TopP<4>> && std::is_aggregate_v<TopP<4>> && TopP<4>::causal);

BOOST_AUTO_TEST_SUITE(select_top_p)

BOOST_AUTO_TEST_CASE(the_crossing_expert_is_included) {
  std::vector<float> const p{0.125f, 0.5f, 0.25f, 0.125f};
  BOOST_TEST((choose(TopP<4>{}, p) == reference::Ids{1}));                    // 0.5 > 0.4
  BOOST_TEST((choose(TopP<4>{.mass = 0.5f}, p) == reference::Ids{1, 2}));     // exceeds, not reaches
  BOOST_TEST((choose(TopP<4>{.mass = 0.75f}, p) == reference::Ids{1, 2, 0})); // equal: the lower id
  BOOST_TEST((choose(TopP<4>{.mass = 1}, p) == reference::Ids{1, 2, 0, 3}));  // never crossed: all
  BOOST_TEST((choose(TopP<2>{.mass = 1}, p) == reference::Ids{1, 2}));        // the cap
  BOOST_TEST((choose(TopP<4>{.mass = -1}, p) == reference::Ids{1}));          // at least one
  BOOST_TEST((choose(TopP<1>{.mass = 1}, {0.5f}) == reference::Ids{0}));
}

BOOST_AUTO_TEST_CASE(a_nan_is_last_and_never_crosses) {
  float const nan = std::nanf("");
  BOOST_TEST((choose(TopP<3>{.mass = 0.6f}, {nan, 0.5f, 0.25f}) == reference::Ids{1, 2}));
  BOOST_TEST((choose(TopP<3>{.mass = 0.9f}, {nan, 0.5f, 0.25f}) == reference::Ids{1, 2, 0}));
}

BOOST_AUTO_TEST_CASE(weights_are_raw_probabilities) {
  std::vector<float> const z{std::log(0.1f), std::log(0.2f), std::log(0.4f), std::log(0.3f)};
  auto const routing =
      Router{TopP<4>{.mass = 0.5f}, Softmax{}}.route(EigenExec{}, MatrixView<float const>(z.data(), 1, 4));
  BOOST_TEST((select_rows::ids_of(routing, 0) == std::vector<int>{2, 3}));
  BOOST_TEST(routing.weights()(0, 0) == 0.4f, boost::test_tools::tolerance(1e-6f));
  BOOST_TEST(routing.weights()(0, 1) == 0.3f, boost::test_tools::tolerance(1e-6f));
  BOOST_TEST(routing.weights()(0, 2) == 0);
}

BOOST_AUTO_TEST_CASE(contract) {
  BOOST_TEST(select_rows::keeps_the_contract(TopP<5>{}, Softmax{}, 17));
  BOOST_TEST(select_rows::keeps_the_contract(TopP<1>{}, Softmax{}, 1));
  BOOST_TEST(select_rows::keeps_the_contract(TopP<60>{.mass = 0.9f}, Softmax{}, 60));
  BOOST_CHECK_THROW(TopP<4>{}.check(3), ShapeError);
}

BOOST_AUTO_TEST_SUITE_END()
