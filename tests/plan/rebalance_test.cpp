// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include <moebal/plan/rebalance.hpp>

#include <algorithm>
#include <cmath>
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
double worst(Placement const& p, Index layer, VectorView<float const> loads, Index ranks) {
  auto const sums = rank_loads(p, layer, loads, ranks);
  return *std::max_element(sums.begin(), sums.end());
}
template <class V, class W> bool equal(V const& a, W const& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end());
}
} // namespace

BOOST_AUTO_TEST_SUITE(plan_rebalance)

// The example in the README of deepseek-ai/EPLB (d52c72d).
BOOST_AUTO_TEST_CASE(readme_of_eplb) {
  std::vector<float> const loads{90, 132, 40,  61, 104, 165, 39,  4,   73,  56, 183, 86,
                                 20, 107, 104, 64, 19,  197, 187, 157, 172, 86, 16,  27};
  auto const p = rebalance({loads.data(), 2, 12}, {.replicas = 16, .groups = 4, .nodes = 2, .ranks = 8});
  std::vector<ExpertId> const expected{5, 6,  5, 7, 8, 4,  3, 4, 10, 9, 10, 2, 0, 1, 11, 1,
                                       7, 10, 6, 8, 6, 11, 8, 9, 2,  4, 5,  1, 5, 0, 3,  1};
  BOOST_TEST(equal(VectorView<ExpertId const>(p.expert_of().data(), 32), expected));
  BOOST_TEST(p.most_copies() == 2);
  BOOST_TEST(p.count()(0, 5) == 2);
  BOOST_TEST(p.slots_of(0)(5, 0) == 0);
  BOOST_TEST(p.slots_of(0)(5, 1) == 2);
  BOOST_TEST(p.slots_of(1)(7, 0) == 0);
  BOOST_TEST(p.slots_of(1)(7, 1) == no_slot);
}

BOOST_AUTO_TEST_CASE(packing_by_hand) {
  std::vector<float> const w{5, 1, 4, 4, 2, 2};
  std::vector<Index> pack(6), place(6);
  balanced_packing(w, 2, pack, place); // 5 | 4; 4 to the lighter; 2 to 5; 2 to 7; the rest where there is room
  BOOST_TEST((pack == std::vector<Index>{0, 1, 1, 1, 0, 0}));
  BOOST_TEST((place == std::vector<Index>{0, 2, 0, 1, 1, 2}));
  balanced_packing(w, 6, pack, place);
  BOOST_TEST((pack == std::vector<Index>{0, 1, 2, 3, 4, 5}));
  std::vector<float> const zeros(6, 0);
  balanced_packing(zeros, 3, pack, place); // ties: the lower pack
  BOOST_TEST((pack == std::vector<Index>{0, 0, 1, 1, 2, 2}));
  balanced_packing({}, 3, {}, {});
  BOOST_CHECK_THROW(balanced_packing(w, 4, pack, place), ShapeError);
  std::vector<float> const bad{1, NAN}, negative{1, -1};
  std::vector<Index> two(2), other(2);
  BOOST_CHECK_THROW(balanced_packing(bad, 1, two, other), ShapeError);
  BOOST_CHECK_THROW(balanced_packing(negative, 1, two, other), ShapeError);
}

BOOST_AUTO_TEST_CASE(replicas_by_hand) {
  std::vector<float> const w{6, 9, 6};
  std::vector<Index> item(7), copy(7), count(3);
  replicate(w, item, copy, count); // 9; then 6 of expert 0 before 6 of expert 2; then 4.5
  BOOST_TEST((item == std::vector<Index>{0, 1, 2, 1, 0, 2, 1}));
  BOOST_TEST((copy == std::vector<Index>{0, 0, 0, 1, 1, 1, 2}));
  BOOST_TEST((count == std::vector<Index>{2, 3, 2}));
  std::vector<Index> few(2);
  BOOST_CHECK_THROW(replicate(w, few, few, count), ShapeError);
}

