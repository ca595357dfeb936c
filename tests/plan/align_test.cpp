// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/test.hpp"

#include "plan/reference.hpp"
#include "support/serial_exec.hpp"

#include <moebal/plan/make_plan.hpp>

namespace mb = moebal;
using mb::ExpertId;
using mb::Index;
using moebal_test::SerialExec;

namespace {
mb::MatrixView<ExpertId const> ids_of(reference::Batch const& b) { return {b.ids.data(), b.tokens, b.top_k}; }
mb::MatrixView<float const> weights_of(reference::Batch const& b) { return {b.weights.data(), b.tokens, b.top_k}; }
template <class V> std::vector<Index> copy(V const& v) { return {v.begin(), v.end()}; }
} // namespace

BOOST_AUTO_TEST_SUITE(plan_align)

BOOST_AUTO_TEST_CASE(blocks_against_the_reference) {
  for (Index const E : {1, 3, 60, 160, 384})
    for (Index const T : {0, 1, 7, 4097})
      for (Index const K : {Index(1), std::min<Index>(E, 8), E})
        for (Index const block : {1, 4, 7, 64}) {
          if (T * K > 300000) continue;
          auto const batch = reference::random_batch(T, K, E, 31);
          mb::Plan const tight = mb::make_plan(SerialExec{}, E, ids_of(batch));
          std::vector<Index> order, offsets{0}, blocks;
          std::vector<Index> slot_of(batch.ids.size(), mb::no_slot);
          Index id = 0;
          for (reference::Expert const& e : reference::plan(batch, reference::Policy::None, 0)) {
            for (Index const pair : e.kept) {
              slot_of[std::size_t(pair)] = Index(order.size());
              order.push_back(pair);
            }
            while (Index(order.size()) % block != 0) order.push_back(mb::no_slot);
            while (Index(blocks.size()) * block < Index(order.size())) blocks.push_back(id);
            offsets.push_back(Index(order.size()));
            ++id;
          }
          BOOST_TEST_CONTEXT("T " << T << " K " << K << " E " << E << " block " << block) {
            Index const room = mb::aligned_slots({.block = block}, T * K, E);
            BOOST_TEST(room >= Index(order.size()));
            BOOST_TEST(room <= T * K + E * (block - 1));
            BOOST_TEST(room % block == 0);
            mb::AlignedPlan const aligned = mb::make_aligned(SerialExec{}, {.block = block}, tight);
            mb::validate(aligned.plan, ids_of(batch), E);
            BOOST_TEST((copy(aligned.plan.order()) == order));
            BOOST_TEST((copy(aligned.plan.offsets()) == offsets));
            BOOST_TEST((std::equal(slot_of.begin(), slot_of.end(), aligned.plan.slot_of().data())));
            BOOST_TEST((copy(aligned.block_experts) == blocks));
            BOOST_TEST((copy(aligned.plan.kept()) == copy(tight.kept())));
          }
        }
}

BOOST_AUTO_TEST_CASE(the_worst_case_is_reached) {
  // Each of four experts has one pair, or one has more than a block: all of the room is needed.
  std::vector<ExpertId> const ids{0, 1, 2, 3, 3};
  mb::Plan const tight = mb::make_plan(SerialExec{}, 4, mb::MatrixView<ExpertId const>(ids.data(), 5, 1));
  mb::AlignedPlan const aligned = mb::make_aligned(SerialExec{}, {.block = 4}, tight);
  BOOST_TEST(aligned.plan.slots() == 16);
  BOOST_TEST(mb::aligned_slots({.block = 4}, 5, 4) == 16);
  BOOST_TEST(mb::aligned_slots({.block = 64}, 2, 384) == 128); // two pairs never touch more than two experts
}

BOOST_AUTO_TEST_CASE(the_tail_is_empty) {
  std::vector<ExpertId> const ids{0, 0, 0, 0, 0, 0, 0};
  mb::Plan const tight = mb::make_plan(SerialExec{}, 5, mb::MatrixView<ExpertId const>(ids.data(), 7, 1));
  std::vector<Index> offsets(6), order(38, 55), slot_of(7), loads(5), kept(5);
  std::vector<ExpertId> experts(10, 55);
  mb::PlanTarget<> const target{offsets, order, {slot_of.data(), 7, 1}, loads, kept};
  mb::align_into(SerialExec{}, {.block = 4}, tight, target, experts); // 38 is no multiple of 4: the last block is cut
  mb::validate(target, mb::MatrixView<ExpertId const>(ids.data(), 7, 1), 5);
  BOOST_TEST((copy(experts) == std::vector<Index>{0, 0, -1, -1, -1, -1, -1, -1, -1, -1}));
  for (Index s = 7; s < 38; ++s) BOOST_TEST(order[std::size_t(s)] == mb::no_slot);
}

