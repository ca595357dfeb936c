// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "select/random_rows.hpp"
#include "select/rows.hpp"

#include <moebal/gate/sigmoid.hpp>
#include <moebal/gate/softmax.hpp>
#include <moebal/moebal.hpp>
#include <moebal/select/laser.hpp>

#include <algorithm>
#include <cmath>

using namespace moebal;
using select_rows::choose;

static_assert(std::is_trivially_copyable_v<Laser<4>> && std::is_aggregate_v<Laser<4>> && Laser<4>::causal);

BOOST_AUTO_TEST_SUITE(select_laser)

BOOST_AUTO_TEST_CASE(by_hand) {
  std::vector<std::int64_t> const load{9, 5, 7, 5, 0};
  std::vector<float> const flat{0.25f, 0.21875f, 0.21875f, 0.21875f, 0.09375f},
      sharp{0.5f, 0.1875f, 0.125f, 0.125f, 0.0625f};
  using Ids = reference::Ids;
  Laser<2> const laser{.load = load};
  BOOST_TEST((choose(laser, sharp) == Ids{0, 1})); // 0.6875 of it all: clear
  BOOST_TEST((choose(laser, flat) == Ids{1, 3}));  // 0.47: the least loaded of 0, 1, 2, 3; not 4, which is too bad
  BOOST_TEST((choose(Laser<2>{.load = load, .candidates = 3}, flat) == Ids{1, 2}));
  BOOST_TEST((choose(Laser<2>{.load = load, .candidates = 2}, flat) == Ids{0, 1}));
  BOOST_TEST(
      (choose(Laser<2>{.load = load, .near = 0.25f, .candidates = 5}, flat) == Ids{1, 4})); // equal load: the better
  BOOST_TEST((choose(Laser<2>{.load = load, .sharp = 0.4f}, flat) == Ids{0, 1}));
  BOOST_TEST((choose(Laser<2>{.load = load, .sharp = 2}, sharp) == Ids{0, 1})); // always balances, and nothing is near
  BOOST_TEST((choose(Laser<1>{.load = load, .sharp = 2, .near = 0.9f}, flat) == Ids{0}));
  float const nan = std::nanf("");
  BOOST_TEST((choose(laser, {nan, 0.2f, 0.2f, 0.2f, 0.2f}) == Ids{1, 2}));
}

BOOST_AUTO_TEST_CASE(an_idle_machine_gets_the_best) {
  for (Index const experts : {3, 60}) {
    auto const logits = moebal_test::logits_of<float>(moebal_test::Kind::Bell, 65, experts);
    std::vector<std::int64_t> const none(static_cast<std::size_t>(experts));
    auto const x = moebal_test::matrix(logits, 65, experts);
    auto const ours = Router{Laser<3>{.load = none, .sharp = 2}, Softmax{}}.route(EigenExec{}, x);
    auto const plain = Router{TopK<3>{}, Softmax{}}.route(EigenExec{}, x);
    for (Index t = 0; t < 65; ++t)
      for (Index k = 0; k < 3; ++k) {
        BOOST_TEST(ours.expert_ids()(t, k) == plain.expert_ids()(t, k));
        BOOST_TEST(ours.weights()(t, k) == plain.weights()(t, k));
      }
  }
}

// Batches one after the other, the counts of each the load of the next: a router that favours some experts is evened
// out.
BOOST_AUTO_TEST_CASE(it_evens_out_a_skewed_router) {
  constexpr Index tokens = 64, experts = 16;
  using Needs = stats::List<stats::Counts>;
  auto const spread = [&](float sharp) {
    std::vector<std::int64_t> load(experts);
    for (std::uint64_t batch = 0; batch < 40; ++batch) {
      auto logits = moebal_test::logits_of<float>(moebal_test::Kind::Bell, tokens, experts, batch + 1);
      for (std::size_t i = 0; i < logits.size(); ++i) logits[i] = 0.4f * (logits[i] + float(i % experts) * 0.05f);
      auto const counts = Router{Laser<2>{.load = load, .sharp = sharp, .candidates = 6}, Softmax{}}
                              .route_with<Needs>(EigenExec{}, moebal_test::matrix(logits, tokens, experts))
                              .second;
      for (Index e = 0; e < experts; ++e) load[std::size_t(e)] += counts.get<stats::Counts>()[e];
    }
    return *std::max_element(load.begin(), load.end()) - *std::min_element(load.begin(), load.end());
  };
  BOOST_TEST(spread(2) < spread(0) / 3);
}

BOOST_AUTO_TEST_CASE(contract) {
  std::vector<std::int64_t> load(60);
  for (std::size_t e = 0; e < load.size(); ++e) load[e] = std::int64_t(e * e % 7);
  auto const of = [&](Index n) { return VectorView<std::int64_t const>(load.data(), n); };
  BOOST_TEST(select_rows::keeps_the_contract(Laser<5>{.load = of(17)}, Softmax{}, 17));
  BOOST_TEST(select_rows::keeps_the_contract(Laser<1>{.load = of(1)}, Softmax{}, 1));
  BOOST_TEST(select_rows::keeps_the_contract(Laser<8>{.load = of(60), .sharp = 2, .candidates = 40}, Sigmoid{}, 60));
  BOOST_CHECK_THROW(Laser<4>{.load = of(3)}.check(3), ShapeError);
  BOOST_CHECK_THROW(Laser<2>{.load = of(3)}.check(4), ShapeError);
  BOOST_CHECK_THROW(Laser<2>{}.check(4), ShapeError);
  BOOST_CHECK_THROW((Laser<3>{.load = of(4), .candidates = 2}.check(4)), ShapeError);
  BOOST_CHECK_THROW((Laser<3>{.load = of(4), .candidates = 300}.check(4)), ShapeError);
}

BOOST_AUTO_TEST_SUITE_END()
