// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include <moebal/plan/migrate.hpp>

#include <random>
#include <set>

using namespace moebal;

namespace {
std::vector<float> pareto(Index n, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<float> x;
  for (Index i = 0; i < n; ++i) x.push_back(float(10 / std::pow(1 - double(random() >> 11) * 0x1p-53, 0.7)));
  return x;
}
double imbalance(Placement const& p, Index layer, VectorView<float const> loads, Index ranks) {
  auto const sums = rank_loads(p, layer, loads, ranks);
  double total = 0;
  for (double const s : sums) total += s;
  return *std::max_element(sums.begin(), sums.end()) / total * double(ranks);
}
Placement placed(Index experts, std::vector<ExpertId> const& expert_of) {
  return {experts, {expert_of.data(), 1, Index(expert_of.size())}};
}
std::vector<ExpertId> row(Placement const& p) { return {p.expert_of().row(0), p.expert_of().row(0) + p.replicas()}; }
} // namespace

BOOST_AUTO_TEST_SUITE(plan_migrate)

BOOST_AUTO_TEST_CASE(a_swap_by_hand) {
  // Ranks {0 1} {2 3} with loads 8 6 | 2 4: 14 against 6. One swap balances: 0 with 3, or 1 with 2.
  std::vector<float> const loads{8, 6, 2, 4};
  auto const old = placed(4, {0, 1, 2, 3});
  auto const next = rebalance_from(old, {loads.data(), 1, 4}, {.replicas = 4, .ranks = 2}, {.cost = 0});
  BOOST_TEST(imbalance(next, 0, loads, 2) == 1.0);
  BOOST_TEST((row(next) == std::vector<ExpertId>{3, 1, 2, 0} || row(next) == std::vector<ExpertId>{0, 2, 1, 3}));
  BOOST_TEST(moved_copies(old, next, 0, 2) == 2);
  // It saves 0.4 of the mean for two copies.
  PlacementShape const shape{.replicas = 4, .ranks = 2};
  BOOST_TEST((rebalance_from(old, {loads.data(), 1, 4}, shape, {.cost = 0.19}) == next));
  BOOST_TEST((rebalance_from(old, {loads.data(), 1, 4}, shape, {.cost = 0.21}) == old));
}

BOOST_AUTO_TEST_CASE(a_copy_by_hand) {
  // Expert 2 has a spare copy, expert 0 is hot: its copy takes the spare one's slot. 9 | 3 | 2 becomes 4.5 | 4 | 5.5.
  std::vector<float> const loads{9, 1, 4};
  auto const old = placed(3, {0, 1, 2, 2});
  auto const next = rebalance_from(old, {loads.data(), 1, 3}, {.replicas = 4, .ranks = 4}, {.cost = 0.1});
  BOOST_TEST(next.count()(0, 0) == 2);
  BOOST_TEST(moved_copies(old, next, 0, 4) == 1);
  BOOST_TEST((row(next) == std::vector<ExpertId>{0, 1, 0, 2} || row(next) == std::vector<ExpertId>{0, 1, 2, 0}));
}