// vLLM 00e6fb6d, torch_moe_align_block_size, T = 7, K = 2, E = 8, block 4: filler T K = 14, blocks past the end 0.
BOOST_AUTO_TEST_CASE(vllm_blocks) {
  std::vector<ExpertId> const ids{5, 2, 2, 7, 7, 2, 3, 7, 4, 6, 1, 2, 6, 4};
  std::vector<Index> const sorted{10, 14, 14, 14, 1,  2,  5, 11, 6,  14, 14, 14, 8, 13,
                                  14, 14, 0,  14, 14, 14, 9, 12, 14, 14, 3,  4,  7, 14};
  std::vector<Index> const experts{1, 2, 3, 4, 5, 6, 7};
  mb::Plan const tight = mb::make_plan(SerialExec{}, 8, mb::MatrixView<ExpertId const>(ids.data(), 7, 2));
  mb::AlignedPlan const aligned = mb::make_aligned(SerialExec{}, {.block = 4}, tight);
  BOOST_TEST(aligned.plan.slots() == 28);
  for (std::size_t s = 0; s < sorted.size(); ++s)
    BOOST_TEST(aligned.plan.order()[Index(s)] == (sorted[s] == 14 ? mb::no_slot : sorted[s]));
  BOOST_TEST((copy(aligned.block_experts) == experts));
}

BOOST_AUTO_TEST_CASE(dense_capacity_buffers) {
  Index const T = 97, K = 3, E = 7, C = 18;
  auto const batch = reference::random_batch(T, K, E, 2);
  mb::PlanPolicy const policy{.drop = mb::DropByProbability{}, .capacity = mb::capacities::absolute(C)};
  mb::Plan const tight = mb::make_plan(SerialExec{}, policy, E, ids_of(batch), weights_of(batch));
  mb::AlignedPlan const dense = mb::make_aligned(SerialExec{}, {.slots_per_expert = C}, tight);
  mb::validate(dense.plan, ids_of(batch), E);
  BOOST_TEST(mb::aligned_slots({.slots_per_expert = C}, T * K, E) == E * C);
  BOOST_TEST(dense.plan.slots() == E * C);
  bool filler = false;
  for (Index e = 0; e < E; ++e) {
    BOOST_TEST(dense.plan.offsets()[e] == e * C);
    for (Index r = 0; r < C; ++r) {
      Index const pair = dense.plan.order()[e * C + r];
      filler = filler || pair == mb::no_slot;
      BOOST_TEST(pair == (r < tight.kept()[e] ? tight.order()[tight.offsets()[e] + r] : mb::no_slot));
    }
  }
  BOOST_TEST(filler);
  // With fewer slots than were kept, the last pairs lose theirs, and the counts know it.
  mb::AlignedPlan const narrow = mb::make_aligned(SerialExec{}, {.block = 4, .slots_per_expert = 6}, tight);
  mb::validate(narrow.plan, ids_of(batch), E);
  BOOST_TEST(narrow.plan.slots() == E * 8);
  for (Index e = 0; e < E; ++e) BOOST_TEST(narrow.plan.kept()[e] == std::min<Index>(8, tight.kept()[e]));
  BOOST_TEST(mb::drop_counts(narrow.plan).dropped > mb::drop_counts(tight).dropped);
}

BOOST_AUTO_TEST_CASE(refuses) {
  auto const says = [](char const* text) {
    return [text](mb::ShapeError const& e) { return std::string(e.what()).find(text) != std::string::npos; };
  };
  std::vector<ExpertId> const ids{0, 1, 1, 0};
  mb::Plan const tight = mb::make_plan(SerialExec{}, 2, mb::MatrixView<ExpertId const>(ids.data(), 4, 1));
  mb::Plan small(4, 1, 2, 7), right(4, 1, 2, 8);
  std::vector<ExpertId> experts(3);
  BOOST_CHECK_EXCEPTION(mb::align_into(SerialExec{}, {.block = 4}, tight, small.target()), mb::ShapeError,
                        says("size of the aligned plan.order: needed at least 8, had 7"));
  BOOST_CHECK_EXCEPTION(mb::align_into(SerialExec{}, {.block = 4}, tight, right.target(), experts), mb::ShapeError,
                        says("size of block_experts [order / block]: needed 2, had 3"));
  BOOST_CHECK_EXCEPTION(mb::align_into(SerialExec{}, {.block = 0}, tight, right.target()), mb::ShapeError,
                        says("block of an alignment: needed at least 1, had 0"));
}

BOOST_AUTO_TEST_SUITE_END()