BOOST_AUTO_TEST_CASE(every_shape_is_whole) {
  struct Case {
    Index experts;
    PlacementShape shape;
  };
  for (auto const& c :
       {Case{1, {.replicas = 1}}, Case{1, {.replicas = 8, .ranks = 8}}, Case{3, {.replicas = 9, .ranks = 3}},
        Case{60, {.replicas = 64, .groups = 4, .nodes = 2, .ranks = 8}},
        Case{160, {.replicas = 176, .groups = 8, .nodes = 8, .ranks = 16}},
        Case{16, {.replicas = 24, .groups = 4, .nodes = 3, .ranks = 8}}, // nodes do not divide: global
        Case{384, {.replicas = 448, .groups = 1, .nodes = 1, .ranks = 64}}}) {
    auto const loads = pareto(3 * c.experts, std::uint64_t(c.experts));
    auto const p = rebalance({loads.data(), 3, c.experts}, c.shape);
    Index const each = c.shape.replicas / c.shape.nodes, size = c.experts / c.shape.groups;
    for (Index l = 0; l < 3; ++l) {
      std::vector<std::set<Index>> nodes_of_group(std::size_t(c.shape.groups));
      for (Index e = 0; e < c.experts; ++e)
        for (Index i = 0; i < p.most_copies(); ++i) {
          Index const slot = p.slots_of(l)(e, i);
          BOOST_TEST((slot != no_slot) == (i < p.count()(l, e)));
          if (slot == no_slot) continue;
          BOOST_TEST(p.expert_of()(l, slot) == e);
          if (c.shape.by_node()) nodes_of_group[std::size_t(e / size)].insert(slot / each);
        }
      if (c.shape.by_node())
        for (auto const& nodes : nodes_of_group) BOOST_TEST(nodes.size() == 1u);
      // Not below the mean, and within the greedy's 4/3 and the largest copy of it where experts may be anywhere.
      VectorView<float const> const layer(loads.data() + l * c.experts, c.experts);
      auto const sums = rank_loads(p, l, layer, c.shape.ranks);
      double total = 0, largest = 0;
      for (double const s : sums) total += s;
      for (Index e = 0; e < c.experts; ++e) largest = std::max(largest, double(layer[e]) / double(p.count()(l, e)));
      double const mean = total / double(c.shape.ranks);
      BOOST_TEST(worst(p, l, layer, c.shape.ranks) >= mean * (1 - 1e-6));
      if (!c.shape.by_node() || c.shape.nodes == 1) BOOST_TEST(worst(p, l, layer, c.shape.ranks) <= mean + largest);
    }
  }
}

BOOST_AUTO_TEST_CASE(equal_and_no_loads) {
  for (float const load : {0.0f, 1.0f}) {
    std::vector<float> const loads(16, load);
    auto const p = rebalance({loads.data(), 1, 16}, {.replicas = 32, .groups = 4, .nodes = 2, .ranks = 8});
    if (load == 1)
      for (Index e = 0; e < 16; ++e) BOOST_TEST(p.count()(0, e) == 2);
    auto const sums = rank_loads(p, 0, loads, 8);
    for (double const s : sums) BOOST_TEST(s == 2 * load);
  }
  BOOST_TEST(rebalance({nullptr, 0, 4}, {.replicas = 4}).layers() == 0);
}

BOOST_AUTO_TEST_CASE(refuses) {
  std::vector<float> const loads(12, 1);
  MatrixView<float const> const one(loads.data(), 1, 12);
  BOOST_CHECK_THROW(rebalance(one, {.replicas = 11}), ShapeError);
  BOOST_CHECK_THROW(rebalance(one, {.replicas = 13, .ranks = 4}), ShapeError);
  BOOST_CHECK_THROW(rebalance(one, {.replicas = 12, .groups = 5}), ShapeError);
  BOOST_CHECK_THROW(rebalance(one, {.replicas = 12, .groups = 4, .nodes = 4, .ranks = 6}), ShapeError);
  std::vector<ExpertId> const missing{0, 0, 2}, all{0, 1, 1};
  std::vector<Index> const twice{0, 1, 1};
  BOOST_CHECK_THROW(Placement(3, {missing.data(), 1, 3}), ShapeError);
  BOOST_CHECK_THROW(Placement(2, {all.data(), 1, 3}, {twice.data(), 1, 3}), ShapeError);
}

BOOST_AUTO_TEST_SUITE_END()