BOOST_AUTO_TEST_CASE(between_nothing_and_everything) {
  struct Case {
    Index experts;
    PlacementShape shape;
  };
  for (auto const& c :
       {Case{12, {.replicas = 16, .groups = 4, .nodes = 2, .ranks = 8}}, Case{60, {.replicas = 64, .ranks = 8}},
        Case{64, {.replicas = 72, .groups = 8, .nodes = 2, .ranks = 8}}, Case{5, {.replicas = 6, .ranks = 3}},
        Case{1, {.replicas = 2, .ranks = 2}}, Case{7, {.replicas = 7, .ranks = 1}}})
    for (std::uint64_t seed = 1; seed <= 3; ++seed) {
      auto const before = pareto(2 * c.experts, seed), after = pareto(2 * c.experts, seed + 100);
      MatrixView<float const> const was(before.data(), 2, c.experts), is(after.data(), 2, c.experts);
      auto const old = rebalance(was, c.shape), fresh = rebalance(is, c.shape);
      BOOST_TEST((rebalance_from(old, is, c.shape, {.cost = 1e9}) == Placement(c.experts, old.expert_of())));
      for (double const cost : {0.0, 0.001, 0.01, 0.1}) {
        auto const next = rebalance_from(old, is, c.shape, {.cost = cost});
        for (Index l = 0; l < 2; ++l) {
          VectorView<float const> const layer(is.row(l), c.experts);
          double const now = imbalance(next, l, layer, c.shape.ranks);
          double const kept = imbalance(old, l, layer, c.shape.ranks), made = imbalance(fresh, l, layer, c.shape.ranks);
          double const mine = now + cost * double(moved_copies(old, next, l, c.shape.ranks));
          BOOST_TEST(mine <= kept + 1e-9);
          BOOST_TEST(mine <= made + cost * double(moved_copies(old, fresh, l, c.shape.ranks)) + 1e-9);
          if (!c.shape.by_node()) continue;
          std::vector<std::set<Index>> nodes(std::size_t(c.shape.groups)); // groups stay together
          for (Index p = 0; p < c.shape.replicas; ++p)
            nodes[std::size_t(next.expert_of()(l, p) / (c.experts / c.shape.groups))].insert(
                p / (c.shape.replicas / c.shape.nodes));
          for (auto const& n : nodes) BOOST_TEST(n.size() == 1u);
        }
      }
    }
}

// Loads that drift a little: nearly all of the gain for a small part of the moves.
BOOST_AUTO_TEST_CASE(most_of_the_gain_for_few_moves) {
  Index const experts = 64;
  PlacementShape const shape{.replicas = 72, .ranks = 8};
  auto loads = pareto(experts, 7);
  auto const old = rebalance({loads.data(), 1, experts}, shape);
  std::mt19937_64 random(8);
  for (float& x : loads) x *= 0.7f + 0.6f * float(random() % 1000) / 1000;
  auto const next = rebalance_from(old, {loads.data(), 1, experts}, shape),
             fresh = rebalance({loads.data(), 1, experts}, shape);
  double const kept = imbalance(old, 0, loads, 8), now = imbalance(next, 0, loads, 8),
               made = imbalance(fresh, 0, loads, 8);
  BOOST_TEST(kept > 1.03);
  BOOST_TEST(kept - now > 0.5 * (kept - made));
  BOOST_TEST(moved_copies(old, next, 0, 8) * 4 < moved_copies(old, fresh, 0, 8));
  Index in_place = 0;
  for (Index p = 0; p < 72; ++p) in_place += next.expert_of()(0, p) == old.expert_of()(0, p);
  BOOST_TEST(in_place == 72 - moved_copies(old, next, 0, 8));
}

BOOST_AUTO_TEST_CASE(nothing_to_do) {
  std::vector<float> const zeros(4, 0);
  auto const old = placed(4, {3, 2, 1, 0});
  BOOST_TEST((rebalance_from(old, {zeros.data(), 1, 4}, {.replicas = 4, .ranks = 2}, {.cost = 0}) == old));
  BOOST_TEST((rebalance_from(old, {zeros.data(), 1, 4}, {.replicas = 4, .ranks = 2}, {.most_steps = 0}) == old));
  Placement const none(4, {nullptr, 0, 4});
  BOOST_TEST(rebalance_from(none, {nullptr, 0, 4}, {.replicas = 4}).layers() == 0);
}

BOOST_AUTO_TEST_CASE(refuses) {
  std::vector<float> const loads(5, 1);
  auto const old = placed(4, {3, 2, 1, 0});
  MatrixView<float const> const four(loads.data(), 1, 4), five(loads.data(), 1, 5);
  BOOST_CHECK_THROW(rebalance_from(old, five, {.replicas = 5}), ShapeError);
  BOOST_CHECK_THROW(rebalance_from(old, four, {.replicas = 6}), ShapeError);
  BOOST_CHECK_THROW(rebalance_from(old, four, {.replicas = 4}, {.cost = -1}), ShapeError);
  BOOST_CHECK_THROW(rebalance_from(old, four, {.replicas = 4}, {.cost = NAN}), ShapeError);
  BOOST_CHECK_THROW(moved_copies(old, old, 1, 2), ShapeError);
  BOOST_CHECK_THROW(moved_copies(old, old, 0, 3), ShapeError);
}

BOOST_AUTO_TEST_SUITE_END()
